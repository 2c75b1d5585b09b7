"""Lists as files to keep: CSV or XLSX, streamed, with the list's own filters."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal, cast

from litestar import Response
from litestar.response import Stream
from msgspec import Meta

from connectors.files.table_export import CSV_TYPE, MOST_XLSX_ROWS, XLSX_TYPE, Amount, Rows, csv_pieces, xlsx_pieces

FileFormat = Literal["csv", "xlsx"]
ExportLimit = Annotated[int, Meta(ge=1, le=MOST_XLSX_ROWS - 1, description="How many rows at most.")]
PRODUCES = (CSV_TYPE, XLSX_TYPE)

DEFAULT_ROWS = 100_000


def file_of(name: str, kind: FileFormat, header: Sequence[str], rows: Rows) -> Response[bytes]:
    """The answer with the file `name` in ASCII, without its ending."""
    pieces: AsyncIterator[bytes] = csv_pieces(header, rows) if kind == "csv" else xlsx_pieces(name, header, rows)
    answer = Stream(
        pieces,
        media_type=CSV_TYPE if kind == "csv" else XLSX_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'},
    )
    return cast("Response[bytes]", answer)


def roubles(micros: int | None) -> Amount | None:
    """Money for a spreadsheet's cell."""
    return None if micros is None else Amount(micros)
