"""Money of accounts and the holds on it, as two dictionaries (docs/rules.md §3.4, §7.1). One model is one partition.

Amounts are micro-units, moments microseconds since the epoch. Nothing is refused: whether a hold is allowed, the caller
reads off `available` beforehand.
"""

from dataclasses import dataclass


@dataclass
class HoldModel:
    """Money set aside for a running call, until its CDR, its release, or the moment at which it expires."""

    account_id: str
    amount_micros: int
    expires_at_us: int


class HoldsModel:
    """Balances, credit limits and holds of the accounts of one partition, and the partition's clock."""

    def __init__(self, opening: dict[str, tuple[int, int]]) -> None:
        """`opening`: balance and credit limit of each account."""
        self.balance = {account_id: balance for account_id, (balance, _) in opening.items()}
        self.credit_limit = {account_id: limit for account_id, (_, limit) in opening.items()}
        self.holds: dict[str, HoldModel] = {}
        self.expired: set[str] = set()
        self.clock_us = 0

    def clock(self, record_time_us: int) -> None:
        """A record was seen: the clock is the latest time of all records, and never goes back."""
        self.clock_us = max(self.clock_us, record_time_us)
        over = [attempt_id for attempt_id, hold in self.holds.items() if hold.expires_at_us <= self.clock_us]
        for attempt_id in over:
            del self.holds[attempt_id]
            self.expired.add(attempt_id)

    def move(self, account_id: str, amount_micros: int) -> None:
        """A payment or top-up adds its amount; a write-off is the same with the sign turned."""
        self.balance[account_id] += amount_micros

    def hold(self, attempt_id: str, account_id: str, amount_micros: int, expires_at_us: int) -> None:
        """Money is set aside for a call; for a call that has a hold already this is its new one (an extension)."""
        self.holds[attempt_id] = HoldModel(account_id, amount_micros, expires_at_us)

    def release(self, attempt_id: str) -> None:
        """The call will have no CDR: nothing is held for it any more."""
        self.holds.pop(attempt_id, None)

    def charge(self, account_id: str, amount_micros: int, attempt_id: str | None) -> None:
        """A CDR: it is paid in full, even below zero, and its attempt's hold is over."""
        if attempt_id is not None:
            self.holds.pop(attempt_id, None)
        self.balance[account_id] -= amount_micros

    def held(self, account_id: str) -> int:
        """Sum of the account's holds."""
        return sum(hold.amount_micros for hold in self.holds.values() if hold.account_id == account_id)

    def available(self, account_id: str) -> int:
        """What a further call may be promised: balance + credit limit - holds."""
        return self.balance[account_id] + self.credit_limit[account_id] - self.held(account_id)
