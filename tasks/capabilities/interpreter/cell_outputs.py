"""A cell's outputs as columns; images and other binary outputs as files."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mediamill.tasks.capabilities.base import CapabilityContext
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput

_SHOWN_TYPES = ("image", "audio", "video")
_PDF = "application/pdf"


def to_output_columns(outputs: Sequence[Mapping[str, Any]], item: Item, context: CapabilityContext) -> dict[str, Any]:
    """A cell's outputs as columns; images and other binary outputs become files under OUT/media."""
    rows: list[dict[str, Any]] = []
    for output in outputs:
        data = output["data"]
        parts = data.items() if isinstance(data, Mapping) else [("text/plain", data)]
        for mime, content in parts:
            if content is None:
                continue
            text = content if isinstance(content, str) else orjson.dumps(content).decode()
            file = _publish_binary_output(text, str(mime), item, len(rows), context)
            rows.append({"type": output["type"], "mime": mime, "text": None if file else text, "file": file})

    def join_output(kind: str) -> str | None:
        texts = [row["text"] for row in rows if row["type"] == kind and row["mime"] == "text/plain"]
        return "".join(text for text in texts if text) or None

    return {
        "outputs": rows,
        "stdout": join_output("stdout"),
        "stderr": join_output("stderr"),
        "result": join_output("execute_result"),
    }


def _publish_binary_output(text: str, mime: str, item: Item, number: int, context: CapabilityContext) -> str | None:
    """Write a binary output to a file and return its path relative to OUT; None for what stays text.

    A file has the suffix of a picture, a sound, a film or a PDF, or ``.bin``: nobody's click runs it. An SVG is kept
    without what could run or load something; one that needs that stays text.
    """
    from mediamill.tasks.sinks.media import publish_media

    plain_mime = mime.partition(";")[0].strip().lower()
    main_type = plain_mime.partition("/")[0]
    if main_type == "text" or plain_mime == "application/json":
        return None
    try:
        is_svg = "svg" in plain_mime
        data = _clean_svg(text) if is_svg else base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, BadInput):
        return None
    path = context.scratch / uuid.uuid4().hex
    path.write_bytes(data)
    suffix = mimetypes.guess_extension(plain_mime) if main_type in _SHOWN_TYPES or plain_mime == _PDF else None
    return publish_media(path, context.out, item, ".svg" if is_svg else suffix or ".bin", number).file


def _clean_svg(text: str) -> bytes:
    from mediamill.tasks.media.svg import clean_svg

    return clean_svg(text.encode())
