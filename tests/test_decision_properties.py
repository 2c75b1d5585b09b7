"""Any reference data, any attempts: the decision is the one that an obvious model reads off the rules (§1, §3, §4).

The model asks one check after the other, walks all rows and all locks, and keeps no state but held money and the number
of running calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.ncv import sellable, sign
from engine.partition import Partition
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.decisions import CHECKS, CallDecision, LockReason
from schemas.events import CallAttempt
from schemas.reference import (
    Account,
    Discount,
    Lock,
    Number,
    PlanList,
    PriceList,
    PriceRow,
    Provider,
    TariffPlan,
)
from schemas.times import SECOND_US, from_datetime, to_text
from tests.models import ncv as ncv_model
from tests.models import pricing as model

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON_US = from_datetime(NOON)
LIMITS = EngineSettings(max_call_seconds=600)
CALLED = ("381114", "38111", "3", "7495", "74", "112", "", "+7495", "7" * 15, "7" * 16, "79٣")

some = settings(max_examples=200, deadline=None)


# -- what is drawn ---------------------------------------------------------------------------------------------------

WHOLESALE = {"WA": "A", "WB": "B", "WB2": "B", "WC": "C"}
RETAIL: dict[str, str | None] = {"R1": None, "R2": None, "RA": "A", "RB": "B"}
LISTS = [
    *(PriceList(name, "", "wholesale", owner, "RUB", "half_up", 6, None, None) for name, owner in WHOLESALE.items()),
    *(PriceList(name, "", "retail", owner, "RUB", "up", 2, None, None) for name, owner in RETAIL.items()),
]
PLANS = [
    TariffPlan("one", (PlanList("R1", 1),), False),
    TariffPlan("many", (PlanList("R1", 2), PlanList("R2", 1), PlanList("RA", 1), PlanList("RB", 3)), False),
    TariffPlan("routes", (PlanList("RA", 1), PlanList("RB", 1)), False),
    TariffPlan("strict", (PlanList("R1", 2), PlanList("RA", 1)), True),
]
SERVICES = ("outgoing", "outgoing", "forwarding", "incoming", "calls_rec")


@dataclass
class World:
    """All that a decision may depend on."""

    account: Account
    providers: list[Provider]
    prices: list[PriceRow]
    locks: list[Lock]
    numbers: list[Number]
    discounts: list[Discount]
    held_micros: int = 0
    running: int = 0

    def reference(self) -> Reference:
        """The engine's tables of it."""
        return Reference(
            accounts=[self.account],
            providers=self.providers,
            plans=PLANS,
            price_lists=LISTS,
            prices=self.prices,
            locks=self.locks,
            numbers=self.numbers,
            discounts=self.discounts,
        )


@st.composite
def rows(draw: st.DrawFn) -> list[PriceRow]:
    """Most lists sell everywhere; some prefixes, services and places have prices of their own."""
    drawn: dict[tuple[object, ...], PriceRow] = {}
    everywhere = [name for name in (*WHOLESALE, *RETAIL) if draw(st.integers(0, 2))]
    for name in (*everywhere, *draw(st.lists(st.sampled_from((*WHOLESALE, *RETAIL)), max_size=8))):
        special = len(drawn) >= len(everywhere)
        row = PriceRow(
            price_list_id=name,
            prefix=draw(st.sampled_from(("", "3", "38", "3811", "7", "74", "7495", "381114"))) if special else "",
            service=draw(st.sampled_from((None, None, "outgoing", "incoming"))) if special else None,
            place=draw(st.sampled_from((None, None, "msk"))) if special else None,
            incoming_service=draw(st.sampled_from((None, None, "in"))) if special else None,
            band_id=None,
            from_second=0,
            connect_fee_micros=draw(st.sampled_from((0, 0, 500_000))),
            price_micros=draw(st.sampled_from((0, 1_000_000, 1_000_001, 3_000_000))),
            per_seconds=60,
            step_seconds=draw(st.sampled_from((60, 60, 1, 45))),
            min_charge_micros=draw(st.sampled_from((None, None, 2_000_000))),
            max_charge_micros=draw(st.sampled_from((None, None, 2_500_000))),
            valid_from=None,
            valid_to=None,
        )
        drawn[row.price_list_id, row.prefix, row.service, row.place, row.incoming_service] = row
    return list(drawn.values())


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    kind: Literal["prefix", "number"] = draw(st.sampled_from(("prefix", "prefix", "number")))
    return Lock(
        lock_id=f"L{draw(st.integers(1, 99))}",
        kind=kind,
        digits=draw(st.sampled_from(("3", "38", "381114", "7", "74", "7495", "112"))),
        account_id=draw(st.sampled_from((None, "a", "b"))),
        provider_id=draw(st.sampled_from((None, "A", "A", "B", "C"))),
        author="ivanov",
        reason="why",
        created_at=to_text(NOON_US - draw(st.integers(0, 1)) * SECOND_US),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    statuses: st.SearchStrategy[Literal["active", "blocked", "closed"]] = st.sampled_from(
        ("active",) * 8 + ("blocked", "closed")
    )
    account = Account(
        account_id="a",
        client_id="c",
        tariff_plan_id=draw(st.sampled_from([plan.tariff_plan_id for plan in PLANS])),
        payment_mode="prepaid",
        currency="RUB",
        balance_micros=draw(st.sampled_from((50_000_000, 50_000_000, 3_000_000, 0, -1)) | st.integers(0, 9_000_000)),
        credit_limit_micros=draw(st.sampled_from((0, 0, 1_000_000))),
        critical_balance_micros=None,
        status=draw(statuses),
        place=draw(st.sampled_from((None, "msk"))),
        max_concurrent_calls=draw(st.sampled_from((None, None, 1, 2))),
    )
    number_statuses: st.SearchStrategy[Literal["free", "reserved", "in_use", "archive"]] = st.sampled_from(
        ("free", "reserved", "in_use", "archive")
    )
    return World(
        account,
        [Provider(name, name, draw(st.integers(1, 2)), None, False, False) for name in "ABC"],
        draw(rows()),
        draw(st.lists(locks(), max_size=4, unique_by=lambda lock: lock.lock_id)),
        [
            Number(number, draw(number_statuses), None, None, None, None, False, None, None, "no")
            for number in draw(st.sets(st.sampled_from(("7495", "74", "381114")), max_size=2))
        ],
        [
            Discount("a", service, draw(st.sampled_from((10_000_000, 50_000_000, 100_000_000))), None, None)
            for service in draw(st.sets(st.sampled_from((None, "outgoing", "incoming")), max_size=2))
        ],
    )


attempts = st.builds(
    CallAttempt,
    attempt_id=st.just("x"),
    switch_id=st.just("s"),
    at=st.just(to_text(NOON_US)),
    service=st.sampled_from(SERVICES),
    called=st.sampled_from(("381114", "7495") * 6 + CALLED),
    account_id=st.sampled_from(("a",) * 14 + ("b", None)),
    place=st.sampled_from((None, None, "msk", "spb")),
    incoming_service=st.sampled_from((None, "in")),
    requested_seconds=st.sampled_from((None, None, 1, 60, 100, 599, 600, 601)),
)


# -- the model -------------------------------------------------------------------------------------------------------


@dataclass
class Expected:
    """What must be decided."""

    codes: list[str]
    seconds: int = 0
    hold_micros: int = 0
    routes: list[str] = field(default_factory=list)
    losing: list[str] = field(default_factory=list)
    needed_micros: int | None = None


def as_rows(prices: Iterable[PriceRow], price_list_id: str) -> tuple[model.Row, ...]:
    return tuple(
        model.Row(
            model.Tier(
                0,
                row.price_micros,
                row.per_seconds,
                row.step_seconds,
                None,
                row.connect_fee_micros,
                row.min_charge_micros,
                row.max_charge_micros,
            ),
            row.prefix,
            row.service,
            row.place,
            row.incoming_service,
        )
        for row in prices
        if row.price_list_id == price_list_id
    )


def percent_of(world: World, service: str) -> Fraction:
    found = {discount.service: discount.percent_micros for discount in world.discounts}
    return Fraction(found.get(service, found.get(None, 0)), 1_000_000)


def covering(world: World, number: str, account_id: str | None) -> list[Lock]:
    """Locks that are asked: those of an account that is not known are not."""
    known = account_id if account_id == world.account.account_id else None
    return [
        lock
        for lock in world.locks
        if lock.account_id in (None, known)
        and (number.startswith(lock.digits) if lock.kind == "prefix" else number == lock.digits)
    ]


def first_minute(price: model.PriceModel, percent: Fraction = Fraction(0)) -> Fraction:
    return model.charge(price, NOON, NOON, 60, percent).exact


def expect(world: World, attempt: CallAttempt) -> Expected:
    """The rules, one check after the other."""
    number = attempt.called
    cap = min(attempt.requested_seconds or LIMITS.max_call_seconds, LIMITS.max_call_seconds)
    if number in ("112", "101", "102", "103", "104", "01", "02", "03", "04"):
        return Expected([], cap)
    readable = 1 <= len(number) <= 15 and set(number) <= set("0123456789")
    if attempt.account_id is None:
        return Expected([nobody(world, number) if readable else "bad_number"])

    codes = [] if readable else ["bad_number"]
    account = world.account if attempt.account_id == "a" else None
    place = attempt.place or (None if account is None else account.place)
    routed = attempt.service in ("outgoing", "forwarding")
    ask = (number, attempt.service, place, attempt.incoming_service, NOON)
    percent = percent_of(world, attempt.service)
    sold_by = {} if account is None else plan_lists(world, account)
    plan = next((plan for plan in PLANS if account and plan.tariff_plan_id == account.tariff_plan_id), None)

    bought: dict[str, model.PriceModel] = {}
    sold: dict[str, model.PriceModel] = {}
    priced: list[model.PriceModel] = []
    for provider in world.providers if readable and routed else ():
        own = [
            model.ListModel(name, as_rows(world.prices, name), provider_id=owner)
            for name, owner in WHOLESALE.items()
            if owner == provider.provider_id
        ]
        if (cost := model.choose_wholesale(own, *ask)) is not None:
            bought[provider.provider_id] = cost.price
            if (retail := model.choose_retail(sold_by, provider.provider_id, *ask)) is not None:
                sold[provider.provider_id] = retail.price
    open_retail = model.choose_retail(sold_by, None, *ask) if readable else None
    if readable and not routed and open_retail is not None:
        priced = [open_retail.price]

    if account is None:
        codes.append("unknown_account")
    elif account.status == "closed":
        codes.append("account_closed")
    elif account.status == "blocked" and (
        routed or any(model.charge(price, NOON, NOON, 1, percent).micros > 0 for price in priced)
    ):
        codes.append("account_blocked")
    if account and account.max_concurrent_calls is not None and world.running >= account.max_concurrent_calls:
        codes.append("too_many_calls")

    locked = covering(world, number, attempt.account_id) if readable and routed else []
    banned = {lock.provider_id for lock in locked}
    ways = [name for name in (sold if account else bought) if name not in banned]
    routes = [name for name in ways if name in sold]
    if readable and routed:
        if None in banned or (bought and set(bought) <= banned) or (sold and not routes):
            codes.append("lock")
        if not bought:
            codes.append("no_wholesale_price")
        if account and not (sold if bought else open_retail):
            codes.append("no_retail_price")

    priority = {provider.provider_id: provider.priority for provider in world.providers}
    routes.sort(key=lambda name: (first_minute(bought[name]), priority[name], name))
    losing = [name for name in routes if first_minute(bought[name]) > first_minute(sold[name], percent)]
    if plan is not None and plan.forbid_loss:
        if routes and losing == routes:
            codes.append("no_margin")
        routes = [name for name in routes if name not in losing]
        losing = []
    if routed:
        priced = [sold[name] for name in routes]

    expected = Expected(codes, cap, 0, routes, losing)
    if account and priced:
        available = account.balance_micros + account.credit_limit_micros - world.held_micros
        lasts = [model.longest(price, NOON, available, cap, percent)[0] for price in priced]
        expected.seconds = min(lasts)
        if expected.seconds:
            expected.hold_micros = max(
                model.charge(price, NOON, NOON, expected.seconds, percent).micros for price in priced
            )
        else:
            codes.append("insufficient_funds")
            expected.needed_micros = max(
                model.needed(price, NOON, percent) for price, seconds in zip(priced, lasts, strict=True) if not seconds
            )
    return expected


def nobody(world: World, number: str) -> str:
    """Why a call to a number of no account is denied."""
    in_use = any(known.number == number and known.status == "in_use" for known in world.numbers)
    return "unknown_account" if in_use else "number_not_in_use"


def plan_lists(world: World, account: Account) -> list[model.ListModel]:
    plan = next(plan for plan in PLANS if plan.tariff_plan_id == account.tariff_plan_id)
    return [
        model.ListModel(
            entry.price_list_id,
            as_rows(world.prices, entry.price_list_id),
            "up",
            2,
            RETAIL[entry.price_list_id],
            entry.priority,
        )
        for entry in plan.lists
    ]


# -- the properties --------------------------------------------------------------------------------------------------


def decide(world: World, *asked: CallAttempt) -> list[CallDecision]:
    """The engine's decisions on some attempts at the same moment."""
    partition = Partition(LIMITS, world.reference())
    for place, attempt in enumerate(asked):
        assert partition.handle(replace(attempt, attempt_id=f"x{place}"), NOON_US) is None
    return [output.record for output in partition.outbox if isinstance(output.record, CallDecision)]


def codes(decision: CallDecision) -> list[str]:
    return [str(reason.__struct_config__.tag) for reason in decision.reasons]


@some
@given(worlds(), st.lists(attempts, min_size=3, max_size=8))
def test_decisions_are_those_of_the_rules_one_check_after_the_other(world: World, asked: list[CallAttempt]) -> None:
    for attempt, decision in zip(asked, decide(world, *asked), strict=True):
        expected = expect(world, attempt)

        assert codes(decision) == expected.codes
        assert decision.allow == (not expected.codes)
        if not decision.allow:
            assert (decision.max_seconds, decision.hold_micros, decision.routes) == (0, 0, ())
            assert decision.hold_expires_at is None
            needed = [reason.needed_micros for reason in decision.reasons if hasattr(reason, "needed_micros")]
            assert needed == ([] if expected.needed_micros is None else [expected.needed_micros])
            continue
        assert (decision.max_seconds, decision.hold_micros) == (expected.seconds, expected.hold_micros)
        assert [route.provider_id for route in decision.routes] == expected.routes
        assert [route.provider_id for route in decision.routes if route.negative_margin is True] == expected.losing
        assert (decision.negative_margin is True) == bool(expected.losing)
        if decision.emergency is not True:
            expires_us = NOON_US + (decision.max_seconds + 120) * SECOND_US
            assert decision.hold_expires_at == to_text(expires_us)
            world.held_micros += decision.hold_micros
            world.running += 1


@some
@given(worlds(), st.lists(attempts, min_size=1, max_size=4))
def test_each_check_stands_once_in_its_order_and_fails_where_a_reason_is(
    world: World, asked: list[CallAttempt]
) -> None:
    for decision in decide(world, *asked):
        assert tuple(check.check for check in decision.checks) == CHECKS
        failed = [check for check in decision.checks if check.outcome == "failed"]
        assert len(failed) == len(decision.reasons)
        assert decision.reason == (decision.reasons[0] if decision.reasons else None)
        for check in decision.checks:
            if check.available_micros is not None:
                money = (check.balance_micros or 0) + (check.credit_limit_micros or 0) - (check.held_micros or 0)
                assert check.available_micros == money
                if decision.allow:
                    assert decision.hold_micros <= max(check.available_micros, 0)
                    assert decision.hold_micros == check.needed_micros


@some
@given(worlds(), attempts)
def test_a_decision_names_all_locks_that_cover_the_number_and_the_full_ban_first(
    world: World, attempt: CallAttempt
) -> None:
    decision = decide(world, attempt)[0]

    named = [lock for check in decision.checks for lock in check.locks]
    if named:
        covered = covering(world, attempt.called, attempt.account_id)
        covered.sort(key=lambda lock: lock.lock_id)
        covered.sort(key=lambda lock: lock.created_at)
        covered.sort(key=lambda lock: -len(lock.digits))
        covered.sort(key=lambda lock: lock.account_id is None)
        covered.sort(key=lambda lock: lock.provider_id is not None)
        assert [lock.lock_id for lock in named] == [lock.lock_id for lock in covered]
        for reason in decision.reasons:
            if isinstance(reason, LockReason) and covered[0].provider_id is None:
                assert reason.lock_id == covered[0].lock_id


@some
@given(worlds(), attempts, locks())
def test_a_further_lock_opens_nothing(world: World, attempt: CallAttempt, lock: Lock) -> None:
    before = decide(world, attempt)[0]
    world.locks.append(replace(lock, lock_id="new"))

    after = decide(world, attempt)[0]

    if "lock" in codes(before):
        assert "lock" in codes(after)
    # A provider's lock may take out the dearest route: what is left may be affordable.
    if not before.allow and (lock.provider_id is None or "insufficient_funds" not in codes(before)):
        assert not after.allow
    assert {route.provider_id for route in after.routes} <= {route.provider_id for route in before.routes} or (
        not before.allow
    )


@some
@given(worlds(), attempts, locks(), st.integers(1, 4))
def test_a_longer_lock_never_hides_a_shorter_one(world: World, attempt: CallAttempt, lock: Lock, length: int) -> None:
    full = replace(lock, kind="prefix", provider_id=None, account_id=None, digits=attempt.called[:length] or "7")
    world.locks = [lock for lock in world.locks if lock.provider_id is not None]
    longer = replace(lock, lock_id="longer", digits=attempt.called[: length + 1][:15] or "7")
    attempt = replace(attempt, service="outgoing")

    alone = decide(World(world.account, world.providers, world.prices, [full], [], []), attempt)[0]
    both = decide(World(world.account, world.providers, world.prices, [full, longer], [], []), attempt)[0]

    assert ("lock" in codes(alone)) == ("lock" in codes(both))


@some
@given(worlds(), attempts, st.integers(0, 5_000_000))
def test_less_money_never_lasts_longer(world: World, attempt: CallAttempt, less: int) -> None:
    rich = decide(world, attempt)[0]
    world.account = replace(world.account, balance_micros=world.account.balance_micros - less)

    poor = decide(world, attempt)[0]

    assert poor.max_seconds <= rich.max_seconds
    assert poor.hold_micros <= rich.hold_micros
    assert rich.allow or not poor.allow


# -- numbers ---------------------------------------------------------------------------------------------------------

TODAY = date(2026, 11, 24)
SIGNS = {"ncv_ignored": "ignored", "insufficient_data": "insufficient"}
days = st.integers(0, 70).map(lambda ago: TODAY - timedelta(days=ago)) | st.sampled_from(
    [TODAY - timedelta(days=ago) for ago in (0, 29, 30, 31)]
)


@some
@given(
    st.builds(
        Number,
        number=st.just("74951"),
        status=st.sampled_from(("archive", "free", "reserved")),
        account_id=st.none(),
        place=st.sampled_from((None, None, "msk", "Агентские номера")),
        region=st.none(),
        provider_id=st.none(),
        fmtn=st.sampled_from((False, False, False, True)),
        joined_on=days.map(str),
        archived_on=st.none() | days.map(str),
        saleable=st.sampled_from(("depends_on_ncv", "forced_yes", "no")),
    ),
    st.sets(days, max_size=4),
    st.sets(days, max_size=2),
)
def test_the_sign_of_a_number_and_whether_it_may_be_sold_are_the_models(
    number: Number, collected: set[date], called: set[date]
) -> None:
    collected |= called  # a call is a statistic
    since = date.fromisoformat(number.archived_on or number.joined_on or "")
    expected = ncv_model.sign(
        fmtn=number.fmtn,
        place=number.place,
        since=since,
        collected_days=collected,
        counted_days=called,
        today=TODAY,
    )

    found = sign(
        number,
        today=str(TODAY),
        collected_days=[str(day) for day in collected],
        days_with_calls=[str(day) for day in called],
    )

    assert SIGNS.get(found, found) == expected
    green = number.saleable == "depends_on_ncv" and expected in ("no_ncv", "ignored")
    assert sellable(number, found) == (green or number.saleable == "forced_yes")
