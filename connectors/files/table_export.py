"""Tables for people's spreadsheets: CSV in pieces, XLSX by way of a file, so that neither is ever whole in memory.

What a cell holds may come from a stranger (a caller's name, a reason). A text that a spreadsheet would run as a formula
gets an apostrophe before it in CSV (CWE-1236); in XLSX it is written as text, which no spreadsheet runs.
"""

import csv
import io
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xlsxwriter

from schemas.money import UNIT_MICROS, to_text


class Amount(NamedTuple):
    """Money in a cell: exact decimal text in CSV, a number in XLSX."""

    micros: int


Cell = str | int | float | Amount | None
Rows = AsyncIterator[Sequence[Sequence[Cell]]]
"""Rows, some at a time."""

CSV_TYPE = "text/csv"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

MOST_XLSX_ROWS = 1_048_575
"""What a sheet can hold below its header."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PIECE_BYTES = 65_536


def defused(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(cell: Cell) -> str | int | float | None:
    match cell:
        case str():
            return defused(cell)
        case Amount():
            return to_text(cell.micros)
        case _:
            return cell


async def csv_pieces(header: Sequence[str], rows: Rows) -> AsyncIterator[bytes]:
    """The table in UTF-8 with its mark, which spreadsheets ask for, CRLF at the ends of rows (RFC 4180)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(header)
    async for some in rows:
        for row in some:
            writer.writerow([_text(cell) for cell in row])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


async def xlsx_pieces(title: str, header: Sequence[str], rows: Rows) -> AsyncIterator[bytes]:
    """The table as a workbook with one sheet. Raises ValueError for more than `MOST_XLSX_ROWS` rows."""
    with tempfile.TemporaryDirectory(prefix="tollgate-export-") as folder:
        path = Path(folder) / "table.xlsx"
        book = xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_formulas": False, "tmpdir": folder})
        sheet = book.add_worksheet(title)
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, header, book.add_format({"bold": True}))
        number = 0
        async for some in rows:
            for row in some:
                number += 1
                if number > MOST_XLSX_ROWS:
                    raise ValueError(f"a sheet holds {MOST_XLSX_ROWS} rows")
                for column, cell in enumerate(row):
                    if isinstance(cell, str):
                        sheet.write_string(number, column, cell)
                    elif isinstance(cell, Amount):
                        sheet.write_number(number, column, cell.micros / UNIT_MICROS)
                    elif cell is not None:
                        sheet.write_number(number, column, cell)
        book.close()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
