"""One partition's state machine: the rules over the state of all accounts and numbers whose events come through it.

`handle` takes an event and the time of its record. Rules elsewhere decide, `State.apply_…` carries out. The same events
in the same order give the same bytes.
"""

from collections.abc import Callable
from hashlib import blake2b

from msgspec.structs import replace

from engine.changelog import SeenRecord
from engine.decisions import decide, extend
from engine.rating import moments, rate
from engine.reference import Reference
from engine.refusals import Refusal, refuse
from engine.settings import EngineSettings
from engine.state import Output, State
from schemas import topics
from schemas.codec import pack
from schemas.events import (
    AccountCommand,
    Block,
    CallAttempt,
    CallExtension,
    CallRelease,
    Cdr,
    Close,
    Correction,
    Event,
    Payment,
    TopUp,
    Unblock,
    WriteOff,
)
from schemas.times import to_text, to_us

__all__ = ["Output", "Partition", "digest"]


def digest(event: Event) -> bytes:
    """What an event's content is known by when its id comes again."""
    return blake2b(pack(event), digest_size=16).digest()


class Partition(State):
    """State and rules of one partition."""

    def __init__(self, settings: EngineSettings, reference: Reference) -> None:
        super().__init__(settings, reference)
        self._handlers: dict[type, Callable[..., Refusal | None]] = {
            CallAttempt: self._on_attempt,
            CallExtension: self._on_extension,
            CallRelease: self._on_release,
            Cdr: self._on_cdr,
            Payment: self._on_command,
            TopUp: self._on_command,
            WriteOff: self._on_command,
            Correction: self._on_command,
            Block: self._on_command,
            Unblock: self._on_command,
            Close: self._on_command,
        }

    def handle(self, event: Event, now_us: int) -> Refusal | None:
        """Takes one event in; `now_us` is the time of its record. A refusal has changed nothing."""
        if now_us > self.clock_us:
            self.clock_us = now_us
        clock_us = self.clock_us
        if self._expiries and self._expiries[0][0] <= clock_us:
            self.expire()
        if self._forget and self._forget[0][0] < clock_us - self.settings.remember_us:
            self.forget_ids()
        refusal = self._handlers[type(event)](event, now_us)
        if self._expiries and self._expiries[0][0] <= clock_us:
            # An attempt that came late may have been granted less than it was late.
            self.expire()
        return refusal

    def _on_attempt(self, attempt: CallAttempt, now_us: int) -> Refusal | None:
        call = self.calls.get(attempt.attempt_id)
        if call is not None:
            if call.attempt != attempt:
                return refuse("id_reused", f"attempt_id {attempt.attempt_id!r} came before with other content")
            self.duplicates += 1
            self.publish(topics.CALL_DECISIONS.name, attempt.attempt_id, replace(call.decision, repeated=True))
            return None
        at_us = self._moment(attempt.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        account, state = self.account(attempt.account_id)
        decision, offer = decide(self.settings, self.reference, attempt, at_us, account, state)
        published = self.publish(topics.CALL_DECISIONS.name, attempt.attempt_id, decision)
        self.apply_decision(attempt, decision, offer, published, at_us, now_us, account, state)
        return None

    def _on_extension(self, request: CallExtension, now_us: int) -> Refusal | None:
        call = self.calls.get(request.attempt_id)
        if call is None:
            return refuse("unknown_attempt", f"attempt_id {request.attempt_id!r} is not known, or no longer")
        for known in call.extensions:
            if known.request == request:
                self.duplicates += 1
                self.publish(topics.CALL_DECISIONS.name, request.attempt_id, replace(known.decision, repeated=True))
                return None
        at_us = self._moment(request.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        if call.attempt.account_id != request.account_id:
            return refuse("account_mismatch", f"the attempt's account is {call.attempt.account_id!r}")
        account, state = self.account(request.account_id)
        if call.phase != "running":
            return refuse("attempt_ended", f"attempt_id {request.attempt_id!r}: {call.phase}")
        decision = extend(self.settings, self.reference, request, call, account, state)
        self.apply_extension(request, decision, call, state, now_us)
        self.publish(topics.CALL_DECISIONS.name, request.attempt_id, decision)
        return None

    def _on_release(self, release: CallRelease, now_us: int) -> Refusal | None:
        call = self.calls.get(release.attempt_id)
        if call is None:
            return refuse("unknown_attempt", f"attempt_id {release.attempt_id!r} is not known, or no longer")
        if release.account_id is not None and call.attempt.account_id != release.account_id:
            return refuse("account_mismatch", f"the attempt's account is {call.attempt.account_id!r}")
        if call.phase != "running":
            self.duplicates += 1
            return None
        self.apply_end(call, "released", now_us)
        return None

    def _on_cdr(self, cdr: Cdr, now_us: int) -> Refusal | None:
        content = digest(cdr)
        seen = self._seen_cdrs.get(cdr.cdr_id)
        if seen is not None:
            return self._again(seen, content, f"cdr_id {cdr.cdr_id!r}")
        times = moments(cdr)
        if isinstance(times, Refusal):
            return times
        if (refusal := self._out_of_time(times.ended_us, now_us)) is not None:
            return refusal
        call = None if cdr.attempt_id is None else self.calls.get(cdr.attempt_id)
        account, state = self.account(cdr.account_id)
        rated = rate(self.settings, self.reference, cdr, times, call, account, state)
        if isinstance(rated, Refusal):
            return rated
        self.apply_rated(rated, content, call, account, state, now_us)
        self.publish(topics.RATED_CDRS.name, cdr.account_id or cdr.called, rated)
        return None

    def _on_command(self, command: AccountCommand, now_us: int) -> Refusal | None:
        content = digest(command)
        seen = self._seen_commands.get(command.command_id)
        if seen is not None:
            return self._again(seen, content, f"command_id {command.command_id!r}")
        at_us = self._moment(command.at, now_us)
        if isinstance(at_us, Refusal):
            return at_us
        account, state = self.account(command.account_id)
        if account is None or state is None:
            return refuse("unknown_account", f"account_id {command.account_id!r} is not in the reference data")
        if isinstance(command, Payment | TopUp | WriteOff | Correction) and command.amount_micros == 0:
            return refuse("malformed", "amount_micros is 0: nothing would move")
        if isinstance(command, Block | Unblock) and state.status == "closed":
            return refuse("account_closed", f"account {command.account_id!r} is closed for good")
        self.apply_command(command, content, account, state, at_us, now_us)
        return None

    def _again(self, seen: SeenRecord, content: bytes, what: str) -> Refusal | None:
        if seen.digest != content:
            return refuse("id_reused", f"{what} came before with other content")
        self.duplicates += 1
        return None

    def _moment(self, text: str, now_us: int) -> int | Refusal:
        try:
            at_us = to_us(text)
        except ValueError as error:
            return refuse("bad_time", f"at: {error}")
        return self._out_of_time(at_us, now_us) or at_us

    def _out_of_time(self, at_us: int, now_us: int) -> Refusal | None:
        if at_us < now_us - self.settings.horizon_us:
            return refuse("too_late", f"{to_text(at_us)} is more than {self.settings.horizon_us} µs before its record")
        if at_us > now_us + self.settings.ahead_us:
            return refuse("too_early", f"{to_text(at_us)} is ahead of its record's time {to_text(now_us)}")
        return None
