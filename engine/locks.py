"""Locks: which bans cover a number (§2.2).

Any mask that begins the number covers it, and so does the number itself; a longer lock never hides a shorter one.
A lock is for one account or everyone, for one provider or all. There are no locks that allow.
"""

from collections.abc import Iterable

from engine.prefixes import PrefixTable
from schemas.decisions import ASK_MANAGER, LockFound, LockReason
from schemas.reference import Lock
from schemas.times import to_text, to_us


def found(lock: Lock) -> LockFound:
    """The lock as a decision names it: whom to ask is its author, else the manager (§2.2)."""
    return LockFound(
        lock_id=lock.lock_id,
        digits=lock.digits,
        kind=lock.kind,
        scope="global" if lock.account_id is None else "account",
        provider_id=lock.provider_id,
        author=lock.author,
        # In one form, so that texts compare as the moments do.
        created_at=to_text(to_us(lock.created_at)),
        why=lock.reason,
        ask=lock.author or ASK_MANAGER,
    )


def reason(lock: LockFound) -> LockReason:
    """The lock as the reason to deny."""
    return LockReason(
        lock_id=lock.lock_id,
        digits=lock.digits,
        kind=lock.kind,
        scope=lock.scope,
        provider_id=lock.provider_id,
        author=lock.author,
        created_at=lock.created_at,
        why=lock.why,
        ask=lock.ask,
    )


def order(lock: LockFound) -> tuple[bool, bool, int, str, str]:
    """Which lock is reported first: full ban, account's own, longest mask, oldest, smallest id (D21)."""
    return lock.provider_id is not None, lock.scope == "global", -len(lock.digits), lock.created_at, lock.lock_id


class _Locks:
    """The locks of one account, or the global ones."""

    __slots__ = ("masks", "numbers")

    def __init__(self) -> None:
        self.masks: PrefixTable[LockFound] = PrefixTable(_digits_of, _merge)
        self.numbers: dict[str, tuple[LockFound, ...]] = {}

    def covering(self, number: str) -> tuple[LockFound, ...]:
        covering = self.masks.find(number)
        if self.numbers and (whole := self.numbers.get(number)):
            return covering + whole
        return covering

    def add(self, lock: LockFound) -> None:
        if lock.kind == "prefix":
            self.masks.put(lock)
        else:
            self.numbers[lock.digits] = (*self.numbers.get(lock.digits, ()), lock)

    def remove(self, lock: LockFound) -> None:
        if lock.kind == "prefix":
            assert self.masks.remove(lock)
        else:
            left = tuple(other for other in self.numbers[lock.digits] if other is not lock)
            if left:
                self.numbers[lock.digits] = left
            else:
                del self.numbers[lock.digits]


def _digits_of(lock: LockFound) -> str:
    return lock.digits


def _merge(inherited: tuple[LockFound, ...], own: tuple[LockFound, ...]) -> tuple[LockFound, ...]:
    return inherited + own


class LockTable:
    """All locks, by scope."""

    __slots__ = ("_by_account", "_by_id", "_global")

    def __init__(self, locks: Iterable[Lock] = ()) -> None:
        self._global = _Locks()
        self._by_account: dict[str, _Locks] = {}
        self._by_id: dict[str, tuple[str | None, LockFound]] = {}
        for lock in locks:
            self.put(lock)

    def put(self, lock: Lock) -> None:
        """Adds a lock, or replaces the one with its id."""
        self.remove(lock.lock_id)
        mine = found(lock)
        self._by_id[lock.lock_id] = (lock.account_id, mine)
        self._scope(lock.account_id).add(mine)

    def remove(self, lock_id: str) -> bool:
        """Takes a lock away; False when there is none with this id."""
        there = self._by_id.pop(lock_id, None)
        if there is None:
            return False
        account_id, lock = there
        self._scope(account_id).remove(lock)
        return True

    def covering(self, number: str, account_id: str | None) -> tuple[LockFound, ...]:
        """Every lock that covers the number for the account (None: the global ones), the first reported first."""
        covering = self._global.covering(number)
        if account_id is not None and (own := self._by_account.get(account_id)) is not None:
            covering += own.covering(number)
        if len(covering) > 1:
            return tuple(sorted(covering, key=order))
        return covering

    def longer(self, digits: str, account_id: str | None) -> tuple[LockFound, ...]:
        """Locks on digits that begin with these and go on, for the account (None: the global ones); the shortest first.

        Looks at every lock there is: for people's questions, no part of a call's way.
        """
        found = [
            lock
            for owner, lock in self._by_id.values()
            if owner in (None, account_id) and len(lock.digits) > len(digits) and lock.digits.startswith(digits)
        ]
        return tuple(sorted(found, key=lambda lock: (len(lock.digits), lock.digits, lock.lock_id)))

    def _scope(self, account_id: str | None) -> _Locks:
        if account_id is None:
            return self._global
        return self._by_account.setdefault(account_id, _Locks())
