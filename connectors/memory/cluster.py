"""What producers, consumers and the broker's door share: the logs, committed offsets, the bell and the fault points."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import count
from typing import Literal, get_args

from connectors.broker import TopicPartition, UnknownTopic
from connectors.memory.log import PartitionLog

Point = Literal[
    "partition_count",
    "join",
    "poll",
    "leave",
    "read",
    "producer",
    "begin",
    "send",
    "send_offsets",
    "commit.before",
    "commit.marker",
    "commit.after",
    "abort",
    "close",
]
POINTS: tuple[Point, ...] = get_args(Point)
"""Where a hook is awaited, before the operation takes place. `send`: when its awaitable is awaited; a BrokerError there
loses the batch. `commit.marker`: the transaction is committed for good and about to become visible in one more
partition, at last in the group's offsets. `commit.after`: it is visible everywhere, the producer does not know yet."""

Hook = Callable[[str, str], Awaitable[None]]
"""Awaited with the point's name and who is there: a transactional id, a consumer's name, a group, a topic or
`topic-partition`. It may wait, or raise what the caller is to see."""


class Bell:
    """Wakes everyone who waits for something to happen."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                _wake(future)

    async def wait(self, seconds: float) -> None:
        """Until the next ring, or until the time is over."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        timer = loop.call_later(seconds, _wake, future)
        self._waiting.append(future)
        try:
            await future
        finally:
            timer.cancel()
            if future in self._waiting:
                self._waiting.remove(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Cluster:
    """The state of a broker that outlives its clients."""

    def __init__(self, topics: Mapping[str, int], compacted: Collection[str], hook: Hook | None) -> None:
        arrivals = count()
        self.bell = Bell()
        self.offsets: dict[str, dict[TopicPartition, int]] = {}
        self._hook = hook
        self._logs = {
            topic: tuple(PartitionLog(topic, p, arrivals, compacted=topic in compacted) for p in range(partitions))
            for topic, partitions in topics.items()
        }

    def partitions(self, topic: str) -> tuple[PartitionLog, ...]:
        """Raises UnknownTopic."""
        if (logs := self._logs.get(topic)) is None:
            raise UnknownTopic(topic)
        return logs

    def log(self, topic: str, partition: int) -> PartitionLog:
        """Raises UnknownTopic, also when the topic has no such partition."""
        logs = self.partitions(topic)
        if not 0 <= partition < len(logs):
            raise UnknownTopic(f"{topic} has no partition {partition}")
        return logs[partition]

    def commit_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        self.offsets.setdefault(group, {}).update(offsets)

    async def reach(self, point: Point, who: str) -> None:
        if self._hook is not None:
            await self._hook(point, who)
