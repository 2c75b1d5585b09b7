"""What the operator decides beforehand: accounts, providers, prices, bands, locks, numbers, discounts.

The same records come from a folder of CSV files and from the topic `reference`. None of them changes in place: a newer
record with the same key replaces the older one. On the topic an account's discounts stand together, and prices are
packed: a list's edition names the chunks that its prices are in.

Keys of the topic: `account/<id>`, `lock/<id>`, `number/<number>`; `<kind>/<id>/<version>` for what earlier calls are
still priced by; `chunk/<digest>`; `staged`; `version`, which closes a change.
"""

from typing import Annotated, Literal

from msgspec import Meta

from schemas.facts import AccountStatus
from schemas.rated import Rounding
from schemas.words import Id, Micros, Moment, Record, Text

Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Mask = Annotated[str, Meta(pattern=r"^[0-9]{0,15}$")]
NumberStatus = Literal["free", "reserved", "in_use", "archive"]
Saleable = Literal["depends_on_ncv", "forced_yes", "no"]


class Account(Record, frozen=True, tag_field="type", tag="account"):
    """An account's attributes. `balance_micros` and `status` are its opening ones: afterwards commands move them."""

    account_id: Id
    client_id: Id
    tariff_plan_id: Id
    payment_mode: Literal["prepaid", "postpaid"]
    currency: str
    balance_micros: Micros
    credit_limit_micros: Annotated[int, Meta(ge=0)]
    critical_balance_micros: Micros | None
    status: AccountStatus
    place: Id | None
    max_concurrent_calls: Annotated[int, Meta(ge=1)] | None


class Provider(Record, frozen=True, tag_field="type", tag="provider"):
    """A carrier. The lower `priority` goes first among equally cheap ones. `own`: the operator itself."""

    provider_id: Id
    name: str
    priority: int
    place: Id | None
    pdgi: bool
    own: bool


class PlanList(Record, frozen=True):
    """A retail list of a plan; the lower `priority` wins between prefixes of the same length."""

    price_list_id: Id
    priority: int


class TariffPlan(Record, frozen=True, tag_field="type", tag="tariff_plan"):
    """Which retail lists an account is charged by, and whether it may be sold below cost."""

    tariff_plan_id: Id
    lists: tuple[PlanList, ...]
    forbid_loss: bool


class PriceList(Record, frozen=True, tag_field="type", tag="price_list"):
    """Prices by prefix, retail or wholesale; in force from `valid_from` until just before `valid_to`.

    `provider_id` of a wholesale list: whose prices they are; of a retail list: for calls through this provider only.
    """

    price_list_id: Id
    name: str
    kind: Literal["retail", "wholesale"]
    provider_id: Id | None
    currency: str
    rounding: Rounding
    decimals: Annotated[int, Meta(ge=0, le=6)]
    valid_from: Moment | None
    valid_to: Moment | None


class PriceRow(Record, frozen=True, tag_field="type", tag="price"):
    """One tier of one price. Empty prefix: any number; null service, place, incoming service, band: any.

    `price_micros` is for `per_seconds`, in whole steps of `step_seconds`, from second `from_second` of the call on.
    `attempt_fee_micros` is charged for a call that was not answered.
    """

    price_list_id: Id
    prefix: Mask
    service: str | None
    place: str | None
    incoming_service: str | None
    band_id: str | None
    from_second: Annotated[int, Meta(ge=0)]
    connect_fee_micros: Annotated[int, Meta(ge=0)]
    price_micros: Annotated[int, Meta(ge=0)]
    per_seconds: Annotated[int, Meta(ge=1)]
    step_seconds: Annotated[int, Meta(ge=1)]
    min_charge_micros: Annotated[int, Meta(ge=0)] | None
    max_charge_micros: Annotated[int, Meta(ge=0)] | None
    valid_from: Moment | None
    valid_to: Moment | None
    attempt_fee_micros: Annotated[int, Meta(ge=0)] = 0


class Band(Record, frozen=True, tag_field="type", tag="band"):
    """A part of the week or of chosen dates, by the wall clock of `time_zone`.

    `weekdays`: 1 (Monday) to 7, empty = any. `dates`: `YYYY-MM-DD` or, every year, `--MM-DD`, empty = any. Both name
    the day on which the band begins. Minutes count from midnight; an end at or before the start lies on the next day.
    The heavier `weight` wins where bands overlap.
    """

    band_id: Id
    weekdays: tuple[int, ...]
    start_minute: Annotated[int, Meta(ge=0, le=1439)]
    end_minute: Annotated[int, Meta(ge=0, le=1440)]
    dates: tuple[str, ...]
    time_zone: str
    weight: int


class Lock(Record, frozen=True, tag_field="type", tag="lock"):
    """A ban on a prefix or a whole number: for one account or everyone (null), one provider or all (null)."""

    lock_id: Id
    kind: Literal["prefix", "number"]
    digits: Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]
    account_id: Id | None
    provider_id: Id | None
    author: str
    reason: Text
    created_at: Moment


class Number(Record, frozen=True, tag_field="type", tag="number"):
    """A DID number of the operator's capacity. `fmtn`: its unwanted calls do not count (§1.4)."""

    number: Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]
    status: NumberStatus
    account_id: Id | None
    place: str | None
    region: str | None
    provider_id: Id | None
    fmtn: bool
    joined_on: Day | None
    archived_on: Day | None
    saleable: Saleable


class Discount(Record, frozen=True, tag_field="type", tag="discount"):
    """Per cent off an account's charges for a service (null: for all); in millionths of a per cent."""

    account_id: Id
    service: str | None
    percent_micros: Annotated[int, Meta(ge=0, le=100_000_000)]
    valid_from: Moment | None
    valid_to: Moment | None


ReferenceRecord = Account | Provider | TariffPlan | PriceList | PriceRow | Band | Lock | Number | Discount
"""What a reference folder is made of."""


class AccountDiscounts(Record, frozen=True, tag_field="type", tag="account_discounts"):
    """All discounts of an account; none of them: it has none any more."""

    account_id: Id
    discounts: tuple[Discount, ...]


class PriceTier(Record, frozen=True, omit_defaults=True):
    """One tier of one band of a price.

    `price_micros` is for `per_seconds`, in whole steps of `step_seconds`, from second `from_second` of the call on.
    `attempt_fee_micros` is charged for a call that was not answered.
    """

    price_micros: Annotated[int, Meta(ge=0)]
    per_seconds: Annotated[int, Meta(ge=1)]
    step_seconds: Annotated[int, Meta(ge=1)]
    from_second: Annotated[int, Meta(ge=0)] = 0
    band_id: Id | None = None
    connect_fee_micros: Annotated[int, Meta(ge=0)] = 0
    min_charge_micros: Annotated[int, Meta(ge=0)] | None = None
    max_charge_micros: Annotated[int, Meta(ge=0)] | None = None
    attempt_fee_micros: Annotated[int, Meta(ge=0)] = 0


class PriceTerms(Record, frozen=True, omit_defaults=True):
    """A price without its prefix: its conditions (null: any) and its tiers, in order of band and `from_second`."""

    tiers: tuple[PriceTier, ...]
    service: str | None = None
    place: str | None = None
    incoming_service: str | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None


class PriceChunk(Record, frozen=True, tag_field="type", tag="price_chunk"):
    """Some hundred prices of a list, in order of their prefixes: `prefixes[n]` is sold at `terms[terms_of[n]]`.

    A prefix may stand there several times, with different conditions; all of its prices are in one chunk. The key names
    the content (BLAKE2b of the record, 15 bytes in base64url), so equal chunks are one, and an edition that changes one
    price brings one new chunk.
    """

    prefixes: tuple[Annotated[str, Meta(max_length=15)], ...]
    terms_of: tuple[Annotated[int, Meta(ge=0)], ...]
    terms: tuple[PriceTerms, ...]


class ChunkRef(Record, frozen=True):
    """One chunk of an edition: what it is, where it begins and how many prices it has."""

    digest: Annotated[str, Meta(min_length=20, max_length=20)]
    first_prefix: Annotated[str, Meta(max_length=15)]
    prices: Annotated[int, Meta(ge=1)]


class PriceListEdition(Record, frozen=True, tag_field="type", tag="price_list_edition"):
    """A price list with all of its prices, as of the version in the record's key. Its chunks in order of prefixes."""

    price_list: PriceList
    chunks: tuple[ChunkRef, ...]


class Staged(Record, frozen=True, tag_field="type", tag="staged_editions"):
    """What a coming change will bring, so that its tables are built beforehand. Nothing of it is in force yet.

    `removed`: ids of price lists that will go.
    """

    editions: tuple[PriceListEdition, ...]
    bands: tuple[Band, ...]
    removed: tuple[Id, ...]


class Removed(Record, frozen=True, tag_field="type", tag="removed"):
    """What the key names is gone as of the version in the key; earlier calls are still priced by what it was."""

    kind: Literal["provider", "tariff_plan", "price_list", "band"]
    id: Id


class ReferenceVersion(Record, frozen=True, tag_field="type", tag="reference_version"):
    """Closes a change: all records since the one before come into force together, as this version."""

    version: Annotated[int, Meta(ge=1)]
    at: Moment
    author: str


PublishedReference = (
    Account
    | Lock
    | Number
    | Provider
    | TariffPlan
    | Band
    | AccountDiscounts
    | PriceListEdition
    | Removed
    | PriceChunk
    | Staged
    | ReferenceVersion
)
"""What the topic `reference` carries."""
