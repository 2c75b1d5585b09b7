"""«Тарифы» → «Проверка тарифа» (§2.3): the guide's seven fields, every provider, what is missing and whom to ask."""

from typing import Any

from litestar import Response

from connectors.console.asking import Problem
from connectors.console.page import Page, page, wrong

_FIELDS = ("number", "account_id", "tariff_plan_id", "service", "place")


@page("/tariff-check")
async def tariff_check(page: Page) -> Response[Any]:
    options = await page.ask.get("/api/tariff-check/options")
    found, errors = None, {}
    if "number" in page.asked:
        try:
            # An empty incoming service is a choice of its own: whatever the call came in by.
            incoming_service = page.asked.get("incoming_service")
            found = await page.ask.get("/api/tariff-check", **page.given(*_FIELDS), incoming_service=incoming_service)
        except Problem as problem:
            if problem.status not in (404, 422):
                raise
            errors = wrong(problem)
    return page.show(
        "tariff_check.html", title=page.words.text("Tariff check"), options=options, found=found, errors=errors
    )


ROUTES = (tariff_check,)
