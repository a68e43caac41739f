from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.local_server import RunningServer, running_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def server(shared_server: RunningServer) -> RunningServer:
    """An echo server without a bill, faults or limits of other tests."""
    shared_server.reset()
    return shared_server
