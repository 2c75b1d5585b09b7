"""Replay: files of events through the production worker on the in-memory broker, to files of what it publishes.

The partitions are always the same ones; `workers` processes share them out. Events go in by chunks, and what comes out
of a chunk is written partition by partition, so the files are the same bytes for any number of workers.
"""

import asyncio
import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import BinaryIO

import msgspec

from connectors.broker import Message, TopicPartition
from connectors.files.event_lines import EventFile, PlacedLine, Placer, chunks
from connectors.memory import MemoryBroker
from connectors.partition_task import Batch
from connectors.summary import Summary
from connectors.worker import Unobserved, Worker
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.facts import RejectedEvent
from schemas.topics import Topic

PARTITIONS = 16
"""Fixed, since a partition's clock is what its holds expire by: the outcome must not depend on the workers."""

CHUNK = 16_384  # lines; a thousand a partition, large enough that batches cost little beside their events

# Message(...) itself takes twice as long.
_new_message = tuple.__new__

_IN_FLIGHT = 3  # chunks that the workers may lie behind the reader

STREAMS: dict[str, str] = {
    topics.CALL_DECISIONS.name: "decisions.jsonl",
    topics.RATED_CDRS.name: "rated-cdrs.jsonl",
    topics.ACCOUNT_MOVEMENTS.name: "account-movements.jsonl",
    topics.REJECTED_EVENTS.name: "rejected-events.jsonl",
    topics.NOTICES.name: "notices.jsonl",
}
LATEST: dict[str, str] = {
    topics.ACCOUNT_BALANCES.name: "account-balances.jsonl",
    topics.NUMBER_NCV.name: "number-ncv.jsonl",
}
"""Of these topics only the last record of each key is written, in the order of the keys."""

Placed = tuple[str, int, bytes | None, bytes, int]
"""Topic, partition, key, value, time in µs: a line on its way to a worker."""

Blob = tuple[int, str, list[bytes]]
"""Partition, topic, records: what came out of one chunk."""


@dataclass
class Ending:
    """What a worker still has when the input ends."""

    summary: Summary
    latest: dict[str, dict[bytes, bytes]] = field(default_factory=lambda: {topic: {} for topic in LATEST})


class _Summing(Unobserved):
    """Sums up what a worker publishes."""

    def __init__(self) -> None:
        self.summary = Summary()

    def observe(self, batch: Batch) -> None:
        self.summary.observe(batch.outputs)


class Lane:
    """Some of the partitions: a broker of their own, and the worker on it."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        self._broker = MemoryBroker(
            {topic.name: PARTITIONS for topic in topics.ALL}, [topic.name for topic in topics.ALL if _keeps_last(topic)]
        )
        observer = _Summing()
        self._ending = Ending(observer.summary)
        self._worker = Worker(self._broker, settings, reference, max_records=CHUNK, observer=observer)
        self._read: dict[tuple[str, int], int] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._take_all())

    def work(self, lines: Sequence[Placed]) -> list[Blob]:
        """Takes a chunk's lines in and gives out what the worker published for them."""
        produce = self._broker.produce
        for topic, partition, key, value, timestamp_us in lines:
            produce(topic, partition, [_new_message(Message, (key, value, timestamp_us))])
        self._loop.run_until_complete(self._drain(len(lines)))
        return list(self._published())

    async def _take_all(self) -> None:
        await self._worker.start()
        while not self._worker.ready:
            await self._worker.step()

    async def _drain(self, records: int) -> None:
        while records > 0:
            taken = await self._worker.step()
            assert taken, "the worker stopped before the end of its input"
            records -= taken

    def _published(self) -> Iterator[Blob]:
        for partition in range(PARTITIONS):
            for topic in STREAMS:
                if records := self._take(topic, partition):
                    yield partition, topic, [value for _, value in records]
            for topic, latest in self._ending.latest.items():
                latest.update(self._take(topic, partition))
            # The broker keeps nothing that has been read: a replay may be longer than the memory.
            for other in (*topics.INPUTS, topics.TRAFFIC, topics.ENGINE_STATE):
                self._forget(other.name, partition)

    def _take(self, topic: str, partition: int) -> list[tuple[bytes, bytes]]:
        records = self._broker.committed(topic, partition, self._read.get((topic, partition), 0))
        if not records:
            return []
        self._read[topic, partition] = records[-1].offset + 1
        self._broker.forget(topic, partition, records[-1].offset + 1)
        return [(record.key or b"", record.value or b"") for record in records]

    def _forget(self, topic: str, partition: int) -> None:
        if topic in (other.name for other in topics.INPUTS):
            end = self._broker.committed_offset("tollgate-engine", TopicPartition(topic, partition))
            if end:
                self._broker.forget(topic, partition, end)
        else:
            self._take(topic, partition)

    def end(self) -> Ending:
        """Leaves the group; the last balances, counters and sums."""
        self._ending.summary.duplicates = sum(task.engine.duplicates for task in self._worker.tasks.values())
        self._loop.run_until_complete(self._worker.close())
        self._loop.close()
        return self._ending


def _keeps_last(topic: Topic) -> bool:
    return topic.policy != "delete"


class RemoteLane:
    """A lane in a process of its own, forked so that it shares the reference data's memory."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, settings, reference), daemon=True)
        self._process.start()
        far_end.close()

    def send(self, lines: Sequence[Placed]) -> None:
        """Hands a chunk's lines over."""
        self._pipe.send(lines)

    def receive(self) -> list[Blob]:
        """Waits for what came of the oldest chunk. Raises WorkerDied."""
        found = self._receive()
        assert isinstance(found, list)
        return found

    def end(self) -> Ending:
        """Ends the process. Raises WorkerDied."""
        self._pipe.send(None)
        found = self._receive()
        assert isinstance(found, Ending)
        self._process.join()
        return found

    def _receive(self) -> object:
        try:
            found = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise WorkerDied(f"a worker process ended with exit code {self._process.exitcode}") from None
        if isinstance(found, BaseException):
            raise found
        return found


class WorkerDied(Exception):
    """A worker process ended before its work did."""


def _serve(pipe: Connection, settings: EngineSettings, reference: Reference) -> None:
    try:
        lane = Lane(settings, reference)
        while (lines := pipe.recv()) is not None:
            pipe.send(lane.work(lines))
        pipe.send(lane.end())
    except EOFError:
        return  # the reader is gone: nobody is left to tell
    except BaseException as failure:
        pipe.send(failure)
        raise


class _Inline:
    """A lane in this process, with the same two halves as a remote one."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        self._lane = Lane(settings, reference)
        self._done: deque[list[Blob]] = deque()

    def send(self, lines: Sequence[Placed]) -> None:
        self._done.append(self._lane.work(lines))

    def receive(self) -> list[Blob]:
        return self._done.popleft()

    def end(self) -> Ending:
        return self._lane.end()


class Origins:
    """From which file and line the records of chunks under way came; asked only for rejected ones."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}
        self._origins: dict[tuple[str, int, int], tuple[str, int]] = {}

    def add(self, file: str, lines: Sequence[PlacedLine]) -> None:
        """To be called in the order in which lines are handed out."""
        for placed in lines:
            place = (placed.topic, placed.partition)
            offset = self._next.get(place, 0)
            self._next[place] = offset + 1
            self._origins[placed.topic, placed.partition, offset] = (file, placed.line)

    def told(self, blobs: Sequence[Blob]) -> list[Blob]:
        """The blobs of a chunk with file and line in its rejected events."""
        return [
            (partition, topic, [self._told(record) for record in records])
            if topic == topics.REJECTED_EVENTS.name
            else (partition, topic, records)
            for partition, topic, records in blobs
        ]

    def forget(self, lines: Sequence[PlacedLine], first: dict[tuple[str, int], int]) -> None:
        """To be called when a chunk is done."""
        for placed in lines:
            place = (placed.topic, placed.partition)
            offset = first.get(place, 0)
            first[place] = offset + 1
            del self._origins[placed.topic, placed.partition, offset]

    def _told(self, record: bytes) -> bytes:
        event = _decode_rejected(record)
        file, line = self._origins[event.topic, event.partition, event.offset]
        return encode(msgspec.structs.replace(event, file=file, line=line))


_decode_rejected = msgspec.json.Decoder(RejectedEvent).decode

Progress = Callable[[int, int], None]
"""Told the bytes read of all files and the events so far."""


def replay(
    settings: EngineSettings,
    reference: Reference,
    files: Sequence[Path],
    out: Path,
    *,
    workers: int = 1,
    from_us: int | None = None,
    until_us: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Replays event files in their order; the files of `out` appear when all of it is done.

    Raises OSError (or EOFError, ZstdError for a broken compressed file) and WorkerDied; nothing is left in `out` then.
    """
    if not 1 <= workers <= PARTITIONS:
        raise ValueError(f"workers must be 1 to {PARTITIONS}, the number of partitions")
    # What is there by now lives to the end: the collector need not look at it again, nor forked workers copy it. What
    # comes is freed by its counts, so it may look for rings more rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    started = perf_counter()
    lanes: list[_Inline | RemoteLane]
    if workers == 1:
        lanes = [_Inline(settings, reference)]
    else:
        lanes = [RemoteLane(settings, reference) for _ in range(workers)]
    placer = Placer(PARTITIONS, from_us, until_us)
    origins = Origins()
    done: dict[tuple[str, int], int] = {}
    under_way: deque[Sequence[PlacedLine]] = deque()
    events = bytes_before = 0

    with ExitStack() as stack:
        writer = stack.enter_context(OutputFolder(out))

        def collect() -> None:
            lines = under_way.popleft()
            blobs = [blob for lane in lanes for blob in lane.receive()]
            blobs.sort(key=_by_partition)
            for _, topic, records in origins.told(blobs):
                writer.write(STREAMS[topic], records)
            origins.forget(lines, done)

        for path in files:
            file = EventFile(path)
            stack.callback(file.close)
            for lines in chunks(file, placer, CHUNK):
                origins.add(str(path), lines)
                shares: list[list[Placed]] = [[] for _ in lanes]
                for _, topic, partition, key, value, timestamp_us in lines:
                    shares[partition % workers].append((topic, partition, key, value, timestamp_us))
                for lane, share in zip(lanes, shares, strict=True):
                    lane.send(share)
                under_way.append(lines)
                if len(under_way) > (_IN_FLIGHT if workers > 1 else 0):
                    collect()
                events += len(lines)
                if progress is not None:
                    progress(bytes_before + file.position, events)
            bytes_before += file.size
        while under_way:
            collect()
        summary = Summary()
        latest: dict[str, dict[bytes, bytes]] = {topic: {} for topic in LATEST}
        for lane in lanes:
            ending = lane.end()
            summary.add(ending.summary)
            for topic, records in ending.latest.items():
                latest[topic].update(records)
        for topic, name in LATEST.items():
            writer.write(name, [value for _, value in sorted(latest[topic].items())])
        writer.finish()
    summary.events = events
    summary.elapsed_seconds = perf_counter() - started
    return summary


def _by_partition(blob: Blob) -> int:
    return blob[0]


class OutputFolder:
    """The files of a replay: written aside, and given their names when all of them are complete."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when the folder can't be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> "OutputFolder":
        for name in (*STREAMS.values(), *LATEST.values()):
            self._files[name] = self._part(name).open("wb")
        return self

    def write(self, name: str, records: Sequence[bytes]) -> None:
        """Appends records to a file, a line each."""
        if records:
            file = self._files[name]
            file.write(b"\n".join(records))
            file.write(b"\n")

    def finish(self) -> None:
        """Gives the files their names, replacing those of a former replay."""
        for file in self._files.values():
            file.close()
        for name in self._files:
            self._part(name).replace(self._folder / name)

    def __exit__(self, *_: object) -> None:
        for name, file in self._files.items():
            file.close()
            self._part(name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        return self._folder / f".{name}.part"
