"""Reference data over a broker: publishing, starting, and changes coming into force while calls are decided.

A partition decides attempts in a loop, in slices as a worker's batches are, on the same event loop as the reader; the
longest time between two decisions says what a change costs those who call. Which broker it is, the caller says.
"""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks import decks
from benchmarks.measure import peak_mb, resident_mb
from connectors.broker import Broker
from connectors.files.reference_folder import ReferenceFolder
from connectors.kafka.admin import connect
from connectors.kafka.door import open_broker
from connectors.kafka.topic_plan import plan
from connectors.memory import MemoryBroker
from connectors.reference.publisher import ReferencePublisher
from connectors.reference.reader import InForce, ReferenceReader
from connectors.settings import KafkaSettings
from deploy.kafka.local import LocalKafka
from engine.partition import Partition
from engine.settings import EngineSettings
from schemas import topics
from schemas.reference import Account, Lock, PlanList, PriceRow, Provider, TariffPlan
from schemas.times import to_text

ACCOUNTS = 1_000
SLICE = 20
"""Attempts decided before other tasks get their turn: about a millisecond."""

LOCKS = 20
LEAD_SECONDS = 15.0
"""A worker that does nothing but decide makes a million prices in it."""


class Gaps(NamedTuple):
    """What the calls saw of a change."""

    decisions: int
    seconds: float
    longest_ms: float
    """The longest time between two decisions."""

    longest_cpu_ms: float
    """The same in processor time of the whole process: what other processes take from a busy machine is left out."""

    p999_cpu_ms: float

    def as_dict(self) -> dict[str, object]:
        return {
            "decisions_per_second": round(self.decisions / self.seconds),
            "longest_gap_ms": round(self.longest_ms, 2),
            "longest_gap_cpu_ms": round(self.longest_cpu_ms, 2),
            "p999_gap_cpu_ms": round(self.p999_cpu_ms, 2),
        }


def run(prices: int, runs: int = 1, broker: Broker | None = None) -> dict[str, object]:
    """One run: a change of a million prices takes long enough. In memory, unless another broker is told."""
    del runs
    there = broker or MemoryBroker({topics.REFERENCE.name: 1}, compacted=[topics.REFERENCE.name])
    # As the command line sets it.
    gc.set_threshold(50_000, 20, 100)
    return asyncio.run(measure(there, prices))


def run_on_kafka(prices: int, runs: int = 1) -> dict[str, object]:
    """The same on a Kafka of its own, which needs Java. Raises KafkaTrouble."""
    del runs
    gc.set_threshold(50_000, 20, 100)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        kafka = LocalKafka(Path(folder), heap_mb=512, compiled_well=True)
        kafka.start()
        try:
            return asyncio.run(_measure_on_kafka(kafka.bootstrap, prices))
        finally:
            kafka.stop()


async def _measure_on_kafka(bootstrap: str, prices: int) -> dict[str, object]:
    settings = KafkaSettings(bootstrap_servers=(bootstrap,), replication_factor=1)
    async with connect(settings) as admin:
        await admin.create(plan(await admin.describe(), settings, partitions=1, copies=1))
    async with open_broker(settings) as broker:
        return {"kafka": True, **await measure(broker, prices)}


async def measure(broker: Broker, prices: int) -> dict[str, object]:
    """All numbers, one after the other, on one topic that was empty."""
    folder, pool = _folder(prices)
    found: dict[str, object] = {"prices": prices}
    calls: list[_Calls] = []

    async def aside(work: Callable[[], Any]) -> Any:
        packed = await asyncio.to_thread(work)
        # A publisher packs in a process of its own: what that took from the calls here does not count.
        for attempts in calls:
            attempts.start_over()
        return packed

    publisher = await ReferencePublisher.open(broker, author="benchmark", aside=aside)
    started = time.perf_counter()
    report = await publisher.publish_folder(folder, lead_seconds=0)
    found["publish_seconds"] = round(time.perf_counter() - started, 2)
    found["chunks"] = report.chunks_sent

    before_mb = resident_mb()
    told: list[InForce] = []
    reader = ReferenceReader(broker, observe=told.append)
    started, started_cpu = time.perf_counter(), time.process_time()
    await reader.start()
    found["start_seconds"] = round(time.perf_counter() - started, 2)
    found["start_cpu_seconds"] = round(time.process_time() - started_cpu, 2)
    found["start_mb"] = round(resident_mb() - before_mb)
    found["chunk_store_mb"] = round(reader.status().chunk_bytes / 1e6, 1)

    following = asyncio.create_task(reader.run())
    calls.append(_Calls(reader, pool))
    deciding = asyncio.create_task(calls[0].run())
    await asyncio.sleep(2)
    found["undisturbed"] = calls[0].seen().as_dict()
    try:
        for name, lead_seconds in (("staged", LEAD_SECONDS), ("not_staged", 0.0), ("without_calls", 0.0)):
            folder = _dearer(folder)
            calls[0].paused = name == "without_calls"
            report = await publisher.publish_folder(folder, lead_seconds=lead_seconds)
            await reader.reached(report.version, 120)
            found[f"all_prices_{name}"] = {
                "seconds_to_in_force": round(told[-1].seconds, 3),
                "beforehand": told[-1].beforehand,
                **({} if calls[0].paused else {"calls": calls[0].seen().as_dict()}),
            }
        calls[0].paused = False
        await asyncio.sleep(1)
        calls[0].start_over()
        waits = []
        for number in range(LOCKS):
            report = await publisher.put(_lock(number))
            await reader.reached(report.version, 30)
            waits.append(told[-1].seconds * 1000)
        found["lock_ms"] = {"median": round(sorted(waits)[LOCKS // 2], 1), "longest": round(max(waits), 1)}
        found["locks"] = calls[0].seen().as_dict()
        one = [row for row in folder.prices if row.price_list_id == "R"]
        one[len(one) // 2] = replace(one[len(one) // 2], price_micros=123_000)
        report = await publisher.put_price_list(folder.price_lists["R"], one, lead_seconds=0)
        await reader.reached(report.version, 30)
        found["one_price"] = {"seconds": round(told[-1].seconds, 3), "chunks": report.chunks_sent}
        found["one_price_gaps"] = calls[0].seen().as_dict()
    finally:
        for task in (deciding, following):
            task.cancel()
        await asyncio.wait([deciding, following])
        await publisher.close()
    for task in (deciding, following):
        if not task.cancelled() and task.exception() is not None:
            raise task.exception() or AssertionError
    found["peak_mb"] = round(peak_mb())
    return found


class _Calls:
    """Attempts without end, decided in slices."""

    def __init__(self, reader: ReferenceReader, pool: list[str]) -> None:
        self._reader = reader
        self._attempts = decks.attempts(20_000, ACCOUNTS, pool, uniform=True)
        self.paused = False
        self._gaps: list[float] = []
        self._longest = self._begun = self._last_wall = self._last_cpu = 0.0
        self.start_over()

    async def run(self) -> None:
        partition = Partition(EngineSettings(), self._reader.reference)
        wall, cpu = time.perf_counter, time.process_time
        number = 0
        while True:
            while self.paused:
                await asyncio.sleep(0.01)
            for _ in range(SLICE):
                attempt = self._attempts[number % len(self._attempts)]
                now_us = decks.START_US + number * 1000
                partition.handle(replace(attempt, attempt_id=f"n{number}", at=to_text(now_us)), now_us)
                number += 1
                now_wall, now_cpu = wall(), cpu()
                self._longest = max(self._longest, now_wall - self._last_wall)
                self._gaps.append(now_cpu - self._last_cpu)
                self._last_wall, self._last_cpu = now_wall, now_cpu
            partition.close_batch()
            partition.take_outbox()
            partition.take_changes()
            if number % 20_000 == 0:
                # A state that only grows would be another benchmark.
                partition = Partition(EngineSettings(), self._reader.reference)
            await asyncio.sleep(0)

    def seen(self) -> Gaps:
        """Since the last time that it was asked."""
        gaps, longest, seconds = sorted(self._gaps), self._longest, time.perf_counter() - self._begun
        assert gaps, "nothing was decided"
        self.start_over()
        return Gaps(len(gaps), seconds, longest * 1000, gaps[-1] * 1000, gaps[len(gaps) * 999 // 1000] * 1000)

    def start_over(self) -> None:
        """Forgets what was seen, and the time that it took to look at it."""
        self._gaps = []
        self._longest = 0.0
        self._begun = self._last_wall = time.perf_counter()
        self._last_cpu = time.process_time()


def _folder(prices: int) -> tuple[ReferenceFolder, list[str]]:
    lists, rows, pool = decks.price_rows(prices, Random(1))
    accounts = (
        Account(str(100_000 + n), f"c{n}", "P", "prepaid", "RUB", 10**15, 0, None, "active", "msk", None)
        for n in range(ACCOUNTS)
    )
    providers = [Provider(f"p{n}", f"provider {n}", n, None, pdgi=False, own=False) for n in range(decks.PROVIDERS)]
    folder = ReferenceFolder(
        accounts={account.account_id: account for account in accounts},
        providers={provider.provider_id: provider for provider in providers},
        tariff_plans={"P": TariffPlan("P", (PlanList("R", 1),), forbid_loss=False)},
        price_lists={price_list.price_list_id: price_list for price_list in lists},
        prices=list(rows),
        bands={},
        locks={},
        numbers={},
        discounts=[],
    )
    return folder, pool


def _dearer(folder: ReferenceFolder) -> ReferenceFolder:
    """All prices other ones."""
    rows: list[PriceRow] = [replace(row, price_micros=row.price_micros + 1000) for row in folder.prices]
    return ReferenceFolder(**{**vars(folder), "prices": rows})


def _lock(number: int) -> Lock:
    return Lock(f"L{number}", "prefix", f"88{number:03d}", None, None, "b", "b", "2026-01-01T00:00:00.000Z")
