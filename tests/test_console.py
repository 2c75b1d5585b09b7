"""The console's pages, asked as a browser asks them: the guide's walks, each role, both languages, bad input."""

import html
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from api import APP, Api, api_on
from postgres import TestedDatabase
from recorded import REGIONS, events_of, recorded

from backoffice.access import PERMISSIONS, ROLES, Role
from connectors.console import with_console
from connectors.console.pages.lists import LISTS
from connectors.console.view import MENU
from connectors.console.words import Words, catalogue
from connectors.postgres.database import Database, open_database

CONSOLE = Path(__file__).parents[1] / "connectors" / "console"
PASSWORD = "correct horse battery"
ACCOUNT, CLIENT, NUMBER = "100200", "horns", "381114112060"


class Browser:
    """A browser with cookies and no scripts."""

    def __init__(self, api: Api) -> None:
        http = api.services.http
        app = with_console(api.app, http=http, time_zone="Europe/Moscow")
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 40_000))  # type: ignore[arg-type]
        self.api = api
        self.client = httpx.AsyncClient(transport=transport, base_url="http://tollgate.test")
        self.page = ""

    async def get(self, path: str, status: int = 200, **asked: str) -> str:
        """The page's text."""
        return await self._told(await self.client.get(path, params=asked or None), status)

    async def post(self, path: str, status: int = 200, **typed: str) -> str:
        """The page after a form, with the form's hidden fields; `status` of the first answer."""
        hidden = dict(re.findall(r'<input type="hidden" name="(csrf|once)" value="([^"]*)">', self.page))
        return await self._told(await self.client.post(path, data={**hidden, **typed}), status)

    async def _told(self, answer: httpx.Response, status: int) -> str:
        assert answer.status_code == status, f"{answer.request.url}: {answer.status_code} {text_of(answer.text)[:600]}"
        while answer.is_redirect:
            answer = await self.client.get(answer.headers["location"])
        self.url = str(answer.request.url)
        self.page = answer.text
        return text_of(answer.text)

    async def sign_in(self, role: Role) -> "Browser":
        """As a user of that role."""
        await self.api.user(f"{role}1", role, PASSWORD)
        await self.get("/login")
        await self.post("/login", 303, name=f"{role}1", password=PASSWORD)
        return self


def text_of(page: str) -> str:
    """What there is to read on a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def told(database: TestedDatabase, story: Any) -> None:
    """The golden operator with its forbidden regions and the calls that they stopped, and a browser before it."""

    async def opened(db: Database) -> None:
        async with (
            open_database(database.settings, role=None) as owner,
            recorded(owner, events=events_of(REGIONS)) as office,
            api_on(db, reference=lambda: office.reader.reference) as api,
        ):
            browser = Browser(api)
            async with browser.client:
                await story(browser)

    database.run(opened, role=APP)


# -- signing in (§1.1) -------------------------------------------------------------------------------------------------


def test_work_starts_with_a_name_and_a_password_and_the_search_for_a_client(database):
    async def story(browser: Browser) -> None:
        await browser.get("/", 303)
        assert browser.url.endswith("/login")
        await browser.api.user("sal1", "sales", PASSWORD)
        wrong = await browser.post("/login", 401, name="sal1", password="guess")
        assert "Неверное имя или пароль" in wrong
        assert 'value="sal1"' in browser.page  # nothing typed is lost
        assert "guess" not in browser.page

        text = await browser.post("/login", 303, name="sal1", password=PASSWORD, next="")
        assert browser.url.endswith("/clients")  # R1.1-02
        assert "Найти клиента" in text
        assert re.search(r'<a href="/clients\?by=client" aria-current="page">По клиенту</a>', browser.page)  # R1.1-03
        cookie = browser.client.cookies.jar
        assert all(one.has_nonstandard_attr("HttpOnly") for one in cookie if one.name.endswith("tollgate"))

    told(database, story)


def test_whoever_is_not_signed_in_comes_back_to_where_he_was_going(database):
    async def story(browser: Browser) -> None:
        await browser.api.user("sal1", "sales", PASSWORD)
        await browser.get("/lock-check", 303, number=NUMBER)
        (following,) = re.findall(r'name="next" value="([^"]+)"', browser.page)[1:]
        await browser.post("/login", 303, name="sal1", password=PASSWORD, next=html.unescape(following))
        assert browser.url.endswith(f"/lock-check?number={NUMBER}")
        for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example"):
            answer = await browser.client.post("/login", data={"name": "sal1", "password": PASSWORD, "next": elsewhere})
            assert answer.headers["location"] == "/"

    told(database, story)


def test_signing_out_ends_the_session(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("sales")
        await browser.get("/clients")
        await browser.post("/logout", 303)
        assert browser.url.endswith("/login")
        await browser.get("/clients", 303)

    told(database, story)


def test_a_first_password_is_set_with_the_one_time_token(database):
    async def story(browser: Browser) -> None:
        sent = {"name": "new1", "role": "support", "full_name": "Новая"}
        token = (await browser.api.ok("POST", "/api/users", role="administrator", json=sent))["token"]
        await browser.get("/first-password")
        form = {"name": "new1", "token": token, "password": PASSWORD, "again": PASSWORD}
        assert "не совпадают" in await browser.post("/first-password", 422, **{**form, "again": "другой"})
        assert "одноразовый ключ" in await browser.post("/first-password", 422, **{**form, "token": "x" * 43})
        await browser.post("/first-password", 303, **form)
        await browser.post("/login", 303, name="new1", password=PASSWORD)
        assert "Найти клиента" in text_of(browser.page)

    told(database, story)


# -- who may what ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_the_pages_that_it_may_and_no_others(database, role):
    async def story(browser: Browser) -> None:
        await browser.sign_in(role)
        shown = set(re.findall(r'<a href="(/[a-z-]+)"', browser.page.partition("<main")[0]))
        for group in MENU:
            for entry in group.entries:
                may = entry.permission is None or role in PERMISSIONS[entry.permission].roles
                assert (entry.path in shown) == may, entry.path
                text = await browser.get(entry.path, 200 if may else 403)
                assert may or "Нет прав" in text

    told(database, story)


def test_a_form_from_elsewhere_changes_nothing(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        await browser.get("/new-lock")
        typed = {"kind": "prefix", "digits": "998", "reason": "суд", "do": "set"}
        await browser.post("/new-lock", 403, csrf="", **typed)
        await browser.get("/new-lock")
        hidden = dict(re.findall(r'name="(csrf|once)" value="([^"]*)"', browser.page))
        answer = await browser.client.post(
            "/new-lock", data={**hidden, **typed}, headers={"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403
        assert "998" not in await browser.get("/locks", scope="global")

    told(database, story)


# -- clients (§1.1, §2.1, §3.3) ----------------------------------------------------------------------------------------


def test_a_client_is_found_by_each_of_its_keys_and_by_the_box_for_everything(database):
    async def story(browser: Browser) -> None:
        client = {"kind": "company", "name": "ООО «Рога & Копыта»", "inn": "7701234560", "city": "Тверь"}
        await browser.api.ok("PUT", f"/api/clients/{CLIENT}", role="sales", json=client)
        await browser.sign_in("sales")
        for by, name, value in (
            ("client", "account_id", ACCOUNT),
            ("client", "name", "%копыта"),
            ("company", "inn", "7701234560"),
        ):
            text = await browser.get("/clients", by=by, **{name: value})
            assert "найден 1 клиент" in text
            assert f'href="/clients/{CLIENT}"' in browser.page
            assert "ООО «Рога &amp; Копыта»" in browser.page
        for anything in ("7701234560", "копыта"):
            await browser.get("/clients", by="all", text=anything)
            assert f"/clients/{CLIENT}" in browser.page
        assert "Упоминаний нет" in await browser.get("/clients", by="all", text="нет такого")
        assert "Никого не нашлось" in await browser.get("/clients", by="client", name="нет такого")

    told(database, story)


def test_the_one_box_finds_locks_by_their_words_and_leads_straight_to_what_has_that_very_id(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        locks = (await browser.api.ok("GET", "/api/locks"))["items"]
        await browser.get("/clients", by="all", text=locks[0]["reason"].split()[0])
        assert f'href="/locks/{locks[0]["lock_id"]}"' in browser.page
        call = next(json.loads(one) for one in events_of(REGIONS) if b'"call_attempt"' in one)
        for text, path in (
            (ACCOUNT, f"/clients/{CLIENT}"),
            ("R-OUT", "/price-lists/R-OUT"),
            (call["attempt_id"], f"/why/{call['attempt_id']}"),
        ):
            await browser.get("/clients", 303, by="all", text=text)
            assert browser.url.startswith(f"http://tollgate.test{path}")
        # What is in no address as it is, is found no less.
        assert "Упоминаний нет" in await browser.get("/clients", by="all", text="a/b?c#d")

    told(database, story)


def test_the_card_has_the_guides_tabs_and_the_balance_is_asked_anew(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        text = await browser.get(f"/accounts/{ACCOUNT}", 303)
        assert browser.url.startswith(f"http://tollgate.test/clients/{CLIENT}?account={ACCOUNT}")
        for tab in (
            "Счета",
            "Описание",
            "Дополнительно",
            "Теги",
            "Продукты",
            "Платежи",
            "Пополнения",
            "Списания",
            "Скидки",
            "Запрещённые регионы",
            "CDR",
            "Трафик по месяцам",
        ):
            assert tab in text
        for fact in ("Режим оплаты", "Критический баланс", "Кредитный лимит", "Последняя блокировка", "Долг", "Аванс"):
            assert fact in text  # R3.3-11..15
        for tab in re.findall(rf'href="(/clients/{CLIENT}\?tab=[a-z-]+[^"]*)"', browser.page):
            await browser.get(html.unescape(tab))
        before = await browser.get(f"/accounts/{ACCOUNT}/balance")
        assert "Баланс" in before
        assert "<html" not in browser.page  # a part of the page, for htmx

    told(database, story)


def test_money_is_entered_once_and_what_is_wrong_stands_beside_its_field(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("billing")
        where = f"/clients/{CLIENT}"
        await browser.get(where, tab="payments", account=ACCOUNT)
        typed = {"account": ACCOUNT, "amount_micros": "много", "reference": "п/п 17"}
        text = await browser.post(f"{where}/payments", 422, **typed)
        assert "напишите сумму" in text
        assert 'value="много"' in browser.page
        assert 'value="п/п 17"' in browser.page
        assert 'aria-invalid="true"' in browser.page

        hidden = dict(re.findall(r'name="(csrf|once)" value="([^"]*)"', browser.page))
        good = {**hidden, **typed, "amount_micros": "1 500,25"}
        for _ in range(2):  # the button was pressed twice
            assert (await browser.client.post(f"{where}/payments", data=good)).status_code == 303
        text = await browser.get(where, tab="payments", account=ACCOUNT)
        assert text.count("1 500,25") == 1

    told(database, story)


# -- forbidden regions (§2.2) ------------------------------------------------------------------------------------------


def test_support_finds_the_lock_its_history_and_whom_to_ask_and_cannot_lift_it(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        text = await browser.get("/lock-check", number="+381 11 411-20-60", account_id=ACCOUNT)
        assert "решает" in text
        (lock,) = set(re.findall(r'<section class="card deciding">\s*<h2><a href="(/locks/[^"]+)"', browser.page))
        text = await browser.get(lock)
        assert "История записи" in text  # R2.2-10
        assert "Кого спросить" in text
        assert "Снять запрет" not in text  # R2.2-09
        await browser.post(f"{lock}/lift", 403, reason="мешает")
        await browser.api.user("boss", "manager")
        mail = {"email": "boss@example.org", "reason": "для вопросов"}
        await browser.api.ok("PATCH", "/api/users/boss", role="administrator", json=mail)
        await browser.get(lock)
        sent = await browser.post(f"{lock}/questions", 303, question="Почему поставлен?")
        assert "Вопрос отправлен" in text_of(browser.page), sent

    told(database, story)


def test_a_lock_is_rehearsed_before_it_is_set_and_lifted_with_a_reason(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        await browser.get("/new-lock")
        typed = {"kind": "prefix", "digits": "7495", "reason": "<script>alert(1)</script>"}
        assert "Поставить запрет" not in text_of(browser.page)
        text = await browser.post("/new-lock", **typed, do="rehearse")
        assert "Остановлено звонков" in text
        assert "Поставить запрет" in text
        await browser.post("/new-lock", 303, **typed, do="set")
        assert "История записи" in text_of(browser.page)
        assert "<script>alert" not in browser.page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in browser.page
        lock = browser.url.rpartition("/")[2]
        assert lock in await browser.get("/locks")
        await browser.get(f"/locks/{lock}")
        await browser.post(f"/locks/{lock}/lift", 422)
        await browser.post(f"/locks/{lock}/lift", 303, reason="суд отменил")
        assert "снят" in text_of(browser.page)

        await browser.get("/new-lock")
        await browser.post("/new-lock", 422, kind="prefix", digits="12a", reason="x", do="set")
        assert 'id="e-digits"' in browser.page
        assert 'value="12a"' in browser.page

    told(database, story)


# -- tariffs (§2.3) and calls (§2.5) -----------------------------------------------------------------------------------


def test_the_tariff_check_has_seven_fields_and_says_what_is_missing(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        text = await browser.get("/tariff-check")
        for number, words in enumerate(
            (
                "Префикс или номер",
                "Лицевой счет",
                "Тарифный план",
                "Входящая услуга",
                "Тарифицируемая услуга",
                "Место обслуживания",
            ),
            start=1,
        ):
            assert f"{number}. {words}" in text
        asked = {
            "number": NUMBER,
            "account_id": ACCOUNT,
            "tariff_plan_id": "office",
            "service": "outgoing",
            "place": "msk",
            "incoming_service": "",
        }
        text = await browser.get("/tariff-check", **asked)
        assert "7. Провайдер" in text
        assert 'class="verdict' in browser.page
        await browser.get("/tariff-check", number=NUMBER)
        assert "error" in browser.page

    told(database, story)


def test_why_a_call_did_not_go_through_is_told_by_id_and_by_time(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        rows = await browser.api.database.pool.fetch(
            "SELECT attempt_id, at, allow FROM facts.decisions ORDER BY at, source_offset"
        )
        denied = next(row for row in rows if not row["allow"] and row["attempt_id"])
        text = await browser.get(f"/why/{denied['attempt_id']}")
        assert "Проверки по порядку" in text
        assert "Этот же звонок по сегодняшним таблицам" in text
        text = await browser.get(f"/why/{denied['attempt_id']}", verify="true")
        assert "до байта" in text
        at = denied["at"].strftime("%Y-%m-%dT%H:%M:%S+00:00")
        answer = await browser.client.get("/why", params={"at": at, "account_id": ACCOUNT, "within_minutes": "600"})
        assert answer.status_code in (200, 303)
        await browser.get("/why/nowhere", 404)
        assert "напишите дату" in await browser.get("/why", at="вчера")

    told(database, story)


def test_calls_are_listed_by_service_and_led_to_their_bills(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        assert "текущие" in await browser.get("/cdrs")
        await browser.get("/cdrs", service="outgoing")
        assert "file=xlsx" in browser.page
        assert "file=csv" in browser.page
        bill = re.findall(r'href="(/why/[^"]+)"', browser.page)[0]
        assert "Тарифицированный CDR" in await browser.get(bill)

    told(database, story)


# -- all lists ---------------------------------------------------------------------------------------------------------


def test_every_list_is_a_page_in_both_languages(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        for language in ("ru", "en"):
            await browser.post("/settings", 303, language=language, next="/clients")
            words = Words(language, "Europe/Moscow")
            for one in LISTS:
                if "{" not in one.path:
                    text = await browser.get(one.path, **({"number": "7%"} if one.path == "/numbers" else {}))
                    assert words.text(one.title) in text
                    assert f'<html lang="{language}"' in browser.page

    told(database, story)


def test_a_list_goes_on_where_a_page_ended_and_keeps_its_filters(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        for number in range(120):
            await browser.api.ok("PUT", f"/api/tags/T{number}", role="sales", json={"name": f"тег {number}"})
        await browser.get("/audit", entity="tag")
        (further,) = set(re.findall(r'hx-get="([^"]+)"', browser.page))
        assert "entity=tag" in further
        first = browser.page.count("<tr>")
        part = await browser.client.get(html.unescape(further), headers={"HX-Request": "true"})
        assert "<html" not in part.text
        assert first + part.text.count("<tr>") >= 120
        assert "file=xlsx&amp;entity=tag" in browser.page

    told(database, story)


# -- the frame ---------------------------------------------------------------------------------------------------------


def test_pages_run_nothing_inline_and_nobody_frames_them(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("manager")
        for path in ("/login", "/clients", f"/clients/{CLIENT}", "/locks", "/new-lock", "/nothing"):
            answer = await browser.client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=|javascript:", answer.text), path
            assert len(answer.content) < 100_000

    told(database, story)


def test_static_files_are_kept_for_ever_and_nothing_else_is_given_out(database):
    async def story(browser: Browser) -> None:
        await browser.get("/login")
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', browser.page):
            answer = await browser.client.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        for path in (
            "/static/x/../app.py",
            "/static/x/%2e%2e%2fapp.py",
            "/static/x/none.css",
            "/static/x/htmx.LICENSE.txt",
        ):
            assert (await browser.client.get(path)).status_code == 404, path

    told(database, story)


def test_themes_and_languages_are_chosen_and_anything_else_is_ignored(database):
    async def story(browser: Browser) -> None:
        await browser.get("/login")
        await browser.post("/settings", 303, theme="dark", next="/login")
        assert 'data-theme="dark"' in browser.page
        await browser.post("/settings", 303, language="en", next="/login")
        assert "Sign in" in text_of(browser.page)
        await browser.post("/settings", 303, language="xx", theme="neon", next="//evil.example")
        assert "evil" not in browser.url
        assert '<html lang="ru">' in browser.page

    told(database, story)


def test_every_word_of_the_pages_has_its_russian():
    known, missing = catalogue("ru"), set()
    for path in (*CONSOLE.rglob("*.html"), *CONSOLE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r'(?<![\w.])_\(\s*"([^"]+)"', text) + re.findall(r'count\(\s*"([^"]+)"', text)
        found += re.findall(r'\.text\(\s*"([^"]+)"', text) if path.suffix == ".py" else []
        missing |= {f"{path.name}: {one}" for one in found if one not in known}
    for group in MENU:
        missing |= {one for one in (group.text, *(entry.text for entry in group.entries)) if one not in known}
    for shown in LISTS:
        titles = [shown.title, shown.empty, *(one.title for one in (*shown.columns, *shown.filters))]
        missing |= {
            one for one in (*titles, *(word for one in shown.filters for word in one.choices)) if one not in known
        }
    missing |= {role for role in ROLES if role not in known}
    assert missing - {"words.py: %(n)s calls", "words.py: %(n)s call"} == set()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1 запрет"),
        (2, "2 запрета"),
        (5, "5 запретов"),
        (11, "11 запретов"),
        (21, "21 запрет"),
        (104, "104 запрета"),
    ],
)
def test_counts_have_their_plural(number, text):
    assert Words("ru", "Europe/Moscow").count("%(n)s lock", "%(n)s locks", number) == text


def test_money_moments_and_durations_are_written_as_people_do():
    ru, en = Words("ru", "Europe/Moscow"), Words("en", "Europe/Moscow")
    assert ru.money(1_234_567_890_000) == "1\u00a0234\u00a0567,89"
    assert ru.money(-2_500_000) == "-2,50"
    assert ru.money(1) == "0,000001"
    assert en.money(1_500_123_000) == "1,500.123"
    assert ru.moment("2026-11-24T21:30:00.000Z") == "25.11.2026 00:30:00"
    assert en.moment("2026-11-24T21:30:00.000Z") == "2026-11-25 00:30:00"
    assert ru.month("2026-11") == "ноябрь 2026"
    assert [ru.duration(one) for one in (0, 59, 61, 3_661, None)] == ["0:00", "0:59", "1:01", "1:01:01", ""]
    assert ru.instant("2026-11-24T18:30") == "2026-11-24T18:30:00+03:00"
