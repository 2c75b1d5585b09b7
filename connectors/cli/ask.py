"""`tollgate ask`: anything that the API can do, from the command line and without a server.

    tollgate ask --as anna GET '/api/search?text=74951234567'
    tollgate ask --as anna PUT /api/clients/C1 '{"name": "ООО Ромашка", "reason": "договор 17"}'
    tollgate ask --as anna --file seed.jsonl

The application runs in this process on the database of the settings: the same routes, rights, checks and audit. Whoever
has the rights of the database on this machine asks in the name of a user, by a key that counts for this command only.
"""

import asyncio
import hashlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
import msgspec
from litestar import Litestar
from msgspec import Meta, Struct

from backoffice import users
from backoffice.access import ROLE_PERMISSIONS
from backoffice.refusals import NotThere, Refusal
from backoffice.users import NewKeyAsked
from connectors import tokens
from connectors.cli.acting import shell_actor
from connectors.cli.app import Refused, app, err, out, settings
from connectors.http import Services, create_app
from connectors.http.app import declared
from connectors.http.inside import Answer
from connectors.http.inside import ask as ask_inside
from connectors.http.once import HEADER
from connectors.postgres.access import AccessRecord
from connectors.postgres.change import change
from connectors.postgres.clock import BusinessClock, real_now_us
from connectors.postgres.database import DRIVER_TROUBLES, Database, DatabaseTrouble, explained, open_database
from connectors.postgres.reference import read_reference
from connectors.settings import HttpSettings, database_settings, http_settings
from engine.reference import Reference
from engine.settings import EngineSettings
from schemas.times import to_datetime

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_UNLIMITED = 1_000_000
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".json": "application/json",
}


class Request(Struct, frozen=True, forbid_unknown_fields=True, rename={"as_": "as"}):
    """A line of a file of requests."""

    method: Method
    path: Annotated[str, Meta(pattern="^/")]
    body: Any = None
    as_: str | None = None
    """In whose name; the command's `--as` if left out."""
    key: str | None = None
    """The Idempotency-Key; made of what the line says if left out."""


_decode = msgspec.json.Decoder(Request).decode


@app.command
def ask(
    method: Annotated[Method | None, cyclopts.Parameter(help="What is to be done with the path.")] = None,
    path: Annotated[str | None, cyclopts.Parameter(help="A path of the API with its query.")] = None,
    body: Annotated[
        str | None, cyclopts.Parameter(help="JSON; @FILE (.json, .csv, .xlsx), or - for standard input.")
    ] = None,
    *,
    as_: Annotated[str | None, cyclopts.Parameter(name="--as", help="In the name of which user.")] = None,
    file: Annotated[Path | None, cyclopts.Parameter(help="Lines of JSON with method, path and body.")] = None,
    key: Annotated[
        str | None, cyclopts.Parameter(help="The Idempotency-Key; another one each time if left out.")
    ] = None,
    save: Annotated[Path | None, cyclopts.Parameter(help="Write the answer to this file, as for exports.")] = None,
) -> int:
    """Ask the API without a server: all that it can do, with the rights of a user. Without anything, list its paths.

    With --file request by request; it ends with the first that is refused, and may be run again: what was done stays
    done, and is not done twice within a day. The exit code is 1 if the answer is a refusal.
    """
    if file is not None:
        if method is not None:
            raise Refused("give either --file or a single request")
        work = _ask_file(list(_lines(file, as_)))
    elif method is None:
        _print_routes()
        return 0
    elif path is None or not path.startswith("/"):
        raise Refused(f"{method}: of which path? `tollgate ask` lists them")
    elif as_ is None:
        raise Refused("--as: say in whose name; `tollgate user list` lists the users, `tollgate user add` enters one")
    else:
        content, media_type = _content(body)
        work = _ask_once(Request(method, path, as_=as_, key=key), content, media_type, save)
    where = database_settings()
    try:
        return asyncio.run(work)
    except (DatabaseTrouble, Refusal) as error:
        raise Refused(str(error)) from None
    except DRIVER_TROUBLES as error:
        raise Refused(str(explained(error, where))) from None


async def _ask_once(request: Request, content: bytes, media_type: str, save: Path | None) -> int:
    async with _Asked.opened() as asked:
        answer = await asked.ask(request, content, media_type)
    if not answer.is_success:
        _print_problem(answer)
        return 1
    if save is not None:
        try:
            save.write_bytes(answer.body)
        except OSError as error:
            raise Refused(f"--save {save}: {error.strerror}") from None
    elif answer.is_json:
        sys.stdout.write(msgspec.json.format(answer.body, indent=2).decode() + "\n")
    elif answer.body:
        sys.stdout.buffer.write(answer.body)
        sys.stdout.flush()
    return 0


async def _ask_file(lines: list[tuple[str, Request]]) -> int:
    async with _Asked.opened() as asked:
        for where, request in lines:
            content = b"" if request.body is None else msgspec.json.encode(request.body)
            answer = await asked.ask(request, content, "application/json")
            if not answer.is_success:
                err.print(f"{where}: {request.method} {request.path}", markup=False, soft_wrap=True)
                _print_problem(answer)
                return 1
    out.print(f"{len(lines):,} requests, all done", highlight=False)
    return 0


class _Asked:
    """The application, and the keys that were made for this command."""

    def __init__(self, database: Database, http: HttpSettings, engine: EngineSettings) -> None:
        self._database = database
        self._clock = BusinessClock(settable=http.settable_clock)
        self._reference: Reference | None = None
        self._keys: dict[str, str] = {}
        self._app: Litestar = create_app(
            Services(database, http=http, engine=engine, reference=lambda: self._reference, clock=self._clock)
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["_Asked"]:
        """On the database of the settings. The keys end with the block."""
        http = msgspec.structs.replace(
            http_settings(), requests_per_second=_UNLIMITED, requests_burst=_UNLIMITED, logins_per_minute=_UNLIMITED
        )
        async with open_database(database_settings()) as database:
            made = cls(database, http, settings())
            try:
                yield made
            finally:
                await made._end_keys()

    async def ask(self, request: Request, content: bytes, media_type: str) -> Answer:
        """The answer. Raises Refusal where there is no such user."""
        assert request.as_ is not None, "it was checked"
        headers = {"authorization": f"Bearer {await self._key_of(request.as_)}"}
        if content:
            headers["content-type"] = media_type
        if request.method != "GET":
            headers[HEADER] = request.key or tokens.new_token()
        answer = await ask_inside(self._app, request.method, request.path, headers=headers, body=content)
        if self._reference is None and _waits_for_reference(answer):
            # Only some questions need it, and a million prices take their seconds.
            now = await self._clock.now(self._database.pool)
            folder = await read_reference(self._database.pool, at=now)
            self._reference = await asyncio.to_thread(folder.tables)
            answer = await ask_inside(self._app, request.method, request.path, headers=headers, body=content)
        return answer

    async def _key_of(self, name: str) -> str:
        if (found := self._keys.get(name)) is not None:
            return found
        key, now = tokens.new_key(), to_datetime(real_now_us())
        async with change(
            self._database.pool, actor=shell_actor(), reason="tollgate ask", at=now, interface="cli"
        ) as tx:
            record = AccessRecord(tx)
            user = await record.user(name)
            if user is None:
                raise NotThere("user", name)
            asked = NewKeyAsked("tollgate ask", tuple(sorted(ROLE_PERMISSIONS[user.role])), 1)
            await users.add_key(record, tx, shell_actor(), user, asked, key.prefix, key.secret_hash, now)
        self._keys[name] = key.text
        return key.text

    async def _end_keys(self) -> None:
        now = to_datetime(real_now_us())
        # A key that can't be ended now ends by itself within the day.
        with suppress(*DRIVER_TROUBLES):
            for text in self._keys.values():
                prefix = tokens.prefix_of(text)
                assert prefix is not None, "it was made here"
                async with change(
                    self._database.pool, actor=shell_actor(), reason="done", at=now, interface="cli"
                ) as tx:
                    await users.revoke_key(AccessRecord(tx), tx, None, prefix, "tollgate ask has ended", now)


def _waits_for_reference(answer: Answer) -> bool:
    return answer.status == 503 and answer.is_json and str(answer.json().get("type", "")).endswith(":away")


def _content(body: str | None) -> tuple[bytes, str]:
    """The body, and what it is. Raises Refused."""
    if body is None:
        return b"", ""
    if body == "-":
        return sys.stdin.buffer.read(), "application/json"
    if not body.startswith("@"):
        return body.encode(), "application/json"
    path = Path(body[1:])
    if path.suffix not in _MEDIA_TYPES:
        raise Refused(f"{body}: its name must end in one of {', '.join(_MEDIA_TYPES)}, so that its kind is known")
    try:
        return path.read_bytes(), _MEDIA_TYPES[path.suffix]
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def _lines(file: Path, as_: str | None) -> Iterator[tuple[str, Request]]:
    """The requests of a file with their places. Raises Refused with all that is wrong with it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    faults, found = [], []
    times: Counter[bytes] = Counter()
    for number, line in enumerate(content.splitlines(), start=1):
        where = f"{file}:{number}"
        if not line.strip():
            continue
        try:
            request = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            faults.append(f"{where}: {error}")
            continue
        if request.as_ is None and as_ is None:
            faults.append(f'{where}: in whose name? Give "as" here or --as to the command')
        # By what it says, and which of those that say the same: a line keeps its key when another one is mended.
        times[line] += 1
        key = request.key or f"line-{hashlib.sha256(line).hexdigest()[:40]}-{times[line]}"
        found.append((where, msgspec.structs.replace(request, as_=request.as_ or as_, key=key)))
    if faults:
        listed = "\n  ".join(faults)
        raise Refused(f"{file} can't be used, {len(faults)} errors, nothing was done:\n  {listed}")
    yield from found


def _print_problem(answer: Answer) -> None:
    if not answer.is_json:
        err.print(f"{answer.status}: {answer.body[:500]!r}", markup=False, soft_wrap=True)
        return
    problem = answer.json()
    err.print(f"{answer.status} {problem.get('title', '')}: {problem.get('detail', '')}", markup=False, soft_wrap=True)
    for one in problem.get("errors", ()):
        place = one.get("pointer") or one.get("parameter") or one.get("header") or ""
        err.print(f"  {place}: {one.get('detail', '')}", markup=False, soft_wrap=True)
    if problem.get("ask"):
        err.print(f"  ask {problem['ask']}", markup=False, soft_wrap=True)


def _print_routes() -> None:
    """A line each, since paths must be read whole."""
    for one in declared():
        if one.path.startswith("/api/"):
            line = f"{one.method:<6} {one.plain_path}  {one.summary} [{one.requires}]"
            out.print(line, markup=False, highlight=False, soft_wrap=True)
