"""The way from the record to the engine and back broken on purpose, one piece at a time: the checker must notice.

`python -m tests.faults.record.sabotage NAME ROLE` is `tollgate ROLE` with that piece missing. All of it is done from
outside, to the classes of the process that is started.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from connectors.cli import main
from connectors.postgres.database import Connection
from connectors.postgres.facts_store import FactsStore
from connectors.postgres.outbox import Waiting
from connectors.relay_session import RelaySession


def offsets_apart() -> None:
    """A projector moves its positions in a transaction of their own, before the rows."""
    advance = FactsStore._advance

    async def apart(self: FactsStore, connection: Connection, partition: int, moves: Sequence[Any]) -> None:
        async with self._pool.acquire() as other:
            await advance(self, other, partition, moves)

    FactsStore._advance = apart  # type: ignore[method-assign]


def no_look() -> None:
    """A relay that begins does not look for what the former one has sent."""

    async def nothing(self: RelaySession, waiting: set[str]) -> set[str]:
        return set()

    RelaySession._find_sent = nothing  # type: ignore[method-assign]


def posted_twice() -> None:
    """Every third money movement is posted once more, as if it had come from the next offset."""
    insert = FactsStore._insert

    async def twice(self: FactsStore, connection: Connection, rows: Any) -> None:
        rows.booked += [
            one._replace(source_offset=one.source_offset + 1_000_000)
            for one in rows.booked
            if one.cause == "payment" and one.source_offset % 3 == 0
        ]
        await insert(self, connection, rows)

    FactsStore._insert = twice  # type: ignore[method-assign]


def locks_forgotten() -> None:
    """A relay marks the lifting of locks as published, and tells nobody."""
    publish = RelaySession._publish_records

    async def but_lifted_locks(self: RelaySession, rows: Sequence[Waiting], now: Any) -> None:
        from connectors.postgres import outbox

        lifted = [row for row in rows if row.kind == "lock" and row.payload is None]
        if lifted:
            await outbox.mark(self.connection, [row.seq for row in lifted], None)
        if others := [row for row in rows if row not in lifted]:
            await publish(self, others, now)

    RelaySession._publish_records = but_lifted_locks  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    "offsets apart": offsets_apart,
    "no look": no_look,
    "posted twice": posted_twice,
    "locks forgotten": locks_forgotten,
}

if __name__ == "__main__":
    SABOTAGES[sys.argv[1]]()
    sys.argv = ["tollgate", *sys.argv[2:]]
    sys.exit(main())
