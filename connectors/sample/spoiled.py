"""Lines that no engine can use, as broken switches and careless exports write them."""

from schemas.times import HOUR_US, to_text


def spoiled_lines(start_us: int) -> list[bytes]:
    """One line of each sort; their times, where they have good ones, are those of the traffic that begins then."""
    at = to_text(start_us).encode()
    before = to_text(start_us - HOUR_US).encode()
    head = b'{"type":"call_attempt","attempt_id":"spoiled-%d","switch_id":"msk-1",'
    cdr = b'{"type":"cdr","cdr_id":"spoiled-%d","switch_id":"msk-1","service":"outgoing","called":"74952223344",'
    return [
        # Broken JSON: cut off, not JSON at all, bytes that are no UTF-8.
        head % 1 + b'"at":"' + at,
        b"CDR;100200;74951234567;381114112060;125",
        head % 2 + b'"at":"' + at + b'","service":"outgoing","called":"7495\xff\xfe"}',
        # JSON, but no record.
        b"[]",
        b'"call_attempt"',
        b'{"type":"call_transfer","attempt_id":"spoiled-3","switch_id":"msk-1","at":"' + at + b'"}',
        b'{"attempt_id":"spoiled-4","switch_id":"msk-1","at":"' + at + b'"}',
        # Wrong or missing fields.
        head % 5 + b'"at":"' + at + b'","service":"outgoing","called":74952223344,"account_id":"100200"}',
        head % 6 + b'"at":"' + at + b'","service":"outgoing","account_id":"100200"}',
        head % 7 + b'"at":"' + at + b'","service":"outgoing","called":"74952223344","requested_seconds":0}',
        b'{"type":"payment","command_id":"spoiled-8","account_id":"100200","at":"' + at + b'","amount_micros":12.5}',
        b'{"type":"top_up","command_id":"","account_id":"100200","at":"' + at + b'","amount_micros":1000000}',
        cdr % 9 + b'"started_at":"' + at + b'","ended_at":"' + at + b'","billable_seconds":-3}',
        # Impossible times: no such day, no zone, a clock that starts at 1970, an end before the answer.
        head % 10 + b'"at":"2026-02-30T09:00:00.000Z","service":"outgoing","called":"74952223344"}',
        head % 11 + b'"at":"2026-11-24 12:00:00","service":"outgoing","called":"74952223344"}',
        cdr % 12 + b'"account_id":"100200","started_at":"1970-01-01T00:00:07.000Z","ended_at":"' + at + b'"}',
        cdr % 13
        + b'"account_id":"100200","started_at":"'
        + at
        + b'","answered_at":"'
        + at
        + b'","ended_at":"'
        + before
        + b'","billable_seconds":10}',
    ]
