"""Any story of calls and money: a partition keeps the books that the model keeps, whatever comes twice or wrong.

A story is a list of events with the times of their records. The model of holds is told what should have been allowed
and charged; the engine must agree after every event. A partition that moves to a new owner must not be told from one
that stayed, neither by what it publishes nor by what it writes to its changelog.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.accounts import AccountState
from engine.partition import Partition
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.codec import decode_event, encode, pack
from schemas.decisions import CallDecision
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
from schemas.facts import AccountBalance, AccountMovement, Notice
from schemas.rated import RatedCdr
from schemas.reference import Account, Discount, Lock, Number, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import HOUR_US, SECOND_US, to_text, to_us
from tests.models.holds import HoldsModel

NOON = to_us("2026-11-24T12:00:00.000Z")
MINUTE_PRICE = 3_000_000
ACCOUNTS = ("a", "b")
SLICE = 600
LIMITS = EngineSettings(max_call_seconds=SLICE)

some = settings(max_examples=120, deadline=None, report_multiple_bugs=False)

Change = Callable[[Reference], None]
T = TypeVar("T")


def price(price_list_id: str, prefix: str, micros: int, service: str | None = None) -> PriceRow:
    return PriceRow(price_list_id, prefix, service, None, None, None, 0, 0, micros, 60, 60, None, None, None, None)


def account(account_id: str, balance_micros: int, credit_micros: int) -> Account:
    return Account(
        account_id, "c", "P", "prepaid", "RUB", balance_micros, credit_micros, 2_000_000, "active", None, None
    )


OPENING = {"a": (20_000_000, 0), "b": (4_000_000, 8_000_000)}
ROWS = [price("R", "7", MINUTE_PRICE, "outgoing"), price("W", "", 1_000_000), price("R2", "", 5_000_000)]
NUMBERS = [
    Number("74951", "archive", None, None, None, None, False, None, None, "no"),
    Number("74952", "free", None, None, None, None, False, None, None, "no"),
    Number("74953", "in_use", None, None, None, None, False, None, None, "no"),
]


def reference(*, backwards: bool = False, discounts: Sequence[Discount] = ()) -> Reference:
    """Two accounts, one carrier. `backwards`: the same records, read in another order."""

    def read(records: Sequence[T]) -> Sequence[T]:
        return records[::-1] if backwards else records

    return Reference(
        accounts=read([account(account_id, *opening) for account_id, opening in OPENING.items()]),
        providers=[Provider("A", "A", 1, None, False, False)],
        plans=read([TariffPlan("P", (PlanList("R", 1),), False), TariffPlan("P2", (PlanList("R2", 1),), False)]),
        price_lists=read(
            [
                PriceList("R", "", "retail", None, "RUB", "up", 2, None, None),
                PriceList("R2", "", "retail", None, "RUB", "up", 2, None, None),
                PriceList("W", "", "wholesale", "A", "RUB", "half_up", 6, None, None),
            ]
        ),
        prices=read(ROWS),
        numbers=read(NUMBERS),
        discounts=discounts,
    )


# -- stories ---------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What happens: events with the time of their record, and, between them, changes of the reference data."""

    events: list[tuple[Event | Change, int]] = field(default_factory=list)
    attempts: list[CallAttempt] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join(f"{to_text(us)} {event}" for event, us in self.events)


COMMANDS = ("payment", "top_up", "write_off", "correction", "block", "unblock", "close")
KINDS = ("attempt",) * 5 + ("extension", "extension", "release", "cdr", "cdr", "cdr", "nobody", "again") + COMMANDS
PAUSES = (0, 0, 1, 5, 60, 125, 400, 731)
LONG_PAUSES = (*PAUSES, 3_600, 7 * 3_600, 13 * 3_600, 25 * 3_600)


@st.composite
def stories(
    draw: st.DrawFn,
    *,
    pauses: Sequence[int] = PAUSES,
    back: Sequence[int] = (0, 0, 0, 30),
    ago: Sequence[int] = (0, 0, 1, 50),
    changes: bool = False,
) -> Story:
    """`back`: seconds by which a record's time may lie before the latest; `ago`: an attempt's own time before that."""
    story, clock_us = Story(), NOON
    kinds = KINDS + (("change",) * 4 if changes else ())
    for number in range(draw(st.integers(1, 30))):
        clock_us += draw(st.sampled_from(pauses)) * SECOND_US
        now_us = clock_us - draw(st.sampled_from(back)) * SECOND_US
        kind = draw(st.sampled_from(kinds))
        known = draw(st.sampled_from(story.attempts[-3:])) if story.attempts else None
        event: Event | Change | None
        if kind == "change":
            event = draw(reference_changes())
        elif kind == "again":
            earlier = [event for event, _ in story.events if not callable(event)]
            event = draw(st.sampled_from(earlier)) if earlier else None
        elif kind in ("attempt", "nobody"):
            at_us = now_us - draw(st.sampled_from(ago)) * SECOND_US
            event = draw(attempts_of(number, at_us, nobody=kind == "nobody"))
            story.attempts.append(event)
        else:
            event = draw(others(kind, number, known, now_us))
        if event is not None:
            story.events.append((event, now_us))
    return story


@st.composite
def attempts_of(draw: st.DrawFn, number: int, at_us: int, *, nobody: bool) -> CallAttempt:
    if nobody:
        called = draw(st.sampled_from(("74951", "74952", "74953", "999")))
        caller = draw(st.sampled_from((None, "7999", "+7999", "8 800", "anonymous")))
        return CallAttempt(f"x{number}", "s", to_text(at_us), "incoming", called, None, caller)
    return CallAttempt(
        f"x{number}",
        "s",
        to_text(at_us),
        draw(st.sampled_from(("outgoing",) * 4 + ("incoming",))),
        draw(st.sampled_from(("7495", "7495", "7495", "112", "49"))),
        draw(st.sampled_from(ACCOUNTS + ACCOUNTS + ("nobody",))),
        requested_seconds=draw(st.sampled_from((None, 60, 61, 300))),
    )


@st.composite
def others(draw: st.DrawFn, kind: str, number: int, known: CallAttempt | None, now_us: int) -> Event | None:
    """An event of a call that may be known, or a command."""
    at = to_text(now_us)
    account_id = draw(st.sampled_from(ACCOUNTS + ACCOUNTS + ("nobody",)))
    attempt_id = "unheard" if known is None else known.attempt_id
    owner = account_id if known is None else known.account_id
    mistaken = draw(st.integers(0, 9)) == 0
    if mistaken:
        owner = account_id
    if kind == "extension":
        used = draw(st.sampled_from((0, 30, 60, 240, 599, 700)))
        return None if owner is None else CallExtension(attempt_id, "s", at, owner, used)
    if kind == "release":
        return CallRelease(attempt_id, "s", at, owner)
    if kind == "cdr":
        seconds = draw(st.sampled_from((None, 0, 1, 60, 61, 200)))
        alone = known is None or draw(st.integers(0, 5)) == 0
        return Cdr(
            f"c{number}",
            "s",
            "outgoing" if known is None else known.service,
            "7495" if known is None else known.called,
            to_text(now_us - 300 * SECOND_US),
            at,
            None if alone else attempt_id,
            owner,
            provider_id="A",
            answered_at=None if seconds is None else to_text(now_us - seconds * SECOND_US),
            billable_seconds=seconds,
        )
    if kind == "payment":
        amount = draw(st.sampled_from((5_000_000, 1, -2_000_000, 0)))
        return Payment(f"k{number}", account_id, at, amount)
    if kind == "top_up":
        return TopUp(f"k{number}", account_id, at, draw(st.sampled_from((1_000_000, -1))))
    if kind == "write_off":
        return WriteOff(f"k{number}", account_id, at, draw(st.sampled_from((6_000_000, 1_000_000, -1))))
    if kind == "correction":
        return Correction(f"k{number}", account_id, at, draw(st.sampled_from((2_000_000, -3_000_000, 0))))
    rare = draw(st.integers(0, 3)) == 0
    if kind == "close" and rare:
        return Close(f"k{number}", account_id, at, "left")
    if kind == "block" and rare:
        return Block(f"k{number}", account_id, at, "debt")
    return Unblock(f"k{number}", account_id, at)


@st.composite
def reference_changes(draw: st.DrawFn) -> Change:
    """A lock, a price, or an account's attributes."""
    kind = draw(st.sampled_from(("lock", "lift", "price", "unprice", "account", "account")))
    account_id = draw(st.sampled_from(ACCOUNTS))
    micros = draw(st.sampled_from((0, 1_000_000, 4_000_000)))
    plan = draw(st.sampled_from(("P", "P2")))
    place = draw(st.sampled_from((None, "msk")))

    def change(data: Reference) -> None:
        there = data.accounts[account_id]
        if kind == "lock":
            data.put_lock(Lock("L", "prefix", "74", account_id, None, "ivanov", "why", to_text(NOON)))
        elif kind == "lift":
            data.remove_lock("L")
        elif kind == "price":
            data.put_price([price("R", "74", micros, "outgoing")])
        elif kind == "unprice":
            data.remove_price("R", "74")
        else:
            data.put_account(
                replace(
                    there,
                    tariff_plan_id=plan,
                    place=place,
                    credit_limit_micros=micros,
                    balance_micros=there.balance_micros + micros,
                )
            )

    return change


ASKED = CallAttempt("x", "s", to_text(NOON), "outgoing", "7495", "a")
UNREADABLE = replace(ASKED, attempt_id="y", called="?")
PAID = [Payment(f"k{hour}", "a", to_text(NOON + hour * HOUR_US), 5_000_000) for hour in range(50)]


def later(event: Event | Change, hours: float) -> tuple[Event | Change, int]:
    """An event whose record comes so many hours after noon."""
    return event, NOON + int(hours * HOUR_US)


# -- the books -------------------------------------------------------------------------------------------------------


@dataclass
class Promise:
    """A call as it was answered."""

    attempt: CallAttempt
    allowed: bool
    at_us: int
    granted: int = 0
    hold: int = 0
    emergency: bool = False
    ended: str = ""
    asked: list[CallExtension] = field(default_factory=list)


class Books:
    """What the engine must answer and hold, for one price in one plan (rules §3, §5, §6, §7)."""

    def __init__(self) -> None:
        self.money = HoldsModel(OPENING)
        self.status = dict.fromkeys(OPENING, "active")
        self.calls: dict[str, Promise] = {}
        self.ids: dict[str, Event] = {}

    def take(self, event: Event, now_us: int) -> str:
        """What becomes of the event: `refused`, `same`, or how it was answered."""
        self._expire(now_us)
        if isinstance(event, CallAttempt):
            answer = self._attempt(event)
            self._expire(now_us)  # a call that was set up long ago may hold nothing any more
            return answer
        if isinstance(event, CallExtension):
            return self._extension(event)
        if isinstance(event, CallRelease):
            return self._release(event)
        if isinstance(event, Cdr):
            return self._cdr(event)
        return self._command(event)

    def _expire(self, now_us: int) -> None:
        self.money.clock(now_us)
        for attempt_id in self.money.expired:
            self.calls[attempt_id].ended = self.calls[attempt_id].ended or "expired"

    def running(self, account_id: str) -> int:
        """Calls that hold or might hold money."""
        return sum(
            call.allowed and not call.ended and not call.emergency and call.attempt.account_id == account_id
            for call in self.calls.values()
        )

    def _attempt(self, attempt: CallAttempt) -> str:
        if attempt.attempt_id in self.calls:
            return "same"
        call = self.calls[attempt.attempt_id] = Promise(attempt, allowed=True, at_us=to_us(attempt.at))
        cap = min(attempt.requested_seconds or SLICE, SLICE)
        account_id = attempt.account_id
        call.granted, call.emergency = cap, attempt.called == "112"
        if not call.emergency:
            if account_id not in OPENING or self.status[account_id] == "closed":
                call.allowed = False
            elif attempt.service == "outgoing":
                bought = affordable(self.money.available(account_id), cap) if attempt.called.startswith("7") else 0
                call.allowed = bought > 0 and self.status[account_id] == "active"
                call.granted, call.hold = bought, cost(bought)
        if not call.allowed:
            call.granted = call.hold = 0
            return "deny"
        self._hold(call)
        return f"allow {call.granted} {call.hold}"

    def _extension(self, request: CallExtension) -> str:
        call = self.calls.get(request.attempt_id)
        if call is None:
            return "refused"
        if request in call.asked:
            return "same"
        account_id = request.account_id
        if call.attempt.account_id != account_id or call.ended or not call.allowed:
            return "refused"
        call.asked.append(request)
        cap = request.used_seconds + min(call.attempt.requested_seconds or SLICE, SLICE)
        seconds = cap
        if not call.emergency:
            status = self.status[account_id]
            paid = call.attempt.service == "outgoing"
            if paid:
                seconds = affordable(self.money.available(account_id) + call.hold, cap)
            enough = seconds == cap or seconds > max(call.granted, request.used_seconds)
            if status == "closed" or (paid and (status == "blocked" or not enough)):
                return f"deny {call.granted} {call.hold}"
            if seconds > call.granted:
                call.hold = cost(seconds) if paid else 0
        call.granted = max(call.granted, seconds)
        self._hold(call)
        return f"allow {call.granted} {call.hold}"

    def _hold(self, call: Promise) -> None:
        expires_us = call.at_us + (call.granted + 120) * SECOND_US
        self.money.hold(call.attempt.attempt_id, call.attempt.account_id or "", call.hold, expires_us)

    def _release(self, release: CallRelease) -> str:
        call = self.calls.get(release.attempt_id)
        if call is None or release.account_id not in (None, call.attempt.account_id):
            return "refused"
        if call.ended or not call.allowed:
            return "same"
        call.ended = "released"
        self.money.release(release.attempt_id)
        return "taken"

    def _cdr(self, cdr: Cdr) -> str:
        if cdr.cdr_id in self.ids:
            return "same"
        call = None if cdr.attempt_id is None else self.calls.get(cdr.attempt_id)
        if cdr.account_id is not None and cdr.account_id not in OPENING and cdr.called != "112":
            return "refused"
        if call is not None and call.attempt.account_id != cdr.account_id:
            return "refused"
        if cdr.account_id not in OPENING and cdr.answered_at is not None and cdr.called != "112":
            return "refused"
        priced = cdr.service == "outgoing" and cdr.called.startswith("7")
        if cdr.service == "outgoing" and not priced and cdr.called != "112" and cdr.answered_at is not None:
            return "refused"
        self.ids[cdr.cdr_id] = cdr
        flags = []
        if call is None:
            flags.append("no_attempt")
        elif not call.allowed:
            flags.append("denied")
        elif call.ended == "expired":
            flags.append("late")
        charged = cost(cdr.billable_seconds or 0) if priced and cdr.account_id in OPENING else 0
        if call is not None and call.allowed and not call.ended:
            call.ended = "rated"
            self.money.release(call.attempt.attempt_id)
        if cdr.account_id in OPENING:
            self.money.charge(cdr.account_id, charged, None)
        return " ".join(["charge", str(charged), *flags])

    def _command(self, command: Payment | TopUp | WriteOff | Correction | Block | Unblock | Close) -> str:
        if command.command_id in self.ids:
            return "same"
        account_id = command.account_id
        if account_id not in OPENING:
            return "refused"
        if isinstance(command, Payment | TopUp | WriteOff | Correction):
            if command.amount_micros == 0:
                return "refused"
            sign = -1 if isinstance(command, WriteOff) else 1
            self.money.move(account_id, sign * command.amount_micros)
        elif isinstance(command, Close):
            self.status[account_id] = "closed"
        elif self.status[account_id] == "closed":
            return "refused"
        else:
            self.status[account_id] = "blocked" if isinstance(command, Block) else "active"
        self.ids[command.command_id] = command
        return "taken"


def cost(seconds: int) -> int:
    """Whole minutes."""
    return -(-seconds // 60) * MINUTE_PRICE


def affordable(available: int, cap: int) -> int:
    """Seconds in whole minutes that the money buys."""
    return min(max(available, 0) // MINUTE_PRICE * 60, cap)


def taken(partition: Partition, event: Event, now_us: int) -> str:
    """What the engine makes of an event, in the words of the books."""
    before, duplicates = len(partition.outbox), partition.duplicates
    if partition.handle(decode_event(encode(event)), now_us) is not None:
        assert len(partition.outbox) == before, "refused, yet something was published"
        return "refused"
    told = [output.record for output in partition.outbox[before:]]
    if partition.duplicates > duplicates:
        assert all(isinstance(record, CallDecision) and record.repeated is True for record in told)
        return "same"
    for record in told:
        if isinstance(record, CallDecision):
            if not record.allow and not record.extension:
                return "deny"
            return f"{'allow' if record.allow else 'deny'} {record.max_seconds} {record.hold_micros}"
        if isinstance(record, RatedCdr):
            charged = 0 if record.retail is None else record.retail.amount_micros
            flags = [flag for flag in ("no_attempt", "denied", "late") if getattr(record, flag) is True]
            return " ".join(["charge", str(charged), *flags])
    return "taken"


@settings(some, max_examples=250)
@given(stories(ago=(0, 0, 1, 50, 200, 40_000)))
@example(Story([later(replace(ASKED, requested_seconds=60), 0), later(CallExtension("x", "s", ASKED.at, "a", 0), 0)]))
def test_the_books_agree_after_every_event(story: Story) -> None:
    partition, books = Partition(LIMITS, reference()), Books()
    for event, now_us in story.events:
        assert not callable(event)
        assert taken(partition, event, now_us) == books.take(event, now_us)

        for account_id, state in partition.accounts.items():
            assert state.balance_micros == books.money.balance[account_id]
            assert state.held_micros == books.money.held(account_id)
            assert state.running == books.running(account_id)
            assert state.status == books.status[account_id]


@some
@given(stories(), st.integers(1, 4))
def test_each_batch_ends_with_the_money_of_the_accounts_that_it_moved(story: Story, size: int) -> None:
    partition, books = Partition(LIMITS, reference()), Books()
    published = {account_id: (money, 0, money + credit, "active") for account_id, (money, credit) in OPENING.items()}
    for place, (event, now_us) in enumerate(story.events):
        assert not callable(event)
        partition.handle(event, now_us)
        books.take(event, now_us)
        if place % size == 0:
            for output in close(partition)[0]:
                if isinstance(output, AccountBalance):
                    assert output.balance_micros + output.credit_limit_micros - output.held_micros == (
                        output.available_micros
                    )
                    published[output.account_id] = (
                        output.balance_micros,
                        output.held_micros,
                        output.available_micros,
                        output.status,
                    )
            assert published == {
                name: (books.money.balance[name], books.money.held(name), books.money.available(name), status)
                for name, status in books.status.items()
            }


class Ledger:
    """The books of who only reads what is published: movements and rated CDRs."""

    def __init__(self) -> None:
        self.balance: dict[str, int] = {}
        self.commands: dict[str, str] = {}

    def read(self, records: Iterable[object]) -> None:
        """What one batch published; the balances that it ends with must be those of the books."""
        for record in records:
            if isinstance(record, AccountMovement):
                opening = record.kind == "opening"
                assert (record.account_id in self.balance) != opening, "an account is opened once, before all else"
                self.balance[record.account_id] = self.balance.get(record.account_id, 0) + record.amount_micros
                assert record.balance_after_micros == self.balance[record.account_id]
                assert (record.command_id is None) == opening
                if record.command_id is not None:
                    assert record.command_id not in self.commands, "told twice"
                    self.commands[record.command_id] = record.kind
            elif isinstance(record, RatedCdr) and record.retail is not None and record.retail.amount_micros:
                assert record.account_id is not None
                self.balance[record.account_id] -= record.retail.amount_micros
                assert record.balance_after_micros == self.balance[record.account_id]
            elif isinstance(record, AccountBalance):
                assert record.balance_micros == self.balance[record.account_id]


@some
@given(stories(changes=True), st.sets(st.integers(0, 30)))
def test_who_reads_movements_and_charges_knows_each_balance_to_the_micro(story: Story, moves: set[int]) -> None:
    data = reference()
    partition, ledger = Partition(LIMITS, data), Ledger()
    store: dict[bytes, bytes] = {}
    carried_out: dict[str, str] = {}
    for place, (event, now_us) in enumerate(story.events):
        if callable(event):
            event(data)
            continue
        refused = partition.handle(event, now_us)
        if refused is None and isinstance(event, Payment | TopUp | WriteOff | Correction | Block | Unblock | Close):
            carried_out[event.command_id] = str(type(event).__struct_config__.tag)
        if place in moves:
            records, _, changes = close(partition)
            ledger.read(records)
            keep(store, changes)
            clock_us = partition.clock_us
            partition = Partition(LIMITS, data)
            partition.restore(store, clock_us)
    ledger.read(close(partition)[0])

    assert ledger.commands == carried_out
    assert ledger.balance == {account_id: state.balance_micros for account_id, state in partition.accounts.items()}


def movements(partition: Partition) -> list[AccountMovement]:
    return [output.record for output in partition.outbox if isinstance(output.record, AccountMovement)]


def test_an_account_opens_with_what_the_reference_says_when_it_is_first_touched() -> None:
    """A call that is denied touches nothing; afterwards another opening balance is without meaning."""
    data = reference()
    partition = Partition(LIMITS, data)
    partition.handle(UNREADABLE, NOON)
    assert movements(partition) == []
    data.put_account(replace(data.accounts["a"], balance_micros=9_000_000))

    for event in (ASKED, WriteOff("k1", "a", to_text(NOON - SECOND_US), 5_000_000, "fee")):
        assert partition.handle(event, NOON) is None
        data.put_account(replace(data.accounts["a"], balance_micros=1))
    assert partition.handle(WriteOff("k1", "a", to_text(NOON - SECOND_US), 5_000_000, "fee"), NOON) is None

    at = to_text(NOON - SECOND_US)
    assert movements(partition) == [
        AccountMovement("opening", "a", to_text(NOON), None, 9_000_000, 9_000_000, "RUB", "active", None, None),
        AccountMovement("write_off", "a", at, "k1", -5_000_000, 4_000_000, "RUB", "active", "fee", None),
    ]


def test_an_account_whose_reference_record_comes_late_opens_when_it_has_come() -> None:
    data = reference()
    partition = Partition(LIMITS, data)
    refused = partition.handle(Payment("k1", "late", to_text(NOON), 5), NOON)
    assert refused is not None
    assert refused.reason == "unknown_account"
    assert movements(partition) == []
    data.put_account(account("late", 0, 0))

    assert partition.handle(Payment("k1", "late", to_text(NOON), 5), NOON) is None

    assert [(told.kind, told.balance_after_micros) for told in movements(partition)] == [("opening", 0), ("payment", 5)]


def test_changes_of_status_are_told_with_their_reasons_and_move_no_money() -> None:
    partition = Partition(LIMITS, reference())
    at = to_text(NOON)
    for event in (Block("k1", "a", at, "debt"), Unblock("k2", "a", at), Close("k3", "a", at, "left")):
        assert partition.handle(event, NOON) is None
    assert partition.handle(Unblock("k4", "a", at), NOON) is not None

    assert [
        (told.kind, told.command_id, told.amount_micros, told.status, told.reason) for told in movements(partition)[1:]
    ] == [
        ("block", "k1", 0, "blocked", "debt"),
        ("unblock", "k2", 0, "active", None),
        ("close", "k3", 0, "closed", "left"),
    ]


def test_an_account_that_a_former_owner_kept_without_telling_its_opening_gets_none() -> None:
    """Changelogs are older than movements: what lies before the first one is not told again."""
    state = AccountState("a", 7_000_000, "active", touched_us=NOON)
    partition = Partition(LIMITS, reference())
    partition.restore({b"a/a": pack(state)}, NOON)

    partition.handle(Payment("k1", "a", to_text(NOON), 5), NOON)
    partition.handle(Payment("k2", "b", to_text(NOON), 5), NOON)

    assert [(told.kind, told.account_id, told.balance_after_micros) for told in movements(partition)] == [
        ("payment", "a", 7_000_005),
        ("opening", "b", 4_000_000),
        ("payment", "b", 4_000_005),
    ]


# -- the same bytes --------------------------------------------------------------------------------------------------

Closed = tuple[list[object], list[tuple[str, str, bytes]], list[tuple[bytes, bytes | None]]]


def close(partition: Partition) -> Closed:
    """Ends a batch: records, what is published, what goes to the changelog."""
    partition.close_batch()
    outbox = partition.take_outbox()
    changes = list(partition.take_changes().items())
    return [output.record for output in outbox], [(out.topic, out.key, out.value) for out in outbox], changes


def keep(store: dict[bytes, bytes], changes: Iterable[tuple[bytes, bytes | None]]) -> None:
    """The changelog as a topic keeps it: the latest of each key."""
    for key, value in changes:
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value


def run_with_moves(story: Story, cuts: Sequence[int]) -> None:
    """Two partitions live the story; one moves to a new owner at the cuts. They must stay alike to the byte."""
    data = reference()
    stays, moves = Partition(LIMITS, data), Partition(LIMITS, data)
    store: dict[bytes, bytes] = {}
    for place, (event, now_us) in enumerate(story.events):
        if callable(event):
            event(data)
            continue
        assert stays.handle(event, now_us) == moves.handle(event, now_us)
        if place in cuts or place == len(story.events) - 1:
            mine, other = close(stays), close(moves)
            assert mine[1] == other[1]
            assert mine[2] == other[2]
            keep(store, other[2])
            clock_us = moves.clock_us
            moves = Partition(LIMITS, data)
            moves.restore(store, clock_us)
            assert {name: state for name, state in moves.accounts.items() if state.touched_us} == {
                name: state for name, state in stays.accounts.items() if state.touched_us
            }
    assert close(stays)[1:] == close(moves)[1:]


cuts = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def enriched(data: Reference) -> None:
    """Another opening balance: without meaning for an account that the engine has seen."""
    data.put_account(replace(data.accounts["a"], balance_micros=0))


@some
@given(stories(), cuts)
def test_a_partition_that_moved_publishes_the_same_bytes_as_one_that_stayed(story: Story, at: list[int]) -> None:
    run_with_moves(story, at)


@some
@given(stories(changes=True), cuts)
@example(Story([later(UNREADABLE, 0), later(enriched, 0), later(ASKED, 0)]), [0])
def test_it_does_so_while_prices_locks_and_accounts_change(story: Story, at: list[int]) -> None:
    run_with_moves(story, at)


@some
@given(stories(pauses=LONG_PAUSES, back=(0,)), cuts)
@example(
    Story(
        [
            later(ASKED, 0),
            later(CallRelease("x", "s", to_text(NOON + HOUR_US), "a"), 1),
            *(later(PAID[hour], hour) for hour in (23, 24, 26)),
            later(ASKED, 26),
        ]
    ),
    [1, 3, 4],
)
def test_it_forgets_the_same_ids_at_the_same_time(story: Story, at: list[int]) -> None:
    run_with_moves(story, at)


@some
@given(stories(pauses=LONG_PAUSES, back=(0, 0, 30, 9 * 3_600), ago=(0, 50, 40_000, 30 * 86_400)), cuts)
@example(Story([later(replace(ASKED, at=PAID[1].at), 40), later(PAID[40], 40), later(PAID[41], 41)]), [0, 1])
@example(Story([later(PAID[10], 10), later(PAID[0], 0), later(PAID[25], 25), later(PAID[0], 25)]), [1, 2])
def test_it_does_so_when_records_come_late(story: Story, at: list[int]) -> None:
    run_with_moves(story, at)


def test_the_last_micro_unit_is_told_of_and_nothing_below_it() -> None:
    partition = Partition(LIMITS, reference())
    for number, micros in enumerate((19_999_999, 1, 1, -2, 1, 1)):
        assert partition.handle(WriteOff(f"k{number}", "a", to_text(NOON), micros), NOON) is None

    told = [output.record for output in partition.outbox if isinstance(output.record, Notice)]
    exhausted = [notice.balance_micros for notice in told if notice.kind == "money_exhausted"]
    assert exhausted == [0, 0]


def test_a_cdr_is_charged_by_the_moment_of_its_attempt_and_not_by_its_own_start() -> None:
    half = Discount("a", None, 50_000_000, None, to_text(NOON))
    partition = Partition(LIMITS, reference(discounts=[half]))
    partition.handle(ASKED, NOON)
    early, at = to_text(NOON - SECOND_US), to_text(NOON + 60 * SECOND_US)
    cdr = Cdr("c", "s", "outgoing", "7495", early, at, "x", "a", provider_id="A", answered_at=ASKED.at)

    for event in (cdr, replace(cdr, cdr_id="d", attempt_id=None)):
        assert partition.handle(event, NOON + 60 * SECOND_US) is None

    charged = [output.record.retail for output in partition.outbox if isinstance(output.record, RatedCdr)]
    assert [bill and bill.amount_micros for bill in charged] == [MINUTE_PRICE, MINUTE_PRICE // 2]


def test_an_id_is_known_for_a_day_of_the_clock_however_late_its_record_came() -> None:
    partition = Partition(LIMITS, reference())
    for event, now_us in (later(PAID[10], 10), later(PAID[0], 0), later(PAID[33], 33), later(PAID[0], 33)):
        assert not callable(event)
        assert partition.handle(event, now_us) is None

    assert partition.duplicates == 1
    assert partition.accounts["a"].balance_micros == 20_000_000 + 3 * 5_000_000


@some
@given(stories(), st.data())
def test_what_comes_twice_or_is_refused_leaves_no_trace(story: Story, data: st.DataObject) -> None:
    plain, troubled = Partition(LIMITS, reference()), Partition(LIMITS, reference())
    accepted: list[Event] = []
    for event, now_us in story.events:
        assert not callable(event)
        refused = plain.handle(event, now_us)
        assert troubled.handle(event, now_us) == refused
        if refused is None:
            accepted.append(event)
        for _ in range(data.draw(st.integers(0, 2))):
            noise, wrong = data.draw(noises(accepted))
            assert (troubled.handle(noise, troubled.clock_us) is not None) == wrong
    (_, mine, my_changes), (records, others_, other_changes) = close(plain), close(troubled)
    first = [
        output
        for record, output in zip(records, others_, strict=True)
        if not (isinstance(record, CallDecision) and record.repeated is True)
    ]
    told = [output for output in mine if b'"repeated":true' not in output[2]]
    assert first == told
    assert other_changes == my_changes


@st.composite
def noises(draw: st.DrawFn, accepted: list[Event]) -> tuple[Event, bool]:
    """An event that was there, or one that can't be used, and whether it must be refused."""
    at = to_text(NOON)
    useless: list[Event] = [
        CallRelease("unheard", "s", at, "a"),
        CallExtension("unheard", "s", at, "a", 10),
        Payment("new", "nobody", at, 1),
        Payment("new", "a", at, 0),
        Payment("new", "a", "yesterday", 1),
        Payment("new", "a", to_text(NOON - 36 * 24 * HOUR_US), 1),
        CallAttempt("new", "s", to_text(NOON + 80 * HOUR_US), "outgoing", "7495", "a"),
        Cdr("new", "s", "outgoing", "7495", at, at, None, "a", provider_id="unheard", answered_at=at),
        Cdr("new", "s", "outgoing", "7495", at, to_text(NOON - 1_000_000), None, "a", provider_id="A"),
        Cdr("new", "s", "outgoing", "7495", at, at, None, "a", provider_id="A", billable_seconds=5),
        Cdr("new", "s", "outgoing", "7495", at, at, None, None, provider_id="A", answered_at=at),
    ]
    again = draw(st.integers(0, 3))
    if not accepted or again == 0:
        return draw(st.sampled_from(useless)), True
    event = draw(st.sampled_from(accepted))
    if again > 1 or isinstance(event, CallExtension | CallRelease):
        return event, False
    if isinstance(event, Cdr):
        return replace(event, cause="other"), True
    if isinstance(event, CallAttempt):
        return replace(event, caller="7000"), True
    return replace(event, at=to_text(to_us(event.at) - SECOND_US)), True


@some
@given(stories())
def test_the_order_in_which_reference_data_are_read_does_not_matter(story: Story) -> None:
    partitions = Partition(LIMITS, reference()), Partition(LIMITS, reference(backwards=True))
    for event, now_us in story.events:
        assert not callable(event)
        for partition in partitions:
            partition.handle(event, now_us)
    assert close(partitions[0])[1:] == close(partitions[1])[1:]
