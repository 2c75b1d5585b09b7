"""The mapping file of the csv format: which column of somebody's CSV is which field of a Cdr, and how it is written.

`example-mapping.toml` beside this module explains every key. All mistakes of a file are reported at once.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors.convert.common import is_zone

EXAMPLE = Path(__file__).with_name("example-mapping.toml")
"""A commented mapping file to start from."""

TEXT_FIELDS = (
    "cdr_id",
    "attempt_id",
    "switch_id",
    "account_id",
    "service",
    "caller",
    "called",
    "place",
    "incoming_service",
    "provider_id",
    "cause",
)
MOMENT_FIELDS = ("started_at", "answered_at", "ended_at")
DURATION_FIELDS = ("billable_seconds", "duration_seconds")
FIELDS = (*TEXT_FIELDS, *MOMENT_FIELDS, *DURATION_FIELDS)
CONSTANTS = ("switch_id", "account_id", "service", "caller", "place", "incoming_service", "provider_id", "cause")

TIME_FORMATS = ("rfc3339", "epoch", "epoch_ms", "epoch_us")
UNITS = ("s", "ms", "us", "min", "clock")
_NOT_ANSWERED = frozenset({"", "0", "-", "NULL", "0000-00-00 00:00:00"})
_SECTIONS = ("file", "columns", "constants", "times", "durations", "values")


class MappingError(ValueError):
    """A mapping file that can't be used: `problems` names every wrong key and its remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class CsvMapping:
    """A mapping file that was read and found good."""

    columns: Mapping[str, str | int]
    """Field to the column's name in the header, or to its number from 1."""

    constants: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    skip_lines: int = 0
    encoding: str = "utf-8"
    time_format: str = "rfc3339"
    time_zone: str | None = None
    """None: the settings' zone."""

    not_answered: frozenset[str] = _NOT_ANSWERED
    unit: str = "s"


def load_mapping(path: Path) -> CsvMapping:
    """The mapping in a TOML file. Raises MappingError, and OSError when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise MappingError([f"{path} is not UTF-8; save it as UTF-8"]) from None
    return parse_mapping(text)


def parse_mapping(text: str) -> CsvMapping:
    """The mapping in a text of TOML. Raises MappingError with all that is wrong."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MappingError([f"not a TOML file: {error}"]) from None
    return _Check(content).mapping()


class _Check:
    """Reads a mapping piece by piece and gathers what is wrong with it."""

    def __init__(self, content: Mapping[str, object]) -> None:
        self._problems: list[str] = []
        self._content = content
        for name in content:
            if name not in _SECTIONS:
                self._wrong(name, f"is no section; the sections are {', '.join(_SECTIONS)}")

    def mapping(self) -> CsvMapping:
        file = self._section("file", ("delimiter", "quote", "header", "skip_lines", "encoding"))
        times = self._section("times", ("format", "zone", "not_answered"))
        durations = self._section("durations", ("unit",))
        header = self._flag("file.header", file.get("header", True))
        checked = CsvMapping(
            columns=self._columns(header),
            constants=self._constants(),
            values=self._values(),
            delimiter=self._character("file.delimiter", file.get("delimiter", ",")),
            quote=self._character("file.quote", file.get("quote", '"'), may_be_empty=True),
            header=header,
            skip_lines=self._count("file.skip_lines", file.get("skip_lines", 0)),
            encoding=self._encoding(file.get("encoding", "utf-8")),
            time_format=self._time_format(times.get("format", "rfc3339")),
            time_zone=self._zone(times.get("zone")),
            not_answered=self._texts("times.not_answered", times.get("not_answered", list(_NOT_ANSWERED))),
            unit=self._unit(durations.get("unit", "s")),
        )
        if checked.delimiter == checked.quote:
            self._wrong("file.quote", 'is the delimiter too; choose another, or "" if fields are never quoted')
        if self._problems:
            raise MappingError(self._problems)
        return checked

    def _wrong(self, key: str, what: str) -> None:
        self._problems.append(f"{key} {what}")

    def _section(self, name: str, keys: tuple[str, ...] | None = None) -> Mapping[str, object]:
        section = self._content.get(name, {})
        if not isinstance(section, dict):
            self._wrong(name, f"must be a section; write [{name}]")
            return {}
        for key in section:
            if keys is not None and key not in keys:
                self._wrong(f"{name}.{key}", f"is unknown; {name} has {', '.join(keys)}")
        return section

    def _columns(self, header: bool) -> Mapping[str, str | int]:
        columns: dict[str, str | int] = {}
        section = self._section("columns", FIELDS)
        for name, column in section.items():
            if isinstance(column, bool) or not isinstance(column, str | int) or column == "":
                self._wrong(f"columns.{name}", 'must be a column\'s name ("dst") or its number from 1')
            elif isinstance(column, int) and not 1 <= column <= 1000:
                self._wrong(f"columns.{name}", f"is {column}; columns are numbered from 1")
            elif isinstance(column, str) and not header:
                self._wrong(f"columns.{name}", "must be a number, from 1, since file.header is false")
            elif name in FIELDS:
                columns[name] = column
        for name in ("called", "started_at"):
            if name not in section:
                self._wrong(f"columns.{name}", "is missing; name its column")
        if not section.keys() & {"ended_at", "duration_seconds"}:
            self._wrong("columns.ended_at", "is missing; name its column, or that of duration_seconds (start to end)")
        if not section.keys() & {"answered_at", "billable_seconds"}:
            self._wrong("columns.answered_at", "is missing; name its column, or that of billable_seconds")
        return columns

    def _constants(self) -> Mapping[str, str]:
        constants: dict[str, str] = {}
        for name, value in self._section("constants", CONSTANTS).items():
            if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 64:
                self._wrong(f"constants.{name}", "must be a text of 1 to 64 printable characters")
            else:
                constants[name] = value
        return constants

    def _values(self) -> Mapping[str, Mapping[str, str]]:
        values: dict[str, Mapping[str, str]] = {}
        columns = self._content.get("columns")
        for name, table in self._section("values", TEXT_FIELDS).items():
            if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
                self._wrong(f"values.{name}", 'must be a table of texts; write [values.cause] "ANSWERED" = "normal"')
            elif isinstance(columns, dict) and name not in columns:
                self._wrong(f"values.{name}", f"has nothing to translate; name columns.{name} too")
            else:
                values[name] = table
        return values

    def _flag(self, key: str, value: object) -> bool:
        if isinstance(value, bool):
            return value
        self._wrong(key, "must be true or false")
        return True

    def _count(self, key: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1000:
            return value
        self._wrong(key, "must be a number from 0 to 1000")
        return 0

    def _character(self, key: str, value: object, *, may_be_empty: bool = False) -> str:
        if isinstance(value, str) and len(value) == 1 and value not in "\r\n\0 ":
            return value
        if may_be_empty and value == "":
            return ""
        self._wrong(key, r'must be one character, such as ";" or "\t"')
        return ","

    def _encoding(self, value: object) -> str:
        try:
            if isinstance(value, str):
                "".encode(value)
                return value
        except (LookupError, ValueError):  # unknown, or no encoding of text
            pass
        self._wrong("file.encoding", f'is {value!r}; write a name such as "utf-8" or "cp1251"')
        return "utf-8"

    def _time_format(self, value: object) -> str:
        if isinstance(value, str) and (value in TIME_FORMATS or _tells_time(value)):
            return value
        self._wrong(
            "times.format",
            f"is {value!r}; write {', '.join(TIME_FORMATS)}, or directives for date and time, "
            'such as "%d.%m.%Y %H:%M:%S" (and %z if a zone follows)',
        )
        return "rfc3339"

    def _zone(self, value: object) -> str | None:
        if value is None or (isinstance(value, str) and is_zone(value)):
            return value
        self._wrong("times.zone", f'is {value!r}; write a name such as "Europe/Moscow"')
        return None

    def _texts(self, key: str, value: object) -> frozenset[str]:
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return frozenset(value) | {""}
        self._wrong(key, 'must be a list of texts, such as ["", "0"]')
        return _NOT_ANSWERED

    def _unit(self, value: object) -> str:
        if isinstance(value, str) and value in UNITS:
            return value
        self._wrong("durations.unit", f"is {value!r}; it must be one of {', '.join(UNITS)} (clock: 0:02:05)")
        return "s"


def _tells_time(directives: str) -> bool:
    """Whether a moment, written by these directives, can be read back to the minute."""
    moment = datetime(2026, 11, 24, 18, 31, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(directives), directives)  # noqa: DTZ007 -- may have no zone
    except (ValueError, re.error, LookupError, TypeError):  # strptime makes a regular expression of them
        return False
    return "%Z" not in directives and read.replace(tzinfo=UTC) == moment  # zone names are read, then forgotten
