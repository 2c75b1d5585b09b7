"""What the engine process tells Prometheus, and what it answers to those who ask whether it lives and is ready."""

import asyncio
import json
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from simulation.company import company
from watched import NOON, Engine, Task, Watched, allowed, batch, denied, rated, rejected

from connectors.broker import Message, TopicPartition
from connectors.health import CONNECTIONS, REQUEST_BYTES, Health, HealthServer
from connectors.memory import MemoryBroker
from connectors.metrics import LATENCY_SECONDS, EngineMetrics, Histogram, registry
from connectors.settings import BadSettings
from connectors.worker import Worker
from schemas import topics
from schemas.codec import encode
from schemas.decisions import REASON_CODES, BadNumber, InsufficientFunds
from schemas.events import Payment
from schemas.facts import REJECTIONS

DEADLINE_SECONDS = 10.0
T = TypeVar("T")


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def watch(worker: Watched, *, now: float = NOON) -> EngineMetrics:
    metrics = EngineMetrics(now=Clock(now), monotonic=Clock(worker.last_step))
    metrics.watch(worker)
    return metrics


def value(metrics: EngineMetrics, name: str, **labels: str) -> float | None:
    return registry(metrics).get_sample_value(name, labels)


# What is counted


def test_decisions_are_counted_by_outcome_and_first_reason() -> None:
    metrics = watch(Watched())
    money = InsufficientFunds(0, 0, 0, 0, 5)

    metrics.observe(batch(allowed(), allowed(), denied(money), denied(BadNumber("x")), allowed(extension=1)))
    metrics.observe(batch(denied(money), denied(money, extension=2), allowed(emergency=True)))

    def decisions(kind: str, outcome: str, reason: str) -> float | None:
        return value(metrics, "tollgate_decisions_total", kind=kind, outcome=outcome, reason=reason)

    assert decisions("attempt", "allowed", "none") == 3
    assert decisions("attempt", "denied", "insufficient_funds") == 2
    assert decisions("attempt", "denied", "bad_number") == 1
    assert decisions("extension", "allowed", "none") == 1
    assert decisions("extension", "denied", "insufficient_funds") == 1


def test_an_answer_given_again_is_no_decision() -> None:
    metrics = watch(Watched())

    metrics.observe(batch(allowed(), allowed(repeated=True), denied(BadNumber("x"), repeated=True)))

    assert sum(_samples(metrics, "tollgate_decisions_total")) == 1


def test_events_rated_cdrs_and_rejected_events_are_counted() -> None:
    metrics = watch(Watched())

    metrics.observe(batch(rated(), rated(late=True), rejected("id_reused"), attempts=[0], cdrs=[0, 0, 0]))

    assert value(metrics, "tollgate_events_total", topic="call-attempts") == 1
    assert value(metrics, "tollgate_events_total", topic="cdrs") == 3
    assert value(metrics, "tollgate_rated_cdrs_total") == 2
    assert value(metrics, "tollgate_late_cdrs_total") == 1
    assert value(metrics, "tollgate_rejected_events_total", reason="id_reused") == 1
    assert value(metrics, "tollgate_batch_records_sum") == 4


def test_all_series_are_there_before_anything_happens() -> None:
    """`rate` and `increase` do not see the first event of a series that begins with it."""
    metrics = watch(Watched())

    for topic in topics.INPUTS:
        assert value(metrics, "tollgate_events_total", topic=topic.name) == 0
    for kind in ("attempt", "extension"):
        assert value(metrics, "tollgate_decisions_total", kind=kind, outcome="allowed", reason="none") == 0
        for code in REASON_CODES:
            assert value(metrics, "tollgate_decisions_total", kind=kind, outcome="denied", reason=code) == 0
    for reason in REJECTIONS:
        assert value(metrics, "tollgate_rejected_events_total", reason=reason) == 0
    assert value(metrics, "tollgate_decision_latency_seconds_bucket", le="+Inf") == 0


def test_latency_is_from_the_record_to_the_commit_and_of_call_attempts_alone() -> None:
    metrics = watch(Watched(), now=NOON + 1)

    metrics.observe(batch(attempts=[0.9995, 0.996, 0.5, -20], cdrs=[-100]))

    def at_most(seconds: str) -> float | None:
        return value(metrics, "tollgate_decision_latency_seconds_bucket", le=seconds)

    assert [at_most(le) for le in ("0.001", "0.003", "0.005", "0.25", "0.5", "10.0", "+Inf")] == [1, 1, 2, 2, 3, 3, 4]
    assert value(metrics, "tollgate_decision_latency_seconds_sum") == pytest.approx(0.0005 + 0.004 + 0.5 + 21)


def test_a_switch_whose_clock_is_ahead_has_not_waited() -> None:
    metrics = watch(Watched())

    metrics.observe(batch(attempts=[3600, -2]))

    assert value(metrics, "tollgate_decision_latency_seconds_bucket", le="0.001") == 1
    assert value(metrics, "tollgate_decision_latency_seconds_sum") == 2


@given(st.lists(st.integers(0, 20_000_000)))
def test_many_values_at_once_count_as_each_of_them(values: list[int]) -> None:
    at_once, one_by_one = Histogram(LATENCY_SECONDS, 1_000_000), Histogram(LATENCY_SECONDS, 1_000_000)

    at_once.add_sorted(sorted(values))
    for each in values:
        one_by_one.add(each)

    assert at_once.family("waited", "") == one_by_one.family("waited", "")
    buckets = [sample.value for sample in at_once.family("waited", "").samples if sample.name == "waited_bucket"]
    bounds = [round(bound * 1_000_000) for bound in LATENCY_SECONDS]
    places = [bisect_left(bounds, each) for each in values]
    assert buckets == [sum(place <= bucket for place in places) for bucket in range(len(bounds) + 1)]


def test_a_batch_shows_its_time_in_the_engine_and_in_the_transaction() -> None:
    metrics = watch(Watched())

    metrics.observe(batch(attempts=[0], engine_seconds=0.002, transaction_seconds=0.02))

    assert value(metrics, "tollgate_batch_engine_seconds_bucket", le="0.0025") == 1
    assert value(metrics, "tollgate_batch_engine_seconds_bucket", le="0.001") == 0
    assert value(metrics, "tollgate_batch_transaction_seconds_bucket", le="0.025") == 1
    assert value(metrics, "tollgate_batch_transaction_seconds_sum") == 0.02


# What befalls partitions


def test_what_came_again_and_what_was_sent_on_is_counted_across_owners() -> None:
    worker = Watched(tasks={0: Task(0)})
    metrics = watch(worker)

    for duplicates, forwarded in ((2, 1), (5, 1)):
        worker.tasks[0].engine.duplicates, worker.tasks[0].forwarded = duplicates, forwarded
        metrics.observe(batch())
    # The partition goes and comes back; its counters begin anew, above what they were at its first batch.
    worker.tasks[0] = Task(0, Engine(duplicates=6), forwarded=2)
    metrics.taken(worker.tasks[0])
    metrics.observe(batch())

    assert value(metrics, "tollgate_repeated_events_total") == 5 + 6
    assert value(metrics, "tollgate_forwarded_events_total") == 1 + 2


def test_a_partition_that_was_dropped_and_came_back_counts_as_retaken() -> None:
    metrics = watch(Watched())
    for partition in range(5):
        metrics.taken(Task(partition, restore_seconds=0.4, restored_records=10))

    metrics.fenced(0)
    metrics.fenced(1)
    metrics.ambiguous(2)
    metrics.state_lost(3)
    for partition in (0, 2, 3, 4):
        metrics.taken(Task(partition, restore_seconds=3.0, restored_records=100))

    assert value(metrics, "tollgate_partitions_fenced_total") == 2
    assert value(metrics, "tollgate_commits_ambiguous_total") == 1
    assert value(metrics, "tollgate_states_lost_total") == 1
    # 1 has not come back, 4 had only been moved.
    assert value(metrics, "tollgate_partitions_retaken_total") == 3
    assert value(metrics, "tollgate_restore_seconds_bucket", le="0.5") == 5
    assert value(metrics, "tollgate_restore_seconds_count") == 9
    assert value(metrics, "tollgate_restored_records_total") == 450


def test_state_is_summed_over_the_partitions_owned_and_lag_is_shown_for_each() -> None:
    worker = Watched(
        tasks={
            3: Task(3, Engine({"a": 1, "b": 2}, {"c": 1}, running_calls=1, held_micros=5_000_000)),
            7: Task(7, Engine({"d": 1}, {"e": 1, "f": 1}, running_calls=2, held_micros=700_000)),
        },
        behind={TopicPartition("cdrs", 3): 12, TopicPartition("cdrs", 7): 0},
    )
    metrics = watch(worker)

    assert value(metrics, "tollgate_partitions_owned") == 2
    assert value(metrics, "tollgate_running_calls") == 3
    assert value(metrics, "tollgate_held_micros") == 5_700_000
    assert value(metrics, "tollgate_calls_in_memory") == 3
    assert value(metrics, "tollgate_accounts_in_memory") == 3
    assert value(metrics, "tollgate_consumer_lag_records", topic="cdrs", partition="3") == 12
    assert value(metrics, "tollgate_consumer_lag_records", topic="cdrs", partition="7") == 0


def test_the_age_of_the_reference_data_begins_with_its_version() -> None:
    clock, worker = Clock(NOON), Watched(reference_version=0)
    metrics = EngineMetrics(now=clock)
    metrics.watch(worker)
    assert value(metrics, "tollgate_reference_in_force_timestamp_seconds") == 0

    worker.reference_version = 77
    metrics.observe(batch())
    clock.at += 60
    assert value(metrics, "tollgate_reference_version") == 77
    assert value(metrics, "tollgate_reference_in_force_timestamp_seconds") == NOON

    worker.reference_version = 78
    assert value(metrics, "tollgate_reference_in_force_timestamp_seconds") == NOON + 60


def test_the_last_round_is_told_by_the_wall_clock() -> None:
    metrics = EngineMetrics(now=Clock(NOON), monotonic=Clock(130.0))
    metrics.watch(Watched(last_step=100.0, ready=False))

    assert value(metrics, "tollgate_last_round_timestamp_seconds") == NOON - 30
    assert value(metrics, "tollgate_ready") == 0


def test_before_there_is_a_worker_the_numbers_are_those_of_one_that_does_nothing() -> None:
    metrics = EngineMetrics(now=Clock(NOON), monotonic=Clock(130.0))

    assert value(metrics, "tollgate_ready") == 0
    assert value(metrics, "tollgate_partitions_owned") == 0
    assert value(metrics, "tollgate_last_round_timestamp_seconds") == NOON
    assert value(metrics, "tollgate_reference_version") == 0


def test_the_numbers_of_a_worker_are_those_of_what_it_did() -> None:
    """The production worker on the in-memory broker, watched as in a deployment."""

    async def play() -> EngineMetrics:
        broker = MemoryBroker(
            {topic.name: 2 for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
        )
        operator = company(Random(1))
        metrics = EngineMetrics()
        worker = Worker(broker, operator.settings, operator.reference(), observer=metrics)
        metrics.watch(worker)
        await worker.start()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not worker.ready:
                await worker.step()
            account_id = operator.accounts[0].account_id
            payment = encode(Payment("p1", account_id, "2026-11-24T09:00:00.000Z", 1))
            for value in (payment, payment, b"{}"):
                for partition in range(2):
                    message = Message(account_id.encode(), value, 1_795_510_800_000_000)
                    broker.produce(topics.ACCOUNT_COMMANDS.name, partition, [message])
            taken = 0
            while taken < 8:
                taken += await worker.step()
        return metrics

    metrics = asyncio.run(play())

    assert value(metrics, "tollgate_ready") == 1
    assert value(metrics, "tollgate_partitions_owned") == 2
    assert value(metrics, "tollgate_restore_seconds_count") == 2
    # Two came to the wrong partition, were sent on, and were met again there.
    assert value(metrics, "tollgate_forwarded_events_total") == 2
    assert value(metrics, "tollgate_events_total", topic="account-commands") == 8
    assert value(metrics, "tollgate_repeated_events_total") == 3
    assert value(metrics, "tollgate_rejected_events_total", reason="malformed") == 2
    assert value(metrics, "tollgate_accounts_in_memory") == 1
    assert value(metrics, "tollgate_consumer_lag_records", topic="account-commands", partition="0") == 0


# How it is shown


def busy() -> EngineMetrics:
    """Numbers of all kinds."""
    worker = Watched(
        tasks={0: Task(0, Engine({"a": 1}, {"c": 1}, 2, 1, 5_000_000), 1, 0.3, 42)},
        behind={TopicPartition("cdrs", 0): 12},
        reference_version=77,
    )
    metrics = watch(worker)
    metrics.taken(worker.tasks[0])
    metrics.observe(batch(allowed(), rated(), rejected("bad_time"), attempts=[-1], cdrs=[-1, -2]))
    return metrics


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4", parse_plain),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4", parse_plain),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.1",
            "application/openmetrics-text",
            parse_openmetrics,
        ),
    ],
)
def test_prometheus_can_read_all_of_it_in_the_form_it_asks_for(
    accept: str, content_type: str, parse: Callable[[str], Iterator[Metric]]
) -> None:
    made = registry(busy())

    async def play(port: int) -> Response:
        return await ask(port, f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())

    response = served(play, numbers=made)

    assert response.status == 200
    assert response.headers["content-type"].startswith(content_type)
    families = {family.name: family for family in parse(response.body.decode())}
    assert {"tollgate_decision_latency_seconds", "process_cpu_seconds", "python_info"} <= _stripped(families)
    assert all(family.documentation for family in families.values())
    bucket = [sample for sample in families["tollgate_batch_records"].samples if sample.labels.get("le") == "+Inf"]
    assert [sample.value for sample in bucket] == [1]


def test_no_label_names_a_person_or_a_call() -> None:
    labels = {label for family in busy().collect() for sample in family.samples for label in sample.labels}

    assert labels == {"topic", "kind", "outcome", "reason", "partition", "le", "version"}


# Whether it lives, and is ready


def health(worker: Watched, *, now: float, since: float = 0.0) -> Health:
    clock = Clock(since)
    made = Health(worker, round_seconds=30, monotonic=clock)
    clock.at = now
    return made


@pytest.mark.parametrize(("now", "status"), [(100.0, 200), (130.0, 200), (130.5, 503)])
def test_it_lives_while_its_main_loop_goes_round(now: float, status: int) -> None:
    answer = health(Watched(last_step=100.0), now=now).live()

    assert answer.status == status
    assert json.loads(answer.body)["live"] is (status == 200)


def test_the_time_before_the_first_round_counts_from_the_start() -> None:
    worker = Watched(last_step=0.0)

    assert health(worker, since=5000.0, now=5030.0).live().status == 200
    late = health(worker, since=5000.0, now=5031.0).live()
    assert late.status == 503
    assert "no round for 31 s" in json.loads(late.body)["why"]


def test_it_is_ready_with_all_partitions_and_reference_data() -> None:
    worker = Watched(tasks={3: Task(3), 1: Task(1)}, reference_version=77)

    answer = health(worker, now=1.0).ready()

    assert answer.status == 200
    assert json.loads(answer.body) == {
        "ready": True,
        "waiting_for": [],
        "partitions": [1, 3],
        "reference_version": 77,
    }


def test_what_it_waits_for_is_said() -> None:
    worker = Watched(tasks={3: Task(3)}, ready=False, reference_version=0)

    answer = health(worker, now=901.0).ready()

    assert answer.status == 503
    found = json.loads(answer.body)
    assert found["ready"] is False
    assert [text.split(" ")[0] for text in found["waiting_for"]] == ["the", "reference", "partitions:"]
    assert "no round for 901 s" in found["waiting_for"][0]
    assert "1 are worked on" in found["waiting_for"][2]


# The server, and what clients do to it


class Response:
    """What came back: status, headers by name in small letters, body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = {name.lower(): text for name, _, text in (header.partition(": ") for header in headers)}


async def ask(port: int, request: bytes) -> Response:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return Response(await reader.read())
    finally:
        writer.close()


def served(
    play: Callable[[int], Awaitable[T]],
    *,
    numbers: CollectorRegistry | None = None,
    worker: Watched | None = None,
    request_seconds: float = 5.0,
    answer_seconds: float = 5.0,
) -> T:
    """Plays against a server on a free port."""

    async def run() -> T:
        server = HealthServer(
            CollectorRegistry() if numbers is None else numbers,
            Health(worker or Watched(last_step=time.monotonic())),
            request_seconds=request_seconds,
            answer_seconds=answer_seconds,
        )
        port = await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await play(port)
        finally:
            await server.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /ready HTTP/1.0\r\n\r\n", 200),
        (b"GET /ready?verbose=1 HTTP/1.1\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../secret HTTP/1.1\r\n\r\n", 404),
        (b"POST /live HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /live\r\n\r\n", 400),
        (b"GET /live HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\xff\xfe\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nCookie: " + b"x" * REQUEST_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 3 * REQUEST_BYTES, 431),
    ],
)
def test_each_request_gets_its_answer(request_: bytes, status: int) -> None:
    response = served(lambda port: ask(port, request_))

    assert response.status == status
    assert int(response.headers["content-length"]) == len(response.body) > (0 if status != 200 else -1)
    assert response.headers["connection"] == "close"


def test_head_gets_no_body_and_405_says_what_is_allowed() -> None:
    async def play(port: int) -> tuple[Response, Response]:
        return await ask(port, b"HEAD /live HTTP/1.1\r\n\r\n"), await ask(port, b"PUT /live HTTP/1.1\r\n\r\n")

    head, put = served(play)

    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    assert (put.status, put.headers["allow"]) == (405, "GET, HEAD")


def test_a_worker_that_is_not_ready_answers_503() -> None:
    response = served(lambda port: ask(port, b"GET /ready HTTP/1.1\r\n\r\n"), worker=Watched(ready=False))

    assert response.status == 503
    assert response.headers["content-type"].startswith("application/json")


def test_a_client_that_does_not_finish_its_request_is_sent_away() -> None:
    response = served(lambda port: ask(port, b"GET /live HTTP/1.1\r\nHost:"), request_seconds=0.05)

    assert response.status == 408


def test_clients_that_dawdle_do_not_shut_out_a_probe() -> None:
    async def play(port: int) -> Response:
        dawdling = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS + 5)]
        try:
            return await ask(port, b"GET /live HTTP/1.1\r\n\r\n")
        finally:
            for _, writer in dawdling:
                writer.close()

    assert served(play, request_seconds=60.0).status == 200


def test_a_client_that_goes_away_or_takes_nothing_leaves_nothing_behind() -> None:
    class Huge:
        def collect(self) -> Iterator[Metric]:
            yield Metric("huge", "x" * 32_000_000, "gauge")

    made = CollectorRegistry()
    made.register(Huge())

    async def play(port: int) -> None:
        _, gone = await asyncio.open_connection("127.0.0.1", port)
        gone.write(b"GET /metr")
        gone.transport.abort()
        taking_nothing, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        await until(lambda: serving() == 1)
        await until(lambda: serving() == 0)
        assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).status == 200
        writer.transport.abort()
        del taking_nothing

    served(play, numbers=made, answer_seconds=0.1)


def test_a_server_that_ends_does_not_wait_for_its_clients() -> None:
    async def play() -> bytes:
        server = HealthServer(CollectorRegistry(), Health(Watched()), request_seconds=60.0)
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: serving() == 1)
        await server.close()
        await server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(asyncio.wait_for(play(), DEADLINE_SECONDS)) == b""


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    async def second(port: int) -> None:
        await HealthServer(CollectorRegistry(), Health(Watched())).start("127.0.0.1", port)

    with pytest.raises(BadSettings, match=r"^\[metrics\] port \d+ on 127.0.0.1 is taken; .*TOLLGATE_METRICS_PORT$"):
        served(second)


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machines_is_named_with_the_way_out(host: str) -> None:
    server = HealthServer(CollectorRegistry(), Health(Watched()))

    with pytest.raises(BadSettings) as refused:
        asyncio.run(server.start(host, 0))

    assert str(refused.value).startswith(f"[metrics] host '{host}' can't be listened on: ")
    assert str(refused.value).endswith("set TOLLGATE_METRICS_HOST, as in 0.0.0.0")
    assert "\n" not in str(refused.value)


def serving() -> int:
    """Connections that the server works on."""
    return sum(task.get_name() == "health" for task in asyncio.all_tasks())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0)


def _samples(metrics: EngineMetrics, name: str) -> list[float]:
    return [sample.value for family in metrics.collect() for sample in family.samples if sample.name == name]


def _stripped(families: dict[str, Any]) -> set[str]:
    return {name.removesuffix("_total") for name in families}
