"""Moments: RFC 3339 text on the wire, integer microseconds since 1970-01-01 UTC inside.

Reading is strict about what a moment is (a zone is a must) and lenient about how it is written.
Both directions remember the minutes they have seen, since traffic comes in order of time.
"""

from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

# A moment outside these years is a broken clock, not a call.
EARLIEST_US = 946_684_800 * SECOND_US  # 2000-01-01
LATEST_US = 4_102_444_800 * SECOND_US  # 2100-01-01

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_us_by_minute: dict[str, int] = {}
_minute_by_number: dict[int, str] = {}
_MEMORY = 100_000  # minutes; about ten weeks of them


def to_us(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 moment.

    Raises ValueError with the remedy when the text is no moment, has no zone, or lies outside 2000-2099.
    """
    if len(text) == 24 and text[19] == "." and text[23] == "Z":
        minute_us = _us_by_minute.get(text[:17])
        rest = text[17:19] + text[20:23]
        if minute_us is not None and rest.isdecimal() and rest.isascii() and rest < "60":
            return minute_us + int(rest) * 1000
    return _parse(text)


def _parse(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a moment; write it as 2026-11-24T18:30:00.000Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone; write it as 2026-11-24T18:30:00.000Z")
    us = (moment - _EPOCH) // _MICROSECOND
    if not EARLIEST_US <= us < LATEST_US:
        raise ValueError(f"{text!r} lies outside the years 2000-2099: a broken clock")
    if len(text) == 24 and text[10] == "T" and text[16] == ":" and text[23] == "Z":
        if len(_us_by_minute) >= _MEMORY:
            _us_by_minute.clear()
        _us_by_minute[text[:17]] = us - us % MINUTE_US
    return us


def to_text(us: int) -> str:
    """RFC 3339 text in UTC with milliseconds, as the contract writes moments. Parts of a millisecond are dropped."""
    number, rest = divmod(us, MINUTE_US)
    minute = _minute_by_number.get(number)
    if minute is None:
        if len(_minute_by_number) >= _MEMORY:
            _minute_by_number.clear()
        minute = (_EPOCH + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:")
        _minute_by_number[number] = minute
    # 60_000 ms of a minute as SS.mmm: one formatting instead of two.
    digits = f"{rest // 1000:05d}"
    return f"{minute}{digits[:2]}.{digits[2:]}Z"


def to_datetime(us: int) -> datetime:
    """The same moment as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def from_datetime(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND
