"""Images and videos of a prompt: their size is checked first, then they are decoded and measured."""

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

_EXIF_ORIENTATION, _ROTATED_ORIENTATIONS = 0x0112, range(2, 9)
_EXIF_MAKE, _EXIF_MODEL, _EXIF_DATETIME = 0x010F, 0x0110, 0x0132
_EXIF_SUB_IFD, _EXIF_DATETIME_ORIGINAL = 0x8769, 0x9003
_MAX_EXIF_CHARS = 80
_MIN_DRAFT_SIDE = 64
_SAMPLED_FRAMES = 4
_FRAME_SIDE = 64
_MAX_COLORS = 3


@dataclass(frozen=True, slots=True)
class VisualInput:
    """One image or video. Width and height are in pixels, with its orientation applied; ``size`` is in bytes.

    Attributes:
        brightness: from 0 for black to 1 for white; of a video's first frame.
        colors: names of the most frequent colours, in order of frequency.
        rotated: it is stored rotated or mirrored, and its orientation says how to show it upright.
        taken_at: its time as the camera wrote it.
        text: the text recognised in it.
        end_brightness: of a video's last frame.
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
    rotated: bool = False
    camera: str | None = None
    taken_at: str | None = None
    text: str | None = None
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None
    end_brightness: float | None = None


def decode_image_input(data: bytes, detail: str, chat_dialect: ChatDialect, *, measure: bool) -> VisualInput:
    """Decode an image, and measure it if ``measure``. Blocking.

    Raises:
        ApiError: when it is broken, too large, or of a format that the provider does not accept.
    """
    from PIL import Image, UnidentifiedImageError

    format_names = ", ".join(name.lower() for name in chat_dialect.image_formats)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; sizes are checked below
            with Image.open(BytesIO(data), formats=chat_dialect.image_formats) as image:
                _check_image_limits(image, chat_dialect)
                return _measure_image(image, data, detail, measure=measure)
    except UnidentifiedImageError:
        raise ApiError("bad_image", f"Unsupported image: it must be one of {format_names}", param="messages") from None
    except Image.DecompressionBombError:
        message = f"the image has more than {chat_dialect.max_pixels} pixels"
        raise ApiError("bad_image", message, param="messages") from None
    except ApiError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise ApiError("bad_image", f"Invalid image: {type(error).__name__}", param="messages") from None


def _check_image_limits(image: Image, chat_dialect: ChatDialect) -> None:
    pixels = image.width * image.height
    if pixels > chat_dialect.max_pixels:
        message = f"the image has {pixels} pixels, more than {chat_dialect.max_pixels}"
        raise ApiError("bad_image", message, param="messages")
    if not chat_dialect.takes_animated_gif and image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
        raise ApiError("bad_image", "Unsupported image: animated GIFs are not supported", param="messages")


def _measure_image(image: Image, data: bytes, detail: str, *, measure: bool) -> VisualInput:
    width, height, image_format = image.width, image.height, image.format or ""
    exif = _read_exif(image)
    orientation = exif.get("orientation")
    if image_format == "JPEG" and not (measure and find_ocr_program()):
        image.draft(
            None, (max(_MIN_DRAFT_SIDE, width // 8), max(_MIN_DRAFT_SIDE, height // 8))
        )  # all scans are decoded all the same
    image.load()
    sideways = orientation in range(5, 9)
    names, brightness = measure_colors(image) if measure else ((), 0.0)
    return VisualInput(
        kind="image",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format="JPEG" if image_format == "MPO" else image_format,
        width=height if sideways else width,
        height=width if sideways else height,
        detail=detail,
        colors=names,
        brightness=brightness,
        rotated=orientation in _ROTATED_ORIENTATIONS,
        camera=exif.get("camera"),
        taken_at=exif.get("taken"),
        text=read_image_text(image, orientation) if measure else None,
    )


def _read_exif(image: Image) -> dict[str, Any]:
    """Orientation, camera and time of an image's EXIF data; none when that is broken."""
    try:
        exif = image.getexif()
        taken = exif.get_ifd(_EXIF_SUB_IFD).get(_EXIF_DATETIME_ORIGINAL) or exif.get(_EXIF_DATETIME)
        values = {"camera": exif.get(_EXIF_MODEL) or exif.get(_EXIF_MAKE), "taken": taken}
        orientation = exif.get(_EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - broken metadata does not make an image invalid
        return {}
    kept = {
        name: " ".join(str(value).replace("\0", " ").split())[:_MAX_EXIF_CHARS]
        for name, value in values.items()
        if value
    }
    return {**kept, "orientation": orientation}


def decode_video_input(data: bytes) -> VisualInput:
    """Decode and measure some of a video's frames. Blocking.

    Raises:
        ApiError: when it is not a video that can be decoded.
    """
    from PIL import Image

    from mediamill.tasks.media.frames import extract_frames, read_video_info, spread_times

    with tempfile.NamedTemporaryFile(prefix="mediamill-video-", suffix=".bin") as file:
        file.write(data)
        file.flush()
        try:
            info = read_video_info(Path(file.name))
            frames = extract_frames(
                Path(file.name),
                spread_times(info.start, info.start + info.seconds, frames=_SAMPLED_FRAMES),
                _FRAME_SIDE,
            )
        except BadInput as error:
            raise ApiError("bad_image", f"Invalid video: {error.message}", param="messages") from None
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
        end_brightness=measured[-1][1],
    )
