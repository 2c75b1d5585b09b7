"""Rejected events in PostgreSQL: what `backoffice/rejected.py` asks of the record, the list, and one with its story."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from backoffice.rejected import Handled, Place, RejectedEvent, State, Submitted
from connectors.postgres.change import Change
from connectors.postgres.database import Pool
from connectors.postgres.queries import sql
from schemas import topics
from schemas.codec import UNREADABLE, decode_event
from schemas.events import CallAttempt


class Filter(NamedTuple):
    """Which rejected events; all conditions together."""

    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: State | None = None
    account_id: str | None = None
    event_id: str | None = None


class After(NamedTuple):
    """Where a page ended: its last event."""

    recorded_at: datetime
    place: Place


class Resubmission(NamedTuple):
    """One time that an event was submitted again, with the bytes that were sent."""

    number: int
    at: datetime
    author: str
    reason: str
    edited: bool
    forced: bool
    event_id: str
    payload: bytes


class Again(NamedTuple):
    """Another rejection of an event with the same id on the same topic."""

    place: Place
    recorded_at: datetime
    reason: str


class Count(NamedTuple):
    """How many are still to be seen to, of one topic and reason."""

    topic: str
    reason: str
    events: int
    oldest: datetime
    newest: datetime


class Story(NamedTuple):
    """A rejected event with all that was done about it, and what the engine made of its id since."""

    event: RejectedEvent
    resubmissions: tuple[Resubmission, ...]
    handled: tuple[Handled, ...]
    same_event: tuple[Again, ...]


async def listed(pool: Pool, which: Filter, limit: int, after: After | None = None) -> list[RejectedEvent]:
    """Rejected events, the newest first, `limit` of them from a place on."""
    place = (None, None, None) if after is None else (after.recorded_at, *after.place)
    rows = await pool.fetch(
        sql("rejected/page_open" if which.state == "open" else "rejected/page"),
        which.topic,
        which.reason,
        which.since,
        which.until,
        which.state,
        which.account_id,
        which.event_id,
        limit,
        *place,
    )
    return [_event(row) for row in rows]


async def counts(pool: Pool) -> list[Count]:
    """What is still to be seen to, by topic and reason."""
    return [Count(*row) for row in await pool.fetch(sql("rejected/counts"))]


async def story_of(pool: Pool, place: Place) -> Story | None:
    """One rejected event; None where there is none."""
    row = await pool.fetchrow(sql("rejected/one"), *place)
    if row is None:
        return None
    event = _event(row)
    again = [Resubmission(*one) for one in await pool.fetch(sql("rejected/resubmissions"), *place)]
    names = sorted({event.event_id or "", *(one.event_id for one in again)} - {""})
    is_cdr, is_attempt = event.topic == topics.CDRS.name, _is_attempt([event.payload, *(one.payload for one in again)])
    handled = await pool.fetch(sql("rejected/handled"), names if is_cdr else [], names if is_attempt else [])
    same = []
    if event.event_id is not None:
        same = await pool.fetch(sql("rejected/same_event"), event.topic, event.event_id, *place)
    return Story(
        event,
        tuple(again),
        tuple([Handled(*one) for one in handled]),
        tuple([Again(Place(one[0], one[1]), one[2], one[3]) for one in same]),
    )


class RejectedRecord:
    """The port of the use cases, in the transaction of `tx`."""

    def __init__(self, tx: Change) -> None:
        self._tx = tx

    async def held(self, places: Sequence[Place]) -> Mapping[Place, RejectedEvent]:
        """Those that are there, held until the change ends."""
        rows = await self._tx.fetch(
            sql("rejected/lock"), [one.partition for one in places], [one.offset for one in places]
        )
        return {event.place: event for event in map(_event, rows)}

    async def ordered(self, command_ids: Sequence[str]) -> Mapping[str, str]:
        """Kinds of those commands that the office has ordered, by id."""
        return {row[0]: row[1] for row in await self._tx.fetch(sql("rejected/ordered"), list(command_ids))}

    async def handled(self, cdr_ids: Sequence[str], attempt_ids: Sequence[str]) -> Sequence[Handled]:
        """Which of them the engine has rated or decided."""
        rows = await self._tx.fetch(sql("rejected/handled"), list(cdr_ids), list(attempt_ids))
        return [Handled(*row) for row in rows]

    async def home(self, attempt_id: str) -> int | None:
        """The partition on which an attempt was answered; None where it is not in the record."""
        found: int | None = await self._tx.fetchval(sql("rejected/home"), attempt_id)
        return found

    async def note_submitted(self, submitted: Submitted) -> None:
        """Keeps that it was sent, and what."""
        tx, sent = self._tx, submitted.sent
        await tx.execute(
            sql("rejected/resubmit"),
            *submitted.rejected.place,
            tx.at,
            tx.actor,
            tx.reason,
            submitted.edited,
            submitted.forced,
            sent.event_id,
            sent.key,
            sent.value,
            tx.id,
        )

    async def note_set_aside(self, rejected: RejectedEvent) -> None:
        """Keeps that it is not to be sent."""
        tx = self._tx
        await tx.execute(sql("rejected/set_aside"), *rejected.place, tx.at, tx.actor, tx.reason)


def _event(row: Any) -> RejectedEvent:
    return RejectedEvent(Place(row[0], row[1]), *row[2:])


def _is_attempt(payloads: Sequence[bytes]) -> bool:
    for payload in payloads:
        try:
            if isinstance(decode_event(payload), CallAttempt):
                return True
        except UNREADABLE:
            continue
    return False
