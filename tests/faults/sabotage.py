"""The worker's pattern broken on purpose, one piece at a time, on a real broker: the checker must notice.

All of it is done from outside, by what a worker is given or by a worker derived from the real one.
"""

import asyncio
from collections.abc import Awaitable, Collection, Generator, Iterable, Mapping, Sequence
from typing import Any

from connectors.broker import Message, TopicPartition
from connectors.worker import Worker
from schemas import topics

from .points import WatchedBroker, WatchedProducer


class Sabotage:
    """None at all."""

    def worker_class(self) -> type[Worker]:
        """What the process runs."""
        return Worker

    def door(self, broker: WatchedBroker, name: str) -> Any:
        """The broker as the process of this name sees it."""
        return broker


class WithoutFence(Sabotage):
    """A transactional id of its own for each process: nobody fences anybody."""

    def door(self, broker: WatchedBroker, name: str) -> Any:
        return _UnfencedDoor(broker, name)


class _Door:
    def __init__(self, broker: WatchedBroker) -> None:
        self.broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)


class _CarefreeDoor(_Door):
    """Says that nothing is open."""

    async def undecided(self, partitions: Collection[Any]) -> dict[Any, int]:
        return {}


class _UnfencedDoor(_CarefreeDoor):
    # Without a fence the living leave something open, and whoever looked would wait for them.

    def __init__(self, broker: WatchedBroker, name: str) -> None:
        super().__init__(broker)
        self._name = name

    async def producer(self, transactional_id: str) -> WatchedProducer:
        return await self.broker.producer(f"{self._name}-{transactional_id}")


class WithoutLook(Sabotage):
    """Who takes a partition does not look whether something was left open in its outputs."""

    def door(self, broker: WatchedBroker, name: str) -> Any:
        return _CarefreeDoor(broker)


class WithoutSeek(Sabotage):
    """After a restore the consumer goes on from where it is."""

    def worker_class(self) -> type[Worker]:
        return _SeeklessWorker


class _SeeklessWorker(Worker):
    def _begin_with(self, consumer: Any, task: Any) -> None:
        super()._begin_with(_Unmoved(consumer), task)


class _Unmoved:
    """A consumer that does not do as it is told when it is to seek."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._consumer.resume(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Stays where it is."""


class GroupOffset(Sabotage):
    """The position is the group's offset as it was before the fence."""

    def worker_class(self) -> type[Worker]:
        return _TrustingWorker


class _TrustingWorker(Worker):
    async def _take(self, consumer: Any, partition: int) -> None:
        mine = [TopicPartition(topic.name, partition) for topic in topics.INPUTS]
        kafka = consumer._kafka
        offsets = {there: await kafka.committed(consumer._there(there)) or 0 for there in mine}
        await super()._take(consumer, partition)
        for there, offset in offsets.items():
            self.tasks[partition].next_offsets[there.topic] = offset
            consumer.seek(there, offset)


class WithoutAwait(Sabotage):
    """Nobody waits for what becomes of a batch before the commit; what is not written by then is lost."""

    def door(self, broker: WatchedBroker, name: str) -> Any:
        return _CarelessDoor(broker)


class _CarelessDoor(_Door):
    async def producer(self, transactional_id: str) -> "_CarelessProducer":
        return _CarelessProducer(await self.broker.producer(transactional_id))


class _CarelessProducer:
    """Hands a topic's batches over in tasks of their own, as a client library does in the background.

    Every third batch is slower than the commit.
    """

    def __init__(self, producer: WatchedProducer) -> None:
        self._producer = producer
        self._sending: set[asyncio.Task[None]] = set()
        self._batches = 0

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        self._batches += 1
        if topic != topics.ENGINE_STATE.name and self._batches % 3 == 0:
            sending = asyncio.create_task(self._send_later(topic, partition, messages))
            self._sending.add(sending)
            return _Done()
        return self._producer.send(topic, partition, messages)

    async def _send_later(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        await asyncio.Event().wait()
        await self._producer.send(topic, partition, messages)

    async def begin(self) -> None:
        await self._producer.begin()

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        await self._producer.send_offsets(group, offsets)

    async def commit(self) -> None:
        for sending in self._sending:
            sending.cancel()
        self._sending.clear()
        await self._producer.commit()

    async def abort(self) -> None:
        await self._producer.abort()

    async def close(self) -> None:
        await self._producer.close()


class _Done:
    """Nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


SABOTAGES: dict[str, type[Sabotage]] = {
    "": Sabotage,
    "no fence": WithoutFence,
    "no look": WithoutLook,
    "no seek": WithoutSeek,
    "group offset": GroupOffset,
    "no await": WithoutAwait,
}
