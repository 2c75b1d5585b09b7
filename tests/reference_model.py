"""Reference data as plain records, and what may happen to them: the model that the tests of changes work with.

Numbers are of two digits and up to seven places, so that prefixes nest on both sides of an index's head of four.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from connectors.reference.chunks import ChunkStore, chunks, packed
from engine.changes import Change, Entry, Kept
from engine.charges import charge
from engine.prices import Context, Price
from engine.reference import Reference
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PlanList,
    PriceList,
    PriceListEdition,
    PriceRow,
    Provider,
    TariffPlan,
)
from schemas.times import HOUR_US, to_text, to_us

NOON = to_us("2026-11-24T12:00:00.000Z")
LISTS = ("WA", "WA2", "WB", "WC", "R1", "R2")
CONTEXTS = (Context("outgoing", None, None), Context("forwarding", "msk", None))


@dataclass
class Records:
    """Everything there is, by id; prices by list."""

    accounts: dict[str, Account] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    plans: dict[str, TariffPlan] = field(default_factory=dict)
    price_lists: dict[str, PriceList] = field(default_factory=dict)
    rows: dict[str, list[PriceRow]] = field(default_factory=dict)
    bands: dict[str, Band] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    discounts: dict[str, list[Discount]] = field(default_factory=dict)

    def copy(self) -> "Records":
        return Records(**{name: dict(value) for name, value in vars(self).items()})

    def reference(self, version: int) -> Reference:
        """As a folder of these records would be read."""
        return Reference(
            accounts=self.accounts.values(),
            providers=self.providers.values(),
            plans=self.plans.values(),
            price_lists=self.price_lists.values(),
            prices=[row for rows in self.rows.values() for row in rows],
            bands=self.bands.values(),
            locks=self.locks.values(),
            numbers=self.numbers.values(),
            discounts=[discount for discounts in self.discounts.values() for discount in discounts],
            version=version,
        )


class Office:
    """Changes the records at random, in ways that fit together."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.records = Records()
        for provider_id in "ABC":
            self.records.providers[provider_id] = self._provider(provider_id)
        for band_id in ("day", "night"):
            self.records.bands[band_id] = self._band(band_id)
        for list_id in LISTS:
            self.put_list(list_id)
        self.records.plans["one"] = TariffPlan("one", (PlanList("R1", 1),), forbid_loss=False)
        self.records.plans["two"] = TariffPlan("two", (PlanList("R1", 2), PlanList("R2", 1)), forbid_loss=False)
        for account_id in ("a", "b"):
            self.records.accounts[account_id] = account(account_id, "one")

    def change(self) -> None:
        """One to three things change together."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self.random.choice(
                (
                    self.edit_prices,
                    self.edit_prices,
                    self.edit_prices,
                    self.change_list,
                    self.remove_or_bring_list,
                    self.change_plan,
                    self.change_band,
                    self.change_provider,
                    self.change_discount,
                    self.change_lock,
                    self.change_account,
                    self.change_number,
                )
            )()

    def put_list(self, list_id: str) -> None:
        random = self.random
        # This one changes sides now and then; no plan names it.
        wholesale = list_id.startswith("W") and (list_id != "WC" or random.random() < 0.7)
        self.records.price_lists[list_id] = PriceList(
            list_id,
            list_id,
            "wholesale" if wholesale else "retail",
            list_id[1] if list_id.startswith("W") else random.choice((None, None, "A")),
            "RUB",
            random.choice(("up", "half_up", "down")),
            random.choice((2, 4, 6)),
            random.choice((None, to_text(NOON - HOUR_US))),
            random.choice((None, None, to_text(NOON + HOUR_US))),
        )
        self.records.rows[list_id] = self._rows(list_id, random.randrange(0, 25))

    def edit_prices(self) -> None:
        """Some prices of a list come, go or change."""
        list_id = self.random.choice(sorted(self.records.rows))
        kept = [row for row in self.records.rows[list_id] if self.random.random() < 0.8]
        there = {conditions(row) for row in kept}
        new = [row for row in self._rows(list_id, self.random.randrange(0, 5)) if conditions(row) not in there]
        self.records.rows[list_id] = whole(kept, self.records.rows[list_id]) + new

    def change_list(self) -> None:
        """The terms of a list: rounding, validity; its prices stay."""
        list_id = self.random.choice(sorted(self.records.rows))
        rows = self.records.rows[list_id]
        self.put_list(list_id)
        self.records.rows[list_id] = rows

    def remove_or_bring_list(self) -> None:
        """A list goes or comes, but not one that a plan needs."""
        needed = {entry.price_list_id for plan in self.records.plans.values() for entry in plan.lists}
        list_id = self.random.choice([name for name in LISTS if name not in needed])
        if list_id in self.records.rows:
            del self.records.rows[list_id], self.records.price_lists[list_id]
        else:
            if list_id.startswith("W"):
                self.records.providers.setdefault(list_id[1], self._provider(list_id[1]))
            self.put_list(list_id)

    def change_plan(self) -> None:
        plan_id = self.random.choice(("one", "two", "three"))
        if plan_id == "three" and plan_id in self.records.plans:
            del self.records.plans[plan_id]
            return
        there = [name for name in ("R1", "R2") if name in self.records.rows]
        lists = tuple(PlanList(name, self.random.randrange(3)) for name in there if self.random.random() < 0.6)
        self.records.plans[plan_id] = TariffPlan(plan_id, lists, forbid_loss=self.random.random() < 0.5)

    def change_band(self) -> None:
        band_id = self.random.choice(("day", "night"))
        self.records.bands[band_id] = self._band(band_id)

    def change_provider(self) -> None:
        provider_id = self.random.choice("ABCD")
        used = any(price_list.provider_id == provider_id for price_list in self.records.price_lists.values())
        if provider_id in self.records.providers and not used:
            del self.records.providers[provider_id]
        else:
            self.records.providers[provider_id] = self._provider(provider_id)

    def change_discount(self) -> None:
        account_id = self.random.choice(("a", "b"))
        discounts = [
            Discount(account_id, service, self.random.randrange(1, 90) * 1_000_000, None, None)
            for service in ("outgoing", None)
            if self.random.random() < 0.5
        ]
        self.records.discounts.pop(account_id, None)
        if discounts:
            self.records.discounts[account_id] = discounts

    def change_lock(self) -> None:
        lock_id = f"L/{self.random.randrange(3)}"
        if self.records.locks.pop(lock_id, None) is None:
            digits = "".join(self.random.choice("12") for _ in range(self.random.randrange(1, 5)))
            self.records.locks[lock_id] = Lock(lock_id, "prefix", digits, None, None, "i", "why", to_text(NOON))

    def change_account(self) -> None:
        account_id = self.random.choice(("a", "b", "c/1"))
        self.records.accounts[account_id] = account(account_id, self.random.choice(("one", "two")))

    def change_number(self) -> None:
        number = self.random.choice(("74951110001", "74951110002"))
        if self.records.numbers.pop(number, None) is None:
            self.records.numbers[number] = Number(
                number, "free", None, None, None, None, fmtn=False, joined_on=None, archived_on=None, saleable="no"
            )

    def _provider(self, provider_id: str) -> Provider:
        return Provider(provider_id, provider_id, self.random.randrange(3), None, pdgi=False, own=False)

    def _band(self, band_id: str) -> Band:
        start = self.random.choice((8, 12, 15, 20)) * 60
        return Band(band_id, (), start, (start + 360) % 1440, (), "Europe/Moscow", self.random.randrange(3))

    def _rows(self, list_id: str, count: int) -> list[PriceRow]:
        random = self.random
        found: dict[tuple[object, ...], list[PriceRow]] = {}
        for _ in range(count):
            prefix = "".join(random.choice("12") for _ in range(random.choice((0, 1, 2, 3, 4, 5, 5, 6, 7))))
            service, place = random.choice((None, None, "outgoing")), random.choice((None, None, "msk"))
            until = random.choice((None, None, None, to_text(NOON + 60_000_000)))
            price = random.randrange(1, 500) * 10_000
            bands = random.choice(((None,), (None,), (None,), (None, "day"), ("day",), ("night", "day")))
            rows = [
                PriceRow(
                    list_id, prefix, service, place, None, band_id, second, 0, price + second + 7 * place_of_band,
                    60, 1, None, None, None, until,
                )
                for place_of_band, band_id in enumerate(bands)
                for second in random.choice(((0,), (0,), (0, 30)))
            ]  # fmt: skip
            found[conditions(rows[0])] = rows
        return [row for rows in found.values() for row in rows]


def conditions(row: PriceRow) -> tuple[object, ...]:
    return (row.prefix, row.service, row.place, row.incoming_service, row.valid_from, row.valid_to)


def whole(kept: Iterable[PriceRow], of: Iterable[PriceRow]) -> list[PriceRow]:
    """Prices of which a row was kept, with all their rows."""
    names = {conditions(row) for row in kept}
    return [row for row in of if conditions(row) in names]


def account(account_id: str, plan_id: str) -> Account:
    return Account(account_id, "c", plan_id, "prepaid", "RUB", 10**9, 0, None, "active", None, None)


# -- changes and what is kept of them --------------------------------------------------------------------------------


class Archive:
    """Turns successive records into changes, and keeps what a compacted topic would."""

    def __init__(self) -> None:
        self.store = ChunkStore()
        self.version = 0
        self.kept: dict[str, list[Entry]] = {kind: [] for kind in Kept._fields}
        self._before: dict[str, dict[str, Any]] = {}

    def change(self, records: Records) -> Change:
        """What comes into force with these records."""
        self.version += 1
        at_us = NOON + self.version * HOUR_US
        now: dict[str, dict[str, Any]] = {
            "accounts": dict(records.accounts),
            "locks": dict(records.locks),
            "numbers": dict(records.numbers),
            "providers": dict(records.providers),
            "plans": dict(records.plans),
            "bands": dict(records.bands),
            "discounts": {name: tuple(discounts) for name, discounts in records.discounts.items()},
            "lists": {
                name: self.edition(price_list, records.rows[name]) for name, price_list in records.price_lists.items()
            },
        }
        changed: dict[str, dict[str, Any]] = {}
        for kind, there in now.items():
            before = self._before.get(kind, {})
            gone: dict[str, Any] = dict.fromkeys(before.keys() - there.keys(), () if kind == "discounts" else None)
            changed[kind] = {**gone, **{name: value for name, value in there.items() if before.get(name) != value}}
            if kind in self.kept:
                self.kept[kind] += [Entry(self.version, at_us, name, value) for name, value in changed[kind].items()]
        self._before = now
        return Change(self.version, at_us, **changed)

    def edition(self, price_list: PriceList, rows: Iterable[PriceRow]) -> PriceListEdition:
        refs = []
        for ref, value in chunks(packed(rows)):
            self.store.put(ref.digest, value)
            refs.append(ref)
        return PriceListEdition(price_list, tuple(refs))

    def restored(self, records: Records) -> Reference:
        """As a worker that starts now would have it."""
        return Reference.restored(
            version=self.version,
            accounts=records.accounts.values(),
            locks=records.locks.values(),
            numbers=records.numbers.values(),
            kept=Kept(**{kind: tuple(entries) for kind, entries in self.kept.items()}),
            chunks=self.store,
        )


def put_in_force(reference: Reference, change: Change, store: ChunkStore) -> None:
    reference.check(change)
    needed = change.lists or change.bands
    tables = reference.builder(change.lists, change.bands, store).build() if needed else None
    reference.apply(change, tables)


# -- what can be asked ------------------------------------------------------------------------------------------------


def numbers(random: Random, count: int) -> list[str]:
    return ["".join(random.choice("12") for _ in range(random.randrange(1, 9))) for _ in range(count)]


def answers(reference: Reference, asked: Iterable[str], then: Reference, version: int | None = None) -> list[object]:
    """What can be asked of prices, plans and discounts, as of a version if one is told; `then` says what to ask for."""
    as_of: Mapping[str, Any] = {} if version is None else {"version": version}
    offers = reference.offers
    found: list[object] = []
    for number in asked:
        for context in CONTEXTS:
            for at_us in (NOON, NOON + 7 * HOUR_US):
                for provider_id in then.providers:
                    found.append(cost(offers.wholesale(number, context, at_us, provider_id, **as_of), at_us))
                    for plan_id in then.plans:
                        sold = offers.retail(number, plan_id, context, at_us, provider_id, **as_of)
                        found.append(cost(sold, at_us))
                found += [
                    cost(offers.retail(number, plan, context, at_us, None, **as_of), at_us) for plan in then.plans
                ]
    for account_id in ("a", "b"):
        for service in ("outgoing", "forwarding"):
            discount = reference.discount(account_id, service, NOON, **as_of)
            found.append(None if discount is None else discount.percent)
    found += [reference.provider(name, **as_of) for name in "ABCD"]
    return found


def cost(price: Price | None, at_us: int) -> object:
    """A price as a bill shows it, over a minute and a half."""
    if price is None:
        return None
    return price.terms, price.scope, charge(price, answered_us=at_us, setup_us=at_us, seconds=90)


def present(reference: Reference, asked: Iterable[str], contexts: Iterable[Context] = CONTEXTS) -> list[object]:
    """What new calls are told."""
    found: list[object] = [reference.version, reference.accounts, reference.providers, reference.numbers]
    found.append(sorted(reference.plans))
    for number in asked:
        found.append(reference.locks.covering(number, "a"))
        for context in contexts:
            for plan_id in (None, *sorted(reference.plans)):
                offer = reference.offers.find(number, plan_id, context, NOON)
                found.append((offer.wire_routes, offer.retail, offer.checks, offer.since_us, offer.until_us))
    return found
