"""One CSV file as records in the order of the columns asked for; what is no CSV becomes an error with its line.

Knows nothing of what the columns mean. Files are read line by line, so that a deck of a million rows costs no more
memory than its records.
"""

import codecs
import csv
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TextIO

from connectors.files.folder_errors import ErrorList

_CHUNK = 1 << 20
# What spreadsheets of many countries write between the columns of a "CSV".
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs"}


class CsvTable:
    """A file with a header row, its columns in any order. Unknown columns are ignored.

    After reading, `lost` tells whether a part of the file could not be read, so that not all of its ids are known.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        errors: ErrorList,
        *,
        absent: Sequence[str] = (),
        may_miss: bool = False,
    ) -> None:
        """`columns` are what `rows` gives; those of them in `absent` may be absent and then read as empty.
        `may_miss`: a file that isn't there is an empty one."""
        self.file = path.name
        self.lost = False
        self._path = path
        self._columns = tuple(columns)
        self._absent = frozenset(absent)
        self._may_miss = may_miss
        self._errors = errors

    def error(self, line: int, column: str, message: str) -> None:
        """Notes an error of this file."""
        self._errors.add(self.file, line, column, message)

    def rows(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Line and fields of each good record, the fields as they stand in the file (spaces and all)."""
        try:
            damaged = _is_damaged(self._path)
        except FileNotFoundError:
            if not self._may_miss:
                self._lose(0, "the file is missing; add it, with a header row at least")
            return
        except OSError as error:
            self._lose(0, f"the file can't be read ({error.strerror}); make it a readable file")
            return
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            yield from self._good_rows(_Records(text), damaged)

    def _good_rows(self, records: "_Records", damaged: bool) -> Iterator[tuple[int, tuple[str, ...]]]:
        names = self._header(records)
        if names is None:
            return
        width = len(names)
        padded = not set(names).issuperset(self._columns)
        # A column that is absent is read from one empty field put behind the last.
        pick = itemgetter(*(names.index(name) if name in names else width for name in self._columns))
        for line, record, fault in records:
            if fault:
                self._lose(line, fault)
            elif len(record) != width:
                if "".join(record).strip() or len(record) > 1:
                    self._lose(line, _width_fault(len(record), width, records.lines))
                    records.step_back()
            elif damaged and (bad := [place for place, field in enumerate(record) if _is_bad(field)]):
                self.lost = True
                for place in bad:
                    self.error(line, names[place], _DAMAGE)
            else:
                if padded:
                    record.append("")
                yield line, pick(record)

    def _header(self, records: "_Records") -> list[str] | None:
        """The names of the columns, or None when the file can't be read by them."""
        line, record, fault = next(records, (1, [], ""))
        names = [name.strip() for name in record]
        if not fault and not any(names):
            fault = f"the header row is missing; write {','.join(self._columns)}"
        if any(map(_is_bad, names)):
            fault = _DAMAGE
        for delimiter, plural in _OTHER_DELIMITERS.items():
            if len(names) == 1 and delimiter in names[0]:
                fault = f"the columns are separated by {plural}; separate them by commas"
        if fault:
            self._lose(line, fault)
            return None
        for name in self._columns:
            if name not in names and name not in self._absent:
                self.lost = True
                self.error(line, name, "the column is missing; add it to the header row and to every row")
            elif names.count(name) > 1:
                self.lost = True
                self.error(line, name, "the header row names the column twice; leave one of them")
        return None if self.lost else names

    def _lose(self, line: int, message: str) -> None:
        self.lost = True
        self.error(line, "", message)


class _Records:
    """Records of a CSV text, each with the line where it starts, and with the way to read on behind a bad one.

    A malformed record is given with its fault. `step_back` reads on with the line below the first one of the latest
    record: a quote that is never closed must not swallow the errors of the lines that follow.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._line = 0  # where the latest record starts
        self._held: list[str] = []  # the lines of the latest record
        self._again: list[str] = []  # lines to be read again, the next one last
        self._reader = csv.reader(self._feed(), strict=True, skipinitialspace=True)

    @property
    def lines(self) -> int:
        """How many lines the latest record took."""
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[int, list[str], str]]:
        return self

    def __next__(self) -> tuple[int, list[str], str]:
        held = self._held
        self._line += len(held) or 1
        held.clear()
        try:
            return self._line, next(self._reader), ""
        except csv.Error as error:
            self.step_back()
            return self._line, [], _csv_fault(str(error))

    def step_back(self) -> None:
        """Gives the lines of the latest record back, except its first."""
        self._again.extend(reversed(self._held[1:]))
        del self._held[1:]
        # The feed of the old reader may have come to its end.
        self._reader = csv.reader(self._feed(), strict=True, skipinitialspace=True)

    def _feed(self) -> Iterator[str]:
        held, again, text = self._held, self._again, self._text
        while line := again.pop() if again else next(text, ""):
            held.append(line)
            yield line


def _is_damaged(path: Path) -> bool:
    """Whether a file has bytes that are no UTF-8, or NULs; OSError when it can't be read."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                if b"\0" in chunk:
                    return True
                decode(chunk)
            decode(b"", final=True)
        except UnicodeDecodeError:
            return True
    return False


_DAMAGE = "has bytes that are no text; save the file as UTF-8"


def _is_bad(field: str) -> bool:
    # Bytes that are no UTF-8 were read as lone surrogates.
    return "\0" in field or any("\ud800" <= character <= "\udfff" for character in field)


def _width_fault(fields: int, width: int, lines: int) -> str:
    fault = f"has {fields} field{'' if fields == 1 else 's'} where the header names {width}"
    if lines > 1:
        return f"{fault}: a quote opened in it is closed {lines - 1} lines below; close it, or double it"
    if fields < width:
        return f"{fault}; write all of them, empty ones too"
    return f"{fault}; put a field that holds a comma into quotes"


def _csv_fault(error: str) -> str:
    if "unexpected end of data" in error or "field larger" in error:
        return "a quote opened in it is never closed; close it, or double it"
    if "new-line character" in error:
        return "has a line end inside; end lines with LF or CRLF"
    return "a closing quote is not followed by a comma; double the quotes inside a quoted field"
