"""The projector: everything that the engine says gets into the database, once, whatever happens on the way."""

import asyncio
import json
import logging
import os
import signal
from typing import Any

import asyncpg
import pytest
from projected import (
    BALANCES,
    CDRS,
    COMMANDS,
    DAY_US,
    DECISIONS,
    MOVEMENTS,
    NCV,
    NOON_US,
    NOTICES,
    RATED,
    REJECTED,
    Operator,
    TrappedPool,
    assert_all_is_there_once,
    balances_by_books,
    behind,
    caught_up,
    lines,
    operator,
    project,
    started,
    store,
    until,
)

from backoffice import books
from connectors.broker import TopicPartition, UnknownTopic
from connectors.memory import MemoryBroker
from connectors.postgres.database import Database
from connectors.postgres.facts import READ
from connectors.postgres.facts_store import MAY_BE_BAD, Unwritable
from connectors.projector import GROUP, Unobserved
from schemas import topics

PROJECTOR = "tollgate_projector"

STEPS = (
    "advance",
    "attempts",
    "decisions",
    "rated_cdrs",
    "movements",
    "rejected",
    "notices",
    "transfers",
    "balances",
    "ncv",
    "commands_applied",
    "commit",
)


class Watching(Unobserved):
    """Keeps what the projector tells."""

    def __init__(self) -> None:
        self.written = self.times_away = 0
        self.overtaken_in: list[int] = []

    def observe(self, batch: Any) -> None:
        self.written += len(batch.records)

    def away(self) -> None:
        self.times_away += 1

    def overtaken(self, partition: int) -> None:
        self.overtaken_in.append(partition)


class Killed(BaseException):
    """What a projector that is killed sees last."""


# The way of a record


def test_everything_that_the_engine_says_gets_into_the_database(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)

            await assert_all_is_there_once(op, db)
            for table in ("attempts", "decisions", "rated_cdrs", "movements", "balances", "ncv", "rejected", "notices"):
                assert await db.pool.fetchval(f"SELECT count(*) FROM facts.{table}") > 0
            for table in ("gaps", "unprojected"):
                assert await db.pool.fetchval(f"SELECT count(*) FROM facts.{table}") == 0

    database.run(story, role=PROJECTOR)


def test_what_comes_later_is_added(database):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            made = await started(op, db.pool)
            for _ in range(10):
                await caught_up(op, made)
                await assert_all_is_there_once(op, db)
                await op.work(60)
            await made.close()

    database.run(story, role=PROJECTOR)


def test_who_called_whom_stands_beside_the_decision(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)

            asked = {}
            for line in lines():
                try:
                    event = json.loads(line.value)
                except ValueError:
                    continue
                if isinstance(event, dict) and event.get("type") == "call_attempt":
                    asked.setdefault(event["attempt_id"], event)
            rows = await db.pool.fetch(
                # The first that came: another one with its id was rejected.
                "SELECT DISTINCT ON (d.attempt_id) d.attempt_id, a.caller, a.called, a.service FROM facts.decisions d"
                " JOIN facts.attempts a USING (attempt_id, at, source_partition)"
                " WHERE d.copy = 0 AND d.extension = 0 AND a.kind = 'call_attempt'"
                " ORDER BY d.attempt_id, a.source_offset"
            )
            assert len({row["attempt_id"] for row in rows}) == len({one["attempt_id"] for one in op.told(DECISIONS)})
            for row in rows:
                event = asked[row["attempt_id"]]
                assert (row["caller"], row["called"], row["service"]) == (
                    event.get("caller"),
                    event["called"],
                    event["service"],
                )

    database.run(story, role=PROJECTOR)


def test_why_a_call_was_denied_can_be_searched_for(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)

            rows = await db.pool.fetch("SELECT reason, lock_id, record FROM facts.decisions WHERE NOT allow")
            assert rows
            for row in rows:
                reason = json.loads(row["record"])["reason"]
                assert (row["reason"], row["lock_id"]) == (reason["code"], reason.get("lock_id"))

    database.run(story, role=PROJECTOR)


def test_a_rejected_event_is_kept_with_its_bytes_and_what_it_names(database):
    event = {"type": "payment", "command_id": "p-1", "account_id": "nobody", "at": "2026-11-24T12:00:00.000Z"}
    event |= {"amount_micros": 5}

    async def story(db: Database) -> None:
        async with operator(1) as op:
            await op.take(COMMANDS, 0, event, at_us=NOON_US)
            await op.take(COMMANDS, 0, b"{nothing", at_us=NOON_US)
            await project(op, db)

            rows = await db.pool.fetch("SELECT * FROM facts.rejected ORDER BY source_partition, source_offset")
            named = next(row for row in rows if row["event_id"])
            assert (named["event_id"], named["account_id"], named["reason"]) == ("p-1", "nobody", "unknown_account")
            assert (named["topic"], json.loads(named["payload"])) == (COMMANDS, event)
            broken = next(row for row in rows if row["reason"] == "malformed")
            assert (broken["payload"], broken["event_id"]) == (b"{nothing", None)

    database.run(story, role=PROJECTOR)


def test_text_that_the_database_can_not_hold_stays_in_the_bytes(database):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            rated = next(one for one in op.told(RATED) if one["retail"] and one["retail"]["amount_micros"])
            op.forge(RATED, rated | {"cdr_id": "nul\x00", "cause": "a\x00b", "service": "odd\x00"})
            await project(op, db)

            row = await db.pool.fetchrow("SELECT * FROM facts.rated_cdrs WHERE cdr_id = 'nul\ufffd'")
            assert (row["cause"], row["service"]) == ("a\ufffdb", "odd\ufffd")
            assert json.loads(row["record"])["cdr_id"] == "nul\x00"
            assert await db.pool.fetchval("SELECT count(*) FROM books.accounts WHERE owner = 'odd\ufffd'") > 0

    database.run(story, role=PROJECTOR)


# Faults


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_projector_that_is_killed_at_any_step_leaves_nothing_half_done(database, step, when):
    async def story(db: Database) -> None:
        fatal = [f"{when} {step}"]

        async def trap(name: str, connection: Any) -> None:
            if name in fatal:
                fatal.remove(name)
                raise Killed

        async with operator() as op:
            victim = await started(op, TrappedPool(db.pool, trap))
            with pytest.raises(Killed):
                await until(lambda: False, victim)
            op.broker.expire(op.broker.consumers(GROUP)[0])
            before = await db.pool.fetchval("SELECT sum(next_offset) FROM facts.offsets") or 0

            await project(op, db)

            assert not fatal
            assert before < sum(record.offset + 1 for record in op.said(DECISIONS)) * 10
            await assert_all_is_there_once(op, db)

    database.run(story, role=PROJECTOR)


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_is_lost_at_any_step_is_made_anew(database, step):
    async def story(db: Database) -> None:
        fatal = [f"before {step}", f"after {step}"]

        async def trap(name: str, connection: Any) -> None:
            if name in fatal:
                fatal.remove(name)
                pid = connection.get_server_pid()
                owner = await asyncpg.connect(database.dsn)
                await owner.execute("SELECT pg_terminate_backend($1)", pid)
                await owner.close()
                if name == "after commit":
                    raise ConnectionResetError("the answer was lost")

        async with operator() as op:
            watching = Watching()
            made = await started(op, TrappedPool(db.pool, trap), observer=watching)
            await caught_up(op, made)

            assert not fatal
            assert watching.times_away == 2
            assert watching.overtaken_in == []
            await assert_all_is_there_once(op, db)
            await made.close()

    database.run(story, role=PROJECTOR)


def test_while_the_database_is_away_it_is_said_once_and_everything_arrives_when_it_is_back(database, caplog):
    async def story(db: Database) -> None:
        down = True

        async def trap(name: str, connection: Any) -> None:
            if down and name.startswith("before"):
                raise ConnectionRefusedError("nobody listens")

        async with operator() as op:
            watching = Watching()
            made = await started(op, TrappedPool(db.pool, trap), observer=watching)
            await until(lambda: watching.times_away >= 8, made)
            assert made.database_away
            assert not made.ready

            down = False
            await caught_up(op, made)

            assert made.ready
            await assert_all_is_there_once(op, db)
            await made.close()

    with caplog.at_level(logging.INFO, logger="tollgate.projector"):
        database.run(story, role=PROJECTOR)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_database_that_is_killed_gets_everything_when_it_is_back(mortal_postgres):
    """What it had not on its disk is gone with the position, and read again."""

    async def story(db: Database) -> None:
        async with operator(400) as op:
            watching = Watching()
            made = await started(op, db.pool, observer=watching, max_records=40)
            for kill_at in (200, 500, 900):
                await until(lambda enough=kill_at: watching.written >= enough, made)
                pid = mortal_postgres.server.pid()
                os.kill(pid, signal.SIGKILL)
                before = watching.times_away
                await op.work(130)
                await until(lambda so_many=before: watching.times_away > so_many, made)
                await asyncio.to_thread(mortal_postgres.server.start)
            await op.work()
            await caught_up(op, made)
            await assert_all_is_there_once(op, db)
            await made.close()

    mortal_postgres.run(story, role=PROJECTOR)


def test_a_projector_stops_though_the_database_is_away(database):
    async def story(db: Database) -> None:
        waiting = asyncio.Event()

        async def trap(name: str, connection: Any) -> None:
            waiting.set()
            raise ConnectionRefusedError("nobody listens")

        async with operator(100) as op:
            made = await started(op, TrappedPool(db.pool, trap))
            running = asyncio.create_task(made.run())
            await waiting.wait()
            made.stop()
            async with asyncio.timeout(30):
                await running

    database.run(story, role=PROJECTOR)


def test_of_two_projectors_that_take_themselves_for_the_owner_one_writes(database):
    async def story(db: Database) -> None:
        frozen, thawed = asyncio.Event(), asyncio.Event()

        async def trap(name: str, connection: Any) -> None:
            if name == "before advance":
                frozen.set()
                await thawed.wait()

        async with operator(400) as op:
            watching = Watching()
            zombie = await started(op, TrappedPool(db.pool, trap), observer=watching)
            await until(frozen.is_set, zombie)
            op.broker.expire(op.broker.consumers(GROUP)[0])
            await op.work(200)
            successor = await started(op, db.pool)
            await caught_up(op, successor)
            thawed.set()
            # It goes on where it was, before it hears that the group has moved on.
            await zombie.finish()

            assert sorted(watching.overtaken_in) == [0, 1, 2, 3]
            await op.work()
            await until(lambda: len(zombie.partitions) == len(successor.partitions) == 2, zombie, successor)
            await caught_up(op, zombie, successor)
            await assert_all_is_there_once(op, db)
            await zombie.close()
            await successor.close()

    database.run(story, role=PROJECTOR)


def test_a_projector_that_freezes_within_a_transaction_does_not_keep_its_successor_out_for_long(database):
    async def story(db: Database) -> None:
        frozen, thawed = asyncio.Event(), asyncio.Event()

        async def trap(name: str, connection: Any) -> None:
            if name == "after advance":
                frozen.set()
                await thawed.wait()

        async with operator(400) as op:
            watching = Watching()
            zombie = await started(op, store(TrappedPool(db.pool, trap), patience_seconds=0.2), observer=watching)
            await until(frozen.is_set, zombie)
            op.broker.expire(op.broker.consumers(GROUP)[0])
            await op.work()
            await project(op, db)
            thawed.set()
            await zombie.finish()

            assert watching.times_away > 0
            assert sorted(watching.overtaken_in) == [0, 1, 2, 3]
            await assert_all_is_there_once(op, db)
            await zombie.close()

    database.run(story, role=PROJECTOR)


def test_projectors_that_come_and_go_share_the_partitions(database):
    async def story(db: Database) -> None:
        async with operator(200) as op:
            one = await started(op, db.pool)
            await caught_up(op, one)
            other = await started(op, db.pool)
            await op.work(300)
            await until(lambda: len(one.partitions) == len(other.partitions) == 2, one, other)
            await caught_up(op, one, other)
            await one.close()
            await op.work()
            await caught_up(op, other)

            assert other.partitions == {0, 1, 2, 3}
            await assert_all_is_there_once(op, db)
            await other.close()

    database.run(story, role=PROJECTOR)


# What is wrong with records


def test_a_record_that_no_engine_wrote_is_laid_aside_and_the_others_go_on(database, caplog):
    async def story(db: Database) -> None:
        async with operator(400) as op:
            bad = [b"{nothing", b'{"type":"call_decision"}', b'{"type":"traffic"}', b""]
            for value in bad:
                op.forge(DECISIONS, value)
            op.forge(RATED, {**op.told(RATED)[0], "ended_at": "1999-12-31T23:59:59.000Z"})
            # One that the program can read and the table can't hold.
            op.forge(NCV, {**op.told(NCV)[0], "calls": 2**40}, key=b"1")
            await op.work()
            await project(op, db)

            rows = await db.pool.fetch("SELECT topic, value, why FROM facts.unprojected ORDER BY source_offset")
            assert len(rows) == 6
            assert [row["value"] for row in rows if row["topic"] == DECISIONS] == bad
            assert all(row["why"] for row in rows)
            assert "out of int32 range" in next(row["why"] for row in rows if row["topic"] == NCV)
            found = await db.pool.fetchval("SELECT count(*) FROM facts.decisions")
            assert found == len(op.said(DECISIONS)) - len(bad)

    database.run(story, role=PROJECTOR)

    assert any("6 records can't be stored" in record.message for record in caplog.records)


def test_what_was_laid_aside_is_written_when_the_program_can(database, monkeypatch):
    async def story(db: Database) -> None:
        async with operator(400) as op:
            op.forge(DECISIONS, b"{nothing")
            call = next(one for one in op.told(RATED) if one["retail"] and one["retail"]["amount_micros"])
            await op.work()

            # A program that can't read this call.
            def fail(*arguments: Any) -> None:
                if arguments[1:] == (call["service"], call["retail"]["amount_micros"]):
                    raise ValueError("what kind of service is that?")
                return of_sale(*arguments)

            of_sale = books.of_sale
            monkeypatch.setattr(books, "of_sale", fail)
            await project(op, db)
            monkeypatch.undo()
            aside = await db.pool.fetchval("SELECT count(*) FROM facts.unprojected")
            assert aside > 1

            assert await store(db.pool).write_laid_aside() == (aside - 1, 1)
            assert await db.pool.fetchval("SELECT topic FROM facts.unprojected") == DECISIONS
            assert await db.pool.fetchval("SELECT count(*) FROM facts.rated_cdrs") == len(op.said(RATED))
            last = {one["account_id"]: one["balance_micros"] for one in op.told(BALANCES)}
            booked = await balances_by_books(db)
            assert booked == {account_id: last[account_id] for account_id in booked}

    database.run(story, role=PROJECTOR)


def test_when_too_much_can_not_be_stored_the_projector_ends_and_leaves_it_where_it_is(database):
    async def story(db: Database) -> None:
        async with operator(100) as op:
            for number in range(MAY_BE_BAD + 1):
                op.forge(NCV, {**NUMBER, "number": str(number), "calls": 2**40}, key=str(number).encode())
            made = await started(op, db.pool)
            with pytest.raises(Unwritable, match=r"number-ncv-0 at \d+: .*int32"):
                await until(lambda: False, made)
            await made.close()

            assert await db.pool.fetchval("SELECT count(*) FROM facts.unprojected") == 0
            there = await db.pool.fetchval(
                "SELECT next_offset FROM facts.offsets WHERE topic = $1 AND partition = 0", NCV
            )
            assert there == 0

    database.run(story, role=PROJECTOR)


NUMBER = {
    "type": "number_ncv",
    "day": "2026-11-24",
    "unique_callers": 1,
    "first_at": "2026-11-24T12:00:00.000Z",
    "last_at": "2026-11-24T12:00:00.000Z",
}


def test_a_cdr_that_is_charged_once_more_days_later_is_kept_as_a_copy_and_booked_twice(database):
    """The engine has forgotten the id by then and has taken the money: the books must say so, and the copy be found."""

    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            rated = next(one for one in op.told(RATED) if one["retail"] and one["retail"]["amount_micros"])
            line = next(line for line in lines() if f'"cdr_id":"{rated["cdr_id"]}"'.encode() in line.value)
            await op.take(CDRS, line.partition, line.value, at_us=NOON_US + 2 * DAY_US)
            await project(op, db)

            rows = await db.pool.fetch(
                "SELECT copy, source_offset FROM facts.rated_cdrs WHERE cdr_id = $1 ORDER BY copy", rated["cdr_id"]
            )
            assert [row["copy"] == 0 for row in rows] == [True, False]
            booked = "SELECT amount_micros FROM books.transfers WHERE cause_id = $1 AND account_id IS NOT NULL"
            amounts = [row[0] for row in await db.pool.fetch(booked, rated["cdr_id"])]
            assert amounts == [rated["retail"]["amount_micros"]] * 2
            balance = next(
                one["balance_micros"] for one in reversed(op.told(BALANCES)) if one["account_id"] == rated["account_id"]
            )
            assert (await balances_by_books(db))[rated["account_id"]] == balance

    database.run(story, role=PROJECTOR)


def test_ids_that_come_twice_in_one_batch_are_told_apart(database):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            decision, movement = op.told(DECISIONS)[0], next(one for one in op.told(MOVEMENTS) if one["command_id"])
            for _ in range(2):
                op.forge(DECISIONS, decision | {"attempt_id": "twice"})
                op.forge(DECISIONS, decision | {"attempt_id": "twice", "repeated": True})
                op.forge(MOVEMENTS, movement | {"command_id": "twice"})
            await project(op, db)

            rows = await db.pool.fetch("SELECT copy, repeated FROM facts.decisions WHERE attempt_id = 'twice'")
            assert sorted((row["copy"] == 0, row["repeated"]) for row in rows) == [
                (False, False),
                (False, True),
                (False, True),
                (True, False),
            ]
            rows = await db.pool.fetch("SELECT copy FROM facts.movements WHERE cause_id = 'twice'")
            assert sorted(row["copy"] == 0 for row in rows) == [False, True]

    database.run(story, role=PROJECTOR)


def test_each_month_has_a_partition_of_its_own_made_before_its_first_row(database):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            rated = next(one for one in op.told(RATED) if one["retail"] and one["retail"]["amount_micros"])
            # 21:00 UTC is midnight in Moscow: the call belongs to one month, its money to the next.
            for name, ended_at in (("late", "2026-12-31T21:00:00.000Z"), ("east", "2027-02-01T01:00:00+03:00")):
                op.forge(RATED, rated | {"cdr_id": name, "ended_at": ended_at})
            await project(op, db)

            where = "SELECT tableoid::regclass::text FROM facts.rated_cdrs WHERE cdr_id = $1"
            assert await db.pool.fetchval(where, "late") == "facts.rated_cdrs_2026_12"
            assert await db.pool.fetchval(where, "east") == "facts.rated_cdrs_2027_01"
            days = await db.pool.fetch(
                "SELECT cause_id, day::text, tableoid::regclass::text AS there FROM books.transfers"
                " WHERE cause_id IN ('late', 'east') AND account_id IS NOT NULL"
            )
            assert {tuple(row) for row in days} == {
                ("late", "2027-01-01", "books.transfers_2027_01"),
                ("east", "2027-02-01", "books.transfers_2027_02"),
            }

    database.run(story, role=PROJECTOR)


# The broker


def test_records_that_the_broker_has_deleted_before_they_were_read_are_told(database, caplog):
    async def story(db: Database) -> None:
        async with operator() as op:
            end = op.broker.committed(DECISIONS, 1)[5].offset
            op.broker.forget(DECISIONS, 1, end)
            await project(op, db)

            rows = await db.pool.fetch("SELECT topic, partition, from_offset, to_offset FROM facts.gaps")
            assert [tuple(row) for row in rows] == [(DECISIONS, 1, 0, end)]
            assert await db.pool.fetchval("SELECT count(*) FROM facts.decisions") == len(op.said(DECISIONS))

    database.run(story, role=PROJECTOR)

    assert [record.message for record in caplog.records if "deleted" in record.message and "-1:" in record.message]


def test_records_that_the_broker_deletes_under_way_are_told(database):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            made = await started(op, db.pool)
            await caught_up(op, made)
            position = made.positions[TopicPartition(DECISIONS, 2)].next_offset
            await op.work()
            gone = op.broker.committed(DECISIONS, 2, position)[:20]
            op.broker.forget(DECISIONS, 2, gone[-1].offset + 1)
            await caught_up(op, made)

            rows = await db.pool.fetch("SELECT topic, partition, from_offset, to_offset FROM facts.gaps")
            assert [tuple(row) for row in rows] == [(DECISIONS, 2, position, gone[-1].offset + 1)]
            assert made.missed_records == gone[-1].offset + 1 - position
            found = await db.pool.fetchval("SELECT count(*) FROM facts.decisions WHERE source_partition = 2")
            before = await db.pool.fetchval(
                "SELECT count(*) FROM facts.decisions WHERE source_partition = 2 AND source_offset < $1", position
            )
            assert found == before + len(op.broker.committed(DECISIONS, 2))
            await made.close()

    database.run(story, role=PROJECTOR)


def test_a_topic_that_was_made_anew_stops_its_partitions_and_says_what_to_do(database, caplog):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
        before = await db.pool.fetch("SELECT * FROM facts.offsets ORDER BY topic, partition")
        async with operator(50) as anew:
            made = await started(anew, db.pool)
            await until(lambda: len(made.stopped) > 0, made)

            assert not made.ready
            await made.close()
        assert await db.pool.fetch("SELECT * FROM facts.offsets ORDER BY topic, partition") == before

    database.run(story, role=PROJECTOR)

    assert any("has been made anew" in r.message and "topic_prefix" in r.message for r in caplog.records)


def test_topics_with_different_numbers_of_partitions_are_refused(database):
    async def story(db: Database) -> None:
        counts = {topic.name: 3 for topic in READ}
        lacking = Operator()
        lacking.broker = MemoryBroker({**counts, RATED: 2})
        with pytest.raises(ValueError, match=r"same number of partitions: .*rated-cdrs 2"):
            await started(lacking, db.pool)
        lacking.broker = MemoryBroker({name: count for name, count in counts.items() if name != RATED})
        with pytest.raises(UnknownTopic, match=RATED):
            await started(lacking, db.pool)

    database.run(story, role=PROJECTOR)


def test_what_waits_is_known(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            made = await started(op, db.pool)
            await caught_up(op, made)
            assert sum(made.lag().values()) == 0
            await op.take(COMMANDS, 0, b"{nothing", at_us=NOON_US)
            assert made.lag()[TopicPartition(REJECTED, 0)] == 1
            assert behind(op, made) == [(REJECTED, 0)]
            await made.close()

    database.run(story, role=PROJECTOR)


# Orders of the office


def test_the_office_learns_what_became_of_its_commands(database):
    at = "2026-11-24T12:00:00.000Z"
    account = json.loads(next(line.value for line in lines() if line.topic == COMMANDS))["account_id"]
    partition = next(line.partition for line in lines() if json_of(line.value).get("account_id") == account)

    async def story(db: Database) -> None:
        owner = await asyncpg.connect(database.dsn)
        await owner.execute("SET session_replication_role = replica")  # no clients, plans and accounts are needed here
        for command_id in ("good", "zero", "never"):
            await owner.execute(
                "INSERT INTO office.commands (command_id, kind, account_id, at, amount_micros, author, ordered_at)"
                " VALUES ($1, 'payment', $2, now(), 5, 'ivanova', now())",
                command_id,
                account,
            )
        async with operator(1) as op:
            for command_id, amount in (("good", 5), ("zero", 0), ("another's", 7)):
                event = {"type": "payment", "command_id": command_id, "account_id": account, "at": at}
                await op.take(COMMANDS, partition, event | {"amount_micros": amount}, at_us=NOON_US)
            await project(op, db)

            rows = await db.pool.fetch("SELECT command_id, state, rejected_why FROM office.commands")
            assert {row[0]: (row[1], row[2]) for row in rows} == {
                "good": ("applied", None),
                "zero": ("rejected", "malformed: amount_micros is 0: nothing would move"),
                "never": ("ordered", None),
            }
        await owner.close()

    database.run(story, role=PROJECTOR)


def json_of(value: bytes) -> dict:
    try:
        found = json.loads(value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def test_nobody_changes_or_deletes_what_was_written(database):
    async def write(db: Database) -> None:
        async with operator() as op:
            await project(op, db)

    async def meddle(db: Database) -> None:
        for table in ("attempts", "decisions", "rated_cdrs", "movements"):
            month = f"facts.{table}_2026_11" if table != "movements" else "facts.movements"
            for there in {f"facts.{table}", month}:
                for statement in (f"DELETE FROM {there}", f"UPDATE {there} SET account_id = '1'", f"TRUNCATE {there}"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await db.pool.execute(statement)
        for there in ("books.transfers", "books.transfers_2026_11"):
            for statement in (f"DELETE FROM {there}", f"UPDATE {there} SET amount_micros = 1", f"TRUNCATE {there}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await db.pool.execute(statement)

    database.run(write, role=PROJECTOR)
    for role in (None, PROJECTOR, "tollgate_app", "tollgate_readonly"):
        database.run(meddle, role=role)


def test_all_topics_that_people_ask_about_are_read():
    assert {topic.name for topic in READ} == {topics.CALL_ATTEMPTS.name, *(t.name for t in topics.OUTPUTS)} - {
        topics.TRAFFIC.name
    }
    assert NOTICES in {topic.name for topic in READ}
