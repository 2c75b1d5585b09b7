"""The operator of a run: the simulation's company, and accounts beside it that no traffic touches, for the office's
money and for the calls that ask at the end what is in force."""

from typing import NamedTuple

from connectors.files.reference_folder import ReferenceFolder
from schemas.partitions import partition_of
from schemas.reference import Account
from tests.simulation.company import RUB, Company

OWN_BALANCE = 5_000 * RUB


class Operator(NamedTuple):
    """`own`: the accounts that nobody but the office and the last calls touch, one in each partition and more."""

    company: Company
    own: tuple[Account, ...]

    def folder(self) -> ReferenceFolder:
        """All of it, as a reference folder has it."""
        given = self.company.reference.keywords  # type: ignore[attr-defined]
        return ReferenceFolder(
            accounts={account.account_id: account for account in (*given["accounts"], *self.own)},
            providers={one.provider_id: one for one in given["providers"]},
            tariff_plans={one.tariff_plan_id: one for one in given["plans"]},
            price_lists={one.price_list_id: one for one in given["price_lists"]},
            prices=given["prices"],
            bands={one.band_id: one for one in given["bands"]},
            locks={one.lock_id: one for one in given["locks"]},
            numbers={one.number: one for one in given["numbers"]},
            discounts=given["discounts"],
        )

    def opening(self) -> dict[str, dict[str, int]]:
        """Balance and credit limit of every account before the first event."""
        own = {account.account_id: {"balance_micros": OWN_BALANCE, "credit_limit_micros": 0} for account in self.own}
        return self.company.opening() | own


def operator_of(company: Company, partitions: int) -> Operator:
    """The company with its own accounts."""
    own: list[Account] = []
    number = 0
    while len({partition_of(account.account_id.encode(), partitions) for account in own}) < partitions:
        own.append(
            Account(f"own-{number}", "house", "city", "prepaid", "RUB", OWN_BALANCE, 0, None, "active", None, None)
        )
        number += 1
    return Operator(company, tuple(own))
