"""CDR files of real switches into cdr events: one reader a format, and `convert`, which opens files for them.

A row that can't be read becomes a BadRow with its line and goes to whoever prints; the rest goes on.
"""

import gzip
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from connectors.convert.asterisk import read_master_csv
from connectors.convert.common import BadRow, ConvertSettings, NumberRule
from connectors.convert.documents import MAX_DOCUMENT_CHARS
from connectors.convert.freeswitch import read_json_cdr
from connectors.convert.generic_csv import read_mapped_csv
from connectors.convert.mapping import EXAMPLE, CsvMapping, MappingError, load_mapping, parse_mapping
from schemas.events import Cdr

__all__ = [
    "EXAMPLE",
    "FORMATS",
    "BadRow",
    "ConvertSettings",
    "CsvMapping",
    "MappingError",
    "NumberRule",
    "convert",
    "load_mapping",
    "parse_mapping",
    "read_json_cdr",
    "read_mapped_csv",
    "read_master_csv",
]

FORMATS = {
    "asterisk": "Master.csv of Asterisk's cdr_csv",
    "freeswitch": "JSON documents of FreeSWITCH's mod_json_cdr",
    "csv": "any CSV, with a mapping file",
}
"""The formats by name, each with a few words for a help text."""

_MAX_LINE_CHARS = MAX_DOCUMENT_CHARS + 1


def convert(
    format_name: str, path: Path, settings: ConvertSettings, mapping: CsvMapping | None = None
) -> Iterator[Cdr | BadRow]:
    """The CDRs of one file, plain or `.gz`, in its order, with a BadRow for each row that can't be read.

    Bytes that are no UTF-8 (no text in the mapping's encoding) become U+FFFD: an id or name with one is a BadRow, in
    fields that are not used it does not matter. A damaged gzip file ends with a BadRow. Raises ValueError when the
    format is unknown or lacks its mapping; the first or a later step raises OSError when the file can't be read.
    """
    if format_name not in FORMATS:
        raise ValueError(f"format {format_name!r} is unknown; it is one of {', '.join(FORMATS)}")
    if format_name == "csv" and mapping is None:
        raise ValueError(f"format csv needs a mapping file; {EXAMPLE} is one to start from")
    return _convert(format_name, path, settings, mapping)


def _convert(
    format_name: str, path: Path, settings: ConvertSettings, mapping: CsvMapping | None
) -> Iterator[Cdr | BadRow]:
    encoding = mapping.encoding if mapping is not None else "utf-8"
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # passes over a byte order mark
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as binary:
        # Line ends inside quoted fields stay as they are: only \n ends a line.
        source = _Source(TextIOWrapper(binary, encoding, errors="replace", newline="\n"))
        match format_name:
            case "asterisk":
                yield from read_master_csv(source.lines(), settings)
            case "freeswitch":
                yield from read_json_cdr(source.lines(), settings)
            case _:
                assert mapping is not None
                yield from read_mapped_csv(source.lines(), settings, mapping)
        if source.damage is not None:
            yield source.damage


class _Source:
    """Lines of a file in bounded memory: of a line that outgrows every format only the beginning is kept."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.damage: BadRow | None = None

    def lines(self) -> Iterator[str]:
        number = 0
        try:
            while line := self._file.readline(_MAX_LINE_CHARS):
                number += 1
                end = line
                while len(end) == _MAX_LINE_CHARS and not end.endswith("\n"):
                    end = self._file.readline(_MAX_LINE_CHARS)
                yield line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = BadRow(number + 1, f"the gzip file is damaged from here on ({error}); fetch it again")
