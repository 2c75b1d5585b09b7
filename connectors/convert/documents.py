"""JSON documents one after another in lines of text, each with the line it begins at.

They may stand one a line, several in a line, or spread over many; an array around them or commas between them are
passed over. A document that does not come to its end is given up at its first line, and reading resumes at the next
line that begins with `{`, indented no deeper: one damaged document never takes its neighbours along.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from connectors.convert.common import BadRow

MAX_DOCUMENT_CHARS = 1_000_000
"""A real one has 10 to 60 thousand: all of a channel's variables, and the statistics of its media."""

MAX_DEPTH = 64
"""A real one has about ten. The bound also keeps what is read twice after damage to so many times the file."""

_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]"]')
_URL_ENCODED_BRACE = "%7b"


class Document(NamedTuple):
    """The text of one JSON object and the line, from 1, that it begins at."""

    line: int
    text: str


class _Place(NamedTuple):
    line: int
    text: str
    at: int = 0


class _End(NamedTuple):
    document: str
    rest: _Place


def documents(lines: Iterable[str]) -> Iterator[Document | BadRow]:
    """The documents of `lines`, whole by their brackets; whether they are good JSON is not looked at."""
    numbered = enumerate(lines, 1)
    pending: deque[_Place] = deque()
    lost_at: int | None = None  # the indentation of a damaged document, while looking for the next one

    def take() -> _Place | None:
        if pending:
            return pending.popleft()
        line = next(numbered, None)
        return None if line is None else _Place(*line)

    while (place := take()) is not None:
        line, text, at = place
        if at == 0 and text[:3].lower() == _URL_ENCODED_BRACE:
            # What mod_json_cdr could not post with `encode=true` it keeps as it would have posted it.
            text = unquote(text, errors="replace")
        indentation = len(text) - len(text.lstrip())
        if lost_at is not None and (indentation > lost_at or not text.startswith("{", indentation)):
            continue
        lost_at = None
        between = _BETWEEN.match(text, at)
        start = between.end() if between is not None else at
        if start == len(text):
            continue
        if text[start] != "{":
            lost_at = indentation
            yield BadRow(line, f"{text[start : start + 20]!r} begins no JSON object; set encode=false for mod_json_cdr")
            continue
        taken: list[_Place] = []
        outcome = _to_its_end(_Place(line, text, start), take, taken)
        if isinstance(outcome, _End):
            pending.appendleft(outcome.rest)
            yield Document(line, outcome.document)
        else:
            pending.extendleft(reversed(taken))
            lost_at = indentation
            yield BadRow(line, outcome)


def _to_its_end(first: _Place, take: Callable[[], _Place | None], taken: list[_Place]) -> _End | str:
    """The document that begins at `first`, or what is wrong with it. All lines read after it are put in `taken`."""
    parts: list[str] = []
    depth = size = 0
    place: _Place | None = first
    while place is not None:
        line, text, at = place
        for token in _TOKEN.finditer(text, at):
            mark = token.group()
            if mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
            elif mark == '"':
                return "the document was cut off inside a text"
            if depth == 0:
                parts.append(text[at : token.end()])
                return _End("".join(parts), _Place(line, text, token.end()))
            if depth > MAX_DEPTH:
                return f"the document is nested deeper than {MAX_DEPTH}; mod_json_cdr writes no such thing"
        parts.append(text[at:])
        size += len(text) - at + 1
        if size > MAX_DOCUMENT_CHARS:
            return f"the document has no end within {MAX_DOCUMENT_CHARS} characters; was it cut off?"
        if (place := take()) is not None:
            taken.append(place)
    return "the document was cut off: the file ends before its closing bracket"
