"""Worker processes that live and die on one event loop."""

import asyncio
from collections.abc import Callable
from random import Random

from connectors.broker import Broker
from connectors.memory import MemoryBroker
from connectors.memory.consumer import MemoryConsumer
from connectors.worker import Worker

from .faults import PROCESS, Faults, SimulatedCrash, Trouble

GROUP = "tollgate-engine"

_SESSION_TICKS = 40  # at most until the group notices that a member has died


class Process:
    """One worker until it dies or leaves. `halted`: it stands still after a step, its state to be looked at."""

    def __init__(self, name: str, broker: MemoryBroker, faults: Faults, rng: Random, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.dead = False
        self.frozen_until = 0
        self.points_left: int | None = None
        self.leaving = False
        self.halting = False
        self.broken: str | None = None
        """Why it ended, if no fault was to blame: a finding."""
        self._broker = broker
        self._faults = faults
        self._rng = rng
        self._consumer: MemoryConsumer | None = None
        self._expires_at: int | None = None
        self._task = asyncio.create_task(self._live(), name=name)

    @property
    def done(self) -> bool:
        """It has ended."""
        return self._task.done()

    def kill(self) -> None:
        """Ends it wherever it waits."""
        self.dead = True
        self._task.cancel()

    def expire(self) -> None:
        """The group throws it out."""
        if self._consumer is not None:
            self._broker.expire(self._consumer)

    def buried(self) -> bool:
        """Whether it has ended and its group has noticed, which takes a while."""
        if not self.done:
            return False
        if self._expires_at is None:
            self._expires_at = self._faults.tick + self._rng.randrange(_SESSION_TICKS)
        if self._faults.on and self._faults.tick < self._expires_at:
            return False
        self.expire()
        return True

    async def ended(self) -> None:
        """Waits for its end."""
        await asyncio.wait([self._task])

    async def _live(self) -> None:
        PROCESS.set(self)
        try:
            await self.worker.start()
            self._consumer = self._broker.consumers(GROUP)[-1]
            while not (self.leaving or self.halting):
                await (self.worker.turn() if self._rng.random() < 0.5 else self.worker.step())
            await self.worker.finish()
            if not self.halting:
                await self.worker.close()
        except (SimulatedCrash, Trouble, asyncio.CancelledError):
            self.dead = True
        except Exception as error:
            # A worker that ends for another reason than a fault is what the simulation is here to find.
            self.dead = True
            self.broken = f"{self.name} ended: {type(error).__name__}: {error}"


MakeWorker = Callable[[Broker], Worker]


class Fleet:
    """So many processes as are wanted; who dies is replaced."""

    def __init__(
        self,
        broker: MemoryBroker,
        faults: Faults,
        rng: Random,
        make: MakeWorker,
        door: Callable[[MemoryBroker, str], Broker],
    ) -> None:
        """`make` makes a worker on a broker; `door` is how a process of this name sees the broker."""
        self.processes: list[Process] = []
        self.broken: list[str] = []
        self.wanted = rng.randint(1, 3)
        self._broker = broker
        self._faults = faults
        self._rng = rng
        self._make = make
        self._door = door
        self._born = 0

    def tick(self) -> None:
        """Buries, replaces, kills, and has members come and go."""
        for process in self.processes[:]:
            if process.buried():
                self.processes.remove(process)
                if process.broken is not None:
                    self.broken.append(process.broken)
        living = [process for process in self.processes if not process.done]
        if len(living) < self.wanted and not (self._faults.on and self._rng.random() < 0.9):
            self._start()
        if living and self._faults.chance(self._faults.rates.kill):
            self._faults.happened["kill"] += 1
            self._rng.choice(living).kill()
        if living and self._faults.chance(self._faults.rates.storm):
            self._faults.happened["storm"] += 1
            if self._rng.random() < 0.5:
                self._start()
            else:
                self._rng.choice(living).leaving = True
        if len(living) > self.wanted and self._faults.chance(0.05):
            living[0].leaving = True

    def _start(self) -> None:
        self._born += 1
        name = f"worker-{self._born}"
        worker = self._make(self._door(self._broker, name))
        self.processes.append(Process(name, self._broker, self._faults, self._rng, worker))

    async def halt(self) -> None:
        """Everyone finishes the step in hand."""
        for process in self.processes:
            process.halting = True
        for process in self.processes:
            await process.ended()
            if process.broken is not None:
                self.broken.append(process.broken)

    async def kill_all(self) -> None:
        """The end of the simulation."""
        for process in self.processes:
            process.kill()
            await process.ended()
