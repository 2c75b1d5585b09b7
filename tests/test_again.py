"""What was published can be made again, byte for byte, and asked anew under other tables (engine/again.py).

A live partition works on reference data that change under it and remember what they had. Whoever makes its facts again
has only fresh tables of each version, the events, and what was published.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reference_model import Archive, Office, Records, put_in_force

from engine.again import (
    account_now,
    account_then,
    decide_again,
    decide_under,
    extend_again,
    rate_again,
    rate_under,
)
from engine.partition import Partition
from engine.reference import Reference
from engine.refusals import Refusal
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import decode_decision, decode_event, encode
from schemas.decisions import REASON_CODES, CallDecision
from schemas.events import (
    Block,
    CallAttempt,
    CallExtension,
    CallRelease,
    Cdr,
    Close,
    Event,
    Payment,
    Unblock,
    WriteOff,
)
from schemas.facts import AccountBalance
from schemas.rated import RatedCdr
from schemas.reference import Account, Lock, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import HOUR_US, SECOND_US, to_text, to_us

LIMITS = EngineSettings(max_call_seconds=900)
NOON = to_us("2026-11-24T12:00:00.000Z")
ACCOUNTS = ("a", "b", "c/1")
RUB = 1_000_000


# -- whatever happens -------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A fact, and what there is to make it again: its event, its call's attempt, and what the call was told before."""

    fact: bytes
    event: Event
    attempt: CallAttempt | None
    earlier: list[CallDecision]


@dataclass
class Life:
    """A partition under changing reference data: facts as they were published, and the tables of each version."""

    told: list[Told] = field(default_factory=list)
    versions: dict[int, Records] = field(default_factory=dict)

    def at(self, version: int) -> Reference:
        """Fresh tables, which know of no other version."""
        return self.versions[version].reference(version)


class Story:
    """Calls, money and changes of the reference data, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.life = Life()
        self._random = Random(seed)
        self._office, self._archive = Office(seed), Archive()
        self._live = Reference(accounts=(), providers=(), plans=(), price_lists=(), prices=(), version=0)
        self._change()
        self._partition = Partition(LIMITS, self._live)
        self._changelog: dict[bytes, bytes] = {}
        self._now_us = NOON + HOUR_US
        self._attempts: dict[str, CallAttempt] = {}
        self._calls: dict[str, list[CallDecision]] = {}
        self._number = 0

    def play(self, events: int) -> Life:
        for _ in range(events):
            self._now_us += self._random.choice((0, 1, 5, 20, 120, 900)) * SECOND_US
            if self._random.random() < 0.2:
                self._change()
            if self._random.random() < 0.1:
                self._move()
            event = self._event()
            if event is not None:
                self._take(event)
                if self._random.random() < 0.1:
                    self._take(event)
        return self.life

    def _change(self) -> None:
        random, records = self._random, self._office.records
        self._office.change()
        for account_id in list(records.accounts):
            if random.random() < 0.3:
                records.accounts[account_id] = replace(
                    records.accounts[account_id],
                    balance_micros=random.choice((RUB, 9 * RUB, 900 * RUB)),
                    credit_limit_micros=random.choice((0, 0, 5 * RUB)),
                    max_concurrent_calls=random.choice((None, 1, 2)),
                    place=random.choice((None, "msk")),
                    status=random.choice(("active", "active", "blocked")),
                )
        lock = Lock("mine", "prefix", random.choice("12"), random.choice((None, "a")), "A", "i", "why", to_text(NOON))
        records.locks.pop("mine", None)
        if random.random() < 0.4:
            records.locks["mine"] = replace(lock, provider_id=random.choice((None, "A", "B")))
        put_in_force(self._live, self._archive.change(records), self._archive.store)
        self.life.versions[self._archive.version] = records.copy()

    def _move(self) -> None:
        """The partition moves to an owner who remembers nothing of what calls were offered."""
        self._partition.close_batch()
        self._partition.take_outbox()
        for key, value in self._partition.take_changes().items():
            if value is None:
                self._changelog.pop(key, None)
            else:
                self._changelog[key] = value
        clock_us = self._partition.clock_us
        self._partition = Partition(LIMITS, self._live)
        self._partition.restore(self._changelog, clock_us)

    def _event(self) -> Event | None:
        random = self._random
        self._number += 1
        kind = random.choice(("attempt",) * 4 + ("extension",) * 3 + ("cdr",) * 3 + ("command",) * 3 + ("release",))
        at = to_text(self._now_us - random.choice((0, 0, 30, 600)) * SECOND_US)
        running = [name for name, call in self._partition.calls.items() if call.phase == "running"]
        known = None
        if self._attempts:
            recent = running if running and random.random() < 0.7 else list(self._attempts)
            known = self._attempts[random.choice(recent[-6:])]
        if kind == "attempt":
            return self._attempt(at)
        if kind == "command":
            return self._command(at)
        if kind == "cdr":
            return self._cdr(known if random.random() < 0.8 else None)
        if known is None:
            return None
        if kind == "release":
            return CallRelease(known.attempt_id, "s", at, known.account_id)
        if known.account_id is None:
            return None
        return CallExtension(known.attempt_id, "s", at, known.account_id, random.randrange(1_500))

    def _attempt(self, at: str) -> CallAttempt:
        random = self._random
        nobody = random.random() < 0.1
        return CallAttempt(
            f"x{self._number}",
            "s",
            at,
            "incoming" if nobody else random.choice(("outgoing", "outgoing", "forwarding", "incoming")),
            random.choice(("74951110001", "74951110002", "999")) if nobody else self._called(),
            None if nobody else random.choice((*ACCOUNTS, *ACCOUNTS, "unheard")),
            place=random.choice((None, "msk")),
            requested_seconds=random.choice((None, 60, 400)),
        )

    def _called(self) -> str:
        random = self._random
        digits = "".join(random.choice("12") for _ in range(random.randrange(1, 9)))
        sold = [row.prefix for name in ("R1", "R2") for row in self._office.records.rows.get(name, ())]
        if sold and random.random() < 0.7:
            digits = f"{random.choice(sold)}1"
        return random.choice((digits,) * 12 + ("112", "no number"))

    def _command(self, at: str) -> Event:
        random, name, account_id = self._random, f"k{self._number}", self._random.choice(ACCOUNTS)
        return random.choice(
            (
                Payment(name, account_id, at, random.choice((RUB, 50 * RUB))),
                WriteOff(name, account_id, at, random.choice((RUB, 300 * RUB))),
                Block(name, account_id, at, "debt"),
                Unblock(name, account_id, at),
                Unblock(name, account_id, at),
                Close(name, account_id, at) if random.random() < 0.1 else Unblock(name, account_id, at),
            )
        )

    def _cdr(self, attempt: CallAttempt | None) -> Cdr:
        random = self._random
        seconds = random.choice((None, 0, 1, 59, 300))
        told = [] if attempt is None else self._calls[attempt.attempt_id]
        routes = [route.provider_id for decision in told[:1] for route in decision.routes]
        started_us = self._now_us - random.choice((400, 3_000, 20_000)) * SECOND_US
        if attempt is not None:
            started_us = min(to_us(attempt.at), self._now_us)
        answered_us = started_us + SECOND_US // 3
        return Cdr(
            f"c{self._number}",
            "s",
            random.choice(("outgoing", "calls_rec")) if attempt is None else attempt.service,
            self._called() if attempt is None else attempt.called,
            to_text(started_us),
            to_text(answered_us + (seconds or 0) * SECOND_US),
            None if attempt is None else attempt.attempt_id,
            random.choice(ACCOUNTS) if attempt is None else attempt.account_id,
            place=random.choice((None, "msk")),
            provider_id=random.choice((None, *"ABCD", *routes, *routes, *routes)),
            answered_at=None if seconds is None else to_text(answered_us),
        )

    def _take(self, event: Event) -> None:
        """Hands the event to the partition and keeps what is published for it."""
        event = decode_event(encode(event))
        before = len(self._partition.outbox)
        if self._partition.handle(event, self._now_us) is not None:
            return
        attempt_id = getattr(event, "attempt_id", None) or ""
        attempt = event if isinstance(event, CallAttempt) else self._attempts.get(attempt_id)
        for topic, _, _, value in self._partition.outbox[before:]:
            if topic == topics.RATED_CDRS.name:
                self.life.told.append(Told(value, event, attempt, self._calls.get(attempt_id, [])[:1]))
            elif topic == topics.CALL_DECISIONS.name:
                decision = decode_decision(value)
                calls = self._calls.setdefault(attempt_id, [])
                self.life.told.append(Told(value, event, attempt, calls[: decision.extension or 0]))
                if decision.repeated is not True:
                    calls.append(decision)
                    assert attempt is not None
                    self._attempts[attempt_id] = attempt


def made_again(life: Life, told: Told) -> bytes:
    """The fact, from its event, the facts before it and fresh tables; `life.at` is asked for no more than it needs."""
    at = lru_cache(life.at)
    event, attempt = told.event, told.attempt
    if isinstance(event, Cdr):
        rated = msgspec.json.decode(told.fact, type=RatedCdr)
        made = rate_again(LIMITS, at, event, rated, attempt, *told.earlier)
        assert isinstance(made, RatedCdr), made
        return encode(made)
    decision = decode_decision(told.fact)
    assert attempt is not None
    if isinstance(event, CallExtension):
        return encode(extend_again(LIMITS, at, attempt, told.earlier, event, decision))
    return encode(decide_again(LIMITS, at, attempt, decision))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 80))
def test_every_decision_and_every_rated_cdr_is_made_again_to_the_byte(seed: int, events: int) -> None:
    life = Story(seed).play(events)

    for told in life.told:
        assert made_again(life, told) == told.fact


def story(seed: int) -> Life:
    return Story(seed).play(80)


def test_the_stories_meet_what_there_is_to_meet() -> None:
    words = Counter[str]()
    for seed in range(60):
        for told in story(seed).told:
            fact = json.loads(told.fact)
            words.update(f"{fact['type']} {mark}" for mark in fact)
            words.update(reason["code"] for reason in fact.get("reasons", ()))
            words["extension denied"] += "extension" in fact and not fact["allow"]
            words["retail"] += bool(fact["type"] == "rated_cdr" and fact["retail"] and fact["wholesale"])

    marks = ("repeated", "emergency", "extension", "negative_margin")
    due = {f"call_decision {mark}" for mark in marks} | {*REASON_CODES, "extension denied", "retail"}
    due |= {f"rated_cdr {mark}" for mark in ("late", "no_attempt", "denied", "emergency", "rated_version")}
    assert due <= {word for word, times in words.items() if times}


def test_a_fact_that_was_changed_is_not_made_again() -> None:
    charged = changed = 0
    lives = [story(seed) for seed in range(10)]
    for life, told in [(one, told) for one in lives for told in one.told]:
        fact = json.loads(told.fact)
        spoiled = [fact | {"max_seconds": fact["max_seconds"] + 1}] if "max_seconds" in fact else []
        if fact.get("retail") and "amount_micros" in fact["retail"]:
            charged += 1
            spoiled.append(fact | {"retail": fact["retail"] | {"amount_micros": fact["retail"]["amount_micros"] + 1}})
        for one in spoiled:
            changed += 1
            assert json.loads(made_again(life, replace_fact(told, one))) != one
    assert charged > 5
    assert changed > 50


def replace_fact(told: Told, fact: object) -> Told:
    return Told(json.dumps(fact).encode(), told.event, told.attempt, told.earlier)


def test_an_extension_is_not_made_again_without_the_decisions_before_it() -> None:
    told = next(told for seed in range(60) for told in story(seed).told if isinstance(told.event, CallExtension))
    told.earlier.append(told.earlier[0])

    with pytest.raises(AssertionError, match="an earlier one is missing"):
        made_again(Life(), told)


# -- under other tables -----------------------------------------------------------------------------------------------


def tables(version: int, *, price: int = 3 * RUB, plan: str = "P", locks: tuple[Lock, ...] = ()) -> Reference:
    """An account with 100.00, sold to at `price` in plan P and at 9.00 in plan Q, bought for at 1.00 a minute."""
    return Reference(
        accounts=[Account("a", "c", plan, "prepaid", "RUB", 100 * RUB, 0, None, "active", None, 2)],
        providers=[Provider("A", "A", 1, None, False, False)],
        plans=[TariffPlan("P", (PlanList("R", 1),), False), TariffPlan("Q", (PlanList("R9", 1),), False)],
        price_lists=[
            PriceList("R", "", "retail", None, "RUB", "up", 2, None, None),
            PriceList("R9", "", "retail", None, "RUB", "up", 2, None, None),
            PriceList("W", "", "wholesale", "A", "RUB", "up", 2, None, None),
        ],
        prices=[row("R", price), row("R9", 9 * RUB), row("W", RUB)],
        locks=locks,
        version=version,
    )


def row(price_list_id: str, micros: int) -> PriceRow:
    return PriceRow(price_list_id, "7", None, None, None, None, 0, 0, micros, 60, 60, None, None, None, None)


ASKED = CallAttempt("x", "s", to_text(NOON), "outgoing", "7495", "a")
ENDED = Cdr(
    *("c", "s", "outgoing", "7495", ASKED.at, to_text(NOON + 90 * SECOND_US), "x", "a"),
    provider_id="A",
    answered_at=ASKED.at,
)
THEN = tables(5)


@pytest.fixture
def call() -> tuple[CallDecision, RatedCdr]:
    """A call of a minute and a half under version 5: two minutes at 3.00."""
    partition = Partition(LIMITS, THEN)
    for event, now_us in ((ASKED, NOON), (ENDED, NOON + 90 * SECOND_US)):
        assert partition.handle(event, now_us) is None
    decision, rated = (out.record for out in partition.outbox if isinstance(out.record, CallDecision | RatedCdr))
    assert isinstance(decision, CallDecision)
    assert isinstance(rated, RatedCdr)
    assert rated.balance_after_micros == 94 * RUB
    return decision, rated


def test_a_mended_price_list_shows_what_a_call_ought_to_have_cost(call: tuple[CallDecision, RatedCdr]) -> None:
    """The account has moved to another plan meanwhile: that of the set-up counts."""
    decision, rated = call
    today = tables(9, price=2 * RUB, plan="Q")

    mended = rate_under(LIMITS, today, ENDED, rated, THEN.accounts["a"], ASKED, decision)

    assert isinstance(mended, RatedCdr)
    assert mended.retail is not None
    assert (mended.retail.amount_micros, mended.margin_micros) == (4 * RUB, 2 * RUB)
    assert (mended.balance_after_micros, mended.reference_version) == (96 * RUB, 9)


def test_the_same_call_under_todays_tables_is_in_todays_plan(call: tuple[CallDecision, RatedCdr]) -> None:
    decision, rated = call
    today = tables(9, plan="Q")

    anew = rate_under(LIMITS, today, ENDED, rated, today.accounts["a"], ASKED, decision)

    assert isinstance(anew, RatedCdr)
    assert anew.retail is not None
    assert anew.retail.amount_micros == 18 * RUB


def test_under_the_tables_of_its_time_a_call_is_what_it_was(call: tuple[CallDecision, RatedCdr]) -> None:
    decision, rated = call

    assert rate_under(LIMITS, THEN, ENDED, rated, THEN.accounts["a"], ASKED, decision) == rated
    assert decide_under(LIMITS, THEN, ASKED, account_then(decision), None) == decision
    alone = replace(ENDED, attempt_id=None)
    billed = rate_under(LIMITS, THEN, alone, replace(rated, no_attempt=True), THEN.accounts["a"])
    assert billed == replace(rated, attempt_id=None, no_attempt=True)


def test_a_price_that_is_not_there_under_other_tables_is_a_refusal_that_says_so(
    call: tuple[CallDecision, RatedCdr],
) -> None:
    decision, rated = call
    account = replace(THEN.accounts["a"], tariff_plan_id="gone")

    refused = rate_under(LIMITS, THEN, ENDED, rated, account, ASKED, decision)

    assert isinstance(refused, Refusal)
    assert refused.reason == "no_retail_price"


def test_a_lock_that_is_about_to_be_set_stops_the_calls_that_it_covers(call: tuple[CallDecision, RatedCdr]) -> None:
    decision, _ = call
    locked = tables(6, locks=(Lock("new", "prefix", "74", None, None, "ivanov", "fraud", to_text(NOON)),))

    assert [reason.lock_id for reason in decide_under(LIMITS, locked, ASKED, account_then(decision), None).reasons] == [
        "new"
    ]


def test_the_same_call_now_is_asked_with_the_money_and_the_status_that_the_account_has_now() -> None:
    money = AccountBalance("a", to_text(NOON), "RUB", 5 * RUB, 3 * RUB, 0, 2 * RUB, "blocked", 2)
    at_us = NOON + 9 * HOUR_US

    decision = decide_under(LIMITS, tables(9), ASKED, account_now(money, "2026-11-24T20:00:00.000Z", "debt"), at_us)

    blocked, calls, funds = decision.reasons
    assert (blocked.since, blocked.why) == ("2026-11-24T20:00:00.000Z", "debt")
    assert (calls.running, calls.limit) == (2, 2)
    assert (funds.balance_micros, funds.available_micros, funds.needed_micros) == (5 * RUB, 2 * RUB, 3 * RUB)
    assert (decision.at, decision.reference_version) == (to_text(at_us), 9)


def test_an_account_that_nothing_has_touched_is_asked_as_the_tables_open_it() -> None:
    assert decide_under(LIMITS, tables(9), ASKED, None, None).hold_micros == 45 * RUB
    assert [
        str(r.__struct_config__.tag)
        for r in decide_under(LIMITS, tables(9), replace(ASKED, account_id="z"), None, None).reasons
    ] == ["unknown_account"]
