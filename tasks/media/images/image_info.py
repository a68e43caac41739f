"""A picture's header: what it is and how large, without decoding a pixel."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.source_file import empty_file, read_head

if TYPE_CHECKING:
    from PIL.Image import Image

OPENED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")
"""Formats that are opened, by Pillow's names; no others, whatever a file pretends to be."""
NAMES = {"MPO": "jpeg", "JPEG2000": "jp2", "HEIF": "heic"}
MAX_PIXELS = 200_000_000
MAX_PIXELS_UNREDUCED = 80_000_000
"""Pixels that are decoded where a format cannot be decoded at a smaller size; JPEG can."""
_ORIENTATION = 0x0112
_TURNED = 5
_WORST_SIDE = 65_535
_REDUCIBLE = frozenset({"jpeg"})


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture is. ``width`` and ``height`` are as it is looked at, its orientation applied."""

    format: str
    width: int
    height: int
    orientation: int
    mode: str
    frames: int
    size: int


def read_image_info(path: Path, data: bytes | None = None) -> ImageInfo:
    """Read a picture's header.

    Args:
        path: the file, whatever it is called.
        data: its bytes, where they have been read.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_a_picture``, ``undecodable`` or
            ``too_many_pixels``.
    """
    with open_image(path, data) as (image, size):
        return image_info_of(image, size)


@contextmanager
def open_image(path: Path, data: bytes | None = None) -> Iterator[tuple[Image, int]]:
    """A picture, opened and not yet decoded, and the size of its file.

    Raises:
        BadInput: as :func:`read_image_info`; what goes wrong inside the block while decoding is ``undecodable``.
    """
    from PIL import Image, UnidentifiedImageError

    _readers()
    size = len(data) if data is not None else read_head(path)[1]
    if not size:
        raise empty_file()
    source: IO[bytes] | Path = BytesIO(data) if data is not None else path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metadata that is odd; sizes are bounded below
        try:
            image = Image.open(source, formats=OPENED)
        except UnidentifiedImageError:
            raise _unknown() from None
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken_image(error) from None
        with image:
            _bound(image)
            try:
                yield image, size
            except (BadInput, GeneratorExit):
                raise
            except MemoryError as error:
                raise broken_image(error) from None


def image_info_of(image: Image, size: int) -> ImageInfo:
    """What an opened picture is."""
    kind = NAMES.get(image.format or "", (image.format or "").lower())
    turn = orientation_of(image)
    width, height = image.size if turn < _TURNED else image.size[::-1]
    return ImageInfo(kind, width, height, turn, image.mode, _frames(image), size)


def orientation_of(image: Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata never fails a picture
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1  # noqa: PLR2004 (EXIF's eight orientations)


def broken_image(error: BaseException) -> BadInput:
    """A picture that cannot be decoded."""
    why = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return BadInput(
        f"the picture cannot be decoded: {why}", kind="undecodable", hint="open it elsewhere, or copy it again"
    )


def _frames(image: Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - counting reads the file to its end, which may be broken
        return 1


def _bound(image: Image) -> None:
    width, height = image.size
    pixels = width * height
    if width < 1 or height < 1 or max(width, height) > _WORST_SIDE:
        raise BadInput(f"the picture claims to be {width} by {height} pixels", kind="undecodable")
    kind = NAMES.get(image.format or "", (image.format or "").lower())
    most = MAX_PIXELS if kind in _REDUCIBLE else MAX_PIXELS_UNREDUCED
    if pixels > most:
        raise BadInput(
            f"the picture has {pixels / 1e6:.0f} million pixels, more than {most / 1e6:.0f}",
            kind="too_many_pixels",
            hint="make it smaller",
        )


def _unknown() -> BadInput:
    return BadInput(
        "the file's content is not a picture in any format that is known here",
        kind="not_a_picture",
        hint="check that it opens in a viewer",
    )


@functools.cache
def _readers() -> None:
    """Register what Pillow lacks, once; its own bomb check is replaced by bounds of ours."""
    import pillow_heif
    from PIL import Image

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    Image.MAX_IMAGE_PIXELS = None


def verify_image(path: Path, data: bytes | None = None) -> ImageInfo:
    """What a picture is, once all of it was decoded.

    Raises:
        BadInput: as :func:`read_image_info`, and ``undecodable`` where it ends early or is damaged.
    """
    with open_image(path, data) as (image, size):
        info = image_info_of(image, size)
        try:
            image.load()
        except BadInput:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken_image(error) from None
        return info
