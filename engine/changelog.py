"""The engine's changelog: what a new owner of a partition must know, as compact records by key.

Keys are `kind/name`. A call is two records: what never changes (the attempt and its decision) and what does (its hold).
Callers of a counter are records of their own, so that a number called by thousands costs one small record a call.
"""

from msgspec import Struct
from msgspec.msgpack import Decoder

from engine.accounts import AccountState
from engine.calls import Extension, Phase
from schemas.events import CallAttempt

ACCOUNT = "a"
CALL = "c"
HOLD = "h"
CDR = "r"
COMMAND = "k"
COUNTER = "n"
CALLER = "u"
POSITION = b"p"
"""The key of the position record, which the worker writes last in each batch."""

PRESENT = b"\x01"
"""The value of a record whose key says all."""


class CallRecord(Struct, frozen=True, gc=False):
    """An attempt and its answer, as it was published, and the plan and place that its price depended on."""

    attempt: CallAttempt
    decision: bytes
    tariff_plan_id: str | None
    place: str | None


class HoldRecord(Struct, frozen=True, gc=False, array_like=True):
    """What changes in a call."""

    at_us: int
    phase: Phase
    granted_seconds: int
    hold_micros: int
    expires_us: int
    last_us: int
    counted: bool
    extensions: tuple[Extension, ...]


class SeenRecord(Struct, frozen=True, gc=False, array_like=True):
    """An id that has been taken in, and the digest of its content."""

    digest: bytes
    seen_us: int


class CounterRecord(Struct, frozen=True, gc=False, array_like=True):
    """A counter without its callers."""

    number: str
    day: str
    calls: int
    first_us: int
    last_us: int
    begun_us: int


class PositionRecord(Struct, frozen=True, gc=False, array_like=True):
    """How far the partition has come: the next offset of each input topic, the clock, and a running checksum of all
    changes, by which two histories of a partition can be compared, and the version of the reference data used."""

    next_offsets: dict[str, int]
    clock_us: int
    digest: int
    reference_version: int = 0


decode_account = Decoder(AccountState).decode
decode_call = Decoder(CallRecord).decode
decode_hold = Decoder(HoldRecord).decode
decode_seen = Decoder(SeenRecord).decode
decode_counter = Decoder(CounterRecord).decode
decode_position = Decoder(PositionRecord).decode
