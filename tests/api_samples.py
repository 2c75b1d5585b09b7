"""For each changing operation of the API a request that succeeds: who asks what.

Every changing route must be here: the tests of Idempotency-Keys walk over all of them. `{n}` in a path or a text is a
number that no other sample has. What must be there beforehand is made by `prepare`, with the same number: `known{n}`.
"""

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from api import Api
from msgspec import json

from backoffice.access import Role
from connectors.postgres import price_lists
from connectors.postgres.change import change
from connectors.postgres.database import open_database
from schemas.reference import PriceList


class Sample(NamedTuple):
    """A request; `other` is the same with other content (None: the body can't differ). Bytes are a file."""

    role: Role
    path: str
    body: dict[str, Any] | bytes | None
    other: dict[str, Any] | bytes | None = None

    def numbered(self, n: int) -> "Sample":
        """With a number of its own."""
        return Sample(self.role, self.path.replace("{n}", str(n)), _numbered(self.body, n), _numbered(self.other, n))


def _numbered(value: Any, n: int) -> Any:
    match value:
        case str():
            return value.replace("{n}", str(n))
        case dict():
            return {name: _numbered(inner, n) for name, inner in value.items()}
        case list():
            return [_numbered(inner, n) for inner in value]
    return value


WHY = {"reason": "a test"}
PRICES = b"prefix,price,per_seconds,step_seconds\n381,3.00,60,60\n"
NEW_LIST = "kind=retail&currency=RUB&rounding=up&decimals=4"

SAMPLES: dict[str, Sample] = {
    "enter_user": Sample(
        "administrator",
        "/api/users",
        {"name": "user{n}", "role": "support", "full_name": "Имя"},
        {"name": "user{n}", "role": "sales", "full_name": "Имя"},
    ),
    "change_user": Sample(
        "administrator", "/api/users/known{n}", {"email": "{n}@example.org", **WHY}, {"phone": "1", **WHY}
    ),
    "issue_token": Sample("administrator", "/api/users/known{n}/token", WHY, {"reason": "another one"}),
    "make_key": Sample(
        "manager",
        "/api/keys",
        {"purpose": "a test", "scopes": ["clients.see"]},
        {"purpose": "a test", "scopes": ["locks.see"]},
    ),
    "revoke_key": Sample("administrator", "/api/keys/{key}/revoke", WHY, {"reason": "another one"}),
    "load_calendar": Sample(
        "manager",
        "/api/calendar",
        {"since": "2026-01-01", "until": "2026-12-31", "days": [{"day": "2026-11-04", "kind": "day_off"}]},
        {"since": "2026-01-01", "until": "2026-12-31", "days": []},
    ),
    "order_night": Sample(
        "manager",
        "/api/nightly/orders",
        {"day": "2026-02-01", "jobs": ["locks"], **WHY},
        {"day": "2026-02-01", "jobs": ["audit"], **WHY},
    ),
    "put_client": Sample(
        "sales", "/api/clients/C{n}", {"kind": "company", "name": "ООО {n}"}, {"kind": "company", "name": "ООО"}
    ),
    "put_tag": Sample("sales", "/api/tags/T{n}", {"name": "tag {n}"}, {"name": "tag"}),
    "hang_tag": Sample("sales", "/api/clients/known{n}/tags/known{n}", {}, {"reason": "another one"}),
    "take_tag": Sample("sales", "/api/clients/known{n}/tags/hung{n}", None),
    "put_account": Sample(
        "sales",
        "/api/accounts/A{n}",
        {"client_id": "known{n}", "tariff_plan_id": "known{n}", "payment_mode": "prepaid"},
        {"client_id": "known{n}", "tariff_plan_id": "known{n}", "payment_mode": "postpaid"},
    ),
    "put_discounts": Sample(
        "billing",
        "/api/accounts/known{n}/discounts",
        {"discounts": [{"percent_micros": 5_000_000}], **WHY},
        {"discounts": [], **WHY},
    ),
    "connect_service": Sample(
        "sales",
        "/api/accounts/known{n}/services",
        {"service": "service{n}"},
        {"service": "service{n}", "product": "ВАТС"},
    ),
    "disconnect_service": Sample(
        "sales", "/api/accounts/known{n}/services/connected/disconnect", WHY, {"reason": "another one"}
    ),
    "enter_payment": Sample(
        "billing", "/api/accounts/known{n}/payments", {"amount_micros": 2_000_000}, {"amount_micros": 2_000_001}
    ),
    "enter_top_up": Sample(
        "billing", "/api/accounts/known{n}/top-ups", {"amount_micros": 2_000_000}, {"amount_micros": -2_000_000}
    ),
    "enter_write_off": Sample(
        "billing", "/api/accounts/known{n}/write-offs", {"amount_micros": 2_000_000}, {"amount_micros": 1}
    ),
    "block": Sample("billing", "/api/accounts/known{n}/block", WHY, {"reason": "another one"}),
    "unblock": Sample("billing", "/api/accounts/blocked{n}/unblock", WHY, {"reason": "another one"}),
    "close": Sample("manager", "/api/accounts/known{n}/close", WHY, {"reason": "another one"}),
    "put_provider": Sample("b2b", "/api/providers/P{n}", {"name": "Москва, Мегафон"}, {"name": "Мегафон"}),
    "remove_provider": Sample("b2b", "/api/providers/known{n}/remove", WHY, {"reason": "another one"}),
    "put_plan": Sample(
        "marketing",
        "/api/tariff-plans/T{n}",
        {"lists": [{"price_list_id": "R"}]},
        {"lists": [{"price_list_id": "R", "priority": 1}]},
    ),
    "remove_plan": Sample("marketing", "/api/tariff-plans/unused{n}/remove", WHY, {"reason": "another one"}),
    "put_band": Sample("marketing", "/api/bands/B{n}", {"weekdays": [6, 7]}, {"weekdays": [7]}),
    "remove_band": Sample("marketing", "/api/bands/known{n}/remove", WHY, {"reason": "another one"}),
    "put_number": Sample("manager", "/api/numbers/7495{n}", {"region": "Москва"}, {"region": "Тверь"}),
    "set_lock": Sample("b2b", "/api/locks", {"digits": "9{n}", **WHY}, {"digits": "9{n}", "reason": "another one"}),
    "change_lock": Sample(
        "manager", "/api/locks/known{n}", {"digits": "8{n}", **WHY}, {"new_reason": "another one", **WHY}
    ),
    "lift_lock": Sample("manager", "/api/locks/known{n}/lift", WHY, {"reason": "another one"}),
    "ask_about_lock": Sample(
        "support", "/api/locks/known{n}/questions", {"question": "Почему?"}, {"question": "Можно снять?"}
    ),
    "upload_price_list": Sample(
        "marketing", f"/api/price-lists/L{{n}}/versions?{NEW_LIST}", PRICES, PRICES.replace(b"3.00", b"4.00")
    ),
    "approve_version": Sample(
        "marketing", "/api/price-lists/draft{n}/versions/1/approve", WHY, {"reason": "another one"}
    ),
    "publish_version": Sample(
        "marketing", "/api/price-lists/draft{n}/versions/1/publish", WHY, {"reason": "another one"}
    ),
    "discard_version": Sample(
        "marketing", "/api/price-lists/draft{n}/versions/1/discard", WHY, {"reason": "another one"}
    ),
    "roll_back_version": Sample(
        "marketing", "/api/price-lists/out{n}/versions/2/roll-back", WHY, {"reason": "another one"}
    ),
    "create_subscriber": Sample(
        "sales",
        "/api/subscribers",
        {"number": "7881{n}", "account_id": "known{n}", "product": "ВАТС"},
        {"number": "7881{n}", "account_id": "known{n}", "product": "ЦОВ"},
    ),
    "activate_subscriber": Sample("sales", "/api/subscribers/{subscriber}/activate", WHY, {"reason": "another one"}),
    "close_subscriber": Sample("support", "/api/subscribers/{subscriber}/close", WHY, {"reason": "another one"}),
    "release_number": Sample("support", "/api/numbers/7883{n}/release", WHY, {"reason": "another one"}),
    "ask_for_number": Sample("sales", "/api/numbers/7884{n}/requests", WHY, {"reason": "another one"}),
    "ask_client": Sample(
        "sales",
        "/api/number-requests/{asked}/ask-client",
        {"client_id": "mail{n}"},
        {"client_id": "mail{n}", "reason": "another one"},
    ),
    "record_consent": Sample(
        "sales",
        "/api/number-requests/{told}/consent",
        {"text": "Согласны", "given_by": "Директор"},
        {"text": "Согласны", "given_by": "Бухгалтер"},
    ),
    "approve_request": Sample("manager", "/api/number-requests/{waiting}/approve", WHY, {"reason": "another one"}),
    "refuse_request": Sample("manager", "/api/number-requests/{waiting}/refuse", WHY, {"reason": "another one"}),
    "withdraw_request": Sample("sales", "/api/number-requests/{waiting}/withdraw", WHY, {"reason": "another one"}),
    "put_number_group": Sample(
        "manager", "/api/number-groups/heads", {"members": ["known{n}"], **WHY}, {"members": [], **WHY}
    ),
    "put_direct_manager": Sample(
        "manager", "/api/direct-managers/known{n}", {"manager": "manager1", **WHY}, {"manager": None, **WHY}
    ),
    "resubmit_many": Sample(
        "billing",
        "/api/rejected/resubmit",
        {"ids": ["{n}-1", "{n}-2"], **WHY},
        {"ids": ["{n}-1"], **WHY},
    ),
    "resubmit_event": Sample("billing", "/api/rejected/{n}-1/resubmit", WHY, {"force": True, **WHY}),
    "set_event_aside": Sample("billing", "/api/rejected/{n}-1/set-aside", WHY, {"reason": "another one"}),
    "make_rerating": Sample(
        "billing",
        "/api/reratings",
        {"since": "2020-01-01T00:00:00Z", "until": "2020-02-01T00:00:00Z", **WHY},
        {"since": "2020-01-01T00:00:00Z", "until": "2020-03-01T00:00:00Z", **WHY},
    ),
    "preview_rerating": Sample("billing", "/api/reratings/{rerating_draft}/preview", WHY, {"reason": "another one"}),
    "approve_rerating": Sample("manager", "/api/reratings/{rerating_previewed}/approve", WHY, {"reason": "another"}),
    "post_rerating": Sample("billing", "/api/reratings/{rerating_approved}/post", WHY, {"reason": "another one"}),
    "cancel_rerating": Sample("billing", "/api/reratings/{rerating_draft}/cancel", WHY, {"reason": "another one"}),
    "roll_back_rerating": Sample("manager", "/api/reratings/{rerating_posted}/roll-back", WHY, {"reason": "another"}),
    "set_business_clock": Sample(
        "administrator", "/api/clock", {"at": "2026-11-24T12:00:00Z", **WHY}, {"at": "2026-11-25T12:00:00Z", **WHY}
    ),
}


async def prepare(api: Api, n: int) -> dict[str, str]:
    """What the samples with this number refer to; texts that stand for what is only known now, by their names."""
    known = f"known{n}"
    await api.user(known, "support")
    if await api.database.pool.fetchval("SELECT count(*) FROM office.price_lists") == 0:
        await publish_list(api, "R", "retail")
    await api.ok("PUT", f"/api/providers/{known}", json={"name": "Мегафон"}, role="b2b")
    await api.ok("PUT", f"/api/bands/{known}", json={"weekdays": [1]}, role="marketing")
    for plan in (known, f"unused{n}"):
        await api.ok("PUT", f"/api/tariff-plans/{plan}", json={"lists": [{"price_list_id": "R"}]}, role="marketing")
    await api.ok("PUT", f"/api/clients/{known}", json={"kind": "company", "name": "ООО «Строй Сервис»"}, role="sales")
    for tag in (known, f"hung{n}"):
        await api.ok("PUT", f"/api/tags/{tag}", json={"name": "a tag"}, role="sales")
    await api.ok("PUT", f"/api/clients/{known}/tags/hung{n}", json={}, role="sales")
    account = {"client_id": known, "tariff_plan_id": known, "payment_mode": "prepaid"}
    await api.ok("PUT", f"/api/accounts/{known}", json=account, role="sales")
    await api.ok("PUT", f"/api/accounts/blocked{n}", json=account | {"opening_status": "blocked"}, role="sales")
    await api.ok("POST", f"/api/accounts/{known}/services", json={"service": "connected"}, role="sales")
    await api.user(f"author{n}", "billing")
    lock = {"lock_id": known, "digits": f"7{n}", **WHY}
    await api.ok("POST", "/api/locks", json=lock, role="billing", name=f"author{n}")
    await api.database.pool.execute("UPDATE access.users SET email = 'a@example.org' WHERE name = $1", f"author{n}")
    await stage_lists(api, n)
    await reject_events(api, n)
    numbers = await number_requests(api, n)
    key = await api.key(known, frozenset({"locks.see"}))
    return {"{key}": key.split("_")[1], **numbers, **await prepare_reratings(api)}


async def number_requests(api: Api, n: int) -> dict[str, str]:
    """Numbers to be sold, sold, and asked for: an FMTN number may be sold from its first day on."""
    known = f"known{n}"
    await api.user("manager1", "manager")
    keepers = {"members": ["manager1"], **WHY}
    await api.ok("PUT", "/api/number-groups/keepers", json=keepers)
    client = {"kind": "company", "name": "ООО «Строй Сервис»", "emails": ["client@example.org"]}
    await api.ok("PUT", f"/api/clients/mail{n}", json=client, role="sales")
    for number in (f"7881{n}", f"7882{n}"):
        await api.ok("PUT", f"/api/numbers/{number}", json={"fmtn": True})
    await api.ok("PUT", f"/api/numbers/7883{n}", json={"status": "in_use", "account_id": known})
    asked = {}
    for name, number in (("none", f"7884{n}"), ("asked", f"7885{n}"), ("told", f"7886{n}"), ("waiting", f"7887{n}")):
        await api.ok("PUT", f"/api/numbers/{number}", json={})
        if name in ("asked", "waiting"):
            answer = await api.ok("POST", f"/api/numbers/{number}/requests", json=WHY, role="sales")
            asked[name] = answer["request_id"]
        if name in ("asked", "told"):
            await call_number(api, number, callers=6)
    wanted = {"client_id": f"mail{n}", **WHY}
    asked["told"] = (await api.ok("POST", f"/api/numbers/7886{n}/requests", json=wanted, role="sales"))["request_id"]
    sold = {"number": f"7882{n}", "account_id": known, "product": "ВАТС"}
    subscriber = await api.ok("POST", "/api/subscribers", json=sold, role="sales")
    return {"{subscriber}": subscriber["subscriber_id"]} | {
        f"{{{name}}}": request_id for name, request_id in asked.items()
    }


async def call_number(api: Api, number: str, *, callers: int, day: str | None = None) -> None:
    """Unwanted calls to a number on a day, today if left out, as the projector writes them down."""
    today = (await api.ok("GET", "/api/clock"))["today"]
    async with open_database(api.database.settings, role=None) as owner:
        await owner.pool.execute(
            "INSERT INTO facts.ncv SELECT $1, $2::date, $3::integer, $3::integer, $2::date, $2::date, 0, 0"
            " ON CONFLICT (number, day) DO UPDATE SET unique_callers = excluded.unique_callers, calls = excluded.calls",
            number,
            date.fromisoformat(day or today),
            callers,
        )


async def stage_lists(api: Api, n: int) -> None:
    """A list `draft{n}` that was linted and is not published, and a list `out{n}` with two versions, one in force."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    async with (
        open_database(api.database.settings, role=None) as owner,
        change(owner.pool, actor="test", reason="a test", at=at) as tx,
    ):
        for list_id, versions in ((f"draft{n}", 1), (f"out{n}", 2)):
            listed = PriceList(list_id, list_id, "retail", None, "RUB", "up", 4, None, None)
            for _ in range(versions):
                version = await price_lists.stage(tx.connection, listed, [], at=at, author="test")
                if versions > 1:
                    await price_lists.publish(tx.connection, version.version_id, in_force_from=at, at=at, author="test")
            await tx.audit("price_list", list_id, "created", None, listed)
        await tx.execute(
            "INSERT INTO office.price_checks (version_id, kind, at, asked_at, asked_by, state, ended_at, result)"
            " SELECT version_id, 'lint', $2, $2, 'test', 'done', $2, '{}'"
            " FROM office.price_list_versions WHERE price_list_id = $1",
            f"draft{n}",
            at,
        )


async def reject_events(api: Api, n: int) -> None:
    """Two CDRs that were rejected: `{n}-1` and `{n}-2`. Only the projector's and the owner's rights write them."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    async with open_database(api.database.settings, role=None) as owner:
        for offset in (1, 2):
            cdr = {"type": "cdr", "cdr_id": f"c{n}-{offset}", "switch_id": "s", "service": "outgoing", "called": "7495"}
            cdr |= {"account_id": f"known{n}", "started_at": "2020-01-01T00:00:00Z", "ended_at": "2020-01-01T00:01:00Z"}
            await owner.pool.execute(
                "INSERT INTO facts.rejected VALUES ($1, $2, $3, $3, 'cdrs', 0, $2, 'no_retail_price', 'x', $4, $5, $6)",
                n,
                offset,
                at,
                cdr["cdr_id"],
                cdr["account_id"],
                json.encode(cdr),
            )


async def prepare_reratings(api: Api) -> dict[str, str]:
    """A re-rating of somebody's in each state that something can be done from."""
    total = {f"{age}_{side}_micros": 1_000_000 for age in ("old", "new") for side in ("retail", "wholesale")}
    summary = {
        "tables_version": 1,
        "cdrs": 1,
        "differing": 1,
        "accounts": 1,
        "total": total,
        "lists": [],
        "problems": [],
    }
    found, at = {}, datetime(2020, 1, 3, tzinfo=UTC)
    for rerating in ("draft", "previewed", "approved", "posted"):
        number = await api.database.pool.fetchval(
            "INSERT INTO books.reratings (since, until, plans, reason, created_at, created_by, state, previewed_at,"
            " previewed_by, approved_at, approved_by, fingerprint, summary)"
            " VALUES ('2020-01-01', '2020-01-02', 'then', 'a test', $1, 'test', $2, $1, 'test', $3, $4, sha256(''), $5)"
            " RETURNING rerating_id",
            at,
            rerating,
            at if rerating in ("approved", "posted") else None,
            "another" if rerating in ("approved", "posted") else None,
            summary,
        )
        found[f"{{rerating_{rerating}}}"] = str(number)
    return found


async def publish_list(api: Api, price_list_id: str, kind: str, provider_id: str | None = None) -> None:
    """A price list without prices, in force."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    listed = PriceList(price_list_id, price_list_id, kind, provider_id, "RUB", "up", 4, None, None)  # type: ignore[arg-type]
    # As a folder is loaded: with the owner's rights, without anybody's approval.
    async with (
        open_database(api.database.settings, role=None) as owner,
        change(owner.pool, actor="test", reason="a test", at=at) as tx,
    ):
        version = await price_lists.stage(tx.connection, listed, [], at=at, author="test")
        await price_lists.publish(tx.connection, version.version_id, in_force_from=at, at=at, author="test")
        await tx.audit("price_list", price_list_id, "created", None, listed)
