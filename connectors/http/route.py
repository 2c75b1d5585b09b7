"""Routes: a function, what it answers, and who may ask.

    @get("/api/locks/{lock_id:str}", requires="locks.see", summary="A lock with its history")
    async def lock(call: Call, lock_id: str) -> LockCard: ...

    @post("/api/locks", requires="locks.set", summary="Set a lock", status=201)
    async def set_lock(call: Call, sent: NewLock) -> LockCard: ...

The function gets a `Call`, the parts of the path by their names, `asked` (the query) and `sent` (the body) as Structs,
and returns a Struct, None (204), or a `Response[…]` of Litestar's with headers or content of its own. All that is
common to routes is in `door.py`.
`requires` is a permission of `backoffice/access.py`, SIGNED_IN or PUBLIC; nothing else can be registered.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from backoffice.access import PERMISSIONS
from connectors.http.call import AnyRequest, Call
from connectors.http.reading import JSON
from connectors.postgres.change import Isolation

PUBLIC = "public"
"""Nobody has to sign in."""

SIGNED_IN = "signed in"
"""Any user or key."""

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Once = Literal["optional", "required", "none"]
Function = Callable[..., Awaitable[Any]]

_PART = re.compile(r"\{(?P<name>[a-z_]+):(?P<kind>str|int)\}")

ROUTE = "route"
"""Under what name a handler of Litestar's carries its Route."""


@dataclass(frozen=True)
class Route:
    """All that is declared of a route."""

    method: Method
    path: str
    function: Function
    requires: str
    summary: str
    status: int
    asked: type | None
    sent: type | None
    answer: Any
    parts: Mapping[str, Literal["str", "int"]]
    """What the path names, and of which kind."""
    changes: bool
    """Whether it changes anything: then it runs in a transaction of its own."""
    once: Once
    """Whether it takes an Idempotency-Key: `required` where money moves."""
    isolation: Isolation
    upload: tuple[str, ...]
    """Media types of a body that is not JSON; the function reads it from `call.request`."""
    produces: tuple[str, ...]
    """Media types of an answer that is not JSON."""
    shown_once: tuple[str, ...]
    """Fields of the answer that are secrets: never kept, so not in the answer to a repeated request."""
    parties: bool
    """Whether the answer holds numbers of those who talked: then they may be asked for whole, with a reason."""
    login: bool
    """Whether passwords are tried here: then few requests come from one address."""
    problems: tuple[int, ...]
    """Statuses beside those that all routes may answer."""

    @property
    def plain_path(self) -> str:
        """The path with its parts in braces, as OpenAPI writes it."""
        return _PART.sub(r"{\g<name>}", self.path)

    @property
    def operation(self) -> str:
        """The operation's id in OpenAPI."""
        return self.function.__name__

    @property
    def area(self) -> str:
        """The module that it stands in."""
        return self.function.__module__.rpartition(".")[2]


def get(
    path: str,
    *,
    requires: str,
    summary: str,
    produces: Sequence[str] = (),
    parties: bool = False,
    problems: Sequence[int] = (),
) -> Callable[[Function], HTTPRouteHandler]:
    """A question. It runs on the pool, and must not change anything."""
    return _route(
        "GET",
        path,
        requires=requires,
        summary=summary,
        status=200,
        changes=False,
        once="none",
        produces=produces,
        parties=parties,
        problems=problems,
    )


def post(
    path: str, *, requires: str, summary: str, status: int = 200, **more: Any
) -> Callable[[Function], HTTPRouteHandler]:
    """A change that makes or does something. `more`: see `change`."""
    return change("POST", path, requires=requires, summary=summary, status=status, **more)


def put(
    path: str, *, requires: str, summary: str, status: int = 200, **more: Any
) -> Callable[[Function], HTTPRouteHandler]:
    """A change that says how something is to be, whether it is there or not."""
    return change("PUT", path, requires=requires, summary=summary, status=status, **more)


def patch(
    path: str, *, requires: str, summary: str, status: int = 200, **more: Any
) -> Callable[[Function], HTTPRouteHandler]:
    """A change of what is there."""
    return change("PATCH", path, requires=requires, summary=summary, status=status, **more)


def delete(
    path: str, *, requires: str, summary: str, status: int = 200, **more: Any
) -> Callable[[Function], HTTPRouteHandler]:
    """A change that ends something."""
    return change("DELETE", path, requires=requires, summary=summary, status=status, **more)


def check(
    path: str,
    *,
    requires: str,
    summary: str,
    parties: bool = False,
    login: bool = False,
    problems: Sequence[int] = (),
) -> Callable[[Function], HTTPRouteHandler]:
    """A question whose words need a body (POST): it takes no Idempotency-Key and has no transaction of its own."""
    return _route(
        "POST",
        path,
        requires=requires,
        summary=summary,
        status=200,
        changes=False,
        once="none",
        parties=parties,
        login=login,
        problems=problems,
    )


def change(
    method: Method,
    path: str,
    *,
    requires: str,
    summary: str,
    status: int = 200,
    once: Once = "optional",
    isolation: Isolation = "read_committed",
    upload: Sequence[str] = (),
    shown_once: Sequence[str] = (),
    parties: bool = False,
    login: bool = False,
    problems: Sequence[int] = (),
) -> Callable[[Function], HTTPRouteHandler]:
    """A changing route: its function runs in one transaction, which is committed when it returns. `isolation`: of that
    transaction, where a use case asks for a stricter one than READ COMMITTED.
    """
    return _route(
        method,
        path,
        requires=requires,
        summary=summary,
        status=status,
        changes=True,
        once=once,
        isolation=isolation,
        upload=upload,
        shown_once=shown_once,
        parties=parties,
        login=login,
        problems=problems,
    )


def _route(
    method: Method,
    path: str,
    *,
    requires: str,
    summary: str,
    status: int,
    changes: bool,
    once: Once,
    isolation: Isolation = "read_committed",
    upload: Sequence[str] = (),
    produces: Sequence[str] = (),
    shown_once: Sequence[str] = (),
    parties: bool = False,
    login: bool = False,
    problems: Sequence[int] = (),
) -> Callable[[Function], HTTPRouteHandler]:
    if requires not in PERMISSIONS and requires not in (PUBLIC, SIGNED_IN):
        raise ValueError(f"{method} {path}: there is no permission {requires!r}; backoffice/access.py lists them")

    def registered(function: Function) -> HTTPRouteHandler:
        hints = get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        parts = dict(_PART.findall(path))
        if names[:1] != ["call"] or set(names) - {"call", "asked", "sent"} != set(parts):
            raise TypeError(
                f"{function.__qualname__} takes (call{''.join(', ' + part for part in parts)}) and, where it needs "
                f"them, asked and sent; it takes ({', '.join(names)})"
            )
        answer = hints["return"]
        if get_origin(answer) is Response:
            (answer,) = get_args(answer)
        route = Route(
            method=method,
            path=path,
            function=function,
            requires=requires,
            summary=summary,
            status=204 if answer is type(None) and status == 200 else status,
            asked=hints.get("asked"),
            sent=hints.get("sent"),
            answer=answer,
            parts=parts,
            changes=changes,
            once=once,
            isolation=isolation,
            upload=tuple(upload),
            produces=tuple(produces) or (() if answer is type(None) else (JSON,)),
            shown_once=tuple(shown_once),
            parties=parties,
            login=login,
            problems=tuple(problems),
        )

        async def handle(request: AnyRequest) -> Response[Any]:
            # The door is the application's: it knows the services.
            response: Response[Any] = await request.app.state.door.serve(route, request)
            return response

        handle.__name__ = handle.__qualname__ = function.__name__
        if route.status == 204:
            handle.__annotations__["return"] = Response[None]
        return HTTPRouteHandler(
            path,
            http_method=method,
            status_code=route.status,
            opt={ROUTE: route},
            request_max_body_size=None,
            media_type=route.produces[0] if route.produces else None,
        )(handle)

    return registered


def arguments(route: Route, call: Call, asked: object, sent: object, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What the route's function is called with."""
    found: dict[str, Any] = {"call": call, **{part: parts[part] for part in route.parts}}
    if route.asked is not None:
        found["asked"] = asked
    if route.sent is not None:
        found["sent"] = sent
    return found
