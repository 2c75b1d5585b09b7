"""`schema.sql`: the whole schema as one file, to be read and to be compared with; made by

    python -m connectors.postgres.schema

on a database that all migrations were applied to. It makes a database that differs from a migrated one in nothing but
the list of what was applied.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import asyncpg

from connectors.postgres import migrate
from connectors.postgres.database import ensure_database
from connectors.postgres.server import EmbeddedServer

FILE = Path(__file__).parent / "schema.sql"

_HEAD = """\
-- The whole schema, as the migrations make it. Made by `python -m connectors.postgres.schema`; not edited by hand.

BEGIN;
SET LOCAL check_function_bodies = off;  -- functions stand before the tables that they read

"""
# What differs from one version of pg_dump to the next, and what only psql understands.
_LEFT_OUT = re.compile(r"^(\\|SET |SELECT pg_catalog\.set_config|--)")
_ROLES = re.compile(r"^DO \$\$.*?^\$\$;\n", re.DOTALL | re.MULTILINE)  # roles are no part of a database's definitions
_TAG = re.compile(r"\$[a-z_]*\$")
_FIRST_TRIGGER = re.compile(r"^CREATE TRIGGER ", re.MULTILINE)


def dumped(server: EmbeddedServer, database: str) -> str:
    """The definitions of a database of an embedded server, with rights and comments and without data.

    Raises RuntimeError with what pg_dump says.
    """
    done = server.run("pg_dump", "--schema-only", "--no-owner", "--no-tablespaces", f"--dbname={server.dsn(database)}")
    if done.returncode != 0:
        raise RuntimeError(done.stdout)
    lines = []
    in_body = False
    for line in done.stdout.splitlines():
        if in_body or not _LEFT_OUT.match(line):
            lines.append(line)
        # A function's body stands between two equal tags.
        in_body ^= len(_TAG.findall(line)) % 2 == 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


async def data(connection: asyncpg.Connection) -> dict[str, list[str]]:
    """Rows that migrations put into tables, by table; but for the list of migrations."""
    tables = await connection.fetch(
        """
        SELECT format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        ORDER BY 1
        """
    )
    found = {}
    for (table,) in tables:
        if table != "plumbing.migrations":
            rows = await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
            if rows:
                found[table] = [row[0] for row in rows]
    return found


def written(definitions: str, rows: dict[str, list[str]]) -> str:
    """The text of the file."""
    inserts = [
        f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, '{quoted}');\n"
        for table, texts in rows.items()
        for quoted in (text.replace("'", "''") for text in texts)
    ]
    # As the migrations write them: before there are triggers that refuse it.
    trigger = _FIRST_TRIGGER.search(definitions) if inserts else None
    place = len(definitions) if trigger is None else trigger.start()
    roles = "".join(found + "\n" for one in migrate.read_migrations() for found in _ROLES.findall(one.text))
    return (
        _HEAD
        + roles
        + definitions[:place]
        + "".join(inserts)
        + ("\n" if inserts else "")
        + definitions[place:]
        + "\nCOMMIT;\n"
    )


async def make(server: EmbeddedServer, database: str) -> str:
    """The file's text, from a database that all migrations are applied to here; it is made, and must not be there."""
    await ensure_database(server.dsn("postgres"), database)
    connection = await asyncpg.connect(server.dsn(database))
    try:
        await migrate.migrate(connection)
        rows = await data(connection)
    finally:
        await connection.close()
    return written(await asyncio.to_thread(dumped, server, database), rows)


def main() -> None:
    """Writes the file."""
    with tempfile.TemporaryDirectory(prefix="tollgate-schema-") as folder:
        with EmbeddedServer(Path(folder) / "postgresql", options={"fsync": "off"}) as server:
            text = asyncio.run(make(server, "tollgate"))
        server.wait_stopped()
    FILE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
