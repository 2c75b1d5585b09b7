"""The door to the record: the embedded server and its life, servers of the operator's own, and who may do what."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace
from postgres import TestedDatabase, stop_now

from connectors.postgres import database as door
from connectors.postgres.database import (
    APP,
    READONLY,
    RELAY,
    ROLES,
    Database,
    DatabaseTrouble,
    Unreachable,
    open_database,
)
from connectors.postgres.queries import sql
from connectors.postgres.server import EmbeddedServer, ServerTrouble
from connectors.settings import DatabaseSettings

ROOT = Path(__file__).parents[1]
DEADLINE_SECONDS = 60.0
DENIED = asyncpg.InsufficientPrivilegeError


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(settings: DatabaseSettings, query: str, role: str | None = None) -> object:
    async def answer() -> object:
        async with open_database(settings, role=role) as found:
            return await found.pool.fetchval(query)

    return asyncio.run(answer())


def refusal(settings: DatabaseSettings, role: str | None = None, kind: type[Exception] = DatabaseTrouble) -> str:
    """Why a database can't be opened: one line."""
    with pytest.raises(kind) as caught:
        ask(settings, "SELECT 1", role)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- the embedded server ----------------------------------------------------------------------------------------------


def test_without_an_address_a_database_is_there_at_once_and_stays(data_dir: Path) -> None:
    settings = DatabaseSettings(data_dir=data_dir)

    async def first() -> None:
        async with open_database(settings) as found:
            assert found.role == APP
            await found.pool.execute("INSERT INTO office.calendar VALUES ('2026-11-04', 'day_off')")

    asyncio.run(first())
    stop_now(EmbeddedServer(data_dir))

    assert ask(settings, "SELECT kind FROM office.calendar") == "day_off"


@contextmanager
def another_process(data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that uses the server, until its standard input ends or it is killed."""
    program = f"""
import sys
from pathlib import Path
from connectors.postgres.server import EmbeddedServer
with EmbeddedServer(Path({str(data_dir)!r})) as server:
    print(server.pid(), flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def pid_of(process: "subprocess.Popen[str]") -> int:
    """The server's process, as the program that uses it says."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_processes_with_one_folder_share_one_server_until_the_last_has_gone(data_dir: Path) -> None:
    with another_process(data_dir) as first, another_process(data_dir) as second:
        pid = pid_of(first)
        assert pid_of(second) == pid

        first.communicate("")
        assert first.returncode == 0
        with EmbeddedServer(data_dir) as third:
            assert third.pid() == pid
            second.communicate("")
            assert third.pid() == pid
        third.wait_stopped()

    assert third.pid() is None


def test_a_server_does_not_outlive_programs_that_were_killed(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    with another_process(data_dir) as first, another_process(data_dir) as second:
        pid = pid_of(first)
        assert pid_of(second) == pid
        first.kill()
        first.wait()
        assert server.pid() == pid
        second.kill()
        second.wait()

    wait_until(lambda: server.pid() is None)


def test_a_server_that_was_killed_is_started_again_with_what_was_committed(data_dir: Path) -> None:
    settings = DatabaseSettings(data_dir=data_dir)

    async def killed_in_between() -> None:
        async with open_database(settings, role=None) as found:
            await found.pool.execute("INSERT INTO office.calendar VALUES ('2026-11-04', 'day_off')")
            os.kill(EmbeddedServer(data_dir).pid() or 0, signal.SIGKILL)

    asyncio.run(killed_in_between())

    assert (data_dir / "cluster" / "postmaster.pid").exists()
    assert ask(settings, "SELECT kind FROM office.calendar") == "day_off"


def test_the_process_id_of_a_killed_server_may_be_another_programs_by_now(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        pid = server.pid()
        os.kill(pid or 0, signal.SIGKILL)
        wait_until(lambda: server.pid() is None)
        stale = data_dir / "cluster" / "postmaster.pid"
        # A program of the server's own account has it: to PostgreSQL that is a server that runs.
        stranger = subprocess.Popen(["sleep", "1000"], **server._identity())
        try:
            stale.write_text(stale.read_text().replace(str(pid), str(stranger.pid), 1))

            server.start()

            assert server.pid() not in (None, pid, stranger.pid)
        finally:
            stranger.kill()
            stranger.wait()


def test_a_folder_whose_path_is_too_long_for_a_socket_will_do(data_dir: Path) -> None:
    deep = data_dir.parent / ("deep" * 30) / "postgresql"

    with EmbeddedServer(deep) as server:
        assert deep not in server.socket_dir.parents
        assert asyncio.run(_version(server)) >= 15
    stop_now(server)
    server.socket_dir.rmdir()


async def _version(server: EmbeddedServer) -> int:
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        return connection.get_server_version().major
    finally:
        await connection.close()


def test_a_temporary_folder_that_someone_else_made_is_not_taken(data_dir: Path) -> None:
    deep = data_dir.parent / ("deep" * 30) / "postgresql"
    folder = EmbeddedServer(deep).socket_dir
    folder.mkdir(mode=0o755)
    try:
        assert f"{folder} may be used by others; remove it" in refusal(DatabaseSettings(data_dir=deep))
        folder.rmdir()
        folder.symlink_to(data_dir.parent)
        assert f"{folder} may be used by others; remove it" in refusal(DatabaseSettings(data_dir=deep))
    finally:
        folder.unlink()


def test_only_its_owner_gets_to_the_socket(postgres: EmbeddedServer) -> None:
    assert postgres.socket_dir.stat().st_mode & 0o077 == 0
    assert postgres.data_dir.stat().st_mode & 0o077 == 0


def test_a_folder_with_other_files_is_not_taken(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "letters").touch()

    message = refusal(DatabaseSettings(data_dir=data_dir))

    assert str(data_dir) in message
    assert "set [database] data_dir to an empty one" in message
    assert [path.name for path in data_dir.iterdir()] == ["letters"]


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    message = refusal(DatabaseSettings(data_dir=tmp_path / "file" / "postgresql"))

    assert f"{tmp_path / 'file' / 'postgresql'} can't be started: Not a directory" in message


def test_data_of_another_version_are_not_touched(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        pass
    server.wait_stopped()
    (data_dir / "cluster" / "PG_VERSION").write_text("16\n")

    assert "was made by PostgreSQL 16, this one is 18" in refusal(DatabaseSettings(data_dir=data_dir))


def test_a_server_that_does_not_start_says_why(data_dir: Path) -> None:
    with EmbeddedServer(data_dir) as server:
        pass
    server.wait_stopped()

    with pytest.raises(ServerTrouble, match=r"does not start: (?s:.*)max_connections"):
        EmbeddedServer(data_dir, options={"max_connections": "many"}).start()


# -- a server of the operator's own -----------------------------------------------------------------------------------


@pytest.fixture
def guarded(data_dir: Path) -> Iterator[TestedDatabase]:
    """A server that asks everyone but its owner for a password, with a user `ivanov` of role `tollgate_app`."""
    rules = data_dir.parent / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    with EmbeddedServer(data_dir, options={"hba_file": str(rules)}) as server:
        found = TestedDatabase(server, "tollgate")
        asyncio.run(_prepare_guarded(server))
        yield found


async def _prepare_guarded(server: EmbeddedServer) -> None:
    await door.ensure_database(server.dsn("postgres"), "tollgate")
    connection = await asyncpg.connect(server.dsn("tollgate"))
    try:
        await door.migrate.migrate(connection)
        await connection.execute("CREATE ROLE ivanov LOGIN PASSWORD 'horse'; GRANT tollgate_app TO ivanov")
    finally:
        await connection.close()


def test_a_user_works_with_the_rights_of_the_role_he_was_granted(guarded: TestedDatabase) -> None:
    settings = DatabaseSettings(dsn=guarded.dsn.replace("postgres@", "ivanov@"), password="horse")

    assert ask(settings, "SELECT session_user || ' as ' || current_user", APP) == "ivanov as tollgate_app"
    # Whose role it is, the settings may say; or that it is nobody's.
    assert ask(replace(settings, role="tollgate_app"), "SELECT current_user", RELAY) == "tollgate_app"
    assert ask(replace(settings, role=""), "SELECT current_user", RELAY) == "ivanov"


def test_what_hinders_a_user_is_said_in_one_line(guarded: TestedDatabase) -> None:
    settings = DatabaseSettings(dsn=guarded.dsn.replace("postgres@", "ivanov@"), password="horse")

    wrong = refusal(replace(settings, password="mule"))
    assert 'password authentication failed for user "ivanov"; check the user in dsn' in wrong
    assert "mule" not in wrong
    assert "check the user in dsn" in refusal(replace(settings, dsn=settings.dsn.replace("ivanov", "petrov")))
    assert "horse" not in refusal(DatabaseSettings(dsn=settings.dsn.replace("ivanov", "ivanov:horse") + "&port=x"))
    granted = refusal(settings, RELAY)
    assert 'permission denied to set role "tollgate_relay"; run GRANT tollgate_relay' in granted
    assert "tollgate migrate makes the roles" in refusal(replace(settings, role="dogs"), APP)
    assert 'database "dogs" does not exist; create it' in refusal(
        replace(settings, dsn=settings.dsn.replace("/tollgate?", "/dogs?"))
    )


def test_a_user_without_any_role_is_told_what_to_grant(guarded: TestedDatabase) -> None:
    asyncio.run(_execute(guarded, "CREATE ROLE petrov LOGIN PASSWORD 'horse'"))
    settings = DatabaseSettings(dsn=guarded.dsn.replace("postgres@", "petrov@"), password="horse")

    assert "grant it one of the roles tollgate_app, " in refusal(settings)


async def _execute(database: TestedDatabase, query: str) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(query)
    finally:
        await connection.close()


def test_a_server_that_is_not_there_or_silent_is_told_and_may_come() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        dsn = f"postgresql://ivanov@127.0.0.1:{port}/tollgate"
        assert "can't be reached" in refusal(DatabaseSettings(dsn=dsn), kind=Unreachable)
        silent.listen()
        settings = DatabaseSettings(dsn=dsn, connect_timeout_ms=50)
        assert "does not answer within 0.05 s; check host and port" in refusal(settings, kind=Unreachable)
    unknown = "postgresql://u@no-such-host.invalid/d"
    assert f"{unknown} can't be reached" in refusal(DatabaseSettings(dsn=unknown), kind=Unreachable)


def test_a_server_that_is_too_old_is_refused(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "OLDEST", 99)

    assert "is PostgreSQL 18; take 99 or newer, or leave dsn empty" in refusal(database.settings)


def test_a_statement_that_takes_too_long_is_broken_off(database: TestedDatabase) -> None:
    settings = replace(database.settings, statement_timeout_ms=20)

    with pytest.raises(asyncpg.QueryCanceledError):
        ask(settings, "SELECT pg_sleep(60)")


def test_a_query_that_is_not_there_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError, match="no query 'dogs/bark'"):
        sql("dogs/bark")


# -- rights -----------------------------------------------------------------------------------------------------------

LOCK = """
    INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, changed_at, changed_by, change_reason)
    VALUES ('L1', 'prefix', '381', 'ivanov', 'fraud', now(), now(), 'ivanov', 'fraud')
"""
LIFT = """
    UPDATE office.locks
    SET lifted_at = now(), lifted_by = 'x', lift_reason = 'y', changed_at = now(), changed_by = 'x', change_reason = 'y'
"""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("query", [LOCK, LIFT, "DELETE FROM office.locks", "TRUNCATE office.locks CASCADE"])
def test_no_process_writes_locks_by_itself(database: TestedDatabase, role: str, query: str) -> None:
    async def owner(found: Database) -> None:
        await found.pool.execute(LOCK)

    async def process(found: Database) -> None:
        assert await found.pool.fetchval("SELECT author FROM office.locks") == "ivanov"
        with pytest.raises(DENIED, match="permission denied for table locks"):
            await found.pool.execute(query)

    database.run(owner)
    database.run(process, role=role)


def test_not_even_the_owner_deletes_a_lock_or_its_history(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        await found.pool.execute(LOCK)
        for query in (
            "DELETE FROM office.locks",
            "TRUNCATE office.locks CASCADE",
            "DELETE FROM office.lock_history",
            "UPDATE office.lock_history SET actor = 'sidorov'",
            "UPDATE office.locks SET author = 'sidorov'",
            "UPDATE office.locks SET lock_id = 'L2'",
        ):
            with pytest.raises(DENIED):
                await found.pool.execute(query)

    database.run(story)


def test_each_change_of_a_lock_is_in_its_history_for_ever(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        await found.pool.execute(LOCK)
        await found.pool.execute(
            "UPDATE office.locks SET digits = '3811', changed_by = 'petrov', changed_as = 'manager', "
            "change_reason = 'too wide', changed_at = '2026-11-24T12:00Z'"
        )
        await found.pool.execute(LIFT)
        with pytest.raises(DENIED, match="lock L1 is lifted"):
            await found.pool.execute(LIFT)
        rows = await found.pool.fetch("SELECT * FROM office.lock_history ORDER BY revision")

        assert [(row["action"], row["actor"], row["why"], row["digits"]) for row in rows] == [
            ("set", "ivanov", "fraud", "381"),
            ("changed", "petrov", "too wide", "3811"),
            ("lifted", "x", "y", "3811"),
        ]
        assert [row["revision"] for row in rows] == [1, 2, 3]
        assert rows[1]["acted_as"] == "manager"

    database.run(story)


def test_numbers_keep_their_history(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        await found.pool.execute(
            "INSERT INTO office.numbers (number, status, changed_at, changed_by, change_reason) "
            "SELECT n::text, 'free', now(), 'ivanov', 'bought' FROM generate_series(74951110000, 74951110009) n"
        )
        await found.pool.execute(
            "UPDATE office.numbers SET status = 'archive', changed_by = 'petrov', change_reason = 'given back' "
            "WHERE number = '74951110003'"
        )
        rows = await found.pool.fetch("SELECT * FROM office.number_history WHERE number = '74951110003' ORDER BY 2")

        assert [(row["revision"], row["status"], row["actor"], row["why"]) for row in rows] == [
            (1, "free", "ivanov", "bought"),
            (2, "archive", "petrov", "given back"),
        ]
        assert await found.pool.fetchval("SELECT count(*) FROM office.number_history") == 11
        for query in ("DELETE FROM office.numbers", "DELETE FROM office.number_history"):
            with pytest.raises(DENIED):
                await found.pool.execute(query)

    database.run(story)


CLIENT = """
    INSERT INTO office.clients (client_id, name, created_at, created_by) VALUES ('C', 'C', now(), 'x');
    INSERT INTO office.tariff_plans (tariff_plan_id, name) VALUES ('P', 'P');
    INSERT INTO office.accounts (account_id, client_id, tariff_plan_id, payment_mode, currency, opening_balance_micros,
        opening_status, status, created_at, created_by)
    VALUES ('A', 'C', 'P', 'prepaid', 'RUB', 5, 'active', 'active', now(), 'x');
    INSERT INTO office.commands (command_id, kind, account_id, at, amount_micros, author, ordered_at)
    VALUES ('p1', 'payment', 'A', now(), 100, 'x', now());
"""


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE office.accounts SET opening_balance_micros = 6",
        "UPDATE office.accounts SET currency = 'USD'",
        "DELETE FROM office.accounts",
        "UPDATE office.commands SET amount_micros = 1000",
        "UPDATE office.commands SET author = 'y'",
        "DELETE FROM office.commands",
    ],
)
def test_what_an_account_began_with_and_what_was_ordered_for_it_stays(database: TestedDatabase, query: str) -> None:
    async def story(found: Database) -> None:
        await found.pool.execute(CLIENT)
        await found.pool.execute("UPDATE office.accounts SET credit_limit_micros = 7")
        await found.pool.execute("UPDATE office.commands SET state = 'applied', state_at = now()")
        with pytest.raises(DENIED):
            await found.pool.execute(query)

    database.run(story)


def test_a_command_of_money_has_its_amount_and_no_other_has_one(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        await found.pool.execute(CLIENT)
        for kind, amount in (("payment", None), ("payment", 0), ("block", 5)):
            with pytest.raises(asyncpg.CheckViolationError):
                await found.pool.execute(
                    "INSERT INTO office.commands (command_id, kind, account_id, at, amount_micros, author, ordered_at)"
                    " VALUES ('x', $1, 'A', now(), $2, 'x', now())",
                    kind,
                    amount,
                )
        assert await found.pool.fetchval("SELECT amount_micros FROM office.payments") == 100
        assert await found.pool.fetchval("SELECT count(*) FROM office.top_ups") == 0

    database.run(story)


@pytest.mark.parametrize("role", ROLES)
def test_no_process_changes_what_the_audit_says(database: TestedDatabase, role: str) -> None:
    async def story(found: Database) -> None:
        for query in (
            "UPDATE plumbing.audit SET actor = 'x'",
            "DELETE FROM plumbing.audit",
            "TRUNCATE plumbing.audit",
            "UPDATE plumbing.audit_head SET seq = 0",
            "ALTER TABLE plumbing.audit DISABLE TRIGGER ALL",
            "DELETE FROM plumbing.outbox",
            "UPDATE plumbing.outbox SET payload = NULL",
        ):
            with pytest.raises(DENIED):
                await found.pool.execute(query)

    database.run(story, role=role)


def test_a_reader_reads_and_writes_nothing(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        tables = await found.pool.fetch(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
            "WHERE table_schema IN ('office', 'plumbing') AND table_type = 'BASE TABLE'"
        )
        assert len(tables) > 20
        for (table,) in tables:
            if table != "plumbing.idempotency_keys":
                await found.pool.fetch(f"SELECT * FROM {table}")
            with pytest.raises(DENIED):
                await found.pool.execute(f"DELETE FROM {table}")

    database.run(story, role=READONLY)
