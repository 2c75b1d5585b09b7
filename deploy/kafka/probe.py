"""Asks a Kafka broker whether it is ready, in the few bytes of its protocol that this takes.

Ready is more than listening: transactions begin and groups form. Both need coordinators, whose topics the broker makes
when it is first asked and reads again after each start.
"""

import socket
import ssl
import struct

HOST = "127.0.0.1"

_HEARTBEAT, _FIND_COORDINATOR, _API_VERSIONS, _INIT_PRODUCER_ID = 12, 10, 18, 22
_UNKNOWN_MEMBER = 25  # what a coordinator that is ready answers to a stranger


def why_not_ready(
    port: int, *, internal_port: int, coordinators: int, tls: ssl.SSLContext | None, timeout_seconds: float
) -> str | None:
    """What is not ready yet, in words; None when all is.

    `port` is the clients' listener, with TLS or without; `internal_port` takes requests without a password.
    `coordinators` is the number of partitions of the topics of transactions and of groups: all of them are asked.
    """
    try:
        with _connected(port, tls, timeout_seconds) as client:
            if (error := _error(client, _API_VERSIONS, 0, b"", at=0)) != 0:
                return f"the clients' listener answers with error {error}"
        with _connected(internal_port, None, timeout_seconds) as internal:
            # Names that differ in the last digit alone have neighbouring hashes, so each partition is asked.
            for name in (f"ready-{digit}" for digit in range(coordinators)):
                key = _string(name)
                for kind, what in enumerate(("group", "transaction")):
                    error = _error(internal, _FIND_COORDINATOR, 1, key + struct.pack(">b", kind), at=4)
                    if error != 0:
                        return f"there is no {what} coordinator (error {error})"
                error = _error(internal, _HEARTBEAT, 0, key + struct.pack(">i", -1) + _string(""), at=0)
                if error != _UNKNOWN_MEMBER:
                    return f"groups do not form (error {error})"
                error = _error(internal, _INIT_PRODUCER_ID, 0, key + struct.pack(">i", 10_000), at=4)
                if error != 0:
                    return f"a transactional producer does not start (error {error})"
    except (OSError, struct.error) as error:
        return f"nothing answers ({error})"
    return None


def _connected(port: int, tls: ssl.SSLContext | None, timeout_seconds: float) -> socket.socket:
    plain = socket.create_connection((HOST, port), timeout=timeout_seconds)
    if tls is None:
        return plain
    try:
        return tls.wrap_socket(plain, server_hostname=HOST)
    except BaseException:
        plain.close()
        raise


def _error(connection: socket.socket, api: int, version: int, body: bytes, *, at: int) -> int:
    """The error code in the answer, which stands that many bytes into it."""
    request = struct.pack(">hhi", api, version, 1) + _string("ready") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    (code,) = struct.unpack_from(">h", _exactly(connection, size), 4 + at)
    assert isinstance(code, int)
    return code


def _exactly(connection: socket.socket, size: int) -> bytes:
    answer = b""
    while len(answer) < size:
        part = connection.recv(size - len(answer))
        if not part:
            raise ConnectionError("the broker closed the connection")
        answer += part
    return answer


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
