"""The API's description (OpenAPI 3.1), made from the same declarations that the door reads: they can't differ."""

import importlib.metadata
import inspect
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from backoffice.access import PERMISSIONS
from connectors import tokens
from connectors.http import door, once
from connectors.http.parties import schema_of
from connectors.http.problems import MEDIA_TYPE, ProblemDocument
from connectors.http.reading import JSON, query_fields
from connectors.http.route import PUBLIC, SIGNED_IN, Route

_PART: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0, "maximum": door.LARGEST_NUMBER},
    "str": {"type": "string", "minLength": 1},
}

_REFERENCE = "#/components/schemas/{name}"

_MEANINGS = {
    400: "The request can't be read.",
    401: "Nobody is signed in, or the key does not count.",
    403: "Not allowed: `permission` is what is missing; or a session's request without its X-CSRF-Token.",
    404: "What the path names is not there.",
    409: "The present state forbids it, or the same request is being worked on.",
    413: "The body is too large.",
    415: "The body is of the wrong kind.",
    422: "What was sent does not fit: `errors` says where. Or the Idempotency-Key belongs to another request.",
    429: "Too many requests: `Retry-After` says when to ask again.",
    503: "The record is away, or busy: `Retry-After` says when to ask again.",
}


def document(routes: Sequence[Route], *, secure: bool) -> dict[str, Any]:
    """The description of an application's routes, as JSON values. `secure`: whether cookies are for TLS only."""
    kinds = [kind for route in routes for kind in (route.sent, route.answer) if _is_schema(kind)]
    kinds.append(ProblemDocument)
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=schema_of, ref_template=_REFERENCE)
    found = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        sent = next(found) if _is_schema(route.sent) else None
        answer = next(found) if _is_schema(route.answer) else None
        paths.setdefault(route.plain_path, {})[route.method.lower()] = _operation(route, sent, answer)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tollgate",
            "version": importlib.metadata.version("tollgate"),
            "description": (
                "The office of a telephony operator. Money is in micro-units (1 RUB = 1 000 000), moments are RFC 3339 "
                "in UTC. Errors are problems (RFC 9457). Lists come in pages: send `next` as `after`. Names only grow: "
                "nothing is renamed or changes its meaning, so take fields that you do not know as they come."
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": area} for area in dict.fromkeys(route.area for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `tg_…`."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": tokens.cookie_name(secure=secure),
                    "description": f"Of POST /api/session; changing requests need the header {door.CSRF_HEADER} too.",
                },
            },
        },
    }


def _is_schema(kind: Any) -> bool:
    return kind is not None and kind not in (type(None), bytes, str, inspect.Signature.empty)


def _operation(route: Route, sent: Any, answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.area],
        "parameters": list(_parameters(route)),
        "responses": {str(route.status): _answer(route, answer), **dict(_problems(route))},
        "security": [] if route.requires == PUBLIC else [{"key": []}, {"session": []}],
        "x-requires": route.requires,
    }
    if (permission := PERMISSIONS.get(route.requires)) is not None:
        found["x-roles"] = sorted(permission.roles)
    description = inspect.getdoc(route.function)
    if permission is not None:
        needed = f"Needs `{permission.name}`: {permission.text}."
        description = f"{description}\n\n{needed}" if description else needed
    if description:
        found["description"] = description
    if route.sent is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": sent}}}
    elif route.upload:
        binary = {"schema": {"type": "string", "format": "binary"}}
        found["requestBody"] = {"required": True, "content": dict.fromkeys(route.upload, binary)}
    return found


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for part, kind in route.parts.items():
        schema: dict[str, Any] = dict(_PART[kind])
        yield {"name": part, "in": "path", "required": True, "schema": schema}
    if route.asked is not None:
        for name, field in query_fields(route.asked).items():
            schema = msgspec.json.schema(field.kind)
            if not field.required and field.default not in (None, msgspec.NODEFAULT):
                schema["default"] = msgspec.to_builtins(field.default)
            yield {
                "name": name,
                "in": "query",
                "required": field.required,
                "schema": schema,
                **({"description": schema["description"]} if "description" in schema else {}),
            }
    if route.parties:
        yield {
            "name": door.UNMASK,
            "in": "query",
            "required": False,
            "description": "Why people's numbers are to be shown whole; needs `parties.unmask`; the audit keeps it.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": r"\S"},
        }
    if route.once != "none":
        yield {
            "name": once.HEADER,
            "in": "header",
            "required": route.once == "required",
            "description": "A name of your own for this request: sent again under it, it is done once, and gets the "
            "same answer, for a day.",
            "schema": {"type": "string", "minLength": 1, "maxLength": once.LONGEST, "pattern": r"^[ -~]+$"},
            "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
        }


def _answer(route: Route, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.status == 204:
        return found
    if schema is not None:
        found["content"] = {JSON: {"schema": schema}}
    else:
        found["content"] = {kind: {"schema": {"type": "string"}} for kind in route.produces}
    if route.once != "none":
        found["headers"] = {
            once.REPLAYED: {
                "description": f"`true` where the request was done before under its {once.HEADER}.",
                "schema": {"type": "string", "enum": ["true"]},
            }
        }
    return found


def _problems(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    statuses = {400, 422, 429, 503}
    if route.requires != PUBLIC:
        statuses.add(401)
    if route.requires not in (PUBLIC, SIGNED_IN) or route.changes:
        statuses.add(403)
    if route.sent is not None or route.upload:
        statuses |= {413, 415}
    if route.once != "none":
        statuses.add(409)
    if route.parts:
        statuses.add(404)
    statuses |= set(route.problems)
    for status in sorted(statuses):
        found: dict[str, Any] = {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="ProblemDocument")}}},
        }
        if status in (429, 503):
            found["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
            }
        yield str(status), found
