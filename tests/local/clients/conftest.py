from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.transcription_requests import tone_wav
from tests.local.clients.speech_recordings import recordings


@pytest.fixture(scope="package")
def shared_server() -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIENTS_TEST_KEY", "some-key")
        with running_server(key_env="CLIENTS_TEST_KEY") as running:
            yield running


@pytest.fixture
def server(shared_server: RunningServer) -> RunningServer:
    """An echo server that wants a key, without traces of other tests."""
    shared_server.reset()
    return shared_server


@pytest.fixture(scope="package")
def hearing() -> Iterator[RunningServer]:
    """A server that really hears."""
    with running_server(engine="local", workers=1) as running:
        yield running


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    path.write_bytes(tone_wav(3.0))
    return path


@pytest.fixture
def speech() -> Path:
    found = recordings()
    if not found:
        pytest.skip("no recordings of speech: neither data/samples/recordings nor MEDIAMILL_SAMPLES exists")
    return found[0]
