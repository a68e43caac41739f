"""``mediamill up``: what it hands the password to, where it keeps it, and who can read what it keeps."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer, reserved_port, run_up_or_down, wait_until
from tests.helpers.cli_runs import SENTINEL, bare_environment, make_wavs
from tests.helpers.local_server import RunningServer

pytestmark = pytest.mark.long

PASSWORD = re.compile(r"mediamill:[\w-]{43}")
STATE = Path(".local/state/mediamill")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home in which ``up`` is started, and Prefect's folder is open as Prefect leaves it."""
    home = tmp_path / "user"
    (home / ".prefect").mkdir(parents=True)
    (home / ".prefect").chmod(0o755)
    (home / ".prefect" / "profiles.toml").write_text("")
    yield home
    run_up_or_down(home, "down")


def find_with(password: str, *folders: Path) -> list[Path]:
    """The files that contain the password, as it is or in base64."""
    forms = (password.encode(), password.partition(":")[2].encode(), base64.b64encode(password.encode()))
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if any(form in file.read_bytes() for form in forms)]


def find_open_to_others(folder: Path) -> list[Path]:
    """The folder and what is in it, as far as other users have rights to it."""
    return [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_the_password_reaches_worker_runs_and_prefects_commands_and_nobody_else(
    home: Path, own_local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 2)
    up = run_up_or_down(home, "up", "--worker", env={"TOGETHER_API_KEY": SENTINEL})
    assert up.returncode == 0, up.stderr
    assert f"other users could read {home}/.prefect: it is this user's alone now" in up.stdout
    assert not PASSWORD.search(up.stdout + up.stderr)
    shown = run_up_or_down(home, "up", "--show-password").stdout
    [password] = PASSWORD.findall(shown)
    api = json.loads((home / STATE / "prefect.json").read_text())["api"]

    def run(*command: str | Path) -> str:
        environment = {**bare_environment(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    job: list[str | Path] = [
        "transcribe",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        "--provider",
        "together",
        "--yes",
    ]
    job += ["--base-url", f"{own_local_server.origin}/together/v1"]
    assert "flow run at http://127.0.0.1" in run("mediamill", *job)
    address = api.replace("127.0.0.1", "localhost")
    assert "flow run at http://localhost" in run("env", f"PREFECT_API_URL={address}", "mediamill", *job)

    spec = tmp_path / "nightly.yaml"
    spec.write_text(
        f"capability: transcribe\nsource: {tmp_path / 'in'}\nout: {tmp_path / 'worker-out'}\nprovider: together\n"
        f"base_url: {own_local_server.origin}/together/v1\nbudget: 1\n"
    )
    assert "run it now: mediamill run --deployed transcribe/nightly\n" in run("mediamill", "deploy", spec)
    assert "transcribe in: 2 items: Completed" in run("mediamill", "run", "--deployed", "nightly")
    other = tmp_path / "other.yaml"
    other.write_text(spec.read_text().replace("together\nbase_url", "groq\nbudget: 1\n#"))
    refused = run_up_or_down(home, "deploy", str(other))
    assert refused.returncode == 2
    assert "was started without GROQ_API_KEY" in refused.stderr
    script = 'eval "$(mediamill up --print-env)" && prefect deployment run transcribe/nightly --watch'
    assert "Completed" in run("sh", "-c", script)
    assert (tmp_path / "worker-out" / "runs").is_dir()

    state = json.loads((home / STATE / "prefect.json").read_text())
    processes = [psutil.Process(state["pid"]), psutil.Process(state["worker"])]
    assert all(password not in " ".join(process.cmdline()) for process in processes)
    assert processes[0].environ()["PREFECT_SERVER_API_AUTH_STRING"] == password
    assert ["TOGETHER_API_KEY" in process.environ() for process in processes] == [False, True]
    assert find_open_to_others(home / ".prefect") == []
    assert find_open_to_others(home / STATE) == []
    assert find_with(password, home, tmp_path / "out", tmp_path / "worker-out") == [home / STATE / "prefect-password"]


def test_the_database_is_the_servers_own_and_what_another_one_holds_is_told(home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / ".prefect" / "prefect.db")) as earlier, earlier:
        earlier.execute("CREATE TABLE flow (id TEXT, name TEXT)")
        earlier.execute("CREATE TABLE deployment (name TEXT, flow_id TEXT, tags TEXT)")
        earlier.execute("CREATE TABLE alembic_version (version_num TEXT)")
        earlier.execute("INSERT INTO alembic_version VALUES ('of-another-version')")
        earlier.execute("INSERT INTO flow VALUES ('1', 'transcribe')")
        rows = [("nightly", '["mediamill", "transcribe"]'), ("somebody-elses", "[]")]
        earlier.executemany("INSERT INTO deployment VALUES (?, '1', ?)", rows)
    content = (home / ".prefect" / "prefect.db").read_bytes()
    other = f"sqlite+aiosqlite:///{tmp_path}/other.db"
    first = run_up_or_down(home, "up", "--worker", env={"PREFECT_API_DATABASE_CONNECTION_URL": other})
    assert first.returncode == 0, first.stdout + first.stderr
    assert "PREFECT_API_DATABASE_CONNECTION_URL is not used" in first.stdout
    assert "not scheduled here: transcribe/nightly\n" in first.stdout
    assert (home / ".prefect" / "prefect.db").read_bytes() == content
    assert not (tmp_path / "other.db").exists()
    assert (home / STATE / "prefect.db").stat().st_mode & 0o077 == 0

    again = run_up_or_down(home, "up", env={"GROQ_API_KEY": SENTINEL})
    assert f"of {sys.prefix}" in again.stdout
    assert "it has the environment of its start, with TOGETHER_API_KEY\n" in again.stdout
    assert "GROQ_API_KEY of this shell is not in it" in again.stdout
    assert SENTINEL not in (home / STATE / "prefect.json").read_text()
    another_pool = run_up_or_down(home, "up", "--worker", "--pool", "another")
    assert another_pool.returncode == 2
    assert "mediamill down, then mediamill up --worker --pool another" in another_pool.stderr


def test_the_browser_is_logged_in_by_a_page_that_others_cannot_read(home: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    done = run_up_or_down(home, "up", "--open", env={"BROWSER": str(browser)})
    assert done.returncode == 0, done.stderr
    page = home / STATE / "open-prefect.html"
    wait_until(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text(), "the browser to start")
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()
    assert page.stat().st_mode & 0o777 == 0o600
    [password] = PASSWORD.findall(page.read_text())
    assert password not in done.stdout + done.stderr
    assert run_up_or_down(home, "down").returncode == 0
    assert not page.exists()
    assert (home / STATE / "prefect-password").read_text() == password


def test_a_server_of_before_without_a_password_is_refused(home: Path) -> None:
    assert run_up_or_down(home, "up").returncode == 0
    path = home / STATE / "prefect.json"
    state = json.loads(path.read_text())
    del state["guarded"]
    path.write_text(json.dumps(state))
    refused = run_up_or_down(home, "up", "--worker")
    assert refused.returncode == 2
    assert "was started without a password" in refused.stderr
    assert "mediamill down, then mediamill up" in refused.stderr
    assert json.loads(path.read_text())["worker"] is None
    checked = run_up_or_down(home, "doctor")
    assert checked.returncode == 2
    assert "has no password" in checked.stdout


def test_a_wrong_password_costs_a_run_prefect_and_nothing_else(prefect_server: PrefectServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    command = ("transcribe", tmp_path / "in", "--out", tmp_path / "out", "--provider", "local")
    for password in ("mediamill:not-the-password", ""):
        inline = prefect_server.cli(*command, PREFECT_API_AUTH_STRING=password)
        assert inline.returncode == 0, inline.stderr
        assert "refuses the password (PREFECT_API_AUTH_STRING)" in inline.stderr.splitlines()[0]
        refused = prefect_server.cli(*command, "--prefect", PREFECT_API_AUTH_STRING=password)
        assert refused.returncode == 4
        assert "PREFECT_API_AUTH_STRING" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "not-the-password" not in refused.stderr + inline.stderr


@pytest.mark.parametrize("content", [b"", b"\n", b"mediamill:", b"mediamill:short", b"\xff" * 40, b"a:b" + b"\0" * 40])
def test_a_file_without_a_password_is_refused(content: bytes, home: Path) -> None:
    (home / STATE).mkdir(parents=True)
    (home / STATE / "prefect-password").write_bytes(content)
    done = run_up_or_down(home, "up")
    assert done.returncode == 1
    assert "prefect-password holds no user:password" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / STATE / "prefect.json").exists()


def test_a_link_that_leads_nowhere_is_no_password(home: Path) -> None:
    (home / STATE).mkdir(parents=True)
    (home / STATE / "prefect-password").symlink_to(home / "nothing")
    done = run_up_or_down(home, "up")
    assert done.returncode == 1
    assert "prefect-password cannot be read" in done.stderr
    assert not (home / "nothing").exists()


def test_no_other_program_can_take_the_port_while_the_server_starts(home: Path) -> None:
    with reserved_port() as port:
        pass
    command = [sys.executable, "-m", "mediamill.flows.cli", "up", "--port", port]
    tries = 0
    with subprocess.Popen(command, env=bare_environment(home), stdout=subprocess.PIPE, text=True) as up:
        wait_until((home / STATE / "server.log").exists, "the server to start")
        while up.poll() is None:
            with pytest.raises(OSError, match="in use"):
                socket.create_server(("127.0.0.1", int(port))).close()
            tries += 1
            time.sleep(0.05)
    assert up.returncode == 0
    assert tries > 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_not_taken_for_the_server(home: Path, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    (home / STATE).mkdir(parents=True)
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), AnsweringHandler) as server,
        subprocess.Popen(["/bin/sh", "-c", "read line", "prefect"], stdin=subprocess.PIPE, user=65534) as process,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        state = {"pid": process.pid, "api": api, "version": "3", "worker": process.pid, "guarded": True}
        (home / STATE / "prefect.json").write_text(json.dumps(state))
        done = run_up_or_down(
            home, "transcribe", str(tmp_path / "in"), "--provider", "local", "--out", str(tmp_path / "out")
        )
        assert done.returncode == 0, done.stderr
        assert "inline run" in done.stderr
        assert run_up_or_down(home, "down").stdout == "nothing is up\n"
        assert process.poll() is None, "it is not ours to end"
        process.communicate(b"end\n")
        server.shutdown()
    assert AnsweringHandler.requests == []


class AnsweringHandler(BaseHTTPRequestHandler):
    """Says yes to everything, and keeps what it is sent."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer a request."""
        self.requests.append(f"{self.path} {self.headers}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")


def test_a_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    folder = tmp_path / "state" / "mediamill"
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    done = run_up_or_down(tmp_path / "home", "up", env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert done.returncode == 1
    assert f"{folder} belongs to another user" in done.stderr
    assert "Traceback" not in done.stderr
