"""What the proofs of pace and recovery share: they watch clocks, so one runs at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest

from tests.helpers.chaos.figures import get_figures_folder


@pytest.fixture
def alone() -> Iterator[None]:
    """No other test of this room that wants to be alone runs meanwhile, in whichever worker or process."""
    with (get_figures_folder() / "alone.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
