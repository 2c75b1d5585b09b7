"""The jobs of numbers (§1.4): the guide's days at their edges, gaps in the statistics, many numbers in steps; and the
search of the database, which must choose by the very rule that signs are made by."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from api import APP
from postgres import TestedDatabase
from test_nightly import at, set_to

from backoffice.nightly import Job
from backoffice.numbers.availability import AVAILABILITIES, availability
from backoffice.numbers.search import STATUSES, Wanted
from backoffice.numbers.settings import NumbersSettings
from connectors.nightly import Nightly, Result, Work
from connectors.nightly import numbers as jobs
from connectors.nightly.numbers import NCV_DAY, QUARANTINE, UNPAID
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import Database, open_database
from connectors.postgres.numbers import Looks
from connectors.postgres.queries import sql
from connectors.settings import NightlySettings
from engine.ncv import AGENTS_PLACE, sign
from engine.settings import EngineSettings
from schemas.reference import Number

MOSCOW = ZoneInfo("Europe/Moscow")
D = date.fromisoformat


def told(database: TestedDatabase, story: Any) -> None:
    """A story with the office's rights, and the owner's for what others bring."""

    async def opened(owner: Database) -> None:
        await owner.pool.execute(
            "INSERT INTO office.clients (client_id, kind, name, search_words, created_at, created_by)"
            " VALUES ('C', 'company', 'ООО', '{ооо}', now(), 'test')"
        )
        await owner.pool.execute("INSERT INTO office.tariff_plans (tariff_plan_id, name) VALUES ('T', 'T')")
        await owner.pool.execute(
            "INSERT INTO office.accounts (account_id, client_id, tariff_plan_id, payment_mode, currency,"
            " opening_status, status, created_at, created_by)"
            " VALUES ('A', 'C', 'T', 'prepaid', 'RUB', 'active', 'active', now(), 'test')"
        )
        async with open_database(database.settings, role=APP) as office:
            await story(office, owner)

    database.run(opened)


async def night(
    office: Database, day: date, *wanted: Job[Work], settings: NumbersSettings | None = None
) -> dict[str, Result]:
    """The night that begins a day."""
    await set_to(office.pool, at(day))
    nightly = Nightly(
        office.pool,
        wanted or (NCV_DAY, QUARANTINE, UNPAID),
        clock=BusinessClock(settable=True),
        engine=EngineSettings(),
        settings=NightlySettings(),
        numbers=settings,
    )
    return {one.turn.job: one for one in await nightly.run(by="test") if one.turn.day == day}


async def number(owner: Database, digits: str, since: str | None = "2026-03-03", **more: Any) -> None:
    """A number as a folder would bring it, in quarantine if nothing else is said."""
    fields = {
        "status": "archive",
        "account_id": None,
        "fmtn": False,
        "place": None,
        "saleable": "depends_on_ncv",
    } | more
    await owner.pool.execute(
        "INSERT INTO office.numbers (number, status, account_id, fmtn, place, saleable, joined_on, archived_on,"
        " changed_at, changed_by, change_reason) VALUES ($1, $2, $3, $4, $5, $6, '2020-01-01', $7, now(), 'x', 'x')",
        digits,
        *(fields[name] for name in ("status", "account_id", "fmtn", "place", "saleable")),
        None if since is None else D(since),
    )


async def called(owner: Database, digits: str, day: str, at: str | None = None) -> None:
    moment = datetime.fromisoformat(at) if at else datetime.combine(D(day), datetime.min.time(), MOSCOW)
    await owner.pool.execute(
        "INSERT INTO facts.ncv VALUES ($1, $2, 1, 1, $3, $3, 0, 0)", digits, D(day), moment.astimezone(UTC)
    )


async def heard(owner: Database, until: str) -> None:
    """All is known until that moment."""
    await owner.pool.execute(sql("facts/known"), datetime.fromisoformat(until).astimezone(UTC))


async def closed(owner: Database, first: str, last: str) -> None:
    await owner.pool.execute(
        "INSERT INTO office.ncv_days SELECT d, d, 'x', 'x', 0, 0"
        " FROM generate_series($1::date, $2::date, interval '1 day') AS d",
        D(first),
        D(last),
    )


async def statuses(office: Database) -> dict[str, str]:
    return {row[0]: row[1] for row in await office.pool.fetch("SELECT number, status FROM office.numbers")}


# -- quarantine -------------------------------------------------------------------------------------------------------


def test_a_number_leaves_in_the_night_of_the_thirtieth_silent_day_and_not_before(database: TestedDatabase) -> None:
    async def story(office: Database, owner: Database) -> None:
        await number(owner, "1", "2026-03-03")
        await number(owner, "2", "2026-03-03")
        await number(owner, "3", "2026-03-03", fmtn=True)
        await number(owner, "4", "2026-03-03", place=AGENTS_PLACE)
        await number(owner, "5", "2026-03-03", saleable="no")
        await called(owner, "2", "2026-03-20")
        await closed(owner, "2026-03-03", "2026-03-31")

        await heard(owner, "2026-04-01T00:00:01+03:00")
        first = await night(office, D("2026-04-01"))
        assert first["quarantine"].report.counts == {"freed": 2}
        assert await statuses(office) == dict.fromkeys("125", "archive") | dict.fromkeys("34", "free")
        await heard(owner, "2026-04-02T00:00:01+03:00")
        second = await night(office, D("2026-04-02"))
        assert second["quarantine"].report.counts == {"freed": 2}
        assert await statuses(office) == {"1": "free", "2": "archive", "3": "free", "4": "free", "5": "free"}
        row = await office.pool.fetchrow("SELECT * FROM office.numbers WHERE number = '1'")
        assert row is not None
        assert (row["archived_on"], row["change_reason"]) == (D("2026-03-03"), "no calls in 30 days")
        outbox = await office.pool.fetch("SELECT key, payload FROM plumbing.outbox ORDER BY seq")
        assert [(one["key"], one["payload"]["status"]) for one in outbox][-2:] == [("1", "free"), ("5", "free")]
        assert await night(office, D("2026-04-02")) == {}, "once a night"

        await closed(owner, "2026-04-02", "2026-04-17")
        for day in ("2026-04-19", "2026-04-20"):
            await heard(owner, f"{day}T00:00:01+03:00")
            if day == "2026-04-19":
                # The call of the 20th of March lies in the window for the last time.
                assert (await night(office, D(day)))["quarantine"].report.counts == {"freed": 0}
            else:
                assert (await night(office, D(day)))["quarantine"].report.counts == {"freed": 1}

    told(database, story)


def test_ten_days_of_rest_are_ten(database: TestedDatabase) -> None:
    async def story(office: Database, owner: Database) -> None:
        await number(owner, "1", "2026-03-03")
        await closed(owner, "2026-03-03", "2026-03-10")
        ten = NumbersSettings(rest_days=10)
        for day, freed in (("2026-03-12", 0), ("2026-03-13", 1)):
            await heard(owner, f"{day}T00:00:01+03:00")
            assert (await night(office, D(day), settings=ten))["quarantine"].report.counts == {"freed": freed}, day

    told(database, story)


def test_nobody_leaves_over_a_gap_until_the_day_is_closed_by_hand_or_lies_far_back(database: TestedDatabase) -> None:
    async def story(office: Database, owner: Database) -> None:
        await number(owner, "1", "2026-03-03")
        await number(owner, "2", "2026-03-16")
        await closed(owner, "2026-03-03", "2026-03-14")
        await closed(owner, "2026-03-16", "2026-04-09")
        await heard(owner, "2026-04-11T00:00:01+03:00")

        found = (await night(office, D("2026-04-10")))["quarantine"].report
        assert (found.counts, found.notes) == ({"freed": 0}, ("a gap in the statistics: 2026-03-15",))
        await closed(owner, "2026-03-15", "2026-03-15")
        assert (await night(office, D("2026-04-11")))["quarantine"].report.counts == {"freed": 1}
        assert await statuses(office) == {"1": "free", "2": "archive"}

    told(database, story)


def test_a_day_is_closed_when_the_engine_was_heard_after_it_and_nothing_is_missing(database: TestedDatabase) -> None:
    async def story(office: Database, owner: Database) -> None:
        await number(owner, "1", "2026-03-03")
        never = (await night(office, D("2026-03-04")))["ncv_day"]
        assert (never.state, never.report.counts) == ("done", {"gaps": 1}), "no engine has ever said anything here"

        await heard(owner, "2026-03-04T23:59:59+03:00")
        early = await night(office, D("2026-03-05"))
        assert (early["ncv_day"].state, early["quarantine"].state) == ("failed", "blocked")
        assert "projector" in (early["ncv_day"].error or "")
        await called(owner, "1", "2026-03-04")
        await heard(owner, "2026-03-05T00:00:00+03:00")
        assert (await night(office, D("2026-03-05")))["ncv_day"].report.counts == {"days_closed": 1}
        row = await office.pool.fetchrow("SELECT day, called_numbers, calls FROM office.ncv_days")
        assert tuple(row or ()) == (D("2026-03-04"), 1, 1)

        await owner.pool.execute("INSERT INTO facts.unprojected VALUES ('number-ncv', 0, 7, NULL, NULL, now(), 'x')")
        await heard(owner, "2026-03-06T00:00:00+03:00")
        aside = (await night(office, D("2026-03-06")))["ncv_day"]
        assert (aside.state, aside.report.counts) == ("done", {"gaps": 1})
        assert "close-day 2026-03-05" in aside.report.notes[0]

    told(database, story)


def test_many_numbers_leave_in_steps_each_once(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "NUMBERS", 7)

    async def story(office: Database, owner: Database) -> None:
        for tail in range(30):
            await number(owner, f"7495{tail:03}")
            if tail % 3 == 0:
                await called(owner, f"7495{tail:03}", "2026-03-20")
        await closed(owner, "2026-03-03", "2026-04-01")
        await heard(owner, "2026-04-03T00:00:01+03:00")

        assert (await night(office, D("2026-04-03")))["quarantine"].report.counts == {"freed": 20}
        rows = await office.pool.fetch("SELECT key, count(*) FROM plumbing.outbox WHERE kind = 'number' GROUP BY key")
        assert sorted(row[1] for row in rows) == [1] * 20
        free = [one for one, status in (await statuses(office)).items() if status == "free"]
        assert sorted(free) == [f"7495{tail:03}" for tail in range(30) if tail % 3]

    told(database, story)


# -- who has not paid -------------------------------------------------------------------------------------------------


async def reserved(owner: Database, digits: str, day: str, *, rested: bool = True, planned: str | None = None) -> None:
    await number(owner, digits, "2026-09-01", status="reserved", account_id="A", saleable="depends_on_ncv")
    await owner.pool.execute(
        "INSERT INTO office.subscribers (subscriber_id, number, account_id, product, status, planned_on, reserved_at,"
        " reserved_on, rested, created_by, changed_at, changed_by, change_reason)"
        " VALUES ('s' || $1, $1, 'A', 'ВАТС', 'new', $2, $3, $4, $5, 'sal1', $3, 'sal1', 'sold')",
        digits,
        None if planned is None else D(planned),
        datetime.fromisoformat(f"{day}T09:00:00+00:00"),
        D(day),
        rested,
    )


def test_who_has_not_paid_by_the_eighth_working_day_loses_the_number_in_the_night_after(
    database: TestedDatabase,
) -> None:
    async def story(office: Database, owner: Database) -> None:
        # The 4th of November is a holiday: the 8th working day after Friday, the 30th, is Thursday, the 12th.
        await reserved(owner, "1", "2026-10-30")
        await reserved(owner, "2", "2026-10-30", rested=False)
        await reserved(owner, "3", "2026-10-30")
        await reserved(owner, "4", "2026-10-30", planned="2026-11-02")
        await called(owner, "3", "2026-11-05", "2026-11-05T10:00:00+03:00")

        assert (await night(office, D("2026-11-12"), UNPAID_ALONE))["unpaid"].report.counts == {"closed": 0}
        found = (await night(office, D("2026-11-13"), UNPAID_ALONE))["unpaid"].report
        assert found.counts == {"closed": 3}
        assert found.notes[0] == "s1: number 1 of account A"
        assert await statuses(office) == {"1": "free", "2": "archive", "3": "archive", "4": "reserved"}
        rows = await office.pool.fetch("SELECT * FROM office.numbers WHERE number <> '4'")
        assert {(row["archived_on"], row["account_id"]) for row in rows} == {(D("2026-09-01"), None)}
        one = await office.pool.fetchrow("SELECT * FROM office.subscribers WHERE number = '1'")
        assert one is not None
        assert (one["status"], one["closed_why"]) == ("closed", "not paid within 8 working days from 2026-10-30")
        assert (await night(office, D("2026-11-14"), UNPAID_ALONE))["unpaid"].report.counts == {"closed": 1}

    told(database, story)


UNPAID_ALONE: Job[Work] = Job(UNPAID.name, UNPAID.text, UNPAID.step)


# -- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_database_chooses_numbers_by_the_rule_that_signs_are_made_by(database: TestedDatabase, seed: int) -> None:
    drawn = random.Random(seed)
    today = D("2026-06-01")

    def some_day(back: int) -> str:
        return (today - timedelta(days=drawn.randrange(back))).isoformat()

    async def story(office: Database, owner: Database) -> None:
        calls: dict[str, set[str]] = {}
        days = {some_day(90) for _ in range(drawn.choice((0, 2, 60)))} - {today.isoformat()}
        for day in days:
            await closed(owner, day, day)
        for tail in range(150):
            status = drawn.choice(STATUSES)
            digits = f"7495{tail:03}"
            await number(
                owner,
                digits,
                drawn.choice((None, some_day(100), some_day(35))),
                status=status,
                account_id="A" if status == "in_use" else None,
                fmtn=drawn.random() < 0.1,
                place=drawn.choice((None, None, None, "msk", AGENTS_PLACE)),
                saleable=drawn.choice(("depends_on_ncv", "depends_on_ncv", "forced_yes", "no")),
            )
            calls[digits] = {some_day(70) for _ in range(drawn.choice((0, 0, 1, 3)))} if seed else set()
            for day in calls[digits]:
                await called(owner, digits, day)
        known = days.union(*calls.values())
        rows = await office.pool.fetch("SELECT number, status, fmtn, place, saleable, archived_on FROM office.numbers")
        expected: dict[str, set[str]] = {value: set() for value in AVAILABILITIES}
        for row in rows:
            one = Number(
                row["number"],
                row["status"],
                None,
                row["place"],
                None,
                None,
                row["fmtn"],
                "2020-01-01",
                None if row["archived_on"] is None else row["archived_on"].isoformat(),
                row["saleable"],
            )
            if one.status != "in_use":
                shown = sign(one, today=today.isoformat(), collected_days=known, days_with_calls=calls[one.number])
                expected[availability(one, shown)].add(one.number)

        async with office.pool.acquire() as connection, connection.transaction():
            looks = Looks(connection, today=today, numbers=NumbersSettings(), engine=EngineSettings())
            for value in AVAILABILITIES:
                for statuses in (STATUSES, ("free",)):
                    wanted = Wanted(statuses, None, frozenset({value}))
                    found = await looks.search(wanted, "", 1_000)
                    hits = {one.number.number for one in found}
                    of = {row["number"] for row in rows if row["status"] in statuses}
                    assert hits == expected[value] & of, (value, statuses)
                    assert all(one.availability == value for one in found)
                    assert await looks.count(wanted) == len(hits)

    told(database, story)
