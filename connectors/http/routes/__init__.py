"""The routes, area by area. A new area is a module with `ROUTES`, named here."""

from types import ModuleType

from litestar.handlers import HTTPRouteHandler

from connectors.http.list_exports import with_exports
from connectors.http.routes import (
    audit,
    calendar,
    cdrs,
    clients,
    explain,
    forcing,
    keys,
    letters,
    locks,
    nightly,
    numbers,
    office,
    postings,
    prices,
    rejected,
    rerating,
    session,
    subscribers,
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
    nightly,
    letters,
    office,
    postings,
    clients,
    cdrs,
    locks,
    tariffs,
    prices,
    explain,
    rejected,
    rerating,
    numbers,
    subscribers,
    forcing,
)

HANDLERS: tuple[HTTPRouteHandler, ...] = with_exports([handler for module in MODULES for handler in module.ROUTES])
"""All of them, with an export for each list."""
