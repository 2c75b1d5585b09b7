"""The search's query (§1.4): one text in `sql/numbers/search.sql`, and the ways into it that suit what is asked for.

It walks an index that has the numbers in their order, and stops when it has enough. Which index that is depends on the
conditions; nobody can estimate how many numbers have a sign, so nothing is left to be guessed.
"""

import re

from backoffice.numbers.availability import Availability
from backoffice.numbers.search import Wanted
from connectors.postgres.queries import sql

RARE: frozenset[Availability] = frozenset({"forced_yes", "no", "ncv_ignored"})
"""Availabilities that do not depend on calls: few numbers have them, and an index of their own."""

_ANY_STATUS = re.compile(r"n\.status = ANY \((\$[0-9]+::text\[\])\)")


def search_query(wanted: Wanted) -> str:
    """Numbers; the arguments are told in the file."""
    query = sql("numbers/search")
    if wanted.availabilities is not None and wanted.availabilities <= RARE:
        return query.replace("/* rare */", sql("numbers/rare"))
    if len(wanted.statuses) == 1:
        # An index by status has the numbers of one status in their order, not those of several.
        query = _ANY_STATUS.sub(r"n.status = (\1)[1]", query)
    if wanted.pattern is not None and wanted.pattern.startswith("%"):
        query = query.replace("SELECT n.number", "SELECT c.number").replace(
            "office.numbers n", sql("numbers/inside").replace("/* by */", _by(wanted))
        )
    return query


def count_query(wanted: Wanted) -> str:
    """How many numbers the search finds; the arguments are the same."""
    return f"SELECT count(*) FROM ({search_query(wanted)}) AS counted"


def _by(wanted: Wanted) -> str:
    """The narrowest condition that an index knows beside the number."""
    if wanted.region is not None:
        return "AND c.region = $4"
    if wanted.provider_id is not None:
        return "AND c.provider_id = $5"
    return "AND c.status = ($3::text[])[1]" if len(wanted.statuses) == 1 else ""
