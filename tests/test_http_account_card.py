"""What became of an account, whoever ordered it: orders that came past the office are in its lists, on its card and can
be taken back; postings with their causes add up to the balance."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from api import APP, Api, api_on
from api_samples import prepare
from golden.update import FOLDER
from postgres import TestedDatabase
from projected import operator, project

from connectors.files.reference_folder import read_reference_folder
from connectors.postgres.database import Database, open_database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings

AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


def told(database: TestedDatabase, story: Any) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db) as api:
            await prepare(api, 1)
            await story(api)

    database.run(opened, role=APP)


def on_half_hour(database: TestedDatabase, story: Any) -> None:
    async def opened(db: Database) -> None:
        folder = read_reference_folder(
            FOLDER / "busy_half_hour" / "reference", emergency_numbers=EngineSettings().emergency_numbers
        )
        await load_folder(db.pool, folder, author="ivanov", at=datetime(2026, 11, 1, tzinfo=UTC))
        async with operator() as played:
            await project(played, db)
        async with api_on(db) as api:
            await story(api)

    database.run(opened)


async def moved(api: Api, number: int, kind: str, amount: int = 0, *, reason: str | None = None, copy: int = 0) -> None:
    """A movement as the projector writes it: of the command `out{number}`, a minute after the one before."""
    async with open_database(api.database.settings, role=None) as owner:
        await owner.pool.execute(
            "INSERT INTO facts.movements (source_partition, source_offset, copy, at, recorded_at, amount_micros, "
            "balance_after_micros, kind, account_id, cause_id, currency, status, reference, reason, record) "
            "VALUES (0, $1, $6, $2, $2, $3, 0, $4, 'known1', 'out' || $7, 'RUB', $8, NULL, $5, '')",
            number + copy,
            AT + timedelta(minutes=number),
            amount,
            kind,
            reason,
            copy,
            str(number),
            {"block": "blocked", "close": "closed"}.get(kind, "active"),
        )


def test_what_was_blocked_past_the_office_is_unblocked_by_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async def order(kind: str) -> int:
            path = f"/api/accounts/known1/{kind}"
            return (await api.ask("POST", path, role="billing", json={"reason": kind})).status_code

        await moved(api, 1, "block", reason="не платит")
        assert await order("block") == 409
        assert await order("unblock") == 200
        # It is under way: the engine's last word is older.
        assert await order("unblock") == 409
        assert await order("block") == 200
        # All of it was carried out, and then somebody else ended the block.
        async with open_database(api.database.settings, role=None) as owner:
            await owner.pool.execute("UPDATE office.commands SET state = 'applied', state_at = now()")
        await moved(api, 2, "unblock")
        assert await order("unblock") == 409
        assert await order("block") == 200
        blocks = await api.database.pool.fetch(
            "SELECT reason, unblocked_by FROM office.account_blocks WHERE account_id = 'known1' ORDER BY block_id"
        )
        assert [tuple(row) for row in blocks] == [("block", "outside the office"), ("block", None)]

    told(database, story)


def test_orders_that_came_past_the_office_are_in_its_lists(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await moved(api, 1, "payment", 5_000_000)
        await moved(api, 2, "top_up", -1_000_000)
        await moved(api, 3, "write_off", -40_000)
        await moved(api, 4, "block", reason="не платит")
        await moved(api, 5, "unblock", reason="заплатил")
        # The same order carried out once more is still one order.
        await moved(api, 1, "payment", 5_000_000, copy=900)
        # Of the office's own order the movement is not another one.
        await api.ok(
            "POST",
            "/api/accounts/known1/payments",
            role="billing",
            once="p",
            json={"amount_micros": 7, "command_id": "out6", "at": "2026-11-20T10:00:00Z"},
        )
        await moved(api, 6, "payment", 7)
        for path, rows in (
            ("payments", [("out6", 7, "office"), ("out1", 5_000_000, "outside")]),
            ("top-ups", [("out2", -1_000_000, "outside")]),
            # A write-off's amount is what is taken.
            ("write-offs", [("out3", 40_000, "outside")]),
            ("orders", [("out5", None, "outside"), ("out4", None, "outside")]),
        ):
            found = (await api.ok("GET", f"/api/accounts/known1/{path}"))["items"]
            assert [(one["command_id"], one["amount_micros"], one["origin"]) for one in found] == rows, path
        outside = found[1]
        assert (outside["reason"], outside["author"], outside["state"]) == (
            "не платит",
            "outside the office",
            "applied",
        )
        exported = await api.ask("GET", "/api/accounts/known1/payments/export")
        assert "out1" in exported.text
        card = await api.ok("GET", "/api/accounts/known1/card")
        assert [(one["command_id"], one["amount_micros"]) for one in card["write_offs"]] == [("out3", 40_000)]

    told(database, story)


def test_pages_of_both_kinds_of_orders_have_no_gaps(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for number in range(1, 8):
            await moved(api, number, "payment", number)
            at = (AT + timedelta(minutes=number, seconds=30 * (number % 2))).isoformat()
            sent = {"amount_micros": number, "command_id": f"in{number}", "at": at}
            await api.ok("POST", "/api/accounts/known1/payments", role="billing", once=f"{number}", json=sent)
        whole = (await api.ok("GET", "/api/accounts/known1/payments"))["items"]
        assert len({one["command_id"] for one in whole}) == 14
        seen, after = [], ""
        while True:
            found = await api.ok("GET", f"/api/accounts/known1/payments?limit=3{after}")
            seen += found["items"]
            if found["next"] is None:
                break
            after = f"&after={found['next']}"
        assert seen == whole

    told(database, story)


def test_the_card_has_the_last_block_and_the_closing_whoever_ordered_them(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        path = "/api/accounts/known1/card"
        assert (await api.ok("GET", path))["last_block"] is None
        await moved(api, 1, "block", reason="не платит")
        block = (await api.ok("GET", path))["last_block"]
        assert block == {
            "at": "2026-11-20T09:01:00.000Z",
            "by": "outside the office",
            "reason": "не платит",
            "ended_at": None,
        }
        await moved(api, 2, "unblock", reason="заплатил")
        assert (await api.ok("GET", path))["last_block"]["ended_at"] == "2026-11-20T09:02:00.000Z"

        # One of the office's own is later, and was ended past the office.
        await api.ok("POST", "/api/accounts/known1/block", role="billing", json={"reason": "опять не платит"})
        block = (await api.ok("GET", path))["last_block"]
        assert (block["reason"], block["by"], block["ended_at"]) == ("опять не платит", "billing1", None)

        assert (await api.ok("GET", path))["closed"] is None
        await moved(api, 9, "close", reason="ушёл")
        closed = (await api.ok("GET", path))["closed"]
        assert closed == {"at": "2026-11-20T09:09:00.000Z", "by": "outside the office", "reason": "ушёл"}

    told(database, story)


def test_the_offices_own_closing_is_on_the_card(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("POST", "/api/accounts/known1/close", json={"reason": "расторгнут"})
        closed = (await api.ok("GET", "/api/accounts/known1/card"))["closed"]
        assert (closed["by"], closed["reason"]) == ("manager1", "расторгнут")

    told(database, story)


def test_a_payment_that_came_past_the_office_is_taken_back_once(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await moved(api, 1, "payment", 5_000_000)
        path = "/api/accounts/known1/payments"
        back = {"amount_micros": -5_000_000, "reverses": "out1"}
        await api.ok("POST", path, role="billing", once="1", json=back)
        assert (await api.ask("POST", path, role="billing", once="2", json=back)).status_code == 409
        # Its id is taken.
        sent = {"amount_micros": 5_000_000, "command_id": "out1"}
        assert (await api.ask("POST", path, role="billing", once="3", json=sent)).status_code == 409

    told(database, story)


def test_postings_add_up_to_the_balance_and_say_their_causes(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        account_id = "100208"
        path = f"/api/accounts/{account_id}/postings"
        seen: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": 7}
        while True:
            found = await api.ok("GET", path, role="support", params=query)
            seen += found["items"]
            if found["next"] is None:
                break
            query["after"] = found["next"]
        said = await api.database.pool.fetchrow("SELECT * FROM facts.balances WHERE account_id = $1", account_id)
        assert sum(one["amount_micros"] for one in seen) == said["balance_micros"]
        assert seen == (await api.ok("GET", path, params={"limit": 5000}))["items"]
        assert len({(one["cause"], one["cause_id"]) for one in seen}) == len(seen) > 40
        causes = Counter(one["cause"] for one in seen)
        assert causes["opening"] == 1
        calls = await api.database.pool.fetch(
            "SELECT cdr_id, retail_micros, ended_at, service FROM facts.rated_cdrs "
            "WHERE account_id = $1 AND retail_micros > 0",
            account_id,
        )
        assert causes["rated_cdr"] == len(calls)
        posted = {one["cause_id"]: one for one in seen if one["cause"] == "rated_cdr"}
        for call in calls:
            one = posted[call["cdr_id"]]
            assert one["amount_micros"] == -call["retail_micros"]
            assert (one["against"], one["service"], one["author"]) == ("revenue", call["service"], None)
            assert datetime.fromisoformat(one["at"]) == call["ended_at"]
        opening = next(one for one in seen if one["cause"] == "opening")
        assert (opening["amount_micros"], opening["cause_id"], opening["against"]) == (
            -150_000_000_000,
            account_id,
            "opening",
        )
        # In the order of booking each balance follows from the one before.
        ordered = sorted(seen, key=lambda one: (one["cause"] != "opening", one["booked_at"]))
        assert {one["balance_after_micros"] for one in ordered} >= {said["balance_micros"]}

        assert (await api.ok("GET", path, params={"since": "2026-11-25"}))["items"] == []
        (day,) = {one["day"] for one in seen if one["cause"] == "rated_cdr"}
        assert len((await api.ok("GET", path, params={"since": day, "until": day, "limit": 5000}))["items"]) >= len(
            calls
        )
        table = (await api.ask("GET", f"{path}/export")).content.decode("utf-8-sig").splitlines()
        assert len(table) == len(seen) + 1
        assert table[0].startswith("day,at,booked_at,cause,cause_id,amount,balance_after")
        assert (await api.ask("GET", path, params={"since": "2026-11-25", "until": "2026-11-24"})).status_code == 422
        assert (await api.ask("GET", path, params={"after": "x"})).status_code == 422
        assert (await api.ask("GET", path, role="marketing")).status_code == 403
        assert (await api.ask("GET", "/api/accounts/nobody/postings")).status_code == 404

    on_half_hour(database, story)


def test_the_author_of_an_order_stands_at_its_posting(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        rows = await api.database.pool.fetch(
            "SELECT account_id, cause_id FROM books.transfers WHERE cause = 'payment' AND account_id IS NOT NULL"
        )
        assert rows
        for account_id, cause_id in rows[:3]:
            found = (await api.ok("GET", f"/api/accounts/{account_id}/postings", params={"limit": 5000}))["items"]
            (one,) = [one for one in found if one["cause_id"] == cause_id]
            assert (one["author"], one["against"]) == ("outside the office", "cash")
            assert one["amount_micros"] > 0
        # Blocked, unblocked and closed by the switch's own events.
        block = (await api.ok("GET", "/api/accounts/100309/card"))["last_block"]
        assert (block["at"], block["reason"]) == ("2026-11-24T09:00:06.066Z", "Подозрение на фрод")
        assert block["ended_at"] == "2026-11-24T09:14:48.066Z"
        assert (await api.ok("GET", "/api/accounts/100318/card"))["closed"]["reason"] == "Договор расторгнут"

    on_half_hour(database, story)
