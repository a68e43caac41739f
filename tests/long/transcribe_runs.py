"""Transcribing recordings against the engine that reads numbered words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mediamill.tasks.media.encode import RATE
from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import RunningServer

ENGINE = "tests.long.tone_words_engine:ToneWordsEngine"
"""Of the built-in server: reads the numbered words."""


def transcribe_to_row(source: Path, out: Path, server: RunningServer, *options: str) -> dict[str, Any]:
    """The one row of a run that must succeed."""
    done = transcribe(source, out, server.origin, *options)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(out)
    return row


def get_word_positions(row: dict[str, Any]) -> list[tuple[str, int]]:
    """Every word heard and the sample it begins at."""
    return [(w["word"], round(w["start"] * RATE)) for w in row["words"] or ()]
