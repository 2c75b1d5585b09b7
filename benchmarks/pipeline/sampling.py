"""Where processor time goes: a look at the running function at each millisecond of the process's own time.

Unlike a tracing profiler it slows no function down more than another. What a function of C takes counts for the Python
function that called it.
"""

import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

_INTERVAL_SECONDS = 0.001
_ROOTS = (
    "site-packages/",
    f"lib/python{sys.version_info.major}.{sys.version_info.minor}/",
    f"{Path(__file__).resolve().parents[2]}/",
)


class Sampler:
    """Counts from `start` to `stop`; in the main thread alone."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """Looks by file and function."""

    def start(self) -> None:
        """Begins to look."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_SECONDS, _INTERVAL_SECONDS)

    def stop(self) -> dict[str, float]:
        """Ends; each function's share of the looks, the largest first."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        looks = self.seen.total()
        return {f"{_short(file)}:{function}": number / looks for (file, function), number in self.seen.most_common()}

    def _look(self, _number: int, frame: FrameType | None) -> None:
        if frame is not None:
            self.seen[frame.f_code.co_filename, frame.f_code.co_qualname] += 1


AREAS: dict[str, tuple[str, ...]] = {
    "decoding": ("connectors/partition_task.py:decode",),
    "around the engine (`partition_task`, `worker`)": (
        "connectors/partition_task.py",
        "connectors/worker.py",
        "schemas/partitions.py",
    ),
    "the engine: rules, state, encoding": ("engine/", "schemas/"),
    "reading (`consumer`, aiokafka's fetcher)": (
        "connectors/kafka/consumer.py",
        "aiokafka/consumer/",
        "aiokafka/record/",
        "aiokafka/structs.py",
    ),
    "writing (`producer`, `wire`)": ("connectors/kafka/",),
    "connections (aiokafka, asyncio)": ("aiokafka/", "asyncio/", "selectors.py"),
    "metrics": ("connectors/metrics.py",),
    "making tuples (`Record`, `Message`)": ("<string>:<lambda>",),
}
"""What functions belong to, by how their places begin; the first that fits counts."""


def by_area(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares of the areas, and of what is in none of them."""
    found = dict.fromkeys((*AREAS, "the rest"), 0.0)
    for place, share in shares.items():
        area = next((area for area, heads in AREAS.items() if place.startswith(heads)), "the rest")
        found[area] += share
    return found


def _short(file: str) -> str:
    for root in _ROOTS:
        if root in file:
            return file.rpartition(root)[2]
    return file
