"""A small operator, drawn from a seed: what a simulation's calls are decided and charged by.

Accounts with little and with much money, prepaid and on credit, some blocked or closed; providers of which one knows
few destinations and one is dear; tiers, a band over midnight, steps and fees; locks; numbers in quarantine.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Literal, NamedTuple

from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    NumberStatus,
    PlanList,
    PriceList,
    PriceRow,
    Provider,
    TariffPlan,
)

RUB = 1_000_000
PLACE = "Москва"
PREFIXES = ("7", "7495", "7900", "44", "881", "99")
"""Destinations: landlines, mobiles that are locked in part, one that one provider only knows, one that is bought and
not sold, one that nobody knows."""
QUARANTINED = 6
"""So many of the operator's first numbers are used by nobody."""

_STATUSES: tuple[NumberStatus, ...] = ("free", "reserved", "archive")


class Company(NamedTuple):
    """The operator as the engine is given it, and as an auditor is told of it."""

    settings: EngineSettings
    accounts: tuple[Account, ...]
    providers: tuple[Provider, ...]
    numbers: tuple[Number, ...]
    reference: Callable[[], Reference]
    """Makes a copy for each worker, as separate processes have their own."""

    def opening(self) -> dict[str, dict[str, Any]]:
        """Balance and credit limit of every account before the first event."""
        return {
            account.account_id: {
                "balance_micros": account.balance_micros,
                "credit_limit_micros": account.credit_limit_micros,
            }
            for account in self.accounts
        }

    def number_status(self) -> dict[str, str]:
        """Status of every number of the operator."""
        return {number.number: number.status for number in self.numbers}


def company(rng: Random) -> Company:
    """An operator of 8 to 20 accounts."""
    accounts = tuple(_account(rng, i) for i in range(rng.randint(8, 20)))
    providers = (
        Provider("north", "Север", 1, PLACE, False, False),
        Provider("south", "Юг", 2, None, False, False),
        Provider("own", "Своя сеть", 3, PLACE, False, True),
    )
    numbers = (
        *(_number(f"7495{i:07d}", _STATUSES[i % 3], None) for i in range(QUARANTINED)),
        *(_number(f"7495{7_000_000 + i}", "in_use", account.account_id) for i, account in enumerate(accounts)),
    )
    reference = partial(
        Reference,
        accounts=accounts,
        providers=providers,
        plans=(
            TariffPlan("city", (PlanList("retail", 2), PlanList("retail-44", 1)), False),
            TariffPlan("careful", (PlanList("retail", 1),), True),
        ),
        price_lists=(
            _list("retail", "retail", None, "up", 2),
            _list("retail-44", "retail", "south", "half_up", 4),
            _list("north", "wholesale", "north", "half_up", 6),
            _list("south", "wholesale", "south", "half_up", 6),
        ),
        prices=tuple(_prices(rng)),
        bands=(Band("night", (), 22 * 60, 6 * 60, (), "Europe/Moscow", 1),),
        locks=(
            _lock("premium", "prefix", "790055", None, None),
            _lock("nobody", "number", "74957777777", None, "north"),
            _lock("private", "prefix", "44", accounts[0].account_id, None),
        ),
        numbers=numbers,
        discounts=(
            Discount(accounts[1].account_id, None, 12_500_000, None, None),
            Discount(accounts[1].account_id, "forwarding", 33_000_000, None, None),
        ),
    )
    settings = EngineSettings(max_call_seconds=rng.choice((300, 1_800, 10_800)))
    return Company(settings, accounts, providers, numbers, reference)


def _account(rng: Random, i: int) -> Account:
    kind = ("poor", "rich", "credit", "poor", "rich", "empty")[i % 6]
    balance = {"poor": rng.randrange(1, 30 * RUB), "rich": 5_000 * RUB, "credit": -3 * RUB, "empty": 0}[kind]
    return Account(
        account_id=f"{rng.randrange(10**6):06d}-{i}",
        client_id=f"client-{i}",
        tariff_plan_id=rng.choice(("city", "city", "careful")),
        payment_mode="postpaid" if kind == "credit" else "prepaid",
        currency="RUB",
        balance_micros=balance,
        credit_limit_micros=20 * RUB if kind == "credit" else 0,
        critical_balance_micros=rng.choice((None, 2 * RUB)),
        status=rng.choice(("active",) * 14 + ("blocked", "closed")),
        place=rng.choice((None, PLACE)),
        max_concurrent_calls=rng.choice((None, None, 1, 3)),
    )


def _number(number: str, status: NumberStatus, account_id: str | None) -> Number:
    archived_on = "2026-10-01" if status == "archive" else None
    return Number(number, status, account_id, PLACE, None, "own", False, None, archived_on, "depends_on_ncv")


def _list(
    name: str, kind: Literal["retail", "wholesale"], provider: str | None, rounding: Any, decimals: int
) -> PriceList:
    return PriceList(name, name, kind, provider, "RUB", rounding, decimals, None, None)


def _lock(name: str, kind: Any, digits: str, account_id: str | None, provider_id: str | None) -> Lock:
    return Lock(name, kind, digits, account_id, provider_id, "ivanova", "fraud", "2026-11-01T00:00:00.000Z")


def _prices(rng: Random) -> list[PriceRow]:
    return [
        _row("retail", "7", rng.randrange(1, 3 * RUB), step=60),
        _row("retail", "7495", rng.randrange(1, RUB), step=1),
        _row("retail", "7495", RUB // 3, step=7, from_second=60),
        _row("retail", "7495", rng.randrange(1, RUB), step=1, band="night", connect_fee=RUB // 2),
        _row("retail", "7900", 2 * RUB, step=6, per=7, minimum=RUB, attempt_fee=10_000),
        _row("retail", "44", 30 * RUB, step=60, maximum=100 * RUB),
        _row("retail-44", "44", 20 * RUB, step=1, connect_fee=RUB),
        _row("retail", "", RUB, step=60, service="calls_rec"),
        _row("north", "7", RUB // 2, step=1),
        _row("north", "7900", 3 * RUB, step=60),
        _row("north", "881", RUB, step=1),
        _row("south", "7", rng.randrange(1, 2 * RUB), step=6, per=61),
        _row("south", "44", 15 * RUB, step=1),
    ]


def _row(
    price_list: str,
    prefix: str,
    price: int,
    *,
    step: int,
    per: int = 60,
    from_second: int = 0,
    band: str | None = None,
    connect_fee: int = 0,
    minimum: int | None = None,
    maximum: int | None = None,
    attempt_fee: int = 0,
    service: str | None = None,
) -> PriceRow:
    return PriceRow(
        price_list_id=price_list,
        prefix=prefix,
        service=service,
        place=None,
        incoming_service=None,
        band_id=band,
        from_second=from_second,
        connect_fee_micros=connect_fee,
        price_micros=price,
        per_seconds=per,
        step_seconds=step,
        min_charge_micros=minimum,
        max_charge_micros=maximum,
        valid_from=None,
        valid_to=None,
        attempt_fee_micros=attempt_fee,
    )
