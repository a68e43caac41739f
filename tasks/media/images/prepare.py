"""Prepare an image to be sent: it is decoded to its end first, so that a broken one costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Input, Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.image_info import (
    ImageInfo,
    broken_image_error,
    open_image,
    seek_frame,
    to_image_info,
    turns_itself,
)
from mediamill.tasks.media.images.repair import read_leniently

if TYPE_CHECKING:
    from PIL.Image import Image

_MIMES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_QUALITIES = (88, 75, 60)
_COVER_QUALITY = 92
_MAX_LENGTH = 32_000
"""Longest side in pixels of an image that is not reduced by its longer side."""
_ON_BLACK = "transparent: put on black, because nothing is seen on white"
_NEARLY_WHITE = 240
"""An image whose darkest pixel is so light shows nothing."""
_SHRINK_FACTOR = 0.7
_MAX_TRIES = 12
AS_IS_MODES = frozenset({"RGB", "L", "RGBA", "LA", "P", "1"})
"""Colour modes in which an image may be sent as it is."""
_SIXTEEN_BITS = 16
_MAX_OVERSIZE = 1.1
"""An image whose longer side is up to this factor above the requested maximum is not reduced."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What images an endpoint accepts: formats by name (``jpeg``, ``png`` ...), maximum bytes and pixels of one.

    ``max_short_side``: an image of which this is the shorter side is not reduced, however long it is.
    """

    formats: frozenset[str] = frozenset({"jpeg", "png", "webp", "gif"})
    max_bytes: int = 20_000_000
    max_pixels: int | None = None
    max_short_side: int | None = None


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image ready to send: its Input, its size in pixels as it is sent, the original's info, warnings about it.

    ``thumbnail`` is 32 by 32 grey pixels, row by row, where it was requested.
    """

    input: Input
    width: int
    height: int
    info: ImageInfo
    warnings: tuple[str, ...] = ()
    thumbnail: bytes | None = None


def target_size(info: ImageInfo, limits: ImageLimits, max_side: int | None) -> tuple[int, int]:
    """The size in pixels at which an image is sent: within ``max_side`` and the limits, never enlarged."""
    width, height = info.width, info.height
    scale = 1.0
    if max_side is not None and max(width, height) > max_side * _MAX_OVERSIZE:
        scale = max_side / max(width, height)
        if limits.max_short_side is not None:
            scale = max(scale, min(limits.max_short_side / min(width, height), _MAX_LENGTH / max(width, height), 1.0))
    if limits.max_pixels is not None and width * height * scale * scale > limits.max_pixels:
        scale = (limits.max_pixels / (width * height)) ** 0.5
    if scale == 1.0:
        return width, height
    return max(1, int(width * scale)), max(1, int(height * scale))


def prepare_image(
    path: Path,
    sha256: str,
    limits: ImageLimits,
    *,
    max_side: int | None = None,
    data: bytes | None = None,
    thumbnail: bool = False,
    check: Callable[[], None] | None = None,
    frame: int | None = None,
) -> PreparedImage:
    """Decode an image and prepare it to be sent.

    It is sent as it is (recipe ``as-is``) when the endpoint accepts its format and size, it has one frame, and its
    orientation is the normal one. Everything else becomes a JPEG (``jpeg-88-1120x840``): turned upright, 16 bits
    and CMYK converted to eight bits of RGB, the colour profile to sRGB, transparency to white, or to black where
    nothing is seen on white; of several frames or pages one is taken; larger images are reduced. The recipe states all
    that decides how it looks.

    Args:
        path: the file, whatever its name.
        sha256: of its bytes.
        limits: what the endpoint accepts.
        max_side: maximum of its longer side in pixels; None for the original size.
        data: its bytes, where they have been read.
        thumbnail: make one, to find images that look alike.
        check: called between steps; what it raises ends the work.
        frame: which of its frames or pages, from 0; None for the first, with a warning where there are more.

    Raises:
        BadInput: as :func:`~mediamill.tasks.media.images.image_info.read_image_info`, or ``too_large`` where it
            cannot be made to fit.
    """

    def prepare(lenient_data: bytes | None, repair: str | None) -> PreparedImage:
        return _prepare_once(
            path, sha256, limits, max_side, lenient_data, repair, thumbnail=thumbnail, check=check, frame=frame
        )

    return read_leniently(path, data, prepare)


def _prepare_once(
    path: Path,
    sha256: str,
    limits: ImageLimits,
    max_side: int | None,
    data: bytes | None,
    repair: str | None,
    *,
    thumbnail: bool,
    check: Callable[[], None] | None,
    frame: int | None,
) -> PreparedImage:
    """Prepare an image as it is; ``repair`` says what was done to ``data`` so that it can be decoded."""
    with open_image(path, data) as (image, size):
        if frame:
            seek_frame(image, frame)
        info = to_image_info(image, size)
        target = target_size(info, limits, max_side)
        warnings = (*(_to_frame_warnings(info) if frame is None else ()), *([repair] if repair else ()))
        try:
            if repair is None and _image_fits_as_is(info, limits, target):
                image.load()
                small = _make_thumbnail(image) if thumbnail else None
                image_bytes = data if data is not None else path.read_bytes()
                payload = Payload(_name_image_file(info.format), _MIMES[info.format], size, data=image_bytes)
                return PreparedImage(Input(sha256, payload=payload), info.width, info.height, info, warnings, small)
            has_turned_itself = turns_itself(image) and info.orientation > 1
            converted, convert_warnings = _convert_image(image, info, target)
            is_on_black = _ON_BLACK in convert_warnings
        except BadInput:
            raise
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise broken_image_error(error) from None
        if check is not None:
            check()
        small = _make_thumbnail(converted) if thumbnail else None
        encoded, quality, final_size = _encode_to_fit(converted, limits)
    # Images that turn themselves were turned twice once: what was bought of those is not what is sent now.
    recipe = f"jpeg-{quality}-{final_size[0]}x{final_size[1]}{'-upright' if has_turned_itself else ''}"
    recipe += ("-black" if is_on_black else "") + (f"-page{frame + 1}" if frame else "")
    payload = Payload(_name_image_file("jpeg"), "image/jpeg", len(encoded), data=encoded)
    return PreparedImage(
        Input(sha256, recipe, payload=payload), *final_size, info, (*warnings, *convert_warnings), small
    )


def _image_fits_as_is(info: ImageInfo, limits: ImageLimits, size: tuple[int, int]) -> bool:
    return (
        info.format in limits.formats
        and info.format in _MIMES
        and info.size <= limits.max_bytes
        and info.orientation == 1
        and info.frames == 1
        and info.mode in AS_IS_MODES
        and size == (info.width, info.height)
    )


def _to_frame_warnings(info: ImageInfo) -> tuple[str, ...]:
    if info.frames > 1 and info.format != "jpeg":
        return (f"frames: the first of {info.frames} was taken",)
    return ()


def _convert_image(image: Image, info: ImageInfo, size: tuple[int, int]) -> tuple[Image, tuple[str, ...]]:
    """Convert to eight bits of RGB, upright, at the given size; it is decoded no larger than necessary."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    orientation = 1 if turns_itself(image) else info.orientation
    is_sideways = orientation > 4  # noqa: PLR2004 (EXIF: from 5 on width and height are exchanged)
    stored_size = size[::-1] if is_sideways else size
    if info.format == "jpeg" and stored_size != image.size:
        image.draft("RGB" if image.mode != "CMYK" else "CMYK", stored_size)
    image.load()
    warnings: tuple[str, ...] = ()
    converted, profile = image, image.info.get("icc_profile")
    if (
        converted.size[0] > 2 * stored_size[0]
        and converted.size[1] > 2 * stored_size[1]
        and converted.mode in ("RGB", "L", "CMYK", "RGBA")
    ):
        converted = converted.reduce(
            min(converted.size[0] // stored_size[0] // 2 or 1, converted.size[1] // stored_size[1] // 2 or 1) or 1
        )
    if converted.mode.startswith(("I", "F")):
        converted = _to_eight_bits(converted)
    if profile:
        converted, warnings = _to_srgb(converted, profile)
    is_transparent = _is_transparent(converted)
    layer, converted = converted, _flatten(converted)
    if is_transparent and _is_nearly_white(converted):
        on_black = _flatten(layer, "black")
        if not _is_nearly_white(on_black):
            converted, warnings = on_black, (*warnings, _ON_BLACK)
    if converted.size != stored_size:
        converted = converted.resize(stored_size, Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    if orientation > 1:
        converted.getexif()[0x0112] = orientation
        converted = ImageOps.exif_transpose(converted)
    return converted, warnings


def _to_eight_bits(image: Image) -> Image:
    """Scale sixteen bits and more, and floats, to eight bits: Pillow's own conversion cuts them off."""
    import numpy as np
    from PIL import Image as Pillow

    values = np.asarray(image).astype(np.float32)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low = float(values.min())
    high = float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and high < 1 << _SIXTEEN_BITS):
        low, high = 0.0, max(high, 1.0) if high < 1 << 8 else float((1 << _SIXTEEN_BITS) - 1)
    span = (high - low) or 1.0
    return Pillow.fromarray(((values - low) * (255.0 / span)).clip(0, 255).astype(np.uint8), "L")


def _to_srgb(image: Image, profile: bytes) -> tuple[Image, tuple[str, ...]]:
    """Convert colours to sRGB; a broken profile is ignored, with a warning."""
    from PIL import ImageCms

    if image.mode not in ("RGB", "CMYK", "L"):
        return image, ()
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target_profile = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target_profile, outputMode="RGB")
    except Exception:  # noqa: BLE001 - broken metadata never fails an image
        return image, ("profile: its colour profile cannot be used",)
    return (image if converted is None else converted), ()


def _is_transparent(image: Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or (image.mode in ("P", "RGB", "L") and "transparency" in image.info)


def _is_nearly_white(image: Image) -> bool:
    return image.convert("L").point(lambda value: 255 if value < _NEARLY_WHITE else 0).getbbox() is None


def _flatten(image: Image, ground: str = "white") -> Image:
    """Convert to RGB or grey; transparent pixels get the colour of the ground."""
    from PIL import Image as Pillow

    if _is_transparent(image):
        rgba = image.convert("RGBA")
        background = Pillow.new("RGBA", rgba.size, ground)
        return Pillow.alpha_composite(background, rgba).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _encode_to_fit(image: Image, limits: ImageLimits) -> tuple[bytes, int, tuple[int, int]]:
    """Encode as a JPEG within the limit's bytes: with lower quality first, then smaller.

    Raises:
        BadInput: ``too_large``.
    """
    from PIL import Image as Pillow

    for _ in range(_MAX_TRIES):
        for quality in _QUALITIES:
            out = BytesIO()
            image.save(out, "JPEG", quality=quality)
            if out.tell() <= limits.max_bytes:
                return out.getvalue(), quality, image.size
        smaller_size = (int(image.size[0] * _SHRINK_FACTOR), int(image.size[1] * _SHRINK_FACTOR))
        if min(smaller_size) < 1:
            break
        image = image.resize(smaller_size, Pillow.Resampling.LANCZOS)
    raise BadInput(f"the image cannot be made smaller than {limits.max_bytes} bytes", kind="too_large")


def _make_thumbnail(image: Image) -> bytes:
    from PIL import Image as Pillow

    small = _flatten(image).convert("L").resize((32, 32), Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    return small.tobytes()


def _name_image_file(format_name: str) -> str:
    return f"picture.{'jpg' if format_name == 'jpeg' else format_name}"


def crop_to_size(path: Path, sha256: str, size: tuple[int, int], data: bytes | None = None) -> Input:
    """An image for an endpoint that accepts one size only: scaled, cropped around its middle, upright, as a JPEG.

    Args:
        path: the file, whatever its name.
        sha256: of its bytes.
        size: width and height in pixels.
        data: its bytes, where they have been read.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from PIL import ImageOps

    def crop(lenient_data: bytes | None, _: str | None) -> bytes:
        with open_image(path, lenient_data) as (image, _size):
            try:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                output = BytesIO()
                ImageOps.fit(upright, size).save(output, "JPEG", quality=_COVER_QUALITY)
            except BadInput:
                raise
            except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
                raise broken_image_error(error) from None
            return output.getvalue()

    cropped = read_leniently(path, data, crop)
    recipe = f"cover-{_COVER_QUALITY}-{size[0]}x{size[1]}"
    payload = Payload("picture.jpg", "image/jpeg", len(cropped), data=cropped)
    return Input(sha256, recipe, payload=payload)
