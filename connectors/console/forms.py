"""What a browser sends from a form, as the API wants it.

A form's fields are named as the Struct's that the API takes; all of them come as text. What is empty is left out, so
that the API says what is missing; amounts are typed in whole units, moments in the business time zone.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from connectors.console.words import Words

MOST_FIELDS = 1_200
"""A thousand boxes, and the fields beside them."""

_MICROS = "_micros"
_WHOLE_NUMBERS = frozenset({"days", "expires_in_days", "limit", "within_minutes", "max_concurrent_calls"})


class Form(Mapping[str, str]):
    """The fields of a form, as they were typed; a field that comes several times has the last value."""

    def __init__(self, body: bytes) -> None:
        """The body as browsers send forms without files."""
        self._take(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS))

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Form":
        """A form with these fields."""
        made = cls(b"")
        made._take(pairs)
        return made

    def _take(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = [(name, value.strip()) for name, value in pairs]
        self._values = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, "")

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[str]:
        """All values of a field that comes several times, in their order: boxes that were ticked."""
        return [value for field, value in self._pairs if field == name]

    def body(self, words: Words, *names: str) -> dict[str, Any]:
        """These fields for the API. Raises Mistyped for an amount, a number or a moment that is none."""
        return {name: _value(name, text, words) for name in names if (text := self[name])}


class Mistyped(Exception):
    """A field that can't be read: its name, and what to write."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
        self.text = text


def _value(name: str, text: str, words: Words) -> Any:
    if name.endswith(_MICROS):
        return _micros(name, text, words)
    if name in _WHOLE_NUMBERS:
        try:
            return int(text)
        except ValueError:
            raise Mistyped(name, words.text("write a whole number")) from None
    if name == "at" or name.endswith("_at") or name in ("since", "until"):
        try:
            return words.instant(text)
        except ValueError:
            raise Mistyped(name, words.text("write date and time, as in 2026-11-24T18:30")) from None
    return text


def _micros(name: str, text: str, words: Words) -> int:
    """An amount as people type it: with a comma or a point, and blanks between thousands."""
    plain = "".join(text.split()).replace("\u00a0", "").replace(",", ".")
    try:
        micros = Decimal(plain).scaleb(6)
    except InvalidOperation:
        raise Mistyped(name, words.text("write an amount, as in 1500.00")) from None
    if micros != micros.to_integral_value() or not micros.is_finite():
        raise Mistyped(name, words.text("an amount has six decimals at most"))
    return int(micros)
