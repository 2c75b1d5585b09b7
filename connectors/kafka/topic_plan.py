"""How the topics should be set up in a cluster, and what is wrong with one: pure, over a description of the cluster.

Why each setting is as it is stands beside it. What is there is never changed by a plan: a topic's data may hang on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from connectors.kafka import wire
from connectors.settings import KafkaSettings
from schemas import topics
from schemas.topics import Topic

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FOREVER = -1

LARGE_RECORD_BYTES = 4 * 1024 * 1024
"""Reference data come in large pieces; a rejected event holds any record that an input takes, a third larger."""

ONE = 1
"""Partitions of a topic whose records must be read in their order."""

DEFAULT_RECORD_BYTES = 1_048_588
"""What a broker allows if nobody says otherwise."""


class Retention(NamedTuple):
    """How long a topic keeps records when it is created, and the shortest time that does not lose any that matter."""

    days: int
    at_least_days: int


RETENTION = {
    # Unread events wait here while the engine is down: a long weekend and the repair must fit.
    topics.CALL_ATTEMPTS.name: Retention(14, 3),
    topics.CDRS.name: Retention(14, 3),
    topics.ACCOUNT_COMMANDS.name: Retention(14, 3),
    topics.CALL_DECISIONS.name: Retention(7, 3),
    # Bills and books are made of them: a month and its close.
    topics.RATED_CDRS.name: Retention(40, 7),
    topics.ACCOUNT_MOVEMENTS.name: Retention(40, 7),
    # A counter may still grow for as long as a CDR may be late (35 days).
    topics.NUMBER_NCV.name: Retention(40, 35),
    # People look at them, mend them and submit them again.
    topics.REJECTED_EVENTS.name: Retention(30, 7),
    topics.NOTICES.name: Retention(7, 3),
    topics.TRAFFIC.name: Retention(7, 3),
}

WRITTEN_BY_ENGINE = (*topics.OUTPUTS, topics.ENGINE_STATE)


class TopicSeen(NamedTuple):
    """A topic as the cluster describes it: `replication_factor` is that of its poorest partition."""

    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class ClusterSeen(NamedTuple):
    """A cluster as far as the topics are concerned. `topics` are those that are there, by their contract's name."""

    brokers: int
    topics: Mapping[str, TopicSeen]
    internal: Mapping[str, TopicSeen]
    """Kafka's own `__consumer_offsets` and `__transaction_state`, as soon as they are there."""

    versions: Mapping[int, tuple[int, int]]
    """First and last version of each request that the broker knows."""

    broker_configs: Mapping[str, str] | None
    """None if this client may not read them."""


class Finding(NamedTuple):
    """Something that is not as it should be. An error makes `topics check` fail, a warning does not."""

    severity: Literal["error", "warning"]
    subject: str
    problem: str
    remedy: str


class NewTopic(NamedTuple):
    """A topic to be created."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class ImpossiblePlan(Exception):
    """What was asked for contradicts what is there, or can't be in this cluster: says what to do instead."""


def plan(seen: ClusterSeen, settings: KafkaSettings, *, partitions: int | None, copies: int) -> list[NewTopic]:
    """The topics that are missing, as they should be created. Raises ImpossiblePlan.

    Topics that are partitioned like the inputs take the number of those that are there, else `partitions`, else the
    settings'.
    """
    counts = {seen.topics[topic.name].partitions for topic in _like_input() if topic.name in seen.topics}
    missing = [topic for topic in topics.ALL if topic.name not in seen.topics]
    if len(counts) > 1 and any(topic.partitioned_like_input for topic in missing):
        raise ImpossiblePlan(
            "the topics that are there do not have the same number of partitions, so the missing ones can't follow "
            "them; `tollgate topics check` lists them"
        )
    found = counts.pop() if len(counts) == 1 else None
    if found is not None and partitions is not None and found != partitions:
        raise ImpossiblePlan(
            f"--partitions {partitions}: there are topics with {found} already, and all must have the same number; "
            "leave the option out, or choose another topic_prefix"
        )
    if missing and copies > seen.brokers:
        raise ImpossiblePlan(
            f"replication factor {copies} needs {copies} brokers, and there {_are(seen.brokers)}; start more, "
            f"or lower it with --replication-factor {seen.brokers}"
        )
    number = found or partitions or settings.partitions
    known = seen.broker_configs
    return [
        NewTopic(
            settings.topic(topic.name),
            number if topic.partitioned_like_input else ONE,
            copies,
            topic_configs(topic, insync=insync_of(settings, copies), known=known),
        )
        for topic in missing
    ]


def insync_of(settings: KafkaSettings, copies: int) -> int:
    """How many copies must have a record: the settings', as far as there are so many."""
    return min(settings.min_insync_replicas, copies)


def topic_configs(topic: Topic, *, insync: int, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings with which a topic is created. `known` are a broker's own, where it may be asked."""
    configs = {
        "cleanup.policy": topic.policy,
        "min.insync.replicas": str(insync),
        # A copy that lacks records must never become the first.
        "unclean.leader.election.enable": "false",
        # Only time deletes: a limit of bytes would drop unread events on a busy day.
        "retention.bytes": str(FOREVER),
    }
    if topic.name in RETENTION:
        configs["retention.ms"] = str(RETENTION[topic.name].days * DAY_MS)
    if topic in WRITTEN_BY_ENGINE:
        # Kept and compacted by when it was written: a record takes the time of the event it came from, which may be
        # long ago, or ahead of the broker's clock.
        configs["message.timestamp.type"] = "LogAppendTime"
    elif topic in topics.INPUTS and known is not None and _AFTER_MAX_OF_BROKER in known:
        # Kafka 3.6 or newer. A switch whose clock is wrong must not carry the engine's clock away.
        configs["message.timestamp.after.max.ms"] = str(HOUR_MS)
    if topic.name in (topics.REFERENCE.name, topics.REJECTED_EVENTS.name):
        configs["max.message.bytes"] = str(LARGE_RECORD_BYTES)
    if topic.name == topics.ENGINE_STATE.name:
        # Each batch writes its changes and its position again, and a worker that takes a partition over reads all of
        # it: it is compacted early and often. Only closed segments are compacted.
        configs |= {
            "segment.bytes": str(64 * 1024 * 1024),
            "segment.ms": str(HOUR_MS),
            "min.cleanable.dirty.ratio": "0.1",
            "max.compaction.lag.ms": str(2 * HOUR_MS),
            # Longer than any reading of it takes, or a deleted key could come back.
            "delete.retention.ms": str(HOUR_MS),
        }
    elif "compact" in topic.policy:
        # Readers that were away for a week still learn what was deleted.
        configs |= {
            "segment.ms": str(DAY_MS),
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": str(7 * DAY_MS),
        }
    return configs


_AFTER_MAX_OF_BROKER = "log.message.timestamp.after.max.ms"


# -- checks -----------------------------------------------------------------------------------------------------------


def check(seen: ClusterSeen, settings: KafkaSettings) -> list[Finding]:
    """Everything that is wrong, errors first."""
    findings = [*_versions(seen), *_cluster(seen, settings)]
    missing = [topic.name for topic in topics.ALL if topic.name not in seen.topics]
    findings += [
        Finding("error", settings.topic(name), "is missing", "`tollgate topics create` makes what is missing")
        for name in missing
    ]
    findings += _partitions(seen, settings)
    for topic in topics.ALL:
        if topic.name in seen.topics:
            findings += _topic(topic, seen.topics[topic.name], seen, settings)
    return sorted(findings, key=lambda finding: finding.severity == "warning")


def _like_input() -> Sequence[Topic]:
    return [topic for topic in topics.ALL if topic.partitioned_like_input]


def _are(brokers: int) -> str:
    return "is 1" if brokers == 1 else f"are {brokers}"


def _versions(seen: ClusterSeen) -> Iterator[Finding]:
    for number, (name, needed) in wire.NEEDED.items():
        last = seen.versions.get(number, (0, -1))[1]
        if last < needed:
            yield Finding(
                "error",
                "broker",
                f"is too old: it knows {name} up to version {last}, and {needed} is needed",
                "install Kafka 2.8 or newer",
            )
            return


def _cluster(seen: ClusterSeen, settings: KafkaSettings) -> Iterator[Finding]:
    if seen.brokers == 1:
        yield Finding(
            "warning",
            "cluster",
            "has a single broker: what it has acknowledged survives the death of its process, not a loss of power",
            "in production: three brokers, replication factor 3, min.insync.replicas 2",
        )
    if seen.broker_configs is None:
        yield Finding(
            "warning",
            "brokers",
            "do not show this user their settings, which could not be checked",
            "allow DescribeConfigs on the cluster, or run this as an administrator",
        )
    else:
        if seen.broker_configs.get("auto.create.topics.enable") == "true":
            yield Finding(
                "warning",
                "brokers",
                "create any topic that a client names (auto.create.topics.enable), with their own number of partitions",
                "set auto.create.topics.enable=false on the brokers",
            )
        yield from _coordinators(seen, seen.broker_configs)
    if seen.brokers > 1:
        for name, topic in seen.internal.items():
            if topic.replication_factor < min(settings.replication_factor, seen.brokers):
                yield Finding(
                    "error",
                    name,
                    f"has replication factor {topic.replication_factor}, so one broker's loss stops the engine",
                    "raise it with kafka-reassign-partitions.sh",
                )


def _coordinators(seen: ClusterSeen, configs: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Kafka can make its own topics, and write to them: without them no group forms and no transaction begins.

    A node that was set up alone often keeps the defaults of three.
    """
    for name, factor, least in (
        ("__consumer_offsets", "offsets.topic.replication.factor", None),
        ("__transaction_state", "transaction.state.log.replication.factor", "transaction.state.log.min.isr"),
    ):
        there = seen.internal.get(name)
        wanted = _number(configs, factor, seen.brokers) if there is None else there.replication_factor
        if wanted > seen.brokers and there is None:
            yield Finding(
                "error",
                "brokers",
                f"can't make {name}: {factor} is {wanted}, and there {_are(seen.brokers)}",
                f"set {factor}={seen.brokers} on the brokers and restart them, or start more",
            )
        elif least is not None and _number(configs, least, 1) > wanted:
            yield Finding(
                "error",
                "brokers",
                f"can't write to {name}: {least} is {configs[least]}, and it has {wanted} copies",
                f"set {least}={max(1, wanted - 1)} on the brokers and restart them",
            )


def _partitions(seen: ClusterSeen, settings: KafkaSettings) -> Iterator[Finding]:
    for topic in topics.ALL:
        if not topic.partitioned_like_input and topic.name in seen.topics:
            count = seen.topics[topic.name].partitions
            if count != ONE:
                yield Finding(
                    "error",
                    settings.topic(topic.name),
                    f"has {count} partitions, not 1: its changes count in their order",
                    "create it anew with 1 partition and publish the reference data again",
                )
    counts = {topic.name: seen.topics[topic.name].partitions for topic in _like_input() if topic.name in seen.topics}
    if len(set(counts.values())) <= 1:
        return
    inputs = [counts[topic.name] for topic in topics.INPUTS if topic.name in counts] or list(counts.values())
    usual = max(set(inputs), key=lambda count: (inputs.count(count), count))
    for name, count in counts.items():
        if count != usual:
            yield Finding(
                "error",
                settings.topic(name),
                f"has {count} partitions where the others have {usual}; an account's events and its state must meet in "
                "the same one",
                f"stop the engine, create it anew with {usual} partitions and carry its records over"
                if count > usual
                else f"if nothing has been written to it yet: kafka-topics.sh --alter --topic {settings.topic(name)} "
                f"--partitions {usual}; else create it anew",
            )


def _topic(topic: Topic, there: TopicSeen, seen: ClusterSeen, settings: KafkaSettings) -> Iterator[Finding]:
    name = settings.topic(topic.name)

    def wrong(problem: str, config: str, value: object) -> Finding:
        return Finding("error", name, problem, _alter(name, config, value))

    configs = there.configs
    if seen.brokers > 1 and there.replication_factor < settings.replication_factor:
        yield Finding(
            "error",
            name,
            f"has replication factor {there.replication_factor}, not {settings.replication_factor}",
            "raise it with kafka-reassign-partitions.sh, or lower replication_factor in the settings",
        )
    policy = configs.get("cleanup.policy", "delete")
    if _words(policy) != _words(topic.policy):
        yield wrong(f"has cleanup.policy {policy}, not {topic.policy}", "cleanup.policy", topic.policy)
    insync = _number(configs, "min.insync.replicas", 1)
    wanted = insync_of(settings, there.replication_factor)
    if insync > there.replication_factor:
        yield wrong(
            f"wants {insync} copies of a record (min.insync.replicas) and has {there.replication_factor}: nothing can "
            "be written",
            "min.insync.replicas",
            wanted,
        )
    elif insync < wanted:
        yield wrong(
            f"counts a record as written with {insync} of its copies (min.insync.replicas), not {wanted}",
            "min.insync.replicas",
            wanted,
        )
    if there.replication_factor > 1 and configs.get("unclean.leader.election.enable") == "true":
        yield wrong(
            "may lose acknowledged records (unclean.leader.election.enable)", "unclean.leader.election.enable", "false"
        )
    if "delete" in _words(topic.policy) and "delete" in _words(policy):
        yield from _retention(topic, name, configs)
    if topic.name in (topics.REFERENCE.name, topics.REJECTED_EVENTS.name):
        size = _number(configs, "max.message.bytes", DEFAULT_RECORD_BYTES)
        if size < LARGE_RECORD_BYTES:
            yield wrong(
                f"takes records of {size} bytes (max.message.bytes), not {LARGE_RECORD_BYTES}",
                "max.message.bytes",
                LARGE_RECORD_BYTES,
            )
    if topic in WRITTEN_BY_ENGINE and configs.get("message.timestamp.type", "CreateTime") != "LogAppendTime":
        yield Finding(
            "warning",
            name,
            "counts its retention from the time of the events (message.timestamp.type), which may be long ago",
            _alter(name, "message.timestamp.type", "LogAppendTime"),
        )


def _retention(topic: Topic, name: str, configs: Mapping[str, str]) -> Iterator[Finding]:
    least = RETENTION[topic.name].at_least_days
    kept_ms = _number(configs, "retention.ms", 7 * DAY_MS)
    if kept_ms != FOREVER and kept_ms < least * DAY_MS:
        yield Finding(
            "error",
            name,
            f"keeps records for {_duration(kept_ms)} (retention.ms); at least {least} days are needed",
            _alter(name, "retention.ms", RETENTION[topic.name].days * DAY_MS),
        )
    if (size := _number(configs, "retention.bytes", FOREVER)) != FOREVER:
        yield Finding(
            "error",
            name,
            f"drops records as soon as a partition has {size} bytes (retention.bytes), read or not",
            _alter(name, "retention.bytes", FOREVER),
        )


def _alter(name: str, config: str, value: object) -> str:
    # Values with commas are lists and stand in brackets.
    text = f"[{value}]" if "," in str(value) else value
    return f"kafka-configs.sh --alter --topic {name} --add-config {config}={text}"


def _words(policy: str) -> frozenset[str]:
    return frozenset(word.strip() for word in policy.split(",") if word.strip())


def _number(configs: Mapping[str, str], name: str, default: int) -> int:
    return int(configs.get(name, default))


def _duration(ms: int) -> str:
    return f"{ms / DAY_MS:.3g} days" if ms >= DAY_MS else f"{ms / HOUR_MS:.3g} hours"
