"""Finding clients (§1.1, §2.1) and the card that shows all of one (§3.3)."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from litestar import Response
from msgspec import Meta, Struct

from backoffice.clients import exact_pattern, name_patterns, number_wanted, word_parts
from backoffice.office import OUTSIDE
from backoffice.refusals import NotThere
from connectors.convert.common import NumberRule
from connectors.files.table_export import Cell
from connectors.http.call import Call
from connectors.http.exports import DEFAULT_ROWS, PRODUCES, ExportLimit, FileFormat, file_of
from connectors.http.paging import After, cursor, page, place_of
from connectors.http.problems import ErrorAt, unfit
from connectors.http.route import get
from connectors.postgres.clients import Place, Wanted
from connectors.postgres.clients import search as search_clients
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.queries import sql

Entered = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
ClientLimit = Annotated[int, Meta(ge=1, le=5_000, description="How many rows at most (D48).")]

e164 = NumberRule().e164
"""Numbers as people type them, in E.164 digits (D31)."""

_MONTHS = 12
_PIECE = 5_000
_WRITE_OFFS = 20
_MOST_OF_A_KIND = 20
_SHOWN = ("client_id", "kind", "name", "surname", "given_name", "patronymic", "city", "inn", "manager")


class ClientsAsked(Struct, frozen=True):
    """By account, name or company, INN, or a number that the client uses; all conditions together.

    `%` in a name: `Попов%` a word that begins so, `%сервис` one that ends so, `стр%вис` one or some in a row that begin
    and end so; in the others any signs. Numbers as people write them: `8 (495) 111-22-33`. None: everyone.
    """

    account_id: Entered | None = None
    name: Entered | None = None
    inn: Entered | None = None
    number: Entered | None = None
    after: After | None = None
    limit: ClientLimit = 100


class ClientsExported(Struct, frozen=True):
    """As in the search; a list of more than `limit` rows is refused rather than cut."""

    account_id: Entered | None = None
    name: Entered | None = None
    inn: Entered | None = None
    number: Entered | None = None
    file: FileFormat = "csv"
    limit: ExportLimit = DEFAULT_ROWS


class AccountLine(Struct, frozen=True):
    """An account of a client."""

    account_id: str
    status: str
    payment_mode: str
    tariff_plan_id: str
    currency: str


class ClientRow(Struct, frozen=True):
    """A client with what tells namesakes apart (§1.1)."""

    client_id: str
    kind: str | None
    name: str
    surname: str | None
    given_name: str | None
    patronymic: str | None
    city: str | None
    inn: str | None
    manager: str | None
    accounts: tuple[AccountLine, ...]


class ClientList(Struct, frozen=True):
    """Some of the clients that were asked for, by name, and how many there are in all. `next`: as in all lists."""

    items: tuple[ClientRow, ...]
    next: str | None
    total: int


class ClientCard(Struct, frozen=True):
    """All that is known of a client; each account has a card of its own."""

    client_id: str
    kind: str | None
    name: str
    surname: str | None
    given_name: str | None
    patronymic: str | None
    city: str | None
    inn: str | None
    kpp: str | None
    legal_address: str | None
    phones: tuple[str, ...]
    emails: tuple[str, ...]
    manager: str | None
    seller: str | None
    region: str | None
    comment: str | None
    created_at: str
    tags: tuple[str, ...]
    accounts: tuple[AccountLine, ...]


class Block(Struct, frozen=True):
    """The last block, which stays to be seen when it has ended."""

    at: str
    by: str
    reason: str
    ended_at: str | None


class Closing(Struct, frozen=True):
    """When the account was closed, by whom and why."""

    at: str
    by: str
    reason: str


class Product(Struct, frozen=True):
    """What is connected to the account."""

    service: str
    product: str | None
    since: str


class DiscountLine(Struct, frozen=True):
    """Per cent off; in millionths of a per cent. Service null: all services."""

    service: str | None
    percent_micros: int
    valid_from: str | None
    valid_to: str | None


class WriteOffLine(Struct, frozen=True):
    """A charge other than a call."""

    command_id: str
    at: str
    amount_micros: int
    reference: str | None
    author: str
    state: str


class ServiceTraffic(Struct, frozen=True):
    """Calls of one service in a month."""

    service: str
    calls: int
    seconds: int
    amount_micros: int


class MonthTraffic(Struct, frozen=True):
    """One month of the business time zone."""

    month: str
    calls: int
    seconds: int
    amount_micros: int
    services: tuple[ServiceTraffic, ...]


class AccountCard(Struct, frozen=True):
    """«Основная информация» and «Расходы по трафику и списания» of an account, as of `refreshed_at` (§3.3).

    `balance_at`: the latest event that moved it; null: nothing has yet. Debt or advance: what the balance comes to.
    """

    account_id: str
    client_id: str
    client_name: str
    manager: str | None
    refreshed_at: str
    status: str
    payment_mode: str
    tariff_plan_id: str
    currency: str
    place: str | None
    balance_micros: int
    balance_at: str | None
    held_micros: int
    running_calls: int
    max_concurrent_calls: int | None
    credit_limit_micros: int
    critical_balance_micros: int | None
    available_micros: int
    debt_micros: int
    advance_micros: int
    last_block: Block | None
    numbers: tuple[str, ...]
    products: tuple[Product, ...]
    discounts: tuple[DiscountLine, ...]
    traffic: tuple[MonthTraffic, ...]
    """Months with calls, the latest of the last twelve first."""
    write_offs: tuple[WriteOffLine, ...]
    """The latest twenty; all of them: /api/accounts/{account_id}/write-offs."""
    tags: tuple[str, ...]
    closed: Closing | None
    """Null: it is not closed, or was so when it was taken into the record."""


class SearchAsked(Struct, frozen=True):
    """Whatever is known: a name, an account, an INN, a number (§3.3)."""

    text: Entered


class FoundAccount(Struct, frozen=True):
    """An account that was found by its number."""

    account_id: str
    client_id: str
    client_name: str
    status: str


class FoundNumber(Struct, frozen=True):
    """A number of the capacity; `client_id` null: nobody holds it."""

    number: str
    status: str
    account_id: str | None
    client_id: str | None
    region: str | None


class FoundLock(Struct, frozen=True):
    """A lock in force, by its id, its mask, its author or the words of its reason."""

    lock_id: str
    kind: str
    digits: str
    account_id: str | None
    provider_id: str | None
    author: str
    reason: str


FoundKind = Literal["clients", "companies", "accounts", "numbers", "mentioned", "locks"]


class Mentions(Struct, frozen=True):
    """What mentions the text, by kind; of each kind the first twenty."""

    clients: tuple[ClientRow, ...]
    """By name."""
    companies: tuple[ClientRow, ...]
    """By INN."""
    accounts: tuple[FoundAccount, ...]
    """By id; then those of which the manager, the place, the comment or a tag has it."""
    numbers: tuple[FoundNumber, ...]
    mentioned: tuple[ClientRow, ...]
    """Clients whose id, city, manager, seller, region, address, KPP, phone, e-mail, comment or tag has it."""
    locks: tuple[FoundLock, ...] | None
    """Null: not for whoever asks."""
    more: tuple[FoundKind, ...]
    """Kinds of which there are more than these twenty: say more of what is looked for."""


@get("/api/clients", requires="clients.see", summary="Find clients (§1.1, §2.1)")
async def clients(call: Call, asked: ClientsAsked) -> ClientList:
    place = place_of(asked.after, str, str)
    total, rows = await _search(call, asked, place, asked.limit + 1)
    kept = await _with_accounts(call, rows[: asked.limit])
    found = page(rows, asked.limit, lambda row: row, lambda row: cursor(row["name"], row["client_id"]))
    return ClientList(kept, found.next, total)


@get("/api/clients/export", requires="clients.see", summary="Clients as a file", produces=PRODUCES)
async def export_clients(call: Call, asked: ClientsExported) -> Response[bytes]:
    total, _ = await _search(call, asked, None, 1)
    if total > asked.limit:
        raise unfit(ErrorAt(f"{total} clients were found, more than {asked.limit}: ask for fewer", parameter="limit"))

    async def pieces() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        place: tuple[Any, ...] | None = None
        left = asked.limit
        while left > 0:
            _, rows = await _search(call, asked, place, min(left, _PIECE))
            if not rows:
                return
            yield [_line(one) for one in await _with_accounts(call, rows)]
            place, left = (rows[-1]["name"], rows[-1]["client_id"]), left - len(rows)

    return file_of("clients", asked.file, _HEADER, pieces())


_HEADER = ("client_id", "kind", "name", "surname", "given_name", "patronymic", "city", "inn", "manager", "accounts")


def _line(one: ClientRow) -> tuple[Cell, ...]:
    known: list[Cell] = [getattr(one, name) for name in _HEADER[:-1]]
    return (*known, " ".join(account.account_id for account in one.accounts))


@get("/api/clients/{client_id:str}", requires="clients.see", summary="A client's card (§3.3)", problems=(404,))
async def client(call: Call, client_id: str) -> ClientCard:
    row = await call.pool.fetchrow(sql("clients/client"), client_id)
    if row is None:
        raise NotThere("client", client_id)
    accounts = await _accounts(call, [client_id])
    as_they_are = {name: value for name, value in row.items() if name not in ("phones", "emails", "created_at", "tags")}
    return ClientCard(
        **as_they_are,
        phones=tuple(row["phones"]),
        emails=tuple(row["emails"]),
        created_at=to_moment(row["created_at"]),
        tags=tuple(row["tags"]),
        accounts=accounts.get(client_id, ()),
    )


@get(
    "/api/accounts/{account_id:str}/card",
    requires="money.see",
    summary="All of an account, asked now («ОБНОВИТЬ», §3.3)",
    problems=(404,),
)
async def account_card(call: Call, account_id: str) -> AccountCard:
    row = await call.pool.fetchrow(sql("clients/card"), account_id, OUTSIDE)
    if row is None:
        raise NotThere("account", account_id)
    zone = call.services.engine.business_time_zone
    traffic = await call.pool.fetch(sql("clients/traffic"), account_id, _months_ago(call, zone), zone)
    products = await call.pool.fetch(sql("clients/products"), account_id)
    discounts = await call.pool.fetch(sql("clients/discounts"), account_id)
    write_offs = await call.pool.fetch(sql("clients/write_offs"), account_id, _WRITE_OFFS, OUTSIDE)
    numbers = await call.pool.fetch(sql("clients/numbers_of_account"), account_id)
    balance, held, credit = row["balance_micros"], row["held_micros"], row["credit_limit_micros"]
    return AccountCard(
        account_id,
        row["client_id"],
        row["client_name"],
        row["manager"],
        to_moment(call.now),
        row["status"],
        row["payment_mode"],
        row["tariff_plan_id"],
        row["currency"],
        row["place"],
        balance,
        to_optional_text(row["balance_at"]),
        held,
        row["running_calls"],
        row["max_concurrent_calls"],
        credit,
        row["critical_balance_micros"],
        balance + credit - held,
        max(-balance, 0),
        max(balance, 0),
        None
        if row["blocked_at"] is None
        else Block(
            to_moment(row["blocked_at"]), row["blocked_by"], row["block_reason"], to_optional_text(row["unblocked_at"])
        ),
        tuple(one["number"] for one in numbers),
        tuple(Product(one["service"], one["product"], to_moment(one["connected_at"])) for one in products),
        tuple(
            DiscountLine(
                one["service"],
                one["percent_micros"],
                to_optional_text(one["valid_from"]),
                to_optional_text(one["valid_to"]),
            )
            for one in discounts
        ),
        _by_month(traffic),
        tuple(WriteOffLine(one["command_id"], to_moment(one["at"]), *one[2:]) for one in write_offs),
        tuple(row["tags"]),
        None
        if row["closed_at"] is None
        else Closing(to_moment(row["closed_at"]), row["closed_by"], row["close_reason"]),
    )


@get("/api/search", requires="clients.see", summary="Whatever mentions a text (§3.3)")
async def search(call: Call, asked: SearchAsked) -> Mentions:
    text = asked.text.strip()
    patterns, parts = list(name_patterns(text)), list(word_parts(text))
    number, most = number_wanted(text, e164), _MOST_OF_A_KIND + 1
    named = (await _search(call, ClientsAsked(name=text), None, most))[1] if patterns else []
    taxed = (await _search(call, ClientsAsked(inn=text), None, most))[1]
    whole = exact_pattern(text)
    accounts = await call.pool.fetch(sql("clients/found_accounts"), whole, parts, patterns or [_NOTHING], most)
    numbers = await call.pool.fetch(sql("clients/numbers"), exact_pattern(number), most)
    mentioned = []
    if patterns:
        mentioned = await call.pool.fetch(sql("clients/mentioning"), parts, patterns, number, whole, most)
    locks = None
    if call.asker.may("locks.see"):
        locks = await call.pool.fetch(sql("clients/found_locks"), text, number, patterns or [_NOTHING], most)
    found: dict[FoundKind, list[Any]] = {
        "clients": named,
        "companies": taxed,
        "accounts": accounts,
        "numbers": numbers,
        "mentioned": mentioned,
        "locks": locks or [],
    }
    shown = {kind: rows[:_MOST_OF_A_KIND] for kind, rows in found.items()}
    return Mentions(
        await _with_accounts(call, shown["clients"]),
        await _with_accounts(call, shown["companies"]),
        tuple(FoundAccount(*row) for row in shown["accounts"]),
        tuple(FoundNumber(*row) for row in shown["numbers"]),
        await _with_accounts(call, shown["mentioned"]),
        None if locks is None else tuple(FoundLock(*row) for row in shown["locks"]),
        tuple(kind for kind, rows in found.items() if len(rows) > _MOST_OF_A_KIND),
    )


_NOTHING = ""
"""A pattern that no words fit."""


async def _search(
    call: Call, asked: ClientsAsked | ClientsExported, place: tuple[Any, ...] | None, limit: int
) -> tuple[int, list[Any]]:
    if asked.name is not None and not name_patterns(asked.name) and asked.name.strip().strip("%"):
        raise unfit(ErrorAt("has no word to look for", parameter="name"))
    number = None if asked.number is None else number_wanted(asked.number, e164)
    wanted = Wanted(asked.account_id, asked.name, asked.inn, number)
    return await search_clients(call.pool, wanted, after=None if place is None else Place(*place), limit=limit)


async def _with_accounts(call: Call, rows: list[Any]) -> tuple[ClientRow, ...]:
    accounts = await _accounts(call, [row["client_id"] for row in rows])
    return tuple(
        ClientRow(**{name: row[name] for name in _SHOWN}, accounts=accounts.get(row["client_id"], ())) for row in rows
    )


async def _accounts(call: Call, client_ids: list[str]) -> dict[str, tuple[AccountLine, ...]]:
    found: dict[str, tuple[AccountLine, ...]] = {}
    for row in await call.pool.fetch(sql("clients/accounts"), client_ids):
        client_id, *line = row
        found[client_id] = (*found.get(client_id, ()), AccountLine(*line))
    return found


def _months_ago(call: Call, zone: str) -> datetime:
    """The beginning of the month eleven before this one."""
    year, month = divmod(call.today.year * 12 + call.today.month - _MONTHS, 12)
    return datetime(year, month + 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _by_month(rows: list[Any]) -> tuple[MonthTraffic, ...]:
    months: dict[str, list[ServiceTraffic]] = {}
    for row in rows:
        month, *line = row
        months.setdefault(month, []).append(ServiceTraffic(*line))
    return tuple(
        MonthTraffic(
            month,
            sum(one.calls for one in services),
            sum(one.seconds for one in services),
            sum(one.amount_micros for one in services),
            tuple(services),
        )
        for month, services in months.items()
    )


ROUTES = (clients, export_clients, client, account_card, search)
