"""What an operator may set about numbers. Values, not a source of them."""

from typing import Annotated

from msgspec import Meta, Struct

from engine.ncv import REST_DAYS


class NumbersSettings(Struct, frozen=True):
    """The defaults are the guide's."""

    rest_days: Annotated[int, Meta(ge=1, le=330)] = REST_DAYS
    """«Срок отлежки номеров»: so many days in a row without a call, and a number is clean (§1.4). Calls are kept for a
    year, so it can't be longer."""

    consent_callers: Annotated[int, Meta(ge=1, le=1_000_000)] = 6
    """From so many unique callers on the client must agree before a number is forced (§1.4, D15)."""

    payment_working_days: Annotated[int, Meta(ge=0, le=365)] = 8
    """So many working days a client has to pay for a number (§1.4, D8)."""
