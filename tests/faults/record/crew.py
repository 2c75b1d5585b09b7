"""The product's processes as a supervisor sees them: started, killed, frozen, and started again when they end."""

import asyncio
import ctypes
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests.faults.fleet import ROOT, until

ENGINE, RELAY, PROJECTOR = "engine", "relay", "projector"
ROLES = (ENGINE, RELAY, PROJECTOR)

REST_SECONDS = 0.3
"""How long a supervisor waits before it starts again what has ended."""

_PR_SET_PDEATHSIG = 1  # of Linux

_BROKEN = re.compile(r"CRITICAL(?!.*Kafka)|Traceback|state broken|can't be stored|belong together|chunk .* is not")
"""What no log of a process may hold, whatever befell those around it. That it gives up without Kafka may be."""


class Member:
    """One place in the crew: a process of its role is kept running there. `generation` counts them."""

    def __init__(self, role: str, place: int, command: list[str], env: Mapping[str, str], log_file: Path) -> None:
        self.role = role
        self.place = place
        self.name = f"{role}-{place}"
        self.log_file = log_file
        self.generation = 0
        self.frozen = False
        self.endings: Counter[str] = Counter()
        """How its processes ended that nobody had killed or told to end."""
        self._command = command
        self._env = env
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._killed = False
        self._leaving = False

    @property
    def alive(self) -> bool:
        """Whether a process is there, frozen or not."""
        return self._process is not None and self._process.returncode is None

    def start(self) -> None:
        """Keeps a process running from now on."""
        self._watching = asyncio.create_task(self._keep())

    def kill(self) -> None:
        """Ends the process at once (SIGKILL); a new one is started soon."""
        self._killed = True
        self.frozen = False
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stops it wherever it is (SIGSTOP)."""
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Wakes it (SIGCONT)."""
        self.frozen = False
        self._signal(signal.SIGCONT)

    async def leave(self) -> None:
        """Has it end in good order, and not start again."""
        self._leaving = True
        self.go_on()
        self._signal(signal.SIGTERM)
        assert self._watching is not None
        await until(lambda: self._watching is not None and self._watching.done(), f"{self.name} ends when told")
        await self._watching

    async def end(self) -> None:
        """Ends it, whatever state it is in."""
        self._leaving = True
        self.kill()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self.alive:
            self.kill()
            assert self._process is not None
            await self._process.wait()

    async def _keep(self) -> None:
        while True:
            self.generation += 1
            self._killed = False
            with self.log_file.open("ab") as log:
                log.write(f"-- {self.name}, process {self.generation}\n".encode())
                log.flush()
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.log_file.parent,
                    preexec_fn=_end_with_us,
                    env={**self._env, "TOLLGATE_KAFKA_CLIENT_ID": f"worker-{self.name}.{self.generation}"},
                )
            code = await self._process.wait()
            if self._leaving:
                if code != 0 and not self._killed:
                    self.endings[f"exit code {code} when told to end"] += 1
                return
            if not self._killed:
                self.endings[f"exit code {code}"] += 1
            await asyncio.sleep(REST_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            assert self._process is not None
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


class Crew:
    """All processes of a run. `happened` counts what befell them by themselves."""

    def __init__(self, folder: Path, env: Mapping[str, str], sabotage: Mapping[str, str]) -> None:
        """`env` is what all of them are told; `sabotage` names what is broken in the processes of a role."""
        self.members: list[Member] = []
        self._folder = folder
        self._env = env
        self._sabotage = sabotage

    def start(self, role: str, **env: str) -> Member:
        """One more process of a role, with some more of its environment."""
        place = 1 + sum(member.role == role for member in self.members)
        member = Member(
            role,
            place,
            command(role, self._sabotage.get(role, "")),
            {**self._env, **env},
            self._folder / f"{role}-{place}.log",
        )
        self.members.append(member)
        member.start()
        return member

    def of(self, role: str) -> list[Member]:
        """The processes of a role that are there and not frozen."""
        return [member for member in self.members if member.role == role and member.alive and not member.frozen]

    async def leave(self) -> None:
        """Has all of them end in good order: who asks before who answers."""
        await asyncio.gather(*(member.leave() for member in self.members))

    async def end(self) -> None:
        """The end, whatever state they are in."""
        await asyncio.gather(*(member.end() for member in self.members), return_exceptions=True)

    def findings(self) -> Iterator[str]:
        """Ends and words of processes that no fault excuses."""
        for member in self.members:
            for ending, times in member.endings.items():
                if ending.endswith("when told to end"):
                    yield f"{member.name}: {ending}, {times} times"
            for line in member.log_file.read_text(errors="replace").splitlines():
                if _BROKEN.search(line):
                    yield f"{member.name} says: {line[:300]}"

    def happened(self) -> Counter[str]:
        """How processes ended by themselves, to be started again."""
        found: Counter[str] = Counter()
        for member in self.members:
            for ending, times in member.endings.items():
                found[f"{member.role} ended by itself: {ending}"] += times
        return found


def _end_with_us() -> None:
    """In the child: it is killed when the process that watches over it is gone, however that has ended."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def command(role: str, sabotage: str = "") -> list[str]:
    """How a process of a role is started."""
    if sabotage:
        return [sys.executable, "-m", "tests.faults.record.sabotage", sabotage, role]
    return [str(Path(sys.executable).with_name("tollgate")), role]


def environment(**settings: str) -> dict[str, str]:
    """What processes of the product are started with: settings of this shell are none of the run's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **settings}
