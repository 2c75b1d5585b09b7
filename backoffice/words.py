"""The words that requests to the office are made of: ids, texts, money, with what each may be.

Their constraints are checked when a request is read, told in the API's description, and tried by its tests.
"""

from typing import Annotated

from msgspec import Meta

END = r"(?![\s\S])"
"""Ends a pattern: at the very end of the text. Python's `$` would let a line break pass."""

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+" + END, examples=["100200"])]
"""An id of the outside, or a word that is matched like one (a service, a place): one line."""

Reason = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"\S", examples=["asked for by the client"])]
"""Why something is done. The audit keeps it."""

Text = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"\S")]
"""Words for people."""

Line = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*" + END)
]
"""A name of something: one line that is not blank."""

Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,15}" + END, examples=["74951234567"])]
"""A number or prefix of E.164, without +."""

LARGEST_MICROS = 10**15
"""A billion roubles: more is a slip of the pen, and far from what 64 bits can add up."""

Money = Annotated[int, Meta(ge=-LARGEST_MICROS, le=LARGEST_MICROS, examples=[150_000_000])]
"""Micro-units, which may be below zero."""

Unsigned = Annotated[int, Meta(ge=0, le=LARGEST_MICROS, examples=[0])]
"""Micro-units."""

Moment = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:?[0-9]{2})" + END,
        extra_json_schema={"format": "date-time"},
        examples=["2026-11-24T18:30:00.000Z"],
    ),
]
"""RFC 3339 with its zone."""

Day = Annotated[
    str,
    Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}" + END, extra_json_schema={"format": "date"}, examples=["2026-11-24"]),
]
"""A civil day of the business time zone."""

Order = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
"""A priority or a weight."""
