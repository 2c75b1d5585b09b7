"""What comes in: the switch's attempts and CDRs, and the commands that move an account's money or status.

Fields are named as in the contract. A field that the trade allows to be unknown is null, never a made-up value.
"""

from typing import Annotated

from msgspec import Meta

from schemas.words import Digits, Id, Micros, Moment, Record, Seconds, Text

Service = Annotated[str, Meta(min_length=1, max_length=64)]
"""`outgoing`, `forwarding`, `incoming`, `intra_office`, `calls_rec`, `calls_rec_unlim`, or another that
reference data names."""

OUTGOING = "outgoing"
FORWARDING = "forwarding"
INCOMING = "incoming"
INTRA_OFFICE = "intra_office"


class CallAttempt(Record, frozen=True, tag_field="type", tag="call_attempt"):
    """A switch asks: may this call go ahead, through which providers, for how long?

    `at` is the moment of set-up. `incoming_service` says by what the call came in; null: not known.
    `requested_seconds` caps what is granted. `account_id` is null for an inbound call to a number of no account.
    """

    attempt_id: Id
    switch_id: Id
    at: Moment
    service: Service
    called: Digits
    account_id: Id | None = None
    caller: Digits | None = None
    place: Id | None = None
    incoming_service: Service | None = None
    requested_seconds: Annotated[int, Meta(ge=1, le=31_622_400)] | None = None


class CallExtension(Record, frozen=True, tag_field="type", tag="call_extension"):
    """A running call asks for more time; `used_seconds` counts from its answer."""

    attempt_id: Id
    switch_id: Id
    at: Moment
    account_id: Id
    used_seconds: Seconds


class CallRelease(Record, frozen=True, tag_field="type", tag="call_release"):
    """An attempt ended and will have no CDR: its hold is freed."""

    attempt_id: Id
    switch_id: Id
    at: Moment
    account_id: Id | None = None
    cause: Annotated[str, Meta(max_length=64)] | None = None


class Cdr(Record, frozen=True, tag_field="type", tag="cdr"):
    """A finished call. Without `answered_at` it was not answered, and `billable_seconds` is 0.

    `billable_seconds` is the time from answer to end, rounded up to whole seconds; where a switch leaves it out it is
    computed so. `provider_id` is null for a call that left through no provider.
    """

    cdr_id: Id
    switch_id: Id
    service: Service
    called: Digits
    started_at: Moment
    ended_at: Moment
    attempt_id: Id | None = None
    account_id: Id | None = None
    caller: Digits | None = None
    place: Id | None = None
    incoming_service: Service | None = None
    provider_id: Id | None = None
    answered_at: Moment | None = None
    billable_seconds: Seconds | None = None
    cause: Annotated[str, Meta(max_length=64)] | None = None


class _AccountCommand(Record, frozen=True):
    command_id: Id
    account_id: Id
    at: Moment


class Payment(_AccountCommand, frozen=True, tag_field="type", tag="payment"):
    """Real money received; negative when a payment is reversed."""

    amount_micros: Micros
    reference: Text | None = None


class TopUp(_AccountCommand, frozen=True, tag_field="type", tag="top_up"):
    """A virtual addition to the balance; may be negative. Never counts as a payment (§3.5)."""

    amount_micros: Micros
    reference: Text | None = None


class WriteOff(_AccountCommand, frozen=True, tag_field="type", tag="write_off"):
    """A charge other than a call: takes its amount off the balance; negative gives money back (§3.2)."""

    amount_micros: Micros
    reference: Text | None = None


class Correction(_AccountCommand, frozen=True, tag_field="type", tag="correction"):
    """What calls were charged too much or too little, once they have been rated again: adds its amount to the balance,
    negative takes it off. Neither a payment nor a write-off; the calls' own charges stay as they were published.
    """

    amount_micros: Micros
    reference: Text | None = None


class Block(_AccountCommand, frozen=True, tag_field="type", tag="block"):
    """Stops charged calls from the next set-up on; running calls run to their grant."""

    reason: Text | None = None


class Unblock(_AccountCommand, frozen=True, tag_field="type", tag="unblock"):
    """Ends a block. A closed account stays closed."""

    reason: Text | None = None


class Close(_AccountCommand, frozen=True, tag_field="type", tag="close"):
    """Ends the account for good; what is still owed for running calls is charged when their CDRs come."""

    reason: Text | None = None


AccountCommand = Payment | TopUp | WriteOff | Correction | Block | Unblock | Close
SwitchEvent = CallAttempt | CallExtension | CallRelease
Event = SwitchEvent | Cdr | AccountCommand
