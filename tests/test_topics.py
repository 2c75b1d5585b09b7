"""Topics: what is created in a cluster, what `topics check` finds, and what is said when there is no cluster at all.

The plans are values over a described cluster; the commands run in processes of their own, against a real broker, a port
that refuses, and ports that do not do what a broker does.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from test_cli import Ran, _elsewhere, refused, tollgate  # noqa: F401  (each test in an empty folder of its own)

from connectors.kafka import wire
from connectors.kafka.topic_plan import (
    DAY_MS,
    LARGE_RECORD_BYTES,
    RETENTION,
    ClusterSeen,
    Finding,
    ImpossiblePlan,
    TopicSeen,
    check,
    plan,
    topic_configs,
)
from connectors.settings import KafkaSettings
from deploy.kafka.local import LocalKafka
from schemas import topics

SETTINGS = KafkaSettings(topic_prefix="x-")
LIKE_INPUT = [topic.name for topic in topics.ALL if topic.partitioned_like_input]
MODERN = dict.fromkeys(wire.NEEDED, (0, 99))
BROKER_CONFIGS = {
    "auto.create.topics.enable": "false",
    "log.message.timestamp.after.max.ms": "3600000",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


def good_topics(copies: int = 3) -> dict[str, TopicSeen]:
    """All topics as they should be, with 16 partitions."""
    return {
        topic.name: TopicSeen(
            16 if topic.partitioned_like_input else 1,
            copies,
            topic_configs(topic, insync=min(2, copies), known=BROKER_CONFIGS),
        )
        for topic in topics.ALL
    }


def cluster(
    seen: Mapping[str, TopicSeen] | None = None,
    *,
    brokers: int = 3,
    internal: Mapping[str, TopicSeen] | None = None,
    versions: Mapping[int, tuple[int, int]] = MODERN,
    configs: Mapping[str, str] | None = BROKER_CONFIGS,
) -> ClusterSeen:
    return ClusterSeen(brokers, good_topics() if seen is None else seen, internal or {}, versions, configs)


def altered(topic: str, **configs: str) -> ClusterSeen:
    """A good cluster in which one topic has other settings; dots are written as underscores."""
    seen = good_topics()
    changed = {**seen[topic].configs, **{name.replace("_", "."): value for name, value in configs.items()}}
    return cluster(seen | {topic: seen[topic]._replace(configs=changed)})


def errors(seen: ClusterSeen, settings: KafkaSettings = SETTINGS) -> list[Finding]:
    return [finding for finding in check(seen, settings) if finding.severity == "error"]


def warnings(seen: ClusterSeen, settings: KafkaSettings = SETTINGS) -> list[Finding]:
    return [finding for finding in check(seen, settings) if finding.severity == "warning"]


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_in_an_empty_cluster_all_topics_are_created_with_their_policy() -> None:
    new = {topic.name: topic for topic in plan(cluster({}), SETTINGS, partitions=None, copies=3)}

    assert set(new) == {f"x-{topic.name}" for topic in topics.ALL}
    for topic in topics.ALL:
        made = new[f"x-{topic.name}"]
        assert made.configs["cleanup.policy"] == topic.policy
        assert made.partitions == (16 if topic.partitioned_like_input else 1)
        assert (made.replication_factor, made.configs["min.insync.replicas"]) == (3, "2")


def test_what_a_plan_creates_is_what_the_check_wants() -> None:
    seen = {
        topic.name.removeprefix("x-"): TopicSeen(topic.partitions, topic.replication_factor, topic.configs)
        for topic in plan(cluster({}), SETTINGS, partitions=4, copies=3)
    }

    assert check(cluster(seen), SETTINGS) == []


def test_what_is_there_is_left_alone() -> None:
    seen = good_topics()
    del seen["notices"], seen["reference"]

    assert [topic.name for topic in plan(cluster(seen), SETTINGS, partitions=None, copies=3)] == [
        "x-reference",
        "x-notices",
    ]
    assert plan(cluster(), SETTINGS, partitions=None, copies=3) == []


def test_a_missing_topic_gets_as_many_partitions_as_those_that_are_there() -> None:
    seen = {"cdrs": TopicSeen(7, 3, {})}

    new = plan(cluster(seen), SETTINGS, partitions=None, copies=3)

    assert {topic.partitions for topic in new if topic.name != "x-reference"} == {7}


def test_another_number_of_partitions_than_that_of_the_topics_there_is_refused() -> None:
    with pytest.raises(ImpossiblePlan, match="topics with 7 already"):
        plan(cluster({"cdrs": TopicSeen(7, 3, {})}), SETTINGS, partitions=8, copies=3)
    with pytest.raises(ImpossiblePlan, match="do not have the same number"):
        plan(
            cluster({"cdrs": TopicSeen(7, 3, {}), "notices": TopicSeen(8, 3, {})}),
            SETTINGS,
            partitions=None,
            copies=3,
        )


def test_more_copies_than_brokers_are_refused_with_the_option_to_take() -> None:
    with pytest.raises(ImpossiblePlan, match=r"there is 1; .*--replication-factor 1"):
        plan(cluster({}, brokers=1), SETTINGS, partitions=None, copies=3)
    assert plan(cluster(brokers=1), SETTINGS, partitions=None, copies=3) == []


def test_a_single_copy_need_not_wait_for_a_second_one() -> None:
    new = plan(cluster({}, brokers=1), SETTINGS, partitions=None, copies=1)

    assert {topic.configs["min.insync.replicas"] for topic in new} == {"1"}


def test_a_setting_that_the_broker_does_not_know_is_not_asked_for() -> None:
    def limited(configs: Mapping[str, str] | None) -> set[str]:
        new = plan(cluster({}, configs=configs), SETTINGS, partitions=None, copies=3)
        return {topic.name for topic in new if "message.timestamp.after.max.ms" in topic.configs}

    assert limited(BROKER_CONFIGS) == {"x-call-attempts", "x-cdrs", "x-account-commands"}
    assert limited({}) == limited(None) == set()


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_only_time_and_keys_delete_records(topic: topics.Topic) -> None:
    configs = topic_configs(topic, insync=2)

    assert configs["retention.bytes"] == "-1"
    if "delete" in topic.policy:
        assert int(configs["retention.ms"]) == RETENTION[topic.name].days * DAY_MS
        assert RETENTION[topic.name].days > RETENTION[topic.name].at_least_days
    else:
        assert "retention.ms" not in configs


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_cluster_that_is_as_it_should_be_gives_no_findings() -> None:
    assert check(cluster(), SETTINGS) == []


def test_every_missing_topic_is_found() -> None:
    found = errors(cluster({}))

    assert {finding.subject for finding in found} == {f"x-{topic.name}" for topic in topics.ALL}
    assert all("topics create" in finding.remedy for finding in found)


@pytest.mark.parametrize("topic", LIKE_INPUT)
def test_a_topic_with_other_partitions_than_the_inputs_is_found(topic: str) -> None:
    seen = good_topics()
    found = [errors(cluster(seen | {topic: seen[topic]._replace(partitions=partitions)})) for partitions in (8, 17)]

    assert [[finding.subject for finding in some] for some in found] == [[f"x-{topic}"], [f"x-{topic}"]]
    assert "8 partitions where the others have 16" in found[0][0].problem
    assert "17 partitions where the others have 16" in found[1][0].problem


def test_reference_data_in_several_partitions_are_found() -> None:
    seen = good_topics()

    (found,) = errors(cluster(seen | {"reference": seen["reference"]._replace(partitions=3)}))

    assert (found.subject, "3 partitions, not 1" in found.problem) == ("x-reference", True)


@pytest.mark.parametrize(
    ("topic", "policy"),
    [("engine-state", "delete"), ("engine-state", "compact,delete"), ("cdrs", "compact"), ("number-ncv", "compact")],
)
def test_a_wrong_policy_is_found(topic: str, policy: str) -> None:
    (found,) = errors(altered(topic, cleanup_policy=policy))

    assert found.subject == f"x-{topic}"
    assert f"cleanup.policy {policy}, not {topics.BY_NAME[topic].policy}" in found.problem
    assert "kafka-configs.sh" in found.remedy


def test_the_order_of_a_policys_words_does_not_count() -> None:
    assert check(altered("number-ncv", cleanup_policy="delete, compact"), SETTINGS) == []


@pytest.mark.parametrize("topic", RETENTION)
def test_a_retention_that_is_too_short_is_found(topic: str) -> None:
    least_ms = RETENTION[topic].at_least_days * DAY_MS

    (found,) = errors(altered(topic, retention_ms=str(least_ms - 1)))

    assert found.subject == f"x-{topic}"
    assert f"at least {RETENTION[topic].at_least_days} days" in found.problem
    assert errors(altered(topic, retention_ms=str(least_ms))) == []
    assert errors(altered(topic, retention_ms="-1")) == []


def test_the_counters_of_unwanted_calls_stay_for_35_days() -> None:
    assert errors(altered("number-ncv", retention_ms=str(34 * DAY_MS)))


@pytest.mark.parametrize(
    ("topic", "config", "value", "words"),
    [
        ("cdrs", "retention_bytes", "1000000", "1000000 bytes"),
        ("rated-cdrs", "unclean_leader_election_enable", "true", "unclean"),
        ("rated-cdrs", "min_insync_replicas", "1", "with 1 of its copies"),
        ("rated-cdrs", "min_insync_replicas", "4", "nothing can be written"),
        ("reference", "max_message_bytes", str(LARGE_RECORD_BYTES - 1), "max.message.bytes"),
        ("rejected-events", "max_message_bytes", "1048588", "max.message.bytes"),
    ],
)
def test_settings_that_lose_or_stop_records_are_found(topic: str, config: str, value: str, words: str) -> None:
    (found,) = errors(altered(topic, **{config: value}))

    assert found.subject == f"x-{topic}"
    assert words in found.problem
    assert f"--topic x-{topic} --add-config {config.replace('_', '.')}=" in found.remedy


def test_too_few_copies_are_found_where_there_are_brokers_for_more() -> None:
    poor = good_topics() | {"cdrs": good_topics()["cdrs"]._replace(replication_factor=2)}

    (found,) = errors(cluster(poor))

    assert (found.subject, found.problem) == ("x-cdrs", "has replication factor 2, not 3")


def test_a_single_broker_is_warned_of_and_not_refused() -> None:
    own = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor")
    configs = dict.fromkeys((*own, "transaction.state.log.min.isr"), "1")
    alone = cluster(good_topics(1), brokers=1, configs=configs)

    assert errors(alone) == []
    (warning,) = warnings(alone)
    assert "loss of power" in warning.problem


def test_kafkas_own_topics_that_can_not_be_made_or_written_are_found() -> None:
    alone = cluster(good_topics(1), brokers=1)
    one = {"__consumer_offsets": TopicSeen(50, 1, {}), "__transaction_state": TopicSeen(50, 1, {})}

    assert [finding.remedy.split("=")[0] for finding in errors(alone)] == [
        "set offsets.topic.replication.factor",
        "set transaction.state.log.replication.factor",
    ]
    assert [finding.remedy for finding in errors(alone._replace(internal=one))] == [
        "set transaction.state.log.min.isr=1 on the brokers and restart them"
    ]
    assert {"__consumer_offsets", "__transaction_state"} <= {
        finding.subject for finding in errors(cluster(internal=one))
    }


@pytest.mark.parametrize("number", wire.NEEDED)
def test_a_broker_that_is_too_old_is_found(number: int) -> None:
    name, needed = wire.NEEDED[number]
    for versions in (MODERN | {number: (0, needed - 1)}, {n: MODERN[n] for n in MODERN if n != number}):
        (found,) = errors(cluster(versions=versions))

        assert f"too old: it knows {name} up to version" in found.problem
        assert "2.8 or newer" in found.remedy
    assert errors(cluster(versions=MODERN | {number: (0, needed)})) == []


def test_what_is_unwise_is_a_warning() -> None:
    assert [
        finding.subject for finding in warnings(altered("call-decisions", message_timestamp_type="CreateTime"))
    ] == ["x-call-decisions"]
    assert (
        "auto.create.topics.enable"
        in warnings(cluster(configs=BROKER_CONFIGS | {"auto.create.topics.enable": "true"}))[0].problem
    )
    assert "could not be checked" in warnings(cluster(configs=None))[0].problem


def test_everything_that_is_wrong_is_found_at_once_and_errors_come_first() -> None:
    seen = good_topics()
    del seen["notices"]
    seen["cdrs"] = TopicSeen(8, 1, {"cleanup.policy": "compact"})

    found = check(cluster(seen, versions={}, configs=None), SETTINGS)

    assert {finding.subject for finding in found} == {"broker", "brokers", "x-notices", "x-cdrs"}
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities)
    assert len([finding for finding in found if finding.subject == "x-cdrs"]) == 3


# -- a real broker ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kafka_settings(kafka: LocalKafka, prefix: str) -> dict[str, str]:
    """Variables that lead to the tests' broker, under a prefix of this test's own."""
    return {
        "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TOLLGATE_KAFKA_TOPIC_PREFIX": prefix,
        "TOLLGATE_KAFKA_REPLICATION_FACTOR": "1",
        "TOLLGATE_KAFKA_PARTITIONS": "3",
    }


def administer(kafka: LocalKafka, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


def test_topics_are_created_and_then_found_to_be_right(
    kafka: LocalKafka, kafka_settings: dict[str, str], prefix: str
) -> None:
    missing = tollgate("topics", "check", environment=kafka_settings)
    created = tollgate("topics", "create", "--json", environment=kafka_settings)
    checked = tollgate("topics", "check", environment=kafka_settings)

    assert missing.code == 1
    assert all(topic.name in missing.out for topic in topics.ALL)
    assert created.code == 0, created.err
    assert created.json()["created"] == [prefix + topic.name for topic in topics.ALL]
    assert (checked.code, checked.err) == (0, "")
    assert "as they should be" in checked.out
    assert "loss of power" in checked.out
    there = {topic["topic"]: topic for topic in administer(kafka, lambda admin: admin.describe_topics())}
    for topic in topics.ALL:
        assert len(there[prefix + topic.name]["partitions"]) == (3 if topic.partitioned_like_input else 1)


def test_a_second_creation_changes_nothing(kafka_settings: dict[str, str]) -> None:
    assert tollgate("topics", "create", environment=kafka_settings).code == 0

    again = tollgate("topics", "create", "--json", environment=kafka_settings)
    shown = tollgate("topics", "create", environment=kafka_settings)

    assert (again.code, again.json()["created"]) == (0, [])
    assert "all topics are there already" in shown.out


def test_the_options_win_over_the_settings(kafka_settings: dict[str, str]) -> None:
    assert tollgate("topics", "create", "--partitions=5", environment=kafka_settings).code == 0

    other = tollgate("topics", "create", "--partitions=6", environment=kafka_settings)

    assert refused(other, "--partitions 6", "5 already")


def test_topics_that_are_there_are_left_and_what_is_wrong_with_them_is_told(
    kafka: LocalKafka, kafka_settings: dict[str, str], prefix: str
) -> None:
    async def spoil(admin: AIOKafkaAdminClient) -> None:
        wrong = {"cleanup.policy": "delete", "retention.ms": "1000"}
        await admin.create_topics(
            [
                NewTopic(f"{prefix}engine-state", 2, 1, topic_configs=wrong),
                NewTopic(f"{prefix}cdrs", 2, 1, topic_configs=wrong),
            ]
        )

    administer(kafka, spoil)
    created = tollgate("topics", "create", "--json", environment=kafka_settings)
    checked = tollgate("topics", "check", "--json", environment=kafka_settings)

    assert created.code == checked.code == 1
    assert len(created.json()["created"]) == len(topics.ALL) - 2
    found = checked.json()
    assert not found["ok"]
    assert found["findings"] == created.json()["findings"]
    wrong = {(one["subject"], one["problem"].split()[1]) for one in found["findings"] if one["severity"] == "error"}
    assert wrong == {(f"{prefix}engine-state", "cleanup.policy"), (f"{prefix}cdrs", "records")}


def test_a_topic_that_was_widened_later_is_found(
    kafka: LocalKafka, kafka_settings: dict[str, str], prefix: str
) -> None:
    assert tollgate("topics", "create", environment=kafka_settings).code == 0
    administer(kafka, lambda admin: admin.create_partitions({f"{prefix}rated-cdrs": NewPartitions(4)}))

    ran = tollgate("topics", "check", "--json", environment=kafka_settings)

    assert ran.code == 1
    (found,) = [one for one in ran.json()["findings"] if one["severity"] == "error"]
    assert (found["subject"], "4 partitions" in found["problem"]) == (f"{prefix}rated-cdrs", True)


def test_more_copies_than_the_cluster_has_brokers_are_refused(kafka_settings: dict[str, str]) -> None:
    ran = tollgate("topics", "create", "--replication-factor=3", environment=kafka_settings)

    assert refused(ran, "replication factor 3 needs 3 brokers, and there is 1", "--replication-factor 1")


@pytest.mark.parametrize("arguments", [["--partitions=0"], ["--replication-factor=many"], ["--principal=engine"]])
def test_bad_options_are_refused_before_anybody_is_asked(arguments: list[str]) -> None:
    ran = tollgate("topics", "create", "--acls", *arguments, environment=at("127.0.0.1:1"))

    assert refused(ran, arguments[0].partition("=")[0])


def test_access_rights_are_refused_where_nothing_enforces_them(kafka_settings: dict[str, str]) -> None:
    for command in ("create", "check"):
        assert refused(
            tollgate("topics", command, "--acls", environment=kafka_settings), "no authorizer", "authorizer.class.name"
        )


# -- no broker --------------------------------------------------------------------------------------------------------


def at(address: str, **settings: str) -> dict[str, str]:
    # A client that waited for an answer as long as for any other would outlast the test.
    environment = {
        "BOOTSTRAP_SERVERS": address,
        "CONNECT_TIMEOUT_MS": "1000",
        "REQUEST_TIMEOUT_MS": "600000",
    } | settings
    return {f"TOLLGATE_KAFKA_{name}": value for name, value in environment.items()}


def no_stack_traces(ran: Ran, *words: str) -> bool:
    """One message that names all of these, and nothing of the client library's own log."""
    assert len(ran.err.splitlines()) == 1, ran.err
    return refused(ran, *words)


Server = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Server) -> Iterator[int]:
    """A port at which each client is served like this, in a thread of its own; clients are gone at the end."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                serve(self.request)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def says_nothing(client: socket.socket) -> None:
    """Takes in whatever comes and never answers, until the client goes."""
    while client.recv(1024):
        pass


def hangs_up(client: socket.socket) -> None:
    client.recv(1024)


def speaks_http(client: socket.socket) -> None:
    client.recv(1024)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def sends_elsewhere(host: bytes, port: int) -> Server:
    """A broker that lets clients in and gives another address as its own."""
    answers = {
        # ApiVersions: Metadata in version 1 and itself in version 0.
        18: struct.pack(">hi", 0, 2) + struct.pack(">hhh", 3, 1, 1) + struct.pack(">hhh", 18, 0, 0),
        # Metadata: broker 7, no rack, controller 7, no topics.
        3: struct.pack(">iih", 1, 7, len(host)) + host + struct.pack(">ihii", port, -1, 7, 0),
    }

    def serve(client: socket.socket) -> None:
        while len(size := client.recv(4, socket.MSG_WAITALL)) == 4:
            request = client.recv(*struct.unpack(">i", size), socket.MSG_WAITALL)
            key, _, number = struct.unpack_from(">hhi", request)
            body = struct.pack(">i", number) + answers[key]
            client.sendall(struct.pack(">i", len(body)) + body)

    return serve


@pytest.mark.parametrize("command", ["create", "check"])
def test_a_port_where_nothing_listens_is_named(command: str) -> None:
    ran = tollgate("topics", command, environment=at("127.0.0.1:1"))

    assert no_stack_traces(ran, "127.0.0.1:1", "refused", "start Kafka or correct bootstrap_servers")


def test_a_name_with_several_addresses_refuses_like_one() -> None:
    assert no_stack_traces(tollgate("topics", "check", environment=at("localhost:1")), "localhost:1", "refused")


def test_every_address_is_tried_and_told() -> None:
    ran = tollgate("topics", "check", environment=at("127.0.0.1:1, 127.0.0.2:2"))

    assert no_stack_traces(ran, "127.0.0.1:1", "127.0.0.2:2")


def test_an_unknown_host_is_named() -> None:
    ran = tollgate("topics", "check", environment=at("kafka.invalid:9092"))

    assert no_stack_traces(ran, "no host", "kafka.invalid:9092", "bootstrap_servers")


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_port_that_never_answers_is_given_up(protocol: str) -> None:
    with listening(says_nothing) as port:
        ran = tollgate("topics", "check", environment=at(f"127.0.0.1:{port}", SECURITY_PROTOCOL=protocol))

    assert no_stack_traces(ran, f"127.0.0.1:{port}", "nothing answers", f"security_protocol {protocol}")


@pytest.mark.parametrize("serve", [hangs_up, speaks_http])
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_port_that_is_no_brokers_is_named(protocol: str, serve: Server) -> None:
    with listening(serve) as port:
        ran = tollgate("topics", "check", environment=at(f"127.0.0.1:{port}", SECURITY_PROTOCOL=protocol))

    assert no_stack_traces(ran, f"127.0.0.1:{port}", "security_protocol")


def test_an_address_of_the_brokers_own_that_can_not_be_reached_is_named() -> None:
    with listening(sends_elsewhere(b"127.0.0.3", 1)) as port:
        ran = tollgate("topics", "check", environment=at(f"127.0.0.1:{port}"))

    assert no_stack_traces(ran, "127.0.0.3:1", "advertised.listeners", "refused")


def test_a_broker_that_freezes_is_given_up(kafka: LocalKafka) -> None:
    kafka.pause()
    try:
        ran = tollgate("topics", "check", environment=at(kafka.bootstrap))
    finally:
        kafka.resume()

    assert no_stack_traces(ran, kafka.bootstrap, "nothing answers")
