"""Partitions that do not wait for each other: the worker's rounds on the in-memory broker."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic

from simulation.company import Company, company

from connectors.broker import Message, TopicPartition
from connectors.memory import MemoryBroker
from connectors.worker import Worker
from schemas import topics
from schemas.codec import encode
from schemas.events import Payment
from schemas.partitions import partition_of

DEADLINE_SECONDS = 10.0
GROUP = "rating"
PARTITIONS = 2


class Held:
    """A broker's hook that holds one transactional id at its commit until it is let go."""

    def __init__(self, transactional_id: str) -> None:
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        self.on = False
        self._who = transactional_id

    async def __call__(self, point: str, who: str) -> None:
        if self.on and point == "commit.before" and who == self._who:
            self.reached.set()
            await self.let_go.wait()


class Office:
    """An operator with an account in each partition, and the worker that serves them."""

    def __init__(self, hook: Held | None = None, **how: float) -> None:
        self.broker = MemoryBroker(
            {topic.name: PARTITIONS for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
            hook=hook,
        )
        operator: Company = company(Random(1))
        homes = {partition_of(a.account_id.encode(), PARTITIONS): a.account_id for a in operator.accounts}
        self.accounts = [homes[partition] for partition in range(PARTITIONS)]
        self.worker = Worker(self.broker, operator.settings, operator.reference(), application=GROUP, **how)
        self._payments = 0

    async def open(self) -> "Office":
        await self.worker.start()
        while not self.worker.ready:
            await self.worker.step()
        return self

    def pay(self, partition: int) -> None:
        self._payments += 1
        account_id = self.accounts[partition]
        payment = Payment(f"payment-{self._payments}", account_id, "2026-11-24T09:00:00.000Z", 1)
        message = Message(account_id.encode(), encode(payment), 1_795_510_800_000_000)
        self.broker.produce(topics.ACCOUNT_COMMANDS.name, partition, [message])

    def done(self, partition: int) -> int:
        """Payments of the partition that are committed."""
        return self.broker.committed_offset(GROUP, TopicPartition(topics.ACCOUNT_COMMANDS.name, partition)) or 0


def within_deadline(play: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await play()

    asyncio.run(run())


def test_a_partition_goes_on_while_another_ones_transaction_takes_long() -> None:
    async def play() -> None:
        hook = Held(f"{GROUP}.0")
        office = await Office(hook).open()
        working = asyncio.create_task(office.worker.run())
        hook.on = True
        office.pay(0)
        await hook.reached.wait()

        for number in range(1, 4):
            office.pay(1)
            while office.done(1) < number:
                await asyncio.sleep(0)
        office.pay(0)
        assert office.done(0) == 0
        hook.let_go.set()
        while office.done(0) < 2:
            await asyncio.sleep(0)
        office.worker.stop()
        await working

    within_deadline(play)


def test_a_worker_that_stops_ends_what_it_has_in_hand() -> None:
    async def play() -> None:
        hook = Held(f"{GROUP}.0")
        office = await Office(hook).open()
        working = asyncio.create_task(office.worker.run(idle_seconds=0.01))
        hook.on = True
        office.pay(0)
        await hook.reached.wait()

        office.worker.stop()
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not working.done()
        hook.let_go.set()
        await working
        assert office.done(0) == 1

    within_deadline(play)


def test_a_change_of_the_assignment_waits_for_the_batches_in_hand() -> None:
    async def play() -> None:
        hook = Held(f"{GROUP}.0")
        office = await Office(hook).open()
        working = asyncio.create_task(office.worker.run(idle_seconds=0.01))
        hook.on = True
        office.pay(0)
        await hook.reached.wait()

        other = await office.broker.join(
            GROUP, [topic.name for topic in topics.INPUTS], on_assigned=lambda _: None, on_revoked=lambda _: None
        )
        for _ in range(20):
            assert await other.poll(1, 0.01) == {}
        assert not other.assignment()
        hook.let_go.set()
        while not other.assignment():
            await other.poll(1, 0.01)
        assert office.done(0) == 1
        office.worker.stop()
        await working

    within_deadline(play)


def test_what_the_engine_finds_broken_in_one_partition_ends_the_worker() -> None:
    async def play() -> None:
        office = await Office().open()
        working = asyncio.create_task(office.worker.run())

        def broken(*_: object) -> None:
            raise AssertionError("held money is negative")

        office.worker.tasks[1].engine.handle = broken  # type: ignore[method-assign]
        office.pay(1)
        await asyncio.wait((working,))

        assert isinstance(working.exception(), AssertionError)
        assert office.done(1) == 0

    within_deadline(play)


def test_batches_of_a_partition_begin_an_interval_apart_and_none_waits_for_longer() -> None:
    """Nothing else wakes the worker: its idle time is beyond the deadline."""

    async def play() -> None:
        office = await Office(interval_seconds=0.05).open()
        working = asyncio.create_task(office.worker.run(idle_seconds=2 * DEADLINE_SECONDS))
        began = monotonic()
        for number in range(1, 5):
            office.pay(0)
            while office.done(0) < number:
                await asyncio.sleep(0.001)
        assert monotonic() - began >= 3 * 0.05
        office.worker.stop()
        office.pay(1)
        await working

    within_deadline(play)
