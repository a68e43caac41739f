"""A local Prefect server and a worker beside it, which are started and stopped, and the password between them.

The password is made once and kept through ``down``, so that runs and browsers reach a server that comes back.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from mediamill.flows.prefect_runtime import guarded_server
from mediamill.flows.prefect_runtime.browser_login import make_login_page
from mediamill.flows.prefect_runtime.state_files import (
    close_folder_and_files,
    open_private_file,
    read_or_create_private_file,
    write_private_file,
)
from mediamill.tasks.errors import StorageError, UsageError

POOL = "mediamill"
UNREPORTED_FOLDER = "unreported"
"""Folder beside the stored state with how runs ended that a server did not hear of."""
_FIRST_PORT = 4200
_LAST_PORT = 4299
_START_TIMEOUT_SECONDS = 120.0
_STOP_TIMEOUT_SECONDS = 60.0
"""Above the thirty seconds that a worker gives its runs to drain."""
HEALTH_TIMEOUT_SECONDS = 3.0
"""Seconds after which a run goes on without a configured Prefect that does not answer."""
_POLL_SECONDS = 0.25
_MIN_PASSWORD_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class UpState:
    """A local Prefect server, with the worker beside it if there is one.

    ``guarded`` is false for a server without a password, which an older mediamill started.
    """

    pid: int
    api: str
    version: str
    worker: int | None = None
    guarded: bool = False

    def is_running(self) -> bool:
        """Whether the server's process exists and is still Prefect's."""
        return is_prefect(self.pid)

    def save(self) -> None:
        """Store it for later commands."""
        write_private_file(get_state_path(), json.dumps(asdict(self)))


def get_state_path() -> Path:
    """Where the state is stored: ``prefect.json`` in ``$XDG_STATE_HOME/mediamill``, or ``~/.local/state/mediamill``."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base).expanduser() / "mediamill" / "prefect.json"


def load_up_state() -> UpState | None:
    """Load what the last ``up`` stored; None when there is nothing readable."""
    try:
        return UpState(**json.loads(get_state_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


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
    path = _get_login_page_path()
    write_private_file(path, make_login_page(api.removesuffix("/api"), get_password()))
    return path


def get_prefect_home() -> Path:
    """Where Prefect keeps its profiles, and the database of a local server."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()


def close_prefect_home() -> Path | None:
    """Take other users' rights to the folder of Prefect's database; return the folder if there were any."""
    home = get_prefect_home()
    return home if close_folder_and_files(home) else None


def is_prefect(pid: int) -> bool:
    """Whether a process exists, is this user's and runs Prefect: its id may have been reused, also by somebody else."""
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.parent.parent.joinpath("self").exists():
        try:
            return proc.stat().st_uid == os.geteuid() and b"prefect" in proc.read_bytes()
        except OSError:  # it ended meanwhile, or is hidden, as those of other users can be
            return False
    command = ["ps", "-o", "uid=,command=", "-p", str(pid)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    user, _, program = completed.stdout.strip().partition(" ")
    return user == str(os.geteuid()) and "prefect" in program


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
        env = guarded_server.make_server_environment(free, get_password())
        arguments = ["-P", "-m", guarded_server.__name__, str(listener.fileno())]
        process = _spawn_python(arguments, "server", env, pass_fds=(listener.fileno(),))
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while not (is_api_up(api) and process.poll() is None):
        if process.poll() is not None or time.monotonic() >= deadline:
            process.kill()
            raise StorageError(
                f"Prefect's server did not start: {_read_last_log_line('server')}",
                hint=f"see {_get_log_path('server')}",
            )
        time.sleep(_POLL_SECONDS)
    state = UpState(process.pid, api, version("prefect"), guarded=True)
    state.save()
    return state


def start_worker(state: UpState, pool: str) -> UpState:
    """Start a process worker for ``pool`` in the background; the pool is created where it does not exist."""
    env = {**os.environ, "PREFECT_API_URL": state.api, "PREFECT_API_AUTH_STRING": get_password()}
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
        f"mediamill-{socket.gethostname()}",
    ]
    state = replace(state, worker=_spawn_python(command, "worker", env).pid)
    state.save()
    return state


def stop_server() -> UpState | None:
    """Stop the worker, whose runs drain, then the server; None when neither of ours is running."""
    state = load_up_state()
    get_state_path().unlink(missing_ok=True)
    _get_login_page_path().unlink(missing_ok=True)
    if state is None:
        return None
    stopped = [_terminate(pid) for pid in (state.worker, state.pid) if pid is not None]
    return state if any(stopped) else None


def _terminate(pid: int) -> bool:
    """End a Prefect process: SIGTERM first, SIGKILL when it does not exit in time. False when there was none."""
    if not is_prefect(pid):
        return False
    os.kill(pid, signal.SIGTERM)
    kill_time = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while is_prefect(pid):
        if time.monotonic() >= kill_time:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(_POLL_SECONDS)
    return True


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


def _get_login_page_path() -> Path:
    return get_state_path().with_name("open-prefect.html")


def _get_log_path(name: str) -> Path:
    return get_state_path().with_name(f"{name}.log")


def _read_last_log_line(name: str) -> str:
    lines = [line.strip() for line in _get_log_path(name).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
