"""Errors as RFC 9457 problems: one shape for everything that the API answers instead of what was asked for.

`explain` knows what each exception means for the asker: refusals of the office, what Litestar raises, what the database
says. What it does not know is the program's own fault: 500, with a number that is in the log beside the trace.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Meta, Struct

from backoffice.refusals import FieldProblem, InTheWay, NotAllowed, NotThere, Refusal, Unfit
from connectors.postgres.database import DatabaseTrouble

log = logging.getLogger("tollgate.http")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tollgate:problem:"

DATABASE_AWAY_SECONDS = 5
"""When to ask again while the database is away: a restart takes about as long."""


class ErrorAt(Struct, frozen=True, omit_defaults=True):
    """What is wrong, and where: in the body (`pointer`, RFC 6901), in the query (`parameter`), or in a header."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """A problem of RFC 9457. `type` tells kinds apart for programs, `detail` says in words what is wrong here."""

    type: Annotated[str, Meta(pattern=f"^{TYPE_PREFIX}[a-z-]+$")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    errors: tuple[ErrorAt, ...] = ()
    permission: str | None = None
    """What is missing, where the status is 403."""
    ask: str | None = None
    """Who can help."""
    retry_after_seconds: int | None = None
    incident: str | None = None
    """Under what number the log knows it, where the status is 500."""


class Problem(Exception):
    """A problem to be answered as it is. `code` is the end of its type."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: tuple[ErrorAt, ...] = (),
        permission: str | None = None,
        ask: str | None = None,
        retry_after_seconds: int | None = None,
        incident: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(retry_after_seconds)
        self.document = ProblemDocument(
            type=TYPE_PREFIX + code,
            title=TITLES[code],
            status=status,
            detail=detail,
            errors=errors,
            permission=permission,
            ask=ask,
            retry_after_seconds=retry_after_seconds,
            incident=incident,
        )


TITLES = {
    "malformed": "The request can't be read",
    "key-required": "An Idempotency-Key is required",
    "sign-in": "Sign in first",
    "not-allowed": "Not allowed",
    "forged": "The request does not prove where it comes from",
    "not-there": "Not there",
    "no-such-method": "This address does not take this method",
    "in-the-way": "The present state forbids it",
    "under-way": "The same request is under way",
    "too-large": "Too large",
    "media-type": "The body is of the wrong kind",
    "unfit": "What was sent does not fit",
    "key-reused": "The Idempotency-Key belongs to another request",
    "too-many": "Too many requests",
    "away": "The service can't answer now",
    "broken": "The fault is ours",
}
"""Each code's title: the same for all problems of a type."""


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    problem = explain(error)
    return Response(
        msgspec.json.encode(problem.document),
        status_code=problem.document.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def explain(error: BaseException) -> Problem:
    """What an exception means for the asker."""
    match error:
        case Problem():
            return error
        case Refusal():
            return _refused(error)
        case HTTPException():
            return _http(error)
        case DatabaseTrouble() | asyncpg.PostgresError() | asyncpg.InterfaceError() | asyncpg.InternalClientError():
            return _database(error)
        case OSError() | TimeoutError():
            log.warning("the database or the broker is away: %r", error)
            return _away()
        case _:
            return _broken(error)


def unfit(*problems: ErrorAt) -> Problem:
    """422: what was sent has the right form and can't be used."""
    detail = "; ".join(f"{one.pointer or one.parameter or one.header or 'the body'}: {one.detail}" for one in problems)
    return Problem(422, "unfit", detail, errors=problems)


def at_fields(problems: tuple[FieldProblem, ...]) -> Problem:
    """422 of what a use case found wrong in the body."""
    return unfit(*(ErrorAt(problem.text, pointer=problem.pointer) for problem in problems))


def _refused(error: Refusal) -> Problem:
    match error:
        case NotThere():
            return Problem(404, "not-there", error.text)
        case InTheWay():
            return Problem(409, "in-the-way", error.text)
        case Unfit():
            return at_fields(error.problems)
        case NotAllowed():
            return Problem(403, "not-allowed", error.text, permission=error.permission, ask=error.ask)
        case _:
            return Problem(409, "in-the-way", error.text)


_CODES = {
    400: "malformed",
    401: "sign-in",
    403: "not-allowed",
    404: "not-there",
    405: "no-such-method",
    413: "too-large",
    415: "media-type",
    422: "unfit",
    429: "too-many",
    503: "away",
}


def _http(error: HTTPException) -> Problem:
    status = error.status_code
    code = _CODES.get(status)
    if code is None:
        if status >= 500:
            return _broken(error)
        status, code = 400, "malformed"
    detail = _DETAILS.get(status, error.detail)
    return Problem(status, code, detail, headers=error.headers)


_DETAILS = {
    404: "there is nothing at this address; /api/openapi.json lists what there is",
    405: "this address takes other methods; the header Allow lists them",
}


def _database(error: BaseException) -> Problem:
    match error:
        case asyncpg.UniqueViolationError():
            return Problem(409, "in-the-way", f"it is there already ({_constraint(error)})")
        case asyncpg.ForeignKeyViolationError():
            return Problem(
                409, "in-the-way", f"it refers to something that is not there, or is referred to ({_constraint(error)})"
            )
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError() | asyncpg.LockNotAvailableError():
            return Problem(409, "in-the-way", "somebody else is changing the same; ask again", retry_after_seconds=1)
        case asyncpg.IntegrityConstraintViolationError():
            log.warning("the record refused what was sent: %s", error)
            return Problem(422, "unfit", f"the record does not take it ({_constraint(error)})")
        case asyncpg.DataError():
            # Checked before it gets there; what slips through is still the asker's, not a fault.
            log.warning("a value went unchecked to the database: %s", error)
            return Problem(
                422, "unfit", "a value can't be kept: it is out of range, or has a character that text can't have"
            )
        case asyncpg.InsufficientPrivilegeError():
            return _broken(error)
        case asyncpg.QueryCanceledError():
            return Problem(
                503,
                "away",
                "the question took too long to answer; ask for less: a shorter period, fewer rows",
                retry_after_seconds=DATABASE_AWAY_SECONDS,
            )
        case (
            DatabaseTrouble()
            | asyncpg.InterfaceError()
            | asyncpg.InternalClientError()
            | asyncpg.IdleInTransactionSessionTimeoutError()
            | asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.ReadOnlySQLTransactionError()
        ):
            log.warning("the database is away: %r", error)
            return _away()
        case _:
            return _broken(error)


_PLAIN_NAME = re.compile(r"[a-z0-9_]{1,63}")


def _constraint(error: asyncpg.PostgresError) -> str:
    name = getattr(error, "constraint_name", None)
    return name if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else "a rule of the record"


def _away() -> Problem:
    return Problem(
        503,
        "away",
        "the record can't be reached now; nothing was changed. Calls go on without it",
        retry_after_seconds=DATABASE_AWAY_SECONDS,
    )


def _broken(error: BaseException) -> Problem:
    incident = secrets.token_hex(6)
    log.error("incident %s", incident, exc_info=error)
    return Problem(
        500,
        "broken",
        f"something is wrong here; tell the operator of the system: incident {incident}",
        incident=incident,
    )
