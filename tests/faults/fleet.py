"""Worker processes as whoever watches over them sees them: started, told what to do, killed, replaced."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from .worker_process import BROKEN, GAVE_UP, Options

DEADLINE_SECONDS = 60.0
"""Far more than anything here takes: what has not happened by then never will."""

ROOT = Path(__file__).resolve().parents[2]


class Stalled(Exception):
    """What was waited for did not come; says what."""


async def until(is_so: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits for a condition. Raises Stalled with `what`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not is_so():
        if asyncio.get_running_loop().time() > deadline:
            raise Stalled(f"after {seconds:.0f} seconds still not: {what}")
        await asyncio.sleep(0.02)


class WorkerProcess:
    """One process. `said` is what it told, in order; `partitions` those it was last known to work on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said: list[dict[str, Any]] = []
        self.partitions: set[int] = set()
        self.stopped_at: dict[str, Any] | None = None
        """The point at which it stands still."""
        self.leaving = False
        self._process: asyncio.subprocess.Process
        self._listening: asyncio.Task[None]

    async def start(self, options: Options) -> None:
        """Starts it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.worker_process",
            msgspec.json.encode(options).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self._listening = asyncio.create_task(self._listen())

    @property
    def alive(self) -> bool:
        """It has not ended, though it may stand still."""
        return self._process.returncode is None

    @property
    def works(self) -> bool:
        """It runs, and means to go on."""
        return self.alive and self.stopped_at is None and not self.leaving

    @property
    def exit_code(self) -> int | None:
        """How it ended; None as long as it has not."""
        return self._process.returncode

    def tell(self, command: str) -> None:
        """Sends it a command."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(f"{command}\n".encode())

    def trap(self, point: str, times: int = 1) -> None:
        """It will stop at the point the N-th time from when it hears of it."""
        self.tell(f"trap {point} {times}")

    def leave(self) -> None:
        """It will leave the group and end."""
        self.leaving = True
        self.tell("leave")

    def go_on(self) -> None:
        """Wakes it (SIGCONT)."""
        self.stopped_at = None
        self._signal(signal.SIGCONT)

    def freeze(self) -> None:
        """Stops it wherever it is (SIGSTOP)."""
        self.stopped_at = {"stopped": "anywhere", "partitions": sorted(self.partitions)}
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Ends it at once (SIGKILL), frozen or not."""
        self._signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Waits for its end."""
        await self._process.wait()
        await self._listening
        assert self._process.stdin is not None
        self._process.stdin.close()

    def since(self, mark: int, word: str) -> list[Any]:
        """What it said with this word after it had said so much."""
        return [line[word] for line in self.said[mark:] if word in line]

    def last_word_of(self, partition: int, *words: str) -> float:
        """When it last said one of these words of a partition, by the loop's clock; 0 if it never did."""
        return max((line["at"] for line in self.said for word in words if line.get(word) == partition), default=0.0)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while text := await self._process.stdout.readline():
            try:
                line = json.loads(text)
            except ValueError:  # the last words of one that was killed
                continue
            self.said.append(line | {"at": asyncio.get_running_loop().time()})
            if "stopped" in line:
                self.stopped_at = line
            for word in ("taken", "committed"):
                if word in line:
                    self.partitions.add(line[word])
            for word in ("fenced", "ambiguous"):
                if word in line:
                    self.partitions.discard(line[word])


class Fleet:
    """So many workers as are wanted; who ends is replaced. `happened` counts what they told."""

    def __init__(self, make: Callable[[str, str], Options]) -> None:
        """`make` gives the options of a worker by its name and its trap."""
        self.workers: list[WorkerProcess] = []
        self.wanted = 0
        self.happened: Counter[str] = Counter()
        self.broken: list[str] = []
        """Workers that ended for a reason of their own."""
        self._make = make
        self._born = 0
        self._watching: asyncio.Task[None] | None = None

    async def start(self, trap: str = "") -> WorkerProcess:
        """One more worker."""
        self._born += 1
        worker = WorkerProcess(f"worker-{self._born}")
        await worker.start(self._make(worker.name, trap))
        self.workers.append(worker)
        return worker

    def watch_over(self, wanted: int) -> None:
        """Keeps so many at work from now on."""
        self.wanted = wanted
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def working(self) -> list[WorkerProcess]:
        """Those that work on partitions."""
        return [worker for worker in self.workers if worker.works and worker.partitions]

    async def bury(self) -> None:
        """Takes the ended out of the list and looks how they ended."""
        for worker in [worker for worker in self.workers if not worker.alive]:
            self.workers.remove(worker)
            await worker.ended()
            for word in ("fenced", "ambiguous", "state_lost"):
                self.happened[f"partition {word}"] += len(worker.since(0, word))
            if worker.exit_code == GAVE_UP:
                why = worker.since(0, "ended") or ["nobody listened"]
                self.happened[f"worker gave up: {why[-1].partition(':')[0]}"] += 1
            elif worker.exit_code == BROKEN or (worker.exit_code or 0) > 0:
                why = worker.since(0, "ended") or [f"exit code {worker.exit_code}"]
                self.broken.append(f"{worker.name} ended: {why[-1]}")

    async def end(self) -> None:
        """Has all of them leave in good order."""
        await self._stop_watching()
        for worker in self.workers:
            worker.go_on()
            worker.leave()
        await until(lambda: not any(worker.alive for worker in self.workers), "all workers have left")
        await self.bury()

    async def kill_all(self) -> None:
        """The end, whatever state they are in."""
        await self._stop_watching()
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            await worker.ended()
        self.workers.clear()

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            watching, self._watching = self._watching, None
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        while True:
            await self.bury()
            for _ in range(self.wanted - sum(worker.works for worker in self.workers)):
                await self.start()
            await asyncio.sleep(0.1)
