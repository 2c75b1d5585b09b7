"""Numbers for whoever sells them (§1.4, §3.4): the search with its file, the card, statistics by day, the timeline."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from litestar import Response
from msgspec import Meta, Struct

from backoffice.numbers import quarantine, timeline
from backoffice.numbers.availability import (
    COLOURS,
    WORDS,
    Availability,
    Colour,
    availability,
    may_be_sold,
    why_not,
)
from backoffice.numbers.forcing import ReleaseRequest
from backoffice.numbers.sale import Subscriber
from backoffice.numbers.search import COUNTED, DEFAULT_ROWS, Found, Rows, Wanted, wanted
from backoffice.numbers.timeline import Event
from backoffice.refusals import NotThere, Unfit
from backoffice.words import Day, Id, Line
from connectors.convert.common import NumberRule
from connectors.files.table_export import Cell
from connectors.http.call import Call
from connectors.http.exports import PRODUCES, FileFormat, file_of
from connectors.http.paging import After, cursor, place_of
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import day_of
from connectors.http.route import get
from connectors.postgres.numbers import MOST_STATISTICS_DAYS, Looks
from engine.ncv import Sign
from schemas.reference import Number, NumberStatus, Saleable

e164 = NumberRule().e164
"""Numbers as people type them, in E.164 digits (D31)."""

Mask = Annotated[str, Meta(min_length=1, max_length=40, examples=["%555%", "8 (495) 200-0-200"])]
"""A number as people type it, or digits with `%` for any."""

Choice = Literal["green", "red", "forced_yes", "no", "no_data", "insufficient_data", "has_ncv", "no_ncv", "ncv_ignored"]
"""A value of the filter «Доступен для продажи», or all values of a colour."""


class NumbersAsked(Struct, frozen=True):
    """Which numbers; all conditions together. Whoever does not ask for one number must say which availabilities."""

    number: Mask | None = None
    status: tuple[NumberStatus, ...] = ()
    """Any of these; all if left out."""
    availability: tuple[Choice, ...] = ()
    """«Доступен для продажи»: any of these; `green` and `red` stand for all values of the colour."""
    region: Line | None = None
    provider_id: Id | None = None
    after: After | None = None
    limit: Rows = DEFAULT_ROWS


class NumbersExported(Struct, frozen=True):
    """As in the search, the first `limit` rows of it."""

    number: Mask | None = None
    status: tuple[NumberStatus, ...] = ()
    availability: tuple[Choice, ...] = ()
    region: Line | None = None
    provider_id: Id | None = None
    file: FileFormat = "csv"
    limit: Rows = DEFAULT_ROWS


class NumberRow(Struct, frozen=True):
    """A number that was found. Of one in use there are no sign and no availability."""

    number: str
    status: NumberStatus
    region: str | None
    place: str | None
    provider_id: str | None
    account_id: str | None
    criterion: Saleable
    sign: Sign | None
    availability: Availability | None
    colour: Colour | None
    sellable: bool
    """Whether a subscriber can get it now: free and green."""
    last_call: str | None
    """The latest day with an unwanted call."""


class NumberList(Struct, frozen=True):
    """Numbers in their order. `next`: as in all lists. `total`: how many there are in all, counted up to 10 000;
    `more`: there are more than that."""

    items: tuple[NumberRow, ...]
    next: str | None
    total: int
    more: bool


class CallersSeen(Struct, frozen=True):
    """Unwanted calls of the last days: how many, of how many unique callers. Those without a number are one of them."""

    days: int
    calls: int
    unique_callers: int
    calls_without_number: int


class SaleCard(Struct, frozen=True):
    """A number, for whoever wants to sell it: whether it may be sold, why not, and what is known of its calls."""

    number: Number
    sign: Sign | None
    availability: Availability | None
    words: str | None
    """The availability as the guide calls it."""
    colour: Colour | None
    sellable: bool
    why_not: str | None
    callers: CallersSeen
    earliest_free: str | None
    """Of a number in quarantine: the first day on which it can be free if nobody calls from now on."""
    gaps: tuple[str, ...]
    """Days of the window of which nothing is known: nobody leaves quarantine until they are closed, or out of it."""
    subscriber: Subscriber | None
    """Whoever has it, or is about to."""
    request: ReleaseRequest | None
    """The request to release it that waits, or holds."""


class StatisticsAsked(Struct, frozen=True):
    """Which days; both ends belong to it. The window of the sign if left out."""

    since: Day | None = None
    until: Day | None = None


class StatisticsRow(Struct, frozen=True):
    """A day of a number. `collected`: statistics of that day exist, so 0 calls mean that nobody called."""

    day: str
    calls: int
    unique_callers: int
    first_at: str | None
    last_at: str | None
    collected: bool
    closed: bool


class Statistics(Struct, frozen=True):
    """«Статистика по нецелевым звонкам»: the window's callers, and the days, the latest first."""

    number: str
    callers: CallersSeen
    days: tuple[StatisticsRow, ...]


class Timeline(Struct, frozen=True):
    """All that became of a number, the oldest first, and when its quarantine can end."""

    number: str
    events: tuple[Event, ...]
    earliest_free: str | None
    last_call: str | None


@get("/api/numbers", requires="numbers.see", summary="Numbers, by status, mask, availability, region, provider (§1.4)")
async def numbers(call: Call, asked: NumbersAsked) -> NumberList:
    place = place_of(asked.after, str)
    terms = _wanted(asked)
    async with call.pool.acquire() as connection, connection.transaction(readonly=True):
        looks = looks_of(call, connection)
        found = await looks.search(terms, "" if place is None else place[0], asked.limit + 1)
        total = await looks.count(terms)
    more = cursor(found[asked.limit - 1].number.number) if len(found) > asked.limit else None
    return NumberList(tuple(_row(one) for one in found[: asked.limit]), more, min(total, COUNTED), total > COUNTED)


@get(
    "/api/numbers/export",
    requires="numbers.see",
    summary="Numbers as a file, for the client to choose from (§1.4)",
    produces=PRODUCES,
)
async def export_numbers(call: Call, asked: NumbersExported) -> Response[bytes]:
    terms = _wanted(asked)
    async with call.pool.acquire() as connection, connection.transaction(readonly=True):
        found = await looks_of(call, connection).search(terms, "", asked.limit)

    async def pieces() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        yield [_line(one) for one in found]

    return file_of("numbers", asked.file, _HEADER, pieces())


@get("/api/numbers/{number:str}/card", requires="numbers.see", summary="A number: may it be sold, and if not, why not")
async def number_card(call: Call, number: str) -> SaleCard:
    looks = looks_of(call)
    found = await _there(looks, number)
    unclosed = await looks.gaps()
    subscriber = await looks.open_subscriber(number)
    request = next(
        (
            one
            for one in reversed((await looks.happenings(number)).requests)
            if one.decided_at is None or (one.state == "approved" and one.ended_at is None)
        ),
        None,
    )
    callers = await _callers(looks, found)
    if found.status == "in_use":
        return SaleCard(
            found,
            None,
            None,
            None,
            None,
            False,
            f"number {number} is in use",
            callers,
            None,
            unclosed,
            subscriber,
            request,
        )
    sign = await looks.sign(found)
    value = availability(found, sign)
    sellable = may_be_sold(found, sign)
    earliest = quarantine.earliest(found, await looks.silence(found), await looks.collected(), unclosed)
    return SaleCard(
        found,
        sign,
        value,
        WORDS[value],
        COLOURS[value],
        sellable,
        None if sellable else why_not(found, sign),
        callers,
        earliest,
        unclosed,
        subscriber,
        request,
    )


@get(
    "/api/numbers/{number:str}/statistics",
    requires="numbers.see",
    summary="«Статистика по нецелевым звонкам» by day",
)
async def number_statistics(call: Call, number: str, asked: StatisticsAsked) -> Statistics:
    looks = looks_of(call)
    found = await _there(looks, number)
    until = call.today if asked.until is None else day_of(asked.until, parameter="until")
    days = timedelta(call.services.numbers.rest_days)
    since = until - days if asked.since is None else day_of(asked.since, parameter="since")
    if until < since:
        raise unfit(ErrorAt("lies before since", parameter="until"))
    if (until - since).days >= MOST_STATISTICS_DAYS:
        raise unfit(ErrorAt(f"ask for at most {MOST_STATISTICS_DAYS} days", parameter="since"))
    rows = await looks.statistics(number, since, until)
    return Statistics(number, await _callers(looks, found), tuple(StatisticsRow(*row) for row in rows))


@get("/api/numbers/{number:str}/timeline", requires="numbers.see", summary="All that became of a number, and why")
async def number_timeline(call: Call, number: str) -> Timeline:
    looks = looks_of(call)
    found = await _there(looks, number)
    silence = await looks.silence(found)
    earliest = quarantine.earliest(found, silence, await looks.collected(), await looks.gaps())
    return Timeline(number, timeline.events(await looks.happenings(number)), earliest, silence.last_call)


def looks_of(call: Call, queries: object = None) -> Looks:
    """What there is on the business day, for this request."""
    services = call.services
    return Looks(
        call.pool if queries is None else queries,  # type: ignore[arg-type]
        today=call.today,
        numbers=services.numbers,
        engine=services.engine,
    )


async def _there(looks: Looks, number: str) -> Number:
    found = await looks.number_seen(number)
    if found is None:
        raise NotThere("number", number)
    return found


async def _callers(looks: Looks, number: Number) -> CallersSeen:
    callers = await looks.callers(number)
    return CallersSeen(looks.settings.rest_days, callers.calls, callers.unique, callers.without_number)


def _wanted(asked: NumbersAsked | NumbersExported) -> Wanted:
    try:
        return wanted(
            mask=asked.number,
            statuses=asked.status,
            availabilities=asked.availability,
            region=asked.region,
            provider_id=asked.provider_id,
            e164=e164,
        )
    except Unfit as wrong:
        raise unfit(*[ErrorAt(one.text, parameter=one.pointer[1:]) for one in wrong.problems]) from None


def _row(found: Found) -> NumberRow:
    number = found.number
    return NumberRow(
        number.number,
        number.status,
        number.region,
        number.place,
        number.provider_id,
        number.account_id,
        number.saleable,
        found.sign,
        found.availability,
        None if found.availability is None else COLOURS[found.availability],
        found.sellable,
        found.last_call,
    )


_HEADER = ("number", "status", "region", "provider_id", "availability", "last_call")


def _line(found: Found) -> tuple[Cell, ...]:
    number = found.number
    return (
        number.number,
        number.status,
        number.region,
        number.provider_id,
        None if found.availability is None else WORDS[found.availability],
        found.last_call,
    )


ROUTES = (numbers, export_numbers, number_card, number_statistics, number_timeline)
