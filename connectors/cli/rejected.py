"""`tollgate rejected …`: events that the engine could not use: look at them, submit them again, set them aside.

Looking needs no name. Who submits or sets aside is a user of the office, named by `--as`; the audit keeps who and why.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import cyclopts
import msgspec

from backoffice import rejected as rules
from backoffice.access import Asker
from backoffice.refusals import NotAllowed, NotThere, Refusal, Unfit
from backoffice.rejected import (
    MOST_AT_ONCE,
    RejectedEvent,
    ResubmitManySent,
    ResubmitSent,
    State,
    Submitted,
    place_of,
)
from backoffice.words import in_words
from connectors.cli.acting import acting, changing
from connectors.cli.app import Refused, app, out, print_json, print_table
from connectors.postgres import rejected as record
from connectors.postgres.change import Change, OutcomeUnknown
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.rejected import Filter, RejectedRecord, Story
from connectors.settings import database_settings
from schemas.times import to_datetime, to_us

rejected = cyclopts.App(name="rejected", help="Events that the engine could not use: look, submit again, set aside.")
app.command(rejected)

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
As = Annotated[
    str | None,
    cyclopts.Parameter(name="--as", help="The user of the office who does it; the system's user if left out."),
]
Why = Annotated[str, cyclopts.Parameter(help="Why; the audit keeps it.")]
Topic = Annotated[str | None, cyclopts.Parameter(help="Those that came from this topic, as in cdrs.")]
For = Annotated[str | None, cyclopts.Parameter(name="--rejected-for", help="Those of this reason.")]
Since = Annotated[str | None, cyclopts.Parameter(help="Rejected then or later.")]
Until = Annotated[str | None, cyclopts.Parameter(help="Rejected before that.")]
Account = Annotated[str | None, cyclopts.Parameter(help="Those of this account.")]
Ids = Annotated[tuple[str, ...], cyclopts.Parameter(help="Ids, as `tollgate rejected list` shows them.")]

LONGEST_REASON = 1_000
_POSITIVE = cyclopts.validators.Number(gte=1)


@rejected.command(name="list")
def list_(
    *,
    topic: Topic = None,
    rejected_for: For = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    event: Annotated[str | None, cyclopts.Parameter(help="Those with this attempt, CDR or command id.")] = None,
    state: Annotated[State, cyclopts.Parameter(help="What has been done about them.")] = "open",
    all_states: Annotated[bool, cyclopts.Parameter(negative="", help="Whatever has been done about them.")] = False,
    limit: Annotated[int, cyclopts.Parameter(help="How many at most.", validator=_POSITIVE)] = 100,
    json: AsJson = False,
) -> None:
    """Rejected events, the newest first; those that nothing has been done about yet, unless --state asks for others."""
    which = _filter(topic, rejected_for, since, until, account, event, None if all_states else state)
    found = _run(lambda database: record.listed(database.pool, which, limit + 1))
    shown = found[:limit]
    if json:
        print_json({"events": [_row(one) for one in shown], "more": len(found) > limit})
        return
    if not shown:
        _say("there are none" if all_states else f"there are none that are {state.replace('_', ' ')}")
        return
    print_table(
        f"{len(shown)} rejected events" + (", and there are more" if len(found) > limit else ""),
        ("id", "at", "topic", "event", "account", "reason", "state"),
        [
            (
                str(one.place),
                to_moment(one.recorded_at),
                one.topic,
                one.event_id or "–",
                one.account_id or "–",
                one.reason,
                one.state.replace("_", " "),
            )
            for one in shown
        ],
    )


@rejected.command
def counts(*, json: AsJson = False) -> None:
    """How many are still to be seen to, by topic and reason."""
    found = _run(lambda database: record.counts(database.pool))
    if json:
        print_json(
            [
                {**one._asdict(), "oldest": to_moment(one.oldest), "newest": to_moment(one.newest)}
                | {"meaning": rules.meaning_of(one.reason)}
                for one in found
            ]
        )
        return
    if not found:
        _say("there are none that are open")
        return
    print_table(
        f"{sum(one.events for one in found)} rejected events are to be seen to",
        ("topic", "reason", "events", "oldest", "newest", "what it means"),
        [
            (
                one.topic,
                one.reason,
                f"{one.events:,}",
                to_moment(one.oldest),
                to_moment(one.newest),
                rules.meaning_of(one.reason),
            )
            for one in found
        ],
    )


@rejected.command
def show(
    rejected_id: Annotated[str, cyclopts.Parameter(help="The event's id, as in 7-1042.")],
    *,
    payload: Annotated[
        bool,
        cyclopts.Parameter(negative="", help="Print the event's bytes and nothing else, to be edited and sent."),
    ] = False,
    json: AsJson = False,
) -> None:
    """One rejected event: why, its bytes, what was done about it, and what the engine made of its id since."""

    async def work(database: Database) -> Story:
        found = await record.story_of(database.pool, place_of(rejected_id))
        if found is None:
            raise NotThere("rejected event", rejected_id)
        return found

    found = _run(work)
    if payload:
        sys.stdout.buffer.write(found.event.payload + b"\n")
        sys.stdout.flush()
    elif json:
        print_json(_story(found))
    else:
        _tell_story(found)


@rejected.command
def resubmit(
    *ids: Annotated[str, cyclopts.Parameter(help="Ids, as `tollgate rejected list` shows them.")],
    reason: Why,
    event: Annotated[
        Path | None, cyclopts.Parameter(help="A file with the event in other words (of one id); - is standard input.")
    ] = None,
    all_: Annotated[
        bool, cyclopts.Parameter(name="--all", negative="", help="All open ones that the conditions name.")
    ] = False,
    topic: Topic = None,
    rejected_for: For = None,
    since: Since = None,
    until: Until = None,
    account: Account = None,
    force: Annotated[bool, cyclopts.Parameter(negative="", help="Although it was submitted before.")] = False,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Submit rejected events again, as they were or edited: all that are named, or none if one can't be."""
    which = _filter(topic, rejected_for, since, until, account, None, "open")
    if all_ == bool(ids):
        raise Refused("name the events by their ids, or take --all with --topic, --rejected-for, --account, --since")
    if all_ and which == Filter(state="open"):
        raise Refused("--all needs a condition: --topic, --rejected-for, --account, --since or --until")
    if not all_ and which != Filter(state="open"):
        raise Refused("--topic, --rejected-for, --account, --since and --until go with --all")
    if event is not None and len(ids) != 1:
        raise Refused("--event goes with the id of one event")
    edited = None if event is None else _read_event(event)
    chosen = ids
    if all_:
        found = _run(lambda database: record.listed(database.pool, which, MOST_AT_ONCE + 1))
        if len(found) > MOST_AT_ONCE:
            raise Refused(f"there are more than {MOST_AT_ONCE}: take a shorter time, or one reason after the other")
        # As they came.
        chosen = tuple(str(one.place) for one in reversed(found))
        if not chosen:
            _say("there are none that are open")
            return

    async def work(tx: Change, who: Asker) -> tuple[Submitted, ...]:
        if len(chosen) == 1:
            sent = _fit(ResubmitSent, reason=reason, event=edited, force=force)
            return (await rules.resubmit(RejectedRecord(tx), tx, who, chosen[0], sent),)
        many = _fit(ResubmitManySent, reason=reason, ids=chosen, force=force)
        return await rules.resubmit_many(RejectedRecord(tx), tx, who, many)

    done = _changed(as_, reason, work, chosen)
    if json:
        print_json([_submitted(one) for one in done])
        return
    for one in done:
        _say(
            f"{one.rejected.place}: {one.sent.type} {one.sent.event_id} is submitted again to {one.rejected.topic}"
            + (", edited" if one.edited else "")
        )


@rejected.command(name="set-aside")
def set_aside(*ids: Annotated[str, cyclopts.Parameter(help="Ids.")], reason: Why, as_: As = None) -> None:
    """Say that events are not to be submitted again: all that are named, or none."""
    if not ids:
        raise Refused("name the events by their ids")

    async def work(tx: Change, who: Asker) -> None:
        for one in ids:
            await rules.set_aside(RejectedRecord(tx), tx, who, one)

    _changed(as_, reason, work, ids)
    for one in ids:
        _say(f"{one} is set aside")


# -- how it is shown --------------------------------------------------------------------------------------------------


def _row(one: RejectedEvent) -> dict[str, Any]:
    return {
        "rejected_id": str(one.place),
        "recorded_at": to_moment(one.recorded_at),
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "reason": one.reason,
        "meaning": one.meaning,
        "detail": one.detail,
        "event_id": one.event_id,
        "account_id": one.account_id,
        "state": one.state,
        "resubmitted_at": to_optional_text(one.resubmitted_at),
        "resubmitted_by": one.resubmitted_by,
        "set_aside_at": to_optional_text(one.set_aside_at),
        "set_aside_by": one.set_aside_by,
        "set_aside_why": one.set_aside_why,
    }


def _story(found: Story) -> dict[str, Any]:
    return {
        "event": _row(found.event),
        "payload": rules.text_of(found.event.payload),
        "whole": rules.is_whole(found.event),
        "problem": rules.problem_of(found.event),
        "resubmissions": [
            {**one._asdict(), "at": to_moment(one.at), "payload": rules.text_of(one.payload)}
            for one in found.resubmissions
        ],
        "handled": [{**one._asdict(), "at": to_moment(one.at)} for one in found.handled],
        "same_event": [
            {"rejected_id": str(one.place), "recorded_at": to_moment(one.recorded_at), "reason": one.reason}
            for one in found.same_event
        ],
    }


def _submitted(one: Submitted) -> dict[str, Any]:
    return {
        "rejected_id": str(one.rejected.place),
        "topic": one.rejected.topic,
        "type": one.sent.type,
        "event_id": one.sent.event_id,
        "edited": one.edited,
        "forced": one.forced,
    }


def _tell_story(found: Story) -> None:
    event = found.event
    _say(f"{event.place}, rejected {to_moment(event.recorded_at)}: {event.reason}, {event.meaning}")
    _say(f"detail: {event.detail}")
    _say(f"it came as {event.topic} {event.partition}/{event.offset}, account {event.account_id or '–'}:")
    _say(rules.text_of(event.payload))
    problem = rules.problem_of(event)
    if problem is not None:
        _say(f"it can't be submitted as it was: {problem}")
    if event.set_aside_at is not None:
        _say(f"set aside {to_moment(event.set_aside_at)} by {event.set_aside_by}: {event.set_aside_why}")
    for one in found.resubmissions:
        forced = ", forced" if one.forced else ""
        _say(f"submitted again {to_moment(one.at)} by {one.author}{forced}: {one.reason}")
        if one.edited:
            _say(f"  in other words: {rules.text_of(one.payload)}")
    for handled in found.handled:
        _say(f"the engine has {handled.how} {handled.event_id} ({to_moment(handled.at)})")
    for again in found.same_event:
        _say(f"the same id was rejected {to_moment(again.recorded_at)} too, for {again.reason}: {again.place}")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


# -- how it is done ---------------------------------------------------------------------------------------------------


def _filter(
    topic: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    account: str | None,
    event: str | None,
    state: State | None,
) -> Filter:
    return Filter(topic, reason, _moment(since, "--since"), _moment(until, "--until"), state, account, event)


def _moment(text: str | None, what: str) -> datetime | None:
    try:
        return None if text is None else to_datetime(to_us(text))
    except ValueError as error:
        raise Refused(f"{what}: {error}") from None


def _read_event(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Refused(f"--event: {error}") from None
    try:
        found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"--event: {file} holds no JSON object: {error}") from None
    return found


def _fit(struct: type[S], /, **values: Any) -> S:
    """The values as the API would take them. Raises Refused."""
    try:
        return msgspec.convert(values, struct)
    except msgspec.ValidationError as error:
        raise Refused(in_words(str(error))) from None


def _changed(
    name: str | None, reason: str, work: Callable[[Change, Asker], Awaitable[T]], ids: tuple[str, ...] = ()
) -> T:
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise Refused(f"--reason: say why, in 1 to {LONGEST_REASON} characters; the audit keeps it")

    async def changed(database: Database) -> T:
        who = await acting(database, name)
        return await changing(database, who, reason, lambda tx: work(tx, who))

    return _run(changed, ids)


def _run(work: Callable[[Database], Awaitable[T]], ids: tuple[str, ...] = ()) -> T:
    where = database_settings()

    async def opened() -> T:
        async with open_database(where) as database:
            return await work(database)

    try:
        return asyncio.run(opened())
    except NotAllowed as refused:
        raise Refused(f"{refused}; ask {refused.ask}") from None
    except Unfit as unfit:
        raise Refused("\n  ".join(_named(one.pointer, one.text, ids) for one in unfit.problems)) from None
    except (DatabaseTrouble, Refusal) as refused:
        raise Refused(str(refused)) from None
    except OutcomeUnknown as error:
        raise Refused(f"{error}; look whether it was done (tollgate rejected show)") from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(
            f"the database's login may look and not change anything ({error}): submitting again is for whoever works "
            "with the rights of tollgate_app"
        ) from None
    except DRIVER_TROUBLES as error:
        raise Refused(f"{explained(error, where)}") from None


def _named(pointer: str, text: str, ids: tuple[str, ...]) -> str:
    """A problem by the event's id, not by its place among the arguments."""
    _, first, *rest = [*pointer.split("/"), "", ""]
    if first == "ids" and rest[0].isdigit() and int(rest[0]) < len(ids):
        return f"{ids[int(rest[0])]}: {text}"
    return f"{pointer or '/'}: {text}"
