"""«Найти клиента» (§1.1, §2.1) and the card of a client (§3.3)."""

from typing import Any, NamedTuple
from urllib.parse import quote

from litestar import Response

from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page, wrong


class Tab(NamedTuple):
    """A tab. `permission`: without it the tab is not shown."""

    name: str
    text: str
    permission: str | None = None


SEARCHES = (
    Tab("client", "By client"),
    Tab("company", "By company/person"),
    Tab("number", "By phone number"),
    Tab("all", "Everywhere"),
)
_FIELDS = {"client": ("account_id", "name"), "company": ("inn",), "number": ("number",)}

TABS = (
    Tab("accounts", "Accounts"),
    Tab("description", "Description"),
    Tab("more", "More"),
    Tab("tags", "Tags"),
    Tab("products", "Products"),
    Tab("payments", "Payments", "money.see"),
    Tab("top-ups", "Top-ups", "money.see"),
    Tab("write-offs", "Write-offs", "money.see"),
    Tab("discounts", "Discounts", "discounts.see"),
    Tab("locks", "Forbidden regions", "locks.see"),
    Tab("cdrs", "CDR", "calls.see"),
    Tab("traffic", "Traffic by month", "money.see"),
)
_ORDERS = {"payments": "money.pay", "top-ups": "money.top_up", "write-offs": "money.write_off"}


@page("/clients", requires="clients.see")
async def find(page: Page) -> Response[Any]:
    """Four keys: account, name or company, INN, phone number; and one box that finds anything (R1.1-05, R3.3-03)."""
    by = page.asked.get("by") or "client"
    values: Json = {"found": None, "mentions": None, "errors": {}}
    if by == "all" and page.asked.get("text"):
        mentions = values["mentions"] = await _mentions(page, page.asked["text"])
        if (only := _only_page(mentions, page.asked["text"])) is not None:
            return go(only)
    elif any(page.asked.get(name) for name in _FIELDS.get(by, ())):
        try:
            values["found"] = await page.ask.get("/api/clients", **page.given(*_FIELDS[by], "after"))
        except Problem as problem:
            if problem.status != 422:
                raise
            values["errors"] = wrong(problem)
    return page.show("clients.html", title=page.words.text("Find a client"), searches=SEARCHES, by=by, **values)


async def _mentions(page: Page, text: str) -> Json:
    """What mentions a text, by kind; calls and price lists by their ids."""
    found = await page.ask.get("/api/search", text=text)
    name = quote(text, safe="")
    call = await _maybe(page, "calls.see", f"/api/calls/{name}/explain", text)
    versions = await _maybe(page, "prices.see", f"/api/price-lists/{name}/versions", text)
    found["call"] = None if call is None else call["attempt_id"]
    found["price_list"] = text if versions is not None and versions["items"] else None
    found["locks"] = found["locks"] or []
    return found


async def _maybe(page: Page, permission: str, path: str, text: str) -> Json | None:
    """The answer about something with that id, if there is such a thing and whoever asks may see it."""
    if not page.may(permission) or " " in text:
        return None
    try:
        return await page.ask.get(path)
    except Problem as problem:
        if problem.status not in (404, 422):
            raise
        return None


_KINDS = ("call", "price_list", "accounts", "clients", "companies", "numbers", "mentioned", "locks")


def _only_page(found: Json, text: str) -> str | None:
    """Where a text leads that is the id of one thing, and is mentioned nowhere else."""
    if [kind for kind in _KINDS if found[kind]] not in (["call"], ["price_list"], ["accounts"], ["numbers"], ["locks"]):
        return None
    name = quote(text, safe="")
    for kind, path, field in (
        ("accounts", "/accounts", "account_id"),
        ("numbers", "/numbers", "number"),
        ("locks", "/locks", "lock_id"),
    ):
        if [one[field] for one in found[kind]] == [text]:
            return f"{path}/{name}"
    return f"/why/{name}" if found["call"] else f"/price-lists/{name}" if found["price_list"] else None


@page("/accounts/{account_id:str}")
async def account(page: Page, account_id: str) -> Response[Any]:
    """An account leads to its client's card."""
    found = await page.ask.get(f"/api/accounts/{account_id}")
    return go(f"/clients/{found['client_id']}", account=account_id, tab=page.asked.get("tab"))


@page("/clients/{client_id:str}")
async def card(page: Page, client_id: str) -> Response[Any]:
    return await _card(page, client_id, page.asked.get("tab") or "accounts", page.asked.get("account"))


async def _card(
    page: Page, client_id: str, tab: str, account_id: str | None, *, errors: dict[str, str] | None = None
) -> Response[Any]:
    client = await page.ask.get(f"/api/clients/{client_id}")
    accounts = [one["account_id"] for one in client["accounts"]]
    chosen = account_id if account_id in accounts else (accounts[0] if accounts else None)
    values: Json = {"tabs": [one for one in TABS if one.permission is None or page.may(one.permission)]}
    if chosen is not None:
        values["account"] = await page.ask.get(f"/api/accounts/{chosen}/card") if page.may("money.see") else None
        values["content"] = await _content(page, tab, chosen)
    else:
        values |= {"account": None, "content": None}
    return page.show(
        "client.html",
        title=client["name"],
        status=422 if errors else 200,
        client=client,
        chosen=chosen,
        tab=tab,
        orders=_ORDERS,
        errors=errors or {},
        **values,
    )


async def _content(page: Page, tab: str, account_id: str) -> Json | None:
    """What a tab shows of an account beyond the card."""
    after = page.asked.get("after") or None
    match tab:
        case "payments" | "top-ups" | "write-offs":
            return await page.ask.get(f"/api/accounts/{account_id}/{tab}", after=after)
        case "discounts":
            return await page.ask.get(f"/api/accounts/{account_id}/discounts")
        case "products":
            return await page.ask.get(f"/api/accounts/{account_id}/services")
        case "locks":
            number = page.asked.get("number") or None
            return await page.ask.get("/api/locks", account_id=account_id, scope="account", number=number, after=after)
        case _:
            return None


@page("/accounts/{account_id:str}/balance")
async def balance(page: Page, account_id: str) -> Response[Any]:
    """«Обновить»: the account as it is now (R3.3-06)."""
    found = await page.ask.get(f"/api/accounts/{account_id}/card")
    return page.show("_account.html", title="", account=found)


@page("/clients/{client_id:str}/{tab:str}", method="POST")
async def order(page: Page, client_id: str, tab: str) -> Response[Any]:
    """A payment, a top-up or a write-off."""
    account_id = page.form["account"]
    try:
        body = page.form.body(page.words, "amount_micros", "reference", "reason")
        await page.change("POST", f"/api/accounts/{account_id}/{tab}", body)
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in (409, 422):
            raise
        return await _card(page, client_id, tab, account_id, errors=wrong(error))
    return go(f"/clients/{client_id}", account=account_id, tab=tab)


ROUTES = (find, account, card, balance, order)
