"""Rejected events: what the engine could not use is looked at, mended, and submitted again, or set aside with a reason.

An event goes back to the topic that it came from, as it was or edited, and the engine handles it like any other. What
would charge twice is refused here already: a CDR that was rated, an attempt that was answered. Commands that move an
account's money or status are not submitted again at all: they are ordered anew, by the use case that is there for each.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

from backoffice.access import Asker
from backoffice.refusals import FieldProblem, InTheWay, NotThere, Refusal, Unfit
from backoffice.words import END, Reason, shaped
from engine.rating import moments
from engine.refusals import Refusal as EngineRefusal
from schemas import topics
from schemas.codec import UNREADABLE, decode_cdr, decode_switch_event, encode
from schemas.events import CallAttempt, Cdr, SwitchEvent
from schemas.facts import REJECTIONS
from schemas.times import to_us

State = Literal["open", "resubmitted", "set_aside"]
STATES: tuple[State, ...] = ("open", "resubmitted", "set_aside")

MOST_AT_ONCE = 1_000
"""Events that are submitted again in one change."""

MOST_BYTES = 65_536
"""Of one event: the engine takes no larger one."""

ENTITY = "rejected_event"

RejectedId = Annotated[
    str,
    shaped(
        r"^[0-9]{1,9}-[0-9]{1,18}" + END,
        "is no rejected event's id; it is two numbers, such as 7-1042",
        examples=["7-1042"],
    ),
]
"""Where it stands on the topic of rejected events: partition and offset."""


class Place(NamedTuple):
    """Partition and offset of a rejected event on its topic; its id is both."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


def place_of(rejected_id: str) -> Place:
    """What an id means. Raises NotThere for a text that is none."""
    partition, _, offset = rejected_id.partition("-")
    if not all(part.isascii() and part.isdigit() for part in (partition, offset)):
        raise NotThere("rejected event", rejected_id)
    found = Place(int(partition), int(offset))
    if found.partition >= 2**31 or found.offset >= 2**63:
        raise NotThere("rejected event", rejected_id)
    return found


class RejectedEvent(NamedTuple):
    """A rejected event as the record has it. `topic`, `partition` and `offset`: where it came from."""

    place: Place
    recorded_at: datetime
    at: datetime | None
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    event_id: str | None
    account_id: str | None
    payload: bytes
    resubmitted_at: datetime | None
    resubmitted_by: str | None
    set_aside_at: datetime | None
    set_aside_by: str | None
    set_aside_why: str | None

    @property
    def state(self) -> State:
        """What has been done about it."""
        if self.resubmitted_at is not None:
            return "resubmitted"
        return "open" if self.set_aside_at is None else "set_aside"

    @property
    def meaning(self) -> str:
        """The reason in words, without any of the event's own."""
        return meaning_of(self.reason)


def meaning_of(reason: str) -> str:
    """A reason in words."""
    return REJECTIONS.get(reason, "this version of the program does not know the reason")


class Sendable(NamedTuple):
    """An event that can be sent. `key` is None for one that names neither account nor number."""

    event: SwitchEvent | Cdr
    event_id: str
    key: str | None
    value: bytes

    @property
    def type(self) -> str:
        """As the contract calls it."""
        return str(self.event.__struct_config__.tag)


class Handled(NamedTuple):
    """What the engine has made of an event with that id already."""

    how: Literal["rated", "decided"]
    event_id: str
    at: datetime


class Submitted(NamedTuple):
    """An event that was submitted again."""

    rejected: RejectedEvent
    sent: Sendable
    edited: bool
    forced: bool


# -- what is asked ----------------------------------------------------------------------------------------------------


class ResubmitSent(Struct, frozen=True, forbid_unknown_fields=True):
    """To submit one event again. `event`: in other words, whole, as the contract writes it; left out: as it was.
    `force`: although it was submitted before."""

    reason: Reason
    event: dict[str, Any] | None = None
    force: bool = False


class ResubmitManySent(Struct, frozen=True, forbid_unknown_fields=True):
    """To submit events again as they were: all of them, or none if one can't be."""

    reason: Reason
    ids: Annotated[tuple[RejectedId, ...], Meta(min_length=1, max_length=MOST_AT_ONCE)]
    force: bool = False


class SetAsideSent(Struct, frozen=True, forbid_unknown_fields=True):
    """To say that an event is not to be submitted again."""

    reason: Reason


# -- ports ------------------------------------------------------------------------------------------------------------


class Record(Protocol):
    """What the use cases ask of the record, in the transaction of a change."""

    async def held(self, places: Sequence[Place]) -> Mapping[Place, RejectedEvent]:
        """Those that are there, held until the change ends."""
        ...

    async def ordered(self, command_ids: Sequence[str]) -> Mapping[str, str]:
        """Kinds of those commands that the office has ordered, by id."""
        ...

    async def handled(self, cdr_ids: Sequence[str], attempt_ids: Sequence[str]) -> Sequence[Handled]:
        """Which of them the engine has rated or decided."""
        ...

    async def home(self, attempt_id: str) -> int | None:
        """The partition on which an attempt was answered; None where it is not in the record."""
        ...

    async def note_submitted(self, submitted: Submitted) -> None:
        """Keeps that it was sent, and what."""
        ...

    async def note_set_aside(self, rejected: RejectedEvent) -> None:
        """Keeps that it is not to be sent."""
        ...


class Trail(Protocol):
    """The audit and the outbox of the change."""

    async def audit(self, entity: str, entity_id: str, action: str, before: object, after: object) -> None: ...
    async def publish(self, kind: str, key: str, payload: object) -> None: ...


# -- use cases --------------------------------------------------------------------------------------------------------


async def resubmit(record: Record, trail: Trail, who: Asker, rejected_id: str, sent: ResubmitSent) -> Submitted:
    """Submits one event again. Raises NotAllowed, NotThere, InTheWay, Unfit."""
    who.must("rejected.resubmit")
    place = place_of(rejected_id)
    found = await record.held([place])
    if place not in found:
        raise NotThere("rejected event", rejected_id)
    value = None if sent.event is None else encode(sent.event)
    prefix = "" if sent.event is None else "/event"
    (submitted,) = await _submit(record, trail, [(found[place], value, prefix)], force=sent.force)
    return submitted


async def resubmit_many(record: Record, trail: Trail, who: Asker, sent: ResubmitManySent) -> tuple[Submitted, ...]:
    """Submits events again as they were, in the order in which they were named; none if one can't be.

    Raises NotAllowed, and Unfit with all that is in the way of each.
    """
    who.must("rejected.resubmit")
    places = list(dict.fromkeys(place_of(one) for one in sent.ids))
    found = await record.held(places)
    wanted: list[tuple[RejectedEvent, bytes | None, str]] = []
    problems = []
    for place in places:
        pointer = f"/ids/{sent.ids.index(str(place))}" if str(place) in sent.ids else "/ids"
        if place in found:
            wanted.append((found[place], None, pointer))
        else:
            problems.append(FieldProblem(pointer, f"there is no rejected event {place}"))
    if problems:
        raise Unfit(problems)
    return tuple(await _submit(record, trail, wanted, force=sent.force, many=True))


async def set_aside(record: Record, trail: Trail, who: Asker, rejected_id: str) -> RejectedEvent:
    """Says that an event is not to be submitted again; the change says why. Raises NotAllowed, NotThere, InTheWay."""
    who.must("rejected.resubmit")
    place = place_of(rejected_id)
    found = (await record.held([place])).get(place)
    if found is None:
        raise NotThere("rejected event", rejected_id)
    if found.state == "resubmitted":
        raise InTheWay(f"rejected event {place} was submitted again by {found.resubmitted_by}: it can't be set aside")
    if found.state == "set_aside":
        raise InTheWay(f"rejected event {place} was set aside by {found.set_aside_by}: {found.set_aside_why}")
    await record.note_set_aside(found)
    await trail.audit(ENTITY, str(place), "set_aside", _told(found), _told(found) | {"state": "set_aside"})
    return found


async def _submit(
    record: Record,
    trail: Trail,
    wanted: Sequence[tuple[RejectedEvent, bytes | None, str]],
    *,
    force: bool,
    many: bool = False,
) -> list[Submitted]:
    """`wanted`: the event, its bytes where it is edited, and where what is wrong with it is to be shown."""
    problems: list[FieldProblem] = []
    submitted: list[tuple[Submitted, str]] = []
    commands = [one.event_id or "" for one, _, _ in wanted if one.topic == topics.ACCOUNT_COMMANDS.name]
    ordered = await record.ordered(commands) if commands else {}
    for rejected, value, pointer in wanted:
        try:
            _check_state(rejected, ordered, force=force)
            sent = sendable(rejected, value, pointer)
        except Unfit as unfit:
            problems += [FieldProblem(pointer, one.text) if many else one for one in unfit.problems]
        except Refusal as refusal:
            if not many:
                raise
            problems.append(FieldProblem(pointer, refusal.text))
        else:
            forced = rejected.state == "resubmitted"
            submitted.append((Submitted(rejected, sent, sent.value != rejected.payload, forced), pointer))
    handled = await _handled(record, [one.sent for one, _ in submitted])
    for one, pointer in submitted:
        if (known := handled.get((one.sent.type, one.sent.event_id))) is not None:
            text = _handled_text(one, known)
            if not many:
                raise InTheWay(text)
            problems.append(FieldProblem(pointer, text))
    if problems:
        raise Unfit(problems)
    for one, _ in submitted:
        await record.note_submitted(one)
        await _tell(record, trail, one)
    return [one for one, _ in submitted]


def _check_state(rejected: RejectedEvent, ordered: Mapping[str, str], *, force: bool) -> None:
    if rejected.topic == topics.ACCOUNT_COMMANDS.name:
        kind = ordered.get(rejected.event_id or "")
        if kind is None:
            raise InTheWay(
                f"rejected event {rejected.place} is a command to an account, which is not submitted again: order it "
                "in the office (payment, top-up, write-off, block, unblock, close), and set this one aside"
            )
        raise InTheWay(
            f"rejected event {rejected.place} is the {kind.replace('_', '-')} {rejected.event_id}, which the office "
            f"ordered: order it anew there, under an id of its own, and set this one aside"
        )
    if rejected.topic not in _DECODERS:
        raise InTheWay(
            f"rejected event {rejected.place} came from {rejected.topic}, to which nothing is submitted again"
        )
    if rejected.state == "resubmitted" and not force:
        raise InTheWay(
            f"rejected event {rejected.place} was submitted again by {rejected.resubmitted_by} already; see what "
            "became of it, and force it if it has to be sent once more"
        )


def _handled_text(one: Submitted, known: Handled) -> str:
    if known.how == "rated":
        return (
            f"CDR {one.sent.event_id} has been rated: submitted again it would be charged twice. If it is another "
            "call, edit the event and give it a cdr_id of its own"
        )
    return (
        f"attempt {one.sent.event_id} has been answered. If it is another call, edit the event and give it an "
        "attempt_id of its own"
    )


async def _handled(record: Record, sent: Sequence[Sendable]) -> Mapping[tuple[str, str], Handled]:
    cdrs = [one.event_id for one in sent if isinstance(one.event, Cdr)]
    attempts = [one.event_id for one in sent if isinstance(one.event, CallAttempt)]
    types = {"rated": "cdr", "decided": "call_attempt"}
    return {(types[one.how], one.event_id): one for one in await record.handled(cdrs, attempts)}


async def _tell(record: Record, trail: Trail, one: Submitted) -> None:
    after = {
        "state": "resubmitted",
        "event_id": one.sent.event_id,
        "edited": one.edited,
        "forced": one.forced,
        # The bytes are kept with the resubmission; people's numbers have no place in the audit.
        "sha256": sha256(one.sent.value).hexdigest(),
    }
    await trail.audit(ENTITY, str(one.rejected.place), "resubmitted", _told(one.rejected), _told(one.rejected) | after)
    payload: dict[str, object] = {
        "topic": one.rejected.topic,
        "type": one.sent.type,
        "event_id": one.sent.event_id,
        "key": one.sent.key,
        "value": msgspec.to_builtins(one.sent.value),
    }
    if one.sent.key is None:
        # The release of a call without account names no number: it follows its attempt.
        home = await record.home(one.sent.event_id)
        payload["partition"] = one.rejected.partition if home is None else home
    await trail.publish("event", str(one.rejected.place), payload)


def _told(rejected: RejectedEvent) -> dict[str, object]:
    """For the audit."""
    return {
        "state": rejected.state,
        "topic": rejected.topic,
        "reason": rejected.reason,
        "event_id": rejected.event_id,
        "account_id": rejected.account_id,
    }


# -- what can be sent -------------------------------------------------------------------------------------------------

_DECODERS = {topics.CALL_ATTEMPTS.name: decode_switch_event, topics.CDRS.name: decode_cdr}


def sendable(rejected: RejectedEvent, value: bytes | None = None, pointer: str = "") -> Sendable:
    """The event as it can be sent: read as the engine reads it, with moments that it can read too.

    `value`: in other bytes. Raises Unfit, which names the field (`pointer` stands before its place), and InTheWay for
    one that was not kept whole.
    """
    as_it_was = value is None
    value = rejected.payload if value is None else value
    if len(value) > MOST_BYTES:
        raise Unfit([FieldProblem(pointer, f"has {len(value)} bytes; an event has at most {MOST_BYTES}")])
    try:
        event: SwitchEvent | Cdr = _DECODERS[rejected.topic](value)
    except UNREADABLE as error:
        text, place = _place_of(str(error))
        raise Unfit([FieldProblem(pointer + place, text + (AS_IT_WAS if as_it_was else ""))]) from None
    if (wrong := _wrong_moment(event)) is not None:
        field, text = wrong
        raise Unfit([FieldProblem(f"{pointer}/{field}", text + (AS_IT_WAS if as_it_was else ""))])
    if isinstance(event, Cdr):
        return Sendable(event, event.cdr_id, event.account_id if event.account_id is not None else event.called, value)
    called = event.called if isinstance(event, CallAttempt) else None
    return Sendable(event, event.attempt_id, event.account_id if event.account_id is not None else called, value)


def problem_of(rejected: RejectedEvent) -> str | None:
    """Why it can't be submitted as it was, as far as can be told without the engine; None: nothing is known."""
    if rejected.topic not in _DECODERS:
        return "a command to an account is ordered anew in the office"
    try:
        sendable(rejected)
    except Refusal as refusal:
        return refusal.text
    return None


def text_of(payload: bytes) -> str:
    """An event's bytes as text; what is no text becomes U+FFFD."""
    return payload.decode(errors="replace")


def is_whole(rejected: RejectedEvent) -> bool:
    """Whether its bytes are text and not longer than an event may be."""
    try:
        rejected.payload.decode()
    except UnicodeDecodeError:
        return False
    return len(rejected.payload) <= MOST_BYTES


AS_IT_WAS = " (as it was, it would be rejected again: edit it)"


def _place_of(text: str) -> tuple[str, str]:
    """A message of msgspec without its place, and the place as a JSON pointer."""
    detail, found, path = text.partition(" - at `$")
    if detail.startswith("Object missing required field `"):
        return detail, "/" + detail.split("`")[1]
    if not found:
        return detail, ""
    return detail, path.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")


def _wrong_moment(event: SwitchEvent | Cdr) -> tuple[str, str] | None:
    if isinstance(event, Cdr):
        found = moments(event)
        if not isinstance(found, EngineRefusal):
            return None
        field, colon, text = found.detail.partition(": ")
        if colon and field in ("started_at", "answered_at", "ended_at"):
            return field, text
        return found.detail.split(" ", 1)[0], found.detail
    try:
        to_us(event.at)
    except ValueError as error:
        return "at", str(error)
    return None
