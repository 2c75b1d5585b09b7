"""Does what is due of a night, and of nights that were missed: one process at a time, each step once.

A job that fails does not keep those from being done that do not come after it. What a run has come to stands in the
record (`connectors/postgres/nightly.py`); whoever comes next goes on there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from backoffice import nightly as rules
from backoffice.nightly import Job, Known, Night, Report, State, Step, Turn
from backoffice.numbers.settings import NumbersSettings
from connectors.nightly.work import Work
from connectors.postgres import nightly as record
from connectors.postgres.change import Change, OutcomeUnknown
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import DRIVER_TROUBLES, Connection, Pool, borrowed
from connectors.postgres.nightly import Overtaken, Taken, Whom
from connectors.settings import NightlySettings
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.nightly")

CONNECTIONS = 4
"""That a night takes at the least: the turn's, the step's, the clock's, and one for what a step reads aside."""

_LOOK_SECONDS = 0.2


class Busy(Exception):
    """Another process works. Names it."""


class Result(NamedTuple):
    """What became of a turn now. `error`: why it failed or waits."""

    turn: Turn
    state: State
    report: Report
    error: str | None


def _quiet(_: str) -> None: ...


def _never() -> bool:
    return False


class Nightly:
    """The jobs, and what they work with."""

    def __init__(
        self,
        pool: Pool,
        jobs: Sequence[Job[Work]],
        *,
        clock: BusinessClock,
        engine: EngineSettings,
        settings: NightlySettings,
        numbers: NumbersSettings | None = None,
    ) -> None:
        self.pool = pool
        self.jobs = tuple(jobs)
        self.clock = clock
        self.engine = engine
        self.settings = settings
        self.numbers = numbers or NumbersSettings()
        self._by_name = {job.name: job for job in jobs}

    async def today(self) -> date:
        """The business day that it is."""
        return (await self.clock.now(self.pool)).astimezone(ZoneInfo(self.engine.business_time_zone)).date()

    async def run(
        self,
        day: date | None = None,
        *,
        only: Sequence[str] = (),
        by: str,
        say: Callable[[str], None] = _quiet,
        give_up: bool = False,
        stopping: Callable[[], bool] = _never,
    ) -> list[Result]:
        """Does all that is due to have the night `day` done, the latest if left out; what became of each turn.

        `only`: these jobs. `by`: who started it. While another process works it waits, having said so; with `give_up`
        it raises Busy. `stopping`: asked before each step; the rest is left for the next time.
        Raises Unfit for a night that has not begun, NotThere for an unknown job, Overtaken and
        OutcomeUnknown where nobody knows what was done (run it again), and asyncpg's errors where the database is away.
        """
        names = rules.chosen(self.jobs, only)
        rules.night_of(day, await self.today())
        async with self.turn(say=say, give_up=give_up, stopping=stopping) as connection:
            # It may be another day when the wait is over.
            return await self.worked(connection, rules.night_of(day, await self.today()), names, by, stopping=stopping)

    @asynccontextmanager
    async def turn(
        self,
        *,
        say: Callable[[str], None] = _quiet,
        give_up: bool = False,
        stopping: Callable[[], bool] = _never,
    ) -> AsyncIterator[Connection]:
        """This process alone works during the block. Raises Busy: at once with `give_up`, or when it is to stop."""
        async with borrowed(self.pool) as connection:
            waits = False
            while not await record.take_turn(connection):
                who = await record.at_work(self.pool)
                if give_up or stopping():
                    raise Busy(who)
                if not waits:
                    say(f"{who}: waiting for it")
                waits = True
                await asyncio.sleep(_LOOK_SECONDS)
            try:
                yield connection
            finally:
                # A session that is gone has given it back.
                with suppress(*DRIVER_TROUBLES):
                    await record.give_turn_back(connection)

    async def worked(
        self,
        connection: Connection,
        day: date,
        names: frozenset[str],
        by: str,
        *,
        stopping: Callable[[], bool] = _never,
    ) -> list[Result]:
        """Does what is due, within a turn. See `run`."""
        whom = record.here(by)
        known = await record.known(self.pool, day)
        due = rules.turns(self.jobs, known, day)
        outcomes: dict[Turn, State | None] = dict.fromkeys(due)
        results: list[Result] = []
        for turn in due:
            if turn.job not in names:
                continue
            if stopping():
                break
            if connection.is_closed():
                raise Overtaken("the connection to the database was lost: somebody else may have gone on")
            job = self._by_name[turn.job]
            if (why := rules.obstacle(job, turn.day, outcomes)) is not None:
                await record.block(self.pool, turn.day, turn.job, why, whom)
                result = Result(turn, "blocked", await record.report_of(self.pool, *turn), why)
            else:
                result = await self._run(job, turn, _last_done(known, results, turn), whom, stopping)
            outcomes[turn] = result.state
            results.append(result)
            _log(result)
        return results

    async def _run(
        self, job: Job[Work], turn: Turn, last_done: date | None, whom: Whom, stopping: Callable[[], bool]
    ) -> Result:
        taken = await record.take(self.pool, turn.day, job.name, whom)
        state: State = "done" if taken is None else "running"
        error = None
        while state == "running" and not stopping():
            assert taken is not None
            try:
                taken, state, error = await self._step(job, taken, last_done)
            except (Overtaken, OutcomeUnknown):
                raise
            except Exception as raised:
                # Where the database is away this raises too, and the night ends here.
                error = f"{type(raised).__name__}: {raised}" if str(raised) else type(raised).__name__
                error = error.replace("\0", "\ufffd")  # which the database does not take
                await record.fail(self.pool, taken, error)
                log.exception("%s of %s failed in its step %d", job.name, turn.day, taken.steps + 1)
                state = "failed"
        return Result(turn, state, await record.report_of(self.pool, turn.day, job.name), error)

    async def _step(self, job: Job[Work], taken: Taken, last_done: date | None) -> tuple[Taken, State, str | None]:
        now = await self.clock.now(self.pool)
        night = Night(taken.day, self.engine.business_time_zone, now, last_done)

        async def work(tx: Change, place: Any) -> Step:
            return await job.step(Work(tx, self.pool, self.engine, self.settings, self.numbers), night, place)

        return await record.step(self.pool, taken, night, work, reason=f"{job.name} of the night {taken.day}")


def _last_done(known: Mapping[str, Known], results: Sequence[Result], turn: Turn) -> date | None:
    """The last night before a turn's in which its job was done, this time included."""
    now = (one.turn.day for one in results if one.turn.job == turn.job and one.state == "done")
    so_far = known.get(turn.job)
    before = () if so_far is None or so_far.last_done is None else (so_far.last_done,)
    return max((day for day in (*before, *now) if day < turn.day), default=None)


def _log(result: Result) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in result.report.counts.items()) or "nothing to do"
    if result.state == "done":
        log.info("%s of %s: done: %s", result.turn.job, result.turn.day, counts)
    elif result.state == "running":
        log.info("%s of %s: stopped; it goes on from there the next time: %s", result.turn.job, result.turn.day, counts)
    else:
        log.error("%s of %s: %s: %s", result.turn.job, result.turn.day, result.state, result.error)
