"""Kafka: the contract of all brokers, in both ways of transactions that clusters have."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

pytest.register_assert_rewrite("broker_contract")

from broker_contract import BrokerContract, Write  # noqa: E402
from kafka_broker import create_topics  # noqa: E402

from connectors.broker import Broker, Message  # noqa: E402
from connectors.kafka.broker import KafkaBroker  # noqa: E402


class _OnKafka(BrokerContract):
    deadline_seconds = 60.0
    implicit_partitions: bool | None = None

    @pytest.fixture(autouse=True)
    def _kafka(self, kafka) -> None:
        self.bootstrap = kafka.bootstrap

    @asynccontextmanager
    async def make_broker(self, topics: Mapping[str, int]) -> AsyncIterator[tuple[Broker, Write]]:
        await create_topics(self.bootstrap, topics)
        plain = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await plain.start()
        broker = KafkaBroker({"bootstrap_servers": self.bootstrap}, implicit_partitions=self.implicit_partitions)
        await broker.start()

        async def write(topic: str, partition: int, messages: Sequence[Message]) -> None:
            batch, sent = plain.create_batch(), []
            for key, value, at_us in messages:
                if batch.append(key=key, value=value, timestamp=at_us // 1000) is None:
                    sent.append(await plain.send_batch(batch, topic, partition=partition))
                    batch = plain.create_batch()
                    batch.append(key=key, value=value, timestamp=at_us // 1000)
            sent.append(await plain.send_batch(batch, topic, partition=partition))
            for future in sent:
                await future

        try:
            yield broker, write
        finally:
            await broker.close()
            await plain.stop()


class TestKafka(_OnKafka):
    """Transactions as the cluster has them, which is KIP-890's way."""


class TestKafkaBeforeTransactionVersion2(_OnKafka):
    """Transactions with partitions and offsets added by requests of their own, as older clusters have them."""

    implicit_partitions = False
