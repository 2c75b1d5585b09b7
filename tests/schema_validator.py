"""A validator for the few keywords of JSON Schema that the generated documents use, and walks over schemas."""

import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]

VALIDATORS: dict[str, Callable[[Any, Any], bool] | None] = {
    "$ref": None,
    "anyOf": None,
    "oneOf": None,
    "properties": None,
    "required": None,
    "items": None,
    "type": None,
    "const": lambda limit, value: value == limit,
    "enum": lambda limit, value: value in limit,
    "minimum": lambda limit, value: not isinstance(value, int) or value >= limit,
    "maximum": lambda limit, value: not isinstance(value, int) or value <= limit,
    "minLength": lambda limit, value: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda limit, value: not isinstance(value, str) or len(value) <= limit,
    "pattern": lambda limit, value: not isinstance(value, str) or re.search(limit, value) is not None,
}
ANNOTATIONS = {"title", "description", "default", "format"}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}


def problems(schema: Json, value: object, *, known_only: bool = False, whole: bool = True) -> list[str]:
    """What a schema has against a value. `known_only`: unknown fields too; not `whole`: fields may be missing."""
    return list(_problems(schema, schema, value, "$", known_only, whole))


def _problems(root: Json, schema: Json, value: Any, at: str, known_only: bool, whole: bool) -> Iterator[str]:
    if "$ref" in schema:
        yield from _problems(root, resolved(root, schema["$ref"]), value, at, known_only, whole)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            found: list[list[str]] = [
                list(_problems(root, one, value, at, known_only, whole)) for one in schema[choice]
            ]
            fitting = found.count([])
            if fitting == 0 or (choice == "oneOf" and fitting > 1):
                yield f"{at}: {choice}: {fitting} of {len(found)} fit"
                yield from (problem for listed in found for problem in listed)
    wanted = schema.get("type")
    if wanted is not None and (
        not isinstance(value, TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean")
    ):
        yield f"{at}: type: {value!r} is no {wanted}"
        return
    for keyword, check in VALIDATORS.items():
        if check is not None and keyword in schema and not check(schema[keyword], value):
            yield f"{at}: {keyword}: {value!r} against {schema[keyword]!r}"
    if isinstance(value, dict) and "properties" in schema:
        if whole:
            yield from (f"{at}: required: {name}" for name in schema["required"] if name not in value)
        for name, field in value.items():
            if name in schema["properties"]:
                yield from _problems(root, schema["properties"][name], field, f"{at}.{name}", known_only, whole)
            elif known_only:
                yield f"{at}: unknown field {name}"
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(value):
            yield from _problems(root, schema["items"], item, f"{at}[{place}]", known_only, whole)


def resolved(document: Json, ref: str) -> Any:
    """What a reference within the document leads to. KeyError if nowhere."""
    assert ref.startswith("#/")
    found: Any = document
    for part in ref[2:].split("/"):
        found = found[part]
    return found


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from refs(part)
    elif isinstance(value, list):
        for part in value:
            yield from refs(part)


def keywords(schema: Any) -> Iterator[str]:
    """All keywords of a schema; names of fields, and values of constants and defaults, are none."""
    if isinstance(schema, list):
        for part in schema:
            yield from keywords(part)
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            yield keyword
            if keyword == "properties":
                yield from keywords(list(value.values()))
            elif keyword not in ("default", "enum", "const", "required"):
                yield from keywords(value)
