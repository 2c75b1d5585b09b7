"""What there is to look at when a run has ended: topics, tables, and what switches and office remember.

Topics are read by a plain consumer of committed records, tables by plain SQL of its own.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from schemas import topics
from tests.faults.checker import Evidence as TopicEvidence
from tests.faults.reader import DEADLINE_SECONDS, Place, Watcher, group_offsets, read_all
from tests.faults.traffic import Sent, Traffic

from .office import LockMade, Office, Ordered, Priced
from .operator import Operator
from .postgresql import Postgres

GROUP = "tollgate-engine"
OFFICE = "office-"
"""What ids of the office's orders begin with."""

_WITH_BYTES = ("attempts", "decisions", "rated_cdrs", "movements")

_TABLES = {
    **{name: f"SELECT source_partition, source_offset, record FROM facts.{name}" for name in _WITH_BYTES},
    "rejected": "SELECT source_partition, source_offset, topic, partition, topic_offset, reason, payload "
    "FROM facts.rejected",
    "notices": "SELECT source_partition, source_offset, kind, account_id, balance_micros, limit_micros "
    "FROM facts.notices",
    "balances": "SELECT account_id, balance_micros, held_micros, running_calls, status FROM facts.balances",
    "ncv": "SELECT number, day::text, calls, unique_callers FROM facts.ncv",
    "transfers": "SELECT source_partition, source_offset, cause, cause_id, account_id, amount_micros, "
    "balance_after_micros, d.kind, d.owner, c.kind, c.owner FROM books.transfers t "
    "JOIN books.accounts d ON d.ledger_id = t.debit JOIN books.accounts c ON c.ledger_id = t.credit",
    "commands": "SELECT command_id, kind, account_id, amount_micros, state FROM office.commands",
    "locks": "SELECT lock_id, kind, digits, account_id, provider_id, author, reason FROM office.locks "
    "WHERE lifted_at IS NULL",
    "outbox": "SELECT seq, change_id, kind, key, payload::text, reference_version, published_at IS NOT NULL "
    "FROM plumbing.outbox ORDER BY seq",
    # The text that each row is hashed by, put together here once more.
    "audit": "SELECT seq, prev_hash, hash, jsonb_build_array(seq, change_id, "
    "(extract(epoch FROM at) * 1000000)::bigint, actor, role, interface, host(address), action, entity, entity_id, "
    "reason, before, after)::text, entity, entity_id, action FROM plumbing.audit ORDER BY seq",
    "offsets": "SELECT topic, partition, next_offset FROM facts.offsets",
    "gaps": "SELECT topic, partition, from_offset FROM facts.gaps",
    "unprojected": "SELECT topic, partition, source_offset FROM facts.unprojected",
}

Rows = Sequence[tuple[Any, ...]]


class ReferenceTopic(NamedTuple):
    """The topic `reference`: each version that was closed, in order, and the latest of each key."""

    versions: list[int]
    latest: dict[str, bytes | None]


class Asked(NamedTuple):
    """A call that asked what is in force: about a lock, by its id, or about the `price` that was changed."""

    attempt_id: str
    called: str
    account_id: str
    about: str


class Evidence(NamedTuple):
    """`base` is that of the engine's own checker; `tables` by their names."""

    base: TopicEvidence
    reference: ReferenceTopic
    tables: Mapping[str, Rows]
    orders: Mapping[str, Ordered]
    locks: Mapping[str, LockMade]
    prices: Sequence[Priced]
    asked: Sequence[Asked]
    accounts: frozenset[str]
    """The accounts that nobody but the office and the last calls touch."""


async def read_evidence(
    bootstrap: str,
    postgres: Postgres,
    partitions: int,
    *,
    watcher: Watcher,
    traffic: Traffic,
    office: Office,
    operator: Operator,
    asked: Sequence[Asked],
) -> Evidence:
    """All of it. Nobody may write any more. Raises TimeoutError when a transaction stays open."""
    final = await read_all(bootstrap, "", partitions)
    acknowledged, homes = Counter(traffic.acknowledged), dict(traffic.homes)
    known: set[str] = set()
    for place, lines in final.items():
        if place.topic != topics.ACCOUNT_COMMANDS.name:
            continue
        for line in lines:
            if (name := command_id(line.value)).startswith(OFFICE):
                # What the office has ordered comes once, and comes home.
                homes[line.value] = place.partition
                acknowledged[Sent(place.topic, line.value)] = 1
                known.add(name)
    return Evidence(
        TopicEvidence(
            partitions=partitions,
            final=final,
            seen=watcher.seen,
            group_offsets=await group_offsets(bootstrap, GROUP, ""),
            acknowledged=acknowledged,
            unsure=traffic.unsure,
            homes=homes,
            malformed=traffic.malformed,
            opening=operator.opening(),
            number_status=operator.company.number_status(),
        ),
        await read_reference(bootstrap),
        await _tables(postgres),
        office.orders,
        office.locks,
        office.prices,
        asked,
        frozenset(account.account_id for account in operator.own),
    )


def command_id(value: bytes | None) -> str:
    """Of a record of `account-commands`; empty for one that has none."""
    try:
        event = json.loads(value or b"")
    except (ValueError, RecursionError):
        return ""
    name = event.get("command_id") if isinstance(event, dict) else None
    return name if isinstance(name, str) else ""


async def read_reference(bootstrap: str) -> ReferenceTopic:
    """The topic from its beginning. Raises TimeoutError."""
    place = TopicPartition(topics.REFERENCE.name, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        client_id="checker",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
    )
    versions: list[int] = []
    latest: dict[str, bytes | None] = {}
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await consumer.start()
            consumer.assign([place])
            consumer.seek(place, 0)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        key = (record.key or b"").decode()
                        latest[key] = record.value
                        if key == "version" and record.value is not None:
                            versions.append(json.loads(record.value)["version"])
        finally:
            await consumer.stop()
    return ReferenceTopic(versions, latest)


async def _tables(postgres: Postgres) -> dict[str, Rows]:
    owner = await postgres.owner()
    try:
        return {name: [tuple(row) for row in await owner.fetch(query)] for name, query in _TABLES.items()}
    finally:
        await owner.close()


def lines_of(evidence: Evidence, topic: str) -> list[tuple[Place, Any]]:
    """All records of a topic with their places."""
    return [
        (Place(topic, partition), line)
        for partition in range(evidence.base.partitions)
        for line in evidence.base.final.get(Place(topic, partition), ())
    ]
