"""A member of a consumer group: follows its group from within `poll`, and reads its partitions fairly."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter

from connectors.broker import BrokerError, OnChange, Record, TopicPartition
from connectors.memory.cluster import Cluster
from connectors.memory.group import Group
from connectors.memory.log import PartitionLog


class MemoryConsumer:
    """See `connectors.broker.Consumer`. `name` stays the same when the consumer has to join its group anew."""

    def __init__(
        self, cluster: Cluster, group: Group, topics: Mapping[str, int], on_assigned: OnChange, on_revoked: OnChange
    ) -> None:
        self._cluster = cluster
        self._group = group
        self._topics = topics
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._member = self.name = group.join(topics)
        self._generation = 0
        self._closed = False
        self._woken = False
        # Those served longest ago come first.
        self._cursors: dict[TopicPartition, _Cursor] = {}

    async def poll(
        self, max_records: int, timeout_seconds: float, busy: Collection[int] = ()
    ) -> dict[TopicPartition, list[Record]]:
        """Whatever it finds, it lets other tasks run once; with a time-out of 0 it does not wait beyond that.

        Raises BrokerError when the consumer is closed.
        """
        assert max_records > 0
        await self._cluster.reach("poll", self.name)
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            if busy and self.changed():
                return {}
            self._follow_group()
            if records := self._take(max_records, busy):
                return records
            remaining = deadline - loop.time()
            if remaining <= 0 or self._woken:
                self._woken = False
                return {}
            await self._cluster.bell.wait(remaining)

    def changed(self) -> bool:
        group = self._group
        return (
            self._closed
            or self._member not in group
            or group.awaits(self._member)
            or (self._generation != group.generation and not group.rebalancing)
        )

    def wake(self) -> None:
        self._woken = True
        self._cluster.bell.ring()

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._cursors)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises BrokerError when one is not assigned."""
        for partition in partitions:
            self._cursor(partition).paused = True

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises BrokerError when one is not assigned."""
        for partition in partitions:
            self._cursor(partition).paused = False
        self._cluster.bell.ring()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Raises BrokerError when it is not assigned. An offset behind the end starts over at the beginning."""
        self._cursor(partition).position = offset
        self._cluster.bell.ring()

    async def is_member(self) -> bool:
        await self._cluster.reach("poll", self.name)
        group = self._group
        return self._member in group and not group.rebalancing and self._generation == group.generation

    def settled(self) -> bool:
        return self._member in self._group and self._generation == self._group.generation

    def lag(self) -> dict[TopicPartition, int]:
        return {partition: cursor.waiting() for partition, cursor in self._cursors.items()}

    async def close(self) -> None:
        """Leaves the group; no callback is called. Twice is once."""
        await self._cluster.reach("leave", self.name)
        self._closed = True
        self._cursors = {}
        self.expire()

    def expire(self) -> None:
        """The group throws this member out; it will notice when it polls."""
        if self._member in self._group:
            self._group.leave(self._member)

    def _follow_group(self) -> None:
        if self._closed:
            raise BrokerError(f"{self.name} is closed")
        group = self._group
        if self._member not in group:
            self._give_up()
            self._member = group.join(self._topics)
        elif group.awaits(self._member):
            self._give_up()
            group.join_again(self._member)
        if self._generation != group.generation and not group.rebalancing:
            self._generation = group.generation
            self._take_over(group.assignment(self._member))

    def _give_up(self) -> None:
        if lost := self.assignment():
            self._cursors = {}
            self._on_revoked(lost)

    def _take_over(self, gained: frozenset[TopicPartition]) -> None:
        offsets = self._cluster.offsets.get(self._group.name, {})
        for partition in sorted(gained):
            log = self._cluster.log(*partition)
            self._cursors[partition] = _Cursor(log, offsets.get(partition, log.start))
        if gained:
            self._on_assigned(gained)

    def _take(self, max_records: int, busy: Collection[int]) -> dict[TopicPartition, list[Record]]:
        ready = []
        for partition, cursor in self._cursors.items():
            if not cursor.paused and partition.partition not in busy and (waiting := cursor.waiting()):
                ready.append((waiting, partition, cursor))
        if not ready:
            return {}
        # At least one record each, for as many as there may be; what the short ones leave goes to the long ones.
        del ready[max_records:]
        for _, partition, cursor in ready:
            del self._cursors[partition]
            self._cursors[partition] = cursor
        ready.sort(key=itemgetter(0))
        records = {}
        left = max_records
        for others, (waiting, partition, cursor) in zip(range(len(ready), 0, -1), ready, strict=True):
            number = min(waiting, left // others)
            left -= number
            records[partition] = cursor.take(number)
        return records

    def _cursor(self, partition: TopicPartition) -> "_Cursor":
        if (cursor := self._cursors.get(partition)) is None:
            raise BrokerError(f"{partition.topic}-{partition.partition} is not assigned to {self.name}")
        return cursor


class _Cursor:
    __slots__ = ("log", "paused", "position")

    def __init__(self, log: PartitionLog, position: int) -> None:
        self.log = log
        self.position = position
        self.paused = False

    def waiting(self) -> int:
        if self.position > self.log.end:
            # Out of range, so it begins anew: what auto.offset.reset=earliest does.
            self.position = self.log.start
        waiting = self.log.waiting(self.position)
        if not waiting:
            # Markers and aborted records are passed by.
            self.position = max(self.position, self.log.stable)
        return waiting

    def take(self, number: int) -> list[Record]:
        records = self.log.read(self.position, number)
        self.position = records[-1].offset + 1
        return records
