"""The application: all routes behind one door."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from litestar import Litestar
from litestar.datastructures import MutableScopeHeaders, State
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from connectors.http import openapi
from connectors.http.call import Services
from connectors.http.door import Door, security_headers
from connectors.http.problems import respond
from connectors.http.route import ROUTE, Route
from connectors.http.routes import HANDLERS


class Undeclared(Exception):
    """A route does not say who may ask. Names it: it must be made with the functions of route.py."""


def create_app(services: Services, *, handlers: Sequence[BaseRouteHandler] = ()) -> Litestar:
    """The API. `handlers`: more routes beside its own. Raises Undeclared for one that anyone could use by mistake."""
    door = Door(services)
    allowed: dict[str, str] = {}
    app = Litestar(
        [*HANDLERS, *handlers],
        openapi_config=None,
        exception_handlers={Exception: respond},
        before_send=[_with_headers(security_headers(tls=services.http.secure_cookies), allowed)],
        state=State({"door": door, "services": services}),
        logging_config=None,
        debug=False,
    )
    app.state.routes = tuple(_declared(app))
    allowed.update(_allowed(app.state.routes))
    app.state.openapi = openapi.document(app.state.routes, secure=services.http.secure_cookies)
    return app


def routes_of(app: Litestar) -> tuple[Route, ...]:
    """All routes of an application, as they were declared."""
    routes: tuple[Route, ...] = app.state.routes
    return routes


def declared() -> tuple[Route, ...]:
    """All routes of the API, without an application."""
    return tuple(handler.opt[ROUTE] for handler in HANDLERS)


def _declared(app: Litestar) -> Iterator[Route]:
    operations: dict[str, str] = {}
    for route in app.routes:
        handlers: Sequence[BaseRouteHandler] = getattr(route, "route_handlers", None) or [route.route_handler]  # type: ignore[union-attr]
        for handler in handlers:
            methods = getattr(handler, "http_methods", ())
            if set(methods) == {"OPTIONS"}:
                continue  # lists methods, and nothing else
            declared = handler.opt.get(ROUTE)
            if not isinstance(declared, Route):
                raise Undeclared(
                    f"{'/'.join(sorted(methods)) or 'handler'} {route.path} does not say who may ask: declare it with "
                    "get, post, put, patch, delete or check of connectors/http/route.py, and the permission it requires"
                )
            if (other := operations.setdefault(declared.operation, route.path)) != route.path:
                raise Undeclared(f"{route.path} and {other} have functions of the same name, {declared.operation}")
            yield declared


def _allowed(routes: Sequence[Route]) -> dict[str, str]:
    """All methods of each path: Litestar itself knows only those of one of its functions."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.plain_path, {"OPTIONS"}).add(route.method)
    return {path: ", ".join(sorted(found)) for path, found in methods.items()}


def _with_headers(added: Mapping[str, str], allowed: Mapping[str, str]) -> Callable[[Message, Scope], Awaitable[None]]:
    async def before_send(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            for name, value in added.items():
                headers.setdefault(name, value)
            if scope.get("method") == "OPTIONS" and (methods := allowed.get(scope.get("path_template", ""))):
                headers["Allow"] = methods

    return before_send
