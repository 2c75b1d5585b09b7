"""Asterisk's Master.csv, as its cdr_csv module writes it, into CDRs.

A row has 16 fields, then what cdr.conf's [csv] section switches on, in this order: `uniqueid` (loguniqueid),
`userfield` (loguserfield), and `peeraccount, linkedid, sequence` (newcdrcolumns). No header tells which, so the number
of fields does, and where one field could be either, its shape: a unique id ends in seconds since 1970, a point and a
number. Texts are quoted with quotes doubled, numbers are not, a moment that never came is empty.

How a row is read:

* `cdr_id` is the uniqueid, with the sequence behind it where there is one, since a forked CDR keeps the uniqueid of
  its call; without a uniqueid it is a digest of the row. Several Asterisks need `systemname` in asterisk.conf, or
  their unique ids may coincide. `attempt_id` is the linkedid, else the uniqueid.
* The disposition decides: only ANSWERED has an answer. With another one answer and billsec are left aside, as they
  come from a channel that the dialplan, not the called party, picked up. ANSWERED without an answer is a bad row.
* `billable_seconds` is billsec (parts of a second are cut off, or rounded with `initiatedseconds`), and must agree
  with answer and end to a second.
* Times are local ones in the settings' zone. In the hour that comes twice when clocks go back, duration and billsec
  tell which one is meant; where both hours fit, the first is taken. A local time that never was is a bad row.
* The provider is the trunk in dstchannel (`PJSIP/megafon-0000001a`), by the settings' table.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from connectors.convert import common
from connectors.convert.common import BadRow, ConvertSettings, FieldError, TimeNames
from connectors.convert.rows import Row, split_rows
from schemas.events import Cdr

_BASIC_FIELDS = 16
_MOST_FIELDS = 21
_UNIQUE_ID = re.compile(r"(?:.*-)?[0-9]{9,11}\.[0-9]+")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?")
_NAMES = TimeNames(started="start", answered="answer", ended="end", billable="billsec")

_ANSWERED = "ANSWERED"
_CAUSES = {
    _ANSWERED: "normal",
    "NO ANSWER": "no_answer",
    "BUSY": "busy",
    "FAILED": "failed",
    "CONGESTION": "congestion",
}


class _Extras(NamedTuple):
    uniqueid: str = ""
    linkedid: str = ""
    sequence: str = ""


def read_master_csv(lines: Iterable[str], settings: ConvertSettings) -> Iterator[Cdr | BadRow]:
    """CDRs of the rows of a Master.csv, or of a file of one account code; rows may differ in their optional fields.

    Lines are text: decode bytes that are no UTF-8 with errors="replace". Nothing in them raises.
    """
    for row in split_rows(lines, is_whole=lambda fields: _BASIC_FIELDS <= len(fields) <= _MOST_FIELDS):
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield _cdr(row, settings)
        except FieldError as error:
            yield BadRow(row.line, str(error))


def _cdr(row: Row, settings: ConvertSettings) -> Cdr:
    count = len(row.fields)
    if not _BASIC_FIELDS <= count <= _MOST_FIELDS:
        raise FieldError(
            f"the row has {count} fields, Asterisk writes {_BASIC_FIELDS} to {_MOST_FIELDS}; "
            "was it cut off, or written by cdr_custom? For that use the csv format with a mapping"
        )
    (account, src, dst, context, _clid, _channel, dstchannel, _lastapp, _lastdata) = row.fields[:9]
    (start, answer, end, duration, billsec, disposition, _amaflags) = row.fields[9:_BASIC_FIELDS]
    extras = _extras(row.fields[_BASIC_FIELDS:])

    if disposition not in _CAUSES:
        raise FieldError(f"disposition {disposition[:20]!r} is none of {', '.join(_CAUSES)}")
    answered = disposition == _ANSWERED
    if answered and not answer:
        raise FieldError("disposition is ANSWERED, but answer is empty; correct one of them")
    zone = ZoneInfo(settings.time_zone)
    billsec_seconds = common.whole_number("billsec", billsec)
    times = common.choose_times(
        _readings("start", start, zone),
        _readings("answer", answer, zone) if answered else None,
        _readings("end", end, zone),
        total_seconds=common.whole_number("duration", duration),
        billable_seconds=billsec_seconds,
    )
    uniqueid = common.call_id("uniqueid", extras.uniqueid)
    return common.build(
        settings,
        cdr_id=_cdr_id(extras) or common.row_id(settings.switch_id, row.fields),
        attempt_id=common.call_id("linkedid", extras.linkedid) or uniqueid,
        account_id=common.plain_text("accountcode", account),
        service=settings.service_of(context),
        caller=common.caller_number(src, settings.numbers),
        called=common.called_number("dst", dst, settings.numbers),
        provider_id=_provider(dstchannel, settings),
        times=times,
        billable_seconds=common.billable(times, _NAMES, billsec_seconds),
        cause=_CAUSES[disposition],
    )


def _extras(fields: list[str]) -> _Extras:
    linkedid = sequence = ""
    if len(fields) >= 3:
        *fields, _peeraccount, linkedid, sequence = fields
        if sequence:
            common.whole_number("sequence", sequence.removeprefix("-"))  # wraps around below zero after 2^31 CDRs
    if len(fields) == 2 or (fields and _UNIQUE_ID.fullmatch(fields[0])):
        return _Extras(fields[0], linkedid, sequence)
    return _Extras("", linkedid, sequence)


def _cdr_id(extras: _Extras) -> str | None:
    if not extras.uniqueid:
        return None
    return common.call_id("uniqueid", f"{extras.uniqueid}-{extras.sequence}" if extras.sequence else extras.uniqueid)


def _readings(name: str, text: str, zone: ZoneInfo) -> tuple[int, ...]:
    if _MOMENT.fullmatch(text) is None:
        raise FieldError(f"{name} {text[:30]!r} must be a local time such as 2026-11-24 18:30:00")
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise FieldError(f"{name} {text!r} is no day and time of a calendar") from None
    return common.local_readings(name, local, zone)


def _provider(channel: str, settings: ConvertSettings) -> str | None:
    """`PJSIP/megafon-0000001a` is the trunk megafon of PJSIP; `DAHDI/i1/74951234567-5` the span i1; Local is none."""
    technology, slash, rest = channel.partition("/")
    if not slash or technology == "Local":
        return None
    trunk = rest.rpartition("-")[0].partition("/")[0] or rest
    return common.plain_text("dstchannel", settings.provider_of(f"{technology}/{trunk}", trunk) or "")
