"""Users, roles, keys and the jobs of the night on the console."""

import html
import re

from test_console import Browser, told

PASSWORD = "quiet green river 7"
WHY = "новый сотрудник"


def test_a_user_is_entered_gets_a_token_sets_a_password_and_comes_in(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("administrator")
        await browser.get("/new-user")
        person = {"name": "olga", "role": "support", "full_name": "Ольга Орлова", "reason": WHY}
        text = await browser.post("/new-user", 422, **{**person, "full_name": ""})
        assert 'value="olga"' in browser.page  # nothing typed is lost
        text = await browser.post("/new-user", **person)
        assert "показан один раз" in text
        (token,) = re.findall(r"<p><code>([^<]+)</code></p>", browser.page)
        assert "Ольга Орлова" in await browser.get("/users")

        await browser.get("/first-password")
        new = {"name": "olga", "password": PASSWORD, "again": PASSWORD}
        await browser.post("/first-password", 303, token=html.unescape(token), **new)
        assert "olga" in await browser.post("/login", 303, name="olga", password=PASSWORD)

    told(database, story)


def test_a_user_is_changed_and_shut_out_but_not_by_himself(database):
    async def story(browser: Browser) -> None:
        await browser.api.user("sal1", "sales", "correct horse battery")
        await browser.sign_in("administrator")
        await browser.get("/users/sal1")
        text = await browser.post("/users/sal1/change", 422, full_name="Имя", role="support", reason="")
        assert 'class="error"' in browser.page
        text = await browser.post("/users/sal1/change", 303, full_name="Имя Новое", role="support", reason=WHY)
        assert "Имя Новое" in text
        assert "поддержк" in text
        assert "закрыт вход" in await browser.post("/users/sal1/disable", 303, reason=WHY)
        await browser.get("/users/administrator1")
        await browser.post("/users/administrator1/disable", 422, reason=WHY)
        assert 'class="error"' in browser.page

    told(database, story)


def test_a_key_is_shown_once_works_and_is_revoked(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        text = await browser.get("/keys")
        assert "нет ключей" in text
        await browser.post("/keys", 422, purpose="выгрузка")
        assert 'value="выгрузка"' in browser.page
        await browser.post("/keys", purpose="выгрузка", scopes="locks.see")
        (key,) = re.findall(r"Bearer (\S+)</code>", browser.page)
        asked = {"Authorization": f"Bearer {key}"}
        assert (await browser.api.client.get("/api/locks", headers=asked)).status_code == 200
        assert key not in await browser.get("/keys")
        (prefix,) = re.findall(r'action="/keys/([^/"]+)/revoke"', browser.page)
        await browser.post(f"/keys/{prefix}/revoke", 422, **{f"why-{prefix}": ""})
        assert f'id="e-why-{prefix}"' in browser.page
        await browser.post(f"/keys/{prefix}/revoke", 303, **{f"why-{prefix}": WHY})
        assert WHY in browser.page
        assert (await browser.api.client.get("/api/locks", headers=asked)).status_code == 401

    told(database, story)


def test_the_table_of_roles_is_there_to_read(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("administrator")
        text = await browser.get("/roles")
        assert "locks.lift_any" in text
        assert browser.page.count("✓") > 50

    told(database, story)


def test_a_night_is_asked_for_and_its_report_is_there(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("administrator")
        assert "ещё ни разу" in await browser.get("/nightly")
        text = await browser.post("/nightly", 422, reason="")
        assert 'class="error"' in browser.page
        text = await browser.post("/nightly", 303, reason=WHY, jobs="locks")
        assert re.search(r"Заказ \d+ на ночь", text)
        assert "ждёт" in text
        await browser.get("/nightly/2026-11-24/locks", 404)

    told(database, story)
