"""`python -m benchmarks [NAME …] [--runs N] [--out FILE]`: runs benchmarks, each in a process of its own, and keeps
their numbers as JSON. Names: lookups, engine, replay; all of them if none is given."""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import engine, lookups, replay
from benchmarks.measure import machine

RESULTS = Path(__file__).parent / "results"
ACCOUNTS = 100_000

CASES: dict[str, list[Callable[[int], dict[str, object]]]] = {
    "lookups": [partial(lookups.run, 200_000), partial(lookups.run, 1_000_000)],
    "engine": [partial(engine.run, 1_000, ACCOUNTS), partial(engine.run, 1_000_000, ACCOUNTS)],
    "replay": [partial(replay.run, 1_000, ACCOUNTS), partial(replay.run, 1_000_000, ACCOUNTS)],
}


def main() -> int:
    """Runs what the arguments name. The exit code is 0 unless a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each case, after one warm-up")
    parser.add_argument("--out", type=Path, help="the file of results; by default benchmarks/results/<date>.json")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in CASES]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(CASES)}")
    found: dict[str, object] = {"machine": machine(), "results": {}}
    results: dict[str, list[dict[str, object]]] = {}
    for name in arguments.names or CASES:
        for case in CASES[name]:
            # A fresh process: neither the memory nor the collector's state of one case weighs on the next.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                result = pool.apply(case, (arguments.runs,))
            results.setdefault(name, []).append(result)
            sys.stdout.write(f"{name}: {json.dumps(result)}\n")
            sys.stdout.flush()
    found["results"] = results
    out = arguments.out or RESULTS / f"{datetime.now(UTC).date().isoformat()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"kept in {out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
