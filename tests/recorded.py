"""An operator with a record: a golden reference folder in PostgreSQL, the relay, the engine on the in-memory broker,
and the projector. What the office changes reaches the engine as in earnest; what the engine says reaches the record.

    async with recorded(db) as office:
        await office.take(*events_of(REGIONS))         # through the engine and into the record
        await office.change(locks={})                  # the folder with other locks: a new version for the engine
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from golden.update import FOLDER
from projected import PARTITIONS, Json, Said, caught_up, started

from connectors.broker import Message, Record
from connectors.files.event_lines import Placer
from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.known import Known
from connectors.memory import MemoryBroker
from connectors.postgres import outbox
from connectors.postgres.database import Database
from connectors.postgres.load import load_folder
from connectors.reference.reader import ReferenceReader, inline
from connectors.relay import Relay
from connectors.worker import APPLICATION, Worker
from engine.settings import EngineSettings
from schemas import topics
from schemas.times import from_datetime

LOADED_AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
"""Before the first event of any golden replay."""

DEADLINE_SECONDS = 30.0

REGIONS, EVENING = "forbidden_regions", "prepaid_evening"


@cache
def folder_of(name: str) -> ReferenceFolder:
    """The reference data of a golden replay."""
    return read_reference_folder(FOLDER / name / "reference", emergency_numbers=EngineSettings().emergency_numbers)


def events_of(name: str) -> list[bytes]:
    """The events of a golden replay, spoiled ones too."""
    return (FOLDER / name / "events.jsonl").read_bytes().splitlines()


class Recorded(Said):
    """See above. `said` and `told` are what the engine published."""

    def __init__(self, db: Database, folder: ReferenceFolder) -> None:
        self.db = db
        self.folder = folder
        self.now = LOADED_AT
        """The business moment by which the office works."""
        self.broker = MemoryBroker(
            {topic.name: PARTITIONS if topic.partitioned_like_input else 1 for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
        )
        self.reader = ReferenceReader(self.broker, aside=inline)
        self.worker: Worker | None = None
        self._placer = Placer(PARTITIONS)
        self._known: Known | None = None
        self._following: asyncio.Task[None] | None = None

    async def load(self, folder: ReferenceFolder, *, at: datetime | None = None) -> None:
        """Makes the record say what a folder says, and lets the relay tell the engine."""
        self.folder, self.now = folder, at or self.now
        await load_folder(self.db.pool, folder, author="loader", at=self.now)
        await self.publish()

    async def change(self, *, at: datetime | None = None, **fields: Any) -> None:
        """The folder that was loaded last, with other fields."""
        await self.load(replace(self.folder, **fields), at=at)

    async def publish(self, *, republish: bool = False) -> None:
        """Lets the relay publish all that waits and is due, and the engine take in its reference records. `republish`:
        all that the record says to a topic that is empty, too."""
        now_us = from_datetime(self.now)

        async def now() -> int:
            return now_us

        relay = Relay(self.db.pool, self.broker, now_us=now, republish=republish)
        running = asyncio.create_task(relay.run())
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not running.done() and await self._waits():
                await asyncio.sleep(0.005)
        relay.stop()
        await running
        async with self.db.pool.acquire() as connection:
            latest = await outbox.latest_version(connection)
        if self._following is None:
            await self.reader.start()
            self._following = asyncio.create_task(self.reader.run())
        await self.reader.reached(latest, DEADLINE_SECONDS)

    async def _waits(self) -> bool:
        async with self.db.pool.acquire() as connection:
            return bool(await outbox.waiting(connection, now=self.now))

    async def take(self, *events: Json | bytes, project: bool = True, at: datetime | None = None) -> None:
        """Takes events in as switches would send them, lets the engine work them off, and projects what it says. `at`:
        when they came; at the moments that they name themselves if left out."""
        self.produce(*events, at=at)
        await self.work()
        if project:
            await self.project()

    def produce(self, *events: Json | bytes, at: datetime | None = None) -> None:
        """Events as switches would send them; nobody works them off yet."""
        lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        for number, line in enumerate(lines):
            placed = self._placer.place(number, line)
            assert placed is not None
            came_us = placed.timestamp_us if at is None else from_datetime(at)
            self.broker.produce(placed.topic, placed.partition, [Message(placed.key, placed.value, came_us)])

    async def work(self) -> None:
        """Lets the engine work off what waits for it."""
        if self.worker is None:
            self.worker = Worker(self.broker, EngineSettings(), self.reader)
            await self.worker.start()
            while not self.worker.ready:
                await self.worker.step()
        while await self.worker.step() or any(self.worker.lag().values()):
            pass

    async def project(self) -> None:
        """Brings what is on the topics into the record."""
        projector = await started(self, self.db.pool)
        await caught_up(self, projector)
        await projector.close()

    async def known(self) -> bool:
        """Looks once more until when all is known; whether that was found out."""

        async def now_us() -> int:
            return from_datetime(self.now)

        if self._known is None:
            self._known = Known(self.broker, self.db.pool, engine_group=APPLICATION, now_us=now_us)
        return await self._known.look()

    def said(self, topic: str) -> list[Record]:
        return [record for partition in range(PARTITIONS) for record in self.broker.committed(topic, partition)]

    async def close(self) -> None:
        if self.worker is not None:
            await self.worker.close()
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following


@asynccontextmanager
async def recorded(
    db: Database, name: str = REGIONS, *, events: Iterable[Json | bytes] = ()
) -> AsyncIterator[Recorded]:
    """A golden operator in the record, with some events taken in. `db` has the owner's rights."""
    made = Recorded(db, folder_of(name))
    try:
        await made.load(made.folder)
        await made.take(*events)
        yield made
    finally:
        await made.close()
