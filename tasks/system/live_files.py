"""Small texts that processes of one user show each other for as long as they live: a file each, in one folder.

A lock says that its process lives, so a killed one is gone at once. A number that counts up says that it still runs: a
stopped one counts as gone after ``_LEASE_SECONDS`` of the reader's clock. Nothing is synced to the disk, and nothing is
left of a process that has ended, because others remove its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

_LEASE_SECONDS = 8.0
_MAX_BYTES = 1024


class LiveFile:
    """This process's file, and its view of the others. Files whose names begin with the same topic belong together.

    Args:
        folder: created where it does not exist; only its owner may read it.
        topic: without a dot.
        clock: seconds of this process.

    Raises:
        OSError: when the folder cannot be written, or files there cannot be locked.
    """

    def __init__(self, folder: Path, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._topic, self._clock = folder, topic, clock
        self._path = folder / f"{topic}.{uuid.uuid4().hex}"
        self._count = 0
        self._lock = threading.Lock()  # a thread may still write when the file is closed
        self._is_closed = False
        self._seen: dict[str, tuple[bytes, float]] = {}  # the count of each file, and when it last rose
        new = folder / f".{self._path.name}"  # others look at it only once it is locked
        self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._path)
        except OSError:
            os.close(self._descriptor)
            new.unlink(missing_ok=True)
            raise

    def show(self, text: str) -> None:
        """Replace this process's text, also to say that it still runs.

        Raises:
            OSError: when it cannot be written.
        ValueError: when it is longer than a kilobyte.
        """
        self._count += 1
        data = f"{self._count} {text}".encode()
        if len(data) > _MAX_BYTES:
            raise ValueError(f"a text of {len(data)} bytes, more than {_MAX_BYTES}")
        with self._lock:
            if not self._is_closed:
                os.pwrite(self._descriptor, data.ljust(_MAX_BYTES), 0)

    def read_others(self) -> dict[str, str]:
        """The texts of the processes that run now, by the names of their files.

        Raises:
            OSError: when the folder cannot be read.
        """
        now, texts, seen = self._clock(), {}, {}
        for path in self._folder.glob(f"{self._topic}.*"):
            name = path.name
            count, _, text = (b"" if path == self._path else _read_if_locked(path)).partition(b" ")
            if not count:
                continue
            before, since = self._seen.get(name, (b"", now))
            seen[name] = count, now if count != before else since
            if now - seen[name][1] < _LEASE_SECONDS:
                texts[name] = text.decode(errors="replace").strip()
        self._seen = seen
        return texts

    def close(self) -> None:
        """Remove this process's file."""
        with self._lock:
            self._is_closed = True
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)


def _read_if_locked(path: Path) -> bytes:
    """The content of a file whose process lives; nothing, and the file is removed, where it does not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return os.pread(descriptor, _MAX_BYTES, 0)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b""
