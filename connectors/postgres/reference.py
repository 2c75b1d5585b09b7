"""The database's reference data as the records that a reference folder gives: what the engine decides by.

Everything is read as of one moment: what was removed or lifted is left out, and of each price list there is the version
that is in force. An account's balance and status are its opening ones, as the engine takes them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from connectors.files.reference_folder import ReferenceFolder
from connectors.postgres import price_lists
from connectors.postgres.database import Connection, Pool
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.queries import sql
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PlanList,
    PriceList,
    PriceRow,
    Provider,
    TariffPlan,
)


class InForce(NamedTuple):
    """The version of a price list that is in force, without its prices."""

    price_list: PriceList
    version_id: int
    digest: bytes
    """What `price_lists.digest` says of its prices."""


async def read_reference(pool: Pool, *, at: datetime) -> ReferenceFolder:
    """All of it, as of the business clock's moment `at`. A million prices take some seconds and their memory."""
    async with snapshot(pool) as connection:
        in_force = await read_price_lists(connection, at=at)
        prices: list[PriceRow] = []
        for found in in_force.values():
            async for rows in price_lists.prices(connection, found.version_id):
                prices += rows
        return ReferenceFolder(
            accounts=await read_accounts(connection),
            providers=await read_providers(connection),
            tariff_plans=await read_tariff_plans(connection),
            price_lists={name: found.price_list for name, found in in_force.items()},
            prices=prices,
            bands=await read_bands(connection),
            locks=await read_locks(connection),
            numbers=await read_numbers(connection),
            discounts=await read_discounts(connection),
        )


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """A connection on which everything is read as it stands at one moment, without a limit of time."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL statement_timeout = 0")
        yield connection


async def read_price_lists(connection: Connection, *, at: datetime) -> dict[str, InForce]:
    """The versions in force at a moment, by their lists' ids."""
    return {
        row["price_list_id"]: InForce(price_list_of(row), row["version_id"], row["digest"])
        for row in await connection.fetch(sql("reference/price_lists"), at)
    }


def price_list_of(row: Mapping[str, Any]) -> PriceList:
    """A list as a version has it, without its prices."""
    return PriceList(
        row["price_list_id"],
        row["name"],
        row["kind"],
        row["provider_id"],
        row["currency"],
        row["rounding"],
        row["decimals"],
        to_optional_text(row["valid_from"]),
        to_optional_text(row["valid_to"]),
    )


async def read_accounts(connection: Connection) -> dict[str, Account]:
    """All accounts, as they began."""
    return {row[0]: Account(*row) for row in await connection.fetch(sql("reference/accounts"))}


async def read_providers(connection: Connection) -> dict[str, Provider]:
    """Those that are not removed."""
    return {row[0]: Provider(*row) for row in await connection.fetch(sql("reference/providers"))}


async def read_tariff_plans(connection: Connection) -> dict[str, TariffPlan]:
    """Those that are not removed."""
    rows = await connection.fetch(sql("reference/tariff_plans"))
    found = {}
    for plan, of in groupby(rows, key=itemgetter(0, 1)):
        lists = tuple(PlanList(row["price_list_id"], row["priority"]) for row in of)
        found[plan[0]] = TariffPlan(plan[0], lists, plan[1])
    return found


async def read_bands(connection: Connection) -> dict[str, Band]:
    """Those that are not removed."""
    return {
        row["band_id"]: Band(
            row["band_id"],
            tuple(row["weekdays"]),
            row["start_minute"],
            row["end_minute"],
            tuple(row["dates"]),
            row["time_zone"],
            row["weight"],
        )
        for row in await connection.fetch(sql("reference/bands"))
    }


async def read_locks(connection: Connection) -> dict[str, Lock]:
    """Those that are not lifted."""
    return {
        row["lock_id"]: Lock(
            row["lock_id"],
            row["kind"],
            row["digits"],
            row["account_id"],
            row["provider_id"],
            row["author"],
            row["reason"],
            to_moment(row["created_at"]),
        )
        for row in await connection.fetch(sql("reference/locks"))
    }


async def read_numbers(connection: Connection) -> dict[str, Number]:
    """Those of the operator's capacity."""
    return {
        row["number"]: Number(
            row["number"],
            row["status"],
            row["account_id"],
            row["place"],
            row["region"],
            row["provider_id"],
            row["fmtn"],
            None if row["joined_on"] is None else row["joined_on"].isoformat(),
            None if row["archived_on"] is None else row["archived_on"].isoformat(),
            row["saleable"],
        )
        for row in await connection.fetch(sql("reference/numbers"))
    }


async def read_discounts(connection: Connection) -> list[Discount]:
    """All of them; those of one account stand together, in the order in which they were entered."""
    return [
        Discount(
            row["account_id"],
            row["service"],
            row["percent_micros"],
            to_optional_text(row["valid_from"]),
            to_optional_text(row["valid_to"]),
        )
        for row in await connection.fetch(sql("reference/discounts"))
    ]
