"""Values from outside, bounded: how deeply they may be nested."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 64
"""Maximum depth of lists and objects in each other, far beyond any that people write."""


def check_depth(value: Any) -> None:
    """Check that lists and objects are nested at most :data:`MAX_DEPTH` deep; what reads them recurses.

    Raises:
        ValueError: when they are nested deeper.
    """
    level, depth = [value], 0
    while level := [member for each in level for member in _list_members(each)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")


def _list_members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
