"""The production worker under simulated faults, seed by seed; and sabotage, which must not go unnoticed.

`TOLLGATE_SIM_SEEDS=3000` plays more seeds, `TOLLGATE_SIM_SEED=17` begins with that one (alone, if no number is given).
"""

import asyncio
import json
import os
import re
from collections import Counter
from functools import cache
from random import Random
from typing import NamedTuple

import pytest

from connectors import partition_task
from connectors.broker import Broker, Message, Record, TopicPartition
from connectors.memory import MemoryBroker
from connectors.worker import Worker, merged
from schemas import topics
from schemas.codec import encode
from schemas.decisions import REASON_CODES
from schemas.events import Payment
from schemas.facts import REJECTIONS
from schemas.partitions import partition_of
from tests.simulation import Run, findings, simulate
from tests.simulation.company import company
from tests.simulation.sabotage import (
    Door,
    GroupOffset,
    OutsideTransaction,
    Sabotage,
    WithoutAwait,
    WithoutFence,
    WithoutIds,
    WithoutSeek,
)

USUAL_SEEDS = 40  # some five seconds; each fault and each rule is met many times
SABOTAGE_SEEDS = 40  # the rarest of them shows in every eighth seed
_FIRST = int(os.environ.get("TOLLGATE_SIM_SEED", "1"))
_NUMBER = int(os.environ.get("TOLLGATE_SIM_SEEDS", "1" if "TOLLGATE_SIM_SEED" in os.environ else str(USUAL_SEEDS)))

FAULTS = (
    *(f"crash at {point}" for point in ("poll", "read", "begin", "send", "commit.before", "commit.marker")),
    *(f"zombie at {point}" for point in ("poll", "read", "producer", "send", "commit.before", "commit.marker")),
    *(f"ambiguous at {point}" for point in ("commit.before", "commit.marker", "commit.after")),
    *("kill", "storm", "trouble", "lost send", "compaction", "forwarded"),
)
MARKS = ("late", "no_attempt", "denied", "emergency", "negative_margin")


class Played(NamedTuple):
    """What is kept of a run: its findings, its faults, and the words that its outputs said."""

    findings: list[str]
    happened: Counter[str]
    said: Counter[str]


@cache
def played(seed: int) -> Played:
    run = simulate(seed)
    return Played(findings(run), run.happened, said(run))


def said(run: Run) -> Counter[str]:
    words: Counter[str] = Counter()
    for topic in topics.OUTPUTS:
        for partition in range(run.partitions):
            for record in run.broker.committed(topic.name, partition):
                fact = json.loads(record.value or b"")
                words[topic.name] += 1
                words.update(f"rejected: {fact['reason']}" for _ in range(topic is topics.REJECTED_EVENTS))
                words.update(f"denied: {reason['code']}" for reason in fact.get("reasons", ()))
                words.update(mark for mark in (*MARKS, "extension", "repeated") if mark in fact)
    return words


@pytest.mark.parametrize("seed", range(_FIRST, _FIRST + _NUMBER))
def test_no_fault_loses_or_doubles_a_call_or_money(seed: int) -> None:
    found = played(seed).findings

    assert not found, "\n  ".join([f"seed {seed}; to play it again: python -m tests.simulation {seed}", *found])


@pytest.mark.skipif(_NUMBER < USUAL_SEEDS, reason="a few seeds do not meet everything")
def test_the_usual_seeds_meet_every_fault_and_every_rule() -> None:
    runs = [played(seed) for seed in range(_FIRST, _FIRST + USUAL_SEEDS)]
    happened, words = Counter[str](), Counter[str]()
    for run in runs:
        happened += run.happened
        words += run.said

    rules = [f"rejected: {reason}" for reason in REJECTIONS] + [f"denied: {code}" for code in REASON_CODES]
    rules += [*MARKS, "extension", "repeated", *(topic.name for topic in topics.OUTPUTS)]
    assert [fault for fault in FAULTS if not happened[fault]] == []
    assert [rule for rule in rules if not words[rule]] == []


def test_the_same_seed_is_the_same_run() -> None:
    first, second = simulate(7), simulate(7)

    assert first.reader.seen == second.reader.seen
    assert (first.ticks, first.happened) == (second.ticks, second.happened)


@pytest.mark.parametrize(
    ("sabotage", "notice"),
    [
        (WithoutFence, r"first decisions instead of 1|rejected 2 times|rated 2 times|answered 2 times"),
        (WithoutSeek, r"neither (decided|rated) nor rejected|asked 2 times, answered 1 times"),
        (GroupOffset, r"first decisions instead of 1|rejected 2 times|rated 2 times|the position goes back"),
        (WithoutAwait, r"neither (decided|rated) nor rejected|answered 1 times|closes at"),
        (OutsideTransaction, r"first decisions instead of 1|rejected 2 times|rated 2 times"),
        (WithoutIds, r"rated 2 times"),
    ],
)
def test_a_pattern_with_a_piece_missing_is_noticed(sabotage: type[Sabotage], notice: str) -> None:
    for seed in range(1, 1 + SABOTAGE_SEEDS):
        if any(re.search(notice, finding) for finding in findings(simulate(seed, sabotage()))):
            return
    pytest.fail(f"{SABOTAGE_SEEDS} seeds with {sabotage.__name__}, and nothing like {notice} was found")


def test_a_sabotaged_door_is_as_whole_as_a_broker() -> None:
    """A method that it lacks would end every worker, and nothing of the sabotage be seen."""
    wanted = {name for name in vars(Broker) if not name.startswith("_")}

    assert wanted <= set(dir(Door))


def test_a_partition_with_a_transaction_that_nobody_will_end_is_not_worked_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker can lose the end of a transaction; whatever came next would commit what had been aborted."""
    monkeypatch.setattr(partition_task, "_DECIDED_SECONDS", 0.0)

    async def play() -> bool:
        broker = MemoryBroker(
            {topic.name: 1 for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
        )
        hanging = await broker.producer("nobody's")
        await hanging.begin()
        await hanging.send(topics.RATED_CDRS.name, 0, [Message(b"100200", b"{}", 0)])
        operator = company(Random(1))
        worker = Worker(broker, operator.settings, operator.reference(), application="rating")
        await worker.start()
        for _ in range(50):
            await worker.step()
        assert not worker.tasks
        await hanging.abort()
        while not worker.ready:
            await worker.step()
        return bool(worker.tasks)

    assert asyncio.run(play())
    assert "never ended in rated-cdrs-0" in caplog.text


def test_records_of_one_topic_keep_their_order_whatever_their_producers_clocks_say() -> None:
    """One dated earlier than the one before it must not be passed by: the position would stand behind it."""

    def record(topic: str, offset: int, at_us: int) -> Record:
        return Record(topic, 0, offset, None, b"", at_us, at_us)

    cdrs = [record("cdrs", offset, at_us) for offset, at_us in enumerate((50, 10, 70))]
    attempts = [record("call-attempts", offset, at_us) for offset, at_us in enumerate((60, 20))]

    together = merged([cdrs, attempts])

    assert [(each.topic, each.offset) for each in together] == [
        ("cdrs", 0),
        ("cdrs", 1),
        ("call-attempts", 0),
        ("call-attempts", 1),
        ("cdrs", 2),
    ]
    assert list(merged([cdrs])) == cdrs


def test_a_worker_fenced_by_somebody_who_died_at_once_takes_its_partition_again() -> None:
    """The group does not always know of a fencing: its latest assignment still stands."""

    async def play() -> int | None:
        broker = MemoryBroker(
            {topic.name: 1 for topic in topics.ALL},
            [topic.name for topic in topics.ALL if topic.policy != "delete"],
        )
        operator = company(Random(1))
        worker = Worker(broker, operator.settings, operator.reference(), application="rating")
        await worker.start()
        while not worker.ready:
            await worker.step()
        # A former owner that had been thrown out of the group before went on with taking the partition, and then died.
        await broker.producer("rating.0")
        for i in range(2):
            account_id = operator.accounts[0].account_id
            assert partition_of(account_id.encode(), 1) == 0
            payment = Payment(f"payment-{i}", account_id, "2026-11-24T09:00:00.000Z", 1)
            message = Message(account_id.encode(), encode(payment), 1_795_510_800_000_000)
            broker.produce(topics.ACCOUNT_COMMANDS.name, 0, [message])
            for _ in range(5):
                await worker.step()
        return broker.committed_offset("rating", TopicPartition(topics.ACCOUNT_COMMANDS.name, 0))

    assert asyncio.run(play()) == 2
