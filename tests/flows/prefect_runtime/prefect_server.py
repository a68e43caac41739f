"""A real Prefect server for tests, and what its UI shows."""

from __future__ import annotations

import base64
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

from tests.helpers.cli_runs import bare_environment, confirm

T = TypeVar("T")


class ServerAddress(NamedTuple):
    """The API of a Prefect server that ``mediamill up`` started, and its password."""

    api: str
    password: str

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the password."""
        return {"Authorization": f"Basic {base64.b64encode(self.password.encode()).decode()}"}


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server, called as its UI calls it, and a home for the commands that use it."""

    address: ServerAddress
    home: Path

    @property
    def api(self) -> str:
        """The address of its API."""
        return self.address.api

    def env(self, **more: str) -> dict[str, str]:
        """An environment whose runs report to this server."""
        api = {"PREFECT_API_URL": self.address.api, "PREFECT_API_AUTH_STRING": self.address.password}
        return {**bare_environment(self.home), **api, **more}

    def call_api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the server's API; return the JSON of its reply."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.address.authorization, **get_csrf_headers(self.address)}
        request = urllib.request.Request(f"{self.api}/{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for retries_left in range(20, -1, -1):
            try:
                with opener.open(request, timeout=30) as reply:
                    content = reply.read()
                break
            except urllib.error.HTTPError as error:
                if error.code != 503 or not retries_left:  # its SQLite file is locked now and then
                    raise
                time.sleep(0.2)
        return json.loads(content) if content else None

    def flow_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The flow runs that match, the oldest first."""
        found: list[dict[str, Any]] = self.call_api(
            "POST", "flow_runs/filter", {"flow_runs": filters, "sort": "ID_DESC"}
        )
        return sorted(found, key=lambda run: str(run["expected_start_time"]))

    def flow_run(self, name: str) -> dict[str, Any]:
        """The one flow run of this name."""
        [run] = self.flow_runs(name={"any_": [name]})
        return run

    def newest_run(self, start: str) -> dict[str, Any] | None:
        """The newest flow run whose name starts with ``start``; None while there is none."""
        found = [run for run in self.flow_runs() if run["name"].startswith(start)]
        return found[-1] if found else None

    def state(self, run_id: str) -> dict[str, Any]:
        """The current state of a flow run."""
        state: dict[str, Any] = self.call_api("GET", f"flow_runs/{run_id}")["state"]
        return state

    def wait_for_end(self, run_id: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for a flow run's final state."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_until(lambda: self.state(run_id)["type"] in final, f"run {run_id} to end", seconds)
        return self.state(run_id)

    def task_runs(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The task runs of a flow run, by name."""
        found = self.call_api("POST", "task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {run["name"]: run for run in found}

    def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The artifacts of a flow run, by type."""
        found = self.call_api("POST", "artifacts/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {artifact["type"]: artifact for artifact in found}

    def logs(self, run_id: str) -> list[str]:
        """The log messages of a flow run."""
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return [line["message"] for line in self.call_api("POST", "logs/filter", body)]

    def cli(self, *arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run mediamill to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mediamill.flows.cli", *confirm([*map(str, arguments)])],
            env=self.env(**env),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    def start(self, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
        """Start mediamill in the background."""
        command = [sys.executable, "-m", "mediamill.flows.cli", *confirm([*map(str, arguments)])]
        return subprocess.Popen(command, env=self.env(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def prefect(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a ``prefect`` command."""
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            env=self.env(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (CI may ignore it)
        )

    def run_worker_once(self, pool: str, **env: str) -> str:
        """Run a worker of ``pool`` until all due runs have ended; return its output."""
        command = ("worker", "start", "--pool", pool, "--type", "process", "--run-once")
        with self.prefect(*command, **env) as worker:
            output, _ = worker.communicate(timeout=150)
        return output


@functools.cache
def get_csrf_headers(address: ServerAddress) -> dict[str, str]:
    """The headers without which the server changes nothing."""
    client = uuid.uuid4().hex  # a second token for the same client ends the first
    request = urllib.request.Request(f"{address.api}/csrf-token?client={client}", headers=address.authorization)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
        return {"Prefect-Csrf-Token": json.load(reply)["token"], "Prefect-Csrf-Client": client}


def wait_until(condition: Callable[[], T], event: str, seconds: float = 60) -> Any:
    """Wait for a condition that another process fulfils; return its first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {event}"
        time.sleep(0.1)
    return value


def start_prefect_server(state: Path, *options: str) -> ServerAddress:
    """Run ``mediamill up`` with a home of its own; return the API's address and password."""
    done = run_up_or_down(state, "up", "--print-env", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.removeprefix("export ").partition("=") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == ["PREFECT_API_URL", "PREFECT_API_AUTH_STRING"]
    return ServerAddress(*(value for _, _, value in lines))


@contextmanager
def reserved_port() -> Iterator[str]:
    """Reserve a port while the block runs, also while its server is away.

    On Linux a bound socket that does not listen keeps the port from programs that ask for any free one, and a server
    that asks for this one gets it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        yield port


def run_up_or_down(
    state: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``mediamill up`` or ``down`` with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mediamill.flows.cli", *arguments],
        env={**bare_environment(state), **(env or {})},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def is_alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def find_engine_process(run_id: str) -> psutil.Process:
    """The engine process of a worker's flow run."""
    processes = ((process, process.info) for process in psutil.process_iter(["cmdline", "environ"]))
    [engine] = [
        process
        for process, info in processes
        if "prefect.engine" in (info["cmdline"] or ()) and run_id in (info["environ"] or {}).values()
    ]
    return engine


class DoomedPrefectServer:
    """The Prefect server of one test, which the test kills."""

    def __init__(self, tmp_path: Path, port: str) -> None:
        self.home = tmp_path / "prefect"
        self.port = port
        self.server = PrefectServer(start_prefect_server(self.home, "--port", self.port), tmp_path / "home")

    @property
    def state_folder(self) -> Path:
        """Where `up` keeps what it knows, under this server's home."""
        return self.home / ".local" / "state"

    def start_again(self) -> None:
        """Start it again with `up`, on the same port and database."""
        start_prefect_server(self.home, "--port", self.port)

    def send_signal(self, number: int) -> None:
        """Send a signal to its process."""
        state = json.loads((self.home / ".local/state/mediamill/prefect.json").read_text())
        os.kill(state["pid"], number)
