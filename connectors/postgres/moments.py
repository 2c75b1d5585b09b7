"""Moments between the record's words (RFC 3339 text) and the database's (datetimes in UTC)."""

from datetime import date, datetime
from functools import lru_cache
from typing import overload

from schemas.times import from_datetime, to_datetime, to_text, to_us


@overload
def from_text(text: None) -> None: ...
@overload
def from_text(text: str) -> datetime: ...
def from_text(text: str | None) -> datetime | None:
    """The database's moment; None stays None."""
    return None if text is None else _from_text(text)


def to_optional_text(moment: datetime | None) -> str | None:
    """The record's moment, in milliseconds; None stays None."""
    return None if moment is None else to_moment(moment)


# A deck of a million prices names a handful of moments.
@lru_cache(maxsize=10_000)
def _from_text(text: str) -> datetime:
    return to_datetime(to_us(text))


@lru_cache(maxsize=10_000)
def to_moment(moment: datetime) -> str:
    """The record's moment, in milliseconds."""
    return to_text(from_datetime(moment))


def day_from_text(text: str | None) -> date | None:
    """The database's day; None stays None."""
    return None if text is None else date.fromisoformat(text)
