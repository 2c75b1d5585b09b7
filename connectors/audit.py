"""`tollgate audit`: reads what the database, the topics and the engine's changelog say, and has the audit judge it.

The database is read in one snapshot. Then, partition by partition: the changelog to its end, `account-balances` from
its beginning, and of what moves balances only what is not in the snapshot. They are read in this order, so whatever the
changelog knows the balances know too, and whatever they know has been read of the movements and calls, or comes within
the moment that a transaction takes to show in all topics: where something does not fit, it is waited for.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, time
from time import monotonic
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from backoffice import books
from backoffice.audit import Account, Change, Finding, Money, differs, judge
from connectors.broker import Broker, Record, TopicPartition
from connectors.postgres.database import Connection, Pool
from connectors.postgres.facts import DECISIONS, MOVEMENTS, RATED_CDRS, Facts, Row, Rows, Table
from connectors.postgres.queries import sql
from engine.changelog import ACCOUNT, CALL, HOLD, POSITION, decode_account, decode_call, decode_hold, decode_position
from schemas import topics
from schemas.codec import UNREADABLE
from schemas.facts import AccountBalance
from schemas.times import from_datetime

SETTLES_SECONDS = 10.0
"""How long to wait for what may be on its way, where something does not fit; transactions show within milliseconds."""

LOOKED_AT_CLOSELY = 1_000
"""Accounts of a partition whose changes are put in a row; where more differ it is not single changes that are wrong."""

_FIRST_DAY = date(1999, 12, 31)
_FETCH_ROWS = 2_000
_MONEY_TOPICS = frozenset(
    {topics.RATED_CDRS.name, topics.ACCOUNT_MOVEMENTS.name, topics.ACCOUNT_BALANCES.name, topics.ACCOUNT_COMMANDS.name}
)
_decode_balance = msgspec.json.Decoder(AccountBalance).decode


class Report(NamedTuple):
    """What an audit has come to. Money is in micros."""

    findings: Sequence[Finding]
    left_out: int
    """Findings beyond those that were asked for."""

    accounts: int
    rows: Mapping[str, int]
    """Rows of facts that were compared with their bytes, by table."""

    on_its_way: Mapping[str, int]
    """Records by topic that are published and not in the database yet."""

    ledger: Mapping[str, tuple[int, int]]
    """Debit and credit by kind of the ledger's accounts."""

    clients: Mapping[str, int]
    """Money of all clients, by who says so: `books` (with what is on its way), `balances` (the topic's last), `engine`,
    `rows` (of facts.balances)."""

    topics_read: bool

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings."""
        return any(finding.severity == "error" for finding in self.findings)


async def audit(
    pool: Pool,
    broker: Broker | None,
    *,
    business_time_zone: str,
    since: date | None = None,
    at_most: int = 1_000,
) -> Report:
    """Audits the books. Without a broker only what the database says by itself.

    `since`: the business day from which on each row is compared with its bytes, and each transfer with its fact; sums
    are always those of all days. `at_most`: findings of each kind. Raises asyncpg's and the broker's errors.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute("SET LOCAL statement_timeout = 0")
        made = _Audit(connection, broker, Facts(business_time_zone), business_time_zone, since or _FIRST_DAY, at_most)
        return await made.run()


class _Audit:
    def __init__(
        self, connection: Connection, broker: Broker | None, facts: Facts, zone: str, since: date, at_most: int
    ) -> None:
        self._connection = connection
        self._broker = broker
        self._facts = facts
        self._zone = zone
        self._since = since
        self._since_at = datetime.combine(since, time(), ZoneInfo(zone)).astimezone(UTC)
        self._at_most = at_most
        self._findings: list[Finding] = []
        self._by_what: Counter[str] = Counter()
        self._accounts = 0
        self._rows: Counter[str] = Counter()
        self._on_its_way: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._commands_on_their_way: dict[str, str] = {}

    async def run(self) -> Report:
        positions = {
            TopicPartition(topic, partition): next_offset
            for topic, partition, next_offset in await self._connection.fetch(
                "SELECT topic, partition, next_offset FROM facts.offsets"
            )
        }
        await self._look_at_accounts(positions)
        await self._look_at_rows(RATED_CDRS, "ended_at")
        await self._look_at_rows(MOVEMENTS, "at")
        await self._look_at_rows(DECISIONS, "at")
        await self._look_at_transfers()
        await self._look_at_copies()
        await self._look_at_what_is_missing()
        await self._look_at_commands()
        await self._look_at_reratings()
        await self._look_at_the_office()
        ledger = {kind: (int(debit), int(credit)) for kind, debit, credit in await self._fetch("books/totals")}
        return Report(
            self._findings,
            sum(max(count - self._at_most, 0) for count in self._by_what.values()),
            self._accounts,
            dict(self._rows),
            {topic: count for topic, count in self._on_its_way.items() if count},
            ledger,
            dict(self._clients),
            self._broker is not None,
        )

    def _add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._by_what[finding.what] += 1
            if self._by_what[finding.what] <= self._at_most:
                self._findings.append(finding)

    async def _fetch(self, name: str, *arguments: Any) -> Sequence[Any]:
        found: Sequence[Any] = await self._connection.fetch(sql(name), *arguments)
        return found

    # Accounts

    async def _look_at_accounts(self, positions: Mapping[TopicPartition, int]) -> None:
        known: dict[str, Account] = {}
        at = -1
        seen: set[int] = set()
        async for row in self._connection.cursor(sql("books/client_balances"), prefetch=_FETCH_ROWS):
            if row["source_partition"] != at:
                if known:
                    await self._look_at_partition(at, known, positions)
                    seen.add(at)
                known, at = {}, row["source_partition"]
            account = Account(row["account_id"], booked_micros=int(row["booked_micros"]))
            if row["source_offset"] is not None:
                account.written_offset = row["source_offset"]
                account.written = Money(row["balance_micros"], row["held_micros"], row["running_calls"], row["status"])
            known[account.account_id] = account
        if known:
            await self._look_at_partition(at, known, positions)
            seen.add(at)
        if self._broker is not None:
            for partition in set(range(await self._broker.partition_count(topics.ACCOUNT_BALANCES.name))) - seen:
                await self._look_at_partition(partition, {}, positions)

    async def _look_at_partition(
        self, partition: int, accounts: dict[str, Account], positions: Mapping[TopicPartition, int]
    ) -> None:
        if self._broker is None:
            self._sum_up(accounts)
            self._add(_unlike_its_row(account) for account in accounts.values() if _differs_from_its_row(account))
            return
        told = _Told(self._broker, partition, positions, self._facts)
        async with aclosing(told):
            await told.read_engine()
            await told.read_more()
            deadline = monotonic() + SETTLES_SECONDS
            settled = False
            while True:
                told.tell(accounts)
                differing = [account for account in accounts.values() if differs(account)]
                findings = [
                    finding
                    for account in differing[:LOOKED_AT_CLOSELY]
                    for finding in judge(account, await self._changes(account.account_id))
                ]
                if not findings or settled or monotonic() > deadline:
                    break
                # If nothing is under way now, whatever there is has been read after the next look.
                settled = not await told.undecided()
                await told.read_more()
        if len(differing) > LOOKED_AT_CLOSELY:
            findings.append(
                Finding(
                    "error",
                    "balance",
                    f"partition {partition}",
                    "",
                    None,
                    None,
                    f"{len(differing)} accounts differ; {LOOKED_AT_CLOSELY} of them were looked at closely",
                )
            )
        self._add(findings)
        self._sum_up(accounts)
        self._on_its_way.update(told.on_its_way)
        self._commands_on_their_way.update(told.commands)
        self._add(told.findings)

    def _sum_up(self, accounts: Mapping[str, Account]) -> None:
        self._accounts += len(accounts)
        for account in accounts.values():
            coming = sum(change.effect_micros for change in account.coming)
            self._clients["books"] += account.booked_micros + coming
            if account.written is not None:
                self._clients["rows"] += account.written.balance_micros
            if account.engine is not None:
                self._clients["engine"] += account.engine.balance_micros
            latest = account.told[-1] if account.told else account.taken_in[1] if account.taken_in else None
            if latest is not None:
                self._clients["balances"] += latest.balance_micros

    async def _changes(self, account_id: str) -> list[Change]:
        return [
            Change(row["cause"], row["cause_id"], row["effect_micros"], row["balance_after_micros"], written=True)
            for row in await self._fetch("books/changes", account_id)
        ]

    # Rows

    async def _look_at_rows(self, table: Table, by: str) -> None:
        """Compares each row's columns with its bytes."""
        query = f"SELECT {', '.join(table.columns)} FROM {table.schema}.{table.name} WHERE {by} >= $1"
        topic = _TOPIC_OF[table.name]
        copy = table.columns.index("copy")
        async for found in self._connection.cursor(query, self._since_at, prefetch=_FETCH_ROWS):
            self._rows[table.name] += 1
            record = Record(
                topic,
                found["source_partition"],
                found["source_offset"],
                None,
                found["record"],
                from_datetime(found["recorded_at"]),
                0,
            )
            rows = self._facts.rows([record])
            made: list[Row] = getattr(rows, table.name)
            row = tuple(found)
            if made and (*row[:copy], *row[copy + 1 :]) == (*made[0][:copy], *made[0][copy + 1 :]):
                continue
            self._add(_unlike(table, row, made[0] if made else None, rows))

    async def _look_at_transfers(self) -> None:
        kinds = [*books.AGAINST]
        rows = await self._fetch(
            "books/unlike_facts",
            self._since,
            self._zone,
            kinds,
            [books.AGAINST[kind] or "" for kind in kinds],
            self._at_most + 1,
        )
        self._add(_unlike_fact(row) for row in rows)

    async def _look_at_copies(self) -> None:
        for row in await self._fetch("facts/copies", self._since_at, self._at_most + 1):
            self._add(
                [
                    Finding(
                        "warning",
                        "taken twice",
                        f"account {row['account_id']}",
                        f"{row['cause']} {row['cause_id']}",
                        1,
                        row["times"],
                        f"it was taken {row['times']} times and moved {row['moved_micros']} altogether: its id came "
                        "again after the engine had forgotten it; take back what is too much",
                    )
                ]
            )

    async def _look_at_what_is_missing(self) -> None:
        for row in await self._connection.fetch("SELECT * FROM facts.gaps ORDER BY topic, partition, from_offset"):
            self._add(
                [
                    Finding(
                        "error" if row["topic"] in _MONEY_TOPICS else "warning",
                        "gap",
                        f"{row['topic']}-{row['partition']}",
                        f"offsets {row['from_offset']} to {row['to_offset'] - 1}",
                        None,
                        None,
                        "the broker had deleted them before they were read",
                    )
                ]
            )
        for row in await self._connection.fetch(
            "SELECT topic, partition, source_offset, why FROM facts.unprojected ORDER BY 1, 2, 3 LIMIT $1",
            self._at_most + 1,
        ):
            self._add(
                [
                    Finding(
                        "error" if row["topic"] in _MONEY_TOPICS else "warning",
                        "laid aside",
                        f"{row['topic']}-{row['partition']}",
                        f"offset {row['source_offset']}",
                        None,
                        None,
                        row["why"],
                    )
                ]
            )

    # The office

    async def _look_at_commands(self) -> None:
        for row in await self._fetch("facts/commands_left"):
            self._add(_command_findings(row, self._commands_on_their_way, self._broker is not None))
        for row in await self._fetch("facts/outbox_without_command"):
            if row["published_at"] is None or row["command_id"] in self._commands_on_their_way:
                continue
            if self._broker is not None:
                self._add([_lost(row["account_id"], row["command_id"])])

    async def _look_at_reratings(self) -> None:
        self._add([_unlike_rerating(row) for row in await self._fetch("books/unlike_reratings", self._at_most + 1)])

    async def _look_at_the_office(self) -> None:
        for seq, fault in await self._connection.fetch("SELECT seq, fault FROM plumbing.audit_faults()"):
            self._add([Finding("error", "audit log", "plumbing.audit", f"row {seq}", None, None, fault)])


class _Told:
    """What the topics of a partition say, and the engine's changelog. Read on with `read_more` as often as needed."""

    def __init__(self, broker: Broker, partition: int, positions: Mapping[TopicPartition, int], facts: Facts) -> None:
        self.on_its_way: Counter[str] = Counter()
        self.commands: dict[str, str] = {}
        """Commands that are on their way, and where they were seen."""
        self.findings: list[Finding] = []
        self._broker = broker
        self._partition = partition
        self._facts = facts
        self._positions = {topic: positions.get(TopicPartition(topic, partition), 0) for topic in _FOLLOWED}
        self._readers: dict[str, AsyncIterator[Sequence[Record]]] = {}
        self._engine: dict[str, Money] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._next_offsets: Mapping[str, int] = {}
        self._taken_in: dict[str, tuple[int, Money]] = {}
        self._told: defaultdict[str, list[Money]] = defaultdict(list)
        self._coming: defaultdict[str, list[Change]] = defaultdict(list)

    async def aclose(self) -> None:
        for reader in self._readers.values():
            await reader.aclose()  # type: ignore[attr-defined]  # both brokers' are asynchronous generators

    async def undecided(self) -> bool:
        """Whether a transaction is under way that would show more."""
        places = [TopicPartition(topic, self._partition) for topic in (*_FOLLOWED, topics.ENGINE_STATE.name)]
        return bool(await self._broker.undecided(places))

    async def read_engine(self) -> None:
        """The engine's changelog to its end."""
        accounts: dict[bytes, Money] = {}
        owners: dict[bytes, str | None] = {}
        holds: dict[bytes, int] = {}
        async for batch in self._broker.read_to_end(TopicPartition(topics.ENGINE_STATE.name, self._partition)):
            for record in batch:
                key, value = record.key or b"", record.value
                kind, _, name = key.partition(b"/")
                if key == POSITION and value is not None:
                    self._next_offsets = decode_position(value).next_offsets
                elif kind == ACCOUNT.encode() and value is not None:
                    state = decode_account(value)
                    accounts[name] = Money(state.balance_micros, state.held_micros, state.running, state.status)
                elif kind == CALL.encode():
                    if value is None:
                        owners.pop(name, None)
                    else:
                        owners[name] = decode_call(value).attempt.account_id
                elif kind == HOLD.encode():
                    holds.pop(name, None)
                    if value is not None:
                        hold = decode_hold(value)
                        if hold.phase == "running" and hold.counted:
                            holds[name] = hold.hold_micros
        self._engine = {name.decode(): money for name, money in accounts.items()}
        for name, micros in holds.items():
            account_id = owners.get(name)
            if account_id is not None:
                held, running = self._held.get(account_id, (0, 0))
                self._held[account_id] = (held + micros, running + 1)

    async def read_more(self) -> None:
        """Reads on to the ends of the topics, balances first."""
        for topic in _FOLLOWED:
            if topic not in self._readers:
                if topic == topics.ACCOUNT_BALANCES.name:
                    first = 0
                elif topic == topics.ACCOUNT_COMMANDS.name:
                    first = self._next_offsets.get(topic, 0)
                else:
                    first = self._positions[topic]
                self._readers[topic] = aiter(self._broker.follow(TopicPartition(topic, self._partition), first))
            async for batch in self._readers[topic]:
                if not batch:
                    break
                self._take(topic, batch)

    def _take(self, topic: str, batch: Sequence[Record]) -> None:
        if topic == topics.ACCOUNT_BALANCES.name:
            for record in batch:
                self._take_balance(record)
            return
        if topic == topics.ACCOUNT_COMMANDS.name:
            self.on_its_way[topic] += len(batch)
            for record in batch:
                self._note_command(record.value, topic)
            return
        self.on_its_way[topic] += len(batch)
        rows = self._facts.rows(batch)
        for account_id, change in _changes_in(rows):
            self._coming[account_id].append(change)
        for command_id, *_ in (*rows.applied, *rows.refused):
            self.commands[command_id] = topic
        for row in rows.unprojected:
            self.findings.append(
                Finding("error", "unreadable", f"{row[0]}-{row[1]}", f"offset {row[2]}", None, None, row[6])
            )

    def _take_balance(self, record: Record) -> None:
        topic = topics.ACCOUNT_BALANCES.name
        try:
            found = _decode_balance(record.value or b"")
        except UNREADABLE as error:
            where = f"{topic}-{self._partition}"
            text = str(error)
            self.findings.append(Finding("error", "unreadable", where, f"offset {record.offset}", None, None, text))
            return
        money = Money(found.balance_micros, found.held_micros, found.running_calls, found.status)
        if record.offset < self._positions[topic]:
            self._taken_in[found.account_id] = (record.offset, money)
        else:
            self.on_its_way[topic] += 1
            self._told[found.account_id].append(money)

    def _note_command(self, value: bytes | None, topic: str) -> None:
        try:
            command_id = msgspec.json.decode(value or b"", type=_CommandId).command_id
        except UNREADABLE:
            return
        self.commands[command_id] = topic

    def tell(self, accounts: dict[str, Account]) -> None:
        """Puts what was read into the accounts; those that the database does not know are added."""
        for account_id in {*self._engine, *self._taken_in, *self._told, *self._coming, *accounts}:
            account = accounts.get(account_id)
            if account is None:
                account = accounts[account_id] = Account(account_id)
            account.taken_in = self._taken_in.get(account_id)
            account.told = self._told.get(account_id, [])
            account.coming = self._coming.get(account_id, [])
            account.engine = self._engine.get(account_id)
            account.held_by_calls = self._held.get(account_id, (0, 0))


class _CommandId(msgspec.Struct):
    command_id: str


_FOLLOWED = (
    # In this order: see the top of the file.
    topics.ACCOUNT_BALANCES.name,
    topics.RATED_CDRS.name,
    topics.ACCOUNT_MOVEMENTS.name,
    topics.REJECTED_EVENTS.name,
    topics.ACCOUNT_COMMANDS.name,
)

_TOPIC_OF = {
    RATED_CDRS.name: topics.RATED_CDRS.name,
    MOVEMENTS.name: topics.ACCOUNT_MOVEMENTS.name,
    DECISIONS.name: topics.CALL_DECISIONS.name,
}
_NAMED_BY = {RATED_CDRS.name: "cdr_id", MOVEMENTS.name: "cause_id", DECISIONS.name: "attempt_id"}
_CAUSE = {RATED_CDRS.name: books.RATED_CDR, DECISIONS.name: "decision"}


def _differs_from_its_row(account: Account) -> bool:
    return account.booked_micros != (0 if account.written is None else account.written.balance_micros)


def _unlike_its_row(account: Account) -> Finding:
    written = None if account.written is None else account.written.balance_micros
    text = "facts.balances is not what the books come to; something may be on its way: the topics were not read"
    return Finding("warning", "balance", f"account {account.account_id}", "", written, account.booked_micros, text)


def _changes_in(rows: Rows) -> Iterable[tuple[str, Change]]:
    for one in rows.booked:
        if one.account_id is not None and one.balance_after_micros is not None:
            sign = 1 if one.transfer.credit.kind == books.CLIENT else -1
            effect = sign * one.transfer.amount_micros
            yield one.account_id, Change(one.cause, one.cause_id, effect, one.balance_after_micros, written=False)


def _unlike(table: Table, row: Row, made: Row | None, rows: Rows) -> list[Finding]:
    """What is wrong with a row that is not what its bytes say."""
    named = dict(zip(table.columns, row, strict=True))
    where = f"account {named['account_id']}"
    cause = f"{_CAUSE.get(table.name) or named['kind']} {named[_NAMED_BY[table.name]]}"
    if made is None:
        why = rows.unprojected[0][6] if rows.unprojected else "they are those of another kind of record"
        text = f"{table.schema}.{table.name}: its bytes can't be read: {why}"
        return [Finding("error", "fact", where, cause, None, None, text)]
    found = []
    for column, there, said in zip(table.columns, row, made, strict=True):
        if column != "copy" and there != said:
            text = f"{table.schema}.{table.name}.{column} is not what the record says"
            found.append(Finding("error", "fact", where, cause, _plain(said), _plain(there), text))
    return found


def _plain(value: object) -> int | str | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return str(value)


def _unlike_fact(row: Any) -> Finding:
    where = f"account {row['account_id']}" if row["account_id"] else "the wholesale side"
    cause = f"{row['cause']} {row['cause_id']}"
    expected, found = row["expected_micros"], row["found_micros"]
    if found is None:
        text = "it has no posting in the books"
    elif expected is None:
        text = "a posting in the books that no fact explains"
    elif expected != found:
        text = f"its posting ({row['found_way']}) is not what its fact says"
    elif row["expected_way"] != row["found_way"]:
        text = f"its posting goes {row['found_way']}, not {row['expected_way']}"
    elif row["expected_day"] != row["found_day"]:
        text = f"its posting is of {row['found_day']}, not of {row['expected_day']}"
    elif row["expected_after_micros"] != row["found_after_micros"]:
        expected, found = row["expected_after_micros"], row["found_after_micros"]
        text = "its posting names another balance afterwards than its fact"
    else:
        text = "its posting names another cause than its fact"
    return Finding("error", "posting", where, cause, expected, found, text)


_RERATING = {
    "calls": "it does not have as many calls as its items",
    "retail": "its items are not what it comes to for the client",
    "wholesale": "its items are not what it comes to for the providers",
    "revenue": "its postings of revenue are not what its items come to",
    "cost": "its postings of cost are not what its items come to",
    "order": "the correction that was ordered is not what its items come to",
    "order back": "the correction that takes it back is not what its items come to",
    "rejected": "the engine has rejected its correction: post the run again",
    "rejected back": "the engine has rejected the correction that takes it back: look at the account",
}


def _unlike_rerating(row: Any) -> Finding:
    where = f"account {row['account_id']}" if row["account_id"] else "calls of nobody's"
    return Finding(
        "error",
        "re-rating",
        where,
        f"re-rating {row['rerating_id']}",
        row["expected_micros"],
        row["found_micros"],
        _RERATING[row["what"]],
    )


def _command_findings(row: Any, on_their_way: Mapping[str, str], topics_read: bool) -> list[Finding]:
    where, cause = f"account {row['account_id']}", f"{row['kind']} {row['command_id']}"
    if row["applied"]:
        if row["moved_micros"] != (row["amount_micros"] or 0) * (-1 if row["kind"] == "write_off" else 1):
            text = "the engine has carried it out with another amount than it was ordered with"
            return [Finding("error", "command", where, cause, row["amount_micros"], row["moved_micros"], text)]
        text = f"the engine has carried it out, and it stands as {row['state']}"
        return [] if row["state"] == "applied" else [Finding("error", "command", where, cause, None, None, text)]
    if row["rejected"]:
        text = f"the engine has rejected it, and it stands as {row['state']}"
        return [] if row["state"] == "rejected" else [Finding("error", "command", where, cause, None, None, text)]
    if row["state"] != "ordered":
        text = f"it stands as {row['state']}, and the engine has said nothing of it"
        return [Finding("error", "command", where, cause, None, None, text)]
    if row["seq"] is None:
        text = "it was ordered, and is not in the outbox: the engine will never hear of it"
        return [Finding("error", "command", where, cause, None, None, text)]
    if row["published_at"] is None or row["command_id"] in on_their_way or not topics_read:
        return []
    return [_lost(row["account_id"], row["command_id"])]


def _lost(account_id: str, command_id: str) -> Finding:
    text = "it was published, and the engine has neither carried it out nor rejected it, nor is it on its way"
    return Finding("error", "command", f"account {account_id}", command_id, None, None, text)
