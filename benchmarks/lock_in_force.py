"""How soon a lock is in force on all workers (§2.2: within a second), from the commit of the use case to the first call
that is denied by it on the slower of two workers: record, outbox, relay, topic, reference data of each worker.

Calls to the number go to both workers all the time, so what is measured is what a caller sees, the way of his question
and of the answer among it. Lifting is measured the same way: until the first call is let through again.

Then again, while a large price list that is due at once comes into force: locks do not wait for it.

In memory everything is one process; on Kafka relay and workers are processes of their own, as in a deployment. The
record is a PostgreSQL of the benchmark's own, with its writes forced to the disk.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from backoffice import locks as rules
from backoffice.access import asker
from backoffice.locks import LiftSent, LockSent
from benchmarks.reference import _folder
from connectors.broker import Broker, Message, TopicPartition
from connectors.convert.common import NumberRule
from connectors.files.reference_folder import ReferenceFolder
from connectors.kafka.admin import connect
from connectors.kafka.door import open_broker
from connectors.kafka.topic_plan import plan
from connectors.memory import MemoryBroker
from connectors.postgres import price_lists
from connectors.postgres.change import Change, change
from connectors.postgres.clock import real_now_us
from connectors.postgres.database import APP, DATABASE, RELAY, Database, open_database
from connectors.postgres.load import load_folder
from connectors.postgres.locks import LocksRecord
from connectors.postgres.server import EmbeddedServer
from connectors.reference.reader import ReferenceReader
from connectors.relay import Relay
from connectors.settings import DatabaseSettings, KafkaSettings
from connectors.worker import Worker
from deploy.kafka.local import LocalKafka
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.events import CallAttempt
from schemas.partitions import partition_of
from schemas.times import to_datetime, to_text

WORKERS = 2
"""Each has one partition."""

CALLS_PER_SECOND = 100.0
"""On each worker: what a caller sees is told to a hundredth of a second."""

BETWEEN_SECONDS = 0.05
"""From one lock to the next: light load, as of an office."""

DEADLINE_SECONDS = 60.0
"""What has not happened by then hangs."""

PRICES = 10_000
RETAIL = "R"
_MANAGER = asker("benchmark", "manager")
_SETTINGS = EngineSettings()
_ROOT = Path(__file__).resolve().parents[1]

Send = Callable[[int, Message], Awaitable[None]]


def run(locks: int, listed: int, runs: int = 1) -> dict[str, object]:
    """So many locks, in memory; and so many prices in the list beside them."""
    del runs
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        return asyncio.run(measure_in_memory(Path(folder), locks, listed))


def run_on_kafka(locks: int, listed: int, runs: int = 1) -> dict[str, object]:
    """The same on a Kafka of its own, which needs Java. Raises KafkaTrouble."""
    del runs
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        kafka = LocalKafka(Path(folder) / "kafka", heap_mb=512, compiled_well=True)
        kafka.start()
        try:
            return asyncio.run(measure_on_kafka(Path(folder), kafka.bootstrap, locks, listed))
        finally:
            kafka.stop()


async def measure_in_memory(folder: Path, locks: int, listed: int) -> dict[str, object]:
    """All numbers. `folder` is for the database."""
    broker = MemoryBroker(
        {topic.name: WORKERS if topic.partitioned_like_input else 1 for topic in topics.ALL},
        [topic.name for topic in topics.ALL if topic.policy != "delete"],
    )

    async def send(partition: int, message: Message) -> None:
        broker.produce(topics.CALL_ATTEMPTS.name, partition, [message])

    async with _record(folder) as record, AsyncExitStack() as closing:
        relaying = await closing.enter_async_context(
            open_database(DatabaseSettings(dsn=record.dsn, data_dir=folder), role=RELAY)
        )
        relay = Relay(relaying.pool, broker, now_us=_now_us, settings=_SETTINGS)
        await _beside(closing, relay.run())
        for _ in range(WORKERS):
            reader = ReferenceReader(broker)
            await _until(lambda: bool(broker.committed(topics.REFERENCE.name, 0)), "reference data are published")
            await reader.start()
            await _beside(closing, reader.run())
            worker = Worker(broker, _SETTINGS, reader, interval_seconds=0.005)
            await worker.start()
            await _beside(closing, worker.run())
        found = await _measured(broker, record, send, locks, listed)
    return {"broker": "memory", **found}


async def measure_on_kafka(folder: Path, bootstrap: str, locks: int, listed: int) -> dict[str, object]:
    """All numbers, with real processes. `folder` is for the database and the logs."""
    prefix = f"locks-{os.urandom(4).hex()}-"
    settings = KafkaSettings(bootstrap_servers=(bootstrap,), topic_prefix=prefix, replication_factor=1)
    async with connect(settings) as admin:
        await admin.create(plan(await admin.describe(), settings, partitions=WORKERS, copies=1))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")

    async def send(partition: int, message: Message) -> None:
        await producer.send(
            settings.topic(topics.CALL_ATTEMPTS.name),
            message.value,
            key=message.key,
            partition=partition,
            timestamp_ms=message.timestamp_us // 1000,
        )

    async with _record(folder) as record, AsyncExitStack() as closing:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")},
            "PYTHONPATH": str(_ROOT),
            "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TOLLGATE_KAFKA_TOPIC_PREFIX": prefix,
            "TOLLGATE_KAFKA_APPLICATION": f"{prefix}engine",
            "TOLLGATE_DATABASE_DSN": record.dsn,
            "TOLLGATE_METRICS_PORT": "0",
        }
        await producer.start()
        closing.push_async_callback(producer.stop)
        broker = await closing.enter_async_context(open_broker(settings))
        closing.enter_context(_Process(folder, "relay", env))
        await _until_published(record.office)
        for number in range(WORKERS):
            closing.enter_context(_Process(folder, "engine", env, number))
        found = await _measured(broker, record, send, locks, listed)
    return {"broker": "kafka", **found}


# -- measuring -------------------------------------------------------------------------------------------------------


async def _measured(broker: Broker, record: "_Record", send: Send, locks: int, listed: int) -> dict[str, object]:
    calls = _Calls(broker, send)
    async with calls.flowing():
        await calls.all_say(denied=False)
        alone = _Times()
        for number in range(locks):
            await _lock_and_lift(record.office, calls, number, alone)
        beside, number = _Times(), locks
        begun = time.perf_counter()
        await _publish_list(record, listed)
        saved_seconds = time.perf_counter() - begun
        while await _list_waits(record.office):
            await _lock_and_lift(record.office, calls, number, beside)
            number += 1
        list_seconds = time.perf_counter() - begun - saved_seconds
    return {
        "workers": WORKERS,
        "locks": locks,
        "calls_per_second": round(CALLS_PER_SECOND * WORKERS),
        **alone.spreads(),
        "beside_a_list": {
            "prices": listed,
            "list_in_force_after_seconds": round(list_seconds, 2),
            "locks": number - locks,
            **beside.spreads(),
        },
    }


class _Times:
    """How long commits took, and locks from their commit."""

    def __init__(self) -> None:
        self.commit: list[float] = []
        self.set: list[float] = []
        self.lifted: list[float] = []

    def spreads(self) -> dict[str, object]:
        """Of all that there were."""
        return {f"{what}_ms": _spread(seconds) for what, seconds in vars(self).items() if seconds}


async def _lock_and_lift(office: Database, calls: "_Calls", number: int, times: _Times) -> None:
    lock_id, digits = f"L{number}", f"8829{number:05d}"
    # Another number: both workers have let a call to it through before it is locked.
    calls.number = f"{digits}77"
    await calls.all_say(denied=False)
    begun = time.perf_counter()
    await _change(office, lambda tx: _set(tx, lock_id, digits))
    times.commit.append(time.perf_counter() - begun)
    times.set.append(await calls.all_say(denied=True))
    await _change(office, lambda tx: _lift(tx, lock_id))
    times.lifted.append(await calls.all_say(denied=False))
    await asyncio.sleep(BETWEEN_SECONDS)


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(median(ordered) * 1000, 1),
        "p99": round(ordered[(len(ordered) * 99 - 1) // 100] * 1000, 1),
        "max": round(ordered[-1] * 1000, 1),
    }


class _Calls:
    """Calls to `number` on every worker, and what each was told last."""

    def __init__(self, broker: Broker, send: Send) -> None:
        self.number = "88290000077"
        self._broker = broker
        self._send = send
        self._accounts = _accounts()
        self._sent = 0
        self._asked: dict[str, tuple[int, str]] = {}
        """What each attempt was for: its partition and number."""
        self._said: dict[tuple[int, str], bool] = {}
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """They come for as long as this lasts."""
        async with AsyncExitStack() as closing:
            for partition in range(WORKERS):
                await _beside(closing, self._listen(partition))
            await _beside(closing, self._call())
            yield

    async def all_say(self, *, denied: bool) -> float:
        """Waits until every worker's latest word on the number is this; for how many seconds. Raises TimeoutError."""
        begun, number = time.perf_counter(), self.number
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(
                lambda: all(self._said.get((partition, number)) is denied for partition in range(WORKERS))
            )
        return time.perf_counter() - begun

    async def _call(self) -> None:
        while True:
            for partition, account_id in enumerate(self._accounts):
                self._sent += 1
                name, now_us = f"n{self._sent}", real_now_us()
                self._asked[name] = (partition, self.number)
                attempt = CallAttempt(
                    name, "msk-1", to_text(now_us), "outgoing", self.number, account_id, requested_seconds=1
                )
                await self._send(partition, Message(account_id.encode(), encode(attempt), now_us // 1000 * 1000))
            await asyncio.sleep(1 / CALLS_PER_SECOND)

    async def _listen(self, partition: int) -> None:
        async for batch in self._broker.follow(TopicPartition(topics.CALL_DECISIONS.name, partition)):
            for record in batch:
                decision = json.loads(record.value or b"")
                reason = decision["reason"]
                about = self._asked.pop(decision["attempt_id"])
                self._said[about] = reason is not None and reason["code"] == "lock"
            async with self._news:
                self._news.notify_all()


def _accounts() -> list[str]:
    """One of each partition."""
    found: dict[int, str] = {}
    number = 100_000
    while len(found) < WORKERS:
        found.setdefault(partition_of(str(number).encode(), WORKERS), str(number))
        number += 1
    return [found[partition] for partition in range(WORKERS)]


# -- the record ------------------------------------------------------------------------------------------------------


class _Record(NamedTuple):
    """The record, open with the rights of the office and with its owner's; its address, and what was loaded."""

    office: Database
    owner: Database
    dsn: str
    reference: ReferenceFolder


@asynccontextmanager
async def _record(folder: Path) -> AsyncIterator[_Record]:
    """A database with the reference data."""
    data_dir = folder / "postgresql"
    server = EmbeddedServer(data_dir)
    async with open_database(DatabaseSettings(data_dir=data_dir), role=None) as owner:
        await owner.pool.execute(
            "INSERT INTO access.users (name, role, full_name, created_at, created_by) "
            "VALUES ('benchmark', 'manager', 'benchmark', now(), 'benchmark')"
        )
        reference, _ = _folder(PRICES)
        await load_folder(owner.pool, reference, author="benchmark", at=to_datetime(real_now_us()))
        dsn = server.dsn(DATABASE)
        async with open_database(DatabaseSettings(dsn=dsn), role=APP) as database:
            yield _Record(database, owner, dsn, reference)


async def _change(database: Database, work: Callable[[Change], Awaitable[object]]) -> None:
    async with change(
        database.pool,
        actor=_MANAGER.actor,
        role=_MANAGER.role,
        reason="benchmark",
        at=to_datetime(real_now_us()),
    ) as tx:
        await work(tx)


async def _publish_list(record: _Record, prices: int) -> None:
    """The retail list, with so many prices more, in force as soon as it can be."""
    rows = [row for row in record.reference.prices if row.price_list_id == RETAIL]
    rows += [replace(rows[0], prefix=f"999{number:07d}") for number in range(prices)]
    now = to_datetime(real_now_us())
    async with change(record.owner.pool, actor="benchmark", reason="benchmark", at=now) as tx:
        price_list = record.reference.price_lists[RETAIL]
        version = await price_lists.stage(tx.connection, price_list, rows, at=now, author="benchmark")
        await price_lists.publish(tx.connection, version.version_id, in_force_from=now, at=now, author="benchmark")
        await tx.audit("price_list", RETAIL, "published", None, {"version_id": version.version_id})
        await tx.publish("price_list", RETAIL, {"version_id": version.version_id})


async def _list_waits(office: Database) -> bool:
    found: bool = await office.pool.fetchval(
        "SELECT EXISTS (SELECT FROM plumbing.outbox WHERE published_at IS NULL AND kind = 'price_list')"
    )
    return found


async def _set(tx: Change, lock_id: str, digits: str) -> None:
    sent = LockSent(kind="prefix", digits=digits, reason="benchmark", lock_id=lock_id)
    await rules.set_lock(
        LocksRecord(tx), tx, _MANAGER, sent, lock_id="", now=tx.at, settings=_SETTINGS, e164=NumberRule().e164
    )


async def _lift(tx: Change, lock_id: str) -> None:
    await rules.lift_lock(LocksRecord(tx), tx, _MANAGER, lock_id, LiftSent(reason="benchmark"))


async def _until_published(database: Database) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await database.pool.fetchval("SELECT count(*) FROM plumbing.outbox WHERE published_at IS NULL"):
            await asyncio.sleep(0.05)


# -- small helpers ---------------------------------------------------------------------------------------------------


class _Process:
    """`tollgate ROLE`, until it is left. Its log is in the folder."""

    def __init__(self, folder: Path, role: str, env: Mapping[str, str], number: int = 0) -> None:
        self._role = role
        self._log = folder / f"{role}-{number}.log"
        self._folder = folder
        self._env = env

    def __enter__(self) -> "_Process":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from connectors.cli import main; main()", self._role],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=dict(self._env),
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code != 0:
            said = self._log.read_text(errors="replace")[-2_000:]
            sys.stderr.write(f"tollgate {self._role} ended with {code}:\n{said}\n")


async def _beside(closing: AsyncExitStack, work: Any) -> None:
    """Runs it until the stack is left."""
    task: asyncio.Task[None] = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    closing.push_async_callback(end)


async def _until(so: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not so():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"still not: {what}") from None


async def _now_us() -> int:
    return real_now_us()
