"""Re-rating of a period: calls of the past by other prices, looked at, approved, posted as corrections, taken back;
never double, whoever dies on the way, and the books agree with the engine at every stage."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from postgres import TestedDatabase
from rerated import APPROVER, MAKER, SINCE, UNTIL, Past, by_hand, charged, expected, past

from backoffice import rerating as rules
from backoffice.access import asker
from backoffice.refusals import InTheWay, NotAllowed, Unfit
from connectors import rerating as work
from connectors.audit import audit
from connectors.postgres import rerating as record
from connectors.postgres.change import change
from connectors.postgres.database import Database
from connectors.postgres.rerating import ReratingRecord

__all__ = ["by_hand"]

FACTORS = {"R-LARGE": 2, "R-SMALL": 3, "W-SEV": 3}

pytestmark = pytest.mark.usefixtures("by_hand")


def told(database: TestedDatabase, story: Any) -> None:
    async def all_of_it() -> None:
        async with past(database) as there:
            await story(there)

    asyncio.run(all_of_it())


def test_a_preview_is_what_an_arithmetic_of_its_own_says(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        run = await there.previewed()

        rated = there.rated()
        differing = expected(rated, FACTORS)
        assert {row["cdr_id"]: row for row in rated}.keys() > differing.keys()
        items = await there.items(run)
        assert {
            row["cdr_id"]: (
                row["old_retail_micros"] or 0,
                row["new_retail_micros"] or 0,
                row["old_wholesale_micros"] or 0,
                row["new_wholesale_micros"] or 0,
            )
            for row in items
        } == differing
        assert [row["place"] for row in items] == list(range(1, len(items) + 1))

        summary = run.summary
        assert summary is not None
        assert (summary.cdrs, summary.differing, summary.problems) == (len(rated), len(differing), ())
        sums = [sum(one[column] for one in differing.values()) for column in range(4)]
        total = summary.total
        assert [
            total.old_retail_micros,
            total.new_retail_micros,
            total.old_wholesale_micros,
            total.new_wholesale_micros,
        ] == sums
        assert total.new_margin_micros == sums[1] - sums[3]
        by_list = {(one.side, one.price_list_id): (one.old_micros, one.new_micros) for one in summary.lists}
        for side, name in (("retail", "R-LARGE"), ("retail", "R-SMALL"), ("wholesale", "W-SEV")):
            charges = [
                one[side]
                for one in rated
                if one["cdr_id"] in differing and one[side] and one[side]["price_list_id"] == name
            ]
            assert by_list[side, name] == (
                sum(charged(charge) for charge in charges),
                sum(charged(charge, FACTORS[name]) for charge in charges),
            )
        # Nothing has moved by looking.
        await there.green()
        assert await there.db.pool.fetchval("SELECT count(*) FROM office.commands") == 0

    told(database, story)


CONDITIONS: list[dict[str, str]] = [
    {"account_id": "100201"},
    {"prefix": "7"},
    {"price_list_id": "W-SEV"},
    {"price_list_id": "R-SMALL"},
    {"since": "2026-11-24T09:05:00.000Z", "until": "2026-11-24T09:15:00.000Z"},
    {"account_id": "100201", "prefix": "7", "price_list_id": "R-LARGE"},
]


def test_conditions_choose_the_calls(database: TestedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    # More slices than one.
    monkeypatch.setattr(work, "CDRS_AT_ONCE", 30)

    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        for terms in CONDITIONS:
            run = await there.previewed(**terms)
            chosen = expected([one for one in there.rated() if _meant(one, terms)], FACTORS)
            assert {row["cdr_id"] for row in await there.items(run)} == chosen.keys(), terms
            assert 0 < len(chosen) < len(expected(there.rated(), FACTORS)), terms

    told(database, story)


def _meant(one: Any, terms: dict[str, str]) -> bool:
    lists = {one[side]["price_list_id"] for side in ("retail", "wholesale") if one[side] is not None}
    return (
        terms.get("account_id") in (None, one["account_id"])
        and one["called"].startswith(terms.get("prefix", ""))
        and terms.get("price_list_id") in {None, *lists}
        and terms.get("since", SINCE) <= one["ended_at"] < terms.get("until", UNTIL)
    )


def test_what_is_posted_moves_the_balances_and_the_books_by_the_difference(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        before, ledger = there.balances(), await there.ledger()
        await there.change_prices(FACTORS)
        run = await there.previewed()
        await there.green()
        await there.approved(run)
        await there.green()
        await there.ordered(rules.ask_post, run, MAKER)
        posted = await there.worked(run)
        assert (posted.state, posted.wanted, posted.failure) == ("posted", None, None)
        await there.green()

        rated = {one["cdr_id"]: one for one in there.rated()}
        differing = expected(list(rated.values()), FACTORS)
        more: dict[tuple[str, str], int] = {}
        effect: dict[str, int] = {}
        for cdr_id, (old_retail, new_retail, old_wholesale, new_wholesale) in differing.items():
            one = rated[cdr_id]
            effect[one["account_id"]] = effect.get(one["account_id"], 0) + old_retail - new_retail
            for key, micros in (
                (("revenue", one["service"]), new_retail - old_retail),
                (("client", one["account_id"]), old_retail - new_retail),
                (("cost", one["service"]), old_wholesale - new_wholesale),
                (("payable", one["provider_id"]), new_wholesale - old_wholesale),
            ):
                more[key] = more.get(key, 0) + micros
        after = there.balances()
        assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
            name: micros for name, micros in effect.items() if micros
        }
        now = await there.ledger()
        assert {key: now.get(key, 0) - ledger.get(key, 0) for key in now.keys() | ledger.keys()} == {
            key: more.get(key, 0) for key in now.keys() | ledger.keys()
        }
        assert ("correction", "") not in now  # it comes to nothing

        # One correction for each account that it moves, which names its run.
        rows = await there.db.pool.fetch("SELECT * FROM office.commands ORDER BY account_id")
        assert {row["account_id"]: row["amount_micros"] for row in rows} == {
            name: micros for name, micros in effect.items() if micros
        }
        assert {row["reference"] for row in rows} == {f"re-rating {run.rerating_id}"}
        moved = await there.db.pool.fetch(
            "SELECT DISTINCT cause, account_id IS NULL FROM books.transfers WHERE cause_id LIKE 'rerating-%'"
        )
        assert {row[0] for row in moved} == {"correction"}
        assert len(moved) == 2
        # The rated CDRs stay what they were published as.
        assert expected(there.rated(), {}) == {}

    told(database, story)


def test_the_same_run_again_finds_no_difference_and_rolled_back_it_finds_all_of_it(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        before, ledger = there.balances(), await there.ledger()
        await there.change_prices(FACTORS)
        first = await there.posted(await there.previewed())
        again = await there.previewed()
        assert again.summary is not None
        assert (again.summary.differing, again.summary.accounts) == (0, 0)
        with pytest.raises(InTheWay, match="no call differs"):
            await there.approved(again)

        await there.rolled_back(first)
        await there.green()
        assert there.balances() == before
        assert await there.ledger() == ledger

        anew = await there.previewed()
        assert anew.summary == first.summary
        assert [tuple(row)[1:] for row in await there.items(anew)] == [
            tuple(row)[1:] for row in await there.items(first)
        ]
        await there.posted(anew)
        await there.green()
        with pytest.raises(InTheWay, match="taken back"):
            await there.ordered(rules.ask_post, first, MAKER)
        with pytest.raises(InTheWay, match="only what is posted"):
            await there.ordered(rules.ask_roll_back, first, APPROVER)

    told(database, story)


def test_a_later_run_goes_on_from_what_an_earlier_one_has_corrected(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        before = there.balances()
        await there.change_prices({"R-LARGE": 2})
        first = await there.posted(await there.previewed())
        between = there.balances()
        await there.change_prices({"R-LARGE": 5})
        second = await there.previewed()
        rows = {row["cdr_id"]: row for row in await there.items(second)}
        for one in there.rated():
            if one["cdr_id"] in rows:
                row = rows[one["cdr_id"]]
                assert row["corrects"] == first.rerating_id
                assert row["old_retail_micros"] == charged(one["retail"], 2)
                assert row["new_retail_micros"] == charged(one["retail"], 10)
        assert rows
        await there.posted(second)
        await there.green()
        expected_now = expected(there.rated(), {"R-LARGE": 10})
        taken = sum(new - old for old, new, _, _ in expected_now.values())
        assert sum(before.values()) - sum(there.balances().values()) == taken

        with pytest.raises(InTheWay, match=f"re-rating {second.rerating_id} has corrected the same calls since"):
            await there.ordered(rules.ask_roll_back, first, APPROVER)
        await there.rolled_back(second)
        assert there.balances() == between
        await there.rolled_back(first)
        assert there.balances() == before
        await there.green()

    told(database, story)


def test_what_was_corrected_since_the_preview_is_not_posted(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        one, other = await there.previewed(), await there.previewed(account_id="100201")
        await there.approved(one)
        await there.posted(other)
        balances = there.balances()

        await there.ordered(rules.ask_post, one, MAKER)
        refused = await there.worked(one)
        assert (refused.state, refused.wanted) == ("approved", None)
        assert refused.failure is not None
        assert "are not charged any more what they were when it was previewed" in refused.failure
        await there.green()
        assert there.balances() == balances

        # Previewed anew it is what is left, and has to be approved anew.
        await there.ordered(rules.ask_preview, one, MAKER)
        anew = await there.worked(one)
        assert (anew.state, anew.approved_by) == ("previewed", None)
        assert anew.fingerprint != one.fingerprint
        with pytest.raises(InTheWay, match="only what is approved"):
            await there.ordered(rules.ask_post, one, MAKER)
        with pytest.raises(InTheWay, match="previewed anew meanwhile"):
            await there.ordered(rules.approve, one, APPROVER, one.fingerprint)
        await there.posted(anew)
        await there.green()
        both = [*await there.items(anew), *await there.items(other)]
        assert len(both) == len(expected(there.rated(), FACTORS))

    told(database, story)


def test_nobody_approves_his_own(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        run = await there.previewed(APPROVER)
        with pytest.raises(NotAllowed, match="your own"):
            await there.approved(run, APPROVER)
        with pytest.raises(NotAllowed, match="may not"):
            await there.approved(run, MAKER)
        with pytest.raises(InTheWay, match="only what is approved"):
            await there.ordered(rules.ask_post, run, MAKER)
        # Nor does whoever had it previewed, and nobody past the program either.
        other = asker("olga", "manager")
        await there.ordered(rules.ask_preview, run, other)
        await there.worked(run)
        with pytest.raises(NotAllowed, match="your own"):
            await there.approved(run, other)
        for name in ("anna", "olga"):
            with pytest.raises(asyncpg.CheckViolationError, match="approved_by_another"):
                await there.db.pool.execute(
                    "UPDATE books.reratings SET state = 'approved', approved_at = now(), approved_by = $1", name
                )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="previewed: it can't become posting"):
            await there.db.pool.execute(
                "UPDATE books.reratings SET state = 'posting', approved_at = now(), approved_by = 'x'"
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="its items stay as they are"):
            await there.db.pool.execute("DELETE FROM books.rerating_items WHERE place = 1")
        approved = await there.approved(await there.run(run.rerating_id), asker("igor", "manager"))
        assert (approved.state, approved.approved_by) == ("approved", "igor")

    told(database, story)


class Died(Exception):
    """The process that works is killed."""


class Killer:
    """Kills whoever works at each change: one worker before it is committed, the next one just after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._before = True
        monkeypatch.setattr(record, "GONE_SECONDS", 0)
        monkeypatch.setattr(work, "change", self._mortal(work.change))

    def _mortal(self, original: Any) -> Any:
        @asynccontextmanager
        async def mortal(*words: Any, **more: Any) -> AsyncIterator[Any]:
            async with original(*words, **more) as tx:
                yield tx
                await tx.write()
                if self._before:
                    self._before = False
                    raise Died
            self._before = True
            raise Died

        return mortal

    async def until_done(self, there: Past, rerating_id: int) -> int:
        """Lets workers work and die until nothing is wanted; how many died."""
        for deaths in range(200):
            try:
                assert await there.work.run_one(rerating_id) == rerating_id
            except Died:
                continue
            return deaths
        raise AssertionError("it does not get there")


def test_killed_at_each_step_a_posting_and_a_roll_back_are_done_once(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(there: Past) -> None:
        before, ledger = there.balances(), await there.ledger()
        await there.change_prices(FACTORS)
        run = await there.previewed()
        assert run.summary is not None
        await there.approved(run)
        await there.ordered(rules.ask_post, run, MAKER)
        killer = Killer(monkeypatch)

        deaths = await killer.until_done(there, run.rerating_id)
        # The beginning, each account, the end.
        assert deaths == 2 * (run.summary.accounts + 2)
        assert (await there.run(run.rerating_id)).state == "posted"
        await there.green()
        effect = sum(old - new for old, new, _, _ in expected(there.rated(), FACTORS).values())
        assert sum(there.balances().values()) - sum(before.values()) == effect
        orders = await there.db.pool.fetch("SELECT account_id, count(*) FROM office.commands GROUP BY 1")
        assert {row[1] for row in orders} == {1}

        await there.ordered(rules.ask_roll_back, run, APPROVER)
        assert await killer.until_done(there, run.rerating_id) == 2 * (run.summary.accounts + 2)
        assert (await there.run(run.rerating_id)).state == "rolled_back"
        await there.green()
        assert there.balances() == before
        assert await there.ledger() == ledger

    told(database, story)


def test_in_the_middle_of_a_posting_the_books_agree_and_no_other_run_is_posted(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        run, other = await there.previewed(), await there.previewed(account_id="100201")
        await there.approved(run)
        await there.approved(other)
        await there.ordered(rules.ask_post, run, MAKER)
        monkeypatch.setattr(record, "GONE_SECONDS", 0)
        done = 0
        original = there.work.change

        def limited(*words: Any) -> Any:
            nonlocal done
            done += 1
            if done > 3:
                raise Died
            return original(*words)

        monkeypatch.setattr(there.work, "change", limited)
        with pytest.raises(Died):
            await there.work.run_one(run.rerating_id)
        monkeypatch.setattr(there.work, "change", original)
        states = await there.db.pool.fetch(
            "SELECT state, count(*) FROM books.rerating_accounts WHERE rerating_id = $1 GROUP BY 1", run.rerating_id
        )
        assert dict(map(tuple, states))["posted"] == 2
        await there.green()
        assert (await there.run(run.rerating_id)).state == "posting"
        with pytest.raises(InTheWay, match=f"re-rating {run.rerating_id} is being posted"):
            await there.ordered(rules.ask_post, other, MAKER)
        with pytest.raises(InTheWay, match="can't be cancelled"):
            await there.ordered(rules.cancel, run, MAKER)
        assert (await there.worked(run)).state == "posted"
        await there.green()

    told(database, story)


def test_a_preview_that_was_killed_is_made_again_from_its_beginning(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        whole = await there.previewed()
        monkeypatch.setattr(record, "GONE_SECONDS", 0)
        monkeypatch.setattr(work, "CDRS_AT_ONCE", 40)
        run = await there.make()
        await there.ordered(rules.ask_preview, run, MAKER)
        kept, original = 0, work._Preview._keep

        async def keep(self: Any, items: Any) -> None:
            nonlocal kept
            await original(self, items)
            kept += 1
            if kept == 4:
                raise Died

        monkeypatch.setattr(work._Preview, "_keep", keep)
        with pytest.raises(Died):
            await there.work.run_one(run.rerating_id)
        assert await there.items(run) != []
        found = await there.worked(run)
        assert kept > 5
        assert (found.summary, found.fingerprint) == (whole.summary, whole.fingerprint)

    told(database, story)


def test_prices_of_a_published_version_and_plans_of_then(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        versions = sorted({one["reference_version"] for one in there.rated()})
        run = await there.previewed(reference_version=versions[0])
        assert run.summary is not None
        # The prices of their own time: nothing differs.
        assert (run.summary.differing, run.summary.problems) == (0, ())
        assert run.summary.tables_version == versions[0]

        # An account that has another plan since is rated by the one that it had, unless the tables' is asked for.
        accounts = dict(there.folder.accounts)
        moved = next(
            one["account_id"]
            for one in there.rated()
            if one["retail"] and one["retail"]["price_list_id"] == "R-LARGE" and one["retail"]["amount_micros"]
        )
        accounts[moved] = replace(accounts[moved], tariff_plan_id="T-SMALL")
        await there.load(dataclasses.replace(there.folder, accounts=accounts))
        then = await there.previewed(account_id=moved)
        lists = {one.price_list_id for one in then.summary.lists} if then.summary else set()
        assert "R-LARGE" in lists
        assert "R-SMALL" not in lists
        now = await there.previewed(account_id=moved, plans="by_tables")
        assert now.summary is not None
        assert "R-SMALL" in {one.price_list_id for one in now.summary.lists}

    told(database, story)


def test_calls_without_a_price_are_told_and_stay_as_they_are(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        rated = there.rated()
        gone = [row for row in there.folder.prices if row.price_list_id != "W-SEV"]
        await there.load(dataclasses.replace(there.folder, prices=gone))
        run = await there.previewed()
        assert run.summary is not None
        assert run.summary.problems
        assert run.summary.problems[0].reason == "no_wholesale_price"
        answered = [
            one
            for one in rated
            if one["wholesale"] and one["wholesale"]["price_list_id"] == "W-SEV" and one["answered_at"]
        ]
        assert run.summary.problems[0].calls == len(answered)
        items = await there.items(run)
        assert {row["cdr_id"] for row in items if row["problem"]} == {one["cdr_id"] for one in answered}
        assert all("ask b2b" in row["detail"] for row in items if row["problem"])

    told(database, story)


def test_a_correction_that_the_engine_rejected_is_ordered_again(
    database: TestedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        run = await there.previewed()
        await there.approved(run)
        await there.ordered(rules.ask_post, run, MAKER)
        # On its way each of them becomes what the engine does not take.
        monkeypatch.setattr(work, "record_of", lambda order: replace(rules.record_of(order), amount_micros=0))
        await there.worked(run)
        monkeypatch.setattr(work, "record_of", rules.record_of)
        await there.settled()
        states = await there.db.pool.fetch("SELECT DISTINCT state, rejected_why FROM office.commands")
        assert [row["state"] for row in states] == ["rejected"]
        report = await audit(there.db.pool, there.system.broker, business_time_zone="Europe/Moscow")
        assert {finding.text for finding in report.findings} == {
            "the engine has rejected its correction: post the run again"
        }
        await there.ordered(rules.ask_post, run, MAKER)
        assert (await there.worked(run)).state == "posted"
        await there.green()
        with pytest.raises(InTheWay, match="posted already"):
            await there.ordered(rules.ask_post, run, MAKER)
        await there.rolled_back(run)
        await there.green()

    told(database, story)


def test_the_audit_finds_a_micro_in_a_correction(database: TestedDatabase) -> None:
    async def story(there: Past) -> None:
        await there.change_prices(FACTORS)
        run = await there.posted(await there.previewed())

        async def meddled(statement: str) -> set[str]:
            owner = await asyncpg.connect(there.settings.dsn)
            try:
                await owner.execute("SET session_replication_role = replica")
                assert int((await owner.execute(statement)).split()[-1]) == 1
                report = await audit(there.db.pool, there.system.broker, business_time_zone="Europe/Moscow")
                back = statement.replace("+ 1", "- 1")
                await owner.execute(back)
            finally:
                await owner.close()
            return {f"{finding.what}: {finding.cause}" for finding in report.findings if finding.severity == "error"}

        item = "(SELECT min(place) FROM books.rerating_items)"
        named = f"re-rating: re-rating {run.rerating_id}"
        dearer = "UPDATE books.rerating_items SET new_retail_micros = coalesce(new_retail_micros, 0) + 1"
        assert await meddled(f"{dearer} WHERE place = {item}") == {named}
        posting = "(SELECT min(posting_id) FROM books.rerating_postings)"
        found = await meddled(
            f"UPDATE books.rerating_postings SET amount_micros = amount_micros + 1 WHERE posting_id = {posting}"
        )
        assert named in found
        assert any(one.startswith("posting: correction rerating-") for one in found)
        found = await meddled(
            "UPDATE books.transfers SET amount_micros = amount_micros + 1 WHERE source_partition = -1"
            f" AND source_offset = {posting}"
        )
        assert all(one.startswith("posting: correction rerating-") for one in found)
        assert found
        await there.green()

    told(database, story)


@pytest.mark.parametrize(
    ("terms", "pointer", "text"),
    [
        ({"until": "2026-11-24T00:00:00Z", "since": "2026-11-24T00:00:00Z"}, "/until", "not after since"),
        ({"since": "2020-01-01T00:00:00Z"}, "/until", "more than 400 days"),
        ({"until": "2027-01-01T00:00:00Z"}, "/until", "lies in the future"),
        ({"account_id": "nobody"}, "/account_id", "no account 'nobody'"),
        ({"price_list_id": "X"}, "/price_list_id", "no price list 'X'"),
        ({"since": "2026-13-01T00:00:00Z"}, "/since", "not a moment"),
    ],
)
def test_terms_that_do_not_fit_are_told(
    database: TestedDatabase, terms: dict[str, Any], pointer: str, text: str
) -> None:
    at = datetime(2026, 11, 30, tzinfo=UTC)

    async def story(db: Database) -> None:
        async with change(db.pool, actor="boris", reason="a test", at=at) as tx:
            sent = rules.ReratingSent(**{"since": SINCE, "until": UNTIL, "reason": "why", **terms})
            with pytest.raises(Unfit) as refused:
                await rules.make(ReratingRecord(tx), tx, MAKER, sent, at)
        assert any(one.pointer == pointer and text in one.text for one in refused.value.problems), refused.value

    database.run(story, role="tollgate_app")
