"""The relay: tells the engine what the office has changed, in the order in which it was changed, each change once.

A change stands in the outbox from the moment that it is saved. Its reference records become one version of the topic
`reference`; its commands go to `account-commands` in one transaction. Only then are its rows marked. Who dies between
leaves rows that were published and not marked: reference records that are there already make no new version, and
commands are looked for on the topic before they are sent again, since the engine remembers ids for a day only.

One relay is active, by a lock of the database and by the broker's fencing; others stand by.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Protocol

import msgspec

from connectors.broker import Broker, BrokerError, Message, Producer, TopicPartition, UnknownTopic
from connectors.postgres import outbox
from connectors.postgres.change import COMMAND
from connectors.postgres.database import DRIVER_TROUBLES, Connection, Pool
from connectors.postgres.outbox import Backlog, Waiting
from connectors.postgres.reference import read_reference
from connectors.reference.keys import ACCOUNT, BAND, DISCOUNTS, LOCK, NUMBER, PRICE_LIST, PROVIDER, TARIFF_PLAN
from connectors.reference.publisher import Publishable, ReferencePublisher, Unpublishable
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.events import AccountCommand
from schemas.partitions import partition_of
from schemas.reference import Account, AccountDiscounts, Band, Lock, Number, Provider, TariffPlan
from schemas.times import from_datetime, to_datetime

log = logging.getLogger("tollgate.relay")

TRANSACTIONAL_ID = "tollgate-relay"

LOOK_SECONDS = 1.0
"""How often the outbox is looked at when nothing says that there is something in it."""

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 5.0

_TYPES: dict[str, Any] = {
    ACCOUNT: Account,
    PROVIDER: Provider,
    TARIFF_PLAN: TariffPlan,
    BAND: Band,
    LOCK: Lock,
    NUMBER: Number,
    DISCOUNTS: AccountDiscounts,
}


class Stuck(Exception):
    """A row of the outbox can't be published, and none behind it may be before it. Names it and the remedy."""


class EmptyTopic(Exception):
    """The topic has forgotten what the record says was published to it. Says what to do."""


class Observer(Protocol):
    """Told what the relay does, as it does it."""

    def published(self, rows: Sequence[Waiting], seconds: float) -> None:
        """Rows were published and marked; the oldest of them waited for so long."""

    def away(self, what: str) -> None:
        """The database or the broker does not answer."""


class Unobserved:
    """An observer of nothing."""

    def published(self, rows: Sequence[Waiting], seconds: float) -> None:
        """Nobody looks."""

    def away(self, what: str) -> None:
        """Nobody looks."""


class Relay:
    """`run` until `stop`. `active`: whether it is the one that publishes; `backlog`: what waited at the last look."""

    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        *,
        now_us: Callable[[], Awaitable[int]],
        settings: EngineSettings | None = None,
        republish: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """`now_us`: the business clock. `republish`: an empty topic gets all that the record says, once."""
        self.active = False
        self.backlog = Backlog(0, None)
        self.away: str | None = None
        """What does not answer at present."""
        self._pool = pool
        self._broker = broker
        self._now_us = now_us
        self._settings = settings or EngineSettings()
        self._republish = republish
        self._observer = observer or Unobserved()
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()

    def stop(self) -> None:
        """Ends `run` after the change in hand."""
        self._stopping.set()
        self._news.set()

    async def run(self) -> None:
        """Publishes until `stop`. Raises Stuck, EmptyTopic, UnknownTopic; waits for whatever is away."""
        wait = _FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                async with self._connected() as connection:
                    if await outbox.take(connection):
                        async with self._opened(connection) as session:
                            wait = _FIRST_WAIT_SECONDS
                            await self._work(session)
                    else:
                        self._answered()
                        await self._sleep(LOOK_SECONDS)
                continue
            except UnknownTopic:
                raise
            except BrokerError as error:
                self._lost("the broker", error)
            except DRIVER_TROUBLES as error:
                self._lost("the database", error)
            finally:
                self.active = False
            await self._sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _work(self, session: "_Session") -> None:
        self.active = True
        self._answered()
        while not self._stopping.is_set():
            self._news.clear()
            rows = await session.publish_next()
            self.backlog = await outbox.backlog(session.connection)
            if rows:
                oldest = from_datetime(min(row.at for row in rows))
                self._observer.published(rows, max(await self._now_us() - oldest, 0) / 1e6)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        def heard(*_: object) -> None:
            self._news.set()

        connection = await self._pool.acquire()
        try:
            await connection.add_listener(outbox.CHANNEL, heard)
            yield connection
        finally:
            # Its session's lock goes with it, whatever it is in.
            with suppress(*DRIVER_TROUBLES):
                await connection.remove_listener(outbox.CHANNEL, heard)
                await connection.execute("SELECT pg_advisory_unlock_all()")
            with suppress(*DRIVER_TROUBLES):
                await self._pool.release(connection)

    @asynccontextmanager
    async def _opened(self, connection: Connection) -> AsyncIterator["_Session"]:
        async with AsyncExitStack() as closing:
            session = _Session(connection, self._broker, self._settings, self._now_us)
            closing.push_async_callback(session.close)
            await session.open(self._pool, republish=self._republish)
            self._republish = False
            yield session

    def _lost(self, what: str, error: Exception) -> None:
        if self.away != what:
            log.warning("%s does not answer, what is saved waits in the outbox: %s", what, error)
            self._observer.away(what)
        self.away = what

    def _answered(self) -> None:
        if self.away is not None:
            log.info("%s answers again", self.away)
        self.away = None

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


class _Session:
    """An active relay's hold on the database and the broker, for as long as nothing goes wrong."""

    def __init__(
        self,
        connection: Connection,
        broker: Broker,
        settings: EngineSettings,
        now_us: Callable[[], Awaitable[int]],
    ) -> None:
        self.connection = connection
        self._broker = broker
        self._settings = settings
        self._business_now_us = now_us
        self._publisher: ReferencePublisher | None = None
        self._commands: Producer | None = None
        self._partitions = 0
        self._sent_already: set[str] = set()
        """Commands that wait in the outbox, though a former relay has sent them."""
        self._at_us = 0
        """The business moment of the change in hand."""

    async def open(self, pool: Pool, *, republish: bool) -> None:
        """Fences a former relay, and finds out what it has done. Raises EmptyTopic."""
        self._partitions = await self._broker.partition_count(topics.ACCOUNT_COMMANDS.name)
        self._commands = await self._broker.producer(TRANSACTIONAL_ID)
        self._sent_already = await self._find_sent(await outbox.commands_waiting(self.connection))
        self._publisher = await ReferencePublisher.open(
            self._broker, author="relay", settings=self._settings, now_us=lambda: self._at_us
        )
        latest = await outbox.latest_version(self.connection)
        if self._publisher.version >= latest:
            return
        if self._publisher.version > 0 or not republish:
            raise EmptyTopic(
                f"the topic reference is at version {self._publisher.version}, the record at {latest}: they do not "
                "belong together. If Kafka is new and empty, `tollgate relay --republish` brings it all that the "
                "record says"
            )
        self._at_us = await self._business_now_us()
        folder = await read_reference(pool, at=to_datetime(self._at_us))
        # Versions go on where they were: an output names the same version for ever.
        self._publisher.version = latest
        report = await self._publisher.publish_folder(folder)
        log.info("version %d: all that the record says was published to the empty topic", report.version)

    async def close(self) -> None:
        """Lets go of the producers."""
        for held in (self._publisher, self._commands):
            if held is not None:
                with suppress(BrokerError):
                    await held.close()

    async def _find_sent(self, waiting: set[str]) -> set[str]:
        """Those of the commands that are on the topic. The former relay is fenced: nothing of it can come any more."""
        found: set[str] = set()
        if not waiting:
            return found
        decode = msgspec.json.Decoder(_CommandId).decode
        for partition in range(self._partitions):
            async for batch in self._broker.read_to_end(TopicPartition(topics.ACCOUNT_COMMANDS.name, partition)):
                for record in batch:
                    with suppress(msgspec.DecodeError, UnicodeDecodeError):
                        if (name := decode(record.value or b"").command_id) in waiting:
                            found.add(name)
        return found

    async def publish_next(self) -> Sequence[Waiting]:
        """Publishes and marks what comes next; those rows, none if nothing waits. Raises Stuck."""
        now = to_datetime(await self._business_now_us())
        rows = await outbox.waiting(self.connection, now=now)
        if not rows:
            return ()
        change = [row for row in rows if row.change_id == rows[0].change_id]
        if all(row.kind == COMMAND for row in change):
            # Commands of many changes go together, as far as no reference record comes between.
            following = next((place for place, row in enumerate(rows) if row.kind != COMMAND), len(rows))
            change = rows[:following]
        commands = [row for row in change if row.kind == COMMAND]
        records = [row for row in change if row.kind != COMMAND]
        if records:
            await self._publish_records(records, now)
        if commands:
            await self._send(commands)
        return change

    async def _publish_records(self, rows: Sequence[Waiting], now: datetime) -> None:
        assert self._publisher is not None
        records: list[Publishable] = []
        gone: list[tuple[str, str]] = []
        lists = []
        overtaken: list[int] = []
        for row in rows:
            if row.payload is None:
                gone.append((row.kind, row.key))
            elif row.kind == PRICE_LIST:
                found = await outbox.price_list(self.connection, row.key, row.payload["version_id"], now=now)
                if found is None:
                    # It was rolled back, or another one has come into force: that one has a row of its own.
                    overtaken.append(row.seq)
                else:
                    lists.append(found)
            else:
                records.append(self._record(row))
        self._at_us = max(from_datetime(max(row.at for row in rows)), self._at_us)
        if lists:
            self._at_us = max(self._at_us, from_datetime(now))
        try:
            report = await self._publisher.publish_change(records, gone=gone, lists=lists)
        except Unpublishable as error:
            raise Stuck(f"outbox row {rows[0].seq} (change {rows[0].change_id}): {error}") from None
        await outbox.mark(self.connection, [row.seq for row in rows if row.seq not in overtaken], report.version)
        if overtaken:
            await outbox.mark(self.connection, overtaken, None)

    def _record(self, row: Waiting) -> Publishable:
        try:
            found: Publishable = msgspec.convert(row.payload, _TYPES[row.kind])
        except KeyError:
            raise Stuck(f"outbox row {row.seq}: a newer program wrote kind {row.kind!r}; update this one") from None
        except msgspec.ValidationError as error:
            raise Stuck(f"outbox row {row.seq} ({row.kind} {row.key}): {error}; a newer program wrote it") from None
        return found

    async def _send(self, rows: Sequence[Waiting]) -> None:
        assert self._commands is not None
        by_partition: dict[int, list[Message]] = {}
        for row in rows:
            try:
                command: AccountCommand = msgspec.convert(row.payload, AccountCommand)
            except msgspec.ValidationError as error:
                raise Stuck(f"outbox row {row.seq} (command for {row.key}): {error}") from None
            if command.command_id in self._sent_already:
                continue
            key = row.key.encode()
            message = Message(key, encode(command), from_datetime(row.at))
            by_partition.setdefault(partition_of(key, self._partitions), []).append(message)
        if by_partition:
            producer = self._commands
            await producer.begin()
            sends = [
                producer.send(topics.ACCOUNT_COMMANDS.name, partition, messages)
                for partition, messages in by_partition.items()
            ]
            for send in sends:
                await send
            await producer.commit()
        await outbox.mark(self.connection, [row.seq for row in rows], None)


class _CommandId(msgspec.Struct):
    command_id: str
