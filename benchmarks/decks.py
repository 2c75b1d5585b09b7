"""Decks and traffic for the benchmarks: as many prices and accounts as asked for, the same from run to run.

A small and a large deck differ in nothing but the number of prefixes: each number has a price of every provider, so a
decision is as long with one as with the other.
"""

from collections.abc import Iterator
from itertools import accumulate
from random import Random

from engine.reference import Reference
from schemas.events import CallAttempt, Cdr
from schemas.reference import Account, Lock, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import MINUTE_US, SECOND_US, to_text, to_us

PROVIDERS = 8
START_US = to_us("2026-11-24T09:00:00.000Z")
_HEADS = ("7495", "7499", "7812", "7916", "7985", "7903", "381", "49", "44", "1", "90", "86", "380", "375", "998", "33")


def prefixes(count: int, rng: Random) -> list[str]:
    """Distinct prefixes under real country and area codes, of 4 to 11 digits, the longer the more there are."""
    found: dict[str, None] = dict.fromkeys(_HEADS[:count])
    digits = 5
    while len(found) < count:
        for _ in range(min(count - len(found), 10 ** (digits - 2))):
            head = rng.choice(_HEADS)
            found[f"{head}{rng.randrange(10**digits):0{digits}d}"[:digits]] = None
        digits = min(digits + 1, 11)
    return list(found)


def price_rows(prices: int, rng: Random) -> tuple[list[PriceList], Iterator[PriceRow], list[str]]:
    """`prices` rows over one retail and the providers' wholesale lists, all on the same prefixes."""
    lists = [PriceList("R", "retail", "retail", None, "RUB", "half_up", 2, None, None)]
    lists += [
        PriceList(f"W{n}", f"wholesale {n}", "wholesale", f"p{n}", "RUB", "half_up", 6, None, None)
        for n in range(PROVIDERS)
    ]
    pool = prefixes(prices // len(lists), rng)
    return lists, _rows(lists, pool, prices, rng), pool


def _rows(lists: list[PriceList], pool: list[str], prices: int, rng: Random) -> Iterator[PriceRow]:
    done = 0
    for price_list in lists:
        wholesale = price_list.kind == "wholesale"
        for prefix in pool:
            if done == prices:
                return
            done += 1
            # Tenths of a kopeck, as carriers quote.
            price = rng.randrange(300, 9000) * 1000 + (0 if wholesale else 9_000_000)
            yield PriceRow(
                price_list.price_list_id, prefix, "outgoing", None, None, None, 0, 0, price, 60,
                1 if wholesale else 60, None, None, None, None,
            )  # fmt: skip


def reference(prices: int, accounts: int, seed: int = 1) -> tuple[Reference, list[str]]:
    """The tables of a deck, and its prefixes."""
    rng = Random(seed)
    lists, rows, pool = price_rows(prices, rng)
    tables = Reference(
        accounts=(
            Account(str(100_000 + n), f"c{n}", "P", "prepaid", "RUB", 10**13, 0, None, "active", "msk", None)
            for n in range(accounts)
        ),
        providers=[Provider(f"p{n}", f"provider {n}", n, None, pdgi=False, own=False) for n in range(PROVIDERS)],
        plans=[TariffPlan("P", (PlanList("R", 1),), forbid_loss=False)],
        price_lists=lists,
        prices=rows,
        locks=[
            Lock(f"L{n}", "prefix", f"88{n:03d}", None, None, "author", "premium", "2026-01-01T00:00:00.000Z")
            for n in range(200)
        ],
    )
    return tables, pool


def zipf(count: int, rng: Random, size: int) -> list[int]:
    """`size` places out of `count`, the first ones most often: as calls spread over accounts and destinations."""
    weights = list(accumulate(1 / (place + 5) for place in range(count)))
    return rng.choices(range(count), cum_weights=weights, k=size)


def attempts(count: int, accounts: int, pool: list[str], seed: int = 2, *, uniform: bool = False) -> list[CallAttempt]:
    """Set-ups, a thousand a second; `uniform` spreads them evenly over all prefixes, the hardest case for memories."""
    rng = Random(seed)
    callers = zipf(accounts, rng, count)
    places = [rng.randrange(len(pool)) for _ in range(count)] if uniform else zipf(len(pool), rng, count)
    return [
        CallAttempt(
            attempt_id=f"a{n}",
            switch_id="msk-1",
            at=to_text(START_US + n * 1000),
            service="outgoing",
            called=f"{pool[places[n]]}{rng.randrange(10**7):07d}"[:11],
            account_id=str(100_000 + callers[n]),
            caller="74951234567",
            place="msk",
        )
        for n in range(count)
    ]


def cdrs(of: list[CallAttempt], seed: int = 3) -> list[Cdr]:
    """The attempts' CDRs, all of them answered, of one second to ten minutes."""
    rng = Random(seed)
    found = []
    for n, attempt in enumerate(of):
        started_us = to_us(attempt.at)
        seconds = rng.randrange(1, 600)
        found.append(
            Cdr(
                cdr_id=f"c{n}",
                switch_id=attempt.switch_id,
                service=attempt.service,
                called=attempt.called,
                started_at=attempt.at,
                answered_at=to_text(started_us + 5 * SECOND_US),
                ended_at=to_text(started_us + (5 + seconds) * SECOND_US),
                attempt_id=attempt.attempt_id,
                account_id=attempt.account_id,
                caller=attempt.caller,
                place=attempt.place,
                provider_id=f"p{rng.randrange(PROVIDERS)}",
                billable_seconds=seconds,
                cause="normal",
            )
        )
    assert START_US % MINUTE_US == 0
    return found
