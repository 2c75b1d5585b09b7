"""An uploaded price list, CSV or XLSX: its rows in batches, all that is wrong with it by sheet, line and column.

The columns are those of `prices.csv` (`price_list_id` may be left out), in any order. The file is read in a stream:
what is kept of a million rows are their prefixes and lines, to tell doubles by. Two rows for the same calls are no
error of reading: the first one is given, and both are told, as a duplicate if they say the same and a contradiction if
not.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from backoffice.price_lint import MOST_FINDINGS, DoubleRow, Reading
from connectors.files.csv_fields import MAX_SECONDS, Memo, digits, identifier, moments, unsigned_money, whole
from connectors.files.csv_table import CsvTable
from connectors.files.folder_errors import ErrorList
from connectors.files.folder_rows import span_fault
from connectors.files.price_file import PRICE_COLUMNS
from connectors.files.xlsx_rows import BadWorkbook, Workbook
from schemas.money import to_text
from schemas.reference import PriceRow

MOST_ROWS = 5_000_000
"""Of one list: a deck of the whole world has some hundred thousand."""

MOST_ERRORS = 1_000
"""That are told one by one; the others are counted."""

ROWS_AT_ONCE = 10_000

MUST_BE_THERE = ("prefix", "price", "per_seconds", "step_seconds")
MAY_BE_ABSENT = tuple(name for name in PRICE_COLUMNS if name not in MUST_BE_THERE)
_MOMENTS = ("valid_from", "valid_to")
_LINE_BITS = 32

_Word: TypeAlias = str | None
# What tells the tiers of one prefix apart: service, place, incoming service, band, valid_from, valid_to, from_second.
_Tier: TypeAlias = tuple[_Word, _Word, _Word, _Word, _Word, _Word, int]
# Connect fee, price, per seconds, step seconds, least and greatest charge, attempt fee.
_Content: TypeAlias = tuple[int, int, int, int, int | None, int | None, int]
# Connect fee, least and greatest charge, attempt fee.
_Fees: TypeAlias = tuple[int, int | None, int | None, int]


class UploadError(NamedTuple):
    """One error. `line` is that of the file, or the row of the sheet (0: the whole file); `sheet` is that of a
    workbook; `column` is empty where the whole row is meant."""

    sheet: str | None
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f"{self.sheet!r}, row {self.line}" if self.sheet is not None else f"line {self.line}"
        place = where if self.line else "the file"
        return f"{place}: {self.column}: {self.message}" if self.column else f"{place}: {self.message}"


class BadUpload(Exception):
    """A file that can't be taken. `errors` are the first of them in order, `count` says how many there are."""

    def __init__(self, errors: Sequence[UploadError], count: int) -> None:
        super().__init__(errors, count)
        self.errors = tuple(errors)
        self.count = count

    def __str__(self) -> str:
        more = f"\n… and {self.count - len(self.errors):,} more" if self.count > len(self.errors) else ""
        return "\n".join(map(str, self.errors)) + more


class PriceUpload:
    """A file under way. Take all of `batches`, then ask for `reading`."""

    def __init__(
        self,
        path: Path,
        price_list_id: str,
        *,
        bands: Collection[str],
        zone: ZoneInfo,
        sheet: str | None = None,
    ) -> None:
        """`bands` are those that prices may name; `zone` is the business one, which days without a time are in; `sheet`
        of a workbook with several, the first one if left out."""
        self._path = path
        self._list_id = price_list_id
        self._columns = _Columns(price_list_id, bands, zone)
        self._zone = zone
        self._wanted_sheet = sheet
        self._sheet: str | None = None
        self._errors = _Errors()
        self._rows = 0
        # Of each tier of a prefix the line that it stands on and the number of what it says, in one integer.
        self._tiers: dict[_Tier, dict[str, int]] = {}
        self._said: dict[_Content, int] = {}
        self._fees: dict[_Tier, dict[str, _Fees]] = {}
        self._later: list[tuple[int, _Tier, str, Mapping[str, int | None]]] = []
        self._doubles: list[DoubleRow] = []
        self._duplicates = self._contradictions = 0
        self._finished = False

    def batches(self) -> Iterator[list[tuple[int, PriceRow]]]:
        """Good rows with their lines, some thousand at once. Raises BadUpload at the end if anything was wrong."""
        with ExitStack() as closing:
            try:
                lines = self._open(closing)
                rows = self._good(lines)
                while batch := list(islice(rows, ROWS_AT_ONCE)):
                    yield batch
            except BadWorkbook as bad:
                self._errors.add(0, "", str(bad))
        self._check_first_tiers()
        self._check_later_fees()
        if not self._rows and not self._errors.count:
            self._errors.add(0, "", "has no prices; a list is withdrawn, not emptied")
        if self._errors.count:
            raise BadUpload(self._errors.in_order(self._sheet), self._errors.count)
        self._finished = True

    @property
    def reading(self) -> Reading:
        """What was noticed; all batches have been taken."""
        assert self._finished, "the file has not been read to its end"
        return Reading(
            self._sheet, self._rows, self._duplicates, self._contradictions, tuple(self._doubles[:MOST_FINDINGS])
        )

    # Rows of texts

    def _open(self, closing: ExitStack) -> Iterable[tuple[int, tuple[str, ...]]]:
        with self._path.open("rb") as file:
            head = file.read(4)
        if head[:4] == b"PK\x03\x04":
            return self._sheet_rows(closing.enter_context(Workbook(self._path)))
        if head[:4] == b"\xd0\xcf\x11\xe0":
            raise BadWorkbook("is an Excel file of before 2007, or has a password; save it as .xlsx, or as CSV")
        if self._wanted_sheet is not None:
            raise BadWorkbook("is a CSV file, which has no sheets; leave the sheet out")
        found = ErrorList()
        table = CsvTable(self._path, PRICE_COLUMNS, found, absent=MAY_BE_ABSENT)
        return self._csv_rows(table, found)

    def _csv_rows(self, table: CsvTable, found: ErrorList) -> Iterator[tuple[int, tuple[str, ...]]]:
        yield from table.rows()
        for error in found.in_order({table.file: PRICE_COLUMNS}):
            self._errors.add(error.line, error.column, error.message)
        if table.lost:
            self._errors.lost = True

    def _sheet_rows(self, workbook: Workbook) -> Iterator[tuple[int, tuple[str, ...]]]:
        sheet = workbook.sheets[0] if self._wanted_sheet is None else self._wanted_sheet
        if sheet not in workbook.sheets:
            raise BadWorkbook(f"has no sheet {sheet!r}; it has {', '.join(map(repr, workbook.sheets))}")
        self._sheet = sheet
        serial = _Serial(self._zone, from_1904=workbook.counts_from_1904)
        places: list[int] | None = None
        width = 0
        for line, cells in workbook.rows(sheet):
            if places is None:
                places = self._header(line, [cell.strip() for cell in cells])
                if places is None:
                    return
                width = max(places) + 1
                continue
            if not any(map(str.strip, cells)):
                continue
            if len(cells) < width:
                cells.extend([""] * (width - len(cells)))
            fields = [cells[place] if place >= 0 else "" for place in places]
            for place in _MOMENT_PLACES:
                if fields[place]:
                    fields[place] = serial.text(fields[place])
            yield line, tuple(fields)
        if places is None:
            raise BadWorkbook(f"sheet {sheet!r} is empty; its first row names the columns: {', '.join(PRICE_COLUMNS)}")

    def _header(self, line: int, names: list[str]) -> list[int] | None:
        """Where each column is, -1 where it is absent."""
        good = True
        for name in PRICE_COLUMNS:
            if names.count(name) > 1:
                self._errors.add(line, name, "the header row names the column twice; leave one of them")
                good = False
            elif name not in names and name not in MAY_BE_ABSENT:
                self._errors.add(line, name, "the column is missing; add it to the header row and to every row")
                good = False
        return [names.index(name) if name in names else -1 for name in PRICE_COLUMNS] if good else None

    # Rows of prices

    def _good(self, lines: Iterable[tuple[int, tuple[str, ...]]]) -> Iterator[tuple[int, PriceRow]]:
        list_id, errors = self._list_id, self._errors
        columns = self._columns
        names, prefixes, words, bands, seconds = (
            columns.names,
            columns.prefixes,
            columns.words,
            columns.bands,
            columns.seconds,
        )
        fees, prices, periods, limits, times = (
            columns.fees,
            columns.prices,
            columns.periods,
            columns.limits,
            columns.times,
        )
        tiers, said = self._tiers, self._said
        for line, fields in lines:
            self._rows += 1
            if self._rows > MOST_ROWS:
                errors.add(line, "", f"is beyond the {MOST_ROWS:,} rows that a price list may have; split the list")
                return
            (
                name,
                prefix,
                service,
                place,
                came_by,
                band,
                since,
                connect,
                amount,
                per,
                step,
                low,
                high,
                start,
                end,
                try_,
            ) = fields
            try:
                if name:
                    names[name]
                row = PriceRow(
                    list_id,
                    prefixes[prefix],
                    words[service],
                    words[place],
                    words[came_by],
                    bands[band],
                    seconds[since],
                    fees[connect],
                    prices[amount],
                    periods[per],
                    periods[step],
                    limits[low],
                    limits[high],
                    times[start],
                    times[end],
                    fees[try_],
                )
            except ValueError:
                self._explain(line, fields)
                continue
            if (
                low
                and high
                and row.max_charge_micros is not None
                and row.max_charge_micros < (row.min_charge_micros or 0)
            ):
                least, most = to_text(row.min_charge_micros or 0), to_text(row.max_charge_micros)
                errors.add(
                    line, "max_charge", f"{most} is below min_charge {least}; write at least that, or leave one empty"
                )
            if (
                start
                and end
                and row.valid_from is not None
                and row.valid_to is not None
                and row.valid_to <= row.valid_from
            ):
                errors.add(line, "valid_to", span_fault(row.valid_from, row.valid_to))
            tier = (
                row.service,
                row.place,
                row.incoming_service,
                row.band_id,
                row.valid_from,
                row.valid_to,
                row.from_second,
            )
            content = (
                row.connect_fee_micros,
                row.price_micros,
                row.per_seconds,
                row.step_seconds,
                row.min_charge_micros,
                row.max_charge_micros,
                row.attempt_fee_micros,
            )
            number = said.setdefault(content, len(said))
            of_tier = tiers.get(tier)
            if of_tier is None:
                of_tier = tiers[tier] = {}
            mine = number << _LINE_BITS | line
            first = of_tier.setdefault(row.prefix, mine)
            if first != mine:
                self._double(row, line, first, number)
                continue
            if connect or low or high or try_:
                if row.from_second:
                    written = {
                        "connect_fee": fees[connect] if connect.strip() else None,
                        "min_charge": row.min_charge_micros,
                        "max_charge": row.max_charge_micros,
                        "attempt_fee": fees[try_] if try_.strip() else None,
                    }
                    self._later.append((line, tier, row.prefix, written))
                else:
                    due = (
                        row.connect_fee_micros,
                        row.min_charge_micros,
                        row.max_charge_micros,
                        row.attempt_fee_micros,
                    )
                    if due != _NO_FEES:
                        self._fees.setdefault(tier, {})[row.prefix] = due
            yield line, row

    def _explain(self, line: int, fields: Sequence[str]) -> None:
        for name, values, field in zip(PRICE_COLUMNS, self._columns.in_order, fields, strict=True):
            try:
                values[field]
            except ValueError as error:
                self._errors.add(line, name, str(error))
        self._errors.lost = True

    def _double(self, row: PriceRow, line: int, first: int, number: int) -> None:
        first_line, first_number = first & (1 << _LINE_BITS) - 1, first >> _LINE_BITS
        same = first_number == number
        self._duplicates += same
        self._contradictions += not same
        if len(self._doubles) < MOST_FINDINGS:
            text = None
            if not same:
                said = next(content for content, there in self._said.items() if there == first_number)
                text = (
                    f"line {first_line} says {to_text(said[1])}/{said[2]} s, line {line} says "
                    f"{to_text(row.price_micros)}/{row.per_seconds} s, for the same calls"
                )
            self._doubles.append(DoubleRow(row.prefix, first_line, line, text))

    # What only the whole file tells

    def _check_first_tiers(self) -> None:
        """Each band of each price has a tier from second 0 (rules §1.1)."""
        if self._errors.lost:
            # It may be the row that could not be read.
            return
        named: set[tuple[_Tier, str]] = set()
        for tier in sorted((tier for tier in self._tiers if tier[-1]), key=lambda tier: tier[-1]):
            first = (*tier[:-1], 0)
            begun = self._tiers.get(first, {})
            for prefix, packed in self._tiers[tier].items():
                if prefix not in begun and (first, prefix) not in named:
                    named.add((first, prefix))
                    message = f"prefix {prefix!r} has no tier from second 0 here; add the row with from_second 0"
                    self._errors.add(packed & (1 << _LINE_BITS) - 1, "from_second", message)

    def _check_later_fees(self) -> None:
        """Fees belong to the first tier: a later one leaves them empty or repeats them."""
        for line, tier, prefix, written in self._later:
            first = (*tier[:-1], 0)
            if prefix not in self._tiers.get(first, {}):
                continue
            due = dict(zip(_FEES, self._fees.get(first, {}).get(prefix, _NO_FEES), strict=True))
            for name, micros in written.items():
                # A fee of 0 says no more than an empty one; a least or greatest charge of 0 does.
                if micros is None or (micros == 0 and name in ("connect_fee", "attempt_fee")):
                    continue
                if micros != due[name]:
                    message = f"{to_text(micros)} differs from that of the tier from second 0; leave it empty here"
                    self._errors.add(line, name, message)


class _Columns:
    """What the texts of each column mean; each different text is read once."""

    def __init__(self, price_list_id: str, bands: Collection[str], zone: ZoneInfo) -> None:
        def this_list(text: str) -> str:
            if text != price_list_id:
                raise ValueError(f"{text!r} is another list than {price_list_id!r}, which this is; leave it empty")
            return text

        def known_band(text: str) -> str:
            name = identifier(text)
            if name not in bands:
                raise ValueError(f"there is no band {name!r}; enter it first, or write one that is there")
            return name

        self.names = Memo(this_list, "")
        self.prefixes = Memo(digits, "")
        self.words = Memo[_Word](identifier, None)
        self.bands = Memo[_Word](known_band, None)
        self.seconds = Memo(whole(0, MAX_SECONDS), 0)
        self.fees = Memo(unsigned_money, 0)
        self.prices = Memo(unsigned_money)
        self.periods = Memo(whole(1, MAX_SECONDS))
        self.limits = Memo[int | None](unsigned_money, None)
        self.times = Memo[_Word](moments(zone), None)

    @property
    def in_order(self) -> Sequence[Mapping[str, object]]:
        """Those of PRICE_COLUMNS."""
        words, limits, times, periods = self.words, self.limits, self.times, self.periods
        return (
            *(self.names, self.prefixes, words, words, words, self.bands, self.seconds, self.fees, self.prices),
            *(periods, periods, limits, limits, times, times, self.fees),
        )


class _Errors:
    """The first errors, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self.lost = False
        self._found: list[tuple[int, str, str]] = []

    def add(self, line: int, column: str, message: str) -> None:
        self.count += 1
        if len(self._found) < MOST_ERRORS:
            self._found.append((line, column, message))

    def in_order(self, sheet: str | None) -> list[UploadError]:
        places = {name: place for place, name in enumerate(PRICE_COLUMNS)}
        ordered = sorted(self._found, key=lambda error: (error[0], places.get(error[1], -1)))
        return [UploadError(sheet, line, column, message) for line, column, message in ordered]


class _Serial:
    """Days and moments of Excel, which are numbers of days; what is no number is a text already."""

    def __init__(self, zone: ZoneInfo, *, from_1904: bool) -> None:
        self._zone = zone
        # Excel counts a 29 February 1900 that never was: from March 1900 on, days count from 30 December 1899.
        self._first = date(1904, 1, 1) if from_1904 else date(1899, 12, 30)
        self._known: dict[str, str] = {}

    def text(self, field: str) -> str:
        found = self._known.get(field)
        if found is None:
            found = self._known[field] = self._text(field)
        return found

    def _text(self, field: str) -> str:
        try:
            days = float(field)
        except ValueError:
            return field
        if not 36_000 <= days < 80_000:
            return field
        seconds = round(days * 86_400)
        day = self._first + timedelta(days=seconds // 86_400)
        if seconds % 86_400 == 0:
            return day.isoformat()
        return (datetime.combine(day, time.min, self._zone) + timedelta(seconds=seconds % 86_400)).isoformat()


_FEES = ("connect_fee", "min_charge", "max_charge", "attempt_fee")
_NO_FEES: _Fees = (0, None, None, 0)
_MOMENT_PLACES = tuple(PRICE_COLUMNS.index(name) for name in _MOMENTS)
