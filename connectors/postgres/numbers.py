"""Numbers of the record, looked at: signs, statistics, the search, a number's way so far (§1.4). Changes nothing.

Signs are the engine's (`engine/ncv.py: sign_of`). The search lets the database choose by the same days; each row that
it gives is judged by that function again.
"""

from datetime import date, datetime, time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg

from backoffice.numbers import quarantine
from backoffice.numbers.availability import availability
from backoffice.numbers.forcing import Callers, Consent, ReleaseRequest
from backoffice.numbers.quarantine import Silence
from backoffice.numbers.sale import Subscriber
from backoffice.numbers.search import COUNTED, Found, Wanted
from backoffice.numbers.settings import NumbersSettings
from backoffice.numbers.timeline import Happening, NumberState, SubscriberState
from connectors.postgres.locks import Queries
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.numbers_query import count_query, search_query
from connectors.postgres.office import number_of
from connectors.postgres.queries import sql
from engine.ncv import AGENTS_PLACE, Collected, Sign, sign_of, since_of
from engine.settings import EngineSettings
from schemas.reference import Number

MOST_STATISTICS_DAYS = 400


class StatisticsDay(NamedTuple):
    """A day of a number. `collected`: statistics of it exist at all; `closed`: it is over, and all of it is known."""

    day: str
    calls: int
    unique_callers: int
    first_at: str | None
    last_at: str | None
    collected: bool
    closed: bool


class Looks:
    """What there is on a business day. `queries` is a pool, or a change under way; of a search, a transaction."""

    def __init__(self, queries: Queries, *, today: date, numbers: NumbersSettings, engine: EngineSettings) -> None:
        self.today = today
        self.time_zone = engine.business_time_zone
        self.settings = numbers
        self._queries = queries
        self._engine = engine
        self._window = date.fromordinal(today.toordinal() - numbers.rest_days)
        self._collected: Collected | None = None

    async def collected(self) -> Collected:
        """The days that signs are decided by; asked once."""
        if self._collected is None:
            row = await self._queries.fetchrow(sql("numbers/collected"), self.today, self._window)
            assert row is not None
            self._collected = Collected(
                self.today.isoformat(), self._window.isoformat(), _text(row["latest"]), _text(row["rested"])
            )
        return self._collected

    async def number_seen(self, number: str) -> Number | None:
        """A number of the capacity, not locked."""
        row = await self._queries.fetchrow(sql("office_api/number_seen"), number)
        return None if row is None else number_of(row)

    async def last_call(self, number: str) -> str | None:
        """The latest day with an unwanted call, up to today."""
        found: date | None = await self._queries.fetchval(sql("numbers/last_call"), number, self.today)
        return None if found is None else found.isoformat()

    async def sign(self, number: Number) -> Sign:
        """The sign of a number that is not in use."""
        return sign_of(number, await self.last_call(number.number), await self.collected())

    async def silence(self, number: Number) -> Silence:
        """What is known of a number's calls in its time."""
        since = date.fromisoformat(since_of(number) or "0001-01-01")
        first = await self._queries.fetchval(sql("numbers/first_day"), since, self.today)
        return Silence(await self.last_call(number.number), None if first is None else first.isoformat())

    async def gaps(self) -> tuple[str, ...]:
        """Days of the window that nobody closed."""
        rows = await self._queries.fetch(sql("numbers/closed_days"), self._window, self.today)
        return quarantine.gaps({row["day"].isoformat() for row in rows}, await self.collected())

    async def callers(self, number: Number) -> Callers:
        """Unwanted calls of the window, in the number's time."""
        since = max(self._window, date.fromisoformat(since_of(number) or "0001-01-01"))
        begins = datetime.combine(since, time(), ZoneInfo(self._engine.business_time_zone))
        row = await self._queries.fetchrow(
            sql("numbers/callers"), number.number, since, begins, sorted(self._engine.ncv_ignored_callers)
        )
        assert row is not None
        return Callers(row["calls"], row["unique_callers"], row["without_number"])

    async def statistics(self, number: str, since: date, until: date) -> tuple[StatisticsDay, ...]:
        """Days, the latest first."""
        rows = await self._queries.fetch(sql("numbers/statistics"), number, since, until)
        return tuple(
            StatisticsDay(
                row["day"].isoformat(),
                row["calls"],
                row["unique_callers"],
                to_optional_text(row["first_at"]),
                to_optional_text(row["last_at"]),
                row["collected"],
                row["closed"],
            )
            for row in rows
        )

    # The search

    async def search(self, wanted: Wanted, after: str, limit: int) -> list[Found]:
        """Numbers in their order, behind `after`."""
        await self._planned()
        rows = await self._queries.fetch(search_query(wanted), after, limit, *await self.terms(wanted))
        return [await self._found(row) for row in rows]

    async def count(self, wanted: Wanted) -> int:
        """How many there are; `COUNTED` + 1 stands for more than that."""
        await self._planned()
        found: int = await self._queries.fetchval(count_query(wanted), "", COUNTED + 1, *await self.terms(wanted))
        return found

    async def _planned(self) -> None:
        # Each search is planned for what it asks: through the numbers in order, until there are enough. The database
        # can't tell how many are of a sign, and would else gather all and sort them.
        await self._queries.fetch(sql("numbers/plan"))

    async def terms(self, wanted: Wanted) -> tuple[object, ...]:
        """The search as the queries take it."""
        days = await self.collected()
        return (
            list(wanted.statuses),
            wanted.region,
            wanted.provider_id,
            wanted.pattern,
            None if wanted.availabilities is None else sorted(wanted.availabilities),
            self.today,
            *self.cuts(days),
            AGENTS_PLACE,
        )

    def cuts(self, days: Collected) -> tuple[date | None, date | None, date]:
        """The days by which the database chooses: latest, rested, window."""
        return _day(days.latest), _day(days.rested), self._window

    async def _found(self, row: asyncpg.Record) -> Found:
        values = dict(row)
        last_call = values.pop("last_call")
        number = number_of(values)
        if number.status == "in_use":
            return Found(number, None, None, None)
        day = None if last_call is None else last_call.isoformat()
        sign = sign_of(number, day, await self.collected())
        return Found(number, sign, availability(number, sign), day)

    # The way so far

    async def happenings(self, number: str) -> Happening:
        """All that became of a number, its subscribers and requests."""
        states = await self._queries.fetch(sql("numbers/history"), number)
        subscribers = await self._queries.fetch(sql("numbers/subscriber_history"), number)
        requests = await self._queries.fetch(sql("numbers/requests_of_number"), number)
        return Happening(
            tuple(
                NumberState(
                    to_moment(row["at"]),
                    row["actor"],
                    row["why"],
                    row["status"],
                    row["account_id"],
                    row["saleable"],
                    _text(row["archived_on"]) or None,
                    row["removed_at"] is not None,
                )
                for row in states
            ),
            tuple(
                SubscriberState(
                    to_moment(row["at"]),
                    row["actor"],
                    row["why"],
                    row["subscriber_id"],
                    row["status"],
                    row["account_id"],
                    row["product"],
                )
                for row in subscribers
            ),
            tuple(request_of(row) for row in requests),
        )

    async def subscriber(self, subscriber_id: str) -> Subscriber | None:
        """A subscriber. Whoever is to change it has locked its number."""
        row = await self._queries.fetchrow(sql("numbers/subscriber"), subscriber_id)
        return None if row is None else subscriber_of(row)

    async def open_subscriber(self, number: str) -> Subscriber | None:
        """Whoever has the number now, or is about to."""
        row = await self._queries.fetchrow(sql("numbers/open_subscriber"), number)
        return None if row is None else subscriber_of(row)

    async def request(self, request_id: str) -> ReleaseRequest | None:
        """A request to release a number."""
        row = await self._queries.fetchrow(sql("numbers/request"), request_id)
        return None if row is None else request_of(row)


def subscriber_of(row: asyncpg.Record) -> Subscriber:
    """A row of `numbers/subscriber`."""
    values: dict[str, Any] = dict(row)
    for name in ("reserved_at", "activated_at", "closed_at"):
        values[name] = to_optional_text(row[name])
    for name in ("planned_on", "reserved_on"):
        values[name] = _text(row[name]) or None
    return Subscriber(**values)


def request_of(row: asyncpg.Record) -> ReleaseRequest:
    """A row of `numbers/request`."""
    values: dict[str, Any] = dict(row)
    for name in ("asked_at", "decided_at", "ended_at"):
        values[name] = to_optional_text(row[name])
    values["asked_on"] = row["asked_on"].isoformat()
    values["consent"] = None if row["consent"] is None else Consent(**row["consent"])
    return ReleaseRequest(**values)


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
