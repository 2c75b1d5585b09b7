"""The list of errors is up to date, and the tests notice some of them (`python -m mutations` tries all)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutations import (
    DECISION,
    PARTITION,
    PREFIX,
    PRICING,
    ROOT,
    Mutant,
    copy_of_the_tree,
    fits,
    generated,
    listed,
    noticed,
    source_of,
)

NOTICED_AT_ONCE = [
    (Mutant("rounding", "* denominator - 1) // 2", "* denominator) // 2"), PRICING),
    (
        Mutant(
            "tariffs", "limit = min(seconds, tier.until_second, band_ends_in)", "limit = min(seconds, band_ends_in)"
        ),
        PRICING,
    ),
    (Mutant("locks", "return inherited + own", "return own"), PREFIX),
    (Mutant("offers", "span.narrow(candidates)", "pass"), PREFIX),
    (Mutant("decisions", "full = state.running >= limit", "full = state.running > limit"), DECISION),
    (Mutant("state", "state.running -= 1", "pass"), PARTITION),
]


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    with copy_of_the_tree() as copied:
        yield copied


@pytest.mark.parametrize("mutant", listed(), ids=str)
def test_each_listed_error_fits_the_engine_as_it_is(mutant: Mutant) -> None:
    assert fits(mutant), "the text has changed or stands there twice: bring tests/mutants.txt up to date"


@pytest.mark.parametrize(("mutant", "tests"), NOTICED_AT_ONCE, ids=lambda value: str(value).replace("/", "."))
def test_the_tests_notice_an_error(mutant: Mutant, tests: str, tree: Path) -> None:
    assert mutant in listed()
    right = source_of(mutant.module, tree).read_text()
    assert noticed(mutant, tree, [tests])
    assert source_of(mutant.module, tree).read_text() == right


def test_drawn_errors_are_programs_too() -> None:
    drawn = generated()
    assert len(drawn) > 300
    for mutant in drawn[::7]:
        ast.parse(source_of(mutant.module, ROOT).read_text().replace(mutant.old, mutant.new))
