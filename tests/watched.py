"""A worker to be watched: what metrics and health ask of one, and batches as it would tell of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from contract_examples import CDR
from msgspec.structs import replace

from connectors.broker import Record, TopicPartition
from engine.partition import Output
from schemas import topics
from schemas.decisions import CallDecision, Reason
from schemas.facts import RejectedEvent
from schemas.rated import RatedCdr

NOON = 1_795_521_600.0
"""2026-11-24T12:00:00Z."""

_DECISION = CallDecision(
    attempt_id="a1",
    switch_id="msk-1",
    at="2026-11-24T12:00:00.000Z",
    account_id="100200",
    allow=True,
    max_seconds=1800,
    hold_micros=5_400_000,
    hold_expires_at="2026-11-24T12:32:00.000Z",
    routes=(),
    retail=None,
    reason=None,
    reasons=(),
    checks=(),
    reference_version=77,
)
_RATED = RatedCdr(
    **CDR, retail=None, wholesale=None, margin_micros=None, balance_after_micros=None, reference_version=77
)


def allowed(**more: object) -> Output:
    """An attempt that may go ahead."""
    return Output(topics.CALL_DECISIONS.name, "a1", replace(_DECISION, **more), b"")


def denied(reason: Reason, **more: object) -> Output:
    """An attempt that may not."""
    return allowed(allow=False, max_seconds=0, hold_micros=0, reason=reason, reasons=(reason,), **more)


def rated(**more: object) -> Output:
    """A CDR with its prices."""
    return Output(topics.RATED_CDRS.name, "100200", replace(_RATED, **more), b"")


def rejected(reason: str) -> Output:
    """An event that could not be used."""
    event = RejectedEvent("cdrs", 0, 17, reason, "as it is", "", "2026-11-24T12:00:00.000Z")
    return Output(topics.REJECTED_EVENTS.name, "", event, b"")


@dataclass
class Engine:
    accounts: dict[str, object] = field(default_factory=dict)
    calls: dict[str, object] = field(default_factory=dict)
    duplicates: int = 0
    running_calls: int = 0
    held_micros: int = 0


@dataclass
class Task:
    partition: int
    engine: Engine = field(default_factory=Engine)
    forwarded: int = 0
    restore_seconds: float = 0.0
    restored_records: int = 0


@dataclass
class Watched:
    tasks: dict[int, Task] = field(default_factory=dict)
    ready: bool = True
    reference_version: int = 1
    last_step: float = 0.0
    behind: dict[TopicPartition, int] = field(default_factory=dict)

    def lag(self) -> dict[TopicPartition, int]:
        return self.behind


class Batch(NamedTuple):
    partition: int
    records: Sequence[Record]
    outputs: Sequence[Output]
    engine_seconds: float = 0.0
    transaction_seconds: float = 0.0


def batch(*outputs: Output, attempts: Iterable[float] = (), cdrs: Iterable[float] = (), **more: float) -> Batch:
    """A batch of partition 0, with a record for each time given in seconds since noon."""
    times = [(topics.CALL_ATTEMPTS.name, at) for at in attempts] + [(topics.CDRS.name, at) for at in cdrs]
    records = []
    for offset, (topic, at) in enumerate(times):
        at_us = round((NOON + at) * 1_000_000)
        records.append(Record(topic, 0, offset, b"100200", b"{}", at_us, at_us))
    return Batch(0, records, outputs, **more)
