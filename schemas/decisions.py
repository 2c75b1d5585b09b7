"""What a switch is told, and why: the decision, its checks in order, and every reason to deny.

A decision explains itself: the row that decided stands in it, and whom to ask (§2.2, §2.3).
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from schemas.words import Id, Micros, Moment, Record, Seconds

ASK_MANAGER = "manager"
ASK_WHOLESALE = "b2b"  # §2.3: a missing wholesale price is mended by the group B2B
ASK_RETAIL = "marketing"  # §2.3: a missing retail price is mended by marketing

CHECKS = (
    "number",
    "number_in_use",
    "account_known",
    "account_open",
    "account_not_blocked",
    "calls_at_once",
    "locks",
    "wholesale_price",
    "retail_price",
    "margin",
    "money",
)
"""The checks in their order (D20); the first that fails is the reason, all that fail are the reasons."""


class Route(Record, frozen=True, tag=False):
    """A provider that the call may leave through, with its wholesale price in force at set-up.

    `negative_margin` is there and true when the first minute costs more than the client pays for it.
    `retail` is there only when this route is sold at another price than the decision's own.
    """

    provider_id: Id
    price_list_id: Id
    prefix: str
    price_micros: Micros
    per_seconds: int
    negative_margin: bool | UnsetType = UNSET
    retail: "RetailPrice | UnsetType" = UNSET


class RetailPrice(Record, frozen=True):
    """The retail price in force at set-up: its first tier, and the fee due when the call is answered."""

    price_list_id: Id
    prefix: str
    price_micros: Micros
    per_seconds: int
    step_seconds: int
    connect_fee_micros: Micros


class LockFound(Record, frozen=True):
    """A lock that covers the number: where it stands, who set it, when and why, and whom to ask."""

    lock_id: Id
    digits: str
    kind: Literal["prefix", "number"]
    scope: Literal["account", "global"]
    provider_id: Id | None
    author: str
    created_at: Moment
    why: str
    ask: str


class _Reason(Record, frozen=True, tag_field="code"):
    """Base of the reasons: the code names the check that failed."""


class BadNumber(_Reason, frozen=True, tag="bad_number"):
    """The called number is not 1 to 15 digits."""

    called: str
    ask: str = ASK_MANAGER


class NumberNotInUse(_Reason, frozen=True, tag="number_not_in_use"):
    """An inbound call to a number that nobody uses; `status` is null when the operator does not have it.

    The switch answers with Q.850 cause 1, which is SIP 404 (D14): it tells callers to stop trying.
    """

    number: str
    status: str | None
    ask: str = ASK_MANAGER
    q850_cause: int = 1
    sip_status: int = 404


class UnknownAccount(_Reason, frozen=True, tag="unknown_account"):
    """No such account in the reference data."""

    account_id: str
    ask: str = ASK_MANAGER


class AccountClosed(_Reason, frozen=True, tag="account_closed"):
    """The account has been closed."""

    account_id: str
    since: Moment | None
    why: str | None
    ask: str = ASK_MANAGER


class AccountBlocked(_Reason, frozen=True, tag="account_blocked"):
    """The account is blocked, and this call would be charged."""

    account_id: str
    since: Moment | None
    why: str | None
    ask: str = ASK_MANAGER


class TooManyCalls(_Reason, frozen=True, tag="too_many_calls"):
    """The account has as many calls running as it may have at once."""

    running: int
    limit: int
    ask: str = ASK_MANAGER


class LockReason(_Reason, frozen=True, tag="lock"):
    """A ban covers the number: for all providers, or for the last that could have carried it (D21, D22)."""

    lock_id: Id
    digits: str
    kind: Literal["prefix", "number"]
    scope: Literal["account", "global"]
    provider_id: Id | None
    author: str
    created_at: Moment
    why: str
    ask: str


class NoWholesalePrice(_Reason, frozen=True, tag="no_wholesale_price"):
    """No provider has a price for this number, service and place."""

    called: str
    service: str
    place: str | None
    ask: str = ASK_WHOLESALE


class NoRetailPrice(_Reason, frozen=True, tag="no_retail_price"):
    """The account's tariff plan has no price for this number, service and place."""

    called: str
    service: str
    place: str | None
    tariff_plan_id: str
    ask: str = ASK_RETAIL


class NoMargin(_Reason, frozen=True, tag="no_margin"):
    """The plan forbids to sell below cost, and each route costs more for the first minute than it sells for."""

    tariff_plan_id: str
    provider_id: str
    first_minute_retail: str
    first_minute_wholesale: str
    ask: str = ASK_MANAGER


class InsufficientFunds(_Reason, frozen=True, tag="insufficient_funds"):
    """The available money buys not even the first step (or, in an extension, no further one)."""

    balance_micros: Micros
    held_micros: Micros
    credit_limit_micros: Micros
    available_micros: Micros
    needed_micros: Micros
    ask: str = ASK_MANAGER


Reason = (
    BadNumber
    | NumberNotInUse
    | UnknownAccount
    | AccountClosed
    | AccountBlocked
    | TooManyCalls
    | LockReason
    | NoWholesalePrice
    | NoRetailPrice
    | NoMargin
    | InsufficientFunds
)

REASON_CODES = tuple(str(reason.__struct_config__.tag) for reason in Reason.__args__)


class Check(Record, frozen=True, omit_defaults=True):
    """One check of a decision and what it looked at.

    `skipped`: it could not be asked (an unknown account has no plan to look into) or has no meaning for this call.
    """

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    running: int | None = None
    limit: int | None = None
    locks: tuple[LockFound, ...] = ()
    providers: tuple[str, ...] = ()
    price_list_id: str | None = None
    prefix: str | None = None
    balance_micros: int | None = None
    held_micros: int | None = None
    credit_limit_micros: int | None = None
    available_micros: int | None = None
    needed_micros: int | None = None


class CallDecision(Record, frozen=True, tag_field="type", tag="call_decision"):
    """The answer to an attempt, or to an extension of a running call.

    `max_seconds` counts from the answer of the call, in an extension too; `hold_micros` is what is held for the whole
    call. `extension` is 1 for the first extension. `repeated` marks the answer to an attempt that was seen before.
    """

    attempt_id: Id
    switch_id: Id
    at: Moment
    account_id: Id | None
    allow: bool
    max_seconds: Seconds
    hold_micros: Micros
    hold_expires_at: Moment | None
    routes: tuple[Route, ...]
    retail: RetailPrice | None
    reason: Reason | None
    reasons: tuple[Reason, ...]
    checks: tuple[Check, ...]
    reference_version: int
    extension: int | UnsetType = UNSET
    emergency: bool | UnsetType = UNSET
    negative_margin: bool | UnsetType = UNSET
    repeated: bool | UnsetType = UNSET
