"""Civil days: which calendar day of a time zone a moment belongs to (D1: one business zone, by the event's time)."""

from zoneinfo import ZoneInfo

from schemas.times import MINUTE_US, to_datetime

# Every zone's offset since 2000 is a whole number of quarters, so a quarter of an hour never straddles midnight.
_QUARTER_US = 15 * MINUTE_US
_MEMORY = 20_000  # quarters; about 200 days


class CivilDays:
    """Days of one time zone as `YYYY-MM-DD`."""

    __slots__ = ("_by_quarter", "zone")

    def __init__(self, zone: str) -> None:
        """`zone` is an IANA name; raises ZoneInfoNotFoundError (a KeyError) for another word."""
        self.zone = ZoneInfo(zone)
        self._by_quarter: dict[int, str] = {}

    def of(self, us: int) -> str:
        """The civil day of a moment."""
        quarter = us // _QUARTER_US
        day = self._by_quarter.get(quarter)
        if day is None:
            if len(self._by_quarter) >= _MEMORY:
                self._by_quarter.clear()
            day = to_datetime(us).astimezone(self.zone).date().isoformat()
            self._by_quarter[quarter] = day
        return day
