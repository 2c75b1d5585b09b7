"""`prices.csv`: the one file with a million rows. Rows are parsed by what was parsed before, and checked on the way.

Nearly all fields of a deck repeat (an operator has few different prices, steps and dates), so a row costs a look-up per
field. Only a row with a bad field is taken apart again, to name each of its errors.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

from connectors.files.csv_fields import MAX_SECONDS, Memo, digits, identifier, unsigned_money, whole
from connectors.files.csv_table import CsvTable
from connectors.files.folder_rows import Register, span_fault
from schemas.money import to_text
from schemas.reference import PriceRow

PRICE_COLUMNS = (
    "price_list_id",
    "prefix",
    "service",
    "place",
    "incoming_service",
    "band_id",
    "from_second",
    "connect_fee",
    "price",
    "per_seconds",
    "step_seconds",
    "min_charge",
    "max_charge",
    "valid_from",
    "valid_to",
    "attempt_fee",
)

_Word: TypeAlias = str | None
# What tells the tiers of one prefix apart: list, service, place, incoming service, band, valid_from, valid_to and,
# last, from_second.
_Tier: TypeAlias = tuple[str, _Word, _Word, _Word, _Word, _Word, _Word, int]
# Of a later tier: connect_fee, min_charge, max_charge, attempt_fee as they stand in the file.
_FeeTexts: TypeAlias = tuple[str, str, str, str]


class PriceFile:
    """Reads `prices.csv`. Errors go to the table; `rows` are of use only if there are none."""

    def __init__(self, table: CsvTable, *, lists: Register, bands: Register, moment: Callable[[str], str]) -> None:
        self.rows: list[PriceRow] = []
        self._table = table
        self._lines = array("L")  # of self.rows
        # Lines by tier, then prefix: a key of their own for a million rows would cost more memory than the rows.
        self._tiers: defaultdict[_Tier, dict[str, int]] = defaultdict(dict)
        # Fees of later tiers that stand above their first one.
        self._postponed: list[tuple[int, _Tier, str, _FeeTexts]] = []
        # List and prefix, where known, of rows whose tier is not: it may be the one that seems to be missing.
        self._unplaced: set[tuple[_Word, _Word]] = set()

        self._lists = Memo(lists.known)
        self._prefixes = Memo(digits, "")
        self._words = Memo[_Word](identifier, None)
        self._bands = Memo[_Word](bands.known, None)
        self._seconds = Memo(whole(0, MAX_SECONDS), 0)
        self._periods = Memo(whole(1, MAX_SECONDS))
        self._prices = Memo(unsigned_money)
        self._fees = Memo(unsigned_money, 0)
        self._limits = Memo[int | None](unsigned_money, None)
        self._moments = Memo[_Word](moment, None)

    def read(self) -> None:
        """Reads the whole file and checks its rows, each by itself and against the others."""
        lists, prefixes, words, bands, seconds = self._lists, self._prefixes, self._words, self._bands, self._seconds
        prices, fees, limits, moments, periods = self._prices, self._fees, self._limits, self._moments, self._periods
        tiers, rows, lines, error = self._tiers, self.rows, self._lines, self._table.error
        for line, fields in self._table.rows():
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
                row = PriceRow(
                    lists[name],
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
                    moments[start],
                    moments[end],
                    fees[try_],
                )
            except ValueError:
                self._explain(line, fields)
                continue
            rows.append(row)
            lines.append(line)
            if low and high:
                self._check_limits(line, row.min_charge_micros, row.max_charge_micros)
            if start and end:
                self._check_span(line, row.valid_from, row.valid_to)
            tier = (
                row.price_list_id,
                row.service,
                row.place,
                row.incoming_service,
                row.band_id,
                row.valid_from,
                row.valid_to,
                row.from_second,
            )
            first = tiers[tier].setdefault(row.prefix, line)
            if first != line:
                error(line, "prefix", _double(row.prefix, first))
            elif row.from_second and (connect or low or high or try_):
                self._check_later_fees(line, tier, row.prefix, (connect, low, high, try_))
        if self._table.lost:
            self._unplaced.add((None, None))
        self._check_first_tiers()
        # Without a first tier there is an error already.
        postponed, self._postponed = self._postponed, []
        for later in postponed:
            self._check_later_fees(*later)

    def _explain(self, line: int, fields: tuple[str, ...]) -> None:
        """Names each error of a row that has a bad field."""
        columns: tuple[Memo[str] | Memo[_Word] | Memo[int] | Memo[int | None], ...] = (
            self._lists,
            self._prefixes,
            self._words,
            self._words,
            self._words,
            self._bands,
            self._seconds,
            self._fees,
            self._prices,
            self._periods,
            self._periods,
            self._limits,
            self._limits,
            self._moments,
            self._moments,
            self._fees,
        )
        bad = set()
        for name, values, field in zip(PRICE_COLUMNS, columns, fields, strict=True):
            try:
                values[field]
            except ValueError as error:
                bad.add(name)
                self._table.error(line, name, str(error))
        at = dict(zip(PRICE_COLUMNS, fields, strict=True))
        if not bad & {"min_charge", "max_charge"}:
            self._check_limits(line, self._limits[at["min_charge"]], self._limits[at["max_charge"]])
        if not bad & {"valid_from", "valid_to"}:
            self._check_span(line, self._moments[at["valid_from"]], self._moments[at["valid_to"]])
        if bad & _OF_TIER:
            self._unplaced.add(
                (
                    None if "price_list_id" in bad else self._lists[at["price_list_id"]],
                    None if "prefix" in bad else self._prefixes[at["prefix"]],
                )
            )
            return
        tier = (
            self._lists[at["price_list_id"]],
            self._words[at["service"]],
            self._words[at["place"]],
            self._words[at["incoming_service"]],
            self._bands[at["band_id"]],
            self._moments[at["valid_from"]],
            self._moments[at["valid_to"]],
            self._seconds[at["from_second"]],
        )
        prefix = self._prefixes[at["prefix"]]
        first = self._tiers[tier].setdefault(prefix, line)
        if first != line:
            self._table.error(line, "prefix", _double(prefix, first))

    def _check_limits(self, line: int, low: int | None, high: int | None) -> None:
        if low is not None and high is not None and low > high:
            message = f"{to_text(high)} is below min_charge {to_text(low)}; write at least that, or leave one empty"
            self._table.error(line, "max_charge", message)

    def _check_span(self, line: int, start: str | None, end: str | None) -> None:
        if start is not None and end is not None and end <= start:
            self._table.error(line, "valid_to", span_fault(start, end))

    def _check_first_tiers(self) -> None:
        """Each band of each price has a tier from second 0 (rules §1.1); one error for all its later tiers."""
        named: set[tuple[_Tier, str]] = set()
        for tier in sorted((tier for tier in self._tiers if tier[-1]), key=lambda tier: tier[-1]):
            first = _first_of(tier)
            begun = self._tiers.get(first, {})
            for prefix, line in self._tiers[tier].items():
                if prefix in begun or (first, prefix) in named or self._may_be_unplaced(tier[0], prefix):
                    continue
                named.add((first, prefix))
                message = f"prefix {prefix!r} has no tier from second 0 here; add the row with from_second 0"
                self._table.error(line, "from_second", message)

    def _may_be_unplaced(self, name: str, prefix: str) -> bool:
        return not self._unplaced.isdisjoint(((name, prefix), (name, None), (None, prefix), (None, None)))

    def _check_later_fees(self, line: int, tier: _Tier, prefix: str, texts: _FeeTexts) -> None:
        """Fees belong to the first tier: a later one leaves them empty or repeats them."""
        first_line = self._tiers[_first_of(tier)].get(prefix)
        if first_line is None:
            self._postponed.append((line, tier, prefix, texts))
            return
        first = self._row_on(first_line)
        if first is None:
            return
        due = (first.connect_fee_micros, first.min_charge_micros, first.max_charge_micros, first.attempt_fee_micros)
        for name, text, first_micros in zip(_FEES, texts, due, strict=True):
            micros = self._fees[text] if text.strip() else None
            # A fee of 0 says no more than an empty one; a minimum or maximum of 0 does.
            if micros is None or (micros == 0 and name in ("connect_fee", "attempt_fee")):
                continue
            if micros != first_micros:
                message = f"{to_text(micros)} differs from that of the tier from second 0; leave it empty here"
                self._table.error(line, name, message)

    def _row_on(self, line: int) -> PriceRow | None:
        """The good row on a line."""
        place = bisect_left(self._lines, line)
        return self.rows[place] if place < len(self._lines) and self._lines[place] == line else None


_FEES = ("connect_fee", "min_charge", "max_charge", "attempt_fee")
_OF_TIER = {
    "price_list_id",
    "prefix",
    "service",
    "place",
    "incoming_service",
    "band_id",
    "from_second",
    "valid_from",
    "valid_to",
}


def _first_of(tier: _Tier) -> _Tier:
    """The tier from second 0 beside another one."""
    return (*tier[:7], 0)


def _double(prefix: str, first: int) -> str:
    what = f"prefix {prefix!r}" if prefix else "the default price"
    return (
        f"{what} is on line {first} too, alike in list, service, place, incoming_service, band, from_second"
        " and validity; leave one of them"
    )
