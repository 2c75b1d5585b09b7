"""«Тарифы» → «Запрещённые регионы» (§2.2): locks, their history, the check of a number, the rehearsal of a new lock."""

from typing import Any

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page, wrong

_FILTERS = ("state", "scope", "account_id", "provider_id", "author", "begins_with", "number", "text")
_FIELDS = ("kind", "digits", "account_id", "provider_id", "reason", "ends_at")


@page("/locks")
async def locks(page: Page) -> Response[Any]:
    """Global locks, unless others are asked for (R2.2-15)."""
    terms = page.given(*_FILTERS)
    if not page.asked:
        terms["scope"] = "global"
    errors = {}
    try:
        found = await page.ask.get("/api/locks", **page.given("after"), **terms)
    except Problem as problem:
        if problem.status not in (404, 422):
            raise
        found, errors = {"items": [], "next": None, "total": 0}, wrong(problem)
    return page.show("locks.html", title=page.words.text("Forbidden regions"), found=found, terms=terms, errors=errors)


@page("/locks/{lock_id:str}")
async def lock(page: Page, lock_id: str) -> Response[Any]:
    return await _lock(page, lock_id)


async def _lock(page: Page, lock_id: str, errors: dict[str, str] | None = None) -> Response[Any]:
    found = await page.ask.get(f"/api/locks/{lock_id}")
    title = page.words.text("Lock %(lock_id)s", lock_id=lock_id)
    asked = page.asked.get("asked")
    return page.show(
        "lock.html", title=title, status=422 if errors else 200, lock=found, errors=errors or {}, question_sent=asked
    )


@page("/locks/{lock_id:str}/{what:str}", method="POST")
async def act_on_lock(page: Page, lock_id: str, what: str) -> Response[Any]:
    """Lifts a lock, or asks its author why it is there."""
    fields = {"lift": "reason", "questions": "question"}
    if what not in fields:
        raise Problem({"status": 404, "detail": ""})
    try:
        await page.change("POST", f"/api/locks/{lock_id}/{what}", page.form.body(page.words, fields[what]))
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return await _lock(page, lock_id, wrong(problem))
    return go(f"/locks/{lock_id}", asked="yes" if what == "questions" else None)


@page("/new-lock", requires="locks.set")
async def new_lock(page: Page) -> Response[Any]:
    return await _new_lock(page)


@page("/new-lock", method="POST")
async def rehearse_or_set(page: Page) -> Response[Any]:
    """First what it would have done to the calls of the last days; then, asked once more, it is set."""
    try:
        body = page.form.body(page.words, *_FIELDS)
        if page.form["do"] == "set":
            made = await page.change("POST", "/api/locks", body)
            return go(f"/locks/{made['lock_id']}")
        tried = {name: value for name, value in body.items() if name not in ("reason", "ends_at")}
        rehearsal = await page.change("POST", "/api/lock-rehearsal", {**tried, "days": 7})
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in (404, 409, 422):
            raise
        return await _new_lock(page, errors=wrong(error))
    return await _new_lock(page, rehearsal=rehearsal)


async def _new_lock(
    page: Page, *, errors: dict[str, str] | None = None, rehearsal: Json | None = None
) -> Response[Any]:
    providers = (await page.ask.get("/api/providers"))["items"]
    typed = {name: page.form[name] or page.asked.get(name, "") for name in _FIELDS}
    return page.show(
        "new_lock.html",
        title=page.words.text("New lock"),
        status=422 if errors else 200,
        errors=errors or {},
        rehearsal=rehearsal,
        providers=providers,
        typed=typed,
    )


@page("/lock-check", requires="locks.see")
async def lock_check(page: Page) -> Response[Any]:
    """Every lock that covers a number: of the account, then of all (R2.2-14)."""
    found, errors = None, {}
    if page.asked.get("number"):
        try:
            at = page.words.instant(page.asked["at"]) if page.asked.get("at") else None
            found = await page.ask.get("/api/lock-check", **page.given("number", "account_id", "service"), at=at)
        except Problem as problem:
            if problem.status not in (404, 422):
                raise
            errors = wrong(problem)
        except ValueError:
            errors = {"at": page.words.text("write date and time, as in 2026-11-24T18:30")}
    return page.show("lock_check.html", title=page.words.text("Lock check"), found=found, errors=errors)


ROUTES = (locks, lock, act_on_lock, new_lock, rehearse_or_set, lock_check)
