"""`tollgate user …`: users and their API keys, from the machine itself. This is how the first administrator comes in.

Nobody gets a password here: the one-time token that is printed sets it, by POST /api/session/token.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import cyclopts
import msgspec

from backoffice import users as rules
from backoffice.access import ROLE_PERMISSIONS, Role
from backoffice.refusals import NotThere, Refusal
from backoffice.users import NewKeyAsked, NewUser, User, UserChange
from backoffice.words import in_words
from connectors import tokens
from connectors.cli.acting import shell_actor
from connectors.cli.app import Refused, app, out, print_json, print_table
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import change
from connectors.postgres.clock import BusinessClock, real_now_us
from connectors.postgres.database import Database, DatabaseTrouble, open_database
from connectors.settings import HttpSettings, database_settings, http_settings
from schemas.times import from_datetime, to_datetime, to_text

user = cyclopts.App(name="user", help="Users, their roles and API keys.")
app.command(user)

AsJson = Annotated[bool, cyclopts.Parameter(help="Print the answer as JSON.")]
Reason = Annotated[str, cyclopts.Parameter(help="Why; the audit keeps it.")]
Name = Annotated[str, cyclopts.Parameter(help="What the user signs in with: small letters, digits, '.', '_', '-'.")]

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


@user.command
def add(
    name: Name,
    *,
    role: Role,
    full_name: Annotated[str | None, cyclopts.Parameter(help="The name in full; the short one if left out.")] = None,
    email: Annotated[str | None, cyclopts.Parameter(help="How colleagues reach the user.")] = None,
    reason: Reason = "entered at the command line",
    json: AsJson = False,
) -> None:
    """Enter a user and print the one-time token that sets the password."""
    new = _fit(NewUser, name=name, role=role, full_name=full_name or name, email=email, reason=reason)
    http = http_settings()
    token = tokens.new_token()

    async def work(database: Database) -> User:
        now = to_datetime(real_now_us())
        async with _change(database, http, await _moment(database, http), reason) as tx:
            expires_at = now + timedelta(hours=http.one_time_token_hours)
            return await rules.add_user(
                AccessRecord(tx), tx, shell_actor(), new, tokens.hash_of(token), expires_at, now
            )

    _tell_token(_run(work), token, json=json)


@user.command
def token(name: Name, *, reason: Reason = "issued at the command line", json: AsJson = False) -> None:
    """Print another one-time token for a user who has lost the password; the former token is void."""
    http = http_settings()
    new = tokens.new_token()

    async def work(database: Database) -> User:
        async with _change(database, http, await _moment(database, http), reason) as tx:
            expires_at = to_datetime(real_now_us()) + timedelta(hours=http.one_time_token_hours)
            found = await rules.issue_token(AccessRecord(tx), tx, name, tokens.hash_of(new), expires_at)
            return found._replace(token_expires_at=expires_at)

    _tell_token(_run(work), new, json=json)


@user.command(name="list")
def list_(*, json: AsJson = False) -> None:
    """List the users."""

    async def work(database: Database) -> list[User]:
        return await AccessRecord(database.pool).users("", 100_000)

    found = _run(work)
    if json:
        print_json([one.told() | {"has_password": one.password_hash is not None} for one in found])
    else:
        print_table(
            "Users",
            ("name", "role", "full name", "status", "password"),
            [
                (one.name, one.role, one.full_name, one.status, "set" if one.password_hash is not None else "–")
                for one in found
            ],
        )


@user.command(name="change")
def change_(
    name: Name,
    *,
    reason: Reason,
    role: Role | None = None,
    full_name: str | None = None,
    email: str | None = None,
    enabled: Annotated[
        bool | None, cyclopts.Parameter(negative="--disabled", help="Whether the user may sign in at all.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Change a user's role or data, enable or disable; another role ends the user's sessions."""
    wanted = _fit(UserChange, reason=reason, role=role, full_name=full_name, email=email, enabled=enabled)
    http = http_settings()

    async def work(database: Database) -> User:
        async with _change(database, http, await _moment(database, http), reason) as tx:
            return await rules.change_user(AccessRecord(tx), tx, None, name, wanted, to_datetime(real_now_us()))

    found = _run(work)
    if json:
        print_json(found.told())
    else:
        _say(f"{found.name}: {found.role}, {found.status}")


@user.command
def key(
    name: Name,
    *,
    purpose: Annotated[str, cyclopts.Parameter(help="What the key is for.")],
    scope: Annotated[
        tuple[str, ...],
        cyclopts.Parameter(help="A permission, as in clients.see; may be repeated. All of the role's if left out."),
    ] = (),
    days: Annotated[int, cyclopts.Parameter(help="How long it counts.")] = 90,
    json: AsJson = False,
) -> None:
    """Make an API key for a user and print it, once."""
    new = tokens.new_key()
    http = http_settings()

    async def work(database: Database) -> rules.Key:
        async with _change(database, http, await _moment(database, http), f"key for: {purpose}") as tx:
            record = AccessRecord(tx)
            found = await record.user(name)
            if found is None:
                raise NotThere("user", name)
            scopes = scope or tuple(sorted(ROLE_PERMISSIONS[found.role]))
            asked = _fit(NewKeyAsked, purpose=purpose, scopes=scopes, expires_in_days=days)
            return await rules.add_key(
                record, tx, shell_actor(), found, asked, new.prefix, new.secret_hash, to_datetime(real_now_us())
            )

    made = _run(work)
    if json:
        print_json({"key": new.text, "prefix": made.prefix, "scopes": list(made.scopes)})
    else:
        _say(f"{new.text}\n  counts until {_text(made)}; it is shown this once")


@user.command
def revoke(prefix: Annotated[str, cyclopts.Parameter(help="The key's prefix.")], *, reason: Reason) -> None:
    """Revoke an API key."""
    http = http_settings()

    async def work(database: Database) -> rules.Key:
        async with _change(database, http, await _moment(database, http), reason) as tx:
            return await rules.revoke_key(AccessRecord(tx), tx, None, prefix, reason, to_datetime(real_now_us()))

    _run(work)
    _say(f"{prefix} counts no more")


def _tell_token(found: User, token: str, *, json: bool) -> None:
    assert found.token_expires_at is not None, "it was just issued"
    until = to_text(from_datetime(found.token_expires_at))
    if json:
        print_json({"name": found.name, "role": found.role, "token": token, "token_expires_at": until})
    else:
        _say(
            f"{token}\n  sets the password of {found.name} ({found.role}) once, until {until}: "
            "POST /api/session/token with name, token and password"
        )


def _text(made: rules.Key) -> str:
    return to_text(from_datetime(made.expires_at))


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _change(database: Database, http: HttpSettings, at: Any, reason: str) -> Any:
    if not reason.strip():
        raise Refused("--reason: say why in a few words; the audit keeps it")
    return change(database.pool, actor=shell_actor(), reason=reason, at=at, interface="cli")


async def _moment(database: Database, http: HttpSettings) -> Any:
    return await BusinessClock(settable=http.settable_clock).now(database.pool)


def _fit(kind: type[S], **values: Any) -> S:
    """The values as the API would take them. Raises Refused."""
    try:
        return msgspec.convert({name: value for name, value in values.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        text = in_words(str(error))
        if "$.name" in text:
            text = (
                f"{values['name']!r} can't be a user's name: take 2 to 32 small letters, digits, '.', '_', '-', "
                "the first one a letter"
            )
        raise Refused(text) from None


def _run(work: Callable[[Database], Awaitable[T]]) -> T:
    settings = database_settings()

    async def opened() -> T:
        async with open_database(settings) as database:
            return await work(database)

    try:
        return asyncio.run(opened())
    except (DatabaseTrouble, Refusal) as refused:
        raise Refused(str(refused)) from None
