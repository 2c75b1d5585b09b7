"""Requests to release numbers (§1.4, steps 3 to 6): the queues of those who answer, and a request with its way."""

from functools import partial
from typing import Any
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page
from connectors.console.pages import number_words as w
from connectors.console.view import files

QUEUES = {
    "mine": "For me to answer",
    "assistants": w.DESKS["assistants"],
    "keepers": w.DESKS["keepers"],
    "direct_manager": "Direct managers",
    "own": "Asked for by me",
    "all": "All requests",
}
_FIELDS = {
    "approve": ("decision",),
    "refuse": ("decision",),
    "withdraw": ("withdrawal",),
    "ask-client": ("client_id",),
    "consent": ("text", "given_by", "given_on", "document"),
}
_NAMES = {"decision": "reason", "withdrawal": "reason"}
"""Fields that the API calls otherwise: two forms of a page need different ones."""


@page("/number-requests")
async def queue(page: Page) -> Response[Any]:
    """What waits for whoever looks, unless another queue is asked for."""
    here = page.asked.get("queue") or ("mine" if page.may("numbers.release") else "all")
    state = page.asked.get("state", "" if here == "all" else "open")
    terms: Json = {"state": state or None, "number": page.asked.get("number") or None}
    match here:
        case "mine":
            terms |= {"mine": True, "state": None}
        case "own":
            terms["asked_by"] = page.me["user"]
        case "assistants" | "keepers" | "direct_manager":
            terms["desk"] = here
    found, errors = await page.listed("/api/number-requests", terms, partial(w.errors_of, page.words))
    told = {name: str(value).lower() if value is True else value for name, value in terms.items()}
    return page.show(
        "number_requests.html",
        title=page.words.text("Requests to release numbers"),
        status=422 if errors else 200,
        queues=[one for one in QUEUES.items() if one[0] != "mine" or page.may("numbers.release")],
        here=here,
        state=state,
        found=found,
        errors=errors,
        w=w,
        export=files("/api/number-requests", **told),
    )


@page("/number-requests/{request_id:str}")
async def number_request(page: Page, request_id: str) -> Response[Any]:
    return await _request(page, request_id)


async def _request(page: Page, request_id: str, *, errors: dict[str, str] | None = None) -> Response[Any]:
    request = await page.ask.get(f"/api/number-requests/{quote(request_id, safe='')}")
    is_open = request["state"] in ("waiting", "waiting_for_client")
    mine: Json = {"items": ()}
    if is_open and page.may("numbers.release"):
        mine = await page.ask.get("/api/number-requests", mine=True, number=request["number"])
    return page.show(
        "number_request.html",
        title=page.words.text("Request for number %(number)s", number=request["number"]),
        status=422 if errors else 200,
        request=request,
        card=await page.ask.get(f"/api/numbers/{request['number']}/card"),
        is_open=is_open,
        own=request["asked_by"] == page.me["user"],
        may_answer=any(one["request_id"] == request_id for one in mine["items"]),
        answerers=_answerers(await page.ask.get("/api/number-groups"), request),
        errors=errors or {},
        w=w,
    )


def _answerers(desks: Json, request: Json) -> list[str]:
    """Who is at the request's desk, without who has made it."""
    if request["desk"] == "direct_manager":
        found = [one["manager"] for one in desks["direct_managers"] if one["user"] == request["asked_by"]]
    else:
        found = [name for one in desks["groups"] if one["group"] == request["desk"] for name in one["members"]]
    return [name for name in found if name is not None and name != request["asked_by"]]


@page("/number-requests/{request_id:str}/{what:str}", method="POST")
async def act_on_request(page: Page, request_id: str, what: str) -> Response[Any]:
    """Approves, refuses, withdraws; asks the client, or records the agreement. The API decides who may."""
    if what not in _FIELDS:
        raise Problem({"status": 404, "detail": ""})
    try:
        body = page.form.body(page.words, *_FIELDS[what])
        sent = {_NAMES.get(name, name): value for name, value in body.items()}
        await page.change("POST", f"/api/number-requests/{quote(request_id, safe='')}/{what}", sent)
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in (404, 409, 422):
            raise
        first = _FIELDS[what][0]
        errors = w.errors_of(page.words, error, otherwise=first)
        if "reason" in errors:
            errors[first] = errors.pop("reason")
        return await _request(page, request_id, errors=errors)
    return go(f"/number-requests/{request_id}")


ROUTES = (queue, number_request, act_on_request)
