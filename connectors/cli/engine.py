"""`tollgate engine`: decides and rates on Kafka until it is told to stop."""

import asyncio
import gc
import logging
import signal
import sys
from contextlib import AsyncExitStack

from connectors.broker import BrokerError, Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, settings
from connectors.health import Health, HealthServer
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.metrics import EngineMetrics, registry
from connectors.partition_task import StateLost
from connectors.reference.reader import NoReference, ReferenceReader
from connectors.settings import KafkaSettings, MetricsSettings, kafka_settings, metrics_settings
from connectors.worker import Worker
from engine.settings import EngineSettings

log = logging.getLogger("tollgate.engine")

YOUNG_OBJECTS = 100_000
"""Objects made before the collector looks for cycles among the young ones: nearly all die by themselves."""


@app.command
def engine() -> int:
    """Decide and rate what comes through Kafka, until stopped (SIGTERM, Ctrl-C).

    One process uses one core: start as many as there are cores, on as many machines; they share the partitions.
    Settings are [kafka], [engine] and [metrics] of tollgate.toml; /metrics, /live and /ready are on the port of
    [metrics]. The exit code is 0 after a stop, 1 if it had to give up.
    """
    engine_settings, kafka, metrics = settings(), kafka_settings(), metrics_settings()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(_engine(engine_settings, kafka, metrics))
    except Unusable as error:
        raise Refused(str(error)) from None
    except Unavailable as error:
        raise Refused(explain(error, kafka)) from None
    except UnknownTopic as error:
        raise Refused(str(error)) from None
    except NoReference as error:
        raise Refused(str(error)) from None


async def _engine(engine_settings: EngineSettings, kafka: KafkaSettings, metrics_at: MetricsSettings) -> int:
    async with open_broker(kafka) as broker, AsyncExitStack() as closing:
        reader = ReferenceReader(broker)
        closing.push_async_callback(reader.close)
        metrics = EngineMetrics()
        await reader.start()
        # The tables stay as long as the process: the collector need not walk through them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 50, 1_000)
        worker = Worker(
            broker,
            engine_settings,
            reader,
            application=kafka.application,
            max_records=kafka.max_records,
            interval_seconds=kafka.batch_interval_ms / 1000,
            observer=metrics,
        )
        metrics.watch(worker)
        if metrics_at.port != 0:
            server = HealthServer(registry(metrics), Health(worker))
            port = await server.start(metrics_at.host, metrics_at.port)
            closing.push_async_callback(server.close)
            log.info("numbers at http://%s:%d/metrics", metrics_at.host, port)
        loop = asyncio.get_running_loop()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, worker.stop)
        return await _work(worker, reader, kafka)


async def _work(worker: Worker, reader: ReferenceReader, kafka: KafkaSettings) -> int:
    """The exit code."""
    following = asyncio.create_task(reader.run(), name="reference")
    working = asyncio.create_task(_run(worker), name="worker")
    try:
        await asyncio.wait((following, working), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            # Without its reference data the engine would decide by what was true once.
            worker.stop()
            await asyncio.wait((working,))
            following.result()
        working.result()
    except ValueError as wrong:
        raise Refused(f"{wrong}; `tollgate topics check` says what is wrong") from None
    except (UnknownTopic, Unusable):
        raise
    except BrokerError as error:
        log.critical("%s", explain(error, kafka))
        return 1
    except StateLost as error:
        log.critical("%s", error)
        return 1
    except AssertionError:
        log.critical("the engine found its state broken and stops before it commits", exc_info=True)
        return 1
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    log.info("stopped")
    return 0


async def _run(worker: Worker) -> None:
    await worker.start()
    await worker.run()
