"""Who calls whom in the sample traffic: accounts by what they are good for, places by how often they are called."""

from random import Random

from connectors.sample.catalogue import Catalogue, Place, Plan, Purse, Weighted, zipf
from schemas.events import FORWARDING
from schemas.money import UNIT_MICROS

ANSWERED = 0.6  # of the attempts that go through (ASR)
# Length of a call: half are shorter than 75 s, a few last an hour.
_MEDIAN_LOG_SECONDS, _SPREAD, _LONGEST_SECONDS = 4.32, 1.1, 5400
_TRIES = 12

POOR_MICROS = 50 * UNIT_MICROS
"""With no more than this an account has little money."""

_KINDS = Weighted(("local", "mobile", "intercity", "abroad", "toll_free"), (28, 44, 17, 9, 2))


class Clientele:
    """The accounts in groups, and strangers who call them."""

    def __init__(self, catalogue: Catalogue, rng: Random) -> None:
        self.rng = rng
        self.purses = catalogue.purses
        self.plans = catalogue.plans
        purses = list(catalogue.purses.values())
        # A client with many numbers is a call centre: it makes hundreds of times more calls than an office.
        self._callers = Weighted(purses, (max(1, len(p.numbers)) ** 2 for p in purses))
        active = [p for p in purses if p.status == "active"]
        self.blocked = [p for p in purses if p.status == "blocked"]
        self.closed = [p for p in purses if p.status == "closed"]
        self.penniless = [p for p in active if p.available <= 0]
        self.poor = [p for p in active if 0 < p.available <= POOR_MICROS]
        self.small = [p for p in active if 0 < p.at_once <= 3 and p.available > 1000 * UNIT_MICROS]
        self.careful = [p for p in active if "no_margin" in catalogue.plans[p.plan_id].refused]
        self.critical = [p for p in active if p.critical_in is not None and 0 < p.critical_in <= 500 * UNIT_MICROS]
        near = {p.account_id for p in self.critical}
        self.ordinary = [p for p in active if 0 < len(p.numbers) < 4 and p.available > 0 and p.account_id not in near]
        self._places = {plan_id: _by_popularity(plan, rng) for plan_id, plan in catalogue.plans.items()}
        self._idle_numbers = zipf(rng.sample(catalogue.idle_numbers, len(catalogue.idle_numbers)), 0.8)
        self._strangers = zipf([f"79{rng.randrange(10**9):09d}" for _ in range(3000)], 0.7)

    def caller(self) -> Purse:
        """Any account; those with most calls come most often."""
        return self._callers.draw(self.rng)

    def active(self) -> Purse:
        """An account that may call, has a number and a free line."""
        while True:
            purse = self.caller()
            if purse.status == "active" and purse.numbers and purse.has_line:
                return purse

    def quiet(self) -> Purse | None:
        """An ordinary account without a running call; None if none was found soon."""
        for _ in range(_TRIES):
            purse = self.rng.choice(self.ordinary)
            if purse.status == "active" and not purse.running:
                return purse
        return None

    def place(self, purse: Purse) -> Place | None:
        """Where this account calls now; None if a lock of its own is in the way."""
        place = self._places[purse.plan_id][_KINDS.draw(self.rng)].draw(self.rng)
        return None if purse.locked and place.stem.startswith(purse.locked) else place

    def mobile(self, purse: Purse) -> Place:
        """A place among the mobile numbers: every plan sells them, and no lock is on them."""
        return self._places[purse.plan_id]["mobile"].draw(self.rng)

    def stranger(self) -> str:
        """Somebody's mobile number; the same ones come again and again."""
        return self._strangers.draw(self.rng)

    def idle_number(self) -> str:
        """A number of the operator that nobody uses; some are called far more than others."""
        return self._idle_numbers.draw(self.rng)

    def number_of(self, purse: Purse, service: str) -> str | None:
        """The caller's number: for a forwarded call that of whoever called the client."""
        if service == FORWARDING:
            return self.stranger()
        return self.rng.choice(purse.numbers) if purse.numbers else None

    def seconds(self, *, answered: bool = False) -> int:
        """Length of a call, 0 if nobody answers."""
        if not answered and self.rng.random() >= ANSWERED:
            return 0
        return 1 + min(_LONGEST_SECONDS, int(self.rng.lognormvariate(_MEDIAN_LOG_SECONDS, _SPREAD)))


def _by_popularity(plan: Plan, rng: Random) -> dict[str, Weighted[Place]]:
    """Places by kind. The cheap ones are, by and large, those that are called most: neighbours, big cities."""
    return {
        kind: zipf(sorted(places, key=lambda place: place.retail.minute * rng.uniform(0.5, 3.0)), 0.9)
        for kind, places in plan.places.items()
    }
