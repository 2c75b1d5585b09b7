"""`tollgate relay`: tells the engine what the office has changed, until it is told to stop."""

import asyncio
import logging
import signal
import sys
from typing import Annotated

import cyclopts

from connectors.broker import Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, settings
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import RELAY, DatabaseTrouble, open_database
from connectors.relay import EmptyTopic, Relay, Stuck
from connectors.settings import DatabaseSettings, KafkaSettings, database_settings, http_settings, kafka_settings
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.relay")


@app.command
def relay(
    *,
    republish: Annotated[
        bool,
        cyclopts.Parameter(negative="", help="Bring all that the database says to a Kafka that is new and empty."),
    ] = False,
) -> int:
    """Publish what the office changes to the engine, until stopped (SIGTERM, Ctrl-C).

    One relay works at a time; others stand by and take over. While the database or Kafka is away it waits. Settings
    are [kafka] and [database] of tollgate.toml. The exit code is 0 after a stop, 1 if something can't be published.
    """
    engine, kafka, database, http = settings(), kafka_settings(), database_settings(), http_settings()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    clock = BusinessClock(settable=http.settable_clock)
    try:
        return asyncio.run(_relay(engine, kafka, database, clock, republish=republish))
    except Unavailable as error:
        raise Refused(explain(error, kafka)) from None
    except (Unusable, UnknownTopic, DatabaseTrouble, EmptyTopic) as error:
        raise Refused(str(error)) from None


async def _relay(
    engine: EngineSettings,
    kafka: KafkaSettings,
    database_at: DatabaseSettings,
    clock: BusinessClock,
    *,
    republish: bool,
) -> int:
    async with open_database(database_at, role=RELAY) as database, open_broker(kafka) as broker:
        made = Relay(
            database.pool,
            broker,
            now_us=lambda: clock.now_us(database.pool),
            settings=engine,
            republish=republish,
        )
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
