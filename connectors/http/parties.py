"""Numbers of those who talked, and who may see them whole. The one place where they are masked.

A response that holds such a number holds a `Party`, not a string: it can't be encoded without saying for whom. Without
the permission `parties.see` it is `7999•••••12`; with `parties.unmask` and a reason that the audit keeps, it is whole.
The operator's own numbers (DID) are goods, not people: they are strings.
"""

from typing import Any

import msgspec

from backoffice.access import masked_number


class Party:
    """A caller's or called number in a response."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Party) and other.digits == self.digits

    def __hash__(self) -> int:
        return hash(self.digits)

    def __repr__(self) -> str:
        # Logs and traces show no numbers.
        return f"Party({masked_number(self.digits)!r})"

    def shown(self, *, whole: bool) -> str:
        """As it may be seen."""
        return self.digits if whole else masked_number(self.digits)


def party(digits: str | None) -> Party | None:
    """A number of a row, which may be unknown."""
    return None if digits is None else Party(digits)


def _whole(value: Any) -> Any:
    return _hook(value, whole=True)


def _masked(value: Any) -> Any:
    return _hook(value, whole=False)


def _hook(value: Any, *, whole: bool) -> Any:
    if isinstance(value, Party):
        return value.shown(whole=whole)
    raise NotImplementedError(f"{type(value).__name__} is no part of a response")


_encoders = {True: msgspec.json.Encoder(enc_hook=_whole), False: msgspec.json.Encoder(enc_hook=_masked)}


def encoded(value: object, *, whole: bool) -> bytes:
    """JSON of a response, with numbers as the asker may see them."""
    return _encoders[whole].encode(value)


def schema_of(kind: type) -> dict[str, Any]:
    """JSON Schema of the types that only responses know."""
    if kind is Party:
        return {
            "type": "string",
            "description": "A number of someone who talked; masked (`7999•••••12`) for roles that need not see it.",
            "examples": ["7999•••••12"],
            "maxLength": 64,
        }
    raise NotImplementedError(f"{kind.__name__} is no part of a response")
