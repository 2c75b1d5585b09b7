"""What all readers of switches' files share: the settings, refused rows, and how texts become a Cdr's fields.

Knows no file format and opens no file. A text that can't become a field raises FieldError, whose words name the field
and the remedy; the reader at hand turns it into a BadRow with its line, and goes on with the next row.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from schemas.events import OUTGOING, Cdr
from schemas.times import EARLIEST_US, LATEST_US, SECOND_US, from_datetime, to_text

MAX_ID_CHARS = 64
MAX_SECONDS = 31_622_400  # schemas.words.Seconds: a leap year
_DASHES_BRACKETS_SPACES = dict.fromkeys(map(ord, " \t\u00a0()[]-\u2010\u2011\u2012\u2013"))
_E164 = re.compile(r"[0-9]{1,15}")
_WHOLE = re.compile(r"[0-9]{1,10}")
_MICROSECOND = timedelta(microseconds=1)


class BadRow(NamedTuple):
    """A row, or document, that became no Cdr: the line it begins at, what is wrong with which field, what to do.

    `skipped` is true for what was left out on purpose, such as the other leg of a call: worth counting, no error.
    """

    line: int
    message: str
    skipped: bool = False


class FieldError(ValueError):
    """A field that can't be read. Its words name the field and the remedy."""


@dataclass(frozen=True)
class NumberRule:
    """How people and switches of one country write numbers, for turning them into E.164 digits (D31).

    Spaces, brackets and dashes go; a number with `+` is international as it is; the international prefix comes before
    a country code; the national prefix with exactly `national_digits` behind it stands for the own country code. All
    else stays as it is: E.164 digits already, or a short number. An empty prefix switches its line of the rule off.
    """

    country_code: str = "7"
    national_prefix: str = "8"
    national_digits: int = 10
    international_prefix: str = "810"

    def e164(self, text: str) -> str:
        """`text` in E.164 digits where the rule knows how: "8(495) 200-0-200" is 74952000200."""
        number = text.translate(_DASHES_BRACKETS_SPACES)
        if number.startswith("+"):
            return number[1:]
        if self.international_prefix and number.startswith(self.international_prefix):
            return number[len(self.international_prefix) :]
        national = number.removeprefix(self.national_prefix)
        if self.national_prefix and national != number and len(national) == self.national_digits:
            return self.country_code + national
        return number


@dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """What the files themselves do not say. Raises ValueError, naming every wrong setting, when created."""

    switch_id: str
    """Whose files these are."""

    service: str = OUTGOING
    """The service of calls whose context is not in `services`."""

    services: Mapping[str, str] = field(default_factory=dict)
    """Service by dialplan context (Asterisk's dcontext, FreeSWITCH's context): {"from-trunk": "incoming"}."""

    numbers: NumberRule | None = field(default_factory=NumberRule)
    """How numbers are written; None when the switch writes E.164 digits already and nothing may be rewritten."""

    time_zone: str = "UTC"
    """The zone of local times. UTC suits Asterisk with `usegmtime=yes`, the only setting under which no hour of a
    year is ambiguous."""

    default_account_id: str | None = None
    """The account of calls that name none; None leaves it unknown."""

    providers: Mapping[str, str] = field(default_factory=dict)
    """Provider id by trunk or gateway name: {"megafon": "MEG"}. On Asterisk "PJSIP/megafon" wins over "megafon"."""

    keep_unmapped_trunks: bool = False
    """Whether a trunk that is not in `providers` is its own provider id. Off, because to a switch a subscriber's
    phone is a trunk too; then such a call has no provider."""

    place: str | None = None

    legs: Literal["a", "b", "both"] = "a"
    """Which legs of a FreeSWITCH call become CDRs; the others are skipped. "both" charges a bridged call twice unless
    one of its legs has no account."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} {value!r} must be 1 to {MAX_ID_CHARS} printable characters"
            for name, value in self._names()
            if not (value.isprintable() and 1 <= len(value) <= MAX_ID_CHARS)
        ]
        if not is_zone(self.time_zone):
            problems.append(f'time_zone {self.time_zone!r} is unknown; write a name such as "UTC" or "Europe/Moscow"')
        if self.legs not in ("a", "b", "both"):
            problems.append(f'legs {self.legs!r} must be "a", "b" or "both"')
        if problems:
            raise ValueError("; ".join(problems))

    def _names(self) -> Iterable[tuple[str, str]]:
        yield "switch_id", self.switch_id
        yield "service", self.service
        for context, service in self.services.items():
            yield f"services[{context!r}]", service
        for trunk, provider_id in self.providers.items():
            yield f"providers[{trunk!r}]", provider_id
        for name, value in (("default_account_id", self.default_account_id), ("place", self.place)):
            if value is not None:
                yield name, value

    def provider_of(self, *trunks: str) -> str | None:
        """The provider behind a trunk, which may be known by several names; the last is its plain one."""
        for trunk in trunks:
            if (provider_id := self.providers.get(trunk)) is not None:
                return provider_id
        return trunks[-1] if self.keep_unmapped_trunks else None

    def service_of(self, context: str) -> str:
        """The service of a call that ran in this dialplan context."""
        return self.services.get(context, self.service)


def is_zone(name: str) -> bool:
    """Whether this system has a time zone of that name."""
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError):  # unknown, a folder of zones, or no name of a file at all
        return False
    return True


class Times(NamedTuple):
    """The moments of a call in microseconds; `answered` is None for a call that was not answered."""

    started: int
    answered: int | None
    ended: int


class TimeNames(NamedTuple):
    """What a switch calls the moments and the billable time, for messages."""

    started: str
    answered: str
    ended: str
    billable: str


def plain_text(name: str, text: str, at_most: int = MAX_ID_CHARS) -> str | None:
    """`text` without outer spaces, or None when it is empty. Raises FieldError when it is too long or not printable."""
    text = text.strip(" \t")
    if len(text) > at_most:
        raise FieldError(f"{name} is longer than {at_most} characters: {text[:20]!r}…; shorten it on the switch")
    # U+FFFD stands for bytes that were no text: two ids could become one by it.
    if not text.isprintable() or "\ufffd" in text:
        raise FieldError(f"{name} {text!r} has characters that are not text; check the file's encoding")
    return text or None


def call_id(name: str, text: str) -> str | None:
    """An id of a call, or None when there is none.

    Some switches' ids outgrow the 64 characters of an id: then it is the SHA-256 of its UTF-8, in hex. A call set up
    under such an id is found again only if the attempt's id was shortened likewise.
    """
    checked = plain_text(name, text, at_most=1000)
    if checked is None or len(checked) <= MAX_ID_CHARS:
        return checked
    return hashlib.sha256(checked.encode()).hexdigest()


def row_id(switch_id: str, fields: Sequence[str]) -> str:
    """An id for a row that brings none: the same row of the same switch has the same one, so twice is once."""
    digest = hashlib.sha256("\x1f".join([switch_id, *fields]).encode(errors="surrogatepass"))
    return f"row-{digest.hexdigest()[:40]}"


def called_number(name: str, text: str, rule: NumberRule | None) -> str:
    """The number called, in E.164 digits. Raises FieldError when it is none, such as an extension called `s`."""
    number = rule.e164(text) if rule is not None else text
    if _E164.fullmatch(number) is None:
        raise FieldError(f"{name} {text[:40]!r} is no phone number of 1 to 15 digits; an internal row can be left out")
    return number


def caller_number(text: str, rule: NumberRule | None) -> str | None:
    """The caller's number in E.164 digits; None when it is withheld or a name: nobody is refused for hiding it."""
    number = rule.e164(text) if rule is not None else text
    return number if _E164.fullmatch(number) is not None else None


def whole_number(name: str, text: str) -> int:
    """A whole number of at most ten digits, never negative. Raises FieldError."""
    if _WHOLE.fullmatch(text) is None:
        raise FieldError(f"{name} {text[:20]!r} must be a whole number, not negative")
    return int(text)


def local_readings(name: str, local: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """The moments, in microseconds, that a wall clock of `zone` can mean: two, the earlier first, in the hour that
    comes twice when clocks go back, else one. Raises FieldError for a time that never was and for a broken clock."""
    checked_moment(name, from_datetime(local.replace(tzinfo=UTC)))
    first = local.replace(tzinfo=zone).utcoffset()
    second = local.replace(tzinfo=zone, fold=1).utcoffset()
    assert first is not None
    assert second is not None
    if first < second:
        raise FieldError(f"{name} {local} never was in {zone.key}: clocks went forward; is time_zone right?")
    wall_us = from_datetime(local.replace(tzinfo=UTC))
    offsets: tuple[timedelta, ...] = (first,) if first == second else (first, second)
    return tuple(checked_moment(name, wall_us - offset // _MICROSECOND) for offset in offsets)


def checked_moment(name: str, us: int) -> int:
    """`us` itself. Raises FieldError when it lies outside the years that a moment may lie in."""
    if not EARLIEST_US <= us < LATEST_US:
        raise FieldError(f"{name} lies outside the years 2000-2099: a broken clock, or the wrong unit of time")
    return us


def choose_times(
    started: Sequence[int],
    answered: Sequence[int] | None,
    ended: Sequence[int],
    *,
    total_seconds: int | None = None,
    billable_seconds: int | None = None,
) -> Times:
    """Of all readings of ambiguous wall-clock times, the one that agrees with the durations within a second.

    If several agree the shortest call is taken, since nobody rings for an hour, then the earliest. If none does, the
    first reading of each: the checks that follow say what is wrong.
    """
    answers: Sequence[int | None] = (None,) if answered is None else answered
    readings = [Times(*reading) for reading in product(started, answers, ended)]
    if len(readings) == 1:
        return readings[0]
    return min(
        (reading for reading in readings if _agree(reading, total_seconds, billable_seconds)),
        key=lambda reading: (reading.ended - reading.started, reading.started),
        default=readings[0],
    )


def _agree(times: Times, total_seconds: int | None, billable_seconds: int | None) -> bool:
    started, answered, ended = times
    if not started <= (started if answered is None else answered) <= ended:
        return False
    if total_seconds is not None and abs(ended - started - total_seconds * SECOND_US) > SECOND_US:
        return False
    if answered is None or billable_seconds is None:
        return True
    return abs(ended - answered - billable_seconds * SECOND_US) <= SECOND_US


def billable(times: Times, names: TimeNames, given_seconds: int | None, tolerance_us: int = SECOND_US) -> int:
    """The seconds to be paid: those the switch gives, else from answer to end, rounded up.

    Raises FieldError when the moments are out of order, or the seconds given differ from them by more than the
    tolerance, a second by default: switches cut off parts of seconds, each in its own way.
    """
    started, answered, ended = times
    if ended < started:
        raise FieldError(f"{names.ended} lies before {names.started}; check the switch's clock and time_zone")
    if answered is None:
        return 0
    if not started <= answered <= ended:
        raise FieldError(
            f"{names.answered} lies outside {names.started} and {names.ended}; check the switch's clock and time_zone"
        )
    talked_us = ended - answered
    seconds = -(-talked_us // SECOND_US) if given_seconds is None else given_seconds
    if given_seconds is not None and abs(talked_us - given_seconds * SECOND_US) > tolerance_us:
        raise FieldError(
            f"{names.billable} is {given_seconds} s, but {names.answered} to {names.ended} is "
            f"{talked_us // SECOND_US} s; one of the three is wrong"
        )
    if seconds > MAX_SECONDS:
        raise FieldError(f"{names.billable} is {seconds} s, more than a year: a broken clock")
    return seconds


def build(
    settings: ConvertSettings,
    *,
    cdr_id: str,
    called: str,
    times: Times,
    billable_seconds: int,
    service: str,
    switch_id: str | None = None,
    attempt_id: str | None = None,
    account_id: str | None = None,
    caller: str | None = None,
    place: str | None = None,
    incoming_service: str | None = None,
    provider_id: str | None = None,
    cause: str | None = None,
) -> Cdr:
    """The Cdr of checked fields, with what the settings add where the file says nothing."""
    return Cdr(
        cdr_id=cdr_id,
        switch_id=switch_id or settings.switch_id,
        service=service,
        called=called,
        started_at=to_text(times.started),
        ended_at=to_text(times.ended),
        attempt_id=attempt_id,
        account_id=account_id or settings.default_account_id,
        caller=caller,
        place=place or settings.place,
        incoming_service=incoming_service,
        provider_id=provider_id,
        answered_at=None if times.answered is None else to_text(times.answered),
        billable_seconds=billable_seconds,
        cause=cause,
    )
