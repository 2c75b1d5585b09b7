"""The real PostgreSQL of a run of tests: one embedded server, started when the first test asks for it, and a migrated
database of its own for each test, copied from a template.

    def test_something(database):
        async def story(db: Database) -> None:
            async with change(db.pool, …) as tx: …

        database.run(story)                          # with the owner's rights
        database.run(story, role="tollgate_app")     # with those of a process

A test that kills or stops the server has a server of its own (`mortal_postgres`).
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from connectors.postgres import migrate
from connectors.postgres.database import Database, ensure_database, open_database
from connectors.postgres.server import EmbeddedServer
from connectors.settings import DatabaseSettings

T = TypeVar("T")

TEMPLATE = "template_migrated"
# A test's database need not survive a loss of power.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}

_names = (f"test_{number}" for number in count(1))


@dataclass(frozen=True)
class TestedDatabase:
    """A database and how to get to it. `settings` are what a process would have for it."""

    __test__ = False

    server: EmbeddedServer
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    @property
    def settings(self) -> DatabaseSettings:
        return DatabaseSettings(dsn=self.dsn, data_dir=self.server.data_dir)

    def run(self, story: Callable[[Database], Awaitable[T]], *, role: str | None = None) -> T:
        """What the story comes to, told with an open database. `role`: with its rights; None: with the owner's."""

        async def told() -> T:
            async with open_database(self.settings, role=role) as found:
                return await story(found)

        return asyncio.run(told())


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedServer]:
    """A running server with a migrated database as a template. Tests don't change its data folder."""
    with own_server(FAST) as server:
        asyncio.run(_make_template(server))
        yield server


@pytest.fixture
def database(postgres: EmbeddedServer) -> Iterator[TestedDatabase]:
    """A migrated, empty database of the test's own."""
    with new_database(postgres) as found:
        yield found


@contextmanager
def new_database(server: EmbeddedServer) -> Iterator[TestedDatabase]:
    """A migrated, empty database: for fixtures that several tests share."""
    found = TestedDatabase(server, next(_names))
    asyncio.run(ensure_database(server.dsn("postgres"), found.name, TEMPLATE))
    yield found
    asyncio.run(_drop(server, found.name))


@pytest.fixture
def empty_database(postgres: EmbeddedServer) -> Iterator[TestedDatabase]:
    """A database without a single table."""
    found = TestedDatabase(postgres, next(_names))
    asyncio.run(ensure_database(postgres.dsn("postgres"), found.name))
    yield found
    asyncio.run(_drop(postgres, found.name))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder for an embedded server of the test's own, which is not there yet; afterwards the server is stopped."""
    # Not pytest's own folder, whose path may be too long for a socket.
    above = Path(tempfile.mkdtemp(prefix="tollgate-test-"))
    folder = above / "postgresql"
    yield folder
    stop_now(EmbeddedServer(folder))
    shutil.rmtree(above)


@pytest.fixture
def mortal_postgres(data_dir: Path) -> Iterator[TestedDatabase]:
    """A server of the test's own, which it may kill and start again, with a migrated database."""
    with EmbeddedServer(data_dir) as server:
        found = TestedDatabase(server, "tollgate")
        asyncio.run(_migrated(server, found.name))
        yield found


class own_server:  # noqa: N801  (used as a function)
    """An embedded server in a temporary folder that goes with it."""

    def __init__(self, options: dict[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tollgate-test-"))
        self._server = EmbeddedServer(self._folder / "postgresql", options=options)

    def __enter__(self) -> EmbeddedServer:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.close()
        stop_now(self._server)
        shutil.rmtree(self._folder)


def stop_now(server: EmbeddedServer) -> None:
    """Comes back when the server has stopped; nobody may be using it any more."""
    server.close()
    server.wait_stopped()


async def _migrated(server: EmbeddedServer, name: str) -> None:
    await ensure_database(server.dsn("postgres"), name)
    connection = await asyncpg.connect(server.dsn(name))
    try:
        await migrate.migrate(connection)
    finally:
        await connection.close()


async def _make_template(server: EmbeddedServer) -> None:
    await _migrated(server, TEMPLATE)


async def _drop(server: EmbeddedServer, name: str) -> None:
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()
