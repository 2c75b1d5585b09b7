"""Subscribers (§1.4, «Создать абонента»): numbers on products of accounts; and taking a number from whoever has it."""

import secrets

from msgspec import Struct

from backoffice.numbers import sale
from backoffice.numbers.sale import Subscriber, SubscriberMoved, SubscriberSent
from backoffice.numbers.states import SubscriberStatus
from backoffice.refusals import NotThere
from backoffice.words import Digits, Id
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.route import get, post
from connectors.http.routes.numbers import looks_of
from connectors.postgres.change import Change
from connectors.postgres.moments import to_moment
from connectors.postgres.numbers import subscriber_of
from connectors.postgres.numbers_change import NumbersRecord
from connectors.postgres.queries import sql
from schemas.reference import Number
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime


class SubscribersAsked(Struct, frozen=True):
    """Which subscribers; all conditions together. The newest come first."""

    status: SubscriberStatus | None = None
    account_id: Id | None = None
    number: Digits | None = None
    after: After | None = None
    limit: Limit = 100


@get("/api/subscribers", requires="numbers.see", summary="Subscribers, the newest first (§1.4)")
async def subscribers(call: Call, asked: SubscribersAsked) -> Page[Subscriber]:
    place = place_of(asked.after, int, str)
    rows = await call.pool.fetch(
        sql("numbers/subscribers"),
        asked.status,
        asked.account_id,
        asked.number,
        None if place is None else to_datetime(min(max(place[0], EARLIEST_US), LATEST_US)),
        None if place is None else place[1],
        asked.limit + 1,
    )
    return page(
        rows, asked.limit, subscriber_of, lambda row: cursor(from_datetime(row["reserved_at"]), row["subscriber_id"])
    )


@get("/api/subscribers/{subscriber_id:str}", requires="numbers.see", summary="A subscriber")
async def subscriber(call: Call, subscriber_id: str) -> Subscriber:
    found = await looks_of(call).subscriber(subscriber_id)
    if found is None:
        raise NotThere("subscriber", subscriber_id)
    return found


@post(
    "/api/subscribers",
    requires="numbers.sell",
    summary="Create a subscriber: a number that may be sold is reserved for a product (§1.4)",
    status=201,
    problems=(404, 409),
)
async def create_subscriber(call: Call, sent: SubscriberSent) -> Subscriber:
    async with call.change(sent.reason) as tx:
        return await sale.create(
            record_of(call, tx),
            tx,
            call.asker,
            sent,
            subscriber_id=f"s-{secrets.token_hex(6)}",
            now=to_moment(call.now),
            today=call.today.isoformat(),
        )


@post(
    "/api/subscribers/{subscriber_id:str}/activate",
    requires="numbers.sell",
    summary="The client has paid: subscriber and number are in use",
    problems=(409,),
)
async def activate_subscriber(call: Call, subscriber_id: str, sent: SubscriberMoved) -> Subscriber:
    async with call.change(sent.reason) as tx:
        return await sale.activate(record_of(call, tx), tx, call.asker, subscriber_id, now=to_moment(call.now))


@post(
    "/api/subscribers/{subscriber_id:str}/close",
    requires="numbers.sell",
    summary="End a subscriber: the number goes to quarantine, or back where it was if it was only reserved",
    problems=(409,),
)
async def close_subscriber(call: Call, subscriber_id: str, sent: SubscriberMoved) -> Subscriber:
    async with call.change(sent.reason) as tx:
        return await sale.close(
            record_of(call, tx),
            tx,
            call.asker,
            subscriber_id,
            sent.reason,
            now=to_moment(call.now),
            today=call.today.isoformat(),
        )


@post(
    "/api/numbers/{number:str}/release",
    requires="numbers.sell",
    summary="Take a number from whoever has it: to quarantine (§1.4)",
    problems=(409,),
)
async def release_number(call: Call, number: str, sent: SubscriberMoved) -> Number:
    async with call.change(sent.reason) as tx:
        return await sale.release(
            record_of(call, tx),
            tx,
            call.asker,
            number,
            sent.reason,
            now=to_moment(call.now),
            today=call.today.isoformat(),
        )


def record_of(call: Call, tx: Change) -> NumbersRecord:
    """The numbers, in a change of this request."""
    services = call.services
    return NumbersRecord(tx, today=call.today, numbers=services.numbers, engine=services.engine)


ROUTES = (subscribers, subscriber, create_subscriber, activate_subscriber, close_subscriber, release_number)
