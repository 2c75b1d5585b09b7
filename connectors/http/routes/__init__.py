"""The routes, area by area. A new area is a module with `ROUTES`, named here."""

from types import ModuleType

from connectors.http.routes import (
    audit,
    calendar,
    cdrs,
    clients,
    explain,
    keys,
    letters,
    locks,
    office,
    prices,
    session,
    system,
    tariffs,
    users,
)

MODULES: tuple[ModuleType, ...] = (
    system,
    session,
    users,
    keys,
    audit,
    calendar,
    letters,
    office,
    clients,
    cdrs,
    locks,
    tariffs,
    prices,
    explain,
)
