"""Money and rates as text: decimal strings in files, integer micro-units inside. No float anywhere."""

from decimal import Decimal, InvalidOperation

UNIT_MICROS = 1_000_000
MAX_MICROS = 2**63 - 1


def to_micros(text: str) -> int:
    """Micro-units of a decimal string such as "12.50".

    Raises ValueError when the text is no plain decimal number, has more than six decimals, or does not fit 64 bits.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f'{text!r} is not a number; write money as "12.50"') from None
    if not amount.is_finite():
        raise ValueError(f'{text!r} is not an amount of money; write it as "12.50"')
    if abs(amount.adjusted()) > 30:
        raise ValueError(f"{text!r} is too large or too small for money")
    micros = amount * UNIT_MICROS
    if micros != micros.to_integral_value():
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
