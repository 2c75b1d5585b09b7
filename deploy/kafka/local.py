"""One real Kafka node, broker and controller in one process, on this machine's loopback address.

    python3 deploy/kafka/local.py up|down|status [--data DIR] [--port N]

For development and for tests, which also kill it and freeze it. One node survives the death of its process, not that of
the machine's power: production has three. It knows nothing of the product; it needs Python's standard library alone.
"""

import argparse
import atexit
import base64
import fcntl
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, TextIO

if not __package__:  # run as a script, which finds the modules beside it only
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.kafka.certificates import make_certificates
from deploy.kafka.jars import java, libraries, locked
from deploy.kafka.probe import HOST, why_not_ready
from deploy.kafka.trouble import KafkaTrouble

DEFAULT_PORT = 9092
DEFAULT_DATA = Path(__file__).resolve().parents[2] / "build" / "kafka"

_CONFIGURATION = "server.properties"  # this and Kafka's data are named from the data folder, whatever its own name has
_CLAIM = "in-use"
_COORDINATORS = 4  # partitions of the topics of groups and of transactions; Kafka's 50 take seconds to make
_START_SECONDS = 90.0  # two to three on a quiet machine
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_LOG_BYTES_KEPT = 16 << 20
_LOG_LINES_SHOWN = 12
# Below the ports that systems lend to outgoing connections (from 32768 on Linux), so that none of those takes a
# broker's port between its death and its restart.
_FREE_PORTS = range(20_000, 32_000)

_DISK_FULL = "No space left on device"
_ROOM_BYTES = 1 << 20  # with less than this Kafka does not start
_REMEDIES = {
    "Address already in use": "a port is taken; stop the program that has it or choose another port",
    _DISK_FULL: "the disk is full; make room or choose another data folder",
    "Could not reserve enough space": "there is too little memory for Kafka's heap",
    "OutOfMemoryError": "there is too little memory for Kafka",
}


class LocalKafka:
    """A Kafka node with its data in `data_dir`, which keeps its topics from one start to the next.

    `bootstrap` is the address for clients. Port 0 chooses a free one when the object is made; it stays the same from
    then on. `properties` are added to the server's and win over them. `advertised_port` is told to clients in place of
    the port, for a proxy that stands in front. `compiled_well` is for one that works for long or is measured: its start
    costs nearly twice the processor time.

    Mode "plain" lets anyone in. Mode "secure" wants TLS and a password (SCRAM-SHA-512) from clients, and has Kafka's
    own authorizer: `users` are names and passwords, `admin` may do anything, the others what ACLs allow. Clients verify
    the broker by `ca_file`. The controller and the broker's talk with itself stay without TLS and password on loopback
    ports of their own, in both modes: whoever has an account on this machine can be anybody there.

    Methods raise KafkaTrouble with one message that names the trouble and the remedy.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        port: int = 0,
        properties: Mapping[str, str | int] = MappingProxyType({}),
        heap_mb: int = 384,
        compiled_well: bool = False,
        mode: Literal["plain", "secure"] = "plain",
        users: Mapping[str, str] = MappingProxyType({}),
        advertised_port: int | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.port = port or _free_port()
        self.log_file = self.data_dir / "kafka.log"
        self.ca_file = self.data_dir / "tls" / "ca.pem"
        self._properties = dict(properties)
        self._java_options = [f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m"]
        if not compiled_well:
            self._java_options.append(_COMPILE_LITTLE)
        self._secure = mode == "secure"
        self._users = dict(users)
        self._advertised_port = advertised_port or self.port
        self._internal_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self._secure != bool(users):
            raise KafkaTrouble("mode secure needs users; mode plain has none")
        for name, password in users.items():
            if set(name + password) & set('",[]'):
                raise KafkaTrouble(f'the name or password of {name} has one of " , [ ] which Kafka does not take here')

    @property
    def bootstrap(self) -> str:
        """Where clients begin, as host:port."""
        return f"{HOST}:{self._advertised_port}"

    @property
    def pid(self) -> int | None:
        """The process that runs on these data, whoever started it; None if none does."""
        entry = running(self.data_dir)
        return None if entry is None else entry.pid

    def died(self) -> bool:
        """Whether it was started by this object and has ended by itself: its disk is full, or somebody killed it."""
        return self._process is not None and self._process.poll() is not None

    def start(self, *, outlive: bool = False) -> None:
        """Starts it, and comes back when transactions can begin. Does nothing if it runs on these data and this port.

        Unless told to outlive this program, it ends with it.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.data_dir / "lock"):
            if (entry := running(self.data_dir)) is not None:
                if entry.port != self.port:
                    raise KafkaTrouble(f"a Kafka runs on {self.data_dir} at port {entry.port} already; stop it first")
                return
            if not _is_free(self.port):
                raise KafkaTrouble(
                    f"port {self.port} is taken by another program; stop that one or choose another port for Kafka"
                )
            with self._claimed() as claim:
                self._launch(claim)
            if not outlive:
                atexit.register(self.stop)
            try:
                self._await_ready()
            except BaseException:
                self.kill()
                raise

    def stop(self) -> None:
        """Ends it in good order, or by force if it takes too long. Does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a crash would. Does nothing if it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it and starts it on the same data and port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freezes the process (SIGSTOP): connections stay open and nobody answers."""
        os.kill(self._running().pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a frozen process go on."""
        os.kill(self._running().pid, signal.SIGCONT)

    def tool(self, main_class: str, *arguments: str) -> str:
        """Runs one of Kafka's command line tools as the super user and gives what it printed.

        For example `tool("org.apache.kafka.tools.AclCommand", "--list")`; the address is added.
        """
        entry = self._running()
        return _run_java(main_class, "--bootstrap-server", f"{HOST}:{entry.internal_port}", *arguments)

    @contextmanager
    def _claimed(self) -> Iterator[int]:
        """Locks the data folder for a Kafka's life: the process that gets the descriptor holds it until it ends.

        Kafka's own lock comes too late. A second one on the same data has broken the first by then.
        """
        with (self.data_dir / _CLAIM).open("a") as file:
            # Whoever looks whether it runs holds the lock for a moment.
            if not _within(1.0, lambda: _locks(file, fcntl.LOCK_EX)):
                raise KafkaTrouble(f"another Kafka uses {self.data_dir}; find its process and stop it first")
            yield file.fileno()

    def _launch(self, claim: int) -> None:
        _pid_file(self.data_dir).unlink(missing_ok=True)  # of one that crashed
        self._bury()
        if self._secure:
            make_certificates(self.data_dir / "tls")
        controller_port, self._internal_port = _free_port(), _free_port()
        settings = self._settings(controller_port) | self._properties
        configuration = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.data_dir / _CONFIGURATION).write_text(configuration)
        self._format()
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES_KEPT:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*_java_command(*self._java_options, *_LOG_OPTIONS), "kafka.Kafka", _CONFIGURATION],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                pass_fds=[claim],
                start_new_session=True,  # an interrupt at the terminal is not for it
            )
        _pid_file(self.data_dir).write_text(f"{self._process.pid} {self.port} {self._internal_port}\n")

    def _settings(self, controller_port: int) -> dict[str, str | int]:
        settings: dict[str, str | int] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "listeners": f"CLIENT://{HOST}:{self.port},INTERNAL://{HOST}:{self._internal_port}"
            f",CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"CLIENT://{self.bootstrap},INTERNAL://{HOST}:{self._internal_port}",
            "listener.security.protocol.map": f"CLIENT:{'SASL_SSL' if self._secure else 'PLAINTEXT'}"
            ",INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": "data",
            # One node cannot replicate.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": _COORDINATORS,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": _COORDINATORS,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": _COORDINATORS,
            "auto.create.topics.enable": "false",
            # Events of long ago are replayed; a topic that shall forget says so itself.
            "log.retention.ms": -1,
            # Tests wait for neither groups nor abandoned transactions.
            "group.initial.rebalance.delay.ms": 0,
            # What comes before the markers of its producer's last transaction waits for that long; 20 by default.
            "add.partitions.to.txn.retry.backoff.ms": 1,
            "group.min.session.timeout.ms": 1_000,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            # After its death the controller holds its old self for alive this long before it lets the new one in.
            "broker.session.timeout.ms": 2_000,
            "broker.heartbeat.interval.ms": 400,
            # A small process on a small machine.
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
        }
        if self._secure:
            settings |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.client.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "listener.name.client.ssl.keystore.type": "PEM",
                "listener.name.client.ssl.keystore.location": "tls/broker.pem",
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                # The nameless one is the broker itself, on the ports that want no password.
                "super.users": "User:admin;User:ANONYMOUS",
            }
        return settings

    def _format(self) -> None:
        formatted_for = self.data_dir / "formatted-for"
        if formatted_for.exists():
            missing = self._users.keys() - formatted_for.read_text().splitlines()
            if missing:
                names = ", ".join(sorted(missing))
                raise KafkaTrouble(f"{self.data_dir} was set up without the users {names}; remove it or choose another")
            return
        # An id may not begin with the dash that the alphabet has; one that begins with a fixed byte does not.
        cluster_id = base64.urlsafe_b64encode(b"t" + os.urandom(15)).decode().rstrip("=")
        users: list[str] = []
        for name, password in self._users.items():
            users += ["--add-scram", f'SCRAM-SHA-512=[name="{name}",password="{password}"]']
        arguments = ("--config", _CONFIGURATION, "--cluster-id", cluster_id, "--ignore-formatted", *users)
        _run_java("kafka.tools.StorageTool", "format", *arguments, folder=self.data_dir)
        formatted_for.write_text("".join(f"{name}\n" for name in self._users))

    def _await_ready(self) -> None:
        assert self._process is not None
        tls = ssl.create_default_context(cafile=self.ca_file) if self._secure else None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            missing = why_not_ready(
                self.port, internal_port=self._internal_port, coordinators=_COORDINATORS, tls=tls, timeout_seconds=2.0
            )
            if missing is None:
                return
            if self._process.poll() is not None:
                raise self._trouble(f"Kafka ended when it started (exit code {self._process.returncode})")
            if time.monotonic() > deadline:
                raise self._trouble(f"Kafka is not ready after {_START_SECONDS:.0f} seconds: {missing}")
            time.sleep(_POLL_SECONDS)

    def _trouble(self, what: str) -> KafkaTrouble:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        if shutil.disk_usage(self.data_dir).free < _ROOM_BYTES:
            text += f"\n{_DISK_FULL}"  # as its log then could not say
        remedy = _remedy(text) or f"its log is {self.log_file}"
        # Stack traces and the good order in which it goes down hide the lines that matter.
        lines = [line for line in text.splitlines() if line.strip() and line[0] != "\t" and " INFO " not in line]
        return KafkaTrouble("\n  ".join([f"{what}: {remedy}", *lines[-_LOG_LINES_SHOWN:]]))

    def _running(self) -> "Running":
        entry = running(self.data_dir)
        if entry is None:
            raise KafkaTrouble(f"no Kafka runs on {self.data_dir}; start it first")
        return entry

    def _end(self, how: signal.Signals) -> None:
        atexit.unregister(self.stop)
        if (entry := running(self.data_dir)) is not None:
            # It may end by itself at any moment.
            with suppress(ProcessLookupError):
                os.kill(entry.pid, how)
                os.kill(entry.pid, signal.SIGCONT)  # a frozen process hears nothing but SIGKILL
                if not _within(_STOP_SECONDS, lambda: not _is_claimed(self.data_dir)):
                    os.kill(entry.pid, signal.SIGKILL)
            if not _within(_STOP_SECONDS, lambda: not _is_claimed(self.data_dir)):
                raise KafkaTrouble(f"Kafka's process {entry.pid} does not end, not even by kill -9")
            # Its ports go a moment after its claim.
            _within(1.0, lambda: _is_free(entry.port))
        self._bury()
        _pid_file(self.data_dir).unlink(missing_ok=True)

    def _bury(self) -> None:
        """Takes leave of a process that has ended: the system keeps its entry until its parent asks."""
        if self._process is not None:
            process, self._process = self._process, None
            process.wait(_STOP_SECONDS)


class Running(NamedTuple):
    """A Kafka that runs: its process and its ports, for clients and without a password."""

    pid: int
    port: int
    internal_port: int


def running(data_dir: Path) -> Running | None:
    """The Kafka that runs on these data, if one does."""
    try:
        entry = Running(*(int(word) for word in _pid_file(data_dir).read_text().split()))
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):  # none, or one that is just being written
        return None
    return entry if _is_claimed(data_dir) else None


def _is_claimed(data_dir: Path) -> bool:
    """Whether a Kafka lives on these data. A process's number would not tell: another may have got it since."""
    with (data_dir / _CLAIM).open("a") as file:
        return not _locks(file, fcntl.LOCK_SH)


def _locks(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_file(data_dir: Path) -> Path:
    return data_dir / "kafka.pid"


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _free_port() -> int:
    for port in random.sample(_FREE_PORTS, 100):
        if _is_free(port):
            return port
    raise KafkaTrouble(f"no free port was found between {_FREE_PORTS.start} and {_FREE_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Java does it: connections that linger after their broker's death do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


_COMPILE_LITTLE = "-XX:TieredStopAtLevel=1"
_LOG_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    # The broker lists all its settings at each start, hundreds of lines.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
)


def _remedy(text: str) -> str | None:
    """What to do about the trouble of which the text tells, if it is a known one."""
    return next((remedy for sign, remedy in _REMEDIES.items() if sign in text), None)


def _java_command(*options: str) -> list[str]:
    # The serial collector takes the least of a small machine.
    return [java(), *options, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-cp", str(libraries() / "*")]


def _run_java(main_class: str, *arguments: str, folder: Path | None = None) -> str:
    """Runs a tool to its end, in that folder."""
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    command = [*_java_command("-Xmx256m", _COMPILE_LITTLE, quiet), main_class, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        said = done.stderr + done.stdout
        lines = [line for line in said.splitlines() if not line.startswith("\t")]
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if sign in said), "it says")
        raise KafkaTrouble(
            "\n  ".join([f"{main_class.rpartition('.')[2]} failed: {remedy}", *lines[:_LOG_LINES_SHOWN]])
        )
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 is done, 1 is 'it does not run', 2 is trouble."""
    parser = argparse.ArgumentParser(prog="local.py", description="One real Kafka node on this machine.")
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="its folder (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="for clients (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        return {"up": _up, "down": _down, "status": _status}[options.command](options.data.resolve(), options.port)
    except KafkaTrouble as trouble:
        print(trouble, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or options.data}: {error.strerror}", file=sys.stderr)
    return 2


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; give a number up to 65535, 0 for any free one")
    return int(text)


def _up(data: Path, port: int) -> int:
    if running(data) is not None:
        return _status(data, port)
    kafka = LocalKafka(data, port=port, heap_mb=512, compiled_well=True)
    kafka.start(outlive=True)
    print(f"Kafka is up: {kafka.bootstrap} (process {kafka.pid}, data {data})")
    return 0


def _down(data: Path, port: int) -> int:
    if running(data) is None:
        print(f"no Kafka runs on {data}")
        return 0
    LocalKafka(data, port=port).stop()
    print("Kafka is down")
    return 0


def _status(data: Path, port: int) -> int:
    if (entry := running(data)) is None:
        print(f"no Kafka runs on {data}")
        return 1
    print(f"Kafka runs: {HOST}:{entry.port} (process {entry.pid}, data {data})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
