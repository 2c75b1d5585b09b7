"""A price list on the console: from the file to the day that it comes into force, and back."""

import re

from test_console import Browser, told

GOOD = "prefix,price,per_seconds,step_seconds\n7495,1.50,60,60\n38111,3.00,60,1\n"
BAD = "prefix,price,per_seconds,step_seconds\n7495,one,60,60\n38x,3.00,60,1\n"


async def upload(browser: Browser, status: int, text: str, **typed: str) -> str:
    """The page after a file was sent with its form."""
    await browser.get(
        "/new-price-list", **({"price_list_id": typed["price_list_id"]} if "price_list_id" in typed else {})
    )
    hidden = dict(re.findall(r'<input type="hidden" name="(csrf|once)" value="([^"]*)">', browser.page))
    file = (
        {"file": ("december.csv", text.encode(), "text/csv")}
        if text
        else {"file": ("", b"", "application/octet-stream")}
    )
    return await browser._told(
        await browser.client.post("/new-price-list", data={**hidden, **typed}, files=file), status
    )


NEW = {
    "price_list_id": "december",
    "kind": "retail",
    "name": "Декабрь",
    "currency": "RUB",
    "rounding": "up",
    "decimals": "4",
    "reason": "новый год",
}


def test_a_file_with_errors_is_told_line_by_line_and_nothing_typed_is_lost(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("marketing")
        assert "выберите файл" in await upload(browser, 422, "", **NEW)
        text = await upload(browser, 422, BAD, **NEW)
        assert "Из файла december.csv ничего не взято" in text
        assert re.search(r"<td>2 · price</td>", browser.page)
        assert 'value="Декабрь"' in browser.page
        assert "december" not in await browser.get("/price-lists")

    told(database, story)


def test_a_list_is_uploaded_checked_rehearsed_published_by_another_and_rolled_back(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("marketing")
        text = await upload(browser, 303, GOOD, **NEW)
        assert browser.url.endswith("/price-lists/december/1")
        assert "все цены новые" in text
        assert "Опубликовать" not in text  # whoever uploads does not publish
        text = await browser.post("/price-lists/december/1/lint", 303)
        for _ in range(100):
            if "Проверка от" in text:
                break
            text = await browser.get("/price-lists/december/1")
        assert re.search(r"\d+ ошиб", text)
        text = await browser.post("/price-lists/december/1/rehearsal", 303, days="7")
        for _ in range(100):
            if '<svg class="bars"' in browser.page:
                break
            text = await browser.get("/price-lists/december/1")
        assert "Выручка" in text
        assert browser.page.count("<rect") == 6
        assert "style=" not in browser.page

        await browser.client.post("/logout", data=dict(re.findall(r'name="(csrf)" value="([^"]*)"', browser.page)))
        await browser.sign_in("manager")
        await browser.get("/price-lists/december/1")
        text = await browser.post("/price-lists/december/1/publish", 422, reason="")
        assert 'class="error"' in browser.page
        text = await browser.post("/price-lists/december/1/publish", 303, reason="новый год")
        assert "действует" in text
        text = await browser.post("/price-lists/december/1/roll-back", 422, reason="ошибка")
        assert 'class="error"' in browser.page  # there is no version before it
        assert "december" in await browser.get("/price-lists/december")

    told(database, story)


def test_whoever_may_not_work_on_prices_sees_no_forms(database):
    async def story(browser: Browser) -> None:
        await browser.sign_in("support")
        await browser.get("/price-lists/R-OUT")
        assert "/new-price-list" not in browser.page
        await browser.get("/new-price-list", 403)

    told(database, story)
