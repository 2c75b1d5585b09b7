"""Real workers on a real Kafka, harmed in every way once; and what the checker says when the pattern has a hole.

`make chaos` does the same for as long as one likes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from schemas import topics
from tests.faults.arena import Arena, Ground
from tests.faults.checker import Evidence, check
from tests.faults.disk import small_disk
from tests.faults.faults import (
    fill_the_disk,
    freeze_the_broker,
    harm_a_commit,
    kill_a_worker,
    kill_a_worker_at,
    kill_the_broker,
    rough_network,
    storm,
    zombie,
)
from tests.faults.fleet import until
from tests.faults.points import POINTS
from tests.faults.reader import POSITION_KEY, Line, Place, position_in
from tests.faults.tcp_proxy import HARMS

RECORDS_PER_SECOND = 200.0
LONGER_THAN_A_COMMIT_MAY_TAKE = 1.5


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A Kafka behind the proxy's address, which these tests may kill."""
    there = Ground(tmp_path_factory.mktemp("faults"))
    try:
        there.start()
        yield there
    finally:
        there.stop()


@asynccontextmanager
async def at_work(ground: Ground, folder: Path, seed: int) -> AsyncIterator[Arena]:
    """Two workers and flowing traffic."""
    arena = Arena(ground, seed, folder)
    async with arena.open():
        arena.start_traffic(RECORDS_PER_SECOND)
        await arena.workers_at_work(2)
        yield arena


def survive(ground: Ground, folder: Path, seed: int, harm: Callable[[Arena], Awaitable[None]]) -> Arena:
    """Has it done, and asserts that nothing is wrong afterwards."""

    async def play() -> Arena:
        async with at_work(ground, folder, seed) as arena:
            await harm(arena)
            found = await arena.verdict()
            assert not found, "\n  ".join([f"see {folder}", *found])
            return arena

    return asyncio.run(play())


def test_workers_killed_at_any_moment_lose_nothing_and_double_nothing(ground: Ground, tmp_path: Path) -> None:
    async def kill(arena: Arena) -> None:
        await kill_a_worker(arena)
        for point in ("before_commit", "in_commit", "restore"):
            await kill_a_worker_at(arena, point)

    arena = survive(ground, tmp_path, 1, kill)

    assert arena.traffic.kinds.keys() >= {"poison", "duplicate", "wrong partition", "clock step"}
    assert all(arena.traffic.kinds.values())


@pytest.fixture(scope="module")
def frozen_at_every_point(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """What is left of a run in which workers became zombies at every point."""

    async def freeze(arena: Arena) -> None:
        for point in POINTS:
            await zombie(arena, point)

    return survive(ground, tmp_path_factory.mktemp("zombies"), 2, freeze)


def test_a_worker_frozen_beyond_its_session_at_any_point_of_a_transaction_does_no_harm_when_it_goes_on(
    frozen_at_every_point: Arena,
) -> None:
    assert [point for point in POINTS if not frozen_at_every_point.happened[f"zombie at {point}"]] == []


def test_a_commit_held_back_delivered_late_or_lost_counts_once_or_not_at_all(ground: Ground, tmp_path: Path) -> None:
    async def harm(arena: Arena) -> None:
        for what in HARMS:
            await harm_a_commit(arena, what)

    arena = survive(ground, tmp_path, 3, harm)

    assert [what for what in HARMS if not arena.happened[what]] == []


def test_a_broker_that_freezes_and_is_killed_goes_on_with_the_same_books(ground: Ground, tmp_path: Path) -> None:
    async def harm(arena: Arena) -> None:
        await freeze_the_broker(arena, LONGER_THAN_A_COMMIT_MAY_TAKE)
        await kill_the_broker(arena)

    survive(ground, tmp_path, 4, harm)


def test_members_that_come_and_go_on_a_rough_network_pass_their_partitions_on_whole(
    ground: Ground, tmp_path: Path
) -> None:
    async def harm(arena: Arena) -> None:
        await asyncio.gather(storm(arena, 2), rough_network(arena, 30))

    survive(ground, tmp_path, 5, harm)


def test_a_broker_whose_disk_was_full_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as mounted:
        if not mounted:
            pytest.skip("no file system can be mounted here, which takes root")
        ground = Ground(tmp_path / "disk")
        try:
            ground.start()
            survive(ground, tmp_path / "run", 6, fill_the_disk)
        finally:
            ground.stop()


# -- the pattern with a piece missing ---------------------------------------------------------------------------------


async def a_zombie_commits_after_its_partition_was_taken(arena: Arena) -> None:
    """Without the fence its transaction counts, beside the new owner's."""
    zombie = await arena.fleet.start(trap="before_commit")
    await arena.traffic.send_period()
    await until(lambda: zombie.stopped_at, "the zombie stops with its transaction written")
    owner = await arena.fleet.start()
    await until(lambda: owner.since(0, "committed"), "the new owner has worked it off")
    zombie.go_on()
    await until(lambda: zombie.since(0, "committed") or zombie.since(0, "fenced"), "the zombie has heard of it")


async def a_zombie_commits_between_assignment_and_fence(arena: Arena) -> None:
    """The group's offset, fetched with the assignment, is behind when the fence stands."""
    zombie = await arena.fleet.start(trap="before_commit")
    await arena.traffic.send_period()
    await until(lambda: zombie.stopped_at, "the zombie stops with its transaction written")
    owner = await arena.fleet.start(trap="producer")
    await until(lambda: owner.stopped_at, "the new owner is about to fence it")
    zombie.go_on()
    await until(lambda: zombie.since(0, "committed"), "the zombie has committed")
    zombie.kill()
    owner.go_on()


async def a_commit_is_lost(arena: Arena) -> None:
    """The consumer stands behind records that nobody has worked off."""
    await arena.traffic.send_period()
    arena.proxy.order("cut before")
    worker = await arena.fleet.start()
    await until(lambda: worker.since(0, "ambiguous"), "the worker notices that nobody knows")
    await arena.traffic.send_period()
    # Before the group moves the partition, and with it the consumer goes back to what was committed.
    await arena.worked_off()


async def a_batch_is_slower_than_the_commit(arena: Arena) -> None:
    """What nobody awaits is lost when the commit goes ahead."""
    await arena.fleet.start()
    await arena.traffic.send_period()


SITUATIONS = {
    "no fence": (
        a_zombie_commits_after_its_partition_was_taken,
        r"first decisions instead of 1|rated 2 times|rejected 2 times|answered 2 times",
    ),
    "group offset": (
        a_zombie_commits_between_assignment_and_fence,
        r"first decisions instead of 1|rejected 2 times|answered 2 times|the position of .* goes back",
    ),
    "no seek": (a_commit_is_lost, r"neither (decided|rated) nor rejected|answered \d times"),
    "no await": (a_batch_is_slower_than_the_commit, r"neither (decided|rated) nor rejected|closes at|replayed"),
}


def played(ground: Ground, folder: Path, situation: Callable[[Arena], Awaitable[None]], sabotage: str) -> list[str]:
    async def play() -> list[str]:
        # What nobody fences is aborted by its time-out alone.
        arena = Arena(
            ground, 7, folder, partitions=1, sabotage=sabotage, max_records=200, transaction_timeout_ms=10_000
        )
        async with arena.open():
            await situation(arena)
            return await arena.verdict()

    return asyncio.run(play())


@pytest.mark.parametrize("missing", SITUATIONS)
def test_a_pattern_with_a_piece_missing_is_noticed(ground: Ground, tmp_path: Path, missing: str) -> None:
    situation, notice = SITUATIONS[missing]

    found = played(ground, tmp_path, situation, missing)

    assert any(re.search(notice, finding) for finding in found), found


def test_the_whole_pattern_stands_where_the_group_offset_is_behind(ground: Ground, tmp_path: Path) -> None:
    assert played(ground, tmp_path, a_zombie_commits_between_assignment_and_fence, "") == []


# -- the checker ------------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence(frozen_at_every_point: Arena) -> Evidence:
    """Good evidence, to be made bad: the lists of its books are copies."""
    good = frozen_at_every_point.evidence
    assert good is not None
    return good._replace(
        final={place: list(lines) for place, lines in good.final.items()},
        seen={place: list(lines) for place, lines in good.seen.items()},
        group_offsets=dict(good.group_offsets),
        acknowledged=good.acknowledged.copy(),
    )


def lines_of(evidence: Evidence, topic: str) -> list[Line]:
    """Those of the partition that has most."""
    return max((lines for place, lines in evidence.final.items() if place.topic == topic), key=len)


def test_good_books_are_good(evidence: Evidence) -> None:
    assert check(evidence) == []


@pytest.mark.parametrize(
    ("topic", "notice"),
    [
        (topics.CALL_DECISIONS.name, r"neither decided nor rejected|answered \d times|decisions instead|numbered"),
        (topics.RATED_CDRS.name, r"cdr .*: neither rated nor rejected"),
        (topics.REJECTED_EVENTS.name, r"neither|rejected 0 times|not rejected|answered"),
        (topics.CALL_ATTEMPTS.name, r"was acknowledged \d times and is there \d times"),
    ],
)
def test_a_record_that_is_missing_is_noticed(evidence: Evidence, topic: str, notice: str) -> None:
    lines_of(evidence, topic).pop(1)

    found = check(evidence)

    assert any(re.search(notice, finding) for finding in found), found
    assert any(f"{topic}-" in finding and "concurrent reader" in finding for finding in found), found


@pytest.mark.parametrize(
    ("topic", "notice"),
    [
        (topics.CALL_DECISIONS.name, r"first decisions instead of 1|answered \d times|numbered"),
        (topics.RATED_CDRS.name, r"cdr .*: rated 2 times"),
        (topics.REJECTED_EVENTS.name, r"rejected 2 times"),
        (topics.CDRS.name, r"was acknowledged \d times and is there \d times"),
    ],
)
def test_a_record_that_is_there_twice_is_noticed(evidence: Evidence, topic: str, notice: str) -> None:
    lines = lines_of(evidence, topic)
    lines.append(lines[1]._replace(offset=lines[-1].offset + 1))

    found = check(evidence)

    assert any(re.search(notice, finding) for finding in found), found


def test_a_balance_that_was_changed_in_the_changelog_is_noticed(evidence: Evidence) -> None:
    for lines in (lines for place, lines in evidence.final.items() if place.topic == topics.ENGINE_STATE.name):
        for i, line in enumerate(lines):
            if (line.key or b"").startswith(b"a/"):
                account = msgspec.msgpack.decode(line.value or b"")
                account["balance_micros"] += 1
                lines[i] = line._replace(value=msgspec.msgpack.encode(account))

    assert any("balance_micros is" in finding for finding in check(evidence))


def test_a_hold_that_was_changed_in_the_changelog_is_noticed(evidence: Evidence) -> None:
    for lines in (lines for place, lines in evidence.final.items() if place.topic == topics.ENGINE_STATE.name):
        for i, line in enumerate(lines):
            if (line.key or b"").startswith(b"h/") and line.value is not None:
                hold = msgspec.msgpack.decode(line.value)
                lines[i] = line._replace(value=msgspec.msgpack.encode([hold[0], "running", *hold[2:]]))

    assert any("micros for" in finding for finding in check(evidence))


def test_a_position_that_goes_back_or_stops_short_is_noticed(evidence: Evidence) -> None:
    place = next(place for place in evidence.final if place.topic == topics.ENGINE_STATE.name)
    for books in (evidence.final, evidence.seen):
        lines = books[place]
        positions = [i for i, line in enumerate(lines) if line.key == POSITION_KEY]
        first = next(i for i in positions if any(position_in(lines[i].value or b"").next_offsets.values()))
        lines[positions[-1]] = lines[positions[-1]]._replace(value=lines[first].value)

    found = check(evidence)

    assert any("goes back" in finding for finding in found), found
    assert any("changelog and group stand at" in finding for finding in found), found


def test_a_change_that_the_checksum_does_not_cover_is_noticed(evidence: Evidence) -> None:
    place = next(place for place in evidence.seen if place.topic == topics.ENGINE_STATE.name)
    index = next(i for i, line in enumerate(evidence.seen[place]) if line.key != POSITION_KEY)
    del evidence.seen[place][index]

    assert any("the checksum is not that of the changes before it" in finding for finding in check(evidence))


def test_a_group_that_stands_elsewhere_is_noticed(evidence: Evidence) -> None:
    place = max(evidence.group_offsets, key=lambda place: evidence.group_offsets[place])

    found = check(evidence._replace(group_offsets={**evidence.group_offsets, place: 1}))

    assert found == [
        f"{place.topic}-{place.partition} ends at {evidence.group_offsets[place]}; "
        f"changelog and group stand at {evidence.group_offsets[place]} and 1"
    ]


def test_a_reader_that_saw_another_order_is_noticed(evidence: Evidence) -> None:
    place = next(
        place for place, lines in evidence.seen.items() if place.topic == topics.TRAFFIC.name and len(lines) > 1
    )
    evidence.seen[place].reverse()

    assert any(
        f"{Place(*place).topic}-{place.partition}: the concurrent reader" in finding for finding in check(evidence)
    )
