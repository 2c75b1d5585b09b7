"""The routes, area by area. A new area is a module with `ROUTES`, named here."""

from types import ModuleType

from connectors.http.routes import audit, calendar, keys, letters, locks, office, session, system, users

MODULES: tuple[ModuleType, ...] = (system, session, users, keys, audit, calendar, letters, office, locks)
