"""The outbox as the relay sees it: what waits, and that it was published. One relay works on it at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from connectors.postgres import price_lists, reference
from connectors.postgres.database import Connection
from connectors.postgres.queries import sql
from schemas.reference import PriceList, PriceRow

CHANNEL = "tollgate_outbox"
"""Notified whenever something was put into the outbox."""

ROWS_AT_ONCE = 1_000

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


class Backlog(NamedTuple):
    """How much waits, and since when."""

    rows: int
    oldest: datetime | None


async def take(connection: Connection) -> bool:
    """Whether this connection's session is now the one relay; it is until it ends."""
    taken: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK)
    return taken


async def waiting(connection: Connection, *, now: datetime) -> list[Waiting]:
    """The next rows in the order of the commits, the first change whole. Price lists that are to come into force later
    are left out until then."""
    rows = await connection.fetch(sql("outbox/waiting"), now, ROWS_AT_ONCE)
    return [Waiting(*row) for row in rows]


async def mark(connection: Connection, seqs: Sequence[int], version: int | None) -> None:
    """Notes that rows were published, and which version of the reference data they are in since; None: in none."""
    await connection.execute(sql("outbox/mark"), list(seqs), version)


async def commands_waiting(connection: Connection) -> set[str]:
    """Ids of the commands that have not been marked as published."""
    return {row[0] for row in await connection.fetch(sql("outbox/commands_waiting"))}


async def latest_version(connection: Connection) -> int:
    """The latest version of the reference data that anything became; 0: none."""
    found: int = await connection.fetchval(sql("outbox/latest_version"))
    return found


async def backlog(connection: Connection) -> Backlog:
    """What waits, price lists for later among it."""
    return Backlog(*await connection.fetchrow(sql("outbox/count_waiting")))


async def price_list(
    connection: Connection, price_list_id: str, version_id: int, *, now: datetime
) -> tuple[PriceList, list[PriceRow]] | None:
    """A version of a list with its prices, if it is the one in force; another one may have taken its place by now."""
    in_force = (await reference.read_price_lists(connection, at=now)).get(price_list_id)
    if in_force is None or in_force.version_id != version_id:
        return None
    rows: list[PriceRow] = []
    async with connection.transaction(readonly=True):
        async for some in price_lists.prices(connection, version_id):
            rows += some
    return in_force.price_list, rows
