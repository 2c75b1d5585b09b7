"""The commands' common ground: the application, exit codes, reading of reference folders, tables for people.

Exit codes: 0 done, 1 a check found something, 2 bad use or bad input (the reason is on standard error).
"""

import importlib.metadata
import json
import sys
import zoneinfo
from collections.abc import Iterable, Sequence
from pathlib import Path

import cyclopts
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
    """A table for people."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    out.print(table, markup=False)


def print_pairs(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values for people, the values to the right."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    out.print(table, markup=False)
