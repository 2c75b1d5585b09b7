"""Rejected events: what the engine could not use, and why; submitted again or set aside, with a reason."""

from typing import Annotated

from msgspec import Meta, Struct

from backoffice import rejected as rules
from backoffice.refusals import NotThere
from backoffice.rejected import (
    Place,
    RejectedEvent,
    RejectedId,
    ResubmitManySent,
    ResubmitSent,
    SetAsideSent,
    State,
    Submitted,
    place_of,
)
from backoffice.words import Id, Moment
from connectors.http import paging
from connectors.http.call import Call
from connectors.http.paging import Limit, Page, cursor, page
from connectors.http.parties import PartyText
from connectors.http.reading import moment_of
from connectors.http.route import get, post
from connectors.postgres import rejected as record
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.rejected import After, Filter, RejectedRecord, Story
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime

Word = Annotated[str, Meta(min_length=1, max_length=64)]


class RejectedAsked(Struct, frozen=True):
    """Which events; all conditions together. The newest come first."""

    topic: Word | None = None
    """The topic that they came from, as in `cdrs`."""
    reason: Word | None = None
    since: Moment | None = None
    until: Moment | None = None
    state: State | None = None
    """`open`: nothing has been done about them yet; all of them if left out."""
    account_id: Id | None = None
    event_id: Id | None = None
    """The attempt's, CDR's or command's own id."""
    after: paging.After | None = None
    limit: Limit = 100


class RejectedRow(Struct, frozen=True):
    """A rejected event. `meaning` is the reason in words; `detail` names what was met and how to mend it."""

    rejected_id: RejectedId
    recorded_at: str
    topic: str
    partition: int
    offset: int
    """Where it stands on that topic."""
    reason: str
    meaning: str
    detail: PartyText
    event_id: str | None
    account_id: str | None
    state: State
    resubmitted_at: str | None
    resubmitted_by: str | None
    set_aside_at: str | None
    set_aside_by: str | None
    set_aside_why: str | None


class RejectedCount(Struct, frozen=True):
    """How many are still to be seen to, of one topic and reason."""

    topic: str
    reason: str
    meaning: str
    events: int
    oldest: str
    newest: str


class RejectedCounts(Struct, frozen=True):
    """What is still to be seen to."""

    counts: tuple[RejectedCount, ...]
    events: int


class ResubmissionShown(Struct, frozen=True):
    """One time that it was submitted again. `payload`: what was sent, where it was edited."""

    number: int
    at: str
    author: str
    reason: str
    edited: bool
    forced: bool
    event_id: str
    payload: PartyText | None


class AgainShown(Struct, frozen=True):
    """Another rejection of an event with the same id."""

    rejected_id: str
    recorded_at: str
    reason: str


class HandledShown(Struct, frozen=True):
    """What the engine has made of an event with that id: `rated` or `decided`."""

    how: str
    event_id: str
    at: str


class RejectedCard(Struct, frozen=True):
    """One rejected event with its bytes, and all that was done about it."""

    event: RejectedRow
    payload: PartyText
    """As text; bytes that are none are shown as U+FFFD."""
    whole: bool
    """Whether the bytes were kept whole and are text: then it can be submitted as it was, if it can be read at all."""
    problem: PartyText | None
    """Why it can't be submitted as it was; null: it can, as far as can be told."""
    resubmissions: tuple[ResubmissionShown, ...]
    handled: tuple[HandledShown, ...]
    same_event: tuple[AgainShown, ...]


class SubmittedShown(Struct, frozen=True):
    """An event that was submitted again; the engine gets it within a second."""

    rejected_id: str
    topic: str
    type: str
    event_id: str
    edited: bool
    forced: bool


class ManySubmitted(Struct, frozen=True):
    """Events that were submitted again, in the order in which they were named."""

    submitted: tuple[SubmittedShown, ...]


@get("/api/rejected", requires="rejected.see", summary="Rejected events, the newest first", parties=True)
async def rejected_events(call: Call, asked: RejectedAsked) -> Page[RejectedRow]:
    place = paging.place_of(asked.after, int, int, int)
    after = None
    if place is not None:
        moment = to_datetime(min(max(place[0], EARLIEST_US), LATEST_US))
        # A place outside of the column's range is before or after all of them.
        partition = min(max(place[1], 0), 2**31 - 1)
        after = After(moment, Place(partition, place[2]))
    which = Filter(
        asked.topic,
        asked.reason,
        moment_of(asked.since, "since"),
        moment_of(asked.until, "until"),
        asked.state,
        asked.account_id,
        asked.event_id,
    )
    found = await record.listed(call.pool, which, asked.limit + 1, after)
    return page(found, asked.limit, _row, lambda one: cursor(from_datetime(one.recorded_at), *one.place))


@get("/api/rejected/counts", requires="rejected.see", summary="How many rejected events are still to be seen to")
async def count_rejected(call: Call) -> RejectedCounts:
    found = await record.counts(call.pool)
    return RejectedCounts(
        tuple(
            [
                RejectedCount(
                    one.topic,
                    one.reason,
                    rules.meaning_of(one.reason),
                    one.events,
                    to_moment(one.oldest),
                    to_moment(one.newest),
                )
                for one in found
            ]
        ),
        sum(one.events for one in found),
    )


@get(
    "/api/rejected/{rejected_id:str}",
    requires="rejected.see",
    summary="A rejected event with its bytes and its story",
    parties=True,
    problems=(404,),
)
async def rejected_event(call: Call, rejected_id: str) -> RejectedCard:
    found = await record.story_of(call.pool, place_of(rejected_id))
    if found is None:
        raise NotThere("rejected event", rejected_id)
    return _card(found)


@post(
    "/api/rejected/resubmit",
    requires="rejected.resubmit",
    summary="Submit rejected events again as they were, all of them or none",
    problems=(422,),
)
async def resubmit_many(call: Call, sent: ResubmitManySent) -> ManySubmitted:
    async with call.change(sent.reason) as tx:
        done = await rules.resubmit_many(RejectedRecord(tx), tx, call.asker, sent)
    return ManySubmitted(tuple([_submitted(one) for one in done]))


@post(
    "/api/rejected/{rejected_id:str}/resubmit",
    requires="rejected.resubmit",
    summary="Submit a rejected event again, as it was or edited",
    problems=(404, 409, 422),
)
async def resubmit_event(call: Call, rejected_id: str, sent: ResubmitSent) -> SubmittedShown:
    async with call.change(sent.reason) as tx:
        done = await rules.resubmit(RejectedRecord(tx), tx, call.asker, rejected_id, sent)
    return _submitted(done)


@post(
    "/api/rejected/{rejected_id:str}/set-aside",
    requires="rejected.resubmit",
    summary="Say that a rejected event is not to be submitted again",
    parties=True,
    problems=(404, 409),
)
async def set_event_aside(call: Call, rejected_id: str, sent: SetAsideSent) -> RejectedCard:
    async with call.change(sent.reason) as tx:
        await rules.set_aside(RejectedRecord(tx), tx, call.asker, rejected_id)
        await tx.write()
    found = await record.story_of(call.pool, place_of(rejected_id))
    assert found is not None, "it was just set aside"
    return _card(found)


def _row(one: RejectedEvent) -> RejectedRow:
    return RejectedRow(
        str(one.place),
        to_moment(one.recorded_at),
        one.topic,
        one.partition,
        one.offset,
        one.reason,
        one.meaning,
        PartyText(one.detail),
        one.event_id,
        one.account_id,
        one.state,
        to_optional_text(one.resubmitted_at),
        one.resubmitted_by,
        to_optional_text(one.set_aside_at),
        one.set_aside_by,
        one.set_aside_why,
    )


def _card(found: Story) -> RejectedCard:
    event = found.event
    problem = rules.problem_of(event)
    return RejectedCard(
        _row(event),
        PartyText(rules.text_of(event.payload)),
        rules.is_whole(event),
        None if problem is None else PartyText(problem),
        tuple(
            [
                ResubmissionShown(
                    one.number,
                    to_moment(one.at),
                    one.author,
                    one.reason,
                    one.edited,
                    one.forced,
                    one.event_id,
                    PartyText(rules.text_of(one.payload)) if one.edited else None,
                )
                for one in found.resubmissions
            ]
        ),
        tuple([HandledShown(one.how, one.event_id, to_moment(one.at)) for one in found.handled]),
        tuple([AgainShown(str(one.place), to_moment(one.recorded_at), one.reason) for one in found.same_event]),
    )


def _submitted(one: Submitted) -> SubmittedShown:
    return SubmittedShown(
        str(one.rejected.place), one.rejected.topic, one.sent.type, one.sent.event_id, one.edited, one.forced
    )


ROUTES = (rejected_events, count_rejected, rejected_event, resubmit_many, resubmit_event, set_event_aside)
