"""One partition's log: records in order of their offsets, and how far readers of committed records may go.

Control markers take offsets, as on Kafka, so an offset is a position and not a count. All readers of this broker read
committed records only; therefore the records of an aborted transaction are taken out of the log, and their offsets stay
empty. Knows nothing of producers: a transaction is any object that opens and closes itself here.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from itertools import count
from operator import attrgetter

from connectors.broker import BrokerError, Message, Record

_offset = attrgetter("offset")

# Record(...) itself takes twice as long, and replays append some hundred thousand records a second.
_new_record = tuple.__new__


class PartitionLog:
    """`start` is the first offset that was not deleted, `end` the offset of the next append."""

    __slots__ = ("_arrivals", "_compacted", "_open", "_records", "end", "partition", "start", "topic")

    def __init__(self, topic: str, partition: int, arrivals: Iterator[int], *, compacted: bool) -> None:
        """`arrivals` is shared by all logs of a broker: its global append sequence."""
        self.topic = topic
        self.partition = partition
        self.start = 0
        self.end = 0
        self._arrivals = arrivals
        self._compacted = compacted
        self._records: list[Record] = []
        self._open: dict[Hashable, int] = {}

    @property
    def stable(self) -> int:
        """The last stable offset: no open transaction has written below it."""
        return min(self._open.values()) if self._open else self.end

    def append(self, messages: Sequence[Message]) -> int:
        """Appends the messages and returns the first one's offset.

        Raises BrokerError when the topic is compacted and a message has no key; then nothing is appended.
        """
        if self._compacted and any(message[0] is None for message in messages):
            raise BrokerError(f"{self.topic} is compacted: a record without a key is refused")
        topic, partition, first = self.topic, self.partition, self.end
        if len(messages) == 1:  # as a replay's lines come
            key, value, timestamp_us = messages[0]
            record = (topic, partition, first, key, value, timestamp_us, next(self._arrivals))
            self._records.append(_new_record(Record, record))
            self.end = first + 1
            return first
        # The messages come first in zip, or it would take one arrival too many at their end.
        self._records += [
            _new_record(Record, (topic, partition, offset, key, value, timestamp_us, arrival))
            for (key, value, timestamp_us), offset, arrival in zip(messages, count(first), self._arrivals, strict=False)
        ]
        self.end = first + len(messages)
        return first

    def open(self, transaction: Hashable, first: int) -> None:
        """The transaction has written from this offset on: nothing there is stable until it closes."""
        self._open.setdefault(transaction, first)

    def close(self, transaction: Hashable) -> None:
        """Writes the marker of the transaction's end, if it is open here."""
        if self._open.pop(transaction, None) is not None:
            self.end += 1

    def remove(self, first: int, end: int) -> None:
        """Takes out the records with offsets first ≤ offset < end."""
        del self._records[self._index(first) : self._index(end)]

    def waiting(self, position: int) -> int:
        """How many committed records stand at or above this offset."""
        stable = self.stable
        return self._index(stable) - self._index(position) if position < stable else 0

    def read(self, position: int, max_records: int, end: int | None = None) -> list[Record]:
        """Committed records from this offset on; none at or above `end`, if it is given."""
        first = self._index(position)
        last = self._index(self.stable if end is None else min(end, self.stable))
        return self._records[first : min(last, first + max_records)]

    def committed(self, from_offset: int) -> list[Record]:
        """All committed records from this offset on."""
        return self._records[self._index(from_offset) : self._index(self.stable)]

    def forget(self, before_offset: int) -> None:
        """Deletes the records below this offset, but never beyond the last stable one."""
        before_offset = min(before_offset, self.stable)
        if before_offset > self.start:
            del self._records[: self._index(before_offset)]
            self.start = before_offset

    def compact(self) -> None:
        """Keeps the last value of each key below the last stable offset; drops tombstones."""
        stable = self._index(self.stable)
        below = self._records[:stable]
        last = {record.key: record for record in below}
        self._records[:stable] = [r for r in below if r.value is not None and last[r.key] is r]

    def _index(self, offset: int) -> int:
        records = self._records
        # Reading at the end is the common case.
        if not records or offset > records[-1].offset:
            return len(records)
        return bisect_left(records, offset, key=_offset)
