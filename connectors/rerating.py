"""The work on re-ratings: previews, postings, roll backs. It is ordered in the run's row and done by whoever claims it.

A preview reads the calls slice by slice, rates each slice in another thread, and keeps the items as it goes; what a
preview that did not end has kept is thrown away by the next one. A posting is: 1. all items are compared with what
their calls are charged now, and the run is marked as being posted, of which there is one at a time; 2. each account in
a transaction of its own: the order to the engine, the postings, the account's mark; 3. the run is marked as posted.
Whoever dies in between leaves accounts that are marked and accounts that are not, and the next one goes on with these.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg

from backoffice.refusals import InTheWay
from backoffice.rerating import AccountRun, Rerating, entry_id, order_of, record_of
from backoffice.rerating_items import Fingerprint, Item, PastCdr, Tally, compare, postings
from connectors.postgres import outbox, reference
from connectors.postgres import rerating as record
from connectors.postgres.change import COMMAND, Change, change
from connectors.postgres.database import DRIVER_TROUBLES, Pool, borrowed
from connectors.postgres.moments import from_text
from connectors.postgres.office import OfficeRecord
from connectors.postgres.past import PastTables, UnknownVersion
from connectors.postgres.queries import sql
from connectors.postgres.rerating import Claim, ReratingRecord
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.times import from_datetime

log = logging.getLogger("tollgate.rerating")

CDRS_AT_ONCE = 1_000
"""A slice of a preview: some 50 ms of rating, and as long a transaction."""

ITEMS_AT_ONCE = 2_000
BEAT_SECONDS = 1.0
"""How often a worker says where it stands."""

LOOK_SECONDS = 1.0
"""How often a process looks for work that was ordered."""

AGAIN_SECONDS = 5.0

Told = Callable[[str, int, int], None]
Clock = Callable[[], Awaitable[datetime]]


class Failed(Exception):
    """The work can't be done. Says why and what to do."""


class Lost(Exception):
    """Another worker has taken the run."""


class Where:
    """Where the work stands."""

    def __init__(self, told: Told | None = None) -> None:
        self._told = told
        self.now: tuple[str, int, int] = ("waiting", 0, 0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.now = (stage, done, total)
        if self._told is not None:
            self._told(stage, done, total)


class ReratingWork:
    """Does what is ordered: `run_one` at a time."""

    def __init__(self, pool: Pool, settings: EngineSettings, clock: Clock) -> None:
        """`clock`: the business clock."""
        self._pool = pool
        self._settings = settings
        self._clock = clock

    async def run_one(self, rerating_id: int | None = None, told: Told | None = None) -> int | None:
        """Claims what is ordered (of this run, or of any) and does it; the run's number, None where there was nothing.

        Why it could not be done stands in the run. Raises asyncpg's errors, and leaves the work for another one then.
        """
        async with self._pool.acquire() as connection:
            claim = await record.claim(connection, uuid4(), rerating_id)
        if claim is None:
            return None
        where = Where(told)
        beating = asyncio.create_task(self._beat(claim, where))
        try:
            failure = None
            try:
                await self._do(claim, where)
            except (Failed, InTheWay, UnknownVersion) as failed:
                failure = str(failed)
            except Lost:
                log.warning("re-rating %d was taken by another worker", claim.rerating_id)
                return claim.rerating_id
            beating.cancel()
            await self._pool.execute(sql("rerating/end_work"), claim.rerating_id, claim.worker, failure)
        except BaseException:
            with suppress(Exception):
                await asyncio.shield(self._pool.execute(sql("rerating/leave_work"), claim.rerating_id, claim.worker))
            raise
        finally:
            beating.cancel()
        return claim.rerating_id

    async def _beat(self, claim: Claim, where: Where) -> None:
        while True:
            try:
                await self._pool.execute(sql("rerating/beat"), claim.rerating_id, claim.worker, *where.now)
            except Exception:
                # The work itself will meet what is wrong with the database.
                log.warning("re-rating %d can't say where it stands", claim.rerating_id, exc_info=True)
            await asyncio.sleep(BEAT_SECONDS)

    async def _do(self, claim: Claim, where: Where) -> None:
        async with self._pool.acquire() as connection:
            run = await ReratingRecord(connection).run(claim.rerating_id)
        assert run is not None, "a run that is claimed is there"
        match claim.work:
            case "preview":
                await _Preview(self, claim, run, where).make()
            case "post":
                await _Posting(self, claim, run, where, back=False).make()
            case "roll_back":
                await _Posting(self, claim, run, where, back=True).make()

    @asynccontextmanager
    async def change(self, claim: Claim, reason: str) -> AsyncIterator[Change]:
        """A change in the name of whoever ordered the work."""
        async with change(
            self._pool, actor=claim.wanted_by, reason=reason, at=await self._clock(), interface="re-rating"
        ) as tx:
            yield tx

    @property
    def pool(self) -> Pool:
        """The record."""
        return self._pool

    @property
    def settings(self) -> EngineSettings:
        """By which calls are rated."""
        return self._settings

    async def now(self) -> datetime:
        """The business moment."""
        return await self._clock()


# -- preview ----------------------------------------------------------------------------------------------------------


class _Preview:
    def __init__(self, work: ReratingWork, claim: Claim, run: Rerating, where: Where) -> None:
        self._work = work
        self._claim = claim
        self._run = run
        self._where = where
        self._tally = Tally()
        self._places = 0

    async def make(self) -> None:
        run, where = self._run, self._where
        if run.state != "draft":
            raise Failed(f"re-rating {run.rerating_id} is {run.state}: there is nothing to preview")
        since, until = from_text(run.since), from_text(run.until)
        async with self._mine() as connection:
            await connection.execute(sql("rerating/forget_items"), run.rerating_id)
            await connection.execute(sql("rerating/forget_accounts"), run.rerating_id)
        where("reference data", 0, 0)
        tables, version = await self._tables()
        where("calls", 0, 0)
        began = time.monotonic()
        cdrs = 0
        async with self._work.pool.acquire() as connection:
            counts = await record.services(connection, run, since, until)
            total = sum(count for _, count in counts)
            for service, _ in counts:
                async for slice_ in record.slices(connection, run, service, since, until, CDRS_AT_ONCE):
                    where("calls", cdrs, total)
                    items = await asyncio.to_thread(self._rate, tables, slice_)
                    await self._keep(items)
                    cdrs += len(slice_)
        log.info("re-rating %d: %d calls in %.1f s", run.rerating_id, cdrs, time.monotonic() - began)
        where("sums", cdrs, total)
        await self._finish(cdrs, version)

    async def _tables(self) -> tuple[Reference, int]:
        run = self._run
        if run.reference_version is not None:
            return await PastTables(self._work.pool, keep=1).at(run.reference_version), run.reference_version
        now = await self._work.now()
        folder = await reference.read_reference(self._work.pool, at=now)
        async with self._work.pool.acquire() as connection:
            version = await outbox.latest_version(connection)

        def made() -> Reference:
            return Reference(
                accounts=folder.accounts.values(),
                providers=folder.providers.values(),
                plans=folder.tariff_plans.values(),
                price_lists=folder.price_lists.values(),
                prices=folder.prices,
                bands=folder.bands.values(),
                discounts=folder.discounts,
            )

        return await asyncio.to_thread(made), version

    def _rate(self, tables: Reference, slice_: Sequence[PastCdr]) -> list[Item]:
        run, found = self._run, []
        for past in slice_:
            item, lists = compare(self._work.settings, tables, past, plans=run.plans)
            if item is not None and (run.price_list_id is None or run.price_list_id in lists):
                found.append(item)
        return found

    async def _keep(self, items: Sequence[Item]) -> None:
        if not items:
            return
        async with self._mine() as connection:
            await record.write_items(connection, self._run.rerating_id, self._places + 1, items)
        self._tally.add(items)
        self._places += len(items)

    @asynccontextmanager
    async def _mine(self) -> AsyncIterator[asyncpg.Connection]:
        """A transaction as long as the run is this worker's. Raises Lost."""
        async with borrowed(self._work.pool) as connection, connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            if not await connection.fetchval(sql("rerating/still_mine"), self._claim.rerating_id, self._claim.worker):
                raise Lost
            yield connection

    async def _finish(self, cdrs: int, version: int) -> None:
        run, tally = self._run, self._tally
        accounts = [(name, calls, sums) for name, (calls, sums) in sorted(tally.accounts.items())]
        summary = tally.summary(cdrs=cdrs, tables_version=version)
        async with self._work.change(self._claim, run.reason) as tx:
            await tx.execute("SET LOCAL statement_timeout = 0")
            runs = ReratingRecord(tx)
            before = await runs.run(run.rerating_id)
            if not await tx.fetchval(sql("rerating/still_mine"), self._claim.rerating_id, self._claim.worker):
                raise Lost
            await record.write_accounts(tx.connection, run.rerating_id, accounts)
            await tx.execute(sql("rerating/keep_preview"), run.rerating_id, tally.fingerprint(), summary)
            await runs.set_state(run.rerating_id, "previewed", tx.at, self._claim.wanted_by)
            await tx.audit("rerating", str(run.rerating_id), "previewed", before, await runs.run(run.rerating_id))


# -- posting, roll back -----------------------------------------------------------------------------------------------


class _Posting:
    def __init__(self, work: ReratingWork, claim: Claim, run: Rerating, where: Where, *, back: bool) -> None:
        self._work = work
        self._claim = claim
        self._run = run
        self._where = where
        self._back = back
        self._days = ZoneInfo(work.settings.business_time_zone)

    async def make(self) -> None:
        begins, under_way, done = (
            ("posted", "rolling_back", "rolled_back") if self._back else ("approved", "posting", "posted")
        )
        if self._run.state == begins and (self._back or self._run.state == "approved"):
            await self._begin(under_way)
        elif self._run.state != under_way and not (self._run.state == "posted" and not self._back):
            raise Failed(f"re-rating {self._run.rerating_id} is {self._run.state} meanwhile")
        await self._accounts()
        if self._run.state != done:
            await self._end(under_way, done)

    async def _begin(self, under_way: str) -> None:
        run = self._run
        try:
            async with self._work.change(self._claim, run.reason) as tx:
                await tx.execute("SET LOCAL statement_timeout = 0")
                runs = ReratingRecord(tx)
                before = await runs.run(run.rerating_id)
                assert before is not None
                if self._back:
                    if (later := await runs.built_upon(run.rerating_id)) is not None:
                        raise InTheWay(f"re-rating {later} has corrected the same calls since: take that back first")
                else:
                    await self._compare(tx, before)
                await runs.set_state(run.rerating_id, under_way, tx.at, self._claim.wanted_by)  # type: ignore[arg-type]
                action = "roll back begun" if self._back else "posting begun"
                await tx.audit("rerating", str(run.rerating_id), action, before, await runs.run(run.rerating_id))
        except asyncpg.UniqueViolationError:
            raise Failed("another re-rating is being posted or taken back: ask again when it is done") from None
        except asyncpg.InsufficientPrivilegeError:
            raise Failed(f"re-rating {run.rerating_id} was changed meanwhile: look at it, and ask again") from None

    async def _compare(self, tx: Change, run: Rerating) -> None:
        """Whether the calls are charged what they were when they were previewed. Raises Failed."""
        strangers = [row["account_id"] for row in await tx.fetch(sql("rerating/strangers"), run.rerating_id)]
        if strangers:
            raise Failed(
                f"the office has no account {', '.join(strangers)}: nothing can be ordered for them; enter them first"
            )
        assert run.summary is not None
        made, seen = Fingerprint(), 0
        differing: list[str] = []
        cursor = await tx.connection.cursor(sql("rerating/charged_now"), run.rerating_id)
        while rows := await cursor.fetch(ITEMS_AT_ONCE):
            self._where("comparing", seen, run.summary.differing)
            for row in rows:
                if row["differs"] and len(differing) < 3:
                    differing.append(row["cdr_id"])
                made.add(
                    row["cdr_id"],
                    from_datetime(row["ended_at"]),
                    row["copy"],
                    row["cdr_hash"] or b"",
                    row["corrects"],
                    row["retail_micros"],
                    row["wholesale_micros"],
                )
            seen += len(rows)
        if made.digest().hex() != run.fingerprint:
            what = f" (CDR {', '.join(differing)}, …)" if differing else ""
            raise Failed(
                f"calls of re-rating {run.rerating_id} are not charged any more what they were when it was previewed"
                f"{what}: another re-rating was posted or taken back since; preview it again, and have it approved"
            )

    async def _accounts(self) -> None:
        run = self._run
        state = "posted" if self._back else "previewed"
        async with self._work.pool.acquire() as connection:
            rows = await connection.fetch(sql("rerating/to_do"), run.rerating_id, state, not self._back)
        for done, row in enumerate(rows):
            self._where("accounts", done, len(rows))
            async with self._work.change(self._claim, run.reason) as tx:
                await self._account(tx, row["account_id"])
        self._where("accounts", len(rows), len(rows))

    async def _account(self, tx: Change, account_id: str) -> None:
        """One account in one transaction. Who finds it done already does nothing."""
        rerating_id = self._run.rerating_id
        state = await tx.fetchval(sql("rerating/share_run"), rerating_id)
        before = record.account_of(await tx.fetchrow(sql("rerating/account"), rerating_id, account_id))
        again = before.state == "posted" and before.command_state == "rejected" and not self._back
        if not again and (before.state, state) != (
            ("posted", "rolling_back") if self._back else ("previewed", "posting")
        ):
            return
        order = order_of(before, self._claim.wanted_by, self._run.reason, tx.at, back=self._back)
        if not again:
            moved = postings(await record.shares(tx, rerating_id, account_id), back=self._back)
            day = tx.at.astimezone(self._days).date()
            await record.add_postings(
                tx, before, moved, back=self._back, day=day, cause_id=entry_id(before, back=self._back)
            )
        if order is not None:
            await OfficeRecord(tx).save_command(order)
            await tx.audit("command", order.command_id, "ordered", None, order)
            await tx.publish(COMMAND, account_id, record_of(order))
        await self._mark(tx, before, None if order is None else order.command_id, again=again)

    async def _mark(self, tx: Change, before: AccountRun, command_id: str | None, *, again: bool) -> None:
        key = (before.rerating_id, before.account_id)
        if again:
            action = "ordered again"
            await tx.execute(sql("rerating/set_ordered_again"), *key, command_id)
        elif self._back:
            action = "taken back"
            await tx.execute(sql("rerating/set_back"), *key, tx.at, command_id)
        else:
            action = "posted"
            await tx.execute(sql("rerating/set_posted"), *key, tx.at, command_id)
        after = record.account_of(await tx.fetchrow(sql("rerating/account"), *key))
        await tx.audit(
            "rerating_account",
            f"{before.rerating_id}/{before.account_id}",
            action,
            before._asdict(),
            after._asdict(),
        )

    async def _end(self, under_way: str, done: str) -> None:
        rerating_id = self._run.rerating_id
        async with self._work.change(self._claim, self._run.reason) as tx:
            runs = ReratingRecord(tx)
            before = await runs.run(rerating_id)
            assert before is not None
            if before.state != under_way:
                return  # another worker was faster
            await runs.set_state(rerating_id, done, tx.at, self._claim.wanted_by)  # type: ignore[arg-type]
            action = "taken back" if self._back else "posted"
            await tx.audit("rerating", str(rerating_id), action, before, await runs.run(rerating_id))


# -- in the background ------------------------------------------------------------------------------------------------


class ReratingWorker:
    """Does what is ordered for as long as a process runs: `run` until it is cancelled, which leaves what is under way
    for the next one."""

    def __init__(self, work: ReratingWork, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._work = work
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Looks for work for ever; waits where the database is away."""
        while True:
            try:
                if await self._work.run_one() is None:
                    await asyncio.sleep(self._look_seconds)
            except DRIVER_TROUBLES as error:
                log.warning("re-ratings wait for the database: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                # One run that can't be worked on is no reason to end the process; its row says that nobody works on it.
                log.exception("a re-rating could not be worked on; it is tried again")
                await asyncio.sleep(AGAIN_SECONDS)
