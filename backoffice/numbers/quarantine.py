"""«Отстойник»: who leaves it, and when (§1.4, D4-D6).

A number leaves when it has been silent for the days of rest, counted from its first day with statistics, and nobody was
deaf meanwhile: a day that was not closed is a day of which nothing is known, so nobody leaves before it is closed, or
lies outside the window.
"""

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import NamedTuple

from backoffice.numbers.availability import RESTED
from engine.ncv import Collected, ignores_ncv, sign_of, since_of
from schemas.reference import Number


class Silence(NamedTuple):
    """What is known of a number's calls: days are `YYYY-MM-DD`."""

    last_call: str | None
    """The latest day with a call, up to today."""
    first_day: str | None
    """The first day with statistics in the number's time; None: there is none yet."""


def gaps(closed: Collection[str], days: Collected) -> tuple[str, ...]:
    """Days of the window that nobody closed, of those that have passed."""
    return tuple(day for day in _days(days.window, days.today) if day not in closed)


def leaves(number: Number, last_call: str | None, days: Collected, unclosed: Iterable[str]) -> bool:
    """Whether the job of the night frees it."""
    if number.status != "archive" or sign_of(number, last_call, days) not in RESTED:
        return False
    # What happened before it came does not concern it.
    return ignores_ncv(number) or not any(day >= since_of(number) for day in unclosed)


def earliest(number: Number, silence: Silence, days: Collected, unclosed: Iterable[str]) -> str | None:
    """The first day on which it can be free if nobody calls from now on; None: it is in no quarantine."""
    if number.status != "archive":
        return None
    today = date.fromisoformat(days.today)
    if ignores_ncv(number):
        return today.isoformat()
    rest = today - date.fromisoformat(days.window)
    since = since_of(number)
    # Today is collected when it is over; what has not begun to be collected begins today at the earliest.
    begun = [date.fromisoformat(silence.first_day) if silence.first_day else max(today, _day(since, today))]
    found = [one + rest for one in begun]
    loud = [day for day in (silence.last_call, *unclosed) if day is not None and day >= since]
    found += [date.fromisoformat(day) + rest + timedelta(days=1) for day in loud]
    return max(*found, today).isoformat()


def _days(first: str, end: str) -> list[str]:
    start, stop = date.fromisoformat(first), date.fromisoformat(end)
    return [(start + timedelta(days=step)).isoformat() for step in range((stop - start).days)]


def _day(text: str, otherwise: date) -> date:
    return date.fromisoformat(text) if text else otherwise
