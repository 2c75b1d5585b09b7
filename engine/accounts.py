"""An account's live state: money, holds in force, running calls, status. Attributes are reference data, not here.

Only `State.apply_…` changes an account.
"""

from msgspec import Struct

from schemas.facts import AccountBalance, AccountStatus
from schemas.reference import Account
from schemas.times import to_text


class AccountState(Struct, gc=False):
    """Money in micro-units. `held_micros` is the sum of the holds of its `running` calls."""

    account_id: str
    balance_micros: int
    status: AccountStatus
    held_micros: int = 0
    running: int = 0
    status_since: str | None = None
    status_why: str | None = None
    critical_noticed_us: int | None = None
    touched_us: int = 0


def opened(account: Account) -> AccountState:
    """The state of an account that the engine sees for the first time."""
    return AccountState(account.account_id, account.balance_micros, account.status)


def available_micros(state: AccountState, account: Account) -> int:
    """What may still be held: balance + credit limit - holds."""
    return state.balance_micros + account.credit_limit_micros - state.held_micros


def balance(state: AccountState, account: Account) -> AccountBalance:
    """The account's money as it is published."""
    return AccountBalance(
        account_id=state.account_id,
        at=to_text(state.touched_us),
        currency=account.currency,
        balance_micros=state.balance_micros,
        held_micros=state.held_micros,
        credit_limit_micros=account.credit_limit_micros,
        available_micros=available_micros(state, account),
        status=state.status,
        running_calls=state.running,
    )
