"""What the clients transcribe: made tones, and real speech where it lies."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.paths import OUTSIDE_SAMPLES, RECORDINGS


def recordings() -> list[Path]:
    """Short recordings of English speech: the project's own, then the samples'."""
    own = RECORDINGS
    found = [p for p in sorted(own.glob("*")) if p.suffix in (".wav", ".mp3", ".flac", ".m4a", ".webm")]
    return [*found[:1], *sorted((OUTSIDE_SAMPLES / "speech" / "lj").glob("*"))[:1]]
