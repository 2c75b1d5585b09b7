"""Clients found by parts of what is known of them: as a plain look at every client finds them, and by the indexes."""

import asyncio
import re
from random import Random
from typing import NamedTuple

import asyncpg
import pytest
from postgres import TestedDatabase

from backoffice.clients import word_parts
from backoffice.office import search_words
from connectors.postgres import migrate
from connectors.postgres.clients import Place, Wanted, search, statement
from connectors.postgres.database import APP, Database
from connectors.postgres.migrate import read_migrations
from connectors.postgres.queries import sql


class Client(NamedTuple):
    client_id: str
    name: str
    inn: str | None
    account_id: str | None
    number: str | None


SIGNS = "абвё^$_\\%x1-»"
"""Few, so that parts coincide; those that mean something in patterns and in the index, or part words."""


def some_clients(chance: Random, count: int) -> list[Client]:
    def word() -> str:
        return "".join(chance.choices(SIGNS.replace("%", ""), k=chance.randint(1, 7)))

    return [
        Client(
            f"C{number}",
            " ".join(word() for _ in range(chance.randint(1, 3))),
            None if chance.random() < 0.3 else f"77{chance.randrange(10**8):08d}",
            None if chance.random() < 0.2 else f"1{number:04d}",
            None if chance.random() < 0.4 else f"7495{number:05d}",
        )
        for number in range(count)
    ]


def fits(pattern: str, text: str) -> bool:
    """% is any signs."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("%"))), text, re.DOTALL) is not None


def expected(clients: list[Client], wanted: Wanted) -> list[str]:
    """By a look at each."""
    words = [word for word in wanted_words(wanted.name or "") if word.strip("%")]
    patterns = [word if "%" in word else f"{word}%" for word in words]

    def found(client: Client) -> bool:
        of_name = search_words(client.name)
        # % stands within a word, or for the rest of one, whole words and the beginning of another.
        runs = [" ".join(of_name[a:b]) for a in range(len(of_name)) for b in range(a + 1, len(of_name) + 1)]
        return (
            all(any(fits(one, run) for run in runs) for one in patterns)
            and (wanted.inn is None or (client.inn is not None and fits(wanted.inn, client.inn)))
            and (
                wanted.account_id is None
                or (client.account_id is not None and fits(wanted.account_id, client.account_id))
            )
            and (
                wanted.number is None
                or (
                    None not in (client.number, client.account_id)
                    and fits(wanted.number.lstrip("+"), client.number or "")
                )
            )
        )

    return sorted(client.client_id for client in clients if found(client))


def wanted_words(text: str) -> list[str]:
    """What is looked for: runs of letters, digits and %."""
    return re.findall(r"[^\W_%]*(?:%[^\W_%]*)*", text.lower().replace("ё", "е"))


def cut(chance: Random, text: str) -> str:
    """A part of a text with % where something was left out; sometimes the whole."""
    first, last = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    middle = text[first:last]
    if len(middle) > 2 and chance.random() < 0.2:
        middle = f"{middle[0]}%{middle[2:]}"
    return {0: text, 1: f"%{middle}", 2: f"{middle}%", 3: f"%{middle}%"}[chance.randrange(4)]


async def enter(db: Database, clients: list[Client]) -> None:
    await db.pool.execute("INSERT INTO office.tariff_plans (tariff_plan_id, name) VALUES ('T', 'T')")
    await db.pool.executemany(
        "INSERT INTO office.clients (client_id, name, inn, search_words, created_at, created_by) "
        "VALUES ($1, $2, $3, $4, now(), 'test')",
        [(one.client_id, one.name, one.inn, list(search_words(one.name))) for one in clients],
    )
    await db.pool.executemany(
        "INSERT INTO office.accounts (account_id, client_id, tariff_plan_id, payment_mode, currency, opening_status, "
        "status, created_at, created_by) VALUES ($1, $2, 'T', 'prepaid', 'RUB', 'active', 'active', now(), 'test')",
        [(one.account_id, one.client_id) for one in clients if one.account_id is not None],
    )
    await db.pool.executemany(
        "INSERT INTO office.numbers (number, status, account_id, changed_at, changed_by, change_reason) "
        "VALUES ($1, $2, $3, now(), 'test', 'test')",
        [
            (one.number, "free" if one.account_id is None else "in_use", one.account_id)
            for one in clients
            if one.number is not None
        ],
    )


def test_the_search_finds_what_a_look_at_each_client_finds(database: TestedDatabase) -> None:
    chance = Random(7)
    clients = some_clients(chance, 400)

    async def story(db: Database) -> None:
        await enter(db, clients)
        found_some = 0
        for _ in range(400):
            client = chance.choice(clients)
            name = " ".join(cut(chance, word) for word in client.name.split() if chance.random() < 0.7)
            wanted = Wanted(
                cut(chance, client.account_id) if client.account_id and chance.random() < 0.3 else None,
                name if name and chance.random() < 0.8 else None,
                cut(chance, client.inn) if client.inn and chance.random() < 0.3 else None,
                f"+{cut(chance, client.number)}" if client.number and chance.random() < 0.3 else None,
            )
            total, rows = await search(db.pool, wanted, after=None, limit=1_000)
            assert sorted(row["client_id"] for row in rows) == expected(clients, wanted), wanted
            assert total == len(rows)
            found_some += total > 0
        assert found_some > 100

    database.run(story)


def test_pages_are_the_whole_in_the_order_of_names(database: TestedDatabase) -> None:
    clients = some_clients(Random(8), 60)

    async def story(db: Database) -> None:
        for wanted in (Wanted(), Wanted(name="%а%"), Wanted(inn="77%")):
            total, whole = await search(db.pool, wanted, after=None, limit=1_000)
            assert total == len(whole) > 7
            pages, after = [], None
            while True:
                counted, rows = await search(db.pool, wanted, after=after, limit=7)
                assert counted == total
                if not rows:
                    break
                pages += rows
                after = Place(rows[-1]["name"], rows[-1]["client_id"])
            assert pages == whole

    async def entered(db: Database) -> None:
        await enter(db, clients)

    database.run(entered)
    database.run(story, role=APP)


def test_the_database_takes_words_apart_as_the_office_does(database: TestedDatabase) -> None:
    """Whole words, each with its beginning and end, have the same parts there and here."""
    chance = Random(9)
    words = ["".join(chance.choices("абвеx1йъ\U00020000", k=chance.randint(1, 9))) for _ in range(300)]

    async def story(db: Database) -> None:
        for word in words:
            parts = await db.pool.fetchval("SELECT office.word_parts($1)", [word])
            text = f"^{word}$"
            assert sorted(parts) == sorted({text[start : start + 3] for start in range(len(text) - 2)})
            # A beginning, an end and a middle have parts of theirs.
            for pattern in (word, f"%{word}", f"%{word}%"):
                assert set(word_parts(pattern)) <= set(parts)
        assert await db.pool.fetchval("SELECT office.word_parts('{}')") == []

    database.run(story)


TEXTS = [
    "ООО «Авто-Сервис», Москва",
    "ЗАО (Сервис) №1",
    "a_b\\c",
    "и\u0306од Ёлкин",
    "",
    "«»",
    "100% Сок",
    "x\u00a0y\tz\nq",
    "O'Нил",
]


def test_the_database_parts_words_as_the_office_does(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        for text in TEXTS:
            assert tuple(await db.pool.fetchval("SELECT office.words_of($1)", text)) == search_words(text), text
        assert search_words(TEXTS[0]) == ("ооо", "авто", "сервис", "москва")

    database.run(story)


def test_what_was_there_before_is_found_too(empty_database: TestedDatabase) -> None:
    """Clients that were entered, or loaded without words, and services under other spellings, before 0013."""
    steps = read_migrations()
    number = next(place for place, one in enumerate(steps) if one.name == "0013_mentions.sql")

    async def story() -> None:
        connection = await asyncpg.connect(empty_database.dsn)
        try:
            await migrate.migrate(connection, steps[:number])
            await connection.execute(
                """
                INSERT INTO office.tariff_plans (tariff_plan_id, name) VALUES ('T', 'T');
                INSERT INTO office.clients (client_id, name, surname, search_words, city, created_at, created_by) VALUES
                    ('C1', 'ООО «Авто-Сервис.»', NULL, '{ооо,авто-сервис.}', 'Тверь', now(), 'x'),
                    ('C2', 'ИП Хвоя', 'Ёлкин', '{ип,хвоя}', NULL, now(), 'x'),
                    ('C-3', 'C-3', NULL, '{}', NULL, now(), 'x');
                INSERT INTO office.accounts (account_id, client_id, tariff_plan_id, payment_mode, currency,
                    opening_status, status, created_at, created_by)
                VALUES ('A', 'C1', 'T', 'prepaid', 'RUB', 'active', 'active', now(), 'x');
                INSERT INTO office.account_services (account_id, service, connected_at, connected_by) VALUES
                    ('A', 'CALLS_REC', now(), 'x'), ('A', 'fax', now(), 'x'), ('A', 'Fax', now(), 'x');
                """
            )
            await migrate.migrate(connection, steps)
            words = await connection.fetch("SELECT search_words FROM office.clients ORDER BY client_id")
            assert [row[0] for row in words] == [["c", "3"], ["ооо", "авто", "сервис"], ["ип", "хвоя", "елкин"]]
            assert await connection.fetchval(
                "SELECT 'тверь' = ANY (mention_words) FROM office.clients WHERE city = 'Тверь'"
            )
            services = await connection.fetch("SELECT service FROM office.account_services ORDER BY 1")
            assert [row[0] for row in services] == ["Fax", "calls_rec", "fax"]
        finally:
            await connection.close()

    asyncio.run(story())


async def names_found(db: Database, text: str) -> list[str]:
    _, rows = await search(db.pool, Wanted(name=text), after=None, limit=100)
    return [row["name"] for row in rows]


def test_words_end_at_any_sign_and_per_cent_stands_for_whole_words_too(database: TestedDatabase) -> None:
    names = [
        "ООО «Сервис.»",
        "ЗАО (Сервис)",
        "ООО Авто-Сервис, Москва",
        "Сервис-Плюс",
        "ООО «Строй Сервис»",
        "Сервисный центр",
    ]

    async def story(db: Database) -> None:
        await enter(db, [Client(f"C{n}", name, None, None, None) for n, name in enumerate(names)])
        assert sorted(await names_found(db, "%сервис")) == sorted(names[:5])
        assert sorted(await names_found(db, "сервис")) == sorted(names)
        for text in ("Строй%Сервис", "стр%вис", "строй%", "%рой сер%", "ст%й се%с"):
            assert await names_found(db, text) == ["ООО «Строй Сервис»"], text
        # In their order.
        assert await names_found(db, "Сервис%Строй") == []

    database.run(story)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(name="попов%"), "clients_word_parts"),
        (Wanted(name="%попов"), "clients_word_parts"),
        (Wanted(name="%попо%"), "clients_word_parts"),
        (Wanted(name="по"), "clients_word_parts"),
        (Wanted(inn="7701234567"), "clients_inn"),
        (Wanted(inn="77%"), "clients_inn"),
        (Wanted(account_id="100200"), "accounts_pkey"),
        (Wanted(account_id="1002%"), "accounts_pkey"),
        (Wanted(number="+7495%"), "numbers_pkey"),
        (Wanted(), "clients_by_name"),
    ],
)
def test_a_search_goes_by_its_index(database: TestedDatabase, wanted: Wanted, index: str) -> None:
    """Also where one plan serves all arguments."""

    async def story(db: Database) -> None:
        query, arguments = statement(wanted)
        literals = ", ".join(_literal(one) for one in (*arguments, None, None, 100))
        async with db.pool.acquire() as connection:
            for mode in ("force_custom_plan", "force_generic_plan"):
                await connection.execute(f"SET plan_cache_mode = {mode}")
                # An empty table would be read whole.
                await connection.execute("SET enable_seqscan = off")
                await connection.execute(f"PREPARE asked AS {query}")
                rows = await connection.fetch(f"EXPLAIN EXECUTE asked ({literals})")
                await connection.execute("DEALLOCATE asked")
                assert any(index in row[0] for row in rows), "\n".join(row[0] for row in rows)

    database.run(story)


@pytest.mark.parametrize(
    ("query", "arguments", "indexes"),
    [
        (
            "clients/mentioning",
            (["^ка"], ["% калуга%"], "74951112233", "калуга", 20),
            ("clients_mention_parts", "clients_phones", "client_tags_tag"),
        ),
        ("clients/found_accounts", ("1002%", ["^ка"], ["% калуга%"], 20), ("accounts_pkey", "accounts_mention_parts")),
    ],
)
def test_whatever_mentions_a_text_is_found_by_indexes(
    database: TestedDatabase, query: str, arguments: tuple[object, ...], indexes: tuple[str, ...]
) -> None:
    async def story(db: Database) -> None:
        async with db.pool.acquire() as connection:
            await connection.execute("SET enable_seqscan = off")
            await connection.execute(f"PREPARE asked AS {sql(query)}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE asked ({', '.join(map(_literal, arguments))})")
            await connection.execute("DEALLOCATE asked")
            plan = "\n".join(row[0] for row in rows)
            assert [index for index in indexes if index not in plan] == [], plan

    database.run(story)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]::text[]"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
