"""One run on a real Kafka: topics of its own, worker processes, traffic, a reader that watches, and the proxy between.

All clients come through the proxy, which does harm to workers only. `verdict` is the end of a run: everything is
healed, all input is worked off, and the findings are what the checker, the replay and the supervisor have to say.
"""

import asyncio
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors.kafka.client import quiet
from deploy.kafka.local import LocalKafka
from deploy.kafka.trouble import KafkaTrouble
from schemas import topics
from tests.simulation.company import company

from .checker import Evidence, check
from .fleet import DEADLINE_SECONDS, Fleet, Stalled, WorkerProcess, until
from .reader import Books, Watcher, group_offsets, places, read_all, settled_ends
from .replay import replay
from .tcp_proxy import QUIET, Proxy
from .traffic import Traffic
from .worker_process import Options

_COMMIT_DEADLINE_MS = 1_000
_HOLD_SECONDS = 2.0  # longer than a commit may take
_FOREVER = str(2**63 - 1)
_COMMON = {
    "retention.ms": "-1",
    # Calls take place at a time of their own.
    "message.timestamp.before.max.ms": _FOREVER,
    "message.timestamp.after.max.ms": _FOREVER,
}


class Ground:
    """A Kafka behind an address that the proxies of runs listen on, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listening = socket.create_server(("127.0.0.1", 0))
        port = self.listening.getsockname()[1]
        self.kafka = LocalKafka(folder / "kafka", advertised_port=port, properties={"log.cleaner.backoff.ms": 1_000})

    @property
    def bootstrap(self) -> str:
        """The address of the proxy."""
        return self.kafka.bootstrap

    def start(self) -> None:
        self.kafka.start()

    def stop(self) -> None:
        self.kafka.stop()
        self.listening.close()


class Arena:
    """A run. `happened` counts the faults by kind."""

    def __init__(
        self,
        ground: Ground,
        seed: int,
        folder: Path,
        *,
        partitions: int = 4,
        sabotage: str = "",
        compacting: bool = False,
        max_records: int | None = None,
        broker_dies_in_commits: bool = False,
        session_timeout_ms: int = 1_000,
        transaction_timeout_ms: int = 60_000,
    ) -> None:
        """`folder` is for the logs of the workers; `max_records` is the largest batch, drawn if None."""
        self.seed = seed
        self.broker_dies_in_commits = broker_dies_in_commits
        self.rng = Random(f"{seed} arena")
        self.happened: Counter[str] = Counter()
        self.prefix = f"f{uuid4().hex[:10]}-"
        self.group = f"{self.prefix}engine"
        self.partitions = partitions
        self.ground = ground
        self.folder = folder
        self.company = company(Random(f"{seed} company"))
        self.proxy = Proxy(ground.listening, ground.kafka.port, Random(f"{seed} proxy"), _HOLD_SECONDS)
        self.fleet = Fleet(self._options)
        self.watcher = Watcher(ground.bootstrap, self.prefix, partitions)
        self.traffic = Traffic(ground.bootstrap, self.prefix, partitions, self.company, Random(f"{seed} traffic"))
        self.evidence: Evidence | None = None
        self.found: list[str] | None = None
        """The verdict; with findings, or none passed, the logs of the workers are kept."""
        self._sabotage = sabotage
        self._compacting = compacting
        self._max_records = max_records
        self._session_timeout_ms = session_timeout_ms
        self._transaction_timeout_ms = transaction_timeout_ms
        self._flowing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Arena"]:
        """The run from its topics to the end of its last process."""
        quiet()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            async with self.proxy:
                try:
                    await self._create_topics()
                    await self.watcher.start()
                    yield self
                finally:
                    await self._close()
        finally:
            if self.found == []:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _options(self, name: str, trap: str) -> Options:
        return Options(
            name=name,
            bootstrap=self.ground.bootstrap,
            prefix=self.prefix,
            seed=self.seed,
            log_file=str(self.folder / f"{name}.log"),
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // 4,
            step_timeout_ms=6_000,
            commit_deadline_ms=_COMMIT_DEADLINE_MS,
            transaction_timeout_ms=self._transaction_timeout_ms,
            max_records=self._max_records or self.rng.choice((3, 20, 200)),
            sabotage=self._sabotage,
            trap=trap,
        )

    async def _create_topics(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.ground.bootstrap, client_id="arena")
        try:
            await admin.start()
            new = []
            for topic in topics.ALL:
                if not topic.partitioned_like_input:
                    continue
                configs = {**_COMMON, "cleanup.policy": topic.policy}
                if self._compacting and topic is topics.ENGINE_STATE:
                    # Segments of an hour of calls, cleaned as soon as they are complete.
                    configs |= {"segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.01"}
                new.append(NewTopic(self.prefix + topic.name, self.partitions, 1, topic_configs=configs))
            answer = await admin.create_topics(new)
            assert not any(error[1] for error in answer.topic_errors), answer.topic_errors
            names = [topic.name for topic in new]
            while any(
                topic["error_code"] or any(partition["error_code"] for partition in topic["partitions"])
                for topic in await admin.describe_topics(names)
            ):
                await asyncio.sleep(0.01)
        finally:
            await admin.close()

    async def _close(self) -> None:
        await self.stop_traffic()
        await self.fleet.kill_all()
        for close in (self.watcher.stop, self.traffic.close):
            # With a broker that is down for good they may never come to an end.
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await close()

    # Traffic and workers

    def start_traffic(self, records_per_second: float) -> None:
        """Lets it flow until it is stopped."""
        self._flowing = asyncio.create_task(self.traffic.run(self.watcher, records_per_second))

    async def stop_traffic(self) -> list[str]:
        """Stops it; findings if it has stopped by itself."""
        if self._flowing is None:
            return []
        flowing, self._flowing = self._flowing, None
        if flowing.done():
            return [f"the traffic has ended: {'cancelled' if flowing.cancelled() else repr(flowing.exception())}"]
        flowing.cancel()
        with suppress(asyncio.CancelledError):
            await flowing
        return []

    async def workers_at_work(self, number: int) -> None:
        """So many workers, and every partition worked on by one of them."""
        self.fleet.watch_over(number)
        await until(self.everything_is_owned, "all partitions have an owner")

    def everything_is_owned(self) -> bool:
        """Whether each partition has been worked on by a worker that works."""
        owned = {partition for worker in self.fleet.working() for partition in worker.partitions}
        return len(owned) == self.partitions

    async def worked_off(self, seconds: float = 60.0) -> None:
        """Waits until everything acknowledged has been worked off. Raises Stalled."""
        try:
            await until(lambda: not self.watcher.behind(self.traffic.written), "everything is worked off", seconds)
        except Stalled as stalled:
            waiting = self.watcher.behind(self.traffic.written)
            raise Stalled(
                f"{stalled}: " + ", ".join(f"{place.topic}-{place.partition} {n}" for place, n in waiting.items())
            ) from None

    async def others_take(self, victim: WorkerProcess) -> None:
        """Waits until other workers have taken the partitions that a stopped one was at, or that one works on."""
        at = victim.stopped_at or {"working": True, "partitions": sorted(victim.partitions)}
        now = asyncio.get_running_loop().time()
        # The group may have moved on already when it stopped.
        since = {
            partition: victim.last_word_of(partition, "taken", "committed") or now for partition in at["partitions"]
        }

        def taken() -> bool:
            others = [worker for worker in self.fleet.workers if worker is not victim]
            return all(
                any(other.last_word_of(partition, "taken") > moment for other in others)
                for partition, moment in since.items()
            )

        await until(
            lambda: taken() or not victim.alive,
            f"others take what {victim.name} has: {at}",
        )

    # The end

    async def verdict(self) -> list[str]:
        """Heals everything, waits until all input is worked off, and judges."""
        found = await self.stop_traffic()
        self.proxy.noise = QUIET
        self.proxy.forget_orders()
        for worker in self.fleet.workers:
            worker.go_on()
        try:
            # It runs, unless a fault did not come to its end.
            await asyncio.to_thread(self.ground.kafka.start)
        except KafkaTrouble as trouble:
            return [*found, f"the broker does not start again: {trouble}"]
        try:
            if not self.fleet.wanted:
                self.fleet.watch_over(2)
            await self.worked_off()
            await self._inputs_settled()
            await self.fleet.end()
        except Stalled as stalled:
            found.append(f"stalled: {stalled}")
            await self.fleet.kill_all()
        found += self.fleet.broken
        try:
            final = await read_all(self.ground.bootstrap, self.prefix, self.partitions)
        except TimeoutError:
            return [*found, "stalled: a transaction does not come to its end, though nobody is at work"]
        # The reader that watches hears of the last commit a moment later.
        with suppress(Stalled):
            await until(lambda: self._watcher_is_at(final), "the watcher has seen all", seconds=10)
        found += self.watcher.trouble
        self.evidence = Evidence(
            partitions=self.partitions,
            final=final,
            seen=self.watcher.seen,
            group_offsets=await group_offsets(self.ground.bootstrap, self.group, self.prefix),
            acknowledged=self.traffic.acknowledged,
            unsure=self.traffic.unsure,
            homes=self.traffic.homes,
            malformed=self.traffic.malformed,
            opening=self.company.opening(),
            number_status=self.company.number_status(),
        )
        found += await asyncio.to_thread(check, self.evidence)
        found += await replay(self.company, self.partitions, self.watcher.seen)
        self.happened += self.proxy.happened + self.fleet.happened
        self.found = found
        if found:
            self._keep(final, found)
        return found

    def _keep(self, final: Books, found: list[str]) -> None:
        """The topics, the broker's log and the findings, for a look."""
        shutil.copy(self.ground.kafka.log_file, self.folder)
        (self.folder / "findings.txt").write_text("".join(f"{finding}\n" for finding in found))
        for (topic, partition), lines in final.items():
            with (self.folder / f"{topic}-{partition}.txt").open("w") as file:
                file.writelines(f"{offset} {ms} {key!r} {value!r}\n" for offset, key, value, ms in lines)

    async def _inputs_settled(self) -> None:
        """Waits until what one partition passes on to another is worked off there, too."""
        try:
            ends = await settled_ends(self.ground.bootstrap, self.prefix, self.partitions)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await self.watcher.reached(ends):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Stalled("a transaction stays open, or the concurrent reader does not get to the end") from None
        await until(lambda: not self.watcher.behind(self.watcher.ends()), "what was passed on is worked off")

    def _watcher_is_at(self, final: Books) -> bool:
        seen = self.watcher.seen
        return all(len(seen.get(place, ())) >= len(final.get(place, ())) for place in places(self.partitions))
