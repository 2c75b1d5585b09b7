"""Requests to release a number for sale (§1.4, steps 3-6): asked, agreed to, answered; and who answers them."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backoffice.numbers import requests as rules
from backoffice.numbers.forcing import (
    Answer,
    ClientAsked,
    ConsentSent,
    Desk,
    DirectManagerSent,
    Group,
    GroupSent,
    ReleaseAsked,
    ReleaseRequest,
)
from backoffice.refusals import NotThere
from backoffice.words import Digits
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.route import get, post, put
from connectors.http.routes.numbers import looks_of
from connectors.http.routes.subscribers import record_of
from connectors.postgres.moments import to_moment
from connectors.postgres.numbers import request_of
from connectors.postgres.queries import sql
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime

StateAsked = Literal["open", "waiting_for_client", "waiting", "approved", "refused", "withdrawn"]
UserName = Annotated[str, Meta(min_length=1, max_length=32)]
GROUPS: tuple[Group, ...] = ("assistants", "keepers", "heads")


class RequestsAsked(Struct, frozen=True):
    """Which requests; all conditions together. The newest come first."""

    state: StateAsked | None = None
    """`open`: those that wait for the client or for an answer."""
    desk: Desk | None = None
    number: Digits | None = None
    asked_by: UserName | None = None
    mine: bool = False
    """Those that wait for an answer that the asker may give."""
    after: After | None = None
    limit: Limit = 100


class GroupCard(Struct, frozen=True):
    """A group: `assistants` release the operator's own numbers for sales, `keepers` those of other providers, `heads`
    get copies of what customer service asks for."""

    group: str
    members: tuple[str, ...]


class DirectManager(Struct, frozen=True):
    """Who answers a colleague's requests; null: nobody yet."""

    user: str
    manager: str | None


class Desks(Struct, frozen=True):
    """Who answers what."""

    groups: tuple[GroupCard, ...]
    direct_managers: tuple[DirectManager, ...]


@get("/api/number-requests", requires="numbers.see", summary="Requests to release numbers, the newest first (§1.4)")
async def number_requests(call: Call, asked: RequestsAsked) -> Page[ReleaseRequest]:
    place = place_of(asked.after, int, str)
    rows: Sequence[Any] = await call.pool.fetch(
        sql("numbers/requests"),
        asked.state,
        asked.desk,
        asked.number,
        asked.asked_by,
        call.asker.user if asked.mine else None,
        None if place is None else to_datetime(min(max(place[0], EARLIEST_US), LATEST_US)),
        None if place is None else place[1],
        asked.limit + 1,
    )
    return page(rows, asked.limit, request_of, lambda row: cursor(from_datetime(row["asked_at"]), row["request_id"]))


@get("/api/number-requests/{request_id:str}", requires="numbers.see", summary="A request to release a number")
async def number_request(call: Call, request_id: str) -> ReleaseRequest:
    found = await looks_of(call).request(request_id)
    if found is None:
        raise NotThere("request", request_id)
    return found


@post(
    "/api/numbers/{number:str}/requests",
    requires="numbers.ask",
    summary="Ask that a number be released for sale («Да, принудительно»)",
    status=201,
    problems=(409,),
)
async def ask_for_number(call: Call, number: str, sent: ReleaseAsked) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.ask(
            record_of(call, tx),
            tx,
            call.asker,
            number,
            sent,
            request_id=f"r-{secrets.token_hex(6)}",
            now=to_moment(call.now),
            today=call.today.isoformat(),
            settings=call.services.numbers,
        )


@post(
    "/api/number-requests/{request_id:str}/ask-client",
    requires="numbers.ask",
    summary="Write to a client for the agreement that is needed from 6 unique callers on",
    problems=(409,),
)
async def ask_client(call: Call, request_id: str, sent: ClientAsked) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.ask_client(record_of(call, tx), tx, call.asker, request_id, sent, call.services.numbers)


@post(
    "/api/number-requests/{request_id:str}/consent",
    requires="numbers.ask",
    summary="Record the client's written agreement",
    problems=(409,),
)
async def record_consent(call: Call, request_id: str, sent: ConsentSent) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.consent(
            record_of(call, tx),
            tx,
            call.asker,
            request_id,
            sent,
            now=to_moment(call.now),
            today=call.today.isoformat(),
        )


@post(
    "/api/number-requests/{request_id:str}/approve",
    requires="numbers.release",
    summary="Release the number: it is for sale at once",
    problems=(409,),
)
async def approve_request(call: Call, request_id: str, sent: Answer) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.approve(
            record_of(call, tx),
            tx,
            call.asker,
            request_id,
            sent,
            now=to_moment(call.now),
            settings=call.services.numbers,
        )


@post(
    "/api/number-requests/{request_id:str}/refuse",
    requires="numbers.release",
    summary="Refuse to release the number",
    problems=(409,),
)
async def refuse_request(call: Call, request_id: str, sent: Answer) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.refuse(
            record_of(call, tx),
            tx,
            call.asker,
            request_id,
            sent,
            now=to_moment(call.now),
            settings=call.services.numbers,
        )


@post(
    "/api/number-requests/{request_id:str}/withdraw",
    requires="numbers.ask",
    summary="Take back a request of one's own",
    problems=(409,),
)
async def withdraw_request(call: Call, request_id: str, sent: Answer) -> ReleaseRequest:
    async with call.change(sent.reason) as tx:
        return await rules.withdraw(record_of(call, tx), tx, call.asker, request_id, sent, now=to_moment(call.now))


@get("/api/number-groups", requires="numbers.see", summary="Who answers requests to release numbers")
async def number_groups(call: Call) -> Desks:
    groups = {row["group_name"]: tuple(row["members"]) for row in await call.pool.fetch(sql("numbers/groups"))}
    managers = await call.pool.fetch(sql("numbers/direct_managers"))
    return Desks(
        tuple(GroupCard(group, groups.get(group, ())) for group in GROUPS),
        tuple(DirectManager(row["user_name"], row["manager"]) for row in managers),
    )


@put("/api/number-groups/{group:str}", requires="numbers.change", summary="Say who is in a group that answers requests")
async def put_number_group(call: Call, group: str, sent: GroupSent) -> GroupCard:
    known = next((one for one in GROUPS if one == group), None)
    if known is None:
        raise NotThere("group", group)
    async with call.change(sent.reason) as tx:
        members = await rules.put_group(record_of(call, tx), tx, call.asker, known, sent)
    return GroupCard(known, members)


@put("/api/direct-managers/{user:str}", requires="numbers.change", summary="Say who answers a colleague's requests")
async def put_direct_manager(call: Call, user: str, sent: DirectManagerSent) -> DirectManager:
    async with call.change(sent.reason) as tx:
        await rules.put_direct_manager(record_of(call, tx), tx, call.asker, user, sent)
    return DirectManager(user, sent.manager)


ROUTES = (
    number_requests,
    number_request,
    ask_for_number,
    ask_client,
    record_consent,
    approve_request,
    refuse_request,
    withdraw_request,
    number_groups,
    put_number_group,
    put_direct_manager,
)
