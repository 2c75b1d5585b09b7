"""Queries by their name: `sql("locks/insert")` is the text of `sql/locks/insert.sql`, read once.

Arguments are positional: $1, $2, …
"""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"


@cache
def sql(name: str) -> str:
    """The text of a query. Raises KeyError for one that is not there: a mistake in the program."""
    try:
        return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise KeyError(f"there is no query {name!r} in {FOLDER.name}/") from None
