"""Shared fixtures."""

from __future__ import annotations

import os

# The tests' runs go to a Prefect server only where a test says so, never to that of whoever runs them.
for _name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_API_KEY"):
    os.environ.pop(_name, None)
