"""`tollgate projector` and `tollgate audit`: on a real Kafka and a real PostgreSQL, as their operator runs them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from kafka_broker import create_topics
from projected import (
    BALANCES,
    PARTITIONS,
    RATED,
    ZONE,
    Record,
    Said,
    assert_all_is_there_once,
    lines,
    reference,
    store,
    until,
)

from connectors.audit import audit
from connectors.broker import TopicPartition
from connectors.kafka.door import open_broker
from connectors.postgres.database import Database
from connectors.projector import Projector
from connectors.settings import KafkaSettings
from connectors.worker import Worker
from deploy.kafka.local import LocalKafka
from engine.changelog import decode_position
from engine.settings import EngineSettings
from schemas import topics

DEADLINE_SECONDS = 60.0
CHANGELOG = {topic.name for topic in topics.ALL if topic.policy == "compact"}


async def make_topics(bootstrap: str, prefix: str) -> None:
    compacted = {prefix + topic.name: PARTITIONS for topic in topics.ALL if topic.name in CHANGELOG}
    others = {prefix + topic.name: PARTITIONS for topic in topics.ALL if topic.name not in CHANGELOG}
    await create_topics(bootstrap, others)
    await create_topics(bootstrap, compacted, {"cleanup.policy": "compact"})


async def feed(bootstrap: str, prefix: str, first: int, last: int) -> None:
    """Sends some of the half hour's events."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for line in lines()[first:last]:
        await producer.send(
            prefix + line.topic,
            line.value,
            line.key,
            partition=line.partition,
            timestamp_ms=line.timestamp_us // 1000,
        )
    await producer.flush()
    await producer.stop()


class OnKafka(Said):
    """What an engine on Kafka published."""

    def __init__(self) -> None:
        self._read: dict[str, list[Record]] = {}

    async def read(self, broker: Any) -> "OnKafka":
        for topic in topics.OUTPUTS:
            self._read[topic.name] = [
                record
                for partition in range(PARTITIONS)
                async for batch in broker.read_to_end(TopicPartition(topic.name, partition))
                for record in batch
            ]
        return self

    def said(self, topic: str) -> list[Record]:
        return self._read[topic]


@contextmanager
def working(bootstrap: str, prefix: str) -> Iterator[None]:
    """An engine that works off what comes, in a thread of its own."""
    ready, done = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def work() -> None:
        settings = KafkaSettings(bootstrap_servers=(bootstrap,), topic_prefix=prefix)
        async with open_broker(settings) as broker:
            worker = Worker(broker, EngineSettings(), reference(), application=f"{prefix}engine", max_records=60)
            await worker.start()
            while not worker.ready:
                await worker.turn(0.05)
            ready.set()
            while not done.is_set():
                await worker.turn(0.05)
            await worker.finish()
            await worker.close()

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as failure:
            failed.append(failure)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(DEADLINE_SECONDS)
        yield
    finally:
        done.set()
        thread.join()
    assert not failed


async def worked_off(broker: Any) -> None:
    """Until all events have been decided or rated or rejected."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            ends = {}
            for topic in topics.INPUTS:
                for partition in range(PARTITIONS):
                    async for batch in broker.read_to_end(TopicPartition(topic.name, partition)):
                        ends[topic.name, partition] = batch[-1].offset + 1
            done = {}
            for partition in range(PARTITIONS):
                async for batch in broker.read_to_end(TopicPartition(topics.ENGINE_STATE.name, partition)):
                    for record in batch:
                        if record.key == b"p":
                            for topic, offset in decode_position(record.value).next_offsets.items():
                                done[topic, partition] = offset
            if all(done.get(place, 0) >= end for place, end in ends.items()):
                return


def test_on_kafka_projectors_come_and_go_and_everything_is_there_once(database, kafka: LocalKafka, prefix: str):
    async def story(db: Database) -> None:
        await make_topics(kafka.bootstrap, prefix)
        settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap,), topic_prefix=prefix, session_timeout_ms=6_000)
        group = f"{prefix}tollgate-projector"
        with working(kafka.bootstrap, prefix):
            async with open_broker(settings) as broker:
                await feed(kafka.bootstrap, prefix, 0, 300)
                first = await started_on(broker, db, group)
                await until_written(first, db, 100)
                # It goes without a word, in the midst of its work.
                await first._give_up_all()
                second = await started_on(broker, db, group)
                await feed(kafka.bootstrap, prefix, 300, 600)
                await first.close()
                await until_written(second, db, 300)
                report = await audit(db.pool, broker, business_time_zone=ZONE)
                assert report.findings == []
                await feed(kafka.bootstrap, prefix, 600, 1000)
                await worked_off(broker)
                op = await OnKafka().read(broker)
                ends = {(r.topic, r.partition): r.offset for t in topics.OUTPUTS for r in op.said(t.name)}
                await until(
                    lambda: all(
                        (there := second.positions.get(TopicPartition(*place))) and there.next_offset > last
                        for place, last in ends.items()
                        if place[0] != topics.TRAFFIC.name
                    ),
                    second,
                )
                await second.finish()
                await assert_all_is_there_once(op, db)
                report = await audit(db.pool, broker, business_time_zone=ZONE)
                assert report.findings == []
                assert report.on_its_way == {}
                assert report.accounts == len({one["account_id"] for one in op.told(BALANCES)})
                await second.close()

    database.run(story)


async def started_on(broker: Any, db: Database, group: str) -> Projector:
    made = Projector(broker, store(db.pool), group=group)
    await made.start()
    return made


async def until_written(projector: Any, db: Database, rows: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await db.pool.fetchval("SELECT count(*) FROM facts.decisions") < rows:
            await projector.turn(0.05)


# As processes

WAY_IN = "import connectors.cli.audit, connectors.cli.projector; from connectors.cli import main; main()"


@pytest.fixture
def environment(kafka: LocalKafka, prefix: str, database: Any) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TOLLGATE_KAFKA_TOPIC_PREFIX": prefix,
        "TOLLGATE_METRICS_PORT": str(port),
        "TOLLGATE_DATABASE_DSN": database.dsn,
    }


def tollgate(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WAY_IN, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@contextmanager
def projecting(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAY_IN, "projector"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(environment: Mapping[str, str], path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    url = f"http://127.0.0.1:{environment['TOLLGATE_METRICS_PORT']}{path}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def number(environment: Mapping[str, str], name: str) -> float:
    """The sum of a metric's series."""
    found = ask(environment, "/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in found if line.split("{")[0].split(" ")[0] == name)


def wait_until(true: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_operator_starts_watches_kills_and_stops_a_projector_and_audits_the_books(
    database, kafka: LocalKafka, prefix: str, environment: dict[str, str]
):
    asyncio.run(make_topics(kafka.bootstrap, prefix))
    with working(kafka.bootstrap, prefix):
        asyncio.run(feed(kafka.bootstrap, prefix, 0, 500))
        with projecting(environment) as process:
            wait_until(lambda: ask(environment, "/ready")[0] == 200, process)
            wait_until(lambda: number(environment, "tollgate_projected_records_total") > 100, process)
            process.kill()
        asyncio.run(feed(kafka.bootstrap, prefix, 500, 1000))

        async def ended() -> OnKafka:
            settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap,), topic_prefix=prefix)
            async with open_broker(settings) as broker:
                await worked_off(broker)
                return await OnKafka().read(broker)

        op = asyncio.run(ended())
    with projecting(environment) as process:
        # Its predecessor is in the group until its session is over.
        wait_until(lambda: ask(environment, "/ready")[0] == 200, process)
        wait_until(lambda: number(environment, "tollgate_projector_lag_records") == 0, process)
        assert json.loads(ask(environment, "/ready")[1])["partitions"] == [0, 1, 2, 3]
        assert ask(environment, "/live")[0] == 200
        wait_until(lambda: rated_rows(database) == len(op.said(RATED)), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0, process.communicate()[1]
    database.run(lambda db: assert_all_is_there_once(op, db))

    done = tollgate(environment, "audit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything agrees, to the micro" in done.stdout
    report = json.loads(tollgate(environment, "audit", "--json", "--since", "2026-11-24").stdout)
    assert report["findings"] == []
    assert report["rows"]["rated_cdrs"] == len(op.said(RATED))
    assert len(set(report["clients_micros"].values())) == 1

    asyncio.run(plant(database.dsn))
    done = tollgate(environment, "audit", "--json")
    assert done.returncode == 1
    assert {finding["what"] for finding in json.loads(done.stdout)["findings"]} == {"balance", "chain", "posting"}
    assert tollgate(environment, "audit", "--since", "2026-11-25", "--database-only").returncode == 0


def rated_rows(database: Any) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(database.dsn)
        try:
            return await connection.fetchval("SELECT count(*) FROM facts.rated_cdrs")
        finally:
            await connection.close()

    return asyncio.run(count())


async def plant(dsn: str) -> None:
    owner = await asyncpg.connect(dsn)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE cause_id = ("
        " SELECT cause_id FROM books.transfers WHERE cause = 'rated_cdr' AND account_id IS NOT NULL LIMIT 1)"
        " AND account_id IS NOT NULL"
    )
    await owner.close()


@pytest.mark.parametrize("command", ["projector", "audit"])
def test_without_topics_without_kafka_or_without_a_database_one_message_says_what_to_do(
    command: str, environment: dict[str, str]
):
    for key, value, said in (
        ("TOLLGATE_KAFKA_TOPIC_PREFIX", "nowhere-", "tollgate topics create"),
        ("TOLLGATE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1", "nothing listens at 127.0.0.1:1"),
        ("TOLLGATE_DATABASE_DSN", "postgresql://x@127.0.0.1:1/tollgate", "can't be reached"),
    ):
        done = tollgate(environment | {key: value}, command)
        assert done.returncode == 2, done.stdout + done.stderr
        assert said in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr
