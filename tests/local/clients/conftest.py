"""The providers' own SDKs against the built-in server; in the tier ``long``, because the SDKs are large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.integration import require_integration
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import RECORDINGS
from tests.helpers.transcription_requests import tone_wav


def pytest_pycollect_makemodule() -> None:
    """Leave this folder out where the SDKs are not installed: its modules import them."""
    require_integration("cohere", "groq", "openai", "together")


@pytest.fixture(scope="module")
def server_options() -> Iterator[dict[str, Any]]:
    """Options of a server that requires a key, as the providers do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIENTS_TEST_KEY", "some-key")
        yield {"key_env": "CLIENTS_TEST_KEY"}


@pytest.fixture(scope="package")
def recognising_server() -> Iterator[RunningServer]:
    """A server that recognises speech."""
    with running_server(engine="local", workers=1) as running:
        yield running


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A tone of three seconds."""
    path = tmp_path / "tone.wav"
    path.write_bytes(tone_wav(3.0))
    return path


@pytest.fixture
def speech() -> Path:
    """A short recording of English speech."""
    return RECORDINGS / "friends.wav"
