"""«Коммутация» → «Номера DID» (§1.4, §3.4): the search, the card of a number, and what is done to it."""

from typing import Any
from urllib.parse import quote, urlencode

from litestar import Response

from backoffice.numbers.search import MOST_ROWS
from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Asked, Page, go, page
from connectors.console.pages import number_words as w
from connectors.console.pages.number_chart import chart

PORTION = 100
"""So many rows a page shows at a time, however many may be shown in all: a page stays light."""

_TEXTS = ("number", "region", "provider_id")
Terms = list[tuple[str, str]]


@page("/numbers")
async def numbers(page: Page) -> Response[Any]:
    """What may be sold now, unless something else is asked for (R1.4-22)."""
    terms = _terms(page) if page.asked else [("status", "free"), *(("availability", one) for one in w.GREEN)]
    limit, shown = page.asked.get("limit") or str(PORTION), int(_whole(page.asked.get("shown", ""), 0))
    found, errors = None, {}
    try:
        asked = [*terms, ("limit", _portion(limit, shown))]
        after = page.asked.get("after")
        found = await page.ask.get(_query("/api/numbers", [*asked, ("after", after)] if after else asked))
    except Problem as problem:
        if problem.status != 422:
            raise
        errors = w.errors_of(page.words, problem)
    if found is not None:
        shown += len(found["items"])
    may_go_on = found is not None and found["next"] and shown < int(_whole(limit, PORTION))
    kept = [*terms, ("limit", limit)]
    providers = await _providers(page)
    return page.show(
        "_number_rows.html" if page.partial else "numbers.html",
        title=page.words.text("DID numbers"),
        found=found,
        errors=errors,
        w=w,
        limit=limit,
        shown=shown,
        chosen={name: [value for one, value in terms if one == name] for name in ("status", "availability")},
        terms=Asked(dict(terms)),
        providers=providers,
        names=_names(providers),
        further=_query("/numbers", [*kept, ("shown", str(shown)), ("after", found["next"])])
        if found and may_go_on
        else None,
        export=[
            (kind.upper(), _query("/api/numbers/export", [*terms, ("limit", limit), ("file", kind)]))
            for kind in ("xlsx", "csv")
        ],
    )


async def _providers(page: Page) -> list[Json] | None:
    """All of them, for who may see them."""
    return (await page.ask.get("/api/providers"))["items"] if page.may("providers.see") else None


def _names(providers: list[Json] | None) -> dict[str, str | None]:
    return {one["provider_id"]: one["name"] for one in providers or ()}


def _terms(page: Page) -> Terms:
    """The filters of the address. The buttons of a colour choose all of its values, whatever is ticked."""
    asked = page.request.query_params.dict()
    terms = [("status", one) for one in asked.get("status", [])]
    colour = {"green": w.GREEN, "red": w.RED}.get(page.asked.get("all", ""))
    terms += [("availability", one) for one in (colour or asked.get("availability", [])) if one]
    return terms + [(name, text) for name in _TEXTS if (text := page.asked.get(name))]


def _portion(limit: str, shown: int) -> str:
    """How many rows to ask for; a limit that can't be is passed on, for the API to say what is wrong with it."""
    rows = _whole(limit, 0)
    return str(max(1, min(PORTION, rows - shown))) if 1 <= rows <= MOST_ROWS else limit


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def _query(path: str, terms: Terms) -> str:
    return f"{path}?{urlencode(terms)}"


@page("/numbers/{number:str}")
async def number_card(page: Page, number: str) -> Response[Any]:
    return await _card(page, number)


async def _card(page: Page, number: str, *, what: str = "", errors: dict[str, str] | None = None) -> Response[Any]:
    """The card. `what`: which of its forms was sent, so that what is wrong stands there."""
    errors = dict(errors or {})
    address = f"/api/numbers/{quote(number, safe='')}"
    card = await page.ask.get(f"{address}/card")
    statistics = None
    try:
        statistics = await page.ask.get(f"{address}/statistics", **page.given("since", "until"))
    except Problem as problem:
        if problem.status != 422:
            raise
        errors |= w.errors_of(page.words, problem)
    return page.show(
        "number.html",
        title=page.words.text("Number %(number)s", number=number),
        status=422 if errors else 200,
        card=card,
        number=card["number"],
        statistics=statistics,
        drawn=None if statistics is None else chart(statistics["days"]),
        silent=statistics is not None and not any(one["calls"] or not one["collected"] for one in statistics["days"]),
        timeline=await page.ask.get(f"{address}/timeline"),
        errors=errors,
        what=what,
        w=w,
        can_ask=_can_ask(page, card),
        names=_names(await _providers(page)),
    )


def _can_ask(page: Page, card: Json) -> bool:
    """Whether a request to release it has a point (R1.4-35): not for sale, in nobody's hands, none waits."""
    open_request = card["request"] is not None and card["request"]["decided_at"] is None
    return (
        page.may("numbers.ask")
        and card["number"]["status"] in ("free", "archive")
        and not card["sellable"]
        and not open_request
    )


@page("/numbers/{number:str}/{what:str}", method="POST")
async def act_on_number(page: Page, number: str, what: str) -> Response[Any]:
    """Asks that it be released for sale, or takes it from whoever has it."""
    fields = {"requests": ("reason", "client_id"), "release": ("reason",)}
    if what not in fields:
        raise Problem({"status": 404, "detail": ""})
    try:
        body = page.form.body(page.words, *fields[what])
        made = await page.change("POST", f"/api/numbers/{quote(number, safe='')}/{what}", body)
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in (404, 409, 422):
            raise
        # A refusal that names no field of the request is about the client if there is no such client.
        field = "client_id" if isinstance(error, Problem) and error.status == 404 else "reason"
        return await _card(page, number, what=what, errors=w.errors_of(page.words, error, otherwise=field))
    return go(f"/number-requests/{made['request_id']}" if what == "requests" else f"/numbers/{number}")


ROUTES = (numbers, number_card, act_on_number)
