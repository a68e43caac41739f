"""A chaos server as a child process, for as long as a test wants it, and its log."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tests.helpers.chaos.plan import Plan
from tests.helpers.paths import ROOT


@dataclass(frozen=True)
class Request:
    """A request as the server saw it. Times are seconds since the first one; ``ended_at`` is None if it hung.

    ``kind`` is ``ok``, ``slow``, ``limit`` (refused by a limit) or a fault; ``nth`` counts requests of one prompt.
    """

    arrived_at: float
    ended_at: float | None
    kind: str
    prompt: str
    model: str
    nth: int
    billed_usd: Decimal

    @property
    def is_answered(self) -> bool:
        """Whether a whole answer was sent."""
        return self.kind in ("ok", "slow")

    @property
    def is_refused(self) -> bool:
        """Whether the server answered 429."""
        return self.kind in ("limit", "rate_limit", "rate_limit_hint")


class ChaosProcess:
    """A running chaos server.

    Attributes:
        origin: where it listens, for ever.
    """

    def __init__(self, process: subprocess.Popen[str], origin: str, log_path: Path) -> None:
        self._process = process
        self.origin = origin
        self.log_path = log_path

    def follow(self, plan: Plan) -> None:
        """Follow another plan from now on; the time goes on from the first request."""
        assert self._process.stdin is not None
        self._process.stdin.write(plan.to_json() + "\n")
        self._process.stdin.flush()

    def read_requests(self) -> list[Request]:
        """All requests that ended so far, and those that hang, by the time they arrived."""
        return read_log(self.log_path)

    def read_began_at(self) -> float:
        """When the first request came, on the clock of :func:`time.monotonic`."""
        with self.log_path.open(encoding="utf-8") as log:
            began_at: float = json.loads(log.readline())["began_at"]
        return began_at


@contextmanager
def running_chaos_server(plan: Plan, folder: Path, name: str = "chaos") -> Iterator[ChaosProcess]:
    """Run a chaos server whose log is ``folder/NAME.jsonl``; it ends with the block."""
    log_path = folder / f"{name}.jsonl"
    command = [sys.executable, "-m", "tests.helpers.chaos.server", str(log_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(plan.to_json() + "\n")
        process.stdin.flush()
        try:
            yield ChaosProcess(process, f"http://127.0.0.1:{int(process.stdout.readline())}", log_path)
        finally:
            process.stdin.close()
            process.wait(timeout=10)


def read_log(path: Path) -> list[Request]:
    """The requests of a server's log, by the time they arrived."""
    requests = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        record = json.loads(line)
        del record["began_at"]
        requests.append(Request(**record | {"billed_usd": Decimal(record["billed_usd"])}))
    return sorted(requests, key=lambda request: request.arrived_at)
