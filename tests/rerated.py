"""The busy half hour in the past: the whole system with its calls rated, and prices that change afterwards."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest
from api import GENEROUS
from msgspec.structs import replace
from postgres import TestedDatabase
from projected import BALANCES, BUSY, EVENTS, RATED, ZONE, Json, Said

from backoffice import rerating as rules
from backoffice.access import Asker, asker
from backoffice.rerating import Rerating, ReratingSent
from connectors.audit import audit
from connectors.broker import Record
from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.postgres.change import Change, change
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from connectors.postgres.rerating import ReratingRecord
from connectors.rerating import ReratingWork, ReratingWorker
from connectors.system import PARTITIONS, System, running
from engine.settings import EngineSettings
from schemas.reference import PriceRow
from schemas.times import to_datetime, to_us

LOADED_AT = to_datetime(to_us("2026-11-24T00:00:00.000Z"))
SINCE, UNTIL = "2026-11-24T00:00:00.000Z", "2026-11-27T00:00:00.000Z"
ENGINE = EngineSettings()

MAKER = asker("boris", "billing")
APPROVER = asker("anna", "manager")


class Published(Said):
    """What the engine of a system has published."""

    def __init__(self, system: System) -> None:
        self._broker = system.broker

    def said(self, topic: str) -> list[Record]:
        return [record for partition in range(PARTITIONS) for record in self._broker.committed(topic, partition)]


@dataclass
class Past:
    """The system and its past. `work` does what is ordered, when it is told to."""

    settings: Any
    system: System
    work: ReratingWork
    folder: ReferenceFolder

    @property
    def db(self) -> Database:
        return self.system.database

    async def now(self) -> datetime:
        return await self.system.clock.now(self.db.pool)

    # Prices

    async def change_prices(self, factors: Mapping[str, int], **more: Any) -> None:
        """All prices of some lists that many times as high, in force from now on."""
        self.folder = replace_prices(self.folder, factors)
        await self.load(self.folder)

    async def load(self, folder: ReferenceFolder) -> None:
        async with open_database(self.settings, role=None) as owner:
            await load_folder(owner.pool, folder, author="test", at=await self.now())
        await self.system.published()

    # Runs

    async def changing(self, who: Asker, do: Callable[[ReratingRecord, Change], Any]) -> Any:
        async with change(self.db.pool, actor=who.actor, reason="a test", at=await self.now(), role=who.role) as tx:
            return await do(ReratingRecord(tx), tx)

    async def make(self, who: Asker = MAKER, **terms: Any) -> Rerating:
        sent = ReratingSent(**{"since": SINCE, "until": UNTIL, "reason": "wrong prices", **terms})
        now = await self.now()
        made: Rerating = await self.changing(who, lambda runs, tx: rules.make(runs, tx, who, sent, now))
        return made

    async def ordered(self, what: Any, run: Rerating, who: Asker, *more: Any) -> Rerating:
        now = await self.now()
        found: Rerating = await self.changing(who, lambda runs, tx: what(runs, tx, who, run.rerating_id, *more, now))
        return found

    async def run(self, rerating_id: int) -> Rerating:
        async with self.db.pool.acquire() as connection:
            found = await ReratingRecord(connection).run(rerating_id)
        assert found is not None
        return found

    async def worked(self, run: Rerating) -> Rerating:
        """The run after what was ordered has been done, or has failed."""
        assert await self.work.run_one(run.rerating_id) == run.rerating_id
        return await self.run(run.rerating_id)

    async def previewed(self, who: Asker = MAKER, **terms: Any) -> Rerating:
        made = await self.make(who, **terms)
        await self.ordered(rules.ask_preview, made, who)
        found = await self.worked(made)
        assert (found.state, found.failure) == ("previewed", None)
        return found

    async def approved(self, run: Rerating, who: Asker = APPROVER) -> Rerating:
        return await self.ordered(rules.approve, run, who, run.fingerprint)

    async def posted(self, run: Rerating) -> Rerating:
        """Approved, posted, and carried out by the engine."""
        await self.approved(run)
        await self.ordered(rules.ask_post, run, MAKER)
        found = await self.worked(run)
        assert (found.state, found.failure) == ("posted", None)
        await self.settled()
        return found

    async def rolled_back(self, run: Rerating) -> Rerating:
        await self.ordered(rules.ask_roll_back, run, APPROVER)
        found = await self.worked(run)
        assert (found.state, found.failure) == ("rolled_back", None)
        await self.settled()
        return found

    async def items(self, run: Rerating) -> list[Any]:
        found: list[Any] = await self.db.pool.fetch(
            "SELECT * FROM books.rerating_items WHERE rerating_id = $1 ORDER BY place", run.rerating_id
        )
        return found

    # What is so

    async def settled(self) -> None:
        """Until the engine has carried out what was ordered, and the database says so."""
        await self.system.published()
        await self.system.worked_off()
        await self.system.projected()

    async def green(self) -> None:
        """The audit finds nothing, and nothing is on its way."""
        await self.settled()
        report = await audit(self.db.pool, self.system.broker, business_time_zone=ZONE)
        assert report.findings == []
        assert report.on_its_way == {}

    def rated(self) -> list[Json]:
        """The rated CDRs as they were published."""
        return Published(self.system).told(RATED)

    def balances(self) -> dict[str, int]:
        """What the engine last said of each account."""
        return {one["account_id"]: one["balance_micros"] for one in Published(self.system).told(BALANCES)}

    async def ledger(self) -> dict[tuple[str, str], int]:
        """What each account of the books comes to, those that come to nothing left out."""
        rows = await self.db.pool.fetch(
            "SELECT kind, owner, sum(moved)::bigint AS micros FROM ("
            " SELECT credit AS ledger_id, amount_micros AS moved FROM books.transfers"
            " UNION ALL SELECT debit, -amount_micros FROM books.transfers"
            ") m JOIN books.accounts USING (ledger_id) GROUP BY kind, owner"
        )
        return {(row["kind"], row["owner"]): row["micros"] for row in rows if row["micros"]}


@asynccontextmanager
async def past(database: TestedDatabase) -> AsyncIterator[Past]:
    """The half hour is over: all its calls are in the record. Work is done when the test says so."""
    folder = read_reference_folder(
        BUSY / "reference", business_time_zone=ENGINE.business_time_zone, emergency_numbers=ENGINE.emergency_numbers
    )
    async with open_database(database.settings, role=None) as owner:
        await load_folder(owner.pool, folder, author="test", at=LOADED_AT)
    async with running(database.settings, http=replace(GENEROUS, port=0)) as system:
        await system.feed([BUSY / EVENTS])
        await system.projected()
        work = ReratingWork(system.database.pool, ENGINE, lambda: system.clock.now(system.database.pool))
        yield Past(database.settings, system, work, folder)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody works in the background."""

    async def idle(_: ReratingWorker) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ReratingWorker, "run", idle)


def replace_prices(folder: ReferenceFolder, factors: Mapping[str, int]) -> ReferenceFolder:
    """A folder whose prices of some lists are that many times as high."""

    def dearer(row: PriceRow) -> PriceRow:
        factor = factors.get(row.price_list_id, 1)
        return replace(
            row,
            price_micros=row.price_micros * factor,
            connect_fee_micros=row.connect_fee_micros * factor,
            attempt_fee_micros=row.attempt_fee_micros * factor,
            min_charge_micros=None if row.min_charge_micros is None else row.min_charge_micros * factor,
            max_charge_micros=None if row.max_charge_micros is None else row.max_charge_micros * factor,
        )

    return dataclasses.replace(folder, prices=[dearer(row) for row in folder.prices])


def charged(charge: Json | None, factor: int = 1) -> int:
    """What a charge would be at prices that many times as high: its exact sum, rounded by its own rule."""
    if charge is None:
        return 0
    exact = Fraction(charge["exact"]) * factor * 10 ** charge["decimals"]
    whole, rest = divmod(exact.numerator, exact.denominator)
    more = {"up": rest > 0, "half_up": 2 * rest >= exact.denominator, "down": False}[charge["rounding"]]
    return int((whole + more) * 10 ** (6 - charge["decimals"]))


def expected(rated: list[Json], factors: Mapping[str, int]) -> dict[str, tuple[int, int, int, int]]:
    """By CDR: old and new retail, old and new wholesale, of those that differ."""
    found = {}
    for one in rated:
        amounts: list[int] = []
        for side in ("retail", "wholesale"):
            charge = one[side]
            factor = 1 if charge is None else factors.get(charge["price_list_id"], 1)
            amounts += [charged(charge), charged(charge, factor)]
        if amounts[0] != amounts[1] or amounts[2] != amounts[3]:
            found[one["cdr_id"]] = (amounts[0], amounts[1], amounts[2], amounts[3])
    return found
