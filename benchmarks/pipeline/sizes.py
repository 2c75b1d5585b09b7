"""How large the runs are."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """What one whole benchmark takes. Times in seconds."""

    prices: int = 1_000
    accounts: int = 100_000
    attempts: int = 200_000
    """Of the backlog; as many CDRs follow."""

    warm_up: int = 20_000
    """Attempts before the backlog that are not counted, and their CDRs."""

    partitions: tuple[int, ...] = (4, 16)
    workers: tuple[int, ...] = (1, 2)
    max_records: int = 5_000
    transactions: int = 1_000
    rates: tuple[int, ...] = (500, 2_000, 5_000, 10_000)
    """Attempts a second, of the load on time."""

    load_warm_up_seconds: float = 3.0
    load_seconds: float = 10.0
    restored_accounts: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    table_events: int = 40_000
    """Of the alternative with a table."""

    table_seconds: float = 120.0
    """How long the alternative may take."""


FULL = Sizes()

SMALL = Sizes(
    prices=90,
    accounts=200,
    attempts=400,
    warm_up=40,
    partitions=(2,),
    workers=(1, 2),
    max_records=100,
    transactions=5,
    rates=(100,),
    load_warm_up_seconds=0.5,
    load_seconds=1.0,
    restored_accounts=(50,),
    table_events=200,
    table_seconds=60.0,
)
"""Seconds in all: shows that everything works, and says nothing of speed."""
