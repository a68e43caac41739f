"""Packages of the dependency group ``integration``, which only long tests use: skipped without them, except in CI."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REQUIRED = "MEDIAMILL_REQUIRE_INTEGRATION"
"""Set by ``.ci/run``: a package that is not installed fails its tests there, so they are never left out unseen."""


def require_integration(*packages: str) -> None:
    """Skip the test, or the module that is imported, where one of these packages is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not installed: run `uv sync --group integration`"
    if os.environ.get(REQUIRED):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
