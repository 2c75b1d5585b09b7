"""Looking for numbers: one, or many of a kind (§1.1, §1.4 «Выгрузка номеров по определённым критериям»).

`%` in a mask is any digits. Whoever looks for more than one number says which availabilities are meant: a list without
that is refused, however it is asked for, since it could be all there are (R1.4-50, R1.4-51, D48).
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from msgspec import Meta

from backoffice.locks import E164
from backoffice.locks import mask as number_mask
from backoffice.numbers.availability import AVAILABILITIES, GREEN, RED, Availability, may_be_sold
from backoffice.refusals import FieldProblem, Unfit
from engine.ncv import Sign
from schemas.reference import Number, NumberStatus

DEFAULT_ROWS = 100
MOST_ROWS = 5_000
"""«Показывать»: more would load the database (R1.4-48)."""

COUNTED = 10_000
"""So far hits are counted; beyond that it is said that there are more."""

STATUSES: tuple[NumberStatus, ...] = ("free", "reserved", "in_use", "archive")

Rows = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="«Показывать»: how many rows at most.")]


class Wanted(NamedTuple):
    """What is looked for; all conditions together."""

    statuses: Sequence[NumberStatus] = STATUSES
    pattern: str | None = None
    """Of SQL's LIKE; digits alone are one number."""
    availabilities: frozenset[Availability] | None = None
    """None: any, numbers in use too."""
    region: str | None = None
    provider_id: str | None = None


class Found(NamedTuple):
    """A number that was found. Of one in use there is no sign."""

    number: Number
    sign: Sign | None
    availability: Availability | None
    last_call: str | None
    """The latest day with an unwanted call."""

    @property
    def sellable(self) -> bool:
        """Whether it can be sold now."""
        return self.sign is not None and may_be_sold(self.number, self.sign)


def wanted(
    *,
    mask: str | None,
    statuses: Sequence[str],
    availabilities: Sequence[str],
    region: str | None,
    provider_id: str | None,
    e164: E164,
) -> Wanted:
    """The search as it was asked for. `availabilities`: the seven values, or `green` and `red` for those of a colour.

    Raises Unfit with all that is wrong.
    """
    problems = []
    pattern = None
    if mask is not None:
        try:
            pattern = pattern_of(mask, e164)
        except ValueError as error:
            problems.append(FieldProblem("/number", str(error)))
    problems += [
        FieldProblem("/status", f"there is no status {status!r}: {', '.join(STATUSES)}")
        for status in statuses
        if status not in STATUSES
    ]
    chosen: set[Availability] = set()
    for word in availabilities:
        if word == "green":
            chosen |= GREEN
        elif word == "red":
            chosen |= RED
        elif (known := next((one for one in AVAILABILITIES if one == word), None)) is not None:
            chosen.add(known)
        else:
            names = ", ".join(("green", "red", *AVAILABILITIES))
            problems.append(FieldProblem("/availability", f"there is no availability {word!r}: {names}"))
    if not problems and not chosen and not (pattern is not None and pattern.isdigit()):
        problems.append(
            FieldProblem(
                "/availability",
                "is missing: whoever looks for more than one number must say which availabilities are meant, such as "
                "green, what may be sold; a list without that loads the database",
            )
        )
    if problems:
        raise Unfit(problems)
    return Wanted(
        tuple(one for one in STATUSES if not statuses or one in statuses),
        pattern,
        frozenset(chosen) or None,
        region,
        provider_id,
    )


def pattern_of(mask: str, e164: E164) -> str:
    """A pattern of SQL's LIKE: a number as people type it, or digits with `%`. Raises ValueError."""
    if "%" not in mask:
        return number_mask("number", mask, e164)
    digits = "".join(sign for sign in mask if sign not in " ()-+.\u00a0")
    if not digits.strip("%"):
        raise ValueError(f"{mask!r} has no digits: leave it out to look for any number")
    if not all(sign == "%" or (sign.isascii() and sign.isdigit()) for sign in digits):
        raise ValueError(f"{mask!r} has signs other than digits and %")
    return digits
