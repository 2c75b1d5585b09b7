"""Measuring: repeated runs, processor seconds beside wall seconds, memory, and the machine they were taken on."""

import gc
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of each run. Processor seconds leave out what other processes took from a busy machine."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def rate(self, count: int) -> int:
        """Operations per processor second in the median run."""
        return round(count / median(self.cpu))

    def as_dict(self, count: int) -> dict[str, object]:
        """The runs' rates, sorted: per processor second and per wall second."""
        return {
            "per_cpu_second": self.rate(count),
            "per_cpu_second_runs": sorted(round(count / seconds) for seconds in self.cpu),
            "per_wall_second_runs": sorted(round(count / seconds) for seconds in self.wall),
        }


def timed(run: Callable[[], object], runs: int, prepare: Callable[[], object] = lambda: None) -> Timing:
    """Times `run` after one warm-up; `prepare` comes before each and is not counted."""
    wall, cpu = [], []
    for number in range(runs + 1):
        prepare()
        gc.collect()
        gc.freeze()
        started_wall, started_cpu = time.perf_counter(), time.process_time()
        run()
        if number:
            wall.append(time.perf_counter() - started_wall)
            cpu.append(time.process_time() - started_cpu)
        gc.unfreeze()
    return Timing(tuple(wall), tuple(cpu))


def resident_mb() -> float:
    """Memory of this process now, in megabytes (10**6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """The most memory that this process ever had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def machine() -> dict[str, object]:
    """Where the numbers were taken, as far as it matters for them."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }
