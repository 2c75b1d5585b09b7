"""Calls and commands of the sample traffic, each from its set-up to its last event.

A scenario is chosen first, then an account and a number that make it come true: what should go through is planned
within bounds that hold whatever is charged, what should be denied has exactly one thing wrong with it.
All events wait in one heap until they arrive.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from random import Random

from msgspec.structs import replace

from connectors.sample.catalogue import Catalogue, Place, Plan, Purse, Retail, Weighted, zipf
from connectors.sample.tariffs import TOLL_FREE
from schemas.codec import encode
from schemas.events import (
    FORWARDING,
    INCOMING,
    INTRA_OFFICE,
    OUTGOING,
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
from schemas.money import UNIT_MICROS
from schemas.times import SECOND_US, to_text

ANSWERED = 0.6  # of the attempts that go through (ASR)
# Length of a call: half are shorter than 75 s, a few last an hour.
_MEDIAN_LOG_SECONDS, _SPREAD, _LONGEST_SECONDS = 4.32, 1.1, 5400
MAX_CALL_SECONDS = 10_800  # what an engine grants when nothing less is asked for
_HOLD_GRACE_SECONDS = 120  # a hold lives so much longer than its grant
_SHORT_CAP = 300
_TRIES = 12  # accounts looked at before a call becomes another kind of call

_KINDS = Weighted(("local", "mobile", "intercity", "abroad", "toll_free"), (28, 44, 17, 9, 2))
_CAUSES = Weighted(("no_answer", "busy", "failed", "rejected"), (60, 25, 10, 5))
_BAD_NUMBERS = ("+74952223344", "8(495)222-33-44", "", "1234567890123456", "sip:2001", "7495222334x")
_EMERGENCY = ("112", "101", "103")


class Calls:
    """Makes up events and hands them out in the order of their arrival."""

    def __init__(self, catalogue: Catalogue, rng: Random, name: str) -> None:
        self._rng = rng
        self._name = name
        self._heap: list[tuple[int, int, bytes, Callable[[], None] | None]] = []
        self._sent = 0  # breaks ties in the heap, and makes ids
        self._catalogue = catalogue
        purses = list(catalogue.purses.values())
        # A client with many numbers is a call centre: it makes hundreds of times more calls than an office.
        self._callers = Weighted(purses, (max(1, len(p.numbers)) ** 2 for p in purses))
        active = [p for p in purses if p.status == "active"]
        self._blocked = [p for p in purses if p.status == "blocked"]
        self._closed = [p for p in purses if p.status == "closed"]
        self._penniless = [p for p in active if p.available <= 0]
        self._poor = [p for p in active if 0 < p.available <= 50 * UNIT_MICROS]
        self._crowds = [p for p in active if 0 < p.at_once <= 3 and p.available > 1000 * UNIT_MICROS]
        self._critical = [p for p in active if p.critical_in is not None and 0 < p.critical_in <= 500 * UNIT_MICROS]
        self._ordinary = [p for p in active if 0 < len(p.numbers) < 4 and p.available > 0]
        self._careful = [p for p in active if "no_margin" in catalogue.plans[p.plan_id].refused]
        self._places = {plan_id: _by_popularity(plan, rng) for plan_id, plan in catalogue.plans.items()}
        self._idle = zipf(rng.sample(catalogue.idle_numbers, len(catalogue.idle_numbers)), 0.8)
        self._strangers = zipf([f"79{rng.randrange(10**9):09d}" for _ in range(3000)], 0.7)
        self._makers: dict[str, Callable[[int], None]] = {
            "outgoing": self._call,
            "forwarding": partial(self._call, service=FORWARDING),
            "inbound": self._inbound,
            "intra_office": self._intra_office,
            "emergency": self._emergency,
            "to_nobodys_number": self._to_nobodys_number,
            "to_unknown_number": lambda now: self._without_account(now, f"74999{self._rng.randrange(10**6):06d}"),
            "to_held_number_without_account": lambda now: self._without_account(now, self._active().numbers[0]),
            "bad_number": lambda now: self._denied(now, self._active(), rng.choice(_BAD_NUMBERS)),
            "unknown_account": self._unknown_account,
            "closed_account": lambda now: self._denied_of(now, self._closed),
            "blocked_account": lambda now: self._denied_of(now, self._blocked),
            "crowded_account": self._crowded,
            "locked": partial(self._refused, reason="lock"),
            "locked_through_the_only_provider": self._own_lock,
            "no_wholesale_price": partial(self._refused, reason="no_wholesale_price"),
            "no_retail_price": partial(self._refused, reason="no_retail_price"),
            "no_margin": partial(self._refused, reason="no_margin"),
            "no_money": lambda now: self._denied_of(now, self._penniless),
            "little_money": lambda now: self._call(now, purses=self._poor),
            "payment": self._payment,
            "top_up": self._top_up,
            "write_off": self._write_off,
            "critical_write_off": self._critical_write_off,
            "block_and_unblock": self._block_and_unblock,
            "close": self._close,
            "command_for_nobody": self._command_for_nobody,
            "recording": self._recording,
            "cdr_without_attempt": lambda now: self._call(now, quirk="no_attempt"),
        }
        for quirk in ("extended", "late", "lost", "twice", "id_reused", "released", "through_unknown_provider"):
            self._makers[quirk] = partial(self._call, quirk=quirk)

    def make(self, kind: str, now_us: int) -> None:
        """Makes up what happens from now on in a scenario of this kind. Raises KeyError for an unknown one."""
        self._makers[kind](now_us)

    def due(self, now_us: int | None) -> Iterator[tuple[int, bytes]]:
        """Arrival and line of all events up to now, or of all that there are; an event is handed out once."""
        heap = self._heap
        while heap and (now_us is None or heap[0][0] <= now_us):
            arrival_us, _, line, then = heappop(heap)
            if then is not None:
                then()
            yield arrival_us, line

    def send_raw(self, line: bytes, at_us: int, then: Callable[[], None] | None = None) -> None:
        """Lets a line arrive at a moment; `then` is called when it does."""
        self._sent += 1
        heappush(self._heap, (at_us, self._sent, line, then))

    def _send(self, event: Event, at_us: int, then: Callable[[], None] | None = None) -> None:
        self.send_raw(encode(event), at_us, then)

    def _id(self, kind: str) -> str:
        self._sent += 1
        return f"{kind}{self._name}-{self._sent:08x}"

    # Calls that go through

    def _call(self, now: int, service: str = OUTGOING, quirk: str = "", purses: Sequence[Purse] = ()) -> None:
        """An outgoing or forwarded call of an account that can pay for it."""
        rng = self._rng
        seconds = self._length(answered=bool(quirk or purses))
        if quirk == "extended":
            seconds += 2 * _SHORT_CAP
        for _ in range(_TRIES):
            purse = rng.choice(purses) if purses else self._callers.draw(rng)
            if purse.status != "active" or (quirk and purse.at_once):
                continue
            place = self._place(purse)
            if place is None:
                continue
            if purses:
                seconds = min(seconds, 60)
            requested = None if purse.postpaid or purses else rng.choice((600, 1800, 3600))
            if quirk in ("extended", "late", "lost", "through_unknown_provider"):
                requested = _SHORT_CAP if quirk == "extended" else 60
            if quirk != "extended":
                seconds = min(seconds, requested or MAX_CALL_SECONDS)
            if self._afford(purse, place.retail, seconds, requested, now, service, place, quirk):
                return
        # Nobody could pay for it: a call within an office is free.
        self._intra_office(now)

    def _afford(
        self,
        purse: Purse,
        retail: Retail,
        seconds: int,
        requested: int | None,
        now: int,
        service: str,
        place: Place,
        quirk: str = "",
    ) -> bool:
        """Makes the call if the account has the money and a free line for it."""
        # An extended call asks for its cap once more than it lasts.
        cap = seconds + _SHORT_CAP if quirk == "extended" else requested or MAX_CALL_SECONDS
        set_aside = retail.at_most(cap)
        if purse.at_once and purse.running >= purse.at_once:
            return False
        if set_aside > purse.available:
            # A hold on all of the money is planned only where there is no other: their sum would be a guess.
            if purse.running or retail.at_most(seconds) > purse.available:
                return False
            set_aside = purse.available
        charged = retail.at_most(seconds) if seconds else 0
        purse.available -= set_aside
        purse.running += 1
        provider = place.providers[1 if len(place.providers) > 1 and self._rng.random() < 0.08 else 0]
        careful = "no_margin" in self._catalogue.plans[purse.plan_id].refused
        provider = place.providers[0] if careful else provider  # the second might be dearer than the client pays
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id=_switch(purse.place, self._sent),
            at=to_text(now),
            service=service,
            called=place.number(self._rng),
            account_id=purse.account_id,
            caller=self._caller(purse, service),
            place=purse.place,
            incoming_service="intra_office" if service == FORWARDING and self._sent % 4 else None,
            requested_seconds=requested,
        )
        then = partial(_settle, purse, set_aside - charged)
        self._run(attempt, now, seconds, provider, then, quirk)
        return True

    def _run(
        self,
        attempt: CallAttempt,
        now: int,
        seconds: int,
        provider: str | None,
        then: Callable[[], None] | None,
        quirk: str = "",
    ) -> None:
        """Sends the attempt and all that follows it."""
        rng = self._rng
        line = encode(attempt)
        if quirk != "no_attempt":
            self.send_raw(line, now)
        if quirk in ("twice", "id_reused"):
            again = line if quirk == "twice" else encode(_other_number(attempt))
            self.send_raw(again, now + rng.randrange(300, 2000) * 1000)
        rings_us = rng.randrange(2_000, 28_000) * 1000
        ended = now + rings_us
        answered = None
        if seconds:
            answered = ended
            ended = answered + seconds * SECOND_US - rng.randrange(1000) * 1000
        arrival = ended + rng.randrange(200, 2000) * 1000
        if quirk == "extended":
            assert attempt.requested_seconds is not None and answered is not None
            for used in range(attempt.requested_seconds - 30, seconds, attempt.requested_seconds):
                self._extend(attempt, answered, used)
        if quirk == "lost":
            return  # neither CDR nor release: its hold expires
        if quirk == "released" or (not seconds and not quirk and rng.random() < 0.15):
            cause = _CAUSES.draw(rng)
            released = CallRelease(
                attempt.attempt_id, attempt.switch_id, to_text(now + rings_us), attempt.account_id, cause
            )
            self._send(released, now + rings_us, then)
            return
        if quirk == "late":
            arrival = now + (60 + _HOLD_GRACE_SECONDS + rng.randrange(60, 1200)) * SECOND_US
        cdr = Cdr(
            cdr_id=self._id("c"),
            switch_id=attempt.switch_id,
            service=attempt.service,
            called=attempt.called,
            started_at=attempt.at,
            ended_at=to_text(ended),
            attempt_id=attempt.attempt_id if quirk != "no_attempt" or self._sent % 2 else None,
            account_id=attempt.account_id,
            caller=attempt.caller,
            place=attempt.place,
            incoming_service=attempt.incoming_service,
            provider_id="nobody-knows" if quirk == "through_unknown_provider" else provider,
            answered_at=to_text(answered) if answered is not None else None,
            billable_seconds=seconds,
            cause="normal" if seconds else _CAUSES.draw(rng),
        )
        # A CDR of an unknown provider is refused: what its hold has taken stays taken.
        self._send(cdr, arrival, None if quirk == "through_unknown_provider" else then)
        if quirk in ("twice", "id_reused"):
            again = encode(cdr) if quirk == "twice" else encode(_longer(cdr))
            self.send_raw(again, arrival + rng.randrange(1, 90) * SECOND_US)

    def _extend(self, attempt: CallAttempt, answered: int, used: int) -> None:
        assert attempt.account_id is not None
        at = answered + used * SECOND_US
        self._send(CallExtension(attempt.attempt_id, attempt.switch_id, to_text(at), attempt.account_id, used), at)

    def _inbound(self, now: int) -> None:
        """To a client's number: free, but for a toll-free number, which its holder pays for."""
        rng = self._rng
        purse = self._active()
        called = rng.choice(purse.numbers)
        seconds = self._length()
        if called.startswith(TOLL_FREE):
            price = self._catalogue.plans[purse.plan_id].toll_free
            seconds = min(seconds, 1800)
            set_aside = price.at_most(1800) if price else 0
            if purse.available < set_aside:
                return self._intra_office(now)
            purse.available -= set_aside
            back = set_aside - (price.at_most(seconds) if price and seconds else 0)
        else:
            back = 0
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id=_switch(purse.place, self._sent),
            at=to_text(now),
            service=INCOMING,
            called=called,
            account_id=purse.account_id,
            caller=self._strangers.draw(rng),
            place=purse.place,
            requested_seconds=1800 if called.startswith(TOLL_FREE) else None,
        )
        purse.running += 1
        return self._run(attempt, now, seconds, None, partial(_settle, purse, back))

    def _intra_office(self, now: int) -> None:
        purse = self._active()
        extension = str(self._rng.randrange(2000, 3000))
        attempt = self._attempt(now, purse, extension, INTRA_OFFICE)
        purse.running += 1
        self._run(attempt, now, self._length(), None, partial(_settle, purse, 0))

    def _emergency(self, now: int) -> None:
        """Whoever calls: blocked, closed, penniless."""
        purse = self._rng.choice(self._blocked or self._closed or self._ordinary)
        attempt = self._attempt(now, purse, self._rng.choice(_EMERGENCY), OUTGOING)
        self._run(attempt, now, self._length(answered=True), None, None)

    def _recording(self, now: int) -> None:
        """The recording of a call that has just ended: a CDR of its own service."""
        purse = self._active()
        price = self._catalogue.plans[purse.plan_id].recording
        seconds = self._length(answered=True)
        if price is None or price.at_most(seconds) > purse.available:
            return
        purse.available -= price.at_most(seconds)
        begun = now - seconds * SECOND_US
        cdr = Cdr(
            cdr_id=self._id("c"),
            switch_id=_switch(purse.place, self._sent),
            service="calls_rec",
            called=purse.numbers[0],
            started_at=to_text(begun),
            ended_at=to_text(now),
            account_id=purse.account_id,
            caller=self._strangers.draw(self._rng),
            place=purse.place,
            answered_at=to_text(begun),
            billable_seconds=seconds,
            cause="normal",
        )
        self._send(cdr, now + SECOND_US)

    # Attempts that are denied

    def _denied(self, now: int, purse: Purse, called: str) -> None:
        self._send(self._attempt(now, purse, called, OUTGOING), now)

    def _denied_of(self, now: int, purses: Sequence[Purse]) -> None:
        if purses:
            purse = self._rng.choice(purses)
            self._denied(now, purse, self._places[purse.plan_id]["mobile"].draw(self._rng).number(self._rng))

    def _refused(self, now: int, reason: str) -> None:
        purse = self._rng.choice(self._careful) if reason == "no_margin" and self._careful else self._active()
        stems = self._catalogue.plans[purse.plan_id].refused.get(reason)
        if stems:
            self._denied(now, purse, f"{self._rng.choice(stems)}{self._rng.randrange(10_000):04d}")

    def _own_lock(self, now: int) -> None:
        """The guide's case (§2.2): a local lock on 38 through the only provider of Serbia."""
        purse = self._catalogue.purses.get("100200")
        if purse is not None:
            self._denied(now, purse, "381114112060")

    def _unknown_account(self, now: int) -> None:
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id="msk-2",
            at=to_text(now),
            service=OUTGOING,
            called="79261234567",
            account_id=f"9{self._rng.randrange(10**5):05d}00",
            caller="74951119999",
            place="msk",
        )
        self._send(attempt, now)

    def _crowded(self, now: int) -> None:
        """Fills the lines of an account that may have few calls at once, and then tries one more."""
        if not self._crowds:
            return None
        purse = max(self._crowds, key=lambda p: (p.running - p.at_once, p.account_id))
        if purse.running >= purse.at_once:
            return self._denied_of(now, (purse,))
        place = self._places[purse.plan_id]["mobile"].draw(self._rng)
        seconds = 120 + self._rng.randrange(480)
        if not self._afford(purse, place.retail, seconds, 600, now, OUTGOING, place):
            self._intra_office(now)

    def _to_nobodys_number(self, now: int) -> None:
        self._without_account(now, self._idle.draw(self._rng))

    def _without_account(self, now: int, called: str) -> None:
        """Inbound; the same callers come again and again, and some hide their number."""
        caller = self._strangers.draw(self._rng) if self._rng.random() < 0.95 else None
        attempt = CallAttempt(
            attempt_id=self._id("a"),
            switch_id=_switch("msk", self._sent),
            at=to_text(now),
            service=INCOMING,
            called=called,
            caller=caller,
        )
        self._send(attempt, now)

    # The office

    def _payment(self, now: int) -> None:
        purse, amount = self._rng.choice(self._ordinary), self._rng.randrange(3, 200) * 100 * UNIT_MICROS
        command_id = self._id("p")
        self._send(Payment(command_id, purse.account_id, to_text(now), amount, f"bank {self._sent}"), now)
        purse.available += amount

    def _top_up(self, now: int) -> None:
        purse, amount = self._rng.choice(self._ordinary), self._rng.randrange(1, 20) * 50 * UNIT_MICROS
        self._send(TopUp(self._id("t"), purse.account_id, to_text(now), amount, "Бонус"), now)
        purse.available += amount

    def _write_off(self, now: int) -> None:
        purse, amount = self._rng.choice(self._ordinary), self._rng.randrange(1, 30) * 10 * UNIT_MICROS
        if amount < purse.available:
            self._take(purse, amount, now, "Абонентская плата")

    def _critical_write_off(self, now: int) -> None:
        """One that brings the balance below its critical one (§2.4)."""
        if self._critical:
            purse = self._critical.pop(0)
            assert purse.critical_in is not None
            self._take(purse, purse.critical_in + UNIT_MICROS, now, "Подключение номера")

    def _take(self, purse: Purse, amount: int, now: int, reference: str) -> None:
        self._send(WriteOff(self._id("w"), purse.account_id, to_text(now), amount, reference), now)
        purse.available -= amount

    def _block_and_unblock(self, now: int) -> None:
        if (purse := self._idle_client()) is not None:
            purse.status = "blocked"
            self._blocked.append(purse)
            until = now + self._rng.randrange(60, 900) * SECOND_US
            self._send(Block(self._id("b"), purse.account_id, to_text(now), "Подозрение на фрод"), now)
            self._send(
                Unblock(self._id("u"), purse.account_id, to_text(until), "Проверено"),
                until,
                partial(self._unblock, purse),
            )

    def _unblock(self, purse: Purse) -> None:
        purse.status = "active"
        self._blocked.remove(purse)

    def _close(self, now: int) -> None:
        if (purse := self._idle_client()) is not None:
            purse.status = "closed"
            self._closed.append(purse)
            self._ordinary.remove(purse)
            self._send(Close(self._id("x"), purse.account_id, to_text(now), "Договор расторгнут"), now)

    def _command_for_nobody(self, now: int) -> None:
        self._send(Payment(self._id("p"), "999999", to_text(now), 100 * UNIT_MICROS, "bank"), now)

    # What the scenarios share

    def _active(self) -> Purse:
        """Any account that may call, has a number and a free line; those with most calls come most often."""
        while True:
            purse = self._callers.draw(self._rng)
            if purse.status == "active" and purse.numbers and not (purse.at_once and purse.running >= purse.at_once):
                return purse

    def _idle_client(self) -> Purse | None:
        for _ in range(_TRIES):
            purse = self._rng.choice(self._ordinary)
            if purse.status == "active" and not purse.running:
                return purse
        return None

    def _place(self, purse: Purse) -> Place | None:
        """Where this account calls now; None if a lock of its own is in the way."""
        places = self._places[purse.plan_id]
        place = places[_KINDS.draw(self._rng)].draw(self._rng)
        return None if purse.locked and place.stem.startswith(purse.locked) else place

    def _length(self, *, answered: bool = False) -> int:
        """Seconds of a call, 0 if nobody answers."""
        if not answered and self._rng.random() >= ANSWERED:
            return 0
        return 1 + min(_LONGEST_SECONDS, int(self._rng.lognormvariate(_MEDIAN_LOG_SECONDS, _SPREAD)))

    def _caller(self, purse: Purse, service: str) -> str | None:
        if service == FORWARDING:
            return self._strangers.draw(self._rng)
        return self._rng.choice(purse.numbers) if purse.numbers else None

    def _attempt(self, now: int, purse: Purse, called: str, service: str) -> CallAttempt:
        return CallAttempt(
            attempt_id=self._id("a"),
            switch_id=_switch(purse.place, self._sent),
            at=to_text(now),
            service=service,
            called=called,
            account_id=purse.account_id,
            caller=purse.numbers[0] if purse.numbers else None,
            place=purse.place,
        )


def _settle(purse: Purse, back: int) -> None:
    """A call has ended: its line is free, and so is what its hold had more than its charge."""
    purse.available += back
    purse.running -= 1


def _switch(place: str, n: int) -> str:
    return f"{place}-{1 + n % 2}"


def _by_popularity(plan: Plan, rng: Random) -> dict[str, Weighted[Place]]:
    """Places by kind. The cheap ones are, by and large, those that are called most: neighbours, big cities."""
    return {
        kind: zipf(sorted(places, key=lambda place: place.retail.minute * rng.uniform(0.5, 3.0)), 0.9)
        for kind, places in plan.places.items()
    }


def _other_number(attempt: CallAttempt) -> CallAttempt:
    return replace(attempt, called=f"{attempt.called[:-1]}{(int(attempt.called[-1]) + 1) % 10}")


def _longer(cdr: Cdr) -> Cdr:
    return replace(cdr, billable_seconds=(cdr.billable_seconds or 0) + 60)
