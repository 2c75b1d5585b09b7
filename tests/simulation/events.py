"""What switches and the office of a small operator send: scenarios drawn from a seed, as lines with their times.

A call here is planned without knowing its decision, so CDRs of denied calls come too, and CDRs that nobody can charge.
Some scenarios are wrong on purpose; which lines can't be read at all is told with them.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from schemas import topics
from schemas.codec import encode
from schemas.events import (
    AccountCommand,
    Block,
    CallAttempt,
    CallExtension,
    CallRelease,
    Cdr,
    Close,
    Event,
    Payment,
    TopUp,
    Unblock,
    WriteOff,
)
from schemas.reference import Account
from schemas.times import HOUR_US, SECOND_US, to_text

from .company import PREFIXES, QUARANTINED, RUB, Company

NOBODY = "nobody"
"""An account id that the reference does not know."""

GARBAGE = (
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"null",
    b"[1,2]",
    b'{"type":"call_attempt"}',
    b'{"type":"dinner","at":"2026-11-24T09:00:00.000Z"}',
    b'{"type":"cdr","cdr_id":7}',
    b"[" * 5_000,
    b'{"type":"payment","reference":"' + b"x" * 70_000 + b'"}',
)


class Line(NamedTuple):
    """One record on its way. `key` decides the partition where it belongs; one that `stays` is taken in anywhere."""

    due_us: int
    topic: str
    key: str
    value: bytes | None
    stays: bool = False
    malformed: bool = False


class Scenarios:
    """Makes scenarios up; what is to be sent gathers in `lines`."""

    def __init__(self, company: Company, rng: Random, start_us: int, name: str) -> None:
        """`name` begins all ids, so that ids of two periods never meet."""
        self.lines: list[Line] = []
        self._company = company
        self._rng = rng
        self._start_us = start_us
        self._name = name
        self._ids = 0
        self._mix: dict[Callable[[int], None], int] = {
            self._call: 20,
            self._unwanted: 4,
            self._odd_attempt: 2,
            self._recording: 2,
            self._money: 8,
            self._status: 3,
            self._odd_command: 2,
            self._garbage: 2,
        }

    def make(self, number: int, span_us: int) -> None:
        """So many scenarios, spread over a time."""
        for _ in range(number):
            now_us = self._start_us + self._rng.randrange(span_us)
            (scenario,) = self._rng.choices(list(self._mix), weights=list(self._mix.values()))
            scenario(now_us // 1000 * 1000)

    # Calls

    def _call(self, now: int) -> None:
        rng = self._rng
        account = self._account()
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id=rng.choice(("msk-1", "msk-2")),
            at=to_text(now),
            service=rng.choice(("outgoing",) * 6 + ("forwarding", "incoming", "intra_office")),
            called=self._called(),
            account_id=account.account_id,
            caller="74950000000",
            place=rng.choice((None, "Москва")),
            requested_seconds=rng.choice((None, None, 60, 600)),
        )
        self._attempts(attempt, now)
        answered = now + rng.randrange(1, 30) * SECOND_US
        seconds = rng.choice((0, 1, 59, 60, 61, 200, 900, rng.randrange(3_000)))
        if seconds > 60 and rng.random() < 0.5:
            self._extensions(attempt, answered, seconds)
        ending = rng.random()
        if ending < 0.1:
            return  # lost: its hold expires
        if ending < 0.25:
            self._release(attempt, answered)
        if ending > 0.15:
            self._cdrs(attempt, answered if seconds else None, answered + seconds * SECOND_US)

    def _attempts(self, attempt: CallAttempt, now: int) -> None:
        """The attempt, seldom never sent, or sent twice with other content."""
        luck = self._rng.random()
        if luck > 0.05:
            self._switch(attempt, now)
        if luck > 0.95:
            # A call for nobody is found by its number, so that one must stay.
            other = replace(attempt, called=self._called()) if attempt.account_id else replace(attempt, caller="1")
            self._switch(other, now + self._rng.randrange(9) * SECOND_US)

    def _extensions(self, attempt: CallAttempt, answered: int, seconds: int) -> None:
        """Requests for more time while the call lasts, seldom one after it."""
        assert attempt.account_id is not None
        for used in sorted(self._rng.randrange(seconds + 60) for _ in range(self._rng.randint(1, 3))):
            at = answered + used * SECOND_US
            account_id = attempt.account_id if self._rng.random() < 0.95 else self._account().account_id
            self._switch(CallExtension(attempt.attempt_id, attempt.switch_id, to_text(at), account_id, used), at)

    def _release(self, attempt: CallAttempt, at: int) -> None:
        release = CallRelease(attempt.attempt_id, attempt.switch_id, to_text(at), attempt.account_id, "busy")
        if attempt.account_id is not None:
            self._switch(release, at)
        else:
            # It does not name the number by which its attempt found the partition, so nobody can tell it went astray.
            self.lines.append(Line(at, topics.CALL_ATTEMPTS.name, attempt.called, encode(release), stays=True))

    def _cdrs(self, attempt: CallAttempt, answered: int | None, ended: int) -> None:
        rng = self._rng
        routed = attempt.service in ("outgoing", "forwarding")
        cdr = Cdr(
            cdr_id=self._id("c"),
            switch_id=attempt.switch_id,
            service=attempt.service,
            called=attempt.called,
            started_at=attempt.at,
            ended_at=to_text(ended),
            attempt_id=attempt.attempt_id if rng.random() < 0.95 else None,
            account_id=attempt.account_id,
            caller=attempt.caller,
            place=attempt.place,
            provider_id=rng.choice(("north", "north", "south", "own", None)) if routed else None,
            answered_at=None if answered is None else to_text(answered),
            cause="normal",
        )
        due = ended + rng.choice((0, 1, 5, 3 * 3600)) * SECOND_US
        luck = rng.random()
        if luck < 0.06:
            self._cdr(replace(cdr, provider_id="unknown"), due)  # mended and sent again at once
        elif luck < 0.1:
            self._cdr(replace(cdr, ended_at=to_text(ended + 60 * SECOND_US), billable_seconds=0), due)
        elif luck < 0.13:
            self._cdr(replace(cdr, cdr_id=self._id("c")), due)  # another CDR of the same call
        elif luck < 0.16:
            self._cdr(replace(cdr, cdr_id=self._id("c"), account_id=self._account().account_id), due)
        elif luck < 0.18:
            self._cdr(replace(cdr, cdr_id=self._id("c"), started_at="24.11.2026"), due)
        self._cdr(cdr, due)

    def _recording(self, now: int) -> None:
        """A CDR of a service that has no attempts."""
        begun = to_text(now - 100 * SECOND_US)
        self._cdr(
            Cdr(
                cdr_id=self._id("c"),
                switch_id="msk-1",
                service="calls_rec",
                called="74957000001",
                started_at=begun,
                ended_at=to_text(now),
                account_id=self._account().account_id,
                answered_at=begun,
                billable_seconds=100,
            ),
            now,
        )

    def _unwanted(self, now: int) -> None:
        """A call to a number that nobody uses, or that somebody does after all, and its CDR or release."""
        rng = self._rng
        numbers = self._company.numbers
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id="msk-1",
            at=to_text(now),
            service="incoming",
            called=rng.choice(numbers[:QUARANTINED] if rng.random() < 0.8 else numbers).number,
            caller=rng.choice((None, "+7 900 111-22-33", "79001112233", "4420" + str(rng.randrange(1000)))),
        )
        self._attempts(attempt, now)
        if rng.random() < 0.3:
            self._release(attempt, now + SECOND_US)
        else:
            self._cdrs(attempt, None, now + SECOND_US)

    def _odd_attempt(self, now: int) -> None:
        rng = self._rng
        attempt = CallAttempt(
            self._id("a"), "msk-1", to_text(now), "outgoing", "74951112233", self._account().account_id
        )
        odd = rng.choice(
            (
                replace(attempt, called="112"),
                replace(attempt, called="sip:bob"),
                replace(attempt, account_id=NOBODY),
                replace(attempt, at="yesterday"),
                replace(attempt, at=to_text(now - 1_000 * HOUR_US)),
                replace(attempt, at=to_text(now + 30 * HOUR_US)),
            )
        )
        self._switch(odd, now)
        if rng.random() < 0.5:
            self._cdrs(replace(odd, at=to_text(now)), now, now + 30 * SECOND_US)

    # Money

    def _money(self, now: int) -> None:
        rng = self._rng
        kind = rng.choice((Payment, TopUp, WriteOff))
        amount = rng.choice((1, 5 * RUB, 100 * RUB, -2 * RUB, rng.randrange(1, 3 * RUB)))
        command = kind(self._id("k"), self._account().account_id, to_text(now), amount)
        self._command(command, now)
        if rng.random() < 0.1:
            self._command(replace(command, amount_micros=amount + 1), now + SECOND_US)

    def _status(self, now: int) -> None:
        rng = self._rng
        account_id = self._account().account_id
        self._command(Block(self._id("k"), account_id, to_text(now), "debt"), now)
        if rng.random() < 0.1:
            self._command(Close(self._id("k"), account_id, to_text(now), "moved"), now)
        later = now + rng.randrange(3_600) * SECOND_US
        self._command(Unblock(self._id("k"), account_id, to_text(later), "paid"), later)

    def _odd_command(self, now: int) -> None:
        payment = Payment(self._id("k"), self._account().account_id, to_text(now), RUB)
        odd = (
            replace(payment, account_id=NOBODY),
            replace(payment, amount_micros=0),
            replace(payment, at="2026-11-24T09:00:00"),
        )
        self._command(self._rng.choice(odd), now)

    # What can't be read

    def _garbage(self, now: int) -> None:
        topic, key = self._rng.choice(topics.INPUTS).name, self._account().account_id
        value: bytes | None = self._rng.choice(GARBAGE)
        if self._rng.random() < 0.2:
            value = None
        elif self._rng.random() < 0.2:
            # Good, but in a topic where nobody looks for it.
            topic, value = topics.CDRS.name, encode(Payment(self._id("k"), key, to_text(now), RUB))
        self.lines.append(Line(now, topic, key, value, stays=True, malformed=True))

    # Sending

    def _switch(self, event: CallAttempt | CallExtension | CallRelease, due: int) -> None:
        key = event.account_id or (event.called if isinstance(event, CallAttempt) else "")
        self._send(event, topics.CALL_ATTEMPTS.name, key, due)

    def _cdr(self, cdr: Cdr, due: int) -> None:
        self._send(cdr, topics.CDRS.name, cdr.account_id or cdr.called, due)

    def _command(self, command: AccountCommand, due: int) -> None:
        self._send(command, topics.ACCOUNT_COMMANDS.name, command.account_id, due)

    def _send(self, event: Event, topic: str, key: str, due: int) -> None:
        self.lines.append(Line(due, topic, key, encode(event)))

    # Small helpers

    def _account(self) -> Account:
        # The first ones are busy, so that calls of one account meet.
        accounts = self._company.accounts
        return accounts[min(self._rng.randrange(len(accounts)), self._rng.randrange(len(accounts)))]

    def _called(self) -> str:
        prefix = self._rng.choice((*PREFIXES, "7", "7495", "7495", "7495", "7900", "790055"))
        return f"{prefix}{'7' * 11}"[:11] if self._rng.random() < 0.2 else f"{prefix}12345678"[:11]

    def _id(self, kind: str) -> str:
        self._ids += 1
        return f"{self._name}{kind}{self._ids}"
