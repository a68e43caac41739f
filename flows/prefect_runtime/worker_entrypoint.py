"""What a worker starts for each flow run: Prefect's engine in a session of its own, with a lifeline to this process.

A process worker that is stopped kills what it started, at once and hard. It kills this process; the engine behind
it notices that the lifeline, a pipe, has ended, drains the run, and tells Prefect itself how it ended.
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
"""Names the pipe's descriptor in the engine's environment."""
_REQUEST_TIMEOUT_SECONDS = "5"
"""What Prefect's API has to answer a request; by itself the engine waits a minute for a server that hangs."""


def main() -> int:
    """Run ``prefect.engine``; end as it does. A signal cuts the lifeline instead of the run."""
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

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return engine.wait()


def on_worker_exit(callback: Callable[[], None]) -> None:
    """Call ``act``, once, when the process that attends this one is gone or was asked to stop."""
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is None:
        return

    def wait(lifeline: int) -> None:
        while os.read(lifeline, 1):
            pass
        os.close(lifeline)
        callback()

    threading.Thread(target=wait, args=(int(descriptor),), name="lifeline", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
