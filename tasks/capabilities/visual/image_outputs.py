"""Images of a reply become files: downloaded or decoded, verified, named safely, published whole."""

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
"""Memory to reserve while an image is decoded: sixteen million pixels of four bytes."""
_EXPIRED_LINK_STATUSES = frozenset({401, 403, 404, 410})
"""Statuses that servers answer for an expired link."""
_SUFFIXES = {"jpeg": ".jpg"}


async def publish_image(
    image: Mapping[str, Any], number: int, item: Item, context: CapabilityContext
) -> dict[str, Any]:
    """Write an image of a reply to a file under OUT/media.

    Args:
        image: as the operation documents it, not moderated.
        number: its position among the item's images, from 1.
        item: the item it belongs to.
        context: what downloads, decodes and publishes.

    Returns:
        Its row in the column ``images``.

    Raises:
        BadReply: ``bad_picture`` or ``link_expired``; the reply stays in the journal.
        CallFailed: when the link did not answer; a later run tries again without paying.
    """
    from mediamill.tasks.sinks.media import publish_media

    encoded_bytes = len(image["b64"] or "")
    async with (
        context.reserve_memory(encoded_bytes + _DECODING_BYTES),
        _open_image_file(image, number, item, context) as path,
    ):
        info = await _verify_image(path, number, item, context)
        suffix = _SUFFIXES.get(info.format, f".{info.format}")
        published = await context.run_in_thread(
            publish_media, path, context.out, item, suffix, None if number == 1 else number
        )
    return {
        "file": published.file,
        "sha256": published.sha256,
        "bytes": published.size,
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "seed": image["seed"],
        "revised_prompt": image["revised_prompt"],
    }


@asynccontextmanager
async def _open_image_file(
    image: Mapping[str, Any], number: int, item: Item, context: CapabilityContext
) -> AsyncIterator[Path]:
    """The image's bytes, as received, in a temporary file while the block runs."""
    if image["b64"] is None:
        async with _download_image(image["url"], number, item, context) as path:
            yield path
        return
    path = context.scratch / uuid.uuid4().hex
    try:
        await context.run_in_thread(_decode_to_file, image["b64"], path)
        yield path
    except binascii.Error:
        raise _to_bad_reply(item, number, "is not base64") from None
    finally:
        path.unlink(missing_ok=True)


@asynccontextmanager
async def _download_image(url: str, number: int, item: Item, context: CapabilityContext) -> AsyncIterator[Path]:
    try:
        async with context.download(url, _MAX_IMAGE_BYTES) as media:
            yield media.path
    except BadInput as error:
        if error.status not in _EXPIRED_LINK_STATUSES:
            raise _to_bad_reply(item, number, f"cannot be fetched: {error.message}") from None
        raise BadReply(
            f"{item.source}: the link to image {number} has expired: {error.message}",
            kind="link_expired",
            status=error.status,
            hint="images that come in the reply never expire: leave response_format out; "
            "`mediamill retry OUT --only link_expired` buys it again",
        ) from None


async def _verify_image(path: Path, number: int, item: Item, context: CapabilityContext) -> ImageInfo:
    from mediamill.tasks.media.images.image_info import verify_image

    try:
        return await context.run_in_thread(verify_image, path)
    except BadInput as error:
        raise _to_bad_reply(item, number, f"cannot be used: {error.message}") from None


def _to_bad_reply(item: Item, number: int, reason: str) -> BadReply:
    return BadReply(
        f"{item.source}: image {number} {reason}",
        kind="bad_picture",
        hint="its reply is kept; `mediamill retry OUT --only bad_picture` buys another",
    )


def _decode_to_file(encoded: str, path: Path) -> None:
    path.write_bytes(base64.b64decode(encoded, validate=True))
