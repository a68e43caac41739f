"""One Prefect server for the tests of all processes: the first test starts it, the last stops it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.prefect_runtime.prefect_server import (
    DoomedPrefectServer,
    PrefectServer,
    ServerAddress,
    reserved_port,
    run_up_or_down,
    start_prefect_server,
)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "prefect"
    shared.mkdir(exist_ok=True)
    users = shared / "users"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        api = start_prefect_server(shared / "home")
        users.write_text(str(_count_users(users) + 1))
        fcntl.flock(lock, fcntl.LOCK_UN)
        yield api
        fcntl.flock(lock, fcntl.LOCK_EX)
        remaining = _count_users(users) - 1
        users.write_text(str(remaining))
        if not remaining:
            run_up_or_down(shared / "home", "down")


def _count_users(users: Path) -> int:
    return int(users.read_text()) if users.exists() else 0


@pytest.fixture
def prefect_server(prefect_api: ServerAddress, tmp_path: Path) -> PrefectServer:
    return PrefectServer(prefect_api, tmp_path / "home")


@pytest.fixture
def doomed_server(tmp_path: Path) -> Iterator[DoomedPrefectServer]:
    with reserved_port() as port:
        server = DoomedPrefectServer(tmp_path, port)
        yield server
        run_up_or_down(server.home, "down")


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """A server that bills its transcriptions as Together does."""
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}
