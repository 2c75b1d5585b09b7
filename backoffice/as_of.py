"""The moment that a question about the past means: a moment with its zone, or a civil day, which means its end.

People ask what was in force "on the 25th"; all of that day has to count. Of the day that is under way it is now.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime, to_text, to_us

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WRITE = "write a moment as 2026-11-24T18:30:00+03:00, or a day as 2026-11-24"
_LAST = timedelta(microseconds=1)


def as_of(text: str, *, time_zone: str, now: datetime) -> datetime:
    """The moment in UTC that a text means at the moment `now`; a day is one of `time_zone`, the business one (D1).

    Raises ValueError, with the remedy, for what is neither, lies outside 2000-2099, or has not come yet.
    """
    if _DAY.fullmatch(text):
        return _end_of(text, ZoneInfo(time_zone), now)
    try:
        found = to_datetime(to_us(text))
    except ValueError as error:
        said = str(error).partition(";")[0]
        raise ValueError(f"{said}; {_WRITE}") from None
    if found > now:
        raise ValueError(_not_yet(text, now))
    return found


def _end_of(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    try:
        day = date.fromisoformat(text)
        begin = datetime.combine(day, time(), zone).astimezone(UTC)
        end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC) - _LAST
    except (ValueError, OverflowError):
        raise ValueError(f"there is no day {text}; {_WRITE}") from None
    if not EARLIEST_US <= from_datetime(begin) < LATEST_US:
        raise ValueError(f"{text} lies outside the years 2000-2099; {_WRITE}")
    if begin > now:
        raise ValueError(_not_yet(text, now))
    return min(end, now)


def _not_yet(text: str, now: datetime) -> str:
    return f"{text} lies in the future (it is {to_text(from_datetime(now))}): what will be in force is not known"
