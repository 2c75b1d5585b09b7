"""The reference folder: CSV files that are enough to run the engine without a database (the contract's columns).

A folder is read whole or not at all: `read_reference_folder` gives its records, or raises all of its errors at once,
each with file, line, column and remedy. What it gives fits together: every id that is referred to is there.

Fields may be surrounded by spaces. Money is decimal, a date means the start of that day in the business time zone, a
moment names its zone. An empty field means none or any; where the trade needs a value it means this:

* `balance`, `credit_limit`, `connect_fee`, `attempt_fee`: 0. `critical_balance`: no notices. `max_concurrent_calls`: no
  limit. `from_second`, `priority`, `weight`: 0.
* `name` of a provider or price list: its id. `pdgi`, `own`, `forbid_loss`, `fmtn`: no. `saleable`: depends_on_ncv.
* `start`, `end` of a band: 00:00 and 24:00. `time_zone`: the business time zone.
* Everything that money, ids or rights depend on must be written: ids, `payment_mode`, `currency`, `status`, `kind`,
  `rounding`, `decimals`, `price`, `per_seconds`, `step_seconds`, `percent`, and a lock's digits, author, reason and
  `created_at`.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from connectors.files import csv_fields as parse
from connectors.files.csv_table import CsvTable
from connectors.files.folder_errors import BrokenFolder, ErrorList, FolderError
from connectors.files.folder_rows import Column, Register, Row, check_span, read_rows
from connectors.files.price_file import PRICE_COLUMNS, PriceFile
from engine.reference import Reference
from schemas.reference import (
    Account,
    Band,
    Discount,
    Lock,
    Number,
    PlanList,
    PriceList,
    PriceRow,
    Provider,
    TariffPlan,
)

__all__ = ["BrokenFolder", "FolderError", "ReferenceFolder", "read_reference_folder"]

ACCOUNTS = "accounts.csv"
PROVIDERS = "providers.csv"
TARIFF_PLANS = "tariff_plans.csv"
PRICE_LISTS = "price_lists.csv"
PRICES = "prices.csv"
BANDS = "bands.csv"
LOCKS = "locks.csv"
NUMBERS = "numbers.csv"
DISCOUNTS = "discounts.csv"
FILES = (ACCOUNTS, PROVIDERS, TARIFF_PLANS, PRICE_LISTS, PRICES, BANDS, LOCKS, NUMBERS, DISCOUNTS)
MAY_MISS = frozenset({BANDS, LOCKS, NUMBERS, DISCOUNTS})


@dataclass(frozen=True)
class ReferenceFolder:
    """The records of a folder, by their ids and in the order of their files."""

    accounts: Mapping[str, Account]
    providers: Mapping[str, Provider]
    tariff_plans: Mapping[str, TariffPlan]
    price_lists: Mapping[str, PriceList]
    prices: Sequence[PriceRow]
    bands: Mapping[str, Band]
    locks: Mapping[str, Lock]
    numbers: Mapping[str, Number]
    discounts: Sequence[Discount]

    def tables(self) -> Reference:
        """The engine's tables of it; a million prices take some seconds."""
        return Reference(
            accounts=self.accounts.values(),
            providers=self.providers.values(),
            plans=self.tariff_plans.values(),
            price_lists=self.price_lists.values(),
            prices=self.prices,
            bands=self.bands.values(),
            locks=self.locks.values(),
            numbers=self.numbers.values(),
            discounts=self.discounts,
        )


def read_reference_folder(
    folder: Path, *, business_time_zone: str = "Europe/Moscow", emergency_numbers: frozenset[str]
) -> ReferenceFolder:
    """The records of a folder.

    Raises BrokenFolder with all errors of all files, and ZoneInfoNotFoundError when the business time zone is unknown.
    `emergency_numbers` can't be locked (D30).
    """
    zone = ZoneInfo(business_time_zone)
    if not folder.is_dir():
        raise BrokenFolder([FolderError(str(folder), 0, "", "is not a folder; name one that holds the CSV files")])
    reader = _FolderReader(folder, zone, business_time_zone, emergency_numbers)
    found = reader.read()
    if errors := reader.errors_in_order():
        raise BrokenFolder(errors)
    return found


class _FolderReader:
    """Reads file after file, those that are referred to first."""

    def __init__(self, folder: Path, zone: ZoneInfo, zone_name: str, emergency_numbers: frozenset[str]) -> None:
        self._folder = folder
        self._zone_name = zone_name
        self._emergency_numbers = emergency_numbers
        self._moment: Callable[[str], str] = parse.moments(zone)
        self._errors = ErrorList()
        self._columns: dict[str, Sequence[str]] = dict.fromkeys(FILES, ())
        self._accounts = Register(ACCOUNTS, "account_id", "account")
        self._providers = Register(PROVIDERS, "provider_id", "provider")
        self._plans = Register(TARIFF_PLANS, "tariff_plan_id", "tariff plan")
        self._lists = Register(PRICE_LISTS, "price_list_id", "price list")
        self._bands = Register(BANDS, "band_id", "band")
        self._kinds: dict[str, str] = {}  # of price lists
        self._currencies: dict[str, dict[str, array[int]]] = {}  # lines by currency and file

    def read(self) -> ReferenceFolder:
        """All files. The result is of use only if no error was found."""
        providers = self._read_providers()
        price_lists = self._read_price_lists()
        tariff_plans = self._read_tariff_plans()
        accounts = self._read_accounts()
        bands = self._read_bands()
        found = ReferenceFolder(
            accounts=accounts,
            providers=providers,
            tariff_plans=tariff_plans,
            price_lists=price_lists,
            prices=self._read_prices(),
            bands=bands,
            locks=self._read_locks(),
            numbers=self._read_numbers(),
            discounts=self._read_discounts(),
        )
        self._check_currencies()
        return found

    def errors_in_order(self) -> tuple[FolderError, ...]:
        """What was found, by file, line and column."""
        return self._errors.in_order(self._columns)

    def _table(self, file: str, columns: Sequence[str], absent: Sequence[str] = ()) -> CsvTable:
        self._columns[file] = columns
        return CsvTable(self._folder / file, columns, self._errors, absent=absent, may_miss=file in MAY_MISS)

    def _rows(self, file: str, columns: Sequence[Column], register: Register) -> Iterator[tuple[Row, bool]]:
        """Rows whose ids are entered, and whether all fields of each are good."""
        table = self._table(file, [column.name for column in columns])
        for row, good in read_rows(table, columns):
            register.enter(row)
            yield row, good
        if table.lost:
            register.complete = False

    def _read_providers(self) -> dict[str, Provider]:
        columns = (
            Column("provider_id", parse.identifier),
            Column("name", parse.words, empty=None),
            Column("priority", _ORDER, empty=0),
            Column("place", parse.identifier, empty=None),
            Column("pdgi", parse.yes_no, empty=False),
            Column("own", parse.yes_no, empty=False),
        )
        found = {}
        for row, good in self._rows(PROVIDERS, columns, self._providers):
            if good:
                row.values["name"] = row.values["name"] or row.values["provider_id"]
                provider = row.record(Provider)
                found[provider.provider_id] = provider
        return found

    def _read_price_lists(self) -> dict[str, PriceList]:
        columns = (
            Column("price_list_id", parse.identifier),
            Column("name", parse.words, empty=None),
            Column("kind", parse.one_of("retail", "wholesale")),
            Column("provider_id", self._providers.known, empty=None),
            Column("currency", parse.currency),
            Column("rounding", parse.one_of("up", "half_up", "down")),
            Column("decimals", parse.whole(0, 6)),
            Column("valid_from", self._moment, empty=None),
            Column("valid_to", self._moment, empty=None),
        )
        found = {}
        for row, good in self._rows(PRICE_LISTS, columns, self._lists):
            self._note_currency(PRICE_LISTS, row)
            check_span(row)
            name, kind = row.text("price_list_id"), row.text("kind")
            if kind == "wholesale" and row.is_none("provider_id"):
                row.error("provider_id", "a wholesale list without a provider; write whose prices they are")
            if name is not None and kind is not None:
                self._kinds.setdefault(name, kind)
            if good:
                row.values["name"] = row.values["name"] or name
                price_list = row.record(PriceList)
                found[price_list.price_list_id] = price_list
        return found

    def _read_tariff_plans(self) -> dict[str, TariffPlan]:
        columns = (
            Column("tariff_plan_id", parse.identifier),
            Column("price_list_id", self._retail_list),
            Column("priority", _ORDER, empty=0),
            Column("forbid_loss", parse.yes_no, empty=False),
        )
        lists: dict[str, list[PlanList]] = {}
        seen: dict[tuple[str, str], int] = {}
        forbids: dict[str, tuple[bool, int]] = {}
        table = self._table(TARIFF_PLANS, [column.name for column in columns])
        for row, good in read_rows(table, columns):
            self._plans.note(row)
            plan, name, forbid = row.text("tariff_plan_id"), row.text("price_list_id"), row.values.get("forbid_loss")
            if plan is not None and name is not None and (first := seen.setdefault((plan, name), row.line)) != row.line:
                row.error("price_list_id", f"plan {plan!r} has list {name!r} on line {first} too; leave one of them")
            if plan is not None and isinstance(forbid, bool):
                rule, line = forbids.setdefault(plan, (forbid, row.line))
                if rule != forbid:
                    said = "yes" if rule else "no"
                    row.error(
                        "forbid_loss", f"plan {plan!r} says {said} on line {line}; write the same in all its rows"
                    )
            if good and plan is not None:
                entries = lists.setdefault(plan, [])
                entries.append(row.record(PlanList))
                if len(entries) == MOST_LISTS + 1:
                    row.error("", f"plan {plan!r} has more than {MOST_LISTS} lists; leave those that are needed")
        if table.lost:
            self._plans.complete = False
        return {plan: TariffPlan(plan, tuple(entries), forbids[plan][0]) for plan, entries in lists.items()}

    def _retail_list(self, text: str) -> str:
        name = self._lists.known(text)
        if self._kinds.get(name) == "wholesale":
            raise ValueError(f"{name!r} is a wholesale list; write a retail list")
        return name

    def _read_accounts(self) -> dict[str, Account]:
        columns = (
            Column("account_id", parse.identifier),
            Column("client_id", parse.identifier),
            Column("tariff_plan_id", self._plans.known),
            Column("payment_mode", parse.one_of("prepaid", "postpaid")),
            Column("currency", parse.currency),
            Column("balance", parse.money, empty=0, field="balance_micros"),
            Column("credit_limit", parse.unsigned_money, empty=0, field="credit_limit_micros"),
            Column("critical_balance", parse.money, empty=None, field="critical_balance_micros"),
            Column("status", parse.one_of("active", "blocked", "closed")),
            Column("place", parse.identifier, empty=None),
            Column("max_concurrent_calls", parse.whole(1), empty=None),
        )
        found = {}
        for row, good in self._rows(ACCOUNTS, columns, self._accounts):
            self._note_currency(ACCOUNTS, row)
            if good:
                account = row.record(Account)
                found[account.account_id] = account
        return found

    def _read_bands(self) -> dict[str, Band]:
        columns = (
            Column("band_id", parse.identifier),
            Column("weekdays", parse.weekdays, empty=()),
            Column("start", parse.clock(1439), empty=0, field="start_minute"),
            Column("end", parse.clock(1440), empty=1440, field="end_minute"),
            Column("dates", parse.dates, empty=()),
            Column("time_zone", parse.time_zone, empty=self._zone_name),
            Column("weight", _ORDER, empty=0),
        )
        found = {}
        for row, good in self._rows(BANDS, columns, self._bands):
            if good:
                band = row.record(Band)
                found[band.band_id] = band
        return found

    def _read_prices(self) -> list[PriceRow]:
        table = self._table(PRICES, PRICE_COLUMNS, absent=("attempt_fee",))
        prices = PriceFile(table, lists=self._lists, bands=self._bands, moment=self._moment)
        prices.read()
        return prices.rows

    def _read_locks(self) -> dict[str, Lock]:
        columns = (
            Column("lock_id", parse.identifier),
            Column("kind", parse.one_of("prefix", "number")),
            Column("digits", parse.digits),
            Column("account_id", self._accounts.known, empty=None),
            Column("provider_id", self._providers.known, empty=None),
            Column("author", parse.words),
            Column("reason", parse.words),
            Column("created_at", self._moment),
        )
        found = {}
        for row, good in self._rows(LOCKS, columns, Register(LOCKS, "lock_id", "lock")):
            if (digits := row.text("digits")) in self._emergency_numbers:
                row.error("digits", f"{digits!r} is an emergency number and always passes; remove the lock")
            if good:
                lock = row.record(Lock)
                found[lock.lock_id] = lock
        return found

    def _read_numbers(self) -> dict[str, Number]:
        columns = (
            Column("number", parse.digits),
            Column("status", parse.one_of("free", "reserved", "in_use", "archive")),
            Column("account_id", self._accounts.known, empty=None),
            Column("place", parse.identifier, empty=None),
            Column("region", parse.words, empty=None),
            Column("provider_id", self._providers.known, empty=None),
            Column("fmtn", parse.yes_no, empty=False),
            Column("joined_on", parse.day, empty=None),
            Column("archived_on", parse.day, empty=None),
            Column("saleable", parse.one_of("depends_on_ncv", "forced_yes", "no"), empty="depends_on_ncv"),
        )
        found = {}
        for row, good in self._rows(NUMBERS, columns, Register(NUMBERS, "number", "number")):
            status, account_id = row.text("status"), row.text("account_id")
            if status == "in_use" and row.is_none("account_id"):
                row.error("account_id", "is empty, but the number is in use; write who uses it")
            if status in ("free", "archive") and account_id is not None:
                row.error("account_id", f"is {account_id!r}, but nobody has a number that is {status}; leave it empty")
            if good:
                number = row.record(Number)
                found[number.number] = number
        return found

    def _read_discounts(self) -> list[Discount]:
        columns = (
            Column("account_id", self._accounts.known),
            Column("service", parse.identifier, empty=None),
            Column("percent", parse.per_cent, field="percent_micros"),
            Column("valid_from", self._moment, empty=None),
            Column("valid_to", self._moment, empty=None),
        )
        found = []
        spans: dict[tuple[str, str | None], list[_Span]] = {}
        table = self._table(DISCOUNTS, [column.name for column in columns])
        for row, good in read_rows(table, columns):
            check_span(row)
            account_id, fields = row.text("account_id"), row.values
            if account_id is not None and {"service", "valid_from", "valid_to"} <= fields.keys():
                span = _Span(row.text("valid_from") or "", row.text("valid_to") or _FOR_EVER, row)
                spans.setdefault((account_id, row.text("service")), []).append(span)
            if good:
                found.append(row.record(Discount))
        for group in spans.values():
            _check_overlaps(group)
        return found

    def _note_currency(self, file: str, row: Row) -> None:
        if (currency := row.text("currency")) is not None:
            self._currencies.setdefault(currency, {}).setdefault(file, array("L")).append(row.line)

    def _check_currencies(self) -> None:
        """The operator has one currency; the one that most rows name is taken for the right one."""
        if len(self._currencies) < 2:
            return
        usual = max(self._currencies, key=lambda currency: sum(map(len, self._currencies[currency].values())))
        for currency, files in self._currencies.items():
            if currency == usual:
                continue
            for file, lines in files.items():
                for line in lines:
                    message = (
                        f"{currency!r} where most rows have {usual!r}; write one currency in all accounts and lists"
                    )
                    self._errors.add(file, line, "currency", message)


class _Span(NamedTuple):
    """The validity of a discount; "" is the beginning of time."""

    start: str
    end: str
    row: Row


MOST_LISTS = 32_767
"""Of one plan; the record numbers them with 16 bits."""

_FOR_EVER = "9999"
_ORDER = parse.whole(-parse.MAX_NUMBER)


def _check_overlaps(spans: list[_Span]) -> None:
    """Of two discounts of one account and service at one moment neither could be said to hold."""
    latest: _Span | None = None
    for span in sorted(spans, key=lambda span: (span.start, span.row.line)):
        if span.end <= span.start:
            continue
        if latest is not None and span.start < latest.end:
            first, second = sorted((latest.row, span.row), key=lambda row: row.line)
            second.error(
                "valid_from",
                f"overlaps the discount of line {first.line} for this account and service; end one of them",
            )
        if latest is None or span.end > latest.end:
            latest = span
