"""Why did this call go through, or not: what was published about it, in words, and made again.

A decision explains itself: its checks stand in it in their order, with the rows that they looked at. Here they become
sentences for whoever answers the client. The same call is asked once more under today's tables, with the money that the
account has now, and what differs is marked. And what was published is made again under the reference data of its time:
the same bytes come out, or the first difference is shown. All of the deciding and pricing is the engine's (`again`).

Numbers of those who talked stand in no sentence: who may see them whole is decided elsewhere.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Struct

from engine.accounts import AccountState
from engine.again import References, decide_again, decide_under, extend_again, rate_again, rate_under
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.codec import encode
from schemas.decisions import (
    AccountBlocked,
    AccountClosed,
    BadNumber,
    CallDecision,
    Check,
    InsufficientFunds,
    LockFound,
    LockReason,
    NoMargin,
    NoRetailPrice,
    NoWholesalePrice,
    NumberNotInUse,
    Reason,
    RetailPrice,
    Route,
    TooManyCalls,
    UnknownAccount,
)
from schemas.events import CallAttempt, CallExtension, CallRelease, Cdr
from schemas.money import to_text as money_text
from schemas.rated import Charge, ChargeLine, RatedCdr
from schemas.times import to_us

T = TypeVar("T")


# -- what was published about a call ----------------------------------------------------------------------------------


class Published(NamedTuple, Generic[T]):
    """A record, its very bytes, and when the broker took it."""

    record: T
    value: bytes
    recorded_at: datetime


class Extended(NamedTuple):
    """A request for more time and its answer; the request is None where the record does not have it."""

    request: CallExtension | None
    answer: Published[CallDecision]


class RejectedFact(Struct, frozen=True):
    """An event about the call that could not be used."""

    rejected_id: str
    topic: str
    reason: str
    meaning: str
    recorded_at: str
    resubmitted_at: str | None


class CallFacts(NamedTuple):
    """All that the record has of one call, or of one CDR without a call. What is missing is None or empty."""

    attempt_id: str | None
    attempt: CallAttempt | None
    decision: Published[CallDecision] | None
    repeats: tuple[Published[CallDecision], ...]
    """Answers to the same attempt sent again, and to extensions sent again."""
    extensions: tuple[Extended, ...]
    release: CallRelease | None
    rated: tuple[Published[RatedCdr], ...]
    rejected: tuple[RejectedFact, ...]
    same_id: tuple[str, ...]
    """Moments of other calls that had the same id: give one of them to ask about that call."""

    @property
    def account_id(self) -> str | None:
        """Whose call it is."""
        if self.attempt is not None:
            return self.attempt.account_id
        if self.decision is not None:
            return self.decision.record.account_id
        return self.rated[0].record.account_id if self.rated else None

    @property
    def digits(self) -> frozenset[str]:
        """The numbers that were called."""
        called = [one.record.called for one in self.rated]
        return frozenset(called if self.attempt is None else [*called, self.attempt.called])

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that are named."""
        named = [one.record.account_id for one in self.rated]
        return frozenset(name for name in [*named, self.account_id] if name is not None)

    @property
    def versions(self) -> frozenset[int]:
        """The versions of the reference data that it was decided and rated under."""
        found: set[int] = set()
        if self.decision is not None:
            found.add(self.decision.record.reference_version)
        found.update(one.record.reference_version for one in self.repeats)
        found.update(one.answer.record.reference_version for one in self.extensions)
        for rated in self.rated:
            found.add(rated.record.reference_version)
            if rated.record.rated_version is not UNSET:
                found.add(rated.record.rated_version)
        return frozenset(found)


# -- in words ---------------------------------------------------------------------------------------------------------


class ReasonTold(Struct, frozen=True):
    """One reason to deny: its code (the contract's), a sentence, whom to ask, and the lock if it was one."""

    code: str
    text: str
    ask: str
    lock_id: str | None


class MoneyTold(Struct, frozen=True):
    """The account's money as the decision found it, in micro-units. `needed`: the least that the call had to have."""

    balance_micros: int
    held_micros: int
    credit_limit_micros: int
    available_micros: int
    needed_micros: int


class CheckTold(Struct, frozen=True):
    """One check, in the order in which they are made. `text` says what it looked at."""

    check: str
    outcome: str
    text: str
    locks: tuple[LockFound, ...]
    money: MoneyTold | None


class RouteTold(Struct, frozen=True):
    """A provider that the call could leave through, cheapest first, with its wholesale price."""

    provider_id: str
    price_list_id: str
    prefix: str
    price_micros: int
    per_seconds: int
    negative_margin: bool


class DecisionTold(Struct, frozen=True):
    """An answer of the engine in words. `decided_by` is the row that decided, `ask` whom to ask; null for an allowed
    call. Money is null for whoever may not see balances."""

    at: str
    extension: int
    """0: the answer to the attempt itself."""
    allow: bool
    verdict: str
    decided_by: str | None
    ask: str | None
    reasons: tuple[ReasonTold, ...]
    checks: tuple[CheckTold, ...]
    routes: tuple[RouteTold, ...]
    retail: RetailPrice | None
    max_seconds: int
    hold_micros: int | None
    hold_expires_at: str | None
    reference_version: int
    emergency: bool
    negative_margin: bool


class ChargeTold(Struct, frozen=True):
    """A charge in all its parts, and the same in sentences, line by line."""

    charge: Charge
    lines: tuple[str, ...]


def decision_told(decision: CallDecision, *, money: bool) -> DecisionTold:
    """A decision in words. `money`: whether whoever asks may see balances."""
    first = decision.reason
    return DecisionTold(
        decision.at,
        decision.extension or 0,
        decision.allow,
        verdict(decision),
        None if first is None else decided_by(decision, money=money),
        None if first is None else first.ask,
        tuple([reason_told(reason, money=money) for reason in decision.reasons]),
        tuple([_check_told(check, money=money) for check in decision.checks]),
        tuple([_route_told(route) for route in decision.routes]),
        decision.retail,
        decision.max_seconds,
        decision.hold_micros if money else None,
        decision.hold_expires_at,
        decision.reference_version,
        decision.emergency is True,
        decision.negative_margin is True,
    )


def verdict(decision: CallDecision) -> str:
    """The answer in a sentence."""
    asked = "more time was" if decision.extension else "the call was"
    if decision.reason is not None:
        also = [code(reason) for reason in decision.reasons[1:]]
        return f"{asked} denied: {code(decision.reason)}" + (f" (and {', '.join(also)})" if also else "")
    if decision.emergency is True:
        return f"{asked} allowed: an emergency number, free of charge, {decision.max_seconds} s"
    through = ", ".join(route.provider_id for route in decision.routes)
    return f"{asked} allowed for up to {decision.max_seconds} s" + (f" through {through}" if through else "")


def code(reason: Reason) -> str:
    """The reason's code in the contract."""
    return str(reason.__struct_config__.tag)


def decided_by(decision: CallDecision, *, money: bool) -> str:
    """The row that decided a denied call."""
    assert decision.reason is not None, "an allowed call was not decided by a row"
    return reason_told(decision.reason, money=money).text


def reason_told(reason: Reason, *, money: bool) -> ReasonTold:
    """A reason in a sentence."""
    lock_id = reason.lock_id if isinstance(reason, LockReason) else None
    return ReasonTold(code(reason), _reason_text(reason, money=money), reason.ask, lock_id)


def _reason_text(reason: Reason, *, money: bool) -> str:
    match reason:
        case BadNumber():
            return "the called number is not 1 to 15 digits"
        case NumberNotInUse():
            state = "the operator does not have it" if reason.status is None else f"its status is {reason.status}"
            return f"nobody uses the called number: {state}"
        case UnknownAccount():
            if not reason.account_id:
                return "the called number is in use, but the switch named no account for it"
            return f"account {reason.account_id} is not in the reference data"
        case AccountClosed() | AccountBlocked():
            what = "closed" if isinstance(reason, AccountClosed) else "blocked"
            since = "" if reason.since is None else f" since {reason.since}"
            why = "" if reason.why is None else f": {reason.why}"
            return f"account {reason.account_id} is {what}{since}{why}"
        case TooManyCalls():
            return f"{reason.running} calls were running, and the account may have {reason.limit} at once"
        case LockReason():
            return _lock_text(reason)
        case NoWholesalePrice():
            return f"no provider has a price for the number ({_conditions(reason)})"
        case NoRetailPrice():
            return f"tariff plan {reason.tariff_plan_id} has no price for the number ({_conditions(reason)})"
        case NoMargin():
            return (
                f"tariff plan {reason.tariff_plan_id} forbids to sell below cost: the first minute sells for "
                f"{reason.first_minute_retail} and costs {reason.first_minute_wholesale} at {reason.provider_id}"
            )
        case InsufficientFunds():
            if not money:
                return "the available money does not buy the first step"
            return (
                f"{money_text(reason.needed_micros)} is needed, {money_text(reason.available_micros)} is available: "
                f"balance {money_text(reason.balance_micros)}, held {money_text(reason.held_micros)}, credit limit "
                f"{money_text(reason.credit_limit_micros)}"
            )


def _lock_text(lock: LockReason | LockFound) -> str:
    where = "for everyone" if lock.scope == "global" else "on the account"
    through = "" if lock.provider_id is None else f" through {lock.provider_id}"
    return (
        f"lock {lock.lock_id} on {lock.kind} {lock.digits} {where}{through}, set by {lock.author} on "
        f"{lock.created_at}: {lock.why}"
    )


def _conditions(reason: NoWholesalePrice | NoRetailPrice) -> str:
    return f"service {reason.service}, place {reason.place or 'any'}"


def _check_told(check: Check, *, money: bool) -> CheckTold:
    found = None
    texts = []
    if check.limit is not None:
        texts.append(f"{check.running} running, {check.limit} at once")
    texts += [_lock_text(lock) for lock in check.locks]
    if check.providers:
        texts.append(", ".join(check.providers))
    if check.price_list_id is not None:
        texts.append(f"price list {check.price_list_id}, prefix {check.prefix or '(any)'}")
    if money and check.balance_micros is not None:
        found = MoneyTold(
            check.balance_micros,
            check.held_micros or 0,
            check.credit_limit_micros or 0,
            check.available_micros or 0,
            check.needed_micros or 0,
        )
        # A passed check has what is held for the call in the place of what the call had to have.
        needed = "needed" if check.outcome == "failed" else "held for the call"
        texts.append(
            f"balance {money_text(found.balance_micros)}, held {money_text(found.held_micros)}, credit limit "
            f"{money_text(found.credit_limit_micros)}, available {money_text(found.available_micros)}, {needed} "
            f"{money_text(found.needed_micros)}"
        )
    return CheckTold(check.check, check.outcome, "; ".join(texts), check.locks, found)


def _route_told(route: Route) -> RouteTold:
    return RouteTold(
        route.provider_id,
        route.price_list_id,
        route.prefix,
        route.price_micros,
        route.per_seconds,
        route.negative_margin is True,
    )


def charge_told(charge: Charge | None) -> ChargeTold | None:
    """A charge line by line: the parts add up to `exact`, which is rounded once."""
    if charge is None:
        return None
    lines = []
    if charge.connect_fee_micros:
        lines.append(f"connection: {money_text(charge.connect_fee_micros)}")
    if charge.attempt_fee_micros:
        lines.append(f"fee for an unanswered call: {money_text(charge.attempt_fee_micros)}")
    lines += [_line_text(line) for line in charge.lines]
    if charge.adjustment is not None:
        name = "least charge" if charge.adjustment.kind == "min_charge" else "greatest charge"
        lines.append(f"{name} {money_text(charge.adjustment.limit_micros)}: {charge.adjustment.amount}")
    if charge.discount is not None:
        lines.append(f"discount of {charge.discount.percent} %: {charge.discount.amount}")
    lines.append(
        f"together {charge.exact}, rounded {charge.rounding.replace('_', ' ')} to {charge.decimals} decimals: "
        f"{money_text(charge.amount_micros)} (price list {charge.price_list_id}, prefix {charge.prefix or '(any)'})"
    )
    return ChargeTold(charge, tuple(lines))


def _line_text(line: ChargeLine) -> str:
    band = "" if line.band_id is None else f", band {line.band_id}"
    return (
        f"from second {line.from_second}: {line.seconds} s, {line.steps} steps of {line.step_seconds} s at "
        f"{money_text(line.price_micros)} per {line.per_seconds} s{band}: {line.amount}"
    )


def story(facts: CallFacts) -> str:
    """What became of the call, in a sentence or two."""
    if facts.decision is None and facts.attempt is None:
        if facts.rated:
            return "no attempt of this call is in the record; its CDR was rated"
        if facts.rejected:
            return f"the engine could not use what came: {facts.rejected[0].reason}, {facts.rejected[0].meaning}"
        return "there is no attempt, no decision and no CDR of it in the record"
    if facts.decision is None:
        of_attempt = [one for one in facts.rejected if one.topic == "call-attempts"]
        if of_attempt:
            return f"the engine could not use the attempt: {of_attempt[0].reason}, {of_attempt[0].meaning}"
        return "the attempt has come, and no answer to it is in the record yet"
    words = [verdict(facts.decision.record)]
    if facts.rated:
        charged = [one.record for one in facts.rated]
        words += [f"{one.billable_seconds} s were rated{_price_words(one)}" for one in charged]
    elif any(one.topic == "cdrs" for one in facts.rejected):
        words.append("its CDR was rejected, and nothing was charged")
    elif facts.release is not None:
        cause = facts.release.cause
        words.append("it was released without a CDR" + ("" if cause is None else f" ({cause})"))
    elif facts.decision.record.allow:
        words.append("no CDR of it is in the record yet")
    return "; ".join(words)


def _price_words(rated: RatedCdr) -> str:
    sold = "nothing" if rated.retail is None else money_text(rated.retail.amount_micros)
    bought = "" if rated.wholesale is None else f", cost {money_text(rated.wholesale.amount_micros)}"
    return f", sold for {sold}{bought}"


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
    text = _check_told(check, money=money).text
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
