"""Rejected events: looked at, mended, submitted again, handled by the engine once; or set aside with a reason."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api import APP, Api, api_on, roles_with
from postgres import TestedDatabase
from projected import CDRS, COMMANDS, DECISIONS, RATED, REJECTED, assert_all_is_there_once
from recorded import LOADED_AT, Recorded, recorded

from backoffice.access import ROLES
from backoffice.refusals import Unfit
from backoffice.rejected import Place, RejectedEvent, sendable
from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.http.parties import masked_text
from connectors.postgres import outbox
from connectors.postgres.change import change
from connectors.postgres.database import RELAY, Database, open_database
from connectors.relay_session import Stuck
from schemas.topics import CALL_ATTEMPTS

Json = dict[str, Any]
WHY = {"reason": "the switch wrote it wrongly"}
CAME_AT = datetime(2026, 11, 24, 19, tzinfo=UTC)
MENDED_AT = CAME_AT + timedelta(hours=1)
CALLED = "381114112060"


def cdr(name: str = "c-1", **more: Any) -> Json:
    """A minute to Belgrade, sold for 3.00 and bought for 1.50."""
    return {
        "type": "cdr",
        "cdr_id": name,
        "switch_id": "msk-1",
        "service": "outgoing",
        "called": CALLED,
        "account_id": "100202",
        "caller": "78121234567",
        "provider_id": "megafon",
        "started_at": "2026-11-24T18:50:00.000Z",
        "answered_at": "2026-11-24T18:50:00.000Z",
        "ended_at": "2026-11-24T18:51:00.000Z",
    } | more


def attempt(name: str = "a-1", **more: Any) -> Json:
    return {
        "type": "call_attempt",
        "attempt_id": name,
        "switch_id": "msk-1",
        "at": "2026-11-24T18:50:00.000Z",
        "service": "outgoing",
        "called": CALLED,
        "account_id": "100202",
    } | more


POISON = cdr(billable_seconds="60")
"""A number as text: the engine is strict."""


@asynccontextmanager
async def rejecting(db: Database, *events: Json | bytes) -> AsyncIterator[tuple[Recorded, Api]]:
    """The guide's operator after some events, and its API with the rights of a process."""
    async with recorded(db) as office, open_database(db.settings, role=APP) as process, api_on(process) as api:
        await office.take(*events, at=CAME_AT)
        office.now = MENDED_AT
        await api.ok("PUT", "/api/clock", role="administrator", json={"at": MENDED_AT.isoformat(), **WHY})
        yield office, api


def told(database: TestedDatabase, story: Callable[[Database], Awaitable[None]]) -> None:
    database.run(story)


async def ids(api: Api, query: str = "") -> list[str]:
    return [one["rejected_id"] for one in (await api.ok("GET", f"/api/rejected?{query}", role="billing"))["items"]]


async def the_one(api: Api, query: str = "") -> str:
    (found,) = await ids(api, query)
    return found


async def resubmit(api: Api, rejected_id: str, *, role: Any = "billing", **sent: Any) -> Any:
    return await api.ask("POST", f"/api/rejected/{rejected_id}/resubmit", role=role, json=WHY | sent)


async def handled(office: Recorded) -> None:
    """The relay, the engine and the projector do their work."""
    await office.publish()
    await office.work()
    await office.project()


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


# -- the whole way ----------------------------------------------------------------------------------------------------


def test_a_cdr_that_was_wrong_is_mended_submitted_again_and_rated_once(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            rejected_id = await the_one(api, "state=open")
            card = await api.ok("GET", f"/api/rejected/{rejected_id}", role="billing")
            assert (card["event"]["topic"], card["event"]["reason"]) == ("cdrs", "malformed")
            assert card["event"]["detail"] == "Expected `int | null`, got `str` - at `$.billable_seconds`"
            assert json.loads(card["payload"]) == POISON
            assert card["problem"].startswith("/billable_seconds: Expected `int | null`, got `str`")

            done = await api.ok(
                "POST", f"/api/rejected/{rejected_id}/resubmit", role="billing", json=WHY | {"event": cdr()}
            )
            assert done == {
                "rejected_id": rejected_id,
                "topic": "cdrs",
                "type": "cdr",
                "event_id": "c-1",
                "edited": True,
                "forced": False,
            }
            await handled(office)

            (rated,) = office.told(RATED)
            assert (rated["cdr_id"], rated["retail"]["amount_micros"]) == ("c-1", 3_000_000)
            await assert_all_is_there_once(office, db)
            card = await api.ok("GET", f"/api/rejected/{rejected_id}", role="billing")
            assert (card["event"]["state"], card["event"]["resubmitted_by"]) == ("resubmitted", "billing1")
            assert [(one["how"], one["event_id"]) for one in card["handled"]] == [("rated", "c-1")]
            (again,) = card["resubmissions"]
            assert (again["author"], again["reason"], again["edited"]) == ("billing1", WHY["reason"], True)
            assert json.loads(again["payload"]) == cdr()
            assert await ids(api, "state=open") == []

            # What was rejected stays as it was, and the audit knows who and why, and no numbers.
            row = await db.pool.fetchrow("SELECT payload, reason FROM facts.rejected")
            assert (json.loads(row["payload"]), row["reason"]) == (POISON, "malformed")
            (noted,) = (await api.ok("GET", "/api/audit?entity=rejected_event", role="auditor"))["items"]
            assert (noted["entity_id"], noted["action"], noted["actor"], noted["reason"]) == (
                rejected_id,
                "resubmitted",
                "billing1",
                WHY["reason"],
            )
            assert (noted["before"]["state"], noted["after"]["state"]) == ("open", "resubmitted")
            assert CALLED not in str(noted)

    told(database, story)


def test_what_could_not_be_used_then_is_submitted_as_it_was_when_the_tables_have_it(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, cdr(account_id="100299"), cdr("c-2", account_id="100299")) as (office, api):
            assert {one["reason"] for one in (await api.ok("GET", "/api/rejected", role="support"))["items"]} == {
                "unknown_account"
            }
            accounts = dict(office.folder.accounts)
            some = accounts["100202"]
            accounts["100299"] = type(some)(
                **{f: getattr(some, f) for f in some.__struct_fields__} | {"account_id": "100299"}
            )
            await office.change(accounts=accounts)
            chosen = list(reversed(await ids(api)))
            done = await api.ok("POST", "/api/rejected/resubmit", role="manager", json=WHY | {"ids": chosen})
            assert [(one["event_id"], one["edited"]) for one in done["submitted"]] == [("c-1", False), ("c-2", False)]
            await handled(office)

            assert sorted(one["cdr_id"] for one in office.told(RATED)) == ["c-1", "c-2"]
            # The very bytes, under the account's key, at the business moment of the change.
            sent = [one for one in office.said(CDRS) if one.key == b"100299"]
            assert [json.loads(one.value or b"")["cdr_id"] for one in sent] == ["c-1", "c-2", "c-1", "c-2"]
            assert len({one.value for one in sent}) == 2
            assert len({one.partition for one in sent}) == 1
            await assert_all_is_there_once(office, db)

    told(database, story)


def test_an_attempt_that_was_wrong_is_answered_once_it_is_mended(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, attempt(at="2026-11-24 18:50:00")) as (office, api):
            rejected_id = await the_one(api, "topic=call-attempts&reason=bad_time")
            refused = problem(await resubmit(api, rejected_id), 422)
            assert refused["errors"][0]["pointer"] == "/at"
            assert "as it was, it would be rejected again" in refused["errors"][0]["detail"]
            problem(await resubmit(api, rejected_id, event=attempt()), 200)
            await handled(office)
            (decision,) = office.told(DECISIONS)
            assert (decision["attempt_id"], decision["allow"]) == ("a-1", True)
            card = await api.ok("GET", f"/api/rejected/{rejected_id}", role="billing")
            assert [one["how"] for one in card["handled"]] == ["decided"]
            refused = problem(await resubmit(api, rejected_id, event=attempt(), force=True), 409)
            assert "attempt a-1 has been answered" in refused["detail"]

    told(database, story)


def test_a_release_without_a_key_follows_its_attempt_or_goes_back_to_where_it_came_from(
    database: TestedDatabase,
) -> None:
    incoming = attempt(account_id=None, service="incoming", called="78125550009")
    release = {"type": "call_release", "attempt_id": "a-0", "switch_id": "msk-1", "at": "2026-11-24T18:50:30.000Z"}

    async def story(db: Database) -> None:
        async with rejecting(db, incoming, release) as (office, api):
            rejected_id = await the_one(api)
            (home,) = {one.partition for one in office.said(DECISIONS)}
            came = 0  # nothing of it says where the call is
            assert home != came
            assert (await api.ok("GET", f"/api/rejected/{rejected_id}"))["problem"] is None
            for event, partition in ((release, came), (release | {"attempt_id": "a-1"}, home)):
                problem(await resubmit(api, rejected_id, event=event, force=True), 200)
                before = {(one.partition, one.offset) for one in office.said(CALL_ATTEMPTS.name)}
                await handled(office)
                new = [one for one in office.said(CALL_ATTEMPTS.name) if (one.partition, one.offset) not in before]
                assert [(one.key, one.partition) for one in new] == [(None, partition)]
            assert [one["reason"] for one in office.told(REJECTED)] == ["unknown_attempt", "unknown_attempt"]

    told(database, story)


def test_one_that_is_rejected_again_is_a_new_one_to_be_seen_to(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            first = await the_one(api)
            problem(await resubmit(api, first, event=cdr(provider_id="nobody")), 200)
            await handled(office)

            second = await the_one(api, "state=open")
            assert second != first
            card = await api.ok("GET", f"/api/rejected/{second}", role="billing")
            assert card["event"]["reason"] == "unknown_provider"
            assert [(one["rejected_id"], one["reason"]) for one in card["same_event"]] == [(first, "malformed")]
            problem(await resubmit(api, second, event=cdr()), 200)
            await handled(office)
            assert [one["cdr_id"] for one in office.told(RATED)] == ["c-1"]
            assert await ids(api, "state=open") == []
            assert sorted(await ids(api, "event_id=c-1")) == sorted([first, second])

    told(database, story)


# -- never twice ------------------------------------------------------------------------------------------------------


def test_submitted_twice_is_refused_unless_it_is_forced_and_is_charged_once_even_then(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            rejected_id = await the_one(api)
            problem(await resubmit(api, rejected_id, event=cdr()), 200)
            refused = problem(await resubmit(api, rejected_id, event=cdr()), 409)
            assert "was submitted again by billing1 already" in refused["detail"]
            # It has not been handled yet: forced, it is sent a second time, and the engine knows its id.
            forced = problem(await resubmit(api, rejected_id, role="manager", event=cdr(), force=True), 200)
            assert forced["forced"] is True
            await handled(office)
            sent = [one for one in office.told(CDRS) if one["cdr_id"] == "c-1"]
            assert len(sent) == 3
            assert len(office.told(RATED)) == 1
            # Once it has been rated, nobody can have it charged twice.
            refused = problem(await resubmit(api, rejected_id, event=cdr(), force=True), 409)
            assert "CDR c-1 has been rated: submitted again it would be charged twice" in refused["detail"]
            card = await api.ok("GET", f"/api/rejected/{rejected_id}", role="billing")
            assert [(one["number"], one["author"], one["forced"]) for one in card["resubmissions"]] == [
                (1, "billing1", False),
                (2, "manager1", True),
            ]
            await assert_all_is_there_once(office, db)

    told(database, story)


def test_two_who_submit_the_same_one_at_the_same_moment_are_not_both_heard(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            rejected_id = await the_one(api)
            await api.key_of("billing")
            answers = await asyncio.gather(*(resubmit(api, rejected_id, event=cdr()) for _ in range(4)))
            assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]
            await handled(office)
            assert [kind for kind, _, _ in await api.outbox()].count("event") == 1

    told(database, story)


def test_the_id_of_another_call_needs_an_id_of_its_own(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, cdr(), cdr(ended_at="2026-11-24T18:53:00.000Z")) as (office, api):
            rejected_id = await the_one(api, "reason=id_reused")
            assert "has been rated" in problem(await resubmit(api, rejected_id), 409)["detail"]
            mended = cdr("c-1-other", ended_at="2026-11-24T18:53:00.000Z")
            problem(await resubmit(api, rejected_id, event=mended), 200)
            await handled(office)
            assert [one["cdr_id"] for one in office.told(RATED)] == ["c-1", "c-1-other"]

    told(database, story)


def test_a_relay_that_dies_before_it_notes_what_it_sent_has_nothing_charged_twice(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = outbox.mark

    async def dies(*_: Any) -> None:
        raise SystemError("killed")

    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            problem(await resubmit(api, await the_one(api), event=cdr()), 200)
            monkeypatch.setattr(outbox, "mark", dies)
            with pytest.raises(SystemError):
                await office.publish()
            monkeypatch.setattr(outbox, "mark", mark)
            # Another relay comes at once: it can't know, sends it again, and the engine knows the id.
            await handled(office)
            assert len([one for one in office.told(CDRS) if one["cdr_id"] == "c-1"]) == 3
            assert len(office.told(RATED)) == 1
            await assert_all_is_there_once(office, db)

    told(database, story)


def test_a_relay_that_comes_days_later_sees_in_the_record_that_it_was_sent(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = outbox.mark

    async def dies(*_: Any) -> None:
        raise SystemError("killed")

    async def story(db: Database) -> None:
        bad = (POISON, attempt(at="x"))
        async with rejecting(db, *bad) as (office, api):
            for one in await ids(api):
                card = await api.ok("GET", f"/api/rejected/{one}", role="billing")
                event = cdr() if card["event"]["topic"] == "cdrs" else attempt()
                problem(await resubmit(api, one, event=event), 200)
            monkeypatch.setattr(outbox, "mark", dies)
            with pytest.raises(SystemError):
                await office.publish()
            monkeypatch.setattr(outbox, "mark", mark)
            await office.work()
            await office.project()
            before = len(office.said(CDRS)), len(office.said(CALL_ATTEMPTS.name))
            # By now the engine has forgotten their ids.
            office.now = MENDED_AT + timedelta(days=3)
            async with open_database(db.settings, role=RELAY) as process:
                office.db, owner = process, office.db
                await office.publish()
                office.db = owner
            assert (len(office.said(CDRS)), len(office.said(CALL_ATTEMPTS.name))) == before
            assert await db.pool.fetchval("SELECT count(*) FROM plumbing.outbox WHERE published_at IS NULL") == 0

    told(database, story)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"topic": "reference", "key": "k", "value": "e30="}, "this program submits nothing again to reference"),
        ({"topic": "cdrs", "key": "k"}, "missing required field `value`"),
        ({"topic": "cdrs", "key": "k", "value": "no base64"}, "Invalid base64"),
    ],
)
def test_what_the_relay_can_not_send_is_named_by_its_row(database: TestedDatabase, payload: Json, said: str) -> None:
    async def story(db: Database) -> None:
        async with recorded(db) as office:
            async with change(db.pool, actor="x", reason="a test", at=LOADED_AT) as tx:
                await tx.audit("rejected_event", "1-1", "resubmitted", None, None)
                await tx.publish("event", "1-1", payload)
            with pytest.raises(Stuck, match=rf"^outbox row \d+ \(event 1-1\): .*{said}"):
                await office.publish()

    told(database, story)


# -- commands ---------------------------------------------------------------------------------------------------------


def test_money_is_not_mended_by_this(database: TestedDatabase) -> None:
    foreign = {"type": "payment", "command_id": "p-9", "account_id": "100999", "at": "2026-11-24T18:50:00.000Z"}

    async def story(db: Database) -> None:
        async with rejecting(db, foreign | {"amount_micros": 5}) as (office, api):
            rejected_id = await the_one(api, "topic=account-commands")
            refused = problem(await resubmit(api, rejected_id), 409)
            assert (
                "is a command to an account, which is not submitted again: order it in the office" in refused["detail"]
            )

            # One that the office ordered: a block of a closed account.
            await api.ok("POST", "/api/accounts/100202/close", role="manager", json=WHY)
            await db.pool.execute("UPDATE office.accounts SET status = 'active' WHERE account_id = '100202'")
            ordered = await api.ok("POST", "/api/accounts/100202/block", role="manager", json=WHY)
            await handled(office)
            command_id = ordered["command_id"]
            own = await the_one(api, f"event_id={command_id}")
            for sent in ({}, {"event": attempt()}, {"force": True}):
                refused = problem(await resubmit(api, own, **sent), 409)
                assert f"is the block {command_id}, which the office ordered: order it anew there" in refused["detail"]
            assert len([one for one in office.told(COMMANDS) if one["command_id"] == command_id]) == 1
            problem(await api.ask("POST", f"/api/rejected/{own}/set-aside", role="billing", json=WHY), 200)
            assert await ids(api, "state=set_aside") == [own]

    told(database, story)


# -- what can't be sent -----------------------------------------------------------------------------------------------

UNFIT: tuple[tuple[Json, str, str], ...] = (
    (cdr(billable_seconds="60"), "/event/billable_seconds", "Expected `int | null`, got `str`"),
    ({name: value for name, value in cdr().items() if name != "called"}, "/event/called", "missing required field"),
    (cdr(cdr_id=""), "/event/cdr_id", "Expected `str` of length >= 1"),
    (cdr(called=1.5), "/event/called", "Expected `str`, got `float`"),
    (cdr(type="payment"), "/event/type", "Invalid value 'payment'"),
    (attempt(), "/event/type", "Invalid value 'call_attempt'"),
    ({}, "/event", "missing required field"),
    (cdr(started_at="2026-11-24 18:50"), "/event/started_at", "names no time zone"),
    (cdr(ended_at="2026-11-24T18:40:00.000Z"), "/event/ended_at", "is before started_at"),
    (cdr(answered_at=None, billable_seconds=60), "/event/billable_seconds", "without answered_at"),
    (cdr(cause="x" * 70_000), "/event", "an event has at most 65536"),
)


def test_what_the_engine_could_not_read_is_refused_by_its_field(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (_, api):
            rejected_id = await the_one(api)
            for event, pointer, said in UNFIT:
                (error,) = problem(await resubmit(api, rejected_id, event=event), 422)["errors"]
                assert error["pointer"].startswith(pointer), (error, event)
                assert said in error["detail"], error
            for body, pointer in (({}, "/reason"), (WHY | {"event": 5}, "/event"), (WHY | {"why": "x"}, "/why")):
                answer = await api.ask("POST", f"/api/rejected/{rejected_id}/resubmit", role="billing", json=body)
                assert problem(answer, 422)["errors"][0]["pointer"] == pointer
            for nothing in ("0-99999", "x", "7-", "-1", "99999999999-1", "1-99999999999999999999", "1-2-3"):
                problem(await api.ask("GET", f"/api/rejected/{nothing}", role="billing"), 404)
                problem(await resubmit(api, nothing), 404)
            assert [kind for kind, _, _ in await api.outbox() if kind == "event"] == []
            assert await ids(api, "state=open") == [rejected_id]

    told(database, story)


def test_of_many_all_are_submitted_or_none(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        events = (cdr("good", account_id="100299"), POISON, b"no event at all")
        async with rejecting(db, *events) as (_, api):
            chosen = sorted(await ids(api))
            body = WHY | {"ids": [*chosen, "0-99999"]}
            (missing,) = problem(await api.ask("POST", "/api/rejected/resubmit", role="billing", json=body), 422)[
                "errors"
            ]
            assert (missing["pointer"], missing["detail"]) == ("/ids/3", "there is no rejected event 0-99999")
            body = WHY | {"ids": chosen}
            errors = problem(await api.ask("POST", "/api/rejected/resubmit", role="billing", json=body), 422)["errors"]
            assert len(errors) == 2
            good = await the_one(api, "event_id=good")
            assert {one["pointer"] for one in errors} == {
                f"/ids/{place}" for place, one in enumerate(chosen) if one != good
            }
            assert all("as it was, it would be rejected again: edit it" in one["detail"] for one in errors)
            assert len(await ids(api, "state=open")) == 3
            for wrong in ([], ["x"], ["1-1"] * 1_001):
                body = WHY | {"ids": wrong}
                problem(await api.ask("POST", "/api/rejected/resubmit", role="billing", json=body), 422)

    told(database, story)


def test_bytes_that_were_not_kept_whole_are_not_sent() -> None:
    cut = RejectedEvent(
        Place(0, 1), CAME_AT, None, "cdrs", 0, 1, "malformed", "", None, None, b"x" * 1_000_000, *[None] * 5
    )
    with pytest.raises(Unfit, match="has 1000000 bytes; an event has at most 65536"):
        sendable(cut)


def test_what_is_set_aside_says_why_and_may_be_submitted_after_all(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (office, api):
            rejected_id = await the_one(api)
            path = f"/api/rejected/{rejected_id}/set-aside"
            card = await api.ok("POST", path, role="billing", json={"reason": "a test line"})
            assert (card["event"]["state"], card["event"]["set_aside_why"]) == ("set_aside", "a test line")
            assert (
                "was set aside by billing1: a test line"
                in problem(await api.ask("POST", path, role="manager", json=WHY), 409)["detail"]
            )
            assert await ids(api, "state=open") == []
            problem(await resubmit(api, rejected_id, event=cdr()), 200)
            problem(await api.ask("POST", path, role="manager", json=WHY), 409)
            await handled(office)
            assert len(office.told(RATED)) == 1
            assert await ids(api, "state=resubmitted") == [rejected_id]
            assert await ids(api, "state=set_aside") == []
            noted = await api.ok("GET", f"/api/audit?entity=rejected_event&entity_id={rejected_id}", role="auditor")
            assert [one["action"] for one in noted["items"]] == ["resubmitted", "set_aside"]

    told(database, story)


# -- lists, roles, masks ----------------------------------------------------------------------------------------------


def test_lists_are_filtered_and_turned_page_by_page(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        events = [cdr(f"c-{number}", provider_id=number) for number in range(7)]
        async with rejecting(db, *events, attempt(at="x"), b"{") as (office, api):
            # A good one moves the engine's clock, which is the time of what it publishes.
            await office.take(cdr("good"), cdr("late", provider_id=1), at=CAME_AT + timedelta(minutes=5))

            async def paged(query: str) -> list[str]:
                found, after = [], ""
                while True:
                    answer = await api.ok("GET", f"/api/rejected?limit=2&{query}{after}", role="support")
                    found += answer["items"]
                    if answer["next"] is None:
                        return [one["event_id"] for one in found]
                    after = f"&after={answer['next']}"

            everything = await paged("")
            assert len(everything) == 10
            assert everything[0] == "late"
            assert sorted(one or "" for one in everything[1:]) == ["", "a-1", *(f"c-{n}" for n in range(7))]
            assert await paged("topic=call-attempts&reason=bad_time") == ["a-1"]
            assert len(await paged("topic=cdrs&reason=malformed&account_id=100202")) == 8
            assert await paged("event_id=c-3") == ["c-3"]
            assert await paged("since=2026-11-24T19:05:00Z") == ["late"]
            assert len(await paged("until=2026-11-24T19:05:00Z")) == 9
            assert await paged("state=resubmitted") == []
            for wrong in ("state=gone", "limit=0", "since=soon", "after=x", "color=red"):
                problem(await api.ask("GET", f"/api/rejected?{wrong}", role="support"), 422)
            counts = await api.ok("GET", "/api/rejected/counts", role="support")
            assert counts["events"] == 10
            assert {(one["topic"], one["reason"]): one["events"] for one in counts["counts"]} == {
                ("call-attempts", "bad_time"): 1,
                ("call-attempts", "malformed"): 1,
                ("cdrs", "malformed"): 8,
            }

    told(database, story)


def test_who_may_look_and_who_may_submit(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        async with rejecting(db, POISON) as (_, api):
            rejected_id = await the_one(api)
            for role in ROLES:
                for path in ("/api/rejected", "/api/rejected/counts", f"/api/rejected/{rejected_id}"):
                    answer = await api.ask("GET", path, role=role)
                    assert answer.status_code == (200 if role in roles_with("rejected.see") else 403), (role, path)
                if role not in roles_with("rejected.resubmit"):
                    assert (
                        problem(await resubmit(api, rejected_id, role=role), 403)["permission"] == "rejected.resubmit"
                    )
                    for path, body in (
                        ("/api/rejected/resubmit", WHY | {"ids": [rejected_id]}),
                        (f"/api/rejected/{rejected_id}/set-aside", WHY),
                    ):
                        problem(await api.ask("POST", path, role=role, json=body), 403)
            assert await ids(api, "state=open") == [rejected_id]

    told(database, story)


def test_numbers_in_events_are_masked_for_whoever_need_not_see_them(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        spoiled = cdr("c-1", called=f"+{CALLED}", provider_id=5)
        async with rejecting(db, spoiled, cdr("c-2", provider_id=None), attempt(caller=CALLED, at=CALLED)) as (_, api):
            for role in roles_with("rejected.see"):
                whole = role in roles_with("parties.see")
                cards = [f"/api/rejected/{one}" for one in await ids(api)]
                for path in ("/api/rejected", "/api/rejected/export", *cards):
                    text = (await api.ask("GET", path, role=role)).text
                    assert whole or (CALLED not in text and "78121234567" not in text), (role, path)
                one = await the_one(api, "event_id=c-1")
                text = (await api.ask("GET", f"/api/rejected/{one}", role=role)).text
                assert (CALLED in text) is whole, role
                # Moments and words are left as they are.
                assert "2026-11-24T18:50:00.000Z" in text
                assert "malformed" in text
            before = await api.audit_rows()
            text = (await api.ask("GET", f"/api/rejected/{one}?unmask=complaint%2017", role="auditor")).text
            assert CALLED in text
            assert await api.audit_rows() == before + 1

    told(database, story)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('"called":"381114112060"', '"called":"3811••••••60"'),
        ("+7 (916) 123-45-67", "+7916•••••67"),
        (r'"called":"\u0033\u0038\u0031114112060"', '"called":"3811••••••60"'),
        ("at 2026-11-24T18:30:00.000Z and 2026-11-25 00:02:10", "at 2026-11-24T18:30:00.000Z and 2026-11-25 00:02:10"),
        ("12345", "•••••"),
        (
            "Expected `int`, got `float` - at `$.amount_micros[12]`",
            "Expected `int`, got `float` - at `$.amount_micros[12]`",
        ),
        ("2026-11-2438111411206", "2026•••••••••••••06"),
    ],
)
def test_whatever_may_be_a_number_is_masked_in_text(text: str, masked: str) -> None:
    assert masked_text(text) == masked


# -- from the shell ---------------------------------------------------------------------------------------------------


def test_the_whole_way_from_the_shell(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tollgate(*words: str) -> str:
        capsys.readouterr()
        app(["rejected", *words], exit_on_error=False, result_action="return_value")
        return capsys.readouterr().out

    def refused(*words: str) -> str:
        with pytest.raises(Refused) as caught:
            app(["rejected", *words], exit_on_error=False, result_action="return_value")
        return str(caught.value)

    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.chdir(tmp_path)
    office: list[Any] = []

    async def prepared(db: Database) -> None:
        good = [cdr(f"again-{number}", account_id="100299") for number in range(3)]
        async with rejecting(db, POISON, *good, b"{") as (_, api):
            await api.user("anna", "billing")
            await api.user("sveta", "support")
            office.append(await ids(api, "event_id=c-1"))

    told(database, prepared)
    ((rejected_id,),) = office

    found = json.loads(tollgate("list", "--json"))
    assert (len(found["events"]), found["more"]) == (5, False)
    assert "5 rejected events" in tollgate("list")
    assert json.loads(tollgate("list", "--json", "--limit=2", "--topic=cdrs"))["more"] is True
    assert {
        one["reason"]: one["events"] for one in json.loads(tollgate("counts", "--json")) if one["topic"] == "cdrs"
    } == {
        "malformed": 1,
        "unknown_account": 3,
    }
    assert "5 rejected events are to be seen to" in tollgate("counts")
    shown = tollgate("show", rejected_id)
    assert "it can't be submitted as it was: /billable_seconds: Expected" in shown
    assert json.loads(tollgate("show", rejected_id, "--json"))["event"]["event_id"] == "c-1"

    # Edit what was printed, and send it.
    event = json.loads(tollgate("show", rejected_id, "--payload"))
    assert event == POISON
    file = Path("event.json")
    file.write_text(json.dumps(event))
    why = ("--reason=the switch wrote it wrongly", "--as=anna")
    assert "/event/billable_seconds: Expected" in refused("resubmit", rejected_id, "--event=event.json", *why)
    file.write_text(json.dumps(event | {"billable_seconds": 60}))
    assert "the role support may not submit rejected events again" in refused(
        "resubmit", rejected_id, "--event=event.json", why[0], "--as=sveta"
    )
    assert "there is no user 'nobody'" in refused("resubmit", rejected_id, why[0], "--as=nobody")
    assert tollgate("resubmit", rejected_id, "--event=event.json", *why).strip() == (
        f"{rejected_id}: cdr c-1 is submitted again to cdrs, edited"
    )
    assert "was submitted again by anna already" in refused("resubmit", rejected_id, "--event=event.json", *why)
    assert "submitted again" in tollgate("show", rejected_id)

    # All of one reason, in the order in which they came.
    done = json.loads(tollgate("resubmit", "--all", "--rejected-for=unknown_account", "--json", *why))
    assert [one["event_id"] for one in done] == ["again-0", "again-1", "again-2"]
    assert "none that are open" in tollgate("resubmit", "--all", "--rejected-for=unknown_account", *why)
    (left,) = json.loads(tollgate("list", "--json"))["events"]
    assert f"{left['rejected_id']}: " in refused("resubmit", left["rejected_id"], rejected_id, *why)
    assert "is set aside" in tollgate("set-aside", left["rejected_id"], "--reason=noise", "--as=anna")
    assert "there are none that are open" in tollgate("list")
    assert len(json.loads(tollgate("list", "--all-states", "--json"))["events"]) == 5

    for words, said in (
        (("resubmit", *why), "name the events by their ids, or take --all"),
        (("resubmit", rejected_id, "--all", "--topic=cdrs", *why), "name the events by their ids, or take --all"),
        (("resubmit", "--all", *why), "--all needs a condition"),
        (("resubmit", rejected_id, "--topic=cdrs", *why), "go with --all"),
        (("resubmit", "1-1", "1-2", "--event=event.json", *why), "--event goes with the id of one event"),
        (("resubmit", rejected_id, "--event=none.json", *why), "--event: "),
        (("set-aside", *why), "name the events by their ids"),
        (("show", "7-77777"), "there is no rejected event '7-77777'"),
        (("list", "--since=soon"), "--since: 'soon'"),
        (("resubmit", rejected_id, "--reason= ", "--as=anna", "--force"), "reason"),
    ):
        assert said in refused(*words), words

    async def done_at_last(db: Database) -> None:
        row = await db.pool.fetchrow("SELECT author, reason, at FROM office.resubmissions WHERE event_id = 'c-1'")
        assert (row["author"], row["reason"]) == ("anna", "the switch wrote it wrongly")
        assert row["at"] > LOADED_AT

    told(database, done_at_last)
