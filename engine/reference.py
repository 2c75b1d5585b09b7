"""Reference data in force: accounts' attributes, providers, plans, prices, locks, numbers, discounts.

One object, numbered: every change raises `version`, and every output names the version it was computed under.
"""

from collections.abc import Iterable, Mapping, Sequence

from engine.bands import BandHours
from engine.locks import LockTable
from engine.offers import Offers, PlanTables
from engine.prices import ListTerms, Price, PriceBuilder, PriceTable, list_terms
from engine.tariffs import NO_END
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PriceList,
    PriceRow,
    Provider,
    TariffPlan,
)
from schemas.times import to_us


class DiscountTerms:
    """A discount, ready to be asked."""

    __slots__ = ("from_us", "percent", "service", "text", "until_us")

    def __init__(self, discount: Discount) -> None:
        self.service = discount.service
        self.percent = discount.percent_micros
        self.text = percent_text(discount.percent_micros)
        self.from_us = 0 if discount.valid_from is None else to_us(discount.valid_from)
        self.until_us = NO_END if discount.valid_to is None else to_us(discount.valid_to)


def percent_text(percent_micros: int) -> str:
    """Millionths of a per cent as a decimal: "10", "12.5"."""
    whole, part = divmod(percent_micros, 1_000_000)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


class Reference:
    """All tables of one version."""

    def __init__(
        self,
        *,
        accounts: Iterable[Account],
        providers: Iterable[Provider],
        plans: Iterable[TariffPlan],
        price_lists: Iterable[PriceList],
        prices: Iterable[PriceRow],
        bands: Iterable[Band] = (),
        locks: Iterable[Lock] = (),
        numbers: Iterable[Number] = (),
        discounts: Iterable[Discount] = (),
        version: int = 1,
    ) -> None:
        """The records must fit together, as whoever reads them from outside has checked; KeyError where they do not."""
        self.version = version
        self.accounts = {account.account_id: account for account in accounts}
        self.providers = {provider.provider_id: provider for provider in providers}
        self.locks = LockTable(locks)
        self.numbers = {number.number: number for number in numbers}
        self.price_lists = {price_list.price_list_id: price_list for price_list in price_lists}
        self._terms = {name: list_terms(price_list) for name, price_list in self.price_lists.items()}
        self._bands = {band.band_id: BandHours(band) for band in bands}
        self._discounts: dict[str, list[DiscountTerms]] = {}
        for discount in discounts:
            self._discounts.setdefault(discount.account_id, []).append(DiscountTerms(discount))

        wholesale, retail = self._tables(prices)
        self.wholesale = PriceTable(wholesale)
        self.retail = {name: PriceTable(table) for name, table in retail.items()}
        self.plans = {plan.tariff_plan_id: self._plan_tables(plan) for plan in plans}
        self.offers = Offers(self.wholesale, self.providers, self.plans)

    def _tables(
        self, rows: Iterable[PriceRow]
    ) -> tuple[dict[str, tuple[Price, ...]], dict[str, dict[str, tuple[Price, ...]]]]:
        wholesale: dict[str, tuple[Price, ...]] = {}
        retail: dict[str, dict[str, tuple[Price, ...]]] = {}
        tables: dict[str, dict[str, tuple[Price, ...]]] = {}
        for name, price_list in self.price_lists.items():
            tables[name] = wholesale if price_list.kind == "wholesale" else retail.setdefault(name, {})
        builder = PriceBuilder(self._terms, self._bands)
        for row in rows:
            builder.add(row, tables[row.price_list_id])
        builder.finish()
        return wholesale, retail

    def _plan_tables(self, plan: TariffPlan) -> PlanTables:
        lists: Sequence[tuple[int, PriceTable]] = [
            (entry.priority, self.retail[entry.price_list_id])
            for entry in sorted(plan.lists, key=lambda entry: (entry.priority, entry.price_list_id))
        ]
        return PlanTables(plan, tuple(lists))

    @property
    def terms(self) -> Mapping[str, ListTerms]:
        """The price lists' terms by id."""
        return self._terms

    def discount(self, account_id: str, service: str, at_us: int) -> DiscountTerms | None:
        """The discount in force; one for the very service wins over one for all (rules §2.5)."""
        found = None
        for discount in self._discounts.get(account_id, ()):
            if discount.service in (None, service) and discount.from_us <= at_us < discount.until_us:
                if discount.service is not None:
                    return discount
                found = discount
        return found

    def put_lock(self, lock: Lock) -> None:
        """A new or changed lock is in force from the next decision on."""
        self.locks.put(lock)
        self.version += 1

    def remove_lock(self, lock_id: str) -> None:
        """A lifted lock is gone from the next decision on."""
        self.locks.remove(lock_id)
        self.version += 1

    def put_number(self, number: Number) -> None:
        """A number's new state."""
        self.numbers[number.number] = number
        self.version += 1

    def put_account(self, account: Account) -> None:
        """An account's new attributes; its balance and status stay those that commands made."""
        self.accounts[account.account_id] = account
        self.version += 1

    def put_price(self, rows: Sequence[PriceRow]) -> None:
        """One new price of a list that is there: all of its rows (tiers, bands) together."""
        one: dict[str, tuple[Price, ...]] = {}
        builder = PriceBuilder(self._terms, self._bands)
        for row in rows:
            builder.add(row, one)
        builder.finish()
        self.version += 1
        for prices in one.values():
            for price in prices:
                self._table_of(price.terms.price_list_id).put(price, self.version)
        self.offers.forget()

    def remove_price(self, price_list_id: str, prefix: str) -> int:
        """Takes a prefix out of a list; how many prices that were."""
        self.version += 1
        removed = self._table_of(price_list_id).remove(price_list_id, prefix, self.version)
        self.offers.forget()
        return removed

    def _table_of(self, price_list_id: str) -> PriceTable:
        if self.price_lists[price_list_id].kind == "wholesale":
            return self.wholesale
        return self.retail[price_list_id]
