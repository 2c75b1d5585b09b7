"""Users, roles and API keys. What is secret is shown once, on the page that answers the form."""

from typing import Any
from urllib.parse import quote

from litestar import Response

from backoffice.access import ROLES
from connectors.console.asking import Json, Problem
from connectors.console.forms import Mistyped
from connectors.console.page import Page, go, page, wrong
from connectors.console.view import files

_REFUSED = (403, 404, 409, 422)
_PERSON = ("full_name", "email", "phone")


@page("/users", requires="users.see")
async def users(page: Page) -> Response[Any]:
    return page.show(
        "users.html",
        title=page.words.text("Users"),
        found=await page.ask.get("/api/users", **page.given("after")),
        export=files("/api/users"),
    )


@page("/new-user", requires="users.manage")
async def new_user(page: Page) -> Response[Any]:
    return _new_user(page)


def _new_user(page: Page, errors: dict[str, str] | None = None) -> Response[Any]:
    title = page.words.text("New user")
    return page.show("new_user.html", title=title, status=422 if errors else 200, errors=errors or {}, roles=ROLES)


@page("/new-user", method="POST")
async def enter_user(page: Page) -> Response[Any]:
    try:
        made = await page.change("POST", "/api/users", page.form.body(page.words, "name", "role", "reason", *_PERSON))
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        return _new_user(page, wrong(problem))
    return _token(page, made)


def _token(page: Page, made: Json) -> Response[Any]:
    """The one-time token: whoever has it sets the password."""
    title = page.words.text("A password for %(user)s", user=made["user"]["name"])
    return page.show("user_token.html", title=title, made=made)


@page("/users/{name:str}", requires="users.see")
async def user(page: Page, name: str) -> Response[Any]:
    return await _user(page, name)


async def _user(page: Page, name: str, errors: dict[str, str] | None = None) -> Response[Any]:
    found = await page.ask.get(f"/api/users/{quote(name, safe='')}")
    return page.show(
        "user.html",
        title=page.words.text("User %(user)s", user=name),
        status=422 if errors else 200,
        user=found,
        typed={**found, **page.form} if len(page.form) else {**found, "reason": ""},
        errors=errors or {},
        roles=ROLES,
    )


@page("/users/{name:str}/{what:str}", method="POST")
async def act_on_user(page: Page, name: str, what: str) -> Response[Any]:
    """Changes a user, shuts him or her out or lets in again, or issues another token."""
    path = f"/api/users/{quote(name, safe='')}"
    try:
        match what:
            case "change":
                await page.change("PATCH", path, page.form.body(page.words, "role", "reason", *_PERSON))
            case "disable" | "enable":
                await page.change("PATCH", path, {"enabled": what == "enable", "reason": page.form["reason"]})
            case "token":
                return _token(page, await page.change("POST", f"{path}/token", {"reason": page.form["reason"]}))
            case _:
                raise Problem({"status": 404, "detail": ""})
    except Problem as problem:
        if problem.status not in _REFUSED or what not in ("change", "disable", "enable", "token"):
            raise
        return await _user(page, name, wrong(problem))
    return go(f"/users/{name}", done="yes")


@page("/roles")
async def roles(page: Page) -> Response[Any]:
    """Which role may what: the table that decides."""
    found = await page.ask.get("/api/permissions")
    return page.show("roles.html", title=page.words.text("Roles"), permissions=found["permissions"], roles=ROLES)


@page("/keys", requires="keys.own")
async def keys(page: Page) -> Response[Any]:
    return await _keys(page)


async def _keys(page: Page, errors: dict[str, str] | None = None, made: Json | None = None) -> Response[Any]:
    whose = page.asked.get("user") or None
    return page.show(
        "keys.html",
        title=page.words.text("API keys"),
        status=422 if errors else 200,
        found=await page.ask.get("/api/keys", user=whose, **page.given("after")),
        scopes=sorted(page.me["permissions"]),
        chosen=page.form.all("scopes") if made is None else [],
        errors=errors or {},
        made=made,
        export=files("/api/keys", user=whose),
    )


@page("/keys", method="POST")
async def make_key(page: Page) -> Response[Any]:
    try:
        body = page.form.body(page.words, "purpose", "expires_in_days")
        made = await page.change("POST", "/api/keys", {**body, "scopes": page.form.all("scopes")})
    except (Problem, Mistyped) as error:
        if isinstance(error, Problem) and error.status not in _REFUSED:
            raise
        return await _keys(page, wrong(error))
    return await _keys(page, made=made)


@page("/keys/{prefix:str}/revoke", method="POST")
async def revoke_key(page: Page, prefix: str) -> Response[Any]:
    try:
        reason = {"reason": page.form[f"why-{prefix}"]}
        await page.change("POST", f"/api/keys/{quote(prefix, safe='')}/revoke", reason)
    except Problem as problem:
        if problem.status not in _REFUSED:
            raise
        return await _keys(page, {f"why-{prefix}": wrong(problem).get("reason", str(problem))})
    return go("/keys")


ROUTES = (users, new_user, enter_user, user, act_on_user, roles, keys, make_key, revoke_key)
