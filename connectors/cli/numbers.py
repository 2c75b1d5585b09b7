"""`tollgate number …`: numbers of the record: may they be sold, who calls them, who gets them (§1.4, §3.4).

Looking needs no name. Who sells, releases, asks or answers is a user of the office, named by `--as`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

import cyclopts
import msgspec

from backoffice.access import Asker
from backoffice.numbers import quarantine, requests, sale, timeline
from backoffice.numbers.availability import COLOURS, WORDS, availability, may_be_sold, why_not
from backoffice.numbers.forcing import Answer, Callers, ClientAsked, ConsentSent, ReleaseAsked, ReleaseRequest
from backoffice.numbers.sale import Subscriber, SubscriberSent
from backoffice.numbers.search import COUNTED, DEFAULT_ROWS, MOST_ROWS, Found, Wanted, wanted
from backoffice.refusals import NotThere
from backoffice.words import in_words
from connectors.cli.acting import As, AsJson, acting, business_now, changing, on_database
from connectors.cli.app import Refused, app, out, print_json, print_pairs, print_table
from connectors.convert.common import NumberRule
from connectors.files.table_export import Cell, csv_pieces, xlsx_pieces
from connectors.postgres.change import Change
from connectors.postgres.database import Database
from connectors.postgres.moments import to_moment
from connectors.postgres.numbers import MOST_STATISTICS_DAYS, Looks, request_of
from connectors.postgres.numbers_change import NumbersRecord
from connectors.postgres.numbers_days import DayNotKnown
from connectors.postgres.numbers_days import close_day as close_day_of
from connectors.postgres.queries import sql
from connectors.settings import numbers_settings
from engine.settings import EngineSettings
from schemas.reference import Number

number = cyclopts.App(name="number", help="Numbers: quarantine, unwanted calls, sale.")
app.command(number)

T = TypeVar("T")

S = TypeVar("S", bound=msgspec.Struct)

e164 = NumberRule().e164

Digits = Annotated[str, cyclopts.Parameter(help="The number, as people write it.")]
Why = Annotated[str, cyclopts.Parameter(help="Why; the history keeps it.")]
RequestId = Annotated[str, cyclopts.Parameter(help="The request's id.")]
SubscriberId = Annotated[str, cyclopts.Parameter(help="The subscriber's id.")]
Day = Annotated[str, cyclopts.Parameter(help="A business day, YYYY-MM-DD.")]
Mask = Annotated[str | None, cyclopts.Parameter(help="A number, or digits with % for any.")]
Status = Annotated[
    list[Literal["free", "reserved", "in_use", "archive"]] | None,
    cyclopts.Parameter(help="With this status; may be given several times.", negative=""),
]
Choice = Annotated[
    list[str] | None,
    cyclopts.Parameter(
        help="green, red, forced_yes, no, no_data, insufficient_data, has_ncv, no_ncv, ncv_ignored; may be given "
        "several times. Needed wherever more than one number is looked for.",
        negative="",
    ),
]
Region = Annotated[str | None, cyclopts.Parameter(help="Of this region.")]
Provider = Annotated[str | None, cyclopts.Parameter(help="Of this provider.")]
Limit = Annotated[
    int,
    cyclopts.Parameter(help="How many at most.", validator=cyclopts.validators.Number(gte=1, lte=MOST_ROWS)),
]


# -- looking ----------------------------------------------------------------------------------------------------------


@number.command
def show(number: Digits, *, json: AsJson = False) -> int:
    """May a number be sold now, and if not, why not and when at the earliest; exit code 1 if it may not."""
    digits = _digits(number)

    async def work(looks: Looks) -> tuple[dict[str, object], bool]:
        found = await _there(looks, digits)
        callers = await looks.callers(found)
        shown: dict[str, object] = {
            "number": digits,
            "status": found.status,
            "region": found.region,
            "provider": found.provider_id,
            "calls": callers.calls,
            "unique_callers": callers.unique,
        }
        subscriber = await looks.open_subscriber(digits)
        if subscriber is not None:
            shown |= {"subscriber": subscriber.subscriber_id, "account": subscriber.account_id}
        if found.status == "in_use":
            return shown | {"account": found.account_id}, False
        sign = await looks.sign(found)
        value = availability(found, sign)
        shown |= {"sign": sign, "availability": WORDS[value], "colour": COLOURS[value]}
        if found.status == "archive":
            gaps = await looks.gaps()
            days = await looks.collected()
            shown["earliest_free"] = quarantine.earliest(found, await looks.silence(found), days, gaps)
            shown["gaps"] = list(gaps)
        may = may_be_sold(found, sign)
        return shown if may else shown | {"why_not": why_not(found, sign)}, may

    shown, may = _looked(work)
    if json:
        print_json(shown)
    else:
        print_pairs(digits, [(name, _text(value)) for name, value in shown.items() if name != "number"])
    return 0 if may else 1


@number.command
def search(
    mask: Mask = None,
    *,
    status: Status = None,
    availability: Choice = None,
    region: Region = None,
    provider: Provider = None,
    limit: Limit = DEFAULT_ROWS,
    to: Annotated[
        Path | None, cyclopts.Parameter(help="Write them to this file, .xlsx or .csv, for the client to choose.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Look for numbers. Whoever looks for more than one says which availabilities are meant, such as green."""
    if to is not None and to.suffix not in (".xlsx", ".csv"):
        raise Refused(f"{to}: the file's name must end in .xlsx or .csv")

    async def work(looks: Looks) -> tuple[list[Found], int]:
        terms: Wanted = wanted(
            mask=mask,
            statuses=status or (),
            availabilities=availability or (),
            region=region,
            provider_id=provider,
            e164=e164,
        )
        return await looks.search(terms, "", limit), await looks.count(terms)

    found, total = _looked(work)
    of = f"{len(found)} of {'more than ' if total > COUNTED else ''}{min(total, COUNTED)} numbers"
    if to is not None:
        asyncio.run(_write(to, found))
        _say(f"{of} in {to}")
    elif json:
        print_json({"total": min(total, COUNTED), "more": total > COUNTED, "numbers": [_plain(one) for one in found]})
    else:
        print_table(of, _HEADER, [[_text(cell) for cell in _cells(one)] for one in found])


@number.command
def statistics(
    number: Digits,
    *,
    since: Annotated[str | None, cyclopts.Parameter(help="From this day on; the sign's window if left out.")] = None,
    until: Annotated[str | None, cyclopts.Parameter(help="Up to this day; today if left out.")] = None,
    json: AsJson = False,
) -> None:
    """«Статистика по нецелевым звонкам»: calls and unique callers by day."""
    digits = _digits(number)

    async def work(looks: Looks) -> tuple[Callers, list[dict[str, object]]]:
        found = await _there(looks, digits)
        last = looks.today if until is None else _day(until, "--until")
        first = last - timedelta(looks.settings.rest_days) if since is None else _day(since, "--since")
        if not 0 <= (last - first).days < MOST_STATISTICS_DAYS:
            raise Refused(f"--since must lie before --until, by less than {MOST_STATISTICS_DAYS} days")
        rows = await looks.statistics(digits, first, last)
        return await looks.callers(found), [row._asdict() for row in rows]

    callers, days = _looked(work)
    if json:
        print_json({"number": digits, "callers": callers._asdict(), "days": days})
        return
    print_table(
        f"{digits}: {callers.calls} calls of {callers.unique} unique callers in the window",
        ("day", "calls", "unique callers", "known"),
        [
            (
                _text(day["day"]),
                _text(day["calls"]),
                _text(day["unique_callers"]),
                "closed" if day["closed"] else "so far" if day["collected"] else "nothing",
            )
            for day in days
        ],
    )


@number.command(name="timeline")
def timeline_(number: Digits, *, json: AsJson = False) -> None:
    """All that became of a number: who, when, why."""
    digits = _digits(number)

    async def work(looks: Looks) -> tuple[timeline.Event, ...]:
        await _there(looks, digits)
        return timeline.events(await looks.happenings(digits))

    events = _looked(work)
    if json:
        print_json(msgspec.to_builtins(events))
        return
    for one in events:
        status = "" if one.status is None else f" → {one.status}"
        _say(f"{one.at} {one.what}{status} by {one.actor}: {one.why}" + (f" ({one.detail})" if one.detail else ""))


# -- selling ----------------------------------------------------------------------------------------------------------


@number.command
def sell(
    number: Digits,
    *,
    account: Annotated[str, cyclopts.Parameter(help="Whose it is to be.")],
    product: Annotated[str, cyclopts.Parameter(help="The product that it is for.")],
    planned: Annotated[str | None, cyclopts.Parameter(help="The product's planned activation, YYYY-MM-DD.")] = None,
    reason: Why = "sold",
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Create a subscriber: a number that may be sold is reserved, to be paid within 8 working days."""
    sent = _fit(
        SubscriberSent,
        number=_digits(number),
        account_id=account,
        product=product,
        planned_on=planned,
        reason=reason,
    )

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> Subscriber:
        return await sale.create(
            record, tx, who, sent, subscriber_id=f"s-{token_hex(6)}", now=to_moment(tx.at), today=_today(record)
        )

    _tell_subscriber(_done(as_, reason, work), json=json)


@number.command
def activate(subscriber_id: SubscriberId, *, reason: Why = "paid", as_: As = None, json: AsJson = False) -> None:
    """The client has paid: subscriber and number are in use."""

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> Subscriber:
        return await sale.activate(record, tx, who, subscriber_id, now=to_moment(tx.at))

    _tell_subscriber(_done(as_, reason, work), json=json)


@number.command
def close(subscriber_id: SubscriberId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """End a subscriber: a number that was in use goes to quarantine, one that was only reserved back where it was."""

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> Subscriber:
        return await sale.close(record, tx, who, subscriber_id, reason, now=to_moment(tx.at), today=_today(record))

    _tell_subscriber(_done(as_, reason, work), json=json)


@number.command
def release(number: Digits, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Take a number from whoever has it: to quarantine."""
    digits = _digits(number)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> Number:
        return await sale.release(record, tx, who, digits, reason, now=to_moment(tx.at), today=_today(record))

    found = _done(as_, reason, work)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        since = f" since {found.archived_on}" if found.status == "archive" else ""
        _say(f"number {found.number} is {found.status}{since}")


# -- forcing ----------------------------------------------------------------------------------------------------------


@number.command
def ask(
    number: Digits,
    *,
    reason: Why,
    client: Annotated[str | None, cyclopts.Parameter(help="Who wants it; needed from 6 unique callers on.")] = None,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Ask that a number be released for sale («Да, принудительно»); who must answer is told by letter."""
    digits, sent = _digits(number), _fit(ReleaseAsked, reason=reason, client_id=client)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> ReleaseRequest:
        return await requests.ask(
            record,
            tx,
            who,
            digits,
            sent,
            request_id=f"r-{token_hex(6)}",
            now=to_moment(tx.at),
            today=_today(record),
            settings=record.settings,
        )

    _tell_request(_done(as_, reason, work), json=json)


@number.command(name="requests")
def requests_(
    *,
    state: Annotated[
        Literal["open", "waiting_for_client", "waiting", "approved", "refused", "withdrawn", "all"],
        cyclopts.Parameter(help="Which."),
    ] = "open",
    limit: Annotated[int, cyclopts.Parameter(help="How many.", validator=cyclopts.validators.Number(gte=1))] = 100,
    json: AsJson = False,
) -> None:
    """Requests to release numbers, the newest first."""

    async def work(database: Database, engine: EngineSettings) -> list[ReleaseRequest]:
        chosen = None if state == "all" else state
        rows = await database.pool.fetch(sql("numbers/requests"), chosen, None, None, None, None, None, None, limit)
        return [request_of(row) for row in rows]

    found = on_database(work)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    print_table(
        f"{len(found)} requests",
        ("request", "number", "state", "by", "to", "callers", "why"),
        [
            (one.request_id, one.number, one.state, one.asked_by, one.desk, str(one.unique_callers), one.reason)
            for one in found
        ],
    )


@number.command
def ask_client(
    request_id: RequestId,
    *,
    client: Annotated[str, cyclopts.Parameter(help="Which client is to agree.")],
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Write to a client for the agreement that is needed from 6 unique callers on."""
    sent = _fit(ClientAsked, client_id=client)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> ReleaseRequest:
        return await requests.ask_client(record, tx, who, request_id, sent, record.settings)

    _tell_request(_done(as_, sent.reason, work), json=json)


@number.command
def consent(
    request_id: RequestId,
    *,
    text: Annotated[str, cyclopts.Parameter(help="What the client has written.")],
    by: Annotated[str, cyclopts.Parameter(help="Who wrote it.")],
    on: Annotated[str | None, cyclopts.Parameter(help="On which day; today if left out.")] = None,
    document: Annotated[str | None, cyclopts.Parameter(help="Where the paper or letter is kept.")] = None,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Record a client's written agreement."""
    sent = _fit(ConsentSent, text=text, given_by=by, given_on=on, document=document)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> ReleaseRequest:
        return await requests.consent(record, tx, who, request_id, sent, now=to_moment(tx.at), today=_today(record))

    _tell_request(_done(as_, sent.reason, work), json=json)


@number.command
def approve(request_id: RequestId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Release the number: it is for sale at once. By whoever the request goes to, never by who made it."""
    sent = _fit(Answer, reason=reason)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> ReleaseRequest:
        return await requests.approve(record, tx, who, request_id, sent, now=to_moment(tx.at), settings=record.settings)

    _tell_request(_done(as_, reason, work), json=json)


@number.command
def refuse(request_id: RequestId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Refuse to release the number."""
    sent = _fit(Answer, reason=reason)

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> ReleaseRequest:
        return await requests.refuse(record, tx, who, request_id, sent, now=to_moment(tx.at), settings=record.settings)

    _tell_request(_done(as_, reason, work), json=json)


# -- the statistics' days ---------------------------------------------------------------------------------------------


@number.command
def close_day(day: Day, *, reason: Why, as_: As = None) -> None:
    """Say that all calls of a day were counted, such as after a replay: numbers can leave quarantine again."""
    wanted_day = _day(day, "the day")

    async def work(record: NumbersRecord, tx: Change, who: Asker) -> bool:
        who.must("numbers.change")
        if wanted_day >= record.today:
            raise Refused(f"{wanted_day} is not over: it is {record.today}")
        try:
            return await close_day_of(tx, wanted_day, record.time_zone, reason, by_hand=True)
        except DayNotKnown as unknown:
            raise Refused(str(unknown)) from None

    done = _done(as_, reason, work)
    _say(f"{wanted_day} is closed" + ("" if done else " already"))


# -- how it is done ---------------------------------------------------------------------------------------------------

_HEADER = ("number", "status", "region", "provider", "availability", "colour", "last call")


def _cells(one: Found) -> tuple[Cell, ...]:
    value = one.availability
    return (
        one.number.number,
        one.number.status,
        one.number.region,
        one.number.provider_id,
        None if value is None else WORDS[value],
        None if value is None else COLOURS[value],
        one.last_call,
    )


def _plain(one: Found) -> dict[str, object]:
    return {
        **msgspec.to_builtins(one.number),
        "sign": one.sign,
        "availability": one.availability,
        "sellable": one.sellable,
        "last_call": one.last_call,
    }


async def _write(path: Path, found: Sequence[Found]) -> None:
    async def rows() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [_cells(one) for one in found]

    pieces = csv_pieces(_HEADER, rows()) if path.suffix == ".csv" else xlsx_pieces("numbers", _HEADER, rows())
    try:
        with path.open("wb") as file:
            async for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise Refused(str(error)) from None


def _tell_subscriber(one: Subscriber, *, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(one))
    else:
        _say(f"subscriber {one.subscriber_id} of account {one.account_id}, number {one.number}: {one.status}")


def _tell_request(one: ReleaseRequest, *, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(one))
    else:
        _say(f"request {one.request_id} for number {one.number}, to {one.desk}: {one.state}")


def _text(value: object) -> str:
    match value:
        case None | []:
            return "–"
        case list():
            return ", ".join(str(one) for one in value)
    return str(value)


def _digits(text: str) -> str:
    digits = e164(text)
    if not (digits.isascii() and digits.isdigit() and 1 <= len(digits) <= 15):
        raise Refused(f"{text!r} is no number: give it as 74951201031 or 8 (495) 120-10-31")
    return digits


def _day(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(f"{what}: {text!r} is no day; write it as 2026-11-24") from None


def _today(record: NumbersRecord) -> str:
    return record.today.isoformat()


def _business_day(moment: datetime, engine: EngineSettings) -> date:
    return moment.astimezone(ZoneInfo(engine.business_time_zone)).date()


async def _there(looks: Looks, digits: str) -> Number:
    found = await looks.number_seen(digits)
    if found is None:
        raise NotThere("number", digits)
    return found


def _looked(work: Callable[[Looks], Awaitable[T]]) -> T:
    async def opened(database: Database, engine: EngineSettings) -> T:
        today = _business_day(await business_now(database), engine)
        async with database.pool.acquire() as connection, connection.transaction(readonly=True):
            return await work(Looks(connection, today=today, numbers=numbers_settings(), engine=engine))

    return on_database(opened)


def _done(name: str | None, reason: str, work: Callable[[NumbersRecord, Change, Asker], Awaitable[T]]) -> T:
    async def within(database: Database, engine: EngineSettings) -> T:
        who = await acting(database, name)

        async def done(tx: Change) -> T:
            today = _business_day(tx.at, engine)
            return await work(NumbersRecord(tx, today=today, numbers=numbers_settings(), engine=engine), tx, who)

        return await changing(database, who, reason, done)

    return on_database(within)


def _fit(struct: type[S], /, **values: object) -> S:
    """The values as the API would take them. Raises Refused."""
    try:
        return msgspec.convert(values, struct)
    except msgspec.ValidationError as error:
        raise Refused(in_words(str(error))) from None


def _say(text: str) -> None:
    """A line for people."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)
