"""Images: a colour gradient, the prompt's words, and a mark that says they are simulated."""

from __future__ import annotations

import colorsys
import textwrap
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mediamill.tasks.local.media_generation.specs import ImageSpec, hash_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "simulated"
_HUES = 360
_MIN_FONT, _MAX_FONT = 8, 96
_SOFTWARE = 0x0131
_DESCRIPTION = 0x010E


def render_image(spec: ImageSpec) -> bytes:
    """Render an image file. Blocking; the same spec gives the same bytes."""
    digest = hash_prompt(spec.words, spec.seed)
    image = render_card(spec.words, spec.width, spec.height, digest % _HUES / _HUES)
    file = BytesIO()
    image.save(file, spec.form, **_build_save_options(spec.form))
    return file.getvalue()


def render_card(text: str, width: int, height: int, hue: float) -> Image:
    """Render an image in memory; ``hue`` is from 0 to 1."""
    from PIL import Image, ImageDraw, ImageOps

    dark, light = (_to_rgb(hue, value) for value in (0.35, 0.75))
    image = ImageOps.colorize(Image.linear_gradient("L").resize((width, height)), dark, light)
    pen = ImageDraw.Draw(image)
    size = max(_MIN_FONT, min(_MAX_FONT, min(width, height) // 14))
    font, margin = _load_font(size), size
    across = max(8, int((width - 2 * margin) / (0.55 * size)))
    down = max(1, int((height - 4 * margin) / (1.4 * size)))
    lines = textwrap.wrap(text, across)[:down]
    pen.multiline_text((margin, margin), "\n".join(lines), fill="white", font=font, spacing=size * 0.3)
    pen.text((margin, height - margin), MARK, fill="white", font=font, anchor="ls")
    return image


def _to_rgb(hue: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.6, value))
    return red, green, blue


def _build_save_options(image_format: str) -> dict[str, Any]:
    """Pillow's options for saving: fast, and with metadata that says it is simulated."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if image_format == "png":
        notes = PngInfo()
        notes.add_text("Software", "mediamill")
        notes.add_text("Comment", MARK)
        return {"compress_level": 1, "pnginfo": notes}
    exif = Image.Exif()
    exif[_SOFTWARE], exif[_DESCRIPTION] = "mediamill", MARK
    return {"quality": 80, "exif": exif.tobytes(), **({"method": 0} if image_format == "webp" else {})}


@lru_cache(_MAX_FONT)
def _load_font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
