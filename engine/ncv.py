"""Unwanted calls (NCV): counters per number and civil day, and the sign they give a number (§1.4, D2-D6)."""

from collections.abc import Iterable
from datetime import date
from typing import Literal, NamedTuple

from schemas.facts import NumberNcv
from schemas.reference import Number
from schemas.times import to_text

REST_DAYS = 30
"""§1.4: «срок отлежки номеров»."""

AGENTS_PLACE = "Агентские номера"
"""§1.4: numbers of this place, like FMTN numbers, do not care for unwanted calls."""

NOBODY = ""
"""Stands for all callers without a number: they are one (D3)."""

Sign = Literal["no_data", "insufficient_data", "has_ncv", "no_ncv", "ncv_ignored"]


class Counter:
    """Calls to one number on one civil day."""

    __slots__ = ("begun_us", "callers", "calls", "day", "first_us", "last_us", "number")

    def __init__(self, number: str, day: str, begun_us: int) -> None:
        """`begun_us`: when the first record of the day came; the counter is kept for the horizon from then on."""
        self.begun_us = begun_us
        self.number = number
        self.day = day
        self.calls = 0
        self.callers: set[str] = set()
        self.first_us = 0
        self.last_us = 0

    def add(self, caller: str, at_us: int) -> bool:
        """Counts a call of a normalised caller; True when this caller is new today."""
        self.first_us = min(self.first_us, at_us) if self.calls else at_us
        self.last_us = max(self.last_us, at_us)
        self.calls += 1
        if caller in self.callers:
            return False
        self.callers.add(caller)
        return True

    def fact(self) -> NumberNcv:
        """The counter as it is published."""
        return NumberNcv(
            number=self.number,
            day=self.day,
            calls=self.calls,
            unique_callers=len(self.callers),
            first_at=to_text(self.first_us),
            last_at=to_text(self.last_us),
        )


def normalised(caller: str | None) -> str:
    """A caller's digits; `NOBODY` when there are none (D3)."""
    if caller is None:
        return NOBODY
    if caller.isdecimal() and caller.isascii():
        return caller
    return "".join(digit for digit in caller if digit in "0123456789")


class Collected(NamedTuple):
    """What a sign must know of the days for which statistics were collected at all. Days are `YYYY-MM-DD`, or empty."""

    today: str
    """The business day asked for."""
    window: str
    """`today` minus the days of rest: a call on this day or later still counts (D4)."""
    latest: str
    """The latest day that was collected, up to today."""
    rested: str
    """The latest collected day that lies the days of rest or more before today."""


def collected(days: Iterable[str], *, today: str, rest_days: int = REST_DAYS) -> Collected:
    """`Collected` of all days with statistics of any number (D5)."""
    window = date.fromordinal(date.fromisoformat(today).toordinal() - rest_days).isoformat()
    known = [day for day in days if day <= today]
    return Collected(today, window, max(known, default=""), max((day for day in known if day <= window), default=""))


def since_of(number: Number) -> str:
    """From which day on calls to a number count: that of archiving, else that of joining the capacity (D5)."""
    return number.archived_on or number.joined_on or ""


def ignores_ncv(number: Number) -> bool:
    """Whether its unwanted calls do not count: FMTN numbers and those of the agents' place (§1.4)."""
    return number.fmtn or number.place == AGENTS_PLACE


def sign_of(number: Number, last_call: str | None, days: Collected) -> Sign:
    """The NCV sign of a number that is not in use (D4, D5): the one rule that the engine's checks, the office and the
    jobs of the night go by. `last_call`: the latest day with a call to it, up to today.
    """
    if ignores_ncv(number):
        return "ncv_ignored"
    since = since_of(number)
    if not days.latest or since > days.latest:
        return "no_data"
    # A collected day at or before this one lies in the number's time: its first one is at least so long ago.
    if not days.rested or since > days.rested:
        return "insufficient_data"
    return "has_ncv" if last_call is not None and last_call >= max(days.window, since) else "no_ncv"


def sign(
    number: Number,
    *,
    today: str,
    collected_days: Iterable[str],
    days_with_calls: Iterable[str],
    rest_days: int = REST_DAYS,
) -> Sign:
    """The NCV sign of a number from the days themselves; see `sign_of`.

    `collected_days`: days for which statistics exist for any number; `days_with_calls`: days with a call to this one.
    Days are `YYYY-MM-DD`, `today` among them the business day asked for.
    """
    last_call = max((day for day in days_with_calls if day <= today), default=None)
    return sign_of(number, last_call, collected(collected_days, today=today, rest_days=rest_days))


def sellable(number: Number, ncv_sign: Sign) -> bool:
    """Whether the number may be sold: green in the guide's filter (D17)."""
    if number.saleable == "forced_yes":
        return True
    return number.saleable == "depends_on_ncv" and ncv_sign in ("no_ncv", "ncv_ignored")
