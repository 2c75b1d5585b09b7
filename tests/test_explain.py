"""Why a call went through or not: what was decided in words, the same call today, and all of it made again to the byte.

The operators are those of the golden replays: their events went through the real engine and the real projector.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from postgres import TestedDatabase, new_database
from projected import DECISIONS, RATED
from recorded import EVENING, LOADED_AT, REGIONS, Recorded, events_of, folder_of, recorded

from backoffice.call_facts import CallFacts
from backoffice.call_words import decision_told, story
from backoffice.explain import Today, Verified, all_same, differences, rated_differences
from backoffice.users import User
from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.postgres import explain as record
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import change
from connectors.postgres.clock import ClockState, set_clock
from connectors.postgres.database import Database
from connectors.postgres.past import PastTables, UnknownVersion
from connectors.postgres.reference import snapshot
from connectors.postgres.server import EmbeddedServer
from connectors.reference.publisher import ReferencePublisher
from engine.settings import EngineSettings
from schemas.rated import RatedCdr
from schemas.reference import Lock
from schemas.times import from_datetime, to_text

ENGINE = EngineSettings()
NOON = datetime(2026, 11, 25, 9, tzinfo=UTC)
"""The business moment at which people ask: noon in Moscow, the day after."""

Json = dict[str, Any]


# -- the operators ----------------------------------------------------------------------------------------------------


async def office(db: Database) -> None:
    """Users, and a clock that stands still."""
    users = AccessRecord(db.pool)
    for name, phone in (("ivanov", "+7 495 000-00-01"), ("sidorov", None)):
        await users.insert_user(
            User(name, "b2b", f"Имя {name}", None, phone, "active", None, None, None, LOADED_AT, "test")
        )
    async with change(db.pool, actor="root", reason="a test", at=LOADED_AT) as tx:
        await tx.audit("clock", "", "set", None, None)
        await set_clock(tx, ClockState("stopped", stopped_us=from_datetime(NOON)))


def _recorded(server: EmbeddedServer, name: str, *more: Json) -> Iterator[TestedDatabase]:
    async def filled(db: Database) -> None:
        await office(db)
        async with recorded(db, name, events=events_of(name)) as made:
            await made.take(*more, at=NOON - timedelta(hours=12))

    with new_database(server) as found:
        found.run(filled)
        yield found


@pytest.fixture(scope="module")
def regions(postgres: EmbeddedServer) -> Iterator[TestedDatabase]:
    """The guide's forbidden regions, as they were decided; nothing has changed since."""
    yield from _recorded(postgres, REGIONS, UNUSABLE)


@pytest.fixture(scope="module")
def evening(postgres: EmbeddedServer) -> Iterator[TestedDatabase]:
    """An evening's money, as it was moved."""
    yield from _recorded(postgres, EVENING)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[TestedDatabase], None]:
    """Says which database the command line asks."""

    def told(database: TestedDatabase) -> None:
        monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
        monkeypatch.setenv("TOLLGATE_HTTP_SETTABLE_CLOCK", "true")

    return told


def attempt(name: str, at: str, called: str = "381114112060", account: str | None = "100202", **more: Any) -> Json:
    return {
        "type": "call_attempt",
        "attempt_id": name,
        "switch_id": "msk-1",
        "at": at,
        "account_id": account,
        "service": "outgoing",
        "caller": "78121234567",
        "called": called,
    } | more


UNUSABLE = attempt("from-the-past", "2025-01-01T00:00:00.000Z")
"""The engine keeps prices for some days only."""


async def facts_of(db: Database, call_id: str, at: datetime | None = None) -> CallFacts:
    async with snapshot(db.pool) as connection:
        found = await record.read_call(connection, call_id, at)
    assert found is not None, call_id
    return found


async def again(db: Database, call_id: str, at: datetime | None = None) -> tuple[Verified, ...]:
    async with snapshot(db.pool) as connection:
        facts = await record.read_call(connection, call_id, at)
        assert facts is not None, call_id
        return await record.made_again(connection, facts, ENGINE)


async def now(db: Database, call_id: str, at: datetime = NOON) -> Today:
    async with snapshot(db.pool) as connection:
        facts = await record.read_call(connection, call_id)
        assert facts is not None, call_id
        return await record.under_todays_tables(connection, facts, ENGINE, at)


def tollgate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """The exit code and what was printed."""
    capsys.readouterr()
    code = app(["explain", *words], exit_on_error=False, result_action="return_value")
    return code, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, text = tollgate(capsys, *words, "--json")
    assert code == 0
    return json.loads(text)


def refused(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        app(["explain", *words], exit_on_error=False, result_action="return_value")
    return str(caught.value)


# -- made again -------------------------------------------------------------------------------------------------------


async def calls_of(db: Database) -> list[str]:
    """Ids by which all that was published can be asked about: attempts, and CDRs without one."""
    rows = await db.pool.fetch(
        "SELECT DISTINCT attempt_id FROM facts.decisions UNION "
        "SELECT cdr_id FROM facts.rated_cdrs r WHERE NOT EXISTS (SELECT FROM facts.decisions d "
        "WHERE d.attempt_id = r.attempt_id)"
    )
    return sorted(row[0] for row in rows)


async def assert_all_is_made_again(db: Database) -> int:
    """Every decision and every rated CDR of the record comes out again, each once; how many they are."""
    made: list[Verified] = []
    for call_id in await calls_of(db):
        made += await again(db, call_id)
    assert [one for one in made if not one.same] == []
    count = await db.pool.fetchval(
        "SELECT (SELECT count(*) FROM facts.decisions) + (SELECT count(*) FROM facts.rated_cdrs)"
    )
    assert len(made) == count
    return len(made)


@asynccontextmanager
async def after_changes(db: Database, name: str) -> AsyncIterator[Recorded]:
    """An operator whose tables were all changed after the replay: other prices, no locks, other accounts, no
    discounts, other bands, another provider in front."""
    folder = folder_of(name)
    async with recorded(db, name, events=events_of(name)) as found:
        await found.change(
            at=NOON - timedelta(hours=1),
            prices=[replace(row, price_micros=row.price_micros * 3, connect_fee_micros=7) for row in folder.prices],
            locks={},
            accounts={
                name: replace(one, credit_limit_micros=900_000_000, place=None, max_concurrent_calls=9)
                for name, one in folder.accounts.items()
            },
            bands={name: replace(band, weekdays=(1,)) for name, band in folder.bands.items()},
            discounts=[],
            providers={name: replace(one, priority=9 - one.priority) for name, one in folder.providers.items()},
        )
        yield found


@pytest.mark.parametrize(("name", "least"), [(REGIONS, 17), (EVENING, 48), ("busy_half_hour", 700)])
def test_all_that_was_published_is_made_again_to_the_byte_whatever_has_changed_since(
    database: TestedDatabase, name: str, least: int
) -> None:
    async def told(db: Database) -> None:
        async with after_changes(db, name) as office:
            assert await assert_all_is_made_again(db) >= least
            # And what is decided under the new tables is made again under these.
            row = await db.pool.fetchrow(
                "SELECT account_id, called FROM facts.attempts WHERE service = 'outgoing' AND account_id IS NOT NULL"
                " ORDER BY recorded_at DESC LIMIT 1"
            )
            later = to_text(from_datetime(NOON - timedelta(minutes=30)))
            await office.take(attempt("new", later, row["called"], row["account_id"]))
            assert [one["attempt_id"] for one in office.told(DECISIONS) if one["reference_version"] == 2] == ["new"]
            assert all_same(await again(db, "new"))

    database.run(told)


def test_a_call_that_ends_after_a_change_is_made_again_by_the_prices_that_it_was_promised(
    database: TestedDatabase,
) -> None:
    began, ended = "2026-11-24T18:50:00.000Z", "2026-11-24T18:52:00.000Z"
    cdr = {
        "type": "cdr",
        "cdr_id": "c-across",
        "attempt_id": "across",
        "switch_id": "msk-1",
        "account_id": "100202",
        "service": "outgoing",
        "called": "381114112060",
        "provider_id": "megafon",
        "started_at": began,
        "answered_at": began,
        "ended_at": ended,
    }

    async def told(db: Database) -> None:
        async with recorded(db) as office:
            await office.take(attempt("across", began))
            prices = [replace(row, price_micros=row.price_micros * 2) for row in office.folder.prices]
            await office.change(at=datetime(2026, 11, 24, 18, 51, tzinfo=UTC), prices=prices)
            await office.take(cdr)

            (rated,) = office.told(RATED)
            assert (rated["reference_version"], rated["rated_version"]) == (1, 2)
            assert rated["retail"]["amount_micros"] == 6_000_000
            assert [one.what for one in await again(db, "across") if one.same] == [
                "the decision of 2026-11-24T18:50:00.000Z",
                "the rated CDR c-across",
            ]
            ((then, today),) = (await now(db, "across")).rated
            (retail, wholesale) = rated_differences(then, today)
            assert (retail.what, retail.then, retail.now) == (
                "CDR c-across retail",
                "6.00 (R-OUT, 381)",
                "12.00 (R-OUT, 381)",
            )
            assert wholesale.what == "CDR c-across wholesale"

    database.run(told)


def test_a_published_record_that_was_forged_is_told_by_its_first_difference(database: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            facts = await facts_of(db, "moscow-from-petersburg")
            assert facts.decision is not None
            spoiled = replace(facts.decision.record, max_seconds=facts.decision.record.max_seconds + 1)
            forged = facts._replace(decision=facts.decision._replace(value=msgspec.json.encode(spoiled)))
            async with snapshot(db.pool) as connection:
                decision, rated = await record.made_again(connection, forged, ENGINE)

            assert (decision.same, decision.field) == (False, "/max_seconds")
            assert decision.published == str(spoiled.max_seconds)
            assert decision.made == str(facts.decision.record.max_seconds)
            assert rated.same
            assert office.worker is not None

    database.run(told)


def test_settings_that_were_changed_since_are_a_difference_too(regions: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with snapshot(db.pool) as connection:
            facts = await record.read_call(connection, "forwarding-sold")
            assert facts is not None
            made = await record.made_again(connection, facts, EngineSettings(max_call_seconds=60))
        assert (made[0].same, made[0].field) == (False, "/max_seconds")

    regions.run(told)


def test_a_call_whose_attempt_was_lost_says_why_it_can_not_be_compared(database: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)):
            pass
        facts = (await facts_of(db, "neighbouring-locks"))._replace(attempt=None)
        async with snapshot(db.pool) as connection:
            made = await record.made_again(connection, facts, ENGINE)
        assert [(one.same, one.why) for one in made] == [
            (False, "its attempt is not in the record"),
            (False, "its attempt and the decision on it are not in the record"),
        ]
        assert not all_same(made)

    database.run(told)


# -- versions ---------------------------------------------------------------------------------------------------------


def test_versions_before_the_record_are_refused_and_later_ones_are_not(database: TestedDatabase) -> None:
    """The topic was filled from a folder at first; the record came later, with other prices."""

    async def told(db: Database) -> None:
        folder = folder_of(REGIONS)
        office = Recorded(db, folder)
        try:
            publisher = await ReferencePublisher.open(office.broker, author="by hand")
            await publisher.publish_folder(folder, lead_seconds=0)
            await publisher.put(Lock("by-hand", "prefix", "999", None, None, "x", "y", "2026-11-24T09:00:00.000Z"))
            await publisher.close()
            await office.publish()  # nothing waits; the engine takes in what is there
            await office.take(attempt("before", "2026-11-24T18:30:00.000Z"))
            prices = [replace(row, price_micros=row.price_micros * 2) for row in folder.prices]
            await office.change(at=datetime(2026, 11, 24, 18, 40, tzinfo=UTC), prices=prices)
            await office.take(attempt("after", "2026-11-24T18:45:00.000Z"))

            versions = {one["attempt_id"]: one["reference_version"] for one in office.told(DECISIONS)}
            assert versions == {"before": 2, "after": 3}
            assert all_same(await again(db, "after"))
            with pytest.raises(UnknownVersion, match=r"version 2 .* this record begins with version 3"):
                await again(db, "before")
            # What was decided is told all the same, and what it would be today.
            assert story(await facts_of(db, "before")).startswith("the call was allowed")
            assert (await now(db, "before")).decision is not None
        finally:
            await office.close()

    database.run(told)


def test_a_record_that_has_published_nothing_and_a_version_of_no_record_are_told_apart(
    database: TestedDatabase,
) -> None:
    async def told(db: Database) -> None:
        tables = PastTables(db.pool)
        with pytest.raises(UnknownVersion, match="nothing has been published from this record"):
            await tables.at(1)
        with pytest.raises(UnknownVersion, match="was not published: an engine was given them directly"):
            await tables.at(0)

    database.run(told)


def test_a_version_without_a_row_of_its_own_is_what_the_one_before_it_was(database: TestedDatabase) -> None:
    """A topic that was lost is published anew under the next number: no change of the record made that version."""

    async def told(db: Database) -> None:
        async with recorded(db) as office:
            end = office.broker.committed("reference", 0)[-1].offset + 1
            office.broker.forget("reference", 0, end)
            await office.publish(republish=True)
            assert office.reader.version == 2
            await office.take(attempt("anew", "2026-11-24T18:30:00.000Z"))
            await office.change(at=datetime(2026, 11, 24, 18, 40, tzinfo=UTC), locks={})
            await office.take(attempt("later", "2026-11-24T18:45:00.000Z"))

            versions = {one["attempt_id"]: one["reference_version"] for one in office.told(DECISIONS)}
            assert versions == {"anew": 2, "later": 3}
            assert all_same(await again(db, "anew"))
            assert all_same(await again(db, "later"))
            whole = PastTables(db.pool)
            two, three = await asyncio.gather(whole.at(2), whole.at(3))
            assert (two.version, three.version) == (2, 3)
            assert await whole.at(2) is two

    database.run(told)


def test_a_version_whose_changes_nobody_has_noted_yet_is_not_guessed_at(database: TestedDatabase) -> None:
    """The relay published a change and died before it noted it."""

    async def told(db: Database) -> None:
        async with recorded(db, events=[attempt("one", "2026-11-24T18:30:00.000Z")]) as office:
            async with change(db.pool, actor="ivanov", reason="a test", at=NOON) as tx:
                await tx.audit("lock", "L9", "lifted", None, None)
                await tx.publish("lock", "L9", None)
            assert office.reader.version == 1
            assert all_same(await again(db, "one"))
            facts = await facts_of(db, "one")
            assert facts.decision is not None
            ahead = replace(facts.decision.record, reference_version=2)
            facts = facts._replace(decision=facts.decision._replace(record=ahead))
            with pytest.raises(UnknownVersion, match=r"can't be made again yet: .* the latest that it knows is 1"):
                async with snapshot(db.pool) as connection:
                    await record.made_again(connection, facts, ENGINE)

    database.run(told)


# -- in words ---------------------------------------------------------------------------------------------------------


def test_a_denied_call_names_the_row_that_decided_its_author_its_history_and_whom_to_ask(
    regions: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(regions)
    found = as_json(capsys, "all-covering-locks")["explained"]

    decision = found["decision"]
    assert (decision["allow"], decision["verdict"]) == (False, "the call was denied: lock")
    assert [(one["check"], one["outcome"]) for one in decision["checks"]] == [
        ("number", "passed"),
        ("number_in_use", "skipped"),
        ("account_known", "passed"),
        ("account_open", "passed"),
        ("account_not_blocked", "passed"),
        ("calls_at_once", "passed"),
        ("locks", "failed"),
        ("wholesale_price", "passed"),
        ("retail_price", "passed"),
        ("margin", "skipped"),
        ("money", "skipped"),
    ]
    assert decision["decided_by"] == (
        "lock L6 on number 381114112060 on the account, set by sidorov on 2026-09-03T21:00:00.000Z: "
        "Номер закрыт по просьбе клиента"
    )
    assert decision["ask"] == "Имя sidorov (sidorov), who set it; else your manager"
    assert [one["lock_id"] for one in decision["checks"][6]["locks"]] == ["L6", "L4", "L3", "L5"]
    assert [(one["action"], one["actor"]) for one in found["history"]] == [("set", "sidorov")]
    assert found["today"]["differences"] == []

    code, text = tollgate(capsys, "all-covering-locks")
    assert code == 0
    assert "decided by: lock L6 on number 381114112060" in text
    assert "ask Имя sidorov (sidorov), who set it; else your manager" in text
    assert "the lock was set by sidorov" in text
    assert "nothing differs" in text


def test_an_author_who_can_be_reached_is_told_with_the_way(
    regions: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(regions)
    asks = {name: as_json(capsys, name)["explained"]["decision"]["ask"] for name in ("local-lock", "global-lock")}
    assert asks == {
        "local-lock": "Имя ivanov (ivanov, +7 495 000-00-01), who set it; else your manager",
        "global-lock": "petrova, who set it (and is no user here); else your manager",
    }


@pytest.mark.parametrize(
    ("name", "verdict", "decided_by", "ask"),
    [
        (
            "no-retail",
            "the call was denied: no_retail_price",
            "tariff plan office has no price for the number (service outgoing, place spb)",
            "marketing",
        ),
        (
            "no-wholesale",
            "the call was denied: no_wholesale_price",
            "no provider has a price for the number (service outgoing, place spb)",
            "b2b",
        ),
        (
            "no-price-at-all",
            "the call was denied: no_wholesale_price (and no_retail_price)",
            "no provider has a price for the number (service outgoing, place spb)",
            "b2b",
        ),
        ("neighbouring-locks", "the call was allowed for up to 9960 s through megafon", None, None),
    ],
)
def test_each_reason_is_a_sentence_and_names_whom_to_ask(
    regions: TestedDatabase, name: str, verdict: str, decided_by: str | None, ask: str | None
) -> None:
    async def told(db: Database) -> None:
        facts = await facts_of(db, name)
        assert facts.decision is not None
        found = decision_told(facts.decision.record, money=True)
        assert (found.verdict, found.decided_by, found.ask) == (verdict, decided_by, ask)

    regions.run(told)


def test_money_that_was_missing_is_told_to_whoever_may_see_it(evening: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        facts = await facts_of(db, "too-poor")
        assert facts.decision is not None
        open_, closed = (decision_told(facts.decision.record, money=money) for money in (True, False))
        (money,) = (one.money for one in open_.checks if one.check == "money")
        assert money is not None
        assert money.needed_micros > money.available_micros == money.balance_micros - money.held_micros
        assert open_.decided_by is not None
        assert "is needed" in open_.decided_by
        assert closed.decided_by == "the available money does not buy the first step"
        assert all(one.money is None for one in closed.checks)
        assert closed.hold_micros is None
        assert not any(word in str(closed) for word in ("balance", "credit limit"))

    evening.run(told)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("local-lock", "the call was denied: lock; 700 s were rated, sold for 36.00, cost 18.00"),
        ("moscow-by-intra-office", "it was released without a CDR (no_answer)"),
        ("moscow-from-moscow", "no CDR of it is in the record yet"),
        ("from-the-past", "the engine could not use what came: too_late"),
    ],
)
def test_the_story_says_what_became_of_the_call(regions: TestedDatabase, name: str, said: str) -> None:
    async def told(db: Database) -> None:
        assert said in story(await facts_of(db, name))

    regions.run(told)


def test_extensions_charges_and_repeated_answers_are_told(
    evening: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(evening)
    code, text = tollgate(capsys, "longer", "--verify")
    assert code == 0
    assert "extension 1 at 2026-11-24T17:06:30.000Z: more time was denied" in text
    assert "extension 2 at 2026-11-24T17:06:45.000Z: more time was allowed" in text
    assert "CDR c-longer: outgoing" in text
    assert "sold: from second 0: 250 s, 5 steps of 60 s at 2.00 per 60 s: 10" in text
    assert "rejected event " in text
    assert "(tollgate rejected show " in text
    assert text.count("is the same, byte for byte") == 4
    again_told = as_json(capsys, "twice", "--verify")["explained"]
    assert again_told["repeated"] == 1
    assert again_told["all_same"] is True
    assert [one["reason"] for one in again_told["rejected"]] == ["id_reused", "id_reused"]


def test_a_cdr_without_an_attempt_is_asked_about_by_its_own_id(evening: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        facts = await facts_of(db, "c-no-attempt")
        assert (facts.attempt, facts.decision) == (None, None)
        assert [one.record.cdr_id for one in facts.rated] == ["c-no-attempt"]
        assert story(facts) == "no attempt of this call is in the record; its CDR was rated"
        assert all_same(await again(db, "c-no-attempt"))
        today = await now(db, "c-no-attempt")
        assert today.decision is None
        assert [rated_differences(*one) for one in today.rated] == [()]
        # That of a call leads to the call.
        assert (await facts_of(db, "c-day")).attempt_id == "day"

    evening.run(told)


# -- looking for a call -----------------------------------------------------------------------------------------------

NEAR = "--at=2026-11-24T21:33:20+03:00"


def test_a_call_is_found_by_account_number_and_time(
    regions: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(regions)
    found = as_json(capsys, "--account=100202", "--number=+381 (11) 411-20-60", NEAR)
    assert [one["attempt_id"] for one in found["calls"]] == ["neighbouring-locks"]
    assert found["explained"]["attempt_id"] == "neighbouring-locks"

    near = as_json(capsys, "--account=100202", NEAR)
    assert near["explained"] is None
    assert [one["attempt_id"] for one in near["calls"]] == [
        "neighbouring-locks",
        "no-retail",
        "global-lock",
        "no-wholesale",
        "no-price-at-all",
        "forwarding-unsold",
    ]
    assert near["calls"][1]["reason"] == "no_retail_price"

    # By a number alone: whoever called it, and whoever called from it.
    alone = as_json(capsys, "--number=381114112060", NEAR)
    assert sorted(one["attempt_id"] for one in alone["calls"]) == [
        "all-covering-locks",
        "local-lock",
        "neighbouring-locks",
    ]
    for account in (["--account=100202"], []):
        callers = as_json(capsys, *account, "--number=8 (812) 123-45-67", NEAR, "--within=2")
        assert {"neighbouring-locks", "no-retail"} <= {one["attempt_id"] for one in callers["calls"]}
        assert {one["caller"] for one in callers["calls"]} == {"78121234567"}
    code, text = tollgate(capsys, "--account=100202", NEAR)
    assert code == 0
    assert "6 calls, the nearest first" in text


def test_what_is_not_there_is_told_with_where_to_look(
    regions: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(regions)
    assert "there is no call 'nobody-knows' in the record; look by --account" in refused("nobody-knows")
    assert as_json(capsys, "--number=4412345678", NEAR) == {"calls": [], "explained": None}
    assert "no call was found there; widen --within" in tollgate(capsys, "--number=4412345678", NEAR)[1]
    assert "--account: there is no account '100999'" in refused("--account=100999", NEAR)
    assert "--number: 'abc' is no number" in refused("--number=abc", NEAR)
    assert "tollgate_projector_lag_records of its /metrics" in refused("nobody-knows")
    assert "say which call" in refused()
    assert "say which call" in refused("local-lock", "--account=100200")
    assert "say about when the call was" in refused("--account=100200")
    assert "--at: 'soon'" in refused("--account=100200", "--at=soon")


def test_an_attempt_that_could_not_be_used_is_listed_as_such(
    regions: TestedDatabase, asked: Callable[[TestedDatabase], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(regions)
    found = as_json(capsys, "--account=100202", "--at=2025-01-01T00:10:00Z")
    (one,) = found["calls"]
    assert (one["attempt_id"], one["allow"], one["rejected"]) == ("from-the-past", None, "too_late")
    assert found["explained"]["story"].startswith("the engine could not use what came: too_late")


def test_an_id_that_a_later_call_had_too_is_told_and_chosen_by_its_moment(database: TestedDatabase) -> None:
    first, second = "2026-11-24T18:30:00.000Z", "2026-11-27T18:30:00.000Z"

    async def told(db: Database) -> None:
        events = [attempt("same", first), attempt("other", "2026-11-26T12:00:00.000Z"), attempt("same", second)]
        # In one batch, as after a long outage: they are told apart all the same.
        async with recorded(db, events=events):
            latest = await facts_of(db, "same")
            assert latest.attempt is not None
            assert (latest.attempt.at, latest.same_id) == (second, (first,))
            asked_for = await facts_of(db, "same", datetime(2026, 11, 24, 18, 31, tzinfo=UTC))
            assert asked_for.attempt is not None
            assert (asked_for.attempt.at, asked_for.same_id) == (first, (second,))
            for at in (datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC)):
                made = await again(db, "same", at)
                assert len(made) == 1
                assert all_same(made)

    database.run(told)


# -- today ------------------------------------------------------------------------------------------------------------


def test_the_same_call_today_is_allowed_when_its_lock_is_lifted(database: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            locks = {name: lock for name, lock in office.folder.locks.items() if name != "L1"}
            await office.change(at=NOON - timedelta(hours=1), locks=locks)

            facts, today = await facts_of(db, "local-lock"), await now(db, "local-lock")
            assert facts.decision is not None
            assert today.decision is not None
            assert (facts.decision.record.allow, today.decision.allow) == (False, True)
            found = {
                one.what: (one.then, one.now) for one in differences(facts.decision.record, today.decision, money=True)
            }
            assert found["verdict"] == ("denied", "allowed")
            assert found["reasons"][1] == "none"
            assert found["check locks"][0].startswith("failed: lock L1 on prefix 38 on the account through megafon")
            assert found["check locks"][1] == "passed"
            assert found["routes"][1].startswith("megafon at 1.50 per 60 s (W-MEG, 3811)")
            # The past is not touched by that.
            assert all_same(await again(db, "local-lock"))

    database.run(told)


def test_the_same_call_today_costs_what_todays_list_says(database: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            prices = [
                replace(row, price_micros=5_000_000) if row.price_list_id == "R-OUT" and row.prefix == "381" else row
                for row in office.folder.prices
            ]
            await office.change(at=NOON - timedelta(hours=1), prices=prices)

            ((then, today),) = (await now(db, "neighbouring-locks")).rated
            (found,) = rated_differences(then, today)
            assert (found.what, found.then, found.now) == (
                "CDR c-neighbouring-locks retail",
                "27.00 (R-OUT, 381)",
                "45.00 (R-OUT, 381)",
            )
            # Before the list came into force nothing differed.
            ((then, before),) = (await now(db, "neighbouring-locks", LOADED_AT + timedelta(hours=2))).rated
            assert isinstance(before, RatedCdr)
            assert rated_differences(then, before) == ()

    database.run(told)


def test_the_same_call_today_is_asked_with_the_money_that_is_left(evening: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        today = await now(db, "longer")
        assert today.decision is not None
        (check,) = (one for one in today.decision.checks if one.check == "money")
        balance = await db.pool.fetchval("SELECT balance_micros FROM facts.balances WHERE account_id = '200102'")
        assert check.balance_micros == balance
        closed = (await now(db, "blocked")).decision
        assert closed is not None
        assert next(str(one.__struct_config__.tag) for one in closed.reasons) == "account_closed"

    evening.run(told)


def test_a_call_that_still_holds_money_is_not_in_its_own_way(database: TestedDatabase) -> None:
    """A long grant holds nearly all the money; asked again, the call gets no less of it for that. Another call does."""
    began = "2026-11-24T18:50:00.000Z"

    async def told(db: Database) -> None:
        async with recorded(db, events=[attempt("first", began), attempt("second", began, requested_seconds=60)]):
            held = await db.pool.fetchval("SELECT held_micros FROM facts.balances WHERE account_id = '100202'")
            assert held == 498_000_000
            for call_id, allowed in (("first", True), ("second", False)):
                facts, today = await facts_of(db, call_id), await now(db, call_id, LOADED_AT + timedelta(hours=10))
                assert facts.decision is not None
                assert today.decision is not None
                assert (facts.decision.record.allow, today.decision.allow) == (allowed, allowed)
                assert differences(facts.decision.record, today.decision, money=True) == ()

    database.run(told)


@pytest.mark.parametrize("end", ["cdr", "release", "expiry"])
def test_a_call_that_has_ended_holds_nothing_that_could_be_taken_out(database: TestedDatabase, end: str) -> None:
    began, ended = "2026-11-24T18:50:00.000Z", "2026-11-24T18:51:00.000Z"
    ends: dict[str, Json] = {
        "cdr": {"type": "cdr", "cdr_id": "c-1", "attempt_id": "first", "switch_id": "s", "account_id": "100202"}
        | {"service": "outgoing", "called": "381114112060", "provider_id": "megafon", "started_at": began}
        | {"answered_at": began, "ended_at": ended},
        "release": {
            "type": "call_release",
            "attempt_id": "first",
            "switch_id": "s",
            "at": ended,
            "account_id": "100202",
        },
        # The next event of the account is later than the hold's time.
        "expiry": attempt("later", "2026-11-25T08:00:00.000Z", "35512345678"),
    }

    async def told(db: Database) -> None:
        async with recorded(db, events=[attempt("first", began)]) as office:
            await office.take(ends[end])
            today = (await now(db, "first")).decision
            assert today is not None
            (check,) = (one for one in today.checks if one.check == "money")
            row = await db.pool.fetchrow("SELECT balance_micros, held_micros FROM facts.balances")
            assert (check.balance_micros, check.held_micros, row["held_micros"]) == (row["balance_micros"], 0, 0)

    database.run(told)


def test_a_cdr_that_nothing_prices_any_more_says_so(database: TestedDatabase) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            prices = [row for row in office.folder.prices if row.prefix != "381"]
            await office.change(at=NOON - timedelta(hours=1), prices=prices)
            ((then, today),) = (await now(db, "neighbouring-locks")).rated
            (found,) = rated_differences(then, today)
            assert found.now == "rejected: no_retail_price, there is no retail price (ask marketing)"

    database.run(told)


def test_a_provider_that_is_gone_carries_nothing_today_and_what_he_carried_is_made_again(
    database: TestedDatabase,
) -> None:
    async def told(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            folder = office.folder
            await office.change(
                at=NOON - timedelta(hours=1),
                providers={name: one for name, one in folder.providers.items() if name != "beeline"},
                price_lists={name: one for name, one in folder.price_lists.items() if name != "W-BEE"},
                prices=[row for row in folder.prices if row.price_list_id != "W-BEE"],
                locks={name: lock for name, lock in folder.locks.items() if lock.provider_id != "beeline"},
            )
            await assert_all_is_made_again(db)
            today = await now(db, "moscow-from-moscow")
            assert today.decision is not None
            assert [route.provider_id for route in today.decision.routes] == ["megafon"]

    database.run(told)


def test_all_reasons_of_the_replays_have_a_sentence(regions: TestedDatabase, evening: TestedDatabase) -> None:
    seen: Counter[str] = Counter()

    async def told(db: Database) -> None:
        for call_id in await calls_of(db):
            facts = await facts_of(db, call_id)
            if facts.decision is not None:
                found = decision_told(facts.decision.record, money=False)
                seen.update(one.code for one in found.reasons)
                assert all(one.text and one.ask for one in found.reasons)

    for database in (regions, evening):
        database.run(told)
    assert {"lock", "no_retail_price", "no_wholesale_price", "insufficient_funds", "too_many_calls"} <= seen.keys()
    assert {"account_blocked", "account_closed", "number_not_in_use"} <= seen.keys()
