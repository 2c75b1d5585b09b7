"""The one place where records become bytes and bytes become records.

Decoding is strict about types and lenient about fields it does not know. Encoding is deterministic: fields stand in
the order of their Structs.
"""

import msgspec

from schemas.decisions import CallDecision
from schemas.events import AccountCommand, Cdr, Event, SwitchEvent

_encoder = msgspec.json.Encoder()

encode = _encoder.encode
"""JSON bytes of any record."""

decode_switch_event = msgspec.json.Decoder(SwitchEvent).decode
decode_cdr = msgspec.json.Decoder(Cdr).decode
decode_account_command = msgspec.json.Decoder(AccountCommand).decode
decode_decision = msgspec.json.Decoder(CallDecision).decode
decode_event = msgspec.json.Decoder(Event).decode
"""Records of JSON bytes. All raise one of `UNREADABLE`; its text names the field."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that decoding may raise for bytes that are no such record."""

pack = msgspec.msgpack.Encoder().encode
"""Compact bytes for the engine's own changelog."""
