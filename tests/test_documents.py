"""The generated documents: up to date, true of every record, and sound as JSON Schema and as AsyncAPI."""

import json
import re
from functools import cache
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from contract_examples import INPUTS, OUTPUTS, REFERENCE, Json
from golden.update import FOLDER as GOLDEN
from golden.update import NAMES
from schema_validator import ANNOTATIONS, VALIDATORS, keywords, problems, refs, resolved

from schemas import documents, topics
from schemas.codec import decode_account_command, decode_cdr, decode_switch_event
from schemas.facts import REJECTIONS
from schemas.reference import PublishedReference
from schemas.topics import Topic


@cache
def schema_of(topic: Topic) -> Json:
    schema: Json = json.loads((documents.FOLDER / "json-schema" / f"{topic.name}.json").read_text())
    return schema


# -- up to date -------------------------------------------------------------------------------------------------------


def test_the_documents_are_what_the_structs_say() -> None:
    assert documents.stale(documents.FOLDER, documents.documents()) == [], "run python -m schemas.documents"


def test_a_document_that_is_missing_changed_or_left_over_is_found_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--folder", str(tmp_path)]
    assert documents.main(arguments) == 0
    assert documents.main([*arguments, "--check"]) == 0
    (tmp_path / "json-schema/cdrs.json").unlink()
    (tmp_path / "json-schema/former-topic.json").write_text("{}")
    (tmp_path / "asyncapi.json").write_text("{}")
    capsys.readouterr()

    assert documents.main([*arguments, "--check"]) == 1

    told = capsys.readouterr().err
    assert all(name in told for name in ("cdrs.json", "former-topic.json", "asyncapi.json"))
    assert documents.main(arguments) == 0
    assert documents.main([*arguments, "--check"]) == 0
    assert not (tmp_path / "json-schema/former-topic.json").exists()


def test_each_topic_has_its_schema_and_the_engines_own_has_none() -> None:
    names = {path.stem for path in (documents.FOLDER / "json-schema").glob("*.json")}

    assert names == {topic.name for topic in topics.ALL} - {"engine-state"}
    assert "engine-state" not in (documents.FOLDER / "asyncapi.json").read_text()


# -- true of every record ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("topic", "record"), INPUTS, ids=lambda value: getattr(value, "name", None) or value["type"])
def test_the_contracts_events_are_what_the_schemas_ask_for(topic: Topic, record: Json) -> None:
    assert problems(schema_of(topic), record, known_only=True) == []
    # The schema and the engine's decoder agree.
    decode = {"call-attempts": decode_switch_event, "cdrs": decode_cdr}.get(topic.name, decode_account_command)
    decode(json.dumps(record).encode())


@pytest.mark.parametrize(("topic", "record"), OUTPUTS, ids=lambda value: getattr(value, "name", None) or value["type"])
def test_the_contracts_answers_have_only_fields_that_the_schemas_know(topic: Topic, record: Json) -> None:
    # The examples leave out what came later, and so may miss a field.
    assert problems(schema_of(topic), record, known_only=True, whole=False) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("topic", "file"),
    [
        (topics.CALL_DECISIONS, "decisions.jsonl"),
        (topics.RATED_CDRS, "rated-cdrs.jsonl"),
        (topics.ACCOUNT_BALANCES, "account-balances.jsonl"),
        (topics.ACCOUNT_MOVEMENTS, "account-movements.jsonl"),
        (topics.NUMBER_NCV, "number-ncv.jsonl"),
        (topics.REJECTED_EVENTS, "rejected-events.jsonl"),
        (topics.NOTICES, "notices.jsonl"),
    ],
)
def test_what_the_engine_publishes_is_what_the_schemas_say(name: str, topic: Topic, file: str) -> None:
    for line in (GOLDEN / name / "expected" / file).read_bytes().splitlines():
        assert problems(schema_of(topic), json.loads(line), known_only=True) == []


@pytest.mark.parametrize("record", REFERENCE, ids=lambda record: record["type"])
def test_reference_records_are_what_the_schemas_ask_for(record: Json) -> None:
    assert problems(schema_of(topics.REFERENCE), record, known_only=True) == []
    msgspec.convert(record, PublishedReference)


def test_every_record_of_every_topic_has_an_example_here() -> None:
    shown = {(topic.name, record["type"]) for topic, record in [*INPUTS, *OUTPUTS]}
    shown |= {("reference", record["type"]) for record in REFERENCE}
    # The contract names these two without an example: notices are in the golden replays, `traffic` is internal sums.
    shown |= {("notices", "notice"), ("traffic", "traffic")}

    assert shown == {
        (topic.name, str(record.__struct_config__.tag))
        for topic in documents.PUBLIC
        for record in documents.records(topic)
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"attempt_id": ""}, "minLength"),
        ({"attempt_id": "x" * 65}, "maxLength"),
        ({"called": 381114112060}, "type"),
        ({"requested_seconds": 0}, "minimum"),
        ({"requested_seconds": True}, "type"),
        ({"type": "call_transfer"}, "const"),
        ({"at": None}, "type"),
    ],
)
def test_the_schemas_refuse_what_the_decoder_refuses(change: Json, problem: str) -> None:
    record = INPUTS[0][1] | change

    assert problem in " ".join(problems(schema_of(topics.CALL_ATTEMPTS), record))
    with pytest.raises(msgspec.ValidationError):
        decode_switch_event(json.dumps(record).encode())


def test_a_missing_field_is_refused_and_an_unknown_one_ignored() -> None:
    topic, record = INPUTS[0]

    assert problems(schema_of(topic), {field: value for field, value in record.items() if field != "called"})
    assert problems(schema_of(topic), {field: value for field, value in record.items() if field != "caller"}) == []
    assert problems(schema_of(topic), record | {"colour": "red"}) == []


# -- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", documents.PUBLIC, ids=lambda topic: topic.name)
def test_a_json_schema_is_complete_in_itself_and_in_plain_keywords(topic: Topic) -> None:
    schema = schema_of(topic)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f":{topic.name}")
    assert schema["title"]
    assert schema["description"]
    assert set(refs(schema)) == {f"#/$defs/{name}" for name in schema["$defs"]}, "each definition is used, none missing"
    for name, part in schema["$defs"].items():
        assert part["title"] == name
        assert part["description"], f"{name} says what it is"
        assert "\n  " not in part["description"], "no indentation of the source"
        assert set(keywords(part)) <= VALIDATORS.keys() | ANNOTATIONS
        assert set(part["required"]) <= part["properties"].keys()


def test_every_field_of_the_structs_is_in_the_schemas() -> None:
    for topic in documents.PUBLIC:
        for record in documents.records(topic):
            fields = {"type", *get_type_hints(record).keys() & set(record.__struct_fields__)}
            assert schema_of(topic)["$defs"][record.__name__]["properties"].keys() == fields


@cache
def asyncapi() -> Json:
    document: Json = json.loads((documents.FOLDER / "asyncapi.json").read_text())
    return document


def test_the_asyncapi_document_has_what_asyncapi_3_demands() -> None:
    document = asyncapi()

    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    assert document.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    assert {channel["address"] for channel in document["channels"].values()} == {
        topic.name for topic in documents.PUBLIC
    }
    for channel in document["channels"].values():
        assert channel.keys() <= {"address", "title", "description", "messages", "bindings"}
        assert channel["bindings"]["kafka"]["topic"] == channel["address"]
    for operation in document["operations"].values():
        assert operation.keys() <= {"action", "channel", "summary", "messages"}
        assert operation["action"] in ("send", "receive")
    for message in document["components"]["messages"].values():
        assert message.keys() >= {"name", "title", "summary", "contentType", "payload"}
    names = re.compile(r"[A-Za-z0-9._-]+")
    for kind in (document["channels"], document["operations"], *document["components"].values()):
        assert all(names.fullmatch(name) for name in kind)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()

    found = set(refs(document))

    assert found
    for ref in found:
        assert isinstance(resolved(document, ref), dict), ref
    for kind in ("messages", "schemas"):
        assert {f"#/components/{kind}/{name}" for name in document["components"][kind]} <= found, "none is left over"


def test_operations_take_their_messages_from_their_own_channel() -> None:
    document = asyncapi()
    channels = set()
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        channels.add(channel)
        # An operation's messages must be the channel's, not the components'.
        assert {message["$ref"] for message in operation["messages"]} == {
            f"{channel}/messages/{name}" for name in resolved(document, channel)["messages"]
        }
    assert channels == {f"#/channels/{name}" for name in document["channels"]}


def test_the_engine_receives_what_others_write_and_sends_the_rest() -> None:
    document = asyncapi()
    actions = {
        resolved(document, operation["channel"]["$ref"])["address"]: operation["action"]
        for operation in document["operations"].values()
    }

    assert {name for name, action in actions.items() if action == "receive"} == {
        "call-attempts",
        "cdrs",
        "account-commands",
        "reference",
    }


def test_a_channel_tells_its_key_and_its_policy() -> None:
    for channel in asyncapi()["channels"].values():
        topic = topics.BY_NAME[channel["address"]]
        assert topic.key in channel["description"]
        assert channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] == topic.policy.split(",")


def test_the_message_of_a_rejected_event_lists_the_reasons() -> None:
    description = asyncapi()["components"]["messages"]["rejected_event"]["description"]

    assert all(f"`{reason}`: {meaning}" in description for reason, meaning in REJECTIONS.items())
