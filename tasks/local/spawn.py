"""The server as a child process that ends when its parent does, even by SIGKILL."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import mediamill
from mediamill.tasks.errors import ProviderDown, StorageError, UsageError
from mediamill.tasks.system.child_environment import build_environment_without_keys

_ROOT = Path(mediamill.__file__).parent.parent
"""The folder from which the package is imported."""
_READY_SECONDS = 300.0
"""How long a start may take at most, on a machine that is busy with other things."""
_START_LOOK_SECONDS, _MAX_STILL_LOOKS = 5.0, 6
"""How often a process that is not ready yet is looked at, and looks in a row that find that it gets nothing of the
processor done before it stands still."""
_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 5.0


class KilledAtStart(ProviderDown):
    """The server was ended by a signal before it was ready, or stood still: another start may succeed."""


@dataclass(slots=True)
class Server:
    """A running server.

    Attributes:
        origin: scheme, host and port, e.g. ``http://127.0.0.1:40123``.
        engine: name and version of the engine that answers.
        process: the child.
        token: what its requests need as the API key; None when any will do.
    """

    origin: str
    engine: str
    process: subprocess.Popen[bytes]
    _log: IO[bytes] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    _stood_still: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe_exit(self) -> str | None:
        """How the child ended, in words; None while it runs."""
        code = self.process.poll()
        if code is not None and self._stood_still:
            return "it stood still, answered nothing, and was killed"
        return None if code is None else _describe_exit_code(code)

    def read_processor_time(self) -> str | None:
        """How much of the processor the child has had, as text that changes with it; None where nobody can tell."""
        return _read_processor_time(self.process.pid)

    def end_still(self) -> None:
        """Kill the child, because it stands still; :meth:`describe_exit` says so."""
        self._stood_still = True
        self.process.kill()

    def read_log(self) -> str:
        """Return the last 4096 bytes that it wrote to stderr."""
        return _read_tail(self._log)

    def close(self) -> None:
        """End the child. Does nothing when it has ended already."""
        atexit.unregister(self.close)
        _end_process(self.process)
        self._log.close()


def spawn(
    engine: str = "local",
    *,
    token: str | None = None,
    is_given_up: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Server:
    """Start a server on a free loopback port and wait until it is ready.

    Args:
        engine: ``local`` (pocketsphinx), ``echo``, ``whisper``, or a class as ``module:Class``.
        token: the API key that every request needs. It goes to the child over a pipe, never into its arguments.
        is_given_up: whether nobody waits for the start any more; it ends soon then.
        **options: the options of ``mediamill serve`` with underscores: ``latency="300ms"``, ``rpm=600``,
            ``require_key=True``, ``price={"some-model": "0.006"}``; lists repeat an option.

    Raises:
        UsageError: when it cannot start because of an unknown option or engine, or a missing package.
        KilledAtStart: when a signal ended it, or it stood still.
        StorageError: when it ended, or was not ready in time, for another reason.
    """
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
    command = [sys.executable, "-P", "-m", "mediamill.tasks.local", "--parent", str(os.getpid()), "--engine", engine]
    if token is not None:
        options["token_from_stdin"] = True
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [*command, *make_flags({"port": 0, **options})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={
            **build_environment_without_keys(keep=options.get("key_env")),
            "PYTHONPATH": _build_python_path(),
        },
    )
    try:
        if token is not None:
            _send_token(process, token)
        ready = _read_ready_line(process, log, _Patience(process.pid, is_given_up))
    except BaseException:
        _end_process(process)
        log.close()
        raise
    server = Server(ready["origin"], ready["engine"], process, log, token)
    atexit.register(server.close)
    return server


def make_flags(options: Mapping[str, Any]) -> list[str]:
    """Options of ``mediamill serve``, given with underscores, as its flags."""
    flags: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, Mapping):
            value = list(value.items())  # noqa: PLW2901
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                flags.append(flag)
            elif isinstance(item, tuple):
                flags += [flag, "=".join(map(str, item))]
            elif item is not None and item is not False:
                flags += [flag, str(item)]
    return flags


def _send_token(process: subprocess.Popen[bytes], token: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already: its ready line says why
        process.stdin.write(f"{token}\n".encode())
        process.stdin.flush()


def _build_python_path() -> str:
    """The child's PYTHONPATH, with which it imports the same package as the parent."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{inherited}{os.pathsep}{_ROOT}" if inherited else str(_ROOT)


def _read_ready_line(process: subprocess.Popen[bytes], log: IO[bytes], patience: _Patience) -> dict[str, Any]:
    """Wait for the one line in which the child says that it is ready, or why it is not."""
    assert process.stdout is not None
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(_POLL_SECONDS):
                patience.check()
                continue
            block = os.read(process.stdout.fileno(), 4096)
            if not block:
                break
            line += block
    with contextlib.suppress(ValueError):
        ready: dict[str, Any] = json.loads(line)
        if ready["ready"]:
            return ready
        raise UsageError(ready["error"], hint=ready["hint"])
    code = process.wait(_CLOSE_SECONDS)
    if code < 0:
        hint = "free some memory, then run again to go on" if code == -signal.SIGKILL else None
        raise KilledAtStart(f"the built-in server did not start: {_describe_exit_code(code)}", hint=hint)
    lines = _read_tail(log).strip().splitlines()
    message = f"the built-in server did not start: {lines[-1] if lines else f'it ended with {code}'}"
    raise UsageError(message) if code == UsageError.exit_code else StorageError(message)


class _Patience:
    """How long one waits for a process that starts: longer while it gets on, because the machine may be busy."""

    def __init__(self, pid: int, is_given_up: Callable[[], bool]) -> None:
        self._pid = pid
        self._is_given_up = is_given_up
        self._looks_at = time.monotonic() + _START_LOOK_SECONDS
        self._gives_up_at = time.monotonic() + _READY_SECONDS
        self._processor_time = _read_processor_time(pid)
        self._still_looks = 0

    def check(self) -> None:
        """Take a look, where it is time for one.

        Raises:
            KilledAtStart: when it stands still.
            StorageError: when it takes too long, or nobody waits for it any more.
        """
        if self._is_given_up():
            raise StorageError("the start of the built-in server was given up")
        if time.monotonic() < self._looks_at:
            return
        self._looks_at = time.monotonic() + _START_LOOK_SECONDS
        before, self._processor_time = self._processor_time, _read_processor_time(self._pid)
        is_still = self._processor_time is not None and self._processor_time == before
        self._still_looks = self._still_looks + 1 if is_still else 0
        if self._still_looks >= _MAX_STILL_LOOKS:
            raise KilledAtStart("the built-in server did not start: it stood still, and was killed")
        if time.monotonic() >= self._gives_up_at:
            raise StorageError(
                f"the built-in server was not ready within {_READY_SECONDS:.0f} s",
                hint="see what keeps the machine busy, then run again to go on",
            )


def _read_processor_time(pid: int) -> str | None:
    try:
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            return " ".join(fields[11:13])  # utime and stime: proc(5)
        command = ["ps", "-o", "time=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _describe_exit_code(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed (SIGKILL), as the system does when memory is short"
    return f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"


def _read_tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 4096))
    return log.read().decode("utf-8", "replace")


def _end_process(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()  # before its pipe closes: that ends it too, and the signal would come while it exits
        process.send_signal(signal.SIGCONT)  # one that was stopped heeds no other
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
