"""CDR files of real switches become the CDRs that were meant, and nothing in a file stops the rest of it."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.convert import (
    EXAMPLE,
    BadRow,
    ConvertSettings,
    CsvMapping,
    MappingError,
    NumberRule,
    convert,
    load_mapping,
    parse_mapping,
    read_json_cdr,
    read_mapped_csv,
    read_master_csv,
)
from connectors.convert.documents import MAX_DOCUMENT_CHARS
from connectors.convert.rows import MAX_ROW_CHARS
from engine.rating import Moments, moments
from schemas.codec import decode_cdr, encode
from schemas.events import Cdr
from schemas.times import to_datetime, to_us

DATA = Path(__file__).parent / "data" / "convert"
MSK_1 = ConvertSettings(switch_id="msk-1", providers={"megafon": "MEG"}, services={"from-trunk": "incoming"})


def cdrs(outcomes: Iterable[Cdr | BadRow]) -> list[Cdr]:
    """All outcomes, when none of them is bad."""
    found = list(outcomes)
    assert [outcome for outcome in found if isinstance(outcome, BadRow)] == []
    return [outcome for outcome in found if isinstance(outcome, Cdr)]


def only_bad(outcomes: Iterable[Cdr | BadRow]) -> BadRow:
    (outcome,) = outcomes
    assert isinstance(outcome, BadRow), outcome
    return outcome


# --- Numbers as people write them


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("8(495) 200-0-200", "74952000200"),
        ("8 495 200 02 00", "74952000200"),
        ("+7 (495) 200-02-00", "74952000200"),
        ("+81312345678", "81312345678"),
        ("8 10 381 11 141120", "38111141120"),
        ("74952000200", "74952000200"),
        ("112", "112"),
        ("1001", "1001"),
        ("84952000", "84952000"),
        ("8495200\u00a0\u20110200", "74952000200"),
    ],
)
def test_numbers_are_normalised_at_entry(written: str, e164: str) -> None:
    assert NumberRule().e164(written) == e164


def test_another_country_has_its_own_prefixes_and_an_empty_prefix_is_no_prefix() -> None:
    germany = NumberRule(country_code="49", national_prefix="0", national_digits=10, international_prefix="00")
    assert germany.e164("0301 2345678") == "493012345678"
    assert germany.e164("00381 1112223") == "3811112223"
    assert NumberRule(national_prefix="", international_prefix="").e164("8 495 2000200") == "84952000200"


def test_with_normalising_off_a_number_stays_as_the_switch_wrote_it() -> None:
    off = replace(MSK_1, numbers=None)
    (cdr,) = cdrs(read_master_csv([master(dst="81312345678")], off))
    assert cdr.called == "81312345678"
    assert "dst '+7495'" in only_bad(read_master_csv([master(dst="+7495")], off)).message


def test_wrong_settings_are_all_named_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        ConvertSettings(switch_id="", time_zone="Europe/Moskva", providers={"megafon": "x" * 65}, place="\n")
    for name in ("switch_id", "time_zone", "providers['megafon']", "place"):
        assert name in str(caught.value)
    for zone in ("", "../etc/passwd", "/etc/passwd", "a\0b"):
        with pytest.raises(ValueError, match="time_zone"):
            ConvertSettings(switch_id="msk-1", time_zone=zone)


# --- Asterisk


def master(
    *extras: str,
    account: str = "100200",
    src: str = "74951234567",
    dst: str = "83811141120",
    context: str = "from-internal",
    dstchannel: str = "PJSIP/megafon-0000001a",
    start: str = "2026-11-24 18:30:00",
    answer: str = "2026-11-24 18:30:07",
    end: str = "2026-11-24 18:32:12",
    duration: str = "132",
    billsec: str = "125",
    disposition: str = "ANSWERED",
) -> str:
    """One row of a Master.csv as cdr_csv quotes it; extras as they are."""
    texts = [account, src, dst, context, '"A" <1>', "PJSIP/office-00000019", dstchannel, "Dial", "x", start]
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    moments = [f'"{moment}"' if moment else "" for moment in (answer, end)]
    return ",".join([*quoted, *moments, duration, billsec, f'"{disposition}"', '"DOCUMENTATION"', *extras]) + "\n"


def test_a_master_csv_of_asterisk_becomes_cdrs_and_a_row_that_was_cut_off_costs_only_itself() -> None:
    answered, unanswered, cut_off, incoming = convert("asterisk", DATA / "Master.csv", MSK_1)
    assert answered == Cdr(
        cdr_id="1795545000.25-41",
        attempt_id="1795545000.25",
        switch_id="msk-1",
        account_id="100200",
        service="outgoing",
        caller="74951234567",
        called="73811141120",
        provider_id="MEG",
        started_at="2026-11-24T18:30:00.000Z",
        answered_at="2026-11-24T18:30:07.000Z",
        ended_at="2026-11-24T18:32:12.000Z",
        billable_seconds=125,
        cause="normal",
    )
    assert isinstance(unanswered, Cdr)
    assert (unanswered.called, unanswered.cause) == ("3811141120", "no_answer")
    assert (unanswered.answered_at, unanswered.billable_seconds) == (None, 0)
    assert isinstance(cut_off, BadRow)
    assert cut_off.line == 4
    assert isinstance(incoming, Cdr)
    assert (incoming.service, incoming.account_id, incoming.provider_id) == ("incoming", None, None)
    assert (incoming.answered_at, incoming.billable_seconds) == ("2026-11-24T18:45:03.000Z", 0)


U, UF = '"1795545000.25"', '"ticket 7"'
NEW = ('""', '"1795544999.24"', "41")


@pytest.mark.parametrize(
    ("extras", "cdr_id", "attempt_id"),
    [
        ((), None, None),
        ((U,), "1795545000.25", "1795545000.25"),
        (('"msk-1-1795545000.25"',), "msk-1-1795545000.25", "msk-1-1795545000.25"),
        ((UF,), None, None),
        (('""',), None, None),
        ((U, UF), "1795545000.25", "1795545000.25"),
        ((U, '""'), "1795545000.25", "1795545000.25"),
        (NEW, None, "1795544999.24"),
        ((U, *NEW), "1795545000.25-41", "1795544999.24"),
        ((UF, *NEW), None, "1795544999.24"),
        ((U, UF, *NEW), "1795545000.25-41", "1795544999.24"),
    ],
)
def test_each_set_of_optional_fields_of_asterisk_is_told_apart(
    extras: tuple[str, ...], cdr_id: str | None, attempt_id: str | None
) -> None:
    (cdr,) = cdrs(read_master_csv([master(*extras)], MSK_1))
    assert cdr.attempt_id == attempt_id
    assert cdr.cdr_id == cdr_id if cdr_id is not None else cdr.cdr_id.startswith("row-")


def test_a_row_without_a_unique_id_has_the_same_id_each_time_and_another_one_on_another_switch() -> None:
    row, later = master(), master(end="2026-11-24 18:32:13")
    (first,), (again,) = cdrs(read_master_csv([row], MSK_1)), cdrs(read_master_csv(["\n", row], MSK_1))
    (other,) = cdrs(read_master_csv([row], replace(MSK_1, switch_id="spb-1")))
    (longer,) = cdrs(read_master_csv([later], MSK_1))
    assert first == again
    assert len({first.cdr_id, other.cdr_id, longer.cdr_id}) == 3


def test_a_row_without_a_unique_id_may_hold_what_is_no_text_in_a_field_that_is_not_used() -> None:
    (cdr,) = cdrs(read_master_csv([master().replace("Dial", "D\udcffal")], MSK_1))
    assert cdr.cdr_id.startswith("row-")


def test_a_forked_cdr_keeps_its_call_but_not_its_id() -> None:
    first, fork = cdrs(read_master_csv([master(U, *NEW), master(U, '""', '"1795544999.24"', "42")], MSK_1))
    assert first.cdr_id != fork.cdr_id
    assert first.attempt_id == fork.attempt_id


def test_a_unique_id_longer_than_an_id_may_be_is_shortened_the_same_way_each_time() -> None:
    long_name = f'"{"m" * 80}-1795545000.25"'
    first, again = cdrs(read_master_csv([master(long_name), master(long_name)], MSK_1))
    assert first.cdr_id == again.cdr_id == first.attempt_id
    assert len(first.cdr_id) == 64


@pytest.mark.parametrize(
    ("disposition", "cause"),
    [("NO ANSWER", "no_answer"), ("BUSY", "busy"), ("FAILED", "failed"), ("CONGESTION", "congestion")],
)
def test_only_answered_is_answered_whatever_else_the_row_holds(disposition: str, cause: str) -> None:
    (cdr,) = cdrs(read_master_csv([master(disposition=disposition)], MSK_1))
    assert (cdr.answered_at, cdr.billable_seconds, cdr.cause) == (None, 0, cause)


@pytest.mark.parametrize(
    ("channel", "provider"),
    [
        ("PJSIP/megafon-0000001a", "MEG"),
        ("IAX2/megafon-5", "MEG"),
        ("SIP/mega-fon-0000001a", "own:mega-fon"),
        ("DAHDI/i1/74951234567-5", "own:i1"),
        ("SIP/mts-0000001a", "sip-mts"),
        ("IAX2/mts-17", "iax-mts"),
        ("Local/100@from-internal-0000000a;2", None),
        ("", None),
    ],
)
def test_the_provider_is_the_trunk_of_the_called_channel(channel: str, provider: str | None) -> None:
    known = {"megafon": "MEG", "SIP/mts": "sip-mts", "mts": "iax-mts"}
    (kept,) = cdrs(
        read_master_csv([master(dstchannel=channel)], replace(MSK_1, providers=known, keep_unmapped_trunks=True))
    )
    (dropped,) = cdrs(read_master_csv([master(dstchannel=channel)], replace(MSK_1, providers=known)))
    if provider is not None and provider.startswith("own:"):
        assert (kept.provider_id, dropped.provider_id) == (provider.removeprefix("own:"), None)
    else:
        assert (kept.provider_id, dropped.provider_id) == (provider, provider)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (master(answer=""), "answer is empty"),
        (master(disposition="ANSWERD"), "disposition"),
        (master(billsec="-5"), "billsec"),
        (master(billsec="128"), "billsec is 128 s"),
        (master(billsec="1e2"), "billsec"),
        (master(duration=""), "duration"),
        (master(start="24.11.2026 18:30:00"), "start"),
        (master(start="2026-02-30 18:30:00"), "start"),
        (master(start="1999-11-24 18:30:00"), "start"),
        (master(end=""), "end"),
        (master(end="2026-11-24 18:29:00", billsec="0"), "end lies before start"),
        (master(answer="2026-11-24 18:29:00", billsec="192"), "answer lies outside"),
        (master(dst="s"), "dst 's'"),
        (master(dst=""), "dst ''"),
        (master(account="1" * 65), "accountcode"),
        (master(account="10\ufffd"), "accountcode"),
        (master(account="1\0"), "NUL"),
        (master(U, UF, *NEW, '""'), "22 fields"),
        (master(U, UF, '""', U, '"x"'), "sequence"),
        ('"100200","7495"\n', "2 fields"),
        ('"100200","7495\n', "cut off"),
        ('"100200"x,"7495"\n', "cut off"),
        ("\0\0\0\0\n", "NUL"),
        (master(account="1" * MAX_ROW_CHARS), "longer than"),
    ],
)
def test_a_row_that_cannot_be_read_says_why_and_the_next_one_is_read(row: str, named: str) -> None:
    bad, good = read_master_csv([row, master(U)], MSK_1)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.skipped) == (1, False)
    assert named in bad.message
    assert isinstance(good, Cdr)
    assert good.cdr_id == "1795545000.25"


def test_parts_of_a_second_that_asterisk_cuts_off_are_no_contradiction() -> None:
    shorter, longer = cdrs(read_master_csv([master(billsec="124"), master(billsec="126")], MSK_1))
    assert (shorter.billable_seconds, longer.billable_seconds) == (124, 126)


def test_a_withheld_caller_is_no_reason_to_refuse_a_row() -> None:
    (cdr,) = cdrs(read_master_csv([master(src="anonymous")], MSK_1))
    assert cdr.caller is None


def test_the_default_account_stands_in_where_the_row_names_none() -> None:
    (cdr,) = cdrs(read_master_csv([master(account="")], replace(MSK_1, default_account_id="100999", place="msk")))
    assert (cdr.account_id, cdr.place) == ("100999", "msk")


# In New York clocks go forward at 2:00 on 8 March 2026, and back at 2:00 on 1 November 2026.
NEW_YORK = replace(MSK_1, time_zone="America/New_York")


@pytest.mark.parametrize(
    ("start", "answer", "end", "duration", "billsec", "utc"),
    [
        # An ordinary day, summer and winter.
        ("2026-07-01 12:00:00", "2026-07-01 12:00:05", "2026-07-01 12:01:05", 65, 60, ("16:00:00", "16:00:05")),
        ("2026-12-01 12:00:00", "2026-12-01 12:00:05", "2026-12-01 12:01:05", 65, 60, ("17:00:00", "17:00:05")),
        # Both hours fit: the first.
        ("2026-11-01 01:10:00", "2026-11-01 01:10:05", "2026-11-01 01:20:05", 605, 600, ("05:10:00", "05:10:05")),
        # The end is behind the change: only the second hour fits.
        ("2026-11-01 01:50:00", "2026-11-01 01:50:05", "2026-11-01 02:00:05", 605, 600, ("06:50:00", "06:50:05")),
        # From the first hour into the second one.
        ("2026-11-01 01:50:00", "2026-11-01 01:50:05", "2026-11-01 01:10:05", 1205, 1200, ("05:50:00", "05:50:05")),
        # Answered after the clock went back.
        ("2026-11-01 01:59:50", "2026-11-01 01:00:05", "2026-11-01 01:01:05", 75, 60, ("05:59:50", "06:00:05")),
        # Longer than it looks: an hour passed twice.
        ("2026-11-01 00:59:00", "2026-11-01 00:59:30", "2026-11-01 02:00:00", 7260, 7230, ("04:59:00", "04:59:30")),
        # Over the hour that was left out.
        ("2026-03-08 01:59:00", "2026-03-08 01:59:30", "2026-03-08 03:00:30", 90, 60, ("06:59:00", "06:59:30")),
    ],
)
def test_local_times_are_read_across_changes_of_the_clock(
    start: str, answer: str, end: str, duration: int, billsec: int, utc: tuple[str, str]
) -> None:
    row = master(start=start, answer=answer, end=end, duration=str(duration), billsec=str(billsec))
    (cdr,) = cdrs(read_master_csv([row], NEW_YORK))
    assert cdr.answered_at is not None
    assert (cdr.started_at[11:19], cdr.answered_at[11:19]) == utc
    assert to_us(cdr.ended_at) - to_us(cdr.started_at) == duration * 1_000_000
    assert to_us(cdr.ended_at) - to_us(cdr.answered_at) == billsec * 1_000_000


@pytest.mark.parametrize(
    ("start", "answer", "end", "billsec", "outcome"),
    [
        # Clocks go back from 3:00 to 2:00 on 25 October 2026, and forward from 2:00 to 3:00 on 29 March 2026.
        ("10-25 01:59:00", "10-25 01:59:10", "10-25 02:00:10", 60, "23:59:00 23:59:10 00:00:10"),
        ("10-25 02:30:00", "10-25 02:30:10", "10-25 02:31:10", 60, "00:30:00 00:30:10 00:31:10"),
        ("10-25 02:59:00", "10-25 02:59:10", "10-25 03:00:10", 60, "01:59:00 01:59:10 02:00:10"),
        ("10-25 02:59:00", "10-25 02:59:10", "10-25 02:00:10", 60, "00:59:00 00:59:10 01:00:10"),
        ("10-25 02:59:00", "", "10-25 02:00:10", 0, "00:59:00 - 01:00:10"),
        ("03-29 01:59:00", "03-29 01:59:10", "03-29 03:00:10", 60, "00:59:00 00:59:10 01:00:10"),
        ("03-29 02:30:00", "03-29 03:30:10", "03-29 03:31:10", 60, "start 2026-03-29 02:30:00 never was"),
        ("03-29 01:59:00", "03-29 02:00:00", "03-29 03:31:10", 60, "answer 2026-03-29 02:00:00 never was"),
        ("03-29 01:59:00", "03-29 01:59:10", "03-29 02:59:59", 60, "end 2026-03-29 02:59:59 never was"),
    ],
)
def test_the_clock_of_berlin_is_read_in_utc(start: str, answer: str, end: str, billsec: int, outcome: str) -> None:
    clock = {"start": f"2026-{start}", "answer": answer and f"2026-{answer}", "end": f"2026-{end}"}
    row = master(
        **clock,
        duration="70",
        billsec=str(billsec),
        disposition="ANSWERED" if answer else "NO ANSWER",
    )
    (found,) = read_master_csv([row], replace(MSK_1, time_zone="Europe/Berlin"))
    if isinstance(found, BadRow):
        assert f"{outcome} in Europe/Berlin" in found.message
    else:
        written = (found.started_at, found.answered_at, found.ended_at)
        assert " ".join("-" if moment is None else moment[11:19] for moment in written) == outcome


def test_a_local_time_that_never_was_is_a_bad_row() -> None:
    row = master(start="2026-03-08 02:30:00", answer="2026-03-08 03:30:00", end="2026-03-08 03:31:00")
    assert "start 2026-03-08 02:30:00 never was" in only_bad(read_master_csv([row], NEW_YORK)).message


def test_a_local_call_over_the_change_of_the_clock_whose_durations_fit_no_reading_is_a_bad_row() -> None:
    row = master(
        start="2026-11-01 01:50:00", answer="2026-11-01 01:50:05", end="2026-11-01 01:10:05", duration="5", billsec="0"
    )
    assert "end lies before start" in only_bad(read_master_csv([row], NEW_YORK)).message


# --- FreeSWITCH


LEAST: dict[str, object] = {
    "uuid": "u1",
    "sip_call_id": "call-1@10.0.0.2",
    "accountcode": "100200",
    "destination_number": "83811141120",
    "start_stamp": "2026-11-24 18:30:00",
    "start_uepoch": "1795545000000000",
    "answer_uepoch": "1795545007000000",
    "end_uepoch": "1795545067000001",
    "hangup_cause": "NORMAL_CLEARING",
}


def leg(**variables: object) -> dict[str, object]:
    """A document with the least that a leg's CDR needs, and more or other variables."""
    return {"core-uuid": "c", "variables": LEAST | variables}


def read_leg(document: Mapping[str, object], chosen: ConvertSettings = MSK_1) -> Cdr | BadRow:
    (outcome,) = read_json_cdr([json.dumps(document)], chosen)
    return outcome


def good_leg(document: Mapping[str, object], chosen: ConvertSettings = MSK_1) -> Cdr:
    (cdr,) = cdrs([read_leg(document, chosen)])
    return cdr


OFFICE_CALL = Cdr(
    cdr_id="5a3a1d91-90d3-4db4-af5c-cc3ae15d93a4",
    attempt_id="985e365faa0ec79a7fa75d001ef2449f@10.0.0.2",
    switch_id="msk-1",
    account_id="100200",
    service="outgoing",
    caller="74951234567",
    called="73811141120",
    provider_id="MEG",
    started_at="2026-11-24T18:30:00.006Z",
    answered_at="2026-11-24T18:30:07.766Z",
    ended_at="2026-11-24T18:30:28.366Z",
    billable_seconds=21,
    cause="normal",
)


def test_a_document_of_freeswitch_with_encoded_values_becomes_a_cdr() -> None:
    assert cdrs(convert("freeswitch", DATA / "leg.cdr.json", MSK_1)) == [OFFICE_CALL]


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("between", ["\n", "", "\n\n", ",\n"])
def test_documents_may_stand_one_a_line_or_spread_or_run_together(indent: int | str | None, between: str) -> None:
    document = json.loads((DATA / "leg.cdr.json").read_text())
    text = json.dumps(document, indent=indent)
    lines = (text + between + text + between + text).splitlines(keepends=True)
    assert cdrs(read_json_cdr(lines, MSK_1)) == [OFFICE_CALL] * 3
    assert cdrs(read_json_cdr(["[" + lines[0], *lines[1:], "]"], MSK_1)) == [OFFICE_CALL] * 3


def test_a_document_kept_as_it_would_have_been_posted_is_read_too() -> None:
    text = (DATA / "leg.cdr.json").read_text().strip()
    assert cdrs(read_json_cdr([quote(text, safe="") + "\n"], MSK_1)) == [OFFICE_CALL]


def test_values_that_are_not_encoded_stay_as_they_are() -> None:
    assert good_leg(leg(sip_call_id="a%40b")).attempt_id == "a%40b"
    encoded = leg(sip_call_id="a%40b", start_stamp="2026-11-24%2018%3A30%3A00")
    assert good_leg(encoded).attempt_id == "a@b"


def test_the_seconds_of_a_leg_are_rounded_up_from_microseconds() -> None:
    assert good_leg(leg()).billable_seconds == 61
    assert good_leg(leg(end_uepoch="1795545067000000")).billable_seconds == 60
    assert good_leg(leg(answer_uepoch="1795545067000001")).billable_seconds == 0


def test_an_answer_of_zero_is_no_answer() -> None:
    cdr = good_leg(leg(answer_uepoch="0", hangup_cause="USER_BUSY") | {"callflow": [flow(answered_time="17955")]})
    assert (cdr.answered_at, cdr.billable_seconds, cdr.cause) == (None, 0, "busy")


def flow(**times: str) -> dict[str, object]:
    return {"caller_profile": {"caller_id_number": "74951234567", "context": "from-trunk"}, "times": times}


def test_the_callflow_stands_in_for_variables_that_are_missing() -> None:
    document = leg(start_uepoch="", answer_uepoch="", end_uepoch="")
    document["callflow"] = [
        flow(created_time="1795545001000000", answered_time="1795545007000000", hangup_time="1795545067000000"),
        flow(created_time="1795545000000000", answered_time="0", hangup_time="0"),
    ]
    cdr = good_leg(document)
    assert (cdr.started_at, cdr.billable_seconds) == ("2026-11-24T18:30:00.000Z", 60)
    assert (cdr.caller, cdr.service) == ("74951234567", "incoming")
    assert good_leg(leg() | {"callflow": flow()}).caller == "74951234567"


def test_the_dialplan_may_name_the_attempt_and_the_provider() -> None:
    cdr = good_leg(leg(tollgate_attempt_id="a1", tollgate_provider_id="mts", sip_gateway_name="megafon"))
    assert (cdr.attempt_id, cdr.provider_id) == ("a1", "mts")


@pytest.mark.parametrize(
    ("dialled", "provider"),
    [
        ("sofia/gateway/megafon/73811141120", "MEG"),
        ("{a=b}sofia/gateway/external::megafon/73811141120", "MEG"),
        ("sofia/gateway/megafon/1|sofia/gateway/megafon/2", "MEG"),
        ("sofia/gateway/unknown/73811141120", None),
        ("user/1002@10.0.0.1", None),
        ("", None),
    ],
)
def test_the_provider_of_an_a_leg_is_the_gateway_that_its_bridge_names(dialled: str, provider: str | None) -> None:
    assert good_leg(leg(last_app="bridge", last_arg=dialled)).provider_id == provider
    assert good_leg(leg(last_app="playback", last_arg=dialled)).provider_id is None
    assert good_leg(leg(last_app="bridge", last_arg=dialled, sip_gateway_name="megafon")).provider_id == "MEG"


def test_an_answered_call_that_may_have_gone_by_either_of_two_gateways_is_a_bad_row() -> None:
    either = {"last_app": "bridge", "last_arg": "sofia/gateway/megafon/1|sofia/gateway/mts/1"}
    outcome = read_leg(leg(**either))
    assert isinstance(outcome, BadRow)
    assert "megafon, mts" in outcome.message
    assert "import=sip_gateway_name" in outcome.message
    assert good_leg(leg(**either, sip_gateway_name="megafon")).provider_id == "MEG"
    assert good_leg(leg(**either, answer_uepoch="0")).provider_id is None


@pytest.mark.parametrize(
    "b_leg",
    [
        leg(uuid="u2", originator="u1"),
        leg(uuid="u2", originating_leg_uuid="u1"),
        leg(uuid="u2") | {"callflow": [{"caller_profile": {"originator": {"originator_caller_profiles": [{}]}}}]},
    ],
)
def test_a_call_of_two_legs_is_one_cdr_and_the_other_leg_is_skipped(b_leg: Mapping[str, object]) -> None:
    lines = [json.dumps(leg(direction="outbound")), json.dumps(b_leg)]
    for legs, ids in (("a", ["u1"]), ("b", ["u2"]), ("both", ["u1", "u2"])):
        chosen = ConvertSettings(switch_id="msk-1", legs=legs)  # type: ignore[arg-type] # mypy: a str, not a literal
        found = list(read_json_cdr(lines, chosen))
        assert [outcome.cdr_id for outcome in found if isinstance(outcome, Cdr)] == ids
        assert all(outcome.skipped for outcome in found if isinstance(outcome, BadRow))


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("{}", "variables"),
        ('{"variables": [1]}', "variables"),
        ('{"variables": {"uuid": "u1",}}', "not JSON"),
        (json.dumps(leg(uuid="")), "uuid"),
        (json.dumps(leg(uuid=["u1"])), "uuid"),
        (json.dumps(leg(end_uepoch="0")), "end_uepoch"),
        (json.dumps(leg(start_uepoch="1795545000")), "start_uepoch"),
        (json.dumps(leg(start_uepoch="soon")), "start_uepoch"),
        (json.dumps(leg(answer_uepoch="1795544007000000")), "answer_uepoch lies outside"),
        (json.dumps(leg(end_uepoch="1795544007000000")), "end_uepoch lies before"),
        (json.dumps(leg(destination_number="conf")), "destination_number"),
        (json.dumps(leg(accountcode="\u0000")), "accountcode"),
        ('{"variables": {"uuid": "\\ud800"}}', ""),
        (json.dumps(leg())[:-30], "cut off"),
        (json.dumps(leg())[:60], "cut off"),
        ('{"a":' * 100_000, "nested"),
        ("[" * 100_000 + "1", "begins no JSON object"),
        ('{"a": "' + "x" * MAX_DOCUMENT_CHARS + '"', "no end within"),
        ("ZXlKamIzSmw=", "encode=false"),
    ],
)
def test_a_document_that_cannot_be_read_says_why_and_the_next_one_is_read(document: str, named: str) -> None:
    bad, good = read_json_cdr(["\n", document + "\n", json.dumps(leg()) + "\n"], MSK_1)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.skipped) == (2, False)
    assert named in bad.message
    assert isinstance(good, Cdr)


def test_a_damaged_document_inside_an_array_costs_only_itself() -> None:
    text = json.dumps([leg(uuid="u1"), leg(uuid="u2"), leg(uuid="u3")], indent=2)
    damaged = text.replace('"uuid": "u2",', '"uuid": "u2')
    first, bad, last = read_json_cdr(damaged.splitlines(keepends=True), MSK_1)
    assert isinstance(bad, BadRow)
    assert [outcome.cdr_id for outcome in (first, last) if isinstance(outcome, Cdr)] == ["u1", "u3"]


def test_the_inner_parts_of_a_damaged_document_are_not_taken_for_documents() -> None:
    text = json.dumps(json.loads((DATA / "leg.cdr.json").read_text()), indent=2)
    damaged = text.replace('"switchname": "msk-fs",', '"switchname": "msk-fs')
    bad, good = read_json_cdr((damaged + "\n" + text).splitlines(keepends=True), MSK_1)
    assert isinstance(bad, BadRow)
    assert good == OFFICE_CALL


# --- Any CSV


def test_the_example_mapping_reads_a_file_as_it_says() -> None:
    mapping = replace(load_mapping(EXAMPLE), encoding="cp1251", skip_lines=1)
    first, second, bad = convert("csv", DATA / "export-cp1251.csv", ConvertSettings(switch_id="msk-1"), mapping)
    assert first == Cdr(
        cdr_id="c1",
        attempt_id="a1",
        switch_id="msk-1",
        account_id="100200",
        service="outgoing",
        caller="74951234567",
        called="73811141120",
        place="msk",
        provider_id="megafon",
        started_at="2026-11-24T18:30:00.000Z",
        answered_at="2026-11-24T18:30:07.000Z",
        ended_at="2026-11-24T18:32:12.000Z",
        billable_seconds=125,
        cause="normal",
    )
    assert isinstance(second, Cdr)
    assert (second.caller, second.provider_id, second.cause) == (None, None, "no_answer")
    assert (second.answered_at, second.billable_seconds) == (None, 0)
    assert isinstance(bad, BadRow)
    assert bad.line == 5
    assert "started_at '24.11.2026 21:50'" in bad.message


def numbered(columns: str, more: str = "") -> CsvMapping:
    """A mapping for rows without a header: "called started_at …", in the order of the columns."""
    lines = "\n".join(f"{name} = {number}" for number, name in enumerate(columns.split(), 1) if name != "_")
    return parse_mapping(f"[file]\nheader = false\n[columns]\n{lines}\n{more}")


FULL = "called started_at answered_at ended_at billable_seconds"
SHORT = "called started_at duration_seconds billable_seconds"
EPOCH = '[times]\nformat = "epoch"\n'
EPOCH_MS = '[times]\nformat = "epoch_ms"\n[durations]\nunit = "ms"\n'
EPOCH_US = '[times]\nformat = "epoch_us"\n[durations]\nunit = "us"\n'
CLOCK = '[times]\nformat = "%Y-%m-%d %H:%M:%S%z"\n[durations]\nunit = "clock"\n'
MINUTES = '[durations]\nunit = "min"\n'
NO_ZONE = '[times]\nformat = "%d/%m/%y %I:%M %p"\nzone = "Asia/Tokyo"\n'


@pytest.mark.parametrize(
    ("columns", "more", "row", "started", "answered", "ended", "seconds"),
    [
        (FULL, "", "112,2026-11-24T18:30:00Z,2026-11-24T18:30:07Z,2026-11-24T18:32:12Z,125", "00", "07", "12", 125),
        (FULL, "", "112,2026-11-24T21:30:00+03:00,2026-11-24T18:30:07Z,2026-11-24T18:32:12Z,", "00", "07", "12", 125),
        (FULL, EPOCH, "112,1795545000,1795545007.5,1795545012,5", "00", "07", "12", 5),
        (FULL, EPOCH, "112,1795545000,1795545007.5,1795545012,", "00", "07", "12", 5),
        (FULL, EPOCH, "112,1795545000,0,1795545012,0", "00", None, "12", 0),
        (FULL, EPOCH_MS, "112,1795545000000,1795545007000,1795545012001,5001", "00", "07", "12", 6),
        (SHORT, EPOCH_US, "112,1795545000000000,12000000,5000000", "00", "07", "12", 5),
        (SHORT, EPOCH, "112,1795545000,12,5", "00", "07", "12", 5),
        (SHORT, EPOCH, "112,1795545000,12,13", "00", "00", "12", 13),
        (SHORT, EPOCH, "112,1795545000,12,0", "00", None, "12", 0),
        (SHORT, EPOCH, "112,1795545000,12.0,4.2", "00", "07", "12", 5),
        (SHORT, CLOCK, "112,2026-11-24 21:30:00+0300,0:00:12,00:05", "00", "07", "12", 5),
        (FULL, MINUTES, "112,2026-11-24T18:30:00Z,2026-11-24T18:30:07Z,2026-11-24T18:32:12Z,3", "00", "07", "12", 180),
        (FULL, NO_ZONE, "112,25/11/26 03:30 AM,25/11/26 03:30 AM,25/11/26 03:31 AM,", "00", "00", "00", 60),
    ],
)
def test_moments_and_durations_are_read_in_their_units(
    columns: str, more: str, row: str, started: str, answered: str | None, ended: str, seconds: int
) -> None:
    (cdr,) = cdrs(read_mapped_csv([row], MSK_1, numbered(columns, more)))
    assert cdr.started_at.startswith("2026-11-24T18:30:")
    assert (cdr.started_at[17:19], cdr.ended_at[17:19]) == (started, ended)
    assert (cdr.answered_at and cdr.answered_at[17:19]) == answered
    assert cdr.billable_seconds == seconds


@pytest.mark.parametrize(
    ("columns", "more", "row", "named"),
    [
        (FULL, EPOCH, "112,1795545000,1795545007,1795545012", "has 4 fields"),
        (FULL, EPOCH, "112,1795545000,,1795545012,5", "answered_at is empty"),
        (FULL, EPOCH, "112,1795545000,1795545007,1795545012,7", "billable_seconds is 7 s"),
        (FULL, EPOCH, "112,1795545000,1795545007,,5", "ended_at is empty"),
        (FULL, EPOCH, "112,1795545000000,1795545007,1795545012,5", "started_at"),
        (FULL, EPOCH, "112,1795545000,1795545007,1795545012,-5", "billable_seconds '-5'"),
        (FULL, EPOCH, "112,1795545000,1795545007,1795545012,nan", "billable_seconds"),
        (FULL, "", "112,2026-11-24T18:30:00,,2026-11-24T18:30:00Z,", "started_at"),
        (FULL, CLOCK, "112,0001-01-01 00:00:00+2359,,2026-11-24 18:30:00+0000,", "started_at"),
        (FULL, EPOCH, "x,1795545000,1795545007,1795545012,5", "called 'x'"),
        (SHORT, EPOCH, "112,1795545000,12,14", "answered_at lies outside"),
        (SHORT, CLOCK, "112,2026-11-24 18:30:00+0000,12,0:05", "duration_seconds '12'"),
        (SHORT, EPOCH, "112,4102444799,99999999999999999,5", "ended_at"),
    ],
)
def test_a_row_of_any_csv_that_cannot_be_read_says_why(columns: str, more: str, row: str, named: str) -> None:
    bad = only_bad(read_mapped_csv([row], MSK_1, numbered(columns, more)))
    assert named in bad.message


def test_local_times_of_any_csv_follow_the_clock_too() -> None:
    mapping = numbered(FULL, '[times]\nformat = "%Y-%m-%d %H:%M:%S"\n')
    row = "112,2026-11-01 01:50:00,2026-11-01 01:50:05,2026-11-01 02:00:05,600"
    (cdr,) = cdrs(read_mapped_csv([row], NEW_YORK, mapping))
    assert cdr.started_at == "2026-11-01T06:50:00.000Z"
    never = "112,2026-03-08 02:30:00,,2026-03-08 03:30:00,0"
    assert "never was in America/New_York" in only_bad(read_mapped_csv([never], NEW_YORK, mapping)).message


def test_values_are_translated_and_constants_fill_what_is_empty() -> None:
    mapping = numbered(
        "called started_at duration_seconds billable_seconds service cause account_id switch_id",
        '[times]\nformat = "epoch"\n[constants]\nservice = "forwarding"\naccount_id = "100999"\n'
        '[values.service]\n"in" = "incoming"\n"none" = ""\n[values.cause]\n"16" = "normal"\n"*" = "failed"\n'
        '"" = "none"',
    )
    rows = ["112,1795545000,1,1,in,16,7,spb", "112,1795545000,1,1,none,99,,", "112,1795545000,1,1,calls_rec,,,"]
    first, second, third = cdrs(read_mapped_csv(rows, MSK_1, mapping))
    assert (first.service, first.cause, first.account_id, first.switch_id) == ("incoming", "normal", "7", "spb")
    assert (second.service, second.cause, second.account_id) == ("forwarding", "failed", "100999")
    assert (third.service, third.cause, third.switch_id) == ("calls_rec", "none", "msk-1")


def test_a_row_over_several_lines_and_other_quotes_and_delimiters_are_read() -> None:
    mapping = numbered("called started_at duration_seconds billable_seconds cause", EPOCH)
    (cdr,) = cdrs(
        read_mapped_csv(
            ['"112",1795545000,1,1,"a ""b""', '\n",\n'],
            MSK_1,
            replace(
                mapping,
                values={
                    "cause": {"*": "odd"},
                },
            ),
        )
    )
    assert cdr.cause == "odd"
    tabs = replace(mapping, delimiter="\t", quote="")
    (cdr,) = cdrs(read_mapped_csv(['112\t1795545000\t1\t1\t"odd\n'], MSK_1, tabs))
    assert cdr.cause == '"odd'


def test_a_header_without_the_mapped_columns_names_each_of_them() -> None:
    found = list(read_mapped_csv(["id;b_number;setup\n", "1;2;3\n"], MSK_1, load_mapping(EXAMPLE)))
    assert all(isinstance(outcome, BadRow) and outcome.line == 1 for outcome in found)
    assert len(found) == len(load_mapping(EXAMPLE).columns) - 3
    assert list(read_mapped_csv([], MSK_1, load_mapping(EXAMPLE))) == []


def test_every_mistake_of_a_mapping_is_named_at_once() -> None:
    wrong = """
        colums = 1
        [file]
        delimiter = ";;"
        quote = 1
        header = "no"
        skip_lines = -1
        encoding = "utf-9"
        separator = ";"
        [columns]
        caled = "dst"
        caller = 0
        cause = true
        [constants]
        service = ""
        called = "1"
        [times]
        format = "%d.%m.%Y"
        zone = "Moscow"
        not_answered = "0"
        [durations]
        unit = "hour"
        [values]
        provider_id = { "a" = 1 }
        account_id = { "a" = "b" }
    """
    with pytest.raises(MappingError) as caught:
        parse_mapping(wrong)
    keys = {problem.split()[0] for problem in caught.value.problems}
    assert keys == {
        "colums",
        "file.delimiter",
        "file.quote",
        "file.header",
        "file.skip_lines",
        "file.encoding",
        "file.separator",
        "columns.caled",
        "columns.caller",
        "columns.cause",
        "columns.called",
        "columns.started_at",
        "columns.ended_at",
        "columns.answered_at",
        "constants.service",
        "constants.called",
        "times.format",
        "times.zone",
        "times.not_answered",
        "durations.unit",
        "values.provider_id",
        "values.account_id",
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("columns", "not a TOML file"),
        ("columns = 1", "columns"),
        ("[file]\nheader = false\n[columns]\ncalled = 'dst'", "columns.called"),
        ("[file]\ndelimiter = '\"'", "file.quote"),
        ("[times]\nformat = '%d %d'", "times.format"),
        ("[times]\nformat = '%Y-%m-%d %H:%M:%S %Z'", "times.format"),
        ("[times]\nformat = 'yesterday'", "times.format"),
        ("[file]\nencoding = 'hex'", "file.encoding"),
        ("a = " + "[" * 100_000, "not a TOML file"),
    ],
)
def test_a_mapping_with_a_mistake_names_it(text: str, key: str) -> None:
    with pytest.raises(MappingError, match=key):
        parse_mapping(text)


# --- Files


def test_plain_and_gzip_files_give_the_same_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    content = (master(U) * 2).encode()
    plain, packed = tmp_path / "Master.csv", tmp_path / "Master.csv.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    packed.write_bytes(gzip.compress(content))
    first = cdrs(convert("asterisk", plain, MSK_1))
    assert first == cdrs(convert("asterisk", packed, MSK_1))
    assert len(first) == 2


def test_a_damaged_gzip_file_gives_what_it_has_and_says_where_it_ends(tmp_path: Path) -> None:
    for name, content in (("cut.gz", gzip.compress((master(U) * 2000).encode())[:-20]), ("no.gz", b"no gzip at all")):
        path = tmp_path / name
        path.write_bytes(content)
        *_, last = convert("asterisk", path, MSK_1)
        assert isinstance(last, BadRow)
        assert "damaged" in last.message


def test_bytes_that_are_no_text_matter_only_in_fields_that_are_used(tmp_path: Path) -> None:
    path = tmp_path / "Master.csv"
    unused, used = master(U).encode().replace(b"Dial", b"D\xffal"), master(U).encode().replace(b"100200", b"1\xff")
    path.write_bytes(unused + used)
    good, bad = convert("asterisk", path, MSK_1)
    assert isinstance(good, Cdr)
    assert isinstance(bad, BadRow)
    assert "accountcode" in bad.message


def test_a_line_longer_than_any_row_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "Master.csv"
    path.write_text("x" * (3 * MAX_DOCUMENT_CHARS) + "\n" + master(U))
    bad, good = convert("asterisk", path, MSK_1)
    assert isinstance(bad, BadRow)
    assert isinstance(good, Cdr)


def test_an_unknown_format_or_a_csv_without_a_mapping_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asterisk, freeswitch, csv"):
        convert("opensips", tmp_path, MSK_1)
    with pytest.raises(ValueError, match="example-mapping"):
        convert("csv", tmp_path, MSK_1)


# --- Whatever a file holds

HOSTILE = st.text(st.sampled_from('",;\n\r\\{}[]:%70182ANSWERED\0\ufeff\ud800é ') | st.characters(), max_size=60)
MANGLED = st.builds(
    lambda text, at, what, cut: text[: at % len(text)] + what + text[at % len(text) + cut :],
    st.sampled_from(
        [master(), master(U, UF, *NEW), json.dumps(leg()), json.dumps(leg(), indent=1), "112,1795545000,,17,5\n"]
    ),
    st.integers(0, 5000),
    HOSTILE,
    st.integers(0, 40),
)
FILES = st.lists(HOSTILE | MANGLED, max_size=5).map(lambda parts: "\n".join(parts).splitlines(keepends=True))
READ_ALL = [
    load_mapping(EXAMPLE),
    replace(load_mapping(EXAMPLE), header=False, columns={"called": 1, "started_at": 2, "ended_at": 4, "cause": 3}),
    numbered(SHORT + " cause cdr_id attempt_id provider_id", EPOCH),
    numbered(FULL, CLOCK),
    numbered(FULL),
]


def every_reading(lines: list[str]) -> Iterator[Cdr | BadRow]:
    yield from read_master_csv(lines, NEW_YORK)
    yield from read_json_cdr(lines, replace(MSK_1, legs="both", keep_unmapped_trunks=True))
    for mapping in READ_ALL:
        yield from read_mapped_csv(lines, NEW_YORK, mapping)


@settings(max_examples=400, deadline=None)
@given(FILES)
def test_no_text_stops_a_reader_and_every_cdr_it_gives_is_one(lines: list[str]) -> None:
    for outcome in every_reading(lines):
        if isinstance(outcome, BadRow):
            assert 1 <= outcome.line <= len(lines)
            assert outcome.message
        else:
            assert decode_cdr(encode(outcome)) == outcome
            assert isinstance(moments(outcome), Moments)
            started, ended = to_us(outcome.started_at), to_us(outcome.ended_at)
            answered = started if outcome.answered_at is None else to_us(outcome.answered_at)
            assert started <= answered <= ended
            assert outcome.billable_seconds is not None


ODD = HOSTILE | st.sampled_from(
    ["", "0", "-1", "9" * 17, "9" * 5000, "2099-12-31 23:59:59", "0001-01-01 00:00:00", "%"]
)
MASTER_FIELDS = ["account", "src", "dst", "context", "dstchannel", "start", "answer", "end", "duration", "billsec"]
VARIABLES = [*LEAST, "last_app", "last_arg", "sip_gateway_name", "tollgate_provider_id"]
EXTRAS = ODD.map(lambda text: '"' + text.replace('"', '""') + '"')


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(MASTER_FIELDS), ODD, max_size=2),
    st.lists(EXTRAS, max_size=5),
    st.dictionaries(st.sampled_from(VARIABLES), ODD | st.integers() | st.none() | st.lists(ODD), max_size=2),
    st.dictionaries(st.sampled_from(FULL.split()), ODD, max_size=2),
)
def test_odd_fields_in_rows_that_are_else_good_give_cdrs_or_say_what_is_wrong(
    fields: dict[str, str], extras: list[str], variables: dict[str, object], columns: dict[str, str]
) -> None:
    good = {"called": "112", "started_at": "1795545000", "answered_at": "", "ended_at": "1795545012"} | columns
    row = ",".join('"' + good.get(name, "").replace('"', '""') + '"' for name in FULL.split())
    found = [
        *read_master_csv([master(*extras, **fields)], replace(NEW_YORK, keep_unmapped_trunks=True)),
        *read_json_cdr([json.dumps(leg(**variables))], replace(MSK_1, legs="both", keep_unmapped_trunks=True)),
        *read_mapped_csv([row], MSK_1, numbered(FULL, EPOCH)),
    ]
    for outcome in found:
        if isinstance(outcome, Cdr):
            assert decode_cdr(encode(outcome)) == outcome
            assert isinstance(moments(outcome), Moments)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [
            ("America/New_York", 1_772_953_200),
            ("America/New_York", 1_793_512_800),
            ("Europe/London", 1_774_746_000),
            ("Europe/London", 1_792_890_000),
            ("Australia/Lord_Howe", 1_775_314_800),  # by half an hour
            ("Australia/Lord_Howe", 1_791_041_400),
            ("UTC", 1_793_512_800),
        ]
    ),
    st.integers(-2 * 3600 * 10**6, 2 * 3600 * 10**6),
    st.integers(0, 120 * 10**6),
    st.integers(0, 2 * 3600 * 10**6),
)
def test_a_call_around_any_change_of_the_clock_keeps_its_durations_and_its_wall_clock(
    zone_and_change: tuple[str, int], before_us: int, ringing_us: int, talking_us: int
) -> None:
    zone, change = zone_and_change
    start_us = change * 10**6 + before_us
    moments = [start_us, start_us + ringing_us, start_us + ringing_us + talking_us]
    walls = [f"{to_datetime(us).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" for us in moments]
    duration, billsec = (moments[2] - moments[0]) // 10**6, talking_us // 10**6
    row = master(start=walls[0], answer=walls[1], end=walls[2], duration=str(duration), billsec=str(billsec))

    (cdr,) = cdrs(read_master_csv([row], replace(MSK_1, time_zone=zone)))

    assert cdr.answered_at is not None
    read = [to_us(text) for text in (cdr.started_at, cdr.answered_at, cdr.ended_at)]
    assert [f"{to_datetime(us).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" for us in read] == walls
    assert abs(read[2] - read[0] - duration * 10**6) <= 10**6
    assert abs(read[2] - read[1] - billsec * 10**6) <= 10**6
    assert cdr.billable_seconds == billsec


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([master(U), master(UF, *NEW)]) | HOSTILE.map(lambda text: text.replace('"', "")), max_size=6
    )
)
def test_damage_without_a_quote_never_costs_a_good_row(parts: list[str]) -> None:
    rows = [part for part in parts if part.startswith('"100200"')]
    lines = [part.replace("\n", "").replace("\r", "") + "\n" for part in parts]
    assert len([outcome for outcome in read_master_csv(lines, MSK_1) if isinstance(outcome, Cdr)]) == len(rows)


def test_many_damaged_documents_and_rows_are_read_in_reasonable_time() -> None:
    assert len(list(read_json_cdr(["{\n"] * 3000, MSK_1))) == 3000
    assert len(list(read_master_csv(['"x\n', "x\n"] * 3000, MSK_1))) == 6000
    assert len(list(read_json_cdr(["{}" * 100_000], MSK_1))) == 100_000


def test_an_event_written_from_a_file_is_what_the_engine_reads() -> None:
    (event, *_) = convert("asterisk", DATA / "Master.csv", MSK_1)
    assert msgspec.json.decode(encode(event))["type"] == "cdr"
