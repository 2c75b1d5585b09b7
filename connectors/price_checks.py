"""Looks at a version of a price list before it is published: lint, and rehearsals on the calls of the last days.

Both work on the reference data in force, which somebody has in memory already or which are read from the record, and on
the version's prices, read in a stream. The work is done in another thread, part by part; where it stands is written
beside its result, so that any process can tell. One at a time in a process: each of them takes a processor.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from backoffice.price_lint import Finding, Known, LintReport, lint
from backoffice.price_lists import Version
from backoffice.price_overlay import PriceDeck, pinned, with_deck
from backoffice.price_rehearsal import PastCall, Rehearsal, Rehearser, Wanted, plans_with, timeless
from connectors.postgres import price_lists, reference
from connectors.postgres.clock import real_now_us
from connectors.postgres.database import Connection, Pool, copy_rows
from connectors.postgres.moments import to_moment
from connectors.postgres.price_versions import VersionRecord
from connectors.postgres.queries import sql
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.events import Cdr
from schemas.reference import Provider
from schemas.times import from_datetime, to_datetime, to_text

log = logging.getLogger(__name__)

Kind = Literal["lint", "rehearsal"]

BEAT_SECONDS = 1.0
"""How often a check says where it stands."""

CALLS_AT_ONCE = 2_000
FINDINGS_AT_ONCE = 1_000
SERVICES = ("outgoing", "forwarding", "incoming", "intra_office", "calls_rec", "calls_rec_unlim")
"""Services that the contract names."""


class CheckFailed(Exception):
    """A check that can't be made. Says why and what to do."""


class Where:
    """Where a check stands; written in one thread and read in another."""

    def __init__(self, told: Callable[[str, int, int], None] = lambda _stage, _done, _total: None) -> None:
        self._told = told
        self._stopped = threading.Event()
        self.now: tuple[str, int, int] = ("waiting", 0, 0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise CheckFailed("was stopped")
        self.now = (stage, done, total)
        self._told(stage, done, total)

    def stop(self) -> None:
        """The thread that works gives up at its next step."""
        self._stopped.set()


# -- the work ---------------------------------------------------------------------------------------------------------


async def lint_version(
    pool: Pool,
    settings: EngineSettings,
    version: Version,
    *,
    at: datetime,
    now: datetime,
    in_force: Reference | None,
    where: Where,
) -> LintReport:
    """What the rules say of a version that is meant for a moment `at`.

    `in_force`: the reference data; None: those that the record has for the business moment `now` are read, which takes
    some seconds for a million prices. Raises CheckFailed.
    """
    async with reference.snapshot(pool) as connection:
        before = await _before(connection, pool, version, now, in_force, where)
        deck = await _deck(connection, version, where)
        reading = await VersionRecord(connection).reading(version)
        known = await _known(connection, before)

        def work() -> LintReport:
            where("tables", 0, 0)
            after = with_deck(before, deck)
            return lint(
                settings, deck, before, after, at_us=from_datetime(at), known=known, reading=reading, progress=where
            )

        found: LintReport = await _aside(work, where)
        prefixes = sorted({finding.prefix for finding in found.findings})
        lines = {
            prefix: tuple(of)
            for prefix, of in await connection.fetch(sql("price_versions/lines_of"), version.version_id, prefixes)
        }
        return replace(
            found,
            findings=tuple(
                [
                    finding if finding.lines else replace(finding, lines=lines.get(finding.prefix, ()))
                    for finding in found.findings
                ]
            ),
        )


async def rehearse_version(
    pool: Pool,
    settings: EngineSettings,
    version: Version,
    wanted: Wanted,
    *,
    at: datetime,
    now: datetime,
    in_force: Reference | None,
    where: Where,
) -> Rehearsal:
    """What the calls of the days before `now` would have brought with a version that is meant for a moment `at`.

    `in_force` as for `lint_version`. Raises CheckFailed.
    """
    begun = time.monotonic()
    until = now
    since = until - timedelta(days=wanted.days)
    async with reference.snapshot(pool) as connection:
        before = await _before(connection, pool, version, now, in_force, where)
        deck = await _deck(connection, version, where, at_us=from_datetime(at))
        after = await _aside(lambda: with_deck(before, deck), where)
        plans = plans_with(before, version.price_list_id) if version.kind == "retail" else None
        which = (since, until, version.provider_id, plans)
        count = await connection.fetchval(sql("price_versions/count_past_calls"), *which)
        one_in = -(-count // wanted.most_calls) or 1
        rehearser = Rehearser(settings, version.price_list(), before, after)
        cursor = await connection.cursor(sql("price_versions/past_calls"), *which, one_in)
        done, total = 0, -(-count // one_in)
        priced = time.monotonic()
        while rows := await cursor.fetch(CALLS_AT_ONCE):
            where("calls", done, total)
            await _aside(lambda rows=rows: rehearser.add(_past_calls(rows)), where)  # type: ignore[misc]
            done += len(rows)
        seconds = time.monotonic() - priced
    log.info("version %s rehearsed: %d calls in %.1f s", version.key, done, time.monotonic() - begun)
    return rehearser.result(
        since=to_moment(since), until=to_moment(until), calls_in_period=count, one_in=one_in, seconds=seconds
    )


async def _before(
    connection: Connection, pool: Pool, version: Version, now: datetime, in_force: Reference | None, where: Where
) -> Reference:
    """The reference data in force, pinned; the version's provider is among them even if it is new."""
    if in_force is None:
        where("reference data", 0, 0)
        folder = await reference.read_reference(pool, at=now)
        in_force = await _aside(
            lambda: Reference(
                accounts=folder.accounts.values(),
                providers=folder.providers.values(),
                plans=folder.tariff_plans.values(),
                price_lists=folder.price_lists.values(),
                prices=folder.prices,
                bands=folder.bands.values(),
                locks=folder.locks.values(),
                numbers=folder.numbers.values(),
                discounts=folder.discounts,
            ),
            where,
        )
    before = pinned(in_force)
    if version.provider_id is not None and version.provider_id not in before.providers:
        row = await connection.fetchrow(sql("price_versions/provider"), version.provider_id)
        before.providers[version.provider_id] = Provider(*row)
    return before


async def _deck(connection: Connection, version: Version, where: Where, *, at_us: int | None = None) -> PriceDeck:
    """The version's prices. `at_us`: those of a moment, without their dates."""
    price_list = version.price_list()
    if at_us is not None:
        price_list = replace(price_list, valid_from=None, valid_to=None)
    deck = PriceDeck(price_list, (await reference.read_bands(connection)).values())
    async for rows in price_lists.prices(connection, version.version_id):
        where("prices", deck.rows, version.prices)
        try:
            await _aside(lambda rows=rows: deck.add(rows if at_us is None else timeless(rows, at_us)), where)  # type: ignore[misc]
        except KeyError as missing:
            raise CheckFailed(f"the prices name band {missing}, which is not there any more") from None
    await _aside(deck.finish, where)
    return deck


async def _known(connection: Connection, before: Reference) -> Known:
    services = {*SERVICES, *(row[0] for row in await connection.fetch(sql("price_versions/services")))}
    places = {row[0] for row in await connection.fetch(sql("price_versions/places"))}
    return Known(services, places, await VersionRecord(connection).bands())


def _past_calls(rows: list[Any]) -> Iterator[PastCall]:
    for row in rows:
        called, place, incoming_service = row["called"], row["place"], row["incoming_service"]
        started_at = row["started_at"]
        setup_at = row["setup_at"]
        if setup_at is not None:
            if row["asked_service"] == row["service"]:
                called, place, incoming_service = row["asked_called"], row["asked_place"], row["asked_incoming_service"]
            # Prices are those of the set-up. By clocks that differ a call may be answered before it was set up.
            if setup_at <= (row["answered_at"] or row["ended_at"]):
                started_at = setup_at
        yield PastCall(
            Cdr(
                row["cdr_id"],
                row["switch_id"],
                row["service"],
                called,
                to_text(from_datetime(started_at)),
                to_text(from_datetime(row["ended_at"])),
                None,
                row["account_id"],
                None,
                place,
                incoming_service,
                row["provider_id"],
                None if row["answered_at"] is None else to_text(from_datetime(row["answered_at"])),
                row["billable_seconds"],
            ),
            row["retail_micros"],
            row["wholesale_micros"],
        )


async def _aside(work: Callable[[], Any], where: Where) -> Any:
    """Runs it in another thread; where this task is cancelled, the thread gives up at its next step."""
    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        where.stop()
        raise


# -- in the background ------------------------------------------------------------------------------------------------


class Check(NamedTuple):
    """A check as it stands."""

    check_id: int
    kind: Kind
    state: Literal["running", "done", "failed", "lost"]
    at: datetime
    asked_at: datetime
    asked_by: str
    parameters: Any
    stage: str
    done: int
    total: int
    ended_at: datetime | None
    result: Any
    failure: str | None


class PriceChecks:
    """The checks of a process. `begin` one, then ask `check`."""

    def __init__(self, pool: Pool, settings: EngineSettings, in_force: Callable[[], Reference | None]) -> None:
        """`in_force` gives the reference data that the process has in memory, if it has them."""
        self._pool = pool
        self._settings = settings
        self._in_force = in_force
        self._turn = asyncio.Semaphore(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def begin_lint(self, version: Version, *, at: datetime, now: datetime, author: str) -> int:
        """Begins a lint for the moment that the version is meant for; the one that is under way, if there is one."""

        async def work(where: Where) -> Any:
            return await lint_version(
                self._pool, self._settings, version, at=at, now=now, in_force=self._in_force(), where=where
            )

        return await self._begin(version, "lint", {}, work, at=at, author=author)

    async def begin_rehearsal(
        self, version: Version, wanted: Wanted, *, at: datetime, now: datetime, author: str
    ) -> int:
        """Begins a rehearsal; the one that is under way, if there is one."""

        async def work(where: Where) -> Any:
            return await rehearse_version(
                self._pool, self._settings, version, wanted, at=at, now=now, in_force=self._in_force(), where=where
            )

        return await self._begin(version, "rehearsal", msgspec.to_builtins(wanted), work, at=at, author=author)

    async def wait(self, check_id: int, seconds: float) -> None:
        """Until a check of this process has ended, but no longer than that."""
        if (task := self._tasks.get(check_id)) is not None:
            await asyncio.wait([task], timeout=seconds)

    async def close(self) -> None:
        """Stops what is under way; it is marked as failed."""
        for task in list(self._tasks.values()):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _begin(
        self,
        version: Version,
        kind: Kind,
        parameters: Any,
        work: Callable[[Where], Awaitable[Any]],
        *,
        at: datetime,
        author: str,
    ) -> int:
        row = await self._pool.fetchrow(
            sql("price_versions/begin_check"),
            version.version_id,
            kind,
            at,
            to_datetime(real_now_us()),
            author,
            parameters,
        )
        check_id: int = row["check_id"]
        if row["begun"]:
            task = asyncio.create_task(self._run(check_id, version, work), name=f"price check {check_id}")
            self._tasks[check_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(check_id, None))
        return check_id

    async def _run(self, check_id: int, version: Version, work: Callable[[Where], Awaitable[Any]]) -> None:
        where = Where()
        beating = asyncio.create_task(self._beat(check_id, where))
        try:
            async with self._turn:
                found = await work(where)
            await _keep(self._pool, check_id, found)
        except CheckFailed as failed:
            await self._fail(check_id, str(failed))
        except asyncio.CancelledError:
            with suppress(Exception):
                await asyncio.shield(self._fail(check_id, "the process that worked on it was stopped; ask again"))
            raise
        except Exception:
            log.exception("check %d of version %s", check_id, version.key)
            with suppress(Exception):
                await self._fail(check_id, "something went wrong here; the log says what. Ask again")
        finally:
            beating.cancel()

    async def _beat(self, check_id: int, where: Where) -> None:
        while True:
            try:
                await self._pool.execute(sql("price_versions/beat"), check_id, *where.now)
            except Exception:
                # The work itself will meet what is wrong with the database.
                log.warning("check %d can't say where it stands", check_id, exc_info=True)
            await asyncio.sleep(BEAT_SECONDS)

    async def _fail(self, check_id: int, why: str) -> None:
        await self._pool.execute(
            sql("price_versions/end_check"), check_id, "failed", None, why, to_datetime(real_now_us())
        )


async def _keep(pool: Pool, check_id: int, found: LintReport | Rehearsal) -> None:
    result = msgspec.to_builtins(found)
    async with pool.acquire() as connection, connection.transaction():
        if isinstance(found, LintReport):
            del result["findings"]
            await keep_findings(connection, check_id, found.findings)
        await connection.execute(
            sql("price_versions/end_check"), check_id, "done", result, None, to_datetime(real_now_us())
        )


async def store_lint(pool: Pool, version: Version, found: LintReport, *, at: datetime, author: str) -> None:
    """Keeps a lint that was made without `PriceChecks`."""
    now = to_datetime(real_now_us())
    row = await pool.fetchrow(sql("price_versions/begin_check"), version.version_id, "lint", at, now, author, {})
    await _keep(pool, row["check_id"], found)


async def keep_findings(connection: Connection, check_id: int, findings: tuple[Finding, ...]) -> None:
    """Writes the findings of a lint, in their order."""
    await copy_rows(
        connection,
        "price_findings",
        schema="office",
        columns=(
            *("check_id", "place", "rule", "severity", "prefix", "prefixes", "other_list_id", "provider_id", "lines"),
            *("text", "remedy"),
        ),
        rows=[
            (
                check_id,
                place,
                finding.rule,
                finding.severity,
                finding.prefix,
                finding.prefixes,
                finding.other_list_id,
                finding.provider_id,
                list(finding.lines),
                finding.text,
                finding.remedy,
            )
            for place, finding in enumerate(findings, start=1)
        ],
    )


async def check_of(pool: Pool, version: Version, kind: Kind, check_id: int | None = None) -> Check | None:
    """The latest check of a kind, or the one with an id."""
    row = await pool.fetchrow(sql("price_versions/check"), version.version_id, kind, check_id)
    if row is None:
        return None
    return Check(
        row["check_id"],
        row["kind"],
        row["state"],
        row["at"],
        row["asked_at"],
        row["asked_by"],
        row["parameters"],
        row["stage"],
        row["done"],
        row["total"],
        row["ended_at"],
        row["result"],
        row["failure"],
    )
