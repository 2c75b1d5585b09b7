"""Event files: lines of JSON, plain, `.gz` or `.zst`, or standard input; each line with where it belongs.

A line is looked at only as far as needed to place it: its type gives the topic, its account the partition, its moment
the record's time. Whether it is a good event is the worker's business; a line that can't even be placed goes to the
first partition of `call-attempts`, where the worker rejects it.
"""

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import zstandard

from schemas import topics
from schemas.codec import UNREADABLE
from schemas.partitions import partition_of
from schemas.times import to_us

STANDARD_INPUT = Path("-")

_TOPIC_OF_TYPE = {
    "call_attempt": topics.CALL_ATTEMPTS.name,
    "call_extension": topics.CALL_ATTEMPTS.name,
    "call_release": topics.CALL_ATTEMPTS.name,
    "cdr": topics.CDRS.name,
    "payment": topics.ACCOUNT_COMMANDS.name,
    "top_up": topics.ACCOUNT_COMMANDS.name,
    "write_off": topics.ACCOUNT_COMMANDS.name,
    "correction": topics.ACCOUNT_COMMANDS.name,
    "block": topics.ACCOUNT_COMMANDS.name,
    "unblock": topics.ACCOUNT_COMMANDS.name,
    "close": topics.ACCOUNT_COMMANDS.name,
}
_MEMORY = 1_000_000


class PlacedLine(NamedTuple):
    """One line of a file and where it goes."""

    line: int
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    timestamp_us: int


class _Head(msgspec.Struct, gc=False):
    type: str
    at: str = ""
    ended_at: str = ""
    account_id: str | None = None
    called: str | None = None
    attempt_id: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


class Placer:
    """Places lines on partitions, as a switch's producer would have."""

    def __init__(self, partitions: int, from_us: int | None = None, to_us_: int | None = None) -> None:
        """Events before `from_us`, or at `to_us_` and later, are left out."""
        self._partitions = partitions
        self._from_us = from_us
        self._to_us = to_us_
        self._homes: dict[str, int] = {}
        self._homeless: dict[str, int] = {}
        self._latest_us = 0

    def place(self, number: int, line: bytes) -> PlacedLine | None:
        """Where a line goes; None when it lies outside of the time asked for."""
        try:
            head = _decode_head(line)
            topic = _TOPIC_OF_TYPE[head.type]
        except (*UNREADABLE, KeyError):
            return PlacedLine(number, topics.CALL_ATTEMPTS.name, 0, None, line, self._latest_us)
        try:
            at_us = to_us(head.ended_at or head.at)
        except ValueError:
            at_us = self._latest_us
        else:
            if (self._from_us is not None and at_us < self._from_us) or (
                self._to_us is not None and at_us >= self._to_us
            ):
                return None
            self._latest_us = at_us
        key = head.account_id or head.called
        if key is not None:
            home = self._homes.get(key)
            if home is None:
                if len(self._homes) >= _MEMORY:
                    self._homes.clear()
                home = self._homes[key] = partition_of(key.encode(), self._partitions)
            if head.account_id is None and head.attempt_id is not None:
                self._homeless[head.attempt_id] = home
            return PlacedLine(number, topic, home, key.encode(), line, at_us)
        # The release of a call without account names no number: it follows its attempt.
        home = self._homeless.get(head.attempt_id or "", 0)
        return PlacedLine(number, topic, home, None, line, at_us)


class EventFile:
    """One file of events; `size` and `position` are bytes of the file as it lies there, for a progress bar."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file can't be opened."""
        self.path = path
        self._raw: BinaryIO = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
        self.size = 0 if path == STANDARD_INPUT else path.stat().st_size

    @property
    def position(self) -> int:
        """Bytes read so far; 0 where that can't be known."""
        return self._raw.tell() if self.size else 0

    def lines(self) -> Iterator[bytes]:
        """The lines without their ends. Raises OSError that names the file when a compressed one is broken."""
        try:
            yield from _lines(self._blocks())
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise OSError(f"{self.path}: {error}") from None

    def _blocks(self) -> Iterator[bytes]:
        if self.path.suffix == ".zst":
            yield from _decompressed(self._raw)
            return
        source = gzip.GzipFile(fileobj=self._raw) if self.path.suffix == ".gz" else self._raw
        while block := source.read(1 << 20):
            yield block

    def close(self) -> None:
        """Lets go of the file."""
        if self.path != STANDARD_INPUT:
            self._raw.close()


def _decompressed(source: BinaryIO) -> Iterator[bytes]:
    """The frames of a .zst. Raises EOFError when the last is cut off: the library's reader takes that for an end."""
    frame = None
    while block := source.read(1 << 16):
        while block:
            if frame is None:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(block)
            block = b""
            if frame.eof:
                block, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError("compressed file ended before the end of its last frame")


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


def chunks(file: EventFile, placer: Placer, size: int) -> Iterator[Sequence[PlacedLine]]:
    """The file's lines in order, `size` at a time; empty lines are passed over."""
    chunk: list[PlacedLine] = []
    for number, line in enumerate(file.lines(), start=1):
        if not line or line.isspace():
            continue
        placed = placer.place(number, line)
        if placed is not None:
            chunk.append(placed)
            if len(chunk) >= size:
                yield chunk
                chunk = []
    if chunk:
        yield chunk
