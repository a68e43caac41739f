"""Transcribe recordings with the engine that recognises numbered words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mediamill.tasks.media.encode import RATE
from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import RunningServer

ENGINE = "tests.long.tone_words_engine:ToneWordsEngine"
"""The built-in server's engine that recognises numbered words."""


def transcribe_to_row(source: Path, out: Path, server: RunningServer, *options: str) -> dict[str, Any]:
    """Transcribe a recording and return its row; the run must succeed."""
    done = transcribe(source, out, server.origin, *options)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    return row


def get_word_positions(row: dict[str, Any]) -> list[tuple[str, int]]:
    """Every recognised word and the sample it begins at."""
    return [(w["word"], round(w["start"] * RATE)) for w in row["words"] or ()]
