"""Time bands: which of a price's bands is in force at a moment, and until when (rules §2).

A band holds by the wall clock of its zone. A `Schedule` orders bands by weight and answers for one moment; it works
out a day (of UTC) at a time and remembers it, so that a call pays for a look-up only.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.reference import Band
from schemas.times import DAY_US, HOUR_US, SECOND_US, from_datetime, to_datetime

_DAY = timedelta(days=1)
_MEMORY = 4_000  # days of UTC a schedule remembers


class BandHours:
    """One band, ready to be asked."""

    __slots__ = ("_band", "_dates", "_weekdays", "_zone", "band_id", "weight")

    def __init__(self, band: Band) -> None:
        self.band_id = band.band_id
        self.weight = band.weight
        self._band = band
        self._zone = ZoneInfo(band.time_zone)
        self._weekdays = frozenset(band.weekdays)
        self._dates = frozenset(band.dates)

    def holds(self, us: int) -> bool:
        """Whether the band is in force at a moment."""
        clock = to_datetime(us).astimezone(self._zone)
        minute = clock.hour * 60 + clock.minute
        start, end = self._band.start_minute, self._band.end_minute
        if start < end:
            return start <= minute < end and self._begins_on(clock.date())
        # Over midnight: the weekday and the date are those of the day on which the band began.
        if minute >= start:
            return self._begins_on(clock.date())
        return minute < end and self._begins_on(clock.date() - _DAY)

    def _begins_on(self, day: date) -> bool:
        if self._weekdays and day.isoweekday() not in self._weekdays:
            return False
        if not self._dates:
            return True
        text = day.isoformat()
        return text in self._dates or f"-{text[4:]}" in self._dates

    def edges(self, day_us: int) -> set[int]:
        """Moments of a day of UTC at which the band may begin or end."""
        found = self._clock_changes(day_us)
        around = to_datetime(day_us).astimezone(self._zone).date()
        for day in (around - _DAY, around, around + _DAY):
            for minute in (0, self._band.start_minute, self._band.end_minute % 1440):
                wall = datetime.combine(day, time(minute // 60, minute % 60), self._zone)
                found.add(from_datetime(wall))
                found.add(from_datetime(wall.replace(fold=1)))
        return {us for us in found if day_us <= us < day_us + DAY_US}

    def _clock_changes(self, day_us: int) -> set[int]:
        changes = set()
        for hour_us in range(day_us, day_us + DAY_US, HOUR_US):
            before, after = hour_us, hour_us + HOUR_US
            if self._offset(before) == self._offset(after):
                continue
            while after - before > SECOND_US:
                middle = (before + after) // 2 // SECOND_US * SECOND_US
                if self._offset(middle) == self._offset(before):
                    before = middle
                else:
                    after = middle
            changes.add(after)
        return changes

    def _offset(self, us: int) -> timedelta | None:
        return to_datetime(us).astimezone(self._zone).utcoffset()


class Schedule:
    """Bands in order of weight (then id); `at` gives the place of the one in force, or `none`."""

    __slots__ = ("_bands", "_days", "none")

    def __init__(self, bands: Sequence[BandHours]) -> None:
        assert list(bands) == sorted(bands, key=lambda band: (-band.weight, band.band_id))
        self._bands = tuple(bands)
        self._days: dict[int, tuple[list[int], list[int]]] = {}
        self.none = len(self._bands)

    def at(self, us: int) -> tuple[int, int]:
        """The place of the band in force and the moment until which that is certain (at most a day ahead)."""
        day_us = us - us % DAY_US
        starts, winners = self._days.get(day_us) or self._work_out(day_us)
        place = bisect_right(starts, us)
        return winners[place - 1], starts[place] if place < len(starts) else day_us + DAY_US

    def _work_out(self, day_us: int) -> tuple[list[int], list[int]]:
        edges = {day_us}.union(*(band.edges(day_us) for band in self._bands))
        starts: list[int] = []
        winners: list[int] = []
        for us in sorted(edges):
            winner = next((place for place, band in enumerate(self._bands) if band.holds(us)), self.none)
            if not winners or winner != winners[-1]:
                starts.append(us)
                winners.append(winner)
        if len(self._days) >= _MEMORY:
            self._days.clear()
        self._days[day_us] = (starts, winners)
        return starts, winners
