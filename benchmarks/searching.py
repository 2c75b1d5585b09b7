"""What the benchmarks of searches share: a PostgreSQL of their own with many rows, times of a query, and its plan."""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connectors.postgres.database import Connection, connection, open_database
from connectors.settings import DatabaseSettings

FOLDER = "TOLLGATE_BENCH_FOLDER"
"""Where there is room for many rows; else the system's folder for temporary files."""

WARM_UP = 10


def rows_wanted(variable: str, usual: int) -> int:
    """How many rows a benchmark makes: as its variable says. Raises ValueError for what is no number above zero."""
    text = os.environ.get(variable, "")
    if not text:
        return usual
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{variable} is {text!r}; write a number of rows, such as {usual}")
    return int(text)


@asynccontextmanager
async def own_database() -> AsyncIterator[Connection]:
    """A connection with the owner's rights to a migrated database that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=os.environ.get(FOLDER) or None) as folder:
        settings = DatabaseSettings(data_dir=Path(folder) / "postgresql")
        async with open_database(settings, role=None), connection(settings) as found:
            await found.execute("SET maintenance_work_mem = '512MB'")
            yield found


async def without_indexes(connected: Connection, table: str, fill: str, *arguments: object) -> None:
    """Fills a table and makes its indexes afterwards, as they were: ten times as fast. `fill` is a statement."""
    rows = await connected.fetch(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i "
        "WHERE i.indrelid = $1::regclass AND NOT i.indisprimary",
        table,
    )
    for name, _ in rows:
        await connected.execute(f"DROP INDEX {name}")
    await connected.execute(fill, *arguments)
    for _, definition in rows:
        await connected.execute(definition.replace(" ON ONLY ", " ON "))


async def times(connected: Connection, query: str, asked: Iterable[Sequence[object]]) -> dict[str, object]:
    """Milliseconds of a query, asked again and again with other arguments as a process asks it, and how many rows."""
    took, rows = [], []
    for number, arguments in enumerate(asked):
        began = time.perf_counter()
        found = await connected.fetch(query, *arguments)
        if number >= WARM_UP:
            took.append((time.perf_counter() - began) * 1000)
            rows.append(len(found))
    took.sort()
    return {
        "searches": len(took),
        "p50_ms": round(took[len(took) // 2], 2),
        "p99_ms": round(took[min(len(took) * 99 // 100, len(took) - 1)], 2),
        "longest_ms": round(took[-1], 2),
        "rows": round(sum(rows) / len(rows), 1),
    }


async def plan(connected: Connection, query: str, arguments: Sequence[Any]) -> list[str]:
    """How the server goes about it, and what it has found on the way."""
    rows = await connected.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {query}", *arguments)
    return [row[0] for row in rows]
