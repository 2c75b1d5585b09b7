"""The relay: each change of the office reaches the engine once, in its order, whoever dies on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec import json
from postgres import TestedDatabase

from connectors.broker import TopicPartition, Unavailable
from connectors.memory import POINTS, MemoryBroker
from connectors.postgres import outbox
from connectors.postgres.change import change
from connectors.postgres.database import RELAY, Database
from connectors.reference.reader import ReferenceReader
from connectors.relay import Relay
from connectors.relay_session import EmptyTopic, Stuck
from engine.reference import Reference
from schemas import topics
from schemas.codec import decode_account_command
from schemas.events import Payment
from schemas.reference import Account, Lock, TariffPlan
from schemas.times import from_datetime, to_text

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DEADLINE_SECONDS = 20.0
PARTITIONS = 3


class Died(Exception):
    """The process of a relay is killed."""


class Killer:
    """A broker's hook that kills whoever comes to a point for the so-manyth time."""

    def __init__(self, point: str | None = None, times: int = 1, error: type[Exception] = Died) -> None:
        self.point, self.left, self.error = point, times, error

    async def __call__(self, point: str, who: str) -> None:
        if point == self.point and who.startswith("tollgate-re"):
            self.left -= 1
            if self.left == 0:
                raise self.error(point)


def broker_with(hook: Any = None) -> MemoryBroker:
    return MemoryBroker(
        {topic.name: PARTITIONS if topic.partitioned_like_input else 1 for topic in topics.ALL},
        [topic.name for topic in topics.ALL if topic.policy != "delete"],
        hook=hook,
    )


def relay_of(db: Database, broker: MemoryBroker, now: datetime = AT, **more: Any) -> Relay:
    async def now_us() -> int:
        return from_datetime(now)

    return Relay(db.pool, broker, now_us=now_us, **more)


def account(number: int, place: str | None = None) -> Account:
    return Account(f"{number}", "C", "T", "prepaid", "RUB", 0, 0, None, "active", place, None)


def lock(number: int, reason: str = "fraud") -> Lock:
    return Lock(f"L{number}", "prefix", f"38{number}", None, None, "ivanov", reason, "2026-11-24T09:00:00.000Z")


async def save(db: Database, *rows: tuple[str, str, Any], at: datetime = AT) -> None:
    """One change of the office."""
    async with change(db.pool, actor="ivanov", reason="a test", at=at) as tx:
        for kind, key, payload in rows:
            await tx.audit(kind, key, "set", None, payload)
            await tx.publish(kind, key, payload)


async def office_work(db: Database) -> None:
    """Changes of all kinds, commands among them."""
    await save(
        db, ("tariff_plan", "T", TariffPlan("T", (), False)), *(("account", f"{n}", account(n)) for n in range(4))
    )
    for number in range(12):
        await save(db, ("command", f"{number % 4}", payment(number)))
        if number % 4 == 1:
            await save(db, ("lock", f"L{number}", lock(number)), ("account", "0", account(0, f"p{number}")))
    await save(db, ("lock", "L1", None))
    await save(db, ("lock", "L5", lock(5, "another reason")))


def payment(number: int) -> Payment:
    return Payment(f"p{number}", f"{number % 4}", to_text(from_datetime(AT)), 1_000_000 + number)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await true():
            await asyncio.sleep(0.005)


async def nothing_waits(db: Database) -> bool:
    async with db.pool.acquire() as connection:
        return (await outbox.backlog(connection, now=AT)).rows == 0


async def drain(db: Database, broker: MemoryBroker, **more: Any) -> None:
    """Runs a relay until nothing waits, and starts another one whenever it dies."""
    while not await nothing_waits(db):
        relay = relay_of(db, broker, **more)
        running = asyncio.create_task(relay.run())
        await until(partial(_done_or_empty, db, running))
        relay.stop()
        try:
            await running
        except Died:
            continue


async def _done_or_empty(db: Database, running: "asyncio.Task[None]") -> bool:
    return running.done() or await nothing_waits(db)


def sent(broker: MemoryBroker) -> dict[int, list[str]]:
    """Ids of the commands by account, as they stand on the topic."""
    found: dict[int, list[str]] = {}
    for partition in range(PARTITIONS):
        for record in broker.committed(topics.ACCOUNT_COMMANDS.name, partition):
            assert record.value is not None
            command = decode_account_command(record.value)
            found.setdefault(int(command.account_id), []).append(command.command_id)
            assert record.timestamp_us == from_datetime(AT)
    return found


async def in_force(broker: MemoryBroker) -> Reference:
    reader = ReferenceReader(broker)
    await reader.start()
    return reader.reference


def locks_of(broker: MemoryBroker) -> dict[str, str]:
    """Reasons of the locks that are on the topic at its end."""
    values = {record.key: record.value for record in broker.committed(topics.REFERENCE.name, 0)}
    found = [json.decode(value) for key, value in values.items() if key.startswith(b"lock/") and value is not None]
    return {one["lock_id"]: one["reason"] for one in found}


EXPECTED = {number: [f"p{number + 4 * i}" for i in range(3)] for number in range(4)}


async def assert_all_was_told(db: Database, broker: MemoryBroker) -> None:
    assert sent(broker) == EXPECTED
    reference = await in_force(broker)
    assert locks_of(broker) == {"L5": "another reason", "L9": "fraud"}
    assert reference.accounts["0"].place == "p9"
    rows = await db.pool.fetch("SELECT kind, reference_version, change_id FROM plumbing.outbox ORDER BY seq")
    versions = [row["reference_version"] for row in rows if row["kind"] != "command"]
    assert versions == sorted(versions)
    assert None not in versions
    assert versions[-1] == reference.version
    # What was changed together is in force together.
    by_change: dict[int, set[int]] = {}
    for row in rows:
        if row["kind"] != "command":
            by_change.setdefault(row["change_id"], set()).add(row["reference_version"])
    assert all(len(found) == 1 for found in by_change.values())


def test_what_the_office_changes_reaches_the_engine_in_its_order(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await office_work(db)
        broker = broker_with()
        await drain(db, broker)
        await assert_all_was_told(db, broker)

    database.run(story)


def test_the_relay_gets_along_with_the_rights_of_its_role(database: TestedDatabase) -> None:
    database.run(office_work)

    async def story(db: Database) -> None:
        broker = broker_with()
        await drain(db, broker)
        await assert_all_was_told(db, broker)

    database.run(story, role=RELAY)


_STEPS = ("producer", "begin", "send", "commit.before", "commit.after", "read", "partition_count")


@pytest.mark.parametrize("times", [1, 2, 4])
@pytest.mark.parametrize("point", [point for point in POINTS if point in _STEPS])
@pytest.mark.parametrize("error", [Died, Unavailable])
def test_a_relay_may_die_or_lose_the_broker_at_any_step(
    database: TestedDatabase, point: str, times: int, error: type[Exception]
) -> None:
    async def story(db: Database) -> None:
        await office_work(db)
        broker = broker_with(Killer(point, times, error))
        await drain(db, broker)
        await assert_all_was_told(db, broker)

    database.run(story)


@pytest.mark.parametrize("times", range(1, 8))
def test_a_relay_may_die_between_publishing_and_noting_it(
    database: TestedDatabase, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = times
    mark = outbox.mark

    async def dies(connection: Any, seqs: Any, version: int | None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died("mark")
        await mark(connection, seqs, version)

    monkeypatch.setattr(outbox, "mark", dies)

    async def story(db: Database) -> None:
        await office_work(db)
        broker = broker_with()
        await drain(db, broker)
        await assert_all_was_told(db, broker)

    database.run(story)


def test_one_relay_is_active_and_another_one_takes_over(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        broker = broker_with()
        first, second = relay_of(db, broker), relay_of(db, broker)
        running = [asyncio.create_task(first.run())]
        await until(lambda: _is_active(first))
        running.append(asyncio.create_task(second.run()))
        await save(db, ("tariff_plan", "T", TariffPlan("T", (), False)))
        await until(lambda: nothing_waits(db))
        assert (first.active, second.active) == (True, False)
        first.stop()
        await running[0]
        await until(lambda: _is_active(second))
        await save(db, ("account", "1", account(1)))
        await until(lambda: nothing_waits(db))
        second.stop()
        await running[1]

    database.run(story)


async def _is_active(relay: Relay) -> bool:
    return relay.active


def test_what_is_saved_is_published_at_once(database: TestedDatabase) -> None:
    """By a notification: the outbox itself is looked at once a second, and the deadline of this test is shorter."""

    async def story(db: Database) -> None:
        broker = broker_with()
        relay = relay_of(db, broker)
        running = asyncio.create_task(relay.run())
        await until(lambda: _is_active(relay))
        loop = asyncio.get_running_loop()
        took = []
        for number in range(5):
            began = loop.time()
            await save(db, ("lock", f"L{number}", lock(number)))
            await until(lambda: nothing_waits(db))
            took.append(loop.time() - began)
        relay.stop()
        await running
        assert min(took) < 1.0

    database.run(story)


def test_what_can_not_be_published_stops_the_relay_before_what_comes_behind(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await save(db, ("account", "1", account(1)))
        await save(db, ("lock", "L1", lock(1)))
        broker = broker_with()
        with pytest.raises(Stuck, match=r"outbox row 1 .* tariff_plan 'T', which is not published"):
            await relay_of(db, broker).run()
        assert not await nothing_waits(db)
        assert not broker.committed(topics.REFERENCE.name, 0)

    database.run(story)


def test_a_new_kafka_gets_all_that_the_record_says_when_it_is_asked_for(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await office_work(db)
        await drain(db, broker_with())
        new = broker_with()
        with pytest.raises(EmptyTopic, match="--republish"):
            await relay_of(db, new).run()
        await save(db, ("lock", "L7", lock(7)), at=AT + timedelta(seconds=1))
        await drain(db, new, republish=True)
        reference = await in_force(new)
        published = await db.pool.fetchval("SELECT max(reference_version) FROM plumbing.outbox")
        assert reference.version == published
        # The tables of the office are empty in this test: what was changed since the empty topic was filled is there.
        assert set(locks_of(new)) == {"L7"}

    database.run(story)


def test_a_partition_of_the_commands_is_that_of_the_account(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await office_work(db)
        broker = broker_with()
        await drain(db, broker)
        for partition in range(PARTITIONS):
            keys = {record.key for record in broker.committed(topics.ACCOUNT_COMMANDS.name, partition)}
            assert await broker.earliest(TopicPartition(topics.ACCOUNT_COMMANDS.name, partition)) == 0
            for key in keys:
                assert key is not None
                others = [p for p in range(PARTITIONS) if p != partition]
                assert all(
                    key not in {r.key for r in broker.committed(topics.ACCOUNT_COMMANDS.name, p)} for p in others
                )

    database.run(story)


def test_a_lock_whose_time_is_over_is_lifted_without_anyone_asking(database: TestedDatabase) -> None:
    """By the business clock, with the rights of the role; the history and the audit say that it was the system."""
    now = [AT]
    ends = AT + timedelta(hours=1)

    async def office(db: Database) -> None:
        for number, end in ((1, ends), (2, ends + timedelta(hours=1)), (3, None)):
            await db.pool.execute(
                "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, ends_at, changed_at, "
                "changed_by, change_reason) VALUES ($1, 'prefix', $2, 'ivanov', 'x', $3, $4, $3, 'ivanov', 'x')",
                f"L{number}",
                f"38{number}",
                AT,
                end,
            )
            await save(db, ("lock", f"L{number}", lock(number)))
        await db.pool.execute(
            "INSERT INTO office.business_clock (mode, stopped_at, set_at, set_by) VALUES ('stopped', $1, $1, 'test') "
            "ON CONFLICT DO NOTHING",
            ends,
        )

    async def story(db: Database) -> None:
        async def now_us() -> int:
            return from_datetime(now[0])

        async def lifted() -> bool:
            return set(locks_of(broker)) == {"L2", "L3"}

        broker = broker_with()
        relay = Relay(db.pool, broker, now_us=now_us)
        running = asyncio.create_task(relay.run())
        await until(lambda: nothing_waits(db))
        assert set(locks_of(broker)) == {"L1", "L2", "L3"}
        now[0] = ends
        await until(lifted)
        relay.stop()
        await running
        history = await db.pool.fetch(
            "SELECT lock_id, action, actor, why, at FROM office.lock_history WHERE action = 'lifted'"
        )
        assert [tuple(row) for row in history] == [("L1", "lifted", "tollgate", "its time was over", ends)]
        told = await db.pool.fetchrow("SELECT actor, interface, reason FROM plumbing.audit ORDER BY seq DESC LIMIT 1")
        assert tuple(told) == ("tollgate", "clock", "its time was over")
        assert await db.pool.fetch("SELECT * FROM plumbing.audit_faults()") == []

    database.run(office)
    database.run(story, role=RELAY)


def test_a_relay_that_stands_by_lifts_nothing(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await db.pool.execute(
            "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, ends_at, changed_at, "
            "changed_by, change_reason) VALUES ('L1', 'prefix', '381', 'ivanov', 'x', $1, $2, $1, 'ivanov', 'x')",
            AT - timedelta(hours=2),
            AT - timedelta(hours=1),
        )
        async with db.pool.acquire() as other:
            assert await outbox.take(other)
            relay = relay_of(db, broker_with())
            running = asyncio.create_task(relay.run())
            await until(lambda: _stands_by(relay))
            began = relay.last_step
            await until(lambda: _after(relay, began))
            assert await db.pool.fetchval("SELECT lifted_at FROM office.locks") is None
            await other.execute("SELECT pg_advisory_unlock_all()")
        await until(lambda: _is_active(relay))
        await until(partial(_lifted, db))
        relay.stop()
        await running

    database.run(story)


async def _stands_by(relay: Relay) -> bool:
    return relay.standing_by


async def _after(relay: Relay, step: float) -> bool:
    return relay.last_step > step


async def _lifted(db: Database) -> bool:
    return await db.pool.fetchval("SELECT lifted_at FROM office.locks") is not None
