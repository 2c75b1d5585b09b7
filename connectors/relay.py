"""The relay: tells the engine what the office has changed, in the order in which it was changed, each change once.

A change stands in the outbox from the moment that it is saved. Its reference records become one version of the topic
`reference`; its commands go to `account-commands` in one transaction. Only then are its rows marked. Who dies between
leaves rows that were published and not marked: reference records that are there already make no new version, and
commands are looked for on the topic before they are sent again, since the engine remembers ids for a day only.

One relay is active, by a lock of the database and by the broker's fencing; others stand by. The active one also lifts
the locks whose time is over: it is what tells the engine of it, within the same second.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from connectors.broker import Broker, BrokerError, UnknownTopic
from connectors.postgres import outbox
from connectors.postgres.change import OutcomeUnknown
from connectors.postgres.database import DRIVER_TROUBLES, Connection, Pool
from connectors.postgres.locks import end_due_locks
from connectors.postgres.outbox import Backlog, Waiting
from connectors.relay_session import RelaySession
from engine.settings import EngineSettings
from schemas.times import from_datetime, to_datetime

log = logging.getLogger("tollgate.relay")

LOOK_SECONDS = 1.0
"""How often the outbox is looked at when nothing says that there is something in it, and ends of locks in any case."""

THE_BROKER, THE_DATABASE = "the broker", "the database"

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 5.0

_SHORTEST_WAIT_SECONDS = 0.01
"""A business clock that stands just before a moment never comes to it."""


class Observer(Protocol):
    """Told what the relay does, as it does it."""

    def published(self, rows: Sequence[Waiting], seconds: float) -> None:
        """Rows were published and marked; the oldest of them waited for so long."""

    def locks_ended(self, count: int) -> None:
        """Locks were lifted because their time was over."""

    def away(self, what: str) -> None:
        """The database or the broker does not answer."""


class Unobserved:
    """An observer of nothing."""

    def published(self, rows: Sequence[Waiting], seconds: float) -> None:
        """Nobody looks."""

    def locks_ended(self, count: int) -> None:
        """Nobody looks."""

    def away(self, what: str) -> None:
        """Nobody looks."""


class Relay:
    """`run` until `stop`. What it says of itself is as of its last look."""

    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        *,
        now_us: Callable[[], Awaitable[int]],
        settings: EngineSettings | None = None,
        republish: bool = False,
        observer: Observer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now_us`: the business clock. `republish`: an empty topic gets all that the record says, once.
        `monotonic`: what rounds are timed by."""
        self.active = False
        """Whether it is the one that publishes."""
        self.standing_by = False
        """Whether another one is."""
        self.backlog = Backlog(0, None, 0)
        """What waits."""
        self.away: str | None = None
        """What does not answer at present."""
        self.version = 0
        """The version of the reference data on the topic; 0 as long as it has not been active."""
        self.last_step = monotonic()
        """When the last round ended, by `monotonic`."""
        self._pool = pool
        self._broker = broker
        self._now_us = now_us
        self._settings = settings or EngineSettings()
        self._republish = republish
        self._observer = observer or Unobserved()
        self._monotonic = monotonic
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._looked_at = 0.0
        """When the backlog was looked at, by `monotonic`; and how old its oldest row was then."""
        self._oldest_seconds = 0.0

    def stop(self) -> None:
        """Ends `run` after the change in hand."""
        self._stopping.set()
        self._news.set()

    def oldest_seconds(self) -> float:
        """For how long the oldest row has been waiting that could be published; 0: none waits."""
        if self.backlog.oldest is None:
            return 0.0
        return self._oldest_seconds + self._monotonic() - self._looked_at

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
                        self.standing_by = True
                        await self._look(connection)
                        self._finished_a_round()
                        await self._sleep(LOOK_SECONDS)
                continue
            except UnknownTopic:
                raise
            except BrokerError as error:
                self._lost(THE_BROKER, error)
            except (*DRIVER_TROUBLES, OutcomeUnknown) as error:
                self._lost(THE_DATABASE, error)
            finally:
                self.active = self.standing_by = False
            self._finished_a_round()
            await self._sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _work(self, session: RelaySession) -> None:
        """Rounds of the active relay: 1. Locks whose time is over, once a second. 2. What comes next of the outbox.
        3. What will be due later, once a second. 4. If nothing has come, wait for news."""
        self.active = True
        self._answered()
        looked_at = -LOOK_SECONDS
        while not self._stopping.is_set():
            self._news.clear()
            # 1
            if looks := self._monotonic() - looked_at >= LOOK_SECONDS:
                looked_at = self._monotonic()
                await self._end_locks()
                await self._look(session.connection)
            # 2
            rows = await session.publish_next()
            self.version = session.version
            self._finished_a_round()
            # 3
            if looks:
                await session.look_ahead(idle=not rows)
            if rows:
                oldest = from_datetime(min(row.at for row in rows))
                self._observer.published(rows, max(await self._now_us() - oldest, 0) / 1e6)
                continue
            # 4
            with suppress(TimeoutError):
                async with asyncio.timeout(await self._idle_seconds(session, looked_at)):
                    await self._news.wait()

    async def _idle_seconds(self, session: RelaySession, looked_at: float) -> float:
        """How long there is nothing to do: until the next look, or the moment of the price lists that come next."""
        seconds = max(looked_at + LOOK_SECONDS - self._monotonic(), 0)
        if session.next_moment is None:
            return seconds
        left = (from_datetime(session.next_moment) - await self._now_us()) / 1e6
        return min(seconds, max(left, _SHORTEST_WAIT_SECONDS))

    async def _end_locks(self) -> None:
        if ended := await end_due_locks(self._pool, to_datetime(await self._now_us())):
            log.info("%d locks were lifted, their time is over: %s", len(ended), ", ".join(x.lock_id for x in ended))
            self._observer.locks_ended(len(ended))

    async def _look(self, connection: Connection) -> None:
        now_us = await self._now_us()
        self.backlog = await outbox.backlog(connection, now=to_datetime(now_us))
        self._looked_at = self._monotonic()
        oldest = self.backlog.oldest
        self._oldest_seconds = 0.0 if oldest is None else max(now_us - from_datetime(oldest), 0) / 1e6

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
    async def _opened(self, connection: Connection) -> AsyncIterator[RelaySession]:
        async with AsyncExitStack() as closing:
            session = RelaySession(connection, self._pool, self._broker, self._settings, self._now_us, self._news.set)
            closing.push_async_callback(session.close)
            await session.open(republish=self._republish)
            self._republish = False
            self.version = session.version
            yield session

    def _finished_a_round(self) -> None:
        self.last_step = self._monotonic()

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
