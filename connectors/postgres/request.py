"""One request, one transaction: a pool that gives the request's own connection to whoever asks.

What a use case does with `change` becomes part of that transaction, and so does the answer that is kept under the
request's idempotency key: either all of it is there afterwards, or nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import asyncpg

from connectors.postgres.change import Isolation, OutcomeUnknown
from connectors.postgres.database import DRIVER_TROUBLES, Pool, borrowed

_STRICTNESS: dict[str, int] = {"read_committed": 0, "repeatable_read": 1, "serializable": 2}


class LooserTransaction(RuntimeError):
    """A use case asks for a stricter isolation than its request has: a mistake in the program. Names the remedy."""


class _Connection:
    """The request's connection; a transaction in it is a savepoint of the request's."""

    def __init__(self, connection: Any, isolation: Isolation) -> None:
        self._connection = connection
        self._isolation = isolation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def transaction(self, *, isolation: Isolation | None = None, readonly: bool = False) -> Any:
        """A part of the request's transaction that can be undone on its own."""
        if isolation is not None and _STRICTNESS[isolation] > _STRICTNESS[self._isolation]:
            raise LooserTransaction(
                f"this needs a {isolation} transaction, and the request's is {self._isolation}: "
                f'declare isolation="{isolation}" with the route'
            )
        return self._connection.transaction()


class _RequestPool:
    """Stands for a pool. Everything asked of it happens on the one connection, in its transaction."""

    def __init__(self, connection: Any, isolation: Isolation) -> None:
        self._connection = _Connection(connection, isolation)

    def acquire(self, *, timeout: float | None = None) -> Any:
        return self._acquired()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[_Connection]:
        yield self._connection

    def __getattr__(self, name: str) -> Any:
        if name in ("execute", "executemany", "fetch", "fetchrow", "fetchval", "copy_records_to_table"):
            return getattr(self._connection, name)
        raise AttributeError(f"a request's pool has no {name!r}: take a connection")


@asynccontextmanager
async def in_request(pool: Pool, isolation: Isolation = "read_committed") -> AsyncIterator[Pool]:
    """A pool for one request, whose transaction is committed at the end of the block and undone by an error in it.

    Raises OutcomeUnknown where nobody knows whether it was committed.
    """
    async with borrowed(pool) as connection:
        transaction = connection.transaction(isolation=isolation)
        await transaction.start()
        try:
            yield cast(Pool, _RequestPool(connection, isolation))
        except BaseException:
            # Where the connection is lost, so is the transaction.
            with suppress(*DRIVER_TROUBLES):
                await transaction.rollback()
            raise
        try:
            await transaction.commit()
        except (
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            OSError,
        ) as lost:
            raise OutcomeUnknown(f"the connection was lost while the request was committed ({lost})") from lost
