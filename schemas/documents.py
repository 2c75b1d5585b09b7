"""The documents of the wire: a JSON Schema for each topic and one AsyncAPI document, made from the Structs.

`python -m schemas.documents` writes them, `--check` says whether they are up to date. The Structs are the source;
nothing here is written twice, so a document can't promise what the code does not do. The engine's changelog is private
and has no document.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

import msgspec

from schemas import topics
from schemas.facts import REJECTIONS, RejectedEvent
from schemas.topics import Topic

CONTRACT_VERSION = "1.1.0"
"""Of the contract, not of the package: the middle number grows with a topic, record or field. Nothing ever goes."""

FOLDER = Path(__file__).parent / "generated"

JsonValue: TypeAlias = "str | int | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

PUBLIC = tuple(topic for topic in topics.ALL if topic.carries is not None)
"""The topics that others may read or write."""

_READ = frozenset({*topics.INPUTS, topics.REFERENCE})
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KAFKA_BINDING = "0.5.0"

_CONVENTIONS = (
    "UTF-8 JSON, one object a record. Moments are RFC 3339 text; they are written in UTC with milliseconds and `Z`. "
    "Money is an integer in millionths of the currency's unit, in fields that end in `_micros`; durations are whole "
    "seconds, in fields that end in `_seconds`. Fields that are not known here are to be ignored, and a missing "
    "optional field is null. Records only grow: nothing is renamed or changes its meaning."
)


def documents() -> dict[str, str]:
    """All documents: path below the folder → text. The same Structs give the same bytes."""
    found: dict[str, JsonObject] = {f"json-schema/{topic.name}.json": json_schema(topic) for topic in PUBLIC}
    found["asyncapi.json"] = asyncapi()
    return {path: json.dumps(document, ensure_ascii=False, indent=2) + "\n" for path, document in found.items()}


def records(topic: Topic) -> tuple[type[msgspec.Struct], ...]:
    """The records that a topic carries."""
    carried = topic.carries
    return (carried,) if isinstance(carried, type) else get_args(carried)


def json_schema(topic: Topic) -> JsonObject:
    """The JSON Schema (2020-12) of what a topic carries; complete in itself."""
    schemas = _schemas(records(topic), "#/$defs/{name}")
    carried: list[JsonValue] = [{"$ref": f"#/$defs/{record.__name__}"} for record in records(topic)]
    return {
        "$schema": _DIALECT,
        "$id": f"urn:tollgate:json-schema:{topic.name}",
        "title": topic.name,
        "description": f"What the topic `{topic.name}` carries. {_CONVENTIONS}",
        # Each record has its own `type`, so never more than one of them fits.
        **({"oneOf": carried} if len(carried) > 1 else {"$ref": f"#/$defs/{records(topic)[0].__name__}"}),
        "$defs": {**schemas},
    }


def asyncapi() -> JsonObject:
    """The AsyncAPI 3.0 document, from the engine's point of view: it receives its inputs and sends its outputs."""
    carried = [record for topic in PUBLIC for record in records(topic)]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tollgate",
            "version": CONTRACT_VERSION,
            "description": "Call control and rating of a telephony operator: what its engine receives from and sends "
            f"to the switches, the office and everyone else.\n\n{_CONVENTIONS}",
        },
        "defaultContentType": "application/json",
        "channels": {_camel(topic.name): _channel(topic) for topic in PUBLIC},
        "operations": {_operation_name(topic): _operation(topic) for topic in PUBLIC},
        "components": {
            "messages": {_tag(record): _message(record) for record in carried},
            "schemas": {**_schemas(carried, "#/components/schemas/{name}")},
        },
    }


def _channel(topic: Topic) -> JsonObject:
    policies: list[JsonValue] = [*topic.policy.split(",")]
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"Key: {topic.key}. {_placement(topic)}",
        "messages": {_tag(record): {"$ref": f"#/components/messages/{_tag(record)}"} for record in records(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": policies},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _placement(topic: Topic) -> str:
    if not topic.partitioned_like_input:
        return "Every worker of the engine reads all of it."
    if topic in topics.INPUTS:
        return (
            "The key's murmur2 hash, as Kafka's own producers compute it, gives the partition; the engine's topics "
            "all have the same number of them. What one account does stays in order, since it stays together."
        )
    return "A record stands in the same partition as the event that it comes from, whatever its own key."


def _operation(topic: Topic) -> JsonObject:
    channel = f"#/channels/{_camel(topic.name)}"
    received = topic in _READ
    return {
        "action": "receive" if received else "send",
        "channel": {"$ref": channel},
        "summary": f"The engine {'receives' if received else 'sends'} {topic.name}.",
        "messages": [{"$ref": f"{channel}/messages/{_tag(record)}"} for record in records(topic)],
    }


def _message(record: type[msgspec.Struct]) -> JsonObject:
    title, _, rest = _docstring(record).partition("\n")
    if record is RejectedEvent:
        rest += "\n\nReasons:\n\n" + "\n".join(f"* `{reason}`: {meaning}" for reason, meaning in REJECTIONS.items())
    message: JsonObject = {
        "name": _tag(record),
        "title": _tag(record).replace("_", " "),
        "summary": title,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": _KAFKA_BINDING}},
    }
    if description := rest.strip():
        message["description"] = description
    if "attempt_id" in record.__struct_fields__:
        # Attempt, extensions, decisions, CDR and rated CDR of one call.
        message["correlationId"] = {"location": "$message.payload#/attempt_id"}
    return message


def _schemas(carried: Sequence[type[msgspec.Struct]], ref: str) -> JsonObject:
    """The schemas of records and of all that they are made of, by name."""
    _, components = msgspec.json.schema_components(carried, ref_template=ref)
    return {name: _tidy(schema) for name, schema in components.items()}


def _tidy(schema: JsonValue) -> JsonValue:
    """What msgspec says, in keywords that JSON Schema and AsyncAPI share."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy: JsonObject = {}
    for keyword, value in schema.items():
        match keyword, value:
            case "discriminator", _:
                # OpenAPI's. The tags are constants, so that it adds nothing.
                continue
            case "enum", [only]:
                tidy["const"] = only
            case "properties", dict():
                # Names of fields, not keywords.
                tidy[keyword] = {name: _tidy(field) for name, field in value.items()}
            case "description", str():
                tidy[keyword] = inspect.cleandoc(value)
            case "anyOf", list():
                tidy[keyword] = [*_choices(value)]
            case "default", _:
                tidy[keyword] = value
            case _:
                tidy[keyword] = _tidy(value)
    return tidy


def _choices(schemas: list[JsonValue]) -> Iterator[JsonValue]:
    """The choices, those of a choice among them included."""
    for schema in map(_tidy, schemas):
        if isinstance(schema, dict) and isinstance(inner := schema.get("anyOf"), list) and len(schema) == 1:
            yield from inner
        else:
            yield schema


def _tag(record: type[msgspec.Struct]) -> str:
    return str(record.__struct_config__.tag)


def _docstring(record: type[msgspec.Struct]) -> str:
    return inspect.cleandoc(record.__doc__ or "")


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _operation_name(topic: Topic) -> str:
    name = _camel(topic.name)
    return ("receive" if topic in _READ else "send") + name[0].upper() + name[1:]


def stale(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Paths of the folder that are missing, differ from what is wanted, or are not wanted at all."""
    there = {str(path.relative_to(folder).as_posix()): path for path in folder.rglob("*") if path.is_file()}
    differ = {path for path, text in wanted.items() if path not in there or there[path].read_bytes() != text.encode()}
    return sorted(differ | (there.keys() - wanted.keys()))


def write(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Makes the folder hold what is wanted and nothing else; the paths that were written or removed."""
    changed = stale(folder, wanted)
    for path in changed:
        file = folder / path
        if path in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wanted[path].encode())
        else:
            file.unlink()
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks the documents. The exit code: 1 when `--check` finds something stale."""
    parser = argparse.ArgumentParser(prog="python -m schemas.documents", description="Write the wire's documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a document is stale")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are (default: %(default)s)")
    asked = parser.parse_args(arguments)
    wanted = documents()
    if asked.check:
        found = stale(asked.folder, wanted)
        for path in found:
            sys.stderr.write(f"{asked.folder / path} is stale: run python -m schemas.documents\n")
        return 1 if found else 0
    for path in write(asked.folder, wanted):
        sys.stdout.write(f"{asked.folder / path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
