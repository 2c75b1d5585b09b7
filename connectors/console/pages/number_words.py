"""What the pages of numbers call things (§1.4): states, signs, requests; and refusals in the reader's words.

The English of a word is its key in `translations/ru-numbers.po`, whose Russian is the guide's.
"""

import re
from collections.abc import Mapping

from connectors.console.asking import Problem
from connectors.console.forms import Mistyped
from connectors.console.page import wrong
from connectors.console.words import Words

STATUSES = {"free": "Free", "reserved": "Reserved", "in_use": "In use", "archive": "Archive"}
"""Of a number (R1.4-14)."""

SUBSCRIBERS = {"new": "New subscriber", "in_use": "Subscriber in use", "closed": "Subscriber closed"}

GREEN = {
    "no_ncv": "Yes (depends on NCV): no NCV",
    "ncv_ignored": "Yes (depends on NCV): NCV ignored",
    "forced_yes": "Yes, forced",
}
RED = {
    "has_ncv": "Yes (depends on NCV): has NCV",
    "insufficient_data": "Yes (depends on NCV): insufficient data",
    "no_data": "Yes (depends on NCV): no data",
    "no": "Not for sale",
}
AVAILABILITIES = GREEN | RED
"""«Доступен для продажи», as in `backoffice/numbers/availability.py` (R1.4-20, R1.4-21)."""

SIGNS = {
    "no_data": "Since it came to quarantine or joined the capacity, no statistics of unwanted calls were collected.",
    "insufficient_data": "Statistics have not been collected for long enough yet.",
    "has_ncv": "There were unwanted calls within the days that it must rest.",
    "no_ncv": "Nobody called it within the days that it must rest.",
    "ncv_ignored": "An FMTN number, or one of agents' places: unwanted calls do not count.",
}
"""What each sign means (R1.4-23 to R1.4-30)."""

DESKS = {
    "assistants": "Assistants",
    "keepers": "Keepers of other providers' numbers",
    "direct_manager": "The asker's direct manager",
}
DEPARTMENTS = {"sales": "Sales department", "customer_service": "Customer service department"}
REQUESTS = {
    "waiting_for_client": "Waits for the client's agreement",
    "waiting": "Waits for an answer",
    "approved": "Request approved",
    "refused": "Request refused",
    "withdrawn": "Request withdrawn",
}
EVENTS = {
    "entered": "Entered into the capacity",
    "reserved": "Reserved for a client",
    "activated": "Activated",
    "released": "Taken from the client",
    "fell_through": "The sale fell through",
    "rested": "Rested: left quarantine",
    "forced": "Forced to sale",
    "criterion": "Criterion changed",
    "changed": "Number changed",
    "removed": "Removed from the capacity",
    "subscriber": "Subscriber",
    "request": "Request to release",
}
"""Of the timeline."""

REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"is missing: whoever looks for more than one number.*",
        "Choose an availability: a list of many numbers without it would load the database. All green ones may be "
        "sold.",
    ),
    (r"'.*' has no digits.*", "A mask needs digits: leave the field empty to look for any number."),
    (r"'.*' has signs other than.*", "A mask is digits and %: %555%."),
    (r".*(<= 5000|at most 5000).*", "At most 5000 rows at a time, to spare the database."),
    (r".*(>= 1\b|at least 1\b).*", "At least 1 row."),
    (r".*(`int`|whole number|integer).*", "Write a whole number."),
    (r"there is no account (?P<id>'.*')", "There is no account %(id)s."),
    (r"account (?P<id>'.*') is closed", "Account %(id)s is closed."),
    (r"must lie after today, (?P<day>\S+)", "It must lie after today, %(day)s."),
    (r"number (?P<number>\d+) is (free|archive|reserved|in_use), not free.*", "Number %(number)s is not free."),
    (r"number (?P<number>\d+) is not for sale: «(?P<why>.*)»;.*", "Number %(number)s may not be sold: «%(why)s»."),
    (r"number (?P<number>\d+) is for sale already: (?P<why>.*)", "Number %(number)s is for sale already: «%(why)s»."),
    (r"there is no (?:number|client|subscriber|request) (?P<id>'?[^ ]+'?).*", "There is no %(id)s."),
    (
        r"(?P<n>\d+) unique callers called the number, and from (?P<most>\d+) on .*: say which client",
        "%(n)s unique callers called the number, and from %(most)s on the client must agree in writing: say which "
        "client.",
    ),
    (
        r"(?P<n>\d+) unique callers called the number, and from (?P<most>\d+) on .*no agreement is recorded.*",
        "%(n)s unique callers called the number, and from %(most)s on the client must agree in writing: no agreement "
        "is recorded yet.",
    ),
    (
        r"(?P<n>\d+) unique callers called number \d+: no client need agree.*",
        "%(n)s unique callers called it: no client need agree to that.",
    ),
    (
        r"client (?P<id>'.*') has no e-mail address.*",
        "Client %(id)s has no e-mail address to write to: enter one first.",
    ),
    (r"nobody can answer: .*", "Nobody can answer it: a manager enters first who is at that desk."),
    (
        r"the head must get a copy.*",
        "The head of customer service must get a copy, and no head with an e-mail address is entered.",
    ),
    (r"(?P<who>\S+) has asked for number \d+ already.*", "%(who)s has asked for this number already."),
    (
        r"the client was not asked yet.*",
        "The client was not asked yet: the letter must name the count of unwanted calls.",
    ),
    (r"lies in the future: it is (?P<day>\S+)", "It lies in the future: today is %(day)s."),
    (
        r"lies before (?P<day>\S+), when the number was asked for",
        "It lies before %(day)s, when the number was asked for.",
    ),
    (r"request \S+ is \S+ already, by (?P<who>\S+)", "%(who)s has answered it already."),
    (
        r"the subscriber is .*, and can't become .*",
        "The subscriber is not in that state any more: load the page again.",
    ),
    (r"is missing", "Fill this in."),
    (r"Object missing required field.*", "Fill this in."),
    (r"lies before since", "The last day lies before the first."),
    (r"ask for at most (?P<n>\d+) days", "At most %(n)s days at a time."),
    (r".*(YYYY-MM-DD|is not a date|is no day|matching regex|a day).*", "Write a day, as in 2026-11-24."),
)
"""Refusals of the API by what they match, and what the reader is told. What matches nothing is told as it came."""


DETAILS: tuple[tuple[str, str], ...] = (
    (r"(?P<id>\S+) new, account (?P<account>.*?), (?P<product>.*)", "Created: %(product)s, account %(account)s"),
    (r"(?P<id>\S+) in_use, account (?P<account>.*?), (?P<product>.*)", "Activated: %(product)s, account %(account)s"),
    (r"(?P<id>\S+) closed, account (?P<account>.*?), (?P<product>.*)", "Closed: %(product)s, account %(account)s"),
    (
        r"\S+ asked for: (?P<calls>\d+) calls of (?P<unique>\d+) unique callers, to \S+",
        "Asked for: calls %(calls)s, unique callers %(unique)s",
    ),
    (r"\S+: (?P<who>.*) agreed on (?P<day>\S+)", "%(who)s agreed on %(day)s"),
    (r"\S+ approved", REQUESTS["approved"]),
    (r"\S+ refused", REQUESTS["refused"]),
    (r"\S+ withdrawn", REQUESTS["withdrawn"]),
    (r"\S+ ended", "The approval has ended"),
    (r"in quarantine since (?P<day>\S+)", "In quarantine since %(day)s"),
    (r"sold", "Sold"),
    (r"the sale is done or fell through", "The sale is done or fell through"),
    (
        r"not paid within (?P<days>\d+) working days from (?P<day>\S+)",
        "Not paid within %(days)s working days from %(day)s",
    ),
)
"""Lines of the timeline that the rules write, likewise."""


def told(words: Words, english: str) -> str:
    """A refusal of the API, or a line of the timeline, in the reader's language."""
    for pattern, text in (*REFUSALS, *DETAILS):
        if (found := re.fullmatch(pattern, english, re.DOTALL)) is not None:
            return words.text(text, **found.groupdict())
    return english


def errors_of(words: Words, error: Problem | Mistyped, *, otherwise: str = "") -> dict[str, str]:
    """What is wrong by field; what concerns no field is put under `otherwise`."""
    return {name or otherwise: told(words, text) for name, text in wrong(error).items()}


def in_words(words: Words, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Values with what the reader calls them."""
    return [(value, words.text(english)) for value, english in names.items()]
