"""The ledger's chart of accounts in the database: numbers of accounts by what they are.

An account of the ledger is opened when it is first needed. One whose transaction then fails stays, empty, and does no
harm.
"""

from collections.abc import Collection, Sequence

from backoffice.books import LedgerAccount
from connectors.postgres.database import Connection
from connectors.postgres.facts import Booked, Row
from connectors.postgres.queries import sql

_REMEMBERED = 1_000_000  # accounts; some 200 MB


class Chart:
    """Remembers the numbers; one for each process."""

    def __init__(self) -> None:
        self._ids: dict[LedgerAccount, int] = {}

    async def open(self, connection: Connection, booked: Collection[Booked]) -> None:
        """Makes sure that all accounts of these transfers have numbers. Not within a transaction that may fail."""
        ids = self._ids
        missing = {account for one in booked for account in one.transfer[:2] if account not in ids}
        if not missing:
            return
        if len(ids) > _REMEMBERED:
            ids.clear()
            missing = {account for one in booked for account in one.transfer[:2]}
        kinds, owners = zip(*missing, strict=True)
        await self._find(connection, kinds, owners)
        still = [account for account in missing if account not in ids]
        if still:
            kinds, owners = zip(*still, strict=True)
            await connection.execute(sql("books/open_accounts"), kinds, owners)
            await self._find(connection, kinds, owners)

    def rows(self, booked: Sequence[Booked]) -> list[Row]:
        """The transfers as rows of `books.transfers`, once their accounts are open."""
        ids = self._ids
        return [
            (ids[one.transfer.debit], ids[one.transfer.credit], one.transfer.amount_micros, *one[1:]) for one in booked
        ]

    async def _find(self, connection: Connection, kinds: Sequence[str], owners: Sequence[str]) -> None:
        for number, kind, owner in await connection.fetch(sql("books/accounts"), kinds, owners):
            self._ids[LedgerAccount(kind, owner)] = number
