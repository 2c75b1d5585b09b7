"""`python -m benchmarks.pipeline ROLE ARGUMENTS`: one process of a benchmark, which starts and talks to it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from benchmarks.pipeline.bare import BareArguments, bare
from benchmarks.pipeline.engine_alone import EngineArguments, engine_alone
from benchmarks.pipeline.lines import Line
from benchmarks.pipeline.switches import SwitchArguments, switches
from benchmarks.pipeline.transactions import TransactionArguments, transactions
from benchmarks.pipeline.worker import WorkerArguments, worker
from connectors.kafka.client import quiet

ROLES: dict[str, tuple[type, Callable[[Any, Line], Awaitable[None]]]] = {
    "worker": (WorkerArguments, worker),
    "engine": (EngineArguments, engine_alone),
    "bare": (BareArguments, bare),
    "transactions": (TransactionArguments, transactions),
    "switches": (SwitchArguments, switches),
}


async def _play(role: str, arguments: bytes) -> None:
    kind, play = ROLES[role]
    await play(msgspec.json.decode(arguments, type=kind), await Line.open())


if __name__ == "__main__":
    quiet()
    asyncio.run(_play(sys.argv[1], sys.argv[2].encode()))
