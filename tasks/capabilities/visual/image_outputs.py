"""Pictures of a reply made files: fetched or decoded, verified, named safely, published whole."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mediamill.tasks.capabilities.base import CapabilityContext
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.media.images.image_info import ImageInfo

_MAX_IMAGE_BYTES = 200_000_000
_DECODING_BYTES = 64 * 2**20
"""Bytes held while a picture is decoded: sixteen million pixels of four bytes."""
_EXPIRED_LINK_STATUSES = frozenset({401, 403, 404, 410})
"""Statuses that a link which has expired is answered with."""
_SUFFIXES = {"jpeg": ".jpg"}


async def publish_image(
    picture: Mapping[str, Any], number: int, item: Item, context: CapabilityContext
) -> dict[str, Any]:
    """A picture of a reply as a file under OUT/media, and what it is.

    Args:
        picture: as the operation documents it, not moderated.
        number: its place among the item's pictures, from 1.
        item: whose it is.
        context: what fetches, decodes and publishes.

    Raises:
        BadReply: ``bad_picture`` or ``link_expired``; the reply stays in the journal.
        CallFailed: when the link did not answer; a later run tries again, unpaid.
    """
    from mediamill.tasks.sinks.media import publish_media

    held = len(picture["b64"] or "")
    async with context.reserve_memory(held + _DECODING_BYTES), _open_image_file(picture, number, item, context) as path:
        info = await _verify_image(path, number, item, context)
        suffix = _SUFFIXES.get(info.format, f".{info.format}")
        made = await context.run_in_thread(
            publish_media, path, context.out, item.item_id, suffix if number == 1 else f"-{number}{suffix}"
        )
    return {
        "file": made.file,
        "sha256": made.sha256,
        "bytes": made.size,
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "seed": picture["seed"],
        "revised_prompt": picture["revised_prompt"],
    }


@asynccontextmanager
async def _open_image_file(
    picture: Mapping[str, Any], number: int, item: Item, context: CapabilityContext
) -> AsyncIterator[Path]:
    """The picture's bytes in a file of their own, as they came."""
    if picture["b64"] is None:
        async with _download_image(picture["url"], number, item, context) as path:
            yield path
        return
    path = context.scratch / uuid.uuid4().hex
    try:
        await context.run_in_thread(_decode_to_file, picture["b64"], path)
        yield path
    except binascii.Error:
        raise _bad_image_error(item, number, "is not base64") from None
    finally:
        path.unlink(missing_ok=True)


@asynccontextmanager
async def _download_image(url: str, number: int, item: Item, context: CapabilityContext) -> AsyncIterator[Path]:
    try:
        async with context.download(url, _MAX_IMAGE_BYTES) as media:
            yield media.path
    except BadInput as error:
        if error.status not in _EXPIRED_LINK_STATUSES:
            raise _bad_image_error(item, number, f"cannot be fetched: {error.message}") from None
        raise BadReply(
            f"{item.source}: the link to picture {number} has expired: {error.message}",
            kind="link_expired",
            status=error.status,
            hint="pictures that come in the reply never do: leave response_format out; "
            "`mediamill retry OUT --only link_expired` buys it again",
        ) from None


async def _verify_image(path: Path, number: int, item: Item, context: CapabilityContext) -> ImageInfo:
    from mediamill.tasks.media.images.image_info import verify_image

    try:
        return await context.run_in_thread(verify_image, path)
    except BadInput as error:
        raise _bad_image_error(item, number, f"cannot be used: {error.message}") from None


def _bad_image_error(item: Item, number: int, why: str) -> BadReply:
    return BadReply(
        f"{item.source}: picture {number} {why}",
        kind="bad_picture",
        hint="its reply is kept; `mediamill retry OUT --only bad_picture` buys another",
    )


def _decode_to_file(held: str, path: Path) -> None:
    path.write_bytes(base64.b64decode(held, validate=True))
