"""FreeSWITCH's JSON CDRs, as its mod_json_cdr writes them, into CDRs.

One document is one leg, with the channel's `variables`, and `callflow`, the newest part of the call first. A file may
hold one document or many. Values of `variables` are URL-encoded unless the module is set to encode-values=false; the
documents show which: `start_stamp`, for one, has a space if they are not.

How a document is read:

* One CDR a call, from its a-leg: it carries the account, the number dialled and the time that the caller pays for.
  A b-leg, which is a leg that another one originated, is skipped, not bad. The setting `legs` turns that round.
* `cdr_id` is the leg's uuid; `attempt_id` the variable `tollgate_attempt_id`, where the dialplan sets it, else
  `sip_call_id`.
* Numbers are those of the variables `caller_id_number` and `destination_number`, else of the newest caller profile:
  what the dialplan routed by.
* The provider is the variable `tollgate_provider_id` as it is; else the gateway, by the settings' table: the variable
  `sip_gateway_name` (a b-leg's own; an a-leg has it by `import=sip_gateway_name`), or the one gateway that the dial
  string of the last bridge names. An answered call whose dial string names several is a bad row: which of them carried
  it, and so what it cost, the a-leg does not know.
* Moments are the variables `start_uepoch`, `answer_uepoch`, `end_uepoch`, else the times of the callflow. An answer
  of 0 is none. `billable_seconds` is answer to end, rounded up; billsec, a difference of cut-off seconds, is not used.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import msgspec

from connectors.convert import common
from connectors.convert.common import BadRow, ConvertSettings, FieldError, TimeNames, Times
from connectors.convert.documents import Document, documents
from schemas.events import Cdr

_NAMES = TimeNames(started="start_uepoch", answered="answer_uepoch", ended="end_uepoch", billable="billsec")
_GATEWAY = re.compile(r"sofia/gateway/([^/|,:\[\]{}<>]+(?:::[^/|,:\[\]{}<>]+)?)/")
_EPOCH_US = re.compile(r"[0-9]{1,17}")
_NEVER_LEFT_BY_ENCODING = re.compile('[ "<>]')
_CAUSES = {"NORMAL_CLEARING": "normal", "USER_BUSY": "busy"}


class _Skip(Exception):
    """This leg is not asked for. Says which it is."""


def read_json_cdr(lines: Iterable[str], settings: ConvertSettings) -> Iterator[Cdr | BadRow]:
    """CDRs of the documents in `lines`, in one file or many put together.

    Lines are text: decode bytes that are no UTF-8 with errors="replace". Nothing in them raises.
    """
    for document in documents(lines):
        if isinstance(document, BadRow):
            yield document
            continue
        try:
            yield _cdr(_Leg(document), settings)
        except FieldError as error:
            yield BadRow(document.line, str(error))
        except _Skip as reason:
            yield BadRow(document.line, str(reason), skipped=True)


class _Leg:
    """One document, its values as text. Raises FieldError when it is no leg's CDR."""

    def __init__(self, document: Document) -> None:
        try:
            content = msgspec.json.decode(document.text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise FieldError(f"the document is not JSON: {error}") from None
        self._variables = _object(_object(content).get("variables"))
        if not self._variables:
            raise FieldError("the document has no variables; is it a CDR of mod_json_cdr?")
        flow = _object(content).get("callflow")
        # Older versions write one part as an object, not a list of one.
        self._flow = [_object(part) for part in (flow if isinstance(flow, list) else [flow])]
        self._encoded = not any(_NEVER_LEFT_BY_ENCODING.search(_text(value)) for value in self._variables.values())

    def variable(self, name: str) -> str:
        """A variable of the channel; empty when it is not set."""
        text = _text(self._variables.get(name))
        return unquote(text, errors="replace") if self._encoded and "%" in text else text

    def profile(self, name: str) -> str:
        """A field of the newest caller profile that has it; empty when none does."""
        profiles = (_object(part.get("caller_profile")) for part in self._flow)
        return next((text for profile in profiles if (text := _text(profile.get(name)))), "")

    def times(self, name: str) -> list[str]:
        """A time of the callflow in all its parts that have it, the newest first."""
        times = (_text(_object(part.get("times")).get(name)) for part in self._flow)
        return [text for text in times if text not in ("", "0")]

    def is_b(self) -> bool:
        """Whether another leg originated this one; the direction does not tell, `originate` makes outbound a-legs."""
        return bool(self.variable("originator") or self.variable("originating_leg_uuid")) or any(
            _object(part.get("caller_profile")).get("originator") for part in self._flow
        )


def _cdr(leg: _Leg, settings: ConvertSettings) -> Cdr:
    if settings.legs != "both" and leg.is_b() != (settings.legs == "b"):
        asked, other = ("a", "b") if settings.legs == "a" else ("b", "a")
        raise _Skip(f"a {other}-leg; the call's CDR comes from its {asked}-leg")
    cdr_id = common.call_id("uuid", leg.variable("uuid") or leg.profile("uuid"))
    if cdr_id is None:
        raise FieldError("uuid is missing from variables and callflow: the leg can't be told from others")
    attempt = leg.variable("tollgate_attempt_id") or leg.variable("sip_call_id")
    times = _times(leg)
    cause = common.plain_text("hangup_cause", leg.variable("hangup_cause"))
    called = leg.variable("destination_number") or leg.profile("destination_number")
    caller = leg.variable("caller_id_number") or leg.profile("caller_id_number")
    return common.build(
        settings,
        cdr_id=cdr_id,
        attempt_id=common.call_id("sip_call_id", attempt),
        account_id=common.plain_text("accountcode", leg.variable("accountcode")),
        service=settings.service_of(leg.profile("context")),
        caller=common.caller_number(caller, settings.numbers),
        called=common.called_number("destination_number", called, settings.numbers),
        provider_id=_provider(leg, settings, answered=times.answered is not None),
        times=times,
        billable_seconds=common.billable(times, _NAMES, None),
        cause=cause and _CAUSES.get(cause, cause.lower()),
    )


def _times(leg: _Leg) -> Times:
    # A part of the callflow begins with each transfer: the channel began with the oldest.
    started = _moment("start_uepoch", leg.variable("start_uepoch"), leg.times("created_time")[-1:])
    answered = _moment("answer_uepoch", leg.variable("answer_uepoch"), leg.times("answered_time")[-1:])
    ended = _moment("end_uepoch", leg.variable("end_uepoch"), leg.times("hangup_time")[:1])
    if started is None or ended is None:
        missing = "start_uepoch" if started is None else "end_uepoch"
        raise FieldError(f"{missing} is missing from variables, and so is its time in callflow")
    return Times(started, answered, ended)


def _moment(name: str, text: str, fallback: list[str]) -> int | None:
    """Microseconds since 1970; the fallback stands in only where the variable is not set: "0" says never."""
    text = text or "".join(fallback)
    if _EPOCH_US.fullmatch(text or "0") is None:
        raise FieldError(f"{name} {text[:30]!r} must be microseconds since 1970")
    us = int(text or "0")
    return common.checked_moment(name, us) if us else None


def _provider(leg: _Leg, settings: ConvertSettings, *, answered: bool) -> str | None:
    if provider_id := common.plain_text("tollgate_provider_id", leg.variable("tollgate_provider_id")):
        return provider_id
    gateway = leg.variable("sip_gateway_name") or _dialled_gateway(leg, answered=answered)
    return common.plain_text("sip_gateway_name", settings.provider_of(gateway) or "") if gateway else None


def _dialled_gateway(leg: _Leg, *, answered: bool) -> str:
    dialled = ""
    for application, argument in (("last_app", "last_arg"), ("current_application", "current_application_data")):
        if leg.variable(application) == "bridge":
            dialled = dialled or leg.variable(argument)
    # A gateway may be named with its profile: external::megafon.
    gateways = {name.rpartition("::")[2] for name in _GATEWAY.findall(dialled)}
    if len(gateways) > 1 and answered:
        raise FieldError(
            f"sip_gateway_name is missing, and the bridge names several gateways ({', '.join(sorted(gateways))[:80]}): "
            "which one carried the call? Put import=sip_gateway_name before the bridge in the dialplan"
        )
    return gateways.pop() if len(gateways) == 1 else ""


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Values are texts; other writers of the same format leave small numbers bare."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else ""
