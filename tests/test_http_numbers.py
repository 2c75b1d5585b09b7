"""Numbers through the API (§1.4, §3.4): quarantine without a way past it, search, sale, forcing with approval."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import openpyxl
from api import APP, Api, api_on
from api_samples import call_number, prepare
from postgres import TestedDatabase

from backoffice.numbers.availability import WORDS
from connectors.postgres.database import Database, open_database

WHY = {"reason": "a test"}
ACCOUNT = "known1"


def told(database: TestedDatabase, story: Any, today: str = "2026-11-24") -> None:
    """A story on the office of the samples, at noon of a day."""

    async def opened(db: Database) -> None:
        async with api_on(db) as api:
            await set_day(api, today)
            await prepare(api, 1)
            await api.user("sales2", "sales")
            await api.user("boss", "manager")
            await story(api)

    database.run(opened, role=APP)


async def set_day(api: Api, day: str) -> None:
    at = {"at": f"{day}T09:00:00Z", "running": False, "reason": "a test"}
    await api.ok("PUT", "/api/clock", role="administrator", json=at)


async def as_owner(api: Api, query: str, *arguments: object) -> None:
    async with open_database(api.database.settings, role=None) as owner:
        await owner.pool.execute(query, *arguments)


async def have(api: Api, number: str, *, status: str = "archive", since: str = "2026-03-03", **more: Any) -> None:
    """A number as a folder would bring it."""
    fields = {"region": "Москва", "provider_id": None, "fmtn": False, "account_id": None, "saleable": "depends_on_ncv"}
    fields |= more
    await as_owner(
        api,
        "INSERT INTO office.numbers (number, status, account_id, region, provider_id, fmtn, joined_on, archived_on,"
        " saleable, changed_at, changed_by, change_reason)"
        " VALUES ($1, $2, $3, $4, $5, $6, '2020-01-01', $7, $8, '2020-01-01', 'loader', 'loaded')",
        number,
        status,
        fields["account_id"],
        fields["region"],
        fields["provider_id"],
        fields["fmtn"],
        date.fromisoformat(since),
        fields["saleable"],
    )


async def closed_days(api: Api, first: str, last: str) -> None:
    await as_owner(
        api,
        "INSERT INTO office.ncv_days SELECT d, d, 'test', 'collected', 0, 0"
        " FROM generate_series($1::date, $2::date, interval '1 day') d",
        date.fromisoformat(first),
        date.fromisoformat(last),
    )


async def rested(api: Api, number: str, **more: Any) -> None:
    """A free number without unwanted calls."""
    await have(api, number, status="free", since="2026-09-01", **more)


async def sell(api: Api, number: str, *, name: str | None = None, role: Any = "sales", **more: Any) -> Any:
    sent = {"number": number, "account_id": ACCOUNT, "product": "ВАТС"} | more
    return await api.ask("POST", "/api/subscribers", role=role, name=name, json=sent)


async def status(api: Api, number: str) -> str:
    found: str = (await api.ok("GET", f"/api/numbers/{number}"))["status"]
    return found


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    return str(body.get("detail", "")) + " ".join(str(one) for one in body.get("errors", ()))


# -- the guide's cases ------------------------------------------------------------------------------------------------


def test_case_1_an_unrested_number_is_not_sold_without_approval_and_comes_back_to_quarantine(
    database: TestedDatabase,
) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031", since="2026-11-10")
        await closed_days(api, "2026-11-10", "2026-11-23")

        assert "archive" in problem(await sell(api, "74951201031"), 409)
        assert "Недостаточно данных" in problem(await sell(api, "74951201031"), 409)

        await release(api, "74951201031")
        subscriber = (await sell(api, "74951201031")).json()
        assert (subscriber["status"], subscriber["rested"], await status(api, "74951201031")) == (
            "new",
            False,
            "reserved",
        )
        # The client refuses: the number goes back to where it was, not to whoever comes next.
        await api.ok("POST", f"/api/subscribers/{subscriber['subscriber_id']}/close", role="sales", json=WHY)
        number = await api.ok("GET", "/api/numbers/74951201031")
        assert (number["status"], number["archived_on"], number["saleable"]) == (
            "archive",
            "2026-11-10",
            "depends_on_ncv",
        )
        assert (await sell(api, "74951201031")).status_code == 409

    told(database, story)


def test_case_1_a_rested_number_that_was_not_called_is_free_again(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        for number, called, then in (("74951201031", False, "free"), ("74951201032", True, "archive")):
            await rested(api, number)
            subscriber = (await sell(api, number)).json()
            assert subscriber["rested"], subscriber
            if called:
                await set_day(api, "2026-11-25")
                await call_number(api, number, callers=1)
            await api.ok("POST", f"/api/subscribers/{subscriber['subscriber_id']}/close", role="sales", json=WHY)
            found = await api.ok("GET", f"/api/numbers/{number}")
            assert (found["status"], found["archived_on"]) == (then, "2026-09-01")

    told(database, story)


def test_case_2_whatever_way_a_number_is_released_it_goes_to_quarantine(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        for number in ("74951201031", "74951201032", "74951201033"):
            await rested(api, number)
        sold = (await sell(api, "74951201031")).json()
        await api.ok("POST", f"/api/subscribers/{sold['subscriber_id']}/activate", role="sales", json=WHY)
        assert await status(api, "74951201031") == "in_use"
        assert (await api.ask("PUT", "/api/numbers/74951201031", json={"status": "free"})).status_code == 409
        closed = await api.ok("POST", f"/api/subscribers/{sold['subscriber_id']}/close", role="support", json=WHY)
        assert (closed["status"], closed["closed_by"]) == ("closed", "support1")
        again = await api.ask("POST", f"/api/subscribers/{sold['subscriber_id']}/close", role="support", json=WHY)
        assert again.status_code == 409

        for number in ("74951201032", "74951201033"):
            sold = (await sell(api, number)).json()
            await api.ok("POST", f"/api/subscribers/{sold['subscriber_id']}/activate", role="sales", json=WHY)
        await api.ok("POST", "/api/numbers/74951201032/release", role="support", json=WHY)
        await api.ok("POST", f"/api/accounts/{ACCOUNT}/close", json=WHY)  # the contract ends

        for number in ("74951201031", "74951201032", "74951201033", "78831"):
            found = await api.ok("GET", f"/api/numbers/{number}")
            assert (found["status"], found["account_id"], found["archived_on"]) == ("archive", None, "2026-11-24")
            assert (await sell(api, number, account_id="blocked1")).status_code == 409
            last = [record for kind, key, record in await api.outbox() if (kind, key) == ("number", number)][-1]
            assert last["status"] == "archive", "the engine counts its calls from now on"
        open_ones = await api.ok("GET", f"/api/subscribers?account_id={ACCOUNT}&status=in_use")
        assert open_ones["items"] == []

    told(database, story)


def test_case_2_the_database_itself_knows_no_way_past_quarantine(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031", status="in_use", account_id=ACCOUNT)
        await have(api, "74951201032", since="2026-11-10")
        for change in ("status = 'free', account_id = NULL", "status = 'reserved'"):
            assert "can't become" in await refused(
                api, f"UPDATE office.numbers SET {change} WHERE number = '74951201031'"
            )
        forced = "UPDATE office.numbers SET saleable = 'forced_yes' WHERE number = '74951201032'"
        assert "by approval alone" in await refused(api, forced)
        inserted = (
            "INSERT INTO office.numbers (number, status, saleable, changed_at, changed_by, change_reason)"
            " VALUES ('74951201099', 'free', 'forced_yes', now(), 'x', 'x')"
        )
        assert "by approval alone" in await refused(api, inserted)

    told(database, story)


async def refused(api: Api, query: str) -> str:
    try:
        await api.database.pool.execute(query)
    except Exception as error:
        return str(error)
    raise AssertionError("it was done")


def test_case_3_a_client_gets_the_very_number_after_approval_and_knows_of_its_calls(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74952000200", since="2026-09-01", provider_id="known1")
        await closed_days(api, "2026-09-01", "2026-11-23")
        await call_number(api, "74952000200", callers=7, day="2026-11-20")
        keeper = {"email": "keeper@example.org", **WHY}
        await api.ok("PATCH", "/api/users/manager1", role="administrator", json=keeper)
        found = await api.ok("GET", "/api/numbers?number=8(495)%20200-0-200&availability=red", role="sales")
        assert [(one["number"], one["sign"], one["colour"]) for one in found["items"]] == [
            ("74952000200", "has_ncv", "red")
        ]
        card = await api.ok("GET", "/api/numbers/74952000200/card", role="sales")
        assert (card["callers"]["unique_callers"], card["earliest_free"]) == (7, "2026-12-21")

        without = await api.ask("POST", "/api/numbers/74952000200/requests", role="sales", json=WHY)
        assert "/client_id" in problem(without, 422)
        wanted = {"client_id": "mail1", **WHY}
        request = await api.ok("POST", "/api/numbers/74952000200/requests", role="sales", json=wanted)
        assert (request["state"], request["told_callers"]) == ("waiting_for_client", 7)
        (letter,) = (await api.ok("GET", "/api/letters?recipient=client@example.org&limit=1"))["items"]
        assert "7 с 7 уникальных" in letter["body"]
        path = f"/api/number-requests/{request['request_id']}"
        assert "agree" in problem(await api.ask("POST", f"{path}/approve", json=WHY), 409)
        agreed = {"text": "Согласны", "given_by": "Директор", "document": "letter 17"}
        assert (await api.ok("POST", f"{path}/consent", role="sales", json=agreed))["state"] == "waiting"
        (letter,) = (await api.ok("GET", "/api/letters?recipient=keeper@example.org"))["items"]
        assert f"({WORDS['has_ncv']})" in letter["body"]
        assert "Согласны" in letter["body"]
        await api.ok("POST", f"{path}/approve", json=WHY)

        green = await api.ok("GET", "/api/numbers?number=74952000200&status=free&availability=green", role="sales")
        assert [(one["availability"], one["sellable"]) for one in green["items"]] == [("forced_yes", True)]
        sold = (await sell(api, "74952000200")).json()
        await api.ok("POST", f"/api/subscribers/{sold['subscriber_id']}/activate", role="sales", json=WHY)
        assert (await api.ok("GET", "/api/numbers/74952000200"))["saleable"] == "depends_on_ncv", "the flag is used"
        await set_day(api, "2026-11-25")
        await api.ok("POST", "/api/numbers/74952000200/release", role="support", json={"reason": "moved away"})
        assert (await sell(api, "74952000200")).status_code == 409, "the next owner inherits no yes"

        events = (await api.ok("GET", "/api/numbers/74952000200/timeline"))["events"]
        whats = [one["what"] for one in events]
        assert [what for what in whats if what not in ("subscriber", "request")] == [
            "entered",
            "forced",
            "reserved",
            "activated",
            "released",
        ]
        forced = events[whats.index("forced")]
        assert (forced["actor"], forced["status"]) == ("manager1", "free")
        released = events[whats.index("released")]
        assert (released["actor"], released["why"]) == ("support1", "moved away")
        assert any("Директор agreed" in (one["detail"] or "") for one in events)

    told(database, story)


# -- the queue --------------------------------------------------------------------------------------------------------


async def release(api: Api, number: str) -> None:
    """A number that nobody calls, released as sales does."""
    request = await api.ok("POST", f"/api/numbers/{number}/requests", role="sales", json=WHY)
    await api.ok("POST", f"/api/number-requests/{request['request_id']}/approve", json=WHY)


async def group(api: Api, name: str, *members: str) -> None:
    await api.ok("PUT", f"/api/number-groups/{name}", json={"members": list(members), **WHY})


def test_assistants_release_the_operators_own_numbers_and_keepers_those_of_others(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        own = {"name": "Манго Телеком (реализация ПО ВАТС)", "own": True}
        await api.ok("PUT", "/api/providers/own", role="b2b", json=own)
        await have(api, "74951201031", provider_id="own")
        await have(api, "74951201032", provider_id="known1")
        await api.user("ast1", "sales")
        await group(api, "assistants", "ast1")
        requests = [
            await api.ok("POST", f"/api/numbers/{number}/requests", role="sales", json=WHY)
            for number in ("74951201031", "74951201032")
        ]
        assert [one["desk"] for one in requests] == ["assistants", "keepers"]
        mine = await api.ok("GET", "/api/number-requests?mine=true", role="sales", name="ast1")
        assert [one["number"] for one in mine["items"]] == ["74951201031"]
        first, second = (f"/api/number-requests/{one['request_id']}" for one in requests)

        refusal = await api.ask("POST", f"{second}/approve", role="sales", name="ast1", json=WHY)
        assert "keepers" in problem(refusal, 403)
        stranger = await api.ask("POST", f"{first}/approve", role="sales", name="sales2", json=WHY)
        assert "ast1" in problem(stranger, 403)
        await api.ok("POST", f"{first}/approve", role="sales", name="ast1", json=WHY)
        await api.ok("POST", f"{second}/approve", json=WHY)
        for number in ("74951201031", "74951201032"):
            found = await api.ok("GET", f"/api/numbers/{number}")
            assert (found["status"], found["saleable"]) == ("free", "forced_yes")
        assert (await api.ask("POST", f"{first}/approve", role="sales", name="ast1", json=WHY)).status_code == 409
        sold_already = await api.ask("POST", "/api/numbers/74951201031/requests", role="sales", json=WHY)
        assert "for sale already" in problem(sold_already, 409)

    told(database, story)


def test_customer_service_asks_the_direct_manager_with_a_copy_to_the_head(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031")
        await have(api, "74951201032")
        ask = "/api/numbers/74951201031/requests"
        assert "direct manager" in problem(await api.ask("POST", ask, role="support", json=WHY), 409)
        await api.ok("PUT", "/api/direct-managers/support1", json={"manager": "boss", **WHY})
        assert "head" in problem(await api.ask("POST", ask, role="support", json=WHY), 409)
        await api.user("head1", "manager")
        await group(api, "heads", "head1")
        assert "e-mail" in problem(await api.ask("POST", ask, role="support", json=WHY), 409)
        await as_owner(api, "UPDATE access.users SET email = name || '@tollgate.test' WHERE name IN ('head1', 'boss')")

        request = await api.ok("POST", ask, role="support", json=WHY)
        assert (request["desk"], request["copy_to"]) == ("direct_manager", "head1")
        (letter,) = (await api.ok("GET", "/api/letters?kind=number_request&limit=1"))["items"]
        assert (letter["recipient"], letter["copies"]) == ("boss@tollgate.test", ["head1@tollgate.test"])
        twice = await api.ask("POST", ask, role="support", json=WHY)
        assert request["request_id"] in problem(twice, 409)

        path = f"/api/number-requests/{request['request_id']}"
        assert "boss" in problem(await api.ask("POST", f"{path}/approve", json=WHY), 403)
        no = await api.ok("POST", f"{path}/refuse", role="manager", name="boss", json={"reason": "a rival's number"})
        assert (no["state"], no["decided_by"], no["decision"]) == ("refused", "boss", "a rival's number")
        assert await status(api, "74951201031") == "archive"

        # From six callers on the client agrees first, and no copy is asked for.
        await closed_days(api, "2026-11-01", "2026-11-23")
        await call_number(api, "74951201032", callers=6, day="2026-11-20")
        await group(api, "heads")
        many = {"client_id": "mail1", **WHY}
        request = await api.ok("POST", "/api/numbers/74951201032/requests", role="support", json=many)
        path = f"/api/number-requests/{request['request_id']}"
        assert "agree" in problem(await api.ask("POST", f"{path}/approve", name="boss", json=WHY), 409)
        early = {"text": "Да", "given_by": "Директор", "given_on": "2026-11-01"}
        assert "/given_on" in problem(await api.ask("POST", f"{path}/consent", role="support", json=early), 422)
        await api.ok("POST", f"{path}/consent", role="support", json={"text": "Да", "given_by": "Директор"})
        assert (await api.ok("POST", f"{path}/approve", name="boss", json=WHY))["decided_callers"] == 6

    told(database, story)


def test_nobody_approves_his_own_and_who_grew_to_six_callers_meanwhile_needs_consent(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031")
        await api.user("sales1", "sales")
        await group(api, "keepers", "sales1", "manager1")
        request = await api.ok("POST", "/api/numbers/74951201031/requests", role="sales", json=WHY)
        path = f"/api/number-requests/{request['request_id']}"
        own = problem(await api.ask("POST", f"{path}/approve", role="sales", json=WHY), 403)
        assert "your own" in own

        await call_number(api, "74951201031", callers=5)
        at_five = await api.ask("POST", f"{path}/ask-client", role="sales", json={"client_id": "mail1"})
        assert "no client need agree" in problem(at_five, 409)
        await call_number(api, "74951201031", callers=6)
        assert "6 unique callers" in problem(await api.ask("POST", f"{path}/approve", json=WHY), 409)
        await api.ok("POST", f"{path}/ask-client", role="sales", json={"client_id": "mail1"})
        await api.ok("POST", f"{path}/consent", role="sales", json={"text": "Да", "given_by": "Директор"})
        assert (await api.ok("POST", f"{path}/approve", json=WHY))["state"] == "approved"
        card = await api.ok("GET", "/api/numbers/74951201031/card")
        assert (card["sellable"], card["request"]["decided_by"]) == (True, "manager1")

    told(database, story)


def test_a_request_is_taken_back_by_whoever_made_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031")
        request = await api.ok("POST", "/api/numbers/74951201031/requests", role="sales", json=WHY)
        path = f"/api/number-requests/{request['request_id']}/withdraw"
        assert (await api.ask("POST", path, role="sales", name="sales2", json=WHY)).status_code == 403
        assert (await api.ok("POST", path, role="sales", json=WHY))["state"] == "withdrawn"
        await api.ok("POST", "/api/numbers/74951201031/requests", role="sales", name="sales2", json=WHY)

    told(database, story)


# -- the sale ---------------------------------------------------------------------------------------------------------


def test_of_two_sellers_one_gets_the_number(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        await rested(api, "74951201031")
        await api.key_of("sales", name="sales2")
        await api.key_of("sales")

        answers = await asyncio.gather(
            sell(api, "74951201031"), sell(api, "74951201031", name="sales2", account_id="blocked1")
        )

        assert sorted(answer.status_code for answer in answers) == [201, 409]
        loser = next(answer for answer in answers if answer.status_code == 409)
        assert "reserved" in problem(loser, 409)

    told(database, story)


def test_a_subscriber_needs_an_open_account_a_number_and_a_day_to_come(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        await rested(api, "74951201031")
        assert "/account_id" in problem(await sell(api, "74951201031", account_id="nobody"), 422)
        assert "/planned_on" in problem(await sell(api, "74951201031", planned_on="2026-11-24"), 422)
        assert (await sell(api, "74951209999")).status_code == 404
        without = await api.ask("POST", "/api/subscribers", role="sales", json={"account_id": ACCOUNT, "product": "x"})
        assert "/number" in problem(without, 422)
        assert (await sell(api, "74951201031", role="billing")).status_code == 403
        await api.ok("POST", "/api/accounts/blocked1/close", json=WHY)
        assert "is closed" in problem(await sell(api, "74951201031", account_id="blocked1"), 422)

    told(database, story)


def test_new_and_ported_numbers_are_red_until_they_have_rested(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        await set_day(api, "2026-11-25")
        await api.ok("PUT", "/api/numbers/74951201031", json={})
        assert "Нет данных" in problem(await sell(api, "74951201031"), 409)
        older = await api.ask("PUT", "/api/numbers/74951201032", json={"joined_on": "2026-09-01"})
        assert "/joined_on" in problem(older, 422)
        moved = await api.ask("PUT", "/api/numbers/74951201031", json={"joined_on": "2026-09-01"})
        assert moved.status_code == 409

        await closed_days(api, "2026-11-24", "2026-12-24")
        await set_day(api, "2026-12-24")
        assert "Недостаточно данных" in problem(await sell(api, "74951201031"), 409)
        await set_day(api, "2026-12-25")
        assert (await sell(api, "74951201031")).status_code == 201

    told(database, story)


# -- the search -------------------------------------------------------------------------------------------------------


def test_the_guides_search_for_555_finds_what_may_be_sold_in_moscow_and_exports_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        for number in ("74955550001", "74951555002", "74955550003", "74955550004"):
            await rested(api, number)
        await rested(api, "78125550001", region="Санкт-Петербург")
        await call_number(api, "74955550003", callers=1)
        await call_number(api, "74955550004", callers=1, day="2026-10-25")
        asked = "number=%25555%25&region=Москва&availability=green"

        found = await api.ok("GET", f"/api/numbers?{asked}&status=free", role="sales")
        assert [one["number"] for one in found["items"]] == ["74951555002", "74955550001"]
        assert (found["total"], found["more"], found["next"]) == (2, False, None)
        red = await api.ok("GET", "/api/numbers?number=%25555%25&region=Москва&availability=red", role="sales")
        assert [(one["number"], one["sign"], one["last_call"]) for one in red["items"]] == [
            ("74955550003", "has_ncv", "2026-11-24"),
            ("74955550004", "has_ncv", "2026-10-25"),
        ]
        await set_day(api, "2026-11-25")
        hits = ["74951555002", "74955550001", "74955550004"]  # the 25th of October lies outside of the window now
        found = await api.ok("GET", f"/api/numbers?{asked}", role="sales")
        assert [one["number"] for one in found["items"]] == hits
        answer = await api.ask("GET", f"/api/numbers/export?{asked}&file=xlsx", role="sales")
        sheet = openpyxl.load_workbook(BytesIO(answer.content)).active
        assert sheet is not None
        cells = [[cell.value for cell in row] for row in sheet.iter_rows()]
        assert cells[0][0] == "number"
        assert [row[0] for row in cells[1:]] == hits, "numbers are text"
        plain = await api.ask("GET", f"/api/numbers/export?{asked}&file=csv&limit=1", role="sales")
        assert plain.text.splitlines()[1].startswith("74951555002,free,Москва,,Да (зависит от НЦВ): Нет НЦВ")

    told(database, story)


def test_a_search_is_never_unbounded(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await closed_days(api, "2026-09-01", "2026-11-23")
        for tail in range(120):
            await rested(api, f"7495777{tail:04}")
        for path in ("/api/numbers", "/api/numbers/export"):
            for asked in ("status=free", "number=%25555%25", "region=Москва", ""):
                assert "availabilit" in problem(await api.ask("GET", f"{path}?{asked}", role="sales"), 422)
            assert "limit" in problem(await api.ask("GET", f"{path}?availability=green&limit=5001", role="sales"), 422)
        first = await api.ok("GET", "/api/numbers?availability=green&number=7495777%25", role="sales")
        assert (len(first["items"]), first["total"]) == (100, 120)
        rest = await api.ok(
            "GET", f"/api/numbers?availability=green&number=7495777%25&after={first['next']}", role="sales"
        )
        numbers = [one["number"] for one in first["items"] + rest["items"]]
        assert numbers == [f"7495777{tail:04}" for tail in range(120)]
        assert rest["next"] is None
        one = await api.ok("GET", "/api/numbers?number=74957770001", role="sales")
        assert (len(one["items"]), one["total"]) == (1, 1)
        in_use = await api.ok("GET", "/api/numbers?number=78831", role="sales")
        assert [(found["status"], found["sign"], found["sellable"]) for found in in_use["items"]] == [
            ("in_use", None, False)
        ]

    told(database, story)


def test_statistics_show_each_day_and_say_where_nothing_is_known(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await have(api, "74951201031", since="2026-11-01")
        await closed_days(api, "2026-11-01", "2026-11-19")
        await call_number(api, "74951201031", callers=3, day="2026-11-19")
        await call_number(api, "74951201031", callers=2, day="2026-11-22")
        path = "/api/numbers/74951201031/statistics"

        found = await api.ok("GET", f"{path}?since=2026-11-18&until=2026-11-23", role="sales")
        assert [(day["day"], day["calls"], day["collected"], day["closed"]) for day in found["days"]] == [
            ("2026-11-23", 0, False, False),
            ("2026-11-22", 2, True, False),
            ("2026-11-21", 0, False, False),
            ("2026-11-20", 0, False, False),
            ("2026-11-19", 3, True, True),
            ("2026-11-18", 0, True, True),
        ]
        assert (found["callers"]["calls"], found["callers"]["unique_callers"]) == (5, 3)
        assert len((await api.ok("GET", path, role="sales"))["days"]) == 31
        assert "since" in problem(await api.ask("GET", f"{path}?since=2020-01-01", role="sales"), 422)
        card = await api.ok("GET", "/api/numbers/74951201031/card")
        assert card["gaps"] == ["2026-10-25", *_days("2026-10-26", "2026-10-31"), *_days("2026-11-20", "2026-11-23")]
        assert card["earliest_free"] == "2026-12-24", "the last gap lies outside of the window then"

    told(database, story)


def _days(first: str, last: str) -> list[str]:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    span = (datetime.fromisoformat(last).replace(tzinfo=UTC) - start).days
    return [(start + timedelta(days=step)).date().isoformat() for step in range(span + 1)]
