"""Pictures of an item made ready to be shown to a model, and what they come to in tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import CapabilityContext
from mediamill.tasks.domain import Input, Item, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.vision import Detail, Vision
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT, VisionModel

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.images.prepare import PreparedImage

_DECODING_BYTES = 32 * 2**20
"""Bytes held while a picture is decoded: a twelve-megapixel JPEG takes less."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One picture as a model gets it. ``picture`` is None for a URL that is passed through."""

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
        """As a row of the column ``pictures``."""
        made = self.prepared
        return {
            "source": self.source,
            "sha256": self.input.sha256,
            "format": made.info.format if made else None,
            "width": made.info.width if made else None,
            "height": made.info.height if made else None,
            "sent_width": made.width if made else None,
            "sent_height": made.height if made else None,
            "sent_bytes": self.size if made else None,
            "recipe": self.input.recipe,
        }


def image_fields() -> list[pa.Field]:
    """The columns that tell what was shown; ``width``, ``height`` and ``format`` are the first picture's own."""
    import pyarrow as pa

    one = pa.struct(
        [
            ("source", pa.string()),
            ("sha256", pa.string()),
            ("format", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("sent_width", pa.int32()),
            ("sent_height", pa.int32()),
            ("sent_bytes", pa.int64()),
            ("recipe", pa.string()),
        ]
    )
    return [
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("pictures", pa.list_(one)),
        pa.field("warnings", pa.list_(pa.string())),
    ]


def to_image_columns(images: Sequence[ImageInput]) -> dict[str, Any]:
    """What was shown, as those columns."""
    rows = [one.to_row() for one in images]
    first = rows[0]
    digests = "\n".join(one.input.sha256 for one in images)
    return {
        "content_sha256": first["sha256"] if len(rows) == 1 else hashlib.sha256(digests.encode()).hexdigest(),
        "width": first["width"],
        "height": first["height"],
        "format": first["format"],
        "pictures": rows,
        "warnings": [f"{one.source}: {w}" if len(rows) > 1 else w for one in images for w in _get_warnings(one)],
    }


def get_vision(context: CapabilityContext) -> Vision:
    """What pictures the model takes.

    Raises:
        UsageError: when the provider has none that sees.
    """
    return context.provider.model_facts(VISION_CHAT, context.model, VisionModel).vision


def check_image_count(item: Item, count: int, vision: Vision) -> None:
    """Raise BadInput when one prompt cannot hold so many pictures."""
    if count > vision.max_pictures:
        raise BadInput(
            f"{item.source}: {count} pictures in one prompt, the model takes {vision.max_pictures}",
            kind="too_many_pictures",
            hint="make smaller groups",
        )


async def prepare_image_input(
    item: Item, context: CapabilityContext, vision: Vision, detail: Detail, *, count: int, fetch: bool, thumbnail: bool
) -> ImageInput:
    """One picture, fetched, decoded to its end and made ready; a URL as it is, where the provider fetches it.

    Raises:
        BadInput: naming the picture.
    """
    if item.is_url and not fetch and vision.takes_urls and not thumbnail:
        digest = hashlib.sha256(f"url:{item.location}\n{context.source_version(item)}".encode()).hexdigest()
        payload = Payload(filename="", mime="", size=0, url=item.location)
        return ImageInput(item.source, Input(digest, "url", payload=payload), (1, vision.max_tokens(detail)))
    from mediamill.tasks.media.images.prepare import prepare_image

    limits = vision.image_limits(count)
    async with context.fetch(item) as media, context.reserve_memory(_DECODING_BYTES + 2 * media.size):
        try:
            picture = await context.run_in_thread(
                prepare_image,
                media.path,
                media.sha256,
                limits,
                max_side=vision.max_side(detail),
                data=media.data,
                thumbnail=thumbnail,
                check=context.raise_if_stopped,
            )
        except BadInput as error:
            error.message = f"{item.source}: {error.message}"
            raise
    return ImageInput(
        item.source, picture.input, vision.estimate_tokens(picture.width, picture.height, detail), picture
    )


@dataclass(frozen=True, slots=True)
class ImageEstimate:
    """What a picture would come to, from its header: tokens as sent, and what making it smaller saves."""

    tokens: tuple[int, int]
    saved_tokens: int = 0
    saved_bytes: int = 0


async def estimate_image(
    item: Item, context: CapabilityContext, vision: Vision, detail: Detail, *, count: int, fetch: bool
) -> ImageEstimate:
    """Estimate one picture without decoding it.

    Raises:
        BadInput: naming the picture.
    """
    if item.is_url and not fetch and vision.takes_urls:
        return ImageEstimate((1, vision.max_tokens(detail)))
    from mediamill.tasks.media.images.image_info import read_image_info
    from mediamill.tasks.media.images.prepare import target_size

    async with context.fetch(item) as media:
        try:
            info = await context.run_in_thread(read_image_info, media.path, media.data)
        except BadInput as error:
            error.message = f"{item.source}: {error.message}"
            raise
    limits = vision.image_limits(count)
    width, height = target_size(info, limits, vision.max_side(detail))
    whole = target_size(info, limits, None)
    tokens = vision.estimate_tokens(width, height, detail)
    share = width * height / (info.width * info.height)
    return ImageEstimate(
        tokens,
        max(vision.estimate_tokens(*whole, "full")[0] - tokens[0], 0),
        round(info.size * (1 - share)) if share < 1 else 0,
    )


def to_message_part(number: int, vision: Vision, detail: Detail) -> dict[str, Any]:
    """The part of a message that stands for a picture; ``detail`` where the endpoint takes it and it matters."""
    words = {"full": "high", "economy": "low"}
    more = {"detail": words[detail]} if vision.detail and detail in words else {}
    return {"type": "picture", "input": number, **more}


def _get_warnings(one: ImageInput) -> tuple[str, ...]:
    return one.prepared.warnings if one.prepared is not None else ()
