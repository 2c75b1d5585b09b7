"""Rows of CSV text with the lines they begin at, told apart from damage.

A quoted field may hold line ends, so a row may span lines; a row cut off inside a field looks the same until it runs
into the next one. A row that does not come out right is therefore given up at its first line only, and reading
resumes at the very next one: one damaged row never takes its neighbours along.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from connectors.convert.common import BadRow

MAX_ROW_CHARS = 100_000
"""A real row has a few hundred; Asterisk's own buffer holds 1024."""

MAX_ROW_LINES = 100


class Row(NamedTuple):
    """The fields of one row and the line, from 1, that it begins at."""

    line: int
    fields: list[str]


def split_rows(
    lines: Iterable[str],
    *,
    delimiter: str = ",",
    quote: str = '"',
    first_line: int = 1,
    is_whole: Callable[[list[str]], bool] = lambda fields: True,
) -> Iterator[Row | BadRow]:
    """Rows of `lines`, blank ones left out. An empty `quote` means that fields are never quoted.

    `is_whole` judges the fields of a row that spans lines: if it says no, the row was cut off.
    """
    numbered = enumerate(lines, first_line)
    pending: deque[tuple[int, str]] = deque()

    while (head := pending.popleft() if pending else next(numbered, None)) is not None:
        line, text = head
        text = text.rstrip("\r\n")
        if not text.strip():
            continue
        tail: list[tuple[int, str]] = []
        size = len(text)
        open_quotes = text.count(quote) % 2 if quote else 0
        while open_quotes and size <= MAX_ROW_CHARS and len(tail) < MAX_ROW_LINES:
            more = pending.popleft() if pending else next(numbered, None)
            if more is None:
                break
            tail.append(more)
            size += len(more[1])
            open_quotes = (open_quotes + more[1].count(quote)) % 2
        outcome = _fields(text, tail, size, delimiter, quote)
        if isinstance(outcome, list) and (not tail or is_whole(outcome)):
            yield Row(line, outcome)
        else:
            pending.extendleft(reversed(tail))
            yield BadRow(line, outcome if isinstance(outcome, str) else "the row was cut off; the next one follows it")


def _fields(text: str, tail: list[tuple[int, str]], size: int, delimiter: str, quote: str) -> list[str] | str:
    """The fields, or what is wrong with the row."""
    if size > MAX_ROW_CHARS:
        return f"the row is longer than {MAX_ROW_CHARS} characters; is a closing quote missing?"
    whole = "\n".join([text, *(more.rstrip("\r\n") for _, more in tail)])
    if "\0" in whole:
        return "the row holds NUL bytes: the file was damaged there, as by a power cut; take the row from a backup"
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    try:
        reader = csv.reader([whole], delimiter=delimiter, quotechar=quote or None, quoting=quoting, strict=True)  # type: ignore[arg-type]  # a constant of csv
        return next(reader)
    except csv.Error as error:
        return f"the row can't be split into fields ({error}); was it cut off, or a quote not doubled?"
