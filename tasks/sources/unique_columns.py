"""Finds the columns of a manifest that tell its rows apart, for who has to name one as the id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediamill.tasks.domain import Item

_MAX_ROWS = 200_000
_USUAL_NAME = re.compile(
    r"(?:^|[^a-z0-9])(?:id|sku|asin|isbn|ean|gtin|upc|uuid|guid|key|code|number|no|nr)$", re.IGNORECASE
)


def find_unique_columns(items: Iterable[Item]) -> list[str]:
    """The columns in which every row has a value of its own, those called like an id first.

    Returns:
        Their names; none where there are more than 200,000 rows.
    """
    seen: dict[str, set[str]] | None = None
    for count, item in enumerate(items, 1):
        if count > _MAX_ROWS:
            return []
        if seen is None:
            seen = {name: set() for name in item.row}
        for name in list(seen):
            value = item.row.get(name)
            text = "" if value is None else str(value).strip()
            if not text or text in seen[name]:
                del seen[name]
            else:
                seen[name].add(text)
        if not seen:
            return []
    return sorted(seen or (), key=lambda name: _USUAL_NAME.search(name) is None)
