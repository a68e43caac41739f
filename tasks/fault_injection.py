"""Failpoints: named places where a test can make the process die or fail.

In production ``failpoint`` returns at once. ``MEDIAMILL_FAULTS`` arms failpoints for tests, as
``name:nth:action`` separated by commas, e.g. ``journal.replied.after:3:kill``. Actions: ``kill``
(SIGKILL to this process), ``raise`` (a RuntimeError), ``memory`` (a MemoryError), ``enospc``, ``erofs``, ``emfile``
and ``eio`` (the matching OSError).
"""

from __future__ import annotations

import errno
import os
import signal
import threading

FAILPOINTS = (
    "plan.batch.after",
    "call.claimed.after",
    "call.sending.before",
    "call.sending.after",
    "call.wire.after",
    "call.accepted.after",
    "call.replied.after",
    "call.parse",
    "call.settled.after",
    "collect.before",
    "collect.after",
    "shard.outcome.before",
    "shard.outcome.after",
    "journal.commit.before",
    "journal.commit.after",
    "part.write.before",
    "part.rename.before",
    "part.rename.after",
    "part.commit.after",
    "publish.calls.before",
    "publish.report.before",
    "publish.record.before",
    "publish.record.after",
)

_armed: dict[str, tuple[int, str]] = {}
_counts: dict[str, int] = {}
_lock = threading.Lock()


def arm(spec: str) -> None:
    """Arm the failpoints of ``spec``; an empty string disarms all."""
    _armed.clear()
    _counts.clear()
    for part in filter(None, spec.split(",")):
        name, nth, action = part.split(":")
        if name not in FAILPOINTS:
            raise ValueError(f"no failpoint {name!r}")
        _armed[name] = (int(nth), action)


def failpoint(name: str) -> None:
    """Pass a failpoint: nothing happens unless a test has armed it."""
    if not _armed:
        return
    with _lock:
        nth, action = _armed.get(name, (0, ""))
        _counts[name] = count = _counts.get(name, 0) + 1
    if not action or count != nth:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action in ("enospc", "erofs", "emfile", "eio"):
        code = getattr(errno, action.upper())
        raise OSError(code, os.strerror(code), name)
    if action == "memory":
        raise MemoryError
    raise RuntimeError(f"fault injected at {name}")


arm(os.environ.get("MEDIAMILL_FAULTS", ""))
