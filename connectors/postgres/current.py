"""The reference data that one number can find: enough to ask the engine about it, read in milliseconds.

What stands in the record at a moment, past or to come: of each price list the version that is in force then, or one
that is only staged in its place. A question about one number needs no more of it than the prices of the number's
prefixes, one account, one plan, and the locks on it: the engine's tables are made of these, and asked as ever.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from backoffice.tariff_check import INCOMING_SERVICES
from connectors.postgres import reference
from connectors.postgres.database import Connection
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.queries import sql
from engine.reference import Reference
from schemas.reference import Account, Discount, Lock, PriceList, PriceRow

MOST_LONGER = 1_000
"""Longer prefixes are counted so far."""


class NumberTables(NamedTuple):
    """What a number can find. `longer`: how many longer prefixes each list has of it, at most MOST_LONGER. `prices` are
    those in the reference, as rows."""

    reference: Reference
    longer: Mapping[str, int]
    prices: Sequence[PriceRow]


async def tables_of_number(
    connection: Connection,
    digits: str,
    account_id: str,
    *,
    at: datetime,
    staged: Mapping[str, tuple[int, PriceList]] | None = None,
) -> NumberTables:
    """What the engine would ask for a call of the account to `digits` at a moment, all read at once.

    An account that is not there is not in the tables either. Price lists are those of `at`, and so are the locks;
    accounts, plans, providers, bands and discounts are those of now. `staged`: versions, with the terms of their lists,
    to be taken in the place of those in force. `connection` is in a transaction that sees one state of the record.
    """
    in_force = await reference.read_price_lists(connection, at=at)
    lists: dict[str, tuple[int, PriceList]] = {
        name: (found.version_id, found.price_list) for name, found in in_force.items()
    }
    lists.update(staged or {})
    providers = await reference.read_providers(connection)
    # What a removed provider once sold is bought by nobody.
    lists = {
        name: (version_id, price_list)
        for name, (version_id, price_list) in lists.items()
        if price_list.kind == "retail" or price_list.provider_id in providers
    }
    versions = [version_id for version_id, _ in lists.values()]
    prefixes = [digits[:length] for length in range(len(digits) + 1)]
    plans = []
    for plan in (await reference.read_tariff_plans(connection)).values():
        # A list that is not in force at that moment prices nothing.
        kept = tuple([entry for entry in plan.lists if entry.price_list_id in lists])
        plans.append(replace(plan, lists=kept))
    prices = rows_of(await connection.fetch(sql("price_versions/prices_of_number"), versions, prefixes))
    return NumberTables(
        Reference(
            accounts=[Account(*row) for row in await connection.fetch(sql("price_versions/account"), account_id)],
            providers=providers.values(),
            plans=plans,
            price_lists=[price_list for _, price_list in lists.values()],
            prices=prices,
            bands=(await reference.read_bands(connection)).values(),
            locks=[
                Lock(
                    row["lock_id"],
                    row["kind"],
                    row["digits"],
                    row["account_id"],
                    row["provider_id"],
                    row["author"],
                    row["reason"],
                    to_moment(row["created_at"]),
                )
                for row in await connection.fetch(sql("price_versions/covering_locks"), prefixes, account_id, at)
            ],
            discounts=[
                Discount(
                    row["account_id"],
                    row["service"],
                    row["percent_micros"],
                    to_optional_text(row["valid_from"]),
                    to_optional_text(row["valid_to"]),
                )
                for row in await connection.fetch(sql("price_versions/account_discounts"), account_id)
            ],
        ),
        {
            name: count
            for name, count in await connection.fetch(
                sql("price_versions/longer_prefixes"), versions, digits, MOST_LONGER
            )
            if count
        },
        prices,
    )


async def places(connection: Connection, tables: NumberTables) -> set[str]:
    """Places of service that accounts, numbers and providers name, or prices that the number can find."""
    found = {row["place"] for row in await connection.fetch(sql("price_versions/places"))}
    return found | {price.place for price in tables.prices if price.place is not None}


def incoming_services(tables: NumberTables) -> set[str]:
    """What calls may have come in by: what switches say, and what prices name that the number can find."""
    return {*INCOMING_SERVICES, *(one.incoming_service for one in tables.prices if one.incoming_service is not None)}


def rows_of(rows: Sequence[Any]) -> list[PriceRow]:
    """Rows of a query whose columns are those of `PriceRow`."""
    return [
        PriceRow(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            row[7],
            row[8],
            row[9],
            row[10],
            row[11],
            row[12],
            to_optional_text(row[13]),
            to_optional_text(row[14]),
            row[15],
        )
        for row in rows
    ]
