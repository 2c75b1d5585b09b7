"""The explainable bill: a rated CDR, retail and wholesale, in parts whose sum is the charge.

Fractions are texts such as "43/60", in units of the currency (not micro-units), always in lowest terms.
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from schemas.words import Digits, Id, Micros, Moment, Record, Seconds

Rounding = Literal["up", "half_up", "down"]


class ChargeLine(Record, frozen=True):
    """Steps of one tier in one band. `seconds` of the call were paid by `steps` whole steps of `step_seconds`."""

    from_second: int
    seconds: int
    steps: int
    step_seconds: int
    price_micros: Micros
    per_seconds: int
    band_id: str | None
    amount: str


class Adjustment(Record, frozen=True):
    """What the price's `min_charge` added or its `max_charge` took away."""

    kind: Literal["min_charge", "max_charge"]
    limit_micros: Micros
    amount: str


class DiscountGiven(Record, frozen=True):
    """The account's discount on the sum so far; `amount` is negative."""

    percent: str
    amount: str


class Charge(Record, frozen=True):
    """connect fee (or the fee for an unanswered call) + lines + adjustment + discount = `exact`.

    `exact`, rounded once by `rounding` to `decimals`, is `amount_micros`.
    """

    amount_micros: Micros
    exact: str
    price_list_id: Id
    prefix: str
    rounding: Rounding
    decimals: int
    lines: tuple[ChargeLine, ...]
    connect_fee_micros: Micros
    discount: DiscountGiven | None
    adjustment: Adjustment | None = None
    attempt_fee_micros: Micros = 0


class RatedCdr(Record, frozen=True, tag_field="type", tag="rated_cdr"):
    """A CDR with its prices: the CDR as it came, `billable_seconds` filled in, and what was charged for it.

    `retail` is null where nothing is sold (an emergency call, an inbound call that has no price), `wholesale` where no
    provider carried the call; `margin_micros` = retail - wholesale, null without either.
    `late`: the hold had expired. `no_attempt`: no attempt is known for it. `denied`: its attempt had been denied.
    `reference_version` is that of the prices; `rated_version` is there where another was in force when it was rated.
    """

    cdr_id: Id
    attempt_id: Id | None
    switch_id: Id
    account_id: Id | None
    service: str
    caller: Digits | None
    called: Digits
    place: Id | None
    incoming_service: str | None
    provider_id: Id | None
    started_at: Moment
    answered_at: Moment | None
    ended_at: Moment
    billable_seconds: Seconds
    cause: str | None
    retail: Charge | None
    wholesale: Charge | None
    margin_micros: Micros | None
    balance_after_micros: Micros | None
    reference_version: int
    late: bool | UnsetType = UNSET
    no_attempt: bool | UnsetType = UNSET
    denied: bool | UnsetType = UNSET
    emergency: bool | UnsetType = UNSET
    negative_margin: bool | UnsetType = UNSET
    rated_version: int | UnsetType = UNSET
