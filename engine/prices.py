"""Prices by prefix: which price of which list applies to a call (§2.3, rules §1).

A `PriceTable` holds one retail list, or all wholesale lists together: there each prefix carries the prices of all
providers in order of preference, so one look-up finds every provider's candidate.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from engine.bands import BandHours
from engine.prefixes import PrefixTable
from engine.rounding import unit_of
from engine.tariffs import NO_END, Rate, Tariff, rate_of
from schemas.rated import Rounding
from schemas.reference import PriceList, PriceRow
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
        return own if len(own) == 1 else tuple(sorted(own, key=_preference))
    if len(inherited) == 1 and len(own) == 1 and _hides(own[0], inherited[0]):
        return own
    kept = [price for price in inherited if not any(_hides(mine, price) for mine in own)]
    return tuple(sorted((*own, *kept), key=_preference))


def _hides(longer: Price, shorter: Price) -> bool:
    # A price that has named bands only may not apply at some hour, so it hides nothing.
    return (
        longer.terms.provider_id == shorter.terms.provider_id
        and not longer.tariff.banded
        and longer.scope.covers(shorter.scope)
    )


class PriceTable:
    """Prices of one retail list, or of all wholesale lists.

    A change of a prefix keeps what stood there before, so that a call is charged by the version it was promised under.
    """

    __slots__ = ("_before", "_table", "changed_version")

    def __init__(self, prices: dict[str, tuple[Price, ...]]) -> None:
        """`prices` by prefix; the dict becomes the table's own."""
        self._table = PrefixTable(_prefix_of, _merge, prices)
        self._before: dict[str, list[tuple[int, tuple[Price, ...]]]] = {}
        self.changed_version = 0
        """The latest version that changed a price here."""

    def __len__(self) -> int:
        """How many prefixes there are."""
        return len(self._table)

    def candidates(self, number: str, version: int = NO_END) -> tuple[Price, ...]:
        """All prices that may apply to the number, by provider and then in order of preference.

        `version`: as of an earlier version of the reference data.
        """
        if version >= self.changed_version:
            return self._table.find(number)
        found: tuple[Price, ...] = ()
        for length in range(len(number) + 1):
            if own := self._own_at(number[:length], version):
                found = _merge(found, own)
        return found

    def depth(self, number: str) -> int:
        """How many digits of a number can matter to `candidates`."""
        return self._table.depth(number)

    def _own_at(self, prefix: str, version: int) -> tuple[Price, ...]:
        for changed, own in self._before.get(prefix, ()):
            if changed > version:
                return own
        return self._table.own(prefix)

    def put(self, price: Price, version: int) -> None:
        """Adds a price, as of a new version; one of the same list, prefix and scope is replaced."""
        self._keep(price.prefix, version)
        list_id = price.terms.price_list_id
        others = [
            other
            for other in self._table.own(price.prefix)
            if other.terms.price_list_id != list_id or other.scope != price.scope
        ]
        self._table.replace(price.prefix, (*others, price))

    def remove(self, price_list_id: str, prefix: str, version: int) -> int:
        """Takes a list's prices off a prefix, as of a new version; how many there were."""
        own = self._table.own(prefix)
        left = tuple(price for price in own if price.terms.price_list_id != price_list_id)
        if len(left) < len(own):
            self._keep(prefix, version)
            self._table.replace(prefix, left)
        return len(own) - len(left)

    def _keep(self, prefix: str, version: int) -> None:
        kept = self._before.setdefault(prefix, [])
        if not kept or kept[-1][0] < version:
            kept.append((version, self._table.own(prefix)))
        self.changed_version = version


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

    Call `finish` after the last row, before a table is made.
    """

    def __init__(self, lists: Mapping[str, ListTerms], bands: Mapping[str, BandHours]) -> None:
        self._lists = lists
        self._bands = dict(bands)
        self._tariffs: dict[tuple[Rate, ...], Tariff] = {}
        self._scopes: dict[tuple[object, ...], Scope] = {}
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

    def _scope(self, row: PriceRow, terms: ListTerms) -> Scope:
        key = (row.price_list_id, row.service, row.place, row.incoming_service, row.valid_from, row.valid_to)
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
