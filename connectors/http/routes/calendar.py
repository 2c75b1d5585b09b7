"""The production calendar, which working days are counted by (D8), and the business clock."""

from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backoffice.refusals import FieldProblem, InTheWay, Unfit
from backoffice.words import Day, Reason
from connectors.http.call import Call
from connectors.http.reading import day_of
from connectors.http.route import get, put
from connectors.postgres.clock import ClockState, Mode, real_now_us, set_clock
from connectors.postgres.queries import sql
from schemas.times import to_text, to_us
from schemas.words import Moment

MOST_DAYS = 3_700
"""Ten years."""

Kind = Literal["working", "shortened", "day_off"]


class CalendarDay(Struct, frozen=True, forbid_unknown_fields=True):
    """A day that is not what its weekday says: a holiday, or a Saturday that is worked."""

    day: Annotated[Day, Meta(examples=["2026-11-04"])]
    kind: Kind
    name: Annotated[str, Meta(min_length=1, max_length=200, examples=["День народного единства"])] | None = None


class Calendar(Struct, frozen=True):
    """All such days of a period. Others that a calendar was loaded for are what their weekday says: Monday to Friday
    are worked. Where none was loaded, the public holidays of Russia count."""

    days: tuple[CalendarDay, ...]


class CalendarAsked(Struct, frozen=True):
    """Which days; both ends belong to it."""

    since: Day | None = None
    until: Day | None = None


class NewCalendar(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of a period, from `since` to `until`: days of it that are not named here are ordinary."""

    since: Day
    until: Day
    days: Annotated[tuple[CalendarDay, ...], Meta(max_length=MOST_DAYS)]
    reason: Reason = "loaded"


class Clock(Struct, frozen=True):
    """The business clock. `settable`: whether the settings allow to set it."""

    now: Moment
    today: Day
    """The civil day in the business time zone."""
    time_zone: str
    mode: Mode
    settable: bool


class ClockSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """What time it is to be for the office. `at` null: the real time again; it must be said, one way or the other."""

    reason: Reason
    at: Moment | None
    running: bool = True
    """Whether it goes on from there, or stands still."""


@get("/api/calendar", requires="calendar.see", summary="Days that are not what their weekday says")
async def calendar(call: Call, asked: CalendarAsked) -> Calendar:
    since = None if asked.since is None else day_of(asked.since, parameter="since")
    until = None if asked.until is None else day_of(asked.until, parameter="until")
    return Calendar(_shown(await call.pool.fetch(sql("office_api/calendar"), since, until)))


@put("/api/calendar", requires="calendar.load", summary="Load the production calendar of a period")
async def load_calendar(call: Call, sent: NewCalendar) -> Calendar:
    since, until = day_of(sent.since, pointer="/since"), day_of(sent.until, pointer="/until")
    problems = []
    if until < since:
        problems.append(FieldProblem("/until", "lies before since"))
    if (until - since).days >= MOST_DAYS:
        problems.append(FieldProblem("/until", f"is more than {MOST_DAYS} days after since"))
    days: dict[date, CalendarDay] = {}
    for place, one in enumerate(sent.days):
        day = day_of(one.day, pointer=f"/days/{place}/day")
        if day in days:
            problems.append(FieldProblem(f"/days/{place}/day", "stands there twice"))
        elif not since <= day <= until:
            problems.append(FieldProblem(f"/days/{place}/day", "lies outside of the period"))
        days[day] = one
    if problems:
        raise Unfit(problems[:100])
    async with call.change(sent.reason) as tx:
        before = _shown(await tx.fetch(sql("office_api/calendar"), since, until))
        await tx.execute(
            sql("office_api/load_calendar"),
            since,
            until,
            list(days),
            [one.kind for one in days.values()],
            [one.name for one in days.values()],
        )
        after = _shown(await tx.fetch(sql("office_api/calendar"), since, until))
        await tx.audit("calendar", f"{since}/{until}", "load", {"days": before}, {"days": after})
    return Calendar(after)


def _shown(rows: Any) -> tuple[CalendarDay, ...]:
    return tuple(CalendarDay(row["day"].isoformat(), row["kind"], row["name"]) for row in rows)


@get("/api/clock", requires="calendar.see", summary="What time it is for the office")
async def clock(call: Call) -> Clock:
    return _clock(call, await call.services.business_clock.state(call.pool))


@put("/api/clock", requires="clock.set", summary="Set the business clock, where the settings allow it", problems=(409,))
async def set_business_clock(call: Call, sent: ClockSetting) -> Clock:
    """For tests and demonstrations: sessions, keys and limits go on by the real time."""
    business = call.services.business_clock
    if not business.settable:
        raise InTheWay("the settings do not allow to set the clock here: [http] settable_clock is false")
    if sent.at is None:
        state = ClockState("real")
    else:
        try:
            at_us = to_us(sent.at)
        except ValueError as error:
            raise Unfit([FieldProblem("/at", str(error))]) from None
        state = (
            ClockState("shifted", offset_us=at_us - real_now_us())
            if sent.running
            else ClockState("stopped", stopped_us=at_us)
        )
    async with call.change(sent.reason) as tx:
        before = await business.state(call.pool)
        await set_clock(tx, state)
        await tx.audit("clock", "business", "set", before._asdict(), state._asdict())
    return _clock(call, state)


def _clock(call: Call, state: ClockState) -> Clock:
    now_us = state.at(real_now_us())
    return Clock(
        to_text(now_us),
        call.services.today(now_us).isoformat(),
        call.services.engine.business_time_zone,
        state.mode,
        call.services.business_clock.settable,
    )


ROUTES = (calendar, load_calendar, clock, set_business_clock)
