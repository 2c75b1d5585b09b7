"""What the engine process counts and measures, for Prometheus.

`EngineMetrics` is told of every committed batch and of what befalls partitions; the rest it asks the worker when it is
scraped. It counts in plain integers and hands them out as a collector: prometheus-client's own `observe` would cost
more than a decision does. No label carries a number, an account or a call: those are unbounded, and people's.
"""

import importlib.metadata
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from operator import attrgetter
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from connectors.broker import Record, TopicPartition
from engine.partition import Output
from schemas import topics
from schemas.decisions import REASON_CODES, CallDecision, Reason
from schemas.facts import REJECTIONS, RejectedEvent
from schemas.rated import RatedCdr

# Decisions are wanted within milliseconds, and a transaction takes one at the least; ten seconds is an outage.
LATENCY_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)
ENGINE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RESTORE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_CODES: dict[type, str] = dict(zip(Reason.__args__, REASON_CODES, strict=True))
_NO_REASON = "none"
_topic_of = attrgetter("topic")


class Engine(Protocol):
    """The state of one partition, as far as it is counted here (`engine.partition.Partition`)."""

    @property
    def accounts(self) -> Sized: ...
    @property
    def calls(self) -> Sized: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def running_calls(self) -> int: ...
    @property
    def held_micros(self) -> int: ...


class Task(Protocol):
    """A partition that the worker owns (`connectors.partition_task.PartitionTask`)."""

    @property
    def partition(self) -> int: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def forwarded(self) -> int: ...
    @property
    def restore_seconds(self) -> float: ...
    @property
    def restored_records(self) -> int: ...


class Watched(Protocol):
    """What is asked of a worker (`connectors.worker.Worker`)."""

    @property
    def tasks(self) -> Mapping[int, Task]: ...
    @property
    def ready(self) -> bool:
        """Whether the group has assigned partitions, and all of them are worked on."""
        ...

    @property
    def reference_version(self) -> int:
        """0 while no reference data is in force."""
        ...

    @property
    def last_step(self) -> float:
        """`time.monotonic()` of the last finished round."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records behind the end of each input partition that is owned."""
        ...


class CommittedBatch(Protocol):
    """A batch as the worker tells of it (`connectors.partition_task.Batch`)."""

    @property
    def partition(self) -> int: ...
    @property
    def records(self) -> Sequence[Record]: ...
    @property
    def outputs(self) -> Sequence[Output]: ...
    @property
    def engine_seconds(self) -> float: ...
    @property
    def transaction_seconds(self) -> float: ...


class Histogram:
    """Counts of values by bucket. `units` of the values make one unit of the bounds: 1 000 000 for µs and seconds."""

    __slots__ = ("_bounds", "_counts", "_labels", "_sum", "_units")

    def __init__(self, bounds: Sequence[float], units: int = 1) -> None:
        self._labels = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._bounds = [bound * units for bound in bounds]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._units = units

    def add(self, value: float) -> None:
        """One value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_sorted(self, values: Sequence[float]) -> None:
        """Many values, the smallest first: one search for each bucket, not for each value."""
        below = 0
        for bucket, bound in enumerate(self._bounds):
            up_to = bisect_right(values, bound, below)
            self._counts[bucket] += up_to - below
            below = up_to
        self._counts[-1] += len(values) - below
        self._sum += sum(values)

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """The histogram as Prometheus wants it: each bucket with all below it."""
        total = 0
        buckets = []
        for label, count in zip(self._labels, self._counts, strict=True):
            total += count
            buckets.append((label, float(total)))
        return HistogramMetricFamily(name, text, buckets, self._sum / self._units)


class _Nobody:
    """The worker that is not there yet."""

    ready = False
    reference_version = 0

    def __init__(self, last_step: float) -> None:
        self.tasks: Mapping[int, Task] = {}
        self.last_step = last_step

    def lag(self) -> Mapping[TopicPartition, int]:
        return {}


class EngineMetrics:
    """The numbers of one engine process: an observer for its `Worker`, a collector for a `CollectorRegistry`.

    The worker calls `observe` after each committed batch, `taken` when it has restored a partition, `fenced`,
    `ambiguous` and `state_lost` when it drops one. All of it, and `collect`, on the worker's own event loop.
    `now` is the wall clock in seconds, the one that records are stamped by; `monotonic` that of `Watched.last_step`.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker: Watched = _Nobody(monotonic())
        self._now = now
        self._monotonic = monotonic
        self._version = tollgate_version()
        self._events: Counter[str] = Counter({topic.name: 0 for topic in topics.INPUTS})
        self._decisions: Counter[tuple[str, str, str]] = Counter(dict.fromkeys(_decision_labels(), 0))
        self._rejected: Counter[str] = Counter(dict.fromkeys(REJECTIONS, 0))
        self._rated = self._late = self._repeated = self._forwarded = 0
        self._fenced = self._ambiguous = self._states_lost = self._retaken = self._restored_records = 0
        self._latency = Histogram(LATENCY_SECONDS, units=1_000_000)
        self._batch_records = Histogram(BATCH_RECORDS)
        self._engine_seconds = Histogram(ENGINE_SECONDS)
        self._transaction_seconds = Histogram(LATENCY_SECONDS)
        self._restore_seconds = Histogram(RESTORE_SECONDS)
        self._told: dict[int, tuple[int, int]] = {}
        """What each partition's `duplicates` and `forwarded` were when they were last counted."""
        self._dropped: set[int] = set()
        self._reference_version = 0
        self._reference_since = 0.0

    def watch(self, worker: Watched) -> None:
        """From now on `worker` is asked for what it knows itself."""
        self._worker = worker

    # What the worker tells

    def observe(self, batch: CommittedBatch) -> None:
        """Counts a batch that has just been committed."""
        now = self._now()
        now_us = int(now * 1_000_000)
        records = batch.records
        self._batch_records.add(len(records))
        self._engine_seconds.add(batch.engine_seconds)
        self._transaction_seconds.add(batch.transaction_seconds)
        self._events.update(map(_topic_of, records))
        waited_us = [now_us - record.timestamp_us for record in records if record.topic == topics.CALL_ATTEMPTS.name]
        if waited_us:
            waited_us.sort()
            if waited_us[0] < 0:
                # A switch's clock is ahead of ours.
                waited_us = [max(waited, 0) for waited in waited_us]
            self._latency.add_sorted(waited_us)
        self._count_outputs(batch.outputs)
        task = self._worker.tasks.get(batch.partition)
        if task is not None:
            self._count_growth(task)
        self._note_reference(now)

    def taken(self, task: Task) -> None:
        """A partition has been restored and is this worker's now."""
        self._restore_seconds.add(task.restore_seconds)
        self._restored_records += task.restored_records
        self._told[task.partition] = (0, 0)
        if task.partition in self._dropped:
            self._dropped.discard(task.partition)
            self._retaken += 1

    def fenced(self, partition: int) -> None:
        """Another worker took the partition while a batch was on its way; this one has dropped it."""
        self._fenced += 1
        self._dropped.add(partition)

    def ambiguous(self, partition: int) -> None:
        """Nobody knows whether a commit has happened; the partition has been dropped."""
        self._ambiguous += 1
        self._dropped.add(partition)

    def state_lost(self, partition: int) -> None:
        """What was restored did not fit together; the partition has been dropped."""
        self._states_lost += 1
        self._dropped.add(partition)

    # What Prometheus asks

    def collect(self) -> Iterator[Metric]:
        """All numbers as they are now."""
        now = self._now()
        self._note_reference(now)
        yield from self._events_and_decisions()
        yield from self._batches()
        yield from self._partitions()
        yield from self._engine_state()
        yield from self._process(now)

    def _events_and_decisions(self) -> Iterator[Metric]:
        yield _counters(
            "tollgate_events",
            "Records taken in, by topic.",
            ("topic",),
            (((topic,), count) for topic, count in self._events.items()),
        )
        yield _counters(
            "tollgate_decisions",
            "Decisions by kind (attempt, extension), outcome (allowed, denied) and first reason; repeated answers not.",
            ("kind", "outcome", "reason"),
            self._decisions.items(),
        )
        yield _counters(
            "tollgate_rejected_events",
            "Events that could not be used, by reason.",
            ("reason",),
            (((reason,), count) for reason, count in self._rejected.items()),
        )
        yield _counter("tollgate_rated_cdrs", "CDRs rated.", self._rated)
        yield _counter("tollgate_late_cdrs", "CDRs rated after their call's hold had expired.", self._late)
        yield _counter("tollgate_repeated_events", "Events that came again with the same content.", self._repeated)
        yield _counter(
            "tollgate_forwarded_events", "Events sent on to the partition that their key belongs to.", self._forwarded
        )
        yield self._latency.family(
            "tollgate_decision_latency_seconds",
            "From the time of a record in call-attempts to the commit of its decision.",
        )

    def _batches(self) -> Iterator[Metric]:
        yield self._batch_records.family("tollgate_batch_records", "Records in a committed batch.")
        yield self._engine_seconds.family("tollgate_batch_engine_seconds", "Time of a batch in the engine.")
        yield self._transaction_seconds.family(
            "tollgate_batch_transaction_seconds", "Time of a batch's Kafka transaction, from begin to commit."
        )

    def _partitions(self) -> Iterator[Metric]:
        yield _gauge("tollgate_partitions_owned", "Partitions that this worker decides.", len(self._worker.tasks))
        yield self._restore_seconds.family(
            "tollgate_restore_seconds", "Time to restore a partition's state from its changelog."
        )
        yield _counter("tollgate_restored_records", "Changelog records restored from.", self._restored_records)
        yield _counter(
            "tollgate_partitions_fenced", "Batches undone because another worker took the partition.", self._fenced
        )
        yield _counter("tollgate_commits_ambiguous", "Commits of which nobody knows the outcome.", self._ambiguous)
        yield _counter(
            "tollgate_states_lost", "Restored states that did not fit together and were read again.", self._states_lost
        )
        yield _counter(
            "tollgate_partitions_retaken",
            "Partitions taken again by a worker that had dropped them for one of these reasons.",
            self._retaken,
        )
        lag = GaugeMetricFamily(
            "tollgate_consumer_lag_records",
            "Committed input records that have not been taken in yet.",
            labels=("topic", "partition"),
        )
        for (topic, partition), records in sorted(self._worker.lag().items()):
            lag.add_metric((topic, str(partition)), records)
        yield lag

    def _engine_state(self) -> Iterator[Metric]:
        engines = [task.engine for task in self._worker.tasks.values()]
        yield _gauge(
            "tollgate_running_calls", "Calls under way or waiting for their CDR.", sum(e.running_calls for e in engines)
        )
        yield _gauge(
            "tollgate_held_micros", "Money held for running calls, in micro-units.", sum(e.held_micros for e in engines)
        )
        yield _gauge("tollgate_calls_in_memory", "Attempts remembered.", sum(len(e.calls) for e in engines))
        yield _gauge("tollgate_accounts_in_memory", "Accounts with state.", sum(len(e.accounts) for e in engines))
        yield _gauge(
            "tollgate_reference_version", "Version of the reference data in force; 0 is none.", self._reference_version
        )
        yield _gauge(
            "tollgate_reference_in_force_timestamp_seconds",
            "Unix time since when that version has been in force here; 0 is never.",
            self._reference_since,
        )

    def _process(self, now: float) -> Iterator[Metric]:
        yield _gauge(
            "tollgate_ready", "1 when partitions are assigned and all are worked on.", float(self._worker.ready)
        )
        yield _gauge(
            "tollgate_last_round_timestamp_seconds",
            "Unix time when the main loop last finished a round.",
            now - (self._monotonic() - self._worker.last_step),
        )
        build = GaugeMetricFamily("tollgate_build_info", "1; the version is in the label.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build

    # Counting

    def _count_outputs(self, outputs: Iterable[Output]) -> None:
        decisions, rejected = self._decisions, self._rejected
        for output in outputs:
            record = output.record
            if isinstance(record, CallDecision):
                if record.repeated is not True:
                    reason = record.reason
                    decisions[
                        "extension" if record.extension else "attempt",
                        "allowed" if record.allow else "denied",
                        _NO_REASON if reason is None else _CODES[type(reason)],
                    ] += 1
            elif isinstance(record, RatedCdr):
                self._rated += 1
                if record.late is True:
                    self._late += 1
            elif isinstance(record, RejectedEvent):
                rejected[record.reason] += 1

    def _count_growth(self, task: Task) -> None:
        """Adds what a partition's own counters have grown by; they begin anew when it is taken."""
        duplicates, forwarded = task.engine.duplicates, task.forwarded
        told_duplicates, told_forwarded = self._told.get(task.partition, (0, 0))
        self._repeated += duplicates - told_duplicates
        self._forwarded += forwarded - told_forwarded
        self._told[task.partition] = duplicates, forwarded

    def _note_reference(self, now: float) -> None:
        version = self._worker.reference_version
        if version != self._reference_version:
            self._reference_version = version
            self._reference_since = now


def registry(metrics: EngineMetrics) -> CollectorRegistry:
    """A registry with the engine's numbers and those of the process: memory, time, files, garbage collections."""
    made = CollectorRegistry()
    made.register(metrics)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


def tollgate_version() -> str:
    """The version that is installed."""
    return importlib.metadata.version("tollgate")


def _decision_labels() -> Iterator[tuple[str, str, str]]:
    """All there are: a series that begins at its first decision would hide that one from `rate`."""
    for kind in ("attempt", "extension"):
        yield kind, "allowed", _NO_REASON
        for code in REASON_CODES:
            yield kind, "denied", code


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value)


def _counters(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)
