"""The worker: takes partitions from a consumer group and runs the engine over their events, exactly once.

It is the same over Apache Kafka and over the in-memory broker. One `PartitionTask` owns one partition of all input
topics: a transactional producer, a state machine, a position. Between taking a batch in and its commit nothing of the
batch can be seen from outside; whatever goes wrong on the way drops the state, and the next owner rebuilds it.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from connectors.broker import Ambiguous, Broker, Consumer, Fenced, Message, Producer, Record, TopicPartition
from engine.changelog import POSITION, PositionRecord, decode_position
from engine.partition import Output, Partition
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import UNREADABLE, decode_account_command, decode_cdr, decode_switch_event, encode, pack
from schemas.events import CallAttempt, Cdr, Event
from schemas.facts import RejectedEvent
from schemas.partitions import partition_of
from schemas.times import to_text

MAX_EVENT_BYTES = 65_536
"""A larger record is no event of ours: the largest real ones have some hundred bytes."""

_DECODERS: dict[str, Callable[[bytes], Event]] = {
    topics.CALL_ATTEMPTS.name: decode_switch_event,
    topics.CDRS.name: decode_cdr,
    topics.ACCOUNT_COMMANDS.name: decode_account_command,
}
_RANK = {topic.name: rank for rank, topic in enumerate(topics.INPUTS)}

Observer = Callable[[Sequence[Output]], None]
"""Told of what a batch publishes, once it has been committed."""


class StateLost(Exception):
    """The state that was restored does not fit together: it must not be worked with."""


class PartitionTask:
    """The life of one partition in one worker: `take`, then `process` batch after batch until it is lost."""

    def __init__(self, broker: Broker, application: str, partition: int, partitions: int, engine: Partition) -> None:
        self.partition = partition
        self.engine = engine
        self.next_offsets: dict[str, int] = {topic.name: 0 for topic in topics.INPUTS}
        self.forwarded = 0
        """Events that came to a partition that their key does not belong to."""
        self._broker = broker
        self._application = application
        self._partitions = partitions
        self._producer: Producer | None = None
        self._digest = b""
        self._homes: dict[str, int] = {}

    async def take(self) -> None:
        """Makes the partition this worker's own: fences the former owner, then restores the state it left.

        The position comes from the changelog and not from the group's offset: that was fetched before the fence.
        Raises StateLost when what was read does not fit together.
        """
        self._producer = await self._broker.producer(f"{self._application}.{self.partition}")
        records: dict[bytes, bytes] = {}
        async for batch in self._broker.read_to_end(TopicPartition(topics.ENGINE_STATE.name, self.partition)):
            for record in batch:
                assert record.key is not None, "a changelog record without a key"
                if record.value is None:
                    records.pop(record.key, None)
                else:
                    records[record.key] = record.value
        last = records.pop(POSITION, None)
        position = PositionRecord({}, 0, b"") if last is None else decode_position(last)
        self.next_offsets.update(position.next_offsets)
        self._digest = position.digest
        try:
            self.engine.restore(records, position.clock_us)
        except (AssertionError, KeyError) as broken:
            raise StateLost(f"partition {self.partition}: the changelog does not fit together: {broken!r}") from broken

    async def process(self, records: Sequence[Record]) -> list[Output]:
        """One batch, from events to commit; what it published, rejected events last.

        1. Decide: each record goes through the engine; what can't be used becomes a rejected event.
        2. Append what is published.
        3. Append the changelog, the position last.
        4. Add the position to the group's offsets.
        5. Await that the broker has all of it: an unawaited loss would be committed over.
        6. Commit.
        """
        producer = self._producer
        assert producer is not None, "the partition has not been taken"
        # 1
        forwarded: dict[str, list[tuple[int, Message]]] = {}
        rejected: list[tuple[bytes | None, RejectedEvent]] = []
        for record in records:
            if record.offset < self.next_offsets[record.topic]:
                continue  # processed before the partition was taken
            self.next_offsets[record.topic] = record.offset + 1
            self._handle(record, forwarded, rejected)
        self.engine.close_batch()
        outputs = self.engine.take_outbox()
        changes = self.engine.take_changes()
        at_us = self.engine.clock_us
        # 2
        await producer.begin()
        sends = [
            producer.send(topic, self.partition, messages) for topic, messages in self._messages(outputs, at_us).items()
        ]
        if rejected:
            messages = [Message(key, encode(event), at_us) for key, event in rejected]
            sends.append(producer.send(topics.REJECTED_EVENTS.name, self.partition, messages))
        for topic, strays in forwarded.items():
            sends += [producer.send(topic, home, [message]) for home, message in strays]
        # 3
        sends.append(producer.send(topics.ENGINE_STATE.name, self.partition, self._changelog(changes, at_us)))
        # 4
        await producer.send_offsets(
            self._application,
            {TopicPartition(topic, self.partition): offset for topic, offset in self.next_offsets.items()},
        )
        # 5
        for send in sends:
            await send
        # 6
        await producer.commit()
        return outputs + [Output(topics.REJECTED_EVENTS.name, "", event, b"") for _, event in rejected]

    async def drop(self) -> None:
        """Lets go of the producer; the state is worth nothing from here on."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.close()

    def _handle(
        self,
        record: Record,
        forwarded: dict[str, list[tuple[int, Message]]],
        rejected: list[tuple[bytes | None, RejectedEvent]],
    ) -> None:
        event = decode(record)
        if not isinstance(event, Refusal):
            key = key_of(event)
            home = self.partition if key is None else self._home(key)
            if home != self.partition:
                assert key is not None
                self.forwarded += 1
                message = Message(key.encode(), record.value, record.timestamp_us)
                forwarded.setdefault(record.topic, []).append((home, message))
                return
            refusal = self.engine.handle(event, record.timestamp_us)
            if refusal is None:
                return
            event = refusal
        rejected.append((record.key, rejected_event(record, event)))

    def _home(self, key: str) -> int:
        home = self._homes.get(key)
        if home is None:
            if len(self._homes) >= 1_000_000:
                self._homes.clear()
            home = self._homes[key] = partition_of(key.encode(), self._partitions)
        return home

    def _messages(self, outputs: Sequence[Output], at_us: int) -> dict[str, list[Message]]:
        messages: dict[str, list[Message]] = {}
        for topic, key, _, value in outputs:
            message = Message(key.encode(), value, at_us)
            if (there := messages.get(topic)) is None:
                messages[topic] = [message]
            else:
                there.append(message)
        return messages

    def _changelog(self, changes: Mapping[bytes, bytes | None], at_us: int) -> list[Message]:
        running = blake2b(self._digest, digest_size=16)
        messages = []
        for key, value in changes.items():
            running.update(key)
            running.update(value or b"")
            messages.append(Message(key, value, at_us))
        self._digest = running.digest()
        position = PositionRecord(dict(self.next_offsets), self.engine.clock_us, self._digest)
        messages.append(Message(POSITION, pack(position), at_us))
        return messages


class Worker:
    """A member of the engine's consumer group. `run` until `stop`; `step` does one round of it."""

    def __init__(
        self,
        broker: Broker,
        settings: EngineSettings,
        reference: Reference,
        *,
        application: str = "tollgate-engine",
        max_records: int = 5_000,
        observe: Observer | None = None,
    ) -> None:
        self.tasks: dict[int, PartitionTask] = {}
        self._broker = broker
        self._settings = settings
        self._reference = reference
        self._application = application
        self._max_records = max_records
        self._observe = observe
        self._consumer: Consumer | None = None
        self._partitions = 0
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._lost_once: set[int] = set()
        self._stopping = False

    async def start(self) -> None:
        """Joins the group. Raises UnknownTopic, or ValueError when the topics' partitions do not match."""
        names = [topic.name for topic in topics.ALL if topic.partitioned_like_input]
        counts = {name: await self._broker.partition_count(name) for name in names}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise ValueError(f"these topics must all have the same number of partitions: {listed}")
        self._partitions = counts[names[0]]
        self._consumer = await self._broker.join(
            self._application,
            [topic.name for topic in topics.INPUTS],
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
        )

    async def run(self, idle_seconds: float = 0.2) -> None:
        """Works until `stop`, then leaves the group with nothing open."""
        while not self._stopping:
            await self.step(idle_seconds)
        await self.close()

    def stop(self) -> None:
        """Ends `run` after the batch in hand."""
        self._stopping = True

    async def close(self) -> None:
        """Leaves the group."""
        for task in self.tasks.values():
            await task.drop()
        self.tasks.clear()
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.close()

    async def step(self, idle_seconds: float = 0.0) -> int:
        """One round: changes of the assignment, a poll, and a batch of each partition that has records.

        The number of records polled. What the engine asserts and finds broken comes out as AssertionError: the worker
        must end, uncommitted.
        """
        consumer = self._consumer
        assert consumer is not None, "the worker has not been started"
        polled = await consumer.poll(self._max_records, idle_seconds)
        taken = await self._settle(consumer)
        batches: dict[int, list[Record]] = {}
        for (_, partition), records in polled.items():
            # What was polled before a partition was taken lies behind its seek and comes again.
            if partition in self.tasks and partition not in taken:
                batches.setdefault(partition, []).extend(records)
        work = [self._process(consumer, self.tasks[partition], batches[partition]) for partition in sorted(batches)]
        if len(work) == 1:
            await work[0]
        elif work:
            for failure in await asyncio.gather(*work, return_exceptions=True):
                if failure is not None:
                    raise failure
        return sum(len(records) for records in polled.values())

    async def _process(self, consumer: Consumer, task: PartitionTask, records: list[Record]) -> None:
        records.sort(key=_in_order)
        try:
            outputs = await task.process(records)
        except Fenced:
            # Another worker took the partition. If it was a zombie that the group has moved past, the partition is
            # still ours after the next poll, and is taken back then; else that poll says that it is not.
            await self._drop(task)
            self._gained.add(task.partition)
            consumer.pause(consumer.assignment() & set(self._inputs(task.partition)))
        except Ambiguous:
            # Nobody knows whether the batch counts. What was committed is read again.
            await self._drop(task)
            self._gained.add(task.partition)
            consumer.pause(consumer.assignment() & set(self._inputs(task.partition)))
        else:
            if self._observe is not None:
                self._observe(outputs)

    def _on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        gained = {partition.partition for partition in partitions}
        self._gained |= gained
        if self._consumer is not None:
            self._consumer.pause(partitions)

    def _on_revoked(self, partitions: frozenset[TopicPartition]) -> None:
        lost = {partition.partition for partition in partitions}
        self._lost |= lost & self.tasks.keys()
        self._gained -= lost

    async def _settle(self, consumer: Consumer) -> set[int]:
        """Drops what was lost and takes what was gained, outside of the group's callbacks; what was taken."""
        for partition in sorted(self._lost):
            if (task := self.tasks.get(partition)) is not None:
                await self._drop(task)
        self._lost.clear()
        taken = set()
        for partition in sorted(self._gained):
            self._gained.discard(partition)
            if consumer.assignment().issuperset(self._inputs(partition)):
                try:
                    await self._take(consumer, partition)
                except StateLost:
                    # It may have been taken over, and the changelog compacted, while it was read: the next poll says
                    # whose it is. Twice in a row is a broken changelog.
                    if partition in self._lost_once:
                        raise
                    self._lost_once.add(partition)
                    self._gained.add(partition)
                else:
                    self._lost_once.discard(partition)
                    taken.add(partition)
        return taken

    @staticmethod
    def _inputs(partition: int) -> list[TopicPartition]:
        return [TopicPartition(topic.name, partition) for topic in topics.INPUTS]

    async def _take(self, consumer: Consumer, partition: int) -> None:
        task = PartitionTask(
            self._broker,
            self._application,
            partition,
            self._partitions,
            Partition(self._settings, self._reference),
        )
        try:
            await task.take()
        except StateLost:
            await task.drop()
            raise
        self.tasks[partition] = task
        mine = self._inputs(partition)
        for input_partition in mine:
            consumer.seek(input_partition, task.next_offsets[input_partition.topic])
        consumer.resume(mine)

    async def _drop(self, task: PartitionTask) -> None:
        self.tasks.pop(task.partition, None)
        await task.drop()


def _in_order(record: Record) -> tuple[int, int, int]:
    """The order in which a partition's topics are worked off: as they came, as well as the broker knows it."""
    return record.arrival, _RANK[record.topic], record.offset


def key_of(event: Event) -> str | None:
    """The key by which an event finds its partition: the account, or the called number where there is none.

    None for the release of a call without account: it names no number, so it counts as well placed where it came.
    """
    if event.account_id is not None:
        return event.account_id
    return event.called if isinstance(event, CallAttempt | Cdr) else None


def decode(record: Record) -> Event | Refusal:
    """The record's event, or why it is none."""
    value = record.value
    if value is None:
        return Refusal("malformed", "the record is empty")
    if len(value) > MAX_EVENT_BYTES:
        return Refusal("malformed", f"the record has {len(value)} bytes; an event has at most {MAX_EVENT_BYTES}")
    try:
        return _DECODERS[record.topic](value)
    except UNREADABLE as error:
        return Refusal("malformed", str(error))


def rejected_event(record: Record, refusal: Refusal) -> RejectedEvent:
    """The refusal with the record's origin and bytes, so that it can be mended and submitted again."""
    return RejectedEvent(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=refusal.reason,
        detail=refusal.detail,
        payload=b64encode(record.value or b"").decode(),
        at=to_text(record.timestamp_us),
    )
