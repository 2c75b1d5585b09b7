"""The reference data as they were under an earlier version, made again from the outbox and the versions of price lists.

The outbox keeps for ever what was published and which version it became, so under version N each thing is what its
latest row up to N says. A call is answered by few of the things: `tables_of_calls` reads no more than these, in
milliseconds. `PastTables` makes whole versions, for many calls at once, and keeps the last few.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from connectors.postgres import price_lists, reference
from connectors.postgres.current import rows_of
from connectors.postgres.database import Connection, Pool
from connectors.postgres.moments import to_optional_text
from connectors.postgres.queries import sql
from engine.reference import Reference
from schemas.reference import Account, AccountDiscounts, Band, Lock, Number, PriceList, PriceRow, Provider, TariffPlan

VERSIONS_KEPT = 4
"""Whole versions that are kept: with a million prices one takes some hundred megabytes."""

T = TypeVar("T")
Payloads = Mapping[str, Mapping[str, Any]]
"""What was published, by kind and id; what was gone is left out."""


class UnknownVersion(Exception):
    """A version that the record can't make again, since not all that it is made of came from the record. Says which."""


async def check_version(connection: Connection, version: int) -> None:
    """Whether a version can be made again. Raises UnknownVersion.

    The record holds all that there was from the first version on that one of its changes became. It need not have a
    change for each number after that: a version that has none is what the last one before it was.
    """
    if version < 1:
        raise UnknownVersion(
            f"version {version} of the reference data was not published: an engine was given them directly"
        )
    known = await connection.fetchrow(sql("explain/known_versions"))
    if known["first"] is None:
        raise UnknownVersion(
            f"version {version} of the reference data can't be made again: nothing has been published from this record"
        )
    if version < known["first"]:
        raise UnknownVersion(
            f"version {version} of the reference data can't be made again: this record begins with version "
            f"{known['first']}, and what was before was published by something else; replay the call with the folder "
            "that was published then (tollgate replay)"
        )
    if version > known["latest"] and known["waiting"]:
        raise UnknownVersion(
            f"version {version} of the reference data can't be made again yet: the record does not say which of the "
            f"changes that wait are in it (tollgate relay notes it); the latest that it knows is {known['latest']}"
        )


async def tables_of_calls(
    connection: Connection, version: int, digits: Collection[str], accounts: Collection[str]
) -> Reference:
    """What the engine could find under a version for calls to some numbers, of some accounts.

    `connection` is in a transaction that sees one state of the record. Raises UnknownVersion.
    """
    await check_version(connection, version)
    prefixes = sorted({number[:length] for number in digits for length in range(len(number) + 1)})
    found = _payloads(
        await connection.fetch(sql("explain/records_of_calls_at"), version, sorted(accounts), sorted(digits), prefixes)
    )
    lists = await _price_lists(connection, found)
    versions = [version_id for version_id, _ in lists.values()]
    prices = rows_of(await connection.fetch(sql("price_versions/prices_of_number"), versions, prefixes))
    return _tables(version, found, lists, prices)


class PastTables:
    """Whole versions, made when they are first asked for. One that is asked for by many at once is made once."""

    def __init__(self, pool: Pool, *, keep: int = VERSIONS_KEPT) -> None:
        self._pool = pool
        self._keep = keep
        self._made: OrderedDict[int, asyncio.Task[Reference]] = OrderedDict()

    async def at(self, version: int) -> Reference:
        """All of it under a version. With a million prices it takes some seconds. Raises UnknownVersion."""
        task = self._made.get(version)
        if task is None:
            task = self._made[version] = asyncio.create_task(self._make(version))
            while len(self._made) > self._keep:
                self._made.popitem(last=False)
        self._made.move_to_end(version)
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._made.pop(version, None)
            raise

    async def _make(self, version: int) -> Reference:
        async with reference.snapshot(self._pool) as connection:
            await check_version(connection, version)
            found = _payloads(await connection.fetch(sql("explain/records_at"), version))
            lists = await _price_lists(connection, found)
            prices: list[PriceRow] = []
            for version_id, _ in lists.values():
                async for rows in price_lists.prices(connection, version_id):
                    prices += rows
        return await asyncio.to_thread(_tables, version, found, lists, prices)


def _payloads(rows: Iterable[Any]) -> Payloads:
    found: dict[str, dict[str, Any]] = {}
    for kind, key, payload in rows:
        if payload is not None:
            found.setdefault(kind, {})[key] = payload
    return found


async def _price_lists(connection: Connection, found: Payloads) -> dict[str, tuple[int, PriceList]]:
    """The versions of price lists that were in force, by the lists' ids, with their terms."""
    wanted = {payload["version_id"]: name for name, payload in found.get("price_list", {}).items()}
    lists: dict[str, tuple[int, PriceList]] = {}
    for row in await connection.fetch(sql("explain/price_lists"), list(wanted)):
        lists[wanted[row["version_id"]]] = (
            row["version_id"],
            PriceList(
                row["price_list_id"],
                row["name"],
                row["kind"],
                row["provider_id"],
                row["currency"],
                row["rounding"],
                row["decimals"],
                to_optional_text(row["valid_from"]),
                to_optional_text(row["valid_to"]),
            ),
        )
    return lists


def _tables(
    version: int,
    found: Payloads,
    lists: Mapping[str, tuple[int, PriceList]],
    prices: Iterable[PriceRow],
) -> Reference:
    plans = []
    for plan in _records(found, "tariff_plan", TariffPlan):
        # A list that was not there priced nothing.
        kept = tuple([entry for entry in plan.lists if entry.price_list_id in lists])
        plans.append(plan if kept == plan.lists else replace(plan, lists=kept))
    discounts = [one for of in _records(found, "discounts", AccountDiscounts) for one in of.discounts]
    return Reference(
        accounts=_records(found, "account", Account),
        providers=_records(found, "provider", Provider),
        plans=plans,
        price_lists=[price_list for _, price_list in lists.values()],
        prices=prices,
        bands=_records(found, "band", Band),
        locks=_records(found, "lock", Lock),
        numbers=_records(found, "number", Number),
        discounts=discounts,
        version=version,
    )


def _records(found: Payloads, kind: str, struct: type[T]) -> list[T]:
    return [msgspec.convert(payload, struct) for payload in found.get(kind, {}).values()]
