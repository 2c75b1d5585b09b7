"""`tollgate demo`: an invented operator, an hour of its calls, and what the engine makes of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from backoffice.lock_check import check_lock
from connectors.cli.app import Refused, app, load_reference, out, print_pairs, settings
from connectors.cli.replay import replay_with_progress
from connectors.convert import BadRow, ConvertSettings, convert
from connectors.files.event_lines import EventFile
from schemas.codec import encode
from schemas.decisions import CallDecision
from schemas.times import to_us

_DATA = Path(__file__).parents[1] / "sample" / "data"
_CONTEXTS = {
    "outgoing": "outgoing",
    "forwarding": "forwarding",
    "from-trunk": "incoming",
    "public": "incoming",
    "from-internal": "intra_office",
}


@app.command
def demo(
    *,
    folder: Annotated[Path, cyclopts.Parameter(help="Where all of it is put.")] = Path("build/demo"),
    attempts: Annotated[int, cyclopts.Parameter(help="Call set-ups in the hour.")] = 60_000,
    seed: Annotated[int, cyclopts.Parameter(help="Another seed, another hour.")] = 1,
    once: Annotated[bool, cyclopts.Parameter(help="End after the summary; so it does while nothing serves.")] = False,
) -> None:
    """Build a sample operator, replay an hour of its calls, and rate CDR files of an Asterisk and a FreeSWITCH."""
    # The tables of real prefixes take a third of a second to import: no other command waits for them.
    from connectors.sample.operator import write_reference
    from connectors.sample.traffic import write_traffic

    if attempts < 1:
        raise Refused(f"--attempts must be at least 1, not {attempts}")
    reference, events = folder / "reference", folder / "events"
    try:
        write_reference(reference, seed=seed)
        traffic = write_traffic(events, reference, seed=seed, attempts=attempts)
    except OSError as error:
        raise Refused(f"--folder {folder}: {error}") from None
    engine = settings()
    tables = load_reference(reference, engine)
    switches = [
        _convert(
            "asterisk", _DATA / "asterisk-Master.csv", events / "asterisk.jsonl", "Europe/Moscow", tables.providers
        ),
        _convert("freeswitch", _DATA / "freeswitch-cdr.json", events / "freeswitch.jsonl", "UTC", tables.providers),
    ]
    out.print(
        f"An invented operator: {len(tables.accounts):,} accounts, {len(tables.providers)} providers, "
        f"{len(tables.numbers):,} numbers, {len(tables.wholesale):,} wholesale prefixes in {reference}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    results = folder / "results"
    summary = replay_with_progress(engine, tables, (*traffic, *switches), results)
    print_pairs("An hour of its calls", summary.lines())

    denied = next(_denied_by_lock(results / "decisions.jsonl"), None)
    if denied is not None and denied.account_id is not None:
        out.print("\nWhy did this call not go through?", style="bold")
        number = _called(denied, (*traffic, *switches))
        found = check_lock(engine, tables, number=number, account_id=denied.account_id, at_us=to_us(denied.at))
        out.print(
            f"attempt {denied.attempt_id} to {found.number}: {found.verdict}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    out.print(
        f"\nDecisions, rated CDRs, balances, NCV counters, notices and rejected events are in {results}.\n"
        "Ask on: .venv/bin/tollgate check lock --reference "
        f"{reference} --account 100200 '+381 11 411 20 60'\n"
        f"        .venv/bin/tollgate check tariff --reference {reference} --account 100200 '+381 11 411 20 60'",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _convert(format_: str, source: Path, target: Path, time_zone: str, providers: Iterable[str]) -> Path:
    """CDRs of a switch's file as events; the file's bad rows and other legs are told."""
    rules = ConvertSettings(
        switch_id=format_, services=_CONTEXTS, time_zone=time_zone, providers={name: name for name in providers}
    )
    good = 0
    with target.open("wb") as file:
        for row in convert(format_, source, rules):
            if isinstance(row, BadRow):
                out.print(f"{source.name}:{row.line}: {row.message}", markup=False, highlight=False, soft_wrap=True)
            else:
                file.write(encode(row) + b"\n")
                good += 1
    out.print(f"{source.name}: {good} CDRs", markup=False, highlight=False, soft_wrap=True)
    return target


def _denied_by_lock(decisions: Path) -> Iterator[CallDecision]:
    decode = msgspec.json.Decoder(CallDecision).decode
    with decisions.open("rb") as lines:
        for line in lines:
            if b'"code":"lock"' in line and b'"scope":"account"' in line:
                yield decode(line)


def _called(decision: CallDecision, files: tuple[Path, ...]) -> str:
    """The number that an attempt called."""
    needle = f'"attempt_id":"{decision.attempt_id}"'.encode()
    for path in files:
        file = EventFile(path)
        try:
            for line in file.lines():
                if needle in line and b'"type":"call_attempt"' in line:
                    return str(msgspec.json.decode(line)["called"])
        finally:
            file.close()
    raise AssertionError(f"no attempt {decision.attempt_id} in the events")
