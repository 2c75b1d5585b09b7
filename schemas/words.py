"""Small words that many records share: ids, numbers, moments, and the base of all Structs."""

from typing import Annotated

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=64)]
"""An id of the outside world. Compared as it is, never parsed."""

Moment = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
"""RFC 3339 text; written in UTC with milliseconds and `Z`. `times.to_us` reads it (and is what validates it)."""

Digits = Annotated[str, Meta(max_length=64)]
"""A phone number as it came: E.164 digits without `+` when it is good. A bad one is a reason to deny, not to reject."""

Seconds = Annotated[int, Meta(ge=0, le=31_622_400)]
"""Whole seconds, at most a leap year: a longer call is a broken clock."""

Micros = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Money in millionths of the currency's unit: 1 RUB = 1 000 000."""

Text = Annotated[str, Meta(max_length=1000)]
"""Words for people: a lock's reason, a payment's reference."""


class Record(Struct, frozen=True, gc=False):
    """Base of all records: immutable values without cycles, hence untracked by the garbage collector."""
