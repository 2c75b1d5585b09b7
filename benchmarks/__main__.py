"""`python -m benchmarks [NAME …] [--runs N] [--out FILE]`: runs benchmarks, each in a process of its own, and keeps
their numbers as JSON. Names: lookups, engine, replay, reference, projector, lock_in_force, cdr_search,
client_search, number_search, pipeline; all of them if none is given.

Reference data, locks and the pipeline start a Kafka of their own, which needs Java; the pipeline's numbers are kept
beside the others', with their tables.
"""

import argparse
import json
import multiprocessing
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import (
    cdr_search,
    client_search,
    engine,
    lock_in_force,
    lookups,
    numbers,
    projector,
    reference,
    replay,
)
from benchmarks.measure import machine
from benchmarks.pipeline import report, suite
from benchmarks.pipeline.sizes import FULL
from benchmarks.pipeline.trouble import BenchmarkFailed
from deploy.kafka.trouble import KafkaTrouble

RESULTS = Path(__file__).parent / "results"
ACCOUNTS = 100_000

CASES: dict[str, list[Callable[[int], dict[str, object]]]] = {
    "lookups": [partial(lookups.run, 200_000), partial(lookups.run, 1_000_000)],
    "engine": [partial(engine.run, 1_000, ACCOUNTS), partial(engine.run, 1_000_000, ACCOUNTS)],
    "replay": [partial(replay.run, 1_000, ACCOUNTS), partial(replay.run, 1_000_000, ACCOUNTS)],
    "reference": [partial(reference.run, 1_000_000), partial(reference.run_on_kafka, 1_000_000)],
    "projector": [partial(projector.run, 200_000)],
    "lock_in_force": [
        partial(lock_in_force.run, 100, 500_000),
        partial(lock_in_force.run_on_kafka, 100, 500_000),
    ],
    "cdr_search": [cdr_search.run],
    "client_search": [client_search.run],
    "number_search": [partial(numbers.run, 5_000_000)],
    "pipeline": [partial(suite.run, FULL)],
}


def main() -> int:
    """Runs what the arguments name and keeps what there is. The exit code is 0 unless a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each case, after one warm-up")
    parser.add_argument("--out", type=Path, help="the file of results; by default benchmarks/results/<date>.json")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in CASES]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(CASES)}")
    # So that a case's process is ended, and what it has started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    where, code = machine(), 0
    results: dict[str, list[dict[str, object]]] = {}
    for name in arguments.names or CASES:
        for case in CASES[name]:
            # A fresh process: neither the memory nor the collector's state of one case weighs on the next.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                try:
                    result = pool.apply(case, (arguments.runs,))
                except (KafkaTrouble, BenchmarkFailed) as trouble:
                    sys.stderr.write(f"{name}: {trouble}\n")
                    code = 2
                    continue
            results.setdefault(name, []).append(result)
            if name != "pipeline":  # whose tables come at the end
                sys.stdout.write(f"{name}: {json.dumps(result)}\n")
                sys.stdout.flush()
    today = datetime.now(UTC).date().isoformat()
    pipeline = results.pop("pipeline", [])
    if results:
        _keep(arguments.out or RESULTS / f"{today}.json", where, results)
    if pipeline:
        out = arguments.out if arguments.out and not results else RESULTS / f"{today}-pipeline.json"
        _keep(out, where, {"pipeline": pipeline})
        tables = "\n".join(report.markdown(found) for found in pipeline)
        sys.stdout.write(f"\n{tables}")
        out.with_suffix(".md").write_text(tables, encoding="utf-8")
    return code


def _keep(out: Path, where: dict[str, object], results: dict[str, list[dict[str, object]]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": where, "results": results}, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"kept in {out}\n")


if __name__ == "__main__":
    sys.exit(main())
