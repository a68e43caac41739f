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


def to_output_columns(outputs: Sequence[Mapping[str, Any]], item_id: str, context: CapabilityContext) -> dict[str, Any]:
    """A cell's outputs as columns; images and other binary outputs become files under OUT/media."""
    rows: list[dict[str, Any]] = []
    for output in outputs:
        data = output["data"]
        parts = data.items() if isinstance(data, Mapping) else [("text/plain", data)]
        for mime, content in parts:
            if content is None:
                continue
            text = content if isinstance(content, str) else orjson.dumps(content).decode()
            file = _publish_binary_output(text, str(mime), f"{item_id}-{len(rows)}", context)
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


def _publish_binary_output(text: str, mime: str, name: str, context: CapabilityContext) -> str | None:
    """Write a binary output to a file and return its path relative to OUT; None for text."""
    from mediamill.tasks.sinks.media import publish_media

    if mime.startswith("text/") or mime == "application/json":
        return None
    try:
        data = text.encode() if mime == "image/svg+xml" else base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    path = context.scratch / uuid.uuid4().hex
    path.write_bytes(data)
    return publish_media(path, context.out, name, mimetypes.guess_extension(mime) or ".bin").file
