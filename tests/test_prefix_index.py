"""Prefix indexes that never change: edited however often, each is what it would be made of at once, and stays it."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.prefix_index import PrefixIndex, head_of
from engine.prefixes import PrefixTable

Item = tuple[str, int]
"""A prefix and what stands there."""

some = settings(max_examples=150, deadline=None)
NUMBERS = ["".join(digits) for length in range(9) for digits in product("12", repeat=length)]
prefixes = st.text("12", max_size=8)
owned = st.dictionaries(prefixes, st.integers(0, 9).map(lambda name: (name,)) | st.just(()), max_size=25)


def prefix_of(item: Item) -> str:
    return item[0]


def merge(inherited: tuple[Item, ...], own: tuple[Item, ...]) -> tuple[Item, ...]:
    return (*own, *inherited)


def edited(index: PrefixIndex[Item], edits: dict[str, tuple[int, ...]]) -> PrefixIndex[Item]:
    by_head: dict[str, dict[str, tuple[Item, ...]]] = {}
    for prefix, names in edits.items():
        by_head.setdefault(head_of(prefix), {})[prefix] = tuple((prefix, name) for name in names)
    return index.edited(by_head)


def table(of: dict[str, tuple[int, ...]]) -> PrefixTable[Item]:
    return PrefixTable(prefix_of, merge, {prefix: tuple((prefix, name) for name in of[prefix]) for prefix in of})


@some
@given(st.lists(owned, min_size=1, max_size=6))
def test_an_index_finds_what_a_table_of_the_same_items_finds(steps: list[dict[str, tuple[int, ...]]]) -> None:
    index: PrefixIndex[Item] = PrefixIndex(prefix_of, merge)
    there: dict[str, tuple[int, ...]] = {}
    made = []
    for edits in steps:
        index = edited(index, edits)
        there = {prefix: names for prefix, names in {**there, **edits}.items() if names}
        made.append((index, there))

    # The earlier ones too: nothing of them has changed.
    for index, of in made:
        expected = table(of)
        assert len(index) == len(of)
        assert {item[0] for item in index.items()} == of.keys()
        for number in NUMBERS[:: 1 if len(made) == 1 else 3]:
            assert index.find(number) == expected.find(number)
            assert index.own(number) == expected.own(number)
            assert index.depth(number) == expected.depth(number)


@some
@given(st.lists(prefixes, min_size=60, max_size=200, unique=True), owned)
def test_a_few_edits_among_many_prefixes_work_out_what_lies_below_them(
    many: list[str], edits: dict[str, tuple[int, ...]]
) -> None:
    of = dict.fromkeys(many, (7,))
    before = edited(PrefixIndex(prefix_of, merge), of)

    after = edited(before, edits)

    expected = table({prefix: names for prefix, names in {**of, **edits}.items() if names})
    assert [after.find(number) for number in NUMBERS] == [expected.find(number) for number in NUMBERS]
    unedited = table(of)
    assert [before.find(number) for number in NUMBERS] == [unedited.find(number) for number in NUMBERS]


def test_what_does_not_differ_is_shared() -> None:
    many = {f"{head}{tail:03d}": (1,) for head in ("11111", "22222") for tail in range(1_000)}
    before = edited(PrefixIndex(prefix_of, merge), many)

    after = edited(before, {"11111500": (2,)})

    assert after.find("222225001") is before.find("222225001")
    assert after.find("111114991") is before.find("111114991")
    assert after.find("111115001") == (("11111500", 2),)
    assert before.find("111115001") == (("11111500", 1),)


def test_an_index_that_is_taken_apart_takes_nothing_from_those_that_share_its_parts() -> None:
    before = edited(PrefixIndex(prefix_of, merge), {"11112": (1,), "22221": (1,)})
    after = edited(before, {"11112": (2,)})

    for _ in before.take_apart():
        pass

    assert after.find("222219") == (("22221", 1),)
    assert len(before) == 0
