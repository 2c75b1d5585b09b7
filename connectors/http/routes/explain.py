"""Why a call went through or not: by its attempt id, or by account, number and time.

What was decided stands there as it was decided, with the row that decided and whom to ask; beside it the same call
under today's tables; and, when it is asked for, whether all that was published comes out again under the tables of its
time. Balances are for those who may see money.
"""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from backoffice.call_facts import CallFacts, RejectedFact
from backoffice.call_words import (
    ChargeTold,
    DecisionTold,
    charge_told,
    decision_told,
    lock_authors,
    story,
    with_contacts,
)
from backoffice.explain import Difference, Today, Verified, all_same, differences, rated_differences
from backoffice.locks import HistoryEntry
from backoffice.refusals import InTheWay, NotThere
from backoffice.words import Id, Moment
from connectors.convert.common import NumberRule
from connectors.http.call import Call
from connectors.http.parties import Party, party
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import moment_of
from connectors.http.route import get
from connectors.postgres import explain as record
from connectors.postgres.locks import LooksRecord, colleagues, histories
from connectors.postgres.moments import to_moment
from connectors.postgres.past import UnknownVersion
from connectors.postgres.reference import snapshot
from engine.decisions import is_number
from schemas.decisions import CallDecision, LockReason
from schemas.rated import RatedCdr

e164 = NumberRule().e164

MOST_MINUTES = 7 * 24 * 60


class ExplainAsked(Struct, frozen=True):
    """Which of several calls that had the same id, and what else to look at."""

    at: Moment | None = None
    """The moment of the attempt; the latest one if left out."""
    verify: bool = False
    """Whether to make again all that was published."""


class NearAsked(Struct, frozen=True):
    """Calls near a moment: of an account, to or from a number as people type it, or both."""

    at: Moment
    account_id: Id | None = None
    number: Annotated[str, Meta(min_length=1, max_length=40, examples=["+381 11 411-20-60"])] | None = None
    within_minutes: Annotated[int, Meta(ge=1, le=MOST_MINUTES)] = 60
    limit: Annotated[int, Meta(ge=1, le=record.MOST_NEAR)] = 20


class AttemptShown(Struct, frozen=True):
    """What the switch asked."""

    at: str
    switch_id: str
    account_id: str | None
    service: str
    caller: Party | None
    called: Party
    place: str | None
    incoming_service: str | None
    requested_seconds: int | None


class RatedShown(Struct, frozen=True):
    """A finished call with what it cost; each charge with the sentences of its lines. Balances are null for whoever may
    not see money."""

    cdr_id: str
    service: str
    account_id: str | None
    caller: Party | None
    called: Party
    provider_id: str | None
    started_at: str
    answered_at: str | None
    ended_at: str
    billable_seconds: int
    cause: str | None
    retail: ChargeTold | None
    wholesale: ChargeTold | None
    margin_micros: int | None
    balance_after_micros: int | None
    reference_version: int
    rated_version: int | None
    """Where another version was in force when it was rated than the one that it was priced by."""
    marks: tuple[str, ...]
    """Of: late, no_attempt, denied, emergency, negative_margin."""


class TodayShown(Struct, frozen=True):
    """The same call now, and what differs. `decision` is null where no attempt is known."""

    at: str
    decision: DecisionTold | None
    differences: tuple[Difference, ...]


class CallExplained(Struct, frozen=True):
    """Everything there is of one call. `story` says it in a sentence."""

    attempt_id: str | None
    story: str
    attempt: AttemptShown | None
    decision: DecisionTold | None
    history: tuple[HistoryEntry, ...]
    """Of the lock that decided, from its beginning («История записи»); empty where none did."""
    repeated: int
    """How many answers were given once more, to what was sent again."""
    extensions: tuple[DecisionTold, ...]
    released: str | None
    """When the switch said that there will be no CDR."""
    rated: tuple[RatedShown, ...]
    rejected: tuple[RejectedFact, ...]
    """Events about it that could not be used; none for whoever may not see them."""
    same_id: tuple[str, ...]
    today: TodayShown
    verified: tuple[Verified, ...] | None
    """Null: not asked for."""
    all_same: bool | None
    """Whether all of it came out again, byte for byte."""


class NearShown(Struct, frozen=True):
    """A call near the moment. `allow` is null while nothing has been answered; `rejected`: why the engine could not use
    the attempt."""

    attempt_id: str
    at: str
    account_id: str | None
    service: str | None
    caller: Party | None
    called: Party | None
    allow: bool | None
    reason: str | None
    lock_id: str | None
    rejected: str | None


class NearCalls(Struct, frozen=True):
    """The nearest calls first; `explained` where there is but one."""

    calls: tuple[NearShown, ...]
    explained: CallExplained | None


@get(
    "/api/calls/explain",
    requires="calls.see",
    summary="Calls near a moment, and why the only one did not go through",
    parties=True,
    problems=(404,),
)
async def calls_near(call: Call, asked: NearAsked) -> NearCalls:
    if asked.account_id is None and asked.number is None:
        raise unfit(ErrorAt("give an account or a number, or both", parameter="account_id"))
    at = moment_of(asked.at, "at")
    assert at is not None, "it must be given"
    found = await record.nearest(
        call.pool,
        account_id=asked.account_id,
        numbers=None if asked.number is None else sorted({asked.number, e164(asked.number)}),
        at=at,
        within=timedelta(minutes=asked.within_minutes),
        limit=asked.limit,
    )
    if not found:
        await _refuse_unknown(call, asked)
    shown = tuple(
        [
            NearShown(
                one.attempt_id,
                to_moment(one.at),
                one.account_id,
                one.service,
                party(one.caller),
                party(one.called),
                one.allow,
                one.reason,
                one.lock_id,
                one.rejected,
            )
            for one in found
        ]
    )
    explained = None
    if len(found) == 1:
        explained = await _explained(call, found[0].attempt_id, ExplainAsked(at=to_moment(found[0].at)))
    return NearCalls(shown, explained)


async def _refuse_unknown(call: Call, asked: NearAsked) -> None:
    """Where there are no calls, a slip of the pen is told from an account or a number that has none. Switches may name
    accounts that are not there, and callers that are no numbers: what has calls is answered."""
    if asked.account_id is not None and not await LooksRecord(call.pool).has_account(asked.account_id):
        raise NotThere("account", asked.account_id)
    if asked.number is not None and not is_number(e164(asked.number)):
        text = f"{asked.number!r} is no number, and no call has it so: give 1 to 15 digits, such as 381114112060"
        raise unfit(ErrorAt(text, parameter="number"))


@get(
    "/api/calls/{attempt_id:str}/explain",
    requires="calls.see",
    summary="Why a call went through, or did not",
    parties=True,
    problems=(404, 409),
)
async def explain_call(call: Call, attempt_id: str, asked: ExplainAsked) -> CallExplained:
    return await _explained(call, attempt_id, asked)


async def _explained(call: Call, attempt_id: str, asked: ExplainAsked) -> CallExplained:
    settings = call.services.engine
    verified = None
    async with snapshot(call.pool) as connection:
        facts = await record.read_call(connection, attempt_id, moment_of(asked.at, "at"))
        if facts is None:
            raise NotThere("call", attempt_id)
        today = await record.under_todays_tables(connection, facts, settings, call.now)
        if asked.verify:
            try:
                verified = await record.made_again(connection, facts, settings)
            except UnknownVersion as unknown:
                raise InTheWay(str(unknown)) from None
            if not (call.asker.may("parties.see") and call.asker.may("money.see")):
                # What differs may be anything, numbers and balances among it.
                verified = tuple([replace(one, published=None, made=None) for one in verified])
    return await _shown(call, facts, today, verified)


async def _shown(call: Call, facts: CallFacts, today: Today, verified: tuple[Verified, ...] | None) -> CallExplained:
    money = call.asker.may("money.see")
    attempt = facts.attempt
    decision = None if facts.decision is None else facts.decision.record
    differing: tuple[Difference, ...] = ()
    if decision is not None and today.decision is not None:
        differing = differences(decision, today.decision, money=money)
    for then, now in today.rated:
        differing += rated_differences(then, now)
    told = [await _told(call, one.answer.record, money=money) for one in facts.extensions]
    extensions = tuple([one for one in told if one is not None])
    return CallExplained(
        facts.attempt_id,
        story(facts),
        None
        if attempt is None
        else AttemptShown(
            attempt.at,
            attempt.switch_id,
            attempt.account_id,
            attempt.service,
            party(attempt.caller),
            Party(attempt.called),
            attempt.place,
            attempt.incoming_service,
            attempt.requested_seconds,
        ),
        await _told(call, decision, money=money),
        await _history(call, decision),
        len(facts.repeats),
        extensions,
        None if facts.release is None else facts.release.at,
        tuple([_rated(one.record, money=money) for one in facts.rated]),
        facts.rejected if call.asker.may("rejected.see") else (),
        facts.same_id,
        TodayShown(to_moment(call.now), await _told(call, today.decision, money=money), differing),
        verified,
        None if verified is None else all_same(verified),
    )


async def _told(call: Call, decision: CallDecision | None, *, money: bool) -> DecisionTold | None:
    """In words, with the way to reach the authors of locks."""
    if decision is None:
        return None
    authors = lock_authors([decision])
    known = await colleagues(call.pool, authors) if authors else {}
    return with_contacts(decision_told(decision, money=money), decision, known)


async def _history(call: Call, decision: CallDecision | None) -> tuple[HistoryEntry, ...]:
    if decision is None or not isinstance(decision.reason, LockReason) or not call.asker.may("locks.see"):
        return ()
    lock_id = decision.reason.lock_id
    return (await histories(call.pool, [lock_id])).get(lock_id, ())


def _rated(rated: RatedCdr, *, money: bool) -> RatedShown:
    marks = ("late", "no_attempt", "denied", "emergency", "negative_margin")
    return RatedShown(
        rated.cdr_id,
        rated.service,
        rated.account_id,
        party(rated.caller),
        Party(rated.called),
        rated.provider_id,
        rated.started_at,
        rated.answered_at,
        rated.ended_at,
        rated.billable_seconds,
        rated.cause,
        charge_told(rated.retail),
        charge_told(rated.wholesale),
        rated.margin_micros,
        rated.balance_after_micros if money else None,
        rated.reference_version,
        rated.rated_version or None,
        tuple([mark for mark in marks if getattr(rated, mark) is True]),
    )


ROUTES = (calls_near, explain_call)
