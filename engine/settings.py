"""What an operator may set in the engine. Values, not a source of them: files and environment are read elsewhere."""

from msgspec import Struct

from schemas.events import FORWARDING, OUTGOING
from schemas.times import DAY_US, HOUR_US, SECOND_US


class EngineSettings(Struct, frozen=True):
    """The defaults are the contract's."""

    max_call_seconds: int = 10_800
    """The longest grant; 3 hours, as other engines have it (D26)."""

    hold_grace_seconds: int = 120
    """A hold outlives its grant by this, for the CDR to come (D27)."""

    emergency_numbers: frozenset[str] = frozenset({"112", "101", "102", "103", "104", "01", "02", "03", "04"})
    """Always pass, free (D30)."""

    business_time_zone: str = "Europe/Moscow"
    """Whose civil days count (D1)."""

    ncv_ignored_callers: frozenset[str] = frozenset()
    """The operator's own test lines: their calls to numbers not in use are not counted (D2)."""

    routed_services: frozenset[str] = frozenset({OUTGOING, FORWARDING})
    """Services that leave through a provider, and so need both prices."""

    remember_us: int = DAY_US
    """How long ids are remembered (contract: 24 hours)."""

    horizon_us: int = 35 * DAY_US
    """How old an event may be: prices and counters are kept as long."""

    ahead_us: int = DAY_US
    """How far an event's own time may lie ahead of its record's: beyond that a clock is broken."""

    critical_notice_every_us: int = 120 * HOUR_US
    """At most one notice of critical balance in this time (§2.4, D36)."""

    def __post_init__(self) -> None:
        longest_us = (self.max_call_seconds + self.hold_grace_seconds) * SECOND_US
        if self.max_call_seconds < 1 or self.hold_grace_seconds < 0:
            raise ValueError("max_call_seconds must be at least 1 and hold_grace_seconds at least 0")
        if self.remember_us < longest_us:
            raise ValueError("remember_us must cover the longest call and its grace, or its CDR would find no attempt")
