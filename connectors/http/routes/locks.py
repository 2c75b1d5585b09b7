"""Locks (§2.2): looking, asking, rehearsing, setting, changing, lifting.

Whoever may look sees all of a lock: who set it, when, why, and every change since. Lifting is for its author and for
managers; support asks them.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import asdict

from backoffice import locks as rules
from backoffice.lock_check import NO_ACCOUNT, Unknown
from backoffice.locks import (
    Colleague,
    Entered,
    HistoryEntry,
    LiftSent,
    LockAnswer,
    LockChange,
    LockFilter,
    LockSent,
    OfficeLock,
    Question,
    QuestionSent,
    Rehearsal,
    RehearsalSent,
    Scope,
    State,
    mask,
    number_or_direction,
    whom_to_ask,
)
from backoffice.refusals import NotThere
from backoffice.words import AsOf, Id
from connectors.convert.common import NumberRule
from connectors.http.call import Call
from connectors.http.paging import After, Limit, cursor, place_of
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import as_of_day
from connectors.http.route import check, get, patch, post
from connectors.postgres import locks as record
from connectors.postgres.locks import LettersRecord, LocksRecord, LooksRecord, Place, TrafficRecord, new_lock_id
from schemas.events import OUTGOING
from schemas.times import DAY_US, EARLIEST_US, LATEST_US, from_datetime, to_datetime

e164 = NumberRule().e164
"""Numbers as people type them, in E.164 digits (D31)."""


class LocksAsked(Struct, frozen=True):
    """Which locks; all conditions together. The newest come first."""

    state: State = "in_force"
    scope: Scope | None = None
    account_id: Id | None = None
    provider_id: Id | None = None
    author: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    begins_with: Entered | None = None
    """Masks that begin so."""
    number: Entered | None = None
    """Masks that cover this number or direction, as people type it."""
    text: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """What the reason holds, in small letters or capitals."""
    at: AsOf | None = None
    """Locks as they were then; as they are now if left out."""
    after: After | None = None
    limit: Limit = 100


class LockShown(OfficeLock, frozen=True):
    """A lock, with the names of what it refers to."""

    scope: Scope
    provider_name: str | None
    author_contact: Colleague | None
    """How to reach the author; null: no user here."""


class LockList(Struct, frozen=True):
    """Some of the locks that were asked for, and how many there are in all. `next`: as in all lists."""

    items: tuple[LockShown, ...]
    next: str | None
    total: int


class LockCard(LockShown, frozen=True):
    """A lock with its history («История записи»)."""

    ask: str
    """Whom to ask why it was set."""
    history: tuple[HistoryEntry, ...]


class History(Struct, frozen=True):
    """All that ever became of a lock, from its beginning."""

    lock_id: str
    ask: str
    history: tuple[HistoryEntry, ...]


class LockCheckAsked(Struct, frozen=True):
    """A number or a direction (`381`, `38111XXXXXX`) as people type it, and whose call it is. Left out, the account is
    anybody: global locks alone."""

    number: Entered
    account_id: Id | None = None
    at: AsOf | None = None
    """What covered the number then; now if left out."""
    service: Annotated[str, Meta(min_length=1, max_length=64, examples=[OUTGOING, "forwarding"])] = OUTGOING


@get("/api/locks", requires="locks.see", summary="Locks, the newest first (§2.2)", problems=(404,))
async def locks(call: Call, asked: LocksAsked) -> LockList:
    place = place_of(asked.after, int, str)
    wanted = LockFilter(
        asked.state,
        asked.scope,
        asked.account_id,
        asked.provider_id,
        asked.author,
        None if asked.begins_with is None else _mask(asked.begins_with, "begins_with"),
        None if asked.number is None else _number(asked.number, "number"),
        asked.text,
        as_of_day(call, asked.at, "at"),
    )
    found = await record.page(
        call.pool,
        wanted,
        after=None if place is None else Place(to_datetime(min(max(place[0], EARLIEST_US), LATEST_US)), place[1]),
        limit=asked.limit,
    )
    more = None if found.next is None else cursor(from_datetime(found.next.created_at), found.next.lock_id)
    return LockList(await _shown(call, found.locks), more, found.total)


@get("/api/locks/{lock_id:str}", requires="locks.see", summary="A lock with its history")
async def lock(call: Call, lock_id: str) -> LockCard:
    return await _card(call, await _there(call, lock_id))


@get("/api/locks/{lock_id:str}/history", requires="locks.see", summary="«История записи» of a lock")
async def lock_history(call: Call, lock_id: str) -> History:
    card = await _card(call, await _there(call, lock_id))
    return History(lock_id, card.ask, card.history)


@get(
    "/api/lock-check",
    requires="locks.see",
    summary="Which locks cover a number, and which one denies (§2.2)",
    problems=(404,),
)
async def check_lock(call: Call, asked: LockCheckAsked) -> LockAnswer:
    as_of = as_of_day(call, asked.at, "at")
    number = _number(asked.number, "number")
    if asked.account_id is not None and not await LooksRecord(call.pool).has_account(asked.account_id):
        raise NotThere("account", asked.account_id)
    try:
        return await record.check(
            call.pool,
            call.services.engine,
            number=number,
            account_id=asked.account_id or NO_ACCOUNT,
            at=call.now,
            as_of=as_of,
            service=asked.service,
        )
    except Unknown as unknown:
        raise unfit(ErrorAt(str(unknown), parameter="service")) from None


@check("/api/lock-rehearsal", requires="locks.set", summary="What a lock would have done to the calls of the last days")
async def rehearse_lock(call: Call, sent: RehearsalSent) -> Rehearsal:
    return await rules.rehearse(
        LooksRecord(call.pool),
        TrafficRecord(call.pool),
        sent,
        since=to_datetime(max(call.now_us - sent.days * DAY_US, EARLIEST_US)),
        until=call.now,
        settings=call.services.engine,
        e164=e164,
    )


@post("/api/locks", requires="locks.set", summary="Set a lock", status=201, problems=(409,))
async def set_lock(call: Call, sent: LockSent) -> LockCard:
    async with call.change(sent.reason) as tx:
        found = await rules.set_lock(
            LocksRecord(tx),
            tx,
            call.asker,
            sent,
            lock_id=new_lock_id(),
            now=call.now,
            settings=call.services.engine,
            e164=e164,
        )
    return await _card(call, found)


@patch("/api/locks/{lock_id:str}", requires="locks.lift", summary="Change a lock", problems=(409,))
async def change_lock(call: Call, lock_id: str, sent: LockChange) -> LockCard:
    async with call.change(sent.reason) as tx:
        found = await rules.change_lock(
            LocksRecord(tx),
            tx,
            call.asker,
            lock_id,
            sent,
            now=call.now,
            settings=call.services.engine,
            e164=e164,
        )
    return await _card(call, found)


@post("/api/locks/{lock_id:str}/lift", requires="locks.lift", summary="Lift a lock", problems=(409,))
async def lift_lock(call: Call, lock_id: str, sent: LiftSent) -> LockCard:
    async with call.change(sent.reason) as tx:
        found = await rules.lift_lock(LocksRecord(tx), tx, call.asker, lock_id, sent)
    return await _card(call, found)


@post(
    "/api/locks/{lock_id:str}/questions",
    requires="locks.ask",
    summary="Ask a lock's author by letter",
    status=201,
    problems=(409,),
)
async def ask_about_lock(call: Call, lock_id: str, sent: QuestionSent) -> Question:
    async with call.change(sent.question) as tx:
        return await rules.ask(LocksRecord(tx), LettersRecord(tx), tx, call.asker, lock_id, sent)


def _number(text: str, parameter: str) -> str:
    try:
        return number_or_direction(text, e164)
    except ValueError as error:
        raise unfit(ErrorAt(str(error), parameter=parameter)) from None


def _mask(text: str, parameter: str) -> str:
    try:
        return mask("prefix", text, e164)
    except ValueError as error:
        raise unfit(ErrorAt(str(error), parameter=parameter)) from None


async def _there(call: Call, lock_id: str) -> OfficeLock:
    found = await LooksRecord(call.pool).lock(lock_id)
    if found is None:
        raise NotThere("lock", lock_id)
    return found


async def _shown(call: Call, found: Sequence[OfficeLock]) -> tuple[LockShown, ...]:
    contacts = await record.colleagues(call.pool, [one.author for one in found])
    providers = await record.provider_names(call.pool, [one.provider_id for one in found])
    return tuple(
        [
            LockShown(
                **asdict(one),
                scope=one.scope,
                provider_name=providers.get(one.provider_id or ""),
                author_contact=contacts.get(one.author),
            )
            for one in found
        ]
    )


async def _card(call: Call, found: OfficeLock) -> LockCard:
    (shown,) = await _shown(call, [found])
    histories = await record.histories(call.pool, [found.lock_id])
    ask = whom_to_ask(found.author, shown.author_contact)
    return LockCard(**asdict(shown), ask=ask, history=histories[found.lock_id])


ROUTES = (
    locks,
    lock,
    lock_history,
    check_lock,
    rehearse_lock,
    set_lock,
    change_lock,
    lift_lock,
    ask_about_lock,
)
