"""How many files and sockets this process may have open (``ulimit -n``), and how many requests fit into that."""

from __future__ import annotations

import contextlib
import resource

from mediamill.tasks.errors import UsageError

_WANTED_FILES = 65_536
"""The soft limit that is set where the hard one allows it."""
_RESERVED_FILES = 40
"""Files beside the requests: journal, parts, media that is decoded, the event loop, workers. Measured: 31 at most."""
_FILES_PER_REQUEST = 2
"""A socket, and the file that is sent or received."""


def raise_open_file_limit() -> None:
    """Raise the soft limit on open files as far as the hard one allows; shells set 1,024 or less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit_by_open_files(concurrency: int) -> int:
    """As many of ``concurrency`` requests in flight as the limit on open files allows.

    Raises:
        UsageError: when it allows none.
    """
    limit = get_open_file_limit()
    if limit is None:
        return concurrency
    allowed = (limit - _RESERVED_FILES) // _FILES_PER_REQUEST
    if allowed < 1:
        least = _RESERVED_FILES + _FILES_PER_REQUEST
        raise UsageError(
            f"this process may have {limit} files open, too few for one request", hint=f"ulimit -n {least} or more"
        )
    return min(concurrency, allowed)


def get_open_file_limit() -> int | None:
    """The soft limit on open files; None when there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
