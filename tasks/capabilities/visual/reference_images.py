"""Pictures to go by: files decoded, bounded and sent along, addresses passed on to the provider."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from mediamill.tasks.capabilities.base import CapabilityContext
from mediamill.tasks.domain import Input, Item, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.prepare import ImageLimits

_MAX_SIDE_PIXELS = 2048
_IMAGE_LIMITS = ImageLimits(frozenset({"jpeg", "png"}), max_bytes=8_000_000)
_DECODING_BYTES = 32 * 2**20


async def load_reference_images(
    places: Sequence[str], item: Item, context: CapabilityContext, *, exactly: tuple[int, int] | None = None
) -> tuple[Input, ...]:
    """Paths and addresses as inputs, in order; paths count from the manifest's folder.

    Args:
        places: paths and URLs, as the row or the job names them.
        item: whose they are.
        context: what fetches and decodes.
        exactly: width and height in pixels that every picture is brought to, for endpoints that take no other; what
            an address leads to is then fetched, too.

    Raises:
        BadInput: naming the picture that cannot be read or decoded.
    """
    return tuple([await _load_reference_image(place, item, context, exactly) for place in places])


async def _load_reference_image(
    reference: str, item: Item, context: CapabilityContext, exact_size: tuple[int, int] | None
) -> Input:
    from mediamill.tasks.media.images.prepare import crop_to_size, prepare_image

    picture = replace(item, location=context.resolve_path(reference), source=reference)
    if picture.is_url and exact_size is None:
        digest = hashlib.sha256(f"url:{reference}\n{context.source_version(item)}".encode()).hexdigest()
        return Input(digest, "url", payload=Payload("", "", 0, url=reference))
    try:
        async with context.fetch(picture) as media, context.reserve_memory(_DECODING_BYTES + 2 * media.size):
            if exact_size is not None:
                return await context.run_in_thread(crop_to_size, media.path, media.sha256, exact_size, media.data)
            made = await context.run_in_thread(
                prepare_image,
                media.path,
                media.sha256,
                _IMAGE_LIMITS,
                max_side=_MAX_SIDE_PIXELS,
                data=media.data,
                check=context.raise_if_stopped,
            )
    except BadInput as error:
        told = error.message if reference in error.message else f"{reference}: {error.message}"
        error.message = f"{item.source}: picture {told}"
        raise
    return made.input
