"""Calls of the sample traffic that go through, each from its set-up to its last event.

They are planned within bounds that hold whatever is charged, so an engine allows each of them. Some then take a quirk:
a CDR that comes late, or never, or twice.
"""

from collections.abc import Sequence
from functools import partial
from random import Random

from msgspec.structs import replace

from connectors.sample.arrivals import Arrivals, Then
from connectors.sample.catalogue import Place, Purse, Retail, Weighted
from connectors.sample.clientele import Clientele
from connectors.sample.tariffs import TOLL_FREE
from schemas.codec import encode
from schemas.events import FORWARDING, INCOMING, INTRA_OFFICE, OUTGOING, CallAttempt, CallExtension, CallRelease, Cdr
from schemas.times import SECOND_US, to_text

QUIRKS = ("extended", "late", "lost", "twice", "id_reused", "released", "through_unknown_provider", "without_attempt")
"""What may happen to an outgoing call beside the usual. Its account then has no limit of calls at once."""

MAX_CALL_SECONDS = 10_800  # what an engine grants when nothing less is asked for
_HOLD_GRACE_SECONDS = 120  # a hold lives so much longer than its grant
_EXTENDED_CAP, _BRIEF_CAP, _TOLL_FREE_CAP = 300, 60, 1800
_TRIES = 12  # accounts looked at before a call becomes another kind of call
_RELEASED = 0.15  # of the unanswered calls: no CDR, but a release
_SECOND_ROUTE = 0.08  # of the calls: the cheapest provider was out of order

_CAUSES = Weighted(("no_answer", "busy", "failed", "rejected"), (60, 25, 10, 5))


class Calls:
    """Makes calls up and sends all their events."""

    def __init__(self, clientele: Clientele, arrivals: Arrivals, rng: Random) -> None:
        self._clientele = clientele
        self._arrivals = arrivals
        self._rng = rng

    def outgoing(self, now: int, *, service: str = OUTGOING, quirk: str = "") -> None:
        """An outgoing or forwarded call of an account that can pay for it."""
        clientele, rng = self._clientele, self._rng
        seconds = clientele.seconds(answered=bool(quirk))
        if quirk == "extended":
            seconds += 2 * _EXTENDED_CAP
        for _ in range(_TRIES):
            purse = clientele.caller()
            if purse.status != "active" or (quirk and purse.at_once) or (place := clientele.place(purse)) is None:
                continue
            asked = None if purse.postpaid else rng.choice((600, 1800, 3600))
            if quirk in ("late", "lost", "through_unknown_provider"):
                asked = _BRIEF_CAP
            if quirk == "extended":
                asked = _EXTENDED_CAP
            else:
                seconds = min(seconds, asked or MAX_CALL_SECONDS)
            if self.pay_and_call(purse, place, seconds, asked, now, service=service, quirk=quirk):
                return
        # Nobody could pay for it: a call within an office is free.
        self.intra_office(now)

    def of_the_poor(self, now: int) -> None:
        """A short call of an account whose money does not buy a long one."""
        purses: Sequence[Purse] = self._clientele.poor
        for _ in range(_TRIES):
            if not purses:
                return
            purse = self._rng.choice(purses)
            if purse.status == "active" and self.pay_and_call(purse, self._clientele.mobile(purse), 45, None, now):
                return

    def pay_and_call(
        self,
        purse: Purse,
        place: Place,
        seconds: int,
        asked: int | None,
        now: int,
        *,
        service: str = OUTGOING,
        quirk: str = "",
    ) -> bool:
        """Makes the call if the account has the money and a free line for it.

        `asked` are the seconds that the switch asks for; `seconds` is 0 for a call that is not answered.
        """
        # An extended call asks for its cap once more than it lasts.
        cap = seconds + _EXTENDED_CAP if quirk == "extended" else asked or MAX_CALL_SECONDS
        set_aside = self._affordable(purse, place.retail, seconds, cap)
        if set_aside is None:
            return False
        charged = place.retail.at_most(seconds) if seconds else 0
        purse.available -= set_aside
        purse.running += 1
        # The second provider might be dearer than the client pays, and a careful plan leaves it out.
        careful = "no_margin" in self._clientele.plans[purse.plan_id].refused
        second = not careful and len(place.providers) > 1 and self._rng.random() < _SECOND_ROUTE
        attempt = self.attempt(now, purse, place.number(self._rng), service, asked)
        self._run(attempt, now, seconds, place.providers[second], partial(_settle, purse, set_aside - charged), quirk)
        return True

    def _affordable(self, purse: Purse, retail: Retail, seconds: int, cap: int) -> int | None:
        """What to set aside for a call of so many seconds that may get as many as the cap."""
        if not purse.has_line:
            return None
        if (set_aside := retail.at_most(cap)) <= purse.available:
            return set_aside
        # A hold on all of the money is planned only where there is no other: their sum would be a guess.
        if purse.running or retail.at_most(seconds) > purse.available:
            return None
        return purse.available

    def inbound(self, now: int) -> None:
        """To a client's number: free, but for a toll-free number, which its holder pays for."""
        purse = self._clientele.active()
        called = self._rng.choice(purse.numbers)
        seconds = self._clientele.seconds()
        asked, back = None, 0
        if called.startswith(TOLL_FREE) and (price := self._clientele.plans[purse.plan_id].toll_free) is not None:
            asked = _TOLL_FREE_CAP
            seconds = min(seconds, asked)
            set_aside = price.at_most(asked)
            if set_aside > purse.available:
                self.intra_office(now)
                return
            purse.available -= set_aside
            back = set_aside - (price.at_most(seconds) if seconds else 0)
        purse.running += 1
        attempt = self.attempt(now, purse, called, INCOMING, asked)
        self._run(attempt, now, seconds, None, partial(_settle, purse, back))

    def intra_office(self, now: int) -> None:
        """From one desk to another."""
        purse = self._clientele.active()
        purse.running += 1
        attempt = self.attempt(now, purse, str(self._rng.randrange(2000, 3000)), INTRA_OFFICE)
        self._run(attempt, now, self._clientele.seconds(), None, partial(_settle, purse, 0))

    def emergency(self, now: int) -> None:
        """By somebody who could not call anywhere else."""
        purse = self._rng.choice(self._clientele.blocked or self._clientele.closed or self._clientele.ordinary)
        attempt = self.attempt(now, purse, self._rng.choice(("112", "112", "101", "103")), OUTGOING)
        self._run(attempt, now, self._clientele.seconds(answered=True), None, None)

    def recording(self, now: int) -> None:
        """The recording of a call that has just ended: a CDR of a service of its own, without an attempt."""
        purse = self._clientele.active()
        price = self._clientele.plans[purse.plan_id].recording
        seconds = self._clientele.seconds(answered=True)
        if price is None or price.at_most(seconds) > purse.available:
            return
        purse.available -= price.at_most(seconds)
        begun = to_text(now - seconds * SECOND_US)
        cdr = Cdr(
            cdr_id=self._arrivals.new_id("c"),
            switch_id=_switch(purse, self._arrivals.count),
            service="calls_rec",
            called=purse.numbers[0],
            started_at=begun,
            ended_at=to_text(now),
            account_id=purse.account_id,
            caller=self._clientele.stranger(),
            place=purse.place,
            answered_at=begun,
            billable_seconds=seconds,
            cause="normal",
        )
        self._arrivals.send(cdr, now + SECOND_US)

    def attempt(self, now: int, purse: Purse, called: str, service: str, asked: int | None = None) -> CallAttempt:
        """A set-up by this account, or to it."""
        return CallAttempt(
            attempt_id=self._arrivals.new_id("a"),
            switch_id=_switch(purse, self._arrivals.count),
            at=to_text(now),
            service=service,
            called=called,
            account_id=purse.account_id,
            caller=self._clientele.stranger() if service == INCOMING else self._clientele.number_of(purse, service),
            place=purse.place,
            incoming_service=INTRA_OFFICE if service == FORWARDING and self._arrivals.count % 4 else None,
            requested_seconds=asked,
        )

    def _run(
        self, attempt: CallAttempt, now: int, seconds: int, provider: str | None, then: Then | None, quirk: str = ""
    ) -> None:
        """Sends the attempt and all that follows it."""
        arrivals, rng = self._arrivals, self._rng
        if quirk != "without_attempt":
            arrivals.send(attempt, now)
        if quirk in ("twice", "id_reused"):
            again = attempt if quirk == "twice" else _to_another_number(attempt)
            arrivals.send(again, now + rng.randrange(300, 2000) * 1000)
        ended = now + rng.randrange(2_000, 28_000) * 1000
        answered = ended if seconds else None
        if answered is not None:
            ended = answered + seconds * SECOND_US - rng.randrange(1000) * 1000
            if quirk == "extended":
                self._extend(attempt, answered, seconds)
        if quirk == "lost":
            return  # neither CDR nor release: its hold expires, and the money set aside for it stays so
        if quirk == "released" or (not seconds and rng.random() < _RELEASED):
            cause = _CAUSES.draw(rng)
            ids = (attempt.attempt_id, attempt.switch_id, to_text(ended), attempt.account_id)
            arrivals.send(CallRelease(*ids, cause), ended, then)
            return
        arrival = ended + rng.randrange(200, 2000) * 1000
        if quirk == "late":
            arrival = now + (_BRIEF_CAP + _HOLD_GRACE_SECONDS + rng.randrange(60, 1200)) * SECOND_US
        cdr = Cdr(
            cdr_id=arrivals.new_id("c"),
            switch_id=attempt.switch_id,
            service=attempt.service,
            called=attempt.called,
            started_at=attempt.at,
            ended_at=to_text(ended),
            attempt_id=None if quirk == "without_attempt" and arrivals.count % 2 else attempt.attempt_id,
            account_id=attempt.account_id,
            caller=attempt.caller,
            place=attempt.place,
            incoming_service=attempt.incoming_service,
            provider_id="nobody-knows" if quirk == "through_unknown_provider" else provider,
            answered_at=to_text(answered) if answered is not None else None,
            billable_seconds=seconds,
            cause="normal" if seconds else _CAUSES.draw(rng),
        )
        # A CDR through an unknown provider is refused: like a lost one it never frees what was set aside.
        arrivals.send(cdr, arrival, None if quirk == "through_unknown_provider" else then)
        if quirk in ("twice", "id_reused"):
            again_cdr = cdr if quirk == "twice" else replace(cdr, billable_seconds=seconds + 60)
            arrivals.send_line(encode(again_cdr), arrival + rng.randrange(1, 90) * SECOND_US)

    def _extend(self, attempt: CallAttempt, answered: int, seconds: int) -> None:
        """Asks for more time half a minute before each grant ends."""
        assert attempt.account_id is not None
        for used in range(_EXTENDED_CAP - 30, seconds, _EXTENDED_CAP):
            at = answered + used * SECOND_US
            ids = (attempt.attempt_id, attempt.switch_id, to_text(at), attempt.account_id)
            self._arrivals.send(CallExtension(*ids, used), at)


def _settle(purse: Purse, back: int) -> None:
    """A call has ended: its line is free, and so is what its hold had more than its charge."""
    purse.available += back
    purse.running -= 1


def _switch(purse: Purse, n: int) -> str:
    return f"{purse.place}-{1 + n % 2}"


def _to_another_number(attempt: CallAttempt) -> CallAttempt:
    return replace(attempt, called=f"{attempt.called[:-1]}{(int(attempt.called[-1]) + 1) % 10}")
