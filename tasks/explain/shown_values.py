"""Values as a story may show them: short enough to be read, and nothing of URLs that gives access."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_MAX_TEXT = 300
_URL = re.compile(r"""([A-Za-z][\w+.-]{0,40}://)(?:[^/@\s"'<>]*@)?([^?#\s"'<>]*)([?#][^\s"'<>]*)?""")


def bound_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values short enough to be read: long texts cut, long lists counted, secrets of URLs hidden."""
    return {str(name): _bound_value(value) for name, value in values.items()}


def _bound_value(value: Any) -> Any:
    if isinstance(value, str):
        text = hide_url_secrets(value)
        if len(text) > _MAX_TEXT and text.isascii() and " " not in text:
            return f"{len(text):,} characters of data"
        return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}... ({len(text):,} characters)"
    if isinstance(value, (list, dict)):
        text = hide_url_secrets(orjson.dumps(value).decode())
        if len(text) <= _MAX_TEXT:
            return orjson.loads(text)
        return f"{len(value):,} {'entries' if isinstance(value, list) else 'fields'}"
    return value


def hide_url_secrets(text: str) -> str:
    """A text whose URLs have no query and no user: both may hold what gives access."""
    if "://" not in text:
        return text
    return _URL.sub(lambda url: f"{url[1]}{url[2]}{'?...' if url[3] else ''}", text)


def hide_url_secrets_within(value: Any) -> Any:
    """A JSON value in which no text has more of a URL than :func:`hide_url_secrets` leaves."""
    if isinstance(value, str):
        return hide_url_secrets(value)
    if isinstance(value, list):
        return [hide_url_secrets_within(member) for member in value]
    if isinstance(value, dict):
        return {name: hide_url_secrets_within(member) for name, member in value.items()}
    return value
