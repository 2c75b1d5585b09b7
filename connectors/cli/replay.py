"""`tollgate replay`: event files through the engine, to files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cyclopts
import zstandard
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from connectors.cli.app import Refused, app, err, load_reference, print_json, print_pairs, settings
from connectors.files.event_lines import STANDARD_INPUT
from connectors.replay import PARTITIONS, WorkerDied
from connectors.replay import replay as run_replay
from connectors.summary import Summary
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.times import to_us


@app.command
def replay(
    *files: Annotated[Path, cyclopts.Parameter(allow_leading_hyphen=True)],
    reference: Annotated[Path, cyclopts.Parameter(help="Folder of CSV files with accounts, prices, locks.")],
    out: Annotated[Path, cyclopts.Parameter(help="Folder for the results; made if it is not there.")],
    workers: Annotated[int, cyclopts.Parameter(help=f"Processes, 1 to {PARTITIONS}.")] = 1,
    from_: Annotated[str | None, cyclopts.Parameter(name="--from", help="Only events at or after this moment.")] = None,
    to: Annotated[str | None, cyclopts.Parameter(name="--to", help="Only events before this moment.")] = None,
    json: Annotated[bool, cyclopts.Parameter(help="Print the summary as JSON.")] = False,
) -> None:
    """Replay event files (.jsonl, .gz, .zst; - is standard input), in their order, and write what the engine says."""
    if not files:
        raise Refused("name at least one event file, or - for standard input")
    for path in files:
        # A file may begin with a hyphen only if it is the standard input.
        if path != STANDARD_INPUT and str(path).startswith("-"):
            raise Refused(f"Unknown option: {path}")
    engine = settings()
    # All that can be refused is refused before the tables are read, which may take seconds.
    from_us, until_us = _moment("--from", from_), _moment("--to", to)
    if not 1 <= workers <= PARTITIONS:
        raise Refused(f"--workers must be 1 to {PARTITIONS}, not {workers}")
    for path in files:
        if path != STANDARD_INPUT and not path.is_file():
            raise Refused(f"{path}: no such file")
    tables = load_reference(reference, engine)
    summary = replay_with_progress(engine, tables, files, out, workers=workers, from_us=from_us, until_us=until_us)
    if json:
        print_json(summary.as_dict())
    else:
        print_pairs(f"Replayed into {out}", summary.lines())


def replay_with_progress(
    engine: EngineSettings,
    tables: Reference,
    files: tuple[Path, ...],
    out: Path,
    *,
    workers: int = 1,
    from_us: int | None = None,
    until_us: int | None = None,
) -> Summary:
    """The replay, with a bar on standard error if that is a terminal. Raises Refused for what can't be read."""
    sizes = [path.stat().st_size for path in files if path != STANDARD_INPUT]
    total = sum(sizes) if len(sizes) == len(files) else None
    bar = Progress(
        TextColumn("replay"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeRemainingColumn(),
        console=err,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("replay", total=total, events=0)
        update: Callable[[int, int], None] = lambda done, events: bar.update(task, completed=done, events=events)  # noqa: E731
        try:
            return run_replay(
                engine, tables, files, out, workers=workers, from_us=from_us, until_us=until_us, progress=update
            )
        except (OSError, EOFError, zstandard.ZstdError) as error:
            raise Refused(f"{error}; nothing was written to {out}") from None
        except WorkerDied as died:
            raise Refused(f"{died}; nothing was written to {out}") from None


def _moment(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return to_us(text)
    except ValueError as error:
        raise Refused(f"{name}: {error}") from None
