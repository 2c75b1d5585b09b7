"""The door to the record: `open_database` gives a pool of connections to a database that fits this program, or says
what is wrong with it in one message.

Without a DSN it is the embedded PostgreSQL, which is started, and migrated, by whoever opens it first. A server of the
operator's own is migrated by `tollgate migrate` alone.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

import asyncpg
import msgspec

from connectors.postgres import migrate
from connectors.postgres.server import EmbeddedServer, ServerTrouble
from connectors.settings import DatabaseSettings, masked_dsn

APP = "tollgate_app"
"""The role of whatever people work with: the API and the commands."""

PROJECTOR = "tollgate_projector"
"""Writes what the engine said."""

RELAY = "tollgate_relay"
"""Publishes what the office changed."""

READONLY = "tollgate_readonly"
"""Reads, for reports and auditors."""

ROLES = (APP, PROJECTOR, RELAY, READONLY)

DATABASE = "tollgate"
"""The database of the embedded server."""

OLDEST = 15
"""The first major version of PostgreSQL that knows `NULLS NOT DISTINCT`, which keeps prices apart."""

Connection: TypeAlias = asyncpg.Connection  # or what a pool gives, which stands for one
Pool: TypeAlias = asyncpg.Pool


class DatabaseTrouble(Exception):
    """The database can't be used. Names the trouble and the remedy."""


class Unreachable(DatabaseTrouble):
    """The server does not answer, or not now: it may, later."""


@dataclass(frozen=True)
class Database:
    """An open database. `role` is the one that its connections have taken on; None: the user's own rights."""

    pool: Pool
    settings: DatabaseSettings
    role: str | None


@asynccontextmanager
async def open_database(settings: DatabaseSettings, *, role: str | None = APP) -> AsyncIterator[Database]:
    """A pool to a database that is up to date with this program. `role` is that of the process (one of `ROLES`; None:
    the owner's work, with the rights of the user who logs in), unless the settings name another.

    Raises DatabaseTrouble; Unreachable when it is worth trying again.
    """
    if settings.role is not None and role is not None:
        role = settings.role or None
    async with reachable(settings) as dsn:
        async with connection(settings, dsn) as found:
            if settings.embedded:
                try:
                    await migrate.migrate(found)
                except migrate.MigrationTrouble as error:
                    raise DatabaseTrouble(str(error)) from None
            await _check_migrated(found)
        pool = await _pool(settings, dsn, role)
        try:
            yield Database(pool, settings, role)
        finally:
            await _close(pool)


@asynccontextmanager
async def reachable(settings: DatabaseSettings) -> AsyncIterator[str]:
    """The DSN of the database: the embedded server runs meanwhile. Raises DatabaseTrouble."""
    if not settings.embedded:
        yield settings.dsn
        return
    server = EmbeddedServer(settings.data_dir)
    try:
        await asyncio.to_thread(server.start)
    except ServerTrouble as error:
        raise DatabaseTrouble(str(error)) from None
    try:
        dsn = server.dsn(DATABASE)
        await ensure_database(server.dsn("postgres"), DATABASE)
        yield dsn
    finally:
        server.close()


@asynccontextmanager
async def connection(settings: DatabaseSettings, dsn: str | None = None) -> AsyncIterator[Connection]:
    """A single connection with the rights of the user who logs in, without a limit of time: for the owner's work.

    `dsn`: the one that `reachable` gave. Raises DatabaseTrouble.
    """
    if dsn is None:
        async with reachable(settings) as found, connection(settings, found) as connected:
            yield connected
        return
    connected = await _connect(settings, dsn)
    try:
        await _prepare(connected)
        version = connected.get_server_version().major
        if version < OLDEST:
            raise DatabaseTrouble(
                f"{masked_dsn(dsn)} is PostgreSQL {version}; take {OLDEST} or newer, or leave dsn empty for the "
                "embedded one"
            )
        yield connected
    finally:
        await _close(connected)


async def ensure_database(dsn: str, name: str, template: str | None = None) -> None:
    """Makes a database on the embedded server whose `dsn` is given, where it is not there yet."""
    connected = await asyncpg.connect(dsn)
    try:
        if await connected.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0:
            # Another process may be faster.
            with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                await connected.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    finally:
        await connected.close()


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool. One that is lost is not given back, and nothing is said of it: what was done on it was
    done, or has raised its own error."""
    acquired = pool.acquire()
    connected = await acquired.__aenter__()
    try:
        yield connected
    finally:
        with suppress(*DRIVER_TROUBLES):
            await acquired.__aexit__(None, None, None)


async def copy_rows(
    connected: Connection, table: str, *, schema: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Puts rows into a table by COPY. Raises asyncpg's errors.

    asyncpg's own method waits for ever when the connection is lost while it waits for room to write.
    """
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(_: object) -> None:
        if not lost.done():
            lost.set_result(None)

    connected.add_termination_listener(note)
    copying = asyncio.ensure_future(
        connected.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
    )
    try:
        await asyncio.wait({copying, lost}, return_when=asyncio.FIRST_COMPLETED)
        # Where it has noticed the loss itself, it tells why.
        await asyncio.wait({copying}, timeout=0.1 if lost.done() else None)
        if copying.done():
            copying.result()
            return
        raise asyncpg.ConnectionDoesNotExistError("the connection was lost in the middle of a COPY")
    finally:
        if not copying.done():
            copying.cancel()
            # What it says of its own end is of no interest any more.
            copying.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait({copying}, timeout=1)
        # A connection that is lost has forgotten its listeners.
        with suppress(asyncpg.InterfaceError):
            connected.remove_termination_listener(note)


# -- connecting --------------------------------------------------------------------------------------------------------


async def _pool(settings: DatabaseSettings, dsn: str, role: str | None) -> Pool:
    parameters = {"statement_timeout": str(settings.statement_timeout_ms)}
    if role is not None:
        parameters["role"] = role
    try:
        return await asyncpg.create_pool(
            **_arguments(settings, dsn, parameters), **_SIZES, init=_prepare, max_size=settings.pool_size
        )
    except _CONNECTING_TROUBLES as error:
        raise explained(error, settings, dsn, role) from None


async def _connect(settings: DatabaseSettings, dsn: str) -> Connection:
    try:
        return await asyncpg.connect(**_arguments(settings, dsn, {}))
    except _CONNECTING_TROUBLES as error:
        raise explained(error, settings, dsn) from None


_SIZES: Mapping[str, int] = (
    {"init_size": 1, "min_size": 0} if "init_size" in signature(asyncpg.create_pool).parameters else {"min_size": 1}
)
"""One connection is made at once, for what is wrong to be seen, and none kept for its own sake: asyncpg 0.32 tries to,
and tells a whole traceback each time while there is no server."""

DRIVER_TROUBLES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Of a connection on which the server has said good-bye, and which has not been closed yet.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What the driver raises: `explained` says what it means."""

_CONNECTING_TROUBLES = (*DRIVER_TROUBLES, ssl.SSLError, ValueError)


def _arguments(settings: DatabaseSettings, dsn: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "dsn": dsn,
        # Left out where there is none: asyncpg would not look into the DSN otherwise.
        **({"password": settings.password} if settings.password is not None else {}),
        "timeout": settings.connect_timeout_ms / 1000,
        "server_settings": {"application_name": "tollgate", "timezone": "UTC", **parameters},
    }


async def _prepare(connected: Connection) -> None:
    await connected.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encoded, decoder=msgspec.json.decode, format="text"
    )


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def _close(what: Connection | Pool) -> None:
    """Closes it; one whose server does not answer any more is let go."""
    try:
        await asyncio.wait_for(what.close(), timeout=5)
    except DRIVER_TROUBLES:
        what.terminate()


async def _check_migrated(connected: Connection) -> None:
    try:
        state = await migrate.status(connected)
    except asyncpg.InsufficientPrivilegeError:
        raise DatabaseTrouble(
            "the user who logs in may not read the database; grant it one of the roles "
            f"{', '.join(ROLES)}, after tollgate migrate has made them"
        ) from None
    if state.problem:
        raise DatabaseTrouble(state.problem)
    if state.pending:
        raise DatabaseTrouble(
            f"the database is not up to date: {', '.join(one.name for one in state.pending)} "
            f"{'is' if len(state.pending) == 1 else 'are'} still to be applied; run tollgate migrate"
        )


def explained(
    error: BaseException, settings: DatabaseSettings, dsn: str = "", role: str | None = None
) -> DatabaseTrouble:
    """What an error of the driver means for the operator."""
    where = (
        masked_dsn(dsn or settings.dsn) if not settings.embedded else f"the embedded PostgreSQL in {settings.data_dir}"
    )
    match error:
        case DatabaseTrouble():
            return error
        case asyncpg.InvalidCatalogNameError():
            return DatabaseTrouble(f"{where}: {error}; create it (createdb), then run tollgate migrate")
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return DatabaseTrouble(f"{where}: {error}; check the user in dsn, and password or password_file")
        case asyncpg.InsufficientPrivilegeError() if role is not None:
            return DatabaseTrouble(
                f'{where}: {error}; run GRANT {role} TO "<the user of dsn>", or set [database] role to one it has'
            )
        case asyncpg.InvalidParameterValueError() | asyncpg.UndefinedObjectError() if role is not None:
            return DatabaseTrouble(f"{where}: {error}; tollgate migrate makes the roles {', '.join(ROLES)}")
        case asyncpg.CannotConnectNowError() | asyncpg.TooManyConnectionsError():
            return Unreachable(f"{where}: {error}")
        case asyncpg.PostgresConnectionError() | asyncpg.AdminShutdownError() | asyncpg.CrashShutdownError():
            return Unreachable(f"{where}: the connection was lost ({error})")
        case ssl.SSLError():
            return DatabaseTrouble(f"{where}: TLS does not come about ({error}); check sslmode and sslrootcert in dsn")
        case TimeoutError():
            seconds = json.dumps(settings.connect_timeout_ms / 1000)
            return Unreachable(f"{where} does not answer within {seconds} s; check host and port in dsn")
        case OSError():
            return Unreachable(f"{where} can't be reached ({error.strerror or error}); check host and port in dsn")
        case _:
            return DatabaseTrouble(f"{where}: {error}")
