"""The desk of rejected events: looked at, mended, sent again, set aside; by one and by many, and by who may."""

import html
import json
import re
from collections.abc import Awaitable, Callable

from postgres import TestedDatabase
from recorded import Recorded
from test_console import Browser
from test_rejected import POISON, cdr, handled, rejecting

from connectors.postgres.database import Database

WHY = "проверено с оператором"
UNKNOWN = [cdr(f"c-{number}", account_id="999999", switch_id="msk  1") for number in range(2, 4)]


def told(database: TestedDatabase, story: Callable[..., Awaitable[None]]) -> None:
    """A CDR with a number as text and two of an account that there is not."""

    async def opened(db: Database) -> None:
        async with rejecting(db, POISON, *UNKNOWN) as (office, api):
            browser = Browser(api)
            async with browser.client:
                await story(browser, office)

    database.run(opened)


async def ids(browser: Browser, **asked: str) -> list[str]:
    await browser.get("/rejected", **asked)
    return re.findall(r'name="id" value="([^"]+)"', browser.page)


def test_the_desk_opens_on_what_waits_and_says_how_much_of_each_kind(database):
    async def story(browser: Browser, office: Recorded) -> None:
        await browser.sign_in("billing")
        text = await browser.get("/rejected")
        assert re.search(r"\d+ событи\w+ жд", text)
        kinds = re.findall(r'href="(/rejected\?state=open&amp;reason=(\w+)[^"]*)"', browser.page)
        assert kinds
        address, reason = kinds[0]
        await browser.get(address.replace("&amp;", "&"))
        assert f'value="{reason}"' in browser.page
        assert await ids(browser)

    told(database, story)


def test_an_event_is_mended_and_sent_again_and_nothing_typed_is_lost(database):
    async def story(browser: Browser, office: Recorded) -> None:
        await browser.sign_in("billing")
        (one,) = await ids(browser, state="open", reason="malformed")
        text = await browser.get(f"/rejected/{one}")
        assert "Исправить и отправить снова" in text
        text = await browser.post(f"/rejected/{one}/resubmit", 422, event='{"type": ', reason=WHY)
        assert "это не JSON" in text
        assert "{&#34;type&#34;:" in browser.page
        assert f'value="{WHY}"' in browser.page
        text = await browser.post(f"/rejected/{one}/resubmit", 422, event='{"type": "cdr"}', reason=WHY)
        assert 'class="error"' in browser.page
        assert "открыто" in text
        mended = json.dumps({**POISON, "billable_seconds": 60})
        text = await browser.post(f"/rejected/{one}/resubmit", 303, event=mended, reason=WHY)
        assert "Отправлено снова" in text
        await handled(office)
        text = await browser.get(f"/rejected/{one}")
        assert "Движок уже обработал" in text
        assert WHY in text
        assert '"billable_seconds":60' in html.unescape(browser.page)

    told(database, story)


def test_many_are_set_aside_at_once_and_gone_from_the_desk(database):
    async def story(browser: Browser, office: Recorded) -> None:
        await browser.sign_in("billing")
        text = await browser.post("/rejected", 422, do="set-aside", reason=WHY)
        assert "Сначала отметьте события" in text
        some = (await ids(browser, state="open"))[:2]
        hidden = dict(re.findall(r'<input type="hidden" name="(csrf|once)" value="([^"]*)">', browser.page))
        form = {**hidden, "id": some, "do": "set-aside", "reason": ""}
        answer = await browser.client.post("/rejected", data=form)
        assert answer.status_code == 422
        assert answer.text.count(" checked") == len(some)  # what was ticked stays ticked
        answer = await browser.client.post("/rejected", data={**form, "reason": WHY})
        assert answer.status_code == 303
        assert f"{len(some)} событ" in await browser.get(answer.headers["location"])
        assert not set(some) & set(await ids(browser, state="open"))
        assert WHY in await browser.get(f"/rejected/{some[0]}")

    told(database, story)


def test_whoever_may_only_look_sees_no_buttons_and_is_refused_by_the_api(database):
    async def story(browser: Browser, office: Recorded) -> None:
        await browser.sign_in("auditor")
        assert await ids(browser) == []
        one = re.findall(r'href="/rejected/([\d-]+)"', browser.page)[0]
        text = await browser.get(f"/rejected/{one}")
        assert "Отправить снова" not in text
        await browser.post(f"/rejected/{one}/set-aside", 403, why=WHY)

    told(database, story)


def test_an_edit_of_blanks_alone_is_an_edit_and_other_ends_of_lines_are_none(database):
    async def story(browser: Browser, office: Recorded) -> None:
        await browser.sign_in("billing")
        same, other = await ids(browser, state="open", reason="unknown_account")
        for one, typed, edited in ((same, "msk  1", "нет"), (other, "msk   1", "да")):
            await browser.get(f"/rejected/{one}")
            (shown,) = re.findall(r"<textarea[^>]*>(.*?)</textarea>", browser.page, re.DOTALL)
            text = html.unescape(shown).replace("msk  1", typed).replace("\n", "\r\n")
            page = await browser.post(f"/rejected/{one}/resubmit", 303, event=text, reason=WHY)
            assert f"{WHY} {edited}" in page
        await browser.post("/rejected", 404, id=same, reason=WHY)

    told(database, story)
