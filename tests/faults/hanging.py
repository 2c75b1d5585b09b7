"""A transaction whose end a broker has lost: records that nobody will ever commit or abort, and the operator's way out.

A broker loses it when it dies while it writes the markers: its coordinator calls the transaction ended then, though a
partition has not heard of that. Here it is written by hand, in the requests of old clients: the coordinator is told of
all partitions but one, and the broker does not look whether it was told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from connectors.kafka import wire
from connectors.kafka.producer import MAX_BATCH_BYTES

from .arena import Arena
from .fleet import DEADLINE_SECONDS

TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
"""What `kafka-transactions.sh` runs."""

_BROKER_ID = 1
_UNVERIFIED = 48
"""INVALID_TXN_STATE: the partition is not in the transaction, says its coordinator."""

_TIMEOUT_MS = 60_000

Written = Mapping[str, tuple[bytes | None, bytes]]
"""A record for each topic: key and value."""


async def leave_hanging(arena: Arena, partition: int, *, lost: Written, known: Written) -> None:
    """Leaves a transaction of the partition's producer open, of which the coordinator does not know that it is in
    `lost`; what is in `known` is aborted when the next producer takes over."""
    transactional_id = f"{arena.group}.{partition}"
    client = AIOKafkaClient(bootstrap_servers=arena.ground.bootstrap, client_id="hand")
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await client.bootstrap()
            await client.force_metadata_update()
            who = await _take_over(client, transactional_id)
            there = {arena.prefix + topic: [partition] for topic in known}
            answers = [await _ask(client, transactional_id, wire.AddPartitions(transactional_id, who, there))]
            async with _unverified(arena):
                for topic, record in (known | lost).items():
                    batches = {arena.prefix + topic: [(partition, _batch(who, *record))]}
                    produce = wire.Produce(9, transactional_id, _TIMEOUT_MS, batches)
                    # The settings were taken, which is not to say that the broker goes by them already.
                    while _UNVERIFIED in (answer := await client.send(_BROKER_ID, produce)).values():
                        await asyncio.sleep(0.1)
                    answers.append(answer)
        finally:
            await client.close()
    assert not any(error for answer in answers for error in answer.values()), answers


async def hanging(arena: Arena, topic: str, partition: int) -> dict[str, str] | None:
    """What `find-hanging` says of it, by column; None if it finds nothing."""
    where = ("--topic", arena.prefix + topic, "--partition", str(partition))
    # It is asked for at once, not after the longest time that a transaction may take.
    said = await asyncio.to_thread(
        arena.ground.kafka.tool, TRANSACTIONS, "find-hanging", *where, "--max-transaction-timeout", "0"
    )
    head, *lines = [[word.strip() for word in line.split("\t")] for line in said.splitlines() if line.strip()]
    return dict(zip(head, lines[0], strict=False)) if lines else None


async def abort(arena: Arena, found: Mapping[str, str]) -> None:
    """Ends what `hanging` has found."""
    where = ("--topic", found["Topic"], "--partition", found["Partition"], "--start-offset", found["StartOffset"])
    await asyncio.to_thread(arena.ground.kafka.tool, TRANSACTIONS, "abort", *where)


async def _take_over(client: AIOKafkaClient, transactional_id: str) -> wire.Identity:
    while True:
        answer = await _ask(client, transactional_id, wire.InitProducerId(transactional_id, _TIMEOUT_MS))
        if answer.error == wire.NO_ERROR:
            return wire.Identity(*answer.identity)
        # What the one before left open is being aborted.
        await asyncio.sleep(0.02)


async def _ask(client: AIOKafkaClient, transactional_id: str, request: wire.Request) -> Any:
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
    return await client.send(node, request, group=ConnectionGroup.COORDINATION)


def _batch(who: wire.Identity, key: bytes | None, value: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=True,
        producer_id=who.producer_id,
        producer_epoch=who.epoch,
        base_sequence=0,
        batch_size=MAX_BATCH_BYTES,
    )
    builder.append(0, int(time.time() * 1000), key, value, [])
    return bytes(builder.build())


@asynccontextmanager
async def _unverified(arena: Arena) -> AsyncIterator[None]:
    """Meanwhile the broker lets a transaction write where its coordinator does not know of it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=arena.ground.bootstrap, client_id="hand")
    await admin.start()
    try:
        await _set(admin, {"transaction.partition.verification.enable": "false"})
        yield
        await _set(admin, {})
    finally:
        await admin.close()


async def _set(admin: AIOKafkaAdminClient, configs: dict[str, str]) -> None:
    for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, str(_BROKER_ID), configs)]):
        for error, message, *_ in answer.resources:
            assert error == 0, message
