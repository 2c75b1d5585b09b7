"""Runs of the night's jobs in PostgreSQL. A step and how far its run has come are one transaction.

Two things keep a job from being done twice. One process at a time works, by a lock of the database that goes with its
session. And each step holds its run's row, by the number of the attempt: a process that lost its session without
noticing finds another number there, and its step is undone.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from backoffice.nightly import Known, Night, Report, State, Step
from connectors.postgres.access import Queries
from connectors.postgres.change import Change, in_change
from connectors.postgres.clock import real_now_us
from connectors.postgres.database import Connection, Pool
from connectors.postgres.queries import sql
from schemas.times import to_datetime

SYSTEM = "tollgate"
"""Who does what the jobs do."""

_LOCK = 0x7011_6A7E_0010


class Overtaken(Exception):
    """Somebody else has taken the run meanwhile: this process has done nothing, and must not go on."""


class Whom(NamedTuple):
    """Who started a run, on which machine."""

    name: str
    host: str
    process: int


class Taken(NamedTuple):
    """A run that this process works on. `place`: where its next step begins."""

    day: date
    job: str
    attempt: int
    steps: int
    place: Any


class Order(NamedTuple):
    """A night that somebody asked for by the API. No `jobs`: all."""

    order_id: int
    day: date
    jobs: tuple[str, ...]
    ordered_by: str


class Latest(NamedTuple):
    """A job's last night: what became of it, and the last one that is done."""

    day: date
    state: State
    last_done: date | None


def here(name: str) -> Whom:
    """This process, started by somebody."""
    return Whom(name, socket.gethostname(), os.getpid())


def machine_now() -> datetime:
    """The machine's time: how long runs take does not depend on a business clock that is set."""
    return to_datetime(real_now_us())


# -- who works --------------------------------------------------------------------------------------------------------


async def take_turn(connection: Connection) -> bool:
    """Whether this connection's session is now the one that works; it is until it gives it back, or ends."""
    taken: bool = await connection.fetchval(sql("nightly/lock"), _LOCK)
    return taken


async def give_turn_back(connection: Connection) -> None:
    """Lets others work."""
    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def at_work(queries: Queries) -> str:
    """Who works, in words."""
    row = await queries.fetchrow(sql("nightly/holder"))
    if row is None:
        return "another process works"
    who = f"process {row['process']} on {row['host']}, started by {row['started_by']},"
    return f"{who} works on {row['job']} of {row['day']}"


# -- runs -------------------------------------------------------------------------------------------------------------


async def known(queries: Queries, day: date) -> dict[str, Known]:
    """What is known of each job's nights up to `day`; a job that never had one is not in it."""
    rows = await queries.fetch(sql("nightly/known"), day)
    return {row["job"]: Known(row["first"], row["last_done"], tuple(row["missing"])) for row in rows}


async def take(pool: Pool, day: date, job: str, by: Whom) -> Taken | None:
    """Begins a run, or goes on with one; None: it is done already."""
    row = await pool.fetchrow(sql("nightly/take"), day, job, machine_now(), *by, _stored(Report()))
    return None if row is None else Taken(day, job, row["attempt"], row["steps"], row["place"])


async def step(
    pool: Pool, taken: Taken, night: Night, work: Callable[[Change, Any], Awaitable[Step]], *, reason: str
) -> tuple[Taken, State, str | None]:
    """One step in its transaction: the run behind it, what it is now, and why where it failed.

    Raises Overtaken, what `work` raises (then nothing of the step is done), OutcomeUnknown, asyncpg's errors.
    """

    async def stepped(tx: Change) -> tuple[Taken, State, str | None]:
        row = await tx.fetchrow(sql("nightly/hold"), taken.day, taken.job, taken.attempt)
        if row is None or row["steps"] != taken.steps:
            raise Overtaken(f"{taken.job} of {taken.day} was taken over by another process")
        found = await work(tx, row["place"])
        over = found.failed is not None or found.place is None
        state: State = "failed" if found.failed is not None else "done" if found.place is None else "running"
        # What has failed by its own verdict begins anew.
        place = None if over else found.place
        now = machine_now()
        report = _stored(_read(row["report"]).plus(found))
        await tx.execute(
            sql("nightly/stepped"),
            *(taken.day, taken.job, state, place, report, found.failed, now, now if over else None),
        )
        return taken._replace(steps=taken.steps + 1, place=place), state, found.failed

    return await in_change(
        pool,
        stepped,
        actor=SYSTEM,
        reason=reason,
        at=night.now,
        interface="nightly",
        isolation="read_committed",
    )


async def fail(queries: Queries, taken: Taken, error: str) -> None:
    """Notes that a step was undone by an error: the next attempt begins with it."""
    await queries.execute(sql("nightly/failed"), taken.day, taken.job, taken.attempt, error, machine_now())


async def block(queries: Queries, day: date, job: str, why: str, by: Whom) -> None:
    """Notes that a run waits for another."""
    await queries.execute(sql("nightly/blocked"), day, job, why, machine_now(), *by, _stored(Report()))


async def report_of(queries: Queries, day: date, job: str) -> Report:
    """What a run has done so far."""
    row = await queries.fetchrow(sql("nightly/run"), day, job)
    return Report() if row is None else _read(row["report"])


async def latest(queries: Queries) -> dict[str, Latest]:
    """Each job's last night."""
    rows = await queries.fetch(sql("nightly/latest"))
    return {row["job"]: Latest(row["day"], row["state"], row["last_done"]) for row in rows}


def _stored(report: Report) -> dict[str, Any]:
    return {"counts": report.counts, "notes": report.notes, "notes_left_out": report.notes_left_out}


def _read(stored: Mapping[str, Any]) -> Report:
    return Report(stored["counts"], tuple(stored["notes"]), stored["notes_left_out"])


# -- orders -----------------------------------------------------------------------------------------------------------


async def order(tx: Change, day: date, jobs: Sequence[str]) -> int:
    """Keeps what somebody asks for; its number."""
    number: int = await tx.fetchval(sql("nightly/order"), day, list(jobs), machine_now(), tx.actor, tx.reason)
    await tx.audit("nightly_order", str(number), "ordered", None, {"day": day.isoformat(), "jobs": list(jobs)})
    return number


async def next_order(queries: Queries) -> Order | None:
    """The oldest that waits, whoever may have begun it before."""
    row = await queries.fetchrow(sql("nightly/next_order"))
    return None if row is None else Order(row["order_id"], row["day"], tuple(row["jobs"]), row["ordered_by"])


async def end_order(queries: Queries, order_id: int, *, failed: bool, outcome: str) -> None:
    """What came of it."""
    state = "failed" if failed else "done"
    await queries.execute(sql("nightly/end_order"), order_id, state, machine_now(), outcome)
