"""A TCP proxy between clients and the broker that reads what goes by and does harm to it.

It knows the frames of Kafka's protocol and the head of each request: what is asked, and by whom. Only clients whose
name begins with "worker" come to harm. A request to end a transaction can be held back, delivered after its sender has
gone, or lost before or after the broker has seen it; a connection can fall silent for good at a request of any kind, or
all of a client's; and frames can be delayed and connections cut by chance.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from contextlib import suppress
from random import Random
from typing import Literal, NamedTuple

INIT_PRODUCER_ID, END_TXN = 22, 26
"""Kafka's numbers of the requests that end a transaction: the first one aborts what a former owner left open."""

REQUESTS = {
    "produce": 0,
    "fetch": 1,
    "list offsets": 2,
    "metadata": 3,
    "offset fetch": 9,
    "find coordinator": 10,
    "join group": 11,
    "heartbeat": 12,
    "sync group": 14,
    "api versions": 18,
    "init producer": INIT_PRODUCER_ID,
    "end txn": END_TXN,
    "offsets": 28,
}
"""Requests of a worker at which a connection can fall silent, by Kafka's numbers."""

Way = Literal["both ways", "to the broker", "to the worker"]
"""What is swallowed on a silent connection; it stays open for as long as the client wants."""

WAYS: tuple[Way, ...] = ("both ways", "to the broker", "to the worker")

Harm = Literal["hold request", "hold answer", "deliver late", "cut before", "cut after"]
"""What can happen to an EndTxn: request or answer held back in its place; the connection cut at once and the request
delivered some time after; the connection cut and the request lost; the request delivered, then the connection cut."""

HARMS: tuple[Harm, ...] = ("hold request", "hold answer", "deliver late", "cut before", "cut after")

VICTIMS = "worker"

_HEADER = struct.Struct(">hhih")
_LENGTH = struct.Struct(">i")
_ERROR = struct.Struct(">h")
_ERROR_AT = 13  # in the answer to an EndTxn: behind length, correlation id, tags and throttle time


class Noise(NamedTuple):
    """How often a frame is late, by how much at most, and how often the connection is cut in its place."""

    late: float = 0.0
    longest_seconds: float = 0.0
    cut: float = 0.0


QUIET = Noise()


class Proxy:
    """Listens on a bound socket, as long as it is entered, and passes everything on to the broker's port.

    `happened` counts what was done, `under_way` is what has begun and not come to its end: what is held back, is held
    for `hold_seconds`.
    """

    def __init__(self, listening: socket.socket, broker_port: int, rng: Random, hold_seconds: float) -> None:
        self.noise = QUIET
        self.hold_seconds = hold_seconds
        self.happened: Counter[str] = Counter()
        self.under_way = 0
        self._listening = listening
        self._broker_port = broker_port
        self._rng = rng
        self.silent = 0
        """Connections that have fallen silent and that the client has not given up."""
        self.cut_off: set[str] = set()
        """Clients by name whose connections fall silent, the new ones too."""
        self._orders: deque[Harm] = deque()
        self._silences: dict[int, tuple[str, Way]] = {}
        self._server: asyncio.Server | None = None
        self._gate = asyncio.Event()
        self._gate.set()
        self.ending = 0
        """Requests of workers to end a transaction that have been passed on and not been answered."""
        self._links: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, sock=self._listening.dup())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        links = [*self._links]
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        await self._server.wait_closed()

    def order(self, harm: Harm) -> None:
        """Does this to the next EndTxn of a worker that has nothing done to it yet."""
        self._orders.append(harm)

    def silence(self, request: str, way: Way) -> None:
        """The connection of the next worker that sends this request falls silent with it."""
        self._silences[REQUESTS[request]] = (request, way)

    def next_silence(self, key: int, name: str) -> Way | None:
        """Whether the connection falls silent on which the request of this number has come."""
        if name in self.cut_off:
            return "both ways"
        if key not in self._silences:
            return None
        request, way = self._silences.pop(key)
        self.happened[f"silent {way} at {request}"] += 1
        return way

    def turn_deaf(self) -> None:
        """Takes nothing more from the clients that are there: what they write piles up on their side."""
        for client in self._clients:
            client.transport.pause_reading()

    def close_gate(self) -> None:
        """From now on no transaction of a worker is ended."""
        self._gate.clear()

    def open_gate(self) -> None:
        """What has waited at the gate goes on."""
        self._gate.set()

    async def pass_gate(self) -> None:
        """Waits until the gate is open."""
        await self._gate.wait()

    def forget_orders(self) -> None:
        """Orders not carried out yet are void."""
        self._orders.clear()
        self._silences.clear()
        self.cut_off.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        self._clients.add(writer)
        try:
            with suppress(asyncio.CancelledError):
                await _Link(self, reader, writer).run()
        finally:
            self._clients.discard(writer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the broker. Raises OSError."""
        return await asyncio.open_connection("127.0.0.1", self._broker_port)

    def next_harm(self) -> Harm | None:
        """What is to be done to the EndTxn that has come."""
        if not self._orders:
            return None
        harm = self._orders.popleft()
        self.happened[harm] += 1
        self.under_way += 1
        return harm

    async def hold(self) -> None:
        """Waits as long as something is held back."""
        await asyncio.sleep(self.hold_seconds)

    async def disturb(self) -> bool:
        """Maybe waits; whether the connection is to be cut."""
        noise = self.noise
        if noise.late and self._rng.random() < noise.late:
            self.happened["frame late"] += 1
            await asyncio.sleep(self._rng.uniform(0, noise.longest_seconds))
        if noise.cut and self._rng.random() < noise.cut:
            self.happened["connection cut"] += 1
            return True
        return False


class _Link:
    """One client's connection and its counterpart at the broker."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._is_victim = False
        self._name = ""
        self._silent: Way | None = None
        self._harmed_answers: dict[int, Harm] = {}
        self._deliver_late: list[bytes] = []
        self._harms = 0
        """Those under way on this connection."""
        self._ending: set[int] = set()

    async def run(self) -> None:
        opened: asyncio.StreamWriter | None = None
        try:
            reader, opened = await self._proxy.connect()
            ways = [asyncio.ensure_future(way) for way in (self._ask(opened), self._answer(reader))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            if self._deliver_late:
                # The client believes the connection gone; what it sent is still on its way.
                self._client[1].close()
                await self._proxy.hold()
                for frame in self._deliver_late:
                    opened.write(frame)
                    await opened.drain()
                    _, _, correlation, _ = _HEADER.unpack_from(frame, _LENGTH.size)
                    answer = await _frame(reader)
                    while _LENGTH.unpack_from(answer, _LENGTH.size) != (correlation,):
                        answer = await _frame(reader)  # that was to something asked before
                    (error,) = _ERROR.unpack_from(answer, _ERROR_AT)
                    self._proxy.happened[f"late EndTxn: {'done' if error == 0 else 'refused'}"] += 1
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._proxy.under_way -= self._harms
            self._proxy.ending -= len(self._ending)
            self._proxy.silent -= self._silent is not None
            writers = [writer for writer in (self._client[1], opened) if writer is not None]
            for writer in writers:
                writer.close()
            for writer in writers:
                with suppress(OSError):
                    await writer.wait_closed()

    def _fall_silent(self, way: Way | None) -> None:
        if way is not None and self._silent is None:
            self._silent = way
            self._proxy.silent += 1

    def _done(self) -> None:
        self._harms -= 1
        self._proxy.under_way -= 1

    async def _ask(self, broker: asyncio.StreamWriter) -> None:
        while True:
            frame = await _frame(self._client[0])
            key, _, correlation, length = _HEADER.unpack_from(frame, _LENGTH.size)
            name = frame[_LENGTH.size + _HEADER.size :][: max(length, 0)].decode(errors="replace")
            if self._is_victim or name.startswith(VICTIMS):
                self._is_victim = True
                self._name = name
                if self._silent is None:
                    self._fall_silent(self._proxy.next_silence(key, name))
                if self._silent in ("both ways", "to the broker"):
                    continue
                if key in (INIT_PRODUCER_ID, END_TXN):
                    await self._proxy.pass_gate()
                harm = self._proxy.next_harm() if key == END_TXN else None
                if harm is not None:
                    self._harms += 1
                elif await self._proxy.disturb():
                    return
                if harm == "cut before":
                    return
                if harm == "deliver late":
                    self._deliver_late.append(frame)
                    return
                if harm == "hold request":
                    await self._proxy.hold()
                    self._done()
                elif harm is not None:
                    self._harmed_answers[correlation] = harm
                if key in (INIT_PRODUCER_ID, END_TXN):
                    self._ending.add(correlation)
                    self._proxy.ending += 1
            broker.write(frame)
            await broker.drain()

    async def _answer(self, broker: asyncio.StreamReader) -> None:
        while True:
            frame = await _frame(broker)
            (correlation,) = _LENGTH.unpack_from(frame, _LENGTH.size)
            if correlation in self._ending:
                self._ending.discard(correlation)
                self._proxy.ending -= 1
            if self._name in self._proxy.cut_off:
                self._fall_silent("both ways")
            if self._silent in ("both ways", "to the worker"):
                continue
            harm = self._harmed_answers.pop(correlation, None)
            if harm is not None:
                if harm == "cut after":
                    return
                await self._proxy.hold()
                self._done()
            elif self._is_victim and await self._proxy.disturb():
                return
            self._client[1].write(frame)
            await self._client[1].drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """A whole frame with its length before it. Raises IncompleteReadError when the other side has gone."""
    head = await reader.readexactly(_LENGTH.size)
    (length,) = _LENGTH.unpack(head)
    return head + await reader.readexactly(length)
