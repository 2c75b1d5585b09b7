"""The sample operator: a reference folder that loads, and an hour of traffic that means what it says to the engine."""

import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA

from connectors.cli.app import load_reference
from connectors.replay import replay
from connectors.sample.operator import write_reference
from connectors.sample.prefixes import collapsed
from connectors.sample.spoiled import spoiled_lines
from connectors.sample.traffic import ATTEMPTS, BESIDE, write_traffic
from engine.settings import EngineSettings
from schemas.codec import UNREADABLE, decode_event
from schemas.decisions import REASON_CODES
from schemas.events import CallAttempt, Cdr
from schemas.times import to_us

ATTEMPTS_MADE = 4000
DATA = Path(__file__).parent.parent / "connectors" / "sample" / "data"

HEADERS = {
    "accounts.csv": "account_id,client_id,tariff_plan_id,payment_mode,currency,balance,credit_limit,critical_balance,"
    "status,place,max_concurrent_calls",
    "providers.csv": "provider_id,name,priority,place,pdgi,own",
    "tariff_plans.csv": "tariff_plan_id,price_list_id,priority,forbid_loss",
    "price_lists.csv": "price_list_id,name,kind,provider_id,currency,rounding,decimals,valid_from,valid_to",
    "prices.csv": "price_list_id,prefix,service,place,incoming_service,band_id,from_second,connect_fee,price,"
    "per_seconds,step_seconds,min_charge,max_charge,valid_from,valid_to",
    "bands.csv": "band_id,weekdays,start,end,dates,time_zone,weight",
    "locks.csv": "lock_id,kind,digits,account_id,provider_id,author,reason,created_at",
    "numbers.csv": "number,status,account_id,place,region,provider_id,fmtn,joined_on,archived_on,saleable",
    "discounts.csv": "account_id,service,percent,valid_from,valid_to",
}

WRITE_BOTH = """
import sys
from pathlib import Path
from connectors.sample.operator import write_reference
from connectors.sample.traffic import write_traffic
folder = Path(sys.argv[1])
write_reference(folder / "reference", seed=int(sys.argv[2]), accounts=80)
write_traffic(folder / "traffic", folder / "reference", seed=int(sys.argv[2]), attempts=800)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, accounts=400)
    return folder


@pytest.fixture(scope="module")
def traffic(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_traffic(tmp_path_factory.mktemp("traffic"), reference, attempts=ATTEMPTS_MADE)


@pytest.fixture(scope="module")
def outcome(reference: Path, traffic: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    out = tmp_path_factory.mktemp("out")
    settings = EngineSettings()
    replay(settings, load_reference(reference, settings), traffic, out)
    return {
        path.stem: [json.loads(line) for line in path.read_bytes().splitlines()] for path in sorted(out.glob("*.jsonl"))
    }


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with gzip.open(path) as file:
            yield from file


def events(files: list[Path]) -> Iterator[Any]:
    """The readable events, but for those whose times are impossible."""
    for line in lines(files):
        if b'"spoiled-' not in line:
            try:
                yield decode_event(line)
            except UNREADABLE:
                continue


def test_the_folder_has_the_columns_of_the_contract(reference: Path) -> None:
    headers = {path.name: path.read_text(encoding="utf-8").partition("\n")[0] for path in sorted(reference.iterdir())}

    assert headers == HEADERS


def test_prefixes_are_real(reference: Path) -> None:
    known = {prefix[:n] for table in (GEOCODE_DATA, CARRIER_DATA) for prefix in table for n in range(1, 8)}
    known |= {str(code) for code in COUNTRY_CODE_TO_REGION_CODE} | {"", "7800"}

    priced = {row["prefix"] for row in rows(reference, "prices.csv")}

    assert sorted(priced - known) == []
    assert len(priced) > 5000


def test_ten_siblings_that_agree_become_their_parent() -> None:
    table = {f"381{digit}": "A" for digit in range(10)} | {"38111": "B", "38112": "A"}

    assert collapsed(table) == {"381": "A", "38111": "B"}


def test_prices_name_their_service_so_that_none_holds_for_inbound_calls(reference: Path) -> None:
    services = {row["service"] for row in rows(reference, "prices.csv")}
    incoming = [row["prefix"] for row in rows(reference, "prices.csv") if row["service"] == "incoming"]

    assert services == {"outgoing", "forwarding", "incoming", "calls_rec", "calls_rec_unlim"}
    assert incoming == ["7800"]


def test_prices_are_said_to_be_invented(reference: Path) -> None:
    assert all("invented prices" in row["name"] for row in rows(reference, "price_lists.csv"))


def test_only_megafon_carries_calls_to_serbia_and_the_guides_account_has_a_lock_on_it(reference: Path) -> None:
    provider = {row["price_list_id"]: row["provider_id"] for row in rows(reference, "price_lists.csv")}
    wholesale = {
        provider[row["price_list_id"]]
        for row in rows(reference, "prices.csv")
        if row["prefix"].startswith("381") and row["price_list_id"].startswith("W-")
    }
    locks = [row for row in rows(reference, "locks.csv") if row["account_id"] == "100200"]

    assert wholesale == {"megafon"}
    assert [(row["digits"], row["provider_id"], row["author"]) for row in locks] == [("38", "megafon", "ivanov")]


def test_numbers_stand_in_all_four_statuses(reference: Path) -> None:
    numbers = rows(reference, "numbers.csv")
    status = {row["number"]: row["status"] for row in numbers}

    assert set(status.values()) == {"free", "reserved", "in_use", "archive"}
    assert len(status) == len(numbers)
    assert (status["74956460403"], status["74951201031"]) == ("archive", "archive")


@pytest.mark.parametrize("accounts", [0, 30])
def test_the_fixed_accounts_are_there_however_few_are_asked_for(tmp_path: Path, accounts: int) -> None:
    write_reference(tmp_path, seed=7, accounts=accounts)
    ids = [row["account_id"] for row in rows(tmp_path, "accounts.csv")]

    assert len(ids) == len(set(ids)) == max(12, accounts)
    assert ids[0] == "100200"


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    def digest(name: str, hash_seed: str, seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        folder = tmp_path / name
        subprocess.run([sys.executable, "-c", WRITE_BOTH, folder, seed], check=True, env=environment)
        digests = hashlib.sha256()
        for path in sorted(folder.rglob("*.*")):
            digests.update(path.name.encode() + path.read_bytes())
        return digests.hexdigest()

    first = digest("first", "1", "5")

    assert digest("second", "2", "5") == first
    assert digest("third", "1", "6") != first


def test_there_is_a_file_for_each_quarter_of_an_hour(traffic: list[Path]) -> None:
    quarters = ("T090000Z", "T091500Z", "T093000Z", "T094500Z")

    assert [path.name for path in traffic] == [f"traffic-20261124{quarter}.jsonl.gz" for quarter in quarters]
    second = next(event for event in events(traffic[1:]) if isinstance(event, CallAttempt))
    assert second.at.startswith("2026-11-24T09:15:")


def test_there_are_as_many_attempts_as_asked_for(traffic: list[Path]) -> None:
    ids = {event.attempt_id for event in events(traffic) if isinstance(event, CallAttempt)}

    assert abs(len(ids) - ATTEMPTS_MADE) < ATTEMPTS_MADE // 100


def test_events_come_in_the_order_of_their_arrival(traffic: list[Path]) -> None:
    seen: set[str] = set()
    now_us = 0
    ended_us = 0  # of the latest call whose CDR has come
    for event in events(traffic):
        if isinstance(event, Cdr):
            ended_us = max(ended_us, to_us(event.ended_at))
            continue
        if isinstance(event, CallAttempt):
            if event.attempt_id in seen:
                continue  # a repetition has the time of the first
            seen.add(event.attempt_id)
        assert now_us <= to_us(event.at)
        assert ended_us <= to_us(event.at)
        now_us = to_us(event.at)


def test_a_call_comes_before_its_cdr_and_lasts_as_long_as_the_cdr_says(traffic: list[Path]) -> None:
    attempts: set[str] = set()
    orphans = 0
    longer = 0
    for event in events(traffic):
        if isinstance(event, CallAttempt):
            attempts.add(event.attempt_id)
        elif isinstance(event, Cdr):
            orphans += event.attempt_id not in attempts
            if event.answered_at is None:
                assert event.billable_seconds == 0
            else:
                talked_us = to_us(event.ended_at) - to_us(event.answered_at)
                longer += event.billable_seconds != -(-talked_us // 1_000_000)

    assert 0 < orphans < 200  # recordings, and some whose set-up got lost
    assert 0 < longer < 20  # ids used again with another content


def test_lines_that_are_no_events_are_all_there(traffic: list[Path]) -> None:
    sent = {line.rstrip(b"\n") for line in lines(traffic)}

    assert set(spoiled_lines(to_us("2026-11-24T09:00:00.000Z"))) <= sent


def test_a_few_call_centres_make_half_of_the_calls(traffic: list[Path]) -> None:
    calls = Counter(
        event.account_id for event in events(traffic) if isinstance(event, CallAttempt) and event.service == "outgoing"
    )

    assert sum(count for _, count in calls.most_common(4)) * 2 > calls.total()


def test_the_engine_denies_for_every_reason(outcome: dict[str, list[Any]]) -> None:
    denied = Counter(d["reason"]["code"] for d in outcome["decisions"] if not d["allow"])

    assert sorted(denied) == sorted(REASON_CODES)


def test_the_engine_allows_each_call_that_gets_a_cdr(outcome: dict[str, list[Any]]) -> None:
    granted = {d["attempt_id"]: d["max_seconds"] for d in outcome["decisions"] if d["allow"]}

    assert [cdr["cdr_id"] for cdr in outcome["rated-cdrs"] if cdr.get("denied")] == []
    for cdr in outcome["rated-cdrs"]:
        if cdr["attempt_id"] in granted and not cdr.get("emergency"):
            assert cdr["billable_seconds"] <= granted[cdr["attempt_id"]]


def test_the_engine_meets_every_oddity(outcome: dict[str, list[Any]]) -> None:
    rejected = {event["reason"] for event in outcome["rejected-events"]}
    decisions, cdrs = outcome["decisions"], outcome["rated-cdrs"]

    assert {"id_reused", "unknown_account", "unknown_provider"} <= rejected
    for mark in ("repeated", "emergency", "negative_margin", "extension"):
        assert any(decision.get(mark) for decision in decisions), mark
    for mark in ("late", "no_attempt", "emergency"):
        assert any(cdr.get(mark) for cdr in cdrs), mark
    assert {notice["kind"] for notice in outcome["notices"]} == {"critical_balance", "money_exhausted"}
    assert {cdr["service"] for cdr in cdrs} == {"outgoing", "forwarding", "incoming", "intra_office", "calls_rec"}


def test_unwanted_calls_are_counted_for_numbers_in_quarantine_and_their_callers_come_back(
    reference: Path, outcome: dict[str, list[Any]]
) -> None:
    status = {row["number"]: row["status"] for row in rows(reference, "numbers.csv")}
    counted = outcome["number-ncv"]

    assert {status[ncv["number"]] for ncv in counted} == {"archive", "free", "reserved"}
    assert any(ncv["unique_callers"] < ncv["calls"] for ncv in counted)


def test_every_scenario_occurs_in_short_traffic_too(reference: Path, tmp_path: Path) -> None:
    files = write_traffic(tmp_path, reference, seconds=600, attempts=120)
    kinds = Counter(type(event).__name__ for event in events(files))

    assert len(files) == 1
    assert len(ATTEMPTS) + len(BESIDE) < 120
    assert {"CallExtension", "CallRelease", "Payment", "TopUp", "WriteOff", "Block", "Unblock", "Close"} <= set(kinds)


def test_the_switches_files_speak_of_accounts_and_numbers_of_the_operator(reference: Path) -> None:
    held = {row["number"]: row["account_id"] for row in rows(reference, "numbers.csv")}
    accounts = {row["account_id"] for row in rows(reference, "accounts.csv")}
    with (DATA / "asterisk-Master.csv").open(encoding="utf-8", newline="") as file:
        asterisk = [(row[0], row[1], row[2]) for row in csv.reader(file)]
    freeswitch = []
    for line in (DATA / "freeswitch-cdr.json").read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        profile = document["callflow"][0]["caller_profile"]
        account = document["variables"].get("accountcode", "")
        freeswitch.append((account, profile["caller_id_number"], profile["destination_number"]))

    for account, caller, called in asterisk + freeswitch:
        assert account in accounts | {""}
        assert account in (held.get(caller), held.get(called)) or caller == "79161112233" or called == "s"
