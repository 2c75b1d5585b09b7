"""The auditor: were all calls decided once, rated once and paid for to the micro? It rebuilds what must be from inputs.

It sees decoded JSON records only, and knows nothing of the engine, its state or its code. What cannot be proved from
the records alone (how CDRs and commands of one account interleave) it does not claim.
An id counts within its account: events of another account may lie in another partition.
"""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Json = dict[str, Any]

UNIT_MICROS = 1_000_000
HOLD_GRACE_SECONDS = 120
COUNTED_STATUSES = ("free", "reserved", "archive")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONEY_SIGNS = {"payment": 1, "top_up": 1, "write_off": -1, "correction": 1}
_STATUS_AFTER = {"block": "blocked", "unblock": "active", "close": "closed"}
_FIELDS = {
    "call_attempt": "attempt_id switch_id at account_id service caller called place incoming_service requested_seconds",
    "call_extension": "attempt_id switch_id at account_id used_seconds",
    "call_release": "attempt_id switch_id at account_id cause",
    "cdr": "cdr_id attempt_id switch_id account_id service caller called place incoming_service provider_id started_at"
    " answered_at ended_at billable_seconds cause",
    "payment": "command_id account_id at amount_micros reference",
    "top_up": "command_id account_id at amount_micros reference",
    "write_off": "command_id account_id at amount_micros reference",
    "correction": "command_id account_id at amount_micros reference",
    "block": "command_id account_id at reason",
    "unblock": "command_id account_id at reason",
    "close": "command_id account_id at reason",
}
_KINDS = {
    "call_attempt": ("attempt", "attempt_id"),
    "call_extension": ("extension", "attempt_id"),
    "call_release": ("release", "attempt_id"),
    "cdr": ("cdr", "cdr_id"),
}
_MOMENTS = ("started_at", "answered_at", "ended_at")


class Key(NamedTuple):
    """What an id belongs to: `attempt`, `extension`, `release`, `cdr`, `command`, or `record` if it has no id."""

    kind: str
    record_id: str
    account_id: str | None


def audit(
    inputs: Iterable[Json],
    decisions: list[Json],
    rated: list[Json],
    rejected: list[Json],
    balances: list[Json],
    movements: list[Json],
    opening: dict[str, Json],
    ncv: list[Json],
    number_status: dict[str, str],
    clock_by_account_us: Callable[[str], int] | None = None,
    business_timezone: str = "Europe/Moscow",
) -> list[str]:
    """Findings, one sentence each; none means that all is well.

    `inputs`: the records as the owners of their partitions got them, those of one account and topic in order (a record
    that was forwarded from a wrong partition counts only where it arrived). The other lists: what the topics carry.
    `opening`: `balance_micros` and `credit_limit_micros` of every account there is. `number_status`: status of every
    number of the operator. `clock_by_account_us`: the final clock of an account's partition, in microseconds since the
    epoch; without it the money still held at the end is not checked.
    """
    history = _History(inputs, decisions, rated, rejected)
    return [
        *history.surplus_rejections(),
        *_once(history),
        *_answers(history),
        *_permissions(history, opening),
        *_charges(history, opening),
        *_money(history, opening, balances),
        *_movements(history, opening, movements),
        *_books(history, movements, balances),
        *_holds(history, balances, clock_by_account_us),
        *_unwanted_calls(history, ncv, number_status, business_timezone),
    ]


# -- what was sent, and what became of it ----------------------------------------------------------------------------


class _History:
    """All records by their id. A content that was not rejected as often as it was sent must have been accepted."""

    def __init__(self, inputs: Iterable[Json], decisions: list[Json], rated: list[Json], rejected: list[Json]) -> None:
        self.sent: dict[Key, Counter[str]] = defaultdict(Counter)
        self.rejected: dict[Key, Counter[str]] = defaultdict(Counter)
        self.malformed: set[Key] = set()
        self.origins: Counter[str] = Counter()
        self._records: dict[str, Json] = {}
        for record in inputs:
            key = _key(record)
            text = _content(key, record)
            self._records.setdefault(text, record)
            self.sent[key][text] += 1
        for event in rejected:
            self.origins[_origin(event)] += 1
            payload = _payload(event)
            if payload is None:
                continue
            key = _key(payload)
            self.rejected[key][_content(key, payload)] += 1
            if event["reason"] == "malformed":
                self.malformed.add(key)
        self.decisions: dict[Key, list[Json]] = defaultdict(list)
        for decision in decisions:
            kind = "extension" if "extension" in decision else "attempt"
            self.decisions[Key(kind, decision["attempt_id"], decision["account_id"])].append(decision)
        self.rated: dict[Key, list[Json]] = defaultdict(list)
        for record in rated:
            self.rated[Key("cdr", record["cdr_id"], record["account_id"])].append(record)

    def accepted(self, key: Key) -> list[Json]:
        """The contents of this id that were not rejected every time, in the order in which they were first sent."""
        rejected = self.rejected.get(key, Counter())
        return [self._records[text] for text, times in self.sent.get(key, Counter()).items() if rejected[text] < times]

    def kept_its_place(self, key: Key) -> bool:
        """Whether what was accepted of this id is what came first, and at once."""
        first = next(iter(self.sent[key]))
        return self.accepted(key)[0] is self._records[first] and self.rejected.get(key, Counter())[first] == 0

    def arrivals(self, key: Key) -> int:
        """How many records of this id were not rejected."""
        return self.sent.get(key, Counter()).total() - self.rejected.get(key, Counter()).total()

    def first_decisions(self, key: Key) -> list[Json]:
        """The decisions of this id that are no repetitions."""
        return [decision for decision in self.decisions.get(key, []) if "repeated" not in decision]

    def surplus_rejections(self) -> Iterator[str]:
        """Rejections of what nobody sent, and records that were rejected twice."""
        for origin, times in self.origins.items():
            if times > 1:
                yield f"the record at {origin} was rejected {times} times"
        for key, contents in self.rejected.items():
            sent = self.sent.get(key, Counter())
            # A malformed record may be no dictionary that a caller could have handed over.
            if key not in self.malformed and any(times > sent[text] for text, times in contents.items()):
                yield f"{_name(key)}: rejected more often than sent"


def _key(record: Json) -> Key:
    if not _is_event(record):
        return Key("record", json.dumps(record, sort_keys=True), None)
    word, id_field = _KINDS.get(record["type"], ("command", "command_id"))
    return Key(word, record[id_field], record.get("account_id"))


def _is_event(record: Json) -> bool:
    """Whether it has a known type, and the ids, moments and money without which nobody could have used it."""
    kind = record.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        return False
    fields = _FIELDS[kind].split()
    ids = [record.get(field) for field in fields if field in ("attempt_id", "cdr_id", "command_id", "account_id")]
    moments = [record.get(field) for field in ("at", "started_at", "ended_at") if field in fields]
    return (
        isinstance(record.get(fields[0]), str)
        and all(isinstance(value, str | None) for value in ids)
        and all(_is_moment(value) for value in moments)
        and (record.get("answered_at") is None or _is_moment(record["answered_at"]))
        and (kind not in _MONEY_SIGNS or type(record.get("amount_micros")) is int)
        and ("switch_id" not in fields or isinstance(record.get("switch_id"), str))
    )


def _is_moment(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _content(key: Key, record: Json) -> str:
    """The record as the trade compares it: known fields that are not null, in an order of their own."""
    if key.kind == "record":
        return key.record_id
    known = ["type", *_FIELDS[record["type"]].split()]
    return json.dumps({field: record[field] for field in known if record.get(field) is not None}, sort_keys=True)


def _origin(event: Json) -> str:
    where = f"{event['topic']}/{event['partition']}/{event['offset']}"
    return f"{event['file']}:{event.get('line')} ({where})" if "file" in event else where


def _payload(event: Json) -> Json | None:
    try:
        record = json.loads(base64.b64decode(event["payload"]))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _name(key: Key) -> str:
    return f"{key.kind} {key.record_id}"


# -- each id once ----------------------------------------------------------------------------------------------------


def _once(history: _History) -> Iterator[str]:
    """Each id has one outcome: accepted by one content and answered once, or rejected each time it came."""
    for key in {**history.sent, **history.decisions, **history.rated}:
        accepted = history.accepted(key)
        if key not in history.sent:
            yield f"{_name(key)}: {'rated' if key.kind == 'cdr' else 'decided'}, but nobody sent it"
        elif key.kind == "record" and accepted:
            yield f"record {key.record_id}: not rejected, though it is no event"
        elif key.kind in ("attempt", "command", "cdr") and len(accepted) > 1:
            yield f"{_name(key)}: came with other content too, and neither was rejected"
        elif key.kind == "cdr":
            yield from _rated_once(history, key, accepted)
        elif key.kind in ("attempt", "extension"):
            yield from _decided_once(history, key, accepted)


def _rated_once(history: _History, key: Key, accepted: list[Json]) -> Iterator[str]:
    records = history.rated.get(key, [])
    if len(records) > 1:
        yield f"{_name(key)}: rated {len(records)} times"
    elif accepted and not records:
        yield f"{_name(key)}: neither rated nor rejected"
    elif records and not accepted:
        yield f"{_name(key)}: both rated and rejected"


def _decided_once(history: _History, key: Key, accepted: list[Json]) -> Iterator[str]:
    decisions, firsts = history.decisions.get(key, []), history.first_decisions(key)
    # An extension is told from another of the same call by its content: each content has a decision of its own.
    if not accepted and decisions:
        yield f"{_name(key)}: both decided and rejected"
    elif accepted and not firsts:
        yield f"{_name(key)}: neither decided nor rejected"
    elif len(firsts) != len(accepted):
        yield f"{_name(key)}: {len(firsts)} first decisions instead of {len(accepted)}"
    elif len(decisions) != history.arrivals(key):
        yield f"{_name(key)}: asked {history.arrivals(key)} times, answered {len(decisions)} times"
    if key.kind == "extension" and [decision["extension"] for decision in firsts] != list(range(1, len(firsts) + 1)):
        yield f"{_name(key)}: the decisions are not numbered 1, 2, …"


def _answers(history: _History) -> Iterator[str]:
    """A repeated decision is the first one, byte for byte but for `repeated`; and decisions name their attempt."""
    for key, decisions in history.decisions.items():
        firsts = {decision.get("extension"): _text(decision) for decision in history.first_decisions(key)}
        for decision in decisions:
            if "repeated" not in decision:
                continue
            first = firsts.get(decision.get("extension"))
            if decision["repeated"] is not True or (first is not None and _text(decision) != first):
                yield f"{_name(key)}: the repeated decision differs from the first"
        switches = {content["switch_id"] for content in history.accepted(key)}
        if switches and any(decision["switch_id"] not in switches for decision in decisions):
            yield f"{_name(key)}: the decision names another switch"


def _text(decision: Json) -> str:
    """The bytes of a decision without the mark; the order of fields counts."""
    return json.dumps({field: value for field, value in decision.items() if field != "repeated"})


# -- what was permitted ----------------------------------------------------------------------------------------------


def _permissions(history: _History, opening: dict[str, Json]) -> Iterator[str]:
    """What each first decision allows: for known accounts only, within the money there was, until the right moment."""
    for key in history.decisions:
        for decision in history.first_decisions(key):
            name = _name(key) if key.kind == "attempt" else f"{_name(key)}/{decision['extension']}"
            if decision["allow"]:
                if not decision.get("emergency", False) and key.account_id not in opening:
                    yield f"{name}: allowed for an unknown account"
                yield from (f"{name}: {finding}" for finding in _allowed(history, key, decision))
            elif key.kind == "attempt" and (decision["max_seconds"] or decision["hold_micros"] or decision["routes"]):
                yield f"{name}: denied, yet time, money or routes are granted"
            reasons = decision["reasons"]
            if decision["reason"] != (reasons[0] if reasons else None) or bool(reasons) == decision["allow"]:
                yield f"{name}: the reasons do not fit the answer"


def _allowed(history: _History, key: Key, decision: Json) -> Iterator[str]:
    hold = decision["hold_micros"]
    own_hold = max((earlier["hold_micros"] for earlier in _earlier(history, key, decision)), default=0)
    money = [check for check in decision["checks"] if check["check"] == "money" and "available_micros" in check]
    if hold > 0 and key.kind == "attempt" and not money:
        yield "money is held without looking at the account's"
    for check in money:
        available = check["available_micros"]
        # An extension may be paid from what the call holds already, counted in or not.
        if hold > available + own_hold:
            yield f"{hold} micros are held, but only {available + own_hold} were available"
        free = check["balance_micros"] + check["credit_limit_micros"] - check["held_micros"]
        if available not in (free, free + own_hold):
            yield f"available is not balance + credit limit - held, {free} micros"
    if hold > 0 and decision.get("emergency", False):
        yield "money is held for an emergency call"
    attempts = history.accepted(Key("attempt", key.record_id, key.account_id))
    if attempts and decision["hold_expires_at"] is not None:
        due = _us(attempts[0]["at"]) + (decision["max_seconds"] + HOLD_GRACE_SECONDS) * UNIT_MICROS
        if _us(decision["hold_expires_at"]) // 1000 != due // 1000:
            yield f"the hold does not expire {HOLD_GRACE_SECONDS} s after the granted time"


def _earlier(history: _History, key: Key, decision: Json) -> list[Json]:
    """Decisions on the same call before this extension of it."""
    if key.kind == "attempt":
        return []
    extensions = history.first_decisions(key)
    return [
        *history.first_decisions(key._replace(kind="attempt")),
        *(other for other in extensions if other["extension"] < decision["extension"]),
    ]


# -- what was charged ------------------------------------------------------------------------------------------------


def _charges(history: _History, opening: dict[str, Json]) -> Iterator[str]:
    """Each rated CDR: the CDR as it came, charges that add up, and the margin between them."""
    for key, records in history.rated.items():
        accepted = history.accepted(key)
        for record in records:
            findings = [*_charge_findings(record), *_mark_findings(history, record)]
            if len(accepted) == 1:
                findings += [f"{field} is not the CDR's" for field in _changed_fields(accepted[0], record)]
            if record["retail"] is not None and key.account_id not in opening:
                findings.append("charged to an unknown account")
            yield from (f"{_name(key)}: {finding}" for finding in findings)


def _charge_findings(record: Json) -> Iterator[str]:
    retail, wholesale = record["retail"], record["wholesale"]
    for word, charge in (("retail", retail), ("wholesale", wholesale)):
        if charge is not None:
            yield from (f"{word} {finding}" for finding in _arithmetic(charge, record))
    margin = None if retail is None or wholesale is None else retail["amount_micros"] - wholesale["amount_micros"]
    if record["margin_micros"] != margin:
        yield f"the margin is {record['margin_micros']}, not {margin}"
    if record.get("emergency", False) and (retail or wholesale):
        yield "an emergency call is charged"


def _arithmetic(charge: Json, record: Json) -> Iterator[str]:
    total = Fraction(charge["connect_fee_micros"] + charge.get("attempt_fee_micros", 0), UNIT_MICROS)
    for line in charge["lines"]:
        paid = line["steps"] * line["step_seconds"]
        amount = Fraction(line["price_micros"] * paid, line["per_seconds"] * UNIT_MICROS)
        if line["amount"] != str(amount):
            yield f"line from second {line['from_second']} is {line['amount']}, not {amount}"
        if not paid - line["step_seconds"] < line["seconds"] <= paid:
            yield f"line from second {line['from_second']} pays {line['seconds']} s by {line['steps']} steps"
        total += Fraction(line["amount"])
    seconds = sum(line["seconds"] for line in charge["lines"])
    if seconds != (record["billable_seconds"] if record["answered_at"] else 0):
        yield f"lines pay {seconds} s of {record['billable_seconds']}"
    adjustment, discount = charge.get("adjustment"), charge.get("discount")
    if adjustment is not None:
        total += Fraction(adjustment["amount"])
        if total != Fraction(adjustment["limit_micros"], UNIT_MICROS):
            yield f"{adjustment['kind']} does not lead to its limit"
    if discount is not None:
        if Fraction(discount["amount"]) != -total * Fraction(discount["percent"]) / 100:
            yield f"discount is {discount['amount']}, not {discount['percent']} % of {total}"
        total += Fraction(discount["amount"])
    if charge["exact"] != str(total):
        yield f"exact is {charge['exact']}, its parts sum up to {total}"
    rounded = _rounded(Fraction(charge["exact"]), charge["rounding"], charge["decimals"])
    if charge["amount_micros"] != rounded:
        yield f"amount is {charge['amount_micros']}, {charge['exact']} rounds to {rounded}"
    if record["answered_at"] is None and charge["connect_fee_micros"]:
        yield "has a connect fee, though nobody answered"
    if record["answered_at"] is not None and charge.get("attempt_fee_micros", 0):
        yield "has a fee for an unanswered call, though it was answered"


def _rounded(exact: Fraction, rounding: str, decimals: int) -> int:
    scaled = exact * 10**decimals
    whole = {"up": ceil(scaled), "down": floor(scaled), "half_up": floor(scaled + Fraction(1, 2))}[rounding]
    return int(whole * 10 ** (6 - decimals))


def _changed_fields(cdr: Json, record: Json) -> Iterator[str]:
    for field in _FIELDS["cdr"].split():
        if field in _MOMENTS:
            before, after = (None if at is None else _us(at) // 1000 for at in (cdr.get(field), record[field]))
        else:
            before, after = cdr.get(field), record[field]
        if field == "billable_seconds":
            if cdr.get("answered_at") is None:
                before = 0
            elif before is None:
                before = -((_us(cdr["answered_at"]) - _us(cdr["ended_at"])) // UNIT_MICROS)  # rounded up
        if before != after:
            yield field


def _mark_findings(history: _History, record: Json) -> Iterator[str]:
    """Marks that can be proved whatever the order: the attempt was never known, or it was denied."""
    attempt_id = record["attempt_id"]
    firsts = history.first_decisions(Key("attempt", attempt_id, record["account_id"])) if attempt_id else []
    if not firsts and not record.get("no_attempt", False):
        yield "not marked no_attempt, though no attempt was decided"
    if firsts and not record.get("no_attempt", False) and record.get("denied", False) == firsts[0]["allow"]:
        yield "the mark denied is not what was decided"


# -- money -----------------------------------------------------------------------------------------------------------


def _money(history: _History, opening: dict[str, Json], balances: list[Json]) -> Iterator[str]:
    """Opening + payments + top-ups - write-offs - charges = closing, for each account and in total."""
    movements: dict[str, list[int]] = defaultdict(list)
    unordered = set()  # accounts with a command that was rejected first and accepted later: its place is unknown
    for key in history.sent:
        for command in history.accepted(key) if key.kind == "command" else []:
            account_id = command["account_id"]
            if account_id not in opening:
                yield f"{_name(key)}: the account {account_id} is unknown, and it was not rejected"
            if command["type"] in _MONEY_SIGNS:
                movements[account_id].append(_MONEY_SIGNS[command["type"]] * command["amount_micros"])
                if not history.kept_its_place(key):
                    unordered.add(account_id)
    rated: dict[str, list[Json]] = defaultdict(list)
    for records in history.rated.values():
        for record in records:
            if record["account_id"] is not None and record["retail"] is not None:
                rated[record["account_id"]].append(record)
    last = {record["account_id"]: record for record in balances}
    due_in_total = closing_in_total = 0
    for account_id, start in opening.items():
        charged = sum(record["retail"]["amount_micros"] for record in rated[account_id])
        due = start["balance_micros"] + sum(movements[account_id]) - charged
        closing = last[account_id]["balance_micros"] if account_id in last else start["balance_micros"]
        due_in_total, closing_in_total = due_in_total + due, closing_in_total + closing
        if closing != due:
            yield f"account {account_id}: closes at {closing}, its movements lead to {due}"
        if account_id in last and last[account_id]["credit_limit_micros"] != start["credit_limit_micros"]:
            yield f"account {account_id}: the credit limit has changed"
        if account_id not in unordered:
            yield from _balances_after(account_id, start["balance_micros"], movements[account_id], rated[account_id])
    if closing_in_total != due_in_total:
        yield f"in total: closes at {closing_in_total}, all movements lead to {due_in_total}"
    for record in balances:
        name = f"account {record['account_id']}"
        if record["account_id"] not in opening:
            yield f"{name}: has a balance, but is unknown"
        free = record["balance_micros"] + record["credit_limit_micros"] - record["held_micros"]
        if record["available_micros"] != free:
            yield f"{name}: available is {record['available_micros']}, not {free}"


def _balances_after(account_id: str, start: int, movements: list[int], rated: list[Json]) -> Iterator[str]:
    """`balance_after_micros` along the account's CDRs: each time some further commands, in their order, were booked."""
    booked = list(accumulate(movements, initial=0))
    done = charged = 0
    for record in rated:
        charged += record["retail"]["amount_micros"]
        by_commands = record["balance_after_micros"] - start + charged
        if by_commands not in booked[done:]:
            yield f"account {account_id}: no commands before cdr {record['cdr_id']} explain the balance after it"
            return
        done = booked.index(by_commands, done)


def _movements(history: _History, opening: dict[str, Json], movements: list[Json]) -> Iterator[str]:
    """One opening for each account, before all else; one movement for each command that was carried out, and it says
    what the command said."""
    told: dict[Key, list[Json]] = defaultdict(list)
    by_account: dict[str, list[Json]] = defaultdict(list)
    for movement in movements:
        by_account[movement["account_id"]].append(movement)
        if movement["kind"] != "opening":
            told[Key("command", movement["command_id"], movement["account_id"])].append(movement)
    for account_id, found in by_account.items():
        kinds = [movement["kind"] for movement in found]
        if kinds.count("opening") != 1 or kinds[0] != "opening":
            yield f"account {account_id}: {kinds.count('opening')} openings among {len(kinds)} movements, or not first"
        elif account_id not in opening:
            yield f"account {account_id}: opened, but is unknown"
        elif found[0]["amount_micros"] != opening[account_id]["balance_micros"] or found[0]["command_id"] is not None:
            yield f"account {account_id}: opens with {found[0]['amount_micros']}"
        status = found[0]["status"]
        for movement in found:
            status = _STATUS_AFTER.get(movement["kind"], status)
            if movement["status"] != status:
                yield f"account {account_id}: {movement['status']} after {movement['kind']}, not {status}"
    for key in {**told, **{key: None for key in history.sent if key.kind == "command"}}:
        accepted = history.accepted(key)
        if len(accepted) > 1:
            continue  # found already: which of them was carried out nobody can say
        if len(told[key]) != len(accepted):
            yield f"{_name(key)}: {len(told[key])} movements instead of {len(accepted)}"
        elif accepted and _moved(accepted[0]) != _told(told[key][0]):
            yield f"{_name(key)}: the movement is {_told(told[key][0])}, the command says {_moved(accepted[0])}"


def _moved(command: Json) -> tuple[object, ...]:
    amount = _MONEY_SIGNS.get(command["type"], 0) * command.get("amount_micros", 0)
    return command["type"], amount, command.get("reference"), command.get("reason"), _us(command["at"]) // 1000


def _told(movement: Json) -> tuple[object, ...]:
    at_ms = _us(movement["at"]) // 1000
    return movement["kind"], movement["amount_micros"], movement["reference"], movement["reason"], at_ms


def _books(history: _History, movements: list[Json], balances: list[Json]) -> Iterator[str]:
    """From what was published alone: an account's balance is the sum of its movements less that of its charges, at the
    end and after each movement (where some further CDRs, in their order, have been charged before it)."""
    moved: dict[str, list[Json]] = defaultdict(list)
    charges: dict[str, list[int]] = defaultdict(list)
    for movement in movements:
        moved[movement["account_id"]].append(movement)
    for records in history.rated.values():
        for record in records:
            if record["account_id"] is not None and record["retail"] is not None:
                charges[record["account_id"]].append(record["retail"]["amount_micros"])
    last = {record["account_id"]: record for record in balances}
    for account_id in {**last, **moved}:
        due = sum(movement["amount_micros"] for movement in moved[account_id]) - sum(charges[account_id])
        closing = last[account_id]["balance_micros"] if account_id in last else None
        if closing != due:
            yield f"account {account_id}: closes at {closing}, what was published comes to {due}"
        if account_id in last and moved[account_id] and moved[account_id][-1]["status"] != last[account_id]["status"]:
            yield f"account {account_id}: closes {last[account_id]['status']}, not as its last movement left it"
        charged = list(accumulate(charges[account_id], initial=0))
        done = total = 0
        for movement in moved[account_id]:
            total += movement["amount_micros"]
            by_calls = total - movement["balance_after_micros"]
            if by_calls not in charged[done:]:
                name = movement["command_id"] or "its opening"
                yield f"account {account_id}: no charges before {name} explain the balance after it"
                break
            done = charged.index(by_calls, done)


def _holds(history: _History, balances: list[Json], clock_by_account_us: Callable[[str], int] | None) -> Iterator[str]:
    """Held at the end: what was promised to calls that had no CDR, no release, and have not expired."""
    if clock_by_account_us is None:
        return
    held: Counter[str] = Counter()
    # Accounts with a CDR before its attempt, or a hold that ends with the clock: records do not tell what they hold.
    unknown = set()
    finished = {}
    for key, records in history.rated.items():
        finished.update({(key.account_id, record["attempt_id"]): record for record in records})
    for key in history.decisions:
        allowed = [decision for decision in history.first_decisions(key) if decision["allow"]]
        if key.kind != "attempt" or key.account_id is None or not allowed:
            continue
        extensions = history.first_decisions(key._replace(kind="extension"))
        latest = [*allowed, *(decision for decision in extensions if decision["allow"])][-1]
        cdr = finished.get((key.account_id, key.record_id))
        if cdr is not None and cdr.get("no_attempt", False):
            unknown.add(key.account_id)
        if cdr is not None or history.accepted(key._replace(kind="release")) or latest["hold_expires_at"] is None:
            continue
        expires_us, clock_us = _us(latest["hold_expires_at"]), clock_by_account_us(key.account_id)
        if expires_us == clock_us:
            unknown.add(key.account_id)
        elif expires_us > clock_us:
            held[key.account_id] += latest["hold_micros"]
    last = {record["account_id"]: record for record in balances}
    for account_id in sorted({*held, *last} - unknown):
        reported = last[account_id]["held_micros"] if account_id in last else 0
        if reported != held[account_id]:
            yield f"account {account_id}: {reported} micros held at the end, its calls hold {held[account_id]}"


# -- unwanted calls --------------------------------------------------------------------------------------------------


def _unwanted_calls(
    history: _History, ncv: list[Json], number_status: dict[str, str], business_timezone: str
) -> Iterator[str]:
    """Counts by number and civil day are those of the attempts that were denied with `number_not_in_use`."""
    zone = ZoneInfo(business_timezone)
    calls: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for key in history.decisions:
        attempts, firsts = history.accepted(key), history.first_decisions(key)
        if key.kind != "attempt" or len(attempts) != 1 or not firsts:
            continue
        attempt, decision = attempts[0], firsts[0]
        told = [reason["status"] for reason in decision["reasons"] if reason["code"] == "number_not_in_use"]
        known = number_status.get(attempt.get("called", ""))
        inbound = key.account_id is None and attempt.get("service") not in ("outgoing", "forwarding")
        expected = inbound and known in COUNTED_STATUSES and not decision.get("emergency", False)
        if (told or expected) and told != [known]:
            yield f"{_name(key)}: the number is {known}, the decision says {told}"
        if told and told[0] is not None:
            day = (_EPOCH + timedelta(microseconds=_us(attempt["at"]))).astimezone(zone).date().isoformat()
            calls[attempt.get("called", ""), day].append(attempt)
    last = {(record["number"], record["day"]): record for record in ncv}
    for number, day in sorted({*calls, *last}):
        due = _count(calls[number, day])
        record = last.get((number, day))
        found = (0, 0, None, None) if record is None else _reported(record)
        if found[:2] != due[:2]:
            yield f"number {number} on {day}: {found[0]} calls of {found[1]} callers, not {due[0]} of {due[1]}"
        elif due[0] and found != due:
            yield f"number {number} on {day}: the first or last call is at another moment"


def _count(attempts: list[Json]) -> tuple[int, int, int | None, int | None]:
    callers = {"".join(filter("0123456789".__contains__, attempt.get("caller") or "")) for attempt in attempts}
    moments = [_us(attempt["at"]) // 1000 for attempt in attempts]
    return len(attempts), len(callers), min(moments, default=None), max(moments, default=None)


def _reported(record: Json) -> tuple[int, int, int | None, int | None]:
    first, last = (None if record[field] is None else _us(record[field]) // 1000 for field in ("first_at", "last_at"))
    return record["calls"], record["unique_callers"], first, last


def _us(moment: str) -> int:
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)
