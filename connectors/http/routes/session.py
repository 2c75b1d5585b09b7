"""Signing in and out, and one's own password."""

import secrets
from typing import Annotated

from litestar import Response
from litestar.datastructures import Cookie
from msgspec import Meta, Struct

from backoffice import users as rules
from backoffice.access import LONGEST_PASSWORD, ROLE_PERMISSIONS, USER_NAME, Role
from backoffice.users import TooSoon, WrongPassword
from connectors import tokens
from connectors.http.call import Call
from connectors.http.problems import Problem
from connectors.http.reading import JSON
from connectors.http.route import PUBLIC, SIGNED_IN, check, get, post
from connectors.postgres.access import AccessRecord
from connectors.postgres.clock import real_now_us
from connectors.postgres.database import Pool
from schemas.times import from_datetime, to_datetime, to_text
from schemas.words import Moment

Name = Annotated[str, Meta(min_length=1, max_length=64, examples=["ivanov"])]
Password = Annotated[str, Meta(min_length=1, max_length=LONGEST_PASSWORD * 4, extra_json_schema={"format": "password"})]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in."""

    name: Name
    password: Password

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r})"


class TokenUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A one-time token and the password that it sets."""

    name: Annotated[str, Meta(pattern=USER_NAME, examples=["ivanov"])]
    token: Annotated[str, Meta(min_length=1, max_length=100)]
    password: Password

    def __repr__(self) -> str:
        return f"TokenUse(name={self.name!r})"


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """One's own password, old and new."""

    old_password: Password
    new_password: Password

    def __repr__(self) -> str:
        return "PasswordChange()"


class Me(Struct, frozen=True):
    """Who is asking, and what he or she may."""

    user: str
    role: Role
    permissions: tuple[str, ...]
    key: str | None
    """The prefix of the API key, where it is one."""
    csrf_token: str | None
    """To be sent as X-CSRF-Token with changing requests of this session; null for a key, which needs none."""


class SignedIn(Struct, frozen=True):
    """A new session; its cookie is in the response."""

    user: str
    role: Role
    permissions: tuple[str, ...]
    csrf_token: str
    """To be sent as X-CSRF-Token with changing requests of this session."""
    expires_at: Moment


@check("/api/session", requires=PUBLIC, summary="Sign in with name and password", login=True, problems=(401,))
async def sign_in(call: Call, sent: Credentials) -> Response[SignedIn]:
    # Not in one transaction: failures count though the answer is a refusal.
    pool = call.services.database.pool
    record = AccessRecord(pool)
    now = to_datetime(real_now_us())
    user = await proved(call, pool, sent.name, sent.password)
    if call.token is not None:
        # Another session than before, so that nobody who knew the former one's token is signed in now.
        await record.end_session(call.token, now, "signed in anew")
    token = tokens.new_token()
    http = call.services.http
    expires_at = await record.open_session(
        secrets.token_hex(12),
        token,
        user.name,
        now,
        http.session_hours,
        call.address,
        call.request.headers.get("user-agent"),
    )
    may = _permissions(user.role)
    answer = SignedIn(user.name, user.role, may, tokens.csrf_of(token), to_text(from_datetime(expires_at)))
    return Response(answer, media_type=JSON, cookies=[_cookie(call, token, http.session_hours * 3600)])


async def proved(call: Call, pool: Pool, name: str, password: str) -> rules.User:
    """The user who knows this password. Raises Problem 401 or 429."""
    try:
        return await rules.sign_in(
            AccessRecord(pool), call.services.passwords, name, password, to_datetime(real_now_us())
        )
    except WrongPassword as wrong:
        raise Problem(401, "sign-in", wrong.text, headers={"WWW-Authenticate": 'Session realm="tollgate"'}) from None
    except TooSoon as soon:
        raise Problem(429, "too-many", soon.text, retry_after_seconds=soon.seconds) from None


def _permissions(role: Role) -> tuple[str, ...]:
    """A role's permissions, in order."""
    return tuple(sorted(ROLE_PERMISSIONS[role]))


def _cookie(call: Call, token: str, seconds: int) -> Cookie:
    secure = call.services.http.secure_cookies
    return Cookie(
        key=tokens.cookie_name(secure=secure),
        value=token,
        path="/",
        max_age=seconds,
        httponly=True,
        secure=secure,
        samesite="strict",
    )


@get("/api/session", requires=SIGNED_IN, summary="Who is asking, and what he or she may")
async def whoami(call: Call) -> Me:
    who = call.asker
    return Me(
        who.user,
        who.role,
        tuple(sorted(who.permissions)),
        who.key_prefix,
        None if call.token is None else tokens.csrf_of(call.token),
    )


@post("/api/session/end", requires=SIGNED_IN, summary="Sign out", once="none")
async def sign_out(call: Call) -> Response[None]:
    if call.token is not None:
        await AccessRecord(call.pool).end_session(call.token, to_datetime(real_now_us()), "signed out")
    return Response(None, status_code=204, cookies=[_cookie(call, "", 0)])


@post("/api/session/password", requires=SIGNED_IN, summary="Change one's own password", once="none", login=True)
async def change_password(call: Call, sent: PasswordChange) -> None:
    """All sessions of the user end, this one too."""
    # What failed is counted, whatever becomes of the change.
    user = await proved(call, call.services.database.pool, call.asker.user, sent.old_password)
    async with call.change("changed by the user") as tx:
        await rules.change_password(
            AccessRecord(tx), tx, call.services.passwords, user, sent.new_password, to_datetime(real_now_us())
        )


@post(
    "/api/session/token",
    requires=PUBLIC,
    summary="Set a password with a one-time token",
    once="none",
    login=True,
    problems=(401,),
)
async def use_token(call: Call, sent: TokenUse) -> None:
    try:
        async with call.change("set with a one-time token", actor=sent.name) as tx:
            await rules.use_token(
                AccessRecord(tx),
                tx,
                call.services.passwords,
                sent.name,
                tokens.hash_of(sent.token),
                sent.password,
                to_datetime(real_now_us()),
            )
    except WrongPassword as wrong:
        raise Problem(401, "sign-in", wrong.text, headers={"WWW-Authenticate": 'Session realm="tollgate"'}) from None


ROUTES = (sign_in, whoami, sign_out, change_password, use_token)
