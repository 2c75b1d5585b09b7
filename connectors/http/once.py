"""Idempotency-Key: the same change asked twice is made once, and gets the same answer.

The answer is kept in the transaction of the change itself, so there is no moment at which one of them is there without
the other. A key belongs to its user. It is remembered for a day. Only what was done is remembered: a request that was
refused has changed nothing, and may be sent again under its key when the reason is gone.
"""

import hashlib
from datetime import datetime
from typing import NamedTuple

from connectors.http.problems import ErrorAt, Problem
from connectors.postgres.access import ANSWERS_KEPT
from connectors.postgres.database import Pool
from connectors.postgres.queries import sql

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST = 255
KEPT = ANSWERS_KEPT


class Kept(NamedTuple):
    """An answer as it was given."""

    status: int
    body: bytes
    headers: dict[str, str]


def key_of(value: str | None, *, required: bool) -> str | None:
    """The key that a request has. Raises Problem 400 where it must have one, or has one that can't be."""
    if value is None:
        if required:
            raise Problem(
                400,
                "key-required",
                f"money moves here: send {HEADER} with a name of your own for this request, the same when you send it "
                "again, so that it is done once",
                errors=(ErrorAt("is missing", header=HEADER),),
            )
        return None
    if not 1 <= len(value) <= LONGEST or not value.isascii() or not value.isprintable():
        raise Problem(
            400,
            "malformed",
            f"{HEADER} has 1 to {LONGEST} printable characters of ASCII, as in a UUID",
            errors=(ErrorAt("can't be used", header=HEADER),),
        )
    return value


def hash_of(method: str, path: str, query: bytes, body: bytes) -> bytes:
    """What makes a request the same one."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode(), query, body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


async def claimed(pool: Pool, user: str, key: str, request_hash: bytes) -> Kept | None:
    """Takes the key for the request's transaction: None, or the answer that was given under it already.

    Raises Problem: 409 while another request has it, 422 when it belongs to a request with other content.
    """
    number = int.from_bytes(hashlib.sha256(f"{user}\0{key}".encode()).digest()[:8], "big", signed=True)
    if not await pool.fetchval(sql("access/claim_key"), number):
        raise Problem(
            409,
            "under-way",
            f"a request with this {HEADER} is being worked on; ask again in a moment for its answer",
            retry_after_seconds=1,
        )
    row = await pool.fetchrow(sql("access/kept_answer"), user, key)
    if row is None:
        return None
    if row["request_hash"] != request_hash:
        raise Problem(
            422,
            "key-reused",
            f"this {HEADER} was used for another request; take a new one",
            errors=(ErrorAt("belongs to another request", header=HEADER),),
        )
    return Kept(row["status"], row["response"], row["headers"])


async def keep(pool: Pool, user: str, key: str, request_hash: bytes, answer: Kept, now: datetime) -> None:
    """Keeps the answer within the request's transaction, and forgets old ones."""
    await pool.execute(
        sql("access/keep_answer"), user, key, request_hash, now, answer.status, answer.body, answer.headers
    )
    await pool.execute(sql("access/forget_answers"), now - KEPT)
