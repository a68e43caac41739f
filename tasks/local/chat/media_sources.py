"""The bytes of pictures and videos: out of ``data:`` URLs, or fetched from where the server may ask."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mediamill.tasks.local.chat.chat_dialects import MIB, Vendor
from mediamill.tasks.local.server.api_error import Kind, Refusal
from mediamill.tasks.local.server.url_download import fetch

_DATA = re.compile(r"data:(?P<mime>[a-zA-Z]+/[a-zA-Z0-9.+-]+)?(?:;[a-zA-Z0-9=._-]+)*;base64,(?P<data>.*)", re.DOTALL)
_BLANK = re.compile(r"\s+")
_MOST_VIDEO = 100 * MIB


@dataclass(frozen=True, slots=True)
class Source:
    """A picture or video as it was sent: a ``data:`` or http(s) URL."""

    kind: str
    url: str
    detail: str = "auto"


async def fetched(source: Source, vendor: Vendor, hosts: Collection[str], cleanup: ExitStack) -> Path | None:
    """The file of a source that is somewhere else, in ``cleanup``'s care; None for one that holds its data.

    Raises:
        Refusal: when it may not be fetched, cannot be, or is too large.
    """
    if _holds_data(source):
        return None
    try:
        got = await fetch(source.url, hosts, _most(source, vendor), cleanup)
    except Refusal as refusal:
        kind: Kind = "url_too_large" if refusal.kind == "url_too_large" else "bad_picture"
        raise Refusal(kind, f"Failed to get the {source.kind}: {refusal.message}", param="messages") from None
    if not got.size:
        raise Refusal("bad_picture", f"Invalid {source.kind}: there is nothing behind the URL", param="messages")
    return got.path


def decoded(source: Source, vendor: Vendor) -> bytes:
    """What a ``data:`` URL holds. Blocking.

    Raises:
        Refusal: when it holds no such thing, or too much of it.
    """
    most = _most(source, vendor)
    found = _DATA.match(source.url)
    mime = (found["mime"] or "") if found else ""
    if found is None or not mime.lower().startswith((f"{source.kind}/", "application/octet-stream")):
        message = f"Invalid {source.kind} URL: it must be https://..., or data:{source.kind}/...;base64,..."
        raise Refusal("bad_picture", message, param="messages")
    if len(found["data"]) > most // 3 * 4 + 4096:
        raise Refusal("url_too_large", f"the {source.kind} is above {most} bytes", param="messages")
    try:
        data = base64.b64decode(_BLANK.sub("", found["data"]), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise Refusal("bad_picture", f"Invalid {source.kind} data: it is not base64", param="messages")
    if len(data) > most:
        raise Refusal("url_too_large", f"the {source.kind} is above {most} bytes", param="messages")
    return data


def _holds_data(source: Source) -> bool:
    return source.url[:5].lower() == "data:"


def _most(source: Source, vendor: Vendor) -> int:
    return vendor.most_picture_bytes if source.kind == "image" else _MOST_VIDEO
