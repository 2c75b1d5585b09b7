"""Locks (§2.2): who may set, change and lift them, their history for ever, the check of a number, rehearsals."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from golden.update import FOLDER
from hypothesis import given
from postgres import TestedDatabase
from projected import BUSY, DECISIONS, RATED, lines, operator, project
from test_decision_properties import LIMITS, NOON_US, World, decide, some, worlds

from backoffice import locks as rules
from backoffice.access import ROLE_PERMISSIONS, ROLES, Asker, Role, asker
from backoffice.as_of import as_of
from backoffice.lock_check import NO_ACCOUNT, Unknown, check_lock, worded
from backoffice.locks import (
    LiftSent,
    LockAnswer,
    LockChange,
    LockFilter,
    LockSent,
    OfficeLock,
    Rehearsal,
    RehearsalSent,
    covers,
    mask,
    number_or_direction,
    whom_to_ask,
)
from backoffice.refusals import InTheWay, NotAllowed, NotThere, Unfit
from backoffice.users import User
from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.convert.common import NumberRule
from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.postgres import locks as record
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import Change, in_change
from connectors.postgres.database import APP, PROJECTOR, READONLY, RELAY, Database
from connectors.postgres.load import load_folder
from connectors.postgres.locks import LocksRecord, LooksRecord, TrafficRecord, end_due_locks, new_lock_id
from connectors.postgres.reference import read_locks, read_reference, snapshot
from engine.again import account_then, decide_under
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.codec import UNREADABLE, decode_switch_event
from schemas.decisions import CallDecision, LockReason
from schemas.events import CallAttempt
from schemas.reference import Lock
from schemas.times import from_datetime, to_text
from schemas.topics import CALL_ATTEMPTS

AT = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ENGINE = EngineSettings()
e164 = NumberRule().e164

USERS: dict[str, Role] = {
    "ivanov": "b2b",
    "petrova": "billing",
    "sup1": "support",
    "boss": "manager",
    "root1": "administrator",
}


def read(folder: Path) -> ReferenceFolder:
    return read_reference_folder(folder / "reference", emergency_numbers=ENGINE.emergency_numbers)


@cache
def regions() -> ReferenceFolder:
    """The guide's case: 38 through «Москва, Мегафон», and others."""
    return read(FOLDER / "forbidden_regions")


Story = Callable[[Database], Awaitable[None]]


def told(database: TestedDatabase, story: Story, *, folder: ReferenceFolder | None = None) -> None:
    """A story with the rights of a process, in an office with users and, where a folder is given, all that it has."""

    async def prepared(db: Database) -> None:
        users = AccessRecord(db.pool)
        for name, role in USERS.items():
            user = User(name, role, f"Имя {name}", f"{name}@example.org", None, "active", None, None, None, AT, "test")
            await users.insert_user(user)
        await load_folder(db.pool, regions() if folder is None else folder, author="loader", at=AT - 10 * HOUR)

    database.run(prepared)
    database.run(story, role=APP)


def who(name: str) -> Asker:
    return asker(name, USERS[name])


async def changed(db: Database, name: str, work: Callable[[Change], Awaitable[Any]], at: datetime = AT) -> Any:
    return await in_change(
        db.pool, work, actor=name, reason="a test", at=at, role=USERS[name], isolation="read_committed"
    )


async def set_lock(
    db: Database, name: str = "ivanov", digits: str = "44", *, at: datetime = AT, **more: Any
) -> OfficeLock:
    sent = LockSent(**{"digits": digits, "reason": "fraud"} | more)

    async def work(tx: Change) -> OfficeLock:
        return await rules.set_lock(
            LocksRecord(tx), tx, who(name), sent, lock_id=new_lock_id(), now=tx.at, settings=ENGINE, e164=e164
        )

    found: OfficeLock = await changed(db, name, work, at)
    return found


async def change_lock(db: Database, name: str, lock_id: str, *, at: datetime = AT + HOUR, **more: Any) -> OfficeLock:
    sent = LockChange(**{"reason": "looked at again"} | more)

    async def work(tx: Change) -> OfficeLock:
        return await rules.change_lock(
            LocksRecord(tx), tx, who(name), lock_id, sent, now=tx.at, settings=ENGINE, e164=e164
        )

    found: OfficeLock = await changed(db, name, work, at)
    return found


async def lift_lock(db: Database, name: str, lock_id: str, *, at: datetime = AT + 2 * HOUR) -> OfficeLock:
    async def work(tx: Change) -> OfficeLock:
        return await rules.lift_lock(LocksRecord(tx), tx, who(name), lock_id, LiftSent(reason="is over"))

    found: OfficeLock = await changed(db, name, work, at)
    return found


async def check(
    db: Database, number: str, account_id: str = "100200", *, at: datetime = AT, as_of: datetime | None = None
) -> LockAnswer:
    return await record.check(db.pool, ENGINE, number=number, account_id=account_id, at=at, as_of=as_of)


def ids(answer: LockAnswer) -> list[str]:
    return [lock.lock_id for lock in answer.locks]


async def outbox(db: Database, key: str) -> list[Any]:
    """What the engine was told of a lock."""
    rows = await db.pool.fetch("SELECT kind, payload FROM plumbing.outbox WHERE key = $1 ORDER BY seq", key)
    assert {row["kind"] for row in rows} <= {"lock"}
    return [row["payload"] for row in rows]


async def audit(db: Database, key: str) -> list[Any]:
    return await db.pool.fetch(
        "SELECT action, actor, role, reason, before, after FROM plumbing.audit "
        "WHERE entity = 'lock' AND entity_id = $1 ORDER BY seq",
        key,
    )


# -- digits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "typed", "digits"),
    [
        ("prefix", "38", "38"),
        ("prefix", "+381 11", "38111"),
        ("prefix", "3811ХХХХХ", "3811"),  # the guide's own way, with Russian letters
        ("prefix", "3811xxXX", "3811"),
        ("prefix", "381*", "381"),
        ("prefix", "8 495", "8495"),  # a mask is E.164: 84 is Vietnam, 8 is nobody's trunk
        ("prefix", "81012", "81012"),
        ("prefix", "381114112060123", "381114112060123"),
        ("number", "+381 11 411 20 60", "381114112060"),
        ("number", "8(495) 200-0-200", "74952000200"),
        ("number", "810 381 11 411 20 60", "381114112060"),
        ("number", "0890", "0890"),
    ],
)
def test_digits_are_read_as_people_type_them(kind: Any, typed: str, digits: str) -> None:
    assert mask(kind, typed, e164) == digits


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("prefix", ""),
        ("prefix", "+"),
        ("prefix", "XXX"),
        ("prefix", "38X1"),
        ("prefix", "Serbia"),
        ("prefix", "1" * 16),
        ("prefix", "3٣"),
        ("number", "3811XXXXX"),
        ("number", "12345678901234567"),
        ("number", "38,39"),
    ],
)
def test_digits_that_can_not_be_are_refused_with_the_remedy(kind: Any, typed: str) -> None:
    with pytest.raises(ValueError, match=r"give 1 to 15 digits|take the kind prefix"):
        mask(kind, typed, e164)


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("381", "381"),
        ("3811ХХХХХ", "3811"),  # the guide's own way
        ("38111XXXXXX", "38111"),
        ("+381 11 4XX-XX-XX", "381114"),
        ("381…", "381"),
        ("381...", "381"),
        ("381*", "381"),
        ("8 (495) XXX-XX-XX", "7495"),
        ("8 (495) 200-02-0X", "7495200020"),
        ("810 381 11 XXXXXXX", "38111"),
        ("8(495)200-02-00", "74952000200"),
        ("8495", "8495"),  # 84 is Vietnam: too short to be dialled
    ],
)
def test_a_number_or_direction_is_read_as_people_write_it(typed: str, digits: str) -> None:
    assert number_or_direction(typed, e164) == digits


@pytest.mark.parametrize("typed", ["", "XXX", "8 10 XXXX", "38X1", "Belgrade", "1" * 16, "…"])
def test_what_is_no_number_and_no_direction_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="give 1 to 15 digits"):
        number_or_direction(typed, e164)


NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-11-25", "Europe/Moscow", "2026-11-25T20:59:59.999Z"),
        ("2026-11-25", "UTC", "2026-11-25T23:59:59.999Z"),
        ("2026-11-26", "Europe/Moscow", "2026-11-26T12:00:00.000Z"),  # under way: until now
        ("2026-10-25", "Europe/Berlin", "2026-10-25T22:59:59.999Z"),  # a day of 25 hours
        ("2026-11-25T18:30:00+03:00", "UTC", "2026-11-25T15:30:00.000Z"),
    ],
)
def test_a_day_means_its_end(text: str, zone: str, moment: str) -> None:
    assert to_text(from_datetime(as_of(text, time_zone=zone, now=NOON))) == moment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-27", "in the future"),
        ("2026-11-26T12:00:00.001Z", "in the future"),
        ("2026-11-31", "no day"),
        ("1999-01-01", "2000-2099"),
        ("9999-12-31", "no day"),
        ("2026-11-25T18:30:00", "names no time zone; write a moment as"),
        ("soon", "is not a moment; write a moment as"),
    ],
)
def test_what_is_no_moment_that_has_passed_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_of(text, time_zone="Europe/Moscow", now=NOON)


def a_lock(digits: str, kind: Any = "prefix", account: str | None = None, provider: str | None = None) -> Lock:
    return Lock("L", kind, digits, account, provider, "", "", "")


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        (a_lock("38"), a_lock("381"), True),
        (a_lock("381"), a_lock("38"), False),
        (a_lock("38"), a_lock("381", "number"), True),
        (a_lock("381", "number"), a_lock("381"), False),
        (a_lock("381", "number"), a_lock("381", "number"), True),
        (a_lock("381", "number"), a_lock("3811", "number"), False),
        (a_lock("38"), a_lock("38", account="a"), True),
        (a_lock("38", account="a"), a_lock("38"), False),
        (a_lock("38", account="a"), a_lock("38", account="b"), False),
        (a_lock("38"), a_lock("38", provider="p"), True),
        (a_lock("38", provider="p"), a_lock("38"), False),
        (a_lock("3", account="a", provider="p"), a_lock("38", account="a", provider="p"), True),
    ],
)
def test_a_lock_covers_another_when_it_bans_all_that_the_other_does(one: Lock, other: Lock, covered: bool) -> None:
    assert covers(one, other) is covered


# -- setting, changing, lifting ---------------------------------------------------------------------------------------


def test_a_lock_that_is_set_is_in_its_history_in_the_audit_and_told_to_the_engine(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, digits="+44 20", account_id="100200", provider_id="megafon", lock_id="L100")

        assert (made.digits, made.author, made.created_at) == ("4420", "ivanov", "2026-11-24T18:30:00.000Z")
        wanted = Lock("L100", "prefix", "4420", "100200", "megafon", "ivanov", "fraud", made.created_at)
        (entry,) = (await record.histories(db.pool, ["L100"]))["L100"]
        assert (entry.action, entry.actor, entry.acted_as, entry.why) == ("set", "ivanov", "b2b", "fraud")
        (row,) = await audit(db, "L100")
        assert (row["action"], row["actor"], row["role"], row["before"]) == ("set", "ivanov", "b2b", None)
        assert row["after"]["digits"] == "4420"
        (payload,) = await outbox(db, "L100")
        assert {name: payload[name] for name in Lock.__struct_fields__} == {
            name: getattr(wanted, name) for name in Lock.__struct_fields__
        }
        # What the relay would read from the tables is what it is told.
        async with snapshot(db.pool) as connection:
            assert (await read_locks(connection))["L100"] == wanted

    told(database, story)


def test_the_history_keeps_every_change_with_the_lock_as_it_was(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, account_id="100200")
        await change_lock(db, "boss", made.lock_id, digits="442", new_reason="London alone", reason="was too wide")
        await change_lock(db, "ivanov", made.lock_id, ends_at=to_text(from_datetime(AT + 100 * HOUR)), at=AT + HOUR)
        lifted = await lift_lock(db, "ivanov", made.lock_id)

        assert (lifted.lifted_by, lifted.lift_reason, lifted.author) == ("ivanov", "is over", "ivanov")
        entries = (await record.histories(db.pool, [made.lock_id]))[made.lock_id]
        assert [(one.action, one.actor, one.acted_as, one.why, one.changed) for one in entries] == [
            ("set", "ivanov", "b2b", "fraud", ()),
            ("changed", "boss", "manager", "was too wide", ("digits", "reason")),
            ("changed", "ivanov", "b2b", "looked at again", ("ends_at",)),
            ("lifted", "ivanov", "b2b", "is over", ("lifted_at",)),
        ]
        assert [one.digits for one in entries] == ["44", "442", "442", "442"]
        assert [row["action"] for row in await audit(db, made.lock_id)] == ["set", "changed", "changed", "lifted"]
        # Until when it lasts is nothing to the engine: it is told when it is lifted.
        assert [payload and payload["digits"] for payload in await outbox(db, made.lock_id)] == ["44", "442", None]
        assert await db.pool.fetchval("SELECT count(*) FROM plumbing.audit_faults()") == 0

    told(database, story)


def test_a_change_that_changes_nothing_leaves_no_trace(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, account_id="100200")
        same = await change_lock(db, "ivanov", made.lock_id, digits="+44", account_id="100200")

        assert same == made
        assert len(await audit(db, made.lock_id)) == 1

    told(database, story)


def test_a_lock_can_be_moved_to_everyone_and_to_all_providers(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, account_id="100200", provider_id="megafon")
        after = await change_lock(db, "ivanov", made.lock_id, account_id=None, provider_id=None)

        assert (after.account_id, after.provider_id, after.scope) == (None, None, "global")

    told(database, story)


def test_a_lock_that_is_lifted_stays_lifted(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, lock_id="L100")
        await lift_lock(db, "ivanov", made.lock_id)

        with pytest.raises(InTheWay, match="was lifted 2026-11-24T20:30"):
            await lift_lock(db, "ivanov", made.lock_id)
        with pytest.raises(InTheWay, match="was lifted"):
            await change_lock(db, "boss", made.lock_id, digits="45")
        with pytest.raises(InTheWay, match="another id"):
            await set_lock(db, lock_id="L100")
        # A new one can ban the same.
        assert (await set_lock(db)).lock_id != made.lock_id
        with pytest.raises(NotThere):
            await lift_lock(db, "boss", "L-none")

    told(database, story)


def test_the_same_lock_is_set_once_and_the_refusal_names_the_one_that_is_there(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, account_id="100200")

        with pytest.raises(InTheWay, match=f"lock {made.lock_id} bans the very same already: ivanov set it 2026-11-24"):
            await set_lock(db, "petrova", account_id="100200")
        other = await set_lock(db, "petrova", "441", account_id="100200")  # covered by it, but a lock of its own
        with pytest.raises(InTheWay, match=made.lock_id):
            await change_lock(db, "petrova", other.lock_id, digits="44")
        await set_lock(db, account_id="100201")
        await set_lock(db, kind="number", account_id="100200")
        await set_lock(db, account_id="100200", provider_id="megafon")

    told(database, story)


def test_a_request_that_comes_twice_under_its_own_id_sets_one_lock(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        first = await set_lock(db, lock_id="L100")
        assert await set_lock(db, lock_id="L100", at=AT + HOUR) == first
        with pytest.raises(InTheWay, match="already, which is in force"):
            await set_lock(db, digits="45", lock_id="L100")

    told(database, story)


def test_of_two_who_set_the_same_lock_at_once_one_does(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        outcomes = await asyncio.gather(
            *(set_lock(db, name) for name in ("ivanov", "petrova", "boss") for _ in range(3)), return_exceptions=True
        )

        assert sum(isinstance(one, OfficeLock) for one in outcomes) == 1
        assert all(isinstance(one, OfficeLock | InTheWay) for one in outcomes), outcomes
        assert await db.pool.fetchval("SELECT count(*) FROM office.locks WHERE digits = '44'") == 1

    told(database, story)


def test_of_two_who_lift_a_lock_at_once_one_does(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db)
        outcomes = await asyncio.gather(
            *(lift_lock(db, name, made.lock_id) for name in ("ivanov", "boss", "boss")), return_exceptions=True
        )

        assert sum(isinstance(one, OfficeLock) for one in outcomes) == 1
        assert all(isinstance(one, OfficeLock | InTheWay) for one in outcomes), outcomes
        assert len(await outbox(db, made.lock_id)) == 2

    told(database, story)


UNFIT: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({"digits": "112"}, {"/digits"}),
    ({"digits": "112", "kind": "number"}, {"/digits"}),
    ({"digits": "Serbia", "account_id": "none", "provider_id": "none"}, {"/digits", "/account_id", "/provider_id"}),
    ({"ends_at": "2026-11-24T18:30:00.000Z"}, {"/ends_at"}),
    ({"ends_at": "2026-13-24T18:30:00.000Z"}, {"/ends_at"}),
)


def test_a_lock_that_does_not_fit_is_refused_with_all_that_is_wrong(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db)
        for wrong, pointers in UNFIT:
            for doing in (set_lock(db, **wrong), change_lock(db, "ivanov", made.lock_id, **wrong)):
                with pytest.raises(Unfit) as refused:
                    await doing
                assert {problem.pointer for problem in refused.value.problems} == pointers
        assert len(await audit(db, made.lock_id)) == 1

    told(database, story)


def test_a_lock_with_an_end_is_lifted_by_itself_once_it_has_come(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        now = datetime.now(UTC)
        soon, late = to_text(from_datetime(now - HOUR)), to_text(from_datetime(now + HOUR))
        first = await set_lock(db, at=now - 3 * HOUR, ends_at=soon)
        second = await set_lock(db, digits="45", at=now - 3 * HOUR, ends_at=late)
        third = await set_lock(db, digits="46", at=now - 3 * HOUR)

        assert await end_due_locks(db.pool, now - 2 * HOUR) == ()
        both = await asyncio.gather(end_due_locks(db.pool, now), end_due_locks(db.pool, now))
        (ended,) = [lock for one in both for lock in one]
        assert (ended.lock_id, ended.lifted_by, ended.lift_reason) == (first.lock_id, "tollgate", "its time was over")
        # A clock that runs ahead ends nothing: what time it is the database knows itself.
        assert await end_due_locks(db.pool, now + 2 * HOUR) == []
        assert (await LooksRecord(db.pool).lock(second.lock_id)).lifted_at is None
        assert (await LooksRecord(db.pool).lock(third.lock_id)).lifted_at is None
        assert [row["action"] for row in await audit(db, first.lock_id)] == ["set", "lifted"]
        assert (await outbox(db, first.lock_id))[-1] is None

    told(database, story)


# -- who may ----------------------------------------------------------------------------------------------------------


def test_only_the_author_or_a_manager_changes_or_lifts_a_lock(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, "ivanov")
        for name in ("petrova", "sup1", "root1"):
            for doing in (change_lock(db, name, made.lock_id, digits="441"), lift_lock(db, name, made.lock_id)):
                with pytest.raises(NotAllowed) as refused:
                    await doing
                asked = "ivanov, who set it; else your manager" if name == "petrova" else "your manager"
                assert refused.value.ask == asked
        with pytest.raises(NotAllowed):
            await set_lock(db, "sup1", "45")
        assert len(await audit(db, made.lock_id)) == 1
        await change_lock(db, "boss", made.lock_id, digits="441")
        await lift_lock(db, "ivanov", made.lock_id)

    told(database, story)


SET = "SELECT office.set_lock('X', 'prefix', '45', NULL, NULL, 'why', NULL, $1, $2, now())"
CHANGE = "SELECT office.change_lock('L2', 1, 'prefix', '3817', NULL, NULL, 'why', NULL, $1, $2, 'why', now())"
LIFT = "SELECT office.lift_lock('L2', 1, $1, $2, 'why', now())"
END = "SELECT office.end_locks($1, $2, now())"


@pytest.mark.parametrize("role", [READONLY, PROJECTOR, RELAY])
def test_a_login_of_support_can_look_and_call_none_of_the_functions(database: TestedDatabase, role: str) -> None:
    """The relay may call the one that lifts what is over, by the clock."""

    async def story(db: Database) -> None:
        for query in (SET, CHANGE, LIFT, *((END,) if role != RELAY else ())):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function"):
                await db.pool.fetch(query, "boss", "manager")
        if role == RELAY:
            assert await db.pool.fetch(END, "tollgate", "its time was over") == []
        assert await db.pool.fetchval("SELECT count(*) FROM office.locks WHERE lifted_at IS NULL") == 10

    async def nothing(db: Database) -> None:
        pass

    told(database, nothing)
    database.run(story, role=role)


AROUND = (
    "DELETE FROM office.locks",
    "TRUNCATE office.locks CASCADE",
    "UPDATE office.locks SET lifted_at = now(), lifted_by = 'boss', lift_reason = 'x'",
    "UPDATE office.locks SET digits = '9'",
    "UPDATE office.locks SET author = 'petrova'",
    "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, changed_at, changed_by, "
    "change_reason) VALUES ('X', 'prefix', '7', 'boss', 'x', now(), now(), 'boss', 'x')",
    "DELETE FROM office.lock_history",
    "UPDATE office.lock_history SET actor = 'boss'",
    "INSERT INTO office.lock_history SELECT * FROM office.lock_history",
    "ALTER TABLE office.locks DISABLE TRIGGER ALL",
    "DROP TABLE office.locks CASCADE",
    "CREATE OR REPLACE FUNCTION office.may_set_locks(role text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "SELECT office.check_lock_rights('boss', 'manager', 'boss')",
    "SELECT * FROM office.locks FOR UPDATE",
    "UPDATE office.colleagues SET role = 'manager'",
)


@pytest.mark.parametrize("role", [APP, READONLY, PROJECTOR, RELAY])
def test_around_the_functions_nobody_writes_locks(database: TestedDatabase, role: str) -> None:
    async def story(db: Database) -> None:
        for query in AROUND:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.pool.execute(query)

    database.run(story, role=role)


def test_the_functions_look_up_themselves_who_acts(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        for name, role, said in (
            ("nobody", "manager", "there is no user nobody"),
            ("sup1", "support", "the role support may not"),
            ("sup1", "manager", "user sup1 is active support, and can't act as manager"),
            ("ivanov", "manager", "can't act as manager"),
            ("root1", "administrator", "the role administrator may not"),
            ("boss", None, "can't act as"),
        ):
            for query in (SET, CHANGE, LIFT):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match=said):
                    await db.pool.fetch(query, name, role)
        for query in (CHANGE, LIFT):
            # The lock's author, petrova, is a user of another role than ivanov; he has set none of it.
            with pytest.raises(
                asyncpg.InsufficientPrivilegeError, match="set by petrova: only its author or a manager"
            ):
                await db.pool.fetch(query, "ivanov", "b2b")
        await db.pool.execute("UPDATE access.users SET status = 'disabled' WHERE name = 'boss'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="user boss is disabled manager"):
            await db.pool.fetch(LIFT, "boss", "manager")
        assert await db.pool.fetchval("SELECT count(*) FROM office.lock_history WHERE lock_id = 'L2'") == 1
        await db.pool.fetch(LIFT, "petrova", "billing")

    told(database, story)


def test_what_the_database_refuses_is_told_as_a_refusal(database: TestedDatabase) -> None:
    """A user whose role has changed since the request was let in."""

    async def story(db: Database) -> None:
        made = await set_lock(db, "ivanov")
        await db.pool.execute("UPDATE access.users SET role = 'support' WHERE name = 'ivanov'")
        with pytest.raises(NotAllowed, match="can't act as b2b"):
            await lift_lock(db, "ivanov", made.lock_id)
        assert (await LooksRecord(db.pool).lock(made.lock_id)).lifted_at is None

    told(database, story)


def test_the_database_and_the_table_of_permissions_agree(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        for role in ROLES:
            row = await db.pool.fetchrow("SELECT office.may_set_locks($1), office.may_lift_any_lock($1)", role)
            may = ROLE_PERMISSIONS[role]
            assert tuple(row) == ("locks.set" in may, "locks.lift_any" in may), role
            assert ("locks.set" in may) == ("locks.lift" in may), role

    database.run(story, role=APP)


# -- the check --------------------------------------------------------------------------------------------------------


def test_the_guides_case_names_the_lock_and_whom_to_ask(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        answer = await check(db, "381114112060")

        (found,) = answer.locks
        assert (found.lock_id, found.digits, found.scope, found.provider_id) == ("L1", "38", "account", "megafon")
        assert (found.provider_name, found.author, found.deciding) == ("Москва, Мегафон", "ivanov", True)
        assert found.ask == "Имя ivanov (ivanov, ivanov@example.org), who set it; else your manager"
        assert found.why == "Фрод на Балканы через Мегафон"
        assert [(one.action, one.actor, one.at[:10]) for one in found.history] == [("set", "ivanov", "2026-11-02")]
        assert answer.deciding is not None
        assert answer.deciding.lock_id == "L1"
        assert "Do not remove it yourself" in answer.verdict

    told(database, story)


def test_local_locks_come_first_then_those_for_everyone(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await set_lock(db, digits="38", lock_id="G1")
        await set_lock(db, digits="381", account_id="100201", provider_id="beeline", lock_id="A1")
        answer = await check(db, "381114112060", "100201")

        assert ids(answer) == ["L6", "L4", "L3", "L5", "A1", "G1"]
        assert [lock.lock_id for lock in answer.locks if lock.deciding] == ["L6"]
        assert answer.full_ban
        assert ids(await check(db, "381114112060", NO_ACCOUNT)) == ["G1"]
        assert ids(await check(db, "381641234567", "100202")) == ["L2", "G1"]
        assert ids(await check(db, "390612345678", "100202")) == ["L8"]
        assert ids(await check(db, "74951234567", "100202")) == []

    told(database, story)


def test_a_lock_on_a_provider_denies_only_when_no_other_is_left(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        one = await check(db, "74951234567", "100203")
        assert (ids(one), one.deciding, one.taken_out, one.left) == (["L10"], None, ("beeline",), ("megafon",))
        assert "the call can leave through megafon" in one.verdict

        await set_lock(db, digits="7", provider_id="megafon", lock_id="G1")
        both = await check(db, "74951234567", "100203")
        assert both.deciding is not None
        assert (both.deciding.lock_id, both.left, both.full_ban) == ("L10", (), False)
        assert "the call has no other" in both.verdict
        # No lock denies a call that no provider has a price for.
        unpriced = await check(db, "7812", "100203")
        assert (ids(unpriced), unpriced.deciding) == (["G1"], None)
        assert "no provider could carry the call anyway" in unpriced.verdict

    told(database, story)


def test_a_lock_that_is_lifted_or_changed_covers_no_more(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, "ivanov", "7495")
        assert made.lock_id in ids(await check(db, "74951234567"))
        await change_lock(db, "ivanov", made.lock_id, digits="7499")
        assert ids(await check(db, "74951234567")) == []
        assert ids(await check(db, "74991234567")) == [made.lock_id]
        await lift_lock(db, "boss", made.lock_id)
        assert ids(await check(db, "74991234567")) == []

    told(database, story)


def test_a_whole_number_is_locked_alone(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        made = await set_lock(db, digits="8(495) 200-0-200", kind="number")
        assert made.digits == "74952000200"
        assert ids(await check(db, "74952000200")) == [made.lock_id]
        assert ids(await check(db, "7495200020")) == []
        assert ids(await check(db, "749520002001")) == []

    told(database, story)


def test_emergency_calls_pass_whatever_is_locked(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        await set_lock(db, digits="1", lock_id="G1")
        answer = await check(db, "112")
        assert (ids(answer), answer.deciding, answer.emergency) == (["G1"], None, True)
        assert "always pass" in answer.verdict

    told(database, story)


def test_a_check_of_what_can_not_be_is_refused(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        for number, account, said in (("38x", "100200", "is no number"), ("38", "nobody", "account 'nobody'")):
            with pytest.raises(Unknown, match=said):
                await check(db, number, account)
        with pytest.raises(Unknown, match="leaves through no provider"):
            await record.check(db.pool, ENGINE, number="38", account_id="100200", at=AT, service="incoming")

    told(database, story)


def test_the_check_of_a_past_moment_knows_what_was_in_force_then(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        number = "442071234567"
        made = await set_lock(db, digits="44", account_id="100200", lock_id="X")
        await change_lock(db, "boss", "X", digits="4420", account_id=None, at=AT + HOUR)
        await change_lock(db, "boss", "X", digits="49", at=AT + 2 * HOUR)
        await lift_lock(db, "boss", "X", at=AT + 3 * HOUR)
        later = AT + 5 * HOUR

        async def then(hours: float, asked: str = number, account: str = "100200") -> list[str]:
            return ids(await check(db, asked, account, at=later, as_of=AT + hours * HOUR))

        assert await then(-0.01) == []
        assert await then(0) == ["X"]
        assert await then(0.5, account="100201") == []
        assert await then(1.5, account="100201") == ["X"]
        assert await then(1.5, "447") == []
        assert await then(2.5) == []
        assert await then(2.5, "4930") == ["X"]
        assert await then(3, "4930") == []
        past = await check(db, number, at=later, as_of=AT + 0.5 * HOUR)
        assert (past.locks[0].digits, past.locks[0].in_force, past.locks[0].author) == ("44", False, made.author)
        assert [one.action for one in past.locks[0].history] == ["set", "changed", "changed", "lifted"]

    told(database, story)


def test_a_lock_that_was_loaded_again_was_not_in_force_while_it_was_lifted(database: TestedDatabase) -> None:
    async def prepared(db: Database) -> None:
        without = dataclasses.replace(
            regions(), locks={name: lock for name, lock in regions().locks.items() if name != "L2"}
        )
        for folder, hours in ((without, 1), (regions(), 3)):
            await load_folder(db.pool, folder, author="loader", at=AT + hours * HOUR)

        async def then(hours: float) -> list[str]:
            at = AT + 9 * HOUR
            return ids(await check(db, "381641234567", "100202", at=at, as_of=AT + hours * HOUR))

        assert [await then(hours) for hours in (0, 2, 4)] == [["L2"], [], ["L2"]]

    async def nothing(db: Database) -> None:
        pass

    told(database, nothing)
    database.run(prepared)


def test_support_asks_the_author_else_the_manager() -> None:
    known = rules.Colleague("ivanov", "Иванов И. И.", "b2b", "i@example.org", "101", True)

    assert whom_to_ask("ivanov", known) == "Иванов И. И. (ivanov, 101, i@example.org), who set it; else your manager"
    assert whom_to_ask("ivanov", None) == "ivanov, who set it (and is no user here); else your manager"
    gone = rules.Colleague("ivanov", "Иванов И. И.", "b2b", None, None, False)
    assert whom_to_ask("ivanov", gone) == "your manager: Иванов И. И. (ivanov), who set it, works here no more"


def test_the_verdict_says_whom_to_ask_as_the_lock_does() -> None:
    """Of a folder no users are known: the author, else the manager."""
    reference = made_of(regions())
    found = check_lock(ENGINE, reference, number="381114112060", account_id="100200", at_us=from_datetime(AT))

    assert found.verdict.endswith("to learn why, ask ivanov, who set it; else your manager. Do not remove it yourself")
    assert worded(found, "your manager").verdict.endswith("ask your manager. Do not remove it yourself")


def test_locks_within_a_direction_are_found_in_a_folder_too() -> None:
    reference = made_of(regions())
    found = check_lock(ENGINE, reference, number="3811", account_id="100201", at_us=from_datetime(AT))

    longer = [(lock.lock_id, lock.digits) for lock in found.longer]
    wanted = [
        (lock.lock_id, lock.digits)
        for lock in regions().locks.values()
        if lock.account_id in (None, "100201") and lock.digits.startswith("3811") and lock.digits != "3811"
    ]
    assert sorted(longer) == sorted(wanted)
    assert found.longer_total == len(wanted) > 0


def deciding(decision: CallDecision) -> str | None:
    return next((reason.lock_id for reason in decision.reasons if isinstance(reason, LockReason)), None)


@some
@given(worlds())
def test_the_check_names_the_lock_that_the_engine_denies_by(world: World) -> None:
    for number in ("381114", "7495", "112"):
        for service in ("outgoing", "forwarding"):
            attempt = CallAttempt("x", "s", to_text(NOON_US), service, number, "a")
            found = check_lock(LIMITS, world.reference(), number=number, account_id="a", at_us=NOON_US, service=service)

            (decision,) = decide(world, attempt)
            assert (found.deciding and found.deciding.lock_id) == deciding(decision)
            named = {lock.lock_id for check in decision.checks for lock in check.locks}
            assert {lock.lock_id for lock in found.locks} == named or decision.emergency is True
            assert [lock.scope for lock in found.locks] == sorted(lock.scope for lock in found.locks)


LISTS = (
    LockFilter(),
    LockFilter(state="all"),
    LockFilter(state="lifted"),
    LockFilter(scope="global"),
    LockFilter(covering="381114112060"),
    LockFilter(begins_with="38", provider_id="megafon"),
)


async def everything(db: Database, wanted: LockFilter) -> tuple[int, tuple[OfficeLock, ...]]:
    found = await record.page(db.pool, wanted, after=None, limit=1_000)
    return found.total, found.locks


@pytest.mark.parametrize("seed", range(3))
def test_the_record_and_the_engine_agree_on_locks_that_came_and_went(database: TestedDatabase, seed: int) -> None:
    """Random locks, set, changed and lifted: for each number and account the check on the record is what the engine
    decides with all that the record has, and so it was at each moment of the past."""
    random = Random(seed)
    digits = ("3", "38", "381", "3811", "38111", "381114112060", "381641234567", "7", "74", "7495", "74951234567")
    numbers = ("381114112060", "381641234567", "74951234567", "998901234567")
    accounts = tuple(regions().accounts)

    async def step(db: Database, at: datetime) -> None:
        there = [row[0] for row in await db.pool.fetch("SELECT lock_id FROM office.locks WHERE lifted_at IS NULL")]
        what = random.random()
        place = {
            "digits": random.choice(digits),
            "account_id": random.choice((None, *accounts)),
            "provider_id": random.choice((None, "megafon", "megafon", "beeline")),
        }
        try:
            if what < 0.5 or not there:
                await set_lock(
                    db, random.choice(("ivanov", "boss")), at=at, kind=random.choice(("prefix", "number")), **place
                )
            elif what < 0.7:
                await change_lock(db, "boss", random.choice(there), at=at, **place)
            else:
                await lift_lock(db, "boss", random.choice(there), at=at)
        except InTheWay:
            pass  # the very same is there

    def answer(reference: Reference, number: str, account: str, at: datetime) -> tuple[set[str], str | None]:
        attempt = CallAttempt("x", "s", to_text(from_datetime(at)), "outgoing", number, account)
        decision = decide_under(ENGINE, reference, attempt, None, None)
        return {lock.lock_id for one in decision.checks for lock in one.locks}, deciding(decision)

    async def story(db: Database) -> None:
        expected: list[tuple[datetime, Any, Any]] = []
        denied_by = set()
        for minute in range(40):
            at = AT + timedelta(minutes=minute)
            await step(db, at)
            if minute % 5 == 4:
                folder = await read_reference(db.pool, at=at)
                reference = made_of(folder)
                lists = {wanted: await everything(db, wanted) for wanted in LISTS}
                answers = {
                    (number, account): answer(reference, number, account, at)
                    for number in numbers
                    for account in accounts
                }
                expected.append((at, answers, lists))
                denied_by |= {found[1] for found in answers.values()}
                for (number, account), wanted in answers.items():
                    found = await check(db, number, account, at=at)
                    assert (set(ids(found)), found.deciding and found.deciding.lock_id) == wanted
        for at, answers, lists in expected:
            for wanted, live in lists.items():
                assert await everything(db, msgspec.structs.replace(wanted, as_of=at)) == live
            for (number, account), wanted in answers.items():
                past = await check(db, number, account, at=AT + 10 * HOUR, as_of=at)
                assert (set(ids(past)), past.deciding and past.deciding.lock_id) == wanted
        assert len(denied_by) > 5

    told(database, story)


def made_of(folder: ReferenceFolder) -> Reference:
    return Reference(
        accounts=folder.accounts.values(),
        providers=folder.providers.values(),
        plans=folder.tariff_plans.values(),
        price_lists=folder.price_lists.values(),
        prices=folder.prices,
        bands=folder.bands.values(),
        locks=folder.locks.values(),
        numbers=folder.numbers.values(),
        discounts=folder.discounts,
    )


# -- lists ------------------------------------------------------------------------------------------------------------


FILTERS: tuple[tuple[LockFilter, set[str]], ...] = (
    (LockFilter(), {"L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9", "L10"}),
    (LockFilter(state="lifted"), {"X"}),
    (LockFilter(state="all", author="boss"), {"X"}),
    (LockFilter(scope="global"), {"L2"}),
    (LockFilter(account_id="100201"), {"L3", "L4", "L5", "L6"}),
    (LockFilter(scope="global", account_id="100201"), set()),
    (LockFilter(provider_id="megafon"), {"L1", "L5"}),
    (LockFilter(author="petrova"), {"L2", "L10"}),
    (LockFilter(begins_with="3811"), {"L5", "L6", "L9"}),
    (LockFilter(covering="381114112060"), {"L1", "L3", "L4", "L5", "L6"}),
    (LockFilter(covering="381114112061", account_id="100202"), {"L9"}),
    (LockFilter(covering="38111411206"), {"L1", "L3", "L4", "L5"}),
    (LockFilter(text="БАЛКАНЫ"), {"L1"}),
)


def test_lists_show_what_is_asked_for_and_how_many_there_are(database: TestedDatabase) -> None:
    async def listed(db: Database, wanted: LockFilter, found: set[str]) -> None:
        whole = await record.page(db.pool, wanted, after=None, limit=100)
        assert {lock.lock_id for lock in whole.locks} == found, wanted
        assert (whole.total, whole.next) == (len(found), None)
        pages, after = [], None
        while True:
            one = await record.page(db.pool, wanted, after=after, limit=3)
            assert one.total == len(found)
            pages += one.locks
            if (after := one.next) is None:
                break
        assert pages == list(whole.locks)
        assert [lock.created_at for lock in pages] == sorted((lock.created_at for lock in pages), reverse=True)

    async def story(db: Database) -> None:
        await set_lock(db, "boss", "49", lock_id="X")
        await lift_lock(db, "boss", "X")
        for wanted, found in FILTERS:
            await listed(db, wanted, found)
            # What they were at a moment that nothing has changed since, they are.
            then = msgspec.structs.replace(wanted, as_of=AT + 3 * HOUR)
            await listed(db, then, found)
            assert await everything(db, then) == await everything(db, wanted)
        before = LockFilter(state="all", as_of=datetime(2025, 1, 1, tzinfo=UTC))
        assert await everything(db, before) == (0, ())

    told(database, story)


def test_an_account_without_locks_has_an_empty_list_and_one_that_is_not_there_has_none(
    database: TestedDatabase,
) -> None:
    async def story(db: Database) -> None:
        await lift_lock(db, "boss", "L10")
        assert (await record.page(db.pool, LockFilter(account_id="100203"), after=None, limit=10)).locks == ()
        with pytest.raises(NotThere):
            await record.page(db.pool, LockFilter(account_id="nobody"), after=None, limit=10)

    told(database, story)


# -- rehearsals -------------------------------------------------------------------------------------------------------


def attempts() -> dict[str, CallAttempt]:
    found = {}
    for line in lines():
        if line.topic != CALL_ATTEMPTS.name:
            continue
        try:
            event = decode_switch_event(line.value)
        except UNREADABLE:
            continue  # some are broken on purpose
        if isinstance(event, CallAttempt):
            found.setdefault(event.attempt_id, event)
    return found


def test_a_rehearsal_tells_what_the_engine_would_have_denied(database: TestedDatabase) -> None:
    """Each call of the half hour is decided again with the lock in the tables, and all else as it was."""
    folder = read(BUSY)

    async def rehearsed(db: Database, lock: Lock) -> Rehearsal:
        sent = RehearsalSent(
            kind=lock.kind, digits=lock.digits, account_id=lock.account_id, provider_id=lock.provider_id, limit=1_000
        )
        since, until = AT - timedelta(days=7), AT
        return await rules.rehearse(
            LooksRecord(db.pool), TrafficRecord(db.pool), sent, since=since, until=until, settings=ENGINE, e164=e164
        )

    async def story(db: Database) -> None:
        await load_folder(db.pool, folder, author="loader", at=AT - timedelta(days=30))
        async with operator() as made:
            await project(made, db)
            decisions = {}
            for one in made.said(DECISIONS):
                decision = json_decision(one.value)
                if not decision.extension:
                    decisions.setdefault(decision.attempt_id, decision)
            cdrs = {one["attempt_id"]: one for one in made.told(RATED) if one["attempt_id"]}
            unasked = [one for one in made.told(RATED) if one.get("no_attempt") or one.get("denied")]
        asked = attempts()
        random = Random(1)
        numbers = sorted({asked[name].called for name, one in decisions.items() if one.allow and one.routes})
        seen = {"stopped": 0, "rerouted": 0, "untouched": 0, "unasked": 0}
        for number in random.sample(numbers, 12):
            accounts = sorted({one.account_id for one in asked.values() if one.called == number and one.account_id})
            for digits, kind in ((number[:1], "prefix"), (number[:5], "prefix"), (number, "number")):
                for provider in (None, "megafon", "sever", "west"):
                    lock = Lock(
                        "new",
                        kind,
                        digits,
                        random.choice((None, *accounts)),
                        provider,
                        "i",
                        "w",
                        "2026-01-01T00:00:00.000Z",
                    )
                    found = await rehearsed(db, lock)
                    expected = model(folder, lock, asked, decisions, cdrs)
                    assert (found.stopped_calls, found.rerouted_calls, found.untouched_calls) == expected.counts, lock
                    assert found.lost_revenue_micros == expected.lost
                    assert found.saved_cost_micros == expected.saved
                    assert found.stopped_seconds == expected.seconds
                    assert {one.client_id: one.stopped_calls for one in found.clients if one.stopped_calls} == (
                        expected.by_client
                    )
                    without = [one["cdr_id"] for one in unasked if carried(lock, one)]
                    assert found.unasked_calls == len(without)
                    for name, count in zip(seen, (*expected.counts, len(without)), strict=True):
                        seen[name] += count
        assert all(seen.values()), seen

    database.run(story)


def json_decision(value: bytes | None) -> CallDecision:
    return msgspec.json.decode(value or b"", type=CallDecision)


class Expected:
    def __init__(self) -> None:
        self.counts = (0, 0, 0)
        self.lost = self.saved = self.seconds = 0
        self.by_client: dict[str, int] = {}


def matches(lock: Lock, called: str, account: str | None, service: str) -> bool:
    covered = called.startswith(lock.digits) if lock.kind == "prefix" else called == lock.digits
    return covered and lock.account_id in (None, account) and service in ENGINE.routed_services


def carried(lock: Lock, cdr: dict[str, Any]) -> bool:
    through = lock.provider_id in (None, cdr["provider_id"])
    return through and matches(lock, cdr["called"], cdr["account_id"], cdr["service"]) and not cdr.get("emergency")


def model(
    folder: ReferenceFolder,
    lock: Lock,
    asked: dict[str, CallAttempt],
    decisions: dict[str, CallDecision],
    cdrs: dict[str, dict[str, Any]],
) -> Expected:
    """By the engine: who is denied that was allowed; who loses the provider that he went through."""
    with_lock = made_of(dataclasses.replace(folder, locks=folder.locks | {"new": lock}))
    found = Expected()
    stopped = rerouted = untouched = 0
    for name, before in decisions.items():
        attempt = asked[name]
        if not before.allow or before.emergency is True:
            continue
        if not matches(lock, attempt.called, attempt.account_id, attempt.service):
            continue
        after = decide_under(ENGINE, with_lock, attempt, account_then(before), None)
        cdr = cdrs.get(name)
        went = before.routes[0].provider_id if cdr is None or cdr["provider_id"] is None else cdr["provider_id"]
        if not after.allow:
            stopped += 1
            client = folder.accounts[attempt.account_id or ""].client_id
            found.by_client[client] = found.by_client.get(client, 0) + 1
            if cdr is not None:
                found.seconds += cdr["billable_seconds"]
                found.lost += (cdr["retail"] or {"amount_micros": 0})["amount_micros"]
                found.saved += (cdr["wholesale"] or {"amount_micros": 0})["amount_micros"]
        elif went in {route.provider_id for route in before.routes} - {route.provider_id for route in after.routes}:
            rerouted += 1
        else:
            untouched += 1
    found.counts = (stopped, rerouted, untouched)
    return found


def test_a_rehearsal_says_what_is_banned_already_and_how_the_mask_was_read(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async def rehearsed(**more: Any) -> Rehearsal:
            sent = RehearsalSent(**more)
            return await rules.rehearse(
                LooksRecord(db.pool), TrafficRecord(db.pool), sent, since=AT, until=AT, settings=ENGINE, e164=e164
            )

        found = await rehearsed(digits="+381-6XXX", account_id="100201")
        assert (found.digits, found.same_as, found.covered_by) == ("3816", None, ("L3", "L4", "L2"))
        assert (await rehearsed(digits="3816")).same_as == "L2"
        assert (found.stopped_calls, found.clients) == (0, ())
        with pytest.raises(Unfit):
            await rehearsed(digits="none", provider_id="none")

    told(database, story)


# -- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def office(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> TestedDatabase:
    """A database that the commands work on."""

    async def nothing(db: Database) -> None:
        pass

    told(database, nothing)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    return database


def tollgate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """The exit code and what was printed."""
    code = app(list(words), exit_on_error=False, result_action="return_value")
    return code, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(tollgate(capsys, *words, "--json")[1])


def test_the_command_sets_changes_checks_and_lifts(office: TestedDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    made = as_json(capsys, "lock", "set", "+44", "--reason=fraud", "--account=100200", "--as=ivanov")
    assert (made["digits"], made["author"], made["reason"]) == ("44", "ivanov", "fraud")
    lock_id = made["lock_id"]
    code, text = tollgate(capsys, "lock", "check", "+44 20 7123 4567", "--account=100200")
    assert (code, lock_id in text, "bans the call" in text) == (1, True, True)
    changed = as_json(capsys, "lock", "change", lock_id, "--account=", "--reason=everyone", "--as=boss")
    assert changed["account_id"] is None
    assert as_json(capsys, "lock", "list", "--number=442071234567", "--global")["locks"][0]["lock_id"] == lock_id
    assert "is lifted" in tollgate(capsys, "lock", "lift", lock_id, "--reason=over", "--as=ivanov")[1]
    history = as_json(capsys, "lock", "history", lock_id)
    assert [entry["action"] for entry in history["history"]] == ["set", "changed", "lifted"]
    assert tollgate(capsys, "check", "lock", "442071234567", "--account=100200")[0] == 0
    assert as_json(capsys, "lock", "list", "--state=lifted")["total"] == 1
    assert "no lock's time is over" in tollgate(capsys, "lock", "expire")[1]
    assert "calls it would have stopped" in tollgate(capsys, "lock", "rehearse", "381")[1]


def test_the_check_of_the_contract_answers_alike_on_a_folder_and_on_the_database(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"--reference={FOLDER / 'forbidden_regions' / 'reference'}"
    for account, number in (("100200", "+381 11 411 20 60"), ("100201", "381114112060"), ("100203", "8 495 123-45-67")):
        words = ("check", "lock", number, f"--account={account}")
        on_folder, on_database = as_json(capsys, *words, folder), as_json(capsys, *words)
        assert on_database["locks"]
        # Of users only the database knows: how to reach the author stands there alone.
        for found in (on_folder, on_database):
            found["verdict"] = found["verdict"].partition(" ask ")[0]
            assert found["deciding"] is None or found["deciding"].pop("ask")
        for name in ("number", "account_id", "deciding", "full_ban", "taken_out", "left", "verdict", "longer_total"):
            assert on_folder[name] == on_database[name], name
        assert [lock["lock_id"] for lock in on_folder["locks"]] == [lock["lock_id"] for lock in on_database["locks"]]
    assert as_json(capsys, "lock", "list", "--at=2026-11-02")["total"] >= 1
    assert as_json(capsys, "lock", "list", "--at=2025-01-01", "--state=all")["total"] == 0
    assert as_json(capsys, "lock", "check", "381XXXXXX", "--account=100200", "--at=2026-11-23")["at"].startswith(
        "2026-11-23T20:59:59.999"
    )
    with pytest.raises(Refused, match="--at: 2098-01-01 lies in the future"):
        tollgate(capsys, "lock", "list", "--at=2098-01-01")
    past = as_json(capsys, "check", "lock", "381114112060", "--account=100200", "--at=2026-11-01T00:00:00Z")
    assert past["locks"] == []
    with pytest.raises(Refused, match="a folder has none"):
        tollgate(capsys, "check", "lock", "38", "--account=100200", "--at=2026-11-01T00:00:00Z", folder)


REFUSED: tuple[tuple[Sequence[str], str], ...] = (
    (("lift", "L1", "--reason=x", "--as=sup1"), "the role support may not .*ask your manager"),
    (("lift", "L1", "--reason=x", "--as=petrova"), "set by ivanov: only its author or a manager.*ask ivanov"),
    (("lift", "L1", "--reason=x", "--as=nobody"), "there is no user 'nobody': say by --as"),
    (("lift", "L99", "--reason=x", "--as=boss"), "there is no lock 'L99'"),
    (("lift", "L1", "--reason= ", "--as=boss"), "reason"),
    (("change", "L1", "--reason=x", "--digits=1", "--as=sup1"), "the role support may not"),
    (("set", "44", "--reason=x", "--as=sup1"), "the role support may not"),
    (("set", "Serbia", "--reason=x", "--as=boss"), "/digits: 'Serbia' is no prefix"),
    (("set", "44", "--reason=x", "--account=none", "--as=boss"), "/account_id: there is no account 'none'"),
    (("check", "Belgrade"), "'Belgrade' is no number"),
    (("check", "38", "--account=nobody"), "there is no account 'nobody'"),
    (("check", "38", "--at=2099-01-01T00:00:00Z"), "lies in the future"),
    (("check", "38", "--at=yesterday"), "--at: 'yesterday' is not a moment"),
    (("history", "L99"), "there is no lock 'L99'"),
    (("list", "--account=nobody"), "there is no account 'nobody'"),
    (("rehearse", "38", "--days=0"), "days"),
)


def test_the_command_refuses_in_words(office: TestedDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in REFUSED:
        with pytest.raises(Refused, match=said):
            tollgate(capsys, "lock", *words)
    assert tollgate(capsys, "lock", "check", "381114112060", "--account=100200")[0] == 1


def test_with_a_login_that_may_only_look_the_command_only_looks(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_DATABASE_ROLE", READONLY)

    assert tollgate(capsys, "check", "lock", "381114112060", "--account=100200")[0] == 1
    assert as_json(capsys, "lock", "list")["total"] == 10
    assert as_json(capsys, "lock", "history", "L1")["ask"].startswith("Имя ivanov")
    for words in (
        ("set", "44", "--reason=x", "--as=boss"),
        ("lift", "L1", "--reason=x", "--as=boss"),
        ("change", "L1", "--digits=44", "--reason=x", "--as=boss"),
    ):
        with pytest.raises(Refused, match="may look and not change anything"):
            tollgate(capsys, "lock", *words)
