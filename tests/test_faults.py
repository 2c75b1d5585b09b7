"""Real workers on a real Kafka, harmed in every way once; and what the checker says when the pattern has a hole.

`make chaos` does the same for as long as one likes.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic

import msgspec
import pytest

from connectors.broker import Ambiguous, Message, TopicPartition
from connectors.kafka.broker import KafkaBroker
from connectors.kafka.producer import MAX_BATCH_BYTES, KafkaProducer
from schemas import topics
from tests.faults.arena import Arena, Ground
from tests.faults.checker import Evidence, check
from tests.faults.disk import small_disk
from tests.faults.faults import (
    cut_a_worker_off,
    fall_silent,
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
from tests.faults.fleet import DEADLINE_SECONDS, WorkerProcess, until
from tests.faults.hanging import abort, hanging, leave_hanging
from tests.faults.points import POINTS
from tests.faults.reader import POSITION_KEY, Line, Place, position_in
from tests.faults.tcp_proxy import HARMS, WAYS, Proxy
from tests.kafka_broker import create_topics, new_prefix

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


# -- connections that fall silent -------------------------------------------------------------------------------------

STEP_SECONDS = 2.0
PARTITIONS = 16
HERE = "worker-here"
"""This process, by a name that the proxy does harm to."""


def test_a_connection_that_falls_silent_for_good_is_given_up_whatever_was_asked(ground: Ground, tmp_path: Path) -> None:
    requests = ("produce", "fetch", "metadata", "heartbeat", "end txn", "offsets")

    async def harm(arena: Arena) -> None:
        await asyncio.gather(
            *(fall_silent(arena, request, way) for request, way in zip(requests, cycle(WAYS), strict=False))
        )
        await cut_a_worker_off(arena)

    arena = survive(ground, tmp_path, 9, harm)

    assert sum(number for what, number in arena.happened.items() if what.startswith("silent")) == len(requests)


@asynccontextmanager
async def connected(ground: Ground) -> AsyncIterator[tuple[KafkaBroker, Proxy]]:
    """A client of this process, and the proxy that it comes through. It has a topic "out"."""
    prefix, step_ms = new_prefix(), int(STEP_SECONDS * 1000)
    async with Proxy(ground.listening, ground.kafka.port, Random(1), STEP_SECONDS) as proxy:
        broker = KafkaBroker(
            {"bootstrap_servers": ground.bootstrap, "client_id": HERE, "request_timeout_ms": step_ms},
            prefix=prefix,
            step_timeout_ms=step_ms,
            commit_deadline_ms=step_ms // 4,
        )
        await create_topics(ground.bootstrap, {f"{prefix}out": PARTITIONS})
        await broker.start()
        try:
            yield broker, proxy
        finally:
            await broker.close()


async def open_transactions(broker: KafkaBroker) -> list[KafkaProducer]:
    """One for each partition."""
    producers = [await broker.producer(f"{new_prefix()}{partition}") for partition in range(PARTITIONS)]
    for producer in producers:
        await producer.begin()
    return producers


def test_every_partition_of_a_worker_that_hears_nothing_is_let_go_in_time(ground: Ground) -> None:
    async def play() -> tuple[list[object], float]:
        async with connected(ground) as (broker, proxy):
            producers = await open_transactions(broker)
            proxy.cut_off.add(HERE)
            started = monotonic()
            writes = [
                producer.send("out", partition, [Message(b"key", b"value", 0)])
                for partition, producer in enumerate(producers)
            ]
            outcomes = await asyncio.gather(*map(awaited, writes), return_exceptions=True)
            return outcomes, monotonic() - started

    outcomes, seconds = asyncio.run(play())

    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Ambiguous)] == []
    # Each waits for a connection as long as all before it: one after the other they would take four steps.
    assert seconds < 3 * STEP_SECONDS


async def awaited(write: Awaitable[None]) -> None:
    await write


@pytest.mark.parametrize("request_name", ["fetch", "list offsets"])
def test_a_reader_that_follows_a_topic_goes_on_when_its_connection_falls_silent(
    ground: Ground, request_name: str
) -> None:
    async def play() -> None:
        async with connected(ground) as (broker, proxy):
            batches = broker.follow(TopicPartition("out", 0))
            assert await anext(batches) == ()
            proxy.silence(request_name, "both ways")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not proxy.happened[f"silent both ways at {request_name}"] or proxy.silent:
                    assert await anext(batches) == ()
            await batches.aclose()

    asyncio.run(play())


def test_a_process_leaves_though_nobody_takes_what_it_has_written(ground: Ground) -> None:
    async def play() -> None:
        async with connected(ground) as (broker, proxy):
            producers = await open_transactions(broker)
            proxy.turn_deaf()
            # More than the system takes in between two processes.
            large = Message(b"key", bytes(MAX_BATCH_BYTES // 2), 0)
            producer = producers[0]
            writes = [producer.send("out", partition, [large] * 2) for partition in range(PARTITIONS)]
            writing = asyncio.ensure_future(awaited(writes[0]))
            await until(lambda: unsent_bytes(broker) > 0, "it piles up")
            writing.cancel()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await broker.close()

    asyncio.run(play())


def unsent_bytes(broker: KafkaBroker) -> int:
    connections = broker._connection._conns.values()
    return sum(
        connection._writer.transport.get_write_buffer_size()
        for connection in connections
        if connection._writer is not None
    )


# -- a transaction whose end a broker has lost ------------------------------------------------------------------------


async def worked_off_and_alone(arena: Arena) -> None:
    """Something has been worked off, and nobody is at work any more."""
    worker = await arena.fleet.start()
    await arena.traffic.send_period()
    await arena.worked_off()
    worker.leave()
    await worker.ended()


async def last_decision_hangs(arena: Arena) -> None:
    """A decision is written once more by a transaction that is aborted: the changelog hears of that, the decisions do
    not."""
    decision = arena.watcher.seen[Place(topics.CALL_DECISIONS.name, 0)][-1]
    assert decision.value is not None
    await leave_hanging(
        arena,
        0,
        lost={topics.CALL_DECISIONS.name: (decision.key, decision.value)},
        known={topics.ENGINE_STATE.name: (b"x", b"aborted")},
    )


def test_a_partition_in_which_a_transaction_hangs_waits_for_the_operator_and_loses_nothing(
    ground: Ground, tmp_path: Path
) -> None:
    async def play() -> None:
        arena = Arena(ground, 8, tmp_path, partitions=2)
        async with arena.open():
            await worked_off_and_alone(arena)
            await last_decision_hangs(arena)
            await arena.traffic.send_period()
            worker = await arena.fleet.start()
            await until(lambda: 1 in worker.since(0, "committed"), "it works on the other partition")
            log = tmp_path / f"{worker.name}.log"
            complaint = (
                "partition 0 can't be taken yet: a transaction of "
                f"{arena.group}.0 was never ended in {topics.CALL_DECISIONS.name}-0: a broker lost its end"
            )
            await until(lambda: log.read_text().count(complaint) >= 2, "it says what it waits for, and tries again")
            assert await waiting_for(worker) == [
                "partitions: 1 are worked on, others are still to be assigned or restored"
            ]
            assert set(worker.since(0, "taken")) == {1}

            found = await hanging(arena, topics.CALL_DECISIONS.name, 0)
            assert found is not None
            assert await hanging(arena, topics.ENGINE_STATE.name, 0) is None
            await abort(arena, found)

            await until(lambda: 0 in worker.since(0, "taken"), "it goes on by itself")
            while await waiting_for(worker):
                pass
            findings = await arena.verdict()
            assert not findings, "\n  ".join([f"see {tmp_path}", *findings])

    asyncio.run(play())


async def waiting_for(worker: WorkerProcess) -> list[str]:
    """What it says that it waits for when it is asked now."""
    mark = len(worker.said)
    worker.tell("ready")
    await until(lambda: worker.since(mark, "waiting_for"), "it answers")
    answer: list[str] = worker.since(mark, "waiting_for")[0]
    return answer


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


async def a_transaction_hangs(arena: Arena) -> None:
    """What was aborted counts with the next commit."""
    await worked_off_and_alone(arena)
    await last_decision_hangs(arena)
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
    "no look": (a_transaction_hangs, r"first decisions instead of 1|answered 2 times"),
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
        (topics.ACCOUNT_MOVEMENTS.name, r"command .*: 0 movements instead of 1|0 openings among"),
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
        (topics.ACCOUNT_MOVEMENTS.name, r"command .*: 2 movements instead of 1|2 openings among"),
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
