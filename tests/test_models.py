"""The models themselves: prices worked out by hand, and books with a planted error each that the auditor must find."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from tests.models.auditor import audit
from tests.models.holds import HoldsModel
from tests.models.ncv import Count, NcvModel, sign
from tests.models.pricing import (
    BandModel,
    ListModel,
    PriceModel,
    Row,
    Step,
    Tier,
    band_holds,
    charge,
    choose,
    choose_retail,
    choose_wholesale,
    longest,
    needed,
    round_money,
)

RUB = 1_000_000
NO_DISCOUNT = Fraction(0)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(*tiers: Tier, rounding: Literal["up", "half_up", "down"] = "half_up", decimals: int = 6) -> PriceModel:
    return PriceModel(tiers, rounding, decimals)


# -- what a call costs -----------------------------------------------------------------------------------------------

PER_MINUTE = price(Tier(price_micros=3 * RUB))
THIRTY_SIX = price(Tier(price_micros=1_200_000, step_seconds=30), Tier(30, 1_200_000, step_seconds=6))
PER_SECOND = price(Tier(price_micros=3 * RUB, step_seconds=1))
CONTRACT = price(
    Tier(price_micros=200_000, connect_fee_micros=400_000), Tier(60, 200_000, step_seconds=1), rounding="up", decimals=4
)
LIMITED = price(
    Tier(price_micros=3 * RUB, connect_fee_micros=RUB, min_charge_micros=5 * RUB, max_charge_micros=8 * RUB)
)
MIN_ABOVE_MAX = price(Tier(price_micros=3 * RUB, min_charge_micros=9 * RUB, max_charge_micros=8 * RUB))


@pytest.mark.parametrize(
    ("tariff", "seconds", "percent", "exact", "micros"),
    [
        (PER_MINUTE, 0, "0", "0", 0),
        (PER_MINUTE, 1, "0", "3", 3 * RUB),
        (PER_MINUTE, 60, "0", "3", 3 * RUB),
        (PER_MINUTE, 125, "0", "9", 9 * RUB),
        (THIRTY_SIX, 1, "0", "3/5", 600_000),
        (THIRTY_SIX, 30, "0", "3/5", 600_000),
        (THIRTY_SIX, 31, "0", "18/25", 720_000),
        (PER_SECOND, 1, "0", "1/20", 50_000),
        (PER_SECOND, 125, "0", "25/4", 6_250_000),
        (CONTRACT, 0, "0", "2/5", 400_000),  # the fee is due when the call is answered
        (CONTRACT, 95, "0", "43/60", 716_700),
        (LIMITED, 60, "0", "5", 5 * RUB),  # 1 + 3, raised
        (LIMITED, 120, "0", "7", 7 * RUB),
        (LIMITED, 180, "0", "8", 8 * RUB),  # 1 + 9, capped
        (LIMITED, 60, "10", "9/2", 4_500_000),  # the discount comes after the minimum
        (LIMITED, 180, "10", "36/5", 7_200_000),
        (MIN_ABOVE_MAX, 60, "0", "8", 8 * RUB),
        (PER_MINUTE, 60, "100", "0", 0),
        (PER_MINUTE, 60, "12.5", "21/8", 2_625_000),
    ],
)
def test_a_call_costs_what_was_worked_out_by_hand(
    tariff: PriceModel, seconds: int, percent: str, exact: str, micros: int
) -> None:
    bill = charge(tariff, NOON, NOON, seconds, Fraction(percent))

    assert (bill.exact, bill.micros) == (Fraction(exact), micros)


@pytest.mark.parametrize(
    ("exact", "rounding", "decimals", "micros"),
    [
        ("43/60", "up", 4, 716_700),
        ("43/60", "half_up", 4, 716_700),
        ("43/60", "down", 4, 716_600),
        ("7167/10000", "up", 4, 716_700),  # exact already: not to the next
        ("1/8", "half_up", 2, 130_000),
        ("1/8", "down", 2, 120_000),
        ("1/2", "half_up", 0, RUB),
        ("1/3", "half_up", 6, 333_333),
        ("1/3", "up", 6, 333_334),
    ],
)
def test_an_amount_is_rounded_once_by_the_lists_rule(exact: str, rounding: str, decimals: int, micros: int) -> None:
    assert round_money(Fraction(exact), rounding, decimals) == micros


NIGHT = BandModel("night", 22 * 60, 6 * 60)
BERLIN_NIGHT = replace(NIGHT, time_zone="Europe/Berlin")
BERLIN_TWO = BandModel("two", 120, 180, "Europe/Berlin")


def test_a_call_over_the_border_of_the_night_is_split_at_the_start_of_a_step() -> None:
    tariff = price(Tier(price_micros=2 * RUB), Tier(price_micros=RUB, band=NIGHT))

    bill = charge(tariff, utc("2026-11-24T18:58:30"), NOON, 125, NO_DISCOUNT)  # 21:58:30 in Moscow

    assert bill.steps == [Step(0, 60, None, 2 * RUB), Step(60, 60, None, 2 * RUB), Step(120, 60, "night", RUB)]
    assert bill.micros == 5 * RUB


def test_each_band_has_tiers_of_its_own_and_they_count_from_the_calls_first_second() -> None:
    tariff = price(
        Tier(price_micros=2 * RUB),
        Tier(price_micros=RUB, band=NIGHT),
        Tier(90, RUB // 2, step_seconds=30, band=NIGHT),
    )

    bill = charge(tariff, utc("2026-11-24T18:58:30"), NOON, 151, NO_DISCOUNT)

    assert [(step.second, step.step_seconds) for step in bill.steps] == [(0, 60), (60, 60), (120, 30), (150, 30)]
    assert bill.micros == 4_500_000


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-10-24T20:00:00", 9), ("2026-03-28T21:00:00", 7), ("2026-11-24T21:00:00", 8)]
)
def test_a_night_in_berlin_is_as_long_as_its_clocks_make_it(evening: str, hours: int) -> None:
    tariff = price(Tier(price_micros=2 * RUB), Tier(price_micros=RUB, band=BERLIN_NIGHT))

    bill = charge(tariff, utc(evening), NOON, 10 * 3600, NO_DISCOUNT)

    assert sum(step.step_seconds for step in bill.steps if step.band_id == "night") == hours * 3600


@pytest.mark.parametrize(("midnight", "minutes"), [("2026-10-25T00:00:00", 120), ("2026-03-29T00:00:00", 0)])
def test_the_hour_that_comes_twice_is_in_its_band_twice_and_the_lost_hour_in_none(midnight: str, minutes: int) -> None:
    tariff = price(Tier(), Tier(price_micros=6 * RUB, band=BERLIN_TWO))

    assert charge(tariff, utc(midnight), NOON, 4 * 3600, NO_DISCOUNT).micros == minutes * 6 * RUB


def test_seconds_of_a_call_are_not_those_of_the_wall_clock_that_its_moment_came_in() -> None:
    berlin = datetime(2026, 10, 25, 1, 59, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    tariff = price(Tier(), Tier(price_micros=6 * RUB, band=BERLIN_TWO))

    assert charge(tariff, berlin, NOON, 3 * 3600, NO_DISCOUNT).micros == 120 * 6 * RUB


FRIDAY_NIGHT = replace(NIGHT, weekdays=(5,))
NEW_YEAR = BandModel("new-year", dates=("--01-01",))


@pytest.mark.parametrize(
    ("band", "moment", "inside"),
    [
        (FRIDAY_NIGHT, "2026-11-27T18:59:59", False),  # Friday 21:59:59 in Moscow
        (FRIDAY_NIGHT, "2026-11-27T19:00:00", True),
        (FRIDAY_NIGHT, "2026-11-28T02:59:59", True),  # Saturday 05:59:59, and the night began on Friday
        (FRIDAY_NIGHT, "2026-11-28T03:00:00", False),
        (FRIDAY_NIGHT, "2026-11-28T19:00:00", False),
        (FRIDAY_NIGHT, "2026-11-27T02:00:00", False),  # Friday 05:00: that night began on Thursday
        (NEW_YEAR, "2026-12-31T20:59:59", False),
        (NEW_YEAR, "2026-12-31T21:00:00", True),
        (NEW_YEAR, "2027-01-01T21:00:00", False),
        (replace(NEW_YEAR, dates=("2026-01-01",)), "2026-12-31T21:00:00", False),
        (replace(NEW_YEAR, weekdays=(1,)), "2026-12-31T21:00:00", False),  # a Friday
        (BandModel("day-and-night", 600, 600, weekdays=(2,)), "2026-11-25T06:59:00", True),  # Wednesday 09:59
        (BandModel("day-and-night", 600, 600, weekdays=(2,)), "2026-11-25T07:00:00", False),
    ],
)
def test_a_band_holds_by_the_wall_clock_and_the_day_it_began(band: BandModel, moment: str, inside: bool) -> None:
    assert band_holds(band, utc(moment)) is inside


def test_the_heaviest_band_wins_then_the_smaller_id() -> None:
    light, heavy, twin = BandModel("a", weight=1), BandModel("c", weight=2), BandModel("b", weight=2)

    def band_of(*bands: BandModel) -> str | None:
        tiers = [Tier(), *(Tier(band=band) for band in bands)]
        return charge(price(*tiers), NOON, NOON, 1, NO_DISCOUNT).steps[0].band_id

    assert band_of() is None
    assert band_of(BandModel("z", weight=-1)) == "z"
    assert band_of(light, heavy) == "c"
    assert band_of(light, heavy, twin) == "b"


def test_where_no_band_holds_the_one_before_goes_on() -> None:
    day = BandModel("day", 6 * 60, 22 * 60)
    tariff = price(Tier(price_micros=RUB, connect_fee_micros=7 * RUB, band=day))
    setup = utc("2026-11-24T18:59:50")

    assert charge(tariff, setup, setup, 61, NO_DISCOUNT).micros == 9 * RUB
    assert charge(tariff, setup + timedelta(seconds=15), setup, 61, NO_DISCOUNT).micros == 9 * RUB


def test_fee_and_limits_are_those_of_the_band_at_the_answer() -> None:
    tariff = price(
        Tier(price_micros=RUB, connect_fee_micros=RUB, max_charge_micros=RUB),
        Tier(price_micros=RUB, connect_fee_micros=3 * RUB, min_charge_micros=9 * RUB, band=NIGHT),
    )

    assert charge(tariff, utc("2026-11-24T18:59:59"), NOON, 61, NO_DISCOUNT).micros == RUB
    assert charge(tariff, utc("2026-11-24T19:00:00"), NOON, 61, NO_DISCOUNT).micros == 9 * RUB


def test_an_unanswered_call_pays_only_the_fee_of_the_band_at_set_up() -> None:
    tariff = price(
        Tier(attempt_fee_micros=500_000, connect_fee_micros=RUB, min_charge_micros=RUB),
        Tier(attempt_fee_micros=100_000, band=NIGHT),
    )
    night = utc("2026-11-24T19:00:00")

    assert charge(tariff, night, NOON, 0, Fraction(10), answered=False) == (Fraction(9, 20), 450_000, [])
    assert charge(tariff, NOON, night, 0, NO_DISCOUNT, answered=False).micros == 100_000
    assert charge(tariff, NOON, NOON, 0, NO_DISCOUNT).micros == RUB


# -- what money buys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tariff", "money", "cap", "percent", "granted"),
    [
        (PER_MINUTE, 10 * RUB, 10_800, 0, (180, 9 * RUB)),
        (PER_MINUTE, 9 * RUB, 10_800, 0, (180, 9 * RUB)),
        (PER_MINUTE, 9 * RUB - 1, 10_800, 0, (120, 6 * RUB)),
        (PER_MINUTE, 3 * RUB - 1, 10_800, 0, (0, 0)),
        (PER_MINUTE, -RUB, 10_800, 0, (0, 0)),
        (PER_MINUTE, 10 * RUB, 100, 0, (100, 6 * RUB)),  # the step that holds second 100 is held whole
        (PER_MINUTE, 5 * RUB, 100, 0, (60, 3 * RUB)),
        (PER_MINUTE, 10 * RUB, 10_800, 50, (360, 9 * RUB)),
        (PER_SECOND, 10 * RUB, 10_800, 0, (200, 10 * RUB)),
        (LIMITED, 5 * RUB - 1, 10_800, 0, (0, 0)),  # the minimum is needed for the first step
        (LIMITED, 5 * RUB, 10_800, 0, (60, 5 * RUB)),
        (LIMITED, 8 * RUB, 10_800, 0, (10_800, 8 * RUB)),  # whoever can pay the maximum may talk on
        (price(Tier()), 0, 10_800, 0, (10_800, 0)),
    ],
)
def test_money_buys_whole_steps_up_to_the_cap(
    tariff: PriceModel, money: int, cap: int, percent: int, granted: tuple[int, int]
) -> None:
    assert longest(tariff, NOON, money, cap, Fraction(percent)) == granted


def test_what_is_held_is_what_the_granted_seconds_cost() -> None:
    tariff = price(Tier(price_micros=2_123_457), Tier(45, 777_777, step_seconds=7, band=NIGHT), Tier(band=NIGHT))
    setup = utc("2026-11-24T18:50:00")

    for cap in (1, 59, 60, 61, 600, 900):
        seconds, micros = longest(tariff, setup, 30 * RUB, cap, Fraction(7))
        assert micros == charge(tariff, setup, setup, seconds, Fraction(7)).micros <= 30 * RUB


def test_the_money_needed_is_that_of_the_first_step_with_fee_and_minimum() -> None:
    assert needed(PER_MINUTE, NOON, NO_DISCOUNT) == 3 * RUB
    assert needed(LIMITED, NOON, Fraction(10)) == 4_500_000


# -- which price -----------------------------------------------------------------------------------------------------

TODAY = utc("2026-11-24T00:00:00")
ROWS = (
    Row(Tier(price_micros=1)),
    Row(Tier(price_micros=2), "38"),
    Row(Tier(price_micros=3), "381", service="outgoing"),
    Row(Tier(price_micros=4), "381", place="msk"),
    Row(Tier(price_micros=5), "381", place="msk", incoming_service="sip"),
    Row(Tier(price_micros=6), "3811", valid_from=TODAY, valid_to=TODAY + timedelta(days=1)),
    Row(Tier(price_micros=7), "3811", valid_from=TODAY - timedelta(days=1)),
    Row(Tier(price_micros=8, band=NIGHT), "38111"),
)


@pytest.mark.parametrize(
    ("number", "service", "place", "incoming", "at", "found"),
    [
        ("74951234567", "outgoing", "msk", None, NOON, 1),
        ("38", "outgoing", "msk", None, NOON, 2),
        ("3820", "outgoing", "msk", None, NOON, 2),
        ("3812", "incoming", "spb", None, NOON, 2),
        ("3812", "outgoing", "msk", "sip", NOON, 3),  # the service counts most
        ("3812", "incoming", "msk", "sip", NOON, 5),
        ("3812", "incoming", "msk", None, NOON, 4),
        ("38112", "outgoing", "msk", None, NOON, 6),  # the later start
        ("38112", "outgoing", "msk", None, TODAY - timedelta(seconds=1), 7),
        ("38112", "outgoing", "msk", None, TODAY + timedelta(days=1), 7),  # the end is exclusive
        ("38112", "outgoing", "msk", None, TODAY - timedelta(days=2), 3),
        ("381112", "outgoing", "msk", None, NOON, 6),  # by day the longer prefix hides nothing
        ("381112", "outgoing", "msk", None, utc("2026-11-24T19:00:00"), 8),
    ],
)
def test_the_longest_prefix_that_applies_wins_then_the_more_conditions_then_the_later_start(
    number: str, service: str, place: str, incoming: str | None, at: datetime, found: int
) -> None:
    assert [row.tier.price_micros for row in choose(ROWS, number, service, place, incoming, at)] == [found]


def test_bands_and_tiers_of_one_price_are_found_together_and_a_missing_price_is_missing() -> None:
    rows = [Row(Tier(), "7"), Row(Tier(60), "7"), Row(Tier(band=NIGHT), "7"), Row(Tier(), "78")]

    assert choose(rows, "7495", "outgoing", None, None, NOON) == rows[:3]
    assert choose(rows, "8", "outgoing", None, None, NOON) == []


def test_two_prices_that_are_equally_good_are_not_chosen_between() -> None:
    rows = [Row(Tier(), "7"), Row(Tier(), "7", valid_to=NOON + timedelta(days=1))]

    with pytest.raises(ValueError, match="2 prices of prefix '7'"):
        choose(rows, "7495", "outgoing", None, None, NOON)


def test_the_lists_of_a_plan_compete_by_prefix_priority_provider_and_id() -> None:
    short, long_ = (Row(Tier(), "7"),), (Row(Tier(), "7495"),)

    def found(*lists: ListModel, provider_id: str | None = "mts") -> str | None:
        chosen = choose_retail(lists, provider_id, "74951234567", "outgoing", None, None, NOON)
        return chosen and chosen.price_list_id

    assert found(ListModel("A", short, priority=1), ListModel("B", long_, priority=2)) == "B"
    assert found(ListModel("A", short, priority=2), ListModel("B", short, priority=1)) == "B"
    assert found(ListModel("A", short), ListModel("B", short, provider_id="mts")) == "B"
    assert found(ListModel("A", short), ListModel("B", short, provider_id="mts"), provider_id=None) == "A"
    assert found(ListModel("B", short), ListModel("A", short)) == "A"
    assert found(ListModel("A", short, valid_to=NOON)) is None


def test_a_providers_lists_compete_by_prefix_start_and_id() -> None:
    short, long_ = (Row(Tier(), "7"),), (Row(Tier(), "7495"),)

    def found(*lists: ListModel) -> str | None:
        chosen = choose_wholesale(lists, "74951234567", "outgoing", None, None, NOON)
        return chosen and chosen.price_list_id

    assert found(ListModel("A", short, valid_from=TODAY), ListModel("B", long_)) == "B"
    assert found(ListModel("A", short), ListModel("B", short, valid_from=TODAY)) == "B"
    assert found(ListModel("B", short), ListModel("A", short)) == "A"


# -- holds and unwanted calls ----------------------------------------------------------------------------------------


def test_what_is_available_is_balance_and_credit_without_the_holds() -> None:
    model = HoldsModel({"A": (100, 20), "B": (5, 0)})

    model.hold("a1", "A", 30, expires_at_us=1000)
    model.hold("b1", "B", 5, expires_at_us=1000)
    assert (model.available("A"), model.available("B")) == (90, 0)
    model.hold("a1", "A", 50, expires_at_us=2000)  # an extension: the whole call's hold, not a second one
    assert model.available("A") == 70
    model.charge("A", 40, "a1")
    assert (model.balance["A"], model.held("A"), model.available("A")) == (60, 0, 80)
    model.move("A", -60)
    model.release("b1")
    assert (model.available("A"), model.available("B")) == (20, 5)


def test_a_hold_expires_by_a_clock_that_never_goes_back() -> None:
    model = HoldsModel({"A": (100, 0)})
    model.hold("a1", "A", 30, expires_at_us=1000)

    model.clock(999)
    assert model.held("A") == 30
    model.clock(1000)
    model.clock(10)
    assert (model.held("A"), model.expired) == (0, {"a1"})
    model.charge("A", 30, "a1")
    assert model.available("A") == 70


def test_unwanted_calls_are_counted_once_per_attempt_and_day_of_the_operator() -> None:
    model = NcvModel()
    late, midnight = utc("2026-11-24T20:59:59"), utc("2026-11-24T21:00:00")  # 23:59:59 and 00:00 in Moscow

    model.attempt("1", None, "7495", "archive", "+7 (495) 1", late)
    model.attempt("1", None, "7495", "archive", "+7 (495) 1", late)
    model.attempt("2", None, "7495", "archive", "74951", late - timedelta(hours=1))
    model.attempt("3", None, "7495", "archive", None, late)
    model.attempt("4", None, "7495", "archive", "anonymous", late)
    model.attempt("5", None, "7495", "archive", "74951", midnight)
    model.attempt("6", None, "7496", "in_use", "74951", late)
    model.attempt("7", None, "7497", None, "74951", late)
    model.attempt("8", "A", "7495", "free", "74951", late)

    assert model.counts() == {
        ("7495", date(2026, 11, 24)): Count(4, 2, late - timedelta(hours=1), late),
        ("7495", date(2026, 11, 25)): Count(1, 1, midnight, midnight),
    }


@pytest.mark.parametrize(
    ("today", "counted", "expected"),
    [
        (date(2026, 4, 1), [], "insufficient"),  # 29 days after the first collected day
        (date(2026, 4, 2), [], "no_ncv"),
        (date(2026, 4, 19), [date(2026, 3, 20)], "has_ncv"),
        (date(2026, 4, 20), [date(2026, 3, 20)], "no_ncv"),
    ],
)
def test_a_number_rests_for_thirty_whole_days(today: date, counted: list[date], expected: str) -> None:
    collected = [date(2026, 2, 1), date(2026, 3, 3), date(2026, 3, 20)]

    def signed(**changes: Any) -> str:
        facts: dict[str, Any] = {"fmtn": False, "place": None, "since": date(2026, 3, 1), "collected_days": collected}
        return sign(**{**facts, "counted_days": counted, "today": today, **changes})

    assert signed() == expected
    assert signed(fmtn=True) == signed(place="Агентские номера") == "ignored"
    assert signed(since=date(2026, 3, 21)) == "no_data"


# -- the auditor -----------------------------------------------------------------------------------------------------

Json = dict[str, Any]


def attempt(attempt_id: str, account_id: str | None, at: str, called: str = "381114112060", **fields: Any) -> Json:
    record = {"type": "call_attempt", "attempt_id": attempt_id, "switch_id": "msk-1", "at": at, "called": called}
    return record | {"account_id": account_id, "service": "outgoing" if account_id else "incoming"} | fields


def allowed(of: Json, seconds: int, hold: int, available: int, **fields: Any) -> Json:
    until = datetime.fromisoformat(of["at"]) + timedelta(seconds=seconds + 120)
    money = {
        "check": "money",
        "outcome": "passed",
        "balance_micros": available - RUB,
        "held_micros": 0,
        "credit_limit_micros": RUB,
        "available_micros": available,
    }
    return {
        "type": "call_decision",
        "attempt_id": of["attempt_id"],
        "switch_id": "msk-1",
        "at": of["at"],
        "account_id": of["account_id"],
        "allow": True,
        "max_seconds": seconds,
        "hold_micros": hold,
        "hold_expires_at": until.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "routes": [{"provider_id": "megafon"}],
        "retail": None,
        "reason": None,
        "reasons": [],
        "checks": [money],
        "reference_version": 1,
        **fields,
    }


def denied(of: Json, reason: Json) -> Json:
    nothing = {"allow": False, "routes": [], "hold_expires_at": None, "checks": []}
    return allowed(of, 0, 0, RUB) | nothing | {"reason": reason, "reasons": [reason]}


def emergency(of: Json) -> Json:
    return allowed(of, 10_800, 0, RUB, emergency=True) | {"hold_expires_at": None, "checks": [], "routes": []}


def rejected(record: Json, reason: str, offset: int) -> Json:
    payload = base64.b64encode(json.dumps(record).encode()).decode()
    return {"topic": "in", "partition": 0, "offset": offset, "reason": reason, "detail": "…", "payload": payload}


def line(from_second: int, seconds: int, steps: int, step_seconds: int, price_micros: int, amount: str) -> Json:
    return {
        "from_second": from_second,
        "seconds": seconds,
        "steps": steps,
        "step_seconds": step_seconds,
        "price_micros": price_micros,
        "per_seconds": 60,
        "band_id": None,
        "amount": amount,
    }


def movement(command: Json, amount: int, after: int, status: str = "active") -> Json:
    return {
        "type": "account_movement",
        "kind": command["type"],
        "account_id": command["account_id"],
        "at": command["at"],
        "command_id": command["command_id"],
        "amount_micros": amount,
        "balance_after_micros": after,
        "currency": "RUB",
        "status": status,
        "reference": command.get("reference"),
        "reason": command.get("reason"),
    }


def opened(account_id: str, micros: int) -> Json:
    event = {"type": "opening", "account_id": account_id, "at": "2026-11-24T18:00:00.000Z", "command_id": None}
    return movement(event, micros, micros)


def balance(account_id: str, micros: int, held: int, credit: int, status: str = "active") -> Json:
    return {
        "type": "account_balance",
        "account_id": account_id,
        "status": status,
        "balance_micros": micros,
        "held_micros": held,
        "credit_limit_micros": credit,
        "available_micros": micros + credit - held,
    }


class Books:
    """A small history that is all right: two accounts, some of everything that can happen to a record.

    The hand that plants an error finds a record by `decision`, `cdr` or by its place in a list.
    """

    def __init__(self) -> None:
        pay: Json = {"type": "payment", "command_id": "p1", "account_id": "A", "at": "2026-11-24T18:00:00.000Z"}
        self.p1 = pay | {"amount_micros": 50 * RUB, "reference": None}
        other_p1 = pay | {"amount_micros": 60 * RUB}
        t1 = pay | {"type": "top_up", "command_id": "t1", "amount_micros": -RUB}
        w1 = pay | {"type": "write_off", "command_id": "w1", "account_id": "B", "amount_micros": 2 * RUB}
        stranger = pay | {"command_id": "p9", "account_id": "Z", "amount_micros": RUB}
        block = {"type": "block", "command_id": "k1", "account_id": "B", "at": "2026-11-24T18:00:00.000Z"}

        a1, a2 = attempt("a1", "A", "2026-11-24T18:30:00.000Z"), attempt("a2", "B", "2026-11-24T18:30:00.000Z")
        number = "74951201031"
        a3 = attempt("a3", None, "2026-11-24T20:59:59.999Z", number, caller="+7 495 1")
        a4 = attempt("a4", None, "2026-11-24T21:00:00.000Z", number)
        a7 = attempt("a7", None, "2026-11-24T20:00:00.000Z", number, caller="74951")
        a5, a6 = attempt("a5", "A", "2026-11-24T19:00:00.000Z"), attempt("a6", "B", "2026-11-24T19:00:00.000Z")
        a8, a9 = attempt("a8", "Q", "2026-11-24T19:00:00.000Z", "112"), attempt("a9", "B", "2026-11-24T19:00:00.000Z")
        of_a5: Json = {"attempt_id": "a5", "switch_id": "msk-1", "account_id": "A"}
        self.more = of_a5 | {"type": "call_extension", "at": "2026-11-24T19:09:00.000Z", "used_seconds": 540}
        self.release = a6 | {"type": "call_release", "at": "2026-11-24T19:01:00.000Z", "cause": "no_answer"}

        self.c1: Json = {
            "type": "cdr",
            "cdr_id": "c1",
            "attempt_id": "a1",
            "switch_id": "msk-1",
            "account_id": "A",
            "service": "outgoing",
            "caller": None,
            "called": "381114112060",
            "place": None,
            "incoming_service": None,
            "provider_id": "megafon",
            "started_at": "2026-11-24T18:30:00.000Z",
            "answered_at": "2026-11-24T18:30:05.500Z",
            "ended_at": "2026-11-24T18:31:40.000Z",
            "billable_seconds": None,  # 94.5 s
            "cause": "normal",
        }
        other_c1 = self.c1 | {"cause": "busy"}
        c2 = self.c1 | {"cdr_id": "c2", "attempt_id": None, "account_id": "B", "provider_id": None}
        c2 |= {"billable_seconds": 61}
        c3 = self.c1 | {"cdr_id": "c3", "account_id": "Z"}
        c5 = self.c1 | {"cdr_id": "c5", "attempt_id": "a2", "account_id": "B", "answered_at": None, "provider_id": None}
        self.junk: Json = {"type": "cdr", "cdr_id": 7}

        retail = {
            "amount_micros": 716_700,
            "exact": "43/60",
            "price_list_id": "R-1",
            "prefix": "381",
            "rounding": "up",
            "decimals": 4,
            "lines": [line(0, 60, 1, 60, 200_000, "1/5"), line(60, 35, 35, 1, 200_000, "7/60")],
            "connect_fee_micros": 400_000,
            "discount": None,
            "adjustment": None,
            "attempt_fee_micros": 0,
        }
        wholesale = retail | {"amount_micros": 158_333, "exact": "19/120", "rounding": "half_up", "decimals": 6}
        wholesale |= {"lines": [line(0, 95, 95, 1, 100_000, "19/120")], "connect_fee_micros": 0}
        capped = retail | {"amount_micros": 4_500_000, "exact": "9/2", "connect_fee_micros": 0}
        capped |= {"lines": [line(0, 61, 2, 60, 3 * RUB, "6")], "discount": {"percent": "10", "amount": "-1/2"}}
        capped |= {"adjustment": {"kind": "max_charge", "limit_micros": 5 * RUB, "amount": "-1"}}

        self.inputs: list[Json] = [self.p1, t1, other_p1, self.p1, w1, block, stranger]
        self.inputs += [a1, a1, a2, a3, a7, a3, a4, a5, a6, a8, a9, self.more, self.more, self.release]
        self.inputs += [self.c1, c2, self.c1, other_c1, c3, c5, self.junk]
        unused = {"code": "number_not_in_use", "number": number, "status": "archive"}
        more = allowed(a5, 1140, 8 * RUB, 148_283_300 - 5 * RUB, extension=1, at=self.more["at"])
        self.decisions = [
            allowed(a1, 600, 5 * RUB, 149 * RUB),
            allowed(a1, 600, 5 * RUB, 149 * RUB, repeated=True),
            denied(a2, {"code": "lock", "lock_id": "L17"}),
            denied(a3, unused),
            denied(a7, unused),
            denied(a3, unused) | {"repeated": True},
            denied(a4, unused),
            allowed(a5, 600, 5 * RUB, 148_283_300),
            allowed(a6, 60, 3 * RUB, 13_500_000),
            emergency(a8),
            allowed(a9, 60, 2 * RUB, 10_500_000),
            more,
            more | {"repeated": True},
        ]
        self.rated = [
            self._rated(self.c1, 95, retail, wholesale, 558_367, 148_283_300),
            self._rated(c2, 61, capped, None, None, -6_500_000) | {"no_attempt": True},
            self._rated(c5, 0, None, None, None, -6_500_000) | {"denied": True},
        ]
        self.rejected = [
            rejected(other_p1, "id_reused", 2),
            rejected(stranger, "unknown_account", 3),
            rejected(other_c1, "id_reused", 4),
            rejected(c3, "unknown_account", 5),
            rejected(self.junk, "malformed", 6),
        ]
        self.balances = [
            balance("A", 149 * RUB, 5 * RUB, 0),
            balance("A", 148_283_300, 8 * RUB, 0),
            balance("B", -6_500_000, 0, 20 * RUB, "blocked"),
        ]
        self.movements = [
            opened("A", 100 * RUB),
            movement(self.p1, 50 * RUB, 150 * RUB),
            opened("B", 0),
            movement(t1, -RUB, 149 * RUB),
            movement(w1, -2 * RUB, -2 * RUB),
            movement(block, 0, -6_500_000, "blocked"),
        ]
        self.opening = {
            "A": {"balance_micros": 100 * RUB, "credit_limit_micros": 0},
            "B": {"balance_micros": 0, "credit_limit_micros": 20 * RUB},
            "C": {"balance_micros": 7, "credit_limit_micros": 0},
        }
        self.ncv = [
            {"number": number, "day": "2026-11-24", "calls": 1, "unique_callers": 1} | between(a3["at"], a3["at"]),
            {"number": number, "day": "2026-11-24", "calls": 2, "unique_callers": 1} | between(a7["at"], a3["at"]),
            {"number": number, "day": "2026-11-25", "calls": 1, "unique_callers": 1} | between(a4["at"], a4["at"]),
        ]

    @staticmethod
    def _rated(
        cdr: Json, seconds: int, retail: Json | None, wholesale: Json | None, margin: int | None, after: int
    ) -> Json:
        charges = {"retail": retail, "wholesale": wholesale, "margin_micros": margin, "balance_after_micros": after}
        return cdr | {"type": "rated_cdr", "billable_seconds": seconds, "reference_version": 1} | charges

    def findings(self, clock_of_a: str = "2026-11-24T19:10:00+00:00") -> list[str]:
        # Records are passed as they would come from topics: no two of them share a part.
        def read(records: list[Json]) -> list[Json]:
            return [json.loads(json.dumps(record)) for record in records]

        clocks = {"A": clock_of_a, "B": "2026-11-24T21:00:00+00:00"}
        return audit(
            inputs=read(self.inputs),
            decisions=read(self.decisions),
            rated=read(self.rated),
            rejected=read(self.rejected),
            balances=read(self.balances),
            movements=read(self.movements),
            opening=self.opening,
            ncv=self.ncv,
            number_status={"74951201031": "archive", "74951201032": "in_use"},
            clock_by_account_us=lambda account_id: int(datetime.fromisoformat(clocks[account_id]).timestamp()) * RUB,
        )

    def decision(self, attempt_id: str) -> Json:
        return next(decision for decision in self.decisions if decision["attempt_id"] == attempt_id)


def between(first: str, last: str) -> Json:
    return {"first_at": first, "last_at": last}


def test_books_that_are_right_have_no_findings() -> None:
    assert Books().findings() == []


PLANTS: list[tuple[str, Callable[[Books], object], list[str]]] = []


def plant(*expected: str) -> Callable[[Callable[[Books], object]], Callable[[Books], object]]:
    """Registers a function that spoils the books, with all the findings that it must lead to."""

    def register(spoil: Callable[[Books], object]) -> Callable[[Books], object]:
        PLANTS.append((spoil.__name__, spoil, list(expected)))
        return spoil

    return register


@plant(
    "account A: closes at 148283301, its movements lead to 148283300",
    "account A: closes at 148283301, what was published comes to 148283300",
    "in total: closes at 141783308, all movements lead to 141783307",
)
def a_balance_one_micro_off(books: Books) -> None:
    books.balances[1] |= {"balance_micros": 148_283_301, "available_micros": 140_283_301}


@plant(
    "account A: closes at 148283300, its movements lead to 98283300",
    "command p1: 1 movements instead of 0",
    "account A: no commands before cdr c1 explain the balance after it",
    "in total: closes at 141783307, all movements lead to 91783307",
)
def money_out_of_nowhere(books: Books) -> None:
    books.inputs = [record for record in books.inputs if record.get("command_id") != "p1"]
    books.rejected = books.rejected[1:]


@plant(
    "account C: closes at 8, its movements lead to 7",
    "account C: closes at 8, what was published comes to 0",
    "account B: closes at -6500001, its movements lead to -6500000",
    "account B: closes at -6500001, what was published comes to -6500000",
)
def a_micro_moved_between_accounts(books: Books) -> None:
    books.balances.append(balance("C", 8, 0, 0))
    books.balances[2] = balance("B", -6_500_001, 0, 20 * RUB, "blocked")


@plant(
    "account C: closes at 7, its movements lead to 9",
    "command p3: 0 movements instead of 1",
    "in total: closes at 141783307, all movements lead to 141783309",
)
def a_command_that_was_lost(books: Books) -> None:
    books.inputs.append(books.p1 | {"command_id": "p3", "account_id": "C", "amount_micros": 2})


@plant("account A: available is 140283299, not 140283300")
def available_that_does_not_add_up(books: Books) -> None:
    books.balances[1]["available_micros"] -= 1


@plant("account B: the credit limit has changed", "account Z: has a balance, but is unknown")
def balances_that_nobody_opened(books: Books) -> None:
    books.balances[2] = balance("B", -6_500_000, 0, 21 * RUB, "blocked")
    books.balances.append(balance("Z", 0, 0, 0))


@plant("account A: no commands before cdr c1 explain the balance after it")
def a_balance_after_a_call_that_commands_cannot_explain(books: Books) -> None:
    books.rated[0]["balance_after_micros"] += 2 * RUB


@plant("command t1: 0 movements instead of 1", "account A: closes at 148283300, what was published comes to 149283300")
def a_movement_that_was_lost(books: Books) -> None:
    del books.movements[3]


@plant(
    "command p1: 2 movements instead of 1",
    "account A: closes at 148283300, what was published comes to 198283300",
    "account A: no charges before p1 explain the balance after it",
)
def a_movement_that_was_told_twice(books: Books) -> None:
    books.movements.insert(2, books.movements[1])


@plant(
    "account A: closes at 148283300, what was published comes to 148283301",
    "account A: no charges before p1 explain the balance after it",
    "command p1: the movement is ('payment', 50000001, None, None, 1795543200000), "
    "the command says ('payment', 50000000, None, None, 1795543200000)",
)
def a_movement_of_another_amount(books: Books) -> None:
    books.movements[1] = movement(books.p1, 50 * RUB + 1, 150 * RUB)


@plant("account A: no charges before t1 explain the balance after it")
def a_balance_after_a_movement_that_calls_cannot_explain(books: Books) -> None:
    books.movements[3]["balance_after_micros"] += 1


@plant("account A: opens with 99000000", "account A: closes at 148283300, what was published comes to 147283300")
def an_opening_of_another_amount(books: Books) -> None:
    books.movements[0] = opened("A", 99 * RUB)
    for told in (books.movements[1], books.movements[3]):
        told["balance_after_micros"] -= RUB


@plant("account A: 2 openings among 4 movements, or not first")
def a_second_opening(books: Books) -> None:
    books.movements.append(opened("A", 0) | {"balance_after_micros": 148_283_300})


@plant("account A: 1 openings among 3 movements, or not first")
def an_opening_that_comes_late(books: Books) -> None:
    books.movements[0], books.movements[3] = books.movements[3], books.movements[0]
    books.movements[0]["balance_after_micros"] = -RUB
    books.movements[1]["balance_after_micros"] = 49 * RUB
    books.movements[3]["balance_after_micros"] = 149 * RUB


@plant("account Z: opened, but is unknown", "account Z: closes at None, what was published comes to 0")
def an_account_that_nobody_knows_opened(books: Books) -> None:
    books.movements.append(opened("Z", 0))


@plant("account B: active after block, not blocked", "account B: closes blocked, not as its last movement left it")
def a_block_that_left_the_account_active(books: Books) -> None:
    books.movements[5]["status"] = "active"


@plant(
    "cdr c1: neither rated nor rejected",
    "account A: closes at 148283300, its movements lead to 149000000",
    "account A: closes at 148283300, what was published comes to 149000000",
    "in total: closes at 141783307, all movements lead to 142500007",
)
def a_lost_cdr(books: Books) -> None:
    del books.rated[0]


@plant(
    "cdr c1: rated 2 times",
    "account A: closes at 148283300, its movements lead to 147566600",
    "account A: closes at 148283300, what was published comes to 147566600",
    "account A: no commands before cdr c1 explain the balance after it",
    "in total: closes at 141783307, all movements lead to 141066607",
)
def a_doubled_cdr(books: Books) -> None:
    books.rated.append(books.rated[0])


@plant("cdr c6: rated, but nobody sent it")
def a_call_that_nobody_made(books: Books) -> None:
    books.rated.append(books.rated[2] | {"cdr_id": "c6"})


@plant("cdr c5: both rated and rejected")
def a_cdr_rated_and_rejected(books: Books) -> None:
    c5 = next(record for record in books.inputs if record.get("cdr_id") == "c5")
    books.rejected.append(rejected(c5, "unknown_provider", 9))


@plant("cdr c1: came with other content too, and neither was rejected")
def a_swallowed_rejection(books: Books) -> None:
    del books.rejected[2]


@plant("cdr c3: neither rated nor rejected")
def a_cdr_that_vanished(books: Books) -> None:
    del books.rejected[3]


@plant("command k1: came with other content too, and neither was rejected")
def a_reused_command_that_was_not_rejected(books: Books) -> None:
    block = next(record for record in books.inputs if record["type"] == "block")
    books.inputs.append(block | {"reason": "another"})


@plant(
    "command p1: came with other content too, and neither was rejected",
    "account A: closes at 148283300, its movements lead to 208283300",
    "account A: no commands before cdr c1 explain the balance after it",
    "in total: closes at 141783307, all movements lead to 201783307",
)
def a_reused_payment_that_was_not_rejected(books: Books) -> None:
    del books.rejected[0]


@plant("command p9: the account Z is unknown, and it was not rejected", "command p9: 0 movements instead of 1")
def a_command_on_nobodys_account(books: Books) -> None:
    del books.rejected[1]


@plant('record {"cdr_id": 7, "type": "cdr"}: not rejected, though it is no event')
def junk_that_vanished(books: Books) -> None:
    del books.rejected[4]


@plant("cdr c9: rejected more often than sent")
def a_rejection_of_nothing(books: Books) -> None:
    books.rejected.append(rejected(books.c1 | {"cdr_id": "c9"}, "id_reused", 9))


@plant("the record at in/0/6 was rejected 2 times")
def a_doubled_rejection(books: Books) -> None:
    books.rejected.append(books.rejected[4])


@plant("attempt a2: neither decided nor rejected", "cdr c5: not marked no_attempt, though no attempt was decided")
def an_attempt_without_answer(books: Books) -> None:
    books.decisions.remove(books.decision("a2"))


@plant("attempt a2: 2 first decisions instead of 1")
def an_attempt_decided_twice(books: Books) -> None:
    books.decisions.append(books.decision("a2"))


@plant("attempt x: decided, but nobody sent it")
def a_decision_that_nobody_asked_for(books: Books) -> None:
    books.decisions.append(books.decision("a2") | {"attempt_id": "x"})


@plant("attempt a1: asked 2 times, answered 1 times")
def a_repetition_without_answer(books: Books) -> None:
    del books.decisions[1]


@plant("attempt a1: the repeated decision differs from the first")
def a_changed_repeated_decision(books: Books) -> None:
    books.decisions[1]["reference_version"] = 2


@plant("attempt a1: the repeated decision differs from the first")
def a_repeated_decision_in_another_order_of_bytes(books: Books) -> None:
    books.decisions[1] = dict(reversed(books.decisions[1].items()))


@plant("extension a5: asked 2 times, answered 1 times")
def an_extension_without_its_repetition(books: Books) -> None:
    books.decisions.pop()


@plant("extension a5: the decisions are not numbered 1, 2, …")
def an_extension_with_a_wrong_number(books: Books) -> None:
    for decision in books.decisions[-2:]:
        decision["extension"] = 2


@plant("attempt a2: the decision names another switch")
def a_decision_for_another_switch(books: Books) -> None:
    books.decision("a2")["switch_id"] = "spb-1"


@plant("attempt a6: 13500001 micros are held, but only 13500000 were available")
def a_hold_above_what_was_available(books: Books) -> None:
    books.decision("a6")["hold_micros"] = 13_500_001


@plant("attempt a6: available is not balance + credit limit - held, 13500000 micros")
def a_money_check_that_does_not_add_up(books: Books) -> None:
    books.decision("a6")["checks"][0]["available_micros"] += 1


@plant("attempt a6: money is held without looking at the account's")
def a_hold_without_a_money_check(books: Books) -> None:
    books.decision("a6")["checks"] = []


@plant("attempt a6: the hold does not expire 120 s after the granted time")
def a_hold_that_lives_too_long(books: Books) -> None:
    books.decision("a6")["hold_expires_at"] = "2026-11-24T19:03:00.001Z"


@plant("attempt a8: allowed for an unknown account")
def a_call_of_nobody(books: Books) -> None:
    del books.decision("a8")["emergency"]


@plant("attempt a2: denied, yet time, money or routes are granted")
def a_denied_call_with_time(books: Books) -> None:
    books.decision("a2")["max_seconds"] = 60


@plant("attempt a2: the reasons do not fit the answer")
def a_denial_without_a_reason(books: Books) -> None:
    books.decision("a2").update(reason=None, reasons=[])


@plant("cdr c1: retail amount is 716600, 43/60 rounds to 716700", "cdr c1: the margin is 558367, not 558267")
def a_wrong_rounding(books: Books) -> None:
    books.rated[0]["retail"]["amount_micros"] -= 100
    books.rated[0]["balance_after_micros"] += 100
    books.balances[1] = balance("A", 148_283_400, 8 * RUB, 0)


@plant("cdr c1: retail exact is 43/60, its parts sum up to 49/60")
def a_charge_that_does_not_add_up(books: Books) -> None:
    books.rated[0]["retail"]["connect_fee_micros"] += 100_000


@plant("cdr c1: retail exact is 86/120, its parts sum up to 43/60")
def a_fraction_that_is_not_in_lowest_terms(books: Books) -> None:
    books.rated[0]["retail"]["exact"] = "86/120"


@plant(
    "cdr c1: wholesale line from second 0 is 19/120, not 2/15",
    "cdr c1: wholesale line from second 0 pays 95 s by 80 steps",
)
def a_line_that_pays_too_few_steps(books: Books) -> None:
    books.rated[0]["wholesale"]["lines"][0]["steps"] = 80


@plant("cdr c2: retail lines pay 62 s of 61")
def a_line_that_pays_for_seconds_nobody_talked(books: Books) -> None:
    books.rated[1]["retail"]["lines"][0]["seconds"] = 62


@plant("cdr c2: retail max_charge does not lead to its limit")
def an_adjustment_to_another_limit(books: Books) -> None:
    books.rated[1]["retail"]["adjustment"]["limit_micros"] += 1


@plant("cdr c2: retail discount is -1/2, not 11 % of 5")
def a_discount_of_another_percentage(books: Books) -> None:
    books.rated[1]["retail"]["discount"]["percent"] = "11"


@plant("cdr c1: the margin is 558368, not 558367")
def a_wrong_margin(books: Books) -> None:
    books.rated[0]["margin_micros"] += 1


@plant("cdr c1: called is not the CDR's")
def a_cdr_with_another_number(books: Books) -> None:
    books.rated[0]["called"] = "381"


@plant(
    "cdr c1: retail lines pay 95 s of 94",
    "cdr c1: wholesale lines pay 95 s of 94",
    "cdr c1: billable_seconds is not the CDR's",
)
def a_second_that_was_dropped(books: Books) -> None:
    books.rated[0]["billable_seconds"] = 94


@plant("cdr c5: the mark denied is not what was decided")
def a_cdr_of_a_denied_call_without_the_mark(books: Books) -> None:
    del books.rated[2]["denied"]


@plant("cdr c2: not marked no_attempt, though no attempt was decided")
def a_cdr_without_attempt_and_without_the_mark(books: Books) -> None:
    del books.rated[1]["no_attempt"]


@plant("account B: 0 micros held at the end, its calls hold 3000000")
def a_hold_freed_by_nothing(books: Books) -> None:
    books.inputs.remove(books.release)
    books.decision("a6").update(max_seconds=7200, hold_expires_at="2026-11-24T21:02:00.000Z")


@plant("account B: 2000000 micros held at the end, its calls hold 0")
def a_hold_that_did_not_expire(books: Books) -> None:
    books.balances[2] = balance("B", -6_500_000, 2 * RUB, 20 * RUB, "blocked")


@plant("number 74951201031 on 2026-11-24: 3 calls of 1 callers, not 2 of 1")
def a_call_counted_again_when_it_was_repeated(books: Books) -> None:
    books.ncv[1]["calls"] = 3


@plant("number 74951201031 on 2026-11-24: 2 calls of 2 callers, not 2 of 1")
def one_caller_counted_as_two(books: Books) -> None:
    books.ncv[1]["unique_callers"] = 2


@plant("number 74951201031 on 2026-11-25: 0 calls of 0 callers, not 1 of 1")
def a_call_after_midnight_that_was_not_counted(books: Books) -> None:
    books.ncv.pop()


@plant("number 74951201032 on 2026-11-24: 1 calls of 1 callers, not 0 of 0")
def a_count_for_a_number_in_use(books: Books) -> None:
    books.ncv.append(books.ncv[0] | {"number": "74951201032"})


@plant("number 74951201031 on 2026-11-24: the first or last call is at another moment")
def a_first_call_at_another_moment(books: Books) -> None:
    books.ncv[1]["first_at"] = "2026-11-24T20:00:00.001Z"


@plant("attempt a4: the number is archive, the decision says ['free']")
def a_decision_with_another_status_of_the_number(books: Books) -> None:
    reason = books.decision("a4")["reason"] | {"status": "free"}
    books.decision("a4").update(reason=reason, reasons=[reason])


@pytest.mark.parametrize(("spoil", "expected"), [pytest.param(*rest, id=name) for name, *rest in PLANTS])
def test_the_auditor_finds_exactly_the_planted_error(spoil: Callable[[Books], object], expected: list[str]) -> None:
    books = Books()
    spoil(books)

    assert sorted(books.findings()) == sorted(expected)


def test_a_hold_that_has_expired_by_the_partitions_clock_is_no_longer_due() -> None:
    books = Books()
    books.balances[1] = balance("A", 148_283_300, 0, 0)

    assert books.findings() == ["account A: 0 micros held at the end, its calls hold 8000000"]
    assert books.findings(clock_of_a="2026-11-24T19:21:00+00:00") == []
    assert books.findings(clock_of_a="2026-11-24T19:21:01+00:00") == []


def test_a_cdr_that_was_rejected_first_and_rated_when_sent_again_is_no_finding() -> None:
    books = Books()
    books.inputs.append(books.c1)
    books.rejected.append(rejected(books.c1, "no_retail_price", 9))

    assert books.findings() == []


def test_the_order_of_fields_and_unknown_ones_do_not_make_another_content() -> None:
    books = Books()
    books.inputs.append({"unknown": 1, **dict(reversed(books.c1.items()))})
    del books.inputs[-1]["place"]

    assert books.findings() == []
