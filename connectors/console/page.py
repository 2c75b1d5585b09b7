"""Pages: a function that asks the API and names a template; what every page has around it is put in here."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from markupsafe import escape

from backoffice.access import asker, missing
from connectors.console.asking import Asking, Json, Problem, Value
from connectors.console.forms import Form, Mistyped
from connectors.console.view import View
from connectors.console.words import DEFAULT, LANGUAGES, Language, Words

LANGUAGE_COOKIE = "tollgate-language"
THEME_COOKIE = "tollgate-theme"
HTML = "text/html"
MOST_FORM_BYTES = 65_536
"""What a form may have beside its file."""

AnyRequest = Request[Any, Any, Any]


class File(NamedTuple):
    """A file that came with a form."""

    name: str
    content: bytes


@dataclass
class Page:
    """A page on its way: who asks, in which language, and what is to be shown."""

    request: AnyRequest
    view: View
    ask: Asking
    form: Form
    me: Json = field(default_factory=dict)
    """Who is signed in: user, role, permissions; empty where nobody is."""
    file: File | None = None
    """What was chosen to be uploaded."""

    @property
    def language(self) -> Language:
        """The language that was chosen."""
        return language_of(self.request)

    @property
    def words(self) -> Words:
        """Its words."""
        return self.view.words(self.language)

    @property
    def asked(self) -> Mapping[str, str]:
        """The query as it stands in the address."""
        return Asked({name: value.strip() for name, value in self.request.query_params.items()})

    def given(self, *names: str) -> dict[str, str | None]:
        """These parameters of the query; None for those that are empty."""
        return {name: self.asked.get(name) or None for name in names}

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true" and "hx-boosted" not in self.request.headers

    def may(self, permission: str) -> bool:
        """Whether whoever is signed in may do that: what they may not is not shown. The API decides."""
        return permission in self.me.get("permissions", ())

    def show(self, template: str, *, title: str, status: int = 200, **values: Any) -> Response[str]:
        """The page of a template, with all that is common to pages."""
        common = {
            "title": title,
            "page": self,
            "me": self.me,
            "may": self.may,
            "csrf": self.ask.csrf,
            "once": secrets.token_urlsafe(16),
            "path": self.request.url.path,
            "asked": self.asked,
            "theme": theme_of(self.request),
            "errors": {},
            "typed": self.form,
            "partial": self.partial,
        }
        given: Json = common | values
        errors: dict[str, str] = given["errors"]
        text = self.view.render(self.language, template, **given)
        # What is wrong with a field that the form does not have is told above it.
        untold = [f"{name}: {one}" for name, one in errors.items() if name and str(escape(one)) not in text]
        if untold:
            errors = errors | {"": "; ".join([*filter(None, [errors.get("")]), *untold])}
            text = self.view.render(self.language, template, **given | {"errors": errors})
        return Response(text, status_code=status, media_type=HTML)

    async def listed(
        self, path: str, asked: Mapping[str, Value], told: "Callable[[Problem], dict[str, str]] | None" = None
    ) -> tuple[Json, dict[str, str]]:
        """A list, and what is wrong with its filters, by field; then the list is empty. `told` says it otherwise than
        `wrong`. Raises Problem."""
        try:
            return await self.ask.get(path, **asked, **self.given("after")), {}
        except Problem as problem:
            if problem.status != 422:
                raise
            return {"items": (), "next": None}, (told or wrong)(problem)

    async def change(self, method: str, path: str, body: Json | None) -> Json:
        """A change by a form of ours: its proof and its key come with it. Raises Problem."""
        return await self.ask.send(method, path, body, csrf=self.form["csrf"], once=self.form["once"])


class Asked(dict[str, str]):
    """Parameters of a query; those that are missing are empty."""

    def __missing__(self, name: str) -> str:
        return ""


Handler = Callable[..., Awaitable[Response[Any]]]
Access = Literal["public", "signed in"]


def page(
    path: str,
    *,
    method: Literal["GET", "POST"] = "GET",
    access: Access = "signed in",
    requires: str | None = None,
    upload: bool = False,
) -> Callable[[Handler], HTTPRouteHandler]:
    """Registers a page; parts of its path come as arguments by their names, as text. `requires`: a permission without
    which there is nothing to show, where the page itself asks the API nothing that needs it. `upload`: the form brings
    a file, as large as the API takes one."""
    made = get if method == "GET" else post

    def registered(function: Handler) -> HTTPRouteHandler:
        async def handle(request: AnyRequest) -> Response[Any]:
            form, file = Form(b""), None
            if upload:
                form, file = await _uploaded(request)
            elif method == "POST":
                form = Form(await request.body())
            found = Page(request, request.app.state.view, request.app.state.asking(request), form, file=file)
            if access == "signed in":
                found.me = request.state.me = await found.ask.get("/api/session")
                if requires is not None and not found.may(requires):
                    refusal = missing(requires, asker(found.me["user"], found.me["role"]))
                    raise Problem({"status": 403, "detail": refusal.text, "ask": refusal.ask})
            return await function(found, **request.path_params)

        handle.__name__ = handle.__qualname__ = function.__name__
        limit: Any = {"request_max_body_size": None} if upload else {}
        return made(path, status_code=200, media_type=HTML, include_in_schema=False, **limit)(handle)

    return registered


async def _uploaded(request: AnyRequest) -> tuple[Form, File | None]:
    """The fields of a form and its file. Raises Problem for one that is larger than the API takes."""
    most = request.app.state.http.upload_bytes
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > most + MOST_FORM_BYTES:
        raise Problem({"status": 413, "detail": f"a file may have {most} bytes at the most"})
    fields, file = [], None
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            file = File(value.filename, await value.read())
        else:
            fields.append((name, str(value)))
    return Form.of(fields), file


def refreshed() -> Response[None]:
    """Has htmx load the whole page anew: what it waited for is done, and there are other things to do now."""
    return Response(None, status_code=204, headers={"HX-Refresh": "true"})


def go(path: str, **asked: object) -> Redirect:
    """Sends the browser to another page, by GET."""
    given = [(name, value) for name, value in asked.items() if value not in (None, "")]
    return Redirect(f"{path}?{urlencode(given)}" if given else path, status_code=303)


def language_of(request: AnyRequest) -> Language:
    """The language of the cookie, else Russian."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return next((language for language in LANGUAGES if language == chosen), DEFAULT)


def theme_of(request: AnyRequest) -> str:
    """The theme of the cookie; empty: the system's."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in ("dark", "light") else ""


def wrong(error: Problem | Mistyped) -> dict[str, str]:
    """What is wrong with what was typed, by field; under the empty name what concerns no field."""
    if isinstance(error, Mistyped):
        return {error.field: error.text}
    return error.errors or {"": str(error)}
