"""Migrations: applied once and in order, by one process at a time, and never changed afterwards."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from postgres import TestedDatabase

from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.postgres import migrate, schema
from connectors.postgres.database import DatabaseTrouble, open_database
from connectors.postgres.migrate import Migration, MigrationTrouble, read_migrations
from connectors.postgres.server import EmbeddedServer

FIRST = read_migrations()[:1]
DOGS = Migration(2, "0002_dogs.sql", "CREATE TABLE dogs (name text);")
CATS = Migration(3, "0003_cats.sql", "CREATE TABLE cats (name text);\nINSERT INTO cats VALUES ('Murka');")

BIRDS = Migration(4, "0004_birds.sql", "CREATE TABLE birds (name text);")


def on(database: TestedDatabase, *migrations: Migration) -> tuple[str, ...]:
    """The names of what was applied."""

    async def applied() -> tuple[str, ...]:
        connection = await asyncpg.connect(database.dsn)
        try:
            return tuple(one.name for one in await migrate.migrate(connection, migrations))
        finally:
            await connection.close()

    return asyncio.run(applied())


def ask(database: TestedDatabase, query: str) -> object:
    async def answer() -> object:
        connection = await asyncpg.connect(database.dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(answer())


def test_the_schema_of_one_file_is_what_the_migrations_make(
    postgres: EmbeddedServer, empty_database: TestedDatabase
) -> None:
    text = asyncio.run(schema.make(postgres, f"{empty_database.name}_migrated"))

    async def made_by_the_file() -> dict[str, list[str]]:
        connection = await asyncpg.connect(empty_database.dsn)
        try:
            await connection.execute(schema.FILE.read_text())
            return await schema.data(connection)
        finally:
            await connection.close()

    rows = asyncio.run(made_by_the_file())

    assert schema.written(schema.dumped(postgres, empty_database.name), rows) == text
    assert schema.FILE.read_text() == text, "run python -m connectors.postgres.schema"


def test_each_migration_is_applied_once_and_in_order(empty_database: TestedDatabase) -> None:
    assert on(empty_database, *FIRST, DOGS) == (FIRST[0].name, "0002_dogs.sql")
    assert on(empty_database, *FIRST, DOGS) == ()
    assert on(empty_database, *FIRST, DOGS, CATS) == ("0003_cats.sql",)
    assert ask(empty_database, "SELECT count(*) FROM cats") == 1
    assert ask(empty_database, "SELECT array_agg(version ORDER BY applied_at) FROM plumbing.migrations") == [1, 2, 3]


def test_processes_that_migrate_at_once_do_it_once(empty_database: TestedDatabase) -> None:
    async def all_at_once() -> list[tuple[Migration, ...]]:
        connections = [await asyncpg.connect(empty_database.dsn) for _ in range(5)]
        try:
            return await asyncio.gather(*(migrate.migrate(one, (*FIRST, DOGS, CATS)) for one in connections))
        finally:
            for one in connections:
                await one.close()

    applied = asyncio.run(all_at_once())

    assert sorted(map(len, applied)) == [0, 0, 0, 0, 3]
    assert ask(empty_database, "SELECT count(*) FROM cats") == 1


def test_one_that_fails_leaves_nothing_behind_and_is_named_with_its_line(empty_database: TestedDatabase) -> None:
    broken = Migration(3, "0003_cats.sql", "CREATE TABLE cats (name text);\n\nCREATE TABLE kittens (mother cat);")

    with pytest.raises(MigrationTrouble, match=r'0003_cats.sql:3: type "cat" does not exist; nothing of this'):
        on(empty_database, *FIRST, DOGS, broken)

    assert ask(empty_database, "SELECT to_regclass('cats')") is None
    assert ask(empty_database, "SELECT to_regclass('dogs')") is not None
    assert on(empty_database, *FIRST, DOGS, CATS) == ("0003_cats.sql",)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ((DOGS._replace(text="CREATE TABLE wolves ();"), CATS, BIRDS), "0002_dogs.sql was changed after"),
        ((DOGS,), "newer program: it has 0003_cats.sql"),
        (
            (DOGS._replace(name="0002_wolves.sql"), CATS, BIRDS),
            r"0002_dogs.sql was applied .* \(it has 0002_wolves.sql\)",
        ),
        ((CATS, BIRDS), "0002_dogs.sql was applied to the database, but this program has no such file"),
    ],
)
def test_what_does_not_fit_together_is_named_and_nothing_is_applied(
    empty_database: TestedDatabase, now: tuple[Migration, ...], words: str
) -> None:
    on(empty_database, *FIRST, DOGS, CATS)

    with pytest.raises(MigrationTrouble, match=words):
        on(empty_database, *FIRST, *now)

    assert ask(empty_database, "SELECT to_regclass('birds')") is None


def test_one_that_comes_too_late_for_its_number_is_named(empty_database: TestedDatabase) -> None:
    on(empty_database, *FIRST, CATS)

    with pytest.raises(MigrationTrouble, match=r"0002_dogs.sql is not applied, but 0003_cats.sql behind it is"):
        on(empty_database, *FIRST, DOGS, CATS)


def test_line_ends_do_not_change_a_migration() -> None:
    assert CATS.checksum == CATS._replace(text=CATS.text.replace("\n", "\r\n")).checksum
    assert CATS.checksum != DOGS.checksum


def test_names_of_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "0001_dogs.sql").touch()
    (tmp_path / "0001_wolves.sql").touch()
    with pytest.raises(MigrationTrouble, match=r"0001_dogs.sql and 0001_wolves.sql have one number"):
        read_migrations(tmp_path)

    (tmp_path / "2_cats.sql").touch()
    with pytest.raises(MigrationTrouble, match=r"2_cats.sql is no name of a migration; write it as 0007_name.sql"):
        read_migrations(tmp_path)


def test_a_second_database_of_the_same_server_is_migrated_too(
    database: TestedDatabase, empty_database: TestedDatabase
) -> None:
    # The roles of the first one are there already.
    assert len(on(empty_database, *read_migrations())) == len(read_migrations())
    assert ask(database, "SELECT count(*) FROM plumbing.migrations") == len(read_migrations())


def test_who_may_not_migrate_is_told_so(database: TestedDatabase, empty_database: TestedDatabase) -> None:
    async def as_a_stranger() -> None:
        connection = await asyncpg.connect(empty_database.dsn)
        try:
            await connection.execute("SET ROLE tollgate_readonly")
            await migrate.migrate(connection)
        finally:
            await connection.close()

    with pytest.raises(MigrationTrouble, match=r"0001_plumbing.sql: permission denied .*; migrate as the owner"):
        asyncio.run(as_a_stranger())


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(empty_database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    """Runs `tollgate migrate` on an empty database; its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", empty_database.dsn)
    return lambda *words: app(["migrate", *words], exit_on_error=False, result_action="return_value")


def test_the_command_brings_a_database_up_to_date_and_tells_what_it_did(
    command: object, empty_database: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [one.name for one in read_migrations()]

    with pytest.raises(DatabaseTrouble, match=r"not up to date: 0001_plumbing.sql, .* run tollgate migrate"):
        empty_database.run(lambda _: asyncio.sleep(0))
    assert command("--check", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"applied": [], "pending": names}
    assert command("--json") == 0
    assert json.loads(capsys.readouterr().out) == {"applied": names, "applied_now": names}
    assert command("--check") == 0
    assert f"is up to date: {len(names)} migrations" in capsys.readouterr().out.replace("\n", " ")
    empty_database.run(lambda _: asyncio.sleep(0))


def test_a_newer_database_is_refused_by_everything_that_opens_it(
    command: object, empty_database: TestedDatabase
) -> None:
    on(empty_database, *read_migrations(), Migration(9999, "9999_future.sql", "SELECT 1"))

    for words in ((), ("--check",)):
        with pytest.raises(Refused, match=r"newer program: it has 9999_future.sql"):
            command(*words)

    async def opened() -> None:
        async with open_database(empty_database.settings):
            raise AssertionError("it was opened")

    with pytest.raises(DatabaseTrouble, match=r"newer program: it has 9999_future.sql"):
        asyncio.run(opened())
