"""The whole system in one process: the record, a broker in memory, the engine, relay, projector and API.

    async with running(database=…, http=…) as system:
        await system.feed(files)
        await system.projected()

For demonstrations, for trying things out, and for tests that need all parts at once. Each part is the one that works in
earnest, with its own role in the database; only the broker forgets everything with the process, so the database must be
one that no other broker has written to.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from connectors.broker import Message, TopicPartition
from connectors.console import with_console
from connectors.files.event_lines import EventFile, Placer, chunks
from connectors.http import Services, create_app
from connectors.http.metrics import http_registry
from connectors.http.serve import serving
from connectors.known import Known
from connectors.memory import MemoryBroker
from connectors.nightly.watch import watching
from connectors.postgres import outbox
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import APP, PROJECTOR, RELAY, Database, open_database
from connectors.postgres.facts import READ, Facts
from connectors.postgres.facts_store import FactsStore
from connectors.projector import Projector
from connectors.reference.reader import ReferenceReader
from connectors.relay import Relay
from connectors.rerating import ReratingWork, ReratingWorker
from connectors.settings import DatabaseSettings, HttpSettings, NightlySettings
from connectors.worker import APPLICATION, Observer, Worker
from engine.settings import EngineSettings
from schemas import topics

PARTITIONS = 16

CHUNK = 4_096
"""Lines that are taken in at once."""

BATCH = 500
"""Records of a poll: the engine has the event loop for so long, some 20 ms, and others ask the API meanwhile."""

_LOOK_SECONDS = 0.002
_ACTIVE_SECONDS = 20.0
_ENGINE = "tollgate-engine"

Progress = Callable[[int, int], None]
"""Told the bytes read of all files and the events so far."""


class DatabaseInUse(Exception):
    """Another process publishes what this database says."""


class System:
    """All parts, at work. `address` is that of the API."""

    def __init__(
        self,
        broker: MemoryBroker,
        database: Database,
        clock: BusinessClock,
        reader: ReferenceReader,
        worker: Worker,
        projector: Projector,
        address: str,
    ) -> None:
        self.broker = broker
        self.database = database
        """As people work with it, with the rights of the API."""
        self.clock = clock
        """The office's."""
        self.reader = reader
        self.worker = worker
        self.projector = projector
        self.address = address
        self.latest_us = 0
        """The moment of the last event taken in."""

    async def feed(self, files: Sequence[Path], progress: Progress | None = None) -> int:
        """Takes the events of files in, in their order, as their switches would have sent them; how many.

        Raises OSError for a file that can't be read; what came before it has been taken in.
        """
        placer = Placer(PARTITIONS)
        events = bytes_before = 0
        for path in files:
            with closing(EventFile(path)) as file:
                for lines in chunks(file, placer, CHUNK):
                    for line in lines:
                        message = Message(line.key, line.value, line.timestamp_us)
                        self.broker.produce(line.topic, line.partition, [message])
                        self.latest_us = max(self.latest_us, line.timestamp_us)
                    await self.worked_off()
                    events += len(lines)
                    if progress is not None:
                        progress(bytes_before + file.position, events)
                bytes_before += file.size
        return events

    async def published(self) -> None:
        """Until all that the office has saved, and that is not for later, is in force in the engine."""
        await _sent(self.database, self.clock)
        async with self.database.pool.acquire() as connection:
            newest = await outbox.latest_version(connection)
        await self.reader.reached(newest)

    async def worked_off(self) -> None:
        """Until the engine has worked off all that has been taken in."""
        places = [TopicPartition(topic.name, partition) for topic in topics.INPUTS for partition in range(PARTITIONS)]
        for there in places:
            while self.broker.waiting(there, self.broker.committed_offset(_ENGINE, there) or 0):
                await asyncio.sleep(_LOOK_SECONDS)

    async def projected(self) -> None:
        """Until the database says all that the engine has published."""
        for topic in READ:
            for there in (TopicPartition(topic.name, partition) for partition in range(PARTITIONS)):
                while self.broker.waiting(there, self._written_to(there)):
                    await asyncio.sleep(_LOOK_SECONDS)

    def forget(self) -> None:
        """Takes off the broker what all have read, and outdated records of the changelog: memory, for what comes next.

        To be called when the engine and the projector have nothing to do.
        """
        for topic in topics.ALL:
            if topic.policy == "delete":
                for partition in range(PARTITIONS):
                    self.broker.forget(topic.name, partition, self._read_to(topic, partition))
        self.broker.compact(topics.ENGINE_STATE.name)

    def _read_to(self, topic: topics.Topic, partition: int) -> int:
        there = TopicPartition(topic.name, partition)
        if topic in topics.INPUTS:
            return self.broker.committed_offset(_ENGINE, there) or 0
        if topic in READ:
            return self._written_to(there)
        last = self.broker.committed(*there)  # nobody reads it here
        return last[-1].offset + 1 if last else 0

    def _written_to(self, there: TopicPartition) -> int:
        position = self.projector.positions.get(there)
        return 0 if position is None else position.next_offset


@asynccontextmanager
async def running(
    database: DatabaseSettings,
    *,
    engine: EngineSettings | None = None,
    http: HttpSettings | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[System]:
    """Everything runs while the block does. The record must have been filled: an engine without prices can't start.

    `observer` sees what the engine publishes. Raises DatabaseInUse, and what the parts do when they can't work
    (DatabaseTrouble, BadSettings, NoReference, EmptyTopic, Stuck, …); of one that fails later, out of the block.
    """
    engine, http = engine or EngineSettings(), http or HttpSettings()
    clock = BusinessClock(settable=http.settable_clock)
    async with AsyncExitStack() as stack:
        app, relaying, projecting = [
            await stack.enter_async_context(open_database(database, role=role)) for role in (APP, RELAY, PROJECTOR)
        ]
        broker = MemoryBroker(
            {topic.name: PARTITIONS if topic.partitioned_like_input else 1 for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
        )
        parts = await stack.enter_async_context(_together())
        relay = Relay(relaying.pool, broker, now_us=lambda: clock.now_us(relaying.pool), settings=engine)
        parts.create_task(relay.run(), name="relay")
        stack.callback(relay.stop)
        await _active(relay)
        await _sent(app, clock)
        reader = await _in_force(broker)
        following = parts.create_task(reader.run(), name="reference")
        stack.callback(following.cancel)
        worker = Worker(broker, engine, reader, max_records=BATCH, observer=observer)
        await worker.start()
        parts.create_task(worker.run(), name="engine")
        stack.callback(worker.stop)
        projector = Projector(broker, FactsStore(projecting.pool, Facts(engine.business_time_zone)))
        await projector.start()
        parts.create_task(projector.run(), name="projector")
        stack.callback(projector.stop)
        known = Known(broker, projecting.pool, engine_group=APPLICATION, now_us=lambda: clock.now_us(projecting.pool))
        parts.create_task(known.run(), name="known")
        stack.callback(known.stop)
        while not (worker.ready and projector.ready):
            await asyncio.sleep(_LOOK_SECONDS)
        rerating = ReratingWorker(ReratingWork(app.pool, engine, lambda: clock.now(app.pool)))
        stack.callback(parts.create_task(rerating.run(), name="re-ratings").cancel)
        services = Services(
            app,
            http=http,
            engine=engine,
            reference=lambda: reader.reference,
            broker=broker,
            clock=clock,
            registry=http_registry(),
        )
        # Nights that the API is asked for: none begins by itself here.
        await stack.enter_async_context(
            watching(
                database,
                engine=engine,
                settings=NightlySettings(),
                numbers=services.numbers,
                clock=clock,
                registry=services.registry,
                by_clock=False,
            )
        )
        address = await stack.enter_async_context(
            serving(with_console(create_app(services), http=http, time_zone=engine.business_time_zone), http)
        )
        yield System(broker, app, clock, reader, worker, projector, address)


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that end together: one that fails ends the block and the others, and its failure comes out."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as failed:
        raise _first(failed) from None


async def _active(relay: Relay) -> None:
    """Until the relay has compared the record with the broker. Raises DatabaseInUse."""
    try:
        async with asyncio.timeout(_ACTIVE_SECONDS):
            while not relay.active:
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise DatabaseInUse(
            f"a relay of another process works on this database ({relay.away or 'this one stands by'}); the whole "
            "system in one process needs a database of its own: set [database] data_dir to another folder"
        ) from None


async def _sent(database: Database, clock: BusinessClock) -> None:
    """Until the relay has sent all that is due."""
    async with database.pool.acquire() as connection:
        while await outbox.waiting(connection, now=await clock.now(database.pool)):
            await asyncio.sleep(_LOOK_SECONDS)


async def _in_force(broker: MemoryBroker) -> ReferenceReader:
    """A reader that has read what was published. Raises NoReference."""
    reader = ReferenceReader(broker)
    await reader.start()
    # The tables stay as long as the process: the collector need not walk through them.
    gc.collect()
    gc.freeze()
    return reader


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others went wrong because of it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
