"""The whole pipeline over a real Kafka: how much, how soon, how long to take over, and against what.

The runs take turns with what they are compared with, so that an hour in which the machine is slow is slow for both.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmarks import decks
from benchmarks.faust_table import TableArguments
from benchmarks.pipeline.bare import BareArguments
from benchmarks.pipeline.cluster import PROPERTIES, load, topics_of_a_run
from benchmarks.pipeline.engine_alone import EngineArguments, Written
from benchmarks.pipeline.events import ATTEMPTS, CDRS, COMMANDS, Placed, attempts_and_cdrs, one_attempt, place, top_ups
from benchmarks.pipeline.lines import Started, started
from benchmarks.pipeline.sampling import by_area
from benchmarks.pipeline.sizes import Sizes
from benchmarks.pipeline.switches import SwitchArguments
from benchmarks.pipeline.transactions import TransactionArguments
from benchmarks.pipeline.trouble import BenchmarkFailed
from benchmarks.pipeline.worker import WorkerArguments
from deploy.kafka.local import LocalKafka
from schemas.events import Event

_HEAP_MB = 512
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 120.0
_WORK_SECONDS = 600.0

Found = dict[str, Any]


def run(sizes: Sizes, runs: int) -> Found:
    """Starts a Kafka for itself and takes all numbers. Raises BenchmarkFailed, and KafkaTrouble when there is none."""
    # Whoever gives up waiting ends this process by a signal: its Kafka must not be left behind.
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        kafka = LocalKafka(folder, heap_mb=_HEAP_MB, compiled_well=True, properties=PROPERTIES)
        kafka.start()
        try:
            return asyncio.run(measure(kafka, sizes, runs))
        finally:
            kafka.stop()


async def measure(kafka: LocalKafka, sizes: Sizes, runs: int) -> Found:
    """All numbers, on a Kafka that runs."""
    suite = _Suite(kafka, sizes)
    found: Found = {"sizes": sizes._asdict(), "throughput": [], "latency": [], "restore": [], "table": []}
    for number in range(1, runs + 1):
        for partitions in sizes.partitions:
            found["throughput"] += await suite.throughput(partitions, number)
        found["latency"].append(await suite.latency(sizes.partitions[0], number))
        found["table"].append(await suite.table(sizes.partitions[0], number))
    found["sampled"] = await suite.sampled(sizes.partitions[0])
    for accounts in sizes.restored_accounts:
        found["restore"].append(await suite.restore(accounts, runs))
    return found


class _Suite:
    def __init__(self, kafka: LocalKafka, sizes: Sizes) -> None:
        self._kafka = kafka
        self._bootstrap = kafka.bootstrap
        self._sizes = sizes
        _, self._pool = decks.reference(sizes.prices, sizes.accounts)
        self._events: tuple[list[tuple[Event, int]], list[tuple[Event, int]]] = attempts_and_cdrs(sizes, self._pool)

    # Throughput

    async def throughput(self, partitions: int, number: int) -> list[Found]:
        """The backlog through the workers, the engine alone on it, and the bare loop."""
        attempts, cdrs = (place(events, partitions) for events in self._events)
        rows = []
        for workers in self._sizes.workers:
            row = await self._backlog(partitions, workers, attempts, cdrs)
            rows.append(row | {"partitions": partitions, "workers": workers, "run": number})
            _tell(rows[-1])
        mean = tuple(round(rows[0][kind]["records"] / rows[0][kind]["batches"]) for kind in ("attempts", "cdrs"))
        arguments = EngineArguments(self._sizes, partitions, (mean[0], mean[1]))
        async with started("engine", arguments) as engine:
            for kind, events in (("attempts", attempts), ("cdrs", cdrs)):
                alone = await engine.hear(kind, _WORK_SECONDS)
                written = msgspec.convert(alone["written"], list[Written])
                rows[0][kind]["engine_alone"] = alone
                rows[0][kind]["bare"] = await self._bare(partitions, ATTEMPTS, events, written)
                _tell({kind: "alone", "engine": alone["cpu_seconds"], "bare": rows[0][kind]["bare"]})
        return rows

    async def sampled(self, partitions: int) -> Found:
        """The backlog once more, with a look at where the worker's time goes."""
        attempts, cdrs = (place(events, partitions) for events in self._events)
        found = await self._backlog(partitions, 1, attempts, cdrs, sampled=True)
        _tell({kind: by_area(one["shares"]) for kind, one in found.items()})
        return found

    async def _backlog(
        self,
        partitions: int,
        workers: int,
        attempts: Sequence[Placed],
        cdrs: Sequence[Placed],
        *,
        sampled: bool = False,
    ) -> Found:
        warm_up = self._sizes.warm_up
        async with topics_of_a_run(self._bootstrap, partitions) as prefix, AsyncExitStack() as stack:
            crew: list[tuple[Started, list[int]]] = []
            arguments = msgspec.structs.replace(self._worker_arguments(prefix), sampled=sampled)
            for _ in range(workers):
                worker = await stack.enter_async_context(started("worker", arguments))
                crew.append((worker, await worker.hear("ready", _START_SECONDS)))
            # Each newcomer has taken some from those that were there before.
            crew = [(worker, await _settled(worker, mine, partitions // workers)) for worker, mine in crew]
            found: Found = {}
            for kind, topic, events in (("attempts", ATTEMPTS, attempts), ("cdrs", CDRS, cdrs)):
                await self._work_off(crew, prefix + topic, events[:warm_up])
                found[kind] = await self._work_off(crew, prefix + topic, events[warm_up:])
            for worker, _ in crew:
                await worker.end()
        return found

    def _worker_arguments(self, prefix: str, accounts: int | None = None) -> WorkerArguments:
        sizes = self._sizes
        return WorkerArguments(self._bootstrap, prefix, sizes.prices, accounts or sizes.accounts, sizes.max_records)

    async def _work_off(self, crew: Sequence[tuple[Started, list[int]]], topic: str, events: Sequence[Placed]) -> Found:
        """Writes the events while the workers wait, and has them worked off."""
        for worker, _ in crew:
            worker.say("hold")
            await worker.hear("holding", _START_SECONDS)
        await load(self._bootstrap, topic, events)
        before = self._broker_seconds()
        for worker, mine in crew:
            worker.say("work", records=sum(event.partition in mine for event in events))
        told = [await worker.hear("worked", _WORK_SECONDS) for worker, _ in crew]
        sums = {
            name: sum(one[name] for one in told)
            for name in ("records", "batches", "cpu_seconds", "engine_seconds", "transaction_seconds")
        }
        if sums["records"] != len(events):
            raise BenchmarkFailed(f"{sums['records']} of {len(events)} records were worked off")
        found = sums | {
            "wall_seconds": max(one["wall_seconds"] for one in told),
            "broker_cpu_seconds": self._broker_seconds() - before,
        }
        return found | {"shares": told[0]["shares"]} if "shares" in told[0] else found

    async def _bare(self, partitions: int, topic: str, events: Sequence[Placed], written: list[Written]) -> Found:
        sizes = self._sizes
        async with topics_of_a_run(self._bootstrap, partitions) as prefix:
            await load(self._bootstrap, prefix + topic, events)
            arguments = BareArguments(
                self._bootstrap, prefix, topic, partitions, sizes.max_records, sizes.warm_up, sizes.attempts, written
            )
            async with started("bare", arguments) as process:
                copied: Found = await process.hear("copied", _WORK_SECONDS)
                return copied

    def _broker_seconds(self) -> float:
        """Processor seconds of the broker so far."""
        fields = Path(f"/proc/{self._kafka.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    # Latency

    async def latency(self, partitions: int, number: int) -> Found:
        """Transactions by themselves, then the load at each rate, all with one worker that has no other work."""
        sizes = self._sizes
        async with topics_of_a_run(self._bootstrap, partitions) as prefix:
            arguments = TransactionArguments(self._bootstrap, prefix, sizes.transactions)
            async with started("transactions", arguments) as process:
                found: Found = {"run": number, "transactions": await process.hear("transactions", _WORK_SECONDS)}
            _tell(found)
            found["rates"] = []
            async with started("worker", self._worker_arguments(prefix)) as worker:
                await _settled(worker, await worker.hear("ready", _START_SECONDS), partitions)
                for rate in sizes.rates:
                    found["rates"].append(await self._load_at(rate, prefix, partitions, worker, number))
                    _tell(found["rates"][-1])
                await worker.end()
        return found

    async def _load_at(self, rate: int, prefix: str, partitions: int, worker: Started, number: int) -> Found:
        sizes = self._sizes
        arguments = SwitchArguments(
            bootstrap=self._bootstrap,
            prefix=prefix,
            name=f"r{rate}",
            partitions=partitions,
            prices=sizes.prices,
            accounts=sizes.accounts,
            rate=rate,
            warm_up_seconds=sizes.load_warm_up_seconds,
            seconds=sizes.load_seconds,
            seed=rate + number,
        )
        async with started("switches", arguments) as process:
            worker.say("report")  # from here on it counts anew
            await worker.hear("report", _START_SECONDS)
            seen: Found = await process.hear("seen", _WORK_SECONDS)
        worker.say("report")
        seen["worker"] = await worker.hear("report", _START_SECONDS)
        return seen

    # Restoring

    async def restore(self, accounts: int, runs: int) -> Found:
        """One partition with so many accounts, filled by payments onto each, and taken over by a worker that starts."""
        payments = place(top_ups(accounts), 1)
        found: Found = {"accounts": accounts, "runs": []}
        async with topics_of_a_run(self._bootstrap, 1) as prefix:
            async with started("worker", self._worker_arguments(prefix, accounts)) as worker:
                mine = await worker.hear("ready", _START_SECONDS)
                found["filled"] = await self._work_off([(worker, mine)], prefix + COMMANDS, payments)
                await worker.end()
            for number in range(runs):
                at_us = decks.START_US + (accounts + number) * 1000
                attempt = msgspec.structs.replace(one_attempt(at_us, self._pool), attempt_id=f"alone-{number}")
                await load(self._bootstrap, prefix + ATTEMPTS, place([(attempt, at_us)], 1))
                async with started("worker", self._worker_arguments(prefix, accounts)) as worker:
                    one = await worker.hear("taken", _WORK_SECONDS)
                    one["committed_seconds"] = await worker.hear("committed", _START_SECONDS)
                    await worker.end()
                found["runs"].append(one)
                _tell({"accounts": accounts} | one)
        return found

    # The alternative

    async def table(self, partitions: int, number: int) -> Found:
        """Faust's table over the same attempts; `failed` says why where it did not come to its end."""
        sizes = self._sizes
        events = place(self._events[0][: sizes.table_events], partitions)
        with tempfile.TemporaryDirectory() as folder:
            async with topics_of_a_run(self._bootstrap, partitions) as prefix:
                await load(self._bootstrap, prefix + ATTEMPTS, events)
                arguments = TableArguments(self._bootstrap, prefix, partitions, len(events), folder)
                command = (sys.executable, "-m", "benchmarks.faust_table")
                async with started("the table of faust", arguments, command) as process:
                    try:
                        found: Found = await process.hear("counted", sizes.table_seconds)
                    except BenchmarkFailed as failure:
                        found = {"failed": str(failure)}
        _tell(found | {"run": number})
        return found


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


async def _settled(worker: Started, mine: list[int], partitions: int) -> list[int]:
    """A worker's partitions as soon as it has so many."""
    while len(mine) != partitions:
        mine = await worker.hear("ready", _START_SECONDS)
    return mine


def _tell(row: Found) -> None:
    """Shows that it goes on: a whole benchmark takes a good while."""
    sys.stderr.write(f"  {msgspec.json.encode(row).decode()}\n")
    sys.stderr.flush()
