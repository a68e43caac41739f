"""``mediamill down``: the worker, its runs and the server are asked to end, and are ended where they do not in time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediamill.flows.prefect_runtime.server import get_login_page_path
from mediamill.flows.prefect_runtime.up_state import (
    UpState,
    find_run_processes,
    get_state_path,
    is_prefect,
    load_up_state,
)
from mediamill.tasks.formatting import pluralize

RUNS_SECONDS = 26.0
"""Seconds in which the worker and its runs end. A run lets its requests in flight end for 15 s, then it publishes."""
SERVER_SECONDS = 29.0
"""Seconds in which everything has ended; the server last, as runs report their end to it."""
_SIGNAL_SECONDS = 23.0
"""Seconds after which a run that has not noticed that its worker is gone gets a signal."""
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Shutdown:
    """What was stopped: the server, how many runs ended by themselves, and how many did not and were killed."""

    state: UpState
    drained: int
    killed: int


def stop_all(tell: Callable[[str], None]) -> Shutdown | None:
    """Stop the worker, whose runs drain, then the server; None when nothing of ours is running.

    What does not end in time is killed: half a minute after the call nothing is left. The journal has what was paid.

    Args:
        tell: gets a line when there are runs to wait for.
    """
    started = time.monotonic()
    state = load_up_state()
    runs = find_run_processes()
    workers = [state.worker] if state is not None and state.worker is not None and is_prefect(state.worker) else []
    servers = [state.pid] if state is not None and state.is_running() else []
    if runs:
        tell(
            f"waiting for {pluralize(len(runs), 'run')}, whose requests in flight may end: at most {RUNS_SECONDS:.0f} s"
        )
    _terminate([*workers, *runs])
    left = _wait_for_end([*workers, *runs], started + RUNS_SECONDS)
    new_runs = [pid for pid in find_run_processes() if pid not in runs]  # started while the worker was ending
    killed = [pid for pid in (*left, *new_runs) if _kill(pid)]
    _terminate(servers)
    for pid in _wait_for_end(servers, started + SERVER_SECONDS):
        _kill(pid)
    find_run_processes()
    get_login_page_path().unlink(missing_ok=True)
    get_state_path().unlink(missing_ok=True)  # last: a `down` that was interrupted can be repeated
    if state is None or not (workers or servers or runs):
        return None
    n_killed = sum(pid not in workers for pid in killed)
    return Shutdown(state, len({*runs, *new_runs}) - n_killed, n_killed)


def _terminate(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _wait_for_end(pids: Sequence[int], deadline: float) -> list[int]:
    """Wait until processes have ended; return those that have not by the deadline."""
    while (left := [pid for pid in pids if is_prefect(pid)]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


def _kill(pid: int) -> bool:
    """Kill a process and those it started; each of ours leads a group of its own. False when it is gone."""
    if not is_prefect(pid):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return True
