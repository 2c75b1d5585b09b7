"""Moments: RFC 3339 text on the wire, integer microseconds since 1970-01-01 UTC inside.

Reading is strict about what a moment is (a zone is a must) and lenient about how it is written.
Both directions remember the seconds they have seen, since traffic comes in order of time.
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

_us_by_second: dict[str, int] = {}
_text_by_second: dict[int, str] = {}
_MEMORY = 100_000  # seconds; about a day of them

_MILLISECONDS = [f"{ms:03d}Z" for ms in range(1000)]
_us_by_milliseconds = {text: ms * 1000 for ms, text in enumerate(_MILLISECONDS)}


def to_us(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 moment.

    Raises ValueError with the remedy when the text is no moment, has no zone, or lies outside 2000-2099.
    """
    second_us = _us_by_second.get(text[:20])
    rest_us = _us_by_milliseconds.get(text[20:])
    if second_us is not None and rest_us is not None:
        return second_us + rest_us
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
    if text[19:20] == "." and text[20:] in _us_by_milliseconds:
        if len(_us_by_second) >= _MEMORY:
            _us_by_second.clear()
        _us_by_second[text[:20]] = us - us % SECOND_US
    return us


def to_text(us: int) -> str:
    """RFC 3339 text in UTC with milliseconds, as the contract writes moments. Parts of a millisecond are dropped."""
    number, rest = divmod(us, SECOND_US)
    second = _text_by_second.get(number)
    if second is None:
        if len(_text_by_second) >= _MEMORY:
            _text_by_second.clear()
        second = (_EPOCH + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.")
        _text_by_second[number] = second
    return second + _MILLISECONDS[rest // 1000]


def to_datetime(us: int) -> datetime:
    """The same moment as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def from_datetime(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND
