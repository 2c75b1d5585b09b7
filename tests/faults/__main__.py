"""Faults for a while: `python -m tests.faults --seconds N --seed S`, from the project's root.

The seed decides the traffic and the order of the faults; what meets what is up to the machine. Exit code 1 with
findings; the logs of the workers and all topics are kept then.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from deploy.kafka.trouble import KafkaTrouble
from schemas import topics

from .arena import Arena, Ground
from .disk import small_disk
from .faults import SURROUNDINGS, Fault, all_faults
from .fleet import ROOT, Stalled, until

RECORDS_PER_SECOND = 120.0
"""Enough that every transaction has company, little enough that the checker reads all of it in seconds."""
WORKERS = 3
DISK_MEGABYTES = 2_048
_TOLD_TO_END = "told to end"
TOGETHER = 0.3
"""How often something happens around the workers at the same time."""


class Report(NamedTuple):
    """What was done, and what is wrong."""

    happened: Counter[str]
    traffic: Counter[str]
    events: int
    transactions: int
    findings: list[str]


async def play(
    ground: Ground, seed: int, seconds: float, folder: Path, *, disk: bool, broker_dies_in_commits: bool
) -> Report:
    """Fault after fault, each kind once and then as the seed has it; the verdict at the end."""
    playing = asyncio.current_task()
    assert playing is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel, _TOLD_TO_END)
    arena = Arena(ground, seed, folder, partitions=6, compacting=True, broker_dies_in_commits=broker_dies_in_commits)
    findings: list[str] = []
    async with arena.open():
        arena.start_traffic(RECORDS_PER_SECOND)
        await arena.workers_at_work(WORKERS)
        deadline = time.monotonic() + seconds
        for names in _order(arena.rng, all_faults(disk=disk)):
            if time.monotonic() > deadline:
                break
            findings += await _strike(arena, names, all_faults(disk=disk))
            if findings:
                break
        findings += await arena.verdict()
        events = sum(len(lines) for place, lines in arena.watcher.seen.items() if place.topic in _INPUTS)
        return Report(arena.happened, arena.traffic.kinds, events, arena.watcher.transactions, findings)


_INPUTS = frozenset(topic.name for topic in topics.INPUTS)


async def _strike(arena: Arena, names: tuple[str, ...], faults: dict[str, Fault]) -> list[str]:
    """One fault, or two at once, and a transaction after them. Findings if something does not come to its end."""
    struck = await asyncio.gather(*(faults[name](arena) for name in names), return_exceptions=True)
    findings = []
    for name, outcome in zip(names, struck, strict=True):
        if isinstance(outcome, Stalled | KafkaTrouble):
            findings.append(f"{name}: {outcome}")
        elif outcome is not None:
            raise outcome
    before = arena.watcher.transactions
    try:
        await until(lambda: arena.watcher.transactions > before, "anything is worked off")
    except Stalled as stalled:
        findings.append(f"after {' and '.join(names)}: {stalled}")
    return findings


def _order(rng: Random, faults: dict[str, Fault]) -> Iterator[tuple[str, ...]]:
    """Each fault once, then for ever what the seed has; two at once now and then."""
    singles = list(faults)
    rng.shuffle(singles)
    yield from ((name,) for name in singles)
    around = [name for name in SURROUNDINGS if name in faults]
    within = [name for name in faults if name not in SURROUNDINGS]
    while True:
        # As often around the workers as within them, though there are more points than surroundings.
        one = rng.choice(within) if rng.random() < 0.6 else rng.choice(around)
        if one in within and rng.random() < TOGETHER:
            yield one, rng.choice(around)
        else:
            yield (one,)


def main() -> int:
    """Plays and prints; 1 with findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults strike (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--broker-dies-in-commits",
        action="store_true",
        help="let the broker die while it ends transactions, too; a single Kafka node may mix up what it aborted then",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = ROOT / "build" / "faults" / f"seed-{options.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    with small_disk(folder / "disk", DISK_MEGABYTES) as disk:
        if not disk:
            print("no file system can be mounted here, which takes root: the fault of a full disk is left out")
        try:
            ground = Ground(folder / "disk")
            ground.start()
        except KafkaTrouble as trouble:
            print(trouble, file=sys.stderr)
            return 2
        try:
            report = asyncio.run(
                play(
                    ground,
                    options.seed,
                    options.seconds,
                    folder / "run",
                    disk=disk,
                    broker_dies_in_commits=options.broker_dies_in_commits,
                )
            )
        except (KeyboardInterrupt, asyncio.CancelledError) as end:
            if isinstance(end, asyncio.CancelledError) and end.args != (_TOLD_TO_END,):
                raise
            print("interrupted", file=sys.stderr)
            return 130
        finally:
            ground.stop()
    print(f"seed {options.seed}: {report.events} events, {report.transactions} transactions")
    for what, counts in (("faults", report.happened), ("traffic", report.traffic)):
        print(f"{what}: " + ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())))
    if not report.findings:
        print("nothing is wrong")
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"{len(report.findings)} findings; logs and topics are in {folder / 'run'}:", *report.findings, sep="\n  ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
