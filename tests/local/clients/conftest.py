"""The providers' own SDKs against the built-in server; in the tier ``long``, because the SDKs are large."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.integration import require_integration
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import RECORDINGS
from tests.helpers.transcription_requests import tone_wav
from tests.helpers.visual_samples import DAY, HOUSE, PAGE, serve_folder
from tests.local.clients.document_blocks import KEY, SPEECH


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


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the files that the blocks of guides name."""
    folder = tmp_path_factory.mktemp("media")
    for path, name in ((HOUSE, "house.jpg"), (PAGE, "page.png"), (DAY, "day.mp4"), (SPEECH, "speech.mp3")):
        shutil.copy(path, folder / name)
    with serve_folder(folder) as address:
        yield address


@pytest.fixture(scope="module")
def guide_options() -> dict[str, Any]:
    """Further options of ``servers``, for a module to override."""
    return {}


@pytest.fixture(scope="module")
def servers(guide_options: dict[str, Any]) -> Iterator[tuple[RunningServer, RunningServer]]:
    """A server for the blocks of guides that answers at once, and one whose interpreter runs code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCUMENTS_TEST_KEY", KEY)
        common: dict[str, Any] = {
            "key_env": "DOCUMENTS_TEST_KEY",
            "workers": 1,
            "url_host": ["127.0.0.1"],
            "job_seconds": "0..0",
            **guide_options,
        }
        with running_server(**common) as quick, running_server(engine="local", allow_local_code=True, **common) as code:
            yield quick, code
