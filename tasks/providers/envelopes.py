"""Error bodies of every shape: the provider's message and code, short, on one line and without keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

_MOST = 200
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(
    r"(?<![a-z])(?:sk|tgp|gsk|xai|key)[-_][a-z0-9._*-]{8,}|\bbearer [^\s\"']{8,}|[0-9a-f]{40,}", re.IGNORECASE
)
"""Keys as the providers write them: a prefix, or plain hexadecimal. "key provided" is none."""
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an error body says. ``code`` is the provider's code, or its type where it gives no code."""

    message: str
    code: str | None = None
    type: str | None = None


def open_envelope(body: bytes) -> Envelope | None:
    """The error in a body; None when the body holds none.

    Understands (provider docs) ``{"error": {...}}``, ``{"error": "..."}``, ``{"code", "error"}``, ``{"message"}``,
    ``{"detail": "..."}`` and its list form, ``{"object": "error"}``, ``{"errors": [...]}``; HTML by its title.
    """
    try:
        told = orjson.loads(body)
    except ValueError:
        title = _TITLE.search(body[:4096])
        return Envelope(clean(title.group(1).decode("utf-8", "replace"))) if title else None
    if not isinstance(told, dict):
        return None
    error = told.get("error")
    if isinstance(error, dict):
        return _made(error.get("message") or error, error.get("code"), error.get("type"))
    if isinstance(error, str):
        return _made(error, told.get("code"), None)
    if told.get("detail"):
        return _made(_detail(told["detail"]), told.get("code"), None)
    if isinstance(told.get("errors"), list) and told["errors"]:
        return _made(told["errors"][0], told.get("code"), None)
    if told.get("object") == "error" or ("message" in told and "text" not in told):
        return _made(told.get("message"), told.get("code"), told.get("type"))
    return None


def clean(text: Any) -> str:
    """One line of at most 200 characters; anything that looks like a key is masked."""
    try:
        line = _CONTROL.sub(" ", str(text)).strip()
    except RecursionError:
        return "a message nested too deep to read"
    return _KEY.sub("***", line)[:_MOST]


def _made(message: Any, code: Any, kind: Any) -> Envelope:
    return Envelope(clean(message), _word(code), _word(kind))


def _word(value: Any) -> str | None:
    return None if value is None or isinstance(value, (dict, list)) else clean(value)[:64]


def _detail(detail: Any) -> Any:
    """FastAPI's validation errors: the place and the message of the first."""
    first = detail[0] if isinstance(detail, list) and detail else detail
    if not isinstance(first, dict):
        return first
    place = ".".join(str(p) for p in first.get("loc", ()) if p != "body") if isinstance(first.get("loc"), list) else ""
    return f"{place}: {first.get('msg')}" if place else first.get("msg")
