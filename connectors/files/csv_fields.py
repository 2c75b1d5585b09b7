"""Fields of the reference folder: from text to value. Each raises ValueError with what is wrong and how to mend it.

The parsers get texts without surrounding spaces; an empty text is one that they refuse.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from schemas.money import to_micros
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_text, to_us

T = TypeVar("T")

# How many different texts of a column are remembered: a deck of 200 000 prefixes fits, a file of accounts doesn't grow.
_MEMORY = 400_000
MAX_ID = 64
MAX_TEXT = 1000
MAX_SECONDS = 31_622_400  # a leap year
MAX_NUMBER = 1_000_000_000  # of priorities, weights, calls at once: beyond it is a typing mistake

_DIGITS = re.compile(r"[0-9]{1,15}")
_MONEY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEARLY = re.compile(r"--[0-9]{2}-[0-9]{2}")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})")
_WEEKDAYS = re.compile(r"([1-7])(?:\s*-\s*([1-7]))?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Mandatory(Enum):
    """In the place of a default: the field may not be empty."""

    MANDATORY = 0


MANDATORY = Mandatory.MANDATORY


class Memo(dict[str, T], Generic[T]):
    """A column's values by their text as it stands in the file: each different text is parsed once, its value shared.

    Looking up a bad text raises the parser's ValueError.
    """

    def __init__(self, parse: Callable[[str], T], empty: T | Mandatory = MANDATORY) -> None:
        super().__init__()
        self._parse = parse
        self._empty = empty

    def __missing__(self, raw: str) -> T:
        text = raw.strip()
        if text == raw:
            value = self._parse(text) if text or isinstance(self._empty, Mandatory) else self._empty
        else:
            value = self[text]
        if len(self) < _MEMORY:
            self[raw] = value
        return value


def identifier(text: str) -> str:
    """An id, or a word that is matched like one (service, place): 1 to 64 characters of one line."""
    if not text:
        raise ValueError("is empty; write an id")
    if len(text) > MAX_ID:
        raise ValueError(f"{text[:20]!r}… has {len(text)} characters; write at most {MAX_ID}")
    if _CONTROL.search(text) or "\n" in text or "\r" in text or "\t" in text:
        raise ValueError(f"{text!r} has line ends, tabs or control characters; write it without them")
    return text


def words(text: str) -> str:
    """Words for people: 1 to 1000 characters."""
    if not text:
        raise ValueError("is empty; write some words")
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; write at most {MAX_TEXT}")
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} has control characters; write it without them")
    return text


def digits(text: str) -> str:
    """A number, prefix or mask of E.164: 1 to 15 digits."""
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{text!r} is not 1 to 15 digits; write it as 74951234567, without + and spaces")
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of one of some words."""
    known = {choice: choice for choice in choices}

    def parse(text: str) -> str:
        if (choice := known.get(text)) is None:
            raise ValueError(f"{text!r} is not known; write {' or '.join(choices)}")
        return choice

    return parse


def yes_no(text: str) -> bool:
    """A yes or a no."""
    return _YES_NO(text) == "yes"


_YES_NO = one_of("yes", "no")


def whole(least: int, most: int = MAX_NUMBER) -> Callable[[str], int]:
    """A parser of whole numbers within limits."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not least <= (number := int(text)) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}; write one")
        return number

    return parse


def money(text: str) -> int:
    """Micro-units of an amount that may be negative."""
    # Decimal would take "1_000" and "1e3" too.
    if not _MONEY.fullmatch(text):
        raise ValueError(f'{text!r} is not an amount of money; write it as "12.50"')
    return to_micros(text)


def unsigned_money(text: str) -> int:
    """Micro-units of an amount that may not be negative."""
    if (micros := money(text)) < 0:
        raise ValueError(f"{text!r} is below zero; write 0 or more")
    return micros


def per_cent(text: str) -> int:
    """Millionths of a per cent, 0 to 100 %."""
    if not _MONEY.fullmatch(text) or not 0 <= (micros := to_micros(text)) <= 100_000_000:
        raise ValueError(f'{text!r} is not a percentage; write a number from 0 to 100, such as "12.5"')
    return micros


def currency(text: str) -> str:
    """A currency's code of ISO 4217."""
    if not _CURRENCY.fullmatch(text):
        raise ValueError(f"{text!r} is not a currency; write its three capital letters, such as RUB")
    return text


def day(text: str) -> str:
    """A day of the calendar, as it stands."""
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text!r} is not a day; write it as 2026-11-24")
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar; write a day that is") from None
    return text


def moments(zone: ZoneInfo) -> Callable[[str], str]:
    """A parser of moments: RFC 3339 with a zone, or a day, which is its first moment in `zone`. Gives UTC text."""

    def parse(text: str) -> str:
        if not _DAY.fullmatch(text):
            return to_text(to_us(text))
        midnight = datetime.combine(date.fromisoformat(day(text)), time.min, zone)
        # Years far outside may not even be moments of UTC.
        us = from_datetime(midnight) if 1999 <= midnight.year <= 2100 else -1
        if not EARLIEST_US <= us < LATEST_US:
            raise ValueError(f"{text!r} lies outside the years 2000-2099; leave the field empty for no limit")
        return to_text(us)

    return parse


def time_zone(text: str) -> str:
    """A zone's IANA name."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{text!r} is not a time zone; write its IANA name, such as Europe/Moscow") from None
    return text


def clock(last_minute: int) -> Callable[[str], int]:
    """A parser of HH:MM; minutes since midnight, at most `last_minute` (1440 lets 24:00 in)."""

    def parse(text: str) -> int:
        found = _CLOCK.fullmatch(text)
        minute = int(found[1]) * 60 + int(found[2]) if found else -1
        if found is None or found[2] > "59" or minute > last_minute:
            latest = f"{last_minute // 60:02d}:{last_minute % 60:02d}"
            raise ValueError(f"{text!r} is not a time of day; write HH:MM from 00:00 to {latest}")
        return minute

    return parse


def weekdays(text: str) -> tuple[int, ...]:
    """Days of the week, Monday is 1: days and ranges with semicolons between."""
    days: set[int] = set()
    for part in text.split(";"):
        found = _WEEKDAYS.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ValueError(f"{text!r} are no days of the week; write them as 1-5 or 6;7, where Monday is 1")
        days.update(range(first, last + 1))
    return tuple(sorted(days))


def dates(text: str) -> tuple[str, ...]:
    """Days of one year or of every year, with semicolons between, each once and in order."""
    return tuple(sorted({_date(part.strip()) for part in text.split(";")}))


def _date(text: str) -> str:
    if _DAY.fullmatch(text):
        return day(text)
    if not _YEARLY.fullmatch(text):
        raise ValueError(f"{text!r} is not a date; write 2026-01-01, or --05-09 for every year, with ; between")
    try:
        date.fromisoformat(f"2000{text[1:]}")  # a leap year, so that 29 February is a day
    except ValueError:
        raise ValueError(f"{text!r} is in no year's calendar; write a day that is") from None
    return text
