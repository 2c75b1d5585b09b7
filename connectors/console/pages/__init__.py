"""The pages, area by area. A new area is a module with `ROUTES`, named here."""

from connectors.console.pages import calls, clients, lists, locks, session, tariffs

ROUTES = (*session.ROUTES, *clients.ROUTES, *locks.ROUTES, *tariffs.ROUTES, *calls.ROUTES, *lists.ROUTES)
