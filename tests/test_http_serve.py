"""The API on a real socket: listening, TLS, stopping in good order, and the process `tollgate console`."""

import asyncio
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from api import GENEROUS
from msgspec import Struct
from msgspec.structs import replace
from postgres import TestedDatabase

from connectors.http import Services, create_app
from connectors.http.call import Call
from connectors.http.route import PUBLIC, get
from connectors.http.serve import serving
from connectors.postgres.database import Database
from connectors.settings import BadSettings, HttpSettings
from deploy.kafka.certificates import make_certificates

ROOT = Path(__file__).parent.parent
FREE = replace(GENEROUS, port=0)


class Done(Struct, frozen=True):
    """Done."""

    done: bool


def test_it_serves_while_the_block_runs_and_no_longer(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        app = create_app(Services(db, http=FREE))
        async with httpx.AsyncClient() as client:
            async with serving(app, FREE) as address:
                assert (await client.get(f"{address}/ready")).json() == {"ready": True}
                assert (await client.get(f"{address}/api/providers")).status_code == 401
                assert (await client.get(f"{address}/%ff")).status_code == 404
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{address}/live")

    database.run(story)


def test_requests_under_way_are_answered_before_it_stops(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        @get("/api/test/wait", requires=PUBLIC, summary="Waits")
        async def wait(call: Call) -> Done:
            begun.set()
            await go_on.wait()
            return Done(True)

        app = create_app(Services(db, http=FREE), handlers=[wait])
        async with httpx.AsyncClient() as client:
            async with serving(app, FREE) as address:
                asking = asyncio.create_task(client.get(f"{address}/api/test/wait"))
                await begun.wait()
                asyncio.get_running_loop().call_later(0.2, go_on.set)
            answer = await asking
        assert answer.json() == {"done": True}

    database.run(story)


def test_a_port_that_is_taken_is_told_with_the_remedy(database: TestedDatabase) -> None:
    async def story(db: Database) -> None:
        app = create_app(Services(db, http=FREE))
        async with serving(app, FREE) as address:
            taken = replace(FREE, port=int(address.rpartition(":")[2]))
            with pytest.raises(BadSettings, match=r"is taken; choose another one with --port or TOLLGATE_HTTP_PORT"):
                async with serving(app, taken):
                    pass

    database.run(story)


@pytest.mark.parametrize(("host", "remedy"), [("192.0.2.77", "can't be listened on"), ("nowhere", "is no address")])
def test_an_address_that_is_not_this_machines_is_told(database: TestedDatabase, host: str, remedy: str) -> None:
    async def story(db: Database) -> None:
        with pytest.raises(BadSettings, match=remedy):
            async with serving(create_app(Services(db)), HttpSettings(host=host, port=0)):
                pass

    database.run(story)


def test_with_a_certificate_it_speaks_tls_and_nothing_else(database: TestedDatabase, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    http = replace(FREE, tls_cert_file=tmp_path / "broker.crt", tls_key_file=tmp_path / "broker.key")

    async def story(db: Database) -> None:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        async with (
            serving(create_app(Services(db, http=http)), http) as address,
            httpx.AsyncClient(verify=trusting) as client,
        ):
            assert address.startswith("https://")
            live = await client.get(f"{address}/live")
            assert live.json() == {"live": True}
            assert "strict-transport-security" in live.headers
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://{address.removeprefix('https://')}/live")

    database.run(story)


def test_files_that_are_no_certificate_are_told(database: TestedDatabase, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense")
    http = replace(FREE, tls_cert_file=tmp_path / "x.pem", tls_key_file=tmp_path / "x.pem")

    async def story(db: Database) -> None:
        with pytest.raises(BadSettings, match="PEM files that belong together"):
            async with serving(create_app(Services(db, http=http)), http):
                pass

    database.run(story)


# -- the process ------------------------------------------------------------------------------------------------------


def environment(database: TestedDatabase) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "TOLLGATE_DATABASE_DSN": database.dsn,
        # Nobody listens there: the office goes on without Kafka.
        "TOLLGATE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "TOLLGATE_KAFKA_CONNECT_TIMEOUT_MS": "500",
    }


def tollgate(database: TestedDatabase, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from connectors.cli import main; main()", *arguments],
        env=environment(database),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def console(database: TestedDatabase, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and its address."""
    log = folder / "console.log"
    with log.open("w") as standard_error:
        process = subprocess.Popen(
            [sys.executable, "-c", "from connectors.cli import main; main()", "console", "--port", "0"],
            env=environment(database),
            cwd=folder,
            stderr=standard_error,
            text=True,
        )
        try:
            until = time.monotonic() + 60
            while (serving_at := re.search(r"serving at (\S+)", log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield process, serving_at[1]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_the_first_administrator_comes_in_by_a_token_from_the_command_line(
    database: TestedDatabase, tmp_path: Path
) -> None:
    made = tollgate(database, "user", "add", "chief", "--role", "administrator", "--json", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]
    password = "верная лошадь батарея"

    with console(database, tmp_path) as (process, address), httpx.Client(base_url=address) as client:
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert "reference data" in ready.json()["detail"]
        used = client.post("/api/session/token", json={"name": "chief", "token": token, "password": password})
        assert used.status_code == 204, used.text
        signed_in = client.post("/api/session", json={"name": "chief", "password": password})
        assert signed_in.status_code == 200, signed_in.text
        assert client.get("/api/users").json()["items"][0]["name"] == "chief"

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    log = (tmp_path / "console.log").read_text()
    assert "stopped" in log
    assert "Traceback" not in log
    assert password not in log
    assert token not in log


def test_users_are_looked_after_at_the_command_line(database: TestedDatabase, tmp_path: Path) -> None:
    def user(*arguments: str, code: int = 0) -> str:
        ran = tollgate(database, "user", *arguments, folder=tmp_path)
        assert ran.returncode == code, ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    assert "sets the password of chief" in user("add", "chief", "--role", "administrator")
    assert "there is a user 'chief' already" in user("add", "chief", "--role", "support", code=2)
    assert "can't be a user's name" in user("add", "Chief!", "--role", "support", code=2)
    assert "last administrator" in user("change", "chief", "--reason", "x", "--disabled", code=2)
    assert "there is no user 'nobody'" in user("token", "nobody", code=2)
    key = json.loads(user("key", "chief", "--purpose", "a test", "--scope", "users.see", "--json"))
    assert key["scopes"] == ["users.see"]
    assert "/scopes/0" in user("key", "chief", "--purpose", "a test", "--scope", "money.pay", code=2)
    assert "counts no more" in user("revoke", key["prefix"], "--reason", "a test")
    assert [one["name"] for one in json.loads(user("list", "--json"))] == ["chief"]
