"""The built-in server as a child process, for tests: it counts, bills and breaks on command."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mediamill.tasks.local.spawn import Server, make_flags, spawn
from mediamill.tasks.system.child_environment import build_environment_without_keys
from tests.helpers.forked_cli import ForkedProcess

JSON_TYPE = {"Content-Type": "application/json"}
"""The header of a request whose body is JSON already."""

_PAGE = 10_000
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RunningServer:
    """A running server: where it is, what it counted, and what it should do wrong."""

    def __init__(self, server: Server, key: str | None = None) -> None:
        self.server = server
        self.key = key
        self.origin = server.origin
        self._limits_changed = False

    def bill(self, first_call: int = 0) -> dict[str, Any]:
        """The bill with its calls from index ``first_call`` on."""
        page = bill = self._call_control_api("GET", f"bill?offset={first_call}")
        while len(page["calls"]) == _PAGE:
            page = self._call_control_api("GET", f"bill?offset={first_call + len(bill['calls'])}")
            bill["calls"] += page["calls"]
        return bill

    def faults(self, *rules: dict[str, Any]) -> None:
        """Replace the fault rules: ``{"match": {"nth": 3}, "fault": {"kind": "reset"}, "times": 1}``."""
        self._call_control_api("POST", "faults", list(rules))

    def limits(self, **rates: float | str | None) -> None:
        """Change limits while it runs: ``rpm``, ``tpm``, ``rpd``, ``audio_per_hour``, ``burst``, ``limiter``."""
        self._limits_changed = True
        self._call_control_api("POST", "limits", rates)

    def is_reusable(self) -> bool:
        """Whether a reset makes it as new: it lives, has its first limits, and no request is under way."""
        return self.server.process.poll() is None and not self._limits_changed and self.bill()["in_flight"] == 0

    def reset(self) -> None:
        """Forget the bill and the fault rules."""
        self._call_control_api("POST", "reset", {})

    def _call_control_api(
        self, method: str, path: str, body: Sequence[Any] | dict[str, Any] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = JSON_TYPE | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.origin}/mediamill/{path}", data, headers, method=method)
        with _OPENER.open(request, timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


class SharedServers:
    """Built-in servers that live on from test to test, because each start takes most of a second of processor time.

    At most ``max_kept`` are kept, each with other options; the one that was not needed for longest goes.
    """

    def __init__(self, max_kept: int = 4) -> None:
        self._max_kept = max_kept
        self._running: dict[str, tuple[RunningServer, ExitStack]] = {}

    def take(self, options: Mapping[str, Any]) -> RunningServer:
        """A server with these options of :func:`running_server`, with no trace of earlier tests."""
        name = repr(sorted(options.items()))
        server, stack = self._running.pop(name, (None, ExitStack()))
        if server is None or not server.is_reusable():
            stack.close()
            server = stack.enter_context(running_server(**options))
        server.reset()
        self._running[name] = (server, stack)
        while len(self._running) > self._max_kept:
            self._running.pop(next(iter(self._running)))[1].close()
        return server

    def close(self) -> None:
        """End all of them."""
        for _, stack in self._running.values():
            stack.close()
        self._running.clear()


@contextmanager
def running_server(*, engine: str = "echo", **options: Any) -> Iterator[RunningServer]:
    """A server for as long as the context lasts.

    Args:
        engine: ``echo``, ``local``, ``whisper``, or a class as ``module:Class``.
        **options: those of ``mediamill serve`` with underscores, see :func:`mediamill.tasks.local.spawn.spawn`.
    """
    with _fork(**options) if engine == "echo" and sys.platform == "linux" else spawn(engine, **options) as server:
        yield RunningServer(server, os.environ.get(options.get("key_env") or ""))


def _fork(**options: Any) -> Server:
    """A server with the engine ``echo`` that has everything imported; the other engines start processes of their own.

    Raises:
        AssertionError: when it does not start.
    """
    env = build_environment_without_keys(keep=options.get("key_env"))
    arguments = ["--parent", str(os.getpid()), "--engine", "echo", *make_flags({"port": 0, **options})]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    (stdin, stdin_end), (stdout_end, stdout) = os.pipe(), os.pipe()
    process = ForkedProcess("server", arguments, env, (stdin, stdout, log.fileno()))
    os.close(stdin)
    os.close(stdout)
    process.stdin, process.stdout = os.fdopen(stdin_end, "wb"), os.fdopen(stdout_end, "rb")
    line = process.stdout.readline()
    log.seek(0)
    assert line, log.read()
    ready = json.loads(line)
    assert ready["ready"], ready
    return Server(ready["origin"], ready["engine"], process, log)
