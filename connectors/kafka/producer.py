"""A transactional producer on Kafka: one transaction at a time, nothing sent again that might count twice.

It stands on aiokafka's connections and record batches, not on its producer: that one sends EndTxn again when an answer
is late, commits over a batch that was lost, and takes two round trips more (docs/decisions/0007). A write or an offset
may be sent again, since the broker knows it by its sequence number; the end of a transaction is sent once. Whatever is
left unclear ends this producer, and its partition is taken anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from time import monotonic
from typing import Any, Literal, NamedTuple

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition as KafkaPartition

from connectors.broker import Ambiguous, BrokerError, Fenced, Message, TopicPartition, Unavailable, UnknownTopic
from connectors.kafka import wire
from connectors.kafka.errors import APPLY_ACLS, NOT_AUTHORIZED, Unusable

MAX_BATCH_BYTES = 900_000
"""Below the broker's default for the largest batch (message.max.bytes, 1 MiB), whatever one record is."""

_TIMESTAMP_US = 1_000
_BACKOFF_SECONDS = 0.001
"""A transaction's markers are written after its commit was answered: a millisecond or two later the next may begin."""
_LONGEST_BACKOFF_SECONDS = 0.1

_FENCED = frozenset({kafka.InvalidProducerEpoch.errno, 90})  # 90: PRODUCER_FENCED (KIP-360)
_ABORTABLE = 120  # TRANSACTION_ABORTABLE (KIP-890)
_CONCURRENT = kafka.ConcurrentTransactions.errno
_NOT_NOW = frozenset(
    {
        _CONCURRENT,
        # What brokers make of CONCURRENT_TRANSACTIONS for clients that they take for older ones, too.
        kafka.CoordinatorLoadInProgressError.errno,
        kafka.NotEnoughReplicasError.errno,
        kafka.NotEnoughReplicasAfterAppendError.errno,
        kafka.RequestTimedOutError.errno,
    }
)
"""Nothing was done, or may be done again: who was asked is the right one and not ready."""
_MOVED = frozenset(
    {
        kafka.NotCoordinatorError.errno,
        kafka.CoordinatorNotAvailableError.errno,
        kafka.NotLeaderForPartitionError.errno,
        kafka.LeaderNotAvailableError.errno,
        kafka.UnknownTopicOrPartitionError.errno,
        kafka.KafkaStorageError.errno,
        13,  # NETWORK_EXCEPTION
        74,  # FENCED_LEADER_EPOCH
    }
)
"""Nothing was done: another one is responsible now."""
_DUPLICATE = kafka.DuplicateSequenceNumber.errno
_NOT_A_MEMBER = frozenset(
    {kafka.IllegalGenerationError.errno, kafka.UnknownMemberIdError.errno, kafka.RebalanceInProgressError.errno, 82}
)
_DENIED = frozenset(
    {
        kafka.TopicAuthorizationFailedError.errno,
        kafka.GroupAuthorizationFailedError.errno,
        kafka.ClusterAuthorizationFailedError.errno,
        kafka.TransactionalIdAuthorizationFailed.errno,
    }
)

_DISCONNECTED = (
    kafka.KafkaConnectionError,
    kafka.NodeNotReadyError,
    kafka.RequestTimedOutError,
    kafka.StaleMetadata,
    kafka.CorrelationIdError,
    kafka.CoordinatorNotAvailableError,
    kafka.NotCoordinatorError,
    kafka.CoordinatorLoadInProgressError,
)
"""No answer, or nobody to ask."""

_NO_HEADERS: list[tuple[str, bytes]] = []

_TOO_LARGE = frozenset({kafka.MessageSizeTooLargeError.errno, kafka.RecordListTooLargeError.errno})

State = Literal["ready", "open", "broken"]


class _Batch(NamedTuple):
    topic: str
    partition: int
    builder: Any
    records: int


class _Delivery:
    """What `send` gives: awaiting it writes all that has been sent and not been written yet."""

    __slots__ = ("_producer",)

    def __init__(self, producer: "KafkaProducer") -> None:
        self._producer = producer

    def __await__(self) -> Generator[Any, None, None]:
        return self._producer.flush().__await__()


class KafkaProducer:
    """See `connectors.broker.Producer`. Times in seconds.

    `timeout`: within which a step before the commit must succeed, retries among them. `commit_timeout`: within which
    the broker must have answered the commit. `transaction_timeout`: after which the broker aborts what is left open.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        transactional_id: str,
        *,
        prefix: str = "",
        implicit_partitions: bool,
        timeout: float,
        commit_timeout: float,
        transaction_timeout: float,
        membership: Callable[[], wire.Membership] = wire.Membership,
    ) -> None:
        """`implicit_partitions`: the cluster has transaction version 2, where a write adds its partition (KIP-890)."""
        self.transactional_id = transactional_id
        self._client = client
        self._prefix = prefix
        self._implicit = implicit_partitions
        self._timeout = timeout
        self._commit_timeout = commit_timeout
        self._transaction_timeout_ms = int(transaction_timeout * 1000)
        self._membership = membership
        self._who = wire.Identity(-1, -1)
        self._state: State = "broken"
        self._why: BrokerError | None = None
        """What broke it."""
        self._sequences: dict[tuple[str, int], int] = {}
        self._builders: dict[tuple[str, int], tuple[Any, int]] = {}
        self._unsent: list[_Batch] = []
        self._writing: asyncio.Future[None] | None = None
        self._added: set[tuple[str, int]] = set()
        self._begun = False
        """Whether the broker knows of this transaction."""
        self._coordinators: dict[tuple[int, str], int] = {}

    async def start(self) -> None:
        """Takes the transactional id over. Raises Unavailable when that takes too long."""
        deadline = monotonic() + self._timeout
        request = wire.InitProducerId(self.transactional_id, self._transaction_timeout_ms)

        async def ask() -> int:
            answer = await self._ask_coordinator(CoordinationType.TRANSACTION, self.transactional_id, request)
            self._who = answer.identity
            return int(answer.error)

        try:
            # The former owner's transaction is aborted first, which takes a moment.
            await self._until_done(ask, deadline, "InitProducerId")
        except _Stuck as stuck:
            raise Unavailable(str(stuck)) from stuck
        self._state = "ready"

    async def begin(self) -> None:
        self._expect("ready")
        self._state = "open"

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        """Raises BrokerError outside of a transaction, and for a record that no batch can hold."""
        self._expect("open")
        name = self._prefix + topic
        self._check_topic(name, partition)
        key = (name, partition)
        builder, count = self._builders.pop(key, (None, 0))
        for record_key, value, timestamp_us in messages:
            if builder is None:
                builder, count = _new_batch(), 0
            if builder.append(count, timestamp_us // _TIMESTAMP_US, record_key, value, _NO_HEADERS) is None:
                self._unsent.append(_Batch(name, partition, builder, count))
                builder, count = _new_batch(), 0
                # The first record of a batch is always taken.
                builder.append(count, timestamp_us // _TIMESTAMP_US, record_key, value, _NO_HEADERS)
            count += 1
        if builder is not None:
            self._builders[key] = (builder, count)
        return _Delivery(self)

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Writes what has been sent as well, after the offsets.

        The markers of the transaction before may still be on their way, and offsets and records would meet when both
        add themselves to this one. A write that meets either is kept waiting by the broker for 20 ms at a time; the
        group's coordinator says so at once, and lets through when it may.

        Raises Fenced when the group has moved past this member, or another producer has this id.
        """
        self._expect("open")
        await self._write_offsets(group, offsets)
        try:
            await self.flush()
        except BrokerError:
            return  # is told to those who await their batches

    async def commit(self) -> None:
        """Raises Ambiguous when no clear answer came in time; this producer can't be used any more then."""
        self._expect("open")
        if self._unsent or self._builders or (self._writing is not None and not self._writing.done()):
            self._state = "broken"
            raise BrokerError(f"transactional id {self.transactional_id}: a batch was not awaited before the commit")
        await self._end(commit=True)

    async def abort(self) -> None:
        """Gives the transaction up. Like `commit` it may end this producer."""
        self._expect("open")
        self._unsent.clear()
        self._builders.clear()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._begun:
            # Sequence numbers that were used up and may not have been seen: begin with a new epoch.
            self._sequences.clear()
            await self._end(commit=False)
            await self.start()
        else:
            self._finish()

    async def close(self) -> None:
        """Leaves what is open to the broker, which aborts it for the next owner or after its time."""
        self._state = "broken"
        self._unsent.clear()
        self._builders.clear()
        if self._writing is not None and not self._writing.done():
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def flush(self) -> None:
        """Writes what has been sent. Raises what its deliveries raise."""
        while True:
            if self._writing is not None:
                await asyncio.shield(self._writing)
            self._expect("open")
            for (topic, partition), (builder, count) in self._builders.items():
                self._unsent.append(_Batch(topic, partition, builder, count))
            self._builders.clear()
            if not self._unsent:
                return
            batches, self._unsent = self._unsent, []
            self._begun = True
            self._writing = asyncio.ensure_future(self._write(batches))
            self._writing.add_done_callback(_look_at)

    async def _write(self, batches: list[_Batch]) -> None:
        deadline = monotonic() + self._timeout
        try:
            if not self._implicit:
                await self._add_partitions({(batch.topic, batch.partition) for batch in batches}, deadline)
            rounds: dict[tuple[str, int], list[_Batch]] = {}
            for batch in batches:
                rounds.setdefault((batch.topic, batch.partition), []).append(batch)
            while rounds:
                # A request holds one batch of a partition (KIP-98); the next round waits for this one.
                await self._write_round([waiting.pop(0) for waiting in rounds.values()], deadline)
                rounds = {key: waiting for key, waiting in rounds.items() if waiting}
        except BaseException as failure:
            self._break(failure)
            raise

    async def _write_round(self, batches: list[_Batch], deadline: float) -> None:
        waiting: dict[tuple[str, int], bytes] = {}
        for batch in batches:
            key = (batch.topic, batch.partition)
            sequence = self._sequences.get(key, 0)
            batch.builder.set_producer_state(*self._who, sequence)
            waiting[key] = batch.builder.build()
            self._sequences[key] = (sequence + batch.records) & 0x7FFF_FFFF
        tries = 0
        while True:
            by_leader: dict[int, dict[str, list[tuple[int, bytes]]]] = {}
            for (topic, partition), data in waiting.items():
                leader = self._leader(topic, partition)
                by_leader.setdefault(leader, {}).setdefault(topic, []).append((partition, data))
            moved = by_leader.pop(-1, None) is not None
            try:
                # Who waits for a connection to be made waits for all who tried before.
                async with asyncio.timeout(max(deadline - monotonic(), 0.001)):
                    answers = await asyncio.gather(*(self._produce(node, data) for node, data in by_leader.items()))
            except TimeoutError:
                raise self._stuck("a write: no answer in time") from None
            for answer in answers:
                if answer is None:
                    moved = True
                    continue
                for key, error in answer.items():
                    if error in (wire.NO_ERROR, _DUPLICATE):
                        waiting.pop(key, None)
                    elif error in _MOVED:
                        moved = True
                    elif error not in _NOT_NOW:
                        raise self._failure(f"a write to {key[0]}-{key[1]}", error)
            if not waiting:
                return
            await self._pause(deadline, "a write", tries)
            tries += 1
            if moved:
                await self._refresh(deadline)

    async def _produce(self, node: int, data: dict[str, list[tuple[int, bytes]]]) -> dict[tuple[str, int], int] | None:
        """The errors by partition; None when no answer came: what was written then is known by its sequence number."""
        request = wire.Produce(
            12 if self._implicit else 9, self.transactional_id, int(self._timeout * 1000), dict(data)
        )
        try:
            answer: dict[tuple[str, int], int] = await self._client.send(node, request)
        except _DISCONNECTED:
            return None
        return answer

    async def _add_partitions(self, partitions: set[tuple[str, int]], deadline: float) -> None:
        if not (new := partitions - self._added):
            return
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(new):
            by_topic.setdefault(topic, []).append(partition)
        request = wire.AddPartitions(self.transactional_id, self._who, by_topic)

        async def ask() -> int:
            errors = await self._ask_coordinator(CoordinationType.TRANSACTION, self.transactional_id, request)
            return next((error for error in errors.values() if error != wire.NO_ERROR), wire.NO_ERROR)

        await self._until_done(ask, deadline, "adding partitions")
        self._added |= new

    async def _write_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        deadline = monotonic() + self._timeout
        self._begun = True
        try:
            if not self._implicit:
                add = wire.AddOffsets(self.transactional_id, self._who, group)

                async def ask_to_add() -> int:
                    error: int = await self._ask_coordinator(CoordinationType.TRANSACTION, self.transactional_id, add)
                    return error

                await self._until_done(ask_to_add, deadline, "adding offsets")
            by_topic: dict[str, list[tuple[int, int]]] = {}
            for (topic, partition), offset in offsets.items():
                by_topic.setdefault(self._prefix + topic, []).append((partition, offset))
            request = wire.TxnOffsetCommit(
                5 if self._implicit else 3, self.transactional_id, self._who, group, self._membership(), by_topic
            )

            async def ask() -> int:
                errors = await self._ask_coordinator(CoordinationType.GROUP, group, request)
                return next((error for error in errors.values() if error != wire.NO_ERROR), wire.NO_ERROR)

            await self._until_done(ask, deadline, f"offsets of group {group}")
        except BaseException as failure:
            self._break(failure)
            raise

    async def _end(self, *, commit: bool) -> None:
        if not self._begun:
            self._finish()
            return
        self._state = "broken"
        tries = 0
        request = wire.EndTxn(5 if self._implicit else 3, self.transactional_id, self._who, commit=commit)
        deadline = monotonic() + self._commit_timeout
        while True:
            try:
                async with asyncio.timeout(max(deadline - monotonic(), 0.001)):
                    answer = await self._ask_coordinator(CoordinationType.TRANSACTION, self.transactional_id, request)
            except (TimeoutError, *_DISCONNECTED) as silence:
                raise Ambiguous(f"transactional id {self.transactional_id}: no answer to the commit") from silence
            if answer.error == wire.NO_ERROR:
                break
            # Answered, and not done: it may be asked for again.
            if answer.error in _MOVED:
                self._coordinators.clear()
            elif answer.error not in _NOT_NOW:
                raise self._failure("the commit", answer.error)
            await self._pause(deadline, "the commit", tries)
            tries += 1
        if answer.identity != self._who:
            self._who = answer.identity
            self._sequences.clear()
        self._finish()

    def _finish(self) -> None:
        self._state = "ready"
        self._begun = False
        self._added.clear()
        self._writing = None

    def _break(self, failure: BaseException) -> None:
        self._state = "broken"
        if isinstance(failure, BrokerError):
            self._why = self._why or failure

    def _expect(self, state: State) -> None:
        if self._state != state:
            if self._state == "broken" and self._why is not None:
                raise self._why
            raise BrokerError(f"transactional id {self.transactional_id}: the producer is {self._state}, not {state}")

    # Whom to ask

    async def _ask_coordinator(self, kind: int, key: str, request: wire.Request) -> Any:
        """The coordinator's answer. Raises one of `_DISCONNECTED`."""
        node = self._coordinators.get((kind, key))
        if node is None:
            node = await self._client.coordinator_lookup(kind, key)
            if not await self._client.ready(node, group=ConnectionGroup.COORDINATION):
                await self._client.force_metadata_update()
                raise kafka.NodeNotReadyError(f"coordinator {node} can't be reached")
            self._coordinators[kind, key] = node
        try:
            return await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
        except _DISCONNECTED:
            self._coordinators.pop((kind, key), None)
            raise

    async def _until_done(self, ask: Callable[[], Awaitable[int]], deadline: float, what: str) -> None:
        """Asks until there is no error. Only for requests that may be sent twice."""
        tries = 0
        while True:
            try:
                async with asyncio.timeout(max(deadline - monotonic(), 0.001)):
                    error = await ask()
            except TimeoutError:
                raise self._stuck(f"{what}: no answer in time") from None
            except NOT_AUTHORIZED as denied:
                kind = type(denied).__name__
                raise Unusable(
                    f"transactional id {self.transactional_id}: {what}: not allowed ({kind}); {APPLY_ACLS}"
                ) from denied
            except _DISCONNECTED:
                pass
            else:
                if error == wire.NO_ERROR:
                    return
                if error in _MOVED:
                    self._coordinators.clear()
                elif error not in _NOT_NOW:
                    raise self._failure(what, error)
            await self._pause(deadline, what, tries)
            tries += 1

    async def _pause(self, deadline: float, what: str, tries: int) -> None:
        seconds = min(_BACKOFF_SECONDS * 1.5**tries, _LONGEST_BACKOFF_SECONDS)
        if monotonic() + seconds >= deadline:
            raise self._stuck(f"{what} is not done in time")
        await asyncio.sleep(seconds)

    async def _refresh(self, deadline: float) -> None:
        try:
            async with asyncio.timeout(max(deadline - monotonic(), 0.001)):
                await self._client.force_metadata_update()
        except TimeoutError:
            raise self._stuck("no broker answers") from None

    def _leader(self, topic: str, partition: int) -> int:
        leader = self._client.cluster.leader_for_partition(KafkaPartition(topic, partition))
        return -1 if leader is None else leader

    def _check_topic(self, topic: str, partition: int) -> None:
        known = self._client.cluster.partitions_for_topic(topic)
        if known is None:
            raise UnknownTopic(f"{topic} does not exist")
        if partition not in known:
            raise UnknownTopic(f"{topic} has no partition {partition}")

    def _stuck(self, what: str) -> "_Stuck":
        return _Stuck(f"transactional id {self.transactional_id}: {what}")

    def _failure(self, what: str, error: int) -> BrokerError:
        where = f"transactional id {self.transactional_id}: {what}"
        if error in _FENCED:
            return Fenced(f"{where}: another producer has taken over")
        if error in _NOT_A_MEMBER:
            return Fenced(f"{where}: the group has moved past this member")
        name = kafka.for_code(error).__name__
        if error in _DENIED:
            return Unusable(f"{where}: not allowed ({name}); {APPLY_ACLS}")
        if error in _TOO_LARGE:
            return Unusable(f"{where}: a record is too large; `tollgate topics check` says where to allow it")
        return Ambiguous(f"{where}: {name} (error {error})")


class _Stuck(Ambiguous):
    """A step before the commit did not come to its end in time."""


def _look_at(writing: asyncio.Future[None]) -> None:
    # Who gives up a transaction does not ask what became of its batches.
    if not writing.cancelled():
        writing.exception()


def _new_batch() -> Any:
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=True,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=MAX_BATCH_BYTES,
    )
