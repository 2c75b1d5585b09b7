"""The alternative: faust-streaming over the same topic with one table, a count and a balance for each account.

    python -m benchmarks.faust_table ARGUMENTS

It keeps the account and decides nothing. Faust works at least once here, its default: what it had handled since its
last commit, up to 2.8 seconds of events, is handled again after a crash, upon a table that has them already. So the
balance is not exact; its exactly-once mode is not used, since it passes over errors of transactions.
"""

import asyncio
import os
import sys
import time
from typing import Any

import msgspec
from msgspec import Struct

from schemas import topics
from schemas.codec import decode_switch_event


class TableArguments(Struct):
    """`folder`: a place of its own for what it keeps."""

    bootstrap: str
    prefix: str
    partitions: int
    events: int
    folder: str


async def count(arguments: TableArguments) -> dict[str, object]:
    """Handles so many attempts; the seconds from the first to the last, of the wall and of the processor."""
    # It reads its folder from the environment when it is imported.
    os.environ["FAUST_DATADIR"] = arguments.folder
    import faust

    app = faust.App(
        f"{arguments.prefix}table",
        broker=f"kafka://{arguments.bootstrap}",
        store="memory://",
        topic_partitions=arguments.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=arguments.folder,
    )
    attempts = app.topic(arguments.prefix + topics.CALL_ATTEMPTS.name, key_serializer="raw", value_serializer="raw")
    table = app.Table("accounts", key_type=str, partitions=arguments.partitions)
    handled = 0
    started = spent = 0.0
    done = asyncio.Event()

    async def keep(stream: Any) -> None:
        nonlocal handled, started, spent
        async for value in stream:
            if not handled:
                started, spent = time.perf_counter(), time.process_time()
            attempt = decode_switch_event(value)
            calls, balance = table.get(attempt.account_id) or (0, 0)
            table[attempt.account_id] = (calls + 1, balance - 1_000_000)
            handled += 1
            if handled == arguments.events:
                started, spent = time.perf_counter() - started, time.process_time() - spent
                done.set()

    app.agent(attempts)(keep)
    await app.start()
    try:
        await done.wait()
        calls = sum(kept[0] for kept in table.values())
        assert calls == arguments.events, f"the table has {calls} calls of {arguments.events}"
    finally:
        await app.stop()
    return {"events": handled, "accounts": len(table), "wall_seconds": started, "cpu_seconds": spent}


if __name__ == "__main__":
    found = asyncio.run(count(msgspec.json.decode(sys.argv[1], type=TableArguments)))
    sys.stdout.write(msgspec.json.encode({"counted": found}).decode() + "\n")
