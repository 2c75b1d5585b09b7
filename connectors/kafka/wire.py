"""The requests of a Kafka transaction in the versions that aiokafka lacks, written for its connections to send.

aiokafka speaks the transactions of Kafka 0.11, in which a delayed EndTxn can end a later transaction (KAFKA-17754).
Here is what KIP-890 made of them: the epoch goes up with each transaction, and partitions are added by the first write
to them. Layouts are those of Apache Kafka's message definitions; all are of the flexible kind (KIP-482).
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from struct import Struct
from typing import ClassVar, NamedTuple

from aiokafka.errors import IncompatibleBrokerVersion

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_HEADER = Struct(">hhih")
_PRODUCER = Struct(">qh")
_OFFSET = Struct(">iqi")
_NO_TAGS = b"\x00"

NO_ERROR = 0

NEEDED = {
    0: ("Produce", 9),
    22: ("InitProducerId", 4),
    24: ("AddPartitionsToTxn", 3),
    25: ("AddOffsetsToTxn", 3),
    26: ("EndTxn", 3),
    28: ("TxnOffsetCommit", 3),
}
"""Requests by number with the version that a broker must know at least: Kafka 2.8 does."""


def uvarint(number: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value: str | None) -> bytes:
    """A compact string."""
    if value is None:
        return _NO_TAGS
    data = value.encode()
    return uvarint(len(data) + 1) + data


def _count(number: int) -> bytes:
    return uvarint(number + 1)


class Parts:
    """Bytes that are joined once, when the connection puts a request's length before them: batches are megabytes."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[bytes]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __add__(self, other: "Parts") -> "Parts":
        return Parts((*self.parts, *other.parts))

    def __radd__(self, before: bytes) -> bytes:
        return b"".join((before, *self.parts))


class Cursor:
    """Reads a response from front to back."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def int16(self) -> int:
        (value,) = _INT16.unpack_from(self.data, self.at)
        self.at += 2
        return int(value)

    def int32(self) -> int:
        (value,) = _INT32.unpack_from(self.data, self.at)
        self.at += 4
        return int(value)

    def int64(self) -> int:
        value = int.from_bytes(self.data[self.at : self.at + 8], "big", signed=True)
        self.at += 8
        return value

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str | None:
        length = self.uvarint() - 1
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def count(self) -> int:
        return self.uvarint() - 1

    def skip(self, length: int) -> None:
        self.at += length

    def tags(self) -> dict[int, bytes]:
        found = {}
        for _ in range(self.uvarint()):
            tag, length = self.uvarint(), self.uvarint()
            found[tag] = self.data[self.at : self.at + length]
            self.at += length
        return found


class _ResponseHeader(NamedTuple):
    correlation_id: int


class Request:
    """A request as aiokafka's connection wants it: asked for itself, a header, a body, a reader of the answer."""

    KEY: ClassVar[int]
    NAME: ClassVar[str]

    def __init__(self, version: int, *body: bytes) -> None:
        self.version = version
        self._body = body
        self._header: tuple[bytes, ...] = ()

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> "Request":
        """Itself, if the broker knows this version. Raises IncompatibleBrokerVersion."""
        lowest, highest = versions.get(self.KEY, (0, -1))
        if not lowest <= self.version <= highest:
            raise IncompatibleBrokerVersion(
                f"the broker knows {self.NAME} up to version {highest}, version {self.version} is needed"
            )
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> "Request":
        name = client_id.encode()
        self._header = (_HEADER.pack(self.KEY, self.version, correlation_id, len(name)), name, _NO_TAGS)
        return self

    def encode(self) -> Parts:
        # The connection adds the body to the header, which it asks for first.
        header, self._header = self._header, ()
        return Parts(header or self._body)

    def parse_response_header(self, buffer: BytesIO) -> _ResponseHeader:
        data = buffer.getvalue()
        cursor = Cursor(data)
        found = _ResponseHeader(cursor.int32())
        cursor.tags()
        buffer.seek(cursor.at)
        return found

    @property
    def RESPONSE_TYPE(self) -> "Request":  # noqa: N802  # aiokafka's name for it
        return self

    def decode(self, buffer: BytesIO) -> object:
        return self.read(Cursor(buffer.read()))

    def read(self, cursor: Cursor) -> object:
        """The answer."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.NAME} v{self.version}"


class Identity(NamedTuple):
    """What names a producer to the broker."""

    producer_id: int
    epoch: int


class Answer(NamedTuple):
    """An error code and the identity to go on with."""

    error: int
    identity: Identity


class InitProducerId(Request):
    """Makes this transactional id ours: aborts what its former holder left open and fences it. Gives an `Answer`."""

    KEY, NAME = 22, "InitProducerId"

    def __init__(self, transactional_id: str, timeout_ms: int) -> None:
        super().__init__(4, text(transactional_id) + _INT32.pack(timeout_ms) + _PRODUCER.pack(-1, -1) + _NO_TAGS)

    def read(self, cursor: Cursor) -> Answer:
        cursor.int32()
        return Answer(cursor.int16(), Identity(cursor.int64(), cursor.int16()))


class AddPartitions(Request):
    """Adds partitions to a transaction; gives the error of each. Not needed from transaction version 2 on."""

    KEY, NAME = 24, "AddPartitionsToTxn"

    def __init__(self, transactional_id: str, who: Identity, partitions: Mapping[str, Sequence[int]]) -> None:
        parts = [text(transactional_id), _PRODUCER.pack(*who), _count(len(partitions))]
        for topic, numbers in partitions.items():
            parts += [text(topic), _count(len(numbers)), *map(_INT32.pack, numbers), _NO_TAGS]
        super().__init__(3, b"".join((*parts, _NO_TAGS)))

    def read(self, cursor: Cursor) -> dict[tuple[str, int], int]:
        cursor.int32()
        return _errors_by_partition(cursor)


class AddOffsets(Request):
    """Adds a group's offsets to a transaction; gives the error. Not needed from transaction version 2 on."""

    KEY, NAME = 25, "AddOffsetsToTxn"

    def __init__(self, transactional_id: str, who: Identity, group: str) -> None:
        super().__init__(3, text(transactional_id) + _PRODUCER.pack(*who) + text(group) + _NO_TAGS)

    def read(self, cursor: Cursor) -> int:
        cursor.int32()
        return cursor.int16()


class Membership(NamedTuple):
    """Who commits a group's offsets: a member of its present generation, or nobody in particular."""

    generation: int = -1
    member_id: str = ""


class TxnOffsetCommit(Request):
    """Puts a group's offsets into a transaction; gives the error of each.

    With a membership the broker refuses a member that the group has moved past (KIP-447).
    """

    KEY, NAME = 28, "TxnOffsetCommit"

    def __init__(
        self,
        version: int,
        transactional_id: str,
        who: Identity,
        group: str,
        member: Membership,
        offsets: Mapping[str, Sequence[tuple[int, int]]],
    ) -> None:
        parts = [text(transactional_id), text(group), _PRODUCER.pack(*who), _INT32.pack(member.generation)]
        parts += [text(member.member_id), text(None), _count(len(offsets))]
        for topic, partitions in offsets.items():
            parts += [text(topic), _count(len(partitions))]
            for partition, offset in partitions:
                parts += [_OFFSET.pack(partition, offset, -1), text(""), _NO_TAGS]
            parts.append(_NO_TAGS)
        super().__init__(version, b"".join((*parts, _NO_TAGS)))

    def read(self, cursor: Cursor) -> dict[tuple[str, int], int]:
        cursor.int32()
        return _errors_by_partition(cursor)


class EndTxn(Request):
    """Commits or aborts; from version 5 on the answer names the identity of the next transaction."""

    KEY, NAME = 26, "EndTxn"

    def __init__(self, version: int, transactional_id: str, who: Identity, *, commit: bool) -> None:
        self._who = who
        super().__init__(version, text(transactional_id) + _PRODUCER.pack(*who) + bytes((commit,)) + _NO_TAGS)

    def read(self, cursor: Cursor) -> Answer:
        cursor.int32()
        error = cursor.int16()
        if self.version < 5 or error != NO_ERROR:
            return Answer(error, self._who)
        return Answer(error, Identity(cursor.int64(), cursor.int16()))


class Produce(Request):
    """Writes one record batch to each of some partitions that a broker leads; gives the error of each."""

    KEY, NAME = 0, "Produce"

    def __init__(
        self,
        version: int,
        transactional_id: str,
        timeout_ms: int,
        batches: Mapping[str, Sequence[tuple[int, bytes]]],
    ) -> None:
        parts = [text(transactional_id), _INT16.pack(-1), _INT32.pack(timeout_ms), _count(len(batches))]
        for topic, partitions in batches.items():
            parts += [text(topic), _count(len(partitions))]
            for partition, records in partitions:
                parts += [_INT32.pack(partition), uvarint(len(records) + 1), records, _NO_TAGS]
            parts.append(_NO_TAGS)
        super().__init__(version, *parts, _NO_TAGS)

    def read(self, cursor: Cursor) -> dict[tuple[str, int], int]:
        found = {}
        for _ in range(cursor.count()):
            topic = cursor.text() or ""
            for _ in range(cursor.count()):
                partition, error = cursor.int32(), cursor.int16()
                found[topic, partition] = error
                cursor.skip(24)  # base offset, append time, start of the log
                for _ in range(cursor.count()):
                    cursor.int32()
                    cursor.text()
                    cursor.tags()
                cursor.text()
                cursor.tags()
            cursor.tags()
        return found


class Features(NamedTuple):
    """What a cluster can do: the highest version of each request, and the finalized features."""

    versions: dict[int, tuple[int, int]]
    finalized: dict[str, int]


class ApiVersions(Request):
    """Asks a broker for its `Features` (KIP-584)."""

    KEY, NAME = 18, "ApiVersions"

    def __init__(self) -> None:
        super().__init__(3, text("tollgate") + text("1") + _NO_TAGS)

    def parse_response_header(self, buffer: BytesIO) -> _ResponseHeader:
        # Always without tags, so that any client can read it.
        return _ResponseHeader(Cursor(buffer.read(4)).int32())

    def read(self, cursor: Cursor) -> Features:
        cursor.int16()
        versions = {}
        for _ in range(cursor.count()):
            key = cursor.int16()
            versions[key] = (cursor.int16(), cursor.int16())
            cursor.tags()
        cursor.int32()
        finalized = {}
        if levels := cursor.tags().get(2):
            inner = Cursor(levels)
            for _ in range(inner.count()):
                name = inner.text() or ""
                finalized[name] = inner.int16()
                inner.int16()
                inner.tags()
        return Features(versions, finalized)


def _errors_by_partition(cursor: Cursor) -> dict[tuple[str, int], int]:
    found = {}
    for _ in range(cursor.count()):
        topic = cursor.text() or ""
        for _ in range(cursor.count()):
            partition = cursor.int32()
            found[topic, partition] = cursor.int16()
            cursor.tags()
        cursor.tags()
    return found
