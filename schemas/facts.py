"""What the engine tells everyone else: accounts' balances and movements, counters of unwanted calls, notices, rejected
events, traffic sums.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from schemas.words import Id, Micros, Moment, Record, Text

AccountStatus = Literal["active", "blocked", "closed"]


class AccountBalance(Record, frozen=True, tag_field="type", tag="account_balance"):
    """An account's money after the latest event that touched it. available = balance + credit limit - held.

    `running_calls` are those that count against the account's `max_concurrent_calls`.
    """

    account_id: Id
    at: Moment
    currency: str
    balance_micros: Micros
    held_micros: Micros
    credit_limit_micros: Micros
    available_micros: Micros
    status: AccountStatus
    running_calls: int = 0


class AccountMovement(Record, frozen=True, tag_field="type", tag="account_movement"):
    """What moved an account's money or status, apart from calls.

    An account's balance is the sum of `amount_micros` of its movements less `retail.amount_micros` of its rated CDRs.
    It has one `opening`, told when the first event touches it, with the balance that the reference data opened it with
    (0 too); it comes before all else, whatever moments the others name. `at` is the command's; of an opening, the time
    of the record that touched the account. `amount_micros` is the effect on the balance: a write-off of 5 has -5, a
    change of status 0. `status` is the one afterwards, `reason` that of a block, unblock or close.
    """

    kind: Literal["opening", "payment", "top_up", "write_off", "correction", "block", "unblock", "close"]
    account_id: Id
    at: Moment
    command_id: Id | None
    amount_micros: Micros
    balance_after_micros: Micros
    currency: str
    status: AccountStatus
    reference: Text | None
    reason: Text | None


class NumberNcv(Record, frozen=True, tag_field="type", tag="number_ncv"):
    """Unwanted calls to a number that nobody uses, on one civil day of the operator (§1.4).

    All calls without a caller's number count as one unique caller (D3).
    """

    number: str
    day: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    calls: int
    unique_callers: int
    first_at: Moment
    last_at: Moment


class Notice(Record, frozen=True, tag_field="type", tag="notice"):
    """Something that somebody should be told of an account.

    `critical_balance`: the balance fell to or below the account's critical balance (§2.4), at most once in 120 hours.
    `money_exhausted`: a charge took the last of balance and credit.
    """

    kind: Literal["critical_balance", "money_exhausted"]
    account_id: Id
    at: Moment
    balance_micros: Micros
    limit_micros: Micros


class RejectedEvent(Record, frozen=True, tag_field="type", tag="rejected_event"):
    """An event that could not be used: where it came from, why, its bytes (base64), and how to mend it.

    `file` and `line` are there when the event was read from a file.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    payload: str
    at: Moment | None
    file: str | UnsetType = UNSET
    line: int | UnsetType = UNSET


REJECTIONS = {
    "malformed": "the record is no JSON of a known type, or a field is missing or has another type",
    "bad_time": "a moment in it can't be read, or the moments contradict each other",
    "too_late": "it is older than the time for which prices and counters are kept",
    "too_early": "it lies ahead of the record that brought it",
    "id_reused": "the same id came before with other content",
    "unknown_account": "no such account",
    "unknown_attempt": "no such attempt, or the time for which attempts are remembered is over",
    "attempt_ended": "the call has ended or was never allowed, so it can't be given more time",
    "account_mismatch": "the event names another account than its attempt",
    "unknown_provider": "no such provider",
    "no_retail_price": "the call can't be charged: no retail price (ask marketing)",
    "no_wholesale_price": "the call can't be costed: the provider has no price for it (ask b2b)",
    "account_closed": "a closed account can't be blocked or unblocked",
}
"""The reasons of rejected events, each with its meaning."""


class Traffic(Record, frozen=True, tag_field="type", tag="traffic"):
    """Sums over one batch, for statistics by provider and destination; nobody is charged by them."""

    provider_id: Id | None
    destination: str
    at: Moment
    attempts: int
    allowed: int
    answered: int
    seconds: int
    revenue_micros: Micros
    cost_micros: Micros
