"""What switches and a billing desk send while the faults strike, and their own books of what the broker acknowledged.

Calls, extensions, releases, CDRs and payments of a small operator, drawn from the seed: late, twice, with other content
under the same id, on wrong partitions, with clocks that leap, and bytes that nobody can read.
"""

import asyncio
import time
from collections import Counter
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.partitions import partition_of
from schemas.times import DAY_US, HOUR_US, SECOND_US
from tests.simulation.company import Company
from tests.simulation.events import Line, Scenarios
from tests.simulation.stream import Sending, arranged

from .fleet import until
from .reader import Place, Watcher

_PERIOD_US = 3 * HOUR_US
# Two periods may be under way at once. With what comes late in the second they span less than the 24 hours for which
# ids are remembered, however far one topic runs ahead of another.
_NEXT_PERIOD_US = 6 * HOUR_US
_AT_ONCE = 20


class Sent(NamedTuple):
    """One content in one topic."""

    topic: str
    value: bytes | None


class Traffic:
    """Sends until told to stop. The books: `acknowledged` and `unsure` count each content, `written` says how far the
    partitions go by what was acknowledged, `homes` where a content is taken in (None: wherever it came)."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int, company: Company, rng: Random) -> None:
        self.acknowledged: Counter[Sent] = Counter()
        self.unsure: Counter[Sent] = Counter()
        self.written: dict[Place, int] = {}
        self.homes: dict[bytes | None, int | None] = {}
        self.malformed: set[bytes | None] = set()
        self.kinds: Counter[str] = Counter()
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._partitions = partitions
        self._company = company
        self._rng = rng
        # A broker that starts again has forgotten which writes it knows of a producer whose newest record is older than
        # a day, and takes in twice what is sent twice: the calls take place today and later.
        today_us = int(time.time()) * SECOND_US // DAY_US * DAY_US
        self._start_us = today_us + rng.randrange(24) * HOUR_US
        self._producer: AIOKafkaProducer | None = None
        self._before: dict[Place, int] = {}
        self._periods = 0

    @property
    def clock_us(self) -> int:
        """When the calls that come next take place: later than those that were sent."""
        return self._start_us + _NEXT_PERIOD_US

    async def run(self, watcher: Watcher, records_per_second: float) -> None:
        """Period after period, until cancelled; none begins before the last but one has been worked off."""
        while True:
            await until(
                lambda: not watcher.behind(self._before), "an older period of the traffic is worked off", seconds=120
            )
            self._before = dict(self.written)
            sendings = self._period()
            for i in range(0, len(sendings), _AT_ONCE):
                await self.send(sendings[i : i + _AT_ONCE])
                # The pace of a load, which nothing waits for.
                await asyncio.sleep(_AT_ONCE / records_per_second)

    async def send_period(self, share: float = 1.0) -> None:
        """A period, or the first part of it, as fast as the broker takes it."""
        sendings = self._period()
        await self.send(sendings[: int(len(sendings) * share)])

    async def send(self, sendings: list[Sending]) -> None:
        """Sends and waits until the broker has all of it, or nobody knows."""
        producer = await self._ready_producer()
        futures = []
        for topic, partition, (key, value, timestamp_us) in sendings:
            sent = Sent(topic, value)
            if key is None and value is None:
                key = b""  # the client library wants one of them
            self.unsure[sent] += 1
            futures.append(
                await producer.send(
                    self._prefix + topic, value, key=key, partition=partition, timestamp_ms=timestamp_us // 1000
                )
            )
        for sending, future in zip(sendings, futures, strict=True):
            sent = Sent(sending.topic, sending.message.value)
            try:
                there = await future
            except KafkaError:
                # The producer's memory of what it sent is no good any more.
                self._producer = None
                continue
            self.unsure[sent] -= 1
            self.acknowledged[sent] += 1
            place = Place(sending.topic, sending.partition)
            self.written[place] = max(self.written.get(place, 0), there.offset + 1)
        if self._producer is None:
            await producer.stop()

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def _ready_producer(self) -> AIOKafkaProducer:
        while self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, client_id="traffic", acks="all", enable_idempotence=True
            )
            try:
                await producer.start()
            except KafkaError:
                # The broker is down at present, as it is meant to be.
                await producer.stop()
                await asyncio.sleep(0.1)
            else:
                self._producer = producer
        return self._producer

    def _period(self) -> list[Sending]:
        self._periods += 1
        scenarios = Scenarios(self._company, self._rng, self._start_us, f"p{self._periods}-")
        scenarios.make(self._rng.randrange(30, 90), _PERIOD_US)
        for line in scenarios.lines:
            self.homes[line.value] = None if line.stays else partition_of(line.key.encode(), self._partitions)
            if line.malformed:
                self.malformed.add(line.value)
        self._start_us += _NEXT_PERIOD_US
        sendings = self._with_clock_steps(arranged(scenarios.lines, self._rng, self._partitions))
        self._count(scenarios.lines, sendings)
        return sendings

    def _with_clock_steps(self, sendings: list[Sending]) -> list[Sending]:
        """Some records carry a time of up to an hour ago."""
        stepped = list(sendings)
        for i in self._rng.sample(range(len(sendings)), 1 + len(sendings) // 50):
            message = sendings[i].message
            earlier_us = message.timestamp_us - self._rng.randrange(HOUR_US)
            stepped[i] = sendings[i]._replace(message=message._replace(timestamp_us=earlier_us))
            self.kinds["clock step"] += 1
        return stepped

    def _count(self, lines: list[Line], sendings: list[Sending]) -> None:
        self.kinds["poison"] += sum(line.malformed for line in lines)
        self.kinds["duplicate"] += len(sendings) - len(lines)
        for _, partition, message in sendings:
            home = self.homes[message.value]
            self.kinds["wrong partition"] += home is not None and home != partition
