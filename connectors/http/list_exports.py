"""Every list as a file: CSV or XLSX at the list's path with `/export` behind it, with the list's own filters and for
its own askers. A list whose file is to look different has an export of its own.

It is asked page by page while the file is written, so a list of any length takes the memory of a page. A column is a
field of the list's rows; amounts in micro-units come out in whole units, exactly. Of what has parts of its own that are
plain the parts are joined, as a colleague's name, phone and address; what has more to it is JSON.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET, Meta, Struct, structs

from connectors.files.table_export import Cell
from connectors.http.call import Call
from connectors.http.exports import DEFAULT_ROWS, PRODUCES, ExportLimit, FileFormat, file_of, roubles
from connectors.http.paging import MOST_ROWS
from connectors.http.parties import Party, PartyText, encoded
from connectors.http.problems import ErrorAt, unfit
from connectors.http.route import ROUTE, Route, get

_MICROS = "_micros"
_SEPARATOR = "; "
_PAGING = ("after", "limit")
_EXPORT = "/export"


def with_exports(handlers: Sequence[HTTPRouteHandler]) -> tuple[HTTPRouteHandler, ...]:
    """The routes, and an export for each list among them that has none."""
    paths = {_route_of(handler).path for handler in handlers}
    lists = (handler for handler in handlers if _is_list(_route_of(handler)))
    return (*handlers, *(exported(one) for one in lists if _route_of(one).path + _EXPORT not in paths))


def exported(handler: HTTPRouteHandler) -> HTTPRouteHandler:
    """The route of a list's file."""
    route = _route_of(handler)
    row = row_of(route.answer)
    assert row is not None, f"{route.path} is no list"
    asked = _asked(route)
    function = _function(route, tuple(get_type_hints(row)))
    function.__name__ = function.__qualname__ = f"export_{route.operation}"
    function.__module__ = route.function.__module__
    # What the door reads by: the list's parts of the path, and its filters with the file's kind and length.
    parts = {part: int if kind == "int" else str for part, kind in route.parts.items()}
    function.__annotations__ = {"call": Call, **parts, "asked": asked, "return": Response[bytes]}
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in ("call", *parts, "asked")]
    )
    return get(
        route.path + _EXPORT,
        requires=route.requires,
        summary=f"{route.summary}: as a file",
        produces=PRODUCES,
        problems=route.problems,
    )(function)


def _route_of(handler: HTTPRouteHandler) -> Route:
    found: Route = handler.opt[ROUTE]
    return found


def _is_list(route: Route) -> bool:
    return route.method == "GET" and row_of(route.answer) is not None


def row_of(answer: Any) -> type | None:
    """The Struct of a list's rows, where the answer is a list; else None."""
    if get_origin(answer) is not None and isinstance(get_origin(answer), type) and get_args(answer):
        # A generic page: what it is a page of.
        found = get_args(answer)[0] if "items" in get_type_hints(get_origin(answer)) else None
    elif isinstance(answer, type) and issubclass(answer, Struct):
        items = get_type_hints(answer).get("items")
        found = get_args(items)[0] if items is not None and get_args(items) else None
    else:
        found = None
    return found if isinstance(found, type) and issubclass(found, Struct) else None


def _asked(route: Route) -> type:
    """The list's filters, without what its pages are asked by."""
    own: list[Any] = [("file", FileFormat, "csv"), ("limit", ExportLimit, DEFAULT_ROWS)]
    if route.asked is None:
        return msgspec.defstruct("ExportAsked", own, frozen=True, forbid_unknown_fields=True)
    hints = get_type_hints(route.asked, include_extras=True)
    required, optional = [], []
    for field in msgspec.structs.fields(route.asked):
        if field.name in _PAGING:
            continue
        if field.required:
            required.append((field.name, hints[field.name]))
        elif field.default is not msgspec.NODEFAULT:
            optional.append((field.name, hints[field.name], field.default))
        else:
            optional.append((field.name, hints[field.name], msgspec.field(default_factory=field.default_factory)))
    return msgspec.defstruct(
        f"{route.asked.__name__}Exported",
        [*required, *optional, *own],
        frozen=True,
        forbid_unknown_fields=True,
        module=route.asked.__module__,
    )


def _function(route: Route, columns: Sequence[str]) -> Callable[..., Any]:
    header = tuple(column.removesuffix(_MICROS) for column in columns)

    async def export(call: Call, asked: Any, **parts: Any) -> Response[bytes]:
        await _refuse_longer(route, call, asked, parts)
        whole = call.asker.may("parties.see")

        async def pieces() -> AsyncIterator[Sequence[Sequence[Cell]]]:
            left = asked.limit  # what came since it was counted
            async for rows in _pages(route, call, asked, parts):
                yield [[_cell(column, getattr(row, column), whole=whole) for column in columns] for row in rows[:left]]
                left -= len(rows)
                if left <= 0:
                    return

        return file_of(route.operation.replace("_", "-"), asked.file, header, pieces())

    return export


async def _refuse_longer(route: Route, call: Call, asked: Any, parts: Mapping[str, Any]) -> None:
    """Raises Problem 422 for a list that is longer than asked for: one that is cut unseen would be believed."""
    rows = 0
    async for some in _pages(route, call, asked, parts):
        rows += len(some)
        if rows > asked.limit:
            raise unfit(ErrorAt(f"there are more than {asked.limit} rows: ask for fewer of them", parameter="limit"))


def _longest_page(asked: type) -> int:
    """How many rows the list gives at once."""
    limit = get_type_hints(asked, include_extras=True)["limit"]
    most = [
        int(told.le) for told in getattr(limit, "__metadata__", ()) if isinstance(told, Meta) and told.le is not None
    ]
    return min([MOST_ROWS, *most])


async def _pages(route: Route, call: Call, asked: Any, parts: Mapping[str, Any]) -> AsyncIterator[Sequence[Any]]:
    """The rows of the list, page by page."""
    given: dict[str, Any] = {"call": call, **parts}
    kind: Any = route.asked
    known: tuple[str, ...] = () if kind is None else kind.__struct_fields__
    terms = {name: getattr(asked, name) for name in known if name not in _PAGING}
    if "limit" in known:
        terms["limit"] = _longest_page(kind)
    while True:
        if kind is not None:
            given["asked"] = kind(**terms)
        found = await route.function(**given)
        yield found.items
        terms["after"] = getattr(found, "next", None)
        if terms["after"] is None or "after" not in known:
            return


def _cell(column: str, value: Any, *, whole: bool) -> Cell:
    match value:
        case None:
            return None
        case _ if value is UNSET:
            return None
        case Party() | PartyText():
            return value.shown(whole=whole)
        case bool():
            return "yes" if value else "no"
        case int() if column.endswith(_MICROS):
            return roubles(value)
        case str() | int() | float():
            return value
        case list() | tuple() if all(isinstance(one, str) for one in value):
            return _SEPARATOR.join(value)
        case Struct() if all(_plain(one) for one in structs.astuple(value)):
            told = (_told(name, one) for name, one in structs.asdict(value).items())
            return _SEPARATOR.join(one for one in told if one)
        case _:
            return encoded(value, whole=whole).decode()


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int))


def _told(name: str, value: str | int | None) -> str:
    """A plain part in words; of what is so or not, only what is not."""
    match value:
        case None | True:
            return ""
        case False:
            return f"not {name}"
        case _:
            return str(value)
