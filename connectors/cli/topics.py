"""`tollgate topics create|check`: the topics of a cluster and the access rights to them."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import cyclopts
import msgspec

from connectors.cli.app import Refused, app, out, print_json
from connectors.kafka import acls as access
from connectors.kafka import topic_plan
from connectors.kafka.admin import connect
from connectors.kafka.errors import Unusable
from connectors.kafka.topic_plan import Finding, ImpossiblePlan
from connectors.settings import KafkaSettings, kafka_settings

topics = cyclopts.App(name="topics", help="Create and check the topics in Kafka.")
app.command(topics)

AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
Principals = Annotated[
    tuple[str, ...],
    cyclopts.Parameter(
        name="--principal",
        help="PROCESS=PRINCIPAL, as in engine=User:engine; may be repeated. User:PROCESS if left out.",
    ),
]
_AT_LEAST_ONE = cyclopts.validators.Number(gte=1)


class Created(NamedTuple):
    """What `create` did."""

    topics: list[str]
    acls: list[access.Acl]
    findings: list[Finding]


@topics.command
def create(
    *,
    partitions: Annotated[
        int | None,
        cyclopts.Parameter(help="Of the topics that are partitioned like the inputs.", validator=_AT_LEAST_ONE),
    ] = None,
    replication_factor: Annotated[
        int | None, cyclopts.Parameter(help="Copies of each topic.", validator=_AT_LEAST_ONE)
    ] = None,
    acls: Annotated[bool, cyclopts.Parameter(help="Grant the processes the access rights that they need.")] = False,
    principal: Principals = (),
    json: AsJson = False,
) -> int:
    """Create the topics that are missing, and leave those that are there as they are.

    The exit code is 1 if one that is there is not as it should be.
    """
    settings = kafka_settings()
    who = access.principals(settings, principal) if acls else {}
    if replication_factor is not None:
        settings = msgspec.structs.replace(settings, replication_factor=replication_factor)
    try:
        created = asyncio.run(_create(settings, partitions, who if acls else None))
    except (Unusable, ImpossiblePlan) as error:
        raise Refused(str(error)) from None
    if json:
        print_json(
            {
                "created": created.topics,
                "granted": [acl._asdict() for acl in created.acls],
                "findings": [finding._asdict() for finding in created.findings],
            }
        )
    else:
        _print_created(created, acls=acls)
    return _exit_code(created.findings)


async def _create(settings: KafkaSettings, partitions: int | None, who: dict[str, tuple[str, ...]] | None) -> Created:
    async with connect(settings) as admin:
        plan = topic_plan.plan(
            await admin.describe(), settings, partitions=partitions, copies=settings.replication_factor
        )
        granted: list[access.Acl] = []
        there = None if who is None else await access.read(admin)  # refused before anything is made
        created = await admin.create(plan)
        if who is not None and there is not None:
            granted = access.missing(access.wanted(settings, who), there)
            await access.grant(admin, granted)
        findings = topic_plan.check(await admin.describe(), settings)
        if who is not None:
            findings += access.check(settings, who, await access.read(admin))
        return Created(created, granted, findings)


def _print_created(created: Created, *, acls: bool) -> None:
    if created.topics:
        _say(f"created: {', '.join(created.topics)}")
    else:
        _say("all topics are there already")
    if acls:
        _say(f"granted: {len(created.acls)} access rights" if created.acls else "all access rights are there already")
        for acl in created.acls:
            _say(f"  {acl}")
    _print_findings(created.findings)


@topics.command
def check(
    *,
    acls: Annotated[bool, cyclopts.Parameter(help="Check the access rights, too.")] = False,
    principal: Principals = (),
    json: AsJson = False,
) -> int:
    """Check the topics, and with --acls the access rights; exit code 1 if anything is wrong."""
    settings = kafka_settings()
    who = access.principals(settings, principal) if acls else None
    try:
        findings = asyncio.run(_check(settings, who))
    except Unusable as error:
        raise Refused(str(error)) from None
    if json:
        print_json({"ok": _exit_code(findings) == 0, "findings": [finding._asdict() for finding in findings]})
    else:
        if not any(finding.severity == "error" for finding in findings):
            _say("the topics are as they should be" + (", and so are the access rights" if acls else ""))
        _print_findings(findings)
    return _exit_code(findings)


async def _check(settings: KafkaSettings, who: dict[str, tuple[str, ...]] | None) -> list[Finding]:
    async with connect(settings) as admin:
        findings = topic_plan.check(await admin.describe(), settings)
        if who is not None:
            findings += access.check(settings, who, await access.read(admin))
        return findings


def _exit_code(findings: Sequence[Finding]) -> int:
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _print_findings(findings: Sequence[Finding]) -> None:
    # What is wrong with several in the same way is told once.
    alike: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        alike.setdefault((finding.severity, finding.problem, finding.remedy), []).append(finding.subject)
    for (severity, problem, remedy), subjects in alike.items():
        _say(f"{severity}: {', '.join(subjects)}: {problem}\n  → {remedy}")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
