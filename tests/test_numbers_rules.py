"""The rules of numbers as the guide has them (§1.4): which state comes after which, what may be sold, who leaves
quarantine and when, whose approval a number needs. No database."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backoffice.numbers import quarantine, states
from backoffice.numbers.availability import COLOURS, GREEN, RED, availability, may_be_sold
from backoffice.numbers.forcing import route_of
from backoffice.numbers.quarantine import Silence
from backoffice.numbers.search import STATUSES, wanted
from backoffice.refusals import InTheWay, Unfit
from connectors.convert.common import NumberRule
from engine.ncv import AGENTS_PLACE, collected, sign, sign_of
from schemas.reference import Number
from tests.models import ncv as model

TABLES = Path(__file__).parent / "tables" / "numbers"
e164 = NumberRule().e164

D = date.fromisoformat


def a_number(**more: object) -> Number:
    fields: dict[str, object] = {
        "number": "74951201031",
        "status": "archive",
        "account_id": None,
        "place": None,
        "region": "Москва",
        "provider_id": None,
        "fmtn": False,
        "joined_on": "2020-01-01",
        "archived_on": "2026-03-03",
        "saleable": "depends_on_ncv",
    }
    return Number(**fields | more)  # type: ignore[arg-type]


def rows(name: str) -> list[list[str]]:
    """The table's rows: cells are two blanks apart; what begins with # is prose, and the header stands first."""
    lines = (TABLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines if not line.startswith("#")]
    return [row for row in cells if row][1:]


# -- signs and colours ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("signs"), ids=" ".join)
def test_a_sign_is_what_the_table_says(row: list[str]) -> None:
    kind, since, days, calls, today, criterion, status, expected, colour, sold = row
    number = a_number(
        status=status,
        fmtn=kind == "fmtn",
        place=AGENTS_PLACE if kind == "agents" else None,
        archived_on=None if since.startswith("joined") else since,
        joined_on=since.removeprefix("joined:") if since.startswith("joined") else "2020-01-01",
        saleable=criterion,
    )

    found = sign(
        number, today=today, collected_days=_days(days), days_with_calls=[] if calls == "-" else calls.split(",")
    )

    assert found == expected
    assert COLOURS[availability(number, found)] == colour
    assert may_be_sold(number, found) == (sold == "yes")


def _days(text: str) -> list[str]:
    """`2026-03-03`, `2026-03-03..2026-04-01`, or `-`."""
    if text == "-":
        return []
    first, _, last = text.partition("..")
    span = (D(last or first) - D(first)).days
    return [(D(first) + timedelta(days=step)).isoformat() for step in range(span + 1)]


DAYS = st.dates(D("2026-01-01"), D("2026-06-30"))


@given(since=DAYS, seen=st.sets(DAYS, max_size=30), called=st.sets(DAYS, max_size=8), today=DAYS)
def test_a_sign_is_that_of_a_model_that_knows_no_shortcut(
    since: date, seen: set[date], called: set[date], today: date
) -> None:
    known = {day for day in seen | called if day <= today}
    expected = model.sign(
        fmtn=False,
        place=None,
        since=since,
        collected_days=known,
        counted_days={day for day in called if since <= day <= today},
        today=today,
    )

    last = max((day.isoformat() for day in called if day <= today), default=None)
    days = collected([day.isoformat() for day in seen | called], today=today.isoformat())

    words = {"ignored": "ncv_ignored", "insufficient": "insufficient_data"}
    assert sign_of(a_number(archived_on=since.isoformat()), last, days) == words.get(expected, expected)


def test_green_and_red_are_all_values_and_share_none() -> None:
    assert set(COLOURS) == GREEN | RED
    assert not GREEN & RED
    assert {"forced_yes", "no_ncv", "ncv_ignored"} == GREEN


# -- quarantine -------------------------------------------------------------------------------------------------------


@given(
    start=st.integers(0, 20),
    calls=st.sets(st.integers(0, 80), max_size=5),
    gaps=st.sets(st.integers(0, 80), max_size=4),
)
def test_a_number_leaves_on_the_very_day_that_was_foretold_if_nobody_calls(
    start: int, calls: set[int], gaps: set[int]
) -> None:
    first = D("2026-03-01")
    number = a_number(archived_on=(first + timedelta(days=start)).isoformat())
    today = first + timedelta(days=81)
    closed = {first + timedelta(days=step) for step in range(81) if step not in gaps}
    called = {first + timedelta(days=step) for step in calls if step >= start}

    foretold = _on(number, today, closed, called)[1]
    assert foretold is not None
    night = today
    while not _on(number, night, closed, called)[0]:
        closed.add(night)
        night += timedelta(days=1)
        assert night <= D(foretold), "it should have left"

    assert night == D(foretold)


def _on(number: Number, today: date, closed: set[date], called: set[date]) -> tuple[bool, str | None]:
    """Whether it leaves in the night that begins a day, and when it can at the earliest."""
    known = {day.isoformat() for day in closed | called if day <= today}
    days = collected(known, today=today.isoformat())
    unclosed = quarantine.gaps({day.isoformat() for day in closed}, days)
    last = max((day.isoformat() for day in called), default=None)
    first = min((day for day in known if day >= (number.archived_on or "")), default=None)
    return (
        quarantine.leaves(number, last, days, unclosed),
        quarantine.earliest(number, Silence(last, first), days, unclosed),
    )


def test_a_day_that_nobody_closed_keeps_a_number_in_quarantine() -> None:
    number = a_number(archived_on="2026-03-03")
    all_days = set(_days("2026-03-03..2026-04-01"))
    days = collected(all_days, today="2026-04-02")

    assert quarantine.gaps(all_days, days) == ()
    assert quarantine.leaves(number, None, days, ())
    unclosed = quarantine.gaps(all_days - {"2026-03-15"}, days)
    assert unclosed == ("2026-03-15",)
    assert not quarantine.leaves(number, None, days, unclosed)
    assert quarantine.leaves(a_number(fmtn=True), None, days, unclosed), "its calls do not count"


def test_a_gap_on_the_very_day_of_archiving_counts_and_one_before_it_does_not() -> None:
    number = a_number(archived_on="2026-03-15")
    days = collected(_days("2026-03-01..2026-04-13"), today="2026-04-14")

    assert quarantine.leaves(number, None, days, ())
    assert not quarantine.leaves(number, None, days, ("2026-03-15",))
    assert quarantine.leaves(number, None, days, ("2026-03-14",))


# -- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("ways"), ids=" ".join)
def test_a_number_goes_the_ways_of_the_table_and_no_others(row: list[str]) -> None:
    kind, status, what, expected = row
    holder = "A1" if status in ("reserved", "in_use") else None
    number = a_number(status=status, account_id=holder, fmtn=kind == "fmtn", saleable="forced_yes")

    def done() -> Number:
        match what:
            case "reserve":
                return states.reserve(number, "A1")
            case "activate":
                return states.activate(number, "no")
            case "release":
                return states.release(number, "2026-11-24", "no")
            case "rest":
                return states.rest(number)
            case "force":
                return states.force(number)
            case "fall-clean":
                return states.fall_through(number, "no", rested=True, called_since=False)
            case "fall-called":
                return states.fall_through(number, "no", rested=True, called_since=True)
            case "fall-unrested":
                return states.fall_through(number, "no", rested=False, called_since=False)
        raise AssertionError(what)

    if expected == "refused":
        with pytest.raises(InTheWay, match="can't be"):
            done()
        return
    after = done()
    assert after.status == expected
    assert (after.account_id is None) == (expected in ("free", "archive"))
    if what in ("activate", "release", "fall-clean", "fall-called", "fall-unrested"):
        assert after.saleable == "no", "a forced yes ends with the sale that used it, or with its owner"
    expected_date = "2026-11-24" if what == "release" and kind == "any" else "2026-03-03"
    assert after.archived_on == expected_date


def test_a_new_number_whose_sale_falls_through_waits_since_it_joined() -> None:
    number = a_number(status="reserved", account_id="A1", joined_on="2026-11-01", archived_on=None)

    after = states.fall_through(number, "depends_on_ncv", rested=False, called_since=False)

    assert (after.status, after.archived_on) == ("archive", "2026-11-01")


@given(steps=st.lists(st.sampled_from(["reserve", "activate", "release", "rest", "force", "fall"]), max_size=30))
def test_whatever_is_tried_a_number_that_was_in_use_is_free_only_after_rest_or_approval(steps: list[str]) -> None:
    number = a_number(status="free")
    released = False
    for step in steps:
        try:
            match step:
                case "reserve":
                    number = states.reserve(number, "A1")
                case "activate":
                    number = states.activate(number, "depends_on_ncv")
                case "release":
                    number, released = states.release(number, "2026-11-24", "depends_on_ncv"), True
                case "rest":
                    number, released = states.rest(number), False
                case "force":
                    number, released = states.force(number), False
                case "fall":
                    number = states.fall_through(number, "depends_on_ncv", rested=False, called_since=False)
        except InTheWay:
            continue
        assert not (released and number.status == "free")


# -- approvals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows("approvals"), ids=" ".join)
def test_a_request_goes_the_way_of_the_table(row: list[str]) -> None:
    callers, department, whose, desk, consent, copy = row

    for unique in _between(callers):
        found = route_of(department, unique, own_number=whose == "own")  # type: ignore[arg-type]
        assert (found.desk, found.consent, found.copy_to_head) == (desk, consent == "yes", copy == "yes")


def _between(text: str) -> range:
    low, _, high = text.replace("+", "-9").partition("-")
    return range(int(low), int(high or low) + 1)


# -- the search -------------------------------------------------------------------------------------------------------


def _search(mask: str | None = None, availabilities: tuple[str, ...] = ()) -> object:
    return wanted(
        mask=mask, statuses=(), availabilities=availabilities, region=None, provider_id=None, e164=e164
    ).pattern


def test_one_number_is_found_as_people_type_it_and_many_only_by_their_availability() -> None:
    assert _search("8(495) 200-0-200") == "74952000200"
    assert _search("%555%", ("green",)) == "%555%"
    assert _search("7 (495) %555%", ("green", "no")) == "7495%555%"
    for mask in (None, "%555%", "7495%"):
        with pytest.raises(Unfit) as caught:
            _search(mask)
        assert [problem.pointer for problem in caught.value.problems] == ["/availability"]
    for mask in ("%", "%%", "49a%", "звонки"):
        with pytest.raises(Unfit) as caught:
            _search(mask, ("green",))
        assert [problem.pointer for problem in caught.value.problems] == ["/number"]
    with pytest.raises(Unfit):
        _search("%5%", ("blue",))


def test_the_statuses_are_the_guides_four() -> None:
    assert set(STATUSES) == {"free", "reserved", "in_use", "archive"}
