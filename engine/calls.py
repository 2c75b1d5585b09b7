"""A call's life in the engine: decided, maybe extended, then ended by its CDR, a release, or its hold's expiry."""

from typing import Literal

from msgspec import Struct

from engine.offers import Offer
from schemas.decisions import CallDecision
from schemas.events import CallAttempt, CallExtension

Phase = Literal["denied", "running", "ended", "released", "expired"]
"""Only a running call holds money. An emergency call runs too, holding nothing."""


class Extension(Struct, frozen=True, gc=False):
    """An answered request for more time; the request is kept to know it again."""

    request: CallExtension
    decision: CallDecision


class Call(Struct, gc=False):
    """`hold_micros` and `expires_us` are those of the latest extension."""

    attempt: CallAttempt
    decision: CallDecision
    at_us: int
    phase: Phase
    granted_seconds: int
    hold_micros: int
    expires_us: int
    last_us: int
    counted: bool
    """Whether it counts among its account's running calls."""
    extensions: tuple[Extension, ...] = ()
    tariff_plan_id: str | None = None
    place: str | None = None
    """Those of the account at set-up, if it was known: a call keeps them whatever the account moves to."""
    offer: Offer | None = None
    """What was offered at set-up, as long as the call has not been restored: a shorter way to its prices."""

    @property
    def attempt_id(self) -> str:
        """The attempt's id."""
        return self.attempt.attempt_id
