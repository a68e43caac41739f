"""Marks tests that run foreign code: they are skipped where the system does not let it be locked up."""

from __future__ import annotations

import pytest

needs_sandbox = pytest.mark.usefixtures("sandbox_that_holds")
