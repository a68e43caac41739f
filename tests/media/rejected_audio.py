"""Prepare audio that must be rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.wire import AudioLimits
from tests.helpers.audio_files import LIMITS


def get_rejection_kind(path: Path, limits: AudioLimits = LIMITS) -> str:
    """The error kind with which a file is rejected; its message must be a single line."""
    with pytest.raises(BadInput) as caught:
        prepare_audio(path, "0" * 64, limits, path.parent / "scratch")
    assert "\n" not in str(caught.value)
    return caught.value.kind
