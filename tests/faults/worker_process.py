"""A real worker in a process of its own, to which harm can be done at named points of a transaction.

`python -m tests.faults.worker_process OPTIONS` with `Options` as JSON. It says what it does on standard output, one
JSON object a line, and does as it is told on standard input: `trap POINT N` stops the whole process (SIGSTOP) when it
comes to that point the N-th time from now, `ready` has it say what it waits for, `leave` ends it in good order. When
its input ends, so does it.
"""

import asyncio
import logging
import os
import sys
from random import Random

import msgspec
from msgspec import Struct

from connectors.broker import BrokerError
from connectors.health import Health
from connectors.kafka.broker import KafkaBroker
from connectors.partition_task import Batch, PartitionTask
from connectors.worker import Unobserved, Worker
from tests.simulation.company import company

from .points import Trap, WatchedBroker, say
from .sabotage import SABOTAGES

GAVE_UP = 3
"""Exit code of a worker that could not go on with this broker, for a supervisor to start it again."""
BROKEN = 4
"""Exit code of a worker that ended for a reason of its own: a finding."""


class Options(Struct):
    """What a worker process is started with; times in milliseconds."""

    name: str
    bootstrap: str
    prefix: str
    seed: int
    log_file: str
    session_timeout_ms: int
    heartbeat_interval_ms: int
    step_timeout_ms: int
    commit_deadline_ms: int
    transaction_timeout_ms: int
    max_records: int
    sabotage: str = ""
    trap: str = ""
    """The point where it stops itself the first time; none if empty."""


class Teller(Unobserved):
    """Tells what the worker does."""

    def observe(self, batch: Batch) -> None:
        say(committed=batch.partition, records=len(batch.records))

    def taken(self, task: PartitionTask) -> None:
        say(taken=task.partition)

    def fenced(self, partition: int) -> None:
        say(fenced=partition)

    def ambiguous(self, partition: int) -> None:
        say(ambiguous=partition)

    def state_lost(self, partition: int) -> None:
        say(state_lost=partition)


def broker_of(options: Options) -> KafkaBroker:
    """The broker as the worker's settings have it."""
    return KafkaBroker(
        {
            "bootstrap_servers": options.bootstrap,
            "client_id": options.name,
            "request_timeout_ms": options.step_timeout_ms,
            "metadata_max_age_ms": 10_000,
        },
        prefix=options.prefix,
        session_timeout_ms=options.session_timeout_ms,
        heartbeat_interval_ms=options.heartbeat_interval_ms,
        step_timeout_ms=options.step_timeout_ms,
        commit_deadline_ms=options.commit_deadline_ms,
        transaction_timeout_ms=options.transaction_timeout_ms,
    )


async def work(options: Options) -> None:
    """Runs the worker until it is told to leave."""
    sabotage = SABOTAGES[options.sabotage]()
    operator = company(Random(f"{options.seed} company"))
    trap = Trap(options.trap)
    broker = broker_of(options)
    await broker.start()
    worker = sabotage.worker_class()(
        sabotage.door(WatchedBroker(broker, trap), options.name),
        operator.settings,
        operator.reference(),
        application=f"{options.prefix}engine",
        max_records=options.max_records,
        observer=Teller(),
    )
    obeying = asyncio.create_task(_obey(worker, trap))
    try:
        await worker.start()
        say(joined=options.name)
        await worker.run()
    finally:
        obeying.cancel()
        await broker.close()


async def _obey(worker: Worker, trap: Trap) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.decode().split():
            case ["trap", point, times]:
                trap.point, trap.left = point, int(times)
            case ["ready"]:
                say(waiting_for=Health(worker).waiting_for())
            case ["leave"]:
                worker.stop()
    # Whoever started this process has gone.
    os._exit(GAVE_UP)


def main() -> int:
    """Runs one worker; its exit code says how it ended."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    logging.basicConfig(
        filename=options.log_file, level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s"
    )
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    try:
        asyncio.run(work(options))
    except BrokerError as error:
        logging.exception("this worker can't go on")
        say(ended=f"{type(error).__name__}: {error}")
        return GAVE_UP
    except Exception as error:
        logging.exception("this worker is broken")
        say(ended=f"{type(error).__name__}: {error}")
        return BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
