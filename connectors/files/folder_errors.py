"""What is wrong with a reference folder: every error with its file, line, column and remedy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class FolderError(NamedTuple):
    """One error. `line` is the physical line where the record starts (the header is line 1), 0 for the whole file;
    `column` is empty where the whole record is meant."""

    file: str
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.column}: {self.message}" if self.column else f"{place}: {self.message}"


class BrokenFolder(Exception):
    """A reference folder that can't be used. `errors` are all that were found, in order of file, line and column."""

    def __init__(self, errors: Iterable[FolderError]) -> None:
        self.errors: tuple[FolderError, ...] = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class ErrorList:
    """Errors as they are found."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[FolderError] = []

    def add(self, file: str, line: int, column: str, message: str) -> None:
        """Notes an error."""
        self._found.append(FolderError(file, line, column, message))

    def in_order(self, columns: Mapping[str, Sequence[str]]) -> tuple[FolderError, ...]:
        """The errors by file, line and column, in the order in which `columns` names files and their columns."""
        files = {file: place for place, file in enumerate(columns)}
        places = {(file, name): place for file, names in columns.items() for place, name in enumerate(names)}

        def place_of(error: FolderError) -> tuple[int, int, int]:
            # An error of the whole record goes before those of its columns, an unnamed column after the named ones.
            column = places.get((error.file, error.column), len(places)) if error.column else -1
            return files.get(error.file, -1), error.line, column

        return tuple(sorted(self._found, key=place_of))
