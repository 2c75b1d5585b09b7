"""Locks in PostgreSQL: what `backoffice/locks.py` asks of the record, and the questions of support about them (§2.2).

Locks are written by functions of the database alone, which look up themselves who acts. What they refuse, and what a
login without their rights is refused, becomes NotAllowed here.
"""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import asyncpg
from msgspec.structs import replace

from backoffice import locks as rules
from backoffice.lock_check import MOST_LONGER, check_lock, worded
from backoffice.locks import (
    SYSTEM,
    ClientEffect,
    Colleague,
    CoveringLock,
    Effects,
    HistoryEntry,
    Kind,
    LockAnswer,
    LockFilter,
    OfficeLock,
    whom_to_ask,
)
from backoffice.refusals import InTheWay, NotAllowed, NotThere
from connectors.postgres.change import Change, change
from connectors.postgres.current import tables_of_number
from connectors.postgres.database import Connection, Pool
from connectors.postgres.moments import from_text, to_moment, to_optional_text
from connectors.postgres.queries import sql
from engine.locks import LockTable
from engine.settings import EngineSettings
from schemas.decisions import LockFound
from schemas.reference import Lock
from schemas.times import from_datetime


class Queries(Protocol):
    """A pool, a connection or a change under way."""

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]: ...
    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None: ...
    async def fetchval(self, query: str, *arguments: Any) -> Any: ...


class Place(NamedTuple):
    """Where a page of the list ended: its last lock."""

    created_at: datetime
    lock_id: str


class LockPage(NamedTuple):
    """Some locks, the newest first; `next` is where more of them begin, `total` how many there are in all."""

    locks: tuple[OfficeLock, ...]
    next: Place | None
    total: int


def new_lock_id() -> str:
    """An id for a lock that has none of its own."""
    return f"L-{secrets.token_hex(5)}"


class LooksRecord:
    """What there is, for whoever changes nothing."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def lock(self, lock_id: str) -> OfficeLock | None:
        """A lock, in force or lifted."""
        row = await self._queries.fetchrow(sql("locks/lock"), lock_id)
        return None if row is None else lock_of(row)

    async def beside(self, digits: str) -> Sequence[OfficeLock]:
        """Locks in force whose digits are these or begin them, the oldest first."""
        return locks_of(await self._queries.fetch(sql("locks/beside"), prefixes(digits)))

    async def has_account(self, account_id: str) -> bool:
        """Whether there is such an account."""
        found: bool = await self._queries.fetchval(sql("locks/has_account"), account_id)
        return found

    async def has_provider(self, provider_id: str) -> bool:
        """Whether there is such a provider, not removed."""
        found: bool = await self._queries.fetchval(sql("locks/has_provider"), provider_id)
        return found


class LocksRecord(LooksRecord):
    """The port of the use cases, in the transaction of `tx`; it acts in the name and role of who makes the change."""

    def __init__(self, tx: Change) -> None:
        super().__init__(tx)
        self._tx = tx

    async def set(self, lock: OfficeLock) -> OfficeLock:
        """A new lock. Raises NotAllowed, InTheWay."""
        return await self._written(
            "locks/set",
            lock.lock_id,
            lock.kind,
            lock.digits,
            lock.account_id,
            lock.provider_id,
            lock.reason,
            from_text(lock.ends_at),
            self._tx.actor,
            self._tx.role,
            self._tx.at,
        )

    async def change(self, lock: OfficeLock) -> OfficeLock:
        """A lock as it is to be. Raises NotAllowed, InTheWay."""
        return await self._written(
            "locks/change",
            lock.lock_id,
            lock.revision,
            lock.kind,
            lock.digits,
            lock.account_id,
            lock.provider_id,
            lock.reason,
            from_text(lock.ends_at),
            self._tx.actor,
            self._tx.role,
            lock.change_reason,
            self._tx.at,
        )

    async def lift(self, lock: OfficeLock, reason: str) -> OfficeLock:
        """A lock that ends now. Raises NotAllowed, InTheWay."""
        return await self._written(
            "locks/lift", lock.lock_id, lock.revision, self._tx.actor, self._tx.role, reason, self._tx.at
        )

    async def end_due(self, actor: str, reason: str) -> Sequence[OfficeLock]:
        """Lifts those whose time is over."""
        with _refusals():
            return locks_of(await self._tx.fetch(sql("locks/end_due"), actor, reason, self._tx.at))

    async def _written(self, query: str, *arguments: object) -> OfficeLock:
        with _refusals():
            row = await self._tx.fetchrow(sql(query), *arguments)
        assert row is not None, "the function answers with the lock"
        return lock_of(row)


class LettersRecord:
    """Letters to colleagues, in the transaction of `tx`."""

    def __init__(self, tx: Change) -> None:
        self._tx = tx

    async def managers(self) -> Sequence[Colleague]:
        """All that are enabled and have an e-mail address."""
        return [Colleague(*row) for row in await self._tx.fetch(sql("locks/managers"))]

    async def colleague(self, name: str) -> Colleague | None:
        """A user, as others see him or her."""
        return (await colleagues(self._tx, [name])).get(name)

    async def write(self, recipient: str, copies: Sequence[str], subject: str, body: str, about: OfficeLock) -> int:
        """A letter that waits to be sent; its id."""
        letter_id: int = await self._tx.fetchval(
            sql("locks/letter"),
            f"lock/{about.lock_id}/{self._tx.id}",
            about.account_id,
            recipient,
            list(copies),
            subject,
            body,
            self._tx.at,
        )
        return letter_id


@contextmanager
def _refusals() -> Iterator[None]:
    """What the functions refuse, in the office's words. A lock that was changed meanwhile is a serialization failure:
    the whole change is tried again."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotAllowed(
            f"the record refuses it: {error}", permission="locks.lift_any", ask="the lock's author; else your manager"
        ) from None
    except asyncpg.UniqueViolationError as error:
        raise InTheWay(
            str(error) if error.constraint_name == "lock_is_set_once" else "the lock is there already"
        ) from None
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise InTheWay(f"{error}: set a new one") from None


async def end_due_locks(pool: Pool, at: datetime) -> Sequence[OfficeLock]:
    """Lifts the locks that were set until a moment that has come; those that it has lifted. Nothing is written where
    there are none. `at` is the business clock's moment. To be called every second or so by one of the processes."""
    due = await next_end(pool)
    if due is None or due > at:
        return ()
    async with change(pool, actor=SYSTEM, reason=rules.LIFTED_BY_ITSELF, at=at, interface="clock") as tx:
        return await rules.end_due(LocksRecord(tx), tx)


async def next_end(queries: Queries) -> datetime | None:
    """When the next lock is to be lifted by itself; None where there is none."""
    found: datetime | None = await queries.fetchval(sql("locks/next_end"))
    return found


# -- looking ----------------------------------------------------------------------------------------------------------


async def histories(queries: Queries, lock_ids: Sequence[str]) -> dict[str, tuple[HistoryEntry, ...]]:
    """«История записи» of locks by their ids, each from its beginning."""
    found: dict[str, list[HistoryEntry]] = {}
    for row in await queries.fetch(sql("locks/history"), list(lock_ids)):
        entries = found.setdefault(row["lock_id"], [])
        entries.append(_entry(row, entries[-1] if entries else None))
    return {lock_id: tuple(entries) for lock_id, entries in found.items()}


async def colleagues(queries: Queries, names: Sequence[str]) -> dict[str, Colleague]:
    """Users by their names, as far as they are users."""
    rows = await queries.fetch(sql("locks/colleagues"), sorted(set(names)))
    return {row["name"]: Colleague(*row) for row in rows}


async def provider_names(queries: Queries, provider_ids: Sequence[str | None]) -> dict[str, str]:
    """Names of providers by their ids, removed ones too."""
    wanted = sorted({one for one in provider_ids if one is not None})
    return {row[0]: row[1] for row in await queries.fetch(sql("locks/provider_names"), wanted)}


async def page(queries: Queries, wanted: LockFilter, *, after: Place | None, limit: int) -> LockPage:
    """Some locks of a list, the newest first. Raises NotThere for an account that is not there: that its list is empty
    would say that nothing is locked on it."""
    if wanted.account_id is not None and not await LooksRecord(queries).has_account(wanted.account_id):
        raise NotThere("account", wanted.account_id)
    arguments = _arguments(wanted)
    place = (None, None) if after is None else after
    total: int
    if wanted.as_of is None:
        rows = await queries.fetch(sql("locks/page"), *arguments, *place, limit + 1)
        total = await queries.fetchval(sql("locks/count"), *arguments)
    else:
        found = await queries.fetch(sql("locks/page_as_of"), *arguments, *place, limit + 1, wanted.as_of)
        total = found[0]["total"]
        rows = [row for row in found if row["lock_id"] is not None]
    kept = rows[:limit]
    more = Place(kept[-1]["created_at"], kept[-1]["lock_id"]) if len(rows) > limit else None
    return LockPage(tuple(locks_of(kept)), more, total)


def _arguments(wanted: LockFilter) -> tuple[object, ...]:
    return (
        None if wanted.state == "all" else wanted.state,
        wanted.scope,
        wanted.account_id,
        wanted.provider_id,
        wanted.author,
        wanted.begins_with,
        None if wanted.covering is None else prefixes(wanted.covering),
        wanted.covering,
        wanted.text,
    )


async def check(
    pool: Pool,
    settings: EngineSettings,
    *,
    number: str,
    account_id: str,
    at: datetime,
    as_of: datetime | None = None,
    service: str = "outgoing",
) -> LockAnswer:
    """Which locks cover a number or a direction for an account (`lock_check.NO_ACCOUNT`: for everyone), and which of
    them denies.

    Locks and price lists are those of the record at `at`, now; or at `as_of`, a moment that has passed: then locks are
    as they were then, lifted ones too. Accounts, plans and providers are those of now. Raises lock_check.Unknown.
    """
    async with _snapshot(pool) as connection:
        moment = at if as_of is None else as_of
        tables = (await tables_of_number(connection, number, account_id, at=moment)).reference
        longer, longer_total = await _longer(connection, number, account_id, as_of)
        tables.locks = LockTable([*await _covering(connection, number, account_id, as_of), *longer])
        found = check_lock(
            settings,
            tables,
            number=number,
            account_id=account_id,
            at_us=from_datetime(moment),
            service=service,
            longer_total=longer_total,
        )
        ids = [lock.lock_id for lock in found.locks]
        now = {lock.lock_id: lock for lock in locks_of(await connection.fetch(sql("locks/by_ids"), ids))}
        told = await histories(connection, ids)
        users = await colleagues(connection, [lock.author for lock in (*found.locks, *found.longer)])
        providers = await provider_names(connection, [lock.provider_id for lock in found.locks])

    def ask(lock: LockFound) -> str:
        return whom_to_ask(lock.author, users.get(lock.author))

    found = worded(found, None if found.deciding is None else ask(found.deciding))
    return LockAnswer(
        found.number,
        account_id or None,
        to_moment(moment),
        service,
        tuple(
            [
                CoveringLock(
                    lock.lock_id,
                    lock.digits,
                    lock.kind,
                    lock.scope,
                    lock.provider_id,
                    lock.author,
                    lock.created_at,
                    lock.why,
                    ask(lock),
                    lock == found.deciding,
                    now[lock.lock_id].lifted_at is None,
                    now[lock.lock_id].ends_at,
                    providers.get(lock.provider_id or ""),
                    users.get(lock.author),
                    told[lock.lock_id],
                )
                for lock in found.locks
            ]
        ),
        None if found.deciding is None else replace(found.deciding, ask=ask(found.deciding)),
        found.full_ban,
        found.taken_out,
        found.left,
        found.emergency,
        found.verdict,
        tuple([replace(lock, ask=ask(lock)) for lock in found.longer]),
        found.longer_total,
    )


async def _covering(connection: Connection, number: str, account_id: str, as_of: datetime | None) -> Sequence[Lock]:
    if as_of is None:
        return [
            lock.record()
            for lock in await LooksRecord(connection).beside(number)
            if lock.account_id in (None, account_id) and (lock.kind == "prefix" or lock.digits == number)
        ]
    rows = await connection.fetch(sql("locks/as_of"), prefixes(number), number, account_id, as_of)
    return [_record_of(row) for row in rows]


async def _longer(
    connection: Connection, digits: str, account_id: str, as_of: datetime | None
) -> tuple[Sequence[Lock], int]:
    """Locks on longer digits, as many as are named, and how many there are in all."""
    if as_of is None:
        rows = await connection.fetch(sql("locks/longer"), digits, account_id, MOST_LONGER)
    else:
        rows = await connection.fetch(sql("locks/longer_as_of"), digits, account_id, MOST_LONGER, as_of)
    return [_record_of(row) for row in rows], rows[0]["total"] if rows else 0


def _record_of(row: asyncpg.Record) -> Lock:
    return Lock(
        row["lock_id"],
        row["kind"],
        row["digits"],
        row["account_id"],
        row["provider_id"],
        row["author"],
        row["reason"],
        to_moment(row["created_at"]),
    )


@asynccontextmanager
async def _snapshot(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield connection


class TrafficRecord:
    """Past calls, for rehearsals."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def effects(
        self,
        kind: Kind,
        digits: str,
        account_id: str | None,
        provider_id: str | None,
        services: Sequence[str],
        since: datetime,
        until: datetime,
        limit: int,
    ) -> Effects:
        """What a lock would have done to the calls that were set up in a time."""
        which = (
            digits,
            # Behind all numbers that begin so, and behind the number itself.
            digits + ":",
            kind,
            account_id,
            provider_id,
            since,
            until,
            list(services),
        )
        rows = await self._queries.fetch(sql("locks/rehearse"), *which, limit)
        unasked: int = await self._queries.fetchval(sql("locks/unasked"), *which)
        if not rows:
            return Effects((), ClientEffect(None, None, 0, 0, 0, 0, 0, 0), 0, 0, unasked)
        first = rows[0]
        total = ClientEffect(
            None,
            None,
            first["all_stopped_calls"],
            first["all_stopped_seconds"],
            first["all_lost"],
            first["all_saved"],
            first["all_rerouted_calls"],
            first["all_rerouted_seconds"],
        )
        clients = tuple([ClientEffect(*row[:8]) for row in rows if row["stopped_calls"] or row["rerouted_calls"]])
        return Effects(clients, total, first["affected"], first["all_untouched_calls"], unasked)


# -- rows as the office's words ---------------------------------------------------------------------------------------


def prefixes(digits: str) -> list[str]:
    """The digits and all that they begin with, but for the empty prefix: no lock has that."""
    return [digits[:length] for length in range(1, len(digits) + 1)]


def lock_of(row: asyncpg.Record) -> OfficeLock:
    """A row of `locks/lock` and of the queries like it."""
    return OfficeLock(
        row["lock_id"],
        row["kind"],
        row["digits"],
        row["account_id"],
        row["provider_id"],
        row["author"],
        row["reason"],
        to_moment(row["created_at"]),
        to_optional_text(row["ends_at"]),
        to_optional_text(row["lifted_at"]),
        row["lifted_by"],
        row["lift_reason"],
        row["revision"],
        to_moment(row["changed_at"]),
        row["changed_by"],
        row["change_reason"],
    )


def locks_of(rows: Sequence[asyncpg.Record]) -> Sequence[OfficeLock]:
    """Several of them."""
    return [lock_of(row) for row in rows]


_COMPARED = ("kind", "digits", "account_id", "provider_id", "author", "reason", "ends_at", "lifted_at")


def _entry(row: asyncpg.Record, former: HistoryEntry | None) -> HistoryEntry:
    action: Literal["set", "changed", "lifted"] = row["action"]
    entry = HistoryEntry(
        row["revision"],
        action,
        to_moment(row["at"]),
        row["actor"],
        row["acted_as"],
        row["why"],
        (),
        row["kind"],
        row["digits"],
        row["account_id"],
        row["provider_id"],
        row["author"],
        row["reason"],
        to_moment(row["created_at"]),
        to_optional_text(row["ends_at"]),
        to_optional_text(row["lifted_at"]),
    )
    if former is None:
        return entry
    changed = tuple([name for name in _COMPARED if getattr(entry, name) != getattr(former, name)])
    return replace(entry, changed=changed)
