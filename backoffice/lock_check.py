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
    still carry the call, cheapest first (by their prices alone: money is not asked about). `longer` are locks on longer
    digits: where a direction was asked about, they ban a part of it. `longer_total` is how many of them there are,
    which may be more than are named.
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
    longer: tuple[LockFound, ...] = ()
    longer_total: int = 0


class Unknown(ValueError):
    """The question names something that is not there; the text says what and how to mend it."""


MOST_LONGER = 100
"""Locks on longer digits that are named."""

_NAMED = 5
"""How many of them in the verdict: it is read aloud to a client."""

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
    longer_total: int | None = None,
) -> LockCheck:
    """All locks that cover the number, or the direction, and what they do to a call that is set up at `at_us`.

    `reference` needs no more than what the number and the account can find. `longer_total`: how many locks on longer
    digits there are, where the reference does not have all of them. Raises Unknown for an account, a number or
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
    longer = reference.locks.longer(number, None if account is None else account_id)
    found = LockCheck(
        number,
        account_id,
        locks,
        deciding,
        full_ban,
        taken_out,
        left,
        emergency,
        "",
        longer[:MOST_LONGER],
        len(longer) if longer_total is None else longer_total,
    )
    return worded(found, None if deciding is None else f"{deciding.author}, who set it; else your manager")


def worded(found: LockCheck, ask: str | None) -> LockCheck:
    """The check with its verdict. `ask`: whom to ask why the deciding lock was set; ends the sentence "ask …"."""
    return found._replace(verdict="; ".join([one for one in (_verdict(found, ask), _longer_words(found)) if one]))


def _verdict(found: LockCheck, ask: str | None) -> str:
    locks, number = found.locks, found.number
    if found.emergency:
        return f"{number} is an emergency number: calls to it always pass, whatever is locked"
    if not locks:
        if found.longer_total:
            return f"no lock covers all of {number}"
        return "no lock covers this number: look at the tariff next"
    if found.deciding is None:
        several = f"{len(locks)} locks take" if len(locks) > 1 else f"{_words(locks[0])} takes"
        taken = ", ".join(dict.fromkeys(lock.provider_id or "" for lock in locks))
        if found.left:
            through = ", ".join(found.left)
            return f"{several} {taken} out, but the call can leave through {through}: look at the tariff next"
        if found.account_id == NO_ACCOUNT:
            return f"{several} {taken} out for all clients: name the account to see whether it has another provider"
        return f"{several} {taken} out, but no provider could carry the call anyway: look at the tariff next"
    why = f"to learn why, ask {ask}. Do not remove it yourself"
    if found.deciding.provider_id is None:
        return f"{_words(found.deciding)} bans the call: {why}"
    return f"{_words(found.deciding)} takes provider {found.deciding.provider_id} out, and the call has no other: {why}"


def _longer_words(found: LockCheck) -> str:
    """A full ban is all of it already; what else is locked within adds nothing then."""
    if not found.longer_total or found.full_ban or found.emergency:
        return ""
    named = ", ".join(f"{lock.digits} ({_words(lock, digits=False)})" for lock in found.longer[:_NAMED])
    more = found.longer_total - min(len(found.longer), _NAMED)
    rest = f" and {more} more" if more else ""
    return f"locked within it: {named}{rest}. If it is a direction, check the whole number"


def _words(lock: LockFound, *, digits: bool = True) -> str:
    where = "on the account" if lock.scope == "account" else "for all clients"
    what = f" on {lock.kind} {lock.digits}" if digits else ""
    through = "" if digits or lock.provider_id is None else f" through {lock.provider_id}"
    return f"lock {lock.lock_id}{what} {where}{through}"
