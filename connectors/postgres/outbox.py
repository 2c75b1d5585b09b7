"""The outbox as the relay sees it: what waits, and that it was published. One relay works on it at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

from connectors.postgres import price_lists, reference
from connectors.postgres.database import DRIVER_TROUBLES, Connection
from connectors.postgres.queries import sql
from schemas.reference import PriceList, PriceRow

CHANNEL = "tollgate_outbox"
"""Notified whenever something was put into the outbox."""

ROWS_AT_ONCE = 1_000

FROZEN_SECONDS = 10.0
"""A relay that has said nothing to the database for so long stands still, or its machine is gone: another one may have
its place. It looks at the outbox every second."""

_LOCK = 0x746F6C6C  # "toll": of the one relay


class Waiting(NamedTuple):
    """A row of the outbox; `at` is the business moment of its change."""

    seq: int
    change_id: int
    at: datetime
    author: str
    kind: str
    key: str
    payload: Any
    scheduled: datetime | None = None
    """Of a version of a price list that was published for a later moment: that moment, which has come."""


class Backlog(NamedTuple):
    """How much waits to be published, and since when."""

    rows: int
    oldest: datetime | None
    later: int
    """Price lists beside them, whose moment has not come."""


async def take(connection: Connection) -> bool:
    """Whether this connection's session is now the one relay; it is until it ends, and the server ends it when nothing
    is heard of it for `FROZEN_SECONDS`. The broker's fence keeps out what it was doing then."""
    # The other end of a connection whose process stands still, or whose machine has lost its power, never closes it.
    limit = f"{round(FROZEN_SECONDS * 1000)}ms"
    await connection.execute(
        "SELECT set_config(name, $1, false) "
        "FROM unnest(ARRAY['idle_session_timeout', 'idle_in_transaction_session_timeout']) AS name",
        limit,
    )
    taken: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK)
    return taken


@asynccontextmanager
async def kept(connection: Connection) -> AsyncIterator[None]:
    """Keeps the place of the one relay while it is busy elsewhere: its connection may not be used meanwhile."""
    done = asyncio.Event()

    async def tell() -> None:
        while not done.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FROZEN_SECONDS / 4):
                    await done.wait()
            if not done.is_set():
                await connection.execute("SELECT")

    telling = asyncio.create_task(tell(), name="relay's place")
    try:
        yield
    finally:
        done.set()
        # A place that was lost is told by whatever the connection is asked next.
        with suppress(*DRIVER_TROUBLES):
            await telling


async def waiting(connection: Connection, *, now: datetime) -> list[Waiting]:
    """The next rows in the order of the commits, the first change whole. Price lists that are to come into force later
    are left out until then."""
    rows = await connection.fetch(sql("outbox/waiting"), now, ROWS_AT_ONCE)
    return [Waiting(*row) for row in rows]


async def passing(connection: Connection, changes: Sequence[int]) -> list[Waiting]:
    """The first change that may be published before these, which are not ready: of locks, numbers and commands alone,
    of which none is, or names, anything that waits before it."""
    return [Waiting(*row) for row in await connection.fetch(sql("outbox/passing"), list(changes))]


async def price_count(connection: Connection, version_ids: Sequence[int]) -> int:
    """How many prices versions of price lists have together."""
    found: int = await connection.fetchval(sql("outbox/price_count"), list(version_ids))
    return found


async def mark(connection: Connection, seqs: Sequence[int], version: int | None) -> None:
    """Notes that rows were published, and which version of the reference data they are in since; None: in none."""
    await connection.execute(sql("outbox/mark"), list(seqs), version)


async def commands_waiting(connection: Connection) -> set[str]:
    """Ids of the commands that have not been marked as published."""
    return {row[0] for row in await connection.fetch(sql("outbox/commands_waiting"))}


async def events_handled(connection: Connection) -> set[int]:
    """Rows with events that have not been marked as published though the engine has handled them."""
    return {row[0] for row in await connection.fetch(sql("outbox/events_handled"))}


async def latest_version(connection: Connection) -> int:
    """The latest version of the reference data that anything became; 0: none."""
    found: int = await connection.fetchval(sql("outbox/latest_version"))
    return found


async def backlog(connection: Connection, *, now: datetime) -> Backlog:
    """What waits at a moment of the business clock."""
    return Backlog(*await connection.fetchrow(sql("outbox/count_waiting"), now))


class Coming(NamedTuple):
    """A version of a price list that is to come into force at a moment."""

    price_list_id: str
    version_id: int
    at: datetime


async def coming(connection: Connection, *, now: datetime, until: datetime) -> list[Coming]:
    """Versions that come into force next, all at the same moment: after `now`, and not after `until`. Those of which
    anything waits to be published before them are left out."""
    return [Coming(*row) for row in await connection.fetch(sql("outbox/coming"), now, until)]


async def in_force(connection: Connection, price_list_id: str, version_id: int, *, at: datetime) -> PriceList | None:
    """A list as a version has it, if that is the one in force at a moment: it may have been rolled back, or another
    one may have taken its place."""
    found = (await reference.read_price_lists(connection, at=at)).get(price_list_id)
    return None if found is None or found.version_id != version_id else found.price_list


async def price_list(
    connection: Connection, price_list_id: str, version_id: int, *, now: datetime
) -> tuple[PriceList, list[PriceRow]] | None:
    """A version of a list with its prices, if it is the one in force."""
    found = await in_force(connection, price_list_id, version_id, at=now)
    return None if found is None else (found, await _prices(connection, version_id))


async def version(connection: Connection, version_id: int) -> tuple[PriceList, list[PriceRow]] | None:
    """A version of a list with its prices, whether it is in force or was; None if it was rolled back before."""
    row = await connection.fetchrow(sql("outbox/version"), version_id)
    return None if row is None else (reference.price_list_of(row), await _prices(connection, version_id))


async def _prices(connection: Connection, version_id: int) -> list[PriceRow]:
    rows: list[PriceRow] = []
    async with connection.transaction(readonly=True):
        async for some in price_lists.prices(connection, version_id):
            rows += some
    return rows
