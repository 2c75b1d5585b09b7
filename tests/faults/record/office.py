"""The office at work while faults strike: payments, top-ups, write-offs, locks, prices, through the use cases.

It keeps its own memory of what it was told: an order is sure once its change was acknowledged, and "maybe" where the
answer was lost. Half of those it asks for again under the same id, as people do; the others stay open for good.
"""

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Literal
from zoneinfo import ZoneInfo

import asyncpg
from msgspec import Struct

from backoffice import locks as lock_rules
from backoffice import office as office_rules
from backoffice import price_lists as price_rules
from backoffice.access import Asker, asker
from backoffice.locks import LiftSent, LockChange, LockSent
from backoffice.office import CommandKind, MoneySent, PaymentSent
from backoffice.price_lists import Now, Terms
from backoffice.refusals import InTheWay, Refusal
from connectors.convert.common import NumberRule
from connectors.files.price_upload import PriceUpload
from connectors.postgres.change import Change, OutcomeUnknown, in_change
from connectors.postgres.clock import real_now_us
from connectors.postgres.database import DRIVER_TROUBLES, Pool
from connectors.postgres.locks import LocksRecord
from connectors.postgres.office import OfficeRecord
from connectors.postgres.price_versions import VersionRecord
from connectors.price_checks import Where, lint_version, store_lint
from engine.settings import EngineSettings
from schemas.money import to_text
from schemas.times import to_datetime
from tests.simulation.company import RUB

Answer = Literal["sure", "maybe", "refused"]

MANAGER = asker("smirnov", "manager")
CASHIER = asker("kuznetsova", "billing")
MARKETING = asker("petrova", "marketing")

PRICED_LIST, PRICED_PREFIX = "retail-44", "44"
FIRST_PRICE = 20 * RUB
LOCKED_BEGIN = "7911"
"""All locks of the office are on numbers that begin so, and no traffic goes there."""

_MONEY: tuple[CommandKind, ...] = ("payment", "payment", "top_up", "write_off")
_PAUSE_SECONDS = (0.05, 0.4)
_AWAY_SECONDS = 0.5
_MOST_LOCKS = 30
_SETTINGS = EngineSettings()


class Ordered(Struct):
    """Money that was ordered. `sure`: the office was told so."""

    command_id: str
    kind: CommandKind
    account_id: str
    amount_micros: int
    sure: bool = False


class LockMade(Struct):
    """A lock that was set, or may have been."""

    lock_id: str
    kind: Literal["prefix", "number"]
    digits: str
    account_id: str | None
    state: Literal["set", "maybe set", "lifted", "maybe lifted"]


class Priced(Struct):
    """A price that was published, or may have been."""

    price_micros: int
    sure: bool


class Office:
    """`start`, and `stop` when the run ends. `orders`, `locks` and `prices` are its memory, `trouble` what it was
    refused though nothing was wrong with it, `happened` what it met."""

    def __init__(self, pool: Pool, rng: Random, accounts: list[str], folder: Path) -> None:
        self.orders: dict[str, Ordered] = {}
        self.locks: dict[str, LockMade] = {}
        self.prices: list[Priced] = [Priced(FIRST_PRICE, sure=True)]
        self.trouble: list[str] = []
        self.happened: Counter[str] = Counter()
        self._pool = pool
        self._rng = rng
        self._accounts = accounts
        self._folder = folder
        self._stopping = asyncio.Event()
        self._desks: list[asyncio.Task[None]] = []

    @property
    def acknowledged(self) -> int:
        """How many orders of money are sure."""
        return sum(order.sure for order in self.orders.values())

    def start(self, *, desks: int = 3) -> None:
        """Lets it work: so many desks of cashiers, one that sets and lifts locks, one that changes prices."""
        desk_work: list[Callable[[], Awaitable[object]]] = [self._money] * desks + [self._lock, self._price]
        self._desks = [asyncio.create_task(self._sit(work)) for work in desk_work]

    async def stop(self) -> list[str]:
        """Has it finish what is in hand; findings."""
        self._stopping.set()
        results = await asyncio.gather(*self._desks, return_exceptions=True)
        broken = [
            "the office has broken down: " + "".join(traceback.format_exception(result))[-1500:]
            for result in results
            if isinstance(result, BaseException)
        ]
        return [*broken, *self.trouble]

    async def _sit(self, work: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping.is_set():
            answer = await work()
            await self._pause(_AWAY_SECONDS if answer is None else self._rng.uniform(*_PAUSE_SECONDS))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    # Money

    async def _money(self) -> Answer | None:
        """One more order, or one again whose answer was lost or came."""
        again = [order for order in self.orders.values() if not order.sure]
        if again and self._rng.random() < 0.3:
            order = self._rng.choice(again)
            self.happened["order asked again that may have been made"] += 1
        elif self.orders and self._rng.random() < 0.05:
            order = self._rng.choice([*self.orders.values()])
            self.happened["order sent twice"] += 1
        else:
            number = len(self.orders)
            amount = self._rng.choice((1, self._rng.randrange(1, 40 * RUB)))
            order = Ordered(f"office-{number}", self._rng.choice(_MONEY), self._rng.choice(self._accounts), amount)
            # From here on it may be in the record.
            self.orders[order.command_id] = order
        answer = await self._done(f"{order.kind} {order.command_id}", CASHIER, lambda tx: _book(tx, order))
        order.sure |= answer == "sure"
        if answer is None and not order.sure:
            # Nothing was done: this id may be used by another order.
            self.happened["order not taken"] += 1
        return answer

    # Locks

    async def _lock(self) -> Answer | None:
        open_ones = [lock for lock in self.locks.values() if lock.state.startswith("maybe")]
        standing = [lock for lock in self.locks.values() if lock.state == "set"]
        luck = self._rng.random()
        if open_ones and luck < 0.3:
            lock = self._rng.choice(open_ones)
            return await (self._set(lock) if lock.state == "maybe set" else self._lift(lock))
        if standing and (luck < 0.5 or len(standing) > _MOST_LOCKS):
            return await self._lift(self._rng.choice(standing))
        if standing and luck < 0.6:
            return await self._reword(self._rng.choice(standing))
        number = len(self.locks)
        kind: Literal["prefix", "number"] = self._rng.choice(("prefix", "number"))
        digits = f"{LOCKED_BEGIN}{number:05d}" + ("" if kind == "prefix" else "77")
        account_id = self._rng.choice((None, self._rng.choice(self._accounts)))
        lock = LockMade(f"lock-{number}", kind, digits, account_id, "maybe set")
        self.locks[lock.lock_id] = lock
        return await self._set(lock)

    async def _set(self, lock: LockMade) -> Answer | None:
        sent = LockSent(
            kind=lock.kind, digits=lock.digits, account_id=lock.account_id, reason="fraud", lock_id=lock.lock_id
        )
        answer = await self._done(
            f"lock {lock.lock_id}",
            MANAGER,
            lambda tx: lock_rules.set_lock(
                LocksRecord(tx), tx, MANAGER, sent, lock_id="", now=tx.at, settings=_SETTINGS, e164=NumberRule().e164
            ),
        )
        if answer == "sure":
            lock.state = "set"
        return answer

    async def _lift(self, lock: LockMade) -> Answer | None:
        was_sure, lock.state = lock.state == "set", "maybe lifted"
        try:
            answer = await self._done(
                f"lifting {lock.lock_id}",
                MANAGER,
                lambda tx: lock_rules.lift_lock(LocksRecord(tx), tx, MANAGER, lock.lock_id, LiftSent(reason="settled")),
            )
        except InTheWay:
            # It was lifted when the answer was lost.
            answer = "sure"
            if was_sure:
                self.trouble.append(f"lock {lock.lock_id} was set, and is said to be lifted")
        if answer == "sure":
            lock.state = "lifted"
        elif answer is None and was_sure:
            lock.state = "set"
        return answer

    async def _reword(self, lock: LockMade) -> Answer | None:
        sent = LockChange(reason="a better word", new_reason=f"fraud, case {self._rng.randrange(1000)}")
        return await self._done(
            f"rewording {lock.lock_id}",
            MANAGER,
            lambda tx: lock_rules.change_lock(
                LocksRecord(tx), tx, MANAGER, lock.lock_id, sent, now=tx.at, settings=_SETTINGS, e164=NumberRule().e164
            ),
        )

    # Prices

    async def _price(self) -> Answer | None:
        """Another price for a prefix: uploaded, linted, published by somebody else."""
        price = FIRST_PRICE + len(self.prices) * RUB // 100
        try:
            version = await self._upload(price)
            now = to_datetime(real_now_us())
            report = await lint_version(self._pool, _SETTINGS, version, at=now, now=now, in_force=None, where=Where())
            await store_lint(self._pool, version, report, at=now, author=MARKETING.actor)
        except (*DRIVER_TROUBLES, OutcomeUnknown):
            self.happened["price list not staged"] += 1
            return None
        priced = Priced(price, sure=False)
        self.prices.append(priced)
        answer = await self._done(
            f"price {price}",
            MANAGER,
            lambda tx: price_rules.publish(
                VersionRecord(tx), tx, Now(MANAGER, tx.at, "dearer"), PRICED_LIST, version.number, None
            ),
        )
        if answer is None:
            self.prices.remove(priced)
        priced.sure = answer == "sure"
        await self._pause(self._rng.uniform(0.5, 3.0))
        return answer

    async def _upload(self, price: int) -> price_rules.Version:
        file = self._folder / "prices.csv"
        text = to_text(price)
        await asyncio.to_thread(
            file.write_text,
            f"prefix,price,per_seconds,step_seconds,connect_fee\n{PRICED_PREFIX},{Decimal(text)},60,1,1\n",
        )

        async def work(tx: Change) -> price_rules.Version:
            record = VersionRecord(tx)
            latest = await record.latest(PRICED_LIST)
            terms = await price_rules.terms_of_upload(record, MARKETING, PRICED_LIST, Terms(), latest)
            upload = PriceUpload(
                file, PRICED_LIST, bands=await record.bands(), zone=ZoneInfo(_SETTINGS.business_time_zone)
            )
            version = await record.upload(terms, upload, at=tx.at, author=MARKETING.actor, source=file.name)
            await price_rules.note_upload(tx, version)
            return version

        return await in_change(self._pool, work, actor=MARKETING.actor, role=MARKETING.role, reason="dearer", at=_now())

    # Answers

    async def _done(self, what: str, who: Asker, work: Callable[[Change], Awaitable[object]]) -> Answer | None:
        """What the office is told; None: it was told that nothing was done. Raises InTheWay."""
        try:
            # As the API does it.
            await in_change(
                self._pool,
                work,
                actor=who.actor,
                role=who.role,
                reason="at work",
                at=_now(),
                isolation="read_committed",
            )
        except OutcomeUnknown:
            self.happened["answer lost in the commit"] += 1
            return "maybe"
        except InTheWay:
            raise
        except Refusal as refusal:
            self.trouble.append(f"{what}: {refusal}")
            return "refused"
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            self.happened["others in the way"] += 1
            return None
        except DRIVER_TROUBLES:
            self.happened["record away"] += 1
            return None
        self.happened[what.partition(" ")[0]] += 1
        return "sure"


async def _book(tx: Change, order: Ordered) -> None:
    sent = (PaymentSent if order.kind == "payment" else MoneySent)(
        amount_micros=order.amount_micros, command_id=order.command_id
    )
    await office_rules.book(OfficeRecord(tx), tx, order.kind, order.account_id, sent, order.command_id, tx.at)


def _now() -> datetime:
    return to_datetime(real_now_us())
