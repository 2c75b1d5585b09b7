"""What was in force under earlier versions of the reference data, as far as calls are still priced by it.

A call is charged by the version that its decision named (the contract's price version), however the plans, lists,
bands and discounts have changed since. What is kept is let go by `forget`, when the last CDR of its time has come.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from engine.prices import Price, PriceTable
from schemas.reference import PriceList, Provider, TariffPlan

T = TypeVar("T")


class History(Generic[T]):
    """One thing through the versions; None where it was not there."""

    __slots__ = ("_values", "versions")

    def __init__(self) -> None:
        self.versions: list[int] = []
        self._values: list[T | None] = []

    def at(self, version: int) -> T | None:
        """What it was under a version; None too before the first one that is kept."""
        place = bisect_right(self.versions, version)
        return self._values[place - 1] if place else None

    def put(self, version: int, value: T | None) -> None:
        """What it is from a version on; versions are told in their order."""
        assert not self.versions or self.versions[-1] <= version, "a version older than the latest"
        if self.versions and self.versions[-1] == version:
            self._values[-1] = value
        else:
            self.versions.append(version)
            self._values.append(value)

    def forget(self, version: int) -> int | None:
        """Lets go of what it was from this version on; the version that ended it, None if none did."""
        place = bisect_right(self.versions, version) - 1
        if place < 0 or self.versions[place] != version:
            return None
        del self.versions[place], self._values[place]
        return self.versions[place] if place < len(self.versions) else None


class Histories(Generic[T]):
    """All things of one kind through the versions, by id."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, History[T]] = {}

    def at(self, name: str, version: int) -> T | None:
        """What it was under a version; None where it was not there."""
        history = self._by_id.get(name)
        return None if history is None else history.at(version)

    def put(self, name: str, version: int, value: T | None) -> None:
        """What it is from a version on; None: gone."""
        history = self._by_id.get(name)
        if history is None:
            history = self._by_id[name] = History()
        history.put(version, value)

    def forget(self, name: str, version: int) -> int | None:
        """Lets go of what it was from this version on; the version that ended it, None if none did."""
        history = self._by_id.get(name)
        if history is None:
            return None
        ended = history.forget(version)
        if not history.versions:
            del self._by_id[name]
        return ended

    def items(self) -> Iterator[tuple[str, History[T]]]:
        """Each with its id, in the order in which they came."""
        yield from self._by_id.items()

    def __len__(self) -> int:
        """How many values are kept, those in force among them."""
        return sum(len(history.versions) for history in self._by_id.values())


class Past:
    """Plans, lists and providers through the versions, and the tables that know what their lists had before."""

    def __init__(self, wholesale: PriceTable) -> None:
        self.changed_version = 0
        """The latest version that changed what a call is priced by: what is asked as of it or later is in force."""
        self.plans: Histories[TariffPlan] = Histories()
        self.lists: Histories[PriceList] = Histories()
        self.providers: Histories[Provider] = Histories()
        self.retail: dict[str, PriceTable] = {}
        """Tables of all retail lists there ever were."""
        self._wholesale = wholesale

    def retail_table(self, list_id: str) -> PriceTable:
        """The table of a retail list, an empty one if there never was one."""
        table = self.retail.get(list_id)
        if table is None:
            table = self.retail[list_id] = PriceTable({})
        return table

    def table(self, price_list: PriceList) -> PriceTable:
        """The table that a list's prices stand in."""
        return self._wholesale if price_list.kind == "wholesale" else self.retail_table(price_list.price_list_id)

    def sold(self, plan_id: str, number: str, version: int) -> Iterator[tuple[int, tuple[Price, ...]]]:
        """The candidates of each of a plan's lists under a version, with the list's priority in it."""
        plan = self.plans.at(plan_id, version)
        if plan is None:
            return
        for entry in plan.lists:
            # A plan named lists of its own time only.
            if (table := self.retail.get(entry.price_list_id)) is not None:
                yield entry.priority, table.candidates(number, version)

    def bought(self, provider_id: str, number: str, version: int) -> Iterable[Price]:
        """A provider's candidates under a version, in order of preference."""
        lists = {list_id for list_id, history in self.lists.items() if _carries(history.at(version), provider_id)}
        return self._wholesale.candidates(number, version, lists)


def _carries(price_list: PriceList | None, provider_id: str) -> bool:
    return price_list is not None and price_list.kind == "wholesale" and price_list.provider_id == provider_id
