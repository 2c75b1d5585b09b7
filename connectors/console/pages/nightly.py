"""Jobs of the night: how they stand, what each did in which night, and a night that is asked for by hand."""

from typing import Any
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.page import Page, go, page, wrong
from connectors.console.view import files

STATES = ("done", "failed", "blocked", "running")


@page("/nightly", requires="jobs.see")
async def nights(page: Page) -> Response[Any]:
    return await _nights(page)


async def _nights(page: Page, errors: dict[str, str] | None = None) -> Response[Any]:
    terms = page.given("job", "state", "since", "until")
    found, unfit = await page.listed("/api/nightly/runs", terms)
    errors = unfit | (errors or {})
    order = None
    if page.asked.get("order"):
        order = await page.ask.get(f"/api/nightly/orders/{quote(page.asked['order'], safe='')}")
    jobs = (await page.ask.get("/api/nightly/jobs"))["items"]
    return page.show(
        "nightly.html",
        title=page.words.text("Jobs of the night"),
        status=422 if errors else 200,
        jobs=jobs,
        found=found,
        terms=terms,
        states=STATES,
        order=order,
        errors=errors,
        export=files("/api/nightly/runs", **terms),
    )


@page("/nightly", method="POST")
async def order_night(page: Page) -> Response[Any]:
    """Asks for a night; the next process that runs jobs works it off."""
    body: Json = {"reason": page.form["reason"]}
    if page.form["day"]:
        body["day"] = page.form["day"]
    if jobs := page.form.all("jobs"):
        body["jobs"] = jobs
    try:
        made = await page.change("POST", "/api/nightly/orders", body)
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return await _nights(page, wrong(problem))
    return go("/nightly", order=made["order_id"])


@page("/nightly/{day:str}/{job:str}")
async def run(page: Page, day: str, job: str) -> Response[Any]:
    found = await page.ask.get(f"/api/nightly/runs/{quote(day, safe='')}/{quote(job, safe='')}")
    title = page.words.text("%(job)s, night of %(day)s", job=page.words.text(job), day=page.words.day(day))
    return page.show("nightly_run.html", title=title, run=found)


ROUTES = (nights, order_night, run)
