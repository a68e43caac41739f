"""Parameters that are one thing or a list of them, and in a manifest's cell may be JSON."""

from __future__ import annotations

from typing import Any

import orjson


def several(value: Any) -> Any:
    """A list of what is given: one text or object, or a list of them, also as JSON.

    Raises:
        ValueError: when what looks like JSON is none.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = orjson.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    return [value] if isinstance(value, str | dict) else value
