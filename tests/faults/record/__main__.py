"""Faults on the whole record for a while: `python -m tests.faults.record --seconds N --seed S`, from the root.

The seed decides traffic, the office's work and the order of the faults; what meets what is up to the machine. Exit code
1 with findings; the logs of all processes and all topics are kept then.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from connectors.postgres.database import DRIVER_TROUBLES
from deploy.kafka.trouble import KafkaTrouble
from tests.faults.fleet import ROOT, Stalled, until

from .faults import FAULTS, QUIET, SERVERS, TOGETHER
from .installation import Installation

RECORDS_PER_SECOND = 60.0
"""Enough that every transaction has company; over ten minutes the calls stay within the month for which the engine
keeps prices, though a period of the traffic is made to last for six hours."""

BETWEEN_SECONDS = 1.0
TWO_AT_ONCE = 0.35


class Report(NamedTuple):
    """What was done, and what is wrong."""

    happened: Counter[str]
    events: int
    transactions: int
    orders: int
    open_orders: int
    locks: int
    prices: int
    findings: list[str]


async def play(seed: int, seconds: float, folder: Path, faults: Iterable[tuple[str, ...]] | None = None) -> Report:
    """Fault after fault, each kind once and then as the seed has it, or those given; the verdict at the end."""
    run = Installation(seed, folder)
    findings: list[str] = []
    async with run.open():
        run.start_work(RECORDS_PER_SECOND)
        await until(lambda: run.decisions() > 0, "a call is decided")
        deadline = time.monotonic() + seconds
        for names in _order(run.rng) if faults is None else faults:
            if time.monotonic() > deadline:
                break
            findings += await strike(run, names)
            if findings:
                break
        findings += await run.verdict()
        return Report(
            run.happened,
            sum(run.traffic.acknowledged.values()),
            run.watcher.transactions,
            run.office.acknowledged,
            len(run.office.orders) - run.office.acknowledged,
            len(run.office.locks),
            len(run.office.prices) - 1,
            findings,
        )


async def strike(run: Installation, names: tuple[str, ...]) -> list[str]:
    """One fault, or two at once, and a transaction after them. Findings if something does not come to its end."""
    began = time.monotonic()
    struck = await asyncio.gather(*(FAULTS[name](run) for name in names), return_exceptions=True)
    findings = []
    for name, outcome in zip(names, struck, strict=True):
        if isinstance(outcome, Stalled | KafkaTrouble):
            findings.append(f"{name}: {outcome}")
        elif isinstance(outcome, DRIVER_TROUBLES) and len(names) > 1:
            # The server that it had to ask was away: the other fault was that.
            run.happened[f"no room for: {name}"] += 1
        elif outcome is not None:
            raise outcome
    before = run.watcher.transactions
    try:
        await until(lambda: run.watcher.transactions > before, "anything is worked off")
    except Stalled as stalled:
        findings.append(f"after {' and '.join(names)}: {stalled}")
    print(f"{time.monotonic() - began:6.1f} s {' and '.join(names)}", file=sys.stderr, flush=True)
    await asyncio.sleep(BETWEEN_SECONDS)
    return findings


def _order(rng: Random) -> Iterator[tuple[str, ...]]:
    """Each fault once, then for ever what the seed has; two at once now and then."""
    singles = list(FAULTS)
    rng.shuffle(singles)
    yield from ((name,) for name in singles)
    while True:
        one = rng.choice(singles)
        if one in SERVERS and rng.random() < TWO_AT_ONCE:
            yield one, rng.choice(TOGETHER)
        elif one not in SERVERS | QUIET and rng.random() < TWO_AT_ONCE / 2:
            yield one, rng.choice(("crash PostgreSQL", "kill the broker"))
        else:
            yield (one,)


def main() -> int:
    """Plays and prints; 1 with findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.record", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long faults strike (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = ROOT / "build" / "faults" / f"record-{options.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        report = asyncio.run(play(options.seed, options.seconds, folder))
    except KafkaTrouble as trouble:
        print(trouble, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(
        f"seed {options.seed}: {report.events} events, {report.transactions} transactions, {report.orders} orders "
        f"({report.open_orders} whose answer was lost), {report.locks} locks, {report.prices} prices"
    )
    print("happened: " + ", ".join(f"{kind} {number}" for kind, number in sorted(report.happened.items())))
    if not report.findings:
        print("nothing is wrong")
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"{len(report.findings)} findings; logs and topics are in {folder}:", *report.findings, sep="\n  ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
