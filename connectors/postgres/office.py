"""The office's tables in PostgreSQL, as the use cases of `backoffice/office.py` ask for them: in their change."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from backoffice.office import OUTSIDE, AccountData, Client, Command, ConnectedService, Plan, Tag
from connectors.postgres.change import Change
from connectors.postgres.moments import from_text, to_moment, to_optional_text
from connectors.postgres.queries import sql
from schemas.reference import AccountDiscounts, Band, Discount, Number, PlanList, Provider

OPENING_BLOCK = "was blocked when it was taken into the record"


class OfficeRecord:
    """Rows are locked as they are loaded, and changes are made, in the transaction of `tx`."""

    def __init__(self, tx: Change) -> None:
        self._tx = tx

    # Clients and tags

    async def client(self, client_id: str) -> Client | None:
        """A client."""
        row = await self._tx.fetchrow(sql("office_api/client"), client_id)
        return None if row is None else client_of(row)

    async def save_client(self, client: Client, words: Sequence[str]) -> None:
        """A new client, or as it is now."""
        tx = self._tx
        await tx.execute(sql("office_api/save_client"), [client], list(words), tx.at, tx.actor)

    async def tag(self, tag: str) -> Tag | None:
        """A tag."""
        row = await self._tx.fetchrow(sql("office_api/tag"), tag)
        return None if row is None else Tag(*row)

    async def save_tag(self, tag: Tag) -> None:
        """A new tag, or its new name."""
        await self._tx.execute(sql("office_api/save_tag"), tag.tag, tag.name, self._tx.at, self._tx.actor)

    async def tagged(self, client_id: str, tag: str) -> bool:
        """Whether it hangs there."""
        found: bool = await self._tx.fetchval(sql("office_api/tagged"), client_id, tag)
        return found

    async def hang_tag(self, client_id: str, tag: str) -> None:
        """It does from now on."""
        await self._tx.execute(sql("office_api/hang_tag"), client_id, tag, self._tx.at, self._tx.actor)

    async def take_tag(self, client_id: str, tag: str) -> None:
        """It does no more."""
        await self._tx.execute(sql("office_api/take_tag"), client_id, tag)

    # Accounts

    async def account(self, account_id: str) -> AccountData | None:
        """An account."""
        row = await self._tx.fetchrow(sql("office_api/account"), account_id)
        return None if row is None else AccountData(*row)

    async def save_account(self, account: AccountData) -> None:
        """A new account, or as it is now; what it opened with stays."""
        tx = self._tx
        await tx.execute(sql("load/accounts"), [account.record()], tx.at, tx.actor)
        await tx.execute(sql("office_api/account_words"), account.account_id, account.manager, account.comment)

    async def status_now(self, account_id: str) -> str:
        """What the engine told of last, unless an order of the office's is under way to it."""
        found: str = await self._tx.fetchval(sql("office_api/status_now"), account_id)
        return found

    async def set_status(self, account_id: str, status: str) -> None:
        """As it was ordered."""
        await self._tx.execute(sql("office_api/account_status"), account_id, status)

    async def block(self, account_id: str, command_id: str | None) -> None:
        """Since when and why it is blocked."""
        tx = self._tx
        reason = OPENING_BLOCK if command_id is None else tx.reason
        await tx.execute(sql("office_api/end_old_block"), account_id, OUTSIDE)
        await tx.execute(sql("office_api/block"), account_id, tx.at, tx.actor, reason, command_id)

    async def unblock(self, account_id: str, command_id: str) -> None:
        """Until when it was."""
        tx = self._tx
        await tx.execute(sql("office_api/unblock"), account_id, tx.at, tx.actor, tx.reason, command_id)

    async def works_here(self, user: str) -> bool:
        """Whether there is such a user, who is not disabled."""
        found: bool = await self._tx.fetchval(sql("office_api/works_here"), user)
        return found

    async def place_known(self, place: str) -> bool:
        """Whether a price or a provider has it, or no price knows places at all."""
        found: bool = await self._tx.fetchval(sql("office_api/place_known"), place)
        return found

    async def other_currency(self, currency: str) -> str | None:
        """Another currency that accounts or lists have."""
        found: str | None = await self._tx.fetchval(sql("office_api/other_currency"), currency)
        return found

    async def service(self, account_id: str, service: str) -> ConnectedService | None:
        """The one that is connected now."""
        row = await self._tx.fetchrow(sql("office_api/service"), account_id, service)
        return None if row is None else service_of(row)

    async def connect_service(self, service: ConnectedService) -> None:
        """A service from now on."""
        await self._tx.execute(
            sql("office_api/connect_service"),
            service.account_id,
            service.service,
            service.product,
            from_text(service.connected_at),
            service.connected_by,
        )

    async def disconnect_service(self, service: ConnectedService) -> None:
        """No more."""
        await self._tx.execute(
            sql("office_api/disconnect_service"),
            service.account_id,
            service.service,
            from_text(service.disconnected_at),
            service.disconnected_by,
        )

    # Providers, plans, bands

    async def provider(self, provider_id: str) -> Provider | None:
        """A provider that is not removed."""
        row = await self._tx.fetchrow(sql("office_api/provider"), provider_id)
        return None if row is None else Provider(*row)

    async def save_provider(self, provider: Provider) -> None:
        """A new provider, or as it is now."""
        await self._tx.execute(sql("load/providers"), [provider])

    async def remove_provider(self, provider_id: str) -> None:
        """It is gone; earlier calls are still priced by what it was."""
        await self._tx.execute(sql("load/remove_providers"), [provider_id], self._tx.at)

    async def users_of_provider(self, provider_id: str) -> Sequence[str]:
        """What refers to it."""
        return await self._words("office_api/users_of_provider", provider_id)

    async def plan(self, tariff_plan_id: str) -> Plan | None:
        """A plan that is not removed."""
        row = await self._tx.fetchrow(sql("office_api/plan"), tariff_plan_id)
        return None if row is None else plan_of(row)

    async def save_plan(self, plan: Plan) -> None:
        """A new plan, or as it is now."""
        tx = self._tx
        records = [plan.record()]
        await tx.execute(sql("load/clear_plan_lists"), [plan.tariff_plan_id])
        await tx.execute(sql("load/tariff_plans"), records)
        await tx.execute(sql("load/plan_lists"), records)
        await tx.execute(sql("office_api/plan_name"), plan.tariff_plan_id, plan.name)

    async def remove_plan(self, tariff_plan_id: str) -> None:
        """It is gone."""
        await self._tx.execute(sql("load/remove_tariff_plans"), [tariff_plan_id], self._tx.at)

    async def users_of_plan(self, tariff_plan_id: str) -> Sequence[str]:
        """What refers to it."""
        return await self._words("office_api/users_of_plan", tariff_plan_id)

    async def lists_in_force(self) -> Mapping[str, str]:
        """Kinds of the price lists by their ids."""
        # Who withdraws a list locks it first: it stays until this change is committed.
        rows = await self._tx.fetch(sql("office_api/lists_in_force"), self._tx.at)
        return {row["price_list_id"]: row["kind"] for row in rows}

    async def band(self, band_id: str) -> Band | None:
        """A band that is not removed."""
        row = await self._tx.fetchrow(sql("office_api/band"), band_id)
        return None if row is None else band_of(row)

    async def save_band(self, band: Band) -> None:
        """A new band, or as it is now."""
        await self._tx.execute(sql("load/bands"), [band])

    async def remove_band(self, band_id: str) -> None:
        """It is gone."""
        await self._tx.execute(sql("load/remove_bands"), [band_id], self._tx.at)

    async def users_of_band(self, band_id: str) -> Sequence[str]:
        """What refers to it."""
        return await self._words("office_api/users_of_band", band_id, self._tx.at)

    async def _words(self, query: str, *arguments: object) -> Sequence[str]:
        return [row[0] for row in await self._tx.fetch(sql(query), *arguments)]

    # Numbers and discounts

    async def number(self, number: str) -> Number | None:
        """A number of the capacity."""
        row = await self._tx.fetchrow(sql("office_api/number"), number)
        return None if row is None else number_of(row)

    async def save_number(self, number: Number) -> None:
        """A new number, or as it is now."""
        await self._tx.execute(sql("load/numbers"), [number], self._tx.at, self._tx.actor, self._tx.reason)

    async def discounts(self, account_id: str) -> AccountDiscounts:
        """All discounts of an account."""
        return discounts_of(account_id, await self._tx.fetch(sql("office_api/discounts"), account_id))

    async def save_discounts(self, discounts: AccountDiscounts) -> None:
        """These and no others."""
        await self._tx.execute(sql("load/clear_discounts"), [discounts.account_id])
        await self._tx.execute(sql("load/discounts"), [discounts])

    # Commands

    async def command(self, command_id: str) -> Command | None:
        """An order by its id."""
        row = await self._tx.fetchrow(sql("office_api/command"), command_id, OUTSIDE)
        return None if row is None else command_of(row)

    async def reversed_by(self, command_id: str) -> str | None:
        """What took it back."""
        found: str | None = await self._tx.fetchval(sql("office_api/reversed_by"), command_id)
        return found

    async def save_command(self, command: Command) -> None:
        """A new order."""
        await self._tx.execute(
            sql("office_api/save_command"),
            command.command_id,
            command.kind,
            command.account_id,
            from_text(command.at),
            command.amount_micros,
            command.reference,
            command.source,
            command.reason,
            command.reverses,
            command.author,
            from_text(command.ordered_at),
        )


# -- rows as the office's words ---------------------------------------------------------------------------------------


def client_of(row: asyncpg.Record) -> Client:
    """A row of `office_api/client`."""
    values: dict[str, Any] = dict(row)
    return Client(**values | {"phones": tuple(row["phones"]), "emails": tuple(row["emails"])})


def plan_of(row: asyncpg.Record) -> Plan:
    """A row of `office_api/plan` or `office_api/plans`."""
    lists = tuple(PlanList(name, priority) for name, priority in row["lists"])
    return Plan(row["tariff_plan_id"], row["name"], lists, row["forbid_loss"])


def band_of(row: asyncpg.Record) -> Band:
    """A row of `office_api/band` or `office_api/bands`."""
    values: dict[str, Any] = dict(row)
    return Band(**values | {"weekdays": tuple(row["weekdays"]), "dates": tuple(row["dates"])})


def number_of(row: asyncpg.Record) -> Number:
    """A row of `office_api/number`."""
    values: dict[str, Any] = dict(row)
    for name in ("joined_on", "archived_on"):
        values[name] = None if row[name] is None else row[name].isoformat()
    return Number(**values)


def discounts_of(account_id: str, rows: Sequence[asyncpg.Record]) -> AccountDiscounts:
    """Rows of `office_api/discounts`."""
    return AccountDiscounts(
        account_id,
        tuple(
            Discount(
                account_id,
                row["service"],
                row["percent_micros"],
                to_optional_text(row["valid_from"]),
                to_optional_text(row["valid_to"]),
            )
            for row in rows
        ),
    )


def command_of(row: asyncpg.Record) -> Command:
    """A row of `office_api/command` or `office_api/commands`."""
    values: dict[str, Any] = dict(row)
    for name in ("at", "ordered_at", "state_at"):
        values[name] = to_optional_text(row[name])
    return Command(**values)


def service_of(row: asyncpg.Record) -> ConnectedService:
    """A row of `office_api/service` or `office_api/services`."""
    values: dict[str, Any] = dict(row)
    values["connected_at"] = to_moment(row["connected_at"])
    values["disconnected_at"] = to_optional_text(row["disconnected_at"])
    return ConnectedService(**values)
