"""The events of the runs as records, the same from run to run."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import decks
from benchmarks.pipeline.sizes import Sizes
from connectors.partition_task import key_of
from schemas import topics
from schemas.codec import encode
from schemas.events import CallAttempt, Event, TopUp
from schemas.partitions import partition_of
from schemas.times import to_text, to_us


class Placed(NamedTuple):
    """A record as it will lie in its topic: `at_ms` is its time."""

    partition: int
    key: bytes
    value: bytes
    at_ms: int


Backlog = dict[str, list[Placed]]
"""Records by topic."""


def place(events: Sequence[tuple[Event, int]], partitions: int) -> list[Placed]:
    """Events with their times in µs, as records of that many partitions."""
    homes: dict[str, tuple[bytes, int]] = {}
    placed = []
    for event, at_us in events:
        key = key_of(event)
        assert key is not None, "all events of the benchmarks have an account"
        if (home := homes.get(key)) is None:
            home = homes[key] = (key.encode(), partition_of(key.encode(), partitions))
        placed.append(Placed(home[1], home[0], encode(event), at_us // 1000))
    return placed


def attempts_and_cdrs(sizes: Sizes, pool: list[str]) -> tuple[list[tuple[Event, int]], list[tuple[Event, int]]]:
    """The attempts in their order, warm-up first, and their CDRs in the order in which the calls end."""
    attempts = decks.attempts(sizes.warm_up + sizes.attempts, sizes.accounts, pool)
    asked: list[tuple[Event, int]] = [(attempt, to_us(attempt.at)) for attempt in attempts]
    cdrs: list[tuple[Event, int]] = [(cdr, to_us(cdr.ended_at)) for cdr in decks.cdrs(attempts)]
    ended = sorted(cdrs[: sizes.warm_up], key=_moment) + sorted(cdrs[sizes.warm_up :], key=_moment)
    return asked, ended


def _moment(pair: tuple[Event, int]) -> int:
    return pair[1]


def top_ups(accounts: int) -> list[tuple[Event, int]]:
    """A payment onto each account, a thousand a second."""
    return [
        (
            TopUp(
                command_id=f"t{n}",
                account_id=str(100_000 + n),
                at=to_text(decks.START_US + n * 1000),
                amount_micros=1_000_000 + n,
            ),
            decks.START_US + n * 1000,
        )
        for n in range(accounts)
    ]


def one_attempt(at_us: int, pool: list[str]) -> CallAttempt:
    """A set-up by itself."""
    return CallAttempt(
        attempt_id="alone", switch_id="msk-1", at=to_text(at_us), service="outgoing", called=f"{pool[0]}5550100"[:11],
        account_id="100000", caller="74951234567", place="msk",
    )  # fmt: skip


ATTEMPTS, CDRS, COMMANDS = topics.CALL_ATTEMPTS.name, topics.CDRS.name, topics.ACCOUNT_COMMANDS.name
