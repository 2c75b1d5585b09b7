"""From the engine's records to rows: which table each goes to, column by column, and what it does in the books.

Pure: bytes in, tuples out; `facts_store` writes them. Only what the columns hold is read of a record, the rest stands
in its bytes. Text that PostgreSQL can't hold (U+0000) becomes U+FFFD in the columns and stays as it was in the bytes.
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from backoffice import books
from backoffice.books import Transfer
from connectors.broker import Record
from engine.days import CivilDays
from schemas import topics
from schemas.codec import UNREADABLE, decode_switch_event
from schemas.events import CallAttempt, CallExtension
from schemas.facts import AccountBalance, AccountMovement, Notice, NumberNcv, RejectedEvent
from schemas.times import to_datetime, to_us
from schemas.words import Micros, Seconds

Row = tuple[Any, ...]

READ = (
    topics.CALL_ATTEMPTS,
    topics.CALL_DECISIONS,
    topics.RATED_CDRS,
    topics.ACCOUNT_MOVEMENTS,
    topics.ACCOUNT_BALANCES,
    topics.NUMBER_NCV,
    topics.REJECTED_EVENTS,
    topics.NOTICES,
)
"""The topics that are projected. The attempts are an input of the engine's: a decision does not say who called whom."""


class Table(NamedTuple):
    """A table and the columns of its rows, in their order."""

    schema: str
    name: str
    columns: tuple[str, ...]


ATTEMPTS = Table(
    "facts",
    "attempts",
    (
        *("at", "recorded_at", "source_offset", "source_partition", "requested_seconds", "used_seconds", "kind"),
        *("attempt_id", "switch_id", "account_id", "service", "caller", "called", "place", "incoming_service"),
        *("cause", "record"),
    ),
)
DECISIONS = Table(
    "facts",
    "decisions",
    (
        *("attempt_id", "at", "extension", "copy", "source_offset", "source_partition", "recorded_at", "hold_micros"),
        *("reference_version", "max_seconds", "allow", "repeated", "emergency", "negative_margin", "switch_id"),
        *("account_id", "reason", "lock_id", "record"),
    ),
)
RATED_CDRS = Table(
    "facts",
    "rated_cdrs",
    (
        *("cdr_id", "ended_at", "copy", "source_offset", "source_partition", "recorded_at", "started_at"),
        *("answered_at", "retail_micros", "wholesale_micros", "margin_micros", "balance_after_micros"),
        *("reference_version", "billable_seconds", "late", "no_attempt", "denied", "emergency", "negative_margin"),
        *("attempt_id", "switch_id", "account_id", "service", "caller", "called", "place", "incoming_service"),
        *("provider_id", "cause", "retail_list_id", "retail_prefix", "wholesale_list_id", "wholesale_prefix"),
        "record",
    ),
)
MOVEMENTS = Table(
    "facts",
    "movements",
    (
        *("cause_id", "account_id", "kind", "copy", "source_offset", "source_partition", "recorded_at", "at"),
        *("amount_micros", "balance_after_micros", "currency", "status", "reference", "reason", "record"),
    ),
)
REJECTED = Table(
    "facts",
    "rejected",
    (
        *("source_partition", "source_offset", "recorded_at", "at", "topic", "partition", "topic_offset", "reason"),
        *("detail", "event_id", "account_id", "payload"),
    ),
)
NOTICES = Table(
    "facts",
    "notices",
    ("source_partition", "source_offset", "at", "recorded_at", "kind", "account_id", "balance_micros", "limit_micros"),
)
TRANSFERS = Table(
    "books",
    "transfers",
    (
        *("debit", "credit", "amount_micros", "balance_after_micros", "account_id", "cause", "cause_id", "day"),
        *("source_partition", "source_offset", "recorded_at"),
    ),
)
UNPROJECTED = Table(
    "facts",
    "unprojected",
    ("topic", "partition", "source_offset", "key", "value", "recorded_at", "why"),
)


class Booked(NamedTuple):
    """A transfer with its cause, as it stands in the books."""

    transfer: Transfer
    balance_after_micros: int | None
    account_id: str | None
    cause: str
    cause_id: str
    day: date
    source_partition: int
    source_offset: int
    recorded_at: datetime


@dataclass
class Rows:
    """What some records are in the tables. Of balances and counters only the latest of each key is kept."""

    attempts: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    rated_cdrs: list[Row] = field(default_factory=list)
    movements: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    notices: list[Row] = field(default_factory=list)
    balances: dict[str, Row] = field(default_factory=dict)
    ncv: dict[tuple[str, date], Row] = field(default_factory=dict)
    booked: list[Booked] = field(default_factory=list)
    applied: list[Row] = field(default_factory=list)
    """Commands that were carried out: id, when."""
    refused: list[Row] = field(default_factory=list)
    """Commands that were rejected: id, when, why."""
    unprojected: list[Row] = field(default_factory=list)
    months: set[tuple[int, int]] = field(default_factory=set)
    """Year and month, in UTC or of the business day, that the rows need partitions for."""


class Facts:
    """Makes rows of records. `business_time_zone` says which day a movement of money is posted on (D1)."""

    def __init__(self, business_time_zone: str) -> None:
        """Raises ZoneInfoNotFoundError, a KeyError, for a zone that there is not."""
        self._days = CivilDays(business_time_zone)
        self._dates: dict[str, date] = {}
        self._make: Mapping[str, Callable[[Record, Rows], None]] = {
            topics.CALL_ATTEMPTS.name: self._attempt,
            topics.CALL_DECISIONS.name: self._decision,
            topics.RATED_CDRS.name: self._rated_cdr,
            topics.ACCOUNT_MOVEMENTS.name: self._movement,
            topics.ACCOUNT_BALANCES.name: self._balance,
            topics.NUMBER_NCV.name: self._counter,
            topics.REJECTED_EVENTS.name: self._rejected,
            topics.NOTICES.name: self._notice,
        }

    def rows(self, records: Iterable[Record]) -> Rows:
        """The rows of some records of one partition's topics, in the order of their offsets within each topic.

        A record that can't be read goes to `unprojected` with the reason.
        """
        rows, make = Rows(), self._make
        for record in records:
            try:
                make[record.topic](record, rows)
            except (*UNREADABLE, ValueError) as error:
                rows.unprojected.append(unprojected(record, str(error)))
        return rows

    def _attempt(self, record: Record, rows: Rows) -> None:
        value = record.value
        try:
            event = storable(decode_switch_event(value or b""), value)
            at = _moment(event.at)
        except (*UNREADABLE, ValueError):
            return  # the engine has rejected it, and that is where it is kept
        rows.months.add((at.year, at.month))
        head = (at, to_datetime(record.timestamp_us), record.offset, record.partition)
        if isinstance(event, CallAttempt):
            row: Row = (
                *head,
                event.requested_seconds,
                None,
                "call_attempt",
                event.attempt_id,
                event.switch_id,
                event.account_id,
                event.service,
                event.caller,
                event.called,
                event.place,
                event.incoming_service,
                None,
                value,
            )
        else:
            extends = isinstance(event, CallExtension)
            row = (
                *head,
                None,
                event.used_seconds if isinstance(event, CallExtension) else None,
                "call_extension" if extends else "call_release",
                event.attempt_id,
                event.switch_id,
                event.account_id,
                *(None, None, None, None, None),
                None if isinstance(event, CallExtension) else event.cause,
                value,
            )
        rows.attempts.append(row)

    def _decision(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_decision(value), value)
        at = _moment(found.at)
        rows.months.add((at.year, at.month))
        reason = found.reason
        row = (
            found.attempt_id,
            at,
            found.extension,
            record.offset + 1 if found.repeated else 0,
            record.offset,
            record.partition,
            to_datetime(record.timestamp_us),
            found.hold_micros,
            found.reference_version,
            found.max_seconds,
            found.allow,
            found.repeated,
            found.emergency,
            found.negative_margin,
            found.switch_id,
            found.account_id,
            None if reason is None else reason.code,
            None if reason is None else reason.lock_id,
            value,
        )
        rows.decisions.append(row)

    def _rated_cdr(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_rated(value), value)
        ended_at = _moment(found.ended_at)
        rows.months.add((ended_at.year, ended_at.month))
        recorded_at = to_datetime(record.timestamp_us)
        retail, wholesale = found.retail, found.wholesale
        row = (
            found.cdr_id,
            ended_at,
            0,
            record.offset,
            record.partition,
            recorded_at,
            _moment(found.started_at),
            None if found.answered_at is None else _moment(found.answered_at),
            None if retail is None else retail.amount_micros,
            None if wholesale is None else wholesale.amount_micros,
            found.margin_micros,
            found.balance_after_micros,
            found.reference_version,
            found.billable_seconds,
            found.late,
            found.no_attempt,
            found.denied,
            found.emergency,
            found.negative_margin,
            found.attempt_id,
            found.switch_id,
            found.account_id,
            found.service,
            found.caller,
            found.called,
            found.place,
            found.incoming_service,
            found.provider_id,
            found.cause,
            None if retail is None else retail.price_list_id,
            None if retail is None else retail.prefix,
            None if wholesale is None else wholesale.price_list_id,
            None if wholesale is None else wholesale.prefix,
            value,
        )
        booked: list[tuple[Transfer | None, int | None, str | None]] = []
        if retail is not None and retail.amount_micros:
            if found.account_id is None:
                raise ValueError("a charge without an account")
            sale = books.of_sale(found.account_id, found.service, retail.amount_micros)
            booked.append((sale, found.balance_after_micros, found.account_id))
        if wholesale is not None and wholesale.amount_micros:
            if found.provider_id is None:
                raise ValueError("a wholesale charge without a provider")
            booked.append((books.of_purchase(found.provider_id, found.service, wholesale.amount_micros), None, None))
        rows.rated_cdrs.append(row)
        if booked:
            day = self._day(to_us(found.ended_at), rows)
            for transfer, balance_after_micros, account_id in booked:
                if transfer is not None:
                    rows.booked.append(
                        Booked(
                            transfer,
                            balance_after_micros,
                            account_id,
                            books.RATED_CDR,
                            found.cdr_id,
                            day,
                            record.partition,
                            record.offset,
                            recorded_at,
                        )
                    )

    def _movement(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_movement(value), value)
        recorded_at = to_datetime(record.timestamp_us)
        cause_id = found.account_id if found.command_id is None else found.command_id
        row = (
            cause_id,
            found.account_id,
            found.kind,
            0,
            record.offset,
            record.partition,
            recorded_at,
            _moment(found.at),
            found.amount_micros,
            found.balance_after_micros,
            found.currency,
            found.status,
            found.reference,
            found.reason,
            value,
        )
        transfer = books.of_movement(found.kind, found.account_id, found.amount_micros)
        rows.movements.append(row)
        if found.command_id is not None:
            rows.applied.append((found.command_id, recorded_at))
        if transfer is not None:
            rows.booked.append(
                Booked(
                    transfer,
                    found.balance_after_micros,
                    found.account_id,
                    found.kind,
                    cause_id,
                    self._day(to_us(found.at), rows),
                    record.partition,
                    record.offset,
                    recorded_at,
                )
            )

    def _balance(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_balance(value), value)
        row = (
            found.account_id,
            _moment(found.at),
            to_datetime(record.timestamp_us),
            record.partition,
            record.offset,
            found.balance_micros,
            found.held_micros,
            found.credit_limit_micros,
            found.available_micros,
            found.running_calls,
            found.currency,
            found.status,
        )
        rows.balances[found.account_id] = row

    def _counter(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_ncv(value), value)
        day = date.fromisoformat(found.day)
        row = (
            found.number,
            day,
            found.calls,
            found.unique_callers,
            _moment(found.first_at),
            _moment(found.last_at),
            record.partition,
            record.offset,
        )
        rows.ncv[found.number, day] = row

    def _rejected(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_rejected(value), value)
        payload = b64decode(found.payload, validate=True)
        event_id, account_id = _named_in(found.topic, payload)
        row = (
            record.partition,
            record.offset,
            to_datetime(record.timestamp_us),
            None if found.at is None else _moment(found.at),
            found.topic,
            found.partition,
            found.offset,
            found.reason,
            found.detail,
            event_id,
            account_id,
            payload,
        )
        rows.rejected.append(row)
        if found.topic == topics.ACCOUNT_COMMANDS.name and event_id is not None:
            rows.refused.append((event_id, row[2], f"{found.reason}: {found.detail}"))

    def _notice(self, record: Record, rows: Rows) -> None:
        value = _value(record)
        found = storable(_decode_notice(value), value)
        row = (
            record.partition,
            record.offset,
            _moment(found.at),
            to_datetime(record.timestamp_us),
            found.kind,
            found.account_id,
            found.balance_micros,
            found.limit_micros,
        )
        rows.notices.append(row)

    def _day(self, us: int, rows: Rows) -> date:
        text = self._days.of(us)
        day = self._dates.get(text)
        if day is None:
            if len(self._dates) >= _MEMORY:
                self._dates.clear()
            day = self._dates[text] = date.fromisoformat(text)
        rows.months.add((day.year, day.month))
        return day


def unprojected(record: Record, why: str) -> Row:
    """The row of a record that can't be made one of."""
    return (
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        to_datetime(record.timestamp_us),
        why.replace("\x00", "\ufffd")[:_WHY_LENGTH],
    )


_MEMORY = 20_000  # days
_WHY_LENGTH = 1_000
_ID_LENGTH = 64
_ID_OF = {
    topics.CALL_ATTEMPTS.name: "attempt_id",
    topics.CDRS.name: "cdr_id",
    topics.ACCOUNT_COMMANDS.name: "command_id",
}


def _value(record: Record) -> bytes:
    if record.value is None:
        raise ValueError("the record is empty")
    return record.value


def _moment(text: str) -> datetime:
    """An aware datetime; in UTC, so that its month is the one that the tables are cut by."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC:
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} names no time zone")
        moment = moment.astimezone(UTC)
    if not 2000 <= moment.year < 2100:
        raise ValueError(f"{text!r} lies outside the years 2000-2099")
    return moment


_S = TypeVar("_S", bound=Struct)


def storable(found: _S, value: bytes | None) -> _S:
    """What `value` was read as, with U+0000 replaced as it is in the columns."""
    if value is not None and b"\\u0000" in value:
        changed: _S = msgspec.convert(_without_nul(msgspec.to_builtins(found)), type(found))
        return changed
    return found


def _without_nul(found: Any) -> Any:
    match found:
        case str():
            return found.replace("\x00", "\ufffd")
        case dict():
            return {key: _without_nul(one) for key, one in found.items()}
        case list() | tuple():
            return [_without_nul(one) for one in found]
    return found


def _named_in(topic: str, payload: bytes) -> tuple[str | None, str | None]:
    """The event's id and its account, as far as they can be read."""
    try:
        found = msgspec.json.decode(payload)
    except UNREADABLE:
        return None, None
    if not isinstance(found, dict):
        return None, None
    return _id(found.get(_ID_OF.get(topic, ""))), _id(found.get("account_id"))


def _id(found: object) -> str | None:
    if isinstance(found, str) and 0 < len(found) <= _ID_LENGTH:
        return found.replace("\x00", "\ufffd")
    return None


# What is read of a record. Fields are named as in the schemas; those that no column holds are passed by.


class _Reason(Struct, frozen=True, gc=False):
    code: str
    lock_id: str | None = None


class _Decision(Struct, frozen=True, gc=False, tag_field="type", tag="call_decision"):
    attempt_id: str
    switch_id: str
    at: str
    account_id: str | None
    allow: bool
    max_seconds: Seconds
    hold_micros: Micros
    reason: _Reason | None
    reference_version: Micros
    extension: Seconds = 0
    emergency: bool = False
    negative_margin: bool = False
    repeated: bool = False


class _Charge(Struct, frozen=True, gc=False):
    amount_micros: Micros
    price_list_id: str
    prefix: str


class _RatedCdr(Struct, frozen=True, gc=False, tag_field="type", tag="rated_cdr"):
    cdr_id: str
    attempt_id: str | None
    switch_id: str
    account_id: str | None
    service: str
    caller: str | None
    called: str
    place: str | None
    incoming_service: str | None
    provider_id: str | None
    started_at: str
    answered_at: str | None
    ended_at: str
    billable_seconds: Seconds
    cause: str | None
    retail: _Charge | None
    wholesale: _Charge | None
    margin_micros: Micros | None
    balance_after_micros: Micros | None
    reference_version: Micros
    late: bool = False
    no_attempt: bool = False
    denied: bool = False
    emergency: bool = False
    negative_margin: bool = False


_decode_decision = msgspec.json.Decoder(_Decision).decode
_decode_rated = msgspec.json.Decoder(_RatedCdr).decode
_decode_movement = msgspec.json.Decoder(AccountMovement).decode
_decode_balance = msgspec.json.Decoder(AccountBalance).decode
_decode_ncv = msgspec.json.Decoder(NumberNcv).decode
_decode_rejected = msgspec.json.Decoder(RejectedEvent).decode
_decode_notice = msgspec.json.Decoder(Notice).decode

TABLES: Mapping[str, Table] = {
    "attempts": ATTEMPTS,
    "decisions": DECISIONS,
    "rated_cdrs": RATED_CDRS,
    "movements": MOVEMENTS,
    "rejected": REJECTED,
    "notices": NOTICES,
    "unprojected": UNPROJECTED,
}
"""The tables that rows are only added to, by their name in `Rows`."""


def columns(rows: Sequence[Row]) -> list[list[Any]]:
    """The rows turned around, as arrays are passed."""
    return [list(column) for column in zip(*rows, strict=True)]
