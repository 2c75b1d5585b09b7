"""The office's tables through the API: what is entered is there, is audited, and reaches the engine; what the engine
could not take is refused."""

from typing import Any

from api import APP, GENEROUS, Api, api_on
from api_samples import prepare, publish_list
from msgspec.structs import replace
from postgres import TestedDatabase

from connectors.postgres.database import Database

ACCOUNT = {"client_id": "known1", "tariff_plan_id": "known1", "payment_mode": "prepaid"}


def told(database: TestedDatabase, story: Any, **options: Any) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db, **options) as api:
            await prepare(api, 1)
            await story(api)

    database.run(opened, role=APP)


async def latest(api: Api) -> tuple[str, str, Any]:
    """What the engine was told last."""
    return (await api.outbox())[-1]


def errors(answer: Any) -> dict[str, str]:
    """What was wrong, by its place."""
    assert answer.status_code == 422, answer.text
    return {one["pointer"]: one["detail"] for one in answer.json()["errors"]}


# -- clients ----------------------------------------------------------------------------------------------------------


def test_a_client_is_entered_and_found_by_the_words_of_its_name(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        client = {"kind": "company", "name": 'ООО "СтройП Сервис" Учёт', "inn": "7701234560", "emails": ["a@b.ru"]}
        answer = await api.ok("PUT", "/api/clients/C2", role="sales", json=client)
        assert answer["name"] == client["name"]
        words = await api.database.pool.fetchval("SELECT search_words FROM office.clients WHERE client_id = 'C2'")
        assert words == ["ооо", "стройп", "сервис", "учет"]

    told(database, story)


def test_a_persons_name_follows_from_its_parts(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        person = {"kind": "person", "surname": "Попов", "given_name": "Иван", "patronymic": "Сергеевич"}
        answer = await api.ok("PUT", "/api/clients/C3", role="sales", json=person)
        assert answer["name"] == "Попов Иван Сергеевич"
        nameless = await api.ask("PUT", "/api/clients/C4", role="sales", json={"kind": "person"})
        assert errors(nameless).keys() == {"/name"}
        wrong = await api.ask("PUT", "/api/clients/C4", role="sales", json=person | {"inn": "7701234560"})
        assert errors(wrong).keys() == {"/inn"}

    told(database, story)


def test_the_same_again_changes_nothing_and_leaves_no_trace(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        provider = {"name": "Москва, Мегафон", "priority": 3}
        await api.ok("PUT", "/api/providers/megafon", role="b2b", json=provider)
        before = await api.audit_rows(), len(await api.outbox())
        await api.ok("PUT", "/api/providers/megafon", role="b2b", json=provider)
        assert (await api.audit_rows(), len(await api.outbox())) == before

    told(database, story)


def test_a_tag_hangs_on_a_client_until_it_is_taken_off(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        path = "/api/clients/known1/tags/known1"
        await api.ok("PUT", path, role="sales", json={})
        await api.ok("DELETE", path, role="sales")
        rows = (await api.ok("GET", "/api/audit?entity=client_tag&entity_id=known1/known1", role="auditor"))["items"]
        assert [row["action"] for row in rows] == ["taken off", "hung"]
        assert (await api.ask("PUT", "/api/clients/known1/tags/none", role="sales", json={})).status_code == 404

    told(database, story)


# -- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_is_opened_with_what_it_begins_with_and_the_engine_is_told(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        sent = ACCOUNT | {"opening_balance_micros": 150_000_000, "critical_balance_micros": 10_000_000, "comment": "x"}
        opened = await api.ok("PUT", "/api/accounts/A1", role="billing", json=sent)
        assert opened["opening_balance_micros"] == 150_000_000
        assert opened["status"] == "active"
        kind, key, record = await latest(api)
        assert (kind, key) == ("account", "A1")
        assert (record["balance_micros"], record["status"]) == (150_000_000, "active")
        assert "comment" not in record

        # A comment is none of the engine's business.
        before = len(await api.outbox())
        await api.ok(
            "PUT",
            "/api/accounts/A1",
            role="sales",
            json=ACCOUNT | {"comment": "y"} | {"critical_balance_micros": 10_000_000},
        )
        assert len(await api.outbox()) == before
        assert (await api.ok("GET", "/api/accounts/A1"))["comment"] == "y"

    told(database, story)


def test_money_without_a_payment_is_given_by_whoever_may_give_money(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async def put(role: Any, **more: Any) -> Any:
            return await api.ask("PUT", "/api/accounts/A1", role=role, json=ACCOUNT | more)

        for more in ({"opening_balance_micros": 1}, {"credit_limit_micros": 1}):
            refused = await put("sales", **more)
            assert refused.status_code == 403
            assert "money.top_up" in refused.json()["detail"]
            assert next(iter(more)) in refused.json()["detail"]
        assert (await put("sales", opening_balance_micros=0, credit_limit_micros=0)).status_code == 200
        assert (await put("billing", credit_limit_micros=7_000_000)).status_code == 200
        # What is left out, or said as it is, stays: so sales may go on changing the rest.
        assert (await put("sales", comment="x")).json()["credit_limit_micros"] == 7_000_000
        assert (await put("sales", comment="y", credit_limit_micros=7_000_000)).status_code == 200
        for limit in (0, 8_000_000):
            assert (await put("sales", credit_limit_micros=limit)).status_code == 403
        assert (await put("manager", credit_limit_micros=0)).json()["credit_limit_micros"] == 0

    told(database, story)


def test_whoever_may_not_see_money_sees_no_amounts_of_an_account(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        sent = ACCOUNT | {"opening_balance_micros": 5, "credit_limit_micros": 6}
        await api.ok("PUT", "/api/accounts/A1", role="billing", json=sent)
        amounts = ("opening_balance_micros", "credit_limit_micros")
        for role, seen in (
            ("support", [5, 6]),
            ("auditor", [5, 6]),
            ("marketing", [None, None]),
            ("b2b", [None, None]),
        ):
            found = await api.ok("GET", "/api/accounts/A1", role=role)
            assert [found[name] for name in amounts] == seen, role
        key = await api.key("sales1", frozenset({"accounts.change"}))
        answer = await api.ok("PUT", "/api/accounts/A1", key=key, json=ACCOUNT | {"comment": "x"})
        assert [answer[name] for name in amounts] == [None, None]

    told(database, story)


def test_whoever_is_responsible_works_here(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        client = {"kind": "company", "name": "ООО"}
        for path, body in (("/api/clients/C8", client), ("/api/accounts/A1", ACCOUNT)):
            assert errors(await api.ask("PUT", path, role="sales", json=body | {"manager": "nobody"})).keys() == {
                "/manager"
            }
            await api.user(f"petrova{len(path)}", "sales")
            known = body | {"manager": f"petrova{len(path)}"}
            await api.ok("PUT", path, role="sales", json=known)
            await api.database.pool.execute(
                "UPDATE access.users SET status = 'disabled' WHERE name = $1", known["manager"]
            )
            # One who was responsible may have left; nobody else is given to him.
            await api.ok("PUT", path, role="sales", json=known | {"comment": "x"})
            await api.ok("PUT", path, role="sales", json=body)
            assert errors(await api.ask("PUT", path, role="sales", json=known)).keys() == {"/manager"}

    told(database, story)


def test_an_account_is_where_prices_know_a_place(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/accounts/A1", role="sales", json=ACCOUNT | {"place": "anywhere"})
        await api.ok("PUT", "/api/providers/P1", role="b2b", json={"name": "one", "place": "spb"})
        prices = b"prefix,price,per_seconds,step_seconds,place\n7,1,60,60,msk\n"
        await api.ok(
            "POST",
            "/api/price-lists/M/versions?kind=retail&currency=RUB&rounding=up&decimals=4",
            role="marketing",
            content=prices,
        )
        for place in ("msk", "spb"):
            await api.ok("PUT", f"/api/accounts/{place}", role="sales", json=ACCOUNT | {"place": place})
        refused = await api.ask("PUT", "/api/accounts/A2", role="sales", json=ACCOUNT | {"place": "nope"})
        assert errors(refused).keys() == {"/place"}
        # One that has it keeps it.
        await api.ok("PUT", "/api/accounts/A1", role="sales", json=ACCOUNT | {"place": "anywhere", "comment": "x"})

    told(database, story)


def test_what_an_account_was_opened_with_stays(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/accounts/A1", role="sales", json=ACCOUNT)
        for changed in ({"opening_balance_micros": 1}, {"currency": "USD"}, {"opening_status": "blocked"}):
            answer = await api.ask("PUT", "/api/accounts/A1", role="sales", json=ACCOUNT | changed)
            assert answer.status_code == 409, answer.text

    told(database, story)


def test_an_account_has_a_client_and_a_plan_and_the_operators_currency(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        sent = {"client_id": "nobody", "tariff_plan_id": "none", "payment_mode": "prepaid", "currency": "USD"}
        answer = await api.ask("PUT", "/api/accounts/A1", role="sales", json=sent)
        assert errors(answer).keys() == {"/client_id", "/tariff_plan_id", "/currency"}

    told(database, story)


def test_a_block_is_ordered_once_and_its_date_and_reason_stay(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/accounts/A1", role="sales", json=ACCOUNT)
        block = await api.ok("POST", "/api/accounts/A1/block", role="billing", json={"reason": "has not paid"})
        kind, key, command = await latest(api)
        assert (kind, key) == ("command", "A1")
        assert command == {
            "type": "block",
            "command_id": block["command_id"],
            "account_id": "A1",
            "at": block["at"],
            "reason": "has not paid",
        }
        assert (await api.ok("GET", "/api/accounts/A1"))["status"] == "blocked"
        again = await api.ask("POST", "/api/accounts/A1/block", role="billing", json={"reason": "again"})
        assert again.status_code == 409

        await api.ok("POST", "/api/accounts/A1/unblock", role="billing", json={"reason": "has paid"})
        rows = await api.database.pool.fetch(
            "SELECT reason, unblock_reason FROM office.account_blocks WHERE account_id = 'A1'"
        )
        assert [tuple(row) for row in rows] == [("has not paid", "has paid")]

        await api.ok("POST", "/api/accounts/A1/close", json={"reason": "has left"})
        for order in ("block", "unblock"):
            answer = await api.ask("POST", f"/api/accounts/A1/{order}", role="billing", json={"reason": "x"})
            assert answer.status_code == 409
        told_orders = await api.ok("GET", "/api/accounts/A1/orders")
        assert {one["kind"] for one in told_orders["items"]} == {"block", "unblock", "close"}

    told(database, story)


def test_an_account_that_opens_blocked_says_since_when(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("POST", "/api/accounts/blocked1/unblock", role="billing", json={"reason": "has paid"})
        rows = await api.database.pool.fetch(
            "SELECT unblock_reason FROM office.account_blocks WHERE account_id = 'blocked1'"
        )
        assert [row[0] for row in rows] == ["has paid"]

    told(database, story)


def test_services_are_connected_and_disconnected(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        path = "/api/accounts/known1/services"
        first = await api.ok("POST", path, role="sales", json={"service": " CALLS_REC ", "product": "ВАТС"})
        assert first["service"] == "calls_rec"
        for wrong in ("a/b", "  "):
            assert errors(await api.ask("POST", path, role="sales", json={"service": wrong})).keys() == {"/service"}
        twice = await api.ask("POST", path, role="sales", json={"service": "calls_rec"})
        assert twice.status_code == 409
        await api.ok("POST", f"{path}/CALLS_REC/disconnect", role="sales", json={"reason": "not wanted"})
        gone = await api.ask("POST", f"{path}/calls_rec/disconnect", role="sales", json={"reason": "not wanted"})
        assert gone.status_code == 404
        await api.ok("POST", path, role="sales", json={"service": "calls_rec_unlim"})
        found = (await api.ok("GET", path))["services"]
        assert [(one["service"], one["disconnected_at"] is None) for one in found] == [
            ("calls_rec_unlim", True),
            ("calls_rec", False),
            ("connected", True),
        ]

    told(database, story)


# -- money ------------------------------------------------------------------------------------------------------------


async def booked(api: Api, kind: str, body: dict[str, Any], once: str) -> Any:
    return await api.ask("POST", f"/api/accounts/known1/{kind}", role="billing", json=body, once=once)


def test_payments_and_top_ups_are_two_lists(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await booked(api, "payments", {"amount_micros": 2_000_000, "reference": "bank 123"}, "1")
        await booked(api, "top-ups", {"amount_micros": -1_000_000}, "2")
        await booked(api, "write-offs", {"amount_micros": 40_000}, "3")
        for kind, amount in (("payments", 2_000_000), ("top-ups", -1_000_000), ("write-offs", 40_000)):
            found = (await api.ok("GET", f"/api/accounts/known1/{kind}"))["items"]
            assert [one["amount_micros"] for one in found] == [amount]
        commands = [payload for kind, _, payload in await api.outbox() if kind == "command"]
        assert [command["type"] for command in commands] == ["payment", "top_up", "write_off"]
        assert commands[0]["reference"] == "bank 123"

    told(database, story)


def test_a_booking_with_an_id_of_its_own_is_made_once_whatever_the_key(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        body = {"amount_micros": 2_000_000, "command_id": "bank-123"}
        first = await booked(api, "payments", body, "1")
        second = await booked(api, "payments", body, "2")
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        other = await booked(api, "payments", body | {"amount_micros": 1}, "3")
        assert other.status_code == 409
        elsewhere = await booked(api, "top-ups", body, "4")
        assert elsewhere.status_code == 409
        assert len([kind for kind, _, _ in await api.outbox() if kind == "command"]) == 1

    told(database, story)


NO_MONEY: list[tuple[dict[str, Any], str]] = [
    ({"amount_micros": 0}, "/amount_micros"),
    ({"amount_micros": 10**15 + 1}, "/amount_micros"),
    ({"amount_micros": 1, "at": "2099-01-01T00:00:00Z"}, "/at"),
    ({"amount_micros": 1, "at": "2026-11-24T25:00:00Z"}, "/at"),
    ({"amount_micros": 1, "reverses": "none"}, "/reverses"),
    ({"amount_micros": -1}, "/reverses"),
    ({"amount_micros": 1, "source": "bank\n"}, "/source"),
]


def test_money_that_can_not_be_booked_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for body, pointer in NO_MONEY:
            assert errors(await booked(api, "payments", body, "1")).keys() == {pointer}, body

    told(database, story)


def test_a_payment_is_taken_back_whole_and_once(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await booked(api, "payments", {"amount_micros": 2_000_000, "command_id": "p1"}, "1")
        part = await booked(api, "payments", {"amount_micros": -1, "reverses": "p1"}, "2")
        assert errors(part).keys() == {"/amount_micros"}
        whole = await booked(api, "payments", {"amount_micros": -2_000_000, "reverses": "p1"}, "3")
        assert whole.status_code == 201
        again = await booked(api, "payments", {"amount_micros": -2_000_000, "reverses": "p1"}, "4")
        assert again.status_code == 409

    told(database, story)


def test_bookings_come_in_pages_the_newest_first_without_gaps(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for n in range(7):
            # Some at the same moment.
            at = f"2026-11-01T00:00:0{n // 2}.000Z"
            await booked(api, "payments", {"amount_micros": n + 1, "command_id": f"p{n}", "at": at}, str(n))
        seen, after = [], ""
        while True:
            found = await api.ok("GET", f"/api/accounts/known1/payments?limit=3{after}")
            seen += [one["command_id"] for one in found["items"]]
            if found["next"] is None:
                break
            after = f"&after={found['next']}"
        assert seen == [f"p{n}" for n in reversed(range(7))]

    told(database, story)


# -- providers, plans, bands, numbers, discounts ----------------------------------------------------------------------


def test_a_provider_goes_when_nothing_needs_it_any_more(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/providers/megafon", role="b2b", json={"name": "Мегафон"})
        await api.ok("PUT", "/api/numbers/74951112233", json={"provider_id": "megafon"})
        kept = await api.ask("POST", "/api/providers/megafon/remove", role="b2b", json={"reason": "x"})
        assert kept.status_code == 409
        assert "number 74951112233" in kept.json()["detail"]
        await publish_list(api, "W", "wholesale", "megafon")
        kept = await api.ask("POST", "/api/providers/megafon/remove", role="b2b", json={"reason": "x"})
        assert "price list W" in kept.json()["detail"]

        await api.ok("POST", "/api/providers/known1/remove", role="b2b", json={"reason": "contract ended"})
        assert await latest(api) == ("provider", "known1", None)
        listed = [one["provider_id"] for one in (await api.ok("GET", "/api/providers"))["items"]]
        assert listed == ["megafon"]

    told(database, story)


def test_a_plan_has_retail_lists_in_force(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await publish_list(api, "W", "wholesale", "known1")
        lists = [{"price_list_id": "R"}, {"price_list_id": "W"}, {"price_list_id": "none"}, {"price_list_id": "R"}]
        answer = await api.ask("PUT", "/api/tariff-plans/T", role="marketing", json={"lists": lists})
        assert errors(answer).keys() == {f"/lists/{n}/price_list_id" for n in (1, 2, 3)}
        plan = {"lists": [{"price_list_id": "R", "priority": 2}], "name": "Большой", "forbid_loss": True}
        await api.ok("PUT", "/api/tariff-plans/T", role="marketing", json=plan)
        assert await latest(api) == (
            "tariff_plan",
            "T",
            {
                "type": "tariff_plan",
                "tariff_plan_id": "T",
                "lists": [{"price_list_id": "R", "priority": 2}],
                "forbid_loss": True,
            },
        )
        kept = await api.ask("POST", "/api/tariff-plans/known1/remove", role="marketing", json={"reason": "x"})
        assert kept.status_code == 409
        assert "account " in kept.json()["detail"]

    told(database, story)


NO_BANDS: list[tuple[dict[str, Any], str]] = [
    ({"time_zone": "Europe/Atlantis"}, "/time_zone"),
    ({"time_zone": "../../etc/passwd"}, "/time_zone"),
    ({"dates": ["2026-02-29"]}, "/dates/0"),
    ({"dates": ["--02-29", "--02-30"]}, "/dates/1"),
    ({"weekdays": [0]}, "/weekdays/0"),
    ({"start_minute": 1440}, "/start_minute"),
]


def test_a_band_is_a_part_of_the_calendar(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for band, pointer in NO_BANDS:
            answer = await api.ask("PUT", "/api/bands/B", role="marketing", json=band)
            assert errors(answer).keys() == {pointer}, band

    told(database, story)


def test_a_number_enters_free_and_depends_on_its_unwanted_calls(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok(
            "PUT",
            "/api/clock",
            role="administrator",
            json={"at": "2026-11-23T21:30:00Z", "running": False, "reason": "x"},
        )
        number = await api.ok("PUT", "/api/numbers/74951201031", json={"region": "Москва"})
        assert number["status"] == "free"
        assert number["saleable"] == "depends_on_ncv"
        assert number["joined_on"] == "2026-11-24", "by the business time zone"
        kind, key, record = await latest(api)
        assert (kind, key, record["status"]) == ("number", "74951201031", "free")

    told(database, story)


def test_nobody_moves_a_number_by_hand(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/numbers/1", json={"status": "archive"})
        await api.ok("PUT", "/api/numbers/2", json={"status": "in_use", "account_id": "known1"})
        for number, wanted in (
            ("1", {"status": "free"}),
            ("1", {"archived_on": "2020-01-01"}),
            ("2", {"status": "free"}),
            ("2", {"account_id": "blocked1"}),
        ):
            answer = await api.ask("PUT", f"/api/numbers/{number}", json=wanted)
            assert answer.status_code == 409, (number, wanted, answer.text)
        forced = await api.ask("PUT", "/api/numbers/1", json={"saleable": "forced_yes"})
        assert errors(forced).keys() == {"/saleable"}
        await api.ok("PUT", "/api/numbers/2", json={"region": "Тверь"})
        assert (await api.ok("GET", "/api/numbers/2"))["account_id"] == "known1"
        for body, pointer in (
            ({"status": "in_use"}, "/account_id"),
            ({"status": "free", "account_id": "known1"}, "/account_id"),
            ({"provider_id": "none"}, "/provider_id"),
            ({"joined_on": "2026-02-30"}, "/joined_on"),
        ):
            assert errors(await api.ask("PUT", "/api/numbers/3", json=body)).keys() == {pointer}

    told(database, story)


def test_two_discounts_for_one_service_do_not_hold_at_one_moment(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        path = "/api/accounts/known1/discounts"

        def discount(start: str | None, end: str | None, service: str | None = None) -> dict[str, Any]:
            return {"percent_micros": 10_000_000, "service": service, "valid_from": start, "valid_to": end}

        spring, summer = "2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z"
        overlap = [discount(None, summer), discount(spring, None), discount(spring, None, "outgoing")]
        answer = await api.ask("PUT", path, role="billing", json={"discounts": overlap, "reason": "x"})
        assert errors(answer).keys() == {"/discounts/1/valid_from"}
        backwards = await api.ask(
            "PUT", path, role="billing", json={"discounts": [discount(summer, spring)], "reason": "x"}
        )
        assert errors(backwards).keys() == {"/discounts/0/valid_to"}

        fits = [discount(None, spring), discount(spring, None), discount(spring, None, "outgoing")]
        await api.ok("PUT", path, role="billing", json={"discounts": fits, "reason": "x"})
        assert len((await api.ok("GET", path))["discounts"]) == 3
        kind, key, record = await latest(api)
        assert (kind, key, len(record["discounts"])) == ("discounts", "known1", 3)
        await api.ok("PUT", path, role="billing", json={"discounts": [], "reason": "over"})
        assert (await latest(api))[2]["discounts"] == []

    told(database, story)


# -- letters, calendar, clock -----------------------------------------------------------------------------------------


def test_letters_are_read_with_their_attachments(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        pool = api.database.pool
        for n in range(3):
            letter_id = await pool.fetchval(
                "INSERT INTO office.letters (kind, once_key, client_id, recipient, subject, body, written_at) "
                "VALUES ('critical_balance', $1, 'known1', 'a@b.ru', 'Баланс', 'Текст', now()) RETURNING letter_id",
                f"letter {n}",
            )
        await pool.execute(
            "INSERT INTO office.letter_attachments VALUES ($1, 1, $2, 'text/html', $3)",
            letter_id,
            'счёт "№1".html\r\nX: y',
            b"<script>",
        )
        found = await api.ok("GET", "/api/letters?client_id=known1&kind=critical_balance&limit=2")
        assert [one["letter_id"] for one in found["items"]] == [letter_id, letter_id - 1]
        assert found["items"][0]["attachments"] == [
            {"place": 1, "name": 'счёт "№1".html\r\nX: y', "media_type": "text/html", "size_bytes": 8}
        ]
        rest = await api.ok("GET", f"/api/letters?client_id=known1&after={found['next']}")
        assert [one["letter_id"] for one in rest["items"]] == [letter_id - 2]

        file = await api.ask("GET", f"/api/letters/{letter_id}/attachments/1")
        assert file.content == b"<script>"
        assert file.headers["content-type"] == "application/octet-stream"
        assert file.headers["content-disposition"] == 'attachment; filename="1.htmlXy"'
        assert (await api.ask("GET", f"/api/letters/{letter_id}/attachments/2")).status_code == 404
        assert (await api.ask("GET", "/api/letters?kind=none")).json() == {"items": [], "next": None}

    told(database, story)


def test_the_calendar_is_loaded_for_a_period_and_says_what_differs(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        def year(*days: str) -> dict[str, Any]:
            return {
                "since": "2026-01-01",
                "until": "2026-12-31",
                "days": [{"day": day, "kind": "day_off"} for day in days],
            }

        await api.ok("PUT", "/api/calendar", json=year("2026-11-04", "2026-01-01"))
        await api.ok("PUT", "/api/calendar", json=year("2026-11-04"))
        found = await api.ok("GET", "/api/calendar?since=2026-11-01&until=2026-11-30")
        assert [one["day"] for one in found["days"]] == ["2026-11-04"]
        assert len((await api.ok("GET", "/api/calendar"))["days"]) == 1
        for wrong, pointer in (
            (year("2027-01-01"), "/days/0/day"),
            (year("2026-11-04", "2026-11-04"), "/days/1/day"),
            (year("2026-02-30"), "/days/0/day"),
            (year() | {"until": "2025-12-31"}, "/until"),
        ):
            assert errors(await api.ask("PUT", "/api/calendar", json=wrong)).keys() == {pointer}

    told(database, story)


def test_the_business_clock_stands_still_or_goes_on_from_where_it_was_set(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async def set_clock(**wanted: Any) -> Any:
            return await api.ok("PUT", "/api/clock", role="administrator", json={"reason": "a test", **wanted})

        stopped = await set_clock(at="2026-08-31T00:00:00Z", running=False)
        assert (stopped["mode"], stopped["now"], stopped["today"]) == (
            "stopped",
            "2026-08-31T00:00:00.000Z",
            "2026-08-31",
        )
        payment = await booked(api, "payments", {"amount_micros": 1}, "1")
        assert payment.json()["at"] == "2026-08-31T00:00:00.000Z"
        shifted = await set_clock(at="2030-01-01T00:00:00Z")
        assert shifted["now"].startswith("2030-01-01T00:00:")
        # Whoever is signed in stays so: that goes by the real time.
        assert (await api.ok("GET", "/api/clock"))["now"].startswith("2030-01-01T00:00:")
        forgotten = await api.ask("PUT", "/api/clock", role="administrator", json={"reason": "a test"})
        assert errors(forgotten).keys() == {"/at"}
        assert (await api.ok("GET", "/api/clock"))["mode"] == "shifted"
        assert (await set_clock(at=None))["mode"] == "real"

    told(database, story)


def test_where_the_settings_do_not_allow_it_nobody_sets_the_clock(database: TestedDatabase) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db, http=replace(GENEROUS, settable_clock=False)) as api:
            answer = await api.ask(
                "PUT", "/api/clock", role="administrator", json={"at": "2030-01-01T00:00:00Z", "reason": "x"}
            )
            assert answer.status_code == 409
            assert (await api.ok("GET", "/api/clock"))["settable"] is False

    database.run(opened, role=APP)


def test_the_audit_is_read_by_entity_actor_and_time(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("PUT", "/api/providers/P1", role="b2b", json={"name": "one", "reason": "new contract"})
        await api.ok("PUT", "/api/providers/P1", role="b2b", json={"name": "two"})
        rows = (await api.ok("GET", "/api/audit?entity=provider&entity_id=P1", role="auditor"))["items"]
        assert [(row["action"], row["before"] and row["before"]["name"], row["after"]["name"]) for row in rows] == [
            ("changed", "one", "two"),
            ("created", None, "one"),
        ]
        assert rows[1]["reason"] == "new contract"
        assert (await api.ok("GET", "/api/audit?actor=nobody", role="auditor"))["items"] == []
        assert (await api.ok("GET", "/api/audit?until=2020-01-01T00:00:00Z", role="auditor"))["items"] == []

    told(database, story)
