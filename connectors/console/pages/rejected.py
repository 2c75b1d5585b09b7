"""What the engine could not use, and why: mended and sent again, or set aside, one by one or many at once."""

import json
from typing import Any
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.page import Page, go, page, wrong
from connectors.console.view import files

STATES = ("open", "resubmitted", "set_aside")
_FILTERS = ("state", "reason", "topic", "account_id", "event_id")
_REFUSED = (404, 409, 422)


@page("/rejected")
async def desk(page: Page) -> Response[Any]:
    """Those that nothing was done about, unless others are asked for; how many there are of each kind above them."""
    return await _desk(page)


async def _desk(
    page: Page, *, errors: dict[str, str] | None = None, chosen: frozenset[str] = frozenset()
) -> Response[Any]:
    terms = page.given(*_FILTERS)
    if not page.asked:
        terms["state"] = "open"
    found, unfit = await page.listed("/api/rejected", terms)
    errors = unfit | (errors or {})
    return page.show(
        "rejected.html",
        title=page.words.text("Rejected events"),
        status=422 if errors else 200,
        counts=await page.ask.get("/api/rejected/counts"),
        found=found,
        terms=terms,
        states=STATES,
        chosen=chosen,
        errors=errors,
        export=files("/api/rejected", **terms),
    )


@page("/rejected", method="POST")
async def act_on_many(page: Page) -> Response[Any]:
    """Sends those that were ticked again as they were, all or none; or sets them aside, each by itself."""
    chosen = page.form.all("id")
    if page.form["do"] not in ("resubmit", "set-aside"):
        raise Problem({"status": 404, "detail": ""})
    if not chosen:
        return await _desk(page, errors={"": page.words.text("Tick the events first.")})
    reason = page.form["reason"]
    done = 0
    try:
        if page.form["do"] == "resubmit":
            answer = await page.change("POST", "/api/rejected/resubmit", {"ids": chosen, "reason": reason})
            done = len(answer["submitted"])
        else:
            for one in chosen:
                await page.ask.send(
                    "POST",
                    f"/api/rejected/{quote(one, safe='')}/set-aside",
                    {"reason": reason},
                    csrf=page.form["csrf"],
                    once=f"{page.form['once']}-{one}",
                )
                done += 1
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        errors = wrong(problem)
        if done:
            said = page.words.count("%(n)s event was set aside.", "%(n)s events were set aside.", done)
            errors[""] = f"{errors.get('', str(problem))} {said}"
        return await _desk(page, errors=errors, chosen=frozenset(chosen[done:]))
    return go("/rejected", **{page.form["do"].replace("-", "_"): done})


@page("/rejected/{rejected_id:str}")
async def event(page: Page, rejected_id: str) -> Response[Any]:
    return await _event(page, rejected_id)


async def _event(page: Page, rejected_id: str, *, errors: dict[str, str] | None = None) -> Response[Any]:
    found = await page.ask.get(f"/api/rejected/{quote(rejected_id, safe='')}")
    return page.show(
        "rejected_event.html",
        title=page.words.text("Rejected event %(rejected_id)s", rejected_id=rejected_id),
        status=422 if errors else 200,
        found=found,
        event=found["event"],
        text=page.form["event"] or _readable(found["payload"]),
        errors=errors or {},
    )


@page("/rejected/{rejected_id:str}/{what:str}", method="POST")
async def act_on_event(page: Page, rejected_id: str, what: str) -> Response[Any]:
    """Sends an event again, as it was or in other words, or sets it aside."""
    path = f"/api/rejected/{quote(rejected_id, safe='')}"
    body: Json = {"reason": page.form["reason"]}
    try:
        if what == "resubmit":
            before = await page.ask.get(path)
            # A browser sends the ends of lines in its own way.
            typed = page.form["event"].replace("\r\n", "\n")
            if typed and typed != _readable(before["payload"]).strip():
                body["event"] = json.loads(typed)
            if page.form["force"]:
                body["force"] = True
        elif what == "set-aside":
            body = {"reason": page.form["why"]}
        else:
            raise Problem({"status": 404, "detail": ""})
        await page.change("POST", f"{path}/{what}", body)
    except json.JSONDecodeError as error:
        line = page.words.text(
            "this is not JSON: line %(line)s, column %(column)s", line=error.lineno, column=error.colno
        )
        return await _event(page, rejected_id, errors={"event": line})
    except Problem as problem:
        if problem.status not in _REFUSED or what not in ("resubmit", "set-aside"):
            raise
        errors = wrong(problem)
        if what == "set-aside" and "reason" in errors:
            errors["why"] = errors.pop("reason")
        return await _event(page, rejected_id, errors=errors)
    return go(f"/rejected/{rejected_id}", done=what)


def _readable(text: str) -> str:
    """The event with a line for each field, where it is JSON."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except json.JSONDecodeError:
        return text


ROUTES = (desk, act_on_many, event, act_on_event)
