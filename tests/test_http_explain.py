"""Why a call did not go through, asked over the API: who may, what is answered, and what is masked for whom."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api import APP, Api, api_on, roles_with
from msgspec.structs import replace
from postgres import TestedDatabase, new_database
from recorded import REGIONS, Recorded, events_of, folder_of, recorded
from test_explain import attempt

from backoffice.access import ROLES
from connectors.postgres.database import Database
from connectors.postgres.server import EmbeddedServer
from connectors.reference.publisher import ReferencePublisher

LOCKED, ALLOWED = "381114112060", "74952223344"
LOCKS_GONE_AT = datetime(2026, 11, 24, 19, tzinfo=UTC)
AT = "2026-11-24T18:33:00Z"

Story = Callable[[Api], Awaitable[None]]


@pytest.fixture(scope="module")
def regions(postgres: EmbeddedServer) -> Iterator[TestedDatabase]:
    """The guide's forbidden regions after their calls; then L1 was lifted, and one event could not be used."""

    async def filled(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)) as office:
            cdr = {"type": "cdr", "cdr_id": "c-odd", "attempt_id": "moscow-from-moscow", "account_id": "100200"}
            await office.take(cdr, at=LOCKS_GONE_AT)
            locks = {name: lock for name, lock in folder_of(REGIONS).locks.items() if name != "L1"}
            await office.change(at=LOCKS_GONE_AT, locks=locks)

    with new_database(postgres) as found:
        found.run(filled)
        yield found


def told(database: TestedDatabase, story: Story) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db) as api:
            await story(api)

    database.run(opened, role=APP)


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def test_support_is_told_the_row_that_decided_its_history_and_what_would_happen_today(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        found = await api.ok("GET", "/api/calls/local-lock/explain?verify=true", role="support")

        decision = found["decision"]
        assert (decision["allow"], decision["reasons"][0]["lock_id"]) == (False, "L1")
        assert decision["decided_by"].startswith(
            "lock L1 on prefix 38 on the account through megafon, set by ivanov on"
        )
        assert decision["ask"] == "ivanov, who set it (and is no user here); else your manager"
        assert [one["check"] for one in decision["checks"]][5:8] == ["calls_at_once", "locks", "wholesale_price"]
        assert [(one["action"], one["actor"]) for one in found["history"]] == [("set", "ivanov"), ("lifted", "loader")]
        assert found["today"]["decision"]["allow"] is True
        published = await api.database.pool.fetchval("SELECT max(reference_version) FROM plumbing.outbox")
        assert found["today"]["decision"]["reference_version"] == published > decision["reference_version"]
        assert {one["what"]: one["now"] for one in found["today"]["differences"]}["verdict"] == "allowed"
        assert found["all_same"] is True
        assert [one["what"] for one in found["verified"]] == [
            "the decision of 2026-11-24T18:30:00.000Z",
            "the rated CDR c-denied",
        ]
        # What a denied call cost all the same, in all its parts.
        (rated,) = found["rated"]
        assert (rated["marks"], rated["retail"]["charge"]["amount_micros"]) == (["denied"], 36_000_000)
        assert rated["retail"]["lines"][0] == "from second 0: 700 s, 12 steps of 60 s at 3.00 per 60 s: 36"

    told(regions, story)


def test_by_account_number_and_time_the_only_call_is_explained_at_once(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        ask = "/api/calls/explain?at=" + AT
        found = await api.ok("GET", f"{ask}&account_id=100202&number=%2B381%2011%20411-20-60", role="support")
        assert [one["attempt_id"] for one in found["calls"]] == ["neighbouring-locks"]
        assert found["explained"]["story"].startswith("the call was allowed")
        assert found["explained"]["verified"] is None

        several = await api.ok("GET", f"{ask}&account_id=100202&limit=3", role="support")
        assert (len(several["calls"]), several["explained"]) == (3, None)
        alone = await api.ok("GET", f"{ask}&number={LOCKED}&within_minutes=1", role="support")
        assert {one["attempt_id"] for one in alone["calls"]} == {"all-covering-locks", "neighbouring-locks"}
        assert await api.ok("GET", f"{ask}&number=4412345678", role="support") == {"calls": [], "explained": None}

    told(regions, story)


def test_a_caller_is_found_without_the_account(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        ask = f"/api/calls/explain?at={AT}"
        with_account = await api.ok("GET", f"{ask}&account_id=100202&number=78121234567", role="support")
        alone = await api.ok("GET", f"{ask}&number=8%20(812)%20123-45-67", role="support")
        assert {one["caller"] for one in alone["calls"]} == {"78121234567"}
        known = {one["attempt_id"] for one in with_account["calls"]}
        assert known
        assert known <= {one["attempt_id"] for one in alone["calls"]}
        # It is found by an index: a day of a busy operator is not read through for it.
        plan = "\n".join(
            [
                row[0]
                for row in await api.database.pool.fetch(
                    "EXPLAIN SELECT FROM facts.attempts WHERE kind = 'call_attempt' AND caller = ANY ($1)"
                    " AND at BETWEEN now() - interval '1 hour' AND now()",
                    ["78121234567"],
                )
            ]
        )
        assert "caller" in plan

    told(regions, story)


def test_wherever_it_is_said_whom_to_ask_the_author_can_be_reached(database: TestedDatabase) -> None:
    async def filled(db: Database) -> None:
        async with recorded(db, events=events_of(REGIONS)):
            pass

    async def story(api: Api) -> None:
        await api.user("ivanov", "b2b")
        whole = "Имя ivanov (ivanov), who set it; else your manager"
        gone = "your manager: Имя ivanov (ivanov), who set it, works here no more"
        for status, ask in (("active", whole), ("disabled", gone)):
            await api.database.pool.execute("UPDATE access.users SET status = $1 WHERE name = 'ivanov'", status)
            found = await api.ok("GET", "/api/calls/local-lock/explain", role="support")
            for decision in (found["decision"], found["today"]["decision"]):
                assert decision["ask"] == decision["reasons"][0]["ask"] == ask
                asks = [
                    lock["ask"] for check in decision["checks"] for lock in check["locks"] if lock["author"] == "ivanov"
                ]
                assert asks == [ask]

    database.run(filled)
    told(database, story)


def test_who_may_not_see_calls_is_told_so_and_the_others_see_them(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role in ROLES:
            for path in ("/api/calls/local-lock/explain", f"/api/calls/explain?account_id=100200&at={AT}"):
                answer = await api.ask("GET", path, role=role)
                if role in roles_with("calls.see"):
                    assert answer.status_code == 200, answer.text
                else:
                    assert problem(answer, 403)["permission"] == "calls.see"
        problem(await api.ask("GET", "/api/calls/local-lock/explain", role=None), 401)

    told(regions, story)


def test_numbers_are_masked_for_whoever_need_not_see_them(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        ways = (
            "/api/calls/moscow-from-petersburg/explain?verify=true",
            f"/api/calls/explain?account_id=100200&at={AT}",
            f"/api/calls/explain?account_id=100200&number={ALLOWED}&at=2026-11-24T18:40:30Z&within_minutes=1",
        )
        for path in ways:
            for role in roles_with("calls.see"):
                answer = await api.ask("GET", path, role=role)
                whole = role in roles_with("parties.see")
                assert (ALLOWED in answer.text) is whole, (role, path)
                assert ("74951234567" in answer.text or "78121234567" in answer.text) is whole, (role, path)
        masked = await api.ok("GET", ways[0], role="marketing")
        assert masked["attempt"]["called"] == "7495•••••44"
        assert masked["rated"][0]["caller"] == "7812•••••67"
        # An auditor may see them whole for a reason that the audit keeps.
        before = await api.audit_rows()
        whole = await api.ask("GET", f"{ways[0]}&unmask=complaint%2017", role="auditor")
        assert ALLOWED in whole.text
        assert await api.audit_rows() == before + 1
        assert problem(await api.ask("GET", f"{ways[0]}&unmask=please", role="sales"), 403)

    told(regions, story)


def test_balances_are_for_those_who_may_see_money(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role in roles_with("calls.see"):
            found = await api.ok("GET", "/api/calls/moscow-from-petersburg/explain?verify=true", role=role)
            sees = role in roles_with("money.see")
            (check,) = (one for one in found["decision"]["checks"] if one["check"] == "money")
            assert (check["money"] is not None) is sees, role
            assert (found["rated"][0]["balance_after_micros"] is not None) is sees, role
            assert (found["decision"]["hold_micros"] is not None) is sees, role
            assert ("balance " in check["text"]) is sees, role

    told(regions, story)


def test_rejected_events_of_a_call_are_for_those_who_may_see_them(regions: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role in roles_with("calls.see"):
            found = await api.ok("GET", "/api/calls/moscow-from-moscow/explain", role=role)
            reasons = [one["reason"] for one in found["rejected"]]
            assert reasons == (["malformed"] if role in roles_with("rejected.see") else []), role

    told(regions, story)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/calls/nobody/explain", 404, "nobody"),
        ("/api/calls/local-lock/explain?at=yesterday", 422, "at"),
        ("/api/calls/local-lock/explain?verify=perhaps", 422, "verify"),
        ("/api/calls/local-lock/explain?color=red", 422, "color"),
        (f"/api/calls/explain?at={AT}", 422, "give an account or a number, or both"),
        (f"/api/calls/explain?at={AT}&account_id=nope", 404, "nope"),
        (f"/api/calls/explain?at={AT}&number=abc", 422, "'abc' is no number"),
        (f"/api/calls/explain?at={AT}&account_id=100200&number=abc", 422, "'parameter': 'number'"),
        ("/api/calls/explain?account_id=100200", 422, "at"),
        ("/api/calls/explain?account_id=100200&at=soon", 422, "at"),
        (f"/api/calls/explain?account_id=100200&at={AT}&within_minutes=0", 422, "within_minutes"),
        (f"/api/calls/explain?account_id=100200&at={AT}&limit=1000", 422, "limit"),
    ],
)
def test_what_can_not_be_answered_says_why(regions: TestedDatabase, path: str, status: int, said: str) -> None:
    async def story(api: Api) -> None:
        assert said in str(problem(await api.ask("GET", path, role="support"), status))

    told(regions, story)


def test_a_version_from_before_the_record_is_a_conflict_and_not_an_error(database: TestedDatabase) -> None:
    async def before(db: Database) -> None:
        folder = folder_of(REGIONS)
        office = Recorded(db, folder)
        try:
            publisher = await ReferencePublisher.open(office.broker, author="by hand")
            await publisher.publish_folder(folder, lead_seconds=0)
            await publisher.close()
            await office.publish()
            await office.take(attempt("before", "2026-11-24T18:30:00.000Z"))
            prices = [replace(row, price_micros=row.price_micros * 2) for row in folder.prices]
            await office.change(at=LOCKS_GONE_AT + timedelta(hours=1), prices=prices)
        finally:
            await office.close()

    async def story(api: Api) -> None:
        refused = problem(await api.ask("GET", "/api/calls/before/explain?verify=true", role="support"), 409)
        assert "this record begins with version 2" in refused["detail"]
        assert (await api.ok("GET", "/api/calls/before/explain", role="support"))["decision"]["allow"] is True

    database.run(before)
    told(database, story)
