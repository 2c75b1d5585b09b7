"""Versions of price lists in the record: the port of `backoffice/price_lists.py`, and the way of an uploaded file in.

A file goes in as a stream: read in another thread, some thousand rows at once, and passed on to COPY as they come.
Either all of it is there when the transaction is committed, or nothing.

What the relay is told of a published version: an outbox row of kind `price_list`, key the list's id, payload
`{"version_id": n}`. The rest it reads from `office.price_list_versions` when it gets there:

*   `state` is `published` and `in_force_from` has come: it is published with its prices, if it is the one in force.
*   `in_force_from` is still to come: the row waits for its moment, and those behind it go on.
*   `state` is `withdrawn`: nothing is published for it.

In force is the published version whose `in_force_from` is the latest that has come, then the greatest `number`: it does
not matter whose row stands first. What rolls back is a version like any other, with a row of its own.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from backoffice.price_lint import Reading
from backoffice.price_lists import LintState, Version
from connectors.files.price_upload import PriceUpload
from connectors.postgres import price_lists
from connectors.postgres.change import Change
from connectors.postgres.database import Connection, copy_rows
from connectors.postgres.moments import from_text, to_optional_text
from connectors.postgres.queries import sql
from schemas.codec import encode
from schemas.reference import PriceList, PriceRow

COLUMNS = (*price_lists.COLUMNS, "line")
"""Of `office.prices`."""


class VersionRecord:
    """The use cases' `Versions`, in the transaction of a change or on a connection that only asks."""

    def __init__(self, connection: Change | Connection) -> None:
        self._connection = connection
        self._changing = isinstance(connection, Change)

    async def version(self, price_list_id: str, number: int) -> Version | None:
        """One version. In a change its list is locked first: versions of a list are worked on one after the other."""
        if self._changing:
            await self._connection.execute(sql("price_versions/lock_list"), price_list_id)
        return _optional(await self._connection.fetchrow(sql("price_versions/version"), price_list_id, number))

    async def latest(self, price_list_id: str) -> Version | None:
        """The latest version of a list, whatever became of it."""
        return _optional(await self._connection.fetchrow(sql("price_versions/latest"), price_list_id))

    async def in_force(self, price_list_id: str, at: datetime) -> Version | None:
        """The version in force at a moment."""
        return _optional(await self._connection.fetchrow(sql("price_versions/in_force"), price_list_id, at))

    async def published_before(self, version: Version) -> Version | None:
        """The version that was in force before this one."""
        return _optional(
            await self._connection.fetchrow(
                sql("price_versions/published_before"),
                version.price_list_id,
                from_text(version.in_force_from),
                version.number,
            )
        )

    async def versions(self, price_list_id: str, before: int | None, limit: int) -> list[Version]:
        """Versions of a list, the newest first."""
        return [
            version_of(row)
            for row in await self._connection.fetch(sql("price_versions/versions"), price_list_id, before, limit)
        ]

    async def reading(self, version: Version) -> Reading:
        """What was noticed when its file was read."""
        row = await self._connection.fetchrow(sql("price_versions/version"), version.price_list_id, version.number)
        return Reading() if row is None or row["reading"] is None else msgspec.convert(row["reading"], Reading)

    async def approve(self, version: Version, at: datetime, author: str) -> None:
        """Marks it as approved."""
        await self._connection.execute(sql("price_versions/approve"), version.version_id, at, author)

    async def publish(self, version: Version, in_force_from: datetime, at: datetime, author: str) -> None:
        """Fixes it for ever. The caller tells the engine, as above. Raises `price_lists.NotStaged`."""
        await price_lists.publish(
            _plain(self._connection), version.version_id, in_force_from=in_force_from, at=at, author=author
        )

    async def discard(self, version: Version, at: datetime, author: str, why: str) -> None:
        """A draft is not wanted any more; its prices go."""
        await self._connection.execute(sql("price_versions/end"), version.version_id, "discarded", at, author, why)
        await self._connection.execute(sql("price_versions/forget_prices"), version.version_id)

    async def withdraw(self, version: Version, at: datetime, author: str, why: str) -> None:
        """What was published counts no more."""
        await self._connection.execute(sql("price_versions/end"), version.version_id, "withdrawn", at, author, why)

    async def copy(self, version: Version, at: datetime, author: str) -> Version:
        """A new version of the list, equal to this one."""
        made = await self._stage(
            version.price_list(), at=at, author=author, source=f"version {version.key}", restores=version.version_id
        )
        await self._connection.execute("SET LOCAL statement_timeout = 0")
        await self._connection.execute(sql("price_versions/copy_prices"), version.version_id, made.version_id)
        assert version.digest is not None, "what was published has its digest"
        await self._connection.execute(
            sql("price_versions/finish"), made.version_id, version.prices, bytes.fromhex(version.digest), None
        )
        found = await self.version(version.price_list_id, made.number)
        assert found is not None, "it has just been made"
        return found

    async def upload(
        self, price_list: PriceList, upload: PriceUpload, *, at: datetime, author: str, source: str | None
    ) -> Version:
        """A new version from a file. Raises BadUpload; then the transaction can only be rolled back."""
        connection = _plain(self._connection)
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute(sql("prices/enter_list"), price_list.price_list_id, price_list.kind)
        made = await self._stage(price_list, at=at, author=author, source=source, restores=None)
        batches = upload.batches()
        while (rows := await asyncio.to_thread(_next_records, made.version_id, batches)) is not None:
            await copy_rows(connection, "prices", schema="office", columns=COLUMNS, rows=rows)
        reading = upload.reading
        prices = reading.rows - reading.duplicates - reading.contradictions
        await connection.execute(
            sql("price_versions/finish"),
            made.version_id,
            prices,
            await digest(connection, made.version_id),
            msgspec.to_builtins(reading),
        )
        found = await self.version(price_list.price_list_id, made.number)
        assert found is not None, "it has just been made"
        return found

    async def _stage(
        self, price_list: PriceList, *, at: datetime, author: str, source: str | None, restores: int | None
    ) -> price_lists.Version:
        row = await self._connection.fetchrow(
            sql("price_versions/stage"),
            price_list.price_list_id,
            price_list.kind,
            price_list.name,
            price_list.provider_id,
            price_list.currency,
            price_list.rounding,
            price_list.decimals,
            from_text(price_list.valid_from),
            from_text(price_list.valid_to),
            source,
            at,
            author,
            restores,
        )
        assert row is not None, "RETURNING gives the row"
        return price_lists.Version(row["version_id"], row["number"])

    async def has_provider(self, provider_id: str) -> bool:
        """Whether it is there and not removed."""
        return bool(await self._connection.fetchval(sql("price_versions/has_provider"), provider_id))

    async def other_currency(self, currency: str) -> str | None:
        """Another currency that accounts or lists have."""
        found: str | None = await self._connection.fetchval(sql("price_versions/other_currency"), currency)
        return found

    async def bands(self) -> frozenset[str]:
        """The bands that prices may name."""
        return frozenset(row[0] for row in await self._connection.fetch(sql("price_versions/bands")))


def _plain(connection: Change | Connection) -> Connection:
    return connection.connection if isinstance(connection, Change) else connection


def _optional(row: Any) -> Version | None:
    return None if row is None else version_of(row)


def version_of(row: Any) -> Version:
    """A row of `office.versions_seen`."""
    return Version(
        row["price_list_id"],
        row["version_id"],
        row["number"],
        row["kind"],
        row["state"],
        row["name"],
        row["provider_id"],
        row["currency"],
        row["rounding"],
        row["decimals"],
        to_optional_text(row["valid_from"]),
        to_optional_text(row["valid_to"]),
        row["prices"],
        None if row["digest"] is None else row["digest"].hex(),
        row["source"],
        to_optional_text(row["created_at"]) or "",
        row["created_by"],
        to_optional_text(row["approved_at"]),
        row["approved_by"],
        row["restores"],
        to_optional_text(row["in_force_from"]),
        to_optional_text(row["published_at"]),
        row["published_by"],
        to_optional_text(row["ended_at"]),
        row["ended_by"],
        row["ended_why"],
        _lint_state(row["lint_state"], row["lint_result"]),
    )


def _lint_state(state: Any, result: Any) -> LintState | None:
    if state is None:
        return None
    found = result or {}
    return LintState(state, found.get("errors", 0), found.get("warnings", 0), found.get("notes", 0))


# -- a file's way in ---------------------------------------------------------------------------------------------------


def _next_records(version_id: int, batches: Iterator[list[tuple[int, PriceRow]]]) -> list[tuple[object, ...]] | None:
    batch = next(batches, None)
    if batch is None:
        return None
    return [
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
            line,
        )
        for line, row in batch
    ]


async def digest(connection: Connection, version_id: int) -> bytes:
    """What `price_lists.digest` says of a version's prices, without having all of them at once. In a transaction."""
    found = _Digest()
    async for rows in price_lists.prices(connection, version_id):
        await asyncio.to_thread(found.add, rows)
    return found.value()


class _Digest:
    """Rows come in order of their prefixes. Their encodings are in that order too, so those of one prefix are all that
    is to be put in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held: list[bytes] = []
        self._prefix: str | None = None
        self._begun = False

    def add(self, rows: list[PriceRow]) -> None:
        for prefix, same in groupby(rows, key=attrgetter("prefix")):
            if prefix != self._prefix:
                self._flush()
                self._prefix = prefix
            self._held += map(encode, same)

    def value(self) -> bytes:
        self._flush()
        return self._hash.digest()

    def _flush(self) -> None:
        for text in sorted(self._held):
            if self._begun:
                self._hash.update(b"\n")
            self._hash.update(text)
            self._begun = True
        self._held.clear()


# -- what differs ------------------------------------------------------------------------------------------------------


class KindCount(NamedTuple):
    """How many prices of a kind there are, and by how many per cent they change."""

    kind: str
    prices: int
    least_percent: Decimal | None
    most_percent: Decimal | None
    mean_percent: Decimal | None


async def difference(connection: Connection, old: int, new: int, at: datetime) -> list[KindCount]:
    """What a version changes against another for calls of a moment. A million prices take some seconds."""
    return [KindCount(*row) for row in await connection.fetch(sql("price_versions/diff_summary"), old, new, at)]
