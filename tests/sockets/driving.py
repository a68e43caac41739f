"""Driving runs whose models answer on sockets."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from tests.faults.driving import SENTINEL, rows, transcribe
from tests.servers import RunningServer
from tests.speaking.driving import ORPHEUS

STREAMING = "nvidia/nemotron-3-asr-streaming-0.6b"
WHISPER = "openai/whisper-large-v3"
PRICES = {STREAMING: "0.0015", WHISPER: "0.0015", ORPHEUS: "15"}


def hear(
    source: Path,
    out: Path,
    server: RunningServer,
    *options: str,
    model: str = STREAMING,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Transcribe with a model of Together's that takes no uploads."""
    return transcribe(source, out, server.origin + "/together", "--model", model, *options, env=env)


def within_the_promise(out: Path, bill: str) -> None:
    """Known cost <= the server's bill <= known cost and the most the unknowns can cost."""
    ledger = rows(out, "calls")
    known = sum((row["cost_usd"] for row in ledger if row["cost_usd"] is not None), Decimal(0))
    most = known + sum((row["cost_max_usd"] for row in ledger if row["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(bill) <= most


def no_key_in(folder: Path, *printed: str) -> None:
    """The sentinel key is in no file and in nothing that was printed."""
    assert not any(SENTINEL in text for text in printed)
    for path in filter(Path.is_file, folder.rglob("*")):
        assert SENTINEL.encode() not in path.read_bytes(), path
