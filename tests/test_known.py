"""Until when all is known: never before the engine has worked off what switches had told by then, and never before what
it says of unwanted calls is in the record; however quiet the night is."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from postgres import TestedDatabase
from recorded import EVENING, Recorded, events_of, recorded

from connectors.postgres.database import Database
from connectors.postgres.queries import sql
from schemas.times import from_datetime, to_text

Story = Callable[[Recorded], Awaitable[None]]
MIDNIGHT = datetime.fromisoformat("2026-11-25T00:00:00+03:00")


@pytest.fixture
def told(database: TestedDatabase) -> Callable[[Story], None]:
    def play(story: Story) -> None:
        async def opened(db: Database) -> None:
            async with recorded(db, EVENING, events=events_of(EVENING)) as office:
                await story(office)

        database.run(opened)

    return play


async def until(office: Recorded) -> datetime | None:
    found: datetime | None = await office.db.pool.fetchval("SELECT until FROM facts.known")
    return found


def call(number: int) -> dict[str, str]:
    """A call to a number in quarantine, before midnight."""
    at = to_text(from_datetime(MIDNIGHT - timedelta(minutes=5)))
    return {
        "type": "call_attempt",
        "attempt_id": f"late{number}",
        "switch_id": "sw1",
        "at": at,
        "service": "incoming",
        "called": "78125550001",
        "caller": f"7916000000{number}",
    }


def test_a_quiet_night_is_known_though_nothing_was_said_in_it(told: Callable[[Story], None]) -> None:
    async def story(office: Recorded) -> None:
        office.now = MIDNIGHT + timedelta(minutes=1)
        assert await office.known()
        assert await until(office) == office.now

    told(story)


def test_nothing_is_known_while_the_engine_is_behind_whatever_else_it_says_meanwhile(
    told: Callable[[Story], None],
) -> None:
    async def story(office: Recorded) -> None:
        assert await office.known()
        before = await until(office)
        behind = [call(number) for number in range(3)]
        for event in behind:
            office.produce(event)
        office.now = MIDNIGHT + timedelta(minutes=1)
        assert not await office.known()
        assert await until(office) == before

        # It has come to them, and the record has not heard of it.
        await office.work()
        assert not await office.known()
        assert await until(office) == before

        await office.project()
        assert await office.known()
        assert await until(office) == office.now

    told(story)


def test_what_comes_after_the_first_look_is_not_waited_for(told: Callable[[Story], None]) -> None:
    async def story(office: Recorded) -> None:
        office.produce(call(1))
        office.now = at = MIDNIGHT + timedelta(minutes=1)
        assert not await office.known()
        await office.work()
        office.produce(call(2))
        await office.project()
        office.now += timedelta(minutes=1)
        assert await office.known()
        assert await until(office) == at
        # The next moment needs it.
        assert not await office.known()

    told(story)


def test_whoever_looked_earlier_and_writes_later_takes_nothing_back(told: Callable[[Story], None]) -> None:
    async def story(office: Recorded) -> None:
        for at in (MIDNIGHT, MIDNIGHT - timedelta(hours=1)):
            await office.db.pool.execute(sql("facts/known"), at)
        assert await until(office) == MIDNIGHT

    told(story)
