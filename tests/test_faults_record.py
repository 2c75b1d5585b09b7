"""The whole record with everything in it killed once, and what its checker says when a piece is missing.

`make chaos-record` does the same for as long as one likes.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from tests.faults.fleet import until
from tests.faults.reader import Line
from tests.faults.record.checker import check
from tests.faults.record.crew import ENGINE, PROJECTOR, RELAY
from tests.faults.record.evidence import OFFICE, Evidence, command_id
from tests.faults.record.faults import (
    ORDERS_SENT_UNMARKED,
    freeze_a_projector_in_its_transaction,
    freeze_beyond_the_session,
    kafka_away,
    kill,
    kill_a_projector_in_its_transaction,
    kill_all,
    kill_the_relay,
    kill_the_relay_between_sending_and_marking,
    postgres_away,
)
from tests.faults.record.installation import Installation
from tests.faults.record.sabotage import SABOTAGES

RECORDS_PER_SECOND = 60.0
AWAY_SECONDS = 6.0


def played(
    seed: int,
    folder: Path,
    situation: Callable[[Installation], Awaitable[None]],
    sabotage: dict[str, str] | None = None,
) -> tuple[Installation, list[str]]:
    """A run with all that the situation does to it; and the verdict."""

    async def play() -> tuple[Installation, list[str]]:
        run = Installation(seed, folder, sabotage=sabotage)
        async with run.open():
            run.start_work(RECORDS_PER_SECOND)
            await until(lambda: run.decisions() > 0, "a call is decided")
            await situation(run)
            return run, await run.verdict()

    return asyncio.run(play())


async def everything_is_killed(run: Installation) -> None:
    """Each process and each server, at once where they bear it."""
    await asyncio.gather(kill(run, ENGINE), kill_the_relay(run), kill(run, PROJECTOR))
    await kill_the_relay_between_sending_and_marking(run)
    await kill_a_projector_in_its_transaction(run, "decisions")
    await asyncio.gather(postgres_away(run, AWAY_SECONDS), kill_all(run, PROJECTOR))
    await freeze_a_projector_in_its_transaction(run, "movements")
    await asyncio.gather(kafka_away(run, AWAY_SECONDS), kill_all(run, RELAY))
    await freeze_beyond_the_session(run, ENGINE)


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What is left of a run in which everything was killed."""
    folder = tmp_path_factory.mktemp("record")
    run, found = played(1, folder, everything_is_killed)
    assert found == [], "\n  ".join([f"see {folder}", *found])
    return run


def test_the_record_survives_whatever_is_killed_and_nothing_is_lost_or_doubled(survivor: Installation) -> None:
    assert survivor.happened["kill -9 between sending and marking of the relay"] == 1
    assert survivor.happened["kill -9 before decisions of a projector"] >= 1
    assert survivor.office.acknowledged > 0
    assert survivor.office.happened["lifting"] > 0
    assert len(survivor.office.locks) > 1
    assert survivor.evidence is not None
    assert len(survivor.evidence.asked) > len(survivor.operator.own)


# -- pieces that are missing ------------------------------------------------------------------------------------------


async def a_relay_is_killed_before_it_marks(run: Installation) -> None:
    while run.happened[ORDERS_SENT_UNMARKED] < 2:
        await kill_the_relay_between_sending_and_marking(run)


async def a_projector_is_killed_before_its_rows_are_there(run: Installation) -> None:
    await kill_a_projector_in_its_transaction(run, "decisions")
    assert run.happened["kill -9 before decisions of a projector"]


async def payments_come(run: Installation) -> None:
    await until(lambda: run.office.happened["payment"] >= 30, "thirty payments are taken")


async def locks_are_lifted(run: Installation) -> None:
    await until(lambda: run.office.happened["lifting"] >= 3, "three locks are lifted")


MISSING = {
    "no look": (RELAY, a_relay_is_killed_before_it_marks, r"order office-\d+ .*: sent [2-9] times"),
    "offsets apart": (
        PROJECTOR,
        a_projector_is_killed_before_its_rows_are_there,
        r"facts.decisions: .* is on its topic 1 times more than in the table",
    ),
    "posted twice": (PROJECTOR, payments_come, r"books: .* is posted 1 times more than is due"),
    "locks forgotten": (RELAY, locks_are_lifted, r"lock lock-\d+: the record has None, the engine's topic \("),
}


@pytest.mark.parametrize("missing", MISSING)
def test_a_piece_that_is_missing_is_noticed(tmp_path: Path, missing: str) -> None:
    role, situation, notice = MISSING[missing]

    _, found = played(2, tmp_path, situation, {role: missing})

    assert any(re.search(notice, finding) for finding in found), found


def test_each_sabotage_is_put_to_the_test() -> None:
    assert MISSING.keys() == SABOTAGES.keys()


# -- the checker ------------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence(survivor: Installation) -> Evidence:
    """Good evidence, to be made bad: lists are copies."""
    good = survivor.evidence
    assert good is not None
    return good._replace(
        base=good.base._replace(
            final={place: list(lines) for place, lines in good.base.final.items()},
            acknowledged=good.base.acknowledged.copy(),
        ),
        reference=good.reference._replace(latest=dict(good.reference.latest)),
        tables={name: list(rows) for name, rows in good.tables.items()},
        locks=dict(good.locks),
    )


def test_good_evidence_is_good(evidence: Evidence) -> None:
    assert check(evidence) == []


def rows(evidence: Evidence, table: str) -> list[Any]:
    found = evidence.tables[table]
    assert isinstance(found, list)
    return found


TABLES = ("attempts", "decisions", "rated_cdrs", "movements", "rejected", "notices")


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_missing_is_noticed(evidence: Evidence, table: str) -> None:
    rows(evidence, table).pop()

    assert any(f"facts.{table}" in finding and "than in the table" in finding for finding in check(evidence))


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_there_twice_is_noticed(evidence: Evidence, table: str) -> None:
    rows(evidence, table).append(rows(evidence, table)[0])

    assert any(f"facts.{table}" in finding and "than on its topic" in finding for finding in check(evidence))


@pytest.mark.parametrize("table", ["decisions", "rated_cdrs", "movements"])
def test_a_row_with_other_bytes_is_noticed(evidence: Evidence, table: str) -> None:
    partition, offset, record = rows(evidence, table).pop()
    rows(evidence, table).append((partition, offset, record[:-1] + b" }"))

    assert len([finding for finding in check(evidence) if f"facts.{table}" in finding]) == 2


def test_a_posting_that_is_missing_or_doubled_or_wrong_by_a_micro_is_noticed(evidence: Evidence) -> None:
    postings = rows(evidence, "transfers")
    place = next(i for i, row in enumerate(postings) if row[2] == "payment")
    posting = postings[place]

    for spoilt, notice in (
        ([], "is due 1 times more than it is posted"),
        ([posting, posting], "is posted 1 times more than is due"),
        ([(*posting[:5], posting[5] + 1, *posting[6:])], "is due 1 times more than it is posted"),
        ([(*posting[:7], *posting[9:11], *posting[7:9])], "is posted 1 times more than is due"),
    ):
        worse = evidence._replace(
            tables={**evidence.tables, "transfers": [*postings[:place], *spoilt, *postings[place + 1 :]]}
        )
        found = check(worse)
        assert any(notice in finding for finding in found), (spoilt, found)
        assert any(f"the postings of account {posting[4]} come to" in finding for finding in found), found


@pytest.mark.parametrize("table", ["balances", "ncv"])
def test_a_sum_that_is_not_the_last_is_noticed(evidence: Evidence, table: str) -> None:
    row = rows(evidence, table).pop()
    rows(evidence, table).append((*row[:2], row[2] + 1, *row[3:]))

    assert any(finding.startswith(f"facts.{table}: ") for finding in check(evidence))


def commands(evidence: Evidence) -> tuple[list[Line], int]:
    """A partition of the commands, and where the first of the office's stands in it."""
    for place, lines in evidence.base.final.items():
        if place.topic == topics.ACCOUNT_COMMANDS.name:
            for i, line in enumerate(lines):
                if command_id(line.value).startswith(OFFICE):
                    return lines, i
    raise AssertionError("the office has ordered nothing")


def test_an_order_that_was_lost_on_its_way_is_noticed(evidence: Evidence) -> None:
    lines, i = commands(evidence)
    name = command_id(lines.pop(i).value)

    assert any(re.search(rf"order {name} .*: sent 0 times", finding) for finding in check(evidence))


def test_an_order_that_came_twice_or_with_another_amount_is_noticed(evidence: Evidence) -> None:
    lines, i = commands(evidence)
    name = command_id(lines[i].value)
    value = json.loads(lines[i].value or b"")
    lines[i] = lines[i]._replace(value=json.dumps(value | {"amount_micros": value["amount_micros"] + 1}).encode())

    found = check(with_homes(evidence))
    assert any(re.search(rf"order {name}: .* was ordered, .* sent", finding) for finding in found), found

    lines.append(lines[i]._replace(offset=lines[-1].offset + 1))
    assert any(re.search(rf"order {name} .*: sent 2 times", finding) for finding in check(with_homes(evidence)))


def with_homes(evidence: Evidence) -> Evidence:
    """The engine's checker asks of each content where it belongs."""
    homes = {
        line.value: evidence.base.homes.get(line.value, place.partition)
        for place, lines in evidence.base.final.items()
        for line in lines
        if place.topic in {topic.name for topic in topics.INPUTS}
    }
    return evidence._replace(base=evidence.base._replace(homes=homes))


def test_an_order_that_nobody_gave_is_noticed(evidence: Evidence) -> None:
    name = next(name for name, order in evidence.orders.items() if order.sure)
    others = {other: order for other, order in evidence.orders.items() if other != name}

    assert f"order {name}: nobody has given it" in check(evidence._replace(orders=others))


def test_an_order_of_which_the_record_knows_nothing_is_noticed(evidence: Evidence) -> None:
    name = next(name for name, order in evidence.orders.items() if order.sure)
    evidence.tables["commands"][:] = [row for row in evidence.tables["commands"] if row[0] != name]  # type: ignore[index]

    assert any(re.search(rf"order {name} .*in the record 0 times", finding) for finding in check(evidence))


def test_rows_of_the_outbox_out_of_order_or_never_published_are_noticed(evidence: Evidence) -> None:
    outbox = rows(evidence, "outbox")
    outbox[-1] = (*outbox[-1][:6], False)
    placed = [i for i, row in enumerate(outbox) if row[2] == "command"]
    one = next(i for i, j in pairwise(placed) if outbox[i][3] == outbox[j][3])
    other = next(j for j in placed if j > one and outbox[j][3] == outbox[one][3])
    outbox[one], outbox[other] = (
        (*outbox[one][:4], outbox[other][4], *outbox[one][5:]),
        (*outbox[other][:4], outbox[one][4], *outbox[other][5:]),
    )

    found = check(evidence)

    assert any("was never published" in finding for finding in found), found
    assert any(finding.startswith(f"commands of account {outbox[one][3]}: saved were") for finding in found), found


def test_versions_of_the_reference_data_with_a_gap_or_in_pieces_are_noticed(evidence: Evidence) -> None:
    outbox = rows(evidence, "outbox")
    row = next(row for row in reversed(outbox) if row[5] is not None and row[2] == "lock")
    outbox.append((row[0] + 10_000, row[1], "lock", "L", None, 1, True))
    versions = [version for version in evidence.reference.versions if version != 3]

    found = check(evidence._replace(reference=evidence.reference._replace(versions=versions)))

    assert any(f"change {row[1]} came into force in pieces" in finding for finding in found), found
    assert "outbox: rows were published in another order than they were saved in" in found
    assert "reference: its versions are not 1, 2, 3, …: 4 follows 2" in found


def test_a_lock_that_is_not_what_the_office_was_told_is_noticed(evidence: Evidence) -> None:
    # A call was asked about it: not about every lock one is.
    denied = {one.about for one in evidence.asked}
    name = next(lock.lock_id for lock in evidence.locks.values() if lock.state == "set" and lock.lock_id in denied)
    gone = next(lock.lock_id for lock in evidence.locks.values() if lock.state == "lifted")
    rows(evidence, "locks")[:] = [row for row in rows(evidence, "locks") if row[0] != name]
    evidence.reference.latest[f"lock/{gone}"] = evidence.reference.latest[f"lock/{name}"]

    found = check(evidence)

    assert any(finding.startswith(f"lock {name}: the record has None") for finding in found), found
    assert any(finding.startswith(f"lock {name}: the office was told that it is set") for finding in found), found
    assert any(finding.startswith(f"lock {gone}: the record has None") for finding in found), found
    assert any(finding.startswith(f"lock {name} is not in force by the record") for finding in found), found


def test_a_price_that_was_overtaken_is_noticed(evidence: Evidence) -> None:
    later = evidence.prices[-1].price_micros + 1
    prices = [*evidence.prices, type(evidence.prices[-1])(later, sure=True)]

    found = check(evidence._replace(prices=prices))

    assert any(f"the last price is one of [{later}]" in finding for finding in found), found


def test_an_audit_that_was_touched_is_noticed(evidence: Evidence) -> None:
    audit = rows(evidence, "audit")
    seq = len(audit) // 2
    kept = audit[seq - 1]
    audit[seq - 1] = (*kept[:3], kept[3].replace("2026", "2025"), *kept[4:])
    assert f"audit: row {seq} does not vouch for what it says, or for the row before it" in check(evidence)

    audit[seq - 1] = kept
    del audit[seq - 1]
    assert f"audit: row {seq + 1} stands where {seq} is due" in check(evidence)


def test_an_order_of_which_the_audit_says_nothing_is_noticed(evidence: Evidence) -> None:
    name = next(name for name, order in evidence.orders.items() if order.sure)
    audit = rows(evidence, "audit")
    place = next(i for i, row in enumerate(audit) if row[5] == name)
    audit[place] = (*audit[place][:5], "somebody else", audit[place][6])

    assert f"audit: nothing is said of order {name}" in check(evidence)


def test_a_projector_that_is_behind_or_has_passed_something_by_is_noticed(evidence: Evidence) -> None:
    offsets = rows(evidence, "offsets")
    topic, partition = next(
        place for place, lines in evidence.base.final.items() if place.topic == topics.CALL_DECISIONS.name and lines
    )
    offsets[:] = [(*row[:2], 0) if row[:2] == (topic, partition) else row for row in offsets]
    rows(evidence, "gaps").append((topic, partition, 7))

    found = check(evidence)

    assert any(finding.startswith(f"facts.offsets: {topic}-{partition} stands at 0") for finding in found), found
    assert f"facts.gaps has {(topic, partition, 7)}" in found


def test_what_the_engines_own_checker_finds_is_told_too(evidence: Evidence) -> None:
    lines = max(
        (lines for place, lines in evidence.base.final.items() if place.topic == topics.RATED_CDRS.name), key=len
    )
    lines.append(lines[1]._replace(offset=lines[-1].offset + 1))

    assert any(re.search(r"cdr .*: rated 2 times", finding) for finding in check(evidence))
