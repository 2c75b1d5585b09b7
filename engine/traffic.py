"""Traffic of one batch: sums by provider and destination, for statistics. Nobody is charged by them."""

from schemas.facts import Traffic


class Sums:
    """Traffic through one provider to one destination."""

    __slots__ = ("allowed", "answered", "attempts", "cost", "revenue", "seconds")

    def __init__(self) -> None:
        self.attempts = self.allowed = self.answered = self.seconds = self.revenue = self.cost = 0

    def fact(self, provider_id: str | None, destination: str, at: str) -> Traffic:
        """The sums as they are published."""
        return Traffic(
            provider_id=provider_id,
            destination=destination,
            at=at,
            attempts=self.attempts,
            allowed=self.allowed,
            answered=self.answered,
            seconds=self.seconds,
            revenue_micros=self.revenue,
            cost_micros=self.cost,
        )
