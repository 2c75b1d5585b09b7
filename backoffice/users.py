"""Users, their passwords and API keys: what may be done with them, as use cases over ports.

Nobody has a password to begin with: whoever enters a user gets a one-time token, and the user sets the password with
it. Guessing gets slower with each failure, whether the name exists or not. Moments are arguments, by the real clock.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple, Protocol

from msgspec import Meta, Struct, structs

from backoffice.access import (
    PERMISSIONS,
    ROLE_PERMISSIONS,
    USER_NAME,
    Asker,
    Role,
    password_problem,
    wait_seconds,
)
from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Refusal, Unfit
from backoffice.words import Reason, shaped

LONGEST_KEY_DAYS = 366
"""A key that is never renewed is never looked at again."""

MOST_SESSIONS = 20
"""Of one user at once; the oldest ends when there is one more."""


UserName = Annotated[
    str,
    shaped(
        USER_NAME,
        "is no user name; give 2 to 32 small Latin letters, digits, dots, dashes or underscores, a letter first",
        examples=["ivanov"],
    ),
]


class User(NamedTuple):
    """A user as the record has it."""

    name: str
    role: Role
    full_name: str
    email: str | None
    phone: str | None
    status: str
    password_hash: str | None
    token_hash: bytes | None
    token_expires_at: datetime | None
    created_at: datetime
    created_by: str

    def told(self) -> dict[str, Any]:
        """For the audit: without anything secret."""
        return {
            "name": self.name,
            "role": self.role,
            "full_name": self.full_name,
            "email": self.email,
            "phone": self.phone,
            "status": self.status,
        }


class Key(NamedTuple):
    """An API key as the record has it: never the key itself."""

    prefix: str
    user: str
    purpose: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_why: str | None

    def told(self) -> dict[str, Any]:
        """For the audit."""
        return {
            "prefix": self.prefix,
            "user": self.user,
            "purpose": self.purpose,
            "scopes": self.scopes,
            "expires_at": self.expires_at,
        }


class NewUser(Struct, frozen=True, forbid_unknown_fields=True):
    """A user to be entered."""

    name: UserName
    role: Role
    full_name: Annotated[str, Meta(min_length=1, max_length=200, examples=["Иванов Иван Иванович"])]
    email: Annotated[str, Meta(min_length=3, max_length=254, examples=["ivanov@example.org"])] | None = None
    phone: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    reason: Reason = "entered"


class UserChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; what is left out stays."""

    reason: Reason
    role: Role | None = None
    full_name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    email: Annotated[str, Meta(min_length=3, max_length=254)] | None = None
    phone: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    enabled: bool | None = None


class NewKeyAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """An API key to be made."""

    purpose: Annotated[str, Meta(min_length=1, max_length=200, examples=["nightly export to the warehouse"])]
    scopes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100, examples=[["clients.see", "money.see"]])]
    """Permissions; those of one's own role at most."""
    expires_in_days: Annotated[int, Meta(ge=1, le=LONGEST_KEY_DAYS)] = 90


class UserRecord(Protocol):
    """What the use cases need of the record."""

    async def user(self, name: str) -> User | None: ...
    async def count_attempt(self, subject: str, now: datetime) -> int:
        """Counts a try as a failure until it has succeeded; how many there were in a row, this one included."""
        ...

    async def waits_until(self, subject: str) -> datetime | None: ...
    async def wait(self, subject: str, until: datetime) -> None: ...
    async def forget_failures(self, subject: str) -> None: ...
    async def set_password(self, name: str, password_hash: str, now: datetime) -> None:
        """Also uses up the one-time token."""
        ...

    async def set_token(self, name: str, token_hash: bytes, expires_at: datetime) -> None: ...
    async def insert_user(self, user: User) -> bool:
        """False: there is one of that name."""
        ...

    async def update_user(self, user: User) -> None: ...
    async def end_sessions(self, name: str, now: datetime, why: str) -> None: ...
    async def administrators(self) -> int:
        """How many users are enabled and have the role."""
        ...

    async def key(self, prefix: str) -> Key | None: ...
    async def insert_key(self, key: Key, secret_hash: bytes) -> None: ...
    async def revoke_key(self, prefix: str, now: datetime, who: str, why: str) -> None: ...


class Hashing(Protocol):
    """How passwords are kept."""

    async def hash(self, password: str) -> str: ...
    async def fits(self, password: str, kept: str | None) -> bool: ...
    def outdated(self, kept: str) -> bool: ...


class Trail(Protocol):
    """The audit of the change that a use case is part of."""

    async def audit(self, entity: str, entity_id: str, action: str, before: object, after: object) -> None: ...


class WrongPassword(Refusal):
    """The name or the password is wrong, or nobody may sign in under it: it is not told which."""


class TooSoon(Refusal):
    """Too many tries have failed; `seconds` later there is another one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {seconds} s")
        self.seconds = seconds


# -- signing in -------------------------------------------------------------------------------------------------------


async def sign_in(record: UserRecord, hashing: Hashing, name: str, password: str, now: datetime) -> User:
    """The user whose name and password these are. Raises WrongPassword, TooSoon.

    It takes as long for a name that is not there, and counts its failures as well.
    """
    await _not_too_soon(record, name, now)
    user = await record.user(name)
    kept = user.password_hash if user is not None and user.status == "active" else None
    if not await hashing.fits(password, kept) or user is None or kept is None:
        raise WrongPassword("the name or the password is wrong")
    await record.forget_failures(name)
    if hashing.outdated(kept):
        await record.set_password(name, await hashing.hash(password), now)
    return user


async def _not_too_soon(record: UserRecord, name: str, now: datetime) -> None:
    until = await record.waits_until(name)
    if until is not None and until > now:
        raise TooSoon(max(1, -(-(until - now) // timedelta(seconds=1))))
    # Counted beforehand: tries that come at the same moment would all be free otherwise.
    if wait := wait_seconds(await record.count_attempt(name, now)):
        await record.wait(name, now + timedelta(seconds=wait))


async def change_password(
    record: UserRecord, trail: Trail, hashing: Hashing, user: User, new: str, now: datetime
) -> None:
    """Replaces the password of a user who has just proved with `sign_in` that he or she knows it. All sessions of the
    user end. Raises Unfit.
    """
    await _set_password(record, trail, hashing, user, new, now, pointer="/new_password")


async def use_token(
    record: UserRecord, trail: Trail, hashing: Hashing, name: str, token_hash: bytes, new: str, now: datetime
) -> User:
    """Sets a password by a one-time token, which is used up. Raises WrongPassword, Unfit."""
    user = await record.user(name)
    if (
        user is None
        or user.status != "active"
        or user.token_hash != token_hash
        or user.token_expires_at is None
        or user.token_expires_at <= now
    ):
        raise WrongPassword("the token is none of this user's, was used, or is too old; ask for another one")
    await _set_password(record, trail, hashing, user, new, now, pointer="/password")
    return user


async def _set_password(
    record: UserRecord, trail: Trail, hashing: Hashing, user: User, new: str, now: datetime, *, pointer: str
) -> None:
    if (problem := password_problem(new, user.name)) is not None:
        raise Unfit([FieldProblem(pointer, problem)])
    await record.set_password(user.name, await hashing.hash(new), now)
    await record.end_sessions(user.name, now, "the password was changed")
    await record.forget_failures(user.name)
    await trail.audit("user", user.name, "password", None, None)


# -- looking after users ----------------------------------------------------------------------------------------------


async def add_user(
    record: UserRecord, trail: Trail, by: str, new: NewUser, token_hash: bytes, expires_at: datetime, now: datetime
) -> User:
    """Enters a user, who has a one-time token and no password. Raises InTheWay for a name that is taken."""
    user = User(
        new.name, new.role, new.full_name, new.email, new.phone, "active", None, token_hash, expires_at, now, by
    )
    if not await record.insert_user(user):
        raise InTheWay(f"there is a user {new.name!r} already")
    await trail.audit("user", user.name, "enter", None, user.told())
    return user


async def change_user(
    record: UserRecord, trail: Trail, asker: Asker | None, name: str, wanted: UserChange, now: datetime
) -> User:
    """Changes a user. Another role or being disabled ends all sessions of the user. `asker` None: whoever works on the
    machine itself.

    Raises NotThere; NotAllowed for one's own role; InTheWay when nobody would be left to look after users.
    """
    user = await _existing(record, name)
    fields = {
        field: value
        for field, value in structs.asdict(wanted).items()
        if field in ("role", "full_name", "email", "phone") and value is not None
    }
    if wanted.enabled is not None:
        fields["status"] = "active" if wanted.enabled else "disabled"
    changed = user._replace(**fields)
    if changed == user:
        return user
    rights_changed = (changed.role, changed.status) != (user.role, user.status)
    if rights_changed and asker is not None and asker.user == name:
        raise NotAllowed(
            "nobody changes his or her own role or disables himself or herself",
            permission="users.manage",
            ask="another administrator",
        )
    was_administrator = user.role == "administrator" and user.status == "active"
    is_administrator = changed.role == "administrator" and changed.status == "active"
    if was_administrator and not is_administrator and await record.administrators() <= 1:
        raise InTheWay("this is the last administrator: enter another one first")
    await record.update_user(changed)
    if rights_changed:
        await record.end_sessions(name, now, "the role was changed" if wanted.enabled is None else "disabled")
    await trail.audit("user", name, "change", user.told(), changed.told())
    return changed


async def issue_token(record: UserRecord, trail: Trail, name: str, token_hash: bytes, expires_at: datetime) -> User:
    """Gives a user another one-time token: for a password that was forgotten. The former one is void. Raises NotThere,
    InTheWay for a disabled user.
    """
    user = await _existing(record, name)
    if user.status != "active":
        raise InTheWay(f"user {name!r} is disabled: enable the user first")
    await record.set_token(name, token_hash, expires_at)
    await trail.audit("user", name, "token", None, {"expires_at": expires_at})
    return user


async def _existing(record: UserRecord, name: str) -> User:
    user = await record.user(name)
    if user is None:
        raise NotThere("user", name)
    return user


# -- API keys ---------------------------------------------------------------------------------------------------------


async def add_key(
    record: UserRecord,
    trail: Trail,
    by: str,
    user: User,
    asked: NewKeyAsked,
    prefix: str,
    secret_hash: bytes,
    now: datetime,
    *,
    within: frozenset[str] | None = None,
) -> Key:
    """Makes a key for a user: its scopes are some of what the role allows. `within`: what the asker has, who can't give
    away more than that. Raises Unfit.
    """
    problems = []
    for place, scope in enumerate(asked.scopes):
        if scope not in PERMISSIONS:
            problems.append(FieldProblem(f"/scopes/{place}", f"there is no permission {scope[:64]!r}"))
        elif scope not in ROLE_PERMISSIONS[user.role] or (within is not None and scope not in within):
            problems.append(FieldProblem(f"/scopes/{place}", f"{scope} is more than {user.name} may"))
    if problems:
        raise Unfit(problems)
    scopes = tuple(dict.fromkeys(asked.scopes))
    expires_at = now + timedelta(days=asked.expires_in_days)
    key = Key(prefix, user.name, asked.purpose, scopes, now, by, expires_at, None, None, None, None)
    await record.insert_key(key, secret_hash)
    await trail.audit("api_key", prefix, "make", None, key.told())
    return key


async def revoke_key(
    record: UserRecord, trail: Trail, asker: Asker | None, prefix: str, reason: str, now: datetime
) -> Key:
    """Ends a key, one's own or, with `users.manage`, anyone's; ending it twice changes nothing. Raises NotThere."""
    key = await record.key(prefix)
    if key is None or (asker is not None and key.user != asker.user and not asker.may("users.manage")):
        raise NotThere("key", prefix)
    if key.revoked_at is not None:
        return key
    by = "cli" if asker is None else asker.user
    await record.revoke_key(prefix, now, by, reason)
    revoked = key._replace(revoked_at=now, revoked_by=by, revoked_why=reason)
    await trail.audit("api_key", prefix, "revoke", key.told(), None)
    return revoked
