"""A decision, a charge, a whole call in sentences, for whoever answers the client.

A decision explains itself: its checks stand in it in their order, with the rows that they looked at. Numbers of those
who talked stand in no sentence, since who may see them whole is decided elsewhere. The digits of a lock do: whoever may
see calls may see locks.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from backoffice.call_facts import CallFacts
from backoffice.locks import Colleague, whom_to_ask
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
from schemas.money import to_text as money_text
from schemas.rated import Charge, ChargeLine, RatedCdr


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
        tuple([check_told(check, money=money) for check in decision.checks]),
        tuple([_route_told(route) for route in decision.routes]),
        decision.retail,
        decision.max_seconds,
        decision.hold_micros if money else None,
        decision.hold_expires_at,
        decision.reference_version,
        decision.emergency is True,
        decision.negative_margin is True,
    )


def lock_authors(decisions: Iterable[CallDecision | None]) -> list[str]:
    """Who set the locks that decisions name."""
    known = [one for one in decisions if one is not None]
    found = {reason.author for one in known for reason in one.reasons if isinstance(reason, LockReason)}
    found |= {lock.author for one in known for check in one.checks for lock in check.locks}
    return sorted(found)


def with_contacts(told: DecisionTold, decision: CallDecision, authors: Mapping[str, Colleague]) -> DecisionTold:
    """The decision in words, with the way to reach whoever set a lock, wherever it says whom to ask (§2.2).

    `authors`: those of `lock_authors`, as far as they are users.
    """

    def ask(author: str) -> str:
        return whom_to_ask(author, authors.get(author))

    reasons = [
        replace(one, ask=ask(reason.author)) if isinstance(reason, LockReason) else one
        for one, reason in zip(told.reasons, decision.reasons, strict=True)
    ]
    checks = [
        replace(one, locks=tuple([replace(lock, ask=ask(lock.author)) for lock in one.locks])) for one in told.checks
    ]
    return replace(told, ask=reasons[0].ask if reasons else told.ask, reasons=tuple(reasons), checks=tuple(checks))


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


def check_told(check: Check, *, money: bool) -> CheckTold:
    """A check in words, without money for whoever may not see it."""
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
