"""The lock check (§2.2): which bans cover a number for an account, the account's own first, then those for everyone.

Support sees who set a lock, when and why, and asks that person, else the manager. Nobody removes a lock here.
"""

from typing import NamedTuple

from engine.decisions import is_number
from engine.locks import order
from engine.reference import Reference
from schemas.decisions import LockFound


class LockCheck(NamedTuple):
    """`locks` in the order of the guide: local, then global. `deciding` denies by itself, or takes a provider out."""

    number: str
    account_id: str
    locks: tuple[LockFound, ...]
    deciding: LockFound | None
    full_ban: bool
    verdict: str


class Unknown(ValueError):
    """The question names something that is not there; the text says what and how to mend it."""


def check_lock(reference: Reference, *, number: str, account_id: str) -> LockCheck:
    """All locks that cover the number. Raises Unknown for an account or a number that can't be."""
    if not is_number(number):
        raise Unknown(f"{number!r} is no number: give 1 to 15 digits, such as 381114112060")
    if account_id not in reference.accounts:
        raise Unknown(f"account {account_id!r} is not in the reference data")
    covering = reference.locks.covering(number, account_id)
    locks = tuple(sorted(covering, key=lambda lock: (lock.scope == "global", order(lock))))
    deciding = min(covering, key=order, default=None)
    return LockCheck(
        number,
        account_id,
        locks,
        deciding,
        full_ban=deciding is not None and deciding.provider_id is None,
        verdict=_verdict(deciding),
    )


def _verdict(deciding: LockFound | None) -> str:
    if deciding is None:
        return "no lock covers this number: look at the tariff next"
    where = "on the account" if deciding.scope == "account" else "for all clients"
    what = f"lock {deciding.lock_id} on {deciding.kind} {deciding.digits} {where}"
    ask = f"ask {deciding.author}, who set it, why; else your manager. Do not remove it yourself"
    if deciding.provider_id is None:
        return f"{what} bans the call: {ask}"
    return f"{what} takes provider {deciding.provider_id} out; the call fails if no other provider is priced: {ask}"
