"""Why a call went through or not, read from the record: the facts of one call, today's tables, those of its time.

The rules of what is said stand in `backoffice/explain.py` and `call_words.py`. An attempt id names one call for as long
as the engine remembers it; where it was used again later, `at` says which call is meant.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec

from backoffice.call_facts import CallFacts, Extended, Published, RejectedFact
from backoffice.explain import Today, Verified, today, verify, without_itself
from connectors.postgres.current import tables_of_number
from connectors.postgres.database import Connection, Pool
from connectors.postgres.moments import to_moment, to_optional_text
from connectors.postgres.past import tables_of_calls
from connectors.postgres.queries import sql
from engine.accounts import AccountState
from engine.again import account_now
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.codec import decode_decision, decode_switch_event, encode
from schemas.decisions import CallDecision
from schemas.events import CallAttempt, CallExtension, CallRelease, SwitchEvent
from schemas.facts import REJECTIONS, AccountBalance
from schemas.rated import RatedCdr
from schemas.reference import Number
from schemas.times import from_datetime

T = TypeVar("T")

MOST_NEAR = 100
"""Calls near a moment that are listed at most."""

_decode_rated = msgspec.json.Decoder(RatedCdr).decode


class NearCall(NamedTuple):
    """A call near the moment that was asked for. `allow` is None while nothing has been answered; `rejected`: why the
    engine could not use the attempt."""

    attempt_id: str
    at: datetime
    account_id: str | None
    service: str | None
    caller: str | None
    called: str | None
    allow: bool | None
    reason: str | None
    lock_id: str | None
    rejected: str | None


async def nearest(
    pool: Pool,
    *,
    account_id: str | None,
    numbers: Sequence[str] | None,
    at: datetime,
    within: timedelta,
    limit: int = MOST_NEAR,
) -> list[NearCall]:
    """Calls of an account, to or from a number (as it may be written), or both; the nearest to a moment first.

    One of the two must be given.
    """
    assert account_id is not None or numbers is not None, "an account or a number"
    rows = await pool.fetch(
        sql("explain/nearest"),
        account_id,
        None if numbers is None else list(numbers),
        at,
        at - within,
        at + within,
        limit,
    )
    return [NearCall(*row) for row in rows]


async def read_call(connection: Connection, call_id: str, at: datetime | None = None) -> CallFacts | None:
    """All that there is of the call with an attempt id, or of the CDR with that id; None where there is nothing.

    `at`: of several calls that had the id the one whose attempt names this moment, else the nearest to it; the latest
    call if left out. `connection` is in a transaction that sees one state of the record.
    """
    found = await _read_attempt(connection, call_id, at)
    if found is not None:
        return found
    rows = await connection.fetch(sql("explain/rated_of_cdr"), call_id)
    for row in rows:
        if row["attempt_id"] is not None:
            found = await _read_attempt(connection, row["attempt_id"], at)
            if found is not None:
                return found
    if not rows:
        return None
    rated = tuple([Published(_decode_rated(row["record"]), row["record"], row["recorded_at"]) for row in rows])
    return CallFacts(None, None, None, (), (), None, rated, (), ())


async def _read_attempt(connection: Connection, attempt_id: str, at: datetime | None) -> CallFacts | None:
    decisions = await connection.fetch(sql("explain/decisions"), attempt_id)
    sent = await connection.fetch(sql("explain/attempts"), attempt_id)
    rated_rows = await connection.fetch(sql("explain/rated_of_attempt"), attempt_id)
    firsts = [row for row in decisions if row["extension"] == 0 and not row["repeated"]]
    moments = sorted({row["at"] for row in firsts})
    first, after = _chosen(firsts, at)
    partition = None if first is None else first["source_partition"]
    since = None if first is None else first["recorded_at"]
    until = None if after is None else after["recorded_at"]

    def own(rows: Iterable[Any]) -> list[Any]:
        """Those of this call: of its partition, and between its decision and that on the next one with its id."""
        if first is None or len(firsts) == 1:
            return list(rows)
        return [
            row
            for row in rows
            if row["source_partition"] == partition
            and row["recorded_at"] >= since
            and (until is None or row["recorded_at"] < until)
        ]

    said = own(row for row in decisions if row is not first)
    # An attempt comes before its decision, maybe much before; its moment and its partition tell it.
    attempts = [row for row in sent if row["kind"] == "call_attempt"]
    if first is not None:
        attempts = [row for row in attempts if (row["at"], row["source_partition"]) == (first["at"], partition)]
    others = [row for row in sent if row["kind"] != "call_attempt" and (partition in (None, row["source_partition"]))]
    attempt = _event(attempts[0], CallAttempt) if attempts else None
    releases = [_event(row, CallRelease) for row in own(row for row in others if row["kind"] == "call_release")]
    requests = [_event(row, CallExtension) for row in others if row["kind"] == "call_extension"]
    decision = None if first is None else _decision(first)
    account_id = None if attempt is None else attempt.account_id
    began = since if since is not None else min((row["recorded_at"] for row in sent), default=None)
    rejected = await connection.fetch(
        sql("explain/rejected_of_call"),
        attempt_id,
        account_id or "",
        began or datetime.fromisoformat("2000-01-01T00:00:00+00:00"),
        # As it stands in a CDR's bytes.
        encode(attempt_id),
    )
    if not (decisions or sent or rated_rows or rejected):
        return None
    answers = [_decision(row) for row in said if row["extension"] and not row["repeated"]]
    return CallFacts(
        attempt_id,
        attempt,
        decision,
        tuple([_decision(row) for row in said if row["repeated"]]),
        tuple(_extended(answers, [request for request in requests if request is not None])),
        next((release for release in releases if release is not None), None),
        tuple([Published(_decode_rated(row["record"]), row["record"], row["recorded_at"]) for row in own(rated_rows)]),
        tuple([_rejected(row) for row in rejected]),
        tuple([to_moment(moment) for moment in moments if first is not None and moment != first["at"]]),
    )


def _chosen(firsts: Sequence[Any], at: datetime | None) -> tuple[Any, Any]:
    """The decision on the call that is meant, and the next one that its partition made for the same id."""
    if not firsts:
        return None, None
    first = max(firsts, key=_when_said) if at is None else min(firsts, key=lambda row: abs(row["at"] - at))
    later = [
        row
        for row in firsts
        if row["source_partition"] == first["source_partition"] and row["source_offset"] > first["source_offset"]
    ]
    return first, min(later, key=_when_said, default=None)


def _when_said(row: Any) -> tuple[datetime, int]:
    """What was said in one batch has one time."""
    return row["recorded_at"], row["source_offset"]


def _decision(row: Any) -> Published[CallDecision]:
    return Published(decode_decision(row["record"]), row["record"], row["recorded_at"])


def _event(row: Any, kind: type[T]) -> T | None:
    event: SwitchEvent = decode_switch_event(row["record"])
    return event if isinstance(event, kind) else None


def _extended(answers: Sequence[Published[CallDecision]], requests: Sequence[CallExtension]) -> Iterable[Extended]:
    """Answers with their requests: those of one moment stand in one order, and the same request sent again has none of
    its own."""
    waiting: dict[tuple[str, str, str | None], list[CallExtension]] = {}
    for request in dict.fromkeys(requests):
        waiting.setdefault((request.at, request.switch_id, request.account_id), []).append(request)
    for answer in sorted(answers, key=lambda one: one.record.extension or 0):
        said = answer.record
        of_moment = waiting.get((said.at, said.switch_id, said.account_id), [])
        yield Extended(of_moment.pop(0) if of_moment else None, answer)


def _rejected(row: Any) -> RejectedFact:
    return RejectedFact(
        f"{row['source_partition']}-{row['source_offset']}",
        row["topic"],
        row["reason"],
        REJECTIONS.get(row["reason"], "this version of the program does not know the reason"),
        to_moment(row["recorded_at"]),
        to_optional_text(row["resubmitted_at"]),
        to_optional_text(row["set_aside_at"]),
    )


async def under_todays_tables(
    connection: Connection, facts: CallFacts, settings: EngineSettings, at: datetime
) -> Today:
    """The same call asked anew at a moment: under what stands in the record then, with the money that the engine last
    told of the account, less what the call itself still holds. `connection` as for `read_call`."""
    account_id = facts.account_id
    state: AccountState | None = None
    if account_id is not None and (row := await connection.fetchrow(sql("explain/balance"), account_id)) is not None:
        money = AccountBalance(
            row["account_id"],
            to_moment(row["at"]),
            row["currency"],
            row["balance_micros"],
            row["held_micros"],
            row["credit_limit_micros"],
            row["available_micros"],
            row["status"],
            row["running_calls"],
        )
        changed = money.status != "active"
        state = account_now(money, to_optional_text(row["since"]) if changed else None, row["why"] if changed else None)
        without_itself(facts, state, money.at)
    tables = {digits: await _todays_tables(connection, digits, account_id, at) for digits in sorted(facts.digits)}
    return today(facts, settings, tables, state, from_datetime(at))


async def _todays_tables(connection: Connection, digits: str, account_id: str | None, at: datetime) -> Reference:
    found = (await tables_of_number(connection, digits, account_id or "", at=at)).reference
    # The latest that has been published: what the record says now has no later number yet. Without any, an engine was
    # given its tables directly.
    found.version = await connection.fetchval(sql("outbox/latest_version")) or found.version
    row = await connection.fetchrow(sql("explain/number"), digits)
    if row is not None:
        found.put_number(
            Number(
                row["number"],
                row["status"],
                row["account_id"],
                row["place"],
                row["region"],
                row["provider_id"],
                row["fmtn"],
                None if row["joined_on"] is None else row["joined_on"].isoformat(),
                None if row["archived_on"] is None else row["archived_on"].isoformat(),
                row["saleable"],
            )
        )
    return found


async def made_again(connection: Connection, facts: CallFacts, settings: EngineSettings) -> tuple[Verified, ...]:
    """All that was published about a call, made again under the tables of its time. Raises UnknownVersion.

    `connection` as for `read_call`.
    """
    tables = {
        version: await tables_of_calls(connection, version, facts.digits, facts.accounts)
        for version in sorted(facts.versions)
    }
    return verify(facts, settings, tables)
