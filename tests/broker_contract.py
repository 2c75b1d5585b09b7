"""What every implementation of `connectors.broker.Broker` must do; one suite, run by each of them.

To plug one in, inherit `BrokerContract` under a name that begins with Test and give `make_broker`. The suite relies on
what the protocol states and on nothing else, so it holds for a broker that is slow and makes a commit visible late:

* it waits for what must come, under one deadline for each test, and proves that something does not come by a record
  behind it that does;
* topics, groups and transactional ids are new for each test, so that all tests may share one server;
* timestamps are whole milliseconds of the past: a plugged-in broker must not delete its topics' old records, and may
  keep milliseconds only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from connectors.broker import Broker, BrokerError, Fenced, Message, Producer, Record, TopicPartition, UnknownTopic

Write = Callable[[str, int, Sequence[Message]], Awaitable[None]]
"""Plain producing to (topic, partition); ends when the broker has the messages."""

NOON_US = 1_732_449_600_000_000  # 2024-11-24T12:00:00Z
_POLL_SECONDS = 0.5


def message(text: str, key: str | None = "100200", at_us: int = NOON_US) -> Message:
    return Message(None if key is None else key.encode(), text.encode(), at_us)


def messages(*texts: str) -> list[Message]:
    return [message(text) for text in texts]


def texts(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


class Member:
    """A member of a group, and what its callbacks were told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, frozenset[TopicPartition]]] = []
        self.pause_when_assigned = False

    async def join(self, broker: Broker, group: str, topics: Sequence[str]) -> "Member":
        self.consumer = await broker.join(group, topics, on_assigned=self._assigned, on_revoked=self._revoked)
        return self

    def _assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self.told.append(("assigned", partitions))
        if self.pause_when_assigned:
            self.consumer.pause(partitions)

    def _revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.told.append(("revoked", partitions))

    def held(self) -> frozenset[TopicPartition]:
        """What it holds by what it was told. Nothing is gained twice, nothing is lost that was not held."""
        held: frozenset[TopicPartition] = frozenset()
        for what, partitions in self.told:
            if what == "assigned":
                assert not held & partitions
                held |= partitions
            else:
                assert partitions <= held
                held -= partitions
        return held

    async def take(self, number: int, max_records: int = 500) -> list[Record]:
        """This many records, in the order in which the polls gave them."""
        taken: list[Record] = []
        while len(taken) < number:
            batch = await self.consumer.poll(max_records, _POLL_SECONDS)
            assert sum(len(records) for records in batch.values()) <= max_records
            for partition, records in batch.items():
                assert {(record.topic, record.partition) for record in records} == {partition}
                taken += records
        assert len(taken) == number
        return taken

    async def take_until(self, text: str) -> list[str]:
        """The texts of the records up to the one that reads so, which must be the last."""
        taken: list[str] = []
        while text not in taken:
            for records in (await self.consumer.poll(500, _POLL_SECONDS)).values():
                taken += texts(records)
        assert taken[-1] == text
        return taken


async def settle(members: Collection[Member], partitions: Collection[TopicPartition]) -> None:
    """Polls all members until together they hold these partitions, each by one member. There must be no records."""
    while True:
        for batch in await asyncio.gather(*(member.consumer.poll(1, 0.05) for member in members)):
            assert batch == {}
        held = [partition for member in members for partition in member.held()]
        if sorted(held) == sorted(partitions):
            break
    for member in members:
        assert member.held() == member.consumer.assignment()


class Stage:
    """A broker with the test's topics, and names that no other test uses."""

    def __init__(self, broker: Broker, write: Write, prefix: str) -> None:
        self.broker = broker
        self._write = write
        self._prefix = prefix

    def name(self, word: str) -> str:
        """This test's own topic, group or transactional id of that name."""
        return f"{self._prefix}.{word}"

    def at(self, topic: str, partition: int = 0) -> TopicPartition:
        return TopicPartition(self.name(topic), partition)

    async def write(self, topic: str, partition: int, what: Sequence[Message]) -> None:
        await self._write(self.name(topic), partition, what)

    async def member(self, *topics: str, group: str = "rating") -> Member:
        return await self._join(Member(), topics, group)

    async def paused_member(self, *topics: str, group: str = "rating") -> Member:
        member = Member()
        member.pause_when_assigned = True
        return await self._join(member, topics, group)

    async def _join(self, member: Member, topics: Sequence[str], group: str) -> Member:
        return await member.join(self.broker, self.name(group), [self.name(topic) for topic in topics])

    async def producer(self, word: str = "worker.0") -> Producer:
        return await self.broker.producer(self.name(word))

    async def send(self, producer: Producer, topic: str, partition: int, *what: str) -> None:
        await producer.send(self.name(topic), partition, messages(*what))

    async def read(self, topic: str, partition: int = 0) -> list[Record]:
        return [r async for batch in self.broker.read_to_end(self.at(topic, partition)) for r in batch]

    async def read_as_owner(self, topic: str, partition: int = 0, word: str = "worker.0") -> list[Record]:
        """As a new owner reads: its producer first, after which all that the former one did is decided and visible."""
        producer = await self.producer(word)
        records = await self.read(topic, partition)
        await producer.close()
        return records


Scenario = Callable[[Any, Stage], Awaitable[None]]


def scenario(**topics: int) -> Callable[[Scenario], Callable[["BrokerContract"], None]]:
    """Makes a plain test of a coroutine that plays on a broker with these topics and numbers of partitions."""

    def bind(play: Scenario) -> Callable[["BrokerContract"], None]:
        def test(self: "BrokerContract") -> None:
            asyncio.run(self.perform(play, topics))

        # Not functools.wraps: pytest would look through it and ask for a fixture named stage.
        test.__name__ = play.__name__
        test.__doc__ = play.__doc__
        return test

    return bind


class BrokerContract:
    """The suite. `deadline_seconds` is the longest that any one test may take."""

    deadline_seconds = 20.0

    def make_broker(self, topics: Mapping[str, int]) -> AbstractAsyncContextManager[tuple[Broker, Write]]:
        """A broker with these topics (name: number of partitions), none compacted, and a way to write to it."""
        raise NotImplementedError

    async def perform(self, play: Scenario, topics: Mapping[str, int]) -> None:
        prefix = f"t{uuid4().hex[:8]}"
        named = {f"{prefix}.{topic}": partitions for topic, partitions in topics.items()}
        async with asyncio.timeout(self.deadline_seconds), self.make_broker(named) as (broker, write):
            await play(self, Stage(broker, write, prefix))

    # Reading

    @scenario(calls=3)
    async def test_a_topic_tells_how_many_partitions_it_has(self, stage: Stage) -> None:
        assert await stage.broker.partition_count(stage.name("calls")) == 3

    @scenario(calls=1)
    async def test_a_record_is_read_as_it_was_written(self, stage: Stage) -> None:
        later_us = NOON_US + 61_001_000
        await stage.write("calls", 0, [Message(b"100200", b'{"a":1}', NOON_US), Message(b"\x00\xff", b"", later_us)])

        first, second = await (await stage.member("calls")).take(2)

        assert first[:2] == second[:2] == stage.at("calls")
        assert (first.key, first.value, first.timestamp_us) == (b"100200", b'{"a":1}', NOON_US)
        assert (second.key, second.value, second.timestamp_us) == (b"\x00\xff", b"", later_us)
        assert first.offset < second.offset
        assert first.arrival <= second.arrival

    @scenario(calls=1, state=1)
    async def test_keys_and_values_may_be_missing(self, stage: Stage) -> None:
        bare = [Message(None, b"no key", NOON_US), Message(b"tombstone", None, NOON_US), Message(None, None, NOON_US)]
        await stage.write("calls", 0, bare)
        producer = await stage.producer()
        await producer.begin()
        await producer.send(stage.name("state"), 0, bare)
        await producer.commit()

        for records in (await (await stage.member("calls")).take(3), await stage.read_as_owner("state")):
            assert [(r.key, r.value) for r in records] == [(m.key, m.value) for m in bare]

    @scenario(calls=1)
    async def test_a_poll_that_finds_nothing_ends_empty_when_its_time_is_over(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls")])

        assert await member.consumer.poll(10, 0.05) == {}
        assert await member.consumer.poll(10, 0) == {}

    @scenario(calls=1)
    async def test_a_poll_that_waits_is_woken_by_a_record(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls")])

        poll = asyncio.create_task(member.consumer.poll(10, self.deadline_seconds))
        await asyncio.sleep(0)
        await stage.write("calls", 0, messages("ring"))

        assert texts((await poll)[stage.at("calls")]) == ["ring"]

    @scenario(calls=3)
    async def test_every_partition_is_read_whole_and_in_order_however_small_the_polls(self, stage: Stage) -> None:
        for partition in range(3):
            await stage.write("calls", partition, messages(*(f"{partition}/{i}" for i in range(40))))

        records = await (await stage.member("calls")).take(120, max_records=7)

        for partition in range(3):
            here = [record for record in records if record.partition == partition]
            assert texts(here) == [f"{partition}/{i}" for i in range(40)]
            assert all(a.offset < b.offset for a, b in pairwise(here))

    @scenario(calls=2)
    async def test_a_busy_partition_does_not_starve_a_quiet_one(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages(*(f"busy {i}" for i in range(2000))))
        await stage.write("calls", 1, messages("quiet"))
        member = await stage.member("calls")

        before = 0
        while "quiet" not in (taken := texts(await member.take(1, max_records=1))):
            before += len(taken)

        # How soon is the broker's own affair; at the very end would be starving.
        assert before < 2000

    @scenario(calls=2)
    async def test_a_partition_whose_last_records_are_worked_on_gives_nothing(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls", partition) for partition in range(2)])
        for partition in range(2):
            await stage.write("calls", partition, messages(f"{partition}"))

        quiet, found = stage.at("calls", 1), {}
        while quiet not in found:
            found |= await member.consumer.poll(10, _POLL_SECONDS, busy={0})
        assert found.keys() == {quiet}
        assert texts(await member.take(1)) == ["0"]

    @scenario(calls=1)
    async def test_a_poll_that_waits_is_ended_when_something_is_not_busy_any_more(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls")])
        await stage.write("calls", 0, messages("kept"))

        poll = asyncio.create_task(member.consumer.poll(10, self.deadline_seconds, busy={0}))
        await asyncio.sleep(0)
        member.consumer.wake()

        assert await poll == {}
        assert texts(await member.take(1)) == ["kept"]

    @scenario(calls=2)
    async def test_a_change_of_the_assignment_waits_while_something_is_busy(self, stage: Stage) -> None:
        """Whatever is worked on was read under the assignment that the worker knows."""
        first = await stage.member("calls")
        partitions = [stage.at("calls", partition) for partition in range(2)]
        await settle([first], partitions)
        second = await stage.member("calls")

        while not first.consumer.changed():
            joining = asyncio.create_task(second.consumer.poll(1, 0.05))
            assert await first.consumer.poll(1, 0.05, busy={0}) == {}
            assert await joining == {}
        assert first.held() == set(partitions)
        assert await first.consumer.poll(1, self.deadline_seconds, busy={0}) == {}
        assert first.held() == set(partitions)
        await settle([first, second], partitions)

    @scenario(calls=1)
    async def test_a_seek_goes_back_and_forth(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b", "c", "d"))
        member = await stage.member("calls")
        records = await member.take(4)

        member.consumer.seek(stage.at("calls"), records[1].offset)
        assert texts(await member.take(3)) == ["b", "c", "d"]

        member.consumer.seek(stage.at("calls"), 0)
        assert texts(await member.take(1, max_records=1)) == ["a"]
        member.consumer.seek(stage.at("calls"), records[3].offset)
        assert texts(await member.take(1)) == ["d"]

    @scenario(calls=2)
    async def test_a_paused_partition_gives_nothing_until_it_is_resumed(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls", 0), stage.at("calls", 1)])
        member.consumer.pause([stage.at("calls", 0)])
        await stage.write("calls", 0, messages("held back"))
        await stage.write("calls", 1, messages("a"))

        assert await member.take_until("a") == ["a"]
        await stage.write("calls", 1, messages("b"))
        assert await member.take_until("b") == ["b"]

        member.consumer.resume([stage.at("calls", 0)])
        assert texts(await member.take(1)) == ["held back"]

    @scenario(calls=1)
    async def test_a_partition_paused_on_assignment_can_be_positioned_before_its_first_record(
        self, stage: Stage
    ) -> None:
        await stage.write("calls", 0, messages("a", "b", "c"))
        second = (await stage.read("calls"))[1]
        member = await stage.paused_member("calls")
        while member.consumer.assignment() != {stage.at("calls")}:
            assert await member.consumer.poll(10, 0.05) == {}
        assert await member.consumer.poll(10, 0.05) == {}

        member.consumer.seek(stage.at("calls"), second.offset)
        member.consumer.resume([stage.at("calls")])

        assert texts(await member.take(2)) == ["b", "c"]

    # Transactions

    @scenario(bills=2)
    async def test_records_of_an_open_transaction_are_not_read_until_it_commits(self, stage: Stage) -> None:
        member = await stage.member("bills")
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "bills", 0, "charge")
        await stage.send(producer, "bills", 0, "fee")
        await stage.write("bills", 0, messages("behind them"))
        await stage.write("bills", 1, messages("beside it"))

        # The plain record has to wait too: readers stop before an open transaction.
        assert await member.take_until("beside it") == ["beside it"]
        assert await stage.read("bills", 0) == []
        await producer.commit()

        assert texts(await member.take(3)) == ["charge", "fee", "behind them"]

    @scenario(bills=1)
    async def test_records_of_an_aborted_transaction_are_never_read(self, stage: Stage) -> None:
        member = await stage.member("bills")
        producer = await stage.producer()
        for text, good in (("a", True), ("wrong", False), ("b", True), ("wrong again", False)):
            await producer.begin()
            await stage.send(producer, "bills", 0, text)
            await (producer.commit() if good else producer.abort())
        await stage.write("bills", 0, messages("last"))

        assert await member.take_until("last") == ["a", "b", "last"]
        assert texts(await stage.read_as_owner("bills")) == ["a", "b", "last"]

    @scenario(bills=1)
    async def test_one_producers_abort_leaves_another_ones_records_alone(self, stage: Stage) -> None:
        good, bad = await stage.producer("good"), await stage.producer("bad")
        await good.begin()
        await bad.begin()
        await stage.send(bad, "bills", 0, "x1")
        await stage.send(good, "bills", 0, "a")
        await stage.send(bad, "bills", 0, "x2")
        await stage.send(good, "bills", 0, "b")
        await good.commit()
        await bad.abort()
        await stage.write("bills", 0, messages("last"))

        assert await (await stage.member("bills")).take_until("last") == ["a", "b", "last"]

    @scenario(calls=2, bills=2, state=2)
    async def test_a_transaction_over_several_topics_comes_whole_or_not_at_all(self, stage: Stage) -> None:
        producer = await stage.producer()
        for text, good in (("no", False), ("yes", True), ("never", False)):
            await producer.begin()
            await asyncio.gather(
                *(
                    producer.send(stage.name(topic), partition, messages(f"{text} {topic} {partition}"))
                    for topic in ("calls", "bills", "state")
                    for partition in (0, 1)
                )
            )
            await (producer.commit() if good else producer.abort())

        for topic in ("calls", "bills", "state"):
            for partition in (0, 1):
                assert texts(await stage.read_as_owner(topic, partition)) == [f"yes {topic} {partition}"]

    @scenario(bills=1)
    async def test_batches_sent_before_the_first_is_awaited_keep_their_order(self, stage: Stage) -> None:
        producer = await stage.producer()
        await producer.begin()
        sent = [producer.send(stage.name("bills"), 0, messages(f"{i}a", f"{i}b")) for i in range(20)]
        for delivery in reversed(sent):
            await delivery
        await producer.commit()

        assert texts(await stage.read_as_owner("bills")) == [f"{i}{half}" for i in range(20) for half in "ab"]

    @scenario(bills=1)
    async def test_a_large_batch_comes_whole(self, stage: Stage) -> None:
        large = [Message(b"%d" % i, b"%d" % i * 20, NOON_US + i * 1000) for i in range(20_000)]
        producer = await stage.producer()
        await producer.begin()
        await producer.send(stage.name("bills"), 0, large)
        await producer.commit()

        records = await (await stage.member("bills")).take(len(large), max_records=3000)

        assert [Message(r.key, r.value, r.timestamp_us) for r in records] == large

    @scenario(bills=1)
    async def test_a_transaction_without_records_can_end_either_way(self, stage: Stage) -> None:
        producer = await stage.producer()
        await producer.begin()
        await producer.commit()
        await producer.begin()
        await producer.abort()
        await producer.begin()
        await stage.send(producer, "bills", 0, "a")
        await producer.commit()

        assert texts(await stage.read_as_owner("bills")) == ["a"]

    # Fencing

    @scenario(bills=1)
    async def test_a_producer_that_starts_again_aborts_what_its_former_life_left_open(self, stage: Stage) -> None:
        former = await stage.producer()
        await former.begin()
        await stage.send(former, "bills", 0, "left open")
        await stage.write("bills", 0, messages("behind"))

        producer = await stage.producer()
        assert texts(await stage.read("bills")) == ["behind"]

        await producer.begin()
        await stage.send(producer, "bills", 0, "again")
        await producer.commit()
        assert texts(await stage.read_as_owner("bills")) == ["behind", "again"]

    @scenario(bills=1)
    async def test_a_fenced_producer_cannot_commit_what_it_had_sent(self, stage: Stage) -> None:
        zombie = await stage.producer()
        await zombie.begin()
        await stage.send(zombie, "bills", 0, "zombie")
        await stage.producer()

        with pytest.raises(Fenced):
            await zombie.commit()
        assert await stage.read_as_owner("bills") == []

    @scenario(bills=1)
    async def test_a_fenced_producer_cannot_go_on_with_its_transaction(self, stage: Stage) -> None:
        zombie = await stage.producer()
        await zombie.begin()
        await stage.send(zombie, "bills", 0, "before")
        owner = await stage.producer()
        await owner.begin()
        await stage.send(owner, "bills", 0, "owner")

        with pytest.raises(Fenced):
            await stage.send(zombie, "bills", 0, "after")
        await owner.commit()
        assert texts(await stage.read_as_owner("bills")) == ["owner"]

    @scenario(calls=1, bills=1)
    async def test_a_fenced_producer_cannot_get_a_new_transaction_through(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a"))
        zombie = await stage.producer()
        await stage.producer()

        # Which of the calls is the first to hear of it is the broker's own affair.
        async def bill() -> None:
            await zombie.begin()
            await stage.send(zombie, "bills", 0, "zombie")
            await zombie.send_offsets(stage.name("rating"), {stage.at("calls"): 1})
            await zombie.commit()

        with pytest.raises(Fenced):
            await bill()
        await zombie.close()

        assert await stage.read_as_owner("bills") == []
        assert texts(await (await stage.member("calls")).take(1)) == ["a"]

    @scenario(bills=1)
    async def test_producers_of_different_ids_do_not_fence_each_other(self, stage: Stage) -> None:
        first, second = await stage.producer("worker.0"), await stage.producer("worker.1")
        for producer, text in ((first, "a"), (second, "b"), (first, "c")):
            await producer.begin()
            await stage.send(producer, "bills", 0, text)
            await producer.commit()
        await stage.write("bills", 0, messages("last"))

        assert await (await stage.member("bills")).take_until("last") == ["a", "b", "c", "last"]

    # Positions

    @scenario(calls=1)
    async def test_a_group_without_a_position_starts_at_the_beginning(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b"))

        assert texts(await (await stage.member("calls", group="first")).take(2)) == ["a", "b"]
        assert texts(await (await stage.member("calls", group="second")).take(2)) == ["a", "b"]

    @scenario(calls=2, bills=1)
    async def test_a_restart_resumes_at_the_committed_positions(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b", "c"))
        await stage.write("calls", 1, messages("d"))
        member = await stage.member("calls")
        records = await member.take(4)
        second = next(record for record in records if record.value == b"b")
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "bills", 0, "A", "B")
        await producer.send_offsets(stage.name("rating"), {stage.at("calls"): second.offset + 1})
        await producer.commit()
        await member.consumer.close()
        await producer.close()

        await stage.producer()
        again = await (await stage.member("calls")).take(2)

        assert sorted(texts(again)) == ["c", "d"]
        assert texts(await stage.read("bills")) == ["A", "B"]

    @scenario(calls=1, bills=1)
    async def test_positions_of_an_aborted_transaction_are_void_like_its_records(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b"))
        member = await stage.member("calls")
        first, second = await member.take(2)
        producer = await stage.producer()
        for record, good in ((first, True), (second, False)):
            await producer.begin()
            await stage.send(producer, "bills", 0, f"bill of {texts([record])[0]}")
            await producer.send_offsets(stage.name("rating"), {stage.at("calls"): record.offset + 1})
            await (producer.commit() if good else producer.abort())
        await member.consumer.close()

        assert texts(await stage.read_as_owner("bills")) == ["bill of a"]
        assert texts(await (await stage.member("calls")).take(1)) == ["b"]

    @scenario(calls=1)
    async def test_positions_left_in_an_open_transaction_are_void_after_a_restart(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a"))
        member = await stage.member("calls")
        (record,) = await member.take(1)
        former = await stage.producer()
        await former.begin()
        await former.send_offsets(stage.name("rating"), {stage.at("calls"): record.offset + 1})
        await member.consumer.close()

        await stage.producer()

        assert texts(await (await stage.member("calls")).take(1)) == ["a"]

    @scenario(calls=1)
    async def test_a_transaction_may_carry_positions_alone(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b"))
        member = await stage.member("calls")
        first, _ = await member.take(2)
        producer = await stage.producer()
        await producer.begin()
        await producer.send_offsets(stage.name("rating"), {stage.at("calls"): first.offset + 1})
        await producer.commit()
        await member.consumer.close()

        await stage.producer()

        assert texts(await (await stage.member("calls")).take(1)) == ["b"]

    # Groups

    @scenario(calls=4, cdrs=4)
    async def test_a_single_member_gets_every_partition_of_all_topics(self, stage: Stage) -> None:
        member = await stage.member("calls", "cdrs")
        everything = [stage.at(topic, p) for topic in ("calls", "cdrs") for p in range(4)]

        await settle([member], everything)

        assert [what for what, _ in member.told] == ["assigned"]

    @scenario(calls=5, cdrs=5)
    async def test_two_members_share_the_partitions_and_keep_equal_numbers_together(self, stage: Stage) -> None:
        everything = [stage.at(topic, p) for topic in ("calls", "cdrs") for p in range(5)]
        first = await stage.member("calls", "cdrs")
        await settle([first], everything)
        second = await stage.member("calls", "cdrs")

        while not second.held():
            await settle([first, second], everything)

        for member in (first, second):
            calls = {p for topic, p in member.held() if topic == stage.name("calls")}
            cdrs = {p for topic, p in member.held() if topic == stage.name("cdrs")}
            assert calls == cdrs
            assert len(calls) in (2, 3)
        # The first is told of its loss before it is told of what it keeps or gets back; `held` checks the rest.
        assert [what for what, _ in first.told][:2] == ["assigned", "revoked"]
        assert second.told[0][0] == "assigned"

    @scenario(calls=2)
    async def test_a_member_that_closes_leaves_its_partitions_to_the_others(self, stage: Stage) -> None:
        everything = [stage.at("calls", p) for p in range(2)]
        first, second = await stage.member("calls"), await stage.member("calls")
        while not (first.held() and second.held()):
            await settle([first, second], everything)

        await first.consumer.close()
        await settle([second], everything)

        await stage.write("calls", 0, messages("a"))
        await stage.write("calls", 1, messages("b"))
        assert sorted(texts(await second.take(2))) == ["a", "b"]

    @scenario(calls=2)
    async def test_a_partition_that_moves_goes_on_at_its_committed_position(self, stage: Stage) -> None:
        first = await stage.member("calls")
        for partition in (0, 1):
            await stage.write("calls", partition, messages(f"{partition} done", f"{partition} to do"))
        records = await first.take(4)
        producer = await stage.producer()
        await producer.begin()
        done = {stage.at("calls", r.partition): r.offset + 1 for r in records if (r.value or b"").endswith(b"done")}
        await producer.send_offsets(stage.name("rating"), done)
        await producer.commit()
        await stage.producer()

        await first.consumer.close()
        second = await stage.member("calls")

        assert sorted(texts(await second.take(2))) == ["0 to do", "1 to do"]

    # A whole partition

    @scenario(state=1)
    async def test_an_empty_partition_is_read_to_its_end_at_once(self, stage: Stage) -> None:
        assert await stage.read("state") == []

    @scenario(state=1)
    async def test_reading_to_the_end_ends_though_markers_stand_last(self, stage: Stage) -> None:
        producer = await stage.producer()
        for text in ("a", "b"):
            await producer.begin()
            await stage.send(producer, "state", 0, text)
            await producer.commit()
        for _ in range(2):
            await producer.begin()
            await stage.send(producer, "state", 0, "aborted")
            await producer.abort()

        assert texts(await stage.read_as_owner("state")) == ["a", "b"]

    @scenario(state=1)
    async def test_reading_to_the_end_ends_though_nothing_but_aborted_records_is_there(self, stage: Stage) -> None:
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "state", 0, "aborted")
        await producer.abort()

        assert await stage.read_as_owner("state") == []

    @scenario(state=1)
    async def test_reading_to_the_end_stops_before_an_open_transaction(self, stage: Stage) -> None:
        await stage.write("state", 0, messages("a"))
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "state", 0, "open")

        assert texts(await stage.read("state")) == ["a"]

    @scenario(state=1)
    async def test_reading_to_the_end_does_not_run_after_what_comes_meanwhile(self, stage: Stage) -> None:
        await stage.write("state", 0, messages(*(f"{i}" for i in range(5000))))

        read = 0
        async for batch in stage.broker.read_to_end(stage.at("state")):
            read += len(batch)
            assert read <= 5000
            await stage.write("state", 0, messages(*("later" for _ in batch)))

        assert read == 5000

    @scenario(state=1)
    async def test_reading_to_the_end_always_starts_at_the_beginning(self, stage: Stage) -> None:
        await stage.write("state", 0, messages("a", "b"))

        assert texts(await stage.read("state")) == ["a", "b"]
        assert texts(await stage.read("state")) == ["a", "b"]

    # Following

    @scenario(reference=1)
    async def test_a_follower_says_when_it_has_caught_up_and_goes_on(self, stage: Stage) -> None:
        await stage.write("reference", 0, messages("a", "b"))

        read: list[str] = []
        following = stage.broker.follow(stage.at("reference"))
        while batch := await anext(following):
            read += texts(batch)
        assert read == ["a", "b"]

        await stage.write("reference", 0, messages("c"))
        while not (batch := await anext(following)):
            pass
        assert texts(batch) == ["c"]
        await following.aclose()

    @scenario(reference=1)
    async def test_a_follower_of_an_empty_partition_has_caught_up_at_once(self, stage: Stage) -> None:
        following = stage.broker.follow(stage.at("reference"))
        assert not await anext(following)
        await following.aclose()

    @scenario(reference=1)
    async def test_a_follower_may_begin_in_the_middle(self, stage: Stage) -> None:
        await stage.write("reference", 0, messages("a", "b", "c"))

        following = stage.broker.follow(stage.at("reference"), 1)
        assert texts(await anext(following)) == ["b", "c"]
        await following.aclose()

    @scenario(reference=1)
    async def test_a_follower_waits_for_an_open_transaction_and_passes_an_aborted_one_by(self, stage: Stage) -> None:
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "reference", 0, "aborted")
        following = stage.broker.follow(stage.at("reference"))
        assert not await anext(following)

        await producer.abort()
        await producer.begin()
        await stage.send(producer, "reference", 0, "a")
        await producer.commit()
        while not (batch := await anext(following)):
            pass
        assert texts(batch) == ["a"]
        await following.aclose()

    # What a member knows

    @scenario(calls=1)
    async def test_a_member_knows_how_much_it_has_still_to_read(self, stage: Stage) -> None:
        await stage.write("calls", 0, messages("a", "b", "c"))
        member = await stage.member("calls")

        await member.take(2, max_records=2)
        assert member.consumer.lag() == {stage.at("calls"): 1}
        await member.take(1)
        assert member.consumer.lag() == {stage.at("calls"): 0}

    @scenario(calls=2)
    async def test_a_member_of_a_settled_group_is_one(self, stage: Stage) -> None:
        member = await stage.member("calls")
        await settle([member], [stage.at("calls", 0), stage.at("calls", 1)])

        assert await member.consumer.is_member()

    @scenario(calls=1)
    async def test_a_member_without_partitions_is_settled_as_well(self, stage: Stage) -> None:
        first, second = await stage.member("calls"), await stage.member("calls")
        await settle([first, second], [stage.at("calls")])
        while not (first.consumer.settled() and second.consumer.settled()):
            for member in (first, second):
                await member.consumer.poll(1, 0.05)

        assert sorted(len(member.held()) for member in (first, second)) == [0, 1]

    @scenario(calls=1)
    async def test_the_first_offset_of_a_partition_that_nothing_was_deleted_from_is_the_first_of_all(
        self, stage: Stage
    ) -> None:
        assert await stage.broker.earliest(stage.at("calls")) == 0
        await stage.write("calls", 0, messages("a", "b"))
        assert await stage.broker.earliest(stage.at("calls")) == 0

    @scenario(bills=1, calls=1)
    async def test_what_a_transaction_has_neither_committed_nor_aborted_is_known(self, stage: Stage) -> None:
        places = [stage.at("bills"), stage.at("calls")]
        assert await stage.broker.undecided(places) == {}
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "bills", 0, "a", "b")
        assert await stage.broker.undecided(places) == {stage.at("bills"): 2}

        # Whoever takes the id over ends it.
        await stage.producer()
        while await stage.broker.undecided(places):
            pass

    @scenario(bills=1, calls=2)
    async def test_a_partition_ends_behind_what_can_be_read_of_it(self, stage: Stage) -> None:
        places = [stage.at("bills"), stage.at("calls"), stage.at("calls", 1)]
        await stage.write("calls", 0, messages("a", "b"))
        producer = await stage.producer()
        await producer.begin()
        await stage.send(producer, "bills", 0, "x")
        assert await stage.broker.ends(places) == dict(zip(places, (0, 2, 0), strict=True))

        await producer.commit()
        await stage.producer()  # after which it is visible
        ends = await stage.broker.ends(places)
        assert ends[stage.at("bills")] > len(await stage.read("bills")) == 1  # a marker stands behind it
        assert (ends[stage.at("calls")], ends[stage.at("calls", 1)]) == (2, 0)

    @scenario(calls=2)
    async def test_how_far_a_group_has_come_is_known_to_others(self, stage: Stage) -> None:
        places = [stage.at("calls", number) for number in range(2)]
        group = stage.name("rating")
        assert await stage.broker.group_offsets(group, places) == {}
        await stage.write("calls", 0, messages("a", "b"))
        await (await stage.member("calls")).take(2)
        producer = await stage.producer()
        await producer.begin()
        await producer.send_offsets(group, {places[0]: 1})
        await producer.commit()
        await stage.producer()

        assert await stage.broker.group_offsets(group, places) == {places[0]: 1}

    # What is not there

    @scenario(calls=1)
    async def test_an_unknown_topic_is_named(self, stage: Stage) -> None:
        nowhere = stage.name("nowhere")
        with pytest.raises(UnknownTopic, match=nowhere):
            await stage.broker.partition_count(nowhere)
        with pytest.raises(UnknownTopic, match=nowhere):
            await stage.member("calls", "nowhere")
        with pytest.raises(UnknownTopic, match=nowhere):
            await stage.read("nowhere")
        with pytest.raises(UnknownTopic, match=nowhere):
            await anext(stage.broker.follow(stage.at("nowhere")))
        with pytest.raises(UnknownTopic, match=nowhere):
            await stage.broker.earliest(stage.at("nowhere"))
        producer = await stage.producer()
        await producer.begin()
        with pytest.raises(UnknownTopic, match=nowhere):
            await stage.send(producer, "nowhere", 0, "a")

    @scenario(calls=1)
    async def test_every_error_of_a_broker_is_a_broker_error(self, stage: Stage) -> None:
        producer = await stage.producer()
        with pytest.raises(BrokerError):
            await producer.commit()
