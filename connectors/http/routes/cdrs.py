"""CDR search (§2.5): finished calls by service, period, account and dialled number, current ones and the archive."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from litestar import Response
from msgspec import Meta, Struct

from backoffice.access import masked_number
from backoffice.clients import CURRENT_SECONDS, USUAL_SERVICES, Period, service_code, without_calls
from backoffice.office import service_name
from backoffice.refusals import NotThere
from backoffice.words import Id, Moment
from connectors.convert.common import NumberRule
from connectors.files.table_export import Cell
from connectors.http.call import Call
from connectors.http.exports import DEFAULT_ROWS, PRODUCES, ExportLimit, FileFormat, file_of, roubles
from connectors.http.paging import After, Limit, cursor, page, place_of
from connectors.http.parties import Party, party
from connectors.http.problems import ErrorAt, unfit
from connectors.http.reading import moment_of
from connectors.http.route import get
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.queries import sql
from connectors.postgres.rerating import Corrected, corrections
from schemas.events import Service
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime

Part = Literal["current", "archive"]
Called = Annotated[str, Meta(min_length=1, max_length=40, examples=["8 (495) 111-22-33", "381114112060"])]
"""A number as people write it, or in E.164 digits (D31)."""

e164 = NumberRule().e164

_BEGINNING, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_PIECE = 1_000
_Place = tuple[datetime, str, int]
_FIRST: _Place = (_END, "", 0)


class CdrsAsked(Struct, frozen=True):
    """Which calls; all conditions together. The service must be said: `CALLS_REC` and `CALLS_REC_UNLIM` are two.

    Capitals do not count; a service that no call, price, discount or account has is refused.
    """

    service: Service
    part: Part | None = None
    """`current`: ended less than 60 minutes ago; `archive`: the others; both if left out."""
    account_id: Id | None = None
    called: Called | None = None
    since: Moment | None = None
    """Calls that ended then or later."""
    until: Moment | None = None
    """… and before that."""
    after: After | None = None
    limit: Limit = 100


class CdrsExported(Struct, frozen=True):
    """As in the search; a list of more than `limit` rows is refused rather than cut."""

    service: Service
    part: Part | None = None
    account_id: Id | None = None
    called: Called | None = None
    since: Moment | None = None
    until: Moment | None = None
    file: FileFormat = "csv"
    limit: ExportLimit = DEFAULT_ROWS


class CdrRow(Struct, frozen=True):
    """A finished call and what it cost."""

    cdr_id: str
    attempt_id: str | None
    account_id: str | None
    service: str
    service_code: str
    caller: Party | None
    called: Party
    started_at: str
    answered_at: str | None
    ended_at: str
    billable_seconds: int
    retail_micros: int | None
    wholesale_micros: int | None
    margin_micros: int | None
    provider_id: str | None
    place: str | None
    cause: str | None
    late: bool
    no_attempt: bool
    denied: bool
    emergency: bool
    charged_again: bool
    """The same CDR came and was charged before."""
    corrected_by: int | None
    """The re-rating that has corrected its charges; the two that follow are what it is charged since. The others stay
    what was published."""
    corrected_retail_micros: int | None
    corrected_wholesale_micros: int | None


class CdrList(Struct, frozen=True):
    """Some of the calls, those that ended last first. `next`: as in all lists.

    `connected`: services of the account now, null where no account was asked for. `empty_because`: what it means that
    nothing was found, where that is known.
    """

    items: tuple[CdrRow, ...]
    next: str | None
    connected: tuple[str, ...] | None
    empty_because: str | None


@get("/api/cdrs", requires="calls.see", summary="Finished calls (§2.5)", parties=True, problems=(404,))
async def cdrs(call: Call, asked: CdrsAsked) -> CdrList:
    terms = _terms(asked)
    connected = await _connected(call, terms.account_id)
    place = place_of(asked.after, int, str, int)
    begin = _FIRST if place is None else (to_datetime(min(max(place[0], EARLIEST_US), LATEST_US)), place[1], place[2])
    rows = await _rows(call, terms, begin, asked.limit + 1)
    corrected = await corrections(call.pool, [_key(row) for row in rows])
    found = page(
        rows,
        asked.limit,
        lambda row: _shown(row, corrected.get(_key(row))),
        lambda row: cursor(from_datetime(row["ended_at"]), row["cdr_id"], row["copy"]),
    )
    nothing = not found.items and place is None
    why = None
    if nothing:
        await _check_service(call, terms.service)
        why = without_calls(terms.service, connected, Period(terms.since, terms.until, terms.part), call.now)
    return CdrList(found.items, found.next, connected, why)


@get(
    "/api/cdrs/export",
    requires="calls.see",
    summary="Finished calls as a file (§2.5)",
    produces=PRODUCES,
    problems=(404,),
)
async def export_cdrs(call: Call, asked: CdrsExported) -> Response[bytes]:
    terms = _terms(asked)
    await _connected(call, terms.account_id)
    # One row beyond the limit: a list that is cut unseen would be believed.
    last: _Place | None = _FIRST
    left = asked.limit + 1
    while last is not None and left > 0:
        rows = await _rows(call, terms, last, min(left, 50_000))
        left -= len(rows)
        last = _end_of(rows) if len(rows) == 50_000 else None
    if left > asked.limit:
        await _check_service(call, terms.service)
    if left <= 0:
        raise unfit(ErrorAt(f"there are more than {asked.limit} rows: ask for a shorter period", parameter="limit"))
    whole = call.asker.may("parties.see")

    async def pieces() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        place: _Place | None = _FIRST
        while place is not None:
            rows = await _rows(call, terms, place, _PIECE)
            corrected = await corrections(call.pool, [_key(row) for row in rows])
            yield [_line(row, corrected.get(_key(row)), whole=whole) for row in rows]
            place = _end_of(rows) if len(rows) == _PIECE else None

    return file_of("cdrs", asked.file, _HEADER, pieces())


class _Terms(NamedTuple):
    """What is looked for, as the record has it."""

    service: str
    part: Part | None
    account_id: str | None
    called: str | None
    since: datetime | None
    until: datetime | None


def _terms(asked: CdrsAsked | CdrsExported) -> _Terms:
    """Raises Problem 422."""
    problems = []
    service = service_name(asked.service)
    if not service:
        problems.append(ErrorAt("is blank: name the service, as in CALLS_REC", parameter="service"))
    called = None if asked.called is None else e164(asked.called)
    if called is not None and not (called.isascii() and called.isdigit() and len(called) <= 15):
        problems.append(
            ErrorAt("is no number: write up to 15 digits, as in 381114112060 or 8 (495) 111-22-33", parameter="called")
        )
    since, until = moment_of(asked.since, "since"), moment_of(asked.until, "until")
    if since is not None and until is not None and until <= since:
        problems.append(ErrorAt("is not after since: the period holds nothing", parameter="until"))
    if problems:
        raise unfit(*problems)
    return _Terms(service, asked.part, asked.account_id, called, since, until)


async def _check_service(call: Call, service: str) -> None:
    """Of a search that found nothing: raises Problem 422 for a service that there is not."""
    if service not in USUAL_SERVICES and not await call.pool.fetchval(sql("cdrs/service_known"), service):
        known = ", ".join(service_code(one) for one in USUAL_SERVICES)
        text = f"no call, price, discount or account has a service {service!r}; the usual ones are {known}"
        raise unfit(ErrorAt(text, parameter="service"))


async def _connected(call: Call, account_id: str | None) -> tuple[str, ...] | None:
    if account_id is None:
        return None
    if not await call.pool.fetchval("SELECT EXISTS (SELECT FROM office.accounts WHERE account_id = $1)", account_id):
        raise NotThere("account", account_id)
    rows = await call.pool.fetch(sql("cdrs/connected"), account_id)
    return tuple(row["service"] for row in rows)


async def _rows(call: Call, asked: _Terms, place: _Place, limit: int) -> list[Any]:
    since, until = asked.since or _BEGINNING, asked.until or _END
    border = call.now - timedelta(seconds=CURRENT_SECONDS)
    if asked.part == "current":
        # What ended exactly 60 minutes ago is in the archive.
        since = max(since, border + timedelta(microseconds=1))
    elif asked.part == "archive":
        until = min(until, border + timedelta(microseconds=1))
    own = [value for value in (asked.account_id, asked.called) if value is not None]
    names = [name for name, value in (("account", asked.account_id), ("called", asked.called)) if value is not None]
    query = sql(f"cdrs/by_{'_and_'.join(names) or 'service'}")
    rows: list[Any] = await call.pool.fetch(query, asked.service, *own, since, until, *place, limit)
    return rows


def _end_of(rows: Sequence[Any]) -> _Place:
    return rows[-1]["ended_at"], rows[-1]["cdr_id"], rows[-1]["copy"]


def _key(row: Any) -> tuple[str, datetime, int]:
    return row["cdr_id"], row["ended_at"], row["copy"]


def _shown(row: Any, corrected: Corrected | None) -> CdrRow:
    return CdrRow(
        row["cdr_id"],
        row["attempt_id"],
        row["account_id"],
        row["service"],
        service_code(row["service"]),
        party(row["caller"]),
        Party(row["called"]),
        to_moment(row["started_at"]),
        to_optional_text(row["answered_at"]),
        to_moment(row["ended_at"]),
        row["billable_seconds"],
        row["retail_micros"],
        row["wholesale_micros"],
        row["margin_micros"],
        row["provider_id"],
        row["place"],
        row["cause"],
        row["late"],
        row["no_attempt"],
        row["denied"],
        row["emergency"],
        row["copy"] > 0,
        *((None, None, None) if corrected is None else corrected),
    )


_HEADER = (
    "cdr_id",
    "account_id",
    "service",
    "caller",
    "called",
    "started_at",
    "answered_at",
    "ended_at",
    "billable_seconds",
    "retail",
    "wholesale",
    "provider_id",
    "cause",
    "corrected_retail",
    "corrected_wholesale",
)


def _line(row: Any, corrected: Corrected | None, *, whole: bool) -> tuple[Cell, ...]:
    def seen(digits: str | None) -> str | None:
        return digits if whole or digits is None else masked_number(digits)

    return (
        row["cdr_id"],
        row["account_id"],
        service_code(row["service"]),
        seen(row["caller"]),
        seen(row["called"]),
        to_moment(row["started_at"]),
        to_optional_text(row["answered_at"]),
        to_moment(row["ended_at"]),
        row["billable_seconds"],
        roubles(row["retail_micros"]),
        roubles(row["wholesale_micros"]),
        row["provider_id"],
        row["cause"],
        None if corrected is None else roubles(corrected.retail_micros),
        None if corrected is None else roubles(corrected.wholesale_micros),
    )


ROUTES = (cdrs, export_cdrs)
