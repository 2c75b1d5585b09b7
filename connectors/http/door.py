"""The door: what every request passes before its route's function, and what the answer passes after it.

    1. How much: an address, then whoever it is, may not ask more than the settings allow (429).
    2. Who: the cookie of a session, or `Authorization: Bearer` with an API key (401).
    3. May he: the one table of backoffice/access.py (403).
    4. Whence: a changing request of a browser proves that our own page sent it (403).
    5. What: query and body, strictly (400, 413, 415, 422).
    6. Once: a changing request runs in one transaction; under an Idempotency-Key it is answered from what is kept
       (400, 409, 422).
    7. The answer is encoded for this asker: numbers of people masked, unless he may see them.

Sessions and limits go by the machine's clock; the office by the business clock.
"""

import asyncio
import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
from litestar import Response

from backoffice.access import Asker, missing
from connectors import tokens
from connectors.http import once, problems, reading
from connectors.http.call import AnyRequest, Call, Services
from connectors.http.limits import Buckets
from connectors.http.metrics import HttpMetrics
from connectors.http.paging import with_usual_limit
from connectors.http.parties import encoded
from connectors.http.problems import ErrorAt, Problem, unfit
from connectors.http.reading import JSON
from connectors.http.route import PUBLIC, SIGNED_IN, Route, arguments
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import OutcomeUnknown, change
from connectors.postgres.clock import real_now_us
from connectors.postgres.request import in_request
from schemas.times import to_datetime

log = logging.getLogger("tollgate.http")

CSRF_HEADER = "X-CSRF-Token"
UNMASK = "unmask"
"""The parameter that asks for whole numbers; its value is the reason."""

ATTEMPTS = 5
"""How often a change is tried that others keep getting in the way of."""

LARGEST_NUMBER = 2**31 - 1
"""In a path."""


class Door:
    """One for an application."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._metrics = HttpMetrics(services.registry)
        self._record = AccessRecord(services.database.pool)
        self._clock = services.business_clock
        http = services.http
        self._askers = Buckets(per_second=http.requests_per_second, burst=http.requests_burst)
        self._addresses = Buckets(per_second=http.requests_per_second, burst=http.requests_burst)
        self._logins = Buckets(per_second=http.logins_per_minute / 60, burst=http.logins_per_minute)
        self._proxies = [ipaddress.ip_network(address) for address in http.trusted_proxies]
        self.cookie = tokens.cookie_name(secure=http.secure_cookies)

    async def serve(self, route: Route, request: AnyRequest) -> Response[Any]:
        """The answer to a request, which may be a problem."""
        begun = time.monotonic()
        try:
            response = await self._serve(route, request)
        except Exception as error:
            response = problems.respond(request, error)
        self._metrics.answered(route.operation, response.status_code or route.status, time.monotonic() - begun)
        return response

    async def _serve(self, route: Route, request: AnyRequest) -> Response[Any]:
        self._limit(route, request)
        address = self._address(request)
        who, token = await self._who(route, request, address)
        _may(route, who)
        if who is not None and token is not None and route.changes:
            _whence(request, token)
        if not all(_can_be(part) for part in request.path_params.values()):
            raise Problem(404, "not-there", "there is nothing with such a name")
        pairs = reading.pairs_of(request)
        unmask = None
        if route.parties:
            unmask = next((text for name, text in pairs if name == UNMASK), None)
            pairs = [(name, text) for name, text in pairs if name != UNMASK]
        asked = reading.query_of(with_usual_limit(pairs, route.asked), route.asked)
        sent: Any = None
        if route.sent is not None:
            sent = await reading.body_of(request, route.sent)
        elif route.upload:
            _of_a_kind(request, route.upload)
        elif await request.body():
            raise unfit(ErrorAt("nothing is taken here", pointer=""))
        key = None
        if route.once != "none":
            key = once.key_of(request.headers.get(once.HEADER), required=route.once == "required")

        pool = self._services.database.pool
        call = Call(
            self._services,
            request,
            pool,
            await self._clock.now_us(pool) if route.requires != PUBLIC or route.changes else real_now_us(),
            who,
            address,
            token,
        )
        whole = await self._whole(route, call, unmask)
        if not route.changes:
            answer = await route.function(**arguments(route, call, asked, sent, request.path_params))
            return respond(route, answer, whole=whole)
        return await self._change(route, call, asked, sent, key, whole=whole)

    # 1 and 2: how much and who

    def _limit(self, route: Route, request: AnyRequest) -> None:
        """Makes the body end in a Problem 413 where it is too large, however it comes."""
        http = self._services.http
        most, setting = (http.upload_bytes, "upload_bytes") if route.upload else (http.body_bytes, "body_bytes")
        too_large = Problem(413, "too-large", f"the body may have {most} bytes: the setting [http] {setting}")
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
            raise too_large
        receive, taken = request.receive, 0

        async def limited() -> Any:
            nonlocal taken
            event = await receive()
            taken += len(event["body"]) if event["type"] == "http.request" else 0
            if taken > most:
                raise too_large
            return event

        request.receive = limited

    async def _who(self, route: Route, request: AnyRequest, address: str | None) -> tuple[Asker | None, str | None]:
        now = time.monotonic()
        place = address or "unknown"
        if route.login and (wait := self._logins.take(place, now)):
            raise _too_many(wait, "passwords were tried too often from this address")
        if wait := self._addresses.empty(place, now):
            raise _too_many(wait, "this address asks too often without being signed in")
        if route.requires == PUBLIC:
            self._addresses.take(place, now)
            return None, request.cookies.get(self.cookie)
        who, token = await self._asker(request)
        if who is None:
            self._addresses.take(place, now)
            raise _sign_in(request)
        if wait := self._askers.take(who.key_prefix or who.user, now):
            raise _too_many(wait, "you ask too often")
        return who, token

    async def _asker(self, request: AnyRequest) -> tuple[Asker | None, str | None]:
        now = to_datetime(real_now_us())
        if (credentials := request.headers.get("authorization")) is not None:
            scheme, _, key = credentials.partition(" ")
            if scheme.lower() != "bearer":
                return None, None
            return await self._record.asker_of_key(key.strip(), now), None
        if (token := request.cookies.get(self.cookie)) is not None:
            who = await self._record.asker_of_session(token, now, self._services.http.session_idle_minutes)
            return who, None if who is None else token
        return None, None

    def _address(self, request: AnyRequest) -> str | None:
        """Where the request comes from: the last hop that is not one of the operator's own proxies."""
        client = request.scope.get("client")
        address = None if client is None else _address_of(client[0])
        if not self._proxies or address is None:
            return address
        hops = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        while self._trusted(address) and hops:
            before = _address_of(hops.pop())
            if before is None:
                break
            address = before
        return address

    def _trusted(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in self._proxies)

    # 6: once

    async def _change(
        self, route: Route, call: Call, asked: object, sent: object, key: str | None, *, whole: bool
    ) -> Response[Any]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with in_request(call.pool, route.isolation) as pool:
                    return await self._changed(route, replace(call, pool=pool), asked, sent, key, whole=whole)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                if attempt == ATTEMPTS:
                    raise
            except OutcomeUnknown:
                raise Problem(
                    503,
                    "away",
                    "the connection to the record was lost while this was being kept: it is done whole, or not at all. "
                    "Send it again under the same Idempotency-Key, or look whether it is there",
                    retry_after_seconds=5,
                ) from None
            await asyncio.sleep(0)
        raise AssertionError("every attempt returns or raises")

    async def _changed(
        self, route: Route, call: Call, asked: object, sent: object, key: str | None, *, whole: bool
    ) -> Response[Any]:
        request = call.request
        user = "" if call.who is None else call.who.user
        request_hash = b""
        if key is not None:
            request_hash = once.hash_of(
                request.method, request.scope["path"], request.scope["query_string"], await request.body()
            )
            if (kept := await once.claimed(call.pool, user, key, request_hash)) is not None:
                headers = kept.headers | {once.REPLAYED: "true"}
                return Response(kept.body, status_code=kept.status, headers=headers, media_type=_media_type(route))
        answer: Any = await route.function(**arguments(route, call, asked, sent, request.path_params))
        response = respond(route, answer, whole=whole)
        if key is not None:
            if route.shown_once and isinstance(answer, msgspec.Struct):
                answer = msgspec.structs.replace(answer, **dict.fromkeys(route.shown_once))
                body = encoded(answer, whole=whole)
            else:
                body = response.content or b""
            keeping = once.Kept(route.status, body, {})
            await once.keep(call.pool, user, key, request_hash, keeping, to_datetime(real_now_us()))
        return response

    # 7: the answer

    async def _whole(self, route: Route, call: Call, unmask: str | None) -> bool:
        """Whether the asker sees people's numbers whole; asking for that is kept in the audit before it is answered."""
        if call.who is None or not route.parties:
            return False
        if unmask is not None and (not unmask.strip() or len(unmask) > 1000 or "\0" in unmask):
            raise unfit(ErrorAt("say why, in 1 to 1000 characters: the audit keeps it", parameter=UNMASK))
        if unmask is None or call.who.may("parties.see"):
            return call.who.may("parties.see")
        call.who.must("parties.unmask")
        async with change(
            call.services.database.pool,
            actor=call.who.actor,
            reason=unmask,
            at=call.now,
            role=call.who.role,
            interface=call.interface,
            address=call.address,
        ) as tx:
            await tx.audit(
                "parties",
                route.operation,
                "unmask",
                before=None,
                after={"path": call.request.scope["path"], "query": call.request.scope["query_string"].decode("ascii")},
            )
        return True


def _of_a_kind(request: AnyRequest, kinds: tuple[str, ...]) -> None:
    """A file that says what it is says one of these; one that says nothing is looked at."""
    kind, _ = request.content_type
    if kind and kind not in kinds:
        raise Problem(415, "media-type", f"send the file as {', '.join(kinds)}, not as {kind}")


def respond(route: Route, answer: object, *, whole: bool) -> Response[Any]:
    """The answer as a response; one that is a response already goes as it is."""
    if isinstance(answer, Response):
        return answer
    if answer is None and route.status == 204:
        return Response(None, status_code=204)
    return Response(encoded(answer, whole=whole), status_code=route.status, media_type=JSON)


def _can_be(part: object) -> bool:
    """Whether the record could have a thing of that name or number."""
    if isinstance(part, int):
        return 0 <= part <= LARGEST_NUMBER
    try:
        return b"\0" not in str(part).encode()
    except UnicodeEncodeError:
        return False


def _media_type(route: Route) -> str:
    return route.produces[0] if route.produces else JSON


def _may(route: Route, who: Asker | None) -> None:
    if route.requires in (PUBLIC, SIGNED_IN):
        return
    assert who is not None, "nobody comes so far without signing in"
    if not who.may(route.requires):
        raise missing(route.requires, who)


def _whence(request: AnyRequest, token: str) -> None:
    """Against forged requests: another site can make a browser send our cookie, but can't know the token (OWASP)."""
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), tokens.csrf_of(token).encode()):
        raise Problem(
            403,
            "forged",
            f"a changing request in a session needs the header {CSRF_HEADER}; GET /api/session tells its value",
            errors=(ErrorAt("is missing or wrong", header=CSRF_HEADER),),
        )
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(
            403, "forged", "the request comes from another site", errors=(ErrorAt("is another site", header="Origin"),)
        )


def _sign_in(request: AnyRequest) -> Problem:
    given = "authorization" in request.headers or bool(request.cookies)
    return Problem(
        401,
        "sign-in",
        "the session is over or the key does not count (any more); sign in, or ask for another key"
        if given
        else "send a session's cookie (POST /api/session signs in) or Authorization: Bearer with an API key",
        headers={"WWW-Authenticate": 'Bearer realm="tollgate"'},
    )


def _too_many(wait: int, why: str) -> Problem:
    return Problem(429, "too-many", f"{why}; ask again in {wait} s", retry_after_seconds=wait)


def _address_of(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return None


def security_headers(*, tls: bool) -> Mapping[str, str]:
    """On every response. The API shows nothing in a browser but data: it may load, run and frame nothing."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
    if tls:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers
