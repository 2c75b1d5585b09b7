"""Re-rating of a period: which calls are rated again, by which prices, and the way from a run to its corrections.

A run says which calls and by which prices. Its preview keeps the calls whose charges differ, old and new. Somebody else
approves what he has seen; then each account is posted: one correction for the client, and what it changes in revenue
and cost. It can be taken back the same way, once.

What a call is charged is what the latest run said that was posted and not taken back, else its rated CDR. So a run that
is made again finds no difference, and one that was previewed before another was posted is refused.

Use cases over ports; `rerating_items.py` rates and adds up.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple, Protocol

from msgspec import Meta, Struct

from backoffice.access import Asker
from backoffice.office import Command, Trail
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Unfit
from backoffice.rerating_items import Plans, Summary, Sums
from backoffice.words import Digits, Id, Moment, Reason
from schemas import events
from schemas.times import from_datetime, to_datetime, to_text, to_us

State = Literal["draft", "previewed", "approved", "posting", "posted", "rolling_back", "rolled_back", "cancelled"]
Work = Literal["preview", "post", "roll_back"]

MOST_DAYS = 400
"""A longer period is more than anybody would look through; take two."""


# -- what there is ----------------------------------------------------------------------------------------------------


class ReratingSent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls are to be rated again, and by which prices. All conditions together.

    `price_list_id`: those that are or would be priced by the list, on either side. `reference_version`: prices and
    discounts as they were published in that version; those in force if left out. What holds by date is asked as of
    the call's set-up, as ever. `plans`: whether accounts count with their plan and place of the set-up, or with those
    of the tables.
    """

    since: Moment
    """Calls that ended then or later."""
    until: Moment
    """… and before that."""
    account_id: Id | None = None
    prefix: Digits | None = None
    price_list_id: Id | None = None
    reference_version: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    plans: Plans = "then"
    reason: Reason


class Rerating(Struct, frozen=True):
    """A run as it stands. `wanted` is work that is ordered and not done yet; `failure`, why the last one was not."""

    rerating_id: int
    since: str
    until: str
    account_id: str | None
    prefix: str | None
    price_list_id: str | None
    reference_version: int | None
    plans: Plans
    reason: str
    created_at: str
    created_by: str
    state: State
    previewed_at: str | None
    previewed_by: str | None
    approved_at: str | None
    approved_by: str | None
    ordered_at: str | None
    ordered_by: str | None
    posted_at: str | None
    back_at: str | None
    back_by: str | None
    rolled_back_at: str | None
    cancelled_at: str | None
    cancelled_by: str | None
    fingerprint: str | None
    """Of the calls and their charges as they were previewed, in hexadecimal digits."""
    summary: Summary | None
    wanted: Work | None
    stage: str
    done: int
    total: int
    failure: str | None


# -- posting ----------------------------------------------------------------------------------------------------------


class AccountRun(NamedTuple):
    """An account of a run: what it comes to, and how far it is. `command_state`: of the engine's order."""

    rerating_id: int
    account_id: str
    place: int
    items: int
    sums: Sums
    state: Literal["previewed", "posted", "rolled_back"]
    command_id: str | None
    command_state: str | None
    tries: int
    back_command_id: str | None
    back_command_state: str | None

    @property
    def effect_micros(self) -> int:
        """On the balance: who is charged more has less."""
        return self.sums.old_retail_micros - self.sums.new_retail_micros


def entry_id(run: AccountRun, *, back: bool = False) -> str:
    """By what the postings of an account are known."""
    return f"rerating-{run.rerating_id}-{run.place}" + ("-back" if back else "")


def order_of(run: AccountRun, author: str, reason: str, at: datetime, *, back: bool) -> Command | None:
    """The correction that the engine is ordered; None where the balance does not move, or what is to be taken back
    never moved it."""
    effect = -run.effect_micros if back else run.effect_micros
    if effect == 0 or run.account_id == "" or (back and run.command_state != "applied"):
        return None
    moment = to_text(from_datetime(at))
    again = f"-{run.tries + 1}" if run.tries and not back else ""
    return Command(
        entry_id(run, back=back) + again,
        "correction",
        run.account_id,
        moment,
        effect,
        f"re-rating {run.rerating_id}" + (" taken back" if back else ""),
        None,
        reason,
        run.command_id if back else None,
        author,
        moment,
        "ordered",
        None,
        None,
    )


def record_of(command: Command) -> events.Correction:
    """As the engine takes it."""
    assert command.amount_micros is not None
    return events.Correction(
        command.command_id, command.account_id, command.at, command.amount_micros, command.reference
    )


# -- the way of a run -------------------------------------------------------------------------------------------------


class Reratings(Protocol):
    """What the use cases need of the record. A run that is loaded stays as it is until the change is committed."""

    async def run(self, rerating_id: int) -> Rerating | None: ...
    async def insert(self, sent: ReratingSent, since: datetime, until: datetime, at: datetime, author: str) -> int: ...
    async def set_state(self, rerating_id: int, state: State, at: datetime, author: str) -> None: ...
    async def want(self, rerating_id: int, work: Work, author: str, at: datetime) -> None: ...
    async def has_account(self, account_id: str) -> bool: ...
    async def has_price_list(self, price_list_id: str) -> bool: ...
    async def unknown_version(self, version: int) -> str | None:
        """Why a version of the reference data can't be made again; None: it can."""
        ...

    async def built_upon(self, rerating_id: int) -> int | None:
        """A later run that is posted and has corrected what this one had."""
        ...

    async def waiting_orders(self, rerating_id: int) -> int:
        """Of its corrections, those of which the engine has said nothing yet."""
        ...

    async def rejected_orders(self, rerating_id: int) -> int: ...
    async def other_at_work(self, rerating_id: int) -> int | None:
        """Another run that is being posted or taken back."""
        ...


async def make(runs: Reratings, trail: Trail, who: Asker, sent: ReratingSent, now: datetime) -> Rerating:
    """A run, not previewed yet. Raises NotAllowed, Unfit with all that is wrong."""
    who.must("calls.rerate")
    problems: list[FieldProblem] = []
    since, until = _moment(sent.since, "/since", problems), _moment(sent.until, "/until", problems)
    if since is not None and until is not None:
        if until <= since:
            problems.append(FieldProblem("/until", "is not after since"))
        elif until - since > timedelta(days=MOST_DAYS):
            problems.append(FieldProblem("/until", f"is more than {MOST_DAYS} days after since: make several runs"))
        if until > now:
            problems.append(FieldProblem("/until", f"lies in the future: it is {to_text(from_datetime(now))}"))
    if sent.account_id is not None and not await runs.has_account(sent.account_id):
        problems.append(FieldProblem("/account_id", f"there is no account {sent.account_id!r}"))
    if sent.price_list_id is not None and not await runs.has_price_list(sent.price_list_id):
        problems.append(FieldProblem("/price_list_id", f"there is no price list {sent.price_list_id!r}"))
    if sent.reference_version is not None and (why := await runs.unknown_version(sent.reference_version)) is not None:
        problems.append(FieldProblem("/reference_version", why))
    if problems:
        raise Unfit(problems)
    assert since is not None and until is not None  # noqa: PT018
    rerating_id = await runs.insert(sent, since, until, now, who.actor)
    made = await _run(runs, rerating_id)
    await trail.audit("rerating", str(rerating_id), "created", None, made)
    return made


async def ask_preview(runs: Reratings, trail: Trail, who: Asker, rerating_id: int, now: datetime) -> Rerating:
    """Orders the preview, again too: then what was approved is so no more. Raises NotThere, NotAllowed, InTheWay."""
    who.must("calls.rerate")
    run = await _run(runs, rerating_id)
    if run.state not in ("draft", "previewed", "approved"):
        raise InTheWay(f"re-rating {rerating_id} is {_words(run.state)}: make another one")
    if run.wanted == "preview":
        return run
    if run.state != "draft":
        await runs.set_state(rerating_id, "draft", now, who.actor)
    await runs.want(rerating_id, "preview", who.actor, now)
    return await _noted(runs, trail, run, "preview ordered")


async def approve(
    runs: Reratings, trail: Trail, who: Asker, rerating_id: int, fingerprint: str | None, now: datetime
) -> Rerating:
    """What was previewed may be posted; `fingerprint`: of the preview that was looked at, where the asker says it.

    Raises NotThere, NotAllowed for whoever made the run or had it previewed, InTheWay.
    """
    who.must("calls.approve")
    run = await _run(runs, rerating_id)
    if run.state != "previewed":
        raise InTheWay(f"re-rating {rerating_id} is {_words(run.state)}: only what is previewed can be approved")
    _by_another(run, who, "approves")
    if fingerprint is not None and fingerprint != run.fingerprint:
        raise InTheWay(f"re-rating {rerating_id} was previewed anew meanwhile: look at it again")
    assert run.summary is not None
    if run.summary.differing == 0:
        raise InTheWay(f"re-rating {rerating_id} has nothing to post: no call differs")
    await runs.set_state(rerating_id, "approved", now, who.actor)
    return await _noted(runs, trail, run, "approved")


async def ask_post(runs: Reratings, trail: Trail, who: Asker, rerating_id: int, now: datetime) -> Rerating:
    """Orders the posting; of a run that is posted, that corrections which the engine has rejected be ordered again.

    Raises NotThere, NotAllowed, InTheWay.
    """
    who.must("calls.rerate")
    run = await _run(runs, rerating_id)
    if run.wanted == "post":
        return run
    if run.state == "posted":
        if await runs.rejected_orders(rerating_id) == 0:
            raise InTheWay(f"re-rating {rerating_id} is posted already")
    elif run.state not in ("approved", "posting"):
        raise InTheWay(f"re-rating {rerating_id} is {_words(run.state)}: only what is approved can be posted")
    elif (other := await runs.other_at_work(rerating_id)) is not None:
        raise InTheWay(f"re-rating {other} is being posted or taken back: wait until it is done")
    await runs.want(rerating_id, "post", who.actor, now)
    return await _noted(runs, trail, run, "posting ordered")


async def cancel(runs: Reratings, trail: Trail, who: Asker, rerating_id: int, now: datetime) -> Rerating:
    """Gives up a run that is not posted. Raises NotThere, NotAllowed, InTheWay."""
    who.must("calls.rerate")
    run = await _run(runs, rerating_id)
    if run.state not in ("draft", "previewed", "approved"):
        raise InTheWay(f"re-rating {rerating_id} is {_words(run.state)}: it can't be cancelled")
    await runs.set_state(rerating_id, "cancelled", now, who.actor)
    return await _noted(runs, trail, run, "cancelled")


async def ask_roll_back(runs: Reratings, trail: Trail, who: Asker, rerating_id: int, now: datetime) -> Rerating:
    """Orders that what was posted be taken back, whole. Raises NotThere, NotAllowed, InTheWay."""
    who.must("calls.approve")
    run = await _run(runs, rerating_id)
    if run.wanted == "roll_back":
        return run
    if run.state not in ("posted", "rolling_back"):
        raise InTheWay(f"re-rating {rerating_id} is {_words(run.state)}: only what is posted can be taken back")
    if who.actor == run.created_by:
        _by_another(run, who, "takes back")
    if (later := await runs.built_upon(rerating_id)) is not None:
        raise InTheWay(f"re-rating {later} has corrected the same calls since: take that one back first")
    if (waiting := await runs.waiting_orders(rerating_id)) > 0 and run.state == "posted":
        raise InTheWay(
            f"the engine has not carried out {waiting} of the corrections of re-rating {rerating_id} yet: ask again"
        )
    if (other := await runs.other_at_work(rerating_id)) is not None:
        raise InTheWay(f"re-rating {other} is being posted or taken back: wait until it is done")
    await runs.want(rerating_id, "roll_back", who.actor, now)
    return await _noted(runs, trail, run, "roll back ordered")


def _by_another(run: Rerating, who: Asker, does: str) -> None:
    if who.actor in (run.created_by, run.previewed_by):
        raise NotAllowed(
            f"re-rating {run.rerating_id} is your own: nobody {does} what he prepared",
            permission="calls.approve",
            ask="another manager",
        )


async def _run(runs: Reratings, rerating_id: int) -> Rerating:
    found = await runs.run(rerating_id)
    if found is None:
        raise NotThere("re-rating", str(rerating_id))
    return found


async def _noted(runs: Reratings, trail: Trail, before: Rerating, action: str) -> Rerating:
    after = await _run(runs, before.rerating_id)
    await trail.audit("rerating", str(before.rerating_id), action, before, after)
    return after


def _words(state: State) -> str:
    return _STATES[state]


_STATES: Mapping[State, str] = {
    "draft": "not previewed",
    "previewed": "previewed and not approved",
    "approved": "approved",
    "posting": "being posted",
    "posted": "posted",
    "rolling_back": "being taken back",
    "rolled_back": "taken back",
    "cancelled": "cancelled",
}


def _moment(text: str, pointer: str, problems: list[FieldProblem]) -> datetime | None:
    try:
        # As it is shown: to the millisecond.
        return to_datetime(to_us(text) // 1_000 * 1_000)
    except ValueError as error:
        problems.append(FieldProblem(pointer, str(error)))
        return None
