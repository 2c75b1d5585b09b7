"""How fast the projector catches up: real records of the sample operator, from the in-memory broker into a PostgreSQL
of its own, with the columns, indexes and books that a deployment has.

Ids are drawn anew for each copy of the hour, so that they come in no order, as switches' ids do. The processor time of
client and server stand beside the wall time: on two cores they work side by side.
"""

import asyncio
import gc
import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

from connectors.broker import Message
from connectors.files.event_lines import EventFile, Placer, chunks
from connectors.files.reference_folder import read_reference_folder
from connectors.memory import MemoryBroker
from connectors.postgres.database import open_database
from connectors.postgres.facts import READ, Facts
from connectors.postgres.facts_store import FactsStore
from connectors.projector import Projector
from connectors.sample.operator import write_reference
from connectors.sample.traffic import write_traffic
from connectors.settings import DatabaseSettings
from connectors.worker import Worker
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas import topics

PARTITIONS = 16
_ID = re.compile(rb'"(attempt_id|cdr_id|command_id)":"([^"]+)"')
Said = dict[tuple[str, int], list[Message]]


def run(records: int, runs: int = 1) -> dict[str, object]:
    """Projects about so many records; the first run, which makes the tables' files, is not counted."""
    gc.set_threshold(50_000, 20, 100)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        said = asyncio.run(_an_hour(Path(folder)))
        gc.freeze()
        return asyncio.run(_measure(said, records, runs, Path(folder) / "postgresql"))


async def _an_hour(folder: Path) -> Said:
    """What the engine says in an hour of the sample operator, and what it was asked."""
    write_reference(folder / "reference")
    traffic = write_traffic(folder / "events", folder / "reference", attempts=20_000)
    settings = EngineSettings()
    found = read_reference_folder(
        folder / "reference",
        business_time_zone=settings.business_time_zone,
        emergency_numbers=settings.emergency_numbers,
    )
    reference = Reference(
        accounts=found.accounts.values(),
        providers=found.providers.values(),
        plans=found.tariff_plans.values(),
        price_lists=found.price_lists.values(),
        prices=found.prices,
        bands=found.bands.values(),
        locks=found.locks.values(),
        numbers=found.numbers.values(),
        discounts=found.discounts,
    )
    broker = MemoryBroker({topic.name: PARTITIONS for topic in topics.ALL})
    worker = Worker(broker, settings, reference)
    await worker.start()
    while not worker.ready:
        await worker.step()
    for path in traffic:
        file = EventFile(path)
        for lines in chunks(file, Placer(PARTITIONS), 2_000):
            for line in lines:
                broker.produce(line.topic, line.partition, [Message(line.key, line.value, line.timestamp_us)])
            left = len(lines)
            while left > 0:
                left -= await worker.step()
        file.close()
    await worker.close()
    return {
        (topic.name, partition): [
            Message(record.key, record.value, record.timestamp_us)
            for record in broker.committed(topic.name, partition)
            if b'"repeated":true' not in (record.value or b"")
        ]
        for topic in READ
        for partition in range(PARTITIONS)
    }


async def _measure(said: Said, records: int, runs: int, data_dir: Path) -> dict[str, object]:
    settings = DatabaseSettings(data_dir=data_dir, statement_timeout_ms=600_000)
    measured: list[dict[str, object]] = []
    kinds: dict[str, int] = {}
    async with open_database(settings, role=None) as database:
        broker = MemoryBroker({topic.name: PARTITIONS for topic in READ})
        projector = Projector(broker, FactsStore(database.pool, Facts("Europe/Moscow")))
        await projector.start()
        copies = count_all = 0
        for number in range(runs + 1):
            count = size = 0
            kinds = {}
            while count < records:
                copies += 1
                for (topic, partition), messages in said.items():
                    fresh = [_fresh(message, copies) for message in messages]
                    broker.produce(topic, partition, fresh)
                    count += len(fresh)
                    size += sum(len(message.value or b"") for message in fresh)
                    kinds[topic] = kinds.get(topic, 0) + len(fresh)
            count_all += count
            await database.pool.execute("CHECKPOINT")
            gc.collect()
            client, server, started = time.process_time(), _server_seconds(data_dir), time.perf_counter()
            while sum(position.next_offset for position in projector.positions.values()) < count_all:
                await projector.turn(0.2)
            await projector.finish()
            wall = time.perf_counter() - started
            if number:
                measured.append(
                    {
                        "per_wall_second": round(count / wall),
                        "client_cpu_us": round((time.process_time() - client) / count * 1e6, 1),
                        "server_cpu_us": round((_server_seconds(data_dir) - server) / count * 1e6, 1),
                        "bytes_each": round(size / count),
                        "records": count,
                    }
                )
            for place, position in projector.positions.items():
                broker.forget(*place, position.next_offset)
        await projector.close()
    return {"records": kinds, "runs": measured}


def _fresh(message: Message, copy: int) -> Message:
    def drawn(found: re.Match[bytes]) -> bytes:
        digest = hashlib.blake2b(found[2] + b"%d" % copy, digest_size=10).hexdigest()
        return b'"%s":"%s"' % (found[1], digest.encode())

    return message._replace(value=_ID.sub(drawn, message.value or b""))


def _server_seconds(data_dir: Path) -> float:
    """Processor seconds of the server's processes that live now."""
    ticks = 0
    postmaster = (data_dir / "cluster" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
            except OSError:
                continue
            if fields[1] == postmaster or entry.name == postmaster:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
