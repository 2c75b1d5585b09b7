"""Brute-force pricing, step by step, straight from the rules (docs/rules.md §1-§3). Knows nothing of the engine.

Every second asks the wall clock of the band's zone anew, and every sum is an exact fraction of the currency's unit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

UNIT_MICROS = 1_000_000
_ALWAYS = datetime.min.replace(tzinfo=UTC)  # a start that is not given lies before all others


@dataclass(frozen=True)
class BandModel:
    """Weekdays 1 (Monday) to 7, dates `YYYY-MM-DD` or `--MM-DD`; empty = any. Minutes count from midnight."""

    band_id: str
    start_minute: int = 0
    end_minute: int = 1440
    time_zone: str = "Europe/Moscow"
    weekdays: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()
    weight: int = 0


@dataclass(frozen=True)
class Tier:
    """One tier of one band (None: at any time) of a price: what a row of `prices.csv` says about money."""

    from_second: int = 0
    price_micros: int = 0
    per_seconds: int = 60
    step_seconds: int = 60
    band: BandModel | None = None
    connect_fee_micros: int = 0
    min_charge_micros: int | None = None
    max_charge_micros: int | None = None
    attempt_fee_micros: int = 0


@dataclass(frozen=True)
class PriceModel:
    """All tiers of all bands of one price, and how its list rounds."""

    tiers: tuple[Tier, ...]
    rounding: Literal["up", "half_up", "down"] = "half_up"
    decimals: int = 6


@dataclass(frozen=True)
class Row:
    """A row of a price list: the tier, and the conditions under which it applies (None: any). Moments are aware."""

    tier: Tier
    prefix: str = ""
    service: str | None = None
    place: str | None = None
    incoming_service: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class Step(NamedTuple):
    """A step that was paid: its first second of the call, its length, its band, and the tier's price."""

    second: int
    step_seconds: int
    band_id: str | None
    price_micros: int


class Bill(NamedTuple):
    """What a call costs: exactly (in units of the currency), rounded (in micro-units), and for which steps."""

    exact: Fraction
    micros: int
    steps: list[Step]


# -- the money of a call (§2) ----------------------------------------------------------------------------------------


def charge(
    price: PriceModel,
    answered_at: datetime,
    setup_at: datetime,
    seconds: int,
    discount_percent: Fraction,
    answered: bool = True,
) -> Bill:
    """The charge of a call of so many seconds. `answered_at` has no meaning for an unanswered one (§2.7)."""
    if not answered:
        fee = Fraction(_tiers_in_force(price, setup_at)[0].attempt_fee_micros, UNIT_MICROS)
        exact = _discounted(fee, discount_percent)
        return Bill(exact, round_money(exact, price.rounding, price.decimals), [])
    first = _tier_at_answer(price, answered_at, setup_at)
    total = Fraction(first.connect_fee_micros, UNIT_MICROS)
    paid = []
    for second, tier in _steps(price, answered_at, setup_at):
        if second >= seconds:
            break
        total += _cost_of_step(tier)
        band_id = None if tier.band is None else tier.band.band_id
        paid.append(Step(second, tier.step_seconds, band_id, tier.price_micros))
    exact = _discounted(_limited(total, first), discount_percent)
    return Bill(exact, round_money(exact, price.rounding, price.decimals), paid)


def longest(
    price: PriceModel, setup_at: datetime, money_micros: int, cap_seconds: int, discount_percent: Fraction
) -> tuple[int, int]:
    """Seconds that are granted to a call set up now, and what is held for them; (0, 0) if money buys no step (§3.2)."""
    first = _tier_at_answer(price, setup_at, setup_at)
    total = Fraction(first.connect_fee_micros, UNIT_MICROS)
    money_micros = max(money_micros, 0)  # what costs nothing needs no money
    granted = (0, 0)
    for second, tier in _steps(price, setup_at, setup_at):
        if second >= cap_seconds:
            break
        total += _cost_of_step(tier)
        exact = _discounted(_limited(total, first), discount_percent)
        micros = round_money(exact, price.rounding, price.decimals)
        if micros > money_micros:
            break
        granted = (min(cap_seconds, second + tier.step_seconds), micros)
    return granted


def needed(price: PriceModel, setup_at: datetime, discount_percent: Fraction) -> int:
    """Micro-units of the first step, with whatever fee and minimum belong to it (§3.2)."""
    return charge(price, setup_at, setup_at, 1, discount_percent).micros


def round_money(amount: Fraction, rounding: str, decimals: int) -> int:
    """Micro-units of an exact amount in units of the currency, rounded once to so many decimals (§2.6)."""
    scaled = amount * 10**decimals
    if rounding == "up":
        whole = ceil(scaled)
    elif rounding == "down":
        whole = floor(scaled)
    else:
        whole = floor(scaled + Fraction(1, 2))
    return int(whole * 10 ** (6 - decimals))


def _steps(price: PriceModel, answered_at: datetime, setup_at: datetime) -> Iterator[tuple[int, Tier]]:
    """The steps of a call that never ends: first second and tier of each (§2.1, §2.2)."""
    answered_utc = answered_at.astimezone(UTC)  # sums of aware moments are sums of their wall clocks, unless in UTC
    tiers = _tiers_in_force(price, setup_at)
    second = 0
    while True:
        tiers = _tiers_in_force(price, answered_utc + timedelta(seconds=second)) or tiers
        tier = [tier for tier in tiers if tier.from_second <= second][-1]
        yield second, tier
        second += tier.step_seconds


def _tier_at_answer(price: PriceModel, answered_at: datetime, setup_at: datetime) -> Tier:
    """Tier 0 of the band in force at the answer: fee, minimum and maximum are its (§2.3, §2.4)."""
    return (_tiers_in_force(price, answered_at) or _tiers_in_force(price, setup_at))[0]


def _tiers_in_force(price: PriceModel, moment: datetime) -> list[Tier]:
    """Tiers of the heaviest band that holds the moment, in order of their seconds; none if no band holds it."""
    bands = [tier.band for tier in price.tiers if tier.band is not None and band_holds(tier.band, moment)]
    winner = min(bands, key=lambda band: (-band.weight, band.band_id), default=None)
    return sorted((tier for tier in price.tiers if tier.band == winner), key=lambda tier: tier.from_second)


def _cost_of_step(tier: Tier) -> Fraction:
    return Fraction(tier.price_micros * tier.step_seconds, tier.per_seconds * UNIT_MICROS)


def _limited(total: Fraction, first: Tier) -> Fraction:
    if first.min_charge_micros is not None:
        total = max(total, Fraction(first.min_charge_micros, UNIT_MICROS))
    if first.max_charge_micros is not None:
        total = min(total, Fraction(first.max_charge_micros, UNIT_MICROS))
    return total


def _discounted(total: Fraction, percent: Fraction) -> Fraction:
    return total * (1 - percent / 100)


# -- bands -----------------------------------------------------------------------------------------------------------


def band_holds(band: BandModel, moment: datetime) -> bool:
    """Whether the wall clock of the band's zone is in the band at this moment."""
    local = moment.astimezone(ZoneInfo(band.time_zone))
    clock = local.hour * 60 + local.minute
    today = local.date()
    if band.start_minute < band.end_minute:
        return band.start_minute <= clock < band.end_minute and _begins_on(band, today)
    if clock >= band.start_minute and _begins_on(band, today):
        return True
    return clock < band.end_minute and _begins_on(band, today - timedelta(days=1))


def _begins_on(band: BandModel, day: date) -> bool:
    if band.weekdays and day.isoweekday() not in band.weekdays:
        return False
    return not band.dates or day.strftime("%Y-%m-%d") in band.dates or day.strftime("--%m-%d") in band.dates


# -- which price (§1) ------------------------------------------------------------------------------------------------


def choose(
    rows: Iterable[Row], number: str, service: str, place: str | None, incoming: str | None, at: datetime
) -> list[Row]:
    """The rows of the price of one list that is taken for a call set up at this moment; empty if none applies.

    Raises ValueError when two prices would do equally well: the rules do not say which.
    """
    prices: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        conditions = (row.prefix, row.service, row.place, row.incoming_service, row.valid_from, row.valid_to)
        prices.setdefault(conditions, []).append(row)
    ranked = [
        (_rank(price[0]), price) for price in prices.values() if _applies(price, number, service, place, incoming, at)
    ]
    if not ranked:
        return []
    best = max(rank for rank, _ in ranked)
    winners = [price for rank, price in ranked if rank == best]
    if len(winners) > 1:
        raise ValueError(f"{len(winners)} prices of prefix {winners[0][0].prefix!r} are equally good")
    return winners[0]


def _applies(
    price: list[Row], number: str, service: str, place: str | None, incoming: str | None, at: datetime
) -> bool:
    row = price[0]  # the conditions are the same in all its rows
    return (
        number.startswith(row.prefix)
        and row.service in (None, service)
        and row.place in (None, place)
        and row.incoming_service in (None, incoming)
        and in_validity(row.valid_from, row.valid_to, at)
        and any(row.tier.band is None or band_holds(row.tier.band, at) for row in price)
    )


def _rank(row: Row) -> tuple[int, bool, bool, bool, datetime]:
    """Longest prefix, then service, place and incoming service if named, then the latest start (§1.3)."""
    return (
        len(row.prefix),
        row.service is not None,
        row.place is not None,
        row.incoming_service is not None,
        row.valid_from or _ALWAYS,
    )


def in_validity(valid_from: datetime | None, valid_to: datetime | None, at: datetime) -> bool:
    """Whether the moment lies in `[valid_from, valid_to)`; None: no bound."""
    return (valid_from is None or valid_from <= at) and (valid_to is None or at < valid_to)


@dataclass(frozen=True)
class ListModel:
    """A price list. `priority` is that of the plan the list is in; `provider_id` None: for any provider."""

    price_list_id: str
    rows: tuple[Row, ...]
    rounding: Literal["up", "half_up", "down"] = "half_up"
    decimals: int = 6
    provider_id: str | None = None
    priority: int = 0
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class Chosen(NamedTuple):
    """The list and the prefix that a price was found in, and the price."""

    price_list_id: str
    prefix: str
    price: PriceModel


def choose_retail(
    lists: Iterable[ListModel],
    provider_id: str | None,
    number: str,
    service: str,
    place: str | None,
    incoming: str | None,
    at: datetime,
) -> Chosen | None:
    """The retail price among the lists of a plan, for calls through this provider (None: through none) (§1.4)."""
    of_route = [entry for entry in lists if entry.provider_id in (None, provider_id)]
    best = min(
        _found(of_route, number, service, place, incoming, at),
        key=lambda item: (-len(item[1].prefix), item[0].priority, item[0].provider_id is None, item[0].price_list_id),
        default=None,
    )
    return None if best is None else best[1]


def choose_wholesale(
    lists: Iterable[ListModel], number: str, service: str, place: str | None, incoming: str | None, at: datetime
) -> Chosen | None:
    """The wholesale price among the lists of one provider (§1.4)."""
    found = sorted(_found(lists, number, service, place, incoming, at), key=lambda item: item[0].price_list_id)
    # Of equals max takes the first, here the smallest id.
    best = max(found, key=lambda item: (len(item[1].prefix), item[0].valid_from or _ALWAYS), default=None)
    return None if best is None else best[1]


def _found(
    lists: Iterable[ListModel], number: str, service: str, place: str | None, incoming: str | None, at: datetime
) -> Iterator[tuple[ListModel, Chosen]]:
    for entry in lists:
        if not in_validity(entry.valid_from, entry.valid_to, at):
            continue
        rows = choose(entry.rows, number, service, place, incoming, at)
        if rows:
            price = PriceModel(tuple(row.tier for row in rows), entry.rounding, entry.decimals)
            yield entry, Chosen(entry.price_list_id, rows[0].prefix, price)
