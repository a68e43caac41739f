"""Audio inside JSON, as many servers send what others send as bytes (provider docs)."""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any

from mediamill.tasks.providers.errors.lenient_json import read_json

_FIELDS = ("audio", "audio_base64", "audioContent", "audio_content", "audio_data", "b64_json", "b64", "data", "content")
_WRAPPERS = ("result", "output", "response", "choices", "message", "body")
_MAX_DEPTH = 4
_MAX_PARTS = 4
_MIN_CHARACTERS = 32
_HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2})+")
_MAX_TEXT_BYTES = 64 * 1024


def is_text(body: bytes) -> bool:
    """True for JSON, markup or a line of text, under whichever media type; audio is no UTF-8 without NUL."""
    if len(body) > _MAX_TEXT_BYTES or b"\0" in body:
        return False
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return text.lstrip().startswith(("{", "[", "<")) or text.strip().isprintable()


def find_json_audio(body: bytes) -> tuple[bytes, Mapping[str, Any]] | None:
    """The audio in a reply of JSON, in base64 or hexadecimal, and the usage beside it; None in any other reply."""
    if not body[:64].lstrip().startswith((b"{", b"[")):
        return None
    try:
        content = read_json(body)
    except ValueError:
        return None
    audio = _search(content, depth=0)
    usage = content.get("usage") if isinstance(content, dict) else None
    return None if audio is None else (audio, usage if isinstance(usage, dict) else {})


def _search(value: Any, depth: int) -> bytes | None:
    parts: list[Any] = []
    if isinstance(value, list):
        parts = value[:_MAX_PARTS]
    elif isinstance(value, dict):
        for name in _FIELDS:
            if isinstance(value.get(name), str) and (audio := _decode(value[name])) is not None:
                return audio
        parts = [value[name] for name in (*_FIELDS, *_WRAPPERS) if isinstance(value.get(name), dict | list)]
    if depth == _MAX_DEPTH:
        return None
    return next((audio for part in parts if (audio := _search(part, depth + 1)) is not None), None)


def _decode(text: str) -> bytes | None:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    text = "".join(text.split())
    if len(text) < _MIN_CHARACTERS:
        return None
    if _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return a2b_base64(text, strict_mode=True)
    except (NotBase64, ValueError):
        return None
