"""Run capabilities with models that answer over WebSockets."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.cli_runs import transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.speak_runs import ORPHEUS

STREAMING = "nvidia/nemotron-3-asr-streaming-0.6b"
WHISPER = "openai/whisper-large-v3"
PRICES = {STREAMING: "0.0015", WHISPER: "0.0015", ORPHEUS: "15"}


def transcribe_realtime(
    source: Path,
    out: Path,
    server: RunningServer,
    *options: str,
    model: str = STREAMING,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Transcribe with a model of Together that takes no uploads."""
    return transcribe(source, out, server.origin + "/together", "--model", model, *options, env=env)
