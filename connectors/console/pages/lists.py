"""Plain lists: each is an entry of a table here, and all of them are one page.

Filters stand in the address, so that it can be sent to a colleague; pages go on by key; files have the same filters.
"""

from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from connectors.console.asking import Json, Problem
from connectors.console.page import Page, page, wrong
from connectors.console.view import files

Kind = Literal["text", "moment", "day", "money", "number", "yes", "word", "json", "list"]


class Column(NamedTuple):
    """A column: the field of the row (`a.b` for a part of a part), its title, how it is written, and where it leads:
    `{field}` in `link` is a field of the row."""

    field: str
    title: str
    kind: Kind = "text"
    link: str | None = None


class Filter(NamedTuple):
    """A field of the form above the list. `choices`: the words that it may have."""

    name: str
    title: str
    kind: Literal["text", "choice", "moment", "day"] = "text"
    choices: tuple[str, ...] = ()


class List(NamedTuple):
    """A list of the API as a page at `path`. `empty` says what to do where nothing is there."""

    path: str
    api: str
    title: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    empty: str = "Nothing is here yet."
    new: tuple[str, str, str] | None = None
    """A link to what makes a new one: text, address, permission."""


LISTS: tuple[List, ...] = (
    List(
        "/providers",
        "/api/providers",
        "Providers",
        (
            Column("provider_id", "Provider"),
            Column("name", "Name"),
            Column("priority", "Priority", "number"),
            Column("place", "Place"),
            Column("pdgi", "PDGI", "yes"),
            Column("own", "Own", "yes"),
        ),
    ),
    List(
        "/tariff-plans",
        "/api/tariff-plans",
        "Tariff plans",
        (
            Column("tariff_plan_id", "Tariff plan"),
            Column("name", "Name"),
            Column("lists", "Price lists", "json"),
            Column("forbid_loss", "No calls at a loss", "yes"),
        ),
    ),
    List(
        "/price-lists",
        "/api/price-lists",
        "Price lists",
        (
            Column("price_list_id", "Price list", link="/price-lists/{price_list_id}"),
            Column("name", "Name"),
            Column("kind", "Kind", "word"),
            Column("provider_id", "Provider"),
            Column("prices", "Prices", "number"),
            Column("in_force", "Version in force", "number"),
            Column("in_force_from", "In force from", "moment"),
            Column("scheduled", "Scheduled version", "number"),
            Column("scheduled_from", "Scheduled from", "moment"),
        ),
        (Filter("kind", "Kind", "choice", ("retail", "wholesale")),),
    ),
    List(
        "/price-lists/{price_list_id:str}/{number:int}/prices",
        "/api/price-lists/{price_list_id}/versions/{number}/prices",
        "Prices of a version",
        (
            Column("prefix", "Prefix"),
            Column("service", "Service", "word"),
            Column("place", "Place"),
            Column("incoming_service", "Incoming service", "word"),
            Column("price_micros", "Price", "money"),
            Column("per_seconds", "Per seconds", "number"),
            Column("step_seconds", "Step, s", "number"),
            Column("connect_fee_micros", "Connection fee", "money"),
            Column("valid_from", "Valid from", "day"),
            Column("valid_to", "Valid to", "day"),
        ),
    ),
    List(
        "/letters",
        "/api/letters",
        "Letters",
        (
            Column("written_at", "Written", "moment"),
            Column("kind", "Kind", "word"),
            Column("recipient", "To"),
            Column("subject", "Subject"),
            Column("client_id", "Client", link="/clients/{client_id}"),
            Column("state", "State", "word"),
        ),
    ),
    List(
        "/audit",
        "/api/audit",
        "Audit",
        (
            Column("at", "When", "moment"),
            Column("actor", "Who"),
            Column("role", "Role", "word"),
            Column("action", "What", "word"),
            Column("entity", "Of what", "word"),
            Column("entity_id", "Which"),
            Column("reason", "Why"),
            Column("before", "Before", "json"),
            Column("after", "After", "json"),
            Column("interface", "By"),
        ),
        (
            Filter("actor", "Who"),
            Filter("entity", "Of what"),
            Filter("entity_id", "Which"),
            Filter("action", "What"),
            Filter("since", "Since", "moment"),
            Filter("until", "Until", "moment"),
        ),
    ),
)


def value_of(row: Json, field: str) -> Any:
    """A field of a row, or a part of one."""
    value: Any = row
    for part in field.split("."):
        value = None if value is None else value.get(part)
    return value


def link_of(row: Json, link: str | None) -> str | None:
    """Where a cell leads; None where something of it is missing."""
    if link is None:
        return None
    values = {name: quote(str(value), safe="") for name, value in row.items() if value is not None}
    try:
        return link.format(**values)
    except KeyError:
        return None


def _route(shown: List) -> HTTPRouteHandler:
    async def rows(page: Page, **parts: Any) -> Response[Any]:
        asked: dict[str, Any] = page.given(*(one.name for one in shown.filters), "after")
        found, errors = {"items": (), "next": None}, {}
        api = shown.api.format(**{name: quote(str(value), safe="") for name, value in parts.items()})
        try:
            for one in shown.filters:
                if one.kind == "moment" and asked[one.name] is not None:
                    asked[one.name] = page.words.instant(asked[one.name])
            found = await page.ask.get(api, **asked)
        except Problem as problem:
            if problem.status != 422:
                raise
            errors = wrong(problem)
        except ValueError:
            errors = {"": page.words.text("write date and time, as in 2026-11-24T18:30")}
        return page.show(
            "_rows.html" if page.partial else "list.html",
            title=page.words.text(shown.title),
            shown=shown,
            found=found,
            errors=errors,
            value_of=value_of,
            link_of=link_of,
            export=files(api, **{name: value for name, value in asked.items() if name != "after"}),
        )

    rows.__name__ = "list_" + shown.path.strip("/").replace("/", "_").replace("-", "_").partition("{")[0]
    return page(shown.path)(rows)


ROUTES = tuple(_route(one) for one in LISTS)
