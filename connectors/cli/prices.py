"""`tollgate prices …`: price lists of the database, from the file to their publication; and the tariff check on it.

Looking needs no name. Who uploads, approves, publishes or rolls back is a user of the office, named by `--as` (or by
the system's account of the same name): the rules and the four eyes are those of the API.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
import cyclopts
import msgspec
from rich.progress import Progress

from backoffice import price_lists as rules
from backoffice.access import Asker
from backoffice.price_lint import LintReport
from backoffice.price_lists import Now, Terms, Version, stage_of
from backoffice.price_rehearsal import MOST_CALLS, MOST_DAYS, Rehearsal, Wanted
from backoffice.refusals import NotAllowed, NotThere, Refusal
from backoffice.tariff_check import TariffCheck, check_tariff
from backoffice.words import in_words
from connectors.cli.acting import acting, business_now, changing
from connectors.cli.app import Refused, app, err, out, print_json, print_pairs, print_table, settings
from connectors.files.price_upload import BadUpload, PriceUpload
from connectors.postgres import reference
from connectors.postgres.change import Change, OutcomeUnknown
from connectors.postgres.current import incoming_services, places, tables_of_number
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.postgres.price_versions import KindCount, VersionRecord, difference
from connectors.postgres.queries import sql
from connectors.price_checks import CheckFailed, Where, lint_version, rehearse_version, store_lint
from connectors.settings import database_settings
from engine.settings import EngineSettings
from schemas.money import to_text as money
from schemas.times import from_datetime, to_datetime, to_us

prices = cyclopts.App(name="prices", help="Price lists: upload, lint, compare, rehearse, publish, roll back.")
app.command(prices)

T = TypeVar("T")

AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
As = Annotated[
    str | None,
    cyclopts.Parameter(name="--as", help="The user of the office who does it; the system's user if left out."),
]
Why = Annotated[str, cyclopts.Parameter(help="Why; the audit keeps it.")]
ListId = Annotated[str, cyclopts.Parameter(help="The price list's id.")]
Number = Annotated[int, cyclopts.Parameter(help="The version's number among those of its list.")]
From = Annotated[
    str | None, cyclopts.Parameter(name="--from", help="The moment it is to come into force; now if left out.")
]
SHOWN = 20
"""Findings, destinations and clients that are shown on a terminal; --json has more."""


# -- what there is ----------------------------------------------------------------------------------------------------


@prices.command(name="list")
def list_(
    list_id: Annotated[str | None, cyclopts.Parameter(help="Its versions; all lists if left out.")] = None,
    *,
    json: AsJson = False,
) -> None:
    """List the price lists, or the versions of one."""
    if list_id is not None:
        _versions(list_id, json=json)
        return

    async def work(database: Database, _: EngineSettings) -> list[Any]:
        found: list[Any] = await database.pool.fetch(
            sql("price_versions/lists"), await business_now(database), "", None, 1_000_000
        )
        return found

    rows = _run(work)
    if json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in rows])
        return
    print_table(
        "Price lists",
        ("list", "kind", "name", "provider", "in force", "prices", "scheduled", "latest"),
        [
            (
                row["price_list_id"] + (" (removed)" if row["removed_at"] is not None else ""),
                row["kind"],
                row["name"],
                row["provider_id"] or "",
                "" if row["in_force"] is None else f"{row['in_force']} since {row['in_force_from']:%Y-%m-%d}",
                "" if row["prices"] is None else f"{row['prices']:,}",
                "" if row["scheduled"] is None else f"{row['scheduled']} from {row['scheduled_from']:%Y-%m-%d %H:%M}",
                f"{row['latest']} {row['latest_state']}",
            )
            for row in rows
        ],
    )


def _versions(list_id: str, *, json: bool) -> None:
    async def work(database: Database, _: EngineSettings) -> list[tuple[Version, str]]:
        record, now = VersionRecord(database.pool), await business_now(database)
        found = await record.versions(list_id, None, 10_000)
        if not found:
            raise NotThere("price list", list_id)
        in_force = await record.in_force(list_id, now)
        return [(one, stage_of(one, None if in_force is None else in_force.number, now)) for one in found]

    rows = _run(work)
    if json:
        print_json([msgspec.to_builtins(version) | {"stage": stage} for version, stage in rows])
        return
    print_table(
        f"Versions of price list {list_id}",
        ("number", "stage", "prices", "from", "uploaded", "approved", "published", "file"),
        [
            (
                str(one.number),
                stage,
                f"{one.prices:,}",
                one.in_force_from or "",
                f"{one.created_at[:10]} {one.created_by}",
                one.approved_by or "",
                one.published_by or "",
                one.source or "",
            )
            for one, stage in rows
        ],
    )


# -- a version's way --------------------------------------------------------------------------------------------------


@prices.command
def upload(
    file: Annotated[Path, cyclopts.Parameter(help="CSV or XLSX with the columns of prices.csv.")],
    list_id: ListId,
    *,
    name: Annotated[str | None, cyclopts.Parameter(help="The list's name.")] = None,
    kind: Annotated[Literal["retail", "wholesale"] | None, cyclopts.Parameter(help="Of a new list.")] = None,
    provider: Annotated[
        str | None, cyclopts.Parameter(help="Whose wholesale prices; of a retail list, for calls through it only.")
    ] = None,
    currency: Annotated[str | None, cyclopts.Parameter(help="Of a new list.")] = None,
    rounding: Annotated[Literal["up", "half_up", "down"] | None, cyclopts.Parameter(help="Of a new list.")] = None,
    decimals: Annotated[int | None, cyclopts.Parameter(help="Of a new list: 0 to 6.")] = None,
    valid_from: Annotated[str | None, cyclopts.Parameter(help="The list itself holds from then.")] = None,
    valid_to: Annotated[str | None, cyclopts.Parameter(help="The list itself holds until just before.")] = None,
    sheet: Annotated[str | None, cyclopts.Parameter(help="Of a workbook; the first if left out.")] = None,
    reason: Why = "uploaded",
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Upload a price list as a new version: a draft, not in force. Its attributes stay as they were where left out."""
    try:
        sent = msgspec.convert(
            {
                field: value
                for field, value in (
                    ("name", name),
                    ("kind", kind),
                    ("provider_id", provider),
                    ("currency", currency),
                    ("rounding", rounding),
                    ("decimals", decimals),
                    ("valid_from", valid_from),
                    ("valid_to", valid_to),
                )
                if value is not None
            },
            Terms,
        )
    except msgspec.ValidationError as error:
        what, _, field = in_words(str(error)).partition(" - at `$.")
        raise Refused(f"--{field.rstrip('`').replace('_', '-')}: {what}") from None
    if not file.is_file():
        raise Refused(f"{file} is no file")

    async def work(tx: Change, who: Asker, engine: EngineSettings) -> Version:
        rules.check_list_id(list_id)
        record = VersionRecord(tx)
        price_list = await rules.terms_of_upload(record, who, list_id, sent, await record.latest(list_id))
        taken = PriceUpload(
            file, list_id, bands=await record.bands(), zone=ZoneInfo(engine.business_time_zone), sheet=sheet
        )
        version = await record.upload(price_list, taken, at=tx.at, author=who.actor, source=file.name)
        await rules.note_upload(tx, version)
        return version

    try:
        found = _changed(as_, reason, work)
    except BadUpload as bad:
        listed = str(bad).replace("\n", "\n  ")
        raise Refused(f"{file} can't be taken, {bad.count} errors; nothing was uploaded:\n  {listed}") from None
    _tell(found, f"is a draft of {found.prices:,} prices", json=json)


@prices.command
def approve(
    list_id: ListId, number: Number, *, reason: Why = "looked at", as_: As = None, json: AsJson = False
) -> None:
    """Approve a version that somebody else has uploaded."""

    async def work(tx: Change, who: Asker, _: EngineSettings) -> Version:
        return await rules.approve(VersionRecord(tx), tx, Now(who, tx.at, reason), list_id, number)

    _tell(_changed(as_, reason, work), "is approved", json=json)


@prices.command
def publish(
    list_id: ListId, number: Number, *, reason: Why, from_: From = None, as_: As = None, json: AsJson = False
) -> None:
    """Publish a version from a moment on. Who did not upload it approves it by that."""

    async def work(tx: Change, who: Asker, _: EngineSettings) -> Version:
        return await rules.publish(VersionRecord(tx), tx, Now(who, tx.at, reason), list_id, number, from_)

    found = _changed(as_, reason, work)
    _tell(found, f"comes into force at {found.in_force_from}", json=json)


@prices.command(name="roll-back")
def roll_back(
    list_id: ListId,
    number: Number,
    *,
    reason: Why,
    to: Annotated[int | None, cyclopts.Parameter(help="To which version; to the one before it if left out.")] = None,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Take back a published version: the one before it comes into force anew, as a new version."""

    async def work(tx: Change, who: Asker, _: EngineSettings) -> Version:
        return await rules.roll_back(VersionRecord(tx), tx, Now(who, tx.at, reason), list_id, number, to)

    found = _changed(as_, reason, work)
    words = "is taken back" if found.state == "withdrawn" else f"is in force, equal to version {found.restores}"
    _tell(found, words, json=json)


@prices.command
def discard(list_id: ListId, number: Number, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Discard a draft; its prices are deleted."""

    async def work(tx: Change, who: Asker, _: EngineSettings) -> Version:
        return await rules.discard(VersionRecord(tx), tx, Now(who, tx.at, reason), list_id, number)

    _tell(_changed(as_, reason, work), "is discarded", json=json)


# -- looking at a version ---------------------------------------------------------------------------------------------


@prices.command
def lint(list_id: ListId, number: Number, *, from_: From = None, as_: As = None, json: AsJson = False) -> int:
    """Lint a version, and keep what that finds; exit code 1 if there are errors."""

    async def work(database: Database, engine: EngineSettings) -> LintReport:
        who = await acting(database, as_)
        version = await _version(database, list_id, number)
        rules.must_work_on(version.kind, who)
        rules.check_has_prices(version)
        now = await business_now(database)
        at = _meant_for(version, from_, now)
        with _Bar() as bar:
            found = await lint_version(
                database.pool, engine, version, at=at, now=now, in_force=None, where=Where(bar.told)
            )
        await store_lint(database.pool, version, found, at=at, author=who.actor)
        return found

    found = _run(work)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        print_table(
            f"Lint of {list_id}/{number}",
            ("", "rule", "found", "what"),
            [(one.severity, one.rule, f"{one.findings:,}", one.title) for one in found.rules],
        )
        if found.losses:
            print_table(
                "Sold below cost",
                ("provider", "wholesale", "retail", "prefixes", "worst", "sold", "bought"),
                [
                    (
                        one.provider_id,
                        one.wholesale_list_id,
                        one.retail_list_id,
                        f"{one.prefixes:,}",
                        one.worst_prefix,
                        one.worst_minute_retail,
                        one.worst_minute_wholesale,
                    )
                    for one in found.losses
                ],
            )
        for one in found.findings[:SHOWN]:
            where = f" (line {', '.join(map(str, one.lines[:3]))})" if one.lines else ""
            out.print(f"{one.severity}: {one.prefix or 'any'}{where}: {one.text}; {one.remedy}", markup=False)
        out.print(f"{found.errors:,} errors, {found.warnings:,} warnings, {found.notes:,} notes", highlight=False)
    return 1 if found.errors else 0


@prices.command(name="difference")
def difference_(
    list_id: ListId,
    number: Number,
    *,
    against: Annotated[int | None, cyclopts.Parameter(help="Which version; the one in force if left out.")] = None,
    from_: From = None,
    json: AsJson = False,
) -> None:
    """What a version changes: how many prices are new, gone, dearer, cheaper, and by how much."""

    async def work(database: Database, _: EngineSettings) -> tuple[int | None, list[KindCount]]:
        now = await business_now(database)
        async with reference.snapshot(database.pool) as connection:
            record = VersionRecord(connection)
            version = await _version(database, list_id, number)
            other = await (record.in_force(list_id, now) if against is None else _version(database, list_id, against))
            old = 0 if other is None else other.version_id
            found = await difference(connection, old, version.version_id, _meant_for(version, from_, now))
            return None if other is None else other.number, found

    other, found = _run(work)
    if json:
        print_json(
            {
                "against": other,
                "kinds": [{name: _plain(value) for name, value in one._asdict().items()} for one in found],
            }
        )
        return
    print_table(
        f"{list_id}/{number} against {'nothing' if other is None else f'version {other}'}",
        ("", "prices", "least %", "most %", "mean %"),
        [(one.kind, f"{one.prices:,}", *["" if part is None else str(part) for part in one[2:]]) for one in found],
    )


@prices.command
def rehearse(
    list_id: ListId,
    number: Number,
    *,
    days: Annotated[
        int,
        cyclopts.Parameter(
            help="Calls of so many past days.", validator=cyclopts.validators.Number(gte=1, lte=MOST_DAYS)
        ),
    ] = 7,
    most_calls: Annotated[
        int,
        cyclopts.Parameter(
            help="Of more of them, one in so many is taken.",
            validator=cyclopts.validators.Number(gte=1, lte=MOST_CALLS),
        ),
    ] = 1_000_000,
    from_: From = None,
    json: AsJson = False,
) -> int:
    """What the calls of the last days would have brought with a version; exit code 1 if any would have no price."""

    async def work(database: Database, engine: EngineSettings) -> Rehearsal:
        version = await _version(database, list_id, number)
        rules.check_has_prices(version)
        now = await business_now(database)
        with _Bar() as bar:
            return await rehearse_version(
                database.pool,
                engine,
                version,
                Wanted(days, most_calls),
                at=_meant_for(version, from_, now),
                now=now,
                in_force=None,
                where=Where(bar.told),
            )

    found = _run(work)
    if json:
        print_json(msgspec.to_builtins(found))
        return 1 if found.total.unpriced_after else 0
    total = found.total
    sample = f", one in {found.one_in} of them" if found.one_in > 1 else ""
    print_table(
        f"{total.calls:,} calls from {found.since} to {found.until}{sample}",
        ("", "revenue", "cost", "margin"),
        [
            (
                "charged",
                money(total.charged_retail_micros),
                money(total.charged_wholesale_micros),
                money(total.charged_retail_micros - total.charged_wholesale_micros),
            ),
            (
                "by what is in force",
                money(total.before_retail_micros),
                money(total.before_wholesale_micros),
                money(found.before_margin_micros),
            ),
            (
                f"with version {number}",
                money(total.after_retail_micros),
                money(total.after_wholesale_micros),
                money(found.after_margin_micros),
            ),
        ],
    )
    for title, groups in (("Destinations", found.destinations), ("Clients", found.clients)):
        print_table(
            title,
            ("", "calls", "margin", "would be", "without price"),
            [
                (
                    group.name or "any",
                    f"{group.sums.calls:,}",
                    money(group.before_margin_micros),
                    money(group.after_margin_micros),
                    f"{group.sums.unpriced_after:,}",
                )
                for group in groups[:SHOWN]
            ],
        )
    rows = [
        ("losing calls now", f"{found.losing_before.calls:,}, {money(found.losing_before.micros)} lost"),
        ("losing calls with it", f"{found.losing_after.calls:,}, {money(found.losing_after.micros)} lost"),
        *((f"would be without price: {one.reason}", f"{one.calls:,}, {one.new:,} new") for one in found.unpriced),
        ("calls a second", f"{found.calls_per_second:,}"),
    ]
    print_pairs("", rows)
    return 1 if total.unpriced_after else 0


# -- the tariff check on the database ---------------------------------------------------------------------------------


def tariff_in_database(
    digits: str,
    account: str,
    *,
    plan: str | None,
    service: str,
    incoming_service: str | None,
    place: str | None,
    at_us: int | None,
) -> TariffCheck:
    """What §2.3 asks, asked of the record, as of any moment. Raises Refused."""

    async def work(database: Database, engine: EngineSettings) -> TariffCheck:
        at = await business_now(database) if at_us is None else to_datetime(at_us)
        async with reference.snapshot(database.pool) as connection:
            tables = await tables_of_number(connection, digits, account, at=at)
            known_places = await places(connection, tables)
        return check_tariff(
            engine,
            tables.reference,
            digits=digits,
            account_id=account,
            at_us=from_datetime(at),
            tariff_plan_id=plan,
            service=service,
            incoming_service=incoming_service,
            place=place,
            longer=tables.longer,
            places=known_places,
            incoming_services=incoming_services(tables),
        )

    return _run(work)


# -- common -----------------------------------------------------------------------------------------------------------


class _Bar:
    """A bar of progress on a terminal; nothing elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(console=err, transient=True, disable=not err.is_terminal)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        self._task = self._progress.add_task("waiting", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def told(self, stage: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=stage, completed=done, total=total or None)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | bool | None) else str(value)


def _tell(version: Version, words: str, *, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(version))
    else:
        out.print(f"{version.key} {words}", markup=False, highlight=False)


def _meant_for(version: Version, text: str | None, now: datetime) -> datetime:
    text = text or version.in_force_from
    if text is None:
        return now
    try:
        return max(to_datetime(to_us(text)), now)
    except ValueError as error:
        raise Refused(f"--from: {error}") from None


async def _version(database: Database, list_id: str, number: int) -> Version:
    found = await VersionRecord(database.pool).version(list_id, number) if 0 < number < 2**31 else None
    if found is None:
        raise NotThere("price list version", f"{list_id}/{number}")
    return found


def _changed(name: str | None, reason: str, work: Callable[[Change, Asker, EngineSettings], Awaitable[T]]) -> T:
    async def changed(database: Database, engine: EngineSettings) -> T:
        who = await acting(database, name)
        return await changing(database, who, reason, lambda tx: work(tx, who, engine))

    return _run(changed)


def _run(work: Callable[[Database, EngineSettings], Awaitable[T]]) -> T:
    where, engine = database_settings(), settings()

    async def opened() -> T:
        async with open_database(where) as database:
            return await work(database, engine)

    try:
        return asyncio.run(opened())
    except NotAllowed as refused:
        raise Refused(f"{refused}; ask {refused.ask}") from None
    except (DatabaseTrouble, Refusal, CheckFailed) as refused:
        raise Refused(str(refused)) from None
    except OutcomeUnknown as error:
        raise Refused(f"{error}; look whether it is there (tollgate prices list)") from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(f"the database does not let this login do it: {error}") from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, where))) from None
