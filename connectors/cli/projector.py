"""`tollgate projector`: brings what the engine says into the database until it is told to stop."""

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from typing import Annotated

import asyncpg
import cyclopts

from connectors.broker import BrokerError, Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, out, settings
from connectors.health import HealthServer
from connectors.kafka.acls import group_of
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.known import Known
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import PROJECTOR, DatabaseTrouble, explained, open_database
from connectors.postgres.facts import Facts
from connectors.postgres.facts_store import Away, FactsStore, Unwritable
from connectors.projector import Projector
from connectors.projector_metrics import ProjectorHealth, ProjectorMetrics, registry
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

log = logging.getLogger("tollgate.projector")


@app.command
def projector(
    *,
    laid_aside: Annotated[
        bool,
        cyclopts.Parameter(
            negative="", help="Try again to write the records that could not be stored, and end; Kafka is not needed."
        ),
    ] = False,
) -> int:
    """Write what the engine says into the database, until stopped (SIGTERM, Ctrl-C).

    Start several, on as many machines, for more speed or in case one dies; they share the partitions. Settings are
    [kafka], [database] and [metrics] of tollgate.toml; /metrics, /live and /ready are on the port of [metrics]. While
    the database or Kafka is away it waits. The exit code is 0 after a stop, 1 if it had to give up.
    """
    engine, kafka, database, metrics = settings(), kafka_settings(), database_settings(), metrics_settings()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if laid_aside:
            return asyncio.run(_laid_aside(engine, database))
        return asyncio.run(_projector(engine, kafka, database, metrics))
    except Unavailable as error:
        raise Refused(explain(error, kafka)) from None
    except (Unusable, UnknownTopic, DatabaseTrouble) as error:
        raise Refused(str(error)) from None


async def _laid_aside(engine: EngineSettings, database_at: DatabaseSettings) -> int:
    async with open_database(database_at, role=PROJECTOR) as database:
        try:
            written, left = await FactsStore(database.pool, Facts(engine.business_time_zone)).write_laid_aside()
        except Away as away:
            raise Refused(f"the database does not take anything now: {away}") from None
    out.print(f"{written} of {written + left} records that were laid aside have been written", highlight=False)
    return 1 if left else 0


async def _projector(
    engine: EngineSettings, kafka: KafkaSettings, database_at: DatabaseSettings, metrics_at: MetricsSettings
) -> int:
    async with (
        open_database(database_at, role=PROJECTOR) as database,
        open_broker(kafka) as broker,
        AsyncExitStack() as closing,
    ):
        metrics = ProjectorMetrics()
        store = FactsStore(database.pool, Facts(engine.business_time_zone))
        made = Projector(broker, store, group=group_of("projector", kafka), observer=metrics)
        metrics.watch(made)
        if metrics_at.port != 0:
            server = HealthServer(registry(metrics), ProjectorHealth(made))
            port = await server.start(metrics_at.host, metrics_at.port)
            closing.push_async_callback(server.close)
            log.info("numbers at http://%s:%d/metrics", metrics_at.host, port)
        clock = BusinessClock(settable=http_settings().settable_clock)
        known = Known(broker, database.pool, engine_group=kafka.application, now_us=lambda: clock.now_us(database.pool))
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, made.stop)
        try:
            await made.start()
        except ValueError as wrong:
            raise Refused(f"{wrong}; `tollgate topics check` says what is wrong") from None
        knowing = asyncio.create_task(known.run(), name="known")
        closing.push_async_callback(asyncio.wait, [knowing])
        closing.callback(knowing.cancel)
        try:
            await made.run()
        except (UnknownTopic, Unusable):
            raise
        except BrokerError as error:
            log.critical("%s", explain(error, kafka))
            return 1
        except Unwritable as error:
            log.critical("%s", error)
            return 1
        except asyncpg.PostgresError as error:
            log.critical("%s", explained(error, database_at, role=database.role))
            return 1
        log.info("stopped")
        return 0
