"""Apache Kafka as `connectors.broker` has it: one connection for all producers of a process, readers, members."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition as KafkaPartition

from connectors.broker import BrokerError, OnChange, Record, TopicPartition, Unavailable, UnknownTopic
from connectors.kafka import wire
from connectors.kafka.client import hang_up
from connectors.kafka.consumer import FETCH_WAIT_MS, KafkaConsumer, stop
from connectors.kafka.errors import APPLY_ACLS, NOT_AUTHORIZED, Unusable, is_lasting
from connectors.kafka.producer import KafkaProducer

_READ_RECORDS = 5_000
_READ_UNCOMMITTED, _READ_COMMITTED = 0, 1
_EARLIEST, _LATEST = -2, -1  # ask for the first or the next offset instead of one at a time
_RETRY_SECONDS = 0.1


class KafkaBroker:
    """See `connectors.broker.Broker`. `start` before use, `close` after; or `async with connected(…)`."""

    def __init__(
        self,
        client: Mapping[str, Any],
        *,
        prefix: str = "",
        session_timeout_ms: int = 10_000,
        heartbeat_interval_ms: int = 3_000,
        max_poll_interval_ms: int = 300_000,
        step_timeout_ms: int = 10_000,
        commit_deadline_ms: int = 5_000,
        transaction_timeout_ms: int = 15_000,
        implicit_partitions: bool | None = None,
    ) -> None:
        """`client`: what every aiokafka client is made with. `prefix` stands before the names of all topics.

        `implicit_partitions`: whether transactions are those of KIP-890; None: as the cluster has it.
        """
        self._arguments = dict(client)
        self._prefix = prefix
        self._member_arguments = {
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": heartbeat_interval_ms,
            "max_poll_interval_ms": max_poll_interval_ms,
        }
        self._step_timeout = step_timeout_ms / 1000
        self._commit_timeout = commit_deadline_ms / 1000
        self._transaction_timeout = transaction_timeout_ms / 1000
        self._implicit = implicit_partitions
        self._client: AIOKafkaClient | None = None
        self._members: list[KafkaConsumer] = []
        self.features = wire.Features({}, {})

    async def start(self) -> None:
        """Connects. Raises Unavailable when nobody answers, Unusable when the cluster is too old."""
        # aiokafka closes a connection that keeps an answer back for longer than this, and only then: one that has gone
        # dead must not outlive our own time-outs, or every try goes down the same hole.
        patience_ms = int(min(self._step_timeout, self._commit_timeout) * 900)
        client = AIOKafkaClient(**{**self._arguments, "request_timeout_ms": patience_ms})
        try:
            async with asyncio.timeout(self._step_timeout):
                await client.bootstrap()
                # All topics are kept in view: as long as none is named, aiokafka asks for all of them.
                await client.force_metadata_update()
                self.features = await client.send(client.get_random_node(), wire.ApiVersions())
        except (kafka.KafkaError, TimeoutError) as error:
            await hang_up(client)
            where = self._arguments.get("bootstrap_servers")
            raise _unusable_or_unavailable(f"no Kafka broker answers at {where}", error) from error
        except BaseException:
            await hang_up(client)
            raise
        for key, (name, version) in wire.NEEDED.items():
            highest = self.features.versions.get(key, (0, -1))[1]
            if highest < version:
                await hang_up(client)
                raise Unusable(
                    f"Kafka at {self._arguments.get('bootstrap_servers')} is too old: it knows {name} up to version "
                    f"{highest}, and {version} is needed; Kafka 2.8 or newer has it"
                )
        if self._implicit is None:
            self._implicit = self.features.finalized.get("transaction.version", 0) >= 2
        self._client = client

    async def close(self) -> None:
        """Leaves all groups and closes the connection."""
        members, self._members = self._members, []
        await asyncio.gather(*(member.close() for member in members))
        if self._client is not None:
            client, self._client = self._client, None
            await hang_up(client)

    async def partition_count(self, topic: str) -> int:
        return len(await self._partitions(topic))

    async def earliest(self, partition: TopicPartition) -> int:
        """Raises UnknownTopic, and Unavailable when its leader does not answer in time."""
        return (await self._offsets([partition], _READ_COMMITTED, _EARLIEST))[partition]

    async def undecided(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises UnknownTopic, and Unavailable when a leader does not answer in time."""
        # In this order: what comes between the two looks counts as decided, not as open.
        ends = await self._offsets(partitions, _READ_UNCOMMITTED, _LATEST)
        stable = await self._offsets(partitions, _READ_COMMITTED, _LATEST)
        return {partition: end - stable[partition] for partition, end in ends.items() if end > stable[partition]}

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises UnknownTopic, and Unavailable when a leader does not answer in time."""
        return await self._offsets(partitions, _READ_COMMITTED, _LATEST)

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises Unavailable when the group's coordinator does not answer in time."""
        named: dict[str, list[int]] = {}
        for topic, number in partitions:
            named.setdefault(self._prefix + topic, []).append(number)
        request = OffsetFetchRequest(group, list(named.items()))
        try:
            async with asyncio.timeout(self._step_timeout):
                while (found := await self._fetched(group, request)) is None:
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the offsets of group {group} can't be learnt") from None
        return found

    async def _fetched(self, group: str, request: OffsetFetchRequest) -> dict[TopicPartition, int] | None:
        """The offsets; None where the coordinator is not there, or not ready to tell."""
        client = self._connection
        try:
            node = await client.coordinator_lookup(CoordinationType.GROUP, group)
            if not await client.ready(node, group=ConnectionGroup.COORDINATION):
                await client.force_metadata_update()
                return None
            answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
        except kafka.KafkaError as error:
            if is_lasting(error):
                raise _unusable_or_unavailable(f"asking for the offsets of group {group}", error) from error
            return None
        entries = [(name, *entry) for name, numbers in answer.topics for entry in numbers]
        for code in (getattr(answer, "error_code", 0), *(entry[4] for entry in entries)):
            if code:
                refusal = kafka.for_code(code)()
                if is_lasting(refusal):
                    raise _unusable_or_unavailable(f"asking for the offsets of group {group}", refusal)
                return None
        return {
            TopicPartition(name[len(self._prefix) :], number): int(offset)
            for name, number, offset, *_ in entries
            if offset >= 0
        }

    async def _offsets(
        self, partitions: Collection[TopicPartition], isolation: int, which: int
    ) -> dict[TopicPartition, int]:
        for topic, number in partitions:
            if number not in await self._partitions(topic):
                raise UnknownTopic(f"{topic} has no partition {number}")
        found: dict[TopicPartition, int] = {}
        try:
            async with asyncio.timeout(self._step_timeout):
                await self._learn_offsets(partitions, isolation, which, found)
        except TimeoutError:
            missing = ", ".join(f"{topic}-{number}" for topic, number in partitions if (topic, number) not in found)
            raise Unavailable(f"offsets of {missing} can't be learnt") from None
        return found

    async def _learn_offsets(
        self, partitions: Collection[TopicPartition], isolation: int, which: int, found: dict[TopicPartition, int]
    ) -> None:
        """Asks until all are found."""
        while missing := [partition for partition in partitions if partition not in found]:
            by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
            for topic, number in missing:
                leader = self._connection.cluster.leader_for_partition(KafkaPartition(self._prefix + topic, number))
                if leader is not None and leader >= 0:
                    by_leader.setdefault(leader, {}).setdefault(self._prefix + topic, []).append((number, which))
            for leader, topics in by_leader.items():
                try:
                    answer = await self._connection.send(leader, OffsetRequest(-1, isolation, list(topics.items())))
                except kafka.KafkaError as error:
                    if is_lasting(error):
                        raise _unusable_or_unavailable("asking for offsets", error) from error
                    continue
                for name, numbers in answer.topics:
                    for number, error_code, _, offset in (entry[:4] for entry in numbers):
                        if error_code == 0:
                            found[TopicPartition(name[len(self._prefix) :], number)] = int(offset)
            if any(partition not in found for partition in partitions):
                await self._connection.force_metadata_update()
                await asyncio.sleep(_RETRY_SECONDS)

    async def join(
        self, group: str, topics: Sequence[str], *, on_assigned: OnChange, on_revoked: OnChange
    ) -> KafkaConsumer:
        """Raises UnknownTopic, and Unavailable when nobody answers."""
        for topic in topics:
            await self._partitions(topic)
        arguments = {**self._arguments, **self._member_arguments, "group_id": group}
        consumer = KafkaConsumer(topics, self._prefix, arguments, on_assigned, on_revoked)
        try:
            async with asyncio.timeout(self._step_timeout):
                await consumer.start()
        except (kafka.KafkaError, TimeoutError) as error:
            await consumer.close()
            raise _unusable_or_unavailable(f"joining group {group}", error) from error
        self._members.append(consumer)
        return consumer

    async def producer(self, transactional_id: str) -> KafkaProducer:
        """Raises Unavailable when the id can't be taken over in time."""
        assert self._implicit is not None, "the broker has not been started"
        producer = KafkaProducer(
            self._connection,
            transactional_id,
            prefix=self._prefix,
            implicit_partitions=self._implicit,
            timeout=self._step_timeout,
            commit_timeout=self._commit_timeout,
            transaction_timeout=self._transaction_timeout,
            membership=self._membership,
        )
        await producer.start()
        return producer

    async def read_to_end(self, partition: TopicPartition) -> AsyncIterator[Sequence[Record]]:
        """Raises UnknownTopic at the first step, and Unavailable."""
        async with self._reader(partition, 0) as reader:
            end = await reader.end()
            at, since = -1, monotonic()
            while (position := await reader.position()) < end:
                if position > at:
                    at, since = position, monotonic()
                elif monotonic() > since + reader.timeout:
                    raise Unavailable(f"reading {partition.topic}: nothing comes any more at {position} of {end}")
                if records := await reader.read(end):
                    yield records

    async def follow(self, partition: TopicPartition, from_offset: int = 0) -> AsyncIterator[Sequence[Record]]:
        """Raises UnknownTopic at the first step, and Unavailable."""
        async with self._reader(partition, from_offset) as reader:
            end = await reader.end()
            while True:
                records = await reader.read(None)
                if records:
                    yield records
                if not records or await reader.position() >= end:
                    end = await reader.end()
                    if await reader.position() >= end:
                        yield ()

    @asynccontextmanager
    async def _reader(self, partition: TopicPartition, from_offset: int) -> "AsyncIterator[_Reader]":
        if partition.partition not in await self._partitions(partition.topic):
            raise UnknownTopic(f"{partition.topic} has no partition {partition.partition}")
        there = KafkaPartition(self._prefix + partition.topic, partition.partition)
        consumer = AIOKafkaConsumer(
            **self._arguments,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=8 * 1_048_576,
        )
        try:
            # Only after so long is a connection known to be dead; then it is asked again on another one.
            timeout = 2 * self._step_timeout
            try:
                async with asyncio.timeout(timeout):
                    await consumer.start()
                    consumer.assign([there])
                    consumer.seek(there, from_offset)
            except (kafka.KafkaError, TimeoutError) as error:
                raise _unusable_or_unavailable(f"reading {partition.topic}", error) from error
            yield _Reader(consumer, there, partition, timeout)
        finally:
            await stop(consumer)

    async def _partitions(self, topic: str) -> frozenset[int]:
        name = self._prefix + topic
        client = self._connection
        for refresh in (False, True):
            if refresh:
                try:
                    async with asyncio.timeout(self._step_timeout):
                        while not await client.force_metadata_update():
                            await asyncio.sleep(_RETRY_SECONDS)
                except TimeoutError:
                    raise Unavailable("no Kafka broker answers") from None
            if found := client.cluster.partitions_for_topic(name):
                return frozenset(found)
        raise UnknownTopic(
            f"topic {name} does not exist, or this user may not see it; "
            "`tollgate topics create` makes what is missing, with --acls it grants what is not allowed"
        )

    def _membership(self) -> wire.Membership:
        return self._members[-1].membership if self._members else wire.Membership()

    @property
    def _connection(self) -> AIOKafkaClient:
        if self._client is None:
            raise BrokerError("not connected")
        return self._client


def _unusable_or_unavailable(what: str, error: BaseException) -> BrokerError:
    """What another try will not mend ends the process; anything else is tried again."""
    kind = Unusable if is_lasting(error) else Unavailable
    return kind(f"{what}: {error!r}" + (f"; {APPLY_ACLS}" if isinstance(error, NOT_AUTHORIZED) else ""))


class _Reader:
    """Reads one partition."""

    def __init__(
        self, consumer: AIOKafkaConsumer, there: KafkaPartition, partition: TopicPartition, timeout: float
    ) -> None:
        self._consumer = consumer
        self._there = there
        self._partition = partition
        self.timeout = timeout

    async def end(self) -> int:
        """Where the committed records end at present."""
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    try:
                        ends: dict[KafkaPartition, int] = await self._consumer.end_offsets([self._there])
                    except kafka.KafkaTimeoutError:
                        continue  # that connection has been closed
                    return ends[self._there]
        except (kafka.KafkaError, TimeoutError) as error:
            raise Unavailable(f"reading {self._partition.topic}: {error!r}") from error

    async def position(self) -> int:
        try:
            async with asyncio.timeout(self.timeout):
                return int(await self._consumer.position(self._there))
        except TimeoutError as error:
            raise Unavailable(f"reading {self._partition.topic}: {error!r}") from error

    async def read(self, end: int | None) -> list[Record]:
        """What there is within a moment, below `end`."""
        try:
            fetched = await self._consumer.getmany(self._there, timeout_ms=FETCH_WAIT_MS, max_records=_READ_RECORDS)
        except kafka.KafkaError as error:
            raise _unusable_or_unavailable(f"reading {self._partition.topic}", error) from error
        topic, number = self._partition
        return [
            Record(topic, number, record.offset, record.key, record.value, us := record.timestamp * 1000, us)
            for record in fetched.get(self._there, ())
            if end is None or record.offset < end
        ]
