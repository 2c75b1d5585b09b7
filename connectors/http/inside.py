"""Asks an application from inside its own process: a request goes in, the whole answer comes out; without a server."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from litestar import Litestar

_AS_IT_IS = "/?&=%+:;,@!$'()*~#[]"
"""What a path and its query may hold; the rest, letters of other alphabets above all, is percent-encoded."""


class Answer(NamedTuple):
    """What an application answered. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON, a problem's among them."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip()
        return media_type == "application/json" or media_type.endswith("+json")

    def json(self) -> Any:
        """The body, read. Raises ValueError where it is no JSON."""
        return json.loads(self.body)


async def ask(
    app: Litestar,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 0),
) -> Answer:
    """One request. `target` is a path with its query, as in `/api/locks?limit=5`. What the application raises comes out
    of it. `client`: where the request is said to come from."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    split = urlsplit(quote(target, safe=_AS_IT_IS))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": "http",
        "path": unquote(split.path),
        "raw_path": split.path.encode(),
        "query_string": split.query.encode(),
        "root_path": "",
        "headers": [
            *(() if "host" in given else ((b"host", b"tollgate"),)),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in given.items()),
        ],
        "client": client,
        "server": ("tollgate", 80),
    }
    sent, told = False, asyncio.Event()
    status, found, parts = 500, {}, []

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            # Whoever asks stays until all is told: a stream would end where its asker is gone.
            await told.wait()
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status, found
        if message["type"] == "http.response.start":
            status = message["status"]
            found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                told.set()

    await app(scope, receive, send)  # type: ignore[arg-type]
    return Answer(status, found, b"".join(parts))
