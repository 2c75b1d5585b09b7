"""Reference data in force: accounts' attributes, providers, plans, prices, locks, numbers, discounts.

One object, numbered: every change raises `version`, and every output names the version it was computed under. A change
comes into force at once, between two batches of events: what takes long, the tables of its price lists, has been made
beforehand by a `TableBuilder`. What calls are priced by can still be asked as of an earlier version.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from engine.bands import BandHours
from engine.changes import Change, Entry, Kept
from engine.editions import Chunks, DoesNotFit, FormerEdition, TableBuilder, Tables, base
from engine.locks import LockTable
from engine.offers import Offers, PlanTables
from engine.past import Histories, History, Past
from engine.prefix_index import PrefixIndex
from engine.prices import ListTerms, Price, PriceBuilder, PriceTable, list_terms
from engine.tariffs import NO_END
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PriceList,
    PriceListEdition,
    PriceRow,
    Provider,
    TariffPlan,
)
from schemas.times import to_us

T = TypeVar("T")


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
        self._discounts: dict[str, tuple[DiscountTerms, ...]] = {}
        for discount in discounts:
            there = self._discounts.get(discount.account_id, ())
            self._discounts[discount.account_id] = (*there, DiscountTerms(discount))

        wholesale, retail = self._tables(prices)
        self.wholesale = PriceTable(wholesale)
        self.retail = {name: PriceTable(table) for name, table in retail.items()}
        self.plans = {plan.tariff_plan_id: self._plan_tables(plan) for plan in plans}
        self._past = Past(self.wholesale)
        self._past.retail.update(self.retail)
        self._past_discounts: Histories[tuple[DiscountTerms, ...]] = Histories()
        self._past_bands: Histories[Band] = Histories()
        self._editions: dict[str, PriceListEdition] = {}
        self._used_bands: dict[str, frozenset[str]] = {}
        self._changed: list[tuple[int, int]] = []
        """When what calls are priced by changed, and with which version; in order."""
        self._remember_all()
        self.offers = Offers(self.wholesale, self.providers, self.plans, self._past)

    def _remember_all(self) -> None:
        for provider_id, provider in self.providers.items():
            self._past.providers.put(provider_id, 0, provider)
        for plan_id, tables in self.plans.items():
            self._past.plans.put(plan_id, 0, tables.plan)
        for list_id, price_list in self.price_lists.items():
            self._past.lists.put(list_id, 0, price_list)
        for account_id, discounts in self._discounts.items():
            self._past_discounts.put(account_id, 0, discounts)

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

    def discount(self, account_id: str, service: str, at_us: int, version: int = NO_END) -> DiscountTerms | None:
        """The discount in force; one for the very service wins over one for all (rules §2.5).

        `version`: as of an earlier version of the reference data.
        """
        if version < self._past.changed_version:
            discounts = self._past_discounts.at(account_id, version) or ()
        else:
            discounts = self._discounts.get(account_id, ())
        found = None
        for discount in discounts:
            if discount.service in (None, service) and discount.from_us <= at_us < discount.until_us:
                if discount.service is not None:
                    return discount
                found = discount
        return found

    def provider(self, provider_id: str, version: int = NO_END) -> Provider | None:
        """A provider, or None where there is none. `version`: as of an earlier version of the reference data."""
        if version < self._past.changed_version:
            return self._past.providers.at(provider_id, version)
        return self.providers.get(provider_id)

    def version_at(self, at_us: int) -> int:
        """A version under which prices were what they were at a moment; before the first change that is kept, that
        one. The present one where changes do not tell their times."""
        place = bisect_right(self._changed, (at_us, NO_END))
        if place == len(self._changed):
            return self.version
        return self._changed[max(place - 1, 0)][1]

    # Changes of one thing

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
        self._past.changed_version = self.version
        self.offers.forget()

    def remove_price(self, price_list_id: str, prefix: str) -> int:
        """Takes a prefix out of a list; how many prices that were."""
        self.version += 1
        removed = self._table_of(price_list_id).remove(price_list_id, prefix, self.version)
        self._past.changed_version = self.version
        self.offers.forget()
        return removed

    def _table_of(self, price_list_id: str) -> PriceTable:
        if self.price_lists[price_list_id].kind == "wholesale":
            return self.wholesale
        return self.retail[price_list_id]

    # Whole changes, as they are published

    @classmethod
    def restored(
        cls,
        *,
        version: int,
        accounts: Iterable[Account],
        locks: Iterable[Lock],
        numbers: Iterable[Number],
        kept: Kept,
        chunks: Chunks,
    ) -> "Reference":
        """The reference data as they are after all changes that are kept, whatever became of their records since.

        Raises DoesNotFit.
        """
        self = cls(accounts=(), providers=(), plans=(), price_lists=(), prices=(), version=0)
        latest = Change(
            version,
            0,
            accounts={account.account_id: account for account in accounts},
            locks={lock.lock_id: lock for lock in locks},
            numbers={number.number: number for number in numbers},
            **{kind: _latest(entries) for kind, entries in kept._asdict().items()},
        )
        self.check(latest)
        tables = self.builder(latest.lists, latest.bands, chunks).build()
        self.apply(latest, tables)
        self._restore_past(kept, chunks)
        return self

    def _restore_past(self, kept: Kept, chunks: Chunks) -> None:
        past = self._past = Past(self.wholesale)
        past.retail.update(self.retail)
        for entry in kept.providers:
            past.providers.put(entry.name, entry.version, _as(Provider, entry.value))
        for entry in kept.plans:
            past.plans.put(entry.name, entry.version, _as(TariffPlan, entry.value))
        self._past_discounts = Histories()
        for entry in kept.discounts:
            assert isinstance(entry.value, tuple)
            self._past_discounts.put(entry.name, entry.version, _terms_of(entry.value))
        self._past_bands = Histories()
        for entry in kept.bands:
            self._past_bands.put(entry.name, entry.version, _as(Band, entry.value))
        editions: Histories[PriceListEdition] = Histories()
        for entry in kept.lists:
            edition = _as(PriceListEdition, entry.value)
            editions.put(entry.name, entry.version, edition)
            past.lists.put(entry.name, entry.version, None if edition is None else edition.price_list)
        # A list's prices may have changed with the list, and with any band.
        banded = sorted({entry.version for entry in kept.bands})
        hours = {
            version: self._hours_at(version - 1)
            for version in sorted({entry.version for entry in kept.lists} | {*banded})
        }
        for list_id, history in editions.items():
            for version in sorted({*history.versions, *banded}):
                if version >= history.versions[0]:
                    self._restore_former(list_id, version, history, hours[version], chunks)
        changed: dict[int, int] = {}
        for entries in kept:
            changed.update((entry.version, entry.at_us) for entry in entries)
        self._changed = []
        for version in sorted(changed):
            self._note_change(version, changed[version])
        past.changed_version = max(changed, default=0)
        self.offers = Offers(self.wholesale, self.providers, self.plans, past)

    def _hours_at(self, version: int) -> dict[str, BandHours]:
        there = ((band_id, history.at(version)) for band_id, history in self._past_bands.items())
        return {band_id: BandHours(band) for band_id, band in there if band is not None}

    def _restore_former(
        self,
        list_id: str,
        version: int,
        history: History[PriceListEdition],
        hours: Mapping[str, BandHours],
        chunks: Chunks,
    ) -> None:
        """What a list had until a version, in the table where it stood."""
        before, after = history.at(version - 1), history.at(version)
        if before is not None:
            former = FormerEdition(before, hours, chunks).own
            self._past.table(before.price_list).remember(version, {list_id: former})
        if after is not None:
            self._past.table(after.price_list).remember(version, {})

    def builder(
        self, lists: Mapping[str, PriceListEdition | None], bands: Mapping[str, Band | None], chunks: Chunks
    ) -> TableBuilder:
        """What makes the tables of a coming change, aside of what is in force. None: the list or band will be gone."""
        return TableBuilder(
            editions=self._editions,
            hours=self._bands,
            used=self._used_bands,
            wholesale=self.wholesale.index,
            retail=self._retail_indexes(),
            lists=lists,
            bands=bands,
            chunks=chunks,
        )

    def _retail_indexes(self) -> dict[str, PrefixIndex[Price]]:
        return {list_id: table.index for list_id, table in self._past.retail.items()}

    def fits(self, tables: Tables, change: Change) -> bool:
        """Whether tables that were made beforehand are those of this change, and what they were made from is still in
        force."""
        return (
            tables.lists == change.lists
            and tables.bands == change.bands
            and tables.base == base(self.wholesale.index, self._retail_indexes(), tables.used, self._bands)
        )

    def check(self, change: Change) -> None:
        """Whether all that the change names is there; prices aside, which are looked at when their tables are made.

        Raises DoesNotFit.
        """
        coming = {name: None if edition is None else edition.price_list for name, edition in change.lists.items()}
        lists = _after(self.price_lists, coming)
        plans = _after({name: tables.plan for name, tables in self.plans.items()}, change.plans)
        providers = _after(self.providers, change.providers)
        if change.plans or change.lists:
            for plan in plans.values():
                for entry in plan.lists:
                    if entry.price_list_id not in lists or lists[entry.price_list_id].kind != "retail":
                        raise DoesNotFit(
                            f"tariff plan {plan.tariff_plan_id!r}: {entry.price_list_id!r} is no retail list"
                        )
        if change.lists or change.providers:
            for price_list in lists.values():
                if price_list.kind == "wholesale" and price_list.provider_id not in providers:
                    raise DoesNotFit(
                        f"price list {price_list.price_list_id!r}: provider {price_list.provider_id!r} is not there"
                    )
        accounts: Iterable[Account] = change.accounts.values()
        if None in change.plans.values():
            accounts = _after(self.accounts, change.accounts).values()
        for account in accounts:
            if account.tariff_plan_id not in plans:
                raise DoesNotFit(f"account {account.account_id!r}: tariff plan {account.tariff_plan_id!r} is not there")
        try:
            for lock in change.locks.values():
                if lock is not None:
                    to_us(lock.created_at)
            for discounts in change.discounts.values():
                _terms_of(discounts)
        except ValueError as wrong:
            raise DoesNotFit(str(wrong)) from None

    def apply(self, change: Change, tables: Tables | None = None) -> Sequence[object]:
        """Puts a change in force, all of it at once; `check` has passed it, and `tables` are of its lists and bands.

        What is not needed any more comes back, to be let go little by little. The change must be newer than `version`.
        """
        assert change.version > self.version, f"version {change.version} after {self.version}"
        self.version = change.version
        self.accounts.update(change.accounts)
        for number, record in change.numbers.items():
            _set(self.numbers, number, record)
        for lock_id, lock in change.locks.items():
            if lock is None:
                self.locks.remove(lock_id)
            else:
                self.locks.put(lock)
        if not change.prices_change:
            return ()
        self._past.changed_version = change.version
        self._note_change(change.version, change.at_us)
        for provider_id, provider in change.providers.items():
            _set(self.providers, provider_id, provider)
            self._past.providers.put(provider_id, change.version, provider)
        for account_id, discounts in change.discounts.items():
            terms = _terms_of(discounts)
            _set(self._discounts, account_id, terms or None)
            self._past_discounts.put(account_id, change.version, terms)
        retired: list[object] = []
        if change.lists or change.bands:
            assert tables is not None, "the tables of a change of lists or bands are made before it"
            retired += self._swap(change, tables)
        for plan_id, plan in change.plans.items():
            _set(self.plans, plan_id, None if plan is None else self._plan_tables(plan))
            self._past.plans.put(plan_id, change.version, plan)
        retired += self.offers.forget()
        return retired

    def _swap(self, change: Change, tables: Tables) -> list[object]:
        version = change.version
        self._bands = tables.hours
        for band_id, band in change.bands.items():
            self._past_bands.put(band_id, version, band)
        retired: list[object] = []
        for list_id, former in tables.formers.items():
            self._past.table(self.price_lists[list_id]).remember(version, {list_id: former})
        if tables.wholesale is not None:
            retired.append(self.wholesale.index)
            self.wholesale.swap(tables.wholesale, version, {})
        for list_id, index in tables.retail.items():
            table = self._past.retail_table(list_id)
            retired.append(table.index)
            table.swap(index, version, {})
        for list_id, edition in change.lists.items():
            _set(self._editions, list_id, edition)
            _set(self.price_lists, list_id, None if edition is None else edition.price_list)
            self._past.lists.put(list_id, version, None if edition is None else edition.price_list)
            if edition is not None and edition.price_list.kind == "retail":
                self.retail[list_id] = self._past.retail_table(list_id)
            else:
                self.retail.pop(list_id, None)
        self._terms.update(tables.terms)
        self._used_bands.update(tables.used)
        for list_id in change.lists.keys() - self.price_lists.keys():
            self._terms.pop(list_id, None)
            self._used_bands.pop(list_id, None)
        return retired

    def _note_change(self, version: int, at_us: int) -> None:
        # A publisher's clock may go back; versions do not.
        latest_us = self._changed[-1][0] if self._changed else 0
        self._changed.append((max(at_us, latest_us), version))

    def forget(self, kind: str, name: str, version: int) -> None:
        """What a thing was from a version on will not be asked for any more. `kind` as `Kept` names it."""
        if kind == "lists":
            ended = self._past.lists.forget(name, version)
            if ended is not None:
                self.wholesale.forget(name, ended)
                if (table := self._past.retail.get(name)) is not None:
                    table.forget(name, ended)
        elif kind == "providers":
            self._past.providers.forget(name, version)
        elif kind == "plans":
            self._past.plans.forget(name, version)
        elif kind == "bands":
            self._past_bands.forget(name, version)
        elif kind == "discounts":
            self._past_discounts.forget(name, version)


def _latest(entries: Iterable[Entry]) -> dict[str, Any]:
    """What is there after all entries, which come in order of versions."""
    found = {entry.name: entry.value for entry in entries}
    return {name: value for name, value in found.items() if value is not None}


def _as(kind: type[T], value: object) -> T | None:
    assert value is None or isinstance(value, kind)
    return value


def _after(there: Mapping[str, T], change: Mapping[str, T | None]) -> Mapping[str, T]:
    if not change:
        return there
    found = dict(there)
    for name, value in change.items():
        _set(found, name, value)
    return found


def _set(there: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        there.pop(name, None)
    else:
        there[name] = value


def _terms_of(discounts: Iterable[Discount]) -> tuple[DiscountTerms, ...]:
    return tuple([DiscountTerms(discount) for discount in discounts])
