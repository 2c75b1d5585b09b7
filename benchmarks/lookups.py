"""Look-ups: the candidates of all providers for a number, and the locks that cover it."""

from random import Random

from benchmarks.measure import peak_mb, timed
from engine.locks import found
from engine.prefixes import PrefixTable
from engine.prices import ListTerms, Price, PriceTable, Scope
from engine.tariffs import NO_END, Rate, Tariff
from schemas.decisions import LockFound
from schemas.reference import Lock

LOOKUPS = 200_000


def run(prefixes: int, runs: int) -> dict[str, object]:
    """Look-ups per second among so many prefixes, longest prefix and every covering mask; one change of a prefix."""
    from benchmarks.decks import prefixes as make_prefixes

    rng = Random(1)
    pool = make_prefixes(prefixes, rng)
    terms = ListTerms("W", "W", "p", "half_up", 6, 1, 0, NO_END)
    scope = Scope(None, None, None, 0, NO_END, 0, NO_END)
    tariff = Tariff([Rate(None, 0, 0, 1_000_000, 60, 1, None, None, 0)], {})
    table = PriceTable({prefix: (Price(prefix, terms, scope, tariff),) for prefix in pool})
    numbers = [f"{rng.choice(pool)}{rng.randrange(10**9)}"[:11] for _ in range(LOOKUPS)]

    def look_up() -> None:
        candidates = table.candidates
        for number in numbers:
            candidates(number)

    masks: PrefixTable[LockFound] = PrefixTable(lambda lock: lock.digits, lambda inherited, own: inherited + own)
    for place in range(2_000):
        mask = pool[place][: rng.randrange(2, 7)]
        masks.put(found(Lock(f"L{place}", "prefix", mask, None, None, "a", "r", "2026-01-01T00:00:00.000Z")))

    def cover() -> None:
        find = masks.find
        for number in numbers:
            find(number)

    changes = [Price(rng.choice(pool), terms, scope, tariff) for _ in range(2_000)]

    def change() -> None:
        for version, price in enumerate(changes, start=1):
            table.put(price, version)

    return {
        "prefixes": prefixes,
        "lookups": timed(look_up, runs).as_dict(LOOKUPS),
        "lock_lookups": timed(cover, runs).as_dict(LOOKUPS),
        "changes": timed(change, runs).as_dict(len(changes)),
        "peak_mb": round(peak_mb()),
    }
