"""The pipeline's numbers as tables of Markdown: the median of the runs in each cell."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.pipeline.sampling import by_area

Found = dict[str, Any]

_KINDS = (("attempts", "attempts"), ("cdrs", "CDRs"))


def markdown(found: Found) -> str:
    """All tables, of what `suite.measure` has found."""
    parts = [
        _throughput(found["throughput"]),
        _costs(found["throughput"]),
        _areas(found["sampled"]),
        _latency(found["latency"]),
        _restore(found["restore"]),
        _table(found["table"], found["throughput"]),
    ]
    return "\n".join(parts)


def _throughput(rows: Sequence[Found]) -> str:
    shapes = sorted({(row["partitions"], row["workers"]) for row in rows})
    lines: list[list[str]] = []

    def add(title: str, value: Callable[[Found], float], show: Callable[[float], str]) -> None:
        for kind, word in _KINDS:
            cells = [show(median(value(row[kind]) for row in rows if _shape(row) == shape)) for shape in shapes]
            lines.append([title.format(word), *cells])

    add("{}/s per processor second of a worker", lambda one: one["records"] / one["cpu_seconds"], _count)
    add("{}/s by the clock, all workers", lambda one: one["records"] / one["wall_seconds"], _count)
    add("records in a batch, {}", lambda one: one["records"] / one["batches"], _count)
    add("seconds of the clock, {}", lambda one: one["wall_seconds"], _seconds)
    add("of them in engines, all workers, {}", lambda one: one["engine_seconds"], _seconds)
    add("in transactions, which go side by side, {}", lambda one: one["transaction_seconds"], _seconds)
    add("broker's processor, µs a record, {}", lambda one: one["broker_cpu_seconds"] / one["records"] * 1e6, _us)
    head = [f"{partitions} partitions, {_workers(workers)}" for partitions, workers in shapes]
    return _titled("A backlog worked off, exactly once", ["", *head], lines)


def _costs(rows: Sequence[Found]) -> str:
    """Where the time of one worker goes: processor µs for each event."""
    compared = [row for row in rows if "engine_alone" in row["attempts"]]
    columns = [
        (partitions, kind, word)
        for partitions in sorted({row["partitions"] for row in compared})
        for kind, word in _KINDS
    ]

    def cells(value: Callable[[Found], float], show: Callable[[float], str]) -> list[str]:
        return [
            show(median(value(row[kind]) for row in compared if row["partitions"] == partitions))
            for partitions, kind, _ in columns
        ]

    lines = [
        ["the pipeline", *cells(_pipeline_us, _us)],
        ["the engine alone on the same events, from JSON to bytes", *cells(_engine_us, _us)],
        ["the loop around the engine", *cells(lambda one: _pipeline_us(one) - _engine_us(one), _us)],
        ["the bare loop: consume, copy as many bytes, commit", *cells(_bare_us, _us)],
        ["the bare loop's records/s per core: the limit", *cells(lambda one: 1e6 / _bare_us(one), _count)],
    ]
    head = [f"{word}, {partitions} partitions" for partitions, _, word in columns]
    return _titled("Processor µs for each event, one worker", ["", *head], lines)


def _pipeline_us(one: Found) -> float:
    return float(one["cpu_seconds"] / one["records"] * 1e6)


def _engine_us(one: Found) -> float:
    return float(one["engine_alone"]["cpu_seconds"] / one["engine_alone"]["events"] * 1e6)


def _bare_us(one: Found) -> float:
    return float(one["bare"]["cpu_seconds"] / one["bare"]["records"] * 1e6)


def _areas(sampled: Found) -> str:
    shares = {kind: by_area(sampled[kind]["shares"]) for kind, _ in _KINDS}
    us = {kind: _pipeline_us(sampled[kind]) for kind, _ in _KINDS}
    lines = [[area, *(_us(shares[kind][area] * us[kind]) for kind, _ in _KINDS)] for area in shares[_KINDS[0][0]]]
    return _titled(
        "Where a worker's processor time goes, by sampling: µs for each event", ["", "attempts", "CDRs"], lines
    )


def _latency(runs: Sequence[Found]) -> str:
    lines = []
    for place, rate in enumerate(one["rate"] for one in runs[0]["rates"]):
        rows = [run["rates"][place] for run in runs]
        lines.append(
            [
                _count(rate),
                *(_ms(median(row[name] for row in rows)) for name in ("p50_ms", "p99_ms", "p999_ms")),
                _ms(max(row["max_ms"] for row in rows)),
                _share(median(row["later_than"]["50_ms"] for row in rows)),
                _ms(median(row["worker"]["record_to_commit_ms"]["p99"] for row in rows)),
                _ms(median(row["sent_behind_schedule_ms"]["p99"] for row in rows)),
                _count(median(row["worker"]["records"] / row["worker"]["batches"] for row in rows)),
            ]
        )
    head = ["attempts/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "later than 50 ms"]
    head += ["record to commit, p99 ms", "sent behind schedule, p99 ms", "records in a batch"]
    table = _titled("From set-up to decision, one worker", head, lines)
    alone = {
        kind: {name: median(run["transactions"][kind][name] for run in runs) for name in ("p50_ms", "p99_ms", "cpu_ms")}
        for kind in ("empty", "one_message")
    }
    slowest = median(run["rates"][0]["p99_ms"] for run in runs)
    return table + "\n".join(
        [
            f"A transaction of offsets alone: median {_ms(alone['empty']['p50_ms'])} ms, "
            f"p99 {_ms(alone['empty']['p99_ms'])} ms, {alone['empty']['cpu_ms']:.2f} ms of the processor; "
            f"with one message: median {_ms(alone['one_message']['p50_ms'])} ms, "
            f"p99 {_ms(alone['one_message']['p99_ms'])} ms, {alone['one_message']['cpu_ms']:.2f} ms of the processor.",
            f"The p99 at {_count(runs[0]['rates'][0]['rate'])}/s is {slowest / alone['empty']['p50_ms']:.1f} medians "
            f"and {slowest / alone['empty']['p99_ms']:.1f} p99s of an empty transaction.",
            "",
        ]
    )


def _restore(rows: Sequence[Found]) -> str:
    lines = []
    for row in rows:
        runs = row["runs"]
        lines.append(
            [
                _count(row["accounts"]),
                _count(median(run["restored_records"] for run in runs)),
                _seconds(median(run["seconds"] for run in runs)),
                _seconds(median(run["committed_seconds"] for run in runs)),
                _count(median(run["restored_records"] / run["cpu_seconds"] for run in runs)),
                *(_count(median(run[name] for run in runs)) for name in ("before_mb", "after_mb", "peak_mb")),
            ]
        )
    head = ["accounts", "records restored", "s until it works", "s until its first commit"]
    head += ["records/s per processor second"]
    head += ["MB before", "MB after", "MB at most"]
    return _titled("A new owner takes a partition", head, lines)


def _table(runs: Sequence[Found], rows: Sequence[Found]) -> str:
    whole = [run for run in runs if "events" in run]
    if not whole:
        return f"### The alternative: a table of faust-streaming\n\nIt did not run: {runs[0]['failed']}\n"
    ours = median(row["attempts"]["records"] / row["attempts"]["cpu_seconds"] for row in rows if row["workers"] == 1)
    lines = [
        [
            "faust: a count and a balance for each account, at least once",
            _count(median(run["events"] / run["cpu_seconds"] for run in whole)),
            _count(median(run["events"] / run["wall_seconds"] for run in whole)),
        ],
        ["this pipeline: whole decisions, exactly once", _count(ours), "see above"],
    ]
    head = ["", "attempts/s per processor second", "attempts/s by the clock"]
    return _titled("The alternative: a table of faust-streaming", head, lines)


def _shape(row: Found) -> tuple[int, int]:
    return row["partitions"], row["workers"]


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _titled(title: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]) + "\n"


def _count(value: float) -> str:
    """Three digits that mean something, thousands apart."""
    whole = round(value)
    digits = max(len(str(abs(whole))) - 3, 0)
    return f"{round(whole, -digits):,}".replace(",", " ")


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _us(value: float) -> str:
    return f"{value:.1f}"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"
