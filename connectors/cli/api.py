"""`tollgate console`: serves the API until it is told to stop."""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Annotated

import cyclopts
import msgspec

from connectors.broker import Broker, BrokerError
from connectors.cli.app import Refused, app, settings
from connectors.console import with_console
from connectors.http import Services, create_app
from connectors.http.metrics import http_registry
from connectors.http.serve import serving
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.nightly.watch import watching
from connectors.postgres.database import DatabaseTrouble, open_database
from connectors.reference.reader import NoReference, ReferenceReader
from connectors.rerating import ReratingWork, ReratingWorker
from connectors.settings import (
    DatabaseSettings,
    HttpSettings,
    KafkaSettings,
    database_settings,
    http_settings,
    kafka_settings,
    nightly_settings,
    numbers_settings,
)
from engine.reference import Reference
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.console")

AGAIN_SECONDS = 5.0
"""How soon the broker is looked for again."""


@app.command
def console(
    *,
    host: Annotated[str | None, cyclopts.Parameter(help="The address to listen on; [http] host if left out.")] = None,
    port: Annotated[
        int | None,
        cyclopts.Parameter(
            help="The port; 0 is any. [http] port if left out.",
            validator=cyclopts.validators.Number(gte=0, lte=65_535),
        ),
    ] = None,
) -> int:
    """Serve the API, until stopped (SIGTERM, Ctrl-C): requests under way are answered first.

    Settings are [http], [database], [kafka] and [engine] of tollgate.toml. Without Kafka the office goes on; what needs
    the reference data in force waits for it, and /ready says so.
    """
    engine, kafka, database, http = settings(), kafka_settings(), database_settings(), http_settings()
    if host is not None:
        http = msgspec.structs.replace(http, host=host)
    if port is not None:
        http = msgspec.structs.replace(http, port=port)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(_console(engine, kafka, database, http))
    except DatabaseTrouble as trouble:
        raise Refused(str(trouble)) from None


async def _console(engine: EngineSettings, kafka: KafkaSettings, at: DatabaseSettings, http: HttpSettings) -> int:
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(open_database(at))
        following = FollowedReference(kafka)
        task = asyncio.create_task(following.run(), name="reference")
        closing.push_async_callback(_cancelled, task)
        services = Services(
            database,
            http=http,
            engine=engine,
            numbers=numbers_settings(),
            reference=following.reference,
            registry=http_registry(),
            waiting_for=following.waiting_for,
        )
        work = ReratingWork(database.pool, engine, lambda: services.business_clock.now(database.pool))
        rerating = asyncio.create_task(ReratingWorker(work).run(), name="re-ratings")
        closing.push_async_callback(_cancelled, rerating)
        # Nights that are asked for by the API; `tollgate nightly --wait` begins those of the clock.
        await closing.enter_async_context(
            watching(
                at,
                engine=engine,
                settings=nightly_settings(),
                numbers=services.numbers,
                clock=services.business_clock,
                registry=services.registry,
                by_clock=False,
            )
        )
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, stopping.set)
        async with serving(
            with_console(create_app(services), http=http, time_zone=engine.business_time_zone), http
        ) as address:
            log.info("serving at %s", address)
            await stopping.wait()
            log.info("stopping")
    log.info("stopped")
    return 0


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class FollowedReference:
    """The reference data in force, from Kafka; tried again for as long as Kafka is away."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._reader: ReferenceReader | None = None
        self._why = "the broker has not been reached yet"

    def reference(self) -> Reference | None:
        """What is in force; None: nothing yet. What was read last stays while Kafka is away."""
        return None if self._reader is None else self._reader.reference

    def waiting_for(self) -> Sequence[str]:
        """For /ready."""
        return () if self._reader is not None else (f"reference data: {self._why}",)

    async def run(self) -> None:
        """Follows for ever."""
        while True:
            try:
                async with open_broker(self._kafka) as broker:
                    await self._follow(broker)
            except BrokerError as error:
                self._told(explain(error, self._kafka))
            except (Unusable, NoReference, ValueError) as error:
                self._told(str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, broker: Broker) -> None:
        reader = ReferenceReader(broker)
        try:
            await reader.start()
            self._reader = reader
            log.info("reference data of version %d", reader.version)
            await reader.run()
        finally:
            await reader.close()

    def _told(self, why: str) -> None:
        if why != self._why:
            log.warning("%s; tried again every %g s", why, AGAIN_SECONDS)
        self._why = why
