"""Access rights: the table as such, and what a real broker with an authorizer makes of it.

The broker wants TLS and a password. `admin` may do anything; the other users what `tollgate topics create --acls` has
granted them. What is said of a wrong password or a wrong protocol is here too, because this broker refuses them.
"""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.admin import DeleteAclsRequest
from aiokafka.protocol.metadata import MetadataRequest
from test_cli import Ran, _elsewhere, refused, tollgate  # noqa: F401  (each test in an empty folder of its own)

from connectors.kafka.acls import (
    PROCESSES,
    Acl,
    AclSeen,
    check,
    grant,
    group_of,
    missing,
    principals,
    wanted,
)
from connectors.kafka.admin import Admin, connect
from connectors.kafka.client import client_arguments
from connectors.kafka.errors import explain, is_lasting
from connectors.settings import BadSettings, KafkaSettings
from deploy.kafka.local import LocalKafka
from schemas import topics

USERS = ("admin", "engine", "switch", "billing", "mallory")
SETTINGS = KafkaSettings(application="app", topic_prefix="x-")
WHO = principals(SETTINGS)
DEADLINE_SECONDS = 60.0

_R = TypeVar("_R")


def seen(acls: list[Acl], *, host: str = "*", deny: bool = False) -> list[AclSeen]:
    return [AclSeen(acl, host, deny) for acl in acls]


def granted() -> list[AclSeen]:
    """A cluster in which all rights have been granted, and no others."""
    return seen(wanted(SETTINGS, WHO))


# -- the table --------------------------------------------------------------------------------------------------------


def test_only_the_engine_writes_what_the_engine_publishes() -> None:
    own = {topic.name for topic in (*topics.OUTPUTS, topics.ENGINE_STATE)}

    for name, process in PROCESSES.items():
        written = {topic.name for topic in process.writes}
        assert written & own == (own if name == "engine" else set()), name
        assert process.transactions == (name == "engine")


def test_nobody_but_the_engine_and_who_checks_its_books_reads_its_state() -> None:
    assert [name for name, process in PROCESSES.items() if topics.ENGINE_STATE in process.reads] == ["engine", "audit"]


def test_every_topic_is_written_and_read_by_somebody() -> None:
    for topic in topics.ALL:
        assert any(topic in process.writes for process in PROCESSES.values()), topic.name
        assert any(topic in process.reads for process in PROCESSES.values()), topic.name


def test_the_engine_may_pass_on_events_that_came_to_a_wrong_partition() -> None:
    assert set(topics.INPUTS) <= set(PROCESSES["engine"].writes)


def test_rights_carry_the_prefix_the_application_and_the_principals() -> None:
    rights = wanted(SETTINGS, WHO | {"engine": ("User:CN=engine",), "switch": ("User:a", "User:b"), "billing": ()})

    assert Acl("User:CN=engine", "Write", "topic", "x-call-decisions") in rights
    assert Acl("User:CN=engine", "Read", "group", "app") in rights
    assert Acl("User:CN=engine", "Write", "transactional_id", "app.", prefixed=True) in rights
    assert Acl("User:b", "Read", "group", "x-tollgate-switch", prefixed=True) in rights
    assert not [acl for acl in rights if acl.principal in ("User:billing", "User:engine", "User:switch")]
    assert len(rights) == len(set(rights))


def test_principals_come_from_options_then_from_the_settings() -> None:
    settings = KafkaSettings(principals={"engine": "User:e", "switch": ("User:a", "User:b"), "audit": ()})

    found = principals(settings, ["engine=User:CN=e,O=x", "relay="])

    assert found["engine"] == ("User:CN=e,O=x",)
    assert found["switch"] == ("User:a", "User:b")
    assert found["audit"] == found["relay"] == ()
    assert found["billing"] == ("User:billing",)


@pytest.mark.parametrize(
    ("options", "of_settings", "words"),
    [
        (["engine"], {}, "PROCESS=PRINCIPAL"),
        (["motor=User:engine"], {}, "no process 'motor'"),
        (["engine=engine"], {}, "'engine' is no principal"),
        (["engine=User:"], {}, "'User:' is no principal"),
        ([], {"motor": "User:engine"}, "no process 'motor'"),
        ([], {"engine": "engine"}, "'engine' is no principal"),
    ],
)
def test_principals_that_can_not_be_are_refused(options: list[str], of_settings: dict[str, str], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        principals(KafkaSettings(principals=of_settings), options)


# -- what is missing and what is too much -----------------------------------------------------------------------------


def test_granted_rights_are_right() -> None:
    assert check(SETTINGS, WHO, granted()) == []


def test_without_any_rights_all_are_missing() -> None:
    assert missing(wanted(SETTINGS, WHO), []) == wanted(SETTINGS, WHO)
    assert len(check(SETTINGS, WHO, [])) == len(wanted(SETTINGS, WHO))


@pytest.mark.parametrize("right", wanted(SETTINGS, WHO), ids=str)
def test_each_right_that_is_taken_away_is_found(right: Acl) -> None:
    found = check(SETTINGS, WHO, [one for one in granted() if one.acl != right])

    # Write on the same ids lets describe, too.
    implied = right.operation == "Describe" and right.kind != "group"
    assert [finding.subject for finding in found] == ([] if implied else [right.principal])


@pytest.mark.parametrize(
    "given",
    [
        Acl("User:engine", "All", "topic", "x-cdrs"),
        Acl("User:engine", "Read", "topic", "*"),
        Acl("User:engine", "Read", "topic", "x-", prefixed=True),
        Acl("User:*", "Read", "topic", "x-cdrs"),
    ],
    ids=str,
)
def test_wider_rights_count(given: Acl) -> None:
    need = Acl("User:engine", "Read", "topic", "x-cdrs")

    assert missing([need], seen([given])) == []
    assert missing([need], seen([given], host="10.0.0.1")) == [need]
    assert missing([need], seen([given], deny=True)) == [need]


@pytest.mark.parametrize(
    "given",
    [
        Acl("User:engine", "Write", "topic", "x-cdrs"),
        Acl("User:engine", "Read", "topic", "x-cdrs-2"),
        Acl("User:engine", "Read", "topic", "x-cd"),
        Acl("User:engine", "Read", "group", "x-cdrs"),
        Acl("User:switch", "Read", "topic", "x-cdrs"),
        Acl("User:engine", "Read", "topic", "x-cdrs-", prefixed=True),
    ],
    ids=str,
)
def test_other_rights_do_not_count(given: Acl) -> None:
    need = Acl("User:engine", "Read", "topic", "x-cdrs")

    assert missing([need], seen([given])) == [need]


def test_a_literal_right_does_not_cover_a_prefix() -> None:
    need = Acl("User:engine", "Write", "transactional_id", "app.", prefixed=True)

    assert missing([need], seen([need._replace(prefixed=False)])) == [need]


def test_a_right_that_is_denied_is_found() -> None:
    denied = seen([Acl("User:engine", "All", "topic", "x-", prefixed=True)], deny=True)

    found = check(SETTINGS, WHO, [*granted(), *denied])

    assert {finding.subject for finding in found} == {"User:engine"}
    assert any(finding.problem == "is denied to write x-call-decisions" for finding in found)


@pytest.mark.parametrize(
    "given",
    [
        Acl("User:mallory", "Write", "topic", "x-call-decisions"),
        Acl("User:switch", "Write", "topic", "x-engine-state"),
        Acl("User:switch", "All", "topic", "x-rated-cdrs"),
        Acl("User:*", "Write", "topic", "*"),
        Acl("User:mallory", "Write", "topic", "x-", prefixed=True),
        Acl("User:mallory", "Write", "transactional_id", "app.", prefixed=True),
        Acl("User:mallory", "All", "transactional_id", "app.3"),
        Acl("User:mallory", "Write", "transactional_id", "*"),
        Acl("User:mallory", "Write", "transactional_id", "a", prefixed=True),
        Acl("User:mallory", "Write", "transactional_id", "app.1", prefixed=True),
    ],
    ids=str,
)
def test_whoever_could_forge_decisions_or_stop_the_engine_is_found(given: Acl) -> None:
    # From one host is as bad as from all.
    (found,) = check(SETTINGS, WHO, [*granted(), *seen([given], host="10.0.0.1")])

    assert (found.severity, found.subject) == ("error", given.principal)
    assert str(given) in found.remedy


@pytest.mark.parametrize(
    "given",
    [
        Acl("User:mallory", "Read", "topic", "x-call-decisions"),
        Acl("User:mallory", "Write", "topic", "call-decisions"),
        Acl("User:mallory", "Write", "topic", "x-cdrs"),
        Acl("User:mallory", "Write", "transactional_id", "other.", prefixed=True),
        Acl("User:mallory", "Describe", "transactional_id", "*"),
    ],
    ids=str,
)
def test_others_may_do_other_things(given: Acl) -> None:
    assert check(SETTINGS, WHO, [*granted(), *seen([given])]) == []


# -- a real broker ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A Kafka with TLS, passwords and an authorizer; each user's password is the name, twice.

    It makes any topic that an administrator's client asks for.
    """
    broker = LocalKafka(
        tmp_path_factory.mktemp("guarded"),
        mode="secure",
        users={name: f"{name}-{name}" for name in USERS},
        properties={"auto.create.topics.enable": "true"},
    )
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def variables(broker: LocalKafka, user: str, **others: str) -> dict[str, str]:
    environment = {
        "BOOTSTRAP_SERVERS": broker.bootstrap,
        "SECURITY_PROTOCOL": "SASL_SSL",
        "USERNAME": user,
        "PASSWORD": f"{user}-{user}",
        "SSL_CA_FILE": str(broker.ca_file),
        "REPLICATION_FACTOR": "1",
        "PARTITIONS": "2",
    } | others
    return {f"TOLLGATE_KAFKA_{name}": value for name, value in environment.items() if value}


class Granted:
    """An installation on the guarded broker, under a prefix of its own, with all rights granted."""

    def __init__(self, broker: LocalKafka, prefix: str) -> None:
        self.broker = broker
        self.prefix = prefix
        self.application = f"{prefix}engine"

    def run(self, *arguments: str, user: str = "admin") -> Ran:
        return tollgate(
            *arguments,
            environment=variables(self.broker, user, TOPIC_PREFIX=self.prefix, APPLICATION=self.application),
        )

    def settings(self, user: str) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=(self.broker.bootstrap,),
            topic_prefix=self.prefix,
            application=self.application,
            security_protocol="SASL_SSL",
            username=user,
            password=f"{user}-{user}",
            ssl_ca_file=self.broker.ca_file,
        )

    def topic(self, topic: topics.Topic) -> str:
        return self.prefix + topic.name

    async def write(self, user: str, topic: topics.Topic) -> None:
        producer = AIOKafkaProducer(**client_arguments(self.settings(user)))
        try:
            await producer.start()
            await producer.send_and_wait(self.topic(topic), b"x", b"key", partition=0)
        finally:
            await producer.stop()

    async def read(self, user: str, topic: topics.Topic, group: str) -> int:
        """The first record's offset, read as a member of the group."""
        consumer = AIOKafkaConsumer(
            self.topic(topic),
            group_id=group,
            auto_offset_reset="earliest",
            **client_arguments(self.settings(user)),
        )
        try:
            await consumer.start()
            record = await consumer.getone()
            await consumer.commit()
            return int(record.offset)
        finally:
            await consumer.stop()

    async def transact(self, user: str, transactional_id: str, *written: topics.Topic) -> None:
        """Writes into the topics, and the group's offset, in one transaction."""
        producer = AIOKafkaProducer(transactional_id=transactional_id, **client_arguments(self.settings(user)))
        try:
            await producer.start()
            async with producer.transaction():
                for topic in written:
                    await producer.send_and_wait(self.topic(topic), b"x", b"key", partition=0)
                await producer.send_offsets_to_transaction(
                    {TopicPartition(self.topic(topics.CDRS), 0): 0}, self.application
                )
        finally:
            await producer.stop()

    async def administer(self, work: Callable[[Admin], Awaitable[_R]]) -> _R:
        async with connect(self.settings("admin")) as admin:
            return await work(admin)


@pytest.fixture(scope="module")
def granted_broker(guarded: LocalKafka) -> Granted:
    """Shared: who changes its rights takes an installation of his own."""
    return installed(guarded)


def installed(broker: LocalKafka) -> Granted:
    installation = Granted(broker, f"t{uuid4().hex[:12]}-")
    ran = installation.run("topics", "create", "--acls")
    assert ran.code == 0, ran.err
    return installation


def within(work: Awaitable[_R]) -> _R:
    async def limited() -> _R:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await work

    return asyncio.run(limited())


def test_rights_are_granted_once_and_then_found_to_be_right(guarded: LocalKafka) -> None:
    installation = Granted(guarded, f"t{uuid4().hex[:12]}-")
    missing_before = installation.run("topics", "check", "--acls")
    first = installation.run("topics", "create", "--acls", "--json")
    again = installation.run("topics", "create", "--acls", "--json")
    checked = installation.run("topics", "check", "--acls")

    assert missing_before.code == 1
    assert f"may not write {installation.prefix}call-decisions" in missing_before.out
    assert first.code == 0, first.err
    settings = installation.settings("admin")
    assert len(first.json()["granted"]) == len(wanted(settings, principals(settings)))
    assert (again.code, again.json()["granted"]) == (0, [])
    assert (checked.code, checked.err) == (0, "")
    assert "and so are the access rights" in checked.out


def test_a_check_creates_no_topic_even_where_the_broker_would(guarded: LocalKafka) -> None:
    installation = Granted(guarded, f"t{uuid4().hex[:12]}-")

    assert installation.run("topics", "check").code == 1

    async def names(admin: Admin) -> set[str]:
        answer = await admin.ask(MetadataRequest(None), "list topics")
        return {topic["topic"] for topic in answer.to_object()["topics"]}

    there = within(installation.administer(names))
    assert not [name for name in there if name.startswith(installation.prefix)]


def test_rights_go_to_the_principals_that_are_named(guarded: LocalKafka) -> None:
    installation = Granted(guarded, f"t{uuid4().hex[:12]}-")

    ran = installation.run(
        "topics", "create", "--acls", "--json", "--principal=switch=User:mallory", "--principal=audit="
    )

    who = {right["principal"] for right in ran.json()["granted"]}
    assert "User:mallory" in who
    assert not who & {"User:switch", "User:audit"}
    within(installation.write("mallory", topics.CALL_ATTEMPTS))


def test_a_switch_asks_and_does_not_answer(granted_broker: Granted) -> None:
    within(granted_broker.write("switch", topics.CALL_ATTEMPTS))
    within(granted_broker.write("switch", topics.CDRS))
    within(granted_broker.write("engine", topics.CALL_DECISIONS))
    own = f"{group_of('switch', granted_broker.settings('switch'))}-msk-1"
    assert within(granted_broker.read("switch", topics.CALL_DECISIONS, own)) == 0

    for topic in (topics.CALL_DECISIONS, topics.ACCOUNT_COMMANDS, topics.REFERENCE, topics.ENGINE_STATE):
        with pytest.raises(TopicAuthorizationFailedError):
            within(granted_broker.write("switch", topic))


def test_billing_reads_rated_cdrs_and_writes_none(granted_broker: Granted) -> None:
    within(granted_broker.write("engine", topics.RATED_CDRS))
    own = group_of("billing", granted_broker.settings("billing"))

    assert within(granted_broker.read("billing", topics.RATED_CDRS, own)) == 0
    with pytest.raises(TopicAuthorizationFailedError):
        within(granted_broker.write("billing", topics.RATED_CDRS))
    with pytest.raises(TopicAuthorizationFailedError):
        within(granted_broker.read("billing", topics.CDRS, own))
    # Its offsets are the engine's alone: whoever could commit them could skip money.
    with pytest.raises(GroupAuthorizationFailedError):
        within(granted_broker.read("billing", topics.RATED_CDRS, granted_broker.application))


def test_the_engine_works_in_transactions(granted_broker: Granted) -> None:
    everything = (*topics.OUTPUTS, topics.ENGINE_STATE, *topics.INPUTS)

    within(granted_broker.transact("engine", f"{granted_broker.application}.0", *everything))

    assert within(granted_broker.read("engine", topics.CDRS, granted_broker.application)) == 0
    with pytest.raises(TopicAuthorizationFailedError):
        within(granted_broker.transact("engine", f"{granted_broker.application}.0", topics.REFERENCE))


@pytest.mark.parametrize("user", ["switch", "billing", "mallory"])
def test_nobody_else_takes_the_engines_transactional_ids(granted_broker: Granted, user: str) -> None:
    with pytest.raises(TransactionalIdAuthorizationFailed):
        within(granted_broker.transact(user, f"{granted_broker.application}.0"))


def test_a_right_that_was_taken_away_and_a_forger_are_found(guarded: LocalKafka) -> None:
    installation = installed(guarded)
    state = installation.topic(topics.ENGINE_STATE)
    decisions = installation.topic(topics.CALL_DECISIONS)

    async def change(admin: Admin) -> None:
        await admin.ask(DeleteAclsRequest(2, state, 3, "User:engine", "*", 4, 3), "take a right away")
        await grant(admin, [Acl("User:mallory", "Write", "topic", decisions)])

    within(installation.administer(change))
    ran = installation.run("topics", "check", "--acls", "--json")

    assert ran.code == 1
    found = {
        (one["subject"], one["problem"].split(",")[0]) for one in ran.json()["findings"] if one["severity"] == "error"
    }
    assert found == {
        ("User:engine", f"may not write {state}"),
        ("User:mallory", f"may write {decisions}"),
    }


@pytest.mark.parametrize("command", [["topics", "create", "--acls"], ["topics", "check"]])
def test_topics_and_rights_are_for_administrators(granted_broker: Granted, command: list[str]) -> None:
    for user in ("engine", "mallory"):
        assert refused(granted_broker.run(*command, user=user), f"user '{user}' is not allowed", "administrator")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda broker: broker.write("switch", topics.RATED_CDRS), ["'switch'", "rated-cdrs"]),
        (lambda broker: broker.read("billing", topics.RATED_CDRS, "other"), ["'billing'", "group other"]),
        (lambda broker: broker.transact("mallory", "some-id"), ["'mallory'", "transactional ids"]),
    ],
)
def test_a_right_that_is_missing_is_explained(
    granted_broker: Granted, work: Callable[[Granted], Awaitable[Any]], words: list[str]
) -> None:
    user = words[0].strip("'")

    with pytest.raises(KafkaError) as caught:
        within(work(granted_broker))

    text = explain(caught.value, granted_broker.settings(user))
    assert is_lasting(caught.value)
    assert all(word in text for word in [*words, "not allowed", "topics create --acls"]), text


# -- the wrong password, the wrong protocol ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PASSWORD": "wrong"}, ["user 'admin'", "wrong password"]),
        ({"USERNAME": "nobody"}, ["user 'nobody'", "no such user"]),
        ({"SASL_MECHANISM": "PLAIN"}, ["does not know sasl_mechanism PLAIN"]),
        ({"SSL_CA_FILE": ""}, ["not signed by an authority that this system knows", "set ssl_ca_file"]),
        (
            {"SECURITY_PROTOCOL": "PLAINTEXT", "USERNAME": "", "PASSWORD": "", "SSL_CA_FILE": ""},
            ["speaks TLS", "SASL_SSL"],
        ),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SSL_CA_FILE": ""}, ["speaks TLS", "SASL_SSL"]),
        ({"SECURITY_PROTOCOL": "SSL", "USERNAME": "", "PASSWORD": ""}, ["password", "SASL_SSL"]),
    ],
)
def test_a_client_that_is_not_let_in_is_told_why(
    guarded: LocalKafka, changes: dict[str, str], words: list[str]
) -> None:
    ran = tollgate("topics", "check", environment=variables(guarded, "admin", **changes))

    assert refused(ran, guarded.bootstrap, *words)
    assert len(ran.err.splitlines()) == 1, ran.err
    assert "admin-admin" not in ran.err


def test_a_certificate_of_another_authority_is_told(guarded: LocalKafka) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out other.pem -subj /CN=x"
    )
    subprocess.run(command.split(), check=True, capture_output=True)

    ran = tollgate("topics", "check", environment=variables(guarded, "admin", SSL_CA_FILE="other.pem"))

    assert refused(ran, "not signed by other.pem", "ssl_ca_file")
    assert Path("other.pem").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SSL_CA_FILE": ""}, ["asks for no password", "PLAINTEXT"]),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, ["may not speak TLS", "security_protocol"]),
        ({"SECURITY_PROTOCOL": "SSL", "USERNAME": "", "PASSWORD": ""}, ["may not speak TLS", "security_protocol"]),
    ],
)
def test_an_open_port_that_is_spoken_to_as_a_guarded_one_is_told(
    kafka: LocalKafka, guarded: LocalKafka, changes: dict[str, str], words: list[str]
) -> None:
    environment = variables(guarded, "admin", **{"BOOTSTRAP_SERVERS": kafka.bootstrap} | changes)

    ran = tollgate("topics", "check", environment=environment)

    assert refused(ran, kafka.bootstrap, *words)
    assert len(ran.err.splitlines()) == 1, ran.err
