"""Starts nights by the business clock, works off those that were asked for by the API, and shows how they stand.

Any number of processes may watch: one of them works, and what it has done is done for all. What it knows of the jobs'
last nights for /metrics is read every few seconds, so a scrape costs nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, time
from time import monotonic
from zoneinfo import ZoneInfo

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from backoffice import nightly as rules
from backoffice.numbers.settings import NumbersSettings
from backoffice.refusals import Refusal
from connectors.health import Answer, Health
from connectors.nightly.jobs import JOBS
from connectors.nightly.run import CONNECTIONS, Busy, Nightly, Result
from connectors.postgres import nightly as record
from connectors.postgres.change import OutcomeUnknown
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import DRIVER_TROUBLES, open_database
from connectors.postgres.nightly import Latest, Overtaken
from connectors.settings import DatabaseSettings, NightlySettings
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.nightly")

LOOK_SECONDS = 1.0
"""How soon an order is seen, and how exactly nights begin."""

AGAIN_SECONDS = 5.0
"""After the database was away."""

STOP_SECONDS = 10.0
"""For a step that is under way when the process is to end."""

KNOWN_SECONDS = 15.0
"""How old the numbers of /metrics are at the most."""


class NightMetrics:
    """How the jobs stand, for Prometheus: a collector. The label is `name`: what scrapes has a `job` of its own."""

    def __init__(self, jobs: tuple[str, ...], time_zone: str) -> None:
        self._jobs = jobs
        self._zone = ZoneInfo(time_zone)
        self.latest: Mapping[str, Latest] = {}

    def collect(self) -> Iterator[Metric]:
        """A job that was never done has no last night, so an alert on its age must ask for its absence too."""
        done = GaugeMetricFamily(
            "tollgate_nightly_last_done_timestamp_seconds",
            "Unix time at which the last night begins that a job is done of.",
            labels=("name",),
        )
        failed = GaugeMetricFamily(
            "tollgate_nightly_failed",
            "1 where a job's last night has failed, or waits for one that has.",
            labels=("name",),
        )
        for job in self._jobs:
            found = self.latest.get(job)
            if found is not None and found.last_done is not None:
                done.add_metric((job,), datetime.combine(found.last_done, time(), self._zone).timestamp())
            failed.add_metric((job,), float(found is not None and found.state in ("failed", "blocked")))
        yield done
        yield failed


class NightWatch:
    """`by_clock`: whether it starts nights by itself, beside those that are asked for."""

    def __init__(
        self,
        nightly: Nightly,
        *,
        by_clock: bool,
        look_seconds: float = LOOK_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._nightly = nightly
        self._by_clock = by_clock
        self._look_seconds = look_seconds
        self._again_seconds = again_seconds
        self._at = time.fromisoformat(nightly.settings.at)
        self._stopping = asyncio.Event()
        self._known_at = float("-inf")
        self.worked_off: date | None = None
        """The last night that it has started by the clock."""
        self.away: str | None = None
        """Why the database could not be asked the last time."""
        self.metrics = NightMetrics(tuple(job.name for job in nightly.jobs), nightly.engine.business_time_zone)

    def stop(self) -> None:
        """`run` comes to its end after the step that is under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Watches until stopped. A job that fails is tried again in the next night, or when somebody asks for it."""
        while not self._stopping.is_set():
            wait = self._look_seconds
            try:
                await self._round()
                self.away = None
            except (*DRIVER_TROUBLES, OutcomeUnknown, Overtaken) as error:
                wait = self._again_seconds
                if self.away != str(error):
                    log.warning("%s: tried again every %g s", error, wait)
                self.away = str(error)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _round(self) -> None:
        worked = await self._orders()
        if self._by_clock and await self._begins():
            worked = await self._night() or worked
        if worked or monotonic() - self._known_at >= KNOWN_SECONDS:
            self.metrics.latest = await record.latest(self._nightly.pool)
            self._known_at = monotonic()

    # By the clock

    async def _begins(self) -> bool:
        zone = ZoneInfo(self._nightly.engine.business_time_zone)
        now = (await self._nightly.clock.now(self._nightly.pool)).astimezone(zone)
        return now.date() != self.worked_off and now.time() >= self._at

    async def _night(self) -> bool:
        day = await self._nightly.today()
        try:
            results = await self._nightly.run(day, by="clock", say=log.info, stopping=self._stopping.is_set)
        except Busy:
            return False  # told to stop while it waited
        if not self._stopping.is_set():
            self.worked_off = day
        return bool(results)

    # On demand

    async def _orders(self) -> bool:
        pool = self._nightly.pool
        worked = False
        while not self._stopping.is_set() and await record.next_order(pool) is not None:
            try:
                async with self._nightly.turn(give_up=True) as connection:
                    # Who had the turn may have worked it off.
                    order = await record.next_order(pool)
                    if order is None:
                        break
                    worked = True
                    try:
                        names = rules.chosen(self._nightly.jobs, order.jobs)
                        day = rules.night_of(order.day, await self._nightly.today())
                        results = await self._nightly.worked(
                            connection, day, names, order.ordered_by, stopping=self._stopping.is_set
                        )
                    except Refusal as refused:
                        await record.end_order(pool, order.order_id, failed=True, outcome=refused.text)
                        continue
                    if self._stopping.is_set():
                        break  # whoever comes next works it off
                    failed = any(one.state != "done" for one in results)
                    await record.end_order(pool, order.order_id, failed=failed, outcome=in_a_line(results))
            except Busy:
                break
        return worked


def in_a_line(results: list[Result]) -> str:
    """What came of a night, for people."""
    if not results:
        return "nothing was due"
    parts = [f"{sum(one.state == 'done' for one in results)} done"]
    parts += [f"{one.turn.job} of {one.turn.day} {one.state}" for one in results if one.state != "done"]
    return ", ".join(parts)


@asynccontextmanager
async def watching(
    at: DatabaseSettings,
    *,
    engine: EngineSettings,
    settings: NightlySettings,
    numbers: NumbersSettings,
    clock: BusinessClock,
    registry: CollectorRegistry,
    by_clock: bool,
) -> AsyncIterator[NightWatch]:
    """Watches during the block, beside whatever else the process does, on connections of its own.

    Raises DatabaseTrouble. A step under way at the end has `STOP_SECONDS`; then it is undone.
    """
    async with open_database(msgspec.structs.replace(at, pool_size=CONNECTIONS)) as database:
        nightly = Nightly(database.pool, JOBS, clock=clock, engine=engine, settings=settings, numbers=numbers)
        watch = NightWatch(nightly, by_clock=by_clock)
        registry.register(watch.metrics)
        task = asyncio.create_task(watch.run(), name="nightly")
        try:
            yield watch
        finally:
            watch.stop()
            _, late = await asyncio.wait({task}, timeout=STOP_SECONDS)
            for one in late:
                one.cancel()
            with suppress(asyncio.CancelledError):
                await task


class WatchHealth(Health):
    """What a process that only watches says of itself: alive while it answers, ready while the database does, too."""

    def __init__(self, watch: NightWatch) -> None:
        self._watch = watch

    def live(self) -> Answer:
        """A job may take an hour: that the loop turns is all that counts."""
        return _json(200, {"live": True})

    def ready(self) -> Answer:
        """200, or 503 with what is waited for."""
        away = [] if self._watch.away is None else [f"the database: {self._watch.away}"]
        return _json(503 if away else 200, {"ready": not away, "waiting_for": away})


def _json(status: int, value: object) -> Answer:
    return Answer(status, "application/json; charset=utf-8", msgspec.json.encode(value) + b"\n")
