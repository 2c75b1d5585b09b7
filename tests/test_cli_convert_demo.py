"""`tollgate convert` and `tollgate demo` from outside, and the two switches' files that the demonstration brings.

Each command runs in a process of its own, as people and programs run it.
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

from connectors.convert import BadRow, ConvertSettings, convert
from engine.rating import Moments, moments
from schemas.codec import decode_cdr, encode
from schemas.decisions import REASON_CODES
from schemas.events import Cdr

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "connectors" / "sample" / "data"
MASTER = SAMPLES / "asterisk-Master.csv"
LEGS = SAMPLES / "freeswitch-cdr.json"

MAPPING = """
[columns]
called = "to"
started_at = "begin"
answered_at = "answer"
ended_at = "end"
"""
GOOD_ROW = "8(495) 200-0-200,2026-11-24T18:30:00Z,2026-11-24T18:30:07Z,2026-11-24T18:32:12Z"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    def events(self) -> list[dict[str, Any]]:
        """Standard output, which must be JSON lines and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder, where no `tollgate.toml` of ours lies."""
    monkeypatch.chdir(tmp_path)


def tollgate(*arguments: object) -> Ran:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    ran = subprocess.run(
        [sys.executable, "-c", "from connectors.cli import main; main()", *map(str, arguments)],
        env=inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def refused(ran: Ran, *words: str) -> bool:
    """Exit code 2, the reason on standard error, no traceback, nothing on standard output."""
    assert "Traceback" not in ran.err, ran.err
    assert all(word in ran.err for word in words), ran.err
    return ran.code == 2 and ran.out == ""


def written(name: str, *lines: str) -> Path:
    path = Path(name)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


# --- The files that the demonstration brings


def sample(name: str) -> Iterator[Cdr | BadRow]:
    if name == "asterisk":
        known = {trunk: trunk for trunk in ("sever", "megafon", "baltika")}
        chosen = ConvertSettings(
            switch_id="msk-1", time_zone="Europe/Moscow", providers=known, services={"from-trunk": "incoming"}
        )
        return convert("asterisk", MASTER, chosen)
    return convert("freeswitch", LEGS, ConvertSettings(switch_id="any", providers={"sever": "SEV"}))


@pytest.mark.parametrize(
    ("name", "good", "bad", "skipped"), [("asterisk", 20, [(18, "dst 's'")], []), ("freeswitch", 20, [], [3])]
)
def test_all_of_a_sample_file_is_read_but_what_it_has_wrong_on_purpose(
    name: str, good: int, bad: list[tuple[int, str]], skipped: list[int]
) -> None:
    outcomes = list(sample(name))
    found = [outcome for outcome in outcomes if isinstance(outcome, BadRow)]
    assert len(outcomes) - len(found) == good
    assert [row.line for row in found if row.skipped] == skipped
    told = [row for row in found if not row.skipped]
    assert [row.line for row in told] == [line for line, _ in bad]
    assert all(words in row.message for row, (_, words) in zip(told, bad, strict=True))


@pytest.mark.parametrize("name", ["asterisk", "freeswitch"])
def test_the_engine_takes_every_cdr_of_a_sample_file(name: str) -> None:
    found = [outcome for outcome in sample(name) if isinstance(outcome, Cdr)]
    assert len({cdr.cdr_id for cdr in found}) == len(found)
    for cdr in found:
        assert decode_cdr(encode(cdr)) == cdr
        times = moments(cdr)
        assert isinstance(times, Moments)
        assert times.billable_seconds == cdr.billable_seconds
        assert (cdr.answered_at is not None) or cdr.billable_seconds == 0


SAMPLE_CDRS = {
    ("asterisk", "answered through a provider"): Cdr(
        cdr_id="msk-1-1795500725.41212",
        attempt_id="msk-1-1795500725.41212",
        switch_id="msk-1",
        service="outgoing",
        account_id="100200",
        caller="74951234567",
        called="74952223344",
        provider_id="sever",
        started_at="2026-11-24T06:12:05.000Z",
        answered_at="2026-11-24T06:12:12.000Z",
        ended_at="2026-11-24T06:15:16.000Z",
        billable_seconds=184,
        cause="normal",
    ),
    ("asterisk", "abroad by 8 10, never answered"): Cdr(
        cdr_id="msk-1-1795501260.41294",
        attempt_id="msk-1-1795501260.41294",
        switch_id="msk-1",
        service="outgoing",
        account_id="100200",
        caller="74951234567",
        called="381114112060",
        started_at="2026-11-24T06:21:00.000Z",
        ended_at="2026-11-24T06:21:00.000Z",
        billable_seconds=0,
        cause="failed",
    ),
    ("asterisk", "a hidden caller who left the queue, whatever the queue had answered"): Cdr(
        cdr_id="msk-1-1795504032.41394",
        attempt_id="msk-1-1795504032.41394",
        switch_id="msk-1",
        service="incoming",
        account_id="100201",
        called="74951112233",
        started_at="2026-11-24T07:07:12.000Z",
        ended_at="2026-11-24T07:08:12.000Z",
        billable_seconds=0,
        cause="no_answer",
    ),
    ("asterisk", "over midnight"): Cdr(
        cdr_id="msk-1-1795553920.41570",
        attempt_id="msk-1-1795553920.41570",
        switch_id="msk-1",
        service="outgoing",
        account_id="100208",
        caller="78124455600",
        called="79213334455",
        provider_id="megafon",
        started_at="2026-11-24T20:58:40.000Z",
        answered_at="2026-11-24T20:58:49.000Z",
        ended_at="2026-11-24T21:03:13.000Z",
        billable_seconds=264,
        cause="normal",
    ),
    ("freeswitch", "73.2 seconds, so 74"): Cdr(
        cdr_id="135d63cf-1293-424c-802a-2e8f96fc5ce8",
        attempt_id="52a5d423bdfaef42@198.51.100.60",
        switch_id="any",
        service="outgoing",
        account_id="100208",
        caller="78124455600",
        called="78122334455",
        provider_id="SEV",
        started_at="2026-11-24T07:00:01.793Z",
        answered_at="2026-11-24T07:00:08.193Z",
        ended_at="2026-11-24T07:01:21.394Z",
        billable_seconds=74,
        cause="normal",
    ),
    ("freeswitch", "a number that nobody has, so nobody's account"): Cdr(
        cdr_id="964f28f9-8ca6-4719-bcee-1c2b48d7bd4c",
        attempt_id="7b107c1557d0a6b6@198.51.100.193",
        switch_id="any",
        service="outgoing",
        caller="79219990011",
        called="78124455602",
        started_at="2026-11-24T08:41:00.554Z",
        ended_at="2026-11-24T08:41:00.615Z",
        billable_seconds=0,
        cause="unallocated_number",
    ),
}


@pytest.mark.parametrize(("name", "what"), SAMPLE_CDRS)
def test_a_row_of_a_sample_file_is_the_call_that_it_was(name: str, what: str) -> None:
    expected = SAMPLE_CDRS[name, what]
    assert [outcome for outcome in sample(name) if isinstance(outcome, Cdr) and outcome.cdr_id == expected.cdr_id] == [
        expected
    ]


# --- tollgate convert


def test_good_rows_go_to_standard_output_and_a_bad_one_to_standard_error_with_its_file_and_line() -> None:
    ran = tollgate("convert", "--format=asterisk", "--time-zone=Europe/Moscow", MASTER)
    assert ran.code == 1
    assert len(ran.events()) == 20
    assert all(event["type"] == "cdr" for event in ran.events())
    # To a switch a subscriber's phone is a trunk too: none is a provider unless an option says so.
    assert all(event["provider_id"] is None for event in ran.events())
    complaint, summary = ran.err.splitlines()
    assert complaint.startswith(f"{MASTER}:18: dst 's' is no phone number")
    assert summary == "20 CDRs, 0 left out (other legs), 1 rows that could not be read"


def test_a_leg_left_out_on_purpose_is_counted_and_is_no_mistake() -> None:
    ran = tollgate("convert", "--format=freeswitch", LEGS)
    assert (ran.code, len(ran.events())) == (0, 20)
    assert ran.err == "20 CDRs, 1 left out (other legs), 0 rows that could not be read\n"


def test_both_legs_and_trunks_that_nobody_named_are_taken_when_asked_for() -> None:
    ran = tollgate("convert", "--format=freeswitch", "--legs=both", "--trunks-are-providers", LEGS)
    assert (ran.code, len(ran.events())) == (0, 21)
    assert {"sever", "megafon", "baltika", None} <= {event["provider_id"] for event in ran.events()}


def test_what_the_file_does_not_say_is_said_by_options() -> None:
    ran = tollgate(
        "convert",
        "--format=asterisk",
        "--switch=msk-7",
        "--time-zone=Europe/Moscow",
        "--service=forwarding",
        "--context=from-trunk=incoming",
        "--context=from-internal=intra_office",
        "--provider=PJSIP/sever=SEV",
        "--provider=megafon=MEG",
        "--place=msk",
        MASTER,
    )
    events = ran.events()
    assert {event["switch_id"] for event in events} == {"msk-7"}
    assert {event["place"] for event in events} == {"msk"}
    assert {event["provider_id"] for event in events} == {"SEV", "MEG", None}
    assert {event["service"] for event in events} == {"forwarding", "incoming", "intra_office"}
    assert events[0]["started_at"] == "2026-11-24T06:12:05.000Z"


def test_any_csv_is_read_by_its_mapping_and_numbers_as_people_write_them() -> None:
    mapping = written("map.toml", MAPPING)
    file = written("calls.csv", "to,begin,answer,end", GOOD_ROW, "nobody,2026-11-24T18:30:00Z,,2026-11-24T18:30:00Z")
    ran = tollgate("convert", "--format=csv", f"--mapping={mapping}", "--account=100999", file)
    (event,) = ran.events()
    assert (event["called"], event["account_id"], event["billable_seconds"]) == ("74952000200", "100999", 125)
    assert ran.code == 1
    assert "calls.csv:3: called 'nobody'" in ran.err


def test_numbers_stay_as_written_when_they_are_e164_already() -> None:
    mapping = written("map.toml", MAPPING)
    row = GOOD_ROW.replace("8(495) 200-0-200", "81312345678")
    file = written("calls.csv", "to,begin,answer,end", row)
    ran = tollgate("convert", "--format=csv", f"--mapping={mapping}", "--numbers-as-written", file)
    # Japan; the rule of numbers typed by hand would make it 71312345678.
    assert [event["called"] for event in ran.events()] == ["81312345678"]


def test_several_files_follow_one_another_and_what_is_wrong_names_its_own() -> None:
    rows = MASTER.read_bytes().splitlines(keepends=True)
    packed, empty, damaged, plain = (Path(name) for name in ("a.csv.gz", "b.csv", "c.csv.gz", "d.csv"))
    packed.write_bytes(gzip.compress(b"".join(rows[:2])))
    empty.touch()
    damaged.write_bytes(gzip.compress(rows[2])[:-8])
    plain.write_bytes(rows[3] + b'"100200","7495\n' + rows[4])
    ran = tollgate("convert", "--format=asterisk", packed, empty, damaged, plain)
    assert [event["cdr_id"].rpartition(".")[2] for event in ran.events()] == [
        "41212",
        "41213",
        "41216",
        "41225",
        "41264",
    ]
    assert ran.code == 1
    first, second, summary = ran.err.splitlines()
    assert first.startswith("c.csv.gz:2: the gzip file is damaged")
    assert second.startswith("d.csv:2: ")
    assert summary == "5 CDRs, 0 left out (other legs), 2 rows that could not be read"


def test_a_header_without_the_columns_of_the_mapping_is_told() -> None:
    ran = tollgate("convert", "--format=csv", f"--mapping={written('m.toml', MAPPING)}", written("c.csv", "to,begin"))
    assert ran.code == 1
    assert "c.csv:1: the header has no column 'answer'" in ran.err
    assert "c.csv:1: the header has no column 'end'" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format=asterisk"], ["name at least one CDR file"]),
        (["--format=opensips", MASTER], ["asterisk", "freeswitch", "csv"]),
        (["--format=asterisk", MASTER, "missing.csv"], ["missing.csv: no such file"]),
        (["--format=asterisk", "--time-zone=Europe/Moskva", MASTER], ["time_zone 'Europe/Moskva' is unknown"]),
        (["--format=asterisk", "--switch=", f"--place={'x' * 65}", MASTER], ["switch_id", "place"]),
        (["--format=asterisk", "--provider=megafon", MASTER], ["--provider 'megafon': write it as NAME=VALUE"]),
        (["--format=csv", MASTER], ["--mapping"]),
        (["--format=csv", "--mapping=missing.toml", MASTER], ["missing.toml"]),
    ],
)
def test_bad_use_is_refused_before_anything_is_written(arguments: list[object], words: list[str]) -> None:
    assert refused(tollgate("convert", *arguments), *words)


def test_all_mistakes_of_a_mapping_are_told_at_once() -> None:
    mapping = written("map.toml", '[file]\ndelimiter = ";;"\n[columns]\ncaled = "to"\n[times]\nzone = "Moscow"')
    ran = tollgate("convert", "--format=csv", f"--mapping={mapping}", MASTER)
    assert refused(
        ran,
        "map.toml can't be used",
        "file.delimiter",
        "columns.caled",
        "columns.called",
        "columns.started_at",
        "columns.ended_at",
        "columns.answered_at",
        "times.zone",
    )


# --- tollgate demo


class Demonstration(NamedTuple):
    ran: Ran
    folder: Path

    def numbers(self) -> dict[str, str]:
        """The summary's lines by their names; "decisions: lock" is the line lock below decisions."""
        found, above = {}, ""
        for line in self.ran.out.splitlines():
            if line.startswith(" ") and len(pair := line.strip().rsplit(maxsplit=1)) == 2:
                if line.startswith("   "):
                    found[f"{above}: {pair[0]}"] = pair[1]
                else:
                    above = pair[0]
                    found[above] = pair[1]
        return found

    def results(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "results" / name
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("demo")
    return Demonstration(tollgate("demo", "--attempts", 300, "--folder", folder, "--once"), folder)


def test_the_demonstration_runs_and_writes_all_that_it_names(shown: Demonstration) -> None:
    assert (shown.ran.code, shown.ran.err) == (0, "")
    for name in ("accounts", "bands", "discounts", "locks", "numbers", "price_lists", "prices", "providers"):
        assert (shown.folder / "reference" / f"{name}.csv").stat().st_size > 0
    assert len(list((shown.folder / "events").glob("traffic-*.jsonl.gz"))) == 4
    assert {path.name for path in (shown.folder / "results").iterdir()} == {
        "account-balances.jsonl",
        "account-movements.jsonl",
        "decisions.jsonl",
        "notices.jsonl",
        "number-ncv.jsonl",
        "rated-cdrs.jsonl",
        "rejected-events.jsonl",
    }
    assert all(path.stat().st_size > 0 for path in (shown.folder / "results").iterdir())


def test_the_summary_of_the_demonstration_has_every_reason(shown: Demonstration) -> None:
    numbers = shown.numbers()
    assert {code for code in REASON_CODES if int(numbers.get(f"decisions: {code}", "0")) < 1} == set()
    assert int(numbers["decisions: allowed"]) > 100


def test_the_summary_of_the_demonstration_counts_what_the_files_hold(shown: Demonstration) -> None:
    numbers = shown.numbers()
    rated = shown.results("rated-cdrs.jsonl")
    assert int(numbers["rated CDRs"]) == len(rated)
    assert int(numbers["rated CDRs: answered"]) == sum(row["answered_at"] is not None for row in rated)
    assert int(numbers["rejected events"]) == len(shown.results("rejected-events.jsonl"))
    decisions = len(shown.results("decisions.jsonl"))
    assert int(numbers["decisions"]) == decisions
    # Each stands in one line, the first that fits.
    lines = ("allowed", "repeated", "extended", "emergency", *REASON_CODES)
    assert sum(int(numbers[f"decisions: {line}"]) for line in lines) == decisions


def test_the_calls_of_the_switches_are_all_rated_or_rejected(shown: Demonstration) -> None:
    told = {row["cdr_id"] for row in shown.results("rated-cdrs.jsonl")}
    for name in ("asterisk", "freeswitch"):
        lines = (shown.folder / "events" / f"{name}.jsonl").read_bytes().splitlines()
        assert len(lines) == 20
        assert {decode_cdr(line).cdr_id for line in lines} <= told
    assert "asterisk-Master.csv: 20 CDRs" in shown.ran.out
    assert "asterisk-Master.csv:18: dst 's'" in shown.ran.out


def test_the_demonstration_explains_a_call_that_a_lock_denied(shown: Demonstration) -> None:
    (told,) = [line for line in shown.ran.out.splitlines() if line.startswith("attempt ")]
    attempt_id = told.split()[1]
    (decision,) = [row for row in shown.results("decisions.jsonl") if row.get("attempt_id") == attempt_id]
    assert decision["allow"] is False
    assert decision["reason"]["code"] == "lock"
    assert f"lock {decision['reason']['lock_id']} " in told
    assert decision["reason"]["author"] in told


def test_the_questions_that_the_demonstration_proposes_can_be_asked(shown: Demonstration) -> None:
    reference = shown.folder / "reference"
    for what in ("lock", "tariff"):
        assert f"tollgate check {what} --reference {reference} --account 100200" in shown.ran.out
        asked = tollgate("check", what, "--reference", reference, "--account", "100200", "+381 11 411 20 60")
        assert asked.code in (0, 1)
        assert "381114112060" in asked.out


def test_another_seed_shows_another_hour(shown: Demonstration, tmp_path: Path) -> None:
    other = tollgate("demo", "--attempts", 300, "--seed", 2, "--folder", tmp_path, "--once")
    assert other.code == 0
    assert (tmp_path / "results" / "rated-cdrs.jsonl").read_bytes() != (
        shown.folder / "results" / "rated-cdrs.jsonl"
    ).read_bytes()


def test_the_books_of_the_demonstration_agree(shown: Demonstration) -> None:
    balances = shown.results("account-balances.jsonl")
    assert f"agree on {len(balances):,} accounts, to the micro" in shown.ran.out


def test_the_demonstration_serves_until_it_is_stopped_and_begins_anew(tmp_path: Path) -> None:
    for attempts in (120, 150):
        with serving(tmp_path, attempts) as (process, told):
            key = re.search(r"^manager .* Bearer (\S+)$", told, re.MULTILINE)
            assert key is not None, told
            questions = re.findall(r"^  curl .* '?(http://\S+?)'?$", told, re.MULTILINE)
            assert len(questions) == 3, told
            for question in questions:
                asked = Request(question, headers={"Authorization": f"Bearer {key[1]}"})
                with urlopen(asked) as answer:
                    assert json.load(answer)
            console = re.search(r"^The console is at (\S+)$", told, re.MULTILINE)
            assert console is not None, told
            with urlopen(console[1]) as answer:
                assert "Войти" in answer.read().decode()
            again = tollgate("demo", "--folder", tmp_path)
            assert refused(again, "a demonstration runs in", "already")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        assert int(re.findall(r"^ decisions +(\d+)", told, re.MULTILINE)[0]) in range(attempts, 2 * attempts)


@contextmanager
def serving(folder: Path, attempts: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demonstration that serves, and what it has said so far."""
    arguments = ["demo", "--attempts", str(attempts), "--folder", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from connectors.cli import main; main()", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = ""
    try:
        while "Ctrl-C" not in told:
            line = process.stdout.readline()
            assert line, f"it ended: {told}"
            told += line
        yield process, told
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
