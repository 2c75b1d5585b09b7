"""Price lists before they are in force: what is read from a file, what the lint finds, what a rehearsal says; and their
way through the record. Rules as tables: some prices, what is said of them.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
import xlsxwriter
from postgres import TestedDatabase

from backoffice.price_lint import Known, LintReport, Reading, lint
from backoffice.price_overlay import PriceDeck, own_prices, pinned, with_deck
from backoffice.price_rehearsal import PastCall, Rehearsal, Rehearser, timeless
from connectors.files.price_upload import BadUpload, PriceUpload
from connectors.files.xlsx_rows import BadWorkbook, Workbook, number_text
from connectors.postgres import price_lists
from connectors.postgres.change import change
from connectors.postgres.database import APP, Database
from connectors.postgres.price_versions import VersionRecord, difference
from connectors.postgres.queries import sql
from engine.prices import PriceTable
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.events import Cdr
from schemas.reference import Account, Band, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import to_datetime, to_us

SETTINGS = EngineSettings()
MOSCOW = ZoneInfo("Europe/Moscow")
NOW = "2026-11-24T12:00:00.000Z"
NOW_US = to_us(NOW)
NIGHT = Band("night", (), 21 * 60, 9 * 60, (), "Europe/Moscow", 1)
HEADER = "prefix,service,place,incoming_service,band_id,from_second,connect_fee,price,per_seconds,step_seconds"


def retail(list_id: str = "R", provider_id: str | None = None) -> PriceList:
    return PriceList(list_id, list_id, "retail", provider_id, "RUB", "half_up", 4, None, None)


def wholesale(list_id: str = "W", provider_id: str = "megafon") -> PriceList:
    return PriceList(list_id, list_id, "wholesale", provider_id, "RUB", "half_up", 4, None, None)


def rows(list_id: str, table: str) -> list[PriceRow]:
    """`381 2.50 outgoing/msk/incoming@night from 2026-12-01 to 2027-01-01`: a price per minute, and its conditions."""
    found = []
    for line in filter(None, map(str.strip, table.splitlines())):
        prefix, price, *rest = line.split()
        scope = rest.pop(0) if rest and rest[0] not in ("from", "to") else ""
        words = dict(zip(rest[::2], rest[1::2], strict=True))
        scope, _, band = scope.partition("@")
        service, place, came_by, *_ = [*scope.split("/"), "", ""]
        found.append(
            PriceRow(
                list_id,
                "" if prefix == "any" else prefix,
                service or None,
                place or None,
                came_by or None,
                band or None,
                0,
                0,
                round(float(price) * 1_000_000),
                60,
                60,
                None,
                None,
                _moment(words.get("from")),
                _moment(words.get("to")),
            )
        )
    return found


def _moment(day: str | None) -> str | None:
    return None if day is None else f"{day}T00:00:00.000Z"


def operator(*lists: tuple[PriceList, str], plans: Sequence[str] = ("R",)) -> Reference:
    """An operator with these lists, whose one plan has those of the retail lists named that are there."""
    plans = [name for name in plans if any(one.price_list_id == name for one, _ in lists)]
    return Reference(
        accounts=[Account("A", "C", "T", "prepaid", "RUB", 0, 0, None, "active", "msk", None)],
        providers=[
            Provider(name, name, place, None, False, False) for place, name in enumerate(("megafon", "beeline"))
        ],
        plans=[TariffPlan("T", tuple(PlanList(name, place) for place, name in enumerate(plans)), False)],
        price_lists=[one for one, _ in lists],
        prices=[row for one, table in lists for row in rows(one.price_list_id, table)],
        bands=[NIGHT],
    )


def deck(price_list: PriceList, table: str | Iterable[PriceRow]) -> PriceDeck:
    found = PriceDeck(price_list, [NIGHT])
    found.add(rows(price_list.price_list_id, table) if isinstance(table, str) else table)
    found.finish()
    return found


def linted(
    reference: Reference, price_list: PriceList, table: str, *, reading: Reading | None = None, at_us: int = NOW_US
) -> LintReport:
    before = pinned(reference)
    coming = deck(price_list, table)
    known = Known({"outgoing", "forwarding", "incoming", "intra_office"}, {"msk", "spb"}, {"night"})
    return lint(SETTINGS, coming, before, with_deck(before, coming), at_us=at_us, known=known, reading=reading)


def told(report: LintReport) -> list[str]:
    """What was found: rule, prefix, other list, how many prefixes."""
    return [
        " ".join(
            [
                one.rule,
                one.prefix or "any",
                *([one.other_list_id] if one.other_list_id else []),
                *([f"x{one.prefixes}"] if one.prefixes > 1 else []),
            ]
        )
        for one in report.findings
    ]


# -- lint: selling ----------------------------------------------------------------------------------------------------

SELLING = [
    ("sold and bought at one prefix", "381 3", "381 2", []),
    ("bought by a shorter prefix", "381 3", "3 2", ["sold_deeper 3 W"]),
    ("nobody has a price for it", "381 3\n44 1", "381 2", ["sold_not_bought 44"]),
    ("bought in parts only", "381 3", "3811 2\n3816 2", ["partly_bought 381", "bought_deeper 381 W x2"]),
    ("bought as a whole and dearer in a part", "381 3", "381 2\n3816 5", ["below_cost 3816 W", "bought_deeper 381 W"]),
    ("sold below cost", "381 1", "381 2", ["below_cost 381 W"]),
    ("sold below cost at a longer prefix", "381 3\n3816 1", "381 2", ["below_cost 3816 W", "sold_deeper 381 W"]),
    ("sold for as much as it costs", "381 2", "381 2", []),
    ("sold as forwarding, not bought for it", "381 3", "381 2 outgoing", ["sold_not_bought 381"]),
    ("bought for both services apart", "381 3", "381 2 outgoing\n381 2 forwarding", []),
    ("forwarding costs more than it brings", "381 3", "381 2 outgoing\n381 4 forwarding", ["below_cost 381 W"]),
    ("forwarding is sold apart", "381 3\n381 5 forwarding", "381 2 outgoing\n381 4 forwarding", []),
    ("a place of its own is dear", "381 3", "381 2\n381 9 outgoing/spb", ["below_cost 381 W"]),
    ("what is no call through a provider is not bought", "any 1 incoming", "381 2", []),
    ("dear at night only", "381 3", "381 2\n381 4 @night", ["below_cost 381 W"]),
    ("a price that is over is no price", "381 3", "381 2 to 2026-11-01", ["sold_not_bought 381"]),
    ("a price to come is one", "381 3", "381 2 from 2026-12-01", []),
    ("and it may cost too much", "381 3", "381 2\n381 4 from 2026-12-01", ["below_cost 381 W"]),
    ("sold from then on, when it is dear", "381 3 from 2027-01-01", "381 2\n381 4 to 2026-12-01", []),
    ("any number", "any 1", "381 2\n44 0.5", ["below_cost 381 W", "partly_bought any", "bought_deeper any W x2"]),
]


@pytest.mark.parametrize(
    ("sold", "bought", "findings"), [case[1:] for case in SELLING], ids=[case[0] for case in SELLING]
)
def test_a_retail_list_against_what_is_bought(sold: str, bought: str, findings: list[str]) -> None:
    report = linted(operator((retail(), sold), (wholesale(), bought)), retail(), sold)

    assert told(report) == findings


def test_it_is_said_how_much_is_lost_through_whom_and_on_how_many_prefixes() -> None:
    reference = operator(
        (retail(), "381 3"), (wholesale(), "381 2\n3811 4\n3812 9\n3813 3"), (wholesale("B", "beeline"), "38 3.5")
    )

    report = linted(reference, retail(), "381 3")

    assert report.warnings == 3
    assert [(one.provider_id, one.wholesale_list_id, one.prefixes, one.worst_prefix) for one in report.losses] == [
        ("megafon", "W", 2, "3812"),
        ("beeline", "B", 1, "381"),
    ]
    worst = report.findings[0]
    assert (worst.rule, worst.severity, worst.price_list_id, worst.prefix) == ("below_cost", "warning", "R", "3812")
    assert "a minute to 3812 is sold for 3 (R, prefix 381) and bought for 9 from megafon (W, prefix 3812)" in worst.text
    assert "6.00 lost" in worst.text
    assert worst.remedy.startswith("raise the retail price")


def test_losses_of_several_services_at_a_prefix_name_the_service_and_are_one_prefix() -> None:
    sold = "381 1 outgoing\n381 1 forwarding/msk\n44 1 outgoing"
    reference = operator((retail(), sold), (wholesale(), "381 2\n44 2 //incoming"))

    report = linted(reference, retail(), sold)

    texts = [one.text for one in report.findings if one.rule == "below_cost"]
    assert sorted(text.partition(" is sold")[0] for text in texts) == [
        "as forwarding, at the place msk: a minute to 381",
        "as outgoing, coming in by incoming: a minute to 44",
        "as outgoing: a minute to 381",
    ]
    assert [(one.wholesale_list_id, one.prefixes) for one in report.losses] == [("W", 2)]


def test_a_list_for_one_provider_is_compared_with_that_one_alone() -> None:
    reference = operator((retail(), "381 3"), (wholesale(), "381 2"), (wholesale("B", "beeline"), "381 9\n44 1"))

    report = linted(reference, retail("R", "megafon"), "381 3\n44 2")

    assert told(report) == ["sold_not_bought 44"]


# -- lint: buying -----------------------------------------------------------------------------------------------------

BUYING = [
    ("as before", "381 2", "381 3", "381 2", []),
    ("dearer than it is sold", "381 4", "381 3", "381 2", ["below_cost 381 R"]),
    ("dearer at a longer prefix", "381 2\n3816 4", "381 3", "381 2", ["below_cost 3816 R", "bought_deeper 381 R"]),
    ("sold by nobody", "381 2\n44 1", "381 3", "381 2", ["bought_not_sold 44"]),
    ("sold as an outgoing call only", "381 2", "381 3 outgoing", "381 2", ["bought_not_sold 381"]),
    (
        "no more bought, though it is sold",
        "44 1",
        "381 3\n44 2",
        "381 2",
        ["no_more_bought 381 R", "no_more_covered 381"],
    ),
    ("a shorter prefix covers it", "38 2", "381 3", "381 2", ["sold_deeper 38 R", "bought_not_sold 38"]),
    ("a part of it remains", "3811 2", "3811 3", "381 2", ["no_more_covered 381"]),
]


@pytest.mark.parametrize(
    ("coming", "sold", "before", "findings"), [case[1:] for case in BUYING], ids=[case[0] for case in BUYING]
)
def test_a_wholesale_list_against_what_is_sold(coming: str, sold: str, before: str, findings: list[str]) -> None:
    report = linted(operator((retail(), sold), (wholesale(), before)), wholesale(), coming)

    assert told(report) == findings


def test_a_list_that_no_plan_has_sells_nothing() -> None:
    reference = operator((retail(), "381 3"), (retail("OLD"), "44 1"), (wholesale(), "381 2"))

    assert told(linted(reference, wholesale(), "381 2\n44 5")) == ["bought_not_sold 44"]


# -- lint: the list itself --------------------------------------------------------------------------------------------

ITSELF = [
    ("one row", "381 3", []),
    ("different services", "381 3 outgoing\n381 4 forwarding", []),
    ("one after the other", "381 3 to 2027-01-01\n381 4 from 2027-01-01", []),
    ("at the same time", "381 3\n381 4 from 2027-01-01", ["contradiction 381"]),
    ("at the same time, alike", "381 3\n381 3 from 2027-01-01", ["duplicate 381"]),
    ("over already", "381 3 to 2026-11-01", ["past 381"]),
    ("a service that is not there", "381 3 outgoin", ["unknown_service 381"]),
    ("came in by what is not there", "381 3 outgoing/msk/intra", ["unknown_service 381"]),
    ("a place that is not there, on two prefixes", "381 3 outgoing/mks\n44 3 outgoing/mks", ["unknown_place 381 x2"]),
    ("a band", "381 3\n381 4 @night", []),
]


@pytest.mark.parametrize(("sold", "findings"), [case[1:] for case in ITSELF], ids=[case[0] for case in ITSELF])
def test_rows_of_a_list_against_one_another(sold: str, findings: list[str]) -> None:
    report = linted(operator((wholesale(), "any 0")), retail("R"), sold)
    own = [one for one in told(report) if not one.startswith(("sold_deeper", "sold_not"))]

    assert own == findings


def test_what_was_meant_is_guessed() -> None:
    report = linted(operator((wholesale(), "any 0")), retail("R"), "381 3 outgoin/mks")

    texts = {one.rule: one.text for one in report.findings}
    assert "'outgoin'; was 'outgoing' meant?" in texts["unknown_service"]
    assert "'mks'" in texts["unknown_place"]


def test_a_band_that_is_not_there_any_more_is_an_error() -> None:
    before = pinned(operator((wholesale(), "any 0")))
    coming = deck(retail(), "381 3\n381 4 @night")
    known = Known({"outgoing"}, {"msk"}, set())

    report = lint(SETTINGS, coming, before, with_deck(before, coming), at_us=NOW_US, known=known)

    assert (report.errors, report.findings[0].rule) == (1, "unknown_band")


def test_what_had_a_price_before_and_has_none_now_is_named() -> None:
    reference = operator((retail(), "381 3\n44 1\n7 1\n74 1"), (wholesale(), "any 0"))

    report = linted(reference, retail(), "3811 3\n7 2")

    gone = [one for one in report.findings if one.rule == "no_more_covered"]
    # 74 is covered by 7 still.
    assert [(one.prefix, one.text) for one in gone] == [
        ("381", "it cost 3.00/60 s so far; longer prefixes of it are still there"),
        ("44", "it cost 1.00/60 s so far"),
    ]


def test_a_list_that_loses_a_service_is_told_so() -> None:
    reference = operator((retail(), "381 3"), (wholesale(), "any 0"))

    report = linted(reference, retail(), "381 3 outgoing")

    gone = next(one for one in report.findings if one.rule == "no_more_covered")
    assert gone.text == "as forwarding: it cost 3.00/60 s so far"


def test_a_thousand_findings_of_a_rule_are_told_the_rest_is_counted() -> None:
    sold = "\n".join(f"7{1000 + n} {1 + n / 10_000}" for n in range(1_500))
    report = linted(operator((retail(), sold), (wholesale(), "7 2")), retail(), sold)

    below = next(one for one in report.rules if one.rule == "below_cost")
    assert (below.findings, below.told) == (1_500, 1_000)
    # Those that lose most are kept.
    assert report.findings[0].prefix == "71000"
    assert report.losses[0].prefixes == 1_500


# -- the overlay ------------------------------------------------------------------------------------------------------


def test_reference_data_with_a_version_in_them_leave_those_in_force_as_they_are() -> None:
    reference = operator((retail(), "381 3\n44 1"), (wholesale(), "381 2\n44 1"), (wholesale("B", "beeline"), "381 3"))
    before = pinned(reference)

    for coming in (deck(retail(), "381 5\n7 1"), deck(wholesale(), "3811 1\n44 9"), deck(retail("NEW"), "1 1")):
        list_id = coming.price_list.price_list_id
        after = with_deck(before, coming)
        assert after is not before
        assert {p: [one.tariff.rates for one in of] for p, of in own_prices(after, list_id).items()} == {
            p: [one.tariff.rates for one in of] for p, of in coming.prices.items()
        }
        for other in {"R", "W", "B"} - {list_id}:
            assert own_prices(after, other) == own_prices(before, other)
        assert own_prices(before, list_id) == own_prices(reference, list_id)
        # As if it had been there from the beginning.
        whole = Reference(
            accounts=reference.accounts.values(),
            providers=reference.providers.values(),
            plans=[tables.plan for tables in reference.plans.values()],
            price_lists=[*after.price_lists.values()],
            prices=[row for name in after.price_lists for row in _rows_of(after, name)],
            bands=[NIGHT],
        )
        for number in ("38111", "381", "44207", "7495", "1212"):
            assert _found(after.wholesale, number) == _found(whole.wholesale, number)
            for name in after.retail:
                assert _found(after.retail[name], number) == _found(whole.retail[name], number)


def _found(table: PriceTable, number: str) -> list[tuple[str, str, object]]:
    return [(one.terms.price_list_id, one.prefix, one.tariff.rates) for one in table.candidates(number)]


def _rows_of(reference: Reference, list_id: str) -> list[PriceRow]:
    return [
        PriceRow(
            list_id,
            price.prefix,
            price.scope.service,
            price.scope.place,
            price.scope.incoming_service,
            rate.band_id,
            rate.from_second,
            rate.connect_fee_micros,
            rate.price_micros,
            rate.per_seconds,
            rate.step_seconds,
            rate.min_charge_micros,
            rate.max_charge_micros,
            None,
            None,
        )
        for of in own_prices(reference, list_id).values()
        for price in of
        for rate in price.tariff.rates
    ]


def test_pinned_reference_data_outlive_a_change_and_what_it_lets_go() -> None:
    reference = operator((retail(), "381 3"), (wholesale(), "381 2"))
    before = pinned(reference)
    index = reference.wholesale.index

    reference.remove_price("W", "381")
    for _ in index.take_apart():
        pass

    assert [one.prefix for one in before.wholesale.candidates("38111")] == ["381"]
    assert reference.wholesale.candidates("38111") == ()


# -- rehearsal --------------------------------------------------------------------------------------------------------


def past_call(
    number: str, seconds: int, *, service: str = "outgoing", charged: float = 0, cdr_id: str = "c"
) -> PastCall:
    cdr = Cdr(
        cdr_id,
        "s",
        service,
        number,
        "2026-11-23T12:00:00.000Z",
        "2026-11-23T13:00:00.000Z",
        account_id="A",
        provider_id="megafon",
        answered_at="2026-11-23T12:00:00.000Z",
        billable_seconds=seconds,
    )
    return PastCall(cdr, round(charged * 1_000_000), 0)


def rehearsed(reference: Reference, coming: PriceDeck, calls: Iterable[PastCall]) -> Rehearsal:
    before = pinned(reference)
    rehearser = Rehearser(SETTINGS, coming.price_list, before, with_deck(before, coming))
    rehearser.add(calls)
    return rehearser.result(since="", until="", calls_in_period=0, one_in=1, seconds=1.0)


def test_a_rehearsal_adds_up_what_calls_bring_and_cost_now_and_then() -> None:
    reference = operator((retail(), "381 3\n44 2"), (wholesale(), "381 2\n44 1"))
    calls = [past_call("38111", 60, charged=3), past_call("38112", 61, charged=6), past_call("44207", 1, charged=2)]

    found = rehearsed(reference, deck(retail(), "381 1\n44 2"), calls)

    total = found.total
    assert (total.calls, total.seconds, total.charged_retail_micros) == (3, 122, 11_000_000)
    assert (total.before_retail_micros, total.before_wholesale_micros) == (11_000_000, 7_000_000)
    assert (total.after_retail_micros, total.after_wholesale_micros) == (5_000_000, 7_000_000)
    assert (found.before_margin_micros, found.after_margin_micros) == (4_000_000, -2_000_000)
    assert (found.losing_before.calls, found.losing_after.calls, found.losing_after.micros) == (0, 2, 3_000_000)
    assert [(one.name, one.before_margin_micros, one.after_margin_micros) for one in found.destinations] == [
        ("381", 3_000_000, -3_000_000),
        ("44", 1_000_000, 1_000_000),
    ]
    assert [(one.name, one.sums.calls) for one in found.clients] == [("C", 3)]
    assert [one.called for one in found.losing_calls] == ["38112", "38111"]


def test_calls_that_would_have_no_price_are_told_apart_from_those_that_have_none_now() -> None:
    reference = operator((retail(), "381 3"), (wholesale(), "381 2\n44 1\n7 1"))

    found = rehearsed(
        reference, deck(retail(), "44 2"), [past_call("38111", 60), past_call("44207", 60), past_call("7495", 60)]
    )

    assert (found.total.unpriced_before, found.total.unpriced_after) == (2, 2)
    assert [(one.reason, one.calls, one.new) for one in found.unpriced] == [("no_retail_price", 2, 1)]
    assert [(one.called, one.reason) for one in found.unpriced_calls] == [
        ("38111", "no_retail_price"),
        ("7495", "no_retail_price"),
    ]
    # A wholesale list may lack a price, too.
    found = rehearsed(reference, deck(wholesale(), "44 1"), [past_call("38111", 60)])
    assert [(one.reason, one.calls, one.new) for one in found.unpriced] == [("no_wholesale_price", 1, 1)]


def test_the_rows_of_a_day_count_without_their_dates() -> None:
    table = rows(
        "R",
        """
        381 1 to 2026-12-01
        381 2 from 2026-12-01 to 2027-01-01
        381 3 from 2026-12-10
        44 1 from 2027-01-01
        7 1
        """,
    )
    ordered = sorted(table, key=lambda row: row.prefix)

    kept = list(timeless(ordered, to_us("2026-12-15T00:00:00.000Z")))

    assert [(one.prefix, one.price_micros, one.valid_from, one.valid_to) for one in kept] == [
        ("381", 3_000_000, None, None),
        ("7", 1_000_000, None, None),
    ]


# -- files ------------------------------------------------------------------------------------------------------------


def csv(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "prices.csv"
    file.write_text(text, encoding="utf-8")
    return file


def xlsx(
    tmp_path: Path, table: Sequence[Sequence[object]], *, sheet: str = "Цены", more: Callable[..., None] | None = None
) -> Path:
    file = tmp_path / "prices.xlsx"
    with xlsxwriter.Workbook(str(file)) as book:
        written = book.add_worksheet(sheet)
        for line, row in enumerate(table):
            written.write_row(line, 0, row)
        if more is not None:
            more(book, written)
    return file


def read(file: Path, *, sheet: str | None = None) -> tuple[list[tuple[int, PriceRow]], Reading]:
    upload = PriceUpload(file, "R", bands={"night"}, zone=MOSCOW, sheet=sheet)
    found = [row for batch in upload.batches() for row in batch]
    return found, upload.reading


def refused(file: Path, *, sheet: str | None = None) -> list[str]:
    with pytest.raises(BadUpload) as caught:
        read(file, sheet=sheet)
    assert caught.value.count == len(caught.value.errors)
    return [str(one) for one in caught.value.errors]


def test_a_csv_file_is_read_row_by_row_with_its_lines(tmp_path: Path) -> None:
    file = csv(tmp_path, f"{HEADER}\n381,outgoing,msk,,night,0,0.50,3.00,60,1\n,,,,,,,1,60,60\n")

    (first, row), (second, default) = read(file)[0]

    assert (first, second) == (2, 3)
    assert row == PriceRow(
        "R", "381", "outgoing", "msk", None, "night", 0, 500_000, 3_000_000, 60, 1, None, None, None, None
    )
    assert (default.prefix, default.price_micros) == ("", 1_000_000)


def test_columns_come_in_any_order_and_those_that_say_nothing_may_be_left_out(tmp_path: Path) -> None:
    file = csv(tmp_path, "step_seconds,price,prefix,per_seconds,note\n1,3.00,381,60,Сербия\n")

    assert [row.price_micros for _, row in read(file)[0]] == [3_000_000]


def test_a_workbook_says_the_same_as_a_csv_file(tmp_path: Path) -> None:
    def dated(book: Any, written: Any) -> None:
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        written.write_number(1, 10, 46_357, day)  # 2026-12-01
        written.write_number(2, 10, 46_357.5, day)

    names = [*HEADER.split(","), "valid_from"]
    file = xlsx(
        tmp_path,
        [
            names,
            [381, "outgoing", "msk", "", "", 0, 0.1, 2.3, 60, 1],
            ["44207", None, None, None, None, None, None, "1.10", 60, 60],
        ],
        more=dated,
    )

    (first, row), (second, other) = read(file)[0]

    assert (first, second) == (2, 3)
    assert (row.prefix, row.service, row.connect_fee_micros, row.price_micros) == (
        "381",
        "outgoing",
        100_000,
        2_300_000,
    )
    assert row.valid_from == "2026-11-30T21:00:00.000Z"
    assert (other.prefix, other.price_micros, other.valid_from) == ("44207", 1_100_000, "2026-12-01T09:00:00.000Z")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("7495", "7495"),
        ("7495.0", "7495"),
        ("7.495E3", "7495"),
        ("0.1", "0.1"),
        ("0.10000000000000001", "0.1"),
        ("2.2999999999999998", "2.3"),
        ("1.0E-6", "0.000001"),
        ("-2", "-2"),
        ("text", "text"),
    ],
)
def test_a_number_of_a_cell_is_the_shortest_text_that_is_the_same(cell: str, text: str) -> None:
    assert number_text(cell) == text


def test_every_error_has_its_line_and_column(tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        f"{HEADER},valid_from,valid_to\n"
        "381,outgoing,msk,,day,0,0,3.00,60,1,,\n"  # no such band
        "38x,outgoing,,,,0,0,three,60,0,,\n"  # three errors
        "7,,,,,60,,1,60,60,,\n"  # a later tier without its first
        "44,,,,,0,0,1,60,60,2027-01-01,2026-01-01\n",
    )

    assert refused(file) == [
        "line 2: band_id: there is no band 'day'; enter it first, or write one that is there",
        "line 3: prefix: '38x' is not 1 to 15 digits; write it as 74951234567, without + and spaces",
        "line 3: price: 'three' is not an amount of money; write it as \"12.50\"",
        "line 3: step_seconds: '0' is not a whole number from 1 to 31622400; write one",
        "line 5: valid_to: 2025-12-31T21:00:00.000Z is not after valid_from 2026-12-31T21:00:00.000Z; write a later "
        "moment, or leave it empty for no end",
    ]


def test_a_later_tier_needs_its_first_and_has_no_fees_of_its_own(tmp_path: Path) -> None:
    table = "7,,,,,60,,1,60,60\n381,,,,,0,0.50,3,60,60\n381,,,,,60,0.70,2,60,60\n"
    good = "44,,,,,0,0.50,3,60,60\n44,,,,,60,,2,60,60\n"

    assert refused(csv(tmp_path, f"{HEADER}\n{table}{good}")) == [
        "line 2: from_second: prefix '7' has no tier from second 0 here; add the row with from_second 0",
        "line 4: connect_fee: 0.70 differs from that of the tier from second 0; leave it empty here",
    ]


def test_errors_of_a_workbook_name_its_sheet(tmp_path: Path) -> None:
    file = xlsx(tmp_path, [HEADER.split(","), ["381", "", "", "", "", 0, 0, -3, 60, 1]])

    assert refused(file) == ["'Цены', row 2: price: '-3' is below zero; write 0 or more"]


def test_the_sheet_that_is_asked_for_is_read(tmp_path: Path) -> None:
    def another(book: Any, _: Any) -> None:
        written = book.add_worksheet("Опт")
        written.write_row(0, 0, ["prefix", "price", "per_seconds", "step_seconds"])
        written.write_row(1, 0, [44, 1, 60, 60])

    file = xlsx(tmp_path, [["Прайс-лист"], ["с 1 декабря"]], more=another)

    found, reading = read(file, sheet="Опт")
    assert ([row.prefix for _, row in found], reading.sheet) == (["44"], "Опт")
    assert refused(file, sheet="Розница") == ["the file: has no sheet 'Розница'; it has 'Цены', 'Опт'"]
    assert refused(file)[0] == "'Цены', row 1: prefix: the column is missing; add it to the header row and to every row"


def test_rows_for_the_same_calls_are_told_with_both_lines_and_the_first_is_taken(tmp_path: Path) -> None:
    table = "381,,,,,0,,3.00,60,1\n44,,,,,0,,1,60,60\n381,,,,,0,,3.00,60,1\n44,,,,,0,,2,60,60\n"

    found, reading = read(csv(tmp_path, f"{HEADER}\n{table}"))

    assert [(line, row.prefix) for line, row in found] == [(2, "381"), (3, "44")]
    assert (reading.rows, reading.duplicates, reading.contradictions) == (4, 1, 1)
    assert [(one.prefix, one.first_line, one.line, one.text) for one in reading.doubles] == [
        ("381", 2, 4, None),
        ("44", 3, 5, "line 3 says 1.00/60 s, line 5 says 2.00/60 s, for the same calls"),
    ]
    report = linted(operator((wholesale(), "any 0")), retail(), "381 3\n44 1", reading=reading)
    said = {one.rule: one for one in report.findings}
    assert (said["contradiction"].severity, said["contradiction"].lines) == ("error", (3, 5))
    assert (said["duplicate"].severity, said["duplicate"].lines) == ("note", (2, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the header row is missing"),
        ("prefix,price,per_seconds,step_seconds\n", "has no prices"),
        ("prefix;price;per_seconds;step_seconds\n381;3;60;1\n", "separated by semicolons"),
        ("prefix,price,per_seconds\n381,3,60\n", "step_seconds: the column is missing"),
        ("prefix,prefix,price,per_seconds,step_seconds\n381,381,3,60,1\n", "names the column twice"),
        ("price_list_id,prefix,price,per_seconds,step_seconds\nOTHER,381,3,60,1\n", "another list than 'R'"),
    ],
)
def test_a_file_that_is_no_price_list_is_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(csv(tmp_path, text))[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel file of before 2007"),
        (b"PK\x03\x04 and no more", "is no Excel workbook"),
        (b"prefix,price,per_seconds,step_seconds\n381,\xff,60,1\n", "bytes that are no text"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "prices"
    file.write_bytes(content)

    assert message in refused(file)[0]


def _workbook(sheet: bytes, *, name: str = "xl/worksheets/sheet1.xml", shared: bytes | None = None) -> bytes:
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="S" r:id="r1"/></sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        book.writestr(name, sheet)
        if shared is not None:
            book.writestr("xl/sharedStrings.xml", shared)
    return found.getvalue()


BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    b"<worksheet><sheetData><row><c><v>&b;</v></c></row></sheetData></worksheet>"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_workbook(BOMB), "declares a document type"),
        (_workbook(BOMB.decode().encode("utf-16")), "declares a document type"),
        (_workbook(b"<worksheet><sheetData><row>"), "can't be read"),
        (_workbook(b"<worksheet/>", name="xl/worksheets/other.xml"), "has no sheets"),
        (_workbook(b'<worksheet><sheetData><row><c t="s"><v>7</v></c></row></sheetData></worksheet>'), "names a text"),
        (
            _workbook(b'<worksheet><sheetData><row r="x"><c><v>7</v></c></row></sheetData></worksheet>'),
            "has the number",
        ),
        (_workbook(b'<worksheet><sheetData><row><c r="?"><v>7</v></c></row></sheetData></worksheet>'), "is called"),
    ],
)
def test_a_workbook_made_to_harm_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "prices.xlsx"
    file.write_bytes(content)

    assert message in refused(file)[0]


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.files.xlsx_rows.MOST_BYTES", 1_000)
    file = tmp_path / "prices.xlsx"
    file.write_bytes(_workbook(b"<worksheet><sheetData>" + b" " * 100_000 + b"</sheetData></worksheet>"))

    assert "unpacks to 100,0" in refused(file)[0]


def test_a_list_has_no_more_rows_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.files.price_upload.MOST_ROWS", 2)
    table = "".join(f"{n},,,,,0,,1,60,60\n" for n in range(1, 9))

    assert refused(csv(tmp_path, f"{HEADER}\n{table}")) == [
        "line 4: is beyond the 2 rows that a price list may have; split the list"
    ]


def test_a_thousand_errors_are_told_and_all_are_counted(tmp_path: Path) -> None:
    table = "".join(f"{n},,,,,0,,x,60,60\n" for n in range(1, 1_501))

    with pytest.raises(BadUpload) as caught:
        read(csv(tmp_path, f"{HEADER}\n{table}"))

    assert (caught.value.count, len(caught.value.errors)) == (1_500, 1_000)
    assert str(caught.value).endswith("… and 500 more")


def test_sheets_of_a_workbook_that_does_not_say_where_its_cells_are(tmp_path: Path) -> None:
    file = tmp_path / "prices.xlsx"
    cells = (
        b'<c><v>1</v></c><c t="inlineStr"><is><t>a</t><t>b</t></is></c><c t="b"><v>1</v></c><c t="str"><v>=x</v></c>'
    )
    file.write_bytes(_workbook(b"<worksheet><sheetData><row>" + cells + b"</row><row/></sheetData></worksheet>"))

    with Workbook(file) as book:
        assert book.sheets == ("S",)
        assert list(book.rows("S")) == [(1, ["1", "ab", "yes", "=x"])]
        with pytest.raises(KeyError):
            list(book.rows("T"))
    with pytest.raises(BadWorkbook):
        Workbook(tmp_path / "none.xlsx")


# -- the record -------------------------------------------------------------------------------------------------------

AT = to_datetime(NOW_US)


async def uploaded(db: Database, file: Path, price_list: PriceList, author: str = "ivanova") -> Any:
    async with change(db.pool, actor=author, reason="a test", at=AT) as tx:
        record = VersionRecord(tx)
        taken = PriceUpload(file, price_list.price_list_id, bands=await record.bands(), zone=MOSCOW)
        version = await record.upload(price_list, taken, at=AT, author=author, source="prices.csv")
        await tx.audit("price_list_version", version.key, "uploaded", None, version)
        return version


def random_table(prefixes: int) -> str:
    return "".join(
        f"{7000 + n // 2},{('outgoing', 'forwarding')[n % 2]},,,,0,,{1 + n % 7 / 10:.2f},60,{(1, 60)[n % 3 == 0]}\n"
        for n in range(prefixes)
    )


def test_what_is_uploaded_is_what_the_file_says_and_its_digest_is_that_of_its_rows(
    database: TestedDatabase, tmp_path: Path
) -> None:
    file = csv(tmp_path, f"{HEADER}\n{random_table(301)}any,,,,,0,,1,60,60\n".replace("any", ""))

    async def story(db: Database) -> None:
        version = await uploaded(db, file, retail())
        there = [row async for part in _prices(db, version.version_id) for row in part]
        wanted = [row for _, row in read(file)[0]]
        assert sorted(there, key=str) == sorted(wanted, key=str)
        assert version.prices == 302
        assert version.digest == price_lists.digest(wanted).hex()
        lines = await db.pool.fetch(
            "SELECT prefix, service, line FROM office.prices WHERE version_id = $1", version.version_id
        )
        assert {(row["prefix"], row["service"]): row["line"] for row in lines} == {
            (row.prefix, row.service): line for line, row in read(file)[0]
        }

    database.run(story, role=APP)


async def _prices(db: Database, version_id: int) -> Any:
    async with db.pool.acquire() as connection, connection.transaction():
        async for part in price_lists.prices(connection, version_id):
            yield part


def test_a_file_with_an_error_leaves_nothing_behind(database: TestedDatabase, tmp_path: Path) -> None:
    file = csv(tmp_path, f"{HEADER}\n{random_table(30_000)}381,,,,,0,,x,60,60\n")

    async def story(db: Database) -> None:
        with pytest.raises(BadUpload):
            await uploaded(db, file, retail())
        for table in ("office.price_lists", "office.price_list_versions", "office.prices", "plumbing.audit"):
            assert await db.pool.fetchval(f"SELECT count(*) FROM {table}") == 0

    database.run(story, role=APP)


def test_a_process_can_not_publish_what_only_its_author_has_seen(database: TestedDatabase, tmp_path: Path) -> None:
    file = csv(tmp_path, f"{HEADER}\n381,,,,,0,,3,60,60\n")

    async def publish(db: Database, version_id: int) -> None:
        async with change(db.pool, actor="ivanova", reason="a test", at=AT) as tx:
            await price_lists.publish(tx.connection, version_id, in_force_from=AT, at=AT, author="ivanova")
            await tx.audit("price_list", "R", "published", None, None)

    async def story(db: Database) -> None:
        version = await uploaded(db, file, retail())
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is not approved: somebody else than ivanova"):
            await publish(db, version.version_id)
        approve = "UPDATE office.price_list_versions SET approved_at = $2, approved_by = $3 WHERE version_id = $1"
        with pytest.raises(asyncpg.CheckViolationError, match="approved_by_another"):
            await db.pool.execute(approve, version.version_id, AT, "ivanova")
        await db.pool.execute(approve, version.version_id, AT, "petrov")
        for forged in (
            "UPDATE office.price_list_versions SET approved_by = 'sidorov' WHERE version_id = $1",
            "UPDATE office.price_list_versions SET name = 'another' WHERE version_id = $1",
            "UPDATE office.price_list_versions SET restores = version_id WHERE version_id = $1",
            "DELETE FROM office.prices WHERE version_id = $1",
            "INSERT INTO office.prices (version_id, prefix, from_second, connect_fee_micros, price_micros, per_seconds,"
            " step_seconds) VALUES ($1, '1', 0, 0, 0, 60, 60)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.pool.execute(forged, version.version_id)
        await publish(db, version.version_id)
        assert (await VersionRecord(db.pool).in_force("R", AT)).number == version.number

    database.run(story, role=APP)


DIFFERENCES = [
    ("new", None, "381,,,,,0,,3,60,60", "new", None),
    ("gone", "381,,,,,0,,3,60,60", None, "gone", None),
    ("dearer", "381,,,,,0,,3,60,60", "381,,,,,0,,3.30,60,60", "dearer", "10.00"),
    ("cheaper", "381,,,,,0,,3,60,60", "381,,,,,0,,1,60,60", "cheaper", "-66.67"),
    ("the same in other words", "381,,,,,0,,3,60,1", "381,,,,,0,,1.5,30,1", "changed", "0.00"),
    ("other steps", "381,,,,,0,,3,60,1", "381,,,,,0,,3,60,60", "changed", "0.00"),
    ("a fee", "381,,,,,0,,3,60,60", "381,,,,,0,0.30,3,60,60", "dearer", "10.00"),
    ("a step that is longer than a minute", "381,,,,,0,,3,60,60", "381,,,,,0,,3,60,120", "dearer", "100.00"),
    ("what was free", "381,,,,,0,,0,60,60", "381,,,,,0,,3,60,60", "dearer", None),
    ("the same", "381,,,,,0,,3,60,60", "381,,,,,0,,3,60,60", "same", "0.00"),
]


@pytest.mark.parametrize(
    ("before", "after", "kind", "percent"), [case[1:] for case in DIFFERENCES], ids=[case[0] for case in DIFFERENCES]
)
def test_the_difference_of_two_versions(
    database: TestedDatabase, tmp_path: Path, before: str | None, after: str | None, kind: str, percent: str | None
) -> None:
    async def story(db: Database) -> None:
        ids = []
        for number, table in enumerate((before, after)):
            file = tmp_path / f"{number}.csv"
            # Something that is the same in both.
            file.write_text(f"{HEADER}\n44,,,,,0,,1,60,60\n{'' if table is None else table}\n")
            ids.append((await uploaded(db, file, retail())).version_id)
        async with db.pool.acquire() as connection:
            counts = {one.kind: one.prices for one in await difference(connection, *ids, AT)}
        rows_found = await db.pool.fetch(
            sql("price_versions/diff_page"), *ids, AT, ["new", "gone", "dearer", "cheaper", "changed"], "", 0, 10
        )
        assert counts == ({"same": 2} if kind == "same" else {kind: 1, "same": 1})
        assert [row["kind"] for row in rows_found] == ([] if kind == "same" else [kind])
        if rows_found:
            found = rows_found[0]["percent"]
            assert (None if found is None else str(found)) == percent

    database.run(story, role=APP)


def test_a_difference_is_that_of_the_prices_of_a_moment(database: TestedDatabase, tmp_path: Path) -> None:
    header = f"{HEADER},valid_from,valid_to\n"

    async def story(db: Database) -> None:
        old = csv(tmp_path, f"{header}381,,,,,0,,3,60,60,,\n44,,,,,0,,1,60,60,,2026-12-31\n")
        first = await uploaded(db, old, retail())
        new = csv(
            tmp_path,
            f"{header}381,,,,,0,,3,60,60,,\n381,,,,,0,,5,60,60,2026-12-31,\n44,,,,,0,,1,60,60,,\n",
        )
        second = await uploaded(db, new, retail())
        async with db.pool.acquire() as connection:
            for at, wanted in (
                (NOW, {"same": 2}),
                # The row that began later counts; 44 was over in the old version.
                ("2027-01-15T00:00:00.000Z", {"dearer": 1, "new": 1}),
            ):
                found = await difference(connection, first.version_id, second.version_id, to_datetime(to_us(at)))
                assert {one.kind: one.prices for one in found} == wanted

    database.run(story, role=APP)
