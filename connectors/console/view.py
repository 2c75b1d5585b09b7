"""Templates: one set of them in each language, with what every page needs around its own content."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from connectors.console.words import LANGUAGES, Language, Words

HERE = Path(__file__).parent
STATIC = HERE / "static"


class Entry(NamedTuple):
    """An entry of the menu. `permission`: without it the entry is not shown."""

    text: str
    path: str
    permission: str | None


class Menu(NamedTuple):
    """A group of the menu."""

    text: str
    entries: tuple[Entry, ...]


MENU: tuple[Menu, ...] = (
    Menu("File", (Entry("Find a client", "/clients", "clients.see"),)),
    Menu(
        "Switching",
        (
            Entry("DID numbers", "/numbers", "numbers.see"),
            Entry("Requests to release numbers", "/number-requests", "numbers.see"),
            Entry("View CDR", "/cdrs", "calls.see"),
            Entry("Why did the call not go through?", "/why", "calls.see"),
            Entry("Rejected events", "/rejected", "rejected.see"),
        ),
    ),
    Menu(
        "Subscriber",
        (
            Entry("Create a subscriber", "/new-subscriber", "numbers.sell"),
            Entry("Subscribers", "/subscribers", "numbers.see"),
        ),
    ),
    Menu(
        "Tariffs",
        (
            Entry("Forbidden regions", "/locks", "locks.see"),
            Entry("Lock check", "/lock-check", "locks.see"),
            Entry("Tariff check", "/tariff-check", "tariffs.check"),
            Entry("Price lists", "/price-lists", "prices.see"),
            Entry("Tariff plans", "/tariff-plans", "plans.see"),
            Entry("Providers", "/providers", "providers.see"),
            Entry("Re-ratings", "/reratings", "money.see"),
        ),
    ),
    Menu(
        "Service",
        (
            Entry("Jobs of the night", "/nightly", "jobs.see"),
            Entry("Letters", "/letters", "letters.see"),
            Entry("Users", "/users", "users.see"),
            Entry("API keys", "/keys", "keys.own"),
            Entry("Audit", "/audit", "audit.see"),
        ),
    ),
)


@cache
def version_of(name: str) -> str:
    """Changes whenever a static file does, so that browsers may keep it for ever."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file."""
    return f"/static/{version_of(name)}/{name}"


class View:
    """Renders pages. One for a console."""

    def __init__(self, time_zone: str) -> None:
        self._words = {language: Words(language, time_zone) for language in LANGUAGES}
        self._environments = {language: _environment(words) for language, words in self._words.items()}

    def words(self, language: Language) -> Words:
        """The words of a language."""
        return self._words[language]

    def render(self, language: Language, template: str, **values: Any) -> str:
        """The page."""
        return self._environments[language].get_template(template).render(**values)


def _environment(words: Words) -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        _=words.text,
        count=words.count,
        language=words.language,
        menu=MENU,
        static=static,
        query=query,
        badge=lambda kind, text: Markup('<span class="badge {}">{}</span>').format(kind, text),
    )
    made.filters.update(
        money=words.money,
        moment=words.moment,
        day=words.day,
        month=words.month,
        duration=words.duration,
        number=words.number,
        t=words.text,
        path=lambda value: quote(str(value), safe=""),
        listed=_listed,
    )
    return made


def query(path: str, **asked: object) -> str:
    """An address with its query; what is None or empty is left out."""
    given = [(name, value) for name, value in asked.items() if value not in (None, "")]
    return f"{path}?{urlencode(given)}" if given else path


def files(path: str, **asked: object) -> list[tuple[str, str]]:
    """The files of a list, with the filters in force: name and address."""
    return [(kind.upper(), query(f"{path}/export", file=kind, **asked)) for kind in ("xlsx", "csv")]


def _listed(values: Sequence[object], separator: str = ", ") -> Markup:
    return Markup(escape(separator).join(escape(value) for value in values))
