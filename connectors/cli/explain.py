"""`tollgate explain`: why a call went through or did not; the same call under today's tables; all of it made again.

By its attempt id (or the id of a CDR that has none), or by account, number and time: then the calls near that moment
are listed, and a single one is explained.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import cyclopts
import msgspec

from backoffice.call_facts import CallFacts
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
from backoffice.locks import Colleague, HistoryEntry
from connectors.cli.app import Refused, app, out, print_json, print_table, settings
from connectors.convert.common import NumberRule
from connectors.postgres import explain as record
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import DRIVER_TROUBLES, DatabaseTrouble, Pool, explained, open_database
from connectors.postgres.explain import NearCall
from connectors.postgres.locks import LooksRecord, colleagues, histories
from connectors.postgres.moments import to_moment
from connectors.postgres.past import UnknownVersion
from connectors.postgres.reference import snapshot
from connectors.settings import DatabaseSettings, database_settings, http_settings
from engine.decisions import is_number
from engine.settings import EngineSettings
from schemas.decisions import CallDecision, LockReason
from schemas.money import to_text as money
from schemas.rated import RatedCdr
from schemas.times import to_datetime, to_us

_POSITIVE = cyclopts.validators.Number(gte=1)

e164 = NumberRule().e164


class _Question(NamedTuple):
    """What was asked; an attempt id, or what to look for near a moment."""

    call_id: str | None
    account: str | None
    number: str | None
    at: datetime | None
    within: timedelta
    verify: bool


class _Answer(NamedTuple):
    """What there is to say. `facts` is None where several calls or none were found."""

    near: list[NearCall]
    facts: CallFacts | None
    today: Today | None
    verified: tuple[Verified, ...] | None
    authors: dict[str, Colleague]
    history: tuple[HistoryEntry, ...]
    """Of the lock that decided."""
    now: datetime


@app.command
def explain(
    attempt_id: Annotated[str | None, cyclopts.Parameter(help="The attempt's id, or that of a CDR.")] = None,
    *,
    account: Annotated[str | None, cyclopts.Parameter(help="Calls of this account, near --at.")] = None,
    number: Annotated[str | None, cyclopts.Parameter(help="Calls to or from this number, near --at.")] = None,
    at: Annotated[
        str | None,
        cyclopts.Parameter(help="About when it was. With an id: which call, where several had the same one."),
    ] = None,
    within: Annotated[int, cyclopts.Parameter(help="Minutes before and after --at.", validator=_POSITIVE)] = 60,
    verify: Annotated[
        bool,
        cyclopts.Parameter(
            negative="", help="Make again all that was published of it, under the tables of its time; 1 if it differs."
        ),
    ] = False,
    json: Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")] = False,
) -> int:
    """Why a call went through or did not: the checks in order, the row that decided, whom to ask, what was charged;
    and the same call under today's tables.

    By its attempt id, or by --account or --number and --at.
    """
    if (attempt_id is None) == (account is None and number is None):
        raise Refused("say which call: its attempt id, or --account or --number (or both) with --at")
    if attempt_id is None and at is None:
        raise Refused("say about when the call was: --at 2026-11-24T18:30:00+03:00")
    question = _Question(
        attempt_id,
        account,
        number,
        None if at is None else _moment(at),
        timedelta(minutes=within),
        verify,
    )
    where = database_settings()
    try:
        answer = asyncio.run(_ask(where, settings(), question))
    except (DatabaseTrouble, UnknownVersion) as error:
        raise Refused(str(error)) from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, where))) from None
    if json:
        print_json(_as_dict(answer))
    else:
        _print(answer)
    return 0 if answer.verified is None or all_same(answer.verified) else 1


def _moment(text: str) -> datetime:
    try:
        return to_datetime(to_us(text))
    except ValueError as error:
        raise Refused(f"--at: {error}") from None


async def _ask(where: DatabaseSettings, engine: EngineSettings, question: _Question) -> _Answer:
    async with open_database(where) as database:
        pool = database.pool
        now = await BusinessClock(settable=http_settings().settable_clock).now(pool)
        near: list[NearCall] = []
        call_id, at = question.call_id, question.at
        if call_id is None:
            assert at is not None, "a call that is looked for has a time"
            numbers = None if question.number is None else sorted({question.number, e164(question.number)})
            near = await record.nearest(
                pool, account_id=question.account, numbers=numbers, at=at, within=question.within
            )
            if not near:
                await _refuse_unknown(pool, question)
            if len(near) != 1:
                return _Answer(near, None, None, None, {}, (), now)
            call_id, at = near[0].attempt_id, near[0].at
        async with snapshot(pool) as connection:
            facts = await record.read_call(connection, call_id, at)
            if facts is None:
                raise Refused(
                    f"there is no call {call_id!r} in the record; look by --account, --number and --at, or see whether "
                    "the projector is behind (tollgate_projector_lag_records of its /metrics)"
                )
            today = await record.under_todays_tables(connection, facts, engine, now)
            verified = await record.made_again(connection, facts, engine) if question.verify else None
        authors = await colleagues(pool, _lock_authors(facts, today))
        history: tuple[HistoryEntry, ...] = ()
        if facts.decision is not None and isinstance(facts.decision.record.reason, LockReason):
            lock_id = facts.decision.record.reason.lock_id
            history = (await histories(pool, [lock_id])).get(lock_id, ())
        return _Answer(near, facts, today, verified, authors, history, now)


async def _refuse_unknown(pool: Pool, question: _Question) -> None:
    """Raises Refused for an account or a number that is none; what has calls was answered, whatever it is."""
    if question.account is not None and not await LooksRecord(pool).has_account(question.account):
        raise Refused(f"--account: there is no account {question.account!r}")
    if question.number is not None and not is_number(e164(question.number)):
        raise Refused(f"--number: {question.number!r} is no number: give 1 to 15 digits, such as 381114112060")


def _lock_authors(facts: CallFacts, today: Today) -> list[str]:
    decisions = [None if facts.decision is None else facts.decision.record, today.decision]
    return lock_authors([*decisions, *(one.answer.record for one in facts.extensions)])


def _differing(facts: CallFacts, today: Today) -> tuple[Difference, ...]:
    found: tuple[Difference, ...] = ()
    if facts.decision is not None and today.decision is not None:
        found = differences(facts.decision.record, today.decision, money=True)
    for then, now in today.rated:
        found += rated_differences(then, now)
    return found


# -- for programs -----------------------------------------------------------------------------------------------------


def _as_dict(answer: _Answer) -> dict[str, Any]:
    near = [{**one._asdict(), "at": to_moment(one.at)} for one in answer.near]
    if answer.facts is None or answer.today is None:
        return {"calls": near, "explained": None}
    facts, today = answer.facts, answer.today
    decision = None if facts.decision is None else facts.decision.record
    explained = {
        "attempt_id": facts.attempt_id,
        "story": story(facts),
        "attempt": facts.attempt,
        "decision": _told(decision, answer),
        "history": answer.history,
        "repeated": len(facts.repeats),
        "extensions": [_told(one.answer.record, answer) for one in facts.extensions],
        "release": facts.release,
        "rated": [
            {
                "rated_cdr": one.record,
                "retail": charge_told(one.record.retail),
                "wholesale": charge_told(one.record.wholesale),
            }
            for one in facts.rated
        ],
        "rejected": facts.rejected,
        "same_id": facts.same_id,
        "today": {
            "at": to_moment(answer.now),
            "decision": _told(today.decision, answer),
            "differences": _differing(facts, today),
        },
        "verified": answer.verified,
        "all_same": None if answer.verified is None else all_same(answer.verified),
    }
    return {"calls": near, "explained": msgspec.to_builtins(explained)}


def _told(decision: CallDecision | None, answer: _Answer) -> DecisionTold | None:
    if decision is None:
        return None
    return with_contacts(decision_told(decision, money=True), decision, answer.authors)


# -- for people -------------------------------------------------------------------------------------------------------


def _print(answer: _Answer) -> None:
    if answer.facts is None or answer.today is None:
        _print_near(answer.near)
        return
    facts, today = answer.facts, answer.today
    _say(story(facts))
    if facts.attempt is not None:
        asked = facts.attempt
        _say(
            f"asked by {asked.switch_id} at {asked.at}: {asked.service} from {asked.caller or 'an unknown number'} to "
            f"{asked.called}, account {asked.account_id or '–'}"
            + (f", place {asked.place}" if asked.place else "")
            + (f", came in by {asked.incoming_service}" if asked.incoming_service else "")
        )
    if facts.same_id:
        _say(f"other calls had the same id: {', '.join(facts.same_id)}; ask about one by --at")
    if facts.decision is not None:
        _print_decision("Decision", _told(facts.decision.record, answer))
    for entry in answer.history:
        role = "" if entry.acted_as is None else f" ({entry.acted_as})"
        fields = f" {', '.join(entry.changed)}" if entry.action == "changed" else ""
        _say(f"the lock was {entry.action}{fields} by {entry.actor}{role} on {entry.at}: {entry.why}")
    if facts.repeats:
        _say(f"answered again {len(facts.repeats)} times, to what was sent again")
    for one in facts.extensions:
        said = one.answer.record
        _say(f"extension {said.extension} at {said.at}: {_told_verdict(said, answer)}")
    if facts.release is not None:
        _say(f"released at {facts.release.at}" + (f": {facts.release.cause}" if facts.release.cause else ""))
    for rated in facts.rated:
        _print_rated(rated.record)
    for event in facts.rejected:
        again = f", submitted again {event.resubmitted_at}" if event.resubmitted_at else ""
        if event.set_aside_at is not None and event.resubmitted_at is None:
            again = f", set aside {event.set_aside_at}"
        _say(
            f"rejected event {event.rejected_id} of {event.topic}: {event.reason}, {event.meaning}{again} "
            f"(tollgate rejected show {event.rejected_id})"
        )
    _print_today(facts, today, answer)
    if answer.verified is not None:
        _print_verified(answer.verified)


def _print_near(near: list[NearCall]) -> None:
    if not near:
        _say("no call was found there; widen --within, or see whether the account and the number are right")
        return
    print_table(
        f"{len(near)} calls, the nearest first; ask about one by its id",
        ("attempt", "at", "account", "service", "from", "to", "answer"),
        [
            (
                one.attempt_id,
                to_moment(one.at),
                one.account_id or "–",
                one.service or "",
                one.caller or "",
                one.called or "",
                _answered(one),
            )
            for one in near
        ],
    )


def _answered(call: NearCall) -> str:
    if call.allow is None:
        return "none yet" if call.rejected is None else f"none, rejected: {call.rejected}"
    return "allowed" if call.allow else f"denied: {call.reason}"


def _print_decision(title: str, told: DecisionTold | None) -> None:
    if told is None:
        return
    print_table(
        f"{title}: {told.verdict} (reference version {told.reference_version})",
        ("check", "outcome", "what it looked at"),
        [(one.check, one.outcome, one.text) for one in told.checks],
    )
    if told.decided_by is not None:
        _say(f"decided by: {told.decided_by}")
        _say(f"ask {told.ask}")
    for reason in told.reasons[1:]:
        _say(f"also {reason.code}: {reason.text} (ask {reason.ask})")
    for route in told.routes:
        loss = ", at a loss" if route.negative_margin else ""
        _say(
            f"through {route.provider_id} at {money(route.price_micros)} per {route.per_seconds} s "
            f"({route.price_list_id}, prefix {route.prefix or '(any)'}){loss}"
        )
    if told.retail is not None:
        price = told.retail
        _say(
            f"sold at {money(price.price_micros)} per {price.per_seconds} s in steps of {price.step_seconds} s, "
            f"connection {money(price.connect_fee_micros)} ({price.price_list_id}, prefix {price.prefix or '(any)'})"
        )
    if told.hold_micros is not None and told.allow:
        _say(f"granted {told.max_seconds} s, held {money(told.hold_micros)} until {told.hold_expires_at or '–'}")


def _told_verdict(decision: CallDecision, answer: _Answer) -> str:
    told = with_contacts(decision_told(decision, money=True), decision, answer.authors)
    return told.verdict + ("" if told.decided_by is None else f": {told.decided_by}; ask {told.ask}")


def _print_rated(rated: RatedCdr) -> None:
    marks = [
        mark.replace("_", " ")
        for mark in ("late", "no_attempt", "denied", "emergency", "negative_margin")
        if getattr(rated, mark) is True
    ]
    _say(
        f"CDR {rated.cdr_id}: {rated.service}, {rated.started_at} to {rated.ended_at}, {rated.billable_seconds} s, "
        f"through {rated.provider_id or 'no provider'}, {rated.cause or 'no cause'}"
        + (f" ({', '.join(marks)})" if marks else "")
    )
    for name, told in (("sold", charge_told(rated.retail)), ("bought", charge_told(rated.wholesale))):
        _print_charge(name, told)
    if rated.margin_micros is not None:
        _say(f"  margin {money(rated.margin_micros)}")
    if rated.balance_after_micros is not None:
        _say(f"  the account had {money(rated.balance_after_micros)} afterwards")


def _print_charge(name: str, told: ChargeTold | None) -> None:
    if told is None:
        _say(f"  {name}: nothing")
        return
    for line in told.lines:
        _say(f"  {name}: {line}")


def _print_today(facts: CallFacts, today: Today, answer: _Answer) -> None:
    now = to_moment(answer.now)
    told = _told(today.decision, answer)
    if told is not None:
        _say(f"the same call under today's tables ({now}): {told.verdict}")
        if told.decided_by is not None:
            _say(f"decided by: {told.decided_by}; ask {told.ask}")
    found = _differing(facts, today)
    if found:
        print_table("What differs", ("", "then", "now"), [(one.what, one.then, one.now) for one in found])
    elif told is not None or today.rated:
        _say("nothing differs")


def _print_verified(found: tuple[Verified, ...]) -> None:
    for one in found:
        if one.same:
            _say(f"made again: {one.what} is the same, byte for byte")
        elif one.why is not None:
            _say(f"made again: {one.what} can't be compared: {one.why}")
        else:
            _say(f"made again: {one.what} DIFFERS at {one.field}: published {one.published}, made {one.made}")
    if not found:
        _say("nothing was published about it, so there is nothing to make again")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
