"""Reads tables of decisions and charges: plain text that a support engineer can read, write and check by hand.

A file is a title, some prose, what is `given` to all of its cases, and cases. A case is a sentence, what more is given
to it, and a table: a header that names the columns, then a line for each event and its expected answer.
`tests/tables/FORMAT.txt` describes the words. Nothing here knows what the right answer is.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.events import (
    Block,
    CallAttempt,
    CallExtension,
    CallRelease,
    Cdr,
    Close,
    Correction,
    Event,
    Payment,
    TopUp,
    Unblock,
    WriteOff,
)
from schemas.money import to_micros
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PlanList,
    PriceList,
    PriceRow,
    Provider,
    ReferenceRecord,
    TariffPlan,
)
from schemas.times import SECOND_US, from_datetime, to_text

BUSINESS_ZONE = ZoneInfo("Europe/Moscow")
ARROW = "→"
_GAP = re.compile(r"\s{2,}")

Change = Callable[[Reference], object]
"""What happens to the reference data between two events."""


class TableError(Exception):
    """A line that can't be read; the text names its file and number."""


class Words:
    """One line's words: first those that stand in order, then options by name in any order."""

    def __init__(self, text: str) -> None:
        self._words = shlex.split(text)

    def take(self) -> str:
        """The next word. ValueError: the line is too short."""
        if not self._words:
            raise ValueError("the line ends too early")
        return self._words.pop(0)

    def peek(self) -> str:
        """The next word, which stays; empty at the end."""
        return self._words[0] if self._words else ""

    def flag(self, name: str) -> bool:
        """Whether a word stands anywhere in the rest."""
        if name not in self._words:
            return False
        self._words.remove(name)
        return True

    def option(self, name: str) -> str | None:
        """The word after `name`."""
        if name not in self._words:
            return None
        place = self._words.index(name)
        _, value = self._words.pop(place), self._words.pop(place)
        return value

    def seconds(self) -> int | None:
        """The number before the word `s`."""
        if "s" not in self._words:
            return None
        place = self._words.index("s")
        value, _ = self._words.pop(place - 1), self._words.pop(place - 1)
        return int(value)

    def end(self) -> None:
        """ValueError when words are left that nobody asked for."""
        if self._words:
            raise ValueError(f"what is {' '.join(self._words)!r}?")


@dataclass
class Clock:
    """Moments of a table: the clock of one zone, on a day that stays until another is named."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    day: str = "2026-11-24"

    def read(self, text: str) -> int:
        """Microseconds of `10:00:00`, `2026-11-24 10:00:00`, or either with `Z` or an offset such as `+02:00`."""
        if text[2:3] == ":":
            text = f"{self.day} {text}"
        moment = datetime.fromisoformat(text)
        return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=self.zone))

    def advance(self, text: str) -> int:
        """The same, and a day named here is the day of what follows."""
        if text[2:3] != ":":
            self.day = text[:10]
        return self.read(text)

    def text(self, us: int) -> str:
        """The time of day in the table's zone."""
        moment = datetime.fromtimestamp(us // SECOND_US, UTC).astimezone(self.zone)
        return moment.strftime("%H:%M:%S" if moment.date() == date.fromisoformat(self.day) else "%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class Row:
    """A line of a table: what happens, and what is expected by column."""

    line: int
    left: tuple[str, ...]
    expected: dict[str, str]


@dataclass
class Case:
    """A sentence, what is given, and a table. `priced`: a table of charges, else one of events."""

    path: Path
    line: int
    title: str
    given: list[tuple[int, str]]
    left: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)

    @property
    def priced(self) -> bool:
        """Whether the table is one of charges."""
        return self.left[0] == "answered at"


@dataclass
class Given:
    """What a case starts from. `settings` are the engine's that differ from their defaults."""

    records: list[ReferenceRecord] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def of(self, kind: type) -> list[Any]:
        """The records of one kind, in the order of their lines."""
        return [record for record in self.records if isinstance(record, kind)]

    def account(self, account_id: str) -> Account:
        """The latest attributes of an account; ValueError for one that is not given."""
        for record in reversed(self.of(Account)):
            if record.account_id == account_id:
                return record  # type: ignore[no-any-return]
        raise ValueError(f"no account {account_id} is given")

    def reference(self) -> Reference:
        """Reference data of all that is given."""
        return Reference(
            accounts=self.of(Account),
            providers=self.of(Provider),
            plans=self.of(TariffPlan),
            price_lists=self.of(PriceList),
            prices=self.of(PriceRow),
            bands=self.of(Band),
            locks=self.of(Lock),
            numbers=self.of(Number),
            discounts=self.of(Discount),
        )


def read_cases(path: Path) -> list[Case]:
    """All cases of a file. Raises TableError."""
    shared: list[tuple[int, str]] = []
    cases: list[Case] = []
    block = "prose"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if line == "given" and not cases:
            block = "given"
        elif line.startswith("case "):
            block = "case"
            cases.append(Case(path, number, text.removeprefix("case "), list(shared)))
        elif block != "prose" and not line.startswith(" "):
            raise TableError(
                f"{path.name}:{number}: neither `given` nor `case`, nor a line of one (those are indented)"
            )
        elif block == "given":
            shared.append((number, text))
        elif block == "case":
            _read_line(cases[-1], number, text)
    for case in cases:
        if not case.rows:
            raise TableError(f"{path.name}:{case.line}: a case without a table")
    return cases


def _read_line(case: Case, number: int, text: str) -> None:
    if ARROW not in text:
        if case.columns:
            raise TableError(f"{case.path.name}:{number}: no {ARROW} between what happens and what is expected")
        case.given.append((number, text))
        return
    before, after = (part.strip() for part in text.split(ARROW))
    left, right = tuple(_GAP.split(before)), tuple(_GAP.split(after))
    if not case.columns:
        case.left, case.columns = left, right
    elif len(left) != len(case.left) or len(right) != len(case.columns):
        raise TableError(
            f"{case.path.name}:{number}: {len(left)}+{len(right)} cells under {len(case.left)}+{len(case.columns)} "
            "columns; two spaces or more part them, `-` is none"
        )
    else:
        case.rows.append(Row(number, left, dict(zip(case.columns, right, strict=True))))


def read_given(case: Case) -> Given:
    """The records that a case starts from. Raises TableError."""
    given = Given()
    for number, text in case.given:
        try:
            read_given_line(given, text)
        except (ValueError, KeyError) as error:
            raise TableError(f"{case.path.name}:{number}: {error}") from error
    return given


def read_given_line(given: Given, text: str) -> ReferenceRecord | None:
    """Takes one line in; the record that it is."""
    words = Words(text)
    kind = words.take()
    record: ReferenceRecord | None = None
    if kind == "day":
        given.clock.day = words.take()
    elif kind == "clock":
        given.clock.zone = ZoneInfo(words.take())
    elif kind == "setting":
        name, value = words.take(), words.take()
        whole = isinstance(getattr(EngineSettings(), name), int)
        given.settings[name] = int(value) if whole else frozenset(value.split(","))
    else:
        record = _RECORDS[kind](words, given)
        given.records.append(record)
    words.end()
    return record


def moment(text: str | None, clock: Clock) -> str | None:
    """A moment of reference data; a day is its midnight in the business time zone (rules §1.5)."""
    if text is None:
        return None
    if len(text) == 10:
        return to_text(from_datetime(datetime.fromisoformat(text).replace(tzinfo=BUSINESS_ZONE)))
    return to_text(clock.read(text))


def _money(text: str | None) -> int | None:
    return None if text is None else to_micros(text)


def _account(words: Words, given: Given) -> Account:
    name = words.take()
    status: Literal["active", "blocked", "closed"] = "active"
    if words.flag("blocked"):
        status = "blocked"
    elif words.flag("closed"):
        status = "closed"
    calls = words.option("calls")
    return Account(
        account_id=name,
        client_id=f"client of {name}",
        tariff_plan_id=words.option("plan") or "P",
        payment_mode="postpaid" if words.flag("postpaid") else "prepaid",
        currency="RUB",
        balance_micros=to_micros(words.option("balance") or "0"),
        credit_limit_micros=to_micros(words.option("credit") or "0"),
        critical_balance_micros=_money(words.option("critical")),
        status=status,
        place=words.option("place"),
        max_concurrent_calls=None if calls is None else int(calls),
    )


def _provider(words: Words, given: Given) -> Provider:
    name = words.take()
    return Provider(name, name.title(), int(words.option("priority") or "1"), None, pdgi=False, own=False)


def _plan(words: Words, given: Given) -> TariffPlan:
    name = words.take()
    forbid_loss = words.flag("forbid_loss")
    lists = []
    while words.peek():
        price_list_id, _, priority = words.take().partition(":")
        lists.append(PlanList(price_list_id, int(priority or "1")))
    return TariffPlan(name, tuple(lists), forbid_loss)


def _list(words: Words, given: Given) -> PriceList:
    name, kind = words.take(), words.take()
    rounding: Literal["up", "half_up", "down"] = "half_up"
    if words.flag("up"):
        rounding = "up"
    elif words.flag("down"):
        rounding = "down"
    else:
        words.flag("half_up")
    if kind not in ("retail", "wholesale"):
        raise ValueError(f"a list is retail or wholesale, not {kind!r}")
    return PriceList(
        price_list_id=name,
        name=name,
        kind="retail" if kind == "retail" else "wholesale",
        provider_id=words.option("of"),
        currency="RUB",
        rounding=rounding,
        decimals=int(words.option("decimals") or "6"),
        valid_from=moment(words.option("since"), given.clock),
        valid_to=moment(words.option("until"), given.clock),
    )


def _price(words: Words, given: Given) -> PriceRow:
    name, prefix = words.take(), words.take()
    service = None if "/" in words.peek() else words.take()
    price, _, per_seconds = words.take().partition("/")
    return PriceRow(
        price_list_id=name,
        prefix="" if prefix == "any" else prefix,
        service=service,
        place=words.option("place"),
        incoming_service=words.option("via"),
        band_id=words.option("band"),
        from_second=int(words.option("after") or "0"),
        connect_fee_micros=to_micros(words.option("connect") or "0"),
        price_micros=to_micros(price),
        per_seconds=int(per_seconds),
        step_seconds=int(words.option("step") or per_seconds),
        min_charge_micros=_money(words.option("min")),
        max_charge_micros=_money(words.option("max")),
        valid_from=moment(words.option("since"), given.clock),
        valid_to=moment(words.option("until"), given.clock),
        attempt_fee_micros=to_micros(words.option("attempt_fee") or "0"),
    )


def _band(words: Words, given: Given) -> Band:
    name = words.take()
    start, _, end = words.take().partition("-")
    dates = words.option("dates")
    return Band(
        band_id=name,
        weekdays=tuple(_weekdays(words.option("days") or "")),
        start_minute=_minute(start),
        end_minute=_minute(end),
        dates=() if dates is None else tuple(dates.split(";")),
        time_zone=words.option("zone") or "Europe/Moscow",
        weight=int(words.option("weight") or "1"),
    )


def _weekdays(text: str) -> Iterator[int]:
    for part in filter(None, text.split(";")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _lock(words: Words, given: Given) -> Lock:
    name, digits = words.take(), words.take()
    return Lock(
        lock_id=name,
        kind="number" if words.flag("number") else "prefix",
        digits=digits,
        account_id=words.option("on"),
        provider_id=words.option("through"),
        author=words.option("by") or "",
        reason=words.option("why") or "",
        created_at=moment(words.option("since") or "2026-01-01", given.clock) or "",
    )


def _number(words: Words, given: Given) -> Number:
    number, status = words.take(), words.take()
    return Number(
        number=number,
        status=msgspec.convert(status, Literal["free", "reserved", "in_use", "archive"]),
        account_id=words.option("of"),
        place=None,
        region=None,
        provider_id=None,
        fmtn=False,
        joined_on=None,
        archived_on=None,
        saleable="depends_on_ncv",
    )


def _discount(words: Words, given: Given) -> Discount:
    account_id, percent = words.take(), words.take()
    return Discount(
        account_id=account_id,
        service=words.option("on"),
        percent_micros=to_micros(percent.removesuffix("%")),
        valid_from=moment(words.option("since"), given.clock),
        valid_to=moment(words.option("until"), given.clock),
    )


_RECORDS: dict[str, Callable[[Words, Given], ReferenceRecord]] = {
    "account": _account,
    "provider": _provider,
    "plan": _plan,
    "list": _list,
    "price": _price,
    "band": _band,
    "lock": _lock,
    "number": _number,
    "discount": _discount,
}


class EventReader:
    """Reads a table's events in order; what came before can come `again` or be named by a CDR."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._before: dict[tuple[str, str], Event] = {}

    def read(self, text: str, now_us: int) -> Event | Change:
        """The event of a line, or the change of reference data. Raises ValueError."""
        words = Words(text)
        kind = words.take()
        if kind == "again":
            event = self._before[words.take(), words.take()]
            words.end()
            return event
        if kind in ("unprice", "unlock", *_RECORDS):
            return self._change(kind, text)
        name = words.take()
        at = to_text(now_us if (at_text := words.option("own-time")) is None else self._given.clock.read(at_text))
        event = self._before[kind, name] = self._event(kind, name, at, words, now_us)
        words.end()
        return event

    def _event(self, kind: str, name: str, at: str, words: Words, now_us: int) -> Event:
        if kind == "attempt":
            return self._attempt(name, at, words)
        if kind in ("extension", "release"):
            of = words.option("account") or self._attempt_of(name).account_id
            if kind == "release":
                return CallRelease(name, "msk-1", at, of, words.option("cause"))
            return CallExtension(name, "msk-1", at, of or "", int(words.option("used") or "0"))
        if kind == "cdr":
            return self._cdr(name, words, now_us)
        account_id = words.take()
        if kind in _MONEY:
            return _MONEY[kind](name, account_id, at, to_micros(words.take()), words.option("why"))
        return _STATUS[kind](name, account_id, at, words.option("why"))

    def _attempt_of(self, name: str) -> CallAttempt:
        attempt = self._before.get(("attempt", name))
        if isinstance(attempt, CallAttempt):
            return attempt
        return CallAttempt(name, "msk-1", "", "outgoing", "", account_id="unknown")

    def _attempt(self, name: str, at: str, words: Words) -> CallAttempt:
        account_id, service, called = words.take(), words.take(), words.take()
        requested = words.option("for")
        return CallAttempt(
            attempt_id=name,
            switch_id="msk-1",
            at=at,
            service=service,
            called=called,
            account_id=None if account_id == "nobody" else account_id,
            caller=words.option("from"),
            place=words.option("place"),
            incoming_service=words.option("via"),
            requested_seconds=None if requested is None else int(requested),
        )

    def _cdr(self, name: str, words: Words, now_us: int) -> Cdr:
        clock = self._given.clock
        attempt_id, provider_id = words.option("of"), words.option("through")
        unanswered, seconds = words.flag("unanswered"), words.seconds()
        times = [words.option(key) for key in ("started", "answered", "ended")]
        more = {"caller": words.option("from"), "place": words.option("place"), "incoming_service": words.option("via")}
        account, changed_service = words.option("account"), words.option("service")
        attempt = None if attempt_id is None or words.peek() else self._attempt_of(attempt_id)
        if attempt is None:
            account, service, called = words.take(), words.take(), words.take()
            attempt = CallAttempt("", "msk-1", "", service, called, None if account == "nobody" else account)
        started_us = now_us - (seconds or 0) * SECOND_US
        if times[0] is not None or attempt.at:
            started_us = clock.read(times[0] or attempt.at)
        answered_us = started_us if times[1] is None else clock.read(times[1])
        ended_us = answered_us + (seconds or 0) * SECOND_US if times[2] is None else clock.read(times[2])
        return Cdr(
            cdr_id=name,
            switch_id="msk-1",
            service=changed_service or attempt.service,
            called=attempt.called,
            started_at=to_text(started_us),
            ended_at=to_text(ended_us),
            attempt_id=attempt_id,
            account_id=attempt.account_id if account in (None, "nobody") else account,
            provider_id=provider_id,
            answered_at=None if unanswered else to_text(answered_us),
            billable_seconds=seconds,
            **more,
        )

    def _change(self, kind: str, text: str) -> Change:
        words = Words(text)
        words.take()
        if kind == "unlock":
            lock_id = words.take()
            return lambda reference: reference.remove_lock(lock_id)
        if kind == "unprice":
            price_list_id, prefix = words.take(), words.take()
            return lambda reference: reference.remove_price(price_list_id, "" if prefix == "any" else prefix)
        record = read_given_line(self._given, text)
        if isinstance(record, PriceRow):
            row = record
            return lambda reference: reference.put_price([row])
        if isinstance(record, Lock):
            lock = record
            return lambda reference: reference.put_lock(lock)
        if isinstance(record, Account):
            account = record
            return lambda reference: reference.put_account(account)
        if isinstance(record, Number):
            number = record
            return lambda reference: reference.put_number(number)
        raise ValueError(f"a {kind} does not change while the engine runs")


_MONEY: dict[str, Callable[..., Event]] = {
    "payment": Payment,
    "top_up": TopUp,
    "write_off": WriteOff,
    "correction": Correction,
}
_STATUS: dict[str, Callable[..., Event]] = {"block": Block, "unblock": Unblock, "close": Close}
