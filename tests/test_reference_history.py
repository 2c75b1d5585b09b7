"""Changes of the reference data: whatever comes, each version's prices stay what they were, also after a restart."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reference_model import CONTEXTS, NOON, Archive, Office, Records, answers, numbers, present, put_in_force

from engine.editions import DoesNotFit
from engine.reference import Reference
from schemas.reference import Discount
from schemas.times import HOUR_US

some = settings(max_examples=40, deadline=None)


def first(archive: Archive, office: Office) -> Reference:
    empty = Reference(accounts=(), providers=(), plans=(), price_lists=(), prices=(), version=0)
    put_in_force(empty, archive.change(office.records), archive.store)
    return empty


@some
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_each_version_stays_what_a_reference_would_be_that_had_stayed_at_it(seed: int, changes: int) -> None:
    office, archive = Office(seed), Archive()
    live = first(archive, office)
    history: dict[int, Records] = {1: office.records.copy()}
    asked = numbers(Random(seed), 5)
    for _ in range(changes):
        present(live, asked)  # what is remembered of it must be forgotten
        office.change()
        put_in_force(live, archive.change(office.records), archive.store)
        history[archive.version] = office.records.copy()

    restarted = archive.restored(office.records)
    for version, records in history.items():
        then = records.reference(version)
        expected = answers(then, asked, then)
        assert answers(live, asked, then, version) == expected
        assert answers(restarted, asked, then, version) == expected
    fresh = present(history[archive.version].reference(archive.version), asked)
    assert present(live, asked) == fresh
    assert present(restarted, asked) == fresh


def test_a_moment_tells_the_version_that_priced_calls_then() -> None:
    """Locks count as versions, and change no price."""
    office, archive = Office(3), Archive()
    live = first(archive, office)
    for edit in (office.change_lock, office.change_discount, office.change_lock):
        before = office.records.copy()
        while office.records == before:
            edit()
        put_in_force(live, archive.change(office.records), archive.store)

    at_us = [NOON + version * HOUR_US for version in range(6)]
    for reference in (live, archive.restored(office.records)):
        # 1 prices, 2 a lock, 3 a discount, 4 a lock.
        assert [reference.version_at(us) for us in at_us] == [1, 1, 1, 4, 4, 4]
        assert reference.version_at(at_us[3] - 1) == 1


def test_data_that_do_not_change_are_of_one_version_at_all_times() -> None:
    assert Office(3).records.reference(7).version_at(NOON) == 7


def test_a_plan_a_provider_and_a_discount_of_an_earlier_version_are_still_there() -> None:
    office, archive = Office(3), Archive()
    records = office.records
    records.plans["old"] = records.plans["one"]
    records.providers["D"] = replace(records.providers["A"], provider_id="D")
    records.discounts["a"] = [Discount("a", None, 7_000_000, None, None)]
    live = first(archive, office)
    del records.plans["old"], records.providers["D"], records.discounts["a"]
    put_in_force(live, archive.change(records), archive.store)

    for reference in (live, archive.restored(records)):
        number = next(row.prefix for row in records.rows["R1"] if len(row.prefix) > 2) + "1"
        sold = [reference.offers.retail(number, "old", CONTEXTS[0], NOON, None, version) for version in (1, 2)]
        assert sold[1] is None
        assert sold[0] == reference.offers.retail(number, "one", CONTEXTS[0], NOON, None, 1)
        assert reference.offers.retail(number, "old", CONTEXTS[0], NOON, None) is None
        assert [reference.provider("D", version) is None for version in (1, 2)] == [False, True]
        discounts = [reference.discount("a", "outgoing", NOON, version) for version in (1, 2)]
        assert [discount and discount.percent for discount in discounts] == [7_000_000, None]


def test_what_does_not_fit_changes_nothing() -> None:
    office, archive = Office(3), Archive()
    live = first(archive, office)
    asked = numbers(Random(1), 20)
    before = present(live, asked)
    change = archive.change(office.records)._replace(version=2, providers={"A": None})

    with pytest.raises(DoesNotFit, match="price list 'WA': provider 'A' is not there"):
        live.check(change)
    with pytest.raises(DoesNotFit, match=r"price list 'W.': band '(day|night)' is not there"):
        live.builder({}, {"day": None, "night": None}, archive.store).build()

    assert present(live, asked) == before
