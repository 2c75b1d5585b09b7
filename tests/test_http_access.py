"""Signing in, sessions, API keys, and the table of permissions over every route of the real application."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from api import APP, GENEROUS, Api, api_on
from msgspec.structs import replace
from postgres import TestedDatabase

from backoffice.access import FREE_FAILURES, ROLE_PERMISSIONS, ROLES
from connectors import tokens
from connectors.http.route import PUBLIC, SIGNED_IN, Route
from connectors.postgres.access import AccessRecord
from connectors.postgres.database import Database

PASSWORD = "верная лошадь батарея"
ANOTHER = "скрепка и восемь гусей"


def told(database: TestedDatabase, story: Any, **options: Any) -> None:
    """Runs a story of an Api, with the rights that the process has."""

    async def opened(db: Database) -> None:
        async with api_on(db, **options) as api:
            await story(api)

    database.run(opened, role=APP)


async def signed_in(api: Api, name: str = "ivanov", password: str = PASSWORD) -> httpx.AsyncClient:
    """A client with a session, that sends its CSRF token."""
    client = api.new_client()
    answer = await client.post("/api/session", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return client


# -- every route, every role ------------------------------------------------------------------------------------------


def _path(route: Route) -> str:
    return route.plain_path.format(**{part: 999_999 if kind == "int" else "none" for part, kind in route.parts.items()})


def test_every_route_answers_each_role_as_the_table_says(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        assert len(api.routes) > 40
        for route in api.routes:
            for role in ROLES:
                answer = await api.ask(route.method, _path(route), role=role)
                allowed = route.requires in (PUBLIC, SIGNED_IN) or route.requires in ROLE_PERMISSIONS[role]
                what = f"{route.method} {route.path} as {role}: {answer.status_code} {answer.text}"
                if allowed:
                    assert answer.status_code not in (401, 403) or route.login, what
                else:
                    assert answer.status_code == 403, what
                    assert answer.json()["permission"] == route.requires, what
                    assert answer.json()["ask"] == "your manager", what

    told(database, story)


def test_whoever_is_not_signed_in_gets_nothing_but_what_is_public(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for route in api.routes:
            answer = await api.ask(route.method, _path(route), role=None)
            what = f"{route.method} {route.path}: {answer.status_code} {answer.text}"
            if route.requires == PUBLIC:
                assert answer.status_code in (200, 422), what
            else:
                assert answer.status_code == 401, what
                assert "www-authenticate" in answer.headers, what

    told(database, story)


def test_public_is_only_what_nobody_could_misuse(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        public = {route.operation for route in api.routes if route.requires == PUBLIC}
        assert public == {"live", "ready", "openapi", "sign_in", "use_token"}

    told(database, story)


# -- signing in -------------------------------------------------------------------------------------------------------


def test_the_right_password_opens_a_session_and_the_wrong_one_does_not(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)

        wrong = await api.client.post("/api/session", json={"name": "ivanov", "password": "неверно"})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers

        client = await signed_in(api)
        me = (await client.get("/api/session")).json()
        assert (me["user"], me["role"]) == ("ivanov", "sales")
        assert me["permissions"] == sorted(ROLE_PERMISSIONS["sales"])

    told(database, story)


def test_a_name_that_is_not_there_is_refused_in_the_same_words(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        await api.user("petrov", "sales")  # has no password yet

        answers = [
            await api.client.post("/api/session", json={"name": name, "password": "неверно"})
            for name in ("ivanov", "petrov", "nobody")
        ]

        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1

    told(database, story)


def test_the_cookie_is_for_the_browser_alone_and_with_tls_for_this_host_alone(database: TestedDatabase) -> None:
    async def cookie(api: Api) -> str:
        await api.user("ivanov", "sales", PASSWORD)
        answer = await api.client.post("/api/session", json={"name": "ivanov", "password": PASSWORD})
        return answer.headers["set-cookie"]

    async def plain(api: Api) -> None:
        words = (await cookie(api)).lower()
        assert words.startswith("tollgate=")
        assert "httponly" in words
        assert "samesite=strict" in words
        assert "; secure" not in words

    async def with_tls(api: Api) -> None:
        words = (await cookie(api)).lower()
        assert words.startswith("__host-tollgate=")
        assert "; secure" in words
        assert "path=/" in words
        assert "domain" not in words
        live = await api.client.get("/live")
        assert "strict-transport-security" in live.headers

    told(database, plain)
    told(database, with_tls, http=replace(GENEROUS, behind_tls=True))


def test_no_token_and_no_password_is_kept_as_it_is(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        client = await signed_in(api)
        token = client.cookies["tollgate"]
        key = await api.key_of("manager")

        rows = await api.database.pool.fetch(
            "SELECT s::text AS text FROM access.sessions s UNION ALL SELECT u::text FROM access.users u "
            "UNION ALL SELECT k::text FROM access.api_keys k"
        )
        text = "\n".join(row["text"] for row in rows)
        assert token not in text
        assert PASSWORD not in text
        assert key not in text
        assert "$argon2id$" in text

    told(database, story)


def test_guessing_gets_slower_whether_the_name_is_there_or_not(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        for name in ("ivanov", "nobody"):
            guesses = [
                (await api.client.post("/api/session", json={"name": name, "password": f"guess {n}"})).status_code
                for n in range(FREE_FAILURES + 1)
            ]
            assert guesses == [401] * (FREE_FAILURES + 1)

            # Even the right one has to wait now.
            answer = await api.client.post("/api/session", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1

        await api.database.pool.execute("UPDATE access.failed_logins SET wait_until = now() - interval '1 second'")
        await signed_in(api)
        left = await api.database.pool.fetchval("SELECT count(*) FROM access.failed_logins WHERE subject = 'ivanov'")
        assert left == 0

    told(database, story)


def test_guesses_that_come_at_once_are_counted_each(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        await asyncio.gather(
            *(
                api.client.post("/api/session", json={"name": "ivanov", "password": f"guess {n}"})
                for n in range(FREE_FAILURES * 2)
            )
        )
        answer = await api.client.post("/api/session", json={"name": "ivanov", "password": PASSWORD})
        assert answer.status_code == 429

    told(database, story)


def test_few_passwords_are_tried_from_one_address(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        statuses = [
            (await api.client.post("/api/session", json={"name": f"user{n}", "password": "guess"})).status_code
            for n in range(4)
        ]
        assert statuses == [401, 401, 401, 429]
        async with api.new_client("192.0.2.2") as elsewhere:
            answer = await elsewhere.post("/api/session", json={"name": "user5", "password": "guess"})
        assert answer.status_code == 401

    told(database, story, http=replace(GENEROUS, logins_per_minute=3))


def test_a_proxy_is_believed_only_where_the_settings_name_it(database: TestedDatabase) -> None:
    async def tried(api: Api) -> list[int]:
        return [
            (
                await api.client.post(
                    "/api/session",
                    json={"name": f"user{n}", "password": "guess"},
                    headers={"X-Forwarded-For": f"203.0.113.{n}"},
                )
            ).status_code
            for n in range(3)
        ]

    async def behind_nothing(api: Api) -> None:
        assert await tried(api) == [401, 429, 429]

    async def behind_a_proxy(api: Api) -> None:
        assert await tried(api) == [401, 401, 401]

    told(database, behind_nothing, http=replace(GENEROUS, logins_per_minute=1))
    told(database, behind_a_proxy, http=replace(GENEROUS, logins_per_minute=1, trusted_proxies=("192.0.2.0/24",)))


# -- sessions ---------------------------------------------------------------------------------------------------------


OVER = (
    "used_at = now() - interval '61 minutes'",  # idle
    "created_at = now() - interval '13 hours', expires_at = now() - interval '1 second'",  # too old
    "ended_at = now(), ended_why = 'test'",
)


def test_a_session_ends_when_it_is_idle_old_or_ended(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        for over in OVER:
            client = await signed_in(api)
            assert (await client.get("/api/session")).status_code == 200
            await api.database.pool.execute(f"UPDATE access.sessions SET {over} WHERE ended_at IS NULL")
            assert (await client.get("/api/session")).status_code == 401, over

    told(database, story)


def test_signing_in_anew_ends_the_session_before(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        client = await signed_in(api)
        former = client.cookies["tollgate"]

        await client.post("/api/session", json={"name": "ivanov", "password": PASSWORD})

        assert client.cookies["tollgate"] != former
        async with api.new_client() as thief:
            thief.cookies["tollgate"] = former
            assert (await thief.get("/api/session")).status_code == 401

    told(database, story)


def test_signing_out_ends_the_session(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        client = await signed_in(api)
        token = client.cookies["tollgate"]

        assert (await client.post("/api/session/end")).status_code == 204

        client.cookies.set("tollgate", token)
        assert (await client.get("/api/session")).status_code == 401

    told(database, story)


def test_a_user_has_so_many_sessions_at_once_and_no_more(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        first = await signed_in(api)
        for _ in range(20):
            await signed_in(api)
        assert (await first.get("/api/session")).status_code == 401
        open_now = await api.database.pool.fetchval("SELECT count(*) FROM access.sessions WHERE ended_at IS NULL")
        assert open_now == 20

    told(database, story)


def test_a_changing_request_of_a_session_proves_that_our_page_sent_it(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        client = await signed_in(api)
        body = {"kind": "company", "name": "ООО"}

        assert (await client.put("/api/clients/C1", json=body)).status_code == 200
        elsewhere = await client.put("/api/clients/C1", json=body, headers={"Origin": "https://evil.example"})
        assert elsewhere.status_code == 403
        del client.headers["X-CSRF-Token"]
        without = await client.put("/api/clients/C1", json=body)
        assert without.status_code == 403
        assert without.json()["type"].endswith(":forged")
        wrong = await client.put("/api/clients/C1", json=body, headers={"X-CSRF-Token": "0" * 64})
        assert wrong.status_code == 403
        # A question needs no proof.
        assert (await client.get("/api/session")).status_code == 200

    told(database, story)


# -- passwords and one-time tokens ------------------------------------------------------------------------------------


def test_a_new_user_sets_the_password_with_a_token_that_counts_once(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        entered = await api.ok(
            "POST",
            "/api/users",
            role="administrator",
            json={"name": "ivanov", "role": "sales", "full_name": "Иванов"},
        )
        use = {"name": "ivanov", "token": entered["token"], "password": PASSWORD}
        assert not entered["user"]["has_password"]

        weak = await api.client.post("/api/session/token", json=use | {"password": "ivanov123456"})
        assert weak.status_code == 422
        assert weak.json()["errors"][0]["pointer"] == "/password"

        assert (await api.client.post("/api/session/token", json=use)).status_code == 204
        await signed_in(api)
        again = await api.client.post("/api/session/token", json=use | {"password": ANOTHER})
        assert again.status_code == 401
        await signed_in(api)

    told(database, story)


def test_a_token_that_is_too_old_or_anothers_sets_nothing(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        token = tokens.new_token()
        for name, until in (("ivanov", -1), ("petrov", 1)):
            await api.user(name, "sales")
            expires_at = datetime.now(UTC) + timedelta(seconds=until * 60)
            await AccessRecord(api.database.pool).set_token(name, tokens.hash_of(token), expires_at)
        for name, given in (("ivanov", token), ("sidorov", token), ("petrov", tokens.new_token())):
            use = {"name": name, "token": given, "password": PASSWORD}
            assert (await api.client.post("/api/session/token", json=use)).status_code == 401

    told(database, story)


def test_whoever_changes_the_password_is_signed_out_everywhere(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        here, there = await signed_in(api), await signed_in(api)
        wanted = {"old_password": PASSWORD, "new_password": ANOTHER}

        wrong = await here.post("/api/session/password", json=wanted | {"old_password": "неверно"})
        assert wrong.status_code == 401
        assert (await here.post("/api/session/password", json=wanted)).status_code == 204

        assert (await there.get("/api/session")).status_code == 401
        assert (await here.get("/api/session")).status_code == 401
        await signed_in(api, password=ANOTHER)

    told(database, story)


# -- users ------------------------------------------------------------------------------------------------------------


def test_nobody_changes_the_own_role_and_the_last_administrator_stays(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.key_of("administrator")
        change = {"role": "manager", "reason": "I'd like to"}
        own = await api.ask("PATCH", "/api/users/administrator1", role="administrator", json=change)
        assert own.status_code == 403

        await api.user("second", "administrator")
        other = await api.ask("PATCH", "/api/users/second", role="administrator", json=change)
        assert other.status_code == 200
        assert other.json()["role"] == "manager"

    told(database, story)


def test_a_user_who_is_disabled_or_gets_another_role_is_signed_out(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales", PASSWORD)
        key = await api.key("ivanov", frozenset({"clients.see"}))
        client = await signed_in(api)
        await api.ok("PATCH", "/api/users/ivanov", role="administrator", json={"role": "support", "reason": "moved"})
        assert (await client.get("/api/session")).status_code == 401

        await signed_in(api)
        await api.ok("PATCH", "/api/users/ivanov", role="administrator", json={"enabled": False, "reason": "has left"})
        assert (await api.client.post("/api/session", json={"name": "ivanov", "password": PASSWORD})).status_code == 401
        assert (await api.ask("GET", "/api/session", key=key)).status_code == 401

    told(database, story)


def test_what_is_done_to_users_stands_in_the_audit_without_secrets(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        entered = await api.ok(
            "POST",
            "/api/users",
            role="administrator",
            json={"name": "ivanov", "role": "sales", "full_name": "Иванов", "reason": "new colleague"},
        )
        use = {"name": "ivanov", "token": entered["token"], "password": PASSWORD}
        await api.client.post("/api/session/token", json=use)

        rows = (await api.ok("GET", "/api/audit?entity=user", role="auditor"))["items"]

        assert [(row["action"], row["actor"], row["role"]) for row in rows] == [
            ("password", "ivanov", None),
            ("enter", "administrator1", "administrator"),
        ]
        assert rows[1]["reason"] == "new colleague"
        assert rows[1]["interface"].startswith("api key ")
        assert rows[1]["address"] == "192.0.2.1"
        everything = str(rows)
        assert entered["token"] not in everything
        assert "argon2" not in everything

    told(database, story)


# -- API keys ---------------------------------------------------------------------------------------------------------


def test_a_key_may_what_its_role_and_its_scopes_both_allow(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "manager")
        key = await api.key("ivanov", frozenset({"providers.see"}))

        assert (await api.ask("GET", "/api/providers", key=key)).status_code == 200
        refused = await api.ask("GET", "/api/bands", key=key)
        assert refused.status_code == 403
        assert refused.json()["permission"] == "bands.see"
        assert refused.json()["ask"] == "whoever made the key"

    told(database, story)


def test_a_key_makes_no_key_that_may_more(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "manager")
        narrow = await api.key("ivanov", frozenset({"keys.own", "providers.see"}))

        wide = await api.ask("POST", "/api/keys", key=narrow, json={"purpose": "more", "scopes": ["money.top_up"]})
        assert wide.status_code == 422
        assert wide.json()["errors"][0]["pointer"] == "/scopes/0"
        made = await api.ok("POST", "/api/keys", key=narrow, json={"purpose": "less", "scopes": ["providers.see"]})
        assert (await api.ask("GET", "/api/providers", key=made["key"])).status_code == 200

    told(database, story)


def test_a_key_ends_when_it_expires_or_is_revoked(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "manager")
        for over in (
            "expires_at = now() - interval '1 second', created_at = now() - interval '1 day'",
            "revoked_at = now(), revoked_by = 'test', revoked_why = 'test'",
        ):
            key = await api.key("ivanov", frozenset({"providers.see"}))
            assert (await api.ask("GET", "/api/session", key=key)).status_code == 200
            await api.database.pool.execute(f"UPDATE access.api_keys SET {over}")
            assert (await api.ask("GET", "/api/session", key=key)).status_code == 401, over

    told(database, story)


def test_another_ones_key_is_revoked_by_an_administrator_alone(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        await api.user("ivanov", "sales")
        key = await api.key("ivanov", frozenset({"clients.see"}))
        path = f"/api/keys/{tokens.prefix_of(key)}/revoke"

        assert (await api.ask("POST", path, role="manager", json={"reason": "x"})).status_code == 404
        assert (await api.ask("GET", "/api/session", key=key)).status_code == 200
        assert (await api.ask("POST", path, role="administrator", json={"reason": "lost"})).status_code == 200
        assert (await api.ask("GET", "/api/session", key=key)).status_code == 401

    told(database, story)


def test_what_is_no_key_is_refused(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        for key in ("", "tg_", "tg_abcdefgh_", "tg_abcdefgh_wrong", "xx_abcdefgh_x", "tg_ABCDEFGH_x", "é"):
            answer = await api.client.get("/api/session", headers={"Authorization": f"Bearer {key}".encode()})
            assert answer.status_code == 401, key

    told(database, story)


def test_keys_are_listed_with_their_prefix_and_nothing_that_would_open(database: TestedDatabase) -> None:
    async def story(api: Api) -> None:
        key = await api.key_of("sales")
        own = await api.ok("GET", "/api/keys", role="sales")
        assert [one["prefix"] for one in own["items"]] == [tokens.prefix_of(key)]
        assert key not in str(own)
        assert (await api.ask("GET", "/api/keys?user=*", role="sales")).status_code == 403
        everyones = await api.ok("GET", "/api/keys?user=*", role="administrator")
        assert {one["user"] for one in everyones["items"]} == {"sales1", "administrator1"}

    told(database, story)
