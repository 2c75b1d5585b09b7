"""What a partition's changelog says of its state, for a new owner.

Only reads; `State.restore` takes over what is found here.
"""

from collections.abc import Mapping
from typing import NamedTuple

from engine.accounts import AccountState
from engine.calls import Call
from engine.changelog import (
    ACCOUNT,
    CALL,
    CALLER,
    CDR,
    COMMAND,
    COUNTER,
    HOLD,
    CounterRecord,
    HoldRecord,
    SeenRecord,
    decode_account,
    decode_call,
    decode_counter,
    decode_hold,
    decode_seen,
)
from engine.ncv import Counter
from schemas.codec import decode_decision


class Restored(NamedTuple):
    """A partition's state, as `State` keeps it."""

    accounts: dict[str, AccountState]
    calls: dict[str, Call]
    counters: dict[tuple[str, str], Counter]
    seen_cdrs: dict[str, SeenRecord]
    seen_commands: dict[str, SeenRecord]
    expiries: list[tuple[int, str]]
    """Running calls by the moment their hold expires; this list and the next two are in order."""
    forget: list[tuple[int, str, str]]
    """Ids by the moment of their last use, with their kind."""
    forget_counters: list[tuple[int, tuple[str, str]]]
    """Counters by the moment they were begun."""


def restored(records: Mapping[bytes, bytes]) -> Restored:
    """The state that the latest record of each key tells of.

    AssertionError when the holds do not add up to what the accounts hold, KeyError when a record that another one
    needs is missing: the state is lost and must be rebuilt.
    """
    found = Restored({}, {}, {}, {}, {}, [], [], [])
    holds: dict[str, HoldRecord] = {}
    callers: list[str] = []
    for key, value in records.items():
        kind, _, name = key.decode().partition("/")
        if kind == ACCOUNT:
            found.accounts[name] = decode_account(value)
        elif kind == CALL:
            found.calls[name] = _call(value)
        elif kind == HOLD:
            holds[name] = decode_hold(value)
        elif kind == CDR:
            seen = found.seen_cdrs[name] = decode_seen(value)
            found.forget.append((seen.seen_us, CDR, name))
        elif kind == COMMAND:
            seen = found.seen_commands[name] = decode_seen(value)
            found.forget.append((seen.seen_us, COMMAND, name))
        elif kind == COUNTER:
            counter = _counter(decode_counter(value))
            key_of_counter = (counter.number, counter.day)
            found.counters[key_of_counter] = counter
            found.forget_counters.append((counter.begun_us, key_of_counter))
        elif kind == CALLER:
            callers.append(name)
    for name, hold in holds.items():
        call = found.calls[name]
        _take_hold(call, hold)
        found.forget.append((hold.last_us, CALL, name))
        if call.phase == "running":
            found.expiries.append((call.expires_us, name))
    for name in callers:
        number, day, caller = name.split("/", 2)
        found.counters[number, day].callers.add(caller)
    found.expiries.sort()
    found.forget.sort()
    found.forget_counters.sort()
    _check_holds(found)
    return found


def _call(value: bytes) -> Call:
    record = decode_call(value)
    return Call(
        record.attempt,
        decode_decision(record.decision),
        0,
        "denied",
        0,
        0,
        0,
        0,
        counted=False,
        tariff_plan_id=record.tariff_plan_id,
        place=record.place,
    )


def _take_hold(call: Call, hold: HoldRecord) -> None:
    call.at_us = hold.at_us
    call.phase = hold.phase
    call.granted_seconds = hold.granted_seconds
    call.hold_micros = hold.hold_micros
    call.expires_us = hold.expires_us
    call.last_us = hold.last_us
    call.counted = hold.counted
    call.extensions = hold.extensions


def _counter(record: CounterRecord) -> Counter:
    counter = Counter(record.number, record.day, record.begun_us)
    counter.calls, counter.first_us, counter.last_us = record.calls, record.first_us, record.last_us
    return counter


def _check_holds(found: Restored) -> None:
    held: dict[str, tuple[int, int]] = {}
    for call in found.calls.values():
        if call.phase == "running" and call.counted and call.attempt.account_id is not None:
            micros, running = held.get(call.attempt.account_id, (0, 0))
            held[call.attempt.account_id] = (micros + call.hold_micros, running + 1)
    for account_id, state in found.accounts.items():
        expected = held.pop(account_id, (0, 0))
        assert (state.held_micros, state.running) == expected, f"account {account_id}: holds are {expected}"
    assert not held, f"holds without an account: {sorted(held)}"
