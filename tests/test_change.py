"""A change of the office: rows, audit and outbox together or not at all, in the order of the commits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace
from postgres import TestedDatabase

from connectors.postgres.change import ATTEMPTS, Change, OutcomeUnknown, Unaudited, change, in_change
from connectors.postgres.database import APP, RELAY, Database, open_database
from connectors.settings import DatabaseSettings
from schemas.reference import Lock

AT = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
LOCK = Lock("L1", "prefix", "381", None, None, "ivanov", "fraud", "2026-11-24T18:30:00.000Z")
DEADLINE_SECONDS = 30.0


@pytest.fixture
def folder(data_dir: Path) -> Path:
    """A folder whose path is short enough for a socket."""
    return data_dir.parent


@asynccontextmanager
async def changing(database: Database, actor: str = "ivanov") -> AsyncIterator[Change]:
    async with change(database.pool, actor=actor, reason="fraud", at=AT) as tx:
        yield tx


async def audited(tx: Change, name: str = "L1") -> None:
    await tx.audit("lock", name, "set", None, LOCK)
    await tx.publish("lock", name, LOCK)


async def rows(database: Database, query: str, *arguments: object) -> list[tuple[object, ...]]:
    return list(map(tuple, await database.pool.fetch(query, *arguments)))


async def holds(database: Database, condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.002)


async def writers_waiting(database: Database, number: int) -> None:
    """Comes back when so many connections wait for a lock."""

    async def so_many() -> bool:
        waiting = await database.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(waiting) >= number

    await holds(database, so_many)


def test_a_change_leaves_who_when_why_before_and_after_and_what_to_publish(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        async with change(
            found.pool, actor="ivanov", role="manager", reason="fraud", at=AT, interface="api", address="10.0.0.7"
        ) as tx:
            await tx.execute("INSERT INTO office.calendar VALUES ('2026-11-04', 'day_off')")
            await tx.audit("lock", "L1", "set", None, LOCK)
            await tx.audit("lock", "L2", "lifted", {"digits": "382"}, None)
            await tx.publish("lock", "L1", LOCK)
            await tx.publish("lock", "L2", None)

        first, second = await found.pool.fetch("SELECT * FROM plumbing.audit ORDER BY seq")
        assert (first["seq"], first["actor"], first["role"], first["reason"], first["at"]) == (
            1,
            "ivanov",
            "manager",
            "fraud",
            AT,
        )
        assert (first["interface"], str(first["address"]), first["action"]) == ("api", "10.0.0.7", "set")
        assert (first["before"], first["after"]["digits"], first["after"]["author"]) == (None, "381", "ivanov")
        assert (second["seq"], second["before"], second["after"]) == (2, {"digits": "382"}, None)
        assert await rows(found, "SELECT seq, kind, key, payload ->> 'digits', author FROM plumbing.outbox") == [
            (1, "lock", "L1", "381", "ivanov"),
            (2, "lock", "L2", None, "ivanov"),
        ]
        assert (
            len(set(await rows(found, "SELECT a.change_id, o.change_id FROM plumbing.audit a, plumbing.outbox o"))) == 1
        )
        assert await found.pool.fetchval("SELECT payload IS NULL FROM plumbing.outbox WHERE key = 'L2'")
        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == []

    database.run(story, role=APP)


class Away(Exception):
    pass


@pytest.mark.parametrize("error", [Away, KeyboardInterrupt, asyncio.CancelledError])
def test_an_error_leaves_nothing_behind(database: TestedDatabase, error: type[BaseException]) -> None:
    async def story(found: Database) -> None:
        async def failing() -> None:
            async with changing(found) as tx:
                await tx.execute("INSERT INTO office.calendar VALUES ('2026-11-04', 'day_off')")
                await audited(tx)
                await tx.write()
                raise error

        with pytest.raises(error):
            await failing()
        for table in ("office.calendar", "plumbing.audit", "plumbing.outbox"):
            assert await found.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
        # Numbers have no gaps, whatever failed before.
        async with changing(found) as tx:
            await audited(tx)
        assert await rows(found, "SELECT a.seq, o.seq FROM plumbing.audit a, plumbing.outbox o") == [(1, 1)]

    database.run(story, role=APP)


def test_a_bad_row_takes_the_whole_change_with_it(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        async def failing() -> None:
            async with changing(found) as tx:
                await audited(tx)
                await tx.execute("INSERT INTO office.calendar VALUES ('2026-11-04', 'holiday')")

        with pytest.raises(asyncpg.CheckViolationError):
            await failing()
        assert await found.pool.fetchval("SELECT count(*) FROM plumbing.audit") == 0

    database.run(story, role=APP)


def test_nothing_is_published_without_a_word_in_the_audit(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        with pytest.raises(Unaudited, match="lock L1"):
            async with changing(found) as tx:
                await tx.publish("lock", "L1", LOCK)
        assert await found.pool.fetchval("SELECT count(*) FROM plumbing.outbox") == 0

    database.run(story, role=APP)


def test_a_change_has_an_actor_a_reason_and_a_moment_with_its_zone(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        for actor, reason, at in (("", "x", AT), ("x", " ", AT), ("x", "x", AT.replace(tzinfo=None))):
            with pytest.raises(ValueError, match=r"actor and a reason|no time zone"):
                async with change(found.pool, actor=actor, reason=reason, at=at):
                    raise AssertionError("it began")

    database.run(story)


def test_writers_at_once_are_chained_one_after_the_other(database: TestedDatabase) -> None:
    changes, each = 40, 5

    async def one(found: Database, number: int) -> None:
        async with changing(found, f"user{number}") as tx:
            for part in range(each):
                await audited(tx, f"{number}.{part}")

    async def story(found: Database) -> None:
        await asyncio.gather(*(one(found, number) for number in range(changes)))

        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == []
        for table in ("audit", "outbox"):
            written = await rows(found, f"SELECT seq, change_id FROM plumbing.{table} ORDER BY seq")
            assert [seq for seq, _ in written] == list(range(1, changes * each + 1))
            # Rows of a change stand together.
            order = [change_id for _, change_id in written]
            assert order == [change_id for change_id in dict.fromkeys(order) for _ in range(each)]
        assert (
            await rows(
                found,
                "SELECT a.seq, o.seq FROM plumbing.audit a JOIN plumbing.outbox o ON o.key = a.entity_id "
                "WHERE a.seq <> o.seq",
            )
            == []
        )

    database.run(story, role=APP)


def test_numbers_are_in_the_order_of_the_commits(database: TestedDatabase) -> None:
    async def second(found: Database) -> None:
        async with changing(found, "petrov") as tx:
            await audited(tx, "second")

    async def story(found: Database) -> None:
        async with changing(found) as tx:
            await audited(tx, "first")
            await tx.write()
            later = asyncio.create_task(second(found))
            await writers_waiting(found, 1)
            # Whoever reads now sees neither, and not the second without the first.
            assert await rows(found, "SELECT key FROM plumbing.outbox") == []
        await later
        assert await rows(found, "SELECT seq, key FROM plumbing.outbox ORDER BY seq") == [(1, "first"), (2, "second")]

    database.run(story)


def test_the_second_gets_the_number_of_the_first_when_that_fails(database: TestedDatabase) -> None:
    async def second(found: Database) -> None:
        async with changing(found, "petrov") as tx:
            await audited(tx, "second")

    async def story(found: Database) -> None:
        async def first() -> None:
            async with changing(found) as tx:
                await audited(tx, "first")
                await tx.write()
                begun.append(asyncio.create_task(second(found)))
                await writers_waiting(found, 1)
                raise Away

        begun: list[asyncio.Task[None]] = []
        with pytest.raises(Away):
            await first()
        await begun[0]
        assert await rows(found, "SELECT seq, key FROM plumbing.outbox") == [(1, "second")]
        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == []

    database.run(story)


# -- the audit -------------------------------------------------------------------------------------------------------

TAMPER = "ALTER TABLE plumbing.audit DISABLE TRIGGER audit_only_grows"


@pytest.mark.parametrize(
    ("planted", "faults"),
    [
        ("UPDATE plumbing.audit SET reason = 'mistake' WHERE seq = 2", [(2, "it was changed")]),
        ("""UPDATE plumbing.audit SET after = '{"digits": "7"}' WHERE seq = 3""", [(3, "it was changed")]),
        ("UPDATE plumbing.audit SET at = at + interval '1 microsecond' WHERE seq = 1", [(1, "it was changed")]),
        ("DELETE FROM plumbing.audit WHERE seq = 4", [(4, "rows after the last one are missing")]),
        (
            "DELETE FROM plumbing.audit WHERE seq = 2",
            [(3, "rows before it are missing"), (4, "rows before it are missing")],
        ),
        (
            "UPDATE plumbing.audit a SET actor = 'x', hash = plumbing.audit_hash("
            'jsonb_populate_record(a, \'{"actor": "x"}\')) WHERE seq = 2',
            [(3, "it does not follow the row before it")],
        ),
    ],
)
def test_whoever_gets_at_the_audit_all_the_same_is_found_out(
    database: TestedDatabase, planted: str, faults: list[tuple[int, str]]
) -> None:
    async def story(found: Database) -> None:
        for name in ("L1", "L2", "L3", "L4"):
            async with changing(found) as tx:
                await audited(tx, name)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"plumbing\.audit only grows"):
            await found.pool.execute(planted)
        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == []
        await found.pool.execute(f"{TAMPER}; {planted}")
        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == faults

    database.run(story)


# -- the outbox -------------------------------------------------------------------------------------------------------


def test_the_outbox_numbers_in_the_order_of_the_commits_by_itself(database: TestedDatabase) -> None:
    insert = "INSERT INTO plumbing.outbox (change_id, at, author, kind, key) VALUES (1, now(), 'x', 'lock', $1)"

    async def story(found: Database) -> None:
        async with found.pool.acquire() as one, found.pool.acquire() as other:
            first = one.transaction()
            await first.start()
            await one.execute(insert, "first")
            later = asyncio.create_task(other.execute(insert, "second"))
            await writers_waiting(found, 1)
            await first.commit()
            await later
        assert await rows(found, "SELECT seq, key FROM plumbing.outbox ORDER BY seq") == [(1, "first"), (2, "second")]

    database.run(story)


def test_the_relay_marks_a_row_as_published_once_and_changes_nothing_else(database: TestedDatabase) -> None:
    mark = "UPDATE plumbing.outbox SET reference_version = 7, published_at = now() WHERE seq = 1"

    async def written(found: Database) -> None:
        async with changing(found) as tx:
            await audited(tx)

    async def relay(found: Database) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await found.pool.execute("UPDATE plumbing.outbox SET key = 'L2'")
        await found.pool.execute(mark)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row 1 can only be marked as published, once"):
            await found.pool.execute(mark)

    database.run(written, role=APP)
    database.run(relay, role=RELAY)


def test_the_relay_hears_of_a_change_when_it_is_committed(database: TestedDatabase) -> None:
    async def story(found: Database) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with found.pool.acquire() as listener:
            await listener.add_listener("tollgate_outbox", lambda *_: heard.put_nowait("row"))
            async with changing(found) as tx:
                await audited(tx)
                await tx.write()
                assert heard.empty()
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await heard.get() == "row"
            await listener.reset(timeout=5)

    database.run(story, role=APP)


# -- others in the way ------------------------------------------------------------------------------------------------


def test_changes_that_get_in_each_others_way_are_tried_again_and_count_once(database: TestedDatabase) -> None:
    tries = 0

    async def add(tx: Change) -> int:
        nonlocal tries
        tries += 1
        found = await tx.fetchval("SELECT count(*) FROM office.calendar")
        await tx.execute("INSERT INTO office.calendar VALUES ('2026-01-01'::date + $1::integer, 'day_off')", found)
        await audited(tx, f"L{found}")
        return int(found)

    async def story(found: Database) -> None:
        both = (in_change(found.pool, add, actor="x", reason="y", at=AT) for _ in range(2))
        assert sorted(await asyncio.gather(*both)) == [0, 1]
        assert await rows(found, "SELECT entity_id FROM plumbing.audit ORDER BY seq") == [("L0",), ("L1",)]

    database.run(story, role=APP)
    assert tries >= 2


def test_an_attempt_that_never_gets_through_ends_and_other_errors_are_not_tried_again(
    database: TestedDatabase,
) -> None:
    tries: list[type[Exception]] = []

    def failing(error: type[Exception]) -> Callable[[Change], Awaitable[None]]:
        async def work(tx: Change) -> None:
            await audited(tx)
            tries.append(error)
            raise error

        return work

    async def story(found: Database) -> None:
        for error in (asyncpg.SerializationError, Away):
            with pytest.raises(error):
                await in_change(found.pool, failing(error), actor="x", reason="y", at=AT)
        assert await found.pool.fetchval("SELECT count(*) FROM plumbing.audit") == 0

    database.run(story, role=APP)
    assert tries == [asyncpg.SerializationError] * ATTEMPTS + [Away]


@asynccontextmanager
async def cut_at(word: bytes, database: TestedDatabase, folder: Path) -> AsyncIterator[DatabaseSettings]:
    """Settings for a line to the database that is cut when the client says a word. The server still hears it."""

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, last: bytes | None) -> None:
        while data := await source.read(65536):
            target.write(data)
            if last is not None and last in data:
                return

    async def forward(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        replies, server = await asyncio.open_unix_connection(database.server.socket_dir / ".s.PGSQL.5432")
        ways = {asyncio.create_task(pump(client, server, word)), asyncio.create_task(pump(replies, answers, None))}
        _, still = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in still:
            way.cancel()
        server.close()
        answers.transport.abort()
        await asyncio.gather(*still, server.wait_closed(), return_exceptions=True)

    async with await asyncio.start_unix_server(forward, folder / ".s.PGSQL.5432"):
        yield replace(database.settings, dsn=f"postgresql://postgres@/{database.name}?host={folder}&port=5432")


def test_a_line_that_is_cut_at_the_commit_leaves_the_outcome_unknown(database: TestedDatabase, folder: Path) -> None:
    async def story() -> None:
        async with cut_at(b"COMMIT;", database, folder) as settings, open_database(settings, role=APP) as found:
            with pytest.raises(OutcomeUnknown, match="lost while the change was committed"):
                async with changing(found) as tx:
                    await audited(tx)

    async def there(found: Database) -> None:
        async def committed() -> bool:
            return bool(await found.pool.fetchval("SELECT count(*) FROM plumbing.audit"))

        await holds(found, committed)
        assert await rows(found, "SELECT a.seq, o.seq FROM plumbing.audit a, plumbing.outbox o") == [(1, 1)]

    asyncio.run(story())
    database.run(there)


def test_a_line_that_is_cut_behind_the_commit_takes_nothing_back(database: TestedDatabase, folder: Path) -> None:
    async def one(found: Database) -> None:
        async with changing(found) as tx:
            await audited(tx)

    async def story() -> None:
        # The pool's words when a connection comes back to it.
        word = b"pg_advisory_unlock_all"
        async with cut_at(word, database, folder) as settings, open_database(settings, role=APP) as found:
            await one(found)

    async def there(found: Database) -> None:
        assert await rows(found, "SELECT a.seq, o.seq FROM plumbing.audit a, plumbing.outbox o") == [(1, 1)]

    asyncio.run(story())
    database.run(there)


def test_a_line_that_is_cut_before_the_commit_leaves_nothing(database: TestedDatabase, folder: Path) -> None:
    async def story() -> None:
        word = b"INSERT INTO plumbing.outbox"
        async with cut_at(word, database, folder) as settings, open_database(settings, role=APP) as found:
            with pytest.raises(asyncpg.PostgresConnectionError):
                async with changing(found) as tx:
                    await audited(tx)

    async def nothing(found: Database) -> None:
        assert await found.pool.fetchval("SELECT count(*) FROM plumbing.audit") == 0
        assert await found.pool.fetchval("SELECT count(*) FROM plumbing.outbox") == 0

    asyncio.run(story())
    database.run(nothing)
