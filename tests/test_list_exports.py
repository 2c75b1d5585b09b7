"""Every list as a file: the rows of its pages, with its filters, for its askers; no cell is a formula."""

import csv
import io
from typing import Any

from api import APP, Api, api_on
from openpyxl import load_workbook
from postgres import TestedDatabase

from connectors.http.app import declared
from connectors.http.list_exports import row_of
from connectors.postgres.database import Database
from schemas.money import to_micros

LIST = "/api/price-lists/R/versions"
TERMS = "kind=retail&currency=RUB&rounding=up&decimals=4"


def told(database: TestedDatabase, story: Any) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db) as api:
            await story(api)

    database.run(opened, role=APP)


async def pages_of(api: Api, path: str, **asked: Any) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    rows, after = [], {}
    while True:
        found = await api.ok("GET", path, params={**asked, **after})
        rows += found["items"]
        if not found.get("next"):
            return rows
        after = {"after": found["next"]}


async def table_of(api: Api, path: str, **asked: Any) -> list[dict[str, str]]:
    """The rows of a list's file."""
    answer = await api.ask("GET", f"{path}/export", params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_each_list_has_a_file_for_whoever_may_see_the_list():
    routes = {route.path: route for route in declared() if route.method == "GET"}
    lists = [route for route in routes.values() if row_of(route.answer) is not None]
    assert len(lists) > 20
    for one in lists:
        export = routes[f"{one.path}/export"]
        assert export.requires == one.requires
        assert "text/csv" in export.produces
        assert one.asked is None or set(one.asked.__struct_fields__) - {"after", "limit"} <= set(
            export.asked.__struct_fields__
        ), one.path


def test_a_file_has_the_lists_rows_and_filters(database):
    async def story(api: Api) -> None:
        for number in range(5):
            sent = {"digits": f"88{number}", "reason": "=HYPERLINK(1)" if number % 2 else "жалоба; суд, «Ъ»"}
            await api.ok("POST", "/api/locks", json=sent)
        await api.ok("POST", "/api/locks", role="b2b", json={"digits": "99", "reason": "другой автор"})

        for asked in ({}, {"author": "manager1"}, {"author": "nobody"}):
            rows = await pages_of(api, "/api/locks", limit=2, **asked)
            table = await table_of(api, "/api/locks", **asked)
            assert [one["lock_id"] for one in table] == [one["lock_id"] for one in rows]
            assert [one["digits"] for one in table] == [one["digits"] for one in rows]
            assert all(one["author"] == "manager1" for one in table if asked)
        assert len(table) == 0
        reasons = {one["reason"] for one in await table_of(api, "/api/locks")}
        assert reasons == {"'=HYPERLINK(1)", "жалоба; суд, «Ъ»", "другой автор"}

    told(database, story)


def test_a_list_longer_than_a_page_is_whole_and_amounts_are_in_units(database):
    prices = "".join(f"7{number:04d},{number % 7}.5{number % 10},60,1\n" for number in range(2_345))

    async def story(api: Api) -> None:
        await api.ok(
            "POST",
            f"{LIST}?{TERMS}",
            role="marketing",
            content=f"prefix,price,per_seconds,step_seconds\n{prices}".encode(),
            headers={"Content-Type": "text/csv"},
        )
        rows = await pages_of(api, f"{LIST}/1/prices", limit=1000)
        table = await table_of(api, f"{LIST}/1/prices")
        assert len(rows) == 2_345
        assert [one["prefix"] for one in table] == [one["prefix"] for one in rows]
        assert [to_micros(one["price"]) for one in table] == [one["price_micros"] for one in rows]

        cut = await api.ask("GET", f"{LIST}/1/prices/export", params={"limit": 2_344})
        assert cut.status_code == 422
        assert cut.json()["errors"][0]["parameter"] == "limit"
        book = await api.ask("GET", f"{LIST}/1/prices/export", params={"limit": 2_345, "file": "xlsx"})
        sheet = load_workbook(io.BytesIO(book.content), read_only=True).active
        assert sheet is not None
        header, *lines = sheet.iter_rows(values_only=True)
        assert [line[header.index("prefix")] for line in lines] == [one["prefix"] for one in rows]
        assert book.headers["content-disposition"] == 'attachment; filename="prices-of-version.xlsx"'

    told(database, story)


def test_what_has_parts_is_json_and_what_is_missing_is_empty(database):
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/providers/P", role="b2b", json={"name": "Москва, Мегафон"})
        (row,) = await table_of(api, "/api/audit", entity="provider")
        assert row["before"] == ""
        assert '"name":"Москва, Мегафон"' in row["after"]
        assert row["actor"] == "b2b1"
        (provider,) = await table_of(api, "/api/providers")
        assert provider["own"] == "no"

    told(database, story)


def test_whom_to_ask_is_plain_words(database):
    async def story(api: Api) -> None:
        await api.ok("POST", "/api/locks", role="b2b", json={"digits": "99", "reason": "x"})
        await api.database.pool.execute("UPDATE access.users SET phone = '123', email = 'b@example.org'")
        (lock,) = (await api.ok("GET", "/api/locks"))["items"]
        (row,) = await table_of(api, "/api/locks")
        assert "{" not in row["author_contact"]
        parts = row["author_contact"].split("; ")
        assert {"123", "b@example.org"} <= set(parts)
        assert lock["author_contact"]["full_name"] in parts
        assert "not enabled" not in parts
        await api.database.pool.execute("UPDATE access.users SET status = 'disabled' WHERE name = 'b2b1'")
        (row,) = await table_of(api, "/api/locks")
        assert "not enabled" in row["author_contact"].split("; ")

    told(database, story)


def test_a_bad_question_is_told_before_the_file_begins(database):
    async def story(api: Api) -> None:
        for asked, status in (({"file": "pdf"}, 422), ({"after": "x"}, 422), ({"colour": "red"}, 422)):
            assert (await api.ask("GET", "/api/locks/export", params=asked)).status_code == status
        assert (await api.ask("GET", "/api/locks/export", role=None)).status_code == 401
        assert (await api.ask("GET", "/api/audit/export", role="sales")).status_code == 403
        missing = await api.ask("GET", "/api/price-lists/none/versions/1/prices/export")
        assert missing.status_code == 404

    told(database, story)
