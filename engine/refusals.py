"""An event that can't be used: a value, not an exception. The worker publishes it as `rejected_event`."""

from typing import NamedTuple

from schemas.facts import REJECTIONS


class Refusal(NamedTuple):
    """`reason` is one of `schemas.facts.REJECTIONS`; `detail` names what was met and how to mend it."""

    reason: str
    detail: str


def refuse(reason: str, detail: str) -> Refusal:
    """A refusal; AssertionError for a reason that is not in the table."""
    assert reason in REJECTIONS, reason
    return Refusal(reason, detail)
