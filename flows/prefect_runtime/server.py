"""A local Prefect server and a worker beside it, which are started and stopped, and the password between them.

The password is made once and kept through ``down``, so that runs and browsers reach a server that comes back.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from mediamill.flows.prefect_runtime import guarded_server
from mediamill.flows.prefect_runtime.browser_login import make_login_page
from mediamill.flows.prefect_runtime.state_files import (
    close_folder_and_files,
    make_state_folder,
    open_private_file,
    read_or_create_private_file,
    write_private_file,
)
from mediamill.flows.prefect_runtime.up_state import RUNS_VARIABLE, UpState, get_runs_folder, get_state_path
from mediamill.tasks.errors import StorageError, UsageError

POOL = "mediamill"
UNREPORTED_FOLDER = "unreported"
"""Folder beside the stored state with how runs ended that a server did not hear of."""
_FIRST_PORT = 4200
_LAST_PORT = 4299
_START_TIMEOUT_SECONDS = 120.0
HEALTH_TIMEOUT_SECONDS = 3.0
"""Seconds after which a run goes on without a configured Prefect that does not answer."""
_POLL_SECONDS = 0.25
_MIN_PASSWORD_CHARACTERS = 12


def get_password() -> str:
    """The password of this user's local Prefect server, as ``user:password``; made where there is none yet.

    Raises:
        StorageError: when its file cannot be kept from other users, or holds none: then everyone would have it.
    """
    path = get_state_path().with_name("prefect-password")
    password = read_or_create_private_file(path, f"mediamill:{secrets.token_urlsafe(32)}").strip()
    if len(password.partition(":")[2]) < _MIN_PASSWORD_CHARACTERS or not (
        password.isascii() and password.isprintable()
    ):
        raise StorageError(
            f"{path} holds no user:password of {_MIN_PASSWORD_CHARACTERS} or more characters",
            hint="remove it for a new one: mediamill down, remove the file, mediamill up",
        )
    return password


def write_login_page(api: str) -> Path:
    """Write the page that logs a browser in to the server, for its owner alone; return where it is."""
    path = get_login_page_path()
    write_private_file(path, make_login_page(api.removesuffix("/api"), get_password()))
    return path


def get_prefect_home() -> Path:
    """Where Prefect keeps its profiles, and the database of servers that are not ours."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()


def get_database_path() -> Path:
    """The server's database, which no other Prefect opens: another version would change its tables."""
    return get_state_path().with_name("prefect.db")


def find_earlier_deployments() -> list[str]:
    """The deployments that a mediamill of before made in the database of Prefect's home, while ours does not exist."""
    earlier = get_prefect_home() / "prefect.db"
    if get_database_path().exists() or not earlier.exists():
        return []
    query = (
        "SELECT flow.name || '/' || deployment.name FROM deployment JOIN flow ON flow.id = deployment.flow_id "
        """WHERE deployment.tags LIKE '%"mediamill"%' ORDER BY 1"""
    )
    try:
        with closing(sqlite3.connect(f"{earlier.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return [str(name) for (name,) in database.execute(query)]
    except sqlite3.Error:
        return []


def close_prefect_home() -> Path | None:
    """Take other users' rights to Prefect's folder, where servers of before kept data; the folder if there were any."""
    home = get_prefect_home()
    return home if close_folder_and_files(home) else None


def is_api_up(api: str) -> bool:
    """Whether a Prefect API answers within three seconds."""
    import httpx

    try:
        return (
            httpx.get(f"{api.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_SECONDS).status_code
            < httpx.codes.INTERNAL_SERVER_ERROR
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False


def start_server(port: int | None) -> UpState:
    """Start Prefect's server in the background, with a password and a guard, and wait until it answers.

    Args:
        port: the port to listen on; None for 4200, or the next free one.

    Raises:
        UsageError: when the port is taken.
        StorageError: when the server does not start; its log has the reason.
    """
    with _listen(port) as listener:
        free = listener.getsockname()[1]
        api = f"http://127.0.0.1:{free}/api"
        env = guarded_server.make_server_environment(free, get_password(), get_database_path())
        arguments = ["-P", "-m", guarded_server.__name__, str(listener.fileno())]
        process = _spawn_python(arguments, "server", env, pass_fds=(listener.fileno(),))
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while not (is_api_up(api) and process.poll() is None):
        if process.poll() is not None or time.monotonic() >= deadline:
            process.kill()
            raise _make_start_error()
        time.sleep(_POLL_SECONDS)
    started = datetime.now().astimezone().isoformat(timespec="minutes")
    state = UpState(process.pid, api, version("prefect"), guarded=True, started=started, python=sys.prefix)
    state.save()
    return state


def _make_start_error() -> StorageError:
    """Why the server did not start."""
    log = _get_log_path("server")
    if "Can't locate revision" in log.read_text(errors="replace"):
        return StorageError(
            f"{get_database_path()} was written by a newer Prefect than this environment's {version('prefect')}",
            hint="start it from the environment that wrote it, or move that file away and deploy again",
        )
    return StorageError(f"Prefect's server did not start: {_read_last_log_line('server')}", hint=f"see {log}")


def get_worker_name(host: str) -> str:
    """The name in Prefect of the worker that ``mediamill up`` starts on a machine."""
    return f"mediamill-{host}"


def start_worker(state: UpState, pool: str) -> UpState:
    """Start a process worker for ``pool`` in the background; the pool is created where it does not exist."""
    runs = get_runs_folder()
    make_state_folder(runs)
    env = {**os.environ, "PREFECT_API_URL": state.api, "PREFECT_API_AUTH_STRING": get_password()}
    env[RUNS_VARIABLE] = str(runs)
    command = [
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        pool,
        "--type",
        "process",
        "--name",
        get_worker_name(socket.gethostname()),
    ]
    worker = _spawn_python(command, "worker", env).pid
    state = replace(state, worker=worker, pool=pool, worker_variables=sorted(os.environ))
    state.save()
    return state


def _listen(requested: int | None) -> socket.socket:
    """Listen on a free port of loopback; the server's process inherits the socket.

    The port is taken from here on. If the server took it itself, seconds after its start, a program of another user
    could take it first, and would be sent the password.

    Raises:
        UsageError: when the port, or every port, is taken.
    """
    for port in [requested] if requested is not None else range(_FIRST_PORT, _LAST_PORT + 1):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(guarded_server.BACKLOG)
        except OSError:
            listener.close()
        else:
            return listener
    if requested is not None:
        raise UsageError(f"port {requested} is taken", hint="leave --port out to use the next free one")
    raise UsageError(f"ports {_FIRST_PORT} to {_LAST_PORT} are all taken", hint="choose another with --port")


def _spawn_python(
    arguments: list[str], name: str, env: dict[str, str], pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start Python in a session of its own, so that no terminal ends it; its output goes to a log."""
    with open_private_file(_get_log_path(name)) as file:
        return subprocess.Popen(  # noqa: S603 (our own interpreter, our own arguments)
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=_restore_sigint,  # noqa: PLW1509 (no other thread runs here)
        )


def _restore_sigint() -> None:
    """Handle SIGINT again, which a script's ``&`` or cron may ignore: Prefect stops a worker with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def get_login_page_path() -> Path:
    """Where the page is that logs a browser in."""
    return get_state_path().with_name("open-prefect.html")


def _get_log_path(name: str) -> Path:
    return get_state_path().with_name(f"{name}.log")


def _read_last_log_line(name: str) -> str:
    lines = [line.strip() for line in _get_log_path(name).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
