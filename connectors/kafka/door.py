"""The way to a cluster from the settings: first contact with clear words, then a broker that is closed at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors.kafka.broker import KafkaBroker
from connectors.kafka.client import client_arguments, reach
from connectors.settings import KafkaSettings, kafka_settings


@asynccontextmanager
async def open_broker(settings: KafkaSettings | None = None) -> AsyncIterator[KafkaBroker]:
    """A connected broker; by default of the settings in force.

    Raises BadSettings, Unusable with what is wrong and the remedy, and Unavailable.
    """
    settings = settings or kafka_settings()
    await reach(settings)
    broker = kafka_broker(settings)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


def kafka_broker(settings: KafkaSettings) -> KafkaBroker:
    """A broker that has not been connected yet. Raises BadSettings."""
    return KafkaBroker(
        client_arguments(settings),
        prefix=settings.topic_prefix,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        max_poll_interval_ms=settings.max_poll_interval_ms,
        step_timeout_ms=settings.request_timeout_ms,
        commit_deadline_ms=settings.commit_deadline_ms,
        transaction_timeout_ms=settings.transaction_timeout_ms,
    )
