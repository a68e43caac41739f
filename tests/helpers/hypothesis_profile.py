"""Property tests that try the same cases in every run, however slow the machine."""

from __future__ import annotations

from hypothesis import settings

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
