"""An account's postings: each thing that moved its money, with its cause, as it stands in the books."""

from typing import Any

from msgspec import Struct

from backoffice.office import OUTSIDE
from backoffice.refusals import NotThere
from backoffice.words import Day
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import day_of
from connectors.http.route import get
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.queries import sql
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime


class PostingsAsked(Struct, frozen=True):
    """Which postings, by their business day; both ends belong to it. The latest come first."""

    since: Day | None = None
    until: Day | None = None
    after: After | None = None
    limit: Limit = 100


class Posting(Struct, frozen=True):
    """What moved an account's money. The amounts of all postings add up to the balance."""

    day: str
    """The business day that it counts for: of the call's end, or of the order."""
    at: str | None
    """The moment of the call's end, or of the order. Null: what it came from is kept no more."""
    booked_at: str
    """When the engine booked it: later than `at` for a late call."""
    cause: str
    """`rated_cdr` (a call), `opening`, `payment`, `top_up`, `write_off`, `correction`."""
    cause_id: str
    """Id of the call's CDR, or of the order; of an opening, the account's."""
    amount_micros: int
    """What it did to the balance: below zero for what was charged."""
    balance_after_micros: int | None
    against: str
    """The other account of the ledger: `revenue`, `cash`, `top_up`, `write_off`, `correction`, `opening`."""
    service: str | None
    """Of a call."""
    author: str | None
    """Who ordered it. Null: a call, or an opening."""
    reason: str | None
    reference: str | None


@get(
    "/api/accounts/{account_id:str}/postings",
    requires="money.see",
    summary="Postings of an account with their causes (§3.3)",
    problems=(404,),
)
async def postings(call: Call, account_id: str, asked: PostingsAsked) -> Page[Posting]:
    if not await call.pool.fetchval("SELECT EXISTS (SELECT FROM office.accounts WHERE account_id = $1)", account_id):
        raise NotThere("account", account_id)
    since = None if asked.since is None else day_of(asked.since, parameter="since")
    until = None if asked.until is None else day_of(asked.until, parameter="until")
    if since is not None and until is not None and until < since:
        raise unfit(ErrorAt("lies before since", parameter="until"))
    rows = await call.pool.fetch(
        sql("books/postings"), account_id, since, until, *_behind(asked.after), asked.limit + 1, OUTSIDE
    )
    return page(rows, asked.limit, _posting, _place)


def _behind(after: str | None) -> tuple[Any, ...]:
    place = place_of(after, str, int, str, int)
    if place is None:
        return None, None, None, None
    day, at_us, cause, offset = place
    return day_of(day, parameter="after"), to_datetime(min(max(at_us, EARLIEST_US), LATEST_US)), cause, offset


def _place(row: Any) -> str:
    return cursor(row["day"].isoformat(), from_datetime(row["recorded_at"]), row["cause"], row["source_offset"])


def _posting(row: Any) -> Posting:
    return Posting(
        row["day"].isoformat(),
        to_optional_text(row["at"]),
        to_moment(row["recorded_at"]),
        row["cause"],
        row["cause_id"],
        row["amount_micros"],
        row["balance_after_micros"],
        row["against"],
        row["against_owner"] if row["against"] == "revenue" else None,
        row["author"],
        row["reason"],
        row["reference"],
    )


ROUTES = (postings,)
