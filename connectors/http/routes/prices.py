"""Price lists: uploaded as versions, linted, compared, rehearsed on past calls, approved by another, published from a
date, rolled back. Retail lists are marketing's, wholesale lists the group b2b's, both a manager's.

A list is uploaded as the body of the request, CSV or XLSX, with the columns of `prices.csv`. Lint and rehearsal go on
in the background: asking for one answers with its result if it is there soon, and says where it stands if not.
"""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from backoffice import price_lists as rules
from backoffice.price_lint import ProviderLoss, Reading, RuleCount, Severity
from backoffice.price_lists import Kind, Now, Publication, RollBack, Stage, Terms, Version, Why
from backoffice.price_rehearsal import Group, Losses, Rehearsal, Sums, Unpriced, Wanted
from backoffice.refusals import NotThere
from backoffice.words import END, Moment, Reason, shaped
from connectors.files.price_upload import BadUpload, PriceUpload
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.parties import Party
from connectors.http.problems import ErrorAt, Problem, unfit
from connectors.http.reading import moment_of
from connectors.http.route import check, get, post
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.price_versions import VersionRecord, difference, version_of
from connectors.postgres.queries import sql
from connectors.postgres.reference import snapshot
from connectors.price_checks import Check, PriceChecks, check_of
from schemas.times import to_datetime, to_us

CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ANY_BYTES = "application/octet-stream"

DifferenceKind = Literal["new", "gone", "dearer", "cheaper", "changed"]
KINDS: tuple[DifferenceKind, ...] = ("new", "gone", "dearer", "cheaper", "changed")
Digits = Annotated[
    str,
    shaped(r"^[0-9]{0,15}" + END, "is no prefix; give up to 15 digits of E.164, such as 381", examples=["381"]),
]
Seconds = Annotated[float, Meta(ge=0, le=60)]
LARGEST_NUMBER = 2**31 - 1


# -- what is shown ----------------------------------------------------------------------------------------------------


class ListCard(Struct, frozen=True):
    """A price list: what it is by its version in force, and what is to come."""

    price_list_id: str
    kind: Kind
    name: str
    provider_id: str | None
    currency: str
    removed: bool
    in_force: int | None
    """The number of the version in force; null: none is."""
    in_force_from: Moment | None
    prices: int
    """Of the version in force."""
    scheduled: int | None
    """The next version to come into force."""
    scheduled_from: Moment | None
    latest: int
    """The latest version, whatever became of it."""


class VersionCard(Version, frozen=True, kw_only=True):
    """A version of a price list; `stage` says where it stands now."""

    stage: Stage
    reading: Reading | None
    """What was noticed when the file was read."""


class PriceRowShown(Struct, frozen=True):
    """A row of a version. `line` is that of the uploaded file, where it is known."""

    prefix: str
    service: str | None
    place: str | None
    incoming_service: str | None
    band_id: str | None
    from_second: int
    connect_fee_micros: int
    price_micros: int
    per_seconds: int
    step_seconds: int
    min_charge_micros: int | None
    max_charge_micros: int | None
    valid_from: Moment | None
    valid_to: Moment | None
    attempt_fee_micros: int
    line: int | None


class CheckCard(Struct, frozen=True, kw_only=True):
    """A look at a version: where it stands. `lost`: the process that worked on it is gone; ask again."""

    check_id: int
    state: Literal["running", "done", "failed", "lost"]
    in_force_from: Moment
    """The moment that the version was looked at for."""
    asked_at: Moment
    asked_by: str
    stage: str
    """What is being done."""
    done: int
    total: int
    ended_at: Moment | None
    failure: str | None


class LintSummary(Struct, frozen=True):
    """What a lint found, in numbers: an error keeps the version from being published."""

    errors: int
    warnings: int
    notes: int
    rules: tuple[RuleCount, ...]
    losses: tuple[ProviderLoss, ...]
    """Where the first minute is sold below cost, by provider and lists, the worst first."""


class LintCard(CheckCard, frozen=True, kw_only=True):
    """A lint."""

    report: LintSummary | None


class FindingShown(Struct, frozen=True):
    """One finding of a lint; `prefixes` says how many it stands for, `prefix` is one of them."""

    place: int
    rule: str
    severity: Severity
    price_list_id: str
    prefix: str
    prefixes: int
    other_list_id: str | None
    provider_id: str | None
    lines: tuple[int, ...]
    """Of the uploaded file."""
    text: str
    remedy: str


class KindShown(Struct, frozen=True):
    """How many prices of a kind there are; percentages as decimals, of the first minute."""

    kind: Literal["new", "gone", "dearer", "cheaper", "changed", "same"]
    prices: int
    least_percent: str | None
    most_percent: str | None
    mean_percent: str | None


class DifferenceShown(Struct, frozen=True):
    """What a version changes against another one for calls of a moment. `against` null: nothing was in force."""

    price_list_id: str
    number: int
    against: int | None
    at: Moment
    kinds: tuple[KindShown, ...]


class TermsOfPrice(Struct, frozen=True):
    """What a price says. `minute_micros`, a decimal: the first minute, or a minute of a later tier."""

    connect_fee_micros: int
    price_micros: int
    per_seconds: int
    step_seconds: int
    min_charge_micros: int | None
    max_charge_micros: int | None
    attempt_fee_micros: int
    line: int | None
    minute_micros: str


class PriceDifference(Struct, frozen=True):
    """A price that differs; `percent`, a decimal, says by how much its minute is dearer (or cheaper, below zero)."""

    kind: DifferenceKind
    prefix: str
    service: str | None
    place: str | None
    incoming_service: str | None
    band_id: str | None
    from_second: int
    before: TermsOfPrice | None
    after: TermsOfPrice | None
    percent: str | None


class PastCallShown(Struct, frozen=True):
    """A call that stands for others. `reason` says why it would have no price."""

    cdr_id: str
    account_id: str
    called: Party
    provider_id: str | None
    started_at: Moment
    seconds: int
    before_margin_micros: int | None
    after_margin_micros: int | None
    reason: str | None


class RehearsalShown(Struct, frozen=True):
    """What the calls of the last days would have brought: see `Sums`. Destinations and clients whose margin changes
    most, and calls that would lose most or have no price, are told one by one."""

    since: Moment
    until: Moment
    calls_in_period: int
    one_in: int
    """One call in so many was priced; the sums are of those."""
    total: Sums
    before_margin_micros: int
    after_margin_micros: int
    losing_before: Losses
    losing_after: Losses
    unpriced: tuple[Unpriced, ...]
    destinations: tuple[Group, ...]
    clients: tuple[Group, ...]
    losing_calls: tuple[PastCallShown, ...]
    unpriced_calls: tuple[PastCallShown, ...]
    calls_per_second: int


class RehearsalCard(CheckCard, frozen=True, kw_only=True):
    """A rehearsal on past calls."""

    days: int
    most_calls: int
    result: RehearsalShown | None


# -- what is asked ----------------------------------------------------------------------------------------------------


class ListsAsked(Struct, frozen=True):
    """Which lists."""

    kind: Kind | None = None
    after: After | None = None
    limit: Limit = 100


class PageAsked(Struct, frozen=True):
    """Which page."""

    after: After | None = None
    limit: Limit = 100


class PricesAsked(Struct, frozen=True):
    """Which prices: those whose prefix begins so."""

    prefix: Digits = ""
    after: After | None = None
    limit: Limit = 100


class UploadAsked(Terms, frozen=True, kw_only=True):
    """The list without its prices, which are the body; and where it comes from."""

    reason: Reason = "uploaded"
    source: Annotated[str, Meta(min_length=1, max_length=200, examples=["megafon-2026-12.xlsx"])] | None = None
    """The file's name."""
    sheet: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """Of a workbook; the first one if left out."""


class LintSent(Struct, frozen=True, forbid_unknown_fields=True):
    """For which moment the version is meant (now if left out), and how long the answer may wait for the result."""

    in_force_from: Moment | None = None
    wait_seconds: Seconds = 20


class RehearsalSent(Wanted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls, for which moment the version is meant (now if left out), and how long the answer may wait."""

    in_force_from: Moment | None = None
    wait_seconds: Seconds = 20


class FindingsAsked(Struct, frozen=True):
    """Which findings of the latest lint."""

    rule: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    severity: Severity | None = None
    after: After | None = None
    limit: Limit = 100


class DifferenceAsked(Struct, frozen=True):
    """Against which version of the list (the one in force if left out), for calls of which moment (now, or when the
    version comes into force)."""

    against: Annotated[int, Meta(ge=1, le=LARGEST_NUMBER)] | None = None
    at: Moment | None = None


class DifferencesAsked(DifferenceAsked, frozen=True):
    """As above, and which prices: of which kinds (all if left out), below which prefix."""

    kind: Annotated[tuple[DifferenceKind, ...], Meta(max_length=5)] = ()
    prefix: Digits = ""
    after: After | None = None
    limit: Limit = 100


# -- lists and versions -----------------------------------------------------------------------------------------------


@get("/api/price-lists", requires="prices.see", summary="Price lists, with what is in force and what is to come")
async def price_lists(call: Call, asked: ListsAsked) -> Page[ListCard]:
    place = place_of(asked.after, str)
    rows = await call.pool.fetch(
        sql("price_versions/lists"), call.now, "" if place is None else place[0], asked.kind, asked.limit + 1
    )
    return page(rows, asked.limit, _list, lambda row: cursor(row["price_list_id"]))


def _list(row: Any) -> ListCard:
    removed = row["removed_at"] is not None
    return ListCard(
        row["price_list_id"],
        row["kind"],
        row["name"],
        row["provider_id"],
        row["currency"],
        removed,
        row["in_force"],
        to_optional_text(row["in_force_from"]),
        row["prices"] or 0,
        row["scheduled"],
        to_optional_text(row["scheduled_from"]),
        row["latest"],
    )


@get(
    "/api/price-lists/{price_list_id:str}/versions",
    requires="prices.see",
    summary="All that a price list ever said, the newest first",
    problems=(404,),
)
async def price_list_versions(call: Call, price_list_id: str, asked: PageAsked) -> Page[VersionCard]:
    place = place_of(asked.after, int)
    if place is None and await VersionRecord(call.pool).latest(price_list_id) is None:
        raise NotThere("price list", price_list_id)
    rows = await call.pool.fetch(
        sql("price_versions/versions"),
        price_list_id,
        None if place is None else min(max(place[0], 0), LARGEST_NUMBER),
        asked.limit + 1,
    )
    in_force = await VersionRecord(call.pool).in_force(price_list_id, call.now)
    number = None if in_force is None else in_force.number
    return page(
        rows,
        asked.limit,
        lambda row: _card(version_of(row), number, call.now, row["reading"]),
        lambda row: cursor(row["number"]),
    )


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}",
    requires="prices.see",
    summary="A version of a price list",
    problems=(404,),
)
async def price_list_version(call: Call, price_list_id: str, number: int) -> VersionCard:
    return await _shown(call, call.pool, price_list_id, number)


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/prices",
    requires="prices.see",
    summary="The prices of a version, by prefix",
    problems=(404,),
)
async def prices_of_version(call: Call, price_list_id: str, number: int, asked: PricesAsked) -> Page[PriceRowShown]:
    version = await _version(call.pool, price_list_id, number)
    first = _offset(asked.after)
    rows = await call.pool.fetch(
        sql("price_versions/prices_page"), version.version_id, asked.prefix, first, asked.limit + 1
    )
    return page(
        rows,
        asked.limit,
        _row,
        lambda _: cursor(first + asked.limit),
    )


def _row(row: Any) -> PriceRowShown:
    return PriceRowShown(
        row["prefix"],
        row["service"],
        row["place"],
        row["incoming_service"],
        row["band_id"],
        row["from_second"],
        row["connect_fee_micros"],
        row["price_micros"],
        row["per_seconds"],
        row["step_seconds"],
        row["min_charge_micros"],
        row["max_charge_micros"],
        to_optional_text(row["valid_from"]),
        to_optional_text(row["valid_to"]),
        row["attempt_fee_micros"],
        row["line"],
    )


def _offset(after: str | None) -> int:
    place = place_of(after, int)
    return 0 if place is None else min(max(int(place[0]), 0), LARGEST_NUMBER)


@post(
    "/api/price-lists/{price_list_id:str}/versions",
    requires="prices.see",
    summary="Upload a price list (CSV or XLSX) as a new version: a draft, not in force",
    status=201,
    upload=(CSV, XLSX, ANY_BYTES),
    problems=(404, 409),
)
async def upload_price_list(call: Call, price_list_id: str, asked: UploadAsked) -> VersionCard:
    """Retail lists take prices.retail, wholesale lists prices.wholesale."""
    rules.check_list_id(price_list_id)
    file = await _body(call)
    async with call.change(asked.reason) as tx:
        versions = VersionRecord(tx)
        latest = await versions.latest(price_list_id)
        price_list = await rules.terms_of_upload(versions, call.asker, price_list_id, asked, latest)
        upload = PriceUpload(
            file,
            price_list_id,
            bands=await versions.bands(),
            zone=ZoneInfo(call.services.engine.business_time_zone),
            sheet=asked.sheet,
        )
        try:
            version = await versions.upload(
                price_list, upload, at=call.now, author=call.asker.actor, source=asked.source
            )
        except BadUpload as bad:
            raise _bad_upload(bad) from None
        await rules.note_upload(tx, version)
        return await _shown(call, tx, price_list_id, version.number)


async def _body(call: Call) -> Path:
    """The body as a file, which goes with the request. It is there again if the function is run again."""
    state = call.request.state
    file = getattr(state, "uploaded", None)
    if file is None:
        file = state.uploaded = tempfile.NamedTemporaryFile(prefix="tollgate-upload-")  # noqa: SIM115
        async for part in call.request.stream():
            file.write(part)
        file.flush()
    return Path(file.name)


def _bad_upload(bad: BadUpload) -> Problem:
    return Problem(
        422,
        "unfit",
        f"the file has {bad.count:,} errors, nothing was taken; the first: {bad.errors[0]}",
        errors=tuple(
            [
                ErrorAt(str(error), pointer=f"/{error.line}" + (f"/{error.column}" if error.column else ""))
                for error in bad.errors
            ]
        ),
    )


# -- looking at a version ---------------------------------------------------------------------------------------------


@check(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/lint",
    requires="prices.see",
    summary="Lint a version",
    problems=(404, 409),
)
async def begin_lint(call: Call, price_list_id: str, number: int, sent: LintSent) -> LintCard:
    """A lint that is under way is joined. Takes the right to stage lists of the kind."""
    version = await _to_be_checked(call, price_list_id, number)
    checks = _checks(call)
    check_id = await checks.begin_lint(
        version, at=_meant_for(call, version, sent.in_force_from), now=call.now, author=call.asker.actor
    )
    await checks.wait(check_id, sent.wait_seconds)
    return await _lint(call, version, check_id)


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/lint",
    requires="prices.see",
    summary="The latest lint of a version",
    problems=(404,),
)
async def latest_lint(call: Call, price_list_id: str, number: int) -> LintCard:
    return await _lint(call, await _version(call.pool, price_list_id, number), None)


async def _lint(call: Call, version: Version, check_id: int | None) -> LintCard:
    found = await check_of(call.pool, version, "lint", check_id)
    if found is None:
        raise NotThere("lint of version", version.key)
    report = None if found.result is None else msgspec.convert(found.result, LintSummary)
    return LintCard(**_standing(found), report=report)


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/lint/findings",
    requires="prices.see",
    summary="What the latest lint of a version found, the gravest first",
    problems=(404,),
)
async def lint_findings(call: Call, price_list_id: str, number: int, asked: FindingsAsked) -> Page[FindingShown]:
    version = await _version(call.pool, price_list_id, number)
    found = await check_of(call.pool, version, "lint")
    if found is None:
        raise NotThere("lint of version", version.key)
    rows = await call.pool.fetch(
        sql("price_versions/findings"),
        found.check_id,
        _offset(asked.after),
        asked.rule,
        asked.severity,
        asked.limit + 1,
    )
    return page(
        rows,
        asked.limit,
        lambda row: FindingShown(
            row["place"],
            row["rule"],
            row["severity"],
            price_list_id,
            row["prefix"],
            row["prefixes"],
            row["other_list_id"],
            row["provider_id"],
            tuple(row["lines"]),
            row["text"],
            row["remedy"],
        ),
        lambda row: cursor(row["place"]),
    )


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/difference",
    requires="prices.see",
    summary="What a version changes: how many prices are new, gone, dearer, cheaper",
    problems=(404,),
)
async def version_difference(call: Call, price_list_id: str, number: int, asked: DifferenceAsked) -> DifferenceShown:
    async with snapshot(call.pool) as connection:
        version, against, at = await _compared(call, connection, price_list_id, number, asked)
        found = await difference(connection, 0 if against is None else against.version_id, version.version_id, at)
    return DifferenceShown(
        price_list_id,
        number,
        None if against is None else against.number,
        to_moment(at),
        tuple([KindShown(one.kind, one.prices, *map(_decimal, one[2:])) for one in found]),  # type: ignore[arg-type]
    )


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/difference/prices",
    requires="prices.see",
    summary="The prices that a version changes, by prefix",
    problems=(404,),
)
async def version_differences(
    call: Call, price_list_id: str, number: int, asked: DifferencesAsked
) -> Page[PriceDifference]:
    first = _offset(asked.after)
    async with snapshot(call.pool) as connection:
        version, against, at = await _compared(call, connection, price_list_id, number, asked)
        rows = await connection.fetch(
            sql("price_versions/diff_page"),
            0 if against is None else against.version_id,
            version.version_id,
            at,
            list(asked.kind or KINDS),
            asked.prefix,
            first,
            asked.limit + 1,
        )
    return page(rows, asked.limit, _difference, lambda _: cursor(first + asked.limit))


async def _compared(
    call: Call, connection: Any, price_list_id: str, number: int, asked: DifferenceAsked
) -> tuple[Version, Version | None, datetime]:
    version = await _version(connection, price_list_id, number)
    at = moment_of(asked.at, "at")
    if at is None:
        since = None if version.in_force_from is None else to_datetime(to_us(version.in_force_from))
        at = call.now if since is None else max(since, call.now)
    if asked.against is not None:
        return version, await _version(connection, price_list_id, asked.against), at
    return version, await VersionRecord(connection).in_force(price_list_id, call.now), at


def _difference(row: Any) -> PriceDifference:
    return PriceDifference(
        row["kind"],
        row["prefix"],
        row["service"] or None,
        row["place"] or None,
        row["incoming_service"] or None,
        row["band_id"] or None,
        row["from_second"],
        _terms(row, "old"),
        _terms(row, "new"),
        _decimal(row["percent"]),
    )


def _terms(row: Any, side: str) -> TermsOfPrice | None:
    if row[f"{side}_price"] is None:
        return None
    return TermsOfPrice(
        row[f"{side}_connect_fee"],
        row[f"{side}_price"],
        row[f"{side}_per"],
        row[f"{side}_step"],
        row[f"{side}_min"],
        row[f"{side}_max"],
        row[f"{side}_attempt_fee"],
        row[f"{side}_line"],
        _decimal(row[f"{side}_minute"]) or "0",
    )


def _decimal(value: Decimal | None) -> str | None:
    if value is None:
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@check(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/rehearsal",
    requires="prices.see",
    summary="Rehearse a version on the calls of the last days",
    parties=True,
    problems=(404, 409),
)
async def begin_rehearsal(call: Call, price_list_id: str, number: int, sent: RehearsalSent) -> RehearsalCard:
    """A rehearsal that is under way is joined. Takes the right to stage lists of the kind."""
    version = await _to_be_checked(call, price_list_id, number)
    checks = _checks(call)
    check_id = await checks.begin_rehearsal(
        version,
        Wanted(sent.days, sent.most_calls),
        at=_meant_for(call, version, sent.in_force_from),
        now=call.now,
        author=call.asker.actor,
    )
    await checks.wait(check_id, sent.wait_seconds)
    return await _rehearsal(call, version, check_id)


@get(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/rehearsal",
    requires="prices.see",
    summary="The latest rehearsal of a version",
    parties=True,
    problems=(404,),
)
async def latest_rehearsal(call: Call, price_list_id: str, number: int) -> RehearsalCard:
    return await _rehearsal(call, await _version(call.pool, price_list_id, number), None)


async def _rehearsal(call: Call, version: Version, check_id: int | None) -> RehearsalCard:
    found = await check_of(call.pool, version, "rehearsal", check_id)
    if found is None:
        raise NotThere("rehearsal of version", version.key)
    wanted = msgspec.convert(found.parameters, Wanted)
    result = None if found.result is None else _rehearsed(msgspec.convert(found.result, Rehearsal))
    return RehearsalCard(**_standing(found), days=wanted.days, most_calls=wanted.most_calls, result=result)


def _rehearsed(found: Rehearsal) -> RehearsalShown:
    def seen(calls: tuple[Any, ...]) -> tuple[PastCallShown, ...]:
        return tuple([PastCallShown(**{**asdict(one), "called": Party(one.called)}) for one in calls])

    return RehearsalShown(
        found.since,
        found.until,
        found.calls_in_period,
        found.one_in,
        found.total,
        found.before_margin_micros,
        found.after_margin_micros,
        found.losing_before,
        found.losing_after,
        found.unpriced,
        found.destinations,
        found.clients,
        seen(found.losing_calls),
        seen(found.unpriced_calls),
        found.calls_per_second,
    )


def _standing(found: Check) -> Mapping[str, Any]:
    return {
        "check_id": found.check_id,
        "state": found.state,
        "in_force_from": to_moment(found.at),
        "asked_at": to_moment(found.asked_at),
        "asked_by": found.asked_by,
        "stage": found.stage,
        "done": found.done,
        "total": found.total,
        "ended_at": to_optional_text(found.ended_at),
        "failure": found.failure,
    }


def _checks(call: Call) -> PriceChecks:
    """Those of this application."""
    state = call.request.app.state
    found = getattr(state, "price_checks", None)
    if found is None:
        services = call.services
        found = state.price_checks = PriceChecks(services.database.pool, services.engine, services.reference)
    assert isinstance(found, PriceChecks)
    return found


async def _to_be_checked(call: Call, price_list_id: str, number: int) -> Version:
    version = await _version(call.pool, price_list_id, number)
    rules.must_work_on(version.kind, call.asker)
    rules.check_has_prices(version)
    return version


def _meant_for(call: Call, version: Version, in_force_from: str | None) -> datetime:
    text = in_force_from or version.in_force_from
    if text is None:
        return call.now
    try:
        return max(to_datetime(to_us(text)), call.now)
    except ValueError as error:
        raise unfit(ErrorAt(str(error), pointer="/in_force_from")) from None


# -- what becomes of a version ----------------------------------------------------------------------------------------


@post(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/approve",
    requires="prices.publish",
    summary="Approve a version that somebody else has uploaded",
    problems=(404, 409),
)
async def approve_version(call: Call, price_list_id: str, number: int, sent: Why) -> VersionCard:
    async with call.change(sent.reason) as tx:
        await rules.approve(VersionRecord(tx), tx, Now(call.asker, call.now, sent.reason), price_list_id, number)
        return await _shown(call, tx, price_list_id, number)


@post(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/publish",
    requires="prices.publish",
    summary="Publish a version from a moment on; who did not upload it approves it by that",
    problems=(404, 409),
)
async def publish_version(call: Call, price_list_id: str, number: int, sent: Publication) -> VersionCard:
    async with call.change(sent.reason) as tx:
        await rules.publish(
            VersionRecord(tx),
            tx,
            Now(call.asker, call.now, sent.reason),
            price_list_id,
            number,
            sent.in_force_from,
        )
        return await _shown(call, tx, price_list_id, number)


@post(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/roll-back",
    requires="prices.publish",
    summary="Take back a version that is published: the one before it comes into force anew",
    problems=(404, 409),
)
async def roll_back_version(call: Call, price_list_id: str, number: int, sent: RollBack) -> VersionCard:
    """The version that counts then; of one that is not in force yet, that one itself, withdrawn."""
    async with call.change(sent.reason) as tx:
        counts = await rules.roll_back(
            VersionRecord(tx), tx, Now(call.asker, call.now, sent.reason), price_list_id, number, sent.to
        )
        return await _shown(call, tx, price_list_id, counts.number)


@post(
    "/api/price-lists/{price_list_id:str}/versions/{number:int}/discard",
    requires="prices.see",
    summary="Discard a draft",
    problems=(404, 409),
)
async def discard_version(call: Call, price_list_id: str, number: int, sent: Why) -> VersionCard:
    """Takes the right to stage lists of the kind."""
    async with call.change(sent.reason) as tx:
        await rules.discard(VersionRecord(tx), tx, Now(call.asker, call.now, sent.reason), price_list_id, number)
        return await _shown(call, tx, price_list_id, number)


# -- common -----------------------------------------------------------------------------------------------------------


async def _version(connection: Any, price_list_id: str, number: int) -> Version:
    found = None
    if 0 < number <= LARGEST_NUMBER:
        found = await VersionRecord(connection).version(price_list_id, number)
    if found is None:
        raise NotThere("price list version", f"{price_list_id}/{number}")
    return found


async def _shown(call: Call, connection: Any, price_list_id: str, number: int) -> VersionCard:
    version = await _version(connection, price_list_id, number)
    versions = VersionRecord(connection)
    in_force = await versions.in_force(price_list_id, call.now)
    reading = await versions.reading(version)
    return _card(version, None if in_force is None else in_force.number, call.now, reading)


def _card(version: Version, in_force: int | None, at: datetime, reading: Any) -> VersionCard:
    found = None if reading is None else reading if isinstance(reading, Reading) else msgspec.convert(reading, Reading)
    return VersionCard(
        **asdict(version), stage=rules.stage_of(version, in_force, at), reading=found if found and found.rows else None
    )


ROUTES = (
    price_lists,
    price_list_versions,
    price_list_version,
    prices_of_version,
    upload_price_list,
    begin_lint,
    latest_lint,
    lint_findings,
    version_difference,
    version_differences,
    begin_rehearsal,
    latest_rehearsal,
    approve_version,
    publish_version,
    roll_back_version,
    discard_version,
)
