"""The reader: keeps the reference data of an engine up to the topic `reference`.

A change comes into force whole, and between two batches of events, since a batch is decided without awaiting. What
takes long, the tables of price lists, is made in another thread from immutable tables, and swapped in; what a publisher
has staged is made before its change comes. Changes keep their order: one that does not fit keeps the former version in
force, and those behind it wait until the topic holds something that fits. Decisions never stop for it.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from connectors.broker import Broker, Record, TopicPartition
from connectors.reference.chunks import ChunkStore
from connectors.reference.keys import CHUNK, STAGED, VERSION
from connectors.reference.records import (
    Gathered,
    Stored,
    TopicFold,
    Unreadable,
    decoded_staged,
    decoded_version,
    gathered,
)
from engine.editions import DoesNotFit, TableBuilder, Tables
from engine.prefix_index import PrefixIndex
from engine.reference import Reference
from schemas import topics
from schemas.reference import Band, PriceListEdition, ReferenceVersion, Staged

log = logging.getLogger(__name__)

PARTITION = TopicPartition(topics.REFERENCE.name, 0)

QUIET_PRICES = 20_000
"""With more prices to make, the garbage collector stands aside: it would walk over all of them again and again."""

T = TypeVar("T")
Aside = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function while other tasks go on; what it returns or raises comes out."""


class NoReference(Exception):
    """There are no reference data to work with. Says what to do."""


class InForce(NamedTuple):
    """A change that has come into force: told to the observer."""

    version: int
    seconds: float
    """From the closing record's time to now, by two clocks."""
    prices: int
    """Prices that were made for it."""
    beforehand: bool
    """Whether its tables had been made when it came."""


class Status(NamedTuple):
    """What there is to know of a reader."""

    version: int
    waiting: int
    """Changes that have come and are not in force, since one of them does not fit."""
    refused: int
    """Changes that did not fit when they came, since the start."""
    refusal: str | None
    """Why the first that waits does not fit."""
    lost_accounts: int
    """Tombstones of accounts that were passed by."""
    unknown: int
    """Records of kinds that are not known here: a newer publisher wrote them."""
    chunks: int
    chunk_bytes: int
    """Prices as they were published, those of earlier editions among them, deflated."""


class _Closed(NamedTuple):
    """A change that has come and is not in force yet."""

    version: int
    at_us: int
    records: dict[bytes, Stored]
    unstages: bool
    """Whether it is what had been staged."""


class ReferenceReader:
    """`start`, then `run` beside the worker. `reference` is the reference data in force."""

    def __init__(
        self,
        broker: Broker,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        aside: Aside = asyncio.to_thread,
        observe: Callable[[InForce], None] = lambda _: None,
    ) -> None:
        """`aside` makes tables; without threads (`inline`) a run is the same each time."""
        self._broker = broker
        self._now_us = now_us
        self._aside = aside
        self._observe = observe
        self._reference: Reference | None = None
        self._store = ChunkStore()
        self._records: AsyncIterator[Sequence[Record]] | None = None
        self._pending: dict[bytes, Stored] = {}
        self._closed: list[_Closed] = []
        self._staged: Staged | None = None
        self._staged_next: Record | None = None
        """Staged behind changes that are not in force yet: what was staged before may be one of them."""
        self._making: asyncio.Task[Tables] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._progress = asyncio.Condition()
        self._refusal: str | None = None
        self._try_again = False
        self._refused = self._lost_accounts = self._unknown = 0

    @property
    def reference(self) -> Reference:
        """The reference data in force; another object only after the topic had to be read anew."""
        assert self._reference is not None, "the reader has not been started"
        return self._reference

    @property
    def version(self) -> int:
        """The version in force; 0 before the start."""
        return 0 if self._reference is None else self._reference.version

    def status(self) -> Status:
        """For metrics and health."""
        return Status(
            version=self.version,
            waiting=len(self._closed),
            refused=self._refused,
            refusal=self._refusal,
            lost_accounts=self._lost_accounts,
            unknown=self._unknown,
            chunks=len(self._store),
            chunk_bytes=self._store.bytes,
        )

    async def start(self) -> None:
        """Reads the topic to its end and makes the tables.

        Raises NoReference when nothing was published, or what was does not fit; UnknownTopic; and what reading raises.
        """
        self._records = self._broker.follow(PARTITION)
        fold = TopicFold()
        await self._read_to_end(self._records, fold)
        if fold.version is None:
            raise NoReference(
                f"the topic {PARTITION.topic} holds no reference data; publish them first: tollgate load --to-kafka DIR"
            )
        try:
            self._reference = await self._restored(fold)
        except (Unreadable, DoesNotFit) as wrong:
            raise NoReference(
                f"the reference data on the topic {PARTITION.topic} do not fit together: {wrong}; "
                "publish them anew: tollgate load --to-kafka DIR"
            ) from None
        self._lost_accounts = fold.lost_accounts
        self._pending = fold.pending
        log.info("reference data of version %d: %d accounts", self.version, len(self._reference.accounts))
        self._make_staged()

    async def run(self) -> None:
        """Follows the topic for ever. What goes wrong comes out; a change that does not fit is not among it."""
        assert self._records is not None, "the reader has not been started"
        try:
            async for batch in self._records:
                await self._take_in(batch)
                if self._closed:
                    await self._go_on()
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of the topic; `run` does it at its end. Twice is once."""
        for task in self._tasks:
            task.cancel()
        if self._records is not None:
            records, self._records = self._records, None
            await _close(records)

    def apply(self) -> None:
        """Nothing is left to do: `run` puts a change in force as soon as it can, between two batches."""

    async def reached(self, version: int, timeout_seconds: float | None = None) -> None:
        """Waits until a version at least as new is in force; `run` must be running. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds), self._progress:
            await self._progress.wait_for(lambda: self.version >= version)

    # Reading

    async def _read_to_end(self, records: AsyncIterator[Sequence[Record]], fold: TopicFold) -> None:
        """All records up to the end as it is now."""
        async for batch in records:
            if not batch:
                return
            await self._keep_chunks(batch)
            for record in batch:
                if record.key == VERSION:
                    if (closing := _closing(record)) is not None:
                        fold.close(closing)
                elif record.key == STAGED:
                    self._stage(record)
                elif record.key is not None and not _is_chunk(record.key):
                    fold.add(record.key, Stored(record.value, record.timestamp_us))

    async def _take_in(self, batch: Sequence[Record]) -> None:
        if await self._keep_chunks(batch):
            self._try_again = True
        staged = False
        for record in batch:
            if record.key == VERSION:
                if (closing := _closing(record)) is None:
                    continue
                records, self._pending = self._pending, {}
                if closing.version > self.version:
                    # What was staged is needed until its change has come into force.
                    unstages = records.pop(STAGED, None) is not None
                    self._closed.append(_Closed(closing.version, record.timestamp_us, records, unstages))
                    if unstages:
                        self._staged_next = None
                    self._try_again = True
            elif record.key == STAGED and record.value is not None:
                # It takes the place of what was taken back before.
                self._pending.pop(STAGED, None)
                if self._closed:
                    self._staged_next = record
                else:
                    self._stage(record)
                    staged = True
            elif record.key is not None and not _is_chunk(record.key):
                self._pending[record.key] = Stored(record.value, record.timestamp_us)
        if staged:
            self._make_staged()

    async def _keep_chunks(self, batch: Sequence[Record]) -> bool:
        """Takes in a batch's chunks; whether there were any."""
        chunks = [
            (record.key.decode().partition("/")[2], record.value)
            for record in batch
            if record.key is not None and _is_chunk(record.key)
        ]
        if chunks:
            for name in await self._aside(partial(_keep, self._store, chunks)):
                log.error("chunk %s on the topic %s is not what it is called after", name, PARTITION.topic)
        return bool(chunks)

    def _stage(self, record: Record) -> None:
        try:
            self._staged = None if record.value is None else decoded_staged(record.value)
        except Unreadable as wrong:
            # Only a help: without it the tables are made when the change comes.
            log.warning("%s", wrong)
            self._staged = None

    # Putting in force

    async def _go_on(self) -> None:
        """Puts in force, one after the other, what has come."""
        while self._closed and self._refusal is None:
            closed = self._closed[0]
            try:
                await self._put_in_force(gathered(closed.version, closed.at_us, closed.records), closed)
            except (Unreadable, DoesNotFit) as wrong:
                self._refuse(f"version {closed.version}: {wrong}")
                self._try_again = len(self._closed) > 1
            else:
                del self._closed[0]
        if self._refusal is not None and self._try_again:
            self._try_again = False
            await self._read_anew()
        if not self._closed and self._staged_next is not None:
            record, self._staged_next = self._staged_next, None
            self._stage(record)
            self._make_staged()

    async def _put_in_force(self, coming: Gathered, closed: "_Closed") -> None:
        """1. Look whether it fits. 2. Make the tables, if they have not been made. 3. Swap. 4. Tell."""
        change, reference = coming.change, self.reference
        # 1
        reference.check(change)
        # 2
        tables, beforehand = None, False
        if change.lists or change.bands:
            tables = await self._made_beforehand(coming)
            beforehand = tables is not None
            if tables is None:
                tables = await self._made(reference.builder(change.lists, change.bands, self._store))
        # 3
        retired = reference.apply(change, tables)
        for kind, name, version in coming.forgotten:
            reference.forget(kind, name, version)
        self._lost_accounts += coming.lost_accounts
        self._unknown += coming.unknown
        if coming.lost_accounts:
            log.error("version %d removes accounts, which is passed by: close them instead", change.version)
        # 4
        prices = 0 if tables is None else tables.prices
        del tables
        self._retire(retired)
        seconds = (self._now_us() - change.at_us) / 1_000_000
        log.info("reference data of version %d are in force after %.3f s", change.version, seconds)
        self._observe(InForce(change.version, seconds, prices, beforehand))
        async with self._progress:
            self._progress.notify_all()
        if closed.unstages:
            self._staged = None
        if change.lists or change.bands:
            # What had been staged for later was made from tables that are not in force any more.
            self._make_staged()

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self._refusal = why
        log.error("reference data of version %d stay in force: %s", self.version, why)

    async def _read_anew(self) -> None:
        """After a change that did not fit: is what the topic holds by now fit to work with, as after a restart?"""
        fold = TopicFold()
        records = self._broker.follow(PARTITION)
        try:
            await self._read_to_end(records, fold)
            reference = await self._restored(fold)
        except (Unreadable, DoesNotFit) as wrong:
            self._refusal = str(wrong)
            return
        finally:
            await _close(records)
        self._reference = reference
        self._closed = [closed for closed in self._closed if closed.version > reference.version]
        self._refusal = None
        log.info("reference data of version %d are in force, read anew", reference.version)
        async with self._progress:
            self._progress.notify_all()
        self._make_staged()

    # Making tables

    async def _restored(self, fold: TopicFold) -> Reference:
        with _undisturbed():
            reference: Reference = await self._aside(partial(fold.reference, self._store))
        return reference

    async def _made(self, builder: TableBuilder) -> Tables:
        if builder.prices <= QUIET_PRICES:
            made: Tables = await self._aside(builder.build)
        else:
            with _undisturbed():
                made = await self._aside(builder.build)
        return made

    def _make_staged(self) -> None:
        """Begins to make what has been staged, from what is in force now. What was being made from before is let be:
        its thread can't be stopped, and nobody takes what it makes."""
        self._making = None
        if self._staged is None or self._reference is None:
            return
        lists, bands = _coming(self._staged)
        builder = self._reference.builder(lists, bands, self._store)
        self._making = self._beside(self._made(builder))

    async def _made_beforehand(self, coming: Gathered) -> Tables | None:
        """The tables that were staged, if they are those of this change."""
        if self._making is None or self._staged is None:
            return None
        lists, bands = _coming(self._staged)
        if lists != coming.change.lists or bands != coming.change.bands:
            return None
        making, self._making = self._making, None
        await asyncio.wait([making])
        if making.cancelled() or making.exception() is not None:
            return None
        tables = making.result()
        return tables if self.reference.fits(tables, coming.change) else None

    def _retire(self, retired: Sequence[object]) -> None:
        """Lets go of tables in small steps, in another thread, when nobody makes others from them any more."""
        if retired:
            self._beside(self._let_go(tuple(self._tasks), list(retired)))

    async def _let_go(self, running: Sequence[asyncio.Task[Any]], retired: list[object]) -> None:
        if running:
            await asyncio.wait(running)
        await self._aside(partial(_take_apart, retired))

    def _beside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Tables that can't be made are made again when their change comes, and refused then.
            task.exception()


async def inline(work: Callable[[], Any]) -> Any:
    """Runs it at once: what takes long keeps everything else waiting, but happens at the same moment in each run."""
    return work()


def _closing(record: Record) -> ReferenceVersion | None:
    """The end of a change; None if it can't be read: what it was to close belongs to the next change."""
    if record.value is None:
        return None
    try:
        return decoded_version(record.value)
    except Unreadable as wrong:
        log.error("offset %d on the topic %s: %s", record.offset, PARTITION.topic, wrong)
        return None


async def _close(records: AsyncIterator[Sequence[Record]]) -> None:
    if isinstance(records, AsyncGenerator):
        await records.aclose()


def _is_chunk(key: bytes) -> bool:
    return key.startswith(_CHUNK)


_CHUNK = f"{CHUNK}/".encode()


def _keep(store: ChunkStore, chunks: Iterable[tuple[str, bytes | None]]) -> list[str]:
    """Takes in chunks, and lets go of those without a value; those that are not what they are called after."""
    wrong = []
    for name, value in chunks:
        if value is None:
            store.remove(name)
        elif not store.put(name, value):
            wrong.append(name)
    return wrong


def _coming(staged: Staged) -> tuple[dict[str, PriceListEdition | None], dict[str, Band | None]]:
    lists: dict[str, PriceListEdition | None] = dict.fromkeys(staged.removed)
    lists.update((edition.price_list.price_list_id, edition) for edition in staged.editions)
    return lists, {band.band_id: band for band in staged.bands}


def _take_apart(retired: list[object]) -> None:
    while retired:
        thing = retired.pop()
        if isinstance(thing, PrefixIndex):
            for _ in thing.take_apart():
                pass
        elif isinstance(thing, dict):
            while thing:
                thing.popitem()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Many objects are made that stay: the collector would go through them over and over, and stop everything."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # From here on it leaves out what is there now.
            gc.freeze()
            gc.enable()
