"""The Kafka that runs without Docker: it starts and stops on command, survives its death, and guards its doors."""

import asyncio
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from kafka_broker import CHANGELOG, commit_nothing, create_topics

from deploy.kafka import jars
from deploy.kafka.local import LocalKafka, running
from deploy.kafka.probe import why_not_ready
from deploy.kafka.trouble import KafkaTrouble

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "deploy" / "kafka" / "local.py"
ACLS = "org.apache.kafka.tools.AclCommand"
DEADLINE_SECONDS = 60.0


def say(*words: object, **environment: str) -> "subprocess.Popen[str]":
    """The command line, under way."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment)


def outcome(under_way: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit code and what it said on standard output and on standard error."""
    out, err = under_way.communicate(timeout=4 * DEADLINE_SECONDS)
    return under_way.returncode, out, err


@contextmanager
def listener() -> Iterator[int]:
    """A program that has a port of this machine; gives the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ready(broker: LocalKafka) -> str | None:
    """Why the broker is not ready; None if it is."""
    entry = running(broker.data_dir)
    assert entry is not None
    return why_not_ready(entry.port, internal_port=entry.internal_port, coordinators=4, tls=None, timeout_seconds=0.5)


async def write(bootstrap: str, topic: str, *texts: str, commit: bool = True, **settings: object) -> None:
    """Writes in one transaction and commits it, or leaves it open as a crash would."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer", **settings)
    try:
        await producer.start()
        await producer.begin_transaction()
        for text in texts:
            await producer.send_and_wait(topic, text.encode(), partition=0)
        if commit:
            await producer.commit_transaction()
    finally:
        await stop(producer)


async def stop(kafka: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Waits for the connections' end, too, which with TLS takes a round trip; aiokafka does not."""
    client = kafka.client if isinstance(kafka, AIOKafkaProducer) else kafka._client
    writers = [connection._writer for connection in client._conns.values() if connection._writer is not None]
    await kafka.stop()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def read(bootstrap: str, topic: str, number: int, **settings: object) -> list[str]:
    """The first so many committed records of partition 0. What was committed just now may be visible a moment later."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", **settings
    )
    texts: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.start()
            consumer.assign([TopicPartition(topic, 0)])
            while len(texts) < number:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    texts += [record.value.decode() for record in records]
    finally:
        await stop(consumer)
    return texts


def test_two_ups_at_once_start_one_kafka_and_each_further_up_or_down_only_says_so(tmp_path):
    data = tmp_path / "data of Олег, №1"  # a folder's name is no business of Kafka's
    with listener() as port:
        pass
    here = ("--data", data, "--port", port)
    try:
        both = [outcome(under_way) for under_way in [say("up", *here), say("up", *here)]]
        entry = running(data)
        assert entry is not None
        assert [(code, f"127.0.0.1:{port} (process {entry.pid}" in out, err) for code, out, err in both] == [
            (0, True, "")
        ] * 2

        asyncio.run(commit_nothing(f"127.0.0.1:{port}"))
        told = f"Kafka runs: 127.0.0.1:{port} (process {entry.pid}, data {data})\n"
        assert outcome(say("up", *here)) == (0, told, "")
        assert outcome(say("status", *here)) == (0, told, "")
    finally:
        code, out, err = outcome(say("down", *here))
    assert (code, out, err) == (0, "Kafka is down\n", "")
    assert running(data) is None
    assert outcome(say("down", *here)) == (0, f"no Kafka runs on {data}\n", "")
    assert outcome(say("status", *here)) == (1, f"no Kafka runs on {data}\n", "")


def test_a_port_that_another_program_has_is_named_with_the_remedy(tmp_path):
    with listener() as port:
        code, out, err = outcome(say("up", "--data", tmp_path, "--port", port))

    assert (code, out) == (2, "")
    assert err == f"port {port} is taken by another program; stop that one or choose another port for Kafka\n"


def test_a_port_that_is_none_is_refused(tmp_path):
    code, _, err = outcome(say("up", "--data", tmp_path, "--port", 70000))

    assert code == 2
    assert "70000 is not a port; give a number up to 65535" in err


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    code, out, err = outcome(say("up", "--data", tmp_path / "file" / "kafka", "--port", 0))

    assert (code, out) == (2, "")
    assert err == f"{tmp_path}/file/kafka: Not a directory\n"


def test_a_start_that_fails_shows_the_lines_of_the_log_that_matter_and_the_remedy(tmp_path):
    kafka = LocalKafka(tmp_path, heap_mb=1 << 30)

    with pytest.raises(KafkaTrouble) as raised:
        kafka.start()

    first, *log = str(raised.value).splitlines()
    assert first == "Kafka ended when it started (exit code 1): there is too little memory for Kafka's heap"
    assert "Could not reserve enough space" in log[-1]
    assert [line.strip() for line in log] == kafka.log_file.read_text().splitlines()
    assert running(tmp_path) is None


def test_a_setting_that_kafka_refuses_is_shown_in_kafkas_words(tmp_path):
    with pytest.raises(KafkaTrouble) as raised:
        LocalKafka(tmp_path, properties={"transaction.state.log.num.partitions": "many"}).start()

    assert "StorageTool failed" in str(raised.value)
    assert "many" in str(raised.value)
    assert "transaction.state.log.num.partitions" in str(raised.value)


def test_a_kafka_that_the_data_folder_has_forgotten_is_not_joined_by_a_second(mortal_kafka):
    (mortal_kafka.data_dir / "kafka.pid").rename(mortal_kafka.data_dir / "forgotten")

    with pytest.raises(KafkaTrouble, match=f"another Kafka uses {mortal_kafka.data_dir}; find its process and stop it"):
        LocalKafka(mortal_kafka.data_dir).start()

    (mortal_kafka.data_dir / "forgotten").rename(mortal_kafka.data_dir / "kafka.pid")
    with pytest.raises(KafkaTrouble, match=f"at port {mortal_kafka.port} already; stop it first"):
        LocalKafka(mortal_kafka.data_dir).start()
    assert ready(mortal_kafka) is None


def test_after_a_kill_the_committed_is_there_and_the_uncommitted_is_not(mortal_kafka, prefix):
    kafka, kept, lost = mortal_kafka, prefix + "kept", prefix + "lost"
    asyncio.run(create_topics(kafka.bootstrap, {kept: 1, lost: 1}))
    asyncio.run(write(kafka.bootstrap, kept, "1", "2"))
    asyncio.run(write(kafka.bootstrap, lost, "3", commit=False))
    before = kafka.bootstrap, kafka.pid

    kafka.kill()
    assert kafka.pid is None
    assert "SIGTERM" not in kafka.log_file.read_text()  # nobody told it beforehand
    kafka.start()

    assert kafka.bootstrap == before[0]
    assert kafka.pid != before[1]
    asyncio.run(write(kafka.bootstrap, lost, "4"))  # the same transactional id: what it had open is aborted
    assert asyncio.run(read(kafka.bootstrap, kept, 2)) == ["1", "2"]
    assert asyncio.run(read(kafka.bootstrap, lost, 1)) == ["4"]


def test_a_frozen_kafka_answers_nothing_and_a_thawed_one_all(mortal_kafka):
    mortal_kafka.pause()
    assert "nothing answers" in ready(mortal_kafka)

    mortal_kafka.resume()
    wait_until(lambda: ready(mortal_kafka) is None)
    asyncio.run(commit_nothing(mortal_kafka.bootstrap))

    # A frozen one can be stopped, too, in good order: the data are there again at once.
    mortal_kafka.pause()
    mortal_kafka.stop()
    assert "Terminating process due to signal SIGTERM" in mortal_kafka.log_file.read_text()
    assert mortal_kafka.pid is None
    with pytest.raises(KafkaTrouble, match="no Kafka runs"):
        mortal_kafka.pause()


def test_a_kafka_that_died_by_itself_is_told_from_one_that_was_stopped(mortal_kafka):
    assert not mortal_kafka.died()

    os.kill(mortal_kafka.pid, signal.SIGKILL)

    wait_until(mortal_kafka.died)
    mortal_kafka.start()
    assert not mortal_kafka.died()
    mortal_kafka.stop()
    assert not mortal_kafka.died()


def test_a_program_that_got_the_number_of_a_dead_kafkas_process_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "600"]) as bystander:
        (tmp_path / "kafka.pid").write_text(f"{bystander.pid} 9092 9093\n")

        assert outcome(say("down", "--data", tmp_path)) == (0, f"no Kafka runs on {tmp_path}\n", "")

        assert bystander.poll() is None
        bystander.send_signal(signal.SIGKILL)


def test_topics_of_tests_keep_old_records_or_the_last_of_each_key(kafka, prefix):
    asyncio.run(create_topics(kafka.bootstrap, {prefix + "events": 3}))
    asyncio.run(create_topics(kafka.bootstrap, {prefix + "state": 2}, CHANGELOG))

    with pytest.raises(AssertionError, match="already exists"):
        asyncio.run(create_topics(kafka.bootstrap, {prefix + "state": 2}))
    described = kafka.tool("org.apache.kafka.tools.TopicCommand", "--describe", "--topic", f"{prefix}.*")
    events, state = sorted(line for line in described.splitlines() if "PartitionCount" in line)
    assert "PartitionCount: 3" in events
    assert "retention.ms=-1" in events
    assert "PartitionCount: 2" in state
    assert "cleanup.policy=compact" in state


@pytest.fixture(scope="module")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    users = {"admin": "admin-secret", "engine": "two words = one secret"}
    broker = LocalKafka(tmp_path_factory.mktemp("secure"), mode="secure", users=users)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def identity(broker: LocalKafka, name: str, password: str) -> dict[str, object]:
    """What a client is told to be that user."""
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "ssl_context": ssl.create_default_context(cafile=broker.ca_file),
        "sasl_plain_username": name,
        "sasl_plain_password": password,
    }


def test_the_right_password_opens_and_a_wrong_one_does_not(secure_kafka, prefix, caplog):
    admin = identity(secure_kafka, "admin", "admin-secret")
    topic = prefix + "t"
    asyncio.run(create_topics(secure_kafka.bootstrap, {topic: 1}, **admin))
    asyncio.run(write(secure_kafka.bootstrap, topic, "1", **admin))

    # The product's clients turn this log down.
    caplog.set_level(logging.ERROR, logger="aiokafka")
    with pytest.raises(KafkaConnectionError):
        asyncio.run(write(secure_kafka.bootstrap, topic, "2", **identity(secure_kafka, "admin", "guess")))
    assert "SaslAuthenticationFailed" in caplog.text

    asyncio.run(write(secure_kafka.bootstrap, topic, "3", **admin))
    assert asyncio.run(read(secure_kafka.bootstrap, topic, 2, **admin)) == ["1", "3"]


def test_a_user_may_do_what_it_was_allowed_and_no_more(secure_kafka, prefix):
    admin = identity(secure_kafka, "admin", "admin-secret")
    engine = identity(secure_kafka, "engine", "two words = one secret")
    mine, others = prefix + "mine", prefix + "others"
    asyncio.run(create_topics(secure_kafka.bootstrap, {mine: 1, others: 1}, **admin))
    allow = ("--add", "--allow-principal", "User:engine")
    secure_kafka.tool(ACLS, *allow, "--producer", "--topic", mine, "--transactional-id", f"{mine}-writer")
    secure_kafka.tool(ACLS, *allow, "--operation", "Write", "--transactional-id", f"{others}-writer")

    asyncio.run(write(secure_kafka.bootstrap, mine, "1", **engine))
    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(write(secure_kafka.bootstrap, others, "2", **engine))

    asyncio.run(write(secure_kafka.bootstrap, others, "3", **admin))
    assert asyncio.run(read(secure_kafka.bootstrap, mine, 1, **admin)) == ["1"]
    assert asyncio.run(read(secure_kafka.bootstrap, others, 1, **admin)) == ["3"]


def test_the_broker_shows_a_certificate_that_only_its_own_authority_vouches_for(secure_kafka):
    def shake_hands(trusting: ssl.SSLContext, name: str) -> None:
        with (
            socket.create_connection(("127.0.0.1", secure_kafka.port), timeout=DEADLINE_SECONDS) as plain,
            trusting.wrap_socket(plain, server_hostname=name),
        ):
            pass

    own = ssl.create_default_context(cafile=secure_kafka.ca_file)
    shake_hands(own, "127.0.0.1")
    shake_hands(own, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(own, "kafka.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
        shake_hands(ssl.create_default_context(), "127.0.0.1")
    # The keys are nobody else's business.
    assert secure_kafka.data_dir.stat().st_mode & 0o077 == 0
    assert not (secure_kafka.data_dir / "tls" / "ca.key").exists()


def test_users_that_the_data_were_not_set_up_with_are_named(tmp_path):
    (tmp_path / "formatted-for").write_text("admin\n")

    with pytest.raises(KafkaTrouble, match="was set up without the users clerk, engine; remove it or choose another"):
        LocalKafka(tmp_path, mode="secure", users={"admin": "a", "engine": "b", "clerk": "c"}).start()


def test_security_without_users_and_passwords_that_kafka_misreads_are_refused(tmp_path):
    with pytest.raises(KafkaTrouble, match="mode secure needs users"):
        LocalKafka(tmp_path, mode="secure")
    with pytest.raises(KafkaTrouble, match="password of engine has one of"):
        LocalKafka(tmp_path, mode="secure", users={"admin": "a", "engine": "b,c"})


# What the machine must have: Java and the jars. Programs of a few lines stand in for Java, Maven and Debian's tools.


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def java_of_version(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-04-15' >&2"


def test_without_java_it_is_said_what_to_install(bin_folder, tmp_path):
    code, out, err = outcome(say("up", "--data", tmp_path, "--port", 0))

    assert (code, out) == (2, "")
    assert err == "java is not there; install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)\n"


@pytest.mark.parametrize(("version", "number"), [("1.8.0_402", "8"), ("11.0.2", "11"), ("16", "16")])
def test_a_java_that_is_too_old_is_named_with_its_version(bin_folder, tmp_path, version, number):
    home = tmp_path / "old"
    (home / "bin").mkdir(parents=True)
    program(home / "bin", "java", java_of_version(version))

    code, out, err = outcome(say("up", "--data", tmp_path, "--port", 0, JAVA_HOME=str(home)))

    assert (code, out) == (2, "")
    assert err.startswith(f"{home}/bin/java is Java {number}; install Java 17 or newer")


@pytest.mark.parametrize(
    ("offered", "installed"),
    [
        ("openjdk-17-jre-headless openjdk-21-jre-headless openjdk-8-jre-headless", "openjdk-17-jre-headless"),
        ("openjdk-21-jre-headless openjdk-25-jre-headless openjdk-25-jre", "openjdk-25-jre-headless"),
    ],
)
def test_root_of_a_debian_gets_the_java_that_it_offers(bin_folder, monkeypatch, offered, installed):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(bin_folder, "apt-cache", f"for name in {offered}; do echo $name; done")
    program(bin_folder, "packed", java_of_version("17.0.1"))
    unpack = f'test "$1" != install || /bin/mv {bin_folder}/packed {bin_folder}/java'
    program(bin_folder, "apt-get", f'echo "$@" >> {bin_folder}/asked; {unpack}')

    assert jars.java() == str(bin_folder / "java")
    update, install = (bin_folder / "asked").read_text().splitlines()
    assert update.startswith("update")
    assert install.split()[-1] == installed


def test_whoever_may_not_install_is_asked_to(bin_folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(bin_folder, "apt-get", f"echo called > {bin_folder}/asked")

    with pytest.raises(KafkaTrouble, match="mvn is not there to fetch Kafka's jars; install Maven"):
        jars.libraries()
    assert not (bin_folder / "asked").exists()


MAVEN = """
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder="${argument#*=}";; esac; done
echo called >> "$CALLS"
/bin/mkdir -p "$folder"
echo jar > "$folder/first.jar"
while test ! -e "$GO"; do /bin/sleep 0.02; done
echo jar > "$folder/second.jar"
"""


def test_two_that_need_the_jars_at_once_fetch_them_once_and_see_them_all(bin_folder, tmp_path, monkeypatch):
    calls, go = tmp_path / "calls", tmp_path / "go"
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("GO", str(go))
    program(bin_folder, "mvn", MAVEN)
    code = "from deploy.kafka.jars import libraries; print(*sorted(jar.name for jar in libraries().iterdir()))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    wait_until(calls.exists)
    go.touch()

    told = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in both]

    assert told == ["first.jar second.jar\n"] * 2
    assert calls.read_text() == "called\n"


def test_a_fetch_that_fails_says_why_and_leaves_nothing_half_done(bin_folder, tmp_path):
    fails = "echo '[ERROR] no network'; exit 1"
    program(bin_folder, "mvn", MAVEN.replace('test ! -e "$GO"', "false").replace('>> "$CALLS"', "") + fails)

    with pytest.raises(KafkaTrouble, match=r"Maven could not fetch Kafka's jars:\n(.*\n)*\[ERROR\] no network"):
        jars.libraries()
    assert [path.name for path in (tmp_path / "cache" / "tollgate").glob("*/*")] == ["lock"]
