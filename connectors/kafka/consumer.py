"""A member of a consumer group on Kafka.

aiokafka changes the assignment in the background, whenever the group does. Here a change waits for the next `poll`,
which tells of it before it gives a record of the new assignment; until then the partitions gained are held back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.structs import TopicPartition as KafkaPartition

from connectors.broker import BrokerError, OnChange, Record, TopicPartition
from connectors.kafka import wire
from connectors.kafka.errors import Unusable, is_lasting

FETCH_WAIT_MS = 200
"""How long a broker may keep an empty fetch: a partition that is resumed meanwhile waits for it."""

_ENOUGH_RECORDS = 20_000
"""Fetched and not given yet: beyond that nothing more is fetched. A megabyte of each partition may come on top."""
_PATIENCE_MS = 10_000  # of a fetch that finds nothing; nobody waits for its end
_PACE_SECONDS = 0.001

_NO_READER = frozenset(
    {kafka.IllegalGenerationError.errno, kafka.UnknownMemberIdError.errno, kafka.RebalanceInProgressError.errno}
)
_Fetched = Any
"""An aiokafka ConsumerRecord."""


class _Change(NamedTuple):
    gained: bool
    partitions: frozenset[TopicPartition]
    membership: wire.Membership


class KafkaConsumer:
    """See `connectors.broker.Consumer`."""

    def __init__(
        self,
        topics: Sequence[str],
        prefix: str,
        arguments: Mapping[str, Any],
        on_assigned: OnChange,
        on_revoked: OnChange,
    ) -> None:
        """`arguments`: what an AIOKafkaConsumer is made with, the group among it."""
        self.membership = wire.Membership()
        """As which member of which generation it holds what it has been told of."""
        self._topics = topics
        self._prefix = prefix
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._kafka = AIOKafkaConsumer(
            **arguments,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            # Partitions with the same number of all topics go to the same member.
            partition_assignment_strategy=(RangePartitionAssignor,),
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        self._changes: deque[_Change] = deque()
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._paused: set[TopicPartition] = set()
        self._waiting: dict[TopicPartition, list[_Fetched]] = {}
        """Fetched and not given yet, those served longest ago first."""
        # Where partitions were sought to since the fetch in hand began: it may have looked before that.
        self._sought: dict[TopicPartition, int] = {}
        self._pumping: asyncio.Task[None] | None = None
        self._failure: BrokerError | None = None
        self._news = asyncio.Event()
        """Something has come, a change among it."""
        self._room = asyncio.Event()
        self._hungry = False
        """Somebody waits in `poll`."""
        self._woken = False
        self._settled = False
        self._closed = False

    async def start(self) -> None:
        """Connects and joins. Raises an aiokafka error."""
        self._kafka.subscribe([self._prefix + topic for topic in self._topics], listener=_Listener(self._note))
        await self._kafka.start()
        self._pumping = asyncio.create_task(self._pump(), name="fetch")

    async def poll(
        self, max_records: int, timeout_seconds: float, busy: Collection[int] = ()
    ) -> dict[TopicPartition, list[Record]]:
        """Raises BrokerError for what the group or a fetch can't recover from."""
        deadline = monotonic() + timeout_seconds
        await asyncio.sleep(0)  # others get their turn whatever is found
        while True:
            self._news.clear()
            if busy and self._changes:
                return {}
            changed = self._tell()
            ready = self._ready(busy)
            if self._failure is not None:
                raise self._failure
            left = deadline - monotonic()
            if ready or changed or left <= 0 or self._woken:
                self._woken = False
                return self._give(ready, max_records)
            self._hungry = True
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                pass
            finally:
                self._hungry = False

    def changed(self) -> bool:
        return bool(self._changes)

    def wake(self) -> None:
        self._woken = True
        self._news.set()

    def assignment(self) -> frozenset[TopicPartition]:
        return self._assigned

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises BrokerError when one is not assigned."""
        for partition in partitions:
            self._expect(partition)
            self._paused.add(partition)
            self._quietly(self._kafka.pause, partition)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Raises BrokerError when one is not assigned."""
        for partition in partitions:
            self._expect(partition)
            self._paused.discard(partition)
            self._quietly(self._kafka.resume, partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Raises BrokerError when it is not assigned."""
        self._expect(partition)
        self._waiting.pop(partition, None)
        self._sought[partition] = offset
        self._quietly(partial(self._kafka.seek, offset=offset), partition)

    async def is_member(self) -> bool:
        """By a heartbeat of its own. True while no broker answers: then nobody else can say either."""
        member = self.membership
        if member.generation < 0:
            return False
        request = HeartbeatRequest(self._kafka._group_id, member.generation, member.member_id)
        try:
            answer = await self._kafka._coordinator._send_req(request)
        except kafka.KafkaError:
            return True
        return answer.error_code not in _NO_READER

    def settled(self) -> bool:
        return self._settled and not self._changes

    def lag(self) -> dict[TopicPartition, int]:
        found = {}
        for partition in self._assigned:
            there = self._there(partition)
            try:
                end = self._kafka.last_stable_offset(there)
                state = self._kafka._subscription.subscription.assignment.state_value(there)
            except (IllegalStateError, AttributeError):
                continue
            if end is not None and end >= 0 and state.has_valid_position:
                waiting = self._waiting.get(partition)
                found[partition] = max(end - (waiting[0].offset if waiting else state.position), 0)
        return found

    async def close(self) -> None:
        """Leaves the group; no callback is called. Twice is once."""
        if self._closed:
            return
        self._closed = True
        self._assigned = frozenset()
        self._failure = BrokerError("the consumer is closed")
        self._news.set()
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        await stop(self._kafka)

    def _ready(self, busy: Collection[int]) -> dict[TopicPartition, list[_Fetched]]:
        return {
            there: waiting
            for there, waiting in self._waiting.items()
            if there not in self._paused and there.partition not in busy
        }

    async def _pump(self) -> None:
        """Takes in what comes, all the time.

        aiokafka sends no fetch to a broker while something that it brought lies unread. Left to `poll`, whatever comes
        during a transaction would wait for the end of this one, of the next one, and of its own.
        """
        try:
            while True:
                while sum(map(len, self._waiting.values())) >= _ENOUGH_RECORDS:
                    self._room.clear()
                    await self._room.wait()
                self._sought.clear()
                fetched = await self._kafka.getmany(timeout_ms=_PATIENCE_MS)
                for there, records in fetched.items():
                    partition = TopicPartition(there.topic[len(self._prefix) :], there.partition)
                    if (offset := self._sought.get(partition)) is not None:
                        # It may have looked before the seek.
                        self._quietly(partial(self._kafka.seek, offset=offset), partition)
                    elif partition in self._assigned:
                        self._waiting.setdefault(partition, []).extend(records)
                if fetched:
                    self._news.set()
                    if not self._hungry:
                        # Nobody waits for it: the next fetch may as well bring more.
                        await asyncio.sleep(_PACE_SECONDS)
        except kafka.ConsumerStoppedError:
            self._failure = BrokerError("the consumer is closed")
        except kafka.KafkaError as error:
            kind = Unusable if is_lasting(error) else BrokerError
            self._failure = kind(f"reading {', '.join(self._topics)}: {error!r}")
            self._failure.__cause__ = error
        self._news.set()

    def _give(
        self, ready: dict[TopicPartition, list[_Fetched]], max_records: int
    ) -> dict[TopicPartition, list[Record]]:
        """A fair share of each, what the short ones leave to the long ones; who was served longest ago is first."""
        chosen = sorted(list(ready.items())[:max_records], key=lambda item: len(item[1]))
        found: dict[TopicPartition, list[Record]] = {}
        left = max_records
        for others, (partition, waiting) in zip(range(len(chosen), 0, -1), chosen, strict=True):
            number = min(len(waiting), left // others)
            left -= number
            topic, index = partition
            found[partition] = [
                Record(topic, index, record.offset, record.key, record.value, us := record.timestamp * 1000, us)
                for record in waiting[:number]
            ]
            del self._waiting[partition]
            if number < len(waiting):
                self._waiting[partition] = waiting[number:]
        self._room.set()
        return found

    def _note(self, gained: bool, there: Iterable[KafkaPartition]) -> None:
        """Called by aiokafka, at any time."""
        coordinator = self._kafka._coordinator
        partitions = frozenset(TopicPartition(topic[len(self._prefix) :], number) for topic, number in there)
        if gained:
            for partition in partitions:
                self._quietly(self._kafka.pause, partition)
        if not self._closed:
            membership = wire.Membership(coordinator.generation, coordinator.member_id)
            self._changes.append(_Change(gained, partitions, membership))
            self._news.set()

    def _tell(self) -> bool:
        """Tells of the changes that have come; whether there were any. Nobody is told of an empty assignment."""
        if not self._changes:
            return False
        while self._changes:
            change = self._changes.popleft()
            self._settled = change.gained
            if not change.partitions:
                continue
            if change.gained:
                self.membership = change.membership
                self._assigned |= change.partitions
                self._on_assigned(change.partitions)
                for partition in change.partitions - self._paused:
                    self._quietly(self._kafka.resume, partition)
            else:
                self._assigned -= change.partitions
                self._paused -= change.partitions
                for partition in change.partitions:
                    self._waiting.pop(partition, None)
                self._on_revoked(change.partitions)
        return True

    def _expect(self, partition: TopicPartition) -> None:
        if partition not in self._assigned:
            raise BrokerError(f"{partition.topic}-{partition.partition} is not assigned")

    def _there(self, partition: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._prefix + partition.topic, partition.partition)

    def _quietly(self, do: Callable[[KafkaPartition], None], partition: TopicPartition) -> None:
        """A partition that is lost already, though that has not been told yet, needs nothing done."""
        try:
            do(self._there(partition))
        except IllegalStateError:
            return


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Leaves the group and closes the connections.

    aiokafka waits for fetches that it has called off, and one that was about to be sent again answers with the
    cancellation itself: that one is not meant for us, and the connections are still open then.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Does as little as possible: what it raises aiokafka swallows, and while it waits the whole group does."""

    def __init__(self, note: Callable[[bool, Iterable[KafkaPartition]], None]) -> None:
        self._note = note

    def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        self._note(False, revoked)

    def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        self._note(True, assigned)
