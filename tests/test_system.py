"""The whole system in one process: each part at work, beside the others, over one database and one broker."""

import asyncio
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from api import GENEROUS
from msgspec.structs import replace
from projected import (
    BUSY,
    DECISIONS,
    EVENTS,
    Said,
    assert_all_is_there_once,
)

from backoffice.access import ROLE_PERMISSIONS
from backoffice.users import Key, User
from connectors import tokens
from connectors.audit import audit
from connectors.broker import Message, Record
from connectors.files.reference_folder import read_reference_folder
from connectors.postgres.access import AccessRecord
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from connectors.reference.reader import NoReference
from connectors.relay_session import EmptyTopic, Stuck
from connectors.settings import BadSettings
from connectors.system import PARTITIONS, DatabaseInUse, System, running
from engine.settings import EngineSettings
from schemas import topics
from schemas.partitions import partition_of
from schemas.times import to_us

LOADED_AT = datetime(2026, 11, 24, tzinfo=UTC)
ANY_PORT = replace(GENEROUS, port=0)


class Published(Said):
    """What the engine of a system has published."""

    def __init__(self, system: System) -> None:
        self._broker = system.broker

    def said(self, topic: str) -> list[Record]:
        return [record for partition in range(PARTITIONS) for record in self._broker.committed(topic, partition)]


async def loaded(settings: Any) -> None:
    """The busy half hour's operator in the record."""
    async with open_database(settings, role=None) as owner:
        engine = EngineSettings()
        folder = read_reference_folder(
            BUSY / "reference",
            business_time_zone=engine.business_time_zone,
            emergency_numbers=engine.emergency_numbers,
        )
        await load_folder(owner.pool, folder, author="test", at=LOADED_AT)


async def manager(db: Database) -> dict[str, str]:
    """What a manager sends along."""
    record, now, new = AccessRecord(db.pool), datetime.now(UTC), tokens.new_key()
    await record.insert_user(User("anna", "manager", "Анна", None, None, "active", None, None, None, now, "test"))
    until = now.replace(year=now.year + 1)
    scopes = tuple(sorted(ROLE_PERMISSIONS["manager"]))
    key = Key(new.prefix, "anna", "test", scopes, now, "test", until, None, None, None, None)
    await record.insert_key(key, new.secret_hash)
    return {"Authorization": f"Bearer {new.text}"}


def attempt(attempt_id: str, account_id: str, called: str, at: str) -> Message:
    event = (
        f'{{"type":"call_attempt","attempt_id":"{attempt_id}","at":"{at}","switch_id":"s","account_id":"{account_id}",'
        f'"service":"outgoing","caller":"74951234567","called":"{called}"}}'
    )
    return Message(account_id.encode(), event.encode(), to_us(at))


async def ask(system: System, attempt_id: str, account_id: str, called: str, at: str) -> dict[str, Any]:
    """The decision about an attempt."""
    partition = partition_of(account_id.encode(), PARTITIONS)
    name = topics.CALL_ATTEMPTS.name
    system.broker.produce(name, partition, [attempt(attempt_id, account_id, called, at)])
    await system.worked_off()
    (found,) = [one for one in Published(system).told(DECISIONS) if one["attempt_id"] == attempt_id]
    return found


def test_what_goes_in_is_decided_rated_and_written_once(database):
    async def story() -> None:
        await loaded(database.settings)
        async with running(database.settings, http=ANY_PORT) as system:
            events = await system.feed([BUSY / EVENTS])
            await system.projected()

            assert events == sum(1 for line in (BUSY / EVENTS).read_bytes().splitlines() if line.strip())
            assert system.latest_us > to_us("2026-01-01T00:00:00.000Z")
            await assert_all_is_there_once(Published(system), system.database)
            report = await audit(system.database.pool, system.broker, business_time_zone="Europe/Moscow")
            assert report.findings == []
            assert report.on_its_way == {}

            system.forget()
            assert Published(system).said(DECISIONS) == []
            report = await audit(system.database.pool, system.broker, business_time_zone="Europe/Moscow")
            assert report.findings == []

    asyncio.run(story())


def test_what_the_office_saves_decides_the_next_call(database):
    async def story() -> None:
        await loaded(database.settings)
        async with running(database.settings, http=ANY_PORT) as system:
            headers = await manager(system.database)
            account_id, called = await allowed_pair(system)
            before = await ask(system, "before", account_id, called, "2026-11-24T13:00:00.000Z")
            assert before["allow"], before

            async with httpx.AsyncClient(base_url=system.address, headers=headers) as client:
                sent = {"kind": "prefix", "digits": called[:5], "account_id": account_id, "reason": "суд"}
                answer = await client.post("/api/locks", json=sent, headers={"Idempotency-Key": "one"})
                assert answer.status_code == 201, answer.text
                await system.published()
                denied = await ask(system, "locked", account_id, called, "2026-11-24T13:00:01.000Z")
                assert denied["reason"]["code"] == "lock"
                assert denied["reason"]["author"] == "anna"

                await system.projected()
                told = (await client.get("/api/calls/locked/explain")).json()
                assert told["decision"]["allow"] is False

    asyncio.run(story())


async def allowed_pair(system: System) -> tuple[str, str]:
    """An account and a number that it may call."""
    for number, account in enumerate(system.reader.reference.accounts.values()):
        called = "74957654321"
        found = await ask(system, f"try-{number}", account.account_id, called, "2026-11-24T12:59:00.000Z")
        if found["allow"]:
            return account.account_id, called
    raise AssertionError("nobody may call")


def test_a_record_without_anything_in_it_is_told(database):
    async def story() -> None:
        async with running(database.settings, http=ANY_PORT):
            raise AssertionError("there is nothing to work with")

    with pytest.raises(NoReference, match="publish them first"):
        asyncio.run(story())


def test_an_address_that_is_taken_is_told(database):
    async def story() -> None:
        await loaded(database.settings)
        with socket.create_server(("127.0.0.1", 0)) as other:
            async with running(database.settings, http=replace(ANY_PORT, port=other.getsockname()[1])):
                raise AssertionError("it can't listen")

    with pytest.raises(BadSettings, match="port"):
        asyncio.run(story())


def test_a_database_that_another_broker_has_written_to_is_told(database):
    async def story() -> None:
        async with running(database.settings, http=ANY_PORT):
            raise AssertionError("the engine's state is lost")

    async def before() -> None:
        await loaded(database.settings)
        async with running(database.settings, http=ANY_PORT):
            pass

    asyncio.run(before())
    with pytest.raises(EmptyTopic, match="do not belong together"):
        asyncio.run(story())


def test_a_database_that_another_process_works_on_is_told(database, monkeypatch):
    monkeypatch.setattr("connectors.system._ACTIVE_SECONDS", 0.5)

    async def story() -> None:
        await loaded(database.settings)
        async with running(database.settings, http=ANY_PORT):
            with pytest.raises(DatabaseInUse, match="a database of its own"):
                async with running(database.settings, http=ANY_PORT):
                    raise AssertionError("two relays")

    asyncio.run(story())


def test_a_part_that_cannot_go_on_ends_the_others(database):
    async def story() -> None:
        await loaded(database.settings)
        async with running(database.settings, http=ANY_PORT) as system:
            owner = await asyncpg.connect(database.dsn)
            await owner.execute(
                "INSERT INTO plumbing.outbox (change_id, at, author, kind, key, payload) "
                "SELECT 1 + max(change_id), now(), 'test', 'a_kind_of_later', 'k', '{}' FROM plumbing.outbox"
            )
            await owner.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(30):
                    await asyncio.Event().wait()
            raise AssertionError(f"it goes on at {system.address}")

    with pytest.raises(Stuck, match="a_kind_of_later"):
        asyncio.run(story())
