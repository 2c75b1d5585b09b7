"""«Доступен для продажи»: criterion and sign of a number as one value with a colour (§1.4, D17).

The guide's filter has three criteria; the first, «Да (зависит от НЦВ)», falls into the five signs. So there are seven
values, each green (may be sold) or red. Only a free number is sold; the colour of the others says what would hold.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from engine.ncv import Sign, sellable
from schemas.reference import Number

Availability = Literal["forced_yes", "no", "no_data", "insufficient_data", "has_ncv", "no_ncv", "ncv_ignored"]
Colour = Literal["green", "red"]

AVAILABILITIES: tuple[Availability, ...] = get_args(Availability)

COLOURS: Mapping[Availability, Colour] = {
    "forced_yes": "green",
    "no_ncv": "green",
    "ncv_ignored": "green",
    "no_data": "red",
    "insufficient_data": "red",
    "has_ncv": "red",
    "no": "red",
}

WORDS: Mapping[Availability, str] = {
    "forced_yes": "Да, принудительно",
    "no": "Нет",
    "no_data": "Да (зависит от НЦВ): Нет данных",
    "insufficient_data": "Да (зависит от НЦВ): Недостаточно данных",
    "has_ncv": "Да (зависит от НЦВ): Есть НЦВ",
    "no_ncv": "Да (зависит от НЦВ): Нет НЦВ",
    "ncv_ignored": "Да (зависит от НЦВ): Не учитывать НЦВ",
}
"""As the guide calls them."""

GREEN = frozenset(value for value, colour in COLOURS.items() if colour == "green")
RED = frozenset(COLOURS) - GREEN

RESTED: frozenset[Sign] = frozenset({"no_ncv", "ncv_ignored"})
"""Signs of a number that is clean."""


def availability(number: Number, sign: Sign) -> Availability:
    """The value of a number that is not in use."""
    return sign if number.saleable == "depends_on_ncv" else number.saleable


def may_be_sold(number: Number, sign: Sign) -> bool:
    """Whether a subscriber can get it now: free and green (R1.4-54)."""
    return number.status == "free" and sellable(number, sign)


def why_not(number: Number, sign: Sign) -> str:
    """What stands against selling a number, and what to do about it."""
    if number.status != "free":
        return f"number {number.number} is {number.status}, not free" + (
            f" ({WORDS[availability(number, sign)]})" if number.status == "archive" else ""
        )
    return (
        f"number {number.number} is not for sale: «{WORDS[availability(number, sign)]}»; "
        f"ask for it to be released (tollgate number ask {number.number})"
    )
