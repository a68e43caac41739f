"""The worker: a process that evaluates one request after another and is ended by the kernel at its limits.

It trusts its parent, which sends pickled requests. Its parent does not trust it: a template might break out of its
sandbox here. So its replies are JSON, and its environment holds no keys.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mediamill.tasks.bounded.limits import (
    DEPTH_MESSAGE,
    LIMIT_KIND,
    MAX_CPU_SECONDS,
    MAX_MEMORY_BYTES,
    MEMORY_MESSAGE,
    WorkFailed,
)

HEADER = struct.Struct("!Q")
"""Before each message: its length."""
MEMORY_EXIT_CODE = 77
FUNCTIONS = {
    "check_template": "templates",
    "fill_template": "templates",
    "evaluate": "expression_language",
    "find_violation": "schema_check",
}
"""What a request may call, and the module beside this one that has it."""

_MEMORY_CHECK_SECONDS = 0.1


def main() -> None:
    """Answer requests until the parent closes the connection."""
    connection = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the default ends the process, even inside one long operation of C
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this process
    is_limited = False
    while (request := receive(connection)) is not None:
        name, arguments = pickle.loads(request)  # noqa: S301 - only the parent holds the other end
        function = _load_function(name)
        if not is_limited:  # after the imports, which are not what is limited
            _limit_memory()
            is_limited = True
        connection.sendall(_frame(_evaluate(function, arguments)))


def receive(connection: socket.socket) -> bytes | None:
    """The next message; None at the end of the connection."""
    header = _receive_exactly(connection, HEADER.size)
    return None if header is None else _receive_exactly(connection, HEADER.unpack(header)[0])


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        block = connection.recv(min(size - len(data), 2**20))
        if not block:
            return None
        data += block
    return bytes(data)


def _frame(message: bytes) -> bytes:
    return HEADER.pack(len(message)) + message


def _load_function(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"mediamill.tasks.bounded.{FUNCTIONS[name]}"), name)
    return function


def _evaluate(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Call the function within the limit of processor time; its result or failure as JSON."""
    signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS)
    try:
        return json.dumps({"value": function(*arguments)}).encode()
    except WorkFailed as error:
        failure = [error.kind, error.message]
    except MemoryError:
        failure = [LIMIT_KIND, MEMORY_MESSAGE]
    except RecursionError:
        failure = [LIMIT_KIND, DEPTH_MESSAGE]
    except Exception as error:  # noqa: BLE001 - becomes the item's failure
        failure = ["invalid", f"{type(error).__name__}: {error}"[:500]]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return json.dumps({"failure": failure}).encode()


def _limit_memory() -> None:
    """Let the process have the limit beyond what it has now: by the kernel on Linux, by a watching thread elsewhere."""
    if sys.platform == "linux":
        in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        limit = in_use + MAX_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    else:  # macOS knows the limit and does not keep it
        threading.Thread(target=_watch_memory, args=(_max_resident_bytes() + MAX_MEMORY_BYTES,), daemon=True).start()


def _watch_memory(limit: int) -> None:
    while _max_resident_bytes() < limit:
        time.sleep(_MEMORY_CHECK_SECONDS)
    os._exit(MEMORY_EXIT_CODE)


def _max_resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        main()
