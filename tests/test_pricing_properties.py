"""Any tariff, any call: the engine charges and grants what a model that goes step by step does.

Calls begin near the edges of bands, near the days on which clocks change, and with money that just is or is not enough.
"""

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.bands import BandHours, Schedule
from engine.charges import amount, charge, first_minute, grant
from engine.reference import Reference
from engine.rounding import budget, round_micros, unit_of
from schemas.rated import Charge
from schemas.reference import Band, PriceList, PriceRow
from schemas.times import DAY_US, SECOND_US, from_datetime, to_datetime
from tests.models import pricing as model

ROUNDINGS: tuple[Literal["up", "half_up", "down"], ...] = ("up", "half_up", "down")
ZONES = ("Europe/Moscow", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
DAYS = (
    datetime(2026, 11, 24),  # a Tuesday like any other
    datetime(2026, 3, 29),  # Berlin: 02:00 becomes 03:00
    datetime(2026, 10, 25),  # Berlin: 03:00 becomes 02:00
    datetime(2026, 11, 1),  # St John's: 02:00 becomes 01:00
    datetime(2026, 4, 5),  # Lord Howe: half an hour back
    datetime(2026, 12, 31),
)
PERCENTS = st.sampled_from((0, 0, 10_000_000, 12_345_678, 99_999_999, 100_000_000))

some = settings(max_examples=150, deadline=None)


# -- what is drawn ---------------------------------------------------------------------------------------------------


@st.composite
def bands(draw: st.DrawFn) -> tuple[model.BandModel, ...]:
    minutes = st.sampled_from((0, 60, 120, 130, 180, 1320, 1439)) | st.integers(0, 1439)
    weekdays: st.SearchStrategy[tuple[int, ...]] = st.sampled_from(((), (), (6, 7), (1, 2, 3, 4), (2,)))
    dates: st.SearchStrategy[tuple[str, ...]] = st.sampled_from(((), (), ("--01-01",), ("2026-10-25", "2026-03-29")))
    return tuple(
        model.BandModel(
            f"b{index}",
            draw(minutes),
            draw(minutes | st.just(1440)),
            draw(st.sampled_from(ZONES)),
            draw(weekdays),
            draw(dates),
            draw(st.integers(0, 2)),
        )
        for index in range(draw(st.integers(0, 3)))
    )


@st.composite
def tiers(draw: st.DrawFn, band: model.BandModel | None) -> list[model.Tier]:
    later = draw(st.sets(st.sampled_from((1, 10, 30, 60, 61, 600)), max_size=2))
    fees = st.sampled_from((0, 0, 400_000))
    return [
        model.Tier(
            from_second,
            draw(st.sampled_from((0, 1, 200_000, 1_234_567))),
            draw(st.sampled_from((60, 60, 7, 1))),
            draw(st.sampled_from((60, 30, 6, 1, 45))),
            band,
            draw(fees),
            draw(st.sampled_from((None, None, 0, 900_000))),
            draw(st.sampled_from((None, None, 2_000_000, 0))),
            draw(fees | st.just(100_001)),
        )
        for from_second in sorted({0, *later})
    ]


@st.composite
def moments(draw: st.DrawFn, of: tuple[model.BandModel, ...]) -> datetime:
    """A moment of a chosen day, mostly just before or after an edge of a band."""
    near = timedelta(milliseconds=draw(st.integers(-200_000, 2_000)))
    anywhere = draw(st.integers(0, 3)) == 0
    if of and not anywhere:
        band = draw(st.sampled_from(of))
        minute = draw(st.sampled_from((band.start_minute, band.end_minute % 1440)))
        day = draw(st.sampled_from(DAYS)).date()
        wall = datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(band.time_zone))
        return wall.replace(fold=draw(st.integers(0, 1))).astimezone(UTC) + near
    second = draw(st.integers(0, 2 * 86_400))
    return draw(st.sampled_from(DAYS)).replace(tzinfo=UTC) + timedelta(seconds=second) + near


class Sold:
    """One price in the words of the model and in those of the engine, and a call's moments."""

    def __init__(
        self,
        of_bands: tuple[model.BandModel, ...],
        of_tiers: list[model.Tier],
        rounding: Literal["up", "half_up", "down"],
        decimals: int,
        setup: datetime,
        rings: timedelta,
    ) -> None:
        self.model = model.PriceModel(tuple(of_tiers), rounding, decimals)
        self.setup, self.answered = setup, setup + rings
        self.setup_us, self.answered_us = from_datetime(setup), from_datetime(self.answered)
        rows = [row(tier) for tier in of_tiers]
        data = Reference(
            accounts=(),
            providers=(),
            plans=(),
            price_lists=[PriceList("L", "", "retail", None, "RUB", rounding, decimals, None, None)],
            prices=rows,
            bands=[band_record(band) for band in of_bands],
        )
        self.price = data.retail["L"].candidates("7")[0]

    def bill(self, seconds: int, percent: int) -> Charge:
        """The engine's bill of an answered call."""
        return charge(
            self.price,
            answered_us=self.answered_us,
            setup_us=self.setup_us,
            seconds=seconds,
            percent=percent,
            percent_text=str(Fraction(percent, 1_000_000)),
        )

    def costs(self, seconds: int, percent: int, answered_us: int | None = None) -> int:
        """The engine's amount without the bill."""
        return amount(
            self.price,
            answered_us=self.answered_us if answered_us is None else answered_us,
            setup_us=self.setup_us,
            seconds=seconds,
            percent=percent,
        )

    def __repr__(self) -> str:
        return f"Sold({self.model!r}, set up {self.setup!r}, answered {self.answered!r})"


def row(tier: model.Tier) -> PriceRow:
    """The engine's row of a tier."""
    return PriceRow(
        "L",
        "",
        None,
        None,
        None,
        None if tier.band is None else tier.band.band_id,
        tier.from_second,
        tier.connect_fee_micros,
        tier.price_micros,
        tier.per_seconds,
        tier.step_seconds,
        tier.min_charge_micros,
        tier.max_charge_micros,
        None,
        None,
        tier.attempt_fee_micros,
    )


def band_record(band: model.BandModel) -> Band:
    """The engine's band."""
    return Band(
        band.band_id, band.weekdays, band.start_minute, band.end_minute, band.dates, band.time_zone, band.weight
    )


@st.composite
def sold(draw: st.DrawFn) -> Sold:
    """A price that applies at set-up."""
    of_bands = draw(bands())
    setup = draw(moments(of_bands))
    of_tiers = [tier for band in of_bands for tier in draw(tiers(band))]
    if draw(st.booleans()) or not any(model.band_holds(band, setup) for band in of_bands):
        of_tiers += draw(tiers(None))
    rings = timedelta(milliseconds=draw(st.sampled_from((0, 1, 20_000)) | st.integers(0, 90_000)))
    return Sold(of_bands, of_tiers, draw(st.sampled_from(ROUNDINGS)), draw(st.integers(0, 6)), setup, rings)


def share(percent: int) -> Fraction:
    """Millionths of a per cent as the model has them."""
    return Fraction(percent, 1_000_000)


seconds_of_call = st.sampled_from((0, 1, 2, 59, 60, 61, 90)) | st.integers(0, 900)


# -- roundings and hours ---------------------------------------------------------------------------------------------


@some
@given(st.integers(0, 10**9), st.sampled_from((1, 2, 7, 60, 3600)), st.sampled_from(ROUNDINGS), st.integers(0, 6))
@example(1, 2, "half_up", 6)
def test_a_sum_is_rounded_as_the_model_rounds_it(
    numerator: int, denominator: int, rounding: Literal["up", "half_up", "down"], decimals: int
) -> None:
    expected = model.round_money(Fraction(numerator, denominator * 1_000_000), rounding, decimals)

    assert round_micros(numerator, denominator, rounding, unit_of(decimals)) == expected


@some
@given(st.integers(0, 10**7), st.sampled_from((1, 2, 7, 60, 3600)), st.sampled_from(ROUNDINGS), st.integers(0, 6))
def test_a_budget_is_the_greatest_sum_that_rounds_to_the_money(
    money: int, denominator: int, rounding: Literal["up", "half_up", "down"], decimals: int
) -> None:
    unit = unit_of(decimals)

    most = budget(money, denominator, rounding, unit)

    assert round_micros(most, denominator, rounding, unit) <= money
    assert round_micros(most + 1, denominator, rounding, unit) > money


@some
@given(bands(), st.data())
def test_the_band_in_force_is_the_heaviest_that_the_wall_clock_is_in_and_holds_as_long_as_promised(
    of_bands: tuple[model.BandModel, ...], data: st.DataObject
) -> None:
    ordered = sorted(of_bands, key=lambda band: (-band.weight, band.band_id))
    schedule = Schedule([BandHours(band_record(band)) for band in ordered])
    at_us = from_datetime(data.draw(moments(of_bands)))

    place, until_us = schedule.at(at_us)

    assert at_us < until_us <= at_us + DAY_US
    later_us = data.draw(st.integers(at_us, until_us - 1))
    for us in (at_us, later_us, until_us - SECOND_US // 1000):
        holding = [index for index, band in enumerate(ordered) if model.band_holds(band, to_datetime(us))]
        if at_us <= us:
            assert place == (holding[0] if holding else schedule.none)


# -- charges ---------------------------------------------------------------------------------------------------------


@some
@given(sold(), seconds_of_call, PERCENTS)
def test_a_call_is_charged_as_the_model_charges_it_step_by_step(call: Sold, seconds: int, percent: int) -> None:
    expected = model.charge(call.model, call.answered, call.setup, seconds, share(percent))

    bill = call.bill(seconds, percent)

    assert (bill.exact, bill.amount_micros) == (str(expected.exact), expected.micros)
    assert call.costs(seconds, percent) == expected.micros
    paid = [
        model.Step(line.from_second + step * line.step_seconds, line.step_seconds, line.band_id, line.price_micros)
        for line in bill.lines
        for step in range(line.steps)
    ]
    assert paid == expected.steps


@some
@given(sold(), PERCENTS)
def test_an_unanswered_call_costs_the_attempt_fee_alone(call: Sold, percent: int) -> None:
    expected = model.charge(call.model, call.setup, call.setup, 0, share(percent), answered=False)

    bill = charge(call.price, answered_us=None, setup_us=call.setup_us, seconds=0, percent=percent)

    assert (bill.exact, bill.amount_micros) == (str(expected.exact), expected.micros)
    assert (bill.lines, bill.connect_fee_micros, bill.adjustment) == ((), 0, None)


@some
@given(sold(), seconds_of_call, PERCENTS)
def test_the_parts_of_a_bill_add_up_to_it(call: Sold, seconds: int, percent: int) -> None:
    bill = call.bill(seconds, percent)

    for line in bill.lines:
        step = Fraction(line.price_micros * line.step_seconds, line.per_seconds * 1_000_000)
        assert Fraction(line.amount) == line.steps * step
        assert 0 < line.seconds <= line.steps * line.step_seconds
    assert sum(line.seconds for line in bill.lines) == seconds
    parts = Fraction(bill.connect_fee_micros, 1_000_000) + sum(Fraction(line.amount) for line in bill.lines)
    if bill.adjustment is not None:
        limit = Fraction(bill.adjustment.limit_micros, 1_000_000)
        raised = Fraction(bill.adjustment.amount) > 0
        assert parts + Fraction(bill.adjustment.amount) == limit
        assert bill.adjustment.kind == ("min_charge" if raised else "max_charge")
        parts = limit
    assert (bill.discount is not None) == (percent > 0)
    if bill.discount is not None:
        assert Fraction(bill.discount.percent) == share(percent)
        assert Fraction(bill.discount.amount) == -parts * share(percent) / 100
        parts += Fraction(bill.discount.amount)
    assert Fraction(bill.exact) == parts
    assert bill.amount_micros == model.round_money(parts, bill.rounding, bill.decimals)


@some
@given(sold(), seconds_of_call, st.integers(0, 120), PERCENTS)
def test_a_longer_call_never_costs_less(call: Sold, seconds: int, more: int, percent: int) -> None:
    assert call.costs(seconds, percent) <= call.costs(seconds + more, percent)


@some
@given(sold(), PERCENTS)
def test_the_first_minute_is_the_exact_price_of_sixty_seconds_answered_at_set_up(call: Sold, percent: int) -> None:
    numerator, denominator = first_minute(call.price, call.setup_us, percent)

    expected = model.charge(call.model, call.setup, call.setup, 60, share(percent)).exact
    assert Fraction(numerator, denominator * 1_000_000) == expected


# -- grants ----------------------------------------------------------------------------------------------------------


@st.composite
def purses(draw: st.DrawFn, call: Sold, percent: int) -> int:
    """Money: any, or that of some seconds of this call, or a micro-unit less."""
    of_call = call.costs(draw(st.integers(1, 200)), percent, call.setup_us)
    return draw(st.sampled_from((0, -1, of_call, of_call, of_call - 1)) | st.integers(-5, 10_000_000))


caps = st.sampled_from((1, 59, 60, 61, 100, 600)) | st.integers(1, 900)


@some
@given(sold(), PERCENTS, caps, st.data())
def test_money_lasts_as_long_as_the_model_says(call: Sold, percent: int, cap: int, data: st.DataObject) -> None:
    money = data.draw(purses(call, percent))

    granted = grant(call.price, setup_us=call.setup_us, money_micros=money, cap_seconds=cap, percent=percent)

    seconds, held = model.longest(call.model, call.setup, money, cap, share(percent))
    if seconds:
        assert granted == (seconds, held)
    else:
        assert granted == (0, model.needed(call.model, call.setup, share(percent)))


@some
@given(sold(), PERCENTS, caps, st.data())
def test_what_is_granted_is_affordable_and_a_second_more_is_not(
    call: Sold, percent: int, cap: int, data: st.DataObject
) -> None:
    money = data.draw(purses(call, percent))

    granted = grant(call.price, setup_us=call.setup_us, money_micros=money, cap_seconds=cap, percent=percent)

    assert granted.amount_micros == call.costs(granted.seconds or 1, percent, call.setup_us)
    if granted.seconds:
        assert granted.amount_micros <= max(money, 0)
    if granted.seconds < cap:
        assert call.costs(granted.seconds + 1, percent, call.setup_us) > max(money, 0)


@some
@given(sold(), PERCENTS, caps, st.data())
def test_less_money_never_lasts_longer(call: Sold, percent: int, cap: int, data: st.DataObject) -> None:
    money = data.draw(purses(call, percent))
    less = money - data.draw(st.integers(0, 1_000_000))

    lasts = [
        grant(call.price, setup_us=call.setup_us, money_micros=micros, cap_seconds=cap, percent=percent)
        for micros in (less, money)
    ]

    assert lasts[0].seconds <= lasts[1].seconds
