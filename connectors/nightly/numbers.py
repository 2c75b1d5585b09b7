"""The jobs of numbers (§1.4): the day of the statistics is closed, numbers that have rested leave quarantine, and
whoever has not paid in time loses the number."""

from datetime import date, timedelta
from typing import Any

from backoffice.nightly import Job, Night, Step
from backoffice.numbers import sale, states
from backoffice.numbers.quarantine import leaves
from connectors.nightly.work import Work
from connectors.postgres.calendar import working_days
from connectors.postgres.moments import to_moment
from connectors.postgres.numbers_change import NumbersRecord
from connectors.postgres.numbers_days import DayNotKnown, close_day
from connectors.postgres.office import number_of
from connectors.postgres.queries import sql
from engine.ncv import AGENTS_PLACE

NUMBERS = 500
"""That a step frees at most: some tens of milliseconds, in which their rows are locked."""

SUBSCRIBERS = 100
"""That a step looks at: each is closed by itself."""


async def _close_day(work: Work, night: Night, place: Any) -> Step:
    try:
        closed = await close_day(
            work.tx, night.ended, work.engine.business_time_zone, "the day is over and all of it was collected"
        )
    except DayNotKnown as unknown:
        if unknown.for_now:
            return Step(failed=str(unknown))
        # Nothing that waiting would mend: the day stays a gap, and nobody leaves quarantine because of it.
        return Step({"gaps": 1}, notes=[str(unknown)])
    return Step({"days_closed": int(closed)})


async def _free_rested(work: Work, night: Night, place: Any) -> Step:
    record = _record(work, night)
    days, unclosed = await record.collected(), await record.gaps()
    rows = await work.tx.fetch(
        sql("numbers/resting"),
        place or "",
        NUMBERS,
        night.day,
        *record.cuts(days),
        max((date.fromisoformat(day) for day in unclosed), default=None),
        AGENTS_PLACE,
    )
    freed = []
    for row in rows:
        values = dict(row)
        last_call = values.pop("last_call")
        number = number_of(values)
        # The one rule has the last word; the query only spares it numbers.
        if not leaves(number, None if last_call is None else last_call.isoformat(), days, unclosed):
            continue
        after = states.rest(number)
        freed.append(after)
        await work.tx.audit("number", number.number, "rested", number, after)
        await work.tx.publish("number", number.number, after)
    why = f"no calls in {work.numbers.rest_days} days"
    await work.tx.execute(sql("load/numbers"), freed, work.tx.at, work.tx.actor, why)
    notes = [f"a gap in the statistics: {', '.join(unclosed)}"] if unclosed and place is None else []
    return Step({"freed": len(freed)}, place=rows[-1]["number"] if len(rows) == NUMBERS else None, notes=notes)


async def _close_unpaid(work: Work, night: Night, place: Any) -> Step:
    days = work.numbers.payment_working_days
    rows = await work.tx.fetch(sql("numbers/unpaid"), place or "", night.day - timedelta(days=days), SUBSCRIBERS)
    closed = []
    if rows:
        first = min(row["reserved_on"] for row in rows)
        worked = await working_days(work.tx, first, night.day)
        record = _record(work, night)
        for row in rows:
            planned = None if row["planned_on"] is None else row["planned_on"].isoformat()
            begun = sale.days_count_from(row["reserved_on"].isoformat(), planned)
            if worked.after(begun, days) >= night.day:
                continue
            done = await sale.close_unpaid(
                record,
                work.tx,
                row["subscriber_id"],
                sale.UNPAID.format(days=days, day=begun),
                now=to_moment(night.now),
                today=night.day.isoformat(),
            )
            if done is not None:
                closed.append(f"{done.subscriber_id}: number {done.number} of account {done.account_id}")
    more = rows[-1]["subscriber_id"] if len(rows) == SUBSCRIBERS else None
    return Step({"closed": len(closed)}, place=more, notes=closed)


def _record(work: Work, night: Night) -> NumbersRecord:
    return NumbersRecord(work.tx, today=night.day, numbers=work.numbers, engine=work.engine)


NCV_DAY = Job("ncv_day", "closes the day's statistics of unwanted calls", _close_day, missed="each")
QUARANTINE = Job(
    "quarantine", "frees numbers that nobody has called for the days of rest", _free_rested, after=("ncv_day",)
)
UNPAID = Job(
    "unpaid",
    "closes subscribers who have not paid in time, and takes their numbers",
    _close_unpaid,
    after=("quarantine",),
)
