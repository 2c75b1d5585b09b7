"""The checker of the record: is each thing that the office was told is done in force, once, and everywhere the same?

It shares no code with the product beyond decoding. What the engine alone must hold, the engine's checker says
(`tests/faults/checker.py`); here topics, tables and the office's memory are held against each other. Each finding is a
sentence with its ids.
"""

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from schemas import topics
from tests.faults.checker import check as check_topics

from .evidence import OFFICE, Evidence, command_id, lines_of
from .office import PRICED_LIST

Json = dict[str, Any]

_SHOWN = 5  # findings of a kind; hundreds say no more
_SIGNS = {"payment": 1, "top_up": 1, "write_off": -1}
_AGAINST = {"opening": "opening", "payment": "cash", "top_up": "top_up", "write_off": "write_off"}
_READABLE = ("call_attempt", "call_extension", "call_release")


def check(evidence: Evidence) -> list[str]:
    """All that is wrong, one sentence each; none means all is well."""
    found = check_topics(evidence.base)
    for findings in (
        _orders(evidence),
        _rows(evidence),
        _summed_up(evidence),
        _books(evidence),
        _outbox(evidence),
        _locks(evidence),
        _in_force(evidence),
        _prices(evidence),
        _audit(evidence),
        _positions(evidence),
    ):
        some = list(findings)
        found += some[:_SHOWN]
        if len(some) > _SHOWN:
            found.append(f"… and {len(some) - _SHOWN} more like the last one")
    return found


# -- what the office ordered -----------------------------------------------------------------------------------------


def _orders(evidence: Evidence) -> Iterator[str]:
    """Each order that was acknowledged came to the engine once and moved its account once; one whose answer was lost
    did so too, or is nowhere; and nothing came that nobody ordered."""
    sent: defaultdict[str, list[Json]] = defaultdict(list)
    for _, line in lines_of(evidence, topics.ACCOUNT_COMMANDS.name):
        if (name := command_id(line.value)).startswith(OFFICE):
            sent[name].append(json.loads(line.value))
    moved: defaultdict[str, list[Json]] = defaultdict(list)
    for movement in _events(evidence, topics.ACCOUNT_MOVEMENTS.name):
        if (movement["command_id"] or "").startswith(OFFICE):
            moved[movement["command_id"]].append(movement)
    refused = Counter(
        command_id(base64.b64decode(event["payload"])) for event in _events(evidence, topics.REJECTED_EVENTS.name)
    )
    entered = {row[0]: row for row in evidence.tables["commands"]}
    for name in sorted({*sent, *moved, *entered} - evidence.orders.keys()):
        yield f"order {name}: nobody has given it"
    for name, order in evidence.orders.items():
        times = (len(sent[name]), len(moved[name]), refused[name], int(name in entered))
        if times == (0, 0, 0, 0) and not order.sure:
            continue
        if times != (1, 1, 0, 1):
            yield (
                f"order {name} ({'acknowledged' if order.sure else 'its answer was lost'}): sent {times[0]} times, "
                f"moved its account {times[1]} times, rejected {times[2]} times, in the record {times[3]} times"
            )
            continue
        wanted = (order.kind, order.account_id, order.amount_micros)
        (was_sent,), (has_moved,) = sent[name], moved[name]
        amount = has_moved["amount_micros"] * _SIGNS[order.kind]
        for where, told in (
            ("sent", (was_sent["type"], was_sent["account_id"], was_sent["amount_micros"])),
            ("moved", (has_moved["kind"], has_moved["account_id"], amount)),
            ("in the record", entered[name][1:4]),
        ):
            if told != wanted:
                yield f"order {name}: {wanted} was ordered, {told} {where}"
        if entered[name][4] != "applied":
            yield f"order {name}: the engine has carried it out, and the record says {entered[name][4]}"


# -- rows and records ------------------------------------------------------------------------------------------------


def _rows(evidence: Evidence) -> Iterator[str]:
    """Each record of a topic is one row, with its very bytes, and each row is one record."""
    for topic, table in (
        (topics.CALL_DECISIONS.name, "decisions"),
        (topics.RATED_CDRS.name, "rated_cdrs"),
        (topics.ACCOUNT_MOVEMENTS.name, "movements"),
    ):
        there = [(place.partition, line.offset, line.value) for place, line in lines_of(evidence, topic)]
        yield from _unlike(table, there, evidence.tables[table])
    readable = [
        (place.partition, line.offset, line.value)
        for place, line in lines_of(evidence, topics.CALL_ATTEMPTS.name)
        if _is_readable(line)
    ]
    yield from _unlike("attempts", readable, evidence.tables["attempts"])
    rejected = [
        (
            place.partition,
            line.offset,
            event["topic"],
            event["partition"],
            event["offset"],
            event["reason"],
            base64.b64decode(event["payload"]),
        )
        for place, line in lines_of(evidence, topics.REJECTED_EVENTS.name)
        for event in (json.loads(line.value),)
    ]
    yield from _unlike("rejected", rejected, evidence.tables["rejected"])
    notices = [
        (
            place.partition,
            line.offset,
            event["kind"],
            event["account_id"],
            event["balance_micros"],
            event["limit_micros"],
        )
        for place, line in lines_of(evidence, topics.NOTICES.name)
        for event in (json.loads(line.value),)
    ]
    yield from _unlike("notices", notices, evidence.tables["notices"])


def _is_readable(line: Any) -> bool:
    """Whether it is an event of a switch with a moment: what is not, stands among the rejected alone."""
    try:
        event = json.loads(line.value or b"")
        return event["type"] in _READABLE and datetime.fromisoformat(event["at"]).tzinfo is not None
    except (ValueError, RecursionError, TypeError, KeyError):
        return False


def _unlike(table: str, there: Iterable[tuple[Any, ...]], rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    records, stored = Counter(map(_hashable, there)), Counter(map(_hashable, rows))
    for record, times in (records - stored).items():
        yield f"facts.{table}: {_short(record)} is on its topic {times} times more than in the table"
    for row, times in (stored - records).items():
        yield f"facts.{table}: {_short(row)} is in the table {times} times more than on its topic"


def _summed_up(evidence: Evidence) -> Iterator[str]:
    """Balances and counters are those last published."""
    balances = {
        event["account_id"]: (event["balance_micros"], event["held_micros"], event["running_calls"], event["status"])
        for event in _events(evidence, topics.ACCOUNT_BALANCES.name)
    }
    counters = {
        (event["number"], event["day"]): (event["calls"], event["unique_callers"])
        for event in _events(evidence, topics.NUMBER_NCV.name)
    }
    for table, last, rows in (
        ("balances", balances, {row[0]: row[1:] for row in evidence.tables["balances"]}),
        ("ncv", counters, {row[:2]: row[2:] for row in evidence.tables["ncv"]}),
    ):
        for key in sorted({*last, *rows}, key=str):
            if last.get(key) != rows.get(key):  # type: ignore[arg-type,call-overload]
                told, stands = last.get(key), rows.get(key)  # type: ignore[arg-type,call-overload]
                yield f"facts.{table}: {key} stands at {stands}, last published was {told}"


# -- the books -------------------------------------------------------------------------------------------------------


def _books(evidence: Evidence) -> Iterator[str]:
    """Each movement and each charge is posted once, to the right side; postings come to the balances published."""
    due: Counter[Hashable] = Counter()
    for place, line in lines_of(evidence, topics.ACCOUNT_MOVEMENTS.name):
        event = json.loads(line.value)
        if (amount := event["amount_micros"]) and (against := _AGAINST.get(event["kind"])):
            sides = _sides(("client", event["account_id"]), (against, ""), amount)
            cause = (event["kind"], event["command_id"] or event["account_id"], event["account_id"])
            due[place.partition, line.offset, *cause, abs(amount), event["balance_after_micros"], *sides] += 1
    for place, line in lines_of(evidence, topics.RATED_CDRS.name):
        event = json.loads(line.value)
        cause = ("rated_cdr", event["cdr_id"])
        if event["retail"] and (amount := event["retail"]["amount_micros"]):
            sides = _sides(("client", event["account_id"]), ("revenue", event["service"]), -amount)
            after = event["balance_after_micros"]
            due[place.partition, line.offset, *cause, event["account_id"], abs(amount), after, *sides] += 1
        if event["wholesale"] and (amount := event["wholesale"]["amount_micros"]):
            sides = _sides(("payable", event["provider_id"]), ("cost", event["service"]), amount)
            due[place.partition, line.offset, *cause, None, abs(amount), None, *sides] += 1
    posted: Counter[Hashable] = Counter(evidence.tables["transfers"])
    for posting, times in (due - posted).items():
        yield f"books: {posting} is due {times} times more than it is posted"
    for posting, times in (posted - due).items():
        yield f"books: {posting} is posted {times} times more than is due"
    sums: Counter[str] = Counter()
    for *_, amount, _, debit_kind, debit_owner, credit_kind, credit_owner in evidence.tables["transfers"]:
        sums[credit_owner] += amount * (credit_kind == "client")
        sums[debit_owner] -= amount * (debit_kind == "client")
    last = {event["account_id"]: event["balance_micros"] for event in _events(evidence, topics.ACCOUNT_BALANCES.name)}
    for account_id, balance in last.items():
        if sums[account_id] != balance:
            yield f"books: the postings of account {account_id} come to {sums[account_id]}, its balance is {balance}"


def _sides(own: tuple[str, str], against: tuple[str, str], amount: int) -> tuple[str, str, str, str]:
    """Debit and credit; what is above zero is to the credit of the first."""
    debit, credit = (against, own) if amount > 0 else (own, against)
    return (*debit, *credit)


# -- from the record to the engine -----------------------------------------------------------------------------------


def _outbox(evidence: Evidence) -> Iterator[str]:
    """Everything was published, in the order of the commits, what was changed together as one version."""
    rows = evidence.tables["outbox"]
    for seq, (row, *_) in enumerate(rows, 1):
        if row != seq:
            yield f"outbox: row {row} stands where {seq} is due"
            break
    versions: list[int] = []
    of_change: defaultdict[int, set[int]] = defaultdict(set)
    ordered: list[tuple[str, Json]] = []
    for seq, change_id, kind, key, payload, version, published in rows:
        if not published:
            yield f"outbox: row {seq} ({kind} {key}) was never published"
        elif kind == "command":
            ordered.append((key, json.loads(payload)))
        elif version is not None:
            if kind != "price_list":  # those of later moments wait for them
                versions.append(version)
            of_change[change_id].add(version)
    if any(later < earlier for earlier, later in pairwise(versions)):
        yield "outbox: rows were published in another order than they were saved in"
    for change_id, found in of_change.items():
        if len(found) > 1:
            yield f"outbox: change {change_id} came into force in pieces, as versions {sorted(found)}"
    published_versions = evidence.reference.versions
    if published_versions != list(range(1, len(published_versions) + 1)):
        yield f"reference: its versions are not 1, 2, 3, …: {_gap(published_versions)}"
    if beyond := {version for found in of_change.values() for version in found} - {*published_versions}:
        yield f"outbox: versions {sorted(beyond)[:5]} are not on the topic reference"
    yield from _order_of_commands(evidence, ordered)


def _gap(versions: list[int]) -> str:
    return next((f"{after} follows {before}" for before, after in pairwise([0, *versions]) if after != before + 1), "")


def _order_of_commands(evidence: Evidence, ordered: list[tuple[str, Json]]) -> Iterator[str]:
    """An account's commands came in the order in which they were saved, with the content that was saved."""
    saved: defaultdict[str, list[Json]] = defaultdict(list)
    for account_id, command in ordered:
        saved[account_id].append(command)
    came: defaultdict[str, list[Json]] = defaultdict(list)
    for _, line in lines_of(evidence, topics.ACCOUNT_COMMANDS.name):
        if command_id(line.value).startswith(OFFICE):
            command = json.loads(line.value)
            came[command["account_id"]].append(command)
    for account_id in sorted({*saved, *came}):
        if saved[account_id] != came[account_id]:
            ids = [[one["command_id"] for one in some[account_id]] for some in (saved, came)]
            where = next(
                (i for i, (one, other) in enumerate(zip(*ids, strict=False)) if one != other), min(map(len, ids))
            )
            yield (
                f"commands of account {account_id}: saved were {ids[0][where : where + 3]} from the {where}th on, "
                f"and {ids[1][where : where + 3]} came"
            )


def _locks(evidence: Evidence) -> Iterator[str]:
    """Locks in force by the record are those on the topic `reference`, and what the office was told of them is so."""
    names = ("lock_id", "kind", "digits", "account_id", "provider_id", "author", "reason")
    record = {row[0]: row for row in evidence.tables["locks"]}
    topic = {
        key.partition("/")[2]: tuple(json.loads(value)[name] for name in names)
        for key, value in evidence.reference.latest.items()
        if key.startswith("lock/") and value is not None
    }
    for lock_id in sorted({*record, *topic}):
        if record.get(lock_id) != topic.get(lock_id):
            yield f"lock {lock_id}: the record has {record.get(lock_id)}, the engine's topic {topic.get(lock_id)}"
    for lock in evidence.locks.values():
        there = record.get(lock.lock_id)
        if (lock.state == "set" and there is None) or (lock.state == "lifted" and there is not None):
            yield f"lock {lock.lock_id}: the office was told that it is {lock.state}, and the record says {there}"
        elif there is not None and there[1:4] != (lock.kind, lock.digits, lock.account_id):
            yield f"lock {lock.lock_id}: {lock} was set, the record says {there}"


def _in_force(evidence: Evidence) -> Iterator[str]:
    """The engines deny a call for a lock exactly where the record has it."""
    in_force = {row[0] for row in evidence.tables["locks"]}
    told = _answers(evidence)
    for asked in evidence.asked:
        if asked.about == "price":
            continue
        decision = told.get(asked.attempt_id)
        if decision is None:
            yield f"{asked.attempt_id}: a call to {asked.called} was never decided"
            continue
        named = {reason.get("lock_id") for reason in decision["reasons"]}
        if (asked.about in named) != (asked.about in in_force):
            stands = "in force" if asked.about in in_force else "not in force"
            yield (
                f"lock {asked.about} is {stands} by the record, and a call of account {asked.account_id} to "
                f"{asked.called} was decided by {sorted(name for name in named if name)}"
            )


def _prices(evidence: Evidence) -> Iterator[str]:
    """Calls are sold at the last price that was published."""
    sure = max(place for place, price in enumerate(evidence.prices) if price.sure)
    may_be = {price.price_micros for price in evidence.prices[sure:]}
    told = _answers(evidence)
    for asked in evidence.asked:
        if asked.about != "price":
            continue
        decision = told.get(asked.attempt_id)
        retail = None if decision is None else decision["retail"]
        if retail is None or retail["price_list_id"] != PRICED_LIST or retail["price_micros"] not in may_be:
            yield f"{asked.attempt_id}: sold by {retail}, the last price is one of {sorted(may_be)}"


def _answers(evidence: Evidence) -> dict[str, Json]:
    return {event["attempt_id"]: event for event in _events(evidence, topics.CALL_DECISIONS.name)}


# -- the record by itself --------------------------------------------------------------------------------------------


def _audit(evidence: Evidence) -> Iterator[str]:
    """The audit is a chain without a gap, and has a word of everything that the office was told is done."""
    before = bytes(32)
    words: set[tuple[str, str, str]] = set()
    for place, (seq, prev_hash, digest, text, entity, entity_id, action) in enumerate(evidence.tables["audit"], 1):
        words.add((entity, entity_id, action))
        if seq != place:
            yield f"audit: row {seq} stands where {place} is due"
            return
        if prev_hash != before or hashlib.sha256(prev_hash + text.encode()).digest() != digest:
            yield f"audit: row {seq} does not vouch for what it says, or for the row before it"
        before = digest
    for order in evidence.orders.values():
        if order.sure and ("command", order.command_id, "ordered") not in words:
            yield f"audit: nothing is said of order {order.command_id}"
    for lock in evidence.locks.values():
        if lock.state in ("set", "lifted") and ("lock", lock.lock_id, lock.state) not in words:
            yield f"audit: nothing is said of lock {lock.lock_id} being {lock.state}"


def _positions(evidence: Evidence) -> Iterator[str]:
    """The projectors came to the ends of the topics, past nothing and with nothing laid aside."""
    stood = {row[:2]: row[2] for row in evidence.tables["offsets"]}
    for (topic, partition), next_offset in stood.items():
        lines = [line for place, line in lines_of(evidence, topic) if place.partition == partition]
        if lines and next_offset <= lines[-1].offset:
            yield f"facts.offsets: {topic}-{partition} stands at {next_offset}, its last record is {lines[-1].offset}"
    for table in ("gaps", "unprojected"):
        for row in evidence.tables[table]:
            yield f"facts.{table} has {row}"


# -- small helpers ---------------------------------------------------------------------------------------------------


def _events(evidence: Evidence, topic: str) -> list[Json]:
    return [json.loads(line.value) for _, line in lines_of(evidence, topic)]


def _hashable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(bytes(value) if isinstance(value, memoryview | bytearray) else value for value in row)


def _short(row: tuple[Any, ...]) -> str:
    return str(tuple(value[:60] if isinstance(value, bytes) else value for value in row))
