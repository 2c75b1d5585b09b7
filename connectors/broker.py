"""The broker as the worker sees it: consumer groups, transactional producers, readers of a whole partition.

Two implementations pass one contract suite: the in-memory broker and Apache Kafka. Errors are named after the reaction.
Everything a call returns or raises is stated here; nothing else of a broker may be relied on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """One record as read. `timestamp_us` is the producer's; `arrival` orders records across the partitions of a broker
    as well as the broker knows (its own append order in memory, the timestamp on Kafka)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_us: int
    arrival: int


class Message(NamedTuple):
    """One record to be written; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    timestamp_us: int


class BrokerError(Exception):
    """Base of what a broker raises."""


class Fenced(BrokerError):
    """Another producer took over this transactional id: drop the partition, its new owner goes on."""


class Ambiguous(BrokerError):
    """A commit may or may not have happened, or the transaction can't be brought to its end: drop the producer and the
    state, take the partition anew."""


class Unavailable(BrokerError):
    """Nobody answers at present: try again later."""


class HangingTransaction(Unavailable):
    """Something stands in an output of a partition that nobody will ever commit or abort: a broker has lost the end of
    a transaction. Names where, and the remedy."""


class UnknownTopic(BrokerError):
    """The topic does not exist: set-up is not finished. Names the topic."""


class Producer(Protocol):
    """A transactional producer. Starting one with the same id aborts the former's open transaction and fences it."""

    async def begin(self) -> None: ...

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> Awaitable[None]:
        """Adds messages to the transaction. The awaitable ends when the broker has them; it must be awaited
        before `commit`, or a lost batch goes unseen."""
        ...

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Adds the next offsets to read to the transaction; once in each transaction."""
        ...

    async def commit(self) -> None: ...

    async def abort(self) -> None: ...

    async def close(self) -> None: ...


class Consumer(Protocol):
    """A member of a consumer group; reads committed records only."""

    async def poll(
        self, max_records: int, timeout_seconds: float, busy: Collection[int] = ()
    ) -> dict[TopicPartition, list[Record]]:
        """Records of the partitions assigned and not paused, in order of offsets; empty when the time is over.

        Changes of the assignment are told through the callbacks from within this call, revocations first. `busy` are
        numbers of partitions whose last records are still being worked on: theirs are kept for later, and so is a
        change, to be told when nothing is busy; then what is found is empty at once.
        """
        ...

    def changed(self) -> bool:
        """Whether a change of the assignment waits to be told."""
        ...

    def wake(self) -> None:
        """Ends a `poll` that waits: something is not busy any more."""
        ...

    def assignment(self) -> frozenset[TopicPartition]: ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    async def is_member(self) -> bool:
        """Whether the group, asked now, still has this consumer as the reader of its assignment.

        A member that slept too long has not heard yet that its partitions went to others; False as well while the
        group is settling anew."""
        ...

    def settled(self) -> bool:
        """Whether the group has given this member its assignment, which may be empty, and not taken it back since."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records that the assigned partitions hold beyond the position, as of the last poll that read of them."""
        ...

    async def close(self) -> None: ...


OnChange = Callable[[frozenset[TopicPartition]], None]
"""Called with the partitions gained or lost; must not block and must not raise."""


class Broker(Protocol):
    """The door to a cluster."""

    async def partition_count(self, topic: str) -> int:
        """Raises UnknownTopic."""
        ...

    async def earliest(self, partition: TopicPartition) -> int:
        """The first offset that has not been deleted. Raises UnknownTopic."""
        ...

    async def undecided(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Those of the partitions that end in records of transactions which are neither committed nor aborted, with
        how many offsets that is. Raises UnknownTopic."""
        ...

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where each partition ends for readers of committed records: the offset behind all that they can read now. A
        marker of a transaction may be the last thing before it. Raises UnknownTopic."""
        ...

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The next offsets that a group has committed; a partition without one is left out."""
        ...

    async def join(self, group: str, topics: Sequence[str], *, on_assigned: OnChange, on_revoked: OnChange) -> Consumer:
        """A new member of the group. Partitions with the same number of all these topics go to the same member; a
        partition without a committed offset starts at its beginning."""
        ...

    async def producer(self, transactional_id: str) -> Producer: ...

    def read_to_end(self, partition: TopicPartition) -> AsyncIterator[Sequence[Record]]:
        """All committed records from the beginning to the end as it was when the reading began, in batches."""
        ...

    def follow(self, partition: TopicPartition, from_offset: int = 0) -> AsyncIterator[Sequence[Record]]:
        """Committed records from an offset on, for ever, in batches.

        An empty batch each time the end has been reached as it was when last looked for, so the first one says that
        the reader has caught up; then another one whenever nothing came for a moment.
        """
        ...
