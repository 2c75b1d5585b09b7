"""The audit: whatever is wrong by one micro, anywhere, is found and named; what is only on its way is not."""

import asyncio
import json
from datetime import UTC, date, datetime
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
    NOON_US,
    RATED,
    ZONE,
    Operator,
    caught_up,
    lines,
    operator,
    project,
    started,
)

from backoffice.audit import Account, Change, Finding, Money, chain, differs, judge
from connectors import audit as audits
from connectors.audit import Report, audit
from connectors.broker import Message
from connectors.postgres.change import change
from connectors.postgres.database import Database, open_database
from engine.changelog import ACCOUNT, HOLD, decode_account, decode_hold
from schemas import topics
from schemas.codec import pack

PROJECTOR, READONLY = "tollgate_projector", "tollgate_readonly"
ENGINE_STATE = topics.ENGINE_STATE.name


async def audited(op: Operator | None, db: Database, **more: Any) -> Report:
    return await audit(db.pool, op and op.broker, business_time_zone=ZONE, **more)


def errors(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity == "error"]


async def meddle(db: Database, statement: str, *arguments: Any) -> int:
    """Changes rows behind everyone's back, as only the server's owner could; how many."""
    owner = await asyncpg.connect(db.settings.dsn)
    try:
        await owner.execute("SET session_replication_role = replica")
        return int((await owner.execute(statement, *arguments)).split()[-1])
    finally:
        await owner.close()


def charged(op: Operator) -> dict[str, Any]:
    """A call that was charged on both sides."""
    return next(one for one in op.told(RATED) if one["retail"] and one["wholesale"] and one["retail"]["amount_micros"])


# Peace


def test_books_that_are_right_have_no_finding(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            report = await audited(op, db)

            assert report.findings == []
            assert report.on_its_way == {}
            last = {one["account_id"]: one["balance_micros"] for one in op.told(BALANCES)}
            assert report.accounts == len(last)
            assert report.clients == dict.fromkeys(("books", "balances", "engine", "rows"), sum(last.values()))
            assert report.rows == {
                "rated_cdrs": len(op.said(RATED)),
                "movements": len(op.said(MOVEMENTS)),
                "decisions": len(op.said(DECISIONS)),
            }
            debit, credit = (sum(side) for side in zip(*report.ledger.values(), strict=True))
            assert debit == credit
            debit, credit = report.ledger["client"]
            assert credit - debit == sum(last.values())

    database.run(story, role=PROJECTOR)


def test_an_empty_database_has_no_finding(database):
    async def story(db: Database) -> None:
        assert (await audited(None, db)).findings == []
        async with operator(1) as op:
            assert errors(await audited(op, db)) == []

    database.run(story, role=READONLY)


@pytest.mark.parametrize("projected", [0, 100, 400, 700])
def test_what_is_on_its_way_is_told_and_is_no_finding(database, projected):
    async def story(db: Database) -> None:
        async with operator(projected) as op:
            await project(op, db)
            await op.work()
            report = await audited(op, db)

            assert report.findings == []
            assert set(report.on_its_way) >= {RATED, BALANCES}
            last = {one["account_id"]: one["balance_micros"] for one in op.told(BALANCES)}
            assert (
                report.clients["books"] == report.clients["engine"] == report.clients["balances"] == sum(last.values())
            )

    database.run(story, role=PROJECTOR)


@pytest.mark.parametrize("topic", [RATED, MOVEMENTS, BALANCES])
def test_topics_of_which_the_database_has_taken_in_less_than_of_others_are_no_finding(database, topic):
    async def story(db: Database) -> None:
        async with operator(300) as op:
            await project(op, db)
            await op.work()
            behind = await started(op, db.pool, max_records=1)
            for _ in range(120):
                await behind.step()
            await behind.close()
            # Taken in one record at a time: of each topic as much as came of it.
            report = await audited(op, db)

            assert report.findings == []
            assert topic in report.on_its_way

    database.run(story, role=PROJECTOR)


def test_it_may_run_while_calls_go_on(database):
    async def story(db: Database) -> None:
        async with operator(100) as op:
            made = await started(op, db.pool)
            done = asyncio.Event()

            async def go_on() -> None:
                while not done.is_set():
                    await op.work(3, batch=1)
                    await made.turn()
                    await asyncio.sleep(0)

            going_on = asyncio.create_task(go_on())
            reports = [await audited(op, db) for _ in range(6)]
            done.set()
            await going_on
            await caught_up(op, made)
            await made.close()

            assert [report.findings for report in reports] == [[]] * 6
            assert (await audited(op, db)).findings == []

    database.run(story, role=PROJECTOR)


# One micro


@pytest.mark.parametrize("micros", [1, -1])
def test_a_micro_in_a_posting_is_found_and_named(database, micros):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            statement = (
                "UPDATE books.transfers SET amount_micros = amount_micros + $2"
                " WHERE cause_id = $1 AND account_id IS NOT NULL"
            )
            assert await meddle(db, statement, call["cdr_id"], micros) == 1
            found = errors(await audited(op, db))

            account, charge = f"account {call['account_id']}", call["retail"]["amount_micros"]
            by_what = {finding.what: finding for finding in found}
            assert by_what["posting"][2:6] == (account, f"rated_cdr {call['cdr_id']}", charge, charge + micros)
            assert by_what["balance"].where == account
            assert by_what["balance"].expected - by_what["balance"].found == micros
            assert any(finding.what == "chain" and call["cdr_id"] in finding.cause for finding in found)

    database.run(story, role=PROJECTOR)


def test_a_micro_in_a_posting_of_what_a_provider_is_owed_is_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            statement = "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE cause_id = $1"
            assert await meddle(db, statement + " AND account_id IS NULL", call["cdr_id"]) == 1

            cost = call["wholesale"]["amount_micros"]
            (found,) = errors(await audited(op, db))
            assert found[1:6] == ("posting", "the wholesale side", f"rated_cdr {call['cdr_id']}", cost, cost + 1)

    database.run(story, role=PROJECTOR)


def test_a_posting_on_another_account_is_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            other = next(one["account_id"] for one in op.told(BALANCES) if one["account_id"] != call["account_id"])
            statement = (
                "UPDATE books.transfers SET debit = (SELECT ledger_id FROM books.accounts WHERE kind = 'client'"
                " AND owner = $2) WHERE cause_id = $1 AND account_id IS NOT NULL"
            )
            assert await meddle(db, statement, call["cdr_id"], other) == 1
            found = errors(await audited(op, db))

            posting = next(finding for finding in found if finding.what == "posting")
            assert posting.cause == f"rated_cdr {call['cdr_id']}"
            assert f"client {other} →" in posting.text
            assert {finding.where for finding in found if finding.what == "balance"} == {
                f"account {call['account_id']}",
                f"account {other}",
            }

    database.run(story, role=PROJECTOR)


def test_a_posting_that_is_missing_and_one_too_many_are_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            where = "WHERE cause_id = $1 AND account_id IS NOT NULL"
            copy = (
                "INSERT INTO books.transfers SELECT day, source_partition, source_offset + 1000000, amount_micros,"
                " balance_after_micros, recorded_at, debit, credit, cause, cause_id, account_id"
                f" FROM books.transfers {where}"
            )
            assert await meddle(db, copy, call["cdr_id"]) == 1
            texts = [finding.text for finding in errors(await audited(op, db)) if finding.what == "posting"]
            assert texts == ["a posting in the books that no fact explains"]

            assert await meddle(db, f"DELETE FROM books.transfers {where}", call["cdr_id"]) == 2
            found = errors(await audited(op, db))
            posting = next(finding for finding in found if finding.what == "posting")
            assert posting.cause == f"rated_cdr {call['cdr_id']}"
            assert posting.text == "it has no posting in the books"
            # The chain of the account has a gap where the call was.
            assert any(finding.what == "chain" for finding in found)

    database.run(story, role=PROJECTOR)


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        ("rated_cdrs", "retail_micros", "cdr_id"),
        ("rated_cdrs", "wholesale_micros", "cdr_id"),
        ("rated_cdrs", "margin_micros", "cdr_id"),
        ("rated_cdrs", "balance_after_micros", "cdr_id"),
        ("rated_cdrs", "billable_seconds", "cdr_id"),
        ("movements", "amount_micros", "cause_id"),
        ("movements", "balance_after_micros", "cause_id"),
        ("decisions", "hold_micros", "attempt_id"),
    ],
)
def test_one_more_in_any_column_of_a_fact_is_found_and_named(database, table, column, key):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            topic = {"rated_cdrs": RATED, "movements": MOVEMENTS, "decisions": DECISIONS}[table]
            if table == "rated_cdrs":
                named = charged(op)["cdr_id"]
            elif table == "movements":
                named = next(one["command_id"] for one in op.told(topic) if one["kind"] == "payment")
            else:
                named = next(
                    one["attempt_id"] for one in op.told(topic) if one["hold_micros"] and "extension" not in one
                )
            row = await db.pool.fetchrow(f"SELECT * FROM facts.{table} WHERE {key} = $1 AND copy = 0", named)
            statement = f"UPDATE facts.{table} SET {column} = {column} + 1 WHERE {key} = $1 AND source_offset = $2"
            assert await meddle(db, statement, named, row["source_offset"]) > 0
            found = errors(await audited(op, db))

            fact = next(finding for finding in found if finding.what == "fact")
            assert fact.where == f"account {row['account_id']}"
            assert fact.cause.endswith(f" {named}")
            assert f"facts.{table}.{column}" in fact.text
            assert (fact.expected, fact.found) == (row[column], row[column] + 1)

    database.run(story, role=PROJECTOR)


def test_a_micro_in_fact_and_posting_alike_is_found_by_the_engine_and_by_the_bytes(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            await meddle(
                db, "UPDATE facts.rated_cdrs SET retail_micros = retail_micros + 1 WHERE cdr_id = $1", call["cdr_id"]
            )
            statement = "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE cause_id = $1"
            await meddle(db, statement + " AND account_id IS NOT NULL", call["cdr_id"])

            kinds = {finding.what for finding in errors(await audited(op, db))}
            assert kinds == {"balance", "chain", "fact"}

    database.run(story, role=PROJECTOR)


def test_bytes_that_were_changed_are_found(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            forged = json.dumps(call | {"margin_micros": 0}, separators=(",", ":")).encode()
            await meddle(db, "UPDATE facts.rated_cdrs SET record = $2 WHERE cdr_id = $1", call["cdr_id"], forged)
            (found,) = errors(await audited(op, db))
            assert (found.what, found.expected, found.found) == ("fact", 0, call["margin_micros"])

            await meddle(db, "UPDATE facts.rated_cdrs SET record = '{' WHERE cdr_id = $1", call["cdr_id"])
            (found,) = errors(await audited(op, db))
            assert "can't be read" in found.text

    database.run(story, role=PROJECTOR)


@pytest.mark.parametrize("column", ["balance_micros", "held_micros"])
def test_a_micro_in_the_row_of_a_balance_is_found_and_named(database, column):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            account = op.told(BALANCES)[-1]["account_id"]
            await meddle(db, f"UPDATE facts.balances SET {column} = {column} + 1 WHERE account_id = $1", account)
            (found,) = errors(await audited(op, db))

            assert (found.what, found.where) == ("balance row", f"account {account}")
            if column == "balance_micros":
                assert found.found - found.expected == 1

    database.run(story, role=PROJECTOR)


def test_a_row_of_a_balance_that_is_gone_or_of_nobody_is_found(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            account = op.told(BALANCES)[-1]["account_id"]
            await meddle(db, "DELETE FROM facts.balances WHERE account_id = $1", account)
            (found,) = errors(await audited(op, db))
            assert (found.what, found.where) == ("balance row", f"account {account}")

            await meddle(
                db,
                "INSERT INTO facts.balances SELECT 'nobody', at, recorded_at, source_partition, source_offset,"
                " balance_micros, held_micros, credit_limit_micros, available_micros, running_calls, currency, status"
                " FROM facts.balances LIMIT 1",
            )
            found = errors(await audited(op, db))
            assert {"balance row", "engine", "balance"} == {one.what for one in found if one.where == "account nobody"}

    database.run(story, role=PROJECTOR)


def test_a_micro_in_a_published_balance_is_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            record = op.said(BALANCES)[-1]
            told = json.loads(record.value or b"")
            forged = told | {"balance_micros": told["balance_micros"] + 1}
            message = Message(record.key, json.dumps(forged).encode(), record.timestamp_us)
            op.broker.produce(BALANCES, record.partition, [message])
            found = errors(await audited(op, db))

            assert {finding.where for finding in found} == {f"account {told['account_id']}"}
            balance = next(finding for finding in found if finding.what == "balance")
            assert balance.expected == told["balance_micros"] + 1
            assert balance.found == told["balance_micros"]

    database.run(story, role=PROJECTOR)


def test_a_micro_in_the_engines_state_is_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            record = next(
                record for record in reversed(op.said(ENGINE_STATE)) if record.key.startswith(f"{ACCOUNT}/".encode())
            )
            state = decode_account(record.value)
            state.balance_micros += 1
            op.broker.produce(ENGINE_STATE, record.partition, [Message(record.key, pack(state), NOON_US)])
            (found,) = errors(await audited(op, db))

            assert (found.what, found.where) == ("engine", f"account {state.account_id}")
            assert found.expected == state.balance_micros
            assert found.found == state.balance_micros - 1

    database.run(story, role=PROJECTOR)


def test_a_micro_in_a_running_calls_hold_is_found_and_named(database):
    async def story(db: Database) -> None:
        async with operator(400) as op:
            await project(op, db)
            record, hold = next(
                (record, hold)
                for record in reversed(op.said(ENGINE_STATE))
                if record.key.startswith(f"{HOLD}/".encode()) and record.value is not None
                for hold in [decode_hold(record.value)]
                if hold.phase == "running" and hold.counted and hold.hold_micros
            )
            fields = [getattr(hold, name) for name in hold.__struct_fields__]
            fields[hold.__struct_fields__.index("hold_micros")] += 1
            op.broker.produce(ENGINE_STATE, record.partition, [Message(record.key, pack(type(hold)(*fields)), NOON_US)])
            (found,) = errors(await audited(op, db))

            assert found.what == "holds"
            assert found.expected - found.found == 1

    database.run(story, role=PROJECTOR)


# What is missing


def test_a_call_that_was_deleted_before_it_was_read_is_found_with_its_account(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            first = next(one for one in op.said(RATED) if json.loads(one.value)["cdr_id"] == charged(op)["cdr_id"])
            partition = first.partition
            gone = [one for one in op.broker.committed(RATED, partition) if one.offset <= first.offset]
            accounts = {
                json.loads(one.value)["account_id"]
                for one in gone
                if (json.loads(one.value)["retail"] or {}).get("amount_micros")
            }
            op.broker.forget(RATED, partition, gone[-1].offset + 1)
            await project(op, db)
            found = errors(await audited(op, db))

            assert any(finding.what == "gap" and finding.where == f"{RATED}-{partition}" for finding in found)
            assert (
                {one.where for one in found if one.what == "balance"} == {f"account {one}" for one in accounts} != set()
            )
            assert {one.where for one in found if one.what == "chain"} == {f"account {one}" for one in accounts}

    database.run(story, role=PROJECTOR)


def test_a_record_that_was_laid_aside_is_found(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            op.forge(RATED, b"{nothing")
            op.forge(DECISIONS, b"{nothing")
            await project(op, db)
            found = (await audited(op, db)).findings

            assert [(one.severity, one.what, one.where) for one in found] == [
                ("warning", "laid aside", f"{DECISIONS}-0"),
                ("error", "laid aside", f"{RATED}-0"),
            ]

    database.run(story, role=PROJECTOR)


def test_a_call_that_was_charged_twice_is_a_warning(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            call = charged(op)
            line = next(line for line in lines() if f'"cdr_id":"{call["cdr_id"]}"'.encode() in line.value)
            await op.take(CDRS, line.partition, line.value, at_us=NOON_US + 2 * DAY_US)
            await project(op, db)
            (found,) = (await audited(op, db)).findings

            assert (found.severity, found.what, found.where) == (
                "warning",
                "taken twice",
                f"account {call['account_id']}",
            )
            assert (found.cause, found.found) == (f"rated_cdr {call['cdr_id']}", 2)

    database.run(story, role=PROJECTOR)


def test_only_rows_from_a_day_on_are_compared_and_sums_are_of_all_days(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            call = charged(op)
            statement = "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE cause_id = $1"
            await meddle(db, statement + " AND account_id IS NOT NULL", call["cdr_id"])
            report = await audited(op, db, since=date(2026, 11, 25))

            assert report.rows == {}
            assert {finding.what for finding in errors(report)} == {"balance", "chain"}

    database.run(story, role=PROJECTOR)


def test_of_many_findings_of_a_kind_some_are_told_and_the_others_counted(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            changed = await meddle(db, "UPDATE facts.decisions SET hold_micros = hold_micros + 1")
            report = await audited(op, db, at_most=5)

            assert len(report.findings) == 5
            assert report.left_out == changed - 5

    database.run(story, role=PROJECTOR)


def test_the_database_alone_is_audited_without_the_topics(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
        report = await audited(None, db)
        assert report.findings == []
        assert not report.topics_read
        call = charged(op)
        statement = "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE cause_id = $1"
        await meddle(db, statement + " AND account_id IS NOT NULL", call["cdr_id"])
        found = (await audited(None, db)).findings
        assert [(one.severity, one.what) for one in found] == [("warning", "balance"), ("error", "posting")]

    database.run(story, role=PROJECTOR)


def test_it_waits_for_a_transaction_that_shows_in_one_topic_before_another(database, monkeypatch):
    """The engine's transaction is committed, and not to be seen in all topics yet."""

    async def story(db: Database) -> None:
        late: dict[str, Any] = {}

        async def hook(point: str, who: str) -> None:
            if point == "commit.marker" and late.get("on"):
                late["shown"] = late.get("shown", 0) + 1
                if late["shown"] == late["at"]:
                    late["waiting"].set()
                    await late["go on"].wait()

        for at in range(1, 7):
            op = Operator(hook)
            await op.work(300)
            await project(op, db) if at == 1 else None
            late.update({"on": True, "shown": 0, "at": at, "waiting": asyncio.Event(), "go on": asyncio.Event()})
            working = asyncio.create_task(op.work(100))
            waiting = asyncio.create_task(late["waiting"].wait())
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            undecided = op.broker.undecided

            async def looked(places: Any, undecided: Any = undecided) -> Any:
                found = await undecided(places)
                late["go on"].set()
                return found

            monkeypatch.setattr(op.broker, "undecided", looked)
            report = await audited(op, db)
            late["go on"].set()
            late["on"] = False
            await working
            await op.close()
            assert report.findings == [], at

    monkeypatch.setattr(audits, "SETTLES_SECONDS", 30.0)
    database.run(story, role=PROJECTOR)


# The office

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def order(db: Database, command_id: str, account_id: str, *, publish: bool = True) -> dict[str, Any]:
    """The office orders a payment of five micros."""
    event = {"type": "payment", "command_id": command_id, "account_id": account_id, "at": "2026-11-24T12:00:00.000Z"}
    event["amount_micros"] = 5
    await meddle(
        db,
        "INSERT INTO office.commands (command_id, kind, account_id, at, amount_micros, author, ordered_at)"
        " VALUES ($1, 'payment', $2, $3, 5, 'ivanova', $3)",
        command_id,
        account_id,
        AT,
    )
    if publish:
        async with (
            open_database(db.settings, role=None) as owner,
            change(owner.pool, actor="ivanova", reason="bank", at=AT) as tx,
        ):
            await tx.audit("command", command_id, "ordered", None, event)
            await tx.publish("command", account_id, event)
    return event


async def publish(op: Operator, db: Database, event: dict[str, Any], partition: int) -> None:
    """What the relay does, as far as the topic; the engine has not read it yet."""
    op.broker.produce(COMMANDS, partition, [Message(b"k", json.dumps(event).encode(), NOON_US)])
    await mark_published(db, event["command_id"])


async def mark_published(db: Database, command_id: str) -> None:
    await meddle(db, "UPDATE plumbing.outbox SET published_at = $2 WHERE payload ->> 'command_id' = $1", command_id, AT)


def test_every_command_is_carried_out_rejected_or_on_its_way(database):
    line = next(line for line in lines() if line.topic == COMMANDS)
    account = json.loads(line.value)["account_id"]

    async def story(db: Database) -> None:
        async with operator() as op:
            done = await order(db, "done", account)
            waits = await order(db, "waits for the relay", account)
            await publish(op, db, done, line.partition)
            await op._let_work(1)
            await project(op, db)
            assert await db.pool.fetchval("SELECT state FROM office.commands WHERE command_id = 'done'") == "applied"
            assert (await audited(op, db)).findings == []

            # On its way to the engine, then on its way back.
            await publish(op, db, waits, line.partition)
            report = await audited(op, db)
            assert report.findings == []
            assert report.on_its_way == {COMMANDS: 1}
            await op._let_work(1)
            report = await audited(op, db)
            assert report.findings == []
            assert MOVEMENTS in report.on_its_way
            await project(op, db)

            await order(db, "lost", account)
            await mark_published(db, "lost")
            await order(db, "never published", account, publish=False)
            found = errors(await audited(op, db))
            assert {finding.what for finding in found} == {"command"}
            texts = {finding.cause.split()[-1]: finding.text for finding in found}
            assert "nor is it on its way" in texts["lost"]
            assert "not in the outbox" in texts["published"]

    database.run(story, role=PROJECTOR)


def test_a_command_that_was_carried_out_with_another_amount_is_found(database):
    line = next(line for line in lines() if line.topic == COMMANDS)
    account = json.loads(line.value)["account_id"]

    async def story(db: Database) -> None:
        async with operator() as op:
            event = await order(db, "p-1", account)
            await publish(op, db, event | {"amount_micros": 6}, line.partition)
            await op._let_work(1)
            await project(op, db)
            (found,) = errors(await audited(op, db))

            assert (found.what, found.cause, found.expected, found.found) == ("command", "payment p-1", 5, 6)

    database.run(story, role=PROJECTOR)


def test_an_audit_log_that_was_changed_is_found(database):
    async def story(db: Database) -> None:
        await order(db, "p-1", "100200")
        await meddle(db, "DELETE FROM office.commands")
        await meddle(db, "UPDATE plumbing.audit SET reason = 'another' WHERE seq = 1")
        found = errors(await audited(None, db))
        assert [(one.what, one.cause) for one in found] == [("audit log", "row 1")]

    database.run(story, role=None)


# The rules by themselves


def test_changes_form_a_chain_in_whatever_order_they_are_looked_at():
    changes = [Change("c", "1", 10, 10, True), Change("c", "2", -4, 6, True), Change("c", "3", 4, 10, True)]
    for some in (changes, changes[::-1], [changes[1], changes[2], changes[0]]):
        assert chain(some).end_micros == 10
    assert chain([]).end_micros == 0
    assert chain([*changes, Change("c", "4", -10, 0, True)]).end_micros == 0


def test_a_change_that_is_missing_or_touched_leaves_loose_ends():
    first, second, third = Change("c", "1", 10, 10, True), Change("c", "2", -4, 6, True), Change("c", "3", 1, 7, True)

    assert chain([first, third])[0:2] == (None, (third,))
    assert chain([second, third])[0:2] == (None, (second,))
    touched = second._replace(effect_micros=-5)
    assert chain([first, touched, third])[0:2] == (None, (touched,))
    assert chain([first, touched, third]).dangling_micros == (7, 10)


def account(**more: Any) -> Account:
    money = Money(10, 0, 0, "active")
    said = {"booked_micros": 10, "written": money, "written_offset": 5, "taken_in": (5, money), "engine": money}
    return Account("1", **(said | more))


WRITTEN = [Change("opening", "1", 10, 10, True)]


def test_an_account_that_all_speak_of_alike_is_not_looked_at_closely():
    assert not differs(account())
    assert judge(account(), WRITTEN) == []


def test_what_is_on_its_way_explains_a_difference_only_if_it_fits():
    money = Money(7, 0, 0, "active")
    coming = [Change("rated_cdr", "c1", -3, 7, False)]

    assert judge(account(coming=coming, told=[money], engine=money), WRITTEN) == []
    # The balance has not been seen yet, or the engine's state is older.
    assert judge(account(coming=coming), WRITTEN) == []
    assert judge(account(coming=coming, told=[money]), WRITTEN) == []
    # A micro is missing somewhere.
    for wrong in (
        account(coming=coming, told=[money._replace(balance_micros=8)], engine=money),
        account(coming=coming, told=[money], engine=money._replace(balance_micros=6)),
        account(coming=coming, told=[money], engine=money, booked_micros=11),
        account(coming=[coming[0]._replace(effect_micros=-4)], told=[money], engine=money),
        account(coming=[], told=[money], engine=money),
    ):
        changes = WRITTEN if wrong.booked_micros == 10 else [Change("opening", "1", 11, 11, True)]
        assert judge(wrong, changes) != [], wrong
