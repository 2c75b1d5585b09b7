"""The jobs of the night over the API: seen by those who look after them, ordered by those who may."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from api import APP, Api, api_on, roles_with
from postgres import TestedDatabase
from test_nightly import at, nights, set_to

from backoffice.nightly import Job, Night, Step
from connectors.nightly.jobs import JOBS
from connectors.nightly.watch import NightWatch, watching
from connectors.postgres.database import Database
from connectors.settings import NightlySettings

TODAY = date(2026, 11, 30)
WHY = {"reason": "asked for by the auditor"}


def told(database: TestedDatabase, story: Callable[[Api, Database], Awaitable[None]]) -> None:
    async def on(db: Database) -> None:
        await set_to(db.pool, at(TODAY))
        async with api_on(db) as api:
            await story(api, db)

    database.run(on, role=APP)


async def worked_off(api: Api, order_id: str) -> Any:
    """The order when somebody has worked it off."""
    async with asyncio.timeout(60):
        while (order := await api.ok("GET", f"/api/nightly/orders/{order_id}"))["state"] == "waiting":
            await asyncio.sleep(0.02)
    return order


def test_an_order_is_worked_off_and_its_runs_tell_what_they_did(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        before = await api.ok("GET", "/api/nightly/jobs", role="auditor")
        assert [one["name"] for one in before["items"]] == [job.name for job in JOBS]
        assert {(one["state"], one["last_done"]) for one in before["items"]} == {(None, None)}

        order = await api.ok("POST", "/api/nightly/orders", role="administrator", json={"day": "2026-11-29", **WHY})
        assert (order["state"], order["day"], order["jobs"], order["outcome"]) == ("waiting", "2026-11-29", [], None)
        assert order["ordered_by"] == "administrator1"

        async with watching(
            database.settings,
            engine=api.services.engine,
            settings=NightlySettings(),
            numbers=api.services.numbers,
            clock=api.services.business_clock,
            registry=api.services.registry,
            by_clock=False,
        ):
            order = await worked_off(api, order["order_id"])
            metrics = (await api.ask("GET", "/metrics", role="administrator")).text
        assert (order["state"], order["outcome"]) == ("done", f"{len(JOBS)} done")
        assert order["ended_at"] is not None
        assert 'tollgate_nightly_failed{name="audit"} 0.0' in metrics

        after = await api.ok("GET", "/api/nightly/jobs", role="manager")
        assert {(one["state"], one["last_done"]) for one in after["items"]} == {("done", "2026-11-29")}
        run = await api.ok("GET", "/api/nightly/runs/2026-11-29/audit", role="billing")
        assert (run["state"], run["steps"], run["attempts"], run["error"]) == ("done", 1, 1, None)
        assert run["counts"]["errors"] == 0
        assert run["started_by"] == "administrator1"
        assert run["ended_at"] >= run["started_at"]
        rows = await db.pool.fetch("SELECT actor, action, reason FROM plumbing.audit WHERE entity = 'nightly_order'")
        assert [tuple(row) for row in rows] == [("administrator1", "ordered", WHY["reason"])]

    told(database, story)


def test_runs_are_listed_by_night_job_and_state_in_pages(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        async def fails(work: Any, night: Night, place: Any) -> Step:
            raise ValueError("no")

        async def works(work: Any, night: Night, place: Any) -> Step:
            return Step({"done": 1}, notes=["a line"])

        for day in (TODAY - timedelta(days=2), TODAY - timedelta(days=1), TODAY):
            await (
                await nights(db, Job("bad", "fails", fails, missed="latest"), Job("good", "works", works), today=day)
            ).run(by="test")

        everything = (await api.ok("GET", "/api/nightly/runs"))["items"]
        assert [(one["day"], one["job"], one["state"]) for one in everything] == [
            *(("2026-11-30", "bad", "failed"), ("2026-11-30", "good", "done")),
            *(("2026-11-29", "bad", "failed"), ("2026-11-29", "good", "done")),
            *(("2026-11-28", "bad", "failed"), ("2026-11-28", "good", "done")),
        ]
        assert everything[0]["error"] == "ValueError: no"
        assert (everything[1]["counts"], everything[1]["notes"]) == ({"done": 1}, ["a line"])
        pages: list[Any] = []
        path = "/api/nightly/runs?limit=2"
        while True:
            found = await api.ok("GET", path)
            pages += found["items"]
            assert len(found["items"]) == 2
            if found["next"] is None:
                break
            path = f"/api/nightly/runs?limit=2&after={found['next']}"
        assert pages == everything
        for query, expected in (
            ("job=good", [1, 3, 5]),
            ("state=failed", [0, 2, 4]),
            ("since=2026-11-29&until=2026-11-29", [2, 3]),
            ("state=done&until=2026-11-28", [5]),
            ("job=none", []),
        ):
            found = (await api.ok("GET", f"/api/nightly/runs?{query}"))["items"]
            assert found == [everything[place] for place in expected], query

    told(database, story)


def test_only_those_who_run_jobs_order_a_night_and_support_sees_none(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        assert roles_with("jobs.run") == ["manager", "administrator"]
        for role in ("support", "billing", "auditor"):
            answer = await api.ask("POST", "/api/nightly/orders", role=role, json=WHY)
            assert answer.status_code == 403
        assert (await api.ask("GET", "/api/nightly/runs", role="support")).status_code == 403
        assert await db.pool.fetchval("SELECT count(*) FROM office.nightly_orders") == 0

    told(database, story)


@pytest.mark.parametrize(
    ("sent", "pointer", "why"),
    [
        ({"day": "2026-12-01"}, "/day", "2026-12-01 has not begun: it is 2026-11-30 by the business clock"),
        ({"day": "1999-01-01"}, "/day", "1999-01-01 lies before 2000"),
        ({"day": "2026-02-30"}, "/day", "'2026-02-30' is no day; write it as 2026-11-24"),
        ({"jobs": ["audit", "x"]}, "/jobs", f"there is no job 'x'; there are {JOBS[0].name}, "),
    ],
)
def test_a_night_that_can_not_be_is_refused(
    database: TestedDatabase, sent: dict[str, Any], pointer: str, why: str
) -> None:
    async def story(api: Api, db: Database) -> None:
        answer = await api.ask("POST", "/api/nightly/orders", json={**sent, **WHY})
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert problem["pointer"] == pointer
        assert problem["detail"].startswith(why), problem

    told(database, story)


@pytest.mark.parametrize(
    "path",
    [
        "runs/2026-11-30/audit",
        "runs/yesterday/audit",
        "runs/2026-02-30/x",
        "orders/1",
        "orders/x",
        f"orders/{10**30}",
    ],
)
def test_what_is_not_there_is_404(database: TestedDatabase, path: str) -> None:
    async def story(api: Api, db: Database) -> None:
        assert (await api.ask("GET", f"/api/nightly/{path}")).status_code == 404

    told(database, story)


def test_a_cursor_of_another_list_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        for after in ("WzEyM10", "WyJ4IiwieSJd"):  # [123] and ["x","y"]
            assert (await api.ask("GET", f"/api/nightly/runs?after={after}")).status_code == 422

    told(database, story)


def test_an_order_that_was_asked_for_twice_under_one_key_is_one(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        first = await api.ok("POST", "/api/nightly/orders", json=WHY, once="k1")
        again = await api.ok("POST", "/api/nightly/orders", json=WHY, once="k1")

        assert again == first
        assert first["day"] == "2026-11-30"
        assert await db.pool.fetchval("SELECT count(*) FROM office.nightly_orders") == 1

    told(database, story)


def test_an_order_that_failed_names_the_jobs_that_did(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        async def fails(work: Any, night: Night, place: Any) -> Step:
            raise ValueError("no")

        order = await api.ok("POST", "/api/nightly/orders", json={"jobs": ["audit"], **WHY})
        nightly = await nights(db, Job("audit", "fails", fails), Job("later", "waits", fails, after=("audit",)))
        task = asyncio.create_task((watch := NightWatch(nightly, by_clock=False, look_seconds=0.01)).run())
        found = await worked_off(api, order["order_id"])
        watch.stop()
        await task

        assert (found["state"], found["outcome"]) == ("failed", "0 done, audit of 2026-11-30 failed")

    told(database, story)


def test_moments_of_an_order_are_the_machines(database: TestedDatabase) -> None:
    async def story(api: Api, db: Database) -> None:
        order = await api.ok("POST", "/api/nightly/orders", json=WHY)
        moment = datetime.fromisoformat(order["ordered_at"])
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60

    told(database, story)
