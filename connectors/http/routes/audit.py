"""Who changed what, when, why. The audit only grows; each row vouches for the one before."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.reading import moment_of
from connectors.http.route import get
from connectors.postgres.queries import sql
from schemas.times import from_datetime, to_text
from schemas.words import Moment

Word = Annotated[str, Meta(min_length=1, max_length=64)]


class AuditAsked(Struct, frozen=True):
    """Which rows; all conditions together. The newest come first."""

    entity: Annotated[str, Meta(min_length=1, max_length=64, examples=["lock"])] | None = None
    entity_id: Word | None = None
    actor: Word | None = None
    action: Word | None = None
    since: Moment | None = None
    until: Moment | None = None
    after: After | None = None
    limit: Limit = 100


class AuditRow(Struct, frozen=True):
    """One entity's part in one change."""

    seq: int
    change_id: int
    """The same for all that was changed together."""
    at: Moment
    actor: str
    role: str | None
    interface: str | None
    address: str | None
    action: str
    entity: str
    entity_id: str
    reason: str
    before: Any
    """The entity as it was; null: it was not there."""
    after: Any
    """The entity as it is since; null: it is gone."""


@get("/api/audit", requires="audit.see", summary="Who changed what, the newest first")
async def audit(call: Call, asked: AuditAsked) -> Page[AuditRow]:
    place = place_of(asked.after, int)
    rows = await call.pool.fetch(
        sql("office_api/audit"),
        asked.entity,
        asked.entity_id,
        asked.actor,
        asked.action,
        moment_of(asked.since, "since"),
        moment_of(asked.until, "until"),
        None if place is None else place[0],
        asked.limit + 1,
    )
    return page(rows, asked.limit, _shown, lambda row: cursor(row["seq"]))


def _shown(row: Any) -> AuditRow:
    return AuditRow(
        row["seq"],
        row["change_id"],
        to_text(from_datetime(row["at"])),
        row["actor"],
        row["role"],
        row["interface"],
        row["address"],
        row["action"],
        row["entity"],
        row["entity_id"],
        row["reason"],
        row["before"],
        row["after"],
    )


ROUTES = (audit,)
