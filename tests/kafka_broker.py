"""The real Kafka of a run of tests: one broker, started when the first test asks for it and shared by all.

Nobody empties it, so a test's topics, groups and transactional ids begin with a prefix of their own. Nobody kills it
either: a test that does has a broker of its own.
"""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.kafka.local import LocalKafka

DEADLINE_SECONDS = 60.0

KEEP_FOR_EVER = {"retention.ms": "-1"}
"""A topic whose records stay however old they are: tests tell of past years."""

CHANGELOG = {"cleanup.policy": "compact"}
"""A topic of which the last record of each key stays."""


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A Kafka on which transactions begin; `kafka.bootstrap` is its address."""
    broker = LocalKafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    try:
        asyncio.run(commit_nothing(broker.bootstrap))
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def mortal_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A Kafka of the test's own, which it may kill, freeze and start again."""
    broker = LocalKafka(tmp_path / "kafka")
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def prefix() -> str:
    """What this test's topics, groups and transactional ids begin with."""
    return new_prefix()


def new_prefix() -> str:
    return f"t{uuid4().hex[:12]}-"


async def commit_nothing(bootstrap: str, **settings: object) -> None:
    """Starts a transactional producer and commits an empty transaction. Raises TimeoutError if that takes too long."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{new_prefix()}ready", **settings)
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await producer.start()
            async with producer.transaction():
                pass
        finally:
            await producer.stop()


async def create_topics(
    bootstrap: str, topics: Mapping[str, int], configs: Mapping[str, str] | None = None, **settings: object
) -> None:
    """Makes the topics, each with that many partitions, and comes back when every partition has its leader.

    `configs` are the topics' (`KEEP_FOR_EVER` unless given), `settings` the client's. Raises AssertionError if the
    broker refuses one.
    """
    wanted = dict(KEEP_FOR_EVER if configs is None else configs)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **settings)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await admin.start()
        try:
            answer = await admin.create_topics(
                [NewTopic(name, partitions, 1, topic_configs=wanted) for name, partitions in topics.items()]
            )
            for name, error, message in answer.topic_errors:
                assert error == 0, f"topic {name}: {message} (error {error})"
            while not _all_led(await admin.describe_topics(list(topics)), topics):
                await asyncio.sleep(0.01)
        finally:
            await admin.close()


def _all_led(described: list[dict[str, object]], topics: Mapping[str, int]) -> bool:
    led = {
        topic["topic"]: sum(1 for partition in topic["partitions"] if partition["error_code"] == 0)
        for topic in described
    }
    return led == dict(topics)
