"""The books: what each movement and each call does in double entry, and that nobody can put them out of balance."""

import asyncpg
import pytest
from projected import MOVEMENTS, RATED, balances_by_books, operator, project

from backoffice.books import AGAINST, LedgerAccount, Transfer, of_movement, of_purchase, of_sale
from connectors.postgres.database import Database
from schemas.facts import AccountMovement

CLIENT = LedgerAccount("client", "1")


@pytest.mark.parametrize(
    ("kind", "amount", "debit", "credit"),
    [
        # What a client had when his account was opened, and what he owed.
        ("opening", 5, LedgerAccount("opening"), CLIENT),
        ("opening", -5, CLIENT, LedgerAccount("opening")),
        # Money that came, and money that went back.
        ("payment", 5, LedgerAccount("cash"), CLIENT),
        ("payment", -5, CLIENT, LedgerAccount("cash")),
        # A virtual addition is no payment (§3.5).
        ("top_up", 5, LedgerAccount("top_up"), CLIENT),
        ("top_up", -5, CLIENT, LedgerAccount("top_up")),
        # A write-off of 5 takes 5 off the balance; a negative one gives money back (§3.2).
        ("write_off", -5, CLIENT, LedgerAccount("write_off")),
        ("write_off", 5, LedgerAccount("write_off"), CLIENT),
        # What calls were charged too much comes back, what they were charged too little is taken.
        ("correction", 5, LedgerAccount("correction"), CLIENT),
        ("correction", -5, CLIENT, LedgerAccount("correction")),
    ],
)
def test_a_movement_is_a_transfer_between_the_client_and_what_it_is_for(kind, amount, debit, credit):
    assert of_movement(kind, "1", amount) == Transfer(debit, credit, 5)


def test_a_call_is_sold_to_the_client_and_bought_from_the_provider():
    assert of_sale("1", "outgoing", 7) == Transfer(CLIENT, LedgerAccount("revenue", "outgoing"), 7)
    assert of_purchase("north", "outgoing", 3) == Transfer(
        LedgerAccount("cost", "outgoing"), LedgerAccount("payable", "north"), 3
    )


@pytest.mark.parametrize("kind", ["block", "unblock", "close", "opening"])
def test_where_no_money_moves_there_is_no_transfer(kind):
    assert of_movement(kind, "1", 0) is None


def test_a_free_call_is_no_transfer():
    assert of_sale("1", "incoming", 0) is None
    assert of_purchase("north", "outgoing", 0) is None


def test_what_the_books_do_not_know_is_refused():
    with pytest.raises(ValueError, match="no movement 'gift'"):
        of_movement("gift", "1", 5)
    with pytest.raises(ValueError, match="'block' moves no money"):
        of_movement("block", "1", 5)


def test_the_books_know_all_kinds_of_movements():
    assert set(AGAINST) == set(AccountMovement.__annotations__["kind"].__args__)


def test_the_ledger_comes_to_what_was_published(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)

            rows = await db.pool.fetch(
                "SELECT d.kind, d.owner, c.kind, c.owner, sum(amount_micros) FROM books.transfers"
                " JOIN books.accounts d ON d.ledger_id = debit JOIN books.accounts c ON c.ledger_id = credit"
                " WHERE c.kind IN ('revenue', 'payable') GROUP BY 1, 2, 3, 4"
            )
            sold, bought = {}, {}
            for debit, whose, credit, owner, micros in rows:
                there = sold if credit == "revenue" else bought
                key = owner if credit == "revenue" else (whose, owner)
                assert debit == ("client" if credit == "revenue" else "cost")
                there[key] = there.get(key, 0) + int(micros)
            expected_sold, expected_bought = {}, {}
            for call in op.told(RATED):
                if call["retail"] and (micros := call["retail"]["amount_micros"]):
                    expected_sold[call["service"]] = expected_sold.get(call["service"], 0) + micros
                if call["wholesale"] and (micros := call["wholesale"]["amount_micros"]):
                    key = (call["service"], call["provider_id"])
                    expected_bought[key] = expected_bought.get(key, 0) + micros
            assert sold == expected_sold
            assert bought == expected_bought
            paid = sum(one["amount_micros"] for one in op.told(MOVEMENTS) if one["kind"] == "payment")
            cash = "SELECT sum(amount_micros) FROM books.transfers JOIN books.accounts ON ledger_id = debit"
            assert await db.pool.fetchval(f"{cash} WHERE kind = 'cash'") == paid
            assert sum((await balances_by_books(db)).values()) != 0

    database.run(story, role="tollgate_projector")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ("1, 1, 5", asyncpg.CheckViolationError),  # from an account to itself
        ("1, 2, 0", asyncpg.CheckViolationError),
        ("1, 2, -5", asyncpg.CheckViolationError),
        ("1, NULL, 5", asyncpg.NotNullViolationError),
    ],
)
def test_a_transfer_out_of_balance_can_not_be_written(database, values, error):
    async def story(db: Database) -> None:
        await db.pool.execute("SELECT books.ensure_month('2026-11-01')")
        with pytest.raises(error):
            await db.pool.execute(
                "INSERT INTO books.transfers (debit, credit, amount_micros, day, source_partition, source_offset,"
                f" recorded_at, cause, cause_id) VALUES ({values}, '2026-11-24', 0, 0, now(), 'payment', 'p1')"
            )

    database.run(story, role="tollgate_projector")


def test_each_account_of_the_ledger_is_opened_once_for_all(database):
    async def story(db: Database) -> None:
        async with operator() as op:
            await project(op, db)
            await project(op, db)
        assert (
            await db.pool.fetchval("SELECT max(n) FROM (SELECT count(*) n FROM books.accounts GROUP BY kind, owner) c")
            == 1
        )
        for statement in ("UPDATE books.accounts SET owner = '2'", "DELETE FROM books.accounts"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.pool.execute(statement)

    database.run(story)


@pytest.mark.parametrize("role", ["tollgate_app", "tollgate_relay", "tollgate_readonly"])
def test_only_the_projector_writes_the_books(database, role):
    async def story(db: Database) -> None:
        for table in ("books.accounts", "books.transfers", "facts.rated_cdrs", "facts.movements", "facts.balances"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.pool.execute(f"INSERT INTO {table} DEFAULT VALUES")

    database.run(story, role=role)
