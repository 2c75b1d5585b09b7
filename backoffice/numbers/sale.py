"""Selling a number: a subscriber binds it to a product of an account (§1.4, «Создать абонента»).

new: the number is reserved. Paid and activated: both are in use. Closed: the number goes where `states` says, which
from use is quarantine and nothing else. Who has not paid after 8 working days is closed by night (D8, D13).
"""

from datetime import date
from typing import Annotated, Protocol

from msgspec import Meta, Struct
from msgspec.structs import replace

from backoffice.access import Asker
from backoffice.numbers import states
from backoffice.numbers.availability import RESTED, may_be_sold, why_not
from backoffice.numbers.states import SubscriberStatus, subscriber_may_become
from backoffice.office import AccountData, Trail
from backoffice.refusals import FieldProblem, InTheWay, NotThere, Unfit
from backoffice.words import Day, Digits, Id, Line, Reason
from engine.ncv import Sign
from schemas.reference import Number, Saleable

UNPAID = "not paid within {days} working days from {day}"


class _Sent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sent: strict about its fields."""


class SubscriberSent(_Sent, frozen=True):
    """A subscriber to be created: the number that is sold, to whom, for which product."""

    number: Digits
    account_id: Id
    product: Annotated[Line, Meta(examples=["ВАТС"])]
    planned_on: Day | None = None
    """The product's planned activation date: the days to pay count from then (D13)."""
    reason: Reason = "sold"


class SubscriberMoved(_Sent, frozen=True):
    """Why a subscriber is activated or closed, or a number released."""

    reason: Reason


class Subscriber(Struct, frozen=True, kw_only=True):
    """A number on a product of an account."""

    subscriber_id: str
    number: str
    account_id: str
    product: str
    status: SubscriberStatus
    planned_on: str | None
    reserved_at: str
    reserved_on: str
    """The business day of `reserved_at`."""
    rested: bool
    """Whether the number was clean when it was reserved."""
    created_by: str
    activated_at: str | None = None
    closed_at: str | None = None
    closed_by: str | None = None
    closed_why: str | None = None


class Sales(Protocol):
    """What the use cases ask of the record; rows are locked as they are loaded, the number before all else."""

    async def number(self, number: str) -> Number | None: ...
    async def save_number(self, number: Number) -> None: ...
    async def sign(self, number: Number) -> Sign: ...
    async def called_since(self, number: str, moment: str) -> bool:
        """Whether an unwanted call came at or after a moment."""

    async def end_forcing(self, number: str) -> Saleable:
        """Notes that an approval, if there is one in force, was used; what the criterion was before it (D11)."""

    async def account(self, account_id: str) -> AccountData | None: ...
    async def subscriber(self, subscriber_id: str) -> Subscriber | None: ...
    async def open_subscriber(self, number: str) -> Subscriber | None: ...
    async def save_subscriber(self, subscriber: Subscriber) -> None: ...
    async def numbers_of_account(self, account_id: str) -> tuple[str, ...]: ...


async def create(
    record: Sales, trail: Trail, who: Asker, sent: SubscriberSent, *, subscriber_id: str, now: str, today: str
) -> Subscriber:
    """Sells a number. Of two who want it one gets it: the other waits for its row, and finds it reserved (D19).

    Raises NotThere for the number; Unfit; InTheWay for a number that may not be sold, naming its sign.
    """
    who.must("numbers.sell")
    problems = []
    account = await record.account(sent.account_id)
    if account is None:
        problems.append(FieldProblem("/account_id", f"there is no account {sent.account_id!r}"))
    elif account.status == "closed":
        problems.append(FieldProblem("/account_id", f"account {sent.account_id!r} is closed"))
    if sent.planned_on is not None and sent.planned_on <= today:
        problems.append(FieldProblem("/planned_on", f"must lie after today, {today}"))
    if problems:
        raise Unfit(problems)
    number = await _there(record, sent.number)
    sign = await record.sign(number)
    if not may_be_sold(number, sign):
        raise InTheWay(why_not(number, sign))
    after = states.reserve(number, sent.account_id)
    subscriber = Subscriber(
        subscriber_id=subscriber_id,
        number=sent.number,
        account_id=sent.account_id,
        product=sent.product,
        status="new",
        planned_on=sent.planned_on,
        reserved_at=now,
        reserved_on=today,
        rested=sign in RESTED,
        created_by=who.user,
    )
    await record.save_subscriber(subscriber)
    await trail.audit("subscriber", subscriber_id, "created", None, subscriber)
    await _told(record, trail, number, after, "reserved")
    return subscriber


async def activate(record: Sales, trail: Trail, who: Asker, subscriber_id: str, *, now: str) -> Subscriber:
    """The client has paid: subscriber and number are in use. Raises NotThere, InTheWay."""
    who.must("numbers.sell")
    before, number = await _subscriber(record, subscriber_id)
    subscriber_may_become(before.status, "in_use")
    after = states.activate(number, await record.end_forcing(number.number))
    subscriber = replace(before, status="in_use", activated_at=now)
    await record.save_subscriber(subscriber)
    await trail.audit("subscriber", subscriber_id, "activated", before, subscriber)
    await _told(record, trail, number, after, "activated")
    return subscriber


async def close(
    record: Sales, trail: Trail, who: Asker, subscriber_id: str, why: str, *, now: str, today: str
) -> Subscriber:
    """Ends a subscriber: a number that was in use goes to quarantine, a reserved one where it belongs (D12).

    Raises NotThere, InTheWay.
    """
    who.must("numbers.sell")
    before, number = await _subscriber(record, subscriber_id)
    return await _close(record, trail, before, number, why, now=now, today=today)


async def close_unpaid(
    record: Sales, trail: Trail, subscriber_id: str, why: str, *, now: str, today: str
) -> Subscriber | None:
    """As `close`, for the job of the night; None where it was paid or closed meanwhile."""
    before, number = await _subscriber(record, subscriber_id)
    if before.status != "new":
        return None
    return await _close(record, trail, before, number, why, now=now, today=today)


async def release(record: Sales, trail: Trail, who: Asker, number: str, why: str, *, now: str, today: str) -> Number:
    """Takes a number from whoever has it, with or without a subscriber: to quarantine. Raises NotThere, InTheWay."""
    who.must("numbers.sell")
    return await _release(record, trail, await _there(record, number), why, now=now, today=today)


async def release_all(
    record: Sales, trail: Trail, account_id: str, why: str, *, now: str, today: str
) -> tuple[Number, ...]:
    """Takes all numbers from an account whose contract has ended (R1.4-01)."""
    return tuple(
        [
            await _release(record, trail, await _there(record, number), why, now=now, today=today)
            for number in await record.numbers_of_account(account_id)
        ]
    )


def days_count_from(reserved_on: str, planned_on: str | None) -> date:
    """Day 0 of the days to pay: the later of reservation and planned activation (D8, D13)."""
    return date.fromisoformat(max(reserved_on, planned_on or reserved_on))


async def _release(record: Sales, trail: Trail, number: Number, why: str, *, now: str, today: str) -> Number:
    there = await record.open_subscriber(number.number)
    if there is not None:
        await _close(record, trail, there, number, why, now=now, today=today)
        found = await record.number(number.number)
        assert found is not None
        return found
    criterion = await record.end_forcing(number.number)
    if number.status == "reserved":
        # Reserved without a subscriber: what it was before nobody knows, so it is not clean.
        after = states.fall_through(number, criterion, rested=False, called_since=False)
    else:
        after = states.release(number, today, criterion)
    await _told(record, trail, number, after, "released")
    return after


async def _close(
    record: Sales, trail: Trail, before: Subscriber, number: Number, why: str, *, now: str, today: str
) -> Subscriber:
    subscriber_may_become(before.status, "closed")
    criterion = await record.end_forcing(number.number)
    if before.status == "in_use":
        after, action = states.release(number, today, criterion), "released"
    else:
        called = await record.called_since(number.number, before.reserved_at)
        after = states.fall_through(number, criterion, rested=before.rested, called_since=called)
        action = "fell_through"
    subscriber = replace(before, status="closed", closed_at=now, closed_by=trail.actor, closed_why=why)
    await record.save_subscriber(subscriber)
    await trail.audit("subscriber", before.subscriber_id, "closed", before, subscriber)
    await _told(record, trail, number, after, action)
    return subscriber


async def _there(record: Sales, number: str) -> Number:
    found = await record.number(number)
    if found is None:
        raise NotThere("number", number)
    return found


async def _subscriber(record: Sales, subscriber_id: str) -> tuple[Subscriber, Number]:
    found = await record.subscriber(subscriber_id)
    if found is None:
        raise NotThere("subscriber", subscriber_id)
    number = await _there(record, found.number)
    # The number's row is ours now: what was read before may be of yesterday.
    found = await record.subscriber(subscriber_id)
    assert found is not None
    return found, number


async def _told(record: Sales, trail: Trail, before: Number, after: Number, action: str) -> None:
    await record.save_number(after)
    await trail.audit("number", after.number, action, before, after)
    await trail.publish("number", after.number, after)
