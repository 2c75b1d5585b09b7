"""Offers: through whom a call may leave, cheapest first, and what it is sold for (§2.3; rules §1.4, §4.4, §4.5).

An offer depends on the prefixes that the number matched, the plan and the context, not on the number or the account's
money. Offers are therefore remembered by what they depend on, each with the span of time in which it holds; a change
of the reference data forgets them all. What is remembered is never more than a shorter way to the same answer.
"""

from collections.abc import Iterable, Sequence
from math import lcm
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.charges import first_minute
from engine.past import Past
from engine.prices import Context, Price, PriceTable, Scope, best, best_by_provider
from engine.rounding import fraction_text
from engine.tariffs import NO_END
from schemas.decisions import Check, NoMargin, RetailPrice, Route
from schemas.reference import Provider, TariffPlan
from schemas.times import MINUTE_US

_MEMORY = 200_000  # matches; a hundred bytes each, and the offers of as many prefixes as were called


class PlanTables(NamedTuple):
    """A tariff plan with its lists' tables, in the order of their priority."""

    plan: TariffPlan
    lists: tuple[tuple[int, PriceTable], ...]


class OfferRoute(NamedTuple):
    """One way out: the provider's price and the price that it is sold for."""

    provider_id: str
    wholesale: Price
    retail: Price
    loses: bool
    wire: Route


class Offer(NamedTuple):
    """What may be sold. Without routes, one of `no_wholesale`, `no_retail`, `no_margin` or `taken` says why."""

    since_us: int
    until_us: int
    routes: tuple[OfferRoute, ...]
    wire_routes: tuple[Route, ...]
    retail: RetailPrice | None
    retail_prices: tuple[Price, ...]
    open_retail: Price | None
    """What is charged through no provider in particular."""
    no_wholesale: bool
    no_retail: bool
    no_margin: NoMargin | None
    taken: frozenset[str]
    """The providers that locks took, where that leaves no route; empty where a route is left or none ever was."""
    negative_margin: bool
    checks: tuple[Check, Check, Check]


class _Match(NamedTuple):
    """What a number finds: the wholesale candidates, the retail ones of each list with its priority, and the offers
    made of them so far."""

    ways: tuple[Price, ...]
    sold: tuple[tuple[int, tuple[Price, ...]], ...]
    offers: dict[tuple[Context, int, frozenset[str]], Offer]


class _Way(NamedTuple):
    """A provider's price for a number; ways sort cheapest first, by `cost` and then by the provider's rank."""

    cost: int
    rank: int
    provider_id: str
    price: Price
    minute: tuple[int, int]  # the exact first minute: numerator and denominator
    wire: Route


class _Wholesale(NamedTuple):
    since_us: int
    until_us: int
    keep: tuple[Price, ...]
    ranked: tuple[_Way, ...]
    check: Check


class Span:
    """The time around a moment in which prices do not change."""

    __slots__ = ("at_us", "since_us", "until_us")

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us
        self.since_us = 0
        self.until_us = NO_END

    def narrow(self, prices: Iterable[Price]) -> None:
        """Ends the span where one of the prices begins, ends, or changes its band."""
        at_us = self.at_us
        seen: Scope | None = None
        for price in prices:
            scope = price.scope
            if scope is not seen:
                seen = scope
                for edge_us in (scope.from_us, scope.until_us):
                    if edge_us <= at_us:
                        self.since_us = max(self.since_us, edge_us)
                    else:
                        self.until_us = min(self.until_us, edge_us)
            if price.tariff.banded:
                # The first minute changes a minute before the band does.
                edge_us = price.tariff.variant_at(at_us)[1] - MINUTE_US
                self.until_us = min(self.until_us, edge_us if edge_us > at_us else at_us + 1)
                self.since_us = at_us


class Offers:
    """Finds offers and remembers them."""

    def __init__(
        self,
        wholesale: PriceTable,
        providers: dict[str, Provider],
        plans: dict[str, PlanTables],
        past: Past | None = None,
    ) -> None:
        """`past`: what earlier versions had; without it, what is in force answers for them."""
        self._past = past
        self._wholesale_table = wholesale
        self._providers = providers
        self._ranks: dict[str | None, int] = {}
        self._plans = plans
        self._matches: dict[tuple[str | None, str], _Match] = {}
        self._by_identity: dict[tuple[object, ...], _Match] = {}
        self._depths: dict[tuple[str | None, str], int] = {}
        self._wholesales: dict[tuple[object, ...], _Wholesale] = {}

    def forget(self) -> Sequence[dict[Any, Any]]:
        """To be called after any change of prices, plans or providers.

        What was remembered, for who would rather let go of a hundred thousand offers little by little.
        """
        forgotten = (self._matches, self._by_identity, self._depths, self._ranks, self._wholesales)
        self._matches = {}
        self._by_identity = {}
        self._depths = {}
        self._ranks = {}
        self._wholesales = {}
        return forgotten

    def find(
        self,
        number: str,
        plan_id: str | None,
        context: Context,
        at_us: int,
        *,
        percent: int = 0,
        banned: frozenset[str] = frozenset(),
    ) -> Offer:
        """The offer for a call set up at a moment. `banned`: providers that locks take out.

        `plan_id` None: the account is not known; only the wholesale side is looked at.
        """
        match = self._matches.get((plan_id, number[: self._depth(plan_id, number)]))
        if match is None:
            match = self._match(plan_id, number)
        key = (context, percent, banned)
        offer = match.offers.get(key)
        if offer is None or not offer.since_us <= at_us < offer.until_us:
            offer = self._make(match, plan_id, context, at_us, percent, banned)
            match.offers[key] = offer
        return offer

    def _depth(self, plan_id: str | None, number: str) -> int:
        """How many digits of the number can matter to any table that is asked."""
        key = (plan_id, number[:4])
        depth = self._depths.get(key)
        if depth is None:
            tables = [self._wholesale_table] if plan_id is None else [self._wholesale_table, *self._tables(plan_id)]
            depth = self._depths[key] = max(table.depth(number) for table in tables)
        return depth

    def _tables(self, plan_id: str) -> list[PriceTable]:
        return [table for _, table in self._plans[plan_id].lists]

    def _match(self, plan_id: str | None, number: str) -> _Match:
        """What the number finds in the tables, the same object for all numbers that find the same."""
        ways = self._wholesale_table.candidates(number)
        sold: tuple[tuple[int, tuple[Price, ...]], ...] = ()
        if plan_id is not None:
            sold = tuple([(priority, table.candidates(number)) for priority, table in self._plans[plan_id].lists])
        if len(self._matches) >= _MEMORY:
            self.forget()
        key = (plan_id, id(ways), *[id(found) for _, found in sold])
        match = self._by_identity.get(key)
        if match is None:
            # It keeps alive what its key names by identity.
            match = self._by_identity[key] = _Match(ways, sold, {})
        self._matches[plan_id, number[: self._depth(plan_id, number)]] = match
        return match

    def retail(
        self,
        number: str,
        plan_id: str,
        context: Context,
        at_us: int,
        provider_id: str | None,
        version: int = NO_END,
    ) -> Price | None:
        """The retail price of a call through a provider (None: through none), by the plan's lists (rules §1.4).

        `version`: as of an earlier version of the reference data.
        """
        sold: Iterable[tuple[int, tuple[Price, ...]]]
        if self._past is not None and version < self._past.changed_version:
            sold = self._past.sold(plan_id, number, version)
        elif (plan := self._plans.get(plan_id)) is not None:
            sold = [(priority, table.candidates(number)) for priority, table in plan.lists]
        else:
            # The plan of an earlier call is not there any more.
            return None
        found = None
        rank: tuple[int, int, bool, str] | None = None
        for priority, candidates in sold:
            price = best(candidates, context, at_us)
            if price is None or price.terms.provider_id not in (None, provider_id):
                continue
            mine = (-len(price.prefix), priority, price.terms.provider_id is None, price.terms.price_list_id)
            if rank is None or mine < rank:
                found, rank = price, mine
        return found

    def wholesale(
        self, number: str, context: Context, at_us: int, provider_id: str, version: int = NO_END
    ) -> Price | None:
        """A provider's price; `version`: as of an earlier version of the reference data."""
        candidates: Iterable[Price]
        if self._past is not None and version < self._past.changed_version:
            candidates = self._past.bought(provider_id, number, version)
        else:
            candidates = self._wholesale_table.candidates(number)
        return best((price for price in candidates if price.terms.provider_id == provider_id), context, at_us)

    def _make(
        self,
        match: _Match,
        plan_id: str | None,
        context: Context,
        at_us: int,
        percent: int,
        banned: frozenset[str],
    ) -> Offer:
        wholesale = self._wholesale(match.ways, context, at_us)
        span = Span(at_us)
        span.since_us, span.until_us = wholesale.since_us, wholesale.until_us
        retail: list[tuple[tuple[int, int, bool, str], Price]] = []
        for priority, candidates in match.sold:
            span.narrow(candidates)
            if (price := best(candidates, context, at_us)) is not None:
                rank = (-len(price.prefix), priority, price.terms.provider_id is None, price.terms.price_list_id)
                retail.append((rank, price))
        retail.sort(key=lambda ranked: ranked[0])

        allowed = [way for way in wholesale.ranked if way.provider_id not in banned]
        prices = [price for _, price in retail]
        routes = _routes(allowed, prices, at_us, percent)
        unlocked = routes if not banned else _routes(wholesale.ranked, prices, at_us, percent)
        open_retail = next((price for _, price in retail if price.terms.provider_id is None), None)
        # Locks aside: does any provider with a price have one to be sold for?
        no_retail = not unlocked if wholesale.ranked else open_retail is None

        taken = frozenset[str]()
        if banned and not routes and (unlocked or not allowed):
            # Locks took the last that the call may be sold through, or the last that has a price at all.
            could = {route.provider_id for route in unlocked} or {way.provider_id for way in wholesale.ranked}
            taken = banned & could
        no_margin = None
        plan = None if plan_id is None else self._plans[plan_id].plan
        losing = bool(routes) and all(route.loses for route in routes)
        margin_known = bool(routes)
        if plan is not None and plan.forbid_loss and routes:
            if losing:
                no_margin = _no_margin(plan, routes[0], at_us, percent)
            routes = [route for route in routes if not route.loses]

        main = routes[0].retail if routes else None
        shown = main or open_retail or (retail[0][1] if retail else None)
        retail_wire = None if main is None else retail_price(main, at_us)
        return Offer(
            since_us=span.since_us,
            until_us=span.until_us,
            routes=tuple(routes),
            wire_routes=tuple([_wire(route, main, at_us) for route in routes]),
            retail=retail_wire,
            retail_prices=_distinct(route.retail for route in routes),
            open_retail=open_retail,
            no_wholesale=not wholesale.ranked,
            no_retail=plan is not None and no_retail,
            no_margin=no_margin,
            taken=taken,
            negative_margin=any(route.loses for route in routes),
            checks=(
                wholesale.check,
                _SKIPPED_RETAIL if plan is None else _retail_check(no_retail, shown),
                _margin_check(plan, margin_known, no_margin),
            ),
        )

    def _wholesale(self, ways: tuple[Price, ...], context: Context, at_us: int) -> _Wholesale:
        key = (id(ways), context)
        there = self._wholesales.get(key)
        if there is not None and there.since_us <= at_us < there.until_us:
            return there
        span = Span(at_us)
        span.narrow(ways)
        prices = list(best_by_provider(ways, context, at_us))
        minutes = [first_minute(price, at_us) for price in prices]
        common = lcm(*{denominator for _, denominator in minutes})
        ranks = self._ranks or self._rank_providers()
        ranked = sorted(
            [
                _Way(
                    minute[0] * (common // minute[1]),
                    ranks[price.terms.provider_id],
                    price.terms.provider_id or "",
                    price,
                    minute,
                    _route(price, at_us),
                )
                for price, minute in zip(prices, minutes, strict=True)
            ]
        )
        wholesale = _Wholesale(
            span.since_us,
            span.until_us,
            ways,
            tuple(ranked),
            Check(
                "wholesale_price",
                "passed" if ranked else "failed",
                providers=tuple([way.provider_id for way in ranked]),
            ),
        )
        if len(self._wholesales) >= _MEMORY:
            self._wholesales.clear()
        self._wholesales[key] = wholesale
        return wholesale

    def _rank_providers(self) -> dict[str | None, int]:
        """Among equally cheap ones the lower priority goes first, then the smaller id; no two are equal."""
        ordered = sorted(self._providers.values(), key=lambda provider: (provider.priority, provider.provider_id))
        self._ranks.update({provider.provider_id: rank for rank, provider in enumerate(ordered)})
        return self._ranks


def retail_price(price: Price, at_us: int) -> RetailPrice:
    """A retail price as a decision names it: the first tier in force at set-up."""
    variant = price.tariff.first_variant(at_us, at_us)
    tier = variant.tiers[0]
    return RetailPrice(
        price_list_id=price.terms.price_list_id,
        prefix=price.prefix,
        price_micros=tier.price_micros,
        per_seconds=tier.per_seconds,
        step_seconds=tier.step_seconds,
        connect_fee_micros=variant.connect_fee_micros,
    )


def _routes(ways: Iterable[_Way], retail: list[Price], at_us: int, percent: int) -> list[OfferRoute]:
    """`retail` in order of preference; a list with a provider is for that provider's routes only."""
    routes: list[OfferRoute] = []
    minutes: dict[int, tuple[int, int]] = {}
    for way in ways:
        provider_id = way.provider_id
        for sold in retail:
            if sold.terms.provider_id is None or sold.terms.provider_id == provider_id:
                minute = minutes.get(id(sold))
                if minute is None:
                    minute = minutes[id(sold)] = first_minute(sold, at_us, percent)
                loses = way.minute[0] * minute[1] > minute[0] * way.minute[1]
                routes.append(OfferRoute(provider_id, way.price, sold, loses, way.wire))
                break
    return routes


def _route(price: Price, at_us: int) -> Route:
    tier = price.tariff.first_variant(at_us, at_us).tiers[0]
    terms = price.terms
    return Route(terms.provider_id or "", terms.price_list_id, price.prefix, tier.price_micros, tier.per_seconds)


def _wire(route: OfferRoute, main: Price | None, at_us: int) -> Route:
    """The route as it is published, marked if it loses money or is sold at another price than the decision's own."""
    if route.retail is main and not route.loses:
        return route.wire
    extra: dict[str, object] = {}
    if route.loses:
        extra["negative_margin"] = True
    if route.retail is not main:
        extra["retail"] = retail_price(route.retail, at_us)
    return replace(route.wire, **extra)


def _no_margin(plan: TariffPlan, route: OfferRoute, at_us: int, percent: int) -> NoMargin:
    return NoMargin(
        tariff_plan_id=plan.tariff_plan_id,
        provider_id=route.provider_id,
        first_minute_retail=fraction_text(*first_minute(route.retail, at_us, percent)),
        first_minute_wholesale=fraction_text(*first_minute(route.wholesale, at_us)),
    )


def _distinct(prices: Iterable[Price]) -> tuple[Price, ...]:
    by_identity = {id(price): price for price in prices}
    return tuple(by_identity.values())


_SKIPPED_RETAIL = Check("retail_price", "skipped")
_PASSED_MARGIN = Check("margin", "passed")
_SKIPPED_MARGIN = Check("margin", "skipped")
_FAILED_MARGIN = Check("margin", "failed")


def _retail_check(missing: bool, price: Price | None) -> Check:
    if missing or price is None:
        return Check("retail_price", "failed" if missing else "skipped")
    return Check("retail_price", "passed", price_list_id=price.terms.price_list_id, prefix=price.prefix)


def _margin_check(plan: TariffPlan | None, known: bool, no_margin: NoMargin | None) -> Check:
    if plan is None or not plan.forbid_loss or not known:
        return _SKIPPED_MARGIN
    return _PASSED_MARGIN if no_margin is None else _FAILED_MARGIN
