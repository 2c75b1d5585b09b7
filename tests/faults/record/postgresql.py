"""The PostgreSQL of a run: embedded, in a folder of its own, with a login for each process, and ways to do it harm."""

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import asyncpg

from connectors.postgres import migrate
from connectors.postgres.database import DATABASE, ensure_database
from connectors.postgres.server import EmbeddedServer
from tests.faults.fleet import Stalled

LOGINS = {
    "office": "tollgate_app",
    **{f"relay_{place}": "tollgate_relay" for place in (1, 2)},
    **{f"projector_{place}": "tollgate_projector" for place in (1, 2)},
    "auditor": "tollgate_readonly",
}
"""Who logs in, and what each of them may: a session tells by its name whose it is."""

_BACKEND = "client backend"


class Postgres:
    """One server with its database. `start` it before anything else."""

    def __init__(self) -> None:
        # Not among the run's own files: the server's account must get there, and a socket's path is short.
        self._above = Path(tempfile.mkdtemp(prefix="tollgate-faults-"))
        self.server = EmbeddedServer(self._above / "postgresql")

    def dsn(self, login: str) -> str:
        """The address for one of LOGINS."""
        return self.server.dsn(DATABASE).replace("://postgres@", f"://{login}@")

    async def make(self) -> None:
        """Starts it, with an empty database that is up to date."""
        await asyncio.to_thread(self.server.start)
        await ensure_database(self.server.dsn("postgres"), DATABASE)
        owner = await self.owner()
        try:
            await migrate.migrate(owner)
            for login, role in LOGINS.items():
                await owner.execute(f"CREATE USER {login} IN ROLE {role}")
        finally:
            await owner.close()

    async def owner(self) -> asyncpg.Connection:
        """A connection with all rights."""
        return await asyncpg.connect(self.server.dsn(DATABASE), timeout=10)

    async def start(self) -> None:
        """Starts it again; nothing happens if it runs."""
        await asyncio.to_thread(self.server.start)

    async def stop(self) -> None:
        """Ends it as an operator would (pg_ctl stop, fast)."""
        done = await asyncio.to_thread(
            self.server.run, "pg_ctl", "stop", "--mode=fast", "--wait", f"--pgdata={self.server.cluster}"
        )
        if done.returncode != 0:
            raise Stalled(f"PostgreSQL does not stop: {done.stdout}")

    def crash(self) -> int:
        """kill -9 of the postmaster and all of its children, as when the machine goes; how many there were."""
        postmaster = self.server.pid()
        if postmaster is None:
            return 0
        family = [postmaster, *_children(postmaster)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(family)

    async def kill_backend(self, login_begins: str) -> str | None:
        """kill -9 of one session's server process: the server throws all sessions out and recovers by itself. Whose it
        was; None if there is none."""
        owner = await self.owner()
        try:
            row = await owner.fetchrow(
                "SELECT pid, usename FROM pg_stat_activity WHERE backend_type = $1 AND usename LIKE $2 || '%' "
                "ORDER BY (state = 'active') DESC, random() LIMIT 1",
                _BACKEND,
                login_begins,
            )
            if row is None:
                return None
            os.kill(row["pid"], signal.SIGKILL)
            return str(row["usename"])
        finally:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await owner.close(timeout=2)

    async def active_relay(self) -> int | None:
        """The place of the relay that holds the one relay's lock."""
        owner = await self.owner()
        try:
            name = await owner.fetchval(
                "SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND granted AND usename LIKE 'relay%'"
            )
        finally:
            await owner.close()
        return None if name is None else int(name.rpartition("_")[2])

    def end(self) -> None:
        """Stops it for good and takes its folder away."""
        self.server.close()
        self.server.wait_stopped()
        shutil.rmtree(self._above, ignore_errors=True)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                # The name of a program may hold anything, a bracket too.
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found
