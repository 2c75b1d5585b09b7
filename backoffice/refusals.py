"""What a use case of the office answers when it does not do what it was asked: one exception for each kind of answer.

They are named after what the asker has to do next. The HTTP API makes problems of them (404, 409, 422, 403), the
command line a line on standard error and exit code 2; a use case knows neither.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Refusal(Exception):
    """Base: `text` says what is wrong and what to do about it, in words for the asker."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NotThere(Refusal):
    """What was named does not exist. `kind` is the entity's name, such as `client`."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {kind} {key!r}")
        self.kind = kind
        self.key = key


class InTheWay(Refusal):
    """The state of things forbids it now: an id that is taken, a closed account, a number that somebody else took."""


class FieldProblem(NamedTuple):
    """What is wrong with one field. `pointer` is a JSON pointer (RFC 6901) into what was sent: `/valid_to`."""

    pointer: str
    text: str


class Unfit(Refusal):
    """What was sent can't be used: all that is wrong with it, field by field."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        assert problems, "there is something wrong, or it is fit"
        super().__init__("; ".join(f"{problem.pointer or '/'}: {problem.text}" for problem in problems))
        self.problems = tuple(problems)


class NotAllowed(Refusal):
    """The asker may not do it. `permission` is what is missing, `ask` who can help."""

    def __init__(self, text: str, *, permission: str, ask: str = "your manager") -> None:
        super().__init__(text)
        self.permission = permission
        self.ask = ask
