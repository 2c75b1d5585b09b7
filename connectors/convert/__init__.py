"""CDR files of real switches as `cdr` events: Asterisk, FreeSWITCH, and any CSV by a mapping."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from connectors.convert.asterisk import read_master_csv
from connectors.convert.common import BadRow, ConvertSettings, NumberRule
from connectors.convert.freeswitch import read_json_cdr
from connectors.convert.generic_csv import ColumnMapping, MappingError, read_mapped_csv, read_mapping
from schemas.events import Cdr

__all__ = [
    "FORMATS",
    "BadRow",
    "ColumnMapping",
    "ConvertSettings",
    "MappingError",
    "NumberRule",
    "convert",
    "read_mapping",
]

FORMATS = ("asterisk", "freeswitch", "csv")


def convert(
    format_: str, path: Path, settings: ConvertSettings, mapping: ColumnMapping | None = None
) -> Iterator[Cdr | BadRow]:
    """The CDRs of a file, plain or `.gz`, in its order, and the rows that became none.

    Raises OSError (EOFError for a cut off .gz), MappingError, and ValueError for the csv format without a mapping.
    Bytes that are no UTF-8 become U+FFFD, which no id or number may hold.
    """
    if format_ == "csv" and mapping is None:
        raise ValueError("the csv format needs a mapping")
    with path.open("rb") as raw:
        source = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        # Only "\n" ends a line: a "\r" within a quoted name must not.
        lines = io.TextIOWrapper(source, encoding="utf-8-sig", errors="replace", newline="\n")
        if format_ == "asterisk":
            yield from read_master_csv(lines, settings)
        elif format_ == "freeswitch":
            yield from read_json_cdr(lines, settings)
        else:
            assert mapping is not None
            yield from read_mapped_csv(lines, settings, mapping)
