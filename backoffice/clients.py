"""Finding clients and calls as the guide has it (§1.1, §2.1, §2.5, §3.3): what `%` means, what is current.

In names (D47): capitals and quotes do not count, ё is е; `X%` is a word that begins with X, `%X` one that ends with X,
`%X%` one that holds X, and X alone a word that begins with X. In accounts, INNs and numbers `%` is any signs, and what
has no `%` is meant whole.
"""

from backoffice.office import search_words

CURRENT_SECONDS = 3600
"""A call is among the current ones while less than that has passed since its end; then in the archive (§2.5, D55)."""

RECORDING_SERVICES = ("calls_rec", "calls_rec_unlim")
"""«Запись разговоров» and «Безлимитная запись разговоров»: two services (§2.5)."""

NO_RECORDING = (
    "no recordings were billed: recording was off in this period, or the client's own rules left these calls out"
)
"""What an empty answer about recordings means (§2.5)."""


def name_patterns(text: str) -> tuple[str, ...]:
    """Patterns of SQL's LIKE, each of which must match a word of the name. None: the text has no words."""
    return tuple(
        _escaped(word) if "%" in word else f"{_escaped(word)}%" for word in search_words(text) if word.strip("%")
    )


def exact_pattern(text: str) -> str:
    """A pattern of SQL's LIKE for an id or digits; spaces around it do not count."""
    return _escaped(text.strip())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("_", "\\_")


def service_code(service: str) -> str:
    """As the staff know a service: `CALLS_REC`."""
    return service.upper()


def without_calls(service: str, connected: tuple[str, ...] | None) -> str | None:
    """What to say where a search finds nothing; `connected` are the services of the account that was asked for."""
    if service not in RECORDING_SERVICES:
        return None
    if connected is not None and service not in connected:
        others = [service_code(other) for other in connected if other in RECORDING_SERVICES]
        has = f"it has {', '.join(others)}" if others else "it has no recording at all"
        return f"{NO_RECORDING}; {service_code(service)} is not connected to this account now: {has}"
    return NO_RECORDING
