"""The HTTP answers of a process about itself: `/metrics` for Prometheus, `/live` and `/ready` for whoever starts it.

It runs on the worker's own event loop, so that an answer shows that the loop turns, and it reads nothing but requests
of a few lines: no bodies, no connections kept. Whatever a client sends, or does not send, costs little and ends soon.
"""

import asyncio
import errno
import json
import os
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from connectors.metrics import Watched
from connectors.settings import BadSettings

REQUEST_BYTES = 8_192
"""A request line with headers; Prometheus sends some 300 bytes."""

CONNECTIONS = 32
"""At once; a few scrapers and probes need no more."""

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """A response; `headers` beyond those that all have."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Health:
    """What a worker says of itself.

    It is alive when its main loop has finished a round within `round_seconds`; partitions are restored beside the
    rounds. The time before its first round counts from now. It is ready when it is alive, works on all partitions that
    the group has assigned to it, at least one, and has reference data.
    """

    def __init__(
        self, worker: Watched, *, round_seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._round_seconds = round_seconds
        self._monotonic = monotonic
        self._since = monotonic()

    def stalled(self) -> str | None:
        """What is wrong with the main loop; None when nothing is."""
        age = self._monotonic() - max(self._worker.last_step, self._since)
        if age <= self._round_seconds:
            return None
        return f"the main loop has finished no round for {age:.0f} s; {self._round_seconds:.0f} s is the limit"

    def waiting_for(self) -> list[str]:
        """What is still missing before the worker does all that it should."""
        found = []
        if (stalled := self.stalled()) is not None:
            found.append(stalled)
        if self._worker.reference_version == 0:
            found.append("reference data: none is in force yet")
        if not self._worker.ready:
            owned = len(self._worker.tasks)
            found.append(f"partitions: {owned} are worked on, others are still to be assigned or restored")
        return found

    def live(self) -> Answer:
        """200, or 503 when the process should be started anew."""
        stalled = self.stalled()
        if stalled is None:
            return _json(200, {"live": True})
        return _json(503, {"live": False, "why": stalled})

    def ready(self) -> Answer:
        """200, or 503 with what is waited for."""
        waiting_for = self.waiting_for()
        return _json(
            503 if waiting_for else 200,
            {
                "ready": not waiting_for,
                "waiting_for": waiting_for,
                "partitions": sorted(self._worker.tasks),
                "reference_version": self._worker.reference_version,
            },
        )


class HealthServer:
    """Serves until `close`. `registry` is what `/metrics` shows."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, *, request_seconds: float = 5.0, answer_seconds: float = 10.0
    ) -> None:
        self._registry = registry
        self._health = health
        self._request_seconds = request_seconds
        self._answer_seconds = answer_seconds
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], None] = {}

    async def start(self, host: str, port: int) -> int:
        """Listens; the port, which is another one when `port` is 0.

        Raises BadSettings when it can't listen there: the port is taken, or the address is not this machine's.
        """
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=REQUEST_BYTES)
        except OSError as error:
            raise BadSettings(_remedy(host, port, error)) from None
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def close(self) -> None:
        """Listens no more and ends what is open."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        # A server that waits for its connections would wait for the slowest client.
        serving = tuple(self._open)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            # The oldest is the one that dawdles; to turn the newest away would shut out the probes.
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="health")
        self._open[task] = None
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer, head_only = await self._answer(reader)
            async with asyncio.timeout(self._answer_seconds):
                writer.write(_head(answer))
                if not head_only:
                    writer.write(answer.body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            # The client has gone, or takes nothing.
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        try:
            async with asyncio.timeout(self._request_seconds):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _text(408, f"no request within {self._request_seconds:g} s"), False
        except asyncio.LimitOverrunError:
            return _text(431, f"a request has at most {REQUEST_BYTES} bytes"), False
        line, *headers = head.decode("latin-1").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _text(400, "this is no request of HTTP/1"), False
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _text(405, "only GET and HEAD", ("Allow", "GET, HEAD")), False
        return self._page(target.partition("?")[0], headers), method == "HEAD"

    def _page(self, path: str, headers: list[str]) -> Answer:
        if path == "/metrics":
            encode, content_type = choose_encoder(_header(headers, "accept"))
            return Answer(200, content_type, encode(self._registry))
        if path == "/live":
            return self._health.live()
        if path == "/ready":
            return self._health.ready()
        return _text(404, "there are /metrics, /live and /ready")


def _header(headers: list[str], wanted: str) -> str:
    values = []
    for line in headers:
        name, _, value = line.partition(":")
        if name.lower() == wanted:
            values.append(value.strip())
    return ",".join(values)


def _head(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _json(status: int, value: object) -> Answer:
    return Answer(status, _JSON, json.dumps(value, ensure_ascii=False).encode() + b"\n")


def _text(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, _TEXT, text.encode() + b"\n", headers)


def _remedy(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"[metrics] port {port} on {host} is taken; choose another one with TOLLGATE_METRICS_PORT"
    if error.errno == errno.EACCES:
        return f"[metrics] port {port} on {host} is not allowed to this user; TOLLGATE_METRICS_PORT must be above 1023"
    # asyncio wraps the system's text into a longer one; a name that can't be resolved has a number of its own kind.
    why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return f"[metrics] host {host!r} can't be listened on: {why}; set TOLLGATE_METRICS_HOST, as in 0.0.0.0"
