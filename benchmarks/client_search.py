"""How long a search of clients takes (§1.1, §2.1) among a million: by account, name, INN and number, whole and with `%`
before, behind and around. With the queries of the API; each counts all that it finds and gives the first hundred.

How many clients there are says the variable TOLLGATE_BENCH_CLIENTS.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

from benchmarks.searching import own_database, plan, rows_wanted, times, without_indexes
from connectors.postgres.clients import Wanted, statement

ROWS = "TOLLGATE_BENCH_CLIENTS"
USUAL_ROWS = 1_000_000
PAGE = 100

_WORDS = """
    строй монтаж торг сервис транс логистик проект инвест групп холдинг альянс вектор восток запад север юг металл
    пласт хим нефть газ энерго свет тепло дом сад лес рыба мясо хлеб молоко фарм мед авто мото вело аэро гидро эко
    био гео инфо теле радио видео аудио софт хард нет линк
""".split()  # noqa: SIM905  (a list of them would be a page)
_SURNAMES = ["иванов", "петров", "сидоров", "смирнов", "кузнецов", "попов", "соколов", "новиков", "морозов"]
_GIVEN = ["александр", "алексей", "анна", "борис", "вера", "галина", "дмитрий", "елена", "игорь", "мария", "ольга"]

_FILL = """
INSERT INTO office.clients (client_id, kind, name, inn, city, created_at, created_by, search_words)
SELECT 'C' || n, 'company', array_to_string(words, ' '), (7700000000 + n)::text, 'Москва', now(), 'benchmark', words
FROM (
    SELECT n, CASE WHEN n % 3 = 0
        THEN ARRAY[($2::text[])[1 + (hashint4(n) & 65535) % array_length($2::text[], 1)] || (n % 9973)::text,
                   ($3::text[])[1 + (hashint4(n) >> 16 & 1023) % array_length($3::text[], 1)]]
        ELSE ARRAY['ооо', ($1::text[])[1 + (hashint4(n) & 65535) % array_length($1::text[], 1)]
                   || ($1::text[])[1 + (hashint4(n) >> 16 & 1023) % array_length($1::text[], 1)], (n % 99991)::text]
    END AS words
    FROM generate_series(1, {rows}) AS n
) AS made
"""


def run(runs: int = 1) -> dict[str, object]:
    """Makes the clients and searches; twenty searches of each kind for each run."""
    return asyncio.run(_measure(rows_wanted(ROWS, USUAL_ROWS), 20 * runs + 10))


async def _measure(rows: int, searches: int) -> dict[str, object]:
    chance = Random(1)
    async with own_database() as connected:
        began = time.perf_counter()
        await without_indexes(connected, "office.clients", _FILL.format(rows=rows), _WORDS, _SURNAMES, _GIVEN)
        await connected.execute("INSERT INTO office.tariff_plans (tariff_plan_id, name) VALUES ('T', 'T')")
        await connected.execute(
            "INSERT INTO office.accounts (account_id, client_id, tariff_plan_id, payment_mode, currency, "
            "opening_status, status, created_at, created_by) "
            f"SELECT (100000 + n)::text, 'C' || n, 'T', 'prepaid', 'RUB', 'active', 'active', now(), 'benchmark' "
            f"FROM generate_series(1, {rows}) AS n"
        )
        await connected.execute(
            "INSERT INTO office.numbers (number, status, account_id, changed_at, changed_by, change_reason) "
            "SELECT (74950000000 + n)::text, 'in_use', (100000 + n)::text, now(), 'benchmark', 'made' "
            f"FROM generate_series(1, {rows}) AS n"
        )
        await connected.execute("VACUUM ANALYZE office.clients, office.accounts, office.numbers")
        made = time.perf_counter() - began

        def some() -> int:
            return chance.randrange(1, rows + 1)

        kinds: dict[str, Callable[[], Wanted]] = {
            "all of them": lambda: Wanted(),
            "account": lambda: Wanted(account_id=f"{100_000 + some()}"),
            "account, 1234%": lambda: Wanted(account_id=f"{100_000 + some()}"[:5] + "%"),
            "account, %1234": lambda: Wanted(account_id=f"%{some() % 10_000:04d}"),
            "name, a word": lambda: Wanted(name=f"{chance.choice(_SURNAMES)}{some() % 9973}"),
            "name, two beginnings": lambda: Wanted(
                name=f"{chance.choice(_SURNAMES)}{some() % 99} {chance.choice(_GIVEN)}"
            ),
            "name, %end": lambda: Wanted(name=f"%{chance.choice(_WORDS)[1:]}{chance.choice(_WORDS)}"),
            "name, %middle%": lambda: Wanted(name=f"%{chance.choice(_WORDS)[-2:]}{chance.choice(_WORDS)[:3]}%"),
            "name, a frequent word": lambda: Wanted(name=chance.choice(_GIVEN)),
            "name, %ав%": lambda: Wanted(name="%ав%"),
            "inn": lambda: Wanted(inn=f"{7_700_000_000 + some()}"),
            "inn, 77001%": lambda: Wanted(inn=f"{7_700_000_000 + some()}"[:7] + "%"),
            "number": lambda: Wanted(number=f"{74_950_000_000 + some()}"),
            "number, %1234": lambda: Wanted(number=f"%{some() % 10_000:04d}"),
            "name and number": lambda: Wanted(
                name=chance.choice(_GIVEN), number=f"{74_950_000_000 + some()}"[:8] + "%"
            ),
        }
        found: dict[str, object] = {}
        plans: dict[str, list[str]] = {}
        for name, wanted in kinds.items():
            asked = [statement(wanted()) for _ in range(searches)]
            assert len({query for query, _ in asked}) == 1
            query = asked[0][0]
            arguments = [(*own, None, None, PAGE) for _, own in asked]
            found[name] = await times(connected, query, arguments)
            plans[name] = await plan(connected, query, arguments[-1])
        index = await connected.fetchval("SELECT pg_relation_size('office.clients_word_parts')")
        return {
            "rows": rows,
            "made_in_s": round(made, 1),
            "word_parts_megabytes": round(index / 1e6),
            "searches": found,
            "plans": plans,
        }
