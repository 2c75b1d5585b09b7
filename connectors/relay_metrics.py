"""What the relay's process counts and measures, for Prometheus, and what it says of its health."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from connectors.broker import TopicPartition
from connectors.health import Answer, Health
from connectors.metrics import LATENCY_SECONDS, Histogram, Task, tollgate_version
from connectors.postgres.change import COMMAND, EVENT
from connectors.postgres.outbox import Backlog, Waiting
from connectors.reference.publisher import KINDS
from connectors.relay import THE_BROKER, THE_DATABASE

ROUND_SECONDS = 180.0
"""A relay that has finished no round for so long hangs: a million prices of a list are read and published in a third of
it, and whatever does not answer is given up sooner."""

_PARTIES = {THE_BROKER: "broker", THE_DATABASE: "database"}


class Watched(Protocol):
    """What is asked of a relay (`connectors.relay.Relay`)."""

    @property
    def active(self) -> bool: ...
    @property
    def standing_by(self) -> bool: ...
    @property
    def backlog(self) -> Backlog: ...
    @property
    def away(self) -> str | None: ...
    @property
    def version(self) -> int: ...
    @property
    def last_step(self) -> float: ...

    def oldest_seconds(self) -> float: ...


class RelayMetrics:
    """An observer of the relay and a collector of Prometheus's."""

    def __init__(
        self, *, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._relay: Watched | None = None
        self._rows: Counter[str] = Counter(dict.fromkeys((COMMAND, EVENT, *KINDS), 0))
        self._away: Counter[str] = Counter(dict.fromkeys(_PARTIES, 0))
        self._locks_ended = 0
        self._delay = Histogram(LATENCY_SECONDS)

    def watch(self, relay: Watched) -> None:
        """From now on it is asked for what it knows itself."""
        self._relay = relay

    def published(self, rows: Sequence[Waiting], seconds: float) -> None:
        """Counts what was published and marked."""
        self._rows.update(row.kind for row in rows)
        self._delay.add(seconds)

    def locks_ended(self, count: int) -> None:
        """Locks were lifted by the clock."""
        self._locks_ended += count

    def away(self, what: str) -> None:
        """Somebody does not answer any more."""
        self._away[what] += 1

    def collect(self) -> Iterator[Metric]:
        """All numbers as they are now."""
        rows = CounterMetricFamily(
            "tollgate_relay_published", "Rows of the outbox that were published, by kind.", labels=("kind",)
        )
        for kind, count in self._rows.items():
            rows.add_metric((kind,), count)
        yield rows
        yield self._delay.family(
            "tollgate_relay_delay_seconds",
            "From the time at which a change was saved until it was published; of a price list for later, too.",
        )
        yield CounterMetricFamily(
            "tollgate_relay_locks_ended", "Locks that were lifted because their time was over.", self._locks_ended
        )
        away = CounterMetricFamily(
            "tollgate_relay_away", "Times that the broker or the database stopped to answer.", labels=("what",)
        )
        for what, count in self._away.items():
            away.add_metric((_PARTIES[what],), count)
        yield away
        if self._relay is not None:
            yield from self._now_of(self._relay)
        build = GaugeMetricFamily("tollgate_build_info", "1; the version is in the label.", labels=("version",))
        build.add_metric((tollgate_version(),), 1)
        yield build

    def _now_of(self, relay: Watched) -> Iterator[Metric]:
        is_away = GaugeMetricFamily("tollgate_relay_is_away", "1 while it does not answer.", labels=("what",))
        for what, name in _PARTIES.items():
            is_away.add_metric((name,), float(relay.away == what))
        yield is_away
        for name, text, value in (
            ("active", "1 when it is the relay that publishes, 0 when it stands by.", float(relay.active)),
            ("waiting_rows", "Rows of the outbox that wait to be published.", relay.backlog.rows),
            ("waiting_seconds", "For how long the oldest of them has been waiting.", relay.oldest_seconds()),
            ("later_rows", "Price lists in the outbox whose moment has not come.", relay.backlog.later),
            ("reference_version", "Version of the reference data on the topic; 0: not known here.", relay.version),
            ("ready", "1 when it publishes or stands by, and everything answers.", float(is_ready(relay))),
            (
                "last_round_timestamp_seconds",
                "Unix time when the main loop last finished a round.",
                self._now() - (self._monotonic() - relay.last_step),
            ),
        ):
            yield GaugeMetricFamily(f"tollgate_relay_{name}", text, value)


def is_ready(relay: Watched) -> bool:
    """Whether it publishes, or would at once if the active one were gone."""
    return relay.away is None and (relay.active or relay.standing_by)


def registry(metrics: RelayMetrics) -> CollectorRegistry:
    """A registry with the relay's numbers and those of the process."""
    made = CollectorRegistry()
    made.register(metrics)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


class RelayHealth(Health):
    """What a relay says of itself: ready when it publishes or stands by, and both database and broker answer."""

    def __init__(
        self,
        relay: Watched,
        *,
        round_seconds: float = ROUND_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(_AsWorker(relay), round_seconds=round_seconds, monotonic=monotonic)
        self._relay = relay

    def waiting_for(self) -> list[str]:
        """What is still missing before the relay does what it should."""
        found = []
        if (stalled := self.stalled()) is not None:
            found.append(stalled)
        if self._relay.away is not None:
            found.append(f"{self._relay.away}: it does not answer now, what is saved waits in the outbox")
        elif not is_ready(self._relay):
            found.append("its start: what a former relay has published is being read")
        return found

    def ready(self) -> Answer:
        """200, or 503 with what is waited for."""
        waiting_for = self.waiting_for()
        body = {
            "ready": not waiting_for,
            "waiting_for": waiting_for,
            "active": self._relay.active,
            "waiting_rows": self._relay.backlog.rows,
            "reference_version": self._relay.version,
        }
        text = json.dumps(body, ensure_ascii=False).encode() + b"\n"
        return Answer(503 if waiting_for else 200, "application/json; charset=utf-8", text)


class _AsWorker:
    """A relay where a worker is looked at: only how long its last round is ago is asked."""

    def __init__(self, relay: Watched) -> None:
        self._relay = relay
        self.tasks: Mapping[int, Task] = {}
        self.ready = True
        self.reference_version = 1

    @property
    def last_step(self) -> float:
        return self._relay.last_step

    def lag(self) -> Mapping[TopicPartition, int]:
        """Nothing: a relay has no inputs of the broker's."""
        return {}
