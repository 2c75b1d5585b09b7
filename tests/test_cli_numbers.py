"""`tollgate number …`: a number's way from quarantine to a client and back, from the shell."""

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from api import APP, Api, api_on
from api_samples import call_number
from golden.update import FOLDER
from postgres import TestedDatabase
from test_http_numbers import as_owner, closed_days, have, rested, set_day

from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.files.reference_folder import read_reference_folder
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings
from schemas.times import to_datetime, to_us

LOADED_AT = to_datetime(to_us("2026-01-15T00:00:00.000Z"))
REFERENCE = FOLDER / "forbidden_regions" / "reference"
ACCOUNT = "100200"


@pytest.fixture
def office(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestedDatabase:
    """The golden operator on the 24th of November, with users and numbers; the working folder is empty."""
    folder = read_reference_folder(REFERENCE, emergency_numbers=EngineSettings().emergency_numbers)

    async def filled(db: Database) -> None:
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, folder, author="test", at=LOADED_AT)
        async with api_on(db) as api:
            for name, role in (("sal1", "sales"), ("boss", "manager"), ("dko1", "support")):
                await api.user(name, role)  # type: ignore[arg-type]
            await numbers(api)

    database.run(filled, role=APP)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.setenv("TOLLGATE_HTTP_SETTABLE_CLOCK", "true")
    monkeypatch.chdir(tmp_path)
    return database


async def numbers(api: Api) -> None:
    await set_day(api, "2026-11-24")
    await closed_days(api, "2026-09-01", "2026-11-22")
    await rested(api, "74955550001")
    await have(api, "74951201031", since="2026-11-10")
    await call_number(api, "74951201031", callers=7, day="2026-11-20")
    client = {"kind": "company", "name": "ООО «Восток 200»", "emails": ["client@example.org"]}
    await api.ok("PUT", "/api/clients/mail", json=client)
    await api.ok("PUT", "/api/number-groups/keepers", json={"members": ["boss"], "reason": "a test"})


def tollgate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """The exit code and what was printed."""
    code = app(["number", *words], exit_on_error=False, result_action="return_value")
    return code, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(tollgate(capsys, *words, "--json")[1])


def refused(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        app(["number", *words], exit_on_error=False, result_action="return_value")
    return str(caught.value)


def test_the_search_finds_what_may_be_sold_and_writes_it_to_a_file(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = as_json(capsys, "search", "%555%", "--availability", "green", "--status", "free")
    assert [(one["number"], one["sign"], one["sellable"]) for one in found["numbers"]] == [
        ("74955550001", "no_ncv", True)
    ]
    assert "1 of 1 numbers" in tollgate(capsys, "search", "--availability", "green", "--region", "Москва")[1]
    tollgate(capsys, "search", "%555%", "--availability", "green", "--to", "555.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "555.xlsx").active
    assert sheet is not None
    assert [row[0].value for row in sheet.iter_rows()] == ["number", "74955550001"]

    assert "/availability" in refused("search", "%555%")
    assert "blue" in refused("search", "%555%", "--availability", "blue")
    assert ".xlsx or .csv" in refused("search", "%555%", "--availability", "green", "--to", "555.doc")


def test_a_number_is_asked_for_agreed_to_approved_sold_and_released(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = tollgate(capsys, "show", "8 (495) 120-10-31")
    assert code == 1
    assert "Недостаточно данных" in shown
    assert as_json(capsys, "show", "74951201031")["earliest_free"] == "2026-12-24", "a day is not closed yet"
    days = as_json(capsys, "statistics", "74951201031", "--since", "2026-11-19")["days"]
    assert [(one["day"], one["calls"]) for one in days if one["calls"]] == [("2026-11-20", 7)]
    sell = ("sell", "74951201031", "--account", ACCOUNT, "--product", "ВАТС", "--as", "sal1")
    assert "archive" in refused(*sell)

    assert "client_id" in refused("ask", "74951201031", "--reason", "wanted", "--as", "sal1")
    asked = as_json(capsys, "ask", "74951201031", "--reason", "wanted", "--client", "mail", "--as", "sal1")
    request = asked["request_id"]
    assert (asked["state"], asked["told_callers"]) == ("waiting_for_client", 7)
    assert [one["request_id"] for one in as_json(capsys, "requests")] == [request]
    assert "wanted" in tollgate(capsys, "requests")[1]
    assert "agree" in refused("approve", request, "--reason", "fine", "--as", "boss")
    tollgate(capsys, "consent", request, "--text", "Согласны", "--by", "Директор", "--as", "sal1")
    assert "your own" in refused("approve", request, "--reason", "fine", "--as", "sal1")
    assert "keepers" in refused("approve", request, "--reason", "fine", "--as", "dko1")
    assert "approved" in tollgate(capsys, "approve", request, "--reason", "fine", "--as", "boss")[1]
    assert tollgate(capsys, "show", "74951201031")[0] == 0

    subscriber = as_json(capsys, *sell)["subscriber_id"]
    assert "in_use" in tollgate(capsys, "activate", subscriber, "--as", "sal1")[1]
    assert tollgate(capsys, "show", "74951201031")[0] == 1
    told = tollgate(capsys, "release", "74951201031", "--reason", "left us", "--as", "dko1")[1]
    assert "archive since 2026-11-24" in told
    assert "can't become closed" in refused("close", subscriber, "--reason", "again", "--as", "dko1")
    lines = tollgate(capsys, "timeline", "74951201031")[1]
    for what in ("entered", "forced → free by boss", "reserved", "activated", "released → archive by dko1: left us"):
        assert what in lines


def test_a_subscriber_that_is_closed_gives_a_clean_number_back(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    sell = ("sell", "74955550001", "--account", ACCOUNT, "--product", "ВАТС", "--as", "sal1")
    subscriber = as_json(capsys, *sell)["subscriber_id"]
    assert "closed" in tollgate(capsys, "close", subscriber, "--reason", "not paid", "--as", "sal1")[1]
    assert as_json(capsys, "show", "74955550001")["status"] == "free"
    assert "closed" in refused("close", subscriber, "--reason", "again", "--as", "sal1")
    assert "no user" in refused(*sell[:-1], "nobody")
    assert "is no number" in refused("show", "звонки")
    assert "there is no number" in refused("show", "74950000000")


def test_a_day_is_closed_by_hand_once_the_engine_has_been_heard_after_it(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    close = ("close-day", "2026-11-23", "--reason", "replayed")
    assert "may not" in refused(*close, "--as", "sal1")
    assert "projected" in refused(*close, "--as", "boss")

    async def heard(db: Database) -> None:
        async with api_on(db) as api:
            await as_owner(
                api,
                "INSERT INTO facts.known VALUES (true, '2026-11-24 00:00:01+03', now())",
            )
            await as_owner(
                api,
                "INSERT INTO facts.unprojected VALUES ('number-ncv', 0, 7, NULL, NULL, now(), 'not read')",
            )

    office.run(heard, role=APP)
    assert "is closed\n" in tollgate(capsys, *close, "--as", "boss")[1]
    assert "closed already" in tollgate(capsys, *close, "--as", "boss")[1]
    assert "is not over" in refused("close-day", "2026-11-24", "--reason", "x", "--as", "boss")
    assert as_json(capsys, "show", "74951201031")["gaps"] == []
