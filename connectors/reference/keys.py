"""The keys of the topic `reference`.

What no rating depends on has one key: `account/<id>`, `lock/<id>`, `number/<number>`. What calls are priced by is kept
in every version that a call may still be priced by: `<kind>/<id>/<version>`. An id may hold any character.
"""

from typing import NamedTuple

VERSION = b"version"
"""Closes a change."""

STAGED = b"staged"
"""What a coming change will bring."""

ACCOUNT = "account"
LOCK = "lock"
NUMBER = "number"
CHUNK = "chunk"
PROVIDER = "provider"
TARIFF_PLAN = "tariff_plan"
BAND = "band"
DISCOUNTS = "discounts"
PRICE_LIST = "price_list"

SINGLE = frozenset({ACCOUNT, LOCK, NUMBER})
VERSIONED = frozenset({PROVIDER, TARIFF_PLAN, BAND, DISCOUNTS, PRICE_LIST})


class Key(NamedTuple):
    """A key in its parts; `version` is 0 where the kind has none."""

    kind: str
    name: str
    version: int = 0


def key_bytes(kind: str, name: str, version: int = 0) -> bytes:
    """The key as it stands on the topic."""
    return f"{kind}/{name}/{version}".encode() if kind in VERSIONED else f"{kind}/{name}".encode()


def read_key(key: bytes) -> Key | None:
    """The parts of a key; None for one that is of no kind known here, as a newer publisher may write."""
    try:
        kind, _, name = key.decode().partition("/")
    except UnicodeDecodeError:
        return None
    if kind in VERSIONED:
        name, _, version = name.rpartition("/")
        good = name and version.isascii() and version.isdecimal() and len(version) < 19
        return Key(kind, name, int(version)) if good else None
    return Key(kind, name) if name and (kind in SINGLE or kind == CHUNK) else None
