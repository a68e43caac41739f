"""Pages with known text, drawn and spoiled in known ways: turned, blurred, unevenly lit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 1240, 1754
"""A4 at 150 dots per inch."""
_MARGIN = 120
_POINTS_PER_INCH, _DOTS_PER_INCH = 72, 150

PARAGRAPHS = (
    "The harbour office opens at 7:30 and closes at 18:00, except on Sundays and in the week before Christmas.",
    "Invoice 2026-0417: 12 boxes of tea (black, 250 g) at 3.95 each, total 47.40 EUR; please pay within 30 days.",
    "Der Zug nach Köln fährt um 9:12 Uhr von Gleis 4 ab; Fahrräder gehören in den letzten Wagen.",
    "Les clés étaient sur la table, à côté du vieux téléphone, et personne ne les avait vues hier soir.",
    "El niño soñó que volaba sobre la montaña y que el río cantaba una canción antigua.",
    "Nothing was lost in the fire but an old map, two chairs and a letter that nobody had read.",
    "Write to order@example.org or call +49 221 555-0199 (weekdays, 8-16 h).",
)
ENGLISH = tuple(paragraph for paragraph in PARAGRAPHS if paragraph.isascii())
"""Those that Pillow's own font has every letter of."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def load_font(points: float, path: Path | None = None) -> Font:
    """A font at a size in points; Pillow's own where no file is named."""
    pixels = round(points * _DOTS_PER_INCH / _POINTS_PER_INCH)
    return ImageFont.truetype(str(path), pixels) if path else ImageFont.load_default(pixels)


def draw_page(font: Font, paragraphs: Sequence[str] = PARAGRAPHS, columns: int = 1, heading: str = "") -> Image.Image:
    """A page of paragraphs in columns of equal width, below a heading where there is one."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    draw = ImageDraw.Draw(image)
    line_height = round(_measure(draw, "Hg", font)[1] * 1.7)
    top = _MARGIN
    if heading:
        draw.text((_MARGIN, top), heading, font=font, fill=20)
        top += 2 * line_height
    gutter = 60
    width = (WIDTH - 2 * _MARGIN - gutter * (columns - 1)) // columns
    per_column = -(-len(paragraphs) // columns)
    for column in range(columns):
        y = top
        for paragraph in paragraphs[column * per_column : (column + 1) * per_column]:
            for line in _wrap(draw, paragraph, font, width):
                draw.text((_MARGIN + column * (width + gutter), y), line, font=font, fill=20)
                y += line_height
            y += line_height // 2
    return image


def _measure(draw: ImageDraw.ImageDraw, text: str, font: Font) -> tuple[float, float]:
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    return right - left, bottom - top


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if draw.textlength(longer, font=font) <= width:
            line = longer
        else:
            lines.append(line)
            line = word
    return [*lines, line]


def turn(image: Image.Image, degrees: float) -> Image.Image:
    """Turned clockwise on a larger white page."""
    return image.rotate(-degrees, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)


def blur(image: Image.Image) -> Image.Image:
    """Out of focus by 1.8 pixels."""
    return image.filter(ImageFilter.GaussianBlur(1.8))


def light_unevenly(image: Image.Image, seed: int = 7) -> Image.Image:
    """Lit from one corner, which leaves a third of the light in the other, with a sensor's noise."""
    pixels = np.asarray(image, dtype=np.float64)
    height, width = pixels.shape
    y, x = np.mgrid[0:height, 0:width]
    light = 0.35 + 0.65 * np.exp(
        -(((x - width * 0.25) / (width * 0.6)) ** 2 + ((y - height * 0.2) / (height * 0.6)) ** 2)
    )
    noise = np.random.default_rng(seed).normal(0, 6, pixels.shape)
    return Image.fromarray((pixels * light + noise).clip(0, 255).astype(np.uint8))


SPOILED: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "clean": lambda image: image,
    "turned by 90": lambda image: turn(image, 90),
    "turned by 180": lambda image: turn(image, 180),
    "turned by 270": lambda image: turn(image, 270),
    "askew by 3": lambda image: turn(image, 3),
    "askew by -7": lambda image: turn(image, -7),
    "blurred": blur,
    "unevenly lit": light_unevenly,
}


def encode(image: Image.Image) -> bytes:
    """The picture as a PNG."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def measure_errors(expected: str, found: str) -> float:
    """Character error rate; runs of blanks and line ends count as one blank."""
    import jiwer

    return float(jiwer.cer(" ".join(expected.split()), " ".join(found.split()) or "-"))
