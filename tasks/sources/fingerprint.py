"""What changes when an Item's input may have changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def of_file(
    location: str, about: os.stat_result, row: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
) -> str:
    """Of a file: path, size, time of change and inode, with its row and parameters."""
    return _digest([location, about.st_size, about.st_mtime_ns, about.st_ino, row or {}, params or {}])


def of_value(value: Any, row: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None) -> str:
    """Of a URL, its version, or a row that is the input itself."""
    return _digest([value, row or {}, params or {}])


def _digest(parts: list[Any]) -> str:
    try:
        data = orjson.dumps(parts, default=str, option=_OPTIONS)
    except TypeError:  # integers over 64 bits
        data = json.dumps(parts, default=str, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()
