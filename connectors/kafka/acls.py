"""Access rights: which process may do what. One table; what is applied and what is checked comes from it.

Only the engine writes decisions, rated CDRs, balances and its state: who else could, could forge money.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from connectors.kafka.admin import Admin
from connectors.kafka.errors import Unusable
from connectors.kafka.topic_plan import WRITTEN_BY_ENGINE, Finding
from connectors.settings import BadSettings, KafkaSettings
from schemas import topics
from schemas.topics import Topic

Kind = Literal["topic", "group", "transactional_id"]


class Process(NamedTuple):
    """What a process reads and writes. A reader has a consumer group of its own, unless it `assigns` itself."""

    reads: Sequence[Topic]
    writes: Sequence[Topic]
    why: str
    transactions: bool = False
    ids: tuple[str, ...] = ()
    """Transactional ids of its own, beside those of the application."""
    watches: bool = False
    """Whether it asks how far the engine has come."""


PROCESSES: dict[str, Process] = {
    "engine": Process(
        reads=(*topics.INPUTS, topics.REFERENCE, topics.ENGINE_STATE),
        # Inputs too: an event that came to a partition that it does not belong to is passed on.
        writes=(*WRITTEN_BY_ENGINE, *topics.INPUTS),
        why="decides and rates",
        transactions=True,
    ),
    "reference": Process(
        (topics.REFERENCE,),
        (topics.REFERENCE,),
        "publishes accounts, prices, locks, numbers",
        ids=("tollgate-reference",),
    ),
    "switch": Process((topics.CALL_DECISIONS,), (topics.CALL_ATTEMPTS, topics.CDRS), "asks, and delivers CDRs"),
    "gateway": Process((topics.CALL_DECISIONS,), (topics.CALL_ATTEMPTS, topics.CDRS), "asks on behalf of switches"),
    "relay": Process(
        (topics.ACCOUNT_COMMANDS, topics.REFERENCE),
        # Attempts and CDRs too: a rejected one that was mended is submitted again.
        (topics.ACCOUNT_COMMANDS, topics.REFERENCE, topics.CALL_ATTEMPTS, topics.CDRS),
        "tells the engine what the office has changed",
        ids=("tollgate-relay", "tollgate-reference"),
    ),
    "projector": Process(
        # CDRs for where they end.
        (topics.CALL_ATTEMPTS, topics.CDRS, *topics.OUTPUTS),
        (),
        "writes what the switches ask and the engine publishes into PostgreSQL",
        watches=True,
    ),
    "billing": Process(
        (topics.RATED_CDRS, topics.ACCOUNT_BALANCES, topics.ACCOUNT_MOVEMENTS, topics.NOTICES, topics.NUMBER_NCV),
        (),
        "makes bills",
    ),
    "statistics": Process((topics.TRAFFIC, topics.RATED_CDRS, topics.CALL_DECISIONS), (), "counts"),
    "audit": Process((*topics.INPUTS, *topics.OUTPUTS, topics.ENGINE_STATE), (), "checks the books"),
}


class Acl(NamedTuple):
    """One right: `principal` may do `operation` with what is called `name`, or begins with it."""

    principal: str
    operation: str
    kind: str
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        names = f"all {self.kind.replace('_', ' ')}s {self.name}…" if self.prefixed else self.name
        if not self.prefixed and self.kind != "topic":
            names = f"{self.kind.replace('_', ' ')} {self.name}"
        return f"{self.principal}: {self.operation} {names}"


class AclSeen(NamedTuple):
    """A right as the broker has it; `deny` takes away."""

    acl: Acl
    host: str
    deny: bool


def group_of(process: str, settings: KafkaSettings) -> str:
    """The consumer group of a process, or what its groups' names begin with."""
    return settings.application if process == "engine" else f"{settings.topic_prefix}tollgate-{process}"


def principals(settings: KafkaSettings, options: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Whom the broker knows each process as: `--principal` wins over the settings, and they over `User:<process>`.

    Raises BadSettings for a process that there is not, or a principal without its kind.
    """
    found: dict[str, tuple[str, ...]] = {process: (f"User:{process}",) for process in PROCESSES}
    given = {
        process: tuple(one for one in ((value,) if isinstance(value, str) else value) if one)
        for process, value in settings.principals.items()
    }
    named: dict[str, list[str]] = {}
    for option in options:
        process, equals, principal = option.partition("=")
        if not equals:
            raise BadSettings(f"--principal {option!r}: write it as PROCESS=PRINCIPAL, as in engine=User:engine")
        named.setdefault(process, []).extend([principal] if principal else [])
    for where, values in (("principals", given), ("--principal", {name: tuple(some) for name, some in named.items()})):
        for process, some in values.items():
            if process not in PROCESSES:
                raise BadSettings(f"{where}: there is no process {process!r}; there are {', '.join(PROCESSES)}")
            for principal in some:
                if not principal.startswith("User:") or principal == "User:":
                    raise BadSettings(f"{where}: {principal!r} is no principal; write it as in User:{process}")
            found[process] = some
    return found


def wanted(settings: KafkaSettings, who: Mapping[str, Sequence[str]]) -> list[Acl]:
    """All rights that the processes need, each once."""
    rights = [
        right for process in PROCESSES for principal in who[process] for right in _of(process, principal, settings)
    ]
    return list(dict.fromkeys(rights))


def _of(name: str, principal: str, settings: KafkaSettings) -> Iterator[Acl]:
    process = PROCESSES[name]
    # Read and Write let describe, too.
    for topic in process.reads:
        yield Acl(principal, "Read", "topic", settings.topic(topic.name))
    for topic in process.writes:
        yield Acl(principal, "Write", "topic", settings.topic(topic.name))
    if process.reads:
        yield Acl(principal, "Read", "group", group_of(name, settings), prefixed=name != "engine")
    if process.watches:
        yield Acl(principal, "Describe", "group", group_of("engine", settings))
    if process.transactions:
        for operation in ("Write", "Describe"):
            yield Acl(principal, operation, "transactional_id", f"{settings.application}.", prefixed=True)
    for own in process.ids:
        for operation in ("Write", "Describe"):
            yield Acl(principal, operation, "transactional_id", own)


# -- what is there ----------------------------------------------------------------------------------------------------


def missing(need: Iterable[Acl], there: Iterable[AclSeen]) -> list[Acl]:
    """The rights that nothing that is there gives."""
    given = [seen.acl for seen in there if not seen.deny and seen.host == "*"]
    return [acl for acl in need if not any(_gives(other, acl) for other in given)]


def check(settings: KafkaSettings, who: Mapping[str, Sequence[str]], there: Sequence[AclSeen]) -> list[Finding]:
    """Rights that are missing or taken away, and writers that must not be."""
    need = wanted(settings, who)
    findings = [
        Finding("error", acl.principal, f"may not {_phrase(acl)}", "`tollgate topics create --acls` grants it")
        for acl in missing(need, there)
    ]
    for seen in there:
        taken = [acl for acl in need if seen.deny and _gives(seen.acl, acl)]
        findings += [
            Finding("error", acl.principal, f"is denied to {_phrase(acl)}", f"remove the entry that denies {seen.acl}")
            for acl in taken
        ]
    return [*findings, *_forgers(settings, who["engine"], there)]


def _forgers(settings: KafkaSettings, engine: Sequence[str], there: Sequence[AclSeen]) -> Iterator[Finding]:
    """Who but the engine may write what only the engine writes, or take its transactional ids."""
    for seen in there:
        acl = seen.acl
        if seen.deny or acl.principal in engine or acl.operation not in ("Write", "All"):
            continue
        own = [
            settings.topic(topic.name)
            for topic in WRITTEN_BY_ENGINE
            if _gives(acl, Acl(acl.principal, "Write", "topic", settings.topic(topic.name)))
        ]
        if own:
            yield Finding(
                "error",
                acl.principal,
                f"may write {', '.join(own)}, which only the engine writes: whoever can forges decisions and money",
                f"remove the entry {acl}",
            )
        elif acl.kind == "transactional_id" and _may_begin(acl, f"{settings.application}."):
            yield Finding(
                "error",
                acl.principal,
                f"may use transactional ids {settings.application}.…, and so stop the engine",
                f"remove the entry {acl}",
            )


def _may_begin(acl: Acl, prefix: str) -> bool:
    if acl.prefixed:
        return prefix.startswith(acl.name) or acl.name.startswith(prefix)
    return acl.name == "*" or acl.name.startswith(prefix)


def _gives(acl: Acl, need: Acl) -> bool:
    """Whether an entry covers a right: by a wildcard, a shorter prefix, or an operation that includes it."""
    if acl.kind != need.kind or acl.principal not in (need.principal, "User:*"):
        return False
    if acl.operation not in (need.operation, "All") and not (
        need.operation == "Describe" and acl.operation in ("Read", "Write", "Delete", "Alter")
    ):
        return False
    if acl.prefixed:
        return need.name.startswith(acl.name)
    return acl.name == "*" or (acl.name == need.name and not need.prefixed)


def _phrase(acl: Acl) -> str:
    """The right in words: "read cdrs", "use the group tollgate-engine"."""
    names = f"{acl.name}…" if acl.prefixed else acl.name
    if acl.kind == "topic":
        return f"{acl.operation.lower()} {names}"
    return f"{acl.operation.lower()} the {acl.kind.replace('_', ' ')} {names}"


# -- the broker -------------------------------------------------------------------------------------------------------

_KINDS = {2: "topic", 3: "group", 4: "cluster", 5: "transactional_id", 6: "delegation_token", 7: "user"}
_OPERATIONS = {
    2: "All",
    3: "Read",
    4: "Write",
    5: "Create",
    6: "Delete",
    7: "Alter",
    8: "Describe",
    9: "ClusterAction",
    10: "DescribeConfigs",
    11: "AlterConfigs",
    12: "IdempotentWrite",
}
_KIND_NUMBERS = {name: number for number, name in _KINDS.items()}
_OPERATION_NUMBERS = {name: number for number, name in _OPERATIONS.items()}
_ANY, _LITERAL, _PREFIXED, _DENY, _ALLOW = 1, 3, 4, 2, 3
_POLL_SECONDS = 0.1


async def read(admin: Admin) -> list[AclSeen]:
    """All rights that the cluster has on record. Raises Unusable, also where nothing enforces them."""
    doing = "see the access rights (Describe on the cluster)"
    answer = await admin.ask(DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY), doing)
    if answer.error_code:
        raise admin.refused(answer.error_code, answer.error_message, doing)
    return [
        AclSeen(
            Acl(principal, _OPERATIONS.get(operation, "?"), _KINDS.get(kind, "?"), name, pattern == _PREFIXED),
            host,
            permission == _DENY,
        )
        for kind, name, pattern, acls in answer.resources
        for principal, host, operation, permission in acls
    ]


async def grant(admin: Admin, rights: Sequence[Acl]) -> None:
    """Puts the rights on record and waits until the cluster has them. Raises Unusable."""
    doing = "grant access rights (Alter on the cluster)"
    for acl in rights:
        answer = await admin.ask(
            CreateAclsRequest(
                _KIND_NUMBERS[acl.kind],
                acl.name,
                _PREFIXED if acl.prefixed else _LITERAL,
                acl.principal,
                "*",
                _OPERATION_NUMBERS[acl.operation],
                _ALLOW,
            ),
            doing,
        )
        for code, message in answer.creation_responses:
            if code:
                raise admin.refused(code, message, doing)
    deadline = time.monotonic() + admin.settings.request_timeout_ms / 1000
    # The controller has them; the brokers hear of it a moment later.
    while still := missing(rights, await read(admin)):
        if time.monotonic() > deadline:
            raise Unusable(f"granted, but the brokers do not have it yet: {still[0]} and {len(still) - 1} more")
        await asyncio.sleep(_POLL_SECONDS)
