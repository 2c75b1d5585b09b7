"""What a route's function is given: `Services`, the same for all requests, and a `Call` for each of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request
from prometheus_client import CollectorRegistry

from backoffice.access import Asker
from backoffice.numbers.settings import NumbersSettings
from connectors.broker import Broker
from connectors.http.passwords import Passwords
from connectors.http.problems import Problem
from connectors.postgres.change import Change, change
from connectors.postgres.clock import BusinessClock
from connectors.postgres.database import Database, Pool
from connectors.settings import HttpSettings
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.times import to_datetime

AnyRequest = Request[Any, Any, Any]


def _nothing() -> Sequence[str]:
    return ()


def _no_reference() -> Reference | None:
    return None


@dataclass(frozen=True)
class Services:
    """What the routes work with. `reference` gives the reference data in force; None: there are none yet."""

    database: Database
    http: HttpSettings = field(default_factory=HttpSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    numbers: NumbersSettings = field(default_factory=NumbersSettings)
    reference: Callable[[], Reference | None] = _no_reference
    broker: Broker | None = None
    clock: BusinessClock | None = None
    """The business clock; made from the settings if left out."""
    passwords: Passwords = field(default_factory=Passwords)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """What /metrics shows."""
    waiting_for: Callable[[], Sequence[str]] = _nothing
    """What is still missing beside the database before all questions can be answered: for /ready."""

    @property
    def business_clock(self) -> BusinessClock:
        """The clock that the office goes by."""
        return self.clock or BusinessClock(settable=self.http.settable_clock)

    def today(self, now_us: int) -> date:
        """The civil day of a moment in the business time zone (D1)."""
        return to_datetime(now_us).astimezone(ZoneInfo(self.engine.business_time_zone)).date()


@dataclass(frozen=True)
class Call:
    """One request. `pool` of a changing one is the request's own transaction: what is done through it is done whole or
    not at all, together with the answer that is kept under the Idempotency-Key."""

    services: Services
    request: AnyRequest
    pool: Pool
    now_us: int
    """The business moment."""
    who: Asker | None
    """Who asks; None where nobody has to sign in."""
    address: str | None
    """Where the request came from, past trusted proxies."""
    token: str | None = None
    """Of the session that the request came in; never shown."""

    @property
    def asker(self) -> Asker:
        """Who asks, on a route that demands that somebody does."""
        assert self.who is not None, "the route is public: it knows nobody"
        return self.who

    @property
    def now(self) -> datetime:
        """The business moment."""
        return to_datetime(self.now_us)

    @property
    def today(self) -> date:
        """The business day."""
        return self.services.today(self.now_us)

    @property
    def interface(self) -> str:
        """For the audit: by what the asker came in."""
        if self.who is not None and self.who.key_prefix is not None:
            return f"api key {self.who.key_prefix}"
        return "api"

    @property
    def reference(self) -> Reference:
        """The reference data in force. Raises Problem 503 where there are none."""
        found = self.services.reference()
        if found is None:
            raise Problem(
                503,
                "away",
                "no reference data are in force here yet; publish them (tollgate load), or ask again in a moment",
                retry_after_seconds=5,
            )
        return found

    def change(self, reason: str, *, actor: str | None = None) -> AbstractAsyncContextManager[Change]:
        """A change of the office in the asker's name: `async with call.change(sent.reason) as tx`. See change.py."""
        return change(
            self.pool,
            actor=actor or self.asker.actor,
            reason=reason,
            at=self.now,
            role=None if self.who is None else self.who.role,
            interface=self.interface,
            address=self.address,
        )
