"""The jobs of the night: each once, in order, wherever and however often they are started, and on after a kill."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from postgres import TestedDatabase
from prometheus_client import CollectorRegistry, generate_latest

from backoffice.nightly import MOST_NOTES, Job, Known, Night, Report, Step, Turn, night_of, obstacle, ordered, turns
from backoffice.refusals import NotThere, Unfit
from connectors.nightly import Busy, Nightly, Work
from connectors.nightly.watch import NightWatch
from connectors.postgres import nightly as record
from connectors.postgres.change import change
from connectors.postgres.clock import BusinessClock, ClockState, set_clock
from connectors.postgres.database import APP, Database, Pool, open_database
from connectors.postgres.nightly import Overtaken
from connectors.settings import NightlySettings
from engine.settings import EngineSettings
from schemas.times import from_datetime

TODAY = date(2026, 11, 30)
YESTERDAY = TODAY - timedelta(days=1)


async def nothing(work: Any, night: Night, place: Any) -> Step:
    return Step()


def job(name: str, *after: str, missed: Any = "in_order", step: Any = nothing) -> Job[Any]:
    return Job(name, f"does {name}", step, after=after, missed=missed)


# -- rules ------------------------------------------------------------------------------------------------------------


def test_jobs_stand_behind_those_that_they_come_after_and_otherwise_as_they_are_listed() -> None:
    found = ordered((job("a", "c"), job("b"), job("c", "d"), job("d")))

    assert [one.name for one in found] == ["d", "c", "a", "b"]


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        ((job("a"), job("a")), "one name"),
        ((job("a", "x"),), "a comes after x, and there is no such job"),
        ((job("a", "b"), job("b", "a")), "a after b after a"),
        ((job("a", "a"),), "a after a"),
        ((job("Ночь"),), "'Ночь' is no name of a job"),
    ],
)
def test_jobs_that_can_have_no_order_are_a_mistake(jobs: tuple[Job[Any], ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ordered(jobs)


def days(*of_november: int) -> tuple[date, ...]:
    return tuple(date(2026, 11, day) for day in of_november)


@pytest.mark.parametrize(
    ("missed", "known", "asked", "due"),
    [
        # A new job has no past.
        ("in_order", None, 20, (20,)),
        ("latest", None, 20, (20,)),
        # Done: nothing.
        ("in_order", (10, 20, ()), 20, ()),
        ("latest", (10, 20, ()), 20, ()),
        # What was missed is made up, the failed one of the 12th too.
        ("in_order", (10, 17, (12, 18, 19, 20)), 20, (12, 18, 19, 20)),
        ("each", (10, 17, (12, 18, 19, 20)), 20, (12, 18, 19, 20)),
        ("latest", (10, 17, (12, 18, 19, 20)), 20, (20,)),
        # An earlier night is asked for after later ones were done.
        ("in_order", (10, 17, (12,)), 12, (12,)),
        ("latest", (10, 17, (12,)), 12, ()),
        # A night before the first one: what goes by order can't go back.
        ("in_order", (10, 17, ()), 9, ()),
        ("each", (10, 17, ()), 9, (9,)),
        # Begun and never done.
        ("latest", (10, None, (10, 11)), 11, (11,)),
    ],
)
def test_what_is_due(missed: str, known: Any, asked: int, due: tuple[int, ...]) -> None:
    so_far = {}
    if known is not None:
        first, last_done, missing = known
        so_far["a"] = Known(*days(first), *(days(last_done) if last_done else (None,)), days(*missing))

    assert turns((job("a", missed=missed),), so_far, *days(asked)) == tuple(Turn(day, "a") for day in days(*due))


def test_nights_come_in_order_and_in_each_the_jobs_in_theirs() -> None:
    known = {"b": Known(*days(18), *days(18), days(19, 20))}
    jobs = (job("z"), job("b"), job("a", missed="latest"))

    found = turns(jobs, known, *days(20))

    assert [(turn.day.day, turn.job) for turn in found] == [(19, "b"), (20, "z"), (20, "b"), (20, "a")]


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ({}, None),  # not due: done already
        ({(20, "a"): "done"}, None),
        ({(20, "a"): "failed"}, "it comes after a, which has failed for 2026-11-20"),
        ({(20, "a"): "blocked"}, "it comes after a, which waits itself for 2026-11-20"),
        ({(20, "a"): None}, "it comes after a, which is not done for 2026-11-20"),
        ({(19, "a"): "failed"}, None),  # another night's
        ({(19, "b"): "done"}, None),
        ({(18, "b"): "done", (19, "b"): "failed"}, "its night 2026-11-19 is not done, and it goes by order"),
        ({(20, "b"): None, (21, "b"): None}, None),
    ],
)
def test_what_is_in_a_jobs_way(outcomes: Mapping[tuple[int, str], Any], why: str | None) -> None:
    known = {Turn(*days(day), name): state for (day, name), state in outcomes.items()}

    assert obstacle(job("b", "a"), *days(20), known) == why


def test_a_job_of_which_each_night_stands_alone_does_not_wait_for_earlier_ones() -> None:
    assert obstacle(job("b", missed="each"), *days(20), {Turn(*days(19), "b"): "failed"}) is None


def test_a_night_that_has_not_begun_is_refused() -> None:
    assert night_of(None, TODAY) == TODAY
    assert night_of(TODAY, TODAY) == TODAY
    with pytest.raises(Unfit, match="2026-12-01 has not begun: it is 2026-11-30"):
        night_of(TODAY + timedelta(days=1), TODAY)
    with pytest.raises(Unfit, match="before 2000"):
        night_of(date(1999, 12, 31), TODAY)


def test_a_report_adds_up_and_keeps_only_so_many_notes() -> None:
    found = Report().plus(Step({"a": 1}, notes=["x"] * MOST_NOTES)).plus(Step({"a": 2, "b": 5}, notes=["y", "z"]))

    assert found.counts == {"a": 3, "b": 5}
    assert len(found.notes) == MOST_NOTES
    assert found.notes_left_out == 2


def test_a_night_knows_the_day_that_ended_and_the_moment_it_began() -> None:
    night = Night(TODAY, "Europe/Moscow", datetime(2026, 12, 2, 7, tzinfo=UTC))

    assert night.ended == YESTERDAY
    assert night.as_of == datetime(2026, 11, 29, 21, tzinfo=UTC)


# -- on the record ----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a process between two words, as far as a test can."""


class Diary:
    """Jobs that write what they do into a table: the effect that must be there once. `trap` may raise in a step."""

    def __init__(self, steps: int = 3) -> None:
        self.steps = steps
        self.trap: Callable[[str, date, int], None] = lambda name, day, number: None

    def job(self, name: str, *after: str, missed: Any = "in_order") -> Job[Work]:
        async def step(work: Work, night: Night, place: Any) -> Step:
            number = place or 1
            assert await work.tx.fetchval(
                "SELECT count(*) FROM diary WHERE job = $1 AND day = $2", name, night.day
            ) == (number - 1)
            await work.tx.execute("INSERT INTO diary (job, day, step) VALUES ($1, $2, $3)", name, night.day, number)
            self.trap(name, night.day, number)
            return Step({"written": 1}, place=number + 1 if number < self.steps else None, notes=[f"step {number}"])

        return Job(name, f"does {name}", step, after=after, missed=missed)


async def make_diary(database: TestedDatabase) -> None:
    connection = await asyncpg.connect(database.dsn)
    # The sequence shows in which order rows came that stayed.
    await connection.execute(
        "CREATE TABLE diary (at serial, job text, day date, step integer, UNIQUE (job, day, step))"
    )
    await connection.execute("GRANT ALL ON diary, diary_at_seq TO tollgate_app")
    await connection.close()


@pytest.fixture
def diary(database: TestedDatabase) -> TestedDatabase:
    asyncio.run(make_diary(database))
    return database


async def written(pool: Pool) -> list[tuple[str, int, int]]:
    rows = await pool.fetch("SELECT job, day, step FROM diary ORDER BY at")
    return [(row["job"], row["day"].day, row["step"]) for row in rows]


async def states(pool: Pool) -> dict[tuple[int, str], str]:
    rows = await pool.fetch("SELECT day, job, state FROM office.nightly_runs")
    return {(row["day"].day, row["job"]): row["state"] for row in rows}


async def set_to(pool: Pool, moment: datetime) -> None:
    async with change(pool, actor="test", reason="a test", at=moment) as tx:
        await set_clock(tx, ClockState("stopped", stopped_us=from_datetime(moment)))


def at(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


async def nights(db: Database, *jobs: Job[Work], today: date = TODAY, settings: Any = None) -> Nightly:
    await set_to(db.pool, at(today))
    return Nightly(
        db.pool,
        ordered(jobs),
        clock=BusinessClock(settable=True),
        engine=EngineSettings(),
        settings=settings or NightlySettings(),
    )


def test_each_job_is_done_once_however_often_it_is_started(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=2)
        nightly = await nights(db, d.job("b", "a"), d.job("a"))

        first = await nightly.run(by="test")
        again = [
            await nightly.run(by="test"),
            await nightly.run(TODAY, by="test"),
            await nightly.run(only=["a"], by="x"),
        ]

        assert [(one.turn.job, one.state, dict(one.report.counts), one.report.notes) for one in first] == [
            ("a", "done", {"written": 2}, ("step 1", "step 2")),
            ("b", "done", {"written": 2}, ("step 1", "step 2")),
        ]
        assert again == [[], [], []]
        assert await written(db.pool) == [("a", 30, 1), ("a", 30, 2), ("b", 30, 1), ("b", 30, 2)]
        run = await db.pool.fetchrow("SELECT * FROM office.nightly_runs WHERE job = 'a'")
        assert run is not None
        assert (run["state"], run["steps"], run["attempt"], run["started_by"]) == ("done", 2, 1, "test")
        assert run["process"] == os.getpid()
        assert run["ended_at"] >= run["started_at"]

    diary.run(story, role=APP)


def test_nights_that_were_missed_are_made_up_in_order(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=1)
        jobs = (d.job("a"), d.job("b", "a", missed="each"), d.job("c", missed="latest"))
        await (await nights(db, *jobs, today=date(2026, 11, 26))).run(by="test")
        later = await nights(db, *jobs, today=date(2026, 11, 29))

        await later.run(date(2026, 11, 28), by="test")
        await later.run(by="test")

        assert await written(db.pool) == [
            *(("a", 26, 1), ("b", 26, 1), ("c", 26, 1)),
            *(("a", 27, 1), ("b", 27, 1)),
            *(("a", 28, 1), ("b", 28, 1), ("c", 28, 1)),
            *(("a", 29, 1), ("b", 29, 1), ("c", 29, 1)),
        ]

    diary.run(story, role=APP)


@pytest.mark.parametrize("killed_in", [1, 2, 3])
@pytest.mark.parametrize("how", [Killed, RuntimeError])
def test_a_job_that_is_killed_in_a_step_goes_on_with_it(diary: TestedDatabase, killed_in: int, how: Any) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=3)
        nightly = await nights(db, d.job("a"))

        def trap(name: str, day: date, number: int) -> None:
            if number == killed_in:
                raise how("no")

        d.trap = trap
        if how is Killed:
            with pytest.raises(Killed):
                await nightly.run(by="test")
            assert await states(db.pool) == {(30, "a"): "running"}
        else:
            (failed,) = await nightly.run(by="test")
            assert (failed.state, failed.error) == ("failed", "RuntimeError: no")
            assert failed.report.counts == ({"written": killed_in - 1} if killed_in > 1 else {})
        assert await written(db.pool) == [("a", 30, number) for number in range(1, killed_in)]

        d.trap = lambda name, day, number: None
        (done,) = await nightly.run(by="test")

        assert (done.state, done.error) == ("done", None)
        assert done.report == Report({"written": 3}, ("step 1", "step 2", "step 3"))
        assert await written(db.pool) == [("a", 30, 1), ("a", 30, 2), ("a", 30, 3)]
        assert await nightly.run(by="test") == []

    diary.run(story, role=APP)


def test_two_at_once_do_it_once_and_the_second_says_whom_it_waits_for(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        in_the_middle, go = asyncio.Event(), asyncio.Event()

        async def slow(work: Work, night: Night, place: Any) -> Step:
            await work.tx.execute("INSERT INTO diary (job, day, step) VALUES ('slow', $1, 1)", night.day)
            in_the_middle.set()
            await go.wait()
            return Step({"written": 1})

        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            go.set()

        nightly = await nights(db, Job("slow", "is slow", slow), Diary(steps=2).job("a"))
        async with open_database(diary.settings, role=APP) as elsewhere:
            other = Nightly(
                elsewhere.pool, nightly.jobs, clock=nightly.clock, engine=nightly.engine, settings=nightly.settings
            )
            first = asyncio.create_task(nightly.run(by="first"))
            await in_the_middle.wait()
            with pytest.raises(
                Busy, match=f"process {os.getpid()} on .*, started by first, works on slow of 2026-11-30"
            ):
                await other.run(by="third", give_up=True)
            nothing_left = await other.run(by="second", say=say)
            done = await first

        assert [one.state for one in done] == ["done", "done"]
        assert nothing_left == []
        assert len(said) == 1
        assert said[0].endswith("waiting for it")
        assert await written(db.pool) == [("slow", 30, 1), ("a", 30, 1), ("a", 30, 2)]

    diary.run(story, role=APP)


def test_who_lost_the_database_without_noticing_does_nothing_more(diary: TestedDatabase) -> None:
    """The turn goes with the session. Who has lost it may still be in the middle of a step: that step is undone."""

    async def story(db: Database) -> None:
        d = Diary(steps=3)
        slow = await nights(db, d.job("a"))
        fast = await nights(db, Diary(steps=3).job("a"))

        # The first one holds a step's place; the second one has taken the run since.
        taken = await record.take(db.pool, TODAY, "a", record.here("slow"))
        assert taken is not None
        (done,) = await fast.run(by="fast")
        with pytest.raises(Overtaken, match="a of 2026-11-30 was taken over"):
            await slow._step(slow.jobs[0], taken, None)

        assert done.state == "done"
        assert await written(db.pool) == [("a", 30, 1), ("a", 30, 2), ("a", 30, 3)]

    diary.run(story, role=APP)


def test_when_the_turns_session_is_ended_the_night_stops_before_the_next_job(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=1)

        async def end_sessions(work: Work, night: Night, place: Any) -> Step:
            # As a server that is restarted ends them; the pool gives a new connection afterwards.
            async with open_database(diary.settings, role=None) as owner:
                await owner.pool.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND pid <> pg_backend_pid()"
                )
            return Step()

        cruel = Job("a", "ends sessions", end_sessions)
        nightly = await nights(db, cruel, d.job("b", missed="each"))
        with pytest.raises((Overtaken, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await nightly.run(by="test")
        assert await written(db.pool) == []

        kind = await nights(db, job("a"), d.job("b", missed="each"))
        await kind.run(by="test")

        assert await states(db.pool) == {(30, "a"): "done", (30, "b"): "done"}

    diary.run(story, role=APP)


def test_a_job_that_fails_keeps_only_those_waiting_that_come_after_it(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=1)
        jobs = (d.job("a"), d.job("b", "a"), d.job("c", "b"), d.job("d"))
        nightly = await nights(db, *jobs, today=YESTERDAY)

        def trap(name: str, day: date, number: int) -> None:
            if name == "a":
                raise ValueError("there is no such table")

        d.trap = trap
        first = await nightly.run(by="test")

        assert [(one.turn.job, one.state, one.error) for one in first] == [
            ("a", "failed", "ValueError: there is no such table"),
            ("b", "blocked", "it comes after a, which has failed for 2026-11-29"),
            ("c", "blocked", "it comes after b, which waits itself for 2026-11-29"),
            ("d", "done", None),
        ]
        # The next night it fails again: the later one waits for the earlier one, and the others go on.
        nightly = await nights(db, *jobs)
        await nightly.run(by="test")
        assert await states(db.pool) == {
            **dict.fromkeys([(29, "b"), (29, "c"), (30, "a"), (30, "b"), (30, "c")], "blocked"),
            **dict.fromkeys([(29, "d"), (30, "d")], "done"),
            (29, "a"): "failed",
        }

        d.trap = lambda name, day, number: None
        await nightly.run(by="test")

        assert set((await states(db.pool)).values()) == {"done"}
        assert await written(db.pool) == [
            *(("d", 29, 1), ("d", 30, 1)),
            *(("a", 29, 1), ("b", 29, 1), ("c", 29, 1)),
            *(("a", 30, 1), ("b", 30, 1), ("c", 30, 1)),
        ]

    diary.run(story, role=APP)


def test_a_job_asked_for_alone_waits_for_what_it_comes_after(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=1)
        nightly = await nights(db, d.job("a"), d.job("b", "a"))

        (waits,) = await nightly.run(only=["b"], by="test")
        assert (waits.state, waits.error) == ("blocked", "it comes after a, which is not done for 2026-11-30")
        await nightly.run(only=["a"], by="test")
        (done,) = await nightly.run(only=["b"], by="test")

        assert done.state == "done"
        with pytest.raises(NotThere, match="no job 'x'"):
            await nightly.run(only=["x"], by="test")

    diary.run(story, role=APP)


def test_a_job_that_fails_by_its_own_verdict_begins_anew(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        wrong = True

        async def look(work: Work, night: Night, place: Any) -> Step:
            if place is None:
                return Step({"looked": 1}, place="more")
            return Step({"looked": 1}, failed="something is wrong" if wrong else None)

        nightly = await nights(db, Job("look", "looks", look))
        for _ in range(2):
            (found,) = await nightly.run(by="test")
            assert (found.state, found.error, found.report.counts) == ("failed", "something is wrong", {"looked": 2})
        wrong = False
        (found,) = await nightly.run(by="test")

        assert (found.state, found.report.counts) == ("done", {"looked": 2})
        assert await db.pool.fetchval("SELECT attempt FROM office.nightly_runs") == 3

    diary.run(story, role=APP)


def test_an_error_whose_words_the_database_does_not_take_is_kept_all_the_same(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async def fails(work: Work, night: Night, place: Any) -> Step:
            raise ValueError("before\0after")

        d = Diary(steps=1)
        bad, good = await (await nights(db, Job("bad", "fails", fails), d.job("good"))).run(by="test")

        assert (bad.state, bad.error, good.state) == ("failed", "ValueError: before\ufffdafter", "done")
        assert await db.pool.fetchval("SELECT error FROM office.nightly_runs WHERE job = 'bad'") == bad.error

    diary.run(story, role=APP)


def test_a_step_is_told_which_night_was_done_before(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        told: list[tuple[date, date | None]] = []

        async def note(work: Work, night: Night, place: Any) -> Step:
            told.append((night.day, night.last_done))
            return Step()

        note_job = Job("note", "notes", note)
        await (await nights(db, note_job, today=date(2026, 11, 28))).run(by="test")
        await (await nights(db, note_job)).run(by="test")

        assert told == [(*days(28), None), days(29, 28), days(30, 29)]

    diary.run(story, role=APP)


def test_a_night_in_the_future_is_refused_and_by_the_business_clock_it_is_not(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        nightly = await nights(db, Diary(steps=1).job("a"))
        with pytest.raises(Unfit, match="2026-12-01 has not begun"):
            await nightly.run(date(2026, 12, 1), by="test")
        assert await states(db.pool) == {}

        # 21:30 in UTC is half past midnight in Moscow.
        await set_to(db.pool, at(TODAY, 21) + timedelta(minutes=30))
        await nightly.run(by="test")

        assert await states(db.pool) == {(1, "a"): "done"}

    diary.run(story, role=APP)


def test_what_is_done_stays_done_whatever_the_program_says(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await (await nights(db, job("a"))).run(by="test")
        for wrong in (
            "UPDATE office.nightly_runs SET state = 'running', ended_at = NULL",
            "DELETE FROM office.nightly_runs",
            "TRUNCATE office.nightly_runs",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.pool.execute(wrong)

    database.run(story)


# -- killed for good --------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, os, signal, sys
sys.path[:0] = [{root!r}, {tests!r}]
from datetime import date
from test_nightly import Diary, nights
from connectors.postgres.database import APP, open_database
from connectors.settings import DatabaseSettings

def trap(name, day, number):
    if number == 2:
        print("in step 2", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_database(DatabaseSettings(dsn={dsn!r}), role=APP) as db:
        d = Diary(steps=3)
        d.trap = trap
        await (await nights(db, d.job("a"))).run(by="child")

asyncio.run(main())
"""


def test_a_process_that_is_killed_leaves_a_job_that_goes_on(diary: TestedDatabase) -> None:
    tests = Path(__file__).parent
    script = CHILD.format(root=str(tests.parent), tests=str(tests), dsn=diary.dsn)
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout == "in step 2\n"

    async def story(db: Database) -> None:
        assert await written(db.pool) == [("a", 30, 1)]
        nightly = await nights(db, Diary(steps=3).job("a"))

        (done,) = await nightly.run(by="test")

        assert done.report.counts == {"written": 3}
        assert await written(db.pool) == [("a", 30, 1), ("a", 30, 2), ("a", 30, 3)]

    diary.run(story, role=APP)


# -- by the clock and on demand ---------------------------------------------------------------------------------------


async def watched(watch: NightWatch, until: Callable[[], Any]) -> None:
    """Lets it watch until something is so."""
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        while not await until():
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
    watch.stop()
    await task


def test_a_night_begins_by_the_clock_and_again_when_the_next_day_has_come(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        nightly = await nights(db, Diary(steps=1).job("a"))
        watch = NightWatch(nightly, by_clock=True, look_seconds=0.01)
        watching = asyncio.create_task(watch.run())
        async with asyncio.timeout(30):
            while watch.worked_off != TODAY:
                await asyncio.sleep(0.01)
            await set_to(db.pool, datetime(2026, 11, 30, 21, 9, 59, tzinfo=UTC))
            assert await states(db.pool) == {(30, "a"): "done"}
            # 00:10 in Moscow has come.
            await set_to(db.pool, datetime(2026, 11, 30, 21, 10, tzinfo=UTC))
            while watch.worked_off != date(2026, 12, 1):
                await asyncio.sleep(0.01)
        watch.stop()
        await watching

        assert await states(db.pool) == {(30, "a"): "done", (1, "a"): "done"}

    diary.run(story, role=APP)


def test_before_its_hour_a_night_does_not_begin(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        nightly = await nights(db, Diary(steps=1).job("a"))
        await set_to(db.pool, datetime(2026, 11, 30, 21, 9, 59, tzinfo=UTC))
        watch = NightWatch(nightly, by_clock=True)

        assert not await watch._begins()
        await set_to(db.pool, datetime(2026, 11, 30, 21, 10, tzinfo=UTC))
        assert await watch._begins()

    diary.run(story, role=APP)


def test_an_order_is_worked_off_once_by_one_of_those_who_watch(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=2)
        nightly = await nights(db, d.job("a"), d.job("b"))
        async with change(db.pool, actor="boss", reason="asked for by the client", at=at(TODAY)) as tx:
            mine = await record.order(tx, YESTERDAY, ["b"])
            unknown = await record.order(tx, YESTERDAY, ["gone"])
            future = await record.order(tx, TODAY + timedelta(days=1), [])

        async def ended() -> bool:
            return await record.next_order(db.pool) is None

        watches = [NightWatch(nightly, by_clock=False, look_seconds=0.01) for _ in range(3)]
        await asyncio.gather(*(watched(watch, ended) for watch in watches))

        rows = await db.pool.fetch("SELECT * FROM office.nightly_orders ORDER BY order_id")
        assert [(row["order_id"], row["state"], row["outcome"]) for row in rows] == [
            (mine, "done", "1 done"),
            (unknown, "failed", "there is no job 'gone'"),
            (future, "failed", "/day: 2026-12-01 has not begun: it is 2026-11-30 by the business clock"),
        ]
        assert await written(db.pool) == [("b", 29, 1), ("b", 29, 2)]
        assert await db.pool.fetchval("SELECT started_by FROM office.nightly_runs") == "boss"

    diary.run(story, role=APP)


def test_an_order_whose_process_was_stopped_is_worked_off_by_the_next(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=3)
        nightly = await nights(db, d.job("a"))
        async with change(db.pool, actor="boss", reason="a test", at=at(TODAY)) as tx:
            await record.order(tx, TODAY, [])
        watch = NightWatch(nightly, by_clock=False, look_seconds=0.01)

        def trap(name: str, day: date, number: int) -> None:
            watch.stop()

        d.trap = trap
        await watch.run()
        assert await written(db.pool) == [("a", 30, 1)]
        assert await record.next_order(db.pool) is not None

        d.trap = lambda name, day, number: None

        async def ended() -> bool:
            return await record.next_order(db.pool) is None

        await watched(NightWatch(nightly, by_clock=False, look_seconds=0.01), ended)

        assert await written(db.pool) == [("a", 30, 1), ("a", 30, 2), ("a", 30, 3)]
        assert await db.pool.fetchval("SELECT state FROM office.nightly_orders") == "done"

    diary.run(story, role=APP)


def test_metrics_tell_the_last_night_that_is_done_and_what_has_failed(diary: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        d = Diary(steps=1)
        jobs = (d.job("a"), d.job("b"), d.job("never"))
        await (await nights(db, *jobs, today=YESTERDAY)).run(only=["a", "b"], by="test")

        def trap(name: str, day: date, number: int) -> None:
            if name == "b":
                raise ValueError("no")

        d.trap = trap
        nightly = await nights(db, *jobs)
        await nightly.run(only=["a", "b"], by="test")
        watch = NightWatch(nightly, by_clock=False)
        await watch._round()
        registry = CollectorRegistry()
        registry.register(watch.metrics)
        shown = generate_latest(registry).decode()

        began = datetime(2026, 11, 29, 21, tzinfo=UTC).timestamp()
        for line in (
            'tollgate_nightly_failed{name="a"} 0.0',
            'tollgate_nightly_failed{name="b"} 1.0',
            'tollgate_nightly_failed{name="never"} 0.0',
        ):
            assert line in shown, shown
        assert 'last_done_timestamp_seconds{name="never"}' not in shown
        assert registry.get_sample_value("tollgate_nightly_last_done_timestamp_seconds", {"name": "a"}) == began
        assert (
            registry.get_sample_value("tollgate_nightly_last_done_timestamp_seconds", {"name": "b"})
            == began - 24 * 3600
        )

    diary.run(story, role=APP)
