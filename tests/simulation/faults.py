"""What goes wrong, and when: drawn from the seed at every point where a process waits for the broker.

The unit of time is the tick, one round of the event loop's driver; no clock is read.
"""

import asyncio
from collections import Counter
from contextvars import ContextVar
from random import Random
from typing import NamedTuple, Protocol

from connectors.broker import Ambiguous, BrokerError

_FREEZE_TICKS = 150
_DOOMED = 0.3  # of the frozen ones: they die soon after they have gone on
_RARE_POINTS = ("join", "producer", "read", "commit.before", "leave", "close")
_RARE_TIMES = 6  # as likely, so that what comes seldom is hit as well
_AMBIGUOUS_POINTS = ("commit.before", "commit.marker", "commit.after")


class SimulatedCrash(Exception):
    """The process is gone: nothing of it runs from here on."""


class Trouble(BrokerError):
    """The broker failed a request for good."""


class Rates(NamedTuple):
    """How often what happens: `crash`, `freeze` and `trouble` at each point, `lost_send` at each send, `ambiguous` at
    each of a commit's points; the others at each tick."""

    crash: float
    freeze: float
    trouble: float
    lost_send: float
    ambiguous: float
    kill: float
    storm: float
    compact: float


def rates(rng: Random) -> Rates:
    """Each seed has its own mixture; what is frequent in one may be absent from another."""

    def rate(often: float) -> float:
        return rng.choice((0.0, often / 4, often, 3 * often))

    return Rates(
        crash=rate(0.002),
        freeze=rate(0.002),
        trouble=rate(0.0006),
        lost_send=rate(0.002),
        ambiguous=rate(0.006),
        kill=rate(0.002),
        storm=rate(0.008),
        compact=rate(0.02),
    )


class Victim(Protocol):
    """A process as faults see it."""

    dead: bool
    frozen_until: int
    points_left: int | None
    """After so many more points it dies; None: it is not doomed."""

    def expire(self) -> None:
        """Its group throws it out."""
        ...


PROCESS: ContextVar[Victim | None] = ContextVar("process", default=None)
"""Whose task this is; the tasks that a process begins inherit it."""


class Faults:
    """The hook of a broker. `happened` counts what was done by its name."""

    def __init__(self, rng: Random, rates: Rates) -> None:
        self.on = True
        self.tick = 0
        self.happened: Counter[str] = Counter()
        self.rates = rates
        self._rng = rng
        self._pauses = rng.choice(((0,), (0, 0, 0, 1), (0, 1, 2, 5)))

    async def hook(self, point: str, who: str) -> None:
        """Waits a little, then maybe does the process harm that has come to this point."""
        victim = PROCESS.get()
        if victim is None:
            return
        for _ in range(self._rng.choice(self._pauses)):
            await asyncio.sleep(0)
        often = _RARE_TIMES if point in _RARE_POINTS else 1
        if self.chance(often * self.rates.freeze):
            self._freeze(victim, point)
        while self.on and not victim.dead and self.tick < victim.frozen_until:
            await asyncio.sleep(0)
        if victim.dead:
            raise SimulatedCrash(point)
        if not self.on:
            return
        if victim.points_left is not None:
            victim.points_left -= 1
        if victim.points_left == 0 or self.chance(often * self.rates.crash):
            victim.dead = True
            self.happened[f"crash at {point}"] += 1
            raise SimulatedCrash(point)
        if point in _AMBIGUOUS_POINTS and self.chance(self.rates.ambiguous):
            self.happened[f"ambiguous at {point}"] += 1
            raise Ambiguous(f"{who}: no answer at {point}")
        if point == "send" and self.chance(self.rates.lost_send):
            self.happened["lost send"] += 1
            raise Trouble(f"{who}: a batch was lost")
        if self.chance(self.rates.trouble):
            self.happened["trouble"] += 1
            raise Trouble(f"{who}: {point} failed")

    def chance(self, rate: float) -> bool:
        """Whether it happens now; nothing does while faults are off."""
        return self.on and rate > 0 and self._rng.random() < rate

    def _freeze(self, victim: Victim, point: str) -> None:
        """It stands still and mostly misses its session's time-out; when it goes on, it may be somebody of the past."""
        victim.frozen_until = self.tick + self._rng.randrange(1, _FREEZE_TICKS)
        if self._rng.random() < 0.8:
            self.happened[f"zombie at {point}"] += 1
            victim.expire()
            if self._rng.random() < _DOOMED:
                victim.points_left = self._rng.randint(1, 6)
