"""The same batches once more, in one engine and without a break: every byte published must be the same.

This is the one check that runs the engine: it shows that what faulty times left behind is what quiet ones would have.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from connectors.broker import Record, TopicPartition
from connectors.partition_task import PartitionTask
from engine.partition import Partition
from schemas import topics
from tests.simulation.company import Company
from tests.simulation.world import new_broker

from .reader import POSITION_KEY, Books, Line, Place, position_in

_RANK = {topic.name: rank for rank, topic in enumerate(topics.INPUTS)}


def replayed(company: Company, partitions: int, seen: Books) -> list[str]:
    """Findings, at most one for each topic and partition."""
    return asyncio.run(replay(company, partitions, seen))


async def replay(company: Company, partitions: int, seen: Books) -> list[str]:
    """Findings, at most one for each topic and partition. `seen` are the books of who watched all along."""
    found: list[str] = []
    broker = new_broker(partitions)
    for partition in range(partitions):
        engine = Partition(company.settings, company.reference())
        task = PartitionTask(broker, "replay", partition, partitions, engine)
        await task.take()
        try:
            for batch in _batches(seen, partition):
                await task.process(batch)
        except AssertionError as error:
            found.append(f"partition {partition}, replayed: {error!r}")
    for topic in (*topics.OUTPUTS, topics.ENGINE_STATE):
        for partition in range(partitions):
            again = [_content(record) for record in broker.committed(topic.name, partition)]
            there = [_content_of_line(line) for line in seen.get(Place(topic.name, partition), ())]
            found += _difference(f"{topic.name}-{partition}", there, again)
    return found


def _batches(seen: Books, partition: int) -> Iterator[list[Record]]:
    """What went into each transaction, in the order in which a worker takes it in."""
    inputs = {topic.name: seen.get(Place(topic.name, partition), []) for topic in topics.INPUTS}
    begun = dict.fromkeys(inputs, 0)
    for line in seen.get(Place(topics.ENGINE_STATE.name, partition), ()):
        if line.key != POSITION_KEY:
            continue
        position = position_in(line.value or b"").next_offsets
        batch = []
        for topic, lines in inputs.items():
            end = bisect_left(lines, position[topic], key=_offset)
            there = TopicPartition(topic, partition)
            batch += _in_order_of_offsets([_record(there, event) for event in lines[begun[topic] : end]])
            begun[topic] = end
        yield sorted(batch, key=_in_order)


def _offset(line: Line) -> int:
    return line.offset


def _record(there: TopicPartition, line: Line) -> Record:
    us = line.timestamp_ms * 1000
    return Record(there.topic, there.partition, line.offset, line.key, line.value, us, us)


def _in_order_of_offsets(records: list[Record]) -> list[Record]:
    """None arrives before the one in front of it: producers' clocks may step back."""
    arrivals = accumulate((record.arrival for record in records), max)
    return [record._replace(arrival=arrival) for record, arrival in zip(records, arrivals, strict=True)]


def _in_order(record: Record) -> tuple[int, int, int]:
    return record.arrival, _RANK[record.topic], record.offset


Content = tuple[bytes | None, bytes | None, int]


def _content(record: Record) -> Content:
    return record.key, record.value, record.timestamp_us // 1000


def _content_of_line(line: Line) -> Content:
    return line.key, line.value, line.timestamp_ms


def _difference(where: str, there: list[Content], again: list[Content]) -> Iterator[str]:
    for i in range(max(len(there), len(again))):
        one, other = there[i : i + 1], again[i : i + 1]
        if one != other:
            yield f"{where}, replayed: record {i} is {str(one)[:300]}, and would be {str(other)[:300]}"
            return
