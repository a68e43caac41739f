"""Pictures and videos as they were sent: fetched, bounded, decoded to their end, measured."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
import subprocess
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.local.dialects import Dialect
from tasks.local.refusal import Refusal

if TYPE_CHECKING:
    from PIL.Image import Image

    from tasks.local.chat.asked import Source

_DATA = re.compile(r"data:(?P<mime>[a-z]+/[a-zA-Z0-9.+-]+);base64,(?P<data>[A-Za-z0-9+/=\s]+)")
_MIB = 1024 * 1024
_FORMATS = {
    "xai": ("JPEG", "PNG"),
    "openai": ("JPEG", "PNG", "WEBP", "GIF"),
    "groq": ("JPEG", "PNG", "WEBP", "GIF"),
}
_USUAL = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MOST_BYTES = {"xai": 20 * _MIB, "groq": 20 * _MIB}
_MOST_PIXELS = {"groq": 33_177_600}
_ANY_PIXELS = 100_000_000
_THUMBNAIL = 64
_OCR_SECONDS = 20
_MOST_OCR = 2000
_NAMED = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (200, 30, 30),
    "orange": (240, 140, 20),
    "yellow": (240, 220, 40),
    "green": (40, 150, 50),
    "turquoise": (40, 190, 190),
    "blue": (40, 70, 200),
    "light blue": (150, 200, 240),
    "purple": (130, 50, 160),
    "pink": (240, 150, 190),
    "brown": (120, 75, 40),
    "beige": (225, 205, 170),
}
_EXIF = {0x010F: "maker", 0x0110: "camera", 0x0132: "date"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to say of one picture or video."""

    kind: str
    sha256: str
    size: int
    format: str
    width: int
    height: int
    detail: str
    colors: tuple[str, ...] = ()
    brightness: float = 0.0
    camera: str | None = None
    taken: str | None = None
    text: str | None = None
    seconds: float | None = None
    frames: int | None = None
    fps: float | None = None


async def bytes_of(source: Source, dialect: Dialect, hosts: list[str], limit: int, cleanup: ExitStack) -> bytes:
    """What a URL stands for.

    Raises:
        Refusal: when it cannot be read, or is too large.
    """
    if not source.url.startswith("data:"):
        from tasks.local.fetch import fetch

        got = await fetch(source.url, hosts, _MOST_BYTES.get(dialect.name, limit), cleanup)
        assert got.path is not None
        return got.path.read_bytes()
    found = _DATA.fullmatch(source.url)
    try:
        data = base64.b64decode(found["data"], validate=False) if found else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise Refusal("bad_value", f"Invalid {source.kind} data: not a base64 data URL", param="messages")
    if len(data) > _MOST_BYTES.get(dialect.name, limit):
        raise Refusal("url_too_large", f"the {source.kind} is too large", param="messages")
    return data


def look(data: bytes, source: Source, dialect: Dialect, *, measure: bool) -> Seen:
    """Decode, and measure where that is asked for. Blocking.

    Raises:
        Refusal: when it is broken, too large, or of a format that the provider does not take.
    """
    if source.kind == "video":
        return _video(data)
    from PIL import Image, UnidentifiedImageError

    formats = _FORMATS.get(dialect.name, _USUAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=formats) as image:
                _check(image, dialect)
                image.load()
                return _seen(image, data, source, measure=measure)
    except UnidentifiedImageError:
        raise Refusal(
            "unsupported_format", f"Invalid image: it must be one of {', '.join(formats)}", param="messages"
        ) from None
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        raise Refusal("bad_value", f"Invalid image: {type(error).__name__}", param="messages") from None


def _check(image: Image, dialect: Dialect) -> None:
    pixels = image.width * image.height
    most = _MOST_PIXELS.get(dialect.name, _ANY_PIXELS)
    if pixels > most:
        raise Refusal("bad_value", f"the image has {pixels} pixels, more than {most}", param="messages")
    if dialect.name == "openai" and image.format == "GIF" and getattr(image, "n_frames", 1) > 1:
        raise Refusal("unsupported_format", "animated GIFs are not supported", param="messages")


def _seen(image: Image, data: bytes, source: Source, *, measure: bool) -> Seen:
    exif = {name: str(value).strip("\0 ") for tag, name in _EXIF.items() if (value := image.getexif().get(tag))}
    names, brightness = _colours(image) if measure else ((), 0.0)
    return Seen(
        kind="image",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        format=image.format or "",
        width=image.width,
        height=image.height,
        detail=source.detail,
        colors=names,
        brightness=brightness,
        camera=exif.get("camera") or exif.get("maker"),
        taken=exif.get("date"),
        text=_words_in(image) if measure else None,
    )


def _colours(image: Image) -> tuple[tuple[str, ...], float]:
    """The names of its most frequent colours, and how bright it is, from 0 to 1."""
    import numpy as np

    pixels = np.asarray(_on_white(image).resize((_THUMBNAIL, _THUMBNAIL)), dtype=np.int32).reshape(-1, 3)
    known = np.array(list(_NAMED.values()), dtype=np.int32)
    nearest = ((pixels[:, None, :] - known[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(known))
    names = list(_NAMED)
    ranked = sorted(range(len(names)), key=lambda n: -int(counts[n]))
    return tuple(names[n] for n in ranked[:3] if counts[n] * 10 >= len(pixels)), float(pixels.mean()) / 255


def _on_white(image: Image) -> Image:
    from PIL import Image as Pillow

    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _words_in(image: Image) -> str | None:
    """The text in a picture, where tesseract is there to read it."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        image.convert("L").save(file, "PNG")
        file.flush()
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [program, file.name, "-", "--psm", "6"], capture_output=True, timeout=_OCR_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    return " ".join(done.stdout.decode("utf-8", "replace").split())[:_MOST_OCR] or None


def _video(data: bytes) -> Seen:
    import av

    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(data)
        file.flush()
        try:
            with av.open(file.name, options={"protocol_whitelist": "file"}) as container:
                stream = container.streams.video[0]
                frames = 0
                first = None
                for frame in container.decode(stream):
                    first = first or frame
                    frames += 1
                assert first is not None
                seconds = float(container.duration or 0) / 1_000_000
                small = first.reformat(_THUMBNAIL, _THUMBNAIL, format="rgb24").to_ndarray()
                return Seen(
                    kind="video",
                    sha256=hashlib.sha256(data).hexdigest(),
                    size=len(data),
                    format=container.format.name.partition(",")[0],
                    width=first.width,
                    height=first.height,
                    detail="auto",
                    brightness=float(small.mean()) / 255,
                    seconds=seconds,
                    frames=frames,
                    fps=float(stream.average_rate or 0),
                )
        except Exception as error:  # noqa: BLE001 - decoders raise whatever broken files make them raise
            raise Refusal("bad_value", f"Invalid video: {type(error).__name__}", param="messages") from None
