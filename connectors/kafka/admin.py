"""Administration of a cluster: what topics there are and how they are set up, the missing ones created.

Every call ends under a deadline, and what goes wrong comes out as `Unusable` with the remedy.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, NotControllerError, for_code
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from connectors.kafka.client import Contact, client_arguments, reach
from connectors.kafka.errors import NOT_AUTHORIZED, Unusable, explain
from connectors.kafka.topic_plan import ClusterSeen, NewTopic, TopicSeen
from connectors.settings import KafkaSettings
from schemas import topics

INTERNAL = ("__consumer_offsets", "__transaction_state")

_TOPIC, _BROKER = 2, 4  # kinds of what has settings
_UNKNOWN_TOPIC, _EXISTS = 3, 36  # error codes
_POLL_SECONDS = 0.1


class Admin:
    """A connection for administration; made by `connect`. Methods raise Unusable."""

    def __init__(self, settings: KafkaSettings, contact: Contact, client: AIOKafkaClient) -> None:
        self.settings = settings
        self.contact = contact
        self._client = client
        self._controller = contact.controller

    async def ask(self, request: Any, doing: str, *, node: int | None = None) -> Any:
        """Any broker's answer, or that of one. `doing` says in words what is asked, for the error."""
        try:
            async with asyncio.timeout(self.settings.request_timeout_ms / 1000):
                return await self._client.send(self._client.get_random_node() if node is None else node, request)
        except (OSError, KafkaError, TimeoutError, NotImplementedError) as error:
            raise Unusable(explain(error, self.settings, doing=doing)) from error

    def refused(self, code: int, message: str | None, doing: str) -> Unusable:
        """An error code in an answer, as what to raise."""
        if issubclass(for_code(code), NOT_AUTHORIZED):
            who = f"user {self.settings.username!r}" if self.settings.uses_sasl else "this client"
            return Unusable(
                f"Kafka at {', '.join(self.settings.bootstrap_servers)}: {who} is not allowed to {doing}; "
                "run this command as an administrator of the cluster (username and password in [kafka])"
            )
        return Unusable(explain(for_code(code)(*([message] if message else [])), self.settings, doing=doing))

    async def describe(self) -> ClusterSeen:
        """The cluster as it is now."""
        names = {self.settings.topic(topic.name): topic.name for topic in topics.ALL}
        there = await self._topics([*names, *INTERNAL])
        configs = await self._configs([name for name in there if name in names])
        seen = {
            name: TopicSeen(*_shape(there[full]), configs[full])
            for full, name in names.items()
            if full in there and full in configs
        }
        internal = {name: TopicSeen(*_shape(there[name]), {}) for name in INTERNAL if name in there}
        return ClusterSeen(
            len(self.contact.brokers), seen, internal, self.contact.versions, await self._broker_configs()
        )

    async def create(self, new: Sequence[NewTopic]) -> list[str]:
        """Creates the topics and waits until they can be used; the names of those that were not there already.

        Raises Unusable with all that the cluster refuses; the others have been created then.
        """
        if not new:
            return []
        request = CreateTopicsRequest(
            [
                (topic.name, topic.partitions, topic.replication_factor, [], list(topic.configs.items()))
                for topic in new
            ],
            self.settings.request_timeout_ms,
            False,
        )
        answer = await self._ask_controller(request, "create topics")
        created, refusals = [], []
        for name, code, message in answer.topic_errors:
            if code == 0:
                created.append(name)
            elif code != _EXISTS:
                refusals.append(str(self.refused(code, message, f"create {name}")))
        if refusals:
            raise Unusable("\n  ".join(dict.fromkeys(refusals)))
        await self._await_leaders([topic.name for topic in new])
        return created

    async def _ask_controller(self, request: Any, doing: str) -> Any:
        """The controller's answer; in a cluster that still has ZooKeeper, only one broker is it."""
        answer = await self.ask(request, doing, node=self._controller)
        if any(error[1] == NotControllerError.errno for error in answer.topic_errors):
            metadata = await self.ask(MetadataRequest([], allow_auto_topic_creation=False), doing)
            self._controller = metadata.controller_id
            answer = await self.ask(request, doing, node=self._controller)
        return answer

    async def _await_leaders(self, names: Iterable[str]) -> None:
        """Until each partition has a leader: a broker hears of a new topic a moment later."""
        deadline = time.monotonic() + self.settings.request_timeout_ms / 1000
        waiting = list(names)
        while waiting:
            there = await self._topics(waiting)
            waiting = [
                name
                for name in waiting
                if name not in there or any(partition["leader"] < 0 for partition in there[name]["partitions"])
            ]
            if waiting and time.monotonic() > deadline:
                raise Unusable(
                    f"these topics were created, but their partitions have no leader yet: {', '.join(waiting)}; "
                    "see the brokers' logs"
                )
            if waiting:
                await asyncio.sleep(_POLL_SECONDS)

    async def _topics(self, names: Sequence[str]) -> dict[str, Any]:
        """Those that are there, as the broker tells of them. Never creates one."""
        metadata = await self.ask(MetadataRequest(list(names), allow_auto_topic_creation=False), "describe topics")
        there = {}
        for topic in metadata.to_object()["topics"]:
            code, name = topic["error_code"], topic["topic"]
            if topic["partitions"]:
                there[name] = topic
            elif code != _UNKNOWN_TOPIC and name not in INTERNAL and not _is_passing(code):
                raise self.refused(code, None, f"describe {name}")
        return there

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings of topics in force, by name."""
        if not names:
            return {}
        request = DescribeConfigsRequest([(_TOPIC, name, None) for name in names])
        answer = await self.ask(request, "read the settings of topics")
        found = {}
        for code, message, _, name, entries in answer.resources:
            if code == 0:
                found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
            elif code != _UNKNOWN_TOPIC:  # deleted in between
                raise self.refused(code, message, f"read the settings of {name}")
        return found

    async def _broker_configs(self) -> dict[str, str] | None:
        """The settings of one broker; None if this user may not see them."""
        node = next(iter(self.contact.brokers))
        answer = await self.ask(
            DescribeConfigsRequest([(_BROKER, str(node), None)]), "read the settings of a broker", node=node
        )
        for code, message, _, _, entries in answer.resources:
            if code == 0:
                return {entry[0]: entry[1] for entry in entries if entry[1] is not None}
            if not issubclass(for_code(code), NOT_AUTHORIZED):
                raise self.refused(code, message, "read the settings of a broker")
        return None


@asynccontextmanager
async def connect(settings: KafkaSettings) -> AsyncIterator[Admin]:
    """A connection for administration, closed afterwards. Raises Unusable and BadSettings."""
    contact = await reach(settings)
    client = AIOKafkaClient(**client_arguments(settings))
    try:
        try:
            async with asyncio.timeout(settings.connect_timeout_ms / 1000 * len(settings.bootstrap_servers)):
                await client.bootstrap()
        except (OSError, KafkaError, TimeoutError) as error:
            raise Unusable(explain(error, settings)) from error
        yield Admin(settings, contact, client)
    finally:
        # A broker that does not answer does not say goodbye either.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await client.close()


def _shape(topic: Any) -> tuple[int, int]:
    """Partitions, and the copies of the one that has the fewest."""
    return len(topic["partitions"]), min(len(partition["replicas"]) for partition in topic["partitions"])


def _is_passing(code: int) -> bool:
    return bool(for_code(code).retriable) and code != _UNKNOWN_TOPIC
