"""Where the repository and its samples are, and the larger sample collection that a machine may have beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
RECORDINGS = SAMPLES / "recordings"
OUTSIDE_SAMPLES = Path(os.environ.get("MEDIAMILL_SAMPLES") or ROOT.parent / "shared" / "samples")


needs_outside_samples = pytest.mark.skipif(
    not (OUTSIDE_SAMPLES / "transcripts.csv").exists(),
    reason="needs the larger sample collection, which is not in the repository (MEDIAMILL_SAMPLES names its folder)",
)
"""For tests over more samples than the repository has; what matters most is tested on its own samples too."""


OUTSIDE_DOCUMENTS = Path(os.environ.get("MEDIAMILL_VENDOR_DOCUMENTS") or ROOT.parent / "shared" / "seeds")
"""The providers' guides as text, which are not in the repository."""


OUTSIDE_SPECIFICATIONS = Path(os.environ.get("MEDIAMILL_SPECIFICATIONS") or ROOT.parent / "shared" / "wire")
"""The providers' OpenAPI specifications, which are not in the repository."""
