"""Working days: the guide's eight of them, holidays, moved days, and what a loaded calendar says instead (§1.4, D8)."""

from datetime import date, timedelta

import pytest
from api import APP, api_on
from hypothesis import given
from hypothesis import strategies as st
from postgres import TestedDatabase

from backoffice.working_days import Kind, NobodyWorks, Period, WorkingDays
from connectors.postgres.calendar import working_days
from connectors.postgres.database import Database

ANY_YEAR = Period(date(2026, 1, 1), date(2026, 12, 31))


@pytest.mark.parametrize(
    ("reserved", "count", "last"),
    [
        ("2026-10-30", 8, "2026-11-12"),  # D8: a Friday; 4 November is a holiday
        ("2026-10-30", 0, "2026-10-30"),
        ("2026-10-31", 1, "2026-11-02"),  # a Saturday is day 0 too
        ("2026-10-30", 1, "2026-11-02"),
        ("2026-11-03", 1, "2026-11-05"),
        ("2025-12-30", 1, "2026-01-12"),  # 31 December is moved to, 9 January too
        ("2025-12-30", 8, "2026-01-21"),
        ("2024-04-26", 1, "2024-04-27"),  # a Saturday that is worked
        ("2024-04-27", 1, "2024-05-02"),  # for the 29th and 30th
        ("2027-02-19", 1, "2027-02-20"),
    ],
)
def test_without_a_loaded_calendar_the_countrys_own_counts(reserved: str, count: int, last: str) -> None:
    assert WorkingDays().after(date.fromisoformat(reserved), count) == date.fromisoformat(last)


def test_a_loaded_calendar_says_what_its_days_are() -> None:
    moved: dict[date, Kind] = {
        date(2026, 11, 4): "working",
        date(2026, 11, 5): "day_off",
        date(2026, 11, 7): "shortened",  # a Saturday
    }
    days = WorkingDays(moved, (ANY_YEAR,))

    worked = [day for day in range(1, 10) if days.works(date(2026, 11, day))]

    assert worked == [2, 3, 4, 6, 7, 9]


def test_a_day_that_a_loaded_calendar_does_not_name_is_what_its_weekday_says() -> None:
    days = WorkingDays({}, (ANY_YEAR,))

    assert days.works(date(2026, 11, 4))  # a Wednesday, whatever others say of it
    assert not days.works(date(2026, 11, 7))
    assert not WorkingDays({}, (Period(date(2026, 1, 1), date(2026, 11, 3)),)).works(date(2026, 11, 4))
    assert days.works(date(2026, 12, 31))
    assert not days.works(date(2027, 1, 1))  # beyond what was loaded


def test_a_calendar_without_a_working_day_is_told_and_not_counted_for_ever() -> None:
    since = date(2026, 1, 1)
    nobody: dict[date, Kind] = {since + timedelta(days=ahead): "day_off" for ahead in range(365)}

    with pytest.raises(NobodyWorks, match="no working day in the 60 days after 2026-02-01: load it anew"):
        WorkingDays(nobody, (ANY_YEAR,)).after(date(2026, 2, 1), 8)
    with pytest.raises(ValueError, match="-1 working days after 2026-02-01 lie before it"):
        WorkingDays().after(date(2026, 2, 1), -1)


DAYS = st.dates(date(2023, 1, 1), date(2028, 12, 31))
KINDS = st.sampled_from(["working", "shortened", "day_off"])


@given(
    start=DAYS,
    count=st.integers(0, 40),
    loaded=st.dictionaries(DAYS, KINDS, max_size=30),
    ends=st.none() | st.tuples(DAYS, DAYS),
)
def test_the_nth_working_day_is_worked_and_has_n_of_them_before_it(
    start: date, count: int, loaded: dict[date, Kind], ends: tuple[date, date] | None
) -> None:
    days = WorkingDays(loaded, () if ends is None else (Period(min(ends), max(ends)),))

    found = days.after(start, count)

    assert days.between(start, found) == count
    assert found == start if count == 0 else days.works(found)
    assert days.between(found, start) == 0


def test_what_the_api_has_loaded_is_what_is_counted_by(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async def eighth() -> str:
            found = await working_days(db.pool, date(2026, 10, 30))
            return found.after(date(2026, 10, 30), 8).isoformat()

        async def load(since: str, until: str, *days: tuple[str, str]) -> None:
            named = [{"day": day, "kind": kind} for day, kind in days]
            await api.ok("PUT", "/api/calendar", json={"since": since, "until": until, "days": named})

        async with api_on(db) as api:
            assert await eighth() == "2026-11-12"
            # Another month says nothing of this one.
            await load("2026-01-01", "2026-01-31")
            assert await eighth() == "2026-11-12"
            # The whole autumn without a holiday.
            await load("2026-10-01", "2026-11-30")
            assert await eighth() == "2026-11-11"
            await load("2026-11-02", "2026-11-06", ("2026-11-04", "day_off"), ("2026-11-05", "day_off"))
            assert await eighth() == "2026-11-13"
            await load("2026-11-07", "2026-11-08", ("2026-11-07", "working"))
            assert await eighth() == "2026-11-12"
            periods = (await working_days(db.pool, date(2026, 1, 10), date(2026, 11, 1))).periods
            assert periods == (
                Period(date(2026, 1, 10), date(2026, 1, 31)),
                Period(date(2026, 10, 1), date(2026, 11, 1)),
            )

    database.run(story, role=APP)
