"""The office's tables, entered and changed one thing at a time: clients, accounts, providers, plans, bands, numbers,
discounts, and orders to the engine for accounts: payments, top-ups, write-offs, blocks.

Use cases over ports: each loads what is there, decides, saves, and leaves its words in the audit and for the engine.
They hold what the engine would not take: the tables always fit together. Prices and locks have use cases of their own.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from backoffice.access import Asker, missing
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Unfit
from backoffice.words import (
    END,
    BandDay,
    Currency,
    Day,
    Digits,
    Email,
    Id,
    Inn,
    Line,
    Moment,
    Money,
    Order,
    Reason,
    Text,
    Unsigned,
    shaped,
)
from schemas import events
from schemas.reference import Account, AccountDiscounts, Band, Discount, Number, PlanList, Provider, TariffPlan
from schemas.times import from_datetime, to_text, to_us

MOST_ENTRIES = 1_000
"""Lists of a plan, discounts of an account, dates of a band: more is a mistake."""

ENTERED = "entered"

CommandKind = Literal["payment", "top_up", "write_off", "correction", "block", "unblock", "close"]
MONEY: tuple[CommandKind, ...] = ("payment", "top_up", "write_off")


class _Sent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sent: strict about its fields."""


# -- what is sent -----------------------------------------------------------------------------------------------------


class ClientSent(_Sent, frozen=True):
    """A client as it is to be. A person has surname and given name; the full name follows from them if left out."""

    kind: Literal["company", "entrepreneur", "person"]
    name: Annotated[Text, Meta(examples=["ООО «Строй Сервис»"])] | None = None
    surname: Line | None = None
    given_name: Line | None = None
    patronymic: Line | None = None
    city: Line | None = None
    inn: Inn | None = None
    kpp: Annotated[str, shaped(r"^[0-9]{9}" + END, "is no KPP; it has 9 digits")] | None = None
    legal_address: Text | None = None
    phones: Annotated[tuple[Digits, ...], Meta(max_length=50)] = ()
    """To reach them by, in E.164."""
    emails: Annotated[tuple[Email, ...], Meta(max_length=50)] = ()
    """The first one is the contact address."""
    manager: Line | None = None
    """The user who is responsible."""
    seller: Line | None = None
    """The agent who brought them."""
    region: Line | None = None
    """Регион учёта."""
    comment: Text | None = None
    reason: Reason = ENTERED


class AccountSent(_Sent, frozen=True):
    """An account as it is to be. What it opens with (`currency`, `opening_…`) counts once, when it is opened.

    An opening balance, and a credit limit that changes, are money without a payment: they take `money.top_up`.
    """

    client_id: Id
    tariff_plan_id: Id
    payment_mode: Literal["prepaid", "postpaid"]
    currency: Currency = "RUB"
    opening_balance_micros: Money | None = None
    opening_status: Literal["active", "blocked"] | None = None
    credit_limit_micros: Unsigned | None = None
    """Left out: as it is; of an account that is opened, 0."""
    critical_balance_micros: Money | None = None
    place: Id | None = None
    max_concurrent_calls: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    manager: Line | None = None
    comment: Text | None = None
    reason: Reason = ENTERED


class ProviderSent(_Sent, frozen=True):
    """A provider as it is to be."""

    name: Annotated[Text, Meta(examples=["Москва, Мегафон"])]
    priority: Order = 0
    place: Id | None = None
    pdgi: bool = False
    own: bool = False
    reason: Reason = ENTERED


class PlanListSent(_Sent, frozen=True):
    """A retail list of a plan; the lower priority wins between prefixes of the same length."""

    price_list_id: Id
    priority: Order = 0


class TariffPlanSent(_Sent, frozen=True):
    """A tariff plan as it is to be."""

    lists: Annotated[tuple[PlanListSent, ...], Meta(min_length=1, max_length=MOST_ENTRIES)]
    name: Text | None = None
    """The id if left out."""
    forbid_loss: bool = False
    reason: Reason = ENTERED


class BandSent(_Sent, frozen=True):
    """A band of time as it is to be. Minutes count from midnight; an end at or before the start is on the next day."""

    weekdays: Annotated[tuple[Annotated[int, Meta(ge=1, le=7)], ...], Meta(max_length=7)] = ()
    """Monday is 1; none: any."""
    start_minute: Annotated[int, Meta(ge=0, le=1439)] = 0
    end_minute: Annotated[int, Meta(ge=0, le=1440)] = 1440
    dates: Annotated[
        tuple[BandDay, ...],
        Meta(max_length=MOST_ENTRIES),
    ] = ()
    """Days, or days of every year; none: any."""
    time_zone: Annotated[str, Meta(min_length=1, max_length=64, examples=["Europe/Moscow"])] | None = None
    """The business time zone if left out."""
    weight: Order = 0
    """The heavier wins where bands overlap."""
    reason: Reason = ENTERED


class NumberSent(_Sent, frozen=True):
    """A number of the capacity as it is to be. A status is taken when the number enters; then the rules move it."""

    status: Literal["free", "reserved", "in_use", "archive"] | None = None
    """Of a number that enters: free if left out. Left out for one that is there, or as it is."""
    account_id: Id | None = None
    place: Id | None = None
    region: Line | None = None
    provider_id: Id | None = None
    fmtn: bool = False
    joined_on: Day | None = None
    """Today if left out when it enters."""
    archived_on: Day | None = None
    saleable: Literal["depends_on_ncv", "no"] = "depends_on_ncv"
    """A forced yes comes by approval alone (§1.4)."""
    reason: Reason = ENTERED


class DiscountSent(_Sent, frozen=True):
    """Per cent off an account's charges for a service (null: all), in millionths of a per cent."""

    percent_micros: Annotated[int, Meta(ge=0, le=100_000_000, examples=[12_500_000])]
    service: Id | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None


class DiscountsSent(_Sent, frozen=True):
    """All discounts of an account: those that are left out end."""

    discounts: Annotated[tuple[DiscountSent, ...], Meta(max_length=MOST_ENTRIES)]
    reason: Reason


class MoneySent(_Sent, frozen=True):
    """Money to be booked. Of a write-off a positive amount is taken off the balance."""

    amount_micros: Money
    reason: Reason = ENTERED
    command_id: Id | None = None
    """An id of one's own, such as the bank's: the same id is the same booking, and is made once."""
    at: Moment | None = None
    """Booking time; now if left out, never in the future."""
    reference: Text | None = None
    reverses: Id | None = None
    """The booking that this one takes back, whole."""


class PaymentSent(MoneySent, frozen=True):
    """Real money that has come (§3.5)."""

    source: Annotated[Id, Meta(examples=["bank"])] = "bank"


class OrderSent(_Sent, frozen=True):
    """Why an account is blocked, unblocked or closed."""

    reason: Reason
    command_id: Id | None = None


class RemovalSent(_Sent, frozen=True):
    """Why something goes."""

    reason: Reason


class ServiceSent(_Sent, frozen=True):
    """A service that is connected to an account, by a product."""

    service: Annotated[Id, Meta(examples=["calls_rec"])]
    product: Line | None = None
    reason: Reason = ENTERED


class TagSent(_Sent, frozen=True):
    """A tag as it is to be."""

    name: Line
    reason: Reason = ENTERED


# -- what there is ----------------------------------------------------------------------------------------------------


class Client(Struct, frozen=True):
    """A client (§1.1)."""

    client_id: str
    kind: Literal["company", "entrepreneur", "person"]
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


class AccountData(Struct, frozen=True):
    """An account as the office has it; what it holds now is the engine's to say."""

    account_id: str
    client_id: str
    tariff_plan_id: str
    payment_mode: Literal["prepaid", "postpaid"]
    currency: str
    opening_balance_micros: int
    opening_status: Literal["active", "blocked", "closed"]
    credit_limit_micros: int
    critical_balance_micros: int | None
    place: str | None
    max_concurrent_calls: int | None
    status: Literal["active", "blocked", "closed"]
    """As the office ordered it."""
    manager: str | None
    comment: str | None

    def record(self) -> Account:
        """As the engine takes it: with what it opened with."""
        return Account(
            self.account_id,
            self.client_id,
            self.tariff_plan_id,
            self.payment_mode,
            self.currency,
            self.opening_balance_micros,
            self.credit_limit_micros,
            self.critical_balance_micros,
            self.opening_status,
            self.place,
            self.max_concurrent_calls,
        )


class Plan(Struct, frozen=True):
    """A tariff plan."""

    tariff_plan_id: str
    name: str
    lists: tuple[PlanList, ...]
    forbid_loss: bool

    def record(self) -> TariffPlan:
        """As the engine takes it."""
        return TariffPlan(self.tariff_plan_id, self.lists, self.forbid_loss)


class Command(Struct, frozen=True):
    """An order for an account, and what became of it."""

    command_id: str
    kind: CommandKind
    account_id: str
    at: str
    amount_micros: int | None
    reference: str | None
    source: str | None
    reason: str | None
    reverses: str | None
    author: str
    ordered_at: str
    state: Literal["ordered", "applied", "rejected"]
    """As known here; the engine has the last word."""
    state_at: str | None
    rejected_why: str | None
    origin: Literal["office", "outside"] = "office"
    """`outside`: it came to the engine past the office, as a bank's payments do; the rest is what the engine told."""


OUTSIDE = "outside the office"
"""Who ordered what came past the office. No user is called so."""


class ConnectedService(Struct, frozen=True):
    """A service of an account (§2.5)."""

    account_id: str
    service: str
    product: str | None
    connected_at: str
    connected_by: str
    disconnected_at: str | None
    disconnected_by: str | None


class Tag(Struct, frozen=True):
    """A mark for clients and accounts."""

    tag: str
    name: str


class Now(NamedTuple):
    """The business moment and its civil day."""

    at: datetime
    today: date


class Trail(Protocol):
    """The change that a use case is part of: its audit, and what the engine is told."""

    @property
    def actor(self) -> str: ...
    async def audit(self, entity: str, entity_id: str, action: str, before: object, after: object) -> None: ...
    async def publish(self, kind: str, key: str, payload: object) -> None: ...


class Office(Protocol):
    """What the use cases need of the record. What is loaded stays as it is until the change is committed."""

    async def client(self, client_id: str) -> Client | None: ...
    async def save_client(self, client: Client, words: Sequence[str]) -> None: ...
    async def account(self, account_id: str) -> AccountData | None: ...
    async def save_account(self, account: AccountData) -> None: ...
    async def status_now(self, account_id: str) -> str:
        """What the engine told of last, unless an order of the office's is under way to it."""
        ...

    async def set_status(self, account_id: str, status: str) -> None: ...
    async def block(self, account_id: str, command_id: str | None) -> None:
        """Since when and why it is blocked; no command: since it is in the record."""
        ...

    async def unblock(self, account_id: str, command_id: str) -> None: ...
    async def works_here(self, user: str) -> bool:
        """Whether there is such a user, who is not disabled."""
        ...

    async def place_known(self, place: str) -> bool:
        """Whether a price or a provider has the place, or no price knows places at all."""
        ...

    async def other_currency(self, currency: str) -> str | None:
        """Another currency that accounts or lists have; None where there is none."""
        ...

    async def provider(self, provider_id: str) -> Provider | None: ...
    async def save_provider(self, provider: Provider) -> None: ...
    async def remove_provider(self, provider_id: str) -> None: ...
    async def users_of_provider(self, provider_id: str) -> Sequence[str]:
        """What still refers to it, in words."""
        ...

    async def plan(self, tariff_plan_id: str) -> Plan | None: ...
    async def save_plan(self, plan: Plan) -> None: ...
    async def remove_plan(self, tariff_plan_id: str) -> None: ...
    async def users_of_plan(self, tariff_plan_id: str) -> Sequence[str]: ...
    async def lists_in_force(self) -> Mapping[str, str]:
        """Kinds of the price lists that are in force now, by their ids; none of them goes before the change is made."""
        ...

    async def band(self, band_id: str) -> Band | None: ...
    async def save_band(self, band: Band) -> None: ...
    async def remove_band(self, band_id: str) -> None: ...
    async def users_of_band(self, band_id: str) -> Sequence[str]: ...
    async def number(self, number: str) -> Number | None: ...
    async def save_number(self, number: Number) -> None: ...
    async def discounts(self, account_id: str) -> AccountDiscounts: ...
    async def save_discounts(self, discounts: AccountDiscounts) -> None: ...
    async def command(self, command_id: str) -> Command | None: ...
    async def reversed_by(self, command_id: str) -> str | None: ...
    async def save_command(self, command: Command) -> None: ...
    async def service(self, account_id: str, service: str) -> ConnectedService | None:
        """The one that is connected now."""
        ...

    async def connect_service(self, service: ConnectedService) -> None: ...
    async def disconnect_service(self, service: ConnectedService) -> None: ...
    async def tag(self, tag: str) -> Tag | None: ...
    async def save_tag(self, tag: Tag) -> None: ...
    async def tagged(self, client_id: str, tag: str) -> bool: ...
    async def hang_tag(self, client_id: str, tag: str) -> None: ...
    async def take_tag(self, client_id: str, tag: str) -> None: ...


# -- clients and accounts ---------------------------------------------------------------------------------------------


async def put_client(office: Office, trail: Trail, client_id: str, sent: ClientSent) -> Client:
    """Enters a client, or changes one. Raises Unfit."""
    check_id(client_id)
    name = sent.name or " ".join(part for part in (sent.surname, sent.given_name, sent.patronymic) if part)
    problems = []
    if not name:
        problems.append(FieldProblem("/name", "is missing: give the name, or a person's surname and given name"))
    if sent.inn is not None and len(sent.inn) != (10 if sent.kind == "company" else 12):
        digits = 10 if sent.kind == "company" else 12
        problems.append(FieldProblem("/inn", f"a {sent.kind}'s INN has {digits} digits"))
    if problems:
        raise Unfit(problems)
    client = Client(
        client_id,
        sent.kind,
        name,
        sent.surname,
        sent.given_name,
        sent.patronymic,
        sent.city,
        sent.inn,
        sent.kpp,
        sent.legal_address,
        sent.phones,
        sent.emails,
        sent.manager,
        sent.seller,
        sent.region,
        sent.comment,
    )
    before = await office.client(client_id)
    if problem := await _no_manager(office, sent.manager, None if before is None else before.manager):
        raise Unfit([problem])
    if client != before:
        await office.save_client(client, search_words(name, sent.surname, sent.given_name, sent.patronymic))
        await trail.audit("client", client_id, _action(before), before, client)
    return client


def words_of(text: str, *, keeping: str = "") -> tuple[str, ...]:
    """Words as they are searched (§1.1, D47): small letters, ё as е, between signs that are no letters or digits.

    `keeping`: signs that belong to words as well. `office.words_of` makes the same in the database.
    """
    small = unicodedata.normalize("NFC", text).lower().replace("ё", "е")
    return tuple("".join(sign if sign in keeping or _in_word(sign) else " " for sign in small).split())


def _in_word(sign: str) -> bool:
    return sign.isalpha() or sign in "0123456789"


def search_words(name: str, *more: str | None) -> tuple[str, ...]:
    """What a client is found by: the words of its name, in their order, and those of a person's names that are not
    among them."""
    words = words_of(name)
    others = (word for part in more if part is not None for word in words_of(part))
    return (*words, *dict.fromkeys(word for word in others if word not in words))


async def _no_manager(office: Office, manager: str | None, before: str | None) -> FieldProblem | None:
    """What is wrong with whoever is to be responsible; one who was before may have left since."""
    if manager is None or manager == before or await office.works_here(manager):
        return None
    return FieldProblem("/manager", f"nobody who works here is called {manager!r}: write the user's name")


def _check_money(who: Asker, sent: AccountSent, before: AccountData | None) -> None:
    """Raises NotAllowed where money would be given by whoever may not give any (§3.5)."""
    limit = 0 if before is None else before.credit_limit_micros
    given = []
    if before is None and sent.opening_balance_micros:
        given.append("opening_balance_micros")
    if sent.credit_limit_micros is not None and sent.credit_limit_micros != limit:
        given.append("credit_limit_micros")
    if given and not who.may("money.top_up"):
        raise NotAllowed(
            f"{' and '.join(given)} would give money without a payment, which takes money.top_up: leave it out, or let "
            "somebody of billing enter it",
            permission="money.top_up",
            ask=missing("money.top_up", who).ask,
        )


async def put_account(office: Office, trail: Trail, who: Asker, account_id: str, sent: AccountSent) -> AccountData:
    """Opens an account, or changes one. Raises Unfit; NotAllowed for money from whoever may give none; InTheWay for
    what was settled when it was opened."""
    check_id(account_id)
    before = await office.account(account_id)
    _check_money(who, sent, before)
    problems = []
    if await office.client(sent.client_id) is None:
        problems.append(FieldProblem("/client_id", f"there is no client {sent.client_id!r}: enter it first"))
    if await office.plan(sent.tariff_plan_id) is None:
        problems.append(FieldProblem("/tariff_plan_id", f"there is no tariff plan {sent.tariff_plan_id!r}"))
    if before is None and (other := await office.other_currency(sent.currency)) is not None:
        problems.append(
            FieldProblem("/currency", f"the operator's accounts and lists are in {other}: there is one currency")
        )
    if problem := await _no_manager(office, sent.manager, None if before is None else before.manager):
        problems.append(problem)
    known = sent.place is None or (before is not None and before.place == sent.place)
    if not known and sent.place is not None and not await office.place_known(sent.place):
        problems.append(FieldProblem("/place", f"no price and no provider knows the place {sent.place!r}"))
    if problems:
        raise Unfit(problems)
    if before is not None:
        for field, wanted, there in (
            ("currency", sent.currency, before.currency),
            ("opening_balance_micros", sent.opening_balance_micros, before.opening_balance_micros),
            ("opening_status", sent.opening_status, before.opening_status),
        ):
            if wanted is not None and wanted != there:
                raise InTheWay(
                    f"account {account_id!r} was opened with {field} {there}, which stays; payments, top-ups, "
                    "write-offs and blocks move it since"
                )
    opening_status = before.opening_status if before is not None else sent.opening_status or "active"
    account = AccountData(
        account_id,
        sent.client_id,
        sent.tariff_plan_id,
        sent.payment_mode,
        sent.currency,
        before.opening_balance_micros if before is not None else sent.opening_balance_micros or 0,
        opening_status,
        _limit(sent, before),
        sent.critical_balance_micros,
        sent.place,
        sent.max_concurrent_calls,
        before.status if before is not None else opening_status,
        sent.manager,
        sent.comment,
    )
    if account != before:
        await office.save_account(account)
        if before is None and account.status == "blocked":
            await office.block(account_id, None)
        await trail.audit("account", account_id, _action(before), before, account)
        if before is None or before.record() != account.record():
            await trail.publish("account", account_id, account.record())
    return account


def _limit(sent: AccountSent, before: AccountData | None) -> int:
    if sent.credit_limit_micros is not None:
        return sent.credit_limit_micros
    return 0 if before is None else before.credit_limit_micros


async def put_tag(office: Office, trail: Trail, tag: str, sent: TagSent) -> Tag:
    """Enters a tag, or names it anew."""
    check_id(tag)
    before, after = await office.tag(tag), Tag(tag, sent.name)
    if before != after:
        await office.save_tag(after)
        await trail.audit("tag", tag, _action(before), before, after)
    return after


async def hang_tag(office: Office, trail: Trail, client_id: str, tag: str, *, hang: bool) -> None:
    """Hangs a tag on a client, or takes it off (§1.3). Raises NotThere."""
    if await office.client(client_id) is None:
        raise NotThere("client", client_id)
    if await office.tag(tag) is None:
        raise NotThere("tag", tag)
    there = await office.tagged(client_id, tag)
    if there == hang:
        return
    await (office.hang_tag if hang else office.take_tag)(client_id, tag)
    told = {"client_id": client_id, "tag": tag}
    await trail.audit(
        "client_tag",
        f"{client_id}/{tag}",
        "hung" if hang else "taken off",
        None if hang else told,
        told if hang else None,
    )


# -- providers, plans, bands, numbers, discounts ----------------------------------------------------------------------


async def put_provider(office: Office, trail: Trail, provider_id: str, sent: ProviderSent) -> Provider:
    """Enters a provider, or changes one."""
    check_id(provider_id)
    before = await office.provider(provider_id)
    provider = Provider(provider_id, sent.name, sent.priority, sent.place, sent.pdgi, sent.own)
    if provider != before:
        await office.save_provider(provider)
        await _told(trail, "provider", provider_id, before, provider)
    return provider


async def remove_provider(office: Office, trail: Trail, provider_id: str) -> None:
    """Takes a provider out. Raises NotThere, and InTheWay while something refers to it."""
    before = await office.provider(provider_id)
    if before is None:
        raise NotThere("provider", provider_id)
    _nobody_uses(f"provider {provider_id!r}", await office.users_of_provider(provider_id))
    await office.remove_provider(provider_id)
    await _told(trail, "provider", provider_id, before, None)


async def put_plan(office: Office, trail: Trail, tariff_plan_id: str, sent: TariffPlanSent) -> Plan:
    """Enters a tariff plan, or changes one: its lists are retail lists in force. Raises Unfit."""
    check_id(tariff_plan_id)
    kinds = await office.lists_in_force()
    problems, seen = [], set()
    for place, entry in enumerate(sent.lists):
        pointer = f"/lists/{place}/price_list_id"
        match kinds.get(entry.price_list_id):
            case None:
                problems.append(
                    FieldProblem(pointer, f"no price list {entry.price_list_id!r} is in force: publish it first")
                )
            case "wholesale":
                problems.append(
                    FieldProblem(pointer, f"{entry.price_list_id!r} is a wholesale list; a plan has retail lists")
                )
            case _ if entry.price_list_id in seen:
                problems.append(FieldProblem(pointer, f"{entry.price_list_id!r} stands there twice"))
        seen.add(entry.price_list_id)
    if problems:
        raise Unfit(problems)
    before = await office.plan(tariff_plan_id)
    lists = tuple(PlanList(entry.price_list_id, entry.priority) for entry in sent.lists)
    plan = Plan(tariff_plan_id, sent.name or tariff_plan_id, lists, sent.forbid_loss)
    if plan != before:
        await office.save_plan(plan)
        await trail.audit("tariff_plan", tariff_plan_id, _action(before), before, plan)
        if before is None or before.record() != plan.record():
            await trail.publish("tariff_plan", tariff_plan_id, plan.record())
    return plan


async def remove_plan(office: Office, trail: Trail, tariff_plan_id: str) -> None:
    """Takes a plan out. Raises NotThere, and InTheWay while an account has it."""
    before = await office.plan(tariff_plan_id)
    if before is None:
        raise NotThere("tariff plan", tariff_plan_id)
    _nobody_uses(f"tariff plan {tariff_plan_id!r}", await office.users_of_plan(tariff_plan_id))
    await office.remove_plan(tariff_plan_id)
    await _told(trail, "tariff_plan", tariff_plan_id, before, None)


async def put_band(office: Office, trail: Trail, band_id: str, sent: BandSent, business_zone: str) -> Band:
    """Enters a band of time, or changes one. Raises Unfit."""
    check_id(band_id)
    problems = []
    zone = sent.time_zone or business_zone
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        problems.append(
            FieldProblem("/time_zone", f"{zone!r} is no time zone; write its IANA name, as in Europe/Moscow")
        )
    for place, text in enumerate(sent.dates):
        try:
            # A leap year, so that 29 February is a day of every year.
            date.fromisoformat(f"2000{text[1:]}" if text.startswith("--") else text)
        except ValueError:
            problems.append(FieldProblem(f"/dates/{place}", f"{text!r} is in no year's calendar"))
    if problems:
        raise Unfit(problems)
    before = await office.band(band_id)
    band = Band(
        band_id,
        tuple(sorted(set(sent.weekdays))),
        sent.start_minute,
        sent.end_minute,
        tuple(sorted(set(sent.dates))),
        zone,
        sent.weight,
    )
    if band != before:
        await office.save_band(band)
        await _told(trail, "band", band_id, before, band)
    return band


async def remove_band(office: Office, trail: Trail, band_id: str) -> None:
    """Takes a band out. Raises NotThere, and InTheWay while a price is limited to it."""
    before = await office.band(band_id)
    if before is None:
        raise NotThere("band", band_id)
    _nobody_uses(f"band {band_id!r}", await office.users_of_band(band_id))
    await office.remove_band(band_id)
    await _told(trail, "band", band_id, before, None)


async def put_number(office: Office, trail: Trail, number: str, sent: NumberSent, now: Now) -> Number:
    """Enters a number into the capacity, or changes what is known of one. Where it stands with its owner and in
    quarantine is not changed here: selling, releasing and resting have rules of their own (§1.4).

    Raises Unfit, InTheWay.
    """
    if not (number.isascii() and number.isdigit() and 1 <= len(number) <= 15):
        raise NotThere("number", number)
    before = await office.number(number)
    problems = []
    if sent.provider_id is not None and await office.provider(sent.provider_id) is None:
        problems.append(FieldProblem("/provider_id", f"there is no provider {sent.provider_id!r}"))
    if sent.account_id is not None and await office.account(sent.account_id) is None:
        problems.append(FieldProblem("/account_id", f"there is no account {sent.account_id!r}"))
    joined, archived = _day(sent.joined_on, "/joined_on", problems), _day(sent.archived_on, "/archived_on", problems)
    status = sent.status or ("free" if before is None else before.status)
    account_id = sent.account_id
    if before is None:
        # Statistics of a new number begin when it comes: an earlier day would make it clean at once (D18).
        for day, pointer in ((joined, "/joined_on"), (archived, "/archived_on")):
            if day is not None and day < now.today.isoformat():
                problems.append(FieldProblem(pointer, "lies before today: its calls were not counted then"))
        joined = joined or now.today.isoformat()
        if status == "archive":
            archived = archived or now.today.isoformat()
        if status == "in_use" and account_id is None:
            problems.append(FieldProblem("/account_id", "is missing, but the number is in use: say who uses it"))
        if status in ("free", "archive") and account_id is not None:
            problems.append(FieldProblem("/account_id", f"nobody has a number that is {status}: leave it out"))
    else:
        account_id = before.account_id if account_id is None else account_id
        joined, archived = joined or before.joined_on, archived or before.archived_on
        if problems:
            raise Unfit(problems)
        if joined != before.joined_on and before.joined_on is not None and joined is not None:
            raise InTheWay(f"number {number} joined on {before.joined_on}: its rest is counted from there")
        if (status, account_id, archived) != (before.status, before.account_id, before.archived_on):
            raise InTheWay(
                f"number {number} is {before.status}: it is sold, released and rested by its own rules, not by hand"
            )
    if problems:
        raise Unfit(problems)
    forced = before is not None and before.saleable == "forced_yes"
    after = Number(
        number,
        status,
        account_id,
        sent.place,
        sent.region,
        sent.provider_id,
        sent.fmtn,
        joined,
        archived,
        "forced_yes" if forced and sent.saleable == "depends_on_ncv" else sent.saleable,
    )
    if after != before:
        await office.save_number(after)
        await _told(trail, "number", number, before, after)
    return after


async def put_discounts(office: Office, trail: Trail, account_id: str, sent: DiscountsSent) -> AccountDiscounts:
    """Makes these the discounts of an account. Raises NotThere; Unfit where two hold at one moment."""
    if await office.account(account_id) is None:
        raise NotThere("account", account_id)
    problems: list[FieldProblem] = []
    found = []
    spans: dict[str | None, list[tuple[int, int, int]]] = {}
    for place, one in enumerate(sent.discounts):
        start = _moment(one.valid_from, f"/discounts/{place}/valid_from", problems)
        end = _moment(one.valid_to, f"/discounts/{place}/valid_to", problems)
        if start is not None and end is not None and end <= start:
            problems.append(FieldProblem(f"/discounts/{place}/valid_to", "is not after valid_from"))
        spans.setdefault(one.service, []).append((start or 0, end or 2**63, place))
        found.append(
            Discount(
                account_id,
                one.service,
                one.percent_micros,
                None if start is None else to_text(start),
                None if end is None else to_text(end),
            )
        )
    for of_service in spans.values():
        latest = 0
        for start, end, place in sorted(of_service):
            if start < latest:
                problems.append(
                    FieldProblem(f"/discounts/{place}/valid_from", "overlaps another discount for the same service")
                )
            latest = max(latest, end)
    if problems:
        raise Unfit(problems)
    before, after = await office.discounts(account_id), AccountDiscounts(account_id, tuple(found))
    if before != after:
        await office.save_discounts(after)
        await trail.audit(
            "discounts",
            account_id,
            "changed" if before.discounts else "created",
            before if before.discounts else None,
            after,
        )
        await trail.publish("discounts", account_id, after)
    return after


# -- orders to the engine ---------------------------------------------------------------------------------------------


async def book(
    office: Office, trail: Trail, kind: CommandKind, account_id: str, sent: MoneySent, command_id: str, now: datetime
) -> Command:
    """Orders money to be booked. A command's id is booked once: the same again gets what is there already.

    Raises NotThere; Unfit; InTheWay for an id that stands for something else, or a booking that was taken back already.
    """
    account = await office.account(account_id)
    if account is None:
        raise NotThere("account", account_id)
    problems: list[FieldProblem] = []
    now_us = from_datetime(now)
    at_us = _moment(sent.at, "/at", problems)
    if at_us is not None and at_us > now_us:
        problems.append(FieldProblem("/at", f"lies in the future: it is {to_text(now_us)}"))
    if sent.amount_micros == 0:
        problems.append(FieldProblem("/amount_micros", "is 0: nothing would be booked"))
    if kind == "payment" and sent.amount_micros < 0 and sent.reverses is None:
        # §3.5, D46: what was paid is what came, less what was taken back of it.
        problems.append(
            FieldProblem("/reverses", "is missing: a payment below zero takes another one back; name that one")
        )
    if problems:
        raise Unfit(problems)
    command_id = sent.command_id or command_id
    command = Command(
        command_id,
        kind,
        account_id,
        to_text(now_us if at_us is None else at_us),
        sent.amount_micros,
        sent.reference,
        sent.source if isinstance(sent, PaymentSent) else None,
        sent.reason,
        sent.reverses,
        trail.actor,
        to_text(now_us),
        "ordered",
        None,
        None,
    )
    if (there := await office.command(command_id)) is not None:
        if _same(there, command, at_given=sent.at is not None):
            return there
        raise InTheWay(
            f"command {command_id!r} is another one already: a {there.kind} for account {there.account_id!r}"
        )
    if sent.reverses is not None:
        await _can_be_reversed(office, command, sent.reverses)
    await office.save_command(command)
    await trail.audit("command", command_id, "ordered", None, command)
    record: events.AccountCommand
    match kind:
        case "payment":
            record = events.Payment(command_id, account_id, command.at, sent.amount_micros, sent.reference)
        case "top_up":
            record = events.TopUp(command_id, account_id, command.at, sent.amount_micros, sent.reference)
        case _:
            record = events.WriteOff(command_id, account_id, command.at, sent.amount_micros, sent.reference)
    await trail.publish("command", account_id, record)
    return command


async def _can_be_reversed(office: Office, command: Command, reverses: str) -> None:
    former = await office.command(reverses)
    if former is None or former.kind != command.kind or former.account_id != command.account_id:
        raise Unfit([FieldProblem("/reverses", f"account {command.account_id!r} has no {command.kind} {reverses!r}")])
    if former.amount_micros is None or command.amount_micros != -former.amount_micros:
        raise Unfit(
            [FieldProblem("/amount_micros", f"must take back the whole of {reverses!r}: {former.amount_micros}")]
        )
    if (by := await office.reversed_by(reverses)) is not None:
        raise InTheWay(f"{reverses!r} was taken back already, by {by!r}")


def _same(there: Command, wanted: Command, *, at_given: bool) -> bool:
    names = ["kind", "account_id", "amount_micros", "reference", "source", "reverses", *(["at"] if at_given else [])]
    return all(getattr(there, name) == getattr(wanted, name) for name in names)


_NEXT: dict[str, tuple[str, str]] = {
    "block": ("blocked", "active"),
    "unblock": ("active", "blocked"),
    "close": ("closed", ""),
}


async def order(
    office: Office,
    trail: Trail,
    kind: Literal["block", "unblock", "close"],
    account_id: str,
    sent: OrderSent,
    command_id: str,
    now: datetime,
) -> Command:
    """Blocks, unblocks or closes an account. Raises NotThere, and InTheWay where its status does not allow it."""
    account = await office.account(account_id)
    if account is None:
        raise NotThere("account", account_id)
    command_id = sent.command_id or command_id
    at = to_text(from_datetime(now))
    command = Command(
        command_id, kind, account_id, at, None, None, None, sent.reason, None, trail.actor, at, "ordered", None, None
    )
    if (there := await office.command(command_id)) is not None:
        if _same(there, command, at_given=False):
            return there
        raise InTheWay(
            f"command {command_id!r} is another one already: a {there.kind} for account {there.account_id!r}"
        )
    status, only_from = _NEXT[kind]
    # Others than the office may have blocked, unblocked or closed it.
    now_is = await office.status_now(account_id)
    if now_is == "closed" or (only_from and now_is != only_from):
        raise InTheWay(f"account {account_id!r} is {now_is}")
    await office.save_command(command)
    await office.set_status(account_id, status)
    if kind == "block":
        await office.block(account_id, command_id)
    elif now_is == "blocked":
        await office.unblock(account_id, command_id)
    await trail.audit("account", account_id, kind, {"status": now_is}, {"status": status})
    record: events.AccountCommand
    match kind:
        case "block":
            record = events.Block(command_id, account_id, at, sent.reason)
        case "unblock":
            record = events.Unblock(command_id, account_id, at, sent.reason)
        case _:
            record = events.Close(command_id, account_id, at, sent.reason)
    await trail.publish("command", account_id, record)
    return command


async def connect_service(
    office: Office, trail: Trail, account_id: str, sent: ServiceSent, now: datetime
) -> ConnectedService:
    """Connects a service to an account, under its name in small letters. Raises Unfit; NotThere; InTheWay when it is
    connected."""
    name = service_name(sent.service)
    check_id(name, "/service")
    if await office.account(account_id) is None:
        raise NotThere("account", account_id)
    if await office.service(account_id, name) is not None:
        raise InTheWay(f"service {name!r} is connected to account {account_id!r} already")
    at = to_text(from_datetime(now))
    service = ConnectedService(account_id, name, sent.product, at, trail.actor, None, None)
    await office.connect_service(service)
    await trail.audit("service", f"{account_id}/{name}", "connected", None, service)
    return service


def service_name(text: str) -> str:
    """A service as events name it: `calls_rec` for «CALLS_REC»."""
    return text.strip().lower()


async def disconnect_service(
    office: Office, trail: Trail, account_id: str, name: str, now: datetime
) -> ConnectedService:
    """Disconnects a service. Raises NotThere when it is not connected."""
    service = await office.service(account_id, name)
    if service is None and service_name(name) != name:
        return await disconnect_service(office, trail, account_id, service_name(name), now)
    if service is None:
        raise NotThere("connected service", f"{account_id}/{name}")
    # Of a service that was connected at this very moment no time is left over: it is a moment's.
    at_us = max(from_datetime(now), to_us(service.connected_at) + 1000)
    ended = ConnectedService(
        account_id, name, service.product, service.connected_at, service.connected_by, to_text(at_us), trail.actor
    )
    await office.disconnect_service(ended)
    await trail.audit("service", f"{account_id}/{name}", "disconnected", service, ended)
    return ended


# -- small things -----------------------------------------------------------------------------------------------------


def check_id(text: str, pointer: str = "") -> None:
    """An id of something that is entered here: it stands in a path, now or later. Raises Unfit.

    `pointer`: where it stands in the body; left out, it came in the path, where nothing else has checked it.
    """
    what = f"{text[:20]!r}" if pointer else f"the id in the path, {text[:20]!r},"
    if not 1 <= len(text) <= 64 or any(ord(sign) < 0x20 or ord(sign) == 0x7F for sign in text) or not text.strip():
        raise Unfit([FieldProblem(pointer, f"{what} is not 1 to 64 characters of one line")])
    # Of a path these are steps: nobody could ask for it afterwards.
    if "/" in text or text in (".", ".."):
        raise Unfit([FieldProblem(pointer, f"{what} can't be an id: take one without / that is not . or ..")])


def _action(before: object) -> str:
    return "created" if before is None else "changed"


async def _told(trail: Trail, kind: str, name: str, before: Any, after: Any) -> None:
    """Of kinds whose rows are what the engine takes."""
    await trail.audit(kind, name, "removed" if after is None else _action(before), before, after)
    await trail.publish(kind, name, after)


def _nobody_uses(what: str, users: Sequence[str]) -> None:
    if users:
        raise InTheWay(f"{what} is needed by {', '.join(users)}")


def _moment(text: str | None, pointer: str, problems: list[FieldProblem]) -> int | None:
    if text is None:
        return None
    try:
        us = to_us(text)
    except ValueError as error:
        problems.append(FieldProblem(pointer, str(error)))
        return None
    # The record keeps milliseconds, as the wire does.
    return us - us % 1000


def _day(text: str | None, pointer: str, problems: list[FieldProblem]) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        problems.append(FieldProblem(pointer, f"{text!r} is in no year's calendar"))
        return None
