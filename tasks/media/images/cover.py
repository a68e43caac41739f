"""A picture brought to exactly the size that is wanted, for endpoints that take no other."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.image_info import broken, opened

_QUALITY = 92


def cover(path: Path, sha256: str, size: tuple[int, int], data: bytes | None = None) -> Input:
    """Scaled and cut around its middle to ``size`` (width, height) in pixels, turned upright, as a JPEG.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from PIL import ImageOps

    with opened(path, data) as (image, _):
        try:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            made = BytesIO()
            ImageOps.fit(upright, size).save(made, "JPEG", quality=_QUALITY)
        except BadInput:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken(error) from None
    recipe = f"cover-{_QUALITY}-{size[0]}x{size[1]}"
    payload = Payload("picture.jpg", "image/jpeg", made.tell(), data=made.getvalue())
    return Input(sha256, recipe, payload=payload)
