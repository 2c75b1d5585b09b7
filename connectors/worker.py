"""The worker: takes partitions from a consumer group and runs the engine over their events, exactly once.

It is the same over Apache Kafka and over the in-memory broker. A partition is taken in the background while the others
are worked on, and dropped at the first doubt: what was committed is read again, by whoever owns it then.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Protocol

from connectors.broker import Ambiguous, Broker, Consumer, Fenced, Record, TopicPartition, Unavailable, UnknownTopic
from connectors.partition_task import Batch, PartitionTask, StateLost
from engine.partition import Partition
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas import topics

log = logging.getLogger(__name__)

_TAKES_AT_ONCE = 4  # a reader each; more would only share the processor

APPLICATION = "tollgate-engine"
"""The consumer group where nothing else is said."""

_RANK = {topic.name: rank for rank, topic in enumerate(topics.INPUTS)}


class ReferenceSource(Protocol):
    """Where the reference data in force comes from."""

    @property
    def reference(self) -> Reference:
        """The tables in force; another object after a change that was prepared aside."""
        ...

    def apply(self) -> None:
        """Brings into force what has come; called between two batches."""
        ...

    async def reached(self, version: int) -> None:
        """Waits until a version is in force that is at least as new: a call is charged by the version that it was
        promised under, so a partition's new owner must know what the former one knew."""
        ...


class FixedReference:
    """Reference data that does not change by itself."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def apply(self) -> None:
        """Nothing comes."""

    async def reached(self, version: int) -> None:
        """What is there is all there is."""


class Observer(Protocol):
    """Told what the worker does, as it does it."""

    def observe(self, batch: Batch) -> None:
        """A batch has been committed."""

    def taken(self, task: PartitionTask) -> None:
        """A partition has been restored and is worked on."""

    def fenced(self, partition: int) -> None:
        """Another worker has taken the partition."""

    def ambiguous(self, partition: int) -> None:
        """A transaction was not brought to its end, or nobody knows."""

    def state_lost(self, partition: int) -> None:
        """What was restored did not fit together."""


class Unobserved:
    """An observer of nothing; also a base for those of one thing only."""

    def observe(self, batch: Batch) -> None:
        """Nobody looks."""

    def taken(self, task: PartitionTask) -> None:
        """Nobody looks."""

    def fenced(self, partition: int) -> None:
        """Nobody looks."""

    def ambiguous(self, partition: int) -> None:
        """Nobody looks."""

    def state_lost(self, partition: int) -> None:
        """Nobody looks."""


class Worker:
    """A member of the engine's consumer group. `run` until `stop`; `turn` does one round of it, and `step` one whose
    work is done when it comes back.

    Each partition has one batch at a time, and waits for no other partition's. What concerns all of them, a change of
    the assignment or of the reference data, happens between batches.

    `tasks` are the partitions that are worked on. One that the group takes away is only laid aside, until it is known
    who gets it: if it comes back and nobody has had it meanwhile, which its next transaction proves, its state is as
    good as ever. So a worker that comes or goes makes the others restore only what moves.
    """

    def __init__(
        self,
        broker: Broker,
        settings: EngineSettings,
        reference: Reference | ReferenceSource,
        *,
        application: str = APPLICATION,
        max_records: int = 5_000,
        interval_seconds: float = 0.0,
        observer: Observer | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`max_records` of a poll. `interval_seconds`: between the starts of two batches of a partition at the least.

        The processor time of a transaction hardly depends on what is in it: a few milliseconds let more come together,
        and leave broker and worker the time for it.
        """
        self.tasks: dict[int, PartitionTask] = {}
        self.last_step = clock()
        """When the last round ended, by `clock`."""
        self._broker = broker
        self._settings = settings
        self._source: ReferenceSource = FixedReference(reference) if isinstance(reference, Reference) else reference
        self._reference = self._source.reference
        self._application = application
        self._max_records = max_records
        self._interval_seconds = interval_seconds
        self._observer: Observer = observer or Unobserved()
        self._clock = clock
        self._consumer: Consumer | None = None
        self._partitions = 0
        self._aside: dict[int, PartitionTask] = {}
        self._wanted: set[int] = set()
        """Assigned, and neither owned nor being taken."""
        self._taking: dict[int, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(_TAKES_AT_ONCE)
        self._doubted: set[int] = set()
        """Somebody else took these: the group must say that they are ours before they are taken back."""
        self._lost_once: set[int] = set()
        self._running: dict[int, asyncio.Task[None]] = {}
        """Batches that are worked on, by partition."""
        self._resting: set[int] = set()
        """Partitions whose last batch began less than the interval ago."""
        self._assignment_is_new = False
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether the group has said which partitions are this worker's, and it works on all of them.

        They may be none, where there are more workers than partitions: it is ready to take over.
        """
        settled = self._consumer is not None and self._consumer.settled()
        return settled and not (self._wanted or self._taking or self._aside)

    @property
    def reference_version(self) -> int:
        """The version of the reference data in force."""
        return self._reference.version

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records of each input partition that wait."""
        return {} if self._consumer is None else self._consumer.lag()

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
        try:
            while not self._stopping:
                await self.turn(idle_seconds)
            await self.finish()
        finally:
            await self.close()

    def stop(self) -> None:
        """Ends `run` after the batches in hand."""
        self._stopping = True

    async def close(self) -> None:
        """Leaves the group. A batch that is still worked on is given up."""
        going_on = (*self._taking.values(), *self._running.values())
        for one in going_on:
            one.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)
        self._running.clear()
        for task in (*self.tasks.values(), *self._aside.values()):
            await task.drop()
        self.tasks.clear()
        self._aside.clear()
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

        The number of records polled. What the engine asserts and finds broken comes out as AssertionError, of this
        turn or of a later one: the worker must end, uncommitted.
        """
        consumer = self._consumer
        assert consumer is not None, "the worker has not been started"
        if consumer.changed():
            await self.finish()
            self._resting.clear()
        polled = await consumer.poll(self._max_records, idle_seconds, self._running.keys() | self._resting)
        self._look_at_ended()
        await self._settle(consumer)
        self._bring_into_force()
        batches: dict[int, list[list[Record]]] = {}
        for (_, partition), records in polled.items():
            if partition in self.tasks:
                batches.setdefault(partition, []).append(records)
        for partition in sorted(batches):
            work = self._process(consumer, self.tasks[partition], batches[partition])
            self._running[partition] = running = asyncio.create_task(work)
            running.add_done_callback(partial(self._ended, consumer, partition))
            if self._interval_seconds > 0:
                self._resting.add(partition)
                asyncio.get_running_loop().call_later(self._interval_seconds, self._rested, consumer, partition)
        self.last_step = self._clock()
        return sum(len(records) for records in polled.values())

    def _ended(self, consumer: Consumer, partition: int, running: asyncio.Task[None]) -> None:
        _was_looked_at(running)
        if partition not in self._resting:
            consumer.wake()

    def _rested(self, consumer: Consumer, partition: int) -> None:
        self._resting.discard(partition)
        if (running := self._running.get(partition)) is None or running.done():
            consumer.wake()

    async def finish(self) -> None:
        """Waits for the batches in hand."""
        if self._running:
            await asyncio.wait(self._running.values())
            self._look_at_ended()

    def _look_at_ended(self) -> None:
        ended = [partition for partition, running in self._running.items() if running.done()]
        failures = [self._running.pop(partition).exception() for partition in ended]
        for failure in failures:
            if failure is not None:
                raise failure

    def _bring_into_force(self) -> None:
        self._source.apply()
        if self._source.reference is not self._reference:
            self._reference = self._source.reference
            for task in (*self.tasks.values(), *self._aside.values()):
                task.engine.reference = self._reference

    async def _process(self, consumer: Consumer, task: PartitionTask, streams: list[list[Record]]) -> None:
        try:
            batch = await task.process(merged(streams))
        except Fenced as fenced:
            # Another worker took the partition. If it was a zombie that the group has moved past, the partition is
            # ours still, and taken back; the group is asked first, lest we be the zombie.
            log.warning("partition %d: %s", task.partition, fenced)
            self._observer.fenced(task.partition)
            self._doubted.add(task.partition)
            await self._give_up(consumer, task)
        except Ambiguous as ambiguous:
            # Nobody knows whether the batch counts. What was committed is read again.
            log.warning("partition %d: %s", task.partition, ambiguous)
            self._observer.ambiguous(task.partition)
            await self._give_up(consumer, task)
        else:
            self._observer.observe(batch)

    async def _give_up(self, consumer: Consumer, task: PartitionTask) -> None:
        """Drops a partition that is assigned, to take it anew."""
        self.tasks.pop(task.partition, None)
        await task.drop()
        if mine := consumer.assignment() & set(_inputs(task.partition)):
            consumer.pause(mine)
            self._wanted.add(task.partition)

    def _on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self._assignment_is_new = True
        self._wanted |= {there.partition for there in partitions}
        if self._consumer is not None:
            self._consumer.pause(partitions)

    def _on_revoked(self, partitions: frozenset[TopicPartition]) -> None:
        for partition in {there.partition for there in partitions}:
            self._wanted.discard(partition)
            self._doubted.discard(partition)
            if (taking := self._taking.pop(partition, None)) is not None:
                taking.cancel()
            if (task := self.tasks.pop(partition, None)) is not None:
                self._aside[partition] = task

    async def _settle(self, consumer: Consumer) -> None:
        """Drops what went to others and takes what was gained, outside of the group's callbacks."""
        for partition in [partition for partition, taking in self._taking.items() if taking.done()]:
            self._look_at(partition, self._taking.pop(partition))
        if self._assignment_is_new:
            self._assignment_is_new = False
            for partition in sorted(self._aside.keys() - self._wanted):
                await self._aside.pop(partition).drop()
        for partition in sorted(self._wanted):
            self._wanted.discard(partition)
            if not consumer.assignment().issuperset(_inputs(partition)):
                continue
            if partition in self._doubted:
                self._doubted.discard(partition)
                if not await consumer.is_member():
                    continue  # the next assignment says whose it is
            taking = self._taking[partition] = asyncio.create_task(self._acquire(consumer, partition))
            taking.add_done_callback(_was_looked_at)

    def _look_at(self, partition: int, taking: asyncio.Task[None]) -> None:
        """What became of a taking that has ended. Raises what the worker must end with."""
        if taking.cancelled() or (failure := taking.exception()) is None:
            self._lost_once.discard(partition)
            return
        if isinstance(failure, StateLost):
            # It may have been taken over, and the changelog compacted, while it was read: the group says whose it is.
            # Twice in a row is a broken changelog.
            self._observer.state_lost(partition)
            if partition in self._lost_once:
                raise failure
            self._lost_once.add(partition)
        elif not isinstance(failure, Unavailable | Ambiguous | Fenced | UnknownTopic):
            # The topics were there at the start: a broker that is starting does not know all of them yet.
            raise failure
        log.warning("partition %d can't be taken yet: %s", partition, failure)
        self._wanted.add(partition)

    async def _acquire(self, consumer: Consumer, partition: int) -> None:
        async with self._at_once:
            aside = self._aside.pop(partition, None)
            if aside is None or not await self._take_up(consumer, aside):
                await self._take(consumer, partition)

    async def _take_up(self, consumer: Consumer, task: PartitionTask) -> bool:
        """Goes on with a partition that was laid aside, if nobody has had it meanwhile."""
        try:
            await task.process([])
        except (Fenced, Ambiguous):
            await task.drop()
            return False
        except BaseException:
            await task.drop()
            raise
        self._begin_with(consumer, task)
        return True

    async def _take(self, consumer: Consumer, partition: int) -> None:
        engine = Partition(self._settings, self._reference)
        task = PartitionTask(self._broker, self._application, partition, self._partitions, engine)
        try:
            await task.take()
            await self._source.reached(task.reference_version)
        except BaseException:
            await task.drop()
            raise
        if task.missed_records:
            log.error(
                "partition %d: %d records of its inputs were deleted (retention) before they were taken in",
                partition,
                task.missed_records,
            )
        self._begin_with(consumer, task)
        self._observer.taken(task)
        log.info(
            "partition %d taken: %d records restored in %.2f s", partition, task.restored_records, task.restore_seconds
        )

    def _begin_with(self, consumer: Consumer, task: PartitionTask) -> None:
        task.engine.reference = self._reference
        self.tasks[task.partition] = task
        mine = _inputs(task.partition)
        for there in mine:
            consumer.seek(there, task.next_offsets[there.topic])
        consumer.resume(mine)


def _was_looked_at(ended: asyncio.Task[None]) -> None:
    # What one that was called off failed with is nobody's concern.
    if not ended.cancelled():
        ended.exception()


def _inputs(partition: int) -> list[TopicPartition]:
    return [TopicPartition(topic.name, partition) for topic in topics.INPUTS]


def merged(streams: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """The records of a partition's topics in the order in which they are worked off: as they came, as well as the
    broker knows it, and those of one topic always in the order of their offsets.

    A record's time is its producer's, and need not grow with the offset: one that is dated earlier than the one before
    it counts as having come with it.
    """
    if len(streams) == 1:
        return streams[0]
    placed = []
    for records in streams:
        latest = 0
        for record in records:
            latest = max(latest, record.arrival)
            placed.append((latest, _RANK[record.topic], record.offset, record))
    placed.sort()
    return [record for _, _, _, record in placed]
