"""`tollgate load DIR`: a reference folder into the database, all or nothing, and back as the engine needs it."""

import asyncio
import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec import convert, to_builtins
from msgspec.structs import replace
from postgres import TestedDatabase

from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.memory import MemoryBroker
from connectors.postgres import price_lists
from connectors.postgres.change import change
from connectors.postgres.database import APP, Database
from connectors.postgres.load import Counts, LoadRefused, LoadReport, load_folder
from connectors.postgres.moments import from_text
from connectors.postgres.reference import read_price_lists, read_reference, snapshot
from connectors.reference.publisher import ReferencePublisher
from connectors.sample.operator import write_reference
from engine.settings import EngineSettings
from schemas import topics
from schemas.reference import Account, AccountDiscounts, Band, Lock, Number, PriceRow, Provider, TariffPlan

AT = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
LATER = AT + timedelta(days=1)
DEADLINE_SECONDS = 60.0
EMERGENCY = EngineSettings().emergency_numbers


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample operator's folder; not to be changed."""
    made = tmp_path_factory.mktemp("sample") / "reference"
    write_reference(made, seed=1, accounts=60)
    return made


@pytest.fixture
def folder(sample: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(sample, tmp_path / "reference"))


def read(folder: Path) -> ReferenceFolder:
    return read_reference_folder(folder, emergency_numbers=EMERGENCY)


def edit(folder: Path, file: str, change: Callable[[list[dict[str, str]]], Iterable[dict[str, str]]]) -> None:
    """Rewrites a file by its rows."""
    with (folder / file).open(newline="") as text:
        reader = csv.DictReader(text)
        rows = list(change(list(reader)))
        names = reader.fieldnames or ()
    with (folder / file).open("w", newline="") as text:
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)


async def load(found: Database, folder: Path, at: datetime = AT, author: str = "ivanov") -> LoadReport:
    return await load_folder(found.pool, read(folder), author=author, at=at)


async def rows(found: Database, query: str, *arguments: object) -> list[tuple[object, ...]]:
    return list(map(tuple, await found.pool.fetch(query, *arguments)))


async def everything(found: Database) -> dict[str, object]:
    """All rows of the office and the plumbing, by table."""
    tables = await found.pool.fetch(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
        "WHERE table_schema IN ('office', 'plumbing') AND table_type = 'BASE TABLE'"
    )
    return {
        table: await found.pool.fetchval(f"SELECT jsonb_agg(t ORDER BY t::text)::text FROM {table} t")
        for (table,) in tables
    }


def same(one: ReferenceFolder, other: ReferenceFolder) -> bool:
    """Whether two say the same, in whatever order their rows stand."""

    def ordered(records: Iterable[Any]) -> list[str]:
        return sorted(map(repr, records))

    assert ordered(one.prices) == ordered(other.prices)
    assert ordered(one.discounts) == ordered(other.discounts)
    for kind in ("accounts", "providers", "tariff_plans", "price_lists", "bands", "locks", "numbers"):
        assert dict(getattr(one, kind)) == dict(getattr(other, kind)), kind
    return True


# -- there and back ---------------------------------------------------------------------------------------------------


def test_what_was_loaded_comes_out_as_it_was(database: TestedDatabase, sample: Path) -> None:
    async def story(found: Database) -> None:
        report = await load(found, sample)
        back = await read_reference(found.pool, at=AT)

        assert same(read(sample), back)
        assert report.kinds["account"] == Counts(new=60)
        assert report.prices == len(back.prices) > 1_000
        assert set(report.versions.values()) == {1}
        assert (report.balances_kept, report.statuses_kept) == ((), ())

    database.run(story)


def test_the_engine_is_told_the_same_by_the_database_as_by_the_folder(database: TestedDatabase, sample: Path) -> None:
    async def story(found: Database) -> None:
        await load(found, sample)
        broker = MemoryBroker({topics.REFERENCE.name: 1}, compacted=[topics.REFERENCE.name])
        publisher = await ReferencePublisher.open(broker, author="x")
        await publisher.publish_folder(read(sample), lead_seconds=0)

        again = await publisher.publish_folder(await read_reference(found.pool, at=AT), lead_seconds=0)

        assert not again.published
        await publisher.close()

    database.run(story)


def test_the_relay_can_rebuild_the_reference_from_outbox_and_versions(database: TestedDatabase, folder: Path) -> None:
    kinds: dict[str, type] = {
        "account": Account,
        "provider": Provider,
        "tariff_plan": TariffPlan,
        "band": Band,
        "lock": Lock,
        "number": Number,
        "discounts": AccountDiscounts,
    }

    async def rebuilt(found: Database) -> ReferenceFolder:
        """What the rows come to when they are followed in order."""
        state: dict[str, dict[str, Any]] = {kind: {} for kind in (*kinds, "price_list")}
        for row in await found.pool.fetch("SELECT kind, key, payload FROM plumbing.outbox ORDER BY seq"):
            if row["payload"] is None:
                del state[row["kind"]][row["key"]]
            else:
                state[row["kind"]][row["key"]] = row["payload"]
        made = {kind: {key: convert(value, kinds[kind]) for key, value in state[kind].items()} for kind in kinds}
        prices: list[PriceRow] = []
        async with snapshot(found.pool) as connection:
            in_force = await read_price_lists(connection, at=LATER)
            for name, payload in state["price_list"].items():
                assert in_force[name].version_id == payload["version_id"]
                async for part in price_lists.prices(connection, payload["version_id"]):
                    prices += part
        return ReferenceFolder(
            accounts=made["account"],
            providers=made["provider"],
            tariff_plans=made["tariff_plan"],
            price_lists={name: in_force[name].price_list for name in state["price_list"]},
            prices=prices,
            bands=made["band"],
            locks=made["lock"],
            numbers=made["number"],
            discounts=[one for of in made["discounts"].values() for one in of.discounts],
        )

    async def story(found: Database) -> None:
        await load(found, folder)
        assert same(read(folder), await rebuilt(found))
        change_everything(folder)
        await load(found, folder, LATER)
        assert same(read(folder), await rebuilt(found))

    database.run(story)


def change_everything(folder: Path) -> None:
    """Of each kind something goes, comes and changes."""
    edit(folder, "locks.csv", lambda found: [found[1] | {"reason": "wider"}, *found[2:], found[0] | {"lock_id": "new"}])
    edit(folder, "numbers.csv", lambda found: [found[1] | {"region": "Тверь"}, *found[2:]])
    edit(folder, "discounts.csv", lambda found: [found[1] | {"percent": "99"}, *found[2:]])
    edit(folder, "accounts.csv", lambda found: [found[0] | {"credit_limit": "123"}, *found[1:]])
    edit(folder, "bands.csv", lambda found: [found[0] | {"weight": "77"}, *found[1:], found[0] | {"band_id": "new"}])
    edit(folder, "providers.csv", lambda found: [found[0] | {"priority": "9"}, *found[1:]])
    edit(folder, "prices.csv", lambda found: [found[0] | {"price": "98.76"}, *found[1:]])


# -- again ------------------------------------------------------------------------------------------------------------


def test_nothing_changes_where_nothing_differs(database: TestedDatabase, sample: Path) -> None:
    async def story(found: Database) -> None:
        await load(found, sample)
        before = await everything(found)

        report = await load(found, sample, LATER, "petrov")

        assert report.change_id is None
        assert report.kinds["account"] == Counts(kept=60)
        assert await everything(found) == before

    database.run(story)


def test_what_differs_comes_in_force_with_its_audit_and_the_rest_stays(database: TestedDatabase, folder: Path) -> None:
    async def story(found: Database) -> None:
        first = await load(found, folder)
        audited, published = await rows(
            found, "SELECT count(*) FROM plumbing.audit UNION ALL SELECT count(*) FROM plumbing.outbox"
        )
        former = read(folder)
        change_everything(folder)

        report = await load(found, folder, LATER, "petrov")

        assert same(read(folder), await read_reference(found.pool, at=LATER))
        assert report.kinds["lock"] == Counts(new=1, changed=1, removed=1, kept=len(former.locks) - 2)
        assert report.kinds["band"] == Counts(new=1, changed=1, kept=len(former.bands) - 1)
        assert report.kinds["account"] == Counts(changed=1, kept=59)
        assert report.kinds["number"] == Counts(changed=1, removed=1, kept=len(former.numbers) - 2)
        (changed,) = report.versions
        assert report.versions == {changed: 2}
        differences = sum(sum(counts[:3]) for counts in report.kinds.values())
        news = await found.pool.fetch("SELECT * FROM plumbing.audit WHERE change_id = $1", report.change_id)
        assert {(row["actor"], row["at"], row["reason"], row["interface"]) for row in news} == {
            ("petrov", LATER, "reference folder loaded", "cli")
        }
        assert len(news) == differences
        assert await rows(
            found, "SELECT count(*) FROM plumbing.audit UNION ALL SELECT count(*) FROM plumbing.outbox"
        ) == [(audited[0] + differences,), (published[0] + differences,)]
        assert await rows(found, "SELECT * FROM plumbing.audit_faults()") == []
        account = next(row for row in news if row["entity"] == "account")
        assert (account["before"]["credit_limit_micros"], account["after"]["credit_limit_micros"]) == (
            next(iter(former.accounts.values())).credit_limit_micros,
            123_000_000,
        )
        assert first.change_id != report.change_id

    database.run(story)


def test_a_former_version_of_a_price_list_stays_as_it_was(database: TestedDatabase, folder: Path) -> None:
    async def story(found: Database) -> None:
        await load(found, folder)
        former = read(folder)
        change_everything(folder)
        await load(found, folder, LATER)

        # What was removed since is not told; of lists and prices there is what was in force.
        then = await read_reference(found.pool, at=LATER - timedelta(microseconds=1))
        assert sorted(map(repr, then.prices)) == sorted(map(repr, former.prices))

    database.run(story)


def test_a_list_that_goes_and_comes_again_has_a_new_version(database: TestedDatabase, folder: Path) -> None:
    # A list that no plan names.
    row = {"price_list_id": "X", "name": "X", "kind": "retail", "currency": "RUB", "rounding": "up", "decimals": "2"}
    price = {"price_list_id": "X", "prefix": "7", "price": "1", "per_seconds": "60", "step_seconds": "60"}

    def enter(folder: Path) -> None:
        edit(folder, "price_lists.csv", lambda found: [*found, row])
        edit(folder, "prices.csv", lambda found: [*found, price])

    async def story(found: Database) -> None:
        await load(found, folder)
        enter(folder)
        # All at one moment, as a clock that stands still would have it.
        assert (await load(found, folder, LATER)).versions == {"X": 1}
        edit(folder, "price_lists.csv", lambda found: found[:-1])
        edit(folder, "prices.csv", lambda found: found[:-1])
        assert (await load(found, folder, LATER)).kinds["price_list"].removed == 1
        assert "X" not in (await read_reference(found.pool, at=LATER)).price_lists
        enter(folder)
        assert (await load(found, folder, LATER)).versions == {"X": 2}
        assert same(read(folder), await read_reference(found.pool, at=LATER))
        assert await rows(
            found, "SELECT number, state, ended_by FROM office.price_list_versions WHERE price_list_id = 'X'"
        ) == [(1, "withdrawn", "ivanov"), (2, "published", None)]

    database.run(story)


def test_everything_that_goes_may_come_again(database: TestedDatabase, folder: Path) -> None:
    whole = read(folder)

    async def story(found: Database) -> None:
        await load(found, folder)
        for file in ("locks.csv", "numbers.csv", "discounts.csv"):
            edit(folder, file, lambda _: ())
        gone = await load(found, folder, LATER)
        assert [gone.kinds[kind].removed for kind in ("lock", "number")] == [len(whole.locks), len(whole.numbers)]
        back = await read_reference(found.pool, at=LATER)
        assert (back.locks, back.numbers, back.discounts) == ({}, {}, [])

        await load_folder(found.pool, whole, author="ivanov", at=LATER)

        assert same(whole, await read_reference(found.pool, at=LATER))
        lock = next(iter(whole.locks.values()))
        assert await rows(
            found, "SELECT action, actor FROM office.lock_history WHERE lock_id = $1 ORDER BY revision", lock.lock_id
        ) == [("set", lock.author), ("lifted", "ivanov"), ("set", lock.author)]

    database.run(story)


def test_a_lock_keeps_its_author_and_one_of_another_author_is_another_lock(
    database: TestedDatabase, folder: Path
) -> None:
    async def story(found: Database) -> None:
        await load(found, folder)
        before = next(iter(read(folder).locks.values()))
        edit(folder, "locks.csv", lambda found: [found[0] | {"author": "sidorov"}, *found[1:]])

        report = await load(found, folder, LATER, "petrov")

        assert report.kinds["lock"].changed == 1
        assert same(read(folder), await read_reference(found.pool, at=LATER))
        history = await rows(
            found, "SELECT action, actor, at FROM office.lock_history WHERE lock_id = $1 ORDER BY 3", before.lock_id
        )
        created = from_text(before.created_at)
        assert sorted(map(str, history)) == sorted(
            map(
                str,
                [("set", before.author, created), ("lifted", "petrov", LATER), ("set", "sidorov", LATER)],
            )
        )

    database.run(story)


def test_a_lock_that_is_loaded_again_has_denied_nothing_meanwhile(database: TestedDatabase, folder: Path) -> None:
    """Its own date is the old one; its history says since when it denies again."""

    async def story(found: Database) -> None:
        await load(found, folder)
        locks = list(read(folder).locks)
        whole = (folder / "locks.csv").read_bytes()
        edit(folder, "locks.csv", lambda found: found[1:])
        await load(found, folder, LATER, "petrov")
        (folder / "locks.csv").write_bytes(whole)
        again = LATER + timedelta(days=2)
        await load(found, folder, again, "petrov")

        history = await rows(
            found, "SELECT action, at FROM office.lock_history WHERE lock_id = $1 ORDER BY revision", locks[0]
        )
        assert history[1:] == [("lifted", LATER), ("set", again)]
        assert same(read(folder), await read_reference(found.pool, at=again))

    database.run(story)


def test_balance_and_status_are_set_once(database: TestedDatabase, folder: Path) -> None:
    def spoil(found: list[dict[str, str]]) -> list[dict[str, str]]:
        found[0]["balance"] = "1000000"
        found[1]["status"] = "closed" if found[1]["status"] != "closed" else "active"
        return found

    async def story(found: Database) -> None:
        await load(found, folder)
        former = read(folder)
        before = await everything(found)
        first, second = list(former.accounts)[:2]
        edit(folder, "accounts.csv", spoil)

        report = await load(found, folder, LATER)

        assert (report.balances_kept, report.statuses_kept) == ((first,), (second,))
        assert report.change_id is None
        assert await everything(found) == before
        assert same(former, await read_reference(found.pool, at=LATER))

    database.run(story)


def test_an_account_that_was_blocked_when_it_came_has_a_block_with_date_and_reason(
    database: TestedDatabase, folder: Path
) -> None:
    edit(folder, "accounts.csv", lambda found: [found[0] | {"status": "blocked"}, *found[1:]])

    async def story(found: Database) -> None:
        await load(found, folder)
        blocked = [name for name, account in read(folder).accounts.items() if account.status == "blocked"]
        assert blocked
        assert await rows(
            found, "SELECT account_id, blocked_at, reason FROM office.account_blocks ORDER BY account_id"
        ) == [(name, AT, "was blocked when it was taken into the record") for name in sorted(blocked)]

    database.run(story)


def test_clients_come_with_their_accounts(database: TestedDatabase, sample: Path) -> None:
    async def story(found: Database) -> None:
        await load(found, sample)
        wanted = {account.client_id for account in read(sample).accounts.values()}
        assert {name for (name,) in await rows(found, "SELECT client_id FROM office.clients")} == wanted

    database.run(story)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_can_not_follow_is_told_all_at_once_and_nothing_is_loaded(database: TestedDatabase, folder: Path) -> None:
    async def story(found: Database) -> None:
        await load(found, folder)
        before = await everything(found)
        whole = read(folder)
        gone, other = list(whole.accounts)[:2]
        a_list = next(name for name, one in whole.price_lists.items() if one.kind == "retail")
        broken = ReferenceFolder(
            **{
                **whole.__dict__,
                "accounts": {
                    name: replace(account, currency="USD") if name == other else account
                    for name, account in whole.accounts.items()
                    if name != gone
                },
                "price_lists": whole.price_lists
                | {
                    a_list: replace(
                        whole.price_lists[a_list], kind="wholesale", provider_id=next(iter(whole.providers))
                    )
                },
            }
        )

        with pytest.raises(LoadRefused) as caught:
            await load_folder(found.pool, broken, author="x", at=LATER)

        assert len(str(caught.value).splitlines()) == 3
        for words in (
            f"accounts.csv: accounts of the database are missing: {gone}; an account is never removed",
            f"accounts.csv: currency: account {other!r} has RUB in the database and USD here",
            f"price_lists.csv: kind: list {a_list!r} is retail in the database and wholesale here",
        ):
            assert words in str(caught.value)
        assert await everything(found) == before

    database.run(story)


def test_a_process_of_the_api_may_not_load(database: TestedDatabase, sample: Path) -> None:
    async def story(found: Database) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await load(found, sample)

    database.run(story, role=APP)


# -- the server dies --------------------------------------------------------------------------------------------------


async def _in_the_copy(connection: asyncpg.Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_progress_copy "
            "WHERE relid = 'office.prices'::regclass AND tuples_processed > 0"
        )
    )


async def _at_the_audit(connection: asyncpg.Connection) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'audit'"
        )
    )


@pytest.mark.parametrize("when", [_in_the_copy, _at_the_audit])
def test_a_server_that_is_killed_in_the_middle_of_a_load_leaves_nothing_half_done(
    mortal_postgres: TestedDatabase, folder: Path, when: Callable[[asyncpg.Connection], Any]
) -> None:
    first = read(folder)
    # Large enough to be caught at it.
    added = [replace(first.prices[0], prefix=str(number)) for number in range(10**9, 10**9 + 200_000)]
    much = ReferenceFolder(**{**first.__dict__, "prices": [*first.prices, *added]})

    async def loaded(found: Database) -> None:
        await load(found, folder)

    async def killed(found: Database) -> None:
        watch, other = [await asyncpg.connect(mortal_postgres.dsn) for _ in range(2)]
        try:
            if when is _at_the_audit:
                # All rows are written when it waits for this one.
                await other.execute("BEGIN; SELECT * FROM plumbing.audit_head FOR UPDATE")
            task = asyncio.create_task(load_folder(found.pool, much, author="x", at=LATER))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await when(watch):
                    assert not task.done(), task
                    await asyncio.sleep(0.001)
                os.kill(mortal_postgres.server.pid() or 0, signal.SIGKILL)
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                    await task
        finally:
            watch.terminate()
            other.terminate()

    mortal_postgres.run(loaded)
    before = mortal_postgres.run(everything)
    mortal_postgres.run(killed, role=None)
    mortal_postgres.server.start()
    after = mortal_postgres.run(everything)
    report = mortal_postgres.run(lambda found: load_folder(found.pool, much, author="x", at=LATER))

    assert after == before
    assert report.prices >= 200_000


# -- versions of price lists ------------------------------------------------------------------------------------------


def test_a_published_version_is_unchangeable_and_a_staged_one_is_not_in_force(
    database: TestedDatabase, sample: Path
) -> None:
    whole = read(sample)
    name = next(iter(whole.price_lists))
    row = next(row for row in whole.prices if row.price_list_id == name)
    dearer = replace(row, price_micros=row.price_micros + 1)

    async def story(found: Database) -> None:
        async with change(found.pool, actor="x", reason="y", at=LATER) as tx:
            version = await price_lists.stage(tx.connection, whole.price_lists[name], [dearer], at=LATER, author="x")
            await tx.audit("price_list", name, "staged", None, version)
            await tx.execute(
                "UPDATE office.price_list_versions SET approved_by = 'z', approved_at = $2 WHERE version_id = $1",
                version.version_id,
                LATER,
            )
        assert version.number == 2
        assert same(whole, await read_reference(found.pool, at=LATER))
        async with change(found.pool, actor="x", reason="y", at=LATER) as tx:
            await price_lists.publish(
                tx.connection, version.version_id, in_force_from=LATER + timedelta(days=1), at=LATER, author="x"
            )
            await tx.audit("price_list", name, "published", None, version)
            await tx.publish("price_list", name, {"version_id": version.version_id})
        assert same(whole, await read_reference(found.pool, at=LATER))
        then = await read_reference(found.pool, at=LATER + timedelta(days=1))
        assert [one for one in then.prices if one.price_list_id == name] == [dearer]
        assert tuple(
            await found.pool.fetchrow("SELECT prices, digest FROM office.price_list_versions WHERE number = 2")
        ) == (
            1,
            price_lists.digest([dearer]),
        )
        for query in (
            "INSERT INTO office.prices SELECT version_id, '5', service, place, incoming_service, band_id, from_second, "
            "connect_fee_micros, price_micros, per_seconds, step_seconds FROM office.prices WHERE version_id = $1",
            "DELETE FROM office.prices WHERE version_id = $1",
            "UPDATE office.price_list_versions SET name = 'y' WHERE version_id = $1",
            "UPDATE office.price_list_versions SET in_force_from = now() WHERE version_id = $1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await found.pool.execute(query, version.version_id)
        with pytest.raises(price_lists.NotStaged):
            await price_lists.publish(found.pool, version.version_id, in_force_from=AT, at=AT, author="x")

    database.run(lambda found: load(found, sample))
    database.run(story, role=APP)


def test_prices_belong_to_a_version_and_to_bands_that_are_there(database: TestedDatabase, sample: Path) -> None:
    whole = read(sample)
    name = next(iter(whole.price_lists))
    row = next(row for row in whole.prices if row.price_list_id == name)

    async def story(found: Database) -> None:
        await load(found, sample)
        async with found.pool.acquire() as connection:
            with pytest.raises(asyncpg.ForeignKeyViolationError, match="no price list version 999"):
                await price_lists.copy_prices(connection, 999, [row])
        for wrong in (replace(row, band_id="never"), [row, row]):
            rows_ = wrong if isinstance(wrong, list) else [wrong]
            with pytest.raises((asyncpg.ForeignKeyViolationError, asyncpg.UniqueViolationError)):
                async with change(found.pool, actor="x", reason="y", at=LATER) as tx:
                    await price_lists.stage(tx.connection, whole.price_lists[name], rows_, at=LATER, author="x")

    database.run(story)


def test_a_list_without_prices_is_a_list_all_the_same(database: TestedDatabase, folder: Path) -> None:
    row = {"price_list_id": "X", "name": "X", "kind": "retail", "currency": "RUB", "rounding": "up", "decimals": "2"}
    edit(folder, "price_lists.csv", lambda found: [*found, row])

    async def story(found: Database) -> None:
        assert (await load(found, folder)).versions["X"] == 1
        assert same(read(folder), await read_reference(found.pool, at=AT))

    database.run(story)


def test_equal_prices_have_one_digest_in_whatever_order() -> None:
    row = PriceRow("L", "7", None, None, None, None, 0, 0, 1, 60, 60, None, None, None, None)
    other = replace(row, prefix="8")

    assert price_lists.digest([row, other]) == price_lists.digest([other, row])
    assert price_lists.digest([row]) != price_lists.digest([other])
    assert len(price_lists.digest([])) == 32
    assert to_builtins(row)["price_list_id"] == "L"


# -- the command ------------------------------------------------------------------------------------------------------


def run(*words: object) -> object:
    return app(["load", *map(str, words)], exit_on_error=False, result_action="return_value")


@pytest.fixture
def settings(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)


@pytest.mark.usefixtures("settings")
def test_the_command_tells_what_it_loaded(
    database: TestedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, "--json", "--author", "petrov")
    first = json.loads(capsys.readouterr().out)
    run(folder)
    second = capsys.readouterr().out
    edit(folder, "accounts.csv", lambda found: [found[0] | {"balance": "12345"}, *found[1:]])
    run(folder)
    third = " ".join(capsys.readouterr().out.split())

    assert first["kinds"]["account"] == {"new": 60, "changed": 0, "removed": 0, "kept": 0}
    assert first["prices"] > 1_000
    assert "the database says all of it already: nothing was changed" in second
    assert "not taken over: the opening balance of accounts" in third
    assert "payments and write-offs move it" in third

    async def authors(found: Database) -> list[tuple[object, ...]]:
        return await rows(found, "SELECT DISTINCT actor FROM plumbing.audit")

    assert database.run(authors) == [("petrov",)]


@pytest.mark.usefixtures("settings")
def test_every_error_of_a_folder_is_listed_with_its_place_and_nothing_is_loaded(
    database: TestedDatabase, folder: Path
) -> None:
    edit(folder, "accounts.csv", lambda found: [found[0] | {"currency": "rouble"}, *found[1:]])
    edit(
        folder, "prices.csv", lambda found: [found[0] | {"price": "dear"}, found[1] | {"per_seconds": "0"}, *found[2:]]
    )

    with pytest.raises(Refused) as caught:
        run(folder)

    text = str(caught.value)
    assert "can't be used, 3 errors" in text
    for place in ("accounts.csv:2: currency: ", "prices.csv:2: price: ", "prices.csv:3: per_seconds: "):
        assert place in text

    async def empty(found: Database) -> None:
        for table in ("office.accounts", "office.prices", "plumbing.audit", "plumbing.outbox"):
            assert await found.pool.fetchval(f"SELECT count(*) FROM {table}") == 0

    database.run(empty)


@pytest.mark.usefixtures("settings")
def test_what_the_database_does_not_take_is_refused_by_the_command_too(folder: Path) -> None:
    run(folder)
    edit(folder, "accounts.csv", lambda found: found[1:])
    for file in ("numbers.csv", "locks.csv", "discounts.csv"):
        edit(folder, file, lambda found: [row for row in found if not row["account_id"]])

    with pytest.raises(Refused, match="accounts of the database are missing"):
        run(folder)


def test_a_database_that_is_not_there_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", "postgresql://ivanov@127.0.0.1:1/tollgate")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Refused, match=r"postgresql://ivanov@127\.0\.0\.1:1/tollgate can't be reached"):
        run(folder)
