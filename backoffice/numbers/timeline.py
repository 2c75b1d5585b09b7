"""A number's way so far: every change with its cause, author and time, and what is to be expected (§1.4).

It is made of histories that only grow, which the database writes; nothing here is kept anywhere else.
"""

from typing import Literal, NamedTuple

from msgspec import Struct

from backoffice.numbers.forcing import ReleaseRequest
from schemas.reference import NumberStatus, Saleable

What = Literal[
    "entered", "reserved", "activated", "released", "fell_through", "rested", "forced", "criterion", "changed",
    "removed", "subscriber", "request",
]  # fmt: skip


class NumberState(NamedTuple):
    """A number as a change left it."""

    at: str
    actor: str
    why: str
    status: NumberStatus
    account_id: str | None
    saleable: Saleable
    archived_on: str | None
    removed: bool


class SubscriberState(NamedTuple):
    """A subscriber as a change left it."""

    at: str
    actor: str
    why: str
    subscriber_id: str
    status: str
    account_id: str
    product: str


class Happening(NamedTuple):
    """All that happened to a number."""

    states: tuple[NumberState, ...]
    subscribers: tuple[SubscriberState, ...]
    requests: tuple[ReleaseRequest, ...]


class Event(Struct, frozen=True):
    """A line of the timeline."""

    at: str
    what: What
    status: NumberStatus | None
    """The number's, from then on."""
    actor: str
    why: str
    detail: str | None = None


_CAUSES: dict[tuple[NumberStatus, NumberStatus], What] = {
    ("free", "reserved"): "reserved",
    ("reserved", "in_use"): "activated",
    ("reserved", "free"): "fell_through",
    ("reserved", "archive"): "fell_through",
    ("in_use", "archive"): "released",
    ("in_use", "free"): "released",
    ("archive", "free"): "rested",
}


def events(happened: Happening) -> tuple[Event, ...]:
    """The timeline, the oldest first."""
    found: list[tuple[str, int, Event]] = []
    before: NumberState | None = None
    for state in happened.states:
        found.append((state.at, 1, _of_number(before, state)))
        before = state
    for one in happened.subscribers:
        detail = f"{one.subscriber_id} {one.status}, account {one.account_id}, {one.product}"
        found.append((one.at, 0, Event(one.at, "subscriber", None, one.actor, one.why, detail)))
    for request in happened.requests:
        for at, actor, why, detail in _of_request(request):
            found.append((at, 0, Event(at, "request", None, actor, why, detail)))
    return tuple(event for _, _, event in sorted(found, key=lambda one: one[:2]))


def _of_number(before: NumberState | None, now: NumberState) -> Event:
    what: What
    detail = None
    if before is None:
        what = "entered"
    elif now.removed:
        what = "removed"
    elif now.saleable == "forced_yes" != before.saleable:
        what = "forced"
    elif now.status != before.status:
        what = _CAUSES.get((before.status, now.status), "changed")
    elif now.saleable != before.saleable:
        what, detail = "criterion", f"{before.saleable} → {now.saleable}"
    else:
        what = "changed"
    if what in ("released", "fell_through") and now.archived_on is not None and now.status == "archive":
        detail = f"in quarantine since {now.archived_on}"
    return Event(now.at, what, now.status, now.actor, now.why, detail)


def _of_request(request: ReleaseRequest) -> list[tuple[str, str, str, str]]:
    name = request.request_id
    asked = f"{name} asked for: {request.calls} calls of {request.unique_callers} unique callers, to {request.desk}"
    lines = [(request.asked_at, request.asked_by, request.reason, asked)]
    if (consent := request.consent) is not None:
        agreed = f"{name}: {consent.given_by} agreed on {consent.given_on}"
        lines.append((consent.recorded_at, consent.recorded_by, consent.text, agreed))
    if request.decided_at is not None and request.decided_by is not None:
        lines.append((request.decided_at, request.decided_by, request.decision or "", f"{name} {request.state}"))
    if request.ended_at is not None:
        lines.append((request.ended_at, "", "the sale is done or fell through", f"{name} ended"))
    return lines
