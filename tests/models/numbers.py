"""The life of numbers, day by day, as the guide's 1.4 tells it: a model that keeps every call and looks at all of them.

It shares no code with what it is held against, and knows no shortcut: days are counted one by one, and so are working
days, by the production calendar of 2026 written out below.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

REST = 30
PAY = 8

HOLIDAYS_2026 = frozenset(
    {
        *(date(2026, 1, day) for day in range(1, 10)),
        *(date(2026, 2, 23), date(2026, 3, 9), date(2026, 5, 1), date(2026, 5, 11)),
        *(date(2026, 6, 12), date(2026, 11, 4), date(2026, 12, 31)),
    }
)
"""Days off of 2026 that are no Saturday or Sunday, the days that were moved among them; no Saturday is worked."""

Status = Literal["free", "reserved", "in_use", "archive"]


@dataclass
class Sale:
    """A subscriber who has a number."""

    subscriber: str
    at: datetime
    day: date
    clean: bool
    planned: date | None = None


@dataclass
class Life:
    """A number."""

    status: Status
    since: date
    ignored: bool = False
    forced: bool = False
    sale: Sale | None = None
    calls: list[tuple[date, datetime]] = field(default_factory=list)
    """Unwanted ones: business day and moment."""


class Numbers:
    """All of them. `closed`: days of which all is known; a day with a call of anybody is collected, too."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.closed: set[date] = set()
        self.heard: set[date] = set()

    def enter(self, number: str, today: date, *, ignored: bool = False) -> None:
        self.lives[number] = Life("free", today, ignored)

    def call(self, number: str, day: date, at: datetime) -> bool:
        """Somebody calls; whether it counts."""
        life = self.lives.get(number)
        if life is None or life.status == "in_use":
            return False
        life.calls.append((day, at))
        self.heard.add(day)
        return True

    def sign(self, number: str, today: date) -> str:
        life = self.lives[number]
        if life.ignored:
            return "ncv_ignored"
        first = None
        day = life.since
        while day <= today and first is None:
            if day in self.closed or day in self.heard:
                first = day
            day += timedelta(days=1)
        if first is None:
            return "no_data"
        if first + timedelta(days=REST) > today:
            return "insufficient_data"
        for back in range(REST + 1):
            day = today - timedelta(days=back)
            if day >= life.since and any(called == day for called, _ in life.calls):
                return "has_ncv"
        return "no_ncv"

    def availability(self, number: str, today: date) -> str:
        return "forced_yes" if self.lives[number].forced else self.sign(number, today)

    def may_be_sold(self, number: str, today: date) -> bool:
        life = self.lives[number]
        return life.status == "free" and self.availability(number, today) in ("forced_yes", "no_ncv", "ncv_ignored")

    def sell(self, number: str, subscriber: str, at: datetime, today: date, planned: date | None) -> None:
        life = self.lives[number]
        clean = self.sign(number, today) in ("no_ncv", "ncv_ignored")
        life.status, life.sale = "reserved", Sale(subscriber, at, today, clean, planned)

    def activate(self, number: str) -> None:
        self.lives[number].status, self.lives[number].forced = "in_use", False

    def close(self, number: str, today: date) -> None:
        """The subscriber goes, whatever it was."""
        life = self.lives[number]
        assert life.sale is not None
        if life.status == "in_use":
            life.status, life.since = ("free", life.since) if life.ignored else ("archive", today)
        else:
            called = any(at >= life.sale.at for _, at in life.calls)
            life.status = "free" if life.ignored or (life.sale.clean and not called) else "archive"
        life.sale, life.forced = None, False

    def force(self, number: str) -> None:
        life = self.lives[number]
        life.status, life.forced = "free", True

    def night(self, today: date, *, gap: bool) -> tuple[set[str], set[str]]:
        """The night that begins a day: the numbers that are freed, and the subscribers that lose theirs."""
        if not gap:
            self.closed.add(today - timedelta(days=1))
        freed = {
            number for number, life in self.lives.items() if life.status == "archive" and self._rested(number, today)
        }
        for number in freed:
            self.lives[number].status = "free"
        lost = set()
        for number, life in self.lives.items():
            if life.status == "reserved" and life.sale is not None and today > self._to_pay(life.sale):
                lost.add(life.sale.subscriber)
                self.close(number, today)
        return freed, lost

    def _rested(self, number: str, today: date) -> bool:
        if self.lives[number].ignored:
            return True
        if self.sign(number, today) != "no_ncv":
            return False
        window = [today - timedelta(days=back) for back in range(1, REST + 1)]
        return all(day in self.closed for day in window if day >= self.lives[number].since)

    def _to_pay(self, sale: Sale) -> date:
        """The last day on which it can be paid."""
        day = max(sale.day, sale.planned or sale.day)
        left = PAY
        while left:
            day += timedelta(days=1)
            if day.weekday() < 5 and day not in HOLIDAYS_2026:
                left -= 1
        return day
