"""The ledger's rules: which account of the books is debited, which credited, for each thing that moves money.

Pure: a movement or a charge comes in, transfers come out. A transfer takes an amount from one account of the ledger to
another, so it can't be out of balance; a negative amount goes the other way.

Signs as accountants have them: a client's account is a debt of the operator's to him, so money that comes is credited
to it and a call debited. A client who owes has a debit balance.
"""

from typing import NamedTuple

CLIENT = "client"
"""Owner: the account. Its credit less its debit is the account's balance."""

OPENING = "opening"
"""What accounts were opened with."""

CASH = "cash"
"""Real money received (§3.5), on its way from banks and cards."""

TOP_UP = "top_up"
"""Virtual additions: they never count as payments (§3.5)."""

WRITE_OFF = "write_off"
"""Charges other than calls (§3.2): subscriptions, corrections of bills."""

CORRECTION = "correction"
"""What calls that were rated again are charged more or less. It comes to nothing: what passes between it and the
clients on one side passes between it and revenue on the other."""

REVENUE = "revenue"
"""Owner: the service. Calls sold."""

COST = "cost"
"""Owner: the service. Calls bought."""

PAYABLE = "payable"
"""Owner: the provider. What is owed for calls bought."""

RATED_CDR = "rated_cdr"
"""The cause of a call's transfers; other causes are kinds of movements."""

AGAINST = {
    "opening": OPENING,
    "payment": CASH,
    "top_up": TOP_UP,
    "write_off": WRITE_OFF,
    "correction": CORRECTION,
    "block": None,
    "unblock": None,
    "close": None,
}
"""What a client's account moves against, by the movement's kind; None: no money moves."""


class LedgerAccount(NamedTuple):
    """An account of the ledger. `owner` is empty where there is one of the kind only."""

    kind: str
    owner: str = ""


class Transfer(NamedTuple):
    """An amount, above zero, from one account of the ledger to another."""

    debit: LedgerAccount
    credit: LedgerAccount
    amount_micros: int


def of_movement(kind: str, account_id: str, amount_micros: int) -> Transfer | None:
    """The transfer of an account's movement; `amount_micros` is its effect on the balance. None when nothing moves.

    Raises ValueError for a kind that the books do not know, or money in a kind that moves none.
    """
    try:
        against = AGAINST[kind]
    except KeyError:
        raise ValueError(f"the books know no movement {kind!r}") from None
    if against is None and amount_micros:
        raise ValueError(f"a movement {kind!r} moves no money, and this one {amount_micros}")
    if against is None:
        return None
    return _transfer(LedgerAccount(against), LedgerAccount(CLIENT, account_id), amount_micros)


def of_sale(account_id: str, service: str, amount_micros: int) -> Transfer | None:
    """A call that is charged to an account. None when it is free."""
    return _transfer(LedgerAccount(CLIENT, account_id), LedgerAccount(REVENUE, service), amount_micros)


def of_purchase(provider_id: str, service: str, amount_micros: int) -> Transfer | None:
    """A call that a provider carried. None when it costs nothing."""
    return _transfer(LedgerAccount(COST, service), LedgerAccount(PAYABLE, provider_id), amount_micros)


def of_resale(service: str, more_micros: int) -> Transfer | None:
    """Calls of a service that clients are charged so much more for, once rated again. None for nothing."""
    return _transfer(LedgerAccount(CORRECTION), LedgerAccount(REVENUE, service), more_micros)


def _transfer(debit: LedgerAccount, credit: LedgerAccount, amount_micros: int) -> Transfer | None:
    if amount_micros == 0:
        return None
    if amount_micros < 0:
        return Transfer(credit, debit, -amount_micros)
    return Transfer(debit, credit, amount_micros)
