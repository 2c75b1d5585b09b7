"""«Почему не прошёл звонок?» and «Просмотр CDR» (§2.5)."""

from typing import Any
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Problem
from connectors.console.page import Page, go, page, wrong

_CDR_FIELDS = ("service", "part", "account_id", "called", "since", "until")


@page("/why", requires="calls.see")
async def why(page: Page) -> Response[Any]:
    """By an attempt's id, or by account, number and about when."""
    if page.asked.get("attempt"):
        return go(f"/why/{quote(page.asked['attempt'], safe='')}")
    near, errors = None, {}
    if page.asked.get("at"):
        try:
            near = await page.ask.get(
                "/api/calls/explain",
                at=page.words.instant(page.asked["at"]),
                **page.given("account_id", "number", "within_minutes"),
            )
        except Problem as problem:
            if problem.status not in (404, 422):
                raise
            errors = wrong(problem)
        except ValueError:
            errors = {"at": page.words.text("write date and time, as in 2026-11-24T18:30")}
        if near is not None and len(near["calls"]) == 1:
            return go(f"/why/{quote(near['calls'][0]['attempt_id'], safe='')}", at=near["calls"][0]["at"])
    return page.show("why.html", title=page.words.text("Why did the call not go through?"), near=near, errors=errors)


@page("/why/{attempt_id:str}")
async def call(page: Page, attempt_id: str) -> Response[Any]:
    found = await page.ask.get(f"/api/calls/{quote(attempt_id, safe='')}/explain", **page.given("at", "verify"))
    return page.show("call.html", title=page.words.text("Call %(attempt)s", attempt=attempt_id), call=found)


@page("/cdrs", requires="calls.see")
async def cdrs(page: Page) -> Response[Any]:
    """The service must be named; CALLS_REC and CALLS_REC_UNLIM are two."""
    options = (await page.ask.get("/api/tariff-check/options"))["services"]
    found, errors = None, {}
    if page.asked.get("service"):
        terms = page.given(*_CDR_FIELDS)
        try:
            for name in ("since", "until"):
                if (typed := terms[name]) is not None:
                    terms[name] = page.words.instant(typed)
            found = await page.ask.get("/api/cdrs", **page.given("after"), **terms)
        except Problem as problem:
            if problem.status not in (404, 422):
                raise
            errors = wrong(problem)
        except ValueError:
            errors = {"": page.words.text("write date and time, as in 2026-11-24T18:30")}
    return page.show("cdrs.html", title=page.words.text("View CDR"), found=found, errors=errors, options=options)


ROUTES = (why, call, cdrs)
