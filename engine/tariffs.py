"""Tariffs: what a call of so many seconds costs, and how many seconds some money buys (rules §2, §3).

One walk along the call's steps serves both: the promise and the charge can't differ. Sums are integer numerators over
the tariff's own denominator, so that nothing is rounded before the end; runs of equal steps are taken at once.
A tariff knows nothing of lists, accounts or numbers.
"""

from collections.abc import Iterator, Sequence
from math import lcm
from typing import NamedTuple

from engine.bands import BandHours, Schedule
from schemas.reference import PriceRow
from schemas.times import SECOND_US

NO_END = 2**62


class Rate(NamedTuple):
    """One row's terms: a tier of one band. Equal rates of many prefixes share one tariff."""

    band_id: str | None
    from_second: int
    connect_fee_micros: int
    price_micros: int
    per_seconds: int
    step_seconds: int
    min_charge_micros: int | None
    max_charge_micros: int | None
    attempt_fee_micros: int


def rate_of(row: PriceRow) -> Rate:
    """The terms of a price row."""
    return Rate(
        row.band_id,
        row.from_second,
        row.connect_fee_micros,
        row.price_micros,
        row.per_seconds,
        row.step_seconds,
        row.min_charge_micros,
        row.max_charge_micros,
        row.attempt_fee_micros,
    )


class Tier:
    """A rate within its variant: from `from_second` of the call until `until_second`."""

    __slots__ = ("from_second", "per_seconds", "price_micros", "step_cost", "step_seconds", "until_second")

    def __init__(self, rate: Rate, until_second: int, denominator: int) -> None:
        self.from_second = rate.from_second
        self.until_second = until_second
        self.price_micros = rate.price_micros
        self.per_seconds = rate.per_seconds
        self.step_seconds = rate.step_seconds
        self.step_cost = rate.price_micros * rate.step_seconds * (denominator // rate.per_seconds)
        """Numerator of one whole step."""


class Variant:
    """The tiers and fees of one band (`band_id` None: of the time that no band holds)."""

    __slots__ = (
        "attempt_fee_micros",
        "band_id",
        "connect_fee_micros",
        "limits",
        "maximum_micros",
        "minimum_micros",
        "tiers",
    )

    def __init__(self, rates: Sequence[Rate], denominator: int) -> None:
        ends = [*(rate.from_second for rate in rates[1:]), NO_END]
        first = rates[0]
        self.band_id = first.band_id
        self.connect_fee_micros = first.connect_fee_micros
        self.minimum_micros = first.min_charge_micros
        self.maximum_micros = first.max_charge_micros
        self.limits = self.minimum_micros is not None or self.maximum_micros is not None
        self.attempt_fee_micros = first.attempt_fee_micros
        self.tiers = tuple(Tier(rate, end, denominator) for rate, end in zip(rates, ends, strict=True))

    def tier_at(self, second: int) -> Tier:
        """The tier in force at a second of the call."""
        for tier in self.tiers:
            if second < tier.until_second:
                return tier
        raise AssertionError("the last tier has no end")


class Run(NamedTuple):
    """Equal steps in a row: the first begins at `second`."""

    variant: Variant
    tier: Tier
    second: int
    steps: int


class Tariff:
    """The rates of one price, compiled. Immutable."""

    __slots__ = (
        "_schedule",
        "_variants",
        "banded",
        "denominator",
        "first_minute_total",
        "only_tier",
        "only_variant",
        "rates",
    )

    def __init__(self, rates: Sequence[Rate], bands: dict[str, BandHours]) -> None:
        """`rates` in any order; each band's tiers have different `from_second`, one of them 0.

        KeyError: no such band.
        """
        self.rates = tuple(sorted(rates, key=lambda rate: (rate.band_id or "", rate.from_second)))
        self.denominator = lcm(*(rate.per_seconds for rate in self.rates))
        assert all(rate.per_seconds > 0 and rate.step_seconds > 0 for rate in self.rates)
        by_band: dict[str | None, list[Rate]] = {}
        for rate in self.rates:
            by_band.setdefault(rate.band_id, []).append(rate)
        base = by_band.pop(None, None)
        hours = sorted((bands[name] for name in by_band if name), key=lambda band: (-band.weight, band.band_id))
        variants = [Variant(by_band[band.band_id], self.denominator) for band in hours]
        self._schedule = Schedule(hours) if hours else None
        self.banded = bool(hours)
        """Whether the price depends on the time of day."""
        if base:
            variants.append(Variant(base, self.denominator))
        self._variants = tuple(variants)
        # Most prices have one tier at all hours: what such a call costs needs no walk.
        self.only_variant = variants[0] if not hours else None
        self.only_tier = variants[0].tiers[0] if not hours and len(variants[0].tiers) == 1 else None
        self.first_minute_total = None if hours or not self.complete else self.total(0, 0, 60)
        """Numerator of a 60-second call, where it is the same at all hours."""

    @property
    def complete(self) -> bool:
        """Whether each band has a tier from second 0."""
        return all(variant.tiers[0].from_second == 0 for variant in self._variants)

    def variant_at(self, us: int) -> tuple[Variant | None, int]:
        """The variant in force at a moment and until when; None where only named bands exist and none holds."""
        if self._schedule is None:
            assert self.only_variant is not None
            return self.only_variant, NO_END
        place, until_us = self._schedule.at(us)
        return (self._variants[place] if place < len(self._variants) else None), until_us

    def first_variant(self, answered_us: int, setup_us: int) -> Variant:
        """The variant of the call's first step: in force at the answer, else at set-up (rules §2.2)."""
        if self.only_variant is not None:
            return self.only_variant
        variant = self.variant_at(answered_us)[0] or self.variant_at(setup_us)[0]
        assert variant is not None, "a price that did not apply at set-up"
        return variant

    def runs(self, answered_us: int, setup_us: int, seconds: int) -> Iterator[Run]:
        """The steps that cover a call of `seconds`, as runs of equal steps."""
        second = 0
        variant = self.first_variant(answered_us, setup_us)
        run: Run | None = None
        while second < seconds:
            if self._schedule is None:
                band_ends_in = NO_END
            else:
                held, until_us = self.variant_at(answered_us + second * SECOND_US)
                variant = held or variant
                # A step that begins before the band's end still has its price: round up to whole seconds.
                band_ends_in = -((answered_us - until_us) // SECOND_US)
            tier = variant.tier_at(second)
            limit = min(seconds, tier.until_second, band_ends_in)
            steps = -((second - limit) // tier.step_seconds)
            if run is not None and run.tier is tier and run.variant is variant:
                # A schedule sees no further than a day ends, a bill does not show it.
                run = run._replace(steps=run.steps + steps)
            else:
                if run is not None:
                    yield run
                run = Run(variant, tier, second, steps)
            second += steps * tier.step_seconds
        if run is not None:
            yield run

    def total(self, answered_us: int, setup_us: int, seconds: int) -> int:
        """Numerator of what a call of `seconds` costs, after minimum and maximum."""
        tier = self.only_tier
        if tier is not None:
            variant = self.only_variant
            assert variant is not None
            total = variant.connect_fee_micros * self.denominator - (-seconds // tier.step_seconds) * tier.step_cost
        else:
            variant = self.first_variant(answered_us, setup_us)
            total = variant.connect_fee_micros * self.denominator
            for run in self.runs(answered_us, setup_us, seconds):
                total += run.steps * run.tier.step_cost
        return self.limited(variant, total) if variant.limits else total

    def limited(self, variant: Variant, total: int) -> int:
        """A sum raised to the minimum and capped by the maximum."""
        if variant.minimum_micros is not None and total < variant.minimum_micros * self.denominator:
            total = variant.minimum_micros * self.denominator
        if variant.maximum_micros is not None and total > variant.maximum_micros * self.denominator:
            total = variant.maximum_micros * self.denominator
        return total

    def lasts(self, setup_us: int, budget: int, cap_seconds: int) -> tuple[int, int]:
        """How long a call answered at set-up lasts on a budget (a numerator), and the numerator of that time's price.

        The greatest whole number of steps whose price is within the budget, but no more than `cap_seconds`;
        (0, price of the first second) if not even the first step is.
        """
        variant = self.only_variant or self.first_variant(setup_us, setup_us)
        total = variant.connect_fee_micros * self.denominator
        if variant.maximum_micros is not None and variant.maximum_micros * self.denominator <= budget:
            budget = NO_END * self.denominator
        elif total > budget or (variant.minimum_micros or 0) * self.denominator > budget:
            return 0, self.total(setup_us, setup_us, 1)
        second = 0
        tier = self.only_tier
        if tier is not None:
            steps = -(-cap_seconds // tier.step_seconds)
            if tier.step_cost and steps * tier.step_cost > budget - total:
                steps = (budget - total) // tier.step_cost
            if steps == 0:
                return 0, self.total(setup_us, setup_us, 1)
            return min(steps * tier.step_seconds, cap_seconds), self.limited(variant, total + steps * tier.step_cost)
        for run in self.runs(setup_us, setup_us, cap_seconds):
            cost, steps = run.tier.step_cost, run.steps
            if cost and steps * cost > budget - total:
                steps = (budget - total) // cost
            total += steps * cost
            second = run.second + steps * run.tier.step_seconds
            if steps < run.steps:
                break
        if second == 0:
            return 0, self.total(setup_us, setup_us, 1)
        return min(second, cap_seconds), self.limited(variant, total)
