"""Unwanted calls (NCV): counters per number and civil day, and the sign they give a number (§1.4, D2-D6)."""

from collections.abc import Iterable
from datetime import date
from typing import Literal

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


def sign(number: Number, *, today: str, collected_days: Iterable[str], days_with_calls: Iterable[str]) -> Sign:
    """The NCV sign of a number that is not in use (D4, D5).

    `collected_days`: days for which statistics exist for any number; `days_with_calls`: days with a call to this one.
    Days are `YYYY-MM-DD`, `today` among them the business day asked for.
    """
    if number.fmtn or number.place == AGENTS_PLACE:
        return "ncv_ignored"
    since = number.archived_on or number.joined_on or ""
    first = min((day for day in collected_days if since <= day <= today), default=None)
    if first is None:
        return "no_data"
    now = date.fromisoformat(today).toordinal()
    if now - date.fromisoformat(first).toordinal() < REST_DAYS:
        return "insufficient_data"
    recent = date.fromordinal(now - REST_DAYS).isoformat()
    return "has_ncv" if any(max(recent, since) <= day <= today for day in days_with_calls) else "no_ncv"


def sellable(number: Number, ncv_sign: Sign) -> bool:
    """Whether the number may be sold: green in the guide's filter (D17)."""
    if number.saleable == "forced_yes":
        return True
    return number.saleable == "depends_on_ncv" and ncv_sign in ("no_ncv", "ncv_ignored")
