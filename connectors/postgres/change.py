"""A change of the office: its rows, its audit rows and its outbox rows in one transaction, or none of them.

    async with change(pool, actor="ivanov", reason="fraud from +381", at=now) as tx:
        await tx.execute(sql("…"), …)
        await tx.audit("lock", "L17", "set", before=None, after=lock)
        await tx.publish("lock", "L17", lock)

Audit and outbox rows are written last, in that order: from then on other changes wait, so that their rows are chained
and numbered in the order of the commits. An error inside leaves nothing behind; so does a lost connection before the
commit. When the connection is lost during the commit nobody knows: `OutcomeUnknown`; look whether the change is there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Literal, TypeVar

import asyncpg

from connectors.postgres.database import DRIVER_TROUBLES, Connection, Pool, borrowed
from connectors.postgres.queries import sql

COMMAND = "command"
"""The kind of outbox rows that are commands to accounts."""

EVENT = "event"
"""The kind of outbox rows that are events of switches which were rejected, and are submitted again: `topic`, `key`
(null where the event has none, then `partition`), `event_id` and `value` (base64).

The other kinds are those of reference records."""

ATTEMPTS = 5
"""How often a change is tried that others keep getting in the way of."""

FROZEN_SECONDS = 10
"""How long the server waits for the next word of a change for which others wait, before it throws it out."""

Isolation = Literal["read_committed", "repeatable_read", "serializable"]
T = TypeVar("T")


class OutcomeUnknown(Exception):
    """The connection was lost during the commit: the change is there whole, or not at all."""


class Unaudited(Exception):
    """A change would be published without a word in the audit: a mistake in the program. Nothing was changed."""


class Change:
    """A change under way. Queries are asyncpg's, on the transaction's connection."""

    def __init__(
        self,
        connection: Connection,
        change_id: int,
        *,
        actor: str,
        reason: str,
        at: datetime,
        role: str | None,
        interface: str | None,
        address: str | None,
    ) -> None:
        self.connection = connection
        self.id = change_id
        self.actor = actor
        self.reason = reason
        self.at = at
        self.role = role
        self.interface = interface
        self.address = address
        self._audit: list[tuple[str, str, str, object, object]] = []
        self._outbox: list[tuple[str, str, object]] = []

    async def execute(self, query: str, *arguments: object) -> str:
        """Runs a statement; its status, such as `UPDATE 1`."""
        status: str = await self.connection.execute(query, *arguments)
        return status

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a query."""
        rows: list[asyncpg.Record] = await self.connection.fetch(query, *arguments)
        return rows

    async def fetchrow(self, query: str, *arguments: object) -> asyncpg.Record | None:
        """The first row of a query."""
        return await self.connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """The first value of the first row of a query."""
        return await self.connection.fetchval(query, *arguments)

    async def audit(self, entity: str, entity_id: str, action: str, before: object, after: object) -> None:
        """Notes what became of an entity: anything that JSON can say, structs too; None where it was not or is not."""
        self._audit.append((entity, entity_id, action, before, after))

    async def publish(self, kind: str, key: str, payload: object) -> None:
        """Notes what the engine is to be told. `kind`: `command`, then `payload` is the command and `key` its account;
        `event`, see EVENT; else that of a reference record, `payload` the record and None that it is gone."""
        self._outbox.append((kind, key, payload))

    async def write(self) -> None:
        """Writes the audit and outbox rows noted so far; `change` does that at its end. Raises Unaudited."""
        if self._outbox and not self._audit:
            raise Unaudited(
                f"{self._outbox[0][0]} {self._outbox[0][1]} is published, but nothing says why in the audit"
            )
        if self._audit:
            # A process that stands still before its commit must not keep the whole office waiting.
            await self.connection.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', $1, true)", f"{FROZEN_SECONDS * 1000}ms"
            )
            await self.connection.execute(
                sql("plumbing/audit"),
                self.id,
                self.at,
                self.actor,
                self.role,
                self.interface,
                self.address,
                self.reason,
                *map(list, zip(*self._audit, strict=True)),
            )
            self._audit.clear()
        if self._outbox:
            await self.connection.execute(
                sql("plumbing/outbox"), self.id, self.at, self.actor, *map(list, zip(*self._outbox, strict=True))
            )
            self._outbox.clear()


@asynccontextmanager
async def change(
    pool: Pool,
    *,
    actor: str,
    reason: str,
    at: datetime,
    role: str | None = None,
    interface: str | None = None,
    address: str | None = None,
    isolation: Isolation = "read_committed",
) -> AsyncIterator[Change]:
    """One change, committed at the end of the block, rolled back by an error in it.

    `at` is the business clock's moment, with its zone; `role` is what the actor acts as, `interface` and `address` say
    where the actor comes from. Raises ValueError for an empty actor or reason or a moment without a zone,
    OutcomeUnknown, and asyncpg's errors as they are.
    """
    if not actor.strip() or not reason.strip():
        raise ValueError("a change needs an actor and a reason")
    if at.tzinfo is None:
        raise ValueError(f"{at} names no time zone")
    async with borrowed(pool) as connection:
        transaction = connection.transaction(isolation=isolation)
        await transaction.start()
        try:
            change_id = await connection.fetchval("SELECT nextval('plumbing.change_ids')")
            found = Change(
                connection,
                change_id,
                actor=actor,
                reason=reason,
                at=at,
                role=role,
                interface=interface,
                address=address,
            )
            yield found
            await found.write()
        except BaseException:
            # Where the connection is lost, so is the transaction.
            with suppress(*DRIVER_TROUBLES):
                await transaction.rollback()
            raise
        await _commit(transaction)


async def _commit(transaction: Any) -> None:
    try:
        await transaction.commit()
    except (
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        OSError,
    ) as error:
        raise OutcomeUnknown(f"the connection was lost while the change was committed ({error})") from error


async def in_change(
    pool: Pool,
    work: Callable[[Change], Awaitable[T]],
    *,
    actor: str,
    reason: str,
    at: datetime,
    role: str | None = None,
    interface: str | None = None,
    address: str | None = None,
    isolation: Isolation = "serializable",
) -> T:
    """`work` in a change, tried again where others got in the way (a serialization failure or a deadlock: then nothing
    of it was done). `work` must have no other effects than the transaction's. Any other error is raised as it is.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with change(
                pool,
                actor=actor,
                reason=reason,
                at=at,
                role=role,
                interface=interface,
                address=address,
                isolation=isolation,
            ) as tx:
                result = await work(tx)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            if attempt == ATTEMPTS:
                raise
        else:
            return result
    raise AssertionError("every attempt returns or raises")
