"""The projector: brings what the engine said from the broker into the database, each record once.

It is a member of a consumer group, so several of them share the partitions, and one that dies is replaced. The group's
own offsets are not used: how far a partition has come stands in the database and moves in the transaction that writes
the rows. Two that take themselves for a partition's owner can't both write it: the second finds the position moved.

With the database away the records wait on the broker; with the broker away there is nothing to write. Either is said
once, and the work goes on by itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic, perf_counter
from typing import NamedTuple, Protocol, TypeVar

from connectors.broker import Broker, Consumer, Record, TopicPartition, Unavailable, UnknownTopic
from connectors.postgres.facts import READ
from connectors.postgres.facts_store import Away, FactsStore, Move, Overtaken, Position
from schemas.times import to_datetime

log = logging.getLogger("tollgate.projector")

T = TypeVar("T")

TOPICS = tuple(topic.name for topic in READ)

GROUP = "tollgate-projector"

_WRITES_AT_ONCE = 4
"""A connection each. More than one lets the database work while the next batch is made ready."""

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 5.0
"""How long to wait until the database is tried again; twice as long each time."""


class Stopped(Exception):
    """A partition can't be gone on with until somebody has done something about it. Says what."""


class _GivenUp(Exception):
    """The projector is to stop, and the database does not answer."""


class Batch(NamedTuple):
    """What has been written."""

    partition: int
    records: Sequence[Record]
    laid_aside: int
    seconds: float


class Observer(Protocol):
    """Told what the projector does, as it does it."""

    def observe(self, batch: Batch) -> None:
        """A batch has been written."""

    def away(self) -> None:
        """The database did not take a batch; it is tried again."""

    def overtaken(self, partition: int) -> None:
        """Somebody else has written the partition."""


class Unobserved:
    """An observer of nothing."""

    def observe(self, batch: Batch) -> None:
        """Nobody looks."""

    def away(self) -> None:
        """Nobody looks."""

    def overtaken(self, partition: int) -> None:
        """Nobody looks."""


class Projector:
    """`run` until `stop`; `turn` does one round of it, and `step` one whose work is done when it comes back.

    Each partition has one batch at a time, of all of its topics together, and waits for no other partition's.
    """

    def __init__(
        self,
        broker: Broker,
        store: FactsStore,
        *,
        group: str = GROUP,
        max_records: int = 20_000,
        observer: Observer | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.positions: dict[TopicPartition, Position] = {}
        """Of the partitions that are worked on."""
        self.stopped: dict[int, str] = {}
        """Partitions that are not gone on with, and why."""
        self.missed_records = 0
        """Offsets that the broker had deleted before they were read."""
        self.database_away = False
        self.last_step = clock()
        """When the last round ended, by `clock`."""
        self._broker = broker
        self._store = store
        self._group = group
        self._max_records = max_records
        self._observer: Observer = observer or Unobserved()
        self._clock = clock
        self._consumer: Consumer | None = None
        self._wanted: set[int] = set()
        """Assigned, and neither worked on nor being taken."""
        self._doubted: set[int] = set()
        """Somebody else moved these: the group must say that they are ours before they are taken back."""
        self._taking: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(min(_WRITES_AT_ONCE, store.connections))
        self._stopping = asyncio.Event()

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are worked on."""
        return frozenset(there.partition for there in self.positions)

    @property
    def ready(self) -> bool:
        """Whether the group has said which partitions are this projector's, and it works on all of them."""
        settled = self._consumer is not None and self._consumer.settled()
        return settled and not (self._wanted or self._taking or self.stopped or self.database_away)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records of each topic's partitions that wait, as of the last poll."""
        return {} if self._consumer is None else self._consumer.lag()

    async def start(self) -> None:
        """Joins the group. Raises UnknownTopic, or ValueError when the topics' partitions do not match."""
        counts = {name: await self._broker.partition_count(name) for name in TOPICS}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise ValueError(f"these topics must all have the same number of partitions: {listed}")
        self._consumer = await self._broker.join(
            self._group, TOPICS, on_assigned=self._on_assigned, on_revoked=self._on_revoked
        )

    async def run(self, idle_seconds: float = 0.2) -> None:
        """Works until `stop`, then leaves the group with nothing open."""
        try:
            while not self._stopping.is_set():
                await self.turn(idle_seconds)
            await self.finish()
        finally:
            await self.close()

    def stop(self) -> None:
        """Ends `run` after the batches in hand; what waits for the database is given up."""
        self._stopping.set()

    async def close(self) -> None:
        """Leaves the group. A batch that is still being written is given up."""
        await self._give_up_all()
        self.positions.clear()
        self._wanted.clear()
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.close()

    async def step(self, idle_seconds: float = 0.0) -> int:
        """A turn, and the end of all that it began. The number of records polled; raises as `turn` does."""
        polled = await self.turn(idle_seconds)
        await self.finish()
        return polled

    async def turn(self, idle_seconds: float = 0.0) -> int:
        """One round: changes of the assignment, a poll, and a batch begun for each partition that has records and none
        in hand.

        The number of records polled. Raises what the process must end with: the database is not as it should be.
        """
        consumer = self._consumer
        assert consumer is not None, "the projector has not been started"
        if consumer.changed():
            # Batches in hand are given up: they may wait for the database, and the group does not wait for us. What
            # became of them stands in the database.
            await self._give_up_all()
        polled = await consumer.poll(self._max_records, idle_seconds, self._running.keys())
        self._look_at_ended()
        await self._settle(consumer)
        batches: dict[int, list[Record]] = {}
        for there, records in polled.items():
            if there in self.positions:
                batches.setdefault(there.partition, []).extend(records)
        for partition, records in batches.items():
            running = self._running[partition] = asyncio.create_task(self._write(consumer, partition, records))
            running.add_done_callback(lambda _: consumer.wake())
        self.last_step = self._clock()
        return sum(map(len, batches.values()))

    async def finish(self) -> None:
        """Waits for the batches in hand, unless they wait for the database and the projector is to stop."""
        if self._running:
            await asyncio.wait(self._running.values())
        self._look_at_ended()

    def _look_at_ended(self) -> None:
        ended = [partition for partition, running in self._running.items() if running.done()]
        for running in [self._running.pop(partition) for partition in ended]:
            if running.cancelled() or (failure := running.exception()) is None or isinstance(failure, _GivenUp):
                continue
            raise failure

    async def _give_up_all(self) -> None:
        going_on = (*self._taking.values(), *self._running.values())
        for one in going_on:
            one.cancel()
        results = await asyncio.gather(*going_on, return_exceptions=True)
        for partition in (*self._taking, *self._running):
            self._forget(partition)
            self._wanted.add(partition)
        self._taking.clear()
        self._running.clear()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, Unavailable | UnknownTopic | _GivenUp):
                raise result

    # Taking partitions

    def _on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self._wanted |= {there.partition for there in partitions}
        if self._consumer is not None:
            self._consumer.pause(partitions)

    def _on_revoked(self, partitions: frozenset[TopicPartition]) -> None:
        for partition in {there.partition for there in partitions}:
            self._wanted.discard(partition)
            self._doubted.discard(partition)
            self.stopped.pop(partition, None)
            self._forget(partition)
            for tasks in (self._taking, self._running):
                if (task := tasks.pop(partition, None)) is not None:
                    task.cancel()

    def _forget(self, partition: int) -> None:
        for there in _places(partition):
            self.positions.pop(there, None)

    async def _settle(self, consumer: Consumer) -> None:
        """Takes what was gained, outside of the group's callbacks."""
        for partition in [partition for partition, taking in self._taking.items() if taking.done()]:
            taking = self._taking.pop(partition)
            if taking.cancelled() or (failure := taking.exception()) is None:
                continue
            if not isinstance(failure, Unavailable | UnknownTopic | _GivenUp):
                raise failure
            log.warning("partition %d can't be taken yet: %s", partition, failure)
            self._wanted.add(partition)
        for partition in sorted(self._wanted - self._running.keys()):
            self._wanted.discard(partition)
            if not consumer.assignment().issuperset(_places(partition)):
                continue
            if partition in self._doubted:
                self._doubted.discard(partition)
                if not await consumer.is_member():
                    continue  # the next assignment says whose it is
            taking = self._taking[partition] = asyncio.create_task(self._take(consumer, partition))
            taking.add_done_callback(lambda done: consumer.wake())

    async def _take(self, consumer: Consumer, partition: int) -> None:
        """Goes on where the database says that the partition has come to."""
        consumer.pause(_places(partition))
        found = await self._until_there(lambda: self._store.positions(partition, TOPICS))
        for topic, position in found.items():
            there = TopicPartition(topic, partition)
            earliest = await self._broker.earliest(there)
            if earliest > position.next_offset:
                await self._skip(there, position.next_offset, earliest)
                position = position._replace(next_offset=earliest)
            self.positions[there] = position
            consumer.seek(there, position.next_offset)
        consumer.resume(_places(partition))

    async def _skip(self, there: TopicPartition, from_offset: int, to_offset: int) -> None:
        log.error(
            "%s-%d: the broker has deleted %d offsets, from %d on, that were never read; they stand in facts.gaps, and "
            "`tollgate audit` says which accounts miss something",
            *there,
            to_offset - from_offset,
            from_offset,
        )
        self.missed_records += to_offset - from_offset
        await self._until_there(lambda: self._store.skip(*there, from_offset, to_offset))

    # Writing

    async def _write(self, consumer: Consumer, partition: int, records: list[Record]) -> None:
        started = perf_counter()
        try:
            await self._look_for_gaps(partition, records)
            moves = self._moves(partition, records)
            async with self._at_once:
                laid_aside = await self._until_there(lambda: self._written(partition, records, moves))
        except Overtaken as overtaken:
            # Its new owner goes on with it. If that was one that the group has moved past, it is ours still.
            log.warning("%s", overtaken)
            self._observer.overtaken(partition)
            self._doubted.add(partition)
            self._give_back(consumer, partition)
        except (Unavailable, UnknownTopic) as unavailable:
            log.warning("partition %d is taken anew: %s", partition, unavailable)
            self._give_back(consumer, partition)
        except Stopped as stopped:
            log.error("%s", stopped)
            self._forget(partition)
            self.stopped[partition] = str(stopped)
            consumer.pause(set(_places(partition)) & consumer.assignment())
        else:
            for move in moves:
                self.positions[TopicPartition(move.topic, partition)] = Position(move.to_offset, move.record_at)
            if laid_aside:
                log.error(
                    "partition %d: %d records can't be stored; they are kept in facts.unprojected with the reason",
                    partition,
                    laid_aside,
                )
            self._observer.observe(Batch(partition, records, laid_aside, perf_counter() - started))

    async def _look_for_gaps(self, partition: int, records: Sequence[Record]) -> None:
        """Notes what the broker has deleted since the partition was taken; readers go on behind it without a word."""
        seen: set[str] = set()
        for record in records:
            if record.topic in seen:
                continue
            seen.add(record.topic)
            there = TopicPartition(record.topic, partition)
            next_offset = self.positions[there].next_offset
            # The end of a transaction takes an offset of its own.
            if record.offset <= next_offset + 1:
                continue
            # Still more may have been deleted since these were read.
            first_left = min(await self._broker.earliest(there), record.offset)
            if first_left > next_offset:
                await self._skip(there, next_offset, first_left)
                self.positions[there] = self.positions[there]._replace(next_offset=first_left)

    def _moves(self, partition: int, records: Sequence[Record]) -> list[Move]:
        first: dict[str, Record] = {}
        last: dict[str, Record] = {}
        for record in records:
            first.setdefault(record.topic, record)
            last[record.topic] = record
        moves = []
        for topic, record in last.items():
            position = self.positions[TopicPartition(topic, partition)].next_offset
            if first[topic].offset < position:
                raise Stopped(
                    f"{topic}-{partition} has been made anew: it is at offset {first[topic].offset}, and the database "
                    f"has it up to {position}. A database belongs to one set of topics: give the new ones a database "
                    "of their own, or another topic_prefix"
                )
            moves.append(Move(topic, position, record.offset + 1, to_datetime(record.timestamp_us)))
        return moves

    async def _written(self, partition: int, records: Sequence[Record], moves: Sequence[Move]) -> int:
        try:
            return await self._store.write(partition, records, moves)
        except Overtaken:
            # By ourselves, it may be: the answer to the commit was lost.
            there = await self._store.positions(partition, [move.topic for move in moves])
            if any(there[move.topic].next_offset != move.to_offset for move in moves):
                raise
            return 0

    async def _until_there(self, do: Callable[[], Awaitable[T]]) -> T:
        """Does it as soon as the database takes it. Raises _GivenUp when the projector is to stop meanwhile."""
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                done = await do()
            except Away as away:
                self._observer.away()
                if not self.database_away:
                    self.database_away = True
                    log.warning("the database does not take anything now, it is tried again until it does: %s", away)
            else:
                if self.database_away:
                    self.database_away = False
                    log.info("the database takes what comes again")
                return done
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._stopping.wait()
            except TimeoutError:
                wait_seconds = min(wait_seconds * 2, _LONGEST_WAIT_SECONDS)
            else:
                raise _GivenUp

    def _give_back(self, consumer: Consumer, partition: int) -> None:
        """Lets go of a partition that is assigned, to take it anew."""
        self._forget(partition)
        if mine := consumer.assignment() & set(_places(partition)):
            consumer.pause(mine)
            self._wanted.add(partition)


def _places(partition: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic in TOPICS]
