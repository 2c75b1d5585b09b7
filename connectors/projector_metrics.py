"""What the projector's process counts and measures, for Prometheus, and what it says of its health.

Counted in plain numbers as batches are written; the rest is asked of the projector when it is scraped.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from connectors.broker import TopicPartition
from connectors.health import Answer, Health
from connectors.metrics import BATCH_RECORDS, LATENCY_SECONDS, Histogram, Task, tollgate_version
from connectors.postgres.facts import READ
from connectors.postgres.facts_store import Position
from connectors.projector import Batch

_topic_of = attrgetter("topic")


class Watched(Protocol):
    """What is asked of a projector (`connectors.projector.Projector`)."""

    @property
    def partitions(self) -> frozenset[int]: ...
    @property
    def positions(self) -> Mapping[TopicPartition, Position]: ...
    @property
    def stopped(self) -> Mapping[int, str]: ...
    @property
    def missed_records(self) -> int: ...
    @property
    def database_away(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def last_step(self) -> float: ...

    def lag(self) -> Mapping[TopicPartition, int]: ...


class ProjectorMetrics:
    """An observer of the projector and a collector of Prometheus's."""

    def __init__(
        self, *, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._projector: Watched | None = None
        self._records: Counter[str] = Counter({topic.name: 0 for topic in READ})
        self._laid_aside = self._away = self._overtaken = 0
        self._batch_records = Histogram(BATCH_RECORDS)
        self._batch_seconds = Histogram(LATENCY_SECONDS)
        self._delay = Histogram(LATENCY_SECONDS)

    def watch(self, projector: Watched) -> None:
        """From now on it is asked for what it knows itself."""
        self._projector = projector

    def observe(self, batch: Batch) -> None:
        """Counts a batch that has been written."""
        self._records.update(map(_topic_of, batch.records))
        self._laid_aside += batch.laid_aside
        self._batch_records.add(len(batch.records))
        self._batch_seconds.add(batch.seconds)
        oldest_us = min(record.timestamp_us for record in batch.records)
        self._delay.add(max(self._now() - oldest_us / 1_000_000, 0.0))

    def away(self) -> None:
        """The database did not take something."""
        self._away += 1

    def overtaken(self, partition: int) -> None:
        """Somebody else wrote a partition."""
        self._overtaken += 1

    def collect(self) -> Iterator[Metric]:
        """All numbers as they are now."""
        records = CounterMetricFamily("tollgate_projected_records", "Records written, by topic.", labels=("topic",))
        for topic, count in self._records.items():
            records.add_metric((topic,), count)
        yield records
        yield CounterMetricFamily(
            "tollgate_projector_laid_aside",
            "Records that could not be stored; see facts.unprojected.",
            self._laid_aside,
        )
        yield CounterMetricFamily(
            "tollgate_projector_database_away", "Times that the database did not take something.", self._away
        )
        yield CounterMetricFamily(
            "tollgate_projector_overtaken", "Batches undone because somebody else wrote the partition.", self._overtaken
        )
        yield self._batch_records.family("tollgate_projector_batch_records", "Records in a batch that was written.")
        yield self._batch_seconds.family("tollgate_projector_batch_seconds", "Time to write a batch.")
        yield self._delay.family(
            "tollgate_projector_delay_seconds", "From the time of a batch's oldest record until the batch was written."
        )
        if self._projector is not None:
            yield from self._now_of(self._projector)
        build = GaugeMetricFamily("tollgate_build_info", "1; the version is in the label.", labels=("version",))
        build.add_metric((tollgate_version(),), 1)
        yield build

    def _now_of(self, projector: Watched) -> Iterator[Metric]:
        lag = projector.lag()
        records = GaugeMetricFamily(
            "tollgate_projector_lag_records", "Records that are not written yet.", labels=("topic", "partition")
        )
        behind: dict[str, float] = dict.fromkeys((topic.name for topic in READ), 0.0)
        now = self._now()
        for there, waiting in sorted(lag.items()):
            records.add_metric((there.topic, str(there.partition)), waiting)
            position = projector.positions.get(there)
            if waiting and position is not None and position.record_at is not None:
                age = max(now - position.record_at.timestamp(), 0.0)
                behind[there.topic] = max(behind[there.topic], age)
        yield records
        seconds = GaugeMetricFamily(
            "tollgate_projector_lag_seconds",
            "Age of the last record written, of the partition that is furthest behind; 0 where nothing waits.",
            labels=("topic",),
        )
        for topic, age in behind.items():
            seconds.add_metric((topic,), age)
        yield seconds
        for name, text, value in (
            ("partitions", "Partitions that this projector writes.", len(projector.partitions)),
            ("stopped_partitions", "Partitions that wait for somebody to do something.", len(projector.stopped)),
            ("missed_records", "Offsets that the broker had deleted before they were read.", projector.missed_records),
            ("database_is_away", "1 while the database does not take anything.", float(projector.database_away)),
            ("ready", "1 when partitions are assigned and all are written.", float(projector.ready)),
            (
                "last_round_timestamp_seconds",
                "Unix time when the main loop last finished a round.",
                now - (self._monotonic() - projector.last_step),
            ),
        ):
            yield GaugeMetricFamily(f"tollgate_projector_{name}", text, value)


def registry(metrics: ProjectorMetrics) -> CollectorRegistry:
    """A registry with the projector's numbers and those of the process."""
    made = CollectorRegistry()
    made.register(metrics)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


class ProjectorHealth(Health):
    """What a projector says of itself: ready when it writes all partitions that the group has assigned to it, which may
    be none, and the database takes them."""

    def __init__(
        self, projector: Watched, *, round_seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(_AsWorker(projector), round_seconds=round_seconds, monotonic=monotonic)
        self._projector = projector

    def waiting_for(self) -> list[str]:
        """What is still missing before the projector does all that it should."""
        found = []
        if (stalled := self.stalled()) is not None:
            found.append(stalled)
        if self._projector.database_away:
            found.append("the database: it does not take anything now")
        found += [f"partition {partition}: {why}" for partition, why in sorted(self._projector.stopped.items())]
        if not self._projector.ready and not found:
            written = len(self._projector.partitions)
            found.append(f"partitions: {written} are written, others are still to be assigned or taken")
        return found

    def ready(self) -> Answer:
        """200, or 503 with what is waited for."""
        waiting_for = self.waiting_for()
        return _json(
            503 if waiting_for else 200,
            {
                "ready": not waiting_for,
                "waiting_for": waiting_for,
                "partitions": sorted(self._projector.partitions),
            },
        )


def _json(status: int, value: object) -> Answer:
    return Answer(status, "application/json; charset=utf-8", json.dumps(value, ensure_ascii=False).encode() + b"\n")


class _AsWorker:
    """A projector where a worker is looked at: only how long its last round is ago is asked."""

    def __init__(self, projector: Watched) -> None:
        self._projector = projector
        self.tasks: Mapping[int, Task] = {}
        self.ready = True
        self.reference_version = 1

    @property
    def last_step(self) -> float:
        return self._projector.last_step

    def lag(self) -> Mapping[TopicPartition, int]:
        return self._projector.lag()
