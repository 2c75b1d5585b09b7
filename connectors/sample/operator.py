"""The sample operator's reference folder, as the files of a real one would lie there.

The same seed gives the same bytes. What stands in the files is decided by `tariffs.py` (providers, prices, plans) and
`clients.py` (accounts, numbers, locks, discounts).
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from random import Random

from connectors.sample import clients, tariffs
from connectors.sample.tariffs import Row

COLUMNS = {
    "accounts.csv": (
        "account_id,client_id,tariff_plan_id,payment_mode,currency,balance,credit_limit,critical_balance,status,place,"
        "max_concurrent_calls"
    ),
    "providers.csv": "provider_id,name,priority,place,pdgi,own",
    "tariff_plans.csv": "tariff_plan_id,price_list_id,priority,forbid_loss",
    "price_lists.csv": "price_list_id,name,kind,provider_id,currency,rounding,decimals,valid_from,valid_to",
    "prices.csv": (
        "price_list_id,prefix,service,place,incoming_service,band_id,from_second,connect_fee,price,per_seconds,"
        "step_seconds,min_charge,max_charge,valid_from,valid_to"
    ),
    "bands.csv": "band_id,weekdays,start,end,dates,time_zone,weight",
    "locks.csv": "lock_id,kind,digits,account_id,provider_id,author,reason,created_at",
    "numbers.csv": ("number,status,account_id,place,region,provider_id,fmtn,joined_on,archived_on,saleable"),
    "discounts.csv": "account_id,service,percent,valid_from,valid_to",
}
"""Files of a reference folder and their header rows."""


def write_reference(folder: Path, *, seed: int = 1, accounts: int = 2000) -> None:
    """Writes the reference folder of the invented operator; `folder` is made if it is not there.

    `accounts` counts all accounts; the dozen of `clients.FIXED` are always among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Each file has its own source of chance: more accounts leave the prices as they are.
    account_rows = clients.accounts(Random(f"{seed} accounts"), accounts)
    rows: dict[str, Iterable[Row]] = {
        "accounts.csv": account_rows,
        "providers.csv": tariffs.providers(),
        "tariff_plans.csv": tariffs.PLANS,
        "price_lists.csv": tariffs.price_lists(),
        "prices.csv": tariffs.prices(Random(f"{seed} prices")),
        "bands.csv": tariffs.BANDS,
        "locks.csv": clients.LOCKS,
        "numbers.csv": clients.numbers(Random(f"{seed} numbers"), account_rows),
        "discounts.csv": clients.discounts(Random(f"{seed} discounts"), account_rows),
    }
    for name, header in COLUMNS.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header.split(","))
            writer.writerows(rows[name])
