"""The engine alone on the pipeline's very events: from JSON to bytes, in batches as large as the pipeline's were.

What it writes for an event, in records and bytes for each topic, is what the bare loop then copies.
"""

import gc
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks import decks
from benchmarks.pipeline.events import Placed, attempts_and_cdrs, place
from benchmarks.pipeline.lines import Line
from benchmarks.pipeline.sizes import Sizes
from connectors.broker import Record
from connectors.partition_task import decode
from engine.partition import Partition
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas import topics


class EngineArguments(Struct):
    """`sizes` of the pipeline's run, and how large its batches were: those of attempts and those of CDRs."""

    sizes: Sizes
    partitions: int
    batches: tuple[int, int]


class Written(Struct):
    """What went to a topic for each event that came in: records, and bytes of a record's key and value."""

    topic: str
    records_per_event: float
    key_bytes: int
    value_bytes: int


class EngineCost(Struct):
    """Processor time, and what was written."""

    events: int
    cpu_seconds: float
    written: list[Written]


async def engine_alone(arguments: EngineArguments, line: Line) -> None:
    """Says `attempts` and `cdrs`, an `EngineCost` each."""
    sizes = arguments.sizes
    reference, pool = decks.reference(sizes.prices, sizes.accounts)
    asked, ended = attempts_and_cdrs(sizes, pool)
    owned = [Partition(EngineSettings(), reference) for _ in range(arguments.partitions)]
    for name, topic, events, batch in (
        ("attempts", topics.CALL_ATTEMPTS.name, asked, arguments.batches[0]),
        ("cdrs", topics.CDRS.name, ended, arguments.batches[1]),
    ):
        records = _records(topic, place(events, arguments.partitions))
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        _run(owned, _batches(records[: sizes.warm_up], batch), Counter(), Counter(), Counter())
        batches = list(_batches(records[sizes.warm_up :], batch))
        number: Counter[str] = Counter()
        keys: Counter[str] = Counter()
        values: Counter[str] = Counter()
        seconds = _run(owned, batches, number, keys, values)
        written = [
            Written(there, number[there] / sizes.attempts, keys[there] // number[there], values[there] // number[there])
            for there in number
        ]
        line.say(**{name: EngineCost(sizes.attempts, seconds, written)})


def _records(topic: str, placed: Sequence[Placed]) -> list[Record]:
    return [
        Record(topic, partition, offset, key, value, at_ms * 1000, at_ms)
        for offset, (partition, key, value, at_ms) in enumerate(placed)
    ]


def _batches(records: Sequence[Record], size: int) -> Iterable[list[Record]]:
    """Each partition's records in batches, the partitions in turn, as a worker does it."""
    by_partition: dict[int, list[Record]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    longest = max(map(len, by_partition.values()))
    for start in range(0, longest, size):
        for mine in by_partition.values():
            if batch := mine[start : start + size]:
                yield batch


def _run(
    owned: Sequence[Partition],
    batches: Iterable[list[Record]],
    number: Counter[str],
    keys: Counter[str],
    values: Counter[str],
) -> float:
    """Processor seconds of the batches; what they write is counted aside."""
    seconds = 0.0
    state = topics.ENGINE_STATE.name
    for records in batches:
        partition = owned[records[0].partition]
        started = time.process_time()
        for record in records:
            event = decode(record)
            assert not isinstance(event, Refusal), event
            refusal = partition.handle(event, record.timestamp_us)
            assert refusal is None, refusal
        partition.close_batch()
        outputs, changes = partition.take_outbox(), partition.take_changes()
        seconds += time.process_time() - started
        for topic, key, _, value in outputs:
            number[topic] += 1
            keys[topic] += len(key)
            values[topic] += len(value)
        for change, content in changes.items():
            number[state] += 1
            keys[state] += len(change)
            values[state] += len(content or b"")
    return seconds
