"""A reference folder into the database: what differs from it comes in force together, or nothing does.

One transaction. Price lists whose prices or attributes differ become new published versions; what the folder does not
have any more is removed, or lifted if it is a lock; accounts never are. An account's balance and status are those it
began with: for one that is there already they are not set again. Each thing that changes has its audit and its outbox
row, so that the relay brings the same to the engine.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from connectors.files.reference_folder import ReferenceFolder
from connectors.postgres import price_lists, reference
from connectors.postgres.change import Change, change
from connectors.postgres.database import Pool
from connectors.postgres.queries import sql
from schemas.reference import Account, AccountDiscounts, Discount, Lock, PriceList, PriceRow

KINDS = ("provider", "band", "price_list", "tariff_plan", "account", "number", "lock", "discounts")
"""In the order in which they are written: what is referred to goes first."""

RECORDS_AT_ONCE = 20_000
OPENING_BLOCK = "was blocked when it was taken into the record"
R = TypeVar("R")


class LoadRefused(Exception):
    """The folder can't follow what is in the database; all the reasons. Nothing was loaded."""


class Counts(NamedTuple):
    """What became of one kind."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    kept: int = 0


class LoadReport(NamedTuple):
    """What a load did. Nothing differed if `change_id` is None."""

    change_id: int | None
    kinds: Mapping[str, Counts]
    prices: int
    """Prices in the versions that are new."""
    versions: Mapping[str, int]
    """The numbers of the new versions by their lists."""
    balances_kept: tuple[str, ...]
    """Accounts of which the folder tells another opening balance than they began with."""
    statuses_kept: tuple[str, ...]
    """Accounts of which the folder tells another status than the office has ordered."""


class _Difference(NamedTuple, Generic[R]):
    """One kind: records as they were and as they will be, by id."""

    before: Mapping[str, R]
    after: Mapping[str, R]
    """Only what is new or changed."""
    removed: Sequence[str]
    kept: int

    @property
    def counts(self) -> Counts:
        new = sum(name not in self.before for name in self.after)
        return Counts(new, len(self.after) - new, len(self.removed), self.kept)


class _Version(NamedTuple):
    """A price list as the audit tells it, and as it is compared."""

    price_list: PriceList
    digest: str


async def load_folder(
    pool: Pool,
    folder: ReferenceFolder,
    *,
    author: str,
    at: datetime,
    reason: str = "reference folder loaded",
    source: str | None = None,
    interface: str | None = "cli",
) -> LoadReport:
    """Makes the database say what the folder says, as of the business clock's moment `at`.

    `pool` has the owner's rights. `source` is what the new versions of price lists are said to come from. Raises
    LoadRefused; after any other error nothing was loaded either, but for `OutcomeUnknown`.
    """
    rows: dict[str, list[PriceRow]] = {name: [] for name in folder.price_lists}
    for row in folder.prices:
        rows[row.price_list_id].append(row)
    digests = await asyncio.to_thread(lambda: {name: price_lists.digest(of) for name, of in rows.items()})
    async with change(pool, actor=author, reason=reason, at=at, interface=interface) as tx:
        await tx.execute("SET LOCAL statement_timeout = 0")
        await tx.execute(sql("load/lock_tables"))
        return await _Load(tx, folder, rows, digests, source).run()


class _Load:
    """A load under way, in the transaction of a change."""

    def __init__(
        self,
        tx: Change,
        folder: ReferenceFolder,
        rows: Mapping[str, list[PriceRow]],
        digests: Mapping[str, bytes],
        source: str | None,
    ) -> None:
        self._tx = tx
        self._folder = folder
        self._rows = rows
        self._digests = digests
        self._source = source
        self._counts: dict[str, Counts] = {}
        self._versions: dict[str, int] = {}
        self._prices = 0

    async def run(self) -> LoadReport:
        connection, folder = self._tx.connection, self._folder
        accounts = await reference.read_accounts(connection)
        in_force = await reference.read_price_lists(connection, at=self._tx.at)
        self._refuse_what_cannot_follow(accounts, dict(map(tuple, await connection.fetch(sql("load/list_kinds")))))
        wanted_accounts = {
            name: replace(account, balance_micros=there.balance_micros, status=there.status)
            if (there := accounts.get(name)) is not None
            else account
            for name, account in folder.accounts.items()
        }
        statuses = dict(map(tuple, await connection.fetch(sql("load/statuses"))))

        await self._simple("provider", "providers", await reference.read_providers(connection), folder.providers)
        await self._simple("band", "bands", await reference.read_bands(connection), folder.bands)
        await self._price_lists(in_force)
        await self._tariff_plans()
        await self._accounts(_difference(accounts, wanted_accounts))
        await self._numbers()
        await self._locks()
        await self._discounts()
        if self._prices:
            await connection.execute("ANALYZE office.prices, office.price_list_versions")
        return LoadReport(
            self._tx.id if any(sum(counts[:3]) for counts in self._counts.values()) else None,
            {kind: self._counts[kind] for kind in KINDS},
            self._prices,
            self._versions,
            tuple(
                name
                for name, account in folder.accounts.items()
                if account.balance_micros != wanted_accounts[name].balance_micros
            ),
            tuple(
                name
                for name, account in folder.accounts.items()
                if account.status != statuses.get(name, account.status)
            ),
        )

    def _refuse_what_cannot_follow(self, accounts: Mapping[str, Account], kinds: Mapping[str, str]) -> None:
        """`kinds`: of all price lists that there ever were."""
        faults = []
        folder = self._folder
        if missing := sorted(accounts.keys() - folder.accounts.keys()):
            listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            faults.append(
                f"accounts.csv: accounts of the database are missing: {listed}; an account is never removed: keep its "
                "row, with status closed if it has left"
            )
        for name, account in folder.accounts.items():
            there = accounts.get(name)
            if there is not None and there.currency != account.currency:
                faults.append(
                    f"accounts.csv: currency: account {name!r} has {there.currency} in the database and "
                    f"{account.currency} here; an account keeps its currency"
                )
        for name, price_list in folder.price_lists.items():
            known = kinds.get(name)
            if known is not None and known != price_list.kind:
                faults.append(
                    f"price_lists.csv: kind: list {name!r} is {known} in the database and "
                    f"{price_list.kind} here; give the new list an id of its own"
                )
        if faults:
            raise LoadRefused("\n  ".join(faults))

    # -- kind by kind --------------------------------------------------------------------------------------------------

    async def _simple(self, kind: str, table: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """A kind whose records are rows."""
        found = _difference(before, wanted)
        for part in _parts(found.after.values()):
            await self._tx.execute(sql(f"load/{table}"), part)
        await self._note(kind, found)
        await self._remove(table, found.removed)

    async def _remove(self, table: str, names: Sequence[str]) -> None:
        if names:
            await self._tx.execute(sql(f"load/remove_{table}"), list(names), self._tx.at)

    async def _price_lists(self, in_force: Mapping[str, reference.InForce]) -> None:
        tx = self._tx
        found = _difference(
            {name: _Version(there.price_list, there.digest.hex()) for name, there in in_force.items()},
            {
                name: _Version(price_list, self._digests[name].hex())
                for name, price_list in self._folder.price_lists.items()
            },
        )
        self._counts["price_list"] = found.counts
        for name, wanted in found.after.items():
            rows = self._rows[name]
            version = await price_lists.stage(
                tx.connection,
                wanted.price_list,
                rows,
                at=tx.at,
                author=tx.actor,
                source=self._source,
                rows_digest=self._digests[name],
            )
            await price_lists.publish(tx.connection, version.version_id, in_force_from=tx.at, at=tx.at, author=tx.actor)
            self._versions[name] = version.number
            self._prices += len(rows)
            before = found.before.get(name)
            after = {
                **wanted._asdict(),
                "version_id": version.version_id,
                "number": version.number,
                "prices": len(rows),
            }
            await tx.audit(
                "price_list",
                name,
                "created" if before is None else "changed",
                None if before is None else {**before._asdict(), "version_id": in_force[name].version_id},
                after,
            )
            await tx.publish("price_list", name, {"version_id": version.version_id})
        for name in found.removed:
            await tx.execute(sql("prices/withdraw_list"), name, tx.at, tx.actor, tx.reason)
            before = found.before[name]
            await tx.audit(
                "price_list", name, "removed", {**before._asdict(), "version_id": in_force[name].version_id}, None
            )
            await tx.publish("price_list", name, None)

    async def _tariff_plans(self) -> None:
        before = await reference.read_tariff_plans(self._tx.connection)
        found = _difference(before, self._folder.tariff_plans)
        if found.after:
            await self._tx.execute(sql("load/clear_plan_lists"), list(found.after))
        for part in _parts(found.after.values()):
            await self._tx.execute(sql("load/tariff_plans"), part)
            await self._tx.execute(sql("load/plan_lists"), part)
        await self._note("tariff_plan", found)
        await self._remove("tariff_plans", found.removed)

    async def _accounts(self, found: _Difference[Account]) -> None:
        tx = self._tx
        for names in _parts(account.client_id for account in found.after.values()):
            for (client_id,) in await tx.fetch(sql("load/clients"), names, tx.at, tx.actor):
                await tx.audit("client", client_id, "created", None, {"client_id": client_id, "name": client_id})
        for part in _parts(found.after.values()):
            await tx.execute(sql("load/accounts"), part, tx.at, tx.actor)
        blocked = [
            name for name, account in found.after.items() if name not in found.before and account.status == "blocked"
        ]
        await tx.execute(sql("load/blocks"), blocked, tx.at, tx.actor, OPENING_BLOCK)
        await self._note("account", found)

    async def _numbers(self) -> None:
        tx = self._tx
        found = _difference(await reference.read_numbers(tx.connection), self._folder.numbers)
        for part in _parts(found.after.values()):
            await tx.execute(sql("load/numbers"), part, tx.at, tx.actor, tx.reason)
        await tx.execute(sql("load/remove_numbers"), list(found.removed), tx.at, tx.actor, tx.reason)
        await self._note("number", found)

    async def _locks(self) -> None:
        tx = self._tx
        found = _difference(await reference.read_locks(tx.connection), self._folder.locks)
        changed: list[Lock] = []
        anew: list[Lock] = []
        for name, lock in found.after.items():
            before = found.before.get(name)
            same = before is not None and (before.author, before.created_at) == (lock.author, lock.created_at)
            (changed if same else anew).append(lock)
        # A lock keeps its author: one with another author is another lock, and the former is lifted.
        lifted = [*found.removed, *(lock.lock_id for lock in anew if lock.lock_id in found.before)]
        await tx.execute(sql("load/lift_locks"), lifted, tx.at, tx.actor, tx.role, tx.reason)
        for part in _parts(changed):
            await tx.execute(sql("load/change_locks"), part, tx.at, tx.actor, tx.role, tx.reason)
        for part in _parts(anew):
            await tx.execute(sql("load/set_locks"), part, tx.at)
        await self._note("lock", found)

    async def _discounts(self) -> None:
        tx = self._tx
        found = _difference(
            by_account(await reference.read_discounts(tx.connection)), by_account(self._folder.discounts)
        )
        await tx.execute(sql("load/clear_discounts"), [*found.after, *found.removed])
        for part in _parts(found.after.values()):
            await tx.execute(sql("load/discounts"), part)
        await self._note("discounts", found)

    # -- audit and outbox ----------------------------------------------------------------------------------------------

    async def _note(self, kind: str, found: _Difference[Any]) -> None:
        self._counts[kind] = found.counts
        for name, record in found.after.items():
            before = found.before.get(name)
            await self._tx.audit(kind, name, "created" if before is None else "changed", before, record)
            await self._tx.publish(kind, name, record)
        for name in found.removed:
            await self._tx.audit(kind, name, "lifted" if kind == "lock" else "removed", found.before[name], None)
            await self._tx.publish(kind, name, AccountDiscounts(name, ()) if kind == "discounts" else None)


def by_account(discounts: Iterable[Discount]) -> dict[str, AccountDiscounts]:
    """Discounts as the engine takes them: those of an account together."""
    found: dict[str, list[Discount]] = {}
    for discount in discounts:
        found.setdefault(discount.account_id, []).append(discount)
    return {account_id: AccountDiscounts(account_id, tuple(of)) for account_id, of in found.items()}


def _difference(before: Mapping[str, R], wanted: Mapping[str, R]) -> _Difference[R]:
    after = {name: record for name, record in wanted.items() if before.get(name) != record}
    return _Difference(before, after, [name for name in before if name not in wanted], len(wanted) - len(after))


def _parts(records: Iterable[R]) -> Iterator[list[R]]:
    rest = iter(records)
    while part := list(islice(rest, RECORDS_AT_ONCE)):
        yield part
