"""`tollgate audit`: proves that books, balances, engine and topics say the same of each account, to the micro."""

import asyncio
from datetime import date
from typing import Annotated, Any

import cyclopts

from backoffice.audit import Finding
from connectors.audit import Report
from connectors.audit import audit as audit_books
from connectors.broker import BrokerError, Unavailable, UnknownTopic
from connectors.cli.app import Refused, app, err, out, print_json, print_table, settings
from connectors.kafka.door import open_broker
from connectors.kafka.errors import Unusable, explain
from connectors.postgres.database import DRIVER_TROUBLES, READONLY, DatabaseTrouble, explained, open_database
from connectors.settings import DatabaseSettings, KafkaSettings, database_settings, kafka_settings
from engine.settings import EngineSettings
from schemas.money import to_text

_POSITIVE = cyclopts.validators.Number(gte=1)


@app.command
def audit(
    *,
    since: Annotated[
        date | None,
        cyclopts.Parameter(
            help="Compare single rows from this business day on; sums are always those of all days.",
        ),
    ] = None,
    database_only: Annotated[
        bool, cyclopts.Parameter(negative="", help="Leave out the engine and the topics, and what only they can say.")
    ] = False,
    at_most: Annotated[int, cyclopts.Parameter(help="Findings of each kind.", validator=_POSITIVE)] = 1_000,
    json: Annotated[bool, cyclopts.Parameter(help="Print the report as JSON.")] = False,
) -> int:
    """Audit the books: opening + payments + top-ups - write-offs - calls = balance, of each account, to the micro, by
    the books, the database, the topics and the engine alike; every row as its bytes say; every command accounted for;
    the office's audit log unbroken. It may run while calls go on.

    The exit code is 1 if anything is wrong; warnings alone do not count.
    """
    engine, kafka, database = settings(), kafka_settings(), database_settings()
    try:
        report = asyncio.run(_audit(engine, kafka, database, since, at_most, database_only=database_only))
    except (Unusable, UnknownTopic, DatabaseTrouble) as error:
        raise Refused(str(error)) from None
    except Unavailable as error:
        raise Refused(f"{explain(error, kafka)}; --database-only audits what the database says by itself") from None
    except BrokerError as error:
        raise Refused(explain(error, kafka)) from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, database, role=READONLY))) from None
    if json:
        print_json(as_dict(report))
    else:
        _print(report)
    return 1 if report.failed else 0


async def _audit(
    engine: EngineSettings,
    kafka: KafkaSettings,
    database_at: DatabaseSettings,
    since: date | None,
    at_most: int,
    *,
    database_only: bool,
) -> Report:
    zone = engine.business_time_zone
    async with open_database(database_at, role=READONLY) as database:
        if database_only:
            return await audit_books(database.pool, None, business_time_zone=zone, since=since, at_most=at_most)
        async with open_broker(kafka) as broker:
            return await audit_books(database.pool, broker, business_time_zone=zone, since=since, at_most=at_most)


def as_dict(report: Report) -> dict[str, Any]:
    """The report for programs."""
    return {
        "failed": report.failed,
        "findings": [finding._asdict() for finding in report.findings],
        "findings_left_out": report.left_out,
        "accounts": report.accounts,
        "rows": dict(report.rows),
        "on_its_way": dict(report.on_its_way),
        "topics_read": report.topics_read,
        "clients_micros": dict(report.clients),
        "ledger_micros": {
            kind: {"debit": debit, "credit": credit} for kind, (debit, credit) in sorted(report.ledger.items())
        },
    }


def _print(report: Report) -> None:
    print_table(
        "The ledger",
        ("accounts", "debit", "credit", "credit - debit"),
        [
            (kind, to_text(debit), to_text(credit), to_text(credit - debit))
            for kind, (debit, credit) in sorted(report.ledger.items())
        ],
    )
    print_table(
        f"Money of {report.accounts:,} accounts",
        ("by", "sum"),
        [(_BY[by], to_text(micros)) for by, micros in report.clients.items()],
    )
    compared = ", ".join(f"{count:,} of {table.replace('_', ' ')}" for table, count in report.rows.items()) or "none"
    out.print(f"rows compared with their bytes: {compared}", highlight=False)
    if report.on_its_way:
        coming = ", ".join(f"{count:,} of {topic}" for topic, count in sorted(report.on_its_way.items()))
        out.print(f"on its way to the database: {coming}", highlight=False)
    if not report.topics_read:
        out.print("the engine and the topics were left out", highlight=False)
    if not report.findings:
        out.print("everything agrees, to the micro", highlight=False)
        return
    print_table(
        "Findings", ("", "what", "where", "cause", "expected", "found", ""), [_cells(one) for one in report.findings]
    )
    if report.left_out:
        err.print(f"… and {report.left_out:,} more")


_BY = {
    "books": "the books, with what is on its way",
    "balances": "the topic account-balances",
    "engine": "the engine's state",
    "rows": "facts.balances",
}


def _cells(finding: Finding) -> tuple[str, ...]:
    return (
        finding.severity,
        finding.what,
        finding.where,
        finding.cause,
        *("" if one is None else str(one) for one in (finding.expected, finding.found)),
        finding.text,
    )
