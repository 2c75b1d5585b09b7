"""Changes of the reference data: what comes into force together, and what is kept of what was in force before."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.reference import Account, Band, Discount, Lock, Number, PriceListEdition, Provider, TariffPlan


class Change(NamedTuple):
    """What comes into force together, by id; None: gone. Accounts are never gone; no discounts are an empty tuple."""

    version: int
    at_us: int
    accounts: Mapping[str, Account] = {}
    locks: Mapping[str, Lock | None] = {}
    numbers: Mapping[str, Number | None] = {}
    providers: Mapping[str, Provider | None] = {}
    plans: Mapping[str, TariffPlan | None] = {}
    bands: Mapping[str, Band | None] = {}
    discounts: Mapping[str, tuple[Discount, ...]] = {}
    lists: Mapping[str, PriceListEdition | None] = {}

    @property
    def prices_change(self) -> bool:
        """Whether anything changes that a call is priced by."""
        return bool(self.providers or self.plans or self.bands or self.discounts or self.lists)


class Entry(NamedTuple):
    """One thing from a version on (None: gone), as it is read from where earlier versions are kept."""

    version: int
    at_us: int
    name: str
    value: Provider | TariffPlan | Band | PriceListEdition | tuple[Discount, ...] | None


class Kept(NamedTuple):
    """All that is kept of what calls are priced by, each kind in order of versions."""

    providers: Sequence[Entry] = ()
    plans: Sequence[Entry] = ()
    bands: Sequence[Entry] = ()
    discounts: Sequence[Entry] = ()
    lists: Sequence[Entry] = ()
