"""File names from item ids: readable, safe on every file system, and different for different ids."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_MAX_STEM_BYTES = 80
_UNSAFE = re.compile(r"[^\w.-]+")
_EDGES = " .-_"


def to_safe_name(item_id: str, suffix: str) -> str:
    """A name for an item's file: never a path, never hidden, at most about 100 bytes.

    It ends in a hash of the id, so that ids that look alike or differ only in case have different names.

    Args:
        item_id: anything.
        suffix: with its dot, e.g. ``.mp3``.
    """
    digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    normalized = unicodedata.normalize("NFC", item_id).encode("utf-8", "replace").decode()
    stem = _UNSAFE.sub("-", normalized).strip(_EDGES)
    while len(stem.encode()) > _MAX_STEM_BYTES:
        stem = stem[:-1]
    stem = stem.strip(_EDGES)
    return f"{stem}-{digest}{suffix}" if stem else f"{digest}{suffix}"
