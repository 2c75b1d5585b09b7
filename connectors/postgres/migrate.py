"""Migrations: numbered SQL files that bring a database from any earlier state to that of this program.

Each is applied once, in order, in a transaction of its own; an advisory lock lets one process at a time do it. What was
applied is kept with its checksum: a file that was changed or removed afterwards is named instead of being believed.
"""

import hashlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import asyncpg

FOLDER = Path(__file__).parent / "migrations"
_FILE = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_LOCK = 0x7011_6A7E  # "tollgate", as far as hexadecimal digits go


class MigrationTrouble(Exception):
    """The database and the migrations do not fit together. Names the file and the remedy."""


class Migration(NamedTuple):
    """One file."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, whatever its line ends are, in hexadecimal."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


class Applied(NamedTuple):
    """One that the database has."""

    version: int
    name: str
    checksum: str


class Status(NamedTuple):
    """How the database stands: what is to be applied, or why nothing may be."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    problem: str | None


def read_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The files of a folder in order. Raises MigrationTrouble for a name that is none, or a number that is twice."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        if (parts := _FILE.fullmatch(path.name)) is None:
            raise MigrationTrouble(f"{path.name} is no name of a migration; write it as 0007_name.sql")
        found.append(Migration(int(parts[1]), path.name, path.read_text(encoding="utf-8")))
    for one, other in pairwise(found):
        if one.version == other.version:
            raise MigrationTrouble(f"{one.name} and {other.name} have one number; give the later of them the next one")
    return tuple(found)


@cache
def _program() -> tuple[Migration, ...]:
    return read_migrations()


async def status(connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None) -> Status:
    """Compares the database with this program's migrations."""
    migrations = _program() if migrations is None else migrations
    if await connection.fetchval("SELECT to_regclass('plumbing.migrations')") is None:
        return Status((), tuple(migrations), None)
    rows = await connection.fetch("SELECT version, name, checksum FROM plumbing.migrations ORDER BY version")
    applied = tuple(Applied(row["version"], row["name"], row["checksum"]) for row in rows)
    known = {one.version for one in applied}
    pending = tuple(one for one in migrations if one.version not in known)
    return Status(applied, pending, _problem(applied, {one.version: one for one in migrations}))


def _problem(applied: Sequence[Applied], migrations: Mapping[int, Migration]) -> str | None:
    latest = max(migrations, default=0)
    newer = [one.name for one in applied if one.version > latest]
    if newer:
        return (
            f"the database was migrated by a newer program: it has {', '.join(newer)}, which this one does not know; "
            "take the newer program"
        )
    for one in applied:
        ours = migrations.get(one.version)
        if ours is None or ours.name != one.name:
            return (
                f"{one.name} was applied to the database, but this program has no such file"
                + (f" (it has {ours.name})" if ours is not None else "")
                + "; take the program that the database was migrated by, or a newer one"
            )
        if ours.checksum != one.checksum:
            return (
                f"{one.name} was changed after it was applied to the database; put the file back as it was, and make "
                "the change in a new migration"
            )
    latest_applied = max((one.version for one in applied), default=0)
    for version, ours in migrations.items():
        if version < latest_applied and all(one.version != version for one in applied):
            return f"{ours.name} is not applied, but {applied[-1].name} behind it is; give it a number after that"
    return None


async def migrate(
    connection: asyncpg.Connection, migrations: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Applies what the database does not have; what was applied now.

    Waits while another process does the same. Raises MigrationTrouble, and then what failed has left nothing behind.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        state = await status(connection, migrations)
        if state.problem:
            raise MigrationTrouble(state.problem)
        for one in state.pending:
            await _apply(connection, one)
        return state.pending
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(connection: asyncpg.Connection, one: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(one.text)
            await connection.execute(
                "INSERT INTO plumbing.migrations (version, name, checksum, program) VALUES ($1, $2, $3, $4)",
                one.version,
                one.name,
                one.checksum,
                importlib.metadata.version("tollgate"),
            )
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationTrouble(
            f"{one.name}: {error}; migrate as the owner of the database, who may create roles (CREATEROLE) or finds "
            "tollgate_app, tollgate_projector, tollgate_relay and tollgate_readonly already made"
        ) from None
    except asyncpg.PostgresError as error:
        line = one.text.count("\n", 0, int(error.position) - 1) + 1 if error.position else 0
        where = f"{one.name}:{line}" if line else one.name
        raise MigrationTrouble(f"{where}: {error}; nothing of this migration was applied") from None
