"""Re-ratings in the record: the port of `backoffice/rerating.py`, the calls that a run looks at, what it keeps of them.

The work on a run (`connectors/rerating.py`) is ordered in its row and claimed by whoever does it: an API, or a command.
A worker that was not heard of for a while has lost its claim, and the next one goes on.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from backoffice.books import Transfer
from backoffice.rerating import AccountRun, Rerating, ReratingSent, State, Work
from backoffice.rerating_items import Charges, Item, PastCdr, Share, Summary, Sums
from connectors.postgres import outbox
from connectors.postgres.change import Change
from connectors.postgres.database import Connection, copy_rows
from connectors.postgres.facts import storable
from connectors.postgres.moments import to_optional_text
from connectors.postgres.past import UnknownVersion, check_version
from connectors.postgres.queries import sql
from schemas.codec import decode_decision, decode_switch_event, encode
from schemas.events import CallAttempt
from schemas.rated import RatedCdr
from schemas.reference import Account
from schemas.times import to_datetime

GONE_SECONDS = 30
"""A worker that was not heard of for so long is gone: it says where it stands every second."""

ITEM_COLUMNS = (
    *("rerating_id", "place", "account_id", "ended_at", "cdr_id", "copy", "service", "called", "provider_id"),
    *("billable_seconds", "cdr_hash", "corrects", "old_retail_micros", "old_wholesale_micros", "new_retail_micros"),
    *("new_wholesale_micros", "old_charges", "new_charges", "problem", "detail"),
)
ACCOUNT_COLUMNS = (
    *("rerating_id", "account_id", "place", "items", "old_retail_micros", "new_retail_micros"),
    *("old_wholesale_micros", "new_wholesale_micros"),
)

_decode_rated = msgspec.json.Decoder(RatedCdr).decode
_decode_charges = msgspec.json.Decoder(Charges).decode


class ReratingRecord:
    """The use cases' `Reratings`, in the transaction of a change or on a connection that only asks."""

    def __init__(self, connection: Change | Connection) -> None:
        self._connection = connection
        self._changing = isinstance(connection, Change)

    async def run(self, rerating_id: int) -> Rerating | None:
        """A run; in a change it stays as it is."""
        if self._changing:
            await self._connection.fetchrow(sql("rerating/lock_run"), rerating_id)
        row = await self._connection.fetchrow(sql("rerating/run"), rerating_id)
        return None if row is None else run_of(row)

    async def insert(self, sent: ReratingSent, since: datetime, until: datetime, at: datetime, author: str) -> int:
        """A new run; its number."""
        found: int = await self._connection.fetchval(
            sql("rerating/insert"),
            since,
            until,
            sent.account_id,
            sent.prefix,
            sent.price_list_id,
            sent.reference_version,
            sent.plans,
            sent.reason,
            at,
            author,
        )
        return found

    async def set_state(self, rerating_id: int, state: State, at: datetime, author: str) -> None:
        """How far a run is."""
        await self._connection.execute(sql("rerating/set_state"), rerating_id, state, at, author)

    async def want(self, rerating_id: int, work: Work, author: str, at: datetime) -> None:
        """Orders work."""
        await self._connection.execute(sql("rerating/want"), rerating_id, work, author, at)

    async def has_account(self, account_id: str) -> bool:
        """Whether the office has it."""
        found: bool = await self._connection.fetchval(sql("rerating/has_account"), account_id)
        return found

    async def has_price_list(self, price_list_id: str) -> bool:
        """Whether there is or was such a list."""
        found: bool = await self._connection.fetchval(sql("rerating/has_price_list"), price_list_id)
        return found

    async def unknown_version(self, version: int) -> str | None:
        """Why a version of the reference data can't be made again; None: it can."""
        connection = self._connection.connection if isinstance(self._connection, Change) else self._connection
        try:
            await check_version(connection, version)
        except UnknownVersion as unknown:
            return str(unknown)
        if version > (latest := await outbox.latest_version(connection)):
            return f"version {version} of the reference data is not published: the latest is {latest}"
        return None

    async def built_upon(self, rerating_id: int) -> int | None:
        """A later run that is posted and has corrected what this one had."""
        found: int | None = await self._connection.fetchval(sql("rerating/built_upon"), rerating_id)
        return found

    async def waiting_orders(self, rerating_id: int) -> int:
        """Of its corrections, those of which the engine has said nothing yet."""
        found: int = await self._connection.fetchval(sql("rerating/orders"), rerating_id, "ordered")
        return found

    async def rejected_orders(self, rerating_id: int) -> int:
        """Of its corrections, those that the engine has rejected."""
        found: int = await self._connection.fetchval(sql("rerating/orders"), rerating_id, "rejected")
        return found

    async def other_at_work(self, rerating_id: int) -> int | None:
        """Another run that is being posted or taken back."""
        found: int | None = await self._connection.fetchval(sql("rerating/other_at_work"), rerating_id)
        return found


def run_of(row: Any) -> Rerating:
    """A run as the use cases know it."""
    values = dict(row)
    for name, value in values.items():
        if isinstance(value, datetime):
            values[name] = to_optional_text(value)
    if values["summary"] is not None:
        values["summary"] = msgspec.convert(values["summary"], Summary)
    return Rerating(**values)


def account_of(row: Any) -> AccountRun:
    """An account of a run."""
    return AccountRun(
        row["rerating_id"],
        row["account_id"],
        row["place"],
        row["items"],
        Sums(
            row["old_retail_micros"], row["new_retail_micros"], row["old_wholesale_micros"], row["new_wholesale_micros"]
        ),
        row["state"],
        row["command_id"],
        row["command_state"],
        row["tries"],
        row["back_command_id"],
        row["back_command_state"],
    )


# -- work -------------------------------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """Work that somebody has taken."""

    rerating_id: int
    work: Work
    wanted_by: str
    worker: UUID


async def claim(connection: Connection, worker: UUID, rerating_id: int | None) -> Claim | None:
    """Takes work that is ordered, of one run or of any; None where there is none."""
    row = await connection.fetchrow(sql("rerating/claim"), worker, rerating_id, float(GONE_SECONDS))
    return None if row is None else Claim(row["rerating_id"], row["wanted"], row["wanted_by"], worker)


# -- the calls of a run -----------------------------------------------------------------------------------------------


async def services(connection: Connection, run: Rerating, since: datetime, until: datetime) -> list[tuple[str, int]]:
    """How many calls of each service a run looks at."""
    rows = await connection.fetch(sql("rerating/services"), since, until, run.account_id, run.prefix)
    return [(row["service"], row["calls"]) for row in rows]


async def slices(
    connection: Connection, run: Rerating, service: str, since: datetime, until: datetime, size: int
) -> AsyncIterator[Sequence[PastCdr]]:
    """The calls of a service in order of their ends, slice by slice; each is read as it stands when it is asked for."""
    place: tuple[datetime, str, int] = (since, "", -1)
    known: dict[int, bool] = {}
    while True:
        async with connection.transaction(readonly=True):
            await connection.execute("SET LOCAL statement_timeout = 0")
            # A plan for any account or none would be good for neither.
            await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            rows = await connection.fetch(
                sql("rerating/cdrs"), service, run.account_id, run.prefix, place[0], until, place[1], place[2], size
            )
            for version in {row["reference_version"] for row in rows} - known.keys():
                known[version] = await _is_known(connection, version)
        if not rows:
            return
        last = rows[-1]
        place = (last["ended_at"], last["cdr_id"], last["copy"])
        yield [_past_cdr(row, known=known[row["reference_version"]]) for row in rows]


async def _is_known(connection: Connection, version: int) -> bool:
    try:
        await check_version(connection, version)
    except UnknownVersion:
        return False
    return True


def _past_cdr(row: Any, *, known: bool) -> PastCdr:
    attempt = None if row["attempt"] is None else decode_switch_event(row["attempt"])
    account = row["account"]
    return PastCdr(
        storable(_decode_rated(row["record"]), row["record"]),
        row["record"],
        row["copy"],
        attempt if isinstance(attempt, CallAttempt) else None,
        None if row["decision"] is None else decode_decision(row["decision"]),
        msgspec.convert(account, Account) if known and account is not None else None,
        row["corrects"],
        None if row["corrected"] is None else _decode_charges(row["corrected"]),
    )


async def write_items(connection: Connection, rerating_id: int, first: int, items: Sequence[Item]) -> None:
    """Keeps items, whose places count on from `first`."""
    rows = [
        (
            rerating_id,
            first + number,
            one.account_id,
            to_datetime(one.ended_us),
            one.cdr_id,
            one.copy,
            one.service,
            one.called,
            one.provider_id,
            one.billable_seconds,
            one.cdr_hash,
            one.corrects,
            one.old_retail_micros,
            one.old_wholesale_micros,
            one.new_retail_micros,
            one.new_wholesale_micros,
            encode(one.old),
            None if one.new is None else encode(one.new),
            one.problem,
            one.detail,
        )
        for number, one in enumerate(items)
    ]
    await copy_rows(connection, "rerating_items", schema="books", columns=ITEM_COLUMNS, rows=rows)


async def write_accounts(connection: Connection, rerating_id: int, accounts: Sequence[tuple[str, int, Sums]]) -> None:
    """Keeps what a run comes to for each account."""
    rows = [
        (
            rerating_id,
            account_id,
            place,
            items,
            sums.old_retail_micros,
            sums.new_retail_micros,
            sums.old_wholesale_micros,
            sums.new_wholesale_micros,
        )
        for place, (account_id, items, sums) in enumerate(accounts, start=1)
    ]
    await copy_rows(connection, "rerating_accounts", schema="books", columns=ACCOUNT_COLUMNS, rows=rows)


# -- posting ----------------------------------------------------------------------------------------------------------


async def shares(tx: Change, rerating_id: int, account_id: str) -> list[Share]:
    """What a run changes for an account, by service and provider."""
    return [Share(*row) for row in await tx.fetch(sql("rerating/shares"), rerating_id, account_id)]


async def add_postings(
    tx: Change, run: AccountRun, transfers: Sequence[Transfer], *, back: bool, day: date, cause_id: str
) -> None:
    """Books what an account's correction is on the side of revenue and cost. They can be booked once."""
    if not transfers:
        return
    await tx.execute(
        sql("rerating/add_postings"),
        run.rerating_id,
        run.account_id,
        back,
        tx.at,
        day,
        cause_id,
        [one.debit.kind for one in transfers],
        [one.debit.owner for one in transfers],
        [one.credit.kind for one in transfers],
        [one.credit.owner for one in transfers],
        [one.amount_micros for one in transfers],
    )


class Corrected(NamedTuple):
    """What a call is charged instead of what was published."""

    rerating_id: int
    retail_micros: int | None
    wholesale_micros: int | None


async def corrections(
    connection: Connection, calls: Sequence[tuple[str, datetime, int]]
) -> dict[tuple[str, datetime, int], Corrected]:
    """Which of some calls (id, end, copy) were corrected, and to what."""
    if not calls:
        return {}
    ids, ends, copies = zip(*calls, strict=True)
    rows = await connection.fetch(sql("rerating/corrections"), list(ids), list(ends), list(copies))
    return {(row["cdr_id"], row["ended_at"], row["copy"]): Corrected(*row[3:]) for row in rows}
