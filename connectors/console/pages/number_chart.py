"""«Статистика по нецелевым звонкам» as bars: where each stands in an SVG. Words and colours are the template's.

A day is a pair of bars, calls behind and unique callers before them. A day of which no statistics were collected is
marked, since nothing is known of it: no bar there does not mean that nobody called.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 26
DAYS_NAMED = 6
"""So many days have their date under them at most: more would run into each other."""


class Bar(NamedTuple):
    """A day. Lengths are in units of the viewBox."""

    day: str
    x: float
    width: float
    calls_height: float
    unique_height: float
    collected: bool
    named: bool


class Chart(NamedTuple):
    """The drawing. `lines`: horizontal ones, with the number of calls that they stand for."""

    bars: tuple[Bar, ...]
    lines: tuple[tuple[int, float], ...]
    floor: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


def chart(days: Sequence[dict[str, Any]]) -> Chart:
    """Days as the API tells them, in any order; the earliest stands at the left."""
    ordered = sorted(days, key=lambda one: str(one["day"]))
    most = top_of(max((one["calls"] for one in ordered), default=0))
    room, floor = HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / max(len(ordered), 1)
    every = -(-len(ordered) // DAYS_NAMED) or 1
    bars = tuple(
        Bar(
            one["day"],
            round(LEFT + place * step + step * 0.1, 2),
            round(step * 0.8, 2),
            round(one["calls"] / most * room, 2),
            round(one["unique_callers"] / most * room, 2),
            one["collected"],
            place % every == 0,
        )
        for place, one in enumerate(ordered)
    )
    lines = tuple((value, round(floor - value / most * room, 2)) for value in (0, most // 2, most))
    return Chart(bars, lines, floor)


def top_of(most: int) -> int:
    """The end of the scale: an even number that reads well and is no less than the most calls of a day."""
    scale = 1
    while True:
        for step in (2, 4, 6, 10):
            if most <= step * scale:
                return step * scale
        scale *= 10
