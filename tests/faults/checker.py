"""The checker: was every call decided once, rated once and paid for to the micro, whatever happened meanwhile?

It shares no code with the engine. It reads the topics as anyone could, the books of who sent the traffic, and what a
reader saw who watched all along; and it rebuilds from these what must be. Each finding is a sentence with its ids.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from schemas import topics
from tests.models.auditor import audit

from .reader import POSITION_KEY, Books, Line, Place, Position, position_in
from .traffic import Sent

Json = dict[str, Any]

_SHOWN = 5  # findings of a kind; hundreds say no more
_PUBLISHED = (*topics.OUTPUTS, topics.ENGINE_STATE)


class Evidence(NamedTuple):
    """What there is to look at when a run has ended."""

    partitions: int
    final: Books
    """Everything, read at the end."""

    seen: Books
    """What the concurrent reader was given."""

    group_offsets: Mapping[Place, int]
    acknowledged: Counter[Sent]
    unsure: Counter[Sent]
    homes: Mapping[bytes | None, int | None]
    malformed: set[bytes | None]
    opening: Mapping[str, Json]
    number_status: Mapping[str, str]


def check(evidence: Evidence) -> list[str]:
    """All that is wrong, one sentence each; none means all is well."""
    found: list[str] = []
    for findings in (
        _inputs(evidence),
        _audited(evidence),
        _bad_bytes(evidence),
        _positions(evidence),
        _changelogs(evidence),
        _readers(evidence),
    ):
        some = list(findings)
        found += some[:_SHOWN]
        if len(some) > _SHOWN:
            found.append(f"… and {len(some) - _SHOWN} more like the last one")
    return found


# -- what went in ----------------------------------------------------------------------------------------------------


def _inputs(evidence: Evidence) -> Iterator[str]:
    """Each acknowledged record is there, at home, as often as it was sent: passed on once if it came astray."""
    there: Counter[Sent] = Counter()
    for place, line in _lines(evidence.final, topics.INPUTS):
        if evidence.homes[line.value] in (None, place.partition):
            there[Sent(place.topic, line.value)] += 1
    for sent in {**there, **evidence.acknowledged}:
        least = evidence.acknowledged[sent]
        if not least <= there[sent] <= least + evidence.unsure[sent]:
            yield f"{sent.topic}: {_short(sent.value)} was acknowledged {least} times and is there {there[sent]} times"


# -- the trade -------------------------------------------------------------------------------------------------------


def _audited(evidence: Evidence) -> list[str]:
    """The auditor's findings: opening + payments - charges = closing, by what was sent and by what was published; each
    id once, nothing held that is not there."""
    inputs = []
    account_homes: dict[str, int] = {}
    for place, line in _lines(evidence.final, topics.INPUTS):
        if evidence.homes[line.value] not in (None, place.partition):
            continue
        event = _json(line.value)
        if event is None:
            continue
        inputs.append(event)
        if isinstance(account_id := event.get("account_id"), str) and evidence.homes[line.value] is not None:
            account_homes[account_id] = place.partition
    positions = {partition: _last_position(evidence, partition) for partition in range(evidence.partitions)}
    return audit(
        inputs,
        _published(evidence, topics.CALL_DECISIONS.name),
        _published(evidence, topics.RATED_CDRS.name),
        _published(evidence, topics.REJECTED_EVENTS.name),
        _published(evidence, topics.ACCOUNT_BALANCES.name),
        _published(evidence, topics.ACCOUNT_MOVEMENTS.name),
        dict(evidence.opening),
        _published(evidence, topics.NUMBER_NCV.name),
        dict(evidence.number_status),
        lambda account_id: positions[account_homes[account_id]].clock_us if account_id in account_homes else 0,
    )


def _bad_bytes(evidence: Evidence) -> Iterator[str]:
    """What can't be read is rejected once, wherever it came."""
    rejected = Counter(
        (event["topic"], event["partition"], event["offset"])
        for event in _published(evidence, topics.REJECTED_EVENTS.name)
    )
    for place, line in _lines(evidence.final, topics.INPUTS):
        times = rejected[place.topic, place.partition, line.offset]
        if times > 1 or (times != 1 and line.value in evidence.malformed):
            yield f"{place.topic}-{place.partition}@{line.offset}: rejected {times} times"


# -- how far it has come ---------------------------------------------------------------------------------------------


def _positions(evidence: Evidence) -> Iterator[str]:
    """Positions never go back, each one's checksum covers all changes before it, and the last one is the inputs' end,
    for the changelog and for the group."""
    for partition in range(evidence.partitions):
        digest = 0
        stood: dict[str, int] = {}
        for line in evidence.seen.get(Place(topics.ENGINE_STATE.name, partition), ()):
            where = f"engine-state-{partition}@{line.offset}"
            if line.key != POSITION_KEY:
                digest = crc32(line.value or b"", crc32(line.key or b"", digest))
                continue
            position = position_in(line.value or b"")
            if back := [topic for topic, offset in stood.items() if position.next_offsets.get(topic, 0) < offset]:
                yield f"{where}: the position of {back[0]} goes back"
            if position.digest != digest:
                yield f"{where}: the checksum is not that of the changes before it"
                digest = position.digest
            stood = position.next_offsets
        last = _last_position(evidence, partition)
        for topic in topics.INPUTS:
            place = Place(topic.name, partition)
            lines = evidence.final.get(place, ())
            end = lines[-1].offset + 1 if lines else 0
            told = (last.next_offsets.get(topic.name, 0), evidence.group_offsets.get(place, 0))
            if told != (end, end):
                yield f"{place.topic}-{partition} ends at {end}; changelog and group stand at {told[0]} and {told[1]}"


def _last_position(evidence: Evidence, partition: int) -> Position:
    for line in reversed(evidence.final.get(Place(topics.ENGINE_STATE.name, partition), ())):
        if line.key == POSITION_KEY:
            return position_in(line.value or b"")
    return Position({}, 0, 0)


# -- the state that is kept ------------------------------------------------------------------------------------------


def _changelogs(evidence: Evidence) -> Iterator[str]:
    """Balances and holds in the changelog are those last published, and a held sum is that of the calls that hold."""
    for partition in range(evidence.partitions):
        folded = _folded(evidence.final.get(Place(topics.ENGINE_STATE.name, partition), ()))
        accounts: dict[str, Json] = {}
        attempts: dict[str, str | None] = {}
        holds: dict[str, list[Any]] = {}
        for key, value in folded.items():
            kind, _, name = (key or b"").decode().partition("/")
            if kind == "a":
                accounts[name] = msgspec.msgpack.decode(value)
            elif kind == "c":
                attempts[name] = msgspec.msgpack.decode(value)["attempt"].get("account_id")
            elif kind == "h":
                holds[name] = msgspec.msgpack.decode(value)
        yield from _balances(evidence, partition, accounts)
        held: defaultdict[str | None, int] = defaultdict(int)
        running: Counter[str | None] = Counter()
        for name, (_, phase, _, hold_micros, _, _, counted, *_) in holds.items():
            if name not in attempts:
                yield f"engine-state-{partition}: the call {name} has a hold and no attempt"
            elif phase == "running":
                held[attempts[name]] += hold_micros
                running[attempts[name]] += counted  # emergency calls are not
        for account_id, account in accounts.items():
            if account["held_micros"] != held[account_id] or account["running"] != running[account_id]:
                yield (
                    f"engine-state-{partition}: account {account_id} holds {account['held_micros']} micros for "
                    f"{account['running']} calls; its {running[account_id]} calls hold {held[account_id]}"
                )


def _balances(evidence: Evidence, partition: int, accounts: dict[str, Json]) -> Iterator[str]:
    published = _folded(evidence.final.get(Place(topics.ACCOUNT_BALANCES.name, partition), ()))
    last = {(key or b"").decode(): json.loads(value) for key, value in published.items()}
    for account_id in {**accounts, **last}:
        kept, told = accounts.get(account_id), last.get(account_id)
        if kept is None or told is None:
            where = "only in the changelog" if told is None else "published, and not in the changelog"
            # One that was only looked at is as it was opened.
            if kept is None or kept["balance_micros"] != evidence.opening[account_id]["balance_micros"]:
                yield f"account {account_id}: its balance is {where}"
            continue
        for field in ("balance_micros", "held_micros", "status"):
            if kept[field] != told[field]:
                yield f"account {account_id}: {field} is {kept[field]} in the changelog, {told[field]} published"


# -- who read all along ----------------------------------------------------------------------------------------------


def _readers(evidence: Evidence) -> Iterator[str]:
    """Who watched all along saw what is there at the end, in the same order."""
    for topic in (*topics.INPUTS, *_PUBLISHED):
        for partition in range(evidence.partitions):
            place = Place(topic.name, partition)
            seen, final = list(evidence.seen.get(place, ())), list(evidence.final.get(place, ()))
            if seen == final:
                continue
            compacted = "compact" in topic.policy and {*final} <= {*seen} and _folded(seen) == _folded(final)
            if not compacted or [*map(_offset, final)] != sorted(map(_offset, final)):
                yield (
                    f"{place.topic}-{partition}: the concurrent reader saw {len(seen)} records, "
                    f"there are {len(final)}: {_difference(seen, final)}"
                )


def _difference(seen: list[Line], final: list[Line]) -> str:
    for one, other in zip(seen, final, strict=False):
        if one != other:
            return f"it saw offset {one.offset} where {other.offset} is"
    return f"they agree up to offset {min(seen, final, key=len)[-1].offset if seen and final else 0}"


# -- small helpers ---------------------------------------------------------------------------------------------------


def _lines(books: Books, which: Iterable[Any]) -> Iterator[tuple[Place, Line]]:
    names = {topic.name for topic in which}
    for place in sorted(books):
        if place.topic in names:
            for line in books[place]:
                yield place, line


def _published(evidence: Evidence, topic: str) -> list[Json]:
    return [
        json.loads(line.value or b"")
        for partition in range(evidence.partitions)
        for line in evidence.final.get(Place(topic, partition), ())
    ]


def _json(value: bytes | None) -> Json | None:
    try:
        event = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _folded(lines: Iterable[Line]) -> dict[bytes | None, bytes]:
    return {key: value for key, value in {line.key: line.value for line in lines}.items() if value is not None}


def _offset(line: Line) -> int:
    return line.offset


def _short(value: bytes | None) -> str:
    return "an empty record" if value is None else repr(value[:120])
