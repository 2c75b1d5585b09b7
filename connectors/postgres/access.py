"""Users, sessions and API keys in PostgreSQL: what `backoffice/users.py` asks of the record, and who asks."""

import hmac
from datetime import datetime, timedelta
from typing import Any, Protocol

import asyncpg

from backoffice.access import Asker, asker
from backoffice.users import MOST_SESSIONS, Key, User
from connectors import tokens
from connectors.postgres.queries import sql

USED_TO = timedelta(minutes=1)
"""How exactly the last use of a session or key is kept: not every request writes."""

SESSIONS_KEPT = timedelta(days=90)
"""Sessions that are over stay so long, for whoever asks who was signed in."""

ANSWERS_KEPT = timedelta(days=1)
"""Answers to changing requests stay so long under their Idempotency-Keys."""


class Queries(Protocol):
    """A pool, a connection or a change under way."""

    async def execute(self, query: str, *arguments: Any) -> str: ...
    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]: ...
    async def fetchrow(self, query: str, *arguments: Any) -> asyncpg.Record | None: ...
    async def fetchval(self, query: str, *arguments: Any) -> Any: ...


class AccessRecord:
    """`queries`: in whose transaction, if any, it works."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    # Who a request is from

    async def asker_of_session(self, token: str, now: datetime, idle_minutes: int) -> Asker | None:
        """Whose session it is; None if it is over or never was."""
        idle_since = now - timedelta(minutes=idle_minutes)
        row = await self._queries.fetchrow(sql("access/session"), tokens.hash_of(token), now, idle_since)
        if row is None:
            return None
        if now - row["used_at"] >= USED_TO:
            await self._queries.execute(sql("access/use_session"), row["session_id"], now)
        return asker(row["name"], row["role"], session_id=row["session_id"])

    async def asker_of_key(self, key: str, now: datetime) -> Asker | None:
        """Whose API key it is; None if it does not count."""
        prefix = tokens.prefix_of(key)
        if prefix is None:
            return None
        row = await self._queries.fetchrow(sql("access/api_key"), prefix)
        given = tokens.hash_of(key)
        if row is None or not hmac.compare_digest(row["secret_hash"], given) or row["expires_at"] <= now:
            return None
        if row["used_at"] is None or now - row["used_at"] >= USED_TO:
            await self._queries.execute(sql("access/use_api_key"), prefix, now)
        return asker(row["name"], row["role"], scopes=frozenset(row["scopes"]), key_prefix=prefix)

    # Sessions

    async def open_session(
        self, session_id: str, token: str, user: str, now: datetime, hours: int, address: str | None, agent: str | None
    ) -> datetime:
        """A new session; until when. The user's oldest ends where there are too many, old ones are forgotten."""
        expires_at = now + timedelta(hours=hours)
        await self._queries.execute(
            sql("access/open_session"), session_id, tokens.hash_of(token), user, now, expires_at, address, agent
        )
        await self._queries.execute(sql("access/end_oldest_sessions"), user, now, MOST_SESSIONS)
        await self._queries.execute(sql("access/forget_sessions"), now - SESSIONS_KEPT)
        return expires_at

    async def end_session(self, token: str, now: datetime, why: str) -> None:
        """Ends the session of a token, if there is one."""
        await self._queries.execute(sql("access/end_session"), tokens.hash_of(token), now, why)

    async def end_sessions(self, name: str, now: datetime, why: str) -> None:
        """Ends all sessions of a user."""
        await self._queries.execute(sql("access/end_sessions"), name, now, why)

    # Users

    async def user(self, name: str) -> User | None:
        """A user by name, locked until the transaction ends."""
        row = await self._queries.fetchrow(sql("access/user"), name)
        return None if row is None else _user(row)

    async def users(self, after: str, limit: int) -> list[User]:
        """Users by name, from the one behind `after` on."""
        return [_user(row) for row in await self._queries.fetch(sql("access/users"), after, limit)]

    async def administrators(self) -> int:
        """How many there are who can sign in."""
        found: int = await self._queries.fetchval(sql("access/administrators"))
        return found

    async def insert_user(self, user: User) -> bool:
        """False: there is one of that name."""
        status = await self._queries.execute(sql("access/insert_user"), *user)
        return status == "INSERT 0 1"

    async def update_user(self, user: User) -> None:
        """Keeps role, name in full, addresses and status."""
        await self._queries.execute(
            sql("access/update_user"), user.name, user.role, user.full_name, user.email, user.phone, user.status
        )

    async def set_password(self, name: str, password_hash: str, now: datetime) -> None:
        """Also uses up the one-time token."""
        await self._queries.execute(sql("access/set_password"), name, password_hash, now)

    async def set_token(self, name: str, token_hash: bytes, expires_at: datetime) -> None:
        """The former token is void."""
        await self._queries.execute(sql("access/set_token"), name, token_hash, expires_at)

    # Failures

    async def waits_until(self, subject: str) -> datetime | None:
        """Until when nobody may try under a name."""
        found: datetime | None = await self._queries.fetchval(sql("access/waits_until"), subject)
        return found

    async def count_attempt(self, subject: str, now: datetime) -> int:
        """Failures in a row, with this try."""
        found: int = await self._queries.fetchval(sql("access/count_attempt"), subject, now)
        return found

    async def wait(self, subject: str, until: datetime) -> None:
        """Nobody may try under the name before."""
        await self._queries.execute(sql("access/wait"), subject, until)

    async def forget_failures(self, subject: str) -> None:
        """It was the right password."""
        await self._queries.execute(sql("access/forget_failures"), subject)

    # Keys

    async def key(self, prefix: str) -> Key | None:
        """A key by the part that may be shown."""
        row = await self._queries.fetchrow(sql("access/key"), prefix)
        return None if row is None else _key(row)

    async def keys(self, user: str | None, after: str, limit: int) -> list[Key]:
        """Keys of a user, or of all, by prefix."""
        return [_key(row) for row in await self._queries.fetch(sql("access/keys"), user, after, limit)]

    async def insert_key(self, key: Key, secret_hash: bytes) -> None:
        """A new key."""
        await self._queries.execute(
            sql("access/insert_key"),
            key.prefix,
            secret_hash,
            key.user,
            key.purpose,
            list(key.scopes),
            key.created_at,
            key.created_by,
            key.expires_at,
        )

    async def revoke_key(self, prefix: str, now: datetime, who: str, why: str) -> None:
        """It does not count any more."""
        await self._queries.execute(sql("access/revoke_key"), prefix, now, who, why)


def _user(row: asyncpg.Record) -> User:
    return User(*(row[field] for field in User._fields))


def _key(row: asyncpg.Record) -> Key:
    return Key(**{**dict(row), "scopes": tuple(row["scopes"])})
