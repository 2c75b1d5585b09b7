"""States of a number and of a subscriber, and the only ways from one to the next (§1.4).

    free -> reserved -> in_use -> archive -> free -> …          of a number
    new -> in_use -> closed,  new -> closed                      of a subscriber

A released number goes to quarantine (`archive`), by whatever path; only one whose unwanted calls do not count goes
straight to `free` (D10). Nobody sets `free` by hand: rest, an approval, or a sale that fell through does.
The functions take a number as it is and give it as it is to be, or raise InTheWay with what stands against it.
"""

from typing import Literal

from msgspec.structs import replace

from backoffice.refusals import InTheWay
from engine.ncv import ignores_ncv, since_of
from schemas.reference import Number, NumberStatus, Saleable

SubscriberStatus = Literal["new", "in_use", "closed"]

Cause = Literal["reserved", "activated", "released", "fell_through", "rested", "forced"]
"""Why a number changes its state."""

WAYS: dict[Cause, dict[NumberStatus, frozenset[NumberStatus]]] = {
    "reserved": {"free": frozenset({"reserved"})},
    "activated": {"reserved": frozenset({"in_use"})},
    "released": {"in_use": frozenset({"archive", "free"})},
    "fell_through": {"reserved": frozenset({"archive", "free"})},
    "rested": {"archive": frozenset({"free"})},
    "forced": {"archive": frozenset({"free"}), "free": frozenset({"free"})},
}
"""All there are: by cause, from where to where."""

SUBSCRIBER_WAYS: dict[SubscriberStatus, frozenset[SubscriberStatus]] = {
    "new": frozenset({"in_use", "closed"}),
    "in_use": frozenset({"closed"}),
    "closed": frozenset(),
}


def reserve(number: Number, account_id: str) -> Number:
    """Of a new subscriber. Whether it may be sold at all is asked in `sale`."""
    return _moved(number, "reserved", "reserved", account_id=account_id)


def activate(number: Number, criterion: Saleable) -> Number:
    """The sale is done, and a forced yes with it: `criterion` is what was there before (D11)."""
    return _moved(number, "activated", "in_use", saleable=_unforced(number, criterion))


def release(number: Number, today: str, criterion: Saleable) -> Number:
    """Nobody has it any more: to quarantine, whoever asks and why (R1.4-12)."""
    if ignores_ncv(number):
        return _moved(number, "released", "free", account_id=None, saleable=_unforced(number, criterion))
    return _moved(
        number,
        "released",
        "archive",
        account_id=None,
        archived_on=today,
        saleable=_unforced(number, criterion),
    )


def fall_through(number: Number, criterion: Saleable, *, rested: bool, called_since: bool) -> Number:
    """A sale that came to nothing (D12): a number that was clean when it was reserved and was not called since is free
    again; any other goes back to quarantine with the dates that it had, so its rest goes on and does not begin anew.
    """
    clean = ignores_ncv(number) or (rested and not called_since)
    return _moved(
        number,
        "fell_through",
        "free" if clean else "archive",
        account_id=None,
        # One that never was in quarantine has waited since it joined.
        archived_on=number.archived_on if clean else since_of(number) or None,
        saleable=_unforced(number, criterion),
    )


def rest(number: Number) -> Number:
    """It has been silent for long enough. Its dates stay: calls go on being counted from there (D9)."""
    return _moved(number, "rested", "free")


def force(number: Number) -> Number:
    """«Да, принудительно», after approval. Out of quarantine with that, its dates and statistics kept (D11)."""
    return _moved(number, "forced", "free", saleable="forced_yes")


def subscriber_may_become(before: SubscriberStatus, after: SubscriberStatus) -> None:
    """Raises InTheWay where a subscriber can't go that way."""
    if after not in SUBSCRIBER_WAYS[before]:
        raise InTheWay(f"the subscriber is {before.replace('_', ' ')}, and can't become {after.replace('_', ' ')}")


def _unforced(number: Number, criterion: Saleable) -> Saleable:
    return criterion if number.saleable == "forced_yes" else number.saleable


def _moved(number: Number, cause: Cause, status: NumberStatus, **more: object) -> Number:
    if status not in WAYS[cause].get(number.status, frozenset()):
        allowed = " or ".join(sorted(WAYS[cause]))
        raise InTheWay(
            f"number {number.number} is {number.status}: it can't be {cause.replace('_', ' ')}, as one that "
            f"is {allowed} can"
        )
    return replace(number, status=status, **more)
