"""Signing in and out, the first password, the language and the theme."""

from typing import Any

import msgspec
from litestar import Response
from litestar.datastructures import Cookie
from litestar.response import Redirect

from connectors.console.asking import Problem
from connectors.console.page import LANGUAGE_COOKIE, THEME_COOKIE, Page, go, page, wrong

_YEAR_SECONDS = 31_536_000


@page("/login", access="public")
async def login(page: Page) -> Response[Any]:
    return page.show("login.html", title=page.words.text("Sign in"), next=_inside(page.asked.get("next", "")))


@page("/login", method="POST", access="public")
async def sign_in(page: Page) -> Response[Any]:
    following = _inside(page.form["next"])
    body = {"name": page.form["name"], "password": page.form["password"]}
    answer = await page.ask.answer(
        "POST", "/api/session", {"content-type": "application/json"}, msgspec.json.encode(body)
    )
    if not answer.is_success:
        problem = Problem(answer.json())
        errors = {"": page.words.text("The name or the password is wrong")} if problem.status == 401 else wrong(problem)
        return page.show(
            "login.html", title=page.words.text("Sign in"), status=problem.status, errors=errors, next=following
        )
    response: Response[Any] = go(following or "/")
    # The session's cookie, as the API has made it: HttpOnly, SameSite=Strict, Secure where there is TLS.
    response.headers["Set-Cookie"] = answer.headers["set-cookie"]
    return response


@page("/first-password", access="public")
async def first_password(page: Page) -> Response[Any]:
    return page.show("first_password.html", title=page.words.text("Set a password"))


@page("/first-password", method="POST", access="public")
async def set_first_password(page: Page) -> Response[Any]:
    words, form = page.words, page.form
    errors = {}
    if form["password"] != form["again"]:
        errors = {"again": words.text("The two passwords differ")}
    else:
        try:
            body = {"name": form["name"], "token": form["token"], "password": form["password"]}
            await page.ask.send("POST", "/api/session/token", body)
        except Problem as problem:
            errors = (
                {"": words.text("The name or the token does not count")} if problem.status == 401 else wrong(problem)
            )
    if errors:
        return page.show("first_password.html", title=words.text("Set a password"), status=422, errors=errors)
    return go("/login")


@page("/logout", method="POST")
async def sign_out(page: Page) -> Response[Any]:
    answer = await page.ask.answer("POST", "/api/session/end", {"X-CSRF-Token": page.form["csrf"]})
    if not answer.is_success:
        raise Problem(answer.json())
    response: Response[Any] = go("/login")
    response.headers["Set-Cookie"] = answer.headers["set-cookie"]
    return response


@page("/settings", method="POST", access="public")
async def choose(page: Page) -> Response[Any]:
    """The language and the theme of this browser."""
    response: Response[Any] = Redirect(_inside(page.form["next"]) or "/", status_code=303)
    for name, field in ((LANGUAGE_COOKIE, "language"), (THEME_COOKIE, "theme")):
        if field in page.form:
            response.cookies.append(Cookie(name, value=page.form[field], max_age=_YEAR_SECONDS, samesite="strict"))
    return response


@page("/")
async def start(page: Page) -> Response[Any]:
    """The first screen after signing in is «Найти клиента» (R1.1-02); whoever may not see clients gets another."""
    return go("/clients" if page.may("clients.see") else "/users" if page.may("users.see") else "/keys")


def _inside(address: str) -> str:
    """An address within the console; empty for any other."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\")) else ""


ROUTES = (login, sign_in, first_password, set_first_password, sign_out, choose, start)
