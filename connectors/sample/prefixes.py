"""Real prefixes: countries, areas and Russian mobile ranges, from the numbering plans in `phonenumbers`.

Knows which numbers lie together, not what they cost. All answers are in the order of their prefixes.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA

Label = TypeVar("Label")

LONGEST = 7
"""Digits of the longest prefix used: real lists seldom go deeper, and a number keeps at least four digits after it."""

# Country codes that are no country and that nobody sells by the minute: freephone, shared cost, UPT, test and relief.
_NOT_SOLD = ("800", "808", "878", "888")


@cache
def countries() -> dict[str, str]:
    """Country code → ISO region ("001" for satellite and other international networks)."""
    codes = {str(code): regions[0] for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}
    return {code: codes[code] for code in sorted(codes) if code not in _NOT_SOLD}


def country_of(number: str) -> str | None:
    """The country code that a number begins with. No code begins another one, so there is at most one."""
    return next((number[:n] for n in (1, 2, 3) if number[:n] in countries()), None)


@cache
def areas(extra_digits: int) -> dict[str, str]:
    """Area → its English name, for areas of at most `extra_digits` digits after the country code."""
    found: dict[str, str] = {}
    for prefix, names in GEOCODE_DATA.items():
        if len(prefix) <= LONGEST and (country := country_of(prefix)) and len(prefix) <= len(country) + extra_digits:
            found[prefix] = names.get("en") or min(names.values())
    return collapsed(found)


@cache
def russian_mobile() -> dict[str, str]:
    """Ranges of the Russian mobile codes 79… → the carrier's English name ("" if it has none in English)."""
    ranges = {p: names.get("en", "") for p, names in CARRIER_DATA.items() if p.startswith("79") and len(p) <= LONGEST}
    return collapsed(ranges)


def collapsed(table: Mapping[str, Label]) -> dict[str, Label]:
    """The shortest table with the same answers: ten siblings that agree become their parent, echoes of a parent go."""
    shorter = dict(table)
    for length in range(max(map(len, shorter), default=0), 1, -1):
        for parent in sorted({prefix[:-1] for prefix in shorter if len(prefix) == length}):
            children = [shorter.get(f"{parent}{digit}") for digit in range(10)]
            if None not in children and len(set(children)) == 1:
                shorter[parent] = shorter[f"{parent}0"]
    return {p: shorter[p] for p in sorted(shorter) if _inherited(shorter, p) != shorter[p]}


def _inherited(table: Mapping[str, Label], prefix: str) -> Label | None:
    return next((table[prefix[:n]] for n in range(len(prefix) - 1, 0, -1) if prefix[:n] in table), None)
