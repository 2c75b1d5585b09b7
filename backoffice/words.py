"""The words that requests to the office are made of: ids, texts, money, with what each may be.

Their constraints are checked when a request is read, told in the API's description, and tried by its tests. Each
pattern has a sentence beside it that says what fits: a pattern means nothing to whoever typed the text.
"""

import re
from typing import Annotated, Any

from msgspec import Meta

SENTENCES: dict[str, str] = {}
"""What to say of a text that does not fit a pattern, by the pattern."""


def shaped(pattern: str, says: str, **more: Any) -> Meta:
    """A text's pattern, with the sentence for texts that do not fit it; the field's name stands before it."""
    assert SENTENCES.setdefault(pattern, says) == says, "a pattern is one kind of text"
    return Meta(pattern=pattern, **more)


_PATTERN = re.compile(r"Expected `str` matching regex (?P<pattern>'.*'|\".*\")(?= - at `|$)", re.DOTALL)


def in_words(message: str) -> str:
    """A message of msgspec about a value that does not fit, with the sentence in the place of the pattern."""
    found = _PATTERN.search(message)
    if found is None:
        return message
    says = next((says for pattern, says in SENTENCES.items() if repr(pattern) == found["pattern"]), None)
    return message if says is None else message[: found.start()] + says + message[found.end() :]


END = r"(?![\s\S])"
"""Ends a pattern: at the very end of the text. Python's `$` would let a line break pass."""

BLANK = "is blank; write at least a word"

Id = Annotated[
    str,
    shaped(
        r"^[^\x00-\x1f\x7f]+" + END,
        "has a line break or another control sign; an id is one line of at most 64 signs",
        min_length=1,
        max_length=64,
        examples=["100200"],
    ),
]
"""An id of the outside, or a word that is matched like one (a service, a place): one line."""

Reason = Annotated[str, shaped(r"\S", BLANK, min_length=1, max_length=1000, examples=["asked for by the client"])]
"""Why something is done. The audit keeps it."""

Text = Annotated[str, shaped(r"\S", BLANK, min_length=1, max_length=1000)]
"""Words for people."""

Line = Annotated[
    str,
    shaped(
        r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*" + END,
        "must be one line that is not blank, without control signs",
        min_length=1,
        max_length=200,
    ),
]
"""A name of something: one line that is not blank."""

Digits = Annotated[
    str,
    shaped(
        r"^[0-9]{1,15}" + END,
        "is no number; give 1 to 15 digits of E.164 without +, such as 74951234567",
        examples=["74951234567"],
    ),
]
"""A number or prefix of E.164, without +."""

LARGEST_MICROS = 10**15
"""A billion roubles: more is a slip of the pen, and far from what 64 bits can add up."""

Money = Annotated[int, Meta(ge=-LARGEST_MICROS, le=LARGEST_MICROS, examples=[150_000_000])]
"""Micro-units, which may be below zero."""

Unsigned = Annotated[int, Meta(ge=0, le=LARGEST_MICROS, examples=[0])]
"""Micro-units."""

Moment = Annotated[
    str,
    shaped(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:?[0-9]{2})" + END,
        "is no moment; write it as 2026-11-24T18:30:00+03:00",
        max_length=40,
        extra_json_schema={"format": "date-time"},
        examples=["2026-11-24T18:30:00.000Z"],
    ),
]
"""RFC 3339 with its zone."""

Day = Annotated[
    str,
    shaped(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}" + END,
        "is no day; write it as 2026-11-24",
        extra_json_schema={"format": "date"},
        examples=["2026-11-24"],
    ),
]
"""A civil day of the business time zone."""

AsOf = Annotated[
    str,
    shaped(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:?[0-9]{2}))?" + END,
        "is no moment and no day; write it as 2026-11-24T18:30:00+03:00, or as 2026-11-24 for the end of that day",
        max_length=40,
        examples=["2026-11-24", "2026-11-24T18:30:00.000Z"],
    ),
]
"""A moment that has passed: RFC 3339 with its zone, or a civil day of the business time zone, which means its end."""

Order = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
"""A priority or a weight."""

Inn = Annotated[
    str,
    shaped(
        r"^([0-9]{10}|[0-9]{12})" + END,
        "is no INN; it has 10 digits (a company's) or 12 (a person's)",
        examples=["7701234560"],
    ),
]
"""A taxpayer's number."""

Email = Annotated[
    str,
    shaped(r"^[^@\s\x00]+@[^@\s\x00]+" + END, "is no e-mail address; write it as name@example.org", max_length=254),
]

Currency = Annotated[
    str, shaped(r"^[A-Z]{3}" + END, "is no currency; write its three capital letters, such as RUB", examples=["RUB"])
]
"""ISO 4217."""

BandDay = Annotated[
    str,
    shaped(
        r"^([0-9]{4}|-)-[0-9]{2}-[0-9]{2}" + END,
        "is no day; write it as 2026-05-09, or as --05-09 for that day of every year",
        examples=["--05-09"],
    ),
]
"""A civil day, or a day of every year."""
