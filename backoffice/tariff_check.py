"""The tariff check (§2.3): may a call be rated, through whom, at which prices; if not, what is missing and whom to ask.

It asks the same tables and the same functions as a real call: what it says is what the engine would do.
"""

from typing import NamedTuple

from backoffice.lock_check import Unknown
from engine.charges import first_minute
from engine.decisions import is_number
from engine.offers import retail_price
from engine.prices import ANY_INCOMING, Context, Price
from engine.reference import Reference
from engine.rounding import fraction_text
from engine.settings import EngineSettings
from schemas.decisions import ASK_RETAIL, ASK_WHOLESALE
from schemas.events import INTRA_OFFICE

DEFAULT_INCOMING = INTRA_OFFICE
"""§2.3 field 4: «Входящий внутриофисный вызов»."""

_TICKET = {ASK_WHOLESALE: "ticket in RM to the group b2b", ASK_RETAIL: "ticket in RM to marketing"}


class PriceSeen(NamedTuple):
    """A price as the check shows it; money in micro-units, the first minute exactly, in units of the currency."""

    price_list_id: str
    price_list_name: str
    prefix: str
    price_micros: int
    per_seconds: int
    step_seconds: int
    connect_fee_micros: int
    first_minute: str


class ProviderSeen(NamedTuple):
    """One provider: both prices, what is missing, whom to ask, and the locks that take it out."""

    provider_id: str
    name: str
    pdgi: bool
    wholesale: PriceSeen | None
    retail: PriceSeen | None
    missing: tuple[str, ...]
    ask: tuple[str, ...]
    locks: tuple[str, ...]
    would_carry: bool


class TariffCheck(NamedTuple):
    """The answer; `reasons` are those that a decision would give for want of a price."""

    digits: str
    account_id: str
    tariff_plan_id: str
    service: str
    incoming_service: str | None
    place: str | None
    providers: tuple[ProviderSeen, ...]
    would_be_rated: bool
    reasons: tuple[str, ...]
    verdict: str


def check_tariff(
    settings: EngineSettings,
    reference: Reference,
    *,
    digits: str,
    account_id: str,
    at_us: int,
    tariff_plan_id: str | None = None,
    service: str = "outgoing",
    incoming_service: str | None = DEFAULT_INCOMING,
    place: str | None = None,
) -> TariffCheck:
    """Every provider's prices for a number or a prefix. `incoming_service` None drops that condition (D67).

    `tariff_plan_id` and `place` default to the account's. Raises Unknown.
    """
    account = reference.accounts.get(account_id)
    if not is_number(digits):
        raise Unknown(f"{digits!r} is no number or prefix: give 1 to 15 digits, such as 381 or 381114112060")
    if account is None:
        raise Unknown(f"account {account_id!r} is not in the reference data")
    plan_id = tariff_plan_id or account.tariff_plan_id
    if plan_id not in reference.plans:
        raise Unknown(f"tariff plan {plan_id!r} is not in the reference data")
    if service not in settings.routed_services:
        raise Unknown(
            f"service {service!r} leaves through no provider: check one of {sorted(settings.routed_services)}"
        )
    context = Context(service, place or account.place, ANY_INCOMING if incoming_service is None else incoming_service)
    discount = reference.discount(account_id, service, at_us)
    percent = 0 if discount is None else discount.percent

    locks = reference.locks.covering(digits, account_id)
    banned = frozenset(lock.provider_id for lock in locks if lock.provider_id is not None)
    offer = reference.offers.find(digits, plan_id, context, at_us, percent=percent, banned=banned)
    carrying = {route.provider_id for route in offer.routes}
    seen = []
    for provider in reference.providers.values():
        bought = reference.offers.wholesale(digits, context, at_us, provider.provider_id)
        sold = reference.offers.retail(digits, plan_id, context, at_us, provider.provider_id)
        missing = (("wholesale",) if bought is None else ()) + (("retail",) if sold is None else ())
        ask = ((ASK_WHOLESALE,) if bought is None else ()) + ((ASK_RETAIL,) if sold is None else ())
        seen.append(
            ProviderSeen(
                provider.provider_id,
                provider.name,
                provider.pdgi,
                None if bought is None else _seen(bought, at_us, 0),
                None if sold is None else _seen(sold, at_us, percent),
                missing,
                ask,
                tuple(lock.lock_id for lock in locks if lock.provider_id in (None, provider.provider_id)),
                provider.provider_id in carrying and not any(lock.provider_id is None for lock in locks),
            )
        )
    order = {route.provider_id: place for place, route in enumerate(offer.routes)}
    seen.sort(key=lambda one: (order.get(one.provider_id, len(order)), one.wholesale is None, one.provider_id))

    reasons = []
    if any(lock.provider_id is None for lock in locks) or offer.taken:
        reasons.append("lock")
    if offer.no_wholesale:
        reasons.append("no_wholesale_price")
    if offer.no_retail:
        reasons.append("no_retail_price")
    if offer.no_margin is not None:
        reasons.append("no_margin")
    rated = not offer.no_wholesale and not offer.no_retail
    return TariffCheck(
        digits,
        account_id,
        plan_id,
        service,
        incoming_service,
        context.place,
        tuple(seen),
        rated,
        tuple(reasons),
        _verdict(reasons, [one.provider_id for one in seen if one.would_carry]),
    )


def _seen(price: Price, at_us: int, percent: int) -> PriceSeen:
    shown = retail_price(price, at_us)
    return PriceSeen(
        shown.price_list_id,
        price.terms.name,
        shown.prefix,
        shown.price_micros,
        shown.per_seconds,
        shown.step_seconds,
        shown.connect_fee_micros,
        fraction_text(*first_minute(price, at_us, percent)),
    )


def _verdict(reasons: list[str], carrying: list[str]) -> str:
    if not reasons:
        return f"would be rated: through {', '.join(carrying)}. Nothing hinders routing, look elsewhere"
    words = []
    if "no_wholesale_price" in reasons:
        words.append(f"no wholesale price: {_TICKET[ASK_WHOLESALE]}")
    if "no_retail_price" in reasons:
        words.append(f"no retail price, so the call can't be rated: {_TICKET[ASK_RETAIL]}")
    if "no_margin" in reasons:
        words.append("the plan forbids to sell below cost, and each route would: ask the manager")
    if "lock" in reasons:
        words.append("prices aside, a lock denies the call: see the lock check")
    return "; ".join(words)
