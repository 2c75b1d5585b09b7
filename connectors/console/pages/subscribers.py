"""«Абонент» (§1.4, «Прикрепление номера на продукт»): the list, the card, and «Создать абонента»."""

from functools import partial
from typing import Any
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page
from connectors.console.pages import number_words as w
from connectors.console.view import files

OFFERED = 20
"""Numbers that the form offers to choose from: more than that, and the mask should be narrower."""

_FILTERS = ("status", "account_id", "number")
_FIELDS = ("mask", "region", "number", "account_id", "product", "planned_on")


@page("/subscribers")
async def subscribers(page: Page) -> Response[Any]:
    terms = page.given(*_FILTERS)
    found, errors = await page.listed("/api/subscribers", terms, partial(w.errors_of, page.words))
    return page.show(
        "subscribers.html",
        title=page.words.text("Subscribers"),
        status=422 if errors else 200,
        found=found,
        errors=errors,
        w=w,
        export=files("/api/subscribers", **terms),
    )


@page("/subscribers/{subscriber_id:str}")
async def subscriber(page: Page, subscriber_id: str) -> Response[Any]:
    return await _subscriber(page, subscriber_id)


async def _subscriber(
    page: Page, subscriber_id: str, *, what: str = "", errors: dict[str, str] | None = None
) -> Response[Any]:
    found = await page.ask.get(f"/api/subscribers/{quote(subscriber_id, safe='')}")
    return page.show(
        "subscriber.html",
        title=page.words.text("Subscriber %(id)s", id=subscriber_id),
        status=422 if errors else 200,
        subscriber=found,
        what=what,
        errors=errors or {},
        w=w,
    )


@page("/subscribers/{subscriber_id:str}/{what:str}", method="POST")
async def act_on_subscriber(page: Page, subscriber_id: str, what: str) -> Response[Any]:
    """Activates a subscriber that has paid, or closes one."""
    if what not in ("activate", "close"):
        raise Problem({"status": 404, "detail": ""})
    try:
        body = page.form.body(page.words, "reason")
        await page.change("POST", f"/api/subscribers/{quote(subscriber_id, safe='')}/{what}", body)
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        errors = w.errors_of(page.words, problem, otherwise="reason")
        return await _subscriber(page, subscriber_id, what=what, errors=errors)
    return go(f"/subscribers/{subscriber_id}")


@page("/new-subscriber", requires="numbers.sell")
async def new_subscriber(page: Page) -> Response[Any]:
    typed = {name: page.asked.get(name, "") for name in _FIELDS}
    return await _form(page, {**typed, "mask": typed["mask"] or typed["number"]})


@page("/new-subscriber", method="POST")
async def find_or_create(page: Page) -> Response[Any]:
    """Numbers to choose from by a mask; or the subscriber."""
    typed = {name: page.form[name] for name in _FIELDS}
    if page.form["do"] != "create":
        return await _form(page, typed)
    # The API tells of what is missing one by one.
    missing = {name: page.words.text("Fill this in.") for name in ("account_id", "product") if not typed[name]}
    if not typed["number"]:
        missing["mask"] = page.words.text("Choose a number: find one, and mark it.")
    if missing:
        return await _form(page, typed, missing)
    try:
        body = page.form.body(page.words, "number", "account_id", "product", "planned_on")
        made = await page.change("POST", "/api/subscribers", body)
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in (404, 409, 422):
            raise
        errors = w.errors_of(page.words, error, otherwise="mask")
        if "number" in errors:
            errors["mask"] = errors.pop("number")
        return await _form(page, typed, errors)
    return go(f"/subscribers/{made['subscriber_id']}")


async def _form(page: Page, typed: dict[str, str], errors: dict[str, str] | None = None) -> Response[Any]:
    """The form with the numbers that its mask finds, of those that may be sold; and why one may not (R1.4-54)."""
    errors = dict(errors or {})
    offered: Json | None = None
    why: Json | None = None
    if typed["mask"] or typed["region"]:
        asked = {"number": typed["mask"] or None, "region": typed["region"] or None, "limit": OFFERED}
        try:
            offered = await page.ask.get("/api/numbers", status="free", availability="green", **asked)
            if not offered["items"] and "%" not in typed["mask"] and typed["mask"]:
                rows = (await page.ask.get("/api/numbers", number=typed["mask"]))["items"]
                why = rows[0] if rows else None
        except Problem as problem:
            if problem.status != 422:
                raise
            errors |= {
                ("mask" if name == "number" else name): text for name, text in w.errors_of(page.words, problem).items()
            }
    if offered is not None and len(offered["items"]) == 1:
        typed = {**typed, "number": offered["items"][0]["number"]}
    return page.show(
        "new_subscriber.html",
        title=page.words.text("Create a subscriber"),
        status=422 if errors else 200,
        typed=typed,
        offered=offered,
        why=why,
        errors=errors,
        w=w,
    )


ROUTES = (subscribers, subscriber, act_on_subscriber, new_subscriber, find_or_create)
