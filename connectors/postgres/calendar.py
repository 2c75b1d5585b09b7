"""The production calendar as the record has it."""

from datetime import date, timedelta

from backoffice.working_days import Period, WorkingDays
from connectors.postgres.access import Queries
from connectors.postgres.queries import sql

AHEAD = timedelta(days=1_000)
"""So far a calendar is read from a day on: 365 working days and some."""


async def working_days(queries: Queries, since: date, until: date | None = None) -> WorkingDays:
    """What is worked from a day on, for counting the working days after it; up to `until` where that is known."""
    until = until or since + AHEAD
    days = await queries.fetch(sql("office_api/calendar"), since, until)
    periods = await queries.fetch(sql("office_api/calendar_loaded"), since, until)
    return WorkingDays({row["day"]: row["kind"] for row in days}, tuple(Period(*row) for row in periods))
