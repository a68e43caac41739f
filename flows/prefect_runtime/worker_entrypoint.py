"""The process that a worker starts for each flow run: Prefect's engine runs in a session of its own behind it.

A process worker that is stopped kills the processes it started at once. It kills this one; the engine notices that the
lifeline, a pipe between the two, is closed, drains the run and reports to Prefect itself how it ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

LIFELINE = "MEDIAMILL_LIFELINE"
"""The environment variable that holds the pipe's descriptor in the engine."""
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
    is_cut = False

    def on_signal(_: int, __: FrameType | None) -> None:
        nonlocal is_cut
        if not is_cut:
            is_cut = True
            os.close(write_end)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return engine.wait()


def on_worker_exit(callback: Callable[[], None]) -> None:
    """Call ``callback`` once the process that started this one has ended or was asked to stop."""
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is None:
        return
    _survive_closed_terminal()

    def wait(lifeline: int) -> None:
        while os.read(lifeline, 1):
            pass
        os.close(lifeline)
        callback()

    threading.Thread(target=wait, args=(int(descriptor),), name="lifeline", daemon=True).start()


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
