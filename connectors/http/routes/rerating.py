"""Re-rating of a period: a run is made, previewed, approved by another, posted, and taken back if need be.

Previews, postings and roll backs are ordered here and done in the background: the run says where they stand, and why
one could not be done.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response
from msgspec import Meta, Struct

from backoffice import rerating as rules
from backoffice.access import masked_number
from backoffice.call_words import ChargeTold, charge_told
from backoffice.clients import service_code
from backoffice.refusals import NotThere
from backoffice.rerating import Rerating, ReratingSent, State
from backoffice.rerating_items import Charges
from backoffice.words import END, Id, Reason, shaped
from connectors.files.table_export import Cell
from connectors.http.call import Call
from connectors.http.exports import DEFAULT_ROWS, PRODUCES, ExportLimit, FileFormat, file_of, roubles
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.parties import Party
from connectors.http.problems import ErrorAt, unfit
from connectors.http.route import get, post
from connectors.postgres.moments import to_moment
from connectors.postgres.queries import sql
from connectors.postgres.rerating import ReratingRecord, account_of, run_of

_LAST = 2**63 - 1
_PIECE = 1_000
_decode_charges = msgspec.json.Decoder(Charges).decode


# -- what is sent -----------------------------------------------------------------------------------------------------


class ReratingsAsked(Struct, frozen=True):
    """Which runs."""

    state: Annotated[tuple[State, ...], Meta(max_length=8)] | None = None
    after: After | None = None
    limit: Limit = 100


class Why(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is done."""

    reason: Reason


Fingerprint = Annotated[
    str,
    shaped(r"^[0-9a-f]{64}" + END, "is no fingerprint; take that of the preview that was looked at, 64 hex digits"),
]


class Approval(Struct, frozen=True, forbid_unknown_fields=True):
    """That a run may be posted. `fingerprint`: of the preview that was looked at; another one is not approved then."""

    reason: Reason
    fingerprint: Fingerprint | None = None


class AccountsAsked(Struct, frozen=True):
    """Some accounts of a run."""

    after: After | None = None
    limit: Limit = 100


class ItemsAsked(Struct, frozen=True):
    """Items of a run: of an account, or only those that can't be rated anew (`problems`), or only the others."""

    account_id: Id | None = None
    problems: bool | None = None
    after: After | None = None
    limit: Limit = 100


class ItemsExported(Struct, frozen=True):
    """As in the list; one of more than `limit` rows is refused rather than cut."""

    account_id: Id | None = None
    problems: bool | None = None
    file: FileFormat = "csv"
    limit: ExportLimit = DEFAULT_ROWS


# -- what is shown ----------------------------------------------------------------------------------------------------


class ReratingCard(Rerating, frozen=True, kw_only=True):
    """A run as it stands, with the margin beside the sums."""

    old_margin_micros: int | None
    new_margin_micros: int | None


class ReratedAccount(Struct, frozen=True):
    """What a run comes to for an account (null: calls of nobody's). `effect_micros`: on its balance."""

    account_id: str | None
    calls: int
    old_retail_micros: int
    new_retail_micros: int
    old_wholesale_micros: int
    new_wholesale_micros: int
    effect_micros: int
    state: Literal["previewed", "posted", "rolled_back"]
    command_id: str | None
    command_state: Literal["ordered", "applied", "rejected"] | None
    """What the engine said of the correction."""
    back_command_id: str | None
    back_command_state: Literal["ordered", "applied", "rejected"] | None


class ReratedCall(Struct, frozen=True):
    """A call whose charges differ, or that has a `problem`: it can't be rated anew and stays as it is."""

    place: int
    cdr_id: str
    account_id: str | None
    ended_at: str
    service: str
    service_code: str
    called: Party
    provider_id: str | None
    billable_seconds: int
    old_retail_micros: int | None
    new_retail_micros: int | None
    old_wholesale_micros: int | None
    new_wholesale_micros: int | None
    corrects: int | None
    """The run that the old charges are of; null: they are the rated CDR's own."""
    problem: str | None
    detail: str | None


class ReratedCallCard(ReratedCall, frozen=True, kw_only=True):
    """The same with its charges in all their parts."""

    old_retail: ChargeTold | None
    new_retail: ChargeTold | None
    old_wholesale: ChargeTold | None
    new_wholesale: ChargeTold | None


def _card(run: Rerating) -> ReratingCard:
    total = None if run.summary is None else run.summary.total
    return ReratingCard(
        **msgspec.structs.asdict(run),
        old_margin_micros=None if total is None else total.old_margin_micros,
        new_margin_micros=None if total is None else total.new_margin_micros,
    )


# -- runs -------------------------------------------------------------------------------------------------------------


@get("/api/reratings", requires="money.see", summary="Re-ratings, the newest first")
async def reratings(call: Call, asked: ReratingsAsked) -> Page[ReratingCard]:
    place = place_of(asked.after, int)
    rows = await call.pool.fetch(
        sql("rerating/runs"),
        _LAST if place is None else place[0],
        None if asked.state is None else list(asked.state),
        asked.limit + 1,
    )
    return page(rows, asked.limit, lambda row: _card(run_of(row)), lambda row: cursor(row["rerating_id"]))


@get("/api/reratings/{rerating_id:int}", requires="money.see", summary="A re-rating", problems=(404,))
async def rerating(call: Call, rerating_id: int) -> ReratingCard:
    return _card(await _there(call, rerating_id))


@post("/api/reratings", requires="calls.rerate", summary="Make a re-rating of a period", status=201)
async def make_rerating(call: Call, sent: ReratingSent) -> ReratingCard:
    """It is not previewed yet: order that next."""
    async with call.change(sent.reason) as tx:
        return _card(await rules.make(ReratingRecord(tx), tx, call.asker, sent, call.now))


@post(
    "/api/reratings/{rerating_id:int}/preview",
    requires="calls.rerate",
    summary="Order the preview of a re-rating",
    problems=(404, 409),
)
async def preview_rerating(call: Call, rerating_id: int, sent: Why) -> ReratingCard:
    """Ordered again, it is made anew, and what was approved is so no more."""
    async with call.change(sent.reason) as tx:
        return _card(await rules.ask_preview(ReratingRecord(tx), tx, call.asker, rerating_id, call.now))


@post(
    "/api/reratings/{rerating_id:int}/approve",
    requires="calls.approve",
    summary="Approve a re-rating that somebody else has prepared",
    problems=(404, 409),
)
async def approve_rerating(call: Call, rerating_id: int, sent: Approval) -> ReratingCard:
    async with call.change(sent.reason) as tx:
        return _card(await rules.approve(ReratingRecord(tx), tx, call.asker, rerating_id, sent.fingerprint, call.now))


@post(
    "/api/reratings/{rerating_id:int}/post",
    requires="calls.rerate",
    summary="Order that an approved re-rating be posted",
    once="required",
    problems=(404, 409),
)
async def post_rerating(call: Call, rerating_id: int, sent: Why) -> ReratingCard:
    """Of one that is posted: corrections that the engine has rejected are ordered again."""
    async with call.change(sent.reason) as tx:
        return _card(await rules.ask_post(ReratingRecord(tx), tx, call.asker, rerating_id, call.now))


@post(
    "/api/reratings/{rerating_id:int}/cancel",
    requires="calls.rerate",
    summary="Give up a re-rating that is not posted",
    problems=(404, 409),
)
async def cancel_rerating(call: Call, rerating_id: int, sent: Why) -> ReratingCard:
    async with call.change(sent.reason) as tx:
        return _card(await rules.cancel(ReratingRecord(tx), tx, call.asker, rerating_id, call.now))


@post(
    "/api/reratings/{rerating_id:int}/roll-back",
    requires="calls.approve",
    summary="Order that a posted re-rating be taken back, whole",
    once="required",
    problems=(404, 409),
)
async def roll_back_rerating(call: Call, rerating_id: int, sent: Why) -> ReratingCard:
    async with call.change(sent.reason) as tx:
        return _card(await rules.ask_roll_back(ReratingRecord(tx), tx, call.asker, rerating_id, call.now))


# -- what a run comes to ----------------------------------------------------------------------------------------------


@get(
    "/api/reratings/{rerating_id:int}/accounts",
    requires="money.see",
    summary="What a re-rating comes to, account by account",
    problems=(404,),
)
async def rerating_accounts(call: Call, rerating_id: int, asked: AccountsAsked) -> Page[ReratedAccount]:
    await _there(call, rerating_id)
    place = place_of(asked.after, int)
    rows = await call.pool.fetch(sql("rerating/accounts"), rerating_id, _place(place), asked.limit + 1)
    return page(rows, asked.limit, _account, lambda row: cursor(row["place"]))


@get(
    "/api/reratings/{rerating_id:int}/items",
    requires="money.see",
    summary="The calls that a re-rating changes",
    parties=True,
    problems=(404,),
)
async def rerating_items(call: Call, rerating_id: int, asked: ItemsAsked) -> Page[ReratedCall]:
    await _there(call, rerating_id)
    rows = await _items(call, rerating_id, asked, _place(place_of(asked.after, int)), asked.limit + 1)
    return page(rows, asked.limit, lambda row: ReratedCall(**_call(row)), lambda row: cursor(row["place"]))


@get(
    "/api/reratings/{rerating_id:int}/items/{place:int}",
    requires="money.see",
    summary="One call of a re-rating with its charges, old and new, in all their parts",
    parties=True,
    problems=(404,),
)
async def rerating_item(call: Call, rerating_id: int, place: int) -> ReratedCallCard:
    await _there(call, rerating_id)
    rows = await call.pool.fetch(sql("rerating/items"), rerating_id, place - 1, None, None, 1)
    if not rows or rows[0]["place"] != place:
        raise NotThere("item of re-rating", f"{rerating_id}/{place}")
    old, new = (_charges(rows[0][name]) for name in ("old_charges", "new_charges"))
    return ReratedCallCard(
        **_call(rows[0]), old_retail=old[0], new_retail=new[0], old_wholesale=old[1], new_wholesale=new[1]
    )


@get(
    "/api/reratings/{rerating_id:int}/items/export",
    requires="money.see",
    summary="The calls that a re-rating changes, as a file",
    produces=PRODUCES,
    problems=(404,),
)
async def export_rerating_items(call: Call, rerating_id: int, asked: ItemsExported) -> Response[bytes]:
    run = await _there(call, rerating_id)
    counted = await call.pool.fetchval(sql("rerating/count_items"), rerating_id, asked.account_id, asked.problems)
    if counted > asked.limit:
        raise unfit(ErrorAt(f"there are {counted} rows: ask for one account, or for more", parameter="limit"))
    whole = call.asker.may("parties.see")

    async def pieces() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        place = 0
        while True:
            rows = await _items(call, rerating_id, asked, place, _PIECE)
            yield [_line(row, whole=whole) for row in rows]
            if len(rows) < _PIECE:
                return
            place = rows[-1]["place"]

    return file_of(f"rerating-{run.rerating_id}", asked.file, _HEADER, pieces())


async def _there(call: Call, rerating_id: int) -> Rerating:
    found = await ReratingRecord(call.pool).run(rerating_id)
    if found is None:
        raise NotThere("re-rating", str(rerating_id))
    return found


def _place(place: tuple[Any, ...] | None) -> int:
    # Places are integers of 32 bits, and a page's end may be made up.
    return 0 if place is None else min(max(int(place[0]), 0), 2**31 - 1)


async def _items(call: Call, rerating_id: int, asked: ItemsAsked | ItemsExported, place: int, limit: int) -> list[Any]:
    rows: list[Any] = await call.pool.fetch(
        sql("rerating/items"), rerating_id, place, asked.account_id, asked.problems, limit
    )
    return rows


def _account(row: Any) -> ReratedAccount:
    found = account_of(row)
    sums = found.sums
    return ReratedAccount(
        found.account_id or None,
        found.items,
        sums.old_retail_micros,
        sums.new_retail_micros,
        sums.old_wholesale_micros,
        sums.new_wholesale_micros,
        found.effect_micros,
        found.state,
        found.command_id,
        found.command_state,  # type: ignore[arg-type]  # as the table's check has it
        found.back_command_id,
        found.back_command_state,  # type: ignore[arg-type]
    )


def _call(row: Any) -> dict[str, Any]:
    return {
        "place": row["place"],
        "cdr_id": row["cdr_id"],
        "account_id": row["account_id"] or None,
        "ended_at": to_moment(row["ended_at"]),
        "service": row["service"],
        "service_code": service_code(row["service"]),
        "called": Party(row["called"]),
        "provider_id": row["provider_id"],
        "billable_seconds": row["billable_seconds"],
        "old_retail_micros": row["old_retail_micros"],
        "new_retail_micros": row["new_retail_micros"],
        "old_wholesale_micros": row["old_wholesale_micros"],
        "new_wholesale_micros": row["new_wholesale_micros"],
        "corrects": row["corrects"],
        "problem": row["problem"],
        "detail": row["detail"],
    }


def _charges(value: bytes | None) -> tuple[ChargeTold | None, ChargeTold | None]:
    if value is None:
        return None, None
    found = _decode_charges(value)
    return charge_told(found.retail), charge_told(found.wholesale)


_HEADER = (
    "cdr_id",
    "account_id",
    "service",
    "called",
    "ended_at",
    "billable_seconds",
    "provider_id",
    "old_retail",
    "new_retail",
    "old_wholesale",
    "new_wholesale",
    "problem",
)


def _line(row: Any, *, whole: bool) -> tuple[Cell, ...]:
    return (
        row["cdr_id"],
        row["account_id"] or None,
        service_code(row["service"]),
        row["called"] if whole else masked_number(row["called"]),
        to_moment(row["ended_at"]),
        row["billable_seconds"],
        row["provider_id"],
        roubles(row["old_retail_micros"]),
        roubles(row["new_retail_micros"]),
        roubles(row["old_wholesale_micros"]),
        roubles(row["new_wholesale_micros"]),
        row["problem"],
    )


ROUTES = (
    reratings,
    rerating,
    make_rerating,
    preview_rerating,
    approve_rerating,
    post_rerating,
    cancel_rerating,
    roll_back_rerating,
    rerating_accounts,
    rerating_items,
    rerating_item,
    export_rerating_items,
)
