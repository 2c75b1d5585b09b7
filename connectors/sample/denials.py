"""Attempts of the sample traffic that are denied, each with exactly one thing wrong with it."""

from collections.abc import Sequence
from random import Random

from connectors.sample.arrivals import Arrivals
from connectors.sample.calls import Calls
from connectors.sample.catalogue import Purse
from connectors.sample.clientele import Clientele
from schemas.events import INCOMING, OUTGOING, CallAttempt
from schemas.times import to_text

_BAD_NUMBERS = ("+74952223344", "8(495)222-33-44", "", "1234567890123456", "sip:2001", "7495222334x")
_GUIDES_ACCOUNT, _GUIDES_NUMBER = "100200", "381114112060"
_WITHOUT_CALLER = 0.05  # of the calls to numbers that nobody uses


class Denials:
    """Makes such attempts up and sends them; none where a reference folder has no account or number for one."""

    def __init__(self, clientele: Clientele, calls: Calls, arrivals: Arrivals, rng: Random) -> None:
        self._clientele = clientele
        self._calls = calls
        self._arrivals = arrivals
        self._rng = rng

    def bad_number(self, now: int) -> None:
        """To something that is no number."""
        self._send(now, self._clientele.active(), self._rng.choice(_BAD_NUMBERS))

    def nobodys_number(self, now: int) -> None:
        """Inbound to a number in quarantine, free or reserved."""
        self._without_account(now, self._clientele.idle_number())

    def unknown_number(self, now: int) -> None:
        """Inbound to a number that the operator does not have."""
        self._without_account(now, f"74999{self._rng.randrange(10**6):06d}")

    def held_number(self, now: int) -> None:
        """Inbound to a client's number, by a switch that does not know whose it is."""
        self._without_account(now, self._clientele.active().numbers[0])

    def unknown_account(self, now: int) -> None:
        """By an account that does not exist."""
        attempt = CallAttempt(
            attempt_id=self._arrivals.new_id("a"),
            switch_id="msk-2",
            at=to_text(now),
            service=OUTGOING,
            called="79261234567",
            account_id=f"9{self._rng.randrange(10**5):05d}00",
            caller="74951119999",
            place="msk",
        )
        self._arrivals.send(attempt, now)

    def closed_account(self, now: int) -> None:
        """By an account that has been closed."""
        self._by_one_of(now, self._clientele.closed)

    def blocked_account(self, now: int) -> None:
        """By an account that is blocked."""
        self._by_one_of(now, self._clientele.blocked)

    def no_money(self, now: int) -> None:
        """By an account that has nothing left."""
        self._by_one_of(now, self._clientele.penniless)

    def crowded(self, now: int) -> None:
        """Fills the lines of an account that may have few calls at once; when they are full, tries one more."""
        if not self._clientele.small:
            return
        purse = max(self._clientele.small, key=lambda p: (p.running - p.at_once, p.account_id))
        if not purse.has_line:
            self._by_one_of(now, (purse,))
            return
        seconds = 120 + self._rng.randrange(480)
        if not self._calls.pay_and_call(purse, self._clientele.mobile(purse), seconds, 600, now):
            self._calls.intra_office(now)

    def locked(self, now: int) -> None:
        """To a number that a lock bans for everyone."""
        self._refused(now, self._clientele.active(), "lock")

    def locked_through_the_only_provider(self, now: int) -> None:
        """The guide's case (§2.2): a local lock on 38 through the only provider of Serbia."""
        if (purse := self._clientele.purses.get(_GUIDES_ACCOUNT)) is not None:
            self._send(now, purse, _GUIDES_NUMBER)

    def no_wholesale_price(self, now: int) -> None:
        """To where no provider carries calls."""
        self._refused(now, self._clientele.active(), "no_wholesale_price")

    def no_retail_price(self, now: int) -> None:
        """To where calls are not sold."""
        self._refused(now, self._clientele.active(), "no_retail_price")

    def no_margin(self, now: int) -> None:
        """To where calls are sold below cost, on a plan that forbids it."""
        if self._clientele.careful:
            self._refused(now, self._rng.choice(self._clientele.careful), "no_margin")

    def _refused(self, now: int, purse: Purse, reason: str) -> None:
        if stems := self._clientele.plans[purse.plan_id].refused.get(reason):
            self._send(now, purse, f"{self._rng.choice(stems)}{self._rng.randrange(10_000):04d}")

    def _by_one_of(self, now: int, purses: Sequence[Purse]) -> None:
        if purses:
            purse = self._rng.choice(purses)
            self._send(now, purse, self._clientele.mobile(purse).number(self._rng))

    def _send(self, now: int, purse: Purse, called: str) -> None:
        self._arrivals.send(self._calls.attempt(now, purse, called, OUTGOING), now)

    def _without_account(self, now: int, called: str) -> None:
        attempt = CallAttempt(
            attempt_id=self._arrivals.new_id("a"),
            switch_id=f"msk-{1 + self._arrivals.count % 2}",
            at=to_text(now),
            service=INCOMING,
            called=called,
            caller=None if self._rng.random() < _WITHOUT_CALLER else self._clientele.stranger(),
        )
        self._arrivals.send(attempt, now)
