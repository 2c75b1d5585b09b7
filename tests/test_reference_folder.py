"""The reference folder: a good one becomes records, a broken one all of its errors, with file, line and column."""

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfoNotFoundError

import pytest

from connectors.files.reference_folder import BrokenFolder, FolderError, ReferenceFolder, read_reference_folder
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

EMERGENCY = frozenset({"112", "101"})

GOOD = {
    "accounts.csv": """\
account_id,client_id,tariff_plan_id,payment_mode,currency,balance,credit_limit,critical_balance,status,place,max_concurrent_calls
100200,c1,basic,prepaid,RUB,500.00,,-12.5,active,msk,3
100201,c1,basic,postpaid,RUB,,1000,,blocked,,
""",
    "providers.csv": """\
provider_id,name,priority,place,pdgi,own
megafon,"Москва, Мегафон",2,msk,yes,no
own,,,,,yes
""",
    "tariff_plans.csv": """\
tariff_plan_id,price_list_id,priority,forbid_loss
basic,R-1,1,yes
basic,R-2,,yes
""",
    "price_lists.csv": """\
price_list_id,name,kind,provider_id,currency,rounding,decimals,valid_from,valid_to
R-1,Розница,retail,,RUB,up,4,2026-01-01,
R-2,,retail,megafon,RUB,half_up,2,,
W-MEG,Опт,wholesale,megafon,RUB,down,6,,2026-06-30T21:00:00Z
""",
    "prices.csv": """\
price_list_id,prefix,service,place,incoming_service,band_id,from_second,connect_fee,price,per_seconds,step_seconds,min_charge,max_charge,valid_from,valid_to
R-1,7495,outgoing,,,,0,0.40,3.00,60,60,0.5,100,2026-01-01,2027-01-01
R-1,7495,outgoing,,,,60,,2.50,60,1,,,2026-01-01,2027-01-01
R-1,7495,outgoing,,,night,,,1,60,60,,,2026-01-01,2027-01-01
R-1,,,msk,pbx,,,,9.99,60,60,,,,
W-MEG,7495,,,,,0,,0.016667,1,1,,,,
""",
    "bands.csv": """\
band_id,weekdays,start,end,dates,time_zone,weight
night,1-3;5,22:00,06:00,,,
holiday,,,,2026-01-01;--05-09,Asia/Omsk,10
""",
    "locks.csv": """\
lock_id,kind,digits,account_id,provider_id,author,reason,created_at
L1,prefix,38,100200,megafon,ivanov,"Fraud, ""PBX""
of the client",2026-03-01T12:00:00+03:00
L2,number,381114112060,,,petrov,asked,2026-03-01
""",
    "numbers.csv": """\
number,status,account_id,place,region,provider_id,fmtn,joined_on,archived_on,saleable
74951112233,in_use,100200,msk,Москва,own,,2020-02-29,,
74951112234,archive,,Агентские номера,,,yes,,2026-02-01,forced_yes
""",
    "discounts.csv": """\
account_id,service,percent,valid_from,valid_to
100200,outgoing,12.5,2026-01-01,2026-02-01
100200,outgoing,10,2026-02-01,
100200,,5,,
""",
}

JAN_2026 = "2025-12-31T21:00:00.000Z"
JAN_2027 = "2026-12-31T21:00:00.000Z"


def write(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """The good folder with some of its files replaced (None: removed)."""
    for name, content in {**GOOD, **files}.items():
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder: Path) -> ReferenceFolder:
    return read_reference_folder(folder, emergency_numbers=EMERGENCY)


def errors_of(folder: Path) -> list[str]:
    with pytest.raises(BrokenFolder) as caught:
        read(folder)
    assert [str(error) for error in caught.value.errors] == str(caught.value).splitlines()
    return [str(error) for error in caught.value.errors]


def swapped(name: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """One file of the good folder with one text in it replaced."""
    assert GOOD[name].count(old) == 1, (name, old)
    return {name: GOOD[name].replace(old, new)}


def more(name: str, *rows: str) -> dict[str, str | bytes | None]:
    """One file of the good folder with more rows at its end."""
    return {name: GOOD[name] + "".join(f"{row}\n" for row in rows)}


def test_a_good_folder_becomes_its_records(tmp_path: Path) -> None:
    found = read(write(tmp_path, {}))

    assert found.accounts == {
        "100200": Account(
            "100200",
            "c1",
            "basic",
            "prepaid",
            "RUB",
            500_000_000,
            0,
            -12_500_000,
            "active",
            "msk",
            max_concurrent_calls=3,
        ),
        "100201": Account("100201", "c1", "basic", "postpaid", "RUB", 0, 1_000_000_000, None, "blocked", None, None),
    }
    assert found.providers == {
        "megafon": Provider("megafon", "Москва, Мегафон", 2, "msk", pdgi=True, own=False),
        "own": Provider("own", "own", 0, None, pdgi=False, own=True),
    }
    assert found.tariff_plans == {
        "basic": TariffPlan("basic", (PlanList("R-1", 1), PlanList("R-2", 0)), forbid_loss=True)
    }
    assert found.price_lists == {
        "R-1": PriceList("R-1", "Розница", "retail", None, "RUB", "up", 4, JAN_2026, None),
        "R-2": PriceList("R-2", "R-2", "retail", "megafon", "RUB", "half_up", 2, None, None),
        "W-MEG": PriceList(
            "W-MEG", "Опт", "wholesale", "megafon", "RUB", "down", 6, None, valid_to="2026-06-30T21:00:00.000Z"
        ),
    }
    year = (JAN_2026, JAN_2027)
    assert list(found.prices) == [
        PriceRow(
            "R-1", "7495", "outgoing", None, None, None, 0, 400_000, 3_000_000, 60, 60, 500_000, 100_000_000, *year
        ),
        PriceRow("R-1", "7495", "outgoing", None, None, None, 60, 0, 2_500_000, 60, 1, None, None, *year),
        PriceRow("R-1", "7495", "outgoing", None, None, "night", 0, 0, 1_000_000, 60, 60, None, None, *year),
        PriceRow("R-1", "", None, "msk", "pbx", None, 0, 0, 9_990_000, 60, 60, None, None, None, None),
        PriceRow("W-MEG", "7495", None, None, None, None, 0, 0, 16_667, 1, 1, None, None, None, None),
    ]
    assert found.bands == {
        "night": Band("night", (1, 2, 3, 5), 1320, 360, (), "Europe/Moscow", 0),
        "holiday": Band("holiday", (), 0, 1440, ("--05-09", "2026-01-01"), "Asia/Omsk", 10),
    }
    assert found.locks == {
        "L1": Lock(
            "L1",
            "prefix",
            "38",
            "100200",
            "megafon",
            "ivanov",
            'Fraud, "PBX"\nof the client',
            created_at="2026-03-01T09:00:00.000Z",
        ),
        "L2": Lock("L2", "number", "381114112060", None, None, "petrov", "asked", "2026-02-28T21:00:00.000Z"),
    }
    assert found.numbers == {
        "74951112233": Number(
            "74951112233", "in_use", "100200", "msk", "Москва", "own", False, "2020-02-29", None, "depends_on_ncv"
        ),
        "74951112234": Number(
            "74951112234", "archive", None, "Агентские номера", None, None, True, None, "2026-02-01", "forced_yes"
        ),
    }
    february = "2026-01-31T21:00:00.000Z"
    assert list(found.discounts) == [
        Discount("100200", "outgoing", 12_500_000, JAN_2026, february),
        Discount("100200", "outgoing", 10_000_000, february, None),
        Discount("100200", None, 5_000_000, None, None),
    ]


def test_spaces_a_byte_order_mark_crlf_blank_lines_and_the_order_of_columns_do_not_matter(tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {}
    for name, text in GOOD.items():
        if name == "locks.csv":  # its reason has a line end of its own
            continue
        rows = [line.split(",") for line in text.replace('"Москва, Мегафон"', "Мегафон").splitlines()]
        turned = ["  , ".join([*reversed(row), "note"]) + " " for row in rows]
        files[name] = "\ufeff" + "\r\n\r\n  \r\n".join(turned)
    plain = tmp_path / "plain"
    turned_folder = tmp_path / "turned"
    plain.mkdir()
    turned_folder.mkdir()

    assert read(write(turned_folder, files)) == read(
        write(plain, swapped("providers.csv", '"Москва, Мегафон"', "Мегафон"))
    )


def test_a_quoted_field_may_have_spaces_around_its_quotes_and_within(tmp_path: Path) -> None:
    found = read(write(tmp_path, more("providers.csv", 'p, " Связь, ООО ",,,,')))

    assert found.providers["p"].name == "Связь, ООО"


def test_files_of_what_an_operator_may_lack_may_be_missing(tmp_path: Path) -> None:
    prices = GOOD["prices.csv"].replace("night", "")
    prices = "\n".join(line for line in prices.splitlines() if ",,,1,60" not in line)
    missing = dict.fromkeys(("bands.csv", "locks.csv", "numbers.csv", "discounts.csv"))

    found = read(write(tmp_path, {**missing, "prices.csv": prices}))

    assert (found.bands, found.locks, found.numbers, list(found.discounts)) == ({}, {}, {}, [])
    assert len(found.prices) == 4


def test_an_attempt_fee_is_read_where_the_column_is_there(tmp_path: Path) -> None:
    lines = GOOD["prices.csv"].splitlines()
    fees = ["attempt_fee", "0.25", "0.25", "", "", ""]

    found = read(write(tmp_path, {"prices.csv": "\n".join(map(",".join, zip(lines, fees, strict=True)))}))

    assert [row.attempt_fee_micros for row in found.prices] == [250_000, 250_000, 0, 0, 0]


def test_a_date_is_midnight_of_the_business_time_zone(tmp_path: Path) -> None:
    folder = write(tmp_path, {})

    found = read_reference_folder(folder, business_time_zone="Asia/Vladivostok", emergency_numbers=EMERGENCY)

    assert found.price_lists["R-1"].valid_from == "2025-12-31T14:00:00.000Z"
    assert found.bands["night"].time_zone == "Asia/Vladivostok"
    assert found.locks["L1"].created_at == "2026-03-01T09:00:00.000Z"
    with pytest.raises(ZoneInfoNotFoundError):
        read_reference_folder(folder, business_time_zone="Mars/Base", emergency_numbers=EMERGENCY)


def test_equal_start_and_end_are_a_whole_day_and_midnight_may_end_a_band(tmp_path: Path) -> None:
    files = swapped("bands.csv", "holiday,,,,", "all,,08:00,08:00,,,\nlate,7,23:00,24:00,,,\nholiday,,,,")

    found = read(write(tmp_path, files))

    assert (found.bands["all"].start_minute, found.bands["all"].end_minute) == (480, 480)
    assert (found.bands["late"].start_minute, found.bands["late"].end_minute) == (1380, 1440)


def test_rows_that_differ_in_one_thing_are_not_alike(tmp_path: Path) -> None:
    row = "R-2,7495,outgoing,msk,pbx,night,{},,1,60,60,,,2026-01-01,2027-01-01"
    rows = [
        row.format(0),
        row.format(60),
        row.format(0).replace("7495", "749"),
        row.format(0).replace("outgoing", ""),
        row.format(0).replace("msk", "spb"),
        row.format(0).replace("pbx", ""),
        row.format(0).replace("night", "holiday"),
        row.format(0).replace("2026", "2025"),
        row.format(0).replace("2027", "2028"),
        row.format(0).replace("R-2", "R-1"),
        "R-2,1,,,,,0,,1,60,60,2,2.00,,",
    ]

    assert len(read(write(tmp_path, more("prices.csv", *rows))).prices) == 5 + len(rows)


def test_a_later_tier_may_stand_above_its_first_and_repeat_its_fees(tmp_path: Path) -> None:
    rows = ["R-2,1,,,,,30,0.40,1,60,6,0.10,5.00,,", "R-2,1,,,,,0,0.4,1,60,30,0.1,5,,"]

    assert len(read(write(tmp_path, more("prices.csv", *rows))).prices) == 7


P = "R-2,1,,,,,0,,1,60,60,,,,"  # a price that is added to the good ones, as line 7

BROKEN: list[tuple[str, dict[str, str | bytes | None], list[str]]] = [
    # the files
    (
        "a mandatory file is missing",
        {"accounts.csv": None, "price_lists.csv": None},
        ["accounts.csv: the file is missing;", "price_lists.csv: the file is missing;"],
    ),
    (
        "an empty file has no header row",
        {"accounts.csv": "", "locks.csv": "\n"},
        ["accounts.csv:1: the header row is missing;", "locks.csv:1: the header row is missing;"],
    ),
    (
        "a column is missing",
        {"prices.csv": GOOD["prices.csv"].replace("per_seconds", "per").replace("price_list_id,", "list,")},
        ["prices.csv:1: price_list_id: the column is missing;", "prices.csv:1: per_seconds: the column is missing;"],
    ),
    (
        "a column is named twice",
        swapped("tariff_plans.csv", "priority", "price_list_id"),
        [
            "tariff_plans.csv:1: price_list_id: the header row names the column twice;",
            "tariff_plans.csv:1: priority: the column is missing;",
        ],
    ),
    (
        "columns are separated by semicolons",
        {"tariff_plans.csv": GOOD["tariff_plans.csv"].replace(",", ";")},
        ["tariff_plans.csv:1: the columns are separated by semicolons;"],
    ),
    (
        "a row has too few or too many fields",
        more("tariff_plans.csv", "basic", "p,R-1,1,no,", "p,R-9,1,no"),
        [
            "tariff_plans.csv:4: has 1 field where the header names 4;",
            "tariff_plans.csv:5: has 5 fields where the header names 4;",
            "tariff_plans.csv:6: price_list_id: no price list 'R-9' in price_lists.csv;",
        ],
    ),
    (
        "a quote that is never closed does not swallow the lines below",
        more("price_lists.csv", 'R-3,"Опт,retail,,RUB,up,4,,', "R-4,,retail,,RUB,up,7,,"),
        [
            "price_lists.csv:5: a quote opened in it is never closed;",
            "price_lists.csv:6: decimals: '7' is not a whole number from 0 to 6;",
        ],
    ),
    (
        "a quote that is closed some lines below does not swallow the lines between",
        more("price_lists.csv", 'R-3,"a,retail,,RUB,up,4,,', "R-4,,retail,,RUB,up,7,,", 'R-5,b",retail,,RUB,up,4,,,'),
        [
            "price_lists.csv:5: has 10 fields where the header names 9: a quote opened in it is closed 2 lines below;",
            "price_lists.csv:6: decimals: '7' is not",
            "price_lists.csv:7: has 10 fields where the header names 9;",
        ],
    ),
    (
        "a closing quote stands in the middle of a field",
        more("providers.csv", '"a"b,,,,,', "c,,x,,,"),
        ["providers.csv:4: a closing quote is not followed by a comma;", "providers.csv:5: priority: 'x' is not"],
    ),
    (
        "lines are counted as an editor counts them",
        more("locks.csv", "L3,prefix,x,,,a,b,2026-01-01"),
        ["locks.csv:5: digits: 'x' is not 1 to 15 digits;"],
    ),
    (
        "bytes are no UTF-8, or NUL",
        {
            "providers.csv": GOOD["providers.csv"].encode() + "a,Мегафон,,,,\nb,,,,,\n".encode("cp1251"),
            "numbers.csv": GOOD["numbers.csv"].encode() + b"7495,free,,,x\0y,,,,,\n",
        },
        ["providers.csv:4: name: has bytes that are no text;", "numbers.csv:4: region: has bytes that are no text;"],
    ),
    (
        "a file is UTF-16",
        {"providers.csv": GOOD["providers.csv"].encode("utf-16")},
        ["providers.csv:1: has bytes that are no text;"],
    ),
    # accounts
    (
        "fields of an account",
        {
            **more(
                "accounts.csv",
                ",,,,,x,-1,y,,,0",
                f"{'1' * 65},c,basic,paid,rub,1_000,1e3,1.1234567,open,\tx\x01,1.5",
                "100200,c1,basic,prepaid,RUB,1,,,active,,",
                "a,c,other,prepaid,RUB,1,,,active,,1000000001",
            ),
        },
        [
            "accounts.csv:4: account_id: is empty;",
            "accounts.csv:4: client_id: is empty;",
            "accounts.csv:4: tariff_plan_id: is empty;",
            "accounts.csv:4: payment_mode: '' is not known; write prepaid or postpaid",
            "accounts.csv:4: currency: '' is not a currency;",
            "accounts.csv:4: balance: 'x' is not an amount of money;",
            "accounts.csv:4: credit_limit: '-1' is below zero;",
            "accounts.csv:4: critical_balance: 'y' is not an amount of money;",
            "accounts.csv:4: status: '' is not known; write active or blocked or closed",
            "accounts.csv:4: max_concurrent_calls: '0' is not a whole number from 1 to",
            "accounts.csv:5: account_id: '11111111111111111111'… has 65 characters; write at most 64",
            "accounts.csv:5: payment_mode: 'paid' is not known;",
            "accounts.csv:5: currency: 'rub' is not a currency;",
            "accounts.csv:5: balance: '1_000' is not an amount of money;",
            "accounts.csv:5: credit_limit: '1e3' is not an amount of money;",
            "accounts.csv:5: critical_balance: '1.1234567' has more than six decimals;",
            "accounts.csv:5: status: 'open' is not known;",
            "accounts.csv:5: place: 'x\\x01' has line ends, tabs or control characters;",
            "accounts.csv:5: max_concurrent_calls: '1.5' is not a whole number",
            "accounts.csv:6: account_id: '100200' is on line 2 too;",
            "accounts.csv:7: tariff_plan_id: no tariff plan 'other' in tariff_plans.csv;",
            "accounts.csv:7: max_concurrent_calls: '1000000001' is not",
        ],
    ),
    (
        "the operator has one currency",
        {
            **more("accounts.csv", "3,c,basic,prepaid,USD,,,,active,,"),
            **swapped("price_lists.csv", "R-2,,retail,megafon,RUB", "R-2,,retail,megafon,USD"),
        },
        [
            "accounts.csv:4: currency: 'USD' where most rows have 'RUB';",
            "price_lists.csv:3: currency: 'USD' where most rows have 'RUB';",
        ],
    ),
    # providers, plans, lists
    (
        "fields of a provider",
        more("providers.csv", "p,n,1.0,,maybe,YES", "own,n,1,,no,no"),
        [
            "providers.csv:4: priority: '1.0' is not a whole number",
            "providers.csv:4: pdgi: 'maybe' is not known; write yes or no",
            "providers.csv:4: own: 'YES' is not known;",
            "providers.csv:5: provider_id: 'own' is on line 3 too;",
        ],
    ),
    (
        "rows of a tariff plan",
        more("tariff_plans.csv", "basic,R-1,3,no", "p,W-MEG,1,no", "q,R-9,,", ",R-1,,"),
        [
            "tariff_plans.csv:4: price_list_id: plan 'basic' has list 'R-1' on line 2 too;",
            "tariff_plans.csv:4: forbid_loss: plan 'basic' says yes on line 2;",
            "tariff_plans.csv:5: price_list_id: 'W-MEG' is a wholesale list; write a retail list",
            "tariff_plans.csv:6: price_list_id: no price list 'R-9' in price_lists.csv;",
            "tariff_plans.csv:7: tariff_plan_id: is empty;",
        ],
    ),
    (
        "fields of a price list",
        more(
            "price_lists.csv",
            "R-1,,both,nobody,RUB,,,2026-02-30,26-01-01",
            "W,,wholesale,,RUB,up,0,2026-02-01,2026-02-01",
            "X,,retail,,RUB,up,0,2026-02-01,2026-01-31T20:59:59+00:00",
            "Y,,retail,,RUB,up,0,2026-02-01T00:00:00,9999-12-31",
        ),
        [
            "price_lists.csv:5: price_list_id: 'R-1' is on line 2 too;",
            "price_lists.csv:5: kind: 'both' is not known; write retail or wholesale",
            "price_lists.csv:5: provider_id: no provider 'nobody' in providers.csv;",
            "price_lists.csv:5: rounding: '' is not known; write up or half_up or down",
            "price_lists.csv:5: decimals: '' is not a whole number from 0 to 6;",
            "price_lists.csv:5: valid_from: '2026-02-30' is not in the calendar;",
            "price_lists.csv:5: valid_to: '26-01-01' is not a moment;",
            "price_lists.csv:6: provider_id: a wholesale list without a provider;",
            "price_lists.csv:6: valid_to: 2026-01-31T21:00:00.000Z is not after valid_from 2026-01-31T21:00:00.000Z;",
            "price_lists.csv:7: valid_to: 2026-01-31T20:59:59.000Z is not after",
            "price_lists.csv:8: valid_from: '2026-02-01T00:00:00' names no time zone;",
            "price_lists.csv:8: valid_to: '9999-12-31' lies outside the years 2000-2099; leave the field empty",
        ],
    ),
    # prices
    (
        "fields of a price",
        more(
            "prices.csv",
            "R-9,+7,,,,dusk,-1,-1,,0,,x,-2,2026-13-01,z",
            f"R-2,1234567890123456,{'s' * 65},,,,0,12.50.1,-0.01,60,0.5,,,,",
            "R-2,٣,,,,,0,,1,31622401,+,,,,",
        ),
        [
            "prices.csv:7: price_list_id: no price list 'R-9' in price_lists.csv;",
            "prices.csv:7: prefix: '+7' is not 1 to 15 digits;",
            "prices.csv:7: band_id: no band 'dusk' in bands.csv;",
            "prices.csv:7: from_second: '-1' is not a whole number from 0 to",
            "prices.csv:7: connect_fee: '-1' is below zero;",
            "prices.csv:7: price: '' is not an amount of money;",
            "prices.csv:7: per_seconds: '0' is not a whole number from 1 to",
            "prices.csv:7: step_seconds: '' is not a whole number from 1 to",
            "prices.csv:7: min_charge: 'x' is not an amount of money;",
            "prices.csv:7: max_charge: '-2' is below zero;",
            "prices.csv:7: valid_from: '2026-13-01' is not in the calendar;",
            "prices.csv:7: valid_to: 'z' is not a moment;",
            "prices.csv:8: prefix: '1234567890123456' is not 1 to 15 digits;",
            "prices.csv:8: service: 'ssssssssssssssssssss'… has 65 characters;",
            "prices.csv:8: connect_fee: '12.50.1' is not an amount of money;",
            "prices.csv:8: price: '-0.01' is below zero;",
            "prices.csv:8: step_seconds: '0.5' is not a whole number",
            "prices.csv:9: prefix: '٣' is not 1 to 15 digits;",
            "prices.csv:9: per_seconds: '31622401' is not",
            "prices.csv:9: step_seconds: '+' is not",
        ],
    ),
    (
        "two prices are alike",
        more("prices.csv", P, P, P.replace(",1,60,60", ",x,60,60"), "R-1,,,msk, pbx ,,0,,1,1,1,,,,"),
        [
            "prices.csv:8: prefix: prefix '1' is on line 7 too,",
            "prices.csv:9: prefix: prefix '1' is on line 7 too,",
            "prices.csv:9: price: 'x' is not an amount of money;",
            "prices.csv:10: prefix: the default price is on line 5 too,",
        ],
    ),
    (
        "the same validity in two spellings is the same",
        more(
            "prices.csv",
            "R-2,1,,,,,0,,1,60,60,,,2026-01-01,",
            "R-2,1,,,,,0,,1,60,60,,,2025-12-31T21:00:00Z,",
        ),
        ["prices.csv:8: prefix: prefix '1' is on line 7 too,"],
    ),
    (
        "a band has no tier from second 0",
        more(
            "prices.csv",
            P,
            "R-2,1,,,,night,60,,1,60,60,,,,",
            "R-2,1,,,,night,30,,1,60,60,,,,",
            "R-2,2,,,,,60,,1,60,60,,,,",
            "R-2,1,,,,,60,,1,60,60,,,2026-01-01,",
        ),
        [
            "prices.csv:9: from_second: prefix '1' has no tier from second 0 here;",
            "prices.csv:10: from_second: prefix '2' has no tier",
            "prices.csv:11: from_second: prefix '1' has no tier",
        ],
    ),
    (
        "a first tier that can't be read is not called missing",
        more(
            "prices.csv",
            "R-2,1,,,,,x,,1,60,60,,,,",
            "R-2,1,,,,,60,,1,60,60,,,,",
            "R-2,2,,,,,0,,x,60,60,,,,",
            "R-2,2,,,,,60,5,1,60,60,,,,",
            "R-2,3,,,,,60,,1,60,60,,,,",
        ),
        [
            "prices.csv:7: from_second: 'x' is not",
            "prices.csv:9: price: 'x' is not",
            "prices.csv:11: from_second: prefix '3' has no tier from second 0",
        ],
    ),
    (
        "a row that can't be read may have been the first tier",
        more("prices.csv", "R-2,1,,,,,0,,1,60,60,,,", "R-2,1,,,,,60,,1,60,60,,,,"),
        ["prices.csv:7: has 14 fields where the header names 15;"],
    ),
    (
        "fees of later tiers differ from those of the first",
        {
            "prices.csv": GOOD["prices.csv"].splitlines()[0]
            + ",attempt_fee\n"
            + "R-2,1,,,,,0,0.40,1,60,60,1,9,,,\n"
            + "R-2,1,,,,,30,0.41,1,60,60,,,,,\n"
            + "R-2,1,,,,,60,0,1,60,60,2,8,,,0.1\n"
            + "R-2,2,,,,,60,,1,60,60,0,,,,\n"
            + "R-2,2,,,,,0,,1,60,60,,,,,\n"
        },
        [
            "prices.csv:3: connect_fee: 0.41 differs from that of the tier from second 0;",
            "prices.csv:4: min_charge: 2.00 differs",
            "prices.csv:4: max_charge: 8.00 differs",
            "prices.csv:4: attempt_fee: 0.10 differs",
            "prices.csv:5: min_charge: 0.00 differs",
        ],
    ),
    (
        "a minimum above the maximum, a validity that ends before it begins",
        more(
            "prices.csv",
            "R-2,1,,,,,0,,1,60,60,2,1.999999,2026-01-02,2026-01-01",
            "R-2,2,,,,,,,x,1,1,2,1,2026-01-02,2026-01-02",
        ),
        [
            "prices.csv:7: max_charge: 1.999999 is below min_charge 2.00;",
            "prices.csv:7: valid_to: 2025-12-31T21:00:00.000Z is not after valid_from 2026-01-01T21:00:00.000Z;",
            "prices.csv:8: price: 'x' is not",
            "prices.csv:8: max_charge: 1.00 is below",
            "prices.csv:8: valid_to: 2026-01-01T21:00:00.000Z is not after",
        ],
    ),
    # bands
    (
        "fields of a band",
        more(
            "bands.csv",
            "a,0,24:00,24:01,2026-02-29,Europe/Mosow,x",
            "b,5-1,8:00,23:60,--02-30,Europe,",
            "c,1;;2,12.00,99:00,01-01,../x,",
            "d,1-5-6,,,2026-01-01;;2026-01-02,,",
            "night,1,,,--02-29,UTC,",
        ),
        [
            "bands.csv:4: weekdays: '0' are no days of the week; write them as 1-5 or 6;7,",
            "bands.csv:4: start: '24:00' is not a time of day; write HH:MM from 00:00 to 23:59",
            "bands.csv:4: end: '24:01' is not a time of day; write HH:MM from 00:00 to 24:00",
            "bands.csv:4: dates: '2026-02-29' is not in the calendar;",
            "bands.csv:4: time_zone: 'Europe/Mosow' is not a time zone;",
            "bands.csv:4: weight: 'x' is not a whole number",
            "bands.csv:5: weekdays: '5-1' are no days of the week;",
            "bands.csv:5: start: '8:00' is not a time of day;",
            "bands.csv:5: end: '23:60' is not a time of day;",
            "bands.csv:5: dates: '--02-30' is in no year's calendar;",
            "bands.csv:5: time_zone: 'Europe' is not a time zone;",
            "bands.csv:6: weekdays: '1;;2' are no days of the week;",
            "bands.csv:6: start: '12.00' is not a time of day;",
            "bands.csv:6: end: '99:00' is not a time of day;",
            "bands.csv:6: dates: '01-01' is not a date;",
            "bands.csv:6: time_zone: '../x' is not a time zone;",
            "bands.csv:7: weekdays: '1-5-6' are no days of the week;",
            "bands.csv:7: dates: '' is not a date;",
            "bands.csv:8: band_id: 'night' is on line 2 too;",
        ],
    ),
    # locks
    (
        "fields of a lock",
        more("locks.csv", "L1,mask,+38,x,y,,,", f"L3,prefix,{'1' * 16},,,a,{'w' * 1001},yesterday"),
        [
            "locks.csv:5: lock_id: 'L1' is on line 2 too;",
            "locks.csv:5: kind: 'mask' is not known; write prefix or number",
            "locks.csv:5: digits: '+38' is not 1 to 15 digits;",
            "locks.csv:5: account_id: no account 'x' in accounts.csv;",
            "locks.csv:5: provider_id: no provider 'y' in providers.csv;",
            "locks.csv:5: author: is empty;",
            "locks.csv:5: reason: is empty;",
            "locks.csv:5: created_at: '' is not a moment;",
            "locks.csv:6: digits: '1111111111111111' is not",
            "locks.csv:6: reason: has 1001 characters; write at most 1000",
            "locks.csv:6: created_at: 'yesterday' is not a moment;",
        ],
    ),
    (
        "an emergency number can't be locked, as a number or a prefix",
        more(
            "locks.csv",
            "L3,number,112,,,a,b,2026-01-01",
            "L4,prefix,101,,,a,b,2026-01-01",
            "L5,prefix,11,,,a,b,2026-01-01",
        ),
        [
            "locks.csv:5: digits: '112' is an emergency number and always passes;",
            "locks.csv:6: digits: '101' is an emergency number and always passes;",
        ],
    ),
    # numbers
    (
        "fields of a number",
        more(
            "numbers.csv",
            "x,lost,nobody,,,nobody,1,2026-1-1,2026-02-30,yes",
            "74951112233,free,,,,,,,,",
            "1,in_use,,,,,,,,",
            "2,free,100200,,,,,,,",
            "3,archive,100200,,,,,,,",
            "4,reserved,100200,,,,,,,",
            "5,reserved,,,,,,,,",
        ),
        [
            "numbers.csv:4: number: 'x' is not 1 to 15 digits;",
            "numbers.csv:4: status: 'lost' is not known; write free or reserved or in_use or archive",
            "numbers.csv:4: account_id: no account 'nobody' in accounts.csv;",
            "numbers.csv:4: provider_id: no provider 'nobody' in providers.csv;",
            "numbers.csv:4: fmtn: '1' is not known; write yes or no",
            "numbers.csv:4: joined_on: '2026-1-1' is not a day;",
            "numbers.csv:4: archived_on: '2026-02-30' is not in the calendar;",
            "numbers.csv:4: saleable: 'yes' is not known; write depends_on_ncv or forced_yes or no",
            "numbers.csv:5: number: '74951112233' is on line 2 too;",
            "numbers.csv:6: account_id: is empty, but the number is in use;",
            "numbers.csv:7: account_id: is '100200', but nobody has a number that is free;",
            "numbers.csv:8: account_id: is '100200', but nobody has a number that is archive;",
        ],
    ),
    # discounts
    (
        "fields of a discount",
        more(
            "discounts.csv",
            "x,,100.000001,,",
            ",,-1,2026-01-02,2026-01-01",
            "100201,,ten,,",
            "100201,a,0,,",
            "100201,b,100,,",
        ),
        [
            "discounts.csv:5: account_id: no account 'x' in accounts.csv;",
            "discounts.csv:5: percent: '100.000001' is not a percentage;",
            "discounts.csv:6: account_id: is empty;",
            "discounts.csv:6: percent: '-1' is not a percentage;",
            "discounts.csv:6: valid_to: 2025-12-31T21:00:00.000Z is not after",
            "discounts.csv:7: percent: 'ten' is not a percentage;",
        ],
    ),
    (
        "discounts of one account and service overlap",
        more(
            "discounts.csv",
            "100200,outgoing,1,2025-01-01,2026-01-02",
            "100200,,1,2030-01-01,2030-01-02",
            "100201,outgoing,1,,2026-01-01",
            "100201,outgoing,1,2026-01-01,2026-01-03",
            "100201,outgoing,1,2026-01-02,",
            "100201,a,1,2026-01-01,2026-12-01",
            "100201,a,1,2026-02-01,2026-03-01",
            "100201,a,1,2026-04-01,2026-05-01",
            "100201,b,1,2026-03-01,2026-01-01",
            "100201,b,1,2026-02-01,2026-04-01",
        ),
        [
            "discounts.csv:5: valid_from: overlaps the discount of line 2 for this account and service;",
            "discounts.csv:6: valid_from: overlaps the discount of line 4",
            "discounts.csv:9: valid_from: overlaps the discount of line 8",
            "discounts.csv:11: valid_from: overlaps the discount of line 10",
            "discounts.csv:12: valid_from: overlaps the discount of line 10",
            "discounts.csv:13: valid_to: 2025-12-31T21:00:00.000Z is not after",
        ],
    ),
    # what is bad is not also called unknown
    (
        "what refers to a row with a bad field is not wrong",
        {
            **more("providers.csv", "p,,x,,,"),
            **more("price_lists.csv", "W-P,,wholesale,p,RUB,up,9,,", "R-P,,retail,,RUB,up,9,,"),
            **more("tariff_plans.csv", "plan,R-P,x,"),
            **more("accounts.csv", "a,c,plan,prepaid,RUB,x,,,active,,"),
            **more("bands.csv", "noon,,12,,,,"),
            **more("prices.csv", "W-P,1,,,,noon,0,,1,1,1,,,,"),
            **more("locks.csv", "L3,prefix,3,a,p,i,r,2026-01-01"),
        },
        [
            "accounts.csv:4: balance: 'x' is not",
            "providers.csv:4: priority: 'x' is not",
            "tariff_plans.csv:4: priority: 'x' is not",
            "price_lists.csv:5: decimals: '9' is not",
            "price_lists.csv:6: decimals: '9' is not",
            "bands.csv:4: start: '12' is not",
        ],
    ),
    (
        "where ids can't be read nothing is called unknown",
        {
            "providers.csv": "id\n",
            "accounts.csv": None,
            **swapped("tariff_plans.csv", "basic,R-1", ",R-1"),
            **more("bands.csv", '"a"b,,,,,,'),
            **more("prices.csv", "R-1,9,,,,dusk,0,,1,1,1,,,,"),
        },
        [
            "accounts.csv: the file is missing;",
            "providers.csv:1: provider_id: the column is missing;",
            "providers.csv:1: name: the column is missing;",
            "providers.csv:1: priority: the column is missing;",
            "providers.csv:1: place: the column is missing;",
            "providers.csv:1: pdgi: the column is missing;",
            "providers.csv:1: own: the column is missing;",
            "tariff_plans.csv:2: tariff_plan_id: is empty;",
            "bands.csv:4: a closing quote is not followed by a comma;",
        ],
    ),
    (
        "an id that can't be read may be the one that seems unknown",
        {
            **more("providers.csv", ",,,,,"),
            **more("tariff_plans.csv", ",R-1,1,"),
            **more("price_lists.csv", "W,,wholesale,beeline,RUB,up,4,,"),
            **more("accounts.csv", "a,c,plan,prepaid,RUB,,,,active,,"),
        },
        ["providers.csv:4: provider_id: is empty;", "tariff_plans.csv:4: tariff_plan_id: is empty;"],
    ),
    (
        "an absent band file has no bands",
        {"bands.csv": None},
        ["prices.csv:4: band_id: no band 'night' in bands.csv;"],
    ),
]


@pytest.mark.parametrize(("files", "expected"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_a_broken_folder_is_refused_with_all_its_errors(
    tmp_path: Path, files: Mapping[str, str | bytes | None], expected: list[str]
) -> None:
    found = errors_of(write(tmp_path, files))

    assert [text[: len(start)] for text, start in zip(found, expected, strict=False)] == expected
    assert found[len(expected) :] == []
    assert all(";" in text for text in found), "each error names its remedy"


def test_the_errors_of_all_files_come_at_once_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {}
    for name, text in GOOD.items():
        width = text.splitlines()[0].count(",")
        files[name] = text + "x," * (width + 1) + "x\n"

    found = errors_of(write(tmp_path, files))

    assert [text.split(":")[0] for text in found] == list(GOOD)
    assert all("fields where the header names" in text for text in found)


def test_an_error_says_where_it_stands() -> None:
    assert str(FolderError("prices.csv", 17, "price", "why; how")) == "prices.csv:17: price: why; how"
    assert str(FolderError("prices.csv", 17, "", "why; how")) == "prices.csv:17: why; how"
    assert str(FolderError("prices.csv", 0, "", "why; how")) == "prices.csv: why; how"


def test_a_folder_that_is_none_is_an_error_too(tmp_path: Path) -> None:
    assert errors_of(tmp_path / "nowhere")[0].endswith("is not a folder; name one that holds the CSV files")

    write(tmp_path, {"locks.csv": None})
    (tmp_path / "locks.csv").mkdir()
    assert errors_of(tmp_path) == ["locks.csv: the file can't be read (Is a directory); make it a readable file"]


@pytest.mark.parametrize("name", GOOD)
def test_a_damaged_file_never_crashes_the_reader(tmp_path: Path, name: str) -> None:
    """Bytes all over the file become a quote, a comma, a line end, a NUL or no UTF-8: there are records or errors."""
    write(tmp_path, {})
    whole = GOOD[name].encode()
    named = set()
    for place in range(0, len(whole), 7):
        damage = (b'"', b",", b"\n", b"\r", b"\0", b"\xff")[place // 7 % 6]
        (tmp_path / name).write_bytes(whole[:place] + damage + whole[place + 1 :])
        try:
            read(tmp_path)
        except BrokenFolder as broken:
            named |= {error.file for error in broken.errors} or {"no errors"}

    assert name in named
    assert named <= GOOD.keys()
