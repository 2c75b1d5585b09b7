"""Pages of lists: so many rows, and where the next ones begin.

A page is asked for by the place where the last one ended (`after`), not by its number: rows that come meanwhile move
nothing, and the thousandth page costs what the first does.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, Struct

from connectors.http.problems import ErrorAt, unfit

T = TypeVar("T")
R = TypeVar("R")

DEFAULT_LIMIT = 100
MOST_ROWS = 5_000
"""To spare the database (§1.4, D48)."""

Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="How many rows at most.")]
After = Annotated[
    str,
    Meta(max_length=1000, description="`next` of the page before; left out, the first page.", examples=["WzEyM10"]),
]


class Page(Struct, Generic[T], frozen=True):
    """Some rows of a list, in its order. `next` is what to send as `after` for more; null: these are the last."""

    items: tuple[T, ...]
    next: str | None


def with_usual_limit(pairs: Sequence[tuple[str, str]], asked: type | None) -> Sequence[tuple[str, str]]:
    """A query without its `limit` where that is empty, as a form sends it: the usual one then, never all rows (D48)."""
    if asked is None or "limit" not in get_type_hints(asked):
        return pairs
    return [pair for pair in pairs if pair != ("limit", "")]


def cursor(*place: str | int) -> str:
    """Where a page ended, as text for `after`: the sort key of its last row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place_of(after: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """What `cursor` was given; None for the first page. Raises Problem 422 for a text that is no place of this list."""
    if after is None:
        return None
    try:
        text = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        found: tuple[Any, ...] = msgspec.json.decode(text, type=tuple.__class_getitem__(kinds))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        found = ()
    if len(found) != len(kinds) or any(
        (isinstance(part, int) and not -(2**63) <= part < 2**63) or (isinstance(part, str) and "\0" in part)
        for part in found
    ):
        raise unfit(ErrorAt("is no place in this list; take `next` of a page as it is", parameter="after"))
    return found


def page(rows: Sequence[R], limit: int, shown: Callable[[R], T], place: Callable[[R], str]) -> "Page[T]":
    """The page that `limit` + 1 rows make, of which the last one only says that there are more."""
    more = len(rows) > limit
    kept = rows[:limit]
    return Page(tuple(shown(row) for row in kept), place(kept[-1]) if more else None)
