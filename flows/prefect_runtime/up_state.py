"""What ``mediamill up`` stored of the Prefect server, worker and runs it started, and which of them still run."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from mediamill.flows.prefect_runtime.state_files import write_private_file

RUNS_VARIABLE = "MEDIAMILL_UP_RUNS"
"""The environment variable that gives a worker of ``up``, and the runs it starts, the folder with their processes."""


@dataclass(frozen=True, slots=True)
class UpState:
    """A local Prefect server, with the worker beside it if there is one.

    Attributes:
        pid: the server's process.
        api: the address of its API.
        version: of Prefect.
        worker: the worker's process.
        guarded: false for a server without a password, which an older mediamill started.
        started: local time in ISO 8601; None where an older mediamill started it.
        python: the Python environment it runs in, a folder.
        pool: the worker's work pool.
        worker_variables: the names of the variables in the worker's environment, never a value; None if not known.
    """

    pid: int
    api: str
    version: str
    worker: int | None = None
    guarded: bool = False
    started: str | None = None
    python: str | None = None
    pool: str | None = None
    worker_variables: list[str] | None = None

    def is_running(self) -> bool:
        """Whether the server's process exists and is still Prefect's."""
        return is_prefect(self.pid)

    def has_worker(self) -> bool:
        """Whether the worker's process exists and is still Prefect's."""
        return self.worker is not None and is_prefect(self.worker)

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


def get_runs_folder() -> Path:
    """The folder with an empty file for each process of a run that the worker started, named by its id."""
    return get_state_path().with_name("runs")


def find_run_processes() -> list[int]:
    """The processes of the worker's runs. Files of those that have ended are removed."""
    alive = []
    for file in get_runs_folder().glob("[0-9]*"):
        if is_prefect(int(file.name)):
            alive.append(int(file.name))
        else:
            file.unlink(missing_ok=True)
    return alive


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
