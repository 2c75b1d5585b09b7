"""What the relay's process says of itself: its numbers, and whether it is ready."""

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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka_broker import create_topics
from postgres import TestedDatabase
from prometheus_client.exposition import generate_latest

from connectors.health import HealthServer
from connectors.memory import MemoryBroker
from connectors.postgres.change import change
from connectors.postgres.database import RELAY, Database
from connectors.postgres.outbox import Backlog, Waiting
from connectors.relay import THE_BROKER, THE_DATABASE, Relay
from connectors.relay_metrics import RelayHealth, RelayMetrics, registry
from deploy.kafka.local import LocalKafka
from schemas import topics
from schemas.reference import TariffPlan
from schemas.times import from_datetime

NOON = 1_795_521_600.0
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DEADLINE_SECONDS = 60.0
NOTHING = Backlog(0, None, 0)


@dataclass
class Watched:
    active: bool = True
    standing_by: bool = False
    backlog: Backlog = NOTHING
    away: str | None = None
    version: int = 7
    last_step: float = 0.0
    oldest: float = 0.0

    def oldest_seconds(self) -> float:
        return self.oldest


def numbers_of(text: str) -> dict[str, float]:
    lines = text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def numbers(metrics: RelayMetrics) -> dict[str, float]:
    return numbers_of(generate_latest(registry(metrics)).decode())


def metrics_of(watched: Watched) -> RelayMetrics:
    metrics = RelayMetrics(now=lambda: NOON, monotonic=lambda: 100.0)
    metrics.watch(watched)
    return metrics


def row(kind: str) -> Waiting:
    return Waiting(1, 1, AT, "ivanov", kind, "x", None)


def test_what_was_published_is_counted_by_kind_with_the_time_it_waited():
    metrics = metrics_of(Watched())
    metrics.published([row("lock"), row("account"), row("lock")], 0.25)
    metrics.published([row("command")], 0.5)
    metrics.locks_ended(2)
    found = numbers(metrics)

    assert found['tollgate_relay_published_total{kind="lock"}'] == 2
    assert found['tollgate_relay_published_total{kind="account"}'] == 1
    assert found['tollgate_relay_published_total{kind="command"}'] == 1
    # A series that began with its first row would hide that one from `rate`.
    assert found['tollgate_relay_published_total{kind="price_list"}'] == 0
    assert (found["tollgate_relay_delay_seconds_sum"], found["tollgate_relay_delay_seconds_count"]) == (0.75, 2)
    assert found["tollgate_relay_locks_ended_total"] == 2


def test_what_waits_is_told_apart_from_what_waits_for_its_moment():
    found = numbers(metrics_of(Watched(backlog=Backlog(3, AT, 2), oldest=42.0, last_step=90.0)))

    assert found["tollgate_relay_waiting_rows"] == 3
    assert found["tollgate_relay_later_rows"] == 2
    assert found["tollgate_relay_waiting_seconds"] == 42
    assert found["tollgate_relay_reference_version"] == 7
    assert (found["tollgate_relay_active"], found["tollgate_relay_ready"]) == (1, 1)
    assert found["tollgate_relay_last_round_timestamp_seconds"] == NOON - 10


def test_who_does_not_answer_is_named():
    metrics = metrics_of(Watched(active=False, away=THE_DATABASE))
    metrics.away(THE_DATABASE)
    found = numbers(metrics)

    assert found['tollgate_relay_is_away{what="database"}'] == 1
    assert found['tollgate_relay_is_away{what="broker"}'] == 0
    assert found['tollgate_relay_away_total{what="database"}'] == 1
    assert found['tollgate_relay_away_total{what="broker"}'] == 0
    assert found["tollgate_relay_ready"] == 0


@pytest.mark.parametrize(
    ("watched", "waiting_for"),
    [
        (Watched(active=True), None),
        (Watched(active=False, standing_by=True), None),
        (Watched(active=False), "its start"),
        (Watched(active=False, away=THE_BROKER), "the broker: it does not answer now"),
        (Watched(active=False, away=THE_DATABASE), "the database: it does not answer now"),
        (Watched(last_step=-200.0), "the main loop has finished no round for 200 s"),
    ],
)
def test_it_is_ready_when_it_publishes_or_stands_by_and_everything_answers(watched: Watched, waiting_for: str | None):
    now = [-200.0]
    health = RelayHealth(watched, monotonic=lambda: now[0])
    now[0] = 0.0
    answer = health.ready()
    said = json.loads(answer.body)

    assert answer.status == (200 if waiting_for is None else 503)
    assert said["active"] is watched.active
    if waiting_for is None:
        assert said["waiting_for"] == []
    else:
        assert said["waiting_for"][0].startswith(waiting_for)


def test_it_is_alive_as_long_as_its_loop_turns_whatever_is_away():
    now = [0.0]
    watched = Watched(active=False, away=THE_DATABASE)
    health = RelayHealth(watched, round_seconds=180.0, monotonic=lambda: now[0])
    assert health.live().status == 200
    now[0] = 181.0
    assert health.live().status == 503
    watched.last_step = 100.0
    assert health.live().status == 200


def broker() -> MemoryBroker:
    return MemoryBroker({topics.REFERENCE.name: 1, topics.ACCOUNT_COMMANDS.name: 2}, [topics.REFERENCE.name])


async def save(db: Database, name: str) -> None:
    async with change(db.pool, actor="ivanov", reason="a test", at=AT) as tx:
        await tx.audit("tariff_plan", name, "set", None, None)
        await tx.publish("tariff_plan", name, TariffPlan(name, (), False))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():
            await asyncio.sleep(0.01)


def test_a_relay_at_work_says_what_it_does(database: TestedDatabase):
    """The real relay and its stand-by, with the rights of the role, asked over HTTP."""

    async def saved(db: Database) -> None:
        await save(db, "A")
        await save(db, "B")

    async def story(db: Database) -> None:
        async def now_us() -> int:
            return from_datetime(AT + timedelta(seconds=3))

        topic = broker()
        metrics, other = RelayMetrics(), RelayMetrics()
        relay = Relay(db.pool, topic, now_us=now_us, observer=metrics)
        standby = Relay(db.pool, topic, now_us=now_us, observer=other)
        metrics.watch(relay)
        other.watch(standby)
        server = HealthServer(registry(metrics), RelayHealth(relay))
        port = await server.start("127.0.0.1", 0)
        status, body = await asyncio.to_thread(ask, port, "/ready")
        assert (status, json.loads(body)["active"]) == (503, False)
        running = [asyncio.create_task(relay.run())]
        await until(lambda: relay.version == 2)
        running.append(asyncio.create_task(standby.run()))
        await until(lambda: standby.standing_by)

        status, body = await asyncio.to_thread(ask, port, "/ready")
        assert status == 200
        assert json.loads(body) == {
            "ready": True,
            "waiting_for": [],
            "active": True,
            "waiting_rows": json.loads(body)["waiting_rows"],
            "reference_version": 2,
        }
        await until(lambda: relay.backlog.rows == 0)
        status, body = await asyncio.to_thread(ask, port, "/metrics")
        found = numbers_of(body)
        assert found['tollgate_relay_published_total{kind="tariff_plan"}'] == 2
        assert found["tollgate_relay_delay_seconds_sum"] == 6.0
        assert found["tollgate_relay_waiting_rows"] == 0
        assert (numbers(other)["tollgate_relay_active"], numbers(other)["tollgate_relay_ready"]) == (0, 1)
        for one in (standby, relay):
            one.stop()
        await asyncio.gather(*running)
        await server.close()

    database.run(saved)
    database.run(story, role=RELAY)


def test_what_waits_gets_older_while_nobody_can_look(database: TestedDatabase):
    async def saved(db: Database) -> None:
        await save(db, "A")

    async def story(db: Database) -> None:
        monotonic = [0.0]

        async def now_us() -> int:
            return from_datetime(AT + timedelta(seconds=30))

        # Another one is active, and does not publish.
        async with db.pool.acquire() as holder:
            await holder.execute("SELECT pg_advisory_lock($1)", 0x746F6C6C)
            relay = Relay(db.pool, broker(), now_us=now_us, monotonic=lambda: monotonic[0])
            running = asyncio.create_task(relay.run())
            await until(lambda: relay.backlog.rows == 1)
            assert relay.oldest_seconds() == 30
            monotonic[0] = 12.0
            assert relay.oldest_seconds() in (30, 42)
            relay.stop()
            await running
            await holder.execute("SELECT pg_advisory_unlock_all()")

    database.run(saved)
    database.run(story, role=RELAY)


# The process


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_the_command_shows_its_numbers_and_its_health(kafka: LocalKafka, tmp_path: Path, database: TestedDatabase):
    prefix = "relay-metrics-"
    asyncio.run(create_topics(kafka.bootstrap, {f"{prefix}account-commands": 2}))
    asyncio.run(create_topics(kafka.bootstrap, {f"{prefix}reference": 1}, {"cleanup.policy": "compact"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TOLLGATE_KAFKA_TOPIC_PREFIX": prefix,
        "TOLLGATE_DATABASE_DSN": database.dsn,
        "TOLLGATE_METRICS_PORT": str(port),
    }

    async def saved(db: Database) -> None:
        await save(db, "A")

    database.run(saved)
    command = [str(Path(sys.executable).parent / "tollgate"), "relay"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            found: dict[str, Any] = {}
            began = time.monotonic()
            while found.get('tollgate_relay_published_total{kind="tariff_plan"}') != 1:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() - began < DEADLINE_SECONDS
                time.sleep(0.05)
                found = numbers_of(ask(port, "/metrics")[1])
            assert found["tollgate_relay_active"] == 1
            assert ask(port, "/ready")[0] == ask(port, "/live")[0] == 200
            taken = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert taken.returncode == 2
            assert "TOLLGATE_METRICS_PORT" in taken.stderr.replace("\n", " ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_SECONDS) == 0, process.communicate()[1]
        finally:
            process.kill()
