"""Whatever the database would refuse of a reference folder the folder's own check names first: file, line and column.

One table: for each constraint of the tables that a folder is loaded into, either a folder that breaks it, or why no
folder can. And a sweep: every column with every kind of odd text either is an error of the folder, or is loaded.
"""

import csv
import io
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from postgres import TestedDatabase
from test_reference_folder import EMERGENCY, GOOD, write

from connectors.files.reference_folder import MOST_LISTS, BrokenFolder, read_reference_folder
from connectors.postgres.database import Database
from connectors.postgres.load import LoadRefused, load_folder
from connectors.postgres.request import in_request

AT = datetime(2026, 11, 24, 18, 30, tzinfo=UTC)
LOADED = (
    "providers",
    "bands",
    "price_lists",
    "price_list_versions",
    "prices",
    "tariff_plans",
    "tariff_plan_lists",
    "clients",
    "accounts",
    "account_blocks",
    "discounts",
    "locks",
    "numbers",
)


class Broken(NamedTuple):
    """A folder that breaks a constraint: a file's line (the header is 1) with other fields; where that is told."""

    file: str
    line: int
    fields: dict[str, str]
    column: str


class Never(NamedTuple):
    """Why no folder can break it."""

    why: str


A, P, T, L, R, B, K, N, D = (
    f"{name}.csv"
    for name in (
        "accounts",
        "providers",
        "tariff_plans",
        "price_lists",
        "prices",
        "bands",
        "locks",
        "numbers",
        "discounts",
    )
)
BY_LOAD = Never("the load itself writes it")
NOT_ITS = Never("no folder says anything of it")
LATER_LIST = Never("ids are keys of the folder, and a list of another kind is refused: it can't follow what is there")

CONSTRAINTS: dict[str, Broken | Never] = {
    # domains
    "id_check": Broken(A, 2, {"account_id": "x" * 65}, "account_id"),
    "digits_check": Broken(N, 2, {"number": "1234567890123456"}, "number"),
    "words_check": Broken(K, 2, {"reason": "x" * 1001}, "reason"),
    "currency_check": Broken(A, 2, {"currency": "rub"}, "currency"),
    # accounts
    "accounts_pkey": Broken(A, 3, {"account_id": "100200"}, "account_id"),
    "accounts_client_id_fkey": BY_LOAD,
    "accounts_tariff_plan_id_fkey": Broken(A, 2, {"tariff_plan_id": "no"}, "tariff_plan_id"),
    "accounts_credit_limit_micros_check": Broken(A, 2, {"credit_limit": "-1"}, "credit_limit"),
    "accounts_max_concurrent_calls_check": Broken(A, 2, {"max_concurrent_calls": "0"}, "max_concurrent_calls"),
    "accounts_opening_status_check": Broken(A, 2, {"status": "sleeping"}, "status"),
    "accounts_status_check": Broken(A, 2, {"status": ""}, "status"),
    "accounts_payment_mode_check": Broken(A, 2, {"payment_mode": "never"}, "payment_mode"),
    "account_blocks_pkey": BY_LOAD,
    "account_blocks_account_id_fkey": BY_LOAD,
    "account_blocks_now": Never("only accounts that are new get one"),
    "account_blocks_check": NOT_ITS,
    "account_blocks_check1": NOT_ITS,
    "account_blocks_block_command_id_fkey": NOT_ITS,
    "account_blocks_unblock_command_id_fkey": NOT_ITS,
    # clients
    "clients_pkey": BY_LOAD,
    "clients_kind_check": NOT_ITS,
    "clients_inn_check": NOT_ITS,
    "clients_kpp_check": NOT_ITS,
    # providers, bands
    "providers_pkey": Broken(P, 3, {"provider_id": "megafon"}, "provider_id"),
    "bands_pkey": Broken(B, 3, {"band_id": "night"}, "band_id"),
    "bands_weekdays_check": Broken(B, 2, {"weekdays": "8"}, "weekdays"),
    "bands_start_minute_check": Broken(B, 2, {"start": "24:00"}, "start"),
    "bands_end_minute_check": Broken(B, 2, {"end": "24:01"}, "end"),
    # price lists
    "price_lists_pkey": Broken(L, 3, {"price_list_id": "R-1"}, "price_list_id"),
    "price_lists_price_list_id_kind_key": LATER_LIST,
    "price_lists_kind_check": Broken(L, 2, {"kind": "other"}, "kind"),
    "price_list_versions_pkey": BY_LOAD,
    "price_list_versions_number_check": BY_LOAD,
    "price_list_versions_prices_check": BY_LOAD,
    "price_list_versions_state_check": BY_LOAD,
    "price_list_versions_price_list_id_number_key": BY_LOAD,
    "price_list_versions_price_list_id_kind_fkey": LATER_LIST,
    "price_list_versions_provider_id_fkey": Broken(L, 3, {"provider_id": "no"}, "provider_id"),
    "price_list_versions_restores_fkey": NOT_ITS,
    "price_list_versions_check": Broken(L, 2, {"valid_to": "2025-01-01"}, "valid_to"),
    "price_list_versions_decimals_check": Broken(L, 2, {"decimals": "7"}, "decimals"),
    "price_list_versions_rounding_check": Broken(L, 2, {"rounding": "never"}, "rounding"),
    "whose_prices": Broken(L, 4, {"provider_id": ""}, "provider_id"),
    "published_has_its_date": BY_LOAD,
    "ended_has_its_reason": BY_LOAD,
    "approved_by_another": NOT_ITS,
    "approved_by_somebody": NOT_ITS,
    # prices
    "prices_tier": Broken(R, 3, {"from_second": "0"}, "prefix"),
    "prices_attempt_fee_micros_check": Broken(R, 2, {"attempt_fee": "-1"}, "attempt_fee"),
    "prices_check": Broken(R, 2, {"valid_to": "2025-12-31"}, "valid_to"),
    "prices_connect_fee_micros_check": Broken(R, 2, {"connect_fee": "-1"}, "connect_fee"),
    "prices_from_second_check": Broken(R, 3, {"from_second": "-1"}, "from_second"),
    "prices_line_check": NOT_ITS,
    "prices_max_charge_micros_check": Broken(R, 2, {"max_charge": "-1"}, "max_charge"),
    "prices_min_charge_micros_check": Broken(R, 2, {"min_charge": "-1"}, "min_charge"),
    "prices_per_seconds_check": Broken(R, 2, {"per_seconds": "0"}, "per_seconds"),
    "prices_prefix_check": Broken(R, 2, {"prefix": "74x"}, "prefix"),
    "prices_price_micros_check": Broken(R, 2, {"price": "-0.01"}, "price"),
    "prices_step_seconds_check": Broken(R, 2, {"step_seconds": "0"}, "step_seconds"),
    # plans
    "tariff_plans_pkey": Never("rows of one plan are its lists"),
    "tariff_plan_lists_pkey": Broken(T, 3, {"price_list_id": "R-1"}, "price_list_id"),
    "tariff_plan_lists_price_list_id_fkey": Broken(T, 2, {"price_list_id": "no"}, "price_list_id"),
    "tariff_plan_lists_tariff_plan_id_fkey": BY_LOAD,
    # discounts
    "discounts_pkey": BY_LOAD,
    "discounts_account_id_fkey": Broken(D, 2, {"account_id": "no"}, "account_id"),
    "discounts_check": Broken(D, 2, {"valid_to": "2025-12-31"}, "valid_to"),
    "discounts_percent_micros_check": Broken(D, 2, {"percent": "100.000001"}, "percent"),
    "discounts_account_id_service_valid_from_key": Broken(D, 3, {"valid_from": "2026-01-01"}, "valid_from"),
    # locks
    "locks_pkey": Broken(K, 4, {"lock_id": "L1"}, "lock_id"),
    "locks_account_id_fkey": Broken(K, 2, {"account_id": "no"}, "account_id"),
    "locks_provider_id_fkey": Broken(K, 2, {"provider_id": "no"}, "provider_id"),
    "locks_kind_check": Broken(K, 2, {"kind": "mask"}, "kind"),
    "locks_revision_check": BY_LOAD,
    "lifted_has_its_reason": BY_LOAD,
    # numbers
    "numbers_pkey": Broken(N, 3, {"number": "74951112233"}, "number"),
    "numbers_account_id_fkey": Broken(N, 2, {"account_id": "no"}, "account_id"),
    "numbers_provider_id_fkey": Broken(N, 2, {"provider_id": "no"}, "provider_id"),
    "numbers_status_check": Broken(N, 2, {"status": "lost"}, "status"),
    "numbers_saleable_check": Broken(N, 2, {"saleable": "maybe"}, "saleable"),
    "numbers_revision_check": BY_LOAD,
    "in_use_by_someone": Broken(N, 2, {"account_id": ""}, "account_id"),
    "free_of_everyone": Broken(N, 2, {"status": "free"}, "account_id"),
}


def with_fields(file: str, line: int, fields: dict[str, str]) -> str:
    """A file of the good folder with other fields in one row, which is named by the line that it begins on."""
    reader = csv.DictReader(io.StringIO(GOOD[file]))
    names = list(reader.fieldnames or ())
    names += [name for name in fields if name not in names]
    written = io.StringIO()
    writer = csv.DictWriter(written, names)
    writer.writeheader()
    begins = 2
    for row in reader:
        writer.writerow({**row, **fields} if begins == line else row)
        begins = reader.line_num + 1
    return written.getvalue()


def test_the_table_knows_each_constraint_of_the_tables(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        found = await db.pool.fetch(
            """
            SELECT conname FROM pg_constraint
            WHERE contype IN ('c', 'f', 'p', 'u') AND (
                contypid IN (SELECT t.oid FROM pg_type t WHERE t.typnamespace = 'office'::regnamespace)
                OR conrelid = ANY (SELECT ('office.' || name)::regclass FROM unnest($1::text[]) AS name)
            )
            UNION
            SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indisunique
              AND i.indrelid = ANY (SELECT ('office.' || name)::regclass FROM unnest($1::text[]) AS name)
            """,
            LOADED,
        )
        assert {row[0] for row in found} == CONSTRAINTS.keys()

    database.run(story)


@pytest.mark.parametrize("name", [name for name, how in CONSTRAINTS.items() if isinstance(how, Broken)])
def test_what_would_break_a_constraint_is_an_error_of_the_folder(name: str, tmp_path: Path) -> None:
    broken = CONSTRAINTS[name]
    assert isinstance(broken, Broken)
    folder = write(tmp_path, {broken.file: with_fields(broken.file, broken.line, broken.fields)})

    with pytest.raises(BrokenFolder) as caught:
        read_reference_folder(folder, emergency_numbers=EMERGENCY)

    places = {(error.file, error.line, error.column) for error in caught.value.errors}
    assert (broken.file, broken.line, broken.column) in places
    # Each says what to do.
    assert all(";" in error.message for error in caught.value.errors)


def test_a_plan_has_no_more_lists_than_the_record_can_number(tmp_path: Path) -> None:
    many = range(MOST_LISTS + 2)
    lists = "".join(f"M-{n},,retail,,RUB,up,4,,\n" for n in many)
    plans = "".join(f"basic,M-{n},1,yes\n" for n in many)
    folder = write(tmp_path, {L: GOOD[L] + lists, T: "tariff_plan_id,price_list_id,priority,forbid_loss\n" + plans})

    with pytest.raises(BrokenFolder) as caught:
        read_reference_folder(folder, emergency_numbers=EMERGENCY)

    (error,) = caught.value.errors
    assert (error.file, error.line) == (T, MOST_LISTS + 2)
    assert "more than 32767 lists" in error.message


ODD = (
    "",
    "x" * 65,
    "x" * 1001,
    "\U0001f4de" * 64,
    "a\x00b",
    "a\tb",
    "-1",
    "0",
    "1",
    "1.5",
    "32768",
    "2147483648",
    "9223372036854.775807",
    "1000000000",
    "123456789012345",
    "2000-01-01",
    "9999-12-31",
    "0001-01-01",
    "2026-01-01T00:00:00.000001Z",
    "24:00",
    "--02-29",
    "UTC",
)
"""Too long, too large, at the ends of types, of other kinds."""


def columns(file: str) -> list[str]:
    return GOOD[file].splitlines()[0].split(",") + (["attempt_fee"] if file == R else [])


@pytest.mark.parametrize("file", GOOD)
def test_an_odd_text_is_an_error_of_the_folder_or_is_loaded(
    database: TestedDatabase, file: str, tmp_path: Path
) -> None:
    """Nothing that the folder's check lets through is refused by the database, in words of its own, afterwards."""
    folders = []
    for column in columns(file):
        good = 0
        for odd in ODD:
            folder = write(tmp_path, {file: with_fields(file, 2, {column: odd})})
            with suppress(BrokenFolder):
                folders.append((column, odd, read_reference_folder(folder, emergency_numbers=EMERGENCY)))
                good += 1
        assert good < len(ODD), f"nothing is odd to {column}: its parser takes everything"
    assert folders

    async def story(db: Database) -> None:
        for column, odd, found in folders:
            try:
                async with in_request(db.pool) as pool:
                    await load_folder(pool, found, author="test", at=AT)
                    raise _TakenBack
            except _TakenBack:
                continue
            except asyncpg.PostgresError as error:
                pytest.fail(f"{file}: {column}: {odd[:70]!r} is let through, and the database says: {error}")

    database.run(story)


class _TakenBack(Exception):
    """What was loaded is undone."""


def test_a_list_that_comes_again_as_another_kind_is_refused_before_the_database_sees_it(
    database: TestedDatabase, tmp_path: Path
) -> None:
    """Though the list has been removed meanwhile: the record knows it for ever."""
    for name in "abc":
        (tmp_path / name).mkdir()
    with_list = write(tmp_path / "a", {L: GOOD[L] + "X,,retail,,RUB,up,4,,\n"})
    without = write(tmp_path / "b", {})
    other = write(tmp_path / "c", {L: GOOD[L] + "X,,wholesale,own,RUB,up,4,,\n"})

    async def story(db: Database) -> None:
        for folder in (with_list, without):
            found = read_reference_folder(folder, emergency_numbers=EMERGENCY)
            await load_folder(db.pool, found, author="test", at=AT)
        with pytest.raises(LoadRefused, match="list 'X' is retail in the database and wholesale here"):
            await load_folder(db.pool, read_reference_folder(other, emergency_numbers=EMERGENCY), author="test", at=AT)

    database.run(story)
