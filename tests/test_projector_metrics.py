"""What the projector's process says of itself: its numbers, and whether it is ready."""

import json
from dataclasses import dataclass, field

from projected import DECISIONS, RATED
from prometheus_client.exposition import generate_latest

from connectors.broker import Record, TopicPartition
from connectors.postgres.facts_store import Position
from connectors.projector import Batch
from connectors.projector_metrics import ProjectorHealth, ProjectorMetrics, registry
from schemas.times import to_datetime

NOON = 1_795_521_600.0


@dataclass
class Watched:
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    missed_records: int = 0
    database_away: bool = False
    ready: bool = True
    last_step: float = 0.0
    behind: dict[TopicPartition, int] = field(default_factory=dict)

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(place.partition for place in self.positions)

    def lag(self) -> dict[TopicPartition, int]:
        return self.behind


def record(topic: str, offset: int, seconds: float) -> Record:
    return Record(topic, 0, offset, b"k", b"{}", round((NOON + seconds) * 1_000_000), 0)


def numbers(metrics: ProjectorMetrics) -> dict[str, float]:
    lines = generate_latest(registry(metrics)).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def metrics_of(watched: Watched, now: float = NOON) -> ProjectorMetrics:
    metrics = ProjectorMetrics(now=lambda: now, monotonic=lambda: 100.0)
    metrics.watch(watched)
    return metrics


def test_records_batches_and_their_delay_are_counted():
    metrics = metrics_of(Watched(), now=NOON + 2)
    metrics.observe(Batch(0, [record(DECISIONS, 0, 1.5), record(RATED, 0, 1.0), record(RATED, 1, 1.75)], 1, 0.02))
    metrics.away()
    metrics.overtaken(3)
    found = numbers(metrics)

    assert found[f'tollgate_projected_records_total{{topic="{RATED}"}}'] == 2
    assert found[f'tollgate_projected_records_total{{topic="{DECISIONS}"}}'] == 1
    assert found['tollgate_projected_records_total{topic="notices"}'] == 0
    assert found["tollgate_projector_laid_aside_total"] == 1
    assert found["tollgate_projector_database_away_total"] == 1
    assert found["tollgate_projector_overtaken_total"] == 1
    assert found["tollgate_projector_batch_records_sum"] == 3
    # From the oldest of its records on.
    assert found["tollgate_projector_delay_seconds_sum"] == 1.0
    assert found["tollgate_projector_batch_seconds_sum"] == 0.02


def test_how_far_behind_it_is_is_told_in_records_and_in_seconds():
    place, other = TopicPartition(RATED, 0), TopicPartition(RATED, 1)
    minute_ago, hour_ago = (to_datetime(round((NOON - seconds) * 1_000_000)) for seconds in (60, 3600))
    watched = Watched({place: Position(5, minute_ago), other: Position(7, hour_ago)}, behind={place: 4, other: 0})
    found = numbers(metrics_of(watched))

    assert found[f'tollgate_projector_lag_records{{partition="0",topic="{RATED}"}}'] == 4
    # What waits counts; where nothing does, an old last record is no lag.
    assert found[f'tollgate_projector_lag_seconds{{topic="{RATED}"}}'] == 60
    assert found[f'tollgate_projector_lag_seconds{{topic="{DECISIONS}"}}'] == 0
    assert found["tollgate_projector_partitions"] == 2


def test_what_is_wrong_can_be_alarmed_on():
    found = numbers(metrics_of(Watched(stopped={1: "made anew"}, missed_records=7, database_away=True, ready=False)))

    assert found["tollgate_projector_stopped_partitions"] == 1
    assert found["tollgate_projector_missed_records"] == 7
    assert found["tollgate_projector_database_is_away"] == 1
    assert found["tollgate_projector_ready"] == 0


def test_it_is_ready_when_the_database_takes_what_comes_and_no_partition_is_stopped():
    watched = Watched()
    health = ProjectorHealth(watched, monotonic=lambda: 10.0)
    assert health.ready().status == 200
    assert json.loads(health.ready().body) == {"ready": True, "waiting_for": [], "partitions": []}

    watched.ready = False
    assert "still to be assigned" in json.loads(health.ready().body)["waiting_for"][0]
    watched.database_away = True
    assert "the database" in json.loads(health.ready().body)["waiting_for"][0]
    watched.stopped = {2: "rated-cdrs-2 has been made anew"}
    answer = health.ready()
    assert answer.status == 503
    assert "partition 2: rated-cdrs-2 has been made anew" in json.loads(answer.body)["waiting_for"]


def test_it_is_alive_as_long_as_its_loop_turns():
    now = [0.0]
    watched = Watched()
    health = ProjectorHealth(watched, round_seconds=60.0, monotonic=lambda: now[0])
    assert health.live().status == 200
    now[0] = 61.0
    assert health.live().status == 503
    watched.last_step = 50.0
    assert health.live().status == 200
