"""The commands' common ground: the application, exit codes, reading of reference folders, tables for people.

Exit codes: 0 done, 1 a check found something, 2 bad use or bad input (the reason is on standard error).
"""

import importlib.metadata
import json
import os
import sys
import zoneinfo
from collections.abc import Iterable, Sequence
from pathlib import Path

import cyclopts
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from connectors.files.reference_folder import BrokenFolder, ReferenceFolder, read_reference_folder
from connectors.settings import engine_settings
from engine.reference import Reference
from engine.settings import EngineSettings

SHOWN_ERRORS = 50
"""Errors of a broken folder that are shown on a terminal; `--json` and a pipe get all of them."""

app = cyclopts.App(
    name="tollgate",
    help="Call control and rating for a telephony operator.",
    version=importlib.metadata.version("tollgate"),
    version_flags=["--version"],
    error_console=Console(stderr=True),
)
out = Console(emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)  # `:100:` is a line's number


class Refused(Exception):
    """Bad use or bad input: its text goes to standard error and the exit code is 2."""


def settings() -> EngineSettings:
    """The engine's settings in force."""
    return engine_settings()


def read_folder(folder: Path, engine: EngineSettings) -> ReferenceFolder:
    """The folder's records. Raises Refused with the errors listed."""
    try:
        return read_reference_folder(
            folder, business_time_zone=engine.business_time_zone, emergency_numbers=engine.emergency_numbers
        )
    except BrokenFolder as broken:
        lines = [str(error) for error in broken.errors]
        more = len(lines) - SHOWN_ERRORS
        if more > 0 and sys.stderr.isatty():
            lines = [*lines[:SHOWN_ERRORS], f"… and {more} more"]
        listed = "\n  ".join(lines)
        raise Refused(f"{folder} can't be used, {len(broken.errors)} errors:\n  {listed}") from None
    except zoneinfo.ZoneInfoNotFoundError:
        raise Refused(f"business_time_zone {engine.business_time_zone!r} is unknown; try Europe/Moscow") from None


def load_reference(folder: Path, engine: EngineSettings) -> Reference:
    """The folder's tables. Raises Refused with the errors listed."""
    return read_folder(folder, engine).tables()


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people. Nothing in it is cut: an id that is copied must be whole."""
    cells = [tuple(row) for row in rows]
    whole = _kept_whole(columns, cells)
    table = Table(title=title, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, no_wrap=place in whole, overflow="fold")
    for row in cells:
        table.add_row(*row)
    if out.is_terminal or os.environ.get("COLUMNS"):
        out.print(table, markup=False)
        return
    # A pipe or a file has no width: rows stay lines.
    width = out.measure(table, options=out.options.update(width=_WIDEST, max_width=_WIDEST)).maximum
    Console(file=out.file, width=width, emoji=False).print(table, markup=False)


_WIDEST = 10_000
_NARROWEST = 8
"""What is left at least for a column of words beside those that are kept whole."""
_BORDERS = 3


def _kept_whole(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns of ids, days and numbers, which are not to be parted, if the terminal is wide enough for them."""
    widths = {
        place: max(cell_len(text) for text in (name, *(row[place] for row in rows)))
        for place, name in enumerate(columns)
        if not any(" " in row[place].strip() or "\n" in row[place] for row in rows)
    }
    needed = sum(widths.values()) + _NARROWEST * (len(columns) - len(widths)) + _BORDERS * len(columns) + 1
    return frozenset(widths) if needed <= out.width else frozenset()


def print_pairs(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values for people, the values to the right."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    out.print(table, markup=False)
