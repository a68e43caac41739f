"""An item's images, prepared for a model, and how many tokens they take."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import FETCHED_BY_PROVIDER, CapabilityContext, prefix_bad_input, to_url_input
from mediamill.tasks.domain import Input, Item, Preparation
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.repair import CUT_OFF
from mediamill.tasks.providers.operations.vision import Detail, Vision
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT, VisionModel

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.images.prepare import PreparedImage

DECODING_BYTES = 32 * 2**20
"""Memory to reserve while an image is decoded; a twelve-megapixel JPEG takes less."""
COPIES_IN_MEMORY = 3
"""How often a request holds its media: the bytes, their base64, the body."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image as the model gets it. ``prepared`` is None for a URL that the provider fetches itself."""

    source: str
    input: Input
    tokens: tuple[int, int]
    prepared: PreparedImage | None = None

    @property
    def size(self) -> int:
        """Bytes that are sent."""
        payload = self.input.payload
        return payload.size if payload is not None else 0

    def to_row(self) -> dict[str, Any]:
        """A row of the column ``pictures``."""
        prepared = self.prepared
        return {
            "source": self.source,
            "sha256": self.input.sha256,
            "format": prepared.info.format if prepared else None,
            "width": prepared.info.width if prepared else None,
            "height": prepared.info.height if prepared else None,
            "sent_width": prepared.width if prepared else None,
            "sent_height": prepared.height if prepared else None,
            "sent_bytes": self.size if prepared else None,
            "recipe": self.input.recipe,
        }


def get_image_fields() -> list[pa.Field]:
    """The columns about the images; ``width``, ``height`` and ``format`` are those of the first image."""
    import pyarrow as pa

    from mediamill.tasks.sinks.schema import make_field

    picture_type = pa.struct(
        [
            make_field("source", pa.string(), "path or URL of the image"),
            make_field(
                "sha256", pa.string(), "SHA-256 of the image's file; for a URL the provider fetches, of the URL"
            ),
            make_field("format", pa.string(), "format of the image, e.g. jpeg"),
            make_field("width", pa.int32(), "width in pixels"),
            make_field("height", pa.int32(), "height in pixels"),
            make_field("sent_width", pa.int32(), "width of what was sent"),
            make_field("sent_height", pa.int32(), "height of what was sent"),
            make_field("sent_bytes", pa.int64(), "size of what was sent"),
            make_field("recipe", pa.string(), "how the image was prepared: as-is, or what it was converted to"),
        ]
    )
    return [
        make_field("width", pa.int32(), "width of the first image in pixels"),
        make_field("height", pa.int32(), "height of the first image in pixels"),
        make_field("format", pa.string(), "format of the first image"),
        make_field("pictures", pa.list_(picture_type), "every image of the item"),
        make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
    ]


def to_image_columns(images: Sequence[ImageInput]) -> dict[str, Any]:
    """The values of :func:`get_image_fields`, and ``content_sha256``."""
    rows = [image.to_row() for image in images]
    first = rows[0]
    digests = "\n".join(image.input.sha256 for image in images)
    return {
        "content_sha256": first["sha256"] if len(rows) == 1 else hashlib.sha256(digests.encode()).hexdigest(),
        "width": first["width"],
        "height": first["height"],
        "format": first["format"],
        "pictures": rows,
        "warnings": [
            f"{image.source}: {warning}" if len(rows) > 1 else warning
            for image in images
            for warning in _get_warnings(image)
        ],
    }


def find_image_flags(images: Sequence[ImageInput]) -> list[str]:
    """``truncated`` where an image is shown as viewers show it, although part of it is missing."""
    is_damaged = any(warning.startswith(CUT_OFF) for image in images for warning in _get_warnings(image))
    return ["truncated"] if is_damaged else []


def is_tiff(image: Mapping[str, Any]) -> bool:
    """True for a row of the column ``pictures`` that is of a TIFF."""
    return image.get("format") == "tiff"


def get_vision(context: CapabilityContext) -> Vision:
    """Which images the model takes.

    Raises:
        UsageError: when the provider has no vision model.
    """
    return context.provider.model_facts(VISION_CHAT, context.model, VisionModel).vision


def check_image_count(item: Item, count: int, vision: Vision) -> None:
    """Raise BadInput when one prompt cannot have so many images."""
    if count > vision.max_pictures:
        raise BadInput(
            f"{item.source}: {count} images in one prompt, the model takes {vision.max_pictures}",
            kind="too_many_pictures",
            hint="make smaller groups",
        )


async def prepare_image_input(
    item: Item, context: CapabilityContext, vision: Vision, detail: Detail, *, count: int, fetch: bool, thumbnail: bool
) -> ImageInput:
    """Fetch one image, decode all of it, and prepare it; a URL stays as it is when the provider fetches it.

    Raises:
        BadInput: naming the image.
    """
    if item.is_url and not fetch and vision.takes_urls and not thumbnail:
        url_input = to_url_input(item.location or "", item, context)
        context.record_preparation(item, Preparation(f"image {item.source}", changes=(FETCHED_BY_PROVIDER,)))
        return ImageInput(item.source, url_input, (1, vision.max_tokens(detail)))
    from mediamill.tasks.media.images.prepare import prepare_image
    from mediamill.tasks.media.preparations import describe_image

    limits = vision.image_limits(count)
    async with context.fetch(item) as media, context.reserve_memory(DECODING_BYTES + 2 * media.size):
        with prefix_bad_input(item):
            prepared = await context.run_in_thread(
                prepare_image,
                media.path,
                media.sha256,
                limits,
                max_side=vision.max_side(detail),
                data=media.data,
                thumbnail=thumbnail,
                check=context.raise_if_stopped,
            )
    preparation = describe_image(item.source, prepared, limits, vision.max_side(detail), context.model)
    context.record_preparation(item, preparation)
    tokens = vision.estimate_tokens(prepared.width, prepared.height, detail)
    return ImageInput(item.source, prepared.input, tokens, prepared)


@dataclass(frozen=True, slots=True)
class ImageEstimate:
    """What an image would need, from its header: tokens as sent (minimum, maximum), and what downscaling saves."""

    tokens: tuple[int, int]
    saved_tokens: int = 0
    saved_bytes: int = 0


async def estimate_image(
    item: Item, context: CapabilityContext, vision: Vision, detail: Detail, *, count: int, fetch: bool
) -> ImageEstimate:
    """Estimate one image without decoding it.

    Raises:
        BadInput: naming the image.
    """
    if item.is_url and not fetch and vision.takes_urls:
        return ImageEstimate((1, vision.max_tokens(detail)))
    from mediamill.tasks.media.images.image_info import read_image_info
    from mediamill.tasks.media.images.prepare import target_size

    async with context.fetch(item) as media:
        with prefix_bad_input(item):
            info = await context.run_in_thread(read_image_info, media.path, media.data)
    limits = vision.image_limits(count)
    width, height = target_size(info, limits, vision.max_side(detail))
    full_size = target_size(info, limits, None)
    tokens = vision.estimate_tokens(width, height, detail)
    share = width * height / (info.width * info.height)
    return ImageEstimate(
        tokens,
        max(vision.estimate_tokens(*full_size, "full")[0] - tokens[0], 0),
        round(info.size * (1 - share)) if share < 1 else 0,
    )


def to_message_part(number: int, vision: Vision, detail: Detail) -> dict[str, Any]:
    """The part of a message that stands for an image; with ``detail`` when the endpoint takes it and it matters."""
    wire_names = {"full": "high", "economy": "low"}
    detail_field = {"detail": wire_names[detail]} if vision.detail and detail in wire_names else {}
    return {"type": "picture", "input": number, **detail_field}


def _get_warnings(image: ImageInput) -> tuple[str, ...]:
    return image.prepared.warnings if image.prepared is not None else ()
