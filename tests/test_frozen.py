"""Processes that stand still with something in their hands that others wait for: the server lets go of them. And what a
connection says on which the server has said good-bye."""

import asyncio
from datetime import UTC, datetime
from time import monotonic

import asyncpg
import pytest
from postgres import TestedDatabase

import connectors.postgres.change
from connectors.http.problems import explain
from connectors.postgres import outbox
from connectors.postgres.change import OutcomeUnknown, change
from connectors.postgres.database import RELAY, Database

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DEADLINE_SECONDS = 20.0


def test_a_relay_that_stands_still_loses_its_place(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FROZEN_SECONDS", 0.5)

    async def story(db: Database) -> None:
        frozen, other = await db.pool.acquire(), await db.pool.acquire()
        assert await outbox.take(frozen)
        assert not await outbox.take(other)
        # Nothing is heard of it any more.
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await outbox.take(other):
                await asyncio.sleep(0.02)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await outbox.mark(frozen, [1], None)

    database.run(story, role=RELAY)


def test_a_relay_that_is_busy_with_the_broker_keeps_its_place(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FROZEN_SECONDS", 0.5)

    async def story(db: Database) -> None:
        busy, other = await db.pool.acquire(), await db.pool.acquire()
        assert await outbox.take(busy)
        until = monotonic() + 4 * outbox.FROZEN_SECONDS
        async with outbox.kept(busy):
            while monotonic() < until:
                assert not await outbox.take(other)
                await asyncio.sleep(0.02)
        assert await outbox.take(busy)

    database.run(story, role=RELAY)


def test_a_change_that_stands_still_before_its_commit_does_not_keep_the_office_waiting(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors.postgres.change, "FROZEN_SECONDS", 1)

    async def make(db: Database, name: str) -> None:
        async with change(db.pool, actor="ivanov", reason="a test", at=AT) as tx:
            await tx.audit("lock", name, "set", None, {"lock_id": name})

    async def freeze(db: Database) -> None:
        async with change(db.pool, actor="ivanov", reason="a test", at=AT) as frozen:
            await frozen.audit("lock", "frozen", "set", None, {})
            await frozen.write()
            # All others have to wait for it from here on; and it says nothing any more.
            async with asyncio.timeout(DEADLINE_SECONDS):
                await make(db, "next")

    async def story(db: Database) -> None:
        with pytest.raises((OutcomeUnknown, asyncpg.IdleInTransactionSessionTimeoutError)):
            await freeze(db)
        rows = await db.pool.fetch("SELECT entity_id FROM plumbing.audit")
        assert [row["entity_id"] for row in rows] == ["next"]

    database.run(story)


# What asyncpg says when it is asked for something after the server's last word and before the end of the line.
GOOD_BYE = asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")


class _Closing:
    """A transaction on such a connection."""

    async def commit(self) -> None:
        raise GOOD_BYE


def test_a_commit_after_the_servers_good_bye_leaves_the_outcome_unknown() -> None:
    with pytest.raises(OutcomeUnknown):
        asyncio.run(connectors.postgres.change._commit(_Closing()))


def test_a_question_after_the_servers_good_bye_is_answered_with_away() -> None:
    assert explain(GOOD_BYE).document.status == 503
