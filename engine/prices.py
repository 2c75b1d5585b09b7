"""Prices by prefix: which price of which list applies to a call (§2.3, rules §1).

A `PriceTable` holds one retail list, or all wholesale lists together: there each prefix carries the prices of all
providers in order of preference, so one look-up finds every provider's candidate.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from engine.bands import BandHours
from engine.prefix_index import PrefixIndex, head_of
from engine.rounding import unit_of
from engine.tariffs import NO_END, Rate, Tariff, rate_of
from schemas.rated import Rounding
from schemas.reference import PriceList, PriceRow, PriceTerms, PriceTier
from schemas.times import to_us


class ListTerms(NamedTuple):
    """A price list without its prices."""

    price_list_id: str
    name: str
    provider_id: str | None
    rounding: Rounding
    decimals: int
    unit: int
    from_us: int
    until_us: int


def list_terms(price_list: PriceList) -> ListTerms:
    """The terms of a list; ValueError for a moment that can't be read."""
    return ListTerms(
        price_list.price_list_id,
        price_list.name,
        price_list.provider_id,
        price_list.rounding,
        price_list.decimals,
        unit_of(price_list.decimals),
        from_us=_from_us(price_list.valid_from),
        until_us=_until_us(price_list.valid_to),
    )


def _from_us(moment: str | None) -> int:
    return 0 if moment is None else to_us(moment)


def _until_us(moment: str | None) -> int:
    return NO_END if moment is None else to_us(moment)


def rate_of_tier(tier: PriceTier) -> Rate:
    """The terms of a packed tier."""
    return Rate(
        tier.band_id,
        tier.from_second,
        tier.connect_fee_micros,
        tier.price_micros,
        tier.per_seconds,
        tier.step_seconds,
        tier.min_charge_micros,
        tier.max_charge_micros,
        tier.attempt_fee_micros,
    )


class Scope(NamedTuple):
    """When a price applies: null means any. Times are those of the row within those of its list."""

    service: str | None
    place: str | None
    incoming_service: str | None
    from_us: int
    until_us: int
    row_from_us: int
    row_until_us: int

    def specificity(self) -> int:
        """Conditions named; service counts most, then place, then incoming service (rules §1.3)."""
        return 4 * (self.service is not None) + 2 * (self.place is not None) + (self.incoming_service is not None)

    def covers(self, other: "Scope") -> bool:
        """Whether this scope applies whenever the other does."""
        return (
            (self.service is None or self.service == other.service)
            and (self.place is None or self.place == other.place)
            and (self.incoming_service is None or self.incoming_service == other.incoming_service)
            and self.from_us <= other.from_us
            and self.until_us >= other.until_us
        )


ANY_INCOMING = "*"
"""In a question of the tariff check: whatever the call came in by (§2.3, the field left empty)."""


class Context(NamedTuple):
    """What a price is asked for, beside the number and the moment."""

    service: str
    place: str | None
    incoming_service: str | None


class Price(Struct, gc=False):
    """The price of a prefix in a list: scope and tariff, both shared by the many prefixes that are alike in them."""

    prefix: str
    terms: ListTerms
    scope: Scope
    tariff: Tariff

    def applies(self, context: Context, at_us: int) -> bool:
        """Whether it is the price of a call set up at that moment (the prefix fits already)."""
        scope = self.scope
        return (
            (scope.service is None or scope.service == context.service)
            and (scope.place is None or scope.place == context.place)
            and (
                scope.incoming_service is None
                or scope.incoming_service == context.incoming_service
                or context.incoming_service == ANY_INCOMING
            )
            and scope.from_us <= at_us < scope.until_us
            and (not self.tariff.banded or self.tariff.variant_at(at_us)[0] is not None)
        )


def _prefix_of(price: Price) -> str:
    return price.prefix


def _preference(price: Price) -> tuple[str, int, int, str, int, int, int]:
    """The order in which a provider's prices are tried (rules §1.3, §1.4)."""
    terms = price.terms
    return (
        terms.provider_id or "",
        -len(price.prefix),
        -terms.from_us,
        terms.price_list_id,
        -price.scope.specificity(),
        -price.scope.row_from_us,
        price.scope.row_until_us,
    )


def _merge(inherited: tuple[Price, ...], own: tuple[Price, ...]) -> tuple[Price, ...]:
    """Own prices and those inherited ones that may still be asked: a wider own price of the same provider hides one."""
    if not inherited:
        return own if len(own) == 1 else _ordered(own)
    if len(inherited) == 1 and len(own) == 1:
        return own if _hides(own[0], inherited[0]) else _ordered((*own, *inherited))
    by_provider: dict[str | None, list[Price]] = {}
    for mine in own:
        by_provider.setdefault(mine.terms.provider_id, []).append(mine)
    kept = list(own)
    for price in inherited:
        for mine in by_provider.get(price.terms.provider_id, ()):
            if _hides(mine, price):
                break
        else:
            kept.append(price)
    return _ordered(kept)


def _ordered(prices: Sequence[Price]) -> tuple[Price, ...]:
    if len({price.terms.provider_id for price in prices}) == len(prices):
        # One of each provider, as most numbers find.
        return tuple(sorted(prices, key=_provider_of))
    return tuple(sorted(prices, key=_preference))


def _provider_of(price: Price) -> str:
    return price.terms.provider_id or ""


def _hides(longer: Price, shorter: Price) -> bool:
    # A price that has named bands only may not apply at some hour, so it hides nothing.
    return (
        longer.terms.provider_id == shorter.terms.provider_id
        and not longer.tariff.banded
        and (longer.scope is shorter.scope or longer.scope.covers(shorter.scope))
    )


Former = Callable[[str], tuple[Price, ...] | None]
"""A list's own prices of a prefix as they were; None where they are those of the next later version kept, or of now."""


class _Layer(NamedTuple):
    """What a list had until a version changed it."""

    until_version: int
    former: Former


def price_index() -> PrefixIndex[Price]:
    """An index without prices."""
    return PrefixIndex(_prefix_of, _merge)


class PriceTable:
    """Prices of one retail list, or of all wholesale lists.

    A change of a list keeps what stood there before, so that a call is charged by the version it was promised under.
    """

    __slots__ = ("_before", "changed_version", "index")

    def __init__(self, prices: Mapping[str, tuple[Price, ...]]) -> None:
        """`prices` by prefix."""
        edits: dict[str, dict[str, tuple[Price, ...]]] = {}
        for prefix, own in prices.items():
            edits.setdefault(head_of(prefix), {})[prefix] = own
        self.index = price_index().edited(edits)
        """The prices in force; another one after each change."""
        self.changed_version = 0
        """The latest version that changed a price here."""
        self._before: dict[str, list[_Layer]] = {}

    def __len__(self) -> int:
        """How many prefixes there are."""
        return len(self.index)

    def candidates(self, number: str, version: int = NO_END, lists: Collection[str] | None = None) -> tuple[Price, ...]:
        """All prices that may apply to the number, by provider and then in order of preference.

        `version`: as of an earlier version of the reference data, and then of these lists only, if they are named.
        """
        if version >= self.changed_version:
            return self.index.find(number)
        found: tuple[Price, ...] = ()
        for length in range(len(number) + 1):
            if own := self._own_at(number[:length], version, lists):
                found = _merge(found, own)
        return found

    def depth(self, number: str) -> int:
        """How many digits of a number can matter to `candidates`."""
        return self.index.depth(number)

    def _own_at(self, prefix: str, version: int, lists: Collection[str] | None) -> tuple[Price, ...]:
        own = self.index.own(prefix)
        if lists is not None:
            own = tuple([price for price in own if price.terms.price_list_id in lists])
        for list_id, layers in self._before.items():
            if layers[-1].until_version <= version or (lists is not None and list_id not in lists):
                continue
            for until_version, former in layers:
                if until_version > version and (then := former(prefix)) is not None:
                    own = (*[price for price in own if price.terms.price_list_id != list_id], *then)
                    break
        return own

    def put(self, price: Price, version: int) -> None:
        """Adds a price, as of a new version; one of the same list, prefix and scope is replaced."""
        list_id = price.terms.price_list_id
        own = self.index.own(price.prefix)
        others = [other for other in own if other.terms.price_list_id != list_id or other.scope != price.scope]
        self._change(list_id, price.prefix, own, (*others, price), version)

    def remove(self, price_list_id: str, prefix: str, version: int) -> int:
        """Takes a list's prices off a prefix, as of a new version; how many there were."""
        own = self.index.own(prefix)
        left = tuple(price for price in own if price.terms.price_list_id != price_list_id)
        if len(left) < len(own):
            self._change(price_list_id, prefix, own, left, version)
        return len(own) - len(left)

    def _change(
        self, list_id: str, prefix: str, own: tuple[Price, ...], changed: tuple[Price, ...], version: int
    ) -> None:
        before = {prefix: tuple(price for price in own if price.terms.price_list_id == list_id)}
        self.swap(self.index.edited({head_of(prefix): {prefix: changed}}), version, {list_id: before.get})

    def swap(self, index: PrefixIndex[Price], version: int, formers: Mapping[str, Former]) -> None:
        """Puts another index in force, as of a new version. `formers`: what the changed lists had."""
        self.index = index
        self.remember(version, formers)

    def remember(self, version: int, formers: Mapping[str, Former]) -> None:
        """A version changed something here. `formers`: what lists had until then; versions are told in their order."""
        for list_id, former in formers.items():
            self._before.setdefault(list_id, []).append(_Layer(version, former))
        self.changed_version = max(self.changed_version, version)

    def forget(self, list_id: str, version: int) -> None:
        """What the list had before a version will not be asked for any more."""
        if layers := self._before.get(list_id):
            layers[:] = [layer for layer in layers if layer.until_version > version]
            if not layers:
                del self._before[list_id]


def best(candidates: Iterable[Price], context: Context, at_us: int) -> Price | None:
    """The first candidate of one list that applies."""
    for price in candidates:
        if price.applies(context, at_us):
            return price
    return None


def best_by_provider(candidates: Iterable[Price], context: Context, at_us: int) -> Iterator[Price]:
    """Each provider's price that applies, in order of the providers' ids."""
    found: str | None = ""
    for price in candidates:
        if price.terms.provider_id != found and price.applies(context, at_us):
            found = price.terms.provider_id
            yield price


class PriceBuilder:
    """Gathers price rows, in any order, into the dicts of `PriceTable`s. Equal tariffs and scopes are made once.

    Call `finish` after the last row, before a table is made. Packed prices come as they are, and need no `finish`.
    """

    def __init__(self, lists: Mapping[str, ListTerms], bands: Mapping[str, BandHours]) -> None:
        self._lists = lists
        self._bands = dict(bands)
        self._tariffs: dict[tuple[Rate, ...], Tariff] = {}
        self._scopes: dict[tuple[object, ...], Scope] = {}
        self._packed: dict[str, dict[PriceTerms, tuple[Scope, Tariff]]] = {}
        # Prices of several rows, until all of their rows are there. They keep the tariff of the row that came first.
        self._parts: dict[int, tuple[Price, list[Rate]]] = {}

    def add(self, row: PriceRow, table: dict[str, tuple[Price, ...]]) -> None:
        """Adds one row: a price of its own, or another tier or band of a price that is there.

        KeyError: the row names a list or band that is not there.
        """
        terms = self._lists[row.price_list_id]
        scope = self._scope(row, terms)
        rate = rate_of(row)
        there = table.get(row.prefix, ())
        for price in there:
            if price.terms is terms and price.scope is scope:
                _, rates = self._parts.setdefault(id(price), (price, list(price.tariff.rates)))
                rates.append(rate)
                return
        price = Price(there[0].prefix if there else row.prefix, terms, scope, self._tariff((rate,)))
        table[price.prefix] = (*there, price)

    def finish(self) -> None:
        """Compiles the prices of several rows."""
        for price, rates in self._parts.values():
            price.tariff = self._tariff(tuple(rates))
        self._parts.clear()
        for tariff in self._tariffs.values():
            assert tariff.complete, f"a band has no tier from second 0: {tariff.rates}"

    def unpacked(self, packed: PriceTerms, terms: ListTerms) -> tuple[Scope, Tariff]:
        """When packed terms of a list apply, and what they cost.

        ValueError: a band that is not there, a tier that is there twice, no tier from second 0, no moment.
        """
        of_list = self._packed.get(terms.price_list_id)
        if of_list is None:
            of_list = self._packed[terms.price_list_id] = {}
        found = of_list.get(packed)
        if found is None:
            rates = tuple([rate_of_tier(tier) for tier in packed.tiers])
            if missing := [
                rate.band_id for rate in rates if rate.band_id is not None and rate.band_id not in self._bands
            ]:
                raise ValueError(f"band {missing[0]!r} is not there")
            if not rates or len({(rate.band_id, rate.from_second) for rate in rates}) < len(rates):
                raise ValueError(f"there are no tiers, or one of them twice: {packed.tiers}")
            tariff = self._tariffs.get(rates)
            if tariff is None:
                tariff = self._tariffs[rates] = Tariff(rates, self._bands)
            if not tariff.complete:
                raise ValueError(f"a band has no tier from second 0: {packed.tiers}")
            found = of_list[packed] = (self._scope(packed, terms), tariff)
        return found

    def _scope(self, row: PriceRow | PriceTerms, terms: ListTerms) -> Scope:
        key = (terms.price_list_id, row.service, row.place, row.incoming_service, row.valid_from, row.valid_to)
        scope = self._scopes.get(key)
        if scope is None:
            row_from_us = _from_us(row.valid_from)
            scope = Scope(
                row.service,
                row.place,
                row.incoming_service,
                from_us=max(terms.from_us, row_from_us),
                until_us=min(terms.until_us, _until_us(row.valid_to)),
                row_from_us=row_from_us,
                row_until_us=_until_us(row.valid_to),
            )
            self._scopes[key] = scope
        return scope

    def _tariff(self, rates: tuple[Rate, ...]) -> Tariff:
        tariff = self._tariffs.get(rates)
        if tariff is None:
            tariff = Tariff(rates, self._bands)
            if tariff.complete or len(rates) > 1:
                # The others are a later tier whose first one is still to come.
                self._tariffs[rates] = tariff
        return tariff
