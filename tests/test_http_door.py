"""What every request passes: limits, strict reading, problems instead of errors, masked numbers, headers."""

import asyncio
import json
from typing import Annotated, Any

import asyncpg
import msgspec
import pytest
from api import APP, GENEROUS, Api, api_on
from litestar import get as plain_get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct, defstruct
from msgspec.structs import replace
from postgres import TestedDatabase

from backoffice import words
from backoffice.access import ROLE_PERMISSIONS, ROLES
from backoffice.rejected import RejectedId
from backoffice.users import UserName
from backoffice.words import SENTENCES
from connectors.http.app import Undeclared, create_app, declared
from connectors.http.call import Call, Services
from connectors.http.limits import Buckets
from connectors.http.parties import Party, party
from connectors.http.problems import Problem
from connectors.http.reading import query_of
from connectors.http.route import PUBLIC, get, patch, post
from connectors.postgres.database import Database

PROBLEM = "application/problem+json"


def told(database: TestedDatabase, story: Any, **options: Any) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db, **options) as api:
            await story(api)

    database.run(opened, role=APP)


# -- what can be registered -------------------------------------------------------------------------------------------


class Answer(Struct, frozen=True):
    """Something."""

    ok: bool


@plain_get("/api/forgotten")
async def forgotten() -> dict[str, str]:
    return {"secret": "of everyone"}


@get("/api/providers", requires="providers.see", summary="A function whose name is taken")
async def bands(call: Call) -> Answer:
    return Answer(True)


def patterns_of(kind: Any) -> set[str]:
    """All patterns that texts in a type are checked by."""
    found: set[str] = set()
    seen: set[int] = set()

    def look(one: Any) -> None:
        if id(one) in seen:
            return
        seen.add(id(one))
        if isinstance(one, msgspec.inspect.StrType) and one.pattern is not None:
            found.add(one.pattern)
        if isinstance(one, msgspec.inspect.Metadata):
            look(one.type)
        for name in ("fields", "types", "item_types", "item_type", "key_type", "value_type", "type"):
            inner = getattr(one, name, None)
            for part in inner if isinstance(inner, tuple) else (inner,):
                if isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field):
                    look(part)

    look(msgspec.inspect.type_info(kind))
    return found


def test_every_pattern_that_a_request_is_checked_by_has_a_sentence() -> None:
    found: dict[str, str] = {}
    for route in declared():
        for kind in (route.asked, route.sent):
            if kind is not None:
                found |= dict.fromkeys(patterns_of(kind), route.plain_path)
    assert len(found) >= 12
    assert {pattern: path for pattern, path in found.items() if pattern not in SENTENCES} == {}


WORDS: tuple[tuple[Any, tuple[str, ...], tuple[str, ...], str], ...] = (
    (words.Id, ("100200", "a/b"), ("a\nb", "a\x7f"), "an id is one line"),
    (words.Reason, ("x",), (" ", "\n\t"), "is blank; write at least a word"),
    (words.Text, ("x\ny",), ("  ",), "is blank; write at least a word"),
    (words.Line, ("a name",), (" ", "two\nlines"), "must be one line that is not blank"),
    (words.Digits, ("7495",), ("+7495", "1" * 16, "7495\n"), "is no number; give 1 to 15 digits of E.164 without +"),
    (
        words.Moment,
        ("2026-11-24T18:30:00+03:00",),
        ("soon", "2026-11-24", "2026-11-24T18:30:00", "2026-11-24T18:30:00Z\n"),
        "is no moment; write it as 2026-11-24T18:30:00+03:00",
    ),
    (words.Day, ("2026-11-24",), ("24.11.2026", "2026-11-24T00:00:00Z"), "is no day; write it as 2026-11-24"),
    (
        words.AsOf,
        ("2026-11-24", "2026-11-24T18:30:00Z"),
        ("soon", "2026-11-24T18:30"),
        "is no moment and no day; write",
    ),
    (words.Inn, ("7701234560", "770123456012"), ("77012345601", "x"), "is no INN; it has 10 digits"),
    (words.Email, ("a@example.org",), ("a", "a b@c"), "is no e-mail address; write it as name@example.org"),
    (words.Currency, ("RUB",), ("rub", "RUBL"), "is no currency; write its three capital letters"),
    (words.BandDay, ("2026-05-09", "--05-09"), ("09.05", "05-09"), "is no day; write it as 2026-05-09, or as --05-09"),
    (UserName, ("ivanov",), ("Ivanov", "i", "иванов"), "is no user name; give 2 to 32 small Latin letters"),
    (RejectedId, ("7-1042",), ("7",), "is no rejected event's id; it is two numbers, such as 7-1042"),
)


def test_a_text_that_does_not_fit_is_answered_with_what_fits_and_no_pattern() -> None:
    for kind, good, bad, sentence in WORDS:
        asked = defstruct("Asked", [("word", kind)], frozen=True)
        for text in good:
            assert query_of([("word", text)], asked).word == text
        for text in bad:
            with pytest.raises(Problem) as caught:
                query_of([("word", text)], asked)
            (error,) = caught.value.document.errors
            assert sentence in error.detail, (kind, text)
            assert "regex" not in error.detail
            assert error.parameter == "word"


def test_the_place_in_the_body_stays_beside_the_sentence(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        sent = {"digits": "44", "reason": " ", "ends_at": None}
        answer = await api.ask("POST", "/api/locks", role="manager", json=sent)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"detail": "is blank; write at least a word", "pointer": "/reason"}]
        client = {"kind": "company", "name": "x", "phones": ["7495", "+7"], "reason": "x"}
        answer = await api.ask("PUT", "/api/clients/C1", role="manager", json=client)
        assert [one["detail"].partition(";")[0] for one in answer.json()["errors"]] == ["is no number"]
        assert answer.json()["errors"][0]["pointer"].startswith("/phones/")

    told(database, story)


def test_a_route_that_does_not_say_who_may_ask_stops_the_start(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        with pytest.raises(Undeclared, match="GET /api/forgotten does not say who may ask"):
            create_app(Services(db), handlers=[forgotten])

    database.run(story)


def test_two_functions_of_one_name_stop_the_start(database: TestedDatabase) -> None:
    @get("/api/elsewhere", requires="providers.see", summary="A function whose name is taken")
    async def bands(call: Call) -> Answer:
        return Answer(True)

    async def story(db: Database) -> None:
        with pytest.raises(Undeclared, match="bands"):
            create_app(Services(db), handlers=[bands])

    database.run(story)


def test_a_permission_that_is_not_in_the_table_can_not_be_required() -> None:
    with pytest.raises(ValueError, match=r"no permission 'locks\.eat'"):
        get("/api/x", requires="locks.eat", summary="x")


def test_a_function_takes_what_its_path_names_and_no_more() -> None:
    with pytest.raises(TypeError, match="takes"):

        @get("/api/x/{lock_id:str}", requires="locks.see", summary="x")
        async def wrong(call: Call) -> Answer:
            return Answer(True)


# -- problems ---------------------------------------------------------------------------------------------------------


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"] == f"urn:tollgate:problem:{code}"
    assert document["title"]
    assert document["detail"]
    return document


def test_what_is_not_there_is_a_problem_wherever_it_is_found_out(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.ask("GET", "/nowhere"), 404, "not-there")
        assert_problem(await api.ask("GET", "/api/accounts/none-such"), 404, "not-there")
        wrong = await api.ask("DELETE", "/api/providers")
        assert_problem(wrong, 405, "no-such-method")
        assert "GET" in wrong.headers["allow"]

    told(database, story)


def test_all_that_is_wrong_with_a_query_is_told_at_once_by_name(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        answer = await api.ask("GET", "/api/audit?limit=0&since=yesterday&acter=ivanov&actor=a&actor=b", role="auditor")
        document = assert_problem(answer, 422, "unfit")
        assert {one["parameter"]: one["detail"].split()[0] for one in document["errors"]} == {
            "limit": "Expected",
            "acter": "is",
            "actor": "is",
        }
        later = await api.ask("GET", "/api/audit?since=yesterday", role="auditor")
        assert assert_problem(later, 422, "unfit")["errors"][0]["parameter"] == "since"

    told(database, story)


PLACES: list[tuple[bytes, str]] = [
    (b'{"name": "x", "lists": [{"price_list_id": 7}]}', "/lists/0/price_list_id"),
    (b'{"lists": [{"price_list_id": "R", "priority": "1"}]}', "/lists/0/priority"),
    (b'{"lists": [{"price_list_id": "R", "colour": "red"}]}', "/lists/0/colour"),
    (b'{"lists": [{}]}', "/lists/0/price_list_id"),
    (b'{"lists": []}', "/lists"),
    (b"{}", "/lists"),
    (b"[]", ""),
    (b"", ""),
    (b'{"lists": [{"price_list_id": "R\\u0000"}]}', "/lists/0/price_list_id"),
]


def test_what_is_wrong_with_a_body_is_told_by_its_place(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for body, pointer in PLACES:
            answer = await api.ask(
                "PUT", "/api/tariff-plans/T", content=body, headers={"Content-Type": "application/json"}
            )
            document = assert_problem(answer, 422, "unfit")
            assert [one["pointer"] for one in document["errors"]] == [pointer], body

    told(database, story)


def test_a_body_that_is_no_json_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for body in [b"{", b'{"name": "\xff"}', b"nonsense", b'{"name": "\\ud800"}']:
            answer = await api.ask("PUT", "/api/clients/C", content=body, headers={"Content-Type": "application/json"})
            assert_problem(answer, 400, "malformed")

    told(database, story)


def test_a_form_is_no_json(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.ask("PUT", "/api/clients/C", data={"kind": "company"}), 415, "media-type")

    told(database, story)


def test_a_body_that_is_too_large_is_not_read(database: TestedDatabase) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 1_000

    async def story(api: Api) -> None:
        headers = {"Content-Type": "application/json"}
        announced = await api.ask("PUT", "/api/clients/C", content=b"x" * 5_000, headers=headers)
        assert_problem(announced, 413, "too-large")
        unannounced = await api.ask("PUT", "/api/clients/C", content=chunks(), headers=headers)
        assert_problem(unannounced, 413, "too-large")

    told(database, story, http=replace(GENEROUS, body_bytes=4_096))


def test_names_that_nothing_can_have_are_not_there(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for path in ("/api/accounts/%00", "/api/accounts/a%00b", "/api/letters/99999999999999999999"):
            assert_problem(await api.ask("GET", path), 404, "not-there")

    told(database, story)


def test_a_query_that_is_no_text_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for query in ("%ff", "actor=%ff", "&".join(f"a{n}=1" for n in range(300))):
            assert_problem(await api.ask("GET", f"/api/audit?{query}", role="auditor"), 400, "malformed")

    told(database, story)


def test_a_place_that_is_none_of_the_lists_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for after in ("x", "WzEsMl0", "WyJhIl0", "bnVsbA", "W10", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2XQ", "%F0%9F%98%80"):
            document = assert_problem(await api.ask("GET", f"/api/audit?after={after}", role="auditor"), 422, "unfit")
            assert document["errors"][0]["parameter"] == "after"

    told(database, story)


# -- when something is broken or away ---------------------------------------------------------------------------------


@get("/api/test/broken", requires=PUBLIC, summary="Breaks")
async def broken(call: Call) -> Answer:
    raise RuntimeError("the secret is 42")


def test_a_fault_of_ours_tells_its_number_and_not_what_it_is(
    database: TestedDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(api: Api) -> None:
        document = assert_problem(await api.ask("GET", "/api/test/broken"), 500, "broken")
        assert "secret" not in json.dumps(document)
        assert document["incident"] in caplog.text
        assert "the secret is 42" in caplog.text

    told(database, story, handlers=(broken,))


def test_with_the_database_away_it_says_so_and_when_to_ask_again(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        key = await api.key_of("manager")
        await api.database.pool.close()

        answer = await api.ask("GET", "/api/providers", key=key)
        assert_problem(answer, 503, "away")
        assert int(answer.headers["retry-after"]) >= 1
        ready = await api.ask("GET", "/ready", role=None)
        assert ready.status_code == 503
        assert ready.json()["errors"] == [{"detail": "the record: the database does not answer"}]
        assert (await api.ask("GET", "/live", role=None)).status_code == 200

    told(database, story)


@get("/api/test/slow", requires=PUBLIC, summary="Asks too much of the database")
async def slow(call: Call) -> Answer:
    async with call.pool.acquire() as connection:
        await connection.execute("SET statement_timeout = 20")
        try:
            await connection.execute("SELECT pg_sleep(60)")
        finally:
            await connection.execute("RESET statement_timeout")
    return Answer(True)


def test_a_question_that_takes_too_long_is_broken_off(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        assert_problem(await api.ask("GET", "/api/test/slow"), 503, "away")

    told(database, story, handlers=(slow,))


# -- how much ---------------------------------------------------------------------------------------------------------


def test_whoever_asks_too_often_is_told_when_to_come_back(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        statuses = [(await api.ask("GET", "/api/providers", role="manager")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        last = await api.ask("GET", "/api/providers", role="manager")
        assert_problem(last, 429, "too-many")
        assert int(last.headers["retry-after"]) == last.json()["retry_after_seconds"] >= 1
        # Others are not kept waiting.
        assert (await api.ask("GET", "/api/providers", role="sales")).status_code == 200

    told(database, story, http=replace(GENEROUS, requests_per_second=1, requests_burst=3))


def test_an_address_that_guesses_keys_is_stopped_before_the_database_is_asked(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        answers = [await api.ask("GET", "/api/providers", key=f"tg_aaaaaaaa_{n}") for n in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]

    told(database, story, http=replace(GENEROUS, requests_per_second=1, requests_burst=3))


def test_a_bucket_fills_again_with_time() -> None:
    buckets = Buckets(per_second=2, burst=2)

    assert [buckets.take("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.4) == 1
    assert buckets.take("a", 0.6) == 0
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0, 0, 1]


# -- numbers of people ------------------------------------------------------------------------------------------------


class Talk(Struct, frozen=True):
    """A call, as far as it matters here."""

    caller: Party
    called: Party | None
    number: Annotated[str, Meta(description="One of the operator's own.")]


@get("/api/test/talk", requires="calls.see", summary="A call", parties=True)
async def talk(call: Call) -> Talk:
    return Talk(Party("79991234512"), party(None), "74951112233")


def test_numbers_of_people_are_masked_for_roles_that_need_not_see_them(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role in ROLES:
            if "calls.see" not in ROLE_PERMISSIONS[role]:
                continue
            whole = role in ("support", "billing", "manager")
            answer = await api.ok("GET", "/api/test/talk", role=role)
            shown = "79991234512" if whole else "7999•••••12"
            assert answer == {"caller": shown, "called": None, "number": "74951112233"}, role

    told(database, story, handlers=(talk,))


def test_they_are_shown_whole_for_a_reason_that_the_audit_keeps(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        answer = await api.ok("GET", "/api/test/talk?unmask=request%20of%20the%20court", role="auditor")
        assert answer["caller"] == "79991234512"

        (row,) = (await api.ok("GET", "/api/audit?entity=parties", role="auditor"))["items"]
        assert (row["actor"], row["action"], row["reason"]) == ("auditor1", "unmask", "request of the court")
        assert row["entity_id"] == "talk"

        assert_problem(await api.ask("GET", "/api/test/talk?unmask=please", role="sales"), 403, "not-allowed")
        assert_problem(await api.ask("GET", "/api/test/talk?unmask=%20", role="auditor"), 422, "unfit")
        assert len((await api.ok("GET", "/api/audit?entity=parties", role="auditor"))["items"]) == 1

    told(database, story, handlers=(talk,))


def test_a_number_of_someone_does_not_get_into_a_trace() -> None:
    assert repr(Party("79991234512")) == "Party('7999•••••12')"


# -- the rest of the door ---------------------------------------------------------------------------------------------


def test_every_answer_has_the_security_headers(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for path in ("/live", "/nowhere", "/api/providers", "/api/openapi.json"):
            headers = (await api.ask("GET", path, role=None)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["cache-control"] == "no-store"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"

    told(database, story)


def test_a_path_tells_all_of_its_methods(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for path, methods in (("/api/clock", "GET, OPTIONS, PUT"), ("/api/users/x", "GET, OPTIONS, PATCH")):
            answer = await api.ask("OPTIONS", path, role=None)
            assert (answer.status_code, answer.headers["allow"]) == (204, methods)

    told(database, story)


def test_metrics_count_requests_by_operation_and_status_and_name_nobody(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ask("GET", "/api/accounts/100200")
        text = (await api.ask("GET", "/metrics", role="auditor")).text
        assert 'tollgate_http_request_seconds_count{operation="account",status="404"} 1.0' in text
        assert "100200" not in text

    told(database, story)


# -- one request, one transaction -------------------------------------------------------------------------------------


class Pushed(Struct, frozen=True, forbid_unknown_fields=True):
    """A tag to be made, and whether it fails afterwards."""

    fail: bool = False


@post("/api/test/twice", requires="clients.change", summary="Two changes in one request")
async def twice(call: Call, sent: Pushed) -> Answer:
    for tag in ("first", "second"):
        async with call.change("a test") as tx:
            await tx.execute("INSERT INTO office.tags VALUES ($1::text, $1::text, $2, 'test')", tag, call.now)
            await tx.audit("tag", tag, "created", None, {"tag": tag})
    if sent.fail:
        raise RuntimeError("after both")
    return Answer(True)


def test_a_request_is_done_whole_or_not_at_all(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        before = await api.audit_rows()
        failed = await api.ask("POST", "/api/test/twice", json={"fail": True}, once="k")
        assert failed.status_code == 500
        assert await api.audit_rows() == before
        assert await api.database.pool.fetchval("SELECT count(*) FROM office.tags") == 0
        # What failed has changed nothing, so its key is free.
        await api.ok("POST", "/api/test/twice", json={"fail": True} | {"fail": False}, once="k")
        assert await api.audit_rows() == before + 2
        assert await api.database.pool.fetchval("SELECT count(*) FROM office.tags") == 2

    told(database, story, handlers=(twice,))


@patch("/api/test/strict", requires="clients.change", summary="Wants more than its request gives")
async def strict(call: Call) -> Answer:
    async with call.pool.acquire() as connection, connection.transaction(isolation="serializable"):
        pass
    return Answer(True)


def test_a_use_case_that_needs_a_stricter_transaction_says_what_to_declare(
    database: TestedDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(api: Api) -> None:
        assert (await api.ask("PATCH", "/api/test/strict")).status_code == 500
        assert 'declare isolation="serializable" with the route' in caplog.text

    told(database, story, handlers=(strict,))


def counting(meets: asyncio.Barrier, runs: list[int]) -> HTTPRouteHandler:
    """A route whose two first runs get in each other's way."""

    @post("/api/test/count", requires="clients.change", summary="Counts", isolation="serializable")
    async def count_tags(call: Call) -> Answer:
        runs.append(1)
        found = await call.pool.fetchval("SELECT count(*) FROM office.tags")
        if len(runs) <= 2:
            await meets.wait()
        await call.pool.execute("INSERT INTO office.tags VALUES ($1, 'x', $2, 'test')", f"tag {found}", call.now)
        return Answer(True)

    return count_tags


def test_a_serializable_request_is_run_again_when_another_got_in_its_way(database: TestedDatabase) -> None:
    runs: list[int] = []

    async def story(db: Database) -> None:
        async with api_on(db, handlers=(counting(asyncio.Barrier(2), runs),)) as api:
            await api.key_of("manager")
            answers = await asyncio.gather(*(api.ask("POST", "/api/test/count") for _ in range(2)))
            assert [answer.status_code for answer in answers] == [200, 200]
            assert sorted(await _tags(db.pool)) == ["tag 0", "tag 1"]

    database.run(story, role=APP)
    assert len(runs) == 3


async def _tags(pool: asyncpg.Pool) -> list[str]:
    return [row["tag"] for row in await pool.fetch("SELECT tag FROM office.tags")]
