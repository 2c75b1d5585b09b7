"""A re-rating on the console: previewed by one, approved by another, posted, taken back."""

import asyncio

from api import Api
from postgres import TestedDatabase
from rerated import SINCE, UNTIL, Past
from test_console import Browser
from test_http_rerating import told

WHY = "неверные цены"


async def until(browser: Browser, piece: str) -> str:
    """The page of the run when that is on it: the worker of the system is at work meanwhile."""
    path = browser.url.removeprefix("http://tollgate.test")
    async with asyncio.timeout(30):
        while True:
            text = await browser.get(path)
            if piece in browser.page:
                return text
            await asyncio.sleep(0.05)


def test_a_run_is_previewed_approved_by_another_posted_and_taken_back(database: TestedDatabase) -> None:
    async def story(there: Past, api: Api) -> None:
        billing, manager = await Browser(api).sign_in("billing"), await Browser(api).sign_in("manager")
        await billing.get("/new-rerating")
        await billing.post("/new-rerating", 422, since="yesterday", until=UNTIL, reason=WHY)
        assert 'id="e-since"' in billing.page
        assert f'value="{WHY}"' in billing.page  # nothing typed is lost
        await billing.post("/new-rerating", 303, since=SINCE, until=UNTIL, reason=WHY)
        text = await until(billing, "Что получится")
        assert billing.page.count("<rect") == 6
        assert "Отличающиеся звонки" in text
        assert "Утвердить" not in text  # not one's own
        path = billing.url.removeprefix("http://tollgate.test")

        await manager.get(path)
        await manager.post(f"{path}/approve", 422, reason="", fingerprint="")
        assert 'class="error"' in manager.page
        await manager.post(f"{path}/approve", 303, reason=WHY)
        await billing.get(path)
        await billing.post(f"{path}/post", 303, reason=WHY)
        await until(billing, 'verdict">проведено<')
        await manager.get(path)
        await manager.post(f"{path}/roll-back", 303, reason="ошибка")
        await until(manager, 'verdict">отозвана<')
        assert WHY in await billing.get("/reratings", state="rolled_back")

    told(database, story)
