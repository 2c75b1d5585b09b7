"""What every client of the cluster is constructed with, and the first contact with it.

The client library logs loudly, keeps the reason of a failure to its log, and may try for ever. So the first contact is
made here: one connection, under a deadline, whose failure says what to do.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from connectors.kafka.errors import Unusable, explain
from connectors.settings import BadSettings, KafkaSettings

IDLE_MS = 540_000
"""Idle connections are closed before the broker does it, after ten minutes."""

_GOODBYE_SECONDS = 1.0  # for what has been written and not been sent yet

_OF_A_CONNECTION = frozenset(
    {"client_id", "request_timeout_ms", "security_protocol", "ssl_context"}
    | {"sasl_mechanism", "sasl_plain_username", "sasl_plain_password"}
)


def client_arguments(settings: KafkaSettings) -> dict[str, Any]:
    """The arguments that consumers, producers and administrators of aiokafka share.

    Raises BadSettings for a certificate or key that is none.
    """
    quiet()
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": settings.client_id,
        "request_timeout_ms": settings.request_timeout_ms,
        "metadata_max_age_ms": settings.metadata_max_age_ms,
        "connections_max_idle_ms": IDLE_MS,
        "security_protocol": settings.security_protocol,
    }
    if settings.uses_tls:
        arguments["ssl_context"] = ssl_context(settings)
    if settings.uses_sasl:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.username
        arguments["sasl_plain_password"] = settings.password
    return arguments


def quiet() -> None:
    """Keeps the library's log off the terminal: what matters of it comes as an exception and is told once."""
    log = logging.getLogger("aiokafka")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """TLS as the settings have it. Raises BadSettings for a file that holds no certificate, or not the right key."""
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    except (ssl.SSLError, OSError) as error:
        raise BadSettings(
            f"ssl_ca_file {settings.ssl_ca_file}: holds no certificate in PEM ({_reason(error)})"
        ) from None
    context.check_hostname = settings.ssl_check_hostname
    if settings.ssl_cert_file is not None:
        assert settings.ssl_key_file is not None, "the settings have been checked"
        try:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, password=_no_password)
        except (ssl.SSLError, OSError, _Encrypted) as error:
            raise BadSettings(
                f"ssl_cert_file {settings.ssl_cert_file} and ssl_key_file {settings.ssl_key_file}: "
                f"{_why_no_pair(error, settings.ssl_key_file)}"
            ) from None
    return context


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    # Without an answer OpenSSL would ask on the terminal.
    raise _Encrypted


def _why_no_pair(error: Exception, key: Path) -> str:
    if isinstance(error, _Encrypted):
        return "the key is encrypted; write it without a password, readable by its owner alone"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return f"must hold a certificate and its key in PEM ({_reason(error)})"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


async def hang_up(client: AIOKafkaClient) -> None:
    """Closes a client's connections. One on which the other side takes nothing any more is broken off: what is written
    and not sent would be waited for as long as TCP tries, a quarter of an hour."""
    transports = [
        connection._writer.transport for connection in client._conns.values() if connection._writer is not None
    ]
    closing = asyncio.ensure_future(client.close())
    if not (await asyncio.wait([closing], timeout=_GOODBYE_SECONDS))[0]:
        for transport in transports:
            transport.abort()
    await closing


class Contact(NamedTuple):
    """What the first contact brought: the brokers' addresses by id, the controller, what their software can."""

    brokers: dict[int, str]
    controller: int
    versions: dict[int, tuple[int, int]]
    """First and last version of each request, by its number."""


async def reach(settings: KafkaSettings) -> Contact:
    """Finds an address of `bootstrap_servers` that lets this client in, and one of the cluster's own.

    Takes at most `connect_timeout_ms` for each address. Raises Unusable with the reason of each address, and
    BadSettings.
    """
    arguments = client_arguments(settings)
    contact, reasons = await _first(settings, arguments, settings.bootstrap_servers)
    if contact is None:
        raise Unusable("; ".join(reasons))
    # All traffic goes to the addresses that the brokers give themselves, which may be meant for another network.
    own = [address for address in contact.brokers.values() if address not in settings.bootstrap_servers]
    if len(own) == len(contact.brokers) and own:
        reached, reasons = await _first(settings, arguments, own)
        if reached is None:
            raise Unusable(
                f"Kafka lets this client in, but calls its brokers {', '.join(own)} (advertised.listeners): "
                + "; ".join(reasons)
            )
    return contact


async def _first(
    settings: KafkaSettings, arguments: dict[str, Any], addresses: Iterable[str]
) -> tuple[Contact | None, list[str]]:
    """The first address that answers, or why none does."""
    reasons = []
    for address in addresses:
        try:
            async with asyncio.timeout(settings.connect_timeout_ms / 1000):
                return await _contact(address, arguments), []
        except (OSError, KafkaError, TimeoutError, EOFError, NotImplementedError) as error:
            reasons.append(explain(error, settings, address=address))
    return None, reasons


async def _contact(address: str, arguments: dict[str, Any]) -> Contact:
    host, _, port = address.rpartition(":")
    mine = {name: value for name, value in arguments.items() if name in _OF_A_CONNECTION}
    connection = await create_conn(host.strip("[]"), int(port), **mine)
    try:
        # Only this shows whether the broker wants a password where none was given.
        answer = await connection.send(MetadataRequest([], allow_auto_topic_creation=False))
        versions = dict(connection._versions)
    finally:
        closed = connection.close()
        # The other side may never say goodbye.
        await asyncio.wait([closed], timeout=1)
    brokers = {broker_id: _address(name, number) for broker_id, name, number, *_ in answer.brokers}
    return Contact(brokers, answer.controller_id, versions)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
