"""The console in a real browser, on the demonstration's operator: each page in both themes and widths without barriers,
and what scripts, keyboard and the content security policy make of the guide's walks.

`TOLLGATE_SCREENSHOTS=folder` keeps a picture of each page.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from chromium import NARROW, WIDE, Theme, barriers, chromium, looking, sticks_out
from playwright.sync_api import Browser, Page, expect
from test_cli_convert_demo import serving

from connectors.console.view import MENU

ATTEMPTS = 3_000
NUMBER, ACCOUNT = "381114112060", "100200"
"""A call of the guide's account to that number was stopped by a lock."""

Person = Literal["anna", "ivan", "admin"]

HEAVIEST_BYTES = 100_000
"""Of a page as it is sent, before it is compressed."""

LOOKS: tuple[tuple[int, Theme], ...] = ((WIDE, "light"), (NARROW, "dark"), (WIDE, "dark"), (NARROW, "light"))


@dataclass(frozen=True)
class Served:
    """A demonstration that serves: where, and who may sign in with which password; a call that was stopped."""

    address: str
    passwords: dict[str, str]
    attempt: str

    def sign_in(self, page: Page, name: Person) -> None:
        page.goto("/login")
        page.fill("#f-name", name)
        page.fill("#f-password", self.passwords[name])
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Выйти")).to_be_visible()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("demonstration"), ATTEMPTS) as (_, told):
        address = re.search(r"^The console is at (\S+)$", told, re.MULTILINE)
        attempt = re.search(r"^attempt (\S+) to", told, re.MULTILINE)
        assert address is not None
        assert attempt is not None
        yield Served(address[1], dict(re.findall(r"name (\w+) +password (\S+)$", told, re.MULTILINE)), attempt[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def pages_of(served: Served) -> dict[str, Person]:
    """Every page of the menu, and those that a walk leads to; who looks at it."""
    found: dict[str, Person] = {entry.path: "admin" for group in MENU for entry in group.entries}
    found |= {path: "anna" for path in found if not path.startswith(("/users", "/keys", "/audit"))}
    return found | {
        f"/clients?by=all&text={ACCOUNT}": "anna",
        f"/accounts/{ACCOUNT}": "anna",
        f"/lock-check?number={NUMBER}&account_id={ACCOUNT}": "anna",
        f"/tariff-check?number={NUMBER}&account_id={ACCOUNT}": "anna",
        f"/why/{served.attempt}": "anna",
        "/cdrs?service=CALLS_REC": "anna",
        "/locks/L1": "anna",
        "/numbers/74956460403": "anna",
        "/new-price-list": "anna",
        "/price-lists/R-BUSINESS": "anna",
        "/price-lists/R-BUSINESS/1": "anna",
        "/new-rerating": "anna",
        "/new-user": "admin",
        "/users/anna": "admin",
        "/roles": "admin",
        "/new-lock": "anna",
    }


def picture(page: Page, name: str, width: int, theme: str) -> None:
    if folder := os.environ.get("TOLLGATE_SCREENSHOTS"):
        plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "start"
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{plain}-{width}-{theme}.png", full_page=True)


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_no_page_has_a_barrier_or_sticks_out_of_its_window(
    served: Served, browser: Browser, width: int, theme: Theme
) -> None:
    wrong: dict[str, object] = {}
    pages = pages_of(served)
    for person in sorted(set(pages.values())):
        with looking(browser, served.address, width=width, theme=theme) as page:
            served.sign_in(page, person)
            for path in (path for path, who in pages.items() if who == person):
                answer = page.goto(path)
                assert answer is not None
                found = [*barriers(page), *([f"{sticks_out(page)} px too wide"] if sticks_out(page) else [])]
                if answer.status != 200:
                    found.append(f"status {answer.status}")
                if (weight := len(answer.body())) > HEAVIEST_BYTES:
                    found.append(f"{weight} bytes")
                if found:
                    wrong[path] = found
                picture(page, path, width, theme)
    assert not wrong


def test_signing_in_has_no_barrier_either(served: Served, browser: Browser) -> None:
    for width, theme in LOOKS:
        with looking(browser, served.address, width=width, theme=theme) as page:
            page.goto("/login")
            assert not barriers(page)
            assert not sticks_out(page)
            picture(page, "/login", width, theme)


def test_the_way_from_a_caller_on_the_telephone_to_the_lock_and_its_author(served: Served, browser: Browser) -> None:
    """§2.2: why did this call not go through, who set the lock, ask him; support may not lift it."""
    with looking(browser, served.address) as page:
        served.sign_in(page, "ivan")
        page.goto("/why")
        page.get_by_label(re.compile("попытк", re.IGNORECASE)).first.fill(served.attempt)
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text("L1")
        page.get_by_role("link", name="L1").first.click()
        expect(page.get_by_role("heading", name="История записи")).to_be_visible()
        assert page.get_by_role("button", name="Снять", exact=True).count() == 0
        page.get_by_label("Вопрос").fill("Для чего этот запрет?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_be_visible()


def test_a_manager_rehearses_a_lock_sets_it_and_lifts_it(served: Served, browser: Browser) -> None:
    """§2.2."""
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.goto("/new-lock")
        page.fill("#f-digits", "38111")
        page.fill("#f-reason", "Фрод")
        page.get_by_role("button", name="Прорепетировать").or_(page.locator("button[value=rehearse]")).first.click()
        expect(page.locator("section.card")).to_be_visible()
        expect(page.locator("#f-reason")).to_have_value("Фрод")  # nothing that was typed is lost
        page.locator("button[value=set]").click()
        expect(page).to_have_url(re.compile("/locks/"))
        page.locator("form[action$=lift] input[name=reason]").fill("Ошибка")
        page.keyboard.press("Enter")
        expect(page.locator("form[action$=lift]")).to_have_count(0)
        expect(page.locator("main")).to_contain_text("Ошибка")


def test_the_balance_is_asked_anew_without_a_new_page(served: Served, browser: Browser) -> None:
    """§3.3, «Обновить»."""
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.goto(f"/accounts/{ACCOUNT}")
        page.evaluate("window.sameDocument = true")
        with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true") as asked:
            page.get_by_role("button", name="Обновить").first.click()
        assert asked.value.status == 200
        assert page.evaluate("window.sameDocument")


def test_language_and_theme_stay_as_they_were_chosen(served: Served, browser: Browser) -> None:
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.get_by_role("button", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.goto("/locks")
        expect(page.locator("h1")).to_have_text("Forbidden regions")
        page.get_by_role("button", name="Русский").click()
        expect(page.locator("html")).to_have_attribute("lang", "ru")


def test_the_first_stop_of_the_keyboard_leads_to_the_content(served: Served, browser: Browser) -> None:
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.goto("/locks")
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()


def test_a_list_is_walked_with_the_keyboard(served: Served, browser: Browser) -> None:
    """`/` to the search, `j` and `k` over the rows, Enter opens; whoever types into a field types letters."""
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.goto("/locks")
        page.keyboard.press("/")
        box = page.get_by_role("searchbox")
        expect(box).to_be_focused()
        page.keyboard.type("jk/")
        expect(box).to_have_value("jk/")
        page.keyboard.press("Escape")
        links = page.locator("main tbody tr").filter(has=page.locator("a[href]"))
        for key, place in (("j", 0), ("j", 1), ("k", 0), ("k", 0), ("j", 1)):
            page.keyboard.press(key)
            expect(links.nth(place).locator("a[href]").first).to_be_focused()
        address = links.nth(1).locator("a[href]").first.get_attribute("href")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(re.escape(address or "nowhere") + "$"))


def test_a_price_list_is_rehearsed_and_the_page_shows_it_by_itself_when_it_is_done(
    served: Served, browser: Browser
) -> None:
    """§2.3: what last week's calls would have brought."""
    prices = b"prefix,price,per_seconds,step_seconds\n7495,1.50,60,60\n7,2.20,60,60\n381,13.00,60,1\n"
    with looking(browser, served.address) as page:
        served.sign_in(page, "anna")
        page.goto("/new-price-list")
        page.fill("#f-price_list_id", "R-BUSINESS")
        page.set_input_files("#f-file", {"name": "december.csv", "mimeType": "text/csv", "buffer": prices})
        page.locator("button.main").click()
        expect(page).to_have_url(re.compile("/price-lists/R-BUSINESS/2$"))
        page.locator("form[action$=lint] button").click()
        expect(page.get_by_role("heading", name=re.compile("^Проверка от"))).to_be_visible(timeout=30_000)
        page.locator("form[action$=rehearsal] button").click()
        expect(page.locator("svg.bars")).to_be_visible(timeout=30_000)
        assert not barriers(page)
        # One's own upload is not one's own to publish.
        expect(page.locator("form[action$=publish]")).to_have_count(0)
