"""The benchmark of the pipeline, small: it works from end to end, whatever the speed."""

import asyncio
import time

import pytest

from benchmarks import cdr_search, client_search
from benchmarks.pipeline import report, suite
from benchmarks.pipeline.sampling import Sampler
from benchmarks.pipeline.sizes import SMALL
from deploy.kafka.local import LocalKafka


def test_the_pipeline_is_measured_from_the_backlog_to_the_tables(kafka: LocalKafka):
    found = asyncio.run(suite.measure(kafka, SMALL, runs=1))

    one, two = found["throughput"]
    assert (one["workers"], two["workers"]) == (1, 2)
    for row in (one, two):
        assert row["attempts"]["records"] == row["cdrs"]["records"] == SMALL.attempts
        assert 0 < row["attempts"]["batches"] <= SMALL.attempts
        assert row["attempts"]["cpu_seconds"] > 0
    for kind in ("attempts", "cdrs"):
        assert one[kind]["engine_alone"]["events"] == SMALL.attempts
        assert one[kind]["bare"]["records"] > 0

        assert found["sampled"][kind]["records"] == SMALL.attempts

    (latency,) = found["latency"]
    (load,) = latency["rates"]
    assert 0 < load["p50_ms"] <= load["p99_ms"] <= load["max_ms"]
    assert (
        load["counted"]
        < load["worker"]["records"]
        == round(SMALL.rates[0] * (SMALL.load_warm_up_seconds + SMALL.load_seconds))
    )
    assert set(latency["transactions"]) == {"empty", "one_message"}

    (restore,) = found["restore"]
    (taken,) = restore["runs"]
    # The balance and the payment's id of each account, and the position.
    assert taken["restored_records"] >= 2 * SMALL.restored_accounts[0] + 1
    # Either may be noted first: the worker takes a partition in the background and commits in the same round.
    assert taken["seconds"] > 0
    assert taken["committed_seconds"] > 0

    (table,) = found["table"]
    assert table["events"] == SMALL.table_events, table


def test_a_look_at_the_running_function_names_what_takes_the_time():
    sampler = Sampler()
    deadline = time.process_time() + 10

    def toil() -> None:
        while sampler.seen.total() < 5 and time.process_time() < deadline:
            sum(range(1_000))

    sampler.start()
    toil()
    shares = sampler.stop()

    place, share = next(iter(shares.items()))
    assert place.startswith("tests/test_benchmarks_smoke.py:")
    assert place.endswith("toil")
    assert share > 0.5


def test_the_tables_have_a_cell_for_each_number():
    costs = {"records": 10, "batches": 2, "cpu_seconds": 0.5, "engine_seconds": 0.2, "transaction_seconds": 0.1}
    costs |= {"wall_seconds": 1.0, "broker_cpu_seconds": 0.3}
    alone = {"engine_alone": {"events": 10, "cpu_seconds": 0.2}, "bare": {"records": 10, "cpu_seconds": 0.1}}
    kinds = {"attempts": costs | alone, "cdrs": costs | alone}
    shares = {"engine/state.py:State.publish": 0.5, "asyncio/events.py:Handle._run": 0.25, "elsewhere.py:run": 0.25}
    transactions = {name: {"p50_ms": 1.0, "p99_ms": 2.0, "cpu_ms": 0.5} for name in ("empty", "one_message")}
    rate = {"rate": 500, "p50_ms": 2.0, "p99_ms": 3.0, "p999_ms": 4.0, "max_ms": 5.0, "later_than": {"50_ms": 0.25}}
    rate |= {"sent_behind_schedule_ms": {"p99": 1.5}}
    rate |= {"worker": {"records": 10, "batches": 5, "record_to_commit_ms": {"p99": 2.5}}}
    taken = {"seconds": 0.5, "committed_seconds": 0.6, "restored_records": 100, "cpu_seconds": 0.25}
    taken |= {"before_mb": 10.0, "after_mb": 12.0, "peak_mb": 15.0}

    text = report.markdown(
        {
            "throughput": [kinds | {"partitions": 4, "workers": 1}],
            "sampled": {kind: costs | {"shares": shares} for kind in kinds},
            "latency": [{"transactions": transactions, "rates": [rate]}],
            "restore": [{"accounts": 10_000, "runs": [taken]}],
            "table": [{"failed": "it does not start"}],
        }
    )

    assert "| attempts/s per processor second of a worker | 20 |" in text
    assert "| the loop around the engine | 30000.0 | 30000.0 |" in text
    assert "| the engine: rules, state, encoding | 25000.0 | 25000.0 |" in text
    assert "| the rest | 12500.0 | 12500.0 |" in text
    assert "| 500 | 2.0 | 3.0 | 4.0 | 5.0 | 25% | 2.5 | 1.5 | 2 |" in text
    assert "The p99 at 500/s is 3.0 medians and 1.5 p99s of an empty transaction." in text
    assert "| 10 000 | 100 | 0.50 | 0.60 | 400 | 10 | 12 | 15 |" in text
    assert "It did not run: it does not start" in text


def test_searches_are_measured_with_their_plans(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(cdr_search.ROWS, "20000")
    monkeypatch.setenv(client_search.ROWS, "2000")
    for found, rows, plain in ((cdr_search.run(), 20_000, "by_service, year"), (client_search.run(), 2_000, "account")):
        assert found["rows"] == rows
        assert found["searches"].keys() == found["plans"].keys()
        for name, search in found["searches"].items():
            assert 0 < search["p50_ms"] <= search["p99_ms"] <= search["longest_ms"], name
            assert any("actual rows" in line for line in found["plans"][name])
        assert found["searches"][plain]["rows"] >= 1
    assert found["searches"]["all of them"]["rows"] == client_search.PAGE
    monkeypatch.setenv(cdr_search.ROWS, "many")
    with pytest.raises(ValueError, match="write a number of rows"):
        cdr_search.run()
