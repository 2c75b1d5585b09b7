"""Numbers of those who talked, and who may see them whole. The one place where they are masked.

A response that holds such a number holds a `Party`, not a string: it can't be encoded without saying for whom. Without
the permission `parties.see` it is `7999•••••12`; with `parties.unmask` and a reason that the audit keeps, it is whole.
The operator's own numbers (DID) are goods, not people: they are strings.
"""

import re
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


class PartyText:
    """Text in a response in which numbers of those who talked may stand, such as an event's own words."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"PartyText({masked_text(self.text)!r})"

    def shown(self, *, whole: bool) -> str:
        """As it may be seen: whole, or with whatever may be a number masked."""
        return self.text if whole else masked_text(self.text)


_MAY_BE_NUMBER = re.compile(
    r"(?P<moment>(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?)?(?![0-9]))"
    r"|\\u00(?P<escape>3[0-9])"
    r"|(?P<number>[0-9](?:[ ().-]{0,3}[0-9]){4,})"
)
"""A moment is told apart from a number. Five digits are enough to tell one; JSON may write a digit as \\u0037."""


def masked_text(text: str) -> str:
    """Text with everything masked that may be a number of five digits or more."""
    unescaped = _MAY_BE_NUMBER.sub(
        lambda found: found[0] if found["escape"] is None else chr(int(found["escape"], 16)), text
    )
    return _MAY_BE_NUMBER.sub(
        lambda found: (
            found[0]
            if found["number"] is None
            else masked_number("".join(sign for sign in found["number"] if sign.isdigit()))
        ),
        unescaped,
    )


def _whole(value: Any) -> Any:
    return _hook(value, whole=True)


def _masked(value: Any) -> Any:
    return _hook(value, whole=False)


def _hook(value: Any, *, whole: bool) -> Any:
    if isinstance(value, Party | PartyText):
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
    if kind is PartyText:
        return {
            "type": "string",
            "description": "Text as it came; numbers in it are masked for roles that need not see them.",
        }
    raise NotImplementedError(f"{kind.__name__} is no part of a response")
