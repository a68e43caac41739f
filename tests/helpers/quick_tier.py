"""Choose the parameters that the quick tier tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mark_rest_long(parameters: Iterable[Any], quick: Iterable[Any]) -> list[Any]:
    """All parameters, those beyond ``quick`` marked long."""
    parameters, quick = list(parameters), list(quick)
    assert all(each in parameters for each in quick)
    return [each if each in quick else pytest.param(*_to_tuple(each), marks=pytest.mark.long) for each in parameters]


def _to_tuple(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)
