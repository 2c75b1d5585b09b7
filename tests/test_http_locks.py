"""Locks through the API (§2.2): who may do what, what is answered, and that what support can't lift denies on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from api import APP, Api, api_on, roles_with
from golden.update import FOLDER
from postgres import TestedDatabase

from backoffice.access import ROLES
from connectors.files.reference_folder import read_reference_folder
from connectors.postgres.database import Database
from connectors.postgres.load import load_folder
from engine.settings import EngineSettings
from schemas.times import to_datetime, to_us

LONG_AGO = datetime(2026, 11, 24, 12, tzinfo=UTC)
WHY = {"reason": "a test"}
BELGRADE = "%2B381%2011%20411-20-60"


def told(database: TestedDatabase, story: Any, **options: Any) -> None:
    """A story of an Api on the office of the guide's case."""

    async def loaded(db: Database) -> None:
        folder = read_reference_folder(
            FOLDER / "forbidden_regions" / "reference", emergency_numbers=EngineSettings().emergency_numbers
        )
        await load_folder(db.pool, folder, author="loader", at=LONG_AGO)

    async def opened(db: Database) -> None:
        async with api_on(db, **options) as api:
            await story(api)

    database.run(loaded)
    database.run(opened, role=APP)


async def set_lock(api: Api, *, name: str = "ivanov", **more: Any) -> Any:
    return await api.ok("POST", "/api/locks", role="b2b", name=name, json={"digits": "44", **WHY} | more)


async def denied_by(api: Api, number: str, account: str = "100200") -> str | None:
    answer = await api.ok("GET", f"/api/lock-check?number={number}&account_id={account}", role="support")
    return None if answer["deciding"] is None else answer["deciding"]["lock_id"]


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def test_support_finds_the_lock_its_author_and_its_reason(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "b2b")
        answer = await api.ok("GET", f"/api/lock-check?number={BELGRADE}&account_id=100200", role="support")

        assert (answer["number"], answer["full_ban"], answer["left"]) == ("381114112060", False, [])
        (found,) = answer["locks"]
        assert (found["lock_id"], found["provider_name"], found["deciding"]) == ("L1", "Москва, Мегафон", True)
        assert (found["author"], found["author_contact"]["full_name"]) == ("ivanov", "Имя ivanov")
        assert found["ask"].endswith("who set it; else your manager")
        assert [entry["actor"] for entry in found["history"]] == ["ivanov"]
        history = await api.ok("GET", "/api/locks/L1/history", role="support")
        assert history["history"] == found["history"]
        card = await api.ok("GET", "/api/locks/L1", role="support")
        assert (card["reason"], card["scope"], card["history"]) == (found["why"], "account", found["history"])

    told(database, story)


def test_support_can_not_set_change_shorten_or_lift_a_lock_and_it_denies_on(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        before = await api.audit_rows()
        for lock_id in ("L1", "L2"):  # a local and a global one
            for method, path, body in (
                ("POST", f"/api/locks/{lock_id}/lift", WHY),
                ("PATCH", f"/api/locks/{lock_id}", {"digits": "3811141120600", **WHY}),
                ("PATCH", f"/api/locks/{lock_id}", {"ends_at": "2098-01-01T00:00:00Z", **WHY}),
                ("DELETE", f"/api/locks/{lock_id}", None),
                ("PUT", f"/api/locks/{lock_id}", WHY),
            ):
                answer = await api.ask(method, path, role="support", json=body)
                assert answer.status_code in (403, 405), answer.text
                if answer.status_code == 403:
                    assert answer.json()["ask"] == "your manager"
        assert problem(await api.ask("POST", "/api/locks", role="support", json={"digits": "44", **WHY}), 403)
        assert await denied_by(api, BELGRADE) == "L1"
        assert await denied_by(api, "381641234567", "100202") == "L2"
        assert await api.audit_rows() == before

    told(database, story)


def test_who_may_not_see_locks_is_told_so_and_not_shown_an_empty_list(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for role in ROLES:
            answer = await api.ask("GET", "/api/locks", role=role)
            if role in roles_with("locks.see"):
                assert problem(answer, 200)["total"] == 10
            else:
                refused = problem(answer, 403)
                assert (refused["permission"], refused["ask"]) == ("locks.see", "your manager")

    told(database, story)


def test_a_lock_is_changed_and_lifted_by_its_author_or_a_manager_alone(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        made = await set_lock(api)
        path = f"/api/locks/{made['lock_id']}"
        for method, where, body in (("PATCH", path, {"digits": "441", **WHY}), ("POST", f"{path}/lift", WHY)):
            refused = problem(await api.ask(method, where, role="b2b", name="sidorov", json=body), 403)
            assert (refused["permission"], refused["ask"]) == (
                "locks.lift_any",
                "ivanov, who set it; else your manager",
            )
        assert (await api.ok("PATCH", path, role="manager", json={"digits": "+44 1", **WHY}))["digits"] == "441"
        lifted = await api.ok("POST", f"{path}/lift", role="b2b", name="ivanov", json=WHY)
        assert lifted["lifted_by"] == "ivanov"
        assert [entry["action"] for entry in lifted["history"]] == ["set", "changed", "lifted"]
        assert [
            payload and payload["digits"] for kind, key, payload in await api.outbox() if key == made["lock_id"]
        ] == [
            "44",
            "441",
            None,
        ]
        assert problem(await api.ask("POST", f"{path}/lift", role="manager", json=WHY), 409)
        assert problem(await api.ask("POST", "/api/locks/none/lift", role="manager", json=WHY), 404)

    told(database, story)


def test_a_key_that_is_not_for_locks_lifts_none(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        made = await set_lock(api)
        key = await api.key("ivanov", frozenset({"locks.see", "locks.set"}))
        refused = problem(await api.ask("POST", f"/api/locks/{made['lock_id']}/lift", key=key, json=WHY), 403)
        assert refused["permission"] == "locks.lift"

    told(database, story)


def test_the_same_lock_a_second_time_is_refused_by_the_name_of_the_first(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        made = await set_lock(api, account_id="100200")
        again = {"digits": "+44XX", "account_id": "100200", "reason": "again"}
        refused = problem(await api.ask("POST", "/api/locks", role="manager", json=again), 409)
        assert made["lock_id"] in refused["detail"]

    told(database, story)


UNFIT: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({"digits": "38"}, {"/reason"}),
    ({"digits": "38", "reason": " "}, {"/reason"}),
    ({"digits": "Сербия", "reason": "x", "provider_id": "none"}, {"/digits", "/provider_id"}),
    ({"digits": "102", "reason": "x"}, {"/digits"}),
    ({"digits": "38", "reason": "x", "kind": "mask"}, {"/kind"}),
    ({"digits": "38", "reason": "x", "ends_at": "2026-11-24T12:00:00Z"}, {"/ends_at"}),
    ({"digits": "38", "reason": "x", "author": "sup1"}, {"/author"}),
)


def test_what_is_wrong_with_a_new_lock_is_told_by_its_place(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        before = await api.audit_rows()
        for body, pointers in UNFIT:
            answer = await api.ask("POST", "/api/locks", role="manager", json=body)
            assert {one["pointer"] for one in problem(answer, 422)["errors"]} == pointers
        assert await api.audit_rows() == before

    told(database, story)


def test_lists_are_filtered_counted_and_turned_page_by_page(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        async def listed(query: str) -> list[str]:
            found, after = [], ""
            while True:
                answer = await api.ok("GET", f"/api/locks?limit=2&{query}{after}", role="support")
                found += [lock["lock_id"] for lock in answer["items"]]
                if answer["next"] is None:
                    assert answer["total"] == len(found)
                    return found
                after = f"&after={answer['next']}"

        assert len(await listed("")) == 10
        assert await listed("account_id=100201") == ["L6", "L5", "L4", "L3"]
        assert await listed("scope=global") == ["L2"]
        assert sorted(await listed(f"number={BELGRADE}")) == ["L1", "L3", "L4", "L5", "L6"]
        assert await listed("begins_with=%2B39") == ["L8"]
        assert sorted(await listed("provider_id=megafon")) == ["L1", "L5"]
        assert sorted(await listed("author=petrova")) == ["L10", "L2"]
        assert await listed("state=lifted") == []
        await api.ok("POST", "/api/locks/L2/lift", role="manager", json=WHY)
        assert await listed("state=lifted&scope=global") == ["L2"]
        assert len(await listed("state=all")) == 10
        problem(await api.ask("GET", "/api/locks?account_id=none", role="support"), 404)
        for query in ("number=Belgrade", "begins_with=x", "after=x", "state=gone", "limit=0", "digits=38"):
            problem(await api.ask("GET", f"/api/locks?{query}", role="support"), 422)

    told(database, story)


def test_the_check_of_a_past_moment_shows_a_lock_that_is_lifted_since(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.ok("POST", "/api/locks/L1/lift", role="manager", json=WHY)
        then = "&at=2026-11-24T11:00:00Z"
        question = f"/api/lock-check?number={BELGRADE}&account_id=100200"
        assert (await api.ok("GET", question, role="support"))["locks"] == []
        (found,) = (await api.ok("GET", question + then, role="support"))["locks"]
        assert (found["lock_id"], found["in_force"]) == ("L1", False)
        assert [entry["actor"] for entry in found["history"]] == ["ivanov", "manager1"]
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for wrong in ("&at=" + later, "&at=yesterday", "&service=incoming"):
            problem(await api.ask("GET", question + wrong, role="support"), 422)
        problem(await api.ask("GET", "/api/lock-check?number=3x1&account_id=100200", role="support"), 422)
        problem(await api.ask("GET", "/api/lock-check?number=381&account_id=none", role="support"), 404)
        everyone = await api.ok("GET", "/api/lock-check?number=381641234567", role="support")
        assert (everyone["account_id"], [lock["lock_id"] for lock in everyone["locks"]]) == (None, ["L2"])

    told(database, story)


def test_a_day_means_its_end_in_the_business_zone(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        made = await set_lock(api, digits="998")  # now
        await api.ok("POST", "/api/locks/L1/lift", role="manager", json=WHY)
        today = (datetime.now(UTC) + timedelta(hours=3)).date()
        yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
        question = f"/api/lock-check?number={BELGRADE}&account_id=100200&at="
        found = await api.ok("GET", question + str(yesterday), role="support")
        assert ([one["lock_id"] for one in found["locks"]], found["at"]) == (["L1"], f"{yesterday}T20:59:59.999Z")
        assert (await api.ok("GET", question + str(today), role="support"))["locks"] == []

        async def listed(query: str) -> list[str]:
            answer = await api.ok("GET", f"/api/locks?limit=1000&{query}", role="support")
            assert answer["total"] == len(answer["items"])
            return sorted(one["lock_id"] for one in answer["items"])

        everything = sorted(f"L{number}" for number in range(1, 11))
        assert await listed(f"at={yesterday}") == everything
        assert await listed(f"at={today}") == sorted({*everything, made["lock_id"]} - {"L1"})
        assert await listed(f"at={yesterday}&number={BELGRADE}") == ["L1", "L3", "L4", "L5", "L6"]
        assert await listed(f"at={today}&state=lifted") == ["L1"]
        assert await listed(f"at={yesterday}&state=lifted") == []
        assert await listed("at=2025-01-01&state=all") == []
        exported = await api.ask("GET", f"/api/locks/export?at={yesterday}", role="support")
        assert exported.status_code == 200, exported.text
        assert exported.text.count("\n") == 1 + len(everything)
        for path in ("/api/locks?at=", question):
            for wrong, words in ((tomorrow, "in the future"), ("2026-02-30", "no day"), ("soon", "2026-11-24")):
                refused = problem(await api.ask("GET", f"{path}{wrong}", role="support"), 422)
                assert [one["parameter"] for one in refused["errors"]] == ["at"]
                assert words in refused["detail"]

    told(database, story)


def test_a_list_of_the_past_is_turned_page_by_page(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for number in range(1, 11):
            await api.ok("POST", f"/api/locks/L{number}/lift", role="manager", json=WHY)
        found, after = [], ""
        while True:
            answer = await api.ok("GET", f"/api/locks?at=2026-11-24T12:00:00Z&limit=3{after}", role="support")
            assert answer["total"] == 10
            assert all(one["lifted_at"] is None and one["lifted_by"] is None for one in answer["items"])
            found += [one["lock_id"] for one in answer["items"]]
            if answer["next"] is None:
                break
            after = f"&after={answer['next']}"
        assert sorted(found) == sorted({f"L{number}" for number in range(1, 11)})

    told(database, story)


def test_a_direction_is_asked_about_and_locks_within_it_are_told(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        inner = await set_lock(api, digits="7495", account_id="100200")
        whole = await set_lock(api, digits="74951234567", kind="number", provider_id="megafon")
        for number in ("749", "749XXXXXXXX", "8 (49X) XXX-XX-XX", "%2B749…"):
            found = await api.ok("GET", f"/api/lock-check?number={number}&account_id=100200", role="support")
            assert (found["number"], found["locks"], found["longer_total"]) == ("749", [], 2)
            assert [one["lock_id"] for one in found["longer"]] == [inner["lock_id"], whole["lock_id"]]
            assert found["verdict"].startswith("no lock covers all of 749; locked within it: 7495 (lock ")
            assert "on the account), 74951234567 (lock" in found["verdict"]
            assert "for all clients through megafon). If it is a direction, check the whole number" in found["verdict"]
        assert found["longer"][0]["ask"] == "ivanov, who set it (and is no user here); else your manager" or (
            "Имя ivanov" in found["longer"][0]["ask"]
        )
        everyone = await api.ok("GET", "/api/lock-check?number=749", role="support")
        assert [one["lock_id"] for one in everyone["longer"]] == [whole["lock_id"]]
        free = await api.ok("GET", "/api/lock-check?number=7812&account_id=100200", role="support")
        assert (free["longer"], free["verdict"]) == ([], "no lock covers this number: look at the tariff next")
        # What bans all of a direction says all there is to say.
        await set_lock(api, digits="74", account_id="100200")
        banned = await api.ok("GET", "/api/lock-check?number=749&account_id=100200", role="support")
        assert (banned["full_ban"], banned["longer_total"], "within" in banned["verdict"]) == (True, 2, False)

    told(database, story)


def test_a_direction_of_the_past_names_the_locks_that_were_within_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        inner = await set_lock(api, digits="7495")
        moment = inner["created_at"]
        await api.ok("POST", f"/api/locks/{inner['lock_id']}/lift", role="manager", json=WHY)
        now = await api.ok("GET", "/api/lock-check?number=749", role="support")
        assert now["longer_total"] == 0
        # Of the very millisecond that it was set in: a little later is sure to be after it.
        then = to_datetime(to_us(moment)) + timedelta(milliseconds=1)
        at = then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        past = await api.ok("GET", f"/api/lock-check?number=749&at={at}", role="support")
        assert [one["lock_id"] for one in past["longer"]] == [inner["lock_id"]]
        assert past["longer_total"] == 1

    told(database, story)


def test_whoever_works_here_no_more_is_not_to_be_asked(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "b2b")
        question = f"/api/lock-check?number={BELGRADE}&account_id=100200"
        found = await api.ok("GET", question, role="support")
        assert "to learn why, ask Имя ivanov (ivanov), who set it; else your manager. Do not" in found["verdict"]
        await api.database.pool.execute("UPDATE access.users SET status = 'disabled' WHERE name = 'ivanov'")
        found = await api.ok("GET", question, role="support")
        gone = "your manager: Имя ivanov (ivanov), who set it, works here no more"
        assert found["locks"][0]["ask"] == found["deciding"]["ask"] == gone
        assert f"to learn why, ask {gone}. Do not remove it yourself" in found["verdict"]

    told(database, story)


def test_an_id_that_no_path_can_hold_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for lock_id in ("a/b", "..", ".", "/"):
            answer = await api.ask(
                "POST", "/api/locks", role="manager", json={"digits": "44", "lock_id": lock_id, **WHY}
            )
            refused = problem(answer, 422)
            assert [one["pointer"] for one in refused["errors"]] == ["/lock_id"]
            service = await api.ask(
                "POST", "/api/accounts/100200/services", role="manager", json={"service": lock_id, **WHY}
            )
            assert [one["pointer"] for one in problem(service, 422)["errors"]] == ["/service"]
        named = await api.ok("POST", "/api/locks", role="manager", json={"digits": "44", "lock_id": "a b.c%", **WHY})
        assert (await api.ok("GET", "/api/locks/a%20b.c%25", role="support"))["lock_id"] == named["lock_id"]

    told(database, story)


def test_a_rehearsal_echoes_the_mask_and_sets_nothing(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        before = await api.audit_rows()
        answer = await api.ok("POST", "/api/lock-rehearsal", role="b2b", json={"digits": "+381-6XXX", "days": 30})
        assert (answer["digits"], answer["same_as"], answer["stopped_calls"], answer["clients"]) == (
            "3816",
            "L2",
            0,
            [],
        )
        problem(await api.ask("POST", "/api/lock-rehearsal", role="b2b", json={"digits": "x"}), 422)
        assert problem(await api.ask("POST", "/api/lock-rehearsal", role="support", json={"digits": "3"}), 403)
        assert await api.audit_rows() == before

    told(database, story)


def test_support_asks_the_author_by_letter_else_the_managers(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        question = {"question": "Почему закрыта Сербия?"}
        refused = problem(await api.ask("POST", "/api/locks/L1/questions", role="support", json=question), 409)
        assert "ask ivanov, who set it (and is no user here)" in refused["detail"]
        await api.key_of("manager")
        await api.database.pool.execute("UPDATE access.users SET email = name || '@example.org'")
        asked = await api.ok("POST", "/api/locks/L1/questions", role="support", json=question)
        assert asked["to"] == ["manager1"]

        await api.user("ivanov", "b2b")
        await api.database.pool.execute("UPDATE access.users SET email = name || '@example.org'")
        asked = await api.ok("POST", "/api/locks/L1/questions", role="support", json=question)
        assert asked["to"] == ["ivanov"]
        letter = await api.ok("GET", f"/api/letters/{asked['letter_id']}", role="support")
        assert (letter["kind"], letter["recipient"], letter["state"]) == (
            "lock_question",
            "ivanov@example.org",
            "waiting",
        )
        assert question["question"] in letter["body"]
        assert "support1" in letter["body"]
        rows = (await api.ok("GET", "/api/audit?entity=lock&entity_id=L1&action=asked", role="auditor"))["items"]
        assert [row["actor"] for row in rows] == ["support1", "support1"]
        problem(await api.ask("POST", "/api/locks/L99/questions", role="support", json=question), 404)
        problem(await api.ask("POST", "/api/locks/L1/questions", role="b2b", json=question), 403)

    told(database, story)
