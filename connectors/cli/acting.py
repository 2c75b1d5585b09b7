"""Who acts on the command line: a user of the office, named by `--as` or by the system's account of the same name."""

import getpass

from backoffice.access import ROLES, Asker, Role, asker
from connectors.cli.app import Refused
from connectors.postgres.database import Database
from connectors.postgres.locks import colleagues


async def acting(database: Database, name: str | None) -> Asker:
    """The user with what the role allows. Raises Refused for one that is not there, or disabled."""
    name = name or _system_user()
    found = (await colleagues(database.pool, [name])).get(name)
    if found is None:
        raise Refused(
            f"there is no user {name!r}: say by --as who it is that acts (tollgate user list shows the users, "
            "tollgate user add enters one)"
        )
    if not found.enabled:
        raise Refused(f"user {name!r} is disabled")
    role: Role = next(role for role in ROLES if role == found.role)
    return asker(name, role)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
