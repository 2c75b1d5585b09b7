"""`tollgate check lock|tariff|number`: the support's questions of §2.2, §2.3 and §1.4, on a reference folder; those of
locks and tariffs also on the database."""

import json as json_module
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from backoffice.lock_check import Unknown, check_lock
from backoffice.locks import number_or_direction
from backoffice.tariff_check import DEFAULT_INCOMING, INCOMING_SERVICES, PriceSeen, check_tariff
from connectors.cli.app import Refused, app, load_reference, out, print_json, print_table, read_folder, settings
from connectors.cli.locks import check_in_database
from connectors.cli.prices import tariff_in_database
from connectors.convert.common import NumberRule
from connectors.files.reference_folder import ReferenceFolder
from connectors.settings import numbers_settings
from engine.ncv import sellable, sign
from schemas.decisions import LockFound
from schemas.facts import NumberNcv
from schemas.money import to_text
from schemas.times import from_datetime, to_us

checks = cyclopts.App(name="check", help="Ask why a call would not go through, or whether a number may be sold.")
app.command(checks)

Folder = Annotated[Path, cyclopts.Parameter(help="Folder of CSV files with accounts, prices, locks.")]
AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
Entered = Annotated[str, cyclopts.Parameter(help="As people write it: +381 11 411 20 60, 8(495)200-02-00, 381…")]


def _entered(text: str) -> str:
    """A number or a direction typed by a person, in E.164 digits (D31). Raises Refused."""
    try:
        return number_or_direction(text, NumberRule().e164)
    except ValueError as error:
        raise Refused(str(error)) from None


@checks.command
def lock(
    number: Entered,
    *,
    account: str,
    reference: Annotated[
        Path | None, cyclopts.Parameter(help="Folder of CSV files to ask; the database if left out.")
    ] = None,
    at: Annotated[
        str | None,
        cyclopts.Parameter(
            help="What covered it at a past moment, or at the end of a day; now if left out. Of the database."
        ),
    ] = None,
    json: AsJson = False,
) -> int:
    """Which locks cover a number or direction for an account (§2.2); exit code 1 if any covers it, or a part of it."""
    if reference is None:
        return check_in_database(number, account, at, json=json)
    if at is not None:
        raise Refused("--at asks the database's history: a folder has none")
    engine = settings()
    tables = load_reference(reference, engine)
    now_us = from_datetime(datetime.now(UTC))
    try:
        found = check_lock(engine, tables, number=_entered(number), account_id=account, at_us=now_us)
    except Unknown as unknown:
        raise Refused(str(unknown)) from None
    if json:
        print_json(msgspec.to_builtins(found._asdict()))
    else:
        if found.locks:
            print_table(
                f"Locks that cover {found.number} for account {account}",
                ("", "lock", "mask", "scope", "provider", "author", "since", "why"),
                [_lock_row(one, deciding=one == found.deciding) for one in found.locks],
            )
        out.print(found.verdict, markup=False, highlight=False)
    return 1 if found.locks or found.longer else 0


def _lock_row(lock: LockFound, *, deciding: bool) -> tuple[str, ...]:
    return (
        "►" if deciding else "",
        lock.lock_id,
        f"{lock.digits} ({lock.kind})",
        lock.scope,
        lock.provider_id or "all",
        lock.author,
        lock.created_at[:10],
        lock.why,
    )


@checks.command
def tariff(
    number: Entered,
    *,
    account: str,
    reference: Annotated[
        Path | None, cyclopts.Parameter(help="Folder of CSV files to ask; the database if left out.")
    ] = None,
    plan: Annotated[str | None, cyclopts.Parameter(help="Tariff plan; the account's own if left out.")] = None,
    service: Annotated[str, cyclopts.Parameter(help="outgoing or forwarding.")] = "outgoing",
    incoming_service: Annotated[
        str, cyclopts.Parameter(help="What the call came in by; this one shows ПДГИ providers, '' shows all.")
    ] = DEFAULT_INCOMING,
    place: Annotated[str | None, cyclopts.Parameter(help="Place of service; the account's if left out.")] = None,
    at: Annotated[str | None, cyclopts.Parameter(help="Moment of set-up; now if left out.")] = None,
    json: AsJson = False,
) -> int:
    """Whether a number or prefix is priced for an account (§2.3), at every provider; exit code 1 if it is not."""
    engine = settings()
    try:
        at_us = None if at is None else to_us(at)
    except ValueError as error:
        raise Refused(f"--at: {error}") from None
    try:
        if reference is None:
            found = tariff_in_database(
                _entered(number),
                account,
                plan=plan,
                service=service,
                incoming_service=incoming_service or None,
                place=place,
                at_us=at_us,
            )
        else:
            folder = read_folder(reference, engine)
            found = check_tariff(
                engine,
                folder.tables(),
                digits=_entered(number),
                account_id=account,
                at_us=from_datetime(datetime.now(UTC)) if at_us is None else at_us,
                tariff_plan_id=plan,
                service=service,
                incoming_service=incoming_service or None,
                place=place,
                places=_places(folder),
                incoming_services={row.incoming_service for row in folder.prices if row.incoming_service}.union(
                    INCOMING_SERVICES
                ),
            )
    except Unknown as unknown:
        raise Refused(str(unknown)) from None
    if json:
        answer = found._asdict()
        answer["providers"] = [
            one._asdict()
            | {
                "wholesale": None if one.wholesale is None else one.wholesale._asdict(),
                "retail": None if one.retail is None else one.retail._asdict(),
            }
            for one in found.providers
        ]
        answer["longer"] = [one._asdict() for one in found.longer]
        print_json(answer)
    else:
        print_table(
            f"{found.digits} for account {account}, plan {found.tariff_plan_id}, {found.service}, "
            f"incoming service {found.incoming_service or 'any'}, place {found.place or 'any'}",
            ("provider", "ПДГИ", "wholesale", "retail", "missing", "ask", "locks"),
            [
                (
                    f"{one.provider_id} ({one.name})" + ("" if one.would_carry else " ✗"),
                    "yes" if one.pdgi else "",
                    _price(one.wholesale),
                    _price(one.retail),
                    ", ".join(one.missing),
                    ", ".join(one.ask),
                    ", ".join(one.locks),
                )
                for one in found.providers
            ],
        )
        if found.filled_in:
            taken = {"tariff_plan_id": f"plan {found.tariff_plan_id}", "place": f"place {found.place or 'any'}"}
            words = " and ".join([taken[one] for one in found.filled_in])
            out.print(
                f"not given, so the account's own was taken: {words}", markup=False, highlight=False, soft_wrap=True
            )
        out.print(found.verdict, markup=False, highlight=False, soft_wrap=True)
    return 1 if found.reasons else 0


def _places(folder: ReferenceFolder) -> set[str]:
    """Places of service that anything in the folder names."""
    named = (folder.providers.values(), folder.accounts.values(), folder.numbers.values(), folder.prices)
    return {one.place for records in named for one in records if one.place is not None}


def _price(price: PriceSeen | None) -> str:
    if price is None:
        return "–"
    fee = f" + {to_text(price.connect_fee_micros)}" if price.connect_fee_micros else ""
    steps = "" if price.step_seconds == 1 else f" by {price.step_seconds} s"
    return (
        f"{to_text(price.price_micros)} / {price.per_seconds} s{steps}{fee}\n"
        f"{price.price_list_id}, prefix {price.prefix or 'any'}"
    )


@checks.command
def number(
    number: Entered,
    *,
    reference: Folder,
    ncv: Annotated[Path, cyclopts.Parameter(help="number-ncv.jsonl, the counters by day.")],
    today: Annotated[str, cyclopts.Parameter(help="Business day, YYYY-MM-DD.")],
    json: AsJson = False,
) -> int:
    """The sign of unwanted calls of a number that is not in use, and whether it may be sold (§1.4); 1 if it may not."""
    try:
        date.fromisoformat(today)
    except ValueError:
        raise Refused(f"--today: {today!r} is no day; write it as 2026-11-24") from None
    tables = load_reference(reference, settings())
    digits = _entered(number)
    record = tables.numbers.get(digits)
    if record is None:
        raise Refused(f"number {digits!r} is not in the operator's capacity (numbers.csv)")
    counters = _counters(ncv)
    found = sign(
        record,
        today=today,
        collected_days={counter.day for counter in counters},
        days_with_calls={counter.day for counter in counters if counter.number == digits and counter.calls},
        rest_days=numbers_settings().rest_days,
    )
    may = record.status != "in_use" and sellable(record, found)
    answer = {"number": digits, "status": record.status, "criterion": record.saleable, "sign": found, "sellable": may}
    if json:
        print_json(answer)
    else:
        colour = "green: may be sold" if may else "red: may not be sold"
        out.print(f"{digits}: {record.status}, {record.saleable}, {found}: {colour}", markup=False, highlight=False)
    return 0 if may else 1


def _counters(path: Path) -> list[NumberNcv]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Refused(str(error)) from None
    decoder = msgspec.json.Decoder(NumberNcv)
    counters = []
    for place, line in enumerate(lines, start=1):
        try:
            counters.append(decoder.decode(line))
        except (msgspec.DecodeError, json_module.JSONDecodeError) as error:
            raise Refused(f"{path}:{place}: {error}") from None
    return counters
