"""Rows of a reference file as values by the fields of their record, and the ids that other files may refer to."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from connectors.files.csv_fields import MANDATORY, Mandatory, Memo, identifier
from connectors.files.csv_table import CsvTable

R = TypeVar("R")


class Column:
    """A column: its name in the file, the record's field, how a text is parsed, and what an empty field means."""

    __slots__ = ("field", "name", "values")

    def __init__(
        self,
        name: str,
        parse: Callable[[str], object],
        *,
        empty: object | Mandatory = MANDATORY,
        field: str | None = None,
    ) -> None:
        self.name = name
        self.field = field or name
        self.values: Memo[object] = Memo(parse, empty)


class Row:
    """The good values of one row by field. A field that is bad is not there, and its error is noted already."""

    __slots__ = ("_table", "line", "values")

    def __init__(self, table: CsvTable, line: int, values: dict[str, object]) -> None:
        self.line = line
        self.values = values
        self._table = table

    def error(self, column: str, message: str) -> None:
        """Notes an error of this row."""
        self._table.error(self.line, column, message)

    def text(self, field: str) -> str | None:
        """A text; None when it is bad or means none."""
        value = self.values.get(field)
        return value if isinstance(value, str) else None

    def is_none(self, field: str) -> bool:
        """Whether the field is good and means none."""
        return field in self.values and self.values[field] is None

    def record(self, kind: type[R]) -> R:
        """The record of a row without bad fields."""
        return msgspec.convert(self.values, kind)


def read_rows(table: CsvTable, columns: Sequence[Column]) -> Iterator[tuple[Row, bool]]:
    """Each row, and whether all of its fields are good. `columns` are the table's, in its order."""
    for line, fields in table.rows():
        values: dict[str, object] = {}
        for column, field in zip(columns, fields, strict=True):
            try:
                values[column.field] = column.values[field]
            except ValueError as error:
                table.error(line, column.name, str(error))
        yield Row(table, line, values), len(values) == len(columns)


class Register:
    """The ids of one file: each belongs to one row, and other files may refer to those that are here only.

    A bad row's id counts too: what refers to it is not wrong. When ids could not be read (`complete` is false), nothing
    is known to be unknown.
    """

    __slots__ = ("_column", "_file", "_lines", "_noun", "complete")

    def __init__(self, file: str, column: str, noun: str) -> None:
        self.complete = True
        self._file = file
        self._column = column
        self._noun = noun
        self._lines: dict[str, int] = {}

    def enter(self, row: Row) -> None:
        """Takes a row's id; one that is there already is an error."""
        first = self.note(row)
        if first != row.line:
            name = row.text(self._column)
            row.error(self._column, f"{name!r} is on line {first} too; give each {self._noun} one row")

    def note(self, row: Row) -> int:
        """Takes the id of a row of a file where an id may have many rows; the line of the first of them."""
        name = row.text(self._column)
        if name is None:
            self.complete = False
            return row.line
        return self._lines.setdefault(name, row.line)

    def known(self, text: str) -> str:
        """A parser of references to this file."""
        name = identifier(text)
        if self.complete and name not in self._lines:
            raise ValueError(f"no {self._noun} {name!r} in {self._file}; add it there, or write one that is there")
        return name


def check_span(row: Row) -> None:
    """A validity that ends before it begins is an error."""
    start, end = row.text("valid_from"), row.text("valid_to")
    # Both are UTC texts of one length, so their order is that of the moments.
    if start is not None and end is not None and end <= start:
        row.error("valid_to", span_fault(start, end))


def span_fault(start: str, end: str) -> str:
    """What is wrong with such a validity."""
    return f"{end} is not after valid_from {start}; write a later moment, or leave it empty for no end"
