"""Types of a text manifest's columns: a column has one only where every cell comes back from it exactly."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING

from mediamill.tasks.sources.base import Row

if TYPE_CHECKING:
    import pyarrow as pa

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_MAX_NUMBER_CHARACTERS = 30
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def infer_types(rows: Iterable[Row], names: Iterable[str]) -> dict[str, pa.DataType]:
    """The types of the columns ``names``: int64, float64, bool or date32; columns that stay text are left out.

    ``007``, ``1e5``, ``+1``, ``1.50`` and ``NaN`` stay text, and so does a column with any of them. Empty cells are
    nulls, and a column of empty cells stays text.
    """
    import pyarrow as pa

    candidates = {name: tuple(_CHECKS) for name in names}
    filled: set[str] = set()
    for row in rows:
        for name in [name for name, kinds in candidates.items() if kinds]:
            cell = row.values.get(name)
            if row.problem is None and cell not in (None, ""):
                filled.add(name)
                candidates[name] = tuple(kind for kind in candidates[name] if _CHECKS[kind](str(cell)))
    return {name: pa.type_for_alias(kinds[0]) for name, kinds in candidates.items() if kinds and name in filled}


def _is_integer(cell: str) -> bool:
    if len(cell) > _MAX_NUMBER_CHARACTERS:
        return False
    try:
        number = int(cell)
    except ValueError:
        return False
    return str(number) == cell and _MIN_INT64 <= number <= _MAX_INT64


def _is_float(cell: str) -> bool:
    if len(cell) > _MAX_NUMBER_CHARACTERS:
        return False
    try:
        number = float(cell)
    except ValueError:
        return False
    return math.isfinite(number) and repr(number) == cell


def _is_bool(cell: str) -> bool:
    return cell in ("true", "false")


def _is_date(cell: str) -> bool:
    if not _ISO_DATE.fullmatch(cell):
        return False
    try:
        date.fromisoformat(cell)
    except ValueError:
        return False
    return True


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "int64": _is_integer,
    "float64": _is_float,
    "bool": _is_bool,
    "date32": _is_date,
}
