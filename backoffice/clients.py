"""Finding clients and calls as the guide has it (§1.1, §2.1, §2.5, §3.3): what `%` means, what is current.

In names (D47): capitals and signs that are no letters or digits do not count, ё is е; `X%` is a word that begins with
X, `%X` one that ends with X, `%X%` one that holds X, and X alone a word that begins with X. `X%Y` begins with X and
ends with Y, in one word or some in a row. In accounts, INNs and numbers `%` is any signs; else they are meant whole.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from backoffice.office import words_of
from schemas.events import FORWARDING, INCOMING, INTRA_OFFICE, OUTGOING

CURRENT_SECONDS = 3600
"""A call is among the current ones while less than that has passed since its end; then in the archive (§2.5, D55)."""

RECORDING_SERVICES = ("calls_rec", "calls_rec_unlim")
"""«Запись разговоров» and «Безлимитная запись разговоров»: two services (§2.5)."""

USUAL_SERVICES = (OUTGOING, FORWARDING, INCOMING, INTRA_OFFICE, *RECORDING_SERVICES)
"""Services that there are whether or not anybody has used them; reference data may name others."""

NO_RECORDING = (
    "no recordings were billed: recording was off in this period, or the client's own rules left these calls out"
)
"""What an empty answer about recordings means (§2.5)."""

NOT_YET = "the period lies in the future: no call of it has ended yet"

IN_ARCHIVE = "the period ended 60 minutes ago or earlier: its calls are in the archive (part=archive)"

STILL_CURRENT = "the period lies within the last 60 minutes: its calls are among the current ones (part=current)"

NONE_CURRENT = "no such call ended within the last 60 minutes; earlier ones are in the archive (part=archive)"


def name_patterns(text: str) -> tuple[str, ...]:
    """Patterns of SQL's LIKE, all of which must match the name's words with a blank before and behind each of them.
    None: the text has no words."""
    return tuple(_pattern(word) for word in _wanted_words(text))


def _wanted_words(text: str) -> tuple[str, ...]:
    return tuple(word for word in words_of(text, keeping="%") if word.strip("%"))


def _pattern(word: str) -> str:
    if "%" not in word:
        return f"% {word}%"
    return ("" if word.startswith("%") else "% ") + word + ("" if word.endswith("%") else " %")


def word_parts(text: str) -> tuple[str, ...]:
    """Threes of signs that the words of each name have which `name_patterns` fits, as `office.word_parts` has them: ^
    is the beginning of a word and $ its end. None where the text says too little: then all names are to be looked at.
    """
    found: dict[str, None] = {}
    for word in _wanted_words(text):
        for piece in f"^{word}$".split("%") if "%" in word else (f"^{word}",):
            found.update(dict.fromkeys(piece[start : start + 3] for start in range(len(piece) - 2)))
    return tuple(found)


def number_wanted(text: str, e164: Callable[[str], str]) -> str:
    """A number as people write it, in E.164 digits (D31); with `%` for any signs, the digits as they are."""
    if "%" in text:
        return "".join(sign for sign in text if sign not in " ()-+.\u00a0")
    return e164(text.strip())


def exact_pattern(text: str) -> str:
    """A pattern of SQL's LIKE for an id or digits; spaces around it do not count."""
    return _escaped(text.strip())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("_", "\\_")


def service_code(service: str) -> str:
    """As the staff know a service: `CALLS_REC`."""
    return service.upper()


class Period(NamedTuple):
    """When the calls ended that were searched: then or later, and before; None: any time."""

    since: datetime | None
    until: datetime | None
    part: Literal["current", "archive"] | None
    """As it was asked for."""


ANY_TIME = Period(None, None, None)


def without_calls(
    service: str, connected: tuple[str, ...] | None, period: Period = ANY_TIME, now: datetime | None = None
) -> str | None:
    """What to say where a search finds nothing; `connected` are the services of the account that was asked for."""
    if now is not None and (elsewhere := _elsewhere(period, now)) is not None:
        return elsewhere
    if service not in RECORDING_SERVICES:
        return NONE_CURRENT if period.part == "current" else None
    # Of the current hour it says nothing yet whether earlier calls were recorded.
    nothing = NONE_CURRENT if period.part == "current" else NO_RECORDING
    if connected is not None and service not in connected:
        others = [service_code(other) for other in connected if other in RECORDING_SERVICES]
        has = f"it has {', '.join(others)}" if others else "it has no recording at all"
        return f"{nothing}; {service_code(service)} is not connected to this account now: {has}"
    return nothing


def _elsewhere(period: Period, now: datetime) -> str | None:
    border = now - timedelta(seconds=CURRENT_SECONDS)
    if period.since is not None and period.since > now:
        return NOT_YET
    if period.part == "current" and period.until is not None and period.until <= border:
        return IN_ARCHIVE
    if period.part == "archive" and period.since is not None and period.since > border:
        return STILL_CURRENT
    return None
