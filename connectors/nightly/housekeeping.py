"""The jobs that look after the record itself: the proof of the books, months, what has expired."""

from datetime import date, timedelta
from typing import Any

from backoffice import locks
from backoffice.access import FORGET_FAILURES_SECONDS
from backoffice.audit import Finding
from backoffice.nightly import MOST_NOTES, Job, Night, Step
from connectors import audit as books
from connectors.nightly.work import Work
from connectors.postgres.access import ANSWERS_KEPT, SESSIONS_KEPT
from connectors.postgres.locks import LocksRecord
from connectors.postgres.nightly import machine_now
from connectors.postgres.queries import sql

ROWS = 5_000
"""That a step deletes at most: some tens of milliseconds."""

MONTHS_AHEAD = 2
"""Partitions of the coming months are there before their first row is."""


async def _audit(work: Work, night: Night, place: Any) -> Step:
    # What only the engine and the topics can say is left to `tollgate audit`: at night there may be no broker.
    found = await books.audit(
        work.pool,
        None,
        business_time_zone=work.engine.business_time_zone,
        since=night.ended if night.last_done is None else night.last_done - timedelta(days=1),
        at_most=MOST_NOTES,
    )
    errors = sum(finding.severity == "error" for finding in found.findings)
    counts = {
        "accounts": found.accounts,
        **{f"{table}_compared": count for table, count in found.rows.items()},
        "errors": errors,
        "warnings": len(found.findings) - errors,
        "findings_left_out": found.left_out,
    }
    failed = f"the books are not as they should be: {errors} errors; tollgate audit tells more" if errors else None
    return Step(counts, notes=[_line(finding) for finding in found.findings], failed=failed)


def _line(finding: Finding) -> str:
    about = " ".join(part for part in (finding.severity, finding.what, finding.where, finding.cause) if part)
    return f"{about}: {finding.text}"


async def _partitions(work: Work, night: Night, place: Any) -> Step:
    if place is None:
        before = await work.tx.fetchval(sql("nightly/count_months"))
        await work.tx.execute(sql("facts/months"), [_months_on(night.day, ahead) for ahead in range(MONTHS_AHEAD + 1)])
        made = await work.tx.fetchval(sql("nightly/count_months")) - before
        keep = work.nightly.keep_decisions_months
        return Step({"partitions_made": made}, place="forget" if keep is not None else None)
    keep = work.nightly.keep_decisions_months
    old = [] if keep is None else await work.tx.fetch(sql("nightly/old_months"), _months_on(night.day, -keep))
    if not old:
        return Step()
    # One a step: each waits for whoever reads the table.
    name, first_day, rows = old[0]
    await work.tx.execute(sql("nightly/forget_month"), name)
    await work.tx.audit(
        "partition", f"facts.{name}", "forgotten", {"month": first_day.isoformat()[:7], "estimated_rows": rows}, None
    )
    place = "forget" if len(old) > 1 else None
    return Step({"partitions_forgotten": 1, "rows_forgotten": rows}, place, [f"facts.{name}: some {rows} rows"])


def _months_on(day: date, months: int) -> date:
    """The first day of the month so many months on."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


async def _sessions(work: Work, night: Night, place: Any) -> Step:
    # By the machine's clock, as they are made: a business clock that is set must not end anyone's session.
    now = machine_now()
    whats = ("sessions", "answers", "failed_logins", "tokens")
    what = place or whats[0]
    match what:
        case "sessions":
            status = await work.tx.execute(sql("nightly/forget_sessions"), now - SESSIONS_KEPT, ROWS)
        case "answers":
            status = await work.tx.execute(sql("nightly/forget_answers"), now - ANSWERS_KEPT, ROWS)
        case "failed_logins":
            before = now - timedelta(seconds=FORGET_FAILURES_SECONDS)
            status = await work.tx.execute(sql("nightly/forget_failures"), before, now, ROWS)
        case _:
            return await _tokens(work, ROWS)
    count = int(status.rpartition(" ")[2])
    # The next step looks for more of the same, or for the next thing.
    return Step({what: count}, place=what if count == ROWS else whats[whats.index(what) + 1])


async def _tokens(work: Work, rows: int) -> Step:
    expired = await work.tx.fetch(sql("nightly/forget_tokens"), machine_now(), rows)
    for row in expired:
        before = {"token_expires_at": row["token_expires_at"].isoformat()}
        await work.tx.audit("user", row["name"], "token expired", before, {"token_expires_at": None})
    return Step({"tokens": len(expired)}, place="tokens" if len(expired) == rows else None)


async def _locks(work: Work, night: Night, place: Any) -> Step:
    lifted = await locks.end_due(LocksRecord(work.tx), work.tx)
    return Step({"lifted": len(lifted)}, notes=[f"lock {one.lock_id} of {one.author}" for one in lifted])


AUDIT = Job(
    "audit", "proves the books and the audit log, as far as the database knows by itself", _audit, missed="latest"
)
PARTITIONS = Job(
    "partitions",
    "makes the months to come and, where the settings say so, forgets old ones",
    _partitions,
    missed="latest",
)
SESSIONS = Job(
    "sessions",
    "forgets sessions, answers, failed logins and one-time tokens whose time is over",
    _sessions,
    missed="latest",
)
LOCKS = Job("locks", "lifts locks whose time is over, if nobody has", _locks, missed="latest")
