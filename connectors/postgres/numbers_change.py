"""Numbers of the record, changed: the ports of `backoffice/numbers/sale.py` and `requests.py`, in the transaction of a
change. The number's row is locked as it is loaded, and with it its subscribers and requests."""

from datetime import date

import msgspec

from backoffice.numbers.forcing import Employee, Group, ReleaseRequest
from backoffice.numbers.sale import Subscriber
from backoffice.numbers.settings import NumbersSettings
from backoffice.office import AccountData
from backoffice.refusals import NotThere
from connectors.postgres.change import Change
from connectors.postgres.moments import day_from_text, from_text
from connectors.postgres.numbers import Looks, request_of, subscriber_of
from connectors.postgres.office import OfficeRecord
from connectors.postgres.queries import sql
from engine.settings import EngineSettings
from schemas.reference import Number, Provider, Saleable

__all__ = ["NumbersRecord", "request_of", "subscriber_of"]


class NumbersRecord(Looks):
    """Rows and changes in the transaction of `tx`, on a business day."""

    def __init__(self, tx: Change, *, today: date, numbers: NumbersSettings, engine: EngineSettings) -> None:
        super().__init__(tx, today=today, numbers=numbers, engine=engine)
        self._tx = tx
        self._office = OfficeRecord(tx)

    async def number(self, number: str) -> Number | None:
        """A number of the capacity, locked."""
        return await self._office.number(number)

    async def save_number(self, number: Number) -> None:
        """As it is now."""
        await self._office.save_number(number)

    async def account(self, account_id: str) -> AccountData | None:
        """An account, locked."""
        return await self._office.account(account_id)

    async def provider(self, provider_id: str) -> Provider | None:
        """A provider that is not removed."""
        return await self._office.provider(provider_id)

    async def numbers_of_account(self, account_id: str) -> tuple[str, ...]:
        """All numbers that an account has, in use or reserved."""
        rows = await self._tx.fetch(sql("clients/numbers_of_account"), account_id)
        return tuple(row["number"] for row in rows)

    async def called_since(self, number: str, moment: str) -> bool:
        """Whether an unwanted call came at or after a moment."""
        found: bool = await self._tx.fetchval(sql("numbers/called_since"), number, from_text(moment))
        return found

    async def end_forcing(self, number: str) -> Saleable:
        """An approval in force was used; what the criterion was before it."""
        found: Saleable | None = await self._tx.fetchval(sql("numbers/end_forcing"), number, self._tx.at)
        return found or "depends_on_ncv"

    async def save_subscriber(self, one: Subscriber) -> None:
        """A new subscriber, or as it is now."""
        tx = self._tx
        if await self.subscriber(one.subscriber_id) is None:
            await tx.execute(
                sql("numbers/save_subscriber"),
                one.subscriber_id,
                one.number,
                one.account_id,
                one.product,
                one.status,
                day_from_text(one.planned_on),
                from_text(one.reserved_at),
                day_from_text(one.reserved_on),
                one.rested,
                one.created_by,
                from_text(one.activated_at),
                from_text(one.closed_at),
                one.closed_by,
                one.closed_why,
                tx.at,
                tx.actor,
                tx.reason,
            )
            return
        await tx.execute(
            sql("numbers/change_subscriber"),
            one.subscriber_id,
            one.product,
            one.status,
            day_from_text(one.planned_on),
            from_text(one.activated_at),
            from_text(one.closed_at),
            one.closed_by,
            one.closed_why,
            tx.at,
            tx.actor,
            one.closed_why or tx.reason,
        )

    # Requests

    async def client_email(self, client_id: str) -> str | None:
        """A client's contact address. Raises NotThere."""
        row = await self._tx.fetchrow(sql("numbers/client_emails"), client_id)
        if row is None:
            raise NotThere("client", client_id)
        return next(iter(row["emails"]), None)

    async def open_request(self, number: str) -> ReleaseRequest | None:
        """The one that waits."""
        row = await self._tx.fetchrow(sql("numbers/open_request"), number)
        return None if row is None else request_of(row)

    async def save_request(self, one: ReleaseRequest) -> None:
        """A new request, or as it is now."""
        consent = None if one.consent is None else msgspec.to_builtins(one.consent)
        decided = (from_text(one.decided_at), one.decided_by, one.decision, one.decided_callers)
        if await self.request(one.request_id) is None:
            await self._tx.execute(
                sql("numbers/save_request"),
                one.request_id,
                one.number,
                one.state,
                one.department,
                one.desk,
                from_text(one.asked_at),
                day_from_text(one.asked_on),
                one.asked_by,
                one.reason,
                one.calls,
                one.unique_callers,
                one.criterion,
                one.client_id,
                one.copy_to,
                one.told_callers,
                consent,
                *decided,
            )
            return
        await self._tx.execute(
            sql("numbers/change_request"),
            one.request_id,
            one.state,
            one.desk,
            one.criterion,
            one.client_id,
            one.copy_to,
            one.told_callers,
            consent,
            *decided,
        )

    async def group(self, group: Group) -> tuple[Employee, ...]:
        """Who is in it."""
        return tuple([Employee(*row) for row in await self._tx.fetch(sql("numbers/group"), group)])

    async def set_group(self, group: Group, members: tuple[str, ...]) -> None:
        """These and no others."""
        await self._tx.execute(sql("numbers/clear_group"), group)
        await self._tx.execute(sql("numbers/fill_group"), group, list(members))

    async def direct_manager(self, user: str) -> Employee | None:
        """Who answers this colleague's requests."""
        row = await self._tx.fetchrow(sql("numbers/direct_manager"), user)
        return None if row is None else Employee(*row)

    async def set_direct_manager(self, user: str, manager: str | None) -> None:
        """Who does from now on."""
        if manager is None:
            await self._tx.execute(sql("numbers/clear_direct_manager"), user)
        else:
            await self._tx.execute(sql("numbers/set_direct_manager"), user, manager)

    async def employee(self, name: str) -> Employee | None:
        """A user, as others see him or her."""
        row = await self._tx.fetchrow(sql("numbers/employee"), name)
        return None if row is None else Employee(*row)

    async def letter(
        self, key: str, recipient: str, copies: tuple[str, ...], subject: str, body: str, client_id: str | None
    ) -> None:
        """A letter that waits to be sent."""
        await self._tx.execute(
            sql("numbers/letter"),
            f"number_request/{key}/{self._tx.id}",
            client_id,
            recipient,
            list(copies),
            subject,
            body,
            self._tx.at,
        )
