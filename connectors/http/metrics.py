"""The API's numbers for Prometheus: requests by operation and status, how long they took. No numbers of people."""

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

NAME = "tollgate_http_request_seconds"


def http_registry() -> CollectorRegistry:
    """A registry with the numbers of the process; an application adds its own."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


class HttpMetrics:
    """What the door counts. One for a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            NAME,
            "Time of a request, by operation and status; whoever is turned away at the door counts too.",
            ("operation", "status"),
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._seconds.labels(operation, str(status)).observe(seconds)
