"""What the record has of one call: what the switch asked, what was answered, what it cost, what could not be used."""

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from msgspec import UNSET, Struct

from schemas.decisions import CallDecision
from schemas.events import CallAttempt, CallExtension, CallRelease
from schemas.rated import RatedCdr

T = TypeVar("T")


class Published(NamedTuple, Generic[T]):
    """A record, its very bytes, and when the broker took it."""

    record: T
    value: bytes
    recorded_at: datetime


class Extended(NamedTuple):
    """A request for more time and its answer; the request is None where the record does not have it."""

    request: CallExtension | None
    answer: Published[CallDecision]


class RejectedFact(Struct, frozen=True):
    """An event about the call that could not be used."""

    rejected_id: str
    topic: str
    reason: str
    meaning: str
    recorded_at: str
    resubmitted_at: str | None
    set_aside_at: str | None
    """When somebody said that it is not to be submitted again."""


class CallFacts(NamedTuple):
    """All that the record has of one call, or of one CDR without a call. What is missing is None or empty."""

    attempt_id: str | None
    attempt: CallAttempt | None
    decision: Published[CallDecision] | None
    repeats: tuple[Published[CallDecision], ...]
    """Answers to the same attempt sent again, and to extensions sent again."""
    extensions: tuple[Extended, ...]
    release: CallRelease | None
    rated: tuple[Published[RatedCdr], ...]
    rejected: tuple[RejectedFact, ...]
    same_id: tuple[str, ...]
    """Moments of other calls that had the same id: give one of them to ask about that call."""

    @property
    def account_id(self) -> str | None:
        """Whose call it is."""
        if self.attempt is not None:
            return self.attempt.account_id
        if self.decision is not None:
            return self.decision.record.account_id
        return self.rated[0].record.account_id if self.rated else None

    @property
    def digits(self) -> frozenset[str]:
        """The numbers that were called."""
        called = [one.record.called for one in self.rated]
        return frozenset(called if self.attempt is None else [*called, self.attempt.called])

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that are named."""
        named = [one.record.account_id for one in self.rated]
        return frozenset(name for name in [*named, self.account_id] if name is not None)

    @property
    def versions(self) -> frozenset[int]:
        """The versions of the reference data that it was decided and rated under."""
        found: set[int] = set()
        if self.decision is not None:
            found.add(self.decision.record.reference_version)
        found.update(one.record.reference_version for one in self.repeats)
        found.update(one.answer.record.reference_version for one in self.extensions)
        for rated in self.rated:
            found.add(rated.record.reference_version)
            if rated.record.rated_version is not UNSET:
                found.add(rated.record.rated_version)
        return frozenset(found)
