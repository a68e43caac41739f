"""Kinds of failures that were renamed: a journal of an older program holds the old name, and it reads as the new."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

_RENAMED = {"bad_row": "wrong_row"}
"""The old name and the name now."""
_OLD_FIELDS = tuple(b'"error_kind":"%s"' % old.encode() for old in _RENAMED)


def to_kind_now(kind: str) -> str:
    """The name that a kind has now."""
    return _RENAMED.get(kind, kind)


def list_stored_kinds(kinds: Iterable[str]) -> list[str]:
    """The names under which a journal may hold these kinds, sorted."""
    wanted = {to_kind_now(kind) for kind in kinds}
    return sorted(wanted | {old for old, new in _RENAMED.items() if new in wanted})


def rename_kind_in_row(row: bytes) -> bytes:
    """A failure's row in JSON with the name that its kind has now."""
    if not any(field in row for field in _OLD_FIELDS):
        return row
    values = orjson.loads(row)
    return orjson.dumps({**values, "error_kind": to_kind_now(values["error_kind"])})
