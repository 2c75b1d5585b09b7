"""Reference data with one price list in other words: what would be in force if a version that is staged were.

Nothing that is in force is touched, and nothing that does not differ is copied: the tables are made of the same prices.
"""

import copy
from collections.abc import Iterable, Mapping

from engine.bands import BandHours
from engine.offers import Offers, PlanTables
from engine.prefix_index import PrefixIndex, head_of
from engine.prices import ListTerms, Price, PriceBuilder, PriceTable, list_terms
from engine.reference import Reference
from schemas.reference import Band, PriceList, PriceRow


class PriceDeck:
    """The prices of one version of a list, by prefix. `add` its rows in any order, then `finish`."""

    def __init__(self, price_list: PriceList, bands: Iterable[Band]) -> None:
        self.price_list = price_list
        self.terms: ListTerms = list_terms(price_list)
        self.prices: dict[str, tuple[Price, ...]] = {}
        self.rows = 0
        self._builder = PriceBuilder(
            {price_list.price_list_id: self.terms}, {band.band_id: BandHours(band) for band in bands}
        )

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Takes in rows. KeyError: one names another list, or a band that is not there."""
        add, prices = self._builder.add, self.prices
        for row in rows:
            add(row, prices)
            self.rows += 1

    def finish(self) -> None:
        """No more rows come."""
        self._builder.finish()


def pinned(reference: Reference) -> Reference:
    """The reference data as they are now, for whoever asks for longer than a moment: what comes into force meanwhile
    does not change them, and what goes does not take their tables apart."""
    there = copy.copy(reference)
    there.accounts = dict(reference.accounts)
    there.providers = dict(reference.providers)
    there.price_lists = dict(reference.price_lists)
    return _with_tables(
        there,
        reference.wholesale.index.edited({}),
        {name: table.index.edited({}) for name, table in reference.retail.items()},
    )


def with_deck(reference: Reference, deck: PriceDeck) -> Reference:
    """`reference`, which is pinned, with the deck in the place of what its list has there."""
    list_id = deck.price_list.price_list_id
    there = copy.copy(reference)
    there.price_lists = {**reference.price_lists, list_id: deck.price_list}
    wholesale = reference.wholesale.index
    retail = {name: table.index for name, table in reference.retail.items()}
    if deck.price_list.kind == "wholesale":
        wholesale = wholesale.edited(_edits(wholesale, list_id, deck.prices))
    else:
        retail[list_id] = PriceTable(deck.prices).index
    return _with_tables(there, wholesale, retail)


def own_prices(reference: Reference, list_id: str) -> Mapping[str, tuple[Price, ...]]:
    """The prices that a list has in these reference data, by prefix; none where it is not there."""
    there = reference.price_lists.get(list_id)
    if there is None:
        return {}
    found: dict[str, tuple[Price, ...]] = {}
    if there.kind == "retail":
        for price in reference.retail[list_id].index.items():
            found[price.prefix] = (*found.get(price.prefix, ()), price)
    else:
        for price in reference.wholesale.index.items():
            if price.terms.price_list_id == list_id:
                found[price.prefix] = (*found.get(price.prefix, ()), price)
    return found


def _edits(
    index: PrefixIndex[Price], list_id: str, coming: Mapping[str, tuple[Price, ...]]
) -> dict[str, dict[str, tuple[Price, ...]]]:
    gone = {price.prefix for price in index.items() if price.terms.price_list_id == list_id}
    edits: dict[str, dict[str, tuple[Price, ...]]] = {}
    for prefix in (*coming, *(gone - coming.keys())):
        others = [price for price in index.own(prefix) if price.terms.price_list_id != list_id]
        edits.setdefault(head_of(prefix), {})[prefix] = (*others, *coming.get(prefix, ()))
    return edits


def _with_tables(
    there: Reference, wholesale: PrefixIndex[Price], retail: Mapping[str, PrefixIndex[Price]]
) -> Reference:
    there.wholesale = _table(wholesale)
    there.retail = {name: _table(index) for name, index in retail.items()}
    there.plans = {
        name: PlanTables(
            tables.plan,
            tuple(
                [
                    (entry.priority, there.retail[entry.price_list_id])
                    for entry in sorted(tables.plan.lists, key=lambda entry: (entry.priority, entry.price_list_id))
                ]
            ),
        )
        for name, tables in there.plans.items()
    }
    there.offers = Offers(there.wholesale, there.providers, there.plans)
    return there


def _table(index: PrefixIndex[Price]) -> PriceTable:
    table = PriceTable({})
    table.index = index
    return table
