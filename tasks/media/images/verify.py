"""A picture decoded to its last pixel: what it really is, whatever it is called."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.image_info import PictureInfo, broken, info_of, opened


def verified(path: Path, data: bytes | None = None) -> PictureInfo:
    """What a picture is, once all of it was decoded.

    Raises:
        BadInput: as :func:`~mediamill.tasks.media.images.image_info.look`, and ``undecodable`` where it ends early or
            is damaged.
    """
    with opened(path, data) as (image, size):
        info = info_of(image, size)
        try:
            image.load()
        except BadInput:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken(error) from None
        return info
