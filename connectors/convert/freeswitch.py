"""FreeSWITCH's mod_json_cdr documents into CDRs: one a file, one a line, or any number of them one after another.

A document is one leg of a call. The a-leg (`channel_data.direction` inbound: it came in to the switch) carries the
account and the number dialled, the b-leg the provider's side; with `log-b-leg` off only a-legs are written. One call is
one CDR, so by default b-legs are skipped (`legs` in the settings).

* `cdr_id` is the leg's uuid. `attempt_id` is the variable `tollgate_attempt_id` if the dialplan sets it, else
  `sip_call_id`. The account is `accountcode`.
* Times are the microsecond variables (`start_uepoch` …), else the times of the first callflow entry. 0 means never.
  `billable_seconds` are counted from answer to end, rounded up: `billsec` has its parts of a second cut off.
* The provider is the gateway of the b-leg that a bridged a-leg names (`sip_gateway_name`, `last_bridge_gateway`,
  or the gateway in `last_arg` of a bridge: `sofia/gateway/megafon/…`), by the settings' table.
* Values may be URL-encoded (`encode-values`), which is undone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from connectors.convert import common
from connectors.convert.common import BadRow, ConvertSettings, FieldError, TimeNames, Times
from schemas.events import Cdr

MAX_DOCUMENT_CHARS = 1_000_000
"""A real one has some ten thousand; past this the end was lost."""

_NAMES = TimeNames(started="start_uepoch", answered="answer_uepoch", ended="end_uepoch", billable="billsec")
_GATEWAY = re.compile(r"sofia/gateway/([^/,|]+)/")
_CAUSES = {
    "NORMAL_CLEARING": "normal",
    "ORIGINATOR_CANCEL": "cancel",
    "NO_ANSWER": "no_answer",
    "NO_USER_RESPONSE": "no_answer",
    "USER_BUSY": "busy",
    "NORMAL_CIRCUIT_CONGESTION": "congestion",
}


class Document(NamedTuple):
    """One JSON object and the line, from 1, that it begins at."""

    line: int
    body: Mapping[str, object]


def read_json_cdr(lines: Iterable[str], settings: ConvertSettings) -> Iterator[Cdr | BadRow]:
    """CDRs of the documents. Decode bytes that are no UTF-8 with errors="replace". Nothing in them raises."""
    for document in split_documents(lines):
        if isinstance(document, BadRow):
            yield document
            continue
        try:
            leg = _leg(document.body)
            if settings.legs not in ("both", leg):
                yield BadRow(document.line, f"the {leg}-leg of a call; legs is {settings.legs!r}", skipped=True)
                continue
            yield _cdr(document.body, settings)
        except FieldError as error:
            yield BadRow(document.line, str(error))


def split_documents(lines: Iterable[str]) -> Iterator[Document | BadRow]:
    """The JSON objects of a text. A damaged one is given up at its first line; reading goes on at the next line that
    opens one."""
    decoder = json.JSONDecoder()
    buffer, first = "", 0
    for line, text in enumerate(lines, start=1):
        # A line that opens a document ends one that was cut off before it.
        if buffer and text.startswith('{"core-uuid"'):
            yield BadRow(first, "the document is cut off: its closing brace is missing")
            buffer = ""
        if not buffer:
            text = text.lstrip()
            if not text:
                continue
            first = line
            if not text.startswith("{"):
                yield BadRow(line, f"{text[:20].strip()!r} begins no JSON document; one begins with a brace")
                continue
        buffer += text
        if len(buffer) > MAX_DOCUMENT_CHARS:
            yield BadRow(first, f"the document is longer than {MAX_DOCUMENT_CHARS} characters; is its end missing?")
            buffer = ""
            continue
        while buffer and "}" in text:
            try:
                body, end = decoder.raw_decode(buffer)
            except RecursionError:
                yield BadRow(first, "the document is nested too deeply to be a CDR")
                buffer = ""
                break
            except ValueError as error:
                if not text.rstrip().endswith("}") or _may_go_on(buffer, error):
                    break
                yield BadRow(first, f"the document is no JSON: {error}")
                buffer = ""
                break
            buffer = buffer[end:].lstrip()
            if isinstance(body, dict):
                yield Document(first, body)
            first = line
            if buffer and not buffer.startswith("{"):
                yield BadRow(line, f"{buffer[:20].strip()!r} stands behind a document; one begins with a brace")
                buffer = ""
    if buffer.strip():
        yield BadRow(first, "the document is cut off: the file ends before its closing brace")


def _may_go_on(buffer: str, error: ValueError) -> bool:
    """Whether the error lies at the very end, where the next line may mend it."""
    position = getattr(error, "pos", 0)
    return position >= len(buffer.rstrip()) or "Unterminated string" in str(error)


def _leg(body: Mapping[str, object]) -> str:
    direction = _text(_table(body, "channel_data"), "direction") or _text(_variables(body), "direction")
    if direction not in ("inbound", "outbound"):
        raise FieldError(f"channel_data.direction {direction[:20]!r} is neither inbound nor outbound")
    return "a" if direction == "inbound" else "b"


def _cdr(body: Mapping[str, object], settings: ConvertSettings) -> Cdr:
    variables = _variables(body)
    profile = _profile(body)
    times = _times(variables, body)
    uuid = common.call_id("variables.uuid", _text(variables, "uuid"))
    if uuid is None:
        raise FieldError("variables.uuid is missing: without it the call can't be told from its repetition")
    called = (
        _text(variables, "tollgate_called")
        or _text(variables, "destination_number")
        or _text(profile, "destination_number")
    )
    caller = _text(variables, "caller_id_number") or _text(profile, "caller_id_number")
    cause = _text(variables, "hangup_cause")
    switch = _text(body, "switchname")
    return common.build(
        settings,
        cdr_id=uuid,
        switch_id=common.plain_text("switchname", switch) if switch else None,
        attempt_id=common.call_id(
            "tollgate_attempt_id", _text(variables, "tollgate_attempt_id") or _text(variables, "sip_call_id")
        ),
        account_id=common.plain_text("accountcode", _text(variables, "accountcode")),
        service=settings.service_of(_text(variables, "context") or _text(profile, "context")),
        caller=common.caller_number(caller, settings.numbers),
        called=common.called_number("destination_number", called, settings.numbers),
        provider_id=_provider(variables, settings),
        times=times,
        billable_seconds=common.billable(times, _NAMES, None),
        cause=common.plain_text("hangup_cause", _CAUSES.get(cause, cause.lower())),
    )


def _times(variables: Mapping[str, object], body: Mapping[str, object]) -> Times:
    flow = _table(_first(body.get("callflow")), "times")

    def moment(variable: str, *fallbacks: str) -> int | None:
        text = _text(variables, variable) or next((_text(flow, name) for name in fallbacks if _text(flow, name)), "")
        if not text or text == "0":
            return None
        if len(text) > 20 or not text.isascii() or not text.isdecimal():
            raise FieldError(f"{variable} {text[:24]!r} must be whole microseconds since 1970")
        return common.checked_moment(variable, int(text))

    started = moment("start_uepoch", "created_time", "profile_created_time")
    ended = moment("end_uepoch", "hangup_time")
    if started is None or ended is None:
        missing = "start_uepoch" if started is None else "end_uepoch"
        raise FieldError(f"variables.{missing} is missing, and so is its time in callflow")
    return Times(started, moment("answer_uepoch", "answered_time"), ended)


def _provider(variables: Mapping[str, object], settings: ConvertSettings) -> str | None:
    gateway = _text(variables, "last_bridge_gateway") or _text(variables, "sip_gateway_name")
    if not gateway:
        bridged = _GATEWAY.search(_text(variables, "last_arg")) or _GATEWAY.search(
            _text(variables, "current_application_data")
        )
        gateway = bridged.group(1) if bridged else ""
    if not gateway:
        return None
    return common.plain_text("gateway", settings.provider_of(gateway) or "")


def _variables(body: Mapping[str, object]) -> Mapping[str, object]:
    variables = body.get("variables")
    if not isinstance(variables, dict):
        raise FieldError("variables are missing: is this a document of mod_json_cdr?")
    return variables


def _profile(body: Mapping[str, object]) -> Mapping[str, object]:
    return _table(_first(body.get("callflow")), "caller_profile")


def _first(flows: object) -> Mapping[str, object]:
    if isinstance(flows, list) and flows and isinstance(flows[0], dict):
        return flows[0]
    return flows if isinstance(flows, dict) else {}


def _table(body: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _text(table: Mapping[str, object], name: str) -> str:
    """A value as text, URL-encoding undone; "" when it is not there."""
    value = table.get(name)
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return ""
    return unquote(value) if "%" in value else value
