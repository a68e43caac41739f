"""Nothing that is imported tells its maker of it: the variables, and what ONNX Runtime leaves in an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mediamill.tasks.system.telemetry import OFF, turn_off_telemetry
from tests.helpers.cli_runs import bare_environment


def test_telemetry_is_off_unless_it_was_turned_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    turn_off_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert os.environ["DO_NOT_TRACK"] == "0"


@pytest.mark.long
@pytest.mark.skipif(find_spec("faster_whisper") is None, reason="the whisper extra is not installed")
def test_speech_detection_queues_no_telemetry(tmp_path: Path) -> None:
    code = (
        "from mediamill.tasks.local.asr_engines.speech_chunks import _find_speech\n"
        "import numpy as np\n"
        "_find_speech(np.zeros(16_000, dtype=np.int16))\n"
        "from huggingface_hub import constants\n"
        "from prefect._internal.analytics.enabled import is_telemetry_enabled\n"
        "from prefect.settings import get_current_settings\n"
        "server = get_current_settings().server.analytics_enabled\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY, is_telemetry_enabled(), server)\n"
    )
    environment = {k: v for k, v in bare_environment(tmp_path / "home").items() if k not in OFF}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False", "False"]
    assert not [path for path in (tmp_path / "home").rglob("*") if "microsoft" in path.name.lower()]
