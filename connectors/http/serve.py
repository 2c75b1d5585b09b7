"""Serves the API in the event loop of the program: granian, embedded.

    async with serving(app, http) as address: ...

It listens from the beginning of the block to its end. Then it takes no more connections, and requests that are under
way have `STOP_SECONDS` to be answered.
"""

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from litestar.types import ASGIApp

from connectors.settings import BadSettings, HttpSettings

log = logging.getLogger("tollgate.http")

START_SECONDS = 10.0
STOP_SECONDS = 10.0

HEADER_SECONDS = 10
"""How long a client may take to send the head of a request."""


@asynccontextmanager
async def serving(app: ASGIApp, http: HttpSettings) -> AsyncIterator[str]:
    """Serves while the block runs; its value is the address, as in `http://127.0.0.1:8080`.

    Raises BadSettings where it can't listen: the port is taken, the address is not this machine's, TLS does not work.
    """
    port = _port(http)
    server = _server(app, http, port)
    running = asyncio.create_task(server.serve(), name="http")
    try:
        await _listening(http, port, running)
        host = f"[{http.host}]" if ":" in http.host else http.host
        yield f"{'https' if http.uses_tls else 'http'}://{host}:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(running)
        except TimeoutError:
            log.warning("requests that had not been answered within %g s were dropped", STOP_SECONDS)
            running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _server(app: ASGIApp, http: HttpSettings, port: int) -> Server:
    try:
        server = Server(
            app,
            address=http.host,
            port=port,
            interface=Interfaces.ASGINL,
            websockets=False,
            http=HTTPModes.auto,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
            log_level=LogLevels.error,
            ssl_cert=http.tls_cert_file,
            ssl_key=http.tls_key_file,
        )
    except ssl.SSLError as error:
        raise BadSettings(
            f"[http] tls_cert_file and tls_key_file: {error.reason or error}; give PEM files that belong together"
        ) from None
    # What the server says goes where the program's log goes.
    granian = logging.getLogger("_granian")
    granian.handlers.clear()
    granian.propagate = True
    return server


def _port(http: HttpSettings) -> int:
    """The port, tried out beforehand: the server itself would not say why it can't have it."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(http.host).version == 6 else socket.AF_INET
    except ValueError:
        raise BadSettings(
            f"[http] host {http.host!r} is no address; write it as 127.0.0.1, or 0.0.0.0 for any"
        ) from None
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((http.host, http.port))
        except OSError as error:
            raise BadSettings(_remedy(http, error)) from None
        port: int = tried.getsockname()[1]
        return port


def _remedy(http: HttpSettings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"[http] port {http.port} on {http.host} is taken; choose another one with --port or TOLLGATE_HTTP_PORT"
    if error.errno == errno.EACCES:
        return f"[http] port {http.port} on {http.host} is not allowed to this user; take one above 1023"
    why = os.strerror(error.errno or 0)
    return f"[http] host {http.host!r} can't be listened on: {why}; set TOLLGATE_HTTP_HOST, as in 0.0.0.0"


async def _listening(http: HttpSettings, port: int, running: "asyncio.Task[None]") -> None:
    """Comes back when the server accepts connections."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    async with asyncio.timeout(START_SECONDS):
        while True:
            if running.done():
                await running
                raise BadSettings(f"[http] the server on {http.host}:{port} ended as soon as it had begun; see the log")
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                return
