"""The jobs that look after the record, and `tollgate nightly` as an operator starts it."""

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from postgres import TestedDatabase
from projected import NOON_US, ZONE, operator, project
from test_nightly import at, nights, set_to, states

from backoffice.nightly import Job
from connectors import tokens
from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.nightly import Result, Work
from connectors.nightly.housekeeping import AUDIT, LOCKS, PARTITIONS, SESSIONS
from connectors.nightly.jobs import JOBS
from connectors.postgres.database import APP, Database, open_database
from connectors.settings import NightlySettings
from schemas.times import to_datetime

THE_DAY = to_datetime(NOON_US).date()
"""Of the projected operator's calls."""


async def done(db: Database, job: Job[Work], today: date, **settings: Any) -> Result:
    (result,) = await (await nights(db, job, today=today, settings=NightlySettings(**settings))).run(by="test")
    return result


# -- the audit --------------------------------------------------------------------------------------------------------


async def meddle(database: TestedDatabase, statement: str) -> None:
    """Changes rows behind everyone's back."""
    owner = await asyncpg.connect(database.dsn)
    try:
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(statement)
    finally:
        await owner.close()


def test_the_audit_proves_the_books_and_fails_when_a_micro_is_wrong(database: TestedDatabase) -> None:
    assert ZONE == "Europe/Moscow"

    async def story(db: Database) -> None:
        async with open_database(database.settings, role=APP) as office, operator() as op:
            await project(op, db)
            first = await done(office, AUDIT, THE_DAY + timedelta(days=1))
            assert (first.state, first.error) == ("done", None), first.report.notes
            assert first.report.counts["errors"] == 0
            assert first.report.counts["accounts"] > 0
            compared = first.report.counts["rated_cdrs_compared"]
            assert compared == await office.pool.fetchval("SELECT count(*) FROM facts.rated_cdrs")

            await meddle(
                database,
                "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE ctid ="
                " (SELECT ctid FROM books.transfers WHERE cause = 'rated_cdr' AND account_id IS NOT NULL LIMIT 1)",
            )
            second = await done(office, AUDIT, THE_DAY + timedelta(days=2))
            assert second.state == "failed"
            assert "the books are not as they should be" in (second.error or "")
            assert second.report.counts["errors"] >= 1
            assert any("error" in note and "account" in note for note in second.report.notes), second.report.notes
            # It is asked again, and says the same until it is right.
            again = await done(office, AUDIT, THE_DAY + timedelta(days=2))
            assert (again.state, again.report) == ("failed", second.report)

    database.run(story, role="tollgate_projector")


@pytest.mark.parametrize(("proved", "compares"), [(1, True), (2, False)])
def test_the_audit_looks_at_single_rows_since_the_day_that_the_last_proof_closed(
    database: TestedDatabase, proved: int, *, compares: bool
) -> None:
    async def story(db: Database) -> None:
        async with open_database(database.settings, role=APP) as office, operator() as op:
            await done(office, AUDIT, THE_DAY + timedelta(days=proved))  # while the record is empty
            await project(op, db)

            later = await done(office, AUDIT, THE_DAY + timedelta(days=40))

            assert later.state == "done", later.report.notes
            there = await office.pool.fetchval("SELECT count(*) FROM facts.rated_cdrs")
            assert later.report.counts.get("rated_cdrs_compared", 0) == (there if compares else 0)
            # Sums are of all days.
            assert later.report.counts["accounts"] > 0

    database.run(story, role="tollgate_projector")


def test_the_audit_fails_where_the_audit_log_was_touched(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await done(db, LOCKS, date(2026, 11, 29))
        await set_to(db.pool, at(date(2026, 11, 30)))
        await db.pool.execute(
            "INSERT INTO plumbing.audit (seq, change_id, at, actor, action, entity, entity_id, reason, prev_hash, hash)"
            " VALUES (0, 1, now(), 'x', 'made', 'lock', 'L1', 'why', '', '')"
        )
        await meddle(database, "UPDATE plumbing.audit SET reason = 'another'")

        found = await done(db, AUDIT, date(2026, 11, 30))

        assert found.state == "failed"
        assert found.report.notes == ("error audit log plumbing.audit row 1: it was changed",)

    database.run(story, role=APP)


# -- months -----------------------------------------------------------------------------------------------------------


async def months(db: Database, parent: str = "facts.decisions") -> list[str]:
    rows = await db.pool.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass", parent
    )
    return sorted(row[0].rpartition(f"{parent.partition('.')[2]}_")[2] for row in rows)


def test_the_months_to_come_are_there_before_they_come(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        first = await done(db, PARTITIONS, date(2026, 11, 30))
        second = await done(db, PARTITIONS, date(2026, 12, 1))

        assert first.report.counts == {"partitions_made": 12}
        assert second.report.counts == {"partitions_made": 4}
        for parent in ("facts.attempts", "facts.decisions", "facts.rated_cdrs", "books.transfers"):
            assert await months(db, parent) == ["2026_11", "2026_12", "2027_01", "2027_02"]

    database.run(story, role=APP)


def test_old_months_are_forgotten_only_where_the_settings_say_so_and_never_the_books(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        old = [date(2024, 6, 1), date(2024, 7, 1), date(2024, 8, 1)]
        await db.pool.execute("SELECT facts.ensure_month(m), books.ensure_month(m) FROM unnest($1::date[]) m", old)
        assert (await done(db, PARTITIONS, date(2026, 11, 29))).report.counts == {"partitions_made": 12}
        assert "2024_06" in await months(db)

        # 27 months: from August 2024 on.
        found = await done(db, PARTITIONS, date(2026, 11, 30), keep_decisions_months=27)

        assert found.state == "done", found.error
        assert found.report.counts["partitions_forgotten"] == 4
        assert [note.partition(":")[0] for note in found.report.notes] == [
            *("facts.attempts_2024_06", "facts.decisions_2024_06"),
            *("facts.attempts_2024_07", "facts.decisions_2024_07"),
        ]
        for parent in ("facts.attempts", "facts.decisions"):
            assert (await months(db, parent))[0] == "2024_08"
        for parent in ("facts.rated_cdrs", "books.transfers"):
            assert (await months(db, parent))[0] == "2024_06"
        rows = await db.pool.fetch(
            "SELECT entity_id, action FROM plumbing.audit WHERE entity = 'partition' ORDER BY seq"
        )
        assert [tuple(row) for row in rows][:2] == [
            ("facts.attempts_2024_06", "forgotten"),
            ("facts.decisions_2024_06", "forgotten"),
        ]

    database.run(story, role=APP)


def test_months_of_the_last_year_stay_whatever_anybody_asks(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        now = datetime.now(UTC).date().replace(day=1)
        young = (now - timedelta(days=300)).replace(day=1)
        await db.pool.execute("SELECT facts.ensure_month($1)", young)
        await db.pool.execute("SELECT facts.ensure_month('2020-01-01')")
        for name in (f"decisions_{young:%Y_%m}", "rated_cdrs_2020_01", "balances", 'x"; DROP TABLE facts.ncv; --'):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is no month of attempts or decisions"):
                await db.pool.execute("SELECT facts.forget_month($1)", name)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.pool.execute("DROP TABLE facts.decisions_2020_01")

        # A business clock that is years ahead does not make them older.
        far = now.replace(year=now.year + 5)
        found = await done(db, PARTITIONS, far, keep_decisions_months=12)

        assert found.state == "done", found.error
        assert f"{young:%Y_%m}" in await months(db)
        assert "2020_01" not in await months(db)

    database.run(story, role=APP)


# -- what has expired -------------------------------------------------------------------------------------------------


def test_what_has_expired_is_forgotten_and_what_has_not_stays(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        now = datetime.now(UTC)
        ago = {days: now - timedelta(days=days) for days in (1, 2, 89, 91, 200)}
        for name, expires in (("old", ago[2]), ("fresh", now + timedelta(days=2)), ("none", None)):
            hashed = None if expires is None else tokens.hash_of(name)
            await db.pool.execute(
                "INSERT INTO access.users (name, role, full_name, token_hash, token_expires_at, created_at, created_by)"
                " VALUES ($1, 'support', 'Имя', $2, $3, $4, 'test')",
                *(name, hashed, expires, ago[200]),
            )
        for number, expires in enumerate((ago[89], ago[91], now + timedelta(hours=1))):
            await db.pool.execute(
                "INSERT INTO access.sessions (session_id, token_hash, user_name, created_at, used_at, expires_at)"
                " VALUES ($1, $2, 'fresh', $3, $3, $4)",
                *(str(number), tokens.hash_of(str(number)), ago[200], expires),
            )
        await db.pool.execute(
            "INSERT INTO plumbing.idempotency_keys (user_id, key, request_hash, at)"
            " SELECT 'fresh', 'old' || n, 'x'::bytea, $1::timestamptz FROM generate_series(1, 12000) n"
            " UNION ALL SELECT 'fresh', 'new', 'x', $2::timestamptz",
            *(ago[2], now - timedelta(hours=23)),
        )
        await db.pool.execute(
            "INSERT INTO access.failed_logins VALUES ('a', 3, $1, $1), ('b', 3, $2, $2), ('c', 9, $1, $3)",
            *(ago[2], now - timedelta(hours=1), now + timedelta(minutes=1)),
        )

        found = await done(db, SESSIONS, date(2026, 11, 30))

        assert found.report.counts == {"sessions": 1, "answers": 12_000, "failed_logins": 1, "tokens": 1}
        ids = [row[0] for row in await db.pool.fetch("SELECT session_id FROM access.sessions ORDER BY 1")]
        assert ids == ["0", "2"]
        assert [row[0] for row in await db.pool.fetch("SELECT key FROM plumbing.idempotency_keys")] == ["new"]
        assert [row[0] for row in await db.pool.fetch("SELECT subject FROM access.failed_logins ORDER BY 1")] == [
            "b",
            "c",
        ]
        rows = await db.pool.fetch("SELECT name FROM access.users WHERE token_hash IS NOT NULL")
        assert [row[0] for row in rows] == ["fresh"]
        audit = await db.pool.fetchrow("SELECT * FROM plumbing.audit WHERE entity = 'user'")
        assert audit is not None
        assert (audit["entity_id"], audit["action"], audit["actor"]) == ("old", "token expired", "tollgate")

    database.run(story, role=APP)


def test_locks_whose_time_is_over_are_lifted_and_the_engine_is_told(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        past, future = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(days=30)
        await db.pool.execute(
            "INSERT INTO access.users (name, role, full_name, created_at, created_by)"
            " VALUES ('boss', 'manager', 'Имя', $1, 'test')",
            past,
        )
        for lock_id, digits, ends_at in (("L1", "381", past), ("L2", "382", future), ("L3", "383", None)):
            await insert_lock(database, lock_id, digits, ends_at)

        found = await done(db, LOCKS, datetime.now(UTC).date() + timedelta(days=1))

        assert found.report.counts == {"lifted": 1}
        assert found.report.notes == ("lock L1 of boss",)
        rows = await db.pool.fetch("SELECT lock_id FROM office.locks WHERE lifted_at IS NULL ORDER BY 1")
        assert [row[0] for row in rows] == ["L2", "L3"]
        out = await db.pool.fetch("SELECT kind, key, payload FROM plumbing.outbox")
        assert [tuple(row) for row in out] == [("lock", "L1", None)]

    database.run(story, role=APP)


async def insert_lock(database: TestedDatabase, lock_id: str, digits: str, ends_at: datetime | None) -> None:
    """As the owner: the author's approval is not what this is about."""
    long_ago = datetime.now(UTC) - timedelta(days=3)
    owner = await asyncpg.connect(database.dsn)
    try:
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(
            "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, ends_at,"
            " changed_at, changed_by, change_reason)"
            " VALUES ($1, 'prefix', $2, 'boss', 'why', $3, $4, $3, 'boss', 'why')",
            *(lock_id, digits, long_ago, ends_at),
        )
    finally:
        await owner.close()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def office(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestedDatabase:
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.setenv("TOLLGATE_HTTP_SETTABLE_CLOCK", "true")
    monkeypatch.setenv("TOLLGATE_DATABASE_POOL_SIZE", "1")
    monkeypatch.chdir(tmp_path)
    database.run(lambda db: set_to(db.pool, at(date(2026, 11, 30))), role=APP)
    return database


def tollgate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    code = app(["nightly", *words], exit_on_error=False, result_action="return_value")
    return code, capsys.readouterr().out


def refused(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        app(["nightly", *words], exit_on_error=False, result_action="return_value")
    return str(caught.value)


def test_nightly_does_all_jobs_once_and_says_what_they_did(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = tollgate(capsys, "--date", "2026-11-29", "--json")
    found = json.loads(text)
    assert code == 0
    assert [one["job"] for one in found] == [job.name for job in JOBS]
    assert {one["state"] for one in found} == {"done"}
    assert {one["day"] for one in found} == {"2026-11-29"}

    assert tollgate(capsys, "--date", "2026-11-29") == (0, "nothing is due: all of it is done\n")
    code, text = tollgate(capsys, "--job", "locks")
    assert code == 0
    assert "2026-11-30" in text
    assert "audit" not in text

    code, text = tollgate(capsys, "--list", "--json")
    last = {one["job"]: one["last_done"] for one in json.loads(text)}
    assert (last["locks"], last["audit"]) == ("2026-11-30", "2026-11-29")
    code, text = tollgate(capsys, "--list")
    assert code == 0
    assert all(job.name in text for job in JOBS)


def test_a_job_that_fails_makes_the_exit_code_1_and_is_named(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(meddle(office, "UPDATE plumbing.audit_head SET seq = seq + 1"))

    code, text = tollgate(capsys)

    assert code == 1
    assert "failed" in text
    assert "rows after the last one are missing" in text
    assert office.run(lambda db: states(db.pool))[30, "audit"] == "failed"


def test_what_can_not_be_done_is_refused_with_what_is_wrong(office: TestedDatabase) -> None:
    assert refused("--date", "2026-12-01") == "--date: 2026-12-01 has not begun: it is 2026-11-30 by the business clock"
    assert refused("--job", "x") == f"there is no job 'x'; there are {', '.join(job.name for job in JOBS)}"
    assert refused("--wait", "--date", "2026-11-30") == "--wait does not go with --date"
    assert refused("--list", "--job", "audit") == "--list does not go with --job"
    assert refused("--list", "--wait") == "--list does not go with --wait"
    assert "reports in its log" in refused("--wait", "--json")


def test_another_process_at_work_is_told(office: TestedDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    async def story(db: Database) -> None:
        nightly = await nights(db, *JOBS, today=date(2026, 11, 30))
        async with nightly.turn():
            code = await asyncio.to_thread(
                lambda: app(["nightly", "--give-up"], exit_on_error=False, result_action="return_value")
            )
            assert code == 1
        assert await states(db.pool) == {}

    office.run(story, role=APP)
    assert "another process works" in capsys.readouterr().err


def test_nightly_waits_for_its_hour_shows_its_numbers_and_stops_when_told(office: TestedDatabase) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "from connectors.cli import main; main()", "nightly", "--wait"],
        env={
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TOLLGATE_DATABASE_DSN": office.dsn,
            "TOLLGATE_HTTP_SETTABLE_CLOCK": "true",
            "TOLLGATE_METRICS_PORT": "0",
            "TOLLGATE_NIGHTLY_AT": "11:59",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:

        async def story(db: Database) -> None:
            async with asyncio.timeout(120):
                while list((await states(db.pool)).values()) != ["done"] * len(JOBS):
                    assert child.poll() is None, child.communicate()[1]
                    await asyncio.sleep(0.05)

        office.run(story)  # at noon in Moscow
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=60)[1]
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 0, said
    assert "nights begin at 11:59 (Europe/Moscow)" in said
    assert "audit of 2026-11-30: done" in said
    assert said.rstrip().endswith("stopped")
