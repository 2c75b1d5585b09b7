"""The faults, one coroutine each: what is done to a run that goes on meanwhile, and what is waited for.

Each ends when its fault has struck and the run can go on; none waits for a time, all wait for what must come.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from .arena import Arena
from .fleet import DEADLINE_SECONDS, Stalled, WorkerProcess, until
from .points import POINTS
from .tcp_proxy import HARMS, QUIET, REQUESTS, WAYS, Harm, Noise, Way

_TAKING = ("producer", "restore")
"""Points that are passed when a partition is taken."""

_JOINING = (
    "list offsets",
    "offset fetch",
    "find coordinator",
    "join group",
    "sync group",
    "api versions",
    "init producer",
)
"""Requests that are made when a worker comes."""

_GIVEN_UP_SECONDS = 30.0  # several times what a worker waits for an answer
_LAST_ROOM_BYTES = 65_536
_MARKERS_SECONDS = 0.2
_ROUGH = Noise(late=0.1, longest_seconds=0.3, cut=0.01)


async def kill_a_worker(arena: Arena) -> None:
    """kill -9 of a worker that works; another one takes its place."""
    await until(lambda: arena.fleet.working(), "a worker works")
    victim = arena.rng.choice(arena.fleet.working())
    arena.happened["kill -9 of a worker"] += 1
    victim.kill()
    await until(lambda: not victim.alive, f"{victim.name} is dead")
    await arena.fleet.bury()


async def kill_a_worker_at(arena: Arena, point: str) -> None:
    """kill -9 at a point of a transaction."""
    victim = await stop_a_worker_at(arena, point)
    arena.happened[f"kill -9 at {point}"] += 1
    victim.kill()
    await until(lambda: not victim.alive, f"{victim.name} is dead")


async def stop_a_worker_at(arena: Arena, point: str) -> WorkerProcess:
    """Has a worker stop itself at the point, and waits until it has, or has died on the way."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while True:
        if point in _TAKING:
            # One that comes is given partitions, and takes them.
            victim = await arena.fleet.start(trap=point)
        else:
            await until(lambda: arena.fleet.working(), "a worker works")
            victim = arena.rng.choice(arena.fleet.working())
            victim.trap(point)
        try:
            await until(
                lambda victim=victim: victim.stopped_at is not None or not victim.alive,
                f"{victim.name} comes to {point}",
                seconds=10,
            )
        except Stalled:
            # Its partitions may have gone to another one meanwhile.
            if asyncio.get_running_loop().time() > deadline:
                raise
            victim.trap("nowhere")
            if point in _TAKING:
                victim.leave()
        else:
            return victim


async def zombie(arena: Arena, point: str) -> None:
    """A worker stands still at a point for longer than its session, others take over, and then it goes on."""
    victim = await stop_a_worker_at(arena, point)
    if victim.stopped_at is None:
        return
    arena.happened[f"zombie at {point}"] += 1
    await arena.others_take(victim)
    mark = len(victim.said)
    victim.go_on()
    # It notices, and finds its way back into the group or ends.
    await until(lambda: len(victim.said) > mark or not victim.alive, f"{victim.name} goes on after {point}")
    if victim.alive and len([worker for worker in arena.fleet.workers if worker.works]) > arena.fleet.wanted:
        victim.leave()


@asynccontextmanager
async def no_transaction_ending(arena: Arena) -> AsyncIterator[None]:
    """Transactions may be open while the broker dies, but none is being ended, unless the run asks for that.

    A single Kafka node that has to write the markers of a transaction while it starts may skip them ("these partitions
    are likely deleted already" in its log): its leaders are not known for a moment then. What was aborted is committed
    by the next transaction of the same producer, and no client can help it. For the same reason transactions time out
    later than the broker is away.
    """
    if arena.broker_dies_in_commits:
        yield
        return
    arena.proxy.close_gate()
    try:
        await until(lambda: not arena.proxy.ending, "the commits under way are answered")
        # The markers are written a few milliseconds after the answer, which nobody is told of.
        await asyncio.sleep(_MARKERS_SECONDS)
        yield
    finally:
        arena.proxy.open_gate()


async def kill_the_broker(arena: Arena) -> None:
    """kill -9 of the broker; it starts again on the same data."""
    async with no_transaction_ending(arena):
        arena.happened["kill -9 of the broker"] += 1
        await asyncio.to_thread(arena.ground.kafka.kill)
        await asyncio.to_thread(arena.ground.kafka.start)


async def fill_the_disk(arena: Arena) -> None:
    """The broker's disk is full until it gives up; then there is room again and it is started."""
    kafka = arena.ground.kafka
    filler = kafka.data_dir / "filler"
    async with no_transaction_ending(arena):
        arena.happened["disk full"] += 1
        try:
            # What the broker deletes makes room again.
            await until(lambda: _fill(filler) or kafka.died(), "the broker gives up when its disk is full", seconds=20)
        except Stalled:
            # Whoever looks after it ends what neither works nor dies.
            arena.happened["kill -9 of the broker on a full disk"] += 1
            await asyncio.to_thread(kafka.kill)
        finally:
            filler.unlink(missing_ok=True)
        await asyncio.to_thread(kafka.start)


def _fill(filler: Path) -> None:
    """Takes all the room that there is."""
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        if (free := shutil.disk_usage(filler.parent).free) > _LAST_ROOM_BYTES:
            os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free - _LAST_ROOM_BYTES)
        while True:
            file.write(bytes(512))


async def freeze_the_broker(arena: Arena, seconds: float) -> None:
    """The broker stands still for longer than a commit may take."""
    arena.happened["broker frozen"] += 1
    arena.ground.kafka.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        arena.ground.kafka.resume()


async def storm(arena: Arena, rounds: int) -> None:
    """Workers join and leave, each as soon as the one before has joined."""
    for _ in range(rounds):
        arena.happened["member joins and leaves"] += 1
        guest = await arena.fleet.start()
        await until(
            lambda guest=guest: guest.since(0, "joined") or not guest.alive, f"{guest.name} has joined", seconds=30
        )
        guest.leave()


async def harm_a_commit(arena: Arena, harm: Harm) -> None:
    """A worker's EndTxn is held back, delivered late or lost."""
    before = arena.proxy.happened[harm]
    arena.proxy.order(harm)
    await until(lambda: arena.proxy.happened[harm] > before, f"a commit comes to be harmed ({harm})")
    await until(lambda: not arena.proxy.under_way, f"the harm has been done ({harm})")


async def rough_network(arena: Arena, transactions: int) -> None:
    """Frames come late and connections are cut, for so many transactions."""
    arena.proxy.noise = _ROUGH
    before = arena.watcher.transactions
    await until(
        lambda: arena.watcher.transactions >= before + transactions, f"{transactions} transactions on a rough network"
    )
    arena.proxy.noise = QUIET


async def fall_silent(arena: Arena, request: str, way: Way) -> None:
    """A worker's connection falls silent at a request and is never closed; the worker gives it up."""
    kind = f"silent {way} at {request}"
    before = arena.proxy.happened[kind]
    arena.proxy.silence(request, way)
    guest = await arena.fleet.start() if request in _JOINING else None
    await until(lambda: arena.proxy.happened[kind] > before, f"a connection falls {kind}")
    await until(lambda: not arena.proxy.silent, f"a connection that is {kind} is given up", _GIVEN_UP_SECONDS)
    if guest is not None:
        guest.leave()


async def cut_a_worker_off(arena: Arena) -> None:
    """No word comes to a worker or from it, and no connection is closed, until others have its partitions."""
    await until(lambda: arena.fleet.working(), "a worker works")
    victim = arena.rng.choice(arena.fleet.working())
    mark = len(victim.said)
    await until(lambda: victim.since(mark, "committed") or not victim.alive, f"{victim.name} works")
    arena.happened["worker cut off"] += 1
    arena.proxy.cut_off.add(victim.name)
    await arena.others_take(victim)
    arena.proxy.cut_off.discard(victim.name)
    mark = len(victim.said)
    await until(lambda: not arena.proxy.silent, f"{victim.name} gives its silent connections up", _GIVEN_UP_SECONDS)
    # It finds its way back into the group or ends.
    await until(lambda: len(victim.said) > mark or not victim.alive, f"{victim.name} goes on")


Fault = Callable[[Arena], Awaitable[None]]


SURROUNDINGS = ("kill", "broker", "frozen broker", "storm", "network", "silence", "cut off", "disk")
"""What happens around the workers; at the same time something may happen to one of their transactions."""


def all_faults(*, disk: bool) -> dict[str, Fault]:
    """Every fault by name; `disk`: the broker has a small disk of its own that can be filled."""
    found: dict[str, Fault] = {
        "kill": kill_a_worker,
        "broker": kill_the_broker,
        "frozen broker": lambda arena: freeze_the_broker(arena, arena.rng.uniform(0.5, 4.0)),
        "storm": lambda arena: storm(arena, arena.rng.randint(2, 5)),
        "network": lambda arena: rough_network(arena, arena.rng.randint(20, 60)),
    }
    found["silence"] = lambda arena: fall_silent(arena, arena.rng.choice([*REQUESTS]), arena.rng.choice(WAYS))
    found["cut off"] = cut_a_worker_off
    if disk:
        found["disk"] = fill_the_disk
    for point in POINTS:
        found[f"zombie at {point}"] = lambda arena, point=point: zombie(arena, point)  # type: ignore[misc]
        found[f"kill at {point}"] = lambda arena, point=point: kill_a_worker_at(arena, point)  # type: ignore[misc]
    for harm in HARMS:
        found[f"commit: {harm}"] = lambda arena, harm=harm: harm_a_commit(arena, harm)  # type: ignore[misc]
    return found
