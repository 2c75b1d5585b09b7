"""Idempotency-Keys over every changing route: sent twice, done once, answered alike."""

import asyncio
import itertools
import secrets
from typing import Any

from api import APP, Api, api_on
from api_samples import SAMPLES, Sample, prepare
from msgspec import Struct
from postgres import TestedDatabase

from connectors.http.call import Call
from connectors.http.once import HEADER, REPLAYED
from connectors.http.route import post
from connectors.postgres.database import Database

_numbers = itertools.count(1_000_001)


def told(database: TestedDatabase, story: Any, *, role: str | None = APP, **options: Any) -> None:
    async def opened(db: Database) -> None:
        async with api_on(db, **options) as api:
            await story(api)

    database.run(opened, role=role)


async def send(api: Api, method: str, sample: Sample, *, other: bool = False, once: str | None = None) -> Any:
    body = sample.other if other else sample.body
    if isinstance(body, bytes):
        return await api.ask(method, sample.path, role=sample.role, content=body, once=once)
    return await api.ask(method, sample.path, role=sample.role, json=body, once=once)


async def prepared(api: Api, operation: str) -> Sample:
    """An operation's sample, with what it needs."""
    n = next(_numbers)
    known = await prepare(api, n)
    sample = SAMPLES[operation].numbered(n)
    for name, value in known.items():
        sample = sample._replace(path=sample.path.replace(name, value))
    return sample


async def state(api: Api) -> tuple[int, int]:
    """What was done so far: rows of the audit, and of the outbox."""
    return await api.audit_rows(), len(await api.outbox())


def test_every_changing_route_has_a_sample(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        wanted = {route.operation for route in api.routes if route.once != "none"}
        assert wanted == SAMPLES.keys(), "tests/api_samples.py must have a request for each of them"
        changing = {route.operation for route in api.routes if route.changes and route.once == "none"}
        assert changing == {"sign_out", "change_password", "use_token"}, "only sessions go without keys"

    told(database, story)


def test_the_same_request_twice_is_done_once_and_answered_alike(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for operation in SAMPLES:
            await done_once(api, operation)

    told(database, story)


async def done_once(api: Api, operation: str) -> None:
    sample = await prepared(api, operation)
    route = next(route for route in api.routes if route.operation == operation)
    key = secrets.token_hex(8)
    before = await state(api)

    first = await send(api, route.method, sample, once=key)
    assert first.is_success, f"{operation}: {first.status_code} {first.text}"
    after = await state(api)
    again = await send(api, route.method, sample, once=key)

    assert after > before, f"{operation}: the sample changes nothing"
    assert again.status_code == first.status_code, f"{operation}: {again.text}"
    assert again.headers[REPLAYED] == "true"
    assert REPLAYED not in first.headers
    if route.shown_once:
        # A secret is shown once, and never kept.
        secret = dict.fromkeys(route.shown_once)
        assert again.json() == first.json() | secret
        kept = await api.database.pool.fetchval("SELECT response FROM plumbing.idempotency_keys WHERE key = $1", key)
        assert not any(first.json()[name].encode() in kept for name in secret)
    else:
        assert again.content == first.content, operation
    assert await state(api) == after, operation

    if sample.other is not None:
        other = await send(api, route.method, sample, other=True, once=key)
        assert other.status_code == 422, f"{operation}: {other.text}"
        assert other.json()["type"].endswith(":key-reused"), operation
        assert await state(api) == after, operation


def test_the_same_request_at_the_same_moment_is_done_once(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for operation in SAMPLES:
            await done_once_at_once(api, operation)

    told(database, story)


async def done_once_at_once(api: Api, operation: str) -> None:
    sample = await prepared(api, operation)
    route = next(route for route in api.routes if route.operation == operation)
    key = secrets.token_hex(8)
    await api.key_of(sample.role)

    answers = await asyncio.gather(*(send(api, route.method, sample, once=key) for _ in range(3)))

    told = [(answer.status_code, answer.text) for answer in answers]
    done = [answer for answer in answers if answer.is_success and REPLAYED not in answer.headers]
    assert len(done) == 1, f"{operation}: {told}"
    for answer in answers:
        if not answer.is_success:
            assert answer.status_code == 409, f"{operation}: {told}"
            assert answer.json()["type"].endswith(":under-way"), f"{operation}: {told}"
            assert answer.headers["retry-after"] == "1"
    after = await state(api)
    alone = await send(api, route.method, sample, once=key)
    assert alone.headers[REPLAYED] == "true", operation
    assert await state(api) == after, operation


def test_where_money_moves_a_key_is_required(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        required = {route.operation for route in api.routes if route.once == "required"}
        assert required >= {"enter_payment", "enter_top_up", "enter_write_off"}
        for operation in required:
            sample = await prepared(api, operation)
            route = next(route for route in api.routes if route.operation == operation)
            answer = await send(api, route.method, sample)
            assert answer.status_code == 400, answer.text
            assert answer.json()["type"].endswith(":key-required")
            assert answer.json()["errors"][0]["header"] == HEADER

    told(database, story)


def test_what_can_be_no_key_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        body = {"kind": "company", "name": "ООО"}
        for key in ("", "x" * 256, "кириллица"):
            headers: Any = {HEADER: key.encode()}
            answer = await api.ask("PUT", "/api/clients/C1", json=body, headers=headers)
            assert answer.status_code == 400, answer.text

    told(database, story)


def test_a_key_belongs_to_its_user(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for number, name in enumerate(("sales1", "sales2"), start=1):
            answer = await api.ask(
                "PUT",
                f"/api/clients/C{number}",
                role="sales",
                name=name,
                json={"kind": "company", "name": "ООО"},
                once="the same",
            )
            assert answer.status_code == 200
            assert REPLAYED not in answer.headers

    told(database, story)


def test_a_request_that_was_refused_may_come_again_under_its_key(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        body = {"client_id": "C1", "tariff_plan_id": "known1", "payment_mode": "prepaid"}
        await prepare(api, 1)
        refused = await api.ask("PUT", "/api/accounts/A1", role="sales", json=body, once="k")
        assert refused.status_code == 422
        await api.ok("PUT", "/api/clients/C1", role="sales", json={"kind": "company", "name": "ООО"})
        accepted = await api.ask("PUT", "/api/accounts/A1", role="sales", json=body, once="k")
        assert accepted.status_code == 200
        assert REPLAYED not in accepted.headers

    told(database, story)


class Ok(Struct, frozen=True):
    """Done."""

    ok: bool


def test_a_replay_is_given_to_nobody_who_may_not_ask(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        body = {"kind": "company", "name": "ООО"}
        await api.ok("PUT", "/api/clients/C1", role="sales", json=body, once="k")
        await api.database.pool.execute("UPDATE access.users SET role = 'auditor' WHERE name = 'sales1'")
        answer = await api.ask("PUT", "/api/clients/C1", role="sales", json=body, once="k")
        assert answer.status_code == 403

    told(database, story)


def test_an_answer_is_forgotten_after_a_day(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        body = {"kind": "company", "name": "ООО"}
        await api.ok("PUT", "/api/clients/C1", role="sales", json=body, once="old")
        await api.database.pool.execute("UPDATE plumbing.idempotency_keys SET at = at - interval '25 hours'")
        await api.ok("PUT", "/api/clients/C2", role="sales", json=body, once="new")
        keys = [row["key"] for row in await api.database.pool.fetch("SELECT key FROM plumbing.idempotency_keys")]
        assert keys == ["new"]

    told(database, story)


def test_a_request_that_dies_before_its_answer_is_kept_has_changed_nothing(database: TestedDatabase) -> None:
    @post("/api/test/dies", requires="clients.change", summary="Loses its connection")
    async def dies(call: Call) -> Ok:
        async with call.change("a test") as tx:
            await tx.execute("INSERT INTO office.tags VALUES ('t', 't', $1, 'test')", call.now)
            await tx.audit("tag", "t", "created", None, {"tag": "t"})
        await call.pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return Ok(True)

    async def story(api: Api) -> None:
        before = await api.audit_rows()
        answer = await api.ask("POST", "/api/test/dies", once="k")
        assert answer.status_code == 503, answer.text
        assert await api.audit_rows() == before
        assert await api.database.pool.fetchval("SELECT count(*) FROM office.tags") == 0

    told(database, story, role=None, handlers=(dies,))
