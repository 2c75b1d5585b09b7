"""`tollgate migrate`: brings the database up to date with this program."""

import asyncio
from typing import Annotated

import cyclopts

from connectors.cli.app import Refused, app, out, print_json
from connectors.postgres import migrate as migrations
from connectors.postgres.database import DatabaseTrouble, connection
from connectors.postgres.migrate import MigrationTrouble, Status
from connectors.settings import DatabaseSettings, database_settings, masked


@app.command
def migrate(
    *,
    check: Annotated[
        bool, cyclopts.Parameter(negative="", help="Change nothing; exit with 1 when something is to be applied.")
    ] = False,
    json: Annotated[bool, cyclopts.Parameter(help="Print the report as JSON.")] = False,
) -> int:
    """Apply the migrations that the database does not have yet, each in a transaction of its own.

    The user of the DSN must own the database. The embedded one is brought up to date by every process that opens it.
    """
    settings = database_settings()
    try:
        state = asyncio.run(_checked(settings) if check else _migrated(settings))
    except (DatabaseTrouble, MigrationTrouble) as error:
        raise Refused(str(error)) from None
    names = [one.name for one in state.pending]
    if json:
        print_json({"applied": [one.name for one in state.applied], "pending" if check else "applied_now": names})
    elif not names:
        out.print(f"{_where(settings)} is up to date: {len(state.applied)} migrations", highlight=False)
    else:
        word = "to be applied" if check else "applied"
        out.print(f"{_where(settings)}: {word}: {', '.join(names)}", highlight=False)
    return 1 if check and names else 0


async def _checked(settings: DatabaseSettings) -> Status:
    async with connection(settings) as found:
        state = await migrations.status(found)
        if state.problem:
            raise MigrationTrouble(state.problem)
        return state


async def _migrated(settings: DatabaseSettings) -> Status:
    async with connection(settings) as found:
        applied = await migrations.migrate(found)
        state = await migrations.status(found)
        return state._replace(pending=applied)


def _where(settings: DatabaseSettings) -> str:
    return f"the embedded database in {settings.data_dir}" if settings.embedded else masked(settings)["dsn"]
