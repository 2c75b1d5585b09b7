"""A lock from its commit to the first call that every worker denies by it (§2.2), and back; however long that takes."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import lock_in_force
from benchmarks.lock_in_force import measure_in_memory, measure_on_kafka
from deploy.kafka.local import LocalKafka

LOCKS = 3
LISTED = 25_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own folder, whose path may be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="tollgate-test-") as found:
        yield Path(found)


def assert_it_was_in_force_and_then_was_not(found: dict[str, Any]) -> None:
    # Each was waited for on both workers, between calls that both of them let through.
    assert (found["workers"], found["locks"]) == (2, LOCKS)
    beside = found["beside_a_list"]
    assert beside["locks"] > 0
    for times in (found, beside):
        for what in ("commit_ms", "set_ms", "lifted_ms"):
            assert 0 < times[what]["median"] <= times[what]["p99"] <= times[what]["max"], found


def test_a_lock_comes_into_force_on_all_workers_and_goes_again_in_memory(folder: Path) -> None:
    assert_it_was_in_force_and_then_was_not(asyncio.run(measure_in_memory(folder, LOCKS, LISTED)))


def test_a_lock_comes_into_force_on_all_workers_and_goes_again_on_kafka(kafka: LocalKafka, folder: Path) -> None:
    assert_it_was_in_force_and_then_was_not(asyncio.run(measure_on_kafka(folder, kafka.bootstrap, LOCKS, LISTED)))


def test_a_lock_of_which_the_engine_never_hears_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        """No lock is set."""

    monkeypatch.setattr(lock_in_force, "_set", nothing)
    monkeypatch.setattr(lock_in_force, "DEADLINE_SECONDS", 3.0)

    with pytest.raises(TimeoutError):
        asyncio.run(measure_in_memory(folder, 1, 0))
