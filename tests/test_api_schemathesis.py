"""What nobody thought of: schemathesis asks the real API, on a real socket and a real database, all that its
description allows and much that it forbids. Each operation is asked by a role that may ask it.

No answer may be a fault (500), each must be as it is described, and what does not fit must be refused. The requests
follow from a seed.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from api import APP, GENEROUS, Api, api_on, roles_with
from api_samples import prepare
from msgspec.structs import replace
from postgres import TestedDatabase
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from backoffice.access import PERMISSIONS
from connectors.http.serve import serving
from connectors.postgres.database import open_database

SEED = 20_261_124
EXAMPLES = 10
"""Of the fuzzing phase, for each operation; the boundaries of all fields are tried besides."""

SETTABLE = replace(GENEROUS, port=0)


class Served:
    """The API in a thread and an event loop of its own. `keys`: an API key for each operation; `made`: ids of what was
    made for the samples."""

    def __init__(self, database: TestedDatabase) -> None:
        self._database = database
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="api")
        self.address = ""
        self.keys: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def __enter__(self) -> "Served":
        self._thread.start()
        self._ready.wait()
        if self._trouble is not None:
            raise self._trouble
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # told in the other thread
            self._trouble = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with open_database(self._database.settings, role=APP) as database, api_on(database, http=SETTABLE) as api:
            self.made = await prepare(api, 1)
            self.keys = {route.operation: await _key(api, route.requires) for route in api.routes}
            async with serving(api.app, SETTABLE) as self.address:
                self._ready.set()
                await self._stop.wait()


async def _key(api: Api, requires: str) -> str:
    """The key of a role that may; the manager's where he may."""
    roles = roles_with(requires) if requires in PERMISSIONS else ["manager"]
    return await api.key_of("manager" if "manager" in roles else roles[0])


@contextmanager
def served(database: TestedDatabase) -> Iterator[Served]:
    with Served(database) as found:
        yield found


KNOWN = {
    f"path.{part}": value
    for part, value in {
        "account_id": "known1",
        "band_id": "known1",
        "client_id": "known1",
        "lock_id": "known1",
        "name": "known1",
        "number": "78831",
        "place": "1",
        "price_list_id": "R",
        "provider_id": "known1",
        "rejected_id": "1-1",
        "service": "connected",
        "tag": "known1",
        "tariff_plan_id": "known1",
    }.items()
}
"""Things that are there."""

MADE = {
    "path.request_id": "{waiting}",
    "path.rerating_id": "{rerating_previewed}",
    "path.subscriber_id": "{subscriber}",
}
"""Those whose ids are drawn when they are made."""


def configuration(known: dict[str, str]) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "parameters": known,
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": not known}},
            "checks": {
                # Names of things that are not there are refused only when they are looked for (404, 409).
                "positive_data_acceptance": {"enabled": False},
            },
        }
    )


@pytest.mark.parametrize("known", [{}, KNOWN], ids=["of anything", "of what is there"])
def test_the_api_withstands_whatever_its_description_makes_of_it(
    database: TestedDatabase, known: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[str] = []
    statuses: Counter[int] = Counter()
    asked: Counter[str] = Counter()
    stopped = None
    with served(database) as api:
        there = known and known | {part: api.made[name] for part, name in MADE.items()}
        schema = schemathesis.openapi.from_url(f"{api.address}/api/openapi.json", config=configuration(there))

        @schema.auth(refresh_interval=None)
        class _KeyOfOperation:
            def get(self, case: Any, context: Any) -> str:
                return api.keys[context.operation.definition.raw["operationId"]]

            def set(self, case: Any, key: str, context: Any) -> None:
                case.headers["Authorization"] = f"Bearer {key}"

        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                for interaction in event.recorder.interactions.values():
                    if interaction.response is not None:
                        statuses[interaction.response.status_code] += 1
                asked[event.recorder.label] += len(event.recorder.interactions)
                failures += [
                    _told(event.recorder, case_id, check)
                    for case_id, checks in event.recorder.checks.items()
                    for check in checks
                    if check.failure_info is not None
                ]
            elif isinstance(event, events.NonFatalError | events.FatalError):
                failures.append(str(getattr(event, "value", None) or event.exception))
            elif isinstance(event, events.EngineFinished):
                stopped = event.stop_reason
    print(f"{sum(asked.values())} requests, {dict(sorted(statuses.items()))}")
    # What is sent is checked before it gets to the database, which would have to refuse it otherwise.
    assert "went unchecked" not in caplog.text, caplog.text
    assert "refused what was sent" not in caplog.text, caplog.text
    assert not failures, f"{len(failures)} failures:\n" + "\n".join(sorted(set(failures))[:40])
    assert stopped == "completed"


def _told(recorder: Any, case_id: str, check: Any) -> str:
    failure = check.failure_info.failure
    interaction = recorder.interactions.get(case_id)
    answer = (
        ""
        if interaction is None or interaction.response is None
        else (f" {interaction.response.status_code} {interaction.response.content[:300]!r}")
    )
    request = (
        ""
        if interaction is None
        else f" {interaction.request.method} {interaction.request.uri} {interaction.request.body!r}"
    )
    return f"{recorder.label}: {check.name}: {failure.title}: {failure.message[:200]}:{request[:500]}{answer}"
