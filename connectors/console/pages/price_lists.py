"""«Тарифы»: a price list from its file to the day it comes into force: uploaded, checked, compared, rehearsed,
approved, published, rolled back. Checks of a million prices take a while: the page shows how far they are.
"""

from typing import Any
from urllib.parse import quote, urlencode

from litestar import Response

from backoffice.access import asker, missing
from connectors.console.asking import Json, Problem
from connectors.console.page import Page, go, page, refreshed, wrong
from connectors.console.pages.price_chart import bars

_TERMS = ("name", "kind", "provider_id", "currency", "rounding", "decimals", "sheet", "reason")
_REFUSED = (403, 404, 409, 422)
_ACTIONS = ("approve", "publish", "roll-back", "discard", "lint", "rehearsal")
_WAIT_SECONDS = 1
_SHOWN_ERRORS = 50

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@page("/price-lists/{price_list_id:str}")
async def versions(page: Page, price_list_id: str) -> Response[Any]:
    return await _versions(page, price_list_id)


@page("/new-price-list", requires="prices.see")
async def new_list(page: Page) -> Response[Any]:
    if not (page.may("prices.retail") or page.may("prices.wholesale")):
        refusal = missing("prices.retail", asker(page.me["user"], page.me["role"]))
        raise Problem({"status": 403, "detail": refusal.text, "ask": refusal.ask})
    return await _upload_page(page, page.asked.get("price_list_id", ""))


async def _versions(page: Page, price_list_id: str) -> Response[Any]:
    path = f"/api/price-lists/{quote(price_list_id, safe='')}/versions"
    found = await page.ask.get(path, **page.given("after"))
    title = page.words.text("Price list %(list)s", list=price_list_id)
    return page.show("price_list.html", title=title, price_list_id=price_list_id, found=found)


async def _upload_page(
    page: Page, price_list_id: str, *, errors: dict[str, str] | None = None, bad: Json | None = None
) -> Response[Any]:
    """`bad`: what is wrong with the file, by line."""
    return page.show(
        "price_upload.html",
        title=page.words.text("Upload a price list"),
        status=422 if errors or bad else 200,
        typed={**dict.fromkeys(_TERMS, ""), "price_list_id": price_list_id, **page.form},
        providers=(await page.ask.get("/api/providers"))["items"] if page.may("providers.see") else [],
        errors=errors or {},
        bad=bad,
        shown=_SHOWN_ERRORS,
    )


@page("/new-price-list", method="POST", upload=True)
async def upload(page: Page) -> Response[Any]:
    """The file becomes a draft. Where it has errors nothing of it is taken, and each is told with its line."""
    price_list_id = page.form["price_list_id"]
    if not price_list_id:
        return await _upload_page(page, "", errors={"price_list_id": page.words.text("say which price list")})
    if page.file is None or not page.file.content:
        return await _upload_page(page, price_list_id, errors={"file": page.words.text("choose a file")})
    terms = {name: page.form[name] for name in _TERMS if page.form[name]}
    path = f"/api/price-lists/{quote(price_list_id, safe='')}/versions?"
    try:
        made = await page.ask.send(
            "POST",
            path + urlencode({**terms, "source": page.file.name[:200]}),
            page.file.content,
            csrf=page.form["csrf"],
            once=page.form["once"],
            media_type=XLSX if page.file.name.lower().endswith(".xlsx") else "text/csv",
        )
    except Problem as problem:
        if problem.status not in (*_REFUSED, 413, 415):
            raise
        of_file = [
            one for one in problem.document.get("errors", ()) if one.get("pointer", "/").strip("/")[:1].isdigit()
        ]
        if of_file:
            bad = {"text": str(problem), "errors": of_file, "file": page.file.name}
            return await _upload_page(page, price_list_id, bad=bad)
        return await _upload_page(page, price_list_id, errors=wrong(problem))
    return go(f"/price-lists/{quote(price_list_id, safe='')}/{made['number']}")


@page("/price-lists/{price_list_id:str}/{number:int}")
async def version(page: Page, price_list_id: str, number: int) -> Response[Any]:
    return await _version(page, price_list_id, number)


async def _version(
    page: Page, price_list_id: str, number: int, *, what: str = "", errors: dict[str, str] | None = None
) -> Response[Any]:
    """The card. `what`: which of its forms was sent, so that what is wrong stands there."""
    path = _path(price_list_id, number)
    found = await page.ask.get(path)
    lint = await _maybe(page, f"{path}/lint")
    rehearsal = await _maybe(page, f"{path}/rehearsal")
    findings: Json = {"items": (), "next": None}
    if lint is not None and lint["report"] is not None:
        findings = await page.ask.get(f"{path}/lint/findings", limit=20, **page.given("rule", "after"))
    difference = await _maybe(page, f"{path}/difference")
    running = any(one is not None and one["state"] == "running" for one in (lint, rehearsal))
    if page.partial and not running:
        return refreshed()
    works = page.may("prices.retail" if found["kind"] == "retail" else "prices.wholesale")
    return page.show(
        "price_version_parts.html" if page.partial else "price_version.html",
        title=page.words.text("%(list)s, version %(number)s", list=price_list_id, number=number),
        status=422 if errors else 200,
        version=found,
        lint=lint,
        findings=findings,
        difference=difference,
        rehearsal=rehearsal,
        chart=_chart(page, rehearsal),
        running=running,
        works=works,
        errors=errors or {},
        what=what,
    )


def _chart(page: Page, rehearsal: Json | None) -> Any:
    """Revenue, cost and margin of the same calls, before and after."""
    if rehearsal is None or rehearsal["result"] is None:
        return None
    result = rehearsal["result"]
    total, text = result["total"], page.words.text
    return bars(
        (
            (text("Revenue"), total["before_retail_micros"], total["after_retail_micros"]),
            (text("Cost"), total["before_wholesale_micros"], total["after_wholesale_micros"]),
            (text("Margin"), result["before_margin_micros"], result["after_margin_micros"]),
        ),
        page.words.money,
    )


async def _maybe(page: Page, path: str) -> Json | None:
    try:
        return await page.ask.get(path)
    except Problem as problem:
        if problem.status not in (404, 409, 422):
            raise
        return None


@page("/price-lists/{price_list_id:str}/{number:int}/{what:str}", method="POST")
async def act(page: Page, price_list_id: str, number: int, what: str) -> Response[Any]:
    """Begins a check, or decides what becomes of the version."""
    if what not in _ACTIONS:
        raise Problem({"status": 404, "detail": ""})
    body: Json = {}
    try:
        if what in ("lint", "rehearsal"):
            body["wait_seconds"] = _WAIT_SECONDS
            if what == "rehearsal" and page.form["days"]:
                body |= page.form.body(page.words, "days")
        else:
            body = {"reason": page.form["reason"]}
            if what == "publish" and page.form["in_force_from"]:
                body["in_force_from"] = page.words.instant(page.form["in_force_from"])
        made = await page.change("POST", f"{_path(price_list_id, number)}/{what}", body)
    except ValueError:
        errors = {"in_force_from": page.words.text("write date and time, as in 2026-11-24T18:30")}
        return await _version(page, price_list_id, number, what=what, errors=errors)
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        return await _version(page, price_list_id, number, what=what, errors=wrong(problem))
    return go(f"/price-lists/{quote(price_list_id, safe='')}/{made.get('number', number)}")


def _path(price_list_id: str, number: int) -> str:
    return f"/api/price-lists/{quote(price_list_id, safe='')}/versions/{number}"


ROUTES = (new_list, upload, versions, version, act)
