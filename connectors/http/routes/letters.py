"""Letters that went out, with what was attached to them (§2.4, §3.6)."""

from typing import Annotated, Any, Literal

from litestar import Response
from msgspec import Meta, Struct

from backoffice.refusals import NotThere
from connectors.http.call import Call
from connectors.http.paging import After, Limit, Page, cursor, page, place_of
from connectors.http.reading import moment_of
from connectors.http.route import get
from connectors.postgres.queries import sql
from schemas.times import from_datetime, to_text
from schemas.words import Id, Moment

State = Literal["waiting", "sent", "failed"]


class LettersAsked(Struct, frozen=True):
    """Which letters; all conditions together. The newest come first."""

    client_id: Id | None = None
    account_id: Id | None = None
    kind: Annotated[str, Meta(min_length=1, max_length=64, examples=["critical_balance"])] | None = None
    recipient: Annotated[str, Meta(min_length=1, max_length=254)] | None = None
    state: State | None = None
    since: Moment | None = None
    until: Moment | None = None
    after: After | None = None
    limit: Limit = 100


class AttachmentCard(Struct, frozen=True):
    """A file that went with a letter."""

    place: int
    name: str
    media_type: str
    size_bytes: int


class Letter(Struct, frozen=True):
    """A letter as it was written."""

    letter_id: int
    kind: str
    client_id: str | None
    account_id: str | None
    recipient: str
    copies: tuple[str, ...]
    subject: str
    body: str
    written_at: Moment
    state: State
    state_at: Moment | None
    failed_why: str | None
    attachments: tuple[AttachmentCard, ...]


@get("/api/letters", requires="letters.see", summary="Letters that went out, the newest first")
async def letters(call: Call, asked: LettersAsked) -> Page[Letter]:
    place = place_of(asked.after, int)
    rows = await call.pool.fetch(
        sql("office_api/letters"),
        asked.client_id,
        asked.account_id,
        asked.kind,
        asked.recipient,
        asked.state,
        moment_of(asked.since, "since"),
        moment_of(asked.until, "until"),
        None if place is None else place[0],
        asked.limit + 1,
    )
    return page(rows, asked.limit, _shown, lambda row: cursor(row["letter_id"]))


@get("/api/letters/{letter_id:str}", requires="letters.see", summary="A letter", problems=(404,))
async def letter(call: Call, letter_id: str) -> Letter:
    row = await call.pool.fetchrow(sql("office_api/letter"), _number(letter_id))
    if row is None:
        raise NotThere("letter", letter_id)
    return _shown(row)


@get(
    "/api/letters/{letter_id:str}/attachments/{place:str}",
    requires="letters.see",
    summary="A file that went with a letter",
    produces=("application/octet-stream",),
    problems=(404,),
)
async def letter_attachment(call: Call, letter_id: str, place: str) -> Response[bytes]:
    row = await call.pool.fetchrow(sql("office_api/letter_attachment"), _number(letter_id), _number(place))
    if row is None:
        raise NotThere("attachment", f"{letter_id}/{place}")
    # Never shown in the browser as what it says it is: whoever wrote the letter may have been deceived.
    name = "".join(sign for sign in row["name"] if sign.isascii() and (sign.isalnum() or sign in "._-")) or "attachment"
    return Response(
        row["content"],
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Media-Type": row["media_type"]},
    )


def _number(text: str) -> int:
    """A number of the record's; one that can't be is like one that is not there."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


def _shown(row: Any) -> Letter:
    return Letter(
        row["letter_id"],
        row["kind"],
        row["client_id"],
        row["account_id"],
        row["recipient"],
        tuple(row["copies"]),
        row["subject"],
        row["body"],
        to_text(from_datetime(row["written_at"])),
        row["state"],
        None if row["state_at"] is None else to_text(from_datetime(row["state_at"])),
        row["failed_why"],
        tuple(AttachmentCard(*one) for one in row["attachments"] or ()),
    )


ROUTES = (letters, letter, letter_attachment)
