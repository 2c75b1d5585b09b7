"""`tollgate demo`: an invented operator, an hour of its calls through the whole system, and the API to ask about it."""

import asyncio
import fcntl
import logging
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Annotated, NamedTuple

import cyclopts
import msgspec
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from backoffice import office, users
from backoffice.access import ROLE_PERMISSIONS, Role
from backoffice.lock_check import check_lock
from backoffice.office import ServiceSent
from backoffice.users import NewKeyAsked, NewUser
from connectors import tokens
from connectors.audit import audit
from connectors.broker import BrokerError
from connectors.cli.app import Refused, app, err, load_reference, out, print_pairs, read_folder, settings
from connectors.convert import BadRow, ConvertSettings, convert
from connectors.files.event_lines import EventFile
from connectors.files.reference_folder import ReferenceFolder
from connectors.http.passwords import Passwords
from connectors.partition_task import Batch
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import change
from connectors.postgres.clock import ClockState, real_now_us, set_clock
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.postgres.load import load_folder
from connectors.postgres.office import OfficeRecord
from connectors.postgres.server import EmbeddedServer
from connectors.replay import LATEST, STREAMS, OutputFolder
from connectors.sample import people
from connectors.sample.people import STAFF, Colleague
from connectors.settings import DatabaseSettings, HttpSettings, http_settings
from connectors.summary import Summary
from connectors.system import PARTITIONS, System, running
from connectors.worker import Unobserved
from engine.settings import EngineSettings
from schemas import topics
from schemas.codec import encode
from schemas.decisions import CallDecision
from schemas.times import to_datetime, to_us

_DATA = Path(__file__).parents[1] / "sample" / "data"
_CONTEXTS = {
    "outgoing": "outgoing",
    "forwarding": "forwarding",
    "from-trunk": "incoming",
    "public": "incoming",
    "from-internal": "intra_office",
}
_START = "2026-11-24T09:00:00.000Z"
_LOADED_BEFORE = timedelta(hours=1)
_NAMED_CLIENTS = 300
"""So many clients get a name and all; it takes a second. The others are known by their ids."""
_AUTHOR = "demo"
_TOLLGATE = ".venv/bin/tollgate"


class _Key(NamedTuple):
    """A member of the staff, and what they come in with."""

    user: str
    role: Role
    key: str
    password: str


@app.command
def demo(
    *,
    folder: Annotated[Path, cyclopts.Parameter(help="Where all of it is put.")] = Path("build/demo"),
    attempts: Annotated[int, cyclopts.Parameter(help="Call set-ups in the hour.")] = 60_000,
    seed: Annotated[int, cyclopts.Parameter(help="Another seed, another hour.")] = 1,
    port: Annotated[
        int | None,
        cyclopts.Parameter(
            help="The API's port; 0 is any. [http] port if left out, or any where that one is taken.",
            validator=cyclopts.validators.Number(gte=0, lte=65_535),
        ),
    ] = None,
    once: Annotated[bool, cyclopts.Parameter(help="End after the summary instead of serving.")] = False,
) -> int:
    """Build a sample operator, and run the whole system in this process: database, broker, engine, relay, projector and
    API. An hour of calls goes through it, with CDR files of an Asterisk and a FreeSWITCH; then it can be asked about.

    It starts anew each time. The exit code is 1 if the books do not agree.
    """
    # The tables of real prefixes take a third of a second to import: no other command waits for them.
    from connectors.sample.operator import write_reference
    from connectors.sample.traffic import write_traffic

    if attempts < 1:
        raise Refused(f"--attempts must be at least 1, not {attempts}")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    reference, events = folder / "reference", folder / "events"
    engine, http = settings(), _http(port)
    with _alone(folder):
        try:
            write_reference(reference, seed=seed)
            traffic = write_traffic(events, reference, seed=seed, start=_START, attempts=attempts)
            database = _empty_database(folder / "database")
        except OSError as error:
            raise Refused(f"--folder {folder}: {error}") from None
        tables = load_reference(reference, engine)
        switches = [
            _convert("asterisk", _DATA / "asterisk-Master.csv", events, "Europe/Moscow", tables.providers),
            _convert("freeswitch", _DATA / "freeswitch-cdr.json", events, "UTC", tables.providers),
        ]
        out.print(
            f"An invented operator: {len(tables.accounts):,} accounts, {len(tables.providers)} providers, "
            f"{len(tables.numbers):,} numbers, {len(tables.wholesale):,} wholesale prefixes in {reference}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        shown = _Demonstration(folder, engine, http, database, read_folder(reference, engine), (*traffic, *switches))
        try:
            return asyncio.run(shown.run(once=once))
        except (DatabaseTrouble, BrokerError) as error:
            raise Refused(str(error)) from None
        except DRIVER_TROUBLES as error:
            raise Refused(str(explained(error, database))) from None


class _Demonstration:
    """The system on its way from an empty database to an hour that can be asked about."""

    def __init__(
        self,
        folder: Path,
        engine: EngineSettings,
        http: HttpSettings,
        database: DatabaseSettings,
        reference: ReferenceFolder,
        files: tuple[Path, ...],
    ) -> None:
        self._folder = folder
        self._engine = engine
        self._http = http
        self._database = database
        self._reference = reference
        self._files = files
        self._summing = _Summing()
        self._denied: str | None = None
        """A call that a lock denied."""

    async def run(self, *, once: bool) -> int:
        """The exit code."""
        async with AsyncExitStack() as stack:
            # The record is filled with the owner's rights, as `tollgate load` does it. The server stays until the end.
            owner = await stack.enter_async_context(open_database(self._database, role=None))
            keys = await self._fill(owner)
            system = await stack.enter_async_context(
                running(self._database, engine=self._engine, http=self._http, observer=self._summing)
            )
            await self._replay(system)
            await _set_clock(owner, ClockState("shifted", offset_us=system.latest_us - real_now_us()))
            self._write_results(system)
            system.forget()
            self._explain(system)
            agree = await self._prove(system)
            self._tell_what_is_left()
            if once:
                return 0 if agree else 1
            self._tell_how_to_ask(system.address, keys)
            stopping = asyncio.Event()
            loop = asyncio.get_running_loop()
            for wanted in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(wanted, stopping.set)
            await stopping.wait()
            return 0 if agree else 1

    async def _fill(self, owner: Database) -> list[_Key]:
        """Loads the operator, enters its staff, and stops the office's clock at the beginning of the hour."""
        at = to_datetime(to_us(_START)) - _LOADED_BEFORE
        await load_folder(owner.pool, self._reference, author=_AUTHOR, at=at, source=str(self._folder / "reference"))
        await _set_clock(owner, ClockState("stopped", stopped_us=to_us(_START)))
        keys = [await _enter(owner, one) for one in STAFF]
        await self._name_clients(owner, at)
        return [key for key in keys if key is not None]

    async def _name_clients(self, owner: Database, at: datetime) -> None:
        ids = list(dict.fromkeys(account.client_id for account in self._reference.accounts.values()))
        async with change(owner.pool, actor=_AUTHOR, reason="sample clients", at=at, interface="cli") as tx:
            for client_id, client in people.clients(Random("clients"), ids[:_NAMED_CLIENTS]):
                await office.put_client(OfficeRecord(tx), tx, client_id, client)
            for account_id in list(self._reference.accounts)[:_NAMED_CLIENTS:3]:
                await office.connect_service(OfficeRecord(tx), tx, account_id, ServiceSent("calls_rec"), at)

    async def _replay(self, system: System) -> None:
        total = sum(path.stat().st_size for path in self._files)
        bar = Progress(
            TextColumn("an hour of calls"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[events]:,} events"),
            console=err,
            disable=not sys.stderr.isatty(),
        )
        started = perf_counter()
        with bar:
            task = bar.add_task("", total=total, events=0)
            events = await system.feed(
                self._files, lambda done, events: bar.update(task, completed=done, events=events)
            )
            await system.projected()
        summary = self._summing.summary
        summary.events = events
        summary.duplicates = sum(one.engine.duplicates for one in system.worker.tasks.values())
        summary.elapsed_seconds = perf_counter() - started
        print_pairs("An hour of its calls", summary.lines())

    def _write_results(self, system: System) -> None:
        """What the engine published, as files too."""
        broker = system.broker
        with OutputFolder(self._folder / "results") as results:
            for topic, name in STREAMS.items():
                for partition in range(PARTITIONS):
                    results.write(name, [record.value or b"" for record in broker.committed(topic, partition)])
            for topic, name in LATEST.items():
                latest = {
                    record.key: record.value or b""
                    for partition in range(PARTITIONS)
                    for record in broker.committed(topic, partition)
                }
                results.write(name, [latest[key] for key in sorted(latest, key=lambda key: key or b"")])
            results.finish()

    def _explain(self, system: System) -> None:
        denied = next(_denied_by_lock(self._folder / "results" / STREAMS[topics.CALL_DECISIONS.name]), None)
        if denied is None or denied.account_id is None:
            return
        called = _called(denied, self._files)
        found = check_lock(
            self._engine, system.reader.reference, number=called, account_id=denied.account_id, at_us=to_us(denied.at)
        )
        out.print("\nWhy did this call not go through?", style="bold")
        _say(f"attempt {denied.attempt_id} to {found.number}: {found.verdict}")
        self._denied = denied.attempt_id

    async def _prove(self, system: System) -> bool:
        """Whether the books agree, which is told."""
        report = await audit(
            system.database.pool, system.broker, business_time_zone=self._engine.business_time_zone, at_most=10
        )
        out.print("\nDo the books agree?", style="bold")
        compared = sum(report.rows.values())
        if not report.findings:
            _say(
                f"the books, the database, the topics and the engine agree on {report.accounts:,} accounts, to the "
                f"micro; {compared:,} rows are what was published"
            )
        for finding in report.findings:
            _say(f"{finding.severity}: {finding.where}: {finding.text}")
        return not report.failed

    def _tell_what_is_left(self) -> None:
        """What can be asked when all of it has ended."""
        check = f"{_TOLLGATE} check {{}} --reference {self._folder / 'reference'} --account 100200 '+381 11 411 20 60'"
        out.print("\nAsk on", style="bold")
        _say(
            f"  {check.format('lock')}\n  {check.format('tariff')}\n"
            "Decisions, rated CDRs, movements of accounts, balances, NCV counters, notices and rejected events are in "
            f"{self._folder / 'results'}."
        )

    def _tell_how_to_ask(self, address: str, keys: list[_Key]) -> None:
        """What can be asked while it serves."""
        width = max(len(one.role) for one in keys)
        out.print(f"\nThe console is at {address}", style="bold")
        _say("\n".join(f"{one.role:<{width}}  name {one.user:<6} password {one.password}" for one in keys))
        out.print(f"\nThe API is at {address}/api, its description at {address}/api/openapi.json", style="bold")
        _say("\n".join(f"{one.role:<{width}}  {one.user:<6} Authorization: Bearer {one.key}" for one in keys))
        manager = next(one.key for one in keys if one.role == "manager")
        paths = ["accounts/100200/card", "lock-check?account_id=100200&number=381114112060"]
        if self._denied:
            paths.insert(0, f"calls/{self._denied}/explain")
        _say("The office's clock goes on from the last of these events. As a manager:")
        _say("\n".join(f"  curl -s -H 'Authorization: Bearer {manager}' '{address}/api/{path}'" for path in paths))
        if self._denied:
            variables = f"TOLLGATE_DATABASE_DATA_DIR={self._folder / 'database'} TOLLGATE_HTTP_SETTABLE_CLOCK=true"
            _say(f"or with a command:\n  {variables} {_TOLLGATE} explain {self._denied}")
        _say("Ctrl-C ends it.")


class _Summing(Unobserved):
    """Sums up what the engine publishes."""

    def __init__(self) -> None:
        self.summary = Summary()

    def observe(self, batch: Batch) -> None:
        self.summary.observe(batch.outputs)


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _http(port: int | None) -> HttpSettings:
    """The API's settings, with a clock that may be set."""
    http = http_settings()
    if port is None:
        port = http.port if _is_free(http.host, http.port) else 0
    return msgspec.structs.replace(http, settable_clock=True, port=port)


def _is_free(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_server((host, port)):
        return True
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two demonstrations in one folder would take the database from each other. Raises Refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "demo.lock").open("wb")
    except OSError as error:
        raise Refused(f"--folder {folder}: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"a demonstration runs in {folder} already; end it, or take another --folder") from None
        yield


def _empty_database(data_dir: Path) -> DatabaseSettings:
    """An embedded database of its own: what a former demonstration has left is removed."""
    if (data_dir / "cluster").exists():
        EmbeddedServer(data_dir).wait_stopped()
        shutil.rmtree(data_dir)
    return DatabaseSettings(data_dir=data_dir)


async def _set_clock(owner: Database, state: ClockState) -> None:
    async with change(
        owner.pool,
        actor=_AUTHOR,
        reason="the hour of the demonstration",
        at=to_datetime(real_now_us()),
        interface="cli",
    ) as tx:
        await set_clock(tx, state)


async def _enter(owner: Database, one: Colleague) -> _Key | None:
    """A user; whoever signs in has a password that was drawn just now, and an API key that counts for a day."""
    key, now, password = tokens.new_key(), to_datetime(real_now_us()), secrets.token_urlsafe(12)
    async with change(owner.pool, actor=_AUTHOR, reason="staff of the demonstration", at=now, interface="cli") as tx:
        record = AccessRecord(tx)
        new = NewUser(one.name, one.role, one.full_name, f"{one.name}@example.org")
        token = tokens.hash_of(tokens.new_token())
        user = await users.add_user(record, tx, _AUTHOR, new, token, now + timedelta(days=1), now)
        if not one.signs_in:
            return None
        await users.use_token(record, tx, Passwords(), one.name, token, password, now)
        asked = NewKeyAsked("demonstration", tuple(sorted(ROLE_PERMISSIONS[one.role])), 1)
        await users.add_key(record, tx, _AUTHOR, user, asked, key.prefix, key.secret_hash, now)
    return _Key(one.name, one.role, key.text, password)


def _convert(format_: str, source: Path, events: Path, time_zone: str, providers: Iterable[str]) -> Path:
    """CDRs of a switch's file as events; the file's bad rows and other legs are told."""
    rules = ConvertSettings(
        switch_id=format_, services=_CONTEXTS, time_zone=time_zone, providers={name: name for name in providers}
    )
    good, target = 0, events / f"{format_}.jsonl"
    with target.open("wb") as file:
        for row in convert(format_, source, rules):
            if isinstance(row, BadRow):
                _say(f"{source.name}:{row.line}: {row.message}")
            else:
                file.write(encode(row) + b"\n")
                good += 1
    _say(f"{source.name}: {good} CDRs")
    return target


def _denied_by_lock(decisions: Path) -> Iterator[CallDecision]:
    decode = msgspec.json.Decoder(CallDecision).decode
    with decisions.open("rb") as lines:
        for line in lines:
            if b'"code":"lock"' in line and b'"scope":"account"' in line:
                yield decode(line)


def _called(decision: CallDecision, files: tuple[Path, ...]) -> str:
    """The number that an attempt called."""
    needle = f'"attempt_id":"{decision.attempt_id}"'.encode()
    for path in files:
        file = EventFile(path)
        try:
            for line in file.lines():
                if needle in line and b'"type":"call_attempt"' in line:
                    return str(msgspec.json.decode(line)["called"])
        finally:
            file.close()
    raise AssertionError(f"no attempt {decision.attempt_id} in the events")
