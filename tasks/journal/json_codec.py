"""Values as JSON without loss: types that JSON lacks are encoded so that the parts' schema decodes them again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
_QUOTED_PREFIX = 'json:"'
_MAX_INT, _MIN_INT = 2**64 - 1, -(2**63)


def dumps(value: Any) -> bytes:
    """JSON: decimals as text, times as microseconds since the epoch, dates in ISO format, bytes as hex.

    An integer over 64 bits becomes text; what UTF-8 cannot encode in a string is escaped.
    """
    try:
        return orjson.dumps(value, default=_to_json_value, option=_OPTIONS)
    except TypeError:
        return orjson.dumps(_to_encodable(value), default=_to_json_value, option=_OPTIONS)


def path_to_text(path: str) -> str:
    """A path as text that any database accepts: as it is, or JSON-quoted where it is not valid UTF-8."""
    return path if is_utf8(path) else f"json:{json.dumps(path)}"


def text_to_path(text: str) -> str:
    """Inverse of :func:`path_to_text`."""
    return str(json.loads(text.removeprefix("json:"))) if text.startswith(_QUOTED_PREFIX) else text


def _to_json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return _to_microseconds(moment)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _to_microseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _to_encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value if is_utf8(value) else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
        return str(value)
    if isinstance(value, Mapping):
        return {_to_encodable(name): _to_encodable(element) for name, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_encodable(element) for element in value]
    return value


def is_utf8(text: str) -> bool:
    """False for text that UTF-8 cannot encode, as file names with undecodable bytes (surrogate escapes) are."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
