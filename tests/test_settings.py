"""Settings: where they come from, what contradicts itself, and that a secret is shown nowhere."""

import subprocess
from pathlib import Path

import msgspec
import pytest
from test_cli import _elsewhere, refused, tollgate  # noqa: F401  (each test in an empty folder of its own)

from connectors.kafka.client import client_arguments
from connectors.settings import (
    HIDDEN,
    BadSettings,
    DatabaseSettings,
    KafkaSettings,
    database_settings,
    default_data_dir,
    engine_settings,
    kafka_settings,
    masked,
    metrics_settings,
)

FILE = Path("tollgate.toml")
SECRET = "correct horse"
LOGIN = f'[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "engine"\npassword = "{SECRET}"\n'


def settings(text: str = "", environment: dict[str, str] | None = None) -> KafkaSettings:
    FILE.write_text(text)
    return kafka_settings(FILE, environment or {})


def bad(text: str, environment: dict[str, str] | None = None) -> str:
    """The message of settings that are refused."""
    with pytest.raises(BadSettings) as caught:
        settings(text, environment)
    return str(caught.value)


# -- where they come from ---------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_are_in_force() -> None:
    assert kafka_settings(FILE, {}) == KafkaSettings()
    assert not list(KafkaSettings().problems())
    assert KafkaSettings().bootstrap_servers == ("localhost:9092",)


def test_the_file_wins_over_the_defaults_and_a_variable_over_the_file() -> None:
    found = settings(
        '[kafka]\nbootstrap_servers = ["a:1", "b:2"]\npartitions = 8\nmax_records = 100\n',
        {"TOLLGATE_KAFKA_PARTITIONS": "32", "TOLLGATE_KAFKA_SSL_CHECK_HOSTNAME": "false"},
    )

    assert found.bootstrap_servers == ("a:1", "b:2")
    assert (found.partitions, found.max_records, found.ssl_check_hostname) == (32, 100, False)


def test_lists_in_variables_stand_between_commas_and_principals_between_semicolons() -> None:
    found = settings(
        "",
        {
            "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": "a:1, [::1]:2",
            "TOLLGATE_KAFKA_PRINCIPALS": "engine=User:CN=engine,O=Operator; switch=User:a; switch=User:b; billing=",
        },
    )

    assert found.bootstrap_servers == ("a:1", "[::1]:2")
    assert found.principals == {"engine": ("User:CN=engine,O=Operator",), "switch": ("User:a", "User:b"), "billing": ()}


def test_tables_do_not_mix() -> None:
    FILE.write_text("[engine]\nmax_call_seconds = 60\n[kafka]\npartitions = 4\n[metrics]\nport = 9\n")
    environment = {"TOLLGATE_MAX_CALL_SECONDS": "30", "TOLLGATE_METRICS_HOST": "0.0.0.0", "TOLLGATE_SIM_SEED": "1"}

    assert engine_settings(FILE, environment).max_call_seconds == 30
    assert kafka_settings(FILE, environment).partitions == 4
    assert (metrics_settings(FILE, environment).host, metrics_settings(FILE, environment).port) == ("0.0.0.0", 9)


def test_an_empty_variable_takes_back_what_the_file_says() -> None:
    found = settings(LOGIN, {"TOLLGATE_KAFKA_SSL_CA_FILE": "", "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": "a:1"})
    there = '[kafka]\nsecurity_protocol = "SSL"\nssl_ca_file = "none.pem"\n'

    assert found.ssl_ca_file is None
    assert settings(there, {"TOLLGATE_KAFKA_SSL_CA_FILE": ""}).ssl_ca_file is None


@pytest.mark.parametrize("text", [f"{SECRET}\n", f"{SECRET}\r\n", SECRET])
def test_the_password_may_stand_in_a_file_of_its_own(text: str) -> None:
    Path("secret").write_text(text)

    found = settings(LOGIN.replace(f'password = "{SECRET}"', 'password_file = "secret"'))

    assert found.password == SECRET


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[kafka]\nbootstrap_servers = "a:1"\n', ["tollgate.toml: [kafka] bootstrap_servers", "array"]),
        ("[kafka]\nbootstrap_servers = []\n", ["bootstrap_servers", "at least one address"]),
        ('[kafka]\nbootstrap_servers = ["kafka"]\n', ["bootstrap_servers", "'kafka'", "host:port"]),
        ('[kafka]\nbootstrap_servers = ["kafka:99999"]\n', ["'kafka:99999'"]),
        ('[kafka]\nbootstrap_servers = ["http://kafka:9092"]\n', ["'http://kafka:9092'"]),
        ('[kafka]\ntopic_prefix = "a b"\n', ["topic_prefix", "'a b'"]),
        ('[kafka]\napplication = ""\n', ["application"]),
        ('[kafka]\nsecurity_protocol = "TLS"\n', ["security_protocol", "'TLS'"]),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"\npassword = "x"\n', ["needs username"]),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "x"\n', ["needs password (or password_file)"]),
        ('[kafka]\nusername = "x"\n', ["username", "PLAINTEXT", "SASL_SSL"]),
        ('[kafka]\npassword = "x"\n', ["password would not be used"]),
        ('[kafka]\nssl_ca_file = "ca.pem"\n', ["ssl_ca_file", "PLAINTEXT"]),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_ca_file = "none.pem"\n', ["none.pem", "No such file"]),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_ca_file = "."\n', ["ssl_ca_file", "directory"]),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_cert_file = "tollgate.toml"\n', ["ssl_cert_file needs ssl_key_file"]),
        ('[kafka]\nsecurity_protocol = "SSL"\nssl_key_file = "tollgate.toml"\n', ["ssl_key_file needs ssl_cert_file"]),
        (f'{LOGIN}password_file = "tollgate.toml"\n', ["one of password and password_file"]),
        (
            "[kafka]\ncommit_deadline_ms = 15000\ntransaction_timeout_ms = 20000\n",
            ["commit_deadline_ms 15000 must be below request_timeout_ms 15000"],
        ),
        ("[kafka]\nrequest_timeout_ms = 9000\n", ["session_timeout_ms 10000 must be below request_timeout_ms 9000"]),
        ("[kafka]\ntransaction_timeout_ms = 5000\n", ["below transaction_timeout_ms 5000"]),
        ("[kafka]\nheartbeat_interval_ms = 4000\n", ["heartbeat_interval_ms 4000", "third of session_timeout_ms"]),
        ("[kafka]\nsession_timeout_ms = 9000\n", ["heartbeat_interval_ms 3000", "session_timeout_ms 9000"]),
        ("[kafka]\nmin_insync_replicas = 4\n", ["min_insync_replicas 4 is above replication_factor 3"]),
        ("[kafka]\npartitions = 0\n", ["partitions", ">= 1"]),
        ("[kafka]\nrequest_timeout_ms = -1\n", ["request_timeout_ms"]),
        ('[kafka]\nmax_records = "many"\n', ["max_records", "int"]),
        ("[kafka]\npartition = 8\n", ["[kafka] has no 'partition'", "partitions"]),
        ("[kafak]\npartitions = 8\n", ["no table 'kafak'", "engine, kafka, database, "]),
        ("kafka = 1\n", ["[kafka] must be a table"]),
        ("partitions = 1\n", ["no table 'partitions'"]),
    ],
)
def test_what_can_not_be_is_refused_with_file_key_and_remedy(text: str, words: list[str]) -> None:
    message = bad(text)

    assert message.startswith("tollgate.toml: ")
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TOLLGATE_KAFKA_PARTITIONS": "many"}, ["TOLLGATE_KAFKA_PARTITIONS: partitions", "int"]),
        ({"TOLLGATE_KAFKA_COMMIT_DEADLINE_MS": "60000"}, ["TOLLGATE_KAFKA_COMMIT_DEADLINE_MS: ", "15000"]),
        ({"TOLLGATE_KAFKA_PARTITION": "8"}, ["TOLLGATE_KAFKA_PARTITION: ", "TOLLGATE_KAFKA_PARTITIONS"]),
        ({"TOLLGATE_KAFKA_PASSWORD_FILE": "none"}, ["TOLLGATE_KAFKA_PASSWORD_FILE: none", "No such file"]),
        ({"TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": ""}, ["TOLLGATE_KAFKA_BOOTSTRAP_SERVERS: ", "localhost:9092"]),
    ],
)
def test_a_bad_variable_is_named(environment: dict[str, str], words: list[str]) -> None:
    message = bad("", environment)

    assert all(word in message for word in words), message


def test_a_contradiction_names_both_places() -> None:
    message = bad("[kafka]\nrequest_timeout_ms = 20000\n", {"TOLLGATE_KAFKA_COMMIT_DEADLINE_MS": "30000"})

    assert "TOLLGATE_KAFKA_COMMIT_DEADLINE_MS and tollgate.toml: [kafka] request_timeout_ms: " in message


def test_everything_that_is_wrong_is_told_at_once() -> None:
    message = bad('[kafka]\npartitions = 0\nmax_records = "x"\npartition = 8\n', {"TOLLGATE_KAFKA_USER": "engine"})
    contradictions = bad('[kafka]\nusername = "x"\nbootstrap_servers = []\nheartbeat_interval_ms = 9999\n')

    assert len(message.splitlines()) == 4
    assert len(contradictions.splitlines()) == 3


@pytest.mark.parametrize("file", ["", "\n"])
def test_an_empty_password_file_is_no_password(file: str) -> None:
    Path("secret").write_text(file)

    assert "secret: is empty" in bad(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "x"\npassword_file = "secret"\n'
    )


def test_a_bad_table_refuses_the_others_too() -> None:
    FILE.write_text("[kafak]\n")

    with pytest.raises(BadSettings, match="no table 'kafak'"):
        engine_settings(FILE, {})
    with pytest.raises(BadSettings, match="port"):
        metrics_settings(Path("none"), {"TOLLGATE_METRICS_PORT": "65536"})


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_the_password_is_shown_nowhere() -> None:
    found = settings(LOGIN)
    Path("secret").write_text(SECRET)

    assert found.password == SECRET
    assert SECRET not in f"{found!r} {found} {masked(found)}"
    assert masked(found)["password"] == HIDDEN
    for ran in (
        tollgate("config"),
        tollgate("config", "--json"),
        tollgate("config", environment={"TOLLGATE_KAFKA_PASSWORD": SECRET}),
        # Settings that are refused name it neither.
        tollgate("config", environment={"TOLLGATE_KAFKA_USERNAME": ""}),
        tollgate("config", environment={"TOLLGATE_KAFKA_PASSWORD_FILE": "secret"}),
        tollgate("config", environment={"TOLLGATE_KAFKA_PASSWORD": "", "TOLLGATE_KAFKA_PASSWORD_FILE": "secret"}),
    ):
        assert SECRET not in ran.out + ran.err
        assert ran.code == (2 if ran.err else 0)


def test_a_password_of_the_wrong_type_is_not_shown_either() -> None:
    message = bad('[kafka]\nsecurity_protocol = "SASL_SSL"\nusername = "x"\npassword = 271828\n')

    assert "password" in message
    assert "271828" not in message


def test_config_prints_all_tables() -> None:
    FILE.write_text(LOGIN)

    found = tollgate("config", "--json").json()
    shown = tollgate("config").out

    assert list(found) == ["engine", "kafka", "database", "http", "metrics", "nightly", "numbers"]
    assert found["kafka"]["password"] == HIDDEN
    assert found["kafka"]["bootstrap_servers"] == ["localhost:9092"]
    assert all(f"[{table}]" in shown for table in found)
    assert all(f" {key} " in shown for table in found.values() for key in table)


@pytest.mark.parametrize("text", ['[kafka]\nusername = "x"\n', "[metrics]\nport = -1\n", "[other]\n"])
def test_config_refuses_bad_settings_of_any_table(text: str) -> None:
    FILE.write_text(text)

    assert refused(tollgate("config"), "tollgate.toml")


# -- the database -----------------------------------------------------------------------------------------------------


def database(text: str, environment: dict[str, str] | None = None) -> DatabaseSettings:
    FILE.write_text(f"[database]\n{text}")
    return database_settings(FILE, environment or {})


def test_without_an_address_the_database_is_the_embedded_one() -> None:
    found = database("")

    assert found.embedded
    assert found.data_dir == default_data_dir()
    assert not database('dsn = "postgresql://x@db/tollgate"\n').embedded


def test_the_embedded_one_lies_among_the_users_state_and_not_in_the_folder_one_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("HOME", "/ivanov")

    assert default_data_dir() == Path("/state/tollgate/postgresql")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_data_dir() == Path("/ivanov/.local/state/tollgate/postgresql")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/tollgate/postgresql")


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (f"postgresql://u:{SECRET}@h:1/d", f"postgresql://u:{HIDDEN}@h:1/d"),
        (f"postgresql://u@h/d?user=u&password={SECRET}&sslmode=require", None),
        (f"postgres://:{SECRET}@/d?host=/run", None),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_a_password_in_the_address_is_hidden(dsn: str, shown: str | None) -> None:
    found = database(f'dsn = "{dsn}"\n')

    assert found.dsn == dsn
    assert shown in (None, masked(found)["dsn"])
    assert SECRET not in f"{found!r} {found} {masked(found)}"
    assert SECRET not in tollgate("config").out


def test_the_password_of_the_database_may_stand_in_a_file_of_its_own() -> None:
    Path("secret").write_text(f"{SECRET}\n")

    found = database('dsn = "postgresql://u@h/d"\npassword_file = "secret"\n')

    assert found.password == SECRET
    assert SECRET not in f"{found!r} {masked(found)}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('dsn = "mysql://u@h/d"\n', ["dsn", "postgresql://user@host:5432/database"]),
        ('dsn = "tollgate"\n', ["dsn", "no address of a PostgreSQL"]),
        ('dsn = "postgresql://u@h"\n', ["dsn", "names no database"]),
        ('dsn = "postgresql://u@h:port/d"\n', ["dsn", "can't be read"]),
        (f'dsn = "postgresql://u:{SECRET}@h/d"\npassword = "x"\n', ["dsn", "password", "in one place"]),
        ('password = "x"\n', ["password would not be used without dsn"]),
        ('role = "Robert; DROP"\n', ["role", "no role's name"]),
        ("pool_size = 0\n", ["pool_size", ">= 1"]),
        ('dns = "postgresql://u@h/d"\n', ["[database] has no 'dns'", "dsn"]),
    ],
)
def test_a_database_that_can_not_be_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(BadSettings) as caught:
        database(text)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert SECRET not in str(caught.value)


# -- clients ----------------------------------------------------------------------------------------------------------


def test_clients_are_constructed_with_the_settings() -> None:
    arguments = client_arguments(settings('[kafka]\nbootstrap_servers = ["a:1"]\nrequest_timeout_ms = 12000\n'))

    assert (arguments["bootstrap_servers"], arguments["request_timeout_ms"]) == (["a:1"], 12_000)
    assert arguments["security_protocol"] == "PLAINTEXT"
    assert not arguments.keys() & {"ssl_context", "sasl_mechanism", "sasl_plain_password"}


def test_clients_get_user_password_and_tls() -> None:
    arguments = client_arguments(settings(LOGIN))

    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("engine", SECRET)
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["ssl_context"].check_hostname
    assert not client_arguments(settings(LOGIN + "ssl_check_hostname = false\n"))["ssl_context"].check_hostname


def openssl(words: str) -> None:
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)


@pytest.fixture
def tls() -> KafkaSettings:
    """Settings with a certificate and its key; `other.key` is another key, `locked.key` the first one, encrypted."""
    for name in ("client", "other"):
        openssl(f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")
    openssl("req -x509 -new -key client.key -subj /CN=engine -out client.pem")
    openssl("pkey -in client.key -aes256 -passout pass:secret -out locked.key")
    Path("empty.pem").touch()
    return KafkaSettings(
        security_protocol="SSL",
        ssl_ca_file=Path("client.pem"),
        ssl_cert_file=Path("client.pem"),
        ssl_key_file=Path("client.key"),
    )


@pytest.mark.parametrize(
    ("key", "file", "words"),
    [
        ("ssl_ca_file", "client.key", ["ssl_ca_file client.key", "no certificate"]),
        ("ssl_ca_file", "empty.pem", ["ssl_ca_file empty.pem", "no certificate"]),
        ("ssl_cert_file", "empty.pem", ["ssl_cert_file empty.pem", "PEM"]),
        ("ssl_key_file", "client.pem", ["ssl_key_file client.pem", "PEM"]),
        ("ssl_key_file", "other.key", ["ssl_key_file other.key", "does not belong to the certificate"]),
        ("ssl_key_file", "locked.key", ["ssl_key_file locked.key", "encrypted"]),
    ],
)
def test_a_certificate_or_key_that_is_none_is_refused(
    tls: KafkaSettings, key: str, file: str, words: list[str]
) -> None:
    assert client_arguments(tls)["ssl_context"]

    with pytest.raises(BadSettings) as caught:
        client_arguments(msgspec.structs.replace(tls, **{key: Path(file)}))

    assert all(word in str(caught.value) for word in words), str(caught.value)
