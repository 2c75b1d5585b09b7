"""`tollgate nightly`: the jobs of the night, each once, whatever was missed before them."""

import asyncio
import getpass
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, TypeVar

import cyclopts
import msgspec
from prometheus_client import CollectorRegistry

from backoffice.numbers.settings import NumbersSettings
from backoffice.refusals import NotThere, Unfit
from connectors.cli.app import Refused, app, err, out, print_json, print_table, settings
from connectors.health import HealthServer
from connectors.http.metrics import http_registry
from connectors.nightly.jobs import JOBS
from connectors.nightly.run import CONNECTIONS, Busy, Nightly, Result
from connectors.nightly.watch import NightWatch, WatchHealth
from connectors.postgres import nightly as record
from connectors.postgres.change import OutcomeUnknown
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import DRIVER_TROUBLES, DatabaseTrouble, explained, open_database
from connectors.postgres.nightly import Latest, Overtaken
from connectors.settings import (
    BadSettings,
    DatabaseSettings,
    MetricsSettings,
    NightlySettings,
    database_settings,
    http_settings,
    metrics_settings,
    nightly_settings,
    numbers_settings,
)
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.nightly")
T = TypeVar("T")


@dataclass(frozen=True)
class _Settings:
    engine: EngineSettings
    database: DatabaseSettings
    nightly: NightlySettings
    numbers: NumbersSettings
    metrics: MetricsSettings
    clock: BusinessClock


@app.command
def nightly(
    *,
    night: Annotated[
        date | None,
        cyclopts.Parameter(
            name="--date",
            help="The business day that begins with the night; it closes the day before. The latest if left out.",
        ),
    ] = None,
    job: Annotated[
        tuple[str, ...], cyclopts.Parameter(negative="", help="Only this job; may be given more than once.")
    ] = (),
    show: Annotated[
        bool, cyclopts.Parameter(name="--list", negative="", help="Do nothing; show the jobs and how they stand.")
    ] = False,
    wait: Annotated[
        bool,
        cyclopts.Parameter(
            negative="",
            help="Stay, begin each night by the business clock ([nightly] at), and do what the API asks for.",
        ),
    ] = False,
    give_up: Annotated[
        bool,
        cyclopts.Parameter(negative="", help="Exit with 1 where another process works, instead of waiting for it."),
    ] = False,
    json: Annotated[bool, cyclopts.Parameter(help="Print the report as JSON.")] = False,
) -> int:
    """Do the jobs of the night: each once, however often and wherever it is started. Nights that were missed are made
    up in order; a job that was killed goes on where it was; one that fails keeps only those waiting that come after it.

    The exit code is 1 if a job has failed or waits for one that has.
    """
    _refuse_what_does_not_go_together(night=night, job=job, show=show, wait=wait, give_up=give_up, json=json)
    found = _Settings(
        settings(),
        database_settings(),
        nightly_settings(),
        numbers_settings(),
        metrics_settings(),
        BusinessClock(settable=http_settings().settable_clock),
    )
    if show:
        _show(_told(found, lambda nightly: record.latest(nightly.pool)), json=json)
        return 0
    if wait:
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        return _told(found, lambda nightly: _wait(nightly, found.metrics))

    async def once(nightly: Nightly) -> list[Result]:
        return await nightly.run(night, only=job, by=_system_user(), say=_say, give_up=give_up)

    try:
        results = _told(found, once)
    except Busy as busy:
        err.print(f"tollgate: {busy}", markup=False, soft_wrap=True)
        return 1
    _report(results, json=json)
    return 1 if any(one.state != "done" for one in results) else 0


def _refuse_what_does_not_go_together(**given: Any) -> None:
    alone = [f"--{name}" for name in ("list", "wait") if given["show" if name == "list" else name]]
    others = {"date": given["night"], "job": given["job"], "give-up": given["give_up"]}
    if given["wait"] and given["json"]:
        raise Refused("--json does not go with --wait, which reports in its log")
    for one in alone:
        more = [*(other for other in alone if other != one), *(f"--{name}" for name, value in others.items() if value)]
        if more:
            raise Refused(f"{one} does not go with {more[0]}")


def _told(found: _Settings, work: Callable[[Nightly], Awaitable[T]]) -> T:
    async def opened() -> T:
        # The turn, a step and what it reads aside each have a connection: with fewer they would wait for each other.
        at = msgspec.structs.replace(found.database, pool_size=max(found.database.pool_size, CONNECTIONS))
        async with open_database(at) as database:
            return await work(
                Nightly(
                    database.pool,
                    JOBS,
                    clock=found.clock,
                    engine=found.engine,
                    settings=found.nightly,
                    numbers=found.numbers,
                )
            )

    try:
        return asyncio.run(opened())
    except Unfit as unfit:
        raise Refused(f"--date: {'; '.join(problem.text for problem in unfit.problems)}") from None
    except NotThere as missing:
        raise Refused(f"{missing}; there are {', '.join(one.name for one in JOBS)}") from None
    except DatabaseTrouble as error:
        raise Refused(str(error)) from None
    except (OutcomeUnknown, Overtaken) as error:
        raise Refused(f"{error}; start it again: it goes on where it was") from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, found.database))) from None


async def _wait(nightly: Nightly, metrics: MetricsSettings) -> int:
    watch = NightWatch(nightly, by_clock=True)
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, watch.stop)
    async with AsyncExitStack() as closing:
        if metrics.port:
            registry: CollectorRegistry = http_registry()
            registry.register(watch.metrics)
            server = HealthServer(registry, WatchHealth(watch))
            closing.push_async_callback(server.close)
            try:
                port = await server.start(metrics.host, metrics.port)
            except BadSettings as error:
                raise Refused(str(error)) from None
            log.info("metrics at http://%s:%d/metrics", metrics.host, port)
        log.info("nights begin at %s (%s)", nightly.settings.at, nightly.engine.business_time_zone)
        await watch.run()
    log.info("stopped")
    return 0


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def _say(text: str) -> None:
    err.print(f"tollgate: {text}", markup=False, soft_wrap=True)


# -- showing ----------------------------------------------------------------------------------------------------------


def _report(results: list[Result], *, json: bool) -> None:
    if json:
        print_json([as_dict(one) for one in results])
        return
    if not results:
        out.print("nothing is due: all of it is done", highlight=False)
        return
    print_table(
        "The night",
        ("night", "job", "", "what"),
        [(one.turn.day.isoformat(), one.turn.job, one.state, one.error or _counts(one)) for one in results],
    )
    for one in results:
        for note in one.report.notes:
            out.print(f"{one.turn.day} {one.turn.job}: {note}", markup=False, highlight=False, soft_wrap=True)
        if one.report.notes_left_out:
            out.print(f"{one.turn.day} {one.turn.job}: … and {one.report.notes_left_out} more", highlight=False)


def as_dict(one: Result) -> dict[str, Any]:
    """A result for programs."""
    return {
        "day": one.turn.day.isoformat(),
        "job": one.turn.job,
        "state": one.state,
        "error": one.error,
        "counts": dict(one.report.counts),
        "notes": list(one.report.notes),
        "notes_left_out": one.report.notes_left_out,
    }


def _counts(one: Result) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in one.report.counts.items() if count) or "–"


def _show(latest: dict[str, Latest], *, json: bool) -> None:
    rows = [(job, latest.get(job.name)) for job in JOBS]
    if json:
        print_json(
            [
                {
                    "job": job.name,
                    "text": job.text,
                    "after": list(job.after),
                    "missed": job.missed,
                    "last_night": None if found is None else found.day.isoformat(),
                    "state": None if found is None else found.state,
                    "last_done": None if found is None or found.last_done is None else found.last_done.isoformat(),
                }
                for job, found in rows
            ]
        )
        return
    print_table(
        "Jobs of the night, in their order",
        ("job", "what it does", "after", "last night", "", "last done"),
        [
            (
                job.name,
                job.text,
                ", ".join(job.after),
                "" if found is None else found.day.isoformat(),
                "never" if found is None else found.state,
                "" if found is None or found.last_done is None else found.last_done.isoformat(),
            )
            for job, found in rows
        ],
    )
