"""Commands of the sample traffic: what the operator's office does to accounts while their clients call."""

from functools import partial
from random import Random

from connectors.sample.arrivals import Arrivals
from connectors.sample.catalogue import Purse
from connectors.sample.clientele import POOR_MICROS, Clientele
from schemas.events import Block, Close, Payment, TopUp, Unblock, WriteOff
from schemas.money import UNIT_MICROS
from schemas.times import SECOND_US, to_text


class Office:
    """Makes commands up and sends them."""

    def __init__(self, clientele: Clientele, arrivals: Arrivals, rng: Random) -> None:
        self._clientele = clientele
        self._arrivals = arrivals
        self._rng = rng

    def payment(self, now: int) -> None:
        """Money from the bank."""
        purse, amount = self._rng.choice(self._clientele.ordinary), self._rng.randrange(3, 200) * 100 * UNIT_MICROS
        command_id = self._arrivals.new_id("p")
        paid = Payment(command_id, purse.account_id, to_text(now), amount, f"bank {self._arrivals.count}")
        self._arrivals.send(paid, now)
        purse.available += amount

    def top_up(self, now: int) -> None:
        """A bonus."""
        purse, amount = self._rng.choice(self._clientele.ordinary), self._rng.randrange(1, 20) * 50 * UNIT_MICROS
        self._arrivals.send(TopUp(self._arrivals.new_id("t"), purse.account_id, to_text(now), amount, "Бонус"), now)
        purse.available += amount

    def write_off(self, now: int) -> None:
        """The fee of the month."""
        purse, amount = self._rng.choice(self._clientele.ordinary), self._rng.randrange(1, 30) * 10 * UNIT_MICROS
        if amount < purse.available:
            self._take(purse, amount, now, "Абонентская плата")

    def critical_write_off(self, now: int) -> None:
        """One that brings the balance below its critical one (§2.4); an account gets it once."""
        if (purse := _without_calls(self._clientele.critical)) is not None:
            self._clientele.critical.remove(purse)
            assert purse.critical_in is not None
            self._take(purse, purse.critical_in + UNIT_MICROS, now, "Подключение номера")

    def exhausting_write_off(self, now: int) -> None:
        """One that takes the last money; the accounts with little of it are not all ruined."""
        poor = self._clientele.poor
        if len(poor) > 1 and (purse := _without_calls(poor)) is not None:
            poor.remove(purse)
            self._take(purse, POOR_MICROS, now, "Абонентская плата")

    def block_and_unblock(self, now: int) -> None:
        """A block on suspicion, ended some minutes later."""
        purse = self._clientele.quiet()
        if purse is None:
            return
        purse.status = "blocked"
        self._clientele.blocked.append(purse)
        until = now + self._rng.randrange(60, 900) * SECOND_US
        block = Block(self._arrivals.new_id("b"), purse.account_id, to_text(now), "Подозрение на фрод")
        unblock = Unblock(self._arrivals.new_id("u"), purse.account_id, to_text(until), "Проверено")
        self._arrivals.send(block, now)
        self._arrivals.send(unblock, until, partial(self._unblocked, purse))

    def _unblocked(self, purse: Purse) -> None:
        purse.status = "active"
        self._clientele.blocked.remove(purse)

    def close(self, now: int) -> None:
        """The end of a contract."""
        purse = self._clientele.quiet()
        if purse is None:
            return
        purse.status = "closed"
        self._clientele.closed.append(purse)
        self._clientele.ordinary.remove(purse)
        close = Close(self._arrivals.new_id("x"), purse.account_id, to_text(now), "Договор расторгнут")
        self._arrivals.send(close, now)

    def payment_of_nobody(self, now: int) -> None:
        """Money for an account that does not exist."""
        paid = Payment(self._arrivals.new_id("p"), "999999", to_text(now), 100 * UNIT_MICROS, "bank")
        self._arrivals.send(paid, now)

    def _take(self, purse: Purse, amount: int, now: int, reference: str) -> None:
        taken = WriteOff(self._arrivals.new_id("w"), purse.account_id, to_text(now), amount, reference)
        self._arrivals.send(taken, now)
        purse.available -= amount


def _without_calls(purses: list[Purse]) -> Purse | None:
    """One that no call has set money aside of: else a promise to a running call could not be kept."""
    return next((purse for purse in reversed(purses) if not purse.running), None)
