"""Any CSV of CDRs, by a mapping file that says which column is which field. `example-mapping.toml` shows all it knows.

The mapping is read and checked whole: every mistake in it is reported at once, with its key and the remedy.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors.convert import common
from connectors.convert.common import BadRow, ConvertSettings, FieldError, TimeNames
from connectors.convert.rows import Row, split_rows
from schemas.events import Cdr
from schemas.times import from_datetime, to_us

FIELDS = (
    "cdr_id",
    "attempt_id",
    "account_id",
    "service",
    "caller",
    "called",
    "place",
    "incoming_service",
    "provider_id",
    "started_at",
    "answered_at",
    "ended_at",
    "billable_seconds",
    "cause",
)
"""What a column may be."""

_MUST = ("called", "started_at", "ended_at")
_UNITS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
_EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_KEYS = {"delimiter", "quote", "header", "time_format", "time_zone", "duration_unit", "columns", "constants", "values"}


class MappingError(Exception):
    """`errors`: every mistake, each naming its key and the remedy."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(self.errors))


@dataclass(frozen=True)
class ColumnMapping:
    """A checked mapping."""

    columns: Mapping[str, str | int]
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    time_format: str = "rfc3339"
    time_zone: str | None = None
    duration_unit: str = "seconds"


def read_mapping(text: str) -> ColumnMapping:
    """The mapping of a TOML text. Raises MappingError with all mistakes."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError([f"the mapping is no TOML: {error}"]) from None
    errors = [f"{key!r} is not known; there are {', '.join(sorted(_KEYS))}" for key in found if key not in _KEYS]
    columns = _table(found, "columns", errors)
    constants = _table(found, "constants", errors)
    values = _table(found, "values", errors)
    header = found.get("header", True)
    if not isinstance(header, bool):
        errors.append("header must be true or false")
        header = True
    errors += [
        f"{table}.{key}: no such field; there are {', '.join(FIELDS)}"
        for table, names in (("columns", columns), ("constants", constants), ("values", values))
        for key in names
        if key not in FIELDS
    ]
    for key, column in columns.items():
        number = isinstance(column, int) and not isinstance(column, bool)
        if not number and not isinstance(column, str):
            errors.append(f"columns.{key} must be a column's name, or its number from 1")
        elif number and column < 1:
            errors.append(f"columns.{key}: columns are counted from 1")
        elif not number and not header:
            errors.append(f"columns.{key}: without a header a column has a number, not a name")
        if key in constants:
            errors.append(f"constants.{key}: the field has a column already; keep one of them")
    errors += [f"constants.{key} must be a text" for key, value in constants.items() if not isinstance(value, str)]
    for key, table in values.items():
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            errors.append(f'values.{key} must be a table of texts, such as ANSWERED = "normal"')
    errors += [f"columns.{key} is missing: a CDR can't do without it" for key in _MUST if key not in columns]
    delimiter, quote = found.get("delimiter", ","), found.get("quote", '"')
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        errors.append('delimiter must be one character, such as ";" or "\\t"')
    if not isinstance(quote, str) or len(quote) > 1:
        errors.append("quote must be one character, or empty where fields are never quoted")
    time_format, unit = found.get("time_format", "rfc3339"), found.get("duration_unit", "seconds")
    if not isinstance(time_format, str) or not (
        time_format == "rfc3339" or time_format in _EPOCHS or "%" in time_format
    ):
        errors.append(f'time_format must be "rfc3339", {", ".join(_EPOCHS)}, or a pattern such as "%d.%m.%Y %H:%M:%S"')
    if unit not in _UNITS:
        errors.append(f"duration_unit must be one of {', '.join(_UNITS)}")
    zone = found.get("time_zone")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, TypeError, AttributeError):
            errors.append(f'time_zone {zone!r} is unknown; write a name such as "Europe/Moscow"')
    if errors:
        raise MappingError(errors)
    return ColumnMapping(columns, constants, values, delimiter, quote, header, time_format, zone, unit)


def _table(found: Mapping[str, Any], name: str, errors: list[str]) -> dict[str, Any]:
    table = found.get(name, {})
    if isinstance(table, dict):
        return table
    errors.append(f"{name} must be a table: [{name}]")
    return {}


def read_mapped_csv(lines: Iterable[str], settings: ConvertSettings, mapping: ColumnMapping) -> Iterator[Cdr | BadRow]:
    """CDRs of the rows. Raises MappingError when the header lacks a column of the mapping; nothing else raises.

    Decode bytes that are no UTF-8 with errors="replace".
    """
    rows = split_rows(lines, delimiter=mapping.delimiter, quote=mapping.quote)
    places: dict[str, int] | None = None
    if not mapping.header:
        places = {name: int(column) - 1 for name, column in mapping.columns.items()}
    for row in rows:
        if isinstance(row, BadRow):
            if places is None:
                raise MappingError([f"line {row.line}: the header can't be read: {row.message}"])
            yield row
        elif places is None:
            places = _places(row.fields, mapping)
        else:
            try:
                yield _Reader(row, places, settings, mapping).cdr()
            except FieldError as error:
                yield BadRow(row.line, str(error))


def _places(header: list[str], mapping: ColumnMapping) -> dict[str, int]:
    names = [name.strip().removeprefix("\ufeff") for name in header]
    places: dict[str, int] = {}
    errors = []
    for key, column in mapping.columns.items():
        if isinstance(column, int):
            places[key] = column - 1
        elif column in names:
            places[key] = names.index(column)
        else:
            errors.append(f"columns.{key}: the file has no column {column!r}; it has {', '.join(names)[:300]}")
    if errors:
        raise MappingError(errors)
    return places


class _Reader:
    """One row by the mapping."""

    def __init__(self, row: Row, places: Mapping[str, int], settings: ConvertSettings, mapping: ColumnMapping) -> None:
        self._row = row
        self._places = places
        self._settings = settings
        self._mapping = mapping

    def cdr(self) -> Cdr:
        settings, names = self._settings, TimeNames("started_at", "answered_at", "ended_at", "billable_seconds")
        answer = self._text("answered_at")
        duration = self._text("billable_seconds")
        given_us = None
        if duration:
            given_us = common.whole_number("billable_seconds", duration) * _UNITS[self._mapping.duration_unit]
        given = None if given_us is None else -(-given_us // 1_000_000)
        times = common.choose_times(
            self._readings("started_at", self._text("started_at")),
            self._readings("answered_at", answer) if answer else None,
            self._readings("ended_at", self._text("ended_at")),
            billable_seconds=given,
        )
        provider = self._text("provider_id")
        return common.build(
            settings,
            cdr_id=common.call_id("cdr_id", self._text("cdr_id"))
            or common.row_id(settings.switch_id, self._row.fields),
            attempt_id=common.call_id("attempt_id", self._text("attempt_id")),
            account_id=common.plain_text("account_id", self._text("account_id")),
            service=common.plain_text("service", self._text("service")) or settings.service,
            caller=common.caller_number(self._text("caller"), settings.numbers),
            called=common.called_number("called", self._text("called"), settings.numbers),
            place=common.plain_text("place", self._text("place")),
            incoming_service=common.plain_text("incoming_service", self._text("incoming_service")),
            provider_id=common.plain_text("provider_id", settings.providers.get(provider, provider)),
            times=times,
            billable_seconds=common.billable(times, names, given),
            cause=common.plain_text("cause", self._text("cause")),
        )

    def _text(self, name: str) -> str:
        place = self._places.get(name)
        if place is None:
            return self._mapping.constants.get(name, "")
        if place >= len(self._row.fields):
            raise FieldError(f"{name}: the row has {len(self._row.fields)} fields, the mapping asks for {place + 1}")
        text = self._row.fields[place].strip()
        return self._mapping.values.get(name, {}).get(text, text)

    def _readings(self, name: str, text: str) -> tuple[int, ...]:
        shape = self._mapping.time_format
        if not text:
            raise FieldError(f"{name} is empty")
        if shape in _EPOCHS:
            whole, _, part = text.partition(".")
            digits = (part + "000000")[:6] if shape == "epoch" else "0"
            if not (whole + part).isascii() or not (whole + digits).isdecimal() or len(text) > 24:
                raise FieldError(f"{name} {text[:24]!r} must be a number since 1970 ({shape})")
            return (common.checked_moment(name, int(whole) * _EPOCHS[shape] + int(digits)),)
        if shape == "rfc3339":
            try:
                return (to_us(text),)
            except ValueError as error:
                raise FieldError(f"{name}: {error}") from None
        try:
            moment = datetime.strptime(text, shape)  # noqa: DTZ007  its zone is given by the mapping
        except ValueError:
            raise FieldError(f"{name} {text[:30]!r} does not look like {shape!r}") from None
        if moment.tzinfo is not None:
            return (common.checked_moment(name, from_datetime(moment)),)
        return common.local_readings(name, moment, ZoneInfo(self._mapping.time_zone or self._settings.time_zone))
