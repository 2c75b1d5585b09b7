"""Versions of price lists: staged with all of their prices, published from a moment on, unchangeable from then on."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from connectors.postgres.database import Connection, copy_rows
from connectors.postgres.moments import from_text, to_optional_text
from connectors.postgres.queries import sql
from schemas.codec import encode
from schemas.reference import PriceList, PriceRow

COLUMNS = (
    "version_id",
    "prefix",
    "service",
    "place",
    "incoming_service",
    "band_id",
    "from_second",
    "connect_fee_micros",
    "price_micros",
    "per_seconds",
    "step_seconds",
    "min_charge_micros",
    "max_charge_micros",
    "valid_from",
    "valid_to",
    "attempt_fee_micros",
)
"""Of `office.prices`."""

ROWS_AT_ONCE = 50_000


class Version(NamedTuple):
    """A version of a price list: its id, and its number among those of the list."""

    version_id: int
    number: int


class NotStaged(Exception):
    """A version that is not there, or no longer staged. Names it."""


def digest(rows: Iterable[PriceRow]) -> bytes:
    """What a list's prices are known by, whatever order they stand in: SHA-256, 32 bytes."""
    return hashlib.sha256(b"\n".join(sorted(map(encode, rows)))).digest()


async def stage(
    connection: Connection,
    price_list: PriceList,
    rows: Sequence[PriceRow],
    *,
    at: datetime,
    author: str,
    source: str | None = None,
    rows_digest: bytes | None = None,
) -> Version:
    """A new version of the list, with all of its prices, not in force yet. In the caller's transaction.

    The list is entered if it is not there. `rows` fit together and name bands that are there. `rows_digest`: what
    `digest` says of them, if that is known already. Raises asyncpg.ForeignKeyViolationError when the provider or a band
    is not there, or the list is of the other kind.
    """
    await connection.execute(sql("prices/enter_list"), price_list.price_list_id, price_list.kind)
    found = await connection.fetchrow(
        sql("prices/stage"),
        price_list.price_list_id,
        price_list.kind,
        price_list.name,
        price_list.provider_id,
        price_list.currency,
        price_list.rounding,
        price_list.decimals,
        from_text(price_list.valid_from),
        from_text(price_list.valid_to),
        len(rows),
        digest(rows) if rows_digest is None else rows_digest,
        source,
        at,
        author,
    )
    version = Version(found["version_id"], found["number"])
    await copy_prices(connection, version.version_id, rows)
    return version


async def copy_prices(connection: Connection, version_id: int, rows: Iterable[PriceRow]) -> None:
    """Puts prices into a staged version."""
    await copy_rows(
        connection,
        "prices",
        schema="office",
        columns=COLUMNS,
        rows=[
            (
                version_id,
                row.prefix,
                row.service,
                row.place,
                row.incoming_service,
                row.band_id,
                row.from_second,
                row.connect_fee_micros,
                row.price_micros,
                row.per_seconds,
                row.step_seconds,
                row.min_charge_micros,
                row.max_charge_micros,
                from_text(row.valid_from),
                from_text(row.valid_to),
                row.attempt_fee_micros,
            )
            for row in rows
        ],
    )


async def publish(
    connection: Connection, version_id: int, *, in_force_from: datetime, at: datetime, author: str
) -> str:
    """Publishes a staged version, in the caller's transaction; which list it is of. Raises NotStaged.

    The engine learns of it by the outbox: kind `price_list`, key the list's id, payload `{"version_id": …}`.
    """
    price_list_id: str | None = await connection.fetchval(sql("prices/publish"), version_id, in_force_from, at, author)
    if price_list_id is None:
        raise NotStaged(f"price list version {version_id} is not there, or not staged any more")
    return price_list_id


async def prices(connection: Connection, version_id: int) -> AsyncIterator[list[PriceRow]]:
    """The prices of a version, some ten thousand at once, in order of their prefixes. Inside a transaction."""
    cursor = await connection.cursor(sql("prices/of_version"), version_id)
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        yield [
            PriceRow(
                price_list_id,
                prefix,
                service,
                place,
                incoming_service,
                band_id,
                from_second,
                connect_fee_micros,
                price_micros,
                per_seconds,
                step_seconds,
                min_charge_micros,
                max_charge_micros,
                to_optional_text(valid_from),
                to_optional_text(valid_to),
                attempt_fee_micros,
            )
            for (
                price_list_id,
                prefix,
                service,
                place,
                incoming_service,
                band_id,
                from_second,
                connect_fee_micros,
                price_micros,
                per_seconds,
                step_seconds,
                min_charge_micros,
                max_charge_micros,
                valid_from,
                valid_to,
                attempt_fee_micros,
            ) in rows
        ]
