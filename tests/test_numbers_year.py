"""A year of numbers' life on a simulated calendar: sellers and managers through the API, calls through the engine, the
jobs of each night, and day by day a model that shares no code with any of it (tests/models/numbers.py)."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from api import APP, Api, api_on
from postgres import TestedDatabase
from recorded import Recorded, recorded

from connectors.nightly import Nightly
from connectors.nightly.numbers import NCV_DAY, QUARANTINE, UNPAID
from connectors.postgres.change import change
from connectors.postgres.clock import BusinessClock, ClockState, set_clock
from connectors.postgres.database import Database, open_database
from connectors.settings import NightlySettings
from engine.settings import EngineSettings
from schemas.times import from_datetime, to_text
from tests.models.numbers import Numbers

MOSCOW = ZoneInfo("Europe/Moscow")
FIRST, LAST = date(2026, 1, 12), date(2026, 12, 30)
ACCOUNT = "100200"
WHY = {"reason": "a year"}
GAPS = {date(2026, 3, 17), date(2026, 8, 4)}
"""Days of which something is missing: a counter that could not be read waits aside."""

NOBODYS = "79990000000"
"""No number of the capacity. A call there only shows that the engine is awake; most nights are quiet."""


class Year:
    """The story: `model` is what should be, the API and the record are what is."""

    def __init__(self, seed: int, api: Api, office: Recorded, owner: Database) -> None:
        self.random = random.Random(seed)
        self.api = api
        self.office = office
        self.owner = owner
        self.model = Numbers()
        self.done: Counter[str] = Counter()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._calls = 0

    # Time

    async def at(self, day: date, hour: int, minute: int = 0) -> None:
        """It is so late in Moscow."""
        self.now = datetime(day.year, day.month, day.day, hour, minute, tzinfo=MOSCOW).astimezone(UTC)
        self.office.now = self.now
        async with change(self.owner.pool, actor="test", reason="a year", at=self.now) as tx:
            await set_clock(tx, ClockState("stopped", stopped_us=from_datetime(self.now)))

    async def run(self) -> None:
        day = FIRST
        for tail in range(14):
            self.model.enter(f"7495120{tail:04}", day, ignored=tail < 2)
        await self.at(day, 0, 1)
        for number, life in self.model.lives.items():
            await self.api.ok("PUT", f"/api/numbers/{number}", json={"fmtn": life.ignored, "region": "Москва"})
        await self.office.publish()
        while day <= LAST:
            await self.day(day)
            day += timedelta(days=1)

    async def day(self, day: date) -> None:
        if self.random.random() < 0.3:
            await self.calls(day, 0, 0, pulse=True)
        await self.night(day)
        await self.compare(day)
        await self.calls(day, 1, 11)
        await self.at(day, 12)
        for _ in range(self.random.choice((0, 1, 1, 2, 2))):
            await self.random.choice((self.sell, self.sell, self.sell, self.activate, self.close, self.force))(day)
        await self.office.publish()
        await self.calls(day, 13, 23)
        if day.day % 5 == 0:
            await self.at(day, 23, 59)
            await self.compare(day)

    # What happens

    async def calls(self, day: date, first: int, last: int, *, pulse: bool = False) -> None:
        """Calls between two hours; some numbers are never forgotten, others by and by."""
        events = []
        numbers = [NOBODYS] if pulse else []
        for number in self.model.lives if last else ():
            often = 0.12 if number.endswith(("3", "7")) else 0.008
            numbers += [number] * (self.random.random() < often)
        for number in numbers:
            minute = self.random.randrange(1, 6) if pulse else self.random.randrange(60)
            at = datetime(day.year, day.month, day.day, self.random.randint(first, last), minute, tzinfo=MOSCOW)
            self._calls += 1
            event = {
                "type": "call_attempt",
                "attempt_id": f"a{self._calls}",
                "switch_id": "sw1",
                "at": to_text(from_datetime(at)),
                "service": "incoming",
                "called": number,
                "caller": f"7916{self.random.randrange(30):07}",
            }
            events.append((at, event))
            self.done["calls"] += self.model.call(number, day, at)
        if events:
            events.sort(key=lambda one: one[0])
            self.now = self.office.now = events[-1][0].astimezone(UTC)
            await self.office.take(*[event for _, event in events])

    async def night(self, day: date) -> None:
        await self.at(day, 0, 10)
        assert await self.office.known()
        gap = day - timedelta(days=1) in GAPS
        if gap:
            await self.owner.pool.execute(
                "INSERT INTO facts.unprojected VALUES ('number-ncv', 0, 999999, NULL, NULL, now(), 'not read')"
            )
        freed, lost = self.model.night(day, gap=gap)
        nightly = Nightly(
            self.api.database.pool,
            (NCV_DAY, QUARANTINE, UNPAID),
            clock=BusinessClock(settable=True),
            engine=EngineSettings(),
            settings=NightlySettings(),
        )
        results = {one.turn.job: one for one in await nightly.run(by="test")}
        assert {one.state for one in results.values()} == {"done"}, results
        counts = {name: dict(one.report.counts) for name, one in results.items()}
        assert counts["quarantine"] == {"freed": len(freed)}, (day, freed)
        assert counts["unpaid"] == {"closed": len(lost)}, (day, lost)
        assert {note.partition(":")[0] for note in results["unpaid"].report.notes} == lost
        assert counts["ncv_day"] == ({"gaps": 1} if gap else {"days_closed": 1})
        self.done["freed"] += len(freed)
        self.done["lost"] += len(lost)
        if gap:
            await self.owner.pool.execute("DELETE FROM facts.unprojected")
        if freed or lost:
            await self.office.publish()

    async def sell(self, day: date) -> None:
        number = self.random.choice(list(self.model.lives))
        planned = day + timedelta(days=self.random.randint(1, 20)) if self.random.random() < 0.3 else None
        sent: dict[str, Any] = {"number": number, "account_id": ACCOUNT, "product": "ВАТС"}
        if planned is not None:
            sent["planned_on"] = planned.isoformat()
        answer = await self.api.ask("POST", "/api/subscribers", role="sales", json=sent)
        if self.model.may_be_sold(number, day):
            assert answer.status_code == 201, (day, number, answer.text)
            self.model.sell(number, answer.json()["subscriber_id"], self.now, day, planned)
            self.done["sold"] += 1
        else:
            assert answer.status_code == 409, (day, number, answer.text)
            self.done["not sold"] += 1

    async def activate(self, day: date) -> None:
        for number, life in self.model.lives.items():
            if life.status == "reserved" and life.sale is not None:
                path = f"/api/subscribers/{life.sale.subscriber}/activate"
                await self.api.ok("POST", path, role="sales", json=WHY)
                self.model.activate(number)
                self.done["activated"] += 1
                return

    async def close(self, day: date) -> None:
        """A subscriber leaves, by either door."""
        having = [number for number, life in self.model.lives.items() if life.sale is not None]
        if not having:
            return
        number = self.random.choice(having)
        sale = self.model.lives[number].sale
        assert sale is not None
        path = self.random.choice((f"/api/subscribers/{sale.subscriber}/close", f"/api/numbers/{number}/release"))
        await self.api.ok("POST", path, role="support", json=WHY)
        self.model.close(number, day)
        self.done["closed"] += 1

    async def force(self, day: date) -> None:
        number = self.random.choice(list(self.model.lives))
        life = self.model.lives[number]
        wanted = {"client_id": "mail", **WHY}
        answer = await self.api.ask("POST", f"/api/numbers/{number}/requests", role="sales", json=wanted)
        if life.status not in ("free", "archive") or self.model.may_be_sold(number, day):
            assert answer.status_code == 409, (day, number, answer.text)
            return
        assert answer.status_code == 201, answer.text
        path = f"/api/number-requests/{answer.json()['request_id']}"
        if answer.json()["state"] == "waiting_for_client":
            assert (await self.api.ask("POST", f"{path}/approve", json=WHY)).status_code == 409
            await self.api.ok("POST", f"{path}/consent", role="sales", json={"text": "Да", "given_by": "Директор"})
            self.done["agreed"] += 1
        await self.api.ok("POST", f"{path}/approve", json=WHY)
        self.model.force(number)
        self.done["forced"] += 1

    # What must be so

    async def compare(self, day: date) -> None:
        numbers = "number=7495120%25&"
        found = await self.api.ok("GET", f"/api/numbers?{numbers}availability=green&availability=red&limit=5000")
        green = await self.api.ok("GET", f"/api/numbers?{numbers}availability=green&status=free&limit=5000")
        is_so = {
            one["number"]: (one["status"], one["availability"], one["sign"], one["sellable"]) for one in found["items"]
        }
        model = self.model
        should_be = {
            number: (
                life.status,
                model.availability(number, day),
                model.sign(number, day),
                model.may_be_sold(number, day),
            )
            for number, life in model.lives.items()
            if life.status != "in_use"
        }
        assert is_so == should_be, day
        sellable = {number for number, row in should_be.items() if row[3]}
        assert {one["number"] for one in green["items"]} == sellable, "what is listed is what may be sold"


def test_a_year_of_numbers_is_what_the_model_says_day_by_day(database: TestedDatabase) -> None:
    async def story(owner: Database) -> None:
        async with (
            open_database(database.settings, role=APP) as db,
            recorded(owner) as office,
            api_on(db) as api,
        ):
            await api.user("manager1", "manager")
            await api.ok("PUT", "/api/number-groups/keepers", json={"members": ["manager1"], **WHY})
            client = {"kind": "company", "name": "ООО «Восток 200»", "emails": ["client@example.org"]}
            await api.ok("PUT", "/api/clients/mail", json=client)
            year = Year(2026, api, office, owner)
            await year.run()

            assert min(year.done[what] for what in ("freed", "lost", "sold", "not sold", "activated")) > 3, year.done
            assert min(year.done[what] for what in ("closed", "forced")) > 3, year.done
            assert year.done["calls"] > 200, year.done
            rows = await owner.pool.fetch("SELECT number, day, calls FROM facts.ncv WHERE number LIKE '7495120%'")
            counted = Counter((number, day) for number, life in year.model.lives.items() for day, _ in life.calls)
            assert {(row["number"], row["day"]): row["calls"] for row in rows} == counted, "each once, and no other"

    database.run(story)
