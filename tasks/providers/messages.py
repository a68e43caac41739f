"""Messages: a prompt with its media as the wire wants it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.domain import JSON, Input, Payload
from mediamill.tasks.providers.chatting import PICTURE, VIDEO

_PARTS = {PICTURE: "image_url", VIDEO: "video_url"}


def filled(messages: Sequence[Mapping[str, Any]], inputs: Sequence[Input]) -> list[JSON]:
    """Messages whose media parts hold the inputs: as ``data:`` URLs, or as the URL that is passed through.

    A part is ``{"type": "picture", "input": 0}``, with ``"detail"`` where the endpoint takes it.
    """
    return [{**message, "content": _content(message.get("content"), inputs)} for message in messages]


def _content(content: Any, inputs: Sequence[Input]) -> JSON:
    if not isinstance(content, list):
        return content  # type: ignore[no-any-return]
    return [_part(part, inputs) if part["type"] in _PARTS else part for part in content]


def _part(part: Mapping[str, Any], inputs: Sequence[Input]) -> JSON:
    payload = inputs[part["input"]].payload
    assert payload is not None
    told: dict[str, JSON] = {"url": payload.url or data_url(payload)}
    if part.get("detail"):
        told["detail"] = part["detail"]
    kind = _PARTS[part["type"]]
    return {"type": kind, kind: told}


def data_url(payload: Payload) -> str:
    """The payload's bytes in the URL itself (RFC 2397)."""
    data = payload.data
    if data is None:
        assert payload.path is not None
        data = payload.path.read_bytes()
    return f"data:{payload.mime};base64,{base64.b64encode(data).decode('ascii')}"
