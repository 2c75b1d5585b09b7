"""Settings: `tollgate.toml`, overridden by environment variables `TOLLGATE_…`.

Each table of the file is a struct: `[engine]`, `[kafka]`, `[database]`, `[http]`, `[metrics]`, `[nightly]`,
`[numbers]`. A value that can't be used is told with the file or variable it came from, its key, and what to write
instead; all of a table's at once.
Secrets are never shown.
"""

import ipaddress
import os
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from backoffice.numbers.settings import NumbersSettings
from engine.settings import EngineSettings

FILE = Path("tollgate.toml")
PREFIX = "TOLLGATE_"

HIDDEN = "********"
SECRETS = frozenset({"password"})
"""Keys whose values are shown nowhere."""

Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class BadSettings(Exception):
    """Names the file or variable, the key, and the remedy."""


class Problem(NamedTuple):
    """What is wrong with the values of some keys together, and the remedy."""

    keys: tuple[str, ...]
    text: str


class KafkaSettings(Struct, frozen=True):
    """How the processes reach the cluster, and how their clients behave. Times are in milliseconds."""

    bootstrap_servers: tuple[str, ...] = ("localhost:9092",)
    """Addresses `host:port` to begin with; the cluster tells the others."""

    topic_prefix: str = ""
    """Stands before each topic's name: several installations may share a cluster."""

    application: str = "tollgate-engine"
    """The engine's consumer group; its transactional ids are `<application>.<partition>`."""

    client_id: str = "tollgate"
    """Under what name the broker logs these clients and counts their quotas."""

    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    password_file: Path | None = None
    """Where the password stands alone; a trailing line break does not belong to it."""

    ssl_ca_file: Path | None = None
    """Certificates (PEM) that the broker's is checked against; those of the system if left out."""

    ssl_cert_file: Path | None = None
    """The client's own certificate (PEM), where the broker asks for one."""

    ssl_key_file: Path | None = None
    """Its key (PEM, not encrypted)."""

    ssl_check_hostname: bool = True
    """Whether the broker's certificate must be for the address that is connected to."""

    connect_timeout_ms: Milliseconds = 5_000
    """How long a cluster may take to answer at the start."""

    request_timeout_ms: Milliseconds = 15_000
    """How long a broker may take to answer anything."""

    commit_deadline_ms: Milliseconds = 5_000
    """How long a commit may take before it counts as ambiguous."""

    transaction_timeout_ms: Milliseconds = 15_000
    """The broker aborts an open transaction of a worker that has died after this long; readers wait until then."""

    session_timeout_ms: Milliseconds = 10_000
    """A worker that is silent for so long loses its partitions."""

    heartbeat_interval_ms: Milliseconds = 3_000
    max_poll_interval_ms: Milliseconds = 300_000
    """A worker that takes no new records for so long loses its partitions."""

    metadata_max_age_ms: Milliseconds = 60_000
    """How soon a moved partition is noticed without an error."""

    batch_interval_ms: Annotated[int, Meta(ge=0, le=1_000)] = 5
    """Between the starts of two transactions of a partition at the least. A smaller one answers sooner while there is
    processor time left, and costs more of it, the broker's too."""

    max_records: Annotated[int, Meta(ge=1, le=100_000)] = 5_000
    """The largest batch, over all partitions of a worker."""

    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """Of the topics that are partitioned like the inputs, when they are created. It can't be changed later."""

    replication_factor: Annotated[int, Meta(ge=1, le=32_767)] = 3
    """Copies of each topic."""

    min_insync_replicas: Positive = 2
    """Copies that must have a record before it counts as written."""

    principals: dict[str, str | tuple[str, ...]] = {}
    """Whom the broker knows the processes as, for access rights: `engine = "User:engine"`; `User:<process>` if left
    out, nobody if empty. In the variable, `;` stands between: `engine=User:engine;switch=User:msk-1;switch=User:msk-2`.
    """

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in masked(self).items())
        return f"KafkaSettings({', '.join(shown)})"

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether a user and password are asked for."""
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    def topic(self, name: str) -> str:
        """A topic's name in this cluster."""
        return self.topic_prefix + name

    def problems(self) -> Iterator[Problem]:
        """What contradicts itself or can't be read. A password file counts as read when `password` is there too."""
        yield from self._problems_of_names()
        yield from self._problems_of_security()
        yield from self._problems_of_times()
        # A single copy can't but be the only one that has a record.
        if self.min_insync_replicas > self.replication_factor > 1:
            yield Problem(
                ("min_insync_replicas", "replication_factor"),
                f"min_insync_replicas {self.min_insync_replicas} is above replication_factor "
                f"{self.replication_factor}: nothing could be written",
            )

    def _problems_of_names(self) -> Iterator[Problem]:
        if not self.bootstrap_servers:
            yield Problem(("bootstrap_servers",), "must name at least one address, as in localhost:9092")
        for address in self.bootstrap_servers:
            if _ADDRESS.fullmatch(address) is None or not 1 <= int(address.rpartition(":")[2]) <= 65_535:
                yield Problem(("bootstrap_servers",), f"{address!r} is no address; write it as host:port")
        if _TOPIC_PREFIX.fullmatch(self.topic_prefix) is None:
            yield Problem(
                ("topic_prefix",),
                f"{self.topic_prefix!r} can't begin a topic's name: letters, digits, '.', '_' and '-', at most 200",
            )
        for key in ("application", "client_id"):
            if _NAME.fullmatch(getattr(self, key)) is None:
                yield Problem((key,), f"{getattr(self, key)!r} must be 1 to 200 letters, digits, '.', '_' or '-'")

    def _problems_of_security(self) -> Iterator[Problem]:
        if self.uses_sasl:
            for key in ("username", "password"):
                if not getattr(self, key):
                    yield Problem(
                        (key, "security_protocol"),
                        f"security_protocol {self.security_protocol} needs {key}"
                        + (" (or password_file)" if key == "password" else ""),
                    )
        else:
            for key in ("username", "password", "password_file"):
                if getattr(self, key):
                    yield Problem(
                        (key, "security_protocol"),
                        f"{key} would not be used with security_protocol {self.security_protocol}; "
                        "take SASL_SSL, or SASL_PLAINTEXT",
                    )
        files = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file")
        for key in files:
            path: Path | None = getattr(self, key)
            if path is None:
                continue
            if not self.uses_tls:
                yield Problem(
                    (key, "security_protocol"),
                    f"{key} would not be used with security_protocol {self.security_protocol}; take SASL_SSL or SSL",
                )
            elif (why := _unreadable(path)) is not None:
                yield Problem((key,), f"{path}: {why}")
        if self.uses_tls and (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            there, missing = sorted(("ssl_cert_file", "ssl_key_file"), key=lambda key: getattr(self, key) is None)
            yield Problem((there,), f"{there} needs {missing}")

    def _problems_of_times(self) -> Iterator[Problem]:
        for shorter, longer, why in (
            ("commit_deadline_ms", "request_timeout_ms", "the client would send the commit again on its own"),
            ("commit_deadline_ms", "transaction_timeout_ms", "the broker would abort what is being committed"),
            ("session_timeout_ms", "request_timeout_ms", "joining the group may take as long as a session"),
        ):
            if getattr(self, shorter) >= getattr(self, longer):
                yield Problem(
                    (shorter, longer),
                    f"{shorter} {getattr(self, shorter)} must be below {longer} {getattr(self, longer)}: {why}",
                )
        if self.heartbeat_interval_ms * 3 >= self.session_timeout_ms:
            yield Problem(
                ("heartbeat_interval_ms", "session_timeout_ms"),
                f"heartbeat_interval_ms {self.heartbeat_interval_ms} must be below a third of session_timeout_ms "
                f"{self.session_timeout_ms}, or a lost heartbeat loses the partitions",
            )


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL lies unless told otherwise: among the user's state, or the machine's for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/tollgate/postgresql")
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "tollgate" / "postgresql"


class DatabaseSettings(Struct, frozen=True):
    """Where the record is: a PostgreSQL of one's own, or the embedded one. Times are in milliseconds."""

    dsn: str = ""
    """`postgresql://user@host:5432/database`, with `?sslmode=verify-full` and the like; empty: the embedded one."""

    password: str | None = None
    """Of the user that the DSN names."""

    password_file: Path | None = None
    """Where the password stands alone; a trailing line break does not belong to it."""

    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    """The folder of the embedded PostgreSQL; processes with the same folder share one."""

    role: str | None = None
    """The role that connections take on. Left out, each process takes its own (`tollgate_app`, `tollgate_relay`, …);
    empty, none: the rights are those of the user that the DSN names."""

    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 10
    """The most connections of a process."""

    connect_timeout_ms: Milliseconds = 5_000
    """How long a server may take to answer at the start."""

    statement_timeout_ms: Milliseconds = 30_000
    """The server breaks off a statement that runs for longer; loading and migrating take the time they need."""

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in masked(self).items())
        return f"DatabaseSettings({', '.join(shown)})"

    @property
    def embedded(self) -> bool:
        """Whether the program has a PostgreSQL of its own."""
        return not self.dsn

    def problems(self) -> Iterator[Problem]:
        """What contradicts itself."""
        if self.dsn:
            yield from self._problems_of_dsn()
        else:
            for key in ("password", "password_file"):
                if getattr(self, key):
                    yield Problem((key,), f"{key} would not be used without dsn: the embedded PostgreSQL has none")
        if self.role and _ROLE.fullmatch(self.role) is None:
            yield Problem(("role",), f"{self.role!r} is no role's name: a small letter, then those, digits and '_'")

    def _problems_of_dsn(self) -> Iterator[Problem]:
        try:
            parts = urlsplit(self.dsn)
            password, _ = parts.password, parts.port
        except ValueError:
            # The text is not shown: it may hold a password.
            yield Problem(("dsn",), "can't be read; write it as postgresql://user@host:5432/database")
            return
        if parts.scheme not in ("postgresql", "postgres"):
            yield Problem(("dsn",), "is no address of a PostgreSQL; write it as postgresql://user@host:5432/database")
        elif not parts.path.strip("/"):
            yield Problem(("dsn",), "names no database; write it as postgresql://user@host:5432/database")
        if password is not None and self.password is not None:
            yield Problem(("dsn", "password"), "give the password in one place: dsn, password or password_file")


class HttpSettings(Struct, frozen=True):
    """Where the API listens, and how much it takes from whom."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 is any."""

    port: Port = 8080
    """0: any that is free."""

    tls_cert_file: Path | None = None
    """The server's certificate (PEM) with its chain; left out, the API speaks plain HTTP."""

    tls_key_file: Path | None = None
    """Its key (PEM, not encrypted)."""

    behind_tls: bool = False
    """Whether a proxy before it speaks TLS to the browsers: then cookies are for TLS only, too."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses of proxies whose X-Forwarded-For is believed."""

    session_idle_minutes: Annotated[int, Meta(ge=1, le=1_440)] = 60
    """A session that nobody uses for so long is over."""

    session_hours: Annotated[int, Meta(ge=1, le=168)] = 12
    """A session is over after so long, however busy it is."""

    one_time_token_hours: Annotated[int, Meta(ge=1, le=720)] = 48
    """How long a token that sets a password may be used."""

    body_bytes: Annotated[int, Meta(ge=1_024, le=2**30)] = 1_048_576
    """The largest body of a request."""

    upload_bytes: Annotated[int, Meta(ge=1_024, le=2**31)] = 268_435_456
    """The largest file that is uploaded: a price list of a million prices has some 60 MB."""

    requests_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    """Of one user, key, or address of someone who is not signed in; for longer than a moment."""

    requests_burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    """So many may come at once."""

    logins_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    """Passwords tried from one address."""

    settable_clock: bool = False
    """Whether the business clock may be set at all: for tests and demonstrations, never where money is real."""

    @property
    def uses_tls(self) -> bool:
        """Whether this process itself speaks TLS."""
        return self.tls_cert_file is not None

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers come over TLS, to this process or to the proxy before it."""
        return self.uses_tls or self.behind_tls

    def problems(self) -> Iterator[Problem]:
        """What contradicts itself or can't be read."""
        if not self.host:
            yield Problem(("host",), "must be an address to listen on, as in 127.0.0.1")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            there, missing = sorted(("tls_cert_file", "tls_key_file"), key=lambda key: getattr(self, key) is None)
            yield Problem((there,), f"{there} needs {missing}")
        for key in ("tls_cert_file", "tls_key_file"):
            path: Path | None = getattr(self, key)
            if path is not None and (why := _unreadable(path)) is not None:
                yield Problem((key,), f"{path}: {why}")
        for address in self.trusted_proxies:
            try:
                ipaddress.ip_network(address)
            except ValueError:
                yield Problem(("trusted_proxies",), f"{address!r} is no address; write it as 10.0.0.7 or 10.0.0.0/24")
        if self.session_idle_minutes > self.session_hours * 60:
            yield Problem(
                ("session_idle_minutes", "session_hours"),
                f"session_idle_minutes {self.session_idle_minutes} must not be above session_hours "
                f"{self.session_hours}: the session would be over before",
            )


class MetricsSettings(Struct, frozen=True):
    """Where a process shows its numbers to Prometheus."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 is any."""

    port: Port = 9464
    """0 shows no numbers."""

    def problems(self) -> Iterator[Problem]:
        """What can't be."""
        if not self.host:
            yield Problem(("host",), "must be an address to listen on, as in 127.0.0.1")


class NightlySettings(Struct, frozen=True):
    """The jobs of the night: when they begin, and what they leave in the database."""

    at: Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](?![\s\S])")] = "00:10"
    """When `tollgate nightly --wait` begins, by the business clock, as in 00:10."""

    keep_decisions_months: Annotated[int, Meta(ge=12, le=1_200)] | None = None
    """Months of `facts.attempts` and `facts.decisions` that stay, beside the one that it is; left out, all do. CDRs and
    books stay for ever."""


_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\],]+):[0-9]{1,5}")
_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PASSWORD_IN_DSN = re.compile(r"(?<=://)([^:@/?#]*):[^@/?#]*(?=@)|(?<=[?&]password=)[^&#]*")

TABLES: dict[str, type[Struct]] = {
    "engine": EngineSettings,
    "kafka": KafkaSettings,
    "database": DatabaseSettings,
    "http": HttpSettings,
    "metrics": MetricsSettings,
    "nightly": NightlySettings,
    "numbers": NumbersSettings,
}


def engine_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> EngineSettings:
    """The engine's settings in force: `[engine]` of the file, then `TOLLGATE_<KEY>`. Raises BadSettings.

    In a variable, lists are separated by commas.
    """
    return _load("engine", EngineSettings, PREFIX, file, environment)


def kafka_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> KafkaSettings:
    """The clients' settings in force: `[kafka]` of the file, then `TOLLGATE_KAFKA_<KEY>`. Raises BadSettings.

    The password has been read from its file.
    """
    return _load("kafka", KafkaSettings, f"{PREFIX}KAFKA_", file, environment, _read_password)


def database_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> DatabaseSettings:
    """`[database]` of the file, then `TOLLGATE_DATABASE_<KEY>`. Raises BadSettings.

    The password has been read from its file.
    """
    return _load("database", DatabaseSettings, f"{PREFIX}DATABASE_", file, environment, _read_password)


def http_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> HttpSettings:
    """`[http]` of the file, then `TOLLGATE_HTTP_<KEY>`. Raises BadSettings."""
    return _load("http", HttpSettings, f"{PREFIX}HTTP_", file, environment)


def metrics_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> MetricsSettings:
    """`[metrics]` of the file, then `TOLLGATE_METRICS_<KEY>`. Raises BadSettings."""
    return _load("metrics", MetricsSettings, f"{PREFIX}METRICS_", file, environment)


def nightly_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> NightlySettings:
    """`[nightly]` of the file, then `TOLLGATE_NIGHTLY_<KEY>`. Raises BadSettings."""
    return _load("nightly", NightlySettings, f"{PREFIX}NIGHTLY_", file, environment)


def numbers_settings(file: Path = FILE, environment: Mapping[str, str] = os.environ) -> NumbersSettings:
    """`[numbers]` of the file, then `TOLLGATE_NUMBERS_<KEY>`. Raises BadSettings."""
    return _load("numbers", NumbersSettings, f"{PREFIX}NUMBERS_", file, environment)


def masked(settings: Struct) -> dict[str, Any]:
    """The settings by name, fit to be shown: secrets are hidden."""
    found = msgspec.structs.asdict(settings)
    if isinstance(settings, DatabaseSettings):
        found["dsn"] = masked_dsn(settings.dsn)
    return {name: HIDDEN if name in SECRETS and value is not None else value for name, value in found.items()}


def masked_dsn(dsn: str) -> str:
    """An address fit to be shown: a password in it is hidden."""
    return _PASSWORD_IN_DSN.sub(lambda found: f"{found[1]}:{HIDDEN}" if found[1] is not None else HIDDEN, dsn)


# -- reading ----------------------------------------------------------------------------------------------------------

_S = TypeVar("_S", bound=Struct)


class _Found:
    """The values given for a table, and where each came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def blame(self, problem: Problem) -> None:
        """Notes a problem under the places where its keys were set; a default has none."""
        places = [self.origins[key] for key in problem.keys if key in self.origins]
        self.problems.append(f"{' and '.join(places) or f'the default of {problem.keys[0]}'}: {problem.text}")


def _load(
    table: str,
    struct: type[_S],
    prefix: str,
    file: Path,
    environment: Mapping[str, str],
    complete: Callable[[_Found], None] | None = None,
) -> _S:
    hints = typing.get_type_hints(struct, include_extras=True)
    found = _Found()
    _from_file(found, table, hints, file)
    _from_environment(found, table, hints, prefix, environment)
    if complete is not None:
        complete(found)
    for name, value in tuple(found.values.items()):
        try:
            found.values[name] = msgspec.convert(value, hints[name], strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            # The message names types and bounds and never the value.
            found.problems.append(f"{found.origins[name]}: {name}: {error}")
    if not found.problems:
        try:
            settings = struct(**found.values)
        except ValueError as error:
            places = " and ".join(found.origins[name] for name in found.values if name in str(error))
            raise BadSettings(f"{places or file}: {error}") from None
        problems: Callable[[], Iterator[Problem]] = getattr(settings, "problems", lambda: iter(()))
        for problem in problems():
            found.blame(problem)
        if not found.problems:
            return settings
    raise BadSettings("\n  ".join(found.problems))


def _from_file(found: _Found, table: str, hints: Mapping[str, Any], file: Path) -> None:
    if not file.exists():
        return
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadSettings(f"{file}: {error}") from None
    for name, value in tables.items():
        if name not in TABLES:
            found.problems.append(f"{file}: there is no table {name!r}; it knows {', '.join(TABLES)}")
        elif not isinstance(value, dict):
            found.problems.append(f"{file}: [{name}] must be a table")
    if found.problems:
        return
    for name, value in tables.get(table, {}).items():
        if name in hints:
            found.values[name] = value
            found.origins[name] = f"{file}: [{table}] {name}"
        else:
            found.problems.append(f"{file}: [{table}] has no {name!r}; it knows {', '.join(hints)}")


def _from_environment(
    found: _Found, table: str, hints: Mapping[str, Any], prefix: str, environment: Mapping[str, str]
) -> None:
    for name, hint in hints.items():
        variable = prefix + name.upper()
        text = environment.get(variable)
        if text is None:
            continue
        kinds = [typing.get_origin(kind) or kind for kind in _alternatives(hint)]
        if dict in kinds:
            found.values[name] = _pairs(text)
        elif tuple in kinds or frozenset in kinds:
            found.values[name] = [part.strip() for part in text.split(",") if part.strip()]
        elif text == "" and types.NoneType in kinds:
            # An empty variable takes back what the file says.
            found.values[name] = None
        else:
            found.values[name] = text
        found.origins[name] = variable
    if prefix != PREFIX:
        # The engine's own prefix is everyone's: there a mistyped name can't be told from another program's.
        for variable in environment:
            if variable.startswith(prefix) and variable.removeprefix(prefix).lower() not in hints:
                known = ", ".join(prefix + name.upper() for name in hints)
                found.problems.append(f"{variable}: there is no such setting in [{table}]; it knows {known}")


def _pairs(text: str) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, _, value = (word.strip() for word in part.partition("="))
        if name:
            pairs.setdefault(name, []).extend([value] if value else [])
    return pairs


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind}: {value!r}")


def _read_password(found: _Found) -> None:
    path = found.values.get("password_file")
    if not isinstance(path, str):
        return
    if found.values.get("password") is not None:
        found.blame(Problem(("password", "password_file"), "give one of password and password_file"))
        return
    try:
        found.values["password"] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError, ValueError):
        why = _unreadable(Path(path)) or "is not text in UTF-8"
        found.blame(Problem(("password_file",), f"{path}: {why}"))
        return
    found.origins["password"] = found.origins["password_file"]
    if not found.values["password"]:
        found.blame(Problem(("password_file",), f"{path}: is empty; it must hold the password"))


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    except ValueError as error:
        return f"can't be read: {error}"
    return None
