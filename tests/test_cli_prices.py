"""`tollgate prices …` and `tollgate check tariff` on the database: a list's whole way from the shell."""

import json
from pathlib import Path
from typing import Any

import pytest
from api import APP, Api, api_on
from golden.update import FOLDER
from postgres import TestedDatabase

from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.files.reference_folder import read_reference_folder
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings
from schemas.times import to_datetime, to_us

LOADED_AT = to_datetime(to_us("2026-01-15T00:00:00.000Z"))
AT = "--at=2026-11-24T18:30:00.000Z"
REFERENCE = FOLDER / "forbidden_regions" / "reference"
HEADER = "prefix,service,price,per_seconds,step_seconds"


@pytest.fixture
def office(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestedDatabase:
    """The golden operator in the record, with users; the working folder is empty."""
    folder = read_reference_folder(REFERENCE, emergency_numbers=EngineSettings().emergency_numbers)

    async def filled(db: Database) -> None:
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, folder, author="test", at=LOADED_AT)
        async with api_on(db) as api:
            await users(api)

    database.run(filled, role=APP)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.chdir(tmp_path)
    return database


async def users(api: Api) -> None:
    for name, role in (("maria", "marketing"), ("boris", "b2b"), ("boss", "manager"), ("sveta", "support")):
        await api.user(name, role)  # type: ignore[arg-type]


def tollgate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """The exit code and what was printed."""
    code = app(list(words), exit_on_error=False, result_action="return_value")
    return code, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(tollgate(capsys, *words, "--json")[1])


def refused(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        app(list(words), exit_on_error=False, result_action="return_value")
    return str(caught.value)


def test_a_list_goes_all_the_way_from_the_shell(office: TestedDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("retail.csv")
    file.write_text(f"{HEADER}\n381,outgoing,1.00,60,60\n7495,,1.20,60,1\n998,outgoing,9.00,60,60\n")
    draft = as_json(capsys, "prices", "upload", str(file), "R-OUT", "--as=maria")
    assert (draft["number"], draft["state"], draft["created_by"], draft["prices"]) == (2, "staged", "maria", 3)
    assert draft["name"] == "Розница, исходящие"

    code, text = tollgate(capsys, "prices", "lint", "R-OUT", "2", "--as=maria")
    assert code == 0
    assert "below_cost" in text
    assert "a minute to 3811 is sold for 1" in text
    changed = {one["kind"]: one["prices"] for one in as_json(capsys, "prices", "difference", "R-OUT", "2")["kinds"]}
    assert changed == {"cheaper": 1, "gone": 1, "same": 2}
    code, text = tollgate(capsys, "prices", "rehearse", "R-OUT", "2", "--days=3")
    assert (code, "by what is in force" in text) == (0, True)

    assert "was uploaded by you" in refused("prices", "publish", "R-OUT", "2", "--reason=now", "--as=maria")
    assert tollgate(capsys, "prices", "approve", "R-OUT", "2", "--as=boss")[1].strip() == "R-OUT/2 is approved"
    later = "--from=2099-01-01T00:00:00Z"
    assert (
        "comes into force at 2099-01-01"
        in tollgate(capsys, "prices", "publish", "R-OUT", "2", "--reason=x", "--as=maria", later)[1]
    )
    assert "is taken back" in tollgate(capsys, "prices", "roll-back", "R-OUT", "2", "--reason=x", "--as=boss")[1]
    stages = {one["number"]: one["stage"] for one in as_json(capsys, "prices", "list", "R-OUT")}
    assert stages == {1: "in_force", 2: "withdrawn"}


def test_what_is_in_force_is_rolled_back_from_the_shell(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("wholesale.csv")
    file.write_text(f"{HEADER}\n3811,,1.75,60,60\n")
    as_json(capsys, "prices", "upload", str(file), "W-MEG", "--as=boris")
    tollgate(capsys, "prices", "lint", "W-MEG", "2", "--as=boss")
    tollgate(capsys, "prices", "publish", "W-MEG", "2", "--reason=x", "--as=boss")
    question = ("check", "tariff", "381114112060", "--account=100202", "--incoming-service=")
    assert _wholesale(as_json(capsys, *question)) == 1_750_000
    assert (
        "W-MEG/3 is in force, equal to version 1"
        in tollgate(capsys, "prices", "roll-back", "W-MEG", "2", "--reason=x", "--as=boris")[1]
    )
    assert _wholesale(as_json(capsys, *question)) == 1_500_000
    lists = {one["price_list_id"]: one["in_force"] for one in as_json(capsys, "prices", "list")}
    assert lists == {"R-FWD": 1, "R-OUT": 1, "W-BEE": 1, "W-MEG": 3}
    assert "W-MEG" in tollgate(capsys, "prices", "list")[1]


def _wholesale(found: Any) -> int:
    row = next(one for one in found["providers"] if one["provider_id"] == "megafon")
    price: int = row["wholesale"]["price_micros"]
    return price


def test_a_draft_is_discarded_from_the_shell(office: TestedDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("new.csv")
    file.write_text(f"{HEADER}\n381,,1.00,60,60\n")
    words = ("--kind=retail", "--currency=RUB", "--rounding=up", "--decimals=4")
    assert "/kind: is missing" in refused("prices", "upload", str(file), "NEW", "--as=maria")
    as_json(capsys, "prices", "upload", str(file), "NEW", "--as=maria", *words)
    assert "NEW/1 is discarded" in tollgate(capsys, "prices", "discard", "NEW", "1", "--reason=x", "--as=maria")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("upload", "prices.csv", "R-OUT", "--as=sveta"), "may not"),
        (("upload", "prices.csv", "R-OUT", "--as=nobody"), "there is no user 'nobody'"),
        (("upload", "none.csv", "R-OUT", "--as=maria"), "none.csv is no file"),
        (("upload", "bad.csv", "R-OUT", "--as=maria"), "line 2: price: 'x' is not an amount of money"),
        (("upload", "prices.csv", "R-OUT", "--as=maria", "--currency=roubles"), "--currency"),
        (("lint", "R-OUT", "9", "--as=maria"), "there is no price list version 'R-OUT/9'"),
        (("lint", "R-OUT", "1", "--as=boris"), "ask marketing"),
        (("list", "none"), "there is no price list 'none'"),
        (("rehearse", "R-OUT", "1", "--from=soon"), "--from: 'soon'"),
        (("publish", "R-OUT", "1", "--reason=x", "--as=boss"), "is published: it can't be published (any more)"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_message(office: TestedDatabase, words: tuple[str, ...], said: str) -> None:
    Path("prices.csv").write_text(f"{HEADER}\n381,,1.00,60,60\n")
    Path("bad.csv").write_text(f"{HEADER}\n381,,x,60,60\n")

    assert said in refused("prices", *words)


@pytest.mark.parametrize(
    ("number", "options"),
    [
        ("381114112060", []),
        ("355", []),
        ("7495", ["--incoming-service="]),
        ("7495", ["--place=spb"]),
        ("3811", ["--service=forwarding", "--plan=forwarding"]),
        ("852", []),
    ],
)
def test_the_tariff_check_answers_alike_on_a_folder_and_on_the_database(
    office: TestedDatabase, capsys: pytest.CaptureFixture[str], number: str, options: list[str]
) -> None:
    words = ("check", "tariff", number, "--account=100202", AT, *options)
    on_folder = as_json(capsys, *words, f"--reference={REFERENCE}")
    on_database = as_json(capsys, *words)

    assert on_database == on_folder


def test_a_tariff_check_on_the_database_names_what_is_not_there(office: TestedDatabase) -> None:
    assert "'nobody'" in refused("check", "tariff", "381", "--account=nobody")
    assert "'none'" in refused("check", "tariff", "381", "--account=100202", "--plan=none")
