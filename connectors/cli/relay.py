"""`tollgate relay`: tells the engine what the office has changed, until it is told to stop."""

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from typing import Annotated

import cyclopts
import msgspec

from connectors.broker import Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, settings
from connectors.health import HealthServer
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import RELAY, DatabaseTrouble, open_database
from connectors.relay import Relay
from connectors.relay_metrics import RelayHealth, RelayMetrics, registry
from connectors.relay_session import EmptyTopic, Stuck
from connectors.settings import (
    DatabaseSettings,
    KafkaSettings,
    MetricsSettings,
    database_settings,
    http_settings,
    kafka_settings,
    metrics_settings,
)
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.relay")

CONNECTIONS = 3
"""To the database, at the least."""


@app.command
def relay(
    *,
    republish: Annotated[
        bool,
        cyclopts.Parameter(negative="", help="Bring all that the database says to a Kafka that is new and empty."),
    ] = False,
) -> int:
    """Publish what the office changes to the engine, until stopped (SIGTERM, Ctrl-C).

    One relay works at a time; others stand by and take over. While the database or Kafka is away it waits. It also
    lifts the locks whose time is over. Settings are [kafka], [database] and [metrics] of tollgate.toml; /metrics, /live
    and /ready are on the port of [metrics]. The exit code is 0 after a stop, 1 if something can't be published.
    """
    engine, kafka, database, http = settings(), kafka_settings(), database_settings(), http_settings()
    metrics = metrics_settings()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    clock = BusinessClock(settable=http.settable_clock)
    try:
        return asyncio.run(_relay(engine, kafka, database, metrics, clock, republish=republish))
    except Unavailable as error:
        raise Refused(explain(error, kafka)) from None
    except (Unusable, UnknownTopic, DatabaseTrouble, EmptyTopic) as error:
        raise Refused(str(error)) from None


async def _relay(
    engine: EngineSettings,
    kafka: KafkaSettings,
    database_at: DatabaseSettings,
    metrics_at: MetricsSettings,
    clock: BusinessClock,
    *,
    republish: bool,
) -> int:
    # One connection is the active relay's for as long as it is active; others lift locks and read prices beside it.
    at_least = msgspec.structs.replace(database_at, pool_size=max(database_at.pool_size, CONNECTIONS))
    async with (
        open_database(at_least, role=RELAY) as database,
        open_broker(kafka) as broker,
        AsyncExitStack() as closing,
    ):
        metrics = RelayMetrics()
        made = Relay(
            database.pool,
            broker,
            now_us=lambda: clock.now_us(database.pool),
            settings=engine,
            republish=republish,
            observer=metrics,
        )
        metrics.watch(made)
        if metrics_at.port != 0:
            server = HealthServer(registry(metrics), RelayHealth(made))
            port = await server.start(metrics_at.host, metrics_at.port)
            closing.push_async_callback(server.close)
            log.info("numbers at http://%s:%d/metrics", metrics_at.host, port)
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, made.stop)
        try:
            await made.run()
        except Stuck as error:
            log.critical("%s", error)
            return 1
        log.info("stopped")
        return 0
