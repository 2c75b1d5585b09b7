"""`tollgate lock …`: locks of the database (§2.2), and the check of a number on it.

Looking needs no name. Who sets, changes or lifts a lock is a user of the office, named by `--as` (or by the system's
account of the same name): the lock's author or a manager, as everywhere else. A login of the database that may only
look can do nothing else here either.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import asyncpg
import cyclopts
import msgspec

from backoffice import locks as rules
from backoffice.access import Asker
from backoffice.as_of import as_of
from backoffice.lock_check import NO_ACCOUNT, Unknown
from backoffice.locks import (
    CoveringLock,
    HistoryEntry,
    LiftSent,
    LockAnswer,
    LockChange,
    LockFilter,
    LockSent,
    OfficeLock,
    Rehearsal,
    RehearsalSent,
    mask,
    number_or_direction,
)
from backoffice.refusals import NotAllowed, NotThere, Refusal
from backoffice.words import in_words
from connectors.cli.acting import acting, business_now, changing
from connectors.cli.app import Refused, app, out, print_json, print_pairs, print_table, settings
from connectors.convert.common import NumberRule
from connectors.postgres import locks as record
from connectors.postgres.change import Change, OutcomeUnknown
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.postgres.locks import LocksRecord, LooksRecord, TrafficRecord, new_lock_id
from connectors.settings import database_settings
from engine.settings import EngineSettings
from schemas.money import to_text as money
from schemas.times import DAY_US, EARLIEST_US, from_datetime, to_datetime

lock = cyclopts.App(name="lock", help="Locks: forbidden prefixes and numbers, with their history.")
app.command(lock)

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

e164 = NumberRule().e164

AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
As = Annotated[
    str | None,
    cyclopts.Parameter(name="--as", help="The user of the office who does it; the system's user if left out."),
]
Why = Annotated[str, cyclopts.Parameter(help="Why; the history keeps it.")]
LockId = Annotated[str, cyclopts.Parameter(help="The lock's id.")]
Mask = Annotated[str, cyclopts.Parameter(help="A prefix in E.164 (38, +381, 3811XXX), or with --kind number a number.")]
Kind = Annotated[Literal["prefix", "number"], cyclopts.Parameter(help="Whether it bans a prefix or a whole number.")]
Account = Annotated[str | None, cyclopts.Parameter(help="On this account; on everyone if left out.")]
Provider = Annotated[str | None, cyclopts.Parameter(help="Through this provider; through any if left out.")]
Until = Annotated[str | None, cyclopts.Parameter(help="The moment at which it is lifted by itself.")]


@lock.command(name="set")
def set_(
    digits: Mask,
    *,
    reason: Annotated[str, cyclopts.Parameter(help="Why calls there are banned: support reads it.")],
    kind: Kind = "prefix",
    account: Account = None,
    provider: Provider = None,
    until: Until = None,
    id_: Annotated[str | None, cyclopts.Parameter(name="--id", help="An id of one's own.")] = None,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Set a lock: its author is who sets it. `tollgate lock rehearse` tells beforehand what it would stop."""
    sent = _fit(
        LockSent,
        kind=kind,
        digits=digits,
        account_id=account,
        provider_id=provider,
        reason=reason,
        ends_at=until,
        lock_id=id_,
    )

    async def work(tx: Change, who: Asker, engine: EngineSettings) -> OfficeLock:
        return await rules.set_lock(
            LocksRecord(tx), tx, who, sent, lock_id=sent.lock_id or new_lock_id(), now=tx.at, settings=engine, e164=e164
        )

    _tell(_changed(as_, sent.reason, work), "is set", json=json)


@lock.command
def change(
    lock_id: LockId,
    *,
    reason: Why,
    digits: Mask | None = None,
    kind: Annotated[Literal["prefix", "number"] | None, cyclopts.Parameter(help="Prefix or whole number.")] = None,
    account: Annotated[str | None, cyclopts.Parameter(help="On this account; '' on everyone.")] = None,
    provider: Annotated[str | None, cyclopts.Parameter(help="Through this provider; '' through any.")] = None,
    new_reason: Annotated[str | None, cyclopts.Parameter(help="Why calls there are banned.")] = None,
    until: Annotated[str | None, cyclopts.Parameter(help="When it is lifted by itself; '' never.")] = None,
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Change a lock that is in force; what is left out stays. For its author and managers."""
    given = {
        "digits": digits,
        "kind": kind,
        "account_id": account,
        "provider_id": provider,
        "new_reason": new_reason,
        "ends_at": until,
    }
    optional = ("account_id", "provider_id", "ends_at")
    sent = _fit(
        LockChange,
        reason=reason,
        **{
            name: None if name in optional and value == "" else value
            for name, value in given.items()
            if value is not None
        },
    )

    async def work(tx: Change, who: Asker, engine: EngineSettings) -> OfficeLock:
        return await rules.change_lock(LocksRecord(tx), tx, who, lock_id, sent, now=tx.at, settings=engine, e164=e164)

    _tell(_changed(as_, reason, work), "is in force", json=json)


@lock.command
def lift(lock_id: LockId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Lift a lock. For its author and managers; nothing is deleted, its history stays."""
    sent = _fit(LiftSent, reason=reason)

    async def work(tx: Change, who: Asker, engine: EngineSettings) -> OfficeLock:
        return await rules.lift_lock(LocksRecord(tx), tx, who, lock_id, sent)

    _tell(_changed(as_, reason, work), "is lifted", json=json)


@lock.command
def expire(*, json: AsJson = False) -> None:
    """Lift the locks that were set until a moment that has come."""

    async def work(database: Database, engine: EngineSettings) -> list[OfficeLock]:
        return list(await record.end_due_locks(database.pool, await business_now(database)))

    found = _run(work)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        for one in found:
            _say(f"{_words(one)} is lifted: it was set until {one.ends_at}")
        if not found:
            _say("no lock's time is over")


@lock.command(name="list")
def list_(
    *,
    account: Annotated[str | None, cyclopts.Parameter(help="Those on this account.")] = None,
    everyone: Annotated[
        bool, cyclopts.Parameter(name="--global", negative="", help="Those for everyone («Запрещенные регионы»).")
    ] = False,
    number: Annotated[str | None, cyclopts.Parameter(help="Those that cover this number.")] = None,
    begins_with: Annotated[str | None, cyclopts.Parameter(help="Those whose masks begin so.")] = None,
    provider: Annotated[str | None, cyclopts.Parameter(help="Those through this provider.")] = None,
    author: Annotated[str | None, cyclopts.Parameter(help="Those that this user has set.")] = None,
    text: Annotated[str | None, cyclopts.Parameter(help="Those whose reason holds this.")] = None,
    state: Annotated[Literal["in_force", "lifted", "all"], cyclopts.Parameter(help="In force or lifted.")] = "in_force",
    at: Annotated[str | None, cyclopts.Parameter(help="As they were then: a moment, or a day and its end.")] = None,
    limit: Annotated[int, cyclopts.Parameter(help="How many.", validator=cyclopts.validators.Number(gte=1))] = 100,
    json: AsJson = False,
) -> None:
    """List locks, the newest first."""
    wanted = LockFilter(
        state,
        "global" if everyone else None,
        account,
        provider,
        author,
        None if begins_with is None else _digits("prefix", begins_with, "--begins-with"),
        None if number is None else _asked_digits(number, "--number"),
        text,
    )

    async def work(database: Database, engine: EngineSettings) -> record.LockPage:
        asked = (
            wanted
            if at is None
            else msgspec.structs.replace(wanted, as_of=_as_of(at, await business_now(database), engine))
        )
        return await record.page(database.pool, asked, after=None, limit=limit)

    found = _run(work)
    if json:
        print_json({"total": found.total, "locks": msgspec.to_builtins(found.locks)})
        return
    print_table(
        f"{len(found.locks)} of {found.total} locks",
        ("lock", "bans", "author", "since", "until", "why"),
        [
            (
                one.lock_id,
                _bans(one),
                one.author,
                one.created_at[:10],
                f"lifted {one.lifted_at[:10]}" if one.lifted_at else (one.ends_at or "")[:16],
                one.reason,
            )
            for one in found.locks
        ],
    )


@lock.command
def history(lock_id: LockId, *, json: AsJson = False) -> None:
    """Who made a lock, when, why, and every change since («История записи»)."""

    async def work(database: Database, engine: EngineSettings) -> tuple[tuple[HistoryEntry, ...], str]:
        found = (await record.histories(database.pool, [lock_id])).get(lock_id)
        if found is None:
            raise NotThere("lock", lock_id)
        author = found[-1].author
        known = await record.colleagues(database.pool, [author])
        return found, rules.whom_to_ask(author, known.get(author))

    entries, ask = _run(work)
    if json:
        print_json({"lock_id": lock_id, "ask": ask, "history": msgspec.to_builtins(entries)})
        return
    for one in entries:
        role = "" if one.acted_as is None else f" ({one.acted_as})"
        what = f"{one.action}: {', '.join(one.changed)}" if one.action == "changed" else one.action
        until = "" if one.ends_at is None else f", until {one.ends_at}"
        _say(f"{one.revision}. {one.at} {one.actor}{role}: {what}, because: {one.why}")
        _say(f"   {_bans(one)}{until}; {one.reason}")
    _say(f"ask {ask}")


@lock.command
def check(
    number: Annotated[str, cyclopts.Parameter(help="As people write it: +381 11 411 20 60, 8(495)200-02-00, …")],
    *,
    account: Annotated[str | None, cyclopts.Parameter(help="Whose call; global locks alone if left out.")] = None,
    at: Annotated[
        str | None,
        cyclopts.Parameter(help="What covered it at a past moment, or at the end of a day; now if left out."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Which locks cover a number or direction, and which one denies (§2.2); exit code 1 if any covers any of it."""
    return check_in_database(number, account, at, json=json)


def check_in_database(number: str, account: str | None, at: str | None, *, json: bool) -> int:
    """The check on the record; prints the answer. Raises Refused."""
    digits = _asked_digits(number, "the number")

    async def work(database: Database, engine: EngineSettings) -> LockAnswer:
        now = await business_now(database)
        moment = None if at is None else _as_of(at, now, engine)
        if account is not None and not await LooksRecord(database.pool).has_account(account):
            raise NotThere("account", account)
        return await record.check(
            database.pool, engine, number=digits, account_id=account or NO_ACCOUNT, at=now, as_of=moment
        )

    found = _run(work)
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        if found.locks:
            print_table(
                f"Locks that cover {found.number} for {f'account {account}' if account else 'everyone'}",
                ("", "lock", "mask", "scope", "provider", "author", "since", "why"),
                [_found_row(one) for one in found.locks],
            )
            for one in found.locks:
                _say(f"{one.lock_id}: ask {one.ask}; {_told(one.history)}")
        if found.longer and not found.full_ban:
            print_table(
                f"{len(found.longer)} of {found.longer_total} locks within {found.number}",
                ("lock", "mask", "scope", "provider", "author", "since", "why"),
                [
                    (
                        one.lock_id,
                        f"{one.digits} ({one.kind})",
                        one.scope,
                        one.provider_id or "all",
                        one.author,
                        one.created_at[:10],
                        one.why,
                    )
                    for one in found.longer
                ],
            )
        _say(found.verdict)
    return 1 if found.locks or found.longer else 0


def _found_row(one: CoveringLock) -> tuple[str, ...]:
    provider = "all" if one.provider_id is None else one.provider_id
    return (
        "►" if one.deciding else "",
        one.lock_id + ("" if one.in_force else " (lifted since)"),
        f"{one.digits} ({one.kind})",
        one.scope,
        provider + (f" ({one.provider_name})" if one.provider_name else ""),
        one.author,
        one.created_at[:10],
        one.why,
    )


def _told(entries: tuple[HistoryEntry, ...]) -> str:
    return ", ".join(f"{one.action} {one.at[:10]} by {one.actor}" for one in entries)


@lock.command
def rehearse(
    digits: Mask,
    *,
    kind: Kind = "prefix",
    account: Account = None,
    provider: Provider = None,
    days: Annotated[int, cyclopts.Parameter(help="Whose calls are asked: those of so many past days.")] = 7,
    limit: Annotated[int, cyclopts.Parameter(help="How many clients are shown.")] = 20,
    json: AsJson = False,
) -> None:
    """Which calls of the last days a lock would have stopped, by client. Nothing is set."""
    sent = _fit(
        RehearsalSent, kind=kind, digits=digits, account_id=account, provider_id=provider, days=days, limit=limit
    )

    async def work(database: Database, engine: EngineSettings) -> Rehearsal:
        until = await business_now(database)
        since = to_datetime(max(from_datetime(until) - sent.days * DAY_US, EARLIEST_US))
        return await rules.rehearse(
            LooksRecord(database.pool),
            TrafficRecord(database.pool),
            sent,
            since=since,
            until=until,
            settings=engine,
            e164=e164,
        )

    found = _run(work)
    if json:
        print_json(msgspec.to_builtins(found))
        return
    print_pairs(
        f"A lock on {found.kind} {found.digits}, as of {found.since} … {found.until}",
        [
            ("calls it would have stopped", f"{found.stopped_calls:,}"),
            ("their seconds", f"{found.stopped_seconds:,}"),
            ("revenue lost", money(found.lost_revenue_micros)),
            ("cost saved", money(found.saved_cost_micros)),
            ("calls through another provider instead", f"{found.rerouted_calls:,}"),
            ("calls that it would not have touched", f"{found.untouched_calls:,}"),
            ("calls carried without a permission", f"{found.unasked_calls:,}"),
        ],
    )
    if found.clients:
        print_table(
            f"{len(found.clients)} of {found.clients_affected} clients",
            ("client", "name", "stopped", "seconds", "revenue lost", "rerouted"),
            [
                (
                    one.client_id or "–",
                    one.client_name or "",
                    f"{one.stopped_calls:,}",
                    f"{one.stopped_seconds:,}",
                    money(one.lost_revenue_micros),
                    f"{one.rerouted_calls:,}",
                )
                for one in found.clients
            ],
        )
    if found.same_as:
        _say(f"lock {found.same_as} bans the very same already: another one can't be set")
    elif found.covered_by:
        _say(f"banned already, all of it, by {', '.join(found.covered_by)}")


# -- how it is done ---------------------------------------------------------------------------------------------------


def _tell(found: OfficeLock, what: str, *, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        _say(f"{_words(found)} {what}")


def _words(one: OfficeLock) -> str:
    return f"lock {one.lock_id} on {_bans(one)}, set by {one.author},"


def _bans(one: OfficeLock | HistoryEntry) -> str:
    where = "for everyone" if one.account_id is None else f"on account {one.account_id}"
    through = "" if one.provider_id is None else f" through {one.provider_id}"
    return f"{one.kind} {one.digits} {where}{through}"


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _digits(kind: Literal["prefix", "number"], text: str, what: str) -> str:
    try:
        return mask(kind, text, e164)
    except ValueError as error:
        raise Refused(f"{what}: {error}") from None


def _asked_digits(text: str, what: str) -> str:
    try:
        return number_or_direction(text, e164)
    except ValueError as error:
        raise Refused(f"{what}: {error}") from None


def _as_of(text: str, now: datetime, engine: EngineSettings) -> datetime:
    try:
        return as_of(text, time_zone=engine.business_time_zone, now=now)
    except ValueError as error:
        raise Refused(f"--at: {error}") from None


def _fit(struct: type[S], /, **values: Any) -> S:
    """The values as the API would take them. Raises Refused."""
    try:
        return msgspec.convert(values, struct)
    except msgspec.ValidationError as error:
        raise Refused(in_words(str(error))) from None


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
    except (DatabaseTrouble, Refusal, Unknown) as refused:
        raise Refused(str(refused)) from None
    except OutcomeUnknown as error:
        raise Refused(f"{error}; look whether it is there (tollgate lock list)") from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refused(
            f"the database's login may look and not change anything ({error}): setting, changing and lifting locks is "
            "for whoever works with the rights of tollgate_app"
        ) from None
    except DRIVER_TROUBLES as error:
        raise Refused(f"{explained(error, where)}") from None
