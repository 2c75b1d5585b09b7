"""The system about itself: alive, ready, metrics, and what the API is."""

import asyncio
from typing import Any

from litestar import Response
from msgspec import Struct
from prometheus_client.exposition import choose_encoder

from connectors.http.call import Call
from connectors.http.problems import ErrorAt, Problem
from connectors.http.route import PUBLIC, get
from connectors.postgres.database import DRIVER_TROUBLES

READY_SECONDS = 2.0
"""How long the database may take to say that it is there."""


class Live(Struct, frozen=True):
    """The process answers."""

    live: bool


class Ready(Struct, frozen=True):
    """All questions can be answered now."""

    ready: bool


@get("/live", requires=PUBLIC, summary="Whether the process answers")
async def live(call: Call) -> Live:
    return Live(True)


@get("/ready", requires=PUBLIC, summary="Whether all questions can be answered now", problems=(503,))
async def ready(call: Call) -> Ready:
    """503 while something is missing: `errors` says what."""
    waiting_for = list(call.services.waiting_for())
    try:
        async with asyncio.timeout(READY_SECONDS):
            await call.pool.fetchval("SELECT 1")
    except DRIVER_TROUBLES:
        waiting_for.append("the record: the database does not answer")
    if waiting_for:
        raise Problem(
            503,
            "away",
            f"waiting for {'; '.join(waiting_for)}",
            errors=tuple(ErrorAt(one) for one in waiting_for),
            retry_after_seconds=1,
        )
    return Ready(True)


@get("/metrics", requires="system.see", summary="Numbers for Prometheus", produces=("text/plain",))
async def metrics(call: Call) -> Response[bytes]:
    encode, content_type = choose_encoder(call.request.headers.get("accept", ""))
    return Response(encode(call.services.registry), media_type=content_type)


@get("/api/openapi.json", requires=PUBLIC, summary="This description of the API")
async def openapi(call: Call) -> dict[str, Any]:
    document: dict[str, Any] = call.request.app.state.openapi
    return document


ROUTES = (live, ready, metrics, openapi)
