"""The tables of `tests/tables`, run through the real engine: each line's answer, charge and money against the text.

A table's events go through one `Partition`. What it publishes is written down in the tables' own words, column by
column, and compared as text; beside that, what must hold of any decision and any charge is looked at on every line.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from table_reader import Case, Change, EventReader, Given, Row, TableError, read_cases, read_given, read_given_line

from engine.accounts import AccountState
from engine.accounts import balance as account_balance
from engine.partition import Partition
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas.codec import decode_event, encode
from schemas.decisions import (
    CHECKS,
    AccountBlocked,
    AccountClosed,
    BadNumber,
    CallDecision,
    LockReason,
    NoMargin,
    NoRetailPrice,
    NoWholesalePrice,
    NumberNotInUse,
    Reason,
    RetailPrice,
    Route,
    TooManyCalls,
    UnknownAccount,
)
from schemas.events import CallAttempt, Cdr, Event
from schemas.facts import AccountBalance, Notice, NumberNcv
from schemas.money import to_text as money
from schemas.rated import Charge, RatedCdr
from schemas.reference import Account, PriceList, Provider, TariffPlan
from schemas.times import SECOND_US, to_text, to_us

T = TypeVar("T")

CASES = [case for path in sorted((Path(__file__).parent / "tables").glob("*.txt")) for case in read_cases(path)]

DECISION_COLUMNS = ("because", "locks", "seconds", "hold", "expires", "routes", "ways", "retail")
CHARGE_COLUMNS = ("amount", "exact", "price", "parts", "wholesale", "margin")
LOOKED_AT_ANYWAY = ("notices", "ncv", "audit")
"""Compared on every line: a table without these columns expects none of them."""

CHECK_OF_CODE = {
    "bad_number": "number",
    "number_not_in_use": "number_in_use",
    "unknown_account": "account_known",
    "account_closed": "account_open",
    "account_blocked": "account_not_blocked",
    "too_many_calls": "calls_at_once",
    "lock": "locks",
    "no_wholesale_price": "wholesale_price",
    "no_retail_price": "retail_price",
    "no_margin": "margin",
    "insufficient_funds": "money",
}


class Mismatch(NamedTuple):
    """A cell that does not hold."""

    place: str
    column: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.place}: {self.column}: expected {self.expected!r}, got {self.got!r}"


# -- the tests -------------------------------------------------------------------------------------------------------


def _name(case: Case) -> str:
    return f"{case.path.stem}:{case.line} {case.title}"


EVENT_CASES = [case for case in CASES if not case.priced]


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_the_table_holds(case: Case) -> None:
    told(run(case))


@pytest.mark.parametrize("case", EVENT_CASES, ids=_name)
def test_the_table_holds_when_another_worker_takes_over_before_each_event(case: Case) -> None:
    told(run(case, moving=True))


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_each_cell_of_the_table_can_fail(case: Case) -> None:
    wrong = replace(case, rows=[replace(row, expected=dict.fromkeys(row.expected, "wrong")) for row in case.rows])
    failed = {(mismatch.place, mismatch.column) for mismatch in run(wrong)}
    assert failed >= {(_place(case, row), column) for row in case.rows for column in row.expected}


def told(mismatches: list[Mismatch]) -> None:
    """Fails with every mismatch on a line of its own."""
    if mismatches:
        pytest.fail("\n" + "\n".join(map(str, mismatches)), pytrace=False)


# -- running a table -------------------------------------------------------------------------------------------------


def run(case: Case, *, moving: bool = False) -> list[Mismatch]:
    """All cells of a case's table that do not hold. Raises TableError."""
    return list(_run_charges(case) if case.priced else _run_events(case, moving=moving))


def _run_events(case: Case, *, moving: bool) -> Iterator[Mismatch]:
    given = read_given(case)
    reader, bench = EventReader(given), Bench(given, moving=moving)
    for row in case.rows:
        at, text = row.left
        try:
            now_us = given.clock.advance(at)
            event = reader.read(text, now_us)
        except (ValueError, KeyError) as error:
            raise TableError(f"{_place(case, row)}: {error}") from error
        yield from _compare(case, row, bench.change(event) if callable(event) else bench.handle(event, now_us))


def _run_charges(case: Case) -> Iterator[Mismatch]:
    """Each line is a call of its own: first asked for, then billed; what was promised is what is charged."""
    for row in case.rows:
        given = read_given(case)
        _complete(given)
        bench = Bench(given)
        cells = dict(zip(case.left, row.left, strict=True))
        answered_us = given.clock.advance(cells["answered at"])
        setup_us = answered_us if cells.get("set up", "=") == "=" else given.clock.read(cells["set up"])
        answered = cells["seconds"] != "unanswered"
        seconds = int(cells["seconds"]) if answered else 0
        ended_us = answered_us + seconds * SECOND_US
        account_id = given.of(Account)[0].account_id
        called = cells.get("called", "381114112060")
        attempt = CallAttempt(
            "a1", "msk-1", to_text(setup_us), "outgoing", called, account_id, requested_seconds=max(seconds, 1)
        )
        cdr = Cdr(
            cdr_id="c1",
            switch_id="msk-1",
            service="outgoing",
            called=called,
            started_at=to_text(setup_us),
            ended_at=to_text(ended_us),
            attempt_id="a1",
            account_id=account_id,
            answered_at=to_text(answered_us) if answered else None,
            billable_seconds=seconds,
        )
        promised, got = bench.handle(attempt, setup_us)["hold"], bench.handle(cdr, ended_us)
        yield from _compare(case, row, got)
        if seconds and setup_us == answered_us and promised != got["amount"]:
            yield Mismatch(_place(case, row), "what was promised and what is charged", promised, got["amount"])


def _complete(given: Given) -> None:
    """What a table of charges need not say: a rich account, a plan of all retail lists, a carrier that is paid 0."""
    if not given.of(TariffPlan):
        retail = [record.price_list_id for record in given.of(PriceList) if record.kind == "retail"]
        read_given_line(given, f"plan P {' '.join(retail)}")
    if not given.of(Account):
        read_given_line(given, "account A balance 1000000.00")
    if not given.of(Provider):
        for line in ("provider own", "list W-OWN wholesale of own", "price W-OWN any 0.00/60"):
            read_given_line(given, line)


def _compare(case: Case, row: Row, got: dict[str, str]) -> Iterator[Mismatch]:
    for column, expected in (dict.fromkeys(LOOKED_AT_ANYWAY, "-") | row.expected).items():
        if column not in got:
            raise TableError(f"{_place(case, row)}: there is no column {column!r}")
        if expected != got[column]:
            yield Mismatch(_place(case, row), column, expected, got[column])


def _place(case: Case, row: Row) -> str:
    return f"{case.path.name}:{row.line}"


class Bench:
    """A partition on which a table runs. `moving`: its state goes to a new owner before each event."""

    def __init__(self, given: Given, *, moving: bool = False) -> None:
        self._clock = given.clock
        self._moving = moving
        self._settings = EngineSettings(**given.settings)
        self._reference = given.reference()
        self._partition = Partition(self._settings, self._reference)
        self._changelog: dict[bytes, bytes] = {}
        self._balances: dict[str, AccountBalance] = {}

    def change(self, change: Change) -> dict[str, str]:
        """Something happens to the reference data; the columns of such a line."""
        change(self._reference)
        return self._columns(None, None, [], same=False)

    def handle(self, event: Event, now_us: int) -> dict[str, str]:
        """What the engine makes of an event, in the tables' words, by column."""
        if self._moving:
            self._move()
        duplicates = self._partition.duplicates
        refusal = self._partition.handle(decode_event(encode(event)), now_us)
        self._partition.close_batch()
        records = [output.record for output in self._partition.take_outbox()]
        for key, value in self._partition.take_changes().items():
            if value is None:
                self._changelog.pop(key, None)
            else:
                self._changelog[key] = value
        return self._columns(event, refusal, records, same=self._partition.duplicates > duplicates)

    def _move(self) -> None:
        clock_us = self._partition.clock_us
        self._partition = Partition(self._settings, self._reference)
        self._partition.restore(self._changelog, clock_us)

    def _columns(
        self, event: Event | None, refusal: Refusal | None, records: list[object], *, same: bool
    ) -> dict[str, str]:
        columns = dict.fromkeys((*DECISION_COLUMNS, *CHARGE_COLUMNS, "audit"), "-")
        columns["answer"] = ("same" if same else "ok") if refusal is None else f"refused {refusal.reason}"
        for account in _only(AccountBalance, records):
            self._balances[account.account_id] = account
        money_after = self._money(getattr(event, "account_id", None))
        for decision in _only(CallDecision, records):
            columns |= self._decision(decision)
            columns["audit"] = ", ".join(faults_of_decision(decision)) or "-"
        for rated in _only(RatedCdr, records):
            columns |= _rated(rated)
            columns["audit"] = ", ".join(faults_of_rated(rated, money_after["balance"])) or "-"
        counters = list(_only(NumberNcv, records))
        columns["ncv"] = _listed(f"{c.day} calls {c.calls} callers {c.unique_callers}" for c in counters)
        columns["heard"] = _listed(f"{self._time(c.first_at)} to {self._time(c.last_at)}" for c in counters)
        columns["notices"] = _listed(
            f"{notice.kind} {money(notice.balance_micros)} of {money(notice.limit_micros)}"
            for notice in _only(Notice, records)
        )
        return columns | money_after

    def _money(self, account_id: str | None) -> dict[str, str]:
        """The account as last published; as it was opened, before anything touched it."""
        account = None if account_id is None else self._reference.accounts.get(account_id)
        if account is None:
            return dict.fromkeys(("balance", "held", "available", "status"), "-")
        opened = AccountState(account.account_id, account.balance_micros, account.status)
        there = self._balances.get(account.account_id) or account_balance(opened, account)
        return {
            "balance": money(there.balance_micros),
            "held": money(there.held_micros),
            "available": money(there.available_micros),
            "status": there.status,
        }

    def _decision(self, decision: CallDecision) -> dict[str, str]:
        words = ["allow" if decision.allow else f"deny {', '.join(code(reason) for reason in decision.reasons)}"]
        words += [flag for flag in ("emergency", "negative_margin", "repeated") if getattr(decision, flag) is True]
        if decision.extension:
            words.append(f"extension {decision.extension}")
        locks = [lock.lock_id for check in decision.checks for lock in check.locks]
        return {
            "answer": " ".join(words),
            "because": "-" if decision.reason is None else because(decision.reason),
            "locks": _listed(locks),
            "seconds": str(decision.max_seconds),
            "hold": money(decision.hold_micros),
            "expires": "-" if decision.hold_expires_at is None else self._time(decision.hold_expires_at),
            "routes": _listed(
                f"{route.provider_id} at a loss" if route.negative_margin is True else route.provider_id
                for route in decision.routes
            ),
            "ways": _listed(_way(route) for route in decision.routes),
            "retail": "-" if decision.retail is None else _sold(decision.retail),
        }

    def _time(self, moment: str) -> str:
        return self._clock.text(to_us(moment))


# -- the engine's answers in the tables' words -----------------------------------------------------------------------


def code(reason: Reason) -> str:
    """The contract's code of a reason."""
    return str(reason.__struct_config__.tag)


def because(reason: Reason) -> str:
    """What the reason matched, and whom to ask where that is not the manager."""
    match reason:
        case BadNumber():
            text = repr(reason.called)
        case NumberNotInUse():
            text = f"{reason.number} {reason.status or 'unknown'} Q.850 {reason.q850_cause} SIP {reason.sip_status}"
        case UnknownAccount():
            text = reason.account_id or "nobody"
        case AccountClosed() | AccountBlocked():
            text = " ".join(filter(None, (reason.account_id, reason.since and reason.since[11:19], reason.why)))
        case TooManyCalls():
            text = f"{reason.running} of {reason.limit}"
        case LockReason():
            text = f"{reason.lock_id} {reason.kind} {reason.digits} {reason.scope} {reason.provider_id or 'all'}"
            text = " ".join(filter(None, (text, reason.why and f"({reason.why})")))
        case NoWholesalePrice():
            text = f"{reason.called} {reason.service} {reason.place or 'any'}"
        case NoRetailPrice():
            text = f"{reason.called} {reason.service} {reason.place or 'any'} {reason.tariff_plan_id}"
        case NoMargin():
            text = (
                f"{reason.tariff_plan_id} {reason.provider_id} "
                f"{reason.first_minute_retail} under {reason.first_minute_wholesale}"
            )
        case _:
            text = f"needs {money(reason.needed_micros)} of {money(reason.available_micros)}"
    return text if reason.ask == "manager" else f"{text} ask {reason.ask}"


def _way(route: Route) -> str:
    sold = f" for {_sold(route.retail)}" if isinstance(route.retail, RetailPrice) else ""
    bought = f"{route.price_list_id}/{route.prefix} {money(route.price_micros)}/{route.per_seconds}"
    return f"{route.provider_id} {bought}{sold}"


def _sold(price: RetailPrice) -> str:
    text = f"{price.price_list_id}/{price.prefix} {money(price.price_micros)}/{price.per_seconds}"
    if price.step_seconds != price.per_seconds:
        text += f" step {price.step_seconds}"
    return text + (f" connect {money(price.connect_fee_micros)}" if price.connect_fee_micros else "")


def _rated(rated: RatedCdr) -> dict[str, str]:
    words = ["free" if rated.retail is None else f"charge {money(rated.retail.amount_micros)}"]
    flags = ("late", "no_attempt", "denied", "emergency", "negative_margin")
    words += [flag for flag in flags if getattr(rated, flag) is True]
    columns = {
        "answer": " ".join(words),
        "wholesale": "-" if rated.wholesale is None else money(rated.wholesale.amount_micros),
        "margin": "-" if rated.margin_micros is None else money(rated.margin_micros),
    }
    if rated.retail is not None:
        columns |= {
            "amount": money(rated.retail.amount_micros),
            "exact": rated.retail.exact,
            "price": f"{rated.retail.price_list_id}/{rated.retail.prefix}",
            "parts": parts(rated.retail),
        }
    return columns


def parts(charge: Charge) -> str:
    """The bill's parts in order, each with its sum."""
    found = []
    if charge.connect_fee_micros:
        found.append(f"connect {Fraction(charge.connect_fee_micros, 1_000_000)}")
    if charge.attempt_fee_micros:
        found.append(f"attempt {Fraction(charge.attempt_fee_micros, 1_000_000)}")
    for line in charge.lines:
        band = "" if line.band_id is None else f"{line.band_id} "
        span = f"{line.from_second}-{line.from_second + line.seconds}"
        found.append(f"{band}{span} {line.steps}x{line.step_seconds} {line.amount}")
    if charge.adjustment is not None:
        found.append(f"{charge.adjustment.kind} {charge.adjustment.amount}")
    if charge.discount is not None:
        found.append(f"{charge.discount.percent}% {charge.discount.amount}")
    return _listed(found)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "-"


def _only(kind: type[T], records: Iterable[object]) -> Iterator[T]:
    return (record for record in records if isinstance(record, kind))


# -- what holds of any decision and any charge -----------------------------------------------------------------------


def faults_of_decision(decision: CallDecision) -> Iterator[str]:
    """What is wrong with a decision whatever the table says: its checks, reasons and routes must tell one story."""
    if tuple(check.check for check in decision.checks) != CHECKS:
        yield "the checks are not those of the contract in their order"
    failed = [check.check for check in decision.checks if check.outcome == "failed"]
    if failed != [CHECK_OF_CODE[code(reason)] for reason in decision.reasons]:
        yield f"failed checks {failed} are not the reasons"
    if decision.reason != (decision.reasons[0] if decision.reasons else None):
        yield "the reason is not the first of the reasons"
    if decision.allow == bool(decision.reasons):
        yield "allowed with reasons, or denied without"
    priced = any(check.check == "wholesale_price" and check.outcome == "passed" for check in decision.checks)
    if decision.allow and priced and not decision.routes:
        yield "allowed without a route to leave by"


def faults_of_rated(rated: RatedCdr, balance_after: str) -> Iterator[str]:
    """What is wrong with a bill whatever the table says: its parts must add up, and the account must have paid it."""
    for charge in (rated.retail, rated.wholesale):
        if charge is not None:
            yield from _faults_of_charge(charge, rated.billable_seconds)
    if rated.balance_after_micros is not None and money(rated.balance_after_micros) != balance_after:
        yield f"balance_after is {money(rated.balance_after_micros)}, the account has {balance_after}"
    if rated.retail is not None and rated.wholesale is not None:
        if rated.margin_micros != rated.retail.amount_micros - rated.wholesale.amount_micros:
            yield "margin is not retail - wholesale"
    elif rated.margin_micros is not None:
        yield "a margin of one price"


def _faults_of_charge(charge: Charge, seconds: int) -> Iterator[str]:
    total = Fraction(charge.connect_fee_micros + charge.attempt_fee_micros, 1_000_000)
    for line in charge.lines:
        step = Fraction(line.price_micros * line.step_seconds, line.per_seconds * 1_000_000)
        if Fraction(line.amount) != step * line.steps:
            yield f"the line from {line.from_second} is not price x steps"
        total += Fraction(line.amount)
    if charge.adjustment is not None:
        total += Fraction(charge.adjustment.amount)
    if charge.discount is not None:
        total += Fraction(charge.discount.amount)
    if total != Fraction(charge.exact):
        yield f"the parts of {charge.price_list_id} add up to {total}, not {charge.exact}"
    if sum(line.seconds for line in charge.lines) != seconds:
        yield f"the lines of {charge.price_list_id} do not cover the call"
