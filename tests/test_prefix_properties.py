"""Prefix tables against walking every row: whatever was put and removed in whatever order, remembered or not.

Numbers are of two digits and up to seven places, so that prefixes nest, on both sides of a table's head of four.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any, Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.locks import LockTable
from engine.offers import Offer, Offers
from engine.prefixes import PrefixTable
from engine.prices import Context, Price, best, best_by_provider
from engine.reference import Reference
from engine.tariffs import NO_END
from schemas.reference import Account, Band, Lock, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import HOUR_US, MINUTE_US, SECOND_US, to_text, to_us

some = settings(max_examples=80, deadline=None)

prefixes = st.text("12", max_size=7)
numbers = st.text("12", min_size=1, max_size=9)
NUMBERS = ["".join(digits) for length in range(8) for digits in product("12", repeat=length)]


class Item(NamedTuple):
    """Something that stands at a prefix."""

    prefix: str
    name: int


items = st.lists(prefixes, max_size=25).map(lambda drawn: [Item(prefix, name) for name, prefix in enumerate(drawn)])


def concatenated(inherited: tuple[Item, ...], own: tuple[Item, ...]) -> tuple[Item, ...]:
    return tuple(sorted({*inherited, *own}))


def nearest(_: tuple[Item, ...], own: tuple[Item, ...]) -> tuple[Item, ...]:
    return tuple(sorted(own))


def table(of: Iterable[Item], *, longest_only: bool = False, at_once: bool = False) -> PrefixTable[Item]:
    merge = nearest if longest_only else concatenated
    if not at_once:
        one_by_one = PrefixTable(lambda item: item.prefix, merge)
        for item in of:
            one_by_one.put(item)
        return one_by_one
    by_prefix: dict[str, tuple[Item, ...]] = {}
    for item in of:
        by_prefix[item.prefix] = (*by_prefix.get(item.prefix, ()), item)
    return PrefixTable(lambda item: item.prefix, merge, by_prefix)


def answers(of: PrefixTable[Item]) -> list[tuple[Item, ...]]:
    return [of.find(number) for number in NUMBERS]


# -- the tables themselves -------------------------------------------------------------------------------------------


@some
@given(items, st.booleans())
def test_a_number_finds_all_that_stands_at_any_of_its_prefixes(of: list[Item], at_once: bool) -> None:
    filled = table(of, at_once=at_once)

    for number in NUMBERS:
        assert filled.find(number) == tuple(sorted(item for item in of if number.startswith(item.prefix)))
    assert sorted(filled.items()) == sorted(of)
    assert len(filled) == len({item.prefix for item in of})


@some
@given(items, st.booleans())
def test_where_a_prefix_hides_shorter_ones_a_number_finds_the_longest_alone(of: list[Item], at_once: bool) -> None:
    filled = table(of, longest_only=True, at_once=at_once)

    for number in NUMBERS:
        longest = max((item.prefix for item in of if number.startswith(item.prefix)), key=len, default=None)
        assert filled.find(number) == tuple(sorted(item for item in of if item.prefix == longest))


@some
@given(items, st.booleans(), st.booleans(), st.data())
def test_a_table_is_what_is_left_in_it_however_it_came_there(
    of: list[Item], at_once: bool, longest_only: bool, data: st.DataObject
) -> None:
    gone = data.draw(st.lists(st.sampled_from(of), unique=True)) if of else []
    again = data.draw(st.lists(st.sampled_from(gone), unique=True)) if gone else []
    changed = table(of, longest_only=longest_only, at_once=at_once)
    for item in gone:
        assert changed.remove(item)
        assert not changed.remove(item)
    for item in again:
        changed.put(item)

    left = data.draw(st.permutations([item for item in of if item not in gone or item in again]))
    fresh = table(left, longest_only=longest_only)
    assert answers(changed) == answers(fresh)
    assert len(changed) == len(fresh)
    assert sorted(changed.items()) == sorted(left)


# -- locks -----------------------------------------------------------------------------------------------------------

CREATED = ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    kind: Literal["prefix", "number"] = draw(st.sampled_from(("prefix", "prefix", "number")))
    return Lock(
        lock_id=f"L{draw(st.integers(1, 15))}",
        kind=kind,
        digits=draw(st.text("12", min_size=1, max_size=7)),
        account_id=draw(st.sampled_from((None, "a", "b"))),
        provider_id=draw(st.sampled_from((None, "p", "q"))),
        author="ivanov",
        reason="why",
        created_at=draw(st.sampled_from(CREATED)),
    )


def covering(of: Iterable[Lock], number: str, account_id: str | None) -> list[str]:
    """Ids of the locks that cover a number, the first reported first (D21), by looking at each."""
    found = [
        lock
        for lock in of
        if lock.account_id in (None, account_id)
        and (number == lock.digits if lock.kind == "number" else number.startswith(lock.digits))
    ]
    found.sort(key=lambda lock: lock.lock_id)
    found.sort(key=lambda lock: lock.created_at)
    found.sort(key=lambda lock: len(lock.digits), reverse=True)
    found.sort(key=lambda lock: lock.account_id is None)
    found.sort(key=lambda lock: lock.provider_id is not None)
    return [lock.lock_id for lock in found]


@some
@given(st.lists(st.tuples(locks(), st.integers(0, 4)), max_size=25), st.lists(numbers, min_size=5, max_size=15))
def test_a_number_is_covered_by_every_lock_that_fits_it_through_all_changes(
    changes: list[tuple[Lock, int]], asked: list[str]
) -> None:
    kept: dict[str, Lock] = {}
    locked = LockTable()
    for lock, action in changes:
        if action == 0:
            assert locked.remove(lock.lock_id) == (kept.pop(lock.lock_id, None) is not None)
        else:
            locked.put(lock)
            kept[lock.lock_id] = lock

    whole = [lock.digits for lock in kept.values()]
    for number in (*asked, *whole):
        for account_id in (None, "a", "b", "c"):
            expected = covering(kept.values(), number, account_id)
            assert [lock.lock_id for lock in locked.covering(number, account_id)] == expected
            assert [lock.lock_id for lock in LockTable(kept.values()).covering(number, account_id)] == expected


# -- prices ----------------------------------------------------------------------------------------------------------

NOON = to_us("2026-11-24T12:00:00.000Z")
EDGES = tuple(to_text(NOON + hours * HOUR_US) for hours in (-30, -1, 0, 1, 2))
LISTS = (
    PriceList("WA1", "", "wholesale", "A", "RUB", "half_up", 6, None, None),
    PriceList("WA2", "", "wholesale", "A", "RUB", "half_up", 6, EDGES[0], EDGES[3]),
    PriceList("WA3", "", "wholesale", "A", "RUB", "half_up", 6, EDGES[0], None),
    PriceList("WB1", "", "wholesale", "B", "RUB", "half_up", 6, None, None),
    PriceList("WC1", "", "wholesale", "C", "RUB", "half_up", 6, None, EDGES[2]),
    PriceList("R1", "", "retail", None, "RUB", "half_up", 6, None, None),
    PriceList("R2", "", "retail", None, "RUB", "half_up", 6, EDGES[1], None),
    PriceList("RA", "", "retail", "A", "RUB", "half_up", 6, None, None),
)
BY_ID = {price_list.price_list_id: price_list for price_list in LISTS}
BANDS = (
    Band("day", (), 12 * 60, 18 * 60, (), "Europe/Moscow", 1),
    Band("noon", (), 14 * 60, 15 * 60 + 30, (), "Europe/Moscow", 2),
    Band("night", (1, 2), 22 * 60, 6 * 60, (), "Europe/Moscow", 0),
)
PROVIDERS = tuple(
    Provider(name, name, priority, None, False, False) for name, priority in (("A", 2), ("B", 1), ("C", 1))
)
PLANS = (
    TariffPlan("one", (PlanList("R1", 1),), False),
    TariffPlan("all", (PlanList("R2", 1), PlanList("R1", 1), PlanList("RA", 2)), False),
    TariffPlan("strict", (PlanList("RA", 2), PlanList("R1", 2)), True),
)


ASKED = ("1", "11", "1211", "12121", "121211", "1212222", "2212121", "1111111")


def beginnings(number: str) -> st.SearchStrategy[str]:
    """Prefixes of a number."""
    return st.integers(0, len(number)).map(lambda length: number[:length])


@st.composite
def rows(draw: st.DrawFn) -> list[PriceRow]:
    """Rows of several lists, none ambiguous: what the rules order by is all that may differ."""
    drawn: dict[tuple[object, ...], list[PriceRow]] = {}
    for _ in range(draw(st.integers(0, 22))):
        since = draw(st.sampled_from((None, None, None, *EDGES)))
        until = draw(st.sampled_from((None, None, *EDGES)))
        place, incoming = draw(
            st.sampled_from(((None, None), (None, None), ("msk", None), (None, "in"), ("msk", "in")))
        )
        row = PriceRow(
            price_list_id=draw(st.sampled_from(sorted(BY_ID))),
            prefix=draw(prefixes | st.sampled_from(ASKED).flatmap(beginnings)),
            service=draw(st.sampled_from((None, None, "outgoing"))),
            place=place,
            incoming_service=incoming,
            band_id=None,
            from_second=0,
            connect_fee_micros=0,
            price_micros=draw(st.integers(0, 5)) * 60,
            per_seconds=60,
            step_seconds=draw(st.sampled_from((1, 60))),
            min_charge_micros=None,
            max_charge_micros=None,
            valid_from=since,
            valid_to=until,
        )
        key = (row.price_list_id, row.prefix, row.service, row.place, row.incoming_service, since, until)
        if key in drawn or (since is not None and until is not None and to_us(since) >= to_us(until)):
            continue
        of_bands = draw(st.sampled_from(((None,), (None,), (None, "day"), ("day", "noon"), ("night",))))
        drawn[key] = [with_band(row, band_id, 7 * index) for index, band_id in enumerate(of_bands)]
    return [row for price in drawn.values() for row in price]


def with_band(row: PriceRow, band_id: str | None, dearer: int) -> PriceRow:
    return PriceRow(
        row.price_list_id,
        row.prefix,
        row.service,
        row.place,
        row.incoming_service,
        band_id,
        row.from_second,
        row.connect_fee_micros,
        row.price_micros + 60 * dearer,
        row.per_seconds,
        row.step_seconds,
        row.min_charge_micros,
        row.max_charge_micros,
        row.valid_from,
        row.valid_to,
    )


def reference(of: Iterable[PriceRow]) -> Reference:
    account = Account("a", "c", "one", "prepaid", "RUB", 0, 0, None, "active", None, None)
    return Reference(accounts=(account,), providers=PROVIDERS, plans=PLANS, price_lists=LISTS, prices=of, bands=BANDS)


contexts = st.builds(
    Context,
    st.sampled_from(("outgoing", "forwarding")),
    st.sampled_from((None, "msk", "spb")),
    st.sampled_from((None, "in", "out")),
)
instants = st.builds(
    lambda edge, near: NOON + edge + near,
    st.sampled_from([minutes * MINUTE_US for minutes in (-1800, -180, -61, -60, -1, 0, 29, 30, 59, 60, 120, 180, 700)]),
    st.sampled_from((-MINUTE_US - 1, -MINUTE_US, -MINUTE_US + 1, -SECOND_US, -1, 0, 1, SECOND_US, 30 * MINUTE_US)),
)


def wall_of_bands(row: PriceRow, at_us: int) -> bool:
    """Whether the row's band holds: all bands here lie in Moscow, which is UTC+3 all year."""
    if row.band_id is None:
        return True
    band = next(band for band in BANDS if band.band_id == row.band_id)
    minute = (at_us // MINUTE_US + 180) % 1440
    weekday = (at_us // MINUTE_US + 180) // 1440 % 7  # 1970-01-01 was a Thursday
    today = (weekday + 3) % 7 + 1
    yesterday = today - 1 or 7
    if band.start_minute < band.end_minute:
        return band.start_minute <= minute < band.end_minute
    return (minute >= band.start_minute and today in band.weekdays) or (
        minute < band.end_minute and yesterday in band.weekdays
    )


def in_force(since: str | None, until: str | None, at_us: int) -> bool:
    return (since is None or to_us(since) <= at_us) and (until is None or at_us < to_us(until))


def walk(
    of: Iterable[PriceRow], lists: Iterable[str], number: str, context: Context, at_us: int
) -> tuple[str, str, set[int]] | None:
    """List, prefix and prices of the price that applies, by looking at every row (docs/rules.md §1.2-§1.4)."""
    found: dict[tuple[object, ...], set[int]] = {}
    for row in of:
        price_list = BY_ID[row.price_list_id]
        if (
            row.price_list_id in lists
            and number.startswith(row.prefix)
            and row.service in (None, context.service)
            and row.place in (None, context.place)
            and row.incoming_service in (None, context.incoming_service)
            and in_force(row.valid_from, row.valid_to, at_us)
            and in_force(price_list.valid_from, price_list.valid_to, at_us)
        ):
            rank = (
                -len(row.prefix),
                -to_us(price_list.valid_from) if price_list.valid_from else 0,
                row.price_list_id,
                row.service is None,
                row.place is None,
                row.incoming_service is None,
                -to_us(row.valid_from) if row.valid_from else 0,
                to_us(row.valid_to) if row.valid_to else NO_END,
                row.prefix,
            )
            if any(wall_of_bands(other, at_us) for other in of if same_price(other, row)):
                found.setdefault(rank, set()).add(row.price_micros)
    if not found:
        return None
    first = min(found)
    return str(first[2]), str(first[-1]), found[first]


def same_price(row: PriceRow, other: PriceRow) -> bool:
    return conditions(row) == conditions(other)


def conditions(row: PriceRow) -> tuple[object, ...]:
    return (
        row.price_list_id,
        row.prefix,
        row.service,
        row.place,
        row.incoming_service,
        row.valid_from,
        row.valid_to,
    )


def named(price: Price | None) -> tuple[str, str, set[int]] | None:
    if price is None:
        return None
    return price.terms.price_list_id, price.prefix, {rate.price_micros for rate in price.tariff.rates}


WHOLESALE = {
    provider.provider_id: [name for name in BY_ID if name.startswith(f"W{provider.provider_id}")]
    for provider in PROVIDERS
}


@settings(some, max_examples=200)
@given(rows(), st.lists(st.tuples(numbers, contexts, instants), min_size=8, max_size=20))
def test_each_provider_offers_what_walking_every_row_finds(
    of: list[PriceRow], asked: list[tuple[str, Context, int]]
) -> None:
    data = reference(of)

    for number, context, at_us in asked:
        candidates = data.wholesale.candidates(number)
        found = {price.terms.provider_id: named(price) for price in best_by_provider(candidates, context, at_us)}
        expected = {name: walk(of, lists, number, context, at_us) for name, lists in WHOLESALE.items()}
        assert found == {name: price for name, price in expected.items() if price is not None}
        for name, lists in data.retail.items():
            assert named(best(lists.candidates(number), context, at_us)) == walk(of, [name], number, context, at_us)


def plain(price_list_id: str, prefix: str, per_minute: int, **other: Any) -> PriceRow:
    """A price by the second at all times, or with what is told."""
    row = PriceRow(price_list_id, prefix, None, None, None, None, 0, 0, per_minute, 60, 1, None, None, None, None)
    return replace(row, **other)


ANY_CALL = Context("outgoing", None, None)


def test_of_two_prices_that_outlive_their_list_the_one_that_ends_earlier_goes_first() -> None:
    earlier, later = plain("WC1", "1", 60, valid_to=EDGES[3]), plain("WC1", "1", 120, valid_to=EDGES[4])
    for of in ([earlier, later], [later, earlier]):
        offers = reference(of).offers
        assert named(offers.wholesale("12", ANY_CALL, NOON - 1, "C")) == ("WC1", "1", {60})


def test_a_longer_prefix_hides_a_shorter_one_no_longer_than_it_lasts() -> None:
    offers = reference([plain("WB1", "1", 60), plain("WB1", "12", 120, valid_to=EDGES[2])]).offers

    assert named(offers.wholesale("12", ANY_CALL, NOON - 1, "B")) == ("WB1", "12", {120})
    assert named(offers.wholesale("12", ANY_CALL, NOON, "B")) == ("WB1", "1", {60})


def grouped(of: Iterable[PriceRow]) -> list[list[PriceRow]]:
    """Rows of one price together."""
    found: dict[tuple[object, ...], list[PriceRow]] = {}
    for row in of:
        found.setdefault(conditions(row), []).append(row)
    return list(found.values())


@some
@given(rows(), st.lists(st.tuples(numbers, contexts, instants), min_size=8, max_size=20), st.data())
def test_prices_of_any_version_stay_what_they_were(
    of: list[PriceRow], asked: list[tuple[str, Context, int]], data: st.DataObject
) -> None:
    prices: list[list[PriceRow]] = data.draw(st.permutations(grouped(of)))
    first = data.draw(st.integers(0, len(prices)))
    in_force_now = {conditions(price[0]): price for price in prices[:first]}
    changing = reference(row for price in in_force_now.values() for row in price)
    versions = {changing.version: dict(in_force_now)}
    changes = [*prices[first:], *(data.draw(st.lists(st.sampled_from(prices), max_size=6)) if prices else [])]
    for price in data.draw(st.permutations(changes)):
        price_list_id, prefix = price[0].price_list_id, price[0].prefix
        there = [key for key in in_force_now if key[:2] == (price_list_id, prefix)]
        removing = data.draw(st.booleans())
        if there and removing:
            assert changing.remove_price(price_list_id, prefix) == len(there)
            for key in there:
                del in_force_now[key]
        else:
            changed = [with_band(row, row.band_id, data.draw(st.integers(0, 3))) for row in price]
            changing.put_price(changed)
            in_force_now[conditions(price[0])] = changed
        versions[changing.version] = dict(in_force_now)

    offers = changing.offers
    for version, prices_then in versions.items():
        of_then = [row for price in prices_then.values() for row in price]
        for number, context, at_us in asked[:6]:
            for provider_id, lists in WHOLESALE.items():
                then = offers.wholesale(number, context, at_us, provider_id, version)
                assert named(then) == walk(of_then, lists, number, context, at_us)
            then = offers.retail(number, "one", context, at_us, None, version)
            assert named(then) == walk(of_then, ["R1"], number, context, at_us)
    fresh = reference(row for price in in_force_now.values() for row in price)
    for number, context, at_us in asked:
        assert shown(changing.offers.find(number, "all", context, at_us)) == shown(
            fresh.offers.find(number, "all", context, at_us)
        )


@some
@given(rows(), st.permutations(range(40)))
def test_prices_may_be_read_in_any_order(of: list[PriceRow], order: list[int]) -> None:
    shuffled = [of[place] for place in order if place < len(of)] + of[40:]

    for number in NUMBERS[31:127:3]:
        for at_us in (NOON - 1, NOON):
            for context in (Context("outgoing", "msk", "in"), Context("forwarding", None, None)):
                assert shown(reference_of(of).find(number, "all", context, at_us)) == shown(
                    reference_of(shuffled).find(number, "all", context, at_us)
                )


# -- offers ----------------------------------------------------------------------------------------------------------

_made: dict[tuple[PriceRow, ...], Offers] = {}


def reference_of(of: Iterable[PriceRow]) -> Offers:
    """Offers over these rows; the latest few are kept."""
    key = tuple(of)
    if key not in _made:
        if len(_made) > 4:
            _made.clear()
        _made[key] = reference(key).offers
    return _made[key]


def shown(offer: Offer) -> tuple[object, ...]:
    """What an offer says, without the span in which it says so."""
    routes = [(route.provider_id, named(route.wholesale), named(route.retail), route.loses) for route in offer.routes]
    return (
        routes,
        offer.wire_routes,
        offer.retail,
        sorted(str(named(price)) for price in offer.retail_prices),
        offer.no_wholesale,
        offer.no_retail,
        offer.no_margin,
        offer.taken,
        offer.negative_margin,
        offer.checks,
    )


questions = st.tuples(
    st.sampled_from(ASKED),
    st.sampled_from((None, "one", "all", "strict")),
    contexts,
    instants,
    st.sampled_from((0, 0, 50_000_000)),
    st.sampled_from((frozenset[str](), frozenset[str](), frozenset({"A"}), frozenset({"A", "B"}))),
)


@some
@given(rows(), st.lists(questions, min_size=20, max_size=60), st.data())
def test_a_remembered_offer_is_the_one_that_would_be_made_now(
    of: list[PriceRow], asked: list[tuple[str, str | None, Context, int, int, frozenset[str]]], data: st.DataObject
) -> None:
    kept = reference(of)
    for number, plan_id, context, at_us, percent, banned in asked:
        offer = kept.offers.find(number, plan_id, context, at_us, percent=percent, banned=banned)

        assert offer.since_us <= at_us < offer.until_us
        later_us = data.draw(st.sampled_from((offer.since_us, offer.until_us - 1, at_us + 1, at_us + MINUTE_US)))
        for moment_us in {at_us, min(later_us, at_us + 48 * HOUR_US)}:
            if offer.since_us <= moment_us < offer.until_us:
                made_now = Offers(kept.wholesale, kept.providers, kept.plans).find(
                    number, plan_id, context, moment_us, percent=percent, banned=banned
                )
                assert shown(offer) == shown(made_now)


def test_the_minute_before_a_band_begins_is_priced_by_both() -> None:
    """From 11:00 on A costs nine times as much; before, its first minute is still cheaper than B's."""
    of = [plain("WA1", "", 60, band_id="day"), plain("WA1", "", 540, band_id="noon"), plain("WB1", "", 120)]
    offers = reference([*of, plain("R1", "", 600)]).offers
    eleven = to_us("2026-11-24T11:00:00.000Z")

    def ways(before_us: int) -> list[str]:
        offer = offers.find("12", "one", ANY_CALL, eleven - before_us)
        return [route.provider_id for route in offer.routes]

    assert ways(10 * MINUTE_US) == ["A", "B"]
    assert ways(30 * SECOND_US) == ["B", "A"]


def test_an_offer_at_another_discount_is_another_offer() -> None:
    offers = reference([plain("WA1", "", 120), plain("R1", "", 180)]).offers

    losing = [offers.find("12", "one", ANY_CALL, NOON, percent=percent).negative_margin for percent in (0, 50_000_000)]

    assert losing == [False, True]
