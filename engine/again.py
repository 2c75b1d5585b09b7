"""Once more: what was published is made again, or made as it would be under other tables.

`decide_again`, `extend_again` and `rate_again` give the bytes that were published, from the event, the fact, what was
told of the call before it, and the reference data of that time, however they were kept. `decide_under` and `rate_under`
are the same questions under other reference data: those of today, or those that somebody is about to publish. All of
them ask `decisions` and `rating`, the only ones who decide and price. Nothing is changed here, and nothing is known of
partitions.

What an account's state was then stands in the decision itself: its checks name the money and the running calls where
these were looked at, its reasons the status where it mattered.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from engine.accounts import AccountState, opened
from engine.calls import Call, Extension
from engine.decisions import decide, extend
from engine.rating import moments, rate
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.decisions import AccountBlocked, AccountClosed, CallDecision
from schemas.events import CallAttempt, CallExtension, Cdr
from schemas.facts import AccountBalance
from schemas.rated import RatedCdr
from schemas.reference import Account
from schemas.times import to_text, to_us

References = Callable[[int], Reference]
"""The reference data as they were under a version. What they had before need not be known to them."""


def decide_again(
    settings: EngineSettings, references: References, attempt: CallAttempt, decision: CallDecision
) -> CallDecision:
    """The decision on an attempt, as it was published; a repeated one too. `settings`: those of that time."""
    assert not decision.extension, "an extension is made again by extend_again"
    reference = references(decision.reference_version)
    account = None if attempt.account_id is None else reference.accounts.get(attempt.account_id)
    state = None if account is None else account_then(decision)
    made, _ = decide(settings, reference, attempt, to_us(attempt.at), account, state)
    return _repeated(made, decision)


def extend_again(
    settings: EngineSettings,
    references: References,
    attempt: CallAttempt,
    earlier: Sequence[CallDecision],
    request: CallExtension,
    decision: CallDecision,
) -> CallDecision:
    """The decision on a request for more time, as it was published.

    `earlier`: the call's decisions before it in their order, repeated ones left out; that on the attempt is the first.
    """
    first, *extensions = earlier
    assert [one.extension for one in extensions] == list(range(1, decision.extension or 0)), "an earlier one is missing"
    promised = references(first.reference_version)
    reference = references(decision.reference_version)
    account = promised.accounts.get(request.account_id)
    call = _call(attempt, first, account)
    # Whoever asked for them, how many they were counts.
    call.extensions = tuple([Extension(request, one) for one in extensions])
    call.granted_seconds = max(one.max_seconds for one in earlier)
    call.hold_micros = earlier[-1].hold_micros
    made = extend(
        settings,
        reference,
        request,
        call,
        reference.accounts.get(request.account_id),
        account_then(decision),
        promised=promised,
    )
    return _repeated(made, decision)


def rate_again(
    settings: EngineSettings,
    references: References,
    cdr: Cdr,
    rated: RatedCdr,
    attempt: CallAttempt | None = None,
    first: CallDecision | None = None,
) -> RatedCdr | Refusal:
    """The rated CDR, as it was published. `attempt` and `first`, the decision on it, are needed unless the rated CDR is
    marked `no_attempt`; then they are not looked at.

    What the account had before is what it had afterwards and the charge.
    """
    promised = references(rated.reference_version)
    reference = references(rated.rated_version or rated.reference_version)
    account = None if cdr.account_id is None else reference.accounts.get(cdr.account_id)
    return _rate(settings, reference, promised, cdr, rated, attempt, first, account, _planned(promised, attempt))


def decide_under(
    settings: EngineSettings, reference: Reference, attempt: CallAttempt, state: AccountState | None, at_us: int | None
) -> CallDecision:
    """The decision on an attempt under other reference data and with other money.

    `state`: `account_then` of its decision, `account_now`, or None: as the reference data open the account. `at_us`:
    the moment to set the call up at; None: its own.
    """
    if at_us is None:
        at_us = to_us(attempt.at)
    else:
        attempt = replace(attempt, at=to_text(at_us))
    account = None if attempt.account_id is None else reference.accounts.get(attempt.account_id)
    if account is not None and state is None:
        state = opened(account)
    decision, _ = decide(settings, reference, attempt, at_us, account, state)
    return decision


def rate_under(
    settings: EngineSettings,
    reference: Reference,
    cdr: Cdr,
    rated: RatedCdr,
    account: Account | None,
    attempt: CallAttempt | None = None,
    first: CallDecision | None = None,
) -> RatedCdr | Refusal:
    """The CDR as it would have been rated if the prices and discounts of `reference` had been promised; a refusal where
    they have none for it. Its moments count as ever: what is in force by date is asked as of the set-up.

    `account` says by which plan and place: that of the set-up's version to mend prices, that of `reference` to ask for
    today's tables. `attempt` and `first` as for `rate_again`.
    """
    return _rate(settings, reference, reference, cdr, rated, attempt, first, account, account)


def account_then(decision: CallDecision) -> AccountState:
    """An account's state as far as a decision looked at it: a balance that it did not ask for is 0 here, and a status
    that stopped nothing `active`."""
    state = AccountState(decision.account_id or "", 0, "active")
    for check in decision.checks:
        if check.balance_micros is not None and check.held_micros is not None:
            state.balance_micros, state.held_micros = check.balance_micros, check.held_micros
        if check.running is not None:
            state.running = check.running
    for reason in decision.reasons:
        if isinstance(reason, AccountClosed | AccountBlocked):
            state.status = "closed" if isinstance(reason, AccountClosed) else "blocked"
            state.status_since, state.status_why = reason.since, reason.why
    return state


def account_now(balance: AccountBalance, since: str | None = None, why: str | None = None) -> AccountState:
    """An account's state as it was last published; `since` and `why` are those of its latest change of status."""
    return AccountState(
        balance.account_id,
        balance.balance_micros,
        balance.status,
        held_micros=balance.held_micros,
        running=balance.running_calls,
        status_since=since,
        status_why=why,
    )


def _rate(
    settings: EngineSettings,
    reference: Reference,
    promised: Reference,
    cdr: Cdr,
    rated: RatedCdr,
    attempt: CallAttempt | None,
    first: CallDecision | None,
    account: Account | None,
    planned: Account | None,
) -> RatedCdr | Refusal:
    """`account`: whose the CDR is; `planned`: the same as the call was set up, with its plan and place."""
    call = None
    if rated.no_attempt is not True:
        assert attempt is not None, "the CDR's attempt is needed"
        assert first is not None, "the CDR's attempt is needed, and its decision"
        call = _call(attempt, first, planned)
        if rated.late is True:
            call.phase = "expired"
    state = None
    if account is not None and rated.balance_after_micros is not None:
        paid = 0 if rated.retail is None else rated.retail.amount_micros
        state = AccountState(account.account_id, rated.balance_after_micros + paid, "active")
    times = moments(cdr)
    if isinstance(times, Refusal):
        return times
    return rate(settings, reference, cdr, times, call, account, state, promised=promised)


def _call(attempt: CallAttempt, first: CallDecision, planned: Account | None) -> Call:
    """A call as `State.apply_decision` keeps it, with nothing remembered of what it was offered."""
    return Call(
        attempt,
        first,
        to_us(attempt.at),
        "running" if first.allow else "denied",
        first.max_seconds,
        first.hold_micros,
        0,
        0,
        counted=False,
        tariff_plan_id=None if planned is None else planned.tariff_plan_id,
        place=attempt.place or (None if planned is None else planned.place),
    )


def _planned(promised: Reference, attempt: CallAttempt | None) -> Account | None:
    return None if attempt is None or attempt.account_id is None else promised.accounts.get(attempt.account_id)


def _repeated(made: CallDecision, published: CallDecision) -> CallDecision:
    return replace(made, repeated=True) if published.repeated is True else made
