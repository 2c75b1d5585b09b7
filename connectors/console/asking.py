"""How a page asks the API: in this process, with the session of the browser that asked for the page."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Litestar, Request

from connectors import tokens
from connectors.http.door import CSRF_HEADER
from connectors.http.inside import Answer
from connectors.http.inside import ask as ask_inside
from connectors.http.once import HEADER as ONCE

Json = dict[str, Any]
Value = str | int | bool | None

_PASSED_ON = ("user-agent", "x-forwarded-for", "origin", "host")
_JSON = "application/json"


class Problem(Exception):
    """What the API answered in the place of what was asked: a problem of RFC 9457."""

    def __init__(self, document: Json) -> None:
        super().__init__(document.get("detail", ""))
        self.document = document

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return int(self.document.get("status", 500))

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by field; what concerns no field is under the empty name."""
        found: dict[str, str] = {}
        for one in self.document.get("errors", ()):
            place = (one.get("parameter") or one.get("pointer") or "").lstrip("/").partition("/")[0]
            found.setdefault(place, one["detail"])
        return found


class Asking:
    """Asks the API in the name of whoever asks for a page."""

    def __init__(self, api: Litestar, request: Request[Any, Any, Any], cookie: str) -> None:
        self._api = api
        self._token = request.cookies.get(cookie)
        self._headers = {name: value for name in _PASSED_ON if (value := request.headers.get(name)) is not None}
        if self._token is not None:
            self._headers["cookie"] = f"{cookie}={self._token}"
        client = request.scope.get("client")
        self._client = None if client is None else (client[0], client[1])

    @property
    def csrf(self) -> str:
        """What a form must send back."""
        return "" if self._token is None else tokens.csrf_of(self._token)

    async def get(self, path: str, **asked: Value) -> Json:
        """The answer to a question; what is None is not asked. Raises Problem."""
        answer = await self.answer("GET", _target(path, asked))
        return _told(answer)

    async def file(self, path: str, asked: Mapping[str, Value]) -> Answer:
        """An answer that is no JSON. Raises Problem."""
        answer = await self.answer("GET", _target(path, asked))
        if not answer.is_success:
            raise Problem(answer.json())
        return answer

    async def send(
        self,
        method: str,
        path: str,
        body: Json | bytes | None,
        *,
        csrf: str = "",
        once: str = "",
        media_type: str = _JSON,
    ) -> Json:
        """The answer to a change. `csrf` and `once` are those of the form. Raises Problem."""
        headers = {CSRF_HEADER: csrf} | ({ONCE: once} if once else {})
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        if content:
            headers["content-type"] = media_type
        return _told(await self.answer(method, path, headers, content))

    async def answer(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Answer:
        """The answer as it is."""
        sent = {**self._headers, **(headers or {})}
        return await ask_inside(self._api, method, target, headers=sent, body=content, client=self._client)


def _target(path: str, asked: Mapping[str, Value]) -> str:
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in asked.items()}
    query = urlencode([(name, value) for name, value in given.items() if value is not None])
    return f"{path}?{query}" if query else path


def _told(answer: Answer) -> Json:
    if not answer.is_success:
        raise Problem(answer.json())
    found: Json = answer.json() if answer.body else {}
    return found
