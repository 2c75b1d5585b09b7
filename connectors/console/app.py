"""The console's application, and both applications behind one door."""

import logging
from typing import Any
from urllib.parse import quote

from litestar import Litestar, Response, get
from litestar.datastructures import MutableScopeHeaders, State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotFoundException
from litestar.response import Redirect
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from connectors import tokens
from connectors.console.asking import Asking, Problem
from connectors.console.forms import Form
from connectors.console.page import AnyRequest, Page
from connectors.console.pages import ROUTES
from connectors.console.view import STATIC, View, version_of
from connectors.http.problems import explain
from connectors.settings import HttpSettings

log = logging.getLogger("tollgate.console")


_API = ("/api/", "/live", "/ready", "/metrics")
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""On every page: it runs and loads what is ours, nothing inline, and nobody frames it."""


def with_console(api: Litestar, *, http: HttpSettings, time_zone: str) -> ASGIApp:
    """The API, and the pages wherever it is not."""
    pages = create_console(api, http=http, time_zone=time_zone)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and not scope["path"].startswith(_API):
            await pages(scope, receive, send)
        else:
            await api(scope, receive, send)

    return application


def create_console(api: Litestar, *, http: HttpSettings, time_zone: str) -> Litestar:
    """The pages alone."""
    cookie = tokens.cookie_name(secure=http.secure_cookies)
    return Litestar(
        [*ROUTES, static_file],
        openapi_config=None,
        exception_handlers={Exception: respond},
        before_send=[_with_headers],
        state=State(
            {"view": View(time_zone), "asking": lambda request: Asking(api, request, cookie), "http": http, "api": api}
        ),
        logging_config=None,
        debug=False,
        request_max_body_size=http.body_bytes,
    )


async def _with_headers(message: Message, scope: Scope) -> None:
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")


@get("/static/{version:str}/{name:str}", include_in_schema=False)
async def static_file(request: AnyRequest) -> Response[bytes]:
    """A file of the console's own; its address changes with its content."""
    version, name = request.path_params["version"], request.path_params["name"]
    path = STATIC / name
    media_type = _MEDIA_TYPES.get(path.suffix)
    if media_type is None or path.parent != STATIC or not path.is_file():
        raise NotFoundException
    kept = _FOREVER if version == version_of(name) else "no-cache"
    return Response(path.read_bytes(), media_type=media_type, headers={"Cache-Control": kept})


def respond(request: AnyRequest, error: Exception) -> Response[Any]:
    """A page that says what went wrong; whoever is not signed in is asked to sign in."""
    if isinstance(error, Problem):
        document = error.document
    elif isinstance(error, HTTPException) and error.status_code < 500:
        document = {"status": error.status_code}
    else:
        found = explain(error).document
        document = {"status": found.status, "detail": found.detail, "incident": found.incident}
    status = int(document["status"])
    if status == 401:
        return _sign_in(request)
    me = getattr(request.state, "me", {})
    page = Page(request, request.app.state.view, request.app.state.asking(request), Form(b""), me)
    words = page.words
    document = {"ask": None, "incident": None, "detail": ""} | document
    known = {
        403: words.text("This is not for you"),
        404: words.text("There is nothing here"),
        429: words.text("Too much at once"),
        503: words.text("Not now"),
    }
    return page.show(
        "problem.html", title=known.get(status, words.text("That did not work")), status=status, problem=document
    )


def _sign_in(request: AnyRequest) -> Response[Any]:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = "/login" if request.method != "GET" or here == "/" else f"/login?next={quote(here, safe='')}"
    if request.headers.get("hx-request") == "true":
        return Response(None, status_code=204, headers={"HX-Redirect": target})
    return Redirect(target, status_code=303)
