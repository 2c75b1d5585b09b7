"""Clients found in the record, by whatever of them is known (§1.1, §2.1): each way to ask is a query of its own, so
that each is planned for its index. What `%` means is in `backoffice/clients.py`."""

from typing import Any, NamedTuple, Protocol

import asyncpg

from backoffice.clients import exact_pattern, name_patterns, word_parts
from connectors.postgres.queries import sql

_LAST = "\U0010ffff"
"""Behind whatever an id goes on with."""


class Queries(Protocol):
    """A pool, a connection or a change under way."""

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]: ...


class Wanted(NamedTuple):
    """What is known of the clients that are looked for, as it was typed; None: nothing."""

    account_id: str | None = None
    name: str | None = None
    inn: str | None = None
    number: str | None = None


class Place(NamedTuple):
    """The client at which a page ended."""

    name: str
    client_id: str


async def search(queries: Queries, wanted: Wanted, *, after: Place | None, limit: int) -> tuple[int, list[Any]]:
    """How many clients there are, and some of them in the order of their names. A name without any word is any name."""
    query, arguments = statement(wanted)
    place: tuple[str | None, str | None] = (None, None) if after is None else after
    rows = await queries.fetch(query, *arguments, *place, limit)
    return rows[0]["total"], [row for row in rows if row["client_id"] is not None]


def statement(wanted: Wanted) -> tuple[str, tuple[object, ...]]:
    """The query, and its arguments but for the page's."""
    conditions: list[str] = []
    arguments: list[object] = []
    for name, text in (
        ("account", wanted.account_id),
        ("inn", wanted.inn),
        ("number", None if wanted.number is None else wanted.number.strip().lstrip("+")),
    ):
        if text is None:
            arguments += (None, None, None)
            continue
        fixed = text.strip().partition("%")[0]
        arguments += (exact_pattern(text), fixed, fixed + _LAST)
        # A range of the whole index would be slower than the table.
        conditions.append(sql(f"clients/by_{name}" if fixed else f"clients/by_{name}_end"))
    patterns = () if wanted.name is None else name_patterns(wanted.name)
    parts = () if wanted.name is None else word_parts(wanted.name)
    if patterns:
        conditions.append(sql("clients/by_word_parts" if parts else "clients/by_words"))
    if not conditions:
        return sql("clients/all"), ()
    # The conditions are texts of this program; what was typed goes in as arguments.
    query = sql("clients/search").replace("WHERE true", f"WHERE {' AND '.join(conditions)}")
    return query, (*arguments, list(parts), list(patterns))
