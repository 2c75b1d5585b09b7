"""Unwanted calls (NCV) counted with sets, and the sign of a number (docs/rules.md §8)."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

COUNTED_STATUSES = ("free", "reserved", "archive")
AGENTS_PLACE = "Агентские номера"
REST_DAYS = 30

Sign = Literal["ignored", "no_data", "insufficient", "has_ncv", "no_ncv"]


class Count(NamedTuple):
    """A day of a number: calls, unique callers, and the moments of its first and last call."""

    calls: int
    unique_callers: int
    first_at: datetime
    last_at: datetime


class NcvModel:
    """Every counted call, kept as it was; sums are made when they are asked for."""

    def __init__(self, business_timezone: str = "Europe/Moscow") -> None:
        self._zone = ZoneInfo(business_timezone)
        self._seen: set[str] = set()
        self._calls: dict[tuple[str, date], list[tuple[str, datetime]]] = {}

    def attempt(
        self, attempt_id: str, account_id: str | None, called: str, status: str | None, caller: str | None, at: datetime
    ) -> None:
        """An inbound attempt to a number with this status (None: not one of the operator's), counted if it must be."""
        if account_id is not None or status not in COUNTED_STATUSES or attempt_id in self._seen:
            return
        self._seen.add(attempt_id)
        day = at.astimezone(self._zone).date()
        self._calls.setdefault((called, day), []).append((digits_of(caller), at))

    def counts(self) -> dict[tuple[str, date], Count]:
        """Counts by number and civil day of the business time zone; days without a call have no entry."""
        counts = {}
        for key, calls in self._calls.items():
            callers = {caller for caller, _ in calls}
            moments = [at for _, at in calls]
            counts[key] = Count(len(calls), len(callers), min(moments), max(moments))
        return counts


def digits_of(caller: str | None) -> str:
    """The caller as it is compared: digits only. All calls without a caller's number are one caller, the empty one."""
    return "".join(character for character in caller or "" if character in "0123456789")


def sign(
    *,
    fmtn: bool,
    place: str | None,
    since: date,
    collected_days: Collection[date],
    counted_days: Collection[date],
    today: date,
) -> Sign:
    """The sign of a number that is not in use.

    `since`: the day it was archived, or else joined the capacity. `collected_days`: days with statistics of any number.
    `counted_days`: days on which this number had an unwanted call.
    """
    if fmtn or place == AGENTS_PLACE:
        return "ignored"
    collected_since = [day for day in collected_days if day >= since]
    if not collected_since:
        return "no_data"
    if (today - min(collected_since)).days < REST_DAYS:
        return "insufficient"
    if any(day >= today - timedelta(days=REST_DAYS) for day in counted_days):
        return "has_ncv"
    return "no_ncv"
