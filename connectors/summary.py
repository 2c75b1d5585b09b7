"""What a replay came to: decisions by reason, seconds, revenue, cost, margin, movements, rejected events, speed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.partition import Output
from schemas.decisions import CallDecision
from schemas.facts import AccountMovement, Notice, RejectedEvent
from schemas.money import to_text
from schemas.rated import RatedCdr


@dataclass
class Summary:
    """Sums over outputs; `observe` is to be called for each batch."""

    events: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    """By primary reason; "allowed" for those that go ahead, "emergency" and "repeated" apart."""
    rated: int = 0
    answered: int = 0
    seconds: int = 0
    revenue_micros: int = 0
    cost_micros: int = 0
    late: int = 0
    no_attempt: int = 0
    movements: Counter[str] = field(default_factory=Counter)
    """By kind; openings of accounts among them."""
    notices: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    elapsed_seconds: float = 0.0

    def observe(self, outputs: Sequence[Output]) -> None:
        """Adds what a batch published."""
        for output in outputs:
            record = output.record
            if isinstance(record, CallDecision):
                self.decisions[outcome(record)] += 1
            elif isinstance(record, RatedCdr):
                self._add_rated(record)
            elif isinstance(record, RejectedEvent):
                self.rejected[record.reason] += 1
            elif isinstance(record, AccountMovement):
                self.movements[record.kind] += 1
            elif isinstance(record, Notice):
                self.notices += 1

    def _add_rated(self, rated: RatedCdr) -> None:
        self.rated += 1
        self.answered += rated.answered_at is not None
        self.seconds += rated.billable_seconds
        self.late += rated.late is True
        self.no_attempt += rated.no_attempt is True
        if rated.retail is not None:
            self.revenue_micros += rated.retail.amount_micros
        if rated.wholesale is not None:
            self.cost_micros += rated.wholesale.amount_micros

    def add(self, other: "Summary") -> None:
        """Adds another worker's sums."""
        self.decisions.update(other.decisions)
        self.movements.update(other.movements)
        self.rejected.update(other.rejected)
        for name in ("rated", "answered", "seconds", "revenue_micros", "cost_micros", "late", "no_attempt", "notices"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.duplicates += other.duplicates

    def as_dict(self) -> dict[str, object]:
        """For `--json`: money in micro-units, counters by name."""
        return {
            "events": self.events,
            "decisions": dict(self.decisions.most_common()),
            "rated_cdrs": self.rated,
            "answered": self.answered,
            "seconds": self.seconds,
            "revenue_micros": self.revenue_micros,
            "cost_micros": self.cost_micros,
            "margin_micros": self.revenue_micros - self.cost_micros,
            "late": self.late,
            "no_attempt": self.no_attempt,
            "movements": dict(self.movements.most_common()),
            "notices": self.notices,
            "rejected": dict(self.rejected.most_common()),
            "duplicates": self.duplicates,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "events_per_second": round(self.events / self.elapsed_seconds) if self.elapsed_seconds else 0,
        }

    def lines(self) -> list[tuple[str, str]]:
        """For people: what and how much."""
        found = [("events", f"{self.events:,}"), ("decisions", f"{self.decisions.total():,}")]
        found += [(f"  {name}", f"{count:,}") for name, count in self.decisions.most_common()]
        found += [
            ("rated CDRs", f"{self.rated:,}"),
            ("  answered", f"{self.answered:,}"),
            ("  late", f"{self.late:,}"),
            ("  without an attempt", f"{self.no_attempt:,}"),
            ("billed seconds", f"{self.seconds:,}"),
            ("revenue", to_text(self.revenue_micros)),
            ("cost", to_text(self.cost_micros)),
            ("margin", to_text(self.revenue_micros - self.cost_micros)),
            ("movements of accounts", f"{self.movements.total():,}"),
        ]
        found += [(f"  {name}", f"{count:,}") for name, count in self.movements.most_common()]
        found += [
            ("notices", f"{self.notices:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            ("rejected events", f"{self.rejected.total():,}"),
        ]
        found += [(f"  {name}", f"{count:,}") for name, count in self.rejected.most_common()]
        speed = self.events / self.elapsed_seconds if self.elapsed_seconds else 0
        found.append(("took", f"{self.elapsed_seconds:.1f} s, {speed:,.0f} events/s"))
        return found


def outcome(decision: CallDecision) -> str:
    """The word a decision is counted under."""
    if decision.repeated is True:
        return "repeated"
    if decision.emergency is True:
        return "emergency"
    if decision.extension:
        return "extended" if decision.allow else "extension_denied"
    if decision.reason is None:
        return "allowed"
    return str(type(decision.reason).__struct_config__.tag)
