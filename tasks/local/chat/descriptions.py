"""Measurements of images and videos as text, which says that it is not a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.local.chat.visual_inputs import VisualInput

_MAX_DARK, _MIN_BRIGHT = 0.33, 0.66
_SQUARE_TOLERANCE = 0.05


def describe_inputs(inputs: Sequence[VisualInput]) -> str:
    """Describe all inputs, numbered when there are several."""
    lines = [_describe_input(each) for each in inputs]
    if len(lines) > 1:
        lines = [f"{n}: {each}" for n, each in enumerate(lines, 1)]
    return "A description, not a caption: " + "; ".join(lines) + "."


def collect_known_values(text: str, inputs: Sequence[VisualInput]) -> Mapping[str, Any]:
    """Values by names that a schema's properties may have."""
    texts = ("text", "caption", "description", "title", "answer", "summary", "alt", "reason")
    known: dict[str, Any] = dict.fromkeys(texts, text)
    if not inputs:
        return known
    first = inputs[0]
    main_color = next(iter(first.colors), "grey")
    known |= {
        "width": first.width,
        "height": first.height,
        "size": first.size,
        "format": first.format,
        "orientation": _describe_shape(first),
        "brightness": round(first.brightness, 3),
        "colors": list(first.colors),
        "colours": list(first.colors),
        "color": main_color,
        "colour": main_color,
        "tags": [*first.colors, _describe_brightness(first.brightness), first.format.lower()],
        "keywords": [*first.colors, _describe_brightness(first.brightness), first.format.lower()],
        "count": len(inputs),
        "ocr": first.text or "",
    }
    optional = {"camera": first.camera, "taken": first.taken_at, "date": first.taken_at, "seconds": first.seconds}
    optional |= {"duration": first.seconds, "frames": first.frames, "fps": first.fps}
    return known | {name: value for name, value in optional.items() if value is not None}


def _describe_shape(image: VisualInput) -> str:
    if abs(image.width - image.height) < _SQUARE_TOLERANCE * max(image.width, image.height):
        return "square"
    return "wide" if image.width > image.height else "tall"


def _describe_brightness(brightness: float) -> str:
    return "dark" if brightness < _MAX_DARK else "bright" if brightness > _MIN_BRIGHT else "of middling brightness"


def _describe_input(media: VisualInput) -> str:
    shape = _describe_shape(media)
    if media.kind == "video":
        begins, ends = (
            _describe_brightness(media.brightness),
            _describe_brightness(media.brightness if media.end_brightness is None else media.end_brightness),
        )
        parts = [
            f"a {shape} {media.format} video of {media.seconds or 0:.1f} s, {media.width} by {media.height} pixels",
            f"{media.frames} frames at {media.fps or 0:g} a second",
        ]
    else:
        begins = ends = _describe_brightness(media.brightness)
        parts = [f"a {shape} {media.format} picture of {media.width} by {media.height} pixels"]
    if media.colors:
        parts.append(f"mostly {' and '.join(media.colors)}")
    parts.append(begins if begins == ends else f"beginning {begins} and ending {ends}")
    if media.rotated:
        parts.append("turned upright by its orientation")
    if media.camera:
        parts.append(f"taken with {media.camera}")
    if media.taken_at:
        parts.append(f"on {media.taken_at}")
    if media.text:
        parts.append(f"with the text '{media.text}'")
    return ", ".join(parts)
