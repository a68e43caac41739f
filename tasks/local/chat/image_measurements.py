"""Measurements of images: their main colours, their brightness, the text in them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from mediamill.tasks.system.ocr_models import reads_described_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

_THUMBNAIL = 64
_MAX_SAMPLED_SIDE = 512
_MIN_SHARE = 10
_OCR_SECONDS = 20
_OCR_SIDE = 4000
_MAX_OCR_CHARS = 2000
_COLORS = {
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
_ROTATIONS = {3: 180, 6: 270, 8: 90}


def measure_colors(image: Image) -> tuple[tuple[str, ...], float]:
    """The names of the most frequent colours, each at least a tenth of the pixels, and the brightness, from 0 to 1."""
    import numpy as np

    pixels = np.asarray(_flatten_on_white(_to_thumbnail(image)), dtype=np.int32).reshape(-1, 3)
    known = np.array(list(_COLORS.values()), dtype=np.int32)
    nearest = ((pixels[:, None, :] - known[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(known))
    names = list(_COLORS)
    ranked = sorted(range(len(names)), key=lambda n: -int(counts[n]))
    return tuple(names[n] for n in ranked[:3] if counts[n] * _MIN_SHARE >= len(pixels)), float(pixels.mean()) / 255


def find_ocr_program() -> str | None:
    """The path of tesseract, which recognises text; None when it is not on PATH, or the OCR engine does it better."""
    return None if reads_described_pictures() else shutil.which("tesseract")


def read_image_text(image: Image, orientation: int | None) -> str | None:
    """The text in an image; None when there is none, or no tesseract to recognise it."""
    program = find_ocr_program()
    if program is None:
        return None
    grey = image.convert("L")
    grey.thumbnail((_OCR_SIDE, _OCR_SIDE))
    if orientation in _ROTATIONS:
        grey = grey.rotate(_ROTATIONS[orientation], expand=True)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        grey.save(file, "PNG")
        file.flush()
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [program, file.name, "-", "--psm", "6"], capture_output=True, timeout=_OCR_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
    return " ".join(done.stdout.decode("utf-8", "replace").split())[:_MAX_OCR_CHARS] or None


def _to_thumbnail(image: Image) -> Image:
    """A thumbnail; sixteen bits per channel are scaled to eight, where Pillow would clip them."""
    import numpy as np
    from PIL import Image as Pillow

    if image.mode == "P" or image.mode.startswith("I") or image.mode == "F":
        sides = (min(image.width, _MAX_SAMPLED_SIDE), min(image.height, _MAX_SAMPLED_SIDE))
        image = image.resize(sides, Pillow.Resampling.NEAREST)  # before anything makes its pixels larger
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        maximum = 65535.0 if float(values.max(initial=0)) > 255 else 255.0  # noqa: PLR2004
        image = Pillow.fromarray((np.clip(values, 0, maximum) * 255 / maximum).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.resize((_THUMBNAIL, _THUMBNAIL), Pillow.Resampling.BOX)


def _flatten_on_white(image: Image) -> Image:
    from PIL import Image as Pillow

    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", layer.size, "white"), layer).convert("RGB")
