"""Re-ratings: which calls are to be charged anew, what it comes to, who agrees to it, and the way back."""

from typing import Any

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page, refreshed, wrong
from connectors.console.pages.price_chart import bars
from connectors.console.view import files

STATES = ("draft", "previewed", "approved", "posting", "posted", "rolling_back", "rolled_back", "cancelled")
_TERMS = ("since", "until", "account_id", "prefix", "price_list_id", "plans", "reason")
_ACTIONS = ("preview", "approve", "post", "cancel", "roll-back")
_REFUSED = (403, 404, 409, 422)


@page("/reratings", requires="money.see")
async def runs(page: Page) -> Response[Any]:
    terms = page.given("state")
    return page.show(
        "reratings.html",
        title=page.words.text("Re-ratings"),
        found=await page.ask.get("/api/reratings", **page.given("after"), **terms),
        terms=terms,
        states=STATES,
        export=files("/api/reratings", **terms),
    )


@page("/new-rerating", requires="calls.rerate")
async def new_run(page: Page) -> Response[Any]:
    return _new(page)


def _new(page: Page, errors: dict[str, str] | None = None) -> Response[Any]:
    title = page.words.text("New re-rating")
    return page.show("new_rerating.html", title=title, status=422 if errors else 200, errors=errors or {})


@page("/new-rerating", method="POST")
async def make(page: Page) -> Response[Any]:
    """A run is made and its preview ordered at once."""
    try:
        made = await page.change("POST", "/api/reratings", page.form.body(page.words, *_TERMS))
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in _REFUSED:
            raise
        return _new(page, wrong(error))
    path = f"/api/reratings/{made['rerating_id']}/preview"
    reason = {"reason": page.form["reason"]}
    try:
        await page.ask.send("POST", path, reason, csrf=page.form["csrf"], once=f"{page.form['once']}-preview")
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        # The run is there; its page has the form that orders the preview.
    return go(f"/reratings/{made['rerating_id']}")


@page("/reratings/{rerating_id:int}")
async def run(page: Page, rerating_id: int) -> Response[Any]:
    return await _run(page, rerating_id)


async def _run(page: Page, rerating_id: int, *, what: str = "", errors: dict[str, str] | None = None) -> Response[Any]:
    """The card. `what`: which of its forms was sent, so that what is wrong stands there."""
    found = await page.ask.get(f"/api/reratings/{rerating_id}")
    accounts: Json = {"items": (), "next": None}
    items: Json = {"items": (), "next": None}
    if found["summary"] is not None:
        accounts = await page.ask.get(f"/api/reratings/{rerating_id}/accounts", limit=20)
        items = await page.ask.get(f"/api/reratings/{rerating_id}/items", **page.given("account_id", "after"))
    if page.partial and found["wanted"] is None:
        return refreshed()
    return page.show(
        "rerating_parts.html" if page.partial else "rerating.html",
        title=page.words.text("Re-rating %(number)s", number=rerating_id),
        status=422 if errors else 200,
        run=found,
        running=found["wanted"] is not None and not found["failure"],
        chart=_chart(page, found),
        accounts=accounts,
        items=items,
        errors=errors or {},
        what=what,
        export=files(f"/api/reratings/{rerating_id}/items"),
    )


def _chart(page: Page, found: Json) -> Any:
    """Revenue, cost and margin of the calls that differ, before and after."""
    if found["summary"] is None:
        return None
    total, text = found["summary"]["total"], page.words.text
    rows = (
        (text("Revenue"), total["old_retail_micros"], total["new_retail_micros"]),
        (text("Cost"), total["old_wholesale_micros"], total["new_wholesale_micros"]),
        (text("Margin"), found["old_margin_micros"], found["new_margin_micros"]),
    )
    return bars(rows, page.words.money)


@page("/reratings/{rerating_id:int}/{what:str}", method="POST")
async def act(page: Page, rerating_id: int, what: str) -> Response[Any]:
    """Orders the next step. What is approved is the preview that was looked at, no other."""
    if what not in _ACTIONS:
        raise Problem({"status": 404, "detail": ""})
    body: Json = {"reason": page.form["reason"]}
    if what == "approve" and page.form["fingerprint"]:
        body["fingerprint"] = page.form["fingerprint"]
    try:
        await page.change("POST", f"/api/reratings/{rerating_id}/{what}", body)
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        return await _run(page, rerating_id, what=what, errors=wrong(problem))
    return go(f"/reratings/{rerating_id}")


ROUTES = (runs, new_run, make, run, act)
