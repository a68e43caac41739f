"""Which of many parameters the quick suite takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(every: Iterable[Any], quick: Iterable[Any]) -> list[Any]:
    """All parameters, those beyond ``quick`` marked long."""
    every, quick = list(every), list(quick)
    assert all(each in every for each in quick)
    return [each if each in quick else pytest.param(*_many(each), marks=pytest.mark.long) for each in every]


def _many(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)
