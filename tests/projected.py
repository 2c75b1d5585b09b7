"""An operator to be projected: the busy half hour of the golden replays through the engine on the in-memory broker, and
a projector beside it; and a door to the database where things can be made to go wrong."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Protocol

from golden.update import EVENTS, FOLDER, load

from connectors.broker import Message, Record
from connectors.files.event_lines import EventFile, PlacedLine, Placer, chunks
from connectors.memory import Hook, MemoryBroker
from connectors.postgres.database import Database
from connectors.postgres.facts import READ, Facts
from connectors.postgres.facts_store import FactsStore
from connectors.projector import Projector
from connectors.worker import Worker
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas import topics
from schemas.times import to_us

PARTITIONS = 4
BUSY = FOLDER / "busy_half_hour"
ZONE = "Europe/Moscow"
NOON_US = to_us("2026-11-24T12:00:00.000Z")
DAY_US = 86_400_000_000

BALANCES = topics.ACCOUNT_BALANCES.name
COMMANDS = topics.ACCOUNT_COMMANDS.name
CDRS = topics.CDRS.name
DECISIONS = topics.CALL_DECISIONS.name
MOVEMENTS = topics.ACCOUNT_MOVEMENTS.name
NCV = topics.NUMBER_NCV.name
NOTICES = topics.NOTICES.name
RATED = topics.RATED_CDRS.name
REJECTED = topics.REJECTED_EVENTS.name

Json = dict[str, Any]


@cache
def lines() -> tuple[PlacedLine, ...]:
    """The events of the half hour, placed."""
    file = EventFile(BUSY / EVENTS)
    try:
        return tuple(line for chunk in chunks(file, Placer(PARTITIONS), 10_000) for line in chunk)
    finally:
        file.close()


@cache
def reference() -> Reference:
    return load(BUSY)


class Said:
    """What an engine published."""

    def said(self, topic: str) -> list[Record]:
        """The committed records of a topic, in order within each partition."""
        raise NotImplementedError

    def told(self, topic: str) -> list[Json]:
        """They, read."""
        return [json.loads(record.value or b"") for record in self.said(topic)]


class OnBroker(Protocol):
    """Whoever has the broker that is projected."""

    broker: MemoryBroker


class Operator(Said):
    """A broker and the engine on it. `work` takes events in; `said` is what the engine published."""

    def __init__(self, hook: Hook | None = None) -> None:
        compacted = [topic.name for topic in topics.ALL if topic.policy != "delete"]
        self.broker = MemoryBroker({topic.name: PARTITIONS for topic in topics.ALL}, compacted, hook=hook)
        self.worker = Worker(self.broker, EngineSettings(), reference())
        self._next = 0

    async def work(self, events: int = 10_000, *, batch: int = 100) -> "Operator":
        """Lets the engine work off so many of the half hour's events."""
        await self._started()
        some = lines()[self._next : self._next + events]
        self._next += len(some)
        for first in range(0, len(some), batch):
            now = some[first : first + batch]
            for line in now:
                self.broker.produce(line.topic, line.partition, [Message(line.key, line.value, line.timestamp_us)])
            await self._let_work(len(now))
        return self

    async def take(self, topic: str, partition: int, event: Json | bytes, *, at_us: int) -> None:
        """Takes one more event in."""
        await self._started()
        value = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.broker.produce(topic, partition, [Message(b"k", value, at_us)])
        await self._let_work(1)

    def said(self, topic: str) -> list[Record]:
        return [record for partition in range(PARTITIONS) for record in self.broker.committed(topic, partition)]

    def forge(self, topic: str, value: bytes | Json, partition: int = 0, key: bytes = b"k") -> None:
        """A record that no engine wrote."""
        value = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.broker.produce(topic, partition, [Message(key, value, NOON_US)])

    async def close(self) -> None:
        await self.worker.close()

    async def _started(self) -> None:
        if not self.worker.tasks:
            await self.worker.start()
            while not self.worker.ready:
                await self.worker.step()

    async def _let_work(self, records: int) -> None:
        while records > 0:
            records -= await self.worker.step()


@asynccontextmanager
async def operator(events: int = 10_000) -> AsyncIterator[Operator]:
    """An operator after so many events of the half hour."""
    made = Operator()
    try:
        yield await made.work(events)
    finally:
        await made.close()


def store(pool: Any, **more: Any) -> FactsStore:
    return FactsStore(pool, Facts(ZONE), **more)


async def started(operator: OnBroker, pool: Any, **more: Any) -> Projector:
    """A projector that has joined its group."""
    made = Projector(operator.broker, pool if isinstance(pool, FactsStore) else store(pool), **more)
    await made.start()
    return made


async def project(operator: OnBroker, db: Database) -> None:
    """Brings all that is there into the database."""
    made = await started(operator, db.pool)
    await caught_up(operator, made)
    await made.close()


async def caught_up(operator: OnBroker, *projectors: Projector) -> None:
    """Until all that is there has been written by one of them."""
    await until(lambda: not behind(operator, *projectors), *projectors)
    for one in projectors:
        await one.finish()


async def until(true: Callable[[], bool], *projectors: Projector) -> None:
    """Lets projectors turn until something is true."""
    for _ in range(20_000):
        if true():
            return
        for one in projectors:
            await one.turn(0.001)
    raise AssertionError(f"the projectors do not get there: {[(one.positions, one.stopped) for one in projectors]}")


def behind(operator: OnBroker, *projectors: Projector) -> list[tuple[str, int]]:
    """Places that none of the projectors has written to their ends."""
    written = {place: position.next_offset for one in projectors for place, position in one.positions.items()}
    return [
        place
        for topic in READ
        for place in ((topic.name, partition) for partition in range(PARTITIONS))
        if (last := operator.broker.committed(*place)) and written.get(place, 0) <= last[-1].offset
    ]


async def assert_all_is_there_once(operator: Said, db: Database) -> None:
    """The database says what the topics say: each record once, and the books what both say."""
    for topic, table in ((DECISIONS, "decisions"), (RATED, "rated_cdrs"), (MOVEMENTS, "movements")):
        rows = await db.pool.fetch(f"SELECT source_partition, source_offset, record FROM facts.{table}")
        assert sorted(map(tuple, rows)) == sorted((r.partition, r.offset, r.value) for r in operator.said(topic)), topic
    for topic, table in ((REJECTED, "rejected"), (NOTICES, "notices")):
        rows = await db.pool.fetch(f"SELECT source_partition, source_offset FROM facts.{table}")
        assert sorted(map(tuple, rows)) == sorted((r.partition, r.offset) for r in operator.said(topic)), topic
    last = {one["account_id"]: one for one in operator.told(BALANCES)}
    rows = await db.pool.fetch(
        "SELECT account_id, balance_micros, held_micros, running_calls, status FROM facts.balances"
    )
    assert {row[0]: tuple(row)[1:] for row in rows} == {
        account_id: (one["balance_micros"], one["held_micros"], one["running_calls"], one["status"])
        for account_id, one in last.items()
    }
    counters = {(one["number"], one["day"]): (one["calls"], one["unique_callers"]) for one in operator.told(NCV)}
    rows = await db.pool.fetch("SELECT number, day::text, calls, unique_callers FROM facts.ncv")
    assert {(row[0], row[1]): tuple(row)[2:] for row in rows} == counters
    booked = await balances_by_books(db)
    assert booked == {account_id: one["balance_micros"] for account_id, one in last.items() if account_id in booked}
    assert all(not last[account_id]["balance_micros"] for account_id in last.keys() - booked.keys())
    rows = await db.pool.fetch("SELECT cause, source_partition, source_offset, debit FROM books.transfers")
    assert max(Counter(map(tuple, rows)).values()) == 1
    wholesale = sum(one["wholesale"]["amount_micros"] for one in operator.told(RATED) if one["wholesale"])
    owed = "SELECT sum(amount_micros) FROM books.transfers t JOIN books.accounts c ON ledger_id = credit"
    assert await db.pool.fetchval(f"{owed} WHERE c.kind = 'payable'") == wholesale


async def balances_by_books(db: Database) -> dict[str, int]:
    """What each client's account comes to by the books."""
    rows = await db.pool.fetch(
        "SELECT owner, sum(moved) FROM ("
        " SELECT credit AS ledger_id, amount_micros AS moved FROM books.transfers"
        " UNION ALL SELECT debit, -amount_micros FROM books.transfers"
        ") m JOIN books.accounts USING (ledger_id) WHERE kind = 'client' GROUP BY owner"
    )
    return {row[0]: int(row[1]) for row in rows}


# A door where things go wrong

Trap = Callable[[str, Any], Awaitable[None]]
"""Awaited with the step's name, before and after each; it may wait, or raise what the projector is to see."""


class TrappedPool:
    """A pool whose connections spring a trap: before and after `advance`, each table's name, `balances`, …, and
    `commit`."""

    def __init__(self, pool: Any, trap: Trap) -> None:
        self._pool = pool
        self._trap = trap

    def get_max_size(self) -> int:
        return int(self._pool.get_max_size())

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> AsyncIterator[Any]:
        async with self._pool.acquire(timeout=timeout) as connection:
            yield _Trapped(connection, self._trap)


class _Trapped:
    def __init__(self, connection: Any, trap: Trap) -> None:
        self._connection = connection
        self._trap = trap
        self._depth = 0

    async def execute(self, query: str, *arguments: Any) -> Any:
        return await self._step(_name_of(query), self._connection.execute, query, *arguments)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        return await self._step(_name_of(query), self._connection.fetch, query, *arguments)

    def add_termination_listener(self, told: Callable[..., None]) -> None:
        self._connection.add_termination_listener(told)

    def remove_termination_listener(self, told: Callable[..., None]) -> None:
        self._connection.remove_termination_listener(told)

    async def copy_records_to_table(self, table: str, **more: Any) -> Any:
        return await self._step(table, self._connection.copy_records_to_table, table, **more)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._depth += 1
        try:
            async with self._connection.transaction():
                yield
                if self._depth == 1:
                    await self._trap("before commit", self._connection)
        finally:
            self._depth -= 1
        if self._depth == 0:
            await self._trap("after commit", self._connection)

    async def _step(self, name: str, do: Callable[..., Awaitable[Any]], *arguments: Any, **more: Any) -> Any:
        await self._trap(f"before {name}", self._connection)
        done = await do(*arguments, **more)
        await self._trap(f"after {name}", self._connection)
        return done


def _name_of(query: str) -> str:
    for name in ("positions", "begin", "advance", "gap", "balances", "ncv", "commands_applied", "commands_rejected"):
        if query == _sql(f"facts/{name}"):
            return name
    return "other"


def _sql(name: str) -> str:
    from connectors.postgres.queries import sql

    return sql(name)
