"""The in-memory broker: what one process needs of Kafka, with Kafka's semantics and no server.

Partition logs with markers, transactions with fencing, committed reads, groups with eager rebalance. No threads, no
time but a poll's time-out, nothing random: the same calls in the same order give the same records. Faults are injected
through a hook that is awaited at named points (`cluster.POINTS`).
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import chain

from connectors.broker import BrokerError, Consumer, Message, OnChange, Record, TopicPartition
from connectors.memory.cluster import Cluster, Hook
from connectors.memory.consumer import MemoryConsumer
from connectors.memory.group import Group
from connectors.memory.producer import MemoryProducer, TransactionalId

# Large enough that the batch costs nothing beside its records, small enough that a reader's fault points come often.
_READ_RECORDS = 2000

_QUIET_SECONDS = 0.2  # after which a follower is told that nothing came


class MemoryBroker:
    """See `connectors.broker.Broker`; beyond it, plain producing, deletion, compaction and a way to expire members."""

    def __init__(self, topics: Mapping[str, int], compacted: Collection[str] = (), *, hook: Hook | None = None) -> None:
        """`topics` with their numbers of partitions; `compacted` names those whose records must have keys."""
        self._cluster = Cluster(topics, compacted, hook)
        self._compacted = frozenset(compacted)
        self._groups: dict[str, Group] = {}
        self._consumers: dict[str, list[MemoryConsumer]] = {}
        self._identities: dict[str, TransactionalId] = {}

    async def partition_count(self, topic: str) -> int:
        await self._cluster.reach("partition_count", topic)
        return len(self._cluster.partitions(topic))

    async def earliest(self, partition: TopicPartition) -> int:
        return self._cluster.log(*partition).start

    async def undecided(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        logs = {partition: self._cluster.log(*partition) for partition in partitions}
        return {partition: log.end - log.stable for partition, log in logs.items() if log.end > log.stable}

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self._cluster.log(*partition).stable for partition in partitions}

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        found = self._cluster.offsets.get(group, {})
        return {partition: found[partition] for partition in partitions if partition in found}

    async def join(
        self, group: str, topics: Sequence[str], *, on_assigned: OnChange, on_revoked: OnChange
    ) -> MemoryConsumer:
        """Raises UnknownTopic, and BrokerError when the group's members read other topics."""
        await self._cluster.reach("join", group)
        counts = {topic: len(self._cluster.partitions(topic)) for topic in topics}
        if group not in self._groups:
            self._groups[group] = Group(group, self._cluster.bell)
        consumer = MemoryConsumer(self._cluster, self._groups[group], counts, on_assigned, on_revoked)
        self._consumers.setdefault(group, []).append(consumer)
        return consumer

    async def producer(self, transactional_id: str) -> MemoryProducer:
        await self._cluster.reach("producer", transactional_id)
        identity = self._identities.setdefault(transactional_id, TransactionalId(transactional_id))
        return MemoryProducer(self._cluster, identity)

    async def read_to_end(self, partition: TopicPartition) -> AsyncIterator[Sequence[Record]]:
        """Raises UnknownTopic at the first step."""
        log = self._cluster.log(*partition)
        position, end = log.start, log.stable
        while True:
            await self._cluster.reach("read", f"{partition.topic}-{partition.partition}")
            # A long restore lets other tasks run.
            await asyncio.sleep(0)
            records = log.read(position, _READ_RECORDS, end)
            if not records:
                return
            yield records
            position = records[-1].offset + 1

    async def follow(self, partition: TopicPartition, from_offset: int = 0) -> AsyncIterator[Sequence[Record]]:
        """Raises UnknownTopic at the first step."""
        log = self._cluster.log(*partition)
        position = max(from_offset, log.start)
        while True:
            await self._cluster.reach("read", f"{partition.topic}-{partition.partition}")
            await asyncio.sleep(0)
            records = log.read(position, _READ_RECORDS)
            yield records
            if records:
                position = records[-1].offset + 1
            elif not log.waiting(position):
                await self._cluster.bell.wait(_QUIET_SECONDS)

    def produce(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """Appends outside of any transaction: visible at once, unless an open transaction stands before.

        Raises UnknownTopic, and BrokerError for a message without a key on a compacted topic.
        """
        self._cluster.log(topic, partition).append(messages)
        self._cluster.bell.ring()

    def committed(self, topic: str, partition: int, from_offset: int = 0) -> list[Record]:
        """The committed records from this offset on. Raises UnknownTopic."""
        return self._cluster.log(topic, partition).committed(from_offset)

    def committed_offset(self, group: str, partition: TopicPartition) -> int | None:
        """The next offset that the group is to read; None before its first commit."""
        return self._cluster.offsets.get(group, {}).get(partition)

    def waiting(self, partition: TopicPartition, from_offset: int) -> int:
        """How many committed records stand at this offset or above. Raises UnknownTopic."""
        return self._cluster.log(*partition).waiting(from_offset)

    def forget(self, topic: str, partition: int, before_offset: int) -> None:
        """Deletes records below an offset, but none that is not stable yet. Raises UnknownTopic."""
        self._cluster.log(topic, partition).forget(before_offset)

    def compact(self, topic: str) -> None:
        """Keeps the last value of each key, in every partition, up to the first open transaction.

        Tombstones go at once: compact when no reader is half-way, as Kafka does by keeping them for a day.
        Raises UnknownTopic, and BrokerError when the topic is not a compacted one.
        """
        logs = self._cluster.partitions(topic)
        if topic not in self._compacted:
            raise BrokerError(f"{topic} is not compacted")
        for log in logs:
            log.compact()

    def consumers(self, group: str) -> list[MemoryConsumer]:
        """All that ever joined, in that order, closed and expired ones among them."""
        return list(self._consumers.get(group, ()))

    def expire(self, consumer: Consumer) -> None:
        """Throws a member out of its group, as after a missed session time-out.

        The member learns of it at its next poll; until then it may go on with what it has read. Nothing happens to one
        that is no member now.
        """
        for member in chain.from_iterable(self._consumers.values()):
            if member is consumer:
                member.expire()
