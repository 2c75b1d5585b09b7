"""Exact sums and their one rounding (rules §2.6).

A sum is a numerator over a positive denominator, in micro-units; nothing is rounded on the way. `budget` is rounding
turned around: the greatest numerator that still rounds to no more than the money there is.
"""

from math import gcd

from schemas.money import UNIT_MICROS
from schemas.rated import Rounding


def round_micros(numerator: int, denominator: int, rounding: Rounding, unit: int) -> int:
    """Micro-units of a sum, rounded to whole `unit` micro-units (1 000 000 is the currency's unit, 1 a micro)."""
    if rounding == "up":
        return -(-numerator // (denominator * unit)) * unit
    if rounding == "half_up":
        return (2 * numerator + denominator * unit) // (2 * denominator * unit) * unit
    return numerator // (denominator * unit) * unit


def budget(money_micros: int, denominator: int, rounding: Rounding, unit: int) -> int:
    """The greatest numerator over `denominator` that `round_micros` takes to at most `money_micros` (0 or more)."""
    whole = money_micros // unit
    if rounding == "up":
        return whole * unit * denominator
    if rounding == "half_up":
        return ((2 * whole + 1) * unit * denominator - 1) // 2
    return (whole + 1) * unit * denominator - 1


def unit_of(decimals: int) -> int:
    """Micro-units of the last decimal that is kept."""
    return int(10 ** (6 - decimals))


def fraction_text(numerator: int, denominator: int) -> str:
    """A sum of micro-units as a fraction of the currency's unit in lowest terms: "43/60", "12", "-1/5"."""
    denominator *= UNIT_MICROS
    common = gcd(numerator, denominator)
    if common == denominator:
        return str(numerator // common)
    return f"{numerator // common}/{denominator // common}"
