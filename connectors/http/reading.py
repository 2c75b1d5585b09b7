"""What a request says, read strictly: the body and the query as Structs, all that is wrong with them named by place."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from backoffice.as_of import as_of
from backoffice.words import in_words
from connectors.http.call import AnyRequest, Call
from connectors.http.problems import ErrorAt, Problem, unfit
from schemas.times import to_datetime, to_us

JSON = "application/json"

_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>[0-9]+|\.\.\.)\]")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")
_UNKNOWN = re.compile(r"unknown field `(?P<name>.+)`", re.DOTALL)


async def body_of(request: AnyRequest, kind: Any) -> Any:
    """The body as one of the program's Structs. Raises Problem: 400, 413, 415 or 422."""
    body = await request.body()
    if not body:
        raise unfit(ErrorAt("a body is needed, as JSON", pointer=""))
    content_type, _ = request.content_type
    if content_type != JSON:
        raise Problem(
            415, "media-type", f"send the body as {JSON}, not as {content_type or 'something without a name'}"
        )
    try:
        found = _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise unfit(_at(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f"the body is no JSON: {error}") from None
    if b"\\u0000" in body and (pointer := _with_nul(msgspec.json.decode(body), "")) is not None:
        raise unfit(ErrorAt("has a character (U+0000) that text can't have", pointer=pointer))
    return found


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _at(text: str) -> ErrorAt:
    """A message of msgspec with its place: "Expected `int`, got `str` - at `$.tiers[0].price_micros`"."""
    path = _PATH.search(text)
    detail = in_words(text[: path.start()] if path else text)
    pointer = ""
    if path is not None:
        for step in _STEP.finditer(path["path"]):
            # The name of a key in an object that may have any keys is not told.
            pointer += "/" + _escaped(step["name"] or step["index"].replace("...", "*"))
    if (field := _MISSING.search(detail) or _UNKNOWN.search(detail)) is not None:
        pointer += "/" + _escaped(field["name"])
    return ErrorAt(_shortened(detail), pointer=pointer)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"


def _with_nul(value: object, pointer: str) -> str | None:
    match value:
        case str():
            return pointer if "\0" in value else None
        case list():
            inner = ((item, f"{pointer}/{place}") for place, item in enumerate(value))
        case dict():
            inner = ((item, f"{pointer}/{_escaped(name)}") for name, item in value.items())
            if (bad := next((name for name in value if "\0" in name), None)) is not None:
                return f"{pointer}/{_escaped(bad)}"
        case _:
            return None
    return next((found for item, place in inner if (found := _with_nul(item, place)) is not None), None)


# -- words that need a look -------------------------------------------------------------------------------------------


def moment_of(text: str | None, parameter: str) -> datetime | None:
    """A moment of the query. Raises Problem 422."""
    if text is None:
        return None
    try:
        return to_datetime(to_us(text))
    except ValueError as error:
        raise unfit(ErrorAt(str(error), parameter=parameter)) from None


def as_of_day(call: Call, text: str | None, parameter: str) -> datetime | None:
    """A moment that has passed, or the end of a civil day. Raises Problem 422."""
    if text is None:
        return None
    try:
        return as_of(text, time_zone=call.services.engine.business_time_zone, now=call.now)
    except ValueError as error:
        raise unfit(ErrorAt(str(error), parameter=parameter)) from None


def day_of(text: str, *, parameter: str | None = None, pointer: str | None = None) -> date:
    """A civil day. Raises Problem 422."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        problem = ErrorAt(f"{text[:20]!r} is no day; write it as 2026-11-24", parameter=parameter, pointer=pointer)
        raise unfit(problem) from None


# -- the query --------------------------------------------------------------------------------------------------------


def pairs_of(request: AnyRequest) -> list[tuple[str, str]]:
    """The query's names and values. Raises Problem 400."""
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=200)
    except (UnicodeDecodeError, ValueError):
        raise Problem(
            400, "malformed", "the query is not percent-encoded UTF-8, or has more than 200 parameters"
        ) from None


def query_of(pairs: Sequence[tuple[str, str]], kind: Any) -> Any:
    """The query as one of the program's Structs, whose fields are its parameters; None takes none.

    Raises Problem 422 with all that is wrong: unknown names too, since a filter that is not applied unseen would answer
    another question.
    """
    fields = {} if kind is None else _fields(kind)
    problems: list[ErrorAt] = []
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name not in fields:
            known = ", ".join(fields) or "none"
            problems.append(ErrorAt(f"is unknown here; there are: {known}", parameter=_shortened(name)))
        elif "\0" in text:
            problems.append(ErrorAt("has a character (U+0000) that text can't have", parameter=name))
        elif fields[name].many:
            values.setdefault(name, []).append(text)
        elif name in values:
            problems.append(ErrorAt("is given twice", parameter=name))
        else:
            values[name] = text
    for name, text in values.items():
        try:
            values[name] = msgspec.convert(text, fields[name].kind, strict=False)
        except msgspec.ValidationError as error:
            problems.append(ErrorAt(_shortened(in_words(_PATH.sub("", str(error)))), parameter=name))
    problems += [
        ErrorAt("is missing", parameter=name)
        for name, field in fields.items()
        if field.required and name not in values and not any(one.parameter == name for one in problems)
    ]
    if problems:
        raise unfit(*problems)
    return None if kind is None else kind(**values)


class QueryField(msgspec.Struct, frozen=True):
    """A parameter of the query: its type, whether it may be given several times, whether it must be given."""

    kind: Any
    many: bool
    required: bool
    default: Any


@cache
def _fields(kind: Any) -> dict[str, QueryField]:
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(kind):
        hint = _without_null(hints[field.name])
        bare = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        found[field.encode_name] = QueryField(
            hint, get_origin(bare) in (list, tuple, frozenset), field.required, field.default
        )
    return found


def _without_null(hint: Any) -> Any:
    """A parameter is there or not: it has no word for null."""
    kinds = get_args(hint)
    if type(None) in kinds:
        (rest,) = (kind for kind in kinds if kind is not type(None))
        return rest
    return hint


def query_fields(kind: Any) -> dict[str, QueryField]:
    """The parameters that a Struct stands for, by name."""
    return dict(_fields(kind))
