"""Price lists for a later moment: staged ahead, in force in that moment, whatever the office thinks of until then."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace
from postgres import TestedDatabase
from test_reference_folder import EMERGENCY, write
from test_relay import DEADLINE_SECONDS, PARTITIONS, Died, Killer, broker_with, until

from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.memory import MemoryBroker
from connectors.postgres import outbox, price_lists
from connectors.postgres.change import change
from connectors.postgres.database import RELAY, Database, open_database
from connectors.postgres.load import load_folder
from connectors.reference.publisher import STAGED_PRICES
from connectors.reference.reader import InForce, ReferenceReader
from connectors.relay import Relay
from connectors.relay_session import AHEAD
from schemas import topics
from schemas.codec import decode_account_command
from schemas.events import Payment
from schemas.reference import Lock, PriceRow
from schemas.times import from_datetime, to_text

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SOON = AT + timedelta(minutes=5)


@dataclass
class Office:
    """The office with its owner's rights, the topic, and the business clock."""

    db: Database
    folder: ReferenceFolder
    broker: MemoryBroker
    at: datetime = AT
    told: list[InForce] = field(default_factory=list)
    """What came into force at a worker."""

    async def now_us(self) -> int:
        return from_datetime(self.at)

    @asynccontextmanager
    async def relaying(self, settings: Any) -> Any:
        """A relay with the rights of its role, until the block ends; nothing that it had raised is lost."""
        async with open_database(settings, role=RELAY) as own:
            relay = Relay(own.pool, self.broker, now_us=self.now_us)
            running = asyncio.create_task(relay.run())
            try:
                yield relay, running
            finally:
                relay.stop()
                await running

    @asynccontextmanager
    async def working(self) -> Any:
        """A worker's reference data, as they follow the topic."""
        reader = ReferenceReader(self.broker, observe=self.told.append)
        await reader.start()
        following = asyncio.create_task(reader.run())
        try:
            yield reader
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def publish(self, name: str, price: int, *, at: datetime = SOON, prefixes: Iterable[str] = ("7495",)) -> int:
        """A new version of a list, published by the office now and in force from a moment on."""
        rows = [
            PriceRow(name, prefix, None, None, None, None, 0, 0, price, 60, 60, None, None, None, None)
            for prefix in prefixes
        ]
        async with change(self.db.pool, actor="ivanov", reason="a test", at=self.at) as tx:
            version = await price_lists.stage(
                tx.connection, self.folder.price_lists[name], rows, at=self.at, author="maria"
            )
            await price_lists.publish(tx.connection, version.version_id, in_force_from=at, at=self.at, author="ivanov")
            await tx.audit("price_list", name, "published", None, {"version_id": version.version_id})
            await tx.publish("price_list", name, {"version_id": version.version_id})
        return version.version_id

    async def cancel(self, version_id: int) -> None:
        async with change(self.db.pool, actor="ivanov", reason="a mistake", at=self.at) as tx:
            await tx.execute(
                "UPDATE office.price_list_versions SET state = 'withdrawn', ended_at = $2, ended_by = 'ivanov', "
                "ended_why = 'a mistake' WHERE version_id = $1",
                version_id,
                self.at,
            )
            await tx.audit("price_list", "R-1", "withdrawn", {"version_id": version_id}, None)

    async def lock(self, name: str) -> None:
        async with change(self.db.pool, actor="ivanov", reason="a test", at=self.at) as tx:
            await tx.audit("lock", name, "set", None, None)
            await tx.publish(
                "lock", name, Lock(name, "prefix", "381", None, None, "x", "x", "2026-11-24T09:00:00.000Z")
            )

    async def order(self, account_id: str, name: str) -> None:
        """A payment."""
        payment = Payment(name, account_id, to_text(from_datetime(self.at)), 1_000_000)
        async with change(self.db.pool, actor="ivanov", reason="a test", at=self.at) as tx:
            await tx.audit("account", account_id, "paid", None, None)
            await tx.publish("command", account_id, payment)

    def ordered(self) -> set[str]:
        """Ids of the orders on the topic."""
        name = topics.ACCOUNT_COMMANDS
        partitions = (self.broker.committed(name.name, number) for number in range(PARTITIONS))
        return {decode_account_command(record.value or b"").command_id for part in partitions for record in part}

    async def nothing_waits(self) -> bool:
        async with self.db.pool.acquire() as connection:
            return (await outbox.backlog(connection, now=self.at)).rows == 0

    async def is_staged(self, *names: str) -> bool:
        """Whether the topic says that just these lists will come, and has all their chunks."""
        staged = last(self.broker, b"staged")
        if staged is None:
            return not names
        editions = json.decode(staged)["editions"]
        there = {edition["price_list"]["price_list_id"] for edition in editions}
        chunks = {chunk["digest"] for edition in editions for chunk in edition["chunks"]}
        assert all(last(self.broker, f"chunk/{digest}".encode()) for digest in chunks)
        return there == set(names)

    async def becomes(self, true: Callable[[], Awaitable[bool]], running: "asyncio.Task[None]") -> None:
        async def now() -> bool:
            if running.done():
                running.result()
            return await true()

        await until(now)


def last(broker: MemoryBroker, key: bytes) -> bytes | None:
    found = [record.value for record in broker.committed(topics.REFERENCE.name, 0) if record.key == key]
    return found[-1] if found else None


def price(reader: ReferenceReader, name: str = "R-1") -> int:
    (found,) = [one for one in reader.reference.retail[name].index.items() if one.prefix == "7495"]
    return found.tariff.rates[0].price_micros


Story = Callable[[Office, Any], Awaitable[None]]


def told(database: TestedDatabase, tmp_path: Path, story: Story, hook: Any = None) -> None:
    """A story in an office whose folder has been loaded and published: prices of 1, and a worker could start."""
    folder = read_reference_folder(write(tmp_path, {}), emergency_numbers=EMERGENCY)

    async def play(db: Database) -> None:
        await load_folder(db.pool, folder, author="loader", at=AT - timedelta(days=1))
        hooks: list[Any] = []

        async def hooked(point: str, who: str) -> None:
            for one in hooks:
                await one(point, who)

        office = Office(db, folder, broker_with(hooked))
        await office.publish("R-1", 1, at=AT)
        await office.publish("R-2", 1, at=AT)
        async with office.relaying(database.settings) as (_, running):
            await office.becomes(office.nothing_waits, running)
        if hook is not None:
            # For the relays of the story, not for the one before.
            hooks.append(hook)
        await story(office, database.settings)

    database.run(play)


def test_lists_of_one_moment_are_staged_ahead_and_come_into_force_in_it_together(
    database: TestedDatabase, tmp_path: Path
) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (relay, running):
            await office.publish("R-1", 7)
            await office.publish("R-2", 8)
            await office.becomes(lambda: office.is_staged("R-1", "R-2"), running)
            version = relay.version
            # Other changes go on, and take nothing of it back.
            await office.lock("L9")
            await office.becomes(office.nothing_waits, running)
            await worker.reached(version + 1, DEADLINE_SECONDS)
            assert await office.is_staged("R-1", "R-2")
            assert (price(worker), price(worker, "R-2")) == (1, 1)

            office.at = SOON - timedelta(milliseconds=1)
            await asyncio.sleep(0.05)
            assert price(worker) == 1
            office.at = SOON
            await worker.reached(version + 2, DEADLINE_SECONDS)
            assert (price(worker), price(worker, "R-2")) == (7, 8)
            assert office.told[-1].beforehand
            await office.becomes(office.nothing_waits, running)
            assert await office.is_staged()
        rows = await office.db.pool.fetch(
            "SELECT reference_version FROM plumbing.outbox WHERE kind = 'price_list' ORDER BY seq DESC LIMIT 2"
        )
        assert [row[0] for row in rows] == [version + 2] * 2

    told(database, tmp_path, story)


def test_nothing_is_staged_long_before_its_moment(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        await office.publish("R-1", 7, at=AT + AHEAD + timedelta(minutes=1))
        async with office.relaying(settings) as (relay, running):
            await office.becomes(lambda: _later(relay, 1), running)
            looked = relay.last_step
            await office.becomes(lambda: _after(relay, looked), running)
            assert await office.is_staged()
            office.at += timedelta(minutes=2)
            await office.becomes(lambda: office.is_staged("R-1"), running)

    told(database, tmp_path, story)


async def _later(relay: Relay, rows: int) -> bool:
    return relay.backlog.later == rows


async def _after(relay: Relay, step: float) -> bool:
    return relay.last_step > step


def test_what_is_cancelled_is_taken_back_and_never_comes(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        before = {record.key for record in live(office.broker) if record.key.startswith(b"chunk/")}
        async with office.working() as worker, office.relaying(settings) as (_, running):
            version_id = await office.publish("R-1", 7)
            await office.publish("R-2", 8)
            await office.becomes(lambda: office.is_staged("R-1", "R-2"), running)
            await office.cancel(version_id)
            await office.becomes(lambda: office.is_staged("R-2"), running)
            version = worker.version
            office.at = SOON
            await office.becomes(office.nothing_waits, running)
            await worker.reached(version + 1, DEADLINE_SECONDS)
            assert (price(worker), price(worker, "R-2")) == (1, 8)
        # Nothing is left of it on the topic.
        after = {record.key for record in live(office.broker) if record.key.startswith(b"chunk/")}
        assert len(after - before) == 1

    told(database, tmp_path, story)


def test_the_only_one_that_is_cancelled_leaves_nothing_behind(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        before = {record.key for record in live(office.broker)}
        async with office.relaying(settings) as (_, running):
            version_id = await office.publish("R-1", 7)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            await office.cancel(version_id)
            await office.becomes(lambda: office.is_staged(), running)
            await office.becomes(office.nothing_waits, running)
        assert {record.key for record in live(office.broker)} == before

    told(database, tmp_path, story)


def live(broker: MemoryBroker) -> list[Any]:
    """What compaction leaves, without what is gone."""
    found = {record.key: record for record in broker.committed(topics.REFERENCE.name, 0)}
    return [record for record in found.values() if record.value is not None]


def test_another_edition_may_come_first_and_an_earlier_moment_too(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            await office.publish("R-1", 7)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            version = worker.version
            await office.publish("R-1", 5, at=AT)
            await worker.reached(version + 1, DEADLINE_SECONDS)
            assert price(worker) == 5
            assert await office.is_staged("R-1")
            # One that comes before takes its place, and gives it back.
            await office.publish("R-2", 6, at=SOON - timedelta(minutes=1))
            await office.becomes(lambda: office.is_staged("R-2"), running)
            office.at = SOON - timedelta(minutes=1)
            await worker.reached(version + 2, DEADLINE_SECONDS)
            assert (price(worker), price(worker, "R-2")) == (5, 6)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            office.at = SOON
            await worker.reached(version + 3, DEADLINE_SECONDS)
            assert (price(worker), price(worker, "R-2")) == (7, 6)
            assert office.told[-1].beforehand

    told(database, tmp_path, story)


def test_of_two_versions_for_one_moment_the_later_counts(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            await office.publish("R-1", 7)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            await office.publish("R-1", 9)
            version = worker.version
            office.at = SOON
            await worker.reached(version + 1, DEADLINE_SECONDS)
            await office.becomes(office.nothing_waits, running)
            assert price(worker) == 9

    told(database, tmp_path, story)


def test_the_later_of_two_may_be_rolled_back_in_the_last_moment(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            await office.publish("R-1", 7)
            later = await office.publish("R-1", 9)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            version = worker.version
            office.at = SOON - timedelta(milliseconds=1)
            await office.cancel(later)
            office.at = SOON
            await worker.reached(version + 1, DEADLINE_SECONDS)
            await office.becomes(office.nothing_waits, running)
            assert price(worker) == 7
            await office.becomes(lambda: office.is_staged(), running)

    told(database, tmp_path, story)


def test_what_is_in_force_already_is_no_new_version(database: TestedDatabase, tmp_path: Path) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.relaying(settings) as (relay, running):
            await office.publish("R-1", 1)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            version = relay.version
            office.at = SOON
            await office.becomes(office.nothing_waits, running)
            await office.becomes(lambda: office.is_staged(), running)
            assert relay.version == version

    told(database, tmp_path, story)


@pytest.mark.parametrize("late", [False, True])
def test_a_relay_killed_between_staging_and_the_moment_leaves_its_work_to_the_next_one(
    database: TestedDatabase, tmp_path: Path, late: bool
) -> None:
    """`late`: the next one comes after the moment."""

    async def story(office: Office, settings: Any) -> None:
        many = ["7495", *(f"381{number:05d}" for number in range(3_000))]
        async with office.relaying(settings) as (_, running):
            await office.publish("R-1", 7, prefixes=many)
            await office.becomes(lambda: office.is_staged("R-1"), running)
        sent = sum(record.key.startswith(b"chunk/") for record in office.broker.committed(topics.REFERENCE.name, 0))
        async with office.working() as worker:
            version = worker.version
            if late:
                office.at = SOON + timedelta(minutes=1)
            async with office.relaying(settings) as (_, running):
                if not late:
                    await office.becomes(lambda: office.is_staged("R-1"), running)
                    office.at = SOON
                await worker.reached(version + 1, DEADLINE_SECONDS)
                await office.becomes(office.nothing_waits, running)
            assert price(worker) == 7
            assert office.told[-1].beforehand
        # None of its chunks was sent again, nor taken off before.
        again = [r for r in office.broker.committed(topics.REFERENCE.name, 0) if r.key.startswith(b"chunk/")][sent:]
        assert all(record.value is None for record in again)
        assert await office.is_staged()

    told(database, tmp_path, story)


@pytest.mark.parametrize("point", ["begin", "send", "commit.before", "commit.after"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_relay_may_die_at_any_step_of_it(database: TestedDatabase, tmp_path: Path, point: str, times: int) -> None:
    """While it sends chunks ahead, says what is staged, or publishes it: the next one brings it to its end."""
    killer = Killer(point, times)

    async def story(office: Office, settings: Any) -> None:
        await office.publish("R-1", 7)
        await office.publish("R-2", 8)

        async def goes_on(true: Callable[[], Awaitable[bool]]) -> None:
            while True:
                try:
                    async with office.relaying(settings) as (_, running):
                        await office.becomes(true, running)
                    return
                except Died:
                    continue

        await goes_on(lambda: office.is_staged("R-1", "R-2"))
        office.at = SOON
        await goes_on(office.nothing_waits)
        assert killer.left <= 0
        async with office.working() as worker:
            assert (price(worker), price(worker, "R-2")) == (7, 8)
        assert await office.is_staged()

    told(database, tmp_path, story, killer)


def test_a_list_with_other_terms_comes_with_them(database: TestedDatabase, tmp_path: Path) -> None:
    """Its name, rounding and decimals are those of the version."""

    async def story(office: Office, settings: Any) -> None:
        lists = dict(office.folder.price_lists)
        lists["R-1"] = replace(lists["R-1"], decimals=2, name="other")
        office.folder = ReferenceFolder(**{**office.folder.__dict__, "price_lists": lists})
        async with office.relaying(settings) as (relay, running):
            await office.publish("R-1", 7)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            office.at = SOON
            await office.becomes(office.nothing_waits, running)
            edition = last(office.broker, f"price_list/R-1/{relay.version}".encode())
            assert edition is not None
            assert json.decode(edition)["price_list"]["decimals"] == 2

    told(database, tmp_path, story)


def test_a_new_list_that_is_cancelled_before_its_moment_is_never_published(
    database: TestedDatabase, tmp_path: Path
) -> None:
    async def story(office: Office, settings: Any) -> None:
        lists = dict(office.folder.price_lists)
        lists["NEW"] = replace(lists["R-1"], price_list_id="NEW", name="NEW")
        office.folder = ReferenceFolder(**{**office.folder.__dict__, "price_lists": lists})
        version_id = await office.publish("NEW", 7)
        async with office.relaying(settings) as (_, running):
            await office.becomes(lambda: office.is_staged("NEW"), running)
            await office.cancel(version_id)
            await office.becomes(lambda: office.is_staged(), running)
            await office.becomes(office.nothing_waits, running)
        assert not any((record.key or b"").startswith(b"price_list/NEW/") for record in live(office.broker))

    told(database, tmp_path, story)


def test_lists_of_one_moment_come_together_also_where_nobody_staged_them(
    database: TestedDatabase, tmp_path: Path
) -> None:
    """No relay was there for an hour."""

    async def story(office: Office, settings: Any) -> None:
        await office.publish("R-1", 7)
        await office.publish("R-2", 8)
        await office.publish("R-1", 9, at=SOON + timedelta(minutes=1))
        await office.lock("L9")
        office.at = AT + timedelta(hours=1)
        async with office.relaying(settings) as (_, running):
            await office.becomes(office.nothing_waits, running)
        rows = await office.db.pool.fetch(
            "SELECT kind, reference_version FROM plumbing.outbox ORDER BY seq DESC LIMIT 4"
        )
        (_, locked), (_, last_of_1), (_, second), (_, first) = [tuple(row) for row in rows]
        # The first one of R-1 has been overtaken.
        assert (first, second, last_of_1, locked) == (None, second, second + 1, second + 2)
        async with office.working() as worker:
            assert (price(worker), price(worker, "R-2")) == (9, 8)

    told(database, tmp_path, story)


def test_a_list_that_has_been_overtaken_comes_as_it_was_where_a_plan_needs_it(
    database: TestedDatabase, tmp_path: Path
) -> None:
    """The folder was loaded, and a list changed, before there was a relay."""
    folder = read_reference_folder(write(tmp_path, {}), emergency_numbers=EMERGENCY)

    async def story(db: Database) -> None:
        await load_folder(db.pool, folder, author="loader", at=AT - timedelta(days=1))
        office = Office(db, folder, broker_with())
        await office.publish("R-1", 5, at=AT)
        async with office.relaying(database.settings) as (_, running):
            await office.becomes(office.nothing_waits, running)
        async with office.working() as worker:
            assert price(worker) == 5

    database.run(story)


# -- large lists that are due at once ---------------------------------------------------------------------------------

MANY = ["7495", *(f"381{number:05d}" for number in range(STAGED_PRICES))]
"""More prefixes than are published without being staged."""


async def version_of(office: Office, kind: str, key: str) -> int:
    """The reference version in which the last row of that kind and key was published."""
    found: int = await office.db.pool.fetchval(
        "SELECT reference_version FROM plumbing.outbox WHERE kind = $1 AND key = $2 ORDER BY seq DESC LIMIT 1",
        kind,
        key,
    )
    return found


async def put(office: Office, kind: str, key: str, record: object) -> None:
    """A change of one reference record, as the office saves it."""
    async with change(office.db.pool, actor="ivanov", reason="a test", at=office.at) as tx:
        await tx.audit(kind, key, "set", None, None)
        await tx.publish(kind, key, record)


def is_locked(worker: ReferenceReader) -> bool:
    """Whether the lock that `Office.lock` sets is in force."""
    return any(found.lock_id == "L9" for found in worker.reference.locks.covering("38111", None))


def a_lock(name: str, *, account_id: str | None = None) -> Lock:
    return Lock(name, "prefix", "381", account_id, None, "x", "x", "2026-11-24T09:00:00.000Z")


def test_locks_and_money_do_not_wait_for_a_large_list_that_is_due_at_once(
    database: TestedDatabase, tmp_path: Path
) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            await office.publish("R-1", 7, at=AT, prefixes=MANY)
            await office.lock("L9")
            await office.order("100200", "pay-1")
            await office.becomes(lambda: _is(lambda: is_locked(worker)), running)
            await office.becomes(lambda: _is(lambda: "pay-1" in office.ordered()), running)
            assert price(worker) == 1
            await office.becomes(office.nothing_waits, running)
            await worker.reached(await version_of(office, "price_list", "R-1"), DEADLINE_SECONDS)
            assert price(worker) == 7
            assert office.told[-1].beforehand
            await office.becomes(lambda: office.is_staged(), running)
        assert await version_of(office, "lock", "L9") < await version_of(office, "price_list", "R-1")

    told(database, tmp_path, story)


def test_what_names_something_that_waits_behind_a_large_list_waits_too(
    database: TestedDatabase, tmp_path: Path
) -> None:
    """An account that is new, a lock and money of it; a lock that is set and lifted keeps its order."""

    async def story(office: Office, settings: Any) -> None:
        new = replace(office.folder.accounts["100200"], account_id="100299")
        await office.publish("R-1", 7, at=AT, prefixes=MANY)
        await put(office, "account", new.account_id, new)
        await put(office, "lock", "L7", a_lock("L7", account_id=new.account_id))
        await office.order(new.account_id, "pay-2")
        await put(office, "lock", "L8", a_lock("L8"))
        await put(office, "lock", "L8", None)
        async with office.relaying(settings) as (_, running):
            await office.becomes(office.nothing_waits, running)
        listed = await version_of(office, "price_list", "R-1")
        account, lock = await version_of(office, "account", "100299"), await version_of(office, "lock", "L7")
        assert await version_of(office, "lock", "L8") < listed < account < lock
        assert last(office.broker, b"lock/L8") is None
        sent = await office.db.pool.fetch(
            "SELECT kind FROM plumbing.outbox WHERE key = '100299' AND published_at IS NOT NULL ORDER BY published_at"
        )
        assert [row[0] for row in sent] == ["account", "command"]

    told(database, tmp_path, story)


def test_lists_of_a_later_moment_are_staged_again_when_a_large_one_has_come(
    database: TestedDatabase, tmp_path: Path
) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            await office.publish("R-2", 8)
            await office.becomes(lambda: office.is_staged("R-2"), running)
            await office.publish("R-1", 7, at=AT, prefixes=MANY)
            await office.becomes(office.nothing_waits, running)
            await worker.reached(await version_of(office, "price_list", "R-1"), DEADLINE_SECONDS)
            await office.becomes(lambda: office.is_staged("R-2"), running)
            assert (price(worker), price(worker, "R-2")) == (7, 1)
            office.at = SOON
            await office.becomes(office.nothing_waits, running)
            await worker.reached(await version_of(office, "price_list", "R-2"), DEADLINE_SECONDS)
            assert (price(worker), price(worker, "R-2")) == (7, 8)

    told(database, tmp_path, story)


def test_a_large_list_that_is_rolled_back_while_it_is_staged_never_comes(
    database: TestedDatabase, tmp_path: Path
) -> None:
    async def story(office: Office, settings: Any) -> None:
        async with office.working() as worker, office.relaying(settings) as (_, running):
            version = worker.version
            version_id = await office.publish("R-1", 7, at=AT, prefixes=MANY)
            await office.becomes(lambda: office.is_staged("R-1"), running)
            await office.cancel(version_id)
            await office.becomes(office.nothing_waits, running)
            await office.becomes(lambda: office.is_staged(), running)
            assert worker.version == version
            assert price(worker) == 1

    told(database, tmp_path, story)


@pytest.mark.parametrize(("point", "times"), [("begin", 1), ("send", 2), ("commit.before", 1), ("commit.after", 2)])
def test_a_relay_may_die_while_it_stages_a_large_list(
    database: TestedDatabase, tmp_path: Path, point: str, times: int
) -> None:
    killer = Killer(point, times)

    async def story(office: Office, settings: Any) -> None:
        await office.publish("R-1", 7, at=AT, prefixes=MANY)
        await office.lock("L9")
        while not await office.nothing_waits():
            try:
                async with office.relaying(settings) as (_, running):
                    await office.becomes(office.nothing_waits, running)
            except Died:
                continue
        assert killer.left <= 0
        async with office.working() as worker:
            assert price(worker) == 7
            assert is_locked(worker)
        published = [r for r in office.broker.committed(topics.REFERENCE.name, 0) if (r.key or b"") == b"lock/L9"]
        assert len(published) == 1

    told(database, tmp_path, story, killer)


async def _is(true: Callable[[], bool]) -> bool:
    return true()
