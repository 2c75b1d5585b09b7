"""The in-memory broker: the contract of all brokers, and what it does beyond: faults, zombies, deletion, compaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from connectors.broker import Ambiguous, Broker, BrokerError, Fenced, Message, Producer, TopicPartition, UnknownTopic
from connectors.memory import POINTS, MemoryBroker
from connectors.memory.group import assign

# Its asserts explain themselves only if this comes before its import.
pytest.register_assert_rewrite("broker_contract")

from broker_contract import NOON_US, BrokerContract, Member, Write, message, messages, settle, texts  # noqa: E402

CALLS = TopicPartition("calls", 0)


class TestContract(BrokerContract):
    deadline_seconds = 5.0

    @asynccontextmanager
    async def make_broker(self, topics: Mapping[str, int]) -> AsyncIterator[tuple[Broker, Write]]:
        broker = MemoryBroker(topics)

        async def write(topic: str, partition: int, what: Sequence[Message]) -> None:
            broker.produce(topic, partition, what)

        yield broker, write


class Faults:
    """A hook that notes where it was, and raises or does once what it is told, at the point that it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._at: dict[str, Callable[[], Awaitable[None]]] = {}

    def once(self, point: str, do: Callable[[], Awaitable[None]]) -> None:
        self._at[point] = do

    def fail(self, point: str, error: Exception) -> None:
        async def do() -> None:
            raise error

        self.once(point, do)

    async def __call__(self, point: str, who: str) -> None:
        self.seen.append((point, who))
        if (do := self._at.pop(point, None)) is not None:
            await do()


async def member_of(broker: MemoryBroker, *topics: str) -> Member:
    return await Member().join(broker, "rating", topics)


async def transaction(broker: MemoryBroker, *what: str, topic: str = "bills", name: str = "worker.0") -> Producer:
    """A producer with a transaction that has sent these texts."""
    producer = await broker.producer(name)
    await producer.begin()
    await producer.send(topic, 0, messages(*what))
    return producer


# Logs


def test_a_marker_takes_an_offset_and_an_aborted_record_leaves_a_gap() -> None:
    async def play() -> None:
        broker = MemoryBroker({"bills": 1})
        await (await transaction(broker, "a", "b")).commit()
        await (await transaction(broker, "c")).abort()
        broker.produce("bills", 0, messages("d"))

        # a 0, b 1, marker 2, c 3, marker 4
        assert [(r.offset, r.value) for r in broker.committed("bills", 0)] == [(0, b"a"), (1, b"b"), (5, b"d")]

    asyncio.run(play())


def test_arrival_is_the_order_of_appending_across_partitions() -> None:
    broker = MemoryBroker({"calls": 2, "cdrs": 1})
    broker.produce("calls", 1, messages("a", "b"))
    broker.produce("cdrs", 0, messages("c"))
    broker.produce("calls", 0, messages("d"))

    records = [r for topic, p in (("calls", 0), ("calls", 1), ("cdrs", 0)) for r in broker.committed(topic, p)]

    assert texts(sorted(records, key=lambda record: record.arrival)) == ["a", "b", "c", "d"]
    assert sorted(record.arrival for record in records) == [0, 1, 2, 3]


def test_committed_records_can_be_had_from_an_offset_on() -> None:
    broker = MemoryBroker({"calls": 1})
    broker.produce("calls", 0, messages("a", "b", "c"))

    assert texts(broker.committed("calls", 0, 1)) == ["b", "c"]
    assert broker.committed("calls", 0, 3) == []


def test_forgotten_records_are_gone_and_offsets_go_on() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1})
        broker.produce("calls", 0, messages("a", "b", "c"))

        broker.forget("calls", 0, 2)
        broker.produce("calls", 0, messages("d"))

        assert [(r.offset, r.value) for r in broker.committed("calls", 0)] == [(2, b"c"), (3, b"d")]
        assert texts(await (await member_of(broker, "calls")).take(2)) == ["c", "d"]

    asyncio.run(play())


def test_what_is_not_stable_is_not_forgotten() -> None:
    async def play() -> None:
        broker = MemoryBroker({"bills": 1})
        broker.produce("bills", 0, messages("a"))
        producer = await transaction(broker, "b")

        broker.forget("bills", 0, 100)
        await producer.commit()

        assert texts(broker.committed("bills", 0)) == ["b"]

    asyncio.run(play())


def test_compaction_keeps_the_last_value_of_a_key_and_drops_tombstones() -> None:
    async def play() -> None:
        broker = MemoryBroker({"state": 1}, compacted=["state"])
        broker.produce("state", 0, [message("1", "a"), message("2", "b"), message("3", "a"), message("4", "c")])
        broker.produce("state", 0, [Message(b"c", None, NOON_US)])
        producer = await broker.producer("worker.0")
        await producer.begin()
        await producer.send("state", 0, [message("5", "b")])

        # The open transaction's value of b does not count yet.
        broker.compact("state")
        assert [(r.offset, r.value) for r in broker.committed("state", 0)] == [(1, b"2"), (2, b"3")]

        await producer.commit()
        broker.compact("state")
        assert [(r.offset, r.value) for r in broker.committed("state", 0)] == [(2, b"3"), (5, b"5")]

        broker.produce("state", 0, [message("6", "d")])
        assert broker.committed("state", 0)[-1].offset == 7

    asyncio.run(play())


def test_a_compacted_topic_refuses_a_record_without_a_key() -> None:
    async def play() -> None:
        broker = MemoryBroker({"state": 1}, compacted=["state"])
        with pytest.raises(BrokerError, match="state is compacted"):
            broker.produce("state", 0, [message("a"), message("b", None)])
        producer = await broker.producer("worker.0")
        await producer.begin()
        with pytest.raises(BrokerError, match="state is compacted"):
            await producer.send("state", 0, [message("b", None)])
        await producer.commit()
        broker.produce("state", 0, [message("c")])

        assert texts(broker.committed("state", 0)) == ["c"]

    asyncio.run(play())


def test_only_a_compacted_topic_can_be_compacted() -> None:
    with pytest.raises(BrokerError, match="calls is not compacted"):
        MemoryBroker({"calls": 1}).compact("calls")


def test_a_partition_that_a_topic_does_not_have_is_unknown() -> None:
    broker = MemoryBroker({"calls": 2})
    for partition in (2, -1):
        with pytest.raises(UnknownTopic, match=f"calls has no partition {partition}"):
            broker.produce("calls", partition, messages("a"))


# Producers


def test_every_call_of_a_fenced_producer_tells_it_so() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1, "bills": 1})
        zombie = await transaction(broker, "a")
        await broker.producer("worker.0")

        calls: list[Callable[[], Awaitable[None]]] = [
            zombie.begin,
            lambda: zombie.send("bills", 0, messages("b")),
            lambda: zombie.send_offsets("rating", {CALLS: 1}),
            zombie.commit,
            zombie.abort,
        ]
        for call in calls:
            with pytest.raises(Fenced, match=r"worker\.0"):
                await call()
        await zombie.close()

    asyncio.run(play())


def test_a_fence_that_falls_during_a_commit_wins_if_the_commit_was_not_decided() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1}, hook=faults)
        zombie = await transaction(broker, "zombie")

        async def fence() -> None:
            await transaction(broker, "owner")

        faults.once("commit.before", fence)
        with pytest.raises(Fenced):
            await zombie.commit()

        assert broker.committed("bills", 0) == []
        # The new owner's open transaction is still there.
        await (await transaction(broker, "next")).commit()
        assert texts(broker.committed("bills", 0)) == ["next"]

    asyncio.run(play())


def test_a_fence_that_falls_after_the_decision_finds_the_whole_transaction() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"calls": 1, "bills": 1}, hook=faults)
        former = await transaction(broker, "bill")
        await former.send_offsets("rating", {CALLS: 7})

        async def take_over() -> None:
            assert broker.committed("bills", 0) == []
            owner = await broker.producer("worker.0")
            assert texts(broker.committed("bills", 0)) == ["bill"]
            assert broker.committed_offset("rating", CALLS) == 7
            await owner.begin()
            await owner.send("bills", 0, messages("open"))

        faults.once("commit.marker", take_over)
        await former.commit()

        # The former one's late markers do not touch what the new owner has begun.
        assert texts(broker.committed("bills", 0)) == ["bill"]
        with pytest.raises(Fenced):
            await former.begin()

    asyncio.run(play())


def test_an_ambiguous_commit_that_did_not_take_place_is_aborted_by_the_next_owner() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"calls": 1, "bills": 1}, hook=faults)
        producer = await transaction(broker, "a")
        await producer.send_offsets("rating", {CALLS: 1})
        faults.fail("commit.before", Ambiguous("time-out"))

        with pytest.raises(Ambiguous):
            await producer.commit()
        await broker.producer("worker.0")

        assert broker.committed("bills", 0) == []
        assert broker.committed_offset("rating", CALLS) is None

    asyncio.run(play())


@pytest.mark.parametrize("point", ["commit.marker", "commit.after"])
def test_an_ambiguous_commit_that_did_take_place_is_there_for_the_next_owner(point: str) -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"calls": 1, "bills": 1}, hook=faults)
        producer = await transaction(broker, "a")
        await producer.send_offsets("rating", {CALLS: 1})
        faults.fail(point, Ambiguous("time-out"))

        with pytest.raises(Ambiguous):
            await producer.commit()
        await broker.producer("worker.0")

        assert texts(broker.committed("bills", 0)) == ["a"]
        assert broker.committed_offset("rating", CALLS) == 1

    asyncio.run(play())


def test_a_decided_commit_is_completed_although_the_caller_is_cancelled() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1, "state": 1}, hook=faults)
        producer = await transaction(broker, "a")
        await producer.send("state", 0, messages("b"))
        stuck = asyncio.Event()
        faults.once("commit.marker", lambda: _stop_for_ever(stuck))

        commit = asyncio.create_task(producer.commit())
        await stuck.wait()
        assert broker.committed("bills", 0) == []
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit

        assert texts(broker.committed("bills", 0)) == ["a"]
        assert texts(broker.committed("state", 0)) == ["b"]

    asyncio.run(play())


async def _stop_for_ever(reached: asyncio.Event) -> None:
    reached.set()
    await asyncio.Event().wait()


def test_a_lost_batch_is_told_to_who_awaits_it() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1}, hook=faults)
        producer = await transaction(broker, "a")
        faults.fail("send", BrokerError("lost"))
        lost = producer.send("bills", 0, messages("b"))

        for _ in range(2):
            with pytest.raises(BrokerError, match="lost"):
                await lost

    asyncio.run(play())


def test_a_lost_batch_goes_unseen_when_nobody_awaits_it() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1}, hook=faults)
        producer = await transaction(broker, "a")
        faults.fail("send", BrokerError("lost"))
        producer.send("bills", 0, messages("b"))
        producer.send("bills", 0, messages("c"))
        await producer.commit()

        assert texts(broker.committed("bills", 0)) == ["a", "c"]

    asyncio.run(play())


def test_the_failure_of_an_old_delivery_does_not_take_out_what_is_committed() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1}, hook=faults)
        producer = await transaction(broker, "a")
        delivery = producer.send("bills", 0, messages("b"))

        async def fail_after_the_commit() -> None:
            await producer.commit()
            raise BrokerError("the answer was lost")

        faults.once("send", fail_after_the_commit)
        with pytest.raises(BrokerError):
            await delivery

        assert texts(broker.committed("bills", 0)) == ["a", "b"]

    asyncio.run(play())


def test_a_producer_refuses_calls_out_of_turn() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1, "bills": 1})
        producer = await broker.producer("worker.0")
        with pytest.raises(BrokerError, match="no transaction is open"):
            await producer.send("bills", 0, messages("a"))
        with pytest.raises(BrokerError, match="no transaction is open"):
            await producer.abort()
        await producer.begin()
        with pytest.raises(BrokerError, match="open already"):
            await producer.begin()
        await producer.send_offsets("rating", {CALLS: 1})
        with pytest.raises(BrokerError, match="once in each transaction"):
            await producer.send_offsets("rating", {CALLS: 2})
        await producer.close()
        with pytest.raises(BrokerError, match="closed"):
            await producer.commit()

    asyncio.run(play())


def test_a_producer_that_closes_leaves_its_transaction_open_as_a_killed_process_would() -> None:
    async def play() -> None:
        broker = MemoryBroker({"bills": 1})
        await (await transaction(broker, "a")).close()
        broker.produce("bills", 0, messages("b"))
        assert broker.committed("bills", 0) == []

        await broker.producer("worker.0")
        assert texts(broker.committed("bills", 0)) == ["b"]

    asyncio.run(play())


# Groups


@pytest.mark.parametrize(
    ("topics", "members", "numbers"),
    [
        ({"calls": 4}, 1, [[0, 1, 2, 3]]),
        ({"calls": 4}, 2, [[0, 1], [2, 3]]),
        ({"calls": 5}, 2, [[0, 1, 2], [3, 4]]),
        ({"calls": 5}, 3, [[0, 1], [2, 3], [4]]),
        ({"calls": 1}, 3, [[0], [], []]),
        ({"calls": 4, "cdrs": 2}, 2, [[0, 1], [2, 3]]),
    ],
)
def test_members_get_ranges_of_partition_numbers(
    topics: dict[str, int], members: int, numbers: list[list[int]]
) -> None:
    names = [f"member-{i}" for i in range(members)]

    assignment = assign(topics, names)

    for name, mine in zip(names, numbers, strict=True):
        assert assignment[name] == {TopicPartition(t, n) for t, count in topics.items() for n in mine if n < count}


def test_no_partition_has_two_owners_while_members_come_and_go() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 6})
        everything = [TopicPartition("calls", p) for p in range(6)]
        members: list[Member] = []

        async def poll_all(rounds: int) -> None:
            for i in range(rounds):
                for member in members[i % len(members) :] + members[: i % len(members)]:
                    await member.consumer.poll(1, 0)
                    held = [partition for each in members for partition in each.consumer.assignment()]
                    assert len(held) == len(set(held))

        for _ in range(4):
            members.append(await member_of(broker, "calls"))
            await poll_all(5)
        while len(members) > 1:
            await members.pop(0).consumer.close()
            await poll_all(5)
        await settle(members, everything)

    asyncio.run(play())


def test_two_that_join_before_any_poll_share_at_once() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 2})
        first, second = await member_of(broker, "calls"), await member_of(broker, "calls")

        await settle([first, second], [TopicPartition("calls", p) for p in range(2)])

        assert first.told == [("assigned", frozenset({TopicPartition("calls", 0)}))]
        assert second.told == [("assigned", frozenset({TopicPartition("calls", 1)}))]

    asyncio.run(play())


def test_an_expired_member_learns_of_it_at_its_next_poll_and_joins_anew() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 2, "bills": 1})
        everything = [TopicPartition("calls", p) for p in range(2)]
        zombie, other = await member_of(broker, "calls"), await member_of(broker, "calls")
        await settle([zombie, other], everything)
        held = zombie.consumer.assignment()

        broker.expire(zombie.consumer)
        await settle([other], everything)
        assert zombie.consumer.assignment() == held

        await settle([zombie, other], everything)
        assert zombie.told[1] == ("revoked", held)
        # As the younger member it now comes second.
        assert zombie.held() == {TopicPartition("calls", 1)}

    asyncio.run(play())


def test_a_zombie_can_commit_positions_until_its_producer_is_fenced() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1, "bills": 1})
        broker.produce("calls", 0, messages("a", "b"))
        zombie = await member_of(broker, "calls")
        await zombie.take(2)
        producer = await transaction(broker, "bill of a")
        broker.expire(zombie.consumer)

        # The new owner fetches the group's position before it fences: it is too old by then.
        owner = await member_of(broker, "calls")
        first = (await owner.take(1, max_records=1))[0]
        await producer.send_offsets("rating", {CALLS: first.offset + 1})
        await producer.commit()
        await broker.producer("worker.0")

        assert first.value == b"a"
        assert broker.committed_offset("rating", CALLS) == first.offset + 1
        with pytest.raises(Fenced):
            await producer.begin()

    asyncio.run(play())


def test_all_members_of_a_group_read_the_same_topics() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1, "cdrs": 1})
        first = await member_of(broker, "calls")
        with pytest.raises(BrokerError, match="group rating reads calls, not cdrs"):
            await member_of(broker, "cdrs")

        await first.consumer.close()
        await settle([await member_of(broker, "cdrs")], [TopicPartition("cdrs", 0)])

    asyncio.run(play())


# Consumers


def test_a_poll_shares_its_records_fairly_and_fills_up() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 4})
        for partition, number in enumerate((1000, 3, 1000, 0)):
            broker.produce("calls", partition, messages(*("x" for _ in range(number))))
        consumer = (await member_of(broker, "calls")).consumer

        polled = await consumer.poll(101, 0)

        assert {tp.partition: len(records) for tp, records in polled.items()} == {1: 3, 0: 49, 2: 49}

    asyncio.run(play())


def test_partitions_take_turns_when_a_poll_is_smaller_than_their_number() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 3})
        for partition in range(3):
            broker.produce("calls", partition, messages(*("x" for _ in range(10))))
        consumer = (await member_of(broker, "calls")).consumer

        turns = [sorted(tp.partition for tp in await consumer.poll(2, 0)) for _ in range(3)]

        assert turns == [[0, 1], [0, 2], [1, 2]]

    asyncio.run(play())


def test_a_position_behind_the_end_starts_over_at_the_beginning() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1})
        broker.produce("calls", 0, messages("a"))
        member = await member_of(broker, "calls")
        await member.take(1)

        member.consumer.seek(CALLS, 5)

        assert texts(await member.take(1)) == ["a"]

    asyncio.run(play())


def test_a_partition_of_others_cannot_be_paused_resumed_or_sought() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1})
        consumer = (await member_of(broker, "calls")).consumer
        calls: list[Callable[[], None]] = [
            lambda: consumer.pause([CALLS]),
            lambda: consumer.resume([CALLS]),
            lambda: consumer.seek(CALLS, 0),
        ]
        for call in calls:
            with pytest.raises(BrokerError, match="calls-0 is not assigned"):
                call()

    asyncio.run(play())


def test_a_closed_consumer_cannot_be_polled() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1})
        consumer = (await member_of(broker, "calls")).consumer
        await consumer.close()
        await consumer.close()
        with pytest.raises(BrokerError, match="closed"):
            await consumer.poll(1, 0)

    asyncio.run(play())


def test_a_poll_without_time_lets_other_tasks_run() -> None:
    async def play() -> None:
        broker = MemoryBroker({"calls": 1})
        broker.produce("calls", 0, messages("a"))
        consumer = (await member_of(broker, "calls")).consumer
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)
        await consumer.poll(1, 0)
        assert ran.is_set()

    asyncio.run(play())


# Faults


def test_every_fault_point_is_passed_by_who_is_there() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"calls": 1, "bills": 1}, hook=faults)
        await broker.partition_count("calls")
        member = await member_of(broker, "calls")
        await member.consumer.poll(1, 0)
        producer = await transaction(broker, "a")
        await producer.send_offsets("rating", {CALLS: 0})
        await producer.commit()
        await producer.begin()
        await producer.abort()
        await producer.close()
        await member.consumer.close()
        assert [batch async for batch in broker.read_to_end(CALLS)] == []

        assert faults.seen == [
            ("partition_count", "calls"),
            ("join", "rating"),
            ("poll", "rating-000000"),
            ("producer", "worker.0"),
            ("begin", "worker.0"),
            ("send", "worker.0"),
            ("send_offsets", "worker.0"),
            ("commit.before", "worker.0"),
            ("commit.marker", "worker.0"),
            ("commit.marker", "worker.0"),
            ("commit.after", "worker.0"),
            ("begin", "worker.0"),
            ("abort", "worker.0"),
            ("close", "worker.0"),
            ("leave", "rating-000000"),
            ("read", "calls-0"),
        ]
        assert {point for point, _ in faults.seen} == set(POINTS)

    asyncio.run(play())


def test_readers_of_two_partitions_may_see_one_half_of_a_transaction_first() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"bills": 1, "state": 1}, hook=faults)
        producer = await transaction(broker, "a")
        await producer.send("state", 0, messages("b"))
        seen: list[tuple[int, int]] = []

        async def look() -> None:
            seen.append((len(broker.committed("bills", 0)), len(broker.committed("state", 0))))
            if len(seen) < 3:
                faults.once("commit.marker", look)

        faults.once("commit.marker", look)
        await producer.commit()

        assert seen == [(0, 0), (1, 0), (1, 1)]

    asyncio.run(play())


def test_a_crash_in_a_poll_loses_no_record() -> None:
    async def play() -> None:
        faults = Faults()
        broker = MemoryBroker({"calls": 1}, hook=faults)
        broker.produce("calls", 0, messages("a"))
        member = await member_of(broker, "calls")
        faults.fail("poll", RuntimeError("crash"))
        with pytest.raises(RuntimeError):
            await member.consumer.poll(1, 0)

        assert broker.consumers("rating") == [member.consumer]
        broker.expire(member.consumer)

        assert texts(await (await member_of(broker, "calls")).take(1)) == ["a"]

    asyncio.run(play())
