"""Where the repository and its samples are, and the larger sample collection that a machine may have beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
RECORDINGS = SAMPLES / "recordings"
OUTSIDE_SAMPLES = Path(os.environ.get("MEDIAMILL_SAMPLES") or ROOT.parent / "shared" / "samples")
