"""The bytes of images and videos: from ``data:`` URLs, or fetched from allowed hosts."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mediamill.tasks.local.chat.chat_dialects import MIB, ChatDialect
from mediamill.tasks.local.server.api_error import ApiError, ErrorKind
from mediamill.tasks.local.server.url_download import download

_DATA_URL = re.compile(
    r"data:(?P<mime>[a-zA-Z]+/[a-zA-Z0-9.+-]+)?(?:;[a-zA-Z0-9=._-]+)*;base64,(?P<data>.*)", re.DOTALL
)
_BLANK = re.compile(r"\s+")
_MAX_VIDEO_BYTES = 100 * MIB


@dataclass(frozen=True, slots=True)
class MediaSource:
    """An image or video of a prompt: a ``data:`` or http(s) URL."""

    kind: str
    url: str
    detail: str = "auto"


async def fetch_source(
    source: MediaSource, chat_dialect: ChatDialect, hosts: Collection[str], cleanup: ExitStack
) -> Path | None:
    """Fetch the file of an http(s) URL, which ``cleanup`` removes; None for a ``data:`` URL.

    Raises:
        ApiError: when the host is not allowed, the file cannot be fetched, or it is too large.
    """
    if _is_data_url(source):
        return None
    try:
        download_file = await download(source.url, hosts, _get_max_source_bytes(source, chat_dialect), cleanup)
    except ApiError as api_error:
        kind: ErrorKind = "url_too_large" if api_error.kind == "url_too_large" else "bad_image"
        raise ApiError(kind, f"Failed to get the {source.kind}: {api_error.message}", param="messages") from None
    if not download_file.size:
        raise ApiError("bad_image", f"Invalid {source.kind}: there is nothing behind the URL", param="messages")
    return download_file.path


def decode_data_url(source: MediaSource, chat_dialect: ChatDialect) -> bytes:
    """Decode the bytes of a ``data:`` URL. Blocking.

    Raises:
        ApiError: when it is not one, has another media type, or is too large.
    """
    maximum = _get_max_source_bytes(source, chat_dialect)
    found = _DATA_URL.match(source.url)
    mime = (found["mime"] or "") if found else ""
    if found is None or not mime.lower().startswith((f"{source.kind}/", "application/octet-stream")):
        message = f"Invalid {source.kind} URL: it must be https://..., or data:{source.kind}/...;base64,..."
        raise ApiError("bad_image", message, param="messages")
    if len(found["data"]) > maximum // 3 * 4 + 4096:
        raise ApiError("url_too_large", f"the {source.kind} is above {maximum} bytes", param="messages")
    try:
        data = base64.b64decode(_BLANK.sub("", found["data"]), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise ApiError("bad_image", f"Invalid {source.kind} data: it is not base64", param="messages")
    if len(data) > maximum:
        raise ApiError("url_too_large", f"the {source.kind} is above {maximum} bytes", param="messages")
    return data


def _is_data_url(source: MediaSource) -> bool:
    return source.url[:5].lower() == "data:"


def _get_max_source_bytes(source: MediaSource, chat_dialect: ChatDialect) -> int:
    return chat_dialect.max_image_bytes if source.kind == "image" else _MAX_VIDEO_BYTES
