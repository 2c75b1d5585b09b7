"""The worker's pattern broken on purpose, one piece at a time: what the checks must notice, or they prove nothing.

All of it is done from outside, by what a worker is given or by a worker derived from the real one.
"""

from collections.abc import AsyncIterator, Awaitable, Collection, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from connectors.broker import Broker, Consumer, Message, OnChange, Producer, Record, TopicPartition
from connectors.memory import MemoryBroker
from connectors.worker import Worker
from schemas import topics

from .faults import PROCESS, Victim
from .fleet import GROUP

_K = TypeVar("_K")
_V = TypeVar("_V")


class Sabotage:
    """None at all: the real worker on the real broker. One object serves one run."""

    def worker_class(self) -> type[Worker]:
        """What a worker process runs."""
        return Worker

    def door(self, broker: MemoryBroker, name: str) -> Broker:
        """The broker as the worker process of this name sees it."""
        return broker


class Door:
    """Passes everything on to the broker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker

    async def partition_count(self, topic: str) -> int:
        return await self.broker.partition_count(topic)

    async def earliest(self, partition: TopicPartition) -> int:
        return await self.broker.earliest(partition)

    async def undecided(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self.broker.undecided(partitions)

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self.broker.ends(partitions)

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self.broker.group_offsets(group, partitions)

    async def join(self, group: str, topics: Sequence[str], *, on_assigned: OnChange, on_revoked: OnChange) -> Consumer:
        return await self.broker.join(group, topics, on_assigned=on_assigned, on_revoked=on_revoked)

    async def producer(self, transactional_id: str) -> Producer:
        return await self.broker.producer(transactional_id)

    def read_to_end(self, partition: TopicPartition) -> AsyncIterator[Sequence[Record]]:
        return self.broker.read_to_end(partition)

    def follow(self, partition: TopicPartition, from_offset: int = 0) -> AsyncIterator[Sequence[Record]]:
        return self.broker.follow(partition, from_offset)


class PassingProducer:
    """Passes everything on to a producer."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer

    async def begin(self) -> None:
        await self.producer.begin()

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        return self.producer.send(topic, partition, messages)

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        await self.producer.send_offsets(group, offsets)

    async def commit(self) -> None:
        await self.producer.commit()

    async def abort(self) -> None:
        await self.producer.abort()

    async def close(self) -> None:
        await self.producer.close()


class _Done:
    """Nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class WithoutFence(Sabotage):
    """A transactional id of its own for each worker: nobody fences anybody.

    The transactions of the dead are aborted all the same, as Kafka does after their time-out: what is left to notice
    is the living who commit what is no longer theirs.
    """

    def __init__(self) -> None:
        self.owners: dict[str, dict[str, Victim]] = {}

    def door(self, broker: MemoryBroker, name: str) -> Broker:
        return _UnfencedDoor(broker, name, self.owners)


class _UnfencedDoor(Door):
    def __init__(self, broker: MemoryBroker, name: str, owners: dict[str, dict[str, Victim]]) -> None:
        super().__init__(broker)
        self._name = name
        self._owners = owners

    async def undecided(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        # Without a fence the living leave something open, and whoever looked would wait for them.
        return {}

    async def producer(self, transactional_id: str) -> Producer:
        known = self._owners.setdefault(transactional_id, {})
        for other, owner in [*known.items()]:
            if owner.dead:
                await self.broker.producer(other)
                known.pop(other, None)
        process = PROCESS.get()
        assert process is not None
        own = f"{transactional_id} of {self._name}"
        known[own] = process
        return await self.broker.producer(own)


class WithoutSeek(Sabotage):
    """After a restore the consumer goes on from where it is."""

    def worker_class(self) -> type[Worker]:
        return _SeeklessWorker


class _SeeklessWorker(Worker):
    async def _take(self, consumer: Consumer, partition: int) -> None:
        await super()._take(_Unmoved(consumer), partition)


class _Unmoved:
    """A consumer that does not do as it is told when it is to seek."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def poll(
        self, max_records: int, timeout_seconds: float, busy: Collection[int] = ()
    ) -> dict[TopicPartition, list[Record]]:
        return await self._consumer.poll(max_records, timeout_seconds, busy)

    def changed(self) -> bool:
        return self._consumer.changed()

    def wake(self) -> None:
        self._consumer.wake()

    def assignment(self) -> frozenset[TopicPartition]:
        return self._consumer.assignment()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._consumer.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._consumer.resume(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Stays where it is."""

    async def close(self) -> None:
        await self._consumer.close()


class GroupOffset(Sabotage):
    """The position is the group's offset, as it was when the partition was assigned: before the fence."""

    def worker_class(self) -> type[Worker]:
        return _TrustingWorker

    def door(self, broker: MemoryBroker, name: str) -> Broker:
        return Door(broker)


class _TrustingWorker(Worker):
    def _on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        super()._on_assigned(partitions)
        self._assigned_at = {place: self._group_offset(place) for place in partitions}

    async def _take(self, consumer: Consumer, partition: int) -> None:
        await super()._take(consumer, partition)
        next_offsets = self.tasks[partition].next_offsets
        for topic in next_offsets:
            place = TopicPartition(topic, partition)
            # Taken anew without a new assignment, it is asked for again: only what lies before a fence is at stake.
            next_offsets[topic] = self._assigned_at.pop(place, self._group_offset(place))
            consumer.seek(place, next_offsets[topic])

    def _group_offset(self, place: TopicPartition) -> int:
        door = self._broker
        assert isinstance(door, Door)
        return door.broker.committed_offset(GROUP, place) or 0


class WithoutAwait(Sabotage):
    """Nobody waits for what becomes of a batch before the commit."""

    def door(self, broker: MemoryBroker, name: str) -> Broker:
        return _CarelessDoor(broker)


class _CarelessDoor(Door):
    async def producer(self, transactional_id: str) -> Producer:
        return _CarelessProducer(await self.broker.producer(transactional_id))


class _CarelessProducer(PassingProducer):
    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        self.producer.send(topic, partition, messages)
        return _Done()


class OutsideTransaction(Sabotage):
    """What is published goes out at once; only the changelog and the offsets are in the transaction."""

    def door(self, broker: MemoryBroker, name: str) -> Broker:
        return _HastyDoor(broker)


class _HastyDoor(Door):
    async def producer(self, transactional_id: str) -> Producer:
        return _HastyProducer(await self.broker.producer(transactional_id), self.broker)


class _HastyProducer(PassingProducer):
    def __init__(self, producer: Producer, broker: MemoryBroker) -> None:
        super().__init__(producer)
        self._broker = broker

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        if topic == topics.ENGINE_STATE.name:
            return self.producer.send(topic, partition, messages)
        self._broker.produce(topic, partition, messages)
        return _Done()


class WithoutIds(Sabotage):
    """An engine that forgets the ids of CDRs and commands at once."""

    def worker_class(self) -> type[Worker]:
        return _ForgetfulWorker


class _ForgetfulWorker(Worker):
    async def _take(self, consumer: Consumer, partition: int) -> None:
        await super()._take(consumer, partition)
        engine = self.tasks[partition].engine
        engine._seen_cdrs = _Amnesia()
        engine._seen_commands = _Amnesia()


class _Amnesia(dict[_K, _V]):
    """Keeps nothing of what it is told. (A compiled engine looks into a dict without asking its `get`.)"""

    def __setitem__(self, key: _K, value: _V) -> None:
        pass

    def __delitem__(self, key: _K) -> None:
        self.pop(key, None)
