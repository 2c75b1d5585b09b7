"""What a transaction costs by itself: one with offsets alone, and one with a message besides."""

import time

from msgspec import Struct

from benchmarks.pipeline.lines import Line
from benchmarks.pipeline.worker import percentiles
from connectors.broker import Message, TopicPartition
from connectors.kafka.broker import KafkaBroker
from schemas import topics

_MESSAGE = Message(b"a1", bytes(1_900), 0)
"""As large as a decision with eight routes."""
_WARM_UP = 20


class TransactionArguments(Struct):
    """How many of each kind."""

    bootstrap: str
    prefix: str
    transactions: int


async def transactions(arguments: TransactionArguments, line: Line) -> None:
    """Says `transactions`: milliseconds and processor milliseconds of each kind, one by one on a quiet broker."""
    broker = KafkaBroker({"bootstrap_servers": arguments.bootstrap}, prefix=arguments.prefix)
    await broker.start()
    found: dict[str, object] = {}
    try:
        producer = await broker.producer("alone.0")
        for name, messages in (("empty", 0), ("one_message", 1)):
            seconds: list[float] = []
            spent = time.process_time()
            # The first ones look for their coordinators.
            for number in range(-_WARM_UP, arguments.transactions):
                if number == 0:
                    seconds.clear()
                    spent = time.process_time()
                message = _MESSAGE._replace(timestamp_us=time.time_ns() // 1000)
                started = time.perf_counter()
                await producer.begin()
                sends = [producer.send(topics.CALL_DECISIONS.name, 0, [message]) for _ in range(messages)]
                await producer.send_offsets("alone", {TopicPartition(topics.CALL_ATTEMPTS.name, 0): number + _WARM_UP})
                for send in sends:
                    await send
                await producer.commit()
                seconds.append(time.perf_counter() - started)
            spent = time.process_time() - spent
            median, p99 = percentiles(seconds, 0.5, 0.99)
            found[name] = {
                "p50_ms": median * 1000,
                "p99_ms": p99 * 1000,
                "max_ms": max(seconds) * 1000,
                "cpu_ms": spent / arguments.transactions * 1000,
            }
        await producer.close()
    finally:
        await broker.close()
    line.say(transactions=found)
