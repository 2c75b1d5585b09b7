"""Commands that work on the record in somebody's name: who that is, changes in that name, progress on a terminal."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

import asyncpg
import cyclopts
from rich.progress import Progress

from backoffice.access import Asker, asker
from backoffice.refusals import NotAllowed, Refusal
from connectors.cli.app import Refused, err, settings
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import Change, OutcomeUnknown, in_change
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.settings import database_settings, http_settings
from engine.settings import EngineSettings

T = TypeVar("T")

As = Annotated[
    str | None,
    cyclopts.Parameter(name="--as", help="The user of the office who does it; the system's user if left out."),
]
AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]


async def acting(database: Database, name: str | None) -> Asker:
    """Who acts: a user of the office. Raises Refused."""
    if name is None:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            # A container's user without a name.
            name = ""
    found = await AccessRecord(database.pool).user(name)
    if found is None:
        raise Refused(
            f"there is no user {name!r}: say by --as who it is that acts (tollgate user list shows the users, "
            "tollgate user add enters one)"
        )
    if found.status != "active":
        raise Refused(f"user {name!r} is disabled")
    return asker(found.name, found.role)


def shell_actor() -> str:
    """Whoever has a shell on the machine, as the audit tells it: the system's account."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


async def business_now(database: Database) -> datetime:
    """The business moment."""
    return await BusinessClock(settable=http_settings().settable_clock).now(database.pool)


async def changing(database: Database, who: Asker, reason: str, work: Callable[[Change], Awaitable[T]]) -> T:
    """What a change in somebody's name comes to."""
    return await in_change(
        database.pool,
        work,
        actor=who.actor,
        reason=reason,
        at=await business_now(database),
        role=who.role,
        interface="cli",
        isolation="read_committed",
    )


def on_database(work: Callable[[Database, EngineSettings], Awaitable[T]]) -> T:
    """What work on the database of the settings comes to. Raises Refused with whatever keeps it from being done."""
    where, engine = database_settings(), settings()

    async def opened() -> T:
        async with open_database(where) as database:
            return await work(database, engine)

    try:
        return asyncio.run(opened())
    except NotAllowed as refused:
        raise Refused(f"{refused}; ask {refused.ask}") from None
    except (DatabaseTrouble, Refusal) as refused:
        raise Refused(str(refused)) from None
    except OutcomeUnknown as error:
        raise Refused(f"{error}; look whether it is there") from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(f"the database does not let this login do it: {error}") from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, where))) from None


class Bar:
    """A bar of progress on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(console=err, transient=True, disable=not err.is_terminal)

    def __enter__(self) -> "Bar":
        self._progress.start()
        self._task = self._progress.add_task("waiting", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def told(self, stage: str, done: int, total: int) -> None:
        """Where the work stands."""
        self._progress.update(self._task, description=stage, completed=done, total=total or None)
