"""Writes what the engine said into the database: rows, books and positions in one transaction, exactly once.

A batch is written as fast as can be, by COPY straight into the tables. Only when the database finds something wrong
with it is it looked at record by record: an id that is there already is kept as a further copy, and a record that can't
be stored is laid aside with its bytes (`facts.unprojected`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import asyncpg

from connectors.broker import Record
from connectors.postgres.books import Chart
from connectors.postgres.database import Connection, Pool, copy_rows
from connectors.postgres.facts import TABLES, TRANSFERS, UNPROJECTED, Facts, Row, Rows, Table, columns, unprojected
from connectors.postgres.queries import sql
from schemas.times import from_datetime

MAY_BE_BAD = 100
"""Records of a process that may turn out not to be storable: more of them are no fault of the records."""

_ACQUIRE_SECONDS = 10.0  # to get a connection, and to give it back

_TIMES = 3  # that ids of another partition may get in between

_RECORD_IS_BAD = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    ValueError,
)
"""What is raised for a row that the table can't hold."""

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What passes by itself, or when somebody mends the server: the connection, its disk, a standby that takes over."""


class Away(Exception):
    """The database does not take it now: try again later. Nobody knows whether it was written."""


class Overtaken(Exception):
    """The position is another one than was thought: somebody else has moved it."""


class Unwritable(Exception):
    """Too many records can't be stored: something else is wrong. Names the last one."""


class Position(NamedTuple):
    """Where one topic of a partition stands."""

    next_offset: int
    record_at: datetime | None


class Move(NamedTuple):
    """How a batch moves the position of one topic on."""

    topic: str
    from_offset: int
    to_offset: int
    record_at: datetime | None


class FactsStore:
    """Writes through a pool; several partitions may be written at once."""

    def __init__(self, pool: Pool, facts: Facts, *, patience_seconds: float = 10.0) -> None:
        """`patience_seconds`: how long a transaction may stand still before the server ends it. A projector that has
        frozen in the midst of one keeps its successor waiting for as long."""
        self.laid_aside = 0
        """Records that could not be stored, since the start."""
        self._pool = pool
        self._facts = facts
        self._patience = f"{round(patience_seconds * 1000)}ms"
        self._chart = Chart()
        self._months: set[tuple[int, int]] = set()

    @property
    def connections(self) -> int:
        """How many batches can be written at once."""
        most: int = self._pool.get_max_size()
        return most

    async def positions(self, partition: int, topics: Sequence[str]) -> dict[str, Position]:
        """Where each topic of a partition stands; 0 for one that was never read. Raises Away."""
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
                await connection.execute(sql("facts/begin"), topics, partition)
                found = await connection.fetch(sql("facts/positions"), topics, partition)
        except _AWAY as error:
            raise Away(_words(error)) from error
        return {topic: Position(next_offset, record_at) for topic, next_offset, record_at in found}

    async def skip(self, topic: str, partition: int, from_offset: int, to_offset: int) -> None:
        """Notes that the broker has deleted records before they were read, and goes on behind them.

        Raises Away and Overtaken.
        """
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
                await self._advance(connection, partition, [Move(topic, from_offset, to_offset, None)])
                await connection.execute(sql("facts/gap"), topic, partition, from_offset, to_offset)
        except _AWAY as error:
            raise Away(_words(error)) from error

    async def write(self, partition: int, records: Sequence[Record], moves: Sequence[Move]) -> int:
        """Writes a batch of one partition's records and moves its positions on; how many had to be laid aside.

        Records stand in the order of their offsets within each topic. In one transaction:

        1. Move the positions. Whoever holds them as they were comes first, the others get Overtaken.
        2. Add the rows.
        3. Bring balances and counters up to date.
        4. Tell the office what became of its commands.

        Raises Away, Overtaken and Unwritable; asyncpg's errors where the database is not what it should be.
        """
        rows = self._facts.rows(records)
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
                await self._prepare(connection, rows)
                if not rows.unprojected:
                    try:
                        async with connection.transaction():
                            await self._advance(connection, partition, moves)
                            await self._insert(connection, rows)
                    except _RECORD_IS_BAD:
                        pass
                    else:
                        return 0
                return await self._write_one_by_one(connection, partition, records, moves)
        except _AWAY as error:
            raise Away(_words(error)) from error

    async def write_laid_aside(self) -> tuple[int, int]:
        """Tries again to write the records that were laid aside, as after an update of the program: how many have been
        written now, and how many could not. Raises Away."""
        written = 0
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection, connection.transaction():
                found = await connection.fetch(sql("facts/laid_aside"))
                for topic, partition, offset, key, value, recorded_at in found:
                    record = Record(topic, partition, offset, key, value, from_datetime(recorded_at), 0)
                    rows = self._facts.rows([record])
                    if rows.unprojected:
                        continue
                    # In this transaction: what it opens is forgotten with it, so it is not remembered either.
                    beside = FactsStore(self._pool, self._facts)
                    try:
                        async with connection.transaction():
                            place = (topic, partition, offset)
                            if await connection.execute(sql("facts/not_laid_aside"), *place) != "DELETE 1":
                                continue  # somebody else was faster
                            await beside._prepare(connection, rows)
                            await _mark_copies(connection, rows)
                            await beside._insert(connection, rows)
                    except _RECORD_IS_BAD:
                        continue
                    written += 1
        except _AWAY as error:
            raise Away(_words(error)) from error
        return written, len(found) - written

    async def _prepare(self, connection: Connection, rows: Rows) -> None:
        """Partitions and accounts that the rows need: in transactions of their own, for all writers to see at once."""
        if months := rows.months - self._months:
            await connection.execute(sql("facts/months"), [date(year, month, 1) for year, month in sorted(months)])
            self._months |= months
        await self._chart.open(connection, rows.booked)

    async def _advance(self, connection: Connection, partition: int, moves: Sequence[Move]) -> None:
        names, from_offsets, to_offsets, times = columns(moves)
        status: str = await connection.execute(
            sql("facts/advance"), partition, names, from_offsets, to_offsets, times, self._patience
        )
        if status != f"UPDATE {len(moves)}":
            raise Overtaken(f"partition {partition} is not where this projector left it: somebody else has moved it")

    async def _insert(self, connection: Connection, rows: Rows) -> None:
        # 2
        for name, table in TABLES.items():
            await _copy(connection, table, getattr(rows, name))
        await _copy(connection, TRANSFERS, self._chart.rows(rows.booked))
        # 3
        if rows.balances:
            await connection.execute(sql("facts/balances"), *columns([*rows.balances.values()]))
        if rows.ncv:
            await connection.execute(sql("facts/ncv"), *columns([*rows.ncv.values()]))
        # 4
        if rows.applied:
            await connection.execute(sql("facts/commands_applied"), *columns(rows.applied))
        if rows.refused:
            await connection.execute(sql("facts/commands_rejected"), *columns(rows.refused))

    # When something is wrong with a batch

    async def _write_one_by_one(
        self, connection: Connection, partition: int, records: Sequence[Record], moves: Sequence[Move]
    ) -> int:
        for left in reversed(range(_TIMES)):
            bad: list[Row] = []
            try:
                async with connection.transaction():
                    await self._advance(connection, partition, moves)
                    await self._insert_halves(connection, records, bad)
                    if self.laid_aside + len(bad) > MAY_BE_BAD:
                        topic, _, offset, *_, why = bad[-1]
                        raise Unwritable(
                            f"more than {MAY_BE_BAD} records can't be stored, so it is not they that are wrong; the "
                            f"last of them is {topic}-{partition} at {offset}: {why}"
                        )
            except asyncpg.UniqueViolationError:
                # Another partition has brought one of the ids meanwhile.
                if not left:
                    raise
            else:
                self.laid_aside += len(bad)
                return len(bad)
        raise AssertionError("every time returns or raises")

    async def _insert_halves(self, connection: Connection, records: Sequence[Record], bad: list[Row]) -> None:
        """Inserts what can be; of a bad half again the halves, down to the record that is bad."""
        rows = self._facts.rows(records)
        bad += rows.unprojected
        try:
            async with connection.transaction():
                await _mark_copies(connection, rows)
                await self._insert(connection, rows)
        except asyncpg.UniqueViolationError:
            raise
        except _RECORD_IS_BAD as error:
            del bad[len(bad) - len(rows.unprojected) :]
            if len(records) == 1:
                row = unprojected(records[0], str(error))
                bad.append(row)
                await _copy(connection, UNPROJECTED, [row])
                return
            half = len(records) // 2
            await self._insert_halves(connection, records[:half], bad)
            await self._insert_halves(connection, records[half:], bad)


async def _copy(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        await copy_rows(connection, table.name, schema=table.schema, columns=table.columns, rows=rows)


_KEY_LENGTHS: Mapping[str, int] = {"decisions": 3, "rated_cdrs": 2, "movements": 3}
"""Tables whose ids are there once, with how many columns an id has: the first ones."""


async def _mark_copies(connection: Connection, rows: Rows) -> None:
    """Rows whose ids are there already, or come twice in the batch, become further copies."""
    for name, length in _KEY_LENGTHS.items():
        found: list[Row] = getattr(rows, name)
        copy = TABLES[name].columns.index("copy")
        source = TABLES[name].columns.index("source_offset")
        keys = [row[:length] for row in found if row[copy] == 0]
        if keys:
            known = {tuple(record) for record in await connection.fetch(sql(f"facts/known_{name}"), *columns(keys))}
            for place, row in enumerate(found):
                if row[copy] != 0:
                    continue
                if row[:length] in known:
                    found[place] = (*row[:copy], row[source] + 1, *row[copy + 1 :])
                known.add(row[:length])


def _words(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    name = type(error).__name__
    return f"{name}: {text}" if text else name
