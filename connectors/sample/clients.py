"""Who the sample operator serves: accounts, their numbers, locks and discounts.

The accounts of `FIXED` are there whatever the seed: the CDR files in `data/` and many examples speak of them.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from connectors.sample.tariffs import MEGAFON, OWN, TOLL_FREE, Row

AGENTS_PLACE = "Агентские номера"  # its unwanted calls are not counted (§1.4)
CALL_CENTRE_NUMBERS = 20


class Fixed(NamedTuple):
    """An account with a story. Money in roubles, decimal text."""

    account_id: str
    plan: str
    mode: str
    balance: str
    credit: str = "0.00"
    critical: str = ""
    status: str = "active"
    place: str = "msk"
    at_once: str = ""
    numbers: tuple[str, ...] = ()


FIXED = (
    # The guide's client (§2.2): a local lock on 38 through the only provider of Serbia.
    Fixed("100200", "T-BUSINESS", "prepaid", "8400.00", critical="500.00", numbers=("74951234567",)),
    # Call centres.
    Fixed("100201", "T-LARGE", "postpaid", "0.00", "20000000.00", numbers=("74951112200", "78001112233")),
    Fixed("100208", "T-LARGE", "postpaid", "-150000.00", "20000000.00", place="spb", numbers=("78124455600",)),
    # Little money, none at all, less than none.
    Fixed("100202", "T-SMALL", "prepaid", "15.40", critical="100.00", numbers=("74951112202",)),
    Fixed("100203", "T-SMALL", "prepaid", "0.00", critical="100.00", numbers=("74951112203",)),
    Fixed("100209", "T-SMALL", "prepaid", "-37.25", numbers=("78124455609",), place="spb"),
    Fixed("100204", "T-SMALL", "prepaid", "-12.00", status="blocked", numbers=("74951112204",)),
    Fixed("100205", "T-SMALL", "prepaid", "0.00", status="closed"),
    # Two calls at once; never below cost; forwards all day; near its critical balance.
    Fixed("100206", "T-BUSINESS", "prepaid", "5000.00", at_once="2", numbers=("74951112206",)),
    Fixed("100207", "T-CAREFUL", "postpaid", "-4200.50", "60000.00", numbers=("73432223344",), place="ekb"),
    Fixed("100210", "T-BUSINESS", "prepaid", "12600.00", numbers=("74991112210", "78002223344")),
    Fixed("100211", "T-SMALL", "prepaid", "420.00", critical="300.00", numbers=("74991112211",)),
)


class City(NamedTuple):
    """A place with numbers: its codes, and its share of the clients."""

    place: str
    region: str
    codes: tuple[str, ...]
    share: int


CITIES = (
    City("msk", "Москва", ("7495", "7499"), 55),
    City("spb", "Санкт-Петербург", ("7812",), 20),
    City("ekb", "Екатеринбург", ("7343",), 10),
    City("nsk", "Новосибирск", ("7383",), 8),
    City("kzn", "Казань", ("7843",), 7),
)
_REGION_BY_CODE = {code: city.region for city in CITIES for code in city.codes} | {TOLL_FREE: "Россия"}
_PLACE_BY_CODE = {code: city.place for city in CITIES for code in city.codes} | {TOLL_FREE: "msk"}

# Numbers that nobody uses and the guide speaks of (§1.4), one that everybody would like, and those never counted.
_SPECIAL_NUMBERS: tuple[Row, ...] = (
    ("74956460403", "archive", "", "msk", "Москва", OWN, "no", "2009-03-01", "2010-05-14", "depends_on_ncv"),
    ("74951201031", "archive", "", "msk", "Москва", OWN, "no", "2018-02-01", "2026-10-20", "depends_on_ncv"),
    ("74952000200", "free", "", "msk", "Москва", OWN, "no", "2015-06-01", "", "forced_yes"),
    ("74951201032", "free", "", "msk", "Москва", MEGAFON, "no", "2018-02-01", "", "no"),
    ("78124455601", "free", "", "spb", "Санкт-Петербург", OWN, "yes", "2020-01-15", "", "depends_on_ncv"),
    ("78124455602", "archive", "", "spb", "Санкт-Петербург", OWN, "yes", "2020-01-15", "2026-08-03", "depends_on_ncv"),
    ("74991112299", "archive", "", AGENTS_PLACE, "Москва", OWN, "no", "2019-09-01", "2026-09-09", "depends_on_ncv"),
    ("74991112298", "free", "", AGENTS_PLACE, "Москва", OWN, "no", "2019-09-01", "", "depends_on_ncv"),
)

LOCKS: tuple[Row, ...] = (
    ("L1", "prefix", "38", "100200", MEGAFON, "ivanov", "Жалоба на подмену номера", "2026-03-02T09:15:00Z"),
    ("L2", "prefix", "881", "", "", "petrova", "Спутниковая связь: фрод", "2024-11-20T12:00:00Z"),
    ("L3", "prefix", "870", "", "", "petrova", "Спутниковая связь: фрод", "2024-11-20T12:05:00Z"),
    ("L4", "prefix", "882", "", "", "petrova", "Международные сети: фрод", "2024-11-20T12:10:00Z"),
    ("L5", "prefix", "883", "", "", "petrova", "Международные сети: фрод", "2024-11-20T12:12:00Z"),
    ("L6", "prefix", "979", "", "", "petrova", "Премиум-номера", "2024-11-20T12:20:00Z"),
    ("L7", "prefix", "1900", "", "", "sidorov", "Премиум-номера США", "2025-02-11T08:00:00Z"),
    ("L8", "prefix", "3716", "", "west", "sidorov", "Жалобы на качество через провайдера", "2026-06-01T10:30:00Z"),
    ("L9", "number", "74959990099", "", "", "ivanov", "Атака на номер банка", "2026-10-05T17:45:00Z"),
    ("L10", "prefix", "25", "100207", "", "ivanov", "Просьба клиента", "2026-05-18T14:00:00Z"),
    ("L11", "prefix", "2", "100207", "", "sidorov", "Подозрение на взлом АТС", "2026-07-07T03:20:00Z"),
)

DISCOUNTS: tuple[Row, ...] = (
    ("100201", "", "7.5", "2026-01-01", ""),
    ("100201", "forwarding", "12", "2026-07-01", ""),
    ("100208", "outgoing", "10", "2026-01-01", "2027-01-01"),
    ("100210", "forwarding", "5", "2025-01-01", "2026-01-01"),  # over
)


def accounts(rng: Random, count: int) -> list[Row]:
    """Rows of accounts.csv: the fixed accounts and as many others as make `count` in all."""
    rows = [_fixed_row(account) for account in FIXED]
    for i in range(max(0, count - len(FIXED))):
        place = rng.choices(CITIES, [city.share for city in CITIES])[0].place
        status = rng.choices(("active", "blocked", "closed"), (95, 3, 2))[0]
        at_once = str(rng.choice((2, 3, 5, 10, 20, 30))) if rng.random() < 0.2 else ""
        mode, plan, balance, credit, critical = _money(rng, i)
        account_id = str(100_300 + i)
        rows.append(
            (account_id, f"C{account_id}", plan, mode, "RUB", balance, credit, critical, status, place, at_once)
        )
    return rows


def _fixed_row(a: Fixed) -> Row:
    client = f"C{a.account_id}"
    return (a.account_id, client, a.plan, a.mode, "RUB", a.balance, a.credit, a.critical, a.status, a.place, a.at_once)


def _money(rng: Random, i: int) -> tuple[str, str, str, str, str]:
    """Mode, plan, balance, credit limit and critical balance of the i-th client."""
    if is_call_centre(i):
        return "postpaid", "T-LARGE", f"-{rng.randint(0, 300_000)}.00", "10000000.00", ""
    kopecks = rng.randint(0, 99)
    if rng.random() < 0.25:
        plan = rng.choice(("T-BUSINESS", "T-LARGE", "T-CAREFUL"))
        return "postpaid", plan, f"-{rng.randint(1, 9_000)}.{kopecks:02d}", f"{rng.randint(2, 60)}0000.00", ""
    plan = rng.choice(("T-SMALL", "T-SMALL", "T-BUSINESS"))
    kind = rng.random()
    if kind < 0.03:
        balance = rng.choice(("0.00", "-0.50", "-18.00"))
    elif kind < 0.08:
        balance = f"{rng.randint(3, 40)}.{kopecks:02d}"
    else:
        balance = f"{int(rng.lognormvariate(7.5, 1.0)) + 60}.{kopecks:02d}"
    return "prepaid", plan, balance, "0.00", rng.choice(("", "100.00", "300.00", "500.00"))


def is_call_centre(i: int) -> bool:
    """One generated client in 300: few, and they make half of the calls."""
    return i % 300 == 7


def numbers(rng: Random, account_rows: list[Row]) -> Iterator[Row]:
    """Rows of numbers.csv: the clients' numbers, then those that nobody uses."""
    yield from _SPECIAL_NUMBERS
    for account in FIXED:
        for number in account.numbers:
            yield _number(number, "in_use", account.account_id, OWN, "2019-04-01")
    for account in FIXED[1:3]:  # the call centres
        for i in range(1, CALL_CENTRE_NUMBERS):
            number = str(int(account.numbers[0]) + 30 + i)
            yield _number(number, "in_use", account.account_id, OWN, "2021-04-01")

    next_in = {code: int(f"{code}7000000") for code in _REGION_BY_CODE}

    def take(code: str) -> str:
        next_in[code] += rng.randint(1, 9)
        return str(next_in[code])

    codes = {city.place: city.codes for city in CITIES}
    for i, row in enumerate(account_rows[len(FIXED) :]):
        if row[8] == "closed":
            continue
        for _ in range(CALL_CENTRE_NUMBERS if is_call_centre(i) else rng.choice((1, 1, 1, 2, 3))):
            code = TOLL_FREE if rng.random() < 0.04 else rng.choice(codes[row[9]])
            provider = MEGAFON if rng.random() < 0.1 else OWN
            yield _number(take(code), "in_use", row[0], provider, f"20{rng.randint(15, 25)}-06-15")
    for _ in range(len(account_rows) // 2):
        code = rng.choice(rng.choices(CITIES, [city.share for city in CITIES])[0].codes)
        status = rng.choices(("free", "archive", "reserved"), (50, 40, 10))[0]
        saleable = rng.choices(("depends_on_ncv", "forced_yes", "no"), (90, 4, 6))[0]
        archived_on = f"2026-{rng.randint(7, 11):02d}-{rng.randint(1, 23):02d}" if status == "archive" else ""
        yield _number(take(code), status, "", OWN, f"20{rng.randint(15, 25)}-06-15", archived_on, saleable)


def _number(
    number: str,
    status: str,
    account_id: str,
    provider_id: str,
    joined_on: str,
    archived_on: str = "",
    saleable: str = "depends_on_ncv",
) -> Row:
    code = number[:4]
    place, region = _PLACE_BY_CODE[code], _REGION_BY_CODE[code]
    return (number, status, account_id, place, region, provider_id, "no", joined_on, archived_on, saleable)


def discounts(rng: Random, account_rows: list[Row]) -> Iterator[Row]:
    """Rows of discounts.csv: the fixed ones and, for one other client in 20, up to 15 per cent."""
    yield from DISCOUNTS
    for row in account_rows[len(FIXED) :]:
        if rng.random() < 0.05:
            yield (row[0], rng.choice(("", "outgoing")), rng.choice(("3", "5", "10", "12.5", "15")), "2026-01-01", "")
