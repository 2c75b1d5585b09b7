"""The limit: the same consumer and the same transactional producer without an engine or anything else between them.

Each record is copied to the outputs, as many records and of the same size as the engine writes for one.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from itertools import cycle, islice

from msgspec import Struct

from benchmarks.pipeline.engine_alone import Written
from benchmarks.pipeline.lines import Line
from connectors.broker import Message, Producer, Record, TopicPartition
from connectors.kafka.broker import KafkaBroker

_GROUP = "bare"


class BareArguments(Struct):
    """`written`: what is to be written for each record."""

    bootstrap: str
    prefix: str
    topic: str
    partitions: int
    max_records: int
    warm_up: int
    records: int
    written: list[Written]


async def bare(arguments: BareArguments, line: Line) -> None:
    """Says `copied`: processor and wall seconds, batches."""
    broker = KafkaBroker({"bootstrap_servers": arguments.bootstrap}, prefix=arguments.prefix)
    await broker.start()
    try:
        producers = [await broker.producer(f"{_GROUP}.{number}") for number in range(arguments.partitions)]
        consumer = await broker.join(_GROUP, [arguments.topic], on_assigned=lambda _: None, on_revoked=lambda _: None)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        copies = [_Copies(written) for written in arguments.written]
        seen = batches = 0
        started = spent = 0.0
        whole = arguments.warm_up + arguments.records
        counted_from = 0
        while seen < whole:
            if not spent and seen >= arguments.warm_up:
                started, spent, counted_from = time.perf_counter(), time.process_time(), seen
                batches = 0
            polled = await consumer.poll(arguments.max_records, 0.2)
            await asyncio.gather(
                *(_copy(producers[there.partition], there, records, copies) for there, records in polled.items())
            )
            batches += len(polled)
            seen += sum(map(len, polled.values()))
        line.say(
            copied={
                "records": seen - counted_from,
                "batches": batches,
                "cpu_seconds": time.process_time() - spent,
                "wall_seconds": time.perf_counter() - started,
            }
        )
    finally:
        await broker.close()


class _Copies:
    """What one topic gets."""

    def __init__(self, written: Written) -> None:
        self._written = written
        self.topic = written.topic
        self._value = bytes(number % 251 for number in range(written.value_bytes))

    def of(self, records: Sequence[Record]) -> list[Message]:
        """As many as the engine writes for these records, at least one."""
        number = max(round(len(records) * self._written.records_per_event), 1)
        value = self._value
        return [Message(record.key, value, record.timestamp_us) for record in islice(cycle(records), number)]


async def _copy(
    producer: Producer, partition: TopicPartition, records: Sequence[Record], copies: Sequence[_Copies]
) -> None:
    await producer.begin()
    sends = [producer.send(copy.topic, partition.partition, copy.of(records)) for copy in copies]
    await producer.send_offsets(_GROUP, {partition: records[-1].offset + 1})
    for send in sends:
        await send
    await producer.commit()
