"""The API in a test: the real application on a real database, asked without a network.

    def test_something(database):
        async def story(db: Database) -> None:
            async with api_on(db) as api:
                answer = await api.ask("GET", "/api/providers", role="manager")
                assert answer.status_code == 200, answer.text

        database.run(story, role=APP)

`ask` signs in by an API key of a user of that role, who is entered when first needed; `role=None` is nobody.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from argon2 import PasswordHasher
from litestar.handlers import BaseRouteHandler

from backoffice.access import ROLE_PERMISSIONS, ROLES, Role
from backoffice.users import Key, User
from connectors import tokens
from connectors.http import Services, create_app
from connectors.http.app import routes_of
from connectors.http.passwords import Passwords
from connectors.http.route import Route
from connectors.postgres.access import AccessRecord
from connectors.postgres.database import APP, Database
from connectors.settings import HttpSettings

__all__ = ["APP", "GENEROUS", "Api", "api_on", "cheap_passwords"]

GENEROUS = HttpSettings(
    requests_per_second=1_000_000, requests_burst=1_000_000, logins_per_minute=1_000_000, settable_clock=True
)
"""Limits that no test runs into unless it wants to."""

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_keys = itertools.count(1)


def cheap_passwords() -> Passwords:
    """Hashing as in earnest, with parameters that cost nothing."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Api:
    """An application, and who asks it."""

    def __init__(self, services: Services, handlers: tuple[BaseRouteHandler, ...]) -> None:
        self.services = services
        self.app = create_app(services, handlers=handlers)
        self.client = self.new_client()
        self._keys: dict[tuple[str, ...], str] = {}

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def routes(self) -> tuple[Route, ...]:
        return routes_of(self.app)

    def new_client(self, address: str = "192.0.2.1") -> httpx.AsyncClient:
        """A client with cookies of its own."""
        transport = httpx.ASGITransport(app=self.app, client=(address, 40_000))
        return httpx.AsyncClient(transport=transport, base_url="http://tollgate.test")

    async def user(self, name: str, role: Role, password: str | None = None) -> User:
        """A user, entered if not there, who may have a password."""
        record = AccessRecord(self.database.pool)
        kept = None if password is None else await self.services.passwords.hash(password)
        user = User(name, role, f"Имя {name}", None, None, "active", None, None, None, _LONG_AGO, "test")
        await record.insert_user(user)
        if kept is not None:
            await record.set_password(name, kept, datetime.now(UTC))
        return user

    async def key(self, name: str, scopes: frozenset[str]) -> str:
        """A new API key of a user, with these scopes."""
        new, now = tokens.new_key(), datetime.now(UTC)
        key = Key(
            new.prefix,
            name,
            "test",
            tuple(sorted(scopes)),
            now,
            "test",
            now + timedelta(days=1),
            None,
            None,
            None,
            None,
        )
        await AccessRecord(self.database.pool).insert_key(key, new.secret_hash)
        return new.text

    async def key_of(self, role: Role, *, name: str | None = None) -> str:
        """An API key with all that a role may: of the user `<role>1`, or of another one of that role."""
        name = name or f"{role}1"
        if (role, name) not in self._keys:
            await self.user(name, role)
            self._keys[role, name] = await self.key(name, ROLE_PERMISSIONS[role])
        return self._keys[role, name]

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: Role | None = "manager",
        name: str | None = None,
        json: Any = None,
        key: str | None = None,
        once: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Asks as a user of a role, or with an API key. `once`: the Idempotency-Key."""
        sent = dict(headers or {})
        if key is None and role is not None:
            key = await self.key_of(role, name=name)
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if once is not None:
            sent["Idempotency-Key"] = once
        if json is not None:
            more["json"] = json
        return await self.client.request(method, path, headers=sent, **more)

    async def ok(self, method: str, path: str, **more: Any) -> Any:
        """The answer to a request that succeeds: its JSON."""
        answer = await self.ask(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def audit_rows(self) -> int:
        """How many rows the audit has."""
        found: int = await self.database.pool.fetchval("SELECT count(*) FROM plumbing.audit")
        return found

    async def outbox(self) -> list[tuple[str, str, Any]]:
        """What the engine is told: kind, key, payload."""
        rows = await self.database.pool.fetch("SELECT kind, key, payload FROM plumbing.outbox ORDER BY seq")
        return [(row["kind"], row["key"], row["payload"]) for row in rows]


@asynccontextmanager
async def api_on(
    database: Database,
    *,
    http: HttpSettings = GENEROUS,
    handlers: tuple[BaseRouteHandler, ...] = (),
    **services: Any,
) -> AsyncIterator[Api]:
    """The API on a database. `services`: more of `Services`."""
    api = Api(Services(database, http=http, passwords=cheap_passwords(), **services), handlers)
    async with api.client:
        yield api


def roles_with(permission: str) -> list[Role]:
    """Roles that have a permission."""
    return [role for role in ROLES if permission in ROLE_PERMISSIONS[role]]
