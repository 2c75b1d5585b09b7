"""The office's tables, one thing at a time: clients, accounts and what is ordered for them, providers, tariff plans,
bands, numbers, discounts, tags. Everything that an engine's reference data are made of can be entered here; prices and
locks have areas of their own.

PUT says how a thing is to be, whether it is there or not: sent twice, it changes nothing the second time.
"""

import secrets
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict

from backoffice import office as rules
from backoffice.numbers.sale import release_all
from backoffice.office import (
    ENTERED,
    MONEY,
    OUTSIDE,
    AccountData,
    AccountSent,
    BandSent,
    Client,
    ClientSent,
    Command,
    CommandKind,
    ConnectedService,
    DiscountsSent,
    MoneySent,
    Now,
    NumberSent,
    OrderSent,
    PaymentSent,
    Plan,
    ProviderSent,
    RemovalSent,
    ServiceSent,
    Tag,
    TagSent,
    TariffPlanSent,
)
from backoffice.refusals import NotThere
from backoffice.words import Reason
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.reading import moment_of
from connectors.http.route import delete, get, post, put
from connectors.postgres.moments import to_moment
from connectors.postgres.numbers_change import NumbersRecord
from connectors.postgres.office import (
    OfficeRecord,
    band_of,
    command_of,
    discounts_of,
    number_of,
    plan_of,
    service_of,
)
from connectors.postgres.queries import sql
from schemas.reference import AccountDiscounts, Band, Number, Provider
from schemas.times import from_datetime, to_datetime
from schemas.words import Moment


class PageAsked(Struct, frozen=True):
    """Which page."""

    after: After | None = None
    limit: Limit = 100


class CommandsAsked(Struct, frozen=True):
    """Which orders, by booking time; the newest come first."""

    since: Moment | None = None
    until: Moment | None = None
    after: After | None = None
    limit: Limit = 100


class Services(Struct, frozen=True):
    """Services of an account, those that are connected no more among them; the newest come first."""

    services: tuple[ConnectedService, ...]


class HangSent(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a tag is hung on or taken off."""

    reason: Reason = ENTERED


# -- clients ----------------------------------------------------------------------------------------------------------


@put("/api/clients/{client_id:str}", requires="clients.change", summary="Enter or change a client")
async def put_client(call: Call, client_id: str, sent: ClientSent) -> Client:
    async with call.change(sent.reason) as tx:
        return await rules.put_client(OfficeRecord(tx), tx, client_id, sent)


@get("/api/tags", requires="clients.see", summary="Tags")
async def tags(call: Call, asked: PageAsked) -> Page[Tag]:
    place = place_of(asked.after, str)
    rows = await call.pool.fetch(sql("office_api/tags"), "" if place is None else place[0], asked.limit + 1)
    return page(rows, asked.limit, lambda row: Tag(*row), lambda row: cursor(row["tag"]))


@put("/api/tags/{tag:str}", requires="clients.change", summary="Enter or rename a tag")
async def put_tag(call: Call, tag: str, sent: TagSent) -> Tag:
    async with call.change(sent.reason) as tx:
        return await rules.put_tag(OfficeRecord(tx), tx, tag, sent)


@put("/api/clients/{client_id:str}/tags/{tag:str}", requires="clients.change", summary="Hang a tag on a client")
async def hang_tag(call: Call, client_id: str, tag: str, sent: HangSent) -> None:
    async with call.change(sent.reason) as tx:
        await rules.hang_tag(OfficeRecord(tx), tx, client_id, tag, hang=True)


@delete("/api/clients/{client_id:str}/tags/{tag:str}", requires="clients.change", summary="Take a tag off a client")
async def take_tag(call: Call, client_id: str, tag: str) -> None:
    async with call.change("taken off") as tx:
        await rules.hang_tag(OfficeRecord(tx), tx, client_id, tag, hang=False)


# -- accounts ---------------------------------------------------------------------------------------------------------


class AccountShown(Struct, frozen=True):
    """An account as the office has it; what it holds now is the engine's to say. What it was opened
    with and its credit limit are null for whoever may not see money."""

    account_id: str
    client_id: str
    tariff_plan_id: str
    payment_mode: Literal["prepaid", "postpaid"]
    currency: str
    opening_balance_micros: int | None
    opening_status: Literal["active", "blocked", "closed"]
    credit_limit_micros: int | None
    critical_balance_micros: int | None
    place: str | None
    max_concurrent_calls: int | None
    status: Literal["active", "blocked", "closed"]
    """As the office ordered it."""
    manager: str | None
    comment: str | None


_AMOUNTS = ("opening_balance_micros", "credit_limit_micros")


def _shown(call: Call, found: AccountData) -> AccountShown:
    values = asdict(found)
    if not call.asker.may("money.see"):
        values |= dict.fromkeys(_AMOUNTS)
    return AccountShown(**values)


@get("/api/accounts/{account_id:str}", requires="accounts.see", summary="An account as the office has it")
async def account(call: Call, account_id: str) -> AccountShown:
    return _shown(call, await _account(call, account_id))


async def _account(call: Call, account_id: str) -> AccountData:
    row = await call.pool.fetchrow(sql("office_api/account_seen"), account_id)
    if row is None:
        raise NotThere("account", account_id)
    return AccountData(*row)


@put(
    "/api/accounts/{account_id:str}",
    requires="accounts.change",
    summary="Open an account, or change one",
    problems=(409,),
)
async def put_account(call: Call, account_id: str, sent: AccountSent) -> AccountShown:
    """An opening balance and a changed credit limit take money.top_up besides."""
    async with call.change(sent.reason) as tx:
        return _shown(call, await rules.put_account(OfficeRecord(tx), tx, call.asker, account_id, sent))


@get("/api/accounts/{account_id:str}/discounts", requires="discounts.see", summary="Discounts of an account (§3.3)")
async def discounts(call: Call, account_id: str) -> AccountDiscounts:
    await _account(call, account_id)
    return discounts_of(account_id, await call.pool.fetch(sql("office_api/discounts"), account_id))


@put("/api/accounts/{account_id:str}/discounts", requires="discounts.change", summary="Say all discounts of an account")
async def put_discounts(call: Call, account_id: str, sent: DiscountsSent) -> AccountDiscounts:
    async with call.change(sent.reason) as tx:
        return await rules.put_discounts(OfficeRecord(tx), tx, account_id, sent)


@get("/api/accounts/{account_id:str}/services", requires="accounts.see", summary="Services of an account (§2.5)")
async def services(call: Call, account_id: str) -> Services:
    await _account(call, account_id)
    rows = await call.pool.fetch(sql("office_api/services"), account_id)
    return Services(tuple(service_of(row) for row in rows))


@post(
    "/api/accounts/{account_id:str}/services",
    requires="accounts.change",
    summary="Connect a service to an account",
    status=201,
    problems=(409,),
)
async def connect_service(call: Call, account_id: str, sent: ServiceSent) -> ConnectedService:
    async with call.change(sent.reason) as tx:
        return await rules.connect_service(OfficeRecord(tx), tx, account_id, sent, call.now)


@post(
    "/api/accounts/{account_id:str}/services/{service:str}/disconnect",
    requires="accounts.change",
    summary="Disconnect a service from an account",
)
async def disconnect_service(call: Call, account_id: str, service: str, sent: RemovalSent) -> ConnectedService:
    async with call.change(sent.reason) as tx:
        return await rules.disconnect_service(OfficeRecord(tx), tx, account_id, service, call.now)


# -- orders to the engine ---------------------------------------------------------------------------------------------


async def _commands(call: Call, account_id: str, kinds: tuple[CommandKind, ...], asked: CommandsAsked) -> Page[Command]:
    await _account(call, account_id)
    place = place_of(asked.after, int, str)
    rows = await call.pool.fetch(
        sql("office_api/commands"),
        account_id,
        list(kinds),
        moment_of(asked.since, "since"),
        moment_of(asked.until, "until"),
        None if place is None else to_datetime(min(max(place[0], 0), 2**52)),
        None if place is None else place[1],
        asked.limit + 1,
        OUTSIDE,
    )
    return page(rows, asked.limit, command_of, _place)


def _place(row: Any) -> str:
    return cursor(from_datetime(row["at"]), row["command_id"])


@get("/api/accounts/{account_id:str}/payments", requires="money.see", summary="Payments: real money that came (§3.5)")
async def payments(call: Call, account_id: str, asked: CommandsAsked) -> Page[Command]:
    return await _commands(call, account_id, ("payment",), asked)


@get("/api/accounts/{account_id:str}/top-ups", requires="money.see", summary="Top-ups: virtual additions (§3.5)")
async def top_ups(call: Call, account_id: str, asked: CommandsAsked) -> Page[Command]:
    return await _commands(call, account_id, ("top_up",), asked)


@get("/api/accounts/{account_id:str}/write-offs", requires="money.see", summary="Write-offs other than calls (§3.3)")
async def write_offs(call: Call, account_id: str, asked: CommandsAsked) -> Page[Command]:
    return await _commands(call, account_id, ("write_off",), asked)


@get(
    "/api/accounts/{account_id:str}/corrections",
    requires="money.see",
    summary="Corrections: calls that were rated again",
)
async def corrections(call: Call, account_id: str, asked: CommandsAsked) -> Page[Command]:
    return await _commands(call, account_id, ("correction",), asked)


@get("/api/accounts/{account_id:str}/orders", requires="accounts.see", summary="Blocks, unblocks and the closing")
async def orders(call: Call, account_id: str, asked: CommandsAsked) -> Page[Command]:
    return await _commands(call, account_id, ("block", "unblock", "close"), asked)


async def _book(call: Call, kind: CommandKind, account_id: str, sent: MoneySent) -> Command:
    assert kind in MONEY
    async with call.change(sent.reason) as tx:
        return await rules.book(OfficeRecord(tx), tx, kind, account_id, sent, new_command_id(), call.now)


def new_command_id() -> str:
    """An id for an order that has none of its own."""
    return f"c-{secrets.token_hex(12)}"


@post(
    "/api/accounts/{account_id:str}/payments",
    requires="money.pay",
    summary="Enter a payment",
    status=201,
    once="required",
    problems=(409,),
)
async def enter_payment(call: Call, account_id: str, sent: PaymentSent) -> Command:
    return await _book(call, "payment", account_id, sent)


@post(
    "/api/accounts/{account_id:str}/top-ups",
    requires="money.top_up",
    summary="Enter a top-up, which may be negative",
    status=201,
    once="required",
    problems=(409,),
)
async def enter_top_up(call: Call, account_id: str, sent: MoneySent) -> Command:
    return await _book(call, "top_up", account_id, sent)


@post(
    "/api/accounts/{account_id:str}/write-offs",
    requires="money.write_off",
    summary="Enter a write-off; a negative one gives money back",
    status=201,
    once="required",
    problems=(409,),
)
async def enter_write_off(call: Call, account_id: str, sent: MoneySent) -> Command:
    return await _book(call, "write_off", account_id, sent)


async def _order(call: Call, kind: Literal["block", "unblock"], account_id: str, sent: OrderSent) -> Command:
    async with call.change(sent.reason) as tx:
        return await rules.order(OfficeRecord(tx), tx, kind, account_id, sent, new_command_id(), call.now)


@post("/api/accounts/{account_id:str}/block", requires="accounts.block", summary="Block an account", problems=(409,))
async def block(call: Call, account_id: str, sent: OrderSent) -> Command:
    return await _order(call, "block", account_id, sent)


@post("/api/accounts/{account_id:str}/unblock", requires="accounts.block", summary="End a block", problems=(409,))
async def unblock(call: Call, account_id: str, sent: OrderSent) -> Command:
    return await _order(call, "unblock", account_id, sent)


@post(
    "/api/accounts/{account_id:str}/close",
    requires="accounts.close",
    summary="Close an account for good",
    problems=(409,),
)
async def close(call: Call, account_id: str, sent: OrderSent) -> Command:
    """With the contract the numbers go, to quarantine (§1.4)."""
    async with call.change(sent.reason) as tx:
        command = await rules.order(OfficeRecord(tx), tx, "close", account_id, sent, new_command_id(), call.now)
        record = NumbersRecord(tx, today=call.today, numbers=call.services.numbers, engine=call.services.engine)
        now, today = to_moment(call.now), call.today.isoformat()
        await release_all(record, tx, account_id, sent.reason, now=now, today=today)
    return command


# -- providers --------------------------------------------------------------------------------------------------------


@get("/api/providers", requires="providers.see", summary="Providers")
async def providers(call: Call, asked: PageAsked) -> Page[Provider]:
    place = place_of(asked.after, str)
    rows = await call.pool.fetch(sql("office_api/providers"), "" if place is None else place[0], asked.limit + 1)
    return page(rows, asked.limit, lambda row: Provider(*row), lambda row: cursor(row["provider_id"]))


@put("/api/providers/{provider_id:str}", requires="providers.change", summary="Enter or change a provider")
async def put_provider(call: Call, provider_id: str, sent: ProviderSent) -> Provider:
    async with call.change(sent.reason) as tx:
        return await rules.put_provider(OfficeRecord(tx), tx, provider_id, sent)


@post(
    "/api/providers/{provider_id:str}/remove",
    requires="providers.change",
    summary="Take a provider out, which nothing needs any more",
    problems=(409,),
)
async def remove_provider(call: Call, provider_id: str, sent: RemovalSent) -> None:
    async with call.change(sent.reason) as tx:
        await rules.remove_provider(OfficeRecord(tx), tx, provider_id)


# -- tariff plans -----------------------------------------------------------------------------------------------------


@get("/api/tariff-plans", requires="plans.see", summary="Tariff plans")
async def plans(call: Call, asked: PageAsked) -> Page[Plan]:
    place = place_of(asked.after, str)
    rows = await call.pool.fetch(sql("office_api/plans"), "" if place is None else place[0], asked.limit + 1)
    return page(rows, asked.limit, plan_of, lambda row: cursor(row["tariff_plan_id"]))


@put("/api/tariff-plans/{tariff_plan_id:str}", requires="plans.change", summary="Enter or change a tariff plan")
async def put_plan(call: Call, tariff_plan_id: str, sent: TariffPlanSent) -> Plan:
    async with call.change(sent.reason) as tx:
        return await rules.put_plan(OfficeRecord(tx), tx, tariff_plan_id, sent)


@post(
    "/api/tariff-plans/{tariff_plan_id:str}/remove",
    requires="plans.change",
    summary="Take out a tariff plan that no account has",
    problems=(409,),
)
async def remove_plan(call: Call, tariff_plan_id: str, sent: RemovalSent) -> None:
    async with call.change(sent.reason) as tx:
        await rules.remove_plan(OfficeRecord(tx), tx, tariff_plan_id)


# -- bands ------------------------------------------------------------------------------------------------------------


@get("/api/bands", requires="bands.see", summary="Bands of time")
async def bands(call: Call, asked: PageAsked) -> Page[Band]:
    place = place_of(asked.after, str)
    rows = await call.pool.fetch(sql("office_api/bands"), "" if place is None else place[0], asked.limit + 1)
    return page(rows, asked.limit, band_of, lambda row: cursor(row["band_id"]))


@put("/api/bands/{band_id:str}", requires="bands.change", summary="Enter or change a band of time")
async def put_band(call: Call, band_id: str, sent: BandSent) -> Band:
    async with call.change(sent.reason) as tx:
        return await rules.put_band(OfficeRecord(tx), tx, band_id, sent, call.services.engine.business_time_zone)


@post(
    "/api/bands/{band_id:str}/remove",
    requires="bands.change",
    summary="Take out a band that no price is limited to",
    problems=(409,),
)
async def remove_band(call: Call, band_id: str, sent: RemovalSent) -> None:
    async with call.change(sent.reason) as tx:
        await rules.remove_band(OfficeRecord(tx), tx, band_id)


# -- numbers ----------------------------------------------------------------------------------------------------------


@get("/api/numbers/{number:str}", requires="numbers.see", summary="A number of the capacity")
async def number(call: Call, number: str) -> Number:
    row = await call.pool.fetchrow(sql("office_api/number_seen"), number)
    if row is None:
        raise NotThere("number", number)
    return number_of(row)


@put(
    "/api/numbers/{number:str}",
    requires="numbers.change",
    summary="Enter a number into the capacity, or change what is known of it",
    problems=(409,),
)
async def put_number(call: Call, number: str, sent: NumberSent) -> Number:
    async with call.change(sent.reason) as tx:
        return await rules.put_number(OfficeRecord(tx), tx, number, sent, Now(call.now, call.today))


ROUTES = (
    put_client,
    tags,
    put_tag,
    hang_tag,
    take_tag,
    account,
    put_account,
    discounts,
    put_discounts,
    services,
    connect_service,
    disconnect_service,
    payments,
    top_ups,
    write_offs,
    corrections,
    orders,
    enter_payment,
    enter_top_up,
    enter_write_off,
    block,
    unblock,
    close,
    providers,
    put_provider,
    remove_provider,
    plans,
    put_plan,
    remove_plan,
    bands,
    put_band,
    remove_band,
    number,
    put_number,
)
