"""The lock check (§2.2): which bans cover a number for an account, the account's own first, then those for everyone.

Which of them denies the call is not decided here: the engine is asked, with the tables at hand. Support sees who set a
lock, when and why, and asks that person, else the manager. Nobody removes a lock here.
"""

from typing import NamedTuple

from engine.accounts import opened
from engine.decisions import decide, is_number
from engine.locks import order
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.decisions import LockFound, LockReason
from schemas.events import OUTGOING, CallAttempt
from schemas.times import to_text


class LockCheck(NamedTuple):
    """`locks` in the order of the guide: local, then global; in each the one that would be reported first.

    `deciding` is the one that a call is denied by: a full ban, or a lock on a provider when no other is left because of
    such locks; None where none denies it. `taken_out` are the providers that locks take out, `left` those that could
    still carry the call, cheapest first (by their prices alone: money is not asked about).
    """

    number: str
    account_id: str
    locks: tuple[LockFound, ...]
    deciding: LockFound | None
    full_ban: bool
    taken_out: tuple[str, ...]
    left: tuple[str, ...]
    emergency: bool
    verdict: str


class Unknown(ValueError):
    """The question names something that is not there; the text says what and how to mend it."""


NO_ACCOUNT = ""
"""Asks for the global locks alone."""


def check_lock(
    settings: EngineSettings,
    reference: Reference,
    *,
    number: str,
    account_id: str,
    at_us: int,
    service: str = OUTGOING,
) -> LockCheck:
    """All locks that cover the number, and what they do to a call that is set up at `at_us`.

    `reference` needs no more than what the number and the account can find. Raises Unknown for an account, a number or
    a service that can't be.
    """
    if not is_number(number):
        raise Unknown(f"{number!r} is no number: give 1 to 15 digits, such as 381114112060")
    account = reference.accounts.get(account_id)
    if account is None and account_id != NO_ACCOUNT:
        raise Unknown(f"account {account_id!r} is not in the reference data")
    if service not in settings.routed_services:
        raise Unknown(
            f"service {service!r} leaves through no provider and knows no locks; take one of "
            f"{', '.join(sorted(settings.routed_services))}"
        )
    covering = reference.locks.covering(number, None if account is None else account_id)
    locks = tuple(sorted(covering, key=lambda lock: (lock.scope == "global", order(lock))))
    attempt = CallAttempt("check", "check", to_text(at_us), service, number, account_id)
    decision, offer = decide(settings, reference, attempt, at_us, account, None if account is None else opened(account))
    emergency = decision.emergency is True
    reason = next((reason for reason in decision.reasons if isinstance(reason, LockReason)), None)
    deciding = None if reason is None else next(lock for lock in locks if lock.lock_id == reason.lock_id)
    full_ban = deciding is not None and deciding.provider_id is None
    # Without an account there is no plan to sell by, and the engine makes an offer of its own of it.
    left = () if offer is None or full_ban else tuple([route.provider_id for route in offer.routes])
    taken_out = tuple(dict.fromkeys(lock.provider_id for lock in locks if lock.provider_id is not None))
    return LockCheck(
        number,
        account_id,
        locks,
        deciding,
        full_ban,
        taken_out,
        left,
        emergency,
        _verdict(number, locks, deciding, left, emergency=emergency, known=account is not None),
    )


def _verdict(
    number: str,
    locks: tuple[LockFound, ...],
    deciding: LockFound | None,
    left: tuple[str, ...],
    *,
    emergency: bool,
    known: bool,
) -> str:
    if emergency:
        return f"{number} is an emergency number: calls to it always pass, whatever is locked"
    if not locks:
        return "no lock covers this number: look at the tariff next"
    if deciding is None:
        several = f"{len(locks)} locks take" if len(locks) > 1 else f"{_words(locks[0])} takes"
        taken = ", ".join(dict.fromkeys(lock.provider_id or "" for lock in locks))
        if left:
            return f"{several} {taken} out, but the call can leave through {', '.join(left)}: look at the tariff next"
        if not known:
            return f"{several} {taken} out for all clients: name the account to see whether it has another provider"
        return f"{several} {taken} out, but no provider could carry the call anyway: look at the tariff next"
    ask = f"ask {deciding.author}, who set it, why; else your manager. Do not remove it yourself"
    if deciding.provider_id is None:
        return f"{_words(deciding)} bans the call: {ask}"
    return f"{_words(deciding)} takes provider {deciding.provider_id} out, and the call has no other: {ask}"


def _words(lock: LockFound) -> str:
    where = "on the account" if lock.scope == "account" else "for all clients"
    return f"lock {lock.lock_id} on {lock.kind} {lock.digits} {where}"
