"""The Kafka of a benchmark: topics as the product creates them, and backlogs written into them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.pipeline.events import Placed
from connectors.kafka.admin import connect
from connectors.kafka.topic_plan import NewTopic, plan
from connectors.settings import KafkaSettings

PROPERTIES = {"log.segment.delete.delay.ms": 1_000}
"""What a run has written is gone when the next one begins."""


def new_prefix() -> str:
    """What the topics of one run begin with."""
    return f"bench-{uuid4().hex[:8]}-"


@asynccontextmanager
async def topics_of_a_run(bootstrap: str, partitions: int) -> AsyncIterator[str]:
    """The product's topics under a prefix of their own, which is given; deleted afterwards."""
    prefix = new_prefix()
    settings = KafkaSettings(bootstrap_servers=(bootstrap,), topic_prefix=prefix, replication_factor=1)
    async with connect(settings) as admin:
        new = plan(await admin.describe(), settings, partitions=partitions, copies=1)
        # The events' times are fixed: they must not be too old for the broker in a year.
        await admin.create([_kept(topic) for topic in new])
    try:
        yield prefix
    finally:
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await client.start()
        try:
            await client.delete_topics([topic.name for topic in new])
        finally:
            await client.close()


def _kept(topic: NewTopic) -> NewTopic:
    return topic._replace(configs={**topic.configs, "retention.ms": "-1"})


async def load(bootstrap: str, topic: str, records: Sequence[Placed]) -> None:
    """Writes a backlog; comes back when the broker has it all."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=262_144)
    await producer.start()
    try:
        batches: dict[int, Any] = {}
        sent = []
        for record in records:
            batch = batches.get(record.partition)
            if batch is None or not _add(batch, record):
                if batch is not None:
                    sent.append(await producer.send_batch(batch, topic, partition=record.partition))
                batch = batches[record.partition] = producer.create_batch()
                assert _add(batch, record), "the first record of a batch fits"
        for partition, batch in batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        for delivery in sent:
            await delivery
    finally:
        await producer.stop()


def _add(batch: Any, record: Placed) -> bool:
    return batch.append(key=record.key, value=record.value, timestamp=record.at_ms) is not None
