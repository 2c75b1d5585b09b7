"""The faults of the record, one coroutine each: what is done to a run that goes on meanwhile, and what must go on.

Each ends when its fault has struck and everybody can go on; it raises Stalled where something stands that must not.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import asyncpg

from connectors.postgres.change import COMMAND
from connectors.postgres.database import DRIVER_TROUBLES
from tests.faults.fleet import Stalled, until

from .crew import ENGINE, PROJECTOR, RELAY, Member
from .installation import PARTITIONS, SESSION_MS, Installation

AWAY_SECONDS = 15.0
_MARKERS_SECONDS = 0.2
_LOOK_SECONDS = 2.5
"""How often it is looked whether something goes on that does not need what is away."""

_GOES_ON_SECONDS = 20.0
"""Within so long it must have: far more than a worker takes that has to take partitions over at the same time."""

_HELD_SECONDS = 60.0
"""How long somebody is waited for who comes to a table that is held."""

_WHO_WAITS = """
SELECT a.pid, a.query FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE NOT l.granted AND a.usename LIKE $1 || '%' AND l.relation IN (
    SELECT $2::text::regclass UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = $2::text::regclass
)
ORDER BY starts_with(a.query, $3) DESC LIMIT 1
"""
"""One who waits for a table or a part of it, and with what statement; rather with the one that is wanted."""

_MARKING, _INSERTING = "UPDATE plumbing.outbox SET published_at", "COPY "
"""With what statements a relay has sent what it marks, and a projector has moved its positions."""

_FIRST_WAITING = "SELECT kind FROM plumbing.outbox WHERE published_at IS NULL ORDER BY seq LIMIT 1"

ORDERS_SENT_UNMARKED = "relay killed when it had sent orders"
"""Of the kills between sending and marking, those of a relay that had not sent reference records."""

_TRIES = 3

HELD_TABLES = ("decisions", "rated_cdrs", "movements")
"""Where a projector can be held in the middle of its transaction, when its positions have moved."""


# -- processes that die ----------------------------------------------------------------------------------------------


async def kill(run: Installation, role: str) -> None:
    """kill -9 of a process of a role."""
    await _struck(run, run.rng.choice(await _there(run, role)), "kill -9")


async def kill_the_relay(run: Installation) -> None:
    """kill -9 of the relay that works; the other one takes over."""
    await _struck(run, await active_relay(run), "kill -9 of the active")


async def kill_all(run: Installation, role: str) -> None:
    """kill -9 of all processes of a role at once."""
    for member in await _there(run, role):
        await _struck(run, member, "kill -9 of all:")


async def kill_the_relay_between_sending_and_marking(run: Installation) -> None:
    """The relay publishes and is killed before it has noted that: nobody can write to the outbox meanwhile."""
    for _ in range(_TRIES):
        if await _killed_before_it_marks(run):
            return
    run.happened["nobody came to the outbox"] += 1


async def _killed_before_it_marks(run: Installation) -> bool:
    # So that it has something to publish when nothing new can come any more. Where it stands still for too long
    # another one has published that.
    member = await active_relay(run)
    member.freeze()
    try:
        before = run.office.acknowledged
        await until(lambda: run.office.acknowledged > before + 2, "the office works while the relay stands still")
        async with _held(run, "plumbing.outbox", RELAY, _MARKING, then=member.go_on) as held:
            if held is None:
                return False
            if await held.owner.fetchval(_FIRST_WAITING) == COMMAND:
                run.happened[ORDERS_SENT_UNMARKED] += 1
            await _struck(run, await active_relay(run), "kill -9 between sending and marking of the")
            await held.end()
            return True
    finally:
        member.go_on()


async def kill_a_projector_in_its_transaction(run: Installation, table: str) -> None:
    """A projector is killed when it has moved its positions and before its rows are there."""
    async with _held(run, f"facts.{table}", PROJECTOR, _INSERTING) as held:
        if held is not None:
            for member in run.crew.of(PROJECTOR):
                await _struck(run, member, f"kill -9 before {table} of a")
            await held.end()


# -- processes that stand still --------------------------------------------------------------------------------------


async def freeze(run: Installation, member: Member, seconds: float) -> None:
    """SIGSTOP for so long, and then it goes on as if nothing had been."""
    run.happened[f"{member.role} frozen"] += 1
    member.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        member.go_on()


async def freeze_beyond_the_session(run: Installation, role: str) -> None:
    """An engine or a projector stands still until others have its partitions; then the zombie goes on."""
    await freeze(run, run.rng.choice(await _there(run, role)), SESSION_MS / 1000 + run.rng.uniform(2.0, 6.0))


async def freeze_the_relay(run: Installation) -> None:
    """The relay stands still until the other one has taken over and published; then the zombie goes on."""
    member = await active_relay(run)
    run.happened["relay frozen"] += 1
    member.freeze()
    try:
        await run.settled(lambda: _another_relay(run, member), "another relay takes over from one that stands still")
        before = run.office.acknowledged
        await until(lambda: run.office.acknowledged > before, "the office works while a relay stands still")
        await run.drained("the other relay publishes")
    finally:
        member.go_on()


async def freeze_a_projector_in_its_transaction(run: Installation, table: str) -> None:
    """A projector stands still in the middle of its transaction until others have its partitions."""
    async with _held(run, f"facts.{table}", PROJECTOR, _INSERTING) as held:
        member = run.rng.choice(await _there(run, PROJECTOR))
        if held is not None:
            run.happened[f"projector frozen before {table}"] += 1
            member.freeze()
        else:
            run.happened[f"nobody came to {table}"] += 1
    if member.frozen:
        try:
            await asyncio.sleep(SESSION_MS / 1000 + run.rng.uniform(2.0, 6.0))
        finally:
            member.go_on()


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


async def crash_postgres(run: Installation) -> None:
    """kill -9 of the server and all of its processes; it starts again after a few seconds."""
    run.happened["PostgreSQL crashed"] += 1
    run.postgres.crash()
    await asyncio.sleep(run.rng.uniform(0.5, 4.0))
    await run.postgres.start()


async def kill_a_session(run: Installation) -> None:
    """kill -9 of one session's server process: all sessions are thrown out, and the server recovers by itself."""
    whose = await run.postgres.kill_backend(run.rng.choice(("office", "relay", "projector")))
    if whose is not None:
        run.happened[f"session of {whose.partition('_')[0]} killed"] += 1
    await run.settled(lambda: _answers(run), "PostgreSQL recovers by itself")


async def postgres_away(run: Installation, seconds: float = AWAY_SECONDS) -> None:
    """PostgreSQL is away for some seconds. Calls are decided meanwhile, all along."""
    run.happened["PostgreSQL away"] += 1
    if run.rng.random() < 0.5:
        await run.postgres.stop()
    else:
        run.postgres.crash()
    try:
        await _goes_on(run.decisions, seconds, "calls are decided while PostgreSQL is away")
    finally:
        await run.postgres.start()


# -- Kafka -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def no_transaction_ending(run: Installation) -> AsyncIterator[None]:
    """Transactions may be open while the broker dies, but none is being ended: a single Kafka node may mix up what it
    aborted then (`tests/faults/faults.py` says more)."""
    run.proxy.close_gate()
    try:
        await until(lambda: not run.proxy.ending, "the commits under way are answered")
        # The markers are written a few milliseconds after the answer, which nobody is told of.
        await asyncio.sleep(_MARKERS_SECONDS)
        yield
    finally:
        run.proxy.open_gate()


async def kill_the_broker(run: Installation) -> None:
    """kill -9 of the broker; it starts again at once on the same data."""
    async with no_transaction_ending(run):
        run.happened["kill -9 of the broker"] += 1
        await asyncio.to_thread(run.kafka.kill)
        await asyncio.to_thread(run.kafka.start)


async def kafka_away(run: Installation, seconds: float = AWAY_SECONDS) -> None:
    """Kafka is away for some seconds. The office goes on all along, and its outbox drains afterwards."""
    async with no_transaction_ending(run):
        run.happened["Kafka away"] += 1
        await asyncio.to_thread(run.kafka.kill)
        try:
            await _goes_on(lambda: run.office.acknowledged, seconds, "payments are taken while Kafka is away")
            if not await run.waiting():
                raise Stalled("nothing waits in the outbox, though Kafka is away")
        finally:
            await asyncio.to_thread(run.kafka.start)
    await run.drained("the outbox drains when Kafka is back")


# -- an auditor in the midst of it -----------------------------------------------------------------------------------


async def audit_meanwhile(run: Installation) -> None:
    """`tollgate audit` finds nothing while everything goes on."""
    run.happened["audit meanwhile"] += 1
    if found := await run.audit():
        raise Stalled(f"while calls went on: {found}")


Fault = Callable[[Installation], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "kill an engine": lambda run: kill(run, ENGINE),
    "kill a projector": lambda run: kill(run, PROJECTOR),
    "kill all projectors": lambda run: kill_all(run, PROJECTOR),
    "kill the relay": kill_the_relay,
    "kill all relays": lambda run: kill_all(run, RELAY),
    "kill the relay before it marks": kill_the_relay_between_sending_and_marking,
    "kill a projector in its transaction": lambda run: kill_a_projector_in_its_transaction(
        run, run.rng.choice(HELD_TABLES)
    ),
    "freeze an engine": lambda run: freeze_beyond_the_session(run, ENGINE),
    "freeze a projector": lambda run: freeze_beyond_the_session(run, PROJECTOR),
    "freeze a projector in its transaction": lambda run: freeze_a_projector_in_its_transaction(
        run, run.rng.choice(HELD_TABLES)
    ),
    "freeze the relay": freeze_the_relay,
    "crash PostgreSQL": crash_postgres,
    "kill a session": kill_a_session,
    "PostgreSQL away": postgres_away,
    "kill the broker": kill_the_broker,
    "Kafka away": kafka_away,
    "audit": audit_meanwhile,
}

SERVERS = frozenset({"crash PostgreSQL", "PostgreSQL away", "kill a session", "kill the broker", "Kafka away"})
QUIET = frozenset({"audit"})
"""Nothing else may happen at the same time."""

TOGETHER = (
    *("kill an engine", "kill a projector", "kill all projectors", "kill all relays"),
    *("freeze an engine", "freeze a projector"),
)
"""What can happen while a server is away."""


# -- small helpers ---------------------------------------------------------------------------------------------------


async def _there(run: Installation, role: str) -> list[Member]:
    await until(lambda: run.crew.of(role), f"there is a {role}")
    return run.crew.of(role)


async def _struck(run: Installation, member: Member, how: str) -> None:
    run.happened[f"{how} {member.role}"] += 1
    generation = member.generation
    member.kill()
    await until(lambda: member.generation > generation, f"{member.name} is started again")


async def active_relay(run: Installation) -> Member:
    """The relay that works."""
    found: list[Member] = []

    async def look() -> bool:
        with suppress(*DRIVER_TROUBLES):
            place = await run.postgres.active_relay()
            found[:] = [one for one in run.crew.of(RELAY) if one.place == place]
        return bool(found)

    await run.settled(look, "a relay works")
    return found[0]


async def _another_relay(run: Installation, frozen: Member) -> bool:
    with suppress(*DRIVER_TROUBLES):
        return await run.postgres.active_relay() not in (None, frozen.place)
    return False


async def _answers(run: Installation) -> bool:
    with suppress(*DRIVER_TROUBLES):
        owner = await run.postgres.owner()
        await owner.close()
        return True
    return False


@asynccontextmanager
async def _locked(run: Installation, table: str) -> AsyncIterator[asyncpg.Connection]:
    """Nobody can write to a table; gives the connection that holds it."""
    owner = await run.postgres.owner()
    try:
        await owner.execute("BEGIN")
        await owner.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield owner
    finally:
        # Its transaction, and the lock, end with it.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await owner.close(timeout=2)


class _Held(NamedTuple):
    """A table that is held by `owner`, and the server's process of the one who waits for it."""

    owner: asyncpg.Connection
    waits: int

    async def end(self) -> None:
        """Ends that process: its client is dead. A statement that the server has got already would be carried out when
        the table is let go, since it looks for its client only afterwards."""
        await self.owner.execute("SELECT pg_terminate_backend($1)", self.waits)


@asynccontextmanager
async def _held(
    run: Installation, table: str, role: str, doing: str, *, then: Callable[[], None] | None = None
) -> AsyncIterator[_Held | None]:
    """Holds a table until a process of a role waits for it with a statement that begins so; None if nobody comes.

    Who waits for it with another statement is let pass: a projector that opens a month's tables has not moved its
    positions yet. `then` is done when the table is held first.
    """
    deadline = time.monotonic() + _HELD_SECONDS
    while time.monotonic() < deadline:
        async with _locked(run, table) as owner:
            if then is not None:
                then()
            found = None
            while found is None and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
                found = await owner.fetchrow(_WHO_WAITS, role, table, doing)
            if found is not None and found["query"].startswith(doing):
                yield _Held(owner, found["pid"])
                return
        await asyncio.sleep(0.05)
    yield None


async def _goes_on(count: Callable[[], int], seconds: float, what: str) -> None:
    """For as long as something is away, a count must grow, again and again. Raises Stalled."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        before, since = count(), time.monotonic()
        await until(lambda before=before: count() > before, what, seconds=_GOES_ON_SECONDS)  # type: ignore[misc]
        await asyncio.sleep(max(0.0, _LOOK_SECONDS - (time.monotonic() - since)))


__all__ = ["FAULTS", "PARTITIONS"]
