"""The jobs of the night: which there are, what they did, and asking for a night (D7)."""

from datetime import date
from typing import Annotated, Any

from msgspec import Meta, Struct

from backoffice import nightly as rules
from backoffice.nightly import Missed, State
from backoffice.refusals import FieldProblem, NotThere, Unfit
from backoffice.words import Day, Reason
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.reading import day_of
from connectors.http.route import get, post
from connectors.nightly.jobs import JOBS
from connectors.postgres import nightly as record
from connectors.postgres.queries import sql
from schemas.times import from_datetime, to_text
from schemas.words import Moment

Name = Annotated[str, Meta(min_length=1, max_length=32, examples=["audit"])]


class NightlyJob(Struct, frozen=True):
    """A job, and its last night. `after`: jobs that must be done of the same night before it."""

    name: str
    text: str
    after: tuple[str, ...]
    missed: Missed
    """What becomes of nights in which it was not done: each is made up `in_order`, or `each` by itself, or only the
    `latest` counts."""
    last_night: Day | None
    """Null: it has had none yet."""
    state: State | None
    """What became of that night."""
    last_done: Day | None
    """The last night that is done."""


class NightlyJobs(Struct, frozen=True):
    """In the order in which they are done."""

    items: tuple[NightlyJob, ...]


class RunsAsked(Struct, frozen=True):
    """Which runs; all conditions together. The latest night comes first."""

    since: Day | None = None
    until: Day | None = None
    job: Name | None = None
    state: State | None = None
    after: After | None = None
    limit: Limit = 100


class NightlyRun(Struct, frozen=True):
    """A job in a night: what it has come to. Moments are the machine's, whatever the business clock says."""

    day: Day
    """The business day that begins with the night."""
    job: str
    state: State
    """`failed` and `blocked` ones are tried again; `running` is under way, or killed and goes on the next time."""
    attempts: int
    steps: int
    """Committed so far."""
    counts: dict[str, int]
    """How many of what it has dealt with."""
    notes: tuple[str, ...]
    notes_left_out: int
    error: str | None
    """Why it failed, or what it waits for."""
    started_at: Moment
    """The last attempt."""
    stepped_at: Moment
    ended_at: Moment | None
    started_by: str
    host: str
    process: int


class NewOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A night to be done, with those that were missed before it."""

    reason: Reason
    day: Day | None = None
    """The business day that begins with it; left out, the latest."""
    jobs: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    """Left out, all."""


class NightlyOrder(Struct, frozen=True):
    """A night that was asked for. The next process that runs jobs works it off: within a second, when it has time."""

    order_id: str
    day: Day
    jobs: tuple[str, ...]
    """Empty: all."""
    state: Annotated[str, Meta(examples=["waiting", "done", "failed"])]
    ordered_at: Moment
    ordered_by: str
    reason: str
    ended_at: Moment | None
    outcome: str | None
    """In a line; what each job did stands in its run."""


@get("/api/nightly/jobs", requires="jobs.see", summary="The jobs of the night, and how they stand")
async def nightly_jobs(call: Call) -> NightlyJobs:
    latest = await record.latest(call.pool)
    found = []
    for job in JOBS:
        last = latest.get(job.name)
        done = None if last is None or last.last_done is None else last.last_done.isoformat()
        found.append(
            NightlyJob(
                job.name,
                job.text,
                job.after,
                job.missed,
                None if last is None else last.day.isoformat(),
                None if last is None else last.state,
                done,
            )
        )
    return NightlyJobs(tuple(found))


@get("/api/nightly/runs", requires="jobs.see", summary="What the jobs did, the latest night first")
async def nightly_runs(call: Call, asked: RunsAsked) -> Page[NightlyRun]:
    place = place_of(asked.after, str, str)
    rows = await call.pool.fetch(
        sql("nightly/runs"),
        None if asked.since is None else day_of(asked.since, parameter="since"),
        None if asked.until is None else day_of(asked.until, parameter="until"),
        asked.job,
        asked.state,
        None if place is None else day_of(place[0], parameter="after"),
        None if place is None else place[1],
        asked.limit + 1,
    )
    return page(rows, asked.limit, _run, lambda row: cursor(row["day"].isoformat(), row["job"]))


@get("/api/nightly/runs/{day:str}/{job:str}", requires="jobs.see", summary="What a job did in a night", problems=(404,))
async def nightly_run(call: Call, day: str, job: str) -> NightlyRun:
    # A day that can't be is like one of which nothing is known.
    try:
        row = await call.pool.fetchrow(sql("nightly/run"), date.fromisoformat(day), job)
    except ValueError:
        row = None
    if row is None:
        raise NotThere("run", f"{day}/{job}")
    return _run(row)


@post("/api/nightly/orders", requires="jobs.run", summary="Ask for a night", status=202)
async def order_night(call: Call, sent: NewOrder) -> NightlyOrder:
    day = rules.night_of(None if sent.day is None else day_of(sent.day, pointer="/day"), call.today)
    try:
        rules.chosen(JOBS, sent.jobs)
    except NotThere as missing:
        known = ", ".join(job.name for job in JOBS)
        raise Unfit([FieldProblem("/jobs", f"{missing.text}; there are {known}")]) from None
    async with call.change(sent.reason) as tx:
        order_id = await record.order(tx, day, sent.jobs)
    return _order(await call.pool.fetchrow(sql("nightly/an_order"), order_id))


@get("/api/nightly/orders/{order_id:str}", requires="jobs.see", summary="What became of an order", problems=(404,))
async def nightly_order(call: Call, order_id: str) -> NightlyOrder:
    known = order_id.isascii() and order_id.isdigit() and len(order_id) <= 18
    row = await call.pool.fetchrow(sql("nightly/an_order"), int(order_id)) if known else None
    if row is None:
        raise NotThere("order", order_id)
    return _order(row)


def _run(row: Any) -> NightlyRun:
    report = row["report"]
    return NightlyRun(
        row["day"].isoformat(),
        row["job"],
        row["state"],
        row["attempt"],
        row["steps"],
        report["counts"],
        tuple(report["notes"]),
        report["notes_left_out"],
        row["error"],
        _text(row["started_at"]),
        _text(row["stepped_at"]),
        None if row["ended_at"] is None else _text(row["ended_at"]),
        row["started_by"],
        row["host"],
        row["process"],
    )


def _order(row: Any) -> NightlyOrder:
    return NightlyOrder(
        str(row["order_id"]),
        row["day"].isoformat(),
        tuple(row["jobs"]),
        row["state"],
        _text(row["ordered_at"]),
        row["ordered_by"],
        row["reason"],
        None if row["ended_at"] is None else _text(row["ended_at"]),
        row["outcome"],
    )


def _text(moment: Any) -> str:
    return to_text(from_datetime(moment))


ROUTES = (nightly_jobs, nightly_runs, nightly_run, order_night, nightly_order)
