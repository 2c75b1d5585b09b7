"""Processes that a benchmark starts and talks to: a line of JSON for each word, over standard input and output.

Each thing that is measured runs in a process of its own, so that its processor time and its memory are its own.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from benchmarks.pipeline.trouble import BenchmarkFailed

_LONGEST_LINE = 16 << 20

Said = dict[str, Any]


class Line:
    """The started process's end."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def open(cls) -> "Line":
        """Over this process's standard input and output."""
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return cls(reader)

    async def hear(self) -> Said:
        """What the other end says next; `{"do": "end"}` when it is gone."""
        line = await self._reader.readline()
        return _said(line) if line else {"do": "end"}

    def say(self, **words: object) -> None:
        """Tells the other end."""
        os.write(sys.stdout.fileno(), msgspec.json.encode(words) + b"\n")


class Started:
    """The starter's end."""

    def __init__(self, role: str, process: asyncio.subprocess.Process) -> None:
        self._role = role
        self._process = process

    async def hear(self, word: str, seconds: float) -> Any:
        """What the process says under that word; other words are passed over.

        Raises BenchmarkFailed when it ends or stays silent.
        """
        reader = self._process.stdout
        assert reader is not None
        try:
            async with asyncio.timeout(seconds):
                while line := await reader.readline():
                    said = _said(line)
                    if word in said:
                        return said[word]
        except TimeoutError:
            raise BenchmarkFailed(f"{self._role} has said no {word!r} for {seconds:.0f} seconds") from None
        raise BenchmarkFailed(
            f"{self._role} ended without having said {word!r} (exit code {await self._process.wait()})"
        )

    def say(self, do: str, **words: object) -> None:
        """Tells the process what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, **words}) + b"\n")

    async def end(self, seconds: float = 30.0) -> None:
        """Has it end in good order. Raises BenchmarkFailed when it does not."""
        self.say("end")
        try:
            async with asyncio.timeout(seconds):
                code = await self._process.wait()
        except TimeoutError:
            raise BenchmarkFailed(f"{self._role} does not end") from None
        if code:
            raise BenchmarkFailed(f"{self._role} ended with exit code {code}")


@asynccontextmanager
async def started(role: str, arguments: msgspec.Struct, command: Sequence[str] = ()) -> AsyncIterator[Started]:
    """A process in a role of `benchmarks.pipeline`, or another `command`; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "benchmarks.pipeline", role)),
        msgspec.json.encode(arguments).decode(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    try:
        yield Started(role, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _said(line: bytes) -> Said:
    said = msgspec.json.decode(line)
    assert isinstance(said, dict)
    return said
