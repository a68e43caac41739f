"""What the clients transcribe: made tones, and real speech where it lies."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SAMPLES = Path(os.environ.get("MEDIAMILL_SAMPLES", _ROOT.parent / "shared" / "samples"))


def recordings() -> list[Path]:
    """Short recordings of English speech: the project's own, then the samples'."""
    own = _ROOT / "data" / "samples" / "recordings"
    found = [p for p in sorted(own.glob("*")) if p.suffix in (".wav", ".mp3", ".flac", ".m4a", ".webm")]
    return [*found[:1], *sorted((_SAMPLES / "speech" / "lj").glob("*"))[:1]]
