"""How quickly numbers are found among millions: the searches of sellers and the job that empties the quarantine, on a
PostgreSQL of its own; with the plans, so that it can be seen which index each of them takes.
"""

import asyncio
import re
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from backoffice.numbers.availability import GREEN, RED, Availability
from backoffice.numbers.search import Wanted
from backoffice.numbers.settings import NumbersSettings
from connectors.postgres.database import Connection, open_database
from connectors.postgres.numbers import Looks
from connectors.postgres.numbers_query import search_query
from connectors.postgres.queries import sql
from connectors.postgres.server import EmbeddedServer
from connectors.settings import DatabaseSettings
from engine.ncv import AGENTS_PLACE
from engine.settings import EngineSettings

TODAY = date(2026, 11, 24)

_NUMBERS = """
INSERT INTO office.numbers (
    number, status, account_id, place, region, fmtn, joined_on, archived_on, saleable, changed_at, changed_by,
    change_reason
)
SELECT (74950000000 + n * 7)::text,
    CASE WHEN n % 100 < 60 THEN 'in_use' WHEN n % 100 < 85 THEN 'free' WHEN n % 100 < 88 THEN 'reserved'
        ELSE 'archive' END,
    CASE WHEN n % 100 < 60 THEN 'A' END, NULL, 'region ' || n % 85, n % 5000 = 4967, '2015-01-01',
    CASE WHEN n % 100 >= 60 AND n % 3 > 0 THEN '2026-11-20'::date - (n % 900)::integer END,
    CASE WHEN n % 4000 = 61 THEN 'no' ELSE 'depends_on_ncv' END, '2026-11-20', 'benchmark', 'benchmark'
FROM generate_series(1, $1) AS n
"""
_CALLS = """
INSERT INTO facts.ncv
SELECT (74950000000 + n * 7)::text, d::date, 1 + n % 5, 1, d, d, 0, 0
FROM generate_series(1, $1) AS n, generate_series($2::date - 40, $2::date, interval '1 day') AS d
WHERE n % 100 >= 60 AND n / 100 % 10 < 3 AND (n / 100 + extract(doy FROM d)::integer) % 20 = n % 20
"""
SEARCHES: dict[str, tuple[Wanted, int]] = {
    "one number": (Wanted(pattern="74951234562"), 1),
    "green, free, a region, %555%": (
        Wanted(("free",), "%555%", GREEN, region="region 7"),
        5_000,
    ),
    "green, free, %555%": (Wanted(("free",), "%555%", GREEN), 5_000),
    "green, free": (Wanted(("free",), None, GREEN), 5_000),
    "red, any status, a region": (Wanted(availabilities=RED, region="region 7"), 5_000),
    "ncv ignored": (Wanted(availabilities=frozenset[Availability]({"ncv_ignored"})), 5_000),
    "has NCV, archive, 7495%": (
        Wanted(("archive",), "7495%", frozenset[Availability]({"has_ncv"})),
        5_000,
    ),
    "nothing there: %0000000%": (Wanted(("free",), "%0000000%", GREEN), 100),
}


def run(numbers: int, runs: int = 5) -> dict[str, object]:
    """Seconds of each search among so many numbers: its rows, its count, its plan."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        data_dir = Path(folder) / "postgresql"
        try:
            return asyncio.run(_measure(numbers, runs, data_dir))
        finally:
            # A server with millions of rows takes a while to end.
            server = EmbeddedServer(data_dir)
            server.close()
            server.wait_stopped()


async def _measure(numbers: int, runs: int, data_dir: Path) -> dict[str, object]:
    settings = DatabaseSettings(data_dir=data_dir, statement_timeout_ms=3_600_000)
    found: dict[str, object] = {"numbers": numbers}
    async with open_database(settings, role=None) as database, database.pool.acquire() as connection:
        await _fill(connection, numbers)
        found["calls_rows"] = await connection.fetchval("SELECT count(*) FROM facts.ncv")
        async with connection.transaction(readonly=True):
            looks = Looks(connection, today=TODAY, numbers=NumbersSettings(), engine=EngineSettings())
            for name, (wanted, limit) in SEARCHES.items():
                found[name] = await _search(connection, looks, wanted, limit, runs)
        found["a step of the night"] = await _night(connection, looks, runs)
    return found


async def _fill(connection: Connection, numbers: int) -> None:
    # Histories and guards are not what is measured.
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(_NUMBERS, numbers)
    await connection.execute(_CALLS, numbers, TODAY)
    await connection.execute(
        "INSERT INTO office.ncv_days SELECT d, d, 'benchmark', 'benchmark', 0, 0"
        " FROM generate_series($1::date, $2::date, interval '1 day') AS d",
        TODAY - timedelta(days=400),
        TODAY - timedelta(days=1),
    )
    await connection.execute("SET session_replication_role = origin")
    await connection.execute("VACUUM ANALYZE office.numbers, facts.ncv, office.ncv_days")


async def _search(connection: Connection, looks: Looks, wanted: Wanted, limit: int, runs: int) -> dict[str, object]:
    rows_seconds, count_seconds, rows, count = [], [], 0, 0
    for number in range(runs + 1):
        started = time.perf_counter()
        rows = len(await looks.search(wanted, "", limit))
        between = time.perf_counter()
        count = await looks.count(wanted)
        if number:
            rows_seconds.append(between - started)
            count_seconds.append(time.perf_counter() - between)
    terms = await looks.terms(wanted)
    plan = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {search_query(wanted)}", "", limit, *terms)
    return {
        "rows": rows,
        "rows_ms": round(median(rows_seconds) * 1_000, 1),
        "count": count,
        "count_ms": round(median(count_seconds) * 1_000, 1),
        "plan": _plan(plan),
    }


async def _night(connection: Connection, looks: Looks, runs: int) -> dict[str, object]:
    days = await looks.collected()
    terms = ("", 500, TODAY, *looks.cuts(days), None, AGENTS_PLACE)
    seconds = []
    rows: list[object] = []
    for _ in range(runs):
        started = time.perf_counter()
        rows = list(await connection.fetch(sql("numbers/resting"), *terms))
        seconds.append(time.perf_counter() - started)
    plan = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {sql('numbers/resting')}", *terms)
    return {"rows": len(rows), "rows_ms": round(median(seconds) * 1_000, 1), "plan": _plan(plan)}


def _plan(rows: list[object]) -> list[str]:
    """The plan's nodes, without what differs from run to run."""
    lines = [str(row[0]) for row in rows]  # type: ignore[index]
    return [
        re.sub(r"\s+\(cost.*?\)", "", line).rstrip()
        for line in lines
        if "->" in line or "Scan" in line or "Execution Time" in line or line.startswith("Limit")
    ]
