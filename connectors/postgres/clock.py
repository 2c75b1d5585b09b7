"""The business clock: what time it is for the office. Real, unless it was set where the settings allow that.

It lives in the database, so that all processes have the same. Sessions, keys and idempotency go by the real time.
"""

import time
from datetime import datetime
from typing import Literal, NamedTuple

from connectors.postgres.change import Change
from connectors.postgres.database import Pool
from connectors.postgres.queries import sql
from schemas.times import EARLIEST_US, LATEST_US, from_datetime, to_datetime

Mode = Literal["real", "shifted", "stopped"]


class ClockState(NamedTuple):
    """How the clock is set. `offset_us` of a shifted one, `stopped_us` of a stopped one."""

    mode: Mode
    offset_us: int = 0
    stopped_us: int = 0

    def at(self, real_us: int) -> int:
        """What it shows when the real time is `real_us`."""
        if self.mode == "stopped":
            return self.stopped_us
        return min(max(real_us + self.offset_us, EARLIEST_US), LATEST_US - 1)


REAL = ClockState("real")


def real_now_us() -> int:
    """The machine's time."""
    return time.time_ns() // 1000


class BusinessClock:
    """Asked by whoever needs a business moment. `settable`: the setting [http] settable_clock."""

    def __init__(self, *, settable: bool) -> None:
        self.settable = settable

    async def state(self, pool: Pool) -> ClockState:
        """How it is set; always real where it is not settable."""
        if not self.settable:
            return REAL
        row = await pool.fetchrow(sql("office_api/clock"))
        if row is None or row["mode"] == "real":
            return REAL
        if row["mode"] == "shifted":
            return ClockState("shifted", offset_us=row["offset_us"])
        return ClockState("stopped", stopped_us=from_datetime(row["stopped_at"]))

    async def now_us(self, pool: Pool) -> int:
        """The business moment."""
        return (await self.state(pool)).at(real_now_us())

    async def now(self, pool: Pool) -> datetime:
        """The business moment as a datetime."""
        return to_datetime(await self.now_us(pool))


async def set_clock(tx: Change, state: ClockState) -> None:
    """Sets it within a change; whoever calls it has asked whether it may be set."""
    await tx.execute(
        sql("office_api/set_clock"),
        state.mode,
        state.offset_us if state.mode == "shifted" else None,
        to_datetime(state.stopped_us) if state.mode == "stopped" else None,
        to_datetime(real_now_us()),
        tx.actor,
    )
