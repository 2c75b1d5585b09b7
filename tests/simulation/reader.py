"""A reader of committed records that looks all along, whatever the workers are doing."""

from collections import defaultdict

from connectors.broker import Record, TopicPartition
from connectors.memory import MemoryBroker
from schemas import topics

WATCHED = (*topics.OUTPUTS, topics.ENGINE_STATE)


class Reader:
    """`seen`: every record of every output in the order in which it could first be read."""

    def __init__(self, broker: MemoryBroker, partitions: int) -> None:
        self.seen: dict[TopicPartition, list[Record]] = defaultdict(list)
        self._broker = broker
        self._next = {TopicPartition(topic.name, p): 0 for topic in WATCHED for p in range(partitions)}

    def look(self) -> None:
        """Reads what has come since the last look. To be called before a compaction too, which takes records away."""
        for place, offset in self._next.items():
            if records := self._broker.committed(*place, offset):
                self.seen[place] += records
                self._next[place] = records[-1].offset + 1
