"""Pictures as they were sent: their size is read first, then they are decoded to their end."""

from __future__ import annotations

import hashlib
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mediamill.tasks.local.chat.chat_dialects import Vendor
from mediamill.tasks.local.chat.image_measurements import colours, reader, words_in
from mediamill.tasks.local.chat.seen import Seen
from mediamill.tasks.local.server.api_error import Refusal

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION, _TURNED = 0x0112, range(2, 9)
_MAKER, _CAMERA, _CHANGED = 0x010F, 0x0110, 0x0132
_DETAILS, _TAKEN = 0x8769, 0x9003
_MOST_NOTE = 80
_LEAST = 64


def look(data: bytes, detail: str, vendor: Vendor, *, measure: bool) -> Seen:
    """Decode a picture, and measure it where that is asked for. Blocking.

    Raises:
        Refusal: when it is broken, too large, or of a format that the provider does not take.
    """
    from PIL import Image, UnidentifiedImageError

    named = ", ".join(name.lower() for name in vendor.formats)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # metadata that is odd; sizes are bounded by _check
            with Image.open(BytesIO(data), formats=vendor.formats) as image:
                _check(image, vendor)
                return _seen(image, data, detail, measure=measure)
    except UnidentifiedImageError:
        raise Refusal("bad_picture", f"Unsupported image: it must be one of {named}", param="messages") from None
    except Image.DecompressionBombError:
        message = f"the image has more than {vendor.most_pixels} pixels"
        raise Refusal("bad_picture", message, param="messages") from None
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise Refusal("bad_picture", f"Invalid image: {type(error).__name__}", param="messages") from None


def _check(image: Image, vendor: Vendor) -> None:
    pixels = image.width * image.height
    if pixels > vendor.most_pixels:
        message = f"the image has {pixels} pixels, more than {vendor.most_pixels}"
        raise Refusal("bad_picture", message, param="messages")
    if not vendor.animated and image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
        raise Refusal("bad_picture", "Unsupported image: animated GIFs are not supported", param="messages")


def _seen(image: Image, data: bytes, detail: str, *, measure: bool) -> Seen:
    width, height, form = image.width, image.height, image.format or ""
    notes = _notes(image)
    orientation = notes.get("orientation")
    if form == "JPEG" and not (measure and reader()):
        image.draft(None, (max(_LEAST, width // 8), max(_LEAST, height // 8)))  # every scan is read all the same
    image.load()
    sideways = orientation in range(5, 9)
    names, brightness = colours(image) if measure else ((), 0.0)
    return Seen(
        kind="image",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format="JPEG" if form == "MPO" else form,
        width=height if sideways else width,
        height=width if sideways else height,
        detail=detail,
        colors=names,
        brightness=brightness,
        turned=orientation in _TURNED,
        camera=notes.get("camera"),
        taken=notes.get("taken"),
        text=words_in(image, orientation) if measure else None,
    )


def _notes(image: Image) -> dict[str, Any]:
    """Orientation, camera and time; a picture whose notes are broken has none."""
    try:
        exif = image.getexif()
        taken = exif.get_ifd(_DETAILS).get(_TAKEN) or exif.get(_CHANGED)
        told = {"camera": exif.get(_CAMERA) or exif.get(_MAKER), "taken": taken}
        orientation = exif.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - metadata is the camera's own affair
        return {}
    kept = {name: " ".join(str(value).replace("\0", " ").split())[:_MOST_NOTE] for name, value in told.items() if value}
    return {**kept, "orientation": orientation}
