"""The worker as it is deployed, in a process of its own: takes partitions, works off what comes, tells the cost.

What it hears: `hold` (touch nothing until the next word), `work` (so many records, then tell), `report` (what has been
done since the last report), `end`. In between it works on, as a worker does.
"""

import asyncio
import gc
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import decks
from benchmarks.measure import resident_mb
from benchmarks.pipeline.lines import Line
from benchmarks.pipeline.sampling import Sampler
from benchmarks.pipeline.trouble import BenchmarkFailed
from connectors.kafka.broker import KafkaBroker
from connectors.metrics import EngineMetrics
from connectors.partition_task import Batch, PartitionTask
from connectors.settings import KafkaSettings
from connectors.worker import Unobserved, Worker
from engine.settings import EngineSettings
from schemas import topics

_IDLE_SECONDS = 0.2


class WorkerArguments(Struct):
    """What a worker is started with. `sampled`: whether it looks where its time goes."""

    bootstrap: str
    prefix: str
    prices: int
    accounts: int
    max_records: int
    sampled: bool = False


class _Watch(Unobserved):
    """Keeps the product's own metrics, as in a deployment, and what the benchmark asks for besides."""

    def __init__(self) -> None:
        self.metrics: Any = EngineMetrics()
        self.restored: list[tuple[int, float]] = []
        self.timed = True
        """Whether each record's way is timed: in a backlog that means nothing, and costs."""
        self.first_commit = 0.0
        self.begin()

    def begin(self) -> None:
        """Counts from zero again."""
        self.records = self.batches = 0
        self.engine_seconds = self.transaction_seconds = 0.0
        self.waited_us: list[int] = []
        self.transactions: list[float] = []

    def observe(self, batch: Batch) -> None:
        self.metrics.observe(batch)
        if batch.outputs and batch.outputs[-1].topic == topics.REJECTED_EVENTS.name:
            raise BenchmarkFailed(f"an event was rejected: {batch.outputs[-1].record}")
        self.first_commit = self.first_commit or time.perf_counter()
        self.records += len(batch.records)
        self.batches += 1
        self.engine_seconds += batch.engine_seconds
        self.transaction_seconds += batch.transaction_seconds
        self.transactions.append(batch.transaction_seconds)
        if self.timed:
            now_us = time.time_ns() // 1000
            self.waited_us += [now_us - record.timestamp_us for record in batch.records]

    def taken(self, task: PartitionTask) -> None:
        self.metrics.taken(task)
        self.restored.append((task.restored_records, task.restore_seconds))


def percentiles(values: Sequence[float], *shares: float) -> list[float]:
    """The smallest value that so large a share of all values does not exceed."""
    ordered = sorted(values)
    return [ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in shares]


async def worker(arguments: WorkerArguments, line: Line) -> None:
    """Runs until it hears `end`. Says `ready` with its partitions whenever they have changed, `taken` the first time,
    and `committed` with the seconds from its start to its first commit."""
    reference, _ = decks.reference(arguments.prices, arguments.accounts)
    gc.collect()
    gc.freeze()
    # As the product's commands have it.
    gc.set_threshold(50_000, 20, 100)
    broker = KafkaBroker({"bootstrap_servers": arguments.bootstrap}, prefix=arguments.prefix)
    await broker.start()
    watch = _Watch()
    works = Worker(
        broker,
        EngineSettings(),
        reference,
        observer=watch,
        max_records=arguments.max_records,
        interval_seconds=KafkaSettings().batch_interval_ms / 1000,
    )
    watch.metrics.watch(works)
    try:
        await _obey(works, watch, line, sampled=arguments.sampled)
    finally:
        await works.close()
        await broker.close()


async def _obey(works: Worker, watch: _Watch, line: Line, *, sampled: bool) -> None:
    before_mb = resident_mb()
    # The peak from here on is that of the restoring alone.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    started = time.perf_counter()
    spent = time.process_time()
    await works.start()
    told: list[int] = []
    said_commit = False
    while True:
        hearing = asyncio.ensure_future(line.hear())
        while not hearing.done():
            await works.turn(_IDLE_SECONDS)
            if works.ready and (mine := sorted(works.tasks)) != told:
                if not told:
                    line.say(
                        taken=_taken(watch, before_mb)
                        | {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - spent}
                    )
                told = mine
                line.say(ready=mine)
            if watch.first_commit and not said_commit:
                said_commit = True
                line.say(committed=watch.first_commit - started)
        said = hearing.result()
        match said["do"]:
            case "hold":
                # Nothing is taken from the consumer until the next word is there.
                line.say(holding=True)
                said = await line.hear()
            case "report":
                line.say(report=_report(watch, spent))
                watch.begin()
                spent = time.process_time()
        match said["do"]:
            case "work":
                line.say(worked=await _work(works, watch, said["records"], sampled=sampled))
            case "end":
                return


async def _work(works: Worker, watch: _Watch, records: int, *, sampled: bool) -> dict[str, object]:
    watch.begin()
    watch.timed = False
    sampler = Sampler()
    started, spent = time.perf_counter(), time.process_time()
    if sampled:
        sampler.start()
    while watch.records < records:
        await works.turn(_IDLE_SECONDS)
    shares = sampler.stop() if sampled else {}
    watch.timed = True
    assert watch.records == records, f"{watch.records} records came where {records} were to come"
    report = _report(watch, spent) | {"wall_seconds": time.perf_counter() - started}
    return report | {"shares": shares} if sampled else report


def _taken(watch: _Watch, before_mb: float) -> dict[str, object]:
    """From joining the group to working on all partitions."""
    return {
        "restored_records": sum(records for records, _ in watch.restored),
        "restore_seconds": sum(took for _, took in watch.restored),
        "before_mb": before_mb,
        "after_mb": resident_mb(),
        "peak_mb": _peak_mb(),
    }


def _report(watch: _Watch, spent: float) -> dict[str, object]:
    found: dict[str, object] = {
        "records": watch.records,
        "batches": watch.batches,
        "cpu_seconds": time.process_time() - spent,
        "engine_seconds": watch.engine_seconds,
        "transaction_seconds": watch.transaction_seconds,
    }
    if watch.waited_us:
        waited = percentiles(watch.waited_us, 0.5, 0.99, 0.999, 1.0)
        found["record_to_commit_ms"] = dict(
            zip(("p50", "p99", "p999", "max"), (us / 1000 for us in waited), strict=True)
        )
        median, p99 = percentiles(watch.transactions, 0.5, 0.99)
        found["transaction_ms"] = {"p50": median * 1000, "p99": p99 * 1000}
    return found


def _peak_mb() -> float:
    for text in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if text.startswith("VmHWM:"):
            return int(text.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
