"""Read an image's header: its format and size, without decoding a pixel."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mediamill.tasks.errors import BadInput, build_memory_error
from mediamill.tasks.media.content_kind import describe_content
from mediamill.tasks.media.images.repair import read_leniently
from mediamill.tasks.media.source_file import empty_file_error, read_head
from mediamill.tasks.media.wav import HEAD_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

SUPPORTED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")
"""Formats that are opened, by Pillow's names, and no others, whatever a file claims to be."""
FORMAT_NAMES = {"MPO": "jpeg", "JPEG2000": "jp2", "HEIF": "heic"}
MAX_PIXELS = 200_000_000
MAX_PIXELS_UNREDUCED = 80_000_000
"""The maximum for formats that cannot be decoded at a smaller size, as JPEG can."""
_OPENED = frozenset(
    f"{name} image" for name in ("a PNG", "a JPEG", "a GIF", "a BMP", "a TIFF", "a WebP", "an AVIF", "a HEIC")
)
_PDF = "a PDF document"
_ORIENTATION = 0x0112
_FIRST_SIDEWAYS = 5
_MAX_SIDE = 65_535
_REDUCIBLE = frozenset({"jpeg"})


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image is. ``width`` and ``height`` are in pixels with its orientation applied, ``size`` is in bytes."""

    format: str
    width: int
    height: int
    orientation: int
    mode: str
    frames: int
    size: int


def read_image_info(path: Path, data: bytes | None = None) -> ImageInfo:
    """Read an image's header.

    Args:
        path: the file, whatever its name.
        data: its bytes, where they have been read.

    Raises:
        BadInput: ``missing``, ``unreadable``, ``not_a_file``, ``empty``, ``not_a_picture``, ``undecodable`` or
            ``too_many_pixels``.
    """

    def read(lenient_data: bytes | None, _: str | None) -> ImageInfo:
        with open_image(path, lenient_data) as (image, size):
            return to_image_info(image, size)

    return read_leniently(path, data, read)


@contextmanager
def open_image(path: Path, data: bytes | None = None) -> Iterator[tuple[Image, int]]:
    """Open an image without decoding it; yields it and the size of its file.

    Raises:
        BadInput: as :func:`read_image_info`; errors while decoding inside the block are ``undecodable``.
    """
    from PIL import Image, UnidentifiedImageError

    _register_formats()
    size = len(data) if data is not None else read_head(path)[1]
    if not size:
        raise empty_file_error()
    source: IO[bytes] | Path = BytesIO(data) if data is not None else path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metadata that is odd; sizes are bounded below
        try:
            image = Image.open(source, formats=SUPPORTED_FORMATS)
        except UnidentifiedImageError:
            raise _unknown_format_error(data[:HEAD_BYTES] if data is not None else read_head(path)[0]) from None
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken_image_error(error) from None
        with image:
            _check_size(image)
            try:
                yield image, size
            except (BadInput, GeneratorExit):
                raise
            except MemoryError as error:
                raise broken_image_error(error) from None


def to_image_info(image: Image, size: int) -> ImageInfo:
    """What an opened image is."""
    format_name = FORMAT_NAMES.get(image.format or "", (image.format or "").lower())
    orientation = read_orientation(image)
    is_turned = orientation < _FIRST_SIDEWAYS or _has_turned_size(image)
    width, height = image.size if is_turned else image.size[::-1]
    return ImageInfo(format_name, width, height, orientation, image.mode, _count_frames(image), size)


def seek_frame(image: Image, frame: int) -> None:
    """Go to a frame or page, from 0, of an opened image.

    Raises:
        BadInput: ``undecodable`` where it is not there, or as :func:`read_image_info`.
    """
    try:
        image.seek(frame)
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise broken_image_error(error) from None
    _check_size(image)


def turns_itself(image: Image) -> bool:
    """True for formats whose pixels are turned upright while they are decoded."""
    return image.format == "TIFF"


def _has_turned_size(image: Image) -> bool:
    """True where the size before decoding is that of the upright image: of a TIFF that has its own orientation tag."""
    return turns_itself(image) and _ORIENTATION in getattr(image, "tag_v2", {})


def read_orientation(image: Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata never fails an image
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1  # noqa: PLR2004 (EXIF's eight orientations)


def broken_image_error(error: BaseException) -> BadInput:
    """The error for an image that cannot be decoded: it is broken, or memory is short."""
    if isinstance(error, MemoryError):
        return build_memory_error("there was not enough memory to decode the image")
    reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return BadInput(
        f"the image cannot be decoded: {reason}", kind="undecodable", hint="open it elsewhere, or copy it again"
    )


def _count_frames(image: Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - counting reads the file to its end, which may be broken
        return 1


def _check_size(image: Image) -> None:
    width, height = image.size
    pixels = width * height
    if width < 1 or height < 1 or max(width, height) > _MAX_SIDE:
        raise BadInput(f"the image claims to be {width} by {height} pixels", kind="undecodable")
    format_name = FORMAT_NAMES.get(image.format or "", (image.format or "").lower())
    max_pixels = MAX_PIXELS if format_name in _REDUCIBLE else MAX_PIXELS_UNREDUCED
    if pixels > max_pixels:
        raise BadInput(
            f"the image has {pixels / 1e6:.0f} million pixels, more than {max_pixels / 1e6:.0f}",
            kind="too_many_pixels",
            hint="make it smaller",
        )


def _unknown_format_error(head: bytes) -> BadInput:
    content = describe_content(head, includes_media=True)
    if content in _OPENED:
        return BadInput(
            f"the file begins like {content}, but is damaged or cut off",
            kind="undecodable",
            hint="copy or download it again",
        )
    if content:
        fetch = "git lfs pull" if "Git LFS" in content else "git annex get" if "git-annex" in content else None
        hint = f"fetch it with `{fetch}`" if fetch else "replace it, or leave it out of the source"
        if content == _PDF:
            hint = "make images of its pages: pdftoppm -r 150 -png FILE.pdf page"
        return BadInput(
            f"the file is not a picture that can be sent: it holds {content}", kind="not_a_picture", hint=hint
        )
    return BadInput(
        "the file's content is not an image in any format that is known here",
        kind="not_a_picture",
        hint="check that it opens in a viewer",
    )


@functools.cache
def _register_formats() -> None:
    """Register the formats that Pillow lacks, once; our own limits replace its check for decompression bombs."""
    import pillow_heif
    from PIL import Image

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)
    Image.MAX_IMAGE_PIXELS = None


def verify_image(path: Path, data: bytes | None = None) -> ImageInfo:
    """Decode all of an image; what it is.

    Raises:
        BadInput: as :func:`read_image_info`, and ``undecodable`` where it ends early or is damaged.
    """

    def read(lenient_data: bytes | None, _: str | None) -> ImageInfo:
        with open_image(path, lenient_data) as (image, size):
            info = to_image_info(image, size)
            try:
                image.load()
            except BadInput:
                raise
            except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
                raise broken_image_error(error) from None
            return info

    return read_leniently(path, data, read, cut_off=False)
