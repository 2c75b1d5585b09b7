"""Pairs of bars, before and after, as an SVG without a script and without a style of its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

WIDTH, ROW, BAR = 560, 64, 22
_LABEL = 130
_MONEY = 130
"""Pixels: of the drawing, a pair, a bar, the words before it and the amount behind it."""


class Bar(NamedTuple):
    """A bar, and the amount written behind it."""

    when: str
    x: float
    y: int
    width: float
    text_x: float
    text: str
    negative: bool


class Pair(NamedTuple):
    """What a pair of bars is about."""

    title: str
    y: int
    bars: tuple[Bar, ...]


class Chart(NamedTuple):
    """All pairs, on one scale that holds what is below zero too."""

    width: int
    height: int
    zero: float
    pairs: tuple[Pair, ...]


def bars(rows: Sequence[tuple[str, int, int]], money: Callable[[int], str]) -> Chart:
    """A chart of titles with two amounts in micro-units each."""
    values = [0, *(value for _, before, after in rows for value in (before, after))]
    low, high = min(values), max(values)
    scale = (WIDTH - _LABEL - _MONEY) / max(high - low, 1)
    zero = _LABEL - low * scale
    pairs = []
    for place, (title, *amounts) in enumerate(rows):
        found = []
        for index, (when, value) in enumerate(zip(("before", "after"), amounts, strict=True)):
            width = abs(value) * scale
            x = zero if value >= 0 else zero - width
            y = place * ROW + 6 + index * (BAR + 2)
            found.append(
                Bar(when, round(x, 1), y, round(width, 1), round(max(zero, x + width) + 6, 1), money(value), value < 0)
            )
        pairs.append(Pair(title, place * ROW + 6 + BAR, tuple(found)))
    return Chart(WIDTH, len(rows) * ROW, round(zero, 1), tuple(pairs))
