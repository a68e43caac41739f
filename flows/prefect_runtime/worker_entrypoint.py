"""The process that a worker starts for each flow run: Prefect's engine runs in a session of its own behind it.

A process worker that is stopped kills the processes it started at once. It kills this one; the engine notices that the
lifeline, a pipe between the two, is closed, drains the run and reports to Prefect itself how it ended. The engine is
registered for ``mediamill down``, which waits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from mediamill.flows.prefect_runtime.up_state import RUNS_VARIABLE

LIFELINE = "MEDIAMILL_LIFELINE"
"""The environment variable that holds the pipe's descriptor in the engine."""
WORKER_DRAIN_SECONDS = 15.0
"""Time that a run's requests in flight get once its worker stops: ``mediamill down`` waits 26 s for all of the run."""
_REQUEST_TIMEOUT_SECONDS = "5"
"""Maximum time of a request to Prefect's API; the engine's default waits a minute for a server that hangs."""


def main() -> int:
    """Run ``prefect.engine`` and return its exit code. A signal closes the lifeline instead of ending the run."""
    read_end, write_end = os.pipe()
    engine = subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-m", "prefect.engine", *sys.argv[1:]],
        env={"PREFECT_API_REQUEST_TIMEOUT": _REQUEST_TIMEOUT_SECONDS, **os.environ, LIFELINE: str(read_end)},
        pass_fds=(read_end,),
        start_new_session=True,
    )
    os.close(read_end)
    registered = _register(engine.pid)
    is_cut = False

    def on_signal(_: int, __: FrameType | None) -> None:
        nonlocal is_cut
        if not is_cut:
            is_cut = True
            os.close(write_end)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        return engine.wait()
    finally:
        if registered is not None:
            registered.unlink(missing_ok=True)


def _register(engine: int) -> Path | None:
    """Write down the engine's process for ``mediamill down``; None for a worker that is not of ``up``."""
    folder = os.environ.get(RUNS_VARIABLE)
    if folder is None:
        return None
    file = Path(folder) / str(engine)
    with contextlib.suppress(OSError):
        file.touch(mode=0o600)
    return file


_worker_gone = threading.Event()
_exit_callbacks: list[Callable[[], None]] = []
"""At most one: the steps of a chain are runs that follow one another in this process."""


def on_worker_exit(callback: Callable[[], None]) -> None:
    """Call ``callback`` once the process that started this one has ended or was asked to stop; at once if it has.

    It replaces the one of an earlier call.
    """
    _exit_callbacks[:] = [callback]
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is not None:
        _survive_closed_terminal()
        threading.Thread(target=_watch_lifeline, args=(int(descriptor),), name="lifeline", daemon=True).start()
    elif _worker_gone.is_set():
        callback()


def _watch_lifeline(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.close(lifeline)
    _worker_gone.set()
    for callback in [*_exit_callbacks]:
        callback()


def _survive_closed_terminal() -> None:
    """Have Prefect's console stop printing once the worker, which reads what it prints, is gone.

    Rich would raise SystemExit in the thread that logs: in the one of the event loop, no request would ever end.
    """
    from rich.console import Console

    def be_quiet(console: Console) -> None:
        console.quiet = True

    Console.on_broken_pipe = be_quiet  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    sys.exit(main())
