"""What must hold when a simulation has ended. Each check gives findings, one sentence each; none means all is well.

The auditor rebuilds the trade from records alone. The checks here hold the parts of the machine against each other:
outputs, changelog, positions, live state, and what an independent reader saw all along.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar
from zlib import crc32

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from connectors.broker import Message, Record, TopicPartition
from connectors.partition_task import PartitionTask
from engine.accounts import balance, opened
from engine.again import decide_again, extend_again, rate_again
from engine.changelog import POSITION, PositionRecord, decode_position
from engine.partition import Partition
from engine.reference import Reference
from schemas import topics
from schemas.codec import UNREADABLE, decode_decision, decode_event, encode
from schemas.decisions import CallDecision
from schemas.events import CallAttempt, CallExtension, Cdr, Event
from schemas.rated import RatedCdr
from tests.models.auditor import audit

from .fleet import GROUP
from .reader import WATCHED
from .world import Run, new_broker

_E = TypeVar("_E", bound=Event)
_LONGEST = 300  # characters of a value in a finding; enough to see what it is


def findings(run: Run) -> list[str]:
    """All that is wrong with a run."""
    found = [*run.broken, *_audit(run), *_bad_bytes(run), *_reader(run), *_positions(run), *_digests(run)]
    found += _states(run, "restored")
    found += _made_again(run)
    found += asyncio.run(_replayed(run))
    # Compaction takes away what nobody needs: this is the last look, as it changes the topic.
    run.broker.compact(topics.ENGINE_STATE.name)
    found += _states(run, "restored after compaction")
    return found


# The trade's own books


def _audit(run: Run) -> list[str]:
    return audit(
        [record for topic in topics.INPUTS for record in _taken_in(run, topic.name)],
        _published(run, topics.CALL_DECISIONS.name),
        _published(run, topics.RATED_CDRS.name),
        _published(run, topics.REJECTED_EVENTS.name),
        _published(run, topics.ACCOUNT_BALANCES.name),
        _published(run, topics.ACCOUNT_MOVEMENTS.name),
        run.company.opening(),
        _published(run, topics.NUMBER_NCV.name),
        run.company.number_status(),
        lambda account_id: _clock_us(run, account_id),
    )


def _taken_in(run: Run, topic: str) -> Iterator[dict[str, Any]]:
    """The inputs as the owners of their partitions got them."""
    for partition in range(run.partitions):
        for record in run.broker.committed(topic, partition):
            home = run.stream.homes[record.value]
            if home is None or home == partition:
                try:
                    event = json.loads(record.value or b"")
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event


def _published(run: Run, topic: str) -> list[dict[str, Any]]:
    return [
        json.loads(record.value or b"")
        for partition in range(run.partitions)
        for record in run.broker.committed(topic, partition)
    ]


def _clock_us(run: Run, account_id: str) -> int:
    for engine in run.live.values():
        if account_id in engine.accounts:
            return engine.clock_us
    return 0


def _bad_bytes(run: Run) -> Iterator[str]:
    """What can't be read is rejected once, wherever it came."""
    rejected = Counter(
        (event["topic"], event["partition"], event["offset"])
        for event in _published(run, topics.REJECTED_EVENTS.name)
        if event["reason"] == "malformed"
    )
    for topic in topics.INPUTS:
        for partition in range(run.partitions):
            for record in run.broker.committed(topic.name, partition):
                times = rejected[topic.name, partition, record.offset]
                # A payment of nothing can be read, and is called malformed all the same.
                if record.value in run.stream.malformed and times != 1:
                    yield f"bad bytes at {topic.name}-{partition}@{record.offset}: rejected {times} times"


# Positions


def _positions(run: Run) -> Iterator[str]:
    """The group's offsets, the changelog's position and the end of the inputs are one."""
    for partition in range(run.partitions):
        _, position = _changelog(run, partition)
        for topic in topics.INPUTS:
            place = TopicPartition(topic.name, partition)
            inputs = run.broker.committed(*place)
            end = inputs[-1].offset + 1 if inputs else 0
            told = (run.broker.committed_offset(GROUP, place) or 0, position.next_offsets.get(topic.name, 0))
            if told != (end, end):
                yield f"{topic.name}-{partition}: group and changelog stand at {told}, the input ends at {end}"


def _digests(run: Run) -> Iterator[str]:
    """Each position's digest covers all changes before it, and no position goes back."""
    for partition in range(run.partitions):
        digest, stood = 0, dict.fromkeys((topic.name for topic in topics.INPUTS), 0)
        for record in _changes_seen(run, partition):
            if record.key != POSITION:
                digest = crc32(record.value or b"", crc32(record.key or b"", digest))
                continue
            position = decode_position(record.value or b"")
            if position.digest != digest:
                yield f"engine-state-{partition}@{record.offset}: the digest does not follow from the changes before"
                break
            if any(position.next_offsets[topic] < offset for topic, offset in stood.items()):
                yield f"engine-state-{partition}@{record.offset}: the position goes back"
                break
            stood = position.next_offsets


def _changes_seen(run: Run, partition: int) -> list[Record]:
    return run.reader.seen[TopicPartition(topics.ENGINE_STATE.name, partition)]


# State


def _states(run: Run, how: str) -> Iterator[str]:
    """The changelog, folded, restores what the owner has, and the balances and counters last published are its own."""
    for partition in range(run.partitions):
        restored = Partition(run.company.settings, run.company.reference())
        records, position = _changelog(run, partition)
        try:
            restored.restore(records, position.clock_us)
        except (AssertionError, KeyError) as error:
            yield f"partition {partition}, {how}: {error!r}"
            continue
        if (live := run.live.get(partition)) is not None:
            yield from _differences(f"partition {partition}, {how}", _state(restored), _state(live))
        yield from _facts(run, partition, restored)


def _facts(run: Run, partition: int, engine: Partition) -> Iterator[str]:
    accounts = engine.reference.accounts
    expected = {
        account_id.encode(): encode(balance(state, accounts[account_id]))
        for account_id, state in engine.accounts.items()
    }
    yield from _differences("last balances", _last(run, topics.ACCOUNT_BALANCES.name, partition), expected)
    counters = {f"{number}/{day}".encode(): encode(c.fact()) for (number, day), c in engine.counters.items()}
    yield from _differences("last counters", _last(run, topics.NUMBER_NCV.name, partition), counters)


def _last(run: Run, topic: str, partition: int) -> dict[Any, Any]:
    return {record.key: record.value for record in run.broker.committed(topic, partition)}


def _changelog(run: Run, partition: int) -> tuple[dict[bytes, bytes], PositionRecord]:
    """The changelog of a partition, folded, and its position."""
    folded: dict[bytes, bytes] = {}
    for record in run.broker.committed(topics.ENGINE_STATE.name, partition):
        assert record.key is not None
        if record.value is None:
            folded.pop(record.key, None)
        else:
            folded[record.key] = record.value
    last = folded.pop(POSITION, None)
    return folded, PositionRecord({}, 0, b"") if last is None else decode_position(last)


def _state(engine: Partition) -> dict[object, object]:
    """All of an engine's state that its rules look at, by name."""
    state: dict[object, object] = {"clock": engine.clock_us}
    for account_id, account in engine.accounts.items():
        # One that was only looked at is as it was opened, and need not be kept.
        if account != opened(engine.reference.accounts[account_id]):
            state["account", account_id] = account
    for attempt_id, call in engine.calls.items():
        state["call", attempt_id] = replace(call, offer=None)
    for key, counter in engine.counters.items():
        # A compiled class has no `__slots__`.
        fields = [name for name in vars(type(counter)) if not name.startswith("_") and name not in ("add", "fact")]
        state["counter", key] = {name: getattr(counter, name) for name in fields}
    state |= {("cdr", cdr_id): seen for cdr_id, seen in engine._seen_cdrs.items()}
    state |= {("command", command_id): seen for command_id, seen in engine._seen_commands.items()}
    return state


def _differences(what: str, found: dict[Any, Any], expected: dict[Any, Any]) -> Iterator[str]:
    """The first difference, in as few words as it takes."""
    for key in {**expected, **found}:
        one, other = found.get(key), expected.get(key)
        if one == other:
            continue
        if isinstance(one, Struct) and isinstance(other, Struct):
            fields = [field for field in one.__struct_fields__ if getattr(one, field) != getattr(other, field)]
            one, other = ({field: getattr(value, field) for field in fields} for value in (one, other))
        yield f"{what}: {key} is {_short(one)}, not {_short(other)}"
        return


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


# The past


def _made_again(run: Run) -> Iterator[str]:
    """Each decision and each rated CDR is made again, byte for byte, from its event, what was published, and the
    reference data, of which a simulation has one version."""
    reference = run.company.reference()
    for partition in range(run.partitions):
        events = _events_by_id(run, partition)
        calls = _calls(run, partition)
        for record in run.broker.committed(topics.CALL_DECISIONS.name, partition):
            decision = decode_decision(record.value or b"")
            told = calls[decision.attempt_id][: decision.extension or 0]
            try:
                made = [*_decided_again(run, reference, decision, told, events[decision.attempt_id])]
            except AssertionError as error:
                yield f"decision {_short(record.value)}, made again: {error!r}"
                continue
            if record.value not in made:
                yield f"decision {_short(record.value)} can't be made again"
        for record in run.broker.committed(topics.RATED_CDRS.name, partition):
            rated = _decode_rated(record.value or b"")
            attempts = _only(CallAttempt, events[rated.attempt_id or ""]) if rated.no_attempt is not True else [None]
            first = calls[rated.attempt_id or ""][:1]
            bills = [
                rate_again(run.company.settings, lambda _: reference, cdr, rated, attempt, *first)
                for cdr in _only(Cdr, events[rated.cdr_id])
                for attempt in attempts
            ]
            if record.value not in [encode(bill) for bill in bills if isinstance(bill, RatedCdr)]:
                yield f"rated CDR {_short(record.value)} can't be made again"


def _decided_again(
    run: Run, reference: Reference, decision: CallDecision, told: list[CallDecision], events: list[Event]
) -> Iterator[bytes]:
    """The decision of each attempt, or request, of its id; of these, one content was accepted."""
    settings = run.company.settings
    for attempt in _only(CallAttempt, events):
        if not decision.extension:
            yield encode(decide_again(settings, lambda _: reference, attempt, decision))
            continue
        for request in _only(CallExtension, events):
            yield encode(extend_again(settings, lambda _: reference, attempt, told, request, decision))


def _only(kind: type[_E], events: list[Event]) -> list[_E]:
    return [event for event in events if isinstance(event, kind)]


def _events_by_id(run: Run, partition: int) -> dict[str, list[Event]]:
    """What the partition's owners took in, by the id of its attempt or CDR; some of it was rejected."""
    found: dict[str, list[Event]] = defaultdict(list)
    for topic in (topics.CALL_ATTEMPTS.name, topics.CDRS.name):
        for record in run.broker.committed(topic, partition):
            if run.stream.homes[record.value] in (None, partition):
                try:
                    event = decode_event(record.value or b"")
                except UNREADABLE:
                    continue
                if isinstance(event, CallAttempt | CallExtension | Cdr):
                    found[event.cdr_id if isinstance(event, Cdr) else event.attempt_id].append(event)
    return found


def _calls(run: Run, partition: int) -> dict[str, list[CallDecision]]:
    """The decisions of each call, that on its attempt first, without those that were only repeated."""
    found: dict[str, list[CallDecision]] = defaultdict(list)
    for record in run.broker.committed(topics.CALL_DECISIONS.name, partition):
        decision = decode_decision(record.value or b"")
        if decision.repeated is not True:
            found[decision.attempt_id].append(decision)
    return found


_decode_rated = Decoder(RatedCdr).decode


# Readers


def _reader(run: Run) -> Iterator[str]:
    """Who reads committed records all along sees what who reads at the end does, in the same order."""
    for topic in WATCHED:
        for partition in range(run.partitions):
            seen = run.reader.seen[TopicPartition(topic.name, partition)]
            final = run.broker.committed(topic.name, partition)
            if topic.policy == "delete":
                if seen != final:
                    yield f"{topic.name}-{partition}: a concurrent reader saw something else than is there now"
            elif _folded(seen) != _folded(final) or not {*final} <= {*seen}:
                yield f"{topic.name}-{partition}: after compaction it is not what a concurrent reader saw"


def _folded(records: list[Record]) -> dict[bytes | None, bytes]:
    return {key: value for key, value in {r.key: r.value for r in records}.items() if value is not None}


# Replay


async def _replayed(run: Run) -> list[str]:
    """The same batches, worked off once and without a break, give the same records, byte for byte."""
    found: list[str] = []
    broker = new_broker(run.partitions)
    for partition in range(run.partitions):
        engine = Partition(run.company.settings, run.company.reference())
        task = PartitionTask(broker, GROUP, partition, run.partitions, engine)
        await task.take()
        try:
            for batch in _batches(run, partition):
                await task.process(batch)
        except AssertionError as error:
            found.append(f"partition {partition}, replayed: {error!r}")
        if (live := run.live.get(partition)) is not None:
            found += _differences(f"partition {partition}, replayed", _state(engine), _state(live))
    for topic in WATCHED:
        for partition in range(run.partitions):
            place = TopicPartition(topic.name, partition)
            found += _first_difference(place, run.reader.seen[place], broker.committed(*place))
    produced = Counter(sending for stage in run.stream.stages for sending in stage)
    there, due = _inputs(run.broker.committed, run.partitions), _inputs(broker.committed, run.partitions)
    if there != due + produced:
        found.append(f"forwarded: {there - due - produced} too many, {due + produced - there} too few")
    return found


def _batches(run: Run, partition: int) -> Iterator[list[Record]]:
    """The records of each committed batch, in the order in which they were worked off."""
    inputs = {topic.name: run.broker.committed(topic.name, partition) for topic in topics.INPUTS}
    stood: dict[str, int] = {}
    for record in _changes_seen(run, partition):
        if record.key != POSITION:
            continue
        position = decode_position(record.value or b"").next_offsets
        batch = [
            event
            for topic, events in inputs.items()
            for event in events
            if stood.get(topic, 0) <= event.offset < position[topic]
        ]
        yield sorted(batch, key=_arrival)
        stood = position


def _arrival(record: Record) -> int:
    return record.arrival


def _inputs(committed: Any, partitions: int) -> Counter[Any]:
    return Counter(
        (topic.name, partition, Message(record.key, record.value, record.timestamp_us))
        for topic in topics.INPUTS
        for partition in range(partitions)
        for record in committed(topic.name, partition)
    )


def _first_difference(place: TopicPartition, seen: list[Record], due: list[Record]) -> Iterator[str]:
    for i in range(max(len(seen), len(due))):
        one = seen[i][3:6] if i < len(seen) else None
        other = due[i][3:6] if i < len(due) else None
        if one != other:
            what = f"{place.topic}-{place.partition}, replayed"
            yield f"{what}: record {i} was {_short(one)}, and is {_short(other)}"
            return
