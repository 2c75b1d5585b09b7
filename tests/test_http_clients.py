"""Finding clients and calls through the API: §1.1, §2.1, §2.5 and §3.3, on a projected half hour."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api import Api, api_on
from golden.update import FOLDER
from openpyxl import load_workbook
from postgres import TestedDatabase
from projected import operator, project

from backoffice.clients import Period, exact_pattern, name_patterns, without_calls
from connectors.files.reference_folder import read_reference_folder
from connectors.files.table_export import Amount, csv_pieces, defused, xlsx_pieces
from connectors.postgres.database import Database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings
from schemas.money import to_micros


def told(database: TestedDatabase, story: Any, *, calls: bool = False) -> None:
    """An office with the clients of the guide's examples; `calls`: with the half hour's operator as well."""

    async def opened(db: Database) -> None:
        if calls:
            folder = read_reference_folder(
                FOLDER / "busy_half_hour" / "reference", emergency_numbers=EngineSettings().emergency_numbers
            )
            await load_folder(db.pool, folder, author="ivanov", at=datetime(2026, 11, 1, tzinfo=UTC))
            async with operator() as played:
                await project(played, db)
        async with api_on(db) as api:
            await api.user("petrova", "sales")
            for client_id, client in CLIENTS.items():
                await api.ok("PUT", f"/api/clients/{client_id}", role="sales", json=client)
            await story(api)

    database.run(opened)


CLIENTS: dict[str, dict[str, Any]] = {
    "C1": {"kind": "company", "name": "ООО «Строй Сервис»", "inn": "7701234560", "manager": "petrova"},
    "C2": {"kind": "company", "name": 'ООО "СтройП Сервис"', "inn": "7801234567"},
    "C3": {
        "kind": "person",
        "surname": "Попов",
        "given_name": "Иван",
        "patronymic": "Сергеевич",
        "city": "Москва",
    },
    "C4": {"kind": "person", "surname": "Попов", "given_name": "Пётр", "patronymic": "Андреевич", "city": "Тверь"},
    "C5": {"kind": "person", "surname": "Сидоров", "given_name": "Олег", "city": "Москва"},
}


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("Попов", ("% попов%",)),
        ("Попов%", ("% попов%",)),
        ("%сервис", ("%сервис %",)),
        ("%трой%", ("%трой%",)),
        ("стр%вис", ("% стр%вис %",)),
        ("«Строй  Сервис»", ("% строй%", "% сервис%")),
        ("Авто-Сервис", ("% авто%", "% сервис%")),
        ("Пётр", ("% петр%",)),
        ("a_b\\", ("% a%", "% b%")),
        ("%", ()),
        ("«»", ()),
    ],
)
def test_what_per_cent_means_in_a_name(text: str, patterns: tuple[str, ...]) -> None:
    assert name_patterns(text) == patterns


def test_accounts_and_numbers_are_meant_whole_unless_they_have_per_cent() -> None:
    assert exact_pattern(" 100200 ") == "100200"
    assert exact_pattern("7495%") == "7495%"
    assert exact_pattern("a_b") == "a\\_b"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "Попов"}, ["C3", "C4"]),
        ({"name": "Попов%"}, ["C3", "C4"]),
        ({"name": "попов петр"}, ["C4"]),
        ({"name": "%сервис"}, ["C1", "C2"]),
        ({"name": "Строй"}, ["C1", "C2"]),
        ({"name": "Строй Сервис"}, ["C1", "C2"]),
        ({"name": "%йП"}, ["C2"]),
        ({"inn": "7701234560"}, ["C1"]),
        ({"inn": "77%"}, ["C1"]),
        ({"name": "Попов Иван Сергеевич"}, ["C3"]),
        ({"name": "Иванов"}, []),
        ({"name": "Попов", "inn": "7701234560"}, []),
        ({}, ["C1", "C2", "C3", "C4", "C5"]),
    ],
)
def test_clients_are_found_as_the_guide_has_it(
    database: TestedDatabase, query: dict[str, str], found: list[str]
) -> None:
    async def story(api: Api) -> None:
        answer = await api.ok("GET", "/api/clients", role="support", params=query)
        assert sorted(one["client_id"] for one in answer["items"]) == found
        assert answer["total"] == len(found)
        assert answer["next"] is None

    told(database, story)


def test_a_person_is_found_by_the_surname_whatever_the_name_says(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        person = {"kind": "person", "surname": "Ёлкин", "given_name": "Олег", "name": "ИП «Хвоя»"}
        await api.ok("PUT", "/api/clients/C9", role="sales", json=person)
        for name in ("Ёлкин", "%елкин", "хвоя", "Олег Ел%"):
            found = (await api.ok("GET", "/api/clients", params={"name": name}))["items"]
            assert [one["client_id"] for one in found] == ["C9"], name

    told(database, story)


MENTIONED = {
    "kind": "company",
    "name": "ООО «Ромашка»",
    "inn": "7701234777",
    "kpp": "770101001",
    "city": "Калуга",
    "legal_address": "ул. Садовая, д. 5",
    "phones": ["74959998877"],
    "emails": ["info@romashka.example"],
    "manager": "petrova",
    "seller": "Агент-007",
    "comment": "просит звонить утром",
}


def test_a_client_is_found_by_whatever_mentions_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/clients/R-77", role="sales", json=MENTIONED)
        await api.ok("PUT", "/api/tags/vip", role="sales", json={"name": "Важный клиент"})
        await api.ok("PUT", "/api/clients/R-77/tags/vip", role="sales", json={})
        for text in (
            *("R-77", "Калуга", "770101001", "Садовая 5", "садов%", "+7 (495) 999-88-77", "8 495 999 88 77"),
            *("info@romashka.example", "romashka", "агент", "УТРОМ", "Важный", "ромашка калуга"),
        ):
            found = await api.ok("GET", "/api/search", role="support", params={"text": text})
            assert [one["client_id"] for one in found["mentioned"]] == ["R-77"], text
            assert found["clients"] == found["companies"] == found["more"] == [], text
        for text, kind in (("Ромашка", "clients"), ("7701234777", "companies")):
            # What is told once is not told again.
            found = await api.ok("GET", "/api/search", params={"text": text})
            assert [one["client_id"] for one in found[kind]] == ["R-77"]
            assert found["mentioned"] == []
        both = await api.ok("GET", "/api/search", params={"text": "petrova"})
        assert sorted(one["client_id"] for one in both["mentioned"]) == ["C1", "R-77"]
        for text in ("%", "«»", "нигде", "'; DROP TABLE", "a_b"):
            found = await api.ok("GET", "/api/search", params={"text": text})
            assert found["mentioned"] == found["locks"] == [], text

    told(database, story)


def test_a_search_says_that_there_is_more_and_finds_locks(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for n in range(21):
            client = {"kind": "company", "name": f"ООО Много {n}", "city": "Вязьма"}
            await api.ok("PUT", f"/api/clients/M{n}", role="sales", json=client)
        found = await api.ok("GET", "/api/search", params={"text": "Много"})
        assert (len(found["clients"]), found["more"]) == (20, ["clients"])
        found = await api.ok("GET", "/api/search", params={"text": "вязьма"})
        assert (len(found["mentioned"]), found["more"]) == (20, ["mentioned"])

        await api.ok(
            "POST", "/api/locks", role="b2b", json={"lock_id": "L1", "digits": "3811", "reason": "жалоба «Ромашки»"}
        )
        await api.ok("POST", "/api/locks", role="b2b", json={"lock_id": "L2", "digits": "3812", "reason": "иное"})
        for text, ids in (("L1", ["L1"]), ("3811", ["L1"]), ("ромашки жал%", ["L1"]), ("b2b1", ["L1", "L2"])):
            found = await api.ok("GET", "/api/search", role="support", params={"text": text})
            assert [one["lock_id"] for one in found["locks"]] == ids, text
        key = await api.key("sales1", frozenset({"clients.see"}))
        assert (await api.ok("GET", "/api/search", key=key, params={"text": "L1"}))["locks"] is None

    told(database, story)


def test_namesakes_are_told_apart_and_pages_go_on_where_they_ended(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        both = (await api.ok("GET", "/api/clients", role="sales", params={"name": "Попов"}))["items"]
        assert [(one["city"], one["given_name"], one["patronymic"]) for one in both] == [
            ("Москва", "Иван", "Сергеевич"),
            ("Тверь", "Пётр", "Андреевич"),
        ]
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 2}
        for _ in range(3):
            answer = await api.ok("GET", "/api/clients", params=query)
            assert answer["total"] == 5
            seen += [one["name"] for one in answer["items"]]
            query["after"] = answer["next"]
        assert answer["next"] is None
        assert len(seen) == len(set(seen)) == 5
        assert (await api.ask("GET", "/api/clients", params={"limit": 5000})).status_code == 200
        for wrong in ({"limit": 5001}, {"limit": 0}, {"name": "«»"}, {"after": "nowhere"}):
            assert (await api.ask("GET", "/api/clients", params=wrong)).status_code == 422

    told(database, story)


def test_a_client_is_found_by_account_and_number_and_its_card_shows_all(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        pool = api.database.pool
        number, account_id = await pool.fetchrow(
            "SELECT number, account_id FROM office.numbers WHERE account_id IS NOT NULL ORDER BY number LIMIT 1"
        )
        by_account = await api.ok("GET", "/api/clients", params={"account_id": account_id})
        by_number = await api.ok("GET", "/api/clients", params={"number": f"+{number}"})
        assert by_account == by_number
        (row,) = by_account["items"]
        assert account_id in [one["account_id"] for one in row["accounts"]]
        card = await api.ok("GET", f"/api/clients/{row['client_id']}", role="support")
        assert card["accounts"] == row["accounts"]
        assert (await api.ask("GET", "/api/clients/nobody")).status_code == 404

        mentions = await api.ok("GET", "/api/search", role="support", params={"text": number})
        assert [(one["number"], one["client_id"]) for one in mentions["numbers"]] == [(number, row["client_id"])]
        typed = f"8 ({number[1:4]}) {number[4:7]}-{number[7:9]}-{number[9:]}"
        assert number.startswith("7")
        assert len(number) == 11
        for text in (typed, f"8{number[1:]}", f"+7 ({number[1:4]}) {number[4:]}"):
            assert await api.ok("GET", "/api/clients", params={"number": text}) == by_number, text
            mentions = await api.ok("GET", "/api/search", params={"text": text})
            assert [one["number"] for one in mentions["numbers"]] == [number], text
        mentions = await api.ok("GET", "/api/search", params={"text": account_id})
        assert [one["account_id"] for one in mentions["accounts"]] == [account_id]
        mentions = await api.ok("GET", "/api/search", params={"text": "7701234560"})
        assert [one["client_id"] for one in mentions["companies"]] == ["C1"]
        mentions = await api.ok("GET", "/api/search", params={"text": "Строй"})
        assert [one["client_id"] for one in mentions["clients"]] == ["C2", "C1"]

    told(database, story, calls=True)


def test_the_card_of_an_account_says_what_the_engine_and_the_office_know_of_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        account_id = "100208"
        path = f"/api/accounts/{account_id}/card"
        before = await api.ok("GET", path, role="support")
        said = await api.database.pool.fetchrow("SELECT * FROM facts.balances WHERE account_id = $1", account_id)
        assert before["balance_micros"] == said["balance_micros"]
        assert before["held_micros"] == said["held_micros"]
        assert before["available_micros"] == said["available_micros"]
        assert before["debt_micros"] == max(-said["balance_micros"], 0)
        assert before["advance_micros"] == max(said["balance_micros"], 0)
        assert before["write_offs"] == []
        assert [(one["service"], one["percent_micros"]) for one in before["discounts"]] == [("outgoing", 10_000_000)]
        (month,) = before["traffic"]
        calls = await api.database.pool.fetchrow(
            "SELECT count(*) AS calls, sum(retail_micros) AS micros FROM facts.rated_cdrs WHERE account_id = $1",
            account_id,
        )
        assert (month["month"], month["calls"]) == ("2026-11", calls["calls"])
        assert month["amount_micros"] == calls["micros"] == sum(one["amount_micros"] for one in month["services"])

        blocked = {"reason": "не платит", "command_id": "b1"}
        await api.ok("POST", f"/api/accounts/{account_id}/block", role="billing", once="b1", json=blocked)
        await api.ok(
            "POST", f"/api/accounts/{account_id}/unblock", role="billing", once="b2", json={"reason": "заплатил"}
        )
        sent = {"amount_micros": 5_000_000, "reason": "SIM", "command_id": "w1"}
        await api.ok("POST", f"/api/accounts/{account_id}/write-offs", role="billing", once="w1", json=sent)
        after = await api.ok("GET", path, role="support")
        assert after["last_block"]["reason"] == "не платит"
        assert after["last_block"]["ended_at"] is not None
        assert [(one["amount_micros"], one["state"]) for one in after["write_offs"]] == [(5_000_000, "ordered")]
        # What the engine has not carried out has not moved anything yet.
        assert after["balance_micros"] == before["balance_micros"]
        assert (await api.ask("GET", path, role="marketing")).status_code == 403
        assert (await api.ask("GET", "/api/accounts/nobody/card")).status_code == 404

    told(database, story, calls=True)


def test_calls_are_searched_by_service_period_account_and_number(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        everything = {"service": "outgoing", "account_id": "100208"}
        seen: list[dict[str, Any]] = []
        query: dict[str, Any] = {**everything, "limit": 30}
        for _ in range(3):
            answer = await api.ok("GET", "/api/cdrs", role="support", params=query)
            seen += answer["items"]
            query["after"] = answer["next"]
        assert answer["next"] is None
        assert len(seen) == len({one["cdr_id"] for one in seen}) == 70
        ends = [one["ended_at"] for one in seen]
        assert ends == sorted(ends, reverse=True)

        one = seen[10]
        same = await api.ok("GET", "/api/cdrs", params={**everything, "called": one["called"]})
        assert one["cdr_id"] in [found["cdr_id"] for found in same["items"]]
        assert {found["called"] for found in same["items"]} == {one["called"]}
        assert (await api.ok("GET", "/api/cdrs", params={"service": "outgoing", "called": one["called"]}))["items"]
        period = {"since": ends[20], "until": ends[10]}
        inside = await api.ok("GET", "/api/cdrs", params={**everything, **period})
        assert [found["ended_at"] for found in inside["items"]] == [at for at in ends if ends[20] <= at < ends[10]]

        called = one["called"]
        typed = f"8 ({called[1:4]}) {called[4:]}" if called.startswith("7") and len(called) == 11 else f"+{called}"
        for text in (typed, f"+{called[:3]} {called[3:]}"):
            assert await api.ok("GET", "/api/cdrs", params={**everything, "called": text}) == same
        for wrong in ({"called": "abc"}, {"called": "1" * 16}, {"since": ends[10], "until": ends[10]}):
            refused = await api.ask("GET", "/api/cdrs", params={**everything, **wrong})
            assert refused.status_code == 422
            assert [problem["parameter"] for problem in refused.json()["errors"]] == [list(wrong)[-1]]
            assert "^[" not in refused.text

        masked = await api.ok("GET", "/api/cdrs", role="sales", params=everything)
        assert masked["items"][0]["called"] != seen[0]["called"]
        assert "•" in masked["items"][0]["called"]

        without = await api.ask("GET", "/api/cdrs", params={"account_id": "100208"})
        assert without.status_code == 422
        assert [problem["parameter"] for problem in without.json()["errors"]] == ["service"]
        assert (await api.ask("GET", "/api/cdrs", params={"service": "outgoing", "account_id": "x"})).status_code == 404

    told(database, story, calls=True)


def test_what_ended_less_than_an_hour_ago_is_current_and_the_rest_is_the_archive(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        everything = (await api.ok("GET", "/api/cdrs", params={"service": "outgoing", "limit": 1000}))["items"]
        border = everything[50]["ended_at"]
        an_hour_later = border.replace("T09:", "T10:").replace("T08:", "T09:")
        await api.ok(
            "PUT",
            "/api/clock",
            role="administrator",
            json={"at": an_hour_later, "running": False, "reason": "the hour after"},
        )
        parts = {}
        for part in ("current", "archive"):
            asked = {"service": "outgoing", "part": part, "limit": 1000}
            parts[part] = [one["ended_at"] for one in (await api.ok("GET", "/api/cdrs", params=asked))["items"]]
        assert parts["current"] + parts["archive"] == [one["ended_at"] for one in everything]
        assert parts["archive"][0] == border

    told(database, story, calls=True)


def test_the_two_recording_services_are_two_and_nothing_found_is_explained(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        found = await api.ok("GET", "/api/cdrs", role="support", params={"service": "calls_rec"})
        assert {one["service_code"] for one in found["items"]} == {"CALLS_REC"}
        assert found["empty_because"] is None
        account_id = found["items"][0]["account_id"]
        other = await api.ok("GET", "/api/cdrs", params={"service": "calls_rec_unlim", "account_id": account_id})
        assert other["items"] == other["connected"] == []
        assert "recording was off" in other["empty_because"]

        # As it is written on the wire or by the staff.
        assert (await api.ok("GET", "/api/cdrs", params={"service": " CALLS_REC "}))["items"] == found["items"]
        assert (await api.ask("GET", "/api/cdrs/export", params={"service": "CALLS_REC"})).status_code == 200
        for path in ("/api/cdrs", "/api/cdrs/export"):
            for unknown in ("nope", " "):
                refused = await api.ask("GET", path, params={"service": unknown})
                assert refused.status_code == 422
                assert [problem["parameter"] for problem in refused.json()["errors"]] == ["service"]
        # Nobody has used it yet, but an account has it.
        sent = {"service": "Fax_In "}
        await api.ok("POST", f"/api/accounts/{account_id}/services", role="sales", json=sent)
        fax = await api.ok("GET", "/api/cdrs", params={"service": "FAX_IN", "account_id": account_id})
        assert (fax["items"], fax["connected"], fax["empty_because"]) == ([], ["fax_in"], None)

    told(database, story, calls=True)
    assert "it has CALLS_REC" in (without_calls("calls_rec_unlim", ("calls_rec", "outgoing")) or "")
    assert without_calls("outgoing", ()) is None


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (Period(None, None, None), "recording was off"),
        (Period(NOW + timedelta(seconds=1), None, None), "in the future"),
        (Period(None, None, "current"), "within the last 60 minutes"),
        (Period(None, NOW - timedelta(minutes=60), "current"), "in the archive"),
        (Period(NOW - timedelta(minutes=30), None, "archive"), "part=current"),
        (Period(NOW - timedelta(minutes=90), NOW, "archive"), "recording was off"),
    ],
)
def test_what_finding_nothing_means_depends_on_the_period(period: Period, words: str) -> None:
    said = without_calls("calls_rec", ("calls_rec",), period, NOW)
    assert said is not None
    assert words in said
    assert ("recording was off" in said) == (words == "recording was off")


def test_lists_are_files_with_the_same_filters_and_as_they_may_be_seen(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        asked = {"service": "outgoing", "account_id": "100208"}
        shown = (await api.ok("GET", "/api/cdrs", params={**asked, "limit": 1000}))["items"]
        answer = await api.ask("GET", "/api/cdrs/export", params=asked)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == 'attachment; filename="cdrs.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert [row["cdr_id"] for row in rows] == [one["cdr_id"] for one in shown]
        assert [to_micros(row["retail"]) for row in rows] == [one["retail_micros"] for one in shown]
        assert [row["called"] for row in rows] == [one["called"] for one in shown]

        book = await api.ask("GET", "/api/cdrs/export", role="sales", params={**asked, "file": "xlsx"})
        sheet = load_workbook(io.BytesIO(book.content), read_only=True).active
        assert sheet is not None
        header, *lines = sheet.iter_rows(values_only=True)
        assert [line[0] for line in lines] == [one["cdr_id"] for one in shown]
        assert all("•" in str(line[header.index("called")]) for line in lines)

        cut = await api.ask("GET", "/api/cdrs/export", params={**asked, "limit": 69})
        assert cut.status_code == 422
        assert (await api.ask("GET", "/api/cdrs/export", params={**asked, "limit": 70})).status_code == 200
        clients = await api.ask("GET", "/api/clients/export", params={"name": "Попов"})
        people = list(csv.DictReader(io.StringIO(clients.content.decode("utf-8-sig"))))
        assert [(one["kind"], one["surname"], one["city"]) for one in people] == [
            ("person", "Попов", "Москва"),
            ("person", "Попов", "Тверь"),
        ]
        refused = await api.ask("GET", "/api/clients/export", params={"limit": 2})
        assert refused.status_code == 422
        assert "ask for fewer" in refused.text

    told(database, story, calls=True)


def test_a_file_of_clients_may_be_longer_than_a_page(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.http.routes.clients._PIECE", 2)

    async def story(api: Api) -> None:
        answer = await api.ask("GET", "/api/clients/export", params={"limit": 100_000})
        assert answer.status_code == 200, answer.text
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        shown = (await api.ok("GET", "/api/clients"))["items"]
        assert [row["client_id"] for row in rows] == [one["client_id"] for one in shown]

    told(database, story)


def test_an_empty_limit_is_the_usual_one_and_five_thousand_rows_are_the_most(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.database.pool.execute(
            "INSERT INTO office.clients (client_id, name, created_at, created_by) "
            "SELECT 'X' || n, 'X' || n, now(), 'test' FROM generate_series(1, 120) AS n"
        )
        assert len((await api.ok("GET", "/api/clients?limit="))["items"]) == 100
        for path in ("/api/locks", "/api/cdrs?service=outgoing", "/api/audit", "/api/tags"):
            join = "&" if "?" in path else "?"
            assert (await api.ask("GET", f"{path}{join}limit=")).status_code == 200, path
            assert (await api.ask("GET", f"{path}{join}limit=5000")).status_code == 200, path
            assert (await api.ask("GET", f"{path}{join}limit=5001")).status_code == 422, path
        assert (await api.ask("GET", "/api/clients/C1?limit=")).status_code == 422

    told(database, story)


async def some(*rows: Any) -> Any:
    for row in rows:
        yield [row]


async def whole(pieces: Any) -> bytes:
    return b"".join([piece async for piece in pieces])


def test_no_cell_of_a_file_is_a_formula() -> None:
    evil = ["=1+1", "+7", "-2", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://x")']
    assert [defused(text)[0] for text in evil] == ["'"] * len(evil)
    assert defused("Попов = Иван") == "Попов = Иван"

    text = asyncio.run(whole(csv_pieces(["name"], some(*[[one] for one in evil])))).decode("utf-8-sig")
    cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))][1:]
    assert cells == [f"'{one}" for one in evil]

    book = asyncio.run(whole(xlsx_pieces("names", ["name"], some(*[[one] for one in evil], [-5], [None]))))
    sheet = load_workbook(io.BytesIO(book)).active
    assert sheet is not None
    found = list(sheet.iter_rows(min_row=2))
    assert [row[0].data_type for row in found[:7]] == ["s"] * 7
    assert found[7][0].value == -5


@pytest.mark.parametrize(
    ("micros", "text"), [(-1, "-0.000001"), (0, "0.00"), (3_500_000, "3.50"), (10**21 + 1, "1000000000000000.000001")]
)
def test_money_is_exact_in_csv_and_a_number_in_xlsx(micros: int, text: str) -> None:
    table = asyncio.run(whole(csv_pieces(["sum"], some([Amount(micros)])))).decode("utf-8-sig")
    assert table.splitlines() == ["sum", text]
    sheet = load_workbook(io.BytesIO(asyncio.run(whole(xlsx_pieces("sums", ["sum"], some([Amount(micros)])))))).active
    assert sheet is not None
    assert sheet["A2"].data_type == "n"
    assert sheet["A2"].value == pytest.approx(micros / 1e6)
