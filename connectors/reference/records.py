"""From the topic's records to the engine's words: what a change brings, and all that is kept after many of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from connectors.reference.keys import (
    ACCOUNT,
    BAND,
    DISCOUNTS,
    LOCK,
    NUMBER,
    PRICE_LIST,
    PROVIDER,
    SINGLE,
    TARIFF_PLAN,
    Key,
    read_key,
)
from engine.changes import Change, Entry, Kept
from engine.editions import Chunks
from engine.reference import Reference
from schemas.codec import UNREADABLE
from schemas.reference import (
    Account,
    AccountDiscounts,
    Band,
    Lock,
    Number,
    PriceListEdition,
    Provider,
    ReferenceVersion,
    Removed,
    Staged,
    TariffPlan,
)


class Stored(NamedTuple):
    """A record's value (None: a tombstone) and the time of the change that it came with."""

    value: bytes | None
    at_us: int


class Unreadable(ValueError):
    """A record that is none of the topic's. Names its key."""


class Gathered(NamedTuple):
    """What a change brings, and which earlier versions need no longer be kept: kinds as `Kept` names them."""

    change: Change
    forgotten: tuple[tuple[str, str, int], ...]
    lost_accounts: int
    """Tombstones of accounts: an account is closed, never removed, so they are passed by."""
    unknown: int
    """Records of kinds that are not known here."""


_FIELDS = {
    ACCOUNT: "accounts",
    LOCK: "locks",
    NUMBER: "numbers",
    PROVIDER: "providers",
    TARIFF_PLAN: "plans",
    BAND: "bands",
    DISCOUNTS: "discounts",
    PRICE_LIST: "lists",
}
"""The kinds of keys, as the engine's changes name them."""

_TYPES: dict[str, Any] = {
    ACCOUNT: Account,
    LOCK: Lock,
    NUMBER: Number,
    PROVIDER: Provider | Removed,
    TARIFF_PLAN: TariffPlan | Removed,
    BAND: Band | Removed,
    DISCOUNTS: AccountDiscounts,
    PRICE_LIST: PriceListEdition | Removed,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {kind: msgspec.json.Decoder(of).decode for kind, of in _TYPES.items()}
_decode_version = msgspec.json.Decoder(ReferenceVersion).decode
_decode_staged = msgspec.json.Decoder(Staged).decode


def decoded(key: Key, value: bytes) -> Any:
    """The record as the engine takes it: None for what is removed, a tuple for discounts. Raises Unreadable."""
    try:
        record = _DECODERS[key.kind](value)
    except UNREADABLE as error:
        raise Unreadable(f"{key.kind}/{key.name}: {error}") from None
    if isinstance(record, Removed):
        return None
    return record.discounts if isinstance(record, AccountDiscounts) else record


def decoded_version(value: bytes) -> ReferenceVersion:
    """The record that closes a change. Raises Unreadable."""
    try:
        return _decode_version(value)
    except UNREADABLE as error:
        raise Unreadable(f"version: {error}") from None


def decoded_staged(value: bytes) -> Staged:
    """What a coming change will bring. Raises Unreadable."""
    try:
        return _decode_staged(value)
    except UNREADABLE as error:
        raise Unreadable(f"staged: {error}") from None


def gathered(version: int, at_us: int, records: Mapping[bytes, Stored]) -> Gathered:
    """The change that these records make together. Raises Unreadable."""
    found: dict[str, dict[str, Any]] = {field: {} for field in _FIELDS.values()}
    forgotten = []
    lost = unknown = 0
    for text, (value, _) in records.items():
        key = read_key(text)
        if key is None or key.kind not in _FIELDS:
            unknown += 1
        elif value is not None:
            found[_FIELDS[key.kind]][key.name] = decoded(key, value)
        elif key.kind == ACCOUNT:
            lost += 1
        elif key.kind in SINGLE:
            found[_FIELDS[key.kind]][key.name] = None
        else:
            forgotten.append((_FIELDS[key.kind], key.name, key.version))
    return Gathered(Change(version, at_us, **found), tuple(forgotten), lost, unknown)


def kept(records: Iterable[tuple[Key, Stored]]) -> Kept:
    """What calls are priced by, in all versions that are there.

    Raises Unreadable for one that is in force; one that never came into force, since nobody could read it, is left out.
    """
    latest: dict[tuple[str, str], int] = {}
    there = [(key, stored) for key, stored in records if stored.value is not None]
    for key, _ in there:
        latest[key.kind, key.name] = max(key.version, latest.get((key.kind, key.name), 0))
    found: dict[str, list[Entry]] = {field: [] for field in Kept._fields}
    for key, (value, at_us) in there:
        assert value is not None
        try:
            found[_FIELDS[key.kind]].append(Entry(key.version, at_us, key.name, decoded(key, value)))
        except Unreadable:
            if key.version == latest[key.kind, key.name]:
                raise
    return Kept(**{field: tuple(sorted(entries, key=_version_of)) for field, entries in found.items()})


def _version_of(entry: Entry) -> int:
    return entry.version


class TopicFold:
    """The topic from its beginning, record by record: the latest of each key as of the last change that was closed.

    Chunks and what is staged belong to no change, and are not kept here.
    """

    def __init__(self) -> None:
        self.closed: dict[bytes, Stored] = {}
        self.version: ReferenceVersion | None = None
        self.pending: dict[bytes, Stored] = {}
        """What came after the last closing record."""
        self.lost_accounts = 0

    def add(self, key: bytes, stored: Stored) -> None:
        """One more record."""
        self.pending[key] = stored

    def close(self, version: ReferenceVersion) -> None:
        """The closing record of a change."""
        self.version = version
        account = f"{ACCOUNT}/".encode()
        for key, stored in self.pending.items():
            if stored.value is not None:
                self.closed[key] = stored
            elif key.startswith(account):
                self.lost_accounts += 1
            else:
                self.closed.pop(key, None)
        self.pending.clear()

    def items(self) -> Iterable[tuple[Key, Stored]]:
        """The records of kinds that are known here."""
        for text, stored in self.closed.items():
            if (key := read_key(text)) is not None and key.kind in _FIELDS:
                yield key, stored

    def reference(self, chunks: Chunks) -> Reference:
        """The reference data in force after the last change. Raises Unreadable, and DoesNotFit."""
        assert self.version is not None, "no change has been closed"
        single: dict[str, list[Any]] = {kind: [] for kind in SINGLE}
        for key, stored in self.items():
            if key.kind in SINGLE and stored.value is not None:
                single[key.kind].append(decoded(key, stored.value))
        return Reference.restored(
            version=self.version.version,
            accounts=single[ACCOUNT],
            locks=single[LOCK],
            numbers=single[NUMBER],
            kept=kept((key, stored) for key, stored in self.items() if key.kind not in SINGLE),
            chunks=chunks,
        )
