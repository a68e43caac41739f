"""The built-in server as a child process, for tests: it counts, bills and breaks on command."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mediamill.tasks.local.spawn import Server, spawn

JSON_TYPE = {"Content-Type": "application/json"}
"""The header of a request whose body is JSON already."""

_PAGE = 10_000


class RunningServer:
    """A running server: where it is, what it counted, and what it should do wrong."""

    def __init__(self, server: Server, key: str | None = None) -> None:
        self.server = server
        self.key = key
        self.origin = server.origin

    def bill(self) -> dict[str, Any]:
        """The bill with all its calls."""
        page = bill = self._call_control_api("GET", "bill?offset=0")
        while len(page["calls"]) == _PAGE:
            page = self._call_control_api("GET", f"bill?offset={len(bill['calls'])}")
            bill["calls"] += page["calls"]
        return bill

    def faults(self, *rules: dict[str, Any]) -> None:
        """Replace the fault rules: ``{"match": {"nth": 3}, "fault": {"kind": "reset"}, "times": 1}``."""
        self._call_control_api("POST", "faults", list(rules))

    def limits(self, **rates: float | str | None) -> None:
        """Change limits while it runs: ``rpm``, ``tpm``, ``rpd``, ``audio_per_hour``, ``burst``, ``limiter``."""
        self._call_control_api("POST", "limits", rates)

    def reset(self) -> None:
        """Forget the bill and the fault rules."""
        self._call_control_api("POST", "reset", {})

    def _call_control_api(
        self, method: str, path: str, body: Sequence[Any] | dict[str, Any] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = JSON_TYPE | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.origin}/mediamill/{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


@contextmanager
def running_server(*, engine: str = "echo", **options: Any) -> Iterator[RunningServer]:
    """A server for as long as the context lasts.

    Args:
        engine: ``echo``, ``local``, ``whisper``, or a class as ``module:Class``.
        **options: those of ``mediamill serve`` with underscores, see :func:`mediamill.tasks.local.spawn.spawn`.
    """
    with spawn(engine, **options) as server:
        yield RunningServer(server, os.environ.get(options.get("key_env") or ""))
