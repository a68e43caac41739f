"""Skips tests where this machine cannot lock foreign code down."""

from __future__ import annotations

import ctypes
import platform
import sys

import pytest

from mediamill.tasks.local.sandbox.lockdown import _SYSTEM_CALLS


def _has_landlock() -> bool:
    """True when the kernel reports a version of Landlock."""
    return bool(ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) >= 1)


if not sys.platform.startswith("linux") or platform.machine() not in _SYSTEM_CALLS:
    _why = f"code cannot be locked down on {sys.platform} {platform.machine()}"
elif not _has_landlock():
    _why = "the kernel has no Landlock, so files of others stay readable"
else:
    _why = ""

needs_landlock = pytest.mark.skipif(bool(_why), reason=_why or "never")
