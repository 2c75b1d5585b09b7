"""A finished call, rated retail and wholesale (rules §6).

`rate` only decides: it answers with the rated CDR or with a refusal. A CDR is charged as its attempt was promised: at
the prices in force at set-up, whatever has changed since.
"""

from msgspec import UNSET

from engine.accounts import AccountState
from engine.calls import Call
from engine.charges import charge
from engine.prices import Context, Price
from engine.reference import Reference
from engine.refusals import Refusal, refuse
from engine.settings import EngineSettings
from schemas.events import Cdr
from schemas.rated import Charge, RatedCdr
from schemas.reference import Account
from schemas.times import SECOND_US, to_us


class Moments:
    """A CDR's times, read and checked once."""

    __slots__ = ("answered_us", "billable_seconds", "ended_us", "started_us")

    def __init__(self, started_us: int, answered_us: int | None, ended_us: int, billable_seconds: int) -> None:
        self.started_us = started_us
        self.answered_us = answered_us
        self.ended_us = ended_us
        self.billable_seconds = billable_seconds


def moments(cdr: Cdr) -> Moments | Refusal:
    """The CDR's times; refused when one can't be read or they contradict each other."""
    field = "started_at"
    try:
        started_us = to_us(cdr.started_at)
        field = "answered_at"
        answered_us = None if cdr.answered_at is None else to_us(cdr.answered_at)
        field = "ended_at"
        ended_us = to_us(cdr.ended_at)
    except ValueError as error:
        return refuse("bad_time", f"{field}: {error}")
    if ended_us < started_us:
        return refuse("bad_time", f"ended_at {cdr.ended_at} is before started_at {cdr.started_at}")
    if answered_us is None:
        if cdr.billable_seconds:
            return refuse(
                "bad_time",
                f"billable_seconds is {cdr.billable_seconds} without answered_at: send 0, or the moment of answer",
            )
        return Moments(started_us, None, ended_us, 0)
    if not started_us <= answered_us <= ended_us:
        return refuse("bad_time", f"answered_at {cdr.answered_at} is not between started_at and ended_at")
    seconds = cdr.billable_seconds
    if seconds is None:
        seconds = -((answered_us - ended_us) // SECOND_US)
    return Moments(started_us, answered_us, ended_us, seconds)


def rate(
    settings: EngineSettings,
    reference: Reference,
    cdr: Cdr,
    times: Moments,
    call: Call | None,
    account: Account | None,
    state: AccountState | None,
    *,
    promised: Reference | None = None,
) -> RatedCdr | Refusal:
    """The rated CDR. `call` is its attempt's; `account` and `state` those of its account id; None where unknown.

    `promised`: the reference data to price by, where they are at hand as they were; otherwise `reference` is asked as
    of the version that the call's decision named, or that was in force when it began.
    """
    emergency = cdr.called in settings.emergency_numbers
    if cdr.account_id is not None and (account is None or state is None) and not emergency:
        return refuse("unknown_account", f"account_id {cdr.account_id!r} is not in the reference data")
    if call is not None and call.attempt.account_id != cdr.account_id:
        return refuse(
            "account_mismatch",
            f"the CDR names account {cdr.account_id!r}, its attempt {call.attempt.account_id!r}",
        )
    if promised is None:
        # What was promised is what is charged; where nothing was, what was in force when the call began.
        promised = reference
        version = reference.version_at(times.started_us) if call is None else call.decision.reference_version
    else:
        version = promised.version
    if (
        cdr.provider_id is not None
        and cdr.provider_id not in reference.providers
        # Nor was it there when the call was set up.
        and (call is None or promised.provider(cdr.provider_id, version) is None)
    ):
        return refuse("unknown_provider", f"provider_id {cdr.provider_id!r} is not in the reference data")
    if account is None and times.answered_us is not None and not emergency:
        return refuse("unknown_account", "an answered call needs an account_id: nobody can be charged for it")

    retail: Charge | None = None
    wholesale: Charge | None = None
    if not emergency and account is not None:
        priced = _charges(settings, reference, promised, cdr, times, call, account, version)
        if isinstance(priced, Refusal):
            return priced
        retail, wholesale = priced

    paid = 0 if retail is None else retail.amount_micros
    margin = None if retail is None or wholesale is None else paid - wholesale.amount_micros
    # By position, in the order of the Struct: twenty names would take longer than the call itself.
    return RatedCdr(
        cdr.cdr_id,
        cdr.attempt_id,
        cdr.switch_id,
        cdr.account_id,
        cdr.service,
        cdr.caller,
        cdr.called,
        cdr.place,
        cdr.incoming_service,
        cdr.provider_id,
        cdr.started_at,
        cdr.answered_at,
        cdr.ended_at,
        times.billable_seconds,
        cdr.cause,
        retail,
        wholesale,
        margin,
        None if state is None else state.balance_micros - paid,
        version,
        late=True if call is not None and call.phase == "expired" else UNSET,
        no_attempt=True if call is None else UNSET,
        denied=True if call is not None and call.phase == "denied" else UNSET,
        emergency=True if emergency else UNSET,
        negative_margin=True if margin is not None and margin < 0 else UNSET,
        rated_version=UNSET if reference.version == version else reference.version,
    )


def _charges(
    settings: EngineSettings,
    reference: Reference,
    promised: Reference,
    cdr: Cdr,
    times: Moments,
    call: Call | None,
    account: Account,
    version: int,
) -> tuple[Charge | None, Charge | None] | Refusal:
    # What was asked for at set-up decides, not what the CDR repeats of it; a CDR of another service (the recording of
    # the call, say) asks for itself.
    asked = cdr if call is None or call.attempt.service != cdr.service else call.attempt
    setup_us = times.started_us if call is None else call.at_us
    if call is not None and call.offer is not None and asked is call.attempt:
        if cdr.provider_id is None and call.offer.open_retail is not None:
            return (
                _retail_charge(promised, call.offer.open_retail, times, setup_us, asked.service, account, version),
                None,
            )
        for route in call.offer.routes:
            if route.provider_id == cdr.provider_id:
                return (
                    _retail_charge(promised, route.retail, times, setup_us, asked.service, account, version),
                    _charge(route.wholesale, times, setup_us),
                )
    # So do the plan and the place of that moment.
    pinned = call is not None and call.tariff_plan_id is not None
    plan_id = call.tariff_plan_id if call is not None and call.tariff_plan_id is not None else account.tariff_plan_id
    place = call.place if call is not None and asked is call.attempt and pinned else asked.place or account.place
    context = Context(asked.service, place, asked.incoming_service)
    routed = asked.service in settings.routed_services
    answered = times.answered_us is not None
    sold = promised.offers.retail(asked.called, plan_id, context, setup_us, cdr.provider_id, version)
    if sold is None:
        # What was not priced then may be priced by now, and the CDR have been submitted again for it.
        sold = reference.offers.retail(asked.called, plan_id, context, setup_us, cdr.provider_id)
    if sold is None and routed and answered:
        return refuse(
            "no_retail_price",
            f"plan {plan_id} has no price for {asked.called}, service {asked.service}, place "
            f"{context.place or 'any'}: ask marketing, then submit the CDR again",
        )
    bought: Price | None = None
    if cdr.provider_id is not None:
        bought = promised.offers.wholesale(asked.called, context, setup_us, cdr.provider_id, version)
        if bought is None:
            bought = reference.offers.wholesale(asked.called, context, setup_us, cdr.provider_id)
        if bought is None and routed and answered:
            return refuse(
                "no_wholesale_price",
                f"provider {cdr.provider_id} has no price for {asked.called}, service {asked.service}, place "
                f"{context.place or 'any'}: ask b2b, then submit the CDR again",
            )
    return (
        None if sold is None else _retail_charge(promised, sold, times, setup_us, asked.service, account, version),
        None if bought is None else _charge(bought, times, setup_us),
    )


def _retail_charge(
    promised: Reference,
    price: Price,
    times: Moments,
    setup_us: int,
    service: str,
    account: Account,
    version: int,
) -> Charge:
    discount = promised.discount(account.account_id, service, setup_us, version)
    if discount is None:
        return _charge(price, times, setup_us)
    return charge(
        price,
        answered_us=times.answered_us,
        setup_us=setup_us,
        seconds=times.billable_seconds,
        percent=discount.percent,
        percent_text=discount.text,
    )


def _charge(price: Price, times: Moments, setup_us: int) -> Charge:
    return charge(price, answered_us=times.answered_us, setup_us=setup_us, seconds=times.billable_seconds)
