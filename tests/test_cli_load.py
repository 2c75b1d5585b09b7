"""`tollgate load --to-kafka DIR`: what it publishes, what it says, and what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from postgres import TestedDatabase

from connectors.broker import Unavailable
from connectors.cli import load as command
from connectors.cli.app import Refused
from connectors.cli.commands import app
from connectors.memory import MemoryBroker
from connectors.reference.publisher import ReferencePublisher
from connectors.reference.reader import ReferenceReader
from connectors.sample.operator import write_reference
from schemas import topics
from schemas.reference import Account


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reference")
    write_reference(made, seed=1)
    return made


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """A cluster in memory behind the command's door."""
    there = MemoryBroker({topics.REFERENCE.name: 1}, compacted=[topics.REFERENCE.name])

    @asynccontextmanager
    async def open_broker(_: object) -> AsyncIterator[MemoryBroker]:
        yield there

    monkeypatch.setattr(command, "open_broker", open_broker)
    return there


def run(*arguments: object) -> object:
    return app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")


def test_a_folder_is_published_once_and_in_force_for_the_engine(
    folder: Path, broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    run("load", "--to-kafka", folder, "--lead-seconds", 0, "--json")
    first = json.loads(capsys.readouterr().out)
    run("load", "--to-kafka", folder)
    second = capsys.readouterr().out

    assert first["published"]
    assert first["version"] == 1
    assert first["kinds"]["account"]["new"] > 0
    assert first["prices"] > 1_000
    assert "version 1 is all of it already: nothing was published" in second

    async def followed() -> ReferenceReader:
        reader = ReferenceReader(broker)
        await reader.start()
        return reader

    reader = asyncio.run(followed())
    assert len(reader.reference.accounts) == first["kinds"]["account"]["new"]


def test_what_changed_is_told_kind_by_kind(
    folder: Path, broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("load", "--to-kafka", folder, "--lead-seconds", 0)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    locks = (tmp_path / "locks.csv").read_text().splitlines()
    (tmp_path / "locks.csv").write_text("\n".join(locks[:-1]) + "\n")
    capsys.readouterr()

    run("load", "--to-kafka", tmp_path, "--author", "ivanov", "--json")

    report = json.loads(capsys.readouterr().out)
    assert report["version"] == 2
    assert report["kinds"]["lock"] == {"new": 0, "changed": 0, "removed": 1, "kept": len(locks) - 2}
    assert report["chunks_sent"] == 0
    closing = [record for record in broker.committed(topics.REFERENCE.name, 0) if record.key == b"version"][-1]
    assert json.loads(closing.value or b"")["author"] == "ivanov"


def test_an_account_that_is_missing_is_refused_by_name(
    folder: Path, broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    async def publish_another() -> None:
        publisher = await ReferencePublisher.open(broker, author="x")
        run_plan = next(iter(publisher._names("tariff_plan")))
        await publisher.put(
            Account("left", "c", run_plan, "prepaid", "RUB", 0, 0, None, "active", None, None),
        )

    run("load", "--to-kafka", folder, "--lead-seconds", 0)
    asyncio.run(publish_another())

    with pytest.raises(Refused, match=r"not in the folder: left; .* with status closed if it has left"):
        run("load", "--to-kafka", folder)


def test_a_lead_is_for_the_engine_and_not_for_the_database(folder: Path) -> None:
    with pytest.raises(Refused, match="--lead-seconds is for --to-kafka"):
        run("load", folder, "--lead-seconds", 1)


def test_a_broken_folder_is_refused_with_its_errors(tmp_path: Path, broker: MemoryBroker) -> None:
    with pytest.raises(Refused, match=r"can't be used, \d+ errors"):
        run("load", "--to-kafka", tmp_path)
    assert broker.committed(topics.REFERENCE.name, 0) == []


def test_a_cluster_that_does_not_answer_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def open_broker(_: object) -> AsyncIterator[MemoryBroker]:
        raise Unavailable("nobody answers")
        yield

    monkeypatch.setattr(command, "open_broker", open_broker)
    with pytest.raises(Refused, match="nobody answers"):
        run("load", "--to-kafka", folder)


def test_only_an_empty_database_is_loaded_where_that_is_asked_for(
    folder: Path,
    database: TestedDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the office has changed since is not taken back by the next start of the deployment."""
    monkeypatch.setenv("TOLLGATE_DATABASE_DSN", database.dsn)
    run("load", "--if-empty", folder, "--json")
    first = json.loads(capsys.readouterr().out)
    assert first["kinds"]["account"]["new"] > 0
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    locks = (tmp_path / "locks.csv").read_text().splitlines()
    (tmp_path / "locks.csv").write_text("\n".join(locks[:-1]) + "\n")

    run("load", "--if-empty", tmp_path)
    assert "has accounts already: nothing was loaded" in capsys.readouterr().out
    run("load", tmp_path, "--json")
    assert json.loads(capsys.readouterr().out)["kinds"]["lock"]["removed"] == 1
    with pytest.raises(Refused, match="--if-empty is for the database"):
        run("load", "--to-kafka", "--if-empty", folder)
