"""Golden replays: the same input gives the same bytes, for any hash seed, number of workers and kind of file.

`golden/README.md` says what each replay shows; `golden/update.py` rewrites what is expected.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard
from golden.update import EVENTS, FOLDER, NAMES, load
from models.auditor import audit

from connectors.replay import LATEST, STREAMS, replay
from engine.settings import EngineSettings
from schemas.decisions import REASON_CODES
from schemas.events import Event
from schemas.facts import REJECTIONS
from schemas.times import to_us

ROOT = Path(__file__).parent.parent
BUSY = FOLDER / "busy_half_hour"
MIDDLE = "2026-11-24T09:15:00.000Z"
EVENT_TYPES = {str(record.__struct_config__.tag) for record in Event.__args__}
Files = dict[str, bytes]

each_golden = pytest.mark.parametrize("folder", [FOLDER / name for name in NAMES], ids=NAMES)


def test_there_are_golden_replays() -> None:
    assert set(NAMES) >= {"forbidden_regions", "prepaid_evening", "busy_half_hour"}


@each_golden
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_replay_gives_the_expected_bytes(
    folder: Path, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    replay(EngineSettings(), load(folder), [EVENTS], tmp_path / "out", workers=workers)

    assert differences(files_of(tmp_path / "out"), files_of(folder / "expected")) == []


@each_golden
@pytest.mark.parametrize(("seed", "workers"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_neither_hash_seed_nor_process_changes_a_byte(folder: Path, seed: int, workers: int, tmp_path: Path) -> None:
    run_command(folder, tmp_path / "out", [EVENTS], f"--workers={workers}", hash_seed=seed)

    assert differences(files_of(tmp_path / "out"), files_of(folder / "expected")) == []


@each_golden
def test_an_auditor_that_shares_no_code_with_the_engine_finds_nothing(folder: Path) -> None:
    expected = {
        name: [json.loads(line) for line in text.splitlines()] for name, text in files_of(folder / "expected").items()
    }
    tables = load(folder)

    findings = audit(
        readable_records(folder / EVENTS),
        expected["decisions.jsonl"],
        expected["rated-cdrs.jsonl"],
        expected["rejected-events.jsonl"],
        expected["account-balances.jsonl"],
        expected["account-movements.jsonl"],
        {
            account.account_id: {
                "balance_micros": account.balance_micros,
                "credit_limit_micros": account.credit_limit_micros,
            }
            for account in tables.accounts.values()
        },
        expected["number-ncv.jsonl"],
        {number.number: number.status for number in tables.numbers.values()},
    )

    assert findings == []


def test_the_busy_half_hour_has_every_reason_to_deny_and_most_rejections() -> None:
    decisions = lines_of(BUSY, "decisions.jsonl")
    rejected = {record["reason"] for record in lines_of(BUSY, "rejected-events.jsonl")}

    assert {decision["reason"]["code"] for decision in decisions if decision["reason"]} == set(REASON_CODES)
    assert {"repeated", "emergency", "extension", "negative_margin"} <= {flag for one in decisions for flag in one}
    assert rejected <= REJECTIONS.keys()
    assert rejected >= {"malformed", "bad_time", "id_reused", "unknown_account", "unknown_provider"}


@pytest.mark.parametrize("workers", [1, 3])
def test_only_the_events_from_one_moment_to_another_are_replayed(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BUSY)
    tables = load(BUSY)
    middle_us = to_us(MIDDLE)
    replay(EngineSettings(), tables, [EVENTS], tmp_path / "to", workers=workers, until_us=middle_us)
    replay(EngineSettings(), tables, [EVENTS], tmp_path / "from", workers=workers, from_us=middle_us)
    replay(EngineSettings(), tables, [EVENTS], tmp_path / "none", from_us=middle_us, until_us=middle_us)

    monkeypatch.chdir(tmp_path)
    for name, wanted in (("to", is_before), ("from", is_not_before)):
        EVENTS.write_bytes(filtered((BUSY / EVENTS).read_bytes(), wanted))
        replay(EngineSettings(), tables, [EVENTS], tmp_path / f"filtered-{name}")

        assert differences(files_of(tmp_path / name), files_of(tmp_path / f"filtered-{name}")) == []
        assert files_of(tmp_path / name)["decisions.jsonl"] != files_of(BUSY / "expected")["decisions.jsonl"]
    assert files_of(tmp_path / "none")["rated-cdrs.jsonl"] == b""


def test_the_command_takes_the_same_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUSY)
    replay(EngineSettings(), load(BUSY), [EVENTS], tmp_path / "api", until_us=to_us(MIDDLE))

    run_command(BUSY, tmp_path / "command", [EVENTS], "--to=2026-11-24T12:15:00+03:00")

    assert differences(files_of(tmp_path / "command"), files_of(tmp_path / "api")) == []


def in_one_frame(data: bytes) -> bytes:
    return zstandard.compress(data)


def in_two_frames(data: bytes) -> bytes:
    middle = len(data) // 3  # in the middle of a line
    return zstandard.compress(data[:middle]) + zstandard.compress(data[middle:])


def in_two_members(data: bytes) -> bytes:
    middle = len(data) // 3
    return gzip.compress(data[:middle]) + gzip.compress(data[middle:])


def without_the_last_line_end(data: bytes) -> bytes:
    return data.rstrip(b"\n")


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("events.jsonl.gz", gzip.compress),
        ("events.jsonl.gz", in_two_members),
        ("events.jsonl.zst", in_one_frame),
        ("events.jsonl.zst", in_two_frames),
        ("events.txt", without_the_last_line_end),
    ],
)
def test_a_compressed_file_gives_the_same_bytes(
    name: str, packed: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(packed((BUSY / EVENTS).read_bytes()))

    replay(EngineSettings(), load(BUSY), [Path(name)], tmp_path / "out")

    # Only the name of the file is another one.
    assert differences(named(files_of(tmp_path / "out"), name), files_of(BUSY / "expected")) == []


def test_standard_input_gives_the_same_bytes(tmp_path: Path) -> None:
    run_command(BUSY, tmp_path / "out", [Path("-")], "--workers=2", standard_input=(BUSY / EVENTS).read_bytes())

    assert differences(named(files_of(tmp_path / "out"), "-"), files_of(BUSY / "expected")) == []


def test_several_files_are_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (BUSY / EVENTS).read_bytes().splitlines(keepends=True)
    Path("a.jsonl").write_bytes(b"".join(lines[:300]))
    Path("b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[300:])))

    replay(EngineSettings(), load(BUSY), [Path("a.jsonl"), Path("b.jsonl.gz")], tmp_path / "out", workers=2)

    found, expected = files_of(tmp_path / "out"), files_of(BUSY / "expected")
    places = [(record["file"], record["line"]) for record in parsed(found.pop("rejected-events.jsonl"))]
    whole = [record["line"] for record in parsed(expected.pop("rejected-events.jsonl"))]
    # Records come out file by file: those of different partitions may change places, none is another.
    assert differences(in_any_order(found), in_any_order(expected)) == []
    assert sorted(places) == sorted(("a.jsonl", line) if line <= 300 else ("b.jsonl.gz", line - 300) for line in whole)


# -- helpers ----------------------------------------------------------------------------------------------------------


def run_command(
    folder: Path,
    out: Path,
    files: Iterable[Path],
    *options: str,
    hash_seed: int = 0,
    standard_input: bytes | None = None,
) -> None:
    """`tollgate replay` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    ran = subprocess.run(
        [
            *(sys.executable, "-c", "from connectors.cli import main; main()", "replay"),
            *("--reference", "reference", "--out", str(out), *options, *map(str, files)),
        ],
        cwd=folder,
        env=environment | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        input=standard_input,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()


def files_of(folder: Path) -> Files:
    """The files of a replay; exactly those that the contract names."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found.keys() == {*STREAMS.values(), *LATEST.values()}
    return found


def differences(found: Files, expected: Files) -> list[str]:
    """Where the files differ first: short, since whole files would be megabytes of output."""
    listed = []
    for name in sorted(found.keys() | expected.keys()):
        ours, theirs = found.get(name, b"").splitlines(), expected.get(name, b"").splitlines()
        if len(ours) != len(theirs):
            listed.append(f"{name}: {len(ours)} lines, expected {len(theirs)}")
        for number, (line, other) in enumerate(zip(ours, theirs, strict=False), start=1):
            if line != other:
                listed.append(f"{name}:{number}: {line!r}, expected {other!r}")
                break
    return listed


def in_any_order(files: Files) -> Files:
    return {name: b"\n".join(sorted(text.splitlines())) for name, text in files.items()}


def named(files: Files, name: str) -> Files:
    """The files as if the events had been read from `events.jsonl`."""
    rejected = files["rejected-events.jsonl"]
    other = rejected.replace(f'"file":"{name}"'.encode(), b'"file":"events.jsonl"')
    assert other != rejected
    return files | {"rejected-events.jsonl": other}


@cache
def lines_of(folder: Path, name: str) -> tuple[dict[str, Any], ...]:
    return tuple(parsed((folder / "expected" / name).read_bytes()))


def parsed(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def readable_records(path: Path) -> list[dict[str, Any]]:
    """The lines that are JSON objects."""
    records = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # a spoiled line
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def filtered(events: bytes, wanted: Callable[[datetime], bool]) -> bytes:
    """The events at the wanted moments; the others are empty lines, so that all keep their numbers.

    What is no event with a moment can't be said to lie outside of the time: it stays, to be rejected.
    """
    return b"\n".join(line if stays(line, wanted) else b"" for line in events.split(b"\n"))


def stays(line: bytes, wanted: Callable[[datetime], bool]) -> bool:
    try:
        record = json.loads(line)
        moment = datetime.fromisoformat(record.get("ended_at") or record["at"])
    except (ValueError, AttributeError, KeyError):
        return True
    is_event = record.get("type") in EVENT_TYPES and isinstance(record.get("called"), str | None)
    return not is_event or moment.tzinfo is None or wanted(moment)


def is_before(moment: datetime) -> bool:
    return moment < datetime.fromisoformat(MIDDLE)


def is_not_before(moment: datetime) -> bool:
    return not is_before(moment)
