"""Reference images: files are decoded, downscaled and sent; URLs are passed on to the provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mediamill.tasks.capabilities.base import FETCHED_BY_PROVIDER, CapabilityContext, to_url_input
from mediamill.tasks.domain import Input, Item, Preparation
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.prepare import ImageLimits

_MAX_SIDE_PIXELS = 2048
_IMAGE_LIMITS = ImageLimits(frozenset({"jpeg", "png"}), max_bytes=8_000_000)
_DECODING_BYTES = 32 * 2**20


async def load_reference_images(
    references: Sequence[str], item: Item, context: CapabilityContext, *, exact_size: tuple[int, int] | None = None
) -> tuple[Input, ...]:
    """Load paths and URLs as inputs, in order; paths are relative to the manifest's folder.

    Args:
        references: paths and URLs, as the row or the job names them.
        item: the item they belong to.
        context: what fetches and decodes.
        exact_size: width and height in pixels to which every image is cropped, for endpoints that take no other size;
            images behind URLs are then fetched, too.

    Raises:
        BadInput: naming the image that cannot be read or decoded.
    """
    return tuple([await _load_reference_image(reference, item, context, exact_size) for reference in references])


async def _load_reference_image(
    reference: str, item: Item, context: CapabilityContext, exact_size: tuple[int, int] | None
) -> Input:
    from mediamill.tasks.media.images.prepare import crop_to_size, prepare_image
    from mediamill.tasks.media.preparations import describe_image

    image = replace(item, location=context.resolve_path(reference), source=reference)
    if image.is_url and exact_size is None:
        context.record_preparation(item, Preparation(f"reference image {reference}", changes=(FETCHED_BY_PROVIDER,)))
        return to_url_input(reference, item, context)
    try:
        async with context.fetch(image) as media, context.reserve_memory(_DECODING_BYTES + 2 * media.size):
            if exact_size is not None:
                cropped = await context.run_in_thread(crop_to_size, media.path, media.sha256, exact_size, media.data)
                why = f"cropped to {exact_size[0]} x {exact_size[1]}: the endpoint takes no other size"
                name = f"reference image {reference}"
                context.record_preparation(item, Preparation(name, {"bytes": media.size}, changes=(why,)))
                return cropped
            prepared = await context.run_in_thread(
                prepare_image,
                media.path,
                media.sha256,
                _IMAGE_LIMITS,
                max_side=_MAX_SIDE_PIXELS,
                data=media.data,
                check=context.raise_if_stopped,
            )
    except BadInput as error:
        message = error.message if reference in error.message else f"{reference}: {error.message}"
        error.message = f"{item.source}: reference image {message}"
        raise
    preparation = describe_image(reference, prepared, _IMAGE_LIMITS, _MAX_SIDE_PIXELS, context.model)
    context.record_preparation(item, preparation)
    return prepared.input
