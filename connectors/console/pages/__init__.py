"""The pages, area by area. A new area is a module with `ROUTES`, named here."""

from connectors.console.pages import (
    calls,
    clients,
    lists,
    locks,
    nightly,
    number_requests,
    numbers,
    people,
    price_lists,
    rejected,
    reratings,
    session,
    subscribers,
    tariffs,
)

ROUTES = (
    *session.ROUTES,
    *clients.ROUTES,
    *locks.ROUTES,
    *tariffs.ROUTES,
    *calls.ROUTES,
    *numbers.ROUTES,
    *number_requests.ROUTES,
    *subscribers.ROUTES,
    *rejected.ROUTES,
    *nightly.ROUTES,
    *people.ROUTES,
    *price_lists.ROUTES,
    *reratings.ROUTES,
    *lists.ROUTES,
)
