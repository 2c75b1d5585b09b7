"""One simulation from its seed: an operator, a stream of events, workers on the in-memory broker, and faults.

Everything is drawn from the seed and nothing else is looked at, so the same seed gives the same run.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from connectors.broker import Broker, TopicPartition
from connectors.memory import MemoryBroker
from connectors.partition_task import PartitionTask
from connectors.worker import Worker
from engine.partition import Partition
from schemas import topics

from .company import Company, company
from .faults import Faults, rates
from .fleet import GROUP, Fleet
from .reader import Reader
from .sabotage import Sabotage
from .stream import Sending, Stream, stream

_PATIENCE_TICKS = 10_000
"""Far more than a stage needs: who has not done its work by then never will."""

_TROUBLED_TICKS = 3_000  # so long a stage is left to its faults after its last event
_CALM_TICKS = 100  # by then all have polled and know what has become of their group


@dataclass
class Run:
    """What a simulation left behind. `live`: the state machine of each partition's owner; `broken`: what went wrong
    on the way; `happened`: how often each fault struck."""

    seed: int
    partitions: int
    company: Company
    stream: Stream
    broker: MemoryBroker
    reader: Reader
    happened: Counter[str]
    ticks: int = 0
    live: dict[int, Partition] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def simulate(seed: int, sabotage: Sabotage | None = None) -> Run:
    """Plays a seed to its end. `sabotage` breaks the worker's pattern on purpose."""
    return asyncio.run(_World(seed, sabotage or Sabotage()).play())


def new_broker(partitions: int) -> MemoryBroker:
    """A broker with all topics and no hook."""
    return _broker(partitions, None)


def _broker(partitions: int, faults: Faults | None) -> MemoryBroker:
    return MemoryBroker(
        {topic.name: partitions for topic in topics.ALL},
        [topic.name for topic in topics.ALL if topic.policy != "delete"],
        hook=None if faults is None else faults.hook,
    )


class _World:
    def __init__(self, seed: int, sabotage: Sabotage) -> None:
        partitions = Random(f"{seed} partitions").randint(2, 4)
        self._rng = Random(f"{seed} world")
        self._company = company(Random(f"{seed} company"))
        self._stream = stream(self._company, Random(f"{seed} stream"), partitions)
        self._partitions = partitions
        self._faults = Faults(Random(f"{seed} faults"), rates(Random(f"{seed} rates")))
        self._broker = _broker(partitions, self._faults)
        self._reader = Reader(self._broker, partitions)
        self._max_records = self._rng.choice((2, 7, 30, 200))
        self._sabotage = sabotage
        self._fleet = Fleet(self._broker, self._faults, self._rng, self._worker, sabotage.door)
        self._run = Run(
            seed, partitions, self._company, self._stream, self._broker, self._reader, self._faults.happened
        )

    async def play(self) -> Run:
        """All stages, the last one without faults, then a stop of everyone to look at their state."""
        *stages, last = self._stream.stages
        for stage in stages:
            self._faults.on = True
            await self._feed(stage)
            await self._until_consumed()
        self._faults.on = False
        await self._feed(last)
        await self._until_consumed()
        await self._until_owned()
        await self._fleet.halt()
        self._reader.look()
        self._run.ticks = self._faults.tick
        self._run.happened["forwarded"] = self._inputs() - sum(map(len, self._stream.stages))
        self._run.broken += self._fleet.broken
        for task in self._tasks():
            self._run.live[task.partition] = task.engine
        await self._fleet.kill_all()
        return self._run

    def _worker(self, broker: Broker) -> Worker:
        return self._sabotage.worker_class()(
            broker,
            self._company.settings,
            self._company.reference(),
            application=GROUP,
            max_records=self._max_records,
        )

    async def _feed(self, sendings: list[Sending]) -> None:
        """Produces a few records at a time, as they come."""
        at_once, pause = self._rng.choice(((1, 3), (4, 2), (20, 20)))
        for i in range(0, len(sendings), at_once):
            for topic, partition, message in sendings[i : i + at_once]:
                self._broker.produce(topic, partition, [message])
            for _ in range(self._rng.randrange(pause)):
                await self._tick()

    async def _until_consumed(self) -> None:
        for tick in range(_PATIENCE_TICKS):
            if not (waiting := self._waiting()):
                break
            if tick == _TROUBLED_TICKS:
                # Some mixtures of faults let nobody get anywhere: that is no finding.
                self._faults.on = False
            await self._tick()
        else:
            self._run.broken += [f"{topic}-{p}: stands still, {n} records to go" for (topic, p), n in waiting.items()]

    async def _until_owned(self) -> None:
        """The last rebalance comes to its end, too: each partition has one owner, and it stays so."""
        calm = 0
        for _ in range(_PATIENCE_TICKS):
            owned = Counter(task.partition for task in self._tasks())
            calm = calm + 1 if owned == dict.fromkeys(range(self._partitions), 1) else 0
            if calm == _CALM_TICKS:
                return
            await self._tick()
        self._run.broken += [f"partition {p} has {owned[p]} owners" for p in range(self._partitions) if owned[p] != 1]

    def _tasks(self) -> list[PartitionTask]:
        return [task for process in self._fleet.processes for task in process.worker.tasks.values()]

    def _inputs(self) -> int:
        places = [(topic.name, p) for topic in topics.INPUTS for p in range(self._partitions)]
        return sum(len(self._broker.committed(*place)) for place in places)

    def _waiting(self) -> dict[TopicPartition, int]:
        """Committed inputs that the group has not committed."""
        places = [TopicPartition(topic.name, p) for topic in topics.INPUTS for p in range(self._partitions)]
        waiting = {}
        for place in places:
            offset = self._broker.committed_offset(GROUP, place) or 0
            if records := self._broker.committed(*place, offset):
                waiting[place] = len(records)
        return waiting

    async def _tick(self) -> None:
        await asyncio.sleep(0)
        self._faults.tick += 1
        self._fleet.tick()
        if self._rng.random() < 0.2:
            self._reader.look()
        if self._faults.chance(self._faults.rates.compact):
            self.compact()

    def compact(self) -> None:
        """Compacts some topic that may be; the reader looks before."""
        self._reader.look()
        self._faults.happened["compaction"] += 1
        topic = self._rng.choice((topics.ENGINE_STATE, topics.ENGINE_STATE, topics.ACCOUNT_BALANCES, topics.NUMBER_NCV))
        self._broker.compact(topic.name)
