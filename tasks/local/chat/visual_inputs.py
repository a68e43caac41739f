"""Images and videos of a prompt: their size is read first, then they are decoded and measured."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.chat.chat_dialects import ChatDialect
from mediamill.tasks.local.chat.image_measurements import find_ocr_program, measure_colors, read_image_text
from mediamill.tasks.local.server.api_error import ApiError

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION, _TURNED = 0x0112, range(2, 9)
_MAKER, _CAMERA, _CHANGED = 0x010F, 0x0110, 0x0132
_DETAILS, _TAKEN = 0x8769, 0x9003
_MAX_NOTE = 80
_MIN = 64
_SAMPLES = 4
_SIDE = 64
_MAX_COLORS = 3


@dataclass(frozen=True, slots=True)
class VisualInput:
    """One picture or video. Sizes are in pixels as it is looked at, its orientation applied; ``size`` is in bytes.

    Attributes:
        brightness: 0 for black to 1 for white.
        colors: names of the most frequent, most frequent first.
        turned: it was stored on its side or head and is shown upright by its orientation.
        taken: when, as the camera wrote it.
        text: what was read in it.
    """

    kind: str
    sha256: str
    size: int
    format: str
    width: int
    height: int
    detail: str = "auto"
    colors: tuple[str, ...] = ()
    brightness: float = 0.0
    turned: bool = False
    camera: str | None = None
    taken: str | None = None
    text: str | None = None
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    ending: float | None = None


def decode_image_input(data: bytes, detail: str, chat_dialect: ChatDialect, *, measure: bool) -> VisualInput:
    """Decode a picture, and measure it where that is asked for. Blocking.

    Raises:
        ApiError: when it is broken, too large, or of a format that the provider does not take.
    """
    from PIL import Image, UnidentifiedImageError

    named = ", ".join(name.lower() for name in chat_dialect.formats)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # metadata that is odd; sizes are bounded by _check
            with Image.open(BytesIO(data), formats=chat_dialect.formats) as image:
                _check_image_limits(image, chat_dialect)
                return _measure_image(image, data, detail, measure=measure)
    except UnidentifiedImageError:
        raise ApiError("bad_picture", f"Unsupported image: it must be one of {named}", param="messages") from None
    except Image.DecompressionBombError:
        message = f"the image has more than {chat_dialect.max_pixels} pixels"
        raise ApiError("bad_picture", message, param="messages") from None
    except ApiError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise ApiError("bad_picture", f"Invalid image: {type(error).__name__}", param="messages") from None


def _check_image_limits(image: Image, chat_dialect: ChatDialect) -> None:
    pixels = image.width * image.height
    if pixels > chat_dialect.max_pixels:
        message = f"the image has {pixels} pixels, more than {chat_dialect.max_pixels}"
        raise ApiError("bad_picture", message, param="messages")
    if not chat_dialect.animated and image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
        raise ApiError("bad_picture", "Unsupported image: animated GIFs are not supported", param="messages")


def _measure_image(image: Image, data: bytes, detail: str, *, measure: bool) -> VisualInput:
    width, height, form = image.width, image.height, image.format or ""
    notes = _read_exif(image)
    orientation = notes.get("orientation")
    if form == "JPEG" and not (measure and find_ocr_program()):
        image.draft(None, (max(_MIN, width // 8), max(_MIN, height // 8)))  # every scan is read all the same
    image.load()
    sideways = orientation in range(5, 9)
    names, brightness = measure_colors(image) if measure else ((), 0.0)
    return VisualInput(
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
        text=read_image_text(image, orientation) if measure else None,
    )


def _read_exif(image: Image) -> dict[str, Any]:
    """Orientation, camera and time; a picture whose notes are broken has none."""
    try:
        exif = image.getexif()
        taken = exif.get_ifd(_DETAILS).get(_TAKEN) or exif.get(_CHANGED)
        found = {"camera": exif.get(_CAMERA) or exif.get(_MAKER), "taken": taken}
        orientation = exif.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - metadata is the camera's own affair
        return {}
    kept = {name: " ".join(str(value).replace("\0", " ").split())[:_MAX_NOTE] for name, value in found.items() if value}
    return {**kept, "orientation": orientation}


def decode_video_input(data: bytes) -> VisualInput:
    """Decode and measure some of a video's frames. Blocking.

    Raises:
        ApiError: when it is not a video that can be decoded.
    """
    from PIL import Image

    from mediamill.tasks.media.frames import frames_at, read_video_info, times

    with tempfile.NamedTemporaryFile(prefix="mediamill-video-", suffix=".bin") as file:
        file.write(data)
        file.flush()
        try:
            info = read_video_info(Path(file.name))
            frames = frames_at(Path(file.name), times(0.0, info.seconds, frames=_SAMPLES), _SIDE)
        except BadInput as error:
            raise ApiError("bad_picture", f"Invalid video: {error.message}", param="messages") from None
    measured = []
    for frame in frames:
        with Image.open(BytesIO(frame.data), formats=("JPEG",)) as image:
            measured.append(measure_colors(image))
    names = dict.fromkeys(name for found, _ in measured for name in found)
    return VisualInput(
        kind="video",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format=info.format,
        width=info.width,
        height=info.height,
        colors=tuple(names)[:_MAX_COLORS],
        brightness=measured[0][1],
        seconds=info.seconds,
        frames=max(1, round(info.seconds * info.fps)),
        fps=info.fps,
        ending=measured[-1][1],
    )
