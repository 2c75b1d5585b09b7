"""The switches: attempts on a schedule that no answer can hold up, and the decisions as they are seen.

The load is open: an attempt is sent when its moment has come, whatever has become of the earlier ones, and its time
runs from that moment. So a pause of the engine, or of this process, counts for every attempt that fell into it (no
coordinated omission). Arrivals are Poisson's, as those of many independent callers are.
"""

import asyncio
import gc
import time
from itertools import accumulate
from random import Random

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition as KafkaPartition
from msgspec import Struct
from msgspec.structs import replace

from benchmarks import decks
from benchmarks.pipeline.lines import Line
from benchmarks.pipeline.trouble import BenchmarkFailed
from benchmarks.pipeline.worker import percentiles
from schemas import topics
from schemas.codec import encode
from schemas.partitions import partition_of
from schemas.times import to_text

LATE_MS = (10, 50, 100)
"""Bounds of which it is told how many answers were later. A switch wants its answer within 50 ms."""

_LEAD_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
_ACKS_ALL = -1
_BATCH_BYTES = 900_000


class SwitchArguments(Struct):
    """`rate` in attempts a second; the first `warm_up_seconds` are not counted."""

    bootstrap: str
    prefix: str
    name: str
    partitions: int
    prices: int
    accounts: int
    rate: int
    warm_up_seconds: float
    seconds: float
    seed: int


class _Due(Struct):
    """An attempt on the schedule; `at` in seconds of the monotonic clock."""

    at: float
    wall_ms: int
    partition: int
    key: bytes
    value: bytes


async def switches(arguments: SwitchArguments, line: Line) -> None:
    """Says `seen`. Raises BenchmarkFailed when an attempt is left without its decision, or has two."""
    load = _Load(arguments)
    await load.start()
    try:
        line.say(seen=await load.run())
    finally:
        await load.close()


class _Load:
    def __init__(self, arguments: SwitchArguments) -> None:
        self._arguments = arguments
        self._topic = arguments.prefix + topics.CALL_ATTEMPTS.name
        self._client = AIOKafkaClient(bootstrap_servers=arguments.bootstrap, client_id="switches")
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=arguments.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_partition_fetch_bytes=8 << 20,
        )
        self._prefix = f"{arguments.name}-".encode()
        _, self._pool = decks.reference(arguments.prices, 1)

    async def start(self) -> None:
        """Connects; the reader stands at the end of the decisions."""
        await self._client.bootstrap()
        await self._client.force_metadata_update()
        await self._reader.start()
        there = [
            KafkaPartition(self._arguments.prefix + topics.CALL_DECISIONS.name, number)
            for number in range(self._arguments.partitions)
        ]
        self._reader.assign(there)
        await self._reader.seek_to_end(*there)

    async def close(self) -> None:
        """Disconnects."""
        await self._reader.stop()
        await self._client.close()

    async def run(self) -> dict[str, object]:
        """Sends and reads until every attempt has its decision."""
        due = self._schedule()
        gc.collect()
        gc.freeze()
        gc.disable()  # a pause of this process would count as the engine's
        self._seen: list[float] = [0.0] * len(due)
        self._left = len(due)
        reading = asyncio.ensure_future(self._read())
        spent, started = time.process_time(), time.perf_counter()
        sent = await self._send(due)
        done, _ = await asyncio.wait((reading,), timeout=_PATIENCE_SECONDS)
        if not done:
            reading.cancel()
            raise BenchmarkFailed(
                f"at {self._arguments.rate} attempts/s {self._left} have no decision {_PATIENCE_SECONDS:.0f} s later"
            )
        reading.result()
        busy = (time.process_time() - spent) / (time.perf_counter() - started)
        return self._summary(due, sent) | {"generator_busy": busy}

    def _schedule(self) -> list[_Due]:
        arguments = self._arguments
        rng = Random(arguments.seed)
        seconds = arguments.warm_up_seconds + arguments.seconds
        number = round(arguments.rate * seconds)
        moments = list(accumulate(rng.expovariate(arguments.rate) for _ in range(number)))
        attempts = decks.attempts(number, arguments.accounts, self._pool, seed=arguments.seed)
        ready = []
        # The moments are written into the attempts; what follows takes some time itself.
        begin = time.perf_counter() + _LEAD_SECONDS + number * 20e-6
        wall_us = time.time_ns() // 1000 + int((begin - time.perf_counter()) * 1e6)
        for place, (attempt, moment) in enumerate(zip(attempts, moments, strict=True)):
            at_us = wall_us + int(moment * 1e6)
            assert attempt.account_id is not None
            key = attempt.account_id.encode()
            named = replace(attempt, attempt_id=f"{arguments.name}-{place}", at=to_text(at_us // 1000 * 1000))
            home = partition_of(key, arguments.partitions)
            ready.append(_Due(begin + moment, at_us // 1000, home, key, encode(named)))
        assert time.perf_counter() < begin, "the schedule was not ready in time"
        return ready

    async def _send(self, due: list[_Due]) -> list[float]:
        """When each was handed to the connection."""
        sent: list[float] = []
        writes: list[asyncio.Task[None]] = []
        while len(sent) < len(due):
            await asyncio.sleep(max(due[len(sent)].at - time.perf_counter(), 0.0))
            now = time.perf_counter()
            batches: dict[int, list[_Due]] = {}
            for attempt in due[len(sent) : len(sent) + 1_000]:
                if attempt.at > now:
                    break
                batches.setdefault(attempt.partition, []).append(attempt)
                sent.append(now)
            if batches:
                writes.append(asyncio.ensure_future(self._write(batches)))
        await asyncio.gather(*writes)
        return sent

    async def _write(self, batches: dict[int, list[_Due]]) -> None:
        # aiokafka's producer would hold a partition's next batch back until the last one has been answered.
        by_node: dict[int, list[tuple[int, bytes]]] = {}
        for partition, attempts in batches.items():
            builder = DefaultRecordBatchBuilder(
                magic=2,
                compression_type=0,
                is_transactional=False,
                producer_id=-1,
                producer_epoch=-1,
                base_sequence=-1,
                batch_size=_BATCH_BYTES,
            )
            for offset, attempt in enumerate(attempts):
                builder.append(offset, attempt.wall_ms, attempt.key, attempt.value, [])
            leader = self._client.cluster.leader_for_partition(KafkaPartition(self._topic, partition))
            by_node.setdefault(leader, []).append((partition, bytes(builder.build())))
        for node, records in by_node.items():
            answer = await self._client.send(
                node,
                ProduceRequest(
                    transactional_id=None, required_acks=_ACKS_ALL, timeout=30_000, topics=[(self._topic, records)]
                ),
            )
            for _, partitions in answer.topics:
                for number, error, *_ in partitions:
                    if error:
                        raise BenchmarkFailed(f"{self._topic}-{number} can't be written: {for_code(error).__name__}")

    async def _read(self) -> None:
        seen, prefix = self._seen, self._prefix
        skip = len(prefix)
        while self._left:
            fetched = await self._reader.getmany(timeout_ms=1_000)
            now = time.perf_counter()
            for records in fetched.values():
                for record in records:
                    if not record.key.startswith(prefix):
                        continue
                    place = int(record.key[skip:])
                    if seen[place]:
                        raise BenchmarkFailed(f"attempt {record.key.decode()} was decided twice")
                    seen[place] = now
                    self._left -= 1

    def _summary(self, due: list[_Due], sent: list[float]) -> dict[str, object]:
        first = due[0].at + self._arguments.warm_up_seconds
        counted = [place for place, attempt in enumerate(due) if attempt.at >= first]
        took = [(self._seen[place] - due[place].at) * 1000 for place in counted]
        behind = [(sent[place] - due[place].at) * 1000 for place in counted]
        p50, p90, p99, p999, most = percentiles(took, 0.5, 0.9, 0.99, 0.999, 1.0)
        last = max(self._seen)
        return {
            "rate": self._arguments.rate,
            "counted": len(counted),
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "p999_ms": p999,
            "max_ms": most,
            "later_than": {f"{bound}_ms": sum(ms > bound for ms in took) / len(took) for bound in LATE_MS},
            "answered_per_second": len(counted) / (last - due[counted[0]].at),
            "sent_behind_schedule_ms": dict(
                zip(("p50", "p99", "max"), percentiles(behind, 0.5, 0.99, 1.0), strict=True)
            ),
        }
