"""Money and rates as text: decimal strings in files, integer micro-units inside. No float anywhere."""

import re
from decimal import Context, Decimal, Inexact

UNIT_MICROS = 1_000_000
MAX_MICROS = 2**63 - 1

_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_EXACT = Context(prec=60, traps=[Inexact])
"""Decimal's usual 28 digits would round a text of more of them."""


def to_micros(text: str) -> int:
    """Micro-units of a decimal string such as "12.50".

    Raises ValueError when the text is no plain decimal number, has more than six decimals, or does not fit 64 bits.
    """
    if not _PLAIN.fullmatch(text) or len(text) > 50:
        raise ValueError(f'{text[:60]!r} is not an amount of money; write it as "12.50"')
    amount = Decimal(text)
    try:
        micros = _EXACT.multiply(amount, Decimal(UNIT_MICROS))
        whole = micros == micros.to_integral_value()
    except Inexact:
        whole = False
    if not whole:
        raise ValueError(f"{text!r} has more than six decimals; money is kept in millionths")
    if abs(micros) > MAX_MICROS:
        raise ValueError(f"{text!r} is too large: money has 64 bits")
    return int(micros)


def to_text(micros: int) -> str:
    """Decimal string of micro-units, at least two decimals, no superfluous zeros after them: "12.50", "0.716667"."""
    sign = "-" if micros < 0 else ""
    whole, part = divmod(abs(micros), UNIT_MICROS)
    decimals = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
