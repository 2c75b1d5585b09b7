"""The tariff check (§2.3): the fields of the form one by one, as the guide and the requirements have them, asked of the
record through the API; and that it says what the engine does.

The operator is that of the golden folder `forbidden_regions`: megafon is a ПДГИ provider, beeline is none.
"""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from api import APP, Api, api_on
from golden.update import FOLDER
from msgspec.structs import replace
from postgres import TestedDatabase

from backoffice.tariff_check import NotKnown, check_tariff
from connectors.files.reference_folder import ReferenceFolder, read_reference_folder
from connectors.postgres.change import change
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from engine.accounts import opened
from engine.decisions import decide
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.events import CallAttempt
from schemas.reference import Account, Lock, PlanList, PriceList, PriceRow, Provider, TariffPlan
from schemas.times import to_datetime, to_us

SETTINGS = EngineSettings()
LOADED_AT = to_datetime(to_us("2026-10-01T00:00:00.000Z"))
AT = "2026-11-24T18:30:00.000Z"
AT_US = to_us(AT)
FORM = {
    "number": "381114112060",
    "account_id": "100202",
    "tariff_plan_id": "office",
    "service": "outgoing",
    "place": "msk",
    "incoming_service": "",
    "at": AT,
}


def folder() -> ReferenceFolder:
    return read_reference_folder(
        FOLDER / "forbidden_regions" / "reference", emergency_numbers=SETTINGS.emergency_numbers
    )


def told(database: TestedDatabase, story: Any) -> None:
    """A story about the operator, as it stands in the record."""

    async def with_operator(db: Database) -> None:
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, folder(), author="test", at=LOADED_AT)
        async with api_on(db) as api:
            await story(api)

    database.run(with_operator, role=APP)


async def ask(api: Api, **fields: Any) -> Any:
    """The answer to the form; None takes a field out."""
    params = {name: value for name, value in (FORM | fields).items() if value is not None}
    return await api.ask("GET", "/api/tariff-check", role="support", params=params)


async def answer(api: Api, **fields: Any) -> Any:
    found = await ask(api, **fields)
    assert found.status_code == 200, found.text
    return found.json()


def providers(found: Any) -> list[str]:
    return [one["provider_id"] for one in found["providers"]]


def row(found: Any, provider_id: str) -> Any:
    return next(one for one in found["providers"] if one["provider_id"] == provider_id)


# -- the fields -------------------------------------------------------------------------------------------------------


def test_a_prefix_and_a_number_both_work_however_people_write_them(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for number in ("381114112060", "3811", "+381 (11) 411-20-60"):
            megafon = row(await answer(api, number=number), "megafon")
            assert (megafon["retail"]["prefix"], megafon["wholesale"]["prefix"]) == ("381", "3811")
        assert (await answer(api, number="8(495)200-02-00"))["number"] == "74952000200"

    told(database, story)


@pytest.mark.parametrize("field", ["number", "account_id", "tariff_plan_id", "service", "place"])
def test_a_mandatory_field_that_is_missing_is_named(database: TestedDatabase, field: str) -> None:
    async def story(api: Api) -> None:
        for value in (None, ""):
            found = await ask(api, **{field: value})
            assert found.status_code == 422
            assert [one["parameter"] for one in found.json()["errors"]] == [field]

    told(database, story)


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"account_id": "nobody"}, 404, "nobody"),
        ({"tariff_plan_id": "none"}, 404, "none"),
        ({"number": "Belgrade"}, 422, "Belgrade"),
        ({"number": "38X11"}, 422, "38111XXXXXX"),
        ({"number": "3811141120601234"}, 422, "1 to 15 digits"),
        ({"service": "calls_rec"}, 422, "leaves through no provider"),
        ({"at": "soon"}, 422, "at: "),
    ],
)
def test_what_is_not_there_gives_no_result(
    database: TestedDatabase, fields: dict[str, str], status: int, named: str
) -> None:
    async def story(api: Api) -> None:
        found = await ask(api, **fields)
        assert found.status_code == status, found.text
        assert named in found.json()["detail"]

    told(database, story)


def test_the_incoming_service_is_preset_and_shows_pdgi_providers_only_emptied_all(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        preset = await answer(api, number="7495", incoming_service=None)
        emptied = await answer(api, number="7495", incoming_service="")
        another = await answer(api, number="7495", incoming_service="incoming")
        assert preset["incoming_service"] == "intra_office"
        assert providers(preset) == ["megafon"]
        assert preset["not_shown"] == ["beeline"]
        assert providers(emptied) == ["megafon", "beeline"]
        assert emptied["incoming_service"] is None
        assert emptied["not_shown"] == []
        assert providers(another) == ["beeline", "megafon"]
        options = await api.ok("GET", "/api/tariff-check/options", role="support")
        assert options["incoming_services"][0] == {"value": "intra_office", "name": "Входящий внутриофисный вызов"}

    told(database, story)


def test_the_incoming_service_is_a_condition_of_the_price(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        # Beeline takes 0.70 for what came in by an intra-office call, 0.50 for the rest; the check drops the condition
        # when the field is empty, and then the price that names one goes first.
        prices = {}
        for incoming in ("", "incoming"):
            found = await answer(api, number="7495", incoming_service=incoming)
            prices[incoming] = row(found, "beeline")["wholesale"]["price_micros"]
        assert prices == {"": 700_000, "incoming": 500_000}

    told(database, story)


def test_outgoing_and_forwarding_are_priced_apart(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        options = await api.ok("GET", "/api/tariff-check/options", role="support")
        assert [one["value"] for one in options["services"]] == ["outgoing", "forwarding"]
        assert [one["name"] for one in options["services"]] == ["Исходящий вызов", "Переадресация звонков"]
        outgoing = await answer(api, number="3811", service="outgoing")
        forwarding = await answer(api, number="3811", service="forwarding")
        assert outgoing["would_be_rated"] is True
        assert forwarding["would_be_rated"] is False
        assert forwarding["reasons"] == ["no_retail_price"]

    told(database, story)


def test_another_plan_and_another_place_have_their_own_prices(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        plan = await answer(api, number="3811", service="forwarding", tariff_plan_id="forwarding")
        assert row(plan, "megafon")["retail"]["price_list_id"] == "R-FWD"
        for place, price in (("msk", 1_200_000), ("spb", 1_500_000)):
            found = await answer(api, number="7495", place=place)
            assert row(found, "megafon")["retail"]["price_micros"] == price

    told(database, story)


# -- the result -------------------------------------------------------------------------------------------------------


def test_each_provider_has_a_row_with_both_prices_their_lists_and_prefixes(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        found = await answer(api)
        assert row(found, "megafon") == {
            "provider_id": "megafon",
            "name": "Москва, Мегафон",
            "pdgi": True,
            "wholesale": {
                "price_list_id": "W-MEG",
                "price_list_name": "Опт, Мегафон",
                "prefix": "3811",
                "price_micros": 1_500_000,
                "per_seconds": 60,
                "step_seconds": 60,
                "connect_fee_micros": 0,
                "first_minute": "3/2",
            },
            "retail": {
                "price_list_id": "R-OUT",
                "price_list_name": "Розница, исходящие",
                "prefix": "381",
                "price_micros": 3_000_000,
                "per_seconds": 60,
                "step_seconds": 60,
                "connect_fee_micros": 0,
                "first_minute": "3",
            },
            "missing": [],
            "ask": [],
            "locks": [],
            "would_carry": True,
        }
        assert found["would_be_rated"] is True
        assert found["verdict"] == "would be rated: through megafon. Nothing hinders routing, look elsewhere"
        assert row(found, "beeline")["missing"] == ["wholesale"]
        assert row(found, "beeline")["ask"] == ["b2b"]

    told(database, story)


@pytest.mark.parametrize(
    ("number", "service", "reasons", "words"),
    [
        ("355", "outgoing", ["no_retail_price"], ["ticket in RM to marketing"]),
        ("998", "outgoing", ["no_wholesale_price"], ["ticket in RM to the group b2b"]),
        ("852", "outgoing", ["no_wholesale_price", "no_retail_price"], ["b2b", "marketing"]),
        ("381112223344", "forwarding", ["no_retail_price"], ["the call can't be rated"]),
    ],
)
def test_what_is_missing_is_said_and_whom_to_ask(
    database: TestedDatabase, number: str, service: str, reasons: list[str], words: list[str]
) -> None:
    async def story(api: Api) -> None:
        found = await answer(api, number=number, service=service)
        assert found["reasons"] == reasons
        assert found["would_be_rated"] is False
        assert all(word in found["verdict"] for word in words)

    told(database, story)


def test_a_call_that_only_others_carry_is_said_to_be_rated_though_they_are_not_shown(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async with open_database(database.settings, role=None) as owner:
            there = folder()
            pdgi = {name: replace(one, pdgi=False) for name, one in there.providers.items()}
            await load_folder(owner.pool, replace_folder(there, providers=pdgi), author="test", at=LOADED_AT)
        found = await answer(api, number="7495", incoming_service=None)
        assert providers(found) == []
        assert found["would_be_rated"] is True
        assert "only those are shown with this incoming service: empty it to see all" in found["verdict"]

    told(database, story)


def replace_folder(there: ReferenceFolder, **changes: Any) -> ReferenceFolder:
    from dataclasses import replace as replaced

    return replaced(there, **changes)


def test_a_prefix_whose_longer_prefixes_have_prices_is_not_the_whole_answer(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        found = await answer(api, number="381")
        assert found["reasons"] == ["no_wholesale_price"]
        assert found["longer"] == [{"price_list_id": "W-MEG", "prefixes": 2}]
        assert "longer ones have prices of their own (W-MEG 2): check a whole number" in found["verdict"]
        assert (await answer(api, number="3816"))["longer"] == []

    told(database, story)


def test_a_lock_is_not_a_price_that_is_missing(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async with (
            open_database(database.settings, role=None) as owner,
            change(owner.pool, actor="test", reason="a test", at=LOADED_AT) as tx,
        ):
            await tx.execute(
                "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, changed_at, changed_by,"
                " change_reason) VALUES ('L-38', 'prefix', '38', 'ivanov', 'fraud', $1, $1, 'ivanov', 'fraud')",
                LOADED_AT,
            )
        found = await answer(api)
        assert found["would_be_rated"] is True
        assert found["reasons"] == ["lock"]
        assert row(found, "megafon")["locks"] == ["L-38"]
        assert row(found, "megafon")["would_carry"] is False
        assert "a lock denies the call" in found["verdict"]

    told(database, story)


@pytest.mark.parametrize("number", ["112", "01", "1-0-2"])
def test_an_emergency_number_always_passes_whatever_is_locked_or_not_priced(
    database: TestedDatabase, number: str
) -> None:
    async def story(api: Api) -> None:
        async with (
            open_database(database.settings, role=None) as owner,
            change(owner.pool, actor="test", reason="a test", at=LOADED_AT) as tx,
        ):
            for digits in ("1", "0"):
                await tx.execute(
                    "INSERT INTO office.locks (lock_id, kind, digits, author, reason, created_at, changed_at,"
                    " changed_by, change_reason)"
                    " VALUES ($2, 'prefix', $3, 'ivanov', 'fraud', $1, $1, 'ivanov', 'fraud')",
                    LOADED_AT,
                    f"L-{digits}",
                    digits,
                )
        found = await answer(api, number=number)
        assert (found["emergency"], found["would_be_rated"], found["reasons"]) == (True, True, [])
        assert (found["providers"], found["not_shown"]) == ([], [])
        assert "is an emergency number: calls to it always pass, free" in found["verdict"]
        assert (await answer(api))["emergency"] is False

    told(database, story)


@pytest.mark.parametrize("field", ["place", "incoming_service"])
def test_a_word_that_nothing_names_is_refused_by_its_field(database: TestedDatabase, field: str) -> None:
    async def story(api: Api) -> None:
        refused = await ask(api, **{field: "nope"})
        assert refused.status_code == 422, refused.text
        (one,) = refused.json()["errors"]
        assert one["parameter"] == field
        assert "'nope' is not known, and no price for these digits names it; there are: " in one["detail"]
        # What a price names is known, though nothing else names it.
        prices = [
            replace(one, **{field: "nope"}) if (one.price_list_id, one.prefix) == ("R-OUT", "381") else one
            for one in folder().prices
        ]
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, replace_folder(folder(), prices=prices), author="test", at=LOADED_AT)
        assert (await answer(api, **{field: "nope"}))[field] == "nope"

    told(database, story)


@pytest.mark.parametrize(
    ("typed", "digits"),
    [("38111XXXXXX", "38111"), ("+381 11 ХХХ-ХХ-ХХ", "38111"), ("381…", "381"), ("8 (495) XXX-XX-XX", "7495")],
)
def test_a_direction_is_typed_as_the_guide_writes_it(database: TestedDatabase, typed: str, digits: str) -> None:
    async def story(api: Api) -> None:
        assert (await answer(api, number=typed))["number"] == digits

    told(database, story)


def test_whoever_may_not_ask_gets_no_answer(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        refused = await api.ask("GET", "/api/tariff-check", role="switch", params=FORM)
        assert refused.status_code == 403
        assert (await api.ask("GET", "/api/tariff-check", role=None, params=FORM)).status_code == 401

    told(database, story)


def test_the_tables_of_another_moment_are_asked_as_they_were(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        dearer = folder()
        prices = [
            replace(one, price_micros=5_000_000) if (one.price_list_id, one.prefix) == ("R-OUT", "381") else one
            for one in dearer.prices
        ]
        later = to_datetime(to_us("2026-11-01T00:00:00.000Z"))
        async with open_database(database.settings, role=None) as owner:
            await load_folder(owner.pool, replace_folder(dearer, prices=prices), author="test", at=later)
        before = await answer(api, at="2026-10-31T23:59:59.999Z")
        after = await answer(api, at="2026-11-01T00:00:00.000Z")
        assert row(before, "megafon")["retail"]["price_micros"] == 3_000_000
        assert row(after, "megafon")["retail"]["price_micros"] == 5_000_000
        # Before anything was in force, nothing was sold.
        assert (await answer(api, at="2026-09-30T00:00:00.000Z"))["reasons"] == [
            "no_wholesale_price",
            "no_retail_price",
        ]

    told(database, story)


# -- as the engine ----------------------------------------------------------------------------------------------------

PREFIXES = ("", "3", "38", "381", "3811", "7", "749", "7495")
NUMBERS = ("381114112060", "38111", "74952000200", "749", "44207")
SERVICES = ("outgoing", "forwarding")
PLACES = ("msk", "spb")
INCOMING = ("intra_office", "incoming")


def random_operator(seed: int) -> Reference:
    """An operator with some prices, some of which are missing, for one thing or another."""
    r = random.Random(seed)
    carriers = [Provider(f"p{n}", f"p{n}", r.randint(1, 2), None, r.random() < 0.5, False) for n in range(3)]
    lists = [PriceList(f"W{n}", f"W{n}", "wholesale", f"p{n}", "RUB", "up", 4, None, None) for n in range(3)]
    lists += [
        PriceList("R0", "R0", "retail", None, "RUB", "up", 4, None, None),
        PriceList("R1", "R1", "retail", "p1", "RUB", "up", 4, None, None),
    ]
    rows: dict[tuple[object, ...], PriceRow] = {}
    for one in lists:
        for _ in range(r.randint(0, 4)):
            scope = (
                r.choice((None, None, *SERVICES)),
                r.choice((None, None, *PLACES)),
                r.choice((None, None, *INCOMING)),
            )
            key = (one.price_list_id, r.choice(PREFIXES), *scope)
            price = r.randint(1, 5) * 1_000_000
            rows[key] = PriceRow(*key, None, 0, 0, price, 60, 60, None, None, None, None)  # type: ignore[arg-type]
    plan = TariffPlan("T", (PlanList("R0", 1), PlanList("R1", 2)), r.random() < 0.3)
    account = Account("A", "C", "T", "prepaid", "RUB", 10**12, 0, None, "active", r.choice((None, *PLACES)), None)
    locks = [
        Lock(f"L{n}", "prefix", r.choice(PREFIXES[1:]), None, r.choice((None, "p0", "p1")), "i", "r", AT)
        for n in range(r.choice((0, 0, 1, 2)))
    ]
    return Reference(
        accounts=[account],
        providers=carriers,
        plans=[plan],
        price_lists=lists,
        prices=rows.values(),
        locks=locks,
    )


def reasons_of(codes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(code for code in codes if code in ("lock", "no_margin") or code.endswith("_price")))


@pytest.mark.parametrize("seed", range(40))
def test_it_says_what_the_engine_decides(seed: int) -> None:
    reference = random_operator(seed)
    account = reference.accounts["A"]
    for number in NUMBERS:
        for service in SERVICES:
            for incoming in INCOMING:
                for place in (None, *PLACES):
                    found = check_tariff(
                        SETTINGS,
                        reference,
                        digits=number,
                        account_id="A",
                        at_us=AT_US,
                        service=service,
                        incoming_service=incoming,
                        place=place,
                    )
                    attempt = CallAttempt("a", "s", AT, service, number, "A", None, place, incoming)
                    decision, _ = decide(SETTINGS, reference, attempt, AT_US, account, opened(account))
                    told = [str(one.__struct_config__.tag) for one in decision.reasons]
                    assert list(found.reasons) == reasons_of(told)
                    shown = [one for one in found.providers if one.would_carry]
                    carriers = [one.provider_id for one in shown] + [
                        name for name in found.not_shown if name in {route.provider_id for route in decision.routes}
                    ]
                    assert sorted(carriers) == sorted(route.provider_id for route in decision.routes)
                    if incoming == "intra_office":
                        assert all(one.pdgi for one in found.providers)


def test_the_incoming_service_left_out_asks_for_more_providers_never_for_fewer() -> None:
    for seed in range(20):
        reference = random_operator(seed)
        for number in NUMBERS:
            asked = {"digits": number, "account_id": "A", "at_us": AT_US}
            preset = check_tariff(SETTINGS, reference, **asked)  # type: ignore[arg-type]
            emptied = check_tariff(SETTINGS, reference, **asked, incoming_service=None)  # type: ignore[arg-type]
            assert {one.provider_id for one in preset.providers} | set(preset.not_shown) == {
                one.provider_id for one in emptied.providers
            }


def test_what_was_left_out_and_taken_from_the_account_is_told() -> None:
    reference = random_operator(1)
    for given, filled in (
        ({}, ("tariff_plan_id", "place")),
        ({"place": PLACES[0]}, ("tariff_plan_id",)),
        ({"tariff_plan_id": reference.accounts["A"].tariff_plan_id, "place": PLACES[0]}, ()),
    ):
        for digits in (NUMBERS[0], "112"):
            found = check_tariff(SETTINGS, reference, digits=digits, account_id="A", at_us=AT_US, **given)  # type: ignore[arg-type]
            assert found.filled_in == filled


def test_an_emergency_number_is_what_the_engine_takes_for_one() -> None:
    reference = random_operator(2)
    account = reference.accounts["A"]
    for number in ("112", "01", "1", "11", "1121"):
        found = check_tariff(SETTINGS, reference, digits=number, account_id="A", at_us=AT_US)
        attempt = CallAttempt("a", "s", AT, "outgoing", number, "A")
        decision, _ = decide(SETTINGS, reference, attempt, AT_US, account, opened(account))
        assert found.emergency is (decision.emergency is True)


def test_a_field_that_names_nothing_is_named() -> None:
    reference = random_operator(1)
    for field, asked in (
        ("number", {"digits": "Belgrade", "account_id": "A"}),
        ("account_id", {"digits": "381", "account_id": "nobody"}),
        ("tariff_plan_id", {"digits": "381", "account_id": "A", "tariff_plan_id": "none"}),
        ("service", {"digits": "381", "account_id": "A", "service": "calls_rec"}),
    ):
        with pytest.raises(NotKnown) as caught:
            check_tariff(SETTINGS, reference, at_us=AT_US, **asked)  # type: ignore[arg-type]
        assert caught.value.field == field
