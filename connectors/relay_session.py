"""An active relay's work: which rows of the outbox come next, how they become records of the topics, and what a former
relay has done already. When and for how long, and who is active, is `connectors/relay.py`'s.

Price lists for a later moment are staged ahead, beside everything else, and are published together in that moment. What
the office thinks of meanwhile is seen at the next look: then what is staged is staged anew, or taken back. Large lists
that are due at once are staged the same way first, and locks, numbers and orders of money do not wait for them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from connectors.broker import Broker, BrokerError, Message, Producer, TopicPartition
from connectors.postgres import outbox
from connectors.postgres.change import COMMAND, EVENT
from connectors.postgres.database import Connection, Pool, borrowed
from connectors.postgres.outbox import Waiting
from connectors.postgres.reference import read_reference
from connectors.reference.keys import ACCOUNT, BAND, DISCOUNTS, LOCK, NUMBER, PRICE_LIST, PROVIDER, TARIFF_PLAN
from connectors.reference.publisher import STAGED_PRICES, Publishable, ReferencePublisher, Unpublishable
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.events import AccountCommand
from schemas.partitions import partition_of
from schemas.reference import (
    Account,
    AccountDiscounts,
    Band,
    Lock,
    Number,
    PriceListEdition,
    Provider,
    TariffPlan,
)
from schemas.times import from_datetime, to_datetime

log = logging.getLogger("tollgate.relay")

TRANSACTIONAL_ID = "tollgate-relay"

AHEAD = timedelta(minutes=10)
"""How long before its moment a price list is staged: to read, send and build a million prices takes a minute."""

_TYPES: dict[str, Any] = {
    ACCOUNT: Account,
    PROVIDER: Provider,
    TARIFF_PLAN: TariffPlan,
    BAND: Band,
    LOCK: Lock,
    NUMBER: Number,
    DISCOUNTS: AccountDiscounts,
}


_MESSAGES = (COMMAND, EVENT)
"""Kinds of rows that are no reference records."""

_EVENT_TOPICS = (topics.CALL_ATTEMPTS.name, topics.CDRS.name)


_NEEDED_BY_NO_LIST = frozenset({PRICE_LIST, LOCK, NUMBER, *_MESSAGES})


class Stuck(Exception):
    """A row of the outbox can't be published, and none behind it may be before it. Names it and the remedy."""


class EmptyTopic(Exception):
    """The topic has forgotten what the record says was published to it. Says what to do."""


class _Staged(NamedTuple):
    """Versions of price lists that come into force together, and when. `due`: as soon as they are staged."""

    at: datetime
    versions: frozenset[tuple[str, int]]
    due: bool = False


class RelaySession:
    """An active relay's hold on the database and the broker, for as long as nothing goes wrong."""

    def __init__(
        self,
        connection: Connection,
        pool: Pool,
        broker: Broker,
        settings: EngineSettings,
        now_us: Callable[[], Awaitable[int]],
        wake: Callable[[], None],
    ) -> None:
        """`now_us`: the business clock. `wake` is called when what `publish_next` had to leave may come."""
        self.connection = connection
        self._pool = pool
        self._broker = broker
        self._settings = settings
        self._business_now_us = now_us
        self._wake = wake
        self._publisher: ReferencePublisher | None = None
        self._commands: Producer | None = None
        self._partitions = 0
        self._sent_already: set[str] = set()
        """Commands that wait in the outbox, though a former relay has sent them."""
        self._handled_already: set[int] = set()
        """Rows with events that wait there, though the engine has handled them: a former relay has sent them."""
        self._at_us = 0
        """The business moment of the change in hand."""
        self._coming: _Staged | None = None
        """What is staged, or being staged."""
        self._staging: asyncio.Task[Mapping[tuple[str, int], PriceListEdition]] | None = None
        """Stages it; its result are the editions. One that was rolled back by then has none."""

    @property
    def version(self) -> int:
        """The version of the reference data on the topic; 0 before `open`."""
        return 0 if self._publisher is None else self._publisher.version

    @property
    def next_moment(self) -> datetime | None:
        """When the price lists that have been staged are to come into force, as of the last `look_ahead`."""
        ready = self._coming is not None and self._staging is not None and self._staging.done()
        return self._coming.at if self._coming is not None and ready else None

    async def open(self, *, republish: bool) -> None:
        """Fences a former relay, and finds out what it has done. Raises EmptyTopic."""
        async with outbox.kept(self.connection):
            self._partitions = await self._broker.partition_count(topics.ACCOUNT_COMMANDS.name)
            self._commands = await self._broker.producer(TRANSACTIONAL_ID)
        waiting = await outbox.commands_waiting(self.connection)
        async with outbox.kept(self.connection):
            self._sent_already = await self._find_sent(waiting)
        # Those topics are too long to be looked through. What was sent a moment ago the engine remembers by its id;
        # what was sent longer ago than it remembers stands in the record.
        self._handled_already = await outbox.events_handled(self.connection)
        async with outbox.kept(self.connection):
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
        async with outbox.kept(self.connection):
            folder = await read_reference(self._pool, at=to_datetime(self._at_us))
            # Versions go on where they were: an output names the same version for ever.
            self._publisher.version = latest
            report = await self._publisher.publish_folder(folder)
        log.info("version %d: all that the record says was published to the empty topic", report.version)

    async def close(self) -> None:
        """Lets go of the producers. What is being staged is given up."""
        if self._staging is not None:
            self._staging.cancel()
            # What went wrong with it is of no interest any more.
            await asyncio.gather(self._staging, return_exceptions=True)
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

    async def look_ahead(self, *, idle: bool) -> None:
        """Begins to stage the price lists that come into force next, if they are others than those that are staged;
        takes back what does not come any more. `idle`: nothing waits to be published, so nothing that is staged is due.
        Raises what went wrong with it since the last look."""
        assert self._publisher is not None
        if self._staging is not None:
            if not self._staging.done():
                return
            self._staging.result()
        if self._coming is not None and self._coming.due:
            return
        now = to_datetime(await self._business_now_us())
        found = await outbox.coming(self.connection, now=now, until=now + AHEAD)
        coming = None
        if found:
            coming = _Staged(found[0].at, frozenset((one.price_list_id, one.version_id) for one in found))
        elif not idle:
            # A former relay may have staged what is due now.
            return
        if coming == self._coming and (coming is None) == (not self._publisher.staged):
            return
        if coming is None:
            self._coming = self._staging = None
            async with outbox.kept(self.connection):
                await self._publisher.unstage()
        else:
            self._begin_to_stage(coming)

    def _begin_to_stage(self, coming: _Staged, beside: Sequence[Waiting] = ()) -> None:
        """`beside`: what else comes with them."""
        former = self._staging
        self._coming = coming
        self._staging = asyncio.create_task(self._stage(coming, beside, former), name="stage price lists")
        self._staging.add_done_callback(lambda _: self._wake())

    async def _stage(
        self, coming: _Staged, beside: Sequence[Waiting], former: "asyncio.Task[Any] | None"
    ) -> Mapping[tuple[str, int], PriceListEdition]:
        assert self._publisher is not None
        if former is not None:
            await former
        lists, versions = [], []
        async with borrowed(self._pool) as connection:
            for price_list_id, version_id in sorted(coming.versions):
                found = await outbox.price_list(connection, price_list_id, version_id, now=coming.at)
                if found is not None:
                    lists.append(found)
                    versions.append((price_list_id, version_id))
        ahead = await self._publisher.stage_ahead(
            lists,
            bands=[
                msgspec.convert(row.payload, Band) for row in beside if row.kind == BAND and row.payload is not None
            ],
            removed=[row.key for row in beside if row.kind == PRICE_LIST and row.payload is None],
        )
        names = ", ".join(price_list_id for price_list_id, _ in versions)
        if coming.due:
            log.info("price lists %s are staged; they come into force in %.0f s", names, ahead.lead_seconds)
            await asyncio.sleep(ahead.lead_seconds)
        else:
            log.info("price lists %s are staged; they come into force at %s", names, coming.at.isoformat())
        return dict(zip(versions, ahead.editions, strict=True))

    async def publish_next(self) -> Sequence[Waiting]:
        """Publishes and marks what comes next; those rows, none if nothing waits or all has to wait for price lists
        that are being staged. Raises Stuck."""
        now = to_datetime(await self._business_now_us())
        rows = await outbox.waiting(self.connection, now=now)
        if not rows:
            return ()
        change = [row for row in rows if row.change_id == rows[0].change_id]
        if (moment := rows[0].scheduled) is not None and all(row.scheduled == moment for row in change):
            change = _of_one_moment(rows, moment)
        if all(row.kind in _MESSAGES for row in change):
            # Commands of many changes go together, as far as no reference record comes between.
            following = next((place for place, row in enumerate(rows) if row.kind not in _MESSAGES), len(rows))
            change = rows[:following]
        if not await self._is_prepared(change, now):
            change = await outbox.passing(self.connection, [row.change_id for row in change])
        messages = [row for row in change if row.kind in _MESSAGES]
        records = [row for row in change if row.kind not in _MESSAGES]
        if records:
            await self._publish_records(records, now)
            if any(map(self._is_staged, records)):
                self._coming = self._staging = None
        if messages:
            await self._send(messages)
        return change

    async def _is_prepared(self, change: Sequence[Waiting], now: datetime) -> bool:
        """Whether a change can be published without much ado; else its price lists are being staged from here on."""
        assert self._publisher is not None
        wanted = frozenset(
            (row.key, int(row.payload["version_id"])) for row in change if row.kind == PRICE_LIST and row.payload
        )
        if not wanted or self._publisher.version == 0:
            # Before the first version nobody works yet, so there is nobody who could wait.
            return True
        if self._coming is None or self._staging is None or not wanted <= self._coming.versions:
            if await outbox.price_count(self.connection, [version_id for _, version_id in wanted]) <= STAGED_PRICES:
                return True
            self._begin_to_stage(_Staged(now, wanted, due=True), change)
            return False
        if self._staging.done():
            self._staging.result()
        return self._staging.done()

    def _is_staged(self, row: Waiting) -> bool:
        return (
            self._coming is not None
            and row.kind == PRICE_LIST
            and row.payload is not None
            and (row.key, row.payload["version_id"]) in self._coming.versions
        )

    async def _staged_edition(self, row: Waiting, now: datetime) -> PriceListEdition | None:
        """A list's edition, if it has been staged and is in force. One that had been overtaken by another one, which
        was rolled back since, has none."""
        if not self._is_staged(row) or self._staging is None:
            return None
        version_id = row.payload["version_id"]
        there = await outbox.in_force(self.connection, row.key, version_id, at=now)
        if there is None:
            return None
        edition = self._staging.result().get((row.key, version_id))
        assert edition is None or edition.price_list == there, "a published version never changes"
        return edition

    async def _publish_records(self, rows: Sequence[Waiting], now: datetime) -> None:
        assert self._publisher is not None
        records: list[Publishable] = []
        gone: list[tuple[str, str]] = []
        lists = []
        editions: list[PriceListEdition] = []
        overtaken: list[int] = []
        for row in rows:
            if row.payload is None:
                gone.append((row.kind, row.key))
            elif (edition := await self._staged_edition(row, now)) is not None:
                editions.append(edition)
            elif row.kind == PRICE_LIST:
                version_id = row.payload["version_id"]
                found = await outbox.price_list(self.connection, row.key, version_id, now=now)
                if found is None and not self._publisher.has(PRICE_LIST, row.key):
                    # A plan of the same change may name the list, so it comes as it was.
                    found = await outbox.version(self.connection, version_id)
                if found is None:
                    # It was rolled back, or another one has come into force: that one has a row of its own.
                    overtaken.append(row.seq)
                else:
                    lists.append(found)
            else:
                records.append(self._record(row))
        self._at_us = max(from_datetime(max(row.at for row in rows)), self._at_us)
        if lists or editions:
            self._at_us = max(self._at_us, from_datetime(now))
        try:
            async with outbox.kept(self.connection):
                report = await self._publisher.publish_change(records, gone=gone, lists=lists, editions=editions)
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
        """Sends commands and events in one transaction, and marks them."""
        assert self._commands is not None
        found: dict[tuple[str, int], list[Message]] = {}
        for row in rows:
            placed = self._command(row) if row.kind == COMMAND else self._event(row)
            if placed is not None:
                topic, partition, message = placed
                found.setdefault((topic, partition), []).append(message)
        if found:
            producer = self._commands
            async with outbox.kept(self.connection):
                await producer.begin()
                sends = [producer.send(topic, partition, messages) for (topic, partition), messages in found.items()]
                for send in sends:
                    await send
                await producer.commit()
        await outbox.mark(self.connection, [row.seq for row in rows], None)

    def _command(self, row: Waiting) -> tuple[str, int, Message] | None:
        try:
            command: AccountCommand = msgspec.convert(row.payload, AccountCommand)
        except msgspec.ValidationError as error:
            raise Stuck(f"outbox row {row.seq} (command for {row.key}): {error}") from None
        if command.command_id in self._sent_already:
            return None
        key = row.key.encode()
        message = Message(key, encode(command), from_datetime(row.at))
        return topics.ACCOUNT_COMMANDS.name, partition_of(key, self._partitions), message

    def _event(self, row: Waiting) -> tuple[str, int, Message] | None:
        """A rejected event that is submitted again: its bytes go to the topic that they came from."""
        try:
            event = msgspec.convert(row.payload, _Event)
        except msgspec.ValidationError as error:
            raise Stuck(f"outbox row {row.seq} (event {row.key}): {error}; a newer program wrote it") from None
        if event.topic not in _EVENT_TOPICS:
            raise Stuck(f"outbox row {row.seq} (event {row.key}): this program submits nothing again to {event.topic}")
        if row.seq in self._handled_already:
            return None
        key = None if event.key is None else event.key.encode()
        partition = event.partition % self._partitions if key is None else partition_of(key, self._partitions)
        return event.topic, partition, Message(key, event.value, from_datetime(row.at))


def _of_one_moment(rows: Sequence[Waiting], moment: datetime) -> list[Waiting]:
    """Price lists that come into force together: workers have made their tables together. None behind a row that it may
    need, such as its provider's."""
    found = []
    for row in rows:
        if row.kind not in _NEEDED_BY_NO_LIST:
            break
        if row.scheduled == moment:
            found.append(row)
    return found


class _CommandId(msgspec.Struct):
    command_id: str


class _Event(msgspec.Struct):
    topic: str
    value: bytes
    key: str | None
    partition: int = 0
    """Of an event without a key."""
