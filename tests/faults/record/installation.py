"""One run: a Kafka behind a proxy, a PostgreSQL, the product's processes, switches that send and an office that works.

`verdict` is the end: everything is healed and left to settle, a few last calls ask what is in force, and the findings
are what the checker, the supervisor, the office and `tollgate audit` have to say.
"""

import asyncio
import json
import shutil
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from urllib.error import URLError
from urllib.request import urlopen

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors.broker import Message
from connectors.kafka.client import quiet
from connectors.postgres.database import APP, DRIVER_TROUBLES, open_database
from connectors.postgres.load import load_folder
from connectors.settings import DatabaseSettings
from deploy.kafka.local import LocalKafka
from schemas import topics
from schemas.codec import encode
from schemas.events import CallAttempt
from schemas.partitions import partition_of
from schemas.times import to_datetime, to_text
from tests.faults.fleet import DEADLINE_SECONDS, ROOT, Stalled, until
from tests.faults.reader import Watcher, settled_ends
from tests.faults.tcp_proxy import QUIET, Proxy
from tests.faults.traffic import Traffic
from tests.simulation.company import company
from tests.simulation.stream import Sending

from .checker import check
from .crew import ENGINE, PROJECTOR, RELAY, ROLES, Crew, Member, command, environment
from .evidence import Asked, Evidence, read_evidence, read_reference
from .office import CASHIER, MANAGER, MARKETING, PRICED_PREFIX, Office
from .operator import operator_of
from .postgresql import Postgres

PARTITIONS = 4
PER_ROLE = 2
"""Two engine workers, a relay and one that stands by, two projectors."""

SESSION_MS = 3_000
_HOLD_SECONDS = 5.0  # longer than a commit may take
_SETTLING_SECONDS = 240.0
_FOREVER = str(2**63 - 1)
_TOPIC = {
    "retention.ms": "-1",
    # Calls take place at a time of their own.
    "message.timestamp.before.max.ms": _FOREVER,
    "message.timestamp.after.max.ms": _FOREVER,
}
_PORTS = range(19_000, 20_000)  # below those of Kafka and of outgoing connections


class Installation:
    """`happened` counts the faults by kind."""

    def __init__(self, seed: int, folder: Path, *, sabotage: dict[str, str] | None = None) -> None:
        """`folder` is for the logs; `sabotage` names what is broken in the processes of a role."""
        self.seed = seed
        self.folder = folder
        self.rng = Random(f"{seed} faults")
        self.happened: Counter[str] = Counter()
        self.postgres = Postgres()
        self.operator = operator_of(company(Random(f"{seed} company")), PARTITIONS)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.kafka = LocalKafka(folder / "kafka", advertised_port=self.listening.getsockname()[1])
        self.proxy = Proxy(self.listening, self.kafka.port, Random(f"{seed} proxy"), _HOLD_SECONDS)
        bootstrap = self.kafka.bootstrap
        self.watcher = Watcher(bootstrap, "", PARTITIONS)
        self.traffic = Traffic(bootstrap, "", PARTITIONS, self.operator.company, Random(f"{seed} traffic"))
        self.evidence: Evidence | None = None
        self.office: Office
        self._env = environment(
            TOLLGATE_KAFKA_BOOTSTRAP_SERVERS=bootstrap,
            TOLLGATE_KAFKA_SESSION_TIMEOUT_MS=str(SESSION_MS),
            TOLLGATE_KAFKA_HEARTBEAT_INTERVAL_MS="800",
            TOLLGATE_KAFKA_REQUEST_TIMEOUT_MS="8000",
            TOLLGATE_KAFKA_COMMIT_DEADLINE_MS="4000",
            TOLLGATE_KAFKA_TRANSACTION_TIMEOUT_MS="60000",
            TOLLGATE_KAFKA_METADATA_MAX_AGE_MS="10000",
            TOLLGATE_METRICS_PORT="0",
            TOLLGATE_MAX_CALL_SECONDS=str(self.operator.company.settings.max_call_seconds),
        )
        self.crew = Crew(folder, self._env, sabotage or {})
        self._asked: list[Asked] = []
        self._flowing: asyncio.Task[None] | None = None
        self._ports: dict[str, int] = {}

    # From the first to the last

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Installation"]:
        """The run from its servers to the end of its last process; traffic and office begin when told."""
        quiet()
        self.folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as closing:
            closing.callback(self.listening.close)
            closing.push_async_callback(asyncio.to_thread, self.postgres.end)
            closing.push_async_callback(asyncio.to_thread, self.kafka.stop)
            await asyncio.gather(asyncio.to_thread(self.kafka.start), self.postgres.make())
            await closing.enter_async_context(self.proxy)
            await self._create_topics()
            await self._load()
            closing.push_async_callback(self._within, self.watcher.stop)
            await self.watcher.start()
            closing.push_async_callback(self._within, self.traffic.close)
            settings = DatabaseSettings(dsn=self.postgres.dsn("office"), pool_size=6)
            database = await closing.enter_async_context(open_database(settings, role=APP))
            self.office = Office(
                database.pool,
                Random(f"{self.seed} office"),
                [account.account_id for account in (*self.operator.own, *self.operator.company.accounts)],
                self.folder,
            )
            closing.push_async_callback(self.crew.end)
            await self._begin()
            closing.push_async_callback(self._stop_traffic)
            yield self

    @staticmethod
    async def _within(close: Callable[[], Awaitable[None]]) -> None:
        # With a broker that is down for good they may never come to an end.
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await close()

    async def _create_topics(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap, client_id="installation")
        try:
            await admin.start()
            new = [
                NewTopic(
                    topic.name,
                    PARTITIONS if topic.partitioned_like_input else 1,
                    1,
                    topic_configs=_TOPIC | {"cleanup.policy": topic.policy},
                )
                for topic in topics.ALL
            ]
            answer = await admin.create_topics(new)
            assert not any(error[1] for error in answer.topic_errors), answer.topic_errors
            while any(
                topic["error_code"] or any(partition["error_code"] for partition in topic["partitions"])
                for topic in await admin.describe_topics([topic.name for topic in new])
            ):
                await asyncio.sleep(0.01)
        finally:
            await admin.close()

    async def _load(self) -> None:
        owner = DatabaseSettings(dsn=self.postgres.dsn("postgres"))
        async with open_database(owner, role=None) as database:
            for who in (MANAGER, CASHIER, MARKETING):
                await database.pool.execute(
                    "INSERT INTO access.users (name, role, full_name, created_at, created_by) "
                    "VALUES ($1, $2, $3, now(), 'installation')",
                    who.user,
                    who.role,
                    who.user,
                )
            at = to_datetime(time.time_ns() // 1000)
            await load_folder(database.pool, self.operator.folder(), author="installation", at=at)

    async def _begin(self) -> None:
        """All processes at work: the relay first, for without reference data no engine starts."""
        for place in range(1, PER_ROLE + 1):
            self.crew.start(RELAY, TOLLGATE_DATABASE_DSN=self.postgres.dsn(f"relay_{place}"))
        await self.settled(self.outbox_empty, "the relay publishes what was loaded")
        for _ in range(PER_ROLE):
            port = self._free_port()
            member = self.crew.start(ENGINE, TOLLGATE_METRICS_PORT=str(port))
            self._ports[member.name] = port
        for place in range(1, PER_ROLE + 1):
            self.crew.start(PROJECTOR, TOLLGATE_DATABASE_DSN=self.postgres.dsn(f"projector_{place}"))
        await self.settled(self._engines_own_all, "the engines work on all partitions")

    def _free_port(self) -> int:
        while True:
            port = self.rng.choice(_PORTS)
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port

    # At work

    def start_work(self, records_per_second: float) -> None:
        """Traffic and office from now on."""
        self._flowing = asyncio.create_task(self.traffic.run(self.watcher, records_per_second))
        self.office.start()

    async def _stop_traffic(self) -> list[str]:
        if self._flowing is None:
            return []
        flowing, self._flowing = self._flowing, None
        if flowing.done():
            return [f"the traffic has ended: {'cancelled' if flowing.cancelled() else repr(flowing.exception())}"]
        flowing.cancel()
        await asyncio.gather(flowing, return_exceptions=True)
        return []

    def decisions(self) -> int:
        """How many decisions have been seen."""
        return sum(len(lines) for place, lines in self.watcher.seen.items() if place.topic == _DECISIONS)

    async def settled(self, so: Callable[[], Awaitable[object]], what: str, seconds: float = _SETTLING_SECONDS) -> None:
        """Waits until something that has to be asked for is so. Raises Stalled."""
        deadline = time.monotonic() + seconds
        while not await so():
            if time.monotonic() > deadline:
                raise Stalled(f"after {seconds:.0f} seconds still not: {what}")
            await asyncio.sleep(0.1)

    async def outbox_empty(self) -> bool:
        """Whether all that the office has said was published."""
        return not await self._ask("SELECT count(*) FROM plumbing.outbox WHERE published_at IS NULL")

    async def drained(self, what: str) -> None:
        """Waits until all that waits in the outbox now has been published, while the office goes on. Raises Stalled."""
        last = await self._ask("SELECT coalesce(max(seq), 0) FROM plumbing.outbox")

        async def published() -> bool:
            return not await self._ask(
                f"SELECT count(*) FROM plumbing.outbox WHERE published_at IS NULL AND seq <= {last}"
            )

        await self.settled(published, what)

    async def waiting(self) -> int:
        """Rows of the outbox that wait."""
        return int(await self._ask("SELECT count(*) FROM plumbing.outbox WHERE published_at IS NULL"))

    async def _ask(self, query: str) -> int:
        owner = await self.postgres.owner()
        try:
            return int(await owner.fetchval(query))
        finally:
            await owner.close()

    def said_ready(self, member: Member) -> dict[str, object] | None:
        """What an engine says of itself at /ready; None if it says nothing."""
        try:
            with urlopen(f"http://127.0.0.1:{self._ports[member.name]}/ready", timeout=2) as answer:
                return dict(json.load(answer))
        except (URLError, OSError, ValueError):
            return None

    async def versions(self) -> dict[str, object]:
        """Which version of the reference data is in force in each engine."""
        found: dict[str, object] = {}
        for member in self.crew.of(ENGINE):
            said = await asyncio.to_thread(self.said_ready, member)
            found[member.name] = None if said is None else said["reference_version"]
        return found

    async def _engines_own_all(self) -> bool:
        owned: set[object] = set()
        for member in self.crew.of(ENGINE):
            said = await asyncio.to_thread(self.said_ready, member)
            owned |= set(said["partitions"]) if said else set()  # type: ignore[call-overload]
        return len(owned) == PARTITIONS

    async def audit(self) -> list[str]:
        """What `tollgate audit` finds, as a process of its own."""
        process = await asyncio.create_subprocess_exec(
            *command("audit"),
            "--json",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**self._env, "TOLLGATE_DATABASE_DSN": self.postgres.dsn("auditor")},
        )
        out, err = await process.communicate()
        if process.returncode == 0:
            return []
        if process.returncode != 1:
            return [f"tollgate audit can't audit: {err.decode()[-500:]}"]
        return [f"tollgate audit: {json.dumps(finding)}" for finding in json.loads(out)["findings"][:5]]

    # The end

    async def heal(self) -> None:
        """All faults are over."""
        self.proxy.noise = QUIET
        self.proxy.forget_orders()
        self.proxy.open_gate()
        for member in self.crew.members:
            member.go_on()
        await asyncio.gather(asyncio.to_thread(self.kafka.start), self.postgres.start())

    async def settle(self) -> list[str]:
        """Heals everything, and waits until all that was sent or ordered has come to its end; findings."""
        found = await self._stop_traffic()
        try:
            await self.heal()
            found += await self.office.stop()
            await self._worked_off()
            await self.settled(self.outbox_empty, "the outbox is empty")
            await self._worked_off()
            await self.settled(self._all_alike, "all engines have the latest version")
            await self._ask_what_is_in_force()
            await self._worked_off()
            await self.settled(self._projected, "the projectors have caught up")
            await self.crew.leave()
        except Stalled as stalled:
            found.append(f"stalled: {stalled}")
        except (*DRIVER_TROUBLES, asyncpg.PostgresError) as error:
            found.append(f"the record does not settle: {error!r}")
        return found

    async def verdict(self) -> list[str]:
        """All that is wrong."""
        found = await self.settle()
        found += self.crew.findings()
        found += self.watcher.trouble
        self.happened += self.crew.happened() + self.proxy.happened + self.office.happened
        if not any(finding.startswith("stalled") for finding in found):
            found += await self.audit()
        try:
            self.evidence = await read_evidence(
                self.kafka.bootstrap,
                self.postgres,
                PARTITIONS,
                watcher=self.watcher,
                traffic=self.traffic,
                office=self.office,
                operator=self.operator,
                asked=self._asked,
            )
        except TimeoutError:
            return [*found, "stalled: a transaction does not come to its end, though nobody is at work"]
        found += await asyncio.to_thread(check, self.evidence)
        if found:
            self._keep(found)
        return found

    async def _worked_off(self) -> None:
        await until(
            lambda: not self.watcher.behind(self.traffic.written), "everything is worked off", _SETTLING_SECONDS
        )
        try:
            ends = await settled_ends(self.kafka.bootstrap, "", PARTITIONS)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await self.watcher.reached(ends):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Stalled("a transaction stays open, or the concurrent reader does not get to the end") from None
        await until(lambda: not self.watcher.behind(self.watcher.ends()), "what was passed on is worked off")

    async def _all_alike(self) -> bool:
        """Whether each engine works by the last version that was published."""
        versions = await self.versions()
        latest = max(read_version for read_version in (await read_reference(self.kafka.bootstrap)).versions)
        return len(versions) == PER_ROLE and set(versions.values()) == {latest}

    async def _projected(self) -> bool:
        owner = await self.postgres.owner()
        try:
            rows = await owner.fetch("SELECT topic, partition, next_offset FROM facts.offsets")
        finally:
            await owner.close()
        written = {(row[0], row[1]): row[2] for row in rows}
        return all(
            written.get((place.topic, place.partition), 0) > lines[-1].offset
            for place, lines in self.watcher.seen.items()
            if place.topic in _PROJECTED and lines
        )

    async def _ask_what_is_in_force(self) -> None:
        """A call to each number that was ever locked, and one at the price that was changed, from accounts of each
        partition."""
        now_us = max(self.traffic.clock_us, time.time_ns() // 1000)
        sendings = []
        for number, account_id, about in self._questions():
            name = f"asked-{len(self._asked)}"
            self._asked.append(Asked(name, number, account_id, about))
            attempt = CallAttempt(
                name,
                "msk-1",
                to_text(now_us),
                "outgoing",
                number,
                account_id,
                "74950000000",
                requested_seconds=1,  # so that the money lasts for all of them
            )
            value, home = encode(attempt), partition_of(account_id.encode(), PARTITIONS)
            self.traffic.homes[value] = home
            message = Message(account_id.encode(), value, now_us)
            sendings.append(Sending(topics.CALL_ATTEMPTS.name, home, message))
        await self.traffic.send(sendings)

    def _questions(self) -> list[tuple[str, str, str]]:
        own = [account.account_id for account in self.operator.own]
        found = []
        for lock in self.office.locks.values():
            number = lock.digits.ljust(11, "7")
            asking = own if lock.account_id is None else [lock.account_id]
            found += [(number, account_id, lock.lock_id) for account_id in asking if account_id in own]
        return [*found, *((PRICED_PREFIX.ljust(11, "1"), account_id, "price") for account_id in own)]

    def _keep(self, found: list[str]) -> None:
        """The findings and the topics, for a look."""
        assert self.evidence is not None
        (self.folder / "findings.txt").write_text("".join(f"{finding}\n" for finding in found))
        with suppress(OSError):
            shutil.copy(self.kafka.log_file, self.folder)
        for (topic, partition), lines in self.evidence.base.final.items():
            with (self.folder / f"{topic}-{partition}.txt").open("w") as file:
                file.writelines(f"{offset} {ms} {key!r} {value!r}\n" for offset, key, value, ms in lines)


_DECISIONS = topics.CALL_DECISIONS.name
_PROJECTED = {
    topic.name
    for topic in (
        topics.CALL_ATTEMPTS,
        topics.CALL_DECISIONS,
        topics.RATED_CDRS,
        topics.ACCOUNT_BALANCES,
        topics.ACCOUNT_MOVEMENTS,
        topics.NUMBER_NCV,
        topics.REJECTED_EVENTS,
        topics.NOTICES,
    )
}
__all__ = ["PARTITIONS", "ROLES", "ROOT", "Installation"]
