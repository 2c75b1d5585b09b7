"""The decision on an attempt: the checks in their order, every reason that holds, and what is granted (§2.2, §2.3).

`decide` and `extend` only decide; they change nothing. All of what they look at is in memory, so nothing can come
between the look and the answer.
"""

from msgspec import UNSET

from engine.accounts import AccountState, available_micros
from engine.calls import Call
from engine.charges import Grant, amount, grant
from engine.locks import order as lock_order
from engine.locks import reason as lock_reason
from engine.offers import Offer, retail_price
from engine.prices import Context, Price
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.decisions import (
    AccountBlocked,
    AccountClosed,
    BadNumber,
    CallDecision,
    Check,
    InsufficientFunds,
    LockFound,
    NoRetailPrice,
    NoWholesalePrice,
    NumberNotInUse,
    Reason,
    TooManyCalls,
    UnknownAccount,
)
from schemas.events import CallAttempt, CallExtension
from schemas.reference import Account
from schemas.times import SECOND_US, to_text


def _outcomes(check: str) -> tuple[Check, Check, Check]:
    return Check(check, "passed"), Check(check, "failed"), Check(check, "skipped")


_NUMBER, _BAD_NUMBER, _ = _outcomes("number")
_IN_USE, _NOT_IN_USE, _IN_USE_SKIPPED = _outcomes("number_in_use")
_KNOWN, _UNKNOWN, _KNOWN_SKIPPED = _outcomes("account_known")
_OPEN, _CLOSED, _OPEN_SKIPPED = _outcomes("account_open")
_NOT_BLOCKED, _BLOCKED, _NOT_BLOCKED_SKIPPED = _outcomes("account_not_blocked")
_FEW_CALLS, _, _CALLS_SKIPPED = _outcomes("calls_at_once")
_NO_LOCKS, _, _LOCKS_SKIPPED = _outcomes("locks")
_, _, _WHOLESALE_SKIPPED = _outcomes("wholesale_price")
_, _, _RETAIL_SKIPPED = _outcomes("retail_price")
_, _, _MARGIN_SKIPPED = _outcomes("margin")
_, _, _MONEY_SKIPPED = _outcomes("money")

_EMERGENCY_CHECKS = (
    _NUMBER,
    _IN_USE_SKIPPED,
    _KNOWN_SKIPPED,
    _OPEN_SKIPPED,
    _NOT_BLOCKED_SKIPPED,
    _CALLS_SKIPPED,
    _LOCKS_SKIPPED,
    _WHOLESALE_SKIPPED,
    _RETAIL_SKIPPED,
    _MARGIN_SKIPPED,
    _MONEY_SKIPPED,
)
# The checks up to the number of calls, for most calls; the same object each time.
_ACCOUNT_FINE = (_NUMBER, _IN_USE_SKIPPED, _KNOWN, _OPEN, _NOT_BLOCKED)
_NO_BAN: frozenset[str] = frozenset()
_NO_LOCK: tuple[LockFound, ...] = ()


def is_number(digits: str) -> bool:
    """Whether it is 1 to 15 digits (E.164, or a short number)."""
    return 0 < len(digits) <= 15 and digits.isdecimal() and digits.isascii()


def decide(
    settings: EngineSettings,
    reference: Reference,
    attempt: CallAttempt,
    at_us: int,
    account: Account | None,
    state: AccountState | None,
) -> tuple[CallDecision, Offer | None]:
    """The answer to a new attempt, and the offer that it was made from.

    `account` and `state` are those of its account id; None where it is not known.
    """
    if attempt.called in settings.emergency_numbers:
        return _emergency(settings, reference, attempt), None
    if attempt.account_id is None:
        return _inbound_for_nobody(reference, attempt), None
    if account is None or state is None:
        return _for_unknown_account(settings, reference, attempt, at_us), None

    called = attempt.called
    reasons: list[Reason] = []
    checks: list[Check] = list(_ACCOUNT_FINE)
    numbered = is_number(called)
    if not numbered:
        reasons.append(BadNumber(called))
        checks[0] = _BAD_NUMBER

    routed = attempt.service in settings.routed_services
    locks, offer, price = _NO_LOCK, None, None
    percent = 0
    if numbered:
        context = Context(attempt.service, attempt.place or account.place, attempt.incoming_service)
        discount = reference.discount(account.account_id, attempt.service, at_us)
        if discount is not None:
            percent = discount.percent
        if routed:
            locks = reference.locks.covering(called, account.account_id)
            offer = reference.offers.find(
                called,
                account.tariff_plan_id,
                context,
                at_us,
                percent=percent,
                banned=_banned(locks) if locks else _NO_BAN,
            )
        else:
            price = reference.offers.retail(called, account.tariff_plan_id, context, at_us, None)

    if state.status != "active":
        _check_status(state, reasons, checks, charged=routed or _costs(price, at_us, percent))
    limit = account.max_concurrent_calls
    if limit is None:
        checks.append(_FEW_CALLS)
    else:
        full = state.running >= limit
        checks.append(Check("calls_at_once", "failed" if full else "passed", running=state.running, limit=limit))
        if full:
            reasons.append(TooManyCalls(state.running, limit))
    if offer is None:
        checks += (_LOCKS_SKIPPED, _WHOLESALE_SKIPPED)
        if price is None:
            checks += (_RETAIL_SKIPPED, _MARGIN_SKIPPED)
        else:
            passed = Check("retail_price", "passed", price_list_id=price.terms.price_list_id, prefix=price.prefix)
            checks += (passed, _MARGIN_SKIPPED)
    else:
        if locks:
            _check_locks(locks, offer.taken, reasons, checks)
        else:
            checks.append(_NO_LOCKS)
        checks += offer.checks
        if not offer.routes:
            _explain_no_route(offer, attempt, context, account.tariff_plan_id, reasons)

    prices = (offer.retail_prices if offer is not None else ()) if price is None else (price,)
    cap = _cap(settings, attempt)
    granted = Grant(cap, 0)
    if prices:
        available = available_micros(state, account)
        granted = _grant(prices, at_us, available, cap, percent)
        checks.append(
            Check(
                "money",
                "passed" if granted.seconds else "failed",
                balance_micros=state.balance_micros,
                held_micros=state.held_micros,
                credit_limit_micros=account.credit_limit_micros,
                available_micros=available,
                needed_micros=granted.amount_micros,
            )
        )
        if not granted.seconds:
            reasons.append(_short_of_money(state, account, available, granted.amount_micros))
    else:
        checks.append(_MONEY_SKIPPED)

    if reasons:
        return _denied(reference, attempt, tuple(reasons), tuple(checks)), offer
    assert offer is None or offer.routes, "allowed without a way out"
    expires_us = at_us + (granted.seconds + settings.hold_grace_seconds) * SECOND_US
    decision = CallDecision(
        attempt.attempt_id,
        attempt.switch_id,
        attempt.at,
        attempt.account_id,
        True,
        granted.seconds,
        granted.amount_micros,
        to_text(expires_us),
        () if offer is None else offer.wire_routes,
        retail_price(price, at_us) if price is not None else (None if offer is None else offer.retail),
        None,
        (),
        tuple(checks),
        reference.version,
        negative_margin=True if offer is not None and offer.negative_margin else UNSET,
    )
    return decision, offer


def extend(
    settings: EngineSettings,
    reference: Reference,
    request: CallExtension,
    call: Call,
    account: Account | None,
    state: AccountState | None,
    *,
    promised: Reference | None = None,
) -> CallDecision:
    """The answer to a running call that asks for more time, at the prices of its set-up (rules §3.5).

    `account` and `state` are the call's; an emergency call needs none. `promised`: the reference data of the set-up,
    where they are at hand as they were; otherwise `reference` is asked as of the version that the call's decision
    named.
    """
    if call.decision.emergency is True:
        return _extend_emergency(settings, reference, request, call)
    assert account is not None, "a running call has an account"
    assert state is not None, "a running call has an account"
    promised = reference if promised is None else promised
    prices, percent = _promised_prices(promised, call), _promised_percent(promised, call)
    reasons: list[Reason] = []
    checks = list(_ACCOUNT_FINE)
    if state.status != "active":
        routed = call.attempt.service in settings.routed_services
        charged = routed or any(_costs(price, call.at_us, percent) for price in prices)
        _check_status(state, reasons, checks, charged=charged)
    checks += (_CALLS_SKIPPED, _LOCKS_SKIPPED, _WHOLESALE_SKIPPED, _RETAIL_SKIPPED, _MARGIN_SKIPPED)

    cap = request.used_seconds + _cap(settings, call.attempt)
    granted = Grant(cap, 0)
    if prices:
        available = available_micros(state, account) + call.hold_micros
        granted = _grant(prices, call.at_us, available, cap, percent)
        enough = granted.seconds > max(call.granted_seconds, request.used_seconds) or granted.seconds == cap
        needed = granted.amount_micros
        if not enough:
            needed = max(
                amount(
                    price,
                    answered_us=call.at_us,
                    setup_us=call.at_us,
                    seconds=max(call.granted_seconds, request.used_seconds) + 1,
                    percent=percent,
                )
                for price in prices
            )
            reasons.append(_short_of_money(state, account, available, needed))
        checks.append(
            Check(
                "money",
                "passed" if enough else "failed",
                balance_micros=state.balance_micros,
                held_micros=state.held_micros,
                credit_limit_micros=account.credit_limit_micros,
                available_micros=available,
                needed_micros=needed,
            )
        )
    else:
        checks.append(_MONEY_SKIPPED)

    if reasons or granted.seconds <= call.granted_seconds:
        # What was granted stands: a call is never shortened by asking.
        granted = Grant(call.granted_seconds, call.hold_micros)
    expires_us = call.at_us + (granted.seconds + settings.hold_grace_seconds) * SECOND_US
    return CallDecision(
        attempt_id=request.attempt_id,
        switch_id=request.switch_id,
        at=request.at,
        account_id=request.account_id,
        allow=not reasons,
        max_seconds=granted.seconds,
        hold_micros=granted.amount_micros,
        hold_expires_at=to_text(expires_us),
        routes=(),
        retail=call.decision.retail,
        reason=reasons[0] if reasons else None,
        reasons=tuple(reasons),
        checks=tuple(checks),
        reference_version=reference.version,
        extension=len(call.extensions) + 1,
    )


def _promised_prices(promised: Reference, call: Call) -> tuple[Price, ...]:
    """The prices that the call's routes are sold at, as of its set-up."""
    attempt = call.attempt
    assert call.tariff_plan_id is not None, "a call of an unknown account runs"
    context = Context(attempt.service, call.place, attempt.incoming_service)
    found: dict[int, Price] = {}
    for provider_id in (*[route.provider_id for route in call.decision.routes],) or (None,):
        price = promised.offers.retail(
            attempt.called,
            call.tariff_plan_id,
            context,
            call.at_us,
            provider_id,
            call.decision.reference_version,
        )
        if price is not None:
            found[id(price)] = price
    return tuple(found.values())


def _promised_percent(promised: Reference, call: Call) -> int:
    attempt = call.attempt
    discount = promised.discount(attempt.account_id or "", attempt.service, call.at_us, call.decision.reference_version)
    return 0 if discount is None else discount.percent


def _extend_emergency(
    settings: EngineSettings, reference: Reference, request: CallExtension, call: Call
) -> CallDecision:
    """An emergency call goes on as it began: free, whatever has become of the account (D30)."""
    return CallDecision(
        attempt_id=request.attempt_id,
        switch_id=request.switch_id,
        at=request.at,
        account_id=request.account_id,
        allow=True,
        max_seconds=max(call.granted_seconds, request.used_seconds + _cap(settings, call.attempt)),
        hold_micros=0,
        hold_expires_at=None,
        routes=(),
        retail=None,
        reason=None,
        reasons=(),
        checks=_EMERGENCY_CHECKS,
        reference_version=reference.version,
        extension=len(call.extensions) + 1,
        emergency=True,
    )


def _cap(settings: EngineSettings, attempt: CallAttempt) -> int:
    """The longest that may be granted at a time."""
    if attempt.requested_seconds is None:
        return settings.max_call_seconds
    return min(attempt.requested_seconds, settings.max_call_seconds)


def _emergency(settings: EngineSettings, reference: Reference, attempt: CallAttempt) -> CallDecision:
    return CallDecision(
        attempt_id=attempt.attempt_id,
        switch_id=attempt.switch_id,
        at=attempt.at,
        account_id=attempt.account_id,
        allow=True,
        max_seconds=_cap(settings, attempt),
        hold_micros=0,
        hold_expires_at=None,
        routes=(),
        retail=None,
        reason=None,
        reasons=(),
        checks=_EMERGENCY_CHECKS,
        reference_version=reference.version,
        emergency=True,
    )


def _inbound_for_nobody(reference: Reference, attempt: CallAttempt) -> CallDecision:
    """A call to a number that no account holds is denied, whatever the number's state (D14)."""
    number = reference.numbers.get(attempt.called)
    in_use = number is not None and number.status == "in_use"
    reasons: list[Reason] = []
    if not is_number(attempt.called):
        reasons.append(BadNumber(attempt.called))
    elif in_use:
        # The switch ought to have named the account that holds the number.
        reasons.append(UnknownAccount(""))
    else:
        reasons.append(NumberNotInUse(attempt.called, None if number is None else number.status))
    bad = isinstance(reasons[0], BadNumber)
    checks = (
        _BAD_NUMBER if bad else _NUMBER,
        _IN_USE_SKIPPED if bad else (_IN_USE if in_use else _NOT_IN_USE),
        _UNKNOWN if in_use else _KNOWN_SKIPPED,
        *_EMERGENCY_CHECKS[3:],
    )
    return _denied(reference, attempt, tuple(reasons), checks)


def _for_unknown_account(
    settings: EngineSettings, reference: Reference, attempt: CallAttempt, at_us: int
) -> CallDecision:
    """Beside the unknown account, what can be said without one: the number, global locks, wholesale prices."""
    reasons: list[Reason] = [UnknownAccount(attempt.account_id or "")]
    checks = [_NUMBER, _IN_USE_SKIPPED, _UNKNOWN, _OPEN_SKIPPED, _NOT_BLOCKED_SKIPPED, _CALLS_SKIPPED]
    if not is_number(attempt.called):
        reasons.insert(0, BadNumber(attempt.called))
        checks[0] = _BAD_NUMBER
        checks += _EMERGENCY_CHECKS[6:]
    elif attempt.service not in settings.routed_services:
        checks += _EMERGENCY_CHECKS[6:]
    else:
        locks = reference.locks.covering(attempt.called, None)
        context = Context(attempt.service, attempt.place, attempt.incoming_service)
        offer = reference.offers.find(attempt.called, None, context, at_us, banned=_banned(locks))
        if locks:
            _check_locks(locks, offer.taken, reasons, checks)
        else:
            checks.append(_NO_LOCKS)
        if offer.no_wholesale:
            reasons.append(NoWholesalePrice(attempt.called, attempt.service, attempt.place))
        checks += (*offer.checks, _MONEY_SKIPPED)
    return _denied(reference, attempt, tuple(reasons), tuple(checks))


def _denied(
    reference: Reference, attempt: CallAttempt, reasons: tuple[Reason, ...], checks: tuple[Check, ...]
) -> CallDecision:
    return CallDecision(
        attempt_id=attempt.attempt_id,
        switch_id=attempt.switch_id,
        at=attempt.at,
        account_id=attempt.account_id,
        allow=False,
        max_seconds=0,
        hold_micros=0,
        hold_expires_at=None,
        routes=(),
        retail=None,
        reason=reasons[0],
        reasons=reasons,
        checks=checks,
        reference_version=reference.version,
    )


def _banned(locks: tuple[LockFound, ...]) -> frozenset[str]:
    return frozenset(lock.provider_id for lock in locks if lock.provider_id is not None)


def _check_locks(
    locks: tuple[LockFound, ...], taken: frozenset[str], reasons: list[Reason], checks: list[Check]
) -> None:
    """A full ban denies; providers' locks deny when they take the last provider that could have carried the call, and
    then the reason is one of theirs (D21, D22)."""
    assert locks[0] == min(locks, key=lock_order)
    first = next((lock for lock in locks if lock.provider_id is None or lock.provider_id in taken), None)
    checks.append(Check("locks", "passed" if first is None else "failed", locks=locks))
    if first is not None:
        reasons.append(lock_reason(first))


def _check_status(state: AccountState, reasons: list[Reason], checks: list[Check], *, charged: bool) -> None:
    if state.status == "closed":
        reasons.append(AccountClosed(state.account_id, state.status_since, state.status_why))
        checks[3] = _CLOSED
    elif charged:
        reasons.append(AccountBlocked(state.account_id, state.status_since, state.status_why))
        checks[4] = _BLOCKED


def _costs(price: Price | None, at_us: int, percent: int) -> bool:
    """Whether a call at this price costs anything: a block stops only what is charged (D29)."""
    return price is not None and amount(price, answered_us=at_us, setup_us=at_us, seconds=1, percent=percent) > 0


def _explain_no_route(
    offer: Offer, attempt: CallAttempt, context: Context, plan_id: str, reasons: list[Reason]
) -> None:
    if offer.no_wholesale:
        reasons.append(NoWholesalePrice(attempt.called, attempt.service, context.place))
    if offer.no_retail:
        reasons.append(NoRetailPrice(attempt.called, attempt.service, context.place, plan_id))
    if offer.no_margin is not None:
        reasons.append(offer.no_margin)


def _grant(prices: tuple[Price, ...], at_us: int, available: int, cap: int, percent: int) -> Grant:
    """The least time of all prices that a route may be sold at, and the most that it may cost (rules §3.3)."""
    granted = grant(prices[0], setup_us=at_us, money_micros=available, cap_seconds=cap, percent=percent)
    if len(prices) == 1:
        return granted
    grants = [
        grant(price, setup_us=at_us, money_micros=available, cap_seconds=cap, percent=percent) for price in prices
    ]
    if any(not one.seconds for one in grants):
        return Grant(0, max(one.amount_micros for one in grants if not one.seconds))
    seconds = min(one.seconds for one in grants)
    return Grant(
        seconds,
        max(amount(price, answered_us=at_us, setup_us=at_us, seconds=seconds, percent=percent) for price in prices),
    )


def _short_of_money(state: AccountState, account: Account, available: int, needed_micros: int) -> InsufficientFunds:
    return InsufficientFunds(
        balance_micros=state.balance_micros,
        held_micros=state.held_micros,
        credit_limit_micros=account.credit_limit_micros,
        available_micros=available,
        needed_micros=needed_micros,
    )
