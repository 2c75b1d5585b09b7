"""One partition in one worker: taking it over, and working off batches of its events, exactly once.

Between taking a batch in and its commit nothing of the batch can be seen from outside; whatever goes wrong on the way
drops the state, and the next owner rebuilds it from the changelog.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, perf_counter
from typing import NamedTuple
from zlib import crc32

from connectors.broker import Broker, HangingTransaction, Message, Producer, Record, TopicPartition
from engine.changelog import POSITION, PositionRecord, decode_position
from engine.partition import Output, Partition
from engine.refusals import Refusal
from schemas import topics
from schemas.codec import UNREADABLE, decode_account_command, decode_cdr, decode_switch_event, encode, pack
from schemas.events import CallAttempt, Cdr, Event
from schemas.facts import RejectedEvent
from schemas.partitions import partition_of
from schemas.times import to_text

MAX_EVENT_BYTES = 65_536
"""A larger record is no event of ours: the largest real ones have some hundred bytes."""

_MANY_RECORDS = 20_000  # some tenths of a second to restore

_DECIDED_SECONDS = 3.0  # markers of a transaction that has just been aborted take milliseconds
_POLL_SECONDS = 0.05

_DECODERS: dict[str, Callable[[bytes], Event]] = {
    topics.CALL_ATTEMPTS.name: decode_switch_event,
    topics.CDRS.name: decode_cdr,
    topics.ACCOUNT_COMMANDS.name: decode_account_command,
}


# Message(...) itself takes twice as long, and there are several for each event.
_new_message = tuple.__new__


class Batch(NamedTuple):
    """A committed batch: what went in, what was published (rejected events last), and how long it took."""

    partition: int
    records: Sequence[Record]
    outputs: Sequence[Output]
    engine_seconds: float
    transaction_seconds: float


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
        self.restore_seconds = 0.0
        self.restored_records = 0
        self.missed_records = 0
        """Records of the inputs that were deleted before any owner of the partition had taken them in."""
        self.reference_version = 0
        """The version of the reference data that the partition has come to, under this owner or a former one."""
        self._broker = broker
        self._application = application
        self._partitions = partitions
        self._producer: Producer | None = None
        self._digest = 0
        self._homes: dict[str, int] = {}

    async def take(self) -> None:
        """Makes the partition this worker's own: fences the former owner, then restores the state it left.

        The position comes from the changelog and not from the group's offset: that was fetched before the fence.
        Raises StateLost when what was read does not fit together, HangingTransaction, and Unavailable.
        """
        started = perf_counter()
        self._producer = await self._broker.producer(f"{self._application}.{self.partition}")
        await self._expect_all_decided()
        records: dict[bytes, bytes] = {}
        async for batch in self._broker.read_to_end(TopicPartition(topics.ENGINE_STATE.name, self.partition)):
            self.restored_records += len(batch)
            for record in batch:
                assert record.key is not None, "a changelog record without a key"
                if record.value is None:
                    records.pop(record.key, None)
                else:
                    records[record.key] = record.value
        last = records.pop(POSITION, None)
        position = PositionRecord({}, 0, 0) if last is None else decode_position(last)
        self.next_offsets.update(position.next_offsets)
        self._digest = position.digest
        self.reference_version = position.reference_version
        for topic, offset in self.next_offsets.items():
            earliest = await self._broker.earliest(TopicPartition(topic, self.partition))
            self.missed_records += max(earliest - offset, 0)
        try:
            if len(records) > _MANY_RECORDS:
                # The other partitions go on meanwhile.
                await asyncio.to_thread(self.engine.restore, records, position.clock_us)
            else:
                self.engine.restore(records, position.clock_us)
        except (AssertionError, KeyError) as broken:
            raise StateLost(f"partition {self.partition}: the changelog does not fit together: {broken!r}") from broken
        self.restore_seconds = perf_counter() - started

    async def _expect_all_decided(self) -> None:
        """Only this partition's producers write to its outputs, and the last one has just been fenced: nothing may be
        left open there.

        A broker that dies while the markers of a transaction are on their way can lose them when it starts again: its
        coordinator finds no leader, takes the partitions for deleted, and calls the transaction ended. The next
        transaction's markers would then commit the records, though they had been aborted.
        """
        outputs = [TopicPartition(topic.name, self.partition) for topic in (*topics.OUTPUTS, topics.ENGINE_STATE)]
        deadline = monotonic() + _DECIDED_SECONDS
        while undecided := await self._broker.undecided(outputs):
            if monotonic() >= deadline:
                where = ", ".join(f"{topic}-{number}" for topic, number in sorted(undecided))
                raise HangingTransaction(
                    f"a transaction of {self._application}.{self.partition} was never ended in {where}: a broker lost "
                    "its end. Find it with `kafka-transactions.sh find-hanging`; `abort` it only if it was not "
                    "committed elsewhere (docs/operating.md)"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def process(self, records: Sequence[Record]) -> Batch:
        """One batch, from events to commit. An empty one moves nothing and proves that the partition is still ours.

        1. Decide: each record goes through the engine; what can't be used becomes a rejected event.
        2. Append what is published.
        3. Append the changelog, the position last.
        4. Add the position to the group's offsets.
        5. Await that the broker has all of it: an unawaited loss would be committed over.
        6. Commit.
        """
        producer = self._producer
        assert producer is not None, "the partition has not been taken"
        started = perf_counter()
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
        self.reference_version = self.engine.reference.version
        decided = perf_counter()
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
        outputs += [Output(topics.REJECTED_EVENTS.name, "", event, b"") for _, event in rejected]
        return Batch(self.partition, records, outputs, decided - started, perf_counter() - decided)

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
            message = _new_message(Message, (key.encode(), value, at_us))
            if (there := messages.get(topic)) is None:
                messages[topic] = [message]
            else:
                there.append(message)
        return messages

    def _changelog(self, changes: Mapping[bytes, bytes | None], at_us: int) -> list[Message]:
        messages = []
        content: list[bytes] = []
        for key, value in changes.items():
            content += (key, value or b"")
            messages.append(_new_message(Message, (key, value, at_us)))
        self._digest = digest = crc32(b"".join(content), self._digest)
        position = PositionRecord(dict(self.next_offsets), self.engine.clock_us, digest, self.reference_version)
        messages.append(Message(POSITION, pack(position), at_us))
        return messages


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
        return Refusal("malformed", _not_text(value) or str(error))


def _not_text(value: bytes) -> str | None:
    """What is wrong with a record that is no UTF-8, in our words: the codec's change from version to version."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} (0x{value[error.start]:02x}) is no UTF-8"
    return None


MAX_PAYLOAD_BYTES = 1_000_000
"""What is kept of a larger record: base64 makes it a third longer, and the topic takes 4 MiB."""


def rejected_event(record: Record, refusal: Refusal) -> RejectedEvent:
    """The refusal with the record's origin and bytes, so that it can be mended and submitted again."""
    payload, detail = record.value or b"", refusal.detail
    if len(payload) > MAX_PAYLOAD_BYTES:
        detail += f"; of its {len(payload)} bytes the first {MAX_PAYLOAD_BYTES} are kept here"
        payload = payload[:MAX_PAYLOAD_BYTES]
    return RejectedEvent(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=refusal.reason,
        detail=detail,
        payload=b64encode(payload).decode(),
        at=to_text(record.timestamp_us),
    )
