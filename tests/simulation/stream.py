"""The way of events into the topics: copies, delays, lags between topics, wrong partitions, clocks that are off.

Within one topic the events of one key keep their order, as one switch writes them; what is late on purpose does not.
"""

from collections import defaultdict
from random import Random
from typing import NamedTuple

from connectors.broker import Message
from schemas import topics
from schemas.codec import encode
from schemas.events import Payment
from schemas.partitions import partition_of
from schemas.times import HOUR_US, MINUTE_US, SECOND_US, to_text, to_us

from .company import Company
from .events import Line, Scenarios

_OPENING_US = to_us("2026-11-24T05:00:00.000Z")
_PERIOD_US = 3 * HOUR_US
# Longer than ids are remembered (24 h) and all that a period sends (9 h): ids of one period are forgotten in the next.
_NEXT_PERIOD_US = 34 * HOUR_US
_LATE_US = 10 * MINUTE_US


class Sending(NamedTuple):
    """One record to be produced."""

    topic: str
    partition: int
    message: Message


class Stream(NamedTuple):
    """`stages` follow one another when all of the former is consumed; when the last one comes, no fault happens.

    `homes`: value → the partition where it is taken in, None where that is whichever it came to. `malformed`: values
    that nobody can read.
    """

    stages: tuple[list[Sending], ...]
    homes: dict[bytes | None, int | None]
    malformed: frozenset[bytes | None]


def stream(company: Company, rng: Random, partitions: int) -> Stream:
    """One or two periods of traffic, of a few hours each."""
    stages: list[list[Sending]] = []
    homes: dict[bytes | None, int | None] = {}
    malformed: set[bytes | None] = set()
    start_us = _OPENING_US + rng.randrange(24) * HOUR_US
    for period in range(rng.choice((1, 2))):
        scenarios = Scenarios(company, rng, start_us, "xy"[period])
        scenarios.make(rng.randrange(30, 90), _PERIOD_US)
        for line in scenarios.lines:
            homes[line.value] = None if line.stays else _home(line.key, partitions)
            if line.malformed:
                malformed.add(line.value)
        stages.append(arranged(scenarios.lines, rng, partitions))
        end_us = start_us + _PERIOD_US
        start_us += _NEXT_PERIOD_US
    held_back = len(stages[-1]) // 8
    calm = [stages[-1].pop() for _ in range(held_back)][::-1]
    # Each partition gets something at last, so that one that nobody works off is noticed.
    for partition in range(partitions):
        key = _key_of_partition(partition, partitions)
        payment = encode(Payment(f"end-{partition}", key, to_text(end_us), 1))
        homes[payment] = partition
        calm.append(Sending(topics.ACCOUNT_COMMANDS.name, partition, Message(key.encode(), payment, end_us)))
    return Stream((*stages, calm), homes, frozenset(malformed))


def arranged(lines: list[Line], rng: Random, partitions: int) -> list[Sending]:
    """The lines in the order in which they arrive: late, twice, on wrong partitions, by clocks that are wrong."""
    copies = [line._replace(due_us=line.due_us + rng.randrange(_LATE_US)) for line in lines if rng.random() < 0.15]
    lags = {topic.name: rng.choice((0, 0, 20, 300)) * SECOND_US for topic in topics.INPUTS}
    skews = {topic.name: rng.randrange(-30, 31) * SECOND_US for topic in topics.INPUTS}
    latest: dict[tuple[str, str], int] = defaultdict(int)
    arrivals: list[tuple[int, Line]] = []
    for line in sorted([*lines, *copies], key=_due):
        arrival_us = line.due_us + rng.randrange(1 + lags[line.topic])
        if rng.random() < 0.03:
            arrival_us += rng.randrange(_LATE_US)
        else:
            arrival_us = latest[line.topic, line.key] = max(latest[line.topic, line.key], arrival_us)
        arrivals.append((arrival_us, line))
    arrivals.sort(key=_arrival)
    sendings = []
    for arrival_us, (_, topic, key, value, *_) in arrivals:
        partition = rng.randrange(partitions) if rng.random() < 0.03 else _home(key, partitions)
        # A producer's clock that leaps for a moment, by less than an id is remembered.
        leap_us = HOUR_US if rng.random() < 0.003 else 0
        timestamp_us = arrival_us + skews[topic] + leap_us
        written_key = key.encode() if rng.random() < 0.95 else None
        sendings.append(Sending(topic, partition, Message(written_key, value, timestamp_us)))
    return sendings


def _home(key: str, partitions: int) -> int:
    return partition_of(key.encode(), partitions)


def _key_of_partition(partition: int, partitions: int) -> str:
    return next(key for i in range(1_000) if _home(key := f"last-{i}", partitions) == partition)


def _due(line: Line) -> int:
    return line.due_us


def _arrival(pair: tuple[int, Line]) -> int:
    return pair[0]
