"""Reference data over the topic `reference`: published, followed, compacted, read again; in force whole, or not."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reference_model import NOON, Office, Records, account, answers, numbers, present

from connectors.broker import Fenced, Message
from connectors.files.reference_folder import ReferenceFolder
from connectors.memory import MemoryBroker
from connectors.reference.chunks import ChunkStore, chunks, packed
from connectors.reference.keys import Key, key_bytes, read_key
from connectors.reference.publisher import Counts, ReferencePublisher, Unpublishable
from connectors.reference.reader import InForce, NoReference, ReferenceReader, inline
from connectors.reference.records import decoded_staged
from engine.prices import Context
from schemas import topics
from schemas.codec import encode
from schemas.reference import (
    AccountDiscounts,
    Discount,
    Lock,
    PriceList,
    PriceListEdition,
    PriceRow,
    ReferenceVersion,
)
from schemas.times import DAY_US, SECOND_US, to_text

DEADLINE_SECONDS = 10
TOPIC = topics.REFERENCE.name


def run(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine."""

    @wraps(test)
    def running(**arguments: Any) -> None:
        asyncio.run(test(**arguments))

    return running


def broker() -> MemoryBroker:
    return MemoryBroker({TOPIC: 1}, compacted=[TOPIC])


def folder(records: Records) -> ReferenceFolder:
    return ReferenceFolder(
        accounts=records.accounts,
        providers=records.providers,
        tariff_plans=records.plans,
        price_lists=records.price_lists,
        prices=[row for rows in records.rows.values() for row in rows],
        bands=records.bands,
        locks=records.locks,
        numbers=records.numbers,
        discounts=[discount for discounts in records.discounts.values() for discount in discounts],
    )


class Clock:
    """The publisher's time."""

    def __init__(self) -> None:
        self.now_us = NOON

    def __call__(self) -> int:
        self.now_us += SECOND_US
        return self.now_us


async def publisher(cluster: MemoryBroker, clock: Clock | None = None) -> ReferencePublisher:
    return await ReferencePublisher.open(cluster, author="ivanov", now_us=clock or Clock(), aside=inline)


@asynccontextmanager
async def following(
    cluster: MemoryBroker,
    aside: Callable[[Callable[[], Any]], Awaitable[Any]] = inline,
    told: list[InForce] | None = None,
) -> AsyncIterator[ReferenceReader]:
    """A reader that has started and goes on following."""
    observe = (lambda _: None) if told is None else told.append
    reader = ReferenceReader(cluster, aside=aside, observe=observe, now_us=lambda: NOON)
    await reader.start()
    running = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def lock(lock_id: str = "L/1", digits: str = "12") -> Lock:
    return Lock(lock_id, "prefix", digits, None, None, "ivanov", "fraud", to_text(NOON))


def locked(reader: ReferenceReader, number: str = "1211") -> list[str]:
    return [found.lock_id for found in reader.reference.locks.covering(number, None)]


def price_list(list_id: str = "R1", **other: Any) -> PriceList:
    return replace(PriceList(list_id, list_id, "retail", None, "RUB", "up", 2, None, None), **other)


def rows_of(prefixes: list[str], list_id: str = "R1", price: int = 60) -> list[PriceRow]:
    return [
        PriceRow(list_id, prefix, None, None, None, None, 0, 0, price, 60, 1, None, None, None, None)
        for prefix in prefixes
    ]


PREFIXES = [f"1{number:05d}" for number in range(3_000)]
"""Enough for a dozen chunks."""


def records(prices: int = 3_000) -> Records:
    """A plan over one retail list, and one account."""
    made = Office(1).records
    made.price_lists["R1"] = price_list()
    made.rows["R1"] = rows_of(PREFIXES[:prices])
    return made


def price_of(reader: ReferenceReader, number: str, version: int | None = None) -> int | None:
    as_of: dict[str, Any] = {} if version is None else {"version": version}
    price = reader.reference.offers.retail(number, "one", Context("outgoing", None, None), NOON, None, **as_of)
    return None if price is None else price.tariff.rates[0].price_micros


# -- what is published is in force ------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_worker_that_followed_and_one_that_starts_now_know_every_version(seed: int, changes: int) -> None:
    async def scenario() -> None:
        office, cluster, chance = Office(seed), broker(), Random(seed)
        source = await publisher(cluster)
        report = await source.publish_folder(folder(office.records))
        history = {report.version: office.records.copy()}
        asked = numbers(Random(seed), 4)
        async with following(cluster) as live:
            for _ in range(changes):
                present(live.reference, asked)
                office.change()
                report = await source.publish_folder(folder(office.records))
                history[report.version] = office.records.copy()
                await live.reached(report.version, DEADLINE_SECONDS)
                if chance.random() < 0.3:
                    # Another publisher finds on the topic what the former one left.
                    source = await publisher(cluster)
                if chance.random() < 0.3:
                    cluster.compact(TOPIC)
            cluster.compact(TOPIC)
            started = ReferenceReader(cluster, aside=inline)
            await started.start()
            for version, of in history.items():
                then = of.reference(version)
                expected = answers(then, asked, then)
                assert answers(live.reference, asked, then, version) == expected
                assert answers(started.reference, asked, then, version) == expected
            last = history[report.version].reference(report.version)
            assert present(live.reference, asked) == present(started.reference, asked) == present(last, asked)
            assert live.status().refused == 0

    asyncio.run(scenario())


@run
async def test_what_is_on_the_topic_already_is_not_published_again() -> None:
    cluster, of = broker(), folder(Office(7).records)
    first = await (await publisher(cluster)).publish_folder(of)
    end = len(cluster.committed(TOPIC, 0))

    again = await (await publisher(cluster)).publish_folder(of)

    assert first.published
    assert not again.published
    assert again.version == first.version == 1
    assert again.kinds["account"] == Counts(kept=2)
    assert len(cluster.committed(TOPIC, 0)) == end


@run
async def test_an_edit_of_one_price_sends_one_chunk_and_makes_its_prices_only() -> None:
    cluster, of, told = broker(), records(), []
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, told=told) as reader:
        rows = list(of.rows["R1"])
        rows[1_500] = replace(rows[1_500], price_micros=120)
        of.rows["R1"] = rows

        report = await source.publish_folder(folder(of))

        assert report.chunks_sent == 1
        assert report.chunks_kept > 5
        assert report.kinds["price_list"] == Counts(changed=1, kept=5)
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert told[-1].prices < 1_000
        assert [price_of(reader, PREFIXES[place]) for place in (1_499, 1_500, 1_501)] == [60, 120, 60]
        assert price_of(reader, PREFIXES[1_500], version=1) == 60


@run
async def test_single_changes_are_published_and_nothing_that_names_what_is_not_there() -> None:
    cluster = broker()
    source = await publisher(cluster)
    await source.publish_folder(folder(records()))
    async with following(cluster) as reader:
        await source.put(lock("L/1"), lock("L/2"), account("z", "one"))
        discounts = AccountDiscounts("z", (Discount("z", None, 10_000_000, None, None),))
        report = await source.put(discounts)
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert locked(reader) == ["L/1", "L/2"]
        assert reader.reference.discount("z", "outgoing", NOON).percent == 10_000_000

        report = await source.lift_lock("L/1")
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert locked(reader) == ["L/2"]
        assert not (await source.lift_lock("L/1")).published

        with pytest.raises(Unpublishable, match="account 'y' names tariff_plan 'nine', which is not published"):
            await source.put(account("y", "nine"))
        with pytest.raises(Unpublishable, match="lock 'L/3' names account 'nobody'"):
            await source.put(replace(lock("L/3"), account_id="nobody"))
        edited = await source.put_price_list(price_list(), rows_of(["1"], price=7))
        await reader.reached(edited.version, DEADLINE_SECONDS)
        assert price_of(reader, "199") == 7


@run
async def test_an_account_is_never_removed() -> None:
    cluster, of = broker(), records()
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    del of.accounts["b"]

    with pytest.raises(
        Unpublishable, match=r"not in the folder: b; .*keep its row in accounts.csv, with status closed"
    ):
        await source.publish_folder(folder(of))

    async with following(cluster) as reader:
        await written(cluster, 2, {key_bytes("account", "b"): None, key_bytes("lock", "L"): encode(lock("L"))})
        await reader.reached(2, DEADLINE_SECONDS)
        assert set(reader.reference.accounts) == {"a", "b"}
        assert locked(reader) == ["L"]
        assert reader.status().lost_accounts == 1


@run
async def test_a_second_publisher_fences_the_first() -> None:
    cluster = broker()
    first = await publisher(cluster)
    await first.publish_folder(folder(records()))
    second = await publisher(cluster)

    with pytest.raises(Fenced):
        await first.put(lock())

    assert (await second.put(lock())).version == 2


# -- whole or not at all ----------------------------------------------------------------------------------------------


async def written(cluster: MemoryBroker, version: int | None, of: dict[bytes, bytes | None]) -> None:
    """Records on the topic, whoever wrote them; closed as a change if a version is told."""
    at_us = NOON + version * SECOND_US if version else NOON
    cluster.produce(TOPIC, 0, [Message(key, value, at_us) for key, value in of.items()])
    if version is not None:
        closing = ReferenceVersion(version, to_text(at_us), "ivanov")
        cluster.produce(TOPIC, 0, [Message(b"version", encode(closing), at_us)])


@run
async def test_what_no_version_closes_is_not_in_force() -> None:
    cluster = broker()
    await (await publisher(cluster)).publish_folder(folder(records()))
    async with following(cluster) as reader:
        await written(cluster, None, {key_bytes("lock", "L1"): encode(lock("L1"))})
        # It has come when something behind it is seen.
        await written(cluster, None, {b"staged": b"nonsense"})
        started = ReferenceReader(cluster, aside=inline)
        await started.start()
        assert locked(started) == []

        await written(cluster, 2, {key_bytes("lock", "L2"): encode(lock("L2"))})

        await reader.reached(2, DEADLINE_SECONDS)
        assert locked(reader) == ["L1", "L2"]


def edition(rows: list[PriceRow], of: PriceList) -> tuple[PriceListEdition, dict[bytes, bytes]]:
    made = list(chunks(packed(rows)))
    return PriceListEdition(of, tuple(ref for ref, _ in made)), {
        key_bytes("chunk", ref.digest): value for ref, value in made
    }


BROKEN_BAND = [replace(row, band_id="dawn") for row in rows_of(["1"])]


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ("missing chunk", r"version 2: price list 'R1': chunk .{20} is missing"),
        ("unknown band", "version 2: price list 'R1': band 'dawn' is not there"),
        ("no bytes", "version 2: price_list/R1: Input data was truncated"),
        ("wrong count", r"version 2: price list 'R1': chunk .{20} is not what the edition says of it"),
        ("plan without its list", "version 2: tariff plan 'one': 'R1' is no retail list"),
        ("account without its plan", "version 2: account 'a': tariff plan 'nine' is not there"),
    ],
)
@run
async def test_a_change_that_does_not_fit_leaves_the_former_version_in_force_until_one_comes_that_does(
    of: str, why: str
) -> None:
    cluster, told = broker(), []
    source = await publisher(cluster)
    await source.publish_folder(folder(records()))
    good, good_chunks = edition(rows_of(["1"], price=99), price_list())
    key = key_bytes("price_list", "R1", 2)
    broken: dict[bytes, bytes | None] = {key: encode(good)}
    if of == "unknown band":
        bad, bad_chunks = edition(BROKEN_BAND, price_list())
        broken = {**bad_chunks, key: encode(bad)}
    elif of == "no bytes":
        broken = {key: b"{"}
    elif of == "wrong count":
        broken = {**good_chunks, key: encode(replace(good, chunks=(replace(good.chunks[0], prices=2),)))}
    elif of == "plan without its list":
        broken = {key: b'{"type":"removed","kind":"price_list","id":"R1"}'}
    elif of == "account without its plan":
        broken = {key_bytes("account", "a"): encode(account("a", "nine"))}
    async with following(cluster, told=told) as reader:
        await written(cluster, 2, broken)
        await until(lambda: reader.status().refusal is not None)
        await written(cluster, 3, {key_bytes("lock", "L"): encode(lock("L"))})
        await until(lambda: reader.status().waiting == 2)

        assert re.search(why.split(": ", 1)[1], reader.status().refusal or "")
        assert reader.status().refused == 1
        assert reader.version == 1
        assert locked(reader) == []
        assert price_of(reader, PREFIXES[7]) == 60

        mended = {**good_chunks, key_bytes("price_list", "R1", 4): encode(good)}
        await written(cluster, 4, {**mended, key_bytes("account", "a"): encode(account("a", "one"))})
        await reader.reached(4, DEADLINE_SECONDS)
        assert reader.status().refusal is None
        assert reader.status().waiting == 0
        assert locked(reader) == ["L"]
        assert price_of(reader, PREFIXES[7]) == 99
        assert price_of(reader, PREFIXES[7], version=1) == 60


@run
async def test_a_chunk_that_comes_late_brings_its_change_into_force() -> None:
    cluster = broker()
    await (await publisher(cluster)).publish_folder(folder(records()))
    coming, its_chunks = edition(rows_of(["1"], price=99), price_list())
    async with following(cluster) as reader:
        await written(cluster, 2, {key_bytes("price_list", "R1", 2): encode(coming)})
        await until(lambda: reader.status().refused == 1)

        await written(cluster, None, dict(its_chunks))

        await reader.reached(2, DEADLINE_SECONDS)
        assert price_of(reader, PREFIXES[7]) == 99


@run
async def test_without_reference_data_there_is_nothing_to_start_with() -> None:
    cluster = broker()
    with pytest.raises(NoReference, match="publish them first: tollgate load --to-kafka DIR"):
        await ReferenceReader(cluster, aside=inline).start()

    await written(cluster, 1, {key_bytes("account", "a"): encode(account("a", "nine"))})
    with pytest.raises(NoReference, match="do not fit together: account 'a': tariff plan 'nine' is not there"):
        await ReferenceReader(cluster, aside=inline).start()


@run
async def test_what_a_newer_publisher_writes_is_passed_by_and_counted() -> None:
    cluster = broker()
    await (await publisher(cluster)).publish_folder(folder(records()))
    async with following(cluster) as reader:
        await written(cluster, 2, {b"bundle/B1/2": b"{}", b"\xff": b"", key_bytes("lock", "L"): encode(lock("L"))})
        await reader.reached(2, DEADLINE_SECONDS)
        assert locked(reader) == ["L"]
        assert reader.status().unknown == 2


# -- made beforehand --------------------------------------------------------------------------------------------------


class Workshop:
    """Where tables are made, one piece of work at a time, when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.builds = 0

    async def __call__(self, work: Callable[[], Any]) -> Any:
        building = getattr(work, "__name__", "") == "build"
        self.builds += building
        if building:
            self.waiting += 1
            await self.open.wait()
            self.waiting -= 1
        return work()


@run
async def test_locks_do_not_wait_for_a_price_list_that_is_being_made() -> None:
    cluster, of, told, workshop = broker(), records(), [], Workshop()
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, workshop, told) as reader:
        workshop.open.clear()
        coming, its_chunks = edition(rows_of(PREFIXES, price=99), price_list())
        staged = b'{"type":"staged_editions","editions":[%b],"bands":[],"removed":[]}' % encode(coming)
        await written(cluster, None, {**its_chunks, b"staged": staged})
        await until(lambda: workshop.waiting == 1)

        await written(cluster, 2, {key_bytes("lock", "L"): encode(lock("L"))})
        await reader.reached(2, DEADLINE_SECONDS)
        assert locked(reader) == ["L"]
        assert price_of(reader, PREFIXES[7]) == 60

        # The change comes before its tables are made: it waits, and what comes behind it waits too.
        await written(cluster, 3, {b"staged": None, key_bytes("price_list", "R1", 3): encode(coming)})
        await written(cluster, 4, {key_bytes("lock", "L"): None})
        await until(lambda: reader.status().waiting > 0)
        assert (reader.version, locked(reader), price_of(reader, PREFIXES[7])) == (2, ["L"], 60)

        workshop.open.set()
        await reader.reached(4, DEADLINE_SECONDS)
        assert (locked(reader), price_of(reader, PREFIXES[7])) == ([], 99)
        assert [change.beforehand for change in told] == [False, True, False]
        assert workshop.builds == 1


@run
async def test_tables_made_from_what_is_not_in_force_any_more_are_made_again() -> None:
    cluster, of, told, workshop = broker(), records(), [], Workshop()
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, workshop, told) as reader:
        coming, its_chunks = edition(rows_of(PREFIXES, price=99), price_list())
        staged = b'{"type":"staged_editions","editions":[%b],"bands":[],"removed":[]}' % encode(coming)
        await written(cluster, None, {**its_chunks, b"staged": staged})
        await until(lambda: workshop.builds == 1)
        other, other_chunks = edition(rows_of(["22"], "R1", price=5), price_list())
        await written(cluster, 2, {**other_chunks, key_bytes("price_list", "R1", 2): encode(other)})
        await reader.reached(2, DEADLINE_SECONDS)
        assert price_of(reader, "221") == 5

        await written(cluster, 3, {b"staged": None, key_bytes("price_list", "R1", 3): encode(coming)})
        await reader.reached(3, DEADLINE_SECONDS)

        assert price_of(reader, PREFIXES[7]) == 99
        assert price_of(reader, "221") is None
        assert price_of(reader, "221", version=2) == 5
        assert [change.beforehand for change in told] == [False, True]


@run
async def test_a_large_list_is_staged_before_it_comes_into_force() -> None:
    cluster, of, told = broker(), records(), []
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, told=told) as reader:
        of.rows["R1"] = rows_of(PREFIXES, price=99)

        report = await source.publish_folder(folder(of), lead_seconds=0.01)

        await reader.reached(report.version, DEADLINE_SECONDS)
        assert told[-1].beforehand
        assert told[-1].prices == len(PREFIXES)
        assert not any(record.key == b"staged" and record.value for record in compacted(cluster))


@run
async def test_what_is_staged_for_later_outlives_other_changes_and_other_publishers() -> None:
    """A lock, and a large list that has to stage itself meanwhile; then the publisher dies, and another one goes on."""
    cluster, of, told = broker(), records(), []
    of.price_lists["R2"] = price_list("R2")
    of.rows["R2"] = rows_of(PREFIXES, "R2")
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, told=told) as reader:
        (ahead,) = (await source.stage_ahead([(price_list(), rows_of(PREFIXES, price=99))])).editions
        await source.put(lock())
        report = await source.put_price_list(price_list("R2"), rows_of(PREFIXES, "R2", price=88), lead_seconds=0.01)
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert staged_lists(cluster) == ["R1"]
        assert price_of(reader, PREFIXES[7]) == 60

        other = await publisher(cluster)
        await other.lift_lock("L/1")
        assert staged_lists(cluster) == ["R1"]
        sent = len(cluster.committed(TOPIC, 0))
        report = await other.publish_change([], editions=[ahead])
        assert (report.chunks_sent, report.prices) == (0, len(PREFIXES))
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert price_of(reader, PREFIXES[7]) == 99
        assert [change.beforehand for change in told] == [False, True, False, True]
        # The edition, the end of what was staged, the version; and the chunks of what was there before.
        assert [record.key for record in cluster.committed(TOPIC, 0)[sent:] if record.value is not None] == [
            key_bytes("price_list", "R1", report.version),
            b"version",
        ]
        assert staged_lists(cluster) == []


@run
async def test_what_is_staged_and_will_not_come_is_taken_off_with_its_chunks() -> None:
    cluster, of = broker(), records()
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    before = {record.key for record in compacted(cluster) if record.value is not None}
    await source.stage_ahead([(price_list(), rows_of(PREFIXES, price=99))])
    await source.stage_ahead([(price_list(), rows_of(PREFIXES, price=77))])
    assert {record.key for record in compacted(cluster) if record.value is not None} > before
    await source.unstage()
    await source.unstage()
    assert {record.key for record in compacted(cluster) if record.value is not None} == before

    report = await source.publish_folder(folder(of))
    assert not report.published


@run
async def test_what_is_staged_anew_before_the_end_of_another_change_is_made_beforehand() -> None:
    """Whatever comes in one batch: the end of what was staged, the change that it was for, and what is staged next."""
    cluster, of, told = broker(), records(), []
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, told=told) as reader:
        await source.stage_ahead([(price_list(), rows_of(PREFIXES, price=99))])
        await source.unstage()
        (ahead,) = (await source.stage_ahead([(price_list(), rows_of(PREFIXES, price=77))])).editions
        await source.put(lock())
        report = await source.publish_change([], editions=[ahead])
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert price_of(reader, PREFIXES[7]) == 77
        assert told[-1].beforehand


def staged_lists(cluster: MemoryBroker) -> list[str]:
    """What the topic says will come."""
    values = [record.value for record in cluster.committed(TOPIC, 0) if record.key == b"staged"]
    if not values or values[-1] is None:
        return []
    return [edition.price_list.price_list_id for edition in decoded_staged(values[-1]).editions]


def compacted(cluster: MemoryBroker) -> list[Any]:
    cluster.compact(TOPIC)
    return cluster.committed(TOPIC, 0)


@run
async def test_waiting_for_a_version_that_does_not_come_ends() -> None:
    cluster = broker()
    await (await publisher(cluster)).publish_folder(folder(records()))
    async with following(cluster) as reader:
        await reader.reached(1)
        with pytest.raises(TimeoutError):
            await reader.reached(2, timeout_seconds=0.01)


@run
async def test_real_threads_make_the_same_tables() -> None:
    cluster, of = broker(), records()
    source = await publisher(cluster)
    await source.publish_folder(folder(of))
    async with following(cluster, asyncio.to_thread) as reader:
        for price in (61, 62, 63):
            of.rows["R1"] = rows_of(PREFIXES[:: price - 60], price=price)
            report = await source.publish_folder(folder(of))
            await reader.reached(report.version, DEADLINE_SECONDS)
            assert present(reader.reference, PREFIXES[::50]) == present(of.reference(report.version), PREFIXES[::50])


# -- what is kept, and how long ---------------------------------------------------------------------------------------


@run
async def test_what_no_call_can_be_priced_by_any_more_leaves_the_topic_and_the_workers() -> None:
    cluster, of, clock = broker(), records(), Clock()
    source = await publisher(cluster, clock)
    await source.publish_folder(folder(of))
    async with following(cluster) as reader:
        for price in (70, 80):
            of.rows["R1"] = rows_of(PREFIXES, price=price)
            of.plans["one"] = replace(of.plans["one"], forbid_loss=price == 70)
            await source.publish_folder(folder(of))
        del of.providers["C"]
        for name in ("WC",):
            del of.rows[name], of.price_lists[name]
        report = await source.publish_folder(folder(of))
        await reader.reached(report.version, DEADLINE_SECONDS)
        assert [price_of(reader, PREFIXES[7], version) for version in (1, 2, 3)] == [60, 70, 80]
        before = reader.status()

        clock.now_us += 35 * DAY_US
        report = await source.put(lock("L1"))
        assert report.forgotten == 0, "a late CDR may still come"
        clock.now_us += 2 * DAY_US
        report = await source.put(lock("L2"))

        await reader.reached(report.version, DEADLINE_SECONDS)
        await until(lambda: reader.status().chunks < before.chunks)
        assert price_of(reader, PREFIXES[7]) == price_of(reader, PREFIXES[7], 3) == 80
        keys = {read_key(record.key) for record in compacted(cluster)}
        assert {key.version for key in keys if key is not None and key.name == "R1"} == {3}
        assert {key for key in keys if key is not None and key.name == "C"} == set()
        editions = [record.value for record in compacted(cluster) if (record.key or b"").startswith(b"price_list/")]
        named = {ref["digest"] for value in editions for ref in json.loads(value).get("chunks", ())}
        assert {key.name for key in keys if key is not None and key.kind == "chunk"} == named
        assert reader.status().chunks == len(named)
        started = ReferenceReader(cluster, aside=inline)
        await started.start()
        asked = [PREFIXES[7], PREFIXES[2_000]]
        assert present(started.reference, asked) == present(reader.reference, asked)
        # Nothing is left that would have to go.
        assert (await source.put(lock("L3"))).forgotten == 0


# -- keys and chunks --------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=20), st.integers(1, 10**12))
def test_an_id_may_hold_any_character(name: str, version: int) -> None:
    assert read_key(key_bytes("tariff_plan", name, version)) == Key("tariff_plan", name, version)
    assert read_key(key_bytes("lock", name)) == Key("lock", name)


@pytest.mark.parametrize("key", [b"", b"lock", b"lock/", b"plan/x/1", b"band/x/", b"band//1", b"band/x/one", b"\xff/x"])
def test_a_key_of_no_known_kind_is_none(key: bytes) -> None:
    assert read_key(key) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("0123456789", max_size=6), max_size=1_500), st.integers(0, 2**32))
def test_chunks_hold_all_prices_in_order_and_a_prefix_in_one_of_them(prefixes: list[str], seed: int) -> None:
    chance, numbered = Random(seed), count()
    rows = [
        replace(row, service=chance.choice((None, "outgoing")), valid_from=to_text(NOON + next(numbered) * SECOND_US))
        for row in rows_of(prefixes)
    ]
    prices = packed(rows)
    store = ChunkStore()
    seen: list[tuple[str, object]] = []
    begun: set[str] = set()
    for ref, value in chunks(prices):
        assert store.put(ref.digest, value)
        chunk = store.read(ref.digest)
        assert (chunk.prefixes[0], len(chunk.prefixes)) == (ref.first_prefix, ref.prices)
        seen += [(prefix, chunk.terms[place]) for prefix, place in zip(chunk.prefixes, chunk.terms_of, strict=True)]
        assert begun.isdisjoint(chunk.prefixes)
        begun.update(chunk.prefixes)
    assert seen == prices
    assert [prefix for prefix, _ in seen] == sorted(prefixes)


def test_a_row_that_comes_in_moves_no_chunk_but_its_own() -> None:
    before = {ref.digest for ref, _ in chunks(packed(rows_of(PREFIXES)))}

    after = {ref.digest for ref, _ in chunks(packed(rows_of([*PREFIXES, "1015001"])))}

    assert len(after) > 5
    assert len(after - before) == 1


def test_a_chunk_that_is_not_what_it_is_called_after_is_not_kept() -> None:
    store = ChunkStore()
    (ref, value), *_ = chunks(packed(rows_of(["1"])))

    assert not store.put(ref.digest, value + b" ")
    assert len(store) == store.bytes == 0
