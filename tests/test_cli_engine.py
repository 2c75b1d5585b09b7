"""`tollgate engine`: the process as its operator starts, watches and stops it, on a real Kafka."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka_broker import create_topics
from test_cli import _elsewhere, refused, tollgate  # noqa: F401  (each test in an empty folder of its own)

from connectors.kafka.door import open_broker
from connectors.sample.operator import write_reference
from connectors.settings import KafkaSettings
from deploy.kafka.local import LocalKafka
from schemas import topics
from schemas.codec import encode
from schemas.events import CallAttempt
from schemas.partitions import partition_of
from schemas.times import to_text

DEADLINE_SECONDS = 60.0
PARTITIONS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reference")
    write_reference(made, seed=1)
    return made


@pytest.fixture
def environment(kafka: LocalKafka, prefix: str) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TOLLGATE_KAFKA_TOPIC_PREFIX": prefix,
        "TOLLGATE_KAFKA_APPLICATION": f"{prefix}engine",
        "TOLLGATE_KAFKA_REPLICATION_FACTOR": "1",
        "TOLLGATE_KAFKA_PARTITIONS": str(PARTITIONS),
        "TOLLGATE_METRICS_PORT": str(port),
    }


@contextmanager
def engine(environment: Mapping[str, str]) -> Iterator["Engine"]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from connectors.cli import main; main()", "engine"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Engine(process, int(environment["TOLLGATE_METRICS_PORT"]))
    finally:
        process.kill()
        process.communicate()


class Engine:
    """A running engine, and what it says over HTTP."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self._port = port

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.ask("/ready")[0] != 200:
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, "the engine does not get ready"
            time.sleep(0.05)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def number(self, name: str) -> float:
        """The sum of a metric's series."""
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


async def decided(bootstrap: str, prefix: str, asked: list[CallAttempt], partition: int | None = None) -> list[dict]:
    """Sends attempts and waits for as many decisions as there are attempts, in the order of arrival."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    reader = AIOKafkaConsumer(
        f"{prefix}{topics.CALL_DECISIONS.name}",
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="latest",
    )
    await producer.start()
    await reader.start()
    for there in reader.assignment():
        await reader.position(there)
    try:
        for attempt in asked:
            key = (attempt.account_id or attempt.called).encode()
            home = partition_of(key, PARTITIONS) if partition is None else partition
            topic = f"{prefix}{topics.CALL_ATTEMPTS.name}"
            await producer.send_and_wait(topic, encode(attempt), key, home)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [json.loads((await reader.getone()).value) for _ in asked]
    finally:
        await producer.stop()
        await reader.stop()


def attempt(attempt_id: str, called: str = "381114112060") -> CallAttempt:
    return CallAttempt(
        attempt_id=attempt_id,
        switch_id="msk-1",
        at=to_text(time.time_ns() // 1000),
        service="outgoing",
        called=called,
        account_id="100200",
        caller="74951234567",
        place="msk",
    )


def test_an_operator_sets_up_starts_kills_and_stops_an_engine(
    kafka: LocalKafka, prefix: str, environment: dict[str, str], folder: Path
) -> None:
    assert tollgate("topics", "create", environment=environment).code == 0
    assert tollgate("load", "--to-kafka", str(folder), environment=environment).code == 0
    first, second = attempt("a1"), attempt("a2", called="74957654321")

    with engine(environment) as killed:
        killed.wait_until_ready()
        denied, allowed = asyncio.run(decided(kafka.bootstrap, prefix, [first, second]))
        killed.process.kill()
    with engine(environment) as running:
        running.wait_until_ready()
        # The same again, once where it belongs and once where it does not.
        (again,) = asyncio.run(decided(kafka.bootstrap, prefix, [first]))
        stray = 1 - partition_of(b"100200", PARTITIONS)
        (forwarded,) = asyncio.run(decided(kafka.bootstrap, prefix, [second], partition=stray))

        assert (denied["allow"], denied["reason"]["code"], denied["reason"]["ask"]) == (False, "lock", "ivanov")
        assert allowed["allow"]
        assert again == {**denied, "repeated": True}
        assert forwarded == {**allowed, "repeated": True}
        assert running.number("tollgate_running_calls") == 1
        assert running.number("tollgate_held_micros") == allowed["hold_micros"]
        assert running.number("tollgate_forwarded_events_total") == 1
        assert running.number("tollgate_restored_records_total") > 0
        assert running.stop() == 0


def test_an_engine_without_topics_says_what_makes_them(environment: dict[str, str]) -> None:
    assert refused(tollgate("engine", environment=environment), "`tollgate topics create`")


def test_an_engine_without_reference_data_says_what_publishes_them(environment: dict[str, str]) -> None:
    tollgate("topics", "create", environment=environment)

    assert refused(tollgate("engine", environment=environment), "tollgate load --to-kafka")


def test_topics_with_different_numbers_of_partitions_are_refused(
    kafka: LocalKafka, prefix: str, environment: dict[str, str], folder: Path
) -> None:
    counts = {f"{prefix}{topic.name}": PARTITIONS if topic.partitioned_like_input else 1 for topic in topics.ALL}
    asyncio.run(create_topics(kafka.bootstrap, {**counts, f"{prefix}{topics.CDRS.name}": PARTITIONS + 1}))
    tollgate("load", "--to-kafka", str(folder), environment=environment)

    said = tollgate("engine", environment=environment)

    assert refused(said, f"{topics.CDRS.name} {PARTITIONS + 1}", "`tollgate topics check`")


def test_a_port_of_metrics_that_is_taken_is_told_at_once(environment: dict[str, str], folder: Path) -> None:
    tollgate("topics", "create", environment=environment)
    tollgate("load", "--to-kafka", str(folder), environment=environment)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["TOLLGATE_METRICS_PORT"])))
        taken.listen()

        assert refused(tollgate("engine", environment=environment), environment["TOLLGATE_METRICS_PORT"])


def test_a_broker_that_is_too_old_is_refused(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.kafka import wire
    from connectors.kafka.errors import Unusable

    monkeypatch.setitem(wire.NEEDED, 26, ("EndTxn", 99))

    async def connect() -> None:
        async with open_broker(KafkaSettings(bootstrap_servers=(kafka.bootstrap,))):
            pass

    with pytest.raises(Unusable, match=r"too old: it knows EndTxn up to version \d+, and 99 is needed"):
        asyncio.run(connect())
