"""The tariff check (§2.3): may a call be rated, through whom, at which prices; if not, what is missing and whom to ask.

An emergency number needs neither: calls to it always pass, free (D30).

It asks the same tables and the same functions as a real call: what it says is what the engine would do. Where the
tables come from is not known here: it may be a folder, the record, or a price list that is not published yet.

With the incoming service that the form begins with, «Входящий внутриофисный вызов», the list shows ПДГИ providers only,
as the guide has it; emptied, all providers. Whether the call would be rated does not depend on what is shown: a route
through a provider that is not shown is named in the verdict.
"""

from collections.abc import Collection, Mapping
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
from schemas.events import FORWARDING, INCOMING, INTRA_OFFICE

DEFAULT_INCOMING = INTRA_OFFICE
"""§2.3 field 4: «Входящий внутриофисный вызов», for ПДГИ providers."""

INCOMING_SERVICES = (INTRA_OFFICE, INCOMING, FORWARDING)
"""What a call may have come in by, beside what prices name."""

_TICKET = {ASK_WHOLESALE: "ticket in RM to the group b2b", ASK_RETAIL: "ticket in RM to marketing"}


_NAMED = 20
"""Words that a refusal lists."""


class NotKnown(Unknown):
    """A field of the form that names something that is not there, or is no such thing. `field` is its name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


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


class LongerPrefixes(NamedTuple):
    """How many longer prefixes of the one that was asked for a price list has prices of."""

    price_list_id: str
    prefixes: int


class TariffCheck(NamedTuple):
    """The answer; `reasons` are those that a decision would give for want of a price.

    `providers` are those that are shown, in the order of their routes; `not_shown` are the ids of the others, who are
    no ПДГИ providers. `longer` is there where a prefix was asked about: its numbers may find other prices than it does.
    `filled_in` names the mandatory fields that were left out and taken from the account. An emergency number has no
    providers here: no price, lock or balance is asked about.
    """

    digits: str
    account_id: str
    tariff_plan_id: str
    service: str
    incoming_service: str | None
    place: str | None
    providers: tuple[ProviderSeen, ...]
    not_shown: tuple[str, ...]
    longer: tuple[LongerPrefixes, ...]
    would_be_rated: bool
    reasons: tuple[str, ...]
    verdict: str
    emergency: bool = False
    filled_in: tuple[str, ...] = ()


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
    longer: Mapping[str, int] | None = None,
    places: Collection[str] | None = None,
    incoming_services: Collection[str] | None = None,
) -> TariffCheck:
    """Each provider's prices for a number or a prefix. `incoming_service` None drops that condition (D67).

    `tariff_plan_id` and `place` default to the account's. `longer`: how many longer prefixes of `digits` each list has,
    where that is known. `places` and `incoming_services`: those that there are; None: whatever is asked about. Raises
    NotKnown, naming the field.
    """
    account = reference.accounts.get(account_id)
    if not is_number(digits):
        raise NotKnown("number", f"{digits!r} is no number or prefix: give 1 to 15 digits, such as 381 or 381114112060")
    if account is None:
        raise NotKnown("account_id", f"account {account_id!r} is not in the reference data")
    plan_id = tariff_plan_id or account.tariff_plan_id
    if plan_id not in reference.plans:
        raise NotKnown("tariff_plan_id", f"tariff plan {plan_id!r} is not in the reference data")
    if service not in settings.routed_services:
        raise NotKnown(
            "service",
            f"service {service!r} leaves through no provider: check one of {sorted(settings.routed_services)}",
        )
    _is_known("place", place, places)
    _is_known("incoming_service", incoming_service, incoming_services)
    left_out = {"tariff_plan_id": tariff_plan_id, "place": place}
    filled_in = tuple([name for name, value in left_out.items() if not value])
    if digits in settings.emergency_numbers:
        return TariffCheck(
            digits,
            account_id,
            plan_id,
            service,
            incoming_service,
            place or account.place,
            (),
            (),
            (),
            would_be_rated=True,
            reasons=(),
            verdict=f"{digits} is an emergency number: calls to it always pass, free, whatever is priced or locked",
            emergency=True,
            filled_in=filled_in,
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
    shown = [one for one in seen if one.pdgi] if incoming_service == DEFAULT_INCOMING else seen
    not_shown = [one for one in seen if one not in shown]
    beyond = tuple([LongerPrefixes(name, count) for name, count in sorted((longer or {}).items()) if count])
    return TariffCheck(
        digits,
        account_id,
        plan_id,
        service,
        incoming_service,
        context.place,
        tuple(shown),
        tuple([one.provider_id for one in not_shown]),
        beyond,
        would_be_rated=not offer.no_wholesale and not offer.no_retail,
        reasons=tuple(reasons),
        verdict="; ".join(_verdict(reasons, shown, not_shown, beyond)),
        filled_in=filled_in,
    )


def _is_known(field: str, word: str | None, known: Collection[str] | None) -> None:
    """A word that nothing names would be answered by prices without conditions, as if it were right. Where nothing is
    named at all, as before the first price, any word goes."""
    if word and known and word not in known:
        some = ", ".join(sorted(known)[:_NAMED])
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        what = field.replace("_", " ")
        raise NotKnown(
            field, f"{what} {word!r} is not known, and no price for these digits names it; there are: {some}{more}"
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


def _verdict(
    reasons: list[str],
    shown: list[ProviderSeen],
    not_shown: list[ProviderSeen],
    longer: tuple[LongerPrefixes, ...],
) -> list[str]:
    words = []
    if not reasons:
        through = ", ".join([one.provider_id for one in (*shown, *not_shown) if one.would_carry])
        words.append(f"would be rated: through {through}. Nothing hinders routing, look elsewhere")
        if not any(one.would_carry for one in shown):
            words.append(
                "but through no ПДГИ provider, and only those are shown with this incoming service: empty it to see all"
            )
    if "no_wholesale_price" in reasons:
        words.append(f"no wholesale price: {_TICKET[ASK_WHOLESALE]}")
    if "no_retail_price" in reasons:
        words.append(f"no retail price, so the call can't be rated: {_TICKET[ASK_RETAIL]}")
    if "no_margin" in reasons:
        words.append("the plan forbids to sell below cost, and each route would: ask the manager")
    if "lock" in reasons:
        words.append("prices aside, a lock denies the call: see the lock check")
    if longer:
        lists = ", ".join(f"{one.price_list_id} {one.prefixes}" for one in longer)
        words.append(f"this is a prefix, and longer ones have prices of their own ({lists}): check a whole number")
    return words
