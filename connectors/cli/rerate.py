"""`tollgate rerate …`: re-rating of a period, from the run's terms to its corrections and back.

Looking needs no name. Who makes a run, approves, posts or takes it back is a user of the office, named by `--as` (or by
the system's account of the same name): the rules and the four eyes are those of the API. Work is done by the command
itself, unless a console is at it already: then the command waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import cyclopts
import msgspec

from backoffice import rerating as rules
from backoffice.access import Asker
from backoffice.refusals import NotThere
from backoffice.rerating import Rerating, ReratingSent
from backoffice.rerating_items import Sums
from backoffice.words import in_words
from connectors.cli.acting import As, AsJson, Bar, acting, business_now, changing, on_database
from connectors.cli.app import Refused, app, out, print_json, print_pairs, print_table
from connectors.postgres.database import Database
from connectors.postgres.queries import sql
from connectors.postgres.rerating import ReratingRecord, account_of, run_of
from connectors.rerating import ReratingWork
from engine.settings import EngineSettings
from schemas.money import to_text as money

rerate = cyclopts.App(name="rerate", help="Re-rating of a period: preview, approve, post, roll back.")
app.command(rerate)

Why = Annotated[str, cyclopts.Parameter(help="Why; the audit keeps it.")]
RunId = Annotated[int, cyclopts.Parameter(help="The run's number.")]
SHOWN = 20
"""Price lists, accounts and calls that are shown on a terminal; --json has more."""

LOOK_SECONDS = 0.3
_LAST = 2**63 - 1
_ALL = 1_000_000

Use = Callable[[ReratingRecord, Any, Asker, int, datetime], Awaitable[Rerating]]


# -- what there is ----------------------------------------------------------------------------------------------------


@rerate.command(name="list")
def list_(*, json: AsJson = False) -> None:
    """List the runs, the newest first."""

    async def work(database: Database, _: EngineSettings) -> list[Rerating]:
        return [run_of(row) for row in await database.pool.fetch(sql("rerating/runs"), _LAST, None, _ALL)]

    found = on_database(work)
    if json:
        print_json([msgspec.to_builtins(run) for run in found])
        return
    print_table(
        "Re-ratings",
        ("number", "state", "since", "until", "which", "calls", "retail", "wholesale", "by"),
        [
            (
                str(run.rerating_id),
                _state(run),
                run.since[:10],
                run.until[:10],
                _which(run),
                "" if run.summary is None else f"{run.summary.differing:,}",
                "" if run.summary is None else _difference(*_retail(run.summary.total)),
                "" if run.summary is None else _difference(*_wholesale(run.summary.total)),
                run.created_by,
            )
            for run in found
        ],
    )


@rerate.command
def show(number: RunId, *, json: AsJson = False) -> None:
    """Show a run: its terms, how far it is, and what it comes to."""

    async def work(database: Database, _: EngineSettings) -> tuple[Rerating, list[Any]]:
        run = await _run(database, number)
        rows = await database.pool.fetch(sql("rerating/accounts"), number, 0, _ALL)
        return run, [account_of(row) for row in rows]

    run, accounts = on_database(work)
    if json:
        print_json(
            msgspec.to_builtins(run) | {"accounts": [msgspec.to_builtins(account._asdict()) for account in accounts]}
        )
        return
    _tell(run)
    if accounts:
        print_table(
            "Accounts, the greatest differences first",
            ("account", "calls", "balance", "state", "engine"),
            [
                (
                    one.account_id or "(nobody)",
                    f"{one.items:,}",
                    _signed(one.effect_micros),
                    one.state.replace("_", " "),
                    (one.back_command_state or one.command_state or ""),
                )
                for one in sorted(accounts, key=lambda one: -abs(one.effect_micros))[:SHOWN]
            ],
        )


@rerate.command
def items(
    number: RunId,
    *,
    account: Annotated[str | None, cyclopts.Parameter(help="Only calls of this account.")] = None,
    problems: Annotated[bool, cyclopts.Parameter(help="Only calls that can't be rated anew.", negative="")] = False,
    json: AsJson = False,
) -> None:
    """Show the calls of a run with their charges, old and new. Callers' numbers are not shown, called ones are."""

    async def work(database: Database, _: EngineSettings) -> list[Any]:
        await _run(database, number)
        limit = _ALL if json else SHOWN
        found: list[Any] = await database.pool.fetch(
            sql("rerating/items"), number, 0, account, True if problems else None, limit
        )
        return found

    rows = on_database(work)
    if json:
        print_json([_item(row) for row in rows])
        return
    print_table(
        f"Calls of re-rating {number}",
        ("cdr", "account", "ended", "called", "seconds", "retail", "wholesale", "problem"),
        [
            (
                row["cdr_id"],
                row["account_id"],
                f"{row['ended_at']:%Y-%m-%d %H:%M:%S}",
                row["called"],
                str(row["billable_seconds"]),
                _change(row["old_retail_micros"], row["new_retail_micros"], row["problem"]),
                _change(row["old_wholesale_micros"], row["new_wholesale_micros"], row["problem"]),
                row["detail"] or "",
            )
            for row in rows
        ],
    )


def _item(row: Any) -> dict[str, Any]:
    names = ("place", "cdr_id", "copy", "service", "called", "provider_id", "billable_seconds", "corrects")
    amounts = ("old_retail_micros", "new_retail_micros", "old_wholesale_micros", "new_wholesale_micros")
    found = {name: row[name] for name in (*names, *amounts, "problem", "detail")}
    return found | {
        "account_id": row["account_id"] or None,
        "ended_at": row["ended_at"].isoformat(),
        "old_charges": msgspec.json.decode(row["old_charges"]),
        "new_charges": None if row["new_charges"] is None else msgspec.json.decode(row["new_charges"]),
    }


# -- a run's way ------------------------------------------------------------------------------------------------------


@rerate.command
def make(
    *,
    since: Annotated[str, cyclopts.Parameter(help="Calls that ended then or later.")],
    until: Annotated[str, cyclopts.Parameter(help="… and before that.")],
    reason: Why,
    account: Annotated[str | None, cyclopts.Parameter(help="Only calls of this account.")] = None,
    prefix: Annotated[str | None, cyclopts.Parameter(help="Only calls to numbers that begin so.")] = None,
    price_list: Annotated[
        str | None, cyclopts.Parameter(help="Only calls that are or would be priced by this list, on either side.")
    ] = None,
    reference_version: Annotated[
        int | None,
        cyclopts.Parameter(help="By the prices of this version of the reference data; those in force if left out."),
    ] = None,
    plans: Annotated[
        Literal["then", "by_tables"],
        cyclopts.Parameter(help="Accounts with the plan and place of the call's set-up, or with those of the tables."),
    ] = "then",
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Make a run and preview it: which calls would be charged otherwise, and by how much. Nothing is posted."""
    try:
        sent = msgspec.convert(
            {
                "since": since,
                "until": until,
                "account_id": account,
                "prefix": prefix,
                "price_list_id": price_list,
                "reference_version": reference_version,
                "plans": plans,
                "reason": reason,
            },
            ReratingSent,
        )
    except msgspec.ValidationError as error:
        field = str(error).partition("$.")[2].rstrip("`").replace("_", "-").removesuffix("-id")
        raise Refused(f"--{field}: {in_words(str(error)).partition(' - at `')[0]}") from None

    async def work(database: Database, engine: EngineSettings) -> Rerating:
        who = await acting(database, as_)

        async def made(tx: Any) -> Rerating:
            runs = ReratingRecord(tx)
            run = await rules.make(runs, tx, who, sent, tx.at)
            return await rules.ask_preview(runs, tx, who, run.rerating_id, tx.at)

        run = await changing(database, who, reason, made)
        return await _worked(database, engine, run.rerating_id)

    _answer(on_database(work), json=json)


@rerate.command
def preview(number: RunId, *, reason: Why = "looked at again", as_: As = None, json: AsJson = False) -> None:
    """Preview a run anew; what was approved is so no more."""
    _answer(_used(number, rules.ask_preview, reason, as_), json=json)


@rerate.command
def approve(
    number: RunId,
    *,
    fingerprint: Annotated[
        str | None, cyclopts.Parameter(help="Of the preview that was looked at: another one is not approved.")
    ] = None,
    reason: Why = "looked at",
    as_: As = None,
    json: AsJson = False,
) -> None:
    """Approve a run that somebody else has prepared."""

    async def approved(runs: ReratingRecord, tx: Any, who: Asker, rerating_id: int, now: datetime) -> Rerating:
        return await rules.approve(runs, tx, who, rerating_id, fingerprint, now)

    _answer(_used(number, approved, reason, as_), json=json)


@rerate.command(name="post")
def post_(number: RunId, *, reason: Why = "approved", as_: As = None, json: AsJson = False) -> None:
    """Post an approved run: a correction for each account. One that was stopped in the middle goes on where it was."""
    _answer(_used(number, rules.ask_post, reason, as_), json=json)


@rerate.command
def cancel(number: RunId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Give up a run that is not posted."""
    _answer(_used(number, rules.cancel, reason, as_), json=json)


@rerate.command(name="roll-back")
def roll_back(number: RunId, *, reason: Why, as_: As = None, json: AsJson = False) -> None:
    """Take back a posted run, whole."""
    _answer(_used(number, rules.ask_roll_back, reason, as_), json=json)


# -- common -----------------------------------------------------------------------------------------------------------


async def _run(database: Database, number: int) -> Rerating:
    found = await ReratingRecord(database.pool).run(number)
    if found is None:
        raise NotThere("re-rating", str(number))
    return found


def _used(number: int, use: Use, reason: str, name: str | None) -> Rerating:
    """A run after a use case, and after the work that it has ordered."""

    async def work(database: Database, engine: EngineSettings) -> Rerating:
        who = await acting(database, name)

        async def used(tx: Any) -> Rerating:
            return await use(ReratingRecord(tx), tx, who, number, tx.at)

        run = await changing(database, who, reason, used)
        return await _worked(database, engine, number) if run.wanted is not None else run

    return on_database(work)


async def _worked(database: Database, engine: EngineSettings, number: int) -> Rerating:
    """The run when what was ordered has been done, here or by a console that was faster. Raises Refused."""
    work = ReratingWork(database.pool, engine, lambda: business_now(database))
    with Bar() as bar:
        while await work.run_one(number, bar.told) is None:
            run = await _run(database, number)
            if run.wanted is None:
                break
            bar.told(run.stage or "waiting", run.done, run.total)
            await asyncio.sleep(LOOK_SECONDS)
    run = await _run(database, number)
    if run.failure is not None:
        raise Refused(run.failure)
    return run


def _answer(run: Rerating, *, json: bool) -> None:
    if json:
        print_json(msgspec.to_builtins(run))
    else:
        _tell(run)


def _tell(run: Rerating) -> None:
    out.print(f"Re-rating {run.rerating_id} is {_state(run)}: {run.reason}", markup=False, highlight=False)
    out.print(f"calls that ended {run.since} … {run.until}, {_which(run)}", markup=False, highlight=False)
    if run.failure is not None:
        out.print(f"the last work on it was not done: {run.failure}", markup=False, highlight=False)
    summary = run.summary
    if summary is None:
        return
    total = summary.total
    print_pairs(
        "Difference",
        [
            ("calls looked at", f"{summary.cdrs:,}"),
            ("calls that differ", f"{summary.differing:,}"),
            ("accounts", f"{summary.accounts:,}"),
            ("retail", _more(*_retail(total))),
            ("wholesale", _more(*_wholesale(total))),
            ("margin", _more(total.old_margin_micros, total.new_margin_micros)),
            *[(f"can't be rated anew: {one.reason}", f"{one.calls:,}") for one in summary.problems],
            ("fingerprint", run.fingerprint or ""),
        ],
    )
    if summary.lists:
        print_table(
            "Price lists",
            ("side", "list", "calls", "old", "new", "difference"),
            [
                (
                    one.side,
                    one.price_list_id,
                    f"{one.calls:,}",
                    money(one.old_micros),
                    money(one.new_micros),
                    _signed(one.new_micros - one.old_micros),
                )
                for one in summary.lists[:SHOWN]
            ],
        )


def _state(run: Rerating) -> str:
    words = run.state.replace("_", " ")
    return words if run.wanted is None else f"{words} ({run.wanted.replace('_', ' ')} ordered)"


def _which(run: Rerating) -> str:
    given = (
        ("account", run.account_id),
        ("prefix", run.prefix),
        ("price list", run.price_list_id),
        ("prices of version", run.reference_version),
    )
    words = [f"{name} {value}" for name, value in given if value is not None]
    return ", ".join(words) or "all"


def _retail(total: Sums) -> tuple[int, int]:
    return total.old_retail_micros, total.new_retail_micros


def _wholesale(total: Sums) -> tuple[int, int]:
    return total.old_wholesale_micros, total.new_wholesale_micros


def _more(old: int, new: int) -> str:
    return f"{money(old)} → {money(new)} ({_signed(new - old)})"


def _difference(old: int, new: int) -> str:
    return _signed(new - old)


def _signed(micros: int) -> str:
    return f"+{money(micros)}" if micros > 0 else money(micros)


def _change(old: int | None, new: int | None, problem: str | None) -> str:
    before = "-" if old is None else money(old)
    if problem is not None or old == new:
        return before
    return f"{before} → {'-' if new is None else money(new)}"
