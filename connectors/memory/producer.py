"""Transactions: their life, and the producer that leads it.

Records are appended to the logs at once and are invisible until the transaction ends: only the end can be observed.
A transactional id remembers its epoch and its open transaction beyond the life of a producer.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from connectors.broker import BrokerError, Fenced, Message, TopicPartition
from connectors.memory.cluster import Cluster, Point
from connectors.memory.log import PartitionLog


class Batch(NamedTuple):
    """Where one batch stands: offsets first ≤ offset < end."""

    log: PartitionLog
    first: int
    end: int


class Transaction:
    """What one transaction has written, and whether it was decided to commit it."""

    def __init__(self, cluster: Cluster) -> None:
        self.deliveries: list[Delivery] = []
        self.committed = False
        self._cluster = cluster
        self._batches: list[Batch] = []
        self._offsets: tuple[str, dict[TopicPartition, int]] | None = None

    def write(self, topic: str, partition: int, messages: Sequence[Message]) -> Batch | None:
        """Appends, and returns where; None when there is nothing to append. Raises as `log` and `append` do."""
        log = self._cluster.log(topic, partition)
        if not messages:
            return None
        # A refused batch raises here, before the log waits for a marker.
        batch = Batch(log, log.append(messages), log.end)
        log.open(self, batch.first)
        self._batches.append(batch)
        return batch

    def lose(self, batch: Batch) -> None:
        """Takes out a batch that did not arrive; what is committed stays."""
        if not self.committed:
            batch.log.remove(batch.first, batch.end)

    def add_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        if self._offsets is not None:
            raise BrokerError("offsets are sent once in each transaction")
        for partition in offsets:
            self._cluster.log(*partition)
        self._offsets = (group, dict(offsets))

    def logs(self) -> list[PartitionLog]:
        """Those written to, in the order of their first batch."""
        return list(dict.fromkeys(batch.log for batch in self._batches))

    def show(self, log: PartitionLog) -> None:
        """Makes a committed transaction visible in one partition."""
        log.close(self)
        self._cluster.bell.ring()

    def end(self) -> None:
        """Brings the transaction to its end everywhere: visible if it is committed, gone if not. Twice is once."""
        if not self.committed:
            for batch in self._batches:
                self.lose(batch)
        for log in self.logs():
            log.close(self)
        if self.committed and self._offsets is not None:
            self._cluster.commit_offsets(*self._offsets)
            self._offsets = None
        self._cluster.bell.ring()


class TransactionalId:
    """A name under which one producer at a time has the word: the one with the latest epoch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = -1
        self.transaction: Transaction | None = None

    def take_over(self) -> int:
        """A new epoch. The former producer's transaction ends as it was decided, an undecided one is aborted."""
        if self.transaction is not None:
            self.transaction.end()
            self.transaction = None
        self.epoch += 1
        return self.epoch


class MemoryProducer:
    """See `connectors.broker.Producer`. Closing it leaves an open transaction open, as a killed process would."""

    def __init__(self, cluster: Cluster, identity: TransactionalId) -> None:
        self._cluster = cluster
        self._identity = identity
        self._epoch = identity.take_over()
        self._closed = False

    async def begin(self) -> None:
        await self._reach_and_check("begin")
        if self._identity.transaction is not None:
            raise BrokerError(f"{self._identity.name}: a transaction is open already")
        self._identity.transaction = Transaction(self._cluster)

    def send(self, topic: str, partition: int, messages: Sequence[Message]) -> "Delivery":
        """Whatever goes wrong is raised by the awaitable."""
        delivery = Delivery(self)
        try:
            delivery.transaction = self._current()
            delivery.transaction.deliveries.append(delivery)
            delivery.batch = delivery.transaction.write(topic, partition, messages)
        except BrokerError as error:
            delivery.error = error
        return delivery

    async def send_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        self._current()
        await self._reach_and_check("send_offsets")
        self._current().add_offsets(group, offsets)

    async def commit(self) -> None:
        transaction = self._current()
        # Batches that nobody awaited are flushed, and their failures go unseen: the mistake that `send` warns of.
        for delivery in transaction.deliveries:
            if not delivery.settled:
                try:
                    await delivery
                except BrokerError:
                    continue
        await self._reach_and_check("commit.before")
        transaction = self._current()
        # From here on it is committed, whatever becomes of the caller.
        transaction.committed = True
        try:
            # Partitions show a transaction one by one: readers of two partitions may see one half first.
            for log in transaction.logs():
                await self._cluster.reach("commit.marker", self._identity.name)
                transaction.show(log)
            await self._cluster.reach("commit.marker", self._identity.name)
        finally:
            self._end(transaction)
        await self._cluster.reach("commit.after", self._identity.name)

    async def abort(self) -> None:
        self._current()
        await self._reach_and_check("abort")
        self._end(self._current())

    async def close(self) -> None:
        self._closed = True
        await self._cluster.reach("close", self._identity.name)

    async def settle(self, delivery: "Delivery") -> None:
        """Ends when the broker has the batch; raises what has become of it otherwise, again and again if asked."""
        if delivery.error is None and not delivery.settled:
            try:
                await self._reach_and_check("send")
            except BrokerError as error:
                if delivery.transaction is not None and delivery.batch is not None:
                    delivery.transaction.lose(delivery.batch)
                delivery.error = error
        delivery.settled = True
        if delivery.error is not None:
            raise delivery.error

    def _end(self, transaction: Transaction) -> None:
        transaction.end()
        # A new owner may have begun a transaction of its own while this one's markers were written.
        if self._identity.transaction is transaction:
            self._identity.transaction = None

    def _current(self) -> Transaction:
        self._check()
        if (transaction := self._identity.transaction) is None:
            raise BrokerError(f"{self._identity.name}: no transaction is open")
        return transaction

    def _check(self) -> None:
        if self._identity.epoch != self._epoch:
            raise Fenced(f"{self._identity.name}: epoch {self._epoch}, now {self._identity.epoch}")
        if self._closed:
            raise BrokerError(f"{self._identity.name}: the producer is closed")

    async def _reach_and_check(self, point: Point) -> None:
        # Before and after: another producer may take over while this one waits.
        self._check()
        await self._cluster.reach(point, self._identity.name)
        self._check()


class Delivery:
    """The fate of one batch; awaiting it ends when the broker has the batch."""

    __slots__ = ("_producer", "batch", "error", "settled", "transaction")

    def __init__(self, producer: MemoryProducer) -> None:
        self.transaction: Transaction | None = None
        self.batch: Batch | None = None
        self.error: BrokerError | None = None
        self.settled = False
        self._producer = producer

    def __await__(self) -> Generator[Any, None, None]:
        return self._producer.settle(self).__await__()
