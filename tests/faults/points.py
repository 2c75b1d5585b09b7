"""Named points on the way of a transaction, at which a worker process can be made to stand still.

The real broker's doors are wrapped from outside; nothing of the worker or the broker is changed.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import Any

from connectors.broker import Message, Record, TopicPartition
from connectors.kafka.broker import KafkaBroker

POINTS = (
    "poll",  # records have been polled and nothing been done with them
    "producer",  # a partition is being taken: before its producer starts
    "restore",  # … while its changelog is read
    "begin",  # before a transaction begins
    "send",  # before its outputs are handed over
    "send_offsets",  # before they and the offsets are written
    "before_commit",  # all is written
    "in_commit",  # the commit is on its way
    "after_commit",  # … and has been answered
)


def say(**what: object) -> None:
    """Tells it to whoever started this process."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Trap:
    """Stops the process at a point."""

    def __init__(self, point: str = "") -> None:
        self.point = point
        self.left = 1

    def at(self, point: str, partitions: Sequence[int]) -> None:
        """The process has come to a point with these partitions."""
        if point != self.point:
            return
        self.left -= 1
        if self.left == 0:
            self.point = ""
            say(stopped=point, partitions=list(partitions))
            os.kill(os.getpid(), signal.SIGSTOP)


class WatchedBroker:
    """The real broker, with points on the way."""

    def __init__(self, broker: KafkaBroker, trap: Trap) -> None:
        self.broker = broker
        self.trap = trap

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    async def join(self, *args: Any, **kwargs: Any) -> "WatchedConsumer":
        return WatchedConsumer(await self.broker.join(*args, **kwargs), self.trap)

    async def producer(self, transactional_id: str) -> "WatchedProducer":
        partition = int(transactional_id.rpartition(".")[2])
        self.trap.at("producer", [partition])
        return WatchedProducer(await self.broker.producer(transactional_id), self.trap, partition)

    async def read_to_end(self, partition: TopicPartition) -> AsyncIterator[Sequence[Record]]:
        self.trap.at("restore", [partition.partition])
        async for batch in self.broker.read_to_end(partition):
            yield batch
            self.trap.at("restore", [partition.partition])


class WatchedConsumer:
    """A member of the group, with a point after each poll that gave something."""

    def __init__(self, consumer: Any, trap: Trap) -> None:
        self.consumer = consumer
        self.trap = trap

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)

    async def poll(
        self, max_records: int, timeout_seconds: float, busy: Collection[int] = ()
    ) -> dict[TopicPartition, list[Record]]:
        polled: dict[TopicPartition, list[Record]] = await self.consumer.poll(max_records, timeout_seconds, busy)
        if polled:
            self.trap.at("poll", sorted({place.partition for place in polled}))
        return polled


class WatchedProducer:
    """A producer, with a point at each step of its transactions."""

    def __init__(self, producer: Any, trap: Trap, partition: int) -> None:
        self.producer = producer
        self.trap = trap
        self.partitions = [partition]

    async def begin(self) -> None:
        self.trap.at("begin", self.partitions)
        await self.producer.begin()

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        self.trap.at("send", self.partitions)
        sent: Awaitable[None] = self.producer.send(topic, partition, messages)
        return sent

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        self.trap.at("send_offsets", self.partitions)
        await self.producer.send_offsets(group, offsets)

    async def commit(self) -> None:
        self.trap.at("before_commit", self.partitions)
        committing = asyncio.ensure_future(self.producer.commit())
        for _ in range(3):  # by then the request has been written
            await asyncio.sleep(0)
        self.trap.at("in_commit", self.partitions)
        await committing
        self.trap.at("after_commit", self.partitions)

    async def abort(self) -> None:
        await self.producer.abort()

    async def close(self) -> None:
        await self.producer.close()
