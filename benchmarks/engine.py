"""The engine alone: events in as Structs, outputs and changelog out as bytes, in batches, on one core."""

import gc
import time
from collections.abc import Sequence

from benchmarks import decks
from benchmarks.measure import peak_mb, resident_mb, timed
from engine.partition import Partition
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.events import Event
from schemas.times import to_us

BATCH = 1_000
ATTEMPTS = 200_000


def run(prices: int, accounts: int, runs: int) -> dict[str, object]:
    """Decisions and CDRs per second with so many prices and accounts, and what the tables cost."""
    gc.collect()
    before_mb, started = resident_mb(), time.process_time()
    tables, pool = decks.reference(prices, accounts)
    build_seconds = time.process_time() - started
    gc.collect()
    tables_mb = resident_mb() - before_mb
    result: dict[str, object] = {
        "prices": prices,
        "prefixes": len(pool),
        "accounts": accounts,
        "build_seconds": round(build_seconds, 2),
        "tables_mb": round(tables_mb),
    }
    for spread in ("zipf", "uniform"):
        attempts = decks.attempts(ATTEMPTS, accounts, pool, uniform=spread == "uniform")
        cdrs = decks.cdrs(attempts)
        asked: list[tuple[Event, int]] = [(attempt, to_us(attempt.at)) for attempt in attempts]
        ended: list[tuple[Event, int]] = sorted(((cdr, to_us(cdr.ended_at)) for cdr in cdrs), key=lambda pair: pair[1])
        bench = _Bench(tables, asked, ended)
        result[f"decisions_{spread}"] = timed(bench.decide, runs, bench.fresh).as_dict(ATTEMPTS)
        result[f"cdrs_{spread}"] = timed(bench.rate, runs, bench.decided).as_dict(ATTEMPTS)
        result[f"decisions_{spread}_cold"] = timed(bench.decide, runs, bench.cold).as_dict(ATTEMPTS)
    result["peak_mb"] = round(peak_mb())
    return result


class _Bench:
    """One partition and the events that go through it."""

    def __init__(
        self, tables: Reference, attempts: Sequence[tuple[Event, int]], cdrs: Sequence[tuple[Event, int]]
    ) -> None:
        self._tables = tables
        self._attempts = attempts
        self._cdrs = cdrs
        self.fresh()

    def fresh(self) -> None:
        """An empty partition; what the tables remember of former look-ups stays."""
        self._partition = Partition(EngineSettings(), self._tables)

    def cold(self) -> None:
        """As after a change of prices: nothing is remembered."""
        self.fresh()
        self._tables.offers.forget()

    def decided(self) -> None:
        """A partition that has decided all attempts."""
        self.fresh()
        self.decide()

    def decide(self) -> None:
        work(self._partition, self._attempts)

    def rate(self) -> None:
        work(self._partition, self._cdrs)


def work(partition: Partition, events: Sequence[tuple[Event, int]]) -> None:
    """Runs events through a partition in batches, as the worker does."""
    handle = partition.handle
    for start in range(0, len(events), BATCH):
        for event, now_us in events[start : start + BATCH]:
            refusal = handle(event, now_us)
            assert refusal is None, refusal
        partition.close_batch()
        partition.take_outbox()
        partition.take_changes()
