"""A reference folder seen by somebody who makes up calls: who may call where, and what it costs at most.

It is no rating engine: of a price it knows only bounds, wide enough that a call planned within them is allowed and paid
for whatever band, tier or discount holds.
"""

import csv
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Generic, NamedTuple, TypeVar

from connectors.sample.tariffs import TOLL_FREE
from schemas.money import UNIT_MICROS, to_micros

Item = TypeVar("Item")

_GREATEST_DISCOUNT = 15  # per cent; of those that the operator gives
_KINDS = {"7495": "local", "7498": "local", "7499": "local", "7812": "local", "79": "mobile"}
_KINDS |= {"77": "abroad", TOLL_FREE: "toll_free", "7": "intercity"}
_TAIL = 4  # digits of a number that are drawn anew for each call


class Weighted(Generic[Item]):
    """Things to draw from, some more often than others."""

    def __init__(self, items: Sequence[Item], weights: Iterable[float]) -> None:
        self.items = items
        self._sums = list(accumulate(weights))

    def draw(self, rng: Random) -> Item:
        """One of the items; raises IndexError when there are none."""
        return self.items[bisect(self._sums, rng.random() * self._sums[-1])]


def zipf(items: Sequence[Item], power: float = 1.0) -> Weighted[Item]:
    """The first item is drawn most often, the n-th about n^power times less."""
    return Weighted(items, ((rank + 1) ** -power for rank in range(len(items))))


class Retail(NamedTuple):
    """Bounds of what a plan takes for calls to a place: micro-units, the greatest of all rows that could apply."""

    minute: int
    least_minute: int
    fee: int
    min_charge: int
    step: int

    def at_most(self, seconds: int) -> int:
        """Micro-units that a call of so many seconds can cost at most; a rouble covers any rounding."""
        return max(self.min_charge, self.fee + self.minute * (seconds + self.step) // 60) + UNIT_MICROS


class Place(NamedTuple):
    """Where to call: the stem of numbers that all cost the same, and the providers with a price, cheapest first."""

    stem: str
    kind: str
    retail: Retail
    providers: tuple[str, ...]

    def number(self, rng: Random) -> str:
        """A number there."""
        return f"{self.stem}{rng.randrange(10**_TAIL):0{_TAIL}d}"


class Plan:
    """What an account of a tariff plan can dial: places that work by kind, and those that a rule forbids by reason."""

    def __init__(self) -> None:
        self.places: dict[str, list[Place]] = defaultdict(list)
        self.refused: dict[str, list[str]] = defaultdict(list)  # reason → stems
        self.toll_free: Retail | None = None  # of calls to the client's own 8-800 number
        self.recording: Retail | None = None


class Purse:
    """An account while the traffic is made up: `available` is never more than what an engine would have for it."""

    __slots__ = (
        "account_id",
        "at_once",
        "available",
        "critical_in",
        "locked",
        "numbers",
        "place",
        "plan_id",
        "postpaid",
        "running",
        "status",
    )

    def __init__(self, row: Mapping[str, str]) -> None:
        self.account_id = row["account_id"]
        self.plan_id = row["tariff_plan_id"]
        self.place = row["place"]
        self.postpaid = row["payment_mode"] == "postpaid"
        self.status = row["status"]
        self.at_once = int(row["max_concurrent_calls"] or 0)
        balance = to_micros(row["balance"])
        self.available = balance + to_micros(row["credit_limit"] or "0")
        self.critical_in = balance - to_micros(row["critical_balance"]) if row["critical_balance"] else None
        self.running = 0
        self.numbers: list[str] = []
        self.locked: tuple[str, ...] = ()

    @property
    def has_line(self) -> bool:
        """Whether one more call at once is allowed."""
        return not self.at_once or self.running < self.at_once


class _Prices(NamedTuple):
    """Rows of the lists in force on the day, by list and then by prefix; only those for one service."""

    wholesale: dict[str, dict[str, list[dict[str, str]]]]  # by provider
    retail: dict[str, dict[str, list[dict[str, str]]]]  # by list


class Catalogue:
    """Everything of a reference folder that a maker of calls asks for, on a day written YYYY-MM-DD."""

    def __init__(self, folder: Path, day: str, rng: Random) -> None:
        self._folder = folder
        self.purses = {row["account_id"]: Purse(row) for row in self._read("accounts.csv")}
        self.idle_numbers: list[str] = []
        for row in self._read("numbers.csv"):
            if row["status"] != "in_use":
                self.idle_numbers.append(row["number"])
            elif row["account_id"] in self.purses:
                self.purses[row["account_id"]].numbers.append(row["number"])
        self._lists = {r["price_list_id"]: r for r in self._read("price_lists.csv") if _in_force(r, day)}
        self.provider_ids = [row["provider_id"] for row in self._read("providers.csv")]
        self._locks = list(self._read("locks.csv"))
        for lock in self._locks:
            if lock["account_id"] in self.purses:
                self.purses[lock["account_id"]].locked += (lock["digits"],)
        self.plans = self._make_plans(day, rng)

    def _read(self, name: str) -> Iterator[dict[str, str]]:
        with (self._folder / name).open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    def _make_plans(self, day: str, rng: Random) -> dict[str, Plan]:
        by_service = self._prices(day)
        calls = by_service["outgoing"]
        stems = self._stems(calls, rng)
        offers = [(stem, self._providers(calls.wholesale, stem), self._is_locked(stem)) for stem in stems]
        plans: dict[str, Plan] = defaultdict(Plan)
        lists: dict[str, list[str]] = defaultdict(list)
        careful = set()
        for row in self._read("tariff_plans.csv"):
            lists[row["tariff_plan_id"]].append(row["price_list_id"])
            if row["forbid_loss"] == "yes":
                careful.add(row["tariff_plan_id"])
        for plan_id, list_ids in lists.items():
            plan = plans[plan_id]
            for stem, costs, locked in offers:
                retail = self._bounds(calls, list_ids, stem)
                self._sort_in(plan, stem, retail, costs, locked=locked, careful=plan_id in careful)
            plan.toll_free = self._bounds(by_service["incoming"], list_ids, TOLL_FREE)
            plan.recording = self._bounds(by_service["calls_rec"], list_ids, "")
        return dict(plans)

    def _prices(self, day: str) -> Mapping[str, _Prices]:
        found: dict[str, _Prices] = defaultdict(lambda: _Prices({}, {}))
        for row in self._read("prices.csv"):
            price_list = self._lists.get(row["price_list_id"])
            if price_list is None or not _in_force(row, day):
                continue
            prices = found[row["service"]]
            if price_list["kind"] == "wholesale":
                table = prices.wholesale.setdefault(price_list["provider_id"], {})
            else:
                table = prices.retail.setdefault(row["price_list_id"], {})
            table.setdefault(row["prefix"], []).append(row)
        return found

    def _stems(self, prices: _Prices, rng: Random) -> list[str]:
        """One stem for every prefix of retail, every country and every lock, and for some of the deeper prefixes."""
        shallow = {prefix: None for table in prices.retail.values() for prefix in table}
        deep: dict[str, None] = {}
        for table in prices.wholesale.values():
            for prefix in table:
                (shallow if len(prefix) <= 3 else deep)[prefix] = None
        shallow |= {lock["digits"]: None for lock in self._locks if lock["kind"] == "prefix"}
        prefixes = list(shallow) + rng.sample(list(deep), min(1500, len(deep)))
        rng.shuffle(prefixes)
        stems: dict[str, None] = {}
        for prefix in prefixes:
            # All numbers of Russia and North America have 11 digits; 12 are usual elsewhere.
            length = (11 if prefix[0] in "17" else 12) - _TAIL
            if len(prefix) <= length:
                # No area or exchange begins with 0 or 1 in most countries.
                filler = f"{rng.randrange(2, 10)}{rng.randrange(10**6):06d}"
                stems[f"{prefix}{filler}"[:length]] = None
        return list(stems)

    def _is_locked(self, stem: str) -> bool:
        return any(
            stem.startswith(lock["digits"])
            for lock in self._locks
            if not lock["account_id"] and not lock["provider_id"]
        )

    def _providers(self, tables: Mapping[str, dict[str, list[dict[str, str]]]], stem: str) -> list[tuple[int, str]]:
        """Cost of the first minute and provider, cheapest first, without those that a lock on everyone takes out."""
        taken = {
            lock["provider_id"]
            for lock in self._locks
            if not lock["account_id"] and lock["provider_id"] and stem.startswith(lock["digits"])
        }
        costs = []
        for provider_id, table in tables.items():
            rows = next((table[stem[:n]] for n in range(len(stem), -1, -1) if stem[:n] in table), None)
            if rows is not None and provider_id not in taken:
                cost = max(to_micros(r["price"]) * 60 // int(r["per_seconds"]) for r in rows)
                costs.append((cost, provider_id))
        return sorted(costs)

    def _bounds(self, prices: _Prices, list_ids: Sequence[str], number: str) -> Retail | None:
        """Of all rows of a plan that begin the number; None if the lists for all providers have none."""
        rows: list[dict[str, str]] = []
        for list_id in list_ids:
            table = prices.retail.get(list_id, {})
            rows += [row for n in range(len(number) + 1) if number[:n] in table for row in table[number[:n]]]
        general = [r for r in rows if not self._lists[r["price_list_id"]]["provider_id"]]
        if not any(not (r["band_id"] or r["place"] or r["incoming_service"]) for r in general):
            return None
        minutes = [-(-to_micros(r["price"]) * 60 // int(r["per_seconds"])) for r in rows]
        return Retail(
            minute=max(minutes),
            least_minute=min(minutes) * (100 - _GREATEST_DISCOUNT) // 100,
            fee=max(to_micros(r["connect_fee"] or "0") for r in rows),
            min_charge=max(to_micros(r["min_charge"] or "0") for r in rows),
            step=max(int(r["step_seconds"]) for r in rows),
        )

    @staticmethod
    def _sort_in(
        plan: Plan, stem: str, retail: Retail | None, costs: list[tuple[int, str]], *, locked: bool, careful: bool
    ) -> None:
        if locked:
            plan.refused["lock"].append(stem)
        elif not costs:
            if retail is not None:
                plan.refused["no_wholesale_price"].append(stem)
        elif retail is None:
            plan.refused["no_retail_price"].append(stem)
        elif careful and retail.least_minute < costs[0][0]:
            # Between the bounds nobody but the engine can say; those numbers are left alone.
            if retail.fee + retail.minute < costs[0][0]:
                plan.refused["no_margin"].append(stem)
        else:
            kind = next((_KINDS[stem[:n]] for n in range(4, 0, -1) if stem[:n] in _KINDS), "abroad")
            plan.places[kind].append(Place(stem, kind, retail, tuple(provider for _, provider in costs)))


def _in_force(row: Mapping[str, str], day: str) -> bool:
    # Dates are texts that sort by time; a moment with its hour sorts right too, but for its first day.
    return row["valid_from"] <= day and (not row["valid_to"] or day < row["valid_to"])
