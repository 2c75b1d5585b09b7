"""Re-rating through the API and from the shell: who may, what is shown, and the whole way with the worker that runs
beside the API."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from api import Api, api_on, roles_with
from postgres import TestedDatabase
from rerated import SINCE, UNTIL, Past, by_hand, charged, expected, past

from connectors.cli.app import Refused
from connectors.cli.commands import app

__all__ = ["by_hand"]

FACTORS = {"R-LARGE": 2, "W-SEV": 3}
TERMS = {"since": SINCE, "until": UNTIL, "reason": "wrong prices"}
WHY = {"reason": "a test"}


def told(database: TestedDatabase, story: Any) -> None:
    async def all_of_it() -> None:
        async with past(database) as there, api_on(there.db) as api:
            await there.change_prices(FACTORS)
            await story(there, api)

    asyncio.run(all_of_it())


async def until(api: Api, run: Any) -> Any:
    """The run when nothing is ordered any more: the worker of the system has done it."""
    async with asyncio.timeout(30):
        while True:
            found = await api.ok("GET", f"/api/reratings/{run['rerating_id']}", role="billing")
            if found["wanted"] is None:
                return found
            await asyncio.sleep(0.05)


async def previewed(api: Api, **terms: Any) -> Any:
    made = await api.ok("POST", "/api/reratings", role="billing", json={**TERMS, **terms})
    assert (made["state"], made["created_by"], made["summary"]) == ("draft", "billing1", None)
    ordered = await api.ok("POST", f"/api/reratings/{made['rerating_id']}/preview", role="billing", json=WHY)
    assert ordered["wanted"] == "preview"
    return await until(api, made)


def test_a_run_goes_from_its_terms_to_its_corrections_and_back(database: TestedDatabase) -> None:
    async def story(there: Past, api: Api) -> None:
        before = there.balances()
        run = await previewed(api)
        path = f"/api/reratings/{run['rerating_id']}"
        rated = {one["cdr_id"]: one for one in there.rated()}
        differing = expected(list(rated.values()), FACTORS)
        assert (run["state"], run["summary"]["differing"]) == ("previewed", len(differing))
        more = sum(new - old for old, new, _, _ in differing.values())
        cost = sum(new - old for _, _, old, new in differing.values())
        assert run["new_margin_micros"] - run["old_margin_micros"] == more - cost

        # What it comes to, by account and by call, in pages.
        accounts = (await api.ok("GET", f"{path}/accounts", role="billing"))["items"]
        assert -sum(one["effect_micros"] for one in accounts) == more
        calls, after = [], ""
        while after is not None:
            found = await api.ok("GET", f"{path}/items?limit=50{after}", role="billing")
            calls += found["items"]
            after = None if found["next"] is None else f"&after={found['next']}"
        assert {one["cdr_id"] for one in calls} == differing.keys()
        one = next(one for one in calls if one["new_retail_micros"] != one["old_retail_micros"])
        card = await api.ok("GET", f"{path}/items/{one['place']}", role="billing")
        assert card["old_retail"]["charge"] == rated[one["cdr_id"]]["retail"]
        assert card["new_retail"]["charge"]["amount_micros"] == charged(rated[one["cdr_id"]]["retail"], 2)
        assert "together" in card["new_retail"]["lines"][-1]
        assert card["called"] == rated[one["cdr_id"]]["called"]
        masked = await api.ok("GET", f"{path}/items/{one['place']}", role="sales")
        assert masked["called"] != card["called"]

        # Another one approves what he has seen.
        own = await api.ask("POST", f"{path}/approve", role="billing", json=WHY)
        assert own.status_code == 403
        other = await api.ask("POST", f"{path}/approve", role="manager", json={**WHY, "fingerprint": "0" * 64})
        assert other.status_code == 409
        assert "previewed anew meanwhile" in other.json()["detail"]
        early = await api.ask("POST", f"{path}/post", role="billing", json=WHY, once="early")
        assert early.status_code == 409
        seen = {**WHY, "fingerprint": run["fingerprint"]}
        approved = await api.ok("POST", f"{path}/approve", role="manager", json=seen)
        assert (approved["state"], approved["approved_by"]) == ("approved", "manager1")

        ordered = await api.ok("POST", f"{path}/post", role="billing", json=WHY, once="post")
        assert ordered["wanted"] == "post"
        again = await api.ask("POST", f"{path}/post", role="billing", json=WHY, once="post")
        assert again.headers["Idempotency-Replayed"] == "true"
        posted = await until(api, run)
        assert (posted["state"], posted["failure"]) == ("posted", None)
        await there.green()
        assert sum(before.values()) - sum(there.balances().values()) == more
        accounts = (await api.ok("GET", f"{path}/accounts", role="billing"))["items"]
        assert {one["command_state"] for one in accounts if one["effect_micros"]} == {"applied"}

        moved = next(one for one in accounts if one["effect_micros"])
        listed = await api.ok("GET", f"/api/accounts/{moved['account_id']}/corrections", role="sales")
        assert [(one["command_id"], one["amount_micros"], one["reference"]) for one in listed["items"]] == [
            (moved["command_id"], moved["effect_micros"], f"re-rating {run['rerating_id']}")
        ]

        # A corrected call shows it, and what was published stays.
        service, account_id = rated[one["cdr_id"]]["service"], one["account_id"]
        asked = {"service": service, "account_id": account_id, "limit": "1000"}
        rows = {row["cdr_id"]: row for row in (await api.ok("GET", "/api/cdrs", params=asked))["items"]}
        row = rows[one["cdr_id"]]
        assert row["retail_micros"] == one["old_retail_micros"]
        assert (row["corrected_by"], row["corrected_retail_micros"], row["corrected_wholesale_micros"]) == (
            run["rerating_id"],
            one["new_retail_micros"],
            one["new_wholesale_micros"],
        )
        assert all((row["corrected_by"] is not None) == (name in differing) for name, row in rows.items())

        twice = await api.ask("POST", f"{path}/post", role="billing", json=WHY, once="twice")
        assert twice.status_code == 409
        await api.ok("POST", f"{path}/roll-back", role="manager", json=WHY, once="back")
        assert (await until(api, run))["state"] == "rolled_back"
        await there.green()
        assert there.balances() == before
        rows = (await api.ok("GET", "/api/cdrs", params=asked))["items"]
        assert all(row["corrected_by"] is None for row in rows)

        # Who did what, when and why, stands in the audit.
        rows = (await api.ok("GET", "/api/audit?entity=rerating", role="auditor"))["items"]
        assert [(row["action"], row["actor"]) for row in reversed(rows)] == [
            ("created", "billing1"),
            ("preview ordered", "billing1"),
            ("previewed", "billing1"),
            ("approved", "manager1"),
            ("posting ordered", "billing1"),
            ("posting begun", "billing1"),
            ("posted", "billing1"),
            ("roll back ordered", "manager1"),
            ("roll back begun", "manager1"),
            ("taken back", "manager1"),
        ]

    told(database, story)


@pytest.mark.usefixtures("by_hand")
def test_calls_as_a_file_and_what_is_asked_amiss(database: TestedDatabase) -> None:
    async def story(there: Past, api: Api) -> None:
        run = await there.previewed(account_id="100201")
        path = f"/api/reratings/{run.rerating_id}"
        answer = await api.ask("GET", f"{path}/items/export", role="billing")
        assert answer.status_code == 200, answer.text
        lines = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=_separator(answer.text)))
        items = {row["cdr_id"]: row for row in await there.items(run)}
        assert {line["cdr_id"] for line in lines} == items.keys()
        for line in lines:
            retail = items[line["cdr_id"]]["new_retail_micros"]
            assert float(line["new_retail"].replace(",", ".") or 0) * 1_000_000 == pytest.approx(retail or 0)
            assert line["called"] == items[line["cdr_id"]]["called"]
        masked = await api.ask("GET", f"{path}/items/export", role="sales")
        assert not any(row["called"] in masked.text for row in items.values())
        cut = await api.ask("GET", f"{path}/items/export?limit=1", role="billing")
        assert cut.status_code == 422

        assert (await api.ask("GET", "/api/reratings/999", role="billing")).status_code == 404
        assert (await api.ask("GET", f"{path}/items/100000", role="billing")).status_code == 404
        amiss = await api.ask("POST", "/api/reratings", role="billing", json={**TERMS, "account_id": "nobody"})
        assert amiss.status_code == 422
        assert amiss.json()["errors"][0]["pointer"] == "/account_id"
        unknown = await api.ask("POST", "/api/reratings", role="billing", json={**TERMS, "reference_version": 99_999})
        assert unknown.status_code == 422
        assert "is not published" in unknown.json()["errors"][0]["detail"]
        for role in set(roles_with("money.see")) - set(roles_with("calls.rerate")):
            assert (await api.ask("POST", "/api/reratings", role=role, json=TERMS)).status_code == 403
            assert (await api.ask("GET", "/api/reratings", role=role)).status_code == 200

        second = await api.ok("POST", "/api/reratings", role="manager", json=TERMS)
        await api.ok("POST", f"/api/reratings/{second['rerating_id']}/cancel", role="manager", json=WHY)
        found = await api.ok("GET", "/api/reratings?state=cancelled", role="auditor")
        assert [one["rerating_id"] for one in found["items"]] == [second["rerating_id"]]
        gone = await api.ask("POST", f"/api/reratings/{second['rerating_id']}/preview", role="manager", json=WHY)
        assert gone.status_code == 409
        first = await api.ok("GET", "/api/reratings?limit=1", role="auditor")
        rest = await api.ok("GET", f"/api/reratings?limit=1&after={first['next']}", role="auditor")
        assert first["items"][0]["rerating_id"] > rest["items"][0]["rerating_id"]

    told(database, story)


def _separator(text: str) -> str:
    return ";" if ";" in text.splitlines()[0] else ","


@pytest.mark.usefixtures("by_hand")
def test_the_whole_way_from_the_shell(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = 0

    async def story(there: Past, api: Api) -> None:
        nonlocal more
        for name, role in (("boris", "billing"), ("boss", "manager"), ("sveta", "support")):
            await api.user(name, role)  # type: ignore[arg-type]
        more = sum(new - old for old, new, _, _ in expected(there.rated(), FACTORS).values())

    told(database, story)
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    monkeypatch.chdir(tmp_path)

    def tollgate(*words: str) -> str:
        app(["rerate", *words], exit_on_error=False, result_action="return_value")
        return capsys.readouterr().out

    def refused(*words: str) -> str:
        with pytest.raises(Refused) as caught:
            app(["rerate", *words], exit_on_error=False, result_action="return_value")
        return str(caught.value)

    terms = ("--since", SINCE, "--until", UNTIL, "--reason", "wrong prices")
    assert "may not prepare a re-rating" in refused("make", *terms, "--as", "sveta")
    assert "--prefix" in refused("make", *terms, "--prefix", "+381", "--as", "boris")
    assert "no account 'nobody'" in refused("make", *terms, "--account", "nobody", "--as", "boris")
    run = json.loads(tollgate("make", *terms, "--as", "boris", "--json"))
    number, total = str(run["rerating_id"]), run["summary"]["total"]
    assert run["state"] == "previewed"
    assert total["new_retail_micros"] - total["old_retail_micros"] == more
    assert "calls that differ" in tollgate("show", number)
    assert "R-LARGE" in tollgate("show", number)
    calls = json.loads(tollgate("items", number, "--json"))
    assert len(calls) == run["summary"]["differing"]
    assert calls[0]["old_charges"].keys() == {"retail", "wholesale"}
    assert f"Calls of re-rating {number}" in tollgate("items", number)
    assert json.loads(tollgate("items", number, "--account", "100201", "--json")) == [
        one for one in calls if one["account_id"] == "100201"
    ]

    assert "may not" in refused("approve", number, "--as", "boris")
    assert "only what is approved" in refused("post", number, "--as", "boris")
    assert json.loads(tollgate("approve", number, "--as", "boss", "--json"))["state"] == "approved"
    assert json.loads(tollgate("post", number, "--as", "boris", "--json"))["state"] == "posted"
    shown = json.loads(tollgate("show", number, "--json"))
    assert (
        -sum(one["sums"]["new_retail_micros"] - one["sums"]["old_retail_micros"] for one in shown["accounts"]) == -more
    )
    # The engine does not run: nothing is taken back before it has said something.
    assert "has not carried out" in refused("roll-back", number, "--reason", "a mistake", "--as", "boss")
    assert "posted already" in refused("post", number, "--as", "boris")
    assert "there is no re-rating '77'" in refused("show", "77")
    assert json.loads(tollgate("list", "--json"))[0]["reason"] == "wrong prices"
    assert "posted" in tollgate("list")
