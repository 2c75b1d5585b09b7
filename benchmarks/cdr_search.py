"""How long a search of calls takes (§2.5) among very many: by service alone, account, dialled number, and both; the
latest page, a page in the middle of the archive, and one that finds nothing. With the queries of the API and its pages.

A year of calls of 100 000 accounts, busy ones and quiet ones, made by the database itself; how many says the variable
TOLLGATE_BENCH_CDRS. 50 000 000 take some 40 GB and an hour.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from random import Random

from benchmarks.searching import own_database, plan, rows_wanted, times, without_indexes
from connectors.postgres.database import Connection
from connectors.postgres.queries import sql

ROWS = "TOLLGATE_BENCH_CDRS"
USUAL_ROWS = 5_000_000
ACCOUNTS = 100_000
NUMBERS = 1_000_000
MONTHS = 12
PAGE = 101
"""What the API asks for: a page of a hundred, and one to know whether there are more."""

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
_SINCE = datetime(2025, 12, 1, tzinfo=UTC)
_FIRST = (datetime(2099, 1, 1, tzinfo=UTC), "\U0010ffff", 2**31)

# A third of the accounts makes most of the calls; nine calls of ten are ordinary ones.
_FILL = """
INSERT INTO facts.rated_cdrs (
    ended_at, started_at, answered_at, recorded_at, source_offset, retail_micros, wholesale_micros, margin_micros,
    balance_after_micros, reference_version, source_partition, billable_seconds, late, no_attempt, denied, emergency,
    negative_margin, cdr_id, attempt_id, switch_id, account_id, service, caller, called, provider_id, cause,
    retail_list_id, retail_prefix, wholesale_list_id, wholesale_prefix, record
)
SELECT ended, ended - seconds * interval '1 second', ended - seconds * interval '1 second', ended, n, 1000000, 600000,
       400000, 5000000, 7, n % 16, seconds, false, false, false, false, false, 'c-' || md5(n::text), 'a-' || n, 'msk-1',
       (100000 + floor(power(random(), 2) * {accounts}))::bigint::text,
       (ARRAY['outgoing', 'outgoing', 'outgoing', 'outgoing', 'outgoing', 'outgoing', 'outgoing', 'forwarding',
              'calls_rec', 'calls_rec_unlim'])[1 + floor(random() * 10)::int],
       '74951000000', (74950000000 + floor(power(random(), 3) * {numbers}))::bigint::text, 'megafon', 'normal',
       'R-1', '7495', 'W-MEG', '7495', decode(repeat('7b', 200), 'hex')
FROM (
    SELECT n, $1::timestamptz + (n::float8 / {rows}) * ($2::timestamptz - $1) AS ended, (random() * 300)::int AS seconds
    FROM generate_series(1, {rows}) AS n
) AS calls
"""


def run(runs: int = 1) -> dict[str, object]:
    """Makes the rows and searches; two hundred searches of each kind for each run."""
    return asyncio.run(_measure(rows_wanted(ROWS, USUAL_ROWS), 200 * runs))


async def _measure(rows: int, searches: int) -> dict[str, object]:
    async with own_database() as connected:
        began = time.perf_counter()
        for month in range(MONTHS + 1):
            day = _SINCE + timedelta(days=31 * month)
            await connected.execute("SELECT facts.ensure_month($1)", day.date())
        fill = _FILL.format(rows=rows, accounts=ACCOUNTS, numbers=NUMBERS)
        await without_indexes(connected, "facts.rated_cdrs", fill, _SINCE, NOW)
        await connected.execute("VACUUM ANALYZE facts.rated_cdrs")
        made = time.perf_counter() - began
        size = await connected.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
            "WHERE inhparent = 'facts.rated_cdrs'::regclass"
        )
        found: dict[str, object] = {}
        plans: dict[str, list[str]] = {}
        for name, query, asked in await _searches(connected, searches):
            found[name] = await times(connected, query, asked)
            plans[name] = await plan(connected, query, asked[-1])
        return {
            "rows": rows,
            "made_in_s": round(made, 1),
            "gigabytes": round(float(size) / 1e9, 2),
            "searches": found,
            "plans": plans,
        }


async def _searches(connected: Connection, count: int) -> list[tuple[str, str, list[tuple[object, ...]]]]:
    """Names, queries, and what is asked: accounts and numbers of calls that there are, so that busy ones come often."""
    some = await connected.fetch(
        "SELECT account_id, called FROM facts.rated_cdrs TABLESAMPLE SYSTEM (2) LIMIT $1", count * 20
    )
    chance = Random(1)
    chance.shuffle(some)
    some = some[:count]
    services = ("outgoing", "calls_rec", "calls_rec_unlim")
    whole = (_SINCE, NOW)

    def month() -> tuple[datetime, datetime]:
        begins = _SINCE + timedelta(days=chance.randrange(300))
        return begins, begins + timedelta(days=30)

    def asked(*own: str, period: str) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for number, row in enumerate(some):
            values = [row[name] for name in own]
            first, last = whole if period == "year" else month()
            place = _FIRST if period != "deep" else (last, "", 0)
            found.append((services[number % 3], *values, first, last, *place, PAGE))
        return found

    names: dict[str, tuple[str, ...]] = {
        "by_service": (),
        "by_account": ("account_id",),
        "by_called": ("called",),
        "by_account_and_called": ("account_id", "called"),
    }
    kinds = [
        (f"{name}, {period}", sql(f"cdrs/{name}"), asked(*own, period=period))
        for name, own in names.items()
        for period in ("year", "month", "deep")
    ]
    nobody: list[tuple[object, ...]] = [
        (services[n % 3], f"{900_000 + n}", *whole, *_FIRST, PAGE) for n in range(count)
    ]
    return [*kinds, ("by_account, nothing found, year", sql("cdrs/by_account"), nobody)]
