"""The audit of the books: what they, the engine and the topics say of each account must be the same, to the micro.

Pure: what each of them says comes in, findings go out. It works while calls go on. What has been published and is not
in the books yet is told as being on its way; it is no finding, as long as it explains the whole difference.

Each change of a balance names the balance after it, so the changes of an account form a chain from zero to its balance,
in whatever order they are looked at. A change that is missing, or whose amount was touched, leaves loose ends.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Finding(NamedTuple):
    """Something that is not as it must be. An error makes the audit fail; a warning is to be looked at.

    `what` is the kind of finding; `where` the account, or what else it was found in; `cause` what moved the money or
    names the row; `expected` and `found` are amounts in micros or words.
    """

    severity: Severity
    what: str
    where: str
    cause: str
    expected: int | str | None
    found: int | str | None
    text: str


class Change(NamedTuple):
    """A change of an account's balance: a movement, or a call charged. `written`: it is in the books."""

    cause: str
    cause_id: str
    effect_micros: int
    balance_after_micros: int
    written: bool

    @property
    def balance_before_micros(self) -> int:
        """The balance that it found."""
        return self.balance_after_micros - self.effect_micros

    @property
    def name(self) -> str:
        """The cause in words."""
        return f"{self.cause} {self.cause_id}"


class Money(NamedTuple):
    """What somebody says of an account at one moment."""

    balance_micros: int
    held_micros: int
    running_calls: int
    status: str


@dataclass
class Account:
    """All that is said of one account."""

    account_id: str
    booked_micros: int = 0
    """By the books: what the client's account of the ledger comes to."""

    written: Money | None = None
    """The row of `facts.balances`."""

    written_offset: int = -1
    """The offset of the record that it came from."""

    taken_in: tuple[int, Money] | None = None
    """The last record of the topic `account-balances` of those that the database has taken in, with its offset; None
    if compaction has taken it away for a later one."""

    told: list[Money] = field(default_factory=list)
    """The later ones."""

    engine: Money | None = None
    """By the engine's own changelog."""

    held_by_calls: tuple[int, int] = (0, 0)
    """Money held by, and number of, its running calls in the changelog."""

    coming: list[Change] = field(default_factory=list)
    """Changes that are published and that the database has not taken in."""


class Chain(NamedTuple):
    """The changes of an account in a row. `end_micros`: what they come to; None where the chain has loose ends."""

    end_micros: int | None
    loose: tuple[Change, ...]
    """Changes that begin where no other has ended."""
    dangling_micros: tuple[int, ...]
    """Balances after which nothing follows, the end among them."""


def chain(changes: Iterable[Change]) -> Chain:
    """Puts an account's changes in a row, from zero on."""
    changes = tuple(changes)
    degree: Counter[int] = Counter()
    for change in changes:
        degree[change.balance_before_micros] += 1
        degree[change.balance_after_micros] -= 1
    degree[0] -= 1  # what the first one begins with
    starts = Counter({value: count for value, count in degree.items() if count > 0})
    ends = Counter({value: -count for value, count in degree.items() if count < 0})
    loose = []
    for change in changes:
        if starts[change.balance_before_micros] > 0:
            starts[change.balance_before_micros] -= 1
            loose.append(change)
    dangling = tuple(sorted(ends.elements()))
    whole = not loose and len(dangling) == 1
    return Chain(dangling[0] if whole else None, tuple(loose), dangling)


def differs(account: Account) -> bool:
    """Whether those who speak of an account do not say the same, so that it must be looked at closely."""
    latest = _latest(account)
    return (
        latest is None
        or account.booked_micros + _coming_micros(account) != latest.balance_micros
        or account.engine != latest
        or bool(_row_findings(account))
        or bool(_hold_findings(account))
    )


def judge(account: Account, written: Sequence[Change]) -> list[Finding]:
    """Looks closely at an account that differs. `written` are all of its changes in the books.

    What is on its way explains a difference if all changes together are a whole chain, and each of those who speak of
    the account names a balance of it that is not older than what is on its way.
    """
    findings = [*_row_findings(account), *_hold_findings(account)]
    row = chain([*written, *account.coming])
    recent = {change.balance_after_micros for change in account.coming}
    recent |= {change.balance_before_micros for change in account.coming}
    if row.end_micros is None:
        findings += _chain_findings(account, row)
    else:
        recent.add(row.end_micros)
    latest = _latest(account)
    booked_micros = account.booked_micros + _coming_micros(account)
    if latest is None:
        text = "the books have changes of an account of which the engine has published no balance"
        findings.append(_finding(account, "balance", "", None, booked_micros, text))
    elif booked_micros != row.end_micros or latest.balance_micros not in recent:
        text = "its balance is not what its movements and calls in the books come to"
        if booked_micros != latest.balance_micros or row.end_micros is not None:
            findings.append(_finding(account, "balance", "", latest.balance_micros, booked_micros, text))
    # The changelog has been read first: it may be older than what is on its way, and not know a new account.
    engine_may_say = [account.written, *([] if account.taken_in is None else [account.taken_in[1]]), *account.told]
    is_new = account.written is None and account.taken_in is None
    if account.engine not in engine_may_say or (account.engine is None and not is_new):
        text = f"the engine's state says {_words(account.engine)}, the balances published {_words(latest)}"
        findings.append(
            _finding(
                account,
                "engine",
                "",
                None if account.engine is None else account.engine.balance_micros,
                None if latest is None else latest.balance_micros,
                text,
            )
        )
    return findings


def _chain_findings(account: Account, row: Chain) -> list[Finding]:
    if not row.loose:
        text = f"its changes do not come to one end but to {', '.join(map(str, row.dangling_micros)) or 'none'}"
        return [_finding(account, "chain", "", None, None, text)]
    found = []
    for change in row.loose:
        before = change.balance_before_micros
        near = min(row.dangling_micros, key=lambda value: abs(value - before), default=None)
        text = "its amount or the balance after it was touched, or a change before it is missing"
        found.append(_finding(account, "chain", change.name, near, before, text))
    return found


def _row_findings(account: Account) -> list[Finding]:
    """Whether the row in the database is the record that it came from."""
    row, record = account.written, account.taken_in
    if row is None and record is None:
        return []
    where = "facts.balances"
    if row is None:
        assert record is not None
        text = "facts.balances has no row of it, though its record was taken in"
        return [_finding(account, "balance row", where, record[1].balance_micros, None, text)]
    if record is None:
        if account.told:
            return []
        text = "facts.balances has a row of it, and the topic has no record"
        return [_finding(account, "balance row", where, None, row.balance_micros, text)]
    if record == (account.written_offset, row):
        return []
    text = f"facts.balances says {_words(row)}, the record at offset {record[0]} {_words(record[1])}"
    return [_finding(account, "balance row", where, record[1].balance_micros, row.balance_micros, text)]


def _hold_findings(account: Account) -> list[Finding]:
    if account.engine is None or (account.engine.held_micros, account.engine.running_calls) == account.held_by_calls:
        return []
    held, running = account.held_by_calls
    state = account.engine
    text = f"{running} calls hold {held}, and the engine's state says {state.running_calls} and {state.held_micros}"
    return [_finding(account, "holds", "", held, state.held_micros, text)]


def _coming_micros(account: Account) -> int:
    return sum(change.effect_micros for change in account.coming)


def _latest(account: Account) -> Money | None:
    if account.told:
        return account.told[-1]
    return account.written if account.taken_in is None else account.taken_in[1]


def _finding(account: Account, what: str, cause: str, expected: int | None, found: int | None, text: str) -> Finding:
    return Finding("error", what, f"account {account.account_id}", cause, expected, found, text)


def _words(money: Money | None) -> str:
    if money is None:
        return "nothing"
    return f"{money.balance_micros} (held {money.held_micros} by {money.running_calls} calls, {money.status})"
