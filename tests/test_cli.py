"""The command line from outside: exit codes, what stands on which stream, and that nothing is left half done.

Each command runs in a process of its own, as people and programs run it.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard
from cyclopts import App
from golden.update import FOLDER as GOLDEN

from connectors.cli.commands import app
from connectors.cli.entry import MODULES

ROOT = Path(__file__).parent.parent
FORBIDDEN = GOLDEN / "forbidden_regions"
EVENING = GOLDEN / "prepaid_evening"
REFERENCE = f"--reference={FORBIDDEN / 'reference'}"
EVENTS = str(FORBIDDEN / "events.jsonl")
AT = "--at=2026-11-24T18:30:00.000Z"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in an empty folder: a `tollgate.toml` there is its own."""
    monkeypatch.chdir(tmp_path)


def tollgate(*arguments: str, standard_input: bytes = b"", environment: dict[str, str] | None = None) -> Ran:
    """Runs the command; `environment` are variables beside the inherited ones, of which no setting is taken over."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    ran = subprocess.run(
        [sys.executable, "-c", "from connectors.cli import main; main()", *arguments],
        env=inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | (environment or {}),
        input=standard_input,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def replay(*arguments: str, standard_input: bytes = b"", environment: dict[str, str] | None = None) -> Ran:
    return tollgate(
        "replay", REFERENCE, "--out=out", *arguments, standard_input=standard_input, environment=environment
    )


def nothing_was_written() -> bool:
    return not Path("out").exists() or not any(Path("out").iterdir())


def refused(ran: Ran, *words: str) -> bool:
    """Exit code 2, the reason on standard error, no traceback, nothing on standard output."""
    assert "Traceback" not in ran.err, ran.err
    assert all(word in ran.err for word in words), ran.err
    return ran.code == 2 and ran.out == ""


# -- the command itself -----------------------------------------------------------------------------------------------


def test_help_lists_the_commands() -> None:
    ran = tollgate("--help")

    assert ran.code == 0
    assert all(command in ran.out for command in ("replay", "check", "config"))


@pytest.mark.parametrize("command", [["replay"], ["check"], ["check", "lock"], ["check", "tariff"], ["config"]])
def test_every_command_has_help(command: list[str]) -> None:
    ran = tollgate(*command, "--help")

    assert ran.code == 0
    assert "Usage: tollgate" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["transmogrify"],
        ["check", "transmogrify", REFERENCE],
        ["config", "--colour"],
        ["replay", REFERENCE, "--out=out", "--colour=red", EVENTS],
    ],
)
def test_an_unknown_command_or_option_is_bad_use(arguments: list[str]) -> None:
    assert refused(tollgate(*arguments), "nknown")


def test_the_version_is_the_packages() -> None:
    assert tollgate("--version").out.strip() == "0.1.0"


# -- replay -----------------------------------------------------------------------------------------------------------


def test_a_replay_tells_people_what_it_came_to() -> None:
    ran = replay(EVENTS)

    assert ran.code == 0
    assert ran.err == ""
    assert "decisions" in ran.out
    assert "76.175" in ran.out  # the revenue


def test_the_summary_as_json_agrees_with_the_files() -> None:
    ran = tollgate(
        "replay", f"--reference={EVENING / 'reference'}", "--out=out", "--json", str(EVENING / "events.jsonl")
    )

    assert ran.code == 0
    found = ran.json()
    rated = records("rated-cdrs.jsonl")
    assert found["events"] == len((EVENING / "events.jsonl").read_bytes().splitlines())
    assert sum(found["decisions"].values()) == len(records("decisions.jsonl"))
    assert found["rated_cdrs"] == len(rated)
    assert found["seconds"] == sum(record["billable_seconds"] for record in rated)
    assert found["revenue_micros"] == sum(record["retail"]["amount_micros"] for record in rated if record["retail"])
    assert found["cost_micros"] == sum(record["wholesale"]["amount_micros"] for record in rated if record["wholesale"])
    assert found["margin_micros"] == found["revenue_micros"] - found["cost_micros"]
    assert sum(found["rejected"].values()) == len(records("rejected-events.jsonl"))
    assert sum(found["movements"].values()) == len(records("account-movements.jsonl"))
    assert found["movements"]["opening"] == len(records("account-balances.jsonl"))
    assert found["notices"] == len(records("notices.jsonl"))


def test_the_out_folder_is_made_and_its_former_files_replaced() -> None:
    out = Path("deep/er/out")
    for events in (EVENTS, EVENTS):
        ran = tollgate("replay", REFERENCE, f"--out={out}", events)

        assert ran.code == 0
        assert {path.name for path in out.iterdir()} == {path.name for path in (FORBIDDEN / "expected").iterdir()}


def test_an_unusable_line_goes_to_the_rejected_events_and_the_run_goes_on() -> None:
    lines = Path(EVENTS).read_bytes().splitlines()
    Path("some.jsonl").write_bytes(b"\n".join([*lines[:3], b'{"type":"cdr","cdr_', b"", *lines[3:], b"\xff\xfe"]))

    ran = replay("some.jsonl", "--json")

    assert ran.code == 0
    assert ran.json()["rejected"] == {"malformed": 2}
    assert [(record["file"], record["line"]) for record in records("rejected-events.jsonl")] == [
        ("some.jsonl", 4),
        ("some.jsonl", len(lines) + 3),
    ]
    assert len(records("decisions.jsonl")) == len((FORBIDDEN / "expected/decisions.jsonl").read_bytes().splitlines())


def test_an_empty_file_gives_empty_files() -> None:
    Path("empty.jsonl").touch()

    assert replay("empty.jsonl").code == 0
    assert all(path.read_bytes() == b"" for path in Path("out").iterdir())


@pytest.mark.parametrize("arguments", [["-"], ["-", "--workers=2"], ["--", "-"]])
def test_a_dash_is_standard_input(arguments: list[str]) -> None:
    ran = replay(*arguments, standard_input=Path(EVENTS).read_bytes())

    assert ran.code == 0, ran.err
    assert Path("out/decisions.jsonl").read_bytes() == (FORBIDDEN / "expected/decisions.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "at least one event file"),
        (["none.jsonl"], "none.jsonl: no such file"),
        ([EVENTS, "none.jsonl"], "none.jsonl: no such file"),
        ([EVENTS, "."], "no such file"),
        ([EVENTS, "--workers=0"], "--workers"),
        ([EVENTS, "--workers=17"], "--workers must be 1 to 16"),
        ([EVENTS, "--workers=-1"], "--workers"),
        ([EVENTS, "--workers=many"], "--workers"),
        ([EVENTS, "--from=yesterday"], "--from: 'yesterday' is not a moment"),
        ([EVENTS, "--from=2026-11-24T18:30:00"], "names no time zone"),
        ([EVENTS, "--to=2026-02-30T00:00:00Z"], "--to"),
        ([EVENTS, "--to=1970-01-01T00:00:00Z"], "broken clock"),
    ],
)
def test_bad_use_is_refused_before_anything_is_done(arguments: list[str], reason: str) -> None:
    assert refused(replay(*arguments), reason)
    assert not Path("out").exists()


@pytest.mark.parametrize("missing", ["--reference", "--out"])
def test_reference_and_out_must_be_named(missing: str) -> None:
    given = [argument for argument in (REFERENCE, "--out=out") if not argument.startswith(missing)]

    assert refused(tollgate("replay", *given, EVENTS), missing)


def test_an_out_that_is_a_file_is_refused() -> None:
    Path("out").write_text("precious")

    assert refused(replay(EVENTS), "out")
    assert Path("out").read_text() == "precious"


GZIPPED = gzip.compress(Path(EVENTS).read_bytes(), mtime=0)
ZSTD = zstandard.compress(Path(EVENTS).read_bytes())


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("broken.jsonl.gz", GZIPPED[: len(GZIPPED) // 2], id="gz cut off"),
        pytest.param("broken.jsonl.gz", GZIPPED[:-4], id="gz without its end"),
        pytest.param("broken.jsonl.gz", flipped(GZIPPED, len(GZIPPED) // 2), id="gz with a wrong byte"),
        pytest.param("broken.jsonl.gz", flipped(GZIPPED, len(GZIPPED) - 6), id="gz with a wrong checksum"),
        pytest.param("broken.jsonl.gz", b"CDR;100200\n", id="gz that is none"),
        pytest.param("broken.jsonl.zst", ZSTD[: len(ZSTD) // 2], id="zst cut off"),
        pytest.param("broken.jsonl.zst", ZSTD[:-1], id="zst without its end"),
        pytest.param("broken.jsonl.zst", ZSTD + ZSTD[:-1], id="zst with its second frame cut off"),
        pytest.param("broken.jsonl.zst", b"CDR;100200\n", id="zst that is none"),
    ],
)
def test_a_broken_compressed_file_ends_the_run_and_nothing_is_written(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)

    ran = replay(EVENTS, name)

    assert refused(ran, "nothing was written")
    assert nothing_was_written()


def test_worker_processes_end_with_the_run_that_failed() -> None:
    Path("broken.jsonl.gz").write_bytes(GZIPPED[: len(GZIPPED) // 2])

    assert refused(replay(EVENTS, "broken.jsonl.gz", "--workers=3"), "nothing was written")
    assert nothing_was_written()


def test_a_run_that_fails_leaves_the_files_of_the_former_one() -> None:
    assert replay(EVENTS).code == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    Path("broken.jsonl.gz").write_bytes(GZIPPED[:-9])

    assert replay(EVENTS, "broken.jsonl.gz").code == 2
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


# -- a broken reference folder ----------------------------------------------------------------------------------------


def test_all_errors_of_a_broken_folder_are_listed_and_nothing_is_written() -> None:
    shutil.copytree(FORBIDDEN / "reference", "reference")
    spoil("accounts.csv", 2, "500.00", "much")
    spoil("accounts.csv", 3, ",active,", ",asleep,")
    spoil("accounts.csv", 4, "office", "no-such-plan")
    spoil("prices.csv", 5, "9.00", "nine")
    spoil("locks.csv", 2, "38", "+381")
    Path("reference/providers.csv").rename("reference/carriers.csv")

    for command in (
        ["replay", "--reference=reference", "--out=out", EVENTS],
        ["check", "lock", "--reference=reference", "--account=100200", "38"],
    ):
        ran = tollgate(*command)

        assert refused(ran, "reference can't be used")
        errors = [line.strip() for line in ran.err.splitlines()[1:]]
        for place in (
            "accounts.csv:2: balance: ",
            "accounts.csv:3: status: ",
            "accounts.csv:4: tariff_plan_id: ",
            "prices.csv:5: price: ",
            "locks.csv:2: digits: ",
            "providers.csv: ",
        ):
            assert sum(place in error for error in errors) == 1, (place, errors)
    assert nothing_was_written()


def test_more_errors_than_a_screen_holds_are_all_told_to_a_pipe() -> None:
    shutil.copytree(FORBIDDEN / "reference", "reference")
    with Path("reference/accounts.csv").open("a") as file:
        file.writelines(f"bad-{i},c,office,prepaid,RUB,x,,,active,,\n" for i in range(120))

    ran = tollgate("check", "lock", "--reference=reference", "--account=100200", "38")

    assert refused(ran, "120 errors")
    # Line 100 among them: `:100:` is no emoji.
    assert [line.split()[0] for line in ran.err.splitlines()[1:]] == [f"accounts.csv:{line}:" for line in range(6, 126)]


@pytest.mark.parametrize("folder", ["none", "file"])
def test_a_reference_that_is_no_folder_is_refused(folder: str) -> None:
    Path("file").touch()

    assert refused(tollgate("replay", f"--reference={folder}", "--out=out", EVENTS), folder, "not a folder")
    assert not Path("out").exists()


# -- check lock (§2.2) ------------------------------------------------------------------------------------------------


def check_lock(account: str, number: str, *options: str) -> Ran:
    return tollgate("check", "lock", REFERENCE, f"--account={account}", number, *options)


def test_the_guides_lock_is_found_with_its_author() -> None:
    ran = check_lock("100200", "+381 11 411 20 60")

    assert ran.code == 1
    assert ran.err == ""
    assert all(word in ran.out for word in ("L1", "38", "account", "megafon", "ivanov", "2026-11-02", "Балканы"))
    assert "Do not remove it yourself" in ran.out


def test_all_covering_locks_are_listed_the_deciding_one_named() -> None:
    found = check_lock("100201", "381114112060", "--json")

    assert found.code == 1
    answer = found.json()
    assert {lock["lock_id"] for lock in answer["locks"]} == {"L3", "L4", "L5", "L6"}
    assert answer["deciding"]["lock_id"] == "L6"
    assert answer["full_ban"] is True


def test_without_a_local_lock_the_global_one_is_found() -> None:
    answer = check_lock("100202", "381641234567", "--json").json()

    assert [(lock["lock_id"], lock["scope"]) for lock in answer["locks"]] == [("L2", "global")]


def test_locks_of_other_numbers_do_not_cover() -> None:
    ran = check_lock("100202", "381114112060", "--json")

    assert ran.code == 0
    assert ran.json()["locks"] == []


def test_a_direction_is_asked_about_as_the_guide_writes_it() -> None:
    ran = check_lock("100202", "38164XXXXXXX")
    assert ran.code == 1
    assert "L2" in ran.out
    within = check_lock("100200", "8 10 3 XXX", "--json")
    assert (within.code, within.json()["locks"]) == (1, [])
    assert "L1" in {lock["lock_id"] for lock in within.json()["longer"]}
    assert "no lock covers all of 3; locked within it: " in check_lock("100200", "3").out


@pytest.mark.parametrize(
    ("account", "number", "reason"), [("nobody", "381", "'nobody'"), ("100200", "Belgrade", "number")]
)
def test_a_lock_check_of_what_is_not_there_is_refused(account: str, number: str, reason: str) -> None:
    assert refused(check_lock(account, number), reason)


# -- check tariff (§2.3) ----------------------------------------------------------------------------------------------


def check_tariff(account: str, number: str, *options: str) -> Ran:
    return tollgate("check", "tariff", REFERENCE, AT, f"--account={account}", number, *options)


@pytest.mark.parametrize("number", ["381114112060", "3811", "+381 (11) 411-20-60"])
def test_a_priced_number_would_be_rated(number: str) -> None:
    ran = check_tariff("100202", number, "--json")

    assert ran.code == 0
    answer = ran.json()
    assert answer["would_be_rated"] is True
    megafon = next(one for one in answer["providers"] if one["provider_id"] == "megafon")
    assert (megafon["retail"]["price_list_id"], megafon["retail"]["prefix"]) == ("R-OUT", "381")
    assert (megafon["wholesale"]["price_list_id"], megafon["wholesale"]["prefix"]) == ("W-MEG", "3811")
    assert "Nothing hinders routing" in answer["verdict"]


@pytest.mark.parametrize(
    ("number", "options", "reasons", "ticket"),
    [
        ("355", [], ["no_retail_price"], "marketing"),
        ("998", [], ["no_wholesale_price"], "b2b"),
        ("852", [], ["no_wholesale_price", "no_retail_price"], "b2b"),
        ("381112223344", ["--service=forwarding"], ["no_retail_price"], "marketing"),
    ],
)
def test_what_is_missing_is_said_and_whom_to_ask(
    number: str, options: list[str], reasons: list[str], ticket: str
) -> None:
    found = check_tariff("100202", number, *options, "--json")
    shown = check_tariff("100202", number, *options)

    assert found.code == shown.code == 1
    assert found.json()["reasons"] == reasons
    assert f"ticket in RM to {'the group b2b' if ticket == 'b2b' else ticket}" in shown.out


def test_plan_place_and_incoming_service_count() -> None:
    other_plan = check_tariff("100202", "3811", "--service=forwarding", "--plan=forwarding", "--json").json()
    petersburg, moscow = (
        check_tariff("100202", "7495", f"--place={place}", "--json").json() for place in ("spb", "msk")
    )
    any_incoming = check_tariff("100202", "7495", "--incoming-service=", "--json").json()

    assert other_plan["would_be_rated"] is True
    assert retail_of(petersburg, "megafon") == 1_500_000
    assert retail_of(moscow, "megafon") == 1_200_000
    # With the incoming service that is preset ПДГИ providers are shown, without it all: the cheaper first.
    assert [one["provider_id"] for one in moscow["providers"]] == ["megafon"]
    assert moscow["not_shown"] == ["beeline"]
    assert [one["provider_id"] for one in any_incoming["providers"]] == ["megafon", "beeline"]
    assert any_incoming["incoming_service"] is None


def test_an_emergency_number_needs_no_price() -> None:
    ran = check_tariff("100202", "112")

    assert ran.code == 0
    assert "112 is an emergency number: calls to it always pass, free" in ran.out


def test_fields_that_were_left_out_are_named() -> None:
    words = "not given, so the account's own was taken: plan office and place spb"
    assert words in check_tariff("100202", "381…").out
    asked = check_tariff("100202", "38111XXXXXX", "--plan=office", "--place=msk")
    assert "not given" not in asked.out
    assert check_tariff("100202", "3811", "--json").json()["filled_in"] == ["tariff_plan_id", "place"]


@pytest.mark.parametrize(
    ("account", "number", "option", "reason"),
    [
        ("100202", "381", "--place=nope", "place 'nope' is not known"),
        ("100202", "381", "--incoming-service=nope", "incoming service 'nope' is not known"),
        ("nobody", "381", AT, "'nobody'"),
        ("100202", "Belgrade", AT, "number"),
        ("100202", "381", "--plan=none", "'none'"),
        ("100202", "381", "--service=incoming", "'incoming'"),
        ("100202", "381", "--at=soon", "--at: 'soon'"),
    ],
)
def test_a_tariff_check_of_what_is_not_there_is_refused(account: str, number: str, option: str, reason: str) -> None:
    assert refused(tollgate("check", "tariff", REFERENCE, f"--account={account}", number, option), reason)


# -- check number (§1.4) ----------------------------------------------------------------------------------------------

NCV = str(EVENING / "expected/number-ncv.jsonl")


def check_number(number: str, *options: str, ncv: str = NCV, today: str = "2026-11-25") -> Ran:
    reference = f"--reference={EVENING / 'reference'}"
    return tollgate("check", "number", reference, f"--ncv={ncv}", f"--today={today}", number, *options)


@pytest.mark.parametrize(
    ("today", "sign", "code"),
    [("2026-11-25", "insufficient_data", 1), ("2026-12-24", "has_ncv", 1), ("2026-12-26", "no_ncv", 0)],
)
def test_a_number_turns_green_when_it_has_rested(today: str, sign: str, code: int) -> None:
    found, shown = check_number("78125550001", "--json", today=today), check_number("8 (812) 555-00-01", today=today)

    assert found.code == shown.code == code
    assert found.json()["sign"] == sign
    assert found.json()["sellable"] is (code == 0)
    assert ("green" if code == 0 else "red") in shown.out


def test_a_number_in_use_is_not_for_sale() -> None:
    assert check_number("78125550003", today="2026-12-26").code == 1


def test_a_number_check_of_what_is_not_there_is_refused() -> None:
    Path("broken.jsonl").write_bytes(Path(NCV).read_bytes() + b'{"type":"number_ncv"}\n')

    assert refused(check_number("78125559999"), "'78125559999'")
    assert refused(check_number("78125550001", today="today"), "--today: 'today'")
    assert refused(check_number("78125550001", today="2026-02-30"), "--today")
    assert refused(check_number("78125550001", ncv="none.jsonl"), "none.jsonl")
    assert refused(check_number("78125550001", ncv="broken.jsonl"), "broken.jsonl:4")


# -- settings ---------------------------------------------------------------------------------------------------------


def test_settings_come_from_the_file_and_then_from_the_environment() -> None:
    Path("tollgate.toml").write_text("[engine]\nmax_call_seconds = 600\nhold_grace_seconds = 30\n")

    ran = tollgate(
        "config", "--json", environment={"TOLLGATE_HOLD_GRACE_SECONDS": "60", "TOLLGATE_EMERGENCY_NUMBERS": "112, 911"}
    )

    assert ran.code == 0
    engine = ran.json()["engine"]
    assert (engine["max_call_seconds"], engine["hold_grace_seconds"]) == (600, 60)
    assert engine["emergency_numbers"] == ["112", "911"]
    assert engine["business_time_zone"] == "Europe/Moscow"


def test_settings_act() -> None:
    ran = replay(EVENTS, environment={"TOLLGATE_MAX_CALL_SECONDS": "60"})

    assert ran.code == 0
    assert {record["max_seconds"] for record in records("decisions.jsonl")} == {0, 60}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[engine\n", "tollgate.toml"),
        ("engine = 3\n", "[engine] must be a table"),
        ("[engine]\nmax_call_secondz = 600\n", "'max_call_secondz'"),
        ('[engine]\nmax_call_seconds = "long"\n', "max_call_seconds"),
        ("[engine]\nmax_call_seconds = 0\n", "max_call_seconds"),
        ("[engine]\nremember_us = 1\n", "remember_us"),
    ],
)
def test_a_bad_settings_file_gives_one_clear_line(text: str, reason: str) -> None:
    Path("tollgate.toml").write_text(text)

    for ran in (tollgate("config"), replay(EVENTS)):
        assert refused(ran, "tollgate.toml", reason)
        assert len(ran.err.splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOLLGATE_MAX_CALL_SECONDS", "long"),
        ("TOLLGATE_MAX_CALL_SECONDS", ""),
        ("TOLLGATE_HOLD_GRACE_SECONDS", "-1"),
        ("TOLLGATE_REMEMBER_US", "1"),
    ],
)
def test_a_bad_variable_gives_one_clear_line(name: str, value: str) -> None:
    ran = tollgate("config", environment={name: value})

    assert refused(ran, "TOLLGATE_", name.removeprefix("TOLLGATE_").lower())
    assert len(ran.err.splitlines()) == 1


def test_an_unknown_time_zone_is_refused() -> None:
    assert refused(replay(EVENTS, environment={"TOLLGATE_BUSINESS_TIME_ZONE": "Mars/Phobos"}), "'Mars/Phobos'")
    assert not Path("out").exists()


# -- helpers ----------------------------------------------------------------------------------------------------------


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("out") / name).read_bytes().splitlines()]


def retail_of(answer: dict[str, Any], provider: str) -> int:
    price: int = next(one for one in answer["providers"] if one["provider_id"] == provider)["retail"]["price_micros"]
    return price


def spoil(file: str, line: int, good: str, bad: str) -> None:
    """Puts a mistake into a line of the folder `reference`; the header is line 1."""
    path = Path("reference") / file
    lines = path.read_text().splitlines(keepends=True)
    assert good in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(good, bad, 1)
    path.write_text("".join(lines))


def test_each_command_is_in_the_module_that_the_way_in_names() -> None:
    """Only that one is imported when it is called."""

    def modules(command: App) -> set[str]:
        own = command.default_command
        below = [modules(command[name]) for name in command if not name.startswith("-")]
        return {own.__module__}.union(*below) if own is not None else set().union(*below)

    found = {name: modules(app[name]) for name in app if not name.startswith("-")}

    assert found == {name: {f"connectors.cli.{module}"} for name, module in MODULES.items()}


def test_a_command_that_is_not_there_is_answered_with_those_that_are() -> None:
    ran = tollgate("looks")

    assert ran.code == 2
    assert "lock" in ran.err
