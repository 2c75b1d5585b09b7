"""Why did this call go through, or not: what was published about it, asked anew and made again.

The same call is asked once more under today's tables, with the money that the account has now, and what differs is
marked. And what was published is made again under the reference data of its time: the same bytes come out, or the first
difference is shown. All of the deciding and pricing is the engine's (`again`); `call_words` puts it in words.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from backoffice.call_facts import CallFacts
from backoffice.call_words import check_told, reason_told
from engine.accounts import AccountState
from engine.again import References, decide_again, decide_under, extend_again, rate_again, rate_under
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.codec import encode
from schemas.decisions import CallDecision, Check, RetailPrice
from schemas.events import Cdr
from schemas.money import to_text as money_text
from schemas.rated import Charge, RatedCdr
from schemas.times import to_us

# -- today ------------------------------------------------------------------------------------------------------------


class Today(NamedTuple):
    """The same call under other tables: its decision, and what each of its CDRs would come to (or why it would not)."""

    decision: CallDecision | None
    rated: tuple[tuple[RatedCdr, RatedCdr | Refusal], ...]
    """As it was rated, and as it would be."""


class Difference(Struct, frozen=True):
    """One thing that differs between then and now."""

    what: str
    then: str
    now: str


def today(
    facts: CallFacts,
    settings: EngineSettings,
    tables: Mapping[str, Reference],
    state: AccountState | None,
    at_us: int,
) -> Today:
    """The call as it would be decided at a moment, and its CDRs as they would be rated. `tables`: of each number of
    `facts.digits`. `state`: the account's money; None: nothing has touched it yet."""
    attempt = facts.attempt
    decision = None
    if attempt is not None:
        decision = decide_under(settings, tables[attempt.called], attempt, state, at_us)
    first = None if facts.decision is None else facts.decision.record
    rated = []
    for one in facts.rated:
        if one.record.no_attempt is not True and (attempt is None or first is None):
            continue
        # It is priced by what was asked for at set-up, unless it is of another service.
        asked = attempt if attempt is not None and attempt.service == one.record.service else one.record
        reference = tables[asked.called]
        account = None if one.record.account_id is None else reference.accounts.get(one.record.account_id)
        anew = rate_under(settings, reference, cdr_of(one.record), one.record, account, attempt, first)
        rated.append((one.record, anew))
    return Today(decision, tuple(rated))


def without_itself(facts: CallFacts, state: AccountState, told_at: str) -> None:
    """Takes the call's own hold and place out of an account's state, as it was told at `told_at`, if they are in it
    still: a call that goes on, or whose CDR has not come yet, is not in its own way."""
    if facts.decision is None or facts.rated or facts.release is not None:
        return
    said = [facts.decision.record, *(one.answer.record for one in facts.extensions)]
    first = said[0]
    if not first.allow or first.emergency is True or first.account_id is None:
        return
    granted = [one for one in said if one.hold_expires_at is not None]
    expires_at = granted[-1].hold_expires_at if granted else None
    if expires_at is not None and to_us(expires_at) > to_us(told_at):
        state.held_micros = max(state.held_micros - granted[-1].hold_micros, 0)
        state.running = max(state.running - 1, 0)


def cdr_of(rated: RatedCdr) -> Cdr:
    """The CDR that was rated: it stands in the rated one, as it came."""
    return Cdr(
        cdr_id=rated.cdr_id,
        switch_id=rated.switch_id,
        service=rated.service,
        called=rated.called,
        started_at=rated.started_at,
        ended_at=rated.ended_at,
        attempt_id=rated.attempt_id,
        account_id=rated.account_id,
        caller=rated.caller,
        place=rated.place,
        incoming_service=rated.incoming_service,
        provider_id=rated.provider_id,
        answered_at=rated.answered_at,
        billable_seconds=rated.billable_seconds,
        cause=rated.cause,
    )


def differences(then: CallDecision, now: CallDecision, *, money: bool) -> tuple[Difference, ...]:
    """What differs between two decisions on one attempt, in the order in which people ask: the verdict, the reasons,
    what each check looked at, the ways out, the price, the time, and the money."""
    found: list[Difference] = []

    def compare(what: str, one: str, other: str) -> None:
        if one != other:
            found.append(Difference(what, one, other))

    compare("verdict", _yes(then.allow), _yes(now.allow))
    compare("reasons", _reasons(then, money=money), _reasons(now, money=money))
    checks = {check.check: check for check in now.checks}
    for check in then.checks:
        other = checks[check.check]
        compare(f"check {check.check}", _check_words(check, money=money), _check_words(other, money=money))
    compare("routes", _routes(then), _routes(now))
    compare("retail price", _retail(then.retail), _retail(now.retail))
    compare("granted", f"{then.max_seconds} s", f"{now.max_seconds} s")
    if money:
        compare("held", money_text(then.hold_micros), money_text(now.hold_micros))
    return tuple(found)


def rated_differences(then: RatedCdr, now: RatedCdr | Refusal) -> tuple[Difference, ...]:
    """What differs between a rated CDR and the same under other tables."""
    if isinstance(now, Refusal):
        return (Difference(f"CDR {then.cdr_id}", "rated", f"rejected: {now.reason}, {REFUSED[now.reason]}"),)
    found = []
    for what, one, other in (("retail", then.retail, now.retail), ("wholesale", then.wholesale, now.wholesale)):
        before, after = _charge_words(one), _charge_words(other)
        if before != after:
            found.append(Difference(f"CDR {then.cdr_id} {what}", before, after))
    return tuple(found)


REFUSED = {
    "no_retail_price": "there is no retail price (ask marketing)",
    "no_wholesale_price": "the provider has no price for it (ask b2b)",
    "unknown_account": "the account is not there",
    "unknown_provider": "the provider is not there",
    "bad_time": "its moments contradict each other",
    "account_mismatch": "its attempt was another account's",
}
"""Why a CDR could not be rated under other tables, without the numbers that a refusal's own words name."""


def _yes(allow: bool) -> str:
    return "allowed" if allow else "denied"


def _reasons(decision: CallDecision, *, money: bool) -> str:
    return "; ".join(reason_told(reason, money=money).text for reason in decision.reasons) or "none"


def _check_words(check: Check, *, money: bool) -> str:
    text = check_told(check, money=money).text
    return check.outcome + (f": {text}" if text else "")


def _routes(decision: CallDecision) -> str:
    return (
        ", ".join(
            f"{route.provider_id} at {money_text(route.price_micros)} per {route.per_seconds} s "
            f"({route.price_list_id}, {route.prefix or 'any'})"
            for route in decision.routes
        )
        or "none"
    )


def _retail(price: RetailPrice | None) -> str:
    if price is None:
        return "none"
    return (
        f"{money_text(price.price_micros)} per {price.per_seconds} s in steps of {price.step_seconds} s, connection "
        f"{money_text(price.connect_fee_micros)} ({price.price_list_id}, {price.prefix or 'any'})"
    )


def _charge_words(charge: Charge | None) -> str:
    if charge is None:
        return "none"
    return f"{money_text(charge.amount_micros)} ({charge.price_list_id}, {charge.prefix or 'any'})"


# -- made again -------------------------------------------------------------------------------------------------------


class Verified(Struct, frozen=True):
    """Whether a published record comes out again, byte for byte. `field`: the first that differs, as a JSON pointer,
    with what was published there and what was made. `why`: what is missing, where it could not be made at all."""

    what: str
    same: bool
    field: str | None = None
    published: str | None = None
    made: str | None = None
    why: str | None = None


def verify(facts: CallFacts, settings: EngineSettings, tables: Mapping[int, Reference]) -> tuple[Verified, ...]:
    """Everything that was published about a call made again. `tables`: of all `facts.versions`. `settings`: those of
    that time; where they have been changed since, that is a difference too."""
    references: References = tables.__getitem__
    found = []
    attempt = facts.attempt
    if facts.decision is not None:
        for one in (facts.decision, *(said for said in facts.repeats if not said.record.extension)):
            what = f"the decision of {one.record.at}" + (", repeated" if one.record.repeated is True else "")
            if attempt is None:
                found.append(Verified(what, same=False, why="its attempt is not in the record"))
            else:
                found.append(_compared(what, one.value, decide_again(settings, references, attempt, one.record)))
    found += _verify_extensions(facts, settings, references)
    first = None if facts.decision is None else facts.decision.record
    for rated in facts.rated:
        what = f"the rated CDR {rated.record.cdr_id}"
        if rated.record.no_attempt is not True and (attempt is None or first is None):
            found.append(Verified(what, same=False, why="its attempt and the decision on it are not in the record"))
            continue
        made = rate_again(settings, references, cdr_of(rated.record), rated.record, attempt, first)
        if isinstance(made, Refusal):
            found.append(Verified(what, same=False, why=f"made again it is rejected: {made.reason}"))
        else:
            found.append(_compared(what, rated.value, made))
    return tuple(found)


def _verify_extensions(facts: CallFacts, settings: EngineSettings, references: References) -> list[Verified]:
    found = []
    repeated = [one for one in facts.repeats if one.record.extension]
    earlier = [] if facts.decision is None else [facts.decision.record]
    for extended in facts.extensions:
        number = extended.answer.record.extension or 0
        what = f"extension {number}"
        if facts.attempt is None or extended.request is None or number != len(earlier) or not earlier:
            found.append(Verified(what, same=False, why="its request, or a decision before it, is not in the record"))
            continue
        for one in (extended.answer, *(said for said in repeated if said.record.extension == number)):
            made = extend_again(settings, references, facts.attempt, earlier, extended.request, one.record)
            found.append(_compared(what + (", repeated" if one.record.repeated is True else ""), one.value, made))
        earlier.append(extended.answer.record)
    return found


def _compared(what: str, published: bytes, made: Struct) -> Verified:
    again = encode(made)
    if again == published:
        return Verified(what, same=True)
    field, one, other = first_difference(msgspec.json.decode(published), msgspec.json.decode(again))
    return Verified(what, same=False, field=field, published=one, made=other)


def first_difference(one: object, other: object, path: str = "") -> tuple[str, str, str]:
    """Where two JSON values first differ, as a JSON pointer (RFC 6901), and what stands there in each. Equal values
    differ in their bytes alone: the pointer is empty then."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if name not in one or name not in other or one[name] != other[name]:
                step = str(name).replace("~", "~0").replace("/", "~1")
                return first_difference(one.get(name, _NOTHING), other.get(name, _NOTHING), f"{path}/{step}")
    if isinstance(one, list) and isinstance(other, list):
        for place in range(max(len(one), len(other))):
            here = one[place] if place < len(one) else _NOTHING
            there = other[place] if place < len(other) else _NOTHING
            if here != there:
                return first_difference(here, there, f"{path}/{place}")
    return path, _said(one), _said(other)


_NOTHING = object()


def _said(value: object) -> str:
    return "nothing" if value is _NOTHING else msgspec.json.encode(value).decode()


def all_same(found: Sequence[Verified]) -> bool:
    """Whether everything came out again."""
    return all(one.same for one in found)
