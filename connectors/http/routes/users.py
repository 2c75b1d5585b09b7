"""Users: who they are, what role they have. For administrators; nobody changes his or her own role."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

from backoffice import users as rules
from backoffice.access import PERMISSIONS, ROLES, Role
from backoffice.refusals import NotThere
from backoffice.users import NewUser, User, UserChange
from backoffice.words import Reason
from connectors import tokens
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.route import SIGNED_IN, get, patch, post
from connectors.postgres.access import AccessRecord
from connectors.postgres.clock import real_now_us
from schemas.times import from_datetime, to_datetime, to_text
from schemas.words import Moment


class UserCard(Struct, frozen=True):
    """A user."""

    name: str
    role: Role
    full_name: str
    email: str | None
    phone: str | None
    enabled: bool
    has_password: bool
    """Whether the user can sign in."""
    created_at: Moment
    created_by: str


class UserWithToken(Struct, frozen=True):
    """A user and the one-time token that sets the password: pass it on by a safe way, it is shown once."""

    user: UserCard
    token: str | None
    """Null in the answer to a repeated request: it was shown then."""
    token_expires_at: Moment


class UsersAsked(Struct, frozen=True):
    """Which users."""

    after: After | None = None
    limit: Limit = 100


class TokenAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """Why another token is issued."""

    reason: Reason


class RoleCard(Struct, frozen=True):
    """A role, and what it may."""

    role: Role
    permissions: Annotated[tuple[str, ...], Meta(examples=[["clients.see", "locks.see"]])]


class PermissionCard(Struct, frozen=True):
    """A permission; `allows` ends the sentence "the role may …"."""

    name: str
    allows: str
    roles: tuple[Role, ...]


class AccessTable(Struct, frozen=True):
    """The whole table."""

    permissions: tuple[PermissionCard, ...]


@get("/api/permissions", requires=SIGNED_IN, summary="Which role may what")
async def permissions(call: Call) -> AccessTable:
    return AccessTable(
        tuple(
            PermissionCard(one.name, one.text, tuple(role for role in ROLES if role in one.roles))
            for one in PERMISSIONS.values()
        )
    )


@get("/api/users", requires="users.see", summary="Users by name")
async def users(call: Call, asked: UsersAsked) -> Page[UserCard]:
    place = place_of(asked.after, str)
    found = await AccessRecord(call.pool).users("" if place is None else place[0], asked.limit + 1)
    return page(found, asked.limit, card, lambda user: cursor(user.name))


@get("/api/users/{name:str}", requires="users.see", summary="A user", problems=(404,))
async def user(call: Call, name: str) -> UserCard:
    found = await AccessRecord(call.pool).user(name)
    if found is None:
        raise NotThere("user", name)
    return card(found)


@post("/api/users", requires="users.manage", summary="Enter a user", status=201, shown_once=("token",), problems=(409,))
async def enter_user(call: Call, sent: NewUser) -> UserWithToken:
    token, now = tokens.new_token(), to_datetime(real_now_us())
    expires_at = now + timedelta(hours=call.services.http.one_time_token_hours)
    async with call.change(sent.reason) as tx:
        added = await rules.add_user(
            AccessRecord(tx), tx, call.asker.actor, sent, tokens.hash_of(token), expires_at, now
        )
    return UserWithToken(card(added), token, to_text(from_datetime(expires_at)))


@patch("/api/users/{name:str}", requires="users.manage", summary="Change a user", problems=(404, 409))
async def change_user(call: Call, name: str, sent: UserChange) -> UserCard:
    async with call.change(sent.reason) as tx:
        changed = await rules.change_user(AccessRecord(tx), tx, call.asker, name, sent, to_datetime(real_now_us()))
    return card(changed)


@post(
    "/api/users/{name:str}/token",
    requires="users.manage",
    summary="Issue another one-time token to a user",
    status=201,
    shown_once=("token",),
    problems=(404, 409),
)
async def issue_token(call: Call, name: str, sent: TokenAsked) -> UserWithToken:
    token = tokens.new_token()
    expires_at = to_datetime(real_now_us()) + timedelta(hours=call.services.http.one_time_token_hours)
    async with call.change(sent.reason) as tx:
        found = await rules.issue_token(AccessRecord(tx), tx, name, tokens.hash_of(token), expires_at)
    return UserWithToken(card(found), token, to_text(from_datetime(expires_at)))


def card(user: User) -> UserCard:
    """A user as others see him or her."""
    return UserCard(
        user.name,
        user.role,
        user.full_name,
        user.email,
        user.phone,
        user.status == "active",
        user.password_hash is not None,
        to_text(from_datetime(user.created_at)),
        user.created_by,
    )


ROUTES = (permissions, users, user, enter_user, change_user, issue_token)
