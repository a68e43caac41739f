"""What ``mediamill up`` remembers of the server and the worker it started, for later runs and for ``down``."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpState:
    """A local Prefect server, and the worker beside it if there is one."""

    pid: int
    api: str
    version: str
    worker: int | None = None

    def running(self) -> bool:
        """Whether the server's process is still there, and still Prefect's."""
        return is_prefect(self.pid)

    def save(self) -> None:
        """Write it down for later commands."""
        path = state_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(path)


def state_path() -> Path:
    """Where it stands: ``prefect.json`` in ``$XDG_STATE_HOME/mediamill``, or ``~/.local/state/mediamill``."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base).expanduser() / "mediamill" / "prefect.json"


def up_state() -> UpState | None:
    """What the last ``up`` wrote; None when there is nothing, or nothing readable."""
    try:
        return UpState(**json.loads(state_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_prefect(pid: int) -> bool:
    """Whether a process is there and runs Prefect: a number alone may belong to somebody else by now."""
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.parent.parent.joinpath("self").exists():
        return proc.exists() and b"prefect" in proc.read_bytes()
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return "prefect" in done.stdout
