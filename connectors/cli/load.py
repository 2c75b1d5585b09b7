"""`tollgate load --to-kafka DIR`: a reference folder to the topic `reference`, as far as it differs from it."""

import asyncio
import getpass
from pathlib import Path
from typing import Annotated

import cyclopts

from connectors.broker import Ambiguous, Fenced, Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, out, print_json, print_table, read_folder, settings
from connectors.files.reference_folder import ReferenceFolder
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.reference.publisher import ReferencePublisher, Report, Unpublishable
from connectors.settings import KafkaSettings, kafka_settings
from engine.settings import EngineSettings

_NOT_NEGATIVE = cyclopts.validators.Number(gte=0)


@app.command
def load(
    folder: Annotated[Path, cyclopts.Parameter(help="Folder of CSV files with accounts, prices, locks.")],
    *,
    to_kafka: Annotated[bool, cyclopts.Parameter(negative="", help="Publish it to the engine.")] = False,
    author: Annotated[str | None, cyclopts.Parameter(help="Who changes it; by default the system's user.")] = None,
    lead_seconds: Annotated[
        int | None,
        cyclopts.Parameter(
            help="How long the engine gets to make the tables of large price lists before they come into force; "
            "by default as long as it needs.",
            validator=_NOT_NEGATIVE,
        ),
    ] = None,
    json: Annotated[bool, cyclopts.Parameter(help="Print the report as JSON.")] = False,
) -> None:
    """Publish a reference folder: what differs from what is published comes into force together, as a new version.

    What the folder does not have any more goes; accounts never do. Nothing is sent where nothing differs.
    """
    if not to_kafka:
        raise Refused(
            "name where to load it: tollgate load --to-kafka DIR; loading into a database is not possible yet"
        )
    engine, kafka = settings(), kafka_settings()
    report = load_folder(read_folder(folder, engine), engine, kafka, author or _user(), lead_seconds)
    if json:
        print_json(as_dict(report))
    else:
        _print(report)


def load_folder(
    folder: ReferenceFolder, engine: EngineSettings, kafka: KafkaSettings, author: str, lead_seconds: int | None
) -> Report:
    """What publishing it did. Raises Refused."""
    try:
        return asyncio.run(_publish(folder, engine, kafka, author, lead_seconds))
    except (Unusable, Unpublishable, UnknownTopic) as error:
        raise Refused(str(error)) from None
    except Unavailable as error:
        raise Refused(explain(error, kafka)) from None
    except Fenced:
        raise Refused("someone else began to publish reference data meanwhile; load the folder again") from None
    except Ambiguous as error:
        raise Refused(f"{error}; nobody knows whether it was published: load the folder again to see") from None


async def _publish(
    folder: ReferenceFolder, engine: EngineSettings, kafka: KafkaSettings, author: str, lead_seconds: int | None
) -> Report:
    async with open_broker(kafka) as broker:
        publisher = await ReferencePublisher.open(broker, author=author, settings=engine)
        try:
            return await publisher.publish_folder(folder, lead_seconds=lead_seconds)
        finally:
            await publisher.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user without a name.
        return "tollgate load"


def as_dict(report: Report) -> dict[str, object]:
    """The report for programs."""
    return {**report._asdict(), "kinds": {kind: counts._asdict() for kind, counts in report.kinds.items()}}


def _print(report: Report) -> None:
    rows = [(kind.replace("_", " "), *map(str, counts)) for kind, counts in report.kinds.items() if any(counts)]
    if not report.published:
        out.print(f"version {report.version} is all of it already: nothing was published", highlight=False)
        return
    print_table(f"version {report.version}", ("", "new", "changed", "removed", "kept"), rows)
    out.print(
        f"{report.prices:,} prices in new and changed lists, {report.chunks_sent:,} chunks sent, "
        f"{report.chunks_kept:,} kept; {report.forgotten:,} outdated records taken off",
        highlight=False,
    )
