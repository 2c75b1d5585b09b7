"""What is in the topics: read all along by a reader that watches, and once more at the end by one that looks back.

Both are plain consumers of committed records; they know the names of the topics and where a position stands.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from schemas import topics

DEADLINE_SECONDS = 60.0
POSITION_KEY = b"p"
"""The key of the changelog's record that says how far a partition has come."""


class Place(NamedTuple):
    """A partition of a topic, without the run's prefix."""

    topic: str
    partition: int


class Line(NamedTuple):
    """One record."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


Books = Mapping[Place, list[Line]]
"""The records of every place, in order."""


class Position(NamedTuple):
    """What the changelog says of how far a partition has come."""

    next_offsets: dict[str, int]
    clock_us: int
    digest: int


def position_in(value: bytes) -> Position:
    """The position in a changelog record."""
    next_offsets, clock_us, digest, *_ = msgspec.msgpack.decode(value)
    return Position(next_offsets, clock_us, digest)


def places(partitions: int) -> list[Place]:
    """Every place that a run uses."""
    return [
        Place(topic.name, partition)
        for topic in topics.ALL
        if topic.partitioned_like_input
        for partition in range(partitions)
    ]


class Watcher:
    """Reads every topic from its beginning while everything goes on; `seen` is what it was given, in that order."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int) -> None:
        self.seen: defaultdict[Place, list[Line]] = defaultdict(list)
        self.positions: dict[int, Position] = {}
        """The last of each partition."""
        self.transactions = 0
        self.trouble: list[str] = []
        """What no reader should be told."""
        self._prefix = prefix
        self._consumer = _consumer(bootstrap, "watcher")
        self._places = places(partitions)
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._consumer.start()
        _assign(self._consumer, self._prefix, self._places)
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        await _stop(self._consumer)

    def behind(self, written: Mapping[Place, int]) -> dict[Place, int]:
        """How many of the records below these offsets have not been worked off yet, where there are some."""
        waiting = {}
        for place, end in written.items():
            at = self.positions.get(place.partition)
            done = 0 if at is None else at.next_offsets.get(place.topic, 0)
            if done < end:
                waiting[place] = end - done
        return waiting

    def ends(self) -> dict[Place, int]:
        """Where the inputs end as far as they have been seen: what the workers passed on is among it."""
        return {
            Place(topic.name, partition): lines[-1].offset + 1
            for topic in topics.INPUTS
            for (name, partition), lines in self.seen.items()
            if name == topic.name and lines
        }

    async def reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether it has read up to there."""
        return all([await self._consumer.position(there) >= end for there, end in ends.items()])

    async def _read(self) -> None:
        while True:
            try:
                _keep(await self._consumer.getmany(timeout_ms=100), self._prefix, self.seen, self._noted)
            except Exception as error:
                self.trouble.append(f"the concurrent reader failed: {error!r}")
                raise

    def _noted(self, place: Place, line: Line) -> None:
        if place.topic == topics.ENGINE_STATE.name and line.key == POSITION_KEY:
            self.transactions += 1
            self.positions[place.partition] = position_in(line.value or b"")


async def read_all(bootstrap: str, prefix: str, partitions: int) -> Books:
    """All committed records when the last transaction has come to its end. Nobody must write any more.

    Raises TimeoutError when one does not come to its end.
    """
    ends = await settled_ends(bootstrap, prefix, partitions)
    found: defaultdict[Place, list[Line]] = defaultdict(list)
    consumer = _consumer(bootstrap, "checker")
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await consumer.start()
            there = _assign(consumer, prefix, places(partitions))
            while waiting := [place for place in there if await consumer.position(place) < ends[place]]:
                _keep(await consumer.getmany(*waiting, timeout_ms=100), prefix, found)
        finally:
            await _stop(consumer)
    return found


async def settled_ends(bootstrap: str, prefix: str, partitions: int) -> dict[TopicPartition, int]:
    """Where everything ends when no transaction is open any more. Raises TimeoutError when one stays open."""
    committed, everything = _consumer(bootstrap, "checker"), _consumer(bootstrap, "checker", "read_uncommitted")
    there = [TopicPartition(prefix + topic, partition) for topic, partition in places(partitions)]
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await committed.start()
            await everything.start()
            # A commit is answered a moment before all partitions know of it; what the dead left open takes its time.
            while (ends := await committed.end_offsets(there)) != await everything.end_offsets(there):
                await asyncio.sleep(0.02)
        finally:
            await _stop(committed)
            await _stop(everything)
    return dict(ends)


async def group_offsets(bootstrap: str, group: str, prefix: str) -> dict[Place, int]:
    """What the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="checker")
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
    return {_place(there, prefix): offset.offset for there, offset in offsets.items()}


def _consumer(bootstrap: str, name: str, isolation: str = "read_committed") -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id=name,
        group_id=None,
        enable_auto_commit=False,
        # An offset that is not there any more is a finding, not a reason to begin anew.
        auto_offset_reset="none",
        isolation_level=isolation,
        fetch_max_wait_ms=50,
    )


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # The library lets one of its own cancelled tasks through, and leaves its connections open.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        await consumer._client.close()


def _assign(consumer: AIOKafkaConsumer, prefix: str, where: Iterable[Place]) -> list[TopicPartition]:
    there = [TopicPartition(prefix + topic, partition) for topic, partition in where]
    consumer.assign(there)
    for place in there:
        consumer.seek(place, 0)
    return there


def _place(there: TopicPartition, prefix: str) -> Place:
    return Place(there.topic[len(prefix) :], there.partition)


def _keep(fetched: Mapping[TopicPartition, list[Any]], prefix: str, found: Any, noted: Any = None) -> None:
    for there, records in fetched.items():
        place = _place(there, prefix)
        for record in records:
            line = Line(record.offset, record.key, record.value, record.timestamp)
            found[place].append(line)
            if noted is not None:
                noted(place, line)
