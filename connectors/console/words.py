"""Words, money, moments and numbers as a locale writes them.

The words of templates and pages are English; `translations/ru.po` has their Russian, the guide's own wherever it names
something, and `ru-….po` that of single pages. What has no Russian yet stays English, and a test finds it.
"""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from schemas.money import UNIT_MICROS

Language = Literal["ru", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DEFAULT: Language = "ru"

_TRANSLATIONS = Path(__file__).parent / "translations"
_PLACES = {"one": 0, "few": 1}
"""Of a plural's forms in a .po file of Russian; the others are the last."""


@cache
def catalogue(language: Language) -> dict[str, Any]:
    """Translations by their English: a text, or a tuple of the plural's forms."""
    if language == "en":
        return {}
    found: dict[str, Any] = {}
    for path in sorted(_TRANSLATIONS.glob(f"{language}*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language, abort_invalid=True):
                if message.id and message.string:
                    found[message.id if isinstance(message.id, str) else message.id[0]] = message.string
    return found


class Words:
    """A language at work."""

    def __init__(self, language: Language, time_zone: str) -> None:
        self.language = language
        self._locale = Locale.parse(language)
        self._zone = ZoneInfo(time_zone)
        self._catalogue = catalogue(language)
        self._plural: Callable[[int], str] = self._locale.plural_form

    def text(self, english: str, **values: object) -> str:
        """The words in this language, with values put in: `text("%(n)s calls", n=3)`."""
        found: str = self._catalogue.get(english, english)
        return found % values if values else found

    def count(self, one: str, many: str, number: int) -> str:
        """A number with its noun: count("%(n)s call", "%(n)s calls", 3)."""
        forms = self._catalogue.get(one)
        if forms is None:
            text = one if number == 1 else many
        else:
            text = forms[_PLACES.get(self._plural(number), len(forms) - 1)]
        return text % {"n": self.number(number)}

    def number(self, value: float | None) -> str:
        """A number, its thousands grouped."""
        return "" if value is None else format_decimal(value, locale=self._locale)

    def money(self, micros: int | None, *, digits: int = 2) -> str:
        """An amount in micro-units as whole units, with more digits only where there is something in them."""
        if micros is None:
            return ""
        value = Decimal(micros) / UNIT_MICROS
        exact = max(digits, -int(value.normalize().as_tuple().exponent))
        return format_decimal(value, format=f"#,##0.{'0' * digits}{'#' * (exact - digits)}", locale=self._locale)

    def moment(self, text: str | None) -> str:
        """A moment in the business time zone, to the second."""
        return (
            ""
            if not text
            else format_datetime(
                self._moment(text),
                "dd.MM.yyyy HH:mm:ss" if self.language == "ru" else "yyyy-MM-dd HH:mm:ss",
                locale=self._locale,
            )
        )

    def day(self, text: str | None) -> str:
        """A civil day."""
        if not text:
            return ""
        return format_date(
            date.fromisoformat(text[:10]), "short" if self.language == "en" else "dd.MM.yyyy", locale=self._locale
        )

    def month(self, text: str) -> str:
        """A month, as in "ноябрь 2026"."""
        return format_date(date.fromisoformat(f"{text}-01"), "LLLL yyyy", locale=self._locale)

    def duration(self, seconds: int | None) -> str:
        """Seconds as minutes and seconds, or hours."""
        if seconds is None:
            return ""
        hours, rest = divmod(seconds, 3600)
        minutes, seconds = divmod(rest, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

    def _moment(self, text: str) -> datetime:
        return datetime.fromisoformat(text).astimezone(self._zone)

    def instant(self, local: str) -> str:
        """What a person typed into a field of date and time, in the business time zone, as the API takes moments."""
        typed = datetime.fromisoformat(local)
        if typed.tzinfo is None:
            typed = typed.replace(tzinfo=self._zone)
        return typed.isoformat()
