"""Measurements of pictures and videos in words that do not pretend to be more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.local.chat.visual_inputs import VisualInput

_DARK, _BRIGHT = 0.33, 0.66
_SQUARE = 0.05


def describe_inputs(seen: Sequence[VisualInput]) -> str:
    """All of them, numbered where they are several."""
    lines = [_describe_input(each) for each in seen]
    if len(lines) > 1:
        lines = [f"{n}: {each}" for n, each in enumerate(lines, 1)]
    return "A description, not a caption: " + "; ".join(lines) + "."


def collect_known_values(words: str, seen: Sequence[VisualInput]) -> Mapping[str, Any]:
    """What properties of a schema may be called, and what is known of that."""
    texts = ("text", "caption", "description", "title", "answer", "summary", "alt", "reason")
    known: dict[str, Any] = dict.fromkeys(texts, words)
    if not seen:
        return known
    first = seen[0]
    main = next(iter(first.colors), "grey")
    known |= {
        "width": first.width,
        "height": first.height,
        "size": first.size,
        "format": first.format,
        "orientation": _shape(first),
        "brightness": round(first.brightness, 3),
        "colors": list(first.colors),
        "colours": list(first.colors),
        "color": main,
        "colour": main,
        "tags": [*first.colors, _describe_brightness(first.brightness), first.format.lower()],
        "keywords": [*first.colors, _describe_brightness(first.brightness), first.format.lower()],
        "count": len(seen),
        "ocr": first.text or "",
    }
    rare = {"camera": first.camera, "taken": first.taken, "date": first.taken, "seconds": first.seconds}
    rare |= {"duration": first.seconds, "frames": first.frames, "fps": first.fps}
    return known | {name: value for name, value in rare.items() if value is not None}


def _shape(seen: VisualInput) -> str:
    if abs(seen.width - seen.height) < _SQUARE * max(seen.width, seen.height):
        return "square"
    return "wide" if seen.width > seen.height else "tall"


def _describe_brightness(brightness: float) -> str:
    return "dark" if brightness < _DARK else "bright" if brightness > _BRIGHT else "of middling brightness"


def _describe_input(seen: VisualInput) -> str:
    if seen.kind == "video":
        begins, ends = (
            _describe_brightness(seen.brightness),
            _describe_brightness(seen.brightness if seen.ending is None else seen.ending),
        )
        parts = [
            f"a {_shape(seen)} {seen.format} video of {seen.seconds or 0:.1f} s, {seen.width} by {seen.height} pixels",
            f"{seen.frames} frames at {seen.fps or 0:g} a second",
        ]
    else:
        begins = ends = _describe_brightness(seen.brightness)
        parts = [f"a {_shape(seen)} {seen.format} picture of {seen.width} by {seen.height} pixels"]
    if seen.colors:
        parts.append(f"mostly {' and '.join(seen.colors)}")
    parts.append(begins if begins == ends else f"beginning {begins} and ending {ends}")
    if seen.turned:
        parts.append("turned upright by its orientation")
    if seen.camera:
        parts.append(f"taken with {seen.camera}")
    if seen.taken:
        parts.append(f"on {seen.taken}")
    if seen.text:
        parts.append(f"with the text '{seen.text}'")
    return ", ".join(parts)
