"""Until when all is known: the moment up to which every call that a switch has told of was worked off by the engine,
and what it says of unwanted calls was projected.

Without it "nobody called" can't be told from "nobody has counted yet" (§1.4): an engine that is behind tells of
yesterday with today's time, and of a quiet night nothing is told at all. So the ends of the engine's inputs are looked
at, then it is waited until its group has committed them, then the same with the counters and the projector's positions.
The moment is the one before the first look.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import NamedTuple

from connectors.broker import Broker, BrokerError, TopicPartition
from connectors.postgres.database import DRIVER_TROUBLES, Pool
from connectors.postgres.queries import sql
from schemas import topics
from schemas.times import to_datetime

log = logging.getLogger("tollgate.projector")

SECONDS = 30.0
"""From one moment to the next."""

_STEP_SECONDS = 1.0
"""From one look to the next while something is waited for."""

INPUTS = (topics.CALL_ATTEMPTS.name, topics.CDRS.name)
"""Where calls are told of."""

COUNTERS = topics.NUMBER_NCV.name


class _Coming(NamedTuple):
    """A moment on its way: where the inputs ended, and the counters when those had been worked off."""

    at_us: int
    inputs: Mapping[TopicPartition, int]
    counters: Mapping[TopicPartition, int] | None = None


class Known:
    """`run` until `stop`; `look` does one step of it. Several may be at work, as projectors are."""

    def __init__(self, broker: Broker, pool: Pool, *, engine_group: str, now_us: Callable[[], Awaitable[int]]) -> None:
        """`now_us`: the business clock."""
        self._broker = broker
        self._pool = pool
        self._group = engine_group
        self._now_us = now_us
        self._coming: _Coming | None = None
        self._stopping = asyncio.Event()
        self._away = False

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Looks again and again. With the broker or the database away it waits, and says so once."""
        while not self._stopping.is_set():
            seconds = _STEP_SECONDS
            try:
                if await self.look():
                    seconds = SECONDS
                self._away = False
            except (BrokerError, *DRIVER_TROUBLES) as error:
                self._coming = None
                seconds = SECONDS
                if not self._away:
                    log.warning("until when all is known can't be found out now: %s", error)
                self._away = True
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    async def look(self) -> bool:
        """Goes on as far as it can; whether a moment has been reached and noted. Raises BrokerError and the driver's
        errors."""
        if self._coming is None:
            at_us = await self._now_us()
            self._coming = _Coming(at_us, await self._ends(INPUTS))
        coming = self._coming
        if coming.counters is None:
            done = await self._broker.group_offsets(self._group, coming.inputs.keys())
            if not await self._reached(done, coming.inputs):
                return False
            coming = self._coming = coming._replace(counters=await self._ends((COUNTERS,)))
        assert coming.counters is not None
        rows = await self._pool.fetch(sql("facts/positions_of"), COUNTERS)
        projected = {TopicPartition(COUNTERS, number): next_offset for number, next_offset in rows}
        if not await self._reached(projected, coming.counters):
            return False
        await self._pool.execute(sql("facts/known"), to_datetime(coming.at_us))
        self._coming = None
        return True

    async def _ends(self, names: tuple[str, ...]) -> Mapping[TopicPartition, int]:
        places = [
            TopicPartition(name, number) for name in names for number in range(await self._broker.partition_count(name))
        ]
        return await self._broker.ends(places)

    async def _reached(self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> bool:
        for place, end in ends.items():
            position = positions.get(place, 0)
            if position < end and not await self._nothing_follows(place, position):
                return False
        return True

    async def _nothing_follows(self, place: TopicPartition, position: int) -> bool:
        """Whether no record is there: a transaction's marker, or what was deleted, is nobody's to read."""
        async with aclosing(self._broker.follow(place, position)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                return not batch
        return True
