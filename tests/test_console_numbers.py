"""The console's pages of numbers and subscribers: the guide's walks of §1.4 and §3.4, done as a browser does them."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from api import APP, api_on
from api_samples import call_number, prepare
from postgres import TestedDatabase
from test_console import PASSWORD, Browser, text_of
from test_http_numbers import ACCOUNT, closed_days, group, have, rested, set_day

from backoffice.numbers import availability as rules
from backoffice.numbers.search import STATUSES
from connectors.console.pages import number_words as w
from connectors.console.pages.number_chart import chart, top_of
from connectors.console.pages.number_requests import QUEUES
from connectors.console.words import Words, catalogue
from connectors.postgres.database import Database

WANTED = "74951201031"
CALLED = "74952000200"
OWN = {"name": "Манго Телеком (реализация ПО ВАТС)", "own": True}


def told(database: TestedDatabase, story: Any) -> None:
    """An office on 2026-11-24 with statistics since spring: a clean number, one that is called, one in quarantine."""

    async def opened(db: Database) -> None:
        async with api_on(db) as api:
            await set_day(api, "2026-11-24")
            await prepare(api, 1)
            await closed_days(api, "2026-03-03", "2026-11-23")
            await api.ok("PUT", "/api/providers/own", role="b2b", json=OWN)
            await rested(api, WANTED, provider_id="own")
            await rested(api, "78125550001", region="Санкт-Петербург", provider_id="own")
            await have(api, CALLED, provider_id="own")
            await call_number(api, CALLED, callers=7, day="2026-11-20")
            browser = Browser(api)
            async with browser.client:
                await story(browser)

    database.run(opened, role=APP)


def ticked(page: str, name: str) -> set[str]:
    """The boxes of a name that are ticked."""
    return set(re.findall(rf'name="{name}" value="([a-z_]+)" checked', page))


async def look(browser: Browser, path: str, **asked: str) -> str:
    """A page with this query, whatever its parameters are called."""
    return await browser.get(f"{path}?{urlencode(asked)}")


# -- «Номера DID» -----------------------------------------------------------------------------------------------------


def test_the_search_begins_with_what_may_be_sold_and_finds_a_red_number_among_all_red(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("sales")
        text = await browser.get("/numbers")
        assert ticked(browser.page, "status") == {"free"}  # R1.4-17
        assert ticked(browser.page, "availability") == {"no_ncv", "ncv_ignored", "forced_yes"}  # R1.4-22
        assert WANTED in text
        assert CALLED not in text
        for word in ("Да (зависит от НЦВ): Есть НЦВ", "Да, принудительно", "Свободен", "В работе", "можно продать"):
            assert word in text
        assert re.search(r'class="badge good">✓ Да \(зависит от НЦВ\): Нет НЦВ', browser.page)  # R1.4-21

        text = await look(browser, "/numbers", number="8(495) 200-0-200", all="red")  # R1.4-31, R1.4-13
        assert f'href="/numbers/{CALLED}"' in browser.page
        assert re.search(r'class="badge bad">✗ Да \(зависит от НЦВ\): Есть НЦВ', browser.page)
        assert ticked(browser.page, "availability") == set(w.RED)
        text = await look(browser, "/numbers", number=CALLED, all="green", status="free")
        assert "Таких номеров нет" in text
        (anyway,) = re.findall(r'href="(/numbers\?number=\d+)"', browser.page)
        await browser.get(anyway)
        assert f'href="/numbers/{CALLED}"' in browser.page

    told(database, story)


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"status": "free", "number": ""}, "availability", "слишком нагружает базу"),  # R1.4-50, R1.4-51
        ({"number": "%%%", "all": "green"}, "number", "В маске нужны цифры"),
        ({"number": "abc%", "all": "green"}, "number", "Маска состоит из цифр"),
        ({"limit": "5001", "all": "green"}, "limit", "Не больше 5000"),  # R1.4-48
        ({"limit": "0", "all": "green"}, "limit", "Не меньше одной"),
        ({"limit": "много", "all": "green"}, "limit", "Напишите целое число"),
    ],
)
def test_a_search_that_cannot_be_is_told_beside_its_field(database, asked, field, said):
    async def story(browser: Browser) -> None:
        await browser.sign_in("sales")
        text = await look(browser, "/numbers", **asked)
        assert said in text
        assert f'id="e-{field}"' in browser.page
        assert html.escape(asked.get(field, "")) in browser.page

    told(database, story)


def test_numbers_go_on_in_portions_up_to_the_limit_and_the_file_has_the_same_filters(database):
    async def story(browser: Browser) -> None:
        for one in range(110):
            await rested(browser.api, f"7495555{one:04}")
        await browser.sign_in("sales")
        terms = {"number": "%555%", "region": "Москва", "status": "free", "all": "green"}  # R1.4-46
        text = await look(browser, "/numbers", **terms, limit="105")
        assert "Показано 100 из 110 найденных" in text
        assert "78125550001" not in text
        (further,) = set(re.findall(r'hx-get="([^"]+)"', browser.page))
        part = await browser.client.get(html.unescape(further), headers={"HX-Request": "true"})
        assert part.text.count("<tr>") == 5
        assert "hx-get" not in part.text
        assert "Показано 100 из 110" in await look(browser, "/numbers", **terms, limit="")  # R1.4-49
        csv = html.unescape(re.findall(r'href="([^"]+file=csv)"', browser.page)[0])
        lines = (await browser.api.ask("GET", csv, role="sales")).text.splitlines()
        assert len(lines) == 101  # R1.4-47

    told(database, story)


def test_the_card_says_why_when_it_is_free_and_who_called(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        text = await browser.get(f"/numbers/{CALLED}")
        assert "он в «Отстойнике»" in text
        assert "За срок отлежки были нецелевые звонки" in text
        assert "Освободится не раньше" in text
        assert "Уникальных звонивших 7" in text  # R1.4-34
        assert browser.page.count('<rect class="calls"') == 1
        assert "20.11.2026 7 7" in text
        assert "Внесён в номерную ёмкость" in text
        assert "Последний день раньше первого" in await browser.get(
            f"/numbers/{CALLED}", 422, since="2026-11-20", until="2026-11-01"
        )
        text = await browser.get(f"/numbers/{CALLED}", 422, since="вчера")
        assert "Напишите день" in text
        assert 'value="вчера"' in browser.page
        assert "За эти дни на номер никто не звонил" in await browser.get(f"/numbers/{WANTED}")
        await browser.get("/numbers/70000000000", 404)

    told(database, story)


# -- out of turn ------------------------------------------------------------------------------------------------------


def test_a_wanted_number_is_asked_for_agreed_to_approved_and_sold(database):
    """Case 3 of the guide, by clicks alone (R1.4-37, R1.4-38, R1.4-45)."""

    async def story(browser: Browser) -> None:
        api = browser.api
        client = {"kind": "company", "name": "Восток 200", "emails": ["boss@example.org"]}
        await api.ok("PUT", "/api/clients/vostok", role="sales", json=client)
        await api.user("ast1", "sales", PASSWORD)
        await api.user("sales1", "sales", PASSWORD)
        await group(api, "assistants", "ast1", "sales1")
        await browser.sign_in("sales")
        await browser.get(f"/numbers/{CALLED}")
        text = await browser.post(f"/numbers/{CALLED}/requests", 422, reason="нужен клиенту", client_id="")
        assert "начиная с 6 клиент должен согласиться письменно: укажите клиента" in text
        assert 'id="e-client_id"' in browser.page
        assert ">нужен клиенту</textarea>" in browser.page
        await browser.post(f"/numbers/{CALLED}/requests", 422, reason="нужен", client_id="nobody")
        await browser.post(f"/numbers/{CALLED}/requests", 303, reason="нужен клиенту", client_id="vostok")
        text = text_of(browser.page)
        assert "Ждёт согласия клиента" in text
        assert "свою заявку не одобряет никто" in text
        assert "Одобрить" not in text
        request = browser.url.partition("tollgate.test")[2]
        await browser.post(f"{request}/approve", 403, decision="сам себе")
        await browser.get(request)
        await browser.post(f"{request}/consent", 422, text="Согласны", given_by="", given_on="")
        assert 'id="e-given_by"' in browser.page
        assert 'value="Согласны"' in browser.page
        await browser.post(f"{request}/consent", 303, text="Согласны", given_by="Директор", given_on="")
        assert "Ждёт ответа" in text_of(browser.page)

        await browser.post("/logout", 303)
        await browser.post("/login", 303, name="ast1", password=PASSWORD)
        assert CALLED in await browser.get("/number-requests")  # what waits for ast1
        assert f'href="{request}"' in browser.page
        await browser.get(request)
        await browser.post(f"{request}/approve", 422, decision="")
        assert 'id="e-decision"' in browser.page
        await browser.post(f"{request}/approve", 303, decision="согласие есть")
        assert "Одобрена: ast1" in text_of(browser.page)
        assert "Да, принудительно" in await look(browser, "/numbers", number=CALLED, all="green", status="free")
        await browser.get(f"/numbers/{CALLED}")
        assert f'href="/new-subscriber?number={CALLED}"' in browser.page

    told(database, story)


def test_a_request_is_refused_with_a_reason_or_taken_back(database):
    async def story(browser: Browser) -> None:
        api = browser.api
        await api.user("ast1", "sales", PASSWORD)
        await group(api, "assistants", "ast1")
        await browser.sign_in("sales")
        requests = []
        for number in ("74951110001", "74951110002"):
            await have(api, number, since="2026-11-10", provider_id="own")
            text = await browser.get(f"/numbers/{number}")
            assert "Недостаточно данных" in text
            await browser.post(f"/numbers/{number}/requests", 303, reason="нужен клиенту")  # R1.4-41
            assert "Ассистенты: ast1" in text_of(browser.page)
            requests.append(browser.url.partition("tollgate.test")[2])
        refused, taken = requests
        await browser.post(f"{taken}/withdraw", 303, withdrawal="передумал")
        assert "Отозвана" in text_of(browser.page)
        assert "74951110002" not in await browser.get("/number-requests", queue="own", state="open")
        assert "74951110001" in await browser.get("/number-requests", queue="assistants", state="open")

        await browser.post("/logout", 303)
        await browser.post("/login", 303, name="ast1", password=PASSWORD)
        await browser.get(refused)
        await browser.post(f"{refused}/refuse", 303, decision="номер конкурента")
        text = text_of(browser.page)
        assert "Отказано: ast1" in text
        assert "номер конкурента" in text
        assert "Ответить" not in text

    told(database, story)


def test_customer_service_is_told_that_nobody_can_answer_before_a_manager_is_entered(database):
    async def story(browser: Browser) -> None:
        await have(browser.api, "74951110001", since="2026-11-10", provider_id="own")
        await browser.sign_in("support")
        await browser.get("/numbers/74951110001")
        text = await browser.post("/numbers/74951110001/requests", 422, reason="нужен клиенту")
        assert "Ответить некому" in text
        assert ">нужен клиенту</textarea>" in browser.page

    told(database, story)


# -- «Абонент» --------------------------------------------------------------------------------------------------------


def test_a_number_is_attached_to_a_product_paid_and_closed_into_quarantine(database):
    """The guide's walk from «Создать абонента» on; then its case 2, closed (R1.4-12, R1.4-52, R1.4-53)."""

    async def story(browser: Browser) -> None:
        await browser.sign_in("sales")
        assert "Создать абонента" in text_of(browser.page)  # the menu
        await browser.get("/new-subscriber")
        typed = {"account_id": ACCOUNT, "product": "ВАТС"}
        text = await browser.post("/new-subscriber", 422, do="create", **typed)
        assert "Выберите номер" in text
        assert 'value="ВАТС"' in browser.page
        await browser.post("/new-subscriber", do="find", mask="%120%", **typed)
        assert f'name="number" value="{WANTED}" checked' in browser.page  # the only one
        assert f'value="{ACCOUNT}"' in browser.page
        found = {"mask": "%120%", "number": WANTED}
        text = await browser.post("/new-subscriber", 422, do="create", **found, account_id="nobody", product="ВАТС")
        assert "Лицевого счета 'nobody' нет" in text
        assert 'id="e-account_id"' in browser.page
        text = await browser.post("/new-subscriber", 422, do="create", **found, **typed, planned_on="2026-11-01")
        assert "Нужен день позже сегодняшнего" in text
        text = await browser.post("/new-subscriber", 422, do="create", **found, **typed, planned_on="скоро")
        assert "Напишите день" in text
        text = await browser.post("/new-subscriber", 422, do="create", **found, account_id="", product="")
        assert text.count("Заполните это поле") == 2
        await browser.post("/new-subscriber", 303, do="create", **found, **typed)
        assert "Статус Новый" in text_of(browser.page)
        card = browser.url.partition("tollgate.test")[2]
        assert "Зарезервирован" in await browser.get(f"/numbers/{WANTED}")
        await browser.get(card)
        await browser.post(f"{card}/activate", 303, reason="счёт 17")
        assert "Статус В работе" in text_of(browser.page)
        await browser.post(f"{card}/close", 422, reason="")
        assert 'id="e-close-reason"' in browser.page
        await browser.post(f"{card}/close", 303, reason="отказ клиента")
        assert "отказ клиента" in text_of(browser.page)
        text = await browser.get(f"/numbers/{WANTED}")
        assert "он в «Отстойнике»" in text
        for line in ("Создан: ВАТС, лицевой счет", "Активирован: ВАТС", "Закрыт: ВАТС", "В «Отстойнике» с 2026-11-24"):
            assert line in text
        assert WANTED in await look(browser, "/subscribers", status="closed")
        assert WANTED not in await look(browser, "/subscribers", status="new")

    told(database, story)


def test_a_red_number_is_not_offered_and_not_sold(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("sales")
        text = await browser.get("/new-subscriber", number=CALLED)
        assert f"Номер {CALLED} нельзя продать" in text
        assert f'href="/numbers/{CALLED}"' in browser.page
        assert 'type="radio"' not in browser.page
        text = await browser.post(
            "/new-subscriber", 422, do="create", mask=CALLED, number=CALLED, account_id=ACCOUNT, product="ВАТС"
        )
        assert f"Номер {CALLED} не свободен" in text  # R1.4-54

    told(database, story)


def test_a_number_is_taken_from_a_client_into_quarantine_with_a_reason(database):
    async def story(browser: Browser) -> None:
        await have(browser.api, "74951110003", status="in_use", account_id=ACCOUNT)
        await browser.sign_in("support")
        await browser.get("/numbers/74951110003")
        await browser.post("/numbers/74951110003/release", 422, reason="")
        assert 'id="e-release-reason"' in browser.page
        await browser.post("/numbers/74951110003/release", 303, reason="договор расторгнут")
        text = text_of(browser.page)
        assert "он в «Отстойнике»" in text
        assert "договор расторгнут" in text

    told(database, story)


def test_what_a_role_may_not_do_is_not_shown_and_not_done(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("marketing")
        await browser.get(f"/numbers/{WANTED}")
        assert 'method="post" action="/numbers' not in browser.page
        assert "/new-subscriber" not in browser.page
        await browser.get("/new-subscriber", 403)
        await browser.post(f"/numbers/{CALLED}/requests", 403, reason="хочу")
        await browser.get("/number-requests")
        assert "Ждут моего ответа" not in text_of(browser.page)
        await browser.get("/subscribers")
        assert "/new-subscriber" not in browser.page

    told(database, story)


# -- words and bars ---------------------------------------------------------------------------------------------------


def test_the_colours_and_states_are_those_of_the_rules():
    assert set(w.GREEN) == rules.GREEN
    assert set(w.RED) == rules.RED
    assert set(w.STATUSES) == set(STATUSES)


def test_each_word_has_its_russian_and_availabilities_are_called_as_in_the_guide():
    russian = Words("ru", "Europe/Moscow")
    assert {value: russian.text(text) for value, text in w.AVAILABILITIES.items()} == dict(rules.WORDS)
    known = catalogue("ru")
    named = (w.STATUSES, w.SUBSCRIBERS, w.SIGNS, w.DESKS, w.DEPARTMENTS, w.REQUESTS, w.EVENTS, QUEUES)
    said = {text for words in named for text in words.values()} | {text for _, text in (*w.REFUSALS, *w.DETAILS)}
    assert said - set(known) == set()


def test_a_day_without_statistics_is_not_a_day_without_calls():
    days = [
        {"day": "2026-11-03", "calls": 8, "unique_callers": 5, "collected": True},
        {"day": "2026-11-02", "calls": 0, "unique_callers": 0, "collected": False},
        {"day": "2026-11-01", "calls": 4, "unique_callers": 4, "collected": True},
    ]
    drawn = chart(days)
    assert [bar.day for bar in drawn.bars] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert [bar.collected for bar in drawn.bars] == [True, False, True]
    first, _, last = drawn.bars
    assert first.calls_height == first.unique_height
    assert last.calls_height > last.unique_height
    assert [value for value, _ in drawn.lines] == [0, 5, 10]


@pytest.mark.parametrize(("most", "top"), [(0, 2), (2, 2), (3, 4), (5, 6), (7, 10), (11, 20), (61, 100), (401, 600)])
def test_the_scale_ends_at_a_number_that_reads_well(most, top):
    assert top_of(most) == top
