"""Price lists through the API: from the uploaded file to their publication and back, by those who may."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api import APP, Api, api_on
from postgres import TestedDatabase

from connectors.memory import MemoryBroker
from connectors.postgres import outbox as outbox_rows
from connectors.postgres.database import RELAY, Database, open_database
from connectors.reference.reader import ReferenceReader
from connectors.relay import Relay
from engine.reference import Reference
from schemas import topics
from schemas.reference import PriceList, PriceRow, Provider
from schemas.times import from_datetime, to_text

HEADER = "prefix,service,place,incoming_service,band_id,from_second,connect_fee,price,per_seconds,step_seconds"
NEW_LIST = {"kind": "retail", "currency": "RUB", "rounding": "half_up", "decimals": "4"}
WHY = {"reason": "a test"}
WHOLESALE = {"kind": "wholesale", "provider_id": "megafon", "currency": "RUB", "rounding": "up", "decimals": "6"}


def told(database: TestedDatabase, story: Any, **options: Any) -> None:
    async def with_provider(db: Database) -> None:
        async with api_on(db, **options) as api:
            await api.ok("PUT", "/api/providers/megafon", role="b2b", json={"name": "Москва, Мегафон"})
            await story(api)

    database.run(with_provider, role=APP)


def table(*prices: str) -> bytes:
    """A file: `381 3.00` in each row."""
    lines = [f"{prefix},,,,,0,,{price},60,60" for prefix, price in (one.split() for one in prices)]
    return "\n".join([HEADER, *lines, ""]).encode()


async def upload(api: Api, list_id: str, content: bytes, **more: Any) -> Any:
    params = more.pop("params", NEW_LIST)
    return await api.ask(
        "POST",
        f"/api/price-lists/{list_id}/versions",
        params=params,
        content=content,
        headers={"Content-Type": "text/csv"},
        **{"role": "marketing", **more},
    )


async def uploaded(api: Api, list_id: str, *prices: str, **more: Any) -> Any:
    found = await upload(api, list_id, table(*prices), **more)
    assert found.status_code == 201, found.text
    return found.json()


async def linted(api: Api, version: Any, **more: Any) -> Any:
    path = f"/api/price-lists/{version['price_list_id']}/versions/{version['number']}/lint"
    found = await api.ok("POST", path, json={"wait_seconds": 60}, **{"role": "manager", **more})
    assert found["state"] == "done", found
    return found


async def publish(api: Api, version: Any, **more: Any) -> Any:
    since = more.pop("in_force_from", None)
    path = f"/api/price-lists/{version['price_list_id']}/versions/{version['number']}/publish"
    sent = WHY if since is None else {**WHY, "in_force_from": since}
    return await api.ask("POST", path, json=sent, **{"role": "manager", **more})


async def published(api: Api, list_id: str, *prices: str, **more: Any) -> Any:
    """A version that is in force: uploaded by one, published by another."""
    version = await uploaded(api, list_id, *prices, **more)
    await linted(api, version)
    found = await publish(api, version)
    assert found.status_code == 200, found.text
    return found.json()


async def stages(api: Api, list_id: str) -> dict[int, str]:
    found = await api.ok("GET", f"/api/price-lists/{list_id}/versions", role="support")
    return {one["number"]: one["stage"] for one in found["items"]}


async def outbox(api: Api) -> list[Any]:
    return [payload for kind, _, payload in await api.outbox() if kind == "price_list"]


# -- the way of a version ---------------------------------------------------------------------------------------------


def test_a_list_goes_from_draft_to_force_by_the_hands_of_two(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        draft = await uploaded(api, "R", "381 3.00", "7495 1.20")
        assert (draft["number"], draft["stage"], draft["prices"], draft["created_by"]) == (1, "draft", 2, "marketing1")
        assert draft["reading"]["rows"] == 2
        assert await outbox(api) == []

        refused = await publish(api, draft)
        assert refused.status_code == 409
        assert "was not linted" in refused.json()["detail"]
        await linted(api, draft)
        assert await stages(api, "R") == {1: "linted"}

        own = await publish(api, draft, role="marketing")
        assert own.status_code == 403
        assert "was uploaded by you: somebody else has to look at it" in own.json()["detail"]
        assert own.json()["ask"] == "a colleague of marketing, or a manager"

        found = (await publish(api, draft, role="marketing", name="marketing2")).json()
        assert found["stage"] == "in_force"
        assert (found["approved_by"], found["published_by"]) == ("marketing2", "marketing2")
        assert await outbox(api) == [{"version_id": found["version_id"]}]
        rows = (await api.ok("GET", "/api/audit?entity=price_list_version", role="auditor"))["items"]
        assert [row["action"] for row in rows] == ["published", "approved", "uploaded"]
        assert rows[0]["after"]["in_force_from"] == found["in_force_from"]

    told(database, story)


def test_what_another_has_approved_its_author_may_publish(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        draft = await uploaded(api, "R", "381 3.00")
        await linted(api, draft)
        path = "/api/price-lists/R/versions/1/approve"
        assert (await api.ask("POST", path, role="marketing", json=WHY)).status_code == 403
        approved = await api.ok("POST", path, role="manager", json=WHY)
        assert approved["stage"] == "approved"
        assert (await api.ask("POST", path, role="manager", json=WHY)).status_code == 409
        assert (await publish(api, draft, role="marketing")).json()["stage"] == "in_force"

    told(database, story)


def test_a_version_with_errors_is_not_published(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        version = await uploaded(api, "R", "381 3.00", "381 4.00")
        report = (await linted(api, version))["report"]
        assert report["errors"] == 1
        findings = (await api.ok("GET", "/api/price-lists/R/versions/1/lint/findings", role="support"))["items"]
        assert next((one["rule"], one["severity"], one["prefix"], one["lines"]) for one in findings) == (
            "contradiction",
            "error",
            "381",
            [2, 3],
        )
        refused = await publish(api, version)
        assert refused.status_code == 409
        assert "the lint found 1 errors" in refused.json()["detail"]

    told(database, story)


def test_retail_is_marketings_and_wholesale_the_group_b2bs(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role, params, status in (
            ("marketing", NEW_LIST, 201),
            ("b2b", NEW_LIST, 403),
            ("b2b", WHOLESALE, 201),
            ("marketing", WHOLESALE, 403),
            ("support", NEW_LIST, 403),
            ("billing", WHOLESALE, 403),
            ("manager", NEW_LIST, 201),
            ("manager", WHOLESALE, 201),
        ):
            list_id = f"{role}-{params['kind']}"
            found = await upload(api, list_id, table("381 3.00"), params=params, role=role)
            assert found.status_code == status, (role, params, found.text)
            if status == 403:
                assert found.json()["ask"] == {"retail": "marketing", "wholesale": "b2b"}[params["kind"]]
        wholesale = {"price_list_id": "b2b-wholesale", "number": 1}
        assert (await api.ask("POST", f"{_path(wholesale)}/lint", role="marketing", json={})).status_code == 403
        await linted(api, wholesale)
        assert (await publish(api, wholesale, role="marketing")).status_code == 403
        assert (await publish(api, wholesale, role="b2b", name="b2b2")).status_code == 200

    told(database, story)


def _path(version: Any) -> str:
    return f"/api/price-lists/{version['price_list_id']}/versions/{version['number']}"


def test_a_version_that_is_published_for_later_comes_into_force_then_and_may_be_taken_back(
    database: TestedDatabase,
) -> None:
    async def story(api: Api) -> None:
        await published(api, "R", "381 3.00")
        version = await uploaded(api, "R", "381 4.00", params={})
        await linted(api, version)
        now = (await api.ok("GET", "/api/clock", role="support"))["now"]
        past = await publish(api, version, in_force_from="2026-01-01T00:00:00Z")
        assert past.status_code == 422
        assert past.json()["errors"][0]["pointer"] == "/in_force_from"
        later = to_text(from_datetime(datetime.fromisoformat(now) + timedelta(days=7)))
        assert (await publish(api, version, in_force_from=later)).json()["stage"] == "scheduled"
        assert await stages(api, "R") == {1: "in_force", 2: "scheduled"}
        card = (await api.ok("GET", "/api/price-lists", role="support"))["items"][0]
        assert (card["in_force"], card["scheduled"], card["scheduled_from"]) == (1, 2, later)

        # A week later it is in force, without anybody's doing.
        await api.ok("PUT", "/api/clock", role="administrator", json={"at": later, "running": False, **WHY})
        assert await stages(api, "R") == {1: "superseded", 2: "in_force"}
        await api.ok("PUT", "/api/clock", role="administrator", json={"at": now, **WHY})

        taken = await api.ok("POST", f"{_path(version)}/roll-back", json=WHY)
        assert (taken["number"], taken["stage"], taken["ended_why"]) == (2, "withdrawn", "a test")
        await api.ok("PUT", "/api/clock", role="administrator", json={"at": later, "running": False, **WHY})
        assert await stages(api, "R") == {1: "in_force", 2: "withdrawn"}

    told(database, story)


def test_what_is_in_force_is_rolled_back_by_a_new_version_equal_to_the_one_before(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        first = await published(api, "R", "381 3.00", "44 1.00")
        second = await published(api, "R", "381 4.00", params={})
        third = await api.ok("POST", f"{_path(second)}/roll-back", role="marketing", json=WHY)
        assert (third["number"], third["stage"], third["restores"]) == (3, "in_force", 1)
        assert (third["digest"], third["prices"]) == (first["digest"], 2)
        assert await stages(api, "R") == {1: "superseded", 2: "superseded", 3: "in_force"}
        assert [one["version_id"] for one in await outbox(api)] == [
            first["version_id"],
            second["version_id"],
            third["version_id"],
        ]
        prices = (await api.ok("GET", f"{_path(third)}/prices", role="support"))["items"]
        assert [(one["prefix"], one["price_micros"]) for one in prices] == [("381", 3_000_000), ("44", 1_000_000)]
        # One that was itself a way back has two ways back; one that is not in force has none.
        assert (await api.ask("POST", f"{_path(third)}/roll-back", json=WHY)).status_code == 409
        assert (await api.ask("POST", f"{_path(second)}/roll-back", json=WHY)).status_code == 409
        fourth = await api.ok("POST", f"{_path(third)}/roll-back", json={**WHY, "to": 2})
        assert (fourth["number"], fourth["restores"], fourth["digest"]) == (4, 2, second["digest"])

    told(database, story)


def test_the_first_version_of_a_list_has_nothing_to_go_back_to(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        version = await published(api, "R", "381 3.00")
        refused = await api.ask("POST", f"{_path(version)}/roll-back", json=WHY)
        assert refused.status_code == 409
        assert "is the first of its list" in refused.json()["detail"]
        draft = await uploaded(api, "R", "381 4.00", params={})
        assert (await api.ask("POST", f"{_path(version)}/roll-back", json={**WHY, "to": 2})).status_code == 409
        assert (await api.ask("POST", f"{_path(draft)}/roll-back", json=WHY)).status_code == 409

    told(database, story)


def test_a_draft_is_discarded_with_its_prices_and_its_story_stays(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        draft = await uploaded(api, "R", "381 3.00")
        gone = await api.ok("POST", f"{_path(draft)}/discard", role="marketing", json=WHY)
        assert (gone["stage"], gone["ended_by"]) == ("discarded", "marketing1")
        assert (await api.ok("GET", f"{_path(draft)}/prices", role="support"))["items"] == []
        for action in ("discard", "publish", "lint"):
            assert (
                await api.ask("POST", f"{_path(draft)}/{action}", json=WHY if action != "lint" else {})
            ).status_code in (409, 403)
        version = await published(api, "R", "381 3.00")
        assert (await api.ask("POST", f"{_path(version)}/discard", json=WHY)).status_code == 409

    told(database, story)


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_new_list_says_what_it_is_and_a_later_upload_may_leave_it_out(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        bare = await upload(api, "R", table("381 3"), params={})
        assert bare.status_code == 422
        assert {one["pointer"] for one in bare.json()["errors"]} == {"/kind", "/currency", "/rounding", "/decimals"}
        nobody = await upload(api, "W", table("381 3"), params=WHOLESALE | {"provider_id": "none"}, role="b2b")
        assert nobody.json()["errors"][0]["pointer"] == "/provider_id"
        await uploaded(api, "R", "381 3.00", params=NEW_LIST | {"name": "Розница", "valid_to": "2027-01-01T00:00:00Z"})
        again = await uploaded(api, "R", "381 3.00", params={"decimals": "2"})
        assert (again["name"], again["rounding"], again["decimals"], again["valid_to"]) == (
            "Розница",
            "half_up",
            2,
            "2027-01-01T00:00:00.000Z",
        )
        other = await upload(
            api, "R", table("381 3"), params={"kind": "wholesale", "provider_id": "megafon"}, role="manager"
        )
        assert other.status_code == 409
        assert "is a retail list and stays one" in other.json()["detail"]
        dollars = await upload(api, "R2", table("381 3"), params=NEW_LIST | {"currency": "USD"})
        assert dollars.json()["errors"][0]["pointer"] == "/currency"
        backwards = await upload(
            api,
            "R3",
            table("381 3"),
            params=NEW_LIST | {"valid_from": "2027-01-01T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"},
        )
        assert backwards.json()["errors"][0]["pointer"] == "/valid_to"

    told(database, story)


def test_a_file_that_says_it_is_something_else_is_no_price_list(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        path = "/api/price-lists/L/versions"
        for kind in ("application/json", "application/x-www-form-urlencoded", "text/html; charset=utf-8"):
            headers = {"Content-Type": kind}
            answer = await api.ask(
                "POST", path, role="marketing", params=NEW_LIST, content=table("381 3.00"), headers=headers
            )
            assert answer.status_code == 415, kind
            assert "text/csv" in answer.json()["detail"]
        assert (await api.ask("GET", path)).json().get("items", []) == []
        for number, headers in enumerate(({"Content-Type": "text/csv; charset=utf-8"}, {}), 1):
            answer = await api.ask(
                "POST", path, role="marketing", params=NEW_LIST, content=table(f"381 {number}.00"), headers=headers
            )
            assert answer.status_code == 201, answer.text

    told(database, story)


def test_each_error_of_a_file_is_told_with_line_and_column_and_nothing_is_kept(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        found = await upload(api, "R", table("381 3.00", "38x 1", "44 three"))
        assert found.status_code == 422
        assert found.json()["detail"].startswith("the file has 2 errors, nothing was taken; the first: line 3: prefix:")
        assert [one["pointer"] for one in found.json()["errors"]] == ["/3/prefix", "/4/price"]
        assert (await api.ok("GET", "/api/price-lists", role="support"))["items"] == []
        empty = await upload(api, "R", b"")
        assert empty.status_code == 422
        assert "the header row is missing" in empty.json()["detail"]

    told(database, story)


def test_a_workbook_is_taken_as_it_is(database: TestedDatabase, tmp_path: Any) -> None:
    import xlsxwriter

    file = tmp_path / "prices.xlsx"
    with xlsxwriter.Workbook(str(file)) as book:
        sheet = book.add_worksheet("Цены")
        sheet.write_row(0, 0, ["prefix", "price", "per_seconds", "step_seconds"])
        sheet.write_row(1, 0, [7495, 1.2, 60, 1])

    async def story(api: Api) -> None:
        found = await upload(api, "R", file.read_bytes(), params=NEW_LIST | {"source": "prices.xlsx"})
        assert found.status_code == 201, found.text
        assert (found.json()["source"], found.json()["reading"]["sheet"]) == ("prices.xlsx", "Цены")
        prices = (await api.ok("GET", "/api/price-lists/R/versions/1/prices", role="support"))["items"]
        assert [(one["prefix"], one["price_micros"], one["line"]) for one in prices] == [("7495", 1_200_000, 2)]
        wrong = await upload(api, "R", file.read_bytes(), params={"sheet": "Опт"})
        assert "has no sheet 'Опт'" in wrong.json()["detail"]

    told(database, story)


def test_a_file_sent_twice_under_one_key_is_one_version(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        first = await upload(api, "R", table("381 3.00"), once="k1")
        again = await upload(api, "R", table("381 3.00"), once="k1")
        assert first.status_code == again.status_code == 201
        assert first.content == again.content
        assert await stages(api, "R") == {1: "draft"}
        other = await upload(api, "R", table("381 4.00"), once="k1")
        assert other.status_code == 422

    told(database, story)


@pytest.mark.parametrize("list_id", ["a" * 65, "%0a"])
def test_a_list_has_an_id_like_others(database: TestedDatabase, list_id: str) -> None:
    async def story(api: Api) -> None:
        found = await upload(api, list_id, table("381 3.00"))
        assert found.status_code == 422, found.text

    told(database, story)


# -- looking ----------------------------------------------------------------------------------------------------------


def test_pages_of_lists_versions_and_prices(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for list_id in ("R1", "R2"):
            for price in ("3.00", "4.00"):
                await uploaded(api, list_id, f"381 {price}", f"3812 {price}", f"44 {price}")
        await uploaded(api, "W", "381 3.00", params=WHOLESALE, role="b2b")
        lists = await every(api, "/api/price-lists", "limit=1")
        assert [(one["price_list_id"], one["latest"], one["in_force"]) for one in lists] == [
            ("R1", 2, None),
            ("R2", 2, None),
            ("W", 1, None),
        ]
        assert [one["price_list_id"] for one in await every(api, "/api/price-lists", "kind=wholesale")] == ["W"]
        assert [one["number"] for one in await every(api, "/api/price-lists/R1/versions", "limit=1")] == [2, 1]
        path = "/api/price-lists/R1/versions/1/prices"
        assert [one["prefix"] for one in await every(api, path, "limit=1")] == ["381", "3812", "44"]
        assert [one["prefix"] for one in await every(api, path, "prefix=381")] == ["381", "3812"]
        for missing in ("/api/price-lists/none/versions", "/api/price-lists/R1/versions/7", path.replace("/1/", "/7/")):
            assert (await api.ask("GET", missing, role="support")).status_code == 404

    told(database, story)


async def every(api: Api, path: str, query: str) -> list[Any]:
    found: list[Any] = []
    after = ""
    while True:
        page = await api.ok("GET", f"{path}?{query}{after}", role="support")
        found += page["items"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def test_a_version_is_compared_with_the_one_in_force(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        version = await uploaded(api, "R", "381 3.00", "44 2.00", "7 1.00", "1 1.00")
        alone = await api.ok("GET", f"{_path(version)}/difference", role="support")
        assert alone["against"] is None
        assert [(one["kind"], one["prices"]) for one in alone["kinds"]] == [("new", 4)]
        await linted(api, version)
        await publish(api, version)
        second = await uploaded(api, "R", "381 3.30", "44 1.00", "7 1.00", "86 5.00", params={})
        found = await api.ok("GET", f"{_path(second)}/difference", role="support")
        assert found["against"] == 1
        assert {one["kind"]: (one["prices"], one["most_percent"]) for one in found["kinds"]} == {
            "cheaper": (1, "-50"),
            "dearer": (1, "10"),
            "gone": (1, None),
            "new": (1, None),
            "same": (1, "0"),
        }
        rows = await every(api, f"{_path(second)}/difference/prices", "limit=2")
        assert [(one["prefix"], one["kind"], one["percent"]) for one in rows] == [
            ("1", "gone", None),
            ("381", "dearer", "10"),
            ("44", "cheaper", "-50"),
            ("86", "new", None),
        ]
        assert (rows[1]["before"]["price_micros"], rows[1]["after"]["minute_micros"]) == (3_000_000, "3300000")
        some = await every(api, f"{_path(second)}/difference/prices", "kind=new&kind=gone&prefix=8")
        assert [one["prefix"] for one in some] == ["86"]
        same = await api.ok("GET", f"{_path(second)}/difference?against=2", role="support")
        assert [one["kind"] for one in same["kinds"]] == ["same"]

    told(database, story)


def test_a_lint_says_what_would_go_wrong_with_prefix_lines_and_remedy(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await published(api, "W", "381 2.00", "44 1.00", params=WHOLESALE, role="b2b")
        version = await uploaded(api, "R", "381 1.50", "44 2.00", "7 1.00")
        card = await linted(api, version, role="marketing")
        assert (card["report"]["errors"], card["report"]["warnings"]) == (0, 2)
        assert card["report"]["losses"] == [
            {
                "provider_id": "megafon",
                "wholesale_list_id": "W",
                "retail_list_id": "R",
                "prefixes": 1,
                "worst_prefix": "381",
                "worst_minute_retail": "3/2",
                "worst_minute_wholesale": "2",
            }
        ]
        found = await every(api, f"{_path(version)}/lint/findings", "limit=1")
        assert [(one["rule"], one["prefix"], one["lines"], one["severity"]) for one in found] == [
            ("below_cost", "381", [2], "warning"),
            ("sold_not_bought", "7", [4], "warning"),
        ]
        assert all(one["remedy"] and one["text"] for one in found)
        some = await every(api, f"{_path(version)}/lint/findings", "rule=sold_not_bought&severity=warning")
        assert [one["prefix"] for one in some] == ["7"]
        latest = await api.ok("GET", f"{_path(version)}/lint", role="support")
        assert latest["report"] == card["report"]
        assert (await api.ok("GET", _path(version), role="support"))["lint"] == {
            "state": "done",
            "errors": 0,
            "warnings": 2,
            "notes": 0,
        }
        assert (await api.ask("GET", "/api/price-lists/W/versions/1/rehearsal")).status_code == 404

    told(database, story)


def test_the_reference_data_that_a_process_has_are_taken_instead_of_the_records(database: TestedDatabase) -> None:
    lists = [PriceList("W", "W", "wholesale", "megafon", "RUB", "up", 4, None, None)]
    prices = [PriceRow("W", "381", None, None, None, None, 0, 0, 9_000_000, 60, 60, None, None, None, None)]
    there = Reference(
        accounts=(),
        providers=[Provider("megafon", "m", 1, None, False, False)],
        plans=(),
        price_lists=lists,
        prices=prices,
    )

    async def story(api: Api) -> None:
        report = (await linted(api, await uploaded(api, "R", "381 1.50")))["report"]
        assert report["losses"][0]["worst_minute_wholesale"] == "9"

    told(database, story, reference=lambda: there)


def test_a_number_is_checked_under_a_list_that_is_only_staged(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await published(api, "R", "44 1.00")
        await published(api, "W", "381 2.00", params=WHOLESALE, role="b2b")
        await api.ok("PUT", "/api/tariff-plans/T", role="marketing", json={"lists": [{"price_list_id": "R"}]})
        await api.ok("PUT", "/api/clients/C", role="sales", json={"kind": "company", "name": "ООО"})
        account = {"client_id": "C", "tariff_plan_id": "T", "payment_mode": "prepaid"}
        await api.ok("PUT", "/api/accounts/A", role="sales", json=account)
        await uploaded(api, "R", "381 3.00", params={})
        form = {
            "number": "38111",
            "account_id": "A",
            "tariff_plan_id": "T",
            "service": "outgoing",
            "place": "msk",
            "incoming_service": "",
        }
        now = await api.ok("GET", "/api/tariff-check", role="support", params=form)
        then = await api.ok("GET", "/api/tariff-check", role="support", params=form | {"staged": "R/2"})
        assert (now["reasons"], then["reasons"]) == (["no_retail_price"], [])
        none = await api.ask("GET", "/api/tariff-check", role="support", params=form | {"staged": "R/9"})
        assert none.status_code == 404

    told(database, story)


# -- rehearsal --------------------------------------------------------------------------------------------------------


async def rated(api: Api, cdr_id: str, called: str, ended_at: datetime, **more: Any) -> None:
    """A rated CDR of a minute, as the projector writes it."""
    values = {
        "ended_at": ended_at,
        "started_at": ended_at - timedelta(minutes=1),
        "answered_at": ended_at - timedelta(minutes=1),
        "recorded_at": ended_at,
        "source_offset": 0,
        "copy": 0,
        "retail_micros": 3_000_000,
        "wholesale_micros": 2_000_000,
        "margin_micros": 1_000_000,
        "reference_version": 1,
        "source_partition": 0,
        "billable_seconds": 60,
        "late": False,
        "no_attempt": True,
        "denied": False,
        "emergency": False,
        "negative_margin": False,
        "cdr_id": cdr_id,
        "switch_id": "s",
        "account_id": "A",
        "service": "outgoing",
        "called": called,
        "provider_id": "megafon",
        "record": b"{}",
    } | more
    async with open_database(api.database.settings, role=None) as owner:
        await owner.pool.execute("SELECT facts.ensure_month($1)", ended_at.date().replace(day=1))
        names = ", ".join(values)
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        await owner.pool.execute(f"INSERT INTO facts.rated_cdrs ({names}) VALUES ({places})", *values.values())


async def operator(api: Api) -> datetime:
    """An operator with an account that may call +381, and the present moment."""
    await published(api, "R", "381 3.00")
    await published(api, "W", "381 2.00", "44 1.00", params=WHOLESALE, role="b2b")
    await api.ok("PUT", "/api/tariff-plans/T", role="marketing", json={"lists": [{"price_list_id": "R"}]})
    await api.ok("PUT", "/api/clients/C", role="sales", json={"kind": "company", "name": "ООО"})
    for name in ("A", "B"):
        account = {"client_id": "C", "tariff_plan_id": "T", "payment_mode": "prepaid"}
        await api.ok("PUT", f"/api/accounts/{name}", role="sales", json=account)
    return datetime.now(UTC)


async def rehearse(api: Api, version: Any, **sent: Any) -> Any:
    role = sent.pop("role", "manager")
    found = await api.ok("POST", f"{_path(version)}/rehearsal", role=role, json={"wait_seconds": 60, **sent})
    assert found["state"] == "done", found
    return found


def test_a_version_is_rehearsed_on_the_calls_of_the_last_days(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        now = await operator(api)
        await rated(api, "c1", "38111", now - timedelta(days=1))
        await rated(api, "c2", "38112", now - timedelta(days=2))
        await rated(api, "too-old", "38113", now - timedelta(days=9))
        await rated(api, "emergency", "38114", now - timedelta(days=1), emergency=True)
        await rated(api, "again", "38111", now - timedelta(days=1), copy=7)
        version = await uploaded(api, "R", "38111 1.00", params={})

        found = await rehearse(api, version, days=3, role="marketing")

        result = found["result"]
        assert (result["calls_in_period"], result["one_in"], result["total"]["calls"]) == (2, 1, 2)
        assert result["total"]["charged_retail_micros"] == 6_000_000
        assert (result["before_margin_micros"], result["after_margin_micros"]) == (2_000_000, -1_000_000)
        assert result["losing_after"] == {"calls": 1, "micros": 1_000_000}
        assert result["unpriced"] == [{"reason": "no_retail_price", "calls": 1, "new": 1}]
        # Marketing need not see whom people call.
        assert [one["called"] for one in result["losing_calls"]] == ["•••••"]
        assert (await rehearse(api, version, days=3))["result"]["losing_calls"][0]["called"] == "38111"
        latest = await api.ok("GET", f"{_path(version)}/rehearsal", role="manager")
        assert latest["result"]["total"] == result["total"]

    told(database, story)


def test_a_wholesale_list_is_rehearsed_on_the_calls_that_its_provider_carried(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        now = await operator(api)
        await rated(api, "c1", "38111", now - timedelta(days=1))
        await rated(api, "c2", "38111", now - timedelta(days=1), provider_id="beeline")
        version = await uploaded(api, "W", "381 2.50", params={}, role="b2b")
        result = (await rehearse(api, version, role="b2b"))["result"]
        assert (result["total"]["calls"], result["after_margin_micros"]) == (1, 500_000)

    told(database, story)


def test_a_list_that_begins_later_is_rehearsed_as_it_will_be(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        now = await operator(api)
        await rated(api, "c1", "38111", now - timedelta(days=1))
        begins = to_text(from_datetime(now + timedelta(days=5)))
        version = await uploaded(api, "R", "381 4.00", params={"valid_from": begins})
        result = (await rehearse(api, version, in_force_from=begins))["result"]
        assert (result["total"]["after_retail_micros"], result["total"]["unpriced_after"]) == (4_000_000, 0)

    told(database, story)


def test_of_more_calls_than_are_wanted_one_in_so_many_is_taken(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        now = await operator(api)
        for number in range(40):
            await rated(api, f"c{number}", "38111", now - timedelta(hours=number + 1))
        version = await uploaded(api, "R", "381 4.00", params={})
        result = (await rehearse(api, version, most_calls=10))["result"]
        assert (result["calls_in_period"], result["one_in"]) == (40, 4)
        assert 0 < result["total"]["calls"] < 40

    told(database, story)


def test_a_call_is_priced_by_what_its_set_up_asked_for(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        now = await operator(api)
        ended_at = now - timedelta(days=1)
        attempt = {
            "at": ended_at - timedelta(minutes=2),
            "recorded_at": ended_at,
            "source_offset": 0,
            "source_partition": 0,
            "kind": "call_attempt",
            "attempt_id": "a1",
            "switch_id": "s",
            "account_id": "A",
            "service": "outgoing",
            "called": "38199",
            "record": b"{}",
        }
        await rated(api, "c1", "38111", ended_at, attempt_id="a1", no_attempt=False)
        async with open_database(api.database.settings, role=None) as owner:
            places = ", ".join(f"${place}" for place in range(1, len(attempt) + 1))
            await owner.pool.execute(
                f"INSERT INTO facts.attempts ({', '.join(attempt)}) VALUES ({places})", *attempt.values()
            )
        version = await uploaded(api, "R", "38199 9.00", "38111 1.00", params={})
        result = (await rehearse(api, version))["result"]
        assert result["total"]["after_retail_micros"] == 9_000_000

    told(database, story)


# -- to the engine ----------------------------------------------------------------------------------------------------


async def relayed(api: Api, broker: MemoryBroker, now: datetime) -> dict[str, int]:
    """What the engine sells by, prefix and price, when the relay has passed on all that is due at a moment."""

    async def now_us() -> int:
        return from_datetime(now)

    async with open_database(api.database.settings, role=RELAY) as own:
        relay = Relay(own.pool, broker, now_us=now_us)
        running = asyncio.create_task(relay.run())
        async with asyncio.timeout(20), own.pool.acquire() as connection:
            while await outbox_rows.waiting(connection, now=now):
                assert not running.done(), running.exception()
                await asyncio.sleep(0.01)
        relay.stop()
        await running
    reader = ReferenceReader(broker)
    await reader.start()
    return {
        price.prefix: price.tariff.rates[0].price_micros // 1_000_000
        for price in reader.reference.retail["R"].index.items()
    }


def test_what_is_published_comes_into_force_in_the_engine_on_its_day_and_what_is_taken_back_does_not(
    database: TestedDatabase,
) -> None:
    broker = MemoryBroker({topics.REFERENCE.name: 1, topics.ACCOUNT_COMMANDS.name: 1}, [topics.REFERENCE.name])

    async def story(api: Api) -> None:
        await published(api, "R", "381 3")
        now = datetime.now(UTC) + timedelta(minutes=1)
        assert await relayed(api, broker, now) == {"381": 3}

        for price, days in (("4", 1), ("5", 2)):
            version = await uploaded(api, "R", f"381 {price}", params={})
            await linted(api, version)
            since = to_text(from_datetime(now + timedelta(days=days)))
            assert (await publish(api, version, in_force_from=since)).json()["stage"] == "scheduled"
        await api.ok("POST", f"{_path(version)}/roll-back", json=WHY)
        assert await relayed(api, broker, now) == {"381": 3}
        assert await relayed(api, broker, now + timedelta(days=1)) == {"381": 4}
        assert await relayed(api, broker, now + timedelta(days=3)) == {"381": 4}

        later = to_text(from_datetime(now + timedelta(days=3)))
        await api.ok("PUT", "/api/clock", role="administrator", json={"at": later, "running": False, **WHY})
        await api.ok("POST", "/api/price-lists/R/versions/2/roll-back", json=WHY)
        assert await relayed(api, broker, now + timedelta(days=4)) == {"381": 3}

    told(database, story)
