"""`tollgate ask`: the API from the shell, in a user's name, on the record; a file of requests done once."""

import json
from pathlib import Path
from typing import Any

import pytest
from api import APP, api_on
from golden.update import FOLDER
from postgres import TestedDatabase

from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.files.reference_folder import read_reference_folder
from connectors.http.app import declared
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings
from schemas.times import to_datetime, to_us

LOADED_AT = to_datetime(to_us("2026-01-15T00:00:00.000Z"))
REFERENCE = FOLDER / "forbidden_regions" / "reference"
PRICES = "prefix,service,price,per_seconds,step_seconds\n381,outgoing,1.00,60,60\n"


@pytest.fixture
def office(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestedDatabase:
    """The golden operator in the record, with users; the working folder is empty."""
    folder = read_reference_folder(REFERENCE, emergency_numbers=EngineSettings().emergency_numbers)

    async def filled(db: Database) -> None:
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, folder, author="test", at=LOADED_AT)
        async with api_on(db) as api:
            for name, role in (
                ("boss", "manager"),
                ("sveta", "support"),
                ("maria", "marketing"),
                ("olga", "sales"),
                ("kassa", "billing"),
            ):
                await api.user(name, role)  # type: ignore[arg-type]

    database.run(filled, role=APP)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.chdir(tmp_path)
    return database


class Ran:
    """What a command came to."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.code = app(["ask", *words], exit_on_error=False, result_action="return_value")
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def refused(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        app(["ask", *words], exit_on_error=False, result_action="return_value")
    return str(caught.value)


def test_every_path_of_the_api_is_listed(capsys):
    ran = Ran(capsys)
    assert ran.code == 0
    for route in declared():
        assert (f"{route.method:<6} {route.plain_path}  " in ran.out) == route.path.startswith("/api/")


def test_a_change_is_made_and_seen_in_the_users_name(office, capsys):
    made = Ran(capsys, "PUT", "/api/clients/C1", '{"kind": "company", "name": "ООО Ромашка"}', "--as", "olga").json
    assert made["name"] == "ООО Ромашка"
    assert Ran(capsys, "GET", "/api/clients?name=ромашка", "--as", "sveta").json["items"][0]["client_id"] == "C1"

    async def audited(db: Database) -> Any:
        return await db.pool.fetchrow(
            "SELECT actor, role, interface FROM plumbing.audit WHERE entity = 'client' AND entity_id = 'C1'"
        )

    actor, role, interface = office.run(audited)
    assert (actor, role) == ("olga", "sales")
    assert interface.startswith("api key")


def test_keys_end_with_the_command(office, capsys):
    Ran(capsys, "GET", "/api/session", "--as", "sveta")

    async def left(db: Database) -> Any:
        return await db.pool.fetch("SELECT revoked_at IS NULL FROM access.api_keys WHERE purpose = 'tollgate ask'")

    assert [row[0] for row in office.run(left)] == [False]


def test_rights_are_the_users(office, capsys):
    ran = Ran(capsys, "POST", "/api/locks", '{"digits": "381", "reason": "суд"}', "--as", "sveta")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith("403 ")
    assert "locks.set" in ran.err
    assert "  ask your manager\n" in ran.err


def test_questions_about_prices_are_answered_by_the_record(office, capsys):
    found = Ran(
        capsys,
        "GET",
        "/api/tariff-check?number=381114112060&account_id=100200&tariff_plan_id=office&service=outgoing&place=msk",
        "--as",
        "boss",
    ).json
    assert found["number"] == "381114112060"
    assert found["providers"]


def test_a_field_that_does_not_fit_is_named(office, capsys):
    ran = Ran(capsys, "PUT", "/api/clients/C1", '{"kind": "firm", "name": ""}', "--as", "olga")
    assert ran.code == 1
    assert "422" in ran.err
    assert "/kind" in ran.err


def test_a_price_list_goes_up_from_a_file_and_an_export_comes_down(office, capsys):
    Path("retail.csv").write_text(PRICES)
    version = Ran(capsys, "POST", "/api/price-lists/R-OUT/versions", "@retail.csv", "--as", "maria").json
    assert version["prices"] == 1
    ran = Ran(capsys, "GET", "/api/clients/export?file=csv", "--as", "boss", "--save", "clients.csv")
    assert (ran.code, ran.out) == (0, "")
    assert Path("clients.csv").read_bytes().count(b"\n") > 1
    # One that asks the record while it is told.
    ran = Ran(capsys, "GET", "/api/price-lists/export", "--as", "boss", "--save", "lists.csv")
    assert ran.code == 0
    assert b"R-OUT" in Path("lists.csv").read_bytes()


def lines(*requests: dict[str, Any]) -> str:
    Path("seed.jsonl").write_text("".join(json.dumps(one) + "\n\n" for one in requests))
    return "seed.jsonl"


def client(name: str, **more: Any) -> dict[str, Any]:
    return {"method": "PUT", "path": f"/api/clients/{name}", "body": {"kind": "company", "name": name}, **more}


def payment(account: str, amount: int) -> dict[str, Any]:
    body = {"amount_micros": amount}
    return {"method": "POST", "path": f"/api/accounts/{account}/payments", "body": body, "as": "kassa"}


def account_of(office: TestedDatabase) -> str:
    async def first(db: Database) -> str:
        found: str = await db.pool.fetchval("SELECT account_id FROM office.accounts WHERE status = 'active' LIMIT 1")
        return found

    return office.run(first)


def payments(office: TestedDatabase) -> int:
    async def counted(db: Database) -> int:
        found: int = await db.pool.fetchval("SELECT count(*) FROM plumbing.outbox WHERE kind = 'command'")
        return found

    return office.run(counted)


def test_a_file_is_done_once_however_often_it_is_run(office, capsys):
    account, before = account_of(office), payments(office)
    file = lines(client("C1"), payment(account, 5_000_000), payment(account, 5_000_000), client("C2"))
    for _ in range(2):
        ran = Ran(capsys, "--file", file, "--as", "olga")
        assert (ran.code, ran.out) == (0, "4 requests, all done\n"), ran.err
        assert payments(office) - before == 2  # each line once, though two are alike


def test_a_file_stops_at_what_is_refused_and_goes_on_when_it_is_mended(office, capsys):
    account, before = account_of(office), payments(office)
    file = lines(payment(account, 5_000_000), client("C1", **{"as": "sveta"}), client("C2"))
    ran = Ran(capsys, "--file", file, "--as", "olga")
    assert ran.code == 1
    assert "seed.jsonl:3: PUT /api/clients/C1" in ran.err
    assert "403" in ran.err
    assert Ran(capsys, "GET", "/api/clients?name=C2", "--as", "olga").json["items"] == []
    assert payments(office) - before == 1

    file = lines(payment(account, 5_000_000), client("C1"), client("C2"))
    ran = Ran(capsys, "--file", file, "--as", "olga")
    assert ran.code == 0, ran.err
    assert payments(office) - before == 1


def test_all_mistakes_of_a_file_are_told_and_nothing_is_done(office, capsys):
    Path("seed.jsonl").write_text(
        json.dumps(client("C1", **{"as": "olga"})) + '\n{"method": "PUT"}\n{"method": "PATCH", "path": "api"}\nno\n'
    )
    text = refused("--file", "seed.jsonl")
    assert "3 errors, nothing was done" in text
    for place in ("seed.jsonl:2: ", "seed.jsonl:3: ", "seed.jsonl:4: "):
        assert place in text
    assert Ran(capsys, "GET", "/api/clients?name=C1", "--as", "olga").json["items"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GET"], "of which path"),
        (["GET", "api/clients", "--as=boss"], "of which path"),
        (["GET", "/api/clients"], "--as: say in whose name"),
        (["GET", "/api/clients", "--as=nobody"], "nobody"),
        (["GET", "/api/clients", "--file=seed.jsonl"], "either --file or a single request"),
        (["--file=missing.jsonl"], "missing.jsonl: No such file"),
        (["POST", "/api/price-lists/R-OUT/versions", "@prices.txt", "--as=maria"], "its name must end in"),
        (["POST", "/api/price-lists/R-OUT/versions", "@prices.csv", "--as=maria"], "prices.csv: No such file"),
        (["GET", "/api/clients/export?file=csv", "--as=boss", "--save=no/where.csv"], "--save no/where.csv"),
    ],
)
def test_bad_use_is_refused(office, words, said):
    assert said in refused(*words)
