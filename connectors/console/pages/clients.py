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
        values["mentions"] = await _mentions(page, page.asked["text"])
    elif any(page.asked.get(name) for name in _FIELDS.get(by, ())):
        try:
            values["found"] = await page.ask.get("/api/clients", **page.given(*_FIELDS[by], "after"))
        except Problem as problem:
            if problem.status != 422:
                raise
            values["errors"] = wrong(problem)
    return page.show("clients.html", title=page.words.text("Find a client"), searches=SEARCHES, by=by, **values)


async def _mentions(page: Page, text: str) -> Json:
    found = await page.ask.get("/api/search", text=text)
    found["call"] = None
    if page.may("calls.see") and " " not in text:
        try:
            found["call"] = (await page.ask.get(f"/api/calls/{quote(text, safe='')}/explain"))["attempt_id"]
        except Problem as problem:
            if problem.status not in (404, 422):
                raise
    return found


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
