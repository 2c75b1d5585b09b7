"""Jobs of the night: what a job is, which are due, in which order. Knows no database and no clock (D7).

The night of a business day D begins at 00:00 of D in the business time zone: it closes D - 1, and does what is due on
D. Each job is done once a night, however often and wherever it is started. To add one, in the module it belongs to:

    async def leave_quarantine(work: Work, night: Night, place: Any) -> Step:
        rows = await work.tx.fetch(sql("numbers/free_rested"), night.day, place or "", 500)
        for row in rows:
            await work.tx.audit("number", row["number"], "freed", before=…, after=…)
        return Step({"freed": len(rows)}, place=rows[-1]["number"] if len(rows) == 500 else None)

    QUARANTINE = Job("quarantine", "frees numbers that have rested", leave_quarantine, after=("ncv_day",))

and its name in the list of `connectors/nightly/jobs.py`. That is all: when, where, once, again after a kill, missed
days, reports, metrics and the API are the frame's.

The frame calls the step with `place` None, then with the place that the step before returned, until one returns None.
Each call is one transaction, `work.tx` (connectors/postgres/change.py): what it does and how far the job has come are
committed together. A step that is killed or that raises has done nothing, and the job goes on from there the next time.
A step may be called again within its transaction's retries, so it has no effect outside of `work.tx`.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from backoffice.refusals import FieldProblem, NotThere, Unfit

W = TypeVar("W")

Missed = Literal["in_order", "each", "latest"]
"""What becomes of nights in which a job was not done. `in_order`: each is made up, and none before the one before it is
done; `each`: each is made up, whatever became of the others; `latest`: only the last one counts, since it does all."""

State = Literal["running", "done", "failed", "blocked"]
"""Of a run. `failed` and `blocked` ones are tried again the next time; `running` is one under way, or killed."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

MOST_NOTES = 200
"""Of a report; more are counted."""


class Night(NamedTuple):
    """Which night it is. What is due is decided by it, not by when it is worked off: nights may be made up later."""

    day: date
    """The business day that begins."""
    time_zone: str
    now: datetime
    """The business clock's moment of the step: for what is written down as done."""
    last_done: date | None = None
    """The job's last night before this one that is done; None: there is none."""

    @property
    def ended(self) -> date:
        """The business day that has ended."""
        return self.day - timedelta(days=1)

    @property
    def as_of(self) -> datetime:
        """The moment at which `day` begins."""
        return datetime.combine(self.day, time(), ZoneInfo(self.time_zone))


class Step(NamedTuple):
    """What a step of a job has come to."""

    counts: Mapping[str, int] = {}
    """How many of what were dealt with; the frame adds them up over the steps."""
    place: Any = None
    """Where the next step begins: anything that JSON can say; None: there is nothing left to do."""
    notes: Sequence[str] = ()
    """For whoever reads the report, a line each."""
    failed: str | None = None
    """Why the job counts as failed although nothing was raised; it begins anew the next time. What it did stays."""


class Report(NamedTuple):
    """What a job did in a night so far."""

    counts: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()
    notes_left_out: int = 0

    def plus(self, step: Step) -> "Report":
        """With one more step."""
        counts = dict(self.counts)
        for name, count in step.counts.items():
            counts[name] = counts.get(name, 0) + count
        notes = (*self.notes, *step.notes)
        return Report(counts, notes[:MOST_NOTES], self.notes_left_out + max(len(notes) - MOST_NOTES, 0))


@dataclass(frozen=True)
class Job(Generic[W]):
    """Something that is done once a night. `W` is what its steps work with."""

    name: str
    text: str
    """What it does, as the end of "the job …"."""
    step: Callable[[W, Night, Any], Awaitable[Step]]
    after: tuple[str, ...] = ()
    """Jobs that must be done of the same night before; where one of them has failed, this one waits."""
    missed: Missed = "in_order"


class Known(NamedTuple):
    """What the record knows of a job's nights up to the one that is asked about."""

    first: date
    """The first one in which it was begun: there are none to be made up before it."""
    last_done: date | None
    """Of all nights, later ones too."""
    missing: Sequence[date]
    """Nights since the first one that are not done, in order."""


class Turn(NamedTuple):
    """A job's turn in a night."""

    day: date
    job: str


def ordered(jobs: Sequence[Job[W]]) -> tuple[Job[W], ...]:
    """The jobs, each behind those that it comes after, otherwise as they stand.

    Raises ValueError for what is a mistake in the program: a name twice, or none, an unknown one in `after`, a circle.
    """
    by_name = {job.name: job for job in jobs}
    if len(by_name) != len(jobs):
        raise ValueError(f"two jobs have one name: {sorted(job.name for job in jobs)}")
    for name in by_name:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name of a job: up to 32 small letters, digits and '_'")
    found: dict[str, Job[W]] = {}

    def take(job: Job[W], way: tuple[str, ...]) -> None:
        if job.name in way:
            raise ValueError(f"jobs wait for each other: {' after '.join((*way, job.name))}")
        for name in job.after:
            if name not in by_name:
                raise ValueError(f"{job.name} comes after {name}, and there is no such job")
            take(by_name[name], (*way, job.name))
        found.setdefault(job.name, job)

    for job in jobs:
        take(job, ())
    return tuple(found.values())


def turns(jobs: Sequence[Job[W]], known: Mapping[str, Known], day: date) -> tuple[Turn, ...]:
    """What is to be done to have all of the night `day` done: earlier nights first, in each the jobs in their order."""
    found = [(missed, place, job.name) for place, job in enumerate(jobs) for missed in _nights(job, known, day)]
    return tuple(Turn(missed, name) for missed, _, name in sorted(found))


def _nights(job: Job[W], known: Mapping[str, Known], day: date) -> Iterator[date]:
    so_far = known.get(job.name)
    if so_far is None:
        yield day
    elif job.missed == "latest":
        if so_far.last_done is None or so_far.last_done < day:
            yield day
    elif day >= so_far.first:
        yield from so_far.missing
    elif job.missed == "each":
        yield day


def obstacle(job: Job[W], day: date, outcomes: Mapping[Turn, State | None]) -> str | None:
    """Why a turn must wait; None when nothing is in its way.

    `outcomes` are all turns that are due, None where they have not been taken: what is not among them is done already,
    or need not be.
    """
    for name in job.after:
        state = outcomes.get(Turn(day, name), "done")
        if state != "done":
            return f"it comes after {name}, which {_words(state)} for {day}"
    if job.missed == "in_order":
        earlier = [turn.day for turn, state in outcomes.items() if turn.job == job.name and state != "done"]
        if (first := min(earlier, default=day)) < day:
            return f"its night {first} is not done, and it goes by order"
    return None


def _words(state: State | None) -> str:
    return {"failed": "has failed", "blocked": "waits itself"}.get(state or "", "is not done")


def chosen(jobs: Sequence[Job[W]], names: Sequence[str]) -> frozenset[str]:
    """The names of the jobs that were asked for, of all if none was. Raises NotThere for one that there is not."""
    there = frozenset(job.name for job in jobs)
    for name in names:
        if name not in there:
            raise NotThere("job", name)
    return frozenset(names) or there


def night_of(day: date | None, today: date, *, pointer: str = "/day") -> date:
    """The night that is asked for, the latest if none is named. Raises Unfit for one that has not begun."""
    if day is not None and day > today:
        raise Unfit([FieldProblem(pointer, f"{day} has not begun: it is {today} by the business clock")])
    if day is not None and day.year < 2000:
        raise Unfit([FieldProblem(pointer, f"{day} lies before 2000")])
    return day or today
