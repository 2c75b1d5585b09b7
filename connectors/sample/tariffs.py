"""What the sample operator buys and sells calls for: providers, price lists, prices, bands, tariff plans.

The prefixes are real, every price is invented. Money is integer micro-units here and decimal text in the rows.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from connectors.sample.prefixes import areas, collapsed, countries, country_of, russian_mobile
from schemas.money import UNIT_MICROS, to_text

Row = tuple[str, ...]

MEGAFON = "megafon"
OWN = "cloud"
CALL_SERVICES = ("outgoing", "forwarding")
RUSSIA = "7"
TOLL_FREE = "7800"
LOCAL_CODES = ("7495", "7498", "7499", "7812")
KAZAKHSTAN = ("77",)  # it shares the country code of Russia, not its prices


class Carrier(NamedTuple):
    """A provider and the wholesale list it sends: `percent` of the common cost, where, and how deep."""

    provider_id: str
    name: str
    priority: int
    place: str
    pdgi: bool
    own: bool
    list_id: str
    percent: int
    reach: tuple[str, ...]  # what the country codes begin with; "" is the world
    extra_digits: int  # of areas after the country code; 0: countries only
    mobile: bool  # a price for each range of the Russian mobile carriers
    step_seconds: int


_EUROPE = ("3", "4")
_EAST = ("375", "373", "374", "380", "60", "65", "66", "7", "8", "9")
CARRIERS = (
    Carrier(OWN, "Облачная сеть (собственная)", 1, "msk", False, True, "W-OWN", 60, (), 0, False, 1),
    Carrier(MEGAFON, "Москва, Мегафон", 10, "msk", False, False, "W-MEG", 100, ("",), 3, True, 1),
    Carrier("sever", "Москва, Северный транзит", 10, "msk", False, False, "W-SEV", 92, ("7", "3"), 2, True, 1),
    Carrier("baltika", "Санкт-Петербург, Балтика Голос", 20, "spb", False, False, "W-BAL", 95, _EUROPE, 3, False, 1),
    Carrier("eurasia", "Казань, Евразия Связь", 20, "kzn", False, False, "W-EUR", 90, _EAST, 2, False, 60),
    Carrier("west", "Франкфурт, Вест Коннект", 30, "fra", False, False, "W-WST", 125, ("",), 0, False, 60),
    Carrier("pdgi-msk", "Москва, ПДГИ Обмен", 40, "msk", True, False, "W-PD1", 105, ("7",), 0, True, 1),
    Carrier("pdgi-spb", "Санкт-Петербург, ПДГИ Нева", 40, "spb", True, False, "W-PD2", 110, ("7",), 3, False, 60),
)

# Destinations that only one provider carries; Serbia is the guide's case (§2.2).
ONLY_THROUGH = {"381": MEGAFON, "382": MEGAFON, "373": "eurasia"}
NO_WHOLESALE = ("850", "691")
NO_RETAIL = ("670", "686")
BELOW_COST = ("53", "239")
SATELLITES_AND_PREMIUM = ("870", "881", "882", "883", "979")

_POPULAR = ("1", "375", "374", "380", "49", "33", "39", "44", "90", "86", "995", "998", "996", "971", *ONLY_THROUGH)
_RUSSIAN_CARRIERS = {"MegaFon": 950_000, "MTS": 1_000_000, "Beeline": 1_050_000, "T2": 1_100_000}
_OTHER_RUSSIAN_CARRIER = 1_300_000

BANDS: tuple[Row, ...] = (
    ("day", "1-5", "09:00", "21:00", "", "Europe/Moscow", "10"),
    ("night", "", "21:00", "09:00", "", "Europe/Moscow", "10"),
    ("weekend", "6;7", "00:00", "24:00", "", "Europe/Moscow", "20"),
    ("holiday", "", "00:00", "24:00", "--01-01;--01-07;--02-23;--05-09;--06-12;2026-11-04", "Europe/Moscow", "30"),
)
# What a minute costs in a band, in per cent of the price without one.
_BAND_PERCENT = {"night": 85, "weekend": 80, "holiday": 75}

PLANS: tuple[Row, ...] = (
    ("T-SMALL", "R-SMALL", "10", "no"),
    ("T-SMALL", "R-SMALL-2025", "10", "no"),
    ("T-SMALL", "R-SMALL-2027", "10", "no"),
    ("T-SMALL", "R-INBOUND", "90", "no"),
    ("T-BUSINESS", "R-BUSINESS", "10", "no"),
    ("T-BUSINESS", "R-EUROPE", "5", "no"),
    ("T-BUSINESS", "R-INBOUND", "90", "no"),
    ("T-CAREFUL", "R-BUSINESS", "10", "yes"),
    ("T-CAREFUL", "R-INBOUND", "90", "yes"),
    ("T-LARGE", "R-LARGE", "10", "no"),
    ("T-LARGE", "R-MEGAFON", "5", "no"),
    ("T-LARGE", "R-INBOUND", "90", "no"),
)

_RETAIL_LISTS: tuple[Row, ...] = (
    ("R-SMALL", "Малый офис (invented prices)", "retail", "", "RUB", "up", "2", "2026-01-01", "2027-01-01"),
    ("R-SMALL-2025", "Малый офис 2025 (invented prices)", "retail", "", "RUB", "up", "2", "2025-01-01", "2026-01-01"),
    ("R-SMALL-2027", "Малый офис 2027 (invented prices)", "retail", "", "RUB", "up", "2", "2027-01-01", ""),
    ("R-BUSINESS", "Бизнес (invented prices)", "retail", "", "RUB", "half_up", "2", "2026-01-01", ""),
    ("R-EUROPE", "Европа выгодно (invented prices)", "retail", "", "RUB", "half_up", "2", "2026-09-01", ""),
    ("R-LARGE", "Крупный клиент (invented prices)", "retail", "", "RUB", "down", "4", "2026-01-01", ""),
    ("R-MEGAFON", "Через Мегафон (invented prices)", "retail", MEGAFON, "RUB", "down", "4", "2026-01-01", ""),
    ("R-INBOUND", "Входящие 8-800 и запись (invented prices)", "retail", "", "RUB", "up", "2", "2026-01-01", ""),
)


def providers() -> list[Row]:
    """Rows of providers.csv."""
    yes_no = ("no", "yes")
    return [(c.provider_id, c.name, str(c.priority), c.place, yes_no[c.pdgi], yes_no[c.own]) for c in CARRIERS]


def price_lists() -> list[Row]:
    """Rows of price_lists.csv."""
    wholesale = [
        (c.list_id, f"{c.name}, опт (invented prices)", "wholesale", c.provider_id, "RUB", "up", "6", "2026-01-01", "")
        for c in CARRIERS
    ]
    return [*wholesale, *_RETAIL_LISTS]


def prices(rng: Random) -> Iterator[Row]:
    """Rows of prices.csv, wholesale then retail."""
    costs = _costs(rng)
    for carrier in CARRIERS:
        table = collapsed(_wholesale(carrier, costs, rng))
        for prefix, price in table.items():
            yield from _calls(carrier.list_id, prefix, price, steps=((0, carrier.step_seconds),))
    yield from _retail(costs)


def _costs(rng: Random) -> dict[str, int]:
    """What a minute to each country costs the operator, more or less; a tenth of a rouble is the grain."""
    costs = {}
    for country in countries():
        tenths = rng.randint(40, 150) if country in _POPULAR else rng.randint(90, 700)
        costs[country] = (3000 if country in SATELLITES_AND_PREMIUM else tenths) * UNIT_MICROS // 10
    costs[RUSSIA] = 2 * UNIT_MICROS
    return costs


def _wholesale(carrier: Carrier, costs: dict[str, int], rng: Random) -> dict[str, int]:
    """Prefix → price of a minute."""
    if carrier.own:
        return {TOLL_FREE: 0, **dict.fromkeys(LOCAL_CODES, 300_000)}
    carried = [
        country
        for country in countries()
        if country.startswith(carrier.reach)
        and country not in NO_WHOLESALE
        and ONLY_THROUGH.get(country, carrier.provider_id) == carrier.provider_id
    ]
    level = {country: costs[country] * carrier.percent // 100 for country in carried}
    table = dict(level)
    for area in areas(carrier.extra_digits) if carrier.extra_digits else ():
        country = country_of(area)
        if country in level:
            # Areas cost from four fifths to a third more than their country on the whole.
            table[area] = level[country] * rng.randrange(80, 136, 5) // 100
    if RUSSIA in level:
        table |= dict.fromkeys(KAZAKHSTAN, 9 * UNIT_MICROS * carrier.percent // 100)
        table |= dict.fromkeys(LOCAL_CODES, 450_000 * carrier.percent // 100)
        table["79"] = _OTHER_RUSSIAN_CARRIER * carrier.percent // 100
    if carrier.mobile:
        for prefix, name in russian_mobile().items():
            table[prefix] = _RUSSIAN_CARRIERS.get(name, _OTHER_RUSSIAN_CARRIER) * carrier.percent // 100
            if carrier.provider_id == MEGAFON and name == "MegaFon":
                table[prefix] = 600_000  # its own network
    return table


def _retail(costs: dict[str, int]) -> Iterator[Row]:
    world = {c: _retail_price(c, cost) for c, cost in costs.items() if c not in (*NO_RETAIL, RUSSIA)}
    russia = dict.fromkeys((a for a in areas(3) if country_of(a) == RUSSIA and not a.startswith(KAZAKHSTAN)), 3_000_000)
    russia |= {"7": 3_900_000, "79": 2_400_000, TOLL_FREE: 0, **dict.fromkeys(LOCAL_CODES, 1_200_000)}
    world |= dict.fromkeys(KAZAKHSTAN, 19 * UNIT_MICROS)

    by_minute, half_then_six, by_second = ((0, 60),), ((0, 30), (30, 6)), ((0, 1),)
    for prefix, price in (russia | world).items():
        abroad = prefix in world
        yield from _calls("R-SMALL", prefix, price * 12 // 10, steps=by_minute, min_charge=price if abroad else 0)
        yield from _calls("R-BUSINESS", prefix, price, steps=half_then_six, fee=200_000 if prefix == "79" else 0)
        yield from _large(prefix, price * 85 // 100)
        if abroad and prefix.startswith(_EUROPE):
            yield from _calls("R-EUROPE", prefix, price * 9 // 10, steps=by_second, fee=1_000_000)
    for prefix in ("7", "79", *LOCAL_CODES):
        for band, percent in _BAND_PERCENT.items():
            price = russia[prefix] * percent // 100
            yield from _calls("R-BUSINESS", prefix, price, steps=half_then_six, band=band)
    for prefix, name in russian_mobile().items():
        if name == "MegaFon" and len(prefix) == 4:
            yield from _calls("R-MEGAFON", prefix, 1_500_000, steps=by_second)
    yield from _specials()


def _retail_price(country: str, cost: int) -> int:
    return cost * 6 // 10 if country in BELOW_COST else cost * 19 // 10


def _large(prefix: str, price: int) -> Iterator[Row]:
    """By the second, cheaper after ten minutes, and no call dearer than 600 roubles."""
    for service in CALL_SERVICES:
        yield _row("R-LARGE", prefix, service, price, step=1, max_charge=600 * UNIT_MICROS)
        yield _row("R-LARGE", prefix, service, price * 9 // 10, step=1, from_second=600)


def _specials() -> Iterator[Row]:
    """Prices that hang on the place, on what the call came in by, or on the day; those of calls in, of recordings."""
    for year, price in (("2025", 2_000_000), ("2027", 3_300_000)):
        yield from _calls(f"R-SMALL-{year}", "7", price, steps=((0, 60),))
        yield from _calls(f"R-SMALL-{year}", "79", price, steps=((0, 60),))
    yield _row("R-BUSINESS", "7812", "outgoing", 600_000, step=60, place="spb")
    yield _row("R-BUSINESS", "7495", "outgoing", 600_000, step=60, place="msk")
    yield _row("R-BUSINESS", "79", "forwarding", 3_100_000, step=60, incoming_service="toll_free")
    yield _row("R-SMALL", "7343", "outgoing", 2_500_000, step=60, valid_from="2026-01-01", valid_to="2026-11-01")
    yield _row("R-SMALL", "7343", "outgoing", 2_900_000, step=60, valid_from="2026-11-01")
    yield _row("R-INBOUND", TOLL_FREE, "incoming", 2_200_000, step=1)
    yield _row("R-INBOUND", "", "calls_rec", 300_000, step=60)
    yield _row("R-INBOUND", "", "calls_rec_unlim", 0, step=60)


def _calls(
    list_id: str,
    prefix: str,
    price: int,
    *,
    steps: Iterable[tuple[int, int]],
    fee: int = 0,
    min_charge: int = 0,
    band: str = "",
) -> Iterator[Row]:
    """Rows for calls out and forwarded ones. `steps`: from which second on, steps of how many seconds.

    No row leaves the service open: it would hold for incoming calls too.
    """
    for service in CALL_SERVICES:
        for from_second, step in steps:
            first = from_second == 0
            yield _row(
                list_id,
                prefix,
                service,
                price,
                step=step,
                from_second=from_second,
                fee=fee if first else 0,
                min_charge=min_charge if first else 0,
                band=band,
            )


def _row(
    list_id: str,
    prefix: str,
    service: str,
    price: int,
    *,
    step: int,
    from_second: int = 0,
    fee: int = 0,
    min_charge: int = 0,
    max_charge: int = 0,
    place: str = "",
    incoming_service: str = "",
    band: str = "",
    valid_from: str = "",
    valid_to: str = "",
) -> Row:
    return (
        list_id,
        prefix,
        service,
        place,
        incoming_service,
        band,
        str(from_second),
        to_text(fee),
        to_text(price),
        "60",
        str(step),
        to_text(min_charge) if min_charge else "",
        to_text(max_charge) if max_charge else "",
        valid_from,
        valid_to,
    )
