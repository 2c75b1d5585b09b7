"""Working days: which days are worked, and the n-th of them after a day (§1.4, D8).

The loaded production calendar says it for the periods that it was loaded for: a day that it does not name is what its
weekday says. Elsewhere the public holidays of Russia and the days that its government has moved count, as the package
`holidays` knows them; of years that nothing has been decreed for yet it knows what the Labour Code says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, NamedTuple

import holidays

Kind = Literal["working", "shortened", "day_off"]

SATURDAY = 5

LONGEST_REST = 60
"""Days: a calendar in which nobody works for longer is a slip of the pen, and a count that would not end."""


class Period(NamedTuple):
    """From a day to a day; both belong to it."""

    since: date
    until: date


class NobodyWorks(ValueError):
    """The loaded calendar has no working day for so long that it can't be meant. Names the days."""


@dataclass(frozen=True)
class WorkingDays:
    """What is worked. `loaded`: days that the loaded calendar names; `periods`: what it was loaded for."""

    loaded: Mapping[date, Kind] = field(default_factory=dict)
    periods: Sequence[Period] = ()

    def works(self, day: date) -> bool:
        """Whether a day is worked; a shortened one is."""
        kind = self.loaded.get(day)
        if kind is not None:
            return kind != "day_off"
        weekday = day.weekday() < SATURDAY
        if any(period.since <= day <= period.until for period in self.periods):
            return weekday
        # Asked in this order: the package learns of a year when it is asked about a day of it.
        return day not in _RUSSIA and (weekday or day in _RUSSIA.weekend_workdays)

    def after(self, day: date, count: int) -> date:
        """The `count`-th working day after `day`, which is day 0 itself whether it is worked or not.

        Raises NobodyWorks, ValueError for a negative count.
        """
        if count < 0:
            raise ValueError(f"{count} working days after {day} lie before it")
        found = day
        for _ in range(count):
            found = self._next(found)
        return found

    def between(self, day: date, until: date) -> int:
        """How many working days there are after `day` up to `until`, which belongs to them; 0 where it lies before."""
        return sum(self.works(day + timedelta(days=ahead)) for ahead in range(1, (until - day).days + 1))

    def _next(self, day: date) -> date:
        for ahead in range(1, LONGEST_REST + 1):
            if self.works(found := day + timedelta(days=ahead)):
                return found
        raise NobodyWorks(
            f"the production calendar has no working day in the {LONGEST_REST} days after {day}: load it anew"
        )


_RUSSIA = holidays.country_holidays("RU")
