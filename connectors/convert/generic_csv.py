"""Any switch's CSV, by a mapping file, into CDRs.

What the file does not give is worked out: without `ended_at` the end is start and duration; without `answered_at` a
call with billable seconds was answered so long before its end; without `billable_seconds` they are answer to end,
rounded up; without `cdr_id` it is a digest of the row. A call whose `answered_at` is empty was not answered, and if it
still has billable seconds the row is bad. Where answer, end and billable seconds are all given they must agree to a
second, or to a minute if they are counted in minutes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from itertools import islice
from zoneinfo import ZoneInfo

from connectors.convert import common
from connectors.convert.common import BadRow, ConvertSettings, FieldError, TimeNames, Times
from connectors.convert.mapping import CsvMapping
from connectors.convert.rows import Row, split_rows
from schemas.events import Cdr
from schemas.times import MINUTE_US, SECOND_US, from_datetime, to_us

_DECIMAL = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,9})?")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2})")
_EPOCH_UNIT_US = {"epoch": SECOND_US, "epoch_ms": 1000, "epoch_us": 1}
_DURATION_UNIT_US = {"s": SECOND_US, "ms": 1000, "us": 1, "min": MINUTE_US}
_NAMES = TimeNames("started_at", "answered_at", "ended_at", "billable_seconds")


def read_mapped_csv(lines: Iterable[str], settings: ConvertSettings, mapping: CsvMapping) -> Iterator[Cdr | BadRow]:
    """CDRs of the rows of a CSV. A header without the mapping's columns is a BadRow for each, and ends the file.

    Lines are text: decode bytes that are no text in the mapping's encoding with errors="replace". Nothing in them
    raises.
    """
    width = 0
    rows = split_rows(
        islice(lines, mapping.skip_lines, None),
        delimiter=mapping.delimiter,
        quote=mapping.quote,
        first_line=mapping.skip_lines + 1,
        is_whole=lambda fields: len(fields) >= width,
    )
    header: list[str] = []
    if mapping.header:
        first = next(rows, None)
        if first is None:
            return
        if isinstance(first, BadRow):
            yield BadRow(first.line, f"the header can't be read: {first.message}")
            return
        header = [name.strip() for name in first.fields]
        if missing := list(_missing(header, mapping)):
            yield from (BadRow(first.line, message) for message in missing)
            return
    places = {name: _place(column, header) for name, column in mapping.columns.items()}
    width = max(len(header), max(places.values()) + 1)
    reader = _Reader(places, settings, mapping)
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield reader.cdr(row)
        except FieldError as error:
            yield BadRow(row.line, str(error))


def _missing(header: Sequence[str], mapping: CsvMapping) -> Iterator[str]:
    for name, column in mapping.columns.items():
        if isinstance(column, str) and column not in header:
            yield f"the header has no column {column!r}; correct columns.{name}: it has {', '.join(header)[:300]!r}"


def _place(column: str | int, header: Sequence[str]) -> int:
    return column - 1 if isinstance(column, int) else header.index(column)


class _Reader:
    """Reads rows whose columns are known to be at `places`, counted from 0."""

    def __init__(self, places: Mapping[str, int], settings: ConvertSettings, mapping: CsvMapping) -> None:
        self._places = places
        self._settings = settings
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.time_zone or settings.time_zone)
        self._most = max(places.values()) + 1

    def cdr(self, row: Row) -> Cdr:
        """The Cdr of a row. Raises FieldError."""
        if len(row.fields) < self._most:
            raise FieldError(f"the row has {len(row.fields)} fields, the mapping needs {self._most}; was it cut off?")
        settings = self._settings
        texts = {name: row.fields[place].strip() for name, place in self._places.items()}
        times, billable_seconds = self._times(texts)
        trunk = self._text(texts, "provider_id")
        return common.build(
            settings,
            cdr_id=self._id(texts, "cdr_id") or common.row_id(settings.switch_id, row.fields),
            switch_id=self._plain(texts, "switch_id"),
            attempt_id=self._id(texts, "attempt_id"),
            account_id=self._plain(texts, "account_id"),
            service=self._plain(texts, "service") or settings.service,
            caller=common.caller_number(self._text(texts, "caller"), settings.numbers),
            called=common.called_number("called", self._text(texts, "called"), settings.numbers),
            place=self._plain(texts, "place"),
            incoming_service=self._plain(texts, "incoming_service"),
            # A mapping names the column on purpose: what it holds is a provider, renamed or not.
            provider_id=common.plain_text("provider_id", settings.providers.get(trunk, trunk)),
            times=times,
            billable_seconds=billable_seconds,
            cause=self._plain(texts, "cause"),
        )

    def _text(self, texts: Mapping[str, str], name: str) -> str:
        """A field's text by the mapping's values; the constant where the column is empty or there is none."""
        text = texts.get(name, "")
        table = self._mapping.values.get(name, {})
        return table.get(text, table.get("*", text) if text else "") or self._mapping.constants.get(name, "")

    def _plain(self, texts: Mapping[str, str], name: str) -> str | None:
        return common.plain_text(name, self._text(texts, name))

    def _id(self, texts: Mapping[str, str], name: str) -> str | None:
        return common.call_id(name, self._text(texts, name))

    def _times(self, texts: Mapping[str, str]) -> tuple[Times, int]:
        talked_us = self._duration("billable_seconds", texts.get("billable_seconds"))
        total_us = self._duration("duration_seconds", texts.get("duration_seconds"))
        seconds = None if talked_us is None else -(-talked_us // SECOND_US)

        starts = self._moments("started_at", texts["started_at"])
        if texts.get("ended_at"):
            ends = self._moments("ended_at", texts["ended_at"])
        elif total_us is not None:
            ends = tuple(common.checked_moment("ended_at", start + total_us) for start in starts)
        else:
            raise FieldError("ended_at is empty, and there is no duration_seconds; one of them must be given")

        answers: tuple[int, ...] | None = None
        if "answered_at" in self._places:
            if texts["answered_at"] not in self._mapping.not_answered:
                answers = self._moments("answered_at", texts["answered_at"])
            elif seconds:
                raise FieldError(f"answered_at is empty, but billable_seconds is {seconds}; correct one of them")
        times = common.choose_times(
            starts,
            answers,
            ends,
            total_seconds=None if total_us is None else total_us // SECOND_US,
            billable_seconds=seconds,
        )
        if "answered_at" not in self._places and seconds:
            # Cut-off parts of a second may put it a little before the start.
            answered = times.ended - (talked_us or 0)
            if times.started - SECOND_US <= answered < times.started:
                answered = times.started
            times = times._replace(answered=answered)
        tolerance_us = MINUTE_US if self._mapping.unit == "min" else SECOND_US
        return times, common.billable(times, _NAMES, seconds, tolerance_us)

    def _moments(self, name: str, text: str) -> tuple[int, ...]:
        """The moments that a text can mean: two in an hour that comes twice."""
        time_format = self._mapping.time_format
        if (unit_us := _EPOCH_UNIT_US.get(time_format)) is not None:
            return (common.checked_moment(name, _scaled(name, text, unit_us)),)
        if time_format == "rfc3339":
            try:
                return (to_us(text),)
            except ValueError as error:
                raise FieldError(f"{name} {error}") from None
        try:
            moment = datetime.strptime(text, time_format)  # noqa: DTZ007 -- its zone, if it has none, comes next
        except ValueError:
            raise FieldError(f"{name} {text[:40]!r} is not written as {time_format!r}") from None
        if moment.tzinfo is not None:
            return (common.checked_moment(name, from_datetime(moment)),)
        return common.local_readings(name, moment, self._zone)

    def _duration(self, name: str, text: str | None) -> int | None:
        """Microseconds; None when the file does not give it."""
        if not text:
            return None
        if self._mapping.unit != "clock":
            return _scaled(name, text, _DURATION_UNIT_US[self._mapping.unit])
        if (clock := _CLOCK.fullmatch(text)) is None:
            raise FieldError(f"{name} {text[:20]!r} must be a duration such as 0:02:05")
        hours, minutes, seconds = clock.groups(default="0")
        return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * SECOND_US


def _scaled(name: str, text: str, unit_us: int) -> int:
    """Microseconds of a decimal number of units, a part of one rounded up."""
    if _DECIMAL.fullmatch(text) is None:
        raise FieldError(f"{name} {text[:30]!r} must be a number, not negative")
    return int((Decimal(text) * unit_us).to_integral_value(ROUND_CEILING))
