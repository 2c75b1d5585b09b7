"""A sheet of an Excel workbook (.xlsx) as rows of texts, read in a stream: a million rows cost no more than one.

What a cell shows is not known here, only what it holds: numbers come as the shortest text that is the same number, so
that 0.1 is "0.1"; formulas as the value that was saved with them; a day or moment as its serial number.
A workbook is a stranger's: it may not name entities, nor unpack to more than `MOST_BYTES`.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree as ET
from zipfile import BadZipFile, ZipFile

MOST_BYTES = 2**31
"""Of one part of the workbook, unpacked: a sheet of a million rows and sixteen columns has some 700 million."""

MOST_SHARED_BYTES = 2**28
"""Of the texts that cells share; they are kept."""

_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_LINK = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"
_CELL = re.compile(r"([A-Z]{1,3})[0-9]+")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEAD_BYTES = 65_536


class BadWorkbook(Exception):
    """The file is no workbook that can be read. Says why, and what to do."""


class Workbook:
    """An open workbook. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises BadWorkbook."""
        try:
            self._zip = ZipFile(path)
        except (BadZipFile, OSError, ValueError):
            raise BadWorkbook("is no Excel workbook; save it as .xlsx, or as CSV") from None
        try:
            self._parts = self._sheet_parts()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Workbook":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def sheets(self) -> tuple[str, ...]:
        """The names of the sheets, in their order."""
        return tuple(self._parts)

    def rows(self, sheet: str) -> Iterator[tuple[int, list[str]]]:
        """Each row that holds anything: its number and its cells as texts, empty ones up to the last that is not.

        Raises BadWorkbook, KeyError for a sheet that is not there.
        """
        part = self._parts[sheet]
        shared = self._shared()
        number = 0
        for row in self._elements(part, "row", MOST_BYTES):
            number = _row_number(row, number)
            cells: list[str] = []
            for cell in row:
                place = _place(cell.get("r"), len(cells))
                text = self._text(cell, shared)
                if not text:
                    continue
                while len(cells) < place:
                    cells.append("")
                cells.append(text)
            if cells:
                yield number, cells

    def _text(self, cell: ET.Element, shared: list[str]) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return "".join(part.text or "" for part in cell.iter() if _name(part) == "t")
        value = next((part.text for part in cell if _name(part) == "v"), None)
        if not value:
            return ""
        if kind == "n":
            return number_text(value)
        if kind == "s":
            try:
                return shared[int(value)]
            except (ValueError, IndexError):
                raise BadWorkbook(f"cell {cell.get('r')} names a text that is not there; save the file anew") from None
        if kind == "b":
            return "yes" if value == "1" else "no"
        return value

    # Parts

    def _sheet_parts(self) -> dict[str, str]:
        targets = {
            relation.get("Id"): relation.get("Target", "")
            for relation in self._elements("xl/_rels/workbook.xml.rels", "Relationship", _HEAD_BYTES * 64)
        }
        found: dict[str, str] = {}
        for sheet in self._elements("xl/workbook.xml", "sheet", _HEAD_BYTES * 64):
            target = targets.get(sheet.get(_LINK) or sheet.get(_STRICT_LINK))
            name = sheet.get("name")
            if not target or name is None:
                continue
            part = posixpath.normpath(target.lstrip("/") if target.startswith("/") else f"xl/{target}")
            if part in self._zip.namelist():
                found[name] = part
        if not found:
            raise BadWorkbook("has no sheets; save the file anew")
        return found

    @property
    def counts_from_1904(self) -> bool:
        """Whether days count from 1904, as old files of the Macintosh have it."""
        for properties in self._elements("xl/workbook.xml", "workbookPr", _HEAD_BYTES * 64):
            return properties.get("date1904") in ("1", "true")
        return False

    def _shared(self) -> list[str]:
        name = "xl/sharedStrings.xml"
        if name not in self._zip.namelist():
            return []
        return [
            "".join(part.text or "" for part in item.iter() if _name(part) == "t")
            for item in self._elements(name, "si", MOST_SHARED_BYTES)
        ]

    def _elements(self, part: str, name: str, most_bytes: int) -> Iterator[ET.Element]:
        """The elements of a name, each let go when the next one is asked for."""
        try:
            info = self._zip.getinfo(part)
        except KeyError:
            raise BadWorkbook(f"has no part {part}; save it as .xlsx, or as CSV") from None
        if info.file_size > most_bytes:
            raise BadWorkbook(
                f"unpacks to {info.file_size:,} bytes, more than {most_bytes:,}; split it, or save it as CSV"
            )
        try:
            with self._zip.open(info) as opened:
                head = opened.read(_HEAD_BYTES)
                if b"<!D" in head or b"<\0!\0D" in head or b"\0<\0!\0D" in head:
                    raise BadWorkbook(f"{part} declares a document type, which no workbook does; save the file anew")
                yield from _stream(_Headed(head, opened), name)
        except (BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise BadWorkbook(f"{part} can't be unpacked ({error}); save the file anew") from None
        except ET.ParseError as error:
            raise BadWorkbook(f"{part} can't be read ({error}); save the file anew") from None


class _Headed:
    """A file of which the head was read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._rest.read(size)


def _stream(source: Any, name: str) -> Iterator[ET.Element]:
    events = iter(ET.iterparse(source, events=("start", "end")))
    _, root = next(events)
    above = root
    for event, element in events:
        if event == "start":
            # `sheetData` gathers its rows, which are let go one by one.
            if _name(element) in ("sheetData", "sheets", "sst"):
                above = element
        elif _name(element) == name:
            yield element
            above.clear()


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _row_number(row: ET.Element, before: int) -> int:
    """Rows may leave their numbers out: then they follow one another."""
    text = row.get("r")
    if text is None:
        return before + 1
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise BadWorkbook(f"a row has the number {text[:20]!r}; save the file anew")
    return int(text)


_places: dict[str, int] = {}


def _place(reference: str | None, after: int) -> int:
    """The place of a cell in its row, from 0; cells without one follow one another."""
    if reference is None:
        return after
    found = _CELL.fullmatch(reference)
    if found is None:
        raise BadWorkbook(f"a cell is called {reference[:20]!r}; save the file anew")
    letters = found[1]
    place = _places.get(letters)
    if place is None:
        place = 0
        for letter in letters:
            place = place * 26 + _LETTERS.index(letter) + 1
        place = _places[letters] = place - 1
    return place


def number_text(value: str) -> str:
    """A number of a cell as a person would write it: "0.1", "7495", never "7.495E3". What is no number stays."""
    if value.isascii() and value.isdigit():
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    text = repr(number)
    return f"{number:.17f}".rstrip("0").rstrip(".") if "e" in text else text
