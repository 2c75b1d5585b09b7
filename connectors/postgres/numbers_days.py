"""Closing a day of the statistics: from then on a number without a counter is known not to have been called (D6)."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from connectors.postgres.change import Change
from connectors.postgres.queries import sql
from schemas import topics


class DayNotKnown(Exception):
    """It can't be said that all calls of the day were counted. `for_now`: it will be said by itself."""

    def __init__(self, text: str, *, for_now: bool) -> None:
        super().__init__(text)
        self.for_now = for_now


async def close_day(tx: Change, day: date, time_zone: str, why: str, *, by_hand: bool = False) -> bool:
    """Closes a business day that has ended; False where it is closed already.

    `by_hand`: somebody says that all of it is there, such as after a replay; only what is still to come is asked for
    then. Raises DayNotKnown.
    """
    starts = datetime.combine(day, time(), ZoneInfo(time_zone))
    ends = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(time_zone))
    row = await tx.fetchrow(sql("numbers/heard"), day, ends, starts, topics.NUMBER_NCV.name)
    assert row is not None
    if row["closed"]:
        return False
    if not row["begun"]:
        raise DayNotKnown(f"{day} stays a gap: nothing that an engine says was ever projected here", for_now=False)
    if not row["heard"]:
        raise DayNotKnown(
            f"not all calls of {day} have been worked off and projected yet: are the engine and the projector at work?",
            for_now=True,
        )
    if not by_hand and (row["laid_aside"] or row["lost"]):
        raise DayNotKnown(
            f"{day} stays a gap: {row['laid_aside']} counters wait aside (facts.unprojected), {row['lost']} stretches "
            f"of {topics.NUMBER_NCV.name} were lost (facts.gaps); when they are back, close the day by hand: "
            f"tollgate number close-day {day}",
            for_now=False,
        )
    await tx.execute(sql("numbers/close_day"), day, tx.at, tx.actor, why, row["called_numbers"], row["calls"])
    await tx.audit(
        "ncv_day", day.isoformat(), "closed", None, {"called_numbers": row["called_numbers"], "calls": row["calls"]}
    )
    return True
