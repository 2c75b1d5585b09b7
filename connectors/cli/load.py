"""`tollgate load DIR`: a reference folder into the database, as far as it differs from what is there.

With `--to-kafka` to the topic `reference` instead, for a deployment without a database.
"""

import asyncio
import getpass
import time
from pathlib import Path
from typing import Annotated

import cyclopts

from connectors.broker import Ambiguous, Fenced, Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, out, print_json, print_table, read_folder, settings
from connectors.files.reference_folder import ReferenceFolder
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.postgres.change import OutcomeUnknown
from connectors.postgres.database import DRIVER_TROUBLES, DatabaseTrouble, explained, open_database
from connectors.postgres.load import LoadRefused, LoadReport
from connectors.postgres.load import load_folder as load_into_database
from connectors.reference.publisher import ReferencePublisher, Report, Unpublishable
from connectors.settings import DatabaseSettings, KafkaSettings, database_settings, kafka_settings
from engine.settings import EngineSettings
from schemas.times import to_datetime

_NOT_NEGATIVE = cyclopts.validators.Number(gte=0)


@app.command
def load(
    folder: Annotated[Path, cyclopts.Parameter(help="Folder of CSV files with accounts, prices, locks.")],
    *,
    to_kafka: Annotated[
        bool, cyclopts.Parameter(negative="", help="Publish it to the engine straight away, past the database.")
    ] = False,
    if_empty: Annotated[
        bool, cyclopts.Parameter(negative="", help="Do nothing where the database has accounts already.")
    ] = False,
    author: Annotated[str | None, cyclopts.Parameter(help="Who changes it; by default the system's user.")] = None,
    lead_seconds: Annotated[
        int | None,
        cyclopts.Parameter(
            help="How long the engine gets to make the tables of large price lists before they come into force; "
            "by default as long as it needs. With --to-kafka.",
            validator=_NOT_NEGATIVE,
        ),
    ] = None,
    json: Annotated[bool, cyclopts.Parameter(help="Print the report as JSON.")] = False,
) -> None:
    """Load a reference folder into the database: what differs from what is there comes into force together.

    What the folder does not have any more goes; accounts never do. Nothing changes where nothing differs, or where
    anything in the folder is wrong: then all of its errors are listed. The relay publishes the changes to the engine.
    """
    engine = settings()
    if to_kafka:
        if if_empty:
            raise Refused("--if-empty is for the database; --to-kafka publishes what differs")
        report = load_folder(read_folder(folder, engine), engine, kafka_settings(), author or _user(), lead_seconds)
        if json:
            print_json(as_dict(report))
        else:
            _print(report)
        return
    if lead_seconds is not None:
        raise Refused("--lead-seconds is for --to-kafka: the relay takes the time that the engine needs")
    database = database_settings()
    if if_empty and has_accounts(database):
        why = "the database has accounts already: nothing was loaded"
        print_json({"loaded": False, "why": why}) if json else out.print(why, highlight=False)
        return
    loaded = store_folder(read_folder(folder, engine), database, author or _user(), str(folder))
    if json:
        print_json({**loaded._asdict(), "kinds": {kind: counts._asdict() for kind, counts in loaded.kinds.items()}})
    else:
        _print_loaded(loaded)


def store_folder(folder: ReferenceFolder, database: DatabaseSettings, author: str, source: str) -> LoadReport:
    """What loading it into the database did. Raises Refused."""

    async def loaded() -> LoadReport:
        # Locks are lifted by nobody but the owner and their own functions.
        async with open_database(database, role=None) as there:
            now = to_datetime(time.time_ns() // 1_000_000 * 1000)
            return await load_into_database(there.pool, folder, author=author, at=now, source=source)

    try:
        return asyncio.run(loaded())
    except (DatabaseTrouble, LoadRefused) as error:
        raise Refused(str(error)) from None
    except OutcomeUnknown as error:
        raise Refused(f"{error}; load the folder again: what is there already stays as it is") from None
    except DRIVER_TROUBLES as error:
        raise Refused(f"{explained(error, database)}; nothing was loaded") from None


def has_accounts(database: DatabaseSettings) -> bool:
    """Whether anything was loaded before. Raises Refused."""

    async def asked() -> bool:
        async with open_database(database, role=None) as there:
            found: bool = await there.pool.fetchval("SELECT EXISTS (SELECT FROM office.accounts)")
            return found

    try:
        return asyncio.run(asked())
    except DatabaseTrouble as error:
        raise Refused(str(error)) from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, database))) from None


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


def _print_loaded(report: LoadReport) -> None:
    rows = [(kind.replace("_", " "), *map(str, counts)) for kind, counts in report.kinds.items() if any(counts)]
    if report.change_id is None:
        out.print("the database says all of it already: nothing was changed", highlight=False)
    else:
        print_table(f"change {report.change_id}", ("", "new", "changed", "removed", "kept"), rows)
        out.print(f"{report.prices:,} prices in {len(report.versions):,} new versions of price lists", highlight=False)
    for name, accounts, remedy in (
        ("opening balance", report.balances_kept, "payments and write-offs move it"),
        ("status", report.statuses_kept, "commands block and close accounts"),
    ):
        if accounts:
            listed = ", ".join(accounts[:5]) + (f" and {len(accounts) - 5:,} more" if len(accounts) > 5 else "")
            out.print(f"not taken over: the {name} of accounts {listed}; {remedy}", markup=False, highlight=False)


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
