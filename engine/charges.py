"""Charges: what a call is billed, in parts that add up (§2.3; rules §2). The one pricing function.

Decision, CDR, tariff check and re-rating all come through here. The hold of a decision is the amount of `charge` for
the seconds granted; `grant` is the same sum turned around.
"""

from typing import NamedTuple

from engine.prices import Price
from engine.rounding import budget, fraction_text, round_micros
from engine.tariffs import Tariff, Tier, Variant
from schemas.rated import Adjustment, Charge, ChargeLine, DiscountGiven

WHOLE_PERCENT = 100_000_000
"""100 %, in millionths of a per cent."""


class Grant(NamedTuple):
    """Seconds that the money buys and their price; no seconds: the price of the first one, which is too dear."""

    seconds: int
    amount_micros: int


def amount(price: Price, *, answered_us: int, setup_us: int, seconds: int, percent: int = 0) -> int:
    """Micro-units that an answered call costs. `percent`: discount, in millionths of a per cent."""
    tariff, terms = price.tariff, price.terms
    total = tariff.total(answered_us, setup_us, seconds)
    if percent == 0:
        return round_micros(total, tariff.denominator, terms.rounding, terms.unit)
    return _rounded(price, total, percent)


def _rounded(price: Price, total: int, percent: int) -> int:
    terms = price.terms
    return round_micros(
        total * (WHOLE_PERCENT - percent), price.tariff.denominator * WHOLE_PERCENT, terms.rounding, terms.unit
    )


def first_minute(price: Price, at_us: int, percent: int = 0) -> tuple[int, int]:
    """The exact price of a 60-second call answered at set-up, as numerator and denominator of micro-units."""
    total = price.tariff.first_minute_total
    if total is None:
        total = price.tariff.total(at_us, at_us, 60)
    return total * (WHOLE_PERCENT - percent), price.tariff.denominator * WHOLE_PERCENT


def grant(price: Price, *, setup_us: int, money_micros: int, cap_seconds: int, percent: int = 0) -> Grant:
    """How long the money lasts: the most whole steps whose charge is at most the money, within the cap (rules §3.2).

    A call that costs nothing needs no money, however little there is.
    """
    tariff, terms = price.tariff, price.terms
    money_micros = max(money_micros, 0)
    if percent == 0:
        limit = budget(money_micros, tariff.denominator, terms.rounding, terms.unit)
    elif percent < WHOLE_PERCENT:
        limit = budget(money_micros, tariff.denominator * WHOLE_PERCENT, terms.rounding, terms.unit)
        limit //= WHOLE_PERCENT - percent
    else:
        return Grant(cap_seconds, 0)
    seconds, total = tariff.lasts(setup_us, limit, cap_seconds)
    return Grant(seconds, _rounded(price, total, percent))


def charge(
    price: Price, *, answered_us: int | None, setup_us: int, seconds: int, percent: int = 0, percent_text: str = "0"
) -> Charge:
    """The bill of a call; `answered_us` None: it was not answered and costs the attempt fee alone."""
    tariff, terms = price.tariff, price.terms
    denominator = tariff.denominator
    lines: tuple[ChargeLine, ...] = ()
    connect_fee = attempt_fee = 0
    adjustment: Adjustment | None = None
    if answered_us is None:
        attempt_fee = tariff.first_variant(setup_us, setup_us).attempt_fee_micros
        total = attempt_fee * denominator
    else:
        variant = tariff.first_variant(answered_us, setup_us)
        connect_fee = variant.connect_fee_micros
        total, lines = _lines(tariff, variant, answered_us, setup_us, seconds)
        total += connect_fee * denominator
        if variant.limits:
            total, adjustment = _adjusted(tariff, variant, total)
        assert total == tariff.total(answered_us, setup_us, seconds), "the parts are not the promise"
    discount: DiscountGiven | None = None
    if percent:
        discount = DiscountGiven(percent_text, fraction_text(-total * percent, denominator * WHOLE_PERCENT))
        total *= WHOLE_PERCENT - percent
        denominator *= WHOLE_PERCENT
    return Charge(
        round_micros(total, denominator, terms.rounding, terms.unit),
        # Most charges are one line and nothing else.
        lines[0].amount
        if len(lines) == 1 and not (connect_fee or adjustment or discount)
        else fraction_text(total, denominator),
        terms.price_list_id,
        price.prefix,
        terms.rounding,
        terms.decimals,
        lines,
        connect_fee,
        discount,
        adjustment,
        attempt_fee,
    )


def _lines(
    tariff: Tariff, variant: Variant, answered_us: int, setup_us: int, seconds: int
) -> tuple[int, tuple[ChargeLine, ...]]:
    """The steps of a call and their sum, a line for each run of equal steps."""
    if (tier := tariff.only_tier) is not None:
        steps = -(-seconds // tier.step_seconds)
        return steps * tier.step_cost, (_line(tariff, variant, tier, 0, steps, seconds),) if steps else ()
    total = covered = 0
    lines = []
    for run in tariff.runs(answered_us, setup_us, seconds):
        assert run.second >= covered, "a second that is paid twice"
        line = _line(tariff, run.variant, run.tier, run.second, run.steps, seconds)
        lines.append(line)
        covered += line.seconds
        total += run.steps * run.tier.step_cost
    assert covered == seconds, "a second that nobody pays"
    return total, tuple(lines)


def _line(tariff: Tariff, variant: Variant, tier: Tier, second: int, steps: int, seconds: int) -> ChargeLine:
    return ChargeLine(
        second,
        min(steps * tier.step_seconds, seconds - second),
        steps,
        tier.step_seconds,
        tier.price_micros,
        tier.per_seconds,
        variant.band_id,
        fraction_text(steps * tier.step_cost, tariff.denominator),
    )


def _adjusted(tariff: Tariff, variant: Variant, total: int) -> tuple[int, Adjustment | None]:
    """The sum within minimum and maximum, and what that changed."""
    limited = tariff.limited(variant, total)
    if limited == total:
        return total, None
    difference = fraction_text(limited - total, tariff.denominator)
    if limited > total:
        return limited, Adjustment("min_charge", variant.minimum_micros or 0, difference)
    return limited, Adjustment("max_charge", variant.maximum_micros or 0, difference)
